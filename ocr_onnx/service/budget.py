"""The memory budget: pages reserve their estimated memory before they are read, and wait if too little is free."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from ocr_onnx.errors import NotEnoughMemoryError
from ocr_onnx.runtime import memory
from ocr_onnx.service.scheduling import CancelToken

SHARE = 0.8
"""Fraction of the memory left at startup that pages may use; the rest is for bodies, responses and decoding."""

POLL_SECONDS = 0.5
"""Interval at which a waiting page checks whether its request was canceled."""


class Budget:
    """The memory budget of one process. Thread-safe."""

    def __init__(self, total: int | None) -> None:
        self.total = total
        """Bytes; None: no limit."""
        self._free = total or 0
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @property
    def used(self) -> int:
        """Reserved bytes."""
        return (self.total or 0) - self._free

    @contextmanager
    def reserved(self, needed: int, token: CancelToken) -> Iterator[None]:
        """Reserve `needed` bytes for the block; waits, in order of arrival, until enough is free.

        Raises NotEnoughMemoryError if `needed` exceeds the whole budget, and ClientGoneError if the request is canceled.
        """
        if self.total is None:
            yield
            return
        if needed > self.total:
            raise NotEnoughMemoryError(
                f"the page needs about {needed // memory.MEGABYTE} MB, and the limit is {self.total // memory.MEGABYTE} MB: "
                "reduce the page, or raise max_memory"
            )
        self._take(needed, token)
        try:
            yield
        finally:
            with self._changed:
                self._free += needed
                self._changed.notify_all()

    def _take(self, needed: int, token: CancelToken) -> None:
        ticket = object()
        with self._changed, token.waiting_for_memory():
            self._waiting.append(ticket)
            try:
                # In order of arrival: otherwise small pages could keep a large one waiting forever.
                while self._waiting[0] is not ticket or needed > self._free:
                    token.check()
                    self._changed.wait(POLL_SECONDS)
                self._free -= needed
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()


def default_budget(workers: int) -> int | None:
    """The default budget of one of `workers` processes, in bytes: SHARE of the memory that its limit or the machine leaves.

    None if neither is known.
    """
    known = [room for room in (memory.remaining(), memory.available()) if room is not None]
    return int(min(known) * SHARE) // workers if known else None
