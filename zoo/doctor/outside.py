"""What comes from outside: pretrained weights, found but never fetched, and plugins."""

from __future__ import annotations

from collections.abc import Iterator

from zoo.base.offline import OFFLINE, is_offline
from zoo.base.workspace import Workspace
from zoo.doctor.finding import Finding, good, problem, warning


def pretrained_weights(workspace: Workspace) -> Iterator[Finding]:
    """Where each of the weights lies and whether its hash is right."""
    from zoo.pretrained import WeightsUnavailable, efficientnet_lite0_state
    from zoo.pretrained.resolution import FETCHED, whereabouts

    for weights in FETCHED:
        found = whereabouts(weights)
        for place in found:
            if place.right:
                yield good("weights", f"{weights.title}: {place.path}, hash right")
            else:
                step = "delete that file; it is never used"
                yield problem("weights", f"{weights.title}: {place.path}: {place.fault}", step)
        if not any(place.right for place in found):
            step = (
                f"unset {OFFLINE}, or put them there by hand (docs/pretrained.md)"
                if is_offline()
                else f"nothing: about {weights.hub_megabytes} MB or less come when first needed"
            )
            yield warning("weights", f"{weights.title}: not here yet", step)
    try:
        efficientnet_lite0_state()
    except WeightsUnavailable as error:
        yield problem("weights", f"EfficientNet-Lite0: {error}", "install film-zoo again")
    else:
        yield good("weights", "EfficientNet-Lite0: in its package, hash right")


def plugins(workspace: Workspace) -> Iterator[Finding]:
    """Every installed plugin: what it adds, or why it could not."""
    from zoo.plugins.entry_points import BUILT_IN, LIMIT
    from zoo.plugins.registry import registry
    from zoo.report.plugin_sections import section_registry

    found = (*registry().plugins, *section_registry().plugins)
    built_in = [p for p in found if p.package == BUILT_IN and not p.errors and not p.left_out]
    yield good("plugin", f"{len(built_in)} of film-zoo itself")
    for plugin in found:
        named = f"{plugin.name}, from {plugin.origin}"
        if plugin.left_out:
            yield warning("plugin", f"{named}: left out", f"add it to {LIMIT}, or unset that")
        for error in plugin.errors:
            mend = f"`pip install --upgrade {plugin.package}`"
            if plugin.folder:
                mend = f"mend it in {plugin.folder}"
            step = f"{mend}, or leave it out by {LIMIT}"
            yield problem("plugin", f"{named}: {error}", step)
        if plugin.adds and plugin.package != BUILT_IN:
            names = [name for hook in plugin.adds.values() for name in hook]
            yield good("plugin", f"{named}: adds {', '.join(names)}")
