"""The examples run, and print or write what their first line says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest
from conftest import PAGES

from ocr_onnx.models import zoo

EXAMPLES = Path(__file__).parents[1] / "examples"
LETTER = PAGES / "letter.png"
RECOGNITION = zoo.spec("PP-OCRv6_small_rec").path


def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


@pytest.fixture(scope="module")
def text() -> str:
    done = run("read_image.py", LETTER)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_reading_an_image_prints_its_paragraphs(text: str) -> None:
    assert "Harbour Office, 14 Quay Street" in text.splitlines()
    assert len(text) > 200


def test_a_pdf_becomes_one_json_object_per_page(tmp_path: Path) -> None:
    with PIL.Image.open(PAGES / "tiny.png") as picture:
        page = picture.convert("RGB")
    page.save(tmp_path / "report.pdf", save_all=True, append_images=[page])
    done = run("pdf_to_jsonl.py", tmp_path / "report.pdf", tmp_path / "report.jsonl")
    assert done.returncode == 0, done.stderr
    pages = [json.loads(line) for line in (tmp_path / "report.jsonl").read_text("utf-8").splitlines()]
    assert [page["page"] for page in pages] == [1, 2]
    assert all(line["text"] for page in pages for line in page["lines"])


def test_words_are_printed_with_boxes_inside_the_page() -> None:
    done = run("word_boxes.py", PAGES / "tiny.png")
    assert done.returncode == 0, done.stderr
    with PIL.Image.open(PAGES / "tiny.png") as picture:
        width, height = picture.size
    rows = [line.split(" ", 4) for line in done.stdout.splitlines()]
    assert rows
    for left, top, right, bottom, word in rows:
        assert 0 <= int(left) < int(right) <= width, word
        assert 0 <= int(top) < int(bottom) <= height, word


def test_the_drop_in_class_prints_a_score_with_each_text(text: str) -> None:
    done = run("paddleocr_drop_in.py", LETTER)
    assert done.returncode == 0, done.stderr
    scores, texts = zip(*(line.split(" ", 1) for line in done.stdout.splitlines()), strict=True)
    assert all(0 < float(score) <= 1 for score in scores)
    assert " ".join(texts).split() == text.split()


def test_a_model_file_of_ones_own_is_used(text: str, tmp_path: Path) -> None:
    shutil.copy(RECOGNITION, tmp_path / "my_rec.onnx")
    done = run("own_model.py", LETTER, tmp_path / "my_rec.onnx")
    assert (done.returncode, done.stdout) == (0, text), done.stderr
    assert "PP-OCRv6_small_rec" in done.stderr


def test_a_damaged_file_in_a_folder_is_reported_and_the_others_are_read(text: str, tmp_path: Path) -> None:
    source = tmp_path / "scans"
    source.mkdir()
    (source / "damaged.png").write_bytes(LETTER.read_bytes()[:2000])
    shutil.copy(LETTER, source)
    done = run("folder_with_errors.py", source, tmp_path / "texts")
    assert done.returncode == 1
    assert "damaged.png" in done.stderr
    assert [path.name for path in (tmp_path / "texts").iterdir()] == ["letter.txt"]
    assert (tmp_path / "texts" / "letter.txt").read_text("utf-8") == text


def test_every_example_is_run_here() -> None:
    here = Path(__file__).read_text("utf-8")
    assert all(f'"{example.name}"' in here for example in EXAMPLES.glob("*.py"))
