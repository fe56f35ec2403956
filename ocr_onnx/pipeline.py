"""The stages in order: a page is turned, its text found, cut out, turned, read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ocr_onnx import geometry, images, store
from ocr_onnx.detection import DetectionOptions, TextDetector
from ocr_onnx.errors import ModelError, StageNotLoadedError
from ocr_onnx.metadata import ModelMetadata, Task
from ocr_onnx.options import check_number
from ocr_onnx.orientation import LineClassifier, LineOrientationOptions, PageClassifier
from ocr_onnx.recognition import RecognitionOptions, TextRecognizer
from ocr_onnx.results import OCRResult
from ocr_onnx.runtime import Device, Session, cpu_count
from ocr_onnx.types import Image, Page, TextBox, TextLine

logger = logging.getLogger(__name__)

UPSIDE_DOWN = 180
"""Degrees."""


@dataclass(frozen=True, slots=True)
class OCROptions:
    """What a page goes through."""

    use_doc_orientation_classify: bool = True
    """Turn pages upright."""
    use_textline_orientation: bool = True
    """Turn lines that stand on their heads."""
    detection: DetectionOptions = field(default_factory=DetectionOptions)
    line_orientation: LineOrientationOptions = field(default_factory=LineOrientationOptions)
    recognition: RecognitionOptions = field(default_factory=RecognitionOptions)


@dataclass(frozen=True, slots=True)
class Models:
    """Which models do it: official names, or paths of .onnx files."""

    text_detection: str | Path = "PP-OCRv5_mobile_det"
    text_recognition: str | Path = "PP-OCRv5_mobile_rec"
    doc_orientation: str | Path | None = "PP-LCNet_x1_0_doc_ori"
    """None: this stage is not loaded."""
    textline_orientation: str | Path | None = "PP-LCNet_x1_0_textline_ori"
    """None: this stage is not loaded."""


class OCR:
    """The pipeline. One may serve many threads: a call leaves nothing behind.

    `device` is cpu, gpu or gpu:N; `cpu_threads` is how many cores detection may use (default: all that the process
    may). Raises a kind of OCRError where a model or the device is not there.
    """

    def __init__(
        self,
        options: OCROptions | None = None,
        *,
        models: Models | None = None,
        device: str = "cpu",
        cpu_threads: int | None = None,
    ) -> None:
        if cpu_threads is not None:
            check_number("cpu_threads", cpu_threads, 1, whole=True)
        self.options = OCROptions() if options is None else options
        names = Models() if models is None else models
        where = Device.parse(device)
        threads = cpu_count() if cpu_threads is None else cpu_threads

        # A page is one call that fills all cores; lines are many calls, each on one (runtime.run_each).
        self.detect = TextDetector(*_load(names.text_detection, "text_detection", where, threads))
        self.recognize = TextRecognizer(*_load(names.text_recognition, "text_recognition", where, 1))
        self.classify_page: PageClassifier | None = None
        self.classify_line: LineClassifier | None = None
        if names.doc_orientation is not None:
            self.classify_page = PageClassifier(*_load(names.doc_orientation, "doc_orientation", where, threads))
        if names.textline_orientation is not None:
            self.classify_line = LineClassifier(*_load(names.textline_orientation, "textline_orientation", where, 1))

    def predict(self, source: images.Source, options: OCROptions | None = None) -> list[OCRResult]:
        """Read every page of `source`: a path (picture, PDF, TIFF, folder), bytes, a BGR array, or a list of these.

        Raises a kind of InputError at the first that cannot be read.
        """
        return list(self.predict_iter(source, options))

    def predict_iter(self, source: images.Source, options: OCROptions | None = None) -> Iterator[OCRResult]:
        """As `predict`, page by page: one page is in memory at a time."""
        chosen = self.options if options is None else options
        for page in images.read_pages(source):
            yield self.read(page, chosen)

    def read(self, page: Page, options: OCROptions) -> OCRResult:
        """Take one page through all stages."""
        angle, image = self._upright(page.image, options)
        found = geometry.reading_order(self.detect(image, options.detection))
        cut = [(box, geometry.crop(image, box.quad)) for box in found]
        # A box on a picture enlarged for detection can be less than a pixel high.
        boxes, crops = [box for box, crop in cut if crop.size], [crop for _, crop in cut if crop.size]
        if options.use_textline_orientation:
            boxes, crops = self._turn(boxes, crops, options.line_orientation)
        texts = self.recognize(crops, options.recognition)
        logger.info("%s: angle %s, %d lines", page.path, angle, len(texts))
        lines = tuple(
            TextLine(text, score, box)
            for box, (text, score) in zip(boxes, texts, strict=True)
            if score >= options.recognition.score_thresh
        )
        return OCRResult(page, replace(page, image=image), angle, tuple(boxes), lines, options)

    def _upright(self, image: Image, options: OCROptions) -> tuple[int | None, Image]:
        """The angle found, None where that stage is off, and the picture turned by it."""
        if not options.use_doc_orientation_classify:
            return None, image
        if self.classify_page is None:
            raise StageNotLoadedError(
                "page orientation was asked for, but OCR was made with models.doc_orientation=None"
            )
        angle = self.classify_page(image)
        return angle, geometry.rotate(image, angle)

    def _turn(
        self, boxes: list[TextBox], crops: list[Image], options: LineOrientationOptions
    ) -> tuple[list[TextBox], list[Image]]:
        """Say of each box whether it is upside down, and turn the crops that are."""
        if self.classify_line is None:
            raise StageNotLoadedError(
                "line orientation was asked for, but OCR was made with models.textline_orientation=None"
            )
        flipped = self.classify_line(crops, options)
        boxes = [replace(box, upside_down=down) for box, down in zip(boxes, flipped, strict=True)]
        crops = [
            geometry.rotate(crop, UPSIDE_DOWN) if down else crop for crop, down in zip(crops, flipped, strict=True)
        ]
        return boxes, crops


def _load(name: str | Path, task: Task, device: Device, threads: int) -> tuple[Session, ModelMetadata]:
    """A model by name or path, which must be made for `task`."""
    path = store.find(name)
    session = Session(path, device, threads)
    logger.info("%s: %s on %s, %d threads a call", task, path, device.kind, threads)
    metadata = ModelMetadata.from_properties(session.properties, str(path))
    if metadata.task != task:
        raise ModelError(f"{name} does {metadata.task}, not {task}")
    if metadata.static_shape and metadata.static_shape != (1, *metadata.input_shape):
        size = "x".join(map(str, metadata.static_shape))
        raise ModelError(f"{name} takes inputs of {size} alone, and pictures vary: convert it without --static")
    if metadata.static_shape and task == "text_recognition":
        raise ModelError(f"{name} takes lines of one width alone, and lines vary: convert it without --static")
    return session, metadata
