"""Order the lines of a page as people read them.

The method is the recursive X-Y cut of Nagy and Seth ("Hierarchical Representation of Optically Scanned Documents", ICPR 1984) on
bounding boxes (Ha, Haralick and Phillips, ICDAR 1995), with two changes. The page is not cut at the widest gap of a projection, but
along its tallest gutters (module `gutters`), each of which ends at the lines that cross it: so a title or a table across columns
cuts only there, gaps between paragraphs never cut columns, and a box that reaches into a gutter does not close it. And gutters
between the cells of a table are recognized by their aligned, short lines, and are read in rows. The page's layout need not be
learned from images, as in current methods, so ordering takes milliseconds and works for every script.
"""

from __future__ import annotations

import bisect
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from ocr_onnx.stages import gutters
from ocr_onnx.stages.joining import text_width
from ocr_onnx.stages.page_frame import Piece, whole

Row: TypeAlias = tuple[Piece, ...]
"""The pieces of one visual line, from left to right."""

FEWEST = 3
"""Fewer lines than this are not cut."""

MARGIN_GAP = 1.0
"""The height of the empty strip below a running head or above a running foot, relative to the line height."""

MARGIN_RATIO = 1.5
"""The height of that strip, relative to the usual one, if the page has many."""

MARGIN_ROWS = 3
"""The largest number of rows of a running head or foot."""

BREAK_GAP = 2.0
"""The height of an empty strip across two columns that ends both, relative to the line height."""

ALIGNED = 0.25
"""The largest distance between the centers of two cells of one row, relative to the line height."""

ALIGNED_SHARE = 0.75
"""The share of lines with a line at the same height in the other column, from which two columns may be a table."""

SPARSE = 0.15
"""The share of rows with a cell in a column below which it is no column of a table, but marks or a note beside the page."""

PROSE_CHARACTERS = 18
"""The least median length of the lines of prose, in characters of Latin width."""

PROSE_FULL = 0.4
"""The least share of lines of prose that end near the right side of their column."""

PROSE_DIGITS = 0.3
"""The largest share of digits in prose."""

RUNNING_SHARE = 0.3
"""The least share of lines of running text that begin with a small letter, of those that begin with a letter."""

NOTE = re.compile(r"(?:\d{1,2}|[*†‡§¶¹²³⁴-⁹]+) ?[^\W\d_]")
"""The mark at the beginning of a footnote."""

NOTE_GAP = 1.2
"""The distance between a footnote and the text above, relative to the usual distance of lines."""

SENTENCE_END = frozenset(".!?:;。！？：；…")


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a page that is read from top to bottom."""

    rows: tuple[Row, ...]
    is_table: bool = False
    """Whether the pieces of each row are cells of a table."""


def regions(lines: Sequence[Piece]) -> list[Region]:
    """Return the regions of a page in reading order. `lines` are those of `page_frame.pieces`."""
    if not lines:
        return []
    height = statistics.median(line.height for line in lines)
    first, last = _margins(lines, height)
    parts = (lines[:first], lines[first:last], lines[last:])
    return [region for part in parts for region in _cut(part, height)]


def _cut(lines: Sequence[Piece], height: float) -> Iterator[Region]:
    """Yield the regions of a part of the page: what is above each gutter, then what is on its sides."""
    found = gutters.find(lines, height) if len(lines) >= FEWEST else []
    end = 0
    for gutter in found:
        yield from _cut(lines[end : gutter.first], height)
        yield from _columns(*gutters.beside(gutter, lines), height)
        end = gutter.last + 1
    if found:
        yield from _cut(lines[end:], height)
    elif lines:
        yield Region(tuple(rows(lines)))


def _columns(left: Sequence[Piece], right: Sequence[Piece], height: float) -> Iterator[Region]:
    """Yield the regions of two columns, or of a table."""
    if not left or not right:
        yield Region(tuple(rows(left or right)))
        return
    middle = _break(left, right, height)
    if middle is not None:
        both = sorted((*left, *right), key=lambda each: (each.y, each.x, each.line))
        yield from _cut([line for line in both if line.y < middle], height)
        yield from _cut([line for line in both if line.y >= middle], height)
    elif is_tabular(left, right, height):
        yield from _table(rows([*left, *right]))
    else:
        body, notes = _without_footnotes(left, right)
        for part in (body, right, notes):
            yield from _cut(part, height)


def _table(found: Sequence[Row]) -> Iterator[Region]:
    """Yield a table (at least one row), and the lines above and below it that are no cells: they reach over its first column."""
    seconds = [row[1].left for row in found if len(row) > 1]
    edge = statistics.median(seconds) if seconds else float("inf")
    inner = [i for i, row in enumerate(found) if len(row) > 1 or row[0].right < edge]
    first, last = inner[0], inner[-1] + 1
    parts = (Region(tuple(found[:first])), Region(tuple(with_wrapped_cells(found[first:last])), is_table=True))
    yield from (part for part in (*parts, Region(tuple(found[last:]))) if part.rows)


def _break(left: Sequence[Piece], right: Sequence[Piece], height: float) -> float | None:
    """Return the middle of the first empty strip across two columns that both go on below it."""
    first, last = max(left[0].y, right[0].y), min(left[-1].y, right[-1].y)
    end = -float("inf")
    for line in sorted((*left, *right), key=lambda each: each.top):
        if line.top - end >= BREAK_GAP * height and first < end and last > line.top:
            return (line.top + end) / 2
        end = max(end, line.bottom)
    return None


def _margins(lines: Sequence[Piece], height: float) -> tuple[int, int]:
    """Return the range of the lines between the running head and the running foot."""
    strips = _strips([(line.top, line.bottom) for line in lines])
    gaps = [gap for _, gap in strips if gap >= MARGIN_GAP * height]
    least = MARGIN_RATIO * statistics.median(gaps) if len(gaps) >= FEWEST else MARGIN_GAP * height
    first, last = 0, len(lines)
    for i, gap in strips:
        if gap >= least and len(rows(lines[:i])) <= MARGIN_ROWS:
            first = i
            break
    for i, gap in reversed(strips):
        if gap >= least and i > first and len(rows(lines[i:])) <= MARGIN_ROWS:
            last = i
            break
    return first, last


def _strips(extents: Sequence[tuple[float, float]]) -> list[tuple[int, float]]:
    """Return the empty strips across the page: the index of the first line below each, and its height."""
    found, end = [], extents[0][1]
    for i, (top, bottom) in enumerate(extents):
        if top > end:
            found.append((i, top - end))
        end = max(end, bottom)
    return found


def _without_footnotes(column: Sequence[Piece], following: Sequence[Piece]) -> tuple[list[Piece], list[Piece]]:
    """Separate the notes at the end of a column from its text, which goes on in the next column."""
    lines = rows(column)
    distances = [b[0].y - a[0].y for a, b in pairwise(lines)]
    usual = statistics.median(distances) if distances else 0.0
    beside = rows(following)
    goes_on = beside[0][0].text[:1].islower()
    sizes = [share * _median(size, [*lines, *beside]) for size, share in SMALLER]
    for k in range(len(lines) - 1, len(lines) // 3, -1):
        if distances[k - 1] >= NOTE_GAP * usual and _are_notes(lines[:k], lines[k:], sizes, goes_on=goes_on):
            top = min(piece.y for piece in lines[k])
            return [x for x in column if x.y < top], [x for x in column if x.y >= top]
    return list(column), []


def _are_notes(above: Sequence[Row], below: Sequence[Row], sizes: Sequence[float], *, goes_on: bool) -> bool:
    """Return whether the last rows of a column are notes: in smaller type than `sizes`, or between two parts of a sentence.

    `goes_on` is whether the next column begins in the middle of a sentence.
    """
    last = above[-1][-1]
    is_short = len(below) <= len(above) // 2
    if is_short and all(_median(size, below) < most for (size, _), most in zip(SMALLER, sizes, strict=True)):
        return True
    if not goes_on or _ends_sentence(last.text):
        return False
    is_full = last.right > max(row[-1].right for row in above) - 3 * last.height
    end = below[-1][-1].text.rstrip()
    is_marked = NOTE.match(below[0][0].text) is not None and not end[-1:].isalpha() and end[-1:] not in ",-"
    return is_marked or (is_short and is_full and _ends_sentence(end))


def _ends_sentence(text: str) -> bool:
    return text.rstrip("\"'”’)")[-1:] in SENTENCE_END


def _median(size: Callable[[Piece], float], lines: Sequence[Row]) -> float:
    return statistics.median(size(row[0]) for row in lines)


def _character_width(piece: Piece) -> float:
    return piece.width / text_width(piece.text)


SMALLER: tuple[tuple[Callable[[Piece], float], float], ...] = (
    (lambda piece: piece.height, 0.9),
    (_character_width, 0.95),
)
"""Measures of the size of type, and the ratio to that of the text below which type is smaller."""


def rows(lines: Sequence[Piece]) -> list[Row]:
    """Group the pieces of one visual line."""
    found: list[list[Piece]] = []
    for piece in sorted(lines, key=lambda each: (each.y, each.x, each.line)):
        if found and _is_in_row(piece, found[-1]):
            found[-1].append(piece)
        else:
            found.append([piece])
    return [whole(sorted(row, key=lambda each: (each.x, each.line))) for row in found]


def _is_in_row(piece: Piece, row: Sequence[Piece]) -> bool:
    """Return whether a piece is at the height of a row, and beside its pieces."""
    distance = piece.y - statistics.fmean(other.y for other in row)
    if distance >= min(piece.height, max(other.height for other in row)) / 2:
        return False
    return all(piece.left >= other.x or piece.right <= other.x for other in row)


def is_tabular(left: Sequence[Piece], right: Sequence[Piece], height: float) -> bool:
    """Return whether two columns are read in rows: their lines are aligned, and one of them is not prose."""
    sides = sorted((rows(left), rows(right)), key=len)
    centers = [row[0].y for row in sides[1]]
    within = bisect.bisect(centers, sides[0][-1][0].bottom) - bisect.bisect(centers, sides[0][0][0].top)
    if len(sides[0]) < SPARSE * within:
        return False
    aligned = sum(_distance(row[0].y, centers) < ALIGNED * height for row in sides[0])
    if aligned < ALIGNED_SHARE * len(sides[0]):
        return False
    prose = [side for side in sides if is_prose(side, height)]
    # Values beside text whose lines wrap are fewer than its lines.
    dense = len(sides[0]) >= ALIGNED_SHARE * len(sides[1])
    return not prose or (len(prose) == 1 and not (dense and _runs_on(prose[0])))


def _runs_on(lines: Sequence[Row]) -> bool:
    """Return whether the sentences of a column go over several lines; True in scripts without small letters."""
    starts = [row[0].text[:1] for row in lines]
    small = sum(start.islower() for start in starts)
    cased = small + sum(start.isupper() for start in starts)
    return small >= RUNNING_SHARE * cased


def _distance(value: float, others: Sequence[float]) -> float:
    """Return the distance to the nearest of the sorted `others`."""
    at = bisect.bisect(others, value)
    return min(abs(value - other) for other in others[max(0, at - 1) : at + 1])


def is_prose(lines: Sequence[Row], height: float) -> bool:
    """Return whether most lines of a column are long, fill it, and have few digits."""
    ends = sorted(row[-1].right for row in lines)
    full = sum(end > ends[int(0.9 * (len(ends) - 1))] - 3 * height for end in ends)
    texts = [" ".join(piece.text for piece in row) for row in lines]
    digits = sum(character.isdigit() for text in texts for character in text)
    return (
        statistics.median(map(text_width, texts)) >= PROSE_CHARACTERS
        and full >= PROSE_FULL * len(ends)
        and digits <= PROSE_DIGITS * sum(map(len, texts))
    )


def with_wrapped_cells(table: Sequence[Row]) -> list[Row]:
    """Move a row that continues one cell of the row above behind that cell: it is alone, and does not begin with a capital."""
    found: list[Row] = []
    for row in table:
        above = found[-1] if found else ()
        below = [i for i, cell in enumerate(above) if _is_below(row[0], cell)]
        if len(row) == 1 and len(above) > 1 and below and not row[0].text[:1].isupper():
            found[-1] = (*above[: below[-1] + 1], row[0], *above[below[-1] + 1 :])
        else:
            found.append(row)
    return found


def _is_below(piece: Piece, cell: Piece) -> bool:
    """Return whether a piece begins below a cell, which is indented less or equally."""
    return cell.left - piece.height / 4 <= piece.left < cell.right
