"""Recognition of lines and pages that may be upside down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ocr_onnx.stages import geometry
from ocr_onnx.stages.orientation import HALF_TURN
from ocr_onnx.types import Image, Orientation, Text, TextBox

LARGEST = 3
"""Lines that decide whether a page is upside down; more decide no better (docs/defaults.md)."""


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

    A line that is classified as upside down is rotated. If its score is below `score_thresh`, it is read both ways, and the
    reading with the higher score is kept: the classifier takes some short lines for upside down, but their wrong reading has a low
    score.
    """
    flipped = [orientation.angle == HALF_TURN for orientation in orientations]
    unsure = [i for i, (_, score) in enumerate(orientations) if flipped[i] and score < score_thresh]
    turned = [geometry.rotate(crop, angle) for crop, (angle, _) in zip(crops, orientations, strict=True)]
    texts = recognize([*turned, *(crops[i] for i in unsure)])
    for i, as_it_is in zip(unsure, texts[len(turned) :], strict=True):
        if as_it_is.score >= texts[i].score:
            texts[i], flipped[i] = as_it_is, False
    oriented = [
        replace(box, upside_down=upside_down, orientation_score=score)
        for box, upside_down, (_, score) in zip(boxes, flipped, orientations, strict=True)
    ]
    return oriented, texts[: len(turned)]
