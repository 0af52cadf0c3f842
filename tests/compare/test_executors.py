"""Executors: tasks in processes, and tasks that end their process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compare.executor_tasks import SampleTask
from zoo.base import interrupts
from zoo.compare.comparison import run_task
from zoo.compare.executors import (
    InlineExecutor,
    Message,
    ProcessExecutor,
    TaskEnd,
    device_slots,
)


@pytest.fixture(scope="module")
def one() -> Iterator[ProcessExecutor]:
    with ProcessExecutor() as executor:
        yield executor


def done(executor: ProcessExecutor | InlineExecutor, *tasks: SampleTask) -> list:
    """Run all tasks at once; returns the events in order."""
    heard: list[Message | TaskEnd] = []
    for number, task in enumerate(tasks):
        executor.submit(number, task)
    while sum(isinstance(event, TaskEnd) for event in heard) < len(tasks):
        executor.poll(heard.append)
    return heard


def test_tasks_run_in_another_process_that_is_reused(one: ProcessExecutor) -> None:
    first, second = (done(one, SampleTask("return"))[0].result for _ in range(2))
    assert first == second != os.getpid()


def test_messages_arrive_before_the_end_of_a_task(one: ProcessExecutor) -> None:
    *messages, ended = done(one, SampleTask("tell"))
    assert [event.content for event in messages] == [0, 1, 2]
    assert isinstance(ended, TaskEnd) and ended.lost is None


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("crash", "its process was killed by SIGSEGV; that is a fault in native code"),
        ("vanish", "its process exited with code 3 before it was done"),
        ("exit", "SystemExit: enough"),
        ("raise", "ArithmeticError: no number"),
    ],
)
def test_a_crash_costs_its_own_task_alone(what: str, reason: str, one: ProcessExecutor) -> None:
    (ended,) = done(one, SampleTask(what))
    assert ended == TaskEnd(0, lost=reason)
    (ended,) = done(one, SampleTask("return"))
    assert ended.lost is None and ended.result != os.getpid()


@pytest.mark.parametrize(
    ("what", "reason"),
    [("exit", "SystemExit: enough"), ("raise", "ArithmeticError: no number")],
)
def test_an_error_within_this_process_costs_its_own_task_alone(what: str, reason: str) -> None:
    executor = InlineExecutor()
    assert done(executor, SampleTask(what)) == [TaskEnd(0, lost=reason)]
    (ended,) = done(executor, SampleTask("return"))
    assert ended == TaskEnd(0, os.getpid())


def test_a_tainted_process_runs_no_other_task(one: ProcessExecutor) -> None:
    before = done(one, SampleTask("return", taints=True))[0].result
    assert done(one, SampleTask("return"))[0].result != before


def test_two_tasks_run_in_parallel(tmp_path: Path) -> None:
    with ProcessExecutor(2) as executor:
        first, second = done(executor, SampleTask("meet", tmp_path), SampleTask("meet", tmp_path))
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
def test_a_machine_has_a_slot_for_each_gpu_and_one_without(
    gpus: list[str], at_once: int | None, expected: list[str | None]
) -> None:
    assert [slot.visible for slot in device_slots(gpus, at_once)] == expected


def test_tasks_see_the_gpu_of_their_slot_and_others_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6,7")
    with ProcessExecutor(slots=device_slots(["5", "6"])) as executor:
        assert (executor.capacity, executor.parallelism(True), executor.parallelism(False)) == (
            3,
            2,
            1,
        )
        executor.submit(0, SampleTask("see", gpu=True))
        assert executor.has_room(True) and executor.has_room(False)
        executor.submit(1, SampleTask("see", gpu=True))
        assert not executor.has_room(True) and executor.has_room(False)
        executor.submit(2, SampleTask("see"))
        assert not executor.has_room(True) and not executor.has_room(False)
        heard: list[TaskEnd] = []
        while len(heard) < 3:
            executor.poll(heard.append)  # type: ignore[arg-type]
        seen = {end.number: end.result for end in heard}
        assert [seen[number][0] for number in range(3)] == ["5", "6", ""]
        (again,) = done(executor, SampleTask("see"))
        assert again.result == seen[2], "the process of a slot is reused for that slot"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,6,7"


def test_fewer_tasks_in_parallel_than_slots() -> None:
    with ProcessExecutor(1, device_slots(["0"], 1)) as executor:
        assert executor.capacity == executor.parallelism() == 1
        executor.submit(0, SampleTask("see", gpu=True))
        assert not executor.has_room(False)
        heard: list[Message | TaskEnd] = []
        while not heard:
            executor.poll(heard.append)
        assert executor.has_room(False) and executor.has_room(True)


@pytest.mark.parametrize("what", ["wait", "save"])
def test_tasks_are_asked_to_stop_when_the_executor_is_left_by_an_error(
    what: str, tmp_path: Path
) -> None:
    heard: list[Message | TaskEnd] = []
    before = multiprocessing.active_children()
    with pytest.raises(KeyboardInterrupt), ProcessExecutor() as executor:
        executor.submit(7, SampleTask(what, tmp_path / "saved"))
        while not heard:
            executor.poll(heard.append)
        raise KeyboardInterrupt
    assert heard == [Message(7, "waiting")]
    assert (tmp_path / "saved").exists() == (what == "save"), "what saves is waited for"
    assert multiprocessing.active_children() == before


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGSEGV])
def test_a_process_that_dies_between_two_tasks_costs_neither(by: int) -> None:
    with ProcessExecutor() as executor:
        (first,) = done(executor, SampleTask("return"))
        os.kill(first.result, by)
        until_gone(first.result)
        (second,) = done(executor, SampleTask("return"))
    assert second.lost is None and second.result != first.result


def test_a_process_that_dies_before_its_task_starts_costs_none() -> None:
    with ProcessExecutor() as executor:
        (first,) = done(executor, SampleTask("return"))
        # It is stopped before it can read its task, and then killed.
        os.kill(first.result, signal.SIGSTOP)
        executor.submit(0, SampleTask("return"))
        os.kill(first.result, signal.SIGKILL)
        heard: list[Message | TaskEnd] = []
        while not heard:
            executor.poll(heard.append)
    (second,) = heard
    assert isinstance(second, TaskEnd) and second.lost is None and second.result != first.result


def test_signals_of_the_terminal_reach_no_worker_process(one: ProcessExecutor) -> None:
    pid = done(one, SampleTask("return"))[0].result
    for number in interrupts.SIGNALS:
        os.kill(pid, number)
    assert done(one, SampleTask("return"))[0].result == pid


def test_a_signal_while_a_process_starts_is_not_its_end() -> None:
    before = multiprocessing.active_children()
    with ProcessExecutor() as executor:
        executor.submit(0, SampleTask("return"))
        (child,) = set(multiprocessing.active_children()) - set(before)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGINT)
        heard: list[Message | TaskEnd] = []
        while not heard:
            executor.poll(heard.append)
    assert heard == [TaskEnd(0, child.pid)]


def until_gone(pid: int) -> None:
    """Wait until a child of this process has died; it is not waited for as a child."""
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)


def test_a_single_task(one: ProcessExecutor) -> None:
    messages: list[int] = []
    end = run_task(one, SampleTask("tell"), messages.append)
    assert end.lost is None and messages == [0, 1, 2]
