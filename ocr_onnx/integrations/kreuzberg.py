"""A backend for kreuzberg: `register()`, then `ExtractionConfig(ocr=OcrConfig(backend="ocr-onnx"))`.

`pip install 'ocr-onnx[kreuzberg,cpu]'`.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import kreuzberg

from ocr_onnx import OCR, __version__

NAME = "ocr-onnx"


def register(ocr: OCR | None = None, languages: Sequence[str] = ("eng",)) -> None:
    """Make `ocr`, or the default models, a backend of kreuzberg. It may be asked for `languages`, which does not change the models."""
    kreuzberg.register_ocr_backend(OnnxBackend(ocr or OCR(), languages))


class OnnxBackend:
    """Reads the images, and the pages that kreuzberg renders."""

    def __init__(self, ocr: OCR, languages: Sequence[str]) -> None:
        self._ocr, self._languages = ocr, list(languages)

    def name(self) -> str:
        """Return the name by which OcrConfig chooses the backend."""
        return NAME

    def version(self) -> str:
        """Return the version of ocr-onnx."""
        return __version__

    def supported_languages(self) -> list[str]:
        """Return the languages for which kreuzberg may use the backend."""
        return self._languages

    def process_image(self, image_bytes: bytes, language: str) -> dict[str, Any]:  # noqa: ARG002 the interface
        """Read an image. Raises OCRError."""
        pages = self._ocr.predict(image_bytes)  # A TIFF can have several.
        height, width = pages[0].source.image.shape[:2]
        scores = [line.score for page in pages for line in page.lines]
        metadata = {"width": width, "height": height, "confidence": statistics.fmean(scores) if scores else 0.0}
        return {"content": "\n\n".join(page.text for page in pages), "metadata": metadata}
