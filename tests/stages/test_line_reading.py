"""Lines that may be upside down: rotated, or read both ways."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ocr_onnx.stages.line_reading import read_oriented, unread_warning
from ocr_onnx.types import Image, Orientation, Text, TextBox

BOX = TextBox(np.zeros((4, 2), np.int32), 0.9)

UPRIGHT = np.zeros((20, 60, 3), np.uint8)
UPRIGHT[:10] = 255
"""The upper half is bright."""


CERTAIN = np.full((20, 60, 3), 9, np.uint8)
"""Its text has a high score."""


def recognize(images: Sequence[Image]) -> list[Text]:
    """A line with a bright upper half is legible."""
    texts = {255: Text("legible", 0.9), 9: Text("certain", 0.96), 0: Text("jumble", 0.2)}
    return [texts[image[5, 30, 0]] for image in images]


@pytest.mark.parametrize(
    ("crop", "orientation", "score_thresh", "text", "upside_down"),
    [
        (UPRIGHT, Orientation(180, 0.95), 1.0, "legible", False),
        (UPRIGHT[::-1], Orientation(180, 0.95), 1.0, "legible", True),
        (UPRIGHT, Orientation(180, 0.95), 0.0, "jumble", True),
        (UPRIGHT[::-1], Orientation(180, 0.95), 0.0, "legible", True),
        (UPRIGHT, Orientation(180, 0.95), 0.96, "legible", False),
        (UPRIGHT, Orientation(180, 0.95), 0.95, "jumble", True),
        (UPRIGHT, Orientation(0, 0.6), 1.0, "legible", False),
        (UPRIGHT[::-1], Orientation(0, 0.95), 1.0, "jumble", False),
        (UPRIGHT[::-1], Orientation(0, 0.95), 0.0, "jumble", False),
    ],
)
def test_a_line_that_seems_upside_down_is_read_both_ways_unless_the_classifier_is_sure(
    crop: Image, orientation: Orientation, score_thresh: float, text: str, upside_down: bool
) -> None:
    (box,), (found,) = read_oriented([BOX], [crop], lambda crops: [orientation for _ in crops], recognize, score_thresh)
    assert (found.text, box.upside_down, box.orientation_score) == (text, upside_down, orientation.score)


@pytest.mark.parametrize(("score_thresh", "asked"), [(1.0, 1), (0.5, 1), (0.0, 3)])
def test_a_line_whose_text_is_certain_is_not_classified_unless_lines_are_rotated_first(
    score_thresh: float, asked: int
) -> None:
    classified: list[Image] = []

    def classify(crops: Sequence[Image]) -> list[Orientation]:
        classified.extend(crops)
        return [Orientation(0, 0.9) for _ in crops]

    crops = [CERTAIN, UPRIGHT, CERTAIN]
    boxes, texts = read_oriented([BOX] * 3, crops, classify, recognize, score_thresh)
    assert len(classified) == asked
    assert [text.text for text in texts] == ["certain", "legible", "certain"]
    assert [box.upside_down for box in boxes] == [False] * 3
    assert boxes[1].orientation_score == 0.9
    assert boxes[0].orientation_score == (None if score_thresh else 0.9)


def test_each_line_keeps_its_place() -> None:
    crops = [UPRIGHT, UPRIGHT[::-1], CERTAIN, UPRIGHT]
    orientations = [Orientation(180, 0.6), Orientation(180, 0.7), Orientation(0, 0.8)]
    boxes, texts = read_oriented([BOX] * 4, crops, lambda _: orientations, recognize, 1.0)
    assert [box.upside_down for box in boxes] == [False, True, False, False]
    assert [text.text for text in texts] == ["legible", "legible", "certain", "legible"]


def test_no_lines_are_no_texts() -> None:
    assert read_oriented([], [], lambda _: [], recognize, 1.0) == ([], [])


def test_a_warning_says_that_most_of_the_text_was_not_read_and_names_the_models() -> None:
    legible, wrong, sparse = Text("twenty characters...", 0.97), Text("jumble", 0.59), Text(", .", 0.97)
    long, short, tall = (np.zeros(shape, np.uint8) for shape in ((20, 200, 3), (20, 60, 3), (200, 20, 3)))
    expected = (
        "low scores or few characters in 2 of 3 lines, so most of the text may be missing: if it is in a script that a and b "
        "cannot read, choose its language (`ocr-onnx models langs`)"
    )
    assert unread_warning([long, tall, long], [wrong, sparse._replace(text="."), legible], ["a", "b"]) == expected
    # Of a short line, a dot and a comma may be all; half of the length is not most of it.
    assert unread_warning([long, short], [legible, sparse], ["a"]) is None
    assert unread_warning([long, long], [legible, wrong], ["a"]) is None
    assert unread_warning([], [], ["a"]) is None
