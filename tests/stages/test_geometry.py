"""Corners, crops, turns and reading order."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ocr_onnx.stages import geometry
from ocr_onnx.stages.geometry import crop, reading_order, rectangle, rotate, rotate_back, text_corners, total_area
from ocr_onnx.stages.warp import warp_perspective
from ocr_onnx.types import Quad, TextBox

small = st.integers(0, 60)
quads = st.tuples(small, small, st.integers(1, 40), st.integers(1, 40), st.floats(-3, 3)).map(
    lambda v: turned(v[0], v[1], v[2], v[3], v[4])
)


def turned(x: int, y: int, width: int, height: int, angle: float) -> Quad:
    """A rectangle turned about its corner."""
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ matrix.T
    return np.asarray(np.rint(corners + [x + 60, y + 60]), np.int32)


def box(x: int, y: int) -> TextBox:
    return TextBox(np.array([[x, y], [x + 5, y], [x + 5, y + 5], [x, y + 5]], np.int32), 1.0)


def test_polygons_come_by_their_highest_point() -> None:
    low, high = (
        TextBox(np.array([[0, y + 9], [9, y], [30, y], [39, y + 9], [9, y + 20]], np.int32), 1.0) for y in (8, 4)
    )
    assert reading_order([low, high]) == [high, low]


def paddle_order(boxes: list[TextBox]) -> list[TextBox]:
    """PaddleX's SortQuadBoxes, step by step."""
    out = sorted(boxes, key=lambda b: (b.quad[0][1], b.quad[0][0]))
    for i in range(len(out) - 1):
        for j in range(i, -1, -1):
            first, second = out[j].quad[0], out[j + 1].quad[0]
            if abs(int(second[1]) - int(first[1])) < 10 and second[0] < first[0]:
                out[j], out[j + 1] = out[j + 1], out[j]
            else:
                break
    return out


def test_of_two_corners_at_one_height_the_second_comes_first() -> None:
    points = np.array([[0, 0], [10, 0], [10, 4], [0, 4]], np.int32)
    np.testing.assert_array_equal(np.rint(rectangle(points)[0]), points)


@given(st.lists(st.tuples(small, st.integers(0, 40)), max_size=30))
def test_reading_order_is_the_references(corners: list[tuple[int, int]]) -> None:
    boxes = [box(x, y) for x, y in corners]
    assert reading_order(boxes) == paddle_order(boxes)


def test_a_line_reads_left_to_right_though_its_boxes_stand_unevenly() -> None:
    boxes = [box(200, 100), box(20, 107), box(100, 98), box(10, 130)]
    assert [b.quad[0, 0] for b in reading_order(boxes)] == [20, 100, 200, 10]


def test_order_of_nothing_is_nothing() -> None:
    assert reading_order([]) == []


@given(quads)
def test_a_crop_has_the_size_of_its_box(quad: Quad) -> None:
    image = np.full((220, 220, 3), 200, np.uint8)
    cut = crop(image, quad)
    corners, _ = rectangle(quad)
    width = int(max(np.linalg.norm(corners[0] - corners[1]), np.linalg.norm(corners[2] - corners[3])))
    height = int(max(np.linalg.norm(corners[0] - corners[3]), np.linalg.norm(corners[1] - corners[2])))
    expected = (width, height) if width and height / width >= 1.5 and height else (height, width)
    assert cut.shape[:2] == expected
    assert cut.size == 0 or (cut == 200).all()


def test_an_upright_box_is_cut_out_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)
    quad = np.array([[10, 20], [50, 20], [50, 40], [10, 40]], np.int32)
    np.testing.assert_array_equal(crop(image, quad), image[20:40, 10:50])


def warped(image: np.ndarray, quad: Quad) -> np.ndarray:
    """PaddleX's get_rotate_crop_image, which warps upright boxes too."""
    corners, _ = rectangle(quad)
    width = int(max(np.linalg.norm(corners[0] - corners[1]), np.linalg.norm(corners[2] - corners[3])))
    height = int(max(np.linalg.norm(corners[0] - corners[3]), np.linalg.norm(corners[1] - corners[2])))
    upright = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = np.asarray(cv2.getPerspectiveTransform(corners, upright), np.float64)
    cut = warp_perspective(image, matrix, (width, height))
    return np.rot90(cut) if height / width >= 1.5 else cut


@given(st.tuples(st.integers(0, 200), st.integers(0, 150), st.integers(1, 300), st.integers(1, 250)))
def test_a_straight_box_is_cut_out_as_a_warp_would(sides: tuple[int, int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (160, 210, 3), np.uint8)
    left, top, width, height = sides
    right, bottom = min(left + width, 210), min(top + height, 160)
    quad = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.int32)
    cut = crop(image, quad)
    assert not np.may_share_memory(cut, image)
    # Of a box a little tilted by rounding, a pixel wide, nothing may be left.
    if cut.size:
        np.testing.assert_array_equal(cut, warped(image, quad))


def test_a_tall_box_is_turned_counter_clockwise() -> None:
    image = np.random.default_rng(0).integers(0, 255, (90, 60, 3), np.uint8)
    quad = np.array([[10, 20], [30, 20], [30, 60], [10, 60]], np.int32)
    np.testing.assert_array_equal(crop(image, quad), np.rot90(image[20:60, 10:30]))


def test_a_box_without_height_gives_an_empty_crop() -> None:
    quad = np.array([[10, 20], [30, 20], [30, 20], [10, 20]], np.int32)
    assert crop(np.zeros((90, 60, 3), np.uint8), quad).size == 0


@pytest.mark.parametrize(
    ("angle", "shift"), [(0, (0, 0)), (90, (1, 0)), (180, (1, 1)), (270, (0, 1))], ids=["0", "90", "180", "270"]
)
def test_turning_is_an_exact_turn_shifted_by_a_black_edge(angle: int, shift: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(1, 255, (40, 70, 3), np.uint8)
    exact = np.rot90(image, angle // 90)
    found = rotate(image, angle)
    rows, columns = shift
    assert found.shape == exact.shape
    np.testing.assert_array_equal(found[rows:, columns:], exact[: exact.shape[0] - rows, : exact.shape[1] - columns])
    assert not found[:rows].any()
    assert not found[:, :columns].any()


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_what_was_turned_can_be_found_where_it_was(angle: int) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[11, 23] = 255
    y, x = np.argwhere(rotate(image, angle)[:, :, 0])[0]
    quad = np.array([[x, y]], np.int32)
    assert rotate_back(quad, angle, (60, 40)).tolist() == [[23, 11]]


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_a_turned_picture_lies_row_by_row_in_memory(angle: int) -> None:
    assert rotate(np.zeros((40, 60, 3), np.uint8), angle).flags.c_contiguous


@given(st.lists(quads, max_size=12))
def test_the_first_corner_decides_on_the_order(found: list[Quad]) -> None:
    boxes = [TextBox(quad, 1.0) for quad in found]
    assert reading_order(boxes) == paddle_order(boxes)


NEAR_BORDER = np.array([[3, 12], [80, 2], [82, 20], [5, 30]], np.int32)


@given(quads)
@example(NEAR_BORDER)
def test_a_crop_of_an_image_that_opencv_cannot_warp_is_that_of_its_surroundings(quad: Quad) -> None:
    image = np.random.default_rng(0).integers(0, 255, (220, 200, 3), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometry, "MAX_WARP_SIDE", 220)
        found = crop(image, quad)
    difference = found.astype(int) - crop(image, quad)
    # The corners are smaller numbers, so that their float32 sums differ in the last bit.
    assert np.abs(difference).max(initial=0) <= 2


def test_only_images_that_opencv_cannot_warp_are_cut_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("cut")

    monkeypatch.setattr(geometry, "_surroundings", refuse)
    crop(np.zeros((100, 32766, 3), np.uint8), NEAR_BORDER)
    for shape in ((100, 32767, 3), (32767, 100, 3)):
        with pytest.raises(AssertionError, match="cut"):
            crop(np.zeros(shape, np.uint8), NEAR_BORDER)


def test_areas_of_boxes_are_those_of_their_bounding_rectangles() -> None:
    tilted = TextBox(np.array([[0, 10], [30, 0], [34, 12], [4, 22]], np.int32), 1.0)
    assert total_area([box(3, 4), tilted]) == 5 * 5 + 34 * 22
    assert total_area([]) == 0


def test_a_turn_by_nothing_is_the_picture_itself() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    assert rotate(image, 0) is image
    assert rotate(image, 90).dtype == np.uint8


@pytest.mark.parametrize(
    ("size", "upside_down", "first"),
    [((40, 10), False, (5, 7)), ((40, 10), True, (45, 17)), ((10, 15), False, (15, 7)), ((10, 14), False, (5, 7))],
)
def test_the_first_corner_of_a_text_is_where_it_begins(
    size: tuple[int, int], upside_down: bool, first: tuple[int, int]
) -> None:
    """A box with 1.5 times the height of its width is read from the top, and its top is at the right."""
    width, height = size
    quad = np.array([[5, 7], [5 + width, 7], [5 + width, 7 + height], [5, 7 + height]], np.int32)
    found = text_corners(quad, upside_down=upside_down)
    assert tuple(found[0]) == first
    assert found.shape == (4, 2)
