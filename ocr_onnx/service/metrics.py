"""What Prometheus is told."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""The bounds of the histograms."""

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""Where several processes keep their numbers, so that each can answer for all; prometheus_client's own variable."""


class Metrics:
    """The numbers of one process; with several processes, `text` gives those of all."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests: Counter = Counter(
            "ocr_onnx_requests", "Requests answered, by route and status.", ["route", "status"], registry=registry
        )
        self.seconds: Histogram = Histogram(
            "ocr_onnx_request_seconds",
            "From a request's header to its answer.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self.refused: Counter = Counter(
            "ocr_onnx_refused",
            "Refused for load: queue (full), wait (no thread in time), memory (none in time), client (too many), "
            "bodies (too much waits), fetch (too many addresses).",
            ["reason"],
            registry=registry,
        )
        self.pages: Counter = Counter("ocr_onnx_pages", "Pages read.", registry=registry)
        self.page_seconds: Histogram = Histogram(
            "ocr_onnx_page_seconds", "Reading a page, without decoding it.", buckets=SECONDS, registry=registry
        )
        self.admitted: Gauge = Gauge(
            "ocr_onnx_requests_admitted",
            "Requests that wait or are worked on.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.waiting_bytes: Gauge = Gauge(
            "ocr_onnx_waiting_bytes",
            "Bytes of bodies, files and answers in memory.",
            registry=registry,
            multiprocess_mode="livesum",
        )

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        if not os.path.isdir(os.environ.get(DIRECTORY, "")):  # noqa: PTH112 Path("") is the current folder.
            return generate_latest(self._registry)
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
        return generate_latest(everyone)
