"""Download inputs over http and https, with limits for size, total time and redirects.

Proxies and certificates are configured by environment variables (HTTPS_PROXY, SSL_CERT_FILE). This is the standard library's client
rather than httpx or requests: those have timeouts per read but no total deadline, and no interface to connect to the address that
the service's policy has checked (service/fetching.py), so their connection classes would have to be replaced as well.
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

from ocr_onnx.errors import InputDownloadError, InputError, shortened
from ocr_onnx.inputs.urls import is_url
from ocr_onnx.models.download import CHUNK, OFFLINE_VARIABLE, network_cure, offline
from ocr_onnx.options import InputOptions

REDIRECTS = frozenset({301, 302, 303, 307, 308})

UNESCAPED = "/%:@!$&'()*+,;=~?"
"""Characters of a URL that are not escaped as %XX, besides letters and digits."""

MINIMUM_TIMEOUT = 0.001
"""Seconds. A timeout of 0 would make a socket non-blocking."""


def fetch(url: str, options: InputOptions) -> bytes:
    """Download a URL and return its content. Raises InputDownloadError if that fails or the content exceeds a limit."""
    shown = shortened(url)
    if offline():
        raise InputDownloadError(
            f"{shown} is not downloaded because {OFFLINE_VARIABLE} is set: unset it, or give a file"
        )
    try:
        return fetch_with_redirects(url, options, _environment_opener)
    except InputError:
        raise
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, TimeoutError):
            raise InputDownloadError(
                f"{shown} took longer than {options.download_timeout:g} seconds: try again, or raise download_timeout"
            ) from error
        reason = shortened(str(error).strip())
        raise InputDownloadError(f"{shown} cannot be downloaded: {reason}; {network_cure(error)}") from error


def fetch_with_redirects(
    url: str,
    options: InputOptions,
    make_opener: Callable[[Deadline], urllib.request.OpenerDirector],
    deadline: Deadline | None = None,
) -> bytes:
    """Download a URL, following redirects; `make_opener` returns the opener for all requests.

    `deadline` replaces `options.download_timeout`; the caller can expire it early, which closes the connections. Raises
    InputDownloadError for an unusable response, TimeoutError, and the exceptions of the connection.
    """
    with deadline or Deadline(options.download_timeout) as active:
        opener = make_opener(active)
        current = url
        for _ in range(options.max_redirects + 1):
            parts = urlsplit(current)
            current = parts._replace(
                path=quote(parts.path, UNESCAPED), query=quote(parts.query, UNESCAPED), fragment=""
            ).geturl()
            request = urllib.request.Request(current, headers={"User-Agent": "ocr-onnx"})  # noqa: S310 checked by is_url
            with opener.open(request, timeout=active.remaining()) as response:
                target = response.headers.get("Location") if response.status in REDIRECTS else None
                if target is None:
                    return _body(url, response, options)
            current = _redirected(current, target)
    raise InputDownloadError(
        f"{shortened(url)} has more than {options.max_redirects} redirects: raise max_redirects, or give the final URL"
    )


def _environment_opener(deadline: Deadline) -> urllib.request.OpenerDirector:
    """Return an opener that uses the proxies configured in the environment."""
    opener = urllib.request.OpenerDirector()
    opener.add_handler(urllib.request.ProxyHandler())
    opener.add_handler(
        ConnectionHandler(partial(_Connection, deadline=deadline), partial(_TLSConnection, deadline=deadline))
    )
    return opener


def _redirected(url: str, target: str) -> str:
    """Return the absolute URL of a redirect. Raises InputDownloadError for other schemes, and from https to http."""
    found = urljoin(url, target)
    if not is_url(found) or (urlsplit(url).scheme == "https" and urlsplit(found).scheme != "https"):
        raise InputDownloadError(
            f"{shortened(url)} redirects to {shortened(found)}, which is not followed: only http and https are allowed, and never from https to http; "
            "download it yourself and give the file"
        )
    return found


def _body(url: str, response: http.client.HTTPResponse, options: InputOptions) -> bytes:
    """Read the body of a response. Raises InputDownloadError for an error status or a body above the limit.

    Raises http.client.IncompleteRead if the body is shorter than its Content-Length.
    """
    shown = shortened(url)
    if response.status != http.client.OK:
        raise InputDownloadError(f"{shown} returned {response.status} {shortened(response.reason)}: check the URL")
    if (coding := response.headers.get("Content-Encoding", "identity")).lower() != "identity":
        raise InputDownloadError(
            f"{shown} has the Content-Encoding {shortened(repr(coding))}, which was not requested: download it yourself and give the file"
        )
    length = response.headers.get("Content-Length")
    data = bytearray()
    while len(data) <= options.max_bytes and int(length or 0) <= options.max_bytes:
        block = response.read1(CHUNK)
        if not block:
            if length is not None and len(data) < int(length):
                raise http.client.IncompleteRead(b"", int(length) - len(data))
            return bytes(data)
        data += block
    raise InputDownloadError(f"{shown} is larger than {options.max_bytes} bytes: raise max_bytes, or give a file")


class Deadline:
    """A context manager that shuts down connections when the total time is over.

    A socket's own timeout restarts with each byte. The time starts on entering. `expire` may be called from any thread, at any time.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._end = seconds, math.inf
        self._is_expired = False
        self._actions: list[Callable[[], None]] = []
        self._timer = threading.Timer(seconds, self.expire)
        self._timer.daemon = True

    def remaining(self) -> float:
        """Return the remaining seconds. Raises TimeoutError if the time is over."""
        if self._is_over():
            raise TimeoutError
        return max(self._end - time.monotonic(), MINIMUM_TIMEOUT)

    def shut_down_on_expiry(self, connection: socket.socket) -> None:
        """Shut down this connection when the time is over."""
        self.on_expiry(partial(_shut_down, connection))

    def on_expiry(self, action: Callable[[], None]) -> None:
        """Call `action` in another thread when the time is over. It may be called twice, and must not block."""
        self._actions.append(action)
        if self._is_over():
            action()

    def expire(self) -> None:
        """End the time now: a thread that waits for one of the connections gets an error immediately."""
        self._is_expired = True
        for action in tuple(self._actions):
            action()

    def _is_over(self) -> bool:
        return self._is_expired or self._end <= time.monotonic()

    def __enter__(self) -> Self:
        self._end = time.monotonic() + self._seconds
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._timer.cancel()
        if not isinstance(error, InputError) and self._is_over():
            raise TimeoutError from error


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _Connection(http.client.HTTPConnection):
    """An HTTP connection that a Deadline shuts down."""

    def __init__(self, host: str, *, deadline: Deadline, **settings: Any) -> None:
        super().__init__(host, **settings)
        self._deadline = deadline

    def connect(self) -> None:
        super().connect()
        self._deadline.shut_down_on_expiry(self.sock)


class _TLSConnection(_Connection, http.client.HTTPSConnection):
    """An HTTPS connection that a Deadline shuts down."""


class ConnectionHandler(urllib.request.AbstractHTTPHandler):
    """A urllib handler for http and https with connection classes of the caller; each receives the host and a timeout."""

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        """Add the headers of a request over http."""
        return self.do_request_(request)

    def https_request(self, request: urllib.request.Request) -> urllib.request.Request:
        """Add the headers of a request over https."""
        return self.do_request_(request)

    def __init__(
        self,
        make_http: Callable[..., http.client.HTTPConnection],
        make_https: Callable[..., http.client.HTTPConnection],
    ) -> None:
        super().__init__()
        self._make_http, self._make_https = make_http, make_https

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        """Open a request over http."""
        return self.do_open(self._make_http, request)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        """Open a request over https."""
        return self.do_open(self._make_https, request)
