"""Hints of commands for film files and published runs: provoked, cut out, and run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.hints.conftest import FILM, Shell
from tests.reconstruct.hub_server import Repository, as_the_hub
from zoo.training.runs import BUNDLED

hint = pytest.mark.hint


@hint(
    "zoo/reconstruct/film_file.py",
    "is not a film file: `zoo encode`",
    "is not a film file: `zoo encode` writes one, and `zoo films info`",
    "is not a film file, or not a complete one: `zoo encode`",
    "is not a film file, or not a complete one: `zoo encode` writes one, and `zoo films info`",
)
def test_a_video_is_no_film_file(shell: Shell, place: Path) -> None:
    sealed = b'{"format": "another"}'
    (place / "long.zoo").write_bytes(len(sealed).to_bytes(8, "little") + sealed)
    for wrong, opens in (
        ("long.zoo", "is not a film file: `zoo encode`"),
        (FILM, "is not a film file, or not a complete one: `zoo encode`"),
    ):
        shell.printed = ""
        shell("decode", wrong, code=2)
        shell.follow(opens, "ae", "--film", "first", "-o", "a.zoo", "--overwrite")
        shell("info", "a.zoo")
        shell.follow(f"{opens} writes one, and `zoo films info`", FILM, which=1)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    folder = BUNDLED / "bigbuckbunny-vae"
    repository = Repository(files={each.name: each.read_bytes() for each in folder.iterdir()})
    with as_the_hub(repository, monkeypatch, tmp_path_factory.mktemp("cache")):
        yield repository


@hint("zoo/cli/export.py", "`zoo reconstruct {} --film FILM` uses it")
def test_a_pulled_run(hub: Repository, shell: Shell, place: Path) -> None:
    shell("pull", "me/flash")
    shell.follow("`zoo reconstruct {} --film FILM` uses it", "-o", "a.mp4", FILM="first")


@hint("zoo/reconstruct/hub.py", "is not a run that `zoo push` published")
def test_a_repository_without_a_run(hub: Repository, shell: Shell, place: Path) -> None:
    whole = hub.files.copy()
    del hub.files["scale.safetensors"]
    shell("pull", "me/flash", code=2)
    words = ("ae", "--film", "first", "--repo", "me/flash", "--dry-run")
    shell.follow("is not a run that `zoo push` published", *words)
    hub.files.update(whole)
    shell("pull", "me/flash")


@hint("zoo/reconstruct/hub.py", "that you can access: {}; `hf auth login` logs in")
@hint("zoo/reconstruct/hub.py", "cannot be pushed: {}; `hf auth login` logs in")
@hint("zoo/reconstruct/hub.py", "needs a login at the hub: `hf auth login`")
def test_the_hub_wants_to_know_who_asks(
    hub: Repository, shell: Shell, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    hf = Path(sys.executable).parent / "hf"
    shell("pull", "me/another", code=2)
    commands = [shell.command("that you can access: {}; `hf auth login` logs in")]

    def refused(*given: object, **named: object) -> None:
        raise OSError("401 Client Error: Unauthorized")

    monkeypatch.setattr(huggingface_hub.HfApi.func, "create_repo", refused)
    push = ("push", "ae", "--film", "first", "--repo", "me/mine")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    shell(*push, code=2)
    commands.append(shell.command("needs a login at the hub: `hf auth login`"))
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_nothing")
    shell(*push, code=1)
    commands.append(shell.command("cannot be pushed: {}; `hf auth login` logs in"))
    for program, *words in commands:
        assert program == "hf"
        said = subprocess.run([hf, *words, "--help"], capture_output=True, text=True, timeout=60)
        assert said.returncode == 0 and "token" in said.stdout
