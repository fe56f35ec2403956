"""Lines that may be upside down: rotated, or read both ways."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ocr_onnx.stages.line_reading import read_oriented
from ocr_onnx.types import Image, Orientation, Text, TextBox

BOX = TextBox(np.zeros((4, 2), np.int32), 0.9)

UPRIGHT = np.zeros((20, 60, 3), np.uint8)
UPRIGHT[:10] = 255
"""The upper half is bright."""


def recognize(images: Sequence[Image]) -> list[Text]:
    """A line with a bright upper half is legible."""
    return [Text("legible", 0.9) if image[5, 30, 0] else Text("jumble", 0.2) for image in images]


@pytest.mark.parametrize(
    ("crop", "orientation", "score_thresh", "text", "upside_down"),
    [
        (UPRIGHT, Orientation(180, 0.95), 1.0, "legible", False),
        (UPRIGHT[::-1], Orientation(180, 0.95), 1.0, "legible", True),
        (UPRIGHT, Orientation(180, 0.95), 0.0, "jumble", True),
        (UPRIGHT[::-1], Orientation(180, 0.95), 0.95, "legible", True),
        (UPRIGHT, Orientation(0, 0.6), 1.0, "legible", False),
        (UPRIGHT[::-1], Orientation(0, 0.95), 1.0, "legible", True),
        (UPRIGHT[::-1], Orientation(0, 0.95), 0.0, "jumble", False),
    ],
)
def test_a_line_below_either_score_is_read_both_ways_and_the_better_reading_is_kept(
    crop: Image, orientation: Orientation, score_thresh: float, text: str, upside_down: bool
) -> None:
    (box,), (found,) = read_oriented([BOX], [crop], [orientation], recognize, score_thresh)
    assert (found.text, box.upside_down, box.orientation_score) == (text, upside_down, orientation.score)


def test_each_line_keeps_its_place() -> None:
    crops = [UPRIGHT, UPRIGHT[::-1], UPRIGHT]
    orientations = [Orientation(180, 0.6), Orientation(180, 0.7), Orientation(0, 0.8)]
    boxes, texts = read_oriented([BOX] * 3, crops, orientations, recognize, 1.0)
    assert [box.upside_down for box in boxes] == [False, True, False]
    assert [text.text for text in texts] == ["legible"] * 3


def test_no_lines_are_no_texts() -> None:
    assert read_oriented([], [], [], recognize, 1.0) == ([], [])
