"""Small workspaces prepared for every verb, made once per test process."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.reconstruct.flashing_film import flashing_film
from tests.reliability.warm_process import Ended, WarmProcess

TIMES = [n / 25 for n in range(40)]
SMALL = ("--preset", "quick", "--latent", "4", "--device", "cpu", "--set", "width=8")
TINY = (*SMALL, "--size", "64x48")
# x264 gives other bytes every time where a picture's width is not a multiple of 128.
EXACT = (*SMALL, "--size", "128x64")
VERBS: dict[str, tuple[str, ...]] = {
    "ingest": ("films", "ingest", "flash", "--size", "64x48"),
    "train": ("train", "vaegan", "--film", "flash", *TINY, "--budget", "160frames"),
    "compare": (
        *("compare", "--films", "flash", "--models", "ae", *EXACT),
        *("--budget", "80frames", "--metrics", "psnr", "--on", "inline"),
    ),
    "reconstruct": ("reconstruct", "ae", "--film", "flash", "-o", "f.mp4", "--overwrite"),
    "encode": (
        *("encode", "ae", "--film", "flash", "-o", "f.zoo", "--overwrite"),
        *("--with-decoder", "--sound"),
    ),
    "report": ("report",),
}
"""The command under test, by verb."""
BEFORE: dict[str, tuple[tuple[str, ...], ...]] = {
    "ingest": (),
    "train": (VERBS["ingest"],),
    "compare": (),
    "reconstruct": (("train", "ae", "--film", "flash", *EXACT, "--budget", "80frames"),),
    "encode": (("train", "ae", "--film", "flash", *TINY, "--budget", "80frames"),),
    "report": (VERBS["compare"],),
}
"""The commands that are run before it."""
QUICK_SETTINGS = {
    "zoo.training.run_writer.SECONDS_BETWEEN_CHECKPOINTS": 0.15,
    "zoo.training.run_writer.SECONDS_BETWEEN_PREVIEWS": 0.4,
    "zoo.training.run_writer.LARGEST_SHARE": 1.0,
    "zoo.evaluation.profiling.BLOCK_SECONDS": 0.001,
    "zoo.evaluation.profiling.MOST_REPEATS": 5,
}
"""Settings that give a training of a second checkpoints and previews, and measure costs quickly."""


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmProcess]:
    one = WarmProcess(tmp_path_factory.mktemp("outputs"))
    yield one
    one.close()


@pytest.fixture(scope="session")
def prepared(warm: WarmProcess, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The prepared workspace for a verb; copy it, do not change it."""
    made: dict[object, Path] = {}

    def before(verb: str) -> Path:
        commands = BEFORE[verb]
        if commands not in made:
            root = tmp_path_factory.mktemp(f"before-{verb}")
            flashing_film(root / "flash.mp4", [0.4, 1.0], times=TIMES)
            adding = ("films", "add", "--name", "flash", "flash.mp4", "--crop", "none")
            for words in (adding, *commands):
                succeeded(warm.run(root, *words, settings=QUICK_SETTINGS))
            made[commands] = root
        return made[commands]

    return before


@pytest.fixture
def workshop(prepared: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """A copy of the prepared workspace for a verb, under a name."""

    def copied(verb: str, name: str = "workspace") -> Path:
        return Path(shutil.copytree(prepared(verb), tmp_path / name))

    return copied


def succeeded(ended: Ended) -> Ended:
    """Raise with the command's output unless it succeeded."""
    assert ended.code == 0, f"{ended.code}: {ended.err[-3000:]}{ended.out[-1000:]}"
    return ended


def one_line(ended: Ended, code: int = 1) -> str:
    """The one error line of a failed command; raises on several lines or a traceback."""
    assert ended.code == code, f"{ended.code}: {ended.err[-3000:]}{ended.out[-1000:]}"
    assert "Traceback" not in ended.err + ended.out, ended.err
    lines = [line for line in ended.err.splitlines() if line.startswith("zoo: ")]
    assert len(lines) == 1, ended.err
    return lines[0]
