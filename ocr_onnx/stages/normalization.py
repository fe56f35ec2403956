"""Normalization of pixels to the input of a model, with lookup tables for the 256 values of each channel."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.types import Image, Tensor

VALUES = np.arange(256, dtype=np.float32)


def tables(metadata: ModelMetadata) -> NDArray[np.float32]:
    """Return the normalized value of each pixel value, in the order of the model's channels: (3, 256).

    It is x * (scale / std) - mean / std, in this order to get the same last bit as PaddleX.
    """
    return np.stack(
        [
            VALUES * np.float32(metadata.scale / std) + np.float32(-mean / std)
            for mean, std in zip(metadata.mean, metadata.std, strict=True)
        ]
    )


def normalize(image: Image, metadata: ModelMetadata) -> Tensor:
    """Normalize an image to (3, height, width)."""
    tensor = np.empty((3, *image.shape[:2]), np.float32)
    if metadata.channels == "BGR":
        look_up(image, tables(metadata), tensor)
    else:
        look_up(image, tables(metadata)[::-1], tensor[::-1])
    return tensor


def look_up(image: Image, by_channel: Sequence[NDArray[np.float32]] | NDArray[np.float32], planes: Tensor) -> None:
    """Map each channel of an image (height, width, 3) through its table (256,) into `planes` (3, height, width)."""
    for channel, (table, plane) in enumerate(zip(by_channel, planes, strict=True)):
        cv2.LUT(cv2.extractChannel(image, channel), table, dst=plane)
