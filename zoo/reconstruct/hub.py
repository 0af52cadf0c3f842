"""Publish a trained model on the Hugging Face hub, and load a published one from its folder."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from zoo.api.film_entry import FilmEntry
from zoo.base.atomic_files import atomic_write
from zoo.base.errors import BadInput, ZooError
from zoo.base.extras import missing_extra
from zoo.base.markdown import escape, grid
from zoo.base.network import refuse_offline
from zoo.base.numbers import fixed, whole
from zoo.base.records import Record
from zoo.base.untrusted_files import check_regular, check_tensors
from zoo.evaluation.latents import Quantiser, bits_metadata, parse_bits_metadata
from zoo.reconstruct.model_loader import TrainedModel
from zoo.training.run_folder import RunFolder
from zoo.training.runs import Run
from zoo.training.trained_models import load_model

SCALE = "scale.safetensors"
"""The quantiser of the latents: `lowest` and `step`, float32 (L,), and `bits` in the metadata, and
`codes` if the latents are codes."""
LARGEST_SCALE = 256 << 20
"""Bytes: twice what latents of sixteen million numbers need."""


def load_folder(folder: Path, device: torch.device) -> TrainedModel:
    """Load the model in a published folder; raises BadInput if there is none or it is damaged."""
    run = RunFolder(folder)
    description = run.read()
    if description is None:
        raise BadInput(f"{folder} holds no model: there is no {run.file.name}")
    model = load_model(run, description.config, device)
    try:
        check_regular(folder / SCALE, LARGEST_SCALE)
        check_tensors(folder / SCALE)
        with safe_open(folder / SCALE, "pt", device=str(device)) as file:
            bits, codes = parse_bits_metadata(file.metadata() or {})
            lowest, step = file.get_tensor("lowest"), file.get_tensor("step")
    except (OSError, SafetensorError, KeyError, ValueError, BadInput) as error:
        raise BadInput(f"{folder / SCALE} holds no scale: {error}") from None
    fits = lowest.dim() == 1 and lowest.shape == step.shape
    if not fits or not (lowest.isfinite().all() and step.isfinite().all()):
        raise BadInput(f"{folder / SCALE} holds no scale that fits")
    return TrainedModel(
        model, Quantiser(lowest, step, bits, codes), run, description.config, device
    )


CARD = "README.md"


def check_repo(name: str) -> str:
    """Return the name of a repository, `user/name`; raises BadInput on anything else."""
    try:
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
    except ImportError:
        raise BadInput(missing_extra("hub", "zoo push")) from None
    try:
        validate_repo_id(name)
        if "/" not in name:
            raise HFValidationError("it has no user")
    except HFValidationError:
        raise BadInput(f"a repository is named user/name; not {name!r}") from None
    return name


def write_folder(
    folder: Path, run: Run, trained: TrainedModel, entry: FilmEntry, repo: str
) -> list[Path]:
    """Write what is published: weights, `run.json`, the quantiser of the latents, and a card.

    It contains nothing of the film itself, neither frames nor latents. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in (trained.folder.weights, trained.folder.file):
        with atomic_write(folder / file.name) as temporary:
            shutil.copyfile(file, temporary)
    with atomic_write(folder / SCALE) as temporary:
        scale = {
            "lowest": trained.quantiser.lowest.float().cpu().contiguous(),
            "step": trained.quantiser.step.float().cpu().contiguous(),
        }
        save_file(scale, temporary, bits_metadata(trained.quantiser))
    with atomic_write(folder / CARD) as temporary:
        temporary.write_text(card(run, trained, entry, repo), encoding="utf-8")
    names = (trained.folder.weights.name, trained.folder.file.name, SCALE, CARD)
    return [folder / name for name in names]


def push(folder: Path, repo: str, private: bool) -> str:
    """Upload a folder's files as a model to the Hugging Face hub; returns its address.

    Raises ZooError if the user who is logged in may not, or the hub cannot be reached.
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


def card(run: Run, trained: TrainedModel, entry: FilmEntry, repo: str) -> str:
    """The model's card, Markdown with the metadata that the hub reads."""
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
        "8 bits per number.\n\n" + grid(["metric", "seen", "held out"], rows)
    )
