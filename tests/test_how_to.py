"""The commands and scripts of the how-to pages work."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pypdfium2
import pytest
from click.testing import CliRunner
from conftest import PAGES

from ocr_onnx.cli.main import main

DOCS = Path(__file__).parent.parent / "docs"

PAGES_OF_HOW_TO = ("make-scans-searchable.md", "read-a-two-column-paper.md")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the pages name."""
    with PIL.Image.open(PAGES / "sign.png") as picture:
        for name in ("scan.pdf", "paper.pdf", "page-1.jpg", "page-2.jpg"):
            picture.convert("RGB").save(tmp_path / name, resolution=150)
    (tmp_path / "searchable").mkdir()
    (tmp_path / "scans").mkdir()
    shutil.copy(tmp_path / "scan.pdf", tmp_path / "scans" / "searchable.pdf")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(page: str) -> list[str]:
    return re.findall(r"^    ocr-onnx (.*)$", (DOCS / page).read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    ("page", "command"), [(page, command) for page in PAGES_OF_HOW_TO for command in commands(page)]
)
def test_a_command_works(folder: Path, page: str, command: str) -> None:
    arguments = shlex.split(command)
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    if "-o" not in arguments:
        assert "FERRY TERMINAL" in done.stdout
        return
    file = folder / arguments[arguments.index("-o") + 1]
    if file.is_dir():
        file /= "searchable.pdf"
    if file.suffix == ".pdf":
        assert all("FERRY TERMINAL" in each.get_textpage().get_text_range() for each in pypdfium2.PdfDocument(file))
    else:
        assert "TERMINAL" in file.read_text("utf-8")


@pytest.mark.parametrize("page", PAGES_OF_HOW_TO)
def test_a_script_works(folder: Path, page: str) -> None:
    (script,) = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_several_images_become_one_document(folder: Path) -> None:
    shutil.copy(PAGES / "letter.png", folder / "page-2.jpg")
    assert CliRunner().invoke(main, ["run", "page-1.jpg", "page-2.jpg", "-o", "both.pdf"]).exit_code == 0
    assert len(pypdfium2.PdfDocument(folder / "both.pdf")) == 2
