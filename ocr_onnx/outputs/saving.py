"""Result files: their names, which are PaddleOCR's, and how they are written."""

from __future__ import annotations

import datetime as dt
import json
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ocr_onnx.errors import OutputError
from ocr_onnx.inputs.urls import is_url

if TYPE_CHECKING:
    import PIL.Image

    from ocr_onnx.types import Page

LONGEST_SIDE = {".png": 2**31, ".bmp": 2**31, ".tif": 2**31, ".tiff": 2**31} | {
    ".jpg": 65_500,
    ".jpeg": 65_500,
    ".webp": 16_383,
}
"""The suffixes of pictures that are written, and the longest side, in pixels, that each format holds."""


def show(content: Mapping[str, Any], indent: int, *, formatted: bool, ensure_ascii: bool) -> None:
    """Print `content` as JSON, or on one line as a dictionary; in ASCII where the output's alphabet lacks a character."""
    text = json.dumps(content, indent=indent, ensure_ascii=ensure_ascii) if formatted else str(content)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(content, indent=indent) if formatted else ascii(content)
    print(text)  # noqa: T201


def save_json(content: Mapping[str, Any], page: Page, target: Path, indent: int, *, ensure_ascii: bool) -> Path:
    """Write what was found on a page to a .json file, or to a folder under the input's name."""
    file = target if target.suffix == ".json" else target / f"{stem(page)}_res.json"
    text = json.dumps(content, indent=indent, ensure_ascii=ensure_ascii)
    with writing(file):
        file.write_text(text, "utf-8")
    return file


def save_pictures(pictures: Mapping[str, PIL.Image.Image], page: Page, target: Path) -> list[Path]:
    """Write pictures to a file (the last one stays, as in PaddleOCR), or to a folder under the input's name."""
    files = []
    name, suffix = stem(page), _file(page.path or "").suffix
    for key, picture in pictures.items():
        if target.suffix.lower() in LONGEST_SIDE:
            file = target
        else:
            fits = max(picture.size) <= LONGEST_SIDE.get(suffix.lower(), 0)
            file = target / f"{name}_{key}{suffix if fits else '.png'}"
        with writing(file):
            picture.save(file)
        files.append(file)
    return files


def stem(page: Page) -> str:
    """What the files of a page begin with: its file's name, and its number in it; for an array a time and chance."""
    if page.path is None:
        return f"{dt.datetime.now(dt.UTC):%Y%m%d%H%M%S}_{secrets.token_hex(2)}"
    name = _file(page.path).stem
    return name if page.index is None else f"{name}_{page.index}"


def _file(path: str) -> Path:
    """The file's name; of an address what stands before its query."""
    return Path(urlsplit(path).path if is_url(path) else path)


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Make the folder, and turn what the file system refuses into an error of ours."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise OutputError(f"{str(file)!r} cannot be written: {reason}; name a folder that can") from error
