"""The output formats. To add one, add a Writer to FORMATS: the command line and `OCRResult.save` read it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ocr_onnx.errors import OptionError
from ocr_onnx.outputs import native, paddle
from ocr_onnx.outputs.saving import writing

if TYPE_CHECKING:
    from ocr_onnx.types import RecognizedPage


@dataclass(frozen=True, slots=True)
class Writer:
    """An output format."""

    name: str
    help: str
    suffix: str
    media_type: str
    write: Callable[[Iterable[RecognizedPage]], Iterator[str]]
    """The pages of a document as pieces of text, each as soon as its page is there; each piece ends a line."""


def text(pages: Iterable[RecognizedPage]) -> Iterator[str]:
    """The text of each page, line by line."""
    return (f"{page.text}\n" for page in pages)


def json_list(pages: Iterable[RecognizedPage]) -> Iterator[str]:
    """A list of PaddleOCR's dictionaries, one for each page."""
    yield json.dumps([paddle.to_dict(page) for page in pages], ensure_ascii=False, indent=4) + "\n"


def json_lines(pages: Iterable[RecognizedPage]) -> Iterator[str]:
    """PaddleOCR's dictionary of each page on a line of its own."""
    return (json.dumps(paddle.to_dict(page), ensure_ascii=False) + "\n" for page in pages)


def native_lines(pages: Iterable[RecognizedPage]) -> Iterator[str]:
    """The native dictionary of each page on a line of its own."""
    return (json.dumps(native.to_dict(page), ensure_ascii=False) + "\n" for page in pages)


FORMATS = {
    writer.name: writer
    for writer in (
        Writer("text", "the text, line by line", ".txt", "text/plain", text),
        Writer("json", "one JSON list of all pages, under PaddleOCR's names", ".json", "application/json", json_list),
        Writer("jsonl", "one JSON object a page, as soon as it is done", ".jsonl", "application/x-ndjson", json_lines),
        Writer("native", "as jsonl, under our own names", ".ndjson", "application/vnd.ocr-onnx+ndjson", native_lines),
    )
}


def find(name: str | None, path: Path) -> Writer:
    """The format called `name`, or that of the path's suffix. Raises OptionError if there is none."""
    if name is not None and name in FORMATS:
        return FORMATS[name]
    known = [writer for writer in FORMATS.values() if name is None and writer.suffix == path.suffix.lower()]
    if not known:
        choices = ", ".join(f"{writer.name} ({writer.suffix})" for writer in FORMATS.values())
        raise OptionError(f"{name or path.suffix or str(path)!r} is no output format: use one of {choices}")
    return known[0]


def save(page: RecognizedPage, path: Path, name: str | None = None) -> Path:
    """Write one page to a file; return its path. Raises OptionError or OutputError."""
    writer = find(name, path)
    with writing(path):
        path.write_text("".join(writer.write([page])), "utf-8")
    return path
