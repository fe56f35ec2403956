"""A bounded number of threads that fetch addresses, within each request's deadline."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from ocr_onnx.inputs.http import Deadline
from ocr_onnx.service.fetching import fetch
from ocr_onnx.service.metrics import Metrics
from ocr_onnx.service.refusals import Refused
from ocr_onnx.service.scheduling import Wanted, Work
from ocr_onnx.service.settings import Settings

THREADS = 8
"""Addresses that one process fetches at a time."""

QUEUE = 16
"""Addresses that wait for a thread: twice the threads, so that the last one waits for two fetches at most."""

BUSY = "the server fetches too many addresses at the moment: try again, or send the file itself"


class Fetchers:
    """Fetches addresses in threads; belongs to one event loop."""

    def __init__(self, settings: Settings, metrics: Metrics, work: Work) -> None:
        self._settings, self._metrics, self._work = settings, metrics, work
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="ocr-onnx-fetch")
        self._room = threading.Semaphore(THREADS + QUEUE)

    async def fetch(self, url: str, wanted: Wanted) -> bytes:
        """The bytes at an address. Where the request's deadline passes or its client leaves, the connection is closed.

        Raises Refused: 503 where all threads are busy and the queue is full, or stayed so until the deadline; 504 where the
        fetch was not done by then. Raises what `fetching.fetch` raises, for the transfer timeout too.
        """
        if not self._room.acquire(blocking=False):
            raise self._busy()
        deadline = Deadline(self._settings.transfer_timeout)
        future = self._threads.submit(fetch, url, self._settings.fetch_policy, deadline=deadline)
        future.add_done_callback(lambda _: self._room.release())
        try:
            async with asyncio.timeout(max(wanted.end - time.monotonic(), 0)):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            if future.cancelled():
                raise self._busy() from None
            seconds = self._settings.deadline
            raise Refused(
                504, f"the address was not fetched within {seconds:g} seconds: send the file itself"
            ) from None
        finally:
            deadline.expire()

    def close(self) -> None:
        """End the threads once their fetches are done."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _busy(self) -> Refused:
        self._metrics.refused.labels("fetch").inc()
        return Refused(503, BUSY, retry_after=self._work.retry_after())
