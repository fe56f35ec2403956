"""Metrics for Prometheus."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""Histogram buckets."""

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable of prometheus_client for the folder in which several processes share their metrics."""


class Metrics:
    """The metrics of one process; with several processes, `text` returns those of all."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests: Counter = Counter(
            "ocr_onnx_requests", "Requests answered, by route and status.", ["route", "status"], registry=registry
        )
        self.seconds: Histogram = Histogram(
            "ocr_onnx_request_seconds",
            "Time from a request's header to the end of its response.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self.refused: Counter = Counter(
            "ocr_onnx_refused",
            "Requests refused because of load: queue (full), wait (no thread in time), memory (not enough in time), "
            "client (too many requests), bodies (too many bytes), fetch (too many URLs).",
            ["reason"],
            registry=registry,
        )
        self.pages: Counter = Counter("ocr_onnx_pages", "Pages read.", registry=registry)
        self.page_seconds: Histogram = Histogram(
            "ocr_onnx_page_seconds", "Time to read a page, without decoding.", buckets=SECONDS, registry=registry
        )
        self.admitted: Gauge = Gauge(
            "ocr_onnx_requests_admitted",
            "Waiting and running requests.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.waiting_bytes: Gauge = Gauge(
            "ocr_onnx_waiting_bytes",
            "Bytes of bodies, files and responses in memory.",
            registry=registry,
            multiprocess_mode="livesum",
        )

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        if not os.path.isdir(os.environ.get(DIRECTORY, "")):  # noqa: PTH112 Path("") is the current folder.
            return generate_latest(self._registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared)
