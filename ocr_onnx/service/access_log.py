"""What is noted of each request: a line in the log, and the numbers for Prometheus."""

from __future__ import annotations

import time
import uuid
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ocr_onnx.service import logs
from ocr_onnx.service.metrics import Metrics

ENTRY = "ocr_onnx.entry"

CLIENT_GONE = 499
"""What the log says where nobody waited for the answer."""

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""What answers carry that do not say otherwise."""

QUIET = frozenset({"/health", "/ready", "/metrics"})
"""Asked every few seconds: these are not logged."""


@dataclass(slots=True)
class Entry:
    """One request, as it goes on."""

    log_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: int = 500
    received: int = 0
    """Bytes of its body."""
    pages: int = 0
    waited: float | None = None
    """Seconds from its body to the first of its pages."""


def entry_of(scope: MutableMapping[str, Any]) -> Entry:
    """The entry of a request."""
    entry: Entry = scope[ENTRY]
    return entry


class Journal:
    """A layer around the application."""

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: frozenset[str]) -> None:
        self._app, self._metrics, self._routes = app, metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and note it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        entry = scope[ENTRY] = Entry()
        begin = time.monotonic()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                present = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in HEADERS if pair[0] not in present)]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            self._note(scope, entry, time.monotonic() - begin)

    def _note(self, scope: Scope, entry: Entry, seconds: float) -> None:
        # A path that is no route is somebody's text, and there are endlessly many.
        route = scope["path"] if scope["path"] in self._routes else "other"
        self._metrics.requests.labels(route, str(entry.status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if route not in QUIET:
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
