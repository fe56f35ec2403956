"""Read pages from every supported kind of input: path, URL, pattern, folder, bytes, file object, image, and lists of these.

Inputs are opened lazily, one at a time.
"""

from __future__ import annotations

import glob
import inspect
import os
import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeGuard, TypeVar

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from ocr_onnx.errors import (
    InputError,
    InputNotFoundError,
    UnreadableImageError,
    UnsupportedInputError,
    shortened,
)
from ocr_onnx.inputs.decoder_errors import REDUCE, out_of_memory
from ocr_onnx.inputs.documents import read_file
from ocr_onnx.inputs.images import from_array, from_pillow, orientation_of, resolution_of, square_pixels
from ocr_onnx.inputs.page_warnings import decode_page
from ocr_onnx.inputs.urls import is_url
from ocr_onnx.options import InputOptions
from ocr_onnx.runtime import memory
from ocr_onnx.types import Page


class Readable(Protocol):
    """A binary file object. It is read from its current position, and not closed."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; no bytes at the end of the file."""
        ...


# One string, because type checkers do not accept concatenated strings as an annotation.
Source: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | Readable | NDArray[Any] | PIL.Image.Image | tuple[str, bytes] | Iterable[Source]"
"""A supported input, or an iterable of inputs of any kind:

- the path of an image, a PDF or a folder; a pattern such as `scans/**/*.png`; an http or https URL;
- the bytes of a file, or a file object opened in binary mode; a tuple (name, bytes) gives the bytes a name for results;
- an image: an array (height, width[, 1, 3 or 4]) of uint8 or uint16 in BGR or BGRA order, or a Pillow image.
"""

SINGLE_INPUTS = (bytes, bytearray, memoryview, str, os.PathLike, np.ndarray, PIL.Image.Image)
"""Types that are one input, although some of them are iterable; file objects are further ones."""

Value = TypeVar("Value")

SUFFIXES = frozenset(
    {
        ".avif",
        ".bmp",
        ".dib",
        ".gif",
        ".jfif",
        ".jif",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pdf",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".ras",
        ".sr",
    }
    | {".tif", ".tiff", ".webp"}
)
"""The suffixes of files that can be read. The format of a file given by its path follows from its content."""

LISTED = SUFFIXES | {".heic", ".heif"}
"""The suffixes of files that a folder or a pattern contributes: for HEIC, which is not supported, an error says so."""

THUMBNAILS = "@eaDir"

SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)

DATA_URL = "data:"

BASE64 = re.compile(rf"({DATA_URL}[\w/+.-]*(;[\w=-]+)*,)?[\w+/\s-]*={{0,2}}\s*")

LONGEST_NAME = 255
"""Bytes of the longest file name of common file systems."""

CHUNK = 2**20
"""Bytes to read from a file object in one call."""


def read_pages(source: Source, options: InputOptions | None = None) -> Generator[Page, None, None]:
    """Yield every page of `source` in order.

    An input is opened, downloaded or taken from an iterable only when its first page is requested. Raises a subclass of
    InputError at the first page that cannot be read.
    """
    with closing(read_pages_or_errors(source, options)) as outcomes:
        yield from map(unwrap, outcomes)


def read_pages_or_errors(
    source: Source, options: InputOptions | None = None
) -> Generator[Page | InputError, None, None]:
    """Yield pages like `read_pages`; for an input or page that cannot be read, yield the error and continue with the next.

    `error.source` and `error.page` say which it is.
    """
    chosen = InputOptions() if options is None else options
    try:
        source = _converted(source)
    except InputError as error:
        yield error
        return
    if isinstance(source, Iterable) and not isinstance(source, (*SINGLE_INPUTS, Mapping)) and not _is_one(source):
        for each in source:
            yield from read_pages_or_errors(each, chosen)
        return
    try:
        inputs: list[Any] = list(expand_path(source)) if isinstance(source, str | os.PathLike) else [source]
    except InputError as error:
        error.source = _name(source)
        yield error
        return
    for each in inputs:
        try:
            yield from _read_input(each, chosen)
        except InputError as error:
            error.source = error.source or _name(each)
            yield error
        except MemoryError:
            failure = out_of_memory(_name(each) or "the input")
            failure.source = _name(each)
            yield failure


def _converted(source: Source) -> Source:
    """Return the array of a tensor of another library, and the list of an array of objects, as a column of a table gives it."""
    if hasattr(source, "__array__") and not isinstance(source, SINGLE_INPUTS):
        try:
            source = np.asarray(source)
        except Exception as error:  # Code of another library.
            raise UnsupportedInputError(
                f"an input of type {type(source).__name__} cannot be converted to an array: {error}; give a NumPy array"
            ) from error
    return source.ravel().tolist() if isinstance(source, np.ndarray) and source.dtype.kind in "UO" else source


def _is_readable(source: object) -> TypeGuard[Readable]:
    """Return whether an input is a file object. Those of tempfile and of Flask find `read` in __getattr__, which isinstance ignores."""
    return callable(getattr(source, "read", None))


def _is_one(source: object) -> bool:
    """Return whether an iterable is a file object, or a file with a name."""
    return _is_readable(source) or _is_named(source)


def _is_named(source: object) -> TypeGuard[tuple[str, bytes]]:
    """Return whether an input is a pair of a name and the content of a file."""
    match source:
        case tuple((str(), bytes() | bytearray() | memoryview())):
            return True
    return False


def _name(source: object) -> str | None:
    """Return the path or URL of an input; None if it has none."""
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(source)
    if _is_named(source):
        return source[0]
    return _text_attribute(source, "filename") or _text_attribute(source, "name")


def _read_input(source: Any, options: InputOptions) -> Iterator[Page | InputError]:
    """Yield the pages of one input that is neither a folder nor a pattern."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield from _read_content(bytes(source), None, options)
    elif _is_named(source):
        yield from _read_content(bytes(source[1]), source[0], options)
    elif isinstance(source, str):
        read = _read_content if is_url(source) else read_file
        yield from read(_read_path_or_url(source, options), source, options)
    elif isinstance(source, np.ndarray):
        yield decode_page(partial(_from_array, source, options), None)
    elif isinstance(source, PIL.Image.Image):
        path = _text_attribute(source, "filename")
        yield decode_page(partial(_from_pillow, source, path or "the image", options), path)
    elif _is_readable(source):
        path = _text_attribute(source, "name")
        yield from _read_content(_read_stream(source, path or "the file object", options.max_bytes), path, options)
    else:
        raise UnsupportedInputError(
            f"an input of type {type(source).__name__} is not supported: give a path, a URL, bytes, a binary file object, "
            "a NumPy array, a Pillow image, or a list of these"
        )


def _from_pillow(picture: PIL.Image.Image, name: str, options: InputOptions) -> Page:
    orientation = orientation_of(picture)
    image = from_pillow(picture, name, options.max_pixels, options.transparency)
    if picture.format is None:
        # Derived from an image of a file, whose resolution it may have kept although it was resized.
        return Page(image, resolution=resolution_of(picture))
    return square_pixels(image, picture, options.max_pixels, orientation)


def _from_array(array: NDArray[Any], options: InputOptions) -> Page:
    image = from_array(np.asarray(array), options.max_pixels, options.transparency)
    # A generator of video frames may reuse the array for the next frame, which is prefetched while this one is in use.
    return Page(image.copy() if np.may_share_memory(image, array) else image)


def _read_content(data: bytes, name: str | None, options: InputOptions) -> Iterator[Page | InputError]:
    """Yield the pages of a file that has no path on this machine; they keep its content."""
    for page in read_file(data, name, options):
        yield page if isinstance(page, InputError) else replace(page, content=data)


def unwrap(outcome: Value | InputError) -> Value:
    """Return `outcome`, or raise it if it is an InputError."""
    if isinstance(outcome, InputError):
        raise outcome
    return outcome


def is_materialized(source: Source) -> bool:
    """Return whether all inputs exist already. Others, such as a generator, run code of the caller, which may need one thread."""
    if isinstance(source, list | tuple):
        return all(map(is_materialized, source))
    return isinstance(source, SINGLE_INPUTS) or _is_readable(source)


def expand_path(name: str | os.PathLike[str]) -> list[str]:
    """Return the images and PDFs in a folder and its subfolders, except hidden ones, or those that match a pattern; a URL or file returns itself.

    Numbers in names are sorted by value: page 2 precedes page 10. A name is a pattern (`*`, `?`, `[...]`, `**` for subfolders)
    unless a file of this name exists. Raises InputNotFoundError if nothing is found, and UnsupportedInputError for Base64.
    """
    text = os.fsdecode(name)
    if not text:
        raise InputNotFoundError("the path is empty: give a file, or '.' for the current folder")
    if is_url(text):
        return [text]
    if (len(text) > LONGEST_NAME or text.startswith(DATA_URL)) and BASE64.fullmatch(text):
        raise UnsupportedInputError(
            f"{shortened(text)!r} is no path; it looks like Base64: give the bytes, base64.b64decode(text), without 'data:...,'"
        )
    path = Path(text)
    with _file_errors(path):
        if path.is_dir():
            candidates: Iterable[Path] = (
                f for f in path.rglob("*") if not any(map(is_hidden, f.relative_to(path).parts))
            )
        elif glob.has_magic(text) and not path.exists():
            candidates = map(Path, glob.iglob(text, recursive=True))  # noqa: PTH207 Path.glob takes no absolute pattern
        else:
            return [_checked_path(text)]
        found = {f for f in candidates if f.suffix.lower() in LISTED and f.is_file()}
    if not found:
        verb = "contains" if path.is_dir() else "matches"
        raise InputNotFoundError(
            f"{shortened(str(path))} {verb} no image or PDF; these suffixes are read: {' '.join(sorted(SUFFIXES))}; give another path, or name "
            "the file itself"
        )
    return [str(file) for file in sorted(found, key=_natural_key)]


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, as macOS's `._name`, or the thumbnails of a Synology NAS (`@eaDir`)."""
    return name.startswith(".") or name == THUMBNAILS


def _checked_path(text: str) -> str:
    """Return a path unchanged, as results show it. Raises UnsupportedInputError for a URL of another scheme."""
    if SCHEME.match(text) and not Path(text).exists():
        raise UnsupportedInputError(
            f"the scheme of {shortened(text)} is not supported: give a path, or an http or https URL"
        )
    return text


def _read_path_or_url(name: str, options: InputOptions) -> bytes:
    if not is_url(name):
        return _read_path(Path(name))
    from ocr_onnx.inputs import http

    return http.fetch(name, options)


def _read_stream(file: Readable, name: str, limit: int) -> bytes:
    """Read a file object to its end. Raises UnreadableImageError for more than `limit` bytes."""
    data = bytearray()
    while len(data) <= limit:
        try:
            block: object = file.read(CHUNK)
        except Exception as error:  # A file object is code of another library.
            raise UnreadableImageError(f"{name} cannot be read: {error}; open it again") from error
        if inspect.iscoroutine(block):
            block.close()
            raise UnsupportedInputError(
                f"{name} has an asynchronous read(): give the bytes, await x.read(), or the file of an UploadFile, x.file"
            )
        if not isinstance(block, bytes | bytearray | memoryview):
            raise UnsupportedInputError(
                f"{name} returns {type(block).__name__} instead of bytes: open it with mode 'rb'"
            )
        data += block
        if not block:
            break
    if len(data) > limit:
        raise UnreadableImageError(f"{name} is larger than {limit} bytes: raise max_bytes, or give its path")
    if not data:
        raise UnreadableImageError(
            f"{name} is empty, or at its end: give a file with content, or call seek(0) if it was read before"
        )
    return bytes(data)


def _text_attribute(source: object, attribute: str) -> str | None:
    """Return an attribute, such as the name of a file object; None if it is missing, empty or not a string."""
    name = getattr(source, attribute, None)
    return name if isinstance(name, str) and name else None


def _read_path(path: Path) -> bytes:
    with _file_errors(path):
        if path.exists() and not path.is_file():
            raise UnreadableImageError(f"{path} is not a regular file: copy its content to a regular file")
        memory.require(path.stat().st_size, f"reading {path}", REDUCE)
        return path.read_bytes()


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    """Convert errors of the file system to InputErrors that name the path."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputNotFoundError(f"{shortened(str(path))} does not exist: check the path") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UnreadableImageError(
            f"{shortened(str(path))!r} cannot be read: {reason}; check the path and its permissions"
        ) from error


def _natural_key(path: Path) -> list[tuple[int, str]]:
    """Return a key that sorts the numbers in names by value."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(path).casefold())]
