"""Searchable PDFs: the text in them, its place, and the pages that stay."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf
import PIL.Image
import pypdfium2
import pytest
from bidi.algorithm import get_display
from conftest import encoded

from benchmarks import glyphless
from ocr_onnx import InputOptions, OCROptions, OCRResult, Page, TextBox, TextLine
from ocr_onnx.errors import OutputError
from ocr_onnx.inputs import sources
from ocr_onnx.outputs.pdf import searchable
from ocr_onnx.outputs.pdf_font import FONT_FILE
from ocr_onnx.stages import geometry
from ocr_onnx.stages.blocks import find_blocks
from ocr_onnx.types import Columns, Orientation

PITCH = 10

TEXTS = ("Dear <Ada> & all,", "港口区 open 7.5", "München a b", "emoji \U0001f600 x", "(1) [2] {3}")


def line(text: str, left: float, top: float, degrees: float = 0, shown: str | None = None) -> TextLine:
    angle = math.radians(degrees)
    along, down = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    start, width = np.array([left, top], np.float64), PITCH * len(text)
    quad = np.rint([start, start + along * width, start + along * width + down * 20, start + down * 20])
    characters = tuple(shown or text)
    columns = Columns(characters, tuple(range(len(characters))), len(characters), (0.9,) * len(characters))
    return TextLine(text, 0.9, TextBox(quad.astype(np.int32), 0.9), columns=columns)


def lines(degrees: float = 0) -> tuple[TextLine, ...]:
    return tuple(line(text, 120, 60 + 60 * i, degrees) for i, text in enumerate(TEXTS))


def result_of(page: Page, found: Sequence[TextLine], **options: Any) -> OCRResult:
    boxes = tuple(each.box for each in found)
    return OCRResult(page, page, None, boxes, tuple(found), OCROptions(input=InputOptions(**options)))


def blank(width: int = 600, height: int = 400, resolution: float | None = 144) -> Page:
    return Page(np.full((height, width, 3), 255, np.uint8), resolution=resolution)


def text_lines(data: bytes, index: int = 0) -> list[str]:
    return str(pypdfium2.PdfDocument(data)[index].get_textpage().get_text_range()).splitlines()


def pdftotext(data: bytes, tmp_path: Path) -> list[str]:
    file = tmp_path / "page.pdf"
    file.write_bytes(data)
    done = subprocess.run(["pdftotext", str(file), "-"], capture_output=True, text=True, check=True)
    return [text for text in done.stdout.replace("\f", "").splitlines() if text]


def is_sound(data: bytes) -> bool:
    with pikepdf.open(io.BytesIO(data)) as document:
        # An older pikepdf has it under the other name.
        names = ("check_pdf_syntax", "check")
        check = next(getattr(document, name) for name in names if hasattr(document, name))
        return bool(check() == [])


def test_the_text_is_the_recognized_text() -> None:
    data = searchable([result_of(blank(), lines())])
    assert text_lines(data) == list(TEXTS)
    assert is_sound(data)


def test_a_level_line_takes_few_operators() -> None:
    with pikepdf.open(io.BytesIO(searchable([result_of(blank(), lines())]))) as document:
        operators = [str(each.operator) for each in pikepdf.parse_content_stream(document.pages[0])]
    assert operators.count("Tm") == len(TEXTS)


@pytest.mark.parametrize("degrees", [7, -7])
def test_the_text_of_tilted_lines_is_the_recognized_text(degrees: int) -> None:
    assert text_lines(searchable([result_of(blank(), lines(degrees))])) == list(TEXTS)


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_the_text_of_a_page_that_was_rotated_is_the_recognized_text(angle: int) -> None:
    source = blank(600, 400) if angle == 180 else blank(400, 600)
    upright = replace(source, image=np.full((400, 600, 3), 255, np.uint8))
    result = replace(result_of(upright, lines()), source=source, orientation=Orientation(angle, 1.0))
    data = searchable([result])
    assert text_lines(data) == list(TEXTS)
    # The first word is where it is in the input.
    corners = geometry.rotate_back(lines()[0].box.quad, angle, source.image.shape[1::-1]) / 2
    page = pypdfium2.PdfDocument(data)[0]
    left, bottom, right, top = page.get_textpage().get_charbox(0, loose=True)
    x, y = corners[0]
    assert left - 2 <= x <= right + 2
    assert bottom - 2 <= page.get_height() - y <= top + 2


def test_text_from_right_to_left_is_the_recognized_text() -> None:
    text = "كان النهر 12 (هادئا)"
    shown = str(get_display(text))
    found = line(text, 120, 60, shown=shown)
    assert text_lines(searchable([result_of(blank(), [found])])) == [text]


def test_lines_that_are_close_to_each_other_stay_apart() -> None:
    close = [line(text, 120, 60 + 12 * i) for i, text in enumerate(TEXTS)]
    assert text_lines(searchable([result_of(blank(), close)])) == list(TEXTS)


def test_words_are_where_they_were_recognized() -> None:
    data = searchable([result_of(blank(), [line("Dear Ada", 120, 60)])])
    page = pypdfium2.PdfDocument(data)[0]
    text = page.get_textpage()
    boxes = [text.get_charbox(i, loose=True) for i in (0, 3, 5, 7)]
    # Half a point per pixel. The font is lower than the line.
    assert [round(box[0]) for box in boxes] == [60, 75, 85, 95]
    assert [round(box[2]) for box in boxes] == [65, 80, 90, 100]
    assert [page.get_height() - box[3] for box in boxes] == pytest.approx([31] * 4, abs=0.1)
    assert [page.get_height() - box[1] for box in boxes] == pytest.approx([39] * 4, abs=0.1)


def drawn(
    text: str = "", *, mode: int = 0, rotate: int = 0, crop: tuple[int, ...] | None = None, pages: int = 1
) -> bytes:
    """A PDF of 300 x 200 points with a gray square, and text in a rendering mode."""
    document = pikepdf.Pdf.new()
    for _ in range(pages):
        page = document.add_blank_page(page_size=(300, 200))
        font = pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
        page.add_resource(font, pikepdf.Name.Font, pikepdf.Name.F1)
        shown = f"BT /F1 12 Tf {mode} Tr 20 150 Td ({text}) Tj ET" if text else ""
        page.contents_add(f"q 0.5 g 10 10 40 40 re f Q {shown}".encode())
        page.obj["/Rotate"] = rotate
        if crop is not None:
            page.cropbox = pikepdf.Array(crop)
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def read(data: bytes, texts: Sequence[str] = ("read here",), **options: Any) -> list[OCRResult]:
    pages = sources.read_pages(data, InputOptions(**options))
    return [result_of(page, [line(text, 60, 40 + 40 * i) for i, text in enumerate(texts)], **options) for page in pages]


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("crop", [None, (30, 20, 280, 190)])
def test_text_is_at_its_place_in_rotated_and_cropped_pages(rotate: int, crop: tuple[int, ...] | None) -> None:
    (result,) = read(drawn(rotate=rotate, crop=crop))
    data = searchable([result])
    page = pypdfium2.PdfDocument(data)[0]
    assert text_lines(data) == ["read here"]
    before = result.source.image
    after = page.render(scale=2).to_numpy()[:, :, :3]
    assert np.array_equal(before, after)
    # PDFium counts in the coordinates of the content: rotate them as viewers do.
    box = page.get_textpage().get_charbox(0, loose=True)
    size = np.array(result.source.image.shape[1::-1])
    (x0, y0), (x1, y1) = _seen(box, crop or (0, 0, 300, 200), rotate) * 2
    assert (x0, y0) == pytest.approx((60, 42), abs=1.5)
    assert (x1, y1) == pytest.approx((70, 58), abs=1.5)
    assert (size > 0).all()


def _seen(box: tuple[float, ...], crop: tuple[int, ...], rotate: int) -> Any:
    """The upper left and lower right corner of a box as a viewer shows it, in points."""
    left, bottom, right, top = crop
    corners = []
    for x, y in ((box[0], box[1]), (box[2], box[3])):
        corners.append(
            {
                0: (x - left, top - y),
                90: (y - bottom, x - left),
                180: (right - x, y - bottom),
                270: (top - y, right - x),
            }[rotate]
        )
    return np.array([np.min(corners, axis=0), np.max(corners, axis=0)])


def test_a_pdf_keeps_its_pages_and_those_that_were_not_read() -> None:
    data = drawn(pages=3)
    found = searchable(read(data, pdf_pages="2"))
    assert [text_lines(found, i) for i in range(3)] == [[], ["read here"], []]


@pytest.mark.parametrize(
    ("mode", "policy", "expected"),
    [
        (0, "skip", ["old text"]),
        (3, "skip", ["old text"]),
        (0, "redo", ["old text"]),
        (3, "redo", ["read here"]),
        (0, "force", ["read here"]),
        (3, "force", ["read here"]),
    ],
)
def test_pages_with_text_are_skipped_redone_or_replaced(mode: int, policy: str, expected: list[str]) -> None:
    results = read(drawn("old text", mode=mode), pdf_text=policy)
    data = searchable(results)
    assert text_lines(data) == expected
    assert is_sound(data)
    seen = pypdfium2.PdfDocument(data)[0].render(scale=2).to_numpy()[:, :, :3]
    assert np.abs(seen.astype(int) - results[0].source.image).mean() < 1


def test_a_pdf_a_stays_one() -> None:
    pdfa = pytest.importorskip("pikepdf.pdfa", reason="pikepdf before 10.17 has no validator")
    with pikepdf.open(io.BytesIO(drawn())) as document:
        document.pages[0].obj["/Resources"] = pikepdf.Dictionary()
        buffer = io.BytesIO()
        pdfa.save(document, buffer, "2b")
    data = searchable(read(buffer.getvalue(), ["read here 港口 \U0001f600"]))
    with pikepdf.open(io.BytesIO(data)) as document:
        assert pdfa.check(document, "2b").findings == []


def test_our_own_text_can_be_redone() -> None:
    first = searchable(read(drawn()))
    second = searchable(read(first, ["another reading"], pdf_text="redo"))
    assert text_lines(second) == ["another reading"]
    assert text_lines(searchable(read(first, ["another reading"]))) == ["read here"]


def test_invisible_text_in_a_form_is_redone() -> None:
    with pikepdf.open(io.BytesIO(drawn("old text", mode=3))) as document:
        page = document.pages[0]
        page.contents_coalesce()
        form = pikepdf.Stream(document, page.obj.Contents.read_bytes(), Type=pikepdf.Name.XObject)
        form["/Subtype"], form["/Resources"] = pikepdf.Name.Form, page.obj.Resources
        form["/BBox"] = pikepdf.Array([0, 0, 300, 200])
        page.obj["/Resources"] = pikepdf.Dictionary(XObject=pikepdf.Dictionary({"/Fm": document.make_indirect(form)}))
        page.obj["/Contents"] = pikepdf.Stream(document, b"/Fm Do")
        buffer = io.BytesIO()
        document.save(buffer)
    assert text_lines(searchable(read(buffer.getvalue()))) == ["old text"]
    assert text_lines(searchable(read(buffer.getvalue(), pdf_text="redo"))) == ["read here"]


@pytest.mark.parametrize(("form", "dpi"), [("JPEG", 300), ("PNG", 150), ("TIFF", 200), ("WEBP", None)])
def test_an_image_becomes_a_page_at_its_resolution(tmp_path: Path, form: str, dpi: int | None) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 600, 3), np.uint8)
    file = tmp_path / f"scan.{form.lower()}"
    file.write_bytes(encoded(PIL.Image.fromarray(noise), form, **({"dpi": (dpi, dpi)} if dpi else {})))
    (page,) = sources.read_pages(file)
    data = searchable([result_of(page, [line("read here", 60, 40)])])
    (width, height) = pypdfium2.PdfDocument(data)[0].get_size()
    assert (width, height) == pytest.approx((600 * 72 / (dpi or 96), 300 * 72 / (dpi or 96)), abs=0.1)
    assert text_lines(data) == ["read here"]
    if form in {"JPEG", "PNG"}:
        assert len(data) <= 1.15 * file.stat().st_size + 2000


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1, 1), (3, 3)), ((2, 400), (3, 300)), ((400, 24_000), (240, 14_400)), ((1, 24_000), (3, 14_400))],
)
@pytest.mark.parametrize("is_array", [False, True])
def test_an_image_too_small_or_too_long_for_a_page_becomes_one(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int], *, is_array: bool
) -> None:
    file = tmp_path / "strip.png"
    PIL.Image.new("RGB", size, "white").save(file)
    (page,) = sources.read_pages(file)
    data = searchable([result_of(replace(page, path=None) if is_array else page, [line("read here", 0, 0)])])
    assert pypdfium2.PdfDocument(data)[0].get_size() == pytest.approx(expected, abs=0.01)
    assert is_sound(data)


def test_an_image_with_transparency_and_an_array_become_pages(tmp_path: Path) -> None:
    file = tmp_path / "clear.png"
    PIL.Image.new("RGBA", (300, 200), (255, 0, 0, 100)).save(file)
    results = read(str(file))  # type: ignore[arg-type]
    array = result_of(blank(), lines())
    data = searchable([*results, array, array])
    assert [text_lines(data, i) for i in range(3)] == [["read here"], list(TEXTS), list(TEXTS)]


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_turned_tiff_is_a_page_as_it_was_read(tmp_path: Path, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    pixels = np.full((300, 400), 255, np.uint8)
    pixels[20:60, 20:120] = 0
    file = tmp_path / "scan.tif"
    PIL.Image.fromarray(pixels).save(file, exif=exif, dpi=(72, 72))
    (page,) = sources.read_pages(file)
    data = searchable([result_of(page, [line("read here", 60, 40)])])
    shown = pypdfium2.PdfDocument(data)[0].render(scale=1).to_numpy()[:, :, :1]
    assert shown.shape[:2] == page.image.shape[:2]
    assert np.abs(shown.astype(int) - page.image[:, :, :1]).mean() < 1
    assert text_lines(data) == ["read here"]


def test_a_tiff_with_16_bits_becomes_a_page(tmp_path: Path) -> None:
    file = tmp_path / "scan.tif"
    PIL.Image.fromarray(np.full((300, 400), 40_000, np.uint16)).save(file)
    (page,) = sources.read_pages(file)
    assert text_lines(searchable([result_of(page, [line("read here", 60, 40)])])) == ["read here"]


def test_a_rotated_photograph_has_its_text_at_its_place(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    file = tmp_path / "photo.jpg"
    PIL.Image.new("RGB", (400, 300), "white").save(file, exif=exif, dpi=(72, 72))
    (page,) = sources.read_pages(file)
    data = searchable([result_of(page, [line("read here", 60, 40)])])
    document = pypdfium2.PdfDocument(data)[0]
    assert document.get_size() == (300, 400)
    assert text_lines(data) == ["read here"]


def test_pages_of_a_tiff_become_pages(tmp_path: Path) -> None:
    file = tmp_path / "fax.tif"
    frames = [PIL.Image.new("L", (300, 200 + 10 * i), 255) for i in range(2)]
    frames[0].save(file, save_all=True, append_images=frames[1:], dpi=(72, 72))
    results = [result_of(page, [line(f"page {page.index}", 60, 40)]) for page in sources.read_pages(file)]
    data = searchable(results)
    assert [text_lines(data, i) for i in range(2)] == [["page 0"], ["page 1"]]
    assert pypdfium2.PdfDocument(data)[1].get_size() == (300, 210)


def test_no_page_is_no_pdf() -> None:
    with pytest.raises(OutputError, match="no page"):
        searchable([])


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pikepdf", None)
    with pytest.raises(OutputError, match=r"pip install .*\[pdf\]'"):
        searchable([])


def test_a_file_that_is_gone_is_replaced_by_its_pixels(tmp_path: Path) -> None:
    file = tmp_path / "gone.pdf"
    file.write_bytes(drawn())
    (page,) = sources.read_pages(file)
    file.unlink()
    assert text_lines(searchable([result_of(page, [line("read here", 60, 40)])])) == ["read here"]


def test_the_font_is_the_one_that_is_made() -> None:
    assert FONT_FILE.read_bytes() == glyphless.make()


def test_a_result_is_saved_as_a_pdf(tmp_path: Path) -> None:
    file = result_of(blank(), lines()).save(tmp_path / "page.pdf")
    assert text_lines(file.read_bytes()) == list(TEXTS)


def test_pdftotext_reads_the_recognized_text(tmp_path: Path) -> None:
    try:
        found = pdftotext(searchable([result_of(blank(), lines())]), tmp_path)
    except FileNotFoundError:
        pytest.skip("pdftotext is not installed")
    assert found == list(TEXTS)


def columns(degrees: float = 0) -> OCRResult:
    """A page with two columns, whose lines have boxes of different heights."""
    found = []
    for i in range(12):
        for text, start in ((f"left column line {i} text", 20), (f"right column line {i} text", 310)):
            x, y = start, 40 + 24 * i + math.tan(math.radians(degrees)) * start
            each = line(text, x, y, degrees)
            each.box.quad[:2, 1] -= i % 3
            found.append(each)
    blocks, order = find_blocks(found, (600, 400), [each.columns for each in found])
    return replace(result_of(blank(), [found[i] for i in order]), blocks=blocks)


@pytest.mark.parametrize("degrees", [0, 1.5])
def test_pdftotext_reads_lines_of_different_heights_column_by_column(tmp_path: Path, degrees: float) -> None:
    try:
        found = pdftotext(searchable([columns(degrees)]), tmp_path)
    except FileNotFoundError:
        pytest.skip("pdftotext is not installed")
    assert found == [f"{side} column line {i} text" for side in ("left", "right") for i in range(12)]


def test_lines_of_a_block_have_one_font_size_and_level_lines_one_baseline() -> None:
    page = pypdfium2.PdfDocument(searchable([columns(0.5)]))[0]
    text = page.get_textpage()
    shown = text.get_text_range()
    boxes = [text.get_charbox(i, loose=True) for i, character in enumerate(shown) if character not in "\r\n"]
    (height,) = {round(top - bottom, 1) for _, bottom, _, top in boxes}
    first = boxes[: shown.index("\r")]
    assert abs(first[0][1] - first[-1][1]) <= 0.2 * height


def test_pdftotext_reads_one_column_after_the_other(tmp_path: Path) -> None:
    left = [line(f"left column line {i} text", 20, 40 + 24 * i) for i in range(12)]
    right = [line(f"right column line {i} text", 310, 40 + 24 * i) for i in range(12)]
    mixed = [each for pair in zip(left, right, strict=True) for each in pair]
    blocks, order = find_blocks(mixed, (600, 400), [each.columns for each in mixed])
    result = replace(result_of(blank(), [mixed[i] for i in order]), blocks=blocks)
    try:
        found = pdftotext(searchable([result]), tmp_path)
    except FileNotFoundError:
        pytest.skip("pdftotext is not installed")
    assert [text.split()[0] for text in found] == ["left"] * 12 + ["right"] * 12


@pytest.mark.skipif(not hasattr(pikepdf.Pdf, "add_pages_from"), reason="pikepdf before 10.18 does not copy fields")
def test_several_pdfs_keep_their_form_fields_and_bookmarks() -> None:
    inputs: list[bytes] = []
    for name in ("first", "second"):
        document = pikepdf.new()
        page = document.add_blank_page(page_size=(300, 200))
        field = document.make_indirect(
            pikepdf.Dictionary(
                Type=pikepdf.Name.Annot, Subtype=pikepdf.Name.Widget, FT=pikepdf.Name.Tx, T=name, Rect=[10, 10, 90, 30]
            )
        )
        page.obj.Annots = pikepdf.Array([field])
        document.Root.AcroForm = pikepdf.Dictionary(Fields=pikepdf.Array([field]))
        with document.open_outline() as outline:
            outline.root.append(pikepdf.OutlineItem(name, 0))
        buffer = io.BytesIO()
        document.save(buffer)
        inputs.append(buffer.getvalue())
    pages = [replace(page, content=data) for data in inputs for page in sources.read_pages(data)]
    with pikepdf.open(io.BytesIO(searchable(result_of(page, lines()) for page in pages))) as merged:
        assert [str(field.T) for field in merged.Root.AcroForm.Fields] == ["first", "second"]
        with merged.open_outline() as outline:
            assert [item.title for item in outline.root] == ["first", "second"]
    assert len(pages) == 2
