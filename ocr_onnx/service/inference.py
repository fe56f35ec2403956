"""Read the pages of a request's file; runs in a worker thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from ocr_onnx.inputs.documents import PDF_SIGNATURE
from ocr_onnx.options import InputOptions, OCROptions, changed
from ocr_onnx.outputs.formats import Writer
from ocr_onnx.service import messages
from ocr_onnx.service.budget import Budget
from ocr_onnx.service.engine import Engine
from ocr_onnx.service.metrics import Metrics
from ocr_onnx.service.page_encoding import EncodedPage, encode_page
from ocr_onnx.service.scheduling import CancelToken
from ocr_onnx.service.settings import Settings
from ocr_onnx.types import Page

Kind = Literal["image", "pdf"]

Decode = Callable[[bytes, Kind, InputOptions], Generator[Page, None, None]]
"""Decodes a file to its pages: `Decoder.pages`."""

PDF, IMAGE = 0, 1
"""The values of fileType."""


@dataclass(frozen=True, slots=True)
class Inference:
    """Decodes files, reads their pages and encodes the results."""

    settings: Settings
    engine: Engine
    metrics: Metrics
    decode: Decode
    budget: Budget

    def pages(
        self, data: bytes, fields: messages.OCRRequest, token: CancelToken, writer: Writer | None = None
    ) -> Generator[EncodedPage, None, None]:
        """Read a file page by page, and encode each page with `writer`, else as PaddleX's JSON.

        Raises subclasses of OCRError, and ClientGoneError if the request is canceled.
        """
        options = options_of(fields, self.engine.options, self.settings)
        visualize = self.settings.visualize if fields.visualize is None else fields.visualize
        input_options = InputOptions(pdf_scale=self.settings.pdf_scale, max_megapixels=self.settings.max_megapixels)
        with closing(self.decode(data, kind_of(data, fields.file_type), input_options)) as pages:
            for page in pages:
                with self.budget.reserved(self.engine.memory(page.image, options), token):
                    begin = time.monotonic()
                    result = self.engine.read(page, options, token.check)
                    self.metrics.page_seconds.observe(time.monotonic() - begin)
                    self.metrics.pages.inc()
                    encoded = encode_page(
                        result, visualize=visualize, max_size=self.settings.max_output_size, writer=writer
                    )
                    del page, result
                yield encoded


def kind_of(data: bytes, file_type: int | None) -> Kind:
    """The kind of a file: as fileType says, else detected from the contents."""
    if file_type is None:
        return "pdf" if PDF_SIGNATURE in data[:1024] else "image"
    return "pdf" if file_type == PDF else "image"


def options_of(fields: messages.OCRRequest, base: OCROptions, settings: Settings) -> OCROptions:
    """The pipeline options of a request: its own, else `base`, within the limits of the settings."""
    limits = base.detection
    candidates = settings.max_lines if limits.max_candidates is None else min(limits.max_candidates, settings.max_lines)
    limited = {
        "text_det_max_side_limit": min(limits.max_side_limit, settings.max_side),
        "text_det_max_candidates": candidates,
    }
    return changed(base, fields.values() | limited)
