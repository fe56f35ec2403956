"""Filling and simplifying polygons, equal to the bit with `fillPoly` and `approxPolyDP` of OpenCV 4.10.

`fillPoly` of OpenCV 4.10 rounds the ends of each row to whole pixels. Later versions leave out the pixels that are not completely
inside, and cut edges that leave the mask a little differently. `approxPolyDP` measures the distance of a point to the straight
line through the ends of a part of the outline; from 4.13 to the segment between them.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

ONE = 1 << 16
"""One pixel: OpenCV computes the x of an edge as an integer, in this fraction of a pixel."""

FARTHEST_PASSES = 3
"""Passes that search two points of an outline with a large distance, each from the last one's result."""

Point = tuple[int, int]
"""(x, y)."""


class Edge(NamedTuple):
    """A part of a polygon's outline that is not horizontal."""

    top: int
    bottom: int
    """The row after the last one."""
    x: int
    """Of the first row; its pixel is x // ONE."""
    slope: int
    """The change of x from row to row."""


def fill_polygon(mask: NDArray[np.uint8], corners: NDArray[np.int32]) -> None:
    """Set the pixels inside a polygon and on its outline to 1; corners (n, 2) outside of the contiguous mask are permitted."""
    height, width = mask.shape
    size = (width, height)
    points: list[Point] = [(x, y) for x, y in corners.tolist()]
    sides = list(zip([points[-1], *points[:-1]], points, strict=True))
    if not all(_within(point, size) for point in points):
        cv2.polylines(mask, [corners], isClosed=True, color=[1])
        _fill_rows(mask, [_edge(start, end, size) for start, end in sides if start[1] != end[1]])
        return
    cv2.fillPoly(mask, [corners], [1])
    pixels = mask.reshape(-1).data
    for (start_x, start_y), (end_x, end_y) in sides:
        # An edge whose x changes by whole pixels is the same in all versions.
        if start_y != end_y and (end_x - start_x) % (end_y - start_y):
            top, bottom, x, slope = _edge((start_x, start_y), (end_x, end_y), size)
            for row in range(top * width, bottom * width, width):
                pixels[row + x // ONE] = 1
                x += slope


def _edge(start: Point, end: Point, size: tuple[int, int]) -> Edge:
    """Return the edge between two points on a mask of `size` (width, height)."""
    (x, y), (other_x, other_y), half = start, end, ONE // 2
    if not (_within(start, size) and _within(end, size)):
        half = 0
        _, clipped, other = cv2.clipLine((0, 0, *size), start, end)
        if clipped[1] != other[1]:
            (x, y), (other_x, other_y) = clipped, other
    run, rise = (other_x - x) * ONE, other_y - y
    # C++ rounds a quotient towards zero, Python down.
    slope = abs(run) // abs(rise) * (1 if (run < 0) == (rise < 0) else -1)
    if rise < 0:
        start, end, x, y = end, start, other_x, other_y
    return Edge(start[1], end[1], x * ONE + half + (start[1] - y) * slope, slope)


def _within(point: Point, size: tuple[int, int]) -> bool:
    return 0 <= point[0] < size[0] and 0 <= point[1] < size[1]


def _fill_rows(mask: NDArray[np.uint8], edges: list[Edge]) -> None:
    """Set the pixels between each odd edge and the next one to 1, in each row."""
    for row in range(mask.shape[0]):
        columns = sorted(edge.x + (row - edge.top) * edge.slope for edge in edges if edge.top <= row < edge.bottom)
        for left, right in zip(columns[::2], columns[1::2], strict=True):
            mask[row, max(left // ONE, 0) : max(right // ONE + 1, 0)] = 1


def simplify(outline: NDArray[np.int32], tolerance: float) -> NDArray[np.int32]:
    """Return the corners (m, 2) of a closed outline (n, 2) without those that change it by less than a tolerance, in pixels.

    This is the algorithm of Ramer, Douglas and Peucker, and a last pass that removes corners of nearly straight angles.
    """
    points: list[Point] = [(x, y) for x, y in outline.tolist()]
    count, limit = len(points), tolerance * tolerance
    start = far = 0
    for _ in range(FARTHEST_PASSES):
        start = far
        squares = [_square(points[start], points[(start + step) % count]) for step in range(count)]
        far = (start + max(range(count), key=squares.__getitem__)) % count
    if max(squares) <= limit:
        return outline[start : start + 1]
    half = (far - start) % count
    points = points[start:] + points[: start + 1]
    corners, parts = [], [(half, count), (0, half)]
    while parts:
        first, last = parts.pop()
        middle = _farthest_from_line(points, first, last, limit)
        if middle is None:
            corners.append(points[first])
        else:
            parts += [(middle, last), (first, middle)]
    return np.array(_without_straight(corners, limit / 2), np.int32)


def _square(one: Point, other: Point) -> int:
    return (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2


def _farthest_from_line(points: list[Point], first: int, last: int, limit: float) -> int | None:
    """Return the point between two that is farthest from the line through them; None if it is within the limit, a square."""
    (x, y), (last_x, last_y) = points[first], points[last]
    run, rise = last_x - x, last_y - y
    distances = [abs((b - y) * run - (a - x) * rise) for a, b in points[first + 1 : last]]
    farthest = max(distances, default=0)
    if farthest * farthest <= limit * (run * run + rise * rise):
        return None
    return first + 1 + distances.index(farthest)


def _without_straight(corners: list[Point], limit: float) -> list[Point]:
    """Remove each second corner whose distance from the line through its neighbours is within the limit, a square."""
    count = left = len(corners)
    kept = list(corners)
    write = read = 0
    start, corner = corners[-1], corners[0]
    done = 0
    while done < count and left > 2:
        read = (read + 1) % count
        end = kept[read]
        run, rise = end[0] - start[0], end[1] - start[1]
        away = (corner[0] - start[0]) * rise - (corner[1] - start[1]) * run
        forward = (corner[0] - start[0]) * (end[0] - corner[0]) + (corner[1] - start[1]) * (end[1] - corner[1])
        if away * away <= limit * (run * run + rise * rise) and run and rise and forward >= 0:
            left -= 1
            kept[write] = start = end
            read = (read + 1) % count
            corner = kept[read]
            done += 2
        else:
            kept[write] = start = corner
            corner = end
            done += 1
        write = (write + 1) % count
    return kept[:left]
