"""Run PaddleOCR's text models on ONNX Runtime, without installing Paddle.

from ocr_onnx import OCR

for result in OCR().predict_iter("page.png"):
    print(result.text)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocr_onnx.errors import OCRError
    from ocr_onnx.options import (
        DetectionOptions,
        InputOptions,
        LineOrientationOptions,
        Models,
        OCROptions,
        PageOrientationOptions,
        RecognitionOptions,
    )
    from ocr_onnx.paddle.paddleocr import PaddleOCR
    from ocr_onnx.paddle.single_models import (
        DocImgOrientationClassification,
        TextDetection,
        TextImageUnwarping,
        TextLineOrientationClassification,
        TextRecognition,
    )
    from ocr_onnx.pipeline import OCR
    from ocr_onnx.results import OCRResult, save
    from ocr_onnx.types import (
        Block,
        Character,
        Orientation,
        Page,
        Text,
        TextBox,
        TextLine,
        Word,
    )

__version__ = "0.2.0"

__all__ = [
    "OCR",
    "Block",
    "Character",
    "DetectionOptions",
    "DocImgOrientationClassification",
    "InputOptions",
    "LineOrientationOptions",
    "Models",
    "OCRError",
    "OCROptions",
    "OCRResult",
    "Orientation",
    "PaddleOCR",
    "Page",
    "PageOrientationOptions",
    "RecognitionOptions",
    "Text",
    "TextBox",
    "TextDetection",
    "TextImageUnwarping",
    "TextLine",
    "TextLineOrientationClassification",
    "TextRecognition",
    "Word",
    "__version__",
    "save",
]

_NAMES = {
    "options": (
        "DetectionOptions",
        "InputOptions",
        "LineOrientationOptions",
        "Models",
        "OCROptions",
        "PageOrientationOptions",
        "RecognitionOptions",
    ),
    "paddle.single_models": (
        "DocImgOrientationClassification",
        "TextDetection",
        "TextImageUnwarping",
        "TextLineOrientationClassification",
        "TextRecognition",
    ),
    "pipeline": ("OCR",),
    "errors": ("OCRError",),
    "results": ("OCRResult", "save"),
    "types": ("Block", "Character", "Orientation", "Page", "Text", "TextBox", "TextLine", "Word"),
    "paddle.paddleocr": ("PaddleOCR",),
}
"""The public names by the module of ocr_onnx that defines them."""


def __getattr__(name: str) -> object:
    """Import a public name at its first use: importing the package must load neither cv2 nor ONNX Runtime."""
    for module, names in _NAMES.items():
        if name in names:
            return getattr(importlib.import_module(f"ocr_onnx.{module}"), name)
    raise AttributeError(f"module 'ocr_onnx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
