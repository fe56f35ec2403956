"""Reads by RapidOCR: variant `onnxruntime`, `openvino` (its default precision) or `openvino-float32`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rapidocr import EngineType, RapidOCR

from benchmarks.runners.protocol import Line, Reader, Settings, serve


def prepare(settings: Settings) -> Reader:
    """Its pipeline without line orientation; all thresholds are its own."""
    if settings.variant == "openvino-float32":
        _ask_for_float32()
    engine = EngineType(settings.variant.partition("-")[0])
    ocr = RapidOCR(
        params={
            "Global.use_cls": False,
            "Global.log_level": "error",
            "Det.engine_type": engine,
            "Det.model_path": str(Path(settings.detection) / "inference.onnx"),
            "Det.limit_side_len": settings.side,
            "Det.limit_type": "max",
            "Rec.engine_type": engine,
            "Rec.model_path": str(Path(settings.recognition) / "inference.onnx"),
            "Rec.rec_keys_path": str(Path(settings.recognition) / "characters.txt"),
            "EngineConfig.onnxruntime.intra_op_num_threads": settings.threads,
            "EngineConfig.openvino.inference_num_threads": settings.threads,
        }
    )

    def read(path: str) -> list[Line]:
        page: Any = ocr(path)
        if page.boxes is None:
            return []
        return [Line(text, quad.tolist()) for text, quad in zip(page.txts, page.boxes, strict=True)]

    return read


def _ask_for_float32() -> None:
    """RapidOCR has no option for it, and OpenVINO computes in bfloat16 where the processor can."""
    from rapidocr.inference_engine.openvino.device_config import CPUConfig

    get_config = CPUConfig.get_config
    CPUConfig.get_config = lambda self: {**get_config(self), "INFERENCE_PRECISION_HINT": "f32"}


if __name__ == "__main__":
    serve(prepare, ("rapidocr", "onnxruntime", "openvino"))
