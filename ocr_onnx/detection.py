"""Text detection: a picture to the boxes of its text, by DB (Differentiable Binarization, arXiv:1911.08947)."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import pyclipper
from numpy.typing import NDArray

from ocr_onnx.errors import OptionError
from ocr_onnx.geometry import rectangle
from ocr_onnx.metadata import ModelMetadata
from ocr_onnx.options import check_number
from ocr_onnx.types import Image, Run, Tensor, TextBox

logger = logging.getLogger(__name__)

STRIDE = 32
"""The network halves its input five times."""

TINY = 64
"""A picture whose width and height together are less than this is padded to STRIDE first."""

MIN_SIDE = 3
"""A region with a shorter side than this, in pixels of the probability map, is dropped; after unclipping, + 2."""


@dataclass(frozen=True, slots=True)
class DetectionOptions:
    """How a picture is resized for detection, and which regions count as text."""

    limit_side_len: int = 64
    limit_type: Literal["min", "max"] = "min"
    """`min`: the shorter side is enlarged to limit_side_len at least; `max`: the longer is reduced to it at most."""
    max_side_limit: int = 4000
    """No side of the resized picture is longer than this, in pixels."""
    thresh: float = 0.3
    """A pixel of the map above this is text."""
    box_thresh: float = 0.6
    """A box whose mean in the map is below this is dropped."""
    unclip_ratio: float = 1.5
    """How far a region is grown: by area * unclip_ratio / perimeter."""

    def __post_init__(self) -> None:
        check_number("limit_side_len", self.limit_side_len, 1, whole=True)
        check_number("max_side_limit", self.max_side_limit, 1, whole=True)
        check_number("thresh", self.thresh, 0, 1)
        check_number("box_thresh", self.box_thresh, 0, 1)
        check_number("unclip_ratio", self.unclip_ratio, 0, 100)
        if self.limit_type not in {"min", "max"}:
            raise OptionError(f"limit_type is {self.limit_type!r}: it must be 'min' or 'max'")


@dataclass(frozen=True, slots=True)
class TextDetector:
    """Finds text. One may serve many threads."""

    run: Run
    metadata: ModelMetadata

    def __call__(self, image: Image, options: DetectionOptions = DetectionOptions()) -> list[TextBox]:
        """The boxes of the text in `image`, in its pixels and no particular order."""
        tensor = preprocess(image, options, self.metadata)
        probability = self.run(tensor)[0][0, 0]
        max_candidates = int(self.metadata.postprocess.get("max_candidates", 1000))
        return find_boxes(probability, image.shape[1::-1], options, max_candidates)


def preprocess(image: Image, options: DetectionOptions, metadata: ModelMetadata) -> Tensor:
    """Resize to multiples of STRIDE and normalize: (1, 3, height, width)."""
    height, width = image.shape[:2]
    if height + width < TINY:
        padded = np.zeros((max(STRIDE, height), max(STRIDE, width), 3), np.uint8)
        padded[:height, :width] = image
        image, (height, width) = padded, padded.shape[:2]
    size = resized((width, height), options)
    if size != (width, height):
        image = np.asarray(cv2.resize(image, size), np.uint8)
    return normalize(image, metadata)[np.newaxis]


def resized(size: tuple[int, int], options: DetectionOptions) -> tuple[int, int]:
    """The (width, height) that a picture of `size` is given to the network in."""
    longer, shorter, limit = max(size), min(size), options.limit_side_len
    ratio = 1.0
    if options.limit_type == "max" and longer > limit:
        ratio = limit / longer
    elif options.limit_type == "min" and shorter < limit:
        ratio = limit / shorter
    width, height = (int(side * ratio) for side in size)
    if max(width, height) > options.max_side_limit:
        ratio = options.max_side_limit / max(width, height)
        logger.info("detection at %d x %d would pass max_side_limit %d", width, height, options.max_side_limit)
        width, height = int(width * ratio), int(height * ratio)
    # Python rounds halves to even, and so does the reference.
    return max(round(width / STRIDE) * STRIDE, STRIDE), max(round(height / STRIDE) * STRIDE, STRIDE)


def normalize(image: Image, metadata: ModelMetadata) -> Tensor:
    """A picture as (3, height, width): x * (scale / std) - mean / std, in this form for the last bit's sake."""
    tensor = np.empty((3, *image.shape[:2]), np.float32)
    for channel, (mean, std) in enumerate(zip(metadata.mean, metadata.std, strict=True)):
        source = channel if metadata.channels == "BGR" else 2 - channel
        np.multiply(image[:, :, source], np.float32(metadata.scale / std), out=tensor[channel])
        tensor[channel] += np.float32(-mean / std)
    return tensor


def find_boxes(
    probability: NDArray[np.float32], size: tuple[int, int], options: DetectionOptions, max_candidates: int
) -> list[TextBox]:
    """Read a probability map (height, width) into boxes on a picture of `size` (width, height)."""
    mask = (probability > options.thresh).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    limits = np.array(size, np.float64)
    scale = limits / probability.shape[::-1]
    boxes = []
    for contour in contours[:max_candidates]:
        corners, side = rectangle(np.asarray(contour, np.int32))
        if side < MIN_SIDE:
            continue
        score = mean_inside(probability, corners)
        if score < options.box_thresh:
            continue
        grown = unclip(corners, options.unclip_ratio)
        if len(grown) == 0:
            continue
        corners, side = rectangle(grown)
        if side < MIN_SIDE + 2:
            continue
        quad = np.clip(np.rint(corners * scale), 0, limits).astype(np.int32)
        boxes.append(TextBox(quad, score))
    return boxes


def mean_inside(probability: NDArray[np.float32], corners: NDArray[np.float32]) -> float:
    """The mean of the map inside a box, its corners taken to whole pixels toward the bounding box's corner."""
    height, width = probability.shape
    left, top = (max(0, min(math.floor(v), n - 1)) for v, n in zip(corners.min(axis=0), (width, height), strict=True))
    right, bottom = (
        max(0, min(math.ceil(v), n - 1)) for v, n in zip(corners.max(axis=0), (width, height), strict=True)
    )
    mask = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
    inside = (corners - np.array([left, top], np.float32)).astype(np.int32)
    cv2.fillPoly(mask, [inside], [1])
    return float(cv2.mean(probability[top : bottom + 1, left : right + 1], mask)[0])


def unclip(corners: NDArray[np.float32], ratio: float) -> NDArray[np.int32]:
    """Grow a box by area * ratio / perimeter on every side, rounding its corners: (n, 2) points.

    DB learns shrunken regions. Clipper works on whole numbers, so the corners are cut to them first, as in the
    reference.
    """
    distance = cv2.contourArea(corners) * ratio / cv2.arcLength(corners, closed=True)
    offset = pyclipper.PyclipperOffset()
    offset.AddPath(corners.astype(np.int64).tolist(), pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    paths = offset.Execute(distance)
    return np.array(paths[0] if paths else [], np.int32).reshape(-1, 2)
