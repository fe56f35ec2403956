"""Read the pages of a request's file; runs in a worker thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol

from ocr_onnx.errors import InputError
from ocr_onnx.inputs.documents import is_pdf
from ocr_onnx.options import InputOptions, OCROptions, PDFText, changed
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

Encode = Callable[..., EncodedPage]
"""Encodes a result; the keyword `number` is the place of the page in the answer."""

PDF, IMAGE = 0, 1
"""The values of fileType."""


class Files(Protocol):
    """Opens files in other processes: `Decoder`."""

    def pages(self, data: bytes, kind: Kind, options: InputOptions) -> Generator[Page | InputError, None, None]:
        """Decode a file to its pages."""
        ...

    def convert(self, data: bytes, kind: Kind, options: InputOptions, function: str, pages: Sequence[bytes]) -> bytes:
        """Convert a file by a function, which gets `pages` too: pickled objects."""
        ...


@dataclass(frozen=True, slots=True)
class Inference:
    """Decodes files, reads their pages and encodes the results."""

    settings: Settings
    engine: Engine
    metrics: Metrics
    files: Files
    budget: Budget

    def pages(
        self, data: bytes, fields: messages.OCRRequest, token: CancelToken, writer: Writer | None = None
    ) -> Generator[EncodedPage, None, None]:
        """Read a file page by page, and encode each page with `writer`, else as PaddleX's JSON.

        A page that cannot be read is encoded as its error if another page can be read and the format has a place for it.
        In a format that is made of the file, the last page has the document as its body, and the others have none.
        Raises subclasses of OCRError, and ClientGoneError if the request is canceled.
        """
        options = options_of(fields, self.engine.options, self.settings)
        visualize = self.settings.visualize if fields.visualize is None else fields.visualize
        encode = partial(encode_page, visualize=visualize, max_size=self.settings.max_output_size, writer=writer)
        policy = options.input.pdf_text if writer is None else writer.pdf_text(options.input.pdf_text)
        file = data, kind_of(data, fields.file_type), self._input_options(policy)
        with closing(self.files.pages(*file)) as pages:
            encoded = self._encoded(pages, options, token, encode)
            if writer is None:
                yield from _with_errors(encoded)
            elif writer.file:
                yield from _document(_without_errors(encoded), partial(self.files.convert, *file, writer.file))
            else:
                yield from _without_errors(encoded)

    def _input_options(self, pdf_text: PDFText | None) -> InputOptions:
        return InputOptions(
            pdf_scale=self.settings.pdf_scale,
            max_megapixels=self.settings.max_megapixels,
            pdf_text=pdf_text,
        )

    def _encoded(
        self, pages: Iterable[Page | InputError], options: OCROptions, token: CancelToken, encode: Encode
    ) -> Iterator[EncodedPage | InputError]:
        """Read and encode pages."""
        for number, page in enumerate(pages, 1):
            each = (
                page
                if isinstance(page, InputError)
                else self._read(page, options, token, partial(encode, number=number))
            )
            del page
            yield each

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


def _with_errors(pages: Iterable[EncodedPage | InputError]) -> Iterator[EncodedPage]:
    """Yield the pages, and the error of a page that cannot be read if another page can be; else raise the first one."""
    failure: InputError | None = None
    some_read = False
    for page in pages:
        if isinstance(page, EncodedPage):
            some_read = True
            yield page
        elif page.page is None:
            raise page
        else:
            clear_frames(page)  # They refer to the page.
            failure = failure or page
            yield encode_error(page)
    if failure is not None and not some_read:
        raise failure


def _without_errors(pages: Iterable[EncodedPage | InputError]) -> Iterator[EncodedPage]:
    """Yield the pages. Raises the error of a page."""
    for page in pages:
        if isinstance(page, InputError):
            raise page
        yield page


def _document(pages: Iterable[EncodedPage], make: Callable[[Sequence[bytes]], bytes]) -> Iterator[EncodedPage]:
    """Yield the pages without their bodies; the last one gets the document that is made of these."""
    bodies, last = [], None
    for page in pages:
        if last is not None:
            yield last
        bodies.append(page.body)
        last = page.without_body()
    if last is not None:
        yield replace(last, body=make(bodies))


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
