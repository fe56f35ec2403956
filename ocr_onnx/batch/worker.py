"""The worker process of a batch: receives tasks, and sends what became of each page.

A message is a tuple whose first value is its kind:

ready     the settings that determine the results
fatal     text: the pipeline cannot be made
decoded   index of the page, number of pages of the document (None: a single image): it will now be read
page      index of the page, its row in a shard (None in a document with a file of its own)
error     index of the page (None: the document as a whole), kind and text of the error
file      the content of the document's file
end       the task is done
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from multiprocessing.connection import Connection

from ocr_onnx.batch.reader import DocumentReader, EngineSettings, Outcome, Task, limit_memory, row_of
from ocr_onnx.batch.settings import MEGABYTE
from ocr_onnx.errors import OCRError, OutputError
from ocr_onnx.outputs.formats import FORMATS, Writer
from ocr_onnx.results import OCRResult


def main(wire: Connection, settings: EngineSettings, file_format: str | None) -> None:
    """Read tasks until the parent closes the connection or ends."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches all processes of the terminal; the parent ends this one.
    logging.getLogger("ocr_onnx").setLevel(logging.ERROR)  # The rows have the warnings of each page.
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    try:
        reader = settings.reader()
    except OCRError as error:
        wire.send(("fatal", str(error)))
        return
    wire.send(("ready", reader.described()))
    limit_memory(settings.batch.page_memory * MEGABYTE)
    writer = None if file_format is None else FORMATS[file_format]
    while True:
        try:
            task = wire.recv()
        except EOFError:
            return
        _serve(wire, reader, task, writer)


def _exit_with_parent() -> None:
    """End this process if its parent is killed, even while it reads a page."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def _serve(wire: Connection, reader: DocumentReader, task: Task, writer: Writer | None) -> None:
    """Read a task and send its messages."""
    with closing(reader.read(task)) as outcomes:
        if writer is None:
            for outcome in outcomes:
                _send(wire, outcome, task)
        else:
            _send_file(wire, writer, _results(wire, outcomes, task))
    wire.send(("end",))


def _send(wire: Connection, outcome: Outcome, task: Task, *, with_row: bool = True) -> None:
    if outcome.error is not None:
        wire.send(("error", outcome.index, type(outcome.error).__name__, str(outcome.error)))
    elif outcome.result is None:
        wire.send(("decoded", outcome.index, outcome.count))
    else:
        wire.send(("page", outcome.index, row_of(outcome.result, task.sha256) if with_row else None))


def _results(wire: Connection, outcomes: Iterator[Outcome], task: Task) -> Iterator[OCRResult]:
    """Yield the results; send a message for each page."""
    for outcome in outcomes:
        if outcome.result is not None:
            yield outcome.result
        # The page is done once it is converted.
        _send(wire, outcome, task, with_row=False)


def _send_file(wire: Connection, writer: Writer, results: Iterator[OCRResult]) -> None:
    """Convert the pages of a document to its file, and send it; nothing if no page could be read."""
    first = next(results, None)
    if first is None:
        return
    try:
        wire.send(("file", b"".join(writer.encoded(chain([first], results)))))
    except OutputError as error:
        wire.send(("error", None, type(error).__name__, str(error)))
