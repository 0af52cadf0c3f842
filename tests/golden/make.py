"""Make the golden files: `python -m tests.golden.make DIR` writes what this release writes.

A film of a second, its store, one run with its evaluation, the film as its numbers, results, and
what the run drew. They are made once a release and kept; tests only read them.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np

from tests.reconstruct.flashing_film import flashing_film
from zoo.base.locks import is_lock

CHANGED = 1_700_000_000
"""When the film's file was last changed, in seconds since 1970: a store is known by it."""
FILM, MODEL = "flash", "ae"
TINY = (
    *("--preset", "quick", "--size", "32x32", "--latent", "4", "--device", "cpu"),
    *("--set", "width=4", "--budget", "64frames"),
)
COMMANDS = (
    ("films", "add", "--name", FILM, "flash.mp4", "--crop", "none", "--licence", "CC0"),
    ("train", MODEL, "--film", FILM, *TINY),
    (
        "compare",
        "--films",
        FILM,
        "--models",
        MODEL,
        *TINY,
        "--metrics",
        "psnr",
        "--videos",
        "0",
        "--on",
        "inline",
    ),
    ("encode", MODEL, "--film", FILM, "-o", "flash.zoo", "--sound"),
)
EXPECTED = "expected.npz"
DRAWINGS = ("curves.png", "preview.png", "progress.html")
KEPT = ("films.toml", "flash.mp4", "flash.zoo", EXPECTED, "results/results.json")


def settle(root: Path) -> None:
    """Give the film's file the time of its last change, which no copy and no checkout keeps."""
    os.utime(root / "flash.mp4", (CHANGED, CHANGED))


def make(root: Path) -> None:
    """Write the golden files into an empty folder."""
    from zoo import load
    from zoo.cli import main

    root.mkdir(parents=True)
    os.chdir(root)
    flashing_film(Path("flash.mp4"), [0.2], times=[n / 25 for n in range(20)], size=(32, 32))
    settle(Path())
    for words in COMMANDS:
        sys.argv = ["zoo", *words]
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise
    model = load(MODEL, film=FILM, workspace=Path(), device="cpu")
    frames = np.arange(0, len(model.film), 4)
    store = model.film.store.array[frames]
    drawn = model.decode(model.encode(store))
    np.savez_compressed(EXPECTED, allow_pickle=False, frames=frames, store=store, drawn=drawn)
    _prune(Path())


def _prune(root: Path) -> None:
    """Keep one run, one store, the film, the numbers and the records."""
    for path in sorted(root.rglob("*"), reverse=True):
        name = path.relative_to(root).as_posix()
        kept = name in KEPT or name.startswith((f"runs/{FILM}/{MODEL}/", f".zoo/films/{FILM}/"))
        if path.is_file() and (not kept or is_lock(path) or path.name in DRAWINGS):
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    record = json.loads((root / "results/results.json").read_text())
    record["records"] = [row for row in record["records"] if row["model"] in (MODEL, "pca")]
    for row in record["records"]:
        row["pictures"] = []
    for film in record["films"]:
        film["barcode"] = film["series"] = None
    (root / "results/results.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("python -m tests.golden.make DIR")
    target = Path(sys.argv[1]).absolute()
    if target.exists():
        sys.exit(f"{target} is there already")
    try:
        make(target)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
