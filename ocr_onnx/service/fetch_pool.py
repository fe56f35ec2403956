"""A pool of threads that download URLs within each request's deadline."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from ocr_onnx.inputs.http import Deadline
from ocr_onnx.service.fetching import fetch
from ocr_onnx.service.metrics import Metrics
from ocr_onnx.service.request_errors import RequestError
from ocr_onnx.service.scheduling import CancelToken, Scheduler
from ocr_onnx.service.settings import Settings

THREADS = 8
"""URLs that one process downloads at a time."""

QUEUE = 16
"""URLs that wait for a thread: twice the threads, so that the last one waits for two downloads at most."""

BUSY = "the server is downloading too many URLs: try again, or send the file itself"


class FetchPool:
    """Downloads URLs in threads. Belongs to one event loop."""

    def __init__(self, settings: Settings, metrics: Metrics, scheduler: Scheduler) -> None:
        self._settings, self._metrics, self._scheduler = settings, metrics, scheduler
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="ocr-onnx-fetch")
        self._room = threading.Semaphore(THREADS + QUEUE)

    async def fetch(self, url: str, token: CancelToken) -> bytes:
        """Download a URL. At the deadline of the request, or if its client disconnects, the connection is closed.

        Raises RequestError: 503 if the queue is full or no thread became free before the deadline; 504 if the download was
        not complete by then. Raises what `fetching.fetch` raises, also for the transfer timeout.
        """
        if not self._room.acquire(blocking=False):
            raise self._busy()
        deadline = Deadline(self._settings.transfer_timeout)
        future = self._threads.submit(fetch, url, self._settings.fetch_policy, deadline=deadline)
        future.add_done_callback(lambda _: self._room.release())
        try:
            async with asyncio.timeout(token.remaining()):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            if future.cancelled():
                raise self._busy() from None
            seconds = self._settings.deadline
            raise RequestError(
                504, f"the URL was not downloaded within {seconds:g} seconds: send the file itself"
            ) from None
        finally:
            deadline.expire()

    def close(self) -> None:
        """Shut down the threads after their current downloads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _busy(self) -> RequestError:
        self._metrics.refused.labels("fetch").inc()
        return RequestError(503, BUSY, retry_after=self._scheduler.retry_after())
