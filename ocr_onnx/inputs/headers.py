"""The size in a picture's header, for the formats that OpenCV decodes.

Pillow opens a file and its size is checked against the limit; then OpenCV decodes the file. A header that the two parse
differently would pass that check, so it is parsed a third time here, more strictly than either does.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

Size = tuple[int, int]
"""(width, height)"""

SPACE = rb"\s(?:\s|#[^\r\n]*[\r\n])*"
NETPBM = re.compile(rb"P[1-6]" + SPACE + rb"(\d{1,9})" + SPACE + rb"(\d{1,9})\s")
"""A `#` right after a digit does not match: Pillow takes it for a comment inside the number, OpenCV for the number's end."""

MARKER, SCAN = 0xFF, 0xDA
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
NO_SEGMENT = frozenset({0x00, 0x01, *range(0xD0, 0xDA), SCAN})
"""JPEG's markers: of a scan, of the frame headers, which hold the size, and those that no length follows."""

WEBP_BITS, WEBP_MASK = 14, 0x3FFF
"""A side of a WebP."""

BITMAP_CORE = 12
"""Bytes of the oldest BMP header, whose sides have 16 bits."""


def size_for_opencv(data: bytes, form: str | None) -> Size | None:
    """The (width, height) in the header of a file of Pillow's format `form`; None if Pillow should decode it.

    None for other formats than JPEG, PNG, WebP, BMP, Sun and Netpbm, and for a header that can be parsed in two ways.
    """
    read = READERS.get(form or "")
    try:
        return None if read is None else read(data)
    except struct.error:
        return None


def jpeg_scan(data: bytes) -> int:
    """The offset of a JPEG's first scan: a thumbnail, with an end mark of its own, may stand before it."""
    return _jpeg_headers(data)[1]


def _jpeg_headers(data: bytes) -> tuple[list[int], int]:
    """The offsets of the frame headers before a JPEG's first scan, and of that scan, or of what is no segment."""
    frames, at = [], 2
    while at + 4 <= len(data) and data[at] == MARKER and data[at + 1] not in NO_SEGMENT:
        if data[at + 1] in FRAMES:
            frames.append(at)
        at += 1 if data[at + 1] == MARKER else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return frames, at


def _jpeg(data: bytes) -> Size | None:
    """The size in the only frame header before the scan."""
    frames, scan = _jpeg_headers(data)
    if len(frames) != 1 or data[scan : scan + 2] != bytes([MARKER, SCAN]):
        return None
    height, width = struct.unpack_from(">HH", data, frames[0] + 5)
    return width, height


def _png(data: bytes) -> Size | None:
    """The size in the first chunk: Pillow takes the last IHDR, libpng and OpenCV the first."""
    name, width, height = struct.unpack_from(">4sII", data, 12)
    return (width, height) if name == b"IHDR" else None


def _webp(data: bytes) -> Size | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & WEBP_MASK) + 1, (bits >> WEBP_BITS & WEBP_MASK) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return (width & WEBP_MASK, height & WEBP_MASK) if kind == b"VP8 " else None


def _bmp(data: bytes) -> Size | None:
    (length,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if length == BITMAP_CORE else "<ii", data, 18)
    return width, abs(height)


def _sun(data: bytes) -> Size | None:
    width, height = struct.unpack_from(">II", data, 4)
    return width, height


def _netpbm(data: bytes) -> Size | None:
    found = NETPBM.match(data)
    return None if found is None else (int(found[1]), int(found[2]))


READERS: dict[str, Callable[[bytes], Size | None]] = {
    "BMP": _bmp,
    "JPEG": _jpeg,
    "MPO": _jpeg,
    "PNG": _png,
    "PPM": _netpbm,
    "SUN": _sun,
    "WEBP": _webp,
}
"""By Pillow's names. TIFF is Pillow's as in the reference, and GIF, which OpenCV reads in newer versions alone."""
