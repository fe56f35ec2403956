"""The output formats. To add one, add a Writer to FORMATS, which the command line, `OCRResult.save` and the service read.

The help of the command line lists them, so their modules, which need NumPy, are imported when a page is written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING

from ocr_onnx.declarations import check_text
from ocr_onnx.errors import OptionError, shortened
from ocr_onnx.outputs import markdown
from ocr_onnx.outputs.saving import save_parts

if TYPE_CHECKING:
    from ocr_onnx.options import PDFText
    from ocr_onnx.types import RecognizedPage

FORM_FEED = "\f"
"""Separates the pages of a document in plain text, as in the output of pdftotext."""

HOCR_TAIL, ALTO_TAIL = " </body>\n</html>\n", " </Layout>\n</alto>\n"
"""The ends of what `hocr.head` and `alto.head` begin."""


def _nothing(_: RecognizedPage) -> str:
    return ""


def _needs_no_package() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Writer:
    """An output format."""

    name: str
    help: str
    suffix: str
    media_type: str
    page: Callable[[RecognizedPage, int], str]
    """Converts a page; its number, counted from 1, is its place in the output. The text ends with a line break."""
    head: Callable[[RecognizedPage], str] = _nothing
    """Makes the text before the first page, which is given."""
    between: str = ""
    """The text between two pages; in a titled format, of one document."""
    tail: str = ""
    """The text after the last page."""
    empty: str = ""
    """The output without pages."""
    titled: bool = False
    """Whether the name of a file precedes its pages, if there are several files."""
    document: Callable[[Iterable[RecognizedPage]], bytes] | None = None
    """Converts all pages at once, if the format is not text; then `page` is not used."""
    file: str = ""
    """The function that does the same with the content of a file and the PlacedPage of each page, as `Decoder.convert` calls it."""

    require: Callable[[], None] = _needs_no_package
    """Raises OutputError if a package that the format needs is not installed: call it before pages are read."""

    def pdf_text(self, given: PDFText | None) -> PDFText | None:
        """Return the option pdf_text for reading the pages: searchable PDFs leave pages that have text, unless it is `given`."""
        return "skip" if given is None and self.document is not None else given

    def encoded(self, pages: Iterable[RecognizedPage], *, several_files: bool = False) -> Iterator[bytes]:
        """Convert pages to parts of a file, lazily. Text is in UTF-8."""
        if self.document is None:
            return (part.encode() for part in self.write(pages, several_files=several_files))
        return iter([self.document(pages)])

    def write(self, pages: Iterable[RecognizedPage], *, several_files: bool = False) -> Iterator[str]:
        """Convert pages to parts of the text, lazily."""
        from ocr_onnx.outputs.paddle import printable_path

        number, path = 0, None
        for number, page in enumerate(pages, 1):
            is_new_file = page.source.index is None or page.source.path != path
            path = page.source.path
            if self.titled and several_files and is_new_file:
                yield ("\n" * (number > 1) + f"==> {printable_path(page.source) or ''} <==\n{self.page(page, number)}")
            else:
                yield self.part(page, number)
        yield self.tail if number else self.empty

    def part(self, page: RecognizedPage, number: int) -> str:
        """Return a page with the text that precedes it in the output."""
        before = self.between if number > 1 else self.head(page)
        return before + self.page(page, number)


def _searchable_pdf(pages: Iterable[RecognizedPage]) -> bytes:
    from ocr_onnx.outputs.pdf import searchable

    return searchable(pages)


def _require_pdf() -> None:
    from ocr_onnx.outputs.pdf import require_packages

    require_packages()


def _no_text(_: RecognizedPage, __: int) -> str:
    return ""


def _text(page: RecognizedPage, _: int) -> str:
    from ocr_onnx.outputs.plain import page_text

    return f"{page_text(page)}\n"


def _lines(page: RecognizedPage, _: int) -> str:
    from ocr_onnx.outputs.plain import lines_text

    return f"{lines_text(page)}\n"


def _layout(page: RecognizedPage, _: int) -> str:
    from ocr_onnx.outputs.plain import layout_text

    return f"{layout_text(page)}\n"


def _json(page: RecognizedPage, _: int) -> str:
    from ocr_onnx.outputs.paddle import to_dict

    return indent(json.dumps(to_dict(page), ensure_ascii=False, indent=4), " " * 4)


def _json_line(page: RecognizedPage, _: int) -> str:
    from ocr_onnx.outputs.paddle import to_dict

    return json.dumps(to_dict(page), ensure_ascii=False) + "\n"


def _native_line(page: RecognizedPage, _: int) -> str:
    from ocr_onnx.outputs.native import to_dict

    return json.dumps(to_dict(page), ensure_ascii=False) + "\n"


def _tsv(page: RecognizedPage, number: int) -> str:
    from ocr_onnx.outputs import tsv

    return tsv.page(page, number)


def _tsv_head(first: RecognizedPage) -> str:
    from ocr_onnx.outputs import tsv

    return tsv.head(first)


def _hocr(page: RecognizedPage, number: int) -> str:
    from ocr_onnx.outputs import hocr

    return hocr.page(page, number)


def _hocr_head(first: RecognizedPage) -> str:
    from ocr_onnx.outputs import hocr

    return hocr.head(first)


def _alto(page: RecognizedPage, number: int) -> str:
    from ocr_onnx.outputs import alto

    return alto.page(page, number)


def _alto_head(first: RecognizedPage) -> str:
    from ocr_onnx.outputs import alto

    return alto.head(first)


FORMATS = {
    writer.name: writer
    for writer in (
        Writer("text", "paragraphs in reading order", ".txt", "text/plain", _text, between=FORM_FEED, titled=True),
        Writer(
            "lines", "plain text, one line per text line", ".txt", "text/plain", _lines, between=FORM_FEED, titled=True
        ),
        Writer(
            "layout",
            "plain text, aligned with spaces as on the page",
            ".txt",
            "text/plain",
            _layout,
            between=FORM_FEED,
            titled=True,
        ),
        Writer(
            "markdown",
            "headings, paragraphs, lists and tables in reading order",
            ".md",
            "text/markdown",
            markdown.page,
            between=markdown.BETWEEN,
        ),
        Writer(
            "json",
            "one JSON list of all pages, with PaddleOCR's keys",
            ".json",
            "application/json",
            _json,
            head=lambda _: "[\n",
            between=",\n",
            tail="\n]\n",
            empty="[]\n",
        ),
        Writer(
            "jsonl",
            "one JSON object per page, written as soon as the page is done",
            ".jsonl",
            "application/x-ndjson",
            _json_line,
        ),
        Writer(
            "native", "like jsonl, with ocr-onnx's own keys", ".ndjson", "application/vnd.ocr-onnx+ndjson", _native_line
        ),
        Writer(
            "tsv",
            "a table of words with their boxes, with Tesseract's columns",
            ".tsv",
            "text/tab-separated-values",
            _tsv,
            head=_tsv_head,
        ),
        Writer(
            "hocr",
            "hOCR: HTML with the boxes of blocks, lines and words",
            ".hocr",
            "text/vnd.hocr+html",
            _hocr,
            head=_hocr_head,
            tail=HOCR_TAIL,
        ),
        Writer(
            "alto",
            "ALTO 4: XML with the boxes of blocks, lines and words",
            ".xml",
            "application/alto+xml",
            _alto,
            head=_alto_head,
            tail=ALTO_TAIL,
        ),
        Writer(
            "pdf",
            "searchable PDF: the pages of the input with invisible text",
            ".pdf",
            "application/pdf",
            _no_text,
            document=_searchable_pdf,
            file="ocr_onnx.outputs.pdf:searchable_file",
            require=_require_pdf,
        ),
    )
}


def find(name: str | None, path: Path) -> Writer:
    """Return the format called `name`, or the one of the path's suffix. Raises OptionError if there is none."""
    if name is not None and check_text("format", name) in FORMATS:
        return FORMATS[name]
    known = [writer for writer in FORMATS.values() if name is None and writer.suffix == path.suffix.lower()]
    if not known:
        choices = ", ".join(f"{writer.name} ({writer.suffix})" for writer in FORMATS.values())
        raise OptionError(
            f"{shortened(repr(name or path.suffix or str(path)))} is not an output format: use one of {choices}"
        )
    return known[0]


def save(pages: Iterable[RecognizedPage], path: Path, name: str | None = None) -> Path:
    """Write pages to a file and return its path. Raises OptionError or OutputError."""
    save_parts(find(name, path).encoded(pages), path)
    return path
