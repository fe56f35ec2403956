"""Pages of text with known reading order, as the boxes of their lines."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ocr_onnx import TextBox, TextLine
from ocr_onnx.stages.blocks import find_blocks
from ocr_onnx.types import Block, Quad

SIZE = (1600, 2200)
HEIGHT = 28
PITCH = 34

LATIN = [
    "the",
    "river",
    "and",
    "its",
    "towns",
    "were",
    "quiet",
    "for",
    "most",
    "of",
    "a",
    "long",
    "winter",
    "when",
    "boats",
    "came",
    "down",
    "from",
    "hills",
    "with",
    "salt",
]
JAPANESE = "春の海はひねもすのたりのたりかなと詠んだ人の心を思いながら静かな浜辺を歩いていくと"
ARABIC = ["في", "البداية", "كان", "النهر", "هادئا", "ثم", "جاءت", "السفن", "من", "الجبال", "محملة", "بالملح", "والقمح"]


@dataclass
class Layout:
    """Lines in reading order."""

    lines: list[TextLine] = field(default_factory=list)
    seed: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def line(self, left: float, top: float, width: float, text: str, height: float = HEIGHT) -> None:
        """Add a horizontal line."""
        right, bottom = left + width, top + height
        quad = np.array([[left, top], [right, top], [right, bottom], [left, bottom]]).round().astype(np.int32)
        self.lines.append(TextLine(text, 0.9, TextBox(quad, 0.9)))

    def sentence(self, width: float, words: Sequence[str] = LATIN) -> str:
        """Words that fill a line of this width."""
        chosen: list[str] = []
        while len(" ".join(chosen)) < width / (HEIGHT * 0.42) - 4:
            chosen.append(self.random.choice(words))
        return " ".join(chosen)

    def column(self, left: float, top: float, width: float, count: int, words: Sequence[str] = LATIN) -> float:
        """Add paragraphs of `count` lines in all; return the y below them."""
        rest = 0
        for i in range(count):
            if rest == 0:
                rest = self.random.randint(3, 9)
            rest -= 1
            is_last = rest == 0 or i == count - 1
            used = width * (self.random.uniform(0.3, 0.9) if is_last else self.random.uniform(0.985, 1))
            text = self.sentence(used, words)
            self.line(left, top + self.random.randint(-1, 1), used, text + "." * is_last)
            top += PITCH
        return top


def two_columns(seed: int) -> Layout:
    page = Layout(seed=seed)
    page.line(400, 80, 800, "A History of the River", 44)
    page.column(100, 200, 680, 45)
    page.column(820, 200, 680, 41)
    page.line(780, 2120, 40, "17")
    return page


def three_columns(seed: int) -> Layout:
    page = Layout(seed=seed)
    for i in range(3):
        page.column(80 + i * 490, 150 + 5 * i, 450, 50 - 3 * i)
    return page


def title_across_two_of_three(seed: int) -> Layout:
    page = Layout(seed=seed)
    page.column(80, 150, 450, 50)
    page.line(570, 150, 930, "Boats on the river are late again this year", 48)
    page.column(570, 260, 450, 44)
    page.column(1060, 262, 450, 40)
    return page


def table_between(seed: int) -> Layout:
    page = Layout(seed=seed)
    page.column(100, 100, 680, 15)
    page.column(820, 100, 680, 15)
    page.line(100, 680, 700, "Table 2. Salt and wheat by year, in tons and in carts")
    top = 740.0
    for year in range(1890, 1902):
        page.line(100, top, 90, str(year))
        for left in (500, 900, 1300):
            page.line(left, top + page.random.randint(-1, 1), 110, f"{page.random.randint(100, 9999)}.5")
        top += PITCH + 6
    page.column(100, 1300, 680, 22)
    page.column(820, 1300, 680, 22)
    return page


def captions(seed: int) -> Layout:
    page = Layout(seed=seed)
    end = page.column(100, 100, 680, 18)
    page.line(100, end + 400, 660, "Fig. 1. " + page.sentence(560))
    page.line(100, end + 400 + PITCH, 500, page.sentence(500) + ".")
    page.column(100, end + 500 + 2 * PITCH, 680, 20)
    page.column(820, 100, 680, 52)
    return page


def vertical_japanese(seed: int) -> Layout:
    page = Layout(seed=seed)
    for part in range(2):
        for i in range(24):
            right = 1500 - i * 56
            length = 860 if i % 6 != 5 else 400
            start = page.random.randint(0, 8)
            text = (JAPANESE * 3)[start : start + length // 36]
            top, bottom, left = 120 + part * 1000, 120 + part * 1000 + length, right - 36
            quad = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.int32)
            page.lines.append(TextLine(text, 0.9, TextBox(quad, 0.9)))
    return page


def arabic_in_two_columns(seed: int) -> Layout:
    page = Layout(seed=seed)
    page.column(820, 200, 680, 40, ARABIC)
    page.column(100, 200, 680, 38, ARABIC)
    for i, line in enumerate(page.lines):
        left, right = (820, 1500) if i < 40 else (100, 780)
        # Paragraphs end on the left.
        shift = right - (line.box.quad[:, 0].max() - left + left)
        line.box.quad[:, 0] += np.int32(shift)
    return page


def newspaper(seed: int) -> Layout:
    page = Layout(seed=seed)
    page.line(300, 40, 1000, "THE RIVER HERALD", 90)
    page.line(80, 190, 900, "Salt boats reach the lower towns", 56)
    for i in range(2):
        page.column(80 + i * 490, 280, 450, 22 - i)
    page.line(80, 1100, 900, "Council votes for a second bridge", 56)
    for i in range(2):
        page.column(80 + i * 490, 1190, 450, 25 - i)
    page.line(1060, 190, 440, "Weather", 44)
    page.column(1060, 260, 440, 24)
    page.line(1060, 1120, 440, "Markets", 44)
    page.column(1060, 1190, 440, 24)
    return page


LAYOUTS = (
    two_columns,
    three_columns,
    title_across_two_of_three,
    table_between,
    captions,
    vertical_japanese,
    arabic_in_two_columns,
    newspaper,
)


def turned(lines: Sequence[TextLine], degrees: float) -> list[TextLine]:
    """The lines on a page that is turned clockwise about its middle."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    middle = np.array(SIZE) / 2

    def turn(quad: Quad) -> Quad:
        x, y = (quad - middle).T
        return (np.stack((x * cos - y * sin, x * sin + y * cos), axis=1) + middle).round().astype(np.int32)

    return [TextLine(line.text, line.score, TextBox(turn(line.box.quad), 0.9)) for line in lines]


def split(line: TextLine, share: float) -> Iterator[TextLine]:
    """The two halves of a horizontal line, divided at the space nearest to a share of its length."""
    spaces = [i for i, character in enumerate(line.text) if character == " "]
    at = min(spaces, key=lambda i: abs(i - share * len(line.text)))
    left, right = line.box.quad[0, 0], line.box.quad[1, 0]
    middle = round(left + (right - left) * at / len(line.text))
    for text, start, end in ((line.text[:at], left, middle - 3), (line.text[at + 1 :], middle + 3, right)):
        quad = line.box.quad.copy()
        quad[:, 0] = (start, end, end, start)
        yield TextLine(text, line.score, TextBox(quad, 0.9))


def order_of(lines: Sequence[TextLine]) -> list[int]:
    return list(find_blocks(lines, SIZE)[1])


def blocks_of(lines: Sequence[TextLine]) -> tuple[Block, ...]:
    return find_blocks(lines, SIZE)[0]
