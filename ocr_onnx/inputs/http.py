"""Files from the web: by http and https alone, bounded in size, time and redirects.

Proxies and certificates are those of the environment (HTTPS_PROXY, SSL_CERT_FILE).
"""

from __future__ import annotations

import http.client
import math
import socket
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Self
from urllib.parse import quote, urljoin, urlsplit

from ocr_onnx.errors import InputDownloadError, InputError
from ocr_onnx.inputs.addresses import is_address
from ocr_onnx.models.download import CHUNK, OFFLINE_VARIABLE, offline
from ocr_onnx.options import InputOptions

REDIRECTS = frozenset({301, 302, 303, 307, 308})

SAFE = "/%:@!$&'()*+,;=~?"
"""What an address may hold besides letters and digits; the rest is written as %XX."""


MOMENT = 0.001
"""Seconds: a timeout of 0 would make a socket non-blocking."""


def fetch(url: str, options: InputOptions) -> bytes:
    """The bytes at an address. Raises InputDownloadError where they cannot be had, or are more than is allowed."""
    if offline():
        raise InputDownloadError(f"{url} is not fetched, as {OFFLINE_VARIABLE} is set: unset it, or give a file")
    try:
        return follow(url, options, _by_environment)
    except InputError:
        raise
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, TimeoutError):
            raise InputDownloadError(
                f"{url} took longer than {options.download_timeout:g} seconds: try again, or raise download_timeout"
            ) from error
        raise InputDownloadError(f"{url} cannot be fetched: {error}; check the address and HTTPS_PROXY") from error


def follow(
    url: str,
    options: InputOptions,
    make: Callable[[Deadline], urllib.request.OpenerDirector],
    deadline: Deadline | None = None,
) -> bytes:
    """Ask at an address, and where it points to; `make` gives what opens them all.

    `deadline` replaces the one of `options`, so that the caller can cut the connections before it passes. Raises InputDownloadError for an answer that is not taken, TimeoutError, and what the connection raises.
    """
    with deadline or Deadline(options.download_timeout) as entered:
        opener = make(entered)
        at = url
        for _ in range(options.max_redirects + 1):
            parts = urlsplit(at)
            at = parts._replace(path=quote(parts.path, SAFE), query=quote(parts.query, SAFE), fragment="").geturl()
            request = urllib.request.Request(at, headers={"User-Agent": "ocr-onnx"})  # noqa: S310 checked by is_address
            with opener.open(request, timeout=entered.left()) as response:
                target = response.headers.get("Location") if response.status in REDIRECTS else None
                if target is None:
                    return _body(url, response, options)
            at = _redirected(at, target)
    raise InputDownloadError(f"{url} points on more than {options.max_redirects} times: give the address it ends at")


def _by_environment(deadline: Deadline) -> urllib.request.OpenerDirector:
    """Opens addresses through the proxies of the environment."""
    opener = urllib.request.OpenerDirector()
    opener.add_handler(urllib.request.ProxyHandler())
    opener.add_handler(Connector(partial(_Watched, deadline=deadline), partial(_WatchedTLS, deadline=deadline)))
    return opener


def _redirected(url: str, target: str) -> str:
    """Where an address points to: never out of the web, and never from https back to http."""
    found = urljoin(url, target)
    if not is_address(found) or (urlsplit(url).scheme == "https" and urlsplit(found).scheme != "https"):
        raise InputDownloadError(
            f"{url} points to {found}, and only http and https, and never https to http, are followed: give a file"
        )
    return found


def _body(url: str, response: http.client.HTTPResponse, options: InputOptions) -> bytes:
    """What the server sends; raises InputDownloadError for an error's page, too much, or less than was announced."""
    if response.status != http.client.OK:
        raise InputDownloadError(f"{url} answers {response.status} {response.reason}: check the address")
    if (coding := response.headers.get("Content-Encoding", "identity")).lower() != "identity":
        raise InputDownloadError(f"{url} is sent packed as {coding!r}, which was not asked for: give a file")
    announced = response.headers.get("Content-Length")
    data = bytearray()
    while len(data) <= options.max_bytes and int(announced or 0) <= options.max_bytes:
        block = response.read1(CHUNK)
        if not block:
            if announced is not None and len(data) < int(announced):
                raise http.client.IncompleteRead(b"", int(announced) - len(data))
            return bytes(data)
        data += block
    raise InputDownloadError(f"{url} has more than {options.max_bytes} bytes: raise max_bytes, or give a file")


class Deadline:
    """Cuts connections when time is up, while it is entered: a timeout of theirs begins anew with each byte.

    The time begins when it is entered. Any thread may call `cut`, at any time.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._end = seconds, math.inf
        self._is_cut = False
        self._actions: list[Callable[[], None]] = []
        self._timer = threading.Timer(seconds, self.cut)
        self._timer.daemon = True

    def left(self) -> float:
        """The seconds left; raises TimeoutError where there are none."""
        if self._passed():
            raise TimeoutError
        return max(self._end - time.monotonic(), MOMENT)

    def watch(self, connection: socket.socket) -> None:
        """Cut this connection too."""
        self.when_cut(partial(_shut_down, connection))

    def when_cut(self, action: Callable[[], None]) -> None:
        """Call this when time is up, in another thread; it may be called twice, and must not wait."""
        self._actions.append(action)
        if self._passed():
            action()

    def cut(self) -> None:
        """Time is up now: who waits for one of the connections gets an error at once."""
        self._is_cut = True
        for action in tuple(self._actions):
            action()

    def _passed(self) -> bool:
        return self._is_cut or self._end <= time.monotonic()

    def __enter__(self) -> Self:
        self._end = time.monotonic() + self._seconds
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._timer.cancel()
        if not isinstance(error, InputError) and self._passed():
            raise TimeoutError from error


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _Watched(http.client.HTTPConnection):
    """Cut when time is up."""

    def __init__(self, host: str, *, deadline: Deadline, **settings: Any) -> None:
        super().__init__(host, **settings)
        self._deadline = deadline

    def connect(self) -> None:
        super().connect()
        self._deadline.watch(self.sock)


class _WatchedTLS(_Watched, http.client.HTTPSConnection):
    """The same, encrypted."""


class Connector(urllib.request.AbstractHTTPHandler):
    """Opens http and https by connections that the caller makes; each gets the host and a timeout."""

    http_request = https_request = urllib.request.AbstractHTTPHandler.do_request_

    def __init__(
        self, plain: Callable[..., http.client.HTTPConnection], encrypted: Callable[..., http.client.HTTPConnection]
    ) -> None:
        super().__init__()
        self._plain, self._encrypted = plain, encrypted

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        """Ask in the clear."""
        return self.do_open(self._plain, request)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        """Ask encrypted."""
        return self.do_open(self._encrypted, request)
