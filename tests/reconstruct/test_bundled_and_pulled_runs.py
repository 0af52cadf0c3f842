"""Runs that nobody has to train: the one that comes with film-zoo, and those of the hub."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import zoo as package
from tests.reconstruct.hub_server import Repository, as_the_hub
from zoo.base.errors import BadInput, ZooError
from zoo.base.workspace import Workspace
from zoo.training.runs import BUNDLED, bundled_runs, choose_run, find_runs

NAME = "bigbuckbunny-vae"
PARTS = ("run.json", "weights.safetensors", "scale.safetensors")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_bundled_run_is_small_and_gives_pictures_without_a_warning(workspace: Path) -> None:
    before = contents(BUNDLED)
    assert sum(map(len, before.values())) < 1_000_000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = package.load(NAME, device="cpu")
        frames = np.array(loaded.film.store.array[::10])
        made = loaded.reconstruct(frames)
    error = ((made.astype(float) - frames) / 255) ** 2
    psnr = float(np.mean(-10 * np.log10(error.mean(axis=(1, 2, 3)))))
    assert psnr > 30, psnr
    assert loaded.decode(loaded.sample(2)).shape == (2, 54, 96, 3)
    assert contents(BUNDLED) == before and not (workspace / "runs").exists()


def test_commands_take_the_bundled_run_by_its_name(zoo: Callable, workspace: Path) -> None:
    before = contents(BUNDLED)
    assert f"with film-zoo comes {NAME} (vae trained on bigbuckbunny)" in zoo("runs").out
    assert [each["name"] for each in json.loads(zoo("runs", "--json").out)["bundled"]] == [NAME]
    assert NAME in zoo("models").out
    wrong = zoo("walk", NAME[:-1])
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    assert "no model is called" in wrong.err and "No run is called that either" in wrong.err
    assert f"{NAME}\n" in zoo("runs", "show", NAME).out
    refused = zoo("runs", "remove", NAME, "--yes")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "comes with film-zoo" in refused.err
    for words, made in (
        (("sample", NAME, "--count", 2), ["bigbuckbunny-vae-sample.mp4"]),
        (("walk", NAME, "--seconds", 0.2), ["bigbuckbunny-vae-walk.mp4"]),
        (("encode", NAME), ["bigbuckbunny-vae.zoo"]),
        (("decode", "bigbuckbunny-vae.zoo", "-o", "decoded.mp4"), ["decoded.mp4"]),
        (("reconstruct", NAME, "--to", "0.2"), ["bigbuckbunny-vae-to-00.00.00.200.mp4"]),
    ):
        done = zoo(*words, "--device", "cpu")
        assert done.code == 0, done.err
        assert all(Path(name).stat().st_size for name in made)
    assert contents(BUNDLED) == before and not (workspace / "runs").exists()


def test_a_run_of_the_user_s_with_that_name_comes_first(workspace: Path) -> None:
    def chosen() -> Path:
        here = Workspace(workspace)
        return choose_run(find_runs(here), NAME, here).folder.path

    assert chosen() == BUNDLED / NAME
    (bundled,) = bundled_runs()
    assert bundled.description is not None
    config = bundled.description.config.model_copy(update={"film": NAME})
    mine = workspace / "runs" / NAME / "vae" / config.id
    shutil.copytree(BUNDLED / NAME, mine)
    described = bundled.description.model_copy(update={"config": config})
    (mine / "run.json").write_text(described.model_dump_json())
    assert chosen() == mine


def test_scores_of_the_bundled_run_are_kept_in_a_copy(zoo: Callable, workspace: Path) -> None:
    before = contents(BUNDLED)
    # Its latents have a scale already, so its own film need not be encoded first.
    words = ("evaluate", NAME, "--film", "carphone", "--metrics", "psnr", "--device", "cpu")
    done = zoo(*words, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["scores"]["psnr"].keys() == {"other"}
    (copy,) = find_runs(Workspace(workspace))
    assert copy.status == "finished"
    assert [path.name for path in (copy.folder.path / "evaluation").iterdir()] == ["carphone"]
    assert json.loads(zoo(*words, "--json").out)["found"]
    assert contents(BUNDLED) == before


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    repository = Repository(files=contents(BUNDLED / NAME))
    repository.files |= {"README.md": b"# me/flash\n", ".gitattributes": b"", "notes/a.txt": b"a"}
    with as_the_hub(repository, monkeypatch, tmp_path_factory.mktemp("cache")):
        yield repository


def test_a_pulled_run_is_used_like_any_other(
    zoo: Callable, hub: Repository, workspace: Path
) -> None:
    done = zoo("pull", "me/flash")
    assert done.code == 0, done.err
    (run,) = find_runs(Workspace(workspace))
    assert f"run: {run.name}\n" in done.out
    assert contents(run.folder.path) == {
        name: hub.files[name] for name in (*PARTS, "README.md")
    } | {".lock": b""}
    for name in PARTS:
        assert f"sha256 {hashlib.sha256(hub.files[name]).hexdigest()} {name}\n" in done.out
    assert not {"notes/a.txt", ".gitattributes"} & set(hub.asked)
    assert zoo("pull", "hf://me/flash").code == 0, "what is here already stays"
    there, here = package.load(NAME, device="cpu"), package.load(run.digest, device="cpu")
    frames = np.array(there.film.store.array[:8])
    assert np.array_equal(there.reconstruct(frames), here.reconstruct(frames))
    more = ("--set", "width=8", "--latent", 12, "--budget", "1steps", "--device", "cpu")
    trained = zoo(
        "train", "vae", "--film", "carphone", "--preset", "quick", *more, "--init-from", run.digest
    )
    assert trained.code == 0, trained.err


def test_other_weights_replace_those_here_only_if_told(
    zoo: Callable, hub: Repository, workspace: Path
) -> None:
    assert zoo("pull", "me/flash").code == 0
    (run,) = find_runs(Workspace(workspace))
    before = contents(run.folder.path)
    weights = bytearray(hub.files["weights.safetensors"])
    weights[-1] ^= 1
    hub.files["weights.safetensors"], hub.commit = bytes(weights), "ab12" * 10
    refused = zoo("pull", "me/flash")
    assert refused.code == 2 and "--overwrite replaces it" in refused.err
    assert contents(run.folder.path) == before
    assert zoo("pull", "me/flash", "--overwrite").code == 0
    assert run.folder.weights.read_bytes() == bytes(weights)


def test_a_model_is_loaded_from_the_hub_for_any_film(hub: Repository, workspace: Path) -> None:
    lines: list[str] = []
    loaded = package.load("hf://me/flash", device="cpu", on_message=lines.append)
    bundled = package.load(NAME, device="cpu")
    latents = bundled.sample(3)
    assert np.array_equal(loaded.decode(latents), bundled.decode(latents))
    assert sum(line.startswith("sha256 ") for line in lines) == len(PARTS) + 1
    with pytest.raises(BadInput, match="without a film"):
        loaded.latents()
    with pytest.raises(BadInput, match="no film is called"):
        package.load("hf://me/flash", film="nothing")
    assert not (workspace / "runs").exists()


def without(name: str) -> Callable[[Repository], object]:
    return lambda hub: hub.files.pop(name)


def described(change: Callable[[dict], object]) -> Callable[[Repository], None]:
    def apply(hub: Repository) -> None:
        run = json.loads(hub.files["run.json"])
        change(run)
        hub.files["run.json"] = json.dumps(run).encode()

    return apply


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda hub: hub.files.update({"model/old.PKL": b"c"}), "may run code"),
        (lambda hub: hub.files.update({"pytorch_model.bin": b"c"}), "may run code"),
        (lambda hub: hub.files.update({"../runs/a": b"c"}), "outside of its own folder"),
        (lambda hub: hub.files.update({"/etc/a": b"c"}), "outside of its own folder"),
        *((without(name), f"{name} is missing") for name in PARTS),
        (lambda hub: hub.stated.update({"run.json": 1 << 30}), "at most"),
        (lambda hub: hub.stated.update({"weights.safetensors": 1 << 40}), "at most"),
        (described(lambda run: run.update(schema_version=9)), "reads schema 3"),
        (described(lambda run: run.update(state="training")), "not finished"),
        (described(lambda run: run["config"].update(model="unheard")), "no model is called"),
        (described(lambda run: run["config"].update(film="../../a")), "config.film"),
        (described(lambda run: run["config"]["options"].update(width=4096)), "does not fit"),
        (lambda hub: hub.files.update({"run.json": b"{"}), "run.json"),
        (lambda hub: hub.files.update({"weights.safetensors": b"PK"}), "damaged"),
        (lambda hub: hub.files.update({"scale.safetensors": b"\0" * 99}), "no scale"),
        (lambda hub: setattr(hub, "name", "me/other"), "no me/flash that you can access"),
    ],
)
def test_what_is_no_published_run_leaves_nothing(
    spoil: Callable[[Repository], object],
    said: str,
    zoo: Callable,
    hub: Repository,
    workspace: Path,
) -> None:
    spoil(hub)
    done = zoo("pull", "me/flash")
    assert (done.code, done.out, done.err.splitlines()[:-1][1:]) == (2, "", []), done
    last = done.err.splitlines()[-1]
    assert "me/flash" in last and said in last and "film-zoo-" not in last, last
    assert not list(workspace.iterdir())


@pytest.mark.parametrize("repo", ["flash", "../me/flash", "me/fl ash", "hf://"])
def test_a_name_that_is_none(repo: str, zoo: Callable, hub: Repository) -> None:
    done = zoo("pull", repo)
    assert (done.code, done.err.count("\n"), hub.asked) == (2, 1, [])


def test_without_a_network_or_the_extra(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    done = zoo("pull", "me/flash")
    assert (done.code, done.err.count("\n")) == (2, 1) and "ZOO_OFFLINE" in done.err
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub.errors", None)
    done = zoo("pull", "me/flash")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "zoo pull needs the extra 'hub'" in done.err
    with pytest.raises(ZooError, match="needs the extra 'hub'"):
        package.load("hf://me/flash")
