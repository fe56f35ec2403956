"""How far a model on some device is from the same model on the CPU: what both decide of the page that comes with the package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_onnx.inputs import sources
from ocr_onnx.models import zoo
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.options import DetectionOptions, LineOrientationOptions
from ocr_onnx.runtime.batching import CPU_SHAPES, PADDING_MARK, Shapes
from ocr_onnx.stages.detection import TextDetector
from ocr_onnx.stages.geometry import rotate
from ocr_onnx.stages.orientation import HALF_TURN, LineClassifier, PageClassifier
from ocr_onnx.stages.recognition import TextRecognizer, best_classes, ctc_decode, without_padding
from ocr_onnx.types import Difference, Image, Run, Tensor

SIDES = (320, 640, 960)
"""The limits, in pixels, to which the page is reduced for detection."""

PIECE_RATIO = 5
"""A line is read whole, and cut into pieces about so many times as wide as high."""

INK_LEVEL = 128
"""A row of the sample page with a darker pixel than this holds text."""


def difference(
    run: Run, reference: Run, metadata: ModelMetadata, shapes: Shapes = CPU_SHAPES, largest: int = SIDES[-1]
) -> Difference:
    """What `run` decides of the sample page in the shapes it is given, beside what `reference` does of the same tensors.

    No side is longer than `largest` in detection. All of an answer that holds what is no number differs. Of any task but
    unwarping, which decides nothing.
    """
    found: list[Difference] = []

    def both(tensor: Tensor) -> tuple[NDArray[Any], ...]:
        outputs = run(tensor)
        found.append(_compare(metadata, tensor, outputs, reference(tensor)))
        return outputs

    _use(both, metadata, shapes, largest)
    return Difference(*map(sum, zip(*found, strict=True)))


def sample_page() -> Image:
    """The page that comes with the package."""
    (page,) = sources.read_pages(zoo.data_file("sample.png"))
    return page.image


def split_lines(page: Image) -> list[Image]:
    """The lines of the sample page, cut apart where a row holds no ink."""
    inked = np.concatenate([[False], page.min(axis=(1, 2)) < INK_LEVEL, [False]])
    edges = np.flatnonzero(inked[1:] != inked[:-1])
    rows = [page[max(top - 4, 0) : bottom + 4] for top, bottom in zip(edges[::2], edges[1::2], strict=True)]
    return [row[:, : int(np.flatnonzero(row.min(axis=(0, 2)) < INK_LEVEL)[-1]) + 8] for row in rows]


def variants(image: Image) -> Iterator[Image]:
    """A line as it is, light on dark, blurred on gray, and in two colors."""
    noise = np.random.default_rng(0)
    yield image
    yield 255 - image
    gray = cv2.GaussianBlur(image, (0, 0), 1.5) * 0.5 + 60 + noise.normal(0, 8, image.shape)
    yield gray.clip(0, 255).astype(np.uint8)
    yield (image * 0.3 + noise.integers(0, 255, 3) * 0.7).astype(np.uint8)


def _use(run: Run, metadata: ModelMetadata, shapes: Shapes, largest: int) -> None:
    """Give a model the page, or its lines, as the pipeline would."""
    page = sample_page()
    if metadata.task == "text_detection":
        detect = TextDetector(shapes.pad_pages(run, metadata), metadata)
        for side in sorted({min(side, largest) for side in SIDES}):
            for angle in (0, 90, 180, 270):
                detect(rotate(page, angle), DetectionOptions(limit_side_len=side, limit_type="max"))
    elif metadata.task == "doc_orientation":
        classify = PageClassifier(run, metadata)
        for angle in (0, 90, 180, 270):
            for variant in variants(page):
                classify(rotate(variant, angle))
    else:
        crops = [part for line in split_lines(page) for part in (line, *_pieces(line))]
        if metadata.task == "text_recognition":
            TextRecognizer(run, metadata, 1, shapes)([variant for crop in crops for variant in variants(crop)])
        else:
            turned = [rotate(crop, HALF_TURN) for crop in crops]
            LineClassifier(run, metadata, 1, shapes)(crops + turned, LineOrientationOptions(batch_size=1))


def _pieces(line: Image) -> list[Image]:
    height, width = line.shape[:2]
    return [
        np.ascontiguousarray(part) for part in np.array_split(line, max(round(width / height / PIECE_RATIO), 1), axis=1)
    ]


def _compare(
    metadata: ModelMetadata, tensor: Tensor, found: tuple[NDArray[Any], ...], wanted: tuple[NDArray[Any], ...]
) -> Difference:
    """The decisions on one tensor."""
    one, other = (_decisions(metadata, outputs) for outputs in (found, wanted))
    # What neither takes for text is no decision, nor is what lies beyond a page, nor a batch's last rows, which may hold no line.
    if metadata.task == "text_detection":
        counted = (one | other) & (tensor[:, :1] < PADDING_MARK / 2)
    else:
        counted = tensor.any(axis=(1, 2, 3))
    number = max(int(np.count_nonzero(counted)), 1)
    sound = all(np.isfinite(output).all() for output in found)
    return Difference(int(np.count_nonzero((one != other) & counted)) if sound else number, number)


def _decisions(metadata: ModelMetadata, outputs: tuple[NDArray[Any], ...]) -> NDArray[Any]:
    if metadata.task == "text_detection":
        return np.asarray(outputs[0] > metadata.postprocess.get("thresh", DetectionOptions().thresh))
    if metadata.task == "text_recognition":
        lines = zip(*best_classes(outputs), strict=True)
        return np.array([ctc_decode(*without_padding(*line), metadata.charset).text for line in lines])
    return np.asarray(outputs[0].argmax(axis=-1))
