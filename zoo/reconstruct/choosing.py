"""Which run is meant where a model and a film are named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from zoo.errors import BadInput
from zoo.training.runs import Run, choose_run
from zoo.workspace import Workspace


def run_of(
    runs: Sequence[Run],
    model: str,
    film: str,
    trained_on: str | None = None,
    word: str | None = None,
) -> Run:
    """The finished run of a model with which a film is watched.

    Of several the one that was trained on most frames; of equals, as references are, which count
    none, the newest. `trained_on` names the film that the network knows; None means the one that
    is watched. `word` is how a user names the film that the network is to know, which may be a
    path. Raises BadInput, saying which runs there are, if there is none.
    """
    known = trained_on or film
    training = f"zoo train {model} --film {word or known}"
    finished = [run for run in runs if run.standing == "finished" and run.model == model]
    meant = [run for run in finished if run.film == known]
    if meant:
        return max(meant, key=lambda run: (run.frames or 0, run.touched or 0.0))
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


def _films(runs: Iterable[Run]) -> list[str]:
    return list(dict.fromkeys(run.film for run in runs))
