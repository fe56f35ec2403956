"""Several recognizers in turn: when a line goes on, which reading is kept, and how scores are compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import OFF, PAGES, RECOGNITION, VERSION_5

from ocr_onnx import OCR, Models, RecognitionOptions
from ocr_onnx.errors import OptionError
from ocr_onnx.models import zoo
from ocr_onnx.models.languages import chain_for
from ocr_onnx.stages.recognition import TextRecognizer
from ocr_onnx.stages.recognizer_chain import RecognizerChain, calibrated, threshold
from ocr_onnx.types import Run, Tensor

CROP = np.full((48, 320, 3), 200, np.uint8)


def reading(character: str, score: float, seen: list[str] | None = None) -> tuple[Run, Any]:
    """A model that reads one character on each line, with its metadata."""

    def run(batch: Tensor) -> tuple[Any, ...]:
        if seen is not None:
            seen.append(character)
        index = np.full((len(batch), 1), "abcde".index(character) + 1, np.int64)
        return index, np.full((len(batch), 1), score, np.float32)

    return run, replace(RECOGNITION, name=f"model {character}")


def chain(*models: tuple[Run, Any]) -> RecognizerChain:
    first, *others = models
    return RecognizerChain(*first, following=tuple(TextRecognizer(*each) for each in others))


@pytest.mark.parametrize(
    ("scores", "thresh", "expected"),
    [
        ((0.97, 0.999, 0.5), (0.5,), "a"),
        ((0.7, 0.97, 0.999), (0.5,), "b"),
        ((0.7, 0.6, 0.5), (0.5,), "a"),
        ((0.7, 0.9, 0.999), (0.5, 0.2), "b"),
        ((0.7, 0.9, 0.999), (0.5, 0.5), "c"),
        ((0.97, 0.98, 0.99), (), "c"),
    ],
)
def test_a_line_goes_on_below_the_threshold_and_the_best_reading_is_kept(
    scores: tuple[float, ...], thresh: tuple[float, ...], expected: str
) -> None:
    read = chain(*(reading(character, score) for character, score in zip("abc", scores, strict=True)))
    (text,) = read([CROP], RecognitionOptions(chain_thresh=thresh))
    assert (text.text, text.model) == (expected, f"model {expected}")


def test_a_model_that_no_line_needs_is_not_run() -> None:
    seen: list[str] = []
    chain(reading("a", 0.999, seen), reading("b", 0.999, seen))([CROP, CROP])
    assert set(seen) == {"a"}


def test_the_last_threshold_holds_for_the_other_steps() -> None:
    options = RecognitionOptions(chain_thresh=(0.5, 0.7))
    assert [threshold(options, step) for step in range(4)] == [0.5, 0.7, 0.7, 0.7]
    with pytest.raises(OptionError, match="chain_thresh"):
        RecognitionOptions(chain_thresh=(1.5,))


def test_a_calibrated_score_is_a_probability_that_grows_with_the_score() -> None:
    for name, spec in zoo.models().items():
        values = [calibrated(score, name) for score in np.linspace(0, 1, 21).tolist()]
        assert values == sorted(values), name
        assert all(0 <= value <= 1 for value in values), name
        assert len(spec.calibration) in {0, 2}


def test_each_line_says_which_model_read_it() -> None:
    models = Models("PP-OCRv6_tiny_det", ("PP-OCRv6_tiny_rec", "PP-OCRv6_small_rec"))
    ocr = OCR(replace(OFF, recognition=RecognitionOptions(chain_thresh=(1.0,))), models=models)
    (result,) = ocr.predict(PAGES / "sign.png")
    assert {line.model for line in result.lines} <= {"PP-OCRv6_tiny_rec", "PP-OCRv6_small_rec"}
    assert [line["model"] for line in result.to_dict()["lines"]] == [line.model for line in result.lines]
    assert ocr.warm_up() > 0
    (alone,) = OCR(OFF, models=VERSION_5).predict(PAGES / "sign.png")
    assert {line.model for line in alone.lines} == {None}


def test_wrapping_the_models_wraps_each_of_a_chain() -> None:
    counted: list[str] = []

    def count(run: Run, metadata: Any) -> Run:
        counted.append(metadata.name)
        return run

    models = Models("PP-OCRv6_tiny_det", ("PP-OCRv6_tiny_rec", "PP-OCRv6_small_rec"))
    OCR(OFF, models=models).with_runs(count)
    assert counted == ["PP-OCRv6_tiny_det", "PP-OCRv6_tiny_rec", "PP-OCRv6_small_rec"]


def test_several_languages_are_a_chain_without_repetitions() -> None:
    assert chain_for("ch,korean,en,ru") == (
        "PP-OCRv6_small_det",
        ("PP-OCRv6_small_rec", "korean_PP-OCRv5_mobile_rec", "eslav_PP-OCRv5_mobile_rec"),
    )


def test_no_recognizer_is_refused() -> None:
    with pytest.raises(OptionError, match="text_recognition is empty"):
        OCR(OFF, models=Models(text_recognition=()))
