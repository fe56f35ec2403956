"""Perspective warps, equal to the bit with `warpPerspective` of OpenCV 4.10 with cubic interpolation.

OpenCV 4 rounds the place of a pixel to 1/32 of a pixel and the weights of its 16 neighbours to 1/32768; OpenCV 5 rounds neither.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_onnx.types import Image

OPENCV_ROUNDS = int(cv2.__version__.partition(".")[0]) < 5

FRACTION_BITS = 5
"""Places are rounded to 1 / 32 of a pixel."""

STEPS = 1 << FRACTION_BITS

WEIGHT_ONE = 1 << 15
"""Weights are rounded to this fraction."""

TAPS = 4
"""Cubic interpolation reads 4 x 4 pixels: 1 before the place, 2 after it, and the pixel of the place."""

CHANNELS = 3

SHARPNESS = -0.75
"""The parameter of OpenCV's cubic interpolation."""

BLOCK = 1024
"""OpenCV computes the places of so many pixels at once, at most 16 rows."""

BLOCK_ROWS = 16

FLOAT_ERROR = 1e-3
"""The results of `remap` in float32 differ by less than this from those with exact arithmetic."""


def warp_perspective(image: Image, matrix: NDArray[np.float64], size: tuple[int, int]) -> Image:
    """Warp an image to `size` (width, height); pixels outside of it are those at its border."""
    if OPENCV_ROUNDS:
        return np.asarray(
            cv2.warpPerspective(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.uint8
        )
    return interpolate(image, places(matrix, size))


def places(matrix: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.int32]:
    """Return x and y on the original of each pixel of the warped image, (2, height, width), in STEPS per pixel."""
    width, height = size
    by_x, by_y, constant = np.asarray(cv2.invert(matrix)[1]).T[:, :, np.newaxis, np.newaxis]
    block = min(BLOCK // min(BLOCK_ROWS, height), width)
    column = np.arange(width)
    in_block = column % block
    # In this order, because each sum is rounded.
    sums = by_x * (column - in_block) + by_y * np.arange(height)[:, np.newaxis]
    sums += constant
    sums += by_x * in_block
    place = sums[:2]
    place *= STEPS / sums[2]
    return np.asarray(np.rint(place, out=place), np.int32)


def interpolate(image: Image, place: NDArray[np.int32]) -> Image:
    """Interpolate the image at places (2, height, width) in STEPS per pixel, with weights rounded to 1 / WEIGHT_ONE.

    `remap` computes with exact weights. Where its result is so near to a half that rounded weights could give another integer,
    the sum is computed again.
    """
    fraction_x, fraction_y = place & STEPS - 1
    fraction = fraction_y << FRACTION_BITS | fraction_x
    part = _surroundings(image, place)
    map_x, map_y = place.astype(np.float32) / np.float32(STEPS)
    place >>= FRACTION_BITS
    values = cv2.remap(part, map_x, map_y, cv2.INTER_CUBIC)
    np.clip(values, 0, 255, out=values)
    result = (values + np.float32(0.5)).astype(np.uint8)
    values -= result
    np.abs(values, out=values)
    values, fraction = values.ravel(), fraction.ravel()
    weights, uncertainty = rounded_weights()
    uncertain = (values > 0.5 - uncertainty.max()).nonzero()[0]
    pixel = uncertain // CHANNELS
    chosen = values[uncertain] > 0.5 - uncertainty[fraction[pixel]]
    uncertain, pixel = uncertain[chosen], pixel[chosen]
    x, y = place.reshape(2, -1)[:, pixel]
    row = part.shape[1]
    first = ((y - 1) * row + x - 1 - pixel) * CHANNELS + uncertain
    taps = np.arange(TAPS) * CHANNELS
    neighbours = part.ravel()[first[:, np.newaxis] + (taps[:, np.newaxis] * row + taps).ravel()]
    # Products and sums are integers below 2 ** 24, which float32 contains exactly.
    sums = np.einsum("ij,ij->i", neighbours, weights[fraction[pixel]]).astype(np.int32)
    result.reshape(-1)[uncertain] = (sums + WEIGHT_ONE // 2) // WEIGHT_ONE
    return result


def _surroundings(image: Image, place: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return the part of the image that interpolation at these places reads, and make them relative to this part.

    Outside of the image it repeats the border.
    """
    height, width = image.shape[:2]
    # Farther outside, all neighbours are the same pixel of the border.
    for places_on_axis, side in zip(place, (width, height), strict=True):
        np.clip(places_on_axis, -2 * STEPS, side * STEPS + STEPS - 1, out=places_on_axis)
    start = (place.min(axis=(1, 2)) >> FRACTION_BITS) - 1
    (left, top), (right, bottom) = start.tolist(), ((place.max(axis=(1, 2)) >> FRACTION_BITS) + TAPS - 1).tolist()
    place -= (start << FRACTION_BITS)[:, np.newaxis, np.newaxis]
    part = image[max(top, 0) : bottom, max(left, 0) : right].astype(np.float32)
    above, below, before, after = (max(margin, 0) for margin in (-top, bottom - height, -left, right - width))
    if above or below or before or after:
        return np.asarray(cv2.copyMakeBorder(part, above, below, before, after, cv2.BORDER_REPLICATE), np.float32)
    return part


@functools.cache
def rounded_weights() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the weights of the neighbours for each fraction of a place, (STEPS * STEPS, TAPS * TAPS), in 1 / WEIGHT_ONE.

    Also return by how much the interpolated value can differ from that with exact weights, (STEPS * STEPS,).
    """
    after = np.arange(STEPS, dtype=np.float32) / np.float32(STEPS)
    one, before, sharp = np.float32(1), np.float32(1) - after, np.float32(SHARPNESS)
    far = ((sharp * (after + one) - 5 * sharp) * (after + one) + 8 * sharp) * (after + one) - 4 * sharp
    near, next_ = (((sharp + 2) * d - (sharp + 3)) * d * d + one for d in (after, before))
    line = np.stack([far, near, next_, one - far - near - next_], axis=1)
    exact = line[:, np.newaxis, :, np.newaxis] * line[:, np.newaxis, :]
    tables = np.rint(exact * np.float32(WEIGHT_ONE)).reshape(-1, TAPS, TAPS).clip(max=WEIGHT_ONE - 1)
    for table in tables:
        _correct_sum(table)
    weights = tables.reshape(-1, TAPS * TAPS)
    # The changes of the weights add up to 0, so that the worst values are 0 and 255, or -127.5 and 127.5 from their mean.
    changes = np.abs(weights / WEIGHT_ONE - exact.reshape(-1, TAPS * TAPS)).sum(axis=1)
    return weights, 255 / 2 * changes + FLOAT_ERROR


def _correct_sum(table: NDArray[np.float32]) -> None:
    """Add what the sum of the rounded weights lacks to the largest, or subtract it from the smallest, of four of the weights."""
    surplus = table.sum() - WEIGHT_ONE
    middle = table[TAPS // 2 :, TAPS // 2 :]
    index = middle.argmax() if surplus < 0 else middle.argmin()
    middle[np.unravel_index(index, middle.shape)] -= surplus
