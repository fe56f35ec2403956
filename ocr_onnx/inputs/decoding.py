"""Decode untrusted images and PDFs in separate processes with limits of memory and time.

Processes are reused. A process is replaced if it crashes, exceeds a limit, or has decoded many PDFs. The service decodes all its
files so, the library its PDFs (`isolated_pdf`). Outside Linux, a process decodes only PDFs, and only its time is limited.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from typing import Literal

from ocr_onnx.declarations import check_number
from ocr_onnx.errors import InputError, OCRError, UnreadableImageError
from ocr_onnx.inputs import pdf
from ocr_onnx.inputs.decoding_client import SIMPLIFY, DecodeLimits, DecodingProcess, warn_of_missing
from ocr_onnx.inputs.page_warnings import warn
from ocr_onnx.options import InputOptions
from ocr_onnx.types import Page

ON_LINUX: bool = sys.platform == "linux"

UNNAMED = "the input"
"""The name in messages of a file whose name is not known."""

MAX_NAME = 1000
"""Characters of the name of a file or page that are sent to a process."""

MAX_LOST_PROCESSES = 10
"""Pages of one PDF that may crash the decoder or exceed a limit. Each may have taken all its time; later pages are refused at once."""

MAX_IDLE = 4
"""Processes that a decoder without a fixed number keeps for later files."""


class Decoder:
    """A pool of `processes` processes that decode one file each at a time. Thread-safe; calls wait for a free process.

    Without `processes`, none is started before it is needed, and no call waits. `on_missing` is told the sandbox features that the
    kernel lacks; default: log them once. Each process imports `modules` when it starts, if they are installed: those that `convert` needs.
    """

    def __init__(
        self,
        limits: DecodeLimits,
        processes: int | None = None,
        on_missing: Callable[[tuple[str, ...]], None] | None = None,
        modules: Sequence[str] = (),
    ) -> None:
        if processes is not None:
            check_number("processes", processes, 1, whole=True)
        self._limits, self._count, self._modules = limits, processes, tuple(modules)
        self._on_missing = warn_of_missing if on_missing is None else on_missing
        self._free = threading.Condition()
        self._closed = False
        self._idle: list[DecodingProcess] = []
        self._running: set[DecodingProcess] = set()
        for _ in range(processes or 0):
            self._idle.append(self._start())

    def pages(
        self, data: bytes, kind: Literal["image", "pdf"], options: InputOptions
    ) -> Generator[Page | InputError, None, None]:
        """Decode the contents of a file page by page; the generator occupies a process until it ends or is closed.

        A page that cannot be decoded is yielded as its error, and the following pages are decoded.

        Raises what `documents.read_file` raises; NotEnoughMemoryError; UnreadableImageError if decoding an image or opening a PDF
        took too long or crashed the process; OCRError if the decoder is closed or no process can be started.
        """
        read = self._pdf_pages if kind == "pdf" else self._image_pages
        with closing(read(data, options)) as outcomes:
            yield from islice(outcomes, self._limits.max_pages)

    def _pdf_pages(self, data: bytes, options: InputOptions) -> Generator[Page | InputError, None, None]:
        yield from pdf.read_pages(self.document(data, UNNAMED, options), None, UNNAMED, options)

    def _image_pages(self, data: bytes, options: InputOptions) -> Generator[Page | InputError, None, None]:
        with self._borrowed() as process:
            page = process.open_image(data, UNNAMED, options)
            while page is not None:
                yield page
                page = process.next(UNNAMED)

    def document(self, data: bytes, name: str, options: InputOptions) -> pdf.Document:
        """Open a PDF, which occupies a process until it is closed; `name` is its name in messages. Raises as `pages`.

        A page that crashes the process, or exceeds its time or memory, raises UnreadableImageError; the next page is rendered in
        another process.
        """
        return _IsolatedPdf(self, data, name, options)

    def convert(
        self, data: bytes, kind: Literal["image", "pdf"], options: InputOptions, function: str, pages: Sequence[bytes]
    ) -> bytes:
        """Convert the contents of a file by a function, named as `module:function`, in a process.

        The function gets the contents, an iterator over `pages`, which are pickled objects, and the options, and returns the new file.
        Each page may take the time of a page. Raises what `pages` raises, and OutputError if the function raises it.
        """
        with self._borrowed() as process:
            return process.convert(data, UNNAMED, options, (kind, function), pages)

    def close(self) -> None:
        """Kill all processes, including busy ones; waiting calls raise OCRError."""
        with self._free:
            self._closed = True
            idle, self._idle = self._idle, []
            self._running.difference_update(idle)
            busy = tuple(self._running)
            self._free.notify_all()
        for process in idle:
            process.end()
        for process in busy:
            process.kill()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def end_idle(self) -> None:
        """Kill the processes that decode nothing; later calls start others."""
        with self._free:
            idle, self._idle = self._idle, []
            self._running.difference_update(idle)
        for process in idle:
            process.end()

    def abandon(self) -> None:
        """Close this process's copies of the sockets after a fork: the processes belong to the parent."""
        for process in self._running:
            process.abandon()

    @contextmanager
    def _borrowed(self) -> Iterator[DecodingProcess]:
        process = self.take()
        try:
            yield process
        finally:
            self.give_back(process)

    def take(self) -> DecodingProcess:
        """Return a process, which the caller gives back; wait for one if all are busy. Raises OCRError if none can be started."""
        with self._free:
            self._free.wait_for(lambda: self._closed or self._idle or self._may_start())
            while self._idle and not self._closed:
                process = self._idle.pop()
                if process.alive():
                    return process
                process.end()
                self._running.discard(process)
            return self._start()

    def give_back(self, process: DecodingProcess) -> None:
        """Keep a process for the next file, or replace it."""
        usable = process.close_file() and not self._closed
        if not usable:
            process.end()
        with self._free:
            if usable and not self._closed and (self._count is not None or len(self._idle) < MAX_IDLE):
                self._idle.append(process)
            else:
                process.end()
                self._running.discard(process)
                if self._count is not None:
                    with suppress(OCRError):  # The next call tries again and reports the error.
                        self._idle.append(self._start())
            self._free.notify()

    def _may_start(self) -> bool:
        return self._count is None or len(self._running) < self._count

    def _start(self) -> DecodingProcess:
        if self._closed:
            raise OCRError("the decoder is closed: create another one")
        try:
            process = _process_type()(self._limits, self._on_missing, self._modules)
        except OSError as error:
            raise OCRError(
                f"cannot start a decoding process: {error}; check the limit of processes of this user or container"
            ) from error
        self._running.add(process)
        return process


def _process_type() -> type[DecodingProcess]:
    if ON_LINUX:
        return DecodingProcess
    from ocr_onnx.inputs.piped_process import PipedProcess

    return PipedProcess


class _IsolatedPdf:
    """A PDF in a decoding process, as `pdf.Document`."""

    def __init__(self, decoder: Decoder, data: bytes, name: str, options: InputOptions) -> None:
        self._decoder, self._data, self._name, self._options = decoder, data, name[:MAX_NAME], options
        self._process: DecodingProcess | None = None
        self._lost = 0
        """Processes that crashed or exceeded a limit."""
        self.count: int = 0
        self._open()

    def render(self, index: int, name: str) -> Page:
        """Return a page; one that costs the process raises UnreadableImageError."""
        if self._lost == MAX_LOST_PROCESSES:
            raise UnreadableImageError(
                f"{name} is skipped, because {MAX_LOST_PROCESSES} pages crashed the decoder or exceeded its limits: {SIMPLIFY}"
            )
        process = self._process or self._reopened(name)
        try:
            page = process.render(index, name[:MAX_NAME])
        finally:
            if not process.is_usable:
                self._lost += 1
                self.close()
        for warning in page.warnings:
            warn(warning)
        return page

    def _reopened(self, name: str) -> DecodingProcess:
        """Open the PDF in another process for the page of this name. Raises UnreadableImageError if none can be started."""
        try:
            return self._open()
        except InputError:
            raise
        except OCRError as error:
            if self._decoder.is_closed:
                raise
            raise UnreadableImageError(
                f"{name} is not rendered, because the decoding process ended: {error}"
            ) from error

    def close(self) -> None:
        """Release the process."""
        if self._process is not None:
            process, self._process = self._process, None
            self._decoder.give_back(process)

    def _open(self) -> DecodingProcess:
        process = self._process = self._decoder.take()
        try:
            self.count = process.open_pdf(self._data, self._name, self._options)
        except BaseException:
            self.close()
            raise
        return process
