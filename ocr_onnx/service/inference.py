"""Read the pages of a request's file; runs in a worker thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Literal

from ocr_onnx.errors import InputError
from ocr_onnx.inputs.documents import is_pdf
from ocr_onnx.options import InputOptions, OCROptions, changed
from ocr_onnx.outputs.formats import Writer
from ocr_onnx.results import OCRResult
from ocr_onnx.service import messages
from ocr_onnx.service.budget import Budget
from ocr_onnx.service.engine import Engine
from ocr_onnx.service.metrics import Metrics
from ocr_onnx.service.page_encoding import EncodedPage, encode_error, encode_page
from ocr_onnx.service.scheduling import CancelToken, clear_frames
from ocr_onnx.service.settings import Settings
from ocr_onnx.types import Page

Kind = Literal["image", "pdf"]

Decode = Callable[[bytes, Kind, InputOptions], Generator[Page | InputError, None, None]]
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

        A page that cannot be read is encoded as its error if another page can be read and the format has a place for it.
        Raises subclasses of OCRError, and ClientGoneError if the request is canceled.
        """
        options = options_of(fields, self.engine.options, self.settings)
        visualize = self.settings.visualize if fields.visualize is None else fields.visualize
        encoded = partial(encode_page, visualize=visualize, max_size=self.settings.max_output_size, writer=writer)
        input_options = InputOptions(pdf_scale=self.settings.pdf_scale, max_megapixels=self.settings.max_megapixels)
        failure: InputError | None = None
        some_read = False
        with closing(self.decode(data, kind_of(data, fields.file_type), input_options)) as pages:
            for number, page in enumerate(pages, 1):
                encode = partial(encoded, number=number)
                outcome = page if isinstance(page, InputError) else self._read(page, options, token, encode)
                del page
                if isinstance(outcome, EncodedPage):
                    some_read = True
                    yield outcome
                elif writer is not None or outcome.page is None:
                    raise outcome
                else:
                    clear_frames(outcome)  # They refer to the page.
                    failure = failure or outcome
                    yield encode_error(outcome)
        if failure is not None and not some_read:
            raise failure

    def _read(
        self, page: Page, options: OCROptions, token: CancelToken, encode: Callable[[OCRResult], EncodedPage]
    ) -> EncodedPage | InputError:
        """Read a page and encode it; return the error of a page of a document."""
        try:
            with self.budget.reserved(self.engine.memory(page.image, options), token):
                begin = time.monotonic()
                result = self.engine.read(page, options, token.check)
                self.metrics.page_seconds.observe(time.monotonic() - begin)
                self.metrics.pages.inc()
                return encode(result)
        except InputError as error:
            error.page = None if page.index is None else page.index + 1
            return error


def kind_of(data: bytes, file_type: int | None) -> Kind:
    """The kind of a file: as fileType says, else detected from the contents."""
    if file_type is None:
        return "pdf" if is_pdf(data) else "image"
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
