"""A result as a dictionary of PaddleOCR's shape, and as files with the names PaddleOCR gives them."""

from __future__ import annotations

import datetime as dt
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ocr_onnx.errors import OutputError
from ocr_onnx.results import OCRResult
from ocr_onnx.types import Page, Quad
from ocr_onnx.web import is_address

LONGEST_SIDE = {".png": 2**31, ".bmp": 2**31, ".tif": 2**31, ".tiff": 2**31} | {
    ".jpg": 65_500,
    ".jpeg": 65_500,
    ".webp": 16_383,
}
"""The suffixes of pictures that are written, and the longest side, in pixels, that each format holds."""

OFF = -1
"""What PaddleOCR writes for the angle of a stage that was off."""


def to_dict(result: OCRResult) -> dict[str, Any]:
    """The dictionary that PaddleOCR writes for a page; and `dt_scores`, which its documentation names as well."""
    options, lines = result.options, result.lines
    # What is no text in a path is marked, so that the dictionary can be written.
    path = result.source.path
    input_path = None if path is None else os.fsencode(path).decode("utf-8", "replace")
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
    text = json.dumps(to_dict(result), indent=indent, ensure_ascii=ensure_ascii)
    with _writing(file):
        file.write_text(text, "utf-8")
    return file


def save_pictures(result: OCRResult, target: Path) -> list[Path]:
    """Write the pictures to a file (the last one stays, as in PaddleOCR), or to a folder under the input's name."""
    files = []
    name, suffix = stem(result.source), _file(result.source.path or "").suffix
    for key, picture in result.img.items():
        if target.suffix.lower() in LONGEST_SIDE:
            file = target
        else:
            fits = max(picture.size) <= LONGEST_SIDE.get(suffix.lower(), 0)
            file = target / f"{name}_{key}{suffix if fits else '.png'}"
        with _writing(file):
            picture.save(file)
        files.append(file)
    return files


def stem(page: Page) -> str:
    """What the files of a page begin with: its file's name, and its number in it; for an array a time and chance."""
    if page.path is None:
        return f"{dt.datetime.now(dt.UTC):%Y%m%d%H%M%S}_{secrets.token_hex(2)}"
    name = _file(page.path).stem
    return name if page.index is None else f"{name}_{page.index}"


def _file(path: str) -> Path:
    """The file's name; of an address what stands before its query."""
    return Path(urlsplit(path).path if is_address(path) else path)


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    """Make the folder, and turn what the file system refuses into an error of ours."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise OutputError(f"{str(file)!r} cannot be written: {reason}; name a folder that can") from error
