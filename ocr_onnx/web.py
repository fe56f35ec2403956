"""Files from the web: by http and https alone, bounded in size, time and redirects.

Proxies and certificates are those of the environment (HTTPS_PROXY, SSL_CERT_FILE).
"""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from ocr_onnx.download import CHUNK, OFFLINE_VARIABLE, offline
from ocr_onnx.errors import InputDownloadError
from ocr_onnx.inputs import InputOptions

ADDRESS = re.compile(r"https?://", re.IGNORECASE)

REDIRECTS = frozenset({301, 302, 303, 307, 308})

SAFE = "/%:@!$&'()*+,;=~?"
"""What an address may hold besides letters and digits; the rest is written as %XX."""


def is_address(name: str) -> bool:
    """Whether a name is fetched, and no path."""
    return ADDRESS.match(name) is not None


def fetch(url: str, options: InputOptions) -> bytes:
    """The bytes at an address. Raises InputDownloadError where they cannot be had, or are more than is allowed."""
    if offline():
        raise InputDownloadError(f"{url} is not fetched, as {OFFLINE_VARIABLE} is set: unset it, or give a file")
    end = time.monotonic() + options.download_timeout
    try:
        with _cut_off(options.download_timeout) as sockets:
            return _follow(url, sockets, options)
    except InputDownloadError:
        raise
    except (OSError, ValueError, http.client.HTTPException) as error:
        if time.monotonic() >= end or isinstance(error, TimeoutError):
            raise InputDownloadError(
                f"{url} took longer than {options.download_timeout:g} seconds: try again, or raise download_timeout"
            ) from error
        raise InputDownloadError(f"{url} cannot be fetched: {error}; check the address and HTTPS_PROXY") from error


def _follow(url: str, sockets: list[socket.socket], options: InputOptions) -> bytes:
    """Ask at an address, and where it points to."""
    opener = urllib.request.OpenerDirector()
    opener.add_handler(urllib.request.ProxyHandler())
    opener.add_handler(_Handler(sockets))
    at = url
    for _ in range(options.max_redirects + 1):
        parts = urlsplit(at)
        at = parts._replace(path=quote(parts.path, SAFE), query=quote(parts.query, SAFE), fragment="").geturl()
        request = urllib.request.Request(at, headers={"User-Agent": "ocr-onnx"})  # noqa: S310 checked by is_address
        with opener.open(request, timeout=options.download_timeout) as response:
            target = response.headers.get("Location") if response.status in REDIRECTS else None
            if target is None:
                return _body(url, response, options)
        at = _redirected(at, target)
    raise InputDownloadError(f"{url} points on more than {options.max_redirects} times: give the address it ends at")


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


@contextmanager
def _cut_off(seconds: float) -> Iterator[list[socket.socket]]:
    """Cut the connections noted in the list when time is up: a timeout of theirs begins anew with each byte."""
    sockets: list[socket.socket] = []
    late = threading.Event()

    def cut() -> None:
        late.set()
        for each in sockets:
            with suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield sockets
        if late.is_set():
            raise TimeoutError
    finally:
        timer.cancel()


class _Watched(http.client.HTTPConnection):
    """Notes its socket."""

    def __init__(self, host: str, *, sockets: list[socket.socket], **settings: Any) -> None:
        super().__init__(host, **settings)
        self._sockets = sockets

    def connect(self) -> None:
        super().connect()
        self._sockets.append(self.sock)


class _WatchedTLS(_Watched, http.client.HTTPSConnection):
    """The same, encrypted."""


class _Handler(urllib.request.AbstractHTTPHandler):
    """Opens both kinds."""

    http_request = https_request = urllib.request.AbstractHTTPHandler.do_request_

    def __init__(self, sockets: list[socket.socket]) -> None:
        super().__init__()
        self._sockets = sockets

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_Watched, sockets=self._sockets), request)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_WatchedTLS, sockets=self._sockets), request)
