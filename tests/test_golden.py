"""The repository's own pages, read exactly as PaddleOCR reads them: texts, boxes, scores, angles."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import PAGES

from benchmarks import fidelity
from ocr_onnx import OCR

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
    assert "narrowest decision" in capsys.readouterr().out
