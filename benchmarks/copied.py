"""Measure the text that programs copy out of searchable PDFs: benchmarks/results/copied.md.

    python -m benchmarks.copied --data FOLDER --cache FOLDER

Pages of olmOCR-bench are recognized as in benchmarks.reading, and become searchable PDFs of a blank page. pdftotext and PDFium extract
their text. The measures are the assertions of order that hold on the recognized text and on the extracted text too, and the lines of the
recognized text that are lines of the extracted text. Lines that end with a hyphen are joined, because both programs do so.

The publishers' own text of the same pages, where there is one, shows what the order of pdftotext can attain.
"""

from __future__ import annotations

import difflib
import io
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import pypdfium2

from benchmarks import libraries, olmocr, records
from benchmarks.machine import today
from benchmarks.reading import PAIRS, Recognized, read_all, text_layer
from ocr_onnx import OCROptions, OCRResult, Page
from ocr_onnx.outputs.pdf import searchable
from ocr_onnx.outputs.placed import placed_blocks
from ocr_onnx.stages.blocks import find_blocks

MODELS = "PP-OCRv6 small"

LINE_END_HYPHENS = {"\ufffe": "-\n", "\x02": "-\n"}
"""PDFium's characters for a hyphen at the end of a line, with which it joins two lines."""


@dataclass
class Score:
    """What a program reads of a split."""

    order: int = 0
    lines: int = 0


@dataclass
class Split:
    """The scores of a split."""

    pages: int = 0
    order: int = 0
    """Assertions of order that hold on the recognized text."""
    lines: int = 0
    programs: dict[str, Score] = field(default_factory=dict)
    own_order: int = 0
    """Those assertions on pages that have the publisher's text."""
    own: int = 0
    """Those that hold on what pdftotext reads of it."""


def pdftotext(data: bytes, *options: str) -> str:
    """The text that pdftotext extracts."""
    done = subprocess.run(["pdftotext", *options, "-", "-"], input=data, capture_output=True, check=True)  # noqa: S607 as the user's shell
    return done.stdout.decode("utf-8", "replace").replace("\f", "")


def pdfium(data: bytes) -> str:
    """The text that PDFium extracts."""
    text: str = pypdfium2.PdfDocument(data)[0].get_textpage().get_text_range()
    for hyphen, end in LINE_END_HYPHENS.items():
        text = text.replace(hyphen, end)
    return text


PROGRAMS: dict[str, Callable[[bytes], str]] = {
    "pdftotext": pdftotext,
    "pdftotext -raw": lambda data: pdftotext(data, "-raw"),
    "PDFium": pdfium,
}


def result_of(page: Recognized) -> OCRResult:
    """A result with the lines of a page that was recognized, on blank paper."""
    options = OCROptions()
    lines = [line for line in page.lines if line.score >= options.recognition.score_thresh]
    blocks, order = find_blocks(lines, page.size, [line.columns for line in lines])
    width, height = page.size
    paper = Page(np.full((height, width, 3), 255, np.uint8), resolution=libraries.DPI)
    boxes = tuple(line.box for line in lines)
    return OCRResult(paper, paper, None, boxes, tuple(lines[i] for i in order), options, blocks)


def lines_of(text: str) -> list[str]:
    """The lines of a text without those that are empty; a line that ends with a hyphen continues in the next one."""
    found: list[str] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if found and len(found[-1]) > 1 and found[-1].endswith("-"):
            found[-1] = found[-1][:-1] + line
        else:
            found.append(line)
    return found


def rows_of(result: OCRResult) -> Iterator[str]:
    """The lines of the recognized text in reading order."""
    for block in placed_blocks(result):
        yield from (" ".join(line.text.strip() for line in row) for row in block.rows)


def common(expected: Sequence[str], found: Sequence[str]) -> int:
    """How many lines are in both, in the same order."""
    matcher = difflib.SequenceMatcher(None, expected, found, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks())


def add(split: Split, page: olmocr.Page, recognized: Recognized) -> None:
    """Measure a page."""

    def holding(text: str) -> int:
        content = olmocr.normalized("\n".join(lines_of(text)))
        return sum(olmocr.holds(each, content) for each in order)

    content = olmocr.normalized(recognized.in_columns())
    order = [each for each in page.assertions if each["type"] == "order" and olmocr.holds(each, content)]
    result = result_of(recognized)
    expected = lines_of("\n".join(rows_of(result)))
    data = searchable([result])
    split.pages += 1
    split.order += len(order)
    split.lines += len(expected)
    for name, program in PROGRAMS.items():
        text, score = program(data), split.programs.setdefault(name, Score())
        score.order += holding(text)
        score.lines += common(expected, lines_of(text))
    if text_layer(page.path):
        split.own_order += len(order)
        split.own += holding(pdftotext(page.path.read_bytes()))


def markdown(result: Mapping[str, Any]) -> str:
    """copied.md."""
    buffer = io.StringIO()
    for name, split in result["splits"].items():
        for program, score in split["programs"].items():
            order = f"{100 * score['order'] / split['order']:.1f} % of {split['order']}" if split["order"] else "none"
            buffer.write(
                f"| {name} ({split['pages']} pages) | {program} | {order} | {100 * score['lines'] / split['lines']:.1f} % of {split['lines']} |\n"
            )
    own = [split for split in result["splits"].values() if split["own_order"]]
    held, total = (sum(split[key] for split in own) for key in ("own", "own_order"))
    return f"""# Text copied out of searchable PDFs

`make bench-copied`, {result["date"]}: pages of olmOCR-bench at {libraries.DPI} dpi, read with {MODELS}, as
searchable PDFs. The third column has the assertions of reading order that hold on the recognized text and on the extracted text too, the
last one the lines of the recognized text that are extracted as they are, in their order.

| pages | program | order | lines |
|---|---|---|---|
{buffer.getvalue()}
pdftotext without `-raw` sorts text by rules of its own: of the publishers' text of the same pages it keeps {100 * held / total:.1f} % of {total} assertions
of order.
"""


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True, help="Folder with olmocr.")
@click.option("--cache", type=click.Path(path_type=Path), required=True, help="Folder of recognized pages.")
def main(data: Path, cache: Path) -> None:
    """Measure, and store the result."""
    splits: dict[str, Split] = {}
    for name in olmocr.SPLITS:
        pages = olmocr.pages(data / "olmocr" / name)
        readings = read_all([page.path for page in pages], PAIRS[MODELS], cache / MODELS)
        split = splits.setdefault(name, Split())
        for page, recognized in zip(pages, readings, strict=True):
            add(split, page, recognized)
        click.echo(f"{name}: {split}")
    content = {"date": today(), "splits": {name: _fields(split) for name, split in splits.items()}}
    records.keep("copied", content, markdown(content))


def _fields(split: Split) -> dict[str, Any]:
    return vars(split) | {"programs": {name: vars(score) for name, score in split.programs.items()}}


if __name__ == "__main__":
    main()
