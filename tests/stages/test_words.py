"""Words and characters with their boxes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from bidi.algorithm import get_display
from hypothesis import given
from hypothesis import strategies as st

from ocr_onnx.stages import blocks, geometry, page_frame
from ocr_onnx.stages.words import find_words, visual_order, with_words
from ocr_onnx.types import Columns, Quad, TextBox, TextLine

LINE = np.array([[100, 20], [300, 20], [300, 50], [100, 50]], np.int32)
COLUMN = np.array([[20, 100], [50, 100], [50, 300], [20, 300]], np.int32)


def columns(text: str, total: float = 20, step: int = 1) -> Columns:
    """Characters that stand `step` columns apart, the first in the second column."""
    places = tuple(range(1, len(text) * step + 1, step))
    return Columns(tuple(text), places, total, tuple(0.5 + 0.1 * i for i in range(len(text))))


def words(text: str) -> list[str]:
    return [word.text for word in find_words(columns(text, 100), LINE, text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("München, Café!", ["München,", "Café!"]),
        ("Добрый день", ["Добрый", "день"]),
        ("港口A区。", ["港", "口", "A", "区", "。"]),
        ("ひらカタ漢", ["ひ", "ら", "カ", "タ", "漢"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("ＡＢ，Ｃ", ["ＡＢ", "，", "Ｃ"]),
        ("か\u3099く", ["か\u3099", "く"]),
        ("  a  b ", ["a", "b"]),
        ("", []),
        ("  ", []),
    ],
)
def test_words_are_divided_at_white_space_and_around_chinese_characters(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_a_word_says_whether_white_space_follows() -> None:
    found = find_words(columns("ab 港口 c"), LINE, "ab 港口 c")
    assert [word.space_after for word in found] == [True, False, True, False]
    assert "".join(word.text + " " * word.space_after for word in found) == "ab 港口 c"


def test_the_confidence_of_a_word_is_the_mean_of_its_characters() -> None:
    found = find_words(columns("ab cd"), LINE, "ab cd")
    assert [word.score for word in found] == pytest.approx([0.55, 0.85])
    assert [character.score for character in found[0].characters] == pytest.approx([0.5, 0.6])


def test_edges_are_in_the_middle_between_two_characters() -> None:
    first, second = find_words(columns("ab cd"), LINE, "ab cd")
    assert first.box.tolist() == [[110, 20], [130, 20], [130, 50], [110, 50]]
    assert second.box.tolist() == [[140, 20], [160, 20], [160, 50], [140, 50]]
    assert [c.box[:2, 0].tolist() for c in first.characters] == [[110, 120], [120, 130]]


def test_words_of_vertical_lines_follow_each_other_from_top_to_bottom() -> None:
    first, second = find_words(columns("ab cd"), COLUMN, "ab cd")
    # The top of the text is at the right.
    assert first.box.tolist() == [[50, 110], [50, 130], [20, 130], [20, 110]]
    assert second.box.tolist() == [[50, 140], [50, 160], [20, 160], [20, 140]]


def test_words_of_an_upside_down_line_begin_at_its_right_end() -> None:
    first, second = find_words(columns("ab cd"), LINE, "ab cd", upside_down=True)
    assert first.box.tolist() == [[290, 50], [270, 50], [270, 20], [290, 20]]
    assert second.box[0].tolist() == [260, 50]


@pytest.mark.parametrize("degrees", [7, -7, 45])
def test_words_of_a_tilted_line_are_tilted(degrees: int) -> None:
    angle = math.radians(degrees)
    along, down = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    begin = np.array([500.0, 500.0])

    def part(start: float, end: float) -> Quad:
        return np.rint(
            [
                begin + along * start,
                begin + along * end,
                begin + along * end + down * 30,
                begin + along * start + down * 30,
            ]
        ).astype(np.int32)

    first, second = find_words(columns("ab cd"), part(0, 200), "ab cd")
    assert np.abs(first.box - part(10, 30)).max() <= 2
    assert np.abs(second.box - part(40, 60)).max() <= 2


@pytest.mark.parametrize("quad", [LINE, COLUMN])
@pytest.mark.parametrize("upside_down", [False, True])
def test_a_word_is_where_the_crop_shows_it(quad: Quad, upside_down: bool) -> None:
    image = np.zeros((400, 400, 3), np.uint8)
    crop = geometry.rotate(geometry.crop(image, quad), 180 if upside_down else 0)
    first, _ = find_words(columns("ab cd"), quad, "ab cd", upside_down=upside_down)
    left, top = first.box.min(axis=0)
    right, bottom = first.box.max(axis=0)
    image[top:bottom, left:right] = 255
    crop = geometry.rotate(geometry.crop(image, quad), 180 if upside_down else 0)
    (places,) = np.nonzero(crop[crop.shape[0] // 2, :, 0])
    assert places[0] == pytest.approx(10, abs=1)
    assert places[-1] == pytest.approx(29, abs=1)


def test_words_from_right_to_left_are_in_the_order_of_the_text() -> None:
    visual = "ملاعم مالس 12"
    text = str(get_display(visual))
    found = find_words(columns(visual), LINE, text)
    assert [word.text for word in found] == text.split()
    for word in found:
        place = visual.index(str(get_display(word.text)))
        assert word.box[0, 0] == 110 + 10 * place


@given(st.text("ab1 .-,(港口区éاب)", max_size=20))
def test_no_character_is_lost(text: str) -> None:
    line = TextLine(text, 0.5, TextBox(LINE, 0.5), columns=columns(text, 40))
    logical = replace(line, text=str(get_display(text)) if text else "")
    for each in (line, logical):
        found = with_words(each).words or ()
        assert "".join(word.text for word in found) == "".join(each.text.split())
        assert all(w.text == "".join(c.text for c in w.characters) for w in found)


def test_a_line_without_columns_is_one_word() -> None:
    line = with_words(TextLine("one two", 0.7, TextBox(LINE, 0.5)))
    assert line.words is not None
    assert [(word.text, word.score, word.box.tolist()) for word in line.words] == [("one two", 0.7, LINE.tolist())]


def test_a_part_of_a_line_has_the_words_in_it() -> None:
    text = "left side right side"
    places = tuple(range(1, 10)) + tuple(range(40, 51))
    line = TextLine(text, 0.9, TextBox(LINE, 0.5), columns=Columns(tuple(text), places, 52, (0.9,) * 20))
    pieces = page_frame.pieces([(LINE, text)], (400, 400), [line.columns])
    parts = [blocks._line(piece, [with_words(line)]) for piece in pieces]
    assert [part.text for part in parts] == ["left side", "right side"]
    assert [[word.text for word in part.words or ()] for part in parts] == [["left", "side"], ["right", "side"]]
    expected = [word.box for word in with_words(line).words or ()]
    found = [word.box for part in parts for word in part.words or ()]
    assert np.abs(np.array(found) - np.array(expected)).max() <= 2


def test_characters_without_a_neighbor_share_the_line_equally() -> None:
    # 10 columns on 200 pixels, divided by three characters: half of a character is 33 pixels.
    found = find_words(Columns(("a", " ", "b"), (0, 4, 8), 10, (0.5,) * 3), LINE, "a b")
    assert [(int(word.box[0][0]), int(word.box[1][0])) for word in found] == [(100, 143), (237, 300)]


def test_the_words_of_an_upside_down_line_and_of_one_without_columns_begin_at_its_right_end() -> None:
    line = TextLine("ab cd", 0.9, TextBox(LINE, 0.8, upside_down=True), columns=columns("ab cd"))
    expected = find_words(line.columns, LINE, "ab cd", upside_down=True)
    assert [word.box.tolist() for word in with_words(line).words or ()] == [word.box.tolist() for word in expected]
    assert expected[0].box[0, 0] > 250
    unknown = replace(line, columns=Columns((), (), 20))
    assert unknown.words is None
    (whole,) = with_words(unknown).words or ()
    assert whole.box[0].tolist() == [300, 50]


def test_characters_without_probabilities_have_the_confidence_nought() -> None:
    found = find_words(Columns(("a", "b"), (1, 2), 20), LINE, "ab")
    assert [character.score for character in found[0].characters] == [0, 0]


def test_the_last_character_ends_with_the_line() -> None:
    (word,) = find_words(Columns(("a", "b"), (4, 19), 20), LINE, "ab")
    assert word.box[:, 0].max() == 300


def test_an_isolate_is_ordered_though_the_library_of_the_reference_has_none() -> None:
    assert visual_order("a \u2067אב\u2069 c").replace("\u2067", "").replace("\u2069", "") == "a בא c"
