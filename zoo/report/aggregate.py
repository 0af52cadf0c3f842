"""Aggregated results: records gathered by model, averaged over seeds and films.

Tuning films (which every model was tuned on) are left out of means over films, unless all are.
"""

from __future__ import annotations

import json
import math
import operator
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import pydantic

from zoo.base import numbers
from zoo.base.records import Environment, FilmInfo, Part, Record, Results
from zoo.base.safe_text import one_line

Measure = Callable[[Record], float | None]

NAME_LENGTH = 60

RowKey = tuple[str, str, str, str, str]
"""Role, model, options, machine and precision, which the records of a row have in common."""


MIN_SEEDS = 3
"""Seeds needed for a spread: two say almost nothing about the result of a third."""


@dataclass(frozen=True)
class Value:
    """A mean over films of means over seeds, with the spread over seeds if known."""

    mean: float
    spread: float | None
    """Standard deviation over seeds of the mean over films; None for fewer than `MIN_SEEDS`."""
    films: int
    seeds: int = 1
    """Number of seeds that finished every film; the spread is over these seeds."""
    exact: bool = False
    """True for a reference that is fitted once, because it does not depend on a seed."""

    @property
    def spread_known(self) -> bool:
        """Whether it is known how much the number varies with the seed."""
        return self.exact or self.spread is not None


def average(values: Iterable[float], ratio: bool = False) -> float:
    """The mean; for ratios the geometric mean, or 0 if any number is not positive."""
    found = list(values)
    if not ratio:
        return statistics.fmean(found)
    return statistics.geometric_mean(found) if min(found) > 0 else 0.0


def deviation(values: Sequence[float], ratio: bool = False) -> float | None:
    """Standard deviation over seeds; None for fewer than `MIN_SEEDS`.

    For ratios, it is the standard deviation of their logarithms times the mean.
    """
    if len(values) < MIN_SEEDS:
        return None
    if not ratio:
        return statistics.stdev(values)
    if min(values) <= 0:
        return None
    return statistics.stdev(map(math.log, values)) * average(values, ratio)


@dataclass(frozen=True)
class ResultRow:
    """One row of a table: a model or reference with its records on one machine at one precision."""

    name: str
    """Unique within a table."""
    model: str
    role: str
    machine: str
    records: tuple[Record, ...]
    """Records of runs that succeeded."""
    failed: tuple[Record, ...]
    precision: str = ""
    """The training precision; empty for a reference, which is not trained."""

    def value(self, measure: Measure, ratio: bool = False) -> Value | None:
        """Average a measure over seeds, then over films; use geometric means for a ratio."""
        cells: dict[str, dict[int, list[float]]] = {}
        for record in self.records:
            number = measure(record)
            if number is not None:
                cells.setdefault(record.evaluated_on, {}).setdefault(record.seed, []).append(number)
        if not cells:
            return None
        by_film = [
            {seed: average(found, ratio) for seed, found in seeds.items()}
            for seeds in cells.values()
        ]
        mean = average((average(seeds.values(), ratio) for seeds in by_film), ratio)
        # Only seeds that finished every film, so that films do not add to the spread.
        shared = sorted(set.intersection(*(set(seeds) for seeds in by_film)))
        means = [average((seeds[seed] for seeds in by_film), ratio) for seed in shared]
        exact = self.role == "reference" and len(self.seeds) == 1
        return Value(mean, deviation(means, ratio), len(by_film), len(means), exact)

    def on(self, film: str) -> ResultRow:
        """The same row with the records of one evaluation film."""
        return self.filtered(lambda record: record.evaluated_on == film)

    def filtered(self, chosen: Callable[[Record], bool]) -> ResultRow:
        """The same row with some of its records."""
        return replace(
            self,
            records=tuple(record for record in self.records if chosen(record)),
            failed=tuple(record for record in self.failed if chosen(record)),
        )

    def by_films(self) -> dict[tuple[str, str], ResultRow]:
        """The row split by the films that its records were trained and evaluated on."""
        found: dict[tuple[str, str], tuple[list[Record], list[Record]]] = {}
        for records, which in ((self.records, 0), (self.failed, 1)):
            for record in records:
                films = record.trained_on, record.evaluated_on
                found.setdefault(films, ([], []))[which].append(record)
        return {
            films: replace(self, records=tuple(good), failed=tuple(bad))
            for films, (good, bad) in found.items()
        }

    @property
    def codec(self) -> bool:
        """Whether the row is a codec, which codes the whole film including held-out frames."""
        return any(record.kind == "codec" for record in (*self.records, *self.failed))

    @property
    def films(self) -> set[str]:
        """The films that at least one seed finished."""
        return {record.evaluated_on for record in self.records}

    @property
    def seeds(self) -> set[int]:
        """The seeds that finished at least one film."""
        return {record.seed for record in self.records}


def score(metric: str, part: Part) -> Measure:
    """The mean of a metric over the frames of a part."""

    def measure(record: Record) -> float | None:
        summary = record.scores.get(metric, {}).get(part)
        return summary.mean if summary else None

    return measure


def bytes_per_frame(record: Record) -> float | None:
    """Bytes per frame on disk, after lossless coding."""
    return record.latent.coded_bytes if record.latent else None


def quantised_bytes_per_frame(record: Record) -> float | None:
    """Bytes of a frame's quantised latent; None for a codec."""
    latent = record.latent
    return latent.bits / 8 if latent and latent.bits is not None else None


def machine_key(environment: Environment) -> tuple[str, ...]:
    """The properties that distinguish machines, without the precision of the training."""
    return (
        environment.device,
        environment.device_name,
        environment.memory_format,
        str(environment.threads),
    )


def environment_key(environment: Environment) -> tuple[str, ...]:
    """The machine and the precision, which distinguish two results of the same run."""
    return (
        environment.device,
        environment.device_name,
        environment.precision,
        environment.memory_format,
        str(environment.threads),
    )


def training_precision(record: Record) -> str:
    """The precision that a model was trained at; empty for a reference, which is not trained."""
    return record.environment.precision if record.role == "model" else ""


def machines(results: Results) -> dict[tuple[str, ...], str]:
    """The machines that made these records, each with a letter.

    Results at one latent size keep the letters assigned over all sizes.
    """
    records = results._of_all_sizes if isinstance(results, _AtOneSize) else results.records
    # Called for every table, with thousands of records: find distinct ones before making keys.
    environments = {_machine(record.environment): record.environment for record in records}
    keys = dict.fromkeys(map(machine_key, environments.values()))
    return {key: _letter(index) for index, key in enumerate(keys)}


_machine = operator.attrgetter("device", "device_name", "memory_format", "threads")


def _letter(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else f"A{index}"


def result_rows(results: Results, film: str | None = None) -> list[ResultRow]:
    """Gather records of models evaluated on the film they were trained on.

    The film is `film`, or any listed film without it. Seeds share a row; different options,
    machines and precisions do not.
    """
    films = {film} if film is not None else {each.name for each in results.films}
    return _gather(
        results,
        [
            record
            for record in results.records
            if record.trained_on == record.evaluated_on and record.evaluated_on in films
        ],
    )


def complete_rows(results: Results, role: str) -> list[ResultRow]:
    """The models or references that finished every film, so that their means can be compared."""
    return [
        row
        for row in result_rows(results)
        if row.role == role and len(row.films) == len(results.films)
    ]


def cross_film_rows(results: Results) -> list[ResultRow]:
    """Gather records by model, over all listed training and evaluation films.

    Codecs are left out: they code every film from scratch.
    """
    films = {film.name for film in results.films}
    return _gather(
        results,
        [
            record
            for record in results.records
            if record.kind != "codec" and {record.trained_on, record.evaluated_on} <= films
        ],
    )


def _gather(results: Results, records: list[Record]) -> list[ResultRow]:
    letters = machines(results)
    good: dict[RowKey, list[Record]] = {}
    for record in records:
        if record.status == "ok":
            good.setdefault(_key(record, letters), []).append(record)
    failures: dict[RowKey, list[Record]] = {}
    for record in records:
        if record.status == "failed":
            failures.setdefault(_row_of_failure(_key(record, letters), good), []).append(record)
    keys = list(dict.fromkeys([*good, *failures]))
    names = row_names(keys)
    return [
        ResultRow(
            name=names[key],
            model=key[1],
            role=key[0],
            machine=key[3],
            records=tuple(good.get(key, ())),
            failed=tuple(failures.get(key, ())),
            precision=key[4],
        )
        for key in keys
    ]


def _key(record: Record, letters: dict[tuple[str, ...], str]) -> RowKey:
    options = json.dumps(record.options, sort_keys=True, default=str)
    machine = letters[machine_key(record.environment)]
    return record.role, record.model, options, machine, training_precision(record)


def _row_of_failure(own: RowKey, good: Iterable[RowKey]) -> RowKey:
    """Find the row of a failed run, which may have failed before its options were known."""
    role, model, _, *where = own
    alike = [key for key in good if (*key[:2], *key[3:]) == (role, model, *where)]
    return own if own in alike or len(alike) != 1 else alike[0]


def row_names(keys: list[RowKey]) -> dict[RowKey, str]:
    """Name every row by its model and by how it differs from other rows of that model."""
    names = {}
    for key in keys:
        _, model, options, machine, precision = key
        name = one_line(model, NAME_LENGTH)
        rivals = [other for other in keys if other[1] == model and other != key]
        mine = json.loads(options)
        differing = sorted(
            option
            for option in mine
            if any(json.loads(rival[2]).get(option) != mine[option] for rival in rivals)
        )
        if differing:
            shown = ", ".join(f"{option}={mine[option]}" for option in differing)
            name += f" ({one_line(shown, NAME_LENGTH)})"
        if precision and any(rival[4] != precision for rival in rivals):
            name += f" in {precision}"
        if any(rival[3] != machine for rival in rivals):
            name += f" on {machine}"
        names[key] = name
    # Malicious names may become equal when they are shortened to one line.
    seen: dict[str, int] = {}
    for key, name in names.items():
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            names[key] = f"{name} [{seen[name]}]"
    return names


LATENT, BYTES = "latent", "bytes_per_frame"
SIZE_OPTIONS = (LATENT, BYTES)
"""The options that set a rate: latent numbers per frame of a model, bytes per frame of a codec."""


def latent_sizes(results: Results) -> list[int]:
    """The latent sizes that were compared, in numbers per frame, ascending."""
    found = {_size_option(record, LATENT) for record in results.records}
    return sorted(size for size in found if size is not None)


def main_latent_size(results: Results) -> int | None:
    """The latent size that tables show: the middle one of a sweep, or None if there is one."""
    found = latent_sizes(results)
    return found[len(found) // 2] if len(found) > 1 else None


class _AtOneSize(Results):
    """Results at one of several latent sizes."""

    _of_all_sizes: list[Record] = pydantic.PrivateAttr()


def at_main_latent_size(results: Results) -> Results:
    """The results at the main latent size, with codecs at the bytes of these latents.

    A larger latent is better in every metric, so a table of several sizes would compare sizes.
    """
    main = main_latent_size(results)
    if main is None:
        return results
    kept = [record for record in results.records if _size_option(record, LATENT) in (None, main)]
    there = {asked for record in kept if (asked := _size_option(record, BYTES)) is not None}
    taken = {
        size
        for record in kept
        if record.role == "model" and (size := quantised_bytes_per_frame(record)) is not None
    }
    # The nearest available size, because a padded window takes more bytes than declared. If every
    # model failed, eight bits per number are assumed.
    allowed = {
        min((abs(asked - size), asked) for asked in there)[1]
        for size in taken or {float(main)}
        if there
    }
    kept = [record for record in kept if _size_option(record, BYTES) in (None, *allowed)]
    found = _AtOneSize.model_construct(**{**dict(results), "records": kept})
    found._of_all_sizes = results.records
    return found


def _size_option(record: Record, option: str) -> int | None:
    size = record.options.get(option)
    return size if isinstance(size, int) else None


def tuned_by(results: Results) -> dict[str, list[str]]:
    """By film of the comparison, the models with defaults chosen on a film of that name."""
    found: dict[str, dict[str, None]] = {film.name: {} for film in results.films}
    for record in results.records:
        if record.role == "model" and record.status == "ok":
            for film in record.tuned_on or []:
                if film in found:
                    found[film][one_line(record.model, 60)] = None
    return {film: [*models] for film, models in found.items() if models}


def tuning_films(results: Results) -> set[str]:
    """The films that the defaults of every model were chosen on."""
    models = {
        one_line(record.model, 60)
        for record in results.records
        if record.role == "model" and record.status == "ok"
    }
    return {film for film, names in tuned_by(results).items() if len(names) == len(models)}


def counted(results: Results) -> Results:
    """The results with only the films that count in means: all films if all are tuning films.

    Records of other films are kept, so that machines keep their letters, but appear in no row.
    """
    tuned = tuning_films(results)
    films = [film for film in results.films if film.name not in tuned]
    return results.model_copy(update={"films": films}) if films else results


def film_label(results: Results, film: FilmInfo) -> str:
    """A film's name, marked if it is a tuning film."""
    mark = " (tuning film)" if film.name in tuning_films(results) else ""
    return one_line(film.name, 60) + mark


def over_films(results: Results) -> str:
    """Describe numbers across films: `mean over 3 films`, or `on` the only film."""
    films = counted(results).films
    if len(films) == 1:
        return f"on {one_line(films[0].name, 60)}"
    return f"mean over {numbers.counted(len(films), 'film')}"


def means_in_words(results: Results) -> str:
    """Describe the table across films in a sentence."""
    films = counted(results).films
    if len(films) == len(results.films):
        return "Means over films, each film counted once."
    if len(films) == 1:
        return f"Scores on {one_line(films[0].name, 60)} alone: all other films are tuning films."
    return f"Means over the {len(films)} films that are not tuning films, each counted once."


def left_out_of_matrix_means(results: Results) -> list[str]:
    """A sentence on tuning films in the matrix across films; empty if all films count."""
    kept = counted(results).films
    names = [one_line(film.name, 60) for film in results.films if film not in kept]
    if not names:
        return []
    verb, kind = ("is", "a tuning film") if len(names) == 1 else ("are", "tuning films")
    return [f"{numbers.listed(names)} {verb} in the matrix but, as {kind}, not in the means."]
