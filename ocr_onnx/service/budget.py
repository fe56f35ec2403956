"""The memory that pages may take while they are read: each is estimated before it is read, and waits for its share."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from ocr_onnx.errors import NotEnoughMemoryError
from ocr_onnx.runtime import memory
from ocr_onnx.service.scheduling import Wanted

SHARE = 0.8
"""Of the memory left at the start, for pages; the rest is for bodies, answers and decoding."""

POLL_SECONDS = 0.5
"""How often a page that waits looks whether its answer is still wanted."""


class Budget:
    """Memory for the pages that one process reads at a time. Called from many threads."""

    def __init__(self, total: int | None) -> None:
        self.total = total
        """Bytes; None: no limit."""
        self._free = total or 0
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @property
    def used(self) -> int:
        """Bytes that are reserved."""
        return (self.total or 0) - self._free

    @contextmanager
    def reserved(self, needed: int, wanted: Wanted) -> Iterator[None]:
        """Reserve `needed` bytes, first come, first served; waits until other pages are done.

        Raises NotEnoughMemoryError where it is more than the whole budget, and what `wanted.check` raises.
        """
        if self.total is None:
            yield
            return
        if needed > self.total:
            raise NotEnoughMemoryError(
                f"the page would take about {needed // memory.MEGABYTE} MB, and {self.total // memory.MEGABYTE} MB is "
                "the limit: reduce it, or raise max_memory"
            )
        self._take(needed, wanted)
        try:
            yield
        finally:
            with self._changed:
                self._free += needed
                self._changed.notify_all()

    def _take(self, needed: int, wanted: Wanted) -> None:
        ticket = object()
        with self._changed, wanted.waiting_for_memory():
            self._waiting.append(ticket)
            try:
                # In turn: small pages that always fit would keep a large one waiting for good.
                while self._waiting[0] is not ticket or needed > self._free:
                    wanted.check()
                    self._changed.wait(POLL_SECONDS)
                self._free -= needed
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()


def default_budget(workers: int) -> int | None:
    """The budget of one of `workers` processes, in bytes: SHARE of what the limit of memory, or the machine, leaves now.

    None where neither is known.
    """
    known = [room for room in (memory.remaining(), memory.available()) if room is not None]
    return int(min(known) * SHARE) // workers if known else None
