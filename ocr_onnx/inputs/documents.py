"""Convert the content of a file to pages: every page of a PDF or TIFF, or one page for another image."""

from __future__ import annotations

import io
from collections.abc import Generator, Mapping
from contextlib import suppress
from functools import partial

import PIL.Image

from ocr_onnx.errors import InputError, UnreadableImageError
from ocr_onnx.inputs import image_files, pdf, tiff
from ocr_onnx.inputs.decoder_errors import decoder_errors, require_memory
from ocr_onnx.inputs.headers import size_for_opencv
from ocr_onnx.inputs.images import FORMATS, allow_pixels, check_size, decode, orientation_of, square_pixels
from ocr_onnx.inputs.isolated_pdf import open_pdf
from ocr_onnx.inputs.page_warnings import decode_page
from ocr_onnx.options import InputOptions
from ocr_onnx.types import Page

PDF_SIGNATURE = b"%PDF-"

BRANDS: Mapping[tuple[bytes, ...], str] = {
    (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"): "HEIC",
    (b"avif", b"avis"): "AVIF",
}
"""Formats by the brands of their container."""

OTHER_SIGNATURES = {
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"8BPS": "Photoshop",
    b"%!PS": "PostScript",
}

WEBP_BYTES = 8
"""Bytes per pixel that opening a WebP takes."""

PDF_SIGNATURE_WINDOW = 1024
"""Bytes at the beginning of a file in which PDF readers look for the signature."""


def is_pdf(data: bytes | bytearray) -> bool:
    """Return whether the content of a file is a PDF."""
    return PDF_SIGNATURE in data[:PDF_SIGNATURE_WINDOW]


def read_file(data: bytes, path: str | None, options: InputOptions) -> Generator[Page | InputError, None, None]:
    """Yield the pages of a file with content `data`; `path` is the path of the file, or None.

    A page of a PDF or TIFF that cannot be read is yielded as its error, and the following pages are read. Raises
    UnreadableImageError, ImageTooLargeError and NotEnoughMemoryError if the whole file cannot be read, and InputNotFoundError if
    a PDF has none of the requested pages.
    """
    name = path if path is not None else "the input"
    if not data:
        raise UnreadableImageError(f"{name} is empty (0 bytes): check the program that wrote it, or download it again")
    allow_pixels(options.max_pixels)
    if data.startswith(tiff.SIGNATURES):
        yield from tiff.read_pages(data, path, name, options)
        return
    picture = _open(data, name)
    if picture is not None:
        with picture:
            check_size(*picture.size, name, options.max_pixels)
            yield decode_page(partial(_decode, picture, data, name, options), path)
    elif image_files.lacks_end(data):
        raise image_files.truncated(name)
    elif is_pdf(data):
        yield from pdf.read_pages(open_pdf(data, name, options), path, name, options)
    elif (other := _other_format(data)) is not None:
        raise UnreadableImageError(f"{name} is a {other} image, which is not supported: convert it to JPEG or PNG")
    else:
        raise UnreadableImageError(
            f"{name} is neither a PDF nor an image of a supported format ({', '.join(FORMATS)}), or its header is damaged: "
            "convert it to one of these formats"
        )


def _other_format(data: bytes) -> str | None:
    """Return the name of a known format that is not supported."""
    if data[4:8] == b"ftyp":
        return next((name for brands, name in BRANDS.items() if data[8:12] in brands), None)
    return next((name for signature, name in OTHER_SIGNATURES.items() if data.startswith(signature)), None)


def _decode(picture: PIL.Image.Image, data: bytes, name: str, options: InputOptions) -> Page:
    """Decode an image file that is open, to square pixels."""
    if image_files.lacks_end(data):
        data = image_files.with_end(data, picture.size, name)
        with _open(data, name) or picture as whole:
            return _decode_whole(whole, data, name, options)
    return _decode_whole(picture, data, name, options)


def _decode_whole(picture: PIL.Image.Image, data: bytes, name: str, options: InputOptions) -> Page:
    image = decode(picture, data, name, options.transparency)
    return square_pixels(image, picture, options.max_pixels, orientation_of(picture))


def _open(data: bytes, name: str) -> PIL.Image.Image | None:
    """Open an image; return None for an unknown format."""
    if size := size_for_opencv(data, "WEBP") if data[8:12] == b"WEBP" else None:
        require_memory(size[0] * size[1], WEBP_BYTES, name)  # Pillow takes it already now.
    try:
        with decoder_errors(name):
            return PIL.Image.open(io.BytesIO(image_files.without_metadata(data)), formats=FORMATS)
    except UnreadableImageError as error:
        with suppress(InputError), decoder_errors(name):
            return PIL.Image.open(io.BytesIO(image_files.pixels_alone(data)), formats=FORMATS)
        if isinstance(error.__cause__, PIL.UnidentifiedImageError):
            return None
        raise
