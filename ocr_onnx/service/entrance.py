"""What is turned away before it is looked at: requests of other sites' pages, and those that end in two places."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ocr_onnx.service import envelopes, logs
from ocr_onnx.service.journal import entry_of
from ocr_onnx.service.refusals import Refused
from ocr_onnx.service.settings import Settings

READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that any page may use, as it does by a link."""

FOREIGN = (
    "pages of other sites may not ask this server: start it with --api-key-file and send a key, or, behind a proxy, pass "
    "on the Host header and use https"
)

OPEN = (
    "no API keys (--no-keys): everyone who can reach port {port} of {host} can use this service; give --api-key-file to "
    "let in those with a key alone"
)


class Entrance:
    """A layer around the application.

    A browser sends for any page what a form could send, also to a server that listens on this machine alone; where no
    keys are asked for, nothing else tells such a request from the owner's.
    """

    def __init__(self, app: ASGIApp, host: str, *, keys: bool) -> None:
        self._app, self._local, self._keys = app, _is_loopback(host), keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it in."""
        refused = self._refused(scope["method"], Headers(scope=scope)) if scope["type"] == "http" else None
        if refused is None:
            await self._app(scope, receive, send)
        else:
            await envelopes.refusal(entry_of(scope).log_id, refused)(scope, receive, send)

    def _refused(self, method: str, headers: Headers) -> Refused | None:
        if (
            "content-length" in headers and "transfer-encoding" in headers
        ):  # Proxies may take the other one (RFC 9112, 6.3).
            return Refused(400, "a request has Content-Length or Transfer-Encoding: send one of them", close=True)
        if method in READING or self._keys or self._is_own(headers):
            return None
        return Refused(403, FOREIGN)

    def _is_own(self, headers: Headers) -> bool:
        """Whether no browser sent it, or one for a page of this server.

        Browsers send Sec-Fetch-Site over https and to this machine by its own names. Elsewhere Origin must be what was
        asked, and a name for this machine, as anybody's name may be made to lead here (DNS rebinding).
        """
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site in {"same-origin", "none"}
        origin = headers.get("origin")
        if origin is None:
            return True
        same = origin.lower().partition("://")[2] == headers.get("host", "").lower()
        return same and (not self._local or _names_this_machine(origin))


def guard(app: FastAPI, settings: Settings, *, keys: bool) -> None:
    """Put an Entrance around the application; log a warning if other machines can use it without a key."""
    if not keys and not settings.local:
        logs.logger.warning(OPEN.format(host=settings.host, port=settings.port))
    app.add_middleware(Entrance, host=settings.host, keys=keys)


def _names_this_machine(origin: str) -> bool:
    """Whether an origin has an address, or a name that always leads here."""
    try:
        name = urlsplit(origin).hostname or ""
    except ValueError:
        return False
    return name == "localhost" or name.endswith(".localhost") or _address(name)


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_address(host) and ip_address(host).is_loopback)


def _address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
