"""Reads all pictures that a file names, in one call of ocr-onnx's predict_iter, from their bytes."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.runners.protocol import Line, Reader, Settings, serve
from ocr_onnx import OCR, DetectionOptions, OCROptions


def prepare(settings: Settings) -> Reader:
    """As benchmarks.runners.ocr_onnx, for many pictures at once."""
    detection = DetectionOptions(limit_side_len=settings.side, limit_type="max")
    off = OCROptions(use_doc_orientation_classify=False, use_textline_orientation=False, detection=detection)
    ocr = OCR(off, cpu_threads=settings.threads)

    def read(path: str) -> list[Line]:
        files = [Path(file).read_bytes() for file in json.loads(Path(path).read_text("utf-8"))]
        return [Line(line.text, line.box.quad.tolist()) for page in ocr.predict_iter(files) for line in page.lines]

    return read


if __name__ == "__main__":
    serve(prepare, ("ocr-onnx", "onnxruntime"))
