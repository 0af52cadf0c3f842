"""Results for every branch of the sentences that a report can say."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.report.gpu_summary import put as put_gpu
from tests.report.sentence_results import TWO, changed, crossed, results_of, sized, without
from tests.report.synthetic_results import (
    comparison,
    put_pictures,
    record,
    summary,
)
from zoo.base import numbers
from zoo.report.aggregate import ResultRow
from zoo.report.costs import cost_table, timing_protocol
from zoo.report.cross_film_matrix import cross_film_findings
from zoo.report.failure_slices import SLICE_KINDS, failure_findings, failure_notes
from zoo.report.findings import who_is_ahead, why_in_this_order
from zoo.report.gpu_section import gpu_sections
from zoo.report.protocol import (
    frames_by_the_clock,
    latent_notes,
    training_received,
    tuning_notes,
    tuning_sentences,
    unequal_terms,
)
from zoo.report.rate_distortion import bjontegaard_table
from zoo.report.score_tables import (
    across_films_table,
    film_table,
    interval_note,
    takedown_explanation,
)
from zoo.report.table import failure_note
from zoo.report.write import write_report

MISSING = "pca", "beta"


def findings_of_who_is_ahead() -> Iterator[tuple[str, list[str]]]:
    pca = {"pca": [(0.4, 20.0)]}
    yield "the models are ahead of every reference", who_is_ahead(results_of(TWO, pca))
    yield "without references, on one film", who_is_ahead(results_of(TWO, films=("alpha",)))
    yield (
        "a reference is ahead in one metric",
        who_is_ahead(results_of(TWO, {"pca": [(0.3, 30.0)]})),
    )
    yield "a reference is ahead in both", who_is_ahead(results_of(TWO, {"pca": [(0.01, 30.0)]}))
    many = {f"ref{number}": [(0.01 * number, 30.0)] for number in range(1, 7)}
    yield "many references are ahead", who_is_ahead(results_of(TWO, many))
    yield (
        "codecs are ahead",
        who_is_ahead(
            results_of(TWO, pca, {"x264": [(0.02, 30.0)], "x265": [(0.03, 31.0)]}, ("alpha",))
        ),
    )
    yield "a reference is level", who_is_ahead(results_of(TWO, {"pca": [(0.1, 26.0)]}))
    sizes = {"sharp": 28.4, "blurry": 9.6, "x264": 62.0, "pca": 30.1}
    for name, scores in (("ahead", (0.05, 27.0)), ("behind", (0.3, 20.0)), ("level", (0.1, 26.0))):
        general = results_of(TWO, {"general": [scores]}, films=("alpha",))
        for one in general.records:
            one.pretrained = one.model == "general"
        large = who_is_ahead(sized(general, {"general": 2_600.0}))
        yield f"a pretrained reference of more bytes is {name}", large
        few = sized(general, {"general": 14.24})
        yield f"a pretrained reference of the same bytes is {name}", who_is_ahead(few)
    yield "models of two sizes", who_is_ahead(sized(results_of(TWO, pca), sizes))
    ahead = results_of(TWO, {"pca": [(0.05, 27.0)]}, {"x264": [(0.02, 30.0)]})
    yield "references of another size are ahead", who_is_ahead(sized(ahead, sizes))
    three_sizes = {"large": [(0.1, 24.0)], "medium": [(0.2, 23.0)], "small": [(0.3, 26.0)]}
    bytes_of = {"large": 180.0, "medium": 60.0, "small": 20.0}
    yield "models of three sizes", who_is_ahead(sized(results_of(three_sizes), bytes_of))
    yield "a constant model", who_is_ahead(sized(results_of(TWO), {"sharp": 14.0, "blurry": 0.0}))
    yield "the one model", who_is_ahead(results_of({"sharp": [(0.1, 22.0)]}, pca))
    yield (
        "a small lead",
        who_is_ahead(results_of({"sharp": [(0.1, 22.0)], "near": [(0.101, 21.9)]})),
    )
    three = {
        "one": [(0.10, 20.0), (0.20, 20.1), (0.30, 20.2)],
        "two": [(0.25, 22.0), (0.20, 22.1), (0.22, 22.2)],
    }
    yield "three seeds: level in one metric, ahead in the other", who_is_ahead(results_of(three))
    yield (
        "two seeds",
        who_is_ahead(results_of({"one": [(0.1, 20), (0.2, 21)], "two": [(0.3, 22)] * 2})),
    )
    yield "one row with fewer seeds", who_is_ahead(results_of({**three, "few": [(0.5, 15.0)]}))
    left_out = results_of({**TWO, "late": [(0.2, 20.0)], "later": [(0.2, 20.0)]})
    left_out.records = [
        one for one in left_out.records if "late" not in one.model or one.trained_on == "alpha"
    ]
    yield "models that did not get through every film", who_is_ahead(left_out)
    for films in (("alpha", "beta"), ("alpha",)):
        alone = results_of(TWO, pca, films=films)
        for one in alone.records:
            if one.model == "blurry" and one.trained_on == "alpha":
                del one.scores["lpips"]
        yield f"one model with a score on every one of {len(films)} films", who_is_ahead(alone)[:1]
    leading = {"pca": [(0.01, 40.0)], "mean": [(0.5, 10.0)]}
    one_failed = results_of(TWO, leading)
    one_failed.records = [r for r in one_failed.records if (r.model, r.trained_on) != MISSING]
    yield "the best reference did not get through every film", who_is_ahead(one_failed)
    one_missing = results_of(TWO, leading)
    for one in one_missing.records:
        if (one.model, one.trained_on) == MISSING:
            del one.scores["lpips"]
    yield "a reference lacks one metric on one film", who_is_ahead(one_missing)
    models_missing = results_of({**TWO, "third": [(0.3, 20.0)]})
    for one in models_missing.records:
        if one.model == "sharp":
            del one.scores["lpips"]
    yield "a model lacks one metric", who_is_ahead(models_missing)
    some_held_out = results_of(TWO, pca, films=("alpha", "beta", "gamma"))
    for one in some_held_out.records:
        if one.trained_on != "alpha":
            one.scores = {name: {"seen": parts["seen"]} for name, parts in one.scores.items()}
    yield "frames were held out of one of three films", who_is_ahead(some_held_out)
    some_held_out.records += [
        r for r in results_of(TWO, films=("alpha", "beta")).records if r.trained_on == "beta"
    ]
    yield "frames were held out of two of three films", who_is_ahead(some_held_out)[:2]
    seen = without(without(results_of(TWO, pca), "lpips", "held_out"), "psnr", "held_out")
    yield "nothing held out", who_is_ahead(seen)
    ratio = results_of(TWO)
    ratio.metrics = [metric for metric in ratio.metrics if metric.name == "sharpness"]
    for index, one in enumerate(ratio.records):
        one.scores = {"sharpness": {"held_out": summary(0.5 + index / 10)}}
    yield "only a ratio", who_is_ahead(ratio)
    yield "no metric", who_is_ahead(changed(results_of(TWO), scores={}))
    yield "no model", who_is_ahead(results_of({}, pca))


def films_that_overlap() -> Iterator[tuple[str, list[str]]]:
    results = results_of(TWO, films=("alpha", "beta", "gamma"))
    results.films[0].overlaps = {"beta": 0.55, "gamma": 0.0}
    results.records += crossed(TWO, ("alpha", "beta", "gamma"))
    yield "two of three films overlap: who is ahead", who_is_ahead(results)[-2:]
    yield "two of three films overlap: other films", cross_film_findings(results)
    results.films[1].overlaps = {"alpha": 0.1, "gamma": 0.03}
    yield "two pairs overlap", [*who_is_ahead(results)[-3:], *cross_film_findings(results)]
    results.films[0].overlaps = {"beta": 0.55, "gamma": 0.2}
    yield "every pair overlaps", cross_film_findings(results)
    for one in results.films:
        one.overlaps = None
    yield "by reconstructions, in old records", who_is_ahead(results)[-2:]


def other_films() -> Iterator[tuple[str, list[str]]]:
    for title, models in (
        ("one model", {"sharp": [(0.1, 22.0)]}),
        ("one seed", TWO),
        ("three seeds, ahead", {name: [pair[0]] * 3 for name, pair in TWO.items()}),
        ("three seeds, level", {"a": [(0.1, 20), (0.2, 20), (0.3, 20)], "b": [(0.25, 20)] * 3}),
    ):
        results = results_of(models)
        results.records += crossed(models, ("alpha", "beta"))
        yield title, cross_film_findings(results)
    results = results_of(TWO)
    for one in results.records:
        if one.trained_on == "beta":
            one.scores = {name: {"seen": parts["seen"]} for name, parts in one.scores.items()}
    results.records += crossed(TWO, ("alpha", "beta"))
    yield "frames were held out of one of two films", cross_film_findings(results)
    results = results_of(TWO)
    results.metrics = [metric for metric in results.metrics if metric.name == "psnr"]
    results.records += crossed(TWO, ("alpha", "beta"))
    yield "by a metric that is better the higher", cross_film_findings(results)


def orders() -> Iterator[tuple[str, list[str]]]:
    some = results_of(TWO)
    for one in some.records:
        if one.trained_on == "beta":
            one.scores = {name: {"seen": summary(9.0)} for name in one.scores}
    yield "frames were held out of one of two films", why_in_this_order(some)
    level = results_of({"a": [(0.1, 26.0)] * 3, "b": [(0.1, 26.0), (0.1, 25.9), (0.1, 25.8)]})
    yield "two are level in both", why_in_this_order(level)
    yield "the metrics disagree", why_in_this_order(results_of(TWO))
    yield "they agree", why_in_this_order(results_of({"good": [(0.1, 26.0)], "bad": [(0.3, 20.0)]}))
    bytes_of = {"sharp": 28.4, "blurry": 9.6}
    yield "they disagree and differ in size", why_in_this_order(sized(results_of(TWO), bytes_of))
    three = {"a": [(0.1, 26.0)], "b": [(0.2, 24.0)], "c": [(0.3, 25.0)]}
    yield "three models", why_in_this_order(results_of(three))
    yield "one other pair is level", why_in_this_order(results_of({**three, "c": [(0.3, 24.0)]}))
    yield (
        "more pairs are level",
        why_in_this_order(
            results_of({**three, "c": [(0.3, 24.0)], "d": [(0.3, 22.0)], "e": [(0.4, 22.0)]})
        ),
    )
    psnr = results_of(TWO)
    psnr.metrics = [metric for metric in psnr.metrics if metric.name == "psnr"]
    yield "by a metric that is better the higher", why_in_this_order(psnr)
    slow = results_of(TWO)
    for one in slow.records:
        if one.model == "sharp" and one.cost and one.cost.train:
            timing = one.cost.train.model_copy(update={"median": 100.0, "upper_quartile": 101.0})
            timing.lower_quartile = 99.0
            one.cost.train = timing
        elif one.cost and one.cost.train:
            one.cost.train.lower_quartile = one.cost.train.upper_quartile = 312.0
    yield "one is slow", why_in_this_order(slow)


def weak_points() -> Iterator[tuple[str, list[str]]]:
    for trait in SLICE_KINDS:
        for worse, which in (("low", 0), ("high", 4)):
            for affected in (("sharp",), ("sharp", "blurry")):
                results = results_of(TWO, films=("alpha",))
                for one in results.records:
                    assert one.failure_analysis is not None
                    one.failure_analysis.plain, one.failure_analysis.still_shots = [], None
                    one.failure_analysis.batch_dependence = None
                    for found in one.failure_analysis.slices["seen"]:
                        found.by = trait.name
                        bad = one.model in affected and found.lowest == 20.0 * which
                        found.scores = {"lpips": 0.3 if bad else 0.1}
                title = f"{trait.name}, {worse} end, {numbers.counted(len(affected), 'model')}"
                yield title, failure_findings(results, results.films[0])
    notes = results_of(TWO, films=("alpha",))
    yield "the fifths", failure_notes(notes, notes.films[0])
    for title, models in (
        ("none fails", {"sharp": [(0.1, 20.0)]}),
        ("some fail", {"sharp": [(0.1, 20.0)], "blurry": [(0.2, 20.0)]}),
        ("all fail", {"blurry": [(0.2, 20.0)], "grey": [(0.2, 20.0)]}),
    ):
        results = results_of(models, films=("alpha",))
        for one in results.records:
            if one.model != "sharp":
                one.failure_analysis = record("blurry", "alpha").failure_analysis
            assert one.failure_analysis is not None
            one.failure_analysis.slices = {}
        yield title, failure_findings(results, results.films[0])


def tables() -> Iterator[tuple[str, list[str]]]:
    codecs = {"x264": [(0.02, 30.0)], "x265": [(0.03, 31.0)]}
    results = results_of(TWO, codecs=codecs)
    for one in results.records:
        if one.model == "x264":
            one.note = "20.0 bytes per frame is the least x264 gives here; 16 were asked for"
    results.metrics[0].unavailable = "the weights could not be fetched"
    yield "notes across films", [*across_films_table(results).notes]
    yield "notes of a film", [*film_table(results, results.films[0]).notes]
    lacking = results_of(TWO)
    del lacking.records[0].scores["psnr"]["held_out"]
    del lacking.records[1].scores["psnr"]["held_out"]
    yield "a number is missing", [*across_films_table(lacking).notes]
    for count in (1, 2):
        bare = results_of(TWO)
        for one in bare.films[:count]:
            one.held_out_frames = 0
        yield (
            f"nothing held out of {numbers.counted(count, 'film')}",
            [*across_films_table(bare).notes],
        )
    for title, seen, held_out in (("old records", None, None), ("few shots", 9, 1), ("", 3, 2)):
        few = results_of(TWO)
        for one in few.records:
            for parts in one.scores.values():
                for part, each in parts.items():
                    each.shots = held_out if part == "held_out" else seen
        yield f"intervals, {title or 'fewer still'}", [interval_note(few, few.films[0]) or ""]
    worked, broke = results.records[0], results.records[1].model_copy()
    broke.status, broke.reason = "failed", "out of memory"
    films = results.films
    yield (
        "rows that did not get through",
        [
            failure_note(ResultRow("m", "m", "model", "A", good, bad), films)
            for good, bad in (((worked,), ()), ((), (broke,)), ((worked,), (broke,)))
        ]
        + [
            failure_note(ResultRow("m", "m", "model", "A", (worked, broke), (broke,)), films[:1]),
        ],
    )


def rules() -> Iterator[tuple[str, list[str]]]:
    for step, frames in ((1, 1), (2, 6000), (3, 6000), (22, 6000)):
        results = results_of(TWO, films=("alpha",))
        for one in results.records:
            assert one.takedown is not None
            one.takedown.frame_step, one.takedown.comparable = step, frames
        yield f"the takedown rule, step {step}", [takedown_explanation(results, results.films[0])]
    for one in results.records:
        assert one.takedown is not None
        one.takedown.false_matches = {}
    yield "the takedown rule, one film", [takedown_explanation(results, results.films[0])]
    yield "ordinals", [numbers.every(step) for step in (1, 2, 3, 4, 11, 12, 13, 21, 22, 103, 111)]


def terms() -> Iterator[tuple[str, list[str]]]:
    results = results_of(TWO)
    yield "equal training", training_received(results)
    for one in results.records:
        if one.model == "sharp":
            assert one.training and one.latent
            one.training.frames, one.training.seconds = 2400, 400.0
            one.latent.decoder_bytes = 16_000_000
            one.unequal_terms = ["each step also trains on as many warped copies."]
            one.tuned_on = ["beta", "elsewhere"]
    yield "unequal training", training_received(results)
    yield "unequal terms", unequal_terms(results)
    other = results_of(TWO)
    for one in other.records:
        one.options = {"latent": 8, "warps": 0.1}
        if one.model == "sharp" and one.trained_on == "beta":
            one.options = {"latent": 8, "warps": 0.02, "dense": 96}
    yield "other options on another film", unequal_terms(other)
    for one in other.records:
        if one.options.get("dense"):
            one.status = "failed"
    yield "other options where a model failed", unequal_terms(other)
    yield "tuning films", [*tuning_notes(results), *tuning_sentences(results)]
    yield "no tuning films", tuning_notes(results_of(TWO))
    timed = results_of(TWO)
    timed.budget = "60s"
    for one in timed.records:
        if one.training:
            one.training.frames = 1200 if one.model == "sharp" else 8000
    yield "a budget in seconds", frames_by_the_clock(timed)
    old = changed(results_of(TWO), unequal_terms=None, tuned_on=None, waivers=None)
    yield "old records", [*unequal_terms(old), *tuning_notes(old)]
    yield "records that know no waivers", unequal_terms(changed(results_of(TWO), waivers=None))
    broken = results_of(TWO)
    for one in broken.records:
        if one.model == "sharp":
            one.waivers = {"batch invariant": "it normalises by the batch", "trains": "not | all"}
        else:
            one.waivers = {"trains on every frame": "the last ones are dropped"}
    table = across_films_table(broken)
    yield "waivers", [*(row.name for row in table.rows), *table.notes]
    yield "long latents", latent_notes(results)


def costs() -> Iterator[tuple[str, list[str]]]:
    results = results_of(TWO, codecs={"x264": [(0.02, 30.0)]})
    for one in results.records:
        if one.kind == "codec" and one.cost:
            one.cost.batch = None
    yield "how they were timed", timing_protocol(results)
    table = cost_table(results)
    assert table is not None
    yield "what is missing", [*table.notes]
    assert results.records[0].cost and results.records[2].cost
    results.records[0].cost.unavailable = {"train": "memory ran out"}
    table = cost_table(results)
    assert table is not None
    yield "what one is missing", [*table.notes]


def curves() -> Iterator[tuple[str, list[str]]]:
    for rates in (1, 3, 4):
        results = results_of(TWO, films=("alpha",))
        for size in range(rates):
            one = results_of({}, codecs={"x264": [(0.5 - size / 10, 20.0 + size)]}).records[0]
            assert one.latent is not None
            one.latent.coded_bytes, one.options = 10_000.0 + size, {"bytes_per_frame": size}
            results.records.append(one)
        found = bjontegaard_table(results, results.films[0])
        yield f"a codec at {numbers.counted(rates, 'rate')}", [str(found)]


def on_a_gpu() -> Iterator[tuple[str, list[str]]]:
    with tempfile.TemporaryDirectory() as folder:
        put_gpu(Path(folder))
        (section,) = gpu_sections(Path(folder))
    lines = [line for block in section.blocks for line in block.splitlines()]
    yield section.heading, [line.removeprefix("- ") for line in lines if line]


def whole_report() -> Iterator[tuple[str, list[str]]]:
    results = comparison()
    with tempfile.TemporaryDirectory() as folder:
        put_pictures(results, Path(folder))
        lines = write_report(results, Path(folder)).read_text(encoding="utf-8").splitlines()
    # Tables are numbers; pictures over time are another's to word.
    kept = [line for line in lines if line and not line.startswith(("|", "![LPIPS (AlexNet) over"))]
    yield "as it is written", [line[:1500] for line in kept]


CHAPTERS = {
    "Who is ahead": findings_of_who_is_ahead,
    "Films that overlap": films_that_overlap,
    "Other films": other_films,
    "Why in this order": orders,
    "Where it fails": weak_points,
    "Tables": tables,
    "Takedown": rules,
    "Terms": terms,
    "Costs": costs,
    "Rates": curves,
    "On a GPU": on_a_gpu,
    "A whole report": whole_report,
}
