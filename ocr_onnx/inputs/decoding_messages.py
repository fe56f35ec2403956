"""The messages between `decoding.Decoder` and its processes: JSON packets on a socket, each of which may carry an anonymous file.

to the process    {"open": kind, "options": ..., "memory": bytes, "name": ...} with the contents of a file, then for a PDF
                  {"page": index, "name": ...}, for an image {"next": true}; {"stop": true}; or, with "convert": function, the
                  pickled contents of a file and objects for its pages
from the process  once {"ready": true, "missing": [sandbox features that the kernel lacks]}; to the opening of a PDF {"count": pages};
                  for a page {"shape": [height, width], "layer": bytes or null, "warnings": [...], ...} with its pixels and the lines of
                  the PDF; {"error": name, "text": ...}, with
                  "page" if further pages follow, or {"end": true}; for a conversion {"converted": true} with the new file;
                  {"crash": traceback} before it exits because of a bug
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from typing import Any

MAX_PACKET = 2**16
"""Bytes."""


def send(wire: socket.socket, message: Mapping[str, Any], file: int | None = None) -> None:
    """Send a packet; the file is closed."""
    try:
        socket.send_fds(wire, [json.dumps(message).encode()], [] if file is None else [file])
    finally:
        if file is not None:
            os.close(file)


def receive(wire: socket.socket) -> tuple[dict[str, Any], int | None]:
    """Receive a packet and its file, which the caller closes; an empty message if the other end has closed."""
    packet, files, _, _ = socket.recv_fds(wire, MAX_PACKET, 1, socket.MSG_CMSG_CLOEXEC)
    return (json.loads(packet) if packet else {}), (files[0] if files else None)


def contents(file: int) -> bytes:
    """Read an anonymous file, and close it."""
    try:
        return os.pread(file, os.fstat(file).st_size, 0)
    finally:
        os.close(file)


def in_memory(*parts: Any) -> int:
    """Create an anonymous file with these bytes."""
    file = os.memfd_create("ocr-onnx", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        for part in parts:
            left = memoryview(part).cast("B")
            while left:
                left = left[os.write(file, left) :]
    except OSError:
        os.close(file)
        raise
    return file
