"""Divide the rows of a region into paragraphs, headings and lists, and join their text."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ocr_onnx.stages.joining import HYPHENS, is_unspaced, join
from ocr_onnx.stages.reading_order import SENTENCE_END, Region, Row, is_prose
from ocr_onnx.types import BlockKind

MARKER = re.compile(r"(?:[•●○▪■◦‣∙·*–—-]|\(?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{2,5})[.)]|[①-⑳])(?=\s|[A-Z\u3400-\u9fff])")
"""The bullet or number of an item of a list."""

LARGER = 1.2
"""The line height of a heading, relative to the page's usual one."""

HEADING_ROWS = 4
"""The largest number of rows of a heading."""

OTHER_HEIGHT = 1.3
"""The ratio of the heights of two rows from which they are not of one block."""

SPACED = 1.3
"""The distance of two rows, relative to the region's usual one, from which they are not of one block."""

LOOSE, LOOSE_IF_FULL = 1.8, 3.0
"""The largest distance of rows of one block, relative to their height; a row that fills its column is rarely the last one."""

FULL = 1.5
"""The space, relative to the line height, that a row which fills its column has beside it at most."""

TOUCHING = 1.45
"""Rows at less than this distance, relative to their height, are of one block, however dense the region is."""

INDENT = 0.7
"""The indent, relative to the line height, that begins a paragraph."""

SLACK = 0.6
"""The free space, relative to the line height, that a line may have beside the next word that would have fitted."""

CLOSE = 0.5
"""The gap, relative to the line height, up to which two boxes of a row are one text in scripts without spaces."""


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one block, and its text."""

    kind: BlockKind
    rows: tuple[Row, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Column:
    """The sides of a region, and the usual distance of its rows, in pixels."""

    left: float
    right: float
    pitch: float
    is_prose: bool
    """Whether most rows are full and long, so that a line break says nothing."""

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Column:
        """The column of a region's rows; the longest tenth of them may reach over its right side."""
        ends = sorted(row[-1].right for row in rows)
        distances = [below[0].y - above[0].y for above, below in pairwise(rows)]
        right = ends[round(0.9 * (len(ends) - 1))]
        pitch = statistics.median(distances) if distances else 0.0
        height = statistics.median(row[0].height for row in rows)
        return cls(min(row[0].left for row in rows), right, pitch, is_prose(rows, height))


def divide(region: Region, words: frozenset[str], height: float) -> Iterator[Part]:
    """Yield the blocks of a region. `words` is the page's vocabulary, and `height` its usual line height in pixels."""
    rows = [row for row in region.rows if row_text(row)]
    if not rows:
        return
    if region.is_table:
        yield Part("table", tuple(rows), "\n".join(map(row_text, rows)))
        return
    column, begin = Column.of(rows), 0
    for i in range(1, len(rows) + 1):
        if i == len(rows) or _starts_block(rows[i], rows[begin:i], column):
            yield _part(rows[begin:i], column, words, height)
            begin = i


def row_text(row: Row) -> str:
    """Return the text of a row; its boxes are joined with spaces."""
    text = ""
    for before, piece in zip((None, *row), row, strict=False):
        touches = before is not None and piece.left - before.right < CLOSE * piece.height
        unspaced = touches and is_unspaced(text[-1:]) and is_unspaced(piece.text[:1])
        text += piece.text if unspaced or not text else f" {piece.text}"
    return text.strip()


def _starts_block(row: Row, block: Sequence[Row], column: Column) -> bool:
    """Return whether a row does not belong to the block above it."""
    last, text = block[-1], row_text(row)
    heights = sorted((last[0].height, row[0].height))
    if _is_apart(row, last, column) or heights[1] > OTHER_HEIGHT * heights[0]:
        return True
    if _divides_word(last):
        return False
    is_list = MARKER.match(row_text(block[0])) is not None
    if MARKER.match(text):
        return not is_list
    if is_list:
        return row[0].left < last[0].left - INDENT * heights[0] and _breaks(last, row, column)
    if _is_centered(last, row):
        return False
    ends = _breaks(last, row, column)
    return _is_indented(row, block, column) or (ends and row_text(last)[-1] in SENTENCE_END)


def _is_apart(row: Row, last: Row, column: Column) -> bool:
    """Return whether there is more space between two rows than is usual in the region, or the row is not below the other."""
    height = min(last[0].height, row[0].height)
    distance = row[0].y - last[0].y
    loose = LOOSE_IF_FULL if column.right - last[-1].right < FULL * height else LOOSE
    return distance < 0 or distance > max(SPACED * min(column.pitch, loose * height), TOUCHING * height)


def _is_indented(row: Row, block: Sequence[Row], column: Column) -> bool:
    """Return whether a row begins a paragraph: it is indented, or it ends the hanging indent of the rows above."""
    last = block[-1]
    height = min(last[0].height, row[0].height)
    indent = row[0].left - last[0].left
    if indent > INDENT * height:
        is_body = len(block) > 1 and last[0].left - column.left < INDENT * height
        return is_body or _breaks(last, row, column)
    is_hanging = len(block) > 1 and abs(last[0].left - block[-2][0].left) < INDENT * height
    return indent < -INDENT * height and is_hanging


def _breaks(last: Row, row: Row, column: Column) -> bool:
    """Return whether a line ends on purpose: the first word of the next one would have fitted into it.

    Outside of prose, all lines do, unless the next one begins with a small letter; so do centered lines.
    """
    end, start = last[-1], row[0]
    if _divides_word(last):
        return False
    if not column.is_prose and not start.text[:1].islower() and not is_unspaced(start.text[:1]):
        return True
    if _is_centered(last, row):
        return True
    word = 1 if is_unspaced(start.text[:1]) else len(start.text.partition(" ")[0]) + 1
    needed = word * start.width / max(len(start.text), 1)
    return column.right - end.right > needed + SLACK * start.height


def _is_centered(last: Row, row: Row) -> bool:
    """Return whether two rows of different length have the same middle."""
    left, right = row[0].left - last[0].left, row[-1].right - last[-1].right
    return abs(left) > INDENT * row[0].height and abs(left + right) < INDENT * row[0].height


def _divides_word(row: Row) -> bool:
    """Return whether a line may end in a word."""
    end = row[-1].text
    return end[-1:] in HYPHENS and end[-2:-1].isalpha()


def _part(rows: Sequence[Row], column: Column, words: frozenset[str], height: float) -> Part:
    """Join the rows of a block; a line that ends on purpose keeps its line break, except in a heading."""
    is_list = MARKER.match(row_text(rows[0])) is not None
    is_large = statistics.median(row[0].height for row in rows) >= LARGER * height
    is_heading = is_large and not is_list and len(rows) <= HEADING_ROWS
    text = row_text(rows[0])
    for last, row in pairwise(rows):
        following = row_text(row)
        is_item = is_list and MARKER.match(following) is not None and not _divides_word(last)
        keeps = is_item or (not is_heading and _breaks(last, row, column))
        text = f"{text}\n{following}" if keeps else join(text, following, words)
    return Part("heading" if is_heading else "list" if is_list else "paragraph", tuple(rows), text)
