"""A stand-in of the Hugging Face hub on this machine: its addresses, its listings, its files."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

LARGE = 100_000
"""Bytes from which a file lies in large file storage, which states its SHA-256."""


@dataclass
class Repository:
    """What the hub has of one model: files by name, and what it says of them."""

    name: str = "me/flash"
    commit: str = "5e1f" * 10
    files: dict[str, bytes] = field(default_factory=dict)
    stated: dict[str, int] = field(default_factory=dict)
    """Sizes that are stated otherwise than they are."""
    asked: list[str] = field(default_factory=list)
    """The files that were asked for."""

    def listing(self) -> dict[str, Any]:
        return {
            "_id": "1",
            "id": self.name,
            "modelId": self.name,
            "sha": self.commit,
            "private": False,
            "tags": [],
            "downloads": 0,
            "siblings": [self._sibling(name, content) for name, content in self.files.items()],
        }

    def _sibling(self, name: str, content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        size = self.stated.get(name, len(content))
        lfs = {"sha256": digest, "size": size, "pointerSize": 130}
        large = {"lfs": lfs} if len(content) > LARGE else {}
        return {"rfilename": name, "size": size, "blobId": digest[:40], **large}


class _Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, repository: Repository, *words: Any) -> None:
        self.repository = repository
        super().__init__(*words)

    def do_GET(self) -> None:
        path, repository = unquote(urlsplit(self.path).path), self.repository
        if path.startswith(f"/api/models/{repository.name}"):
            self._answer(json.dumps(repository.listing()).encode(), "application/json")
            return
        before, _, name = path.partition("/resolve/")[2].partition("/")
        if path.startswith(f"/{repository.name}/") and before and name in repository.files:
            repository.asked.append(name)
            self._answer(repository.files[name], "application/octet-stream")
            return
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815

    def _answer(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", self.repository.commit)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *words: Any) -> None:
        return


@contextmanager
def serving(repository: Repository) -> Iterator[str]:
    """The address of a hub that has this repository and no other."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Handler, repository)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def as_the_hub(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> Iterator[Repository]:
    """Serve a repository to the hub's own client, which keeps what it fetches in `cache`.

    Skips the test where the extra `hub` is not installed.
    """
    client = pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")
    monkeypatch.delenv("ZOO_OFFLINE", raising=False)
    with serving(repository) as address:

        class Client(client.HfApi):  # type: ignore[misc, name-defined]
            hf_hub_download = functools.partialmethod(client.HfApi.hf_hub_download, cache_dir=cache)

        monkeypatch.setattr(client, "HfApi", functools.partial(Client, endpoint=address))
        yield repository
