"""The one engine behind all requests: a page is read until nobody waits for it, and within bounds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from numpy.typing import NDArray

from ocr_onnx.errors import ImageTooLargeError
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.options import DetectionOptions, OCROptions
from ocr_onnx.pipeline import OCR
from ocr_onnx.results import OCRResult
from ocr_onnx.stages import detection, unwarping
from ocr_onnx.stages.detection import TextDetector, with_model_defaults
from ocr_onnx.stages.geometry import total_area
from ocr_onnx.types import Image, Page, Run, Tensor, TextBox

Check = Callable[[], None]
"""Raises where a request is no longer wanted."""

DEFAULT = DetectionOptions()

OVERLAP = 20
"""How many times the page the boxes on it may cover. Text covers it less than once; boxes in boxes are an attack."""

COPIES = 12
"""Bytes per pixel of a page: the page as sent, turned and flat, and its lines, 3 each."""

LINES = 2**26
"""Bytes in which the lines of a page are read, and its pictures drawn: 50 MB were measured."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What reads pages. In tests `read` is a function of one line."""

    read: Callable[[Page, OCROptions, Check], OCRResult]
    """Called from several threads at once. It calls the check now and then, and lets through what that raises."""
    options: OCROptions = field(default_factory=OCROptions)
    """What a request that says nothing gets."""
    memory: Callable[[Image, OCROptions], int] = lambda _, __: 0
    """The bytes that reading a page of this picture will take, with what is drawn of it."""


def of(ocr: OCR, options: OCROptions) -> Engine:
    """The pipeline as an engine; on several GPUs they take the pages in turns."""
    turns = itertools.cycle([_bounded(each) for each in (ocr, *ocr.others)])

    def read(page: Page, chosen: OCROptions, check: Check) -> OCRResult:
        return next(turns).with_runs(partial(_checked, check)).read(page, chosen)

    def memory(image: Image, chosen: OCROptions) -> int:
        return working_memory(image, chosen, ocr.detect.metadata)

    return Engine(read, replace(options, detection=with_model_defaults(options.detection, ocr.detect.metadata)), memory)


def working_memory(image: Image, options: OCROptions, detector: ModelMetadata) -> int:
    """The bytes that a page takes at most while it is read: its models' and its own, for the models run in turn."""
    height, width = image.shape[:2]
    pixels: int = height * width
    detecting = detection.working_memory((width, height), options.detection, detector)
    bent = unwarping.working_memory(pixels) if options.use_doc_unwarping else 0
    return max(detecting, bent) + pixels * COPIES + LINES


def _bounded(ocr: OCR) -> OCR:
    """The pipeline on one device, with a BoundedDetector."""
    return ocr.with_stages(detect=BoundedDetector(ocr.detect.run, ocr.detect.metadata, ocr.detect.shapes))


def _checked(check: Check, run: Run, _: ModelMetadata) -> Run:
    """A model that checks before each run whether the request is still wanted."""

    def checked(tensor: Tensor) -> tuple[NDArray[Any], ...]:
        check()
        return run(tensor)

    return checked


@dataclass(frozen=True, slots=True)
class BoundedDetector(TextDetector):
    """A detector that refuses a page whose boxes, cut out, would take OVERLAP times its memory."""

    def __call__(self, image: Image, options: DetectionOptions = DEFAULT) -> list[TextBox]:
        """As TextDetector. Raises ImageTooLargeError for boxes that cover the page too often."""
        boxes = TextDetector.__call__(self, image, options)
        height, width = image.shape[:2]
        if total_area(boxes) > OVERLAP * height * width:
            raise ImageTooLargeError(
                f"the boxes found cover the page more than {OVERLAP} times: give a smaller textDetUnclipRatio, or higher "
                "textDetThresh and textDetBoxThresh"
            )
        return boxes
