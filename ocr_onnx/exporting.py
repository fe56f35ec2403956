"""A result as a dictionary of PaddleOCR's shape, and as files with the names PaddleOCR gives them."""

from __future__ import annotations

import datetime as dt
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import PIL.Image

from ocr_onnx.results import OCRResult
from ocr_onnx.types import Page, Quad

OFF = -1
"""What PaddleOCR writes for the angle of a stage that was off."""


def to_dict(result: OCRResult) -> dict[str, Any]:
    """The dictionary that PaddleOCR writes for a page, key by key."""
    options, lines = result.options, result.lines
    input_path = result.source.path
    preprocessor = {
        "input_path": None,
        "page_index": None,
        "model_settings": {
            "use_doc_orientation_classify": options.use_doc_orientation_classify,
            "use_doc_unwarping": False,
        },
        "angle": OFF if result.angle is None else result.angle,
    }
    return {
        "input_path": input_path,
        "page_index": result.source.index,
        "model_settings": {
            "use_doc_preprocessor": options.use_doc_orientation_classify,
            "use_textline_orientation": options.use_textline_orientation,
        },
        **({"doc_preprocessor_res": preprocessor} if options.use_doc_orientation_classify else {}),
        "dt_polys": [box.quad.tolist() for box in result.boxes],
        "dt_scores": [box.score for box in result.boxes],
        "text_det_params": asdict(options.detection),
        "text_type": "general",
        "textline_orientation_angles": [OFF if b.upside_down is None else int(b.upside_down) for b in result.boxes],
        "text_rec_score_thresh": options.recognition.score_thresh,
        "rec_texts": [line.text for line in lines],
        "rec_scores": [line.score for line in lines],
        "rec_polys": [line.box.quad.tolist() for line in lines],
        "rec_boxes": [bounds(line.box.quad) for line in lines],
    }


def bounds(quad: Quad) -> list[int]:
    """[left, top, right, bottom] of a box."""
    return [*quad.min(axis=0).tolist(), *quad.max(axis=0).tolist()]


def save_json(result: OCRResult, target: Path, indent: int, *, ensure_ascii: bool) -> Path:
    """Write the dictionary to a .json file, or to a folder under the input's name."""
    file = target if target.suffix == ".json" else target / f"{stem(result.source)}_res.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(to_dict(result), indent=indent, ensure_ascii=ensure_ascii), "utf-8")
    return file


def save_pictures(result: OCRResult, target: Path) -> list[Path]:
    """Write the pictures to a file (the last one stays, as in PaddleOCR), or to a folder under the input's name."""
    pictures = result.img
    if target.suffix.lower() in _writable():
        files = [target for _ in pictures]
    else:
        suffix = Path(result.source.path or "").suffix
        suffix = suffix if suffix.lower() in _writable() else ".png"
        name = stem(result.source)
        files = [target / f"{name}_{key}{suffix}" for key in pictures]
    for file, picture in zip(files, pictures.values(), strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.save(file)
    return files


def stem(page: Page) -> str:
    """What the files of a page begin with: its file's name, and its number in it; for an array a time and chance."""
    if page.path is None:
        return f"{dt.datetime.now(dt.UTC):%Y%m%d%H%M%S}_{secrets.token_hex(2)}"
    name = Path(page.path).stem
    return name if page.index is None else f"{name}_{page.index}"


def _writable() -> Sequence[str]:
    """The suffixes of pictures that can be written."""
    PIL.Image.init()
    return [s for s, form in PIL.Image.registered_extensions().items() if form in PIL.Image.SAVE and form != "PDF"]
