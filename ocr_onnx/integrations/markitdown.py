"""A plug-in for MarkItDown: `markitdown --use-plugins scan.pdf`, or `MarkItDown(enable_plugins=True).convert("scan.pdf")`.

MarkItDown finds it by the entry point of the group `markitdown.plugin`. `pip install 'ocr-onnx[markitdown,cpu]'`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, BinaryIO

from markitdown import DocumentConverter, DocumentConverterResult, MarkItDown, StreamInfo

from ocr_onnx import OCR
from ocr_onnx.inputs.sources import SUFFIXES
from ocr_onnx.outputs.formats import FORMATS

__plugin_interface_version__ = 1
"""MarkItDown's."""


def register_converters(markitdown: MarkItDown, *, ocr: OCR | None = None, **_: Any) -> None:
    """Let MarkItDown convert images and PDFs with `ocr`: an argument of MarkItDown; the default models if there is none."""
    markitdown.register_converter(OCRConverter(ocr))


class OCRConverter(DocumentConverter):  # type: ignore[misc]
    """Converts images and PDFs to Markdown. The text of a PDF is taken where it is sound."""

    def __init__(self, ocr: OCR | None = None) -> None:
        super().__init__()
        self._ocr = ocr

    def accepts(self, file_stream: BinaryIO, stream_info: StreamInfo, **_: Any) -> bool:  # noqa: ARG002 the interface
        """Return whether a file has the suffix of an image or of a PDF."""
        return (stream_info.extension or "").lower() in SUFFIXES

    def convert(self, file_stream: BinaryIO, stream_info: StreamInfo, **_: Any) -> DocumentConverterResult:  # noqa: ARG002
        """Read a file. Raises OCRError."""
        self._ocr = self._ocr or OCR()
        given = self._ocr.options.input
        options = replace(self._ocr.options, input=replace(given, pdf_text=given.pdf_text or "auto"))
        pages = self._ocr.predict_iter(file_stream.read(), options)
        return DocumentConverterResult("".join(FORMATS["markdown"].write(pages)))
