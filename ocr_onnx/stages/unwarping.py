"""Text image unwarping: a photographed page that is bent or folded, made flat by UVDoc (arXiv:2302.02887)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.runtime import memory
from ocr_onnx.stages.normalization import normalize
from ocr_onnx.types import Image, Run

WHITE = 255

FIXED_BYTES, BYTES_PER_PIXEL = 2**25, 45
"""Bytes that UVDoc takes for any page, and for each pixel: measured at up to 25 megapixels on a CPU, at 42 a pixel."""


@dataclass(frozen=True, slots=True)
class TextImageUnwarper:
    """Makes pages flat. One may serve many threads."""

    run: Run
    metadata: ModelMetadata

    def __call__(self, image: Image) -> Image:
        """A picture of the same size, flattened; the graph itself resizes, finds the grid and samples.

        Raises NotEnoughMemoryError where that would pass the process's memory limit.
        """
        height, width = image.shape[:2]
        memory.require(working_memory(height * width), f"unwarping at {width} x {height}", "reduce the page")
        flat = self.run(normalize(image, self.metadata)[np.newaxis])[0][0]
        levels = np.empty((*flat.shape[1:], 3), np.uint8)
        for channel, plane in enumerate(flat):
            # Levels are cut, not rounded, as in the reference.
            levels[:, :, channel] = np.clip(plane * WHITE, 0, WHITE)
        return levels


def working_memory(pixels: int) -> int:
    """Bytes that unwarping a page of this size takes."""
    return FIXED_BYTES + pixels * BYTES_PER_PIXEL
