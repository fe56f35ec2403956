"""Records what PaddleOCR itself reads on the pages here: `make golden` runs this where PaddleOCR 3.7.0 is installed.

python tests/pages/record.py WEIGHTS_CACHE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml
from paddleocr import PaddleOCR

from ocr_onnx import zoo
from ocr_onnx.converters.weights import fetch

HERE = Path(__file__).parent
SAMPLE = HERE.parents[1] / "ocr_onnx" / "sample.png"

LINE_MODEL = "PP-LCNet_x1_0_textline_ori"
"""Its Paddle weights are not to be had: PaddleOCR runs the ONNX export by its own onnxruntime engine."""

LINE_CONFIG = {
    "Global": {"model_name": LINE_MODEL},
    "PreProcess": {
        "transform_ops": [
            {"ResizeImage": {"size": [160, 80]}},
            {
                "NormalizeImage": {
                    "mean": [0.485, 0.456, 0.406],
                    "std": [0.229, 0.224, 0.225],
                    "scale": 1 / 255,
                    "order": "",
                    "channel_num": 3,
                }
            },
            {"ToCHWImage": None},
        ]
    },
    "PostProcess": {"Topk": {"topk": 1, "label_list": ["0_degree", "180_degree"]}},
}

KEYS = ("dt_polys", "text_det_params", "textline_orientation_angles", "rec_texts", "rec_scores", "rec_boxes")


def pipeline(cache: Path) -> PaddleOCR:
    """The General OCR pipeline on the embedded models' own weights, unwarping off, MKL-DNN off."""
    directories = {s.name: fetch(s.mirrors, cache / s.name, cache) for s in zoo.models().values() if s.embedded}
    (directories[LINE_MODEL] / "inference.yml").write_text(yaml.safe_dump(LINE_CONFIG))
    (export,) = zoo.spec(LINE_MODEL).mirrors[0].files
    (directories[LINE_MODEL] / export).replace(directories[LINE_MODEL] / "inference.onnx")

    def module(name: str, **settings: Any) -> dict[str, Any]:
        return {"model_name": name, "model_dir": str(directories[name]), **settings}

    limits = {"limit_side_len": 64, "limit_type": "min", "max_side_limit": 4000}
    thresholds = {"thresh": 0.3, "box_thresh": 0.6, "unclip_ratio": 1.5}
    orientation = module("PP-LCNet_x1_0_doc_ori", module_name="doc_text_orientation")
    config = {
        "pipeline_name": "OCR",
        "text_type": "general",
        "use_doc_preprocessor": True,
        "use_textline_orientation": True,
        "SubPipelines": {
            "DocPreprocessor": {
                "pipeline_name": "doc_preprocessor",
                "use_doc_orientation_classify": True,
                "use_doc_unwarping": False,
                "SubModules": {"DocOrientationClassify": orientation},
            }
        },
        "SubModules": {
            "TextDetection": module("PP-OCRv5_mobile_det", module_name="text_detection", **limits, **thresholds),
            "TextLineOrientation": module(
                LINE_MODEL, module_name="textline_orientation", batch_size=6, engine="onnxruntime"
            ),
            "TextRecognition": module(
                "PP-OCRv5_mobile_rec", module_name="text_recognition", batch_size=6, score_thresh=0.0
            ),
        },
    }
    # Without these names PaddleOCR puts its default models' into the configuration.
    names = {"text_detection_model_name": "PP-OCRv5_mobile_det", "text_recognition_model_name": "PP-OCRv5_mobile_rec"}
    return PaddleOCR(paddlex_config=config, device="cpu", enable_mkldnn=False, **names)


def record(ocr: PaddleOCR, image: Path) -> dict[str, Any]:
    """PaddleOCR's result for one image, less what is the same for all."""
    (result,) = ocr.predict(str(image))
    found = result.json["res"]
    line = {"image": image.name, "angle": found["doc_preprocessor_res"]["angle"]}
    line |= {key: found.get(key, []) for key in KEYS}
    line["rec_scores"] = [round(score, 6) for score in line["rec_scores"]]
    return line


def main() -> None:
    """Write golden.jsonl."""
    ocr = pipeline(Path(sys.argv[1]))
    images = [SAMPLE, *sorted(p for p in HERE.iterdir() if p.suffix in {".png", ".jpg"})]
    lines = [json.dumps(record(ocr, image), ensure_ascii=False) for image in images]
    (HERE / "golden.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
