"""Words: what belongs together, and where it stands."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ocr_onnx.outputs.paddle import bounding_box
from ocr_onnx.outputs.paddle_words import find_words
from ocr_onnx.types import Columns

LINE = np.array([[100, 20], [300, 20], [300, 50], [100, 50]], np.int32)
COLUMN = np.array([[20, 100], [50, 100], [50, 300], [20, 300]], np.int32)


def columns(text: str, total: float = 20, step: int = 1) -> Columns:
    """Characters that stand `step` columns apart."""
    return Columns(tuple(text), tuple(range(0, len(text) * step, step)), total)


def words(text: str) -> list[str]:
    return [word.text for word in find_words(columns(text, 100), LINE)]


def test_letters_and_digits_belong_together() -> None:
    assert words("Gate 7b, open") == ["Gate", " ", "7b", ", ", "open"]


def test_hyphens_join_and_points_do_before_a_digit() -> None:
    assert words("VGG-16 1.5 a.b 3. -x") == ["VGG-16", " ", "1.5", " ", "a", ".", "b", " ", "3", ". -", "x"]


def test_chinese_characters_stand_alone() -> None:
    assert words("港口A区。") == ["港", "口", "A", "区", "。"]


def test_letters_of_other_scripts_are_of_one_kind_as_in_paddleocr() -> None:
    assert words("Café au") == ["Caf", "é ", "au"]
    assert words("Добрый день") == ["Добрый день"]


def test_a_character_of_several_code_points_is_one() -> None:
    found = find_words(Columns(("a", "\U0001f1e9\U0001f1ea", "b"), (0, 5, 9), 10), LINE)
    assert [word.text for word in found] == ["a", "\U0001f1e9\U0001f1ea", "b"]


def test_nothing_read_is_no_words() -> None:
    assert find_words(Columns(total=12.5), LINE) == ()


def test_a_word_reaches_from_its_first_column_to_its_last() -> None:
    found = find_words(columns("ab cd"), LINE)
    assert [bounding_box(word.box) for word in found] == [[100, 20, 120, 50], [120, 20, 130, 50], [130, 20, 150, 50]]


def test_chinese_characters_are_of_one_width_and_stay_in_the_line() -> None:
    found = find_words(columns("一二三", 6, step=2), LINE)
    # Three in five columns of 33.3 pixels: 83.3 pixels each, as PaddleOCR divides, around the middle of each column.
    assert [bounding_box(word.box)[::2] for word in found] == [[100, 158], [141, 225], [208, 291]]


def test_a_line_of_one_chinese_character_is_all_its_own() -> None:
    (word,) = find_words(Columns(("港",), (10,), 20), LINE)
    assert bounding_box(word.box) == [105, 20, 300, 50]


def test_tall_lines_are_cut_from_top_to_bottom() -> None:
    found = find_words(columns("ab cd"), COLUMN)
    assert [word.box.tolist() for word in found][:2] == [
        [[20, 100], [20, 120], [50, 120], [50, 100]],
        [[20, 120], [20, 130], [50, 130], [50, 120]],
    ]


def test_words_of_a_polygon_stand_in_the_rectangle_around_it() -> None:
    around = np.array([[110, 20], [290, 20], [300, 35], [290, 50], [110, 50], [100, 35]], np.int32)
    assert [word.box.tolist() for word in find_words(columns("ab cd"), around)] == [
        word.box.tolist() for word in find_words(columns("ab cd"), LINE)
    ]


@given(st.text("ab1 .-,港口区é", max_size=20))
def test_no_character_is_lost(text: str) -> None:
    assert "".join(words(text)) == text
