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

    They are divided at wide gaps between characters if their `columns` are given. `size` is (width, height) of the page in
    pixels.
    """
    kept = [i for i, (_, text) in enumerate(lines) if text.strip()]
    if not kept:
        return []
    texts, sides = [lines[i][1] for i in kept], _sides([lines[i][0] for i in kept])
    width, height = sides.sizes
    upright = height > width * VERTICAL_RATIO
    x, y = _rotated(sides.middle - np.array(size) / 2, -_skew(sides, upright)).T
    if is_vertical(texts, upright):
        x, y, width, height = y, -x, height, width
    elif is_right_to_left(texts):
        x, columns = -x, ()
    bounds = np.stack((x - width / 2, y - height / 2, x + width / 2, y + height / 2), axis=1).tolist()
    found = [Piece(a, b, c, d, i, 0, text) for (a, b, c, d), i, text in zip(bounds, kept, texts, strict=True)]
    if columns:
        found = [piece for line in found for piece in split(line, columns[line.line])]
    return sorted(found, key=lambda piece: (piece.y, piece.x, piece.line))


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


def split(line: Piece, columns: Columns) -> Iterator[Piece]:
    """Divide a line at gaps that are wider than the usual spaces between words; `columns` are the positions of its characters."""
    shown = [i for i, character in enumerate(columns.characters) if not character.isspace()]
    if len(shown) < 2 or "".join(columns.characters) != line.text:
        yield line
        return
    at = [columns.positions[i] + 0.5 for i in shown]
    steps = sorted(b - a for (i, a), (j, b) in pairwise(zip(shown, at, strict=True)) if j == i + 1)
    pitch = steps[len(steps) // 2] if steps else 0.0
    cell, last = line.width / columns.total, 0
    begin, start = 0, 0.0
    for this, following in pairwise(range(len(shown))):
        if (at[following] - at[this] - pitch) * cell >= WIDE_GAP * line.height:
            end = (at[this] + pitch / 2) / columns.total
            yield _part(line, begin, shown[following], (start, end))
            begin, start = shown[following], (at[following] - pitch / 2) / columns.total
            last = following
    yield _part(line, begin, len(line.text), (start, 1.0)) if last else line


def _part(line: Piece, begin: int, end: int, span: tuple[float, float]) -> Piece:
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
