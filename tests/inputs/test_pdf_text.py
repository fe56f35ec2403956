"""The text that pages of a PDF have: where it is taken instead of read, and pages that are not read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pikepdf
import pypdfium2
import pytest

from ocr_onnx import OCR, InputOptions, OCROptions, OCRResult, TextBox
from ocr_onnx.inputs import pdf_text, sources
from ocr_onnx.inputs.pdf_text import agrees, unpacked
from ocr_onnx.outputs.formats import FORMATS
from ocr_onnx.outputs.pdf_font import GlyphlessFont
from ocr_onnx.outputs.pdf_layer import frame_of, numbers
from ocr_onnx.stages.words import with_words

TEXTS = ("Dear Ada & all,", "the river is low", "7.50 EUR")


def drawn(*pages: Sequence[str], mode: int = 0, rotate: int = 0, upright: bool = True) -> bytes:
    """A PDF of 300 x 200 points whose pages have these lines, 24 points apart, upright in viewers or in the page that these rotate."""
    document = pikepdf.Pdf.new()
    for texts in pages:
        page = document.add_blank_page(page_size=(300, 200))
        font = pikepdf.Dictionary(
            Type=pikepdf.Name.Font,
            Subtype=pikepdf.Name.Type1,
            BaseFont=pikepdf.Name.Helvetica,
            Encoding=pikepdf.Name.WinAnsiEncoding,
        )
        page.add_resource(font, pikepdf.Name.Font, pikepdf.Name.F1)
        shown = " ".join(f"1 0 0 1 20 {150 - 24 * i} Tm ({text}) Tj" for i, text in enumerate(texts))
        page.obj["/Rotate"] = rotate
        matrix = numbers(frame_of(page).matrix) if upright else "1 0 0 1 0 0"
        page.contents_add(f"q {matrix} cm BT /F1 12 Tf {mode} Tr {shown} ET Q".encode())
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def layers(data: bytes, policy: Any) -> list[list[str] | None]:
    pages = sources.read_pages(data, InputOptions(pdf_text=policy))
    return [None if page.layer is None else [line.text for line in page.layer] for page in pages]


def test_pages_with_text_are_left_by_skip_and_the_others_are_read() -> None:
    assert layers(drawn(TEXTS, ()), "skip") == [[], None]
    assert layers(drawn(TEXTS, (), mode=3), "skip") == [[], None]


def test_redo_leaves_visible_text_and_reads_pages_with_invisible_text() -> None:
    assert layers(drawn(TEXTS), "redo") == [[]]
    assert layers(drawn(TEXTS, mode=3), "redo") == [None]


@pytest.mark.parametrize("policy", [None, "force"])
def test_all_pages_are_read_otherwise(policy: Any) -> None:
    assert layers(drawn(TEXTS), policy) == [None]


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_auto_takes_the_lines_of_a_page_with_their_places(rotate: int) -> None:
    data = drawn(TEXTS, (), rotate=rotate)
    first, second = sources.read_pages(data, InputOptions(pdf_text="auto"))
    assert second.layer is None
    assert first.layer is not None
    assert sorted(line.text for line in first.layer) == sorted(TEXTS)
    # The image is dark where the lines are, and nowhere else.
    dark = first.image.min(axis=2) < 128
    for line in first.layer:
        (left, top), (right, bottom) = line.box.quad.min(axis=0), line.box.quad.max(axis=0)
        assert dark[top : bottom + 1, left : right + 1].any()
        dark[top : bottom + 1, left : right + 1] = False
    assert not dark.any()


@pytest.mark.parametrize("rotate", [90, 180, 270])
def test_a_page_whose_text_is_not_upright_is_read_instead(rotate: int) -> None:
    assert layers(drawn(TEXTS, rotate=rotate, upright=False), "auto") == [None]


def test_text_without_meaning_is_read_instead() -> None:
    with pikepdf.open(io.BytesIO(drawn(TEXTS))) as document:
        cmap = b"1 begincodespacerange <00> <FF> endcodespacerange 1 beginbfrange <00> <FF> <E000> endbfrange"
        document.pages[0].Resources.Font.F1["/ToUnicode"] = pikepdf.Stream(document, cmap)
        buffer = io.BytesIO()
        document.save(buffer)
    assert layers(buffer.getvalue(), "auto") == [None]


def with_content(content: str) -> bytes:
    """A PDF with one page whose content is given; the font F1 is Helvetica."""
    with pikepdf.open(io.BytesIO(drawn(()))) as document:
        page = document.pages[0]
        page.obj["/Contents"] = pikepdf.Stream(document, content.encode())
        buffer = io.BytesIO()
        document.save(buffer)
    return buffer.getvalue()


def test_a_space_without_width_is_no_space_between_words() -> None:
    shown = "BT /F1 12 Tf 20 150 Td [(De ) 278 (sa ) 278 (rro llo)] TJ ET"
    assert layers(with_content(shown), "auto") == [["Desarro llo"]]


def test_the_words_of_a_line_have_boxes_even_if_the_pdf_has_no_spaces() -> None:
    shown = "BT /F1 12 Tf 20 150 Td [(river) -900 (bank)] TJ ET"
    (page,) = sources.read_pages(with_content(shown), InputOptions(pdf_text="auto"))
    (line,) = page.layer or ()
    river, bank = with_words(line).words or ()
    assert (line.text, river.text, bank.text) == ("river bank", "river", "bank")
    dark = np.flatnonzero((page.image.min(axis=2) < 128).any(axis=0))
    last = int(dark[np.flatnonzero(np.diff(dark) > 10)[0]])
    assert abs(river.box[1][0] - last) <= 5
    assert bank.box[0][0] > last + 5


def test_columns_of_a_line_are_lines() -> None:
    shown = "BT /F1 12 Tf 20 150 Td (left) Tj 100 0 Td (right) Tj ET"
    assert layers(with_content(shown), "auto") == [["left", "right"]]


def test_a_hyphen_at_the_end_of_a_line_is_kept() -> None:
    assert layers(drawn(("an exam-", "ple of it")), "auto") == [["an exam-", "ple of it"]]


def test_text_outside_the_page_is_left_out() -> None:
    shown = "BT /F1 12 Tf 20 150 Td (seen) Tj 0 -200 Td (outside) Tj ET"
    assert layers(with_content(shown), "auto") == [["seen"]]


def test_characters_beyond_the_basic_plane_are_kept() -> None:
    text = "a\U00020bb7b\U0001f600c"
    document = pikepdf.Pdf.new()
    page, font = document.add_blank_page(page_size=(300, 200)), GlyphlessFont(document)
    page.add_resource(font.object, pikepdf.Name.Font, pikepdf.Name.F1)
    page.contents_add(f"BT /F1 12 Tf 20 100 Td <{font.encoded(text)}> Tj ET".encode())
    font.finish()
    buffer = io.BytesIO()
    document.save(buffer)
    assert layers(buffer.getvalue(), "auto") == [[text]]


def test_half_a_character_beyond_the_basic_plane_has_no_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    units = [0xDC00, ord("a"), 0xD842, 0xDFB7, 0xDC00, 0xD842, ord("b"), 0xDFB7]
    monkeypatch.setattr(pypdfium2.raw, "FPDFText_GetUnicode", lambda _, i: units[i])
    text = SimpleNamespace(count_chars=lambda: len(units))
    assert [character for _, character in pdf_text._decoded(text)] == [
        "\ufffd",
        "a",
        "\U00020bb7",
        "\ufffd",
        "b",
        "\ufffd",
    ]


def test_redo_reads_a_page_whose_invisible_text_is_in_a_form() -> None:
    with pikepdf.open(io.BytesIO(drawn(TEXTS, mode=3))) as document:
        page = document.pages[0]
        page.contents_coalesce()
        form = pikepdf.Stream(document, page.Contents.read_bytes())
        form.stream_dict = pikepdf.Dictionary(
            Type=pikepdf.Name.XObject, Subtype=pikepdf.Name.Form, BBox=[0, 0, 300, 200], Resources=page.Resources
        )
        page.obj["/Resources"] = pikepdf.Dictionary(XObject=pikepdf.Dictionary(Form=document.make_indirect(form)))
        page.obj["/Contents"] = pikepdf.Stream(document, b"/Form Do")
        buffer = io.BytesIO()
        document.save(buffer)
    assert layers(buffer.getvalue(), "redo") == [None]
    assert layers(buffer.getvalue(), "skip") == [[]]


def test_lines_cross_to_another_process_unchanged() -> None:
    (page,) = sources.read_pages(drawn(TEXTS), InputOptions(pdf_text="auto"))
    (again,) = sources.read_pages(drawn(TEXTS), InputOptions(pdf_text="auto", pdf_timeout=0))
    for crossed, line in zip(page.layer or (), again.layer or (), strict=True):
        assert (crossed.text, crossed.columns, crossed.box.quad.tolist()) == (
            line.text,
            line.columns,
            line.box.quad.tolist(),
        )


@pytest.mark.parametrize(
    "hostile",
    [
        b"{}x",
        b"[1]",
        b"[[1, 2]]",
        b'[["ab", [1], [0, 0, 9, 9]]]',
        b'[["a", [-1], [0, 0, 9, 9]]]',
        b'[["a", [1], [0, 0, 9, 99999999999]]]',
        b'[["a", [1e999], [0, 0, 9, 9]]]',
        b"[" * 100_000,
    ],
)
def test_invalid_lines_of_another_process_are_refused(hostile: bytes) -> None:
    with pytest.raises((ValueError, TypeError, OverflowError, RecursionError)):
        unpacked(hostile)


def test_half_a_character_from_another_process_is_left_out() -> None:
    (line,) = unpacked(b'[["a\\ud800b", [1, 2, 3], [0, 0, 9, 9]], ["\\ud800", [1], [0, 0, 9, 9]]]')
    assert (line.text, line.columns.positions) == ("ab", (1, 3))


def boxes(*places: tuple[int, int]) -> list[TextBox]:
    return [TextBox(np.array([[x, y], [x + 90, y], [x + 90, y + 20], [x, y + 20]], np.int32), 0.9) for x, y in places]


def test_the_lines_of_a_pdf_agree_with_detection_if_both_see_text_at_the_same_places() -> None:
    (page,) = sources.read_pages(drawn(TEXTS), InputOptions(pdf_text="auto"))
    assert page.layer is not None
    assert agrees(page.layer, [line.box for line in page.layer])
    # A scan with a stamp, and text where nothing is seen.
    assert not agrees(page.layer, [*(line.box for line in page.layer), *boxes((400, 300), (400, 330))])
    assert not agrees(page.layer, boxes((400, 300)))


class Unread:
    """A detector that finds given boxes, and a recognizer that must not be asked."""

    def __init__(self, found: list[TextBox]) -> None:
        self.found, self.asked = found, 0

    def __call__(self, *_: Any) -> list[TextBox]:
        self.asked += 1
        return self.found


def read(ocr: OCR, data: bytes, detector: Unread, policy: Any) -> list[OCRResult]:
    pipeline = ocr.with_stages(detect=detector)
    options = OCROptions(use_doc_orientation_classify=False, input=InputOptions(pdf_text=policy))
    return list(pipeline.predict_iter(data, options))


def test_a_page_that_is_left_is_neither_detected_nor_recognized(ocr: OCR) -> None:
    detector = Unread([])
    (result,) = read(ocr, drawn(TEXTS), detector, "skip")
    assert (detector.asked, result.lines, result.text) == (0, (), "")
    assert b"%PDF-" in b"".join(FORMATS["pdf"].encoded([result]))


def test_the_result_has_the_text_of_the_pdf_and_says_so(ocr: OCR) -> None:
    (page,) = sources.read_pages(drawn(TEXTS), InputOptions(pdf_text="auto"))
    detector = Unread([line.box for line in page.layer or ()])
    (result,) = read(ocr, drawn(TEXTS), detector, "auto")
    assert [line.text for line in result.lines] == list(TEXTS)
    assert result.to_dict()["from_pdf"] is True
    assert result.blocks


def test_a_page_whose_text_disagrees_with_detection_is_read(ocr: OCR) -> None:
    detector = Unread(boxes((400, 300)))
    (result,) = read(ocr, drawn(TEXTS), detector, "auto")
    assert detector.asked == 2
    assert result.to_dict()["from_pdf"] is False
