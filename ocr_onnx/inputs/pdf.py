"""Render the pages of a PDF with PDFium."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ocr_onnx.errors import InputNotFoundError, UnreadableImageError
from ocr_onnx.inputs.images import check_size, from_array
from ocr_onnx.options import InputOptions
from ocr_onnx.runtime.profiling import timed
from ocr_onnx.types import Image, Page

if TYPE_CHECKING:
    import pypdfium2

_lock = threading.RLock()
"""PDFium is not thread-safe. Reentrant, because the garbage collector can close an abandoned document at any time."""

if hasattr(os, "register_at_fork"):
    # After a fork while another thread renders, the child would wait forever for a lock that nobody releases.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def read_pages(data: bytes, path: str | None, name: str, options: InputOptions) -> Iterator[Page]:
    """Yield the requested pages of a PDF as images; `name` is its name in error messages.

    Raises UnreadableImageError if the PDF is damaged or encrypted, ImageTooLargeError for a page that exceeds the limit, and
    InputNotFoundError if it has none of the requested pages.
    """
    document = _open(data, name, options.pdf_password)
    try:
        with _lock:
            count = len(document)
        indices = options.pages(count)
        if not indices and count:
            raise InputNotFoundError(
                f"{name} has {count} pages and none of the requested pages {options.pdf_pages}: change pdf_pages"
            )
        for index in indices:
            yield Page(_render(document, index, f"page {index + 1} of {name}", options), path, index, count)
    finally:
        with _lock:
            document.close()


def _open(data: bytes, name: str, password: str | None) -> pypdfium2.PdfDocument:
    import pypdfium2

    try:
        with _lock:
            document = pypdfium2.PdfDocument(data, password)
            document.init_forms()
    except pypdfium2.PdfiumError as error:
        remedy = "download or copy it again, or print it to a new PDF"
        if "assword" in str(error):
            remedy = "give its password as pdf_password, or save it without a password"
        raise UnreadableImageError(f"{name} cannot be opened as a PDF: {error}; {remedy}") from error
    return document


@timed("decode")
def _render(document: pypdfium2.PdfDocument, index: int, name: str, options: InputOptions) -> Image:
    """Render one page at `pdf_scale`, or at the largest scale that `max_megapixels` allows."""
    import pypdfium2

    limit = options.max_pixels
    with _lock:
        try:
            page = document[index]
        except pypdfium2.PdfiumError as error:
            raise UnreadableImageError(f"{name} cannot be opened: {error}; print the PDF to a new PDF") from error
        try:
            width, height = page.get_size()
            scale = min(options.pdf_scale, (limit / max(width * height, 1)) ** 0.5 * 0.999)
            check_size(math.ceil(width * scale), math.ceil(height * scale), name, limit)
            return from_array(np.array(page.render(scale=scale).to_numpy(), np.uint8))
        except pypdfium2.PdfiumError as error:
            raise UnreadableImageError(f"{name} cannot be rendered: {error}; print the PDF to a new PDF") from error
        finally:
            page.close()
