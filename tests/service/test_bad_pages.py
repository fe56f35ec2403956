"""A page of a document that cannot be read is answered by its error, beside the results of the other pages."""

from __future__ import annotations

import json
from collections.abc import Iterator

import PIL.Image
import pytest
from conftest import encoded
from served import Running, base64_of, read, running

from ocr_onnx import OCROptions, OCRResult
from ocr_onnx.errors import NotEnoughMemoryError
from ocr_onnx.service.engine import Check
from ocr_onnx.types import Page

UNREADABLE, TOO_LARGE = "F", "too large"


def read_small(page: Page, options: OCROptions, check: Check = lambda: None) -> OCRResult:
    if page.image.shape[1] == 99:
        raise NotEnoughMemoryError("99 pixels")
    return read(page, options, check)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(read_small) as server:
        yield server


def document(*kinds: str) -> str:
    """A TIFF with a page of each kind: a mode of Pillow, or one that the engine refuses."""
    frames = [PIL.Image.new("L", (99, 9)) if kind == TOO_LARGE else PIL.Image.new(kind, (20, 30)) for kind in kinds]
    return base64_of(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]))


@pytest.mark.parametrize("bad", range(3))
@pytest.mark.parametrize("kind", [UNREADABLE, TOO_LARGE])
def test_the_other_pages_are_answered(server: Running, bad: int, kind: str) -> None:
    answer = server.post(file=document(*(kind if page == bad else "L" for page in range(3))))
    assert answer.status_code == 200
    result = answer.json()["result"]
    error = result["ocrResults"].pop(bad)
    assert (error["prunedResult"], error["page"], error["errorCode"]) == ({}, bad + 1, 422)
    assert error["errorMsg"]
    texts = [page["prunedResult"]["rec_texts"] for page in result["ocrResults"]]
    assert texts == [[f"page {page}"] for page in range(3) if page != bad]
    assert [size["width"] for size in result["dataInfo"]["pages"]] == [0 if page == bad else 20 for page in range(3)]


def test_lines_are_sent_in_the_order_of_the_pages(server: Running) -> None:
    answer = server.post({"Accept": "application/x-ndjson"}, file=document("L", UNREADABLE, "L"))
    *pages, last = map(json.loads, answer.text.splitlines())
    assert [page["result"].get("errorCode", 0) for page in pages] == [0, 422, 0]
    assert last["errorCode"] == 0


def test_a_document_without_a_page_that_can_be_read_is_an_error(server: Running) -> None:
    answer = server.post(file=document(UNREADABLE, UNREADABLE))
    assert answer.status_code == 422
    assert "page 1 of the input has 32-bit" in answer.json()["errorMsg"]


def test_a_format_without_a_place_for_errors_refuses_the_document(server: Running) -> None:
    answer = server.post(file=document("L", UNREADABLE), format="text")
    assert answer.status_code == 422
    assert "page 2 of the input" in answer.json()["errorMsg"]
