"""What a caller gives to pages: path, address, pattern, folder, bytes, file object, picture, and lists of them; lazily."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from ocr_onnx.errors import InputError, InputNotFoundError, UnreadableImageError, UnsupportedInputError
from ocr_onnx.inputs.addresses import is_address
from ocr_onnx.inputs.documents import read_file
from ocr_onnx.inputs.images import from_array, from_pillow
from ocr_onnx.options import InputOptions
from ocr_onnx.types import Page


@runtime_checkable
class Readable(Protocol):
    """A file object that gives bytes. It is read from where it stands, and not closed."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


Source: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | Readable | NDArray[Any] | PIL.Image.Image "
    "| Iterable[Source]"
)
"""What can be read, alone or several in any iterable, in any mixture:

- a path of a picture, a PDF or a folder; a pattern such as `scans/**/*.png`; an http or https address;
- a file's bytes, or a file object open for reading bytes;
- a picture: an array (height, width[, 1, 3 or 4]) of uint8 or uint16 in the order BGR or BGRA, or one of Pillow's.
"""

SINGLE = (bytes, bytearray, memoryview, str, os.PathLike, np.ndarray, PIL.Image.Image, Readable)
"""What is one input, though some of these can be gone through."""

Outcome = TypeVar("Outcome")

SUFFIXES = frozenset(
    {".bmp", ".dib", ".gif", ".jpeg", ".jpg", ".pbm", ".pdf", ".pgm", ".png", ".pnm", ".ppm", ".ras", ".sr"}
    | {".tif", ".tiff", ".webp"}
)
"""What is taken from a folder or by a pattern. A file named by itself is told by its contents."""

SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)

CHUNK = 2**20
"""Bytes read of a file object at a time."""


def read_pages(source: Source, options: InputOptions | None = None) -> Generator[Page, None, None]:
    """Every page of `source`, one at a time, in order; raises a kind of InputError at the first that cannot be read.

    Nothing is opened, fetched or taken from an iterable before its turn.
    """
    with closing(try_pages(source, options)) as outcomes:
        yield from map(or_raise, outcomes)


def try_pages(source: Source, options: InputOptions | None = None) -> Generator[Page | InputError, None, None]:
    """As `read_pages`, past what cannot be read: its error comes in its place, in that of the rest of a file."""
    chosen = InputOptions() if options is None else options
    if isinstance(source, Iterable) and not isinstance(source, (*SINGLE, Mapping)):
        for each in source:
            yield from try_pages(each, chosen)
        return
    try:
        inputs: list[Any] = list(files(source)) if isinstance(source, str | os.PathLike) else [source]
    except InputError as error:
        yield error
        return
    for each in inputs:
        try:
            yield from _pages(each, chosen)
        except InputError as error:
            yield error


def _pages(source: Any, options: InputOptions) -> Iterator[Page]:
    """The pages of one input, which is no folder and no pattern."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield from read_file(bytes(source), None, options)
    elif isinstance(source, str):
        yield from read_file(_contents(source, options), source, options)
    elif isinstance(source, np.ndarray):
        image = from_array(np.asarray(source), options.max_pixels)
        # Whoever yields frames may fill the same array with the next one, which is asked for while this one is read.
        yield Page(image.copy() if np.may_share_memory(image, source) else image)
    elif isinstance(source, PIL.Image.Image):
        path = _name(source, "filename")
        yield Page(from_pillow(source, path or "the picture", options.max_pixels), path)
    elif isinstance(source, Readable):
        path = _name(source, "name")
        yield from read_file(_drain(source, path or "the file object", options.max_bytes), path, options)
    else:
        raise UnsupportedInputError(
            f"{type(source).__name__} is no input: give a path, an address, a file's bytes, an open file, a NumPy array, "
            "a Pillow image, or a list of these"
        )


def or_raise(outcome: Outcome | InputError) -> Outcome:
    """What came of an input, or its error, raised."""
    if isinstance(outcome, InputError):
        raise outcome
    return outcome


def is_ready(source: Source) -> bool:
    """Whether things are taken from it without a caller's code, which may mind that it goes on in another thread."""
    return all(map(is_ready, source)) if isinstance(source, list | tuple) else isinstance(source, SINGLE)


def files(name: str | os.PathLike[str]) -> list[str]:
    """The address or the file itself; of a folder, with those below it, and of a pattern the pictures and PDFs.

    Page 2 comes before page 10. A name is a pattern (`*`, `?`, `[...]`, `**` for folders below) where no file is called
    so. Raises InputNotFoundError where there is nothing.
    """
    text = os.fsdecode(name)
    if not text:
        raise InputNotFoundError("the path is empty: name a file, or '.' for this folder")
    if is_address(text):
        return [text]
    path = Path(text)
    with _readable(path):
        if path.is_dir():
            candidates: Iterable[Path] = path.rglob("*")
        elif glob.has_magic(text) and not path.exists():
            candidates = map(Path, glob.iglob(text, recursive=True))  # noqa: PTH207 Path.glob takes no absolute pattern
        else:
            return [_local(text)]
        found = {f for f in candidates if f.suffix.lower() in SUFFIXES and f.is_file()}
    if not found:
        what = "holds" if path.is_dir() else "matches"
        raise InputNotFoundError(f"{path} {what} no picture or PDF: {' '.join(sorted(SUFFIXES))} are looked for")
    return [str(file) for file in sorted(found, key=_natural)]


def _local(text: str) -> str:
    """The path as it was given, which is how results show it; UnsupportedInputError for an address that is not fetched."""
    if SCHEME.match(text) and not Path(text).exists():
        raise UnsupportedInputError(f"{text} is not fetched: give a path, or an http or https address")
    return text


def _contents(name: str, options: InputOptions) -> bytes:
    if not is_address(name):
        return _read(Path(name))
    from ocr_onnx.inputs import http

    return http.fetch(name, options)


def _drain(file: Readable, name: str, limit: int) -> bytes:
    """What is left of a file object, at most `limit` bytes."""
    data = bytearray()
    while len(data) <= limit:
        try:
            block: object = file.read(CHUNK)
        except (OSError, ValueError) as error:
            raise UnreadableImageError(f"{name} cannot be read: {error}") from error
        if not isinstance(block, bytes):
            raise UnsupportedInputError(f"{name} gives {type(block).__name__} and no bytes: open it with mode 'rb'")
        data += block
        if not block:
            break
    if len(data) > limit:
        raise UnreadableImageError(f"{name} has more than {limit} bytes: raise max_bytes, or give its path")
    if not data:
        raise UnreadableImageError(f"{name} has nothing left to read: seek(0) if it was read before")
    return bytes(data)


def _name(thing: object, attribute: str) -> str | None:
    """What an object says its file is called, if it does."""
    name = getattr(thing, attribute, None)
    return name if isinstance(name, str) and name else None


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
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputNotFoundError(f"{path} does not exist") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UnreadableImageError(f"{str(path)!r} cannot be read: {reason}") from error


def _natural(path: Path) -> list[tuple[int, str]]:
    """A key that sorts the numbers in names by value."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(path).casefold())]
