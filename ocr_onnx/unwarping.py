"""Text image unwarping: a photographed page that is bent or folded, made flat by UVDoc (arXiv:2302.02887)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocr_onnx.metadata import ModelMetadata
from ocr_onnx.normalization import normalize
from ocr_onnx.types import Image, Run

WHITE = 255


@dataclass(frozen=True, slots=True)
class TextImageUnwarper:
    """Makes pages flat. One may serve many threads."""

    run: Run
    metadata: ModelMetadata

    def __call__(self, image: Image) -> Image:
        """A picture of the same size, flattened; the graph itself resizes, finds the grid and samples."""
        flat = self.run(normalize(image, self.metadata)[np.newaxis])[0][0]
        # Levels are cut, not rounded, as in the reference.
        return np.ascontiguousarray(np.clip(flat * WHITE, 0, WHITE).astype(np.uint8).transpose(1, 2, 0))
