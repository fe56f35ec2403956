"""What may be missing in a page is a warning in the service's answer: those of the decoding process too."""

from __future__ import annotations

from dataclasses import replace

import PIL.Image
import pytest
from conftest import encoded
from served import base64_of, read, running

from ocr_onnx import OCROptions, OCRResult
from ocr_onnx.service.engine import Check
from ocr_onnx.types import Page


def read_with_warnings(page: Page, options: OCROptions, check: Check = lambda: None) -> OCRResult:
    return replace(read(page, options, check), warnings=(*page.warnings, "squeezed"))


@pytest.mark.parametrize(
    ("frames", "expected"),
    [(1, ["squeezed"]), (3, ["the input is an animation of 3 frames; only the first frame is read", "squeezed"])],
)
def test_the_answer_has_the_warnings_of_a_page(frames: int, expected: list[str]) -> None:
    pictures = [PIL.Image.new("L", (20, 30), 80 * number) for number in range(frames)]
    data = encoded(pictures[0], "GIF", save_all=True, append_images=pictures[1:])
    with running(read_with_warnings) as server:
        (page,) = server.post(file=base64_of(data)).json()["result"]["ocrResults"]
    assert page["prunedResult"]["warnings"] == expected
