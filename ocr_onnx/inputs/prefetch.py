"""Reading ahead: the next thing is made in a thread while this one is used; and things spread over several devices."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from ocr_onnx.errors import OCRError

Item = TypeVar("Item")
Result = TypeVar("Result")

END = object()


def one_ahead(items: Generator[Item, None, None], *, first_here: bool = False) -> Generator[Item, None, None]:
    """The same items, each begun when the one before it is handed out, all in one thread that serves this call alone.

    With `first_here` the first is made in the caller's thread: one that comes alone is not handed from thread to thread.
    What `items` raises is raised at its place. Closing this generator ends the thread, after closing `items` there, as
    soon as the item in progress is done; it does not wait for that. Raises OCRError in a forked process.
    """
    reader = ThreadPoolExecutor(1, thread_name_prefix="ocr-onnx-reader")
    process = os.getpid()
    coming: Future[Any] = Future()
    try:
        item = next(items, END) if first_here else reader.submit(next, items, END).result()
        while item is not END:
            coming = reader.submit(next, items, END)
            yield item  # type: ignore[misc]
            if os.getpid() != process:
                # The thread did not come along, and would be waited for forever.
                raise OCRError("reading does not survive a fork: begin it in the process that goes on with it")
            item = coming.result()
    finally:
        if os.getpid() == process:
            coming.cancel()
            with suppress(RuntimeError):  # When Python exits, no more is taken, and no need to.
                reader.submit(items.close)
            reader.shutdown(wait=False)


def spread(
    items: Generator[Item, None, None], tasks: Sequence[Callable[[Item], Result]]
) -> Generator[Result, None, None]:
    """What the tasks make of the items, in the items' order: each is given to the task that is free, in a thread of its own.

    One item more than there are tasks is read ahead. What `items` or a task raises is raised at its place. Closing, and
    forks, are as with `one_ahead`.
    """
    reader = ThreadPoolExecutor(1, thread_name_prefix="ocr-onnx-reader")
    workers = ThreadPoolExecutor(len(tasks), thread_name_prefix="ocr-onnx-reader-device")
    process = os.getpid()
    free: SimpleQueue[Callable[[Item], Result]] = SimpleQueue()
    for task in tasks:
        free.put(task)

    def begin() -> tuple[Future[Any], Future[Any]]:
        coming = reader.submit(next, items, END)
        return coming, workers.submit(_make, coming, free)

    waiting = deque(begin() for _ in range(len(tasks) + 1))
    try:
        while (result := waiting[0][1].result()) is not END:
            waiting.popleft()
            waiting.append(begin())
            yield result
            if os.getpid() != process:
                raise OCRError("reading does not survive a fork: begin it in the process that goes on with it")
    finally:
        if os.getpid() == process:
            for coming, _ in waiting:
                coming.cancel()
            with suppress(RuntimeError):
                reader.submit(items.close)
            reader.shutdown(wait=False)
            workers.shutdown(wait=False, cancel_futures=True)


def _make(coming: Future[Any], free: SimpleQueue[Callable[[Any], Any]]) -> Any:
    """What a free task makes of an item that is being read; the end stays the end."""
    item = coming.result()
    if item is END:
        return END
    task = free.get()
    try:
        return task(item)
    finally:
        free.put(task)
