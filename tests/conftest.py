"""What several tests need: the real engine, a metadata record of each task, and the pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocr_onnx import OCR
from ocr_onnx.metadata import ModelMetadata

PAGES = Path(__file__).parent / "pages"

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DETECTION = ModelMetadata("det", "text_detection", "BGR", 1 / 255, MEAN, STD, postprocess={"max_candidates": 1000})
RECOGNITION = ModelMetadata(
    "rec", "text_recognition", "BGR", 1 / 255, (0.5,) * 3, (0.5,) * 3, (3, 48, 320), charset=tuple("abcde ")
)
PAGE = ModelMetadata(
    "page", "doc_orientation", "RGB", 1 / 255, MEAN, STD, (3, 224, 224), resize_short=256, labels=("0", "90")
)
LINE = ModelMetadata("line", "textline_orientation", "RGB", 1 / 255, MEAN, STD, (3, 80, 160), labels=("0", "180"))
UNWARPING = ModelMetadata("UVDoc", "image_unwarping", "BGR", 1 / 255, (0.0,) * 3, (1.0,) * 3)


@pytest.fixture(scope="session")
def ocr() -> OCR:
    """The engine with the embedded models."""
    return OCR()
