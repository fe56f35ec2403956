"""The output formats: what each says of the text, and where."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lxml import etree

from ocr_onnx import OCROptions, OCRResult, Page, TextBox, TextLine
from ocr_onnx.outputs import alto, markdown
from ocr_onnx.outputs.formats import FORMATS
from ocr_onnx.stages.blocks import find_blocks
from ocr_onnx.types import Block, Columns, Orientation, Quad

SIZE = (800, 600)

PITCH = 10
"""Pixels per character."""

ALTO = f"{{{alto.NAMESPACE}}}"

ALTO_CHILDREN = {
    "alto": "Description Layout ",
    "Description": "MeasurementUnit (sourceImageInformation )?(Processing )*",
    "sourceImageInformation": "(fileName )?",
    "Processing": "(processingSoftware )?",
    "processingSoftware": "(softwareName )?(softwareVersion )?",
    "Layout": "(Page )+",
    "Page": "(PrintSpace )?",
    "PrintSpace": "(TextBlock )*",
    "TextBlock": "(Shape )?(TextLine )*",
    "TextLine": "(Shape )?(String (SP )?)+",
    "String": "(Shape )?",
    "Shape": "Polygon ",
}
"""The children that ALTO 4.4 allows an element, of those that are written: a regular expression of their names. Others have none."""

ALTO_BOX = {"HPOS", "VPOS", "WIDTH", "HEIGHT"}

ALTO_ATTRIBUTES = {
    "alto": (set(), {"SCHEMAVERSION"}),
    "Processing": ({"ID"}, {"ID"}),
    "Page": ({"ID", "PHYSICAL_IMG_NR"}, {"ID", "PHYSICAL_IMG_NR", "WIDTH", "HEIGHT"}),
    "PrintSpace": (set(), {"ID", *ALTO_BOX}),
    "TextBlock": ({"ID"}, {"ID", *ALTO_BOX}),
    "TextLine": (set(), {"ID", *ALTO_BOX}),
    "String": ({"CONTENT"}, {"ID", "CONTENT", "WC", *ALTO_BOX}),
    "SP": (set(), {"ID", *ALTO_BOX}),
    "Polygon": ({"POINTS"}, {"POINTS"}),
}
"""The attributes that each of them must have, and those that it may have. Others have none."""


def quad(left: float, top: float, width: float, height: float = 20, degrees: float = 0) -> Quad:
    """A box turned clockwise about its first corner."""
    angle = math.radians(degrees)
    along, down = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    start = np.array([left, top], np.float64)
    corners = [start, start + along * width, start + along * width + down * height, start + down * height]
    return np.rint(corners).astype(np.int32)


def line(text: str, left: float, top: float, degrees: float = 0) -> TextLine:
    columns = Columns(tuple(text), tuple(range(len(text))), len(text), (0.5,) * len(text))
    return TextLine(text, 0.5, TextBox(quad(left, top, PITCH * len(text), degrees=degrees), 0.9), columns=columns)


def result_of(*lines: TextLine, page: Page | None = None, size: tuple[int, int] = SIZE) -> OCRResult:
    source = page or Page(np.zeros((size[1], size[0], 3), np.uint8), "scan & copy.png", resolution=300)
    blocks, order = find_blocks(lines, size, [each.columns for each in lines])
    ordered = tuple(lines[i] for i in order)
    return OCRResult(source, source, None, tuple(each.box for each in lines), ordered, OCROptions(), blocks)


def written(name: str, *results: OCRResult, several_files: bool = False) -> str:
    return "".join(FORMATS[name].write(results, several_files=several_files))


LETTER = (line("Dear <Ada> & all,", 50, 50), line("港口 open 7.5", 50, 80), line("München", 50, 300))


def xml(text: str) -> Any:
    return etree.fromstring(text.encode())


def hocr_lines(text: str) -> list[str]:
    found: list[Any] = xml(text).xpath("//*[@class='ocr_line']")
    return ["".join(each.itertext()) for each in found]


def alto_lines(text: str) -> list[str]:
    found = xml(text).iter(f"{ALTO}TextLine")
    return ["".join(" " if part.tag == f"{ALTO}SP" else part.get("CONTENT", "") for part in each) for each in found]


@pytest.mark.parametrize(("name", "lines"), [("hocr", hocr_lines), ("alto", alto_lines)])
def test_the_text_is_the_recognized_text(name: str, lines: object) -> None:
    assert callable(lines)
    result = result_of(*LETTER)
    assert lines(written(name, result)) == [each.text for each in result.lines]


def test_hocr_passes_hocr_check(tmp_path: Path) -> None:
    file = tmp_path / "page.hocr"
    file.write_text(written("hocr", result_of(*LETTER)), "utf-8")
    command = [str(Path(sys.executable).parent / "hocr-check"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    checks = (done.stdout + done.stderr).splitlines()
    assert len(checks) > 10
    assert all(check.startswith("ok ") for check in checks), checks


def test_hocr_says_where_words_are_and_how_certain() -> None:
    root = xml(written("hocr", result_of(*LETTER)))
    (page,) = root.xpath("//*[@class='ocr_page']")
    assert page.get("title") == 'image "scan & copy.png"; bbox 0 0 800 600; ppageno 0; scan_res 300 300'
    words = root.xpath("//*[@class='ocrx_word']")
    assert (words[0].text, words[0].get("title")) == ("Dear", "bbox 50 50 90 70; x_wconf 50")
    names = root.xpath("//@id")
    assert len(names) == len(set(names))


def test_alto_says_where_words_are_and_how_certain() -> None:
    root = xml(written("alto", result_of(*LETTER)))
    (page,) = root.iter(f"{ALTO}Page")
    assert (page.get("WIDTH"), page.get("HEIGHT"), page.get("PHYSICAL_IMG_NR")) == ("800", "600", "1")
    word = next(root.iter(f"{ALTO}String"))
    place = [word.get(name) for name in ("CONTENT", "HPOS", "VPOS", "WIDTH", "HEIGHT", "WC")]
    assert place == ["Dear", "50", "50", "40", "20", "0.50"]
    assert next(root.iter(f"{ALTO}fileName")).text == "scan & copy.png"
    assert not list(root.iter(f"{ALTO}Shape"))


def alto_faults(root: Any) -> list[str]:
    """What an ALTO file has against the rules of its schema."""
    found = []
    for each in root.iter():
        name = etree.QName(each).localname
        children = "".join(f"{etree.QName(child).localname} " for child in each)
        if not re.fullmatch(ALTO_CHILDREN.get(name, ""), children):
            found.append(f"{name} has the children {children}")
        required, allowed = ALTO_ATTRIBUTES.get(name, (set(), set()))
        attributes = {key for key in each.attrib if not key.startswith("{")}
        if not required <= attributes <= allowed:
            found.append(f"{name} has the attributes {attributes}")
        if not 0 <= float(each.get("WC", "0")) <= 1 or not all(map(math.isfinite, numbers_of(each))):
            found.append(f"{name} has the numbers {numbers_of(each)}")
    return found


def numbers_of(element: Any) -> list[float]:
    return [
        float(element.get(name)) for name in (*sorted(ALTO_BOX), "PHYSICAL_IMG_NR") if element.get(name) is not None
    ]


PLACELESS = TextLine("one two", 0.5, TextBox(quad(10, 10, 100), 0.9))


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param((), id="no text"),
        pytest.param(LETTER, id="upright"),
        pytest.param((line("left and right side", 100, 200, 7),), id="tilted"),
        pytest.param((line("港口区域", 400, 50, 90),), id="vertical"),
        pytest.param((line("out of the page", -20, -5),), id="out of the page"),
        pytest.param((line("\0 \x1b \ufffe \x85 \u2028 \" ' <&>", 50, 50),), id="control characters"),
        pytest.param((PLACELESS,), id="characters without places"),
        pytest.param((replace(PLACELESS, words=()),), id="no words"),
    ],
)
def test_alto_has_the_structure_that_its_schema_requires(lines: tuple[TextLine, ...]) -> None:
    nameless = Page(np.zeros((600, 800, 3), np.uint8))
    root = xml(written("alto", result_of(*lines), result_of(*lines, page=nameless)))
    assert alto_faults(root) == []
    assert alto_faults(xml(written("alto", result_of(*lines, page=nameless)))) == []


@pytest.mark.parametrize("name", ["hocr", "alto"])
def test_a_document_has_all_pages_with_names_of_their_own(name: str) -> None:
    pages = [Page(np.zeros((600, 800, 3), np.uint8), "a.pdf", i, 9) for i in (2, 5)]
    root = xml(written(name, *(result_of(*LETTER, page=page) for page in pages)))
    names = root.xpath("//@id | //@ID")
    assert len(names) == len(set(names))
    assert len(root.xpath("//*[@class='ocr_page'] | //*[local-name()='Page']")) == 2


def test_a_page_has_its_number_in_the_document_although_pages_before_it_are_missing() -> None:
    pages = [result_of(*LETTER, page=Page(np.zeros((600, 800, 3), np.uint8), "a.pdf", i, 9)) for i in (2, 5)]
    assert re.findall(r"ppageno (\d+)", written("hocr", *pages)) == ["2", "5"]
    assert re.findall(r'PHYSICAL_IMG_NR="(\d+)"', written("alto", *pages)) == ["3", "6"]
    assert re.findall(r"^1\t(\d+)", written("tsv", *pages), re.MULTILINE) == ["3", "6"]


@pytest.mark.parametrize("degrees", [7, -7])
def test_tilted_lines_are_described_as_tilted(degrees: int) -> None:
    result = result_of(line("left and right side", 100, 200, degrees))
    (shown,) = xml(written("hocr", result)).xpath("//*[@class='ocr_line']/@title")
    # hOCR counts counter-clockwise.
    assert float(shown.rpartition("textangle ")[2]) == pytest.approx(-degrees % 360, abs=0.5)
    shapes = list(xml(written("alto", result)).iter(f"{ALTO}Polygon"))
    assert len(shapes) == 1 + 4
    first = [float(value) for value in shapes[0].get("POINTS", "").replace(",", " ").split()]
    assert np.abs(np.reshape(first, (4, 2)) - quad(100, 200, 190, degrees=degrees)).max() <= 2


@pytest.mark.parametrize(("angle", "corner"), [(90, (750, 100)), (180, (700, 550)), (270, (50, 500))])
def test_boxes_are_those_in_the_input_if_the_page_was_rotated(angle: int, corner: tuple[int, int]) -> None:
    source = Page(np.zeros((600, 800, 3), np.uint8))
    turned = Page(np.zeros((600, 800, 3) if angle == 180 else (800, 600, 3), np.uint8))
    upright = result_of(line("one two", 100, 50), page=turned, size=turned.image.shape[1::-1])
    result = replace(upright, source=source, orientation=Orientation(angle, 1.0))
    (word, _) = xml(written("hocr", result)).xpath("//*[@class='ocrx_word']/@title")
    left, top, right, bottom = map(int, word.removeprefix("bbox ").partition(";")[0].split())
    assert left <= corner[0] <= right
    assert top <= corner[1] <= bottom
    (shown,) = xml(written("hocr", result)).xpath("//*[@class='ocr_line']/@title")
    # The page has to be rotated counter-clockwise, so its text is turned clockwise.
    assert ("textangle" in shown, shown.rpartition(" ")[2]) == (True, f"{360 - angle}.0")


def test_upright_boxes_of_tilted_lines_stay_inside_the_page() -> None:
    # Detection cuts off what is outside of the page; the rectangle around the rest reaches over its edge.
    box = TextBox(np.array([[0, 200], [494, 18], [509, 59], [3, 241]], np.int32), 0.9)
    result = result_of(replace(line("across the corner", 0, 0), box=box))
    boxes = [tuple(map(int, each)) for each in re.findall(r"bbox (\S+) (\S+) (\S+) (\d+)", written("hocr", result))]
    assert len(boxes) == 7
    assert all(0 <= left < right <= 800 and 0 <= top < bottom <= 600 for left, top, right, bottom in boxes), boxes


def test_the_table_of_words_has_tesseracts_levels() -> None:
    head, *rows = written("tsv", result_of(*LETTER)).splitlines()
    assert head.split("\t")[0::11] == ["level", "text"]
    table = [dict(zip(head.split("\t"), row.split("\t"), strict=True)) for row in rows]
    assert [row["level"] for row in table[:5]] == ["1", "2", "3", "4", "5"]
    assert [row["text"] for row in table if row["level"] == "5"][:5] == ["Dear", "<Ada>", "&", "all,", "港"]
    assert {row["conf"] for row in table} == {"-1", "50"}


def test_pages_of_a_document_are_separated_by_a_form_feed_and_files_by_their_names() -> None:
    first, second = (result_of(LETTER[0], page=Page(np.zeros((9, 9, 3), np.uint8), "a.pdf", i, 2)) for i in (0, 1))
    other = result_of(LETTER[2], page=Page(np.zeros((9, 9, 3), np.uint8), "b.png"))
    assert written("text", first, second) == "Dear <Ada> & all,\n\fDear <Ada> & all,\n"
    assert written("lines", first, second, other, other, several_files=True) == (
        "==> a.pdf <==\nDear <Ada> & all,\n\fDear <Ada> & all,\n\n==> b.png <==\nMünchen\n\n==> b.png <==\nMünchen\n"
    )


def test_one_image_has_neither_title_nor_form_feed() -> None:
    assert written("text", result_of(LETTER[2])) == "München\n"


def test_json_is_one_list_also_without_pages() -> None:
    results = [result_of(*LETTER), result_of()]
    assert [page["rec_texts"] for page in json.loads(written("json", *results))] == [
        [each.text for each in LETTER],
        [],
    ]
    assert written("json", results[0]) == json.dumps([results[0].json["res"]], ensure_ascii=False, indent=4) + "\n"
    assert json.loads(written("json")) == []


def test_json_says_size_resolution_and_scale() -> None:
    page = Page(np.zeros((600, 800, 3), np.uint8), "a.pdf", 2, 9, resolution=144, scale=2)
    found = json.loads(written("native", result_of(LETTER[0], page=page)))
    values = [found[name] for name in ("width", "height", "resolution", "scale", "page", "pages")]
    assert values == [800, 600, 144, 2, 3, 9]


def test_markdown_shows_tables_lists_and_headings() -> None:
    rows = [("SALT", "2.50"), ("WHEAT FLOUR", "11.00"), ("OIL", "7.25"), ("TOTAL", "20.75")]
    lines = [line(name, 100, 100 + i * 34) for i, (name, _) in enumerate(rows)]
    lines += [line(price, 740 - PITCH * len(price), 100 + i * 34) for i, (_, price) in enumerate(rows)]
    text = written("markdown", result_of(*lines))
    assert text == "| SALT | 2.50 |\n|---|---|\n| WHEAT FLOUR | 11.00 |\n| OIL | 7.25 |\n| TOTAL | 20.75 |\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# 1 item", "\\# 1 item"),
        ("1. item", "1\\. item"),
        ("- item", "\\- item"),
        ("2 * 3 * 4 [x] <b> a|b", "2 \\* 3 \\* 4 \\[x\\] \\<b> a\\|b"),
        ("snake_case _it_", "snake_case \\_it\\_"),
        ("AT&T &amp;", "AT&T \\&amp;"),
        ("plain, text.", "plain, text."),
    ],
)
def test_markup_in_the_text_is_escaped(text: str, expected: str) -> None:
    assert markdown.escaped(text) == expected


def test_markup_is_escaped_on_each_line_of_a_paragraph() -> None:
    texts = ("Total", "-----------", "# 12 Main", "===========", "+ Tip", "> quoted")
    result = result_of(*(line(text, 100, 100 + i * 30) for i, text in enumerate(texts)))
    assert [block.kind for block in result.blocks] == ["paragraph"]
    escaped = ["Total", "\\-----------", "\\# 12 Main", "\\===========", "\\+ Tip", "\\> quoted"]
    assert written("markdown", result).splitlines() == escaped
    without_blocks = replace(result, blocks=(), lines=(line(" # 12 Main", 100, 100),))
    assert written("markdown", without_blocks) == "\\# 12 Main\n"


def test_a_heading_keeps_the_number_signs_at_its_end() -> None:
    block = Block("heading", quad(0, 0, 100), (), "Apartment ##")
    assert markdown._block(block) == "## Apartment \\##"


def test_items_of_a_list_keep_their_numbers() -> None:
    assert [markdown._item(text) for text in ("• salt", "- oil", "2) wheat", "rye")] == [
        "- salt",
        "- oil",
        "2. wheat",
        "- rye",
    ]
