"""The models of benchmarks whose results are documented for PP-OCRv5 mobile."""

from __future__ import annotations

from ocr_onnx import Models

VERSION_5 = Models("PP-OCRv5_mobile_det", "PP-OCRv5_mobile_rec")
