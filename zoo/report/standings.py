"""Who is how good: records gathered by model, averaged over seeds and films, and put in order."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from zoo.records import Environment, MetricInfo, Part, Record, Results
from zoo.report.text import one_line

DISTORTION = "psnr"
"""The metric that counts errors of pixels."""
PERCEPTUAL = "lpips"
"""The metric that tables are sorted by, where it could be measured."""

Measure = Callable[[Record], float | None]

NAME_LENGTH = 60


@dataclass(frozen=True)
class Value:
    """A mean over films of means over seeds, and the spread over seeds where there are several."""

    mean: float
    spread: float | None
    """Standard deviation over seeds of the mean over films; None with fewer than two seeds."""
    films: int


@dataclass(frozen=True)
class Standing:
    """One row of a table: a model or reference with everything it did, on one machine."""

    name: str
    """Distinct among the standings of one table."""
    model: str
    role: str
    machine: str
    records: tuple[Record, ...]
    """What worked."""
    failed: tuple[Record, ...]

    def value(self, measure: Measure) -> Value | None:
        """Average a measure: over the seeds of a film first, then over films."""
        cells: dict[str, dict[int, list[float]]] = {}
        for record in self.records:
            number = measure(record)
            if number is not None:
                cells.setdefault(record.watched, {}).setdefault(record.seed, []).append(number)
        if not cells:
            return None
        by_film = [
            {seed: statistics.fmean(numbers) for seed, numbers in seeds.items()}
            for seeds in cells.values()
        ]
        mean = statistics.fmean(statistics.fmean(seeds.values()) for seeds in by_film)
        # Only seeds that saw every film: a spread over seeds must not hold one between films.
        shared = set.intersection(*(set(seeds) for seeds in by_film))
        means = [statistics.fmean(seeds[seed] for seeds in by_film) for seed in sorted(shared)]
        spread = statistics.stdev(means) if len(means) > 1 else None
        return Value(mean, spread, len(by_film))

    def on(self, film: str) -> Standing:
        """The same row with what it did on one film alone."""
        return replace(
            self,
            records=tuple(record for record in self.records if record.watched == film),
            failed=tuple(record for record in self.failed if record.watched == film),
        )

    @property
    def codec(self) -> bool:
        """Whether it codes the whole film at once, and so saw the held-out frames as well."""
        return any(record.kind == "codec" for record in (*self.records, *self.failed))

    @property
    def films(self) -> set[str]:
        """The films that at least one seed got through."""
        return {record.watched for record in self.records}

    @property
    def seeds(self) -> set[int]:
        """The seeds that got through at least one film."""
        return {record.seed for record in self.records}


def score(metric: str, part: Part) -> Measure:
    """The mean of a metric over the frames of a part."""

    def measure(record: Record) -> float | None:
        summary = record.scores.get(metric, {}).get(part)
        return summary.mean if summary else None

    return measure


def bytes_a_frame(record: Record) -> float | None:
    """What a frame takes on disk."""
    return record.latent.coded_bytes if record.latent else None


def machine_key(environment: Environment) -> tuple[str, ...]:
    """What sets one machine's speeds apart from another's."""
    return (
        environment.device,
        environment.device_name,
        environment.precision,
        environment.memory_format,
        str(environment.threads),
    )


def machines(results: Results) -> dict[tuple[str, ...], str]:
    """The machines that made these records, each with a letter."""
    keys = dict.fromkeys(machine_key(record.environment) for record in results.records)
    return {key: _letter(index) for index, key in enumerate(keys)}


def _letter(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else f"A{index}"


def standings(results: Results, film: str | None = None) -> list[Standing]:
    """Gather the records of one film, or of every film each model was itself trained on.

    Different options, machines and films trained on never share a row; seeds do.
    """
    letters = machines(results)
    good: dict[tuple[str, str, str, str, str], list[Record]] = {}
    bad: list[Record] = []
    for record in results.records:
        foreign = record.trained_on != record.watched
        if foreign if film is None else record.watched != film:
            continue
        if record.status == "failed":
            bad.append(record)
        else:
            options = json.dumps(record.options, sort_keys=True, default=str)
            trained_on = record.trained_on if foreign else ""
            machine = letters[machine_key(record.environment)]
            key = (record.role, record.model, trained_on, options, machine)
            good.setdefault(key, []).append(record)
    failures: dict[tuple[str, str, str, str, str], list[Record]] = {}
    for record in bad:
        failures.setdefault(_home(record, good, letters), []).append(record)
    keys = list(dict.fromkeys([*good, *failures]))
    names = _names(keys)
    return [
        Standing(
            name=names[key],
            model=key[1],
            role=key[0],
            machine=key[4],
            records=tuple(good.get(key, ())),
            failed=tuple(failures.get(key, ())),
        )
        for key in keys
    ]


def _home(
    record: Record,
    good: Iterable[tuple[str, str, str, str, str]],
    letters: dict[tuple[str, ...], str],
) -> tuple[str, str, str, str, str]:
    """Where a failed cell belongs: it may have failed before its options were known."""
    trained_on = record.trained_on if record.trained_on != record.watched else ""
    machine = letters[machine_key(record.environment)]
    options = json.dumps(record.options, sort_keys=True, default=str)
    own = (record.role, record.model, trained_on, options, machine)
    alike = [key for key in good if key[:3] == own[:3] and key[4] == machine]
    return own if own in alike or len(alike) != 1 else alike[0]


def _names(keys: list[tuple[str, str, str, str, str]]) -> dict[tuple[str, str, str, str, str], str]:
    """Name every row by its model, and by what sets it apart from a row of the same model."""
    names = {}
    for key in keys:
        _, model, trained_on, options, machine = key
        name = one_line(model, NAME_LENGTH)
        if trained_on:
            name += f" trained on {one_line(trained_on, NAME_LENGTH)}"
        rivals = [other for other in keys if other[1:3] == key[1:3] and other != key]
        mine = json.loads(options)
        apart = sorted(
            option
            for option in mine
            if any(json.loads(rival[3]).get(option) != mine[option] for rival in rivals)
        )
        if apart:
            shown = ", ".join(f"{option}={mine[option]}" for option in apart)
            name += f" ({one_line(shown, NAME_LENGTH)})"
        if any(rival[4] != machine for rival in rivals):
            name += f" on {machine}"
        names[key] = name
    # Two hostile names may read the same once they are cut to a line.
    seen: dict[str, int] = {}
    for key, name in names.items():
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            names[key] = f"{name} [{seen[name]}]"
    return names


def measured(results: Results, metric: MetricInfo, part: Part, film: str | None = None) -> bool:
    """Whether any record has this metric over this part."""
    return any(
        score(metric.name, part)(record) is not None
        for record in results.records
        if film is None or record.watched == film
    )


@dataclass(frozen=True)
class Ranking:
    """What rows are ordered by."""

    metric: MetricInfo
    part: Part

    @property
    def measure(self) -> Measure:
        """The number that the order goes by."""
        return score(self.metric.name, self.part)

    def key(self, mean: float) -> float:
        """A key that is smaller for what is better."""
        return mean if self.metric.better == "lower" else -mean


def ranking_by(results: Results, metric: MetricInfo, film: str | None = None) -> Ranking | None:
    """Rank by a metric on held-out frames, or on seen ones where nothing was held out."""
    parts: tuple[Part, ...] = ("held_out", "seen")
    for part in parts:
        if metric.unavailable is None and measured(results, metric, part, film):
            return Ranking(metric, part)
    return None


def ranking(results: Results, film: str | None = None) -> Ranking | None:
    """The order of the tables: the perceptual metric, or the first that could be measured."""
    for metric in sorted(results.metrics, key=lambda metric: metric.name != PERCEPTUAL):
        found = ranking_by(results, metric, film)
        if found:
            return found
    return None


def in_order(rows: Iterable[Standing], rank: Ranking | None, films: int) -> list[Standing]:
    """Models before references; the best first; what did not get through every film last.

    A mean over fewer films is a mean over other films, and not to be set beside the rest.
    """

    def key(row: Standing) -> tuple[bool, bool, bool, float, str]:
        value = row.value(rank.measure) if rank else None
        return (
            row.role != "model",
            len(row.films) < films,
            value is None,
            rank.key(value.mean) if rank and value else 0.0,
            row.name,
        )

    return sorted(rows, key=key)
