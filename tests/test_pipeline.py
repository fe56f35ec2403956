"""The stages together: switches, results, empty pages, big pages."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
from conftest import DETECTION, PAGE, PAGES, PATIENCE, RECOGNITION, UNWARPING, VERSION_5, pdf

from ocr_onnx import OCR, InputOptions, Models, OCROptions, OCRResult, RecognitionOptions
from ocr_onnx.errors import (
    ImageTooLargeError,
    InputError,
    InputNotFoundError,
    OptionError,
    StageNotLoadedError,
    UnmappableError,
    UnreadableImageError,
    UnsupportedInputError,
)
from ocr_onnx.inputs.sources import read_pages
from ocr_onnx.models import zoo
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.options import DetectionOptions, PageOrientationOptions
from ocr_onnx.pipeline import PAGES_PER_GPU
from ocr_onnx.runtime.provider_specs import CUDA_PROVIDER
from ocr_onnx.runtime.providers import CPU, Placement, Provider
from ocr_onnx.stages import geometry
from ocr_onnx.stages.detection import TextDetector
from ocr_onnx.stages.orientation import PageClassifier
from ocr_onnx.stages.recognition import TextRecognizer
from ocr_onnx.stages.unwarping import TextImageUnwarper
from ocr_onnx.types import Image, Page, Run, Tensor, Text, TextBox

ON_GPU = replace(CPU, providers=(Provider(CUDA_PROVIDER),))

OFF = OCROptions(use_doc_orientation_classify=False, use_textline_orientation=False)


@pytest.fixture
def toy() -> OCR:
    """The pipeline with a detector of dark bars and a recognizer that reads "abc"."""

    def darkness(batch: Tensor) -> tuple[Tensor]:
        return ((batch.mean(axis=1, keepdims=True) < 0).astype(np.float32),)

    def abc(_: Tensor) -> tuple[np.ndarray, np.ndarray]:
        return np.array([[1, 2, 0, 3]]), np.array([[0.9, 0.7, 0.1, 0.8]], np.float32)

    return OCR.from_stages(detect=TextDetector(darkness, DETECTION), recognize=TextRecognizer(abc, RECOGNITION))


@pytest.fixture
def bars() -> np.ndarray:
    page = np.full((320, 480, 3), 255, np.uint8)
    for row in (240, 40, 140):
        page[row : row + 24, 60:400] = 0
    return page


def test_blocks_are_made_in_the_order_of_reading_alone(toy: OCR) -> None:
    page = np.full((80, 200, 3), 255, np.uint8)
    page[30:50, 20:180] = 0
    columns, paddle = replace(toy.options, reading_order="columns"), replace(toy.options, reading_order="paddle")
    for options, count in ((columns, 1), (paddle, 0)):
        (result,) = toy.predict(page, options)
        assert len(result.lines) == 1
        assert len(result.blocks) == count


def test_lines_come_from_top_to_bottom(toy: OCR, bars: np.ndarray) -> None:
    (result,) = toy.predict(bars)
    assert [line.text for line in result.lines] == ["abc"] * 3
    assert [line.score for line in result.lines] == pytest.approx([0.8] * 3)
    tops = [int(line.box.quad[0, 1]) for line in result.lines]
    assert tops == sorted(tops)
    assert result.text == "abc abc abc"


def test_lines_below_the_threshold_are_left_out_and_their_boxes_kept(toy: OCR, bars: np.ndarray) -> None:
    (result,) = toy.predict(bars, replace(OFF, recognition=RecognitionOptions(score_thresh=0.81)))
    assert result.lines == ()
    assert len(result.boxes) == 3


def test_texts_with_a_low_score_are_left_out_unless_paddleocr_s_defaults_are_given(toy: OCR, bars: np.ndarray) -> None:
    def unsure(_: Tensor) -> tuple[np.ndarray, np.ndarray]:
        return np.array([[1, 2, 0, 3]]), np.array([[0.5, 0.6, 0.1, 0.6]], np.float32)

    doubtful = toy.with_stages(recognize=TextRecognizer(unsure, RECOGNITION))
    compatible = replace(OCROptions.paddleocr(), use_doc_orientation_classify=False, use_textline_orientation=False)
    assert [len(doubtful.predict(bars, options)[0].lines) for options in (OFF, compatible)] == [0, 3]


def test_options_of_one_call_do_not_stay(toy: OCR, bars: np.ndarray) -> None:
    toy.predict(bars, replace(OFF, detection=DetectionOptions(thresh=1)))
    assert len(toy.predict(bars)[0].lines) == 3


@pytest.mark.parametrize("stage", ["use_doc_orientation_classify", "use_textline_orientation"])
def test_a_stage_that_was_not_loaded_cannot_be_asked_for(toy: OCR, bars: np.ndarray, stage: str) -> None:
    with pytest.raises(StageNotLoadedError, match=f"{stage} was off"):
        toy.predict(bars, replace(OFF, **{stage: True}))  # type: ignore[arg-type]


def test_a_pipeline_of_stages_has_those_stages_on(toy: OCR) -> None:
    assert toy.options == OFF
    assert toy.metadata() == {"text_detection": DETECTION, "text_recognition": RECOGNITION}
    flat = TextImageUnwarper(lambda batch: (batch,), UNWARPING)
    assert OCR.from_stages(detect=toy.detect, recognize=toy.recognize, unwarp=flat).options.use_doc_unwarping


@pytest.mark.parametrize("stage", ["detect", "recognize", "classify_page", "classify_lines", "unwarp"])
def test_no_stage_of_a_pipeline_can_be_set(toy: OCR, stage: str) -> None:
    with pytest.raises(AttributeError):
        setattr(toy, stage, toy.detect)


def test_other_stages_make_another_pipeline(toy: OCR, bars: np.ndarray) -> None:
    blind = toy.with_stages(detect=TextDetector(lambda batch: (batch[:, :1] * 0,), DETECTION))
    assert len(blind.predict(bars)[0].boxes) == 0
    assert len(toy.predict(bars)[0].boxes) == 3


def test_every_model_of_a_pipeline_can_be_wrapped(ocr: OCR) -> None:
    seen: set[str] = set()

    def noting(run: Run, metadata: ModelMetadata) -> Run:
        def noted(tensor: Tensor) -> tuple[Any, ...]:
            seen.add(metadata.task)
            return run(tensor)

        return noted

    assert ocr.with_runs(noting).predict(PAGES / "sign.png")[0].text == ocr.predict(PAGES / "sign.png")[0].text
    assert seen == ocr.metadata().keys()


def test_stages_can_be_left_out() -> None:
    ocr = OCR(OFF)
    (result,) = ocr.predict(PAGES / "sign.png")
    assert [line.text for line in result.lines] == ["FERRY TERMINAL", "渡轮码头", "Gate 7 →"]
    assert result.angle is None
    assert {box.upside_down for box in result.boxes} == {None}


def test_a_turned_page_is_turned_back(ocr: OCR) -> None:
    (result,) = ocr.predict(PAGES / "turned-90.png")
    assert result.angle == 270
    assert result.page.image.shape == (520, 900, 3)
    assert result.source.image.shape == (900, 520, 3)
    assert result.text.startswith("Harbour Office, 14 Quay Street\nDear Ms. Lindqvist,")


@pytest.mark.parametrize("share", [0.4, 0.6])
@pytest.mark.parametrize(("name", "angle"), [("letter", 0), ("turned-180", 180)])
def test_lines_decide_whether_a_page_is_upside_down_where_its_classifier_is_not_sure(
    ocr: OCR, name: str, angle: int, share: float
) -> None:
    unsure = PageClassifier(lambda _: (np.array([[1 - share, share]], np.float32),), replace(PAGE, labels=("0", "180")))
    (result,) = ocr.with_stages(classify_page=unsure).predict(PAGES / f"{name}.png", OCROptions())
    assert result.angle == angle
    assert result.text.startswith("Harbour Office, 14 Quay Street\nDear Ms. Lindqvist,")


def test_a_page_is_not_compared_where_no_score_is_required(toy: OCR, bars: np.ndarray) -> None:
    unsure = PageClassifier(lambda _: (np.array([[0.4, 0.6]], np.float32),), PAGE)
    options = replace(OFF, use_doc_orientation_classify=True, page_orientation=PageOrientationOptions(0))
    (result,) = toy.with_stages(classify_page=unsure).predict(bars, options)
    assert result.angle == 90


@pytest.mark.parametrize("name", ["turned-90", "turned-180", "turned-270"])
def test_boxes_of_a_turned_page_can_be_found_on_the_input(ocr: OCR, name: str) -> None:
    (result,) = ocr.predict(PAGES / f"{name}.png")
    quad = result.lines[0].box.quad
    there, here = (
        geometry.crop(image, at)
        for image, at in [(result.source.image, result.on_source(quad)), (result.page.image, quad)]
    )
    assert sorted(there.shape) == sorted(here.shape)
    assert there.mean() == pytest.approx(here.mean(), abs=1)


def test_a_page_is_turned_before_it_is_unwarped(toy: OCR, bars: np.ndarray) -> None:
    sideways = PageClassifier(lambda _: (np.array([[0.0, 1.0]], np.float32),), PAGE)
    flat = TextImageUnwarper(lambda batch: (batch,), UNWARPING)
    options = replace(OFF, use_doc_orientation_classify=True, use_doc_unwarping=True)
    (result,) = toy.with_stages(classify_page=sideways, unwarp=flat).predict(bars, options)
    np.testing.assert_array_equal(result.page.image, geometry.rotate(bars, 90))
    found = result.json["res"]["doc_preprocessor_res"]
    assert found["model_settings"] == {"use_doc_orientation_classify": True, "use_doc_unwarping": True}
    with pytest.raises(UnmappableError, match="unwarped"):
        result.on_source(np.array([[0, 0]], np.int32))


def test_a_blank_page_is_an_empty_result_without_a_word(ocr: OCR, caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        (result,) = ocr.predict(PAGES / "blank.png")
    assert (result.boxes, result.lines, result.text) == ((), (), "")
    assert not caplog.records
    assert result.json["res"]["rec_texts"] == result.json["res"]["textline_orientation_angles"] == []


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 3), (1, 40, 3), (40, 1, 3), (3, 3, 3), (20, 20_000, 3), (20_000, 20, 3), (1, 3_000_000, 3)],
    ids=str,
)
def test_strange_shapes_give_a_result(ocr: OCR, shape: tuple[int, int, int]) -> None:
    image = np.full(shape, 255, np.uint8)
    image[: shape[0] // 2, : shape[1] // 2] = 0
    (result,) = ocr.predict(image)
    height, width = result.page.image.shape[:2]
    for line in result.lines:
        assert (line.box.quad >= 0).all()
        assert (line.box.quad <= (width, height)).all()


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_pages_longer_than_opencv_warps_are_read(ocr: OCR, turn: int) -> None:
    (letter,) = read_pages(PAGES / "letter.png")
    page = np.full((520, 33_000, 3), 255, np.uint8)
    heading = cv2.resize(letter.image[30:90, :500], None, fx=520 / 60, fy=520 / 60)
    page[:, : heading.shape[1]] = heading
    (result,) = ocr.predict(np.rot90(page, turn), OFF if turn == 0 else None)
    assert result.page.image.shape in {(520, 33_000, 3), (33_000, 520, 3)}
    assert "Office" in result.text


def test_a_very_long_line_is_read(ocr: OCR) -> None:
    (result,) = ocr.predict(PAGES / "wide.png")
    assert result.text.startswith("the tide tables for 2027 are ready. We printed 350 copies on waterproof paper;")


def test_several_inputs_give_several_results(ocr: OCR) -> None:
    results = ocr.predict([PAGES / "tiny.png", PAGES / "blank.png"])
    assert [result.source.path for result in results] == [str(PAGES / "tiny.png"), str(PAGES / "blank.png")]


def test_the_next_page_is_decoded_while_this_one_is_read(toy: OCR, bars: np.ndarray) -> None:
    advanced, read = threading.Event(), []

    def pages() -> Iterator[np.ndarray]:
        yield bars
        advanced.set()
        yield bars

    def recognize(crops: list[Image], options: RecognitionOptions) -> list[Text]:
        read.append(advanced.wait(PATIENCE))
        return [Text("a", 1.0) for _ in crops]

    watched = toy.with_stages(recognize=recognize)
    assert len(list(watched.predict_iter(pages()))) == 2
    assert read == [True, True]


def test_the_first_page_is_found_in_the_callers_thread_unless_a_generator_gives_it(toy: OCR, bars: np.ndarray) -> None:
    found_in, detect = [], toy.detect

    def note(image: Image, options: DetectionOptions) -> list[TextBox]:
        found_in.append(threading.get_ident())
        return detect(image, options)

    toy = toy.with_stages(detect=note)
    here = threading.get_ident()
    toy.predict([bars, (bars,), bars])
    assert found_in[0] == here
    assert here not in found_in[1:]
    found_in.clear()
    for source in (iter([bars, bars]), [bars, iter([bars])]):
        toy.predict(source)
    assert len(found_in) == 4
    assert here not in found_in


def test_the_next_pages_text_is_found_while_this_one_is_read(toy: OCR, bars: np.ndarray) -> None:
    looked, in_time, detect = threading.Event(), [], toy.detect
    looks = iter([False, True, True])

    def note(image: Image, options: DetectionOptions) -> list[TextBox]:
        if next(looks):
            looked.set()
        return detect(image, options)

    def recognize(crops: list[Image], options: RecognitionOptions) -> list[Text]:
        in_time.append(looked.wait(PATIENCE))
        return [Text("a", 1.0) for _ in crops]

    toy = toy.with_stages(detect=note, recognize=recognize)
    assert len(toy.predict([bars, bars, bars])) == 3
    assert in_time == [True] * 3


def test_pages_keep_their_order_and_their_text(ocr: OCR) -> None:
    names = ["letter.png", "sign.png", "blank.png", "receipt.png", "sign.png", "tiny.png"]
    together = ocr.predict([PAGES / name for name in names])
    alone = [ocr.predict(PAGES / name)[0] for name in names]
    assert [result.source.path for result in together] == [str(PAGES / name) for name in names]
    assert [result.text for result in together] == [result.text for result in alone]


def test_a_source_is_never_more_than_two_pages_ahead(toy: OCR, bars: np.ndarray) -> None:
    taken: list[int] = []
    source = (taken.append(i) or bars for i in range(7))  # type: ignore[func-returns-value]
    for number, _ in enumerate(toy.predict_iter(source)):
        assert len(taken) <= number + 3


def test_an_error_in_finding_text_comes_at_its_page(toy: OCR, bars: np.ndarray) -> None:
    narrow, detect = bars[:, :300], toy.detect

    def fail(image: Image, options: DetectionOptions) -> list[TextBox]:
        if image.shape == narrow.shape:
            raise ZeroDivisionError
        return detect(image, options)

    toy = toy.with_stages(detect=fail)
    results = toy.predict_iter([bars, bars, narrow, bars])
    assert [len(next(results).lines) for _ in range(2)] == [3, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_pages_before_an_unreadable_one_are_read(toy: OCR, bars: np.ndarray) -> None:
    results = toy.predict_iter([bars, bars, b"broken", bars])
    assert [len(next(results).lines) for _ in range(2)] == [3, 3]
    with pytest.raises(UnreadableImageError):
        next(results)


@pytest.mark.parametrize("placement", [CPU, ON_GPU])
def test_with_return_exceptions_errors_are_returned_in_place_of_pages(
    toy: OCR, bars: np.ndarray, placement: Placement, tmp_path: Path
) -> None:
    narrow, detect = bars[:, :300], toy.detect

    def refuse(image: Image, options: DetectionOptions) -> list[TextBox]:
        if image.shape == narrow.shape:
            raise ImageTooLargeError
        return detect(image, options)

    toy = OCR.from_stages(detect=refuse, recognize=toy.recognize, placement=placement)  # type: ignore[arg-type]
    empty = tmp_path / "empty"
    empty.mkdir()
    source = [bars, tmp_path / "none.png", bars, (narrow, b"broken"), [empty, bars], 7, bars]
    kinds = [type(outcome) for outcome in toy.predict_iter(source, return_exceptions=True)]  # type: ignore[arg-type]
    assert kinds == [
        OCRResult,
        InputNotFoundError,
        OCRResult,
        ImageTooLargeError,
        UnreadableImageError,
        InputNotFoundError,
        OCRResult,
        UnsupportedInputError,
        OCRResult,
    ]


@pytest.mark.parametrize("placement", [CPU, ON_GPU])
def test_other_errors_are_raised_all_the_same(toy: OCR, bars: np.ndarray, placement: Placement) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield bars
        raise ZeroDivisionError

    outcomes = OCR.from_stages(detect=toy.detect, recognize=toy.recognize, placement=placement).predict_iter(
        broken(), return_exceptions=True
    )
    assert isinstance(next(outcomes), OCRResult)
    with pytest.raises(ZeroDivisionError):
        next(outcomes)


@pytest.mark.parametrize("placement", [CPU, ON_GPU])
@pytest.mark.parametrize("error", [ImageTooLargeError(), MemoryError()], ids=repr)
def test_an_error_of_a_stage_is_the_error_of_its_page(
    toy: OCR, error: Exception, placement: Placement, tmp_path: Path
) -> None:
    def refuse(image: Image, options: DetectionOptions) -> list[TextBox]:
        if image.shape[1] == 301:
            raise error
        return toy.detect(image, options)

    file = tmp_path / "three.tif"
    frames = [PIL.Image.new("L", (300 + page, 100), 255) for page in range(3)]
    frames[0].save(file, save_all=True, append_images=frames[1:])
    engine = OCR.from_stages(detect=refuse, recognize=toy.recognize, placement=placement)  # type: ignore[arg-type]
    outcomes = list(engine.predict_iter(file, return_exceptions=True))
    assert [isinstance(outcome, OCRResult) for outcome in outcomes] == [True, False, True]
    assert isinstance(found := outcomes[1], InputError)
    assert (found.source, found.page) == (str(file), 2)


def test_leaving_the_results_closes_the_source(toy: OCR, bars: np.ndarray) -> None:
    closed = threading.Event()

    def pages() -> Iterator[np.ndarray]:
        try:
            while True:
                yield bars
        finally:
            closed.set()

    for _ in toy.predict_iter(pages()):
        break
    assert closed.wait(PATIENCE)


def test_how_inputs_are_read_is_an_option_of_the_pipeline(toy: OCR) -> None:
    (result,) = toy.predict(pdf((50, 50), (60, 50)), replace(OFF, input=InputOptions(pdf_pages="2", pdf_scale=1)))
    assert (result.source.index, result.source.image.shape) == (1, (50, 60, 3))


def test_the_input_is_left_as_it_was(ocr: OCR) -> None:
    (page,) = ocr.predict(PAGES / "mixed.png")
    before = page.source.image.copy()
    ocr.read(Page(page.source.image), ocr.options)
    np.testing.assert_array_equal(page.source.image, before)


def test_more_threads_than_none_are_asked_for() -> None:
    with pytest.raises(OptionError, match="cpu_threads"):
        OCR(cpu_threads=0)


@pytest.mark.parametrize("times", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_many_threads_with_options_of_their_own_get_what_one_thread_gets(ocr: OCR, times: int) -> None:
    small = DetectionOptions(limit_side_len=320, limit_type="max")
    variants = [
        replace(OFF, detection=small),
        replace(OFF, detection=replace(small, thresh=0.5, unclip_ratio=2.0), return_word_box=True),
        OCROptions(detection=small),
        replace(OFF, detection=small, recognition=RecognitionOptions(batch_size=1, score_thresh=0.9)),
        replace(OFF, detection=DetectionOptions(input_shape=(3, 160, 320)), use_textline_orientation=True),
    ]
    pages = [PAGES / name for name in ("sign.png", "tiny.png", "vertical.png", "blank.png")]
    calls = [(page, options) for page in pages for options in variants]
    alone = [ocr.predict(page, options)[0].json for page, options in calls]
    order = np.random.default_rng(0).permutation(np.tile(np.arange(len(calls)), times)).tolist()
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda i: ocr.predict(*calls[i])[0].json, order))
    assert len(together) == 20 * times
    assert all(found == alone[i] for i, found in zip(order, together, strict=True))


def test_pages_are_spread_over_devices_and_come_in_order(ocr: OCR) -> None:
    two = OCR(ocr.options, models=VERSION_5, device=replace(CPU, others=(replace(CPU, reason="the second"),)))
    (second,) = two.others
    assert second.placement.reason == "the second"
    read: dict[int, int] = {}

    def counting(run: Run, metadata: ModelMetadata) -> Run:
        def counted(tensor: Tensor) -> tuple[Any, ...]:
            read[id(run)] += 1
            return run(tensor)

        if metadata.task != "text_detection":
            return run
        read[id(run)] = 0
        return counted

    names = ["sign.png", "tilted.png", "blank.png", "sign.png", "tiny.png", "vertical.png"]
    paths = [PAGES / name for name in names]
    found = two.with_runs(counting).predict(paths)
    assert [Path(str(result.source.path)).name for result in found] == names
    assert [result.text for result in found] == [result.text for result in ocr.predict(paths)]
    assert len(read) == 2
    assert min(read.values()) > 0
    assert sum(read.values()) == len(names)


@pytest.mark.parametrize(("width", "count"), [(100, 0), (1000, 1)])
def test_a_line_of_which_little_is_read_is_a_warning_of_its_page(
    toy: OCR, width: int, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    image = np.full((100, 1100, 3), 255, np.uint8)
    image[40:60, 20 : 20 + width] = 0
    (result,) = toy.predict(image)
    assert [line.text for line in result.lines] == ["abc"]
    assert len(result.warnings) == caplog.text.count("low scores or few characters in 1 of 1 lines") == count


def test_on_a_gpu_pages_are_read_side_by_side_and_come_in_order(toy: OCR, bars: np.ndarray) -> None:
    together, detect, taken = threading.Barrier(PAGES_PER_GPU, timeout=PATIENCE), toy.detect, list[int]()

    def meet(image: Image, options: DetectionOptions) -> list[TextBox]:
        together.wait()
        return detect(image, options)

    def pages() -> Iterator[np.ndarray]:
        for cut in range(3 * PAGES_PER_GPU):
            taken.append(cut)
            yield bars[:, : bars.shape[1] - cut]

    toy = OCR.from_stages(detect=meet, recognize=toy.recognize, placement=ON_GPU)  # type: ignore[arg-type]
    for number, result in enumerate(toy.predict_iter(pages())):
        assert result.source.image.shape[1] == bars.shape[1] - number
        assert len(taken) <= number + PAGES_PER_GPU + 1
    assert len(taken) == 3 * PAGES_PER_GPU


def test_on_several_devices_an_input_that_cannot_be_read_is_an_error_at_its_place(tmp_path: Path) -> None:
    two = OCR(device=replace(CPU, others=(CPU,)))
    results = two.predict_iter([PAGES / "sign.png", tmp_path / "none.png", PAGES / "sign.png"])
    assert next(results).lines
    with pytest.raises(InputNotFoundError):
        next(results)


def test_a_preset_chooses_models_and_options_and_a_language_the_recognizer() -> None:
    ocr = OCR(OFF, preset="fast")
    assert ocr.detect.metadata.name == "PP-OCRv6_tiny_det"
    assert ocr.recognize.metadata.name == "PP-OCRv6_tiny_rec"
    assert (ocr.options.detection.limit_side_len, ocr.options.detection.limit_type) == (960, "max")
    (result,) = ocr.predict(PAGES / "sign.png")
    assert result.text.startswith("FERRY TERMINAL")


def test_models_with_a_preset_or_a_language_are_refused() -> None:
    with pytest.raises(OptionError, match="give one of them"):
        OCR(models=Models(), lang="en")


def test_the_result_says_which_thresholds_were_used() -> None:
    (result,) = OCR(OFF).predict(PAGES / "sign.png")
    tuned = zoo.spec("PP-OCRv6_small_det").tuned
    assert {name: getattr(result.options.detection, name) for name in tuned} == tuned


def test_the_mode_chooses_the_options_that_are_not_given() -> None:
    assert OCR(mode="high-performance").options == OCROptions.high_performance()
    assert OCR(OFF, mode="high-performance").options == OFF


def test_options_of_another_type_are_refused() -> None:
    with pytest.raises(OptionError, match=r"options has the type dict: give OCROptions\(...\)"):
        OCR({"use_doc_unwarping": True})  # type: ignore[arg-type]
