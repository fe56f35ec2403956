"""Show the progress of a batch: a line on a terminal, else a line of JSON every few seconds."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO, Any

from ocr_onnx.batch.journal import Counts, Journal

TERMINAL_SECONDS, LOG_SECONDS = 0.5, 10.0
"""Time between two lines."""


@dataclass(slots=True)
class Total:
    """The number of documents of a batch, counted in a thread; None until it is known."""

    documents: int | None = None

    def count(self, documents: Iterable[Any]) -> None:
        """Begin to count."""

        def run() -> None:
            self.documents = sum(1 for _ in documents)

        threading.Thread(target=run, daemon=True).start()


@dataclass(slots=True)
class Progress:
    """Writes the progress to a stream."""

    journal: Journal
    stream: IO[str]
    total: Total
    begin: Counts = field(init=False)
    started: float = field(init=False)
    _shown: float = 0.0

    def __post_init__(self) -> None:
        self.begin, self.started = self.journal.counts(), time.monotonic()

    def tick(self) -> None:
        """Write a line, if the last one is long enough ago."""
        now = time.monotonic()
        if now - self._shown > (TERMINAL_SECONDS if self.stream.isatty() else LOG_SECONDS):
            self._shown = now
            self.show()

    def finish(self) -> None:
        """Write the last line."""
        self.show()
        if self.stream.isatty():
            self.stream.write("\n")

    def show(self) -> None:
        """Write a line."""
        values = self.values()
        if not self.stream.isatty():
            self.stream.write(json.dumps(values) + "\n")
        else:
            left = values["seconds_left"]
            remaining = "" if left is None else f", {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"
            self.stream.write(
                f"\r\x1b[K{values['pages']} pages, {values['failed']} failed, {values['pages_per_second']:.2f} pages/s{remaining}"
            )
        self.stream.flush()

    def values(self) -> dict[str, Any]:
        """Return the numbers of pages and failures of all runs, and the rate of this one."""
        added, begin, seconds = self.journal.added, self.begin, time.monotonic() - self.started
        documents, total = begin.documents + added["documents"], self.total.documents
        left = None
        if total is not None and added["documents"] > 0:
            left = round(max(total - documents, 0) * seconds / added["documents"])
        return {
            "pages": begin.pages + added["pages"],
            "failed": begin.failed + added["failed"],
            "pages_per_second": round(added["tried"] / max(seconds, 1e-9), 3),
            "documents": documents,
            "documents_total": total,
            "seconds_left": left,
        }
