"""A file's bytes to its pages: every page of a PDF or a TIFF, or the one picture it is."""

from __future__ import annotations

import io
import math
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image

from ocr_onnx.errors import InputNotFoundError, UnreadableImageError
from ocr_onnx.inputs.images import FORMATS, by_pillow, check_size, check_whole, decode, from_array, undamaged
from ocr_onnx.options import InputOptions
from ocr_onnx.runtime.profiling import timed
from ocr_onnx.types import Image, Page

if TYPE_CHECKING:
    import pypdfium2

PDF_SIGNATURE = b"%PDF-"
_pdfium = threading.RLock()
"""PDFium serves one thread at a time. Reentrant: a document that nobody reads on is closed whenever Python notices."""

if hasattr(os, "register_at_fork"):
    # Forked while another thread renders, a process would wait forever for a thread that did not come along.
    os.register_at_fork(before=_pdfium.acquire, after_in_parent=_pdfium.release, after_in_child=_pdfium.release)


def read_file(data: bytes, path: str | None, options: InputOptions) -> Iterator[Page]:
    """The pages of a file's contents; `path` is where they came from."""
    name = _name(path)
    if not data:
        raise UnreadableImageError(f"{name} is empty: nothing was written to it, or its download failed")
    check_whole(data, name)
    try:
        with undamaged(name):
            picture = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
    except PIL.UnidentifiedImageError as error:
        if PDF_SIGNATURE in data[:1024]:
            yield from _pdf_pages(data, path, options)
            return
        raise UnreadableImageError(
            f"{name} is no PDF and no picture of a known format ({', '.join(FORMATS)}), or its beginning is damaged"
        ) from error
    with picture:
        check_size(*picture.size, name, options.max_pixels)
        if picture.format == "TIFF":
            yield from _tiff_pages(picture, path, options)
        else:
            yield Page(decode(picture, data, name), path)


def _tiff_pages(picture: PIL.Image.Image, path: str | None, options: InputOptions) -> Iterator[Page]:
    """Every page, by Pillow as the reference does."""
    name = _name(path)
    with undamaged(name):
        count = getattr(picture, "n_frames", 1)
    for index in range(count):
        page_name = f"page {index} of {name}"
        with undamaged(page_name):
            picture.seek(index)
        check_size(*picture.size, page_name, options.max_pixels)
        image = by_pillow(picture, page_name if count > 1 else name)
        yield Page(image, path, index, count) if count > 1 else Page(image, path)


def _pdf_pages(data: bytes, path: str | None, options: InputOptions) -> Iterator[Page]:
    """The pages asked for, rendered by PDFium."""
    name = _name(path)
    document = _open_pdf(data, name, options.pdf_password)
    try:
        with _pdfium:
            count = len(document)
        indices = options.pages(count)
        if not indices and count:
            raise InputNotFoundError(f"{name} has {count} pages, and none of those asked for: {options.pdf_pages}")
        for index in indices:
            yield Page(_render(document, index, f"page {index} of {name}", options), path, index, count)
    finally:
        with _pdfium:
            document.close()


def _open_pdf(data: bytes, name: str, password: str | None) -> pypdfium2.PdfDocument:
    import pypdfium2

    try:
        with _pdfium:
            document = pypdfium2.PdfDocument(data, password)
            document.init_forms()
    except pypdfium2.PdfiumError as error:
        cure = "get it again whole, or print it to a new PDF"
        if "assword" in str(error):
            cure = "give its password as pdf_password, or save it without one"
        raise UnreadableImageError(f"{name} cannot be opened as a PDF: {error}; {cure}") from error
    return document


@timed("decode")
def _render(document: pypdfium2.PdfDocument, index: int, name: str, options: InputOptions) -> Image:
    """One page, at `pdf_scale` or as large as `max_megapixels` allows."""
    import pypdfium2

    limit = options.max_pixels
    with _pdfium:
        try:
            page = document[index]
        except pypdfium2.PdfiumError as error:
            raise UnreadableImageError(f"{name} cannot be opened: {error}; print the PDF to a new one") from error
        try:
            width, height = page.get_size()
            scale = min(options.pdf_scale, (limit / max(width * height, 1)) ** 0.5 * 0.999)
            check_size(math.ceil(width * scale), math.ceil(height * scale), name, limit)
            return from_array(np.array(page.render(scale=scale).to_numpy(), np.uint8))
        except pypdfium2.PdfiumError as error:
            raise UnreadableImageError(f"{name} cannot be rendered: {error}; print the PDF to a new one") from error
        finally:
            page.close()


def _name(path: str | None) -> str:
    return path if path is not None else "the input"
