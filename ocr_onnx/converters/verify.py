"""Compare a converted model with its source, on a real page and on random inputs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_onnx.errors import ConversionError, ModelError
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.options import DetectionOptions
from ocr_onnx.runtime.batching import PADDING_CLASS, PADDING_MARK
from ocr_onnx.runtime.session import Session
from ocr_onnx.runtime.threads import cpu_count
from ocr_onnx.stages import detection, normalization, orientation, recognition
from ocr_onnx.stages.geometry import rotate
from ocr_onnx.stages.recognition import BLANK
from ocr_onnx.stages.sample_page import sample_page, split_lines
from ocr_onnx.types import Image, Tensor

logger: logging.Logger = logging.getLogger(__name__)

NO_VALID_REGION = "%s gets no mask of the valid region, so a GPU runs it on exact sizes only: %s"

Inputs: TypeAlias = Mapping[str, Tensor]
Outputs: TypeAlias = Mapping[str, "tuple[NDArray[Any], ...]"]
"""By the names of the inputs."""

TOLERANCE = 1e-3
"""Largest accepted difference of probabilities, and of the two best classes where a decision differs."""

GRAY_LEVEL = 1 / 255
"""Largest difference of a pixel that counts as equal, for unwarping."""

BESIDE = 96
"""Pixels of padding to test the valid-region mask with; detection needs multiples of 32."""

TIES = 0.01
"""Largest share of a line's steps that may differ because rounding decides between two classes."""

PADDING = 403
"""Columns of zeros added to lines, so that pad_columns removes most of them."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Result of comparing two forms of a model."""

    inputs: int
    decisions: int
    """Pixels of masks, steps of lines, or pages: each is one decision."""
    differing: int
    """Decisions that differ; all are ties within TOLERANCE."""
    worst: float
    """The largest difference between two probabilities."""

    def __str__(self) -> str:
        equal = f"{self.decisions - self.differing}/{self.decisions} decisions equal on {self.inputs} inputs"
        return f"{equal}, probabilities within {self.worst:.1e}"


def compare(metadata: ModelMetadata, expected: Outputs, found: Outputs) -> Agreement:
    """Compare outputs for the same inputs. Raises ConversionError if they differ by more than TOLERANCE."""
    decisions = differing = 0
    worst = 0.0
    for name, reference in expected.items():
        equal, gap, difference = compare_one(metadata, reference[0], found[name])
        if not difference <= TOLERANCE or gap > TOLERANCE:
            raise ConversionError(
                f"{metadata.name} differs from its source: on the input '{name}' probabilities differ "
                f"by {difference:.2g}, and a decision by {gap:.2g}; report it with the versions of your packages"
            )
        decisions += equal.size
        differing += int(np.count_nonzero(~equal))
        worst = max(worst, difference)
    return Agreement(len(expected), decisions, differing, worst)


def compare_one(
    metadata: ModelMetadata, reference: NDArray[Any], found: tuple[NDArray[Any], ...]
) -> tuple[NDArray[np.bool_], float, float]:
    """Return (equal decisions, largest margin of a differing decision, largest difference of probabilities)."""
    if metadata.task == "text_detection":
        thresh = float(metadata.postprocess.get("thresh", 0.3))
        equal = (reference > thresh) == (found[0] > thresh)
        gap = np.abs(reference - thresh)[~equal].max(initial=0)
        return equal, float(gap), float(np.abs(reference - found[0]).max())
    if metadata.task == "image_unwarping":
        difference = np.abs(reference - found[0])
        return difference <= GRAY_LEVEL, 0.0, float(difference.max())
    best = reference.argmax(axis=-1)
    if len(found) == 1:
        index, difference = found[0].argmax(axis=-1), np.abs(reference - found[0]).max()
    else:
        index, difference = found[0], np.abs(reference.max(axis=-1) - found[1])[computed(found)].max(initial=0)
    chosen = np.take_along_axis(reference, index[..., np.newaxis], axis=-1)[..., 0]
    return best == index, float((reference.max(axis=-1) - chosen).max()), float(difference)


def computed(found: tuple[NDArray[Any], ...]) -> NDArray[np.bool_]:
    """Return which steps have a probability: a step that is proved blank has none (ocr_onnx.converters.passes.blank_bound)."""
    index, probability = found
    return np.asarray((probability > 0) | (index != BLANK))


def run_onnx(path: Path, inputs: Inputs) -> Outputs:
    """Run an ONNX file on each input."""
    run = Session(path, threads=cpu_count())
    return {name: run(tensor) for name, tensor in inputs.items()}


def check_numbers(metadata: ModelMetadata, found: Outputs) -> None:
    """Raise ConversionError if a model returns NaN or infinity."""
    bad = [name for name, outputs in found.items() if not all(np.isfinite(output).all() for output in outputs)]
    if bad:
        raise ConversionError(f"{metadata.name} was converted, and returns NaN or infinity for the input {bad[0]}")


def sample_inputs(metadata: ModelMetadata) -> Inputs:
    """Return inputs of several shapes: the sample page, preprocessed as in the pipeline, and noise."""
    real = {f"page {i}": tensor for i, tensor in enumerate(_real(metadata, sample_page()))}
    noise = np.random.default_rng(0)
    random = {f"noise {'x'.join(map(str, s))}": noise.normal(0, 1, s).astype(np.float32) for s in _shapes(metadata)}
    return {name: _fitted(x, metadata.static_shape) for name, x in (real | random).items()}


def padded(inputs: Inputs) -> Inputs:
    """Return lines with PADDING more columns of zeros."""
    ends = ((0, 0), (0, 0), (0, 0), (0, PADDING))
    return {f"{name}, padded": np.pad(tensor, ends) for name, tensor in inputs.items()}


def ignores_padding(metadata: ModelMetadata, path: Path, inputs: Inputs) -> bool:
    """Return whether the graph for GPUs gives the same results for padded inputs as for exact ones; log why not."""
    alone = run_onnx(path, inputs)
    steps = inputs if metadata.task == "text_recognition" else ()
    try:
        padded = run_padded(metadata, path, inputs)
        check_alike(metadata, padded, alone)
        others = [name for name in steps if _differ(alone[name][0], padded[name][0]) > TIES]
        problem: object = f"steps of {others[0]} differ" if others else None
    except (ConversionError, ModelError, ValueError) as error:
        problem = error
    if problem is not None:
        logger.warning(NO_VALID_REGION, metadata.name, problem)
    return problem is None


def run_padded(metadata: ModelMetadata, path: Path, inputs: Inputs) -> Outputs:
    """Run the graph for GPUs on padded inputs, on the CPU; return the results for the valid region."""
    bounded = Session(path, threads=cpu_count(), masked=True)
    return {name: _alone(bounded(_enlarged(tensor, metadata)), tensor) for name, tensor in inputs.items()}


def _differ(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the share of different decisions."""
    return np.count_nonzero(one != other) / one.size


def _enlarged(tensor: Tensor, metadata: ModelMetadata) -> Tensor:
    """Pad an input with PADDING_MARK."""
    more = (0, BESIDE) if metadata.task == "text_recognition" else (BESIDE, BESIDE)
    return np.pad(tensor, ((0, 0), (0, 0), *((0, each) for each in more)), constant_values=PADDING_MARK)


def _alone(outputs: tuple[NDArray[Any], ...], tensor: Tensor) -> tuple[NDArray[Any], ...]:
    """Return the valid region of outputs."""
    if len(outputs) == 1:
        return (outputs[0][..., : tensor.shape[2], : tensor.shape[3]],)
    within = outputs[0][0] != PADDING_CLASS
    return tuple(each[:, within] for each in outputs)


def check_alike(metadata: ModelMetadata, elsewhere: Outputs, on_cpu: Outputs) -> None:
    """Raise ConversionError if the graphs for CPUs and for other devices differ by more than TOLERANCE."""
    for name, (*index, probability) in elsewhere.items():
        proved = ~computed(on_cpu[name]) if index else np.zeros(probability.shape, np.bool_)
        difference = np.abs(probability - on_cpu[name][-1])[~proved].max(initial=0)
        if not difference <= TOLERANCE or any(each[proved].any() for each in index):
            raise ConversionError(
                f"{metadata.name} differs between CPUs and other devices: on the input '{name}' probabilities differ by "
                f"{difference:.2g}; report it with the versions of your packages"
            )


def _fitted(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Crop and pad an input to the fixed size of the graph, if it has one."""
    if not shape:
        return tensor
    fitted = np.zeros(shape, np.float32)
    part = tuple(slice(0, min(sides)) for sides in zip(tensor.shape, shape, strict=True))
    fitted[part] = tensor[part]
    return fitted


def _real(metadata: ModelMetadata, page: Image) -> Iterator[Tensor]:
    turned = [rotate(page, angle) for angle in (0, 90, 180, 270)]
    if metadata.task == "text_detection":
        for image in turned:
            for limit in (320, 640, 960):
                yield detection.preprocess(image, DetectionOptions(limit, "max"), metadata)
    elif metadata.task == "image_unwarping":
        noise = np.random.default_rng(0)
        for image in turned:
            # Smooth colors: at a sharp edge a rounding error in the grid would change the color.
            field = cv2.GaussianBlur(noise.random(image.shape, np.float32), (0, 0), 12)
            smooth = cv2.normalize(field, field.copy(), 0, 255, cv2.NORM_MINMAX)
            yield normalization.normalize(np.asarray(smooth, np.uint8), metadata)[np.newaxis]
    elif metadata.task == "text_recognition":
        for line in split_lines(page):
            width = recognition.padded_widths([line], 1, metadata.input_shape)[0]
            yield recognition.preprocess(line, width, metadata.input_shape)
    elif metadata.task == "doc_orientation":
        yield from (orientation.preprocess_page(image, metadata) for image in turned)
    else:
        for line in split_lines(page):
            yield orientation.preprocess_line(line, metadata)
            yield orientation.preprocess_line(rotate(line, 180), metadata)


def _shapes(metadata: ModelMetadata) -> list[tuple[int, int, int, int]]:
    if metadata.task == "text_detection":
        return [(1, 3, 32, 32), (1, 3, 64, 320), (1, 3, 736, 736), (2, 3, 320, 160)]
    if metadata.task == "image_unwarping":
        return []
    if metadata.task == "text_recognition":
        channels, height, least = metadata.input_shape
        return [(batch, channels, height, width) for batch, width in ((1, least), (1, 41), (1, 3200), (6, 500))]
    channels, height, width = metadata.input_shape
    return [(batch, channels, height, width) for batch in (1, 6)]
