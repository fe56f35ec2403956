"""Write searchable PDFs: the pages of the input with invisible text at the places of the words."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import PIL.Image

from ocr_onnx.errors import InputError, OutputError
from ocr_onnx.inputs import documents, tiff
from ocr_onnx.inputs.decoder_errors import decoder_errors
from ocr_onnx.inputs.images import orientation_of
from ocr_onnx.inputs.pdf_text import INVISIBLE
from ocr_onnx.inputs.sources import unwrap
from ocr_onnx.installation import requirement
from ocr_onnx.outputs import pdf_text
from ocr_onnx.outputs.pdf_font import GlyphlessFont
from ocr_onnx.outputs.pdf_layer import FONT_NAME, Frame, frame_of, layer, numbers
from ocr_onnx.outputs.placed import PlacedPage, placed_page
from ocr_onnx.types import POINTS_PER_INCH, Page

if TYPE_CHECKING:
    import pikepdf

    from ocr_onnx.options import InputOptions
    from ocr_onnx.types import RecognizedPage

PACKAGES = ("pikepdf", "img2pdf")

MODULES = ("ocr_onnx.outputs.pdf", *PACKAGES)
"""Those that `searchable_file` needs."""

IMAGE_NAME = "/OcrOnnxPage"

DEFAULT_RESOLUTION = 96.0
"""Pixels per inch of an image whose metadata have none, as in img2pdf."""

SIDES = 3.0, 14_400.0
"""The shortest and the longest side of a page that PDF permits, in points."""

NO_PIXELS = np.empty((0, 0, 3), np.uint8)

JPEG_QUALITY = 90
"""Of pages that are replaced by an image of themselves."""


@dataclass
class _Document:
    """An open PDF that gets text."""

    pdf: pikepdf.Pdf
    font: GlyphlessFont
    path: str | None
    content: bytes | None
    """The path of the input, and its content, if it has no path."""
    is_pdf: bool
    """Whether the input is a PDF, rather than an image that became one."""
    pages: list[int] = field(default_factory=list)
    """The indices of the pages that were read."""

    def is_of(self, page: Page) -> bool:
        """Whether a page is one of this document."""
        return self.is_pdf and page.index is not None and self.path == page.path and self.content is page.content


class Added(NamedTuple):
    """The text that a page of an input gets."""

    source: Page
    placed: PlacedPage
    options: InputOptions


def require_packages() -> None:
    """Raise OutputError if a package that searchable PDFs need is not installed. Nothing is imported."""
    if None in map(find_spec, PACKAGES):
        raise OutputError(f"searchable PDFs need {' and '.join(PACKAGES)}: pip install {requirement('pdf')}")


class SearchablePDF:
    """A searchable PDF that is made page by page."""

    def __init__(self) -> None:
        require_packages()
        self._documents: list[_Document] = []

    def add(self, result: RecognizedPage) -> None:
        """Add the text of a page. Raises OutputError if the input can no longer be read."""
        self.add_placed(result.source, placed_page(result), result.options.input)

    def add_placed(self, source: Page, placed: PlacedPage, options: InputOptions) -> None:
        """Add text to the page of an input. Raises OutputError if the input can no longer be read."""
        index = source.index or 0
        last = self._documents[-1] if self._documents else None
        if last is None or not last.is_of(source) or index in last.pages:
            last = _opened(source, options.pdf_password)
            self._documents.append(last)
        last.pages.append(index)
        # An image that PDF cannot contain has the one page that was decoded.
        page = last.pdf.pages[index if index < len(last.pdf.pages) else 0]
        _add_text(last, page, Added(source, placed, options))

    def save(self) -> bytes:
        """Return the PDF: one input with all its pages, or the pages of several inputs that were read."""
        import pikepdf

        documents = self._documents
        for each in documents:
            each.font.finish()
        if not documents:
            raise OutputError("no page could be read, so there is no PDF: see the errors above")
        if len(documents) == 1:
            merged = documents[0].pdf
        else:
            merged = pikepdf.Pdf.new()
            for each in documents:
                _append(merged, each.pdf, each.pages if each.is_pdf else [0])
        # A PDF keeps its form: PDF/A-1 has no object streams.
        modes = pikepdf.ObjectStreamMode
        buffer = io.BytesIO()
        merged.save(
            buffer, object_stream_mode=modes.preserve if any(each.is_pdf for each in documents) else modes.generate
        )
        return buffer.getvalue()


def _append(merged: pikepdf.Pdf, document: pikepdf.Pdf, pages: list[int]) -> None:
    """Append pages of a PDF, and the form fields, bookmarks and layers that belong to them, if pikepdf (10.18) can copy those."""
    if hasattr(merged, "add_pages_from"):
        merged.add_pages_from(document, pages)
    else:
        merged.pages.extend(document.pages[i] for i in pages)


def searchable(results: Iterable[RecognizedPage]) -> bytes:
    """Return a searchable PDF of pages."""
    document = SearchablePDF()
    for result in results:
        document.add(result)
    return document.save()


def searchable_file(data: bytes, pages: Iterable[PlacedPage], options: InputOptions) -> bytes:
    """Return a searchable PDF of the content of a file and the text of its first pages."""
    if documents.is_pdf(data) and options.pdf_text != "force":
        sources: Iterable[Page | InputError] = (Page(NO_PIXELS, index=index) for index in itertools.count())
    else:
        # In a decoding process, which cannot start another one.
        sources = documents.read_file(data, None, replace(options, pdf_timeout=0))
    document = SearchablePDF()
    for placed, source in zip(pages, sources, strict=False):
        document.add_placed(replace(unwrap(source), content=data), placed, options)
    return document.save()


def _opened(source: Page, password: str | None) -> _Document:
    """Open the input of a page as a PDF. Raises OutputError if it cannot be read any more."""
    import pikepdf

    data = _content(source)
    is_pdf = data is not None and documents.is_pdf(data)
    try:
        document = pikepdf.Pdf.open(
            io.BytesIO(data if is_pdf and data else _image_pdf(data, source)), password=password or ""
        )
    except pikepdf.PdfError as error:
        raise OutputError(
            f"{source.path or 'the input'} cannot be written as a searchable PDF: {error}; print it to a new PDF"
        ) from error
    return _Document(document, GlyphlessFont(document), source.path, source.content, is_pdf)


def _content(source: Page) -> bytes | None:
    """Return the content of the input's file; None if it is an array, or the file is a URL's."""
    if source.content is not None or source.path is None:
        return source.content
    path = Path(source.path)
    try:
        return path.read_bytes() if path.is_file() else None
    except OSError as error:
        raise OutputError(
            f"{source.path} cannot be read again: {error.strerror}; keep it until the PDF is written"
        ) from error


def _image_pdf(data: bytes | None, source: Page) -> bytes:
    """Return a PDF with an image, whose data are kept if PDF supports its format; else with the decoded page."""
    import img2pdf

    # A TIFF can also contain previews, which img2pdf takes for pages.
    if data is not None and source.index is None and not _is_turned_tiff(data):
        try:
            return bytes(img2pdf.convert(data, nodate=True, first_frame_only=True, layout_fun=_layout))
        except (
            img2pdf.AlphaChannelError,
            img2pdf.ImageOpenError,
            img2pdf.JpegColorspaceError,
            img2pdf.UnsupportedColorspaceError,
            img2pdf.ExifOrientationError,
            ValueError,  # A TIFF with more than 8 bits per sample.
        ):
            pass
    resolution = source.resolution or DEFAULT_RESOLUTION
    _, encoded = cv2.imencode(".png", source.image)
    return bytes(
        img2pdf.convert(
            encoded.tobytes(),
            nodate=True,
            layout_fun=lambda width, height, _: _layout(width, height, (resolution, resolution)),
        )
    )


def _is_turned_tiff(data: bytes) -> bool:
    """Return whether an image is a TIFF with an orientation: Pillow turns its pixels, and img2pdf would turn the page as well."""
    if not data.startswith(tiff.SIGNATURES):
        return False
    with decoder_errors("the input"), PIL.Image.open(io.BytesIO(data), formats=("TIFF",)) as picture:
        return orientation_of(picture) != 1


def _layout(width: int, height: int, resolutions: tuple[float, float]) -> tuple[float, float, float, float]:
    """Return width and height of a page and of the image on it, in points, for an image of so many pixels.

    An image that is too long for its resolution is reduced, and a very thin one is stretched.
    """
    sides = [POINTS_PER_INCH * side / per_inch for side, per_inch in zip((width, height), resolutions, strict=True)]
    least, most = SIDES
    reduced = min(most / max(sides), 1)
    across, down = (min(max(side * reduced, least), most) for side in sides)
    return across, down, across, down


def _add_text(document: _Document, page: pikepdf.Page, added: Added) -> None:
    """Add the layer of text to a page, as `pdf_text` requires."""
    import pikepdf

    policy = added.options.pdf_text or "skip"
    if added.placed.from_pdf:
        return
    if document.is_pdf and policy != "force":
        modes = pdf_text.rendering_modes(page)
        if modes and (policy == "skip" or modes != {INVISIBLE}):
            return
        if modes:
            pdf_text.remove_invisible(page, document.pdf)
    frame = frame_of(page)
    if document.is_pdf and policy == "force":
        _replace_by_image(document.pdf, page, added.source, frame)
    page.add_resource(document.font.object, pikepdf.Name.Font, pikepdf.Name(FONT_NAME), replace_existing=True)
    text = "\n".join(layer(added.placed, frame, document.font))
    page.contents_add(b"q\n", prepend=True)
    page.contents_add(b"\nQ\n" + text.encode("ascii"))


def _replace_by_image(document: pikepdf.Pdf, page: pikepdf.Page, source: Page, frame: Frame) -> None:
    """Replace the content of a page by its image."""
    from pikepdf import Dictionary, Name, Stream

    height, width = source.image.shape[:2]
    _, encoded = cv2.imencode(".jpg", source.image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    image = Stream(
        document,
        encoded.tobytes(),
        Type=Name.XObject,
        Subtype=Name.Image,
        Width=width,
        Height=height,
        ColorSpace=Name.DeviceRGB,
        BitsPerComponent=8,
        Filter=Name.DCTDecode,
    )
    page.obj["/Resources"] = Dictionary(XObject=Dictionary({IMAGE_NAME: document.make_indirect(image)}))
    drawn = f"q {numbers(frame.matrix)} cm {frame.width:.2f} 0 0 {frame.height:.2f} 0 0 cm {IMAGE_NAME} Do Q"
    page.obj["/Contents"] = document.make_indirect(Stream(document, drawn.encode("ascii")))
