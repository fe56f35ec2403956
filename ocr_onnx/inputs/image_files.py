"""Make image files acceptable to the decoders, which are stricter than each other: metadata of a PNG, and missing end markers."""

from __future__ import annotations

import io
import zlib

import numpy as np
import PIL.Image

from ocr_onnx.errors import UnreadableImageError
from ocr_onnx.inputs.decoder_errors import decoder_errors, require_memory
from ocr_onnx.inputs.headers import (
    CHUNK_OVERHEAD,
    PNG_SIGNATURE,
    jpeg_scan_offset,
    jpeg_without_metadata,
    png_chunks,
)
from ocr_onnx.inputs.page_warnings import warn

JPEG_SIGNATURE, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"

DECODED_CHUNKS = frozenset({b"tRNS", b"eXIf", b"pHYs", b"acTL", b"fcTL", b"fdAT"})
"""The chunks of a PNG that are not critical, but change its pixels, its size or its number of frames."""

FILLER = b"\x55" * 4096
"""Data after the end of a JPEG: if pixels are missing, it is decoded as their data, and changes them."""

COMPARED_BYTES = 8
"""Bytes per pixel that comparing two decodings takes."""


def without_metadata(data: bytes) -> bytes:
    """Return a PNG without text, color profile and other metadata, which Pillow refuses if it is large or has a wrong checksum.

    Other files are returned as they are.
    """
    if not data.startswith(PNG_SIGNATURE):
        return data
    chunks = [(name, data[start:end]) for name, start, end in png_chunks(data)]
    kept = [each for name, each in chunks if not name[:1].islower() or (name in DECODED_CHUNKS and _is_intact(each))]
    return data if len(kept) == len(chunks) else PNG_SIGNATURE + b"".join(kept)


def pixels_alone(data: bytes) -> bytes:
    """Return a JPEG or PNG without any metadata, which may be too damaged for Pillow to open the file; other decoders ignore them.

    Other files are returned as they are.
    """
    if data.startswith(PNG_SIGNATURE):
        return PNG_SIGNATURE + b"".join(
            data[start:end] for name, start, end in png_chunks(data) if not name[:1].islower()
        )
    if data.startswith(JPEG_SIGNATURE):
        return jpeg_without_metadata(data)
    return data


def _is_intact(chunk: bytes) -> bool:
    return len(chunk) >= CHUNK_OVERHEAD and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def lacks_end(data: bytes) -> bool:
    """Return whether a JPEG or PNG has no end marker."""
    if data.startswith(JPEG_SIGNATURE):
        return JPEG_END not in data[jpeg_scan_offset(data) :]
    return data.startswith(PNG_SIGNATURE) and b"IEND" not in data


def truncated(name: str) -> UnreadableImageError:
    """Return the error of a truncated file: decoders fill the rest of the image with gray, and text would be missing."""
    return UnreadableImageError(f"{name} is truncated: its end marker is missing; download or copy it again")


def with_end(data: bytes, size: tuple[int, int], name: str) -> bytes:
    """Return a JPEG or PNG of `size` with the end marker that it lacks, which is a warning.

    Raises UnreadableImageError if pixels are missing, too.
    """
    require_memory(size[0] * size[1], COMPARED_BYTES, name)
    with decoder_errors(name):
        complete = _has_all_pixels(data)
    if not complete:
        raise truncated(name)
    warn(f"the end marker of {name} is missing; all of its pixels are read")
    return data + (JPEG_END if data.startswith(JPEG_SIGNATURE) else PNG_END)


def _has_all_pixels(data: bytes) -> bool:
    if data.startswith(PNG_SIGNATURE):
        try:
            return _pixels(without_metadata(data)).size > 0
        except (OSError, SyntaxError):
            return False
    return np.array_equal(_pixels(data + JPEG_END), _pixels(data + FILLER + JPEG_END))


def _pixels(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with PIL.Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as picture:
        return np.asarray(picture)
