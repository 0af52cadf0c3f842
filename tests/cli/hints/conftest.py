"""A shell in which hints are provoked, and followed as they are printed."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.cli.hints.printed import COMMAND, FILLED
from tests.conftest import Said
from tests.films.making import drifting, encode
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.films.catalogue import Catalogue
from zoo.films.ingest import open_film
from zoo.plugins.registry import registry
from zoo.training.settings import Settings
from zoo.training.trained_models import ensure_trained

FILM = "my films/the first.mp4"
SMALL = ("--preset", "quick", "--size", "32x32", "--latent", "4", "--set", "width=8")
CPU = ("--device", "cpu")


class Shell:
    """Runs `zoo`, and the commands of hints that it has printed."""

    def __init__(self, zoo: Callable[..., Said]) -> None:
        self._zoo = zoo
        self.printed = ""
        """All that was printed."""
        self.followed: set[str] = set()
        """Hints of which the command was run."""

    def __call__(self, *words: object, code: int | None = 0) -> Said:
        """Run `zoo`, which ends with this exit code; None takes any."""
        said = self._zoo(*words)
        self.printed = " ".join(f"{self.printed} {said.out} {said.err}".split())
        assert code is None or said.code == code, said.out + said.err
        return said

    def command(self, hint: str, which: int = 0, **fill: str) -> list[str]:
        """The words of a command in a hint that was printed, with names filled in.

        `which` counts the commands of the hint from 0. `{}` in a hint stands for anything. What is
        filled in is one word or several.
        """
        pattern = ".*?".join(map(re.escape, hint.split(FILLED)))
        found = re.search(pattern, self.printed)
        assert found, f"{hint!r} was not printed in {self.printed!r}"
        self.followed.add(hint)
        command = COMMAND.findall(found[0])[which]
        words = shlex.split(command)
        filled = [fill.pop(word) if word in fill else shlex.quote(word) for word in words]
        assert not fill, f"{fill} is not asked for in {command!r}"
        return shlex.split(" ".join(filled))

    def follow(
        self, hint: str, *more: str, code: int | None = 0, which: int = 0, **fill: str
    ) -> Said:
        """Run the `zoo` command of a hint, with further options, which ends with this exit code."""
        zoo, *words = self.command(hint, which, **fill)
        assert zoo == "zoo"
        return self(*words, *more, code=code)


@pytest.fixture
def shell(request: pytest.FixtureRequest, zoo: Callable[..., Said]) -> Iterator[Shell]:
    """A shell; the hints that the test's mark names have to be printed and followed in it."""
    shell = Shell(zoo)
    yield shell
    for mark in request.node.iter_markers("hint"):
        assert set(mark.args[1:]) <= shell.followed


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a film, under a path with a blank, and an `ae` trained on it."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "my films").mkdir()
    film = encode(folder / FILM, drifting(32, 32, 24, seed=3))
    shutil.copy(film, folder / "my films/other.mp4")
    workspace = Workspace(folder)
    catalogue = Catalogue.open(workspace)
    catalogue.add("first", [film], crop="none")
    catalogue.hide(list(catalogue.from_plugins))
    settings = Settings.choose(
        "quick", size="32x32", latent=4, budget="4steps", device="cpu", options={"width": 8}
    )
    opened = open_film(catalogue.film("first"), FrameSize(32, 32), workspace)
    config = settings.config(registry().architecture("ae"), opened)
    ensure_trained(workspace, config, opened, torch.device("cpu"))
    return folder


@pytest.fixture
def place(made: Path, workspace: Path) -> Path:
    """The current folder, with a film and a trained model in it."""
    shutil.copytree(made, workspace, dirs_exist_ok=True)
    return workspace
