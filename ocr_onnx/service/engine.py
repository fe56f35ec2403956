"""The engine that all requests share: the pipeline, with cancellation and a limit on the area of the boxes."""

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
"""Raises ClientGoneError if the request was canceled."""

DEFAULT = DetectionOptions()

MAX_COVERAGE = 20
"""Limit of the total area of the boxes, relative to the page. Text covers a page less than once; nested boxes are an attack."""

BYTES_PER_PIXEL = 12
"""Of a page: as sent, rotated, unwarped, and cut into lines; 3 bytes each."""

BYTES_PER_PAGE = 2**26
"""For recognition and drawing; 50 MB were measured."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Reads pages. Tests replace `read` with a function of one line."""

    read: Callable[[Page, OCROptions, Check], OCRResult]
    """Reads a page; thread-safe. It calls the check between steps and passes on its exception."""
    options: OCROptions = field(default_factory=OCROptions)
    """The options of a request that sets none."""
    memory: Callable[[Image, OCROptions], int] = lambda _, __: 0
    """Estimates the memory in bytes for reading and drawing a page."""


def from_pipeline(ocr: OCR, options: OCROptions) -> Engine:
    """The engine of a pipeline. On several GPUs, pages are distributed in turn."""
    turns = itertools.cycle([_bounded(each) for each in (ocr, *ocr.others)])

    def read(page: Page, chosen: OCROptions, check: Check) -> OCRResult:
        return next(turns).with_runs(partial(_checked, check)).read(page, chosen)

    def memory(image: Image, chosen: OCROptions) -> int:
        return working_memory(image, chosen, ocr.detect.metadata)

    return Engine(read, replace(options, detection=with_model_defaults(options.detection, ocr.detect.metadata)), memory)


def working_memory(image: Image, options: OCROptions, detector: ModelMetadata) -> int:
    """The peak memory in bytes for reading a page. Models run one after another, so the largest one counts."""
    height, width = image.shape[:2]
    pixels: int = height * width
    detecting = detection.working_memory((width, height), options.detection, detector)
    unwarp = unwarping.working_memory(pixels) if options.use_doc_unwarping else 0
    return max(detecting, unwarp) + pixels * BYTES_PER_PIXEL + BYTES_PER_PAGE


def _bounded(ocr: OCR) -> OCR:
    """The pipeline on one device, with a BoundedDetector."""
    return ocr.with_stages(detect=BoundedDetector(ocr.detect.run, ocr.detect.metadata, ocr.detect.shapes))


def _checked(check: Check, run: Run, _: ModelMetadata) -> Run:
    """A model that checks before each run whether the request was canceled."""

    def checked(tensor: Tensor) -> tuple[NDArray[Any], ...]:
        check()
        return run(tensor)

    return checked


@dataclass(frozen=True, slots=True)
class BoundedDetector(TextDetector):
    """A detector that refuses a page whose boxes exceed MAX_COVERAGE, because cutting them out takes that much memory."""

    def __call__(self, image: Image, options: DetectionOptions = DEFAULT) -> list[TextBox]:
        """Detect text as TextDetector. Raises ImageTooLargeError if the boxes cover the page too often."""
        boxes = TextDetector.__call__(self, image, options)
        height, width = image.shape[:2]
        if total_area(boxes) > MAX_COVERAGE * height * width:
            raise ImageTooLargeError(
                f"the detected boxes cover the page more than {MAX_COVERAGE} times: use a smaller textDetUnclipRatio, or "
                "higher textDetThresh and textDetBoxThresh"
            )
        return boxes
