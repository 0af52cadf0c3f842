"""What to do about a check that failed, and where docs/plugins.md says more."""

from __future__ import annotations

from types import MappingProxyType

PAGE = "docs/plugins.md"

_REMEDIES = {
    # models and references
    "importing does no work": (
        "plugins-run-as-code",
        "move what the module computes, reads or prints into methods or prepare",
    ),
    "shapes and range": (
        "a-model",
        "end decode with sigmoid or clamp to [0, 1], and crop what padding added to self.size",
    ),
    "latent as declared": (
        "a-model",
        "return from encode what latent_spec declares, and declare no more than 8 bits for each of "
        "options.latent numbers",
    ),
    "deterministic": ("a-model", "draw noise in losses alone; encode the mean, not a sample"),
    "batch invariant": (
        "a-model",
        "use no statistics of the batch outside of training: group norm in place of batch norm",
    ),
    "reloads to the bit": (
        "a-model",
        "keep everything that encode and decode use in parameters and buffers made by __init__",
    ),
    "decodes from the latent alone": (
        "a-model",
        "let decode use its argument and weights, and nothing that encode left behind",
    ),
    "comes back from coordinates": (
        "a-model",
        "let from_coordinates undo to_coordinates, or define neither",
    ),
    "codes latents without loss": (
        "bits",
        "compare compress and decompress on the same levels; use whole numbers, not floats, and "
        "put what decompress needs into a submodule called coder",
    ),
    "works on a gpu": (
        "a-model",
        "make constants buffers, make tensors on the device of the frames, and avoid .item(), "
        "float(tensor), if tensor and tensor[mask] in losses",
    ),
    "trains on every frame": (
        "a-model",
        "return all of seen from frames_taken, or leave it out",
    ),
    "players cover the model": (
        "a-model",
        "return every trainable parameter from players once, set requires_grad_(False) on frozen "
        "ones, and return a zoo.Loss of scalars for each player",
    ),
    "players hold what they name": (
        "a-model",
        "put the encoder's parameters into the player encoder, and the decoder's into decoder",
    ),
    "losses reach their players": (
        "a-model",
        "look for a detach, a no_grad, a round or a term of another player in that loss",
    ),
    "noise comes from the step": (
        "a-model",
        "draw with step.randn_like, step.rand_like or torch's generators, not with numpy or random",
    ),
    "prepare survives a reload": (
        "a-model",
        "copy what prepare finds into buffers made by __init__, with copy_ under torch.no_grad()",
    ),
    "prepared by training frames alone": (
        "a-model",
        "use the frames that prepare and fit are given, and no other view of the film",
    ),
    "opposed terms oppose": (
        "a-model",
        "check the sign of the adversarial terms, and which player each of them is in",
    ),
    "fits one batch": (
        "a-model",
        "let optimizer return another lr, such as zoo.Optimizer(lr=0.003), and look at the losses "
        "of four frames alone",
    ),
    # metrics
    "says what it is": ("a-metric", "set label and source, one line each"),
    "gives one number per frame": ("a-metric", "return (N,) for N frames; NaN where there is none"),
    "is defined for a film": ("a-metric", "return NaN only where the measure has no meaning"),
    "measures a frame alone": ("a-metric", "average over a frame's own pixels, not over the batch"),
    "measures the same twice": ("a-metric", "keep no state between calls, and draw no noise"),
    "leaves frames as they are": ("a-metric", "work on a copy: no in-place operation on arguments"),
    "prefers originals to noise": ("a-metric", "set better to the direction that is better"),
    # codecs
    "gives every frame back": ("a-codec", "decode as many frames as the film has, uint8, its size"),
    "decodes from the stream alone": ("a-codec", "put all that decoding needs into the stream"),
    "codes the same twice": ("a-codec", "fix seeds and threads; leave out dates and paths"),
    "resumes from what it saved": ("a-codec", "save all that the next step depends on"),
    "spends what it is given": (
        "a-codec",
        "search for the quality, or return a note that says why",
    ),
    "leaves the film as it is": ("a-codec", "work on copies of the film's frames"),
    # sections
    "is written": (
        "a-section-of-the-report",
        "handle failed records and codecs, which lack fields",
    ),
    "is written of nothing": ("a-section-of-the-report", "return '' where there are no records"),
    "shows names as they are": (
        "a-section-of-the-report",
        "escape names with zoo.base.markdown.escape",
    ),
    "is written the same twice": (
        "a-section-of-the-report",
        "iterate in a fixed order, use no clock, and change nothing in the results",
    ),
    "needs no torch": ("a-section-of-the-report", "put the section into a module of its own"),
    # callbacks
    "takes reports": ("a-training-callback", "define __call__(self, event)"),
    "writes nothing before training": (
        "a-training-callback",
        "make files at the first report, with self.run.place(name)",
    ),
    "closes without a report": (
        "a-training-callback",
        "let close do nothing where no report came",
    ),
    # films
    "files are there": ("films", "give paths relative to the module: Path(__file__).parent / name"),
    "files are a film": ("films", "play the files with ffplay; parts of one film have one size"),
    "states its licence": ("films", "set licence, such as 'CC BY 3.0, Blender Foundation'"),
}

REMEDIES = MappingProxyType(_REMEDIES)
"""By the name of a check: the section of the page, and what to do."""


def remedy(check: str) -> str | None:
    """What to do about a broken check, with the section of the page; None for a waiver's fault.

    `check` is the one that is about what was seen: `Finding.fault`, or its own name.
    """
    if check not in REMEDIES:
        return None
    section, what = REMEDIES[check]
    return f"{what} ({PAGE}#{section})"
