"""How results were produced: budgets, unequal terms, software, options and failures."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from zoo.base import numbers
from zoo.base.errors import BadInput
from zoo.base.markdown import Markdown, grid
from zoo.base.presets_and_budgets import Budget
from zoo.base.records import Record, Results
from zoo.base.safe_text import one_line
from zoo.report.aggregate import (
    BYTES,
    bytes_per_frame,
    film_label,
    machine_key,
    machines,
    result_rows,
    training_precision,
    tuned_by,
    tuning_films,
)
from zoo.report.ranking import ranking, sort_rows

MISSED = 1.03
"""A codec misses its requested bytes if it takes more than this many times as many."""
ALIKE = 1.5
"""Decoders count as unequal if one is more than this many times as large as another."""


def latent_notes(results: Results) -> list[str]:
    """A warning for each film that has few frames for the size of its latents."""
    notes = []
    # A pretrained network learned nothing from the film, so it cannot have stored it.
    records = [record for record in results.records if not record.pretrained]
    for film in results.films:
        sizes = {
            record.latent.numbers
            for record in records
            if record.trained_on == film.name and record.latent and record.latent.numbers
        }
        large = sorted(size for size in sizes if size > film.seen_frames / 10)
        if large:
            notes.append(
                f"{one_line(film.name, 60)}: a latent of "
                f"{numbers.listed([f'{size:,}' for size in large], 'or')} numbers is more than a "
                f"tenth of the {numbers.counted(film.seen_frames, 'training frame')}. Even a "
                "linear projection to that many numbers can come close to storing the film, so "
                "only held-out frames can distinguish models here."
            )
    return notes


def training_received(results: Results) -> list[str]:
    """What training each model received on each film, and whether it was the same for all."""
    sentences = []
    for film in results.films:
        by_frames: dict[int, list[str]] = {}
        seconds: dict[str, list[float]] = {}
        for row in result_rows(results, film.name):
            if row.role != "model":
                continue
            for record in row.records:
                if record.training:
                    names = by_frames.setdefault(record.training.frames, [])
                    if row.name not in names:
                        names.append(row.name)
                    if record.training.seconds is not None:
                        seconds.setdefault(row.name, []).append(record.training.seconds)
        name = one_line(film.name, 60)
        if len(by_frames) == 1:
            count = numbers.counted(next(iter(by_frames)), "training frame")
            sentence = f"{name}: {count} for every model"
        elif by_frames:
            sentence = f"{name}: training frames differ, with " + numbers.listed(
                [f"{frames:,} for {numbers.listed(names)}" for frames, names in by_frames.items()]
            )
        else:
            continue
        if seconds:
            # Per model, because a mean over models would describe none of them.
            times = [
                f"{model} {numbers.duration(statistics.fmean(found))}"
                for model, found in sorted(
                    seconds.items(), key=lambda pair: statistics.fmean(pair[1])
                )
            ]
            sentence += f". Training time: {', '.join(times)}"
        sentences.append(sentence + ".")
    return sentences


def frames_by_the_clock(results: Results) -> list[str]:
    """A sentence on the least and most training frames, where the budget is a time."""
    frames: dict[str, list[int]] = {}
    for record in results.records:
        if record.role == "model" and record.training:
            frames.setdefault(one_line(record.model, 60), []).append(record.training.frames)
    means = {name: statistics.fmean(found) for name, found in frames.items()}
    if not by_the_clock(results) or len(set(means.values())) < 2:
        return []
    (least, slow), (most, fast) = (
        (numbers.whole(means[name]), name)
        for name in (min(means, key=means.__getitem__), max(means, key=means.__getitem__))
    )
    return [
        f"The budget is a time, {one_line(results.budget, 30)} for every model, so models were "
        f"trained on different numbers of frames: from {least} ({slow}) to {most} ({fast})."
    ]


def by_the_clock(results: Results) -> bool:
    """Whether the budget of every model is a time."""
    return results.budget[-1:] == "s" and results.budget[-2:-1].isdigit()


def unequal_terms(results: Results) -> list[str]:
    """Where models are not compared on equal terms, as far as the records say."""
    models = _records_by_model(results)
    sentences = []
    sizes = {
        name: record.latent.decoder_bytes
        for name, record in models.items()
        if record.latent and record.latent.decoder_bytes
    }
    if sizes and max(sizes.values()) > ALIKE * min(sizes.values()):
        least, most = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
        sentences.append(
            f"Decoders differ in size: {numbers.scaled(sizes[least], 'B')} for {least} and "
            f"{numbers.scaled(sizes[most], 'B')} for {most}."
        )
    sentences += _options_by_film(results)
    silent = [name for name, record in models.items() if record.unequal_terms is None]
    if silent:
        sentences.append(
            f"The records of {numbers.listed(silent)} do not say which models get more images per "
            "step, make extra passes over the film, share part of their loss with a metric, or "
            "break promises on purpose; docs/models.md lists them."
        )
    shared: dict[str, list[str]] = {}
    for name, record in models.items():
        for term in record.unequal_terms or []:
            shared.setdefault(one_line(term, 300), []).append(name)
    sentences += [f"{numbers.listed(names)}: {term}" for term, names in shared.items()]
    unsaid = [n for n, record in models.items() if record.waivers is None and n not in silent]
    if unsaid:
        sentences.append(
            f"The records of {numbers.listed(unsaid)} do not say which promises of the model "
            "contract the models break on purpose; `zoo models check` does."
        )
    return sentences


def _options_by_film(results: Results) -> list[str]:
    """A sentence for each model that was trained with other options on one film than on another."""
    by_model: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for record in results.records:
        own = record.evaluated_on == record.trained_on
        if record.role == "model" and record.status == "ok" and own:
            of_film = by_model.setdefault(record.model, {}).setdefault(record.trained_on, [])
            if record.options not in of_film:
                of_film.append(record.options)
    sentences = []
    for name, films in by_model.items():
        if any(len(tried) > 1 for tried in films.values()):
            continue
        first, *others = ((film, tried[0]) for film, tried in films.items())
        for film, options in others:
            changed = [
                f"{one_line(option, 60)} is {_value(options, option)} and not "
                f"{_value(first[1], option)}"
                for option in sorted({*options, *first[1]})
                if _value(options, option) != _value(first[1], option)
            ]
            if changed:
                here, there = one_line(film, 60), one_line(first[0], 60)
                sentences.append(
                    f"{one_line(name, 60)} has other options on {here} than on {there}, so the two "
                    f"films show different networks: {'; '.join(changed)}."
                )
    return sentences


def _value(options: Mapping[str, Any], name: str) -> str:
    """An option's value for a sentence; `unset` if the record is older than the option."""
    return one_line(str(options[name]), 60) if name in options else "unset"


def seeds_in_words(results: Results) -> str:
    """Name the seeds; by film if they differ: `seed 0 (alpha), seeds 0, 1 and 2 (beta)`."""
    films: dict[tuple[int, ...], list[str]] = {}
    for film in results.films:
        seeds = sorted({r.seed for r in results.records if r.trained_on == film.name})
        films.setdefault(tuple(seeds), []).append(one_line(film.name, 60))
    named = {
        f"{numbers.verb(len(seeds), 'seed', 'seeds')} {numbers.listed([*map(str, seeds)])}": names
        for seeds, names in sorted(films.items())
        if seeds
    }
    if len(named) < 2:
        return "".join(named)
    return ", ".join(f"{seeds} ({numbers.listed(names)})" for seeds, names in named.items())


def tuning_sentences(results: Results) -> list[str]:
    """Sentences on tuning films and means over films; empty without a tuning film."""
    tuned = tuning_films(results)
    partly = [
        f"{one_line(film, 60)} is a tuning film (by name) of {numbers.listed(models)}, whose "
        "defaults were chosen on it, held-out frames included."
        for film, models in tuned_by(results).items()
        if film not in tuned
    ]
    return [*_tuning_of_all(results, tuned), *partly]


def _tuning_of_all(results: Results, tuned: set[str]) -> list[str]:
    """The sentence on films that the defaults of every model were chosen on."""
    names = [one_line(film.name, 60) for film in results.films if film.name in tuned]
    if not names:
        return []
    subject = f"{numbers.listed(names)} {numbers.verb(len(names), 'is a', 'are')} "
    kind = f"tuning {numbers.verb(len(names), 'film', 'films')} (by name)"
    chosen = (
        f"the defaults of every model were chosen on {numbers.verb(len(names), 'it', 'them')}, "
        "held-out frames included"
    )
    if len(names) < len(results.films):
        left_out = numbers.verb(len(names), "It is", "They are")
        return [f"{subject}{kind}: {chosen}. {left_out} left out of means and counts over films."]
    if len(names) == 1:
        return [f"{subject}{kind}: {chosen}."]
    return [f"All {len(names)} films are {kind}: {chosen}. So means are over all of them."]


def tuning_notes(results: Results) -> list[str]:
    """Sentences on which films the models' defaults were chosen on."""
    models = _records_by_model(results)
    silent = [name for name, record in models.items() if record.tuned_on is None]
    sentences = []
    if silent:
        sentences.append(
            f"The records of {numbers.listed(silent)} do not say which films the defaults were "
            "chosen on; docs/models.md lists them."
        )
    here = tuned_by(results)
    for film, names in here.items():
        sentences.append(
            f"{one_line(film, 60)} is a tuning film (by name): the defaults of "
            f"{numbers.listed(names)} were chosen on it, held-out frames included."
        )
    if not silent and not here:
        sentences.append(
            "No model states one of these films, by name, as a film that its defaults were chosen "
            "on."
        )
    return sentences


def _records_by_model(results: Results) -> dict[str, Record]:
    """The first successful record of each model, by the model's name."""
    models: dict[str, Record] = {}
    for record in results.records:
        if record.role == "model" and record.status == "ok":
            models.setdefault(one_line(record.model, 60), record)
    return models


def films_table(results: Results) -> Markdown:
    """Every film with its frames, shots and licence."""
    rows = []
    for film in results.films:
        seconds = film.frames / film.fps if film.fps else None
        neither = film.frames - film.seen_frames - film.held_out_frames
        rows.append(
            [
                film_label(results, film),
                one_line(film.title, 120),
                one_line(film.size, 20),
                f"{numbers.whole(film.frames)} ({numbers.duration(seconds)} "
                f"at {numbers.rate(film.fps)} frames/s)",
                numbers.whole(film.shots),
                f"{film.seen_frames:,} / {film.held_out_frames:,} / {neither:,}",
                one_line(film.licence or "none stated", 120),
            ]
        )
    return grid(
        ["film", "title", "size", "frames", "shots", "seen / held out / neither", "licence"], rows
    )


def rows_table(results: Results) -> Markdown:
    """Describe every model and reference in a sentence, with the package that provides it."""
    rows: dict[tuple[str, str], list[str]] = {}
    for row in sort_rows(result_rows(results), ranking(results), len(results.films)):
        record = (*row.records, *row.failed)[0]
        rows.setdefault(
            (row.role, row.model),
            [
                one_line(row.model, 60),
                row.role,
                one_line(record.summary, 300) or numbers.NOT_APPLICABLE,
                record.origin,
            ],
        )
    return grid(["name", "role", "what it is", "package"], list(rows.values()))


def options_table(results: Results) -> Markdown:
    """The options of every model and reference."""
    rows = dict.fromkeys(
        (
            one_line(record.model, 60),
            ", ".join(f"{name}={value}" for name, value in sorted(record.options.items())) or "–",
        )
        for record in results.records
    )
    return grid(["name", "options"], [[name, one_line(options, 600)] for name, options in rows])


def metrics_table(results: Results) -> Markdown:
    """Every metric with its unit, its direction and its source."""
    return grid(
        ["metric", "unit", "better", "source"],
        [
            [
                one_line(metric.label, 60),
                metric.unit or numbers.NOT_APPLICABLE,
                {"one": "nearer to 1"}.get(metric.better, metric.better),
                one_line(metric.source, 300),
            ]
            for metric in results.metrics
        ],
    )


def codecs(results: Results) -> list[str]:
    """The codecs that coded at least one film."""
    return list(
        dict.fromkeys(
            one_line(record.model, 60)
            for record in results.records
            if record.kind == "codec" and record.status == "ok"
        )
    )


def codecs_at_their_least(results: Results) -> str:
    """A sentence on codecs that exceed their requested bytes; empty if none does."""
    found: list[tuple[int, float, str]] = []
    for record in results.records:
        asked, took = record.options.get(BYTES), bytes_per_frame(record)
        if record.kind != "codec" or not record.note or not isinstance(asked, int):
            continue
        if took and took > MISSED * asked:
            found.append((asked, took, one_line(record.model, 60)))
    if not found:
        return ""
    sizes = numbers.listed([f"{size:,}" for size in sorted({size for size, _, _ in found})], "or")
    taken = sorted(size for _, size, _ in found)
    names = numbers.listed([*dict.fromkeys(name for *_, name in found)])
    span = " to ".join(dict.fromkeys(numbers.significant(size) for size in (taken[0], taken[-1])))
    return (
        f"At {sizes} bytes per frame a codec has little more than headers to spend, and {names} "
        f"take more than they were asked for: {span} bytes per frame."
    )


def budget_in_words(results: Results) -> str:
    """The budget in words, or as it was recorded if this version cannot parse it."""
    try:
        return Budget.parse(results.budget).in_words
    except BadInput:
        return one_line(results.budget, 60)


def failed_runs(results: Results) -> list[str]:
    """Every run that failed, and why."""
    return [
        f"{one_line(record.model, 60)} {_cell(record)}, seed {record.seed}: "
        f"{one_line(record.reason or 'no reason was recorded', 1000)}"
        for record in results.records
        if record.status == "failed"
    ]


def _cell(record: Record) -> str:
    """The films that a record's model was trained and evaluated on."""
    own = one_line(record.trained_on, 60)
    if record.trained_on == record.evaluated_on:
        return f"on {own}"
    return f"trained on {own}, evaluated on {one_line(record.evaluated_on, 60)}"


def environments_table(results: Results) -> Markdown:
    """Devices and software versions, one row per machine and set of versions."""
    letters = machines(results)
    headings = [
        "machine", "device", "threads", "trained at", "compiled", "python", "torch", "CUDA", "PyAV",
        "FFmpeg", "film-zoo", "commit", "records",
    ]  # fmt: skip
    found: dict[str, list[Record]] = {}
    for record in results.records:
        # These two fields belong to single trainings and do not distinguish machines.
        key = record.environment.model_dump_json(exclude={"precision", "compile"})
        found.setdefault(key, []).append(record)
    return grid(
        headings,
        [
            [
                letters[machine_key(environment)],
                one_line(f"{environment.device_name} ({environment.device})", 100),
                str(environment.threads),
                _of_trainings(records, "precision"),
                _of_trainings(records, "compile"),
                environment.python,
                environment.torch,
                environment.cuda or numbers.NOT_APPLICABLE,
                environment.pyav,
                environment.ffmpeg,
                environment.film_zoo,
                one_line(environment.commit or "not known", 40),
                str(len(records)),
            ]
            for records in found.values()
            for environment in [records[0].environment]
        ],
    )


def _of_trainings(records: Sequence[Record], name: Literal["precision", "compile"]) -> str:
    """The precisions or compile modes that models were trained with; a dash without models."""
    said = [getattr(r.environment, name) for r in records if training_precision(r)]
    return one_line(numbers.listed([*dict.fromkeys(said)]), 60) or numbers.NOT_APPLICABLE
