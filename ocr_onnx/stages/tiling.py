"""Detect the text of very high images, such as screenshots of whole web pages, in overlapping tiles.

Such an image is reduced to DetectionOptions.max_side_limit as a whole, which makes its text too small to be found.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.options import DetectionOptions
from ocr_onnx.stages.detection import largest_side
from ocr_onnx.types import Image, TextBox

logger: logging.Logger = logging.getLogger(__name__)

TILES_FROM = 2
"""An image is divided if it is longer than this number of tiles; PaddleOCR reads shorter ones well enough when it reduces them."""

SMALL_SIDE = 320
"""Pixels. With text_det_limit_type max, few images have readable text at a smaller limit, which is meant for min."""

OVERLAP = 0.1
"""Share of a tile's length that the next tile repeats: a line must fit."""

SAME_TEXT = 0.5
"""Two boxes of different tiles are the same text if they share this part of the smaller one."""


def detect_in_tiles(
    detect: Callable[[Image, DetectionOptions], list[TextBox]], image: Image, options: DetectionOptions
) -> list[TextBox]:
    """Return the boxes of `detect`, which gets an image of usual proportions whole, and a very high one in tiles.

    A very wide image is not divided, because the edges of tiles would cut its lines.
    """
    if not _is_divided(image, options):
        return detect(image, options)
    height, width = image.shape[:2]
    length = max(largest_side(options), width)
    whole = detect(image, options)
    if any(np.ptp(box.quad[:, 1]) > OVERLAP * length for box in whole):
        # Tiles would cut large or vertical text.
        return whole
    starts = tile_starts(height, length)
    logger.info("text of %d x %d pixels is detected in %d tiles", width, height, len(starts))
    found: list[TextBox] = []
    for start in starts:
        offset = np.array((0, start), np.int32)
        boxes = [replace(box, quad=box.quad + offset) for box in detect(image[start : start + length], options)]
        found = _merged(found, boxes)
    return found


def _is_divided(image: Image, options: DetectionOptions) -> bool:
    height, width = image.shape[:2]
    return options.tiles and options.input_shape is None and height > TILES_FROM * max(largest_side(options), width)


def reduction_warning(image: Image, options: DetectionOptions) -> str | None:
    """Return a warning if detection reduces a very long image as a whole; None for other images."""
    longest, limit = max(image.shape[:2]), options.max_side_limit
    if options.limit_type == "max" and options.limit_side_len < SMALL_SIDE:
        limit = options.limit_side_len
    if options.input_shape is not None or longest <= TILES_FROM * limit or _is_divided(image, options):
        return None
    return (
        f"the longest side of {longest} pixels is reduced to {limit} for detection, so small text may be missing: divide the image, "
        "raise text_det_max_side_limit or the limit of type max, or set text_det_tiles for a high image"
    )


def tile_starts(total: int, length: int) -> list[int]:
    """Return where tiles of `length` begin that cover `total` pixels and overlap by at least OVERLAP."""
    count = math.ceil((total - length) / (length * (1 - OVERLAP))) + 1
    return [round(number * (total - length) / (count - 1)) for number in range(count)]


def _merged(first: list[TextBox], second: list[TextBox]) -> list[TextBox]:
    """Return the boxes of two tiles; of two boxes of the same text, the larger, because a tile cuts lines at its edge."""
    if not first or not second:
        return first + second
    rectangles, others = _rectangles(first), _rectangles(second)
    sizes, other_sizes = _areas(rectangles), _areas(others)
    low, high = (
        np.maximum(rectangles[:, None, :2], others[None, :, :2]),
        np.minimum(rectangles[:, None, 2:], others[None, :, 2:]),
    )
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    same = shared >= SAME_TEXT * np.minimum(sizes[:, None], other_sizes)
    smaller = sizes[:, None] < other_sizes
    dropped, other_dropped = (same & smaller).any(axis=1), (same & ~smaller).any(axis=0)
    return [box for box, drop in zip(first, dropped, strict=True) if not drop] + [
        box for box, drop in zip(second, other_dropped, strict=True) if not drop
    ]


def _rectangles(boxes: list[TextBox]) -> NDArray[np.float64]:
    """Return left, top, right and bottom of each box."""
    return np.array([(*box.quad.min(axis=0), *box.quad.max(axis=0)) for box in boxes], np.float64)


def _areas(rectangles: NDArray[np.float64]) -> NDArray[np.float64]:
    areas: NDArray[np.float64] = np.prod(np.maximum(rectangles[:, 2:] - rectangles[:, :2], 1), axis=1)
    return areas
