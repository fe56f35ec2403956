"""The repository's own pages, read exactly as PaddleOCR reads them: texts, boxes, scores, angles."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from conftest import PAGES

from benchmarks import fidelity
from ocr_onnx import OCR, OCROptions
from ocr_onnx.inputs.sources import read_pages
from ocr_onnx.stages.detection import TextDetector, standalone_options

OPTIONS = [json.loads(line) for line in (PAGES / "options.jsonl").read_text("utf-8").splitlines()]
IN_PIPELINE = [line for line in OPTIONS if "options" in line]
DETECTED = [line for line in OPTIONS if "detection" in line]
GOLDEN = [json.loads(line) for line in (PAGES / "golden.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("expected", GOLDEN, ids=[line["image"] for line in GOLDEN])
def test_a_page_is_read_as_paddleocr_reads_it(ocr: OCR, expected: dict[str, Any]) -> None:
    folder = fidelity.ROOT / "ocr_onnx" if expected["image"] == "sample.png" else PAGES
    (result,) = ocr.predict(folder / expected["image"])
    found = result.json["res"]
    assert found["rec_texts"] == expected["rec_texts"]
    assert found["dt_polys"] == expected["dt_polys"]
    assert found["rec_boxes"] == expected["rec_boxes"]
    assert found["rec_scores"] == pytest.approx(expected["rec_scores"], abs=fidelity.SCORE_TOLERANCE)
    assert found["doc_preprocessor_res"]["angle"] == expected["angle"]
    assert found["textline_orientation_angles"] == expected["textline_orientation_angles"]
    assert expected["text_det_params"].items() <= found["text_det_params"].items()


def told(line: dict[str, Any]) -> str:
    """A recording's page and options, for the test's name."""
    return f"{line['image']} {json.dumps(line.get('options', line.get('detection')))}"


@pytest.mark.parametrize("expected", IN_PIPELINE, ids=told)
def test_a_page_is_read_as_paddleocr_reads_it_with_options(ocr: OCR, expected: dict[str, Any]) -> None:
    given, usual = dict(expected["options"]), OCROptions.paddleocr()
    detection = replace(usual.detection, **given.pop("detection", {}))
    recognition = replace(usual.recognition, **given.pop("recognition", {}))
    options = replace(usual, **given, detection=detection, recognition=recognition)
    (result,) = ocr.predict(PAGES / expected["image"], options)
    found = result.json["res"]
    assert found["rec_scores"] == pytest.approx(expected.pop("rec_scores"), abs=fidelity.SCORE_TOLERANCE)
    for key in expected.keys() - {"image", "options"}:
        assert found[key] == expected[key], key


@pytest.mark.parametrize("expected", DETECTED, ids=told)
def test_a_model_by_itself_detects_as_its_inference_yml_says(ocr: OCR, expected: dict[str, Any]) -> None:
    metadata = ocr.detect.metadata
    metadata = replace(metadata, postprocess={**metadata.postprocess, **expected["detection"]})
    (page,) = read_pages(PAGES / expected["image"])
    boxes = TextDetector(ocr.detect.run, metadata)(page.image, standalone_options(metadata))
    assert [box.quad.tolist() for box in boxes] == expected["dt_polys"]
    assert [box.score for box in boxes] == pytest.approx(expected["dt_scores"], abs=fidelity.SCORE_TOLERANCE)


def test_there_are_pages_of_every_kind() -> None:
    assert len(GOLDEN) >= 12
    assert {line["angle"] for line in GOLDEN} == {0, 90, 180, 270}
    assert any(not line["rec_texts"] for line in GOLDEN)


def test_fidelity_counts_a_wrong_text_and_a_missing_box(ocr: OCR, capsys: pytest.CaptureFixture[str]) -> None:
    expected = json.loads(json.dumps(next(line for line in GOLDEN if line["image"] == "sign.png")))
    (result,) = ocr.predict(PAGES / "sign.png")
    assert fidelity.compare_page(ocr, result, expected).texts_equal == 3
    expected["rec_texts"][0] = "FERRY TERMINUS"
    expected["dt_polys"][1] = [[0, 0], [9, 0], [9, 9], [0, 9]]
    expected["dt_polys"][2][0][0] += 1
    expected["angle"] = 90
    tally = fidelity.compare_page(ocr, result, expected)
    assert (tally.texts, tally.texts_equal, tally.polys_equal, tally.polys_near) == (3, 1, 1, 1)
    assert (tally.surplus, tally.angles_equal) == (1, 0)
    assert "narrowest decision" in capsys.readouterr().err
