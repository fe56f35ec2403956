"""Read with a preset of ocr-onnx and its defaults; the variant is its name, or paddleocr for PaddleOCR's defaults."""

from __future__ import annotations

from benchmarks.runners.ocr_onnx import PACKAGES
from benchmarks.runners.protocol import Line, Reader, Settings, serve
from ocr_onnx import OCR, OCROptions


def prepare(settings: Settings) -> Reader:
    """Read a page as one text, in the order of reading."""
    if settings.variant == "paddleocr":
        ocr = OCR(OCROptions.paddleocr(), cpu_threads=settings.threads)
    else:
        ocr = OCR(preset=settings.variant, cpu_threads=settings.threads)

    def read(path: str) -> list[Line]:
        (result,) = ocr.predict(path)
        return [Line(result.text, [])]

    return read


if __name__ == "__main__":
    serve(prepare, PACKAGES)
