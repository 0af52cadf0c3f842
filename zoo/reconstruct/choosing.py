"""Which run is meant where a model and a film are named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.films.catalogue import FilmEntry
from zoo.films.ingest import film_fingerprint, locate
from zoo.films.store import FrameStore
from zoo.training.runs import Run, choose_run


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
