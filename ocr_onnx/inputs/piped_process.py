"""A decoding process outside Linux: it renders PDFs within a time limit, but has no sandbox and no limit of memory.

Both ends are here: `PipedProcess` is the process as its parent sees it, and `main` the process itself. They pickle requests and replies,
which adds no risk: without a sandbox, a decoder that is exploited has the user's permissions anyway.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import IO, Any, cast

from ocr_onnx import python_process
from ocr_onnx.errors import OCRError, UnreadableImageError
from ocr_onnx.inputs.decoder_errors import out_of_memory
from ocr_onnx.inputs.decoding_client import ONE_THREAD, SIMPLIFY, START_SECONDS, DecodeLimits, DecodingProcess
from ocr_onnx.inputs.page_warnings import decode_page
from ocr_onnx.inputs.pdf import PdfiumDocument
from ocr_onnx.options import InputOptions
from ocr_onnx.types import Page

NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
"""On Windows, a program without a console would open one."""

BROKEN = (OSError, EOFError, ValueError, pickle.UnpicklingError)
"""What reading and writing raise after the process has ended."""


class PipedProcess(DecodingProcess):
    """One process and its state; of `DecodeLimits`, it observes the seconds per page and the PDFs. Raises OSError if it cannot be started."""

    def __init__(
        self, limits: DecodeLimits, on_missing: Callable[[tuple[str, ...]], None], modules: Sequence[str] = ()
    ) -> None:
        del on_missing, modules
        self._limits, self._pdfs = limits, 0
        self._ready = self._pending = False
        self._process = subprocess.Popen(
            python_process.function("ocr_onnx.inputs.piped_process"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | ONE_THREAD,
            creationflags=NO_WINDOW,
        )

    def open_pdf(self, data: bytes, name: str, options: InputOptions) -> int:
        """Open a PDF and return the number of its pages."""
        self._pdfs += 1
        if not self._ready:
            try:
                self._ask(None, "the first PDF", START_SECONDS)
            except UnreadableImageError as error:
                raise OCRError(
                    "the decoding process does not start: run `python -c 'import ocr_onnx.inputs.piped_process'` to find the cause"
                ) from error
            self._ready = True
        return int(self._ask((data, name, options), name, self._limits.wall_seconds))

    def render(self, index: int, name: str) -> Page:
        """Return a page of the open PDF. Raises an InputError."""
        return cast("Page", self._ask((index, name), name, self._limits.wall_seconds))

    def close_file(self) -> bool:
        """Return whether the process can decode another file."""
        return self._ready and not self._pending and self._pdfs < self._limits.pdf_files

    def abandon(self) -> None:
        """Close the pipes and leave the process."""
        for pipe in self._pipes():
            with suppress(OSError):  # A request that the process did not receive is written once more.
                pipe.close()

    def end(self) -> None:
        """Kill the process and close its pipes."""
        self.kill()
        self.abandon()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        return cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)

    def _ask(self, request: object, name: str, seconds: float) -> Any:
        """Return the reply, or raise it if it is an error. `_pending` stays set if there is none, and the process is not used again."""
        self._pending = True
        requests, replies = self._pipes()
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self._process.kill()

        timer = threading.Timer(seconds, expire)
        timer.daemon = True
        timer.start()
        try:
            pickle.dump(request, requests)
            requests.flush()
            reply = pickle.load(replies)  # noqa: S301 from our own process
        except MemoryError as error:
            raise out_of_memory(name) from error
        except BROKEN as error:
            if expired.is_set():
                raise UnreadableImageError(
                    f"{name} took longer than {seconds:g} seconds to decode: {self._limits.remedy}"
                ) from error
            raise UnreadableImageError(f"{name} crashed its decoder: {SIMPLIFY}") from error
        finally:
            timer.cancel()
        self._pending = expired.is_set()
        if isinstance(reply, OCRError):
            raise reply
        return reply


def main() -> None:
    """Answer the requests on standard input until the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What decoders print is no reply.
    requests: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_receive, args=(requests,), daemon=True).start()
    document: PdfiumDocument | None = None
    while True:
        request = requests.get()
        reply: object = None
        try:
            match request:
                case (bytes() as data, name, options):
                    if document is not None:
                        document.close()
                    document = PdfiumDocument(data, name, options)
                    reply = document.count
                case (int() as index, name) if document is not None:
                    reply = decode_page(partial(document.render, index, name), None)
        except OCRError as error:
            reply = error
        pickle.dump(reply, replies)
        replies.flush()


def _receive(requests: SimpleQueue[Any]) -> None:
    """Receive requests in a thread of its own, so that the process ends with its parent, even while it renders."""
    try:
        while True:
            requests.put(pickle.load(sys.stdin.buffer))  # noqa: S301 from our own parent
    finally:
        os._exit(0)
