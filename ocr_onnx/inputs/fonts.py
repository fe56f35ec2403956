"""Choose fonts that have the glyphs of a text, for pictures of results and for PDFs, from the system's fonts and from font packages of the package index.

Whether a font has a glyph is tested by rendering it with Pillow rather than by reading the font's cmap with fontTools: 0.5 ms instead
of 340 ms for the first character of Noto Sans CJK, and no dependency of 30 MB.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import sys
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import PIL.ImageFont

from ocr_onnx.errors import OptionError

logger: logging.Logger = logging.getLogger(__name__)

Font = PIL.ImageFont.FreeTypeFont
"""A font face at a size."""

FONT_VARIABLE = "OCR_ONNX_FONT"
"""Environment variable: a font file that takes precedence over all others."""

FOLDERS: dict[str, tuple[str, ...]] = {
    "win32": ("C:/Windows/Fonts", "~/AppData/Local/Microsoft/Windows/Fonts"),
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "linux": ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"),
}

SUFFIXES = frozenset({".otf", ".ttc", ".ttf"})

PREFERRED = (
    *("NotoSansCJK-Regular", "NotoSansSC-Regular", "SourceHanSansSC-Regular", "wqy-microhei", "wqy-zenhei", "msyh"),
    *("PingFang", "Hiragino Sans GB", "simfang", "malgun", "AppleSDGothicNeo", "NotoSans-Regular", "DejaVuSans"),
    *("segoeui", "Nirmala", "LeelawUI", "Arial Unicode", "GeezaPro", "Kohinoor", "Thonburi", "arial", "tahoma"),
)
"""Fonts with many glyphs, by file name without suffix; the first one that has a character is used."""

CJK_PACKAGE, SANS_PACKAGE = "noto-cjk-sans-otc", "fontpkg-noto-sans"
PACKAGES = {"CJK": CJK_PACKAGE} | {
    script: f"{SANS_PACKAGE}-{script.lower()}"
    for script in ("ARABIC", "DEVANAGARI", "KHMER", "TAMIL", "TELUGU", "THAI")
}
"""The package with a Noto font for each script."""
PACKAGES |= dict.fromkeys(("LATIN", "GREEK", "CYRILLIC"), SANS_PACKAGE)

CJK = frozenset({"BOPOMOFO", "CJK", "FULLWIDTH", "HALFWIDTH", "HANGUL", "HIRAGANA", "IDEOGRAPHIC", "KATAKANA"})
"""First words of the Unicode names of characters that a CJK font contains."""

JOINERS = "\u200c\u200d"
"""Characters without a glyph that text shaping needs: zero-width non-joiner and joiner."""

NO_CHARACTER = "\uffff"
"""A code point without a glyph in any font: it renders as the font's symbol for missing glyphs."""


@dataclass(frozen=True, slots=True)
class Run:
    """A part of a text that one font can render."""

    path: Path | None
    """The font file; None for the font included in Pillow."""
    text: str


def runs(text: str) -> list[Run]:
    """Split `text` into runs, each with a font that has its glyphs; log a warning and use the first font if no font has them."""
    found: list[Run] = []
    letter = next((character for character in text if character.isalpha()), text[:1])
    main = _font_or_fallback(letter) if letter else None
    path = main
    for character in text:
        if not _has_glyph(path, character):
            path = main if _has_glyph(main, character) else _font_or_fallback(character)
        if found and (found[-1].path == path or character == " "):
            found[-1] = Run(found[-1].path, found[-1].text + character)
            continue
        if found and found[-1].text.endswith(" "):
            # A trailing space would move to the other side of right-to-left text, so it becomes a run of its own.
            before, path_before = found[-1].text.rstrip(), found[-1].path
            spaces = Run(path_before, " " * (len(found[-1].text) - len(before)))
            found[-1:] = [Run(path_before, before), spaces] if before else [spaces]
        found.append(Run(path, character))
    return found


def drawable(text: str) -> str:
    """Remove characters without a shape from `text`: control characters, lone surrogates, direction marks."""
    # More fonts have precomposed letters than combining marks.
    shown = (" " if c.isspace() else c for c in unicodedata.normalize("NFC", text))
    kept = (c for c in shown if c in JOINERS or unicodedata.category(c) not in {"Cc", "Cf", "Cs"})
    return "".join(kept).strip()


def script(character: str) -> str:
    """Return the script of a character: CJK, the first word of its Unicode name such as LATIN or ARABIC, or else SYMBOL."""
    first = unicodedata.name(character, "UNNAMED").split()[0].split("-")[0]
    kind = unicodedata.category(character)[0]
    if first in CJK or (kind == "P" and unicodedata.east_asian_width(character) in {"W", "F"}):
        return "CJK"
    return first if kind in "LMN" else "SYMBOL"


def find_font(character: str) -> Path | None:
    """Return the first font with a glyph for `character`, preferring fonts made for its script; None if there is none."""
    return next((path for path in _candidates(script(character)) if _has_glyph(path, character)), None)


def supports_shaping(font: Font) -> bool:
    """Return whether Pillow shapes text with Raqm: joined letters, right-to-left order, vertical glyphs."""
    return bool(font.layout_engine == PIL.ImageFont.Layout.RAQM)


@functools.lru_cache(maxsize=256)
def load(path: Path | None, points: int, language: str = "") -> Font:
    """Load a font at a size in pixels per em; `language` (JP, KR or SC) selects the face of a CJK font collection."""
    if path is None:
        default = PIL.ImageFont.load_default(points)
        assert isinstance(default, Font)  # noqa: S101  no font can be loaded if Pillow lacks FreeType
        return default
    font = PIL.ImageFont.truetype(str(path), points, index=face_index(path, language))
    if "[" in path.stem or path.stem.endswith("-VF"):
        font.set_variation_by_name("Regular")
    return font


def language(text: str) -> str:
    """Return the language whose variants of Chinese characters suit `text`, from its other letters: JP, KR, or else SC."""
    names = {unicodedata.name(character, "").split(" ")[0] for character in text}
    if names & {"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}:
        return "JP"
    return "KR" if "HANGUL" in names else "SC"


@functools.lru_cache(maxsize=4096)
def _font_or_fallback(character: str) -> Path | None:
    """Return the first font with a glyph for `character`; if there is none, log a warning and return the first Latin font."""
    name = script(character)
    path = find_font(character)
    if path is None and not _has_glyph(None, character):
        _warn_missing(name)
        return next((path for path in _candidates("LATIN") if _is_font(path)), None)
    return path


@functools.lru_cache(maxsize=256)
def _candidates(name: str) -> tuple[Path, ...]:
    """Return all fonts, those made for script `name` first. Raises OptionError if OCR_ONNX_FONT is not a font file."""
    chosen = os.environ.get(FONT_VARIABLE)
    if chosen and not _is_font(Path(chosen)):
        raise OptionError(f"{FONT_VARIABLE} is {chosen!r}: it must name a font file (.ttf, .otf, .ttc)")
    own = tuple(path for path in _all_fonts() if name in path.stem.upper())
    return (*([Path(chosen)] if chosen else []), *own, *(path for path in _all_fonts() if path not in own))


@functools.cache
def _all_fonts() -> tuple[Path, ...]:
    """Return all fonts of this machine, those with many glyphs first."""
    names = FOLDERS.get(sys.platform, FOLDERS["linux"])
    folders = [Path(os.path.expanduser(name)) for name in names]  # noqa: PTH111 Path raises an exception without a home
    found = {path.stem: path for path in _font_files([*folders, *package_folders()])}
    wide = [found[name] for name in PREFERRED if name in found]
    others = [path for name, path in found.items() if name not in PREFERRED and ("Regular" in name or "[" in name)]
    return (*wide, *sorted(others, key=lambda path: (not path.stem.startswith("NotoSans"), path.stem)))


def package_folders() -> list[Path]:
    """Return the folders of the installed font packages."""
    specs = (importlib.util.find_spec(package.replace("-", "_")) for package in dict.fromkeys(PACKAGES.values()))
    return [Path(folder) for spec in specs if spec is not None for folder in spec.submodule_search_locations or ()]


def _font_files(folders: Iterable[Path]) -> list[Path]:
    return [path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES]


@functools.lru_cache(maxsize=65536)
def _has_glyph(path: Path | None, character: str) -> bool:
    if character.isspace() or character in JOINERS:
        return True
    try:
        return _glyph_bitmap(path, character) != _glyph_bitmap(path, NO_CHARACTER)
    except OSError:
        return False


def _glyph_bitmap(path: Path | None, character: str) -> bytes:
    return bytes(_unshaped(path).getmask(character))


@functools.lru_cache(maxsize=512)
def _unshaped(path: Path | None) -> Font:
    """Load a font at a small size without shaping, so that one character is one glyph."""
    if path is None:
        return load(None, 16)
    return PIL.ImageFont.truetype(str(path), 16, layout_engine=PIL.ImageFont.Layout.BASIC)


def _is_font(path: Path) -> bool:
    try:
        _unshaped(path)
    except OSError:
        return False
    return True


def face_index(path: Path, language: str) -> int:
    """Return the index of the face of a CJK font collection for `language` (JP, KR, SC or TC); 0 if it has none."""
    return _faces(path).get(language, 0)


@functools.cache
def _faces(path: Path) -> dict[str, int]:
    """Return the index of each face of a font collection, by the last word of its name, such as JP."""
    faces: dict[str, int] = {}
    while path.suffix.lower() == ".ttc":
        try:
            family = PIL.ImageFont.truetype(str(path), 16, index=len(faces)).getname()[0]
        except OSError:
            break
        faces[family.split()[-1] if family and family.split()[-1] not in faces else f"face {len(faces)}"] = len(faces)
    return faces


@functools.cache
def _warn_missing(name: str) -> None:
    """Log once for each script which font package to install."""
    install = f"pip install {PACKAGES[name]}" if name in PACKAGES else "install one (Debian: fonts-noto-core)"
    logger.warning(
        "no installed font has all glyphs of %s text; images show boxes instead: %s, or set %s to a font file",
        name,
        install,
        FONT_VARIABLE,
    )
