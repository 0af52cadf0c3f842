"""Nothing is fetched but named weights, by hash, with a notice before; nothing waits for ever."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hostile import seeds
from tests.report.synthetic_results import comparison
from zoo.base.atomic_files import write_json
from zoo.base.errors import BadInput
from zoo.pretrained import ALEXNET, PretrainedWeights, lookup
from zoo.pretrained.weights import FetchFailed

Answer = Callable[[socket.socket], None]


class Server:
    """A place on this machine that answers as the test says."""

    def __init__(self, answer: Answer) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.asked = 0
        self._answer = answer
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}/net.pth"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.asked += 1
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._answer(connection)
            except OSError:
                return


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], Server]]:
    servers: list[Server] = []

    def start(answer: Answer) -> Server:
        server = Server(answer)
        servers.append(server)
        monkeypatch.setattr(lookup, "official_url", lambda weights: server.url)
        return server

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("zoo.base.network.STALL_SECONDS", 0.5)
    monkeypatch.setattr("zoo.base.network.RATE_SECONDS", 0.6)
    yield start
    for server in servers:
        server.socket.close()


def silent(connection: socket.socket) -> None:
    time.sleep(20)


def send_slowly(connection: socket.socket, at_once: bytes, slowly: bytes) -> None:
    """Answer with some bytes at once and ten a second after them."""
    connection.recv(4096)
    connection.sendall(at_once)
    for letter in slowly:
        connection.sendall(bytes([letter]))
        time.sleep(0.1)


def drip(connection: socket.socket) -> None:
    head = b"HTTP/1.0 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    send_slowly(connection, head, b"x" * 200)


def drip_headers(connection: socket.socket) -> None:
    send_slowly(connection, b"", b"HTTP/1.0 200 OK\r\nX: " + b"y" * 200)


def drip_chunks(connection: socket.socket) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    send_slowly(connection, head, b"0" * 200)


def endless(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
    while True:
        connection.sendall(bytes(1 << 16))


def cut_off(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(1000))


def elsewhere(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.0 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (silent, "no answer|timed out"),
        (drip, "slower than 20 kB per second"),
        (drip_headers, "no answer"),
        (drip_chunks, "no answer"),
        (endless, "larger than the file should be"),
        (cut_off, "sha256|incomplete|IncompleteRead"),
        (elsewhere, "not allowed|302"),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_a_place_that_means_no_good_is_left_soon(
    answer: Answer, said: str, serve: Callable[[Answer], Server], tmp_path: Path
) -> None:
    server = serve(answer)
    notices: list[str] = []
    weights = replace(ALEXNET, hub_megabytes=1)
    began = time.monotonic()
    with pytest.raises(FetchFailed, match=said):
        lookup.download(weights, tmp_path / "net.pth", notices.append)
    # They go on for twenty seconds or for ever; nothing is said of how fast this machine is.
    assert time.monotonic() - began < 18
    assert server.asked >= 1
    assert list(tmp_path.iterdir()) == []


def test_the_notice_comes_before_the_first_byte_and_says_what_where_and_how_large(
    serve: Callable[[Answer], Server], tmp_path: Path
) -> None:
    body = b"weights" * 1000
    heard: list[tuple[int, str]] = []

    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        connection.sendall(head + body)

    server = serve(answer)
    weights = replace(ALEXNET, hub_sha256=hashlib.sha256(body).hexdigest())
    target = tmp_path / "net.pth"
    lookup.download(weights, target, lambda line: heard.append((server.asked, line)))
    assert target.read_bytes() == body
    [(asked, line)] = heard
    assert asked == 0
    assert all(part in line for part in ("AlexNet", server.url, "244 MB", str(target)))


def test_offline_stops_a_push_before_anything(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    said = zoo("push", "ae", "--film", "bikes", "--repo", "somebody/something")
    said.check_refused("ZOO_OFFLINE")
    from zoo.reconstruct.hub import push

    with pytest.raises(BadInput, match="ZOO_OFFLINE"):
        push(workspace, "somebody/something", private=True)


def test_only_networks_with_a_known_hash_have_weights() -> None:
    from zoo.pretrained import feature_network

    with pytest.raises(BadInput, match="no known hash"):
        feature_network("resnet18", 3)


def test_all_that_is_ever_fetched_has_a_hash() -> None:
    from zoo.pretrained.lookup import FETCHED

    for weights in FETCHED:
        assert isinstance(weights, PretrainedWeights)
        for digest in (weights.hub_sha256, weights.member_sha256, weights.content_sha256):
            assert len(digest) == 64 and int(digest, 16)


def test_no_verb_opens_a_connection(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything from a film to a report, with every way to the network shut."""
    tried: list[str] = []

    def refuse(what: str) -> Callable[..., object]:
        def refused(*given: object, **named: object) -> object:
            tried.append(f"{what} {given[1:] or given}")
            raise OSError(101, "the network is shut in this test")

        return refused

    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse(name))
    for name in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse(name))

    tiny = ("--preset", "quick", "--size", "32x32", "--latent", "4", "--device", "cpu")
    film = ("--film", "carphone")
    (workspace / "film.zoo").write_bytes(seeds.film_file(workspace))
    write_json(workspace / "results" / "results.json", comparison())
    for words in (
        ("films",),
        ("films", "info", "carphone"),
        ("films", "ingest", "carphone", "--size", "32x32"),
        ("models",),
        ("models", "show", "vaegan", "--size", "64x48"),
        ("plugins",),
        ("doctor",),
        ("train", "ae", *film, *tiny, "--set", "width=4", "--budget", "2steps"),
        ("runs",),
        ("encode", "ae", *film, "-o", "c.zoo"),
        ("info", "c.zoo"),
        ("info", "film.zoo"),
        ("decode", "c.zoo", "-o", "c.mp4"),
        ("match", "c.mp4", "carphone", "--every", "30"),
        ("push", "ae", *film, "--repo", "a/b", "--dry-run", "-o", "hub"),
        ("report",),
    ):
        said = zoo(*words)
        assert said.code == 0, (words, said.err)
    assert tried == []
