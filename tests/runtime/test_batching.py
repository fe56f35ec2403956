"""In which shapes models are given their inputs, on a processor and on a GPU; the GPU's are forced on the CPU provider."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import DETECTION, LINE, PAGE, PAGES, RECOGNITION, UNWARPING, VERSION_5
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.batches import forced, lines
from ocr_onnx import OCR, DetectionOptions, OCROptions, RecognitionOptions
from ocr_onnx.inputs import sources
from ocr_onnx.options import LineOrientationOptions
from ocr_onnx.runtime import batching
from ocr_onnx.runtime.batching import (
    CPU_SHAPES,
    EXACT_SHAPES,
    MASKED_SHAPES,
    MAX_BATCH_COLUMNS,
    MAX_WARM_UP_PIXELS,
    PADDED_SHAPES,
    PADDING_MARK,
    RUN_COST,
    Batch,
    Shapes,
)
from ocr_onnx.runtime.provider_specs import CPU_PROVIDER, CUDA_PROVIDER, OPENVINO_PROVIDER
from ocr_onnx.runtime.providers import CPU, Placement, Provider
from ocr_onnx.stages.detection import TextDetector, input_size, largest_side
from ocr_onnx.stages.orientation import LineClassifier
from ocr_onnx.stages.recognition import TextRecognizer
from ocr_onnx.types import Run, Tensor

HIGH = OCROptions.high_performance()


def recording(seen: set[tuple[int, ...]], answer: Callable[[Tensor], Any]) -> Run:
    """A model that notes the shapes of what it is given."""

    def run(tensor: Tensor) -> tuple[Any, ...]:
        seen.add(tensor.shape)
        return (answer(tensor),)

    return run


def nothing(tensor: Tensor) -> Tensor:
    """A map without text."""
    return np.zeros((1, 1, *tensor.shape[2:]), np.float32)


def blanks(tensor: Tensor) -> Tensor:
    """Of each line, a table in which each step is a blank."""
    table = np.zeros((len(tensor), tensor.shape[3] // 8, 7), np.float32)
    table[..., 0] = 1
    return table


def first_class(tensor: Tensor) -> Tensor:
    return np.tile(np.array([[1.0, 0.0]], np.float32), (len(tensor), 1))


@pytest.mark.parametrize(
    ("providers", "mode", "expected", "bounded"),
    [
        ((CPU_PROVIDER,), "high-performance", CPU_SHAPES, CPU_SHAPES),
        ((OPENVINO_PROVIDER,), "high-performance", CPU_SHAPES, CPU_SHAPES),
        ((CUDA_PROVIDER, CPU_PROVIDER), "standard", EXACT_SHAPES, MASKED_SHAPES),
        ((CUDA_PROVIDER, CPU_PROVIDER), "high-performance", PADDED_SHAPES, MASKED_SHAPES),
        (("DmlExecutionProvider",), "standard", EXACT_SHAPES, MASKED_SHAPES),
    ],
)
def test_a_gpu_gets_batches_and_few_shapes_where_they_change_no_text_or_the_mode_allows_it(
    providers: tuple[str, ...], mode: Any, expected: Shapes, bounded: Shapes
) -> None:
    where = Placement(tuple(map(Provider, providers)), "test", mode)
    assert batching.shapes_for(where, RECOGNITION, masked=False) is expected
    assert batching.shapes_for(where, RECOGNITION, masked=True) is bounded
    assert batching.shapes_for(where, LINE, masked=False) is (PADDED_SHAPES if where.on_gpu else CPU_SHAPES)


@given(
    st.lists(st.integers(8, 4000), max_size=60),
    st.sampled_from([CPU_SHAPES, EXACT_SHAPES, PADDED_SHAPES, MASKED_SHAPES]),
)
def test_each_line_is_in_one_batch_that_is_wide_enough(widths: list[int], kinds: Shapes) -> None:
    batches = kinds.batches(widths)
    assert sorted(i for batch in batches for i in batch.members) == list(range(len(widths)))
    assert [batch.width for batch in batches] == sorted(batch.width for batch in batches)
    for batch in batches:
        assert batch.size in kinds.sizes
        assert batch.size == batching._round_up(len(batch.members), kinds.sizes)
        assert all(widths[i] <= batch.width for i in batch.members)
        assert batch.size == 1 or batch.size * batch.width <= MAX_BATCH_COLUMNS
        if not kinds.widths:
            assert {widths[i] for i in batch.members} == {batch.width}
        elif not kinds.masked:
            assert len({batching._round_up(widths[i], kinds.widths) for i in batch.members}) == 1


def cost(batches: Sequence[Batch]) -> int:
    return sum(RUN_COST + batch.size * batch.width for batch in batches)


@given(st.lists(st.sampled_from([8, 100, 320, 330, 500, 900, 1500, 3200]), max_size=9))
def test_no_other_batches_would_cost_less(widths: list[int]) -> None:
    def least(ordered: tuple[int, ...]) -> int:
        if not ordered:
            return 0
        heads = ((ordered[:count], ordered[count:]) for count in range(1, len(ordered) + 1))
        sizes = (
            (
                batching._round_up(len(head), MASKED_SHAPES.sizes) * batching._round_up(head[-1], MASKED_SHAPES.widths),
                head,
                rest,
            )
            for head, rest in heads
        )
        return min(
            RUN_COST + size + least(rest) for size, head, rest in sizes if len(head) == 1 or size <= MAX_BATCH_COLUMNS
        )

    assert cost(MASKED_SHAPES.batches(widths)) == least(tuple(sorted(widths)))


def test_a_page_of_many_widths_takes_few_runs() -> None:
    widths = [320] * 9 + [360, 402, 433, 470, 512, 560, 640, 700, 770, 840, 900, 990, 1100, 1200, 1290]
    counts = [len(kinds.batches(widths)) for kinds in (CPU_SHAPES, EXACT_SHAPES, PADDED_SHAPES, MASKED_SHAPES)]
    assert counts == [24, 16, 6, 3]


def test_without_bounds_in_standard_mode_lines_of_one_width_share_a_batch() -> None:
    assert [(batch.members, batch.width) for batch in EXACT_SHAPES.batches([320] * 18 + [400] * 2)] == [
        ((0, 1), 320),
        (tuple(range(2, 18)), 320),
        ((18, 19), 400),
    ]


def test_after_the_warm_up_no_new_shape_comes() -> None:
    random = np.random.default_rng(7)
    seen: set[tuple[int, ...]] = set()
    detect = TextDetector(recording(seen, nothing), DETECTION, PADDED_SHAPES)
    for height, width in random.integers(1, 2000, (200, 2)):
        assert detect(np.zeros((height, width, 3), np.uint8), HIGH.detection) == []
    assert len(seen) > 12
    assert seen <= set(PADDED_SHAPES.warm_up_shapes(DETECTION, largest_side(HIGH.detection)))

    seen.clear()
    recognize = TextRecognizer(recording(seen, blanks), RECOGNITION, shapes=PADDED_SHAPES)
    classify = LineClassifier(recording(seen, first_class), LINE, shapes=PADDED_SHAPES)
    for count in range(1, 40):
        sizes = zip(random.integers(8, 60, count), random.integers(1, 5000, count), strict=True)
        crops = [np.zeros((height, width, 3), np.uint8) for height, width in sizes]
        assert [text.text for text in recognize(crops, HIGH.recognition)] == [""] * count
        assert len(recognize(crops)) == count
        assert len(classify(crops, LineOrientationOptions(batch_size=1))) == count
    assert seen <= set(PADDED_SHAPES.warm_up_shapes(RECOGNITION, 0)) | set(PADDED_SHAPES.warm_up_shapes(LINE, 0))


@pytest.mark.parametrize(
    "options",
    [DetectionOptions(), HIGH.detection, DetectionOptions(limit_side_len=900, limit_type="max", max_side_limit=700)],
)
@given(size=st.tuples(st.integers(1, 6000), st.integers(1, 6000)))
def test_no_side_is_longer_than_the_largest(options: DetectionOptions, size: tuple[int, int]) -> None:
    page = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (*size, 3))
    assert max(input_size(page.shape[1::-1], options)) <= largest_side(options)


def test_a_padded_page_is_black_beyond_its_own_and_its_map_is_cut_back() -> None:
    given_in: list[Tensor] = []

    def run(tensor: Tensor) -> tuple[Tensor]:
        given_in.append(tensor)
        return (tensor[:, :1],)

    page = np.random.default_rng(0).normal(size=(1, 3, 640, 96)).astype(np.float32)
    (answer,) = PADDED_SHAPES.pad_pages(run, DETECTION)(page)
    np.testing.assert_array_equal(answer, page[:, :1])
    (whole,) = given_in
    assert whole.shape == (1, 3, 736, 480)
    np.testing.assert_array_equal(whole[..., :640, :96], page)
    mean, std = np.array(DETECTION.mean, np.float32), np.array(DETECTION.std, np.float32)
    np.testing.assert_allclose(whole[0, :, 700, 300], -mean / std, rtol=1e-6)
    np.testing.assert_allclose(whole[0, :, 5, 97], -mean / std, rtol=1e-6)


def test_a_detector_of_one_size_is_given_that_size() -> None:
    fixed = replace(DETECTION, input_shape=(3, 640, 640))
    run = recording(set(), nothing)
    assert PADDED_SHAPES.pad_pages(run, fixed) is run
    assert PADDED_SHAPES.warm_up_shapes(fixed, 4000) == [(1, 3, 640, 640)]


def test_beyond_the_largest_side_and_width_shapes_are_their_own() -> None:
    assert [(batch.width, batch.size) for batch in PADDED_SHAPES.batches([3300])] == [(3300, 4)]
    (answer,) = PADDED_SHAPES.pad_pages(lambda tensor: (tensor,), DETECTION)(np.zeros((1, 3, 4032, 480), np.float32))
    assert answer.shape == (1, 3, 4032, 480)


def test_where_shapes_are_not_few_the_warm_up_takes_usual_ones() -> None:
    assert EXACT_SHAPES.warm_up_shapes(DETECTION, 4000) == [(1, 3, 960, 960)]
    assert EXACT_SHAPES.warm_up_shapes(RECOGNITION, 4000) == [(size, 3, 48, 320) for size in range(1, 17)]
    assert PADDED_SHAPES.warm_up_shapes(PAGE, 4000) == [(1, 3, 224, 224)]
    assert PADDED_SHAPES.warm_up_shapes(UNWARPING, 4000) == [(1, 3, 960, 960)]


def test_pages_that_take_much_memory_are_not_run_ahead() -> None:
    ahead = MASKED_SHAPES.warm_up_shapes(DETECTION, 4000)
    assert max(height * width for _, _, height, width in ahead) <= MAX_WARM_UP_PIXELS
    assert (1, 3, 960, 4000) in ahead
    assert len(ahead) == 39


def test_what_pads_a_page_or_a_line_is_marked_where_the_model_sees_it() -> None:
    given_in: list[Tensor] = []

    def run(tensor: Tensor) -> tuple[Tensor]:
        given_in.append(tensor)
        return (tensor[:, :1],)

    page = np.ones((1, 3, 640, 96), np.float32)
    assert MASKED_SHAPES.pad_pages(run, DETECTION)(page)[0].shape == (1, 1, 640, 96)
    (whole,) = given_in
    assert (whole[..., :640, :96] == 1).all()
    assert (whole[..., 640:, :] == PADDING_MARK).all()
    assert (whole[..., 96:] == PADDING_MARK).all()
    room = MASKED_SHAPES.stack([page[:, :, :48, :80], page[:, :, :48]], Batch((0, 1), 120, 4))
    assert [(row == PADDING_MARK).any(axis=(0, 1)).sum() for row in room] == [40, 24, 0, 0]
    assert (room[2:] == 0).all()


@pytest.mark.parametrize("kinds", [EXACT_SHAPES, MASKED_SHAPES])
def test_batches_read_what_single_lines_read(ocr: OCR, kinds: Shapes) -> None:
    together = forced(OCR(models=VERSION_5), kinds)
    for name in ("receipt.png", "letter.png"):
        (page,) = sources.read_pages(PAGES / name)
        expected, found = ocr.read(page, ocr.options), together.read(page, ocr.options)
        assert lines(found) == lines(expected)
        for one, other in zip(found.lines, expected.lines, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-4)
            assert one.box.upside_down == other.box.upside_down


def test_with_bounds_few_shapes_read_what_high_performance_mode_does_on_a_processor() -> None:
    few, each = forced(OCR(HIGH), MASKED_SHAPES), OCR(HIGH)
    options = replace(HIGH, return_word_box=True)
    for name in ("letter.png", "receipt.png"):
        (page,) = sources.read_pages(PAGES / name)
        expected, found = each.read(page, options), few.read(page, options)
        assert lines(found) == lines(expected)
        for one, other in zip(found.lines, expected.lines, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-4)
            assert one.words is not None
            assert other.words is not None
            assert [(w.text, w.box.tolist()) for w in one.words] == [(w.text, w.box.tolist()) for w in other.words]


def test_few_shapes_read_nearly_all_lines_as_high_performance_mode_does_on_a_processor() -> None:
    few, each = forced(OCR(HIGH), PADDED_SHAPES), OCR(HIGH)
    total = equal = 0
    for name in ("letter.png", "receipt.png"):
        (page,) = sources.read_pages(PAGES / name)
        expected = [line.text for line in each.read(page, HIGH).lines]
        found = [line.text for line in few.read(page, HIGH).lines]
        total += len(expected)
        equal += sum(text in found for text in expected)
    assert equal / total >= 0.9


def test_word_boxes_stand_where_they_do_on_a_processor() -> None:
    crop = np.zeros((48, 200, 3), np.uint8)

    def full(tensor: Tensor) -> tuple[Any, Any]:
        steps = tensor.shape[3] // 8
        return np.ones((len(tensor), steps), np.int64), np.ones((len(tensor), steps), np.float32)

    own = RecognitionOptions(padding="own")
    (text,) = TextRecognizer(full, RECOGNITION, shapes=PADDED_SHAPES)([crop], own)
    (alone,) = TextRecognizer(full, RECOGNITION)([crop], own)
    assert text.columns.total == pytest.approx(alone.columns.total)


def test_warming_up_runs_every_shape_once() -> None:
    ocr = OCR(OCROptions(use_doc_orientation_classify=False, use_textline_orientation=False))
    seen: set[tuple[int, ...]] = set()
    few = forced(ocr, replace(PADDED_SHAPES, widths=(80, 320), sizes=(1, 2), sides=(320, 416)))
    few = few.with_stages(
        recognize=replace(few.recognize, run=recording(seen, blanks)),
        detect=replace(few.detect, run=recording(seen, nothing)),
    )
    assert few.warm_up() == 8 == len(seen)


def test_on_a_processor_warming_up_changes_no_reading() -> None:
    ocr = OCR(device=CPU)
    (before,) = ocr.predict(PAGES / "sign.png")
    assert ocr.warm_up() == 4
    (after,) = ocr.predict(PAGES / "sign.png")
    assert lines(after) == lines(before)
