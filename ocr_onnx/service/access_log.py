"""The access log: one log line and the Prometheus metrics of each request."""

from __future__ import annotations

import time
import uuid
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ocr_onnx.service import logs
from ocr_onnx.service.metrics import Metrics

SCOPE_KEY = "ocr_onnx.access_log_entry"

CLIENT_CLOSED_REQUEST = 499
"""Status in the log if the client disconnected before the response, as nginx logs it."""

DEFAULT_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""Headers of every response that does not set them itself."""

UNLOGGED_ROUTES = frozenset({"/health", "/ready", "/metrics"})
"""Probes and scrapers request them every few seconds."""


@dataclass(slots=True)
class AccessLogEntry:
    """The log fields of one request; routes fill them in."""

    log_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: int = 500
    received: int = 0
    """Size of the body in bytes."""
    pages: int = 0
    waited: float | None = None
    """Seconds that the request waited for a free thread and for memory; None if it was refused before."""


def log_entry(scope: MutableMapping[str, Any]) -> AccessLogEntry:
    """The access log entry of a request."""
    entry: AccessLogEntry = scope[SCOPE_KEY]
    return entry


class AccessLogMiddleware:
    """ASGI middleware that logs and counts requests, and adds DEFAULT_HEADERS to responses."""

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: frozenset[str]) -> None:
        self._app, self._metrics, self._routes = app, metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        entry = scope[SCOPE_KEY] = AccessLogEntry()
        begin = time.monotonic()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                present = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(pair for pair in DEFAULT_HEADERS if pair[0] not in present),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            self._log(scope, entry, time.monotonic() - begin)

    def _log(self, scope: Scope, entry: AccessLogEntry, seconds: float) -> None:
        # Unknown paths are chosen by clients: logged as they are, they would leak text and create unlimited metric labels.
        route = scope["path"] if scope["path"] in self._routes else "other"
        self._metrics.requests.labels(route, str(entry.status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if route not in UNLOGGED_ROUTES:
            logs.event(
                "request",
                logId=entry.log_id,
                route=route,
                status=entry.status,
                seconds=round(seconds, 4),
                waited=None if entry.waited is None else round(entry.waited, 4),
                bytes=entry.received,
                pages=entry.pages,
            )
