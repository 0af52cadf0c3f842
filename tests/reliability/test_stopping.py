"""Every verb stops on a signal, says so once, and resumes when it is run again."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from tests.conftest import Said
from tests.reconstruct.flashing_film import flashing_film
from tests.reliability.conftest import SMALL, TIMES
from tests.reliability.warm_process import ROOT
from zoo.base import interrupts

PATIENCE = 120.0
"""Seconds, a generous limit; benchmarks measure how soon a verb ends."""
BEGIN = """
import signal, sys, time
from zoo.base import interrupts
interrupts.GRACE, interrupts.REPEAT = 0.6, 0.1
def body():
    {body}
sys.argv = ["zoo"]
import types
sys.modules["zoo.cli"] = types.SimpleNamespace(main=body)
from zoo.__main__ import main
main()
"""
SLEEPS = 'print("begun", flush=True); time.sleep(60)'
RESUMABLE = f"with interrupts.resumable(): {SLEEPS}"
DEAF = """for line in ("begun", *["deaf"] * 9):
        try:
            print(line, flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            pass"""
SAVES = """with interrupts.deferred_stop() as stop:
        print("begun", flush=True)
        while not stop.asked: time.sleep(0.01)
        with interrupts.saving(): time.sleep(2)
        print("saved", flush=True)"""
STEPS_FOR_EVER = """with interrupts.deferred_stop():
        print("begun", flush=True)
        time.sleep(60)"""
SAVES_FOR_EVER = SAVES.replace("time.sleep(2)", "time.sleep(60)")


def start(body: str, before: Callable[[], object] | None = None) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN.format(body=body)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    )
    assert process.stdout and process.stdout.readline() == "begun\n"
    return process


def stopped(process: subprocess.Popen[str], *numbers: int) -> tuple[int, str, str]:
    """Send signals to a process; its exit code, and what it still printed on both streams."""
    for number in numbers:
        process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "SIGTERM"),
        (signal.SIGHUP, 129, "SIGHUP"),
    ],
)
def test_one_signal_stops_with_its_own_code_and_one_line(number: int, code: int, word: str) -> None:
    # The test runner may ignore the signal, as under `nohup`, and children inherit that.
    process = start(SLEEPS, lambda: signal.signal(number, signal.SIG_DFL))
    ended, _, err = stopped(process, number)
    assert ended == code
    assert err.startswith(f"zoo: {word}, stopping (") and err.count("\n") == 1


@pytest.mark.parametrize("body", [SLEEPS, RESUMABLE, DEAF])
def test_only_what_resumes_says_that_it_does(body: str) -> None:
    code, _, err = stopped(start(body), signal.SIGINT)
    assert code == 130
    assert (interrupts.RESUME in err) == (body == RESUMABLE), err


@pytest.mark.parametrize(
    ("words", "resumes"),
    [
        (("train", "ae", "--film", "carphone"), True),
        (("train", "mean", "--film", "carphone"), False),
        (("compare", "--models", "ae", "--films", "carphone", "--on", "inline"), True),
        (("compare", "--models", "ae", "--films", "carphone", "--dry-run"), False),
        (("models", "check", "ae"), False),
        (("films", "ingest", "carphone"), False),
        (("films", "ingest", "carphone,bikes"), True),
    ],
)
def test_verbs_that_keep_what_they_did_say_so(
    words: tuple[str, ...],
    resumes: bool,
    zoo: Callable[..., Said],
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[bool] = []

    def work(*_: object, **__: object) -> NoReturn:
        said.append(interrupts._resumable > 0)
        raise KeyboardInterrupt

    # What each does when the user presses Ctrl-C.
    monkeypatch.setattr("zoo.training.trained_models.ensure_trained", work)
    monkeypatch.setattr("zoo.compare.comparison.Comparison.run", work)
    monkeypatch.setattr("zoo.cli.comparison_display.show_estimate", work)
    monkeypatch.setattr("zoo.conformance.suite.examine", work)
    if words[0] == "films":
        monkeypatch.setattr("zoo.cli.progress.open_film", work)
    small = ("--preset", "quick", "--size", "32x32", "--no-codecs")
    options = {"train": small[:-1], "compare": small, "films": small[2:-1]}
    assert zoo(*words, *options.get(words[0], ())).code == 130
    assert said == [resumes] and interrupts._resumable == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ignored_at_start_stays_ignored(number: int) -> None:
    process = start(SLEEPS, lambda: signal.signal(number, signal.SIG_IGN))
    code, _, _ = stopped(process, number, signal.SIGINT)
    assert code == 130


def test_a_process_that_does_not_stop_is_ended() -> None:
    code, out, err = stopped(start(DEAF), signal.SIGINT)
    assert (code, out) == (130, "deaf\n")
    assert "zoo: killed, because it did not stop within" in err


def test_the_time_to_stop_and_its_last_line_take_less_than_three_seconds() -> None:
    assert interrupts.GRACE + interrupts.WORDS < 3


def test_a_training_in_a_step_that_does_not_end_is_ended() -> None:
    code, _, err = stopped(start(STEPS_FOR_EVER), signal.SIGTERM)
    assert code == 143
    first, second = err.splitlines()
    assert "SIGTERM, stopping" in first and "killed, because it did not stop within" in second


@pytest.mark.parametrize("body", [DEAF, SAVES_FOR_EVER])
def test_a_second_signal_ends_at_once(body: str) -> None:
    process = start(body)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)  # as `timeout` does: the same request
    while process.poll() is None:
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
    code, _, err = stopped(process)
    assert code == 130
    assert "zoo: ended at once" in err


def test_saving_is_waited_for() -> None:
    code, out, err = stopped(start(SAVES), signal.SIGTERM)
    assert (code, out) == (143, "saved\n")
    assert "zoo: still saving" in err


def in_terminal(
    folder: Path, words: tuple[str, ...], when: Callable[[int, str], bool] | None
) -> tuple[int, str]:
    """Run `zoo` in a terminal and press Ctrl-C when `when` holds for its process and output."""
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(folder)
        path = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
        where = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        os.execve(sys.executable, [sys.executable, "-m", "zoo", *words], where)
    said, pressed, end = b"", False, time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.02)[0]:
            try:
                more = os.read(terminal, 1 << 16)
            except OSError:  # the last that had it open is gone
                break
            if not more:
                break
            said += more
        if when and not pressed and when(pid, said.decode(errors="replace")):
            os.write(terminal, b"\x03")
            pressed = True
    else:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode(errors="replace"))
    assert pressed or not when, text
    return os.waitstatus_to_exitcode(status), text


def loads_torch(pid: int, said: str) -> bool:
    try:
        return "libtorch" in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


def prints(what: str) -> Callable[[int, str], bool]:
    return lambda pid, said: what in said


def check_interrupted(ended: tuple[int, str]) -> None:
    code, said = ended
    assert code == 130, said
    assert said.count("zoo: interrupted, stopping") == 1, said
    assert "Traceback" not in said and "ignored in" not in said, said


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_ctrl_c_in_a_terminal_ends_a_comparison_at_every_stage(tmp_path: Path) -> None:
    flashing_film(tmp_path / "flash.mp4", [0.4, 1.0], times=TIMES)
    words = ("compare", "--films", "./flash.mp4", "--models", "ae", *SMALL, "--size", "128x64")
    words = (*words, "--budget", "4000frames", "--metrics", "psnr")
    stages = [loads_torch, prints("0/"), prints("training"), prints("measuring")]
    for when in [*stages, prints("writing the report")]:
        check_interrupted(in_terminal(tmp_path, words, when))
        assert not list(tmp_path.rglob(".tmp-*"))
    code, said = in_terminal(tmp_path, words, None)
    assert code == 0 and "report:" in said, said
    check_interrupted(
        in_terminal(tmp_path, (*words, "--overwrite-runs", "--dry-run"), prints("trying"))
    )
    records = (tmp_path / "results" / "results.json").read_text()
    assert '"failed"' not in records


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    ("words", "when"),
    [
        (("bench", "--models", "ae", "--preset", "quick"), prints("1/1")),
        (("train", "ae", "--film", "carphone", "--preset", "quick"), prints("step")),
        (("films", "ingest", "./long.mp4"), prints("ingesting")),
        (("models", "check", "ae"), loads_torch),
    ],
)
def test_ctrl_c_in_a_terminal_ends_a_verb(
    words: tuple[str, ...], when: Callable[[int, str], bool], tmp_path: Path
) -> None:
    flashing_film(tmp_path / "long.mp4", [0.4, 1.0], times=[n / 25 for n in range(1500)])
    check_interrupted(in_terminal(tmp_path, words, when))
