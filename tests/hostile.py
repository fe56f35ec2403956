"""Small requests that are made to do harm: strips, headers read in two ways, extreme options, broken files, odd JSON."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import bombs
import PIL.Image
from conftest import PAGES, encoded

MEGAPIXELS = 4
"""What the server is told to take: a picture that passes this by may still be sent in a megabyte."""

SIDE = 3000
"""Pixels: a square of these is above the limit, and of one bit a pixel 1.1 MB."""

OPTIONS: dict[str, tuple[Any, ...]] = {
    "textDetLimitSideLen": (1, 2, 31, 32, 33, 959, 960, 961, 4000, 4001, 10_000, 0, -1),
    "textDetLimitType": ("min", "max"),
    "textDetThresh": (0, 1e-9, 0.3, 1, 1.1, -0.1),
    "textDetBoxThresh": (0, 0.6, 1),
    "textDetUnclipRatio": (0, 1e-6, 0.5, 9.99, 10, 10.1),
    "textRecScoreThresh": (0, 1),
    "returnWordBox": (True, False),
    "useDocOrientationClassify": (True, False),
    "useTextlineOrientation": (True, False),
    "visualize": (True, False),
}
"""Values at and beyond the ends of each option's range."""

PIXEL = encoded(PIL.Image.new("L", (1, 1)), "PNG")

ODD: tuple[Any, ...] = (
    None,
    True,
    [],
    {},
    "",
    " ",
    7,
    -0.0,
    1e308,
    2**63,
    -(10**40),
    "NaN",
    [[]] * 3,
    {"a": {}},
    "\0",
    "\ud800",
    "é" * 70,
)
"""JSON values that most fields cannot be."""


@dataclass(frozen=True)
class Hostile:
    """One request: a file with options, or a body as it is."""

    name: str
    file: bytes = b""
    options: dict[str, Any] = field(default_factory=dict)
    body: bytes | None = None


def requests(count: int, seed: int) -> list[Hostile]:
    """So many requests, the same for the same seed; as many broken files among them as are wanting."""
    rng = random.Random(seed)
    made = [*strips(), *two_readings(), *many_pages(), *odd_values(), *extremes(rng, 70)]
    return made + list(itertools.islice(broken(rng), count - len(made)))


def strips() -> Iterator[Hostile]:
    """Black pictures and pages of one row or one column: orientation takes them for turned pages."""
    longest = {
        "PNG": 1_000_000,
        "BMP": 60_000,
        "TIFF": 200_000,
        "GIF": 60_000,
        "JPEG": 60_000,
        "WEBP": 16_000,
        "PPM": 60_000,
    }
    for form, most in longest.items():
        for length in (4000, min(12_000, most), most):
            size = (length, 1) if length != most or form in {"PNG", "GIF", "PPM"} else (1, length)
            yield Hostile(f"{form} {size[0]} x {size[1]}", encoded(PIL.Image.new("RGB", size), form))
    for box in (b"0 0 6000 0.01", b"0 0 0.01 6000", b"0 0 14400 1", b"0 0 1 14400", b"0 0 200000 0.001", b"-9 0 9e9 9"):
        yield Hostile(f"PDF {box.decode()}", bombs.drawing(b"-9 0 99999 99999 re f", box=box))
    frames = [PIL.Image.new("L", (6000, 1))] * 10
    yield Hostile("TIFF of ten strips", encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]))


def two_readings() -> Iterator[Hostile]:
    """PNM and PAM files whose header has one size for one library, and another for another."""
    bits = b"\xff" * (SIDE * SIDE // 8 + 64)
    side = b"%d" % SIDE
    headers = {
        "# in a number": b"P4\n%b#%b\n 1\n" % (side, side),
        "# before a number": b"P4\n#%b\n%b\n#1\n%b\n" % (side, side, side),
        "# after the height": b"P4\n%b %b#\n1\n" % (side, side),
        "CR ends a comment": b"P4\n#a\r%b %b\n1 1\n" % (side, side),
        "no line end": b"P4 %b 1#\n%b " % (side, side),
        "leading zeros": b"P4\n00000000%b 0000000%b\n" % (side, side),
        "signs": b"P4\n+%b +%b\n" % (side, side),
        "minus": b"P4\n-%b %b\n" % (side, side),
        "beyond 32 bits": b"P4\n4294967297 %b\n" % side,
        "hexadecimal": b"P4\n0x%b 1\n" % side,
        "vertical tab": b"P4\v%b\v%b\f1\n" % (side, side),
        "NUL": b"P4\n%b\0%b\n1\n" % (side, side),
    }
    for name, header in headers.items():
        for kind in (b"P4", b"P5"):
            yield Hostile(f"{kind.decode()}, {name}", header.replace(b"P4", kind) + bits)
    yield Hostile("P6, # in the largest value", b"P6\n9#9\n 9\n255#\n1\n" + bits)
    yield Hostile("P1", b"P1\n%b#%b\n 1\n" % (side, side) + b"1 " * 20_000)
    yield Hostile("P7", b"P7\nWIDTH 1\nWIDTH %b\nHEIGHT %b\nDEPTH 1\nMAXVAL 1\nENDHDR\n" % (side, side) + bits)
    yield Hostile("PF", b"PF\n%b %b\n-1e30\n" % (side, side) + bits)


def many_pages() -> Iterator[Hostile]:
    """Documents of many small pages, and those that say so."""
    white = PIL.Image.new("L", (9, 9), 255)
    for count in (10, 11, 300):
        yield Hostile(f"TIFF of {count}", encoded(white, "TIFF", save_all=True, append_images=[white] * (count - 1)))
        yield Hostile(f"TIFF of {count} that lie", bombs.tiff(2**31 - 1, 2**31 - 1, frames=count))
        yield Hostile(f"GIF of {count}", bombs.gif(count))
        yield Hostile(f"PDF of {count}", _pdf(count, count))
        yield Hostile(f"PDF of {count} that says 2 billion", _pdf(count, 2**31))
        yield Hostile(f"PDF of {count} that says -5", _pdf(count, -5))
    yield Hostile(
        "PDF whose pages are in themselves", bombs.document(b"<</Pages 2 0 R>>", b"<</Kids[2 0 R 2 0 R]/Count 9>>")
    )


def _pdf(pages: int, said: int) -> bytes:
    kids = b"".join(b"%d 0 R " % number for number in range(3, 3 + pages))
    tree = b"<</Type/Pages/Kids[%b]/Count %d/MediaBox[0 0 9 9]>>" % (kids, said)
    return bombs.document(b"<</Type/Catalog/Pages 2 0 R>>", tree, *[b"<</Type/Page/Parent 2 0 R>>"] * pages)


def odd_values() -> Iterator[Hostile]:
    """Fields that are not what they should be, and bodies that are no JSON."""
    fields = ("file", "fileType", "textDetLimitSideLen")
    for name, value in itertools.product(fields, ODD):
        yield Hostile(f"{name} {value!r:.20}", PIXEL, {name: value})
    bodies = (
        b"",
        b"\0",
        b"[]",
        b"null",
        b"[" * 5000,
        b'{"file": NaN}',
        b'{"file": 1e99999}',
        b"\xff\xfe{\0}\0",
        b"{" * 9,
    )
    for body in bodies:
        yield Hostile(f"body {body[:9]!r}", body=body)


def extremes(rng: random.Random, count: int) -> Iterator[Hostile]:
    """Tiny pictures with options from the ends of their ranges."""
    pictures = [(1, 1), (2, 3), (32, 32), (60, 9)]
    for number in range(count):
        size = rng.choice(pictures)
        picture = PIL.Image.frombytes("L", size, rng.randbytes(size[0] * size[1]))
        chosen = {name: rng.choice(values) for name, values in OPTIONS.items() if rng.random() < 0.5}
        yield Hostile(f"options {number}: {size} {chosen}", encoded(picture, "PNG"), chosen)


def broken(rng: random.Random) -> Iterator[Hostile]:
    """Files that end early, or have some bytes changed; without end."""
    word = PIL.Image.open(PAGES / "letter.png").convert("RGB").resize((90, 60))
    forms = ("PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP", "PPM", "PDF")
    whole = {form: encoded(word, form) for form in forms}
    for number, form in enumerate(itertools.cycle(forms)):
        data = bytearray(whole[form])
        if rng.random() < 0.4:
            del data[rng.randrange(len(data)) :]
        # Half of the changes are in the header, where sizes are.
        reach = rng.choice((64, len(data)))
        for _ in range(rng.randrange(1, 9)):
            if data:
                data[rng.randrange(min(reach, len(data)))] = rng.randrange(256)
        yield Hostile(f"{form} broken, {number}", bytes(data))
