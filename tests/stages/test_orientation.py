"""Pages turned by quarters, lines upside down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import LINE, PAGE, PAGES

from ocr_onnx import OCR, OCROptions
from ocr_onnx.errors import OptionError
from ocr_onnx.options import LineOrientationOptions, PageOrientationOptions
from ocr_onnx.stages import orientation
from ocr_onnx.stages.orientation import LineClassifier, PageClassifier, preprocess_line, preprocess_page
from ocr_onnx.stages.resizing import resize
from ocr_onnx.types import Image, Tensor

EACH = LineOrientationOptions(batch_size=1)


def bright_is_second(batch: Tensor) -> tuple[Tensor]:
    """A classifier that chooses its second class for a bright picture."""
    bright = batch.mean() > 0
    return (np.array([[not bright, bright]], np.float32),)


def undecided(_: Tensor) -> tuple[Tensor]:
    return (np.array([[0.25, 0.75]], np.float32),)


def plain(level: int) -> Image:
    return np.full((20, 60, 3), level, np.uint8)


def test_a_page_is_cut_out_of_the_middle() -> None:
    page = np.zeros((512, 1024, 3), np.uint8)
    page[:, 512 - 224 : 512 + 224] = 255
    tensor = preprocess_page(page, PAGE)
    assert tensor.shape == (1, 3, 224, 224)
    assert (tensor > 0).all()


def test_a_page_is_resized_as_in_the_reference() -> None:
    page = np.random.default_rng(0).integers(0, 255, (300, 401, 3), np.uint8)
    scale = 256 / 300
    resized = resize(page, (round(401 * scale), round(300 * scale)))[:, :, ::-1]
    left, top = (resized.shape[1] - 224) // 2, (resized.shape[0] - 224) // 2
    pixels = resized[top : top + 224, left : left + 224].astype(np.float32)
    expected = (pixels / 255 - PAGE.mean) / PAGE.std
    np.testing.assert_allclose(preprocess_page(page, PAGE)[0], expected.transpose(2, 0, 1), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 2000), (1, 60_000), (300, 1), (2, 1_000_000), (40_000, 30)])
def test_a_page_much_longer_than_wide_is_not_resized_whole(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]
) -> None:
    sizes: list[tuple[int, int]] = []

    def note(image: Image, size: tuple[int, int]) -> Image:
        sizes.append(size)
        return resize(image, size)

    monkeypatch.setattr(orientation, "resize", note)
    assert preprocess_page(np.zeros((*shape, 3), np.uint8), PAGE).shape == (1, 3, 224, 224)
    assert max(width * height for width, height in sizes) <= orientation.MAX_RESIZED


def test_a_label_is_an_angle_in_degrees() -> None:
    classify = PageClassifier(bright_is_second, PAGE)
    assert classify(plain(255)) == (90, 1.0)
    assert classify(plain(0)) == (0, 1.0)


def test_a_page_is_turned_only_where_the_score_says_so() -> None:
    classify = PageClassifier(undecided, PAGE)
    assert classify(plain(0), PageOrientationOptions(score_thresh=0)) == (90, 0.75)
    assert classify(plain(0), PageOrientationOptions(score_thresh=0.75)) == (90, 0.75)
    assert classify(plain(0), PageOrientationOptions(score_thresh=0.8)) == (0, 0.75)


def test_a_line_has_the_most_probable_orientation_with_its_score() -> None:
    assert LineClassifier(undecided, LINE)([plain(0)]) == [(180, 0.75)]


def test_a_line_is_squeezed_to_the_models_size() -> None:
    assert preprocess_line(plain(9), LINE).shape == (1, 3, 80, 160)


@pytest.mark.parametrize(("width", "filled"), [(60, 144), (61, 147), (200, 192)])
def test_a_line_keeps_its_shape_where_the_model_wants_it(width: int, filled: int) -> None:
    old = replace(LINE, input_shape=(3, 48, 192), mean=(0.5,) * 3, std=(0.5,) * 3, keep_ratio=True)
    tensor = preprocess_line(np.full((20, width, 3), 255, np.uint8), old)
    assert tensor.shape == (1, 3, 48, 192)
    assert (tensor[..., :filled] == 1).all()
    assert (tensor[..., filled:] == 0).all()


def test_each_line_speaks_for_itself_in_batches_of_one() -> None:
    classify = LineClassifier(bright_is_second, LINE)
    assert classify([plain(0), plain(255), plain(0)], EACH) == [(0, 1.0), (180, 1.0), (0, 1.0)]


def test_the_first_line_of_a_batch_decides_as_in_paddlex() -> None:
    classify = LineClassifier(bright_is_second, LINE)
    crops = [plain(level) for level in (255, 0, 0, 0, 255, 255)]
    assert classify(crops, LineOrientationOptions(batch_size=3)) == [(180, 1.0)] * 3 + [(0, 1.0)] * 3


def test_no_lines_need_no_decision() -> None:
    assert LineClassifier(bright_is_second, LINE)([], EACH) == []


def test_lines_upside_down_among_others_are_read_in_batches_of_one(ocr: OCR) -> None:
    (result,) = ocr.predict(PAGES / "mixed.png", OCROptions(line_orientation=EACH))
    assert [line.box.upside_down for line in result.lines] == [False, False, False, False, True, True]
    assert "waterproof paper" in result.lines[4].text


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(OptionError, match="batch_size"):
        LineOrientationOptions(batch_size=0)
