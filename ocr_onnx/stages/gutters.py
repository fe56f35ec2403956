"""Find the gutters of a page: tall empty rectangles with text on both sides.

They are Breuel's maximal empty rectangles ("Two Geometric Algorithms for Layout Analysis", DAS 2002), found by one sweep over the lines
from top to bottom. A line ends each rectangle that it crosses, and begins narrower ones beside it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ocr_onnx.stages.page_frame import Piece

INSET = 0.2
"""The part of the line height by which boxes are narrowed: detection expands them beyond the text."""

LARGE = 1.3
"""The height of a line in large type, relative to the usual line height."""

LARGE_SPACE = 0.3
"""The distance by which boxes in large type are widened, relative to the excess of their height over the usual line height."""

LEAST_WIDTH = 0.35
"""The least width of a gutter between narrowed boxes, relative to the line height."""

FEW_LINES = 3
"""The least number of lines on both sides of a gutter."""

WIDE = 1.5
"""The width of a gutter, relative to the line height, from which one line on one side and two on the other are enough."""

WITHIN_LINES = 4
"""The least number of lines of a gutter that divides lines which detection took for one."""

INTRUSION = 1.5
"""The length, relative to the line height, by which a line may reach over the middle of a gutter."""

INTRUDING_SHARE = 0.25
"""The largest share of a line that may be beyond the middle of a gutter."""

NEAR = 0.5
"""The distance, relative to the line height, up to which pieces are next to each other."""

STRAIGHT = 0.3
"""The largest distance of aligned edges from their median, relative to the line height; character positions are less exact."""

NEIGHBORS = 4
"""The number of boxes before and after a box, by height on the page, among which those of its visual line are."""

ALIGNED_SHARE = 0.8
"""The share of aligned edges that distinguishes a gutter from spaces between words."""


@dataclass(frozen=True, slots=True)
class Gutter:
    """An empty rectangle between two columns."""

    left: float
    right: float
    first: int
    """The index of the first line beside it."""
    last: int
    extent: float = 0.0
    """The height along which it has text on both sides, in pixels."""

    @property
    def middle(self) -> float:
        """Lines whose center is left of this belong to the left column."""
        return (self.left + self.right) / 2


def find(lines: Sequence[Piece], height: float) -> list[Gutter]:
    """Return gutters that have no line in common, from top to bottom. `lines` are sorted by y; `height` is the usual line height."""
    return _joined(_tallest(_supported(_empty(lines, height), lines, height), len(lines)), lines, height)


def _empty(lines: Sequence[Piece], height: float) -> list[Gutter]:
    """Return the maximal empty rectangles; `first` and `last` are the lines beside each."""
    low, high = min(line.left for line in lines), max(line.right for line in lines)
    active: list[tuple[float, float, int]] = [(low, high, 0)]
    found: list[Gutter] = []
    for i, line in enumerate(lines):
        inset = min(_inset(line.height, height), line.width / 2)
        left, right = line.left + inset, line.right - inset
        kept, begun = [], [(low, high, i + 1)]
        for rectangle in active:
            start, end, first = rectangle
            if end <= left or start >= right:
                kept.append(rectangle)
                continue
            if first < i:
                found.append(Gutter(start, end, first, i - 1))
            begun += [(start, left, first), (right, end, first)]
        wide = (each for each in begun if each[1] - each[0] >= LEAST_WIDTH * height)
        active = _maximal(kept, wide)
    return found + [Gutter(start, end, first, len(lines) - 1) for start, end, first in active if first < len(lines)]


def _inset(own: float, usual: float) -> float:
    """Return the distance by which a box is narrowed; one in large type is widened, as its spaces are wider."""
    return INSET * min(own, usual) - min(LARGE_SPACE * max(own - usual, 0.0), NEAR * usual)


def _maximal(
    kept: list[tuple[float, float, int]], begun: Iterable[tuple[float, float, int]]
) -> list[tuple[float, float, int]]:
    """Add the rectangles of `begun` that are not inside another one; the longest and widest come first."""
    for each in sorted(begun, key=lambda rectangle: (rectangle[2], rectangle[0] - rectangle[1])):
        if not any(start <= each[0] and end >= each[1] and first <= each[2] for start, end, first in kept):
            kept.append(each)
    return kept


def _supported(found: Iterable[Gutter], lines: Sequence[Piece], height: float) -> list[Gutter]:
    """Return the rectangles with enough lines on both sides, with their extents."""
    return [replace(each, extent=extent) for each in found if (extent := _extent(each, lines, height)) > 0]


def _extent(gutter: Gutter, lines: Sequence[Piece], height: float) -> float:
    """Return the height along which a rectangle has text on both sides; 0 if it is no gutter."""
    left, right = beside(gutter, lines)
    if not left or not right:
        return 0.0
    top, bottom = max(left[0].top, right[0].top), min(left[-1].bottom, right[-1].bottom)
    sides = [[line for line in side if top <= line.y <= bottom] for side in (left, right)]
    few, many = sorted(_count_rows(side, height) for side in sides)
    divided = len({line.line for line in sides[0]} & {line.line for line in sides[1]})
    if divided * 3 >= few and (few < WITHIN_LINES or not _is_straight(left, right, height)):
        return 0.0
    enough = few >= FEW_LINES or (many >= 2 and gutter.right - gutter.left >= WIDE * height)
    return max(0.0, bottom - top) if enough else 0.0


def _count_rows(lines: Sequence[Piece], height: float) -> int:
    """Return the number of visual lines of sorted pieces."""
    return sum(b.y - a.y >= NEAR * height for a, b in pairwise(lines)) + bool(lines)


def _is_straight(left: Iterable[Piece], right: Iterable[Piece], height: float) -> bool:
    """Return whether the ends or the beginnings of text at a gutter within lines are aligned, unlike spaces between words."""
    ends: dict[int, float] = {}
    starts: dict[int, float] = {}
    for piece in left:
        ends[piece.line] = max(ends.get(piece.line, -math.inf), piece.right)
    for piece in right:
        starts[piece.line] = min(starts.get(piece.line, math.inf), piece.left)
    both = sorted(starts.keys() & ends.keys())
    return any(_share_at_median([edges[k] for k in both], height) >= ALIGNED_SHARE for edges in (starts, ends))


def _share_at_median(values: Sequence[float], height: float) -> float:
    middle = statistics.median(values)
    return sum(abs(value - middle) < STRAIGHT * height for value in values) / len(values)


def _tallest(found: Iterable[Gutter], count: int) -> list[Gutter]:
    """Choose gutters that have no line in common: those beside all `count` lines first, then the tallest."""

    def rank(gutter: Gutter) -> tuple[int, float, int, float]:
        return gutter.first - gutter.last + count > 1, -gutter.extent, gutter.first, gutter.left

    taken: list[Gutter] = []
    for each in sorted(found, key=rank):
        if all(each.last < other.first or each.first > other.last for other in taken):
            taken.append(each)
    return sorted(taken, key=lambda gutter: gutter.first)


def _joined(found: Iterable[Gutter], lines: Sequence[Piece], height: float) -> list[Gutter]:
    """Extend gutters over lines that only intrude into them, and join gutters that are then one."""
    joined: list[Gutter] = []
    for each in found:
        floor = joined[-1].last + 1 if joined else 0
        first = each.first
        while first > floor and _is_beside(first - 1, each, lines, height):
            first -= 1
        joined.append(replace(each, first=first))
        if first == floor and len(joined) > 1:
            joined[-2:] = _as_one(joined[-2], joined[-1], height)
    ends = ([gutter.first for gutter in joined] + [len(lines)])[1:]
    extended = (_extended_down(gutter, end, lines, height) for gutter, end in zip(joined, ends, strict=True))
    trimmed = (_without_parts_of_rows(gutter, lines, height) for gutter in extended)
    return [gutter for gutter in trimmed if gutter.first <= gutter.last]


def _without_parts_of_rows(gutter: Gutter, lines: Sequence[Piece], height: float) -> Gutter:
    """Return the gutter without boxes at its ends that go on in a box which is not beside it."""
    first, last = gutter.first, gutter.last
    while 0 < first <= last and _goes_on(lines[first], lines[max(0, first - NEIGHBORS) : first], height):
        first += 1
    while first <= last and _goes_on(lines[last], lines[last + 1 : last + 1 + NEIGHBORS], height):
        last -= 1
    return replace(gutter, first=first, last=last)


def _goes_on(line: Piece, others: Iterable[Piece], height: float) -> bool:
    """Return whether a box is next to another one in its visual line."""
    return any(_is_next_to(line, other, max(height, min(line.height, other.height))) for other in others)


def _as_one(upper: Gutter, lower: Gutter, height: float) -> list[Gutter]:
    """Join two gutters that follow each other at the same place."""
    left, right = max(upper.left, lower.left), min(upper.right, lower.right)
    if right - left <= -NEAR * height:
        return [upper, lower]
    if right < left:
        left = right = (left + right) / 2
    return [Gutter(left, right, upper.first, lower.last, upper.extent + lower.extent)]


def _extended_down(gutter: Gutter, end: int, lines: Sequence[Piece], height: float) -> Gutter:
    last = gutter.last
    while last + 1 < end and _is_beside(last + 1, gutter, lines, height):
        last += 1
    return replace(gutter, last=last)


def _is_beside(index: int, gutter: Gutter, lines: Sequence[Piece], height: float) -> bool:
    """Return whether a line is on one side of a gutter, except for a small part of it."""
    line, around = lines[index], lines[max(0, index - NEIGHBORS) : index + NEIGHBORS + 1]
    others = [other for other in around if other is not line]
    if line.height > LARGE * height and _goes_on(line, others, height):
        # A heading in several boxes.
        return False
    beyond = min(line.right - gutter.middle, gutter.middle - line.left)
    if beyond <= INTRUSION * height and beyond <= INTRUDING_SHARE * line.width:
        return True
    # A torn-off part of a line can lie in the gutter.
    return line.width <= 2 * height and any(_is_next_to(line, other, height) for other in others)


def _is_next_to(a: Piece, b: Piece, height: float) -> bool:
    """Return whether two pieces are on one line, and touch."""
    gap = max(a.left, b.left) - min(a.right, b.right)
    return abs(a.y - b.y) < NEAR * height and gap < NEAR * height


def beside(gutter: Gutter, lines: Sequence[Piece]) -> tuple[list[Piece], list[Piece]]:
    """Return the lines on the left and on the right of a gutter."""
    both = lines[gutter.first : gutter.last + 1]
    return [line for line in both if line.x < gutter.middle], [line for line in both if line.x >= gutter.middle]
