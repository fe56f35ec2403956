"""What a caller can give: files, folders, bytes, arrays, and lists of them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import PAGES, only

from ocr_onnx import Page, sources
from ocr_onnx.errors import (
    InputError,
    InputNotFoundError,
    UnreadableImageError,
    UnsupportedInputError,
)


def test_a_path_and_its_bytes_are_the_same_picture() -> None:
    path = PAGES / "letter.png"
    np.testing.assert_array_equal(only(path), only(path.read_bytes()))
    np.testing.assert_array_equal(only(path), only(str(path)))


def test_a_page_says_where_it_came_from() -> None:
    (page,) = sources.read_pages(PAGES / "letter.png")
    assert (page.path, page.index, page.count) == (str(PAGES / "letter.png"), None, None)


def test_a_name_in_chinese_is_read(tmp_path: Path) -> None:
    path = tmp_path / "登机牌 é.png"
    path.write_bytes((PAGES / "letter.png").read_bytes())
    assert only(path).shape == (520, 900, 3)


def test_a_folder_is_read_below_too_and_in_natural_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("page10.png", "page9.png", "b/page1.png", "notes.txt"):
        (tmp_path / name).write_bytes((PAGES / "tiny.png").read_bytes())
    found = [Path(str(page.path)).relative_to(tmp_path).as_posix() for page in sources.read_pages(tmp_path)]
    assert found == ["b/page1.png", "page9.png", "page10.png"]


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="no picture or PDF"):
        only(tmp_path)


def test_lists_are_read_one_after_the_other() -> None:
    pages = list(sources.read_pages([PAGES / "tiny.png", np.zeros((5, 6, 3), np.uint8)]))
    assert [page.image.shape for page in pages] == [(20, 42, 3), (5, 6, 3)]


def test_reading_is_lazy() -> None:
    taken = iter([PAGES / "tiny.png", PAGES / "nowhere.png"])
    pages = sources.read_pages(taken)
    assert isinstance(next(pages), Page)
    assert next(taken) == PAGES / "nowhere.png"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match=r"nowhere\.png does not exist"):
        only(tmp_path / "nowhere.png")


def test_a_path_that_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadableImageError, match="no file that can be read whole"):
        only(tmp_path / "pipe.png")


@pytest.mark.parametrize(("path", "cause"), [("", "is empty"), ("a\0b.png", "null"), ("x" * 5000, "too long")])
def test_impossible_paths_are_refused(path: str, cause: str) -> None:
    with pytest.raises(InputError, match=cause):
        only(path)


@pytest.mark.parametrize("thing", [None, 7, 1.5, {"image": "page.png"}])
def test_other_objects_are_refused(thing: object) -> None:
    with pytest.raises(UnsupportedInputError, match=type(thing).__name__):
        only(thing)
