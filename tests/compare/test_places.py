"""Processes that do work, and what becomes of work that ends its process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compare.works import Deed
from zoo.compare.places.inline import Inline
from zoo.compare.places.place import Ended, Told, carried_out
from zoo.compare.places.processes import Processes
from zoo.training.watching import StopRequest


@pytest.fixture(scope="module")
def one() -> Iterator[Processes]:
    with Processes() as place:
        yield place


def done(place: Processes | Inline, *deeds: Deed, stop: StopRequest | None = None) -> list:
    """Do all at once; what was heard, in order."""
    heard: list[Told | Ended] = []
    for number, deed in enumerate(deeds):
        place.start(number, deed)
    while sum(isinstance(event, Ended) for event in heard) < len(deeds):
        place.wait(heard.append, stop or StopRequest())
    return heard


def test_work_is_done_in_another_process_that_is_kept(one: Processes) -> None:
    first, second = (done(one, Deed("return"))[0].result for _ in range(2))
    assert first == second != os.getpid()


def test_what_work_tells_is_heard_before_its_end(one: Processes) -> None:
    *told, ended = done(one, Deed("tell"))
    assert [event.what for event in told] == [0, 1, 2]
    assert isinstance(ended, Ended) and ended.lost is None


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("crash", "its process was killed by SIGSEGV; that is a fault in native code"),
        ("vanish", "its process ended by itself with code 3, before it was done"),
        ("exit", "SystemExit: enough"),
        ("raise", "ArithmeticError: no number"),
    ],
)
def test_what_ends_a_process_costs_its_own_work_alone(
    what: str, reason: str, one: Processes
) -> None:
    (ended,) = done(one, Deed(what))
    assert ended == Ended(0, lost=reason)
    (ended,) = done(one, Deed("return"))
    assert ended.lost is None and ended.result != os.getpid()


def test_a_process_that_was_spoilt_does_no_other_work(one: Processes) -> None:
    before = done(one, Deed("return", spoilt=True))[0].result
    assert done(one, Deed("return"))[0].result != before


def test_work_beside_other_work(tmp_path: Path) -> None:
    with Processes(2) as place:
        first, second = done(place, Deed("meet", tmp_path), Deed("meet", tmp_path))
    assert first.result != second.result


def test_a_wish_to_stop_reaches_the_work(one: Processes) -> None:
    stop, heard = StopRequest(), []
    one.start(7, Deed("wait"))
    while not heard:
        one.wait(heard.append, stop)
    assert heard == [Told(7, "waiting")]
    stop.asked = True
    while len(heard) < 2:
        one.wait(heard.append, stop)
    assert heard[1] == Ended(7, interrupted=True)
    assert done(one, Deed("return"))[0].lost is None


def test_inline_is_this_process() -> None:
    with Inline() as place:
        assert done(place, Deed("return")) == [Ended(0, os.getpid())]
        with pytest.raises(SystemExit):
            place.start(0, Deed("exit"))
            place.wait(print, StopRequest())


def test_one_piece_alone(one: Processes) -> None:
    told: list[int] = []
    end = carried_out(one, Deed("tell"), told.append, StopRequest())
    assert end.lost is None and told == [0, 1, 2]
