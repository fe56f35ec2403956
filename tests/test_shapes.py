"""In which shapes models are given their inputs, on a processor and on a GPU; the GPU's are forced on the CPU provider."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import DETECTION, LINE, PAGE, PAGES, RECOGNITION, UNWARPING
from hypothesis import given
from hypothesis import strategies as st

from ocr_onnx import OCR, DetectionOptions, OCROptions, OCRResult, RecognitionOptions, shapes, sources
from ocr_onnx.detection import TextDetector, input_size, largest_side
from ocr_onnx.devices import CPU, CPU_PROVIDER, CUDA_PROVIDER, OPENVINO_PROVIDER, Placement, Provider
from ocr_onnx.orientation import LineClassifier, LineOrientationOptions
from ocr_onnx.recognition import TextRecognizer
from ocr_onnx.shapes import EACH, FEW, TOGETHER, Shapes
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


def forced(ocr: OCR, kinds: Shapes) -> OCR:
    """The same models on the CPU, in these shapes."""
    ocr.shapes = kinds
    ocr.detect = replace(ocr.detect, run=kinds.on_sides(ocr.detect.run, ocr.detect.metadata))
    ocr.recognize = replace(ocr.recognize, shapes=kinds)
    if ocr.classify_lines is not None:
        ocr.classify_lines = replace(ocr.classify_lines, shapes=kinds)
    return ocr


@pytest.mark.parametrize(
    ("providers", "mode", "expected"),
    [
        ((CPU_PROVIDER,), "high-performance", EACH),
        ((OPENVINO_PROVIDER,), "high-performance", EACH),
        ((CUDA_PROVIDER, CPU_PROVIDER), "standard", TOGETHER),
        ((CUDA_PROVIDER, CPU_PROVIDER), "high-performance", FEW),
        (("DmlExecutionProvider",), "standard", TOGETHER),
    ],
)
def test_a_gpu_gets_batches_and_in_high_performance_mode_few_shapes(
    providers: tuple[str, ...], mode: Any, expected: Shapes
) -> None:
    assert shapes.of(Placement(tuple(map(Provider, providers)), "test", mode)) is expected


@given(st.lists(st.integers(8, 4000), max_size=60), st.sampled_from([EACH, TOGETHER, FEW]))
def test_each_line_is_in_one_batch_that_is_wide_enough(widths: list[int], kinds: Shapes) -> None:
    batches = kinds.batches(widths)
    assert sorted(i for batch in batches for i in batch.members) == list(range(len(widths)))
    assert [batch.width for batch in batches] == sorted(batch.width for batch in batches)
    for batch in batches:
        assert batch.size in kinds.sizes
        assert len(batch.members) <= batch.size < 2 * len(batch.members)
        assert all(widths[i] <= batch.width for i in batch.members)
        if not kinds.widths:
            assert {widths[i] for i in batch.members} == {batch.width}


def test_in_standard_mode_a_batch_is_the_references() -> None:
    assert [(batch.members, batch.width) for batch in TOGETHER.batches([320] * 8 + [400] * 2)] == [
        ((0, 1, 2, 3, 4, 5), 320),
        ((6, 7), 320),
        ((8, 9), 400),
    ]


def test_after_the_warm_up_no_new_shape_comes() -> None:
    random = np.random.default_rng(7)
    seen: set[tuple[int, ...]] = set()
    detect = TextDetector(FEW.on_sides(recording(seen, nothing), DETECTION), DETECTION)
    for height, width in random.integers(1, 2000, (200, 2)):
        assert detect(np.zeros((height, width, 3), np.uint8), HIGH.detection) == []
    assert len(seen) > 20
    assert seen <= set(FEW.inputs(DETECTION, largest_side(HIGH.detection)))

    seen.clear()
    recognize = TextRecognizer(recording(seen, blanks), RECOGNITION, shapes=FEW)
    classify = LineClassifier(recording(seen, first_class), LINE, shapes=FEW)
    for count in range(1, 40):
        sizes = zip(random.integers(8, 60, count), random.integers(1, 5000, count), strict=True)
        crops = [np.zeros((height, width, 3), np.uint8) for height, width in sizes]
        assert [text.text for text in recognize(crops, HIGH.recognition)] == [""] * count
        assert len(recognize(crops)) == count
        assert len(classify(crops, LineOrientationOptions(batch_size=1))) == count
    assert seen <= set(FEW.inputs(RECOGNITION, 0)) | set(FEW.inputs(LINE, 0))


@pytest.mark.parametrize(
    "options",
    [DetectionOptions(), HIGH.detection, DetectionOptions(limit_side_len=900, limit_type="max", max_side_limit=700)],
)
@given(size=st.tuples(st.integers(1, 6000), st.integers(1, 6000)))
def test_no_side_is_longer_than_the_largest(options: DetectionOptions, size: tuple[int, int]) -> None:
    page = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (*size, 3))
    assert max(input_size(page, options)) <= largest_side(options)


def test_a_padded_page_is_black_beyond_its_own_and_its_map_is_cut_back() -> None:
    given_in: list[Tensor] = []

    def run(tensor: Tensor) -> tuple[Tensor]:
        given_in.append(tensor)
        return (tensor[:, :1],)

    page = np.random.default_rng(0).normal(size=(1, 3, 640, 96)).astype(np.float32)
    (answer,) = FEW.on_sides(run, DETECTION)(page)
    np.testing.assert_array_equal(answer, page[:, :1])
    (whole,) = given_in
    assert whole.shape == (1, 3, 736, 320)
    np.testing.assert_array_equal(whole[..., :640, :96], page)
    mean, std = np.array(DETECTION.mean, np.float32), np.array(DETECTION.std, np.float32)
    np.testing.assert_allclose(whole[0, :, 700, 300], -mean / std, rtol=1e-6)
    np.testing.assert_allclose(whole[0, :, 5, 97], -mean / std, rtol=1e-6)


def test_a_detector_of_one_size_is_given_that_size() -> None:
    fixed = replace(DETECTION, input_shape=(3, 640, 640))
    run = recording(set(), nothing)
    assert FEW.on_sides(run, fixed) is run
    assert FEW.inputs(fixed, 4000) == [(1, 3, 640, 640)]


def test_beyond_the_largest_side_and_width_shapes_are_their_own() -> None:
    assert [(batch.width, batch.size) for batch in FEW.batches([3300])] == [(3300, 1)]
    (answer,) = FEW.on_sides(lambda tensor: (tensor,), DETECTION)(np.zeros((1, 3, 4032, 320), np.float32))
    assert answer.shape == (1, 3, 4032, 320)


def test_where_shapes_are_not_few_the_warm_up_takes_usual_ones() -> None:
    assert TOGETHER.inputs(DETECTION, 4000) == [(1, 3, 960, 960)]
    assert TOGETHER.inputs(RECOGNITION, 4000) == [(size, 3, 48, 320) for size in (1, 2, 3, 4, 5, 6)]
    assert FEW.inputs(PAGE, 4000) == [(1, 3, 224, 224)]
    assert FEW.inputs(UNWARPING, 4000) == [(1, 3, 960, 960)]


def lines(result: OCRResult) -> list[tuple[str, list[list[int]]]]:
    return [(line.text, line.box.quad.tolist()) for line in result.lines]


def test_batches_read_what_single_lines_read(ocr: OCR) -> None:
    together = forced(OCR(), TOGETHER)
    for name in ("receipt.png", "letter.png"):
        (page,) = sources.read_pages(PAGES / name)
        expected, found = ocr.read(page, ocr.options), together.read(page, ocr.options)
        assert lines(found) == lines(expected)
        for one, other in zip(found.lines, expected.lines, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-4)
            assert one.box.upside_down == other.box.upside_down


def test_few_shapes_read_nearly_all_lines_as_high_performance_mode_does_on_a_processor() -> None:
    few, each = forced(OCR(HIGH), FEW), OCR(HIGH)
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
    (text,) = TextRecognizer(full, RECOGNITION, shapes=FEW)([crop], own)
    (alone,) = TextRecognizer(full, RECOGNITION)([crop], own)
    assert text.columns.total == pytest.approx(alone.columns.total)


def test_warming_up_runs_every_shape_once() -> None:
    ocr = OCR(OCROptions(use_doc_orientation_classify=False, use_textline_orientation=False))
    seen: set[tuple[int, ...]] = set()
    few = forced(ocr, replace(FEW, widths=(80, 320), sizes=(1, 2), sides=(320, 416)))
    few.recognize = replace(few.recognize, run=recording(seen, blanks))
    few.detect = replace(few.detect, run=recording(seen, nothing))
    assert few.warm_up() == 8 == len(seen)


def test_on_a_processor_warming_up_changes_no_reading() -> None:
    ocr = OCR(device=CPU)
    (before,) = ocr.predict(PAGES / "sign.png")
    assert ocr.warm_up() == 4
    (after,) = ocr.predict(PAGES / "sign.png")
    assert lines(after) == lines(before)
