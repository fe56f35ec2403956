"""Render the pages of a PDF with PDFium."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ocr_onnx.errors import InputError, InputNotFoundError, UnreadableImageError
from ocr_onnx.inputs.decoder_errors import decode_pages, decoder_errors, require_memory
from ocr_onnx.inputs.images import check_size, from_array
from ocr_onnx.inputs.pdf_text import own_lines
from ocr_onnx.options import InputOptions
from ocr_onnx.runtime.profiling import timed
from ocr_onnx.types import POINTS_PER_INCH, Page

if TYPE_CHECKING:
    import pypdfium2

_lock = threading.RLock()
"""PDFium is not thread-safe. Reentrant, because the garbage collector can close an abandoned document at any time."""

if hasattr(os, "register_at_fork"):
    # After a fork while another thread renders, the child would wait forever for a lock that nobody releases.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


RENDER_BYTES = 10
"""Bytes per pixel that rendering takes: PDFium's bitmap and two copies."""


class Document(Protocol):
    """An open PDF, in this process (`PdfiumDocument`) or in another one (`decoding.Decoder.document`)."""

    count: int
    """The number of pages."""

    def render(self, index: int, name: str) -> Page:
        """Return a page as an image; `index` counts from 0, and `name` is the page's name in messages. Raises an InputError."""
        ...

    def close(self) -> None:
        """Release the PDF."""
        ...


def read_pages(
    document: Document, path: str | None, name: str, options: InputOptions
) -> Generator[Page | InputError, None, None]:
    """Yield each requested page of a PDF as an image, or its error, then close the PDF; `name` is its name in error messages.

    Raises InputNotFoundError if it has none of the requested pages.
    """
    try:
        indices = options.pages(document.count)
        if not indices and document.count:
            raise InputNotFoundError(
                f"{name} has {document.count} pages and none of the requested pages {options.pdf_pages}: change pdf_pages"
            )
        yield from decode_pages(timed("decode")(document.render), indices, document.count, path, name)
    finally:
        document.close()


class PdfiumDocument:
    """A PDF that PDFium renders in this process. Raises UnreadableImageError if it is damaged or encrypted."""

    def __init__(self, data: bytes, name: str, options: InputOptions) -> None:
        import pypdfium2

        from ocr_onnx.inputs.pdf_fonts import installed_fonts

        self._options = options
        with _lock, decoder_errors(name):
            installed_fonts()
            try:
                self._document = pypdfium2.PdfDocument(data, options.pdf_password)
                self._document.init_forms()
            except pypdfium2.PdfiumError as error:
                remedy = "download or copy it again, or print it to a new PDF"
                if "assword" in str(error):
                    remedy = "give its password as pdf_password, or save it without a password"
                raise UnreadableImageError(f"{name} cannot be opened as a PDF: {error}; {remedy}") from error
            self.count: int = len(self._document)

    def render(self, index: int, name: str) -> Page:
        """Render one page at `pdf_scale`, or at the largest scale that `max_megapixels` allows."""
        import pypdfium2

        from ocr_onnx.inputs.pdf_fonts import warn_of_missing

        limit = self._options.max_pixels
        with _lock, decoder_errors(name):
            try:
                page = self._document[index]
            except pypdfium2.PdfiumError as error:
                raise UnreadableImageError(f"{name} cannot be opened: {error}; print the PDF to a new PDF") from error
            try:
                width, height = _size(page)
                scale = min(self._options.pdf_scale, (limit / max(width * height, 1)) ** 0.5 * 0.999)
                check_size(math.ceil(width * scale), math.ceil(height * scale), name, limit)
                require_memory(math.ceil(width * scale) * math.ceil(height * scale), RENDER_BYTES, name)
                image = from_array(np.array(page.render(scale=scale).to_numpy(), np.uint8))
                warn_of_missing(page, name)
                layer = own_lines(page, self._options.pdf_text, scale)
            except pypdfium2.PdfiumError as error:
                raise UnreadableImageError(f"{name} cannot be rendered: {error}; print the PDF to a new PDF") from error
            else:
                return Page(image, resolution=scale * POINTS_PER_INCH, scale=scale, layer=layer)
            finally:
                page.close()

    def close(self) -> None:
        """Release the PDF."""
        with _lock:
            self._document.close()


def _size(page: pypdfium2.PdfPage) -> tuple[float, float]:
    """Return the size of a page in points. A crop box that does not meet the media box is replaced by it, as viewers do."""
    if min(page.get_size()) <= 0:
        page.set_cropbox(*page.get_mediabox())
    width, height = page.get_size()
    return width, height
