"""Finding a font for every character."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from ocr_onnx.errors import OptionError
from ocr_onnx.inputs import fonts

CACHES = (fonts._all_fonts, fonts._candidates, fonts._font_or_fallback, fonts._warn_missing)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A machine whose one folder for fonts is empty."""
    monkeypatch.setattr(fonts, "FOLDERS", {"linux": (str(tmp_path),)})
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    for cache in CACHES:
        cache.cache_clear()
    yield tmp_path
    for cache in CACHES:
        cache.cache_clear()


def test_latin_is_drawn_on_a_machine_without_fonts(bare: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert fonts.runs("Gate 7") == [fonts.Run(None, "Gate 7")]
    assert not caplog.text


def test_a_missing_font_is_reported_once_per_script_with_the_package_to_install(
    bare: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for text in ("渡轮", "港の天気", "مرحبا", "\u1200\u1201"):
        assert {run.path for run in fonts.runs(text)} == {None}
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 3
    assert "CJK" in messages[0]
    assert "pip install noto-cjk-sans-otc" in messages[0]
    assert "pip install fontpkg-noto-sans-arabic" in messages[1]
    assert "fonts-noto-core" in messages[2]
    assert all("OCR_ONNX_FONT" in message for message in messages)


def test_fonts_of_installed_packages_are_found(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bare.parent / "package"
    font = folder / "files" / "NotoSansArabic[wdth,wght].ttf"
    font.parent.mkdir(parents=True)
    font.write_bytes(b"")
    spec = ModuleSpec("fontpkg_noto_sans_arabic", None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec if name == spec.name else None)
    assert fonts._candidates("ARABIC") == (font,)


def test_a_file_that_is_no_font_is_passed_over(bare: Path) -> None:
    (bare / "None-Regular.ttf").write_bytes(b"no font")
    assert fonts.runs("Gate") == [fonts.Run(None, "Gate")]


def test_an_invalid_font_file_is_named(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCR_ONNX_FONT", str(bare / "no.ttf"))
    with pytest.raises(OptionError, match="OCR_ONNX_FONT"):
        fonts.runs("a")


def test_an_empty_variable_names_no_font(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCR_ONNX_FONT", "")
    assert fonts.runs("abc") == [fonts.Run(None, "abc")]


def test_fonts_made_for_a_script_come_first(bare: Path) -> None:
    for name in ("DejaVuSans.ttf", "NotoSansThai-Regular.ttf", "NotoSansCJK-Regular.ttc", "NotoSansThai-Bold.ttf"):
        (bare / name).write_bytes(b"")
    assert [path.stem for path in fonts._candidates("THAI")] == [
        "NotoSansThai-Regular",
        "NotoSansCJK-Regular",
        "DejaVuSans",
    ]


@pytest.mark.parametrize(
    ("text", "expected"), [("直", "SC"), ("直す", "JP"), ("直 한글", "KR"), ("カタカナ", "JP"), ("Gate", "SC")]
)
def test_other_letters_tell_whose_forms_chinese_characters_take(text: str, expected: str) -> None:
    assert fonts.language(text) == expected


def test_controls_and_halves_of_characters_are_not_drawn() -> None:
    assert fonts.drawable(" a\x00b\u202e\tc\ud800\n") == "ab c"
    assert fonts.drawable("\u0915\u094d\u200d\u0937") == "\u0915\u094d\u200d\u0937"


@pytest.mark.parametrize(
    ("character", "expected"),
    [("é", "LATIN"), ("渡", "CJK"), ("ー", "CJK"), ("「", "CJK"), ("٣", "ARABIC"), ("→", "SYMBOL"), ("\u0e49", "THAI")],
)
def test_characters_belong_to_scripts(character: str, expected: str) -> None:
    assert fonts.script(character) == expected
