"""Recognition of lines and pages that may be upside down, or that the model may not be able to read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ocr_onnx.options import RecognitionOptions
from ocr_onnx.stages import geometry
from ocr_onnx.stages.orientation import HALF_TURN
from ocr_onnx.types import Image, Orientation, Text, TextBox

LARGEST = 3
"""Lines that decide whether a page is upside down; more decide no better (docs/defaults.md)."""

DOUBTFUL = 0.95
"""The score of a text below which its line may be upside down: of 4 % of the lines of reports, 11 % of receipts and half of street
photographs (docs/defaults.md)."""

LEGIBLE = RecognitionOptions().score_thresh
"""The score of a text below which it is wrong, as the default says (docs/defaults.md), whichever texts are kept."""

SPARSE = 0.2
"""Characters of a line per height of the line along it, below which most of it was not read. A page of legible text has 0.5 to 4; of an
unknown script, some models read only the punctuation."""


def largest(crops: Sequence[Image]) -> list[Image]:
    """Return the crops of the LARGEST lines with the most pixels, largest first."""
    return sorted(crops, key=lambda crop: crop.shape[0] * crop.shape[1], reverse=True)[:LARGEST]


def are_upside_down(crops: Sequence[Image], recognize: Callable[[Sequence[Image]], list[Text]]) -> bool:
    """Return whether lines have higher scores upside down, in total."""
    texts = recognize([*crops, *(geometry.rotate(crop, HALF_TURN) for crop in crops)])
    scores = [text.score for text in texts]
    return sum(scores[len(crops) :]) > sum(scores[: len(crops)])


def read_oriented(
    boxes: Sequence[TextBox],
    crops: Sequence[Image],
    classify: Callable[[Sequence[Image]], list[Orientation]],
    recognize: Callable[[Sequence[Image]], list[Text]],
    score_thresh: float,
) -> tuple[list[TextBox], list[Text]]:
    """Return the boxes with the orientation of their lines, and the texts of the lines.

    The lines are recognized as they are. Those whose text has a score below DOUBTFUL are classified; a line that seems upside
    down is recognized the other way too, and the reading with the higher score is kept: the classifier takes some short lines
    for upside down, but their wrong reading has a low score. From a classifier's score of `score_thresh`, the other reading is
    kept without comparison. With a `score_thresh` of 0, as in PaddleOCR, all lines are classified and rotated before they are
    recognized.
    """
    if not score_thresh:
        return _rotated_first(boxes, crops, classify(crops), recognize)
    texts, oriented = recognize(crops), [replace(box, upside_down=False) for box in boxes]
    doubtful = [i for i, text in enumerate(texts) if text.score < DOUBTFUL]
    found = dict(zip(doubtful, classify([crops[i] for i in doubtful]), strict=True))
    suspected = [i for i in doubtful if found[i].angle == HALF_TURN]
    others = dict(zip(suspected, recognize([geometry.rotate(crops[i], HALF_TURN) for i in suspected]), strict=True))
    for i, (_, score) in found.items():
        upside_down = i in others and (score >= score_thresh or others[i].score > texts[i].score)
        oriented[i] = replace(boxes[i], upside_down=upside_down, orientation_score=score)
        if upside_down:
            texts[i] = others[i]
    return oriented, texts


def _rotated_first(
    boxes: Sequence[TextBox],
    crops: Sequence[Image],
    orientations: Sequence[Orientation],
    recognize: Callable[[Sequence[Image]], list[Text]],
) -> tuple[list[TextBox], list[Text]]:
    texts = recognize([geometry.rotate(crop, angle) for crop, (angle, _) in zip(crops, orientations, strict=True)])
    oriented = [
        replace(box, upside_down=angle == HALF_TURN, orientation_score=score)
        for box, (angle, score) in zip(boxes, orientations, strict=True)
    ]
    return oriented, texts


def unread_warning(crops: Sequence[Image], texts: Sequence[Text], models: Sequence[str]) -> str | None:
    """Return a warning if models could not read most of the text, as if they do not know its script; None otherwise."""
    lengths = [max(crop.shape[:2]) / min(crop.shape[:2]) for crop in crops]
    unread = [
        length
        for length, text in zip(lengths, texts, strict=True)
        if text.score < LEGIBLE or len("".join(text.text.split())) < SPARSE * length
    ]
    if sum(unread) <= sum(lengths) / 2:
        return None
    return (
        f"low scores or few characters in {len(unread)} of {len(crops)} lines, so most of the text may be missing: if it is in a "
        f"script that {' and '.join(models)} cannot read, choose its language (`ocr-onnx models langs`)"
    )
