"""Results with chosen scores, which give rise to a certain sentence of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.report.synthetic_results import METRICS, comparison, film, foreign, record, summary
from zoo.base.records import LatentInfo, Record, Results

Scores = Mapping[str, Sequence[tuple[float, float]]]
"""LPIPS and PSNR of each seed, by the name of a row."""
TWO: Scores = {"sharp": [(0.1, 22.0)], "blurry": [(0.25, 26.0)]}


def results_of(
    models: Scores,
    references: Scores | None = None,
    codecs: Scores | None = None,
    films: Sequence[str] = ("alpha", "beta"),
) -> Results:
    """Results with these scores on held-out frames of every film, and a little better seen."""
    results = comparison()
    results.films = [
        film(name, name.title(), "CC0").model_copy(
            update={"overlaps": {other: 0.0 for other in films if other != name}}
        )
        for name in films
    ]
    results.metrics = [metric.model_copy() for metric in METRICS if metric.name != "ssim"]
    results.records = []
    for scores, like in ((models, "sharp"), (references, "linear"), (codecs, "linear")):
        for name, seeds in (scores or {}).items():
            for own in films:
                for seed, (lpips, psnr) in enumerate(seeds):
                    one = record(like, own, seed=seed)
                    one.model, one.pictures, one.rate = name, [], []
                    one.run = f"runs/{own}/{name}/{seed}"
                    if scores is codecs:
                        one.kind, one.parameters = "codec", None
                        one.latent = LatentInfo(
                            numbers=None, bits=None, coded_bytes=20.0, decoder_bytes=None
                        )
                    one.scores = {
                        "lpips": {"seen": summary(lpips - 0.05), "held_out": summary(lpips)},
                        "psnr": {"seen": summary(psnr + 1), "held_out": summary(psnr)},
                    }
                    results.records.append(one)
    return results


def sized(results: Results, sizes: Mapping[str, float]) -> Results:
    """The results with models, references and codecs that take these bytes per frame."""
    for one in results.records:
        if one.latent and one.model in sizes:
            one.latent.coded_bytes = sizes[one.model]
    return results


def changed(results: Results, **fields: object) -> Results:
    for one in results.records:
        for name, value in fields.items():
            setattr(one, name, value)
    return results


def without(results: Results, metric: str, part: str) -> Results:
    for one in results.records:
        if metric in one.scores:
            one.scores[metric].pop(part, None)  # type: ignore[call-overload]
    return results


def crossed(models: Scores, films: Sequence[str]) -> list[Record]:
    found = []
    for name, seeds in models.items():
        for own in films:
            for other in films:
                for seed, (lpips, psnr) in enumerate(seeds if own != other else ()):
                    one = foreign("sharp", own, other, seed)
                    one.model = name
                    one.scores = {
                        "lpips": {"other": summary(lpips + 0.3)},
                        "psnr": {"other": summary(psnr - 5)},
                    }
                    found.append(one)
    return found
