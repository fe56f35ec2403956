"""A result as a picture: the boxes on the page, and beside it the text in its place."""

from __future__ import annotations

import colorsys
import functools
import itertools
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from ocr_onnx.errors import OptionError
from ocr_onnx.geometry import CORNERS, rectangle
from ocr_onnx.results import OCRResult
from ocr_onnx.types import Image, Quad

logger = logging.getLogger(__name__)

Color = tuple[int, int, int]

GOLDEN = 0.618034
"""Turning the hue by this much each time keeps neighbors apart."""

FONT_VARIABLE = "OCR_ONNX_FONT"
"""Environment variable: a font file that is tried before those found."""

FONT_FOLDERS = {
    "win32": ("C:/Windows/Fonts", "~/AppData/Local/Microsoft/Windows/Fonts"),
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "linux": ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"),
}

FONT_NAMES = (
    *("NotoSansCJK-Regular", "NotoSansSC-Regular", "SourceHanSansSC-Regular", "wqy-microhei", "wqy-zenhei", "msyh"),
    *("simfang", "PingFang", "STHeiti Medium", "Arial Unicode", "NotoSans-Regular", "DejaVuSans", "arial"),
)
"""Fonts with many scripts, the widest first; then any other whose file says Regular."""

VERTICAL = 2
"""Text in a box this many times as high as wide is set from top to bottom."""

MISSING = "\uffff"
"""No font has a glyph for it, so it comes out as the font's sign for that."""


def pictures(result: OCRResult) -> dict[str, PIL.Image.Image]:
    """The pictures of a result by PaddleOCR's names."""
    named = {"ocr_res_img": draw(result)}
    if result.options.use_doc_orientation_classify or result.options.use_doc_unwarping:
        named["preprocessed_img"] = _side_by_side(_to_pil(result.source.image), _to_pil(result.page.image))
    return named


def draw(result: OCRResult) -> PIL.Image.Image:
    """The page with its boxes on the left; on the right, on white, what was read, each text in its box."""
    page = _to_pil(result.page.image)
    marked, plain = page.copy(), PIL.Image.new("RGB", page.size, "white")
    on_page, on_plain = PIL.ImageDraw.Draw(marked), PIL.ImageDraw.Draw(plain)
    width = max(1, round(min(page.size) / 500))
    for line, color in zip(result.lines, _colors(), strict=False):
        corners = [tuple(point) for point in line.box.quad.tolist()]
        on_page.polygon(corners, fill=color)
        _write(plain, line.text, line.box.quad)
        on_plain.polygon(corners, outline=color, width=width)
    return _side_by_side(PIL.Image.blend(page, marked, 0.4), plain)


def find_font(text: str) -> Path | None:
    """The first font with a glyph for every character of `text`; failing that, the one that has the most."""
    best, fewest = None, len(text)
    for path in _fonts():
        lacking = sum(not _has_glyph(path, character) for character in set(text))
        if lacking == 0:
            return path
        if lacking < fewest:
            best, fewest = path, lacking
    return best


def _write(canvas: PIL.Image.Image, text: str, quad: Quad) -> None:
    """Set `text` into a box, along its first side; into the rectangle around a polygon."""
    if len(quad) != CORNERS:
        quad = rectangle(quad)[0].astype(np.int32)
    across, down = (int(np.linalg.norm(quad[k] - quad[0])) for k in (1, 3))
    if not text.strip() or across < 2 or down < 2:
        return
    path = find_font(text)
    _note_missing(text, path)
    vertical = down > VERTICAL * across
    strip = PIL.Image.new("L", (across, down), 0)
    font = _fitting(path, text, (across, down), vertical=vertical)
    pen = PIL.ImageDraw.Draw(strip)
    if vertical:
        step = down / len(text)
        for i, character in enumerate(text):
            pen.text((across / 2, (i + 0.5) * step), character, fill=255, font=font, anchor="mm")
    else:
        pen.text((across / 2, down / 2), text, fill=255, font=font, anchor="mm")
    corners = np.array([[0, 0], [across, 0], [across, down], [0, down]], np.float32)
    left, top = quad.min(axis=0).tolist()
    width, height = (quad.max(axis=0) - quad.min(axis=0)).tolist()
    matrix = cv2.getPerspectiveTransform(corners, (quad - quad.min(axis=0)).astype(np.float32))
    ink = np.asarray(cv2.warpPerspective(np.asarray(strip), matrix, (width, height)), np.uint8)
    canvas.paste("black", (left, top), PIL.Image.fromarray(ink))


def _fitting(
    path: Path | None, text: str, size: tuple[int, int], *, vertical: bool
) -> PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont:
    """The font at the largest size at which `text` stays inside."""
    across, down = size
    points = min(across, down // len(text)) if vertical else down * 4 // 5
    font = _load(path, max(points, 6))
    length = 0 if vertical else font.getlength(text)
    if length > across:
        font = _load(path, max(int(points * across / length), 6))
    return font


def _load(path: Path | None, points: int) -> PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont:
    return PIL.ImageFont.load_default(points) if path is None else PIL.ImageFont.truetype(path, points)


@functools.cache
def _fonts() -> tuple[Path, ...]:
    """The fonts of this machine, those with many scripts first."""
    folders = [Path(folder).expanduser() for folder in FONT_FOLDERS.get(sys.platform, FONT_FOLDERS["linux"])]
    found = {f.stem: f for folder in folders for f in sorted(folder.rglob("*")) if f.suffix in {".ttf", ".ttc", ".otf"}}
    preferred = [found[name] for name in FONT_NAMES if name in found]
    others = [path for name, path in found.items() if "Regular" in name and name not in FONT_NAMES]
    usable = tuple(path for path in (*preferred, *others) if _loads(path))
    if FONT_VARIABLE not in os.environ:
        return usable
    chosen = Path(os.environ[FONT_VARIABLE])
    if not _loads(chosen):
        raise OptionError(f"{FONT_VARIABLE} is {str(chosen)!r}: it must name a font file (.ttf, .otf, .ttc)")
    return (chosen, *usable)


def _loads(path: Path) -> bool:
    try:
        _small(path)
    except OSError:
        return False
    return True


@functools.lru_cache(maxsize=65536)
def _has_glyph(path: Path, character: str) -> bool:
    font = _small(path)
    return character.isspace() or bytes(font.getmask(character)) != bytes(font.getmask(MISSING))


@functools.lru_cache(maxsize=64)
def _small(path: Path) -> PIL.ImageFont.FreeTypeFont:
    return PIL.ImageFont.truetype(path, 16)


@functools.cache
def _note_once(message: str) -> None:
    logger.warning(message)


def _note_missing(text: str, path: Path | None) -> None:
    if path is None or not all(_has_glyph(path, character) for character in text):
        _note_once(
            "no font on this machine has all the characters that were read, and some come out as boxes in the picture: "
            f"install one (Debian: fonts-noto-cjk, fonts-noto-core), or name a font file in {FONT_VARIABLE}"
        )


def _colors() -> Iterator[Color]:
    for i in itertools.count():
        red, green, blue = colorsys.hsv_to_rgb(i * GOLDEN % 1, 0.85, 0.9)
        yield int(red * 255), int(green * 255), int(blue * 255)


def _to_pil(image: Image) -> PIL.Image.Image:
    return PIL.Image.fromarray(np.ascontiguousarray(image[:, :, ::-1]))


def _side_by_side(left: PIL.Image.Image, right: PIL.Image.Image) -> PIL.Image.Image:
    both = PIL.Image.new("RGB", (left.width + right.width, max(left.height, right.height)), "white")
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    return both
