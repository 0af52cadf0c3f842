"""The published wheel has every file it needs and works without the checkout."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "0.1.0"
LARGEST = 1_000_000
NEEDED = (
    "zoo/py.typed",
    "zoo/__main__.py",
    "zoo_plugins/architectures/ae.py",
    "zoo/report/viewer/static/app.js",
    "zoo/training/bundled/README.md",
    "zoo/report/viewer/static/page.html.j2",
    "zoo/scaffold/kinds.toml",
)
FOLDERS = (
    "zoo/report/templates/",
    "zoo/report/viewer/static/",
    "zoo/scaffold/templates/",
    "zoo/training/bundled/bigbuckbunny-vae/",
)

pytestmark = pytest.mark.slow


NO_NETWORK = ("No matching distribution found", "Could not find a version", "ConnectionError")
"""What pip says where the tools that build a wheel cannot be fetched."""


def build(*words: object, cwd: Path) -> None:
    """Build with the tools that pip fetches; without a network, with those that are installed.

    Skips the test if there are none.
    """
    command = [sys.executable, "-P", "-m", "build", *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)
    said = done.stdout + done.stderr
    if done.returncode and any(reason in said for reason in NO_NETWORK):
        here = importlib.metadata.version("setuptools") if find_spec("setuptools") else "0"
        if int(here.partition(".")[0]) < 77:
            pytest.skip(f"setuptools 77 cannot be fetched, and {here} is installed")
        output_of(*command, "--no-isolation", cwd=cwd)
    else:
        assert done.returncode == 0, said[-5000:]


def output_of(*words: object, cwd: Path, **environment: str) -> str:
    """The output of a command; raises with it if the command fails."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the checkout that git tracks or would add, without build outputs."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True)
    if listed.returncode:
        pytest.skip("this is not a git checkout")
    folder = tmp_path_factory.mktemp("sources")
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    return folder


@pytest.fixture(scope="module")
def built(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The source archive, the wheel made from it, and the wheel made from the checkout."""
    pytest.importorskip("build", reason="the extra `dev` brings it")
    through, direct = tmp_path_factory.mktemp("through"), tmp_path_factory.mktemp("direct")
    build("--outdir", through, sources, cwd=through)
    build("--wheel", "--outdir", direct, sources, cwd=direct)
    (archive,), (wheel,), (other,) = (
        list(folder.glob(kind))
        for folder, kind in ((through, "*.tar.gz"), (through, "*.whl"), (direct, "*.whl"))
    )
    return {"archive": archive, "wheel": wheel, "direct": other}


@pytest.fixture(scope="module")
def installed(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with only the wheel installed."""
    folder = tmp_path_factory.mktemp("installed")
    words = ("-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, built["wheel"])
    output_of(sys.executable, *words, cwd=folder)
    return folder


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as file:
        return sorted(file.namelist())


def test_the_wheel_from_the_archive_equals_that_from_the_checkout(built: dict[str, Path]) -> None:
    assert names(built["wheel"]) == names(built["direct"])


def test_the_wheel_has_every_needed_file_and_no_large_one(built: dict[str, Path]) -> None:
    held = names(built["wheel"])
    assert [name for name in NEEDED if name not in held] == []
    assert [name for name in held if name.endswith(".dist-info/licenses/LICENSE")]
    for folder in FOLDERS:
        here = {path.name for path in (ROOT / folder).iterdir() if path.is_file()}
        assert {name.removeprefix(folder) for name in held if name.startswith(folder)} == here
    assert not [name for name in held if name.startswith(("tests/", "benchmarks/", "examples/"))]
    with zipfile.ZipFile(built["wheel"]) as file:
        assert [i.filename for i in file.infolist() if i.file_size > LARGEST] == []
    with tarfile.open(built["archive"]) as file:
        assert [one.name for one in file if one.name.endswith("/LICENSE")]


def test_the_installed_wheel_works_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    def zoo(*words: str) -> str:
        return output_of(
            sys.executable, "-P", "-m", "zoo", *words, cwd=tmp_path, PYTHONPATH=str(installed)
        )

    where = "import zoo, zoo_plugins.architectures.ae as ae; print(zoo.__file__, ae.__file__)"
    found = output_of(sys.executable, "-P", "-c", where, cwd=tmp_path, PYTHONPATH=str(installed))
    assert all(str(installed) in path for path in found.split())
    assert "compare" in zoo("--help")
    assert "vaegan" in zoo("models")
    zoo(
        *("train", "ae", "--film", "carphone", "--preset", "quick", "--size", "64x36"),
        *("--latent", "4", "--set", "width=8", "--budget", "200frames", "--device", "cpu"),
    )
    assert "finished" in zoo("runs")
    zoo("reconstruct", "ae", "--film", "carphone", "-o", "again.mp4")
    zoo("models", "new", "mine")
    shutil.copytree(GOLDEN / "results", tmp_path / "results")
    zoo("report")
    assert (tmp_path / "results" / "report.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "again.mp4").stat().st_size


@pytest.fixture(scope="module")
def environment(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an empty environment into which the wheel alone was installed.

    What film-zoo requires is not installed again, which would be gigabytes: it is found where the
    tests run. `tests/cli/test_extras.py` checks that all of it is declared.
    """
    folder = tmp_path_factory.mktemp("environment")
    output_of(sys.executable, "-m", "venv", folder, cwd=folder, PYTHONPATH="")
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    words = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", built["wheel"])
    output_of(programs / "python", *words, cwd=folder, PYTHONPATH="")
    (place,) = folder.glob("**/site-packages")
    (place / "required.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return programs


def test_the_wheel_passes_a_small_demo_in_an_empty_environment(
    environment: Path, tmp_path: Path
) -> None:
    def zoo(*words: str) -> str:
        path = os.pathsep.join([str(environment), os.defpath])
        return output_of(environment / "zoo", *words, cwd=tmp_path, PATH=path, PYTHONPATH="")

    where = "import zoo, zoo_plugins; print(zoo.__file__, *zoo_plugins.__path__)"
    found = output_of(environment / "python", "-c", where, cwd=tmp_path, PYTHONPATH="")
    assert all(str(environment.parent) in path for path in found.split())
    assert "carphone" in zoo("films")
    zoo(
        *("compare", "--films", "carphone", "--models", "ae,mean", "--preset", "quick"),
        *("--size", "64x36", "--latent", "4", "--budget", "64frames", "--device", "cpu"),
        *("--metrics", "psnr", "--videos", "0", "--set", "width=8"),
    )
    assert "ae" in (tmp_path / "results" / "report.md").read_text()
    assert (tmp_path / "results" / "report.html").is_file()
    assert "finished" in zoo("runs")
    # A run that comes with the wheel gives a picture at once, by every way that README.md names.
    assert "bigbuckbunny-vae" in zoo("models")
    zoo("walk", "bigbuckbunny-vae", "--seconds", "0.2")
    zoo("sample", "bigbuckbunny-vae", "--count", "2")
    assert {"bigbuckbunny-vae-walk.mp4", "bigbuckbunny-vae-sample.mp4"} <= {
        path.name for path in tmp_path.iterdir() if path.stat().st_size
    }
    line = "from zoo import load; m = load('bigbuckbunny-vae'); print(m.decode(m.sample(1)).shape)"
    said = output_of(environment / "python", "-c", line, cwd=tmp_path, PYTHONPATH="")
    assert said.strip() == "(1, 54, 96, 3)"
    # pip has noted the wheel, so a hint names it.
    line = "import zoo.base.extras as e; print(e.install_command('ray'))"
    said = output_of(environment / "python", "-c", line, cwd=tmp_path, PYTHONPATH="")
    assert re.fullmatch(
        r"`pip install \"\./film_zoo-.*\.whl\[ray\]\"` in the folder .*", said.strip()
    )


def test_the_container_has_every_file_that_the_wheel_is_built_from(
    sources: Path, built: dict[str, Path], tmp_path: Path
) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", dockerfile, re.MULTILINE)
    names_of = [name for words in copied for name in words.split()]
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    assert set(names_of) == kept
    for name in names_of:
        source, target = sources / name, tmp_path / "source" / name
        target.parent.mkdir(exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)
    build("--wheel", "--outdir", tmp_path / "wheels", tmp_path / "source", cwd=tmp_path)
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    assert names(wheel) == names(built["direct"])
    (extras,) = re.findall(r"^ARG EXTRAS=(.+)$", dockerfile, re.MULTILINE)
    declared = importlib.metadata.metadata("film-zoo").get_all("Provides-Extra") or ()
    assert set(extras.split(",")) <= set(declared)
