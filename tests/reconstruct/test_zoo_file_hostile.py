"""Damaged, foreign and hostile files: one clear line each, never a crash, a hang or gigabytes."""

from __future__ import annotations

import json
import lzma
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from tests.limited_memory import limited_memory
from tests.reconstruct.small_model import film_in, train
from zoo.api.samples_and_latents import MOST_CODES
from zoo.base.errors import BadInput
from zoo.base.workspace import Workspace
from zoo.evaluation.latents import Latents, Quantiser
from zoo.plugins.registry import registry
from zoo.reconstruct.decode_film_file import ZooFile, decoded_frames, find_decoder
from zoo.reconstruct.film_file import (
    KEY,
    LARGEST_HEADER,
    _digest,
    _sealed_header,
    open_container,
    summarise,
)
from zoo.reconstruct.hub import load_folder
from zoo.training.runs import bundled_runs

EXAMPLES = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ROOM = 1 << 30
"""Bytes that the whole process may grow by while it reads a hostile file."""


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a film file that has everything inside."""
    return tmp_path_factory.mktemp("films")


@pytest.fixture
def whole(films: Path, zoo: Callable, workspace: Path) -> Path:
    """A film file with decoder and sound; `other.zoo` beside it is a place to spoil it at."""
    path = films / "whole.zoo"
    if not path.exists():
        film = film_in(workspace)
        train(zoo, film)
        done = zoo("encode", "vae", "--film", film, "-o", path, "--with-decoder", "--sound")
        assert done.code == 0, done.err
    return path


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """Let the process grow by little, so that taking gigabytes fails."""
    with limited_memory(4 * ROOM):
        yield


def all_of(path: Path) -> int:
    """Do everything that can be done with a film file; returns how many frames were drawn."""
    summarise(open_container(path))
    film = ZooFile.open(path)
    if film.sound:
        film.sound.check()
    trained = find_decoder(film, Workspace(path.parent), torch.device("cpu"), lambda line: None)
    return sum(1 for _ in decoded_frames(film, trained))


def sealed(path: Path) -> Path:
    """Seal a file again, as one who means harm would."""
    header, place = _sealed_header(path)
    digest = _digest(path, header, place)
    data = bytearray(path.read_bytes())
    data[8 + place : 8 + place + 64] = digest.encode()
    path.write_bytes(data)
    return path


def rewritten(whole: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Path:
    """The file with its description and tensors changed, and sealed again."""
    path = whole.with_name("other.zoo")
    said = json.loads(open_container(whole).description.model_dump_json())
    tensors = load_file(whole)
    change(said, tensors)
    said["content_sha256"] = "0" * 64
    save_file(tensors, path, {KEY: json.dumps(said, separators=(",", ":"))})
    return sealed(path)


def test_the_file_that_is_spoilt_below_is_a_good_one(whole: Path) -> None:
    assert all_of(whole) == 75
    assert all_of(rewritten(whole, lambda said, tensors: None)) == 75


@EXAMPLES
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_any_flipped_byte_is_noticed(whole: Path, place: float, flip: int) -> None:
    data = bytearray(whole.read_bytes())
    data[int(place * len(data))] ^= flip
    spoilt = whole.with_name("other.zoo")
    spoilt.write_bytes(data)
    with pytest.raises(BadInput):
        all_of(spoilt)


@EXAMPLES
@given(place=st.integers(0, 6000), flip=st.integers(1, 255))
def test_any_flipped_byte_of_the_header_is_noticed(whole: Path, place: int, flip: int) -> None:
    data = bytearray(whole.read_bytes())
    data[place] ^= flip
    spoilt = whole.with_name("other.zoo")
    spoilt.write_bytes(data)
    with pytest.raises(BadInput):
        all_of(spoilt)


@EXAMPLES
@given(kept=st.floats(0, 1, exclude_max=True), more=st.binary(max_size=20))
def test_files_cut_short_or_with_more_behind(whole: Path, kept: float, more: bytes) -> None:
    data = whole.read_bytes()
    spoilt = whole.with_name("other.zoo")
    for spoilt_data in (data[: int(kept * len(data))] + more, data + more + b"\0"):
        spoilt.write_bytes(spoilt_data)
        with pytest.raises(BadInput):
            all_of(spoilt)


@EXAMPLES
@given(data=st.binary(max_size=400), header=st.booleans())
def test_any_other_bytes(films: Path, data: bytes, header: bool) -> None:
    path = films / "other.zoo"
    path.write_bytes(len(data).to_bytes(8, "little") + data if header else data)
    with pytest.raises(BadInput):
        all_of(path)


PLACES = [
    ("film", "frames"), ("film", "rate"), ("film", "first_tick"), ("film", "name"),
    ("film", "fingerprint"), ("film", "source_bytes"), ("film", "ticks_per_second"),
    ("latent", "shape"), ("latent", "bits"), ("latent", "codes"), ("model", "run"),
    ("model", "config", "model"), ("model", "config", "size"),
    ("model", "config", "options"),
    ("model", "config", "options", "latent"), ("model", "config", "options", "width"),
    ("model", "weights"), ("sound",), ("sound", "codec"), ("tags",), ("chapters",),
    ("schema_version",), ("made_by",),
]  # fmt: skip
SOMETHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(10**9, 10**18), st.floats(),
    st.text(max_size=20), st.lists(st.integers(-2, 10**12), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
    st.sampled_from(["../../up", "/etc/passwd", "pca", "mean", "64x48", "8192x8192", [4], [2, 2]]),
)  # fmt: skip


@EXAMPLES
@given(place=st.sampled_from(PLACES), value=SOMETHING)
def test_a_hostile_description_that_is_sealed(
    whole: Path, place: tuple[str, ...], value: Any
) -> None:
    """What it says is either a film that can be drawn, or refused."""

    def change(said: dict[str, Any], tensors: dict[str, Any]) -> None:
        within = said
        for key in place[:-1]:
            within = within[key]
        within[place[-1]] = value

    try:
        assert all_of(rewritten(whole, change)) >= 1
    except BadInput as refused:
        assert "\n" not in str(refused)


@pytest.mark.parametrize("frames", [10**12, 1 << 24, 76, 74])
def test_frames_that_are_not_there(whole: Path, frames: int) -> None:
    def change(said: dict[str, Any], tensors: dict[str, Any]) -> None:
        said["film"]["frames"] = frames

    with pytest.raises(BadInput):
        all_of(rewritten(whole, change))


def test_a_bomb_of_latents(whole: Path) -> None:
    """A few kilobytes that would be 64 gigabytes, claimed truly."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 4, "lp": 0, "pb": 0}]
    many = lzma.compress(bytes(1 << 26), lzma.FORMAT_RAW, filters=filters)

    def change(said: dict[str, Any], tensors: dict[str, Any]) -> None:
        said["film"]["frames"] = 1 << 24
        said["latent"]["shape"] = [4096]
        tensors["latents"] = torch.from_numpy(np.frombuffer(b"\0" + many, np.uint8).copy())
        tensors["lowest"] = tensors["step"] = torch.zeros(4096)
        tensors["step"] = torch.ones(4096)

    with pytest.raises(BadInput, match="claims"):
        all_of(rewritten(whole, change))


@pytest.mark.parametrize("options", [{"width": 10**9}, {"latent": 10**12}, {"width": 300_000}])
def test_a_network_of_any_size_that_is_claimed(whole: Path, options: dict[str, int]) -> None:
    def change(said: dict[str, Any], tensors: dict[str, Any]) -> None:
        said["model"]["config"]["options"].update(options)

    with pytest.raises(BadInput):
        all_of(rewritten(whole, change))


def test_an_option_beyond_all_numbers_that_torch_takes(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = registry().models["vae"]

    class Unbounded(vae):  # type: ignore[misc, valid-type]
        def __init__(self, size: Any, options: Any) -> None:
            super().__init__(size, options)
            self.more = torch.empty(10**30)

    monkeypatch.setitem(registry().models, "vae", Unbounded)
    with pytest.raises(BadInput, match="cannot be built"):
        all_of(whole)
    bundled = next(iter(bundled_runs())).folder.path
    with pytest.raises(BadInput, match="cannot be built"):
        load_folder(bundled, torch.device("cpu"))


def test_a_network_whose_other_half_is_huge(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that fits, beside an encoder of eight gigabytes."""
    vae = registry().models["vae"]

    class Lopsided(vae):  # type: ignore[misc, valid-type]
        def __init__(self, size: Any, options: Any) -> None:
            super().__init__(size, options)
            self.huge = torch.nn.Linear(1 << 11, 1 << 20)

    monkeypatch.setitem(registry().models, "vae", Lopsided)
    with pytest.raises(BadInput, match="besides its weights"):
        all_of(whole)


@pytest.mark.parametrize("name", ["latents", "lowest", "step", "sound"])
def test_parts_that_are_missing_or_of_another_form(whole: Path, name: str) -> None:
    for other in (None, torch.zeros(3), torch.zeros(2, 2), torch.zeros(3, dtype=torch.uint8)):

        def change(said: dict[str, Any], tensors: dict[str, Any], other: Any = other) -> None:
            tensors.pop(name) if other is None else tensors.update({name: other})

        with pytest.raises(BadInput):
            all_of(rewritten(whole, change))


def test_a_scale_that_is_not_finite(whole: Path) -> None:
    def change(said: dict[str, Any], tensors: dict[str, Any]) -> None:
        tensors["lowest"][0] = torch.inf

    with pytest.raises(BadInput, match="finite"):
        all_of(rewritten(whole, change))


@pytest.mark.parametrize(
    ("levels", "rows"),
    [(torch.float32, 0), (torch.int32, 0), (torch.uint8, 1), (torch.uint8, -1), (None, 0)],
)
def test_a_rounded_decoder_whose_scale_does_not_fit(
    whole: Path, levels: torch.dtype | None, rows: int
) -> None:
    def change(said: dict[str, Any], tensors: dict[str, Any]) -> None:
        name, kernel = next(
            (n, t) for n, t in tensors.items() if n.startswith("decoder.") and t.dim() > 1
        )
        tensors[name] = kernel.to(levels or torch.uint8)
        if levels is None:
            del tensors[name]
        tensors[name.replace("decoder.", "decoder_scale.", 1)] = torch.ones(len(kernel) + rows, 2)

    with pytest.raises(BadInput, match=r"scale (of its|without)"):
        all_of(rewritten(whole, change))


def test_sound_that_is_none(whole: Path) -> None:
    def change(said: dict[str, Any], tensors: dict[str, Any]) -> None:
        tensors["sound"] = torch.frombuffer(bytearray(b"#EXTM3U\nhttp://a/b\n"), dtype=torch.uint8)

    with pytest.raises(BadInput, match="sound"):
        all_of(rewritten(whole, change))


@pytest.mark.parametrize("spoil", ["noise", "cut", "another kind"])
def test_damaged_sound_costs_no_frame(spoil: str, whole: Path, zoo: Callable) -> None:
    def change(said: dict[str, Any], tensors: dict[str, Any]) -> None:
        sound = tensors["sound"].numpy()
        if spoil == "noise":
            sound = np.random.default_rng(0).integers(0, 256, 500).astype(np.uint8)
        elif spoil == "cut":
            sound = sound[: len(sound) // 2].copy()
        else:
            sound = np.frombuffer(sound.tobytes().replace(b"soun", b"vide"), np.uint8).copy()
        tensors["sound"] = torch.from_numpy(sound)

    done = zoo("decode", rewritten(whole, change), "-o", "a.mp4", "--overwrite")
    assert done.code == 0, done.err
    assert "sound: left out: the sound in the film file" in done.out
    assert "75 frames" in done.out


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_earlier_versions_are_read(whole: Path, version: int) -> None:
    """The first does not say how large the decoder is, the first two know no declared codes."""

    def change(said: dict[str, Any], tensors: dict[str, Any]) -> None:
        said["schema_version"] = version
        said["film"]["ticks_a_second"] = said["film"].pop("ticks_per_second")
        if said["sound"]:
            said["sound"]["told"] = said["sound"].pop("summary")
        if version < 4:
            del said["model"]["decoder_bits"]
        if version < 3:
            del said["latent"]["codes"]
        if version == 1:
            del said["model"]["decoder_bytes"]

    assert all_of(rewritten(whole, change)) == 75


def with_codes(whole: Path, codes: int, levels: np.ndarray) -> Path:
    """The file with latents (75, L) that it declares to be so many codes."""
    scale = Quantiser.of_codes(codes, levels.shape[1])

    def change(said: dict[str, Any], tensors: dict[str, Any]) -> None:
        said["latent"] = {"shape": [levels.shape[1]], "bits": scale.bits, "codes": codes}
        packed = Latents(torch.from_numpy(levels), (levels.shape[1],), scale, len(levels)).packed
        tensors["latents"] = torch.frombuffer(bytearray(packed), dtype=torch.uint8)
        tensors["lowest"], tensors["step"] = scale.lowest, scale.step

    return rewritten(whole, change)


@pytest.mark.parametrize("codes", [1, 2, 256, 257, 1024, 65_536, 65_537, MOST_CODES])
def test_declared_codes_come_back_to_the_bit(whole: Path, codes: int) -> None:
    levels = np.random.default_rng(0).integers(0, codes, (75, 3)).astype(np.int32)
    levels[0], levels[1] = 0, codes - 1
    film = ZooFile.open(with_codes(whole, codes, levels))
    assert np.array_equal(film.latents.levels.numpy(), levels)
    assert np.array_equal(film.latents.dequantised(slice(None)).numpy(), levels)


def test_codes_beyond_those_declared_are_refused(whole: Path) -> None:
    levels = np.full((75, 3), 1000, np.int32)
    with pytest.raises(BadInput, match="codes outside the 1,000"):
        ZooFile.open(with_codes(whole, 1000, levels))


def test_a_header_that_is_too_long(films: Path) -> None:
    path = films / "other.zoo"
    path.write_bytes((LARGEST_HEADER + 1).to_bytes(8, "little") + b" " * (LARGEST_HEADER + 9))
    with pytest.raises(BadInput):
        open_container(path)


@pytest.mark.parametrize("words", [("info",), ("decode",)])
def test_files_that_are_not_film_files_are_refused_in_a_line(
    words: tuple, zoo: Callable, workspace: Path
) -> None:
    (workspace / "a.zoo").write_text("not a film")
    (workspace / "folder.zoo").mkdir()
    for name in ("a.zoo", "folder.zoo", "missing.zoo"):
        done = zoo(*words, name)
        assert done.code == 2 and name in done.err and done.err.count("\n") == 1


def test_another_version_is_named(whole: Path) -> None:
    def change(said: dict[str, Any], tensors: dict[str, Any]) -> None:
        said["schema_version"] = 6
        said["something_new"] = 1

    with pytest.raises(BadInput, match="version 6; this film-zoo reads versions 1 to 5"):
        open_container(rewritten(whole, change))


def test_a_film_file_that_was_moved_is_the_same(whole: Path, workspace: Path) -> None:
    shutil.copy(whole, workspace / "moved.zoo")
    assert all_of(workspace / "moved.zoo") == 75
