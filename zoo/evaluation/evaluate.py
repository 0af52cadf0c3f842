"""Evaluate a finished run on a film: scores, latent size, rate and distortion, failures.

Rate and distortion are scores at fewer bits per latent number, and per weight of the decoder.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from zoo.api.autoencoder import Autoencoder
from zoo.api.metric import Metric, TemporalMetric
from zoo.api.recipe_and_events import FULL
from zoo.api.samples_and_latents import BATCH
from zoo.base import devices
from zoo.base.errors import BadInput
from zoo.base.records import DecoderPoint, LatentInfo, Part, RatePoint, Record
from zoo.base.workspace import Workspace
from zoo.evaluation import latents as latents_file
from zoo.evaluation.failure_slices import batch_dependence, score_plain_frames
from zoo.evaluation.film_scores import LATENTS, ScoreCache, score_film
from zoo.evaluation.inference import (
    batch_slices,
    coded_bytes,
    encode_film,
    film_batch,
    reconstruct_frames,
    samples_of,
)
from zoo.evaluation.latents import EncodedFilm, Latents, Quantiser
from zoo.evaluation.metrics import Frames, MetricSet, Values, mean_of, parts_of, score_pairs
from zoo.evaluation.model_summary import decoder_bytes, decoder_matrices, has_coder
from zoo.films.ingested_film import Film
from zoo.plugins.model_building import latent_spec
from zoo.plugins.registry import registry
from zoo.training.run_folder import RunFolder, TrainingConfig
from zoo.training.trained_models import load_model
from zoo.training.weight_rounding import rounded

OWN_CODER = "Its latents are coded by an entropy model of its own, those of others by LZMA."
"""Listed among the unequal terms of a model with an entropy model of its own."""


def evaluate(
    workspace: Workspace,
    folder: RunFolder,
    config: TrainingConfig,
    film: Film,
    metric_set: MetricSet,
    device: torch.device,
) -> Record:
    """Evaluate a run's model on a film, its training film or another, and return the record.

    The training film must come first: its latents determine the scale of quantisation. Writes
    `record.json`, `scores.npz` (every metric of every frame), `metrics.json` (the sources of the
    metrics), `pdq.npz` (hashes of the frames) and `latents.safetensors` into the run's
    `evaluation` folder. Metrics of an earlier evaluation on this machine are not measured again,
    unless their source has changed.
    """
    architecture = registry().architecture(config.model)
    model = load_model(folder, config, device)
    run = folder.read()
    assert run is not None, "only a finished run is evaluated"
    own = film.name == config.film
    out = folder.evaluation(film.name)
    here = devices.describe(device, config.precision, config.compile)
    cache = ScoreCache.load(out, film, here)
    metric_set = cache.missing(metric_set)

    quantiser = None if own else _training_quantiser(folder, config, device)
    encoded = encode_film(model, film, device)
    quantiser = quantiser or Quantiser.of(latent_spec(model), encoded.numbers)
    latents = encoded.quantised(quantiser)
    latents_file.save_latents(out / LATENTS, latents, film.fingerprint)

    all_latents = [latents, *(coarser_latents(encoded, latents) if own else [])]
    rate: list[RatePoint] = []
    rounded_decoders: list[DecoderPoint] = []
    failure_analysis = None
    # Lossless coding is slow, and needs neither Python nor the device: it runs during scoring.
    with ThreadPoolExecutor(torch.get_num_threads()) as coders:
        sizes = coders.map(functools.partial(coded_bytes, model), all_latents)
        with torch.inference_mode():
            samples = samples_of(film, model)
            reconstructed = (
                reconstruct_frames(model, samples, frames, latents) for frames in batch_slices(film)
            )
            film_scores = score_film(film, reconstructed, config.film, metric_set, device)
        coded = list(zip(all_latents, sizes, strict=True))
        # Tests that are made once per model are made on its training film.
        if own:
            parts = parts_of(film, config.film)
            sample = ScoreSample.of(model, film, parts, metric_set.metrics, device)
            rate = sample.rate_points(coded, film_scores.scores)
            rounded_decoders = sample.decoder_points(latents, config.recipe.weight_bits)
            plain = score_plain_frames(model, quantiser, metric_set.metrics, device)
            dependence = batch_dependence(model, film, quantiser, device)
            failure_analysis = film_scores.failure_analysis(film, config.film, plain, dependence)
    record = Record(
        model=config.model,
        summary=architecture.summary,
        role=architecture.role,
        pretrained=architecture.pretrained,
        origin=config.origin,
        trained_on=config.film,
        evaluated_on=film.name,
        evaluation_fingerprint=film.fingerprint,
        seed=config.seed,
        options=config.options,
        status="ok",
        unequal_terms=[*architecture.unequal_terms, *_unequal_terms(model, config)],
        tuned_on=list(architecture.tuned_on),
        waivers=dict(architecture.waivers),
        run=folder.path.relative_to(workspace.root).as_posix(),
        training=run.training,
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        latent=_latent_info(model, *coded[0], config.recipe.weight_bits),
        scores=film_scores.summaries,
        rate=rate,
        rounded_decoders=rounded_decoders,
        failure_analysis=failure_analysis,
        environment=here,
    )
    return cache.write(out, film_scores, record)


def _training_quantiser(
    folder: RunFolder, config: TrainingConfig, device: torch.device
) -> Quantiser:
    latents = folder.evaluation(config.film) / LATENTS
    found = latents_file.quantiser_of_training(
        latents, folder.scale, config.film_fingerprint, device
    )
    if found is None:
        raise BadInput(f"{latents} is not there: evaluate the run on {config.film} first")
    return found


def _unequal_terms(model: Autoencoder, config: TrainingConfig) -> Iterator[str]:
    """Yield how this run's terms differ from other models', whatever its plugin declares."""
    if has_coder(model):
        yield OWN_CODER
    if (bits := config.recipe.weight_bits) != FULL:
        yield f"Its weights are rounded to {bits} bits each."


def _latent_info(model: Autoencoder, latents: Latents, size: float, weight_bits: int) -> LatentInfo:
    """Describe how much a film's latents take: `size` is their bytes per frame after coding."""
    return LatentInfo(
        numbers=_whole(latents.levels.shape[1] / model.window),
        bits=_whole(latents.bits_per_frame),
        codes=latents.quantiser.codes,
        coded_bytes=size,
        decoder_bytes=decoder_bytes(model, latents.dequantised(slice(0, 1)), weight_bits),
    )


def _whole(number: float) -> int | float:
    """The number as an int if it is whole."""
    return int(number) if number == int(number) else number


BIT_DEPTHS = (6, 5, 4, 3)
"""Bits per latent number of additional scores; all others have 8."""
DECODER_BITS = (16, 8)
"""Bits per decoder weight of additional scores; all others use the decoder as it is."""
MOST_FRAMES = 128
"""The most frames of a part that are scored at each number of bits, evenly sampled."""


@dataclass(frozen=True)
class ScoreSample:
    """Frames of a film that are scored again, from coarser latents or by a rounded decoder.

    `parts` has at most `MOST_FRAMES` of each part, evenly spaced, and `metrics` no temporal ones,
    which need neighbours.
    """

    model: Autoencoder
    film: Film
    parts: Mapping[Part, Frames]
    metrics: Sequence[Metric]
    device: torch.device

    @classmethod
    def of(
        cls,
        model: Autoencoder,
        film: Film,
        parts: Mapping[Part, Frames],
        metrics: Sequence[Metric],
        device: torch.device,
    ) -> ScoreSample:
        """Choose from all frames and all metrics."""
        sampled = {
            part: frames[
                np.linspace(0, len(frames) - 1, min(MOST_FRAMES, len(frames)))
                .round()
                .astype(np.int64)
            ]
            for part, frames in parts.items()
        }
        still = [metric for metric in metrics if not isinstance(metric, TemporalMetric)]
        return cls(model, film, sampled, still, device)

    def rate_points(
        self, coded: Iterable[tuple[Latents, float]], scores: Mapping[str, Values]
    ) -> list[RatePoint]:
        """Score the film at several numbers of bits.

        `coded` has latents with their bytes per frame; `scores` belong to the first of them.
        """
        film = self.film
        points: list[RatePoint] = []
        for latents, size in coded:
            points.append(
                RatePoint(
                    bits=latents.quantiser.bits,
                    coded_bytes=size,
                    kilobits_per_second=size * 8 * len(film) / film.seconds(0, len(film)) / 1000,
                    frames={part: len(frames) for part, frames in self.parts.items()},
                    scores=self.means_from(latents) if points else self._means_of(scores),
                )
            )
        return points

    def decoder_points(self, latents: Latents, weight_bits: int) -> list[DecoderPoint]:
        """Score the film with its decoder rounded, from the latents of all other scores.

        Only numbers of bits below `weight_bits`, those of the saved weights, are scored.
        """
        latent = latents.dequantised(slice(0, 1))
        matrices = decoder_matrices(self.model, latent)
        points = []
        for bits in (bits for bits in DECODER_BITS if bits < weight_bits):
            with rounded(self.model, matrices, bits):
                means = self.means_from(latents)
            size = decoder_bytes(self.model, latent, bits, matrices)
            points.append(DecoderPoint(weight_bits=bits, decoder_bytes=size, scores=means))
        return points

    @torch.inference_mode()
    def means_from(self, latents: Latents) -> dict[str, dict[Part, float | None]]:
        """Means of the frames decoded from these latents, by metric and part."""
        samples = samples_of(self.film, self.model)

        def pair(some: Frames) -> tuple[torch.Tensor, torch.Tensor]:
            return (
                film_batch(self.film, some, self.device),
                reconstruct_frames(self.model, samples, some, latents),
            )

        means: dict[str, dict[Part, float | None]] = {metric.name: {} for metric in self.metrics}
        for part, frames in self.parts.items():
            chunks = [frames[start : start + BATCH] for start in range(0, len(frames), BATCH)]
            values = score_pairs(map(pair, chunks), [0], self.metrics)
            for metric in self.metrics:
                means[metric.name][part] = mean_of(values[metric.name], metric.better == "one")
        return means

    def _means_of(self, scores: Mapping[str, Values]) -> dict[str, dict[Part, float | None]]:
        """Means of the sampled frames, taken from the scores of all frames."""
        return {
            metric.name: {
                part: mean_of(scores[metric.name][frames], metric.better == "one")
                for part, frames in self.parts.items()
            }
            for metric in self.metrics
        }


def coarser_latents(encoded: EncodedFilm, stored: Latents) -> list[Latents]:
    """A film's latents in fewer bits; none for codes, which would become other codes."""
    if stored.quantiser.codes is not None:
        return []
    return [encoded.quantised(Quantiser.spanning(encoded.numbers, bits)) for bits in BIT_DEPTHS]
