"""Decode untrusted images and PDFs in separate processes with limits of memory and time.

Processes are reused. A process is replaced if it crashes, exceeds a limit, or has decoded many PDFs.
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
from ocr_onnx.declarations import check_number
from ocr_onnx.errors import InputError, OCRError, UnreadableImageError
from ocr_onnx.options import LARGEST_MAX_PIXELS, MAX_PIXELS, InputOptions
from ocr_onnx.service.decoding_process import in_memory, receive, send
from ocr_onnx.types import Page

logger: logging.Logger = logging.getLogger(__name__)

START_SECONDS = 60
"""Timeout for starting a process, for a busy machine."""

END_SECONDS = 5
"""Timeout for the exit of a process that was killed or closed its socket."""

ERRORS: dict[str, type[OCRError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, InputError | errors.OptionError)
}
"""The exceptions that a process may pass on, by name."""

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL

MAX_GROWTH = 4
"""A process whose memory grew by its limit divided by this is replaced."""

SIMPLIFY = "it is damaged or too large: save it again, smaller or in another format"

INHERITED = re.compile(
    r"PATH|LANG|LANGUAGE|LC_\w+|TZ|LD_LIBRARY_PATH|LD_PRELOAD"
    r"|PYTHON(HOME|PLATLIBDIR|UTF8|DONTWRITEBYTECODE|PYCACHEPREFIX|NOUSERSITE)"
)
"""Environment variables that a process inherits; others may contain secrets of the server."""

ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MALLOC_ARENA_MAX"), "1")
"""Each thread would use address space, which is limited."""

OPENCV_LIMIT = "OPENCV_IO_MAX_IMAGE_PIXELS"
"""OpenCV checks the header against it before it allocates memory; it reads the variable once, when it is loaded."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """The limits of decoding one file. Raises OptionError for a value out of range."""

    memory: int = 2**30
    """Bytes that a process may allocate for a file. 16 per pixel were enough for every format measured."""
    cpu_seconds: int = 10
    """Seconds of CPU time per page (an integer); opening the file counts towards the first page."""
    wall_seconds: float = 30
    """Seconds per page."""
    max_pages: int | None = None
    """Pages to decode of a PDF or TIFF; None: all."""
    max_pixels: int = MAX_PIXELS
    """Pixels of a page; OpenCV itself refuses to decode more."""
    pdf_files: int = 100
    """PDFs after which a process is replaced, because PDFium leaks memory."""

    def __post_init__(self) -> None:
        check_number("memory", self.memory, 2**24, whole=True)
        check_number("cpu_seconds", self.cpu_seconds, 1, 86_400, whole=True)
        check_number("wall_seconds", self.wall_seconds, 0.001, 86_400)
        check_number("max_pixels", self.max_pixels, 1, LARGEST_MAX_PIXELS, whole=True)
        check_number("pdf_files", self.pdf_files, 1, whole=True)
        if self.max_pages is not None:
            check_number("max_pages", self.max_pages, 1, whole=True)


class Decoder:
    """A pool of `processes` processes that decode one file each at a time. Thread-safe; calls wait for a free process."""

    def __init__(self, limits: DecodeLimits, processes: int) -> None:
        check_number("processes", processes, 1, whole=True)
        self._limits, self._count = limits, processes
        self._free = threading.Condition()
        self._closed = False
        self._idle: list[_Process] = []
        self._running: set[_Process] = set()
        for _ in range(processes):
            self._idle.append(self._start())

    def pages(
        self, data: bytes, kind: Literal["image", "pdf"], options: InputOptions
    ) -> Generator[Page | InputError, None, None]:
        """Decode the contents of a file page by page; the generator occupies a process until it ends or is closed.

        A page that cannot be decoded is yielded as its error, and the following pages are decoded.

        Raises what `documents.read_file` raises; NotEnoughMemoryError; UnreadableImageError if decoding took too long or
        crashed the process; OCRError if the decoder is closed or no process can be started.
        """
        with self._borrowed() as process:
            page = process.open(data, kind, options)
            while page is not None:
                yield page
                page = process.next()

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
        usable = process.close_file() and not self._closed
        if not usable:
            process.end()
        with self._free:
            if usable and not self._closed:
                self._idle.append(process)
            else:
                process.end()
                self._running.discard(process)
                with suppress(OCRError):  # The next call tries again and reports the error.
                    self._idle.append(self._start())
            self._free.notify()

    def _start(self) -> _Process:
        if self._closed:
            raise OCRError("the decoder is closed: create another one")
        try:
            process = _Process(self._limits)
        except OSError as error:
            raise OCRError(
                f"cannot start a decoding process: {error}; check the limit of processes of this user or container"
            ) from error
        self._running.add(process)
        return process


class _Process:
    """One decoding process and its state. Raises OSError if it cannot be started."""

    def __init__(self, limits: DecodeLimits) -> None:
        self._limits = limits
        self._ready = self._decoding = self._pending = False
        self._pdfs = self._resident = 0
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
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
            self._socket.close()
            raise
        finally:
            theirs.close()

    def open(self, data: bytes, kind: str, options: InputOptions) -> Page | InputError | None:
        """Open a file and return its first page, or the error of that page."""
        self._wait_until_ready()
        self._pdfs += kind == "pdf"
        command = {"open": kind, "options": dataclasses.asdict(options), "max_pages": self._limits.max_pages}
        return self._request(command, in_memory(data))

    def next(self) -> Page | InputError | None:
        """Return the next page, or its error; None after the last."""
        return self._request({"next": True})

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def close_file(self) -> bool:
        """Stop decoding the current file; return whether the process can decode another."""
        if self._pending or not self._ready:
            return False
        if self._decoding:
            self._decoding = False
            try:
                send(self._socket, {"stop": True})
            except OSError:
                return False
        grown = self._memory() - self._resident
        return self._pdfs < self._limits.pdf_files and grown < self._limits.memory // MAX_GROWTH

    def kill(self) -> None:
        """Kill the process; a waiting call raises."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Kill the process and close its socket."""
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def _wait_until_ready(self) -> None:
        if self._ready:
            return
        self._pending = True
        self._socket.settimeout(START_SECONDS)
        reply: dict[str, Any] = {}
        with suppress(OSError):
            reply, _ = receive(self._socket)
        if "ready" not in reply:
            raise OCRError(
                "the decoding process does not start: run `python -c 'import ocr_onnx.service.decoding_process'` to find the "
                f"cause {reply.get('crash', '')}"
            )
        if reply.get("missing"):
            _warn(tuple(map(str, reply["missing"])))
        self._pending, self._ready = False, True
        self._resident = self._memory()
        self._socket.settimeout(self._limits.wall_seconds)

    def _request(self, command: dict[str, Any], file: int | None = None) -> Page | InputError | None:
        """Send a command and wait for the page; `_pending` stays set if there is no valid reply."""
        self._pending = True
        try:
            send(self._socket, command, file)
            reply, pixels = receive(self._socket)
            page = None if pixels is None else _page(reply, pixels, self._limits.max_pixels)
            refusal = ERRORS[reply["error"]](reply["text"]) if "error" in reply else None
        except TimeoutError as error:
            raise UnreadableImageError(
                f"the input took longer than {self._limits.wall_seconds:g} seconds per page to decode: {SIMPLIFY}"
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._crashed() from error
        if page is None and refusal is None and "end" not in reply:
            raise self._crashed(reply.get("crash", ""))
        self._pending, self._decoding = False, page is not None or "page" in reply
        if isinstance(refusal, InputError) and "page" in reply:
            refusal.page = int(reply["page"])
            return refusal
        if refusal is not None:
            raise refusal
        return page

    def _crashed(self, crash: str = "") -> InputError:
        """The error for a file that crashed the process."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        status = self._process.returncode
        if status == -signal.SIGXCPU:
            return UnreadableImageError(
                f"the input took more than {self._limits.cpu_seconds} seconds of CPU time per page to decode: {SIMPLIFY}"
            )
        logger.error("a decoding process ended with status %s%s", status, f":\n{crash}" if crash else "")
        return UnreadableImageError(f"the input crashed its decoder: {SIMPLIFY}")

    def _memory(self) -> int:
        """Resident memory in bytes."""
        try:
            statm = Path(f"/proc/{self._process.pid}/statm").read_text("ascii").split()
        except OSError:
            return 0
        return int(statm[1]) * mmap.PAGESIZE if statm else 0


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if INHERITED.fullmatch(name)} | ONE_THREAD


@cache
def _warn(missing: tuple[str, ...]) -> None:
    """Warn once about sandbox features that the kernel lacks."""
    logger.warning(
        "the kernel does not support %s: an image or PDF that exploits its decoder has the permissions of the server",
        " and ".join(missing),
    )


def _page(reply: dict[str, Any], file: int, max_pixels: int) -> Page:
    """The page whose pixels are in an anonymous file, which is sealed against changes and closed here.

    Raises ValueError if the size does not match the process's message or exceeds the limit.
    """
    try:
        height, width = reply["shape"]
        if min(height, width) < 1 or height * width > max_pixels or os.fstat(file).st_size != height * width * 3:
            raise ValueError(f"a page of {width} x {height} pixels in {os.fstat(file).st_size} bytes")
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, SEALS)
        pixels = mmap.mmap(file, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    finally:
        os.close(file)
    image = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
    warnings = tuple(map(str, reply["warnings"]))
    return Page(image, None, reply["index"], reply["count"], warnings, reply["resolution"], reply["scale"])
