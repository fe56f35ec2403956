"""Pictures of results: every text in its box, whatever it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import PAGES
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ocr_onnx import OCR, OCROptions, OCRResult, Page, TextBox, TextLine
from ocr_onnx.errors import NotEnoughMemoryError
from ocr_onnx.inputs import fonts
from ocr_onnx.outputs import drawing
from ocr_onnx.runtime import memory

HEIGHT, WIDTH = 200, 400
BOX = [[20, 30], [320, 30], [320, 70], [20, 70]]
TALL = [[300, 10], [340, 10], [340, 190], [300, 190]]
TILTED = [[40, 120], [330, 20], [343, 58], [53, 158]]


def drawn(text: str, corners: Sequence[Sequence[int]]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The marked page, and where there is ink beside it."""
    page = Page(np.full((HEIGHT, WIDTH, 3), 255, np.uint8))
    box = TextBox(np.array(corners, np.int32), 0.9)
    picture = drawing.draw(OCRResult(page, page, None, (box,), (TextLine(text, 0.9, box),), OCROptions()))
    assert picture.size == (2 * WIDTH, HEIGHT)
    pixels = np.asarray(picture, np.uint8)
    return pixels[:, :WIDTH], pixels[:, WIDTH:].max(axis=2) < 100


def extent(ink: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


@pytest.mark.parametrize("text", ["Gate", "Gate seven, from the harbour", "Gate seven, " * 6])
def test_text_stays_in_its_box(text: str) -> None:
    left, top, right, bottom = extent(drawn(text, BOX)[1])
    assert 20 <= left < right <= 320
    assert 30 <= top < bottom <= 70


def test_text_of_about_the_boxs_length_fills_it() -> None:
    left, _, right, _ = extent(drawn("From 15 May the ferry leaves", BOX)[1])
    assert left < 30
    assert right > 308


def test_text_in_a_tilted_box_is_tilted() -> None:
    _, ink = drawn("From 15 May the ferry leaves", TILTED)
    rows, columns = np.nonzero(ink)
    slope = np.polyfit(columns, rows, 1)[0]
    assert slope == pytest.approx(-100 / 290, abs=0.03)


def test_latin_text_in_a_high_box_lies_on_its_side() -> None:
    _, ink = drawn("llllllllllllllllllll", TALL)
    strokes = ink[15:185, 302:338]
    # The strokes of an l run across.
    assert (strokes.sum(axis=1).max(), strokes.sum(axis=0).max()) == pytest.approx((23, 60), abs=20)


def test_the_page_stays_visible_under_its_boxes() -> None:
    page, _ = drawn("Gate", BOX)
    assert (page[100:] == 255).all()
    assert (page[40, 50] < 255).any()
    assert page[40, 50].max() > 180


def test_arabic_begins_at_the_right() -> None:
    left, _, right, _ = extent(drawn("\u0645\u0631\u062d\u0628\u0627", BOX)[1])
    assert right > 308
    assert left > 100


def test_a_character_that_unicode_has_not_assigned_is_drawn_without_shaping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "supports_shaping", lambda _: False)
    drawn("\u0378", BOX)


@given(
    st.text(max_size=30), st.lists(st.tuples(st.integers(-500, 900), st.integers(-500, 900)), min_size=4, max_size=7)
)
def test_any_text_in_any_box_is_drawn(text: str, corners: list[tuple[int, int]]) -> None:
    drawn(text, corners)


@pytest.mark.parametrize(
    "corners", [[[5, 5]] * 4, [[0, 0], [399, 0], [399, 0], [0, 0]], [[-9, -9], [0, -9], [0, 0], [-9, 0]]]
)
def test_text_in_a_box_without_room_is_left_out(corners: list[list[int]]) -> None:
    assert not drawn("Gate", corners)[1].any()


@pytest.mark.parametrize("text", ["", " \t\n", "\x00\x07", "\u202e\u200f", "\ud800"])
def test_text_without_a_shape_leaves_its_box_empty(text: str) -> None:
    assert not drawn(text, BOX)[1].any()


def test_a_text_of_thousands_of_characters_is_drawn() -> None:
    assert drawn("ferry " * 3000, BOX)[0].shape == (HEIGHT, WIDTH, 3)


def test_a_box_on_a_page_longer_than_opencv_warps_is_drawn() -> None:
    page = Page(np.full((40, 70_000, 3), 255, np.uint8))
    long = TextBox(np.array([[10, 2], [69_990, 3], [69_990, 38], [10, 37]], np.int32), 0.9)
    last = TextBox(np.array([[69_000, 2], [69_300, 2], [69_300, 38], [69_000, 38]], np.int32), 0.9)
    lines = tuple(TextLine("Gate", 0.9, box) for box in (long, last))
    picture = drawing.draw(OCRResult(page, page, None, (long, last), lines, OCROptions()))
    assert (np.asarray(picture)[6:34, 139_010:139_290].max(axis=2) < 100).sum() > 50


def turned(width: int, height: int) -> OCRResult:
    """A page that orientation has turned by a quarter."""
    source, page = (Page(np.zeros(shape, np.uint8)) for shape in ((height, width, 3), (width, height, 3)))
    return OCRResult(source, page, None, (), (), OCROptions())


def test_a_page_beside_itself_turned_is_shown_in_full() -> None:
    picture = drawing.draw_images(turned(1000, 700))["preprocessed_img"]
    assert picture.size == (1700, 1000)


@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000), (1_000_000, 1), (12_000, 900)])
def test_a_strip_beside_itself_turned_is_scaled_down(size: tuple[int, int]) -> None:
    for picture in drawing.draw_images(turned(*size)).values():
        assert picture.width * picture.height <= max(drawing.CANVAS_ALLOWANCE, 8 * math.prod(size)) * 1.01


@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000), (1_000_000, 1), (3000, 2000)])
def test_no_canvas_is_made_larger_than_the_picture_asked_for(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    made: list[tuple[int, ...]] = []
    monkeypatch.setattr(drawing, "to_pil", lambda image: made.append(image.shape))
    drawing.draw_images(turned(*size), (500, 600))
    assert len(made) == 2
    # A side of one pixel cannot be scaled down, and is one more.
    assert all(height <= 501 and width <= 601 for height, width, _ in made)


def test_a_caption_under_a_thread_is_scaled_down_with_it() -> None:
    picture = drawing.draw_caption(np.zeros((1_000_000, 1, 3), np.uint8), "270 degrees")
    assert picture.width * picture.height <= drawing.CANVAS_ALLOWANCE * 1.01


def test_a_picture_that_would_pass_the_limit_of_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "remaining", lambda: 100 * 2**20)
    with pytest.raises(NotEnoughMemoryError, match="an image of 8000 x 4000 would take"):
        drawing.draw(turned(4000, 4000))


def test_a_tilted_box_far_beyond_the_page_takes_no_more_ink_than_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    warped: list[int] = []
    warp = cv2.warpPerspective

    def note(*given: Any) -> Any:
        warped.append(math.prod(given[2]))
        return warp(*given)

    monkeypatch.setattr(cv2, "warpPerspective", note)
    drawn("Gate seven", [[-7000, -7000], [7000, 7000], [6998, 7002], [-7002, -6998]])
    assert warped == [WIDTH * HEIGHT]


@pytest.mark.parametrize("factor", [0.5, 0.25])
def test_boxes_are_drawn_where_they_are_on_a_page_that_is_scaled_down(factor: float) -> None:
    page = Page(np.full((HEIGHT, WIDTH, 3), 255, np.uint8))
    box = TextBox(np.array(BOX, np.int32), 0.9)
    result = OCRResult(page, page, None, (box,), (TextLine("Gate seven", 0.9, box),), OCROptions())
    largest = round(HEIGHT * factor), round(2 * WIDTH * factor)
    picture = np.asarray(drawing.draw(result, largest), np.uint8)
    assert picture.shape == (*largest, 3)
    colored = picture[:, : largest[1] // 2].min(axis=2) < 250
    expected = [side * factor for side in (20, 30, 320, 70)]
    assert extent(colored) == pytest.approx(expected, abs=2)


@pytest.mark.parametrize("name", ["cjk.png", "vertical.png", "tilted.png"])
def test_ink_lies_where_it_lies_on_the_page(ocr: OCR, name: str) -> None:
    (result,) = ocr.predict(PAGES / name)
    width = result.page.image.shape[1]
    written = np.asarray(drawing.draw(result))[:, width:].max(axis=2) < 128
    printed = result.page.image.max(axis=2) < 128
    for found, given_ink in zip(extent(written), extent(printed), strict=True):
        assert found == pytest.approx(given_ink, abs=20)


@pytest.mark.parametrize("text", ["渡轮每二十", "مرحبا", "Gate"])
@pytest.mark.parametrize("corners", [BOX, TALL])
def test_pillows_own_font_without_shaping_will_do(
    monkeypatch: pytest.MonkeyPatch, text: str, corners: list[list[int]]
) -> None:
    monkeypatch.setattr(fonts, "_font_or_fallback", lambda _: None)
    assert not fonts.supports_shaping(fonts.load(None, 20))
    assert drawn(text, corners)[1].any()
