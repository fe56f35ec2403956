"""Minimum-area rectangles, equal to the bit with `minAreaRect` and `boxPoints` of OpenCV 4.10 on x86-64.

Later versions round differently (`minAreaRect` from 4.13, `boxPoints` from 4.14). A crop's size is a side truncated to whole
pixels, therefore the last bit of a corner can change the text. This module computes with NumPy in the order and the precision of
OpenCV 4.10: float32, and float64 where OpenCV uses double. It computes the rectangles of many outlines together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Vectors = NDArray[np.complex64]
"""Points and vectors as complex numbers: x is the real part, y the imaginary part."""

CALIPERS = np.arange(4)[:, np.newaxis]
"""Four lines around a hull that rotate together, counter-clockwise if y points up: they start at the points with the least y, the
largest x, the largest y and the least x."""

TO_FIRST_CALIPER = np.array([1, -1j, -1, 1j], np.complex64)
"""The factor that rotates the direction of each caliper to that of the first."""

PLACE_BITS = 24
"""Bits of an integer key that contain a point's place in its hull; the bits above contain a coordinate."""


def smallest_rectangles(outlines: Sequence[NDArray[np.int32]]) -> tuple[Floats, Floats]:
    """Return the smallest rectangle around each outline, (n, 4, 2) clockwise from the top left corner, and its shorter side, (n,).

    The higher of the two left corners is first; the lower of the two right corners is third. An outline is (points, 2), with at
    least one point.
    """
    if not outlines:
        return np.zeros((0, 4, 2), np.float32), np.zeros(0, np.float32)
    hulls = [cv2.convexHull(outline)[:, 0] for outline in outlines]
    sizes = np.array([len(hull) for hull in hulls])
    points = np.concatenate(hulls).astype(np.float32).view(np.complex64)[:, 0]
    ends = sizes.cumsum()
    # A corner and two sides. The rectangle around one or two points is a point or a line.
    parts = np.zeros((3, len(hulls)), np.complex64)
    parts[0] = points[ends - sizes]
    parts[1] = points[ends - 1] - parts[0]
    if (wide := sizes > 2).all():
        parts = _rotate_calipers(points, sizes)
    elif wide.any():
        parts[:, wide] = _rotate_calipers(points[wide.repeat(sizes)], sizes[wide])
    corner, side, other = parts
    width, height = _length(side).astype(np.float32), _length(other).astype(np.float32)
    corners = _corners(corner + (side + other) * np.float32(0.5), width, height, _angle(side))
    return _clockwise(corners), np.minimum(width, height)


def _rotate_calipers(points: Vectors, sizes: Integers) -> Vectors:
    """Return a corner and the two sides, (3, n), of the smallest rectangle around each convex hull of at least 3 points.

    `points` are those of all hulls, `sizes` is the number of points of each. A side of the smallest rectangle lies on an edge of
    the hull, so there is one candidate for each edge. Of candidates with equal areas, the last one is returned.
    """
    first = sizes.cumsum() - sizes
    hull = np.arange(len(sizes)).repeat(sizes)
    direction, (bottom, right, top, left) = _candidates(points, sizes, hull, first)
    a, b, across, up = direction.real, direction.imag, right - left, top - bottom
    width, height = across.real * a + across.imag * b, -up.real * b + up.imag * a
    area = width * height
    smallest = (area == np.minimum.reduceat(area, first)[hull]).nonzero()[0]
    # The last one of a hull is before the first one of the next hull.
    best = smallest[hull[smallest].searchsorted(np.arange(1, len(sizes) + 1)) - 1]
    a, b, width, height, left, bottom = a[best], b[best], width[best], height[best], left[best], bottom[best]
    # The corner is the intersection of the lines through the left and the bottom point.
    from_left, from_bottom = a * left.real + left.imag * b, -b * bottom.real + bottom.imag * a
    scale = np.float32(1) / (a * a - -b * b)
    parts = np.empty((3, len(sizes)), np.complex64)
    parts[0].real, parts[0].imag = (from_left * a - from_bottom * b) * scale, (a * from_bottom - -b * from_left) * scale
    parts[1].real, parts[1].imag = a * width, b * width
    parts[2].real, parts[2].imag = -b * height, a * height
    return parts


def _candidates(points: Vectors, sizes: Integers, hull: Integers, first: Integers) -> tuple[Vectors, Vectors]:
    """Return the direction of each candidate, and the points that the four calipers touch then, (4, candidates).

    The calipers rotate from edge to edge, each time by the least angle between a caliper and the edge that begins at its point;
    of equal angles, that of the first caliper counts. `hull` is the hull of each point, `first` the first point of each hull.
    """
    size, begin = sizes[hull], first[hull]
    place = np.arange(len(points)) - begin
    starts = _extremes(points, place, first)
    # Each hull is rotated to begin where the first caliper starts.
    points = points[begin + (place + starts[0][hull]) % size]
    starts = (starts - starts[0]) % sizes
    ends = ((starts[1:] - starts[:-1]) % sizes).cumsum(axis=0)
    caliper = (place >= ends[:, hull]).sum(axis=0)
    edges = points[begin + (place + 1) % size] - points
    edge = edges * TO_FIRST_CALIPER[caliper]
    # This grows with the angle, and is equal for equal angles.
    share = edge.imag / (edge.real.astype(np.float64) + edge.imag)
    order = (2 * hull + share).argsort(kind="stable")
    caliper, edge = caliper[order], edge[order]
    last = first + sizes - 1
    if (right := share[order[last]] == 1).any():
        number, other = _touching_at_right_angle(edges, first, starts)
        right &= number < caliper[last]
        caliper[last[right]], edge[last[right]] = number[right], other[right]
    inverse_length = (1 / _length(edge)).astype(np.float32)
    direction = np.empty_like(edge)
    direction.real, direction.imag = edge.real * inverse_length, edge.imag * inverse_length
    passed = (caliper == CALIPERS).cumsum(axis=1)
    passed -= np.where(begin > 0, passed[:, begin - 1], 0)
    return direction, points[begin + (starts[:, hull] + passed) % size]


def _extremes(points: Vectors, place: Integers, first: Integers) -> Integers:
    """Return the places of the first points of each hull with the least y, the largest x, the largest y and the least x, (4, n)."""
    x, y = points.real.astype(np.int64), points.imag.astype(np.int64)
    keys = np.array([y, -x, -y, x]) << PLACE_BITS | place
    return np.minimum.reduceat(keys, first, axis=1) & ((1 << PLACE_BITS) - 1)


def _touching_at_right_angle(edges: Vectors, first: Integers, starts: Integers) -> tuple[Integers, Vectors]:
    """Return the first caliper of each hull that ends at a right angle to an edge, and this edge, relative to the caliper.

    It is the edge with which the next caliper started. If the calipers' last turn is by a right angle, the first of them turns.
    The number is 4 if there is no such caliper.
    """
    touching = edges[first + starts[[1, 2, 3, 0]]] * TO_FIRST_CALIPER[:, np.newaxis]
    right = touching.real == 0
    number = np.where(right.any(axis=0), right.argmax(axis=0), 4)
    return number, touching[number % 4, np.arange(len(first))]


def _length(vectors: Vectors) -> NDArray[np.float64]:
    """Return the length of each vector."""
    x, y = vectors.real.astype(np.float64), vectors.imag.astype(np.float64)
    return np.sqrt(x * x + y * y)


def _angle(sides: Vectors) -> Floats:
    """Return the angle of each side, in degrees; OpenCV rounds it to float32 after each step."""
    radians = np.arctan2(sides.imag.astype(np.float64), sides.real.astype(np.float64)).astype(np.float32)
    return ((radians * np.float32(180)).astype(np.float64) / math.pi).astype(np.float32)


def _corners(centers: Vectors, width: Floats, height: Floats, angle: Floats) -> Floats:
    """Return the corners (n, 4, 2) of rectangles with these centers, sides and angles in degrees, in OpenCV's order."""
    radians = angle.astype(np.float64) * math.pi / 180
    a = np.sin(radians).astype(np.float32) * np.float32(0.5)
    b = np.cos(radians).astype(np.float32) * np.float32(0.5)
    corners = np.empty((len(centers), 4), np.complex64)
    one, two, three, four = corners.T
    one.real, one.imag = centers.real - a * height - b * width, centers.imag + b * height - a * width
    two.real, two.imag = centers.real + a * height - b * width, centers.imag - b * height - a * width
    three[:], four[:] = 2 * centers - one, 2 * centers - two
    return corners.view(np.float32).reshape(-1, 4, 2)


def _clockwise(corners: Floats) -> Floats:
    """Sort the corners of each rectangle by x, then each half by y; of two at the same height, the second is first, as in PaddleX."""
    row = np.arange(len(corners))[:, np.newaxis]
    by_x = corners[row, corners[:, :, 0].argsort(axis=1, kind="stable")]
    y = by_x[:, :, 1]
    left, right = (y[:, 0] >= y[:, 1]).astype(np.int64), (y[:, 2] >= y[:, 3]).astype(np.int64)
    return np.asarray(by_x[row, np.array([left, 2 + right, 3 - right, 1 - left]).T], np.float32)
