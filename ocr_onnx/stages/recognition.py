"""Text recognition: a crop of one line to its text, by CTC (Connectionist Temporal Classification)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_onnx.errors import OptionError
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.options import RecognitionOptions
from ocr_onnx.runtime.batching import CPU_SHAPES, PADDING_CLASS, Batch, Shapes
from ocr_onnx.runtime.profiling import timed
from ocr_onnx.stages.normalization import VALUES, look_up
from ocr_onnx.types import Columns, Image, Run, Tensor, Text

MAX_WIDTH = 3200
"""A wider crop is squeezed to this width, in pixels at the model's height."""

ARABIC_PREFIX = "arabic_"
"""What the names of Arabic models begin with."""

WIDTH_STEP, MIN_WIDTH, SQUEEZE = 8, 80, 0.93
"""By itself a crop is given to the model in a multiple of WIDTH_STEP pixels, a step of the text, in no less than MIN_WIDTH, and drawn
together to SQUEEZE of the width that keeps its proportions: `make bench-modes` measures what that costs."""

NORMALIZED = np.asarray((VALUES / 255 - 0.5) / 0.5, np.float32)
"""What each value of a pixel becomes."""

BLANK = 0
"""CTC's class for no character."""


@dataclass(frozen=True, slots=True)
class TextRecognizer:
    """Reads crops. One may serve many threads."""

    run: Run
    metadata: ModelMetadata
    threads: int | None = None
    """How many crops are read side by side; None: as many as there are cores."""
    shapes: Shapes = CPU_SHAPES
    """What the model is given at once."""

    def __call__(self, crops: Sequence[Image], options: RecognitionOptions = RecognitionOptions()) -> list[Text]:
        """The text of each crop, in their order. Raises OptionError where options.input_shape is not of the model's height."""
        shape, fixed = self.metadata.input_shape, options.input_shape
        if fixed is not None and fixed[1] != shape[1]:
            raise OptionError(
                f"input_shape is {tuple(fixed)}: {self.metadata.name} takes crops of the height {shape[1]} alone, in any width"
            )

        squeeze = SQUEEZE if options.padding == "own" else 1
        if fixed is not None:
            widths, shares = [fixed[2]] * len(crops), [1.0] * len(crops)
        elif options.padding == "own":
            widths, shares = tight_widths(crops, shape)
        else:
            widths, shares = (
                padded_widths(crops, options.batch_size, shape),
                filled_shares(crops, options.batch_size, shape),
            )

        def read(batch: Batch) -> list[Text]:
            given = {i: widths[i] if self.shapes.masked else batch.width for i in batch.members}
            tensors = [
                preprocess(crops[i], width, shape, squeeze) if fixed is None else stretch(crops[i], fixed)
                for i, width in given.items()
            ]
            index, probability = best_classes(self.run(self.shapes.stack(tensors, batch)))
            return [
                self._decode(index[row], probability[row], shares[i] * (widths[i] / width))
                for row, (i, width) in enumerate(given.items())
            ]

        return self.shapes.run_lines(read, widths, self.threads)

    def _decode(self, index: NDArray[np.int64], probability: NDArray[np.float32], share: float) -> Text:
        """One line's text, as it is written."""
        if self.shapes.masked:
            index, probability = without_padding(index, probability)
        text = ctc_decode(index, probability, self.metadata.charset, share)
        return in_visual_order(text) if self.metadata.name.startswith(ARABIC_PREFIX) else text


def groups(ratios: Sequence[float], batch_size: int) -> list[list[int]]:
    """The crops that make a batch, by number: neighbors once all are sorted by width / height."""
    order = sorted(range(len(ratios)), key=ratios.__getitem__)
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def padded_widths(crops: Sequence[Image], batch_size: int, shape: Sequence[int]) -> list[int]:
    """The width each crop is given to the model in: the widest of its group, once all are sorted by width / height.

    The padding changes what the model reads, so it is the reference's, though each crop is run by itself.
    """
    ratios = [crop.shape[1] / crop.shape[0] for crop in crops]
    widths = [0] * len(crops)
    for group in groups(ratios, batch_size):
        widest = max(own_width(ratios[i], shape) for i in group)
        for i in group:
            widths[i] = widest
    return widths


def filled_shares(crops: Sequence[Image], batch_size: int, shape: Sequence[int]) -> list[float]:
    """The share of that width that each crop fills, as the reference takes it for word boxes."""
    _, height, least = shape
    ratios = [crop.shape[1] / crop.shape[0] for crop in crops]
    shares = [1.0] * len(crops)
    for group in groups(ratios, batch_size):
        widest = max(least / height, *(ratios[i] for i in group))
        for i in group:
            shares[i] = ratios[i] / widest
    return shares


def tight_widths(crops: Sequence[Image], shape: Sequence[int]) -> tuple[list[int], list[float]]:
    """The least width that each crop is given to the model in, and the share of it that the crop fills."""
    sizes = [resized_width(crop, shape, SQUEEZE) for crop in crops]
    widths = [max(MIN_WIDTH, -(-size // WIDTH_STEP) * WIDTH_STEP) for size in sizes]
    return widths, [size / width for size, width in zip(sizes, widths, strict=True)]


def own_width(ratio: float, shape: Sequence[int]) -> int:
    """The width a crop of this width / height has when alone: at least the model's, at most MAX_WIDTH."""
    _, height, least = shape
    return min(int(height * max(least / height, ratio)), MAX_WIDTH)


def resized_width(crop: Image, shape: Sequence[int], squeeze: float = 1) -> int:
    """The width of a crop at the model's height: rounded up, but never past own_width, which is rounded down."""
    ratio: float = crop.shape[1] / crop.shape[0] * squeeze
    return min(math.ceil(shape[1] * ratio), own_width(ratio, shape))


@timed("recognition: resize, normalize")
def preprocess(crop: Image, width: int, shape: Sequence[int], squeeze: float = 1) -> Tensor:
    """Resize to the model's height, normalize to -1..1, pad with 0 on the right: (1, 3, height, width)."""
    height, resized = shape[1], resized_width(crop, shape, squeeze)
    tensor = np.zeros((1, 3, height, width), np.float32)
    look_up(np.asarray(cv2.resize(crop, (resized, height)), np.uint8), [NORMALIZED] * 3, tensor[0, :, :, :resized])
    return tensor


def stretch(crop: Image, shape: tuple[int, int, int]) -> Tensor:
    """Resize to (3, height, width) whatever the proportions, normalize to -1..1: (1, 3, height, width)."""
    _, height, width = shape
    tensor = np.empty((1, 3, height, width), np.float32)
    # The reference computes in float64 here, unlike where it keeps the proportions.
    table = np.asarray((VALUES.astype(np.float64) / 255 - 0.5) / 0.5, np.float32)
    look_up(np.asarray(cv2.resize(crop, (width, height)), np.uint8), [table] * 3, tensor[0])
    return tensor


def in_visual_order(text: Text) -> Text:
    """A text of letters from left to right as they stand, put as it is written: as the reference does for Arabic."""
    from bidi.algorithm import get_display

    return text._replace(text=str(get_display(text.text)))


def best_classes(outputs: tuple[NDArray[Any], ...]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(index of the best class, its probability), each (batch, steps).

    Our graphs answer with these; one taken as it is published answers with (batch, steps, classes).
    """
    if len(outputs) == 1:
        return outputs[0].argmax(axis=-1), outputs[0].max(axis=-1)
    return outputs[0], outputs[1]


def without_padding(
    index: NDArray[np.int64], probability: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The steps of a line that ends before its tensor does, each (steps,)."""
    within = index != PADDING_CLASS
    return index[within], probability[within]


@timed("recognition: decode")
def ctc_decode(
    index: NDArray[np.int64], probability: NDArray[np.float32], charset: Sequence[str], share: float = 1.0
) -> Text:
    """The best path: repeats collapsed, blanks dropped; the score is the mean probability of what is left.

    `index` and `probability` are the best class of each step, (steps,); class k stands for charset[k - 1]. `share` of
    the steps are on the crop, the others on what pads it.
    """
    kept = index != BLANK
    kept[1:] &= index[1:] != index[:-1]
    positions = np.flatnonzero(kept)
    characters = tuple(charset[k - 1] for k in index[positions].tolist())
    columns = Columns(characters, tuple(positions.tolist()), len(index) * share)
    return Text("".join(characters), float(np.mean(probability[positions])) if characters else 0.0, columns)
