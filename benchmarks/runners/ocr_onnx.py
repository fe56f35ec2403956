"""Read with ocr-onnx and its embedded models.

Variants with the default models: "default", "default-high-performance", and "default-exact", which reads the same text as PaddleOCR.
With PP-OCRv5 mobile: "", which reads the same text as PaddleOCR, and "high-performance". "fast" is the preset.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.runners.protocol import Line, Reader, Settings, serve
from benchmarks.versions import VERSION_5
from ocr_onnx import OCR, OCROptions, OCRResult
from ocr_onnx.runtime import openvino
from ocr_onnx.runtime.provider_specs import Mode

PACKAGES = ("ocr-onnx", "onnxruntime", *(("openvino",) if openvino.is_installed() else ()))

EXACT = ("", "default-exact")
"""The variants whose texts are PaddleOCR's."""


def engine(settings: Settings) -> OCR:
    """With both orientation stages off, and the size for detection that all are given."""
    mode: Mode = "high-performance" if settings.variant.endswith("high-performance") else "standard"
    options = OCROptions.high_performance() if mode == "high-performance" else OCROptions()
    if settings.variant in EXACT:
        options = OCROptions.paddleocr()
    detection = replace(options.detection, limit_side_len=settings.side, limit_type="max")
    # The others keep all texts.
    recognition = replace(options.recognition, score_thresh=0)
    off = replace(
        options,
        recognition=recognition,
        use_doc_orientation_classify=False,
        use_textline_orientation=False,
        detection=detection,
    )
    if settings.variant == "fast":
        return OCR(off, preset="fast", cpu_threads=settings.threads)
    models = None if settings.variant.startswith("default") else VERSION_5
    return OCR(off, models=models, mode=mode, cpu_threads=settings.threads)


def lines(result: OCRResult) -> list[Line]:
    """What was read on a page."""
    return [Line(line.text, line.box.quad.tolist()) for line in result.lines]


def prepare(settings: Settings) -> Reader:
    """Picture by picture."""
    ocr = engine(settings)

    def read(path: str) -> list[Line]:
        (result,) = ocr.predict(path)
        return lines(result)

    return read


if __name__ == "__main__":
    serve(prepare, PACKAGES)
