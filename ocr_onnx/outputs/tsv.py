"""Write pages as a table of words with Tesseract's columns, separated by tabs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ocr_onnx.outputs.placed import Box, page_number, placed_blocks, size_of

if TYPE_CHECKING:
    from ocr_onnx.types import RecognizedPage

COLUMNS = (
    "level",
    "page_num",
    "block_num",
    "par_num",
    "line_num",
    "word_num",
    "left",
    "top",
    "width",
    "height",
    "conf",
    "text",
)

PAGE, BLOCK, PARAGRAPH, LINE, WORD = range(1, 6)
"""Tesseract's levels."""

NO_CONFIDENCE = -1


def head(_: RecognizedPage) -> str:
    """Return the names of the columns."""
    return "\t".join(COLUMNS) + "\n"


def page(result: RecognizedPage, number: int) -> str:
    """Return the rows of one page; `number`, counted from 1, is its place in the output."""
    return "".join(_rows(result, page_number(result, number)))


def _rows(result: RecognizedPage, number: int) -> Iterator[str]:
    yield _row(PAGE, (number, 0, 0, 0, 0), Box(0, 0, *size_of(result)))
    for b, block in enumerate(placed_blocks(result), 1):
        yield _row(BLOCK, (number, b, 0, 0, 0), block.box)
        yield _row(PARAGRAPH, (number, b, 1, 0, 0), block.box)
        for n, line in enumerate(block.lines, 1):
            yield _row(LINE, (number, b, 1, n, 0), line.box)
            for w, word in enumerate(line.words, 1):
                yield _row(WORD, (number, b, 1, n, w), word.box, word.confidence, word.text)


def _row(level: int, numbers: tuple[int, ...], box: Box, confidence: int = NO_CONFIDENCE, text: str = "") -> str:
    values = (level, *numbers, box.left, box.top, box.width, box.height, confidence, text)
    return "\t".join(map(str, values)) + "\n"
