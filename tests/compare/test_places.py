"""Processes that do work, and what becomes of work that ends its process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compare.works import Deed
from zoo.base import interrupts
from zoo.compare.executors import Ended, Told, carried_out
from zoo.compare.executors.inline import Inline
from zoo.compare.executors.processes import Processes, lanes


@pytest.fixture(scope="module")
def one() -> Iterator[Processes]:
    with Processes() as place:
        yield place


def done(place: Processes | Inline, *deeds: Deed) -> list:
    """Do all at once; what was heard, in order."""
    heard: list[Told | Ended] = []
    for number, deed in enumerate(deeds):
        place.start(number, deed)
    while sum(isinstance(event, Ended) for event in heard) < len(deeds):
        place.wait(heard.append)
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


@pytest.mark.parametrize(
    ("gpus", "at_once", "expected"),
    [
        ([], None, [None]),
        ([], 3, [None, None, None]),
        (["0"], None, ["0", ""]),
        (["0", "1", "2"], None, ["0", "1", "2", ""]),
        (["0", "1"], 4, ["0", "1", "0", "1", ""]),
        (["4", "6"], 1, ["4", ""]),
    ],
)
def test_a_machine_has_a_lane_for_each_gpu_and_one_beside_them(
    gpus: list[str], at_once: int | None, expected: list[str | None]
) -> None:
    assert [lane.visible for lane in lanes(gpus, at_once)] == expected


def test_work_sees_the_gpu_of_its_lane_and_other_work_sees_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6,7")
    with Processes(of=lanes(["5", "6"])) as place:
        assert (place.capacity, place.at_once(True), place.at_once(False)) == (3, 2, 1)
        place.start(0, Deed("see", gpu=True))
        assert place.has_room(True) and place.has_room(False)
        place.start(1, Deed("see", gpu=True))
        assert not place.has_room(True) and place.has_room(False)
        place.start(2, Deed("see"))
        assert not place.has_room(True) and not place.has_room(False)
        heard: list[Ended] = []
        while len(heard) < 3:
            place.wait(heard.append)  # type: ignore[arg-type]
        seen = {end.number: end.result for end in heard}
        assert [seen[number][0] for number in range(3)] == ["5", "6", ""]
        (again,) = done(place, Deed("see"))
        assert again.result == seen[2], "a lane's process is kept for its own lane"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,6,7"


def test_fewer_at_once_than_there_are_lanes() -> None:
    with Processes(1, lanes(["0"], 1)) as place:
        assert place.capacity == place.at_once() == 1
        place.start(0, Deed("see", gpu=True))
        assert not place.has_room(False)
        heard: list[Told | Ended] = []
        while not heard:
            place.wait(heard.append)
        assert place.has_room(False) and place.has_room(True)


@pytest.mark.parametrize("what", ["wait", "save"])
def test_work_is_asked_to_stop_when_the_place_is_left_by_an_error(
    what: str, tmp_path: Path
) -> None:
    heard: list[Told | Ended] = []
    before = multiprocessing.active_children()
    with pytest.raises(KeyboardInterrupt), Processes() as place:
        place.start(7, Deed(what, tmp_path / "saved"))
        while not heard:
            place.wait(heard.append)
        raise KeyboardInterrupt
    assert heard == [Told(7, "waiting")]
    assert (tmp_path / "saved").exists() == (what == "save"), "what saves is waited for"
    assert multiprocessing.active_children() == before


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGSEGV])
def test_a_process_that_dies_between_two_pieces_of_work_costs_neither(by: int) -> None:
    with Processes() as place:
        (first,) = done(place, Deed("return"))
        os.kill(first.result, by)
        until_gone(first.result)
        (second,) = done(place, Deed("return"))
    assert second.lost is None and second.result != first.result


def test_a_process_that_dies_with_work_it_did_not_begin_costs_none() -> None:
    with Processes() as place:
        (first,) = done(place, Deed("return"))
        # It cannot read what it is given, and then it dies.
        os.kill(first.result, signal.SIGSTOP)
        place.start(0, Deed("return"))
        os.kill(first.result, signal.SIGKILL)
        heard: list[Told | Ended] = []
        while not heard:
            place.wait(heard.append)
    (second,) = heard
    assert isinstance(second, Ended) and second.lost is None and second.result != first.result


def test_signals_of_the_terminal_reach_no_process_that_works(one: Processes) -> None:
    pid = done(one, Deed("return"))[0].result
    for number in interrupts.SIGNALS:
        os.kill(pid, number)
    assert done(one, Deed("return"))[0].result == pid


def test_a_signal_while_a_process_starts_is_not_its_end() -> None:
    before = multiprocessing.active_children()
    with Processes() as place:
        place.start(0, Deed("return"))
        (child,) = set(multiprocessing.active_children()) - set(before)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGINT)
        heard: list[Told | Ended] = []
        while not heard:
            place.wait(heard.append)
    assert heard == [Ended(0, child.pid)]


def until_gone(pid: int) -> None:
    """Wait until a child of this process has died; it is not waited for as a child."""
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)


def test_inline_is_this_process() -> None:
    with Inline() as place:
        assert done(place, Deed("return")) == [Ended(0, os.getpid())]
        with pytest.raises(SystemExit):
            place.start(0, Deed("exit"))
            place.wait(print)


def test_one_piece_alone(one: Processes) -> None:
    told: list[int] = []
    end = carried_out(one, Deed("tell"), told.append)
    assert end.lost is None and told == [0, 1, 2]
