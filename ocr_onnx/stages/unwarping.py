"""Text image unwarping with UVDoc (arXiv:2302.02887): flattens photographs of bent or folded pages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocr_onnx.errors import ModelError
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.runtime import memory
from ocr_onnx.stages.normalization import normalize
from ocr_onnx.types import Image, Run

WHITE = 255

FIXED_BYTES, BYTES_PER_PIXEL = 2**25, 45
"""UVDoc's working memory in bytes: for any page, and per pixel. Measured at up to 25 megapixels on a CPU: 42 per pixel."""


@dataclass(frozen=True, slots=True)
class TextImageUnwarper:
    """Flattens pages. One instance may be used by many threads."""

    run: Run
    metadata: ModelMetadata

    def __call__(self, image: Image) -> Image:
        """Return the flattened image, in the same size; the graph itself resizes, finds the grid and samples.

        Raises NotEnoughMemoryError if the working memory would exceed the process's limit.
        """
        height, width = image.shape[:2]
        memory.require(working_memory(height * width), f"unwarping at {width} x {height}", "reduce the page")
        pages = self.run(normalize(image, self.metadata)[np.newaxis])[0]
        if pages.shape[:2] != (1, 3):
            raise ModelError(f"{self.metadata.name} returned an image of shape {pages.shape}: convert it again")
        flat = pages[0]
        levels = np.empty((*flat.shape[1:], 3), np.uint8)
        for channel, plane in enumerate(flat):
            # Values are truncated, not rounded, as in PaddleX.
            levels[:, :, channel] = np.clip(plane * WHITE, 0, WHITE)
        return levels


def working_memory(pixels: int) -> int:
    """Return the working memory for unwarping a page with this number of pixels, in bytes."""
    return FIXED_BYTES + pixels * BYTES_PER_PIXEL
