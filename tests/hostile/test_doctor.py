"""`zoo doctor` finds what is wrong, says what to do, and changes nothing."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoo import doctor
from zoo.plugins.entry_points import Plugin
from zoo.plugins.registry import registry


@pytest.fixture(autouse=True)
def nothing_kept(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No weights in any cache, and no network to fetch them from."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ZOO_CACHE", str(cache))
    monkeypatch.setenv("TORCH_HOME", str(cache / "torch"))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    return cache


@pytest.fixture
def look(zoo: Callable, workspace: Path) -> Callable[[], tuple[int, dict[str, Any]]]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not strict JSON")

    def run() -> tuple[int, dict[str, Any]]:
        said = zoo("doctor", "--json")
        assert list(workspace.glob("*.tmp")) == []
        return said.code, json.loads(said.out, parse_constant=refuse)

    return run


def lines(found: dict[str, Any], topic: str, state: str) -> list[str]:
    return [
        f"{line['said']}; {line['step']}"
        for line in found["findings"]
        if (line["topic"], line["state"]) == (topic, state)
    ]


def test_a_whole_machine_has_no_problem_and_every_topic(look: Callable, workspace: Path) -> None:
    code, found = look()
    assert code == 0 and found["problems"] == 0, [
        f for f in found["findings"] if f["state"] == "problem"
    ]
    assert {line["topic"] for line in found["findings"]} == set(doctor.CHECKS)
    assert all(line["step"] for line in found["findings"] if line["state"] != "good")
    assert any("libx264" in line for line in lines(found, "codec", "good"))
    assert any("AlexNet: not here" in line for line in lines(found, "weights", "warning"))
    assert list(workspace.iterdir()) == []


def test_it_is_read_line_by_line(zoo: Callable) -> None:
    said = zoo("doctor")
    assert said.code == 0
    body = said.out.splitlines()
    assert all(line.split()[0] in ("good", "warning", "problem") for line in body[:-1])
    assert body[-1].startswith("0 problems, ")
    assert any(line.startswith("warning") and "; next: " in line for line in body)


def test_wrong_weights_are_a_problem_and_stay(look: Callable, nothing_kept: Path) -> None:
    wrong = nothing_kept / "alexnet-features.safetensors"
    wrong.write_bytes(b"nonsense")
    code, found = look()
    [line] = lines(found, "weights", "problem")
    assert code == 1 and str(wrong) in line and "delete that file" in line
    assert wrong.read_bytes() == b"nonsense", "looking removes nothing"


def test_a_missing_and_a_broken_encoder(look: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ENCODERS", {"libnone": "it is missed", "prores_aw": "it is tried"})
    code, found = look()
    assert code == 1, "ProRes takes no yuv420p"
    assert any("no encoder libnone" in line for line in lines(found, "codec", "warning"))
    assert any("prores_aw fails" in line for line in lines(found, "codec", "problem"))


def test_a_broken_plugin(look: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Plugin("tiny", "zoo-tiny", "1.0", errors=["ImportError: no module named x"])
    monkeypatch.setattr(registry(), "plugins", [*registry().plugins, broken])
    code, found = look()
    [line] = lines(found, "plugin", "problem")
    assert code == 1 and "tiny, from zoo-tiny 1.0: ImportError" in line and "ZOO_PLUGINS" in line


def test_a_damaged_catalogue_and_a_lost_film(look: Callable, workspace: Path) -> None:
    (workspace / "films.toml").write_text('[a]\nfiles = "gone.mp4"\n')
    code, found = look()
    assert code == 0 and "gone.mp4 is not there" in lines(found, "workspace", "warning")[0]
    (workspace / "films.toml").write_text("[a\n")
    code, found = look()
    assert code == 1 and "films.toml" in lines(found, "workspace", "problem")[0]


def test_a_full_disk_and_a_folder_that_is_not_written_to(
    look: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 5e8})()
    monkeypatch.setattr("zoo.doctor.shutil.disk_usage", lambda path: usage)

    def refuse(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    code, found = look()
    assert code == 1
    assert "0.5 GB free" in lines(found, "disk", "problem")[0]
    assert "Read-only" in lines(found, "workspace", "problem")[0]


def test_a_check_that_fails_costs_no_other(look: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(workspace: object) -> None:
        raise RuntimeError("not\nthis")

    monkeypatch.setitem(doctor.CHECKS, "device", fail)
    code, found = look()
    assert code == 1
    assert lines(found, "device", "problem") == [
        "could not be looked at: RuntimeError: not this; repair that first"
    ]
    assert lines(found, "disk", "good") or lines(found, "disk", "warning")
