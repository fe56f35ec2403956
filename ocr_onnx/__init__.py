"""PaddleOCR's text models on ONNX Runtime, where no Paddle is installed.

from ocr_onnx import OCR

for result in OCR().predict_iter("page.png"):
    print(result.text)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocr_onnx.errors import OCRError as OCRError
    from ocr_onnx.inputs.options import InputOptions as InputOptions
    from ocr_onnx.paddle.paddleocr import PaddleOCR as PaddleOCR
    from ocr_onnx.paddle.single_models import DocImgOrientationClassification as DocImgOrientationClassification
    from ocr_onnx.paddle.single_models import TextDetection as TextDetection
    from ocr_onnx.paddle.single_models import TextImageUnwarping as TextImageUnwarping
    from ocr_onnx.paddle.single_models import TextLineOrientationClassification as TextLineOrientationClassification
    from ocr_onnx.paddle.single_models import TextRecognition as TextRecognition
    from ocr_onnx.pipeline import OCR as OCR
    from ocr_onnx.pipeline import Models as Models
    from ocr_onnx.pipeline import OCROptions as OCROptions
    from ocr_onnx.results import OCRResult as OCRResult
    from ocr_onnx.stages.detection import DetectionOptions as DetectionOptions
    from ocr_onnx.stages.orientation import LineOrientationOptions as LineOrientationOptions
    from ocr_onnx.stages.orientation import PageOrientationOptions as PageOrientationOptions
    from ocr_onnx.stages.recognition import RecognitionOptions as RecognitionOptions
    from ocr_onnx.types import Orientation as Orientation
    from ocr_onnx.types import Page as Page
    from ocr_onnx.types import Text as Text
    from ocr_onnx.types import TextBox as TextBox
    from ocr_onnx.types import TextLine as TextLine
    from ocr_onnx.types import Word as Word

__version__ = "0.1.0"

_HOMES = {
    "DetectionOptions": "stages.detection",
    "DocImgOrientationClassification": "paddle.single_models",
    "InputOptions": "inputs.options",
    "LineOrientationOptions": "stages.orientation",
    "Models": "pipeline",
    "OCR": "pipeline",
    "OCRError": "errors",
    "OCROptions": "pipeline",
    "OCRResult": "results",
    "Orientation": "types",
    "PaddleOCR": "paddle.paddleocr",
    "Page": "types",
    "PageOrientationOptions": "stages.orientation",
    "RecognitionOptions": "stages.recognition",
    "Text": "types",
    "TextBox": "types",
    "TextDetection": "paddle.single_models",
    "TextImageUnwarping": "paddle.single_models",
    "TextLine": "types",
    "TextLineOrientationClassification": "paddle.single_models",
    "TextRecognition": "paddle.single_models",
    "Word": "types",
}

__all__ = ["__version__"]
__all__ += list(_HOMES)


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that importing the package loads neither cv2 nor ONNX Runtime."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ocr_onnx' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ocr_onnx.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
