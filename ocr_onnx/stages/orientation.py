"""Orientation classifiers: of pages in steps of 90°, and of upside-down text lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.options import LineOrientationOptions, PageOrientationOptions
from ocr_onnx.runtime.batching import CPU_SHAPES, Batch, Shapes
from ocr_onnx.runtime.profiling import timed
from ocr_onnx.stages.normalization import normalize
from ocr_onnx.stages.resizing import resize
from ocr_onnx.types import Image, Orientation, Run, Tensor

HALF_TURN = 180
"""Degrees of an upside-down line."""

MAX_RESIZED = 2**24
"""The largest resized page, in pixels: with the usual 256 rows, a page 256 times as long as high. Of longer pages only the middle is
resized."""


@dataclass(frozen=True, slots=True)
class PageClassifier:
    """Classifies the orientation of pages. One instance may be used by many threads."""

    run: Run
    metadata: ModelMetadata

    def __call__(self, image: Image, options: PageOrientationOptions = PageOrientationOptions()) -> Orientation:
        """Return the orientation of `image`: 0, 90, 180 or 270 degrees; 0 if the score is below options.score_thresh."""
        best, score = best_class(self.run(preprocess_page(image, self.metadata))[0][0])
        return Orientation(int(self.metadata.labels[best]) if score >= options.score_thresh else 0, score)


@dataclass(frozen=True, slots=True)
class LineClassifier:
    """Classifies upside-down text lines. One instance may be used by many threads."""

    run: Run
    metadata: ModelMetadata
    threads: int | None = None
    """The number of crops that are classified in parallel; None: the number of cores."""
    shapes: Shapes = CPU_SHAPES
    """The input shapes of the model."""

    def __call__(
        self, crops: Sequence[Image], options: LineOrientationOptions = LineOrientationOptions()
    ) -> list[Orientation]:
        """Return the orientation of each crop: 0 or 180 degrees, with its score.

        As in PaddleX 3.7.2, the first line's result applies to its whole batch of options.batch_size lines, so only first
        lines are computed.
        """
        first_lines = crops[:: options.batch_size]

        def classify(batch: Batch) -> list[Orientation]:
            tensors = [preprocess_line(first_lines[i], self.metadata) for i in batch.members]
            classes = [best_class(row) for row in self.run(self.shapes.stack(tensors, batch))[0]]
            return [Orientation(HALF_TURN if best == 1 else 0, score) for best, score in classes[: len(tensors)]]

        widths = [self.metadata.input_shape[2]] * len(first_lines)
        first = replace(self.shapes, widths=()).run_lines(classify, widths, self.threads)
        return [first[i // options.batch_size] for i in range(len(crops))]


@timed("orientation: resize, normalize")
def preprocess_page(image: Image, metadata: ModelMetadata) -> Tensor:
    """Resize the shorter side, crop the center and normalize: (1, 3, height, width)."""
    _, height, width = metadata.input_shape
    scale = metadata.resize_short / min(image.shape[:2])
    if max(image.shape[:2]) * scale * metadata.resize_short > MAX_RESIZED:
        # The rest would be cropped anyway.
        image = _middle(image, 2 * min(image.shape[:2]))
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    resized = resize(image, size)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return normalize(resized[top : top + height, left : left + width], metadata)[np.newaxis]


def _middle(image: Image, length: int) -> Image:
    """Return the middle of an image, at most `length` pixels wide and high."""
    top, left = (max((side - length) // 2, 0) for side in image.shape[:2])
    return image[top : top + length, left : left + length]


@timed("orientation: resize, normalize")
def preprocess_line(crop: Image, metadata: ModelMetadata) -> Tensor:
    """Resize and normalize, padding with 0 on the right if the model keeps the aspect ratio: (1, 3, height, width)."""
    _, height, width = metadata.input_shape
    own = math.ceil(height * crop.shape[1] / crop.shape[0])
    resized = min(own, width) if metadata.keep_ratio else width
    tensor = np.zeros((1, 3, height, width), np.float32)
    tensor[0, :, :, :resized] = normalize(resize(crop, (resized, height)), metadata)
    return tensor


def best_class(scores: Tensor) -> tuple[int, float]:
    """Return the class with the highest score, of (classes,), and that score."""
    best = int(np.argmax(scores))
    return best, float(scores[best])
