"""Widths, padding and CTC decoding."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import RECOGNITION
from hypothesis import given
from hypothesis import strategies as st

from ocr_onnx import RecognitionOptions
from ocr_onnx.errors import OptionError
from ocr_onnx.runtime.batching import PADDING_CLASS, PADDING_MARK, Shapes
from ocr_onnx.stages.recognition import (
    TextRecognizer,
    computed,
    ctc_decode,
    filled_shares,
    input_widths,
    own_width,
    padded_widths,
    preprocess,
    squeezing_warning,
    tight_widths,
    without_padding,
)
from ocr_onnx.stages.resizing import resize
from ocr_onnx.types import Columns, Image, Tensor

SHAPE = (3, 48, 320)
shapes = st.tuples(st.integers(1, 80), st.integers(1, 6000))


def blank(height: int, width: int) -> Image:
    return np.zeros((height, width, 3), np.uint8)


def paddle_resize(image: Image) -> Tensor:
    """PaddleX's OCRReisizeNormImg, step by step."""
    channels, height, width = SHAPE
    ratio = max(width / height, image.shape[1] * 1.0 / image.shape[0])
    width = int(height * ratio)
    if width > 3200:
        resized, new_width, width = resize(image, (3200, height)), 3200, 3200
    else:
        own = image.shape[1] / float(image.shape[0])
        new_width = min(math.ceil(height * own), width)
        resized = resize(image, (new_width, height))
    pixels = resized.astype("float32").transpose((2, 0, 1)) / 255
    pixels -= 0.5
    pixels /= 0.5
    padded = np.zeros((channels, height, width), dtype=np.float32)
    padded[:, :, 0:new_width] = pixels
    return padded


def naive_ctc(index: list[int], probability: list[float], charset: str) -> tuple[str, float]:
    """CTC's definition: collapse repeats, then drop blanks."""
    runs = [list(group) for _, group in itertools.groupby(enumerate(index), key=lambda pair: pair[1])]
    kept = [run[0] for run in runs if run[0][1] != 0]
    text = "".join(charset[k - 1] for _, k in kept)
    return text, float(np.mean([probability[i] for i, _ in kept])) if kept else 0.0


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_decoding_is_ctcs_definition(index: list[int]) -> None:
    probability = np.random.default_rng(len(index)).random(len(index), np.float32)
    text, score, *_ = ctc_decode(np.array(index), probability, "abcde")
    expected = naive_ctc(index, probability.tolist(), "abcde")
    assert text == expected[0]
    assert score == pytest.approx(expected[1], abs=1e-6)


def test_a_repeat_across_a_blank_is_two_characters() -> None:
    assert ctc_decode(np.array([1, 1, 0, 1]), np.ones(4, np.float32), "ab").text == "aa"


def test_nothing_but_blanks_is_an_empty_text_with_score_nought() -> None:
    assert ctc_decode(np.zeros(9, np.int64), np.ones(9, np.float32), "ab")[:2] == ("", 0.0)


@given(shapes)
def test_a_crop_alone_is_resized_as_in_the_reference(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    expected = paddle_resize(image)
    width = own_width(image.shape[1] / image.shape[0], SHAPE)
    found = preprocess(image, width, SHAPE)[0]
    np.testing.assert_array_equal(found, expected)


@given(st.lists(shapes, max_size=20), st.integers(1, 8))
def test_crops_are_padded_to_the_widest_of_their_group(sizes: list[tuple[int, int]], batch_size: int) -> None:
    crops = [blank(*size) for size in sizes]
    order = sorted(range(len(crops)), key=lambda i: crops[i].shape[1] / float(crops[i].shape[0]))
    expected = [0] * len(crops)
    for start in range(0, len(order), batch_size):
        group = order[start : start + batch_size]
        for i in group:
            expected[i] = max(paddle_resize(crops[j]).shape[2] for j in group)
    assert padded_widths(crops, batch_size, SHAPE) == expected


def test_the_columns_are_those_of_the_characters_kept() -> None:
    probability = np.array([0, 0.5, 1, 0, 0.25, 0.75], np.float32)
    text = ctc_decode(np.array([0, 1, 1, 0, 1, 2]), probability, "ab", share=0.5)
    assert text.columns == Columns(("a", "a", "b"), (1, 4, 5), 3.0, (0.5, 0.25, 0.75))


def test_a_crop_fills_its_share_of_the_width() -> None:
    assert filled_shares([blank(48, 160), blank(48, 640)], 2, SHAPE) == [0.25, 1.0]
    assert filled_shares([blank(48, 160), blank(48, 640)], 1, SHAPE) == [0.5, 1.0]


def test_a_crop_is_stretched_to_the_shape_asked_for() -> None:
    seen = []

    def look(batch: Tensor) -> tuple[np.ndarray, np.ndarray]:
        seen.append(batch)
        return np.array([[1, 0, 2, 0]]), np.ones((1, 4), np.float32)

    crop = np.random.default_rng(0).integers(0, 255, (40, 90, 3), np.uint8)
    (text,) = TextRecognizer(look, RECOGNITION)([crop], RecognitionOptions(input_shape=(3, 48, 200)))
    expected = (cv2.resize(crop, (200, 48)).transpose(2, 0, 1) / 255 - 0.5) / 0.5
    np.testing.assert_array_equal(seen[0][0], expected.astype(np.float32))
    assert seen[0].shape == (1, 3, 48, 200)
    assert text.columns.total == 4


def test_another_height_than_the_models_is_refused_before_anything_is_read() -> None:
    def never(_: Tensor) -> tuple[np.ndarray, ...]:
        raise AssertionError

    with pytest.raises(
        OptionError, match=r"is \(3, 32, 320\), but rec accepts only crops of height 48: give \(3, 48, width\)"
    ):
        TextRecognizer(never, RECOGNITION)([blank(48, 100)], RecognitionOptions(input_shape=(3, 32, 320)))


def test_padding_is_nought_and_stands_on_the_right() -> None:
    tensor = preprocess(np.full((48, 100, 3), 255, np.uint8), 400, SHAPE)
    assert tensor.shape == (1, 3, 48, 400)
    assert (tensor[:, :, :, :100] == 1).all()
    assert not tensor[:, :, :, 100:].any()


def test_texts_come_back_in_the_order_of_the_crops() -> None:
    def by_brightness(batch: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """A model that reads one character: the brighter the crop, the later in the alphabet."""
        return np.array([[round(float(batch[0, 0, 0, 0] + 1) * 2) + 1]]), np.ones((1, 1), np.float32)

    crops = [np.full((48, width, 3), level, np.uint8) for width, level in ((900, 255), (50, 0), (400, 128), (60, 255))]
    texts = TextRecognizer(by_brightness, RECOGNITION)(crops, RecognitionOptions())
    assert [text.text for text in texts] == ["e", "a", "c", "e"]


def test_no_crops_are_no_texts() -> None:
    def never(_: Tensor) -> tuple[np.ndarray, ...]:
        raise AssertionError

    assert TextRecognizer(never, RECOGNITION)([], RecognitionOptions()) == []


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"score_thresh": 1.1}, {"score_thresh": -1.0}, {"input_shape": (3, 48, 0)}]
)
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        RecognitionOptions(**wrong)  # type: ignore[arg-type]


def test_arabic_is_put_in_visual_order_as_paddle_does() -> None:
    def letters(_: Tensor) -> tuple[np.ndarray, np.ndarray]:
        return np.array([[1, 2, 3]]), np.ones((1, 3), np.float32)

    shape = replace(RECOGNITION, charset=("ا", "ب", "1"))
    crops = [blank(48, 100)]
    plain = TextRecognizer(letters, shape)(crops, RecognitionOptions())
    arabic = TextRecognizer(letters, replace(shape, name="arabic_PP-OCRv5_mobile_rec"))(crops, RecognitionOptions())
    assert [plain[0].text, arabic[0].text] == ["اب1", "1با"]


def test_a_graph_that_answers_with_all_classes_is_read_alike() -> None:
    table = np.zeros((1, 3, 7), np.float32)
    table[0, [0, 1, 2], [2, 0, 1]] = 0.9, 0.8, 0.7

    def full(_: Tensor) -> tuple[np.ndarray, ...]:
        return (table,)

    (text,) = TextRecognizer(full, RECOGNITION)([blank(48, 100)], RecognitionOptions())
    assert text.text == "ba"
    assert text.score == pytest.approx(0.8)


@given(st.lists(shapes, min_size=1, max_size=9))
def test_a_crop_padded_by_itself_is_whole_and_never_wider_than_in_a_batch(sizes: list[tuple[int, int]]) -> None:
    crops = [blank(*size) for size in sizes]
    widths, shares = tight_widths(crops, SHAPE)
    for crop, width, share, batch in zip(crops, widths, shares, padded_widths(crops, 6, SHAPE), strict=True):
        assert width % 8 == 0
        assert 80 <= width < batch + 8
        filled_part = round(width * share)
        assert filled_part == pytest.approx(min(48 * crop.shape[1] / crop.shape[0] * 0.93, 3200), abs=1)
        tensor = preprocess(crop, width, SHAPE, 0.93)
        assert tensor.shape == (1, 3, 48, width)
        assert not tensor[..., filled_part:].any()


def test_crops_are_not_squeezed_for_models_that_lose_text_by_it() -> None:
    (width,), (share,) = input_widths([blank(48, 400)], RecognitionOptions(padding="own"), RECOGNITION)
    assert (width, round(width * share)) == (376, 372)
    later = replace(RECOGNITION, name="PP-OCRv6_small_rec")
    (width,), (share,) = input_widths([blank(48, 400)], RecognitionOptions(padding="own"), later)
    assert (width, share) == (400, 1)


def test_short_crops_are_padded_to_more_for_models_that_lose_text_by_less() -> None:
    crops, own = [blank(48, 60), blank(48, 240)], RecognitionOptions(padding="own")
    assert input_widths(crops, own, RECOGNITION)[0] == [80, 224]
    widths, shares = input_widths(crops, own, replace(RECOGNITION, name="PP-OCRv6_small_rec"))
    assert (widths, shares) == ([224, 240], [60 / 224, 1])


def test_padding_says_in_which_width_a_crop_is_run() -> None:
    seen: list[int] = []
    filled: list[int] = []

    def run(tensor: Tensor) -> tuple[np.ndarray, ...]:
        seen.append(tensor.shape[3])
        filled.append(int(tensor[0, 0, 0].astype(bool).sum()))
        steps = np.ones((1, tensor.shape[3] // 8))
        return steps.astype(np.int64), steps.astype(np.float32)

    recognizer = TextRecognizer(run, RECOGNITION, threads=1)
    crops = [blank(48, 200), blank(48, 400)]
    recognizer(crops)
    assert seen == [400, 400]
    assert sorted(filled) == [200, 400]
    seen.clear()
    filled.clear()
    texts = recognizer(crops, RecognitionOptions(padding="own"))
    assert seen == [376, 192]
    assert filled == [372, 187]
    assert [text.columns.total for text in texts] == [
        pytest.approx(186 / 8, abs=1 / 8),
        pytest.approx(372 / 8, abs=1 / 8),
    ]


def test_padding_is_by_batch_or_by_itself() -> None:
    with pytest.raises(OptionError, match="'batch' or 'own'"):
        RecognitionOptions(padding="tight")  # type: ignore[arg-type]


def by_darkness(batch: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """A model with a step for each 8 columns: "a" if it is black, else a blank; padding is marked as padding."""
    steps = batch[:, 0, 24, ::8]
    index = np.where(steps == PADDING_MARK, PADDING_CLASS, (steps < 0).astype(np.int64))
    return index, np.full(index.shape, 0.5, np.float32)


def dashed(width: int, bar: int = 16, gap: int = 16) -> Image:
    """A crop of 48 rows with black bars on white."""
    columns = np.arange(width) % (bar + gap) < bar
    return np.broadcast_to(np.where(columns, 0, 255)[None, :, None], (48, width, 3)).astype(np.uint8)


def test_lines_of_several_widths_in_a_batch_are_read_without_their_padding() -> None:
    shapes = Shapes(sizes=(4,), widths=(320, 640), masked=True)
    crops, seen = [dashed(640), dashed(160), dashed(480)], []

    def run(batch: Tensor) -> tuple[np.ndarray, np.ndarray]:
        seen.append(batch.shape)
        return by_darkness(batch)

    texts = TextRecognizer(run, RECOGNITION, shapes=shapes)(crops, RecognitionOptions(batch_size=1))
    assert seen == [(4, 3, 48, 640)]
    assert [text.text for text in texts] == ["a" * 20, "a" * 5, "a" * 15]
    # A crop of 160 columns is padded to the model's 320, and the share of them that it fills is the half.
    assert [text.columns.total for text in texts] == [80, 20, 60]


def test_steps_in_marked_padding_are_left_out() -> None:
    index, probability = without_padding(np.array([0, 3, -1, 2, -1]), np.arange(5, dtype=np.float32))
    assert (index.tolist(), probability.tolist()) == ([0, 3, 2], [0, 1, 3])


def test_only_a_blank_with_the_probability_nought_was_not_computed() -> None:
    found = computed(np.array([0, 0, 4, 4]), np.array([0, 0.5, 0, 0.5], np.float32))
    assert found.tolist() == [False, True, True, True]


def spaced(width: int) -> Image:
    """A dashed crop with a wide gap in the middle."""
    crop = dashed(width)
    crop[:, width // 2 - 40 : width // 2 + 40] = 255
    return crop


def test_a_wide_crop_is_cut_squeezed_or_stretched() -> None:
    widths: list[int] = []

    def run(batch: Tensor) -> tuple[np.ndarray, np.ndarray]:
        widths.append(batch.shape[3])
        return by_darkness(batch)

    recognizer, crops = TextRecognizer(run, RECOGNITION, threads=1), [dashed(160), spaced(4000)]
    short, cut = recognizer(crops, RecognitionOptions(cut_wide_lines=True, batch_size=1))
    # The gap of 80 columns takes the place of two bars and parts of others.
    first, second = cut.text.split(" ")
    assert len(widths) == 3
    assert max(widths) < 2100
    assert short.text == "aaaaa"
    assert len(first + second) == pytest.approx(4000 / 32 - 3, abs=2)

    widths.clear()
    recognizer(crops, RecognitionOptions(cut_wide_lines=False, batch_size=1))
    assert sorted(widths) == [320, 3200]

    widths.clear()
    for cutting in (True, False):
        recognizer(crops, RecognitionOptions(cut_wide_lines=cutting, input_shape=(3, 48, 640)))
    assert widths == [640] * 4


def test_only_a_crop_as_wide_as_the_models_largest_input_is_whole() -> None:
    widths: list[int] = []

    def run(batch: Tensor) -> tuple[np.ndarray, np.ndarray]:
        widths.append(batch.shape[3])
        return by_darkness(batch)

    TextRecognizer(run, RECOGNITION, threads=1)([dashed(3200)], RecognitionOptions(cut_wide_lines=True))
    assert widths == [3200]


def test_crops_beyond_the_largest_input_are_counted_in_a_warning() -> None:
    kept = RecognitionOptions(cut_wide_lines=False)
    crops = [blank(48, 3200), blank(48, 3201), blank(24, 1700), blank(96, 3300)]
    assert squeezing_warning(crops, kept, RECOGNITION) == (
        "2 lines are longer than 67 times their height and squeezed for recognition, so text may be missing: "
        "set text_rec_cut_wide_lines"
    )
    assert squeezing_warning(crops[:1], kept, RECOGNITION) is None
    assert squeezing_warning(crops, RecognitionOptions(cut_wide_lines=True), RECOGNITION) is None
    assert squeezing_warning(crops, replace(kept, input_shape=(3, 48, 320)), RECOGNITION) is None
