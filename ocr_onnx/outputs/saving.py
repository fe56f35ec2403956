"""Write result files under PaddleOCR's names."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from ocr_onnx.errors import OCRError, OutputError
from ocr_onnx.inputs.urls import is_url

if TYPE_CHECKING:
    import PIL.Image

    from ocr_onnx.types import Page

MAX_STEM = 200
"""Bytes. File systems allow 255 for a name; the page's number and the suffixes follow."""

DIGEST_BYTES = 8

LONGEST_SIDE = {".png": 2**31, ".bmp": 2**31, ".tif": 2**31, ".tiff": 2**31} | {
    ".jpg": 65_500,
    ".jpeg": 65_500,
    ".webp": 16_383,
}
"""The suffixes of image files that can be written, and the longest side in pixels that each format supports."""

UNKNOWN_SUFFIX = re.compile(r"\.[a-z]{2,4}")
"""A suffix that looks like one of a file rather than of a folder, such as `results.2026`."""


def print_result(content: Mapping[str, Any], indent: int, *, formatted: bool, ensure_ascii: bool) -> None:
    """Print `content` as JSON or as a dictionary on one line; in ASCII if the output's encoding lacks a character."""
    text = json.dumps(content, indent=indent, ensure_ascii=ensure_ascii) if formatted else str(content)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(content, indent=indent) if formatted else ascii(content)
    print(text)  # noqa: T201


def save_json(content: Mapping[str, Any], page: Page, target: Path, indent: int, *, ensure_ascii: bool) -> Path:
    """Write `content` to a .json file, or to `<stem>_res.json` in a folder; return its path. Raises OutputError."""
    _check_suffix(target, (".json",))
    file = target if target.suffix.lower() == ".json" else target / f"{file_stem(page)}_res.json"
    save_parts([json.dumps(content, indent=indent, ensure_ascii=ensure_ascii).encode()], file)
    return file


def _check_suffix(target: Path, known: Collection[str]) -> None:
    """Raise OutputError for a path that looks like a file of another format; it would become a folder."""
    suffix = target.suffix.lower()
    if UNKNOWN_SUFFIX.fullmatch(suffix) and suffix not in known and not target.is_dir():
        raise OutputError(f"{target} has an unknown suffix: give one of {', '.join(known)}, or a folder")


def save_parts(parts: Iterable[bytes], file: Path) -> None:
    """Write a file of parts. Raises OutputError."""
    with written(file) as opened:
        opened.writelines(parts)


@contextmanager
def written(file: Path) -> Iterator[BinaryIO]:
    """Open a file that replaces an older one only when it is complete: that can be the input. Raises OutputError."""
    with output_errors(file):
        target = file.resolve()
        is_device = target.exists() and not target.is_file()
        part = target if is_device else target.with_name(f".{target.name}.part")
        try:
            with part.open("wb") as opened:
                yield opened
            if not is_device:
                part.replace(target)
        finally:
            if not is_device:
                part.unlink(missing_ok=True)


def save_images(pictures: Mapping[str, PIL.Image.Image], page: Page, target: Path) -> list[Path]:
    """Write images to a folder as `<stem>_<key>.<suffix>`; or the first one to a file, and others beside it as `<file's stem>_<key>`.

    Returns the paths. Raises OutputError, also for the suffix of a format that cannot be written.
    """
    import PIL.Image

    files: list[Path] = []
    _check_suffix(target, LONGEST_SIDE)
    name, suffix = file_stem(page), _input_path(page.path or "").suffix
    for key, picture in pictures.items():
        if target.suffix.lower() in LONGEST_SIDE:
            file = target.with_stem(f"{target.stem}_{key}") if files else target
        else:
            fits = max(picture.size) <= LONGEST_SIDE.get(suffix.lower(), 0)
            file = target / f"{name}_{key}{suffix if fits else '.png'}"
        with written(file) as opened:
            picture.save(opened, PIL.Image.registered_extensions()[file.suffix.lower()])
        files.append(file)
    return files


def file_stem(page: Page) -> str:
    """Return the beginning of a page's file names: the input's stem and the page index; for an array, a hash of its pixels.

    A long stem is cut, and gets a hash of the whole name.
    """
    if page.path is None:
        return f"array_{_digest(page.image.tobytes())}"
    name = limited_name(_input_path(page.path).stem)
    return name if page.index is None else f"{name}_{page.index}"


def limited_name(name: str) -> str:
    """Return the name of a file; if it is longer than MAX_STEM, its beginning and a hash of the whole name."""
    encoded = os.fsencode(name)
    if len(encoded) <= MAX_STEM:
        return name
    # Whole characters, as the file system's encoding has them, which is ASCII in some locales.
    begin = encoded[: MAX_STEM - 2 * DIGEST_BYTES].decode("utf-8", "ignore").encode()
    return f"{os.fsdecode(begin)}_{_digest(encoded)}"


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def _input_path(path: str) -> Path:
    """Return the path of an input; for a URL, its path without the query."""
    return Path(urlsplit(path).path if is_url(path) else path)


@contextmanager
def output_errors(file: Path) -> Iterator[None]:
    """Create the folder of `file`, and convert errors of the file system to OutputError; those of this package stay."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OCRError:  # Pages are read while they are written; their errors are kinds of ValueError.
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        is_full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
        cure = "free disk space, or choose another folder" if is_full else "choose a writable folder"
        raise OutputError(f"{str(file)!r} cannot be written: {reason}; {cure}") from error
