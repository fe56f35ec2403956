"""Draw a result: the page with its boxes on the left, and the recognized text in the same boxes on the right."""

from __future__ import annotations

import colorsys
import itertools
import math
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw
from bidi import get_display
from numpy.typing import NDArray

from ocr_onnx.inputs import fonts
from ocr_onnx.runtime import memory
from ocr_onnx.stages.geometry import MAX_WARP_SIDE, rectangle
from ocr_onnx.types import Image, Quad, RecognizedPage

Mask = NDArray[np.uint8]
"""The ink coverage of each pixel: (height, width), 0 to 255."""

Color = tuple[int, int, int]
"""Blue, green, red."""

HUE_STEP = 0.618034
"""Golden ratio: the hue difference of consecutive boxes, so that neighbors have distinct colors."""

FIRST_HUE, SATURATION, VALUE = 0.58, 0.75, 0.8

PAGE_FILL_OPACITY, TEXT_FILL_OPACITY = 0.3, 0.08
"""Opacity of the color that fills a box, on the page and on the text side."""

MAX_TEXT_HEIGHT, MIN_TEXT_HEIGHT = 0.94, 0.7
"""Limits of the text height, relative to the height of its box; between them the text fills the width of the box."""

SIDE_MARGIN = 0.1
"""Margin to the left and right of the text, relative to the height of its box."""

MAX_WIDTH_SCALE, MIN_WIDTH_SCALE = 1.12, 0.8
"""Limits of the horizontal scale for text that does not fit its box at those heights; text that is longer still is reduced."""

COLUMN_EM = 0.8
"""Font size of vertical text, relative to the width of its column."""

MAX_EM = 160
"""Largest font size in pixels; larger text is set in this size and then enlarged."""

SUPERSAMPLING_LIMIT, SUPERSAMPLING = 24, 2
"""Text below this font size, in pixels, is set larger by this factor and then reduced, for smoother edges."""

VERTICAL_ASPECT = 2
"""Text is vertical in a box whose height exceeds its width by more than this factor."""

BOX_COLOR, BOX_LINE_WIDTH = (0, 0, 255), 2
"""Color and line width in pixels of boxes drawn without their text."""

MIN_CAPTION_HEIGHT, MAX_CAPTION_HEIGHT, MIN_CAPTION_WIDTH = 20, 48, 160
"""Limits of the height and width of a caption, in pixels."""

ASCENT, DESCENT = 0.88, 0.18
"""Extent of letters above and below the baseline in most fonts, relative to the font size."""

CANVAS_RATIO, CANVAS_ALLOWANCE = 4, 2**24
"""A canvas has at most CANVAS_RATIO times the pixels of the images on it, or CANVAS_ALLOWANCE pixels if that is more; images that
need more are scaled down. An A4 page beside its rotated copy needs 1.2 times; a strip of 20000 x 1 would need 10,000 times."""

CANVAS_BYTES = 7
"""Bytes per pixel of a canvas: 3, plus 4 for Pillow's copy."""

ROUNDING_TOLERANCE = 1e-6
"""Pixels: a side of 999.9999999 is 1000."""

Size = tuple[int, int]
"""Height and width in pixels, in the order of an array's shape."""


class TextStrip(NamedTuple):
    """The rendered ink of one line of text."""

    ink: Mask
    right_to_left: bool


def draw_images(result: RecognizedPage, max_size: Size | None = None) -> dict[str, PIL.Image.Image]:
    """Return the images of a result by PaddleOCR's names, reduced to `max_size` if given, else in the page's resolution.

    Raises NotEnoughMemoryError if an image would exceed the memory limit of the process.
    """
    named = {"ocr_res_img": draw(result, max_size)}
    if result.options.use_doc_orientation_classify or result.options.use_doc_unwarping:
        named["preprocessed_img"] = to_pil(_side_by_side(result.source.image, result.page.image, max_size))
    return named


def draw(result: RecognizedPage, max_size: Size | None = None) -> PIL.Image.Image:
    """Draw the page with its boxes on the left and, on white, the text of each line in its box on the right.

    If the image would exceed `max_size`, the page is scaled down first. Raises NotEnoughMemoryError.
    """
    height, width = result.page.image.shape[:2]
    page = _scaled(result.page.image, _scale(height, 2 * width, 2 * height * width, max_size))
    both = _canvas(page.shape[0], 2 * page.shape[1])
    marked, plain = both[:, : page.shape[1]], both[:, page.shape[1] :]
    marked[:] = page
    ratio = np.array([page.shape[1] / width, page.shape[0] / height])
    thickness = max(1, round(min(page.shape[:2]) / 900))
    for number, line in enumerate(result.lines):
        color, quad = _color(number), np.rint(line.box.quad * ratio).astype(np.int32)
        _fill(marked, quad, color, PAGE_FILL_OPACITY)
        _fill(plain, quad, color, TEXT_FILL_OPACITY)
        draw_outline(marked, quad, color, thickness)
        draw_outline(plain, quad, color, 1)
        draw_text(plain, line.text, quad)
    return to_pil(both)


def draw_boxes(image: Image, quads: Iterable[Quad]) -> PIL.Image.Image:
    """Draw an image with the outlines of boxes in red."""
    canvas = image.copy()
    for quad in quads:
        draw_outline(canvas, quad, BOX_COLOR, BOX_LINE_WIDTH)
    return to_pil(canvas)


def draw_caption(image: Image, caption: str) -> PIL.Image.Image:
    """Draw an image with a line of text on white below it."""
    height, width = image.shape[:2]
    line = min(max(width // 16, MIN_CAPTION_HEIGHT), MAX_CAPTION_HEIGHT)
    if width < MIN_CAPTION_WIDTH:
        image = fit(image, (CANVAS_ALLOWANCE // MIN_CAPTION_WIDTH, MIN_CAPTION_WIDTH))
        height, width = image.shape[:2]
    canvas = _canvas(height + line, max(width, MIN_CAPTION_WIDTH))
    canvas[:height, :width] = image
    right, bottom = canvas.shape[1] - 1, canvas.shape[0] - 1
    draw_text(canvas, caption, np.array([[0, height], [right, height], [right, bottom], [0, bottom]], np.int32))
    return to_pil(canvas)


def draw_outline(canvas: Image, quad: Quad, color: Color, width: int) -> None:
    """Draw the outline of a box; `width` is the line width in pixels."""
    cv2.polylines(canvas, [quad.astype(np.int32)], isClosed=True, color=color, thickness=width, lineType=cv2.LINE_AA)


def draw_text(canvas: Image, text: str, quad: Quad) -> None:
    """Draw `text` in black into a box, along its first side, or from top to bottom in a tall box.

    A box with a side below 2 pixels, or larger than the canvas, remains empty.
    """
    text = fonts.drawable(text)
    if len(quad) != 4:
        quad = rectangle(quad)[0].astype(np.int32)
    across, down = _box_size(quad)
    fits = (
        min(across, down) >= 2
        and max(across, down) < MAX_WARP_SIDE
        and across * down <= canvas.shape[0] * canvas.shape[1]
    )
    if not text or not fits:
        return
    if down <= VERTICAL_ASPECT * across or len(text) == 1:
        strip = _render_horizontal(text, (across, down))
    elif _is_upright_script(text):
        strip = _render_vertical(text, (across, down))
    else:
        strip, quad = _render_horizontal(text, (down, across)), np.roll(quad, -1, axis=0)
    _apply_ink(canvas, strip, quad)


def to_pil(image: Image) -> PIL.Image.Image:
    """Convert to a Pillow image."""
    height, width = image.shape[:2]
    return PIL.Image.frombuffer("RGB", (width, height), np.ascontiguousarray(image), "raw", "BGR", 0, 1)


def fit(image: Image, max_size: Size) -> Image:
    """Scale an image down to fit into `max_size`; return a smaller image unchanged."""
    height, width = image.shape[:2]
    return _scaled(image, _scale(height, width, height * width, max_size))


def _render_horizontal(text: str, size: tuple[int, int]) -> Mask:
    """Render horizontal text, as large as fits into `size` (width, height)."""
    across, down = size
    margin = min(round(SIDE_MARGIN * down), (across - 1) // 2)
    room = across - 2 * margin
    em = max(round(min(down * MAX_TEXT_HEIGHT, MAX_EM, max(4 * room / len(text), 4))), 1)
    em *= SUPERSAMPLING if em < SUPERSAMPLING_LIMIT else 1
    line, right_to_left = _render_line(text, em)
    # A line with diacritics above or below can be taller than the font size.
    limit = MAX_TEXT_HEIGHT * down / max(em, line.shape[0])
    filling = room / line.shape[1]
    scale = min(limit, max(filling, min(limit * MIN_TEXT_HEIGHT / MAX_TEXT_HEIGHT, filling / MIN_WIDTH_SCALE)))
    width = max(round(min(line.shape[1] * scale * MAX_WIDTH_SCALE, room)), 1)
    height = max(min(round(line.shape[0] * scale), down), 1)
    left, top = across - margin - width if right_to_left else margin, (down - height) // 2
    strip = np.zeros((down, across), np.uint8)
    strip[top : top + height, left : left + width] = cv2.resize(line, (width, height), interpolation=cv2.INTER_AREA)
    return strip


def _render_line(text: str, em: int) -> TextStrip:
    """Render text at font size `em` in pixels; the strip is as wide as the ink, and at least as tall as usual letters."""
    right_to_left = unicodedata.bidirectional(next((c for c in text if c.isalpha()), " ")) in {"R", "AL"}
    language = fonts.language(text)
    runs = [(run.text, fonts.load(run.path, em, language)) for run in fonts.runs(text)]
    if right_to_left:
        # Runs are placed from right to left as well; within a run, Pillow orders the letters.
        runs.reverse()
    direction = "rtl" if right_to_left else "ltr"
    lengths = [
        font.getlength(piece, direction=direction if fonts.supports_shaping(font) else None) for piece, font in runs
    ]
    strip = PIL.Image.new("L", (max(math.ceil(sum(lengths)), 1), 3 * em))
    pen = PIL.ImageDraw.Draw(strip)
    for start, (piece, font) in zip(itertools.accumulate(lengths, initial=0), runs, strict=False):
        if fonts.supports_shaping(font):
            pen.text((start, 2 * em), piece, 255, font, "ls", direction=direction)
        else:
            pen.text((start, 2 * em), str(get_display(piece)), 255, font, "ls")
    left, top, right, bottom = strip.getbbox() or (0, 2 * em, 1, 2 * em)
    top, bottom = min(top, round((2 - ASCENT) * em)), max(bottom, round((2 + DESCENT) * em))
    return TextStrip(np.asarray(strip, np.uint8)[top:bottom, left:right], right_to_left)


def _render_vertical(text: str, size: tuple[int, int]) -> Mask:
    """Render vertical text with upright characters into `size` (width, height)."""
    across, down = size
    step = down / len(text)
    em = max(round(min(across * COLUMN_EM, step)), 1)
    fine = SUPERSAMPLING if em < SUPERSAMPLING_LIMIT else 1
    strip = PIL.Image.new("L", (across * fine, down * fine))
    pen = PIL.ImageDraw.Draw(strip)
    language = fonts.language(text)
    cells = [(character, run.path) for run in fonts.runs(text) for character in run.text]
    for number, (character, path) in enumerate(cells):
        middle = (number + 0.5) * step + (ASCENT - 0.5) * em
        font = fonts.load(path, em * fine, language)
        # Commas, brackets and dashes have special glyphs in vertical text.
        features = ["vert"] if fonts.supports_shaping(font) else None
        pen.text((across * fine / 2, middle * fine), character, 255, font, "ms", features=features)
    return np.asarray(cv2.resize(np.asarray(strip), size, interpolation=cv2.INTER_AREA), np.uint8)


def _is_upright_script(text: str) -> bool:
    """Return whether most letters are CJK, which remain upright in vertical text; other letters are rotated."""
    letters = [fonts.script(character) == "CJK" for character in text if character.isalpha()]
    return 2 * sum(letters) >= max(len(letters), 1)


def _apply_ink(canvas: Image, strip: Mask, quad: Quad) -> None:
    """Transform `strip` so that its corners are those of `quad`, and draw its ink in black."""
    height, width = strip.shape
    (left, top), (right, bottom) = quad.min(axis=0).tolist(), quad.max(axis=0).tolist()
    first_column, first_row = max(left, 0), max(top, 0)
    within = canvas[first_row : max(bottom, 0), first_column : max(right, 0)]
    if not within.size:
        return
    upright = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    if (quad != upright).any():
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        matrix = cv2.getPerspectiveTransform(corners, (quad - [first_column, first_row]).astype(np.float32))
        # Warp only the part inside the canvas: the box may extend far beyond it.
        ink = np.asarray(cv2.warpPerspective(strip, matrix, within.shape[1::-1]), np.uint8)
    else:
        ink = strip[first_row - top :, first_column - left :][: within.shape[0], : within.shape[1]]
    within[:] = cv2.multiply(within, cv2.cvtColor(255 - ink, cv2.COLOR_GRAY2BGR), scale=1 / 255)


def _fill(canvas: Image, quad: Quad, color: Color, opacity: float) -> None:
    """Blend a color into a box with the given opacity, 0 to 1."""
    start = np.maximum(quad.min(axis=0), 0)
    (left, top), (right, bottom) = start.tolist(), np.maximum(quad.max(axis=0) + 1, 0).tolist()
    within = canvas[top:bottom, left:right]
    if within.size:
        filled = cv2.fillPoly(within.copy(), [(quad - start).astype(np.int32)], color)
        within[:] = cv2.addWeighted(filled, opacity, within, 1 - opacity, 0)


def _box_size(quad: Quad) -> tuple[int, int]:
    """Return the width and height of a box, in pixels: the lengths of its first and last side."""
    across, down = (float(np.linalg.norm(quad[k] - quad[0])) for k in (1, 3))
    return round(across), round(down)


def _color(number: int) -> Color:
    red, green, blue = colorsys.hsv_to_rgb((FIRST_HUE + number * HUE_STEP) % 1, SATURATION, VALUE)
    return round(blue * 255), round(green * 255), round(red * 255)


def _side_by_side(left: Image, right: Image, max_size: Size | None) -> Image:
    """Return two images on one canvas, both scaled down by one factor if it would be too large."""
    height, width = max(left.shape[0], right.shape[0]), left.shape[1] + right.shape[1]
    scale = _scale(height, width, (left.size + right.size) // 3, max_size)
    left, right = _scaled(left, scale), _scaled(right, scale)
    both = _canvas(max(left.shape[0], right.shape[0]), left.shape[1] + right.shape[1])
    both[: left.shape[0], : left.shape[1]] = left
    both[: right.shape[0], left.shape[1] :] = right
    return both


def _scale(height: int, width: int, shown: int, max_size: Size | None) -> float:
    """Return the scale, at most 1, at which a canvas (height, width) satisfies all limits.

    `shown` is the number of pixels of the images on it; `max_size` is a further limit.
    """
    scale = min(1.0, math.sqrt(max(CANVAS_RATIO * shown, CANVAS_ALLOWANCE) / (height * width)))
    return scale if max_size is None else min(scale, max_size[0] / height, max_size[1] / width)


def _scaled(image: Image, scale: float) -> Image:
    """Return an image scaled down, each side to at least one pixel; the image itself if the scale is 1."""
    if scale == 1:
        return image
    height, width = (max(math.floor(side * scale + ROUNDING_TOLERANCE), 1) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _canvas(height: int, width: int) -> Image:
    """Return a white image. Raises NotEnoughMemoryError if it would exceed the memory limit of the process."""
    memory.require(
        height * width * CANVAS_BYTES, f"an image of {width} x {height}", "reduce the page, or request no images"
    )
    return np.full((height, width, 3), 255, np.uint8)
