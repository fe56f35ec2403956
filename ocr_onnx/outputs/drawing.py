"""A result as a picture: the boxes on the page, and beside it the text in its place."""

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
from bidi.algorithm import get_display
from numpy.typing import NDArray

from ocr_onnx.outputs import fonts
from ocr_onnx.runtime import memory
from ocr_onnx.stages.geometry import SHORT, rectangle
from ocr_onnx.types import Image, Quad, RecognizedPage

Mask = NDArray[np.uint8]
"""How much ink lies on each pixel: (height, width), 0 to 255."""

Color = tuple[int, int, int]
"""Blue, green, red."""

GOLDEN = 0.618034
"""Turning the hue by this much each time keeps neighbors apart."""

FIRST_HUE, SATURATION, VALUE = 0.58, 0.75, 0.8

COLOR_ON_PAGE, COLOR_BESIDE = 0.3, 0.08
"""How much of its color a box is filled with."""

LARGEST, SMALLEST = 0.94, 0.7
"""Between these the size of the text is chosen so that it fills a box of height 1."""

INSET = 0.1
"""The room left and right of the text for a box of height 1."""

STRETCH, SQUEEZE = 1.12, 0.8
"""Text that is then too short or too long is made wider or narrower by these factors at most, and smaller beyond."""

COLUMN = 0.8
"""The size of characters in a column of width 1."""

MAX_EM = 160
"""Text is set at this size at most, in pixels, and then enlarged."""

SMALL, FINE = 24, 2
"""Text of a smaller size is set larger by this factor and then reduced, which looks smoother."""

VERTICAL = 2
"""Text in a box this many times as high as wide runs from top to bottom."""

RED, OUTLINE = (0, 0, 255), 2
"""The color and the width of boxes where there is no text beside them."""

LEAST_LINE, LARGEST_LINE, LEAST_CAPTION = 20, 48, 160
"""The height of a caption, and the width it has room in, in pixels."""

ASCENT, DESCENT = 0.88, 0.18
"""How far letters reach above and below their baseline in most fonts, for a size of 1."""

CANVAS_RATIO, CANVAS_FLOOR = 4, 2**24
"""A canvas has at most CANVAS_RATIO times the pixels of the images on it, or CANVAS_FLOOR pixels; images that need more are
scaled down. An A4 page beside itself turned needs 1.2 times its pixels; a strip of 20000 x 1 would need 10,000 times."""

CANVAS_BYTES = 7
"""Bytes per pixel of a canvas: 3, and 4 in Pillow's copy."""

ROUNDING = 1e-6
"""Pixels; a side of 999.9999999 is one of 1000."""

Size = tuple[int, int]
"""Height and width in pixels, in the order of an array's shape."""


class Setting(NamedTuple):
    """One line of text set in ink."""

    ink: Mask
    right_to_left: bool


def pictures(result: RecognizedPage, largest: Size | None = None) -> dict[str, PIL.Image.Image]:
    """The pictures of a result by PaddleOCR's names; each fits into `largest`, or is of the page's own resolution.

    Raises NotEnoughMemoryError where a picture would pass the process's memory limit.
    """
    named = {"ocr_res_img": draw(result, largest)}
    if result.options.use_doc_orientation_classify or result.options.use_doc_unwarping:
        named["preprocessed_img"] = to_pil(_side_by_side(result.source.image, result.page.image, largest))
    return named


def draw(result: RecognizedPage, largest: Size | None = None) -> PIL.Image.Image:
    """The page with its boxes on the left; on the right, on white, the recognized text, each line in its box.

    The page is scaled down first if the picture would not fit into `largest`.
    """
    height, width = result.page.image.shape[:2]
    page = _scaled(result.page.image, _scale(height, 2 * width, 2 * height * width, largest))
    both = _canvas(page.shape[0], 2 * page.shape[1])
    marked, plain = both[:, : page.shape[1]], both[:, page.shape[1] :]
    marked[:] = page
    ratio = np.array([page.shape[1] / width, page.shape[0] / height])
    thickness = max(1, round(min(page.shape[:2]) / 900))
    for number, line in enumerate(result.lines):
        color, quad = _color(number), np.rint(line.box.quad * ratio).astype(np.int32)
        _fill(marked, quad, color, COLOR_ON_PAGE)
        _fill(plain, quad, color, COLOR_BESIDE)
        outline(marked, quad, color, thickness)
        outline(plain, quad, color, 1)
        write(plain, line.text, quad)
    return to_pil(both)


def boxed(image: Image, quads: Iterable[Quad]) -> PIL.Image.Image:
    """The picture with the sides of boxes in red."""
    canvas = image.copy()
    for quad in quads:
        outline(canvas, quad, RED, OUTLINE)
    return to_pil(canvas)


def captioned(image: Image, caption: str) -> PIL.Image.Image:
    """The picture, and below it on white a line of text."""
    height, width = image.shape[:2]
    line = min(max(width // 16, LEAST_LINE), LARGEST_LINE)
    if width < LEAST_CAPTION:
        image = fitted(image, (CANVAS_FLOOR // LEAST_CAPTION, LEAST_CAPTION))
        height, width = image.shape[:2]
    canvas = _canvas(height + line, max(width, LEAST_CAPTION))
    canvas[:height, :width] = image
    right, bottom = canvas.shape[1] - 1, canvas.shape[0] - 1
    write(canvas, caption, np.array([[0, height], [right, height], [right, bottom], [0, bottom]], np.int32))
    return to_pil(canvas)


def outline(canvas: Image, quad: Quad, color: Color, width: int) -> None:
    """Draw the sides of a box."""
    cv2.polylines(canvas, [quad.astype(np.int32)], isClosed=True, color=color, thickness=width, lineType=cv2.LINE_AA)


def write(canvas: Image, text: str, quad: Quad) -> None:
    """Set `text` in black into a box, along its first side; in a high box from top to bottom.

    A box of less than 2 pixels, or larger than the canvas, stays empty.
    """
    text = fonts.drawable(text)
    if len(quad) != 4:
        quad = rectangle(quad)[0].astype(np.int32)
    across, down = _sides(quad)
    fits = min(across, down) >= 2 and max(across, down) < SHORT and across * down <= canvas.shape[0] * canvas.shape[1]
    if not text or not fits:
        return
    if down <= VERTICAL * across or len(text) == 1:
        strip = _row(text, (across, down))
    elif _stands_upright(text):
        strip = _column(text, (across, down))
    else:
        strip, quad = _row(text, (down, across)), np.roll(quad, -1, axis=0)
    _ink_in(canvas, strip, quad)


def to_pil(image: Image) -> PIL.Image.Image:
    """Convert to a Pillow image."""
    height, width = image.shape[:2]
    return PIL.Image.frombuffer("RGB", (width, height), np.ascontiguousarray(image), "raw", "BGR", 0, 1)


def fitted(image: Image, largest: Size) -> Image:
    """Scale an image down so that it fits into `largest`; a smaller image is returned as it is."""
    height, width = image.shape[:2]
    return _scaled(image, _scale(height, width, height * width, largest))


def _row(text: str, size: tuple[int, int]) -> Mask:
    """`text` from left to right, as large as fits into (width, height)."""
    across, down = size
    margin = min(round(INSET * down), (across - 1) // 2)
    room = across - 2 * margin
    em = max(round(min(down * LARGEST, MAX_EM, max(4 * room / len(text), 4))), 1)
    em *= FINE if em < SMALL else 1
    line, right_to_left = _set(text, em)
    # A line of letters with marks above or below can be higher than its box.
    largest = LARGEST * down / max(em, line.shape[0])
    filling = room / line.shape[1]
    scale = min(largest, max(filling, min(largest * SMALLEST / LARGEST, filling / SQUEEZE)))
    width = max(round(min(line.shape[1] * scale * STRETCH, room)), 1)
    height = max(min(round(line.shape[0] * scale), down), 1)
    left, top = across - margin - width if right_to_left else margin, (down - height) // 2
    strip = np.zeros((down, across), np.uint8)
    strip[top : top + height, left : left + width] = cv2.resize(line, (width, height), interpolation=cv2.INTER_AREA)
    return strip


def _set(text: str, em: int) -> Setting:
    """`text` at a size in pixels, on a strip as wide as its ink and at least as high as most letters."""
    right_to_left = unicodedata.bidirectional(next((c for c in text if c.isalpha()), " ")) in {"R", "AL"}
    language = fonts.language(text)
    runs = [(run.text, fonts.load(run.path, em, language)) for run in fonts.runs(text)]
    if right_to_left:
        # Runs follow each other in that direction; within each, Pillow puts the letters in order.
        runs.reverse()
    direction = "rtl" if right_to_left else "ltr"
    lengths = [font.getlength(piece, direction=direction if fonts.shapes(font) else None) for piece, font in runs]
    strip = PIL.Image.new("L", (max(math.ceil(sum(lengths)), 1), 3 * em))
    pen = PIL.ImageDraw.Draw(strip)
    for start, (piece, font) in zip(itertools.accumulate(lengths, initial=0), runs, strict=False):
        if fonts.shapes(font):
            pen.text((start, 2 * em), piece, 255, font, "ls", direction=direction)
        else:
            pen.text((start, 2 * em), str(get_display(piece)), 255, font, "ls")
    left, top, right, bottom = strip.getbbox() or (0, 2 * em, 1, 2 * em)
    top, bottom = min(top, round((2 - ASCENT) * em)), max(bottom, round((2 + DESCENT) * em))
    return Setting(np.asarray(strip, np.uint8)[top:bottom, left:right], right_to_left)


def _column(text: str, size: tuple[int, int]) -> Mask:
    """`text` from top to bottom in (width, height), each character upright."""
    across, down = size
    step = down / len(text)
    em = max(round(min(across * COLUMN, step)), 1)
    fine = FINE if em < SMALL else 1
    strip = PIL.Image.new("L", (across * fine, down * fine))
    pen = PIL.ImageDraw.Draw(strip)
    language = fonts.language(text)
    cells = [(character, run.path) for run in fonts.runs(text) for character in run.text]
    for number, (character, path) in enumerate(cells):
        middle = (number + 0.5) * step + (ASCENT - 0.5) * em
        font = fonts.load(path, em * fine, language)
        # Commas, brackets and dashes have forms of their own in columns.
        features = ["vert"] if fonts.shapes(font) else None
        pen.text((across * fine / 2, middle * fine), character, 255, font, "ms", features=features)
    return np.asarray(cv2.resize(np.asarray(strip), size, interpolation=cv2.INTER_AREA), np.uint8)


def _stands_upright(text: str) -> bool:
    """Whether the letters of `text` stand upright in a column; others lie on their side."""
    letters = [fonts.script(character) == "CJK" for character in text if character.isalpha()]
    return 2 * sum(letters) >= max(len(letters), 1)


def _ink_in(canvas: Image, strip: Mask, quad: Quad) -> None:
    """Blacken what `strip` covers once its corners lie on those of `quad`."""
    height, width = strip.shape
    (left, top), (right, bottom) = quad.min(axis=0).tolist(), quad.max(axis=0).tolist()
    first_column, first_row = max(left, 0), max(top, 0)
    within = canvas[first_row : max(bottom, 0), first_column : max(right, 0)]
    if not within.size:
        return
    straight = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    if (quad != straight).any():
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        matrix = cv2.getPerspectiveTransform(corners, (quad - [first_column, first_row]).astype(np.float32))
        # Warped onto the part inside the canvas alone: the box may reach far beyond it.
        ink = np.asarray(cv2.warpPerspective(strip, matrix, within.shape[1::-1]), np.uint8)
    else:
        ink = strip[first_row - top :, first_column - left :][: within.shape[0], : within.shape[1]]
    within[:] = cv2.multiply(within, cv2.cvtColor(255 - ink, cv2.COLOR_GRAY2BGR), scale=1 / 255)


def _fill(canvas: Image, quad: Quad, color: Color, share: float) -> None:
    """Mix a box with so much of a color."""
    start = np.maximum(quad.min(axis=0), 0)
    (left, top), (right, bottom) = start.tolist(), np.maximum(quad.max(axis=0) + 1, 0).tolist()
    within = canvas[top:bottom, left:right]
    if within.size:
        filled = cv2.fillPoly(within.copy(), [(quad - start).astype(np.int32)], color)
        within[:] = cv2.addWeighted(filled, share, within, 1 - share, 0)


def _sides(quad: Quad) -> tuple[int, int]:
    """The length of a box along its first side and its last, in pixels."""
    across, down = (float(np.linalg.norm(quad[k] - quad[0])) for k in (1, 3))
    return round(across), round(down)


def _color(number: int) -> Color:
    red, green, blue = colorsys.hsv_to_rgb((FIRST_HUE + number * GOLDEN) % 1, SATURATION, VALUE)
    return round(blue * 255), round(green * 255), round(red * 255)


def _side_by_side(left: Image, right: Image, largest: Size | None) -> Image:
    """Two images on one canvas, both scaled down by one factor where it would be too large."""
    height, width = max(left.shape[0], right.shape[0]), left.shape[1] + right.shape[1]
    scale = _scale(height, width, (left.size + right.size) // 3, largest)
    left, right = _scaled(left, scale), _scaled(right, scale)
    both = _canvas(max(left.shape[0], right.shape[0]), left.shape[1] + right.shape[1])
    both[: left.shape[0], : left.shape[1]] = left
    both[: right.shape[0], left.shape[1] :] = right
    return both


def _scale(height: int, width: int, shown: int, largest: Size | None) -> float:
    """The factor, at most 1, for images of `shown` pixels in all, so that their canvas keeps these limits and fits into `largest`."""
    scale = min(1.0, math.sqrt(max(CANVAS_RATIO * shown, CANVAS_FLOOR) / (height * width)))
    return scale if largest is None else min(scale, largest[0] / height, largest[1] / width)


def _scaled(image: Image, scale: float) -> Image:
    """An image scaled down, each side to at least a pixel; at a scale of 1 the image itself."""
    if scale == 1:
        return image
    height, width = (max(math.floor(side * scale + ROUNDING), 1) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _canvas(height: int, width: int) -> Image:
    """A white image. Raises NotEnoughMemoryError where it would pass the process's memory limit."""
    memory.require(height * width * CANVAS_BYTES, f"a picture of {width} x {height}", "reduce the page, or draw none")
    return np.full((height, width, 3), 255, np.uint8)
