"""Files that a decoder accepts are read: a JPEG or PNG without its end marker, and a PNG with metadata that Pillow refuses."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import PIL.Image
import pytest
from conftest import RGB, Array, encoded, only

from ocr_onnx import InputOptions
from ocr_onnx.errors import ImageTooLargeError, UnreadableImageError
from ocr_onnx.inputs import sources

PNG, IHDR_END, IEND = encoded(RGB, "PNG"), 33, 12
SCREENSHOT = PIL.Image.effect_noise((90, 60), 80).convert("RGB")


def chunk(name: bytes, body: bytes, *, intact: bool = True) -> bytes:
    checksum = zlib.crc32(name + body) ^ (not intact)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


BIG = b"workflow " * 300_000
ODD_CHUNKS = {
    "a text of megabytes": chunk(b"tEXt", b"prompt\0" + BIG),
    "a text that expands to megabytes": chunk(b"zTXt", b"prompt\0\0" + zlib.compress(BIG)),
    "an international text that expands to megabytes": chunk(b"iTXt", b"XML\0\1\0\0\0" + zlib.compress(BIG)),
    "a color profile of megabytes": chunk(b"iCCP", b"p\0\0" + zlib.compress(BIG)),
    "a damaged color profile": chunk(b"iCCP", b"p\0\0not deflated"),
    "a comment with a wrong checksum": chunk(b"tEXt", b"Comment\0hello", intact=False),
    "a time with a wrong checksum": chunk(b"tIME", bytes(7), intact=False),
    "damaged EXIF data": chunk(b"eXIf", b"II*\0", intact=False),
}


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "I;16"])
@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("odd", ODD_CHUNKS.values(), ids=ODD_CHUNKS)
def test_metadata_does_not_make_a_png_unreadable(odd: bytes, behind: bool, mode: str) -> None:
    picture = PIL.Image.new("I;16", (9, 6), 40000) if mode == "I;16" else SCREENSHOT.convert(mode)
    data = encoded(picture, "PNG")
    at = len(data) - IEND if behind else IHDR_END
    assert np.array_equal(only(data[:at] + odd + data[at:]), only(data))


DAMAGED_CHUNKS = {
    f"{name.decode()} of {len(body)} bytes {where}": (name, body, where)
    for name in (b"pHYs", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf", b"sBIT", b"iDOT")
    for body in (b"", b"junk", b"\xff" * 26)
    for where in ("before", "behind")
}


@pytest.mark.parametrize(("name", "body", "where"), DAMAGED_CHUNKS.values(), ids=DAMAGED_CHUNKS)
def test_a_damaged_chunk_beside_the_pixels_does_not_make_a_png_unreadable(name: bytes, body: bytes, where: str) -> None:
    at = IHDR_END if where == "before" else len(PNG) - IEND
    assert np.array_equal(only(PNG[:at] + chunk(name, body) + PNG[at:]), only(PNG))


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


DAMAGED_SEGMENTS = {
    "a short color profile": segment(0xE2, b"ICC_PROFILE\0"),
    "a short segment of Adobe": segment(0xEE, b"Adobe"),
    "a short header": segment(0xE0, b"JFIF\0"),
    "damaged EXIF data": segment(0xE1, b"Exif\0\0junk"),
    "a damaged index of pictures": segment(0xE2, b"MPF\0II*\0junk"),
    "a damaged resource of Photoshop": segment(0xED, b"Photoshop 3.0\x008BIM\4\4\0\0\0\0\xff\xff"),
    "damaged XMP": segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="x"/>'),
    "a comment": segment(0xFE, b"\xff" * 60_000),
    "padding": b"\xff" * 5,
}


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("odd", DAMAGED_SEGMENTS.values(), ids=DAMAGED_SEGMENTS)
def test_metadata_do_not_make_a_jpeg_unreadable(odd: bytes, behind: bool, mode: str) -> None:
    data = encoded(SCREENSHOT.convert(mode), "JPEG")
    at = 4 + int.from_bytes(data[4:6], "big") if behind else 2
    assert np.array_equal(only(data[:at] + odd + data[at:]), only(data))


def test_transparency_and_orientation_of_a_png_with_a_large_text_are_read() -> None:
    exif = PIL.Image.Exif()
    exif[0x112] = 6
    picture = PIL.Image.new("RGBA", (9, 6))
    plain = encoded(picture, "PNG", exif=exif)
    found = only(plain[:IHDR_END] + ODD_CHUNKS["a text of megabytes"] + plain[IHDR_END:])
    assert found.shape == (9, 6, 3)
    assert (found == 255).all()


@pytest.mark.parametrize("at", [IHDR_END + 20, len(PNG) // 2])
def test_damaged_pixels_of_a_png_are_an_error(at: int) -> None:
    with pytest.raises(UnreadableImageError):
        only(PNG[:at] + bytes(40) + PNG[at + 40 :])


def without_end(form: str, **options: object) -> bytes:
    return encoded(SCREENSHOT, form, **options)[: -2 if form == "JPEG" else -IEND]


@pytest.mark.parametrize("options", [{}, {"quality": 95}, {"progressive": True}, {"subsampling": 0}])
def test_a_jpeg_without_its_end_marker_has_the_same_pixels_and_a_warning(options: dict[str, object]) -> None:
    data = encoded(SCREENSHOT, "JPEG", **options)
    (page,) = sources.read_pages(data[:-2])
    assert np.array_equal(page.image, only(data))
    assert "end marker" in page.warnings[0]


def test_a_png_without_its_end_has_the_same_pixels_and_a_warning() -> None:
    (page,) = sources.read_pages(without_end("PNG"))
    assert np.array_equal(page.image, only(encoded(SCREENSHOT, "PNG")))
    assert "end marker" in page.warnings[0]


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("missing", [0.02, 0.1, 0.5, 0.9])
def test_missing_pixels_are_an_error(form: str, missing: float) -> None:
    data = encoded(SCREENSHOT, form)
    with pytest.raises(UnreadableImageError, match="truncated"):
        only(data[: round(len(data) * (1 - missing))])


def test_an_image_above_pillows_limit_is_read_if_the_option_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1000)
    files = {form: encoded(PIL.Image.new("1", (100, 60)), form) for form in ("PNG", "TIFF", "BMP", "GIF")}
    allowed, refused = InputOptions(max_megapixels=0.007), InputOptions(max_megapixels=0.005)
    for data in files.values():
        with pytest.raises(ImageTooLargeError):
            list(sources.read_pages(data, refused))
        PIL.Image.MAX_IMAGE_PIXELS = 1000
    shapes = {form: _read(data, allowed).shape for form, data in files.items()}
    assert set(shapes.values()) == {(60, 100, 3)}


def _read(data: bytes, options: InputOptions) -> Array:
    (page,) = sources.read_pages(data, options)
    return page.image
