"""What a caller gives to pages: path, folder, bytes, array, and lists of them; lazily."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.documents import read_file
from ocr_onnx.errors import InputNotFoundError, UnreadableImageError, UnsupportedInputError
from ocr_onnx.images import from_array
from ocr_onnx.types import Page

Source: TypeAlias = "str | os.PathLike[str] | bytes | NDArray[np.uint8] | Iterable[Source]"
"""What can be read: a path (file or folder), a file's bytes, a picture's array, or several of these."""

SUFFIXES = frozenset(
    {".bmp", ".dib", ".gif", ".jpeg", ".jpg", ".pbm", ".pdf", ".pgm", ".png", ".pnm", ".ppm", ".ras", ".sr"}
    | {".tif", ".tiff", ".webp"}
)
"""What is taken from a folder. A file named by itself is told by its contents."""


def read_pages(source: Source) -> Iterator[Page]:
    """Every page of `source`, one at a time, in order; raises a kind of InputError at the first that cannot be read."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield from read_file(bytes(source), None)
    elif isinstance(source, str | os.PathLike):
        for path in files(source):
            yield from read_file(_read(path), str(path))
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


def _natural(path: Path) -> list[tuple[int, str]]:
    """A key that sorts the numbers in names by value."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(path).casefold())]
