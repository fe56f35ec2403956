"""The models for a language and a version, as PaddleOCR selects them."""

from __future__ import annotations

import functools
import re

from ocr_onnx.declarations import check_text
from ocr_onnx.errors import OptionError, shortened
from ocr_onnx.models import presets
from ocr_onnx.models.language_names import names
from ocr_onnx.models.presets import DEFAULT
from ocr_onnx.models.zoo import nearest, zoo
from ocr_onnx.options import Models

DEFAULT_VERSIONS = ("PP-OCRv6", "PP-OCRv5", "PP-OCRv3")
"""If no version is given: the first of these that supports the language, as in PaddleOCR 3.7."""

DEFAULT_LANGUAGE = "ch"
"""Chinese and English: the language if only a version is given."""

BCP_47 = {
    "av": "ava",
    "ce": "che",
    "ch-tra": "chinese_cht",  # EasyOCR's name.
    "chinese": "ch",
    "cyrillic": "bg",  # PaddleOCR 2's names of two scripts.
    "devanagari": "hi",
    "in": "id",
    "ja": "japan",
    "kn": "ka",  # PaddleOCR's ka is Kannada; in BCP 47 ka is Georgian, which PaddleOCR does not support.
    "ko": "korean",
    "nb": "no",
    "nn": "no",
    "sr": "rs_cyrillic",
    "sr-cyrl": "rs_cyrillic",
    "sr-latn": "rs_latin",
    "zh-sim": "ch",  # Tesseract's chi_sim and chi_tra.
    "zh-tra": "chinese_cht",
    "zh": "ch",
    "zh-hans": "ch",
    "zh-hant": "chinese_cht",
    "zh-hk": "chinese_cht",
    "zh-mo": "chinese_cht",
    "zh-tw": "chinese_cht",
}
"""Tags with another name in PaddleOCR; for all others, the language subtag is PaddleOCR's name."""


ISO_639 = """
afr:af ara:ar arb:ar aze:az azj:az bak:ba bel:be bul:bg bih:bh bos:bs cat:ca chv:cv ces:cs cze:cs cym:cy wel:cy dan:da deu:de ger:de
ell:el gre:el eng:en spa:es est:et ekk:et eus:eu baq:eu fas:fa per:fa pes:fa fin:fi fra:fr fre:fr gle:ga glg:gl hin:hi hrv:hr hun:hu
ind:id isl:is ice:is ita:it jpn:ja kan:kn kaz:kk kor:ko kur:ku kmr:ku kom:kv kpv:kv kir:ky lat:la ltz:lb lit:lt lav:lv lvs:lv mri:mi
mao:mi mkd:mk mac:mk mon:mn khk:mn mol:mo mar:mr msa:ms may:ms zsm:ms mlt:mt nep:ne npi:ne nld:nl dut:nl nor:no nob:nb nno:nn oci:oc
oss:os pli:pi pol:pl pus:ps por:pt que:qu roh:rm ron:ro rum:ro rus:ru san:sa snd:sd slk:sk slo:sk slv:sl sqi:sq alb:sq srp:sr swe:sv
swa:sw swh:sw tam:ta tel:te tgk:tg tha:th tgl:tl fil:tl tur:tr tat:tt uig:ug ukr:uk urd:ur uzb:uz uzn:uz vie:vi zho:zh chi:zh cmn:zh
"""
"""Codes of three letters with a code of two letters, of the languages that a model reads."""

SEPARATORS = re.compile(r"[,+]")

LONGEST_CODE = 3
"""Letters of the codes of ISO 639."""


def choose(models: Models | None, preset: str | None, lang: str | None) -> Models:
    """Return the given models, or those of a preset and of languages. Raises OptionError if both are given."""
    if not isinstance(models, Models | None):
        raise OptionError(f"models has the type {type(models).__name__}: give Models(...)")
    if preset is None and lang is None:
        return Models() if models is None else models
    if models is not None:
        raise OptionError("models are given with preset or lang, which choose the models too: give one of them")
    return Models(*chain_for(lang, preset=preset))


def models_for(lang: str | None = None, ocr_version: str | None = None, preset: str | None = None) -> tuple[str, str]:
    """Return the names of the detection and the recognition model for a language, and a version or a preset.

    `lang` is PaddleOCR's name or a BCP 47 tag. A version has detection and recognition models of its own. Without a version,
    the models are those of the preset; if its recognition model does not support the language, another one does. An embedded
    model comes before models that must be downloaded. Raises OptionError, with the most similar name, if one is unknown, if the
    version does not support the language, or if both a version and a preset are given.
    """
    name = DEFAULT_LANGUAGE if lang is None else canonical(lang)
    if ocr_version is not None:
        if preset is not None:
            raise OptionError("ocr_version and preset are both given, and each chooses the models: give one of them")
        return _models_of_version(ocr_version, name)
    chosen = DEFAULT if preset is None else presets.preset(preset)
    if name in zoo().models[chosen.text_recognition].languages:
        return chosen.text_detection, chosen.text_recognition
    found = next(found for version in DEFAULT_VERSIONS if (found := _recognition(version, name)))
    return chosen.text_detection, found


def chain_for(
    langs: str | None = None, ocr_version: str | None = None, preset: str | None = None
) -> tuple[str, tuple[str, ...]]:
    """Return the detection model and the recognition models for several languages, separated by commas (or `+`, as in Tesseract).

    The detection model is that of the first language. A model that reads several of the languages is named once.
    """
    if langs is not None:
        check_text("lang", langs)
    given = [None] if langs is None else [lang.strip() for lang in SEPARATORS.split(langs)]
    each = [models_for(lang, ocr_version, preset) for lang in given]
    return each[0][0], tuple(dict.fromkeys(recognition for _, recognition in each))


def _models_of_version(ocr_version: str, lang: str) -> tuple[str, str]:
    """Return the models of a version. Raises OptionError if it does not support the language, or does not exist."""
    found = _recognition(_version(ocr_version), lang)
    if found is None:
        supporting = [version for version in zoo().versions if _recognition(version, lang)]
        raise OptionError(f"{ocr_version} does not support lang={lang!r}; use ocr_version={supporting[0]!r}")
    return zoo().versions[ocr_version].text_detection, found


def canonical(lang: str) -> str:
    """Return PaddleOCR's name of a language; raise OptionError if there is none."""
    if not isinstance(lang, str):
        raise OptionError(
            f"lang is {shortened(repr(lang))}: it must be a string, such as 'en'; ocr-onnx models langs lists them"
        )
    tag = lang.lower().replace("_", "-")
    subtags = tag.split("-")
    tags = ["-".join(subtags[:length]) for length in range(len(subtags), 0, -1)]
    known = languages()
    for candidate in (lang, lang.lower(), *(_paddle_name(t) for t in tags), *_english(lang)):
        if candidate in known:
            return candidate
    # The nearest name of a short code is another language, and so is the nearest English name of some words.
    similar = [] if len(subtags[0]) <= LONGEST_CODE else known
    raise OptionError(
        f"no model supports lang={shortened(repr(lang))}; {nearest(lang.lower(), similar, 'ocr-onnx models langs')}"
    )


def _english(name: str) -> list[str]:
    """Return PaddleOCR's name of the language with an English name."""
    return [code for code, english in names().items() if english.lower() == name.strip().lower()]


def _paddle_name(tag: str) -> str:
    """Return PaddleOCR's name for a BCP 47 tag, a code of ISO 639 or Tesseract's name, in lower case with hyphens."""
    first, _, rest = tag.partition("-")
    tag = "-".join(filter(None, (two_letters().get(first, first), rest)))
    return BCP_47.get(tag, tag)


@functools.cache
def two_letters() -> dict[str, str]:
    """Return the code of two letters for each code of three letters of ISO 639-2 and 639-3."""
    return dict(pair.split(":") for pair in ISO_639.split())


def languages() -> dict[str, list[str]]:
    """Return all languages and the versions that support them, newest first."""
    found: dict[str, list[str]] = {}
    for version, models in zoo().versions.items():
        for model in models.text_recognition:
            for language in zoo().models[model].languages:
                versions = found.setdefault(language, [])
                if version not in versions:
                    versions.append(version)
    return dict(sorted(found.items()))


def _version(ocr_version: str) -> str:
    if check_text("ocr_version", ocr_version) not in zoo().versions:
        raise OptionError(
            f"ocr_version is {shortened(repr(ocr_version))}: it must be one of {', '.join(zoo().versions)}"
        )
    return ocr_version


def _recognition(version: str, lang: str) -> str | None:
    """Return the recognition model of a version for a language; None if there is none."""
    return next((m for m in zoo().versions[version].text_recognition if lang in zoo().models[m].languages), None)
