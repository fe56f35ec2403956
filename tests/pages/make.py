"""Draws the pages that the tests read, and the sample page of the package. They are in the repository: run this only to
change them, with Debian's fonts-noto-cjk and fonts-noto-core installed, then `make golden`.

    python tests/pages/make.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter
import PIL.ImageFont

HERE = Path(__file__).parent
SAMPLE = HERE.parents[1] / "ocr_onnx" / "sample.png"

CJK = "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"
LATIN = "/usr/share/fonts/truetype/noto/NotoSerif-Regular.ttf"
SANS = "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf"

NOTICE = (
    "From 15 May the ferry leaves every 20 minutes.",
    "Tickets: adults € 12.00, children € 6.50; bicycles free.",
    "Please have your booking number ready (e.g. HF-2047-Q).",
)
LETTER = (
    "Harbour Office, 14 Quay Street",
    "Dear Ms. Lindqvist,",
    "the tide tables for 2027 are ready. We printed 350 copies",
    "on waterproof paper; the invoice (No. 8841-B) comes to",
    "€ 1,274.50 including 19% tax, payable within 30 days.",
    "Please tell us by e-mail: office@harbour.example",
    "Yours sincerely,  J. Okafor & Sons",
)
CHINESE = (
    "港务局通知：本月十五日起，",
    "渡轮每二十分钟开出一班。",
    "票价：成人12元，儿童6元。",
    "咨询电话：0755-8332-1906",
)
TRADITIONAL = ("臺灣鐵路時刻表", "往高雄的列車於第二月臺開出", "請勿跨越黃線")
JAPANESE = ("港の天気は晴れ、波は穏やか。", "次のフェリーは午後3時に出ます。", "忘れ物にご注意ください")
RECEIPT = (
    *("HARBOUR CAFE", "Order 0427   Table 6", "2 x Espresso      5.80", "1 x Fish soup    11.40"),
    *("3 x Bread roll    2.70", "Subtotal         19.90", "VAT 7%            1.39", "TOTAL EUR        21.29"),
    *("Paid by card ****3381", "Thank you, see you soon!"),
)


def page(width: int, height: int, background: str = "white") -> tuple[PIL.Image.Image, PIL.ImageDraw.ImageDraw]:
    """An empty page and a pen for it."""
    picture = PIL.Image.new("RGB", (width, height), background)
    return picture, PIL.ImageDraw.Draw(picture)


def write(
    pen: PIL.ImageDraw.ImageDraw, lines: Sequence[str], at: tuple[int, int], size: int, font: str, *, gap: float = 1.6
) -> None:
    """Lines of text, one below the other."""
    face = PIL.ImageFont.truetype(font, size)
    for i, line in enumerate(lines):
        pen.text((at[0], at[1] + int(i * size * gap)), line, fill="black", font=face)


def sample() -> PIL.Image.Image:
    """What `make run` reads: a notice in three languages."""
    picture, pen = page(960, 720)
    write(pen, ["Ferry Notice · 渡轮通知"], (60, 40), 44, CJK)
    write(pen, NOTICE, (60, 140), 28, LATIN)
    write(pen, CHINESE, (60, 300), 28, CJK)
    write(pen, JAPANESE[:2], (60, 500), 28, CJK)
    write(
        pen,
        ["Harbour Office, open daily 6:30 to 22:15", "Tel. +49 421 5550 187   www.harbour.example"],
        (60, 600),
        26,
        SANS,
    )
    return picture


def letter() -> PIL.Image.Image:
    """Plain English text."""
    picture, pen = page(900, 520)
    write(pen, LETTER, (50, 40), 28, LATIN, gap=2.2)
    return picture


def cjk() -> PIL.Image.Image:
    """Simplified and traditional Chinese, and Japanese."""
    picture, pen = page(760, 700)
    write(pen, (*CHINESE, *TRADITIONAL, *JAPANESE), (40, 30), 32, CJK, gap=2.0)
    return picture


def vertical() -> PIL.Image.Image:
    """Columns from right to left, each from top to bottom."""
    picture, pen = page(420, 620)
    face = PIL.ImageFont.truetype(CJK, 40)
    for column, text in enumerate(("渡轮每二十分钟一班", "请在码头北侧排队", "谢谢您的合作")):
        for row, character in enumerate(text):
            pen.text((320 - column * 110, 40 + row * 56), character, fill="black", font=face)
    return picture


def tiny() -> PIL.Image.Image:
    """Smaller than the network's stride allows."""
    picture, pen = page(42, 20)
    write(pen, ["Exit"], (4, 0), 16, SANS)
    return picture


def wide() -> PIL.Image.Image:
    """One line, much longer than recognition's widest input."""
    picture, pen = page(3600, 64)
    write(pen, ["  ".join(LETTER[2:6]) + "  " + "  ".join(RECEIPT[2:8])], (20, 8), 32, SANS)
    return picture


def dense() -> PIL.Image.Image:
    """A table with small type: hundreds of boxes."""
    picture, pen = page(1000, 900)
    face = PIL.ImageFont.truetype(SANS, 17)
    rng = np.random.default_rng(7)
    for row in range(34):
        for column in range(6):
            number = int(rng.integers(100, 99999))
            text = f"{number / 100:.2f}" if column else f"Item {number:05d}"
            pen.text((30 + column * 165, 20 + row * 25), text, fill="black", font=face)
    return picture


def noisy() -> PIL.Image.Image:
    """A bad copy: gray, blurred, grainy."""
    picture, pen = page(820, 420, "#d8d4cc")
    write(pen, LETTER[:5], (40, 40), 28, SANS, gap=2.3)
    blurred = np.asarray(picture.filter(PIL.ImageFilter.GaussianBlur(1.1)), np.float64)
    grain = np.random.default_rng(3).normal(0, 22, blurred.shape)
    return PIL.Image.fromarray(np.clip(blurred * 0.8 + grain, 0, 255).astype(np.uint8))


def tilted() -> PIL.Image.Image:
    """Lines that do not run along the page's edge."""
    picture, pen = page(900, 360)
    write(pen, (*LETTER[:3], CHINESE[0]), (60, 60), 28, CJK, gap=2.0)
    return picture.rotate(9, expand=True, fillcolor="white", resample=PIL.Image.Resampling.BICUBIC)


def sign() -> PIL.Image.Image:
    """Light on dark, in perspective."""
    picture, pen = page(640, 420, "#1d3d5c")
    for i, (text, size) in enumerate((("FERRY TERMINAL", 56), ("渡轮码头", 64), ("Gate 7 →", 52))):
        pen.text((70, 50 + i * 110), text, fill="#f4e9c8", font=PIL.ImageFont.truetype(CJK, size))
    corners = (-40, 10, 20, 430, 600, 470, 660, -60)
    return picture.transform(picture.size, PIL.Image.Transform.QUAD, corners, PIL.Image.Resampling.BICUBIC)


def receipt() -> PIL.Image.Image:
    """Narrow and long."""
    picture, pen = page(360, 560)
    write(pen, RECEIPT, (24, 24), 24, SANS, gap=2.1)
    return picture


def mixed() -> PIL.Image.Image:
    """Some lines upside down on an upright page."""
    picture, pen = page(800, 420)
    write(pen, LETTER[:2], (40, 30), 30, SANS)
    write(pen, CHINESE[:2], (40, 150), 30, CJK)
    strip, ink = page(800, 120)
    write(ink, LETTER[2:4], (40, 10), 24, SANS)
    picture.paste(strip.transpose(PIL.Image.Transpose.ROTATE_180), (0, 280))
    return picture


def main() -> None:
    """Write them all, in as few colors as they have."""
    upright = letter()
    pages = {
        "letter": upright,
        "turned-90": upright.transpose(PIL.Image.Transpose.ROTATE_90),
        "turned-180": upright.transpose(PIL.Image.Transpose.ROTATE_180),
        "turned-270": upright.transpose(PIL.Image.Transpose.ROTATE_270),
        "blank": page(500, 400)[0],
        **{make.__name__: make() for make in (cjk, vertical, tiny, wide, dense, tilted, sign, receipt, mixed)},
    }
    for name, picture in pages.items():
        picture.quantize(16 if name != "sign" else 64).save(HERE / f"{name}.png", optimize=True)
    noisy().save(HERE / "noisy.jpg", quality=80)
    sample().quantize(16).save(SAMPLE, optimize=True)


if __name__ == "__main__":
    main()
