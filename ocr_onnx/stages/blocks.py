"""Make the blocks of a page from its recognized lines: paragraphs, headings, lists and tables in reading order."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from ocr_onnx.runtime.profiling import timed
from ocr_onnx.stages import geometry, page_frame, paragraphs, reading_order
from ocr_onnx.stages.joining import join, vocabulary
from ocr_onnx.stages.page_frame import Piece
from ocr_onnx.stages.reading_order import SENTENCE_END
from ocr_onnx.stages.words import with_words
from ocr_onnx.types import Block, Columns, Quad, TextLine

WHOLE = (0.0, 1.0)


@timed("reading order")
def find_blocks(
    lines: Sequence[TextLine], size: tuple[int, int], columns: Sequence[Columns] = ()
) -> tuple[tuple[Block, ...], tuple[int, ...]]:
    """Return the blocks of a page in reading order, and the indices of `lines` in reading order.

    `size` is (width, height) of the page in pixels. With the positions of characters in `columns`, a line that detection found
    across two columns is divided between their blocks. Lines without text are in no block, and last in the order.
    """
    pieces = page_frame.pieces([(line.box.quad, line.text) for line in lines], size, columns)
    regions, words = reading_order.regions(pieces), vocabulary(line.text for line in lines)
    height = statistics.median(piece.height for piece in pieces) if pieces else 0.0
    blocks = [
        Block(part.kind, bounds(rows), rows, part.text)
        for region in regions
        for part in paragraphs.divide(region, words, height)
        for rows in [tuple(tuple(_line(piece, lines) for piece in row) for row in part.rows)]
    ]
    order = dict.fromkeys(piece.line for region in regions for row in region.rows for piece in row)
    return tuple(blocks), tuple(order | dict.fromkeys(range(len(lines))))


def _line(piece: Piece, lines: Sequence[TextLine]) -> TextLine:
    """Return the line of a piece, or the part of the line that the piece is."""
    line = lines[piece.line]
    if piece.span == WHOLE:
        return line
    part = replace(
        line,
        text=piece.text,
        box=replace(line.box, quad=part_of(line.box.quad, piece.span)),
        words=None,
        columns=_columns_of(line.columns, piece.span),
    )
    return part if line.words is None else with_words(part)


def _columns_of(columns: Columns, span: tuple[float, float]) -> Columns:
    """Return the columns of a part of a line, without white space at its end."""
    start, end = (share * columns.total for share in span)
    inside = [i for i, position in enumerate(columns.positions) if start <= position + 0.5 < end]
    while inside and columns.characters[inside[-1]].isspace():
        inside.pop()
    return Columns(
        tuple(columns.characters[i] for i in inside),
        tuple(columns.positions[i] - start for i in inside),
        end - start,
        tuple(columns.probabilities[i] for i in inside) if columns.probabilities else (),
    )


def _corners(quad: Quad) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(quad if len(quad) == geometry.CORNERS else geometry.rectangle(quad)[0], np.float64)


def _is_vertical(corners: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> bool:
    width, height = np.hypot(*(corners[1] - corners[0])), np.hypot(*(corners[3] - corners[0]))
    return bool(height > page_frame.VERTICAL_RATIO * width)


def part_of(quad: Quad, span: tuple[float, float]) -> Quad:
    """Return the part of a line's box from one share of its length to another."""
    a, b, c, d = corners = _corners(quad)
    start, end = span
    if _is_vertical(corners):
        part = (a + (d - a) * start, b + (c - b) * start, b + (c - b) * end, a + (d - a) * end)
    else:
        part = (a + (b - a) * start, a + (b - a) * end, d + (c - d) * end, d + (c - d) * start)
    return np.rint(part).astype(np.int32)


def bounds(rows: Iterable[Iterable[TextLine]]) -> Quad:
    """Return the bounding box of the lines."""
    points = np.concatenate([line.box.quad for row in rows for line in row])
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.int32)


def text_of(blocks: Sequence[Block], lines: Sequence[TextLine]) -> str:
    """Return the text of blocks with an empty line between them; a sentence that goes on in the next column is joined."""
    words = vocabulary(line.text for line in lines)
    text = ""
    for before, block in zip((None, *blocks), blocks, strict=False):
        if before is not None and _goes_on(before, block):
            text = join(text, block.text, words)
        else:
            text += f"\n\n{block.text}" if text else block.text
    return text


def _goes_on(before: Block, block: Block) -> bool:
    """Return whether a block in another column continues the sentence of the block before it."""
    both = before.kind == block.kind == "paragraph"
    return both and before.text[-1:] not in SENTENCE_END and block.text[:1].islower()
