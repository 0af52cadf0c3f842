"""A trained model as a folder for the Hugging Face hub: written with a card, uploaded, loaded."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from zoo.base.errors import BadInput, ZooError
from zoo.base.offline import refuse_offline
from zoo.base.records import Record
from zoo.base.untrusted_files import check_regular, check_tensors
from zoo.base.workspace import written_aside
from zoo.evaluation.latents import Quantiser, read_bits, written_bits
from zoo.films.catalogue import FilmEntry
from zoo.reconstruct.trained_model import Eyes
from zoo.report.markdown import escape, grid
from zoo.report.numbers import fixed, whole
from zoo.training.jobs import load_model
from zoo.training.run_folder import RunFolder
from zoo.training.runs import Run

SCALE = "scale.safetensors"
"""The scale of the latents: `lowest` and `step`, float32 (L,), and in the metadata `bits`, and
`codes` where the latents are codes."""
LARGEST_SCALE = 256 << 20
"""Bytes: latents of sixteen million numbers have one of half that size."""


def read_folder(folder: Path, device: torch.device) -> Eyes:
    """The network that such a folder holds; raises BadInput if it holds none or is damaged."""
    run = RunFolder(folder)
    description = run.read()
    if description is None:
        raise BadInput(f"{folder} holds no model: there is no {run.file.name}")
    model = load_model(run, description.config, device)
    try:
        check_regular(folder / SCALE, LARGEST_SCALE)
        check_tensors(folder / SCALE)
        with safe_open(folder / SCALE, "pt", device=str(device)) as file:
            bits, codes = read_bits(file.metadata() or {})
            lowest, step = file.get_tensor("lowest"), file.get_tensor("step")
    except (OSError, SafetensorError, KeyError, ValueError, BadInput) as error:
        raise BadInput(f"{folder / SCALE} holds no scale: {error}") from None
    fits = lowest.dim() == 1 and lowest.shape == step.shape
    if not fits or not (lowest.isfinite().all() and step.isfinite().all()):
        raise BadInput(f"{folder / SCALE} holds no scale that fits")
    return Eyes(model, Quantiser(lowest, step, bits, codes), run, description.config, device)


CARD = "README.md"


def check_repo(name: str) -> str:
    """Return the name of a repository, `user/name`; raises BadInput if it cannot be one."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
        if "/" not in name:
            raise HFValidationError("it has no user")
    except HFValidationError:
        raise BadInput(f"a repository is named user/name; not {name!r}") from None
    return name


def write_folder(folder: Path, run: Run, eyes: Eyes, entry: FilmEntry, repo: str) -> list[Path]:
    """Write what is published: weights, `run.json`, the scale of the latents, and a card.

    Nothing of the film itself is in it, neither frames nor latents. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in (eyes.folder.weights, eyes.folder.file):
        with written_aside(folder / file.name) as aside:
            shutil.copyfile(file, aside)
    with written_aside(folder / SCALE) as aside:
        scale = {
            "lowest": eyes.quantiser.lowest.float().cpu().contiguous(),
            "step": eyes.quantiser.step.float().cpu().contiguous(),
        }
        save_file(scale, aside, written_bits(eyes.quantiser))
    with written_aside(folder / CARD) as aside:
        aside.write_text(card(run, eyes, entry, repo), encoding="utf-8")
    names = (eyes.folder.weights.name, eyes.folder.file.name, SCALE, CARD)
    return [folder / name for name in names]


def push(folder: Path, repo: str, private: bool) -> str:
    """Upload a folder's files as a model to the Hugging Face hub; returns its address.

    Who is logged in there decides where that is allowed. Raises ZooError if it is not, or the hub
    cannot be reached.
    """
    refuse_offline("zoo push")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        address = str(api.create_repo(repo, repo_type="model", private=private, exist_ok=True))
        api.upload_folder(repo_id=repo, repo_type="model", folder_path=folder)
    except (HfHubHTTPError, OSError) as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise ZooError(f"{repo} cannot be pushed: {why}; `hf auth login` logs in") from error
    return address


def card(run: Run, eyes: Eyes, entry: FilmEntry, repo: str) -> str:
    """The model's card, Markdown with the metadata that the hub reads."""
    from huggingface_hub import ModelCardData

    config, model = eyes.config, eyes.model
    head = ModelCardData(library_name="film-zoo", tags=["film-autoencoder", config.model])
    licence = entry.licence
    title = escape(entry.shown_title)
    may = (
        f"The film's licence is {escape(licence)}."
        if licence
        else "No licence of the film is stated here: whoever publishes this model answers for it."
    )
    options = [[name, str(value)] for name, value in config.options.items()]
    sections = [
        f"---\n{head.to_yaml()}\n---",
        f"# {escape(repo)}",
        f"`{config.model}` ({escape(model.summary)}), trained by film-zoo on the film *{title}*: "
        f"each frame of {config.size} becomes {eyes.numbers} numbers, and is drawn again from "
        "those alone.",
        f"## The film\n\n{may} A network that was trained on one film can draw much of that film: "
        "what may be done with it may depend on the rights in the film. Neither its frames nor its "
        "latents are in this repository.",
        f"## Load\n\n```python\n{_loading(repo, config.size)}```",
        f"It was made by {escape(config.origin)}, which has to be installed. Weights are "
        "safetensors; nothing in this repository runs.",
        f"## Scores\n\n{_scores(run.record)}",
        f"## Training\n\n{whole(run.frames)} frames, batches of {config.batch}, seed "
        f"{config.seed}, {config.precision}, by film-zoo "
        f"{importlib.metadata.version('film-zoo')}.\n\n" + grid(["option", "value"], options),
    ]
    return "\n\n".join(sections) + "\n"


def _loading(repo: str, size: str) -> str:
    return (
        "from huggingface_hub import snapshot_download\n"
        "from zoo import load\n\n"
        f"m = load(folder=snapshot_download({json.dumps(repo)}))\n"
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
        "8 bits a number.\n\n" + grid(["metric", "seen", "held out"], rows)
    )
