"""Read with RapidOCR.

Variants: `onnxruntime`, `openvino` (its default precision), `openvino-float32`, `onnxruntime-cuda`; `defaults`: ONNX Runtime and
RapidOCR's own options.
"""

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
    ocr = RapidOCR(params=_parameters(settings))

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


def _parameters(settings: Settings) -> dict[str, Any]:
    """The parameters, the same for all libraries; its own with the variant `defaults`."""
    common = {
        "Global.log_level": "error",
        "EngineConfig.onnxruntime.intra_op_num_threads": settings.threads,
    }
    if settings.variant == "defaults":
        return common
    engine = EngineType(settings.variant.partition("-")[0])
    return {
        **common,
        "Global.use_cls": False,
        "Det.engine_type": engine,
        "Det.limit_side_len": settings.side,
        "Det.limit_type": "max",
        "Rec.engine_type": engine,
        "EngineConfig.onnxruntime.use_cuda": settings.variant == "onnxruntime-cuda",
        "EngineConfig.openvino.inference_num_threads": settings.threads,
        **_models(settings),
    }


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
