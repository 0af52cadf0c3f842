"""Network access: whether it is allowed, and reading a URL with limits on waiting.

It is forbidden if `ZOO_OFFLINE` is set to anything but 0.
"""

from __future__ import annotations

import errno
import http.client
import os
import queue
import re
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from email.message import Message

from zoo.base.errors import BadInput

OFFLINE = "ZOO_OFFLINE"
_kept_off: ContextVar[str | None] = ContextVar("kept off the network", default=None)


def why_offline() -> str | None:
    """Why the network may not be used, in a few words; None if it may."""
    if os.environ.get(OFFLINE, "") not in ("", "0"):
        return f"{OFFLINE} forbids downloads"
    return _kept_off.get()


def is_offline() -> bool:
    """Whether the network may not be used."""
    return why_offline() is not None


@contextmanager
def without_network(why: str) -> Iterator[None]:
    """Forbid network access in this thread while the block runs; messages contain `why`."""
    token = _kept_off.set(why)
    try:
        yield
    finally:
        _kept_off.reset(token)


def refuse_offline(what: str) -> None:
    """Raise BadInput if the network may not be used; `what` names what needs it."""
    if is_offline():
        raise BadInput(f"{what} needs the network, which {OFFLINE} forbids; unset it and try again")


STALL_SECONDS = 10.0
"""Longest time to wait for a connection or a byte."""
RATE_SECONDS, SLOWEST = 30.0, 20_000
"""Period in seconds, and the lowest average rate allowed over it in bytes per second."""
NETWORK_ERRORS = (OSError, ValueError, http.client.HTTPException)
_QUEUED_BLOCKS = 64


def read_blocks(
    url: str,
    longest: float | None = None,
    on_answer: Callable[[Message], None] | None = None,
) -> Iterator[bytes]:
    """Read `url` in blocks; raises one of NETWORK_ERRORS, TimeoutError if it stalls or is too slow.

    `longest` limits the total time in seconds; `on_answer` gets the headers before any block.

    urllib's timeout applies to each address of a host and to each read separately, and not to name
    resolution; with lost packets, or bytes that trickle in, this adds up to hours. Therefore a
    thread reads, and this function waits for it.
    """
    pieces: queue.Queue[bytes | Message | Exception] = queue.Queue(_QUEUED_BLOCKS)
    abandoned = threading.Event()
    threading.Thread(target=_read, args=(url, pieces, abandoned), daemon=True).start()
    began = mark = time.monotonic()
    came = 0
    try:
        while True:
            try:
                piece = pieces.get(timeout=STALL_SECONDS)
            except queue.Empty:
                raise TimeoutError(f"no answer in {STALL_SECONDS:.0f} s") from None
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, Message):
                if on_answer:
                    on_answer(piece)
                continue
            if not piece:
                return
            yield piece
            came += len(piece)
            now = time.monotonic()
            if longest is not None and now - began > longest:
                raise TimeoutError(f"not finished within {longest:.0f} s")
            if now - mark > RATE_SECONDS:
                if came < SLOWEST * (now - mark):
                    raise TimeoutError(f"slower than {SLOWEST / 1000:.0f} kB per second")
                mark, came = now, 0
    finally:
        abandoned.set()


_NOT_REACHED = frozenset(
    {
        *(errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN),
        *(errno.ECONNRESET, errno.ECONNABORTED, errno.ETIMEDOUT),
    }
)
_CLIENTS = re.compile(r"(httpx|httpcore|requests|urllib3|aiohttp|botocore)\d*")
"""HTTP clients; which one the Hugging Face hub uses depends on its version."""
_CLIENT_ERRORS = re.compile(
    "TransportError|Timeout|ConnectionError|ConnectionTimeoutError|ClientConnectionError"
    "|ServerTimeoutError|MaxRetryError|NewConnectionError|ConnectTimeoutError|ReadTimeoutError"
    "|NetworkError|TimeoutException|ConnectError|ConnectTimeout"
)


def unreachable(error: BaseException, address: str = "") -> str | None:
    """A line saying that a host cannot be reached, if the error means this; None otherwise.

    The error may come from any of the HTTP clients, or from a wrapper with such an error as cause.
    If the error names no host, the line names the host of the URL `address`.
    """
    chain = _chain(error, lambda each: each.__cause__)
    found = next((each for each in chain if _is_of_network(each)), None)
    if found is None:
        return None
    below = _chain(found, lambda each: each.__cause__ or each.__context__ or _reason_of(each))
    host = next(filter(None, map(_host_of, (*chain, *below))), "") or _host(address)
    # The system's own message is the innermost one, below those of the clients.
    said = [each.strerror for each in below if isinstance(each, OSError) and each.strerror]
    why = str(said[-1]) if said else str(found) or type(found).__name__
    return f"{host or 'the host'} cannot be reached: {' '.join(why.split())[:200]}"


def _chain(
    error: BaseException, after: Callable[[BaseException], BaseException | None]
) -> list[BaseException]:
    chain = [error]
    while (below := after(chain[-1])) is not None and below not in chain:
        chain.append(below)
    return chain


def _is_of_network(error: BaseException) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return False  # the host answered
    if isinstance(error, urllib.error.URLError):
        return isinstance(error.reason, OSError)
    if isinstance(error, socket.gaierror):
        return True
    if isinstance(error, OSError) and error.errno in _NOT_REACHED:
        return True
    return any(
        _CLIENTS.fullmatch(kind.__module__.partition(".")[0])
        and _CLIENT_ERRORS.fullmatch(kind.__name__)
        for kind in type(error).__mro__
    )


def _reason_of(error: BaseException) -> BaseException | None:
    """The error that another keeps in its attribute `reason`, as some clients do."""
    reason = getattr(error, "reason", None)
    return reason if isinstance(reason, BaseException) else None


def _host_of(error: BaseException) -> str:
    """The host that a client's error refers to; empty if the error does not say."""
    try:
        request = getattr(error, "request", None)
    except RuntimeError:  # raised by httpx if the error has no request
        return ""
    return _host(str(getattr(request, "url", None) or ""))


def _host(address: str) -> str:
    try:
        return urllib.parse.urlsplit(address).hostname or ""
    except ValueError:
        return ""


def short_reason(error: Exception, address: str = "") -> str:
    """A short reason for an error; for a network error it names the host of `address`."""
    if address and (line := unreachable(error, address)):
        return line
    reason = getattr(error, "reason", error)
    text = getattr(reason, "strerror", None) or str(reason) or type(error).__name__
    return " ".join(str(text).split())


def as_request(url: str) -> str:
    """Encode a URL in ASCII, as requests need it: spaces and letters of other scripts are escaped.

    Raises ValueError if it is not a URL.
    """
    parts = urllib.parse.urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name = parts.hostname or ""
    if not name.isascii():
        host = host.lower().replace(name, name.encode("idna").decode("ascii"))
    kept = "%/:=&?~#+!$,;'@()*[]"
    path, query, fragment = (
        urllib.parse.quote(each, kept, "utf-8", "surrogateescape") for each in parts[2:]
    )
    return parts._replace(
        netloc=user + at + host, path=path, query=query, fragment=fragment
    ).geturl()


def _read(
    url: str, pieces: queue.Queue[bytes | Message | Exception], abandoned: threading.Event
) -> None:
    """Put the headers and blocks of `url` into a queue, then an empty block or the error."""

    def put(piece: bytes | Message | Exception) -> None:
        while not abandoned.is_set():
            with suppress(queue.Full):
                pieces.put(piece, timeout=0.5)
                return

    try:
        with urllib.request.urlopen(as_request(url), timeout=STALL_SECONDS) as answer:
            put(answer.headers)
            while not abandoned.is_set() and (piece := answer.read1(1 << 16)):
                put(piece)
            missing = getattr(answer, "length", None)
            if missing:
                raise http.client.IncompleteRead(b"", missing)
        put(b"")
    except NETWORK_ERRORS as error:
        put(error)
