"""Publish trained models on the Hugging Face hub, and download published ones.

A published model has four files: weights, `run.json`, the quantiser of the latents, and a card. No
other file of a repository is read, and a repository that also holds a pickle is refused.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from zoo.api.film_entry import FilmEntry
from zoo.base.atomic_files import atomic_write, remove_folder, replace_folder
from zoo.base.errors import BadInput, ZooError
from zoo.base.extras import missing_extra
from zoo.base.frame_size import FrameSize
from zoo.base.locks import IN_FOLDER, exclusive_lock
from zoo.base.markdown import escape, grid
from zoo.base.network import refuse_offline, unreachable
from zoo.base.numbers import fixed, scaled, whole
from zoo.base.records import Record
from zoo.base.safe_text import one_line
from zoo.base.untrusted_files import check_regular, file_sha256
from zoo.base.workspace import Workspace
from zoo.evaluation.latents import LARGEST_SCALE, load_scale, save_scale
from zoo.plugins.model_building import build, latent_spec, on_meta_device
from zoo.plugins.registry import registry
from zoo.reconstruct.model_loader import TrainedModel
from zoo.training.checkpoint import check_fit
from zoo.training.run_folder import RunFile, RunFolder
from zoo.training.runs import Run
from zoo.training.trained_models import load_model

CARD = "README.md"
PREFIX = "hf://"
"""Prefix that marks a repository of the hub where other names of models are allowed."""
LARGEST_DESCRIPTION, LARGEST_CARD = 1 << 20, 1 << 20
LARGEST_WEIGHTS = 4 << 30
"""Maximum bytes of weights: those of a model with a billion 32-bit parameters."""
_MOST_FILES = 10_000
PICKLES = frozenset(
    {*(".bin", ".ckpt", ".dill", ".joblib", ".pickle", ".pkl", ".pt", ".pt2", ".pth")}
)
"""Suffixes of files that are or contain pickles, which can run code when they are read."""


def load_folder(folder: Path, device: torch.device) -> TrainedModel:
    """Load the model of a published folder; raises BadInput if it is missing or damaged."""
    run = RunFolder(folder)
    description = run.read()
    if description is None:
        raise BadInput(f"{folder} has no model: {run.file.name} is missing")
    config = description.config
    architecture = registry().architecture(config.model)
    try:
        # First on the meta device, where a huge network takes no memory, if it can be built there.
        with suppress(RuntimeError, NotImplementedError), on_meta_device():
            size = FrameSize.parse(config.size)
            check_fit(run.weights, build(architecture, size, config.options))
        model = load_model(run, config, device)
    except (TypeError, OverflowError) as error:  # options with numbers that torch cannot represent
        why = one_line(str(error))
        raise BadInput(f"{run.file}: its {config.model} cannot be built: {why}") from None
    quantiser = load_scale(run.scale, device)
    if quantiser.lowest.numel() != latent_spec(model).numbers:
        raise BadInput(f"{run.scale} holds no scale that fits {config.model}")
    return TrainedModel(model, quantiser, run, config, device)


def check_repo(name: str, what: str = "zoo push") -> str:
    """Return a repository's name, `user/name`; raises BadInput on anything else.

    `what` is the command that the error names if the extra `hub` is missing.
    """
    try:
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
    except ImportError:
        raise BadInput(missing_extra("hub", what)) from None
    try:
        validate_repo_id(name)
        if "/" not in name:
            raise HFValidationError("it has no user")
    except HFValidationError:
        raise BadInput(f"a repository name must be user/name; not {name!r}") from None
    return name


def file_names() -> list[str]:
    """The names of the files that `write_folder` writes."""
    run = RunFolder(Path())
    return [run.weights.name, run.file.name, run.scale.name, CARD]


def write_folder(
    folder: Path, run: Run, trained: TrainedModel, entry: FilmEntry, repo: str
) -> list[Path]:
    """Write the files to publish: weights, `run.json`, the quantiser of the latents, and a card.

    They contain neither frames nor latents of the film. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = RunFolder(folder)
    for file in (trained.folder.weights, trained.folder.file):
        with atomic_write(folder / file.name) as temporary:
            shutil.copyfile(file, temporary)
    save_scale(made.scale, trained.quantiser)
    with atomic_write(folder / CARD) as temporary:
        temporary.write_text(card(run, trained, entry, repo), encoding="utf-8")
    return [made.weights, made.file, made.scale, folder / CARD]


def push(folder: Path, repo: str, private: bool) -> str:
    """Upload a folder's files as a model to the Hugging Face hub; return its URL.

    Raises ZooError if the logged-in user lacks permission, or the hub cannot be reached.
    """
    check_login()
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        address = str(api.create_repo(repo, repo_type="model", private=private, exist_ok=True))
        api.upload_folder(repo_id=repo, repo_type="model", folder_path=folder)
    except Exception as error:
        if line := unreachable(error, _hub_address()):
            raise ZooError(f"{repo} cannot be pushed: {line}") from error
        if not isinstance(error, HfHubHTTPError | OSError):
            raise
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise ZooError(f"{repo} cannot be pushed: {why}; `hf auth login` logs in") from error
    return address


def check_login() -> None:
    """Raise BadInput if a push is impossible: in offline mode, or if nobody is logged in.

    This does not use the network.
    """
    refuse_offline("zoo push")
    from huggingface_hub import get_token

    if not get_token():
        raise BadInput("zoo push needs a login at the hub: `hf auth login`, or set HF_TOKEN")


def _hub_address() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


@dataclass(frozen=True)
class Published:
    """A model of the hub in a local folder, checked and ready for use."""

    repo: str
    commit: str
    folder: Path
    description: RunFile
    sha256: dict[str, str]

    @property
    def name(self) -> str:
        """The name of its run in `runs/`."""
        config = self.description.config
        return f"{config.film}/{config.model}/{config.id}"


@contextmanager
def fetched(
    repo: str,
    what: str,
    *,
    revision: str | None = None,
    on_message: Callable[[str], None],
) -> Iterator[Published]:
    """Download a published model from the Hugging Face hub to a folder that exists in the block.

    The repository's files and their sizes are checked before the download, and the model is loaded
    once before the block begins. `what` is the command that messages name. Raises BadInput, naming
    the repository, if it holds a pickle, or if a file is missing, damaged, too large or of another
    version; ZooError if the hub cannot be reached.
    """
    check_repo(repo, what)
    refuse_offline(what)
    with _hub_errors(repo):
        from huggingface_hub import HfApi
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

        disable_progress_bars()
        api = HfApi()
        info = api.model_info(repo, revision=revision, files_metadata=True)
    listed = _checked(repo, info.siblings or [])
    commit = one_line(str(info.sha or revision or "main"), 40)
    on_message(f"fetching {repo} at {commit[:12]}: {scaled(sum(listed.values()), 'B')}")
    with tempfile.TemporaryDirectory(prefix="film-zoo-") as place:
        folder = Path(place)
        for name in listed:
            with _hub_errors(repo):
                came = api.hf_hub_download(repo, name, revision=info.sha or revision)
            shutil.copyfile(came, folder / name)
        hashes = {name: _as_stated(repo, folder / name, info.siblings) for name in listed}
        yield Published(repo, commit, folder, _description(repo, folder), hashes)


def install(
    folder: Path, description: RunFile, workspace: Workspace, *, overwrite: bool = False
) -> RunFolder:
    """Copy a published run into `runs/`, atomically; return its folder there.

    An existing finished run with the same weights is kept. Raises BadInput if there is any other
    run of this name, unless `overwrite` is set, and LockHeld if a training is writing it.
    """
    target = RunFolder.of(workspace, description.config)
    name = target.path.relative_to(workspace.runs).as_posix()
    try:
        with exclusive_lock(target.path / IN_FOLDER, name, waiting=None):
            here = target.read()
            if here is not None and here.state == "finished" and _same(target, folder):
                return target
            if here is not None and not overwrite:
                raise BadInput(
                    f"{name} is in runs/ with different weights; --overwrite replaces it"
                )
            with replace_folder(target.path) as new:
                for file in sorted(folder.iterdir()):
                    shutil.copyfile(file, new / file.name)
    except BaseException:
        if not target.file.exists():
            with suppress(OSError):
                remove_folder(target.path)
        raise
    return target


def _same(run: RunFolder, folder: Path) -> bool:
    theirs = RunFolder(folder).weights
    return (
        run.weights.is_file()
        and run.scale.is_file()
        and file_sha256(run.weights) == file_sha256(theirs)
    )


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """Convert errors of the hub's client, whose types vary by version, to one-line errors."""
    try:
        yield
    except Exception as error:
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        if line := unreachable(error, _hub_address()):
            raise ZooError(f"{repo} cannot be fetched: {line}") from error
        why = one_line(" ".join(str(error).split()), 200) or type(error).__name__
        if isinstance(error, RepositoryNotFoundError | RevisionNotFoundError):
            raise BadInput(
                f"the hub has no {repo} that you can access: {why}; `hf auth login` logs in"
            ) from error
        raise ZooError(f"{repo} cannot be fetched: {why}") from error


def _checked(repo: str, siblings: list[Any]) -> dict[str, int]:
    """Check a repository's files; return the sizes of those to fetch by name, or raise BadInput."""
    folder = RunFolder(Path())
    most = {
        folder.file.name: LARGEST_DESCRIPTION,
        folder.weights.name: LARGEST_WEIGHTS,
        folder.scale.name: LARGEST_SCALE,
        CARD: LARGEST_CARD,
    }
    if len(siblings) > _MOST_FILES:
        raise BadInput(f"{repo} has {len(siblings):,} files, too many for a published run")
    for each in siblings:
        name = str(each.rfilename)
        path = PurePosixPath(name)
        shown = one_line(name, 100)
        if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
            raise BadInput(f"{repo} has a file {shown!r} outside of its own folder")
        if path.suffix.lower() in PICKLES:
            raise BadInput(
                f"{repo} has {shown}, which may run code when loaded: nothing in it is used"
            )
    sizes = {each.rfilename: each.size for each in siblings if each.rfilename in most}
    missing = [name for name in most if name not in sizes and name != CARD]
    if missing:
        raise BadInput(f"{repo} is not a run that `zoo push` published: {missing[0]} is missing")
    for name, size in sizes.items():
        if not isinstance(size, int) or not 0 < size <= most[name]:
            stated = f"{size:,} bytes" if isinstance(size, int) else "no size"
            raise BadInput(
                f"{repo}: {name} has {stated}; such a file may have at most {most[name]:,}"
            )
    return sizes


def _as_stated(repo: str, path: Path, siblings: list[Any] | None) -> str:
    """SHA-256 of a downloaded file; raises BadInput if it differs from the hub's metadata."""
    stated = next(each for each in siblings or [] if each.rfilename == path.name)
    found = file_sha256(path)
    large = stated.lfs
    theirs = large.get("sha256") if isinstance(large, dict) else getattr(large, "sha256", None)
    if check_regular(path) != stated.size or (theirs and theirs != found):
        raise BadInput(f"{repo}: {path.name} does not match what the hub states; try again")
    return found


def _description(repo: str, folder: Path) -> RunFile:
    """Load the model of a fetched folder as a check, and return its run's description."""
    try:
        trained = load_folder(folder, torch.device("cpu"))
        description = trained.folder.read()
        assert description is not None, "it was read a moment ago"
        if description.state != "finished":
            raise BadInput(f"its training is {description.state}, not finished")
    except (BadInput, OSError) as error:
        raise BadInput(f"{repo}: {str(error).replace(f'{folder}/', '')}") from None
    return description


def card(run: Run, trained: TrainedModel, entry: FilmEntry, repo: str) -> str:
    """Write the model's card: Markdown with the metadata that the hub reads."""
    from huggingface_hub import ModelCardData

    config, model = trained.config, trained.model
    head = ModelCardData(library_name="film-zoo", tags=["film-autoencoder", config.model])
    licence = entry.licence
    title = escape(entry.shown_title)
    rights = (
        f"The film's licence is {escape(licence)}."
        if licence
        else "No licence of the film is stated here: whoever publishes this model answers for it."
    )
    options = [[name, str(value)] for name, value in config.options.items()]
    sections = [
        f"---\n{head.to_yaml()}\n---",
        f"# {escape(repo)}",
        f"`{config.model}` ({escape(model.summary)}), trained by film-zoo on the film *{title}*: "
        f"each frame of {config.size} becomes {trained.numbers} numbers, and is reconstructed from "
        "those alone.",
        f"## The film\n\n{rights} A model that was trained on one film can reconstruct much of "
        "that film: its use may depend on the rights in the film. Neither the frames nor the "
        "latents of the film are in this repository.",
        f"## Load\n\n```python\n{_loading(repo, config.size)}```",
        f"The architecture is in {escape(config.origin)}, which has to be installed. Weights are "
        "safetensors; nothing in this repository runs code.",
        f"## Scores\n\n{_scores(run.record)}",
        f"## Training\n\n{whole(run.frames)} frames, batches of {config.batch}, seed "
        f"{config.seed}, {config.precision}, by film-zoo "
        f"{importlib.metadata.version('film-zoo')}.\n\n" + grid(["option", "value"], options),
    ]
    return "\n\n".join(sections) + "\n"


def _loading(repo: str, size: str) -> str:
    return (
        "from zoo import load\n\n"
        f"m = load({json.dumps(PREFIX + repo)})\n"
        f"z = m.encode(frames)  # uint8 (N, H, W, 3) of {size}\n"
        "y = m.decode(z)\n"
    )


def _scores(record: Record | None) -> str:
    if record is None or not record.scores:
        return "Not measured."
    rows = []
    for metric, parts in record.scores.items():
        seen, held_out = parts.get("seen"), parts.get("held_out")
        means = [fixed(part.mean if part else None, 4) for part in (seen, held_out)]
        rows.append([metric, *means])
    return (
        "Means over frames, of shots that were trained on and of shots held out, from latents in "
        "8 bits per number.\n\n" + grid(["metric", "seen", "held out"], rows)
    )
