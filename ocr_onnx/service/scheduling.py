"""Schedule requests: a bounded queue in front of a few worker threads, and a deadline for each request."""

from __future__ import annotations

import asyncio
import math
import threading
import time
import traceback
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from typing import TypeVar

from ocr_onnx.service.metrics import Metrics
from ocr_onnx.service.request_errors import ClientGoneError, RequestError
from ocr_onnx.service.settings import Settings

Item = TypeVar("Item")

MAX_UNSENT = 2
"""Results of one request that may wait to be sent before its next page is started."""

MAX_RETRY_AFTER = 60
"""Seconds; the largest Retry-After."""

DRAINING = "the server is shutting down: try again at another instance"

END = object()


class CancelToken:
    """The deadline of a request, and whether it was canceled. Thread-safe."""

    def __init__(self, seconds: float) -> None:
        self.deadline: float = time.monotonic() + seconds
        self.waits_for_memory: bool = False
        """Whether its page waits for the memory budget."""
        self.waited: float = 0.0
        """Seconds that the request waited for a free thread and for memory."""
        self._canceled = threading.Event()

    def remaining(self) -> float:
        """Seconds until the deadline; 0 after it."""
        return max(self.deadline - time.monotonic(), 0)

    def cancel(self) -> None:
        """Cancel the request, because its response is complete or its client disconnected."""
        self._canceled.set()

    def check(self) -> None:
        """Raise ClientGoneError if the request was canceled or its deadline has passed."""
        if self._canceled.is_set() or time.monotonic() > self.deadline:
            raise ClientGoneError

    @contextmanager
    def waiting_for_memory(self) -> Iterator[None]:
        """Set `waits_for_memory` during the block; it stays set if the block raises."""
        self.waits_for_memory = True
        with self.waiting():
            yield
        self.waits_for_memory = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Add the time of the block to `waited`."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.waited += time.monotonic() - begin


class Scheduler:
    """The waiting and running requests of one process. Belongs to one event loop."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._threads = ThreadPoolExecutor(settings.slots, thread_name_prefix="ocr-onnx-serve")
        self._slots = asyncio.Semaphore(settings.slots)
        self._clients: Counter[str] = Counter()
        self._mean_seconds = 1.0
        self.admitted: int = 0
        """Waiting and running requests."""
        self.open: int = 0
        """Accepted requests without a complete response."""
        self.draining = False
        """Set once, at shutdown: no more requests are accepted."""

    def refuse_if_draining(self) -> None:
        """Raise RequestError (503) during shutdown."""
        if self.draining:
            raise RequestError(503, DRAINING, retry_after=1, close=True)

    @contextmanager
    def accepted(self) -> Iterator[None]:
        """Count a request that must be answered before the server exits. Raises RequestError (503) during shutdown."""
        self.refuse_if_draining()
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

    def refuse_if_full(self) -> None:
        """Raise RequestError (503) if the queue is full."""
        if self.admitted >= self._settings.slots + self._settings.queue_size:
            self._metrics.refused.labels("queue").inc()
            raise RequestError(503, "the server's queue is full: try again", retry_after=self.retry_after())

    def retry_after(self) -> int:
        """Seconds after which half of the waiting requests are probably done."""
        seconds = self._mean_seconds * self.admitted / self._settings.slots / 2
        return max(1, min(math.ceil(seconds), MAX_RETRY_AFTER))

    @contextmanager
    def limited(self, client: str) -> Iterator[None]:
        """Count a request of a client. Raises RequestError (429) beyond `max_per_client`."""
        limit = self._settings.max_per_client
        if limit is not None and self._clients[client] >= limit:
            self._metrics.refused.labels("client").inc()
            text = f"you have {limit} requests in progress, which is the limit: wait for their responses"
            raise RequestError(429, text, retry_after=self.retry_after())
        self._clients[client] += 1
        try:
            yield
        finally:
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    @asynccontextmanager
    async def admission(self) -> AsyncGenerator[None, None]:
        """Count a request as waiting or running. Raises RequestError (503) if the queue is full."""
        self.refuse_if_full()
        self.admitted += 1
        self._metrics.admitted.inc()
        begin = time.monotonic()
        try:
            yield
            self._mean_seconds += (time.monotonic() - begin - self._mean_seconds) / 10
        finally:
            self.admitted -= 1
            self._metrics.admitted.dec()

    async def stream(self, items: Generator[Item, None, None], token: CancelToken) -> AsyncGenerator[Item, None]:
        """Run a generator in a worker thread and yield its items. Closing this generator cancels the request.

        Raises RequestError: 503 if no thread or no memory became free before the deadline, 504 if processing took longer.
        """
        await self._acquire_slot(token)
        results: asyncio.Queue[Item | object] = asyncio.Queue()
        unsent = threading.Semaphore(MAX_UNSENT)
        loop = asyncio.get_running_loop()

        def produce() -> None:
            with closing(items):
                token.check()
                for item in items:
                    loop.call_soon_threadsafe(results.put_nowait, item)
                    while not unsent.acquire(timeout=0.5):
                        token.check()
                    token.check()

        def run() -> None:
            try:
                produce()
            except BaseException as error:
                clear_frames(error)
                raise

        def finish(done: asyncio.Future[None]) -> None:
            self._slots.release()
            done.exception()  # Marks it as retrieved: the request may be gone already.
            results.put_nowait(END)

        future = loop.run_in_executor(self._threads, run)
        future.add_done_callback(finish)
        try:
            async with asyncio.timeout(token.remaining()):
                while (item := await results.get()) is not END:
                    unsent.release()
                    yield item  # type: ignore[misc]
                await future
        except (TimeoutError, ClientGoneError):
            raise self._too_late(token) from None
        finally:
            token.cancel()
            del future  # It refers to its exception, whose traceback refers to this frame: a cycle that holds memory.

    async def _acquire_slot(self, token: CancelToken) -> None:
        """Wait for a free thread. Raises RequestError (503) at the deadline."""
        try:
            with token.waiting():
                async with asyncio.timeout(token.remaining()):
                    await self._slots.acquire()
        except TimeoutError:
            self._metrics.refused.labels("wait").inc()
            text = "the server is too busy to answer in time: try again"
            raise RequestError(503, text, retry_after=self.retry_after()) from None

    def _too_late(self, token: CancelToken) -> RequestError:
        """The error after the deadline: 503 if the page still waited for memory, else 504."""
        if token.waits_for_memory:
            self._metrics.refused.labels("memory").inc()
            text = "the server does not have enough free memory to read this page now: try again"
            return RequestError(503, text, retry_after=self.retry_after())
        return RequestError(
            504, f"processing took longer than {self._settings.deadline:g} seconds: send fewer or smaller pages"
        )

    def close(self) -> None:
        """Shut down the threads after their current work."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def clear_frames(error: BaseException) -> None:
    """Release the local variables (pages, tensors, images) in the tracebacks of an exception and its causes."""
    seen: set[int] = set()
    rest: list[BaseException | None] = [error]
    while rest:
        each = rest.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            traceback.clear_frames(each.__traceback__)
            rest += [each.__cause__, each.__context__]
