"""`zoo export`: a trained model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import options as opt

CHECKED = 16
"""Samples that graphs are checked with, spread over the film."""


def export(
    film: Annotated[str, typer.Option("--film", help="The film that the model was trained on.")],
    model: Annotated[
        str | None, typer.Argument(help="A model that was trained; --run names a run instead.")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="torch (.pt2, torch.export) or onnx.")
    ] = "torch",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A folder; else <film>-<model>-<format>.")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="This run, named as `zoo runs` names it.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into a folder that is there.")
    ] = False,
    holdout: opt.HoldoutOption = 0.1,
    threads: opt.ThreadsOption = None,
) -> None:
    """Write encoder and decoder as graphs that run without film-zoo, for batches of any size.

    Both are read back and held to the original on frames of the film; the largest difference is
    printed. A model that cannot be traced ends with the reason.
    """
    import numpy as np

    from zoo.cli.output import Console, check_folder, teller
    from zoo.cli.run_choice import open_run
    from zoo.evaluation.watch import sample_batch, samples_of
    from zoo.export.graphs import check_format
    from zoo.export.graphs import export as write

    chosen = check_format(form)
    console = Console()

    def place(film: str, model: str, knows: str) -> Path:
        return check_folder(out or Path(f"{film}-{model}-{chosen}"), overwrite)

    opened = open_run(console, model, film, place, run, None, holdout, threads, "cpu")
    samples = samples_of(opened.film, opened.eyes.model)
    spread = np.linspace(0, len(samples) - 1, CHECKED).round().astype(int)
    frames = sample_batch(opened.film, samples, spread, opened.eyes.device)
    tell = teller(console)
    window = samples.sampling.window
    distinct = len(np.unique(spread)) * window
    frames_said = f"{distinct} frame" + ("" if distinct == 1 else "s")
    for one in write(opened.eyes, frames, opened.out, chosen):
        tell(
            f"wrote {one.path}: at most {one.apart:.2g} from the original on {frames_said}"
            + ("" if one.scale == 1 else f", whose latents reach {one.scale:.3g}")
        )
