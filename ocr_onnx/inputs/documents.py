"""Convert the content of a file to pages: every page of a PDF or TIFF, or one page for another image."""

from __future__ import annotations

import io
from collections.abc import Iterator

import PIL.Image

from ocr_onnx.errors import UnreadableImageError
from ocr_onnx.inputs import pdf
from ocr_onnx.inputs.images import FORMATS, check_complete, check_size, decode, decode_with_pillow, pillow_errors
from ocr_onnx.options import InputOptions
from ocr_onnx.types import Page

PDF_SIGNATURE = b"%PDF-"

PDF_SIGNATURE_WINDOW = 1024
"""Bytes at the beginning of a file in which PDF readers look for the signature."""


def read_file(data: bytes, path: str | None, options: InputOptions) -> Iterator[Page]:
    """Yield the pages of a file with content `data`; `path` is the path of the file, or None.

    Raises UnreadableImageError, ImageTooLargeError, and InputNotFoundError if a PDF has none of the requested pages.
    """
    name = path if path is not None else "the input"
    if not data:
        raise UnreadableImageError(f"{name} is empty (0 bytes): check the program that wrote it, or download it again")
    check_complete(data, name)
    try:
        with pillow_errors(name):
            picture = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
    except PIL.UnidentifiedImageError as error:
        if PDF_SIGNATURE in data[:PDF_SIGNATURE_WINDOW]:
            yield from pdf.read_pages(data, path, name, options)
            return
        raise UnreadableImageError(
            f"{name} is neither a PDF nor an image of a supported format ({', '.join(FORMATS)}), or its header is damaged: "
            "convert it to one of these formats"
        ) from error
    with picture:
        check_size(*picture.size, name, options.max_pixels)
        if picture.format == "TIFF":
            yield from _tiff_pages(picture, path, name, options)
        else:
            yield Page(decode(picture, data, name), path)


def _tiff_pages(picture: PIL.Image.Image, path: str | None, name: str, options: InputOptions) -> Iterator[Page]:
    """Yield every page of a TIFF, decoded by Pillow as in PaddleX."""
    with pillow_errors(name):
        count = getattr(picture, "n_frames", 1)
    for index in range(count):
        page_name = f"page {index + 1} of {name}"
        with pillow_errors(page_name):
            picture.seek(index)
        check_size(*picture.size, page_name, options.max_pixels)
        image = decode_with_pillow(picture, page_name if count > 1 else name)
        yield Page(image, path, index, count) if count > 1 else Page(image, path)
