"""From a finished run to a record: quality by part of the film, size, weaknesses, pictures."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from zoo.api.autoencoder import Autoencoder
from zoo.base import environment
from zoo.base.records import LatentInfo, RatePoint, Record
from zoo.base.workspace import Workspace
from zoo.evaluation import latents as latents_file
from zoo.evaluation.failure_slices import batch_dependence, plain_frames
from zoo.evaluation.film_scores import LATENTS, Kept, judge
from zoo.evaluation.inference import batches, draw_frames, encode_film, samples_of
from zoo.evaluation.latents import Latents, Quantiser
from zoo.evaluation.metrics import Judges, parts_of
from zoo.evaluation.model_summary import decoder_bytes
from zoo.evaluation.rate_distortion import coarser, rate_points
from zoo.films.film import Film
from zoo.plugins.model_building import latent_spec
from zoo.plugins.registry import registry
from zoo.training.jobs import load_model
from zoo.training.run_folder import RunFolder, TrainingConfig


def evaluate(
    workspace: Workspace,
    folder: RunFolder,
    config: TrainingConfig,
    film: Film,
    judges: Judges,
    device: torch.device,
) -> Record:
    """Have a run's model watch a film, its own or another, and write what came of it.

    Its own comes first: the scales of its latents are those of the film it was trained on.
    Leaves `record.json`, `scores.npz` (every metric of every frame), `metrics.json` (the sources
    of the metrics), `pdq.npz` (hashes of the frames) and `latents.safetensors` in the run's
    `evaluation` folder; the record is also returned. Metrics of which an earlier evaluation on this
    machine is there are not measured again, unless their source has changed.
    """
    architecture = registry().architecture(config.model)
    model = load_model(folder, config, device)
    run = folder.read()
    assert run is not None, "only a finished run is evaluated"
    own = film.name == config.film
    out = folder.evaluation(film.name)
    here = environment.describe(device, config.precision, config.compile)
    kept = Kept.of(out, film, here)
    judges = kept.still_to_measure(judges)

    encoded = encode_film(model, film, device)
    quantiser = (
        Quantiser.of(latent_spec(model), encoded.numbers)
        if own
        else _trained_latents(folder, config, device).quantiser
    )
    latents = encoded.quantised(quantiser)
    latents_file.save_latents(out / LATENTS, latents, film.fingerprint)

    every = [latents, *(coarser(encoded, latents) if own else [])]
    rate: list[RatePoint] = []
    failure_analysis = None
    # Lossless coding takes long, and needs neither Python nor the device: it goes on meanwhile.
    with ThreadPoolExecutor(torch.get_num_threads()) as coders:
        sizes = coders.map(_bytes_per_frame, every)
        with torch.inference_mode():
            samples = samples_of(film, model)
            drawn = (draw_frames(model, samples, frames, latents) for frames in batches(film))
            judged = judge(film, drawn, config.film, judges, device)
        coded = zip(every, sizes, strict=True)
        # What is asked of a model once is asked where it watches its own film.
        if own:
            parts = parts_of(film, config.film)
            rate = rate_points(model, film, coded, judged.scores, parts, judges.metrics, device)
            plain = plain_frames(model, quantiser, judges.metrics, device)
            company = batch_dependence(model, film, quantiser, device)
            failure_analysis = judged.failure_analysis(film, config.film, plain, company)
    record = Record(
        model=config.model,
        summary=architecture.summary,
        role=architecture.role,
        origin=config.origin,
        trained_on=config.film,
        evaluated_on=film.name,
        evaluation_fingerprint=film.fingerprint,
        seed=config.seed,
        options=config.options,
        status="ok",
        unequal_terms=list(architecture.unequal_terms),
        tuned_on=list(architecture.tuned_on),
        waivers=dict(architecture.waivers),
        run=folder.path.relative_to(workspace.root).as_posix(),
        training=run.training,
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        latent=_latent_info(model, latents),
        scores=judged.summaries,
        rate=rate,
        failure_analysis=failure_analysis,
        environment=here,
    )
    return kept.write(out, judged, record)


def _trained_latents(folder: RunFolder, config: TrainingConfig, device: torch.device) -> Latents:
    path: Path = folder.evaluation(config.film) / LATENTS
    return latents_file.load_latents(path, config.film_fingerprint, device)


def _bytes_per_frame(latents: Latents) -> float:
    return latents.bytes_per_frame


def _latent_info(model: Autoencoder, latents: Latents) -> LatentInfo:
    return LatentInfo(
        numbers=_whole(latents.levels.shape[1] / model.window),
        bits=_whole(latents.bits_per_frame),
        codes=latents.quantiser.codes,
        coded_bytes=latents.bytes_per_frame,
        decoder_bytes=decoder_bytes(model, latents.dequantised(slice(0, 1))),
    )


def _whole(number: float) -> int | float:
    """A number without a fraction where it has none."""
    return int(number) if number == int(number) else number
