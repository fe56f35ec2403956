"""Results as dictionary, file and picture."""

from __future__ import annotations

import ast
import errno
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from conftest import encoded

from ocr_onnx import OCROptions, OCRResult, Page, TextBox, TextLine
from ocr_onnx.errors import InputNotFoundError, OutputError
from ocr_onnx.inputs import sources
from ocr_onnx.outputs import drawing
from ocr_onnx.outputs.formats import FORMATS
from ocr_onnx.outputs.saving import output_errors
from ocr_onnx.results import save as save_pages
from ocr_onnx.types import Columns, Orientation

QUAD = np.array([[10, 20], [110, 20], [110, 50], [10, 50]], np.int32)
TALL = np.array([[150, 10], [170, 10], [170, 150], [150, 150]], np.int32)


@pytest.fixture
def result() -> OCRResult:
    page = Page(np.full((160, 200, 3), 255, np.uint8), "some/where/page.jpg")
    boxes = (TextBox(QUAD, 0.75, upside_down=False), TextBox(TALL, 0.5, upside_down=True))
    lines = (TextLine("Gate 7", 0.99, boxes[0]), TextLine("", 0.0, boxes[1]))
    return OCRResult(page, page, Orientation(90, 0.9), boxes, lines, OCROptions.paddleocr())


def test_the_dictionary_has_paddleocrs_shape(result: OCRResult) -> None:
    assert result.json == {
        "res": {
            "input_path": "some/where/page.jpg",
            "page_index": None,
            "model_settings": {"use_doc_preprocessor": True, "use_textline_orientation": True},
            "doc_preprocessor_res": {
                "input_path": None,
                "page_index": None,
                "model_settings": {"use_doc_orientation_classify": True, "use_doc_unwarping": False},
                "angle": 90,
            },
            "dt_polys": [QUAD.tolist(), TALL.tolist()],
            "dt_scores": [0.75, 0.5],
            "text_det_params": {
                "limit_side_len": 64,
                "limit_type": "min",
                "max_side_limit": 4000,
                "thresh": 0.3,
                "box_thresh": 0.6,
                "unclip_ratio": 1.5,
            },
            "text_type": "general",
            "textline_orientation_angles": [0, 1],
            "text_rec_score_thresh": 0.0,
            "return_word_box": False,
            "rec_texts": ["Gate 7", ""],
            "rec_scores": [0.99, 0.0],
            "rec_polys": [QUAD.tolist(), TALL.tolist()],
            "rec_boxes": [[10, 20, 110, 50], [150, 10, 170, 150]],
        }
    }


def test_words_are_returned_if_requested(result: OCRResult) -> None:
    columns = Columns(tuple("Gate 7"), tuple(range(6)), 10)
    lines = (replace(result.lines[0], columns=columns), result.lines[1])
    found = replace(result, lines=lines, options=OCROptions(return_word_box=True)).json["res"]
    assert found["return_word_box"]
    assert found["text_word"] == [["Gate", " ", "7"], []]
    assert found["text_word_boxes"] == [[[10, 20, 50, 50], [50, 20, 60, 50], [60, 20, 70, 50]], []]


def test_text_in_a_polygon_is_written_into_the_rectangle_around_it(result: OCRResult) -> None:
    around = np.array([[20, 20], [100, 20], [110, 35], [100, 50], [20, 50], [10, 35]], np.int32)
    line = replace(result.lines[0], box=TextBox(around, 0.9))
    picture = np.asarray(drawing.draw(replace(result, lines=(line,))))[:, 200:]
    assert (picture[24:46, 24:96].min(axis=2) < 100).sum() > 50


def test_stages_that_were_off_are_minus_one(result: OCRResult) -> None:
    off = OCROptions(use_doc_orientation_classify=False, use_textline_orientation=False)
    boxes = tuple(replace(box, upside_down=None) for box in result.boxes)
    found = replace(result, orientation=None, boxes=boxes, options=off).json["res"]
    assert found["textline_orientation_angles"] == [-1, -1]
    assert "doc_preprocessor_res" not in found


def test_text_leaves_out_empty_lines(result: OCRResult) -> None:
    assert result.text == "Gate 7"


def test_printing_is_json_with_four_spaces(result: OCRResult, capsys: pytest.CaptureFixture[str]) -> None:
    result.print()
    out = capsys.readouterr().out
    assert json.loads(out) == result.json
    assert out.startswith('{\n    "res": {\n        "input_path"')
    result.print(format_json=False)
    assert capsys.readouterr().out == f"{result.json}\n"


def test_ascii_can_be_asked_for(result: OCRResult, capsys: pytest.CaptureFixture[str]) -> None:
    replace(result, lines=(replace(result.lines[0], text="登机"),)).print(ensure_ascii=True, indent=1)
    assert "\\u767b\\u673a" in capsys.readouterr().out


def test_an_output_that_lacks_characters_gets_ascii(result: OCRResult, monkeypatch: pytest.MonkeyPatch) -> None:
    chinese = replace(result, lines=(replace(result.lines[0], text="登机 é"),))
    for format_json in (True, False):
        out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
        monkeypatch.setattr(sys, "stdout", out)
        chinese.print(format_json=format_json)
        out.seek(0)
        printed = out.read()
        assert (json.loads(printed) if format_json else ast.literal_eval(printed)) == chinese.json


def test_files_in_a_folder_are_named_after_the_input(result: OCRResult, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    assert result.save_to_json(out) == out / "page_res.json"
    assert result.save_to_img(str(out)) == [out / "page_ocr_res_img.jpg", out / "page_preprocessed_img.jpg"]
    assert json.loads((out / "page_res.json").read_text("utf-8")) == result.json["res"]
    with PIL.Image.open(out / "page_ocr_res_img.jpg") as picture:
        assert picture.size == (400, 160)


def test_a_page_of_a_pdf_is_named_with_its_number(result: OCRResult, tmp_path: Path) -> None:
    page = replace(result.source, path="x/report.pdf", index=4, count=9)
    paged = replace(result, source=page)
    assert paged.save_to_json(tmp_path).name == "report_4_res.json"
    assert [p.name for p in paged.save_to_img(tmp_path)] == [
        "report_4_ocr_res_img.png",
        "report_4_preprocessed_img.png",
    ]


def test_the_files_of_an_array_have_one_stem(result: OCRResult, tmp_path: Path) -> None:
    nameless = replace(result, source=Page(result.source.image))
    names = [file.name for file in (nameless.save_to_json(tmp_path), *nameless.save_to_img(tmp_path))]
    (stem,) = {re.match(r"array_[0-9a-f]{16}(?=_)", name)[0] for name in names}  # type: ignore[index]
    other = replace(result, source=Page(result.source.image + 1))
    assert not other.save_to_json(tmp_path).name.startswith(stem)


@pytest.mark.parametrize("letter", ["a", "长"])
def test_an_input_with_a_long_name_is_saved(result: OCRResult, tmp_path: Path, letter: str) -> None:
    long = letter * (251 // len(letter.encode()))
    pages = [Page(result.source.image, f"{long}{end}.png", index=3, count=9) for end in ("", "b")]
    files = [replace(result, source=page).save_to_json(tmp_path) for page in pages]
    assert len(set(files)) == 2
    assert all(file.name.startswith(letter) and file.name.endswith("_3_res.json") for file in files)
    assert all(file.exists() for page in pages for file in replace(result, source=page).save_to_img(tmp_path))


def test_a_suffix_in_capitals_is_that_of_a_file(result: OCRResult, tmp_path: Path) -> None:
    assert result.save_to_json(tmp_path / "x.JSON") == tmp_path / "x.JSON"
    assert (tmp_path / "x.JSON").is_file()


@pytest.mark.parametrize("name", ["icon.ico", "page.h5", "page.xbm", "scan.pdf", "photo.heic"])
def test_images_are_png_if_the_inputs_format_cannot_hold_them(result: OCRResult, tmp_path: Path, name: str) -> None:
    named = replace(result, source=Page(result.source.image, name))
    assert {p.suffix for p in named.save_to_img(tmp_path)} == {".png"}


def test_pictures_longer_than_a_format_holds_are_png(result: OCRResult, tmp_path: Path) -> None:
    page = Page(np.full((10, 9000, 3), 255, np.uint8), "long.webp")
    assert {p.suffix for p in replace(result, source=page, page=page).save_to_img(tmp_path)} == {".png"}


def test_a_path_that_is_no_text_is_written_all_the_same(result: OCRResult, tmp_path: Path) -> None:
    odd = replace(result, source=Page(result.source.image, os.fsdecode(b"caf\xe9.png")))
    assert json.loads(odd.save_to_json(tmp_path / "out.json").read_text("utf-8"))["input_path"] == "caf\ufffd.png"


def test_names_that_are_no_utf_8_are_written_in_every_text_format(result: OCRResult) -> None:
    frames = [PIL.Image.new("L", (200, 160), gray) for gray in (0, 255)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    (page,) = sources.read_pages((os.fsdecode(b"caf\xe9.gif"), data))
    odd = replace(result, source=page, warnings=page.warnings)
    assert len(page.warnings) == 1
    texts = {name: b"".join(each.encoded([odd])).decode() for name, each in FORMATS.items() if each.document is None}
    assert json.loads(texts["native"])["path"] == json.loads(texts["jsonl"])["input_path"] == "caf\ufffd.gif"
    assert "animation" in texts["native"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_an_error_of_a_full_disk_asks_for_space(tmp_path: Path, code: int) -> None:
    with (
        pytest.raises(OutputError, match=r"; free disk space, or choose another folder$"),
        output_errors(tmp_path / "a"),
    ):
        raise OSError(code, os.strerror(code))


def test_a_file_that_cannot_be_written_is_named(result: OCRResult, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for save in (result.save_to_json, result.save_to_img):
        with pytest.raises(OutputError, match="cannot be written"):
            save(tmp_path / "file" / "out")


def test_the_error_of_a_page_that_is_read_while_it_is_written_is_not_one_of_the_file(
    result: OCRResult, tmp_path: Path
) -> None:
    def results() -> Iterator[OCRResult]:
        yield result
        raise InputNotFoundError("page.png does not exist")

    file = tmp_path / "pages.txt"
    file.write_text("older")
    with pytest.raises(InputNotFoundError, match=r"^page\.png does not exist$"):
        save_pages(results(), file)
    assert [each.name for each in tmp_path.iterdir()] == ["pages.txt"]
    assert file.read_text() == "older"


def test_a_file_name_is_taken_as_it_is(result: OCRResult, tmp_path: Path) -> None:
    assert result.save_to_json(tmp_path / "mine.json", indent=2) == tmp_path / "mine.json"
    files = result.save_to_img(tmp_path / "mine.png")
    assert files == [tmp_path / "mine.png", tmp_path / "mine_preprocessed_img.png"]
    with PIL.Image.open(files[0]) as saved:
        assert saved.size == result.img["ocr_res_img"].size


@pytest.mark.parametrize("name", ["page.gif", "page.jpge", "page.pdf"])
def test_a_suffix_that_cannot_be_written_is_refused_and_makes_no_folder(
    result: OCRResult, tmp_path: Path, name: str
) -> None:
    with pytest.raises(OutputError, match=r"unknown suffix: give one of \.png"):
        result.save_to_img(tmp_path / name)
    assert not list(tmp_path.iterdir())
    assert result.save_to_img(tmp_path / "results.2026")


@pytest.mark.parametrize("name", ["page.png", "page.txt", "page.JSN"])
def test_a_suffix_that_is_not_json_is_refused_and_makes_no_folder(result: OCRResult, tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=r"unknown suffix: give one of \.json, or a folder"):
        result.save_to_json(tmp_path / name)
    assert not list(tmp_path.iterdir())
    assert result.save_to_json(tmp_path / "results.2026").is_file()
    (tmp_path / name).mkdir()
    assert result.save_to_json(tmp_path / name).is_file()


def test_a_result_is_shown_as_one_short_line(result: OCRResult) -> None:
    assert repr(result) == "<OCRResult of some/where/page.jpg: 200 x 160 pixels, 2 lines>"
    paged = replace(result, source=replace(result.source, index=2, count=9))
    assert repr(paged) == "<OCRResult of some/where/page.jpg, page 3 of 9: 200 x 160 pixels, 2 lines>"


def test_warnings_are_part_of_both_dictionaries(result: OCRResult) -> None:
    warned = replace(result, warnings=("the font is missing",))
    assert (warned.to_dict()["warnings"], warned.json["res"]["warnings"]) == (["the font is missing"],) * 2
    assert (result.to_dict()["warnings"], result.json["res"].get("warnings")) == ([], None)
