"""The options of reading: which values they take, and which pages they choose."""

from __future__ import annotations

from typing import Any

import pytest

from ocr_onnx import InputOptions
from ocr_onnx.errors import OptionError
from ocr_onnx.options import MAX_PIXELS


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (None, [0, 1, 2, 3, 4, 5]),
        ("1", [0]),
        ("2-3", [1, 2]),
        ("5-", [4, 5]),
        ("1-2, 6", [0, 1, 5]),
        ("6,1,1-2", [0, 1, 5]),
        ("4-999999999", [3, 4, 5]),
        ("7", []),
    ],
)
def test_pages_are_counted_from_one_and_come_in_order(asked: str | None, chosen: list[int]) -> None:
    assert InputOptions(pdf_pages=asked).pages(6) == chosen


@pytest.mark.parametrize("asked", ["", "0", "3-2", "-3", "1,,2", "a", "1-2-3", "1.5", "1" * 5000])
def test_an_invalid_page_range_is_refused(asked: str) -> None:
    with pytest.raises(OptionError, match="pdf_pages"):
        InputOptions(pdf_pages=asked)


@pytest.mark.parametrize(
    "setting",
    [
        {"pdf_scale": 0},
        {"pdf_scale": float("nan")},
        {"max_megapixels": 0},
        {"max_megapixels": 1100},
        {"max_bytes": 0},
        {"max_bytes": 1.5},
        {"download_timeout": 0},
        {"max_redirects": -1},
        {"pdf_pages": 3},
        {"pdf_password": b"secret"},
    ],
    ids=str,
)
def test_values_out_of_range_are_refused_by_name(setting: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(setting))):
        InputOptions(**setting)


def test_the_default_limit_is_the_references() -> None:
    assert InputOptions().max_pixels == MAX_PIXELS


def test_a_password_is_not_printed() -> None:
    assert "secret" not in repr(InputOptions(pdf_password="secret"))
