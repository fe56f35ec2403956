"""The child process of `decoding.Decoder`: decodes files within limits that the kernel enforces.

Standard input is a socket; `decoding_messages` has the messages.
"""

from __future__ import annotations

import math
import os
import pickle
import resource
import select
import signal
import socket
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import cache, partial
from importlib import import_module
from pkgutil import resolve_name
from types import TracebackType
from typing import Any

import cv2
import PIL.Image

from ocr_onnx.errors import InputError, NotEnoughMemoryError, OCRError, UnreadableImageError
from ocr_onnx.inputs import fonts, pdf_fonts, pdf_text, sandbox
from ocr_onnx.inputs.decoding_messages import contents, in_memory, receive, send
from ocr_onnx.inputs.documents import is_pdf, read_file
from ocr_onnx.inputs.page_warnings import decode_page
from ocr_onnx.inputs.pdf import PdfiumDocument
from ocr_onnx.options import InputOptions
from ocr_onnx.types import Page

DESCRIBED = ("index", "count", "resolution", "scale")
"""The fields of a page that are sent in its packet."""

MAX_TEXT = 4000
"""Characters of an error message or traceback."""

MAX_WARNINGS, MAX_WARNING = 8, 500
"""Warnings of a page, and characters of each."""

OPEN_FILES = 64
"""Decoders open no files, but deferred imports do."""

HARD_LIMIT_FACTOR = 2
"""The hard limit relative to the soft limit of memory: an exploited decoder cannot raise the soft limit beyond it."""

FONTS = ("/usr/share/fonts", "/usr/local/share/fonts", "/usr/share/X11/fonts/Type1", "/usr/share/X11/fonts/TTF")
"""Folders in which PDFium looks for fonts that a PDF does not embed."""


def main() -> None:
    """Decode files until the server closes the socket, which also happens if it is killed."""
    memory, cpu_seconds, *modules = sys.argv[1].split(",")
    limits = int(memory), int(cpu_seconds)
    wire = socket.socket(fileno=0)
    sys.excepthook = _crash_reporter(wire)
    _load(modules)
    # Restricts this thread and the threads that it starts later.
    missing = sandbox.enter(_readable())
    threading.Thread(target=_exit_on_hangup, args=(wire.fileno(),), daemon=True).start()
    _set_hard_limits(limits[0])
    send(wire, {"ready": True, "missing": missing})
    while True:
        command, file = receive(wire)
        if not command:
            return
        if file is not None:
            with suppress(_Stopped):
                send(wire, _serve(wire, command, file, limits))


class _Stopped(Exception):  # noqa: N818 no error
    """The server wants nothing further of a file."""


def _serve(wire: socket.socket, command: dict[str, Any], file: int, limits: tuple[int, int]) -> Mapping[str, Any]:
    """Send the pages of a file on request, or the file that it is converted to; return the last message."""
    data = contents(file)
    memory, cpu_seconds = min(limits[0], command["memory"]), limits[1]
    try:
        with _limited(memory, cpu_seconds):
            if "convert" in command:
                send(wire, {"converted": True}, in_memory(_converted(data, command, cpu_seconds)))
                raise _Stopped
            _check_kind(data, command["open"])
            serve = _serve_pdf if data and command["open"] == "pdf" else _serve_image
            serve(wire, data, command, cpu_seconds)
    except OCRError as error:
        return _described(error)
    except MemoryError:
        text = f"decoding {command['name']} needs more than {memory // 2**20} MB: reduce it, or split it"
        return {"error": NotEnoughMemoryError.__name__, "text": text}
    return {"end": True}


def _check_kind(data: bytes, kind: str) -> None:
    """Raise UnreadableImageError if a file is not of the expected kind."""
    if data and is_pdf(data) != (kind == "pdf"):
        raise UnreadableImageError(
            "the input is a PDF, not an image: send it with fileType 0"
            if kind == "image"
            else "the input is not a PDF: send an image with fileType 1, or download the PDF again if it is incomplete"
        )


def _converted(pickled: bytes, command: dict[str, Any], cpu_seconds: int) -> bytes:
    """Call the function of a conversion."""
    data, pages = pickle.loads(pickled)  # noqa: S301 the server has made it
    _check_kind(data, command["open"])

    def counted() -> Iterator[object]:
        for page in pages:
            yield pickle.loads(page)  # noqa: S301
            _begin_page(cpu_seconds)

    found = resolve_name(command["convert"])(data, counted(), InputOptions(**command["options"]))
    return bytes(found)


def _serve_pdf(wire: socket.socket, data: bytes, command: dict[str, Any], cpu_seconds: int) -> None:
    """Send the number of pages, then each page that is requested."""
    with closing(PdfiumDocument(data, command["name"], InputOptions(**command["options"]))) as document:
        send(wire, {"count": document.count})
        while "page" in (request := receive(wire)[0]):
            _begin_page(cpu_seconds)
            index, name = request["page"], request["name"]
            try:
                page: Page | InputError = decode_page(partial(document.render, index, name), None)
            except InputError as error:
                page, error.page = error, index + 1
            _send_page(wire, page)
        raise _Stopped


def _serve_image(wire: socket.socket, data: bytes, command: dict[str, Any], cpu_seconds: int) -> None:
    """Send each page in order."""
    with closing(read_file(data, None, InputOptions(**command["options"]))) as pages:
        for page in pages:
            _send_page(wire, page)
            if "next" not in receive(wire)[0]:
                raise _Stopped
            _begin_page(cpu_seconds)


def _send_page(wire: socket.socket, page: Page | InputError) -> None:
    """Send a page, or the error of a page that cannot be decoded."""
    if isinstance(page, InputError):
        send(wire, _described(page) | {"page": page.page})
    else:
        described = {name: getattr(page, name) for name in DESCRIBED} | {"shape": page.image.shape[:2]}
        described["warnings"] = [text[:MAX_WARNING] for text in page.warnings[:MAX_WARNINGS]]
        layer = None if page.layer is None else pdf_text.packed(page.layer)
        described["layer"] = None if layer is None else len(layer)
        send(wire, described, in_memory(page.image, layer or b""))


def _described(error: OCRError) -> dict[str, Any]:
    return {"error": type(error).__name__, "text": str(error)[:MAX_TEXT]}


@contextmanager
def _limited(memory: int, cpu_seconds: int) -> Iterator[None]:
    """Limit memory above the present use, and CPU time, during the block."""
    _set(resource.RLIMIT_AS, _addresses() + memory)
    _begin_page(cpu_seconds)
    try:
        yield
    finally:
        _set(resource.RLIMIT_AS, resource.RLIM_INFINITY)
        _set(resource.RLIMIT_CPU, resource.RLIM_INFINITY)


def _begin_page(cpu_seconds: int) -> None:
    _set(resource.RLIMIT_CPU, math.ceil(time.process_time()) + cpu_seconds)


def _set(kind: int, limit: int) -> None:
    """Set a soft limit, at most the hard limit."""
    resource.setrlimit(kind, (_allowed(kind, limit), resource.getrlimit(kind)[1]))


def _allowed(kind: int, limit: int) -> int:
    """The lower of a limit and the hard limit."""
    hard = resource.getrlimit(kind)[1]
    known = [each for each in (limit, hard) if each != resource.RLIM_INFINITY]
    return min(known, default=resource.RLIM_INFINITY)


def _addresses() -> int:
    """The size of the process's address space in bytes."""
    return int(os.pread(_statm(), 100, 0).split()[0]) * resource.getpagesize()


@cache
def _statm() -> int:
    """A file descriptor, because the sandbox later forbids opening files in /proc."""
    return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)


def _load(modules: Iterable[str]) -> None:
    """Ignore signals that are meant for the server, and load all decoders, and those of the modules that are installed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for module in modules:
        with suppress(ImportError):
            import_module(module)
    cv2.setNumThreads(1)
    PIL.Image.init()
    _statm()


def _readable() -> list[str]:
    """The folders and files that stay readable: fonts, Python's standard library, and loaded packages."""
    standard = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    packages = [path for module in tuple(sys.modules.values()) for path in getattr(module, "__path__", ())]
    found = map(str, pdf_fonts.find_installed())
    return list(dict.fromkeys([*FONTS, *found, *map(str, fonts.package_folders()), *standard, *packages]))


def _set_hard_limits(memory: int) -> None:
    """Set limits that the process cannot raise again."""
    for kind, limit in (
        (resource.RLIMIT_AS, _addresses() + HARD_LIMIT_FACTOR * memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, memory),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(kind, (_allowed(kind, limit),) * 2)


def _exit_on_hangup(wire: int) -> None:
    """Exit when the server closes the socket, even during decoding."""
    poll = select.poll()
    poll.register(wire, 0)
    poll.poll()
    os._exit(0)


def _crash_reporter(wire: socket.socket) -> Any:
    """An excepthook that sends the traceback to the server, because standard error is discarded: decoders flood it."""

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        with suppress(OSError):
            send(wire, {"crash": "".join(traceback.format_exception(kind, error, trace))[-MAX_TEXT:]})

    return report


if __name__ == "__main__":
    main()
