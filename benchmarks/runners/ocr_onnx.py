"""Reads by ocr-onnx, with the models that come with it."""

from __future__ import annotations

from benchmarks.runners.protocol import Line, Reader, Settings, serve
from ocr_onnx import OCR, DetectionOptions, OCROptions


def prepare(settings: Settings) -> Reader:
    """An engine with both orientation stages off."""
    detection = DetectionOptions(limit_side_len=settings.side, limit_type="max")
    off = OCROptions(use_doc_orientation_classify=False, use_textline_orientation=False, detection=detection)
    ocr = OCR(off, cpu_threads=settings.threads)

    def read(path: str) -> list[Line]:
        (result,) = ocr.predict(path)
        return [Line(line.text, line.box.quad.tolist()) for line in result.lines]

    return read


if __name__ == "__main__":
    serve(prepare, ("ocr-onnx", "onnxruntime"))
