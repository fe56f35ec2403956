"""A worker of a batch that does as the content of a document says, instead of recognizing text.

The content is a word for each page: `read`, `fail` (an error of the page), `crash` (the process is killed), `hang`; a leading
`damaged` is an error of the document as a whole, and `%PDF-` marks a document of several pages.
"""

from __future__ import annotations

import json
import os
import signal
import time
from multiprocessing.connection import Connection

from ocr_onnx.batch.reader import EngineSettings, Task
from ocr_onnx.options import InputOptions

DESCRIBED = {"options": {"input": {}}, "models": {"text_detection": "none"}}


def main(wire: Connection, settings: EngineSettings, file_format: str | None) -> None:
    """As worker.main."""
    wire.send(("ready", DESCRIBED))
    while True:
        try:
            task: Task = wire.recv()
        except EOFError:
            return
        serve(wire, task, file_format)
        wire.send(("end",))


def serve(wire: Connection, task: Task, file_format: str | None) -> None:
    words = task.data.decode().removeprefix("%PDF-").split()
    if not words or words[0] == "damaged":
        wire.send(("error", None, "UnreadableImageError", "it is damaged"))
        return
    indices = InputOptions().pages(len(words)) if task.pages is None else task.pages
    read = [index for index in indices[: task.limit] if read_page(wire, task, words, index, file_format)]
    if file_format is not None and read:
        wire.send(("file", json.dumps(read).encode()))


def read_page(wire: Connection, task: Task, words: list[str], index: int, file_format: str | None) -> bool:
    count = len(words) if task.data.startswith(b"%PDF-") else None
    if words[index] == "fail":
        wire.send(("error", index, "UnreadableImageError", "the page is damaged"))
        return False
    wire.send(("decoded", index, count))
    if words[index] == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if words[index] == "hang":
        time.sleep(3600)
    page = None if count is None else index + 1
    row = {"path": task.name, "sha256": task.sha256, "page": page, "pages": count, "text": words[index]}
    wire.send(("page", index, None if file_format else json.dumps(row)))
    return True
