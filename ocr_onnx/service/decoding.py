"""Pictures, PDFs and TIFFs of strangers, decoded in processes of their own, within limits of memory and time.

The processes are kept for many files. One that dies or runs over is replaced, and so is one that read many PDFs.
"""

from __future__ import annotations

import dataclasses
import fcntl
import logging
import mmap
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ocr_onnx import errors, python_process
from ocr_onnx.errors import InputError, OCRError, UnreadableImageError
from ocr_onnx.options import MAX_PIXELS, InputOptions, check_number
from ocr_onnx.service.decoding_process import in_memory, receive, send
from ocr_onnx.types import Page

logger: logging.Logger = logging.getLogger(__name__)

START_SECONDS = 60
"""How long a process may take to load its decoders, on a machine that is busy."""

END_SECONDS = 5
"""How long a process that closed its end, or was killed, may take to be gone."""

ERRORS: dict[str, type[OCRError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, InputError | errors.OptionError)
}
"""What a process may raise here."""

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL

KEPT = 4
"""A process that kept a quarter of its limit after a file is replaced."""

SIMPLIFY = "it is damaged, or too large: save it anew, smaller or in another format"

INHERITED = re.compile(
    r"PATH|LANG|LANGUAGE|LC_\w+|TZ|LD_LIBRARY_PATH|LD_PRELOAD"
    r"|PYTHON(HOME|PLATLIBDIR|UTF8|DONTWRITEBYTECODE|PYCACHEPREFIX|NOUSERSITE)"
)
"""Environment variables that a process is given; others may hold secrets of the server."""

ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MALLOC_ARENA_MAX"), "1")
"""Each thread would take addresses, which are what is limited."""

OPENCV_LIMIT = "OPENCV_IO_MAX_IMAGE_PIXELS"
"""OpenCV's own check of a header, made before it takes memory; read once, when the library is loaded."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Where decoding a file stops. Raises OptionError for a number outside its range."""

    memory: int = 2**30
    """Bytes that a process may take above what it has before a file. 16 a pixel were enough for every format measured."""
    cpu_seconds: int = 10
    """Whole seconds of processor time a page; opening the file counts to the first."""
    wall_seconds: float = 30
    """Seconds a page."""
    max_pages: int | None = None
    """The first so many pages of a PDF or TIFF are given."""
    max_pixels: int = MAX_PIXELS
    """Of a page; OpenCV refuses to decode more, whatever the header says."""
    pdf_files: int = 100
    """After so many PDFs a process is replaced, for PDFium keeps a little of each."""

    def __post_init__(self) -> None:
        check_number("memory", self.memory, 2**24, whole=True)
        check_number("cpu_seconds", self.cpu_seconds, 1, 86_400, whole=True)
        check_number("wall_seconds", self.wall_seconds, 0.001, 86_400)
        check_number("max_pixels", self.max_pixels, 1, MAX_PIXELS, whole=True)
        check_number("pdf_files", self.pdf_files, 1, whole=True)
        if self.max_pages is not None:
            check_number("max_pages", self.max_pages, 1, whole=True)


class Decoder:
    """Decodes in `processes` processes, one file each at a time; any number of threads may call, and wait their turn."""

    def __init__(self, limits: DecodeLimits, processes: int) -> None:
        check_number("processes", processes, 1, whole=True)
        self._limits, self._count = limits, processes
        self._free = threading.Condition()
        self._closed = False
        self._idle: list[_Process] = []
        self._running: set[_Process] = set()
        for _ in range(processes):
            self._idle.append(self._start())

    def pages(self, data: bytes, kind: Literal["image", "pdf"], options: InputOptions) -> Generator[Page, None, None]:
        """The pages of a file's contents, each decoded when it is asked for; a process is taken until the end, or `close`.

        Raises what `documents.read_file` raises; NotEnoughMemoryError; UnreadableImageError where it took too long or
        ended the process; and OCRError where the decoder is closed, or no process can be started.
        """
        with self._borrowed() as process:
            page = process.open(data, kind, options)
            while page is not None:
                yield page
                page = process.next()

    def close(self) -> None:
        """End all processes, also amid a file; who waits for one gets an OCRError."""
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

    @contextmanager
    def _borrowed(self) -> Iterator[_Process]:
        process = self._take()
        try:
            yield process
        finally:
            self._give_back(process)

    def _take(self) -> _Process:
        with self._free:
            self._free.wait_for(lambda: self._closed or self._idle or len(self._running) < self._count)
            while self._idle and not self._closed:
                process = self._idle.pop()
                if process.alive():
                    return process
                process.end()
                self._running.discard(process)
            return self._start()

    def _give_back(self, process: _Process) -> None:
        usable = process.rest() and not self._closed
        if not usable:
            process.end()
        with self._free:
            if usable and not self._closed:
                self._idle.append(process)
            else:
                process.end()
                self._running.discard(process)
                with suppress(OCRError):  # The next call tries again, and tells.
                    self._idle.append(self._start())
            self._free.notify()

    def _start(self) -> _Process:
        if self._closed:
            raise OCRError("the decoder is closed: make another one")
        try:
            process = _Process(self._limits)
        except OSError as error:
            raise OCRError(
                f"no process to decode in can be started: {error}; see what limits processes here"
            ) from error
        self._running.add(process)
        return process


class _Process:
    """One process, and what it is at. Raises OSError where it cannot be started."""

    def __init__(self, limits: DecodeLimits) -> None:
        self._limits = limits
        self._ready = self._reading = self._asked = False
        self._pdfs = self._resident = 0
        self._wire, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = python_process.function("ocr_onnx.service.decoding_process", f"{limits.memory},{limits.cpu_seconds}")
        try:
            self._process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_environment() | {OPENCV_LIMIT: str(limits.max_pixels)},
                process_group=0,
            )
        except OSError:
            self._wire.close()
            raise
        finally:
            theirs.close()

    def open(self, data: bytes, kind: str, options: InputOptions) -> Page | None:
        """The first page."""
        self._wait_until_ready()
        self._pdfs += kind == "pdf"
        order = {"open": kind, "options": dataclasses.asdict(options), "max_pages": self._limits.max_pages}
        return self._ask(order, in_memory(data))

    def next(self) -> Page | None:
        """The next page; None after the last."""
        return self._ask({"next": True})

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def rest(self) -> bool:
        """Leave the file at hand; whether the process is fit for another."""
        if self._asked or not self._ready:
            return False
        if self._reading:
            self._reading = False
            try:
                send(self._wire, {"stop": True})
            except OSError:
                return False
        grown = self._memory() - self._resident
        return self._pdfs < self._limits.pdf_files and grown < self._limits.memory // KEPT

    def kill(self) -> None:
        """End it whatever it does; who waits for it is told."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """End it, and let go of all that was held for it."""
        self._wire.close()
        self._process.kill()
        self._process.wait()

    def _wait_until_ready(self) -> None:
        if self._ready:
            return
        self._asked = True
        self._wire.settimeout(START_SECONDS)
        answer: dict[str, Any] = {}
        with suppress(OSError):
            answer, _ = receive(self._wire)
        if "ready" not in answer:
            raise OCRError(
                "the process to decode in does not start: `python -c 'import ocr_onnx.service.decoding_process'` may tell "
                f"why {answer.get('crash', '')}"
            )
        if answer.get("lacking"):
            _warn(tuple(map(str, answer["lacking"])))
        self._asked, self._ready = False, True
        self._resident = self._memory()
        self._wire.settimeout(self._limits.wall_seconds)

    def _ask(self, order: dict[str, Any], file: int | None = None) -> Page | None:
        """Send an order and wait for the page; `_asked` stays where there is no answer, or none that makes sense."""
        self._asked = True
        try:
            send(self._wire, order, file)
            answer, pixels = receive(self._wire)
            page = None if pixels is None else _page(answer, pixels, self._limits.max_pixels)
            refusal = ERRORS[answer["error"]](answer["text"]) if "error" in answer else None
        except TimeoutError as error:
            raise UnreadableImageError(
                f"the input took longer than {self._limits.wall_seconds:g} seconds a page to decode: {SIMPLIFY}"
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._ended() from error
        if page is None and refusal is None and "end" not in answer:
            raise self._ended(answer.get("crash", ""))
        self._asked, self._reading = False, page is not None
        if refusal is not None:
            raise refusal
        return page

    def _ended(self, crash: str = "") -> InputError:
        """What is to be said of the file that ended the process."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        status = self._process.returncode
        if status == -signal.SIGXCPU:
            return UnreadableImageError(
                f"the input took more than {self._limits.cpu_seconds} seconds of processor time a page to decode: {SIMPLIFY}"
            )
        logger.error("a process that decoded ended with status %s%s", status, f":\n{crash}" if crash else "")
        return UnreadableImageError(f"the input ended the process that decoded it: {SIMPLIFY}")

    def _memory(self) -> int:
        """Bytes of memory that it has now."""
        try:
            statm = Path(f"/proc/{self._process.pid}/statm").read_text("ascii").split()
        except OSError:
            return 0
        return int(statm[1]) * mmap.PAGESIZE if statm else 0


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if INHERITED.fullmatch(name)} | ONE_THREAD


@cache
def _warn(lacking: tuple[str, ...]) -> None:
    """Say once what does not hold on this machine."""
    logger.warning(
        "the kernel does not support %s: a picture or PDF that takes over its decoder reaches as much as the server does",
        " and ".join(lacking),
    )


def _page(answer: dict[str, Any], file: int, max_pixels: int) -> Page:
    """The page whose pixels are in a file in memory, which nobody changes or cuts short any more; it is closed here.

    Raises ValueError where the process sent another size than it says, or more than it may.
    """
    try:
        height, width = answer["shape"]
        if min(height, width) < 1 or height * width > max_pixels or os.fstat(file).st_size != height * width * 3:
            raise ValueError(f"a page of {width} x {height} pixels in {os.fstat(file).st_size} bytes")
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, SEALS)
        pixels = mmap.mmap(file, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    finally:
        os.close(file)
    return Page(np.frombuffer(pixels, np.uint8).reshape(height, width, 3), None, answer["index"], answer["count"])
