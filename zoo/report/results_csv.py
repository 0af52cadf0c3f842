"""`results.csv`: the records as one flat table, for a spreadsheet or a data frame.

There is one row per record and part of its film; a failed record is one row without a part. Numbers
have full precision; a missing number is an empty field. `explained` describes the columns.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

from zoo.base.atomic_files import atomic_write
from zoo.base.records import Cost, FilmInfo, Memory, Part, Record, Results, Throughput
from zoo.report.aggregate import training_precision, tuning_films
from zoo.report.costs import TIMINGS

PARTS: tuple[Part, ...] = ("seen", "held_out", "other")

_WHO = {
    "evaluated_on": "the film that the model was evaluated on",
    "trained_on": "the film the model was trained on",
    "tuning_film": "whether the defaults of every model were chosen on the evaluation film: such a "
    "film is in no mean over films, unless all are",
    "model": "name of the model or reference",
    "role": "model or reference",
    "kind": "autoencoder, or codec, which codes every frame, held-out ones included",
    "origin": "package and version that provides it",
    "options": "its options, as JSON",
    "seed": "seed of the run",
    "status": "ok or failed",
    "reason": "why it failed",
    "note": "what a reader must know about a run that succeeded",
    "waivers": "promises of the model contract that it breaks on purpose, by check, as JSON",
    "part": "seen (trained on), held_out (shots never trained on) or other (a film never trained "
    "on); empty where it failed",
}
_STATISTICS = {
    "mean": "mean over the frames of the part",
    "sd": "standard deviation over these frames",
    "lowest": "lowest of these frames",
    "highest": "highest of these frames",
    "low": "lower end of the 95% interval of the mean over shots; empty for fewer than 8 shots",
    "high": "upper end of that interval",
}
_SIZE = {
    "latent_numbers": "numbers per frame; empty for a codec",
    "latent_bits": "bits per frame after quantisation; empty for a codec",
    "coded_bytes": "bytes per frame, mean over the film: latents after lossless coding, or a "
    "codec's stream",
    "decoder_bytes": "bytes of the decoder's weights, at 32 bits unless the recipe rounds them",
    "parameters": "parameters of the model",
    "trained_frames": "frames seen in training, counting repeats",
    "trained_steps": "training steps",
    "trained_epochs": "passes over the training frames",
    "trained_seconds": "seconds of training",
}
_SPEED = {
    "median": "frames/s, median of the timings",
    "lower_quartile": "their lower quartile",
    "upper_quartile": "their upper quartile",
    "repeats": "number of timings",
}
_COST = {
    "cost_batch": "frames per batch when timed; empty for a codec, timed over the whole film",
    **{
        f"{what}_memory_{kind}": f"peak bytes {kind} while one batch was processed, {what}"
        for what in ("train", "round_trip")
        for kind in ("allocated", "reserved")
    },
    "encode_multiply_adds": "multiply-adds per frame",
    "decode_multiply_adds": "multiply-adds per frame",
    "train_share_of_peak": "share of the device's measured rate for large matrix products",
    "round_trip_share_of_peak": "the same for encoding and decoding",
    "train_joules": "energy of the device per frame, in joules",
    "round_trip_joules": "energy of the device per frame, in joules",
}
_TAKEDOWN = {
    "takedown_frame_step": "1 if every frame was compared, N if every Nth frame was",
    "takedown_comparable": "frames of the original of quality 50 or more",
    "takedown_matched": "share of these whose reconstruction matches",
    "takedown_retrieved": "share of these whose reconstruction is nearest to its own frame",
    "takedown_found": "share of these that any reconstructed frame matches",
    "takedown_film_matches": "whether the film as a whole would match",
    "takedown_precision": "share of all matches that are with this film",
    "takedown_false_matches": "share of frames that match another film, by film, as JSON",
}
_FAILURES = {
    "still_shots_ratio": "spread within the stillest shots, as a share of the source's",
    "all_shots_ratio": "spread within all shots, as a share of the source's",
    "batch_dependence": "share of samples that other frames in a batch change by over a level",
    "black_psnr": "PSNR of a black frame",
    "grey_psnr": "PSNR of a grey frame",
    "white_psnr": "PSNR of a white frame",
}
_WHERE = {
    "device": "cpu or cuda",
    "device_name": "the device's own name",
    "precision": "numeric precision of training; empty without one",
    "compile": "how the training step was compiled; empty without one",
    "threads": "processor threads used",
    "torch": "torch version",
    "commit": "film-zoo commit",
    "fingerprint": "fingerprint of the evaluation film",
}


def columns(results: Results) -> list[str]:
    """Every column of the file, in order."""
    return [
        *_WHO,
        "frames",
        *(f"{metric.name}_{name}" for metric in results.metrics for name in _STATISTICS),
        *_SIZE,
        *(f"{timing}_{name}" for timing in TIMINGS for name in _SPEED),
        *_COST,
        *_TAKEDOWN,
        *_FAILURES,
        *_WHERE,
    ]


def explained(results: Results) -> dict[str, str]:
    """Describe every column; metric columns and timing columns share one description each."""
    metrics = ", ".join(metric.name for metric in results.metrics)
    timings = ", ".join(TIMINGS)
    meanings = {**_WHO, "frames": "frames in the part"}
    meanings |= {f"METRIC_{name}": meaning for name, meaning in _STATISTICS.items()}
    meanings["METRIC"] = f"one of {metrics}"
    meanings |= _SIZE
    meanings |= {f"TIMING_{name}": meaning for name, meaning in _SPEED.items()}
    meanings["TIMING"] = f"one of {timings}; _one is of one frame at a time"
    return meanings | _COST | _TAKEDOWN | _FAILURES | _WHERE


def write_csv(path: Path, results: Results) -> None:
    """Write the records as CSV, atomically."""
    names = columns(results)
    with (
        atomic_write(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        tuned = tuning_films(results)
        for record in results.records:
            row_of = {"tuning_film": record.evaluated_on in tuned}
            for part in _parts(results, record):
                writer.writerow(_row(results, record, part) | row_of)


def _parts(results: Results, record: Record) -> list[Part | None]:
    if record.status == "failed":
        return [None]
    film = next(film for film in results.films if film.name == record.evaluated_on)
    sizes = _sizes(film, record)
    scored = {part for parts in record.scores.values() for part in parts}
    kept: list[Part | None] = [part for part in PARTS if part in scored or sizes.get(part)]
    return kept or [None]


def _row(results: Results, record: Record, part: Part | None) -> dict[str, object]:
    film = next(film for film in results.films if film.name == record.evaluated_on)
    row: dict[str, object] = {
        **{name: getattr(record, name) for name in _WHO if name in Record.model_fields},
        **{name: getattr(record.environment, name) for name in _WHERE if name != "fingerprint"},
        "options": json.dumps(record.options, sort_keys=True),
        "waivers": json.dumps(record.waivers, sort_keys=True) if record.waivers else None,
        "part": part,
        "precision": training_precision(record) or None,
        "compile": record.environment.compile if training_precision(record) else None,
        "parameters": record.parameters,
        "fingerprint": film.fingerprint,
    }
    if part:
        row["frames"] = _sizes(film, record).get(part)
    for metric in results.metrics:
        summary = record.scores.get(metric.name, {}).get(part) if part else None
        if summary:
            low, high = summary.sound_interval or (None, None)
            values = {**summary.model_dump(), "low": low, "high": high}
            row |= {f"{metric.name}_{name}": values[name] for name in _STATISTICS}
    if record.latent:
        row |= {
            "latent_numbers": record.latent.numbers,
            "latent_bits": record.latent.bits,
            "coded_bytes": record.latent.coded_bytes,
            "decoder_bytes": record.latent.decoder_bytes,
        }
    if record.training:
        row |= {
            f"trained_{name}": getattr(record.training, name)
            for name in ("frames", "steps", "epochs", "seconds")
        }
    return row | _cost(record.cost) | _takedown(record) | _failure_analysis(record)


def _sizes(film: FilmInfo, record: Record) -> dict[Part, int]:
    """The number of frames in each part that a record scores."""
    if record.trained_on != record.evaluated_on:
        return {"other": film.frames}
    return {"seen": film.seen_frames, "held_out": film.held_out_frames}


def _cost(cost: Cost | None) -> dict[str, object]:
    if cost is None:
        return {}
    row: dict[str, object] = {"cost_batch": cost.batch}
    for kind in TIMINGS:
        timing: Throughput | None = getattr(cost, kind)
        if timing:
            row |= {f"{kind}_{name}": getattr(timing, name) for name in _SPEED}
    for what in ("train", "round_trip"):
        memory: Memory | None = getattr(cost, f"{what}_memory")
        if memory:
            row[f"{what}_memory_allocated"] = memory.allocated
            row[f"{what}_memory_reserved"] = memory.reserved
    return row | {name: getattr(cost, name) for name in _COST if name in Cost.model_fields}


def _takedown(record: Record) -> dict[str, object]:
    if record.takedown is None:
        return {}
    found = record.takedown.model_dump()
    found["false_matches"] = json.dumps(found["false_matches"], sort_keys=True)
    return {name: found[name.removeprefix("takedown_")] for name in _TAKEDOWN}


def _failure_analysis(record: Record) -> dict[str, object]:
    found = record.failure_analysis
    if found is None:
        return {}
    row: dict[str, object] = {
        f"{frame.name}_psnr": frame.scores.get("psnr") for frame in found.plain
    }
    for name in ("still_shots", "all_shots"):
        shots = getattr(found, name)
        row[f"{name}_ratio"] = shots.ratio if shots else None
    row["batch_dependence"] = found.batch_dependence.differing if found.batch_dependence else None
    return row
