"""Which finished run is meant where a model and a film are named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.films.catalogue import Catalogue, FilmEntry
from zoo.films.ingest import film_fingerprint, locate
from zoo.films.store import FrameStore
from zoo.plugins.registry import registry
from zoo.training.runs import Run, choose_run, find_runs


def run_of(
    runs: Sequence[Run],
    model: str,
    film: str,
    trained_on: str | None = None,
    word: str | None = None,
    knows: Callable[[Run], bool | None] = lambda run: None,
) -> Run:
    """The finished run of a model with which a film is watched.

    Of several the one that was trained on most frames; of equals, as references are, which count
    none, the newest. `trained_on` names the film that the network knows; None means the one that
    is watched. `word` is how a user names the film that the network is to know, which may be a
    path. `knows` says whether a run was trained on the frames that this film has: such a run is
    taken whatever its film is called, and one that was trained on others never is. Where that
    cannot be told, which is None, the name decides. Raises BadInput, saying which runs there are,
    if there is none.
    """
    known = trained_on or film
    training = f"zoo train {model} --film {word or known}"
    finished = [run for run in runs if run.standing == "finished" and run.model == model]
    by_frames = {run.name: knows(run) for run in finished}
    named = [run for run in finished if run.film == known]
    meant = [run for run in finished if by_frames[run.name]]
    meant = meant or [run for run in named if by_frames[run.name] is None]
    if meant:
        return max(meant, key=lambda run: (run.frames or 0, run.touched or 0.0))
    if named:
        raise BadInput(
            f"{named[0].name} was trained on other frames than {known} has now: its files, range, "
            f"crop, fit or rate have changed. {training} trains on those of now; --run "
            f"{named[0].digest} draws with that network"
        )
    unfinished = [run for run in runs if (run.model, run.film) == (model, known)]
    if unfinished:
        raise BadInput(
            f"no run of {model} on {known} is finished: {unfinished[0].name} is "
            f"{unfinished[0].standing}; {training} goes on with it"
        )
    others = _films(finished)
    if others and trained_on is None:
        raise BadInput(
            f"no finished run of {model} on {film}; there is one on {', '.join(others)}: "
            f"--trained-on {others[0]} watches {film} with it, or {training}"
        )
    there_are = f"; there are runs of it on {', '.join(others)}" if others else ""
    raise BadInput(f"no finished run of {model} on {known}: {training}{there_are}")


def named_run(runs: Sequence[Run], word: str, model: str | None, workspace: Workspace) -> Run:
    """The finished run that a word of `zoo runs` means; raises BadInput if it is of another model.

    Raises BadInput also if it means none or several, or one that is not finished.
    """
    run = choose_run(runs, word, workspace)
    if run.standing != "finished":
        raise BadInput(f"{run.name} is {run.standing}; only a finished run draws a film")
    if model is not None and run.model != model:
        raise BadInput(f"{run.name} is a run of {run.model}, not of {model}")
    return run


def knows_film(run: Run, entry: FilmEntry, workspace: Workspace) -> bool | None:
    """Whether a run was trained on the frames that a film has now; nothing is decoded.

    None where that cannot be told: a file is missing, or the run is of film-zoo 0.1.0 and was
    trained with another share held out than the film was opened with.
    """
    if run.description is None:
        return None
    config, frames = run.description.config, run.description.frames_fingerprint
    try:
        place = locate(entry, FrameSize.parse(config.size), workspace)
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


@dataclass(frozen=True)
class Request:
    """A run that was asked for, found, before a film before which it is put."""

    run: Run
    entry: FilmEntry
    """The film that is watched."""
    trained_on: FilmEntry | None
    """The film that the network knows, where the catalogue has it."""
    another: str | None
    """What the film that the network knows is called, where it is not the one that is watched."""


def find_run(
    workspace: Workspace,
    model: str | None,
    film: str,
    *,
    trained_on: str | None = None,
    run: str | None = None,
) -> Request:
    """The finished run with which a film is watched, as `zoo reconstruct` finds it.

    A run is known by the frames it was trained on, by its film's name where those are not known.

    `model` may be None where `run` says which it is. Raises BadInput, saying what there is, if
    there is no such film or run.
    """
    catalogue = Catalogue.open(workspace)
    entry = one_film(catalogue, film, "one film at a time is watched")
    found = find_runs(workspace)
    known, knows = None, None
    if trained_on is not None:
        # Runs outlive entries of the catalogue.
        known = trained_on
        if trained_on in catalogue.entries or not any(each.film == known for each in found):
            knows = one_film(catalogue, trained_on, "a network is trained on one film")
            known = knows.name
    name = registry().architecture(model).name if model else None

    def is_of(run: Run, film: FilmEntry) -> bool | None:
        return knows_film(run, film, workspace)

    if run is not None:
        chosen = named_run(found, run, name, workspace)
        if known is not None and chosen.film != known and not (knows and is_of(chosen, knows)):
            raise BadInput(f"{chosen.name} was trained on {chosen.film}, not on {known}")
    elif name is None:
        raise BadInput("name a model, or a run with --run")
    else:
        # The name of a run's film is all that is left of one that is no longer in the catalogue.
        its_film = knows if trained_on is not None else entry
        chosen = run_of(
            found,
            name,
            entry.name,
            known,
            trained_on or film,
            lambda run: is_of(run, its_film) if its_film else None,
        )
    same = is_of(chosen, entry)
    own = chosen.film == entry.name if same is None else same
    return Request(
        chosen,
        entry,
        knows or catalogue.entries.get(chosen.film),
        None if own else chosen.film,
    )


def one_film(catalogue: Catalogue, word: str, why: str) -> FilmEntry:
    """The one film that a word means; raises BadInput, with `why`, if it means several."""
    entries = catalogue.choose(word)
    if len(entries) != 1:
        raise BadInput(f"{why}; {word!r} is {len(entries)}")
    return entries[0]
