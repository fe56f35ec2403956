"""Fonts that have the glyphs of a text: those of the system, and those of font packages from the package index."""

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

logger = logging.getLogger(__name__)

Font = PIL.ImageFont.FreeTypeFont
"""A face at a size."""

FONT_VARIABLE = "OCR_ONNX_FONT"
"""Environment variable: a font file that is tried before those found."""

FOLDERS = {
    "win32": ("C:/Windows/Fonts", "~/AppData/Local/Microsoft/Windows/Fonts"),
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "linux": ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"),
}

SUFFIXES = frozenset({".otf", ".ttc", ".ttf"})

WIDE = (
    *("NotoSansCJK-Regular", "NotoSansSC-Regular", "SourceHanSansSC-Regular", "wqy-microhei", "wqy-zenhei", "msyh"),
    *("PingFang", "Hiragino Sans GB", "simfang", "malgun", "AppleSDGothicNeo", "NotoSans-Regular", "DejaVuSans"),
    *("segoeui", "Nirmala", "LeelawUI", "Arial Unicode", "GeezaPro", "Kohinoor", "Thonburi", "arial", "tahoma"),
)
"""Fonts with many glyphs, by the names of their files; the first that has a character wins."""

CJK_PACKAGE, SANS_PACKAGE = "noto-cjk-sans-otc", "fontpkg-noto-sans"
PACKAGES = {"CJK": CJK_PACKAGE} | {
    script: f"{SANS_PACKAGE}-{script.lower()}"
    for script in ("ARABIC", "DEVANAGARI", "KHMER", "TAMIL", "TELUGU", "THAI")
}
"""The packages that carry a Noto font for a script."""
PACKAGES |= dict.fromkeys(("LATIN", "GREEK", "CYRILLIC"), SANS_PACKAGE)

CJK = frozenset({"BOPOMOFO", "CJK", "FULLWIDTH", "HALFWIDTH", "HANGUL", "HIRAGANA", "IDEOGRAPHIC", "KATAKANA"})
"""What the Unicode names of characters that one CJK font holds begin with."""

JOINERS = "\u200c\u200d"
"""Characters without a glyph that shaping needs."""

MISSING = "\uffff"
"""No font has a glyph for it, so it comes out as the font's sign for that."""


@dataclass(frozen=True, slots=True)
class Run:
    """A piece of a text that one font can set."""

    path: Path | None
    """None: the font that comes with Pillow."""
    text: str


def runs(text: str) -> list[Run]:
    """`text` in pieces, each with a font that has its glyphs; where none has, the text's first font and a note."""
    found: list[Run] = []
    letter = next((character for character in text if character.isalpha()), text[:1])
    main = _font_of(letter) if letter else None
    path = main
    for character in text:
        if not _has_glyph(path, character):
            path = main if _has_glyph(main, character) else _font_of(character)
        if found and (found[-1].path == path or character == " "):
            found[-1] = Run(found[-1].path, found[-1].text + character)
            continue
        if found and found[-1].text.endswith(" "):
            # On its own a space keeps its side, whichever way the text before it runs.
            before, path_before = found[-1].text.rstrip(), found[-1].path
            spaces = Run(path_before, " " * (len(found[-1].text) - len(before)))
            found[-1:] = [Run(path_before, before), spaces] if before else [spaces]
        found.append(Run(path, character))
    return found


def drawable(text: str) -> str:
    """`text` without what has no shape: control characters, halves of surrogate pairs, marks of direction."""
    # Composed letters are in more fonts than the marks they are composed of.
    shown = (" " if c.isspace() else c for c in unicodedata.normalize("NFC", text))
    kept = (c for c in shown if c in JOINERS or unicodedata.category(c) not in {"Cc", "Cf", "Cs"})
    return "".join(kept).strip()


def script(character: str) -> str:
    """The first word of its Unicode name, such as LATIN or ARABIC; CJK for all that these languages use; else SYMBOL."""
    first = unicodedata.name(character, "UNNAMED").split()[0].split("-")[0]
    kind = unicodedata.category(character)[0]
    if first in CJK or (kind == "P" and unicodedata.east_asian_width(character) in {"W", "F"}):
        return "CJK"
    return first if kind in "LMN" else "SYMBOL"


def font_with(character: str) -> Path | None:
    """The first font of this machine that has a glyph for it, those made for its script first; None where none has."""
    return next((path for path in _candidates(script(character)) if _has_glyph(path, character)), None)


def shapes(font: Font) -> bool:
    """Whether letters are joined and put in order (by Raqm, where Pillow has it), and forms for columns are known."""
    return bool(font.layout_engine == PIL.ImageFont.Layout.RAQM)


@functools.lru_cache(maxsize=256)
def load(path: Path | None, points: int, language: str = "") -> Font:
    """A font at a size in pixels an em; `language` picks a face of a collection of CJK faces: JP, KR or SC."""
    if path is None:
        default = PIL.ImageFont.load_default(points)
        assert isinstance(default, Font)  # noqa: S101  Pillow is built with FreeType, or no font could be loaded at all
        return default
    font = PIL.ImageFont.truetype(path, points, index=_faces(path).get(language, 0))
    if "[" in path.stem or path.stem.endswith("-VF"):
        font.set_variation_by_name("Regular")
    return font


def language(text: str) -> str:
    """Whose forms of Chinese characters suit `text`, by the other letters in it."""
    names = {unicodedata.name(character, "").split(" ")[0] for character in text}
    if names & {"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}:
        return "JP"
    return "KR" if "HANGUL" in names else "SC"


@functools.lru_cache(maxsize=4096)
def _font_of(character: str) -> Path | None:
    """The first font that has a glyph for it; where none has, the first of all, and a note."""
    name = script(character)
    path = font_with(character)
    if path is None and not _has_glyph(None, character):
        _note_missing(name)
        return next((path for path in _candidates("LATIN") if _opens(path)), None)
    return path


@functools.lru_cache(maxsize=256)
def _candidates(name: str) -> tuple[Path, ...]:
    """All fonts, those made for a script first."""
    chosen = os.environ.get(FONT_VARIABLE)
    if chosen and not _opens(Path(chosen)):
        raise OptionError(f"{FONT_VARIABLE} is {chosen!r}: it must name a font file (.ttf, .otf, .ttc)")
    own = tuple(path for path in _fonts() if name in path.stem.upper())
    return (*([Path(chosen)] if chosen else []), *own, *(path for path in _fonts() if path not in own))


@functools.cache
def _fonts() -> tuple[Path, ...]:
    """The fonts of this machine, those with many glyphs first."""
    folders = [Path(folder).expanduser() for folder in FOLDERS.get(sys.platform, FOLDERS["linux"])]
    found = {path.stem: path for path in _files([*folders, *_package_folders()])}
    wide = [found[name] for name in WIDE if name in found]
    others = [path for name, path in found.items() if name not in WIDE and ("Regular" in name or "[" in name)]
    return (*wide, *sorted(others, key=lambda path: (not path.stem.startswith("NotoSans"), path.stem)))


def _package_folders() -> list[Path]:
    """Where the font packages that are installed lie."""
    specs = (importlib.util.find_spec(package.replace("-", "_")) for package in dict.fromkeys(PACKAGES.values()))
    return [Path(folder) for spec in specs if spec is not None for folder in spec.submodule_search_locations or ()]


def _files(folders: Iterable[Path]) -> list[Path]:
    return [path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES]


@functools.lru_cache(maxsize=65536)
def _has_glyph(path: Path | None, character: str) -> bool:
    if character.isspace() or character in JOINERS:
        return True
    try:
        return _mask(path, character) != _mask(path, MISSING)
    except OSError:
        return False


def _mask(path: Path | None, character: str) -> bytes:
    return bytes(_unshaped(path).getmask(character))


@functools.lru_cache(maxsize=512)
def _unshaped(path: Path | None) -> Font:
    """A small size without shaping: one character, one glyph."""
    if path is None:
        return load(None, 16)
    return PIL.ImageFont.truetype(path, 16, layout_engine=PIL.ImageFont.Layout.BASIC)


def _opens(path: Path) -> bool:
    try:
        _unshaped(path)
    except OSError:
        return False
    return True


@functools.cache
def _faces(path: Path) -> dict[str, int]:
    """The last words of the names of a collection's faces, such as JP, and their numbers."""
    faces: dict[str, int] = {}
    while path.suffix.lower() == ".ttc":
        try:
            family = PIL.ImageFont.truetype(path, 16, index=len(faces)).getname()[0]
        except OSError:
            break
        faces[family.split()[-1] if family and family.split()[-1] not in faces else f"face {len(faces)}"] = len(faces)
    return faces


@functools.cache
def _note_missing(name: str) -> None:
    """Say what helps, once for each script."""
    install = f"pip install {PACKAGES[name]}" if name in PACKAGES else "install one (Debian: fonts-noto-core)"
    logger.warning(
        "no font here has all glyphs of %s text, and pictures show boxes in their place: %s, or name a font file in %s",
        name,
        install,
        FONT_VARIABLE,
    )
