"""Records what PaddleOCR itself reads on the pages here: `make golden` runs this where PaddleOCR 3.7.0 is installed.

python tests/pages/record.py WEIGHTS_CACHE
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paddleocr
import yaml
from paddleocr import PaddleOCR, TextDetection

from ocr_onnx.converters.weights import fetch
from ocr_onnx.models import zoo

HERE = Path(__file__).parent
SAMPLE = HERE.parents[1] / "ocr_onnx" / "sample.png"

DETECTION, RECOGNITION = "PP-OCRv5_mobile_det", "PP-OCRv5_mobile_rec"

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

Options = dict[str, Any]

OF_THE_MODEL = ("score_mode", "use_dilation", "max_candidates", "box_type")
"""Options of detection that PaddleOCR takes from the model's inference.yml alone."""

PIPELINE_CASES: tuple[tuple[Options, tuple[str, ...]], ...] = (
    ({"detection": {"input_shape": [3, 640, 960]}}, ("mixed.png", "tilted.png", "tiny.png", "turned-90.png")),
    ({"detection": {"input_shape": [3, 736, 320]}}, ("sign.png", "receipt.png")),
    ({"recognition": {"input_shape": [3, 48, 480]}}, ("sign.png", "letter.png", "cjk.png", "vertical.png")),
    (
        {"return_word_box": True},
        (
            *("letter.png", "cjk.png", "mixed.png", "tilted.png", "vertical.png", "receipt.png", "noisy.jpg"),
            *("dense.png", "turned-180.png", "tiny.png", "blank.png"),
        ),
    ),
    ({"detection": {"max_candidates": 4}}, ("letter.png",)),
    ({"detection": {"box_type": "poly"}}, ("letter.png", "tilted.png", "sign.png", "vertical.png", "blank.png")),
)
"""Options by the names that ocr_onnx.OCROptions has for them, and the pages they are recorded on."""

DETECTION_CASES: tuple[Options, ...] = (
    {},
    {"score_mode": "slow"},
    {"use_dilation": True},
    {"use_dilation": True, "score_mode": "slow"},
    {"max_candidates": 5},
    {"box_type": "poly"},
    {"box_type": "poly", "use_dilation": True},
)
"""For the detector by itself, without further options."""

DETECTION_PAGES = ("sign.png", "tilted.png", "noisy.jpg", "receipt.png")


def fetched(cache: Path) -> dict[str, Path]:
    """The directories of the embedded models' own weights."""
    directories = {s.name: fetch(s.mirrors, cache / s.name, cache) for s in zoo.models().values() if s.embedded}
    (directories[LINE_MODEL] / "inference.yml").write_text(yaml.safe_dump(LINE_CONFIG))
    (export,) = zoo.spec(LINE_MODEL).mirrors[0].files
    (directories[LINE_MODEL] / export).replace(directories[LINE_MODEL] / "inference.onnx")
    return directories


def pipeline(directories: dict[str, Path], options: Options) -> PaddleOCR:
    """The General OCR pipeline, unwarping off, MKL-DNN off."""

    def module(name: str, **settings: Any) -> dict[str, Any]:
        return {"model_name": name, "model_dir": str(directories[name]), **settings}

    limits = {"limit_side_len": 64, "limit_type": "min", "max_side_limit": 4000}
    thresholds = {"thresh": 0.3, "box_thresh": 0.6, "unclip_ratio": 1.5}
    detection, recognition = (
        {"input_shape": options.get(m, {}).get("input_shape")} for m in ("detection", "recognition")
    )
    orientation = module("PP-LCNet_x1_0_doc_ori", module_name="doc_text_orientation")
    config = {
        "pipeline_name": "OCR",
        # PaddleOCR crops polygons in pipelines of this type alone.
        "text_type": "seal" if options.get("detection", {}).get("box_type") == "poly" else "general",
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
            "TextDetection": module(DETECTION, module_name="text_detection", **limits, **thresholds, **detection),
            "TextLineOrientation": module(
                LINE_MODEL, module_name="textline_orientation", batch_size=6, engine="onnxruntime"
            ),
            "TextRecognition": module(
                RECOGNITION, module_name="text_recognition", batch_size=6, score_thresh=0.0, **recognition
            ),
        },
    }
    # Without these names PaddleOCR puts its default models' into the configuration.
    names = {"text_detection_model_name": DETECTION, "text_recognition_model_name": RECOGNITION}
    return PaddleOCR(paddlex_config=config, device="cpu", enable_mkldnn=False, **names)


def record(ocr: PaddleOCR, image: Path) -> dict[str, Any]:
    """PaddleOCR's result for one image, less what is the same for all."""
    (result,) = ocr.predict(str(image))
    found = result.json["res"]
    line = {"image": image.name, "angle": found["doc_preprocessor_res"]["angle"]}
    line |= {key: found.get(key, []) for key in KEYS}
    line["rec_scores"] = [round(score, 6) for score in line["rec_scores"]]
    return line


def changed(directory: Path, detection: Options, target: Path) -> Path:
    """A copy of a detector whose inference.yml asks for these options."""
    shutil.copytree(directory, target)
    yml = target / "inference.yml"
    config = yaml.safe_load(yml.read_text("utf-8"))
    config["PostProcess"] |= {key: value for key, value in detection.items() if key in OF_THE_MODEL}
    yml.write_text(yaml.safe_dump(config), "utf-8")
    return target


def pipeline_cases(directories: dict[str, Path], scratch: Path) -> Iterator[dict[str, Any]]:
    """What the pipeline says under PIPELINE_CASES."""
    for i, (options, images) in enumerate(PIPELINE_CASES):
        detector = changed(directories[DETECTION], options.get("detection", {}), scratch / f"pipeline{i}")
        ocr = pipeline(directories | {DETECTION: detector}, options)
        words = options.get("return_word_box", False)
        keys = ["dt_polys", "rec_texts", "rec_scores", *(["text_word", "text_word_boxes"] if words else [])]
        for image in images:
            (result,) = ocr.predict(str(HERE / image), return_word_box=words)
            found = result.json["res"]
            found["rec_scores"] = [round(score, 6) for score in found["rec_scores"]]
            yield {"image": image, "options": options} | {key: found[key] for key in keys}


def detection_cases(directories: dict[str, Path], scratch: Path) -> Iterator[dict[str, Any]]:
    """What the detector by itself says under DETECTION_CASES."""
    for i, options in enumerate(DETECTION_CASES):
        directory = changed(directories[DETECTION], options, scratch / f"detection{i}")
        detector = TextDetection(model_name=DETECTION, model_dir=str(directory), device="cpu", enable_mkldnn=False)
        for image in DETECTION_PAGES:
            (result,) = detector.predict(str(HERE / image))
            found = result.json["res"]
            scores = [round(score, 6) for score in found["dt_scores"]]
            yield {"image": image, "detection": options, "dt_polys": found["dt_polys"], "dt_scores": scores}


def write(name: str, lines: list[dict[str, Any]]) -> None:
    """A JSON object a line."""
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    (HERE / name).write_text(text + "\n", "utf-8")


PICTURES = [{"image": name} for name in ("sign.png", "vertical.png", "tilted.png", "turned-90.png", "blank.png")]

CUTS = [
    {"image": "letter.png", "cut": [47, 166, 796, 211]},
    {"image": "cjk.png", "cut": [40, 40, 439, 77]},
    {"image": "receipt.png", "cut": [192, 124, 254, 163]},
    {"image": "turned-180.png", "cut": [40, 400, 800, 450]},
    {"image": "sign.png", "cut": [74, 168, 340, 245]},
    {"image": "blank.png", "cut": [0, 0, 90, 30]},
]
"""Parts of pages, given as arrays; left, top, right, bottom."""

MODULES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("TextDetection", {}, {}),
    ("TextDetection", {"limit_side_len": 320, "limit_type": "min"}, {"unclip_ratio": 2.0}),
    ("TextDetection", {"thresh": 0.5, "box_thresh": 0.8}, {"limit_side_len": 480}),
    ("TextRecognition", {}, {}),
    ("TextRecognition", {}, {"batch_size": 4}),
    ("DocImgOrientationClassification", {}, {}),
    ("DocImgOrientationClassification", {"topk": 2}, {"batch_size": 2}),
    ("DocImgOrientationClassification", {}, {"topk": 4}),
    ("TextLineOrientationClassification", {}, {}),
    ("TextLineOrientationClassification", {"topk": 2}, {"batch_size": 4}),
]
"""The class of PaddleOCR, what it is made with, and what its predict is given."""

MODULE_MODELS = {
    "TextDetection": "PP-OCRv5_mobile_det",
    "TextRecognition": "PP-OCRv5_mobile_rec",
    "DocImgOrientationClassification": "PP-LCNet_x1_0_doc_ori",
    "TextLineOrientationClassification": LINE_MODEL,
}


def record_modules(directories: dict[str, Path]) -> list[dict[str, Any]]:
    """What the classes for single models give, page by page or in batches."""
    recorded = []
    for module, made_with, given in MODULES:
        name = MODULE_MODELS[module]
        engine = {"engine": "onnxruntime"} if name == LINE_MODEL else {"enable_mkldnn": False}
        model = getattr(paddleocr, module)(
            model_name=name, model_dir=str(directories[name]), device="cpu", **engine, **made_with
        )
        inputs = CUTS if module in {"TextRecognition", "TextLineOrientationClassification"} else PICTURES
        results = model.predict([load(each) for each in inputs], **given)
        line = {"module": module, "init": made_with, "predict": given, "inputs": inputs}
        line["results"] = [plain(result) for result in results]
        line["types"] = {key: type(value).__name__ for key, value in results[0].items()}
        # The pictures of the others need a font that PaddleX fetches.
        if module == "TextDetection":
            line["pictures"] = {key: type(value).__name__ for key, value in results[0].img.items()}
            with tempfile.TemporaryDirectory() as folder:
                results[0].save_to_json(folder)
                results[0].save_to_img(folder)
                line["files"] = sorted(path.name for path in Path(folder).iterdir())
        recorded.append(line)
    return recorded


def load(source: dict[str, Any]) -> str | np.ndarray:
    """A page's path, or a part of it in BGR."""
    path = str(HERE / source["image"])
    if "cut" not in source:
        return path
    left, top, right, bottom = source["cut"]
    return cv2.imread(path)[top:bottom, left:right].copy()


def plain(result: Any) -> dict[str, Any]:
    """A result's dictionary, paths without their folder."""
    found = result.json["res"]
    if found["input_path"] is not None:
        found["input_path"] = Path(found["input_path"]).name
    return found


def main() -> None:
    """Write golden.jsonl, options.jsonl and modules.jsonl."""
    directories = fetched(Path(sys.argv[1]))
    ocr = pipeline(directories, {})
    images = [SAMPLE, *sorted(p for p in HERE.iterdir() if p.suffix in {".png", ".jpg"})]
    write("golden.jsonl", [record(ocr, image) for image in images])
    write("modules.jsonl", record_modules(directories))
    with tempfile.TemporaryDirectory() as scratch:
        write(
            "options.jsonl", [*pipeline_cases(directories, Path(scratch)), *detection_cases(directories, Path(scratch))]
        )


if __name__ == "__main__":
    main()
