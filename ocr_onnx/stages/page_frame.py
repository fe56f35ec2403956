"""Place the text boxes of a page in a frame in which lines run from left to right and follow each other from top to bottom.

Skew is removed, vertical pages are turned, and pages in right-to-left scripts are mirrored. Coordinates are pixels, relative to the
middle of the page.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.stages import geometry
from ocr_onnx.types import Columns, Quad

VERTICAL_RATIO = 1.5
"""A box with a height / width above this has vertical text."""

LONG_RATIO = 3.0
"""The length / thickness from which the direction of a box tells the skew of the page."""

RIGHT_TO_LEFT = frozenset({"R", "AL"})
"""Unicode's bidirectional classes of Hebrew and Arabic letters."""

WIDE_GAP = 0.8
"""The gap between two characters of a line, relative to its height, from which it may be the space between two columns."""

NARROW_GAP = 0.3
"""The least such gap that may be a gutter, if near lines have it at the same place."""

NEAR_LINES = 24
"""The number of lines before and after a line, by height on the page, among which near lines are."""

NEAR = 8.0
"""The largest distance of near lines, relative to the line height."""

BEGINNING = 0.35
"""The largest distance between the beginnings of near lines of a column, relative to the line height."""

COLUMN_WIDTH = 6.0
"""The least width of a column, relative to the line height: no list's marks."""

COLUMN_LINES = 3
"""The least number of near lines of a column."""

CROSSING_LINES = 5
"""The least number of near lines with a gap at a gutter, if detection took most lines of two columns for one."""

CROSSING_SHARE = 0.8
"""The least share of near lines across a gutter that have a gap there."""


class Gap(NamedTuple):
    """A gap between two characters of a line."""

    left: float
    right: float
    begin: int
    """The index of the first character behind it in the line's text."""
    span: tuple[float, float]
    """Its ends, as shares of the line's length."""


class Piece(NamedTuple):
    """A line, or a part of a line between two wide gaps."""

    left: float
    top: float
    right: float
    bottom: float
    line: int
    """The index of the line."""
    begin: int
    """The index of its first character in the line's text."""
    text: str
    span: tuple[float, float] = (0.0, 1.0)
    """The part of the line's box that it fills, as shares of its length."""

    @property
    def x(self) -> float:
        """The horizontal center."""
        return (self.left + self.right) / 2

    @property
    def y(self) -> float:
        """The vertical center."""
        return (self.top + self.bottom) / 2

    @property
    def width(self) -> float:
        """The extent in reading direction."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """The line height."""
        return self.bottom - self.top


class Sides(NamedTuple):
    """The middle and the sides of each of n boxes."""

    middle: NDArray[np.float64]
    along: NDArray[np.float64]
    """The upper side as a vector, (n, 2)."""
    down: NDArray[np.float64]
    """The left side as a vector, (n, 2)."""

    @property
    def sizes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Widths and heights."""
        return np.hypot(*self.along.T), np.hypot(*self.down.T)


def pieces(lines: Sequence[tuple[Quad, str]], size: tuple[int, int], columns: Sequence[Columns] = ()) -> list[Piece]:
    """Return the lines (box, text) in the frame, from top to bottom, without those that have no text.

    They are divided at wide gaps between characters if their `columns` are given, and at narrower gaps between two columns.
    `size` is (width, height) of the page in pixels.
    """
    kept = [i for i, (_, text) in enumerate(lines) if text.strip()]
    if not kept:
        return []
    texts, sides = [lines[i][1] for i in kept], _sides([lines[i][0] for i in kept])
    # Of a very thin image a box can have no extent.
    width, height = np.maximum(sides.sizes, 1)
    upright = height > width * VERTICAL_RATIO
    x, y = _rotated(sides.middle - np.array(size) / 2, -_skew(sides, upright)).T
    if is_vertical(texts, upright):
        x, y, width, height = y, -x, height, width
    elif is_right_to_left(texts):
        x, columns = -x, ()
    bounds = np.stack((x - width / 2, y - height / 2, x + width / 2, y + height / 2), axis=1).tolist()
    found = [Piece(a, b, c, d, i, 0, text) for (a, b, c, d), i, text in zip(bounds, kept, texts, strict=True)]
    found.sort(key=_place)
    if columns:
        return sorted(_divide(found, columns), key=_place)
    return found


def _place(piece: Piece) -> tuple[float, float, int]:
    return piece.y, piece.x, piece.line


def skew(quads: Sequence[Quad]) -> float:
    """Return the angle in radians by which the lines of a page are turned clockwise; 0 if none is long enough to tell."""
    if not quads:
        return 0.0
    sides = _sides(quads)
    width, height = sides.sizes
    return _skew(sides, height > width * VERTICAL_RATIO)


def _sides(quads: Sequence[Quad]) -> Sides:
    rectangles = [quad if len(quad) == geometry.CORNERS else geometry.rectangle(quad)[0] for quad in quads]
    a, b, c, d = np.asarray(rectangles, np.float64).transpose(1, 0, 2)
    return Sides((a + b + c + d) / 4, (b - a + c - d) / 2, (d - a + c - b) / 2)


def _skew(sides: Sides, upright: NDArray[np.bool_]) -> float:
    """Return the angle in radians by which the text is turned clockwise: the median over long boxes, weighted by length."""
    width, height = sides.sizes
    length = np.maximum(width, height)
    long = length >= LONG_RATIO * np.minimum(width, height)
    if not long.any():
        return 0.0
    (dx, dy), (ex, ey) = sides.along.T, sides.down.T
    angles = np.where(upright, np.arctan2(-ex, ey), np.arctan2(dy, dx))[long]
    order = np.argsort(angles)
    weights = np.cumsum(length[long][order])
    return float(angles[order][np.searchsorted(weights, weights[-1] / 2)])


def _rotated(points: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    cos, sin = math.cos(angle), math.sin(angle)
    x, y = points.T
    return np.stack((x * cos - y * sin, x * sin + y * cos), axis=1)


def is_vertical(texts: Sequence[str], upright: NDArray[np.bool_]) -> bool:
    """Return whether most characters of a page are in vertical lines."""
    counts = np.array([len(text) for text in texts])
    return bool(counts[upright & (counts > 1)].sum() > counts[~upright].sum())


def is_right_to_left(texts: Sequence[str]) -> bool:
    """Return whether most letters of a page are written from right to left."""
    classes = [unicodedata.bidirectional(character) for text in texts for character in text]
    return sum(each in RIGHT_TO_LEFT for each in classes) > classes.count("L")


def _divide(lines: Sequence[Piece], columns: Sequence[Columns]) -> Iterator[Piece]:
    """Yield the parts of sorted lines: between gaps wider than the usual spaces between words, and between columns."""
    found = [list(gaps(line, columns[line.line])) for line in lines]
    pairs = list(zip(lines, found, strict=True))
    for i, (line, own) in enumerate(pairs):
        dividing = [gap for gap in own if _is_wide(gap, line)]
        if own and not dividing:
            near = (*pairs[max(0, i - NEAR_LINES) : i], *pairs[i + 1 : i + 1 + NEAR_LINES])
            others = [pair for pair in near if abs(pair[0].y - line.y) < NEAR * line.height]
            dividing = [gap for gap in own if _is_gutter(gap, line, others)]
        yield from _divided(line, dividing)


def _divided(line: Piece, found: Sequence[Gap]) -> list[Piece]:
    """Return the parts of a line between gaps."""
    begins = [0, *(gap.begin for gap in found), len(line.text)]
    starts = [0.0, *(gap.span[1] for gap in found)]
    ends = [*(gap.span[0] for gap in found), 1.0]
    spans = zip(starts, ends, strict=True)
    return [_part(line, *each) for each in zip(pairwise(begins), spans, strict=True)] if found else [line]


def gaps(line: Piece, columns: Columns) -> Iterator[Gap]:
    """Yield the gaps of a line that are not narrower than NARROW_GAP; `columns` are the positions of its characters."""
    shown = [i for i, character in enumerate(columns.characters) if not character.isspace()]
    if len(shown) < 2 or "".join(columns.characters) != line.text:
        return
    at = [columns.positions[i] + 0.5 for i in shown]
    steps = sorted(b - a for (i, a), (j, b) in pairwise(zip(shown, at, strict=True)) if j == i + 1)
    pitch = steps[len(steps) // 2] if steps else 0.0
    cell = line.width / columns.total
    for i, (a, b) in enumerate(pairwise(at), 1):
        if (b - a - pitch) * cell >= NARROW_GAP * line.height:
            left, right = a + pitch / 2, b - pitch / 2
            yield Gap(
                line.left + left * cell,
                line.left + right * cell,
                shown[i],
                (left / columns.total, right / columns.total),
            )


def _is_wide(gap: Gap, line: Piece) -> bool:
    return gap.right - gap.left >= WIDE_GAP * line.height


def _is_gutter(gap: Gap, line: Piece, others: Sequence[tuple[Piece, Sequence[Gap]]]) -> bool:
    """Return whether near lines begin behind a gap, or have a gap there, and hardly any crosses it; `others` have their gaps."""
    if min(gap.left - line.left, line.right - gap.right) < COLUMN_WIDTH * line.height:
        return False
    edge = BEGINNING * line.height
    beginning = aligned = closed = 0
    for other, found in others:
        if abs(other.left - gap.right) < edge:
            beginning += 1
        elif other.left + line.height < gap.left and gap.right < other.right - line.height:
            if any(abs(each.right - gap.right) < edge for each in found):
                aligned += 1
            else:
                closed += 1
                if closed > (1 - CROSSING_SHARE) * len(others):
                    return False
    if closed > (1 - CROSSING_SHARE) * (aligned + closed):
        return False
    return beginning >= COLUMN_LINES or beginning + aligned >= CROSSING_LINES


def _part(line: Piece, characters: tuple[int, int], span: tuple[float, float]) -> Piece:
    begin, end = characters
    left, right = (line.left + share * line.width for share in span)
    return line._replace(left=left, right=right, begin=begin, text=line.text[begin:end].rstrip(), span=span)


def whole(row: Sequence[Piece]) -> tuple[Piece, ...]:
    """Join the pieces of one line that stand next to each other in a row."""
    found: list[Piece] = []
    for piece in row:
        before = found[-1] if found else None
        if before is not None and before.line == piece.line and before.begin < piece.begin:
            gap = " " * max(1, piece.begin - before.begin - len(before.text))
            text, span = before.text + gap + piece.text, (before.span[0], piece.span[1])
            found[-1] = before._replace(right=piece.right, text=text, span=span)
        else:
            found.append(piece)
    return tuple(found)
