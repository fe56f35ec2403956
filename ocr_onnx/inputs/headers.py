"""Parse the size in the header of an image, for the formats that OpenCV decodes.

Pillow opens a file, and the size that it finds is checked against the limit; then OpenCV decodes the file. A header from which the
two libraries read different sizes would evade that check, so this module parses it as well, more strictly than both.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from itertools import pairwise

Size = tuple[int, int]
"""(width, height)"""

NETPBM_SPACE = rb"\s(?:\s|#[^\r\n]*[\r\n])*"
NETPBM = re.compile(rb"P[1-6]" + NETPBM_SPACE + rb"(\d{1,9})" + NETPBM_SPACE + rb"(\d{1,9})\s")
"""A `#` directly after a digit does not match: in Pillow it begins a comment within the number, in OpenCV it ends the number."""

MARKER_PREFIX, SCAN_MARKER = 0xFF, 0xDA
FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
MARKERS_WITHOUT_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xDA), SCAN_MARKER})
"""Markers of JPEG: of a scan, of the frame headers, which contain the size, and those that are not followed by a length."""

METADATA_MARKERS = frozenset({*range(0xE0, 0xF0), 0xFE})
"""Markers of the segments of applications, such as EXIF data, and of comments."""

ADOBE, ADOBE_SEGMENT = b"Adobe", 16
"""The name and the least length of the segment that tells the colors of a JPEG."""

WEBP_BITS, WEBP_MASK = 14, 0x3FFF
"""The bits of a side of a WebP."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHUNK_OVERHEAD = 12
"""Bytes of a chunk's length, name and checksum in a PNG."""

BMP_CORE_HEADER = 12
"""Length in bytes of the oldest BMP header, which has 16-bit sides."""


def size_for_opencv(data: bytes, image_format: str | None) -> Size | None:
    """Return the size in the header of a file of format `image_format` (Pillow's name); None if Pillow should decode it.

    That is so for formats other than JPEG, PNG, WebP, BMP, Sun and Netpbm, and for an ambiguous header.
    """
    read = READERS.get(image_format or "")
    try:
        return None if read is None else read(data)
    except struct.error:
        return None


def jpeg_scan_offset(data: bytes) -> int:
    """Return the offset of the first scan of a JPEG. A thumbnail with its own end marker may precede it."""
    return _jpeg_headers(data)[1]


def jpeg_without_metadata(data: bytes) -> bytes:
    """Return a JPEG without comments and the segments of applications, except that of Adobe, which tells the colors."""
    begins = [*_jpeg_segments(data), jpeg_scan_offset(data)]
    segments = (data[begin:end] for begin, end in pairwise(begins))
    kept = (each for each in segments if each[1] not in METADATA_MARKERS or _is_adobe(each))
    return data[:2] + b"".join(kept) + data[begins[-1] :]


def _is_adobe(segment: bytes) -> bool:
    return segment[4:].startswith(ADOBE) and len(segment) >= ADOBE_SEGMENT


def _jpeg_headers(data: bytes) -> tuple[list[int], int]:
    """Return the offsets of the frame headers before the first scan of a JPEG, and of that scan or of the first invalid segment."""
    segments = list(_jpeg_segments(data))
    frames = [at for at in segments if data[at + 1] in FRAME_MARKERS]
    return frames, segments[-1] + _segment_length(data, segments[-1]) if segments else 2


def _jpeg_segments(data: bytes) -> Iterator[int]:
    """Yield the offset of each segment before the first scan of a JPEG, up to the first invalid one."""
    at = 2
    while at + 4 <= len(data) and data[at] == MARKER_PREFIX and data[at + 1] not in MARKERS_WITHOUT_LENGTH:
        yield at
        at += _segment_length(data, at)


def _segment_length(data: bytes, at: int) -> int:
    """Return the bytes of a segment with its marker; one byte of padding before a marker is a segment."""
    return 1 if data[at + 1] == MARKER_PREFIX else 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def _jpeg(data: bytes) -> Size | None:
    """Return the size in the frame header before the scan; None if there is not exactly one."""
    frames, scan = _jpeg_headers(data)
    if len(frames) != 1 or data[scan : scan + 2] != bytes([MARKER_PREFIX, SCAN_MARKER]):
        return None
    height, width = struct.unpack_from(">HH", data, frames[0] + 5)
    return width, height


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, the start and the end of each chunk of a PNG; the last end is outside of a truncated file."""
    at = len(PNG_SIGNATURE)
    while at < len(data):
        end = at + CHUNK_OVERHEAD + int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], at, end
        at = end


def _png(data: bytes) -> Size | None:
    """Return the size in the first chunk: libpng and OpenCV use the first IHDR chunk, Pillow the last.

    Return None for a chunk that ends outside of the file: OpenCV allocates up to 4 GB for it before it reads.
    """
    name, width, height = struct.unpack_from(">4sII", data, 12)
    return (width, height) if name == b"IHDR" and _has_whole_chunks(data) else None


def _has_whole_chunks(data: bytes) -> bool:
    for name, _, end in png_chunks(data):
        if end > len(data) or name == b"IEND":
            return end <= len(data)
    return True


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
    width, height = struct.unpack_from("<HH" if length == BMP_CORE_HEADER else "<ii", data, 18)
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
"""Parsers by Pillow's format name. Pillow decodes TIFF, as in PaddleX, and GIF, which only newer versions of OpenCV read."""
