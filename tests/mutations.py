"""Generate hostile files by mutation of valid ones, and check that reading them raises nothing but this package's errors.

`make mutations` reads many thousands, in child processes with a time limit; tests/inputs/test_mutations.py reads a few hundred.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache

import PIL.Image
import PIL.ImageDraw
import pypdfium2

from ocr_onnx import InputOptions
from ocr_onnx.errors import InputError, OCRError
from ocr_onnx.inputs.sources import read_pages_or_errors

LIMITS = InputOptions(max_megapixels=4)

CHUNK = 1000
"""Files that one child process reads."""

PATIENCE = 300
"""Seconds for a chunk. PDFium has no time limit, so a file can take longer; it is reported."""

EDGES = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\x7f",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\1\0\0\0",
)
"""Values at the ends of the ranges of numbers, in both byte orders."""

PICTURES: Mapping[str, tuple[str, str, Mapping[str, object]]] = {
    "TIFF, raw": ("RGB", "TIFF", {}),
    "TIFF, LZW": ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    "TIFF, deflate, 16 bits": ("I;16", "TIFF", {"compression": "tiff_adobe_deflate"}),
    "TIFF, JPEG": ("RGB", "TIFF", {"compression": "jpeg"}),
    "TIFF, fax": ("1", "TIFF", {"compression": "group4"}),
    "TIFF, LAB": ("LAB", "TIFF", {}),
    "TIFF, palette": ("P", "TIFF", {"compression": "packbits"}),
    "TIFF, transparent": ("RGBA", "TIFF", {"compression": "tiff_lzw"}),
    "PNG": ("RGB", "PNG", {}),
    "PNG, transparent": ("RGBA", "PNG", {}),
    "PNG, palette": ("P", "PNG", {"transparency": 3}),
    "PNG, 16 bits": ("I;16", "PNG", {}),
    "PNG, one bit": ("1", "PNG", {"dpi": (204, 98)}),
    "WebP": ("RGB", "WEBP", {}),
    "WebP, lossless": ("RGBA", "WEBP", {"lossless": True}),
    "JPEG": ("RGB", "JPEG", {"quality": 80}),
    "JPEG, progressive": ("RGB", "JPEG", {"progressive": True}),
    "JPEG, gray": ("L", "JPEG", {}),
    "JPEG, CMYK": ("CMYK", "JPEG", {}),
}
"""Mode, format and options of Pillow."""


@cache
def seeds(kind: str) -> tuple[bytes, ...]:
    """The valid files of a kind: pictures or pdfs."""
    return tuple(_pictures() if kind == "pictures" else _pdfs())


def _drawn() -> PIL.Image.Image:
    picture = PIL.Image.new("RGB", (60, 40), (250, 240, 230))
    PIL.ImageDraw.Draw(picture).text((4, 10), "Total 42", fill=(20, 0, 90))
    return picture


def _pictures() -> Iterator[bytes]:
    exif = PIL.Image.Exif()
    exif[0x112] = 6
    for mode, form, options in PICTURES.values():
        buffer = io.BytesIO()
        drawn = _drawn().convert("L").point(lambda v: v * 200, "I").convert("I;16") if mode == "I;16" else _drawn()
        drawn = drawn if mode in {"I;16", "LAB"} else drawn.convert(mode)
        drawn = PIL.Image.new("LAB", (60, 40)) if mode == "LAB" else drawn
        drawn.save(buffer, form, exif=exif, **options)
        yield buffer.getvalue()
    for form in ("TIFF", "PNG", "WEBP", "GIF"):
        buffer = io.BytesIO()
        _drawn().save(buffer, form, save_all=True, append_images=[_drawn().rotate(180), _drawn().rotate(90)])
        yield buffer.getvalue()


def _pdfs() -> Iterator[bytes]:
    for frames in (1, 3):
        buffer = io.BytesIO()
        _drawn().save(buffer, "PDF", save_all=True, append_images=[_drawn()] * (frames - 1))
        yield buffer.getvalue()
    document = pypdfium2.PdfDocument.new()
    for size in ((60, 40), (40, 60)):
        document.new_page(*size)
    buffer = io.BytesIO()
    document.save(buffer)
    yield buffer.getvalue()
    for filled in (
        "<</Type/Annot /Subtype/Square /Rect[5 5 50 30] /C[1 0 0]>>",
        "<</Type/Annot /Subtype/Link /Rect[0 0 9 9]>>",
    ):
        content = "BT /F 12 Tf 5 15 Td (Total 42) Tj ET 0 0 1 rg 2 2 30 5 re f"
        yield (
            "%PDF-1.7\n1 0 obj <</Type/Catalog /Pages 2 0 R>> endobj\n2 0 obj <</Type/Pages /Kids[3 0 R] /Count 1>> endobj\n"
            f"3 0 obj <</Type/Page /Parent 2 0 R /MediaBox[0 0 60 40] /CropBox[0 0 60 40] /Contents 4 0 R /Annots[{filled}] "
            "/Resources<</Font<</F<</Type/Font /Subtype/Type1 /BaseFont/Helvetica>>>>>>>> endobj\n"
            f"4 0 obj <</Length {len(content)}>> stream\n{content}\nendstream endobj\ntrailer <</Root 1 0 R>>\n"
        ).encode()


def mutated(kind: str, number: int) -> bytes:
    """The hostile file of this number: one to four mutations of a valid file."""
    random_ = random.Random(f"{kind} {number}")
    files = seeds(kind)
    data = bytearray(files[number % len(files)])
    for _ in range(random_.randint(1, 4)):
        mutate(data, random_, files)
    return bytes(data)


def mutate(data: bytearray, random_: random.Random, files: tuple[bytes, ...]) -> None:
    """Change, remove, repeat or replace a part of `data`; half of the places are in the first 200 bytes, where headers are."""
    at = random_.randrange(max(1, min(len(data), 200) if random_.random() < 0.5 else len(data)))
    size = min(2 ** random_.randrange(11), max(1, len(data) // 4))
    match random_.randrange(7):
        case 0 if data:
            data[min(at, len(data) - 1)] ^= 1 << random_.randrange(8)
        case 1:
            edge = random_.choice(EDGES)
            data[at : at + len(edge)] = edge
        case 2:
            del data[at : at + size]
        case 3:
            data[at:at] = data[at : at + size]
        case 4:
            data[at : at + size] = random_.randbytes(size)
        case 5:
            other = random_.choice(files)
            data[at : at + size] = other[at : at + size]
        case _:
            del data[max(at, 20) :]


def outcome(data: bytes) -> str:
    """Read a file; return `read`, or the name of the error. Other exceptions than those of this package are raised."""
    found = "read"
    try:
        for page in read_pages_or_errors(data, LIMITS):
            found = type(page).__name__ if isinstance(page, InputError) else found
    except OCRError as error:
        return type(error).__name__
    return found


def _child(kind: str, first: int, last: int) -> None:
    """Print the outcome of each file; the number of a file is printed before it is read, so that a crash names it."""
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # Decoders write to standard error.
    for number in range(first, last):
        sys.stdout.write(f"{number} ")
        sys.stdout.flush()
        try:
            sys.stdout.write(f"{outcome(mutated(kind, number))}\n")
        except BaseException as error:  # noqa: BLE001 it is what is searched for
            sys.stdout.write(f"FOREIGN {type(error).__name__}\n")


def _chunk(kind: str, first: int, last: int, patience: float) -> Iterator[str]:
    """Yield the outcomes of files, read in a child process; after a crash or a hang, continue behind the file."""
    while first < last:
        command = [sys.executable, __file__, "--child", kind, str(first), str(last)]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=patience, check=False)
            text, cause = done.stdout, f"CRASH of file {{}} with {done.returncode}"
        except subprocess.TimeoutExpired as error:
            text, cause = (error.stdout or b"").decode(), "HANG of file {}"
        lines = [line.partition(" ") for line in text.split("\n") if line]
        yield from (outcome for _, _, outcome in lines if outcome and not outcome.startswith("FOREIGN"))
        yield from (f"{outcome} of file {number}" for number, _, outcome in lines if outcome.startswith("FOREIGN"))
        complete = [int(number) for number, _, outcome in lines if outcome]
        first = complete[-1] + 1 if complete else first
        if first < last:
            yield cause.format(first)
            first += 1


def main() -> int:
    """Read mutations of pictures and PDFs, and print how many had each outcome; return 1 if one was not an error of this package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=50_000)
    parser.add_argument("--pdfs", type=int, default=5_000)
    parser.add_argument("--child", nargs=3)
    given = parser.parse_args()
    if given.child:
        _child(given.child[0], int(given.child[1]), int(given.child[2]))
        return 0
    bad = []
    for kind in ("pictures", "pdfs"):
        total = getattr(given, kind)
        counted: Counter[str] = Counter()
        for first in range(0, total, CHUNK):
            counted.update(_chunk(kind, first, min(first + CHUNK, total), PATIENCE))
        bad += [name for name in counted if " of file " in name]
        print(f"{total} {kind}: {', '.join(f'{count} {name}' for name, count in counted.most_common())}", flush=True)  # noqa: T201
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
