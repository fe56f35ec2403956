"""Inputs to pictures: path, bytes, array, PDF or TIFF page, folder; lazily, and bounded in size."""

from __future__ import annotations

import io
import logging
import math
import os
import re
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import PIL.Image
import pypdfium2
from numpy.typing import NDArray

from ocr_onnx.errors import ImageTooLargeError, InputNotFoundError, UnreadableImageError, UnsupportedInputError
from ocr_onnx.types import Image, Page

logger = logging.getLogger(__name__)

Source: TypeAlias = "str | os.PathLike[str] | bytes | NDArray[np.uint8] | Iterable[Source]"
"""What can be read: a path (file or folder), a file's bytes, a picture's array, or several of these."""

SUFFIXES = frozenset(
    {".bmp", ".dib", ".gif", ".jpeg", ".jpg", ".pbm", ".pdf", ".pgm", ".png", ".pnm", ".ppm", ".ras", ".sr"}
    | {".tif", ".tiff", ".webp"}
)
"""What is taken from a folder. A file named by itself is told by its contents."""

FORMATS = ("BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", "SUN", "TIFF", "WEBP")
"""What is decoded, by Pillow's names. Not JPEG 2000: OpenCV's decoder can be made to crash."""

MAX_PIXELS = 178_956_970
"""The largest picture read, in pixels; PDF pages are rendered smaller instead. Pillow's limit, and the reference's."""

PDF_SCALE = 2.0
"""PDF pages are rendered at this times 72 dots an inch."""

OPAQUE = 255
"""Alpha."""

PDF_SIGNATURE = b"%PDF-"
JPEG_SIGNATURE, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
JPEG_MARKER, JPEG_SCAN = 0xFF, 0xDA
PNG_SIGNATURE, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"

PILLOW_ERRORS = (OSError, SyntaxError, ValueError, TypeError, IndexError, RuntimeError, struct.error, Warning)
"""What Pillow's decoders raise on damaged files, or warn of where warnings are errors."""

_pdfium = threading.RLock()
"""PDFium serves one thread at a time. Reentrant: a document that nobody reads on is closed whenever Python notices."""


def read_pages(source: Source) -> Iterator[Page]:
    """Every page of `source`, one at a time, in order; raises a kind of InputError at the first that cannot be read."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield from _decode(bytes(source), None)
    elif isinstance(source, str | os.PathLike):
        for path in files(source):
            yield from _decode(_read(path), str(path))
    elif isinstance(source, np.ndarray):
        yield Page(from_array(np.asarray(source)))
    elif isinstance(source, Iterable) and not isinstance(source, Mapping):
        for each in source:
            yield from read_pages(each)
    else:
        raise UnsupportedInputError(
            f"{type(source).__name__} is no input: give a path, a file's bytes, a NumPy array, or a list of these"
        )


def files(name: str | os.PathLike[str]) -> list[Path]:
    """The file itself; for a folder the pictures and PDFs in it and below, page 2 before page 10."""
    if not os.fspath(name):
        raise InputNotFoundError("the path is empty: name a file, or '.' for this folder")
    path = Path(os.fsdecode(name))
    with _readable(path):
        if not path.is_dir():
            return [path]
        found = [f for f in path.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file()]
    if not found:
        raise InputNotFoundError(f"{path} holds no picture or PDF: {' '.join(sorted(SUFFIXES))} are looked for")
    return sorted(found, key=_natural)


def from_array(array: NDArray[np.uint8]) -> Image:
    """A picture from (height, width[, 1, 3 or 4]), BGR or BGRA, uint8, or uint16 of which the high byte is taken."""
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    if array.dtype != np.uint8:
        raise UnsupportedInputError(
            f"an array of {array.dtype} is no picture: scale it to 0..255 and convert it with .astype(numpy.uint8)"
        )
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    if array.ndim != 3 or array.shape[2] not in {1, 3, 4}:
        raise UnsupportedInputError(
            f"an array of shape {array.shape} is no picture: give (height, width), or (height, width, 3) in BGR order"
        )
    height, width, channels = array.shape
    if height == 0 or width == 0:
        raise UnsupportedInputError(f"a picture of {width} x {height} pixels has nothing to read")
    _check_size(width, height, "the array")
    if channels == 1:
        array = np.repeat(array, 3, axis=2)
    elif channels == 4:
        _warn_of_transparency(array[:, :, 3], "the array")
    return np.ascontiguousarray(array[:, :, :3])


def _decode(data: bytes, path: str | None) -> Iterator[Page]:
    """The pages of a file's contents."""
    name = path if path is not None else "the input"
    if not data:
        raise UnreadableImageError(f"{name} is empty: nothing was written to it, or its download failed")
    _check_whole(data, name)
    try:
        with _undamaged(name):
            picture = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
    except PIL.UnidentifiedImageError as error:
        if PDF_SIGNATURE in data[:1024]:
            yield from _pdf_pages(data, path, name)
            return
        raise UnreadableImageError(
            f"{name} is no PDF and no picture of a known format ({', '.join(FORMATS)}), or its beginning is damaged"
        ) from error
    with picture:
        _check_size(*picture.size, name)
        if picture.format == "TIFF":
            yield from _tiff_pages(picture, path, name)
        else:
            yield Page(_decode_picture(picture, data, name), path)


def _decode_picture(picture: PIL.Image.Image, data: bytes, name: str) -> Image:
    """One picture, by OpenCV as the reference does (turned as its EXIF data says), or by Pillow what OpenCV cannot."""
    with _undamaged(name):
        frames = getattr(picture, "n_frames", 1)
    # An MPO holds a photograph and previews of it, and is no animation.
    if frames > 1 and picture.format != "MPO":
        logger.warning("%s is an animation of %d frames: the first is read", name, frames)
        return _by_pillow(picture, name)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        return _by_pillow(picture, name)
    _check_transparency(picture, name)
    return np.asarray(image, np.uint8)


def _by_pillow(picture: PIL.Image.Image, name: str) -> Image:
    """The current frame of a picture; of 16 bits the high byte."""
    _check_transparency(picture, name)
    with _undamaged(name):
        if picture.mode.startswith("I;16"):
            return from_array(np.asarray(picture, np.uint16))
        if picture.mode in {"I", "F"}:
            raise UnreadableImageError(f"{name} has 32 bits a pixel, and its range cannot be told: save it with 8 bits")
        return np.ascontiguousarray(np.asarray(picture.convert("RGB"), np.uint8)[:, :, ::-1])


def _tiff_pages(picture: PIL.Image.Image, path: str | None, name: str) -> Iterator[Page]:
    """Every page, by Pillow as the reference does."""
    with _undamaged(name):
        count = getattr(picture, "n_frames", 1)
    for index in range(count):
        with _undamaged(f"page {index} of {name}"):
            picture.seek(index)
        _check_size(*picture.size, f"page {index} of {name}")
        image = _by_pillow(picture, name)
        yield Page(image, path, index, count) if count > 1 else Page(image, path)


def _pdf_pages(data: bytes, path: str | None, name: str) -> Iterator[Page]:
    """Every page, rendered by PDFium."""
    try:
        with _pdfium:
            document = pypdfium2.PdfDocument(data)
            document.init_forms()
    except pypdfium2.PdfiumError as error:
        cure = "save it without one" if "assword" in str(error) else "get it again whole, or print it to a new PDF"
        raise UnreadableImageError(f"{name} cannot be opened as a PDF: {error}; {cure}") from error
    try:
        count = len(document)
        for index in range(count):
            yield Page(_render(document, index, f"page {index} of {name}"), path, index, count)
    finally:
        with _pdfium:
            document.close()


def _render(document: pypdfium2.PdfDocument, index: int, name: str) -> Image:
    """One page, at PDF_SCALE or as large as MAX_PIXELS allows."""
    with _pdfium:
        try:
            page = document[index]
        except pypdfium2.PdfiumError as error:
            raise UnreadableImageError(f"{name} cannot be opened: {error}; print the PDF to a new one") from error
        try:
            width, height = page.get_size()
            scale = min(PDF_SCALE, (MAX_PIXELS / max(width * height, 1)) ** 0.5 * 0.999)
            _check_size(math.ceil(width * scale), math.ceil(height * scale), name)
            return from_array(np.array(page.render(scale=scale).to_numpy(), np.uint8))
        except pypdfium2.PdfiumError as error:
            raise UnreadableImageError(f"{name} cannot be rendered: {error}; print the PDF to a new one") from error
        finally:
            page.close()


def _read(path: Path) -> bytes:
    with _readable(path):
        if path.exists() and not path.is_file():
            raise UnreadableImageError(f"{path} is no file that can be read whole: write its contents to one")
        return path.read_bytes()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Name the path in what the file system says of it."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputNotFoundError(f"{path} does not exist") from error
    except UnreadableImageError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UnreadableImageError(f"{str(path)!r} cannot be read: {reason}") from error


@contextmanager
def _undamaged(name: str) -> Iterator[None]:
    """Turn what Pillow raises on a damaged file into an error of ours."""
    try:
        yield
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError(f"{name}: {error} Reduce it, or cut it into parts.") from error
    except (PIL.UnidentifiedImageError, UnreadableImageError):
        raise
    except PILLOW_ERRORS as error:
        raise UnreadableImageError(f"{name} is damaged or cut short: {error}; get it again whole") from error


def _check_whole(data: bytes, name: str) -> None:
    """Refuse a picture that was cut off: decoders fill up the rest with gray, and its text would silently be missing."""
    cut = (data.startswith(JPEG_SIGNATURE) and JPEG_END not in data[_jpeg_scan(data) :]) or (
        data.startswith(PNG_SIGNATURE) and PNG_END not in data
    )
    if cut:
        raise UnreadableImageError(f"{name} is cut short: its end mark is missing; get it again whole")


def _jpeg_scan(data: bytes) -> int:
    """Where the picture's own data begins in a JPEG: a thumbnail, with an end mark of its own, may stand before it."""
    at = len(JPEG_SIGNATURE) - 1
    while at + 4 <= len(data) and data[at] == JPEG_MARKER and data[at + 1] != JPEG_SCAN:
        at += 1 if data[at + 1] == JPEG_MARKER else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise ImageTooLargeError(
            f"{name} has {width} x {height} pixels, and {MAX_PIXELS} is the limit: reduce it, or cut it into parts"
        )


def _check_transparency(picture: PIL.Image.Image, name: str) -> None:
    if picture.has_transparency_data:
        with _undamaged(name):
            _warn_of_transparency(np.asarray(picture.convert("RGBA").getchannel("A"), np.uint8), name)


def _warn_of_transparency(alpha: NDArray[np.uint8], name: str) -> None:
    if (alpha < OPAQUE).any():
        logger.warning(
            "%s is partly transparent; it is read as if it were not, as Paddle does: flatten it if text is missing",
            name,
        )


def _natural(path: Path) -> list[tuple[int, str]]:
    """A key that sorts the numbers in names by value."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(path).casefold())]
