"""Fonts that a PDF names and does not embed: an installed one is used, and a missing one is a warning of the page."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import only

from ocr_onnx import OCR
from ocr_onnx.inputs import fonts, pdf_fonts, sources
from ocr_onnx.types import Page

TEXTS = {
    ("GB1", "UniGB-UCS2-H"): "合同编号",
    ("CNS1", "UniCNS-UCS2-H"): "發票號碼",
    ("Japan1", "UniJIS-UCS2-H"): "請求書ください",
    ("Korea1", "UniKS-UCS2-H"): "한국어 계약",
}
"""Texts by Adobe's name of a set of characters and of its encoding."""


def page_with_font(name: str, ordering: str, encoding: str, text: str) -> str:
    """The objects of a page with a text in a font that is not embedded; PDFium finds them without a table."""
    return f"""<</Type/Page /Parent 1 0 R /MediaBox[0 0 400 100] /Contents {ordering}0 /Resources<</Font<</F <<
/Type/Font /Subtype/Type0 /BaseFont/{name} /Encoding/{encoding} /DescendantFonts[<</Type/Font /Subtype/CIDFontType0
/BaseFont/{name} /CIDSystemInfo<</Registry(Adobe) /Ordering({ordering}) /Supplement 0>> /DW 1000 /FontDescriptor<<
/Type/FontDescriptor /FontName/{name} /Flags 6 /FontBBox[-25 -254 1000 880] /Ascent 752 /Descent -271 /ItalicAngle 0 /StemV 58
>>>>]>>>>>>>>"""


def document(*fonts_and_texts: tuple[str, str, str, str]) -> bytes:
    """A PDF of one page for each (name of the font, ordering, encoding, text)."""
    pages, objects = [], []
    for number, (name, ordering, encoding, text) in enumerate(fonts_and_texts):
        page, content = 10 + 2 * number, 11 + 2 * number
        pages.append(f"{page} 0 R")
        described = page_with_font(name, ordering, encoding, text).replace(f"{ordering}0", f"{content} 0 R", 1)
        drawn = f"BT /F 40 Tf 20 30 Td <{text.encode('utf-16-be').hex()}> Tj ET"
        objects += [f"{page} 0 obj {described} endobj"]
        objects += [f"{content} 0 obj <</Length {len(drawn)}>> stream\n{drawn}\nendstream endobj"]
    head = f"%PDF-1.7\n1 0 obj <</Type/Pages /Kids[{' '.join(pages)}] /Count {len(pages)}>> endobj\n"
    return (
        head + "\n".join(objects) + "\n2 0 obj <</Type/Catalog /Pages 1 0 R>> endobj\ntrailer <</Root 2 0 R>>\n"
    ).encode()


@pytest.fixture
def no_fonts(monkeypatch: pytest.MonkeyPatch, pdfs_in_this_process: None) -> Iterator[None]:
    """A machine without a font for Chinese, Japanese and Korean."""
    only(document(("Unknown", *next(iter(TEXTS)), "合")))  # At its first text, PDFium lists the fonts.
    pdf_fonts._font_data.cache_clear()
    installed = pdf_fonts.installed_fonts()
    nothing = dict.fromkeys(("MapFont", "GetFont", "GetFontData", "DeleteFont"), lambda *_: 0)
    monkeypatch.setattr(installed, "default", SimpleNamespace(**nothing))
    monkeypatch.setattr(fonts, "find_font", lambda _: None)
    yield
    pdf_fonts._font_data.cache_clear()


@pytest.mark.parametrize(("character_set", "text"), TEXTS.items())
def test_an_installed_font_draws_the_text_of_a_font_that_is_not_embedded(
    character_set: tuple[str, str], text: str
) -> None:
    (page,) = sources.read_pages(document((f"Unknown{character_set[0]}", *character_set, text)))
    assert page.warnings == ()
    # Each character of 40 points has some hundred dark pixels.
    assert int((page.image < 128).all(axis=2).sum()) > 100 * len(text)


def test_the_text_of_a_font_that_is_not_embedded_is_read() -> None:
    data = document(("Heiti-Unknown", "GB1", "UniGB-UCS2-H", "合同编号二零四一八"))
    assert OCR().predict(data)[0].text == "合同编号二零四一八"


@pytest.mark.usefixtures("no_fonts")
def test_a_missing_font_is_a_warning_of_each_page_that_uses_it(caplog: pytest.LogCaptureFixture) -> None:
    chinese = ("Missing-Song", "GB1", "UniGB-UCS2-H", "合同")
    korean = ("Missing-Batang", "Korea1", "UniKS-UCS2-H", "계약")
    pages = list(sources.read_pages(document(chinese, korean, chinese)))
    named = [[name for name in ("Missing-Song", "Missing-Batang") if name in " ".join(page.warnings)] for page in pages]
    assert named == [["Missing-Song"], ["Missing-Batang"], ["Missing-Song"]]
    assert all("pip install noto-cjk-sans-otc" in text for page in pages for text in page.warnings)
    assert "page 3 of the input uses the font Missing-Song" in caplog.text


@pytest.mark.usefixtures("no_fonts")
def test_a_page_in_latin_letters_has_no_warning() -> None:
    data = document(("Missing-Mincho", "Japan1", "UniJIS-UCS2-H", "請求"))
    latin = (
        data.replace(b"/Type0", b"/Type1")
        .replace(b"/Encoding/UniJIS-UCS2-H", b"")
        .replace(b"Missing-Mincho", b"Helvetica")
    )
    pages: list[Page] = [*sources.read_pages(data), *sources.read_pages(latin)]
    assert [len(page.warnings) for page in pages] == [1, 0]


@pytest.mark.usefixtures("no_fonts")
def test_a_file_that_is_no_font_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "find_font", lambda _: (_ for _ in ()).throw(OSError("no font")))
    assert np.all(only(document(("Broken-Font", "CNS1", "UniCNS-UCS2-H", "發"))) == 255)
