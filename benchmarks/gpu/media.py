"""Stage `media`: decoding a film with and without the GPU, inference over it, and its metrics."""

from __future__ import annotations

import ctypes
import statistics
import time

import torch
from av.codec.hwaccel import hwdevices_available

from benchmarks.gpu.material import (
    architectures,
    ingested,
    longest_film,
    main_part,
    metric_set,
    part_of,
    settings,
)
from benchmarks.gpu.smoke import train_once
from benchmarks.gpu.throughput import Measure, timed
from benchmarks.gpu.worker import Here, Work
from zoo.api.film_entry import FilmEntry
from zoo.api.metric import Unavailable
from zoo.base.gpu_records import Item, MediaResult
from zoo.base.workspace import Workspace
from zoo.evaluation.evaluate import evaluate
from zoo.evaluation.inference import batch_slices, film_batch
from zoo.evaluation.metrics import MetricSet, score_pairs
from zoo.evaluation.profiling import synchroniser
from zoo.films.ingest import open_film
from zoo.films.video_file import VideoFile

DECODERS = {"cuda": ("libcuda.so.1", "libnvcuvid.so.1")}
"""Device types tried in addition to the CPU, and the driver libraries that FFmpeg loads for each:
containers often have the first library and not the second."""
EVALUATED_SECONDS = {False: 20.0, True: 1.0}
"""Seconds of the film that are evaluated."""
INFERRING = ("vaegan", "perceptual", "coded_pca")
SECONDS = {False: 0.5, True: 0.05}
"""Seconds of timing per item."""
BLOCK = 0.05
"""Seconds that a block of calls takes at least."""


def works(here: Here) -> dict[str, Work]:
    """Items for models' evaluation, metrics, models' inference, and decoders.

    A driver's decoder comes last: if it hangs, nothing waits for it.
    """
    part = part_of(longest_film(here), EVALUATED_SECONDS[here.tiny])
    metrics = metric_set(here.device, "psnr,lpips" if here.tiny else "default")
    found: dict[str, Work] = {}
    names = [name for name in INFERRING if name in architectures(here)]
    names = names or list(architectures(here))[:1]
    # First, because the stage `films` plans with them.
    found |= {f"evaluate, {name}": _evaluation(here, part, metrics, name) for name in names}
    for metric in metrics.requested:
        found[f"metric, {metric.name}"] = _metric(here, part, metrics, metric.name)
    found |= {f"encode and decode, {name}": _round_trip(here, name) for name in names}
    for decoder in (None, *DECODERS):
        found[f"ingest, {decoder or 'processor'}"] = _ingest(here, main_part(here), decoder)
    return found


def _ingest(here: Here, entry: FilmEntry, decoder: str | None) -> Work:
    def decoded(item: Item[MediaResult]) -> None:
        if decoder is not None:
            check_decoder(decoder)
        size = settings(here, "film").size
        with VideoFile.open(entry.files[0], decoder) as source:
            stream = source.stream
            described = f"{stream.codec.name}, {stream.width}x{stream.height}"
        place = Workspace(here.work / f"ingest-{decoder}")
        began = time.perf_counter()
        film = open_film(entry, size, place, hwaccel=decoder)
        taken = time.perf_counter() - began
        item.result = MediaResult(
            task="ingest",
            subject=decoder or "processor",
            frames=len(film),
            size=str(size),
            source=described,
            seconds=taken,
            frames_per_second=len(film) / taken,
        )

    return decoded


def check_decoder(decoder: str) -> None:
    """Raise Unavailable if FFmpeg was built without a decoder, or its driver is not there."""
    known = hwdevices_available()
    if decoder not in known:
        raise Unavailable(
            f"the installed FFmpeg decodes on no {decoder}; it has: {', '.join(known) or 'none'}"
        )
    for library in DECODERS[decoder]:
        try:
            ctypes.CDLL(library)
        except OSError as error:
            raise Unavailable(f"the driver's decoder cannot be loaded: {error}") from None


def _round_trip(here: Here, name: str) -> Work:
    def measured(item: Item[MediaResult]) -> None:
        subject = Measure(here).subject(name, settings(here, "film").batch, compiled=False)
        model = subject.build(here.device).eval()
        samples = subject.samples(here.device)
        frames = len(samples) * model.window

        @torch.inference_mode()
        def round_trip() -> None:
            model.decode(model.encode(samples))

        round_trip()
        rates = timed(round_trip, frames, synchroniser(here.device), SECONDS[here.tiny], BLOCK)
        rate = statistics.median(rates)
        item.result = MediaResult(
            task="encode",
            subject=name,
            frames=frames,
            size=subject.size,
            seconds=frames / rate,
            frames_per_second=rate,
        )

    return measured


def _evaluation(here: Here, entry: FilmEntry, metrics: MetricSet, name: str) -> Work:
    """A whole evaluation, as in `zoo compare`, of a model trained for a few steps."""

    def evaluated(item: Item[MediaResult]) -> None:
        film = ingested(here, entry, settings(here, "film").size)
        folder, config = train_once(here, film, name, "media", preset="film")
        began = time.perf_counter()
        evaluate(Workspace(here.work), folder, config, film, metrics, here.device)
        taken = time.perf_counter() - began
        item.result = MediaResult(
            task="evaluate",
            subject=name,
            frames=len(film),
            size=str(film.size),
            seconds=taken,
            frames_per_second=len(film) / taken,
        )

    return evaluated


def _metric(here: Here, entry: FilmEntry, metrics: MetricSet, name: str) -> Work:
    """One metric on frames in the device's memory, against noisy copies of them."""

    def measured(item: Item[MediaResult]) -> None:
        if name in metrics.unavailable:
            raise Unavailable(metrics.unavailable[name])
        metric = next(one for one in metrics.metrics if one.name == name)
        film = ingested(here, entry, settings(here, "film").size)
        frames = film_batch(film, next(iter(batch_slices(film))), here.device)
        noisy = (frames + 0.1 * torch.randn_like(frames)).clamp(0, 1)

        def scored() -> None:
            score_pairs([(frames, noisy)], [0], [metric])

        scored()
        rates = timed(scored, len(frames), synchroniser(here.device), SECONDS[here.tiny], BLOCK)
        rate = statistics.median(rates)
        item.result = MediaResult(
            task="metric",
            subject=name,
            frames=len(frames),
            size=str(film.size),
            seconds=len(frames) / rate,
            frames_per_second=rate,
        )

    return measured
