"""From a finished run to a record: quality by part of the film, size, cost, and a few pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from zoo import environment
from zoo.autoencoder import Autoencoder
from zoo.evaluation.cost import measure_cost
from zoo.evaluation.decoder_weight import decoder_bytes
from zoo.evaluation.quantise import BITS, coded_bytes
from zoo.evaluation.watch import (
    Judges,
    Latents,
    as_shown,
    encode_film,
    film_batch,
    score_film,
)
from zoo.films.film import Film
from zoo.frame_size import FrameSize
from zoo.plugins import registry
from zoo.records import LatentInfo, Part, Picture, Record, Summary, write_json
from zoo.training.jobs import load_model
from zoo.training.run_folder import RunFolder, TrainingConfig
from zoo.workspace import Workspace, written_aside

PICTURES_A_PART = 3


def evaluate(
    workspace: Workspace,
    folder: RunFolder,
    config: TrainingConfig,
    film: Film,
    judges: Judges,
    device: torch.device,
) -> Record:
    """Have a run's model watch the film it was trained on, and write what came of it.

    Leaves `record.json`, `scores.npz` (every metric of every frame) and pictures in the run's
    `evaluation` folder; the record is also returned.
    """
    architecture = registry().architecture(config.model)
    model = load_model(folder, config, device)
    run = folder.read()
    assert run is not None, "only a finished run is evaluated"

    latents = encode_film(model, film, device)
    scores = score_film(model, film, latents, judges.metrics)
    out = folder.evaluation(film.name)
    write_scores(out, scores)

    one_batch = film_batch(film, film.split.seen[: config.batch].tolist(), device)
    untrained = (
        None
        if architecture.fits_directly()
        else architecture.build(FrameSize.parse(config.size), config.options).to(
            device,
            memory_format=torch.channels_last,  # type: ignore[call-overload]
        )
    )
    record = Record(
        model=config.model,
        summary=architecture.summary,
        role=architecture.role,
        origin=config.origin,
        trained_on=config.film,
        watched=film.name,
        seed=config.seed,
        options=config.options,
        status="ok",
        run=folder.path.relative_to(workspace.root).as_posix(),
        spent=run.spent,
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        latent=_latent_info(model, latents),
        scores={name: by_part(values, film) for name, values in scores.items()},
        cost=measure_cost(model, untrained, one_batch, config.precision),
        pictures=write_pictures(out, film, _chosen_drawn(model, film, latents)),
        environment=environment.describe(device, config.precision, config.compile),
    )
    write_json(out / "record.json", record)
    return record


def _latent_info(model: Autoencoder, latents: Latents) -> LatentInfo:
    frames, numbers = latents.levels.shape
    return LatentInfo(
        numbers=numbers,
        bits=numbers * BITS,
        coded_bytes=coded_bytes(latents.levels) / frames,
        decoder_bytes=decoder_bytes(model, latents.restored(slice(0, 1))),
    )


def write_scores(out: Path, scores: Mapping[str, np.ndarray]) -> None:
    """Keep every metric of every frame: `scores.npz`, float64 (N,) a metric."""
    with written_aside(out / "scores.npz") as aside, aside.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **scores)


def by_part(values: np.ndarray, film: Film) -> dict[Part, Summary]:
    """Summarise one metric (N,) over the seen and the held-out frames."""
    parts: dict[Part, np.ndarray] = {"seen": film.split.seen, "held_out": film.split.held_out}
    return {
        part: Summary(
            frames=len(indices),
            mean=float(values[indices].mean()),
            sd=float(values[indices].std()),
            lowest=float(values[indices].min()),
            highest=float(values[indices].max()),
        )
        for part, indices in parts.items()
        if len(indices)
    }


def chosen_frames(film: Film) -> list[tuple[int, Part]]:
    """Frames for the report's strips, the same for every model: evenly over each part."""
    parts: dict[Part, np.ndarray] = {"seen": film.split.seen, "held_out": film.split.held_out}
    chosen: list[tuple[int, Part]] = []
    for part, indices in parts.items():
        count = min(PICTURES_A_PART, len(indices))
        at = np.linspace(0, len(indices) - 1, 2 * count + 1).round().astype(int)[1::2]
        chosen += [(int(index), part) for index in dict.fromkeys(indices[at])]
    return chosen


@torch.inference_mode()
def _chosen_drawn(model: Autoencoder, film: Film, latents: Latents) -> dict[int, np.ndarray]:
    """The chosen frames as the model draws them: uint8 (H, W, 3) by the frame's number."""
    pixels = {}
    for index, _ in chosen_frames(film):
        drawn = as_shown(model.decode(latents.restored(slice(index, index + 1))))[0]
        pixels[index] = (drawn * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return pixels


def write_pictures(out: Path, film: Film, drawn: Mapping[int, np.ndarray]) -> list[Picture]:
    """Write the chosen frames beside what became of them; paths are relative to `out`.

    `drawn` holds at least the frames of `chosen_frames`: uint8 (H, W, 3) by their number.
    """
    pictures = []
    for index, part in chosen_frames(film):
        names = f"original-{index:06d}.png", f"reconstruction-{index:06d}.png"
        for name, frame in zip(names, (film.store.array[index], drawn[index]), strict=True):
            with written_aside(out / name) as aside:
                Image.fromarray(np.ascontiguousarray(frame)).save(aside, format="PNG")
        pictures.append(
            Picture(
                frame=index,
                time_code=film.time_code(index),
                part=part,
                original=names[0],
                reconstruction=names[1],
            )
        )
    return pictures
