"""Scores of models trained on one film and evaluated on another: one matrix per model.

Overlapping films are in the matrix but not in the means, because the model has seen shared frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba
from matplotlib.patches import Rectangle

from zoo.base import numbers
from zoo.base import picture_style as style
from zoo.base.records import FilmInfo, Part, Results
from zoo.base.safe_text import one_line
from zoo.report.aggregate import (
    MIN_SEEDS,
    ResultRow,
    Value,
    average,
    counted,
    cross_film_rows,
    deviation,
    film_label,
    left_out_of_matrix_means,
)
from zoo.report.figure import (
    add_legend,
    axis_label,
    new_figure,
    row_label,
    save_figure,
    set_title,
    style_axes,
)
from zoo.report.ranking import Ranking, is_measured, ranking, sort_rows
from zoo.report.table import (
    Cell,
    Row,
    Table,
    bytes_column,
    bytes_relative_to,
    bytes_text,
    display_name,
    fixed_value,
    value_with_unit,
)

OVERLAP = 0.02
"""Two films overlap if more than this share of the frames of either matches the other."""


@dataclass(frozen=True)
class Overlap:
    """Two films of a comparison that share frames."""

    film: str
    other: str
    share: float
    """Share of the frames of `film` that match a frame of `other`."""
    reconstructed_by: str | None
    """The row whose reconstructions of `film` were compared; None for the film's own frames."""

    @property
    def sentence(self) -> str:
        """A sentence stating which films overlap, and by how much."""
        film, other = one_line(self.film, 60), one_line(self.other, 60)
        by = self.reconstructed_by
        which = f" as {one_line(by, 60)} reconstructs them" if by else ""
        return (
            f"{film} and {other} overlap: {numbers.percent(self.share)} of the frames of {film}"
            f"{which} match a frame of {other}."
        )


def overlaps(results: Results) -> list[Overlap]:
    """The pairs of films whose frame hashes match; each pair once.

    Older records have only hashes of reconstructions, which find fewer overlaps.
    """
    found = []
    for index, film in enumerate(results.films):
        for other in results.films[index + 1 :]:
            both = [*_shares(results, film, other), *_shares(results, other, film)]
            most = max(both, key=lambda overlap: overlap.share, default=None)
            if most and most.share > OVERLAP:
                found.append(most)
    return found


def _shares(results: Results, film: FilmInfo, other: FilmInfo) -> list[Overlap]:
    if film.overlaps is not None and other.name in film.overlaps:
        return [Overlap(film.name, other.name, film.overlaps[other.name], None)]
    return [
        Overlap(film.name, other.name, record.takedown.false_matches[other.name], record.model)
        for record in results.records
        if record.evaluated_on == film.name
        and record.takedown
        and other.name in record.takedown.false_matches
    ]


def overlap_sentences(results: Results) -> list[str]:
    """Sentences on overlapping films and their effect on the means; empty if there are none."""
    found = overlaps(results)
    if not found:
        return []
    pairs = numbers.verb(len(found), "that pair", "these pairs")
    return [
        *(overlap.sentence for overlap in found),
        f"Means over films count the shared frames twice; means over films not trained on leave "
        f"out {pairs}.",
    ]


@dataclass(frozen=True)
class MatrixCell:
    """A model's score for one pair of training and evaluation film."""

    value: Value | None
    part: Part
    """The part of the film that was scored."""
    failed: bool
    """Whether the value is missing because the evaluation or the training failed."""


@dataclass(frozen=True)
class Matrix:
    """One model's scores, by the film it was trained on and the film it was evaluated on."""

    row: ResultRow
    rank: Ranking
    cells: dict[tuple[str, str], MatrixCell]
    overlapping: frozenset[tuple[str, str]]
    """Pairs of films that share frames, in both orders."""

    @property
    def other_film_means(self) -> list[float]:
        """The model's scores on films that share no frames with its training film."""
        return [
            cell.value.mean
            for pair, cell in self.cells.items()
            if self._disjoint(pair) and cell.value
        ]

    def _disjoint(self, pair: tuple[str, str]) -> bool:
        return pair[0] != pair[1] and pair not in self.overlapping

    @property
    def complete(self) -> bool:
        """Whether every cell has a score."""
        return all(cell.value for cell in self.cells.values())

    def mean_on_other_films(self) -> Value | None:
        """The mean over all pairs of disjoint films, with its spread over seeds."""
        pairs = [pair for pair in self.cells if self._disjoint(pair)]
        rows = self.row.by_films()
        seeds = sorted(self.row.seeds)
        rank = Ranking(self.rank.metric, "other")
        means = []
        for seed in seeds:
            found = [_of_seed(rows.get(pair), seed, rank) for pair in pairs]
            if found and all(value is not None for value in found):
                means.append(average((v.mean for v in found if v), self.rank.ratio))
        if not means:
            return None
        ratio = self.rank.ratio
        exact = self.row.role == "reference" and len(seeds) == 1
        return Value(average(means, ratio), deviation(means, ratio), len(pairs), len(means), exact)


def _of_seed(row: ResultRow | None, seed: int, rank: Ranking) -> Value | None:
    return rank.value(row.filtered(lambda record: record.seed == seed)) if row else None


def matrices(results: Results) -> list[Matrix]:
    """A matrix per model, in the order of the tables; empty without evaluation on other films."""
    rank = ranking(results)
    if len(results.films) < 2 or not rank or not is_measured(results, rank.metric, "other"):
        return []
    names = [film.name for film in results.films]
    rows = {row.name: row for row in cross_film_rows(results)}
    own = [row.filtered(lambda r: r.trained_on == r.evaluated_on) for row in rows.values()]
    order = sort_rows(own, rank, films=len(results.films))
    shared = frozenset(
        pair
        for overlap in overlaps(results)
        for pair in ((overlap.film, overlap.other), (overlap.other, overlap.film))
    )
    return [_matrix(rows[row.name], rank, names, shared) for row in order]


def _matrix(
    row: ResultRow, rank: Ranking, names: list[str], shared: frozenset[tuple[str, str]]
) -> Matrix:
    cells = {}
    failed = {(record.trained_on, record.evaluated_on) for record in row.failed}
    rows = row.by_films()
    nothing = replace(row, records=(), failed=())
    for own in names:
        for seen in names:
            there = rows.get((own, seen), nothing)
            parts: tuple[Part, ...] = ("held_out", "seen") if own == seen else ("other",)
            values = [(Ranking(rank.metric, part).value(there), part) for part in parts]
            value, part = next(((v, p) for v, p in values if v), (None, parts[-1]))
            bad = value is None and bool({(own, seen), (own, own)} & failed)
            cells[own, seen] = MatrixCell(value, part, bad)
    return Matrix(row, rank, cells, shared)


def cross_film_table(results: Results) -> Table | None:
    """All scores of all models; None if no model was evaluated on another film."""
    every = matrices(results)
    if not every:
        return None
    names = [film.name for film in results.films]
    rows = []
    for matrix in every:
        there = matrix.row.by_films()
        for own in names:
            trained = there.get((own, own))
            cells = [Cell(bytes_text(trained) if trained else numbers.NOT_APPLICABLE)]
            cells += [_table_cell(matrix, own, seen) for seen in names]
            name = f"{display_name(matrix.row)}, trained on {one_line(own, 40)}"
            rows.append(Row(name, matrix.row.role, tuple(cells)))
    evaluated = (("evaluated on", film_label(results, film)) for film in results.films)
    headings = (("",), bytes_column().heading, *evaluated)
    return Table(headings, tuple(rows))


def _table_cell(matrix: Matrix, own: str, seen: str) -> Cell:
    cell = matrix.cells[own, seen]
    if cell.value is None:
        return Cell("failed" if cell.failed else numbers.NOT_APPLICABLE)
    text = fixed_value(cell.value, matrix.rank.metric.digits)
    if own != seen:
        return Cell(text)
    part_name = "held out" if cell.part == "held_out" else "seen"
    return Cell(f"{text}\n({part_name})")


def cross_film_findings(results: Results) -> list[str]:
    """Sentences on how much worse scores on other films are, and who generalises best."""
    models = [m for m in matrices(counted(results)) if m.row.role == "model" and m.complete]
    if not models:
        return []
    rank = models[0].rank
    shared = [overlap.sentence for overlap in overlaps(results)]
    tuned = left_out_of_matrix_means(results)
    if not models[0].other_film_means:
        return [
            *shared,
            "All of these films overlap, so there is no mean over films not trained on.",
            *tuned,
        ]
    own = average((_own(matrix) for matrix in models), rank.ratio)
    other = average((average(m.other_film_means, rank.ratio) for m in models), rank.ratio)
    digits = rank.metric.digits
    parts = {cell.part for m in models for (a, b), cell in m.cells.items() if a == b}
    frames = "held-out frames" if parts == {"held_out"} else "frames"
    if len(parts) > 1:
        frames = "held-out frames (seen ones where none were held out)"
    who = "For the model" if len(models) == 1 else f"Averaged over {len(models)} models"
    sentence = (
        f"{who}, {rank.label} is {numbers.fixed(own, digits)}{rank.unit} on {frames} of the film "
        f"trained on and {numbers.fixed(other, digits)}{rank.unit} on films not trained on"
    )
    if rank.metric.better == "lower" and own > 0:
        sentence += f", {numbers.times(other / own)} as much"
    if shared:
        shared.append(
            f"{numbers.verb(len(shared), 'This pair is', 'These pairs are')} in the matrix but "
            "not in the means."
        )
    return [f"{sentence}.", *_best_on_other_films(models, rank), *shared, *tuned]


def _own(matrix: Matrix) -> float:
    return average(
        (cell.value.mean for (a, b), cell in matrix.cells.items() if a == b and cell.value),
        matrix.rank.ratio,
    )


def _best_on_other_films(models: list[Matrix], rank: Ranking) -> list[str]:
    known = [(value, matrix.row) for matrix in models if (value := matrix.mean_on_other_films())]
    known.sort(key=lambda pair: (rank.key(pair[0].mean), pair[1].name))
    if len(known) < 2:
        return []
    (best, first_row), (next_best, second_row) = known[:2]
    first, second = first_row.name, second_row.name
    best_said, next_said = value_with_unit(best, rank), value_with_unit(next_best, rank)
    if beside := bytes_relative_to(second_row, first_row):
        next_said += f" in {beside}"
    if not rank.beats(best, next_best):
        return [
            f"On films not trained on, no model is ahead: {first} ({best_said}) and {second} "
            f"({next_said}) are level."
        ]
    chance = (
        "" if best.spread_known and next_best.spread_known else f" (fewer than {MIN_SEEDS} seeds)"
    )
    return [
        f"On films not trained on, {first} is the best of the models with {best_said}, followed "
        f"by {second} with {next_said}{chance}."
    ]


MOST = 12
"""Maximum number of models in the plot; the table has all of them."""
WIDE = 4
MOST_NUMBERS = 12
"""Maximum number of films for which the plot prints numbers in its cells."""
COLOURS = colormaps["cividis"]
NAME = 14


def plot_cross_film(results: Results, path: Path) -> str | None:
    """Plot the matrices of the best models; return the picture's alternative text, or None."""
    every = matrices(results)
    shown = [matrix for matrix in every if any(cell.value for cell in matrix.cells.values())][:MOST]
    if not shown:
        return None
    films = [film.name for film in results.films]
    values = [cell.value.mean for m in shown for cell in m.cells.values() if cell.value]
    scale = Normalize(min(values), max(values))
    most = min(WIDE, max(1, 24 // (2 + len(films))))
    tall = -(-len(shown) // most)
    wide = -(-len(shown) // tall)
    side = max(1.3, 0.52 * len(films))
    figure, _ = new_figure(min(12.0, 1.6 + wide * (side + 0.45)), 1.3 + tall * (side + 0.5))
    all_axes = figure.subplots(tall, wide, squeeze=False)
    for axes in all_axes.ravel()[len(shown) :]:
        axes.remove()
    for index, matrix in enumerate(shown):
        axes = all_axes.ravel()[index]
        lowest = index + wide >= len(shown)
        _draw_panel(axes, matrix, films, scale, left=index % wide == 0, bottom=lowest)
    metric = shown[0].rank.metric
    large = len(films) > MOST_NUMBERS
    if large:
        figure.colorbar(ScalarMappable(scale, COLOURS), ax=list(all_axes.ravel()[: len(shown)]))
    figure.supylabel("trained on", color=style.QUIET, fontsize=10)
    figure.supxlabel(f"evaluated on: {axis_label(metric)}", color=style.QUIET, fontsize=10)
    add_legend(figure, _legend_handles(shown), 3)
    save_figure(figure, path)
    left_out = len(every) - len(shown)
    verb = numbers.verb(left_out, "is", "are")
    more = f" {left_out} more {verb} in the table." if left_out else ""
    return (
        f"{one_line(metric.label, 40)} of {', '.join(m.row.name for m in shown)}: rows are the "
        f"film trained on ({', '.join(films)}), columns the film evaluated on, in the same order; "
        f"the {'colours show' if large else 'numbers are'} those of the table below.{more}"
    )


def _draw_panel(
    axes: Axes, matrix: Matrix, films: list[str], scale: Normalize, *, left: bool, bottom: bool
) -> None:
    style_axes(axes)
    set_title(axes, row_label(matrix.row), 26)
    if len(films) <= MOST_NUMBERS:
        for down, own in enumerate(films):
            for across, seen in enumerate(films):
                _draw_cell(axes, matrix, own, seen, across, down, scale)
    else:
        # As one image: numbers would be too small to read, and thousands are slow to draw.
        _draw_colours(axes, matrix, films, scale)
    axes.set_xlim(0, len(films))
    axes.set_ylim(len(films), 0)
    axes.set_aspect("equal")
    ticks = [index + 0.5 for index in range(len(films))]
    names = [style.picture_text(name, NAME) for name in films]
    axes.set_xticks(ticks, names if bottom else [], rotation=40, ha="right", parse_math=False)
    axes.set_yticks(ticks, names if left else [], parse_math=False)
    axes.tick_params(length=0, labelsize=8)


def _draw_colours(axes: Axes, matrix: Matrix, films: list[str], scale: Normalize) -> None:
    cells = [[matrix.cells[own, seen] for seen in films] for own in films]
    colours = [
        [COLOURS(scale(cell.value.mean)) if cell.value else to_rgba(style.PANEL) for cell in row]
        for row in cells
    ]
    side = len(films)
    axes.imshow(colours, extent=(0, side, side, 0), interpolation="nearest")
    for place, row in enumerate(cells):
        if row[place].value:
            ring: dict[str, Any] = {"facecolor": "none", "edgecolor": style.HELD_OUT}
            axes.add_patch(Rectangle((place, place), 1, 1, linewidth=1.0, **ring))


def _draw_cell(
    axes: Axes, matrix: Matrix, own: str, seen: str, across: int, down: int, scale: Normalize
) -> None:
    cell = matrix.cells[own, seen]
    diagonal = own == seen
    colour = COLOURS(scale(cell.value.mean)) if cell.value else style.PANEL
    axes.add_patch(
        Rectangle(
            (across + 0.03, down + 0.03),
            0.94,
            0.94,
            facecolor=colour,
            edgecolor=style.HELD_OUT if diagonal and cell.value else style.QUIET,
            linewidth=2.0 if diagonal and cell.value else 0.0,
            hatch=None if cell.value or not cell.failed else "////",
        )
    )
    if cell.value is None:
        return
    red, green, blue, _ = COLOURS(scale(cell.value.mean))
    bright = 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.45
    text = numbers.fixed(cell.value.mean, matrix.rank.metric.digits)
    if text.startswith("0."):
        text = text[1:]
    axes.text(
        across + 0.5,
        down + 0.5,
        text + ("*" if diagonal and cell.part == "seen" else ""),
        color=style.GROUND if bright else style.TEXT,
        fontsize=9,
        ha="center",
        va="center",
    )


def _legend_handles(shown: list[Matrix]) -> list[Rectangle]:
    own = [
        cell for m in shown for (a, b), cell in m.cells.items() if a == b and cell.value is not None
    ]
    ring: dict[str, Any] = {"facecolor": "none", "edgecolor": style.HELD_OUT, "linewidth": 2.0}
    handles: list[Rectangle] = []
    if any(cell.part == "held_out" for cell in own):
        handles.append(Rectangle((0, 0), 1, 1, **ring, label="own film, held-out frames"))
    if any(cell.part == "seen" for cell in own):
        handles.append(Rectangle((0, 0), 1, 1, **ring, label="*: own film, seen in training"))
    if any(cell.failed for m in shown for cell in m.cells.values()):
        hatched = Rectangle(
            (0, 0), 1, 1, facecolor=style.PANEL, edgecolor=style.QUIET, hatch="////", label="failed"
        )
        handles.append(hatched)
    return handles
