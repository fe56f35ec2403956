"""One decoding process, as its parent sees it: started with limits, asked for pages, and killed if it exceeds a limit."""

from __future__ import annotations

import dataclasses
import errno
import logging
import mmap
import os
import pickle
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ocr_onnx import errors, python_process
from ocr_onnx.declarations import check_number
from ocr_onnx.errors import InputError, OCRError, UnreadableImageError
from ocr_onnx.inputs.decoder_errors import out_of_memory
from ocr_onnx.inputs.decoding_messages import contents, in_memory, receive, send
from ocr_onnx.inputs.pdf_text import unpacked
from ocr_onnx.options import LARGEST_MAX_PIXELS, MAX_PIXELS, InputOptions
from ocr_onnx.runtime import memory
from ocr_onnx.types import Page

logger: logging.Logger = logging.getLogger(__name__)

START_SECONDS = 60
"""Timeout for starting a process, for a busy machine."""

END_SECONDS = 5
"""Timeout for the exit of a process that was killed or closed its socket."""

ERRORS: dict[str, type[OCRError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, InputError | errors.OptionError | errors.OutputError)
}
"""The exceptions that a process may pass on, by name."""

MAX_GROWTH = 4
"""A process whose memory grew by its limit divided by this is replaced."""

UNEXPECTED = "an unexpected reply"

SIMPLIFY = "it is damaged or too large: save it again, smaller or in another format"

MAX_LAYER = 2**25
"""Bytes of the lines of a PDF. Pages with more than 100,000 characters are read."""

MAX_PDF_PAGES = 2**20
"""PDFium's limit."""

INHERITED = re.compile(
    r"PATH|LANG|LANGUAGE|LC_\w+|TZ|LD_LIBRARY_PATH|LD_PRELOAD"
    r"|HOME|OCR_ONNX_FONT|PYTHON(HOME|PLATLIBDIR|UTF8|DONTWRITEBYTECODE|PYCACHEPREFIX|NOUSERSITE)"
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
    remedy: str = SIMPLIFY
    """What the error of a page that exceeds its time suggests."""

    def __post_init__(self) -> None:
        check_number("memory", self.memory, 2**24, whole=True)
        check_number("cpu_seconds", self.cpu_seconds, 1, 86_400, whole=True)
        check_number("wall_seconds", self.wall_seconds, 0.001, 86_400)
        check_number("max_pixels", self.max_pixels, 1, LARGEST_MAX_PIXELS, whole=True)
        check_number("pdf_files", self.pdf_files, 1, whole=True)
        if self.max_pages is not None:
            check_number("max_pages", self.max_pages, 1, whole=True)


Outcome: TypeAlias = Page | InputError | int | bytes | None
"""A page, the error of one, the number of pages, a converted file, or the end."""


class DecodingProcess:
    """One decoding process and its state. Raises OSError if it cannot be started."""

    def __init__(
        self, limits: DecodeLimits, on_missing: Callable[[tuple[str, ...]], None], modules: Sequence[str] = ()
    ) -> None:
        self._limits, self._on_missing = limits, on_missing
        self._ready = self._decoding = self._pending = False
        self._pdfs = self._resident = 0
        arguments = ",".join((str(limits.memory), str(limits.cpu_seconds), *modules))
        command = python_process.function("ocr_onnx.inputs.decoding_process", arguments)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
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

    def open_image(self, data: bytes, name: str, options: InputOptions) -> Page | InputError | None:
        """Open an image and return its first page, or the error of that page."""
        return self._page_or_end(self._open(data, {"open": "image", "name": name}, options), name)

    def next(self, name: str) -> Page | InputError | None:
        """Return the next page of the open image, or its error; None after the last."""
        return self._page_or_end(self._request({"next": True}, name), name)

    def open_pdf(self, data: bytes, name: str, options: InputOptions) -> int:
        """Open a PDF and return the number of its pages."""
        self._pdfs += 1
        count = self._open(data, {"open": "pdf", "name": name}, options)
        if not isinstance(count, int):
            raise self._crashed(name, UNEXPECTED)
        return count

    def convert(
        self, data: bytes, name: str, options: InputOptions, conversion: tuple[str, str], pages: Sequence[bytes]
    ) -> bytes:
        """Convert a file; `conversion` is its kind and the function."""
        self._pdfs += 1
        kind, function = conversion
        command = {"open": kind, "name": name, "convert": function}
        converted = self._open(pickle.dumps((data, pages)), command, options, len(pages) + 1)
        if not isinstance(converted, bytes):
            raise self._crashed(name, UNEXPECTED)
        return converted

    def render(self, index: int, name: str) -> Page:
        """Return a page of the open PDF. Raises an InputError."""
        page = self._page_or_end(self._request({"page": index, "name": name}, name), name)
        if isinstance(page, InputError):
            raise page
        if page is None:
            raise self._crashed(name, UNEXPECTED)
        return page

    @property
    def is_usable(self) -> bool:
        """Whether the process answered every request."""
        return not self._pending

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

    def abandon(self) -> None:
        """Close the socket and leave the process."""
        self._socket.close()

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
                "the decoding process does not start: run `python -c 'import ocr_onnx.inputs.decoding_process'` to find the "
                f"cause {reply.get('crash', '')}"
            )
        if reply.get("missing"):
            self._on_missing(tuple(map(str, reply["missing"])))
        self._pending, self._ready = False, True
        self._resident = self._memory()

    def _open(self, data: bytes, command: dict[str, Any], options: InputOptions, pages: int = 1) -> Outcome:
        """Send a command with a file, which may take the time of `pages` pages."""
        self._wait_until_ready()
        room = memory.remaining()
        allowed = self._limits.memory if room is None else min(self._limits.memory, room)
        command |= {"options": dataclasses.asdict(options), "memory": allowed}
        name = command["name"]
        try:
            file = in_memory(data)
        except OSError as error:
            if error.errno in {errno.ENOMEM, errno.ENOSPC}:
                raise out_of_memory(name) from error
            raise OCRError(
                f"{name} cannot be given to a decoding process: {error}; raise the limit of open files"
            ) from error
        return self._request(command, name, file, pages)

    def _request(self, command: dict[str, Any], name: str, file: int | None = None, pages: int = 1) -> Outcome:
        """Send a command; return the page, the error of the page, the number of pages, a converted file, or None for the end.

        Raises the error of the whole file. `_pending` stays set if there is no valid reply.
        """
        self._pending = True
        self._socket.settimeout(self._limits.wall_seconds * pages)
        try:
            send(self._socket, command, file)
            reply, sent = receive(self._socket)
            outcome = self._outcome(reply, sent)
        except TimeoutError as error:
            seconds = f"{self._limits.wall_seconds:g} seconds"
            raise UnreadableImageError(f"{name} took longer than {seconds} to decode: {self._limits.remedy}") from error
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOMEM:
                raise out_of_memory(name) from error
            raise self._crashed(name, str(error)) from error
        self._pending = False
        self._decoding = not isinstance(outcome, OCRError | bytes | None) or "page" in reply
        if isinstance(outcome, OCRError) and not (isinstance(outcome, InputError) and self._decoding):
            raise outcome
        return outcome

    def _outcome(self, reply: dict[str, Any], file: int | None) -> Page | OCRError | int | bytes | None:
        """Convert a reply. Raises ValueError, KeyError or TypeError if it is not valid."""
        if file is not None:
            return contents(file) if "converted" in reply else _page(reply, file, self._limits.max_pixels)
        if "error" in reply:
            error = ERRORS[reply["error"]](reply["text"])
            if isinstance(error, InputError) and "page" in reply:
                error.page = int(reply["page"])
            return error
        if "end" in reply:
            return None
        count = int(reply["count"]) if "count" in reply else -1
        if not 0 <= count <= MAX_PDF_PAGES:
            raise ValueError(reply.get("crash", UNEXPECTED))
        return count

    def _page_or_end(self, outcome: Outcome, name: str) -> Page | InputError | None:
        if isinstance(outcome, int | bytes):
            raise self._crashed(name, UNEXPECTED)
        return outcome

    def _crashed(self, name: str, crash: str) -> InputError:
        """The error for a file that crashed the process, which is not used again."""
        self._pending = True
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        status = self._process.returncode
        if status == -signal.SIGXCPU:
            seconds = f"{self._limits.cpu_seconds} seconds of CPU time"
            return UnreadableImageError(f"{name} took more than {seconds} to decode: {self._limits.remedy}")
        logger.error("a decoding process ended with status %s%s", status, f":\n{crash}" if crash else "")
        return UnreadableImageError(f"{name} crashed its decoder: {SIMPLIFY}")

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
def warn_of_missing(missing: tuple[str, ...]) -> None:
    """Warn once about sandbox features that the kernel lacks."""
    logger.warning(
        "the kernel does not support %s: an image or PDF that exploits its decoder has the permissions of the server",
        " and ".join(missing),
    )


def _page(reply: dict[str, Any], file: int, max_pixels: int) -> Page:
    """The page whose pixels, and lines of a PDF, are in an anonymous file, which is sealed against changes and closed here.

    Raises ValueError or TypeError if it does not match the process's message or exceeds a limit.
    """
    import fcntl  # Of Linux, but this module is imported on every system.

    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
    try:
        height, width = reply["shape"]
        size, layer_size = height * width * 3, reply["layer"] or 0
        is_allowed = min(height, width) > 0 and height * width <= max_pixels and 0 <= layer_size <= MAX_LAYER
        if not is_allowed or os.fstat(file).st_size != size + layer_size:
            raise ValueError(f"a page of {width} x {height} pixels in {os.fstat(file).st_size} bytes")
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
        pixels = mmap.mmap(file, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    finally:
        os.close(file)
    image = np.frombuffer(pixels, np.uint8, size).reshape(height, width, 3)
    layer = None if reply["layer"] is None else unpacked(pixels[size:])
    warnings = tuple(map(str, reply["warnings"]))
    return Page(image, None, reply["index"], reply["count"], warnings, reply["resolution"], reply["scale"], layer=layer)
