"""What runs in a process of `decoding.Decoder`: reads the files it is sent, within limits that the kernel keeps.

Standard input is a socket. On it come packets of JSON, each with at most one file in memory:

to here    {"open": kind, "options": ..., "max_pages": ...} with a file's contents; {"next": true}; {"stop": true}
from here  {"ready": true, "lacking": [what the kernel does not restrict]} once; for "open" and "next" {"shape": [height, width], "index": ..., "count": ...} with the
           pixels of a page, {"end": true}, or {"error": name, "text": ...}; {"crash": traceback} before dying of a bug
"""

from __future__ import annotations

import json
import math
import os
import resource
import select
import signal
import socket
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import cache
from itertools import islice
from types import TracebackType
from typing import Any

import cv2
import PIL.Image

from ocr_onnx.errors import NotEnoughMemoryError, OCRError, UnreadableImageError
from ocr_onnx.inputs.documents import PDF_SIGNATURE, read_file
from ocr_onnx.options import InputOptions
from ocr_onnx.service import sandbox
from ocr_onnx.types import Page

PACKET = 2**16
"""The most bytes of one packet."""

TEXT = 4000
"""Characters of an error's message or traceback that are passed on."""

OPEN_FILES = 64
"""Decoders open none; Python does when it imports something late."""

HARD = 2
"""Times the memory for a file: no more is ever taken, whatever a process that was taken over asks for."""

FONTS = ("/usr/share/fonts", "/usr/local/share/fonts", "/usr/share/X11/fonts/Type1", "/usr/share/X11/fonts/TTF")
"""Where PDFium looks for fonts that a PDF does not carry."""


def main() -> None:
    """Serve until the other end closes, which it does even where the server is killed."""
    memory, cpu_seconds = map(int, sys.argv[1].split(","))
    wire = socket.socket(fileno=0)
    sys.excepthook = _crashing(wire)
    _load()
    # It restricts the calling thread and those that this one starts later.
    lacking = sandbox.enter(_readable())
    threading.Thread(target=_end_with, args=(wire.fileno(),), daemon=True).start()
    _settle(memory)
    send(wire, {"ready": True, "lacking": lacking})
    while True:
        order, file = receive(wire)
        if not order:
            return
        if file is not None:
            with suppress(_Stopped):
                send(wire, _serve(wire, order, file, (memory, cpu_seconds)))


def send(wire: socket.socket, message: Mapping[str, Any], file: int | None = None) -> None:
    """One packet; the file is closed here."""
    try:
        socket.send_fds(wire, [json.dumps(message).encode()], [] if file is None else [file])
    finally:
        if file is not None:
            os.close(file)


def receive(wire: socket.socket) -> tuple[dict[str, Any], int | None]:
    """One packet and its file, which is the caller's to close; nothing where the other end closed."""
    packet, files, _, _ = socket.recv_fds(wire, PACKET, 1, socket.MSG_CMSG_CLOEXEC)
    return (json.loads(packet) if packet else {}), (files[0] if files else None)


def in_memory(contents: Any) -> int:
    """A file without a name that holds these bytes, and is gone once nobody has it open."""
    file = os.memfd_create("ocr-onnx", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        left = memoryview(contents).cast("B")
        while left:
            left = left[os.write(file, left) :]
    except OSError:
        os.close(file)
        raise
    return file


class _Stopped(Exception):  # noqa: N818 no error
    """Nobody wants the other pages."""


def _serve(wire: socket.socket, order: dict[str, Any], file: int, limits: tuple[int, int]) -> Mapping[str, Any]:
    """Send the pages of a file, each when it is asked for; returns what is to be said last."""
    data = _contents(file)
    try:
        with _limited(*limits), closing(_pages(data, order)) as pages:
            for page in pages:
                described = {"shape": page.image.shape[:2], "index": page.index, "count": page.count}
                send(wire, described, in_memory(page.image))
                if "next" not in receive(wire)[0]:
                    raise _Stopped
                _begin_page(limits[1])
    except OCRError as error:
        return {"error": type(error).__name__, "text": str(error)[:TEXT]}
    except MemoryError:
        text = f"the input takes more than {limits[0] // 2**20} MB to decode: reduce it, or cut it into parts"
        return {"error": NotEnoughMemoryError.__name__, "text": text}
    return {"end": True}


def _pages(data: bytes, order: dict[str, Any]) -> Generator[Page, None, None]:
    """The pages of a file that is of the kind it was said to be."""
    is_pdf = PDF_SIGNATURE in data[:1024]
    if data and is_pdf != (order["open"] == "pdf"):
        raise UnreadableImageError(
            "the input is a PDF and no picture: send it as one (fileType 0)"
            if is_pdf
            else "the input is no PDF: send a picture as one (fileType 1), or get the PDF again whole"
        )
    yield from islice(read_file(data, None, InputOptions(**order["options"])), order["max_pages"])


def _contents(file: int) -> bytes:
    try:
        return os.pread(file, os.fstat(file).st_size, 0)
    finally:
        os.close(file)


@contextmanager
def _limited(memory: int, cpu_seconds: int) -> Iterator[None]:
    """Limit what is taken above what there is now. Errors are told, and the next file is awaited, without limits."""
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
    """The soft limit, as near as the hard one lets it."""
    resource.setrlimit(kind, (_allowed(kind, limit), resource.getrlimit(kind)[1]))


def _allowed(kind: int, limit: int) -> int:
    """A limit, or the hard one where that is lower."""
    hard = resource.getrlimit(kind)[1]
    known = [each for each in (limit, hard) if each != resource.RLIM_INFINITY]
    return min(known, default=resource.RLIM_INFINITY)


def _addresses() -> int:
    """How many bytes of addresses the process has."""
    return int(os.pread(_statm(), 100, 0).split()[0]) * resource.getpagesize()


@cache
def _statm() -> int:
    """An open file, for no other can be opened in /proc later."""
    return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)


def _load() -> None:
    """Ignore signals for the server, and load all decoders."""
    import pypdfium2  # noqa: F401 documents.py would load it at the first PDF, when it counts towards the limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    cv2.setNumThreads(1)
    PIL.Image.init()
    _statm()


def _readable() -> list[str]:
    """The folders that stay readable: fonts for PDFs, Python's standard library, and packages that are loaded."""
    standard = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    packages = [path for module in tuple(sys.modules.values()) for path in getattr(module, "__path__", ())]
    return list(dict.fromkeys([*FONTS, *standard, *packages]))


def _settle(memory: int) -> None:
    """Limits that the process cannot raise again."""
    for kind, limit in (
        (resource.RLIMIT_AS, _addresses() + HARD * memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, memory),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(kind, (_allowed(kind, limit),) * 2)


def _end_with(wire: int) -> None:
    """End when the other end closes, in the midst of a page too."""
    poll = select.poll()
    poll.register(wire, 0)
    poll.poll()
    os._exit(0)


def _crashing(wire: socket.socket) -> Any:
    """What tells the server of a bug of ours; decoders write much to standard error, and it leads nowhere."""

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        with suppress(OSError):
            send(wire, {"crash": "".join(traceback.format_exception(kind, error, trace))[-TEXT:]})

    return tell


if __name__ == "__main__":
    main()
