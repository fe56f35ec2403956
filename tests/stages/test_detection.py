"""Resizing, normalizing, and reading a probability map into boxes."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import replace
from typing import Any, Literal

import cv2
import numpy as np
import pyclipper
import pytest
from conftest import DETECTION
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ocr_onnx import DetectionOptions
from ocr_onnx.errors import ModelError, NotEnoughMemoryError, OptionError
from ocr_onnx.models import zoo
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.runtime import memory
from ocr_onnx.runtime.batching import MASKED_SHAPES
from ocr_onnx.runtime.device_pixels import Pixels
from ocr_onnx.runtime.session import Session
from ocr_onnx.stages.detection import (
    DEFAULT_PIXEL_BYTES,
    TextDetector,
    check_memory,
    find_boxes,
    mean_inside,
    preprocess,
    resized,
    standalone_options,
    unclip,
    with_model_defaults,
    working_memory,
)
from ocr_onnx.stages.normalization import normalize, tables
from ocr_onnx.types import Tensor

sides = st.integers(1, 9000)


def paddle_size(width: int, height: int, options: DetectionOptions) -> tuple[int, int]:
    """PaddleX's resize_image_type0, step by step."""
    limit = options.limit_side_len
    ratio = 1.0
    if options.limit_type == "max":
        if max(height, width) > limit:
            ratio = float(limit) / height if height > width else float(limit) / width
    elif min(height, width) < limit:
        ratio = float(limit) / height if height < width else float(limit) / width
    new_height, new_width = int(height * ratio), int(width * ratio)
    if max(new_height, new_width) > options.max_side_limit:
        ratio = float(options.max_side_limit) / max(new_height, new_width)
        new_height, new_width = int(new_height * ratio), int(new_width * ratio)
    return max(int(round(new_width / 32) * 32), 32), max(int(round(new_height / 32) * 32), 32)


def darkness(batch: Tensor) -> tuple[Tensor]:
    """A detection model that takes every dark pixel for text."""
    return ((batch.mean(axis=1, keepdims=True) < 0).astype(np.float32),)


def bars(*rows: int) -> NDArray[np.uint8]:
    """A white page with a black bar at each row."""
    page = np.full((320, 480, 3), 255, np.uint8)
    for row in rows:
        page[row : row + 24, 60:400] = 0
    return page


@given(sides, sides, st.integers(1, 5000), st.sampled_from(["min", "max"]), st.integers(32, 5000))
def test_the_size_for_detection_is_the_references(
    width: int, height: int, limit: int, kind: Literal["min", "max"], most: int
) -> None:
    options = DetectionOptions(limit, kind, most)
    assert resized((width, height), options) == paddle_size(width, height, options)


def test_halves_of_a_stride_are_rounded_to_even() -> None:
    assert resized((80, 112), DetectionOptions(32)) == (64, 128)


def test_a_picture_of_nothing_is_padded_to_one_stride() -> None:
    tensor = preprocess(np.full((1, 1, 3), 255, np.uint8), DetectionOptions(), DETECTION)
    assert tensor.shape == (1, 3, 64, 64)


def test_normalizing_keeps_the_references_last_bit() -> None:
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    found = normalize(image, DETECTION)
    for c, (mean, std) in enumerate(zip(DETECTION.mean, DETECTION.std, strict=True)):
        expected = image[:, :, c].astype(np.float32)
        expected *= (1 / 255) / std
        expected += -mean / std
        np.testing.assert_array_equal(found[c], expected)


def test_red_comes_first_where_a_model_wants_it() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    image[:, :, 2] = 255
    rgb = normalize(image, type(DETECTION)("x", "doc_orientation", "RGB", 1 / 255, (0.0,) * 3, (1.0,) * 3))
    assert rgb[0].min() == 1
    assert rgb[2].max() == 0


def test_finds_every_bar() -> None:
    boxes = TextDetector(darkness, DETECTION)(bars(40, 140, 240), DetectionOptions())
    assert sorted(int(box.quad[:, 1].mean()) for box in boxes) == pytest.approx([52, 152, 252], abs=2)
    assert all(box.score > 0.99 for box in boxes)


def test_a_box_grows_beyond_its_ink() -> None:
    (box,) = TextDetector(darkness, DETECTION)(bars(100), DetectionOptions(unclip_ratio=1.5))
    distance = 340 * 24 * 1.5 / (2 * (340 + 24))
    assert box.quad[0].tolist() == pytest.approx([60 - distance, 100 - distance], abs=2)
    assert box.quad[2].tolist() == pytest.approx([400 + distance, 124 + distance], abs=2)


def test_a_ratio_of_nought_grows_nothing() -> None:
    (box,) = TextDetector(darkness, DETECTION)(bars(100), DetectionOptions(unclip_ratio=0))
    assert box.quad[0].tolist() == pytest.approx([60, 100], abs=1)


def test_a_threshold_of_one_finds_nothing() -> None:
    assert TextDetector(darkness, DETECTION)(bars(100), DetectionOptions(thresh=1)) == []


def test_a_white_page_has_no_boxes() -> None:
    assert TextDetector(darkness, DETECTION)(bars(), DetectionOptions()) == []


def test_boxes_are_those_of_the_picture_not_of_the_map() -> None:
    probability = np.zeros((64, 64), np.float32)
    probability[20:30, 10:50] = 1
    (box,) = find_boxes(probability, (640, 128), DetectionOptions(unclip_ratio=0))
    assert box.quad.tolist() == [[100, 40], [490, 40], [490, 58], [100, 58]]


def test_boxes_stay_inside_a_picture_wider_than_16_bits_count() -> None:
    probability = np.zeros((32, 4000), np.float32)
    probability[8:24, 3000:3990] = 1
    (box,) = find_boxes(probability, (60_000, 32), DetectionOptions())
    assert box.quad[:, 0].min() > 40_000
    assert box.quad[:, 0].max() <= 60_000


def test_no_more_regions_are_read_than_allowed() -> None:
    probability = np.zeros((320, 320), np.float32)
    probability[10::20, 10:100] = probability[11::20, 10:100] = probability[12::20, 10:100] = 1
    probability[13::20, 10:100] = probability[14::20, 10:100] = 1
    assert len(find_boxes(probability, (320, 320), DetectionOptions())) == 16
    assert len(find_boxes(probability, (320, 320), DetectionOptions(max_candidates=5))) == 5


def ell() -> NDArray[np.float32]:
    """A map with one L of certainty, a little less sure around it."""
    probability = np.zeros((160, 160), np.float32)
    probability[20:140, 20:50] = probability[110:140, 20:140] = 0.9
    return probability


def test_polygons_follow_the_text_and_rectangles_do_not() -> None:
    (rectangle,) = find_boxes(ell(), (160, 160), DetectionOptions(thresh=0.3, box_thresh=0.1))
    (polygon,) = find_boxes(ell(), (160, 160), DetectionOptions(thresh=0.3, box_thresh=0.1, box_type="poly"))
    inside = (100.0, 60.0)
    assert cv2.pointPolygonTest(rectangle.quad, inside, measureDist=False) > 0
    assert cv2.pointPolygonTest(polygon.quad, inside, measureDist=False) < 0
    assert len(polygon.quad) > 6


def test_the_slow_score_leaves_out_what_the_region_does_not_cover() -> None:
    (fast,) = find_boxes(ell(), (160, 160), DetectionOptions(box_thresh=0.1))
    (slow,) = find_boxes(ell(), (160, 160), DetectionOptions(box_thresh=0.1, score_mode="slow"))
    assert fast.score < 0.5
    assert slow.score == pytest.approx(0.9)


def test_dilation_joins_regions_a_pixel_apart() -> None:
    probability = np.zeros((64, 64), np.float32)
    probability[20:40, 10:30] = probability[20:40, 31:50] = 1
    assert len(find_boxes(probability, (64, 64), DetectionOptions(use_dilation=False))) == 2
    assert len(find_boxes(probability, (64, 64), DetectionOptions(use_dilation=True))) == 1


def test_a_region_of_three_corners_is_no_polygon() -> None:
    probability = np.zeros((64, 64), np.float32)
    cv2.fillPoly(probability, [np.array([[10, 10], [50, 10], [10, 50]])], [1.0])
    options = DetectionOptions(box_thresh=0.1, box_type="poly")
    assert len(find_boxes(probability, (64, 64), replace(options, box_type="quad"))) == 1
    assert find_boxes(probability, (64, 64), options) == []


def test_a_shape_wins_over_every_limit() -> None:
    image = np.zeros((300, 500, 3), np.uint8)
    options = DetectionOptions(limit_side_len=960, max_side_limit=64, input_shape=(3, 100, 70))
    assert preprocess(image, options, DETECTION).shape == (1, 3, 100, 70)


def test_boxes_on_a_stretched_picture_are_those_of_the_picture() -> None:
    plain, stretched = (
        TextDetector(darkness, DETECTION)(bars(100), DetectionOptions(unclip_ratio=0, input_shape=shape))
        for shape in (None, (3, 640, 480))
    )
    assert stretched[0].quad == pytest.approx(plain[0].quad, abs=2)


def test_what_is_left_open_is_as_the_model_says() -> None:
    says = replace(DETECTION, postprocess={"max_candidates": 3, "score_mode": "slow", "use_dilation": True})
    found = with_model_defaults(DetectionOptions(use_dilation=False, thresh=0.0), says)
    assert (found.max_candidates, found.score_mode, found.use_dilation) == (3, "slow", False)
    assert (found.thresh, found.box_thresh, found.input_shape) == (0.0, 0.6, None)
    assert with_model_defaults(DetectionOptions(), replace(DETECTION, postprocess={})).max_candidates == 1000


def test_a_model_of_one_size_is_given_it() -> None:
    fixed = replace(DETECTION, input_shape=(3, 64, 96))
    assert with_model_defaults(DetectionOptions(), fixed).input_shape == (3, 64, 96)
    assert with_model_defaults(DetectionOptions(input_shape=(3, 32, 32)), fixed).input_shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("name", "says", "limit"),
    [
        ("PP-OCRv5_mobile_det", {}, (960, "max")),
        ("PP-OCRv6_tiny_det", {"resize_long": 1280}, (1280, "max")),
        ("PP-OCRv4_server_seal_det", {}, (736, "min")),
        ("mine", {"resize_long": 960}, (960, "min")),
    ],
)
def test_by_itself_a_model_is_given_the_references_size(
    name: str, says: dict[str, float | int | str | bool], limit: tuple[int, str]
) -> None:
    options = standalone_options(replace(DETECTION, name=name, postprocess=says))
    assert (options.limit_side_len, options.limit_type) == limit
    assert (options.thresh, options.box_thresh, options.unclip_ratio) == (0.3, 0.6, 2.0)


def test_by_itself_a_model_is_used_with_its_own_thresholds() -> None:
    says = {"thresh": 0.2, "box_thresh": 0.0, "unclip_ratio": 1.4}
    options = standalone_options(replace(DETECTION, postprocess=says))
    assert (options.thresh, options.box_thresh, options.unclip_ratio) == (0.2, 0.0, 1.4)


@given(
    st.integers(0, 200), st.integers(0, 200), st.integers(4, 80), st.integers(4, 80), st.floats(0, 3.1), st.floats(0, 3)
)
def test_unclipping_is_clippers_with_corners_cut_to_whole_pixels(
    x: int, y: int, width: int, height: int, angle: float, ratio: float
) -> None:
    corners = cv2.boxPoints(((x + 200.0, y + 200.0), (float(width), float(height)), math.degrees(angle)))
    offset = pyclipper.PyclipperOffset()
    offset.AddPath([[int(a), int(b)] for a, b in corners], pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    distance = cv2.contourArea(corners) * ratio / cv2.arcLength(corners, closed=True)
    assert [part.tolist() for part in unclip(np.asarray(corners, np.float32), ratio)] == offset.Execute(distance)


@given(st.integers(0, 2**32 - 1), st.integers(-10, 50), st.integers(-10, 30), st.integers(3, 60), st.integers(3, 40))
def test_a_boxs_score_is_the_mean_of_its_pixels(seed: int, left: int, top: int, width: int, height: int) -> None:
    probability = np.random.default_rng(seed).random((40, 60), np.float32)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) + np.array(
        [left, top], np.float32
    )
    inside = [
        probability[y, x]
        for y in range(max(top, 0), min(top + height, 39) + 1)
        for x in range(max(left, 0), min(left + width, 59) + 1)
    ]
    if inside:
        assert mean_inside(probability, corners) == pytest.approx(np.mean(inside), abs=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit_side_len": 0},
        {"max_side_limit": 0},
        {"thresh": 1.5},
        {"box_thresh": -0.1},
        {"unclip_ratio": math.inf},
        {"unclip_ratio": 1e9},
        {"limit_side_len": "960"},
        {"max_side_limit": 4000.0},
        {"limit_type": "resize_long"},
        {"thresh": math.nan},
        {"input_shape": (3, 640)},
        {"input_shape": (1, 640, 640)},
        {"input_shape": (3, 0, 640)},
        {"max_candidates": 0},
        {"score_mode": "exact"},
        {"box_type": "rect"},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        DetectionOptions(**wrong)  # type: ignore[arg-type]


def test_options_tuned_for_a_model_come_before_those_of_its_file() -> None:
    tuned = zoo.spec("PP-OCRv6_small_det").tuned
    says = replace(DETECTION, name="PP-OCRv6_small_det", postprocess={**dict.fromkeys(tuned, 0.9), "max_candidates": 7})
    found = with_model_defaults(DetectionOptions(), says)
    assert tuned
    assert {name: getattr(found, name) for name in tuned} == tuned
    assert found.max_candidates == 7


SMALL_MODEL = replace(DETECTION, name="PP-OCRv6_tiny_det")


@pytest.mark.parametrize("model", [SMALL_MODEL, DETECTION], ids=["measured", "unknown"])
def test_the_memory_of_a_model_is_that_measured_or_that_of_the_largest(model: ModelMetadata) -> None:
    options = DetectionOptions(limit_side_len=640, limit_type="max")
    measured = zoo.spec("PP-OCRv6_tiny_det").memory if model is SMALL_MODEL else DEFAULT_PIXEL_BYTES
    assert measured is not None
    assert working_memory((1280, 640), options, model) == 640 * 320 * measured


def test_a_page_beyond_the_memory_limit_is_refused_with_a_size_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "remaining", lambda: 2**28)
    page = np.zeros((1984, 3008, 3), np.uint8)
    with pytest.raises(NotEnoughMemoryError, match="detection at 3008 x 1984 would take about 1195 MB") as refused:
        check_memory(page, DetectionOptions(), DETECTION)
    advised = re.search(r"use limit_side_len=(\d+) with limit_type='max'", str(refused.value))
    assert advised is not None
    side = int(advised[1])
    assert side % 32 == 0
    check_memory(page, DetectionOptions(limit_side_len=side, limit_type="max"), DETECTION)
    with pytest.raises(NotEnoughMemoryError):
        check_memory(page, DetectionOptions(limit_side_len=side + 160, limit_type="max"), DETECTION)


def test_without_a_limit_of_memory_a_page_beyond_the_machines_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(memory, "remaining", lambda: None)
    monkeypatch.setattr(memory, "available", lambda: 2**27)
    check_memory(np.zeros((1984, 3008, 3), np.uint8), DetectionOptions(), DETECTION)
    assert "detection at 3008 x 1984 will take about 1195 MB" in caplog.text
    assert caplog.text.endswith("available: reduce limit_side_len\n")


def test_the_memory_of_a_small_page_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(memory, "remaining", lambda: asked.append(True))
    check_memory(np.zeros((640, 640, 3), np.uint8), DetectionOptions(), DETECTION)
    assert asked == []


class OnDevice(Session):
    """A session that normalizes pixels itself, with the darkness of the red channel as its answer."""

    def __init__(self) -> None:
        self.seen: list[Pixels] = []

    @property
    def reads_pixels(self) -> bool:
        return True

    def run_pixels(self, pixels: Pixels) -> tuple[np.ndarray[Any, Any], ...]:
        self.seen.append(pixels)
        height, width = pixels.image.shape[:2]
        map_ = np.zeros((1, 1, *pixels.padded), np.float32)
        map_[0, 0, :height, :width] = pixels.image[:, :, 0] < 128
        return (map_,)


@pytest.mark.parametrize("channels", ["BGR", "RGB"])
def test_a_session_that_reads_pixels_gets_them_in_the_models_order(channels: Literal["BGR", "RGB"]) -> None:
    page = bars(100)
    page[..., 0 if channels == "RGB" else 2] = 255
    run, model = OnDevice(), replace(DETECTION, channels=channels)
    (box,) = TextDetector(run, model, MASKED_SHAPES)(page, DetectionOptions(unclip_ratio=0))
    assert box.quad[0].tolist() == [60, 100]
    (seen,) = run.seen
    assert seen.padded == (480, 480)
    np.testing.assert_array_equal(seen.image, page if channels == "BGR" else page[..., ::-1])
    np.testing.assert_array_equal(seen.table, tables(model))


def test_a_map_of_another_size_is_an_error_that_names_both() -> None:
    def half(batch: Tensor) -> tuple[Tensor]:
        return (batch[:, :1, ::2, ::2],)

    with pytest.raises(ModelError, match=r"det returned a map of shape \(1, 1, 160, 240\) for an image of 480 x 320"):
        TextDetector(half, DETECTION)(bars(100))


def test_a_reduction_to_the_largest_side_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert resized((5000, 2000), DetectionOptions(max_side_limit=4000)) == (4000, 1600)
    assert caplog.messages == ["detection at 5000 x 2000 exceeds max_side_limit 4000: the image is reduced"]


@pytest.mark.parametrize("shape", ["quad", "poly"])
@pytest.mark.parametrize(
    ("height", "ratio", "found"), [(3, 3.0, 0), (4, 3.0, 1), (5, 0.0, 0), (6, 0.0, 1), (7, 0.0, 1)]
)
def test_thin_regions_are_dropped_before_and_after_they_grow(
    height: int, ratio: float, found: int, shape: Literal["quad", "poly"]
) -> None:
    """The side of n rows of pixels is n - 1; only rectangles are measured before they grow."""
    probability = np.zeros((64, 128), np.float32)
    probability[20 : 20 + height, 10:110] = 1
    boxes = find_boxes(probability, (128, 64), DetectionOptions(unclip_ratio=ratio, box_type=shape))
    assert len(boxes) == (1 if shape == "poly" and ratio else found)


@pytest.mark.parametrize("shape", ["quad", "poly"])
@pytest.mark.parametrize("mode", ["fast", "slow"])
def test_a_region_whose_score_is_the_threshold_is_kept(
    shape: Literal["quad", "poly"], mode: Literal["fast", "slow"]
) -> None:
    probability = np.zeros((64, 128), np.float32)
    probability[20:40, 10:110] = 0.5
    options = DetectionOptions(thresh=0.25, box_thresh=0.5, score_mode=mode, box_type=shape)
    (kept,) = find_boxes(probability, (128, 64), options)
    assert kept.score == 0.5
    assert find_boxes(probability, (128, 64), replace(options, box_thresh=0.51)) == []
