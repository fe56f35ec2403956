"""How a converted model is compared with its source: for each task its inputs, and the comparison of outputs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.options import DetectionOptions
from ocr_onnx.stages import detection, normalization, orientation, recognition
from ocr_onnx.stages.geometry import rotate
from ocr_onnx.stages.sample_page import split_lines
from ocr_onnx.types import Image, Tensor

Outputs: TypeAlias = tuple[NDArray[Any], ...]

SIDES = (320, 640, 960)
"""The limits of the longer side, in pixels, with which detection gets the sample page."""

ANGLES = (0, 90, 180, 270)
"""Degrees by which the sample page is rotated."""

GRAY_LEVEL = 1 / 255
"""Largest difference of a pixel that counts as equal, for unwarping."""

BLUR = 12
"""Standard deviation, in pixels, of the blur that makes smooth colors of noise."""


class Comparison(NamedTuple):
    """The difference between two outputs for one input."""

    equal: NDArray[np.bool_]
    """For each decision, whether it is equal."""
    margin: float
    """The largest difference, in the reference, between the two candidates of a decision that differs."""
    difference: float
    """The largest difference of a probability."""


class Verification(NamedTuple):
    """How the models of a task are compared with their sources."""

    page_inputs: Callable[[Image, ModelMetadata], Iterator[Tensor]]
    """Preprocess the sample page, or its lines, as the stage does."""
    noise_shapes: Callable[[ModelMetadata], list[tuple[int, ...]]]
    """Return the shapes of further inputs, which are noise."""
    compare: Callable[[NDArray[Any], Outputs, ModelMetadata], Comparison]
    """Compare outputs with the source's output."""


def _pages_for_detection(page: Image, metadata: ModelMetadata) -> Iterator[Tensor]:
    for angle, limit in itertools.product(ANGLES, SIDES):
        yield detection.preprocess(rotate(page, angle), DetectionOptions(limit, "max"), metadata)


def _smooth_images(page: Image, metadata: ModelMetadata) -> Iterator[Tensor]:
    """Images of the page's sizes with smooth colors: at a sharp edge a rounding error in the grid would change the color."""
    noise = np.random.default_rng(0)
    for image in (rotate(page, angle) for angle in ANGLES):
        field = cv2.GaussianBlur(noise.random(image.shape, np.float32), (0, 0), BLUR)
        smooth = cv2.normalize(field, field.copy(), 0, 255, cv2.NORM_MINMAX)
        yield normalization.normalize(np.asarray(smooth, np.uint8), metadata)[np.newaxis]


def _lines(page: Image, metadata: ModelMetadata) -> Iterator[Tensor]:
    for line in split_lines(page):
        width = recognition.padded_widths([line], 1, metadata.input_shape)[0]
        yield recognition.preprocess(line, width, metadata.input_shape)


def _pages(page: Image, metadata: ModelMetadata) -> Iterator[Tensor]:
    return (orientation.preprocess_page(rotate(page, angle), metadata) for angle in ANGLES)


def _lines_both_ways(page: Image, metadata: ModelMetadata) -> Iterator[Tensor]:
    for line in split_lines(page):
        yield orientation.preprocess_line(line, metadata)
        yield orientation.preprocess_line(rotate(line, orientation.HALF_TURN), metadata)


def _line_shapes(metadata: ModelMetadata) -> list[tuple[int, ...]]:
    channels, height, least = metadata.input_shape
    return [(batch, channels, height, width) for batch, width in ((1, least), (1, 41), (1, 3200), (6, 500))]


def _batches(metadata: ModelMetadata) -> list[tuple[int, ...]]:
    return [(batch, *metadata.input_shape) for batch in (1, 6)]


def _compare_masks(reference: NDArray[Any], found: Outputs, metadata: ModelMetadata) -> Comparison:
    thresh = float(metadata.postprocess.get("thresh", 0.3))
    equal = (reference > thresh) == (found[0] > thresh)
    margin = np.abs(reference - thresh)[~equal].max(initial=0)
    return Comparison(equal, float(margin), float(np.abs(reference - found[0]).max()))


def _compare_images(reference: NDArray[Any], found: Outputs, _: ModelMetadata) -> Comparison:
    difference = np.abs(reference - found[0])
    return Comparison(difference <= GRAY_LEVEL, 0.0, float(difference.max()))


def _compare_classes(reference: NDArray[Any], found: Outputs, _: ModelMetadata) -> Comparison:
    best, highest = reference.argmax(axis=-1), reference.max(axis=-1)
    if len(found) == 1:
        index, difference = found[0].argmax(axis=-1), np.abs(reference - found[0]).max()
    else:
        index, difference = found[0], np.abs(highest - found[1])[recognition.computed(*found)].max(initial=0)
    chosen = np.take_along_axis(reference, index[..., np.newaxis], axis=-1)[..., 0]
    return Comparison(best == index, float((highest - chosen).max()), float(difference))


DETECTION = Verification(
    _pages_for_detection,
    lambda _: [(1, 3, 32, 32), (1, 3, 64, 320), (1, 3, 736, 736), (2, 3, 320, 160)],
    _compare_masks,
)
UNWARPING = Verification(_smooth_images, lambda _: [], _compare_images)
RECOGNITION = Verification(_lines, _line_shapes, _compare_classes)
PAGE_ORIENTATION = Verification(_pages, _batches, _compare_classes)
LINE_ORIENTATION = Verification(_lines_both_ways, _batches, _compare_classes)
