"""Resizing, equal to the bit with `resize` of OpenCV on x86-64 with linear interpolation.

On ARM, OpenCV 5.0 leaves images of up to three channels to the library KleidiCV if both sides shrink. Its values differ by up to 2 of 255.
OpenCV 4.10 and 4.14 do not use it.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from ocr_onnx.types import Image

CHANNELS = 3


def resize(image: Image, size: tuple[int, int]) -> Image:
    """Resize an image to `size` (width, height)."""
    width, height = size
    if height < image.shape[0] and width < image.shape[1] and not opencv_is_consistent():
        return _shrink(image, size)
    return np.asarray(cv2.resize(image, size), np.uint8)


@functools.cache
def opencv_is_consistent() -> bool:
    """Return whether this OpenCV shrinks images of three channels in the same way as those of more."""
    rows, columns = np.mgrid[0:60, 0:80]
    image = np.stack([rows * columns, rows * rows + columns, rows + columns * columns], axis=2).astype(np.uint8)
    return all(np.array_equal(cv2.resize(image, size), _shrink(image, size)) for size in ((40, 30), (67, 48)))


def _shrink(image: Image, size: tuple[int, int]) -> Image:
    """Resize with so many channels that OpenCV itself does it."""
    width, height = size
    if image.shape[:2] == (2 * height, 2 * width):
        # With up to four channels, OpenCV averages four pixels here.
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    doubled = cv2.merge((image, image))
    return np.ascontiguousarray(cv2.resize(doubled, size)[:, :, :CHANNELS], np.uint8)
