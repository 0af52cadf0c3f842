"""`zoo export`, `zoo push` and `zoo pull`: exchange trained models with programs and people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli import options as opt

if TYPE_CHECKING:
    from zoo.reconstruct.find_run import FoundRun

CHECKED = 16
"""Number of samples to check graphs with, spread over the film."""


def export(
    film: opt.FilmOfRunOption = None,
    model: opt.ModelArgument = None,
    form: Annotated[
        str, typer.Option("--format", help="Output format: torch (.pt2, torch.export) or onnx.")
    ] = "torch",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder to write to; default: <film>-<model>-<format>."),
    ] = None,
    run: opt.RunOption = None,
    overwrite: opt.OverwriteOption = False,
    holdout: opt.HoldoutOption = 0.1,
    threads: opt.ThreadsOption = None,
) -> None:
    """Export the encoder and decoder as graphs that run without film-zoo, for any batch size.

    Both are read back and compared with the original on frames of the film; the largest
    difference is printed. Fails with the reason if the model cannot be traced.
    """
    import numpy as np

    from zoo.cli.console import Console, check_folder
    from zoo.evaluation.inference import sample_batch, samples_of
    from zoo.reconstruct.export_graphs import check_format, file_names
    from zoo.reconstruct.export_graphs import export_graphs as write

    chosen = check_format(form)
    console = Console()

    def output_path(found: FoundRun) -> Path:
        folder = out or Path(f"{found.entry.name}-{found.run.model}-{chosen}")
        return check_folder(folder, overwrite, file_names(chosen), found.films)

    opened = opt.open_run(console, model, film, output_path, run, None, holdout, threads, "cpu")
    samples = samples_of(opened.film, opened.trained.model)
    spread = np.linspace(0, len(samples) - 1, CHECKED).round().astype(int)
    frames = sample_batch(opened.film, samples, spread, opened.trained.device)
    window = samples.sampling.window
    distinct = len(np.unique(spread)) * window
    frames_said = f"{distinct} frame" + ("" if distinct == 1 else "s")
    for one in write(opened.trained, frames, opened.out, chosen):
        console.print_line(
            f"wrote {one.path}: at most {one.error:.2g} from the original on {frames_said}"
            + ("" if one.scale == 1 else f", whose latents reach {one.scale:.3g}")
        )


def push(
    repo: Annotated[str, typer.Option("--repo", help="Repository to push to: user/name.")],
    model: opt.ModelArgument = None,
    film: opt.FilmOfRunOption = None,
    run: opt.RunOption = None,
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository private.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the folder, but do not push it.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for --dry-run; default: <film>-<model>-hub."),
    ] = None,
    overwrite: opt.OverwriteOption = False,
    holdout: opt.HoldoutOption = 0.1,
) -> None:
    """Publish a run's weights, settings and a model card, but no part of the film itself.

    Log in first with `hf auth login`. Load a published model with `zoo.load(folder=...)`.
    """
    import tempfile

    from zoo.cli.console import Console, check_folder
    from zoo.reconstruct.hub import check_login, check_repo, file_names, write_folder
    from zoo.reconstruct.hub import push as upload

    check_repo(repo)
    if not dry_run:
        check_login()  # before the film is opened
    console = Console()

    def output_path(found: FoundRun) -> Path:
        folder = out or Path(f"{found.entry.name}-{found.run.model}-hub")
        return check_folder(folder, overwrite, file_names(), found.films) if dry_run else folder

    opened = opt.open_run(console, model, film, output_path, run, None, holdout, None, "cpu")
    if not opened.entry.licence:
        console.print_line(
            f"no licence of {opened.entry.name} is stated: be sure that you may publish this"
        )
    if dry_run:
        for file in write_folder(opened.out, opened.run, opened.trained, opened.entry, repo):
            console.print_line(f"wrote {file}")
        return
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder), opened.run, opened.trained, opened.entry, repo)
        Console(stderr=True).print_line(f"uploading {opened.run.name} to huggingface.co/{repo}")
        console.print_line(f"pushed to {upload(Path(folder), repo, private)}")


def pull(
    repo: Annotated[
        str, typer.Argument(metavar="USER/REPO", help="A repository created by `zoo push`.")
    ],
    revision: Annotated[
        str | None, typer.Option("--revision", help="A branch, tag or commit; default: the newest.")
    ] = None,
    overwrite: opt.OverwriteOption = False,
) -> None:
    """Download a published run into `runs/`, where every command can use it.

    The weights are safetensors and the rest is JSON, so nothing in it runs code; a repository
    that contains a pickle is refused. Prints the hashes of all files.
    """
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console
    from zoo.plugins.registry import registry
    from zoo.reconstruct.hub import PREFIX, fetched, install

    console, errors = Console(), Console(stderr=True)
    workspace = Workspace.here()
    repo = repo.removeprefix(PREFIX)
    with fetched(repo, "zoo pull", revision=revision, on_message=errors.print_line) as published:
        for name, digest in published.sha256.items():
            console.print_line(f"sha256 {digest} {name}")
        config = published.description.config
        here = registry().origins[config.model]
        if here != config.origin:
            console.print_line(f"it was trained with {config.origin} and is used with {here}")
        install(published.folder, published.description, workspace, overwrite=overwrite)
    console.print_line(f"run: {published.name}")
    digest = config.id.rpartition("-")[2]
    console.print_line(f"`zoo reconstruct {digest} --film FILM` uses it, as other commands do")
