"""A result as a dictionary of PaddleOCR's shape, and as files with the names PaddleOCR gives them."""

from __future__ import annotations

import datetime as dt
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ocr_onnx.errors import OutputError
from ocr_onnx.inputs.options import is_address
from ocr_onnx.results import OCRResult
from ocr_onnx.types import Page, Quad, TextLine

if TYPE_CHECKING:
    import PIL.Image

LONGEST_SIDE = {".png": 2**31, ".bmp": 2**31, ".tif": 2**31, ".tiff": 2**31} | {
    ".jpg": 65_500,
    ".jpeg": 65_500,
    ".webp": 16_383,
}
"""The suffixes of pictures that are written, and the longest side, in pixels, that each format holds."""

DETECTION_PARAMETERS = ("limit_side_len", "limit_type", "thresh", "max_side_limit", "box_thresh", "unclip_ratio")
"""Those that PaddleOCR names in a result."""

OFF = -1
"""What PaddleOCR writes for the angle of a stage that was off."""


def to_dict(result: OCRResult) -> dict[str, Any]:
    """The dictionary that PaddleOCR writes for a page; and `dt_scores`, which its documentation names as well."""
    options, lines = result.options, result.lines
    preprocessed = options.use_doc_orientation_classify or options.use_doc_unwarping
    preprocessor = {
        "input_path": None,
        "page_index": None,
        "model_settings": {
            "use_doc_orientation_classify": options.use_doc_orientation_classify,
            "use_doc_unwarping": options.use_doc_unwarping,
        },
        "angle": OFF if result.angle is None else result.angle,
    }
    return {
        "input_path": written_path(result.source),
        "page_index": result.source.index,
        "model_settings": {
            "use_doc_preprocessor": preprocessed,
            "use_textline_orientation": options.use_textline_orientation,
        },
        **({"doc_preprocessor_res": preprocessor} if preprocessed else {}),
        "dt_polys": [box.quad.tolist() for box in result.boxes],
        "dt_scores": [box.score for box in result.boxes],
        "text_det_params": {name: getattr(options.detection, name) for name in DETECTION_PARAMETERS},
        "text_type": "general",
        "textline_orientation_angles": [OFF if b.upside_down is None else int(b.upside_down) for b in result.boxes],
        "text_rec_score_thresh": options.recognition.score_thresh,
        "return_word_box": options.return_word_box,
        "rec_texts": [line.text for line in lines],
        "rec_scores": [line.score for line in lines],
        "rec_polys": [line.box.quad.tolist() for line in lines],
        "rec_boxes": [bounds(line.box.quad) for line in lines],
        **(_words(lines) if options.return_word_box else {}),
    }


def _words(lines: Sequence[TextLine]) -> dict[str, Any]:
    """The bounds of each line's words, and the words."""
    return {
        "text_word_boxes": [[bounds(word.box) for word in line.words or ()] for line in lines],
        "text_word": [[word.text for word in line.words or ()] for line in lines],
    }


def bounds(quad: Quad) -> list[int]:
    """[left, top, right, bottom] of a box."""
    return [*quad.min(axis=0).tolist(), *quad.max(axis=0).tolist()]


def written_path(page: Page) -> str | None:
    """The page's path; what is no text in it is marked, so that it can be written."""
    return None if page.path is None else os.fsencode(page.path).decode("utf-8", "replace")


def show(content: Mapping[str, Any], indent: int, *, formatted: bool, ensure_ascii: bool) -> None:
    """Print `content` as JSON, or on one line as a dictionary; in ASCII where the output's alphabet lacks a character."""
    text = json.dumps(content, indent=indent, ensure_ascii=ensure_ascii) if formatted else str(content)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(content, indent=indent) if formatted else ascii(content)
    print(text)  # noqa: T201


def save_json(content: Mapping[str, Any], page: Page, target: Path, indent: int, *, ensure_ascii: bool) -> Path:
    """Write what was found on a page to a .json file, or to a folder under the input's name."""
    file = target if target.suffix == ".json" else target / f"{stem(page)}_res.json"
    text = json.dumps(content, indent=indent, ensure_ascii=ensure_ascii)
    with _writing(file):
        file.write_text(text, "utf-8")
    return file


def save_pictures(pictures: Mapping[str, PIL.Image.Image], page: Page, target: Path) -> list[Path]:
    """Write pictures to a file (the last one stays, as in PaddleOCR), or to a folder under the input's name."""
    files = []
    name, suffix = stem(page), _file(page.path or "").suffix
    for key, picture in pictures.items():
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
