"""Reading ahead: the next thing is made in a thread while this one is used."""

from __future__ import annotations

import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from ocr_onnx.errors import OCRError

Item = TypeVar("Item")

END = object()


def one_ahead(items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """The same items, each begun when the one before it is handed out, all in one thread that serves this call alone.

    What `items` raises is raised at its place. Closing this generator ends the thread, after closing `items` there, as
    soon as the item in progress is done; it does not wait for that. Raises OCRError in a forked process.
    """
    reader = ThreadPoolExecutor(1, thread_name_prefix="ocr-onnx-reader")
    process = os.getpid()
    coming = reader.submit(next, items, END)
    try:
        while (item := coming.result()) is not END:
            coming = reader.submit(next, items, END)
            yield item  # type: ignore[misc]
            if os.getpid() != process:
                # The thread did not come along, and would be waited for forever.
                raise OCRError("reading does not survive a fork: begin it in the process that goes on with it")
    finally:
        if os.getpid() == process:
            coming.cancel()
            with suppress(RuntimeError):  # When Python exits, no more is taken, and no need to.
                reader.submit(items.close)
            reader.shutdown(wait=False)
