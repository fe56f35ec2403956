"""Geometry of boxes and images, as PaddleX computes it: rectangles, crops, rotations and reading order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_onnx.runtime.profiling import timed
from ocr_onnx.stages.rectangles import smallest_rectangles
from ocr_onnx.stages.warp import warp_perspective
from ocr_onnx.types import Image, Quad, TextBox

VERTICAL_RATIO = 1.5
"""A crop with at least this height / width is considered vertical text, and is rotated."""

MAX_WARP_SIDE = 32767
"""OpenCV's warps accept only images with sides shorter than this, in pixels."""

WARP_MARGIN = 4
"""The pixels around a box that cubic interpolation of its edge may read, plus one."""

CORNERS = 4
"""The number of corners of a box; polygons have four or more."""

SAME_LINE = 10
"""Boxes are on one line if the y of their first corners differs by less than this, in pixels."""


def rectangle(points: NDArray[np.int32]) -> tuple[NDArray[np.float32], float]:
    """Return the smallest rectangle around points, (4, 2) clockwise from the top left corner, and its shorter side."""
    corners, sides = smallest_rectangles([points])
    return corners[0], float(sides[0])


def total_area(boxes: Sequence[TextBox]) -> int:
    """Return the sum of the areas of the boxes' bounding rectangles, in pixels; overlaps count several times."""
    return sum(math.prod(np.ptp(box.quad, axis=0).tolist()) for box in boxes)


def crop(image: Image, quad: Quad) -> Image:
    """Crop a box from an image, as `crop_all` does."""
    return crop_all(image, [quad])[0]


@timed("crop")
def crop_all(image: Image, quads: Sequence[Quad]) -> list[Image]:
    """Crop boxes from an image and make them upright; vertical text is rotated by 90° counter-clockwise.

    A crop is empty if its box is less than one pixel wide or high.
    """
    corners, _ = smallest_rectangles([np.asarray(quad, np.int32) for quad in quads])
    return [_crop_rectangle(image, rectangle) for rectangle in corners]


def _crop_rectangle(image: Image, corners: NDArray[np.float32]) -> Image:
    """Crop a rectangle and make it upright."""
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
        cut = warp_perspective(image, np.asarray(matrix, np.float64), (width, height))
    if height / width >= VERTICAL_RATIO:
        cut = np.rot90(cut)
    return np.ascontiguousarray(cut, np.uint8)


def _straight(image: Image, corners: NDArray[np.float32]) -> Image | None:
    """Crop without a warp, if the corners are those of an axis-aligned box in whole pixels inside the image; else None."""
    (left, top), (right, bottom) = corners[::2].tolist()
    if corners.tolist() != [[left, top], [right, top], [right, bottom], [left, bottom]]:
        return None
    sides = [int(side) for side in (left, top, right, bottom)]
    if sides != [left, top, right, bottom] or min(left, top) < 0 or right > image.shape[1] or bottom > image.shape[0]:
        return None
    # A copy, because a view would keep the page in memory.
    return image[sides[1] : sides[3], sides[0] : sides[2]].copy()


def _surroundings(image: Image, corners: NDArray[np.float32]) -> tuple[Image, NDArray[np.float32]]:
    """Return the part of an image that a warp of `corners` reads, and the corners relative to it."""
    left, top = np.maximum(np.floor(corners.min(axis=0)) - WARP_MARGIN, 0).astype(int)
    right, bottom = (np.ceil(corners.max(axis=0)) + WARP_MARGIN).astype(int)
    return image[top:bottom, left:right], corners - np.array([left, top], np.float32)


def text_corners(quad: Quad, *, upside_down: bool = False) -> NDArray[np.float64]:
    """Return the corners of a line's box, (4, 2), clockwise from the top left corner of the text as it is cropped and read.

    Vertical text is read from top to bottom, with its top at the right.
    """
    corners = smallest_rectangles([np.asarray(quad, np.int32)])[0][0]
    width, height = length(corners[1] - corners[0]), length(corners[3] - corners[0])
    turns = (1 if height >= VERTICAL_RATIO * width else 0) + (2 if upside_down else 0)
    return np.asarray(np.roll(corners, -turns, axis=0), np.float64)


def length(side: NDArray[np.float32]) -> np.float32:
    """Return the length of a side, in float32: it is truncated to whole pixels, so its last bit can matter."""
    return np.float32(np.linalg.norm(side))


def rotate(image: Image, angle: int) -> Image:
    """Rotate an image counter-clockwise by 0, 90, 180 or 270 degrees.

    PaddleX warps about (width / 2, height / 2). This moves whole pixels, shifted by one: the first row (at 90 degrees),
    column (at 270) or both (at 180) are black.
    """
    if angle == 0:
        return image
    rotated = np.rot90(image, angle // 90)
    down, right = int(angle in {90, 180}), int(angle in {180, 270})
    # Not zeros_like, which keeps the memory order of the rotated view: each crop would then copy the page.
    shifted = np.zeros(rotated.shape, np.uint8)
    shifted[down:, right:] = rotated[: rotated.shape[0] - down, : rotated.shape[1] - right]
    return shifted


def rotate_back(quad: Quad, angle: int, size: tuple[int, int]) -> Quad:
    """Map points of an image that `rotate` rotated by `angle` back to the image of `size` (width, height); keep their order."""
    width, height = size
    x, y = quad[:, 0], quad[:, 1]
    mapped = {0: (x, y), 90: (width - y, x), 180: (width - x, height - y), 270: (y, height - x)}
    return np.stack(mapped[angle], axis=1)


def reading_order(boxes: Sequence[TextBox]) -> list[TextBox]:
    """Sort boxes from top to bottom, and from left to right on one line: PaddleX's insertion pass after sorting by first corner.

    Polygons have no first corner, and are sorted by their highest point only, as in PaddleX.
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
