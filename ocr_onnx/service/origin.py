"""Refuse requests from pages of other sites, and requests with two lengths, before they are read."""

from __future__ import annotations

import re
from ipaddress import ip_address

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ocr_onnx.service import logs, responses
from ocr_onnx.service.access_log import log_entry
from ocr_onnx.service.request_errors import RequestError
from ocr_onnx.service.settings import Settings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that pages of any site may use, for example with a link."""

HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+))(?::\d+)?", re.IGNORECASE)
"""A Host header: an IPv6 address in brackets, a name or an IPv4 address; then an optional port."""

LOCAL = ("localhost", "*.localhost")
"""Names that browsers resolve to this machine without a DNS query."""

CROSS_SITE = (
    "pages of other sites may not send requests to this server: start it with --api-key-file and send a key; behind a "
    "proxy, pass on the Host header and use https"
)

UNKNOWN_HOST = (
    "the Host header has an unknown name: use the server's IP address, or start the server with --allow-host NAME or "
    "--api-key-file"
)

NO_KEYS_WARNING = (
    "no API keys (--no-keys): everyone who can reach port {port} of {host} can use this service; give --api-key-file to "
    "require a key"
)


class OriginMiddleware:
    """ASGI middleware that refuses requests from pages of other sites, unless API keys are required.

    A browser sends form requests for any page, even to a server that listens only on this machine (CSRF). A site can also
    resolve its own name to this server (DNS rebinding) and then read the responses; therefore Host must be an IP address,
    which no site controls, or an allowed name. With keys, Host is not checked, because such a page has no key.

    Starlette's TrustedHostMiddleware does not fit: it accepts only listed IP addresses, and no IPv6 addresses.
    """

    def __init__(self, app: ASGIApp, allowed: tuple[str, ...], *, keys: bool) -> None:
        self._app, self._allowed, self._keys = app, (*LOCAL, *map(str.lower, allowed)), keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it to the application."""
        refused = self._refused(scope["method"], Headers(scope=scope)) if scope["type"] == "http" else None
        if refused is None:
            await self._app(scope, receive, send)
        else:
            await responses.failure(log_entry(scope).log_id, refused)(scope, receive, send)

    def _refused(self, method: str, headers: Headers) -> RequestError | None:
        if (
            "content-length" in headers and "transfer-encoding" in headers
        ):  # Proxies may take the other one (RFC 9112, 6.3).
            return RequestError(
                400, "the request has both Content-Length and Transfer-Encoding: send only one of them", close=True
            )
        if self._keys:
            return None
        # Every browser sends Host; HTTP/1.0 clients, such as health checks of load balancers, may not.
        if "host" in headers and not self._is_known_host(headers["host"]):
            return RequestError(421, UNKNOWN_HOST)
        return None if method in SAFE_METHODS or _is_same_origin(headers) else RequestError(403, CROSS_SITE)

    def _is_known_host(self, host: str) -> bool:
        """Whether a Host header is an IP address or an allowed name."""
        found = HOST.fullmatch(host)
        if found is None:
            return False
        name = (found[1] or found[2]).lower().removesuffix(".")
        return _is_address(name) or any(_matches(name, allowed) for allowed in self._allowed)


def add_origin_check(app: FastAPI, settings: Settings, *, keys: bool) -> None:
    """Add OriginMiddleware; log a warning if other machines can use the service without a key."""
    if not keys and not settings.local:
        logs.logger.warning(NO_KEYS_WARNING.format(host=settings.host, port=settings.port))
    app.add_middleware(OriginMiddleware, allowed=settings.allow_host, keys=keys)


def _is_same_origin(headers: Headers) -> bool:
    """Whether a request comes from no browser, or from a page of this server.

    Browsers send Sec-Fetch-Site over https and to localhost. Otherwise Origin must equal Host.
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
