"""Prefetching: compute the next items in another thread, and distribute items over several workers."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from ocr_onnx.errors import OCRError
from ocr_onnx.runtime.workers import Workers

Item = TypeVar("Item")
Result = TypeVar("Result")

END = object()
"""Marks the end of the items."""

FORKED = (
    "this iterator was created before a fork and its thread does not exist in this process: create it after the fork"
)


def prefetch(
    items: Generator[Item, None, None], *, first_in_caller_thread: bool = False
) -> Generator[Item, None, None]:
    """Yield the same items; the next one is computed in another thread while the caller uses the current one.

    The thread belongs to this call alone. With `first_in_caller_thread` the first item is computed in the caller's thread,
    which saves a single item the switch between threads. An exception of `items` is raised in the place of the item. Closing
    this generator cancels prefetching: the thread finishes the current item, closes `items` and ends; close() does not wait for
    it. Raises OCRError when it is used in a forked process.
    """
    reader = Workers(1, "ocr-onnx-reader")
    process = os.getpid()
    pending: Future[Any] = Future()
    try:
        item = next(items, END) if first_in_caller_thread else reader.submit(next, items, END).result()
        while item is not END:
            pending = reader.submit(next, items, END)
            yield item  # type: ignore[misc]
            if os.getpid() != process:
                # Threads do not survive a fork: waiting for this one would never end.
                raise OCRError(FORKED)
            item = pending.result()
    finally:
        if os.getpid() == process:
            pending.cancel()
            reader.submit(items.close)
            reader.close()


def map_on_workers(
    items: Generator[Item, None, None], workers: Sequence[Callable[[Item], Result]]
) -> Generator[Result, None, None]:
    """Yield the result of each item, in the order of the items. The next idle worker takes the next item, in its own thread.

    One more item than there are workers is prefetched. An exception of `items` or of a worker is raised in the place of its
    item. Closing and forking are as for `prefetch`.
    """
    reader = Workers(1, "ocr-onnx-reader")
    threads = Workers(len(workers), "ocr-onnx-reader-device")
    process = os.getpid()
    idle: SimpleQueue[Callable[[Item], Result]] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def submit() -> tuple[Future[Any], Future[Any]]:
        item = reader.submit(next, items, END)
        return item, threads.submit(_process, item, idle)

    pending = deque(submit() for _ in range(len(workers) + 1))
    try:
        while (result := pending[0][1].result()) is not END:
            pending.popleft()
            pending.append(submit())
            yield result
            if os.getpid() != process:
                raise OCRError(FORKED)
    finally:
        if os.getpid() == process:
            for item, result in pending:
                item.cancel()
                result.cancel()
            reader.submit(items.close)
            reader.close()
            threads.close()


def _process(pending: Future[Any], idle: SimpleQueue[Callable[[Any], Any]]) -> Any:
    """Wait for an item and return the result of an idle worker; END for END."""
    item = pending.result()
    if item is END:
        return END
    worker = idle.get()
    try:
        return worker(item)
    finally:
        idle.put(worker)
