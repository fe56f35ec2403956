"""Lines that are wider than the recognizer's largest input are cut at gaps, and their texts are joined."""

from __future__ import annotations

import difflib

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import pytest

from ocr_onnx import OCR, OCROptions
from ocr_onnx.pipeline import DetectedPage
from ocr_onnx.stages.wide_lines import cut, join
from ocr_onnx.stages.words import with_words
from ocr_onnx.types import Columns, Image, Page, Text, TextBox, TextLine

LONGEST = 66.0

BOX = np.array([[0, 0], [200, 0], [200, 20], [0, 20]], np.int32)


def bars(count: int, gaps: dict[int, int], pitch: int = 10, height: int = 20) -> Image:
    """A white crop with so many black bars; `gaps` has the widths of the wider ones, by the bar before."""
    columns: list[int] = []
    for bar in range(count):
        columns += [0] * (pitch - 2) + [255] * gaps.get(bar, 2)
    image = np.full((height, len(columns), 3), 255, np.uint8)
    image[4:16] = np.array(columns, np.uint8)[:, None]
    return image


def text(characters: str, total: float, score: float = 0.9) -> Text:
    return Text(characters, score, Columns(tuple(characters), tuple(range(len(characters))), total))


def test_the_characters_of_a_joined_line_keep_their_probabilities() -> None:
    parts = [
        Text(each, 0.7, Columns(tuple(each), (0, 1), 10.0, probabilities))
        for each, probabilities in (("ab", (0.5, 0.9)), ("cd", (0.6, 0.8)))
    ]
    joined = join(parts, [False, True])
    line = TextLine(joined.text, joined.score, TextBox(BOX, 0.9), columns=joined.columns)
    words = with_words(line).words or ()
    assert [word.text for word in words] == ["ab", "cd"]
    assert [word.score for word in words] == pytest.approx([0.7, 0.7])
    assert [character.score for word in words for character in word.characters] == [0.5, 0.9, 0.6, 0.8]


@pytest.mark.parametrize("count", [10, 131])
def test_a_line_that_fits_is_one_part(count: int) -> None:
    crop = bars(count, {})
    ((part, space),) = cut(crop, LONGEST)
    assert part is crop
    assert not space


@pytest.mark.parametrize("count", [140, 300, 1000])
def test_the_parts_fit_and_are_the_whole_line(count: int) -> None:
    crop = bars(count, dict.fromkeys(range(0, count, 6), 9))
    parts = [part for part, _ in cut(crop, LONGEST)]
    assert len(parts) > 1
    assert all(part.shape[1] <= LONGEST * 20 for part in parts)
    assert np.array_equal(np.concatenate(parts, axis=1), crop)


def test_a_line_is_cut_at_its_widest_gap_near_the_middle() -> None:
    crop = bars(140, {68: 9, 71: 14})
    (left, first), (_, second) = cut(crop, LONGEST)
    assert left.shape[1] == 71 * 10 + (9 - 2) + 8 + 14 // 2
    assert (first, second) == (False, True)


def test_a_narrow_gap_is_no_space() -> None:
    assert [space for _, space in cut(bars(140, {}), LONGEST)] == [False, False]


@pytest.mark.parametrize("value", [0, 255])
def test_a_line_without_a_gap_is_cut_nevertheless(value: int) -> None:
    crop = np.full((20, 2000, 3), value, np.uint8)
    parts = [part for part, _ in cut(crop, LONGEST)]
    assert len(parts) == 2
    assert sum(part.shape[1] for part in parts) == 2000


def test_joined_texts_have_the_columns_of_the_whole_line() -> None:
    joined = join([text("ab", 10.0, 0.5), text("cd", 12.0, 0.7)], [False, True])
    assert joined.text == "ab cd"
    assert joined.score == pytest.approx(0.6)
    assert joined.columns == Columns(("a", "b", " ", "c", "d"), (0, 1, 10, 10, 11), 22.0)


@pytest.mark.parametrize(
    ("parts", "space", "expected"),
    [("ab cd", False, "abcd"), ("合 同", True, "合同"), ("合 a", True, "合 a"), (" a", True, "a"), ("a ", True, "a")],
)
def test_a_space_is_written_where_the_script_has_them(parts: str, space: bool, expected: str) -> None:
    first, second = parts.split(" ")
    assert join([text(first, 5.0), text(second, 5.0)], [False, space]).text == expected


@pytest.fixture(scope="module")
def line() -> tuple[str, PIL.Image.Image]:
    """A line of 700 characters, and its picture."""
    words = [
        "server",
        "cache",
        "request",
        "memory",
        "handler",
        "thread",
        "4711",
        "buffer",
        "client",
        "warn",
        "0.25",
        "module",
    ]
    long = " ".join(words[i * i % len(words)] for i in range(110))[:700]
    font = PIL.ImageFont.load_default(20)
    picture = PIL.Image.new("L", (int(font.getlength(long)) + 40, 60), 255)
    PIL.ImageDraw.Draw(picture).text((20, 16), long, fill=0, font=font)
    return long, picture


def test_a_line_of_700_characters_is_read(line: tuple[str, PIL.Image.Image]) -> None:
    expected, picture = line
    (result,) = OCR(OCROptions(use_doc_orientation_classify=False)).predict(picture)
    found = max((line.text for line in result.lines), key=len)
    assert difflib.SequenceMatcher(None, found, expected, autojunk=False).ratio() > 0.95


def test_a_line_that_is_squeezed_as_in_paddleocr_is_a_warning(ocr: OCR, caplog: pytest.LogCaptureFixture) -> None:
    crop = bars(400, {})
    page = Page(crop)
    box = TextBox(np.array([[0, 0], [crop.shape[1], 0], [crop.shape[1], 20], [0, 20]], np.int32), 0.9)
    result = ocr.recognize_page(DetectedPage(page, None, page, [(box, crop)]), ocr.options)
    assert any("text_rec_cut_wide_lines" in warning for warning in result.warnings)
    assert "text_rec_cut_wide_lines" in caplog.text
