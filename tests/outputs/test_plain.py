"""Text in reading order, line by line, and at its place on the page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from layouts import PITCH, SIZE, Layout, two_columns

from ocr_onnx import OCROptions, OCRResult, Page
from ocr_onnx.outputs import plain
from ocr_onnx.outputs.formats import FORMATS
from ocr_onnx.stages.blocks import find_blocks


def result_of(layout: Layout, options: OCROptions | None = None) -> OCRResult:
    page = Page(np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    blocks, order = find_blocks(layout.lines, SIZE)
    boxes = tuple(line.box for line in layout.lines)
    lines = tuple(layout.lines[i] for i in order)
    return OCRResult(page, page, None, boxes, lines, options or OCROptions(), blocks)


def receipt() -> Layout:
    page = Layout()
    page.line(300, 50, 16 * 12, "RIVER STORE")
    for i, (name, price) in enumerate(
        [("SALT", "2.50"), ("WHEAT FLOUR", "11.00"), ("OIL", "7.25"), ("TOTAL", "20.75")]
    ):
        page.line(100, 150 + i * PITCH, 16 * len(name), name)
        page.line(740 - 16 * len(price), 150 + i * PITCH, 16 * len(price), price)
    return page


def test_rows_of_a_receipt_stay_rows() -> None:
    text = result_of(receipt()).text
    assert text == "RIVER STORE\n\nSALT 2.50\nWHEAT FLOUR 11.00\nOIL 7.25\nTOTAL 20.75"


def test_the_layout_keeps_columns_aligned() -> None:
    head, empty, *rows = plain.layout_text(result_of(receipt())).splitlines()
    assert (head.strip(), empty) == ("RIVER STORE", "")
    assert {len(row) for row in rows} == {40}
    assert rows[1] == "WHEAT FLOUR" + 24 * " " + "11.00"


def test_lines_are_printed_one_by_one() -> None:
    result = result_of(receipt())
    assert plain.lines_text(result).splitlines() == [line.text for line in result.lines]


def test_paddleocrs_order_is_lines_without_paragraphs() -> None:
    result = replace(result_of(two_columns(1), OCROptions(reading_order="paddle")), blocks=())
    assert result.text == plain.lines_text(result)


@pytest.mark.parametrize("name", ["text", "lines", "layout"])
def test_an_empty_page_is_an_empty_line(name: str) -> None:
    assert "".join(FORMATS[name].write([result_of(Layout())])) == "\n"


def test_the_native_dictionary_has_the_blocks() -> None:
    found = result_of(receipt()).to_dict()
    assert [block["kind"] for block in found["blocks"]] == ["paragraph", "table"]
    assert [line["text"] for line in found["blocks"][1]["rows"][0]] == ["SALT", "2.50"]
    assert found["blocks"][1]["quad"] == [[100, 150], [740, 150], [740, 280], [100, 280]]


def test_paddleocrs_json_has_paddleocrs_order_unless_columns_are_requested() -> None:
    layout = two_columns(2)
    paddle = [line.text for line in layout.lines]
    layout.lines.sort(key=lambda line: int(line.box.quad[0, 1]))
    by_height = [line.text for line in layout.lines]
    result = result_of(layout)
    asked = replace(result, options=OCROptions(reading_order="columns"))
    assert result.json["res"]["rec_texts"] == by_height
    assert asked.json["res"]["rec_texts"] == paddle
    assert asked.json["res"]["dt_polys"] == asked.json["res"]["rec_polys"]
