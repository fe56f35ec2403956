"""MarkItDown, kreuzberg and PyMuPDF, with the real packages. `make integrations` runs it in an environment of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest
from conftest import PAGES

for package in ("markitdown", "kreuzberg", "pymupdf4llm"):
    pytest.importorskip(package, reason="it has an environment of its own: make integrations")

HOW_TO = Path(__file__).parents[2] / "docs" / "ocr-for-markitdown.md"

SCRIPTS = dict(re.findall(r"^## (\w+)\n.*?^```python\n(.*?)^```", HOW_TO.read_text("utf-8"), re.DOTALL | re.MULTILINE))
"""The script of each section."""


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A PDF of a page without text."""
    file = tmp_path / "scan.pdf"
    PIL.Image.open(PAGES / "letter.png").convert("RGB").save(file, resolution=150)
    return file


@pytest.mark.parametrize("program", ["MarkItDown", "kreuzberg", "PyMuPDF"])
def test_the_scripts_of_the_how_to_page_read_a_scan(
    program: str, scan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(scan.parent)
    exec(SCRIPTS[program], {})  # noqa: S102 the page's own
    text = capsys.readouterr().out
    assert all(part in text for part in ("Dear Ms. Lindqvist", "1,274.50", "J. Okafor"))


@pytest.mark.parametrize("name", ["scan.pdf", "letter.png"])
def test_markitdown_converts_scans_and_images_on_the_command_line(name: str, scan: Path) -> None:
    file = scan if name == "scan.pdf" else PAGES / name
    command = [sys.executable, "-m", "markitdown", "--use-plugins", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Dear Ms. Lindqvist" in done.stdout


def test_kreuzberg_gets_the_text_of_all_pages_of_a_tiff(tmp_path: Path) -> None:
    from ocr_onnx import OCR
    from ocr_onnx.integrations.kreuzberg import OnnxBackend

    file = tmp_path / "scans.tif"
    first, second = (PIL.Image.open(PAGES / name).convert("RGB") for name in ("sign.png", "letter.png"))
    first.save(file, save_all=True, append_images=[second])
    found = OnnxBackend(OCR(preset="fast"), ["eng"]).process_image(file.read_bytes(), "eng")
    assert re.search(r"FERRY TERMINAL.*\n\n.*Lindqvist", found["content"], re.DOTALL)
    assert found["metadata"]["width"] == first.width
