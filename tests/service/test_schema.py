"""Requests made up from the OpenAPI document: none is answered by what the document does not say.

300 go to an engine that is a function; `make test-all` sends 5,000, and 200 to the real engine.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import schemathesis
from conftest import PAGES, encoded, pdf
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image
from schemathesis import GenerationMode
from schemathesis.checks import negative_data_rejection, positive_data_acceptance
from served import SIGN, Running, base64_of, running

from ocr_onnx import OCR
from ocr_onnx.service import engine

FILES = [
    SIGN,
    pdf((40, 30), (30, 40)),
    encoded(Image.new("RGBA", (9, 7)), "PNG"),
    encoded(Image.new("L", (1, 1)), "GIF"),
    encoded(Image.new("RGB", (30, 20)), "TIFF", save_all=True, append_images=[Image.new("L", (4, 4))]),
    encoded(Image.new("L", (30, 20)), "TIFF", save_all=True, append_images=[Image.new("F", (4, 4))]),
    SIGN[:5000],
    (PAGES / "blank.png").read_bytes(),
    b"%PDF-1.7 and no more",
]
"""Sent in place of made up text, of which nearly nothing is a file."""

UNFIT = [positive_data_acceptance, negative_data_rejection]
"""A schema does not tell a file from other text; and text is taken for the number or the boolean that it names."""


def cases(server: Running, mode: GenerationMode, count: int) -> Counter[int]:
    """Send so many, as the document has them or not; returns how often each status came."""
    operation: Any = schemathesis.openapi.from_url(f"{server.url}/openapi.json")["/ocr"]["POST"]
    statuses: Counter[int] = Counter()
    files = st.sampled_from(FILES).map(base64_of)

    @seed(6)
    @settings(
        max_examples=count,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), file=st.none() | files)
    def send(case: Any, file: str | None) -> None:
        if file is not None and isinstance(case.body, dict) and isinstance(case.body.get("file"), str):
            case.body["file"] = file
        statuses[case.call_and_validate(excluded_checks=UNFIT).status_code] += 1

    send()
    return statuses


@pytest.mark.parametrize("count", [150, pytest.param(2500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_responses_match_the_openapi_document(mode: GenerationMode, count: int) -> None:
    with running(threads=2) as server:
        statuses = cases(server, mode, count)
        assert server.answers_at_once()
    assert statuses.total() == count
    assert statuses[200 if mode == GenerationMode.POSITIVE else 422] > count / 10
    assert set(statuses) <= {200, 413, 415, 422}


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_responses_of_the_real_engine_match_the_openapi_document(ocr: OCR, mode: GenerationMode) -> None:
    real = engine.from_pipeline(ocr, ocr.options)
    with running(real.read, threads=2) as server:
        statuses = cases(server, mode, 100)
        assert server.answers_at_once()
    assert statuses.total() == 100
    assert set(statuses) <= {200, 413, 415, 422}
