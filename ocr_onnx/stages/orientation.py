"""Which way up: a page turned by quarters, a line of text upside down. Both are small classifiers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.options import LineOrientationOptions, PageOrientationOptions
from ocr_onnx.runtime.batching import CPU_SHAPES, Batch, Shapes
from ocr_onnx.runtime.profiling import timed
from ocr_onnx.stages.normalization import normalize
from ocr_onnx.types import Image, Orientation, Run, Tensor

HALF_TURN = 180
"""Degrees."""

MAX_RESIZED = 2**24
"""Pixels of a page resized for its orientation: at the usual 256 rows, a page 256 times as long as high. Of a longer one only
the middle is resized."""


@dataclass(frozen=True, slots=True)
class PageClassifier:
    """Tells by how much a page is turned."""

    run: Run
    metadata: ModelMetadata

    def __call__(self, image: Image, options: PageOrientationOptions = PageOrientationOptions()) -> Orientation:
        """How `image` stands: 0, 90, 180 or 270 degrees; 0 where the score is too low to turn it."""
        best, score = best_class(self.run(preprocess_page(image, self.metadata))[0][0])
        return Orientation(int(self.metadata.labels[best]) if score >= options.score_thresh else 0, score)


@dataclass(frozen=True, slots=True)
class LineClassifier:
    """Tells whether lines of text stand on their heads."""

    run: Run
    metadata: ModelMetadata
    threads: int | None = None
    """How many crops are judged side by side; None: as many as there are cores."""
    shapes: Shapes = CPU_SHAPES
    """What the model is given at once."""

    def __call__(
        self, crops: Sequence[Image], options: LineOrientationOptions = LineOrientationOptions()
    ) -> list[Orientation]:
        """How each crop stands: 0 or 180 degrees; 0 where the score is too low to turn it.

        PaddleX 3.7.2 hands every line of a batch the batch's class numbers and reads the first of them. So only that
        one need be computed.
        """
        looked_at = crops[:: options.batch_size]

        def judge(batch: Batch) -> list[Orientation]:
            tensors = [preprocess_line(looked_at[i], self.metadata) for i in batch.members]
            judged = [best_class(row) for row in self.run(self.shapes.stack(tensors, batch))[0]]
            return [
                Orientation(HALF_TURN if best == 1 and score >= options.score_thresh else 0, score)
                for best, score in judged[: len(tensors)]
            ]

        widths = [self.metadata.input_shape[2]] * len(looked_at)
        first = replace(self.shapes, widths=()).run_lines(judge, widths, self.threads)
        return [first[i // options.batch_size] for i in range(len(crops))]


@timed("orientation: resize, normalize")
def preprocess_page(image: Image, metadata: ModelMetadata) -> Tensor:
    """Resize the shorter side, cut out the center, normalize: (1, 3, height, width)."""
    _, height, width = metadata.input_shape
    scale = metadata.resize_short / min(image.shape[:2])
    if max(image.shape[:2]) * scale * metadata.resize_short > MAX_RESIZED:
        # The rest would be cut off again.
        image = _middle(image, 2 * min(image.shape[:2]))
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    resized = np.asarray(cv2.resize(image, size), np.uint8)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return normalize(resized[top : top + height, left : left + width], metadata)[np.newaxis]


def _middle(image: Image, length: int) -> Image:
    """The middle of a picture, at most `length` long and high."""
    top, left = (max((side - length) // 2, 0) for side in image.shape[:2])
    return image[top : top + length, left : left + length]


@timed("orientation: resize, normalize")
def preprocess_line(crop: Image, metadata: ModelMetadata) -> Tensor:
    """Resize, normalize, pad on the right where the model wants the crop's shape kept: (1, 3, height, width)."""
    _, height, width = metadata.input_shape
    own = math.ceil(height * crop.shape[1] / crop.shape[0])
    resized = min(own, width) if metadata.keep_ratio else width
    tensor = np.zeros((1, 3, height, width), np.float32)
    tensor[0, :, :, :resized] = normalize(np.asarray(cv2.resize(crop, (resized, height)), np.uint8), metadata)
    return tensor


def best_class(scores: Tensor) -> tuple[int, float]:
    """The class with the highest score, of (classes,), and that score."""
    best = int(np.argmax(scores))
    return best, float(scores[best])
