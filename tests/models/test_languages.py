"""Language, version and preset to models."""

from __future__ import annotations

from typing import Any

import pytest

from ocr_onnx.errors import OptionError
from ocr_onnx.models.languages import canonical, chain_for, languages, models_for, two_letters

# Language, version, detection, recognition: the family is PaddleOCR 3.7.0's answer, run by run, in the embedded size.
TABLE = [
    (None, None, "PP-OCRv6_small_det", "PP-OCRv6_small_rec"),
    ("ch", None, "PP-OCRv6_small_det", "PP-OCRv6_small_rec"),
    ("en", None, "PP-OCRv6_small_det", "PP-OCRv6_small_rec"),
    ("de", None, "PP-OCRv6_small_det", "PP-OCRv6_small_rec"),
    ("japan", "PP-OCRv5", "PP-OCRv5_mobile_det", "PP-OCRv5_mobile_rec"),
    ("en", "PP-OCRv5", "PP-OCRv5_mobile_det", "PP-OCRv5_mobile_rec"),
    (None, "PP-OCRv5", "PP-OCRv5_mobile_det", "PP-OCRv5_mobile_rec"),
    ("fr", "PP-OCRv5", "PP-OCRv5_mobile_det", "latin_PP-OCRv5_mobile_rec"),
    ("ru", None, "PP-OCRv6_small_det", "eslav_PP-OCRv5_mobile_rec"),
    ("bg", None, "PP-OCRv6_small_det", "cyrillic_PP-OCRv5_mobile_rec"),
    ("ug", None, "PP-OCRv6_small_det", "arabic_PP-OCRv5_mobile_rec"),
    ("hi", "PP-OCRv5", "PP-OCRv5_mobile_det", "devanagari_PP-OCRv5_mobile_rec"),
    ("korean", None, "PP-OCRv6_small_det", "korean_PP-OCRv5_mobile_rec"),
    ("el", None, "PP-OCRv6_small_det", "el_PP-OCRv5_mobile_rec"),
    ("ka", None, "PP-OCRv6_small_det", "ka_PP-OCRv3_mobile_rec"),
    ("ch", "PP-OCRv6", "PP-OCRv6_small_det", "PP-OCRv6_small_rec"),
    (None, "PP-OCRv4", "PP-OCRv4_mobile_det", "PP-OCRv4_mobile_rec"),
    ("en", "PP-OCRv4", "PP-OCRv4_mobile_det", "en_PP-OCRv4_mobile_rec"),
    ("ru", "PP-OCRv3", "PP-OCRv3_mobile_det", "cyrillic_PP-OCRv3_mobile_rec"),
    ("chinese_cht", "PP-OCRv3", "PP-OCRv3_mobile_det", "chinese_cht_PP-OCRv3_mobile_rec"),
]


@pytest.mark.parametrize(("lang", "version", "detection", "recognition"), TABLE)
def test_the_family_of_models_is_paddleocrs(
    lang: str | None, version: str | None, detection: str, recognition: str
) -> None:
    assert models_for(lang, version) == (detection, recognition)


@pytest.mark.parametrize(
    ("lang", "preset", "detection", "recognition"),
    [
        (None, "fast", "PP-OCRv6_tiny_det", "PP-OCRv6_tiny_rec"),
        (None, "accurate", "PP-OCRv6_medium_det", "PP-OCRv6_medium_rec"),
        ("en", "server", "PP-OCRv5_server_det", "PP-OCRv5_server_rec"),
        ("japan", "fast", "PP-OCRv6_tiny_det", "PP-OCRv6_small_rec"),
        ("korean", "server", "PP-OCRv5_server_det", "korean_PP-OCRv5_mobile_rec"),
    ],
)
def test_a_preset_keeps_its_models_for_the_languages_they_read(
    lang: str | None, preset: str, detection: str, recognition: str
) -> None:
    assert models_for(lang, preset=preset) == (detection, recognition)


def test_a_version_and_a_preset_together_are_refused() -> None:
    with pytest.raises(OptionError, match="ocr_version and preset are both given"):
        models_for("en", "PP-OCRv5", "fast")


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(OptionError, match="did you mean 'accurate'"):
        models_for(preset="acurate")


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
    with pytest.raises(OptionError, match=r"PP-OCRv4 does not support lang='ru'; use ocr_version='PP-OCRv5'"):
        models_for("ru", "PP-OCRv4")


def test_an_unknown_version_is_answered_with_all() -> None:
    with pytest.raises(OptionError, match="PP-OCRv6, PP-OCRv5, PP-OCRv4, PP-OCRv3"):
        models_for("ch", "PP-OCRv2")


def test_every_language_has_a_version() -> None:
    assert languages()["ka"] == ["PP-OCRv3"]
    assert languages()["en"] == ["PP-OCRv6", "PP-OCRv5", "PP-OCRv4", "PP-OCRv3"]
    assert all(versions for versions in languages().values())


@pytest.mark.parametrize("lang", [1, ["en"], b"en", True])
def test_a_language_of_a_wrong_type_is_refused(lang: Any) -> None:
    with pytest.raises(OptionError, match=r"lang is .*must be a string"):
        canonical(lang)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("deu", "de"),
        ("ger", "de"),
        ("spa", "es"),
        ("ell", "el"),
        ("eng", "en"),
        ("FRA", "fr"),
        ("por-BR", "pt"),
        ("jpn", "japan"),
        ("kor", "korean"),
        ("kan", "ka"),
        ("zho", "ch"),
        ("zho-Hant", "chinese_cht"),
        ("cmn", "ch"),
        ("chi_sim", "ch"),
        ("chi_tra", "chinese_cht"),
        ("srp", "rs_cyrillic"),
        ("srp_latn", "rs_latin"),
        ("nob", "no"),
        ("fil", "tl"),
        ("in", "id"),
        ("ce", "che"),
    ],
)
def test_codes_of_iso_639_and_tesseract_are_accepted(code: str, name: str) -> None:
    assert canonical(code) == name


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("English", "en"),
        ("chinese", "ch"),
        ("Japanese", "japan"),
        ("portuguese", "pt"),
        ("ch_sim", "ch"),
        ("ch_tra", "chinese_cht"),
        ("latin", "la"),
        ("arabic", "ar"),
        ("cyrillic", "bg"),
        ("devanagari", "hi"),
    ],
)
def test_english_names_and_those_of_other_projects_are_accepted(given: str, name: str) -> None:
    assert canonical(given) == name


@pytest.mark.parametrize("langs", ["en,korean", "eng+kor", "en, ko", "English + Korean"])
def test_several_languages_are_separated_by_commas_or_as_in_tesseract(langs: str) -> None:
    assert chain_for(langs)[1] == ("PP-OCRv6_small_rec", "korean_PP-OCRv5_mobile_rec")


@pytest.mark.parametrize(
    "code", ["he", "heb", "iw", "kat", "geo", "amh", "am", "bo", "xx", "zzz", "pan", "nan", "Deutsch", "auto", "multi"]
)
def test_the_code_of_a_language_without_a_model_is_not_answered_with_another_language(code: str) -> None:
    with pytest.raises(OptionError) as caught:
        canonical(code)
    assert "did you mean" not in str(caught.value)
    assert "ocr-onnx models langs" in str(caught.value)


def test_every_code_is_that_of_a_language_that_a_model_reads() -> None:
    assert {canonical(code) for code in two_letters()} <= languages().keys()


def test_a_long_value_is_not_repeated_in_the_error() -> None:
    with pytest.raises(OptionError) as caught:
        canonical("QUJD" * 5000)
    assert len(str(caught.value)) < 300
