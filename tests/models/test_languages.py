"""Language and version to models: PaddleOCR's table, with PP-OCRv5 where none is named."""

from __future__ import annotations

import pytest

from ocr_onnx.errors import OptionError
from ocr_onnx.models.languages import canonical, languages, models_for

# Language, version, detection, recognition: as PaddleOCR 3.7.0 answers, run by run; version None as documented here.
TABLE = [
    (None, None, "PP-OCRv5_server_det", "PP-OCRv5_server_rec"),
    ("ch", None, "PP-OCRv5_server_det", "PP-OCRv5_server_rec"),
    ("japan", "PP-OCRv5", "PP-OCRv5_server_det", "PP-OCRv5_server_rec"),
    ("en", "PP-OCRv5", "PP-OCRv5_server_det", "en_PP-OCRv5_mobile_rec"),
    ("fr", None, "PP-OCRv5_server_det", "latin_PP-OCRv5_mobile_rec"),
    ("ru", None, "PP-OCRv5_server_det", "eslav_PP-OCRv5_mobile_rec"),
    ("bg", None, "PP-OCRv5_server_det", "cyrillic_PP-OCRv5_mobile_rec"),
    ("ku", None, "PP-OCRv5_server_det", "latin_PP-OCRv5_mobile_rec"),
    ("ug", None, "PP-OCRv5_server_det", "arabic_PP-OCRv5_mobile_rec"),
    ("hi", None, "PP-OCRv5_server_det", "devanagari_PP-OCRv5_mobile_rec"),
    ("korean", None, "PP-OCRv5_server_det", "korean_PP-OCRv5_mobile_rec"),
    ("el", None, "PP-OCRv5_server_det", "el_PP-OCRv5_mobile_rec"),
    ("ka", None, "PP-OCRv3_mobile_det", "ka_PP-OCRv3_mobile_rec"),
    ("ch", "PP-OCRv6", "PP-OCRv6_medium_det", "PP-OCRv6_medium_rec"),
    ("de", "PP-OCRv6", "PP-OCRv6_medium_det", "PP-OCRv6_medium_rec"),
    (None, "PP-OCRv4", "PP-OCRv4_mobile_det", "PP-OCRv4_mobile_rec"),
    ("en", "PP-OCRv4", "PP-OCRv4_mobile_det", "en_PP-OCRv4_mobile_rec"),
    ("ru", "PP-OCRv3", "PP-OCRv3_mobile_det", "cyrillic_PP-OCRv3_mobile_rec"),
    ("chinese_cht", "PP-OCRv3", "PP-OCRv3_mobile_det", "chinese_cht_PP-OCRv3_mobile_rec"),
]


@pytest.mark.parametrize(("lang", "version", "detection", "recognition"), TABLE)
def test_the_models_are_paddleocrs(lang: str | None, version: str | None, detection: str, recognition: str) -> None:
    assert models_for(lang, version) == (detection, recognition)


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("zh-CN", "ch"),
        ("zh-Hant-TW", "chinese_cht"),
        ("zh_TW", "chinese_cht"),
        ("ja-JP", "japan"),
        ("ko", "korean"),
        ("pt-BR", "pt"),
        ("EN", "en"),
        ("sr-Latn-RS", "rs_latin"),
        ("sr", "rs_cyrillic"),
        ("nb", "no"),
        ("kn", "ka"),
        ("rs_latin", "rs_latin"),
        ("german", "german"),
    ],
)
def test_bcp_47_tags_are_understood(tag: str, name: str) -> None:
    assert canonical(tag) == name


def test_an_unknown_language_is_answered_with_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"lang='koraen'; did you mean 'korean'\?"):
        models_for("koraen")


def test_an_unknown_language_like_no_other_is_answered_with_the_list() -> None:
    with pytest.raises(OptionError, match="models langs"):
        models_for("xx-klingon")


def test_a_version_without_a_language_names_one_that_has_it() -> None:
    with pytest.raises(OptionError, match=r"PP-OCRv4 do not support lang='ru'; use ocr_version='PP-OCRv5'"):
        models_for("ru", "PP-OCRv4")


def test_an_unknown_version_is_answered_with_all() -> None:
    with pytest.raises(OptionError, match="PP-OCRv6, PP-OCRv5, PP-OCRv4, PP-OCRv3"):
        models_for("ch", "PP-OCRv2")


def test_every_language_has_a_version() -> None:
    assert languages()["ka"] == ["PP-OCRv3"]
    assert languages()["en"] == ["PP-OCRv6", "PP-OCRv5", "PP-OCRv4", "PP-OCRv3"]
    assert all(versions for versions in languages().values())
