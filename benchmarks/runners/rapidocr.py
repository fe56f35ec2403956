"""Read with RapidOCR: variant `onnxruntime`, `openvino` (its default precision), `openvino-float32` or `onnxruntime-cuda`."""

from __future__ import annotations

from importlib.metadata import distributions
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
            "Rec.engine_type": engine,
            "EngineConfig.onnxruntime.intra_op_num_threads": settings.threads,
            "EngineConfig.onnxruntime.use_cuda": settings.variant == "onnxruntime-cuda",
            "EngineConfig.openvino.inference_num_threads": settings.threads,
        }
        | ({"Det.limit_side_len": settings.side, "Det.limit_type": "max"} if settings.side else {})
        | _models(settings)
    )

    on_cuda = settings.variant == "onnxruntime-cuda"
    if on_cuda:
        import onnxruntime

        # It does not load CUDA's libraries out of their Python packages.
        onnxruntime.preload_dlls()

    def read(path: str) -> list[Line]:
        page: Any = ocr(path)
        if on_cuda:
            _require_cuda(ocr)
        if page.boxes is None:
            return []
        return [Line(text, quad.tolist()) for text, quad in zip(page.txts, page.boxes, strict=True)]

    return read


def _models(settings: Settings) -> dict[str, str]:
    """The parameters that name the models; without, its own."""
    if not settings.detection:
        return {}
    return {
        "Det.model_path": str(Path(settings.detection) / "inference.onnx"),
        "Rec.model_path": str(Path(settings.recognition) / "inference.onnx"),
        "Rec.rec_keys_path": str(Path(settings.recognition) / "characters.txt"),
    }


def _require_cuda(ocr: Any) -> None:
    """RapidOCR goes on with the processor where CUDA does not work."""
    for stage in filter(None, (ocr.text_det, ocr.text_rec)):
        got = stage.session.session.get_providers()
        if got[0] != "CUDAExecutionProvider":
            raise RuntimeError(f"RapidOCR was asked for CUDA and has {', '.join(got)}: its time would not be CUDA's")


def _ask_for_float32() -> None:
    """RapidOCR has no option for it, and OpenVINO computes in bfloat16 if the processor supports it."""
    from rapidocr.inference_engine.openvino.device_config import CPUConfig

    get_config = CPUConfig.get_config
    CPUConfig.get_config = lambda self: {**get_config(self), "INFERENCE_PRECISION_HINT": "f32"}


if __name__ == "__main__":
    names = ("rapidocr", "onnxruntime", "onnxruntime-gpu", "openvino")
    serve(prepare, tuple(name for name in names if any(distributions(name=name))))
