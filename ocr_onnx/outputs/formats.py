"""The output formats. To add one, add a Writer to FORMATS, which the command line and `OCRResult.save` read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ocr_onnx.errors import OptionError
from ocr_onnx.outputs import native, paddle, plain
from ocr_onnx.outputs.saving import output_errors

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
    """Converts pages to parts of the output, lazily; each part ends with a line break."""


def text(pages: Iterable[RecognizedPage]) -> Iterator[str]:
    """Yield the text of each page in reading order."""
    return (f"{plain.page_text(page)}\n" for page in pages)


def lines(pages: Iterable[RecognizedPage]) -> Iterator[str]:
    """Yield the text of each page, one line per text line."""
    return (f"{plain.lines_text(page)}\n" for page in pages)


def layout(pages: Iterable[RecognizedPage]) -> Iterator[str]:
    """Yield the rows of each page, aligned with spaces."""
    return (f"{plain.layout_text(page)}\n" for page in pages)


def json_list(pages: Iterable[RecognizedPage]) -> Iterator[str]:
    """Yield one JSON list with PaddleOCR's dictionary of each page."""
    yield json.dumps([paddle.to_dict(page) for page in pages], ensure_ascii=False, indent=4) + "\n"


def json_lines(pages: Iterable[RecognizedPage]) -> Iterator[str]:
    """Yield PaddleOCR's dictionary of each page as one line of JSON."""
    return (json.dumps(paddle.to_dict(page), ensure_ascii=False) + "\n" for page in pages)


def native_lines(pages: Iterable[RecognizedPage]) -> Iterator[str]:
    """Yield the native dictionary of each page as one line of JSON."""
    return (json.dumps(native.to_dict(page), ensure_ascii=False) + "\n" for page in pages)


FORMATS = {
    writer.name: writer
    for writer in (
        Writer("text", "paragraphs in reading order", ".txt", "text/plain", text),
        Writer("lines", "plain text, one line per text line", ".txt", "text/plain", lines),
        Writer("layout", "plain text, aligned with spaces as on the page", ".txt", "text/plain", layout),
        Writer("json", "one JSON list of all pages, with PaddleOCR's keys", ".json", "application/json", json_list),
        Writer(
            "jsonl",
            "one JSON object per page, written as soon as the page is done",
            ".jsonl",
            "application/x-ndjson",
            json_lines,
        ),
        Writer(
            "native", "like jsonl, with ocr-onnx's own keys", ".ndjson", "application/vnd.ocr-onnx+ndjson", native_lines
        ),
    )
}


def find(name: str | None, path: Path) -> Writer:
    """Return the format called `name`, or the one of the path's suffix. Raises OptionError if there is none."""
    if name is not None and name in FORMATS:
        return FORMATS[name]
    known = [writer for writer in FORMATS.values() if name is None and writer.suffix == path.suffix.lower()]
    if not known:
        choices = ", ".join(f"{writer.name} ({writer.suffix})" for writer in FORMATS.values())
        raise OptionError(f"{name or path.suffix or str(path)!r} is not an output format: use one of {choices}")
    return known[0]


def save(page: RecognizedPage, path: Path, name: str | None = None) -> Path:
    """Write one page to a file and return its path. Raises OptionError or OutputError."""
    writer = find(name, path)
    with output_errors(path):
        path.write_text("".join(writer.write([page])), "utf-8")
    return path
