"""`results.csv`: the records as one flat table, for a spreadsheet or a data frame.

One row a record and part of its film; a failed record is one row without a part. Numbers stand
in full precision, a missing one is an empty field. `columns` names every column and what it holds.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

from zoo.records import Part, Record, Results, Throughput
from zoo.workspace import written_aside

PARTS: tuple[Part, ...] = ("seen", "held_out")
KINDS = ("train", "encode", "decode")

_WHO = {
    "film": "the film that was watched",
    "trained_on": "the film the model was trained on",
    "model": "name of the model or reference",
    "role": "model or reference",
    "kind": "autoencoder, or codec: it coded every frame, held-out ones too",
    "origin": "package and version that brought it",
    "options": "its options, as JSON",
    "seed": "seed of the run",
    "status": "ok or failed",
    "reason": "why it failed",
    "note": "what must be known of one that worked",
    "part": "seen (trained on) or held_out (shots never trained on); empty where it failed",
}
_STATISTICS = {
    "mean": "mean over the frames of the part",
    "sd": "standard deviation over these frames",
    "lowest": "lowest of these frames",
    "highest": "highest of these frames",
}
_SIZE = {
    "latent_numbers": "numbers a frame; empty for a codec",
    "latent_bits": "bits a frame with each number at 8 bits; empty for a codec",
    "coded_bytes": "bytes a frame, mean over the film: latents after lossless coding, or a codec's "
    "stream",
    "decoder_bytes": "bytes of the decoder's weights at 32 bits",
    "parameters": "parameters of the model",
    "trained_frames": "frames seen in training, repeats counted",
    "trained_steps": "steps of training",
    "trained_epochs": "passes over the training frames",
    "trained_seconds": "seconds of training",
}
_SPEED = {
    "median": "frames per second, median of the timings",
    "lower_quartile": "their lower quartile",
    "upper_quartile": "their upper quartile",
    "repeats": "how many timings",
}
_WHERE = {
    "cost_batch": "frames a batch when timed; empty for a codec, timed over the whole film",
    "device": "cpu or cuda",
    "device_name": "the device's own name",
    "precision": "arithmetic of the run",
    "threads": "threads of the processor",
    "torch": "version of torch",
    "commit": "commit of film-zoo",
    "fingerprint": "fingerprint of the watched film",
}


def columns(results: Results) -> dict[str, str]:
    """Every column of the file, in order, and what it holds."""
    every = dict(_WHO)
    every["frames"] = "frames in the part"
    for metric in results.metrics:
        unit = f", {metric.unit}" if metric.unit else ""
        for name, meaning in _STATISTICS.items():
            every[f"{metric.name}_{name}"] = f"{metric.label}{unit}: {meaning}"
    every |= _SIZE
    for kind in KINDS:
        for name, meaning in _SPEED.items():
            every[f"{kind}_{name}"] = f"{kind}: {meaning}"
    return every | _WHERE


def write_csv(path: Path, results: Results) -> None:
    """Write the records as CSV, whole or not at all."""
    names = list(columns(results))
    with (
        written_aside(path) as aside,
        aside.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        for record in results.records:
            for part in _parts(results, record):
                writer.writerow(_row(results, record, part))


def _parts(results: Results, record: Record) -> list[Part | None]:
    if record.status == "failed":
        return [None]
    film = next(film for film in results.films if film.name == record.watched)
    sizes = {"seen": film.seen_frames, "held_out": film.held_out_frames}
    scored = {part for parts in record.scores.values() for part in parts}
    kept: list[Part | None] = [part for part in PARTS if part in scored or sizes[part]]
    return kept or [None]


def _row(results: Results, record: Record, part: Part | None) -> dict[str, object]:
    film = next(film for film in results.films if film.name == record.watched)
    environment = record.environment
    row: dict[str, object] = {
        "film": record.watched,
        "trained_on": record.trained_on,
        "model": record.model,
        "role": record.role,
        "kind": record.kind,
        "origin": record.origin,
        "options": json.dumps(record.options, sort_keys=True),
        "seed": record.seed,
        "status": record.status,
        "reason": record.reason,
        "note": record.note,
        "part": part,
        "parameters": record.parameters,
        "device": environment.device,
        "device_name": environment.device_name,
        "precision": environment.precision,
        "threads": environment.threads,
        "torch": environment.torch,
        "commit": environment.commit,
        "fingerprint": film.fingerprint,
    }
    sizes = {"seen": film.seen_frames, "held_out": film.held_out_frames}
    if part:
        row["frames"] = sizes[part]
    for metric in results.metrics:
        summary = record.scores.get(metric.name, {}).get(part) if part else None
        if summary:
            row["frames"] = summary.frames
            row |= {f"{metric.name}_{name}": getattr(summary, name) for name in _STATISTICS}
    if record.latent:
        row |= {
            "latent_numbers": record.latent.numbers,
            "latent_bits": record.latent.bits,
            "coded_bytes": record.latent.coded_bytes,
            "decoder_bytes": record.latent.decoder_bytes,
        }
    if record.spent:
        row |= {
            f"trained_{name}": getattr(record.spent, name)
            for name in ("frames", "steps", "epochs", "seconds")
        }
    if record.cost:
        row["cost_batch"] = record.cost.batch
        for kind in KINDS:
            timing: Throughput | None = getattr(record.cost, kind)
            if timing:
                row |= {f"{kind}_{name}": getattr(timing, name) for name in _SPEED}
    return row
