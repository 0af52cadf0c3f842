"""`zoo push`: a trained model to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import options as opt


def push(
    film: Annotated[str, typer.Option("--film", help="The film that the model was trained on.")],
    repo: Annotated[str, typer.Option("--repo", help="Where to: user/name.")],
    model: Annotated[
        str | None, typer.Argument(help="A model that was trained; --run names a run instead.")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="This run, named as `zoo runs` names it.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Nobody else may see it.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the folder that would be pushed, and stop.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="That folder; else <film>-<model>-hub.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into a folder that is there.")
    ] = False,
    holdout: opt.HoldoutOption = 0.1,
) -> None:
    """Publish weights, settings and a model card; nothing of the film itself.

    You have to be logged in: `hf auth login`. `zoo.load(folder=...)` loads what was published.
    """
    import tempfile

    from zoo.cli.output import Console, check_folder, teller
    from zoo.cli.run_choice import open_run
    from zoo.export.publish import check_repo, write_folder
    from zoo.export.publish import push as upload
    from zoo.network import refuse_offline

    check_repo(repo)
    if not dry_run:
        refuse_offline("zoo push")  # before the film is opened
    console = Console()
    tell = teller(console)

    def place(film: str, model: str, knows: str) -> Path:
        folder = out or Path(f"{film}-{model}-hub")
        return check_folder(folder, overwrite) if dry_run else folder

    opened = open_run(console, model, film, place, run, None, holdout, None, "cpu")
    if not opened.entry.licence:
        tell(f"no licence of {opened.entry.name} is stated: be sure that you may publish this")
    if dry_run:
        for file in write_folder(opened.out, opened.run, opened.eyes, opened.entry, repo):
            tell(f"wrote {file}")
        return
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder), opened.run, opened.eyes, opened.entry, repo)
        teller(Console(stderr=True))(f"uploading {opened.run.name} to huggingface.co/{repo}")
        tell(f"pushed to {upload(Path(folder), repo, private)}")
