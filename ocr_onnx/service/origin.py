"""Requests that are refused before they are read: those that pages of other sites send, and those with two lengths."""

from __future__ import annotations

import re
from ipaddress import ip_address

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ocr_onnx.service import envelopes, logs
from ocr_onnx.service.access_log import entry_of
from ocr_onnx.service.refusals import Refused
from ocr_onnx.service.settings import Settings

READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that any page may use, as it does by a link."""

HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+))(?::\d+)?", re.IGNORECASE)
"""A Host header: an IPv6 address in brackets, or a name or an IPv4 address; and a port."""

LOCAL = ("localhost", "*.localhost")
"""Names that browsers resolve to this machine without asking a name server."""

FOREIGN = (
    "pages of other sites may not ask this server: start it with --api-key-file and send a key, or, behind a proxy, pass "
    "on the Host header and use https"
)

UNKNOWN_HOST = (
    "the Host header has a name that this server does not answer to: use its IP address, or start it with --allow-host NAME "
    "or with --api-key-file"
)

OPEN = (
    "no API keys (--no-keys): everyone who can reach port {port} of {host} can use this service; give --api-key-file to "
    "let in those with a key alone"
)


class Entrance:
    """ASGI middleware that refuses requests of other sites' pages, if no API keys are in use.

    A browser sends for any page what a form could send, also to a server that listens on this machine alone; without keys,
    nothing else tells such a request from the owner's. A page may also make its own name resolve to this server (DNS
    rebinding), and then reads the answers as well: so Host must have a name whose owner is known. An IP address has no
    owner who could change it. With keys, Host is not checked: such a page has no key.

    Starlette's TrustedHostMiddleware does not fit: it takes no IP addresses but listed ones, and no IPv6 address at all.
    """

    def __init__(self, app: ASGIApp, allowed: tuple[str, ...], *, keys: bool) -> None:
        self._app, self._allowed, self._keys = app, (*LOCAL, *map(str.lower, allowed)), keys

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
        if self._keys:
            return None
        # Every browser sends Host; clients of HTTP/1.0, such as a load balancer's health check, may not.
        if "host" in headers and not self._answers_to(headers["host"]):
            return Refused(421, UNKNOWN_HOST)
        return None if method in READING or _is_own(headers) else Refused(403, FOREIGN)

    def _answers_to(self, host: str) -> bool:
        """Whether a Host header has an IP address or an allowed name."""
        found = HOST.fullmatch(host)
        if found is None:
            return False
        name = (found[1] or found[2]).lower().removesuffix(".")
        return _is_address(name) or any(_matches(name, allowed) for allowed in self._allowed)


def guard(app: FastAPI, settings: Settings, *, keys: bool) -> None:
    """Put an Entrance around the application; log a warning if other machines can use it without a key."""
    if not keys and not settings.local:
        logs.logger.warning(OPEN.format(host=settings.host, port=settings.port))
    app.add_middleware(Entrance, allowed=settings.allow_host, keys=keys)


def _is_own(headers: Headers) -> bool:
    """Whether no browser sent it, or one for a page of this server.

    Browsers send Sec-Fetch-Site over https and to this machine by its own names. Elsewhere Origin must be Host.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is None or origin.lower().partition("://")[2] == headers.get("host", "").lower()


def _matches(name: str, allowed: str) -> bool:
    return name.endswith(allowed[1:]) if allowed.startswith("*.") else name == allowed


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
