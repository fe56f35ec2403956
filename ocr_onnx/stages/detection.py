"""Text detection with DB (Differentiable Binarization, arXiv:1911.08947): finds the text boxes of an image."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import pyclipper
from numpy.typing import NDArray

from ocr_onnx.errors import ModelError
from ocr_onnx.models import zoo
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.options import DetectionOptions
from ocr_onnx.runtime import memory
from ocr_onnx.runtime.batching import CPU_SHAPES, Shapes
from ocr_onnx.runtime.device_pixels import Pixels
from ocr_onnx.runtime.profiling import timed
from ocr_onnx.runtime.session import Session
from ocr_onnx.stages.geometry import CORNERS
from ocr_onnx.stages.normalization import normalize, tables
from ocr_onnx.stages.polygons import fill_polygon, simplify
from ocr_onnx.stages.rectangles import smallest_rectangles
from ocr_onnx.stages.resizing import resize
from ocr_onnx.types import Image, Run, Tensor, TextBox

logger: logging.Logger = logging.getLogger(__name__)

STRIDE = 32
"""The network halves its input five times, so sides must be multiples of this, in pixels."""

DEFAULT_PIXEL_BYTES = 210
"""The memory of the mobile detectors per pixel of their input, in bytes, at most (docs/benchmarks.md); for models without a
measured value."""

SMALL_IMAGE = 64
"""An image whose width plus height is less than this, in pixels, is padded to STRIDE first, as in PaddleX."""

MIN_SIDE = 3
"""Regions with a shorter side below this, in pixels of the probability map, are dropped; after unclipping, below this + 2."""

POLYGON_TOLERANCE = 0.002
"""The largest distance of a polygon from a region's outline, as a share of the outline's length."""

DILATION = np.ones((2, 2), np.uint8)

OFFICIAL_NAMES = re.compile(r"PP-OCRv[3-6]_[a-z]+_det")
"""Models whose images PaddleX's TextDetection reduces to at most OFFICIAL_MAX_SIDE pixels; for others it enlarges the shorter side to
at least OTHER_MIN_SIDE."""

OFFICIAL_MAX_SIDE, OTHER_MIN_SIDE = 960, 736

STANDALONE_UNCLIP_RATIO = 2.0
"""Of PaddleX's TextDetection for a model that has no value of its own."""

PIPELINE_DEFAULTS: Mapping[str, float] = {"thresh": 0.3, "box_thresh": 0.6, "unclip_ratio": 1.5, "max_candidates": 1000}
"""The options for a model that has none of its own, as in PaddleOCR's pipeline."""

MODEL_OPTIONS = (*PIPELINE_DEFAULTS, "input_shape", "score_mode", "use_dilation", "box_type")


def standalone_options(metadata: ModelMetadata) -> DetectionOptions:
    """Return the options for a model outside of a pipeline: its own thresholds, and the size limit of PaddleX's TextDetection."""
    post: dict[str, Any] = dict(metadata.postprocess)
    usual = OFFICIAL_MAX_SIDE if OFFICIAL_NAMES.fullmatch(metadata.name) else OTHER_MIN_SIDE
    return DetectionOptions(
        limit_side_len=post.get("resize_long", usual),
        limit_type="max" if usual == OFFICIAL_MAX_SIDE else "min",
        thresh=post.get("thresh", PIPELINE_DEFAULTS["thresh"]),
        box_thresh=post.get("box_thresh", PIPELINE_DEFAULTS["box_thresh"]),
        unclip_ratio=post.get("unclip_ratio", STANDALONE_UNCLIP_RATIO),
    )


def with_model_defaults(options: DetectionOptions, metadata: ModelMetadata) -> DetectionOptions:
    """Return the options with each None replaced by the value for the model: tuned, else the one in its metadata."""
    spec = zoo.models().get(metadata.name)
    defaults: dict[str, Any] = {**PIPELINE_DEFAULTS, **metadata.postprocess, **({} if spec is None else spec.tuned)}
    if metadata.input_shape:
        defaults["input_shape"] = metadata.input_shape
    return replace(
        options,
        **{name: defaults[name] for name in MODEL_OPTIONS if name in defaults and getattr(options, name) is None},
    )


def _value(options: DetectionOptions, name: str) -> float:
    """Return an option, or the pipeline's default if it is None."""
    given: float | None = getattr(options, name)
    return PIPELINE_DEFAULTS[name] if given is None else given


@dataclass(frozen=True, slots=True)
class TextDetector:
    """Detects text. One instance may be used by many threads."""

    run: Run
    metadata: ModelMetadata
    shapes: Shapes = CPU_SHAPES
    """The sizes to which images are padded for the model."""

    def __call__(self, image: Image, options: DetectionOptions = DetectionOptions()) -> list[TextBox]:
        """Return the text boxes of `image`, in its pixels, in no particular order.

        Raises NotEnoughMemoryError if the network would need more memory than this process may take.
        """
        options = with_model_defaults(options, self.metadata)
        check_memory(image, options, self.metadata)
        probability = self._probability(fitted(image, options))
        return find_boxes(probability, image.shape[1::-1], options)

    def _probability(self, image: Image) -> NDArray[np.float32]:
        """Return the probability map of an image that was resized for the network."""
        height, width = image.shape[:2]
        if isinstance(self.run, Session) and self.run.reads_pixels and self.shapes.pads(self.metadata):
            ordered = image if self.metadata.channels == "BGR" else image[..., ::-1]
            pixels = Pixels(ordered, tables(self.metadata), self.shapes.padded_size((height, width)))
            outputs = self.run.run_pixels(pixels)
        else:
            outputs = self.shapes.pad_pages(self.run, self.metadata)(tensor_of(image, self.metadata))
        maps: NDArray[np.float32] = outputs[0][..., :height, :width]
        if maps.shape != (1, 1, height, width):
            raise ModelError(
                f"{self.metadata.name} returned a map of shape {outputs[0].shape} for an image of {width} x {height}: convert it again"
            )
        probability: NDArray[np.float32] = maps[0, 0]
        return probability


def input_size(size: tuple[int, int], options: DetectionOptions) -> tuple[int, int]:
    """Return the (width, height) to which an image of this (width, height) is resized."""
    shape = options.input_shape
    return resized(size, options) if shape is None else (shape[2], shape[1])


def largest_side(options: DetectionOptions) -> int:
    """Return the longest side that an input of the network can have, in pixels."""
    if options.input_shape is not None:
        return max(options.input_shape[1:])
    limits = [options.max_side_limit] + [options.limit_side_len] * (options.limit_type == "max")
    return max(round(min(limits) / STRIDE) * STRIDE, STRIDE)


def working_memory(size: tuple[int, int], options: DetectionOptions, metadata: ModelMetadata) -> int:
    """Return the working memory of the network for an image of this (width, height), in bytes."""
    spec = zoo.models().get(metadata.name)
    bytes_per_pixel = DEFAULT_PIXEL_BYTES if spec is None or spec.memory is None else spec.memory
    return math.prod(input_size(size, options)) * bytes_per_pixel


def check_memory(image: Image, options: DetectionOptions, metadata: ModelMetadata) -> None:
    """Raise NotEnoughMemoryError if the network's working memory would exceed the process's limit."""
    width, height = input_size(image.shape[1::-1], options)
    needed = working_memory(image.shape[1::-1], options, metadata)
    if needed < memory.CHECK_THRESHOLD:
        return
    allowed = memory.remaining() or needed
    side = int(max(width, height) * min(allowed / needed, 1) ** 0.5 * 0.95) // STRIDE * STRIDE
    cure = f"use limit_side_len={side} with limit_type='max'" if allowed < needed else "reduce limit_side_len"
    memory.require(needed, f"detection at {width} x {height}", cure)


def preprocess(image: Image, options: DetectionOptions, metadata: ModelMetadata) -> Tensor:
    """Resize as `fitted` does, and normalize: (1, 3, height, width)."""
    return tensor_of(fitted(image, options), metadata)


@timed("detection: normalize")
def tensor_of(image: Image, metadata: ModelMetadata) -> Tensor:
    """Normalize an image to (1, 3, height, width)."""
    return normalize(image, metadata)[np.newaxis]


@timed("detection: resize")
def fitted(image: Image, options: DetectionOptions) -> Image:
    """Resize an image for the network, to multiples of STRIDE if no shape is given."""
    height, width = image.shape[:2]
    if height + width < SMALL_IMAGE:
        padded = np.zeros((max(STRIDE, height), max(STRIDE, width), 3), np.uint8)
        padded[:height, :width] = image
        image, (height, width) = padded, padded.shape[:2]
    size = input_size((width, height), options)
    return image if size == (width, height) else resize(image, size)


def resized(size: tuple[int, int], options: DetectionOptions) -> tuple[int, int]:
    """Return the (width, height) to which the size limits resize an image of `size`."""
    longer, shorter, limit = max(size), min(size), options.limit_side_len
    ratio = 1.0
    if options.limit_type == "max" and longer > limit:
        ratio = limit / longer
    elif options.limit_type == "min" and shorter < limit:
        ratio = limit / shorter
    width, height = (int(side * ratio) for side in size)
    if max(width, height) > options.max_side_limit:
        ratio = options.max_side_limit / max(width, height)
        logger.info(
            "detection at %d x %d exceeds max_side_limit %d: the image is reduced",
            width,
            height,
            options.max_side_limit,
        )
        width, height = int(width * ratio), int(height * ratio)
    # Python rounds halves to even, and so does PaddleX.
    return max(round(width / STRIDE) * STRIDE, STRIDE), max(round(height / STRIDE) * STRIDE, STRIDE)


@timed("detection: find boxes")
def find_boxes(probability: NDArray[np.float32], size: tuple[int, int], options: DetectionOptions) -> list[TextBox]:
    """Extract the boxes from a probability map (height, width), in pixels of the image with `size` (width, height)."""
    mask = (probability > _value(options, "thresh")).astype(np.uint8)
    if options.use_dilation:
        mask = np.asarray(cv2.dilate(mask, DILATION), np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    limits = np.array(size, np.float64)
    scale = limits / probability.shape[::-1]
    read = read_polygons if options.box_type == "poly" else read_boxes
    found = read(probability, [np.asarray(c, np.int32)[:, 0] for c in contours[: options.max_candidates]], options)
    return [TextBox(np.clip(np.rint(p * scale), 0, limits).astype(np.int32), score) for p, score in found]


def read_boxes(
    probability: NDArray[np.float32], contours: Sequence[NDArray[np.int32]], options: DetectionOptions
) -> list[tuple[NDArray[np.float32], float]]:
    """Return the expanded rectangle around each region of the map and its score; not those too small or with too low a score."""
    grown, scores = [], []
    for contour, corners, side in zip(contours, *smallest_rectangles(contours), strict=True):
        if side < MIN_SIDE:
            continue
        score = mean_inside(probability, contour if options.score_mode == "slow" else corners)
        if score >= _value(options, "box_thresh") and (parts := unclip(corners, _value(options, "unclip_ratio"))):
            grown.append(parts[0])
            scores.append(score)
    rectangles, sides = smallest_rectangles(grown)
    return [(box, score) for box, score, side in zip(rectangles, scores, sides, strict=True) if side >= MIN_SIDE + 2]


def read_polygons(
    probability: NDArray[np.float32], contours: Sequence[NDArray[np.int32]], options: DetectionOptions
) -> list[tuple[NDArray[np.int32], float]]:
    """Return the expanded polygon around each region of the map and its score; not those too small or with too low a score."""
    grown, scores = [], []
    for contour in contours:
        fit = POLYGON_TOLERANCE * cv2.arcLength(contour, closed=True)
        corners = simplify(contour, fit)
        if len(corners) < CORNERS:
            continue
        score = mean_inside(probability, corners)
        if (
            score >= _value(options, "box_thresh")
            and len(parts := unclip(corners, _value(options, "unclip_ratio"))) == 1
        ):
            grown.append(parts[0])
            scores.append(score)
    _, sides = smallest_rectangles(grown)
    return [(polygon, score) for polygon, score, side in zip(grown, scores, sides, strict=True) if side >= MIN_SIDE + 2]


def mean_inside(probability: NDArray[np.float32], corners: NDArray[np.float32] | NDArray[np.int32]) -> float:
    """Return the mean of the map inside a polygon; its corners are truncated to pixels relative to its bounding box."""
    height, width = probability.shape
    left, top = (max(0, min(math.floor(v), n - 1)) for v, n in zip(corners.min(axis=0), (width, height), strict=True))
    right, bottom = (
        max(0, min(math.ceil(v), n - 1)) for v, n in zip(corners.max(axis=0), (width, height), strict=True)
    )
    mask = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
    inside = (corners - np.array([left, top], np.float32)).astype(np.int32)
    fill_polygon(mask, inside)
    return float(cv2.mean(probability[top : bottom + 1, left : right + 1], mask)[0])


def unclip(corners: NDArray[np.float32] | NDArray[np.int32], ratio: float) -> list[NDArray[np.int32]]:
    """Expand a polygon by area * ratio / perimeter on every side, with round corners: (n, 2) points of each resulting part.

    DB is trained on shrunken regions. Clipper computes with integers, so the corners are truncated first, as in PaddleX.
    """
    distance = cv2.contourArea(corners) * ratio / cv2.arcLength(corners, closed=True)
    offset = pyclipper.PyclipperOffset()
    offset.AddPath(corners.astype(np.int64).tolist(), pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    return [np.array(path, np.int32).reshape(-1, 2) for path in offset.Execute(distance)]
