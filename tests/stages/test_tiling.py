"""Very high images are read in overlapping tiles, each line once."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from ocr_onnx.options import DetectionOptions
from ocr_onnx.stages.tiling import OVERLAP, detect_in_tiles, reduction_warning, tile_starts
from ocr_onnx.types import Image, TextBox

OPTIONS = DetectionOptions(max_side_limit=960)


def rows(image: Image, _: DetectionOptions) -> list[TextBox]:
    """A box around each white bar, which fills the width."""
    white = np.concatenate([[False], image[:, 5, 0] > 0, [False]]).astype(np.int8)
    begins, ends = np.flatnonzero(np.diff(white) == 1), np.flatnonzero(np.diff(white) == -1)
    right = image.shape[1] - 1
    return [
        TextBox(np.array([[0, top], [right, top], [right, bottom], [0, bottom]], np.int32), 0.9)
        for top, bottom in zip(begins, ends, strict=True)
    ]


def page(count: int, pitch: int = 30, width: int = 200) -> Image:
    """An image of so many bars."""
    image = np.zeros((count * pitch, width, 3), np.uint8)
    for number in range(count):
        image[number * pitch + 7 : number * pitch + 27] = 255
    return image


@pytest.mark.parametrize("count", [65, 97, 200, 431])
def test_each_line_is_found_once_and_whole(count: int) -> None:
    boxes = detect_in_tiles(rows, page(count), OPTIONS)
    spans = sorted((int(box.quad[:, 1].min()), int(box.quad[:, 1].max())) for box in boxes)
    assert spans == [(number * 30 + 7, number * 30 + 27) for number in range(count)]


def test_no_tile_exceeds_the_limit() -> None:
    seen: list[tuple[int, ...]] = []

    def note(image: Image, options: DetectionOptions) -> list[TextBox]:
        seen.append(image.shape)
        return rows(image, options)

    detect_in_tiles(note, page(400), OPTIONS)
    assert set(seen[1:]) == {(960, 200, 3)}


def test_text_that_tiles_would_cut_is_read_whole() -> None:
    image = page(400)
    image[3000:3200] = 255
    assert len(detect_in_tiles(rows, image, OPTIONS)) == len(rows(image, OPTIONS))


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1900, 200), OPTIONS),
        ((3000, 1600), OPTIONS),
        ((200, 9000), OPTIONS),
        ((9000, 200), DetectionOptions(input_shape=(3, 640, 640))),
    ],
)
def test_an_image_of_usual_proportions_is_read_whole(shape: tuple[int, int], options: DetectionOptions) -> None:
    seen: list[tuple[int, ...]] = []
    detect_in_tiles(lambda image, _: seen.append(image.shape) or [], np.zeros((*shape, 3), np.uint8), options)  # type: ignore[func-returns-value]
    assert seen == [(*shape, 3)]


@pytest.mark.parametrize("total", range(1921, 20_000, 487))
def test_tiles_cover_the_image_and_overlap(total: int) -> None:
    starts = tile_starts(total, 960)
    assert (starts[0], starts[-1]) == (0, total - 960)
    assert max(np.diff(starts)) <= round(960 * (1 - OVERLAP)) + 1


@pytest.mark.parametrize(
    ("height", "width", "tiles", "warned"),
    [(3000, 200, True, False), (3000, 200, False, True), (200, 3000, True, True), (1900, 200, False, False)],
)
def test_an_image_that_is_reduced_as_a_whole_is_a_warning(height: int, width: int, tiles: bool, warned: bool) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    warning = reduction_warning(image, DetectionOptions(max_side_limit=960, tiles=tiles))
    assert (warning is not None) == warned


@pytest.mark.parametrize(("limit_type", "side", "warned"), [("max", 64, True), ("max", 736, False), ("min", 64, False)])
def test_a_small_limit_of_type_max_is_a_warning(limit_type: Literal["min", "max"], side: int, warned: bool) -> None:
    options = DetectionOptions(limit_side_len=side, limit_type=limit_type, tiles=False)
    assert (reduction_warning(np.zeros((600, 800, 3), np.uint8), options) is not None) == warned
