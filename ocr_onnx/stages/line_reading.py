"""Recognition of lines and pages that may be upside down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ocr_onnx.stages import geometry
from ocr_onnx.stages.orientation import HALF_TURN
from ocr_onnx.types import Image, Orientation, Text, TextBox

LARGEST = 3
"""Lines that decide whether a page is upside down; more decide no better (docs/defaults.md)."""

DOUBTFUL = 0.8
"""The score of a text below which its line is read the other way too: 2 % of the lines of receipts, a quarter of those of street
photographs."""


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
    orientations: Sequence[Orientation],
    recognize: Callable[[Sequence[Image]], list[Text]],
    score_thresh: float,
) -> tuple[list[TextBox], list[Text]]:
    """Return the boxes with the orientation of their lines, and the texts of the lines.

    A line that is classified as upside down is rotated. If the classifier's score is below `score_thresh`, it is read both ways,
    and the reading with the higher score is kept: the classifier takes some short lines for upside down, but their wrong reading
    has a low score. If the text's score is below DOUBTFUL, a line is read the other way too. With a `score_thresh` of 0, no line
    is read both ways.
    """
    angles = [orientation.angle for orientation in orientations]
    unsure = [i for i, (angle, score) in enumerate(orientations) if angle == HALF_TURN and score < score_thresh]
    turned = [geometry.rotate(crop, angle) for crop, angle in zip(crops, angles, strict=True)]
    texts = recognize([*turned, *(crops[i] for i in unsure)])
    texts, others = texts[: len(turned)], dict(zip(unsure, texts[len(turned) :], strict=True))
    if score_thresh:
        doubtful = [i for i, text in enumerate(texts) if i not in others and text.score < DOUBTFUL]
        again = recognize([geometry.rotate(turned[i], HALF_TURN) for i in doubtful])
        others |= zip(doubtful, again, strict=True)
    for i, other in others.items():
        # Of equal readings, the upright one.
        if (other.score, angles[i]) > (texts[i].score, 0):
            texts[i], angles[i] = other, HALF_TURN - angles[i]
    oriented = [
        replace(box, upside_down=angle == HALF_TURN, orientation_score=score)
        for box, angle, (_, score) in zip(boxes, angles, orientations, strict=True)
    ]
    return oriented, texts
