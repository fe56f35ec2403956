"""How much is done at a time: a bounded number of requests waits for a few threads; each has its deadline."""

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
from ocr_onnx.service.refusals import ClientGoneError, Refused
from ocr_onnx.service.settings import Settings

Item = TypeVar("Item")

AHEAD = 2
"""Results of one request that wait to be sent before the next page is begun."""

LONGEST_RETRY = 60
"""Seconds; a client is never told to wait longer."""

DRAINING = "the server is shutting down: try again, at another one"

END = object()


class Wanted:
    """Whether anybody still waits for a request's answer."""

    def __init__(self, seconds: float) -> None:
        self.end: float = time.monotonic() + seconds
        self.waits_for_memory: bool = False
        """Whether its page waits until others free theirs."""
        self._gone = threading.Event()

    def drop(self) -> None:
        """Nobody does."""
        self._gone.set()

    def check(self) -> None:
        """Raise ClientGoneError where nobody does, or the deadline has passed."""
        if self._gone.is_set() or time.monotonic() > self.end:
            raise ClientGoneError

    @contextmanager
    def waiting_for_memory(self) -> Iterator[None]:
        """Note that it waits; the note stays where it gives up."""
        self.waits_for_memory = True
        yield
        self.waits_for_memory = False


class Work:
    """The requests of one process: those that wait and those that are worked on. Belongs to one event loop."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._threads = ThreadPoolExecutor(settings.slots, thread_name_prefix="ocr-onnx-serve")
        self._slots = asyncio.Semaphore(settings.slots)
        self._clients: Counter[str] = Counter()
        self._seconds = 1.0
        self.admitted: int = 0
        """Requests that wait or are worked on."""
        self.open: int = 0
        """Requests that were taken and are not yet answered."""
        self.draining = False
        """Set once: no more requests are taken."""

    def refuse_if_draining(self) -> None:
        """Raise Refused (503) once the server is to end."""
        if self.draining:
            raise Refused(503, DRAINING, retry_after=1, close=True)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Count a request that will be answered before the server ends. Raises Refused (503) once it is to end."""
        self.refuse_if_draining()
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

    def refuse_if_full(self) -> None:
        """Raise Refused (503) where as many requests wait as may."""
        if self.admitted >= self._settings.slots + self._settings.queue_size:
            self._metrics.refused.labels("queue").inc()
            raise Refused(503, "the server has too many requests waiting: try again", retry_after=self.retry_after())

    def retry_after(self) -> int:
        """Seconds after which half of those that wait are likely done."""
        seconds = self._seconds * self.admitted / self._settings.slots / 2
        return max(1, min(math.ceil(seconds), LONGEST_RETRY))

    @contextmanager
    def of_client(self, client: str) -> Iterator[None]:
        """Count a client's requests. Raises Refused (429) where it has as many as it may."""
        most = self._settings.max_per_client
        if most is not None and self._clients[client] >= most:
            self._metrics.refused.labels("client").inc()
            text = f"you have {most} requests in progress, and may have no more: wait for their answers"
            raise Refused(429, text, retry_after=self.retry_after())
        self._clients[client] += 1
        try:
            yield
        finally:
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    @asynccontextmanager
    async def admission(self) -> AsyncGenerator[None, None]:
        """Count a request among those that wait or are worked on. Raises Refused (503) where those are too many."""
        self.refuse_if_full()
        self.admitted += 1
        self._metrics.admitted.inc()
        begin = time.monotonic()
        try:
            yield
            self._seconds += (time.monotonic() - begin - self._seconds) / 10
        finally:
            self.admitted -= 1
            self._metrics.admitted.dec()

    async def stream(self, items: Generator[Item, None, None], wanted: Wanted) -> AsyncGenerator[Item, None]:
        """What a generator gives, made in a thread once one is free. Closing this drops the rest.

        Raises Refused: 503 where no thread or no memory came free before the deadline, 504 where the work took longer.
        """
        await self._acquire(wanted)
        made: asyncio.Queue[Item | object] = asyncio.Queue()
        room = threading.Semaphore(AHEAD)
        loop = asyncio.get_running_loop()

        def make() -> None:
            with closing(items):
                wanted.check()
                for item in items:
                    loop.call_soon_threadsafe(made.put_nowait, item)
                    while not room.acquire(timeout=0.5):
                        wanted.check()
                    wanted.check()

        def work() -> None:
            try:
                make()
            except BaseException as error:
                clear_frames(error)
                raise

        def finish(done: asyncio.Future[None]) -> None:
            self._slots.release()
            done.exception()  # Nobody may be there to ask for it.
            made.put_nowait(END)

        future = loop.run_in_executor(self._threads, work)
        future.add_done_callback(finish)
        try:
            async with asyncio.timeout(max(wanted.end - time.monotonic(), 0)):
                while (item := await made.get()) is not END:
                    room.release()
                    yield item  # type: ignore[misc]
                await future
        except (TimeoutError, ClientGoneError):
            raise self._too_late(wanted) from None
        finally:
            wanted.drop()
            del future  # It has the error, whose traceback has this frame: together only the collector frees them.

    async def _acquire(self, wanted: Wanted) -> None:
        """Wait for a free thread. Raises Refused (503) at the deadline."""
        try:
            async with asyncio.timeout(max(wanted.end - time.monotonic(), 0)):
                await self._slots.acquire()
        except TimeoutError:
            self._metrics.refused.labels("wait").inc()
            text = "the server is too busy to answer in time: try again"
            raise Refused(503, text, retry_after=self.retry_after()) from None

    def _too_late(self, wanted: Wanted) -> Refused:
        """The answer to a request that passed its deadline: 503 if it still waited for memory, else 504."""
        if wanted.waits_for_memory:
            self._metrics.refused.labels("memory").inc()
            text = "the server has too little memory free to read this now: try again"
            return Refused(503, text, retry_after=self.retry_after())
        return Refused(504, f"the answer took longer than {self._settings.deadline:g} seconds: send less")

    def close(self) -> None:
        """End the threads, once what they do is done."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def clear_frames(error: BaseException) -> None:
    """Let go of what the functions held that an error and its causes came through: pages, tensors, pictures."""
    seen: set[int] = set()
    rest: list[BaseException | None] = [error]
    while rest:
        each = rest.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            traceback.clear_frames(each.__traceback__)
            rest += [each.__cause__, each.__context__]
