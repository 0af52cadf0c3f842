"""A film at an address is downloaded once, whole or not at all, and only where a user names it."""

from __future__ import annotations

import http.server
import threading
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.films.making import drifting, encode
from zoo.base.network import as_request

Zoo = Callable


class Site:
    """A web server on this machine: what it answers by path, and which paths were asked for."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[str] = []
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                code, header, body = site.pages.get(self.path, (404, {}, b""))
                self.send_response(code)
                for name, value in {"Content-Length": str(len(body)), **header}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def site(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("ZOO_OFFLINE", raising=False)
    site = Site()
    clip = encode(workspace / "clip.mp4", drifting(64, 36, 6)).read_bytes()
    short = {"Content-Length": str(len(clip) + 1000)}
    html = {"Content-Type": "text/html; charset=utf-8"}
    site.pages = {
        "/a/%E6%9D%B1%E4%BA%AC.mp4?key=secret": (200, {}, clip),
        "/b/%E6%9D%B1%E4%BA%AC.mp4": (200, {}, clip + bytes(8)),
        "/moved": (302, {"Location": "/b/%E6%9D%B1%E4%BA%AC.mp4"}, b""),
        "/etc": (302, {"Location": "file:///etc/passwd"}, b""),
        "/page": (200, html, b"<!doctype html><title>x</title>"),
        "/short.mp4": (200, short, clip),
        "/text.mp4": (200, {}, b"no film" * 50),
        "/list": (200, {}, b"#EXTM3U\nhttp://127.0.0.1/secret.ts\n"),
        "/huge.mp4": (200, {"Content-Length": str(1 << 60)}, b"x"),
    }
    yield site
    site.server.shutdown()
    site.server.server_close()


def test_a_film_is_downloaded_once_and_two_addresses_are_two_films(
    site: Site, zoo: Zoo, workspace: Path
) -> None:
    words = ("films", "add", f"{site.address}/a/東京.mp4?key=secret", f"{site.address}/moved")
    words = tuple(word.replace("東京", "%E6%9D%B1%E4%BA%AC") for word in words)
    done = zoo(*words, f"{site.address}/b/%E6%9D%B1%E4%BA%AC.mp4")
    assert done.code == 0, done.err
    films = tomllib.loads((workspace / "films.toml").read_text(encoding="utf-8"))
    assert [name[:3] for name in films] == ["東京", "mov", "東京-"]
    files = [workspace / table["files"] for table in films.values()]
    assert all(file.parent == workspace / "downloads" for file in files)
    assert files[0].suffix == ".mp4" and len(set(files)) == 3
    assert files[0].read_bytes() == (workspace / "clip.mp4").read_bytes()
    assert "secret" not in (workspace / "films.toml").read_text()
    asked = len(site.asked)
    again = zoo(*words)
    assert again.code == 0 and len(site.asked) == asked and again.out.count("already") == 2
    done = zoo("films", "ingest", "東京", "--size", "32x32", "--holdout", "0")
    assert done.code == 0 and "6 frames" in done.out


@pytest.mark.parametrize("path", ["/b/東京.mp4", "/a/東京.mp4?key=secret", "/b/%E6%9D%B1京.mp4"])
def test_an_address_may_have_letters_of_any_script(
    path: str, site: Site, zoo: Zoo, workspace: Path
) -> None:
    done = zoo("films", "add", site.address + path)
    assert done.code == 0, done.err
    assert [name for name in site.pages if name in site.asked]


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("http://a.org/b%20c?d=e%26f&g=h+i#j", "http://a.org/b%20c?d=e%26f&g=h+i#j"),
        ("http://a.org/my film (1).mp4", "http://a.org/my%20film%20(1).mp4"),
        ("http://me:x@Bücher.de:81/ü", "http://me:x@xn--bcher-kva.de:81/%C3%BC"),
        ("http://[::1]:8080/a,b;c", "http://[::1]:8080/a,b;c"),
        ("http://a.org/\udcff", "http://a.org/%FF"),
        ("ftp://a.org/x", "ftp://a.org/x"),
    ],
)
def test_an_address_is_sent_in_ascii(address: str, sent: str) -> None:
    assert as_request(address) == sent


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/none.mp4", "cannot be downloaded: Not Found"),
        ("/etc", "cannot be downloaded: "),
        ("/page", "is a web page, not a video"),
        ("/short.mp4", "cannot be downloaded: IncompleteRead"),
        ("/text.mp4", "is not a video that can be read"),
        ("/list", "is a playlist, whose URLs are not opened"),
        ("/huge.mp4", "are free in"),
    ],
)
def test_what_is_no_film_is_one_line_and_leaves_nothing(
    path: str, said: str, site: Site, zoo: Zoo, workspace: Path
) -> None:
    done = zoo("films", "add", "clip.mp4", site.address + path)
    done.check_refused(said)
    assert [entry.name for entry in workspace.iterdir()] == ["clip.mp4"]


def test_a_place_that_does_not_answer_is_one_line(site: Site, zoo: Zoo, workspace: Path) -> None:
    site.server.shutdown()
    site.server.server_close()
    done = zoo("films", "add", f"{site.address}/a.mp4")
    assert done.code == 2
    assert "cannot be downloaded: 127.0.0.1 cannot be reached: Connection refused" in done.err
    assert not (workspace / "downloads").exists()


@pytest.mark.parametrize(
    "wrong", [("missing.mkv",), ("--crop", "10x10"), ("--name", "../x"), ("--fps", "0")]
)
def test_nothing_is_asked_for_where_something_else_is_wrong(
    wrong: tuple[str, ...], site: Site, zoo: Zoo
) -> None:
    assert zoo("films", "add", f"{site.address}/moved", *wrong).code == 2
    assert site.asked == []


def test_no_other_verb_and_no_catalogue_opens_an_address(
    site: Site, zoo: Zoo, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"{site.address}/moved"
    for words in (("films", "info", address), ("train", "ae", "--film", address)):
        done = zoo(*words)
        assert done.code == 2 and "`zoo films add URL` downloads the film" in done.err
    (workspace / "list.m3u").write_text(address)
    assert zoo("films", "add", "list.m3u").code == 2
    (workspace / "films.toml").write_text(f'[a]\nfiles = "{address}"\n')
    assert zoo("films", "info", "a").code == 2
    (workspace / "films.toml").unlink()
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    done = zoo("films", "add", address)
    assert done.code == 2 and "ZOO_OFFLINE" in done.err
    assert site.asked == []


def test_a_file_address_is_a_path(site: Site, zoo: Zoo, workspace: Path) -> None:
    (workspace / "clip.mp4").rename(workspace / "two words.mp4")
    assert zoo("films", "add", (workspace / "two words.mp4").as_uri()).code == 0
    assert 'files = "two words.mp4"' in (workspace / "films.toml").read_text()
    assert zoo("films", "info", "two-words").code == 0 and site.asked == []
