"""A script as a user of PaddleOCR writes it; tests/paddle/test_paddleocr.py runs it with another import and compares.

python script.py PAGES OUTCOME.jsonl [PART ...]

A part is `mobile`, the models of PP-OCRv5, or an older version; without one, all are played.
"""

import inspect
import itertools
import json
import sys
import tempfile
import warnings
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
from paddleocr import PaddleOCR

PAGES, OUTCOME = Path(sys.argv[1]), Path(sys.argv[2])
VERSIONS = ["PP-OCRv4", "PP-OCRv3"]
PARTS = sys.argv[3:] or ["mobile", *VERSIONS]
MOBILE = {
    "text_detection_model_name": "PP-OCRv5_mobile_det",
    "text_recognition_model_name": "PP-OCRv5_mobile_rec",
    "use_doc_orientation_classify": False,
    "use_doc_unwarping": False,
    "use_textline_orientation": False,
    "device": "cpu",
    "enable_mkldnn": False,
}
ON = {"use_doc_orientation_classify": True, "use_textline_orientation": True}
LINES = {"use_textline_orientation": True}

CONSTRUCTED = {
    "all stages": (ON, ["turned-90.png", "mixed.png", "blank.png"]),
    "no stage": ({}, ["sign.png", "blank.png"]),
    "page orientation": ({"use_doc_orientation_classify": True}, ["turned-180.png"]),
    "line orientation": (LINES, ["mixed.png"]),
    "thresh 0.2": ({"text_det_thresh": 0.2}, ["noisy.jpg"]),
    "thresh 0.6": ({"text_det_thresh": 0.6}, ["noisy.jpg"]),
    "box_thresh 0.4": ({"text_det_box_thresh": 0.4}, ["noisy.jpg"]),
    "box_thresh 0.85": ({"text_det_box_thresh": 0.85}, ["noisy.jpg"]),
    "unclip 1.2": ({"text_det_unclip_ratio": 1.2}, ["tilted.png"]),
    "unclip 2.5": ({"text_det_unclip_ratio": 2.5}, ["tilted.png"]),
    "limit min": ({"text_det_limit_side_len": 736, "text_det_limit_type": "min"}, ["sign.png"]),
    "limit max": ({"text_det_limit_side_len": 480, "text_det_limit_type": "max"}, ["receipt.png"]),
    "detection shape": ({"text_det_input_shape": (3, 640, 640)}, ["sign.png"]),
    "detection shape, flat": ({"text_det_input_shape": (3, 320, 512)}, ["letter.png"]),
    "recognition shape": ({"text_rec_input_shape": (3, 48, 320)}, ["sign.png"]),
    "recognition shape, wide": ({"text_rec_input_shape": (3, 48, 640)}, ["letter.png"]),
    "score_thresh 0.9": ({"text_rec_score_thresh": 0.9}, ["noisy.jpg"]),
    "score_thresh 0.99": ({"text_rec_score_thresh": 0.99}, ["sign.png"]),
    "recognition batch 1": ({"text_recognition_batch_size": 1}, ["receipt.png"]),
    "recognition batch 6": ({"text_recognition_batch_size": 6}, ["receipt.png"]),
    "recognition batch 32": ({"text_recognition_batch_size": 32}, ["receipt.png"]),
    "line batch 1": (LINES | {"textline_orientation_batch_size": 1}, ["mixed.png"]),
    "line batch 32": (LINES | {"textline_orientation_batch_size": 32}, ["mixed.png"]),
    "word boxes": ({"return_word_box": True}, ["letter.png", "cjk.png", "tilted.png"]),
    "old names": ({"det_db_thresh": 0.4, "det_db_box_thresh": 0.7, "det_db_unclip_ratio": 1.8}, ["noisy.jpg"]),
    "more old names": ({"det_limit_side_len": 480, "det_limit_type": "max", "rec_batch_num": 2}, ["receipt.png"]),
}

CALLED = {
    "stages of one call": (ON, {"use_doc_orientation_classify": False, "use_textline_orientation": False}),
    "thresholds of one call": ({}, {"text_det_thresh": 0.5, "text_det_box_thresh": 0.7, "text_det_unclip_ratio": 2.0}),
    "limits of one call": ({}, {"text_det_limit_side_len": 320, "text_det_limit_type": "max"}),
    "score_thresh of one call": ({}, {"text_rec_score_thresh": 0.97}),
    "word boxes of one call": ({}, {"return_word_box": True}),
}


def describe(result):
    """What a result holds, and of which types."""
    found = dict(result.json["res"])
    if found["input_path"] is not None:
        found["input_path"] = Path(found["input_path"]).name
    types = {key: type(value).__name__ for key, value in result.items()}
    dtypes = {key: str(np.asarray(result[key]).dtype) for key in ("dt_polys", "rec_polys", "rec_boxes")}
    return {"res": found, "types": types, "dtypes": dtypes}


def files(result):
    """What saving writes."""
    with tempfile.TemporaryDirectory() as folder:
        result.save_to_json(folder)
        result.save_to_img(folder)
        result.save_to_json(str(Path(folder, "named.json")))
        written = json.loads(Path(folder, "named.json").read_text("utf-8"))
        names = sorted(path.name for path in Path(folder).iterdir())
    width, height = result.img["ocr_res_img"].size
    return {"files": names, "keys": sorted(result.img), "size": [width, height], "same": written == result.json["res"]}


def mobile():
    """Each way of using it, by name."""
    for name, (settings, images) in CONSTRUCTED.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ocr = PaddleOCR(**{**MOBILE, **settings})
        yield name, [describe(result) for image in images for result in ocr.predict(str(PAGES / image))]
    for name, (settings, given) in CALLED.items():
        ocr = PaddleOCR(**{**MOBILE, **settings})
        before = ocr.predict(str(PAGES / "sign.png"))[0].json["res"]["rec_texts"]
        yield name, [describe(result) for result in ocr.predict(str(PAGES / "sign.png"), **given)]
        yield f"{name}, and after it", before == ocr.predict(str(PAGES / "sign.png"))[0].json["res"]["rec_texts"]

    ocr = PaddleOCR(**{**MOBILE, **ON})
    yield "saving", files(ocr.predict(str(PAGES / "turned-90.png"))[0])
    array = cv2.imread(str(PAGES / "sign.png"))
    yield "an array", [describe(result) for result in ocr.predict(array)]
    yield "a list", [describe(result) for result in ocr.predict([str(PAGES / "tiny.png"), array])]
    pages = ocr.predict_iter([str(PAGES / "tiny.png"), str(PAGES / "wide.png")])
    yield "a generator", [inspect.isgenerator(pages) or hasattr(pages, "__next__"), *map(describe, pages)]
    with tempfile.TemporaryDirectory() as folder:
        document = Path(folder, "two.pdf")
        first, second = (PIL.Image.open(PAGES / name).convert("RGB") for name in ("sign.png", "letter.png"))
        first.save(document, save_all=True, append_images=[second], resolution=144)
        results = ocr.predict(str(document))
        yield "a document", [describe(result) for result in results]
        yield "saving a page", files(results[1])
        config = Path(folder, "pipeline.yml")
        settings = {**MOBILE, "text_det_thresh": 0.4, "text_rec_score_thresh": 0.8, "text_recognition_batch_size": 3}
        PaddleOCR(**settings).export_paddlex_config_to_yaml(str(config))
        names = {key: value for key, value in MOBILE.items() if key.endswith("_model_name")}
        again = PaddleOCR(paddlex_config=str(config), device="cpu", enable_mkldnn=False, **names)
        yield "a pipeline file", [describe(result) for result in again.predict(str(PAGES / "noisy.jpg"))]

    yield "refused", list(refused())


def older():
    """The versions before, by name."""
    for version in [part for part in PARTS if part in VERSIONS]:
        settings = {key: value for key, value in MOBILE.items() if not key.endswith("_model_name")}
        ocr = PaddleOCR(ocr_version=version, **settings)
        yield version, [describe(result) for result in ocr.predict(str(PAGES / "letter.png"))]


def refused():
    """What is not taken, and as what."""
    wrong = [{"foo": 1}, {"det_db_thresh": 0.2, "text_det_thresh": 0.2}, {"ocr_version": "PP-OCRv9"}]
    for settings in wrong:
        try:
            PaddleOCR(**{**MOBILE, **settings})
        except ValueError:
            yield True
        else:
            yield False


with OUTCOME.open("w", encoding="utf-8") as file:
    for title, outcome in itertools.chain(mobile() if "mobile" in PARTS else (), older()):
        file.write(json.dumps({"name": title, "outcome": outcome}, ensure_ascii=False) + "\n")
