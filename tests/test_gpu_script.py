"""`make gpu` where there is no GPU: its supervisor, its workers and its files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.gpu import supervisor
from benchmarks.gpu.stages import (
    STAGES,
    Order,
    Plan,
    Setup,
    read_stage,
    stage_file,
)
from benchmarks.gpu.summary import as_markdown
from benchmarks.gpu.supervisor import Supervisor
from tests.report.gpu_summary import media_result
from zoo.api.film_entry import FilmEntry
from zoo.api.metric import Unavailable
from zoo.base.atomic_files import write_json
from zoo.base.errors import BadInput
from zoo.base.gpu_records import (
    SUMMARY,
    GpuSummary,
    Item,
    MachineResult,
    MediaResult,
    SmokeResult,
    Stage,
)
from zoo.base.untrusted_files import read_json

ROOT = Path(__file__).parents[1]

STUB = """
    import json, os, sys, time

    todo = json.loads(sys.argv[1])
    time.sleep(float(os.environ.get("STUB_STARTS_AFTER", 0)))
    for line in sys.stdin:
        order = json.loads(line)
        name = order["stage"]
        path = os.path.join(order["setup"]["out"], name + ".json")
        with open(path) as file:
            stage = json.load(file)

        def save():
            with open(path + ".new", "w") as file:
                json.dump(stage, file)
            os.replace(path + ".new", path)

        if todo[name] == "broken":
            sys.exit("ImportError: no such module")
        stage["state"] = "running"
        if stage["items"] and "dies" in todo[name].values():
            os._exit(1)
        stage["items"] = stage["items"] or [{"name": one, "state": "waiting"} for one in todo[name]]
        for item in stage["items"]:
            if item["state"] != "waiting":
                continue
            item["state"] = "running"
            save()
            fate = todo[name][item["name"]]
            if fate == "hang":
                time.sleep(60)
            if fate == "slow":
                time.sleep(3)
            if fate == "crash":
                sys.stderr.write("Segmentation fault\\n")
                os.abort()
            item["state"] = "done"
            save()
            if fate in ("lost", "dies"):
                os._exit(3)
        stage["state"] = "done"
        save()
"""
"""A worker that does to each item what the test says, and starts at once."""


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    for name in ("out", "work"):
        (tmp_path / name).mkdir()
    return Setup(
        device="cpu",
        tiny=True,
        films=[],
        models=[],
        out=tmp_path / "out",
        work=tmp_path / "work",
    )


def supervised(setup: Setup, todo: dict[str, object], seconds: float = 60.0) -> GpuSummary:
    """Run stages with the worker that does what the test says."""
    stub = setup.work / "stub.py"
    stub.write_text(textwrap.dedent(STUB))
    command = [sys.executable, str(stub), json.dumps(todo)]
    return Supervisor(setup, seconds / 60, lambda line: None, command).run(list(todo))


@pytest.fixture(autouse=True)
def found_from_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers find this checkout, whichever folder they are started from."""
    known = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "plugins"), known]))


def states(setup: Setup, stage: str) -> dict[str, str]:
    return {item.name: item.state for item in read_stage(setup.out, stage).items}


def test_an_item_that_overruns_costs_itself_alone(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LEAST_ITEM", 1.0)
    monkeypatch.setitem(STAGES, "smoke", Plan(Stage[SmokeResult], share=1.0, item=0.01))
    summary = supervised(setup, {"smoke": {"one": "ok", "two": "hang", "three": "ok"}})
    assert states(setup, "smoke") == {"one": "done", "two": "cut off", "three": "done"}
    assert summary.smoke and summary.smoke.state == "done"
    assert summary.smoke.items[1].error == ["took longer than 1 s"]


def test_a_stage_out_of_time_keeps_what_it_did_and_the_next_goes_on(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STAGES, "smoke", Plan(Stage[SmokeResult], share=0.02, item=1.0))
    todo: dict[str, object] = {
        "smoke": {"a": "ok", "b": "hang", "c": "ok"},
        "media": {"d": "ok"},
    }
    summary = supervised(setup, todo, seconds=20)
    assert states(setup, "smoke") == {"a": "done", "b": "cut off", "c": "cut off"}
    assert summary.smoke and summary.smoke.state == "cut off"
    assert summary.smoke.items[2].error == ["not reached"]
    assert states(setup, "media") == {"d": "done"}
    assert "- 1 not reached: c\n" in as_markdown(summary)


def test_the_item_at_work_at_the_end_of_a_stage_may_run_on(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "GRACE", 0.2)
    monkeypatch.setitem(STAGES, "smoke", Plan(Stage[SmokeResult], share=0.001, item=1.0))
    summary = supervised(setup, {"smoke": {"a": "slow"}, "media": {"b": "ok"}}, seconds=60)
    assert summary.smoke and summary.smoke.allowed_seconds < 1
    assert states(setup, "smoke") == {"a": "done"}


def test_what_a_worker_takes_to_start_is_charged_to_no_stage(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "GRACE", 0.0)
    monkeypatch.setenv("STUB_STARTS_AFTER", "3")
    monkeypatch.setitem(STAGES, "machine", Plan(Stage[MachineResult], share=0.001, item=1.0))
    summary = supervised(setup, {"machine": {"a": "ok"}, "media": {"b": "ok"}}, seconds=60)
    assert summary.machine and summary.machine.allowed_seconds < 1
    assert states(setup, "machine") == {"a": "done"}
    monkeypatch.setattr(supervisor, "START", 1.0)
    summary = supervised(setup, {"machine": {"a": "ok"}})
    assert summary.machine and summary.machine.error == ["its process did not begin within 1 s"]


def test_the_stages_that_are_chosen_share_all_of_the_time(setup: Setup) -> None:
    alone = supervised(setup, {"media": {"a": "ok"}}, seconds=100)
    assert alone.media and alone.media.allowed_seconds == pytest.approx(92, abs=3)
    both = supervised(setup, {"media": {"a": "ok"}, "films": {"b": "ok"}}, seconds=100)
    share = STAGES["media"].share / (STAGES["media"].share + STAGES["films"].share)
    assert both.media and both.media.allowed_seconds == pytest.approx(92 * share, abs=3)
    assert both.films and both.films.allowed_seconds == pytest.approx(92, abs=5)


@pytest.mark.parametrize("fault", ["crash", "lost"])
def test_a_worker_that_dies_costs_one_item(setup: Setup, fault: str) -> None:
    summary = supervised(setup, {"smoke": {"a": "ok", "b": fault, "c": "ok"}})
    found = states(setup, "smoke")
    assert found == {"a": "done", "b": "failed" if fault == "crash" else "done", "c": "done"}
    assert summary.smoke and summary.smoke.state == "done"
    if fault == "crash":
        assert summary.smoke.items[1].error[-2:] == ["Segmentation fault", "the process died"]


def test_a_stage_whose_worker_never_begins_has_failed_and_the_next_goes_on(setup: Setup) -> None:
    summary = supervised(setup, {"smoke": "broken", "media": {"a": "ok"}})
    assert summary.smoke and summary.smoke.state == "failed"
    assert summary.smoke.error[-2:] == ["ImportError: no such module", "the process died"]
    assert summary.media and summary.media.state == "done"
    assert read_json(setup.out / SUMMARY, GpuSummary) == summary


def test_a_stage_whose_workers_die_over_and_over_has_failed(setup: Setup) -> None:
    todo: dict[str, object] = {"smoke": {"a": "dies", "b": "ok"}, "media": {"c": "ok"}}
    summary = supervised(setup, todo)
    assert summary.smoke and summary.smoke.state == "failed"
    assert states(setup, "smoke") == {"a": "done", "b": "failed"}
    assert summary.media and summary.media.state == "done"


def test_what_an_earlier_run_left_damaged_is_said_before_any_work(setup: Setup) -> None:
    stage_file(setup.out, "smoke").write_text("{")
    with pytest.raises(BadInput, match=r"smoke\.json"):
        supervised(setup, {"media": {"a": "ok"}})
    assert not stage_file(setup.out, "media").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_kill_in_the_middle_leaves_what_was_done_and_no_worker(
    setup: Setup, number: signal.Signals
) -> None:
    pids = setup.work / "pids"
    stub = setup.work / "stub.py"
    stub.write_text(
        f"import os; open({str(pids)!r}, 'a').write(str(os.getpid()))\n"
        "import threading, queue, sys\n"
        "lines = queue.Queue()\n"
        "def listen():\n"
        "    for line in iter(sys.__stdin__.readline, ''):\n"
        "        lines.put(line)\n"
        "    os._exit(1)\n"
        "threading.Thread(target=listen, daemon=True).start()\n"
        "sys.stdin = iter(lines.get, None)\n" + textwrap.dedent(STUB)
    )
    todo = {"machine": {"m": "ok"}, "smoke": {"a": "ok", "b": "hang", "c": "ok"}}
    script = f"""
        import signal, sys
        from benchmarks.gpu.__main__ import _stop
        from benchmarks.gpu.stages import Setup
        from benchmarks.gpu.supervisor import Supervisor
        signal.signal(signal.SIGTERM, _stop)
        setup = Setup.model_validate_json({setup.model_dump_json()!r})
        command = [sys.executable, {str(stub)!r}, {json.dumps(todo)!r}]
        Supervisor(setup, 5, lambda line: None, command).run({list(todo)!r})
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT)
    path = stage_file(setup.out, "smoke")
    until(lambda: path.exists() and states(setup, "smoke").get("b") == "running")
    process.send_signal(number)
    assert process.wait(30) == (128 + number if number == signal.SIGTERM else -number)
    until(lambda: not alive(int(pids.read_text())))

    stopped = "cut off" if number == signal.SIGTERM else "running"
    assert states(setup, "smoke")["a"] == "done"
    assert states(setup, "smoke")["b"] == stopped
    summary = read_json(setup.out / SUMMARY, GpuSummary)
    assert summary.machine and summary.machine.state == "done"
    if number == signal.SIGTERM:
        assert summary.smoke and summary.smoke.error == ["the run was stopped"]


def test_a_step_that_waits_for_the_gpu_is_named_with_its_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    from benchmarks.gpu.waiting import what_waits

    modes: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    gpu = torch.device("cuda")

    def reads_a_loss() -> None:
        raise RuntimeError("called a synchronizing CUDA operation")

    def fails() -> None:
        raise RuntimeError("an illegal memory access was encountered")

    assert what_waits(gpu, lambda: None) is None
    line = reads_a_loss.__code__.co_firstlineno + 1
    assert what_waits(gpu, reads_a_loss) == (
        f"test_gpu_script.py:{line}: called a synchronizing CUDA operation"
    )
    with pytest.raises(RuntimeError, match="illegal"):
        what_waits(gpu, fails)
    assert modes == ["error", "default"] * 3


def test_a_worker_ends_with_its_input() -> None:
    command = [sys.executable, "-m", "benchmarks.gpu.worker"]
    ended = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, timeout=120)
    assert ended.returncode == 1


def test_a_folder_of_films_without_any_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.gpu.__main__ import _films

    (tmp_path / "notes.txt").write_text("no film")
    (tmp_path / "broken.mp4").write_bytes(b"no film either")
    with pytest.raises(BadInput, match=r"no film in .* that can be opened"):
        _films(tmp_path)
    assert capsys.readouterr().out.startswith("left out: broken.mp4")


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds, for half a minute."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process is there; one that nobody has waited for counts as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_a_model_raises_is_kept_and_the_next_one_is_tried(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.gpu import worker

    def fails(item: Item[SmokeResult]) -> None:
        raise RuntimeError("a kernel that there is not")

    def leaves(item: Item[SmokeResult]) -> None:
        sys.exit(7)

    def refused(item: Item[SmokeResult]) -> None:
        raise BadInput("too small a frame")

    def works(item: Item[SmokeResult]) -> None:
        item.result = SmokeResult(model="works", checks={"step": "ok"})

    fake = types.ModuleType("fake")
    made = {each.__name__: each for each in (fails, leaves, refused, works)}
    fake.works = lambda here: made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "benchmarks.gpu.smoke", fake)
    write_json(stage_file(setup.out, "smoke"), Stage[SmokeResult](stage="smoke", allowed_seconds=9))
    worker.run_stage(Order(stage="smoke", setup=setup, seconds=60, deadline=time.time() + 60))

    stage = read_stage(setup.out, "smoke")
    assert [item.state for item in stage.items] == ["failed", "failed", "failed", "done"]
    first, second, third, _ = (item.error for item in stage.items)
    assert first[-1] == "RuntimeError: a kernel that there is not"
    assert any("in fails" in line for line in first)
    assert second[-1] == "SystemExit: 7"
    assert third == ["too small a frame"]
    assert stage.environment and stage.environment.torch

    summary = GpuSummary(
        tiny=True, began="", minutes=1, seconds=1, sources=[], smoke=read_stage(setup.out, "smoke")
    )
    reported = as_markdown(summary)
    assert "- fails: failed (RuntimeError: a kernel that there is not)" in reported
    assert "| works | yes |" in reported


@pytest.mark.parametrize(("seconds", "until"), [(1.0, 60.0), (60.0, 1.0)])
def test_a_worker_begins_nothing_when_the_time_is_over(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, seconds: float, until: float
) -> None:
    from benchmarks.gpu import worker

    fake = types.ModuleType("fake")
    tried: list[str] = []

    def work(item: Item[SmokeResult]) -> None:
        tried.append(item.name)
        time.sleep(1.2)

    fake.works = lambda here: dict.fromkeys("abc", work)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "benchmarks.gpu.smoke", fake)
    write_json(stage_file(setup.out, "smoke"), Stage[SmokeResult](stage="smoke", allowed_seconds=1))
    deadline = time.time() + until
    worker.run_stage(Order(stage="smoke", setup=setup, seconds=seconds, deadline=deadline))
    stage = read_stage(setup.out, "smoke")
    assert tried == ["a"]
    assert [(item.state, item.not_reached) for item in stage.items] == [
        ("done", False),
        ("cut off", True),
        ("cut off", True),
    ]
    assert (stage.state, stage.error) == ("cut off", ["the stage's 1 s were over"])


def test_a_model_trains_for_what_evaluations_leave_of_the_time(setup: Setup) -> None:
    import torch

    from benchmarks.gpu.films import Show
    from benchmarks.gpu.worker import Here

    here = Here(setup, torch.device("cpu"), time.time() + 180, lambda: None)
    show = Show(here, FilmEntry(name="film", files=[Path("film.mp4")]), ["one", "two", "three"])
    assert show.training_seconds("one") == pytest.approx(30, abs=1)  # nothing was timed
    show.took(10)
    show.took(4)
    assert show.training_seconds("one") == pytest.approx(45, abs=1)
    assert show.training_seconds("three") == pytest.approx(165, abs=1)
    show.evaluations["two"] = 40
    assert show.training_seconds("one") == pytest.approx((180 - 15 - 50 - 15) / 3, abs=1)
    here.deadline = time.time() + 5
    assert show.training_seconds("three") == 1


def test_what_an_evaluation_may_take_is_found_from_a_shorter_one(setup: Setup) -> None:
    import torch

    from benchmarks.gpu.films import evaluations
    from benchmarks.gpu.worker import Here

    here = Here(setup, torch.device("cpu"), 0.0, lambda: None)
    assert evaluations(here, 1000) == {}
    speed = {"frames": 100, "seconds": 4.0, "frames_per_second": 25.0}
    found = media_result("evaluate", "coded_pca", **speed)
    items = [
        Item[MediaResult](name="evaluate, coded_pca", state="done", seconds=7.0, result=found),
        Item[MediaResult](name="evaluate, vae", state="cut off", error=["not reached"]),
    ]
    stage = Stage[MediaResult](stage="media", allowed_seconds=9, items=items)
    write_json(stage_file(setup.out, "media"), stage)
    assert evaluations(here, 1000) == {"coded_pca": 3 + 40}


def test_a_decoder_without_its_driver_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.gpu import media

    monkeypatch.setattr(media, "hwdevices_available", lambda: ["cuda"])
    monkeypatch.setitem(media.DECODERS, "cuda", ("libc.so.6", "libno-such-driver.so.1"))
    with pytest.raises(Unavailable, match=r"cannot be loaded: libno-such-driver\.so\.1"):
        media.check_decoder("cuda")
    monkeypatch.setattr(media, "hwdevices_available", lambda: ["drm"])
    with pytest.raises(Unavailable, match="decodes on no cuda; it has: drm"):
        media.check_decoder("cuda")
