"""Files that claim more than they hold, or hold more than they should: refused before they cost."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.films.making import drifting, encode, opened
from tests.hostile import seeds
from tests.hostile.readers import CPU, READERS, outcome
from tests.limited_memory import limited_memory
from tests.report.synthetic_results import comparison
from zoo.api.film_entry import FilmEntry, parse_fps
from zoo.base.atomic_files import write_json
from zoo.base.errors import BadInput
from zoo.base.records import Results, SideBySide
from zoo.base.untrusted_files import read_array, read_arrays, read_json
from zoo.base.workspace import Workspace
from zoo.films import video_file
from zoo.films.catalogue import Catalogue
from zoo.films.decode import FilmDecoder
from zoo.films.frame_store import IngestSettings
from zoo.films.probe import probe_files
from zoo.films.video_file import VideoFile
from zoo.reconstruct.hub import load_folder
from zoo.report.write import write_report

GIBI = 1 << 30
HALF = 1 << 29
UNBOUNDED = {"video", "film_file", "rounded_film_file", "picture", "png", "pickle"}
"""What may be of any size, or is known by its hash before it is read."""


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """Let the process take few more addresses, so that taking gigabytes fails."""
    with limited_memory(2 * GIBI):
        yield


def sparse(path: Path, size: int, begins: bytes = b"") -> Path:
    """A file that has a size and takes no room."""
    with path.open("wb") as file:
        file.write(begins)
        try:
            file.truncate(size)
        except OSError:
            pytest.skip("this file system has no files so large")
    return path


def header(shape: str, kind: str = "<f8") -> bytes:
    said = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    said += " " * (117 - len(said)) + "\n"
    return b"\x93NUMPY\x01\x00" + len(said).to_bytes(2, "little") + said.encode()


def archive(path: Path, content: bytes, how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", how) as file:
        file.writestr("psnr.npy", content)
    return path


# Sizes


@pytest.mark.parametrize("name", sorted({*READERS} - UNBOUNDED))
def test_a_file_of_gigabytes_is_refused_and_takes_no_memory(name: str, tmp_path: Path) -> None:
    good = READERS[name].seed(tmp_path)
    path = sparse(tmp_path / READERS[name].file, GIBI, good.rstrip(b"}]\n"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert outcome(READERS[name], path) is not None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


@pytest.mark.parametrize("name", ["weights", "checkpoint", "latents", "scale"])
def test_tensors_of_half_a_gigabyte_that_do_not_fit_are_not_read(name: str, tmp_path: Path) -> None:
    """A header that is true, of a file that is as large as it says."""
    wanted = {"weights": "down.0.weight", "checkpoint": "losses.x", "latents": "levels"}
    kind, size = ("U8", HALF) if name == "latents" else ("F32", HALF // 4)
    said = {wanted.get(name, "lowest"): {"dtype": kind, "shape": [size], "data_offsets": [0, HALF]}}
    if name == "latents":
        said["__metadata__"] = {"shape": "[4]", "bits": "8", "film": "f" * 64}  # type: ignore[dict-item]
    elif name == "scale":
        said["__metadata__"] = {"bits": "8"}  # type: ignore[dict-item]
    text = json.dumps(said).encode()
    begins = len(text).to_bytes(8, "little") + text
    path = sparse(tmp_path / READERS[name].file, len(begins) + HALF, begins)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert outcome(READERS[name], path) is not None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


@pytest.mark.parametrize("name", [name for name in READERS if name != "pickle"])
def test_what_is_no_regular_file_is_not_waited_for(name: str, tmp_path: Path) -> None:
    path = tmp_path / READERS[name].file
    os.mkfifo(path)
    said: list[object] = []

    def read() -> None:
        try:
            said.append(outcome(READERS[name], path))
        except Exception as error:
            said.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(20)
    assert said and isinstance(said[0], str), said


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(1000000, 1000000)", "(4294967296, 0, 2)"])
def test_an_array_that_claims_a_trillion_numbers(shape: str, tmp_path: Path) -> None:
    content = header(shape) + bytes(48)
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(BadInput, match="claims"):
        read_array(tmp_path / "a.npy")
    with pytest.raises(BadInput, match="claims"):
        read_arrays(archive(tmp_path / "a.npz", content))


@pytest.mark.parametrize("shape", ["(" + "1" * 200, "(" + "1, " * 60, "(" + "1" * 40 + "," * 40])
def test_a_header_that_takes_long_to_be_refused(shape: str, tmp_path: Path) -> None:
    said = header(shape)[10:].ljust(9000, b" ")
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + (9000).to_bytes(2, "little") + said)
    began = time.monotonic()
    with pytest.raises(BadInput):
        read_array(tmp_path / "a.npy")
    # Exponential time would be hours.
    assert time.monotonic() - began < 60


def test_a_bomb_in_an_archive_of_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = archive(tmp_path / "a.npz", header("(2000000,)") + bytes(16_000_000))
    assert bomb.stat().st_size < 100_000
    assert len(read_arrays(bomb)["psnr"]) == 2_000_000
    monkeypatch.setattr("zoo.base.untrusted_files.LARGEST_ARRAYS", 1_000_000)
    with pytest.raises(BadInput, match="claim more than 1,000,000 bytes"):
        read_arrays(bomb)


def test_a_bomb_that_hides_its_size(tmp_path: Path) -> None:
    """The list of members says a few bytes; the member unpacks to more."""
    data = bytearray(archive(tmp_path / "a.npz", header("(6,)") + bytes(16_000_000)).read_bytes())
    real = (128 + 16_000_000).to_bytes(4, "little")
    while (place := data.find(real)) >= 0:
        data[place : place + 4] = (128 + 48).to_bytes(4, "little")
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(BadInput):
        read_arrays(tmp_path / "a.npz")


def test_a_packing_with_a_dictionary_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    for how in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        with pytest.raises(BadInput, match="unsupported compression"):
            read_arrays(archive(tmp_path / "a.npz", header("(6,)") + bytes(48), how))


class Malice:
    """What a pickle can do."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.place,)


def test_arrays_with_a_pickle_in_them_are_refused_and_it_does_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    file = io.BytesIO()
    np.save(file, np.array([Malice(mark)], dtype=object), allow_pickle=True)
    (tmp_path / "a.npy").write_bytes(file.getvalue())
    archive(tmp_path / "a.npz", file.getvalue())
    for read, name in ((read_array, "a.npy"), (read_arrays, "a.npz")):
        with pytest.raises(BadInput):
            read(tmp_path / name)  # type: ignore[operator]
    for name, reader in READERS.items():
        path = tmp_path / reader.file
        path.write_bytes(pickle.dumps(Malice(mark)))
        assert outcome(reader, path) is not None, name
    assert not mark.exists()


def test_a_picture_of_more_pixels_than_any_frame_has(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("L", (12_000, 12_000)).save(tmp_path / "frame.png")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert outcome(READERS["png"], tmp_path / "frame.png") is not None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


def test_a_webp_that_claims_the_most_pixels(tmp_path: Path) -> None:
    data = bytearray(seeds.picture("WEBP"))
    place = data.index(b"VP8L") + 9
    # Width and height less one, in 14 bits each.
    data[place : place + 4] = (16382 | 16382 << 14).to_bytes(4, "little")
    (tmp_path / "frame.webp").write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert outcome(READERS["picture"], tmp_path / "frame.webp") is not None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


def test_a_picture_whose_chunk_claims_two_gigabytes(tmp_path: Path) -> None:
    """Found by the fuzz: as many bytes were asked for as a chunk said that it has."""
    data = bytearray(seeds.picture("PNG"))
    place = data.index(b"IDAT") - 4
    data[place : place + 4] = (0x7FFFFFF0).to_bytes(4, "big")
    (tmp_path / "frame.png").write_bytes(data[: place + 30])
    assert outcome(READERS["png"], tmp_path / "frame.png") is not None


def all_numbers(number: float) -> str:
    """A comparison of which every number is this one, but for what is fixed."""

    def walk(value: object) -> object:
        if isinstance(value, dict):
            return {
                k: v if k in ("schema_version", "digits") else walk(v) for k, v in value.items()
            }
        if isinstance(value, list):
            return [walk(one) for one in value]
        if isinstance(value, float):
            return float(number)
        whole = isinstance(value, int) and not isinstance(value, bool)
        return int(max(-1e12, min(1e12, number))) if whole else value

    return json.dumps(walk(comparison().model_dump(mode="json")))


@pytest.mark.parametrize("number", [-1, 1e308, -1e308], ids=str)
def test_numbers_that_nobody_measured_are_refused(number: float, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(all_numbers(number))
    with pytest.raises(BadInput, match=r"a count must be|a measurement must be"):
        read_json(tmp_path / "results.json", Results)


def test_a_report_of_a_trillion_frames(tmp_path: Path) -> None:
    """Every number of a comparison is huge, and a report is made of it all the same."""
    (tmp_path / "results.json").write_text(all_numbers(10**12))
    assert write_report(read_json(tmp_path / "results.json", Results), tmp_path).is_file()


@pytest.mark.parametrize("depth", [1000, 1_000_000])
def test_nesting_without_end(depth: int, tmp_path: Path) -> None:
    for name in ("results", "record", "runs", "log"):
        path = tmp_path / READERS[name].file
        path.write_bytes(b'{"options":' + b"[" * depth + b"]" * depth + b"}\n")
        assert outcome(READERS[name], path) is not None


def test_numbers_of_thousands_of_digits(tmp_path: Path) -> None:
    for digits in ("9" * 400, "9" * 4000, "9" * 100_000):
        text = comparison().model_dump_json().replace('"batch":', f'"batch":{digits}', 1)
        (tmp_path / "results.json").write_text(text)
        with pytest.raises(BadInput):
            read_json(tmp_path / "results.json", Results)
    with pytest.raises(BadInput):
        parse_fps("1e999999999")
    with pytest.raises(BadInput):
        parse_fps(float("1e300"))


# Films


def test_a_header_that_claims_any_length_counts_for_no_more_than_the_file(tmp_path: Path) -> None:
    """12 frames that are said to last four days."""
    path = encode(tmp_path / "a.mkv", drifting(64, 36, 12))
    data = path.read_bytes()
    assert data.count(b"00:00:00.480000000") == 1
    path.write_bytes(data.replace(b"00:00:00.480000000", b"99:59:59.000000000"))
    settings = IngestSettings(seeds.SIZE, "crop", "none", None, None, None)
    [probe] = probe_files(FilmEntry("a", (path,)), settings)
    assert probe.part.duration == pytest.approx(359_999)
    assert probe.expected == 12, "counted in the file"


def test_frames_larger_than_any_film_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "a.mp4", drifting(64, 36, 4))
    monkeypatch.setattr(video_file, "MOST_PIXELS", 64 * 36 - 1)
    with pytest.raises(BadInput, match="64x36; the limit is 2,303 pixels"), VideoFile.open(path):
        pass


def test_frames_that_grow_within_a_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream may announce another size at any key frame, whatever its first one was."""
    small = encode(tmp_path / "s.h264", drifting(64, 36, 5)).read_bytes()
    large = encode(tmp_path / "l.h264", drifting(640, 360, 5)).read_bytes()
    path = tmp_path / "a.h264"
    path.write_bytes(small + large + small)

    def sizes() -> set[int]:
        decoder = FilmDecoder((path,), None, None, None, 1)
        return {one.frame.width for one in decoder.frames()}

    assert sizes() == {64, 640}
    monkeypatch.setattr(video_file, "MOST_PIXELS", 64 * 48)
    monkeypatch.setattr(video_file, "_pixels", lambda stream: 1)  # what its header says
    assert sizes() == {64}


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nclip.mp4\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile clip.mp4\n",
        "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'></MPD>",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    ],
    ids=["hls", "concat", "dash", "sdp"],
)
def test_lists_that_name_other_files_are_not_followed(text: str, tmp_path: Path) -> None:
    encode(tmp_path / "clip.mp4", drifting(64, 36, 4))
    for suffix in (".mp4", ".m3u8", ".txt"):
        path = tmp_path / f"list{suffix}"
        path.write_text(text)
        with pytest.raises(BadInput):
            opened(path, tmp_path)


def test_a_pattern_in_a_name_is_no_series_of_pictures(tmp_path: Path) -> None:
    from PIL import Image

    for number in range(3):
        Image.new("RGB", (64, 36)).save(tmp_path / f"p{number}.png")
    Image.new("RGB", (64, 36)).save(tmp_path / "p%d.png")
    with pytest.raises(BadInput):
        opened(tmp_path / "p%d.png", tmp_path)


# Paths


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "figures/../../x", "link/x"])
@pytest.mark.parametrize("field", ["picture", "barcode", "series", "video", "sheet", "beside"])
def test_a_results_folder_names_nothing_outside_itself(
    name: str, field: str, tmp_path: Path
) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    (tmp_path / "secret.png").write_bytes(b"secret")
    results = comparison()
    if field == "picture":
        first = results.records[0]
        picture = first.pictures[0].model_copy(update={"original": name})
        first = first.model_copy(update={"pictures": [picture]})
        results = results.model_copy(update={"records": [first, *results.records[1:]]})
    else:
        beside = SideBySide(video=name, panels=["original", "ae"], sound=True)
        update = {"side_by_side": beside} if field == "beside" else {field: name}
        film = results.films[0].model_copy(update=update)
        results = results.model_copy(update={"films": [film, *results.films[1:]]})
    write_json(folder / "results.json", results)
    with pytest.raises(BadInput, match="outside the results folder"):
        write_report(read_json(folder / "results.json", Results), folder)
    assert not (folder / "report.md").exists()


@pytest.mark.parametrize("name", ["../../up", "/etc", "a/b", "..", "CON\0", "x" * 65, ""])
def test_a_catalogue_names_no_folder_outside_the_workspace(name: str, tmp_path: Path) -> None:
    import tomlkit

    (tmp_path / "films.toml").write_text(tomlkit.dumps({name: {"files": "a.mp4"}}))
    with pytest.raises(BadInput):
        Catalogue.open(Workspace(tmp_path))


def test_a_published_folder_names_nothing_outside_itself(tmp_path: Path) -> None:
    path = tmp_path / "scale.safetensors"
    path.write_bytes(READERS["scale"].seed(tmp_path))
    assert outcome(READERS["scale"], path) is None
    folder = tmp_path / "published"
    for name in ("../../up", "/etc", "a/b"):
        said = seeds.text("run.json").replace(b'"clip"', f'"{name}"'.encode())
        (folder / "run.json").write_bytes(said)
        with pytest.raises(BadInput, match=r"config\.film"):
            load_folder(folder, CPU)
