"""Convert the result of a page to the dictionary that PaddleOCR writes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ocr_onnx.outputs.paddle_words import PaddleWord, find_words

if TYPE_CHECKING:
    from ocr_onnx.types import Page, Quad, RecognizedPage, TextBox, TextLine

DETECTION_PARAMETERS = ("limit_side_len", "limit_type", "thresh", "max_side_limit", "box_thresh", "unclip_ratio")
"""The detection options that PaddleOCR includes in a result."""

OFF = -1
"""PaddleOCR's value for the angle of a disabled stage."""


def to_dict(result: RecognizedPage) -> dict[str, Any]:
    """Return PaddleOCR's dictionary for a page, in JSON types and in the order of `in_order`, plus `dt_scores`, which its documentation describes, and `warnings` if there are any."""
    options, (boxes, lines) = result.options, in_order(result)
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
        "input_path": printable_path(result.source),
        "page_index": result.source.index,
        "model_settings": {
            "use_doc_preprocessor": preprocessed,
            "use_textline_orientation": options.use_textline_orientation,
        },
        **({"doc_preprocessor_res": preprocessor} if preprocessed else {}),
        "dt_polys": [box.quad.tolist() for box in boxes],
        "dt_scores": [box.score for box in boxes],
        "text_det_params": {name: getattr(options.detection, name) for name in DETECTION_PARAMETERS},
        "text_type": "general",
        "textline_orientation_angles": [OFF if b.upside_down is None else int(b.upside_down) for b in boxes],
        "text_rec_score_thresh": options.recognition.score_thresh,
        "return_word_box": options.return_word_box,
        "rec_texts": [line.text for line in lines],
        "rec_scores": [line.score for line in lines],
        "rec_polys": [line.box.quad.tolist() for line in lines],
        "rec_boxes": [bounding_box(line.box.quad) for line in lines],
        **(_words(lines) if options.return_word_box else {}),
        **({"warnings": list(result.warnings)} if result.warnings else {}),
    }


def in_order(result: RecognizedPage) -> tuple[Sequence[TextBox], Sequence[TextLine]]:
    """Return the boxes and the lines of a page in PaddleOCR's order, or column by column if that is requested."""
    if result.options.reading_order == "columns":
        used = {id(line.box) for line in result.lines}
        dropped = (box for box in result.boxes if id(box) not in used)
        return [*(line.box for line in result.lines), *dropped], result.lines
    places = {id(box): place for place, box in enumerate(result.boxes)}
    return result.boxes, sorted(result.lines, key=lambda line: places.get(id(line.box), len(places)))


def _words(lines: Sequence[TextLine]) -> dict[str, Any]:
    """Return the text and the bounding box of each word, by line."""
    words = words_of(lines)
    return {
        "text_word_boxes": [[bounding_box(word.box) for word in of_line] for of_line in words],
        "text_word": [[word.text for word in of_line] for of_line in words],
    }


def words_of(lines: Sequence[TextLine]) -> list[tuple[PaddleWord, ...]]:
    """Return PaddleOCR's words of each line."""
    return [find_words(line.columns, line.box.quad) for line in lines]


def bounding_box(quad: Quad) -> list[int]:
    """Return the bounding box [left, top, right, bottom] of a box, in pixels."""
    return [*quad.min(axis=0).tolist(), *quad.max(axis=0).tolist()]


def printable_path(page: Page) -> str | None:
    """Return the path of the page; bytes that are not UTF-8 become replacement characters, so that it can be written."""
    return None if page.path is None else os.fsencode(page.path).decode("utf-8", "replace")
