"""The models for a language and a version, as PaddleOCR selects them."""

from __future__ import annotations

from ocr_onnx.errors import OptionError
from ocr_onnx.models.zoo import nearest, zoo

DEFAULT_VERSIONS = ("PP-OCRv5", "PP-OCRv3")
"""If no version is given: the first of these that supports the language. PP-OCRv6 is used only if requested."""

DEFAULT_LANGUAGE = "ch"
"""Chinese and English: the language if only a version is given."""

BCP_47 = {
    "ja": "japan",
    "kn": "ka",  # PaddleOCR's ka is Kannada; in BCP 47 ka is Georgian, which PaddleOCR does not support.
    "ko": "korean",
    "nb": "no",
    "nn": "no",
    "sr": "rs_cyrillic",
    "sr-cyrl": "rs_cyrillic",
    "sr-latn": "rs_latin",
    "zh": "ch",
    "zh-hans": "ch",
    "zh-hant": "chinese_cht",
    "zh-hk": "chinese_cht",
    "zh-mo": "chinese_cht",
    "zh-tw": "chinese_cht",
}
"""Tags with another name in PaddleOCR; for all others, the language subtag is PaddleOCR's name."""


def models_for(lang: str | None = None, ocr_version: str | None = None) -> tuple[str, str]:
    """Return the names of the detection and the recognition model for a language and a version.

    `lang` is PaddleOCR's name or a BCP 47 tag. Raises OptionError, with the most similar name, if one is unknown or if the
    version does not support the language.
    """
    name = DEFAULT_LANGUAGE if lang is None else canonical(lang)
    versions = DEFAULT_VERSIONS if ocr_version is None else (_version(ocr_version),)
    for version in versions:
        if found := _recognition(version, name):
            return zoo().versions[version].text_detection, found
    supporting = [version for version in zoo().versions if _recognition(version, name)]
    raise OptionError(f"{' and '.join(versions)} do not support lang={lang!r}; use ocr_version={supporting[0]!r}")


def canonical(lang: str) -> str:
    """Return PaddleOCR's name of a language; raise OptionError if there is none."""
    tag = lang.lower().replace("_", "-")
    subtags = tag.split("-")
    tags = ["-".join(subtags[:length]) for length in range(len(subtags), 0, -1)]
    known = languages()
    for candidate in (lang, lang.lower(), *(BCP_47.get(t, t) for t in tags)):
        if candidate in known:
            return candidate
    raise OptionError(f"no model supports lang={lang!r}; {nearest(lang.lower(), known, 'ocr-onnx models langs')}")


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
    if ocr_version not in zoo().versions:
        raise OptionError(f"ocr_version is {ocr_version!r}: it must be one of {', '.join(zoo().versions)}")
    return ocr_version


def _recognition(version: str, lang: str) -> str | None:
    """Return the recognition model of a version for a language; None if there is none."""
    return next((m for m in zoo().versions[version].text_recognition if lang in zoo().models[m].languages), None)
