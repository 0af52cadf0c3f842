"""Whatever the bytes, every reader gives a right answer or one clear line, in little memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import safetensors.torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.readers import READERS, outcome
from tests.limited_memory import limited_memory

ROOM = 2 << 30
"""Bytes of addresses that the process may take while it reads, beside those it has."""
FAST = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SLOW = settings(FAST, max_examples=6)
# What readers of text and of numbers stumble over.
TOKENS = [
    b"", b"\0", b"\n", b"null", b"true", b"-1", b"NaN", b"Infinity", b"1e999", b"1e999999999",
    b"1000000000000", b"9" * 40, b"9" * 5000, b"-" + b"9" * 400, b"[" * 3000, b'{"a":' * 2000,
    b"../../../etc/passwd", b"/dev/zero", b'"\\u0000"', b"\\ud800", b"\xff\xfe", b"\xe2\x80\xae",
    b"\x1b[2J", b"[red]", b"<script>", b"\xff" * 8, (1 << 40).to_bytes(8, "little"),
    (1 << 62).to_bytes(8, "big"), b"PK\x03\x04", b"\x93NUMPY", b"(1000000000000,)",
]  # fmt: skip

Spoil = Callable[[bytes], bytes]


@st.composite
def spoiling(draw: st.DrawFn) -> Spoil:
    """Some bytes changed, cut out, doubled, or replaced by what is often harmful."""
    changes = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["flip", "put", "cut", "double", "end", "zero"]),
                st.floats(0, 1, exclude_max=True),
                st.integers(1, 255),
                st.sampled_from(TOKENS),
            ),
            min_size=1,
            max_size=4,
        )
    )

    def spoil(data: bytes) -> bytes:
        out = bytearray(data)
        for kind, share, number, token in changes:
            place = int(share * len(out))
            match kind:
                case "flip" if out:
                    out[place] ^= number
                case "put":
                    # In the place of a number, a name or a word, so that what is around it stays.
                    end = place
                    while end < len(out) and chr(out[end]).isalnum() and end - place < 40:
                        end += 1
                    out[place:end] = token
                case "cut":
                    del out[place : place + number]
                case "double":
                    out[place:place] = out[place : place + number]
                case "end":
                    del out[place:]
                case "zero":
                    out[place : place + number] = bytes(len(out[place : place + number]))
        return bytes(out)

    return spoil


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    folder = tmp_path_factory.mktemp("seeds")
    made: dict[str, bytes] = {}

    def of(name: str) -> bytes:
        if name not in made:
            made[name] = READERS[name].seed(folder)
        return made[name]

    return of


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """Let the process take few more addresses, so that taking gigabytes fails."""
    with limited_memory(ROOM):
        yield


@pytest.mark.parametrize("name", READERS)
def test_a_good_file_is_read(name: str, good: Callable[[str], bytes], tmp_path: Path) -> None:
    path = tmp_path / READERS[name].file
    path.write_bytes(good(name))
    assert outcome(READERS[name], path) is None


@pytest.mark.parametrize("name", [name for name in READERS if not READERS[name].slow])
def test_a_spoilt_file_is_read_or_refused(
    name: str, good: Callable[[str], bytes], tmp_path: Path
) -> None:
    path = tmp_path / READERS[name].file
    seen: set[bool] = set()

    @FAST
    @given(spoil=spoiling())
    def examine(spoil: Spoil) -> None:
        path.write_bytes(spoil(good(name)))
        seen.add(outcome(READERS[name], path) is None)

    examine()
    assert False in seen, "none of these was noticed"


@pytest.mark.parametrize("name", [name for name in READERS if READERS[name].slow])
def test_a_spoilt_file_is_drawn_or_refused(
    name: str, good: Callable[[str], bytes], tmp_path: Path
) -> None:
    path = tmp_path / READERS[name].file

    @SLOW
    @given(spoil=spoiling())
    def examine(spoil: Spoil) -> None:
        path.write_bytes(spoil(good(name)))
        outcome(READERS[name], path)

    examine()


@pytest.mark.parametrize(
    "name", [name for name in READERS if READERS[name].file.endswith(".safetensors")]
)
def test_a_part_that_is_missing_is_refused(
    name: str, good: Callable[[str], bytes], tmp_path: Path
) -> None:
    path = tmp_path / READERS[name].file
    data = good(name)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    said = header.pop("__metadata__", {})
    tensors = safetensors.torch.load(data)
    for key in said:
        path.write_bytes(
            safetensors.torch.save(tensors, {k: v for k, v in said.items() if k != key})
        )
        outcome(READERS[name], path)
    for key in tensors:
        rest = {other: tensor for other, tensor in tensors.items() if other != key}
        path.write_bytes(safetensors.torch.save(rest, said))
        assert outcome(READERS[name], path), key


@pytest.mark.parametrize("name", READERS)
def test_any_bytes_at_all_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / READERS[name].file

    @settings(FAST, max_examples=15)
    @given(data=st.one_of(st.binary(max_size=300), st.sampled_from(TOKENS)))
    def examine(data: bytes) -> None:
        path.write_bytes(data)
        outcome(READERS[name], path)

    examine()
