"""Corners, crops, turns and reading order: pure functions on points and pictures, as PaddleX computes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_onnx.runtime.profiling import timed
from ocr_onnx.types import Image, Quad, TextBox

VERTICAL_RATIO = 1.5
"""A crop this many times as high as wide is taken for vertical text and turned."""

MAX_WARP_SIDE = 32767
"""OpenCV's warps take no picture with a side of this many pixels or more."""

WARP_MARGIN = 4
"""Pixels around a box that the cubic interpolation of its edge may read, and one to spare."""

CORNERS = 4
"""Of a box; polygons have more, or as many."""

SAME_LINE = 10
"""Boxes whose first corners differ by fewer pixels than this in y stand on one line."""


def rectangle(points: NDArray[np.int32] | NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """The smallest rectangle around points, (4, 2) clockwise from the top left corner, and its shorter side.

    Of the two left corners the higher comes first, of the two right ones the lower comes after it.
    """
    bounding = cv2.minAreaRect(points)
    corners = sorted(cv2.boxPoints(bounding).tolist(), key=lambda point: point[0])
    # Of two corners at one height the second comes first, as in the reference.
    left, right = (sorted((b, a), key=lambda point: point[1]) for a, b in (corners[:2], corners[2:]))
    return np.array([left[0], right[0], right[1], left[1]], np.float32), min(bounding[1])


def total_area(boxes: Sequence[TextBox]) -> int:
    """The pixels of all boxes' bounding rectangles together; what several boxes cover counts several times."""
    return sum(math.prod(np.ptp(box.quad, axis=0).tolist()) for box in boxes)


@timed("crop")
def crop(image: Image, quad: Quad) -> Image:
    """Cut a box out of a picture and set it upright; vertical text is turned a quarter counter-clockwise.

    Empty where the box is less than a pixel wide or high.
    """
    corners, _ = rectangle(np.asarray(quad, np.int32))
    top_left, top_right, bottom_right, bottom_left = corners
    width = int(max(length(top_left - top_right), length(bottom_right - bottom_left)))
    height = int(max(length(top_left - bottom_left), length(top_right - bottom_right)))
    if width == 0 or height == 0:
        return np.zeros((height, width, 3), np.uint8)
    cut = _straight(image, corners)
    if cut is None:
        upright = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        if max(image.shape[:2]) >= MAX_WARP_SIDE:
            image, corners = _surroundings(image, corners)
        matrix = cv2.getPerspectiveTransform(corners, upright)
        warped = cv2.warpPerspective(
            image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        cut = np.asarray(warped, np.uint8)
    if height / width >= VERTICAL_RATIO:
        cut = np.rot90(cut)
    return np.ascontiguousarray(cut, np.uint8)


def _straight(image: Image, corners: NDArray[np.float32]) -> Image | None:
    """The part of a picture between corners that are those of pixels, where a warp would move none; None between others."""
    (left, top), (right, bottom) = corners[::2].tolist()
    if corners.tolist() != [[left, top], [right, top], [right, bottom], [left, bottom]]:
        return None
    sides = [int(side) for side in (left, top, right, bottom)]
    if sides != [left, top, right, bottom] or min(left, top) < 0 or right > image.shape[1] or bottom > image.shape[0]:
        return None
    # A copy: a view would keep the page.
    return image[sides[1] : sides[3], sides[0] : sides[2]].copy()


def _surroundings(image: Image, corners: NDArray[np.float32]) -> tuple[Image, NDArray[np.float32]]:
    """The part of a picture that a warp of `corners` reads, and the corners in it."""
    left, top = np.maximum(np.floor(corners.min(axis=0)) - WARP_MARGIN, 0).astype(int)
    right, bottom = (np.ceil(corners.max(axis=0)) + WARP_MARGIN).astype(int)
    return image[top:bottom, left:right], corners - np.array([left, top], np.float32)


def length(side: NDArray[np.float32]) -> np.float32:
    """The length of one side, in float32: it is cut to whole pixels, so its last bit can matter."""
    return np.float32(np.linalg.norm(side))


def rotate(image: Image, angle: int) -> Image:
    """Turn a picture counter-clockwise by 0, 90, 180 or 270 degrees.

    The reference warps about (width / 2, height / 2). That comes out as an exchange of pixels, shifted by one: the first
    row, at 90 degrees, or column, at 270, or both, at 180, are black.
    """
    if angle == 0:
        return image
    turned = np.rot90(image, angle // 90)
    down, right = int(angle in {90, 180}), int(angle in {180, 270})
    # Not zeros_like, which keeps the order of the turned view in memory: each crop would then copy the page.
    shifted = np.zeros(turned.shape, np.uint8)
    shifted[down:, right:] = turned[: turned.shape[0] - down, : turned.shape[1] - right]
    return shifted


def rotate_back(quad: Quad, angle: int, size: tuple[int, int]) -> Quad:
    """Points on a picture of `size` (width, height) that `rotate` by `angle` moved to `quad`; the order is kept."""
    width, height = size
    x, y = quad[:, 0], quad[:, 1]
    places = {0: (x, y), 90: (width - y, x), 180: (width - x, height - y), 270: (y, height - x)}
    return np.stack(places[angle], axis=1)


def reading_order(boxes: Sequence[TextBox]) -> list[TextBox]:
    """Top to bottom, and left to right on one line: PaddleX's insertion pass over boxes sorted by their first corner.

    Polygons have no first corner, and come by their highest point alone, as in PaddleX.
    """
    if any(len(box.quad) != CORNERS for box in boxes):
        return sorted(boxes, key=lambda box: int(box.quad[:, 1].min()))
    ordered = sorted(boxes, key=lambda box: (box.quad[0, 1], box.quad[0, 0]))
    corners = [(int(box.quad[0, 0]), int(box.quad[0, 1])) for box in ordered]
    for i in range(1, len(ordered)):
        for j in range(i, 0, -1):
            (x, y), (before_x, before_y) = corners[j], corners[j - 1]
            if abs(y - before_y) >= SAME_LINE or x >= before_x:
                break
            ordered[j - 1 : j + 1] = ordered[j], ordered[j - 1]
            corners[j - 1 : j + 1] = corners[j], corners[j - 1]
    return ordered
