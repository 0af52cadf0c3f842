"""What each difference between the text and the published code of the 2016 system does.

    python -m benchmarks.broad2016_differences --seeds 3 --out results/broad2016.md

trains the system as its text intends, with each difference alone, and as it was published, on
the embedded clips at the quick preset, and writes a table of LPIPS and PSNR on seen and held-out
frames: medians over seeds, with ranges. It uses one thread and resumes when run again. Films,
preset, width, frames and seeds can be set. At the size of 2016 and a quarter of its width:

    python -m benchmarks.broad2016_differences --films tears --preset laptop --width 20 --seeds 3
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.trials import spread_of
from zoo.base.errors import ZooError
from zoo.base.presets_and_budgets import PRESETS, preset_named
from zoo.base.records import Part, Record
from zoo.base.workspace import Workspace
from zoo.compare.comparison import reusable_record
from zoo.evaluation.evaluate import evaluate
from zoo.evaluation.metrics import MetricSet
from zoo.films.catalogue import Catalogue
from zoo.films.ingest import open_film
from zoo.films.ingested_film import Film
from zoo.plugins.registry import registry
from zoo.training.run_folder import RunFolder
from zoo.training.settings import Settings
from zoo.training.trained_models import ensure_trained

INTENDED, PUBLISHED = "broad2016", "broad2016_published"
METRICS = {"lpips": ("LPIPS", 3), "psnr": ("PSNR, dB", 2)}
PARTS: tuple[tuple[Part, str], ...] = (("seen", "seen"), ("held_out", "held out"))


@dataclass(frozen=True)
class Variant:
    """One row of a film's table."""

    label: str
    model: str
    difference: str | None = None
    """The option that is on in addition to the model's defaults."""


VARIANTS = (
    Variant("as its text intends", INTENDED),
    Variant("lists of encoder and decoder swapped", INTENDED, "swapped_lists"),
    Variant("statistics of the batch at inference", INTENDED, "batch_statistics"),
    Variant("frames stretched to full contrast", INTENDED, "stretched"),
    Variant("last frames dropped", INTENDED, "rest_dropped"),
    Variant("as published: all four", PUBLISHED),
)


def main() -> None:
    """Train and evaluate what is missing, and write the table."""
    asked = _parser().parse_args()
    try:
        rows = list(run(asked))
    except ZooError as error:
        raise SystemExit(f"{error}") from None
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(table(rows, asked), encoding="utf-8")
    _say(f"written to {asked.out}")


def run(asked: argparse.Namespace) -> Iterator[tuple[Film, Variant, list[Record]]]:
    """Yield the records of every variant on every film, with one per seed, film by film."""
    workspace = Workspace.here()
    settings = Settings.choose(
        asked.preset,
        budget=f"{asked.frames}frames",
        threads=1,
        device=asked.device,
        options={"width": asked.width} if asked.width else None,
    )
    settings.pin_threads()
    metric_set = MetricSet.load(settings.device)
    for entry in Catalogue.open(workspace).choose(asked.films):
        film = open_film(entry, settings.size, workspace)
        for variant in VARIANTS:
            _say(f"{film.name}: {variant.label}")
            seeded = (replace(settings, seed=seed) for seed in range(asked.seeds))
            records = [record_of(variant, film, each, metric_set, workspace) for each in seeded]
            yield film, variant, records


def record_of(
    variant: Variant, film: Film, settings: Settings, metric_set: MetricSet, workspace: Workspace
) -> Record:
    """Train a variant on a film and evaluate it there, unless that was done before."""
    options = {variant.difference: True} if variant.difference else {}
    settings = replace(settings, options={**settings.options, **options})
    config = settings.config(registry().architecture(variant.model), film)
    folder = RunFolder.of(workspace, config)
    known = reusable_record(folder, film, metric_set)
    if known:
        return known
    folder = ensure_trained(workspace, config, film, settings.device)
    return evaluate(workspace, folder, config, film, metric_set, settings.device)


def table(rows: Sequence[tuple[Film, Variant, list[Record]]], asked: argparse.Namespace) -> str:
    """The report as Markdown."""
    preset, record = preset_named(asked.preset), rows[0][2][0]
    command = shlex.join(["python", "-m", "benchmarks.broad2016_differences", *sys.argv[1:]])
    lines = [
        "# The 2016 system: what each difference does",
        "",
        f"Made by `{command}` on {record.environment.device_name}: {preset.size}, "
        f"{preset.latent} numbers per frame, {asked.frames:,} frames in batches of {preset.batch}, "
        f"{asked.seeds} seed{'s' * (asked.seeds > 1)}, width {record.options['width']} of 80, "
        f"learning rate {record.options['lr']:g}. Means over frames; latents in 8 bits per number. "
        "These are tuning films: defaults were chosen on them, held-out frames included.",
    ]
    shown = {name: head for name, head in METRICS.items() if name in record.scores}
    heads = [f"{label}, {part}" for label, _ in shown.values() for _, part in PARTS]
    for name in dict.fromkeys(film.name for film, _, _ in rows):
        lines += [
            "",
            f"## {name}",
            "",
            f"| | {' | '.join(heads)} |",
            "|---" * (len(heads) + 1) + "|",
        ]
        for film, variant, found in rows:
            if film.name == name:
                cells = [
                    _cell(found, metric, part, digits)
                    for metric, (_, digits) in shown.items()
                    for part, _ in PARTS
                ]
                lines.append(f"| {variant.label} | {' | '.join(cells)} |")
    missing = [label for name, (label, _) in METRICS.items() if name not in shown]
    if missing:
        lines += ["", f"{', '.join(missing)} could not be measured here."]
    return "\n".join([*lines, ""])


def _cell(records: Sequence[Record], metric: str, part: Part, digits: int) -> str:
    """The median over seeds of a film's mean, with the range."""
    found = (record.scores[metric].get(part) for record in records)
    means = [of_part.mean for of_part in found if of_part and of_part.mean is not None]
    return spread_of(means, digits) if means else "–"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--films", default="all", help="all, or names and paths: a,b,./c.mkv")
    parser.add_argument("--preset", default="quick", choices=sorted(PRESETS))
    parser.add_argument("--width", type=int, help="channels of the first stage, of 80 in 2016")
    parser.add_argument("--frames", type=int, default=4000, help="to train on")
    parser.add_argument("--seeds", type=int, default=1, help="seeds, from 0 up")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("results/broad2016.md"))
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
