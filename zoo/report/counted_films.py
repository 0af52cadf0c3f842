"""Which films count in means: all but those that every model of a comparison was tuned on."""

from __future__ import annotations

from zoo.base import numbers
from zoo.base.records import FilmInfo, Results
from zoo.base.text import one_line


def tuned_by(results: Results) -> dict[str, list[str]]:
    """By film of the comparison, the models whose defaults were chosen on it, by name alone."""
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
    """The results with the films that count alone, which are all if each is a tuning film.

    Records of other films stay, so that letters of machines are the same; they are in no row.
    """
    tuned = tuning_films(results)
    films = [film for film in results.films if film.name not in tuned]
    return results.model_copy(update={"films": films}) if films else results


def film_label(results: Results, film: FilmInfo) -> str:
    """A film's name, marked if it is a tuning film."""
    mark = " (tuning film)" if film.name in tuning_films(results) else ""
    return one_line(film.name, 60) + mark


def over_films(results: Results) -> str:
    """What numbers across films are: `mean over 3 films`, or the only film."""
    films = counted(results).films
    if len(films) == 1:
        return f"on {one_line(films[0].name, 60)}"
    return f"mean over {numbers.counted(len(films), 'film')}"


def tuning_sentences(results: Results) -> list[str]:
    """The sentence on tuning films and the means over films; none if no film is one."""
    tuned = tuning_films(results)
    names = [one_line(film.name, 60) for film in results.films if film.name in tuned]
    if not names:
        return []
    subject = f"{numbers.listed(names)} {numbers.verb(len(names), 'is a', 'are')} "
    kind = f"tuning {numbers.verb(len(names), 'film', 'films')}"
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


def means_in_words(results: Results) -> str:
    """What the table across films holds."""
    films = counted(results).films
    if len(films) == len(results.films):
        return "Means over films, each film counted once."
    if len(films) == 1:
        return f"Scores on {one_line(films[0].name, 60)} alone: all other films are tuning films."
    return f"Means over the {len(films)} films that are not tuning films, each counted once."


def left_out_of_matrix_means(results: Results) -> list[str]:
    """A sentence on tuning films that the matrix across films shows; none if all count."""
    kept = counted(results).films
    names = [one_line(film.name, 60) for film in results.films if film not in kept]
    if not names:
        return []
    verb, kind = ("is", "a tuning film") if len(names) == 1 else ("are", "tuning films")
    return [f"{numbers.listed(names)} {verb} in the matrix but, as {kind}, not in the means."]
