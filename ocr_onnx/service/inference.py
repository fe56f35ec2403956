"""From a request to its pages, read: what is to be done, in a thread, page by page."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from ocr_onnx.inputs.documents import PDF_SIGNATURE
from ocr_onnx.options import InputOptions, OCROptions, changed
from ocr_onnx.service import messages
from ocr_onnx.service.budget import Budget
from ocr_onnx.service.engine import Engine
from ocr_onnx.service.metrics import Metrics
from ocr_onnx.service.page_answers import PageAnswer, page_answer
from ocr_onnx.service.scheduling import Wanted
from ocr_onnx.service.settings import Settings
from ocr_onnx.types import Page

Kind = Literal["image", "pdf"]

Decode = Callable[[bytes, Kind, InputOptions], Generator[Page, None, None]]
"""A file's bytes to its pages: `Decoder.pages`."""

PDF, IMAGE = 0, 1
"""The values of fileType."""


@dataclass(frozen=True, slots=True)
class Inference:
    """Reads files for requests."""

    settings: Settings
    engine: Engine
    metrics: Metrics
    decode: Decode
    budget: Budget

    def pages(self, data: bytes, ask: messages.OCRRequest, wanted: Wanted) -> Generator[PageAnswer, None, None]:
        """Every page of a file, read and written. Raises a kind of OCRError, and what `wanted.check` raises."""
        options = options_of(ask, self.engine.options, self.settings)
        visualize = self.settings.visualize if ask.visualize is None else ask.visualize
        reading = InputOptions(pdf_scale=self.settings.pdf_scale, max_megapixels=self.settings.max_megapixels)
        with closing(self.decode(data, kind_of(data, ask.file_type), reading)) as pages:
            for page in pages:
                with self.budget.reserved(self.engine.memory(page.image, options), wanted):
                    begin = time.monotonic()
                    result = self.engine.read(page, options, wanted.check)
                    self.metrics.page_seconds.observe(time.monotonic() - begin)
                    self.metrics.pages.inc()
                    answer = page_answer(result, visualize=visualize, largest=self.settings.max_output_size)
                    del page, result
                yield answer


def kind_of(data: bytes, file_type: int | None) -> Kind:
    """What a file is said to be, or what it looks like."""
    if file_type is None:
        return "pdf" if PDF_SIGNATURE in data[:1024] else "image"
    return "pdf" if file_type == PDF else "image"


def options_of(ask: messages.OCRRequest, base: OCROptions, settings: Settings) -> OCROptions:
    """What a request goes through: what it says, else what the server is set to; never more than the server allows."""
    limits = base.detection
    candidates = settings.max_lines if limits.max_candidates is None else min(limits.max_candidates, settings.max_lines)
    bounded = {
        "text_det_max_side_limit": min(limits.max_side_limit, settings.max_side),
        "text_det_max_candidates": candidates,
    }
    return changed(base, ask.values() | bounded)
