"""Read with PaddleOCR: variant `onnxruntime` or `mkldnn`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paddleocr import PaddleOCR

from benchmarks.runners.protocol import Clock, Line, Reader, Settings, serve

CLOCK = Clock()


def prepare(settings: Settings) -> Reader:
    """Its pipeline with all other stages off, its predictors timed."""
    engines: dict[str, dict[str, Any]] = {
        "onnxruntime": {"engine": "onnxruntime", "engine_config": {"intra_op_num_threads": settings.threads}},
        "mkldnn": {"engine": "paddle", "enable_mkldnn": True, "cpu_threads": settings.threads},
    }
    ocr = PaddleOCR(
        text_detection_model_name=Path(settings.detection).name,
        text_detection_model_dir=settings.detection,
        text_recognition_model_name=Path(settings.recognition).name,
        text_recognition_model_dir=settings.recognition,
        use_doc_orientation_classify=False,
        use_doc_unwarping=False,
        use_textline_orientation=False,
        text_det_limit_side_len=settings.side,
        text_det_limit_type="max",
        device="cpu",
        **engines[settings.variant],
    )
    _time_stages(ocr.paddlex_pipeline._pipeline)  # noqa: SLF001  (there is no public way to its predictors)

    def read(path: str) -> list[Line]:
        (page,) = ocr.predict(path)
        return [Line(text, quad.tolist()) for text, quad in zip(page["rec_texts"], page["rec_polys"], strict=True)]

    return read


def _time_stages(pipeline: Any) -> None:
    """`detection` and `recognition` are whole stages, `... model` the runs within them."""
    for name, predictor in {"detection": pipeline.text_det_model, "recognition": pipeline.text_rec_model}.items():
        predictor.runner = CLOCK.timed(f"{name} model", predictor.runner)
        predictor.process = CLOCK.timed(name, predictor.process)
    pipeline._crop_by_polys = CLOCK.timed("cropping", pipeline._crop_by_polys)  # noqa: SLF001
    pipeline.img_reader = CLOCK.timed("reading the file", pipeline.img_reader)


if __name__ == "__main__":
    serve(prepare, ("paddleocr", "paddlex", "paddlepaddle", "onnxruntime"), CLOCK)
