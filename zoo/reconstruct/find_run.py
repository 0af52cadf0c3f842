"""Find the finished run for a model and a film that a user names."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from zoo.api.film_entry import FilmEntry
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.films.catalogue import Catalogue
from zoo.films.frame_store import FrameStore
from zoo.films.ingest import film_fingerprint, locate_store
from zoo.plugins.registry import check_model_names, list_plugins, registry
from zoo.training.runs import Run, choose_run, find_runs, runs_named


@dataclass(frozen=True)
class FoundRun:
    """A finished run, and the film to use it on."""

    run: Run
    entry: FilmEntry
    trained_on: FilmEntry | None
    """The film that the run was trained on; None if the catalogue does not have it."""
    other_film: str | None
    """Name of the film that the run was trained on, if it is not `entry`; else None."""

    @property
    def films(self) -> list[FilmEntry]:
        """The films that a command on this run may read."""
        return [self.entry, *([self.trained_on] if self.trained_on else [])]


def find_run(
    workspace: Workspace,
    model: str | None,
    film: str | None = None,
    *,
    trained_on: str | None = None,
    run: str | None = None,
) -> FoundRun:
    """Find the finished run of a model for a film, or the run named `run`.

    Runs are matched by the frames that they were trained on, or by the film's name if these are not
    known. `trained_on` names the run's training film if it is not `film`. `model` can also be a
    run's name, and can be None if `run` is given. `film` defaults to the run's training film.
    Raises BadInput, listing what exists, if there is no such film or run.
    """
    catalogue = Catalogue.open(workspace)
    runs = find_runs(workspace)
    if model is not None and run is None and is_run_name(runs, model, workspace):
        model, run = None, model
    film = film or trained_on or _film_of_run(catalogue, runs, model, run, workspace)
    entry = one_film(catalogue, film, "only one film can be reconstructed at a time")
    trained_name, trained_entry = None, None
    if trained_on is not None:
        # The catalogue may no longer have the run's film.
        trained_name = trained_on
        if trained_on in catalogue.entries or not any(each.film == trained_on for each in runs):
            trained_entry = one_film(catalogue, trained_on, "a model is trained on one film")
            trained_name = trained_entry.name
    name = _model_named(model) if model else None

    def has_seen(run: Run, film: FilmEntry) -> bool | None:
        return was_trained_on(run, film, workspace)

    if run is not None:
        chosen = finished_run_named(runs, run, name, workspace)
        if (
            trained_name is not None
            and chosen.film != trained_name
            and not (trained_entry and has_seen(chosen, trained_entry))
        ):
            raise BadInput(f"{chosen.name} was trained on {chosen.film}, not on {trained_name}")
    elif name is None:
        raise BadInput("name a model, or a run with --run")
    else:
        # Of a film that is no longer in the catalogue, only the name is known.
        its_film = trained_entry if trained_on is not None else entry
        chosen = finished_run(
            runs,
            name,
            entry.name,
            trained_name,
            trained_on or film,
            lambda run: has_seen(run, its_film) if its_film else None,
        )
    same = has_seen(chosen, entry)
    own = chosen.film == entry.name if same is None else same
    return FoundRun(
        chosen,
        entry,
        trained_entry or catalogue.entries.get(chosen.film),
        None if own else chosen.film,
    )


def words_for(workspace: Workspace, run: Run, film: FilmEntry) -> str:
    """The shortest command-line words that select a run trained on a film.

    These are model and film if they select this run, else its digest, or its name if another run
    has the same digest.
    """
    runs = find_runs(workspace)
    found = finished_run(
        runs,
        run.model,
        film.name,
        trained_on_film=lambda each: was_trained_on(each, film, workspace),
    )
    if found.name == run.name:
        return f"{run.model} --film {film.word}"
    alike = runs_named(runs, run.digest, workspace)
    return run.digest if len(alike) == 1 else run.name


def find_model(
    workspace: Workspace,
    model: str | None,
    film: str | None,
    *,
    trained_on: str | None = None,
    run: str | None = None,
) -> tuple[Run, FilmEntry | None]:
    """Find a run like `find_run` for a command that needs no film; return its film if known.

    The training film of a named run need not be in the catalogue. Raises BadInput like `find_run`.
    """
    if film is None and trained_on is None:
        runs = find_runs(workspace)
        by_name = model is not None and run is None and is_run_name(runs, model, workspace)
        if word := model if by_name else run:
            name = None if by_name or model is None else _model_named(model)
            chosen = finished_run_named(runs, word, name, workspace)
            return chosen, Catalogue.open(workspace).entries.get(chosen.film)
    found = find_run(workspace, model, film, trained_on=trained_on, run=run)
    return found.run, found.entry


def is_run_name(runs: Sequence[Run], word: str, workspace: Workspace) -> bool:
    """Whether a word that was given as a model is the name of a run and not of a model."""
    known = any(word == each.name for each in list_plugins().models)
    return not known and bool(runs_named(runs, word, workspace))


def _model_named(word: str) -> str:
    """Return the name of a model; raises BadInput, which mentions runs too, if it is unknown."""
    listed = {each.name: each.kind for each in list_plugins().models}
    if listed.get(word, "codec") != "codec":
        return word
    try:
        check_model_names(word)
        return registry().architecture(word).name
    except BadInput as error:
        if word in listed:
            raise
        raise BadInput(f"{error}. No run is called that either: `zoo runs` lists them") from None


def _film_of_run(
    catalogue: Catalogue,
    runs: Sequence[Run],
    model: str | None,
    run: str | None,
    workspace: Workspace,
) -> str:
    """The film to use if none is named: the one that the run was trained on."""
    if run is not None:
        chosen = choose_run(runs, run, workspace)
        if chosen.film and chosen.film not in catalogue.entries:
            raise BadInput(
                f"{chosen.name} was trained on {chosen.film}, and no film is called that here: "
                "name the film to use with --film, which also takes a path"
            )
        return chosen.film
    if model is None:
        raise BadInput("name a model, or a run with --run")
    name = _model_named(model)
    films = _films(run for run in runs if (run.model, run.status) == (name, "finished"))
    if not films:
        raise BadInput(f"no run of {name} is finished; `zoo train {name} --film FILM` trains one")
    if len(films) > 1:
        raise BadInput(
            f"{name} was trained on {', '.join(films)}: choose one with --film, or name a run "
            "as `zoo runs` lists it"
        )
    return films[0]


def one_film(catalogue: Catalogue, word: str, why: str) -> FilmEntry:
    """The only film that a word names; raises BadInput, beginning with `why`, if it names more."""
    entries = catalogue.choose(word)
    if len(entries) != 1:
        raise BadInput(f"{why}; {word!r} names {len(entries)}")
    return entries[0]


def finished_run(
    runs: Sequence[Run],
    model: str,
    film: str,
    trained_on: str | None = None,
    word: str | None = None,
    trained_on_film: Callable[[Run], bool | None] = lambda run: None,
) -> Run:
    """Choose the finished run of a model to use on a film.

    Of several runs, it is the one trained on the most frames; of equal ones, such as references,
    the newest. `trained_on` names the training film; None means `film` itself. `word` is how the
    user wrote that film, perhaps as a path. `trained_on_film` tests whether a run was trained on
    the film's frames: True or False decides whether the run qualifies, whatever its film's name,
    and with None the name decides. Raises BadInput, listing the existing runs, if none qualifies.
    """
    trained_name = trained_on or film
    training = f"`zoo train {model} --film {shlex.quote(word or trained_name)}`"
    finished = [run for run in runs if run.status == "finished" and run.model == model]
    by_frames = {run.name: trained_on_film(run) for run in finished}
    named = [run for run in finished if run.film == trained_name]
    matching = [run for run in finished if by_frames[run.name]]
    matching = matching or [run for run in named if by_frames[run.name] is None]
    if matching:
        return max(matching, key=lambda run: (run.frames or 0, run.modified or 0.0))
    if named:
        raise BadInput(
            f"{named[0].name} was trained on frames that {trained_name} no longer has: its files, "
            f"range, crop, fit or rate have changed. {training} trains on the current frames; "
            f"--run {named[0].digest} uses that run anyway"
        )
    unfinished = [run for run in runs if (run.model, run.film) == (model, trained_name)]
    if unfinished:
        raise BadInput(
            f"no run of {model} on {trained_name} is finished: {unfinished[0].name} is "
            f"{unfinished[0].status}; {training} continues it"
        )
    others = _films(finished)
    if others and trained_on is None:
        raise BadInput(
            f"no finished run of {model} on {film}; there is one on {', '.join(others)}: "
            f"--trained-on {others[0]} uses it for {film}, or {training}"
        )
    there_are = f"; there are runs of it on {', '.join(others)}" if others else ""
    raise BadInput(f"no finished run of {model} on {trained_name}: {training}{there_are}")


def finished_run_named(
    runs: Sequence[Run], word: str, model: str | None, workspace: Workspace
) -> Run:
    """Find the finished run that a word names, as in `zoo runs`.

    Raises BadInput if it names none or several, an unfinished run or a run of another model.
    """
    run = choose_run(runs, word, workspace)
    if run.status != "finished":
        raise BadInput(f"{run.name} is {run.status}; only a finished run can reconstruct a film")
    if model is not None and run.model != model:
        raise BadInput(f"{run.name} is a run of {run.model}, not of {model}")
    return run


def was_trained_on(run: Run, entry: FilmEntry, workspace: Workspace) -> bool | None:
    """Whether a run was trained on the frames that a film has now, tested without decoding.

    None if unknown: a file is missing, or the run is from film-zoo 0.1.0 and had a held-out share
    that the film was not opened with.
    """
    if run.description is None:
        return None
    config, frames = run.description.config, run.description.frames_fingerprint
    try:
        place = locate_store(entry, FrameSize.parse(config.size), workspace)
        if frames is not None:
            return frames == place.fingerprint
        store = FrameStore.find(place.folder)
    except BadInput:
        return None
    splits = store.manifest.splits.values() if store else ()
    found = {film_fingerprint(place.fingerprint, split) for split in splits}
    return True if config.film_fingerprint in found else None


def _films(runs: Iterable[Run]) -> list[str]:
    return list(dict.fromkeys(run.film for run in runs))
