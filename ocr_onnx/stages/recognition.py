"""Text recognition with CTC (Connectionist Temporal Classification): reads the text of line crops."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.errors import ModelError, OptionError
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.options import RecognitionOptions
from ocr_onnx.runtime.batching import CPU_SHAPES, PADDING_CLASS, Batch, Shapes
from ocr_onnx.runtime.profiling import timed
from ocr_onnx.stages import wide_lines
from ocr_onnx.stages.normalization import VALUES, look_up
from ocr_onnx.stages.resizing import resize
from ocr_onnx.stages.words import visual_order
from ocr_onnx.types import Columns, Image, Run, Tensor, Text

MAX_WIDTH = 3200
"""Wider crops are cut (RecognitionOptions.cut_wide_lines) or squeezed to this width, in pixels at the model's height."""

ARABIC_PREFIX = "arabic_"
"""The start of the names of Arabic models."""

WIDTH_STEP = 8
"""With padding "own", widths are multiples of so many pixels, one step of the text."""


@dataclass(frozen=True, slots=True)
class TightInput:
    """How crops become inputs of a model with padding "own". `make bench-modes` measures the cost in accuracy."""

    squeeze: float = 0.93
    """The factor of the width that keeps the aspect ratio."""
    least: int = 80
    """The least width of the input, in pixels; a narrower crop is padded."""


TIGHT_INPUTS: Mapping[str, TightInput] = {
    "PP-OCRv6_small_rec": TightInput(squeeze=1, least=224),
    "PP-OCRv6_tiny_rec": TightInput(squeeze=1),
}
"""The models that differ. PP-OCRv6 loses words on street photographs if crops are squeezed, and small if short ones are padded to less."""

NORMALIZED = np.asarray((VALUES / 255 - 0.5) / 0.5, np.float32)
"""The normalized value of each pixel value."""

BLANK = 0
"""The class of the CTC blank."""


@dataclass(frozen=True, slots=True)
class TextRecognizer:
    """Recognizes line crops. One instance may be used by many threads."""

    run: Run
    metadata: ModelMetadata
    threads: int | None = None
    """The number of crops that are recognized in parallel; None: the number of cores."""
    shapes: Shapes = CPU_SHAPES
    """The input shapes of the model."""

    def __call__(self, crops: Sequence[Image], options: RecognitionOptions = RecognitionOptions()) -> list[Text]:
        """Return the text of each crop, in their order.

        Raises OptionError if the height in options.input_shape is not the model's.
        """
        if not options.cut_wide_lines or options.input_shape is not None:
            return [self._in_reading_direction(text) for text in self._read(crops, options)]
        lines = [wide_lines.cut(crop, MAX_WIDTH / self.metadata.input_shape[1]) for crop in crops]
        texts = iter(self._read([part for line in lines for part, _ in line], options))
        joined = (wide_lines.join(list(islice(texts, len(line))), [space for _, space in line]) for line in lines)
        return [self._in_reading_direction(text) for text in joined]

    def _in_reading_direction(self, text: Text) -> Text:
        return reorder_bidirectional(text) if self.metadata.name.startswith(ARABIC_PREFIX) else text

    def _read(self, crops: Sequence[Image], options: RecognitionOptions) -> list[Text]:
        """Return the text of each crop, from left to right."""
        widths, shares = input_widths(crops, options, self.metadata)

        def read(batch: Batch) -> list[Text]:
            padded = [widths[i] if self.shapes.masked else batch.width for i in batch.members]
            tensors = [self._preprocess(crops[i], w, options) for i, w in zip(batch.members, padded, strict=True)]
            index, probability = best_classes(self.run(self.shapes.stack(tensors, batch)))
            filled = [shares[i] * (widths[i] / w) for i, w in zip(batch.members, padded, strict=True)]
            return [self._decode(index[row], probability[row], share) for row, share in enumerate(filled)]

        return self.shapes.run_lines(read, widths, self.threads)

    def _preprocess(self, crop: Image, width: int, options: RecognitionOptions) -> Tensor:
        if options.input_shape is not None:
            return stretch(crop, options.input_shape)
        return preprocess(
            crop,
            width,
            self.metadata.input_shape,
            tight_input(self.metadata).squeeze if options.padding == "own" else 1,
        )

    def _decode(self, index: NDArray[np.int64], probability: NDArray[np.float32], share: float) -> Text:
        """Decode one line, of which `share` is not padding."""
        if self.shapes.masked:
            index, probability = without_padding(index, probability)
        return ctc_decode(index, probability, self.metadata.charset, share)


def squeezing_warning(crops: Sequence[Image], options: RecognitionOptions, metadata: ModelMetadata) -> str | None:
    """Return a warning if crops are squeezed because they are wider than the largest input; None otherwise."""
    if options.cut_wide_lines or options.input_shape is not None:
        return None
    longest = MAX_WIDTH / metadata.input_shape[1]
    count = sum(crop.shape[1] > longest * crop.shape[0] for crop in crops)
    if not count:
        return None
    return (
        f"{count} lines are longer than {longest:.0f} times their height and squeezed for recognition, so text may be missing: set "
        "text_rec_cut_wide_lines"
    )


def input_widths(
    crops: Sequence[Image], options: RecognitionOptions, metadata: ModelMetadata
) -> tuple[list[int], list[float]]:
    """Return the input width of each crop in pixels, and the share of it that the crop fills.

    Raises OptionError if the height in options.input_shape is not the model's.
    """
    shape, fixed = metadata.input_shape, options.input_shape
    if fixed is not None:
        if fixed[1] != shape[1]:
            raise OptionError(
                f"input_shape is {tuple(fixed)}, but {metadata.name} accepts only crops of height {shape[1]}: give (3, {shape[1]}, width)"
            )
        return [fixed[2]] * len(crops), [1.0] * len(crops)
    if options.padding == "own":
        return tight_widths(crops, shape, tight_input(metadata))
    return padded_widths(crops, options.batch_size, shape), filled_shares(crops, options.batch_size, shape)


def groups(ratios: Sequence[float], batch_size: int) -> list[list[int]]:
    """Return the indices of the crops in each batch: neighbors after sorting by width / height."""
    order = sorted(range(len(ratios)), key=ratios.__getitem__)
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def padded_widths(crops: Sequence[Image], batch_size: int, shape: Sequence[int]) -> list[int]:
    """Return the input width of each crop: that of the widest crop in its batch, after sorting by width / height.

    The padding changes the recognized text, so it is the same as in PaddleX, even if each crop is run separately.
    """
    ratios = [crop.shape[1] / crop.shape[0] for crop in crops]
    widths = [0] * len(crops)
    for group in groups(ratios, batch_size):
        widest = max(own_width(ratios[i], shape) for i in group)
        for i in group:
            widths[i] = widest
    return widths


def filled_shares(crops: Sequence[Image], batch_size: int, shape: Sequence[int]) -> list[float]:
    """Return the share of the padded width that each crop fills, as PaddleX computes it for word boxes."""
    _, height, least = shape
    ratios = [crop.shape[1] / crop.shape[0] for crop in crops]
    shares = [1.0] * len(crops)
    for group in groups(ratios, batch_size):
        widest = max(least / height, *(ratios[i] for i in group))
        for i in group:
            shares[i] = ratios[i] / widest
    return shares


def tight_input(metadata: ModelMetadata) -> TightInput:
    """Return how crops become inputs of a model with padding "own"."""
    return TIGHT_INPUTS.get(metadata.name, TightInput())


def tight_widths(
    crops: Sequence[Image], shape: Sequence[int], tight: TightInput = TightInput()
) -> tuple[list[int], list[float]]:
    """Return the input width of each crop with padding "own", and the share of it that the crop fills."""
    sizes = [resized_width(crop, shape, tight.squeeze) for crop in crops]
    widths = [max(tight.least, -(-size // WIDTH_STEP) * WIDTH_STEP) for size in sizes]
    return widths, [size / width for size, width in zip(sizes, widths, strict=True)]


def own_width(ratio: float, shape: Sequence[int]) -> int:
    """Return the input width of a single crop with this width / height: at least the model's, at most MAX_WIDTH."""
    _, height, least = shape
    return min(int(height * max(least / height, ratio)), MAX_WIDTH)


def resized_width(crop: Image, shape: Sequence[int], squeeze: float = 1) -> int:
    """Return the width of a crop at the model's height: rounded up, but at most own_width, which is rounded down."""
    ratio: float = crop.shape[1] / crop.shape[0] * squeeze
    return min(math.ceil(shape[1] * ratio), own_width(ratio, shape))


@timed("recognition: resize, normalize")
def preprocess(crop: Image, width: int, shape: Sequence[int], squeeze: float = 1) -> Tensor:
    """Resize to the model's height, normalize to -1..1, pad with 0 on the right: (1, 3, height, width)."""
    height, resized = shape[1], resized_width(crop, shape, squeeze)
    tensor = np.zeros((1, 3, height, width), np.float32)
    look_up(resize(crop, (resized, height)), [NORMALIZED] * 3, tensor[0, :, :, :resized])
    return tensor


def stretch(crop: Image, shape: tuple[int, int, int]) -> Tensor:
    """Resize to (3, height, width), ignoring the aspect ratio, and normalize to -1..1: (1, 3, height, width)."""
    _, height, width = shape
    tensor = np.empty((1, 3, height, width), np.float32)
    # PaddleX computes in float64 here, but in float32 if it keeps the aspect ratio.
    table = np.asarray((VALUES.astype(np.float64) / 255 - 0.5) / 0.5, np.float32)
    look_up(resize(crop, (width, height)), [table] * 3, tensor[0])
    return tensor


def reorder_bidirectional(text: Text) -> Text:
    """Reorder a text from visual order, left to right, with the Unicode bidirectional algorithm, as PaddleX does for Arabic."""
    return text._replace(text=visual_order(text.text))


def best_classes(outputs: tuple[NDArray[Any], ...]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return (index of the best class, its probability), each (batch, steps).

    Graphs from our converter return these; published graphs return all scores, (batch, steps, classes).
    """
    if len(outputs) == 1:
        return outputs[0].argmax(axis=-1), outputs[0].max(axis=-1)
    return outputs[0], outputs[1]


def without_padding(
    index: NDArray[np.int64], probability: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return a line's steps outside of marked padding, each (steps,)."""
    within = index != PADDING_CLASS
    return index[within], probability[within]


def computed(index: NDArray[np.int64], probability: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which steps have a probability: a step that is proved blank has none (converters.passes.blank_bound)."""
    return np.asarray((probability > 0) | (index != BLANK))


@timed("recognition: decode")
def ctc_decode(
    index: NDArray[np.int64], probability: NDArray[np.float32], charset: Sequence[str], share: float = 1.0
) -> Text:
    """Decode the best path: collapse repeats and drop blanks; the score is the mean probability of the remaining steps.

    `index` and `probability` are those of the best class of each step, (steps,); class k is charset[k - 1]. `share` is
    the share of the steps on the crop; the others are on its padding. Raises ModelError if a class has no character.
    """
    kept = index != BLANK
    kept[1:] &= index[1:] != index[:-1]
    positions = np.flatnonzero(kept)
    classes = index[positions].tolist()
    if classes and not 0 < min(classes) <= max(classes) <= len(charset):
        raise ModelError(
            f"the model returned the classes {min(classes)} to {max(classes)}, but names {len(charset)} characters: convert it again"
        )
    characters = tuple(charset[k - 1] for k in classes)
    found = probability[positions]
    columns = Columns(characters, tuple(positions.tolist()), len(index) * share, tuple(found.tolist()))
    return Text("".join(characters), float(np.mean(found)) if characters else 0.0, columns)
