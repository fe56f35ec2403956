"""A file's bytes to its pages: every page of a PDF or a TIFF, or the one picture it is."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Iterator

import numpy as np
import PIL.Image
import pypdfium2

from ocr_onnx.errors import UnreadableImageError
from ocr_onnx.images import FORMATS, MAX_PIXELS, by_pillow, check_size, check_whole, decode, from_array, undamaged
from ocr_onnx.types import Image, Page

PDF_SCALE = 2.0
"""PDF pages are rendered at this times 72 dots an inch."""

PDF_SIGNATURE = b"%PDF-"
_pdfium = threading.RLock()
"""PDFium serves one thread at a time. Reentrant: a document that nobody reads on is closed whenever Python notices."""


def read_file(data: bytes, path: str | None) -> Iterator[Page]:
    """The pages of a file's contents."""
    name = path if path is not None else "the input"
    if not data:
        raise UnreadableImageError(f"{name} is empty: nothing was written to it, or its download failed")
    check_whole(data, name)
    try:
        with undamaged(name):
            picture = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
    except PIL.UnidentifiedImageError as error:
        if PDF_SIGNATURE in data[:1024]:
            yield from _pdf_pages(data, path, name)
            return
        raise UnreadableImageError(
            f"{name} is no PDF and no picture of a known format ({', '.join(FORMATS)}), or its beginning is damaged"
        ) from error
    with picture:
        check_size(*picture.size, name)
        if picture.format == "TIFF":
            yield from _tiff_pages(picture, path, name)
        else:
            yield Page(decode(picture, data, name), path)


def _tiff_pages(picture: PIL.Image.Image, path: str | None, name: str) -> Iterator[Page]:
    """Every page, by Pillow as the reference does."""
    with undamaged(name):
        count = getattr(picture, "n_frames", 1)
    for index in range(count):
        with undamaged(f"page {index} of {name}"):
            picture.seek(index)
        check_size(*picture.size, f"page {index} of {name}")
        image = by_pillow(picture, name)
        yield Page(image, path, index, count) if count > 1 else Page(image, path)


def _pdf_pages(data: bytes, path: str | None, name: str) -> Iterator[Page]:
    """Every page, rendered by PDFium."""
    try:
        with _pdfium:
            document = pypdfium2.PdfDocument(data)
            document.init_forms()
    except pypdfium2.PdfiumError as error:
        cure = "save it without one" if "assword" in str(error) else "get it again whole, or print it to a new PDF"
        raise UnreadableImageError(f"{name} cannot be opened as a PDF: {error}; {cure}") from error
    try:
        count = len(document)
        for index in range(count):
            yield Page(_render(document, index, f"page {index} of {name}"), path, index, count)
    finally:
        with _pdfium:
            document.close()


def _render(document: pypdfium2.PdfDocument, index: int, name: str) -> Image:
    """One page, at PDF_SCALE or as large as MAX_PIXELS allows."""
    with _pdfium:
        try:
            page = document[index]
        except pypdfium2.PdfiumError as error:
            raise UnreadableImageError(f"{name} cannot be opened: {error}; print the PDF to a new one") from error
        try:
            width, height = page.get_size()
            scale = min(PDF_SCALE, (MAX_PIXELS / max(width * height, 1)) ** 0.5 * 0.999)
            check_size(math.ceil(width * scale), math.ceil(height * scale), name)
            return from_array(np.array(page.render(scale=scale).to_numpy(), np.uint8))
        except pypdfium2.PdfiumError as error:
            raise UnreadableImageError(f"{name} cannot be rendered: {error}; print the PDF to a new one") from error
        finally:
            page.close()
