"""`python -m benchmarks.gpu`: everything that a GPU shows of the zoo, in a few minutes.

    python -m benchmarks.gpu --films FOLDER --minutes 9 --out results/gpu/my-gpu

Ends with exit code 2 and one line where there is no GPU. With `--device cpu --tiny` it goes
through the same code at a tiny size, to try the script itself.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from benchmarks.gpu.stages import STAGES, Setup
from benchmarks.gpu.supervisor import Supervisor, scratch
from zoo.base.errors import BadInput, ZooError

VIDEOS = {
    *(".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".m2ts", ".ogv"),
    *(".wmv", ".flv", ".mxf", ".vob", ".3gp"),
}


def main() -> None:
    """Read the arguments and run."""
    began = time.time()
    asked = _parser().parse_args()
    signal.signal(signal.SIGTERM, _stop)
    try:
        _run(asked, began)
    except ZooError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _run(asked: argparse.Namespace, began: float) -> None:
    if not 0 < asked.minutes <= 24 * 60:
        raise BadInput(f"--minutes is above 0 and at most a day; not {asked.minutes:g}")
    stages = _words(asked.stages, list(STAGES), "stage") or list(STAGES)
    films = _films(asked.films) if asked.films else []
    device, name = _device(asked.device, asked.tiny)
    models = _models(asked.models or ("ae,vaegan" if asked.tiny else ""))
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    out = asked.out or Path("demo/gpu" if asked.tiny else "results/gpu") / slug
    out.mkdir(parents=True, exist_ok=True)
    with scratch() as work:
        setup = Setup(
            device=device,
            tiny=asked.tiny,
            films=films,
            licence=asked.licence,
            models=models,
            out=out.resolve(),
            work=Path(work),
        )
        _say(f"{name}: {asked.minutes:g} minutes at most, results in {out}")
        summary = Supervisor(setup, asked.minutes, _say, began=began).run(stages)
    _say(f"{summary.seconds:.0f} s; {out / 'summary.md'}")


def _device(word: str, tiny: bool) -> tuple[str, str]:
    """Return the device and its name; raises BadInput if it is not available."""
    from zoo.base import devices

    try:
        device = devices.choose_device(word)
    except BadInput as error:
        raise BadInput(f"{error}; --device cpu --tiny tries the script without one") from None
    if device.type == "cpu" and not tiny:
        raise BadInput("on a CPU only a trial of the script is of use: add --tiny")
    return str(device), devices.describe(device, "32-true").device_name


def _models(text: str) -> list[str]:
    """Parse model names separated by commas; raises BadInput on an unknown one."""
    from zoo.plugins.registry import registry

    return _words(text, list(registry().models), "model")


def _words(text: str, known: list[str], what: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in known:
            raise BadInput(f"no {what} is called {word!r}; there are: {', '.join(known)}")
    return [word for word in known if word in words]


def _films(folder: Path) -> list[Path]:
    """Return the films of a folder that can be opened; raises BadInput if there are none."""
    from zoo.films.video_file import VideoFile

    if not folder.is_dir():
        raise BadInput(f"--films takes a folder of films; {folder} is none")
    found = []
    for path in sorted(p.resolve() for p in folder.iterdir() if p.suffix.lower() in VIDEOS):
        try:
            with VideoFile.open(path, threads=1):
                found.append(path)
        except BadInput as error:
            _say(f"left out: {error}")
    if not found:
        raise BadInput(f"there is no film in {folder} that can be opened")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--films", type=Path, help="a folder; the embedded clips if left out")
    parser.add_argument("--licence", help="of the films; without it no picture may be published")
    parser.add_argument("--minutes", type=float, default=9.0, help="at most, in all")
    parser.add_argument("--out", type=Path, help="results/gpu/<device> if left out")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu with --tiny")
    parser.add_argument("--tiny", action="store_true", help="try the script; no number means much")
    parser.add_argument("--stages", default="", help=f"of {','.join(STAGES)}; all if left out")
    parser.add_argument(
        "--models", default="", help="names between commas; all if left out, with --tiny two"
    )
    return parser


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
