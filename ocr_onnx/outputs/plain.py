"""Convert the result of a page to plain text: paragraphs, lines, or lines at their places on the page."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from ocr_onnx.stages import page_frame, reading_order
from ocr_onnx.stages.blocks import text_of
from ocr_onnx.stages.joining import text_width

if TYPE_CHECKING:
    from ocr_onnx.types import RecognizedPage

EMPTY_LINE_GAP = 1.0
"""The gap between two rows, relative to the line height, from which an empty line stands for it."""


def page_text(page: RecognizedPage) -> str:
    """Return paragraphs in reading order, with an empty line between them; the lines of a page without blocks."""
    return text_of(page.blocks, page.lines) if page.blocks else lines_text(page)


def lines_text(page: RecognizedPage) -> str:
    """Return one line for each text line that is not empty."""
    return "\n".join(line.text for line in page.lines if line.text)


def layout_text(page: RecognizedPage) -> str:
    """Return the rows of the page, aligned with spaces as on the page, for a font of constant width."""
    height, width = page.page.image.shape[:2]
    pieces = page_frame.pieces([(line.box.quad, line.text) for line in page.lines], (width, height))
    if not pieces:
        return ""
    left = min(piece.left for piece in pieces)
    cell = statistics.median(piece.width / text_width(piece.text) for piece in pieces)
    rows, shown = reading_order.rows(pieces), []
    for above, row in zip((None, *rows), rows, strict=False):
        if above is not None and _gap(above, row) > EMPTY_LINE_GAP:
            shown.append("")
        text, used = "", 0
        for piece in row:
            spaces = max(round((piece.left - left) / cell) - used, 1 if text else 0)
            text += " " * spaces + piece.text
            used += spaces + text_width(piece.text)
        shown.append(text)
    return "\n".join(shown)


def _gap(above: reading_order.Row, row: reading_order.Row) -> float:
    """Return the gap between two rows, relative to the line height."""
    return (min(piece.top for piece in row) - max(piece.bottom for piece in above)) / row[0].height
