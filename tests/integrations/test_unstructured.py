"""unstructured, with the real package. `make unstructured` runs it in an environment of its own.

unstructured's strategy `hi_res` downloads models: of what it calls, the lines of a page are tested.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import PIL.Image
import pytest
from conftest import PAGES

pytest.importorskip("unstructured", reason="it has an environment of its own: make unstructured")
pytest.importorskip("unstructured_inference", reason="it has an environment of its own: make unstructured")

from ocr_onnx import OCR, OCROptions, OCRResult, Page
from ocr_onnx.integrations.unstructured import OCRAgentOnnx
from ocr_onnx.types import Block

HOW_TO = Path(__file__).parents[2] / "docs" / "ocr-for-markitdown.md"

(SCRIPT,) = re.findall(
    r"^## unstructured\n.*?^```python\n(.*?)^```", HOW_TO.read_text("utf-8"), re.DOTALL | re.MULTILINE
)

IMAGES = """
from unstructured.partition.image import partition_image

for name in ("receipt.png", "blank.png"):
    print([element.category for element in partition_image(name, strategy="ocr_only", languages=["eng", "deu"])])
"""


def printed(script: str, folder: Path) -> str:
    """What a script prints, in a process that sends no report to unstructured's authors."""
    settings = {
        "OCR_AGENT": f"{OCRAgentOnnx.__module__}.{OCRAgentOnnx.__name__}",
        "OCR_AGENT_MODULES_WHITELIST": OCRAgentOnnx.__module__,
        "DO_NOT_TRACK": "1",
    }
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=folder, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_script_of_the_how_to_page_reads_a_scan(tmp_path: Path) -> None:
    PIL.Image.open(PAGES / "letter.png").convert("RGB").save(tmp_path / "scan.pdf", resolution=150)
    text = printed(SCRIPT, tmp_path)
    assert text.startswith("NarrativeText ")
    assert all(part in text for part in ("Dear Ms. Lindqvist", "1,274.50", "J. Okafor"))


def test_images_become_elements_of_their_kinds_and_a_blank_one_becomes_none() -> None:
    receipt, blank = printed(IMAGES, PAGES).splitlines()
    assert "'NarrativeText'" in receipt
    assert "'Table'" in receipt
    assert blank == "[]"


def test_lines_have_their_boxes_in_the_image_if_the_page_is_turned() -> None:
    agent = OCRAgentOnnx("eng")
    image = PIL.Image.open(PAGES / "turned-90.png")
    lines = agent.get_layout_from_image(image)
    (result,) = OCR().predict(PAGES / "turned-90.png")
    assert lines.texts.tolist() == [line.text for line in result.lines]
    left, top, right, bottom = lines.element_coords.T
    assert (bottom - top > right - left).all()
    assert min(left) >= 0
    assert (max(right), max(bottom)) <= image.size
    assert agent.get_text_from_image(image) == result.text


def test_each_item_of_a_list_is_an_element() -> None:
    page = Page(np.zeros((100, 200, 3), np.uint8))
    quad = np.array([[10, 20], [90, 20], [90, 60], [10, 60]], np.int32)
    block = Block("list", quad, (), "1. salt\n2. oil")
    agent = OCRAgentOnnx()
    result = OCRResult(page, page, None, (), (), OCROptions(), (block,))
    agent._ocr = cast("Any", SimpleNamespace(predict=lambda _: [result]))
    found = agent.get_layout_elements_from_image(PIL.Image.new("RGB", (200, 100))).as_list()
    assert [(each.type, each.text) for each in found] == [("ListItem", "1. salt"), ("ListItem", "2. oil")]
    assert [found[1].bbox.x1, found[1].bbox.y1, found[1].bbox.x2, found[1].bbox.y2] == [10, 20, 90, 60]
