"""The plug-in for OCRmyPDF, with the real program. `make integrations` runs it in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import pytest
from conftest import PAGES

ocrmypdf = pytest.importorskip("ocrmypdf", reason="OCRmyPDF has an environment of its own: make integrations")

import pikepdf  # noqa: E402
import pypdfium2  # noqa: E402

from ocr_onnx import OCR  # noqa: E402
from ocr_onnx.integrations import ocrmypdf as plugin  # noqa: E402
from ocr_onnx.runtime.selection import choose_placement  # noqa: E402
from ocr_onnx.stages.recognition import TextRecognizer  # noqa: E402

OPTIONS = SimpleNamespace(languages=["eng"], ocr_engine="ocr-onnx")


def scan(tmp_path: Path, *names: str, turn: int = 0) -> Path:
    """A PDF of pages without text."""
    pages = [PIL.Image.open(PAGES / name).convert("RGB").rotate(turn, expand=True) for name in names]
    file = tmp_path / "scan.pdf"
    pages[0].save(file, "PDF", resolution=150, save_all=True, append_images=pages[1:])
    return file


def made(tmp_path: Path, file: Path, *arguments: str) -> list[str]:
    """The text of each page of the PDF that OCRmyPDF makes."""
    target = tmp_path / "searchable.pdf"
    program = [sys.executable, "-m", "ocrmypdf", "--output-type", "pdf", *arguments, str(file), str(target)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with pikepdf.open(target) as document:
        assert document.check_pdf_syntax() == []
        assert "ocr-onnx" in str(document.docinfo.get("/Creator", ""))
    return [page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(target)]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_scan_becomes_searchable(tmp_path: Path, jobs: str) -> None:
    texts = made(tmp_path, scan(tmp_path, "letter.png", "sign.png"), "--ocr-engine", "ocr-onnx", "--jobs", jobs)
    assert "FERRY TERMINAL" in texts[1]
    assert "渡轮码头" in texts[1]
    assert "Gate 7" in texts[1]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_each_of_twenty_scanned_pages_becomes_searchable(tmp_path: Path, jobs: str) -> None:
    file, numbers = tmp_path / "scan.pdf", range(1001, 1021)
    pages = [PIL.Image.new("RGB", (400, 200), "white") for _ in numbers]
    for page, number in zip(pages, numbers, strict=True):
        PIL.ImageDraw.Draw(page).text((40, 80), f"Letter {number}", "black", PIL.ImageFont.load_default(40))
    pages[0].save(file, "PDF", resolution=100, save_all=True, append_images=pages[1:])
    texts = made(tmp_path, file, "--ocr-engine", "ocr-onnx", "--jobs", jobs)
    assert [text.strip() for text in texts] == [f"Letter {number}" for number in numbers]


def test_the_module_is_the_default_engine_if_it_is_given_as_a_plugin(tmp_path: Path) -> None:
    (text,) = made(tmp_path, scan(tmp_path, "sign.png"), "--plugin", "ocr_onnx.integrations.ocrmypdf")
    assert "FERRY TERMINAL" in text


def test_text_of_a_page_with_a_high_resolution_is_at_its_place(tmp_path: Path) -> None:
    with PIL.Image.open(PAGES / "sign.png") as image:
        enlarged = image.convert("RGB").resize((3 * image.width, 3 * image.height))
    file = tmp_path / "scan.pdf"
    enlarged.save(file, "PDF", resolution=450)
    element, text = plugin.OnnxEngine.generate_ocr(written(tmp_path, enlarged), OPTIONS)
    assert (element.dpi, element.bbox.right) == (200, round(enlarged.width * 200 / 450))
    assert "FERRY TERMINAL" in text
    made(tmp_path, file, "--ocr-engine", "ocr-onnx")
    page = pypdfium2.PdfDocument(tmp_path / "searchable.pdf")[0].get_textpage()
    (expected,) = (line for line in OCR(preset="fast").predict(PAGES / "sign.png")[0].lines if "FERRY" in line.text)
    left, _, _, top = page.get_charbox(page.get_text_range().index("FERRY"), loose=True)
    height = pypdfium2.PdfDocument(file)[0].get_height()
    assert (left, height - top) == pytest.approx(expected.box.quad.min(axis=0) * 72 / 150, abs=3)


def written(tmp_path: Path, image: PIL.Image.Image) -> Path:
    file = tmp_path / "page.png"
    image.save(file, dpi=(450, 450))
    return file


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_pages_are_rotated_upright(tmp_path: Path, turn: int) -> None:
    file = scan(tmp_path, "letter.png", turn=turn)
    best = ("--ocr-engine", "ocr-onnx", "--ocr-onnx-preset", "default")
    upright = made(tmp_path, scan(tmp_path, "letter.png"), *best)
    (text,) = made(tmp_path, scan(tmp_path, "letter.png", turn=turn), *best, "--rotate-pages")
    assert file.exists()
    assert sorted(text.split())[:20] == sorted(upright[0].split())[:20]


def test_the_angle_of_tilted_lines_is_found(tmp_path: Path) -> None:
    tilted = PIL.Image.open(PAGES / "letter.png").convert("RGB").rotate(-3, fillcolor="white", expand=True)
    tilted.save(tmp_path / "tilted.png")
    assert plugin.OnnxEngine.get_deskew(tmp_path / "tilted.png", OPTIONS) == pytest.approx(3, abs=0.5)


def test_mode_and_preset_are_chosen_by_options(tmp_path: Path) -> None:
    chosen = ("--ocr-onnx-preset", "default", "--ocr-onnx-mode", "high-performance")
    (text,) = made(tmp_path, scan(tmp_path, "sign.png"), "--ocr-engine", "ocr-onnx", *chosen)
    assert "FERRY TERMINAL" in text
    options = SimpleNamespace(languages=["eng"], ocr_onnx_preset="default", ocr_onnx_mode="high-performance")
    ocr = plugin._ocr(options)
    assert isinstance(ocr.recognize, TextRecognizer)
    assert (ocr.placement.mode, ocr.recognize.metadata.name) == ("high-performance", "PP-OCRv6_small_rec")
    ocr = plugin._ocr(OPTIONS)
    assert isinstance(ocr.recognize, TextRecognizer)
    assert (ocr.placement.mode, ocr.recognize.metadata.name) == ("standard", "PP-OCRv6_tiny_rec")


def test_on_openvino_as_many_pages_are_read_at_a_time_as_there_are_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    found = choose_placement(providers=["OpenVINO"])
    monkeypatch.setattr(plugin, "choose_placement", lambda mode: replace(found, mode=mode))
    options = SimpleNamespace(languages=["eng"], ocr_onnx_preset="fast", jobs=3, use_threads=True)
    limits = []
    for options.use_threads in (True, False):
        (provider,) = plugin._ocr(options).placement.providers
        limits.append(provider.options["INFERENCE_NUM_THREADS"])
    plugin._loaded.cache_clear()
    assert limits == ["3", "1"]


def test_words_without_a_space_between_them_are_one(tmp_path: Path) -> None:
    page, text = plugin.OnnxEngine.generate_ocr(PAGES / "sign.png", OPTIONS)
    words = [word.text for word in page.words]
    assert words[:3] == ["FERRY", "TERMINAL", "渡轮码头"]
    assert text.startswith("FERRY TERMINAL")
    assert all(word.confidence > 0.5 for word in page.words)


def test_hocr_is_written_for_renderers_that_read_it(tmp_path: Path) -> None:
    plugin.OnnxEngine.generate_hocr(PAGES / "sign.png", tmp_path / "page.hocr", tmp_path / "page.txt", OPTIONS)
    assert "ocrx_word" in (tmp_path / "page.hocr").read_text("utf-8")
    assert "FERRY TERMINAL" in (tmp_path / "page.txt").read_text("utf-8")


def test_languages_have_tesseracts_names() -> None:
    requested: Any = SimpleNamespace(languages=["deu", "chi_sim", "chi_tra_vert", "kor", "rus", "xyz"])
    assert plugin.OnnxEngine.languages(requested) == {"deu", "chi_sim", "chi_tra_vert", "kor", "rus"}


def test_an_installation_alone_does_not_replace_tesseract() -> None:
    assert plugin.registered.get_ocr_engine(SimpleNamespace(ocr_engine="auto")) is None
    assert plugin.registered.get_ocr_engine(OPTIONS) is not None
    assert plugin.get_ocr_engine(SimpleNamespace(ocr_engine="tesseract")) is None
