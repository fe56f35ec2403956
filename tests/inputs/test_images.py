"""Pictures, good and bad: each is read, or is one of our errors with its cause and its cure."""

from __future__ import annotations

import io
import logging
import re
import struct
import zlib
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import pytest
from conftest import PAGES, RGB, encoded, near, only, pdf

from ocr_onnx import InputOptions
from ocr_onnx.errors import (
    ImageTooLargeError,
    InputError,
    UnreadableImageError,
    UnsupportedInputError,
)
from ocr_onnx.inputs import headers, images, sources
from ocr_onnx.options import MAX_PIXELS


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF", "PPM", "WEBP"])
def test_lossless_formats_keep_every_pixel(form: str) -> None:
    gray = RGB.convert("L").quantize(16).convert("RGB")
    data = encoded(gray, form, **({"lossless": True} if form == "WEBP" else {}))
    assert near(only(data), gray, 1e-9)


def test_a_jpeg_is_turned_as_its_exif_data_says() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    assert only(encoded(RGB, "JPEG", exif=exif)).shape == (900, 520, 3)


def test_cmyk_is_read() -> None:
    assert near(only(encoded(RGB.convert("CMYK"), "JPEG", quality=95)), RGB, 8)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA"])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_every_mode_is_read(mode: str, form: str) -> None:
    assert near(only(encoded(RGB.convert(mode), form)), RGB, 6)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_are_cut_to_eight_and_not_clipped(suffix: str) -> None:
    wide = np.linspace(0, 65535, 100 * 60, dtype=np.uint16).reshape(60, 100)
    _, data = cv2.imencode(suffix, wide)
    found = only(data.tobytes())
    assert np.abs(found[:, :, 0].astype(int) - wide // 256).max() <= 1


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "array", "Pillow", "color PNG"])
def test_few_bits_in_sixteen_are_stretched(bits: int, kind: str) -> None:
    wide = np.linspace(0, 2**bits - 1, 100 * 60).astype(np.uint16).reshape(60, 100)
    sources: dict[str, Any] = {
        "array": lambda: wide,
        "Pillow": lambda: PIL.Image.fromarray(wide),
        "PPM": lambda: b"P5 100 60 65535 " + wide.astype(">u2").tobytes(),
        "color PNG": cv2.imencode(".png", np.repeat(wide[..., np.newaxis], 3, 2))[1].tobytes,
    }
    found = only(sources.get(kind, lambda: encoded(PIL.Image.fromarray(wide), kind))())
    assert np.abs(found[:, :, 0].astype(int) - (wide >> (bits - 8))).max() <= 1


def test_sixteen_bit_arrays_are_cut_to_eight() -> None:
    assert (only(np.full((4, 5), 0x8FFF, np.uint16)) == 0x8F).all()


def test_sixteen_bit_arrays_of_either_byte_order_are_equal() -> None:
    array = np.arange(0, 65536, 256).astype(np.uint16).reshape(16, 16)
    assert np.array_equal(only(array.astype(">u2")), only(array.astype("<u2")))


def test_gray_arrays_become_three_equal_channels() -> None:
    gray = np.arange(200, dtype=np.uint8).reshape(10, 20)
    for array in (gray, gray[:, :, np.newaxis]):
        found = only(array)
        assert found.shape == (10, 20, 3)
        assert (found == gray[:, :, np.newaxis]).all()


def test_views_are_read_as_they_look() -> None:
    array = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    np.testing.assert_array_equal(only(array[::-1, ::2]), array[::-1, ::2])


IGNORED = InputOptions(transparency="ignore")


def test_transparency_can_be_ignored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    picture = RGB.convert("RGBA")
    picture.putalpha(PIL.Image.new("L", picture.size, 10))
    for source in (encoded(picture, "PNG"), np.asarray(picture)[:, :, [2, 1, 0, 3]], picture):
        (page,) = sources.read_pages(source, IGNORED)
        assert near(page.image, RGB, 1e-9)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 3
    assert "partly transparent" in caplog.text


@pytest.mark.parametrize("form", ["TIFF", "WEBP", "GIF"])
def test_transparency_causes_a_warning_in_every_format(form: str, caplog: pytest.LogCaptureFixture) -> None:
    picture = RGB.convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 50, 50))
    list(sources.read_pages(encoded(picture, form), IGNORED))
    assert "partly transparent" in caplog.text


@pytest.mark.parametrize(("text", "background"), [(0, 255), (255, 0), (90, 255), (200, 255)])
@pytest.mark.parametrize("hidden", [0, 255])
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "array", "Pillow", "LA"])
def test_a_transparent_image_is_put_on_a_background_that_shows_its_text(
    form: str, hidden: int, text: int, background: int, caplog: pytest.LogCaptureFixture
) -> None:
    picture = PIL.Image.new("RGBA", (90, 52), (hidden, hidden, hidden, 0))
    picture.paste((text, text, text, 255), (20, 10, 50, 30))
    made: dict[str, Any] = {
        "array": lambda: np.asarray(picture),
        "Pillow": lambda: picture,
        "LA": lambda: encoded(picture.convert("LA"), "PNG"),
        "WEBP": lambda: encoded(picture, "WEBP", lossless=True),
    }
    found = only(made.get(form, lambda: encoded(picture, form))())
    assert (found[0, 0], found[15, 30]) == (pytest.approx([background] * 3), pytest.approx([text] * 3))
    assert not caplog.records


def test_transparency_is_turned_with_its_image() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    picture = PIL.Image.new("RGBA", (90, 52), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 20, 10))
    for form in ("PNG", "WEBP"):
        found = only(encoded(picture, form, exif=exif))
        assert found.shape == (90, 52, 3)
        assert found[0, -1].max() < 9
        assert found[0, 0].min() > 246


def test_an_opaque_alpha_channel_causes_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    only(encoded(RGB.convert("RGBA"), "PNG"))
    assert not caplog.records


@pytest.mark.parametrize("form", ["GIF", "WEBP"])
def test_the_first_frame_of_an_animation_is_read_with_a_warning(form: str, caplog: pytest.LogCaptureFixture) -> None:
    frames = [RGB, RGB.transpose(PIL.Image.Transpose.ROTATE_180)]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=100)
    assert near(only(data), RGB, 8)
    assert "animation of 2 frames" in caplog.text


# What cannot be read.

BROKEN = {
    "empty": (b"", "is empty"),
    "text": (b"not a picture, though it is called one", "neither a PDF nor an image"),
    "half a JPEG": (encoded(RGB, "JPEG")[:9000], "truncated"),
    "half a PNG": (encoded(RGB, "PNG")[:9000], "truncated"),
    "half a WebP": (encoded(RGB, "WEBP")[:3000], "damaged|truncated"),
    "half a BMP": (encoded(RGB, "BMP")[:90000], "damaged|truncated"),
    "half a GIF": (encoded(RGB, "GIF")[:3000], "damaged|truncated"),
    "half a TIFF": (encoded(RGB, "TIFF")[:90000], "damaged|truncated"),
    "PNG header only": (encoded(RGB, "PNG")[:33], "truncated"),
    "JPEG header only": (b"\xff\xd8\xff\xe0", "truncated"),
    "PDF without pages": (b"%PDF-1.7\n%%EOF", "cannot be opened as a PDF"),
    "half a PDF": (pdf((50, 50))[:200], "cannot be opened as a PDF"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_damaged_bytes_are_named(kind: str) -> None:
    data, cause = BROKEN[kind]
    with pytest.raises(UnreadableImageError, match=cause):
        only(data)


def test_pixels_of_32_bits_are_refused() -> None:
    with pytest.raises(UnreadableImageError, match="save it with 8 bits"):
        only(encoded(PIL.Image.fromarray(np.zeros((9, 9), np.float32)), "TIFF"))


@pytest.mark.parametrize("form", ["JPEG2000", "EPS", "ICO", "PCX"])
def test_other_formats_are_refused_by_name(form: str) -> None:
    with pytest.raises(UnreadableImageError, match="convert it to"):
        only(encoded(RGB, form))


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x1cftypmif1", "HEIC"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a\0", "JPEG XL"),
        (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"8BPS\0\1", "Photoshop"),
    ],
)
def test_a_known_format_that_is_not_supported_is_named(start: bytes, name: str) -> None:
    with pytest.raises(UnreadableImageError, match=f"is a {name} image, which is not supported: convert it"):
        only(start + bytes(100))


@pytest.mark.skipif("AVIF" not in images.FORMATS, reason="this Pillow cannot decode AVIF")
def test_avif_is_read() -> None:
    assert near(only(encoded(RGB, "AVIF", quality=95)), RGB, 4)


def oriented(form: str, orientation: int) -> bytes:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    picture = RGB.crop((0, 0, 300, 200))
    return encoded(picture, form, exif=exif, lossless=True) if form == "WEBP" else encoded(picture, form, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["WEBP", "PNG", "TIFF", "AVIF", "JPEG", "MPO"])
def test_exif_data_turns_an_image_of_every_format(form: str, orientation: int) -> None:
    if form == "AVIF" and "AVIF" not in images.FORMATS:
        pytest.skip("this Pillow cannot decode AVIF")
    data = oriented(form, orientation)
    expected = PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(data)))
    assert near(only(data), expected, 4)


def test_a_jpeg_that_pillow_decodes_is_turned_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)
    assert only(oriented("JPEG", 6)).shape == (300, 200, 3)


DAMAGED_EXIF = {
    "no TIFF": b"Exif\0\0junk",
    "nothing": b"",
    "a cut header": b"Exif\0\0II*\0",
    "BigTIFF": b"Exif\0\0II+\0" + bytes(8),
    "an offset outside": b"Exif\0\0II*\0\xff\xff\xff\x7f",
    "an orientation of letters": b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\2\0\4\0\0\0abc\0\0\0\0\0",
    "an orientation that is not a number": b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\x0b\0\1\0\0\0\0\0\xc0\x7f\0\0\0\0",
    "orientation 99": b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\x63\0\0\0\0\0\0\0",
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("exif", DAMAGED_EXIF.values(), ids=DAMAGED_EXIF)
@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_damaged_exif_data_are_ignored(form: str, mode: str, exif: bytes) -> None:
    picture = RGB.crop((0, 0, 300, 200)).convert("RGB" if form == "JPEG" else mode)
    options = {"lossless": True} if form == "WEBP" else {}
    data, plain = encoded(picture, form, exif=exif, **options), encoded(picture, form, **options)
    assert np.array_equal(only(data), only(plain))
    assert only(PIL.Image.open(io.BytesIO(data))).shape == (200, 300, 3)


def test_a_jpeg_with_damaged_exif_data_that_pillow_decodes_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)
    assert only(encoded(RGB, "JPEG", exif=DAMAGED_EXIF["no TIFF"])).shape == (520, 900, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
def test_pixels_of_a_turned_image_are_made_square(form: str, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    data = encoded(RGB.crop((0, 0, 300, 200)), form, dpi=(200, 100), exif=exif)
    shape = (400, 300) if orientation < 5 else (300, 400)
    assert only(data).shape[:2] == shape
    assert only(PIL.Image.open(io.BytesIO(data))).shape[:2] == shape


def test_pixels_of_a_resized_pillow_image_are_left() -> None:
    opened = PIL.Image.open(io.BytesIO(encoded(RGB.crop((0, 0, 300, 200)), "PNG", dpi=(200, 100))))
    assert only(opened.resize((300, 400))).shape[:2] == (400, 300)


@pytest.mark.parametrize(
    ("form", "dpi", "shape"),
    [
        ("TIFF", (204, 98), (416, 300)),
        ("TIFF", (98, 204), (200, 624)),
        ("PNG", (200, 100), (400, 300)),
        ("JPEG", (200, 100), (400, 300)),
        ("TIFF", (204, 196), (200, 300)),
        ("PNG", (300, 300), (200, 300)),
        ("JPEG", (1, 72), (200, 300)),
    ],
)
def test_pixels_are_made_square(form: str, dpi: tuple[int, int], shape: tuple[int, int]) -> None:
    found = only(encoded(RGB.crop((0, 0, 300, 200)), form, dpi=dpi)).shape[:2]
    assert np.abs(np.subtract(found, shape)).max() <= 1


@pytest.mark.parametrize(
    ("form", "dpi", "expected"),
    [
        ("PNG", (300, 300), 300),
        ("JPEG", (150, 150), 150),
        ("TIFF", (204, 98), 204),
        ("PNG", None, None),
        ("TIFF", (1e6, 1e6), None),
        ("JPEG", (1, 1), None),
    ],
)
def test_the_resolution_is_that_of_the_metadata(form: str, dpi: tuple[int, int] | None, expected: int | None) -> None:
    data = encoded(RGB, form, **({} if dpi is None else {"dpi": dpi}))
    (page,) = sources.read_pages(data)
    assert page.resolution == (None if expected is None else pytest.approx(expected, abs=0.5))
    assert page.scale == 1


def test_pixels_are_not_made_square_beyond_the_limit() -> None:
    data = encoded(RGB.crop((0, 0, 300, 200)), "TIFF", dpi=(204, 98))
    (page,) = sources.read_pages(data, InputOptions(max_megapixels=0.07))
    assert page.image.shape == (200, 300, 3)


def test_a_jpeg_cut_off_after_its_thumbnail_is_noticed() -> None:
    thumbnail = encoded(RGB.resize((90, 52)), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = encoded(RGB, "JPEG")
    assert only(whole[:2] + segment + whole[2:]).shape == (520, 900, 3)
    with pytest.raises(UnreadableImageError, match="truncated"):
        only(whole[:2] + segment + whole[2:9000])


def test_data_after_the_end_of_a_jpeg_is_ignored() -> None:
    assert near(only(encoded(RGB, "JPEG", quality=95) + b"\0" * 200_000), RGB, 4)


def test_a_corrupt_middle_of_a_png_is_noticed() -> None:
    data = bytearray(encoded(RGB, "PNG"))
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    with pytest.raises(UnreadableImageError):
        only(bytes(data))


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    parts = [struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in chunks]
    with pytest.raises(ImageTooLargeError, match=str(MAX_PIXELS)):
        only(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


WIDE = PIL.Image.new("L", (60, 4), 200)

TWO_SIZES = {
    "a comment in a PBM's number": b"P4\n90#90\n 1\n" + b"\xff" * 2000,
    "a comment after a PGM's number": b"P5\n90#90\n 1 255\n" + b"\xff" * 9000,
    "two headers in a PNG": encoded(WIDE, "PNG")[:33] + encoded(WIDE.crop((0, 0, 60, 2)), "PNG")[8:],
    "two frame headers in a JPEG": encoded(WIDE, "JPEG").replace(
        b"\xff\xc0", b"\xff\xc0\0\x0b\x08\x23\x23\x23\x23\1\1\x11\0\xff\xc0"
    ),
}


@pytest.mark.parametrize("kind", TWO_SIZES)
def test_opencv_is_not_given_a_header_that_can_be_read_in_two_ways(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def imdecode(*_: object) -> None:
        raise AssertionError("OpenCV decodes it")

    monkeypatch.setattr(cv2, "imdecode", imdecode)
    with suppress(UnreadableImageError), PIL.Image.open(io.BytesIO(TWO_SIZES[kind])) as picture:
        assert only(TWO_SIZES[kind]).shape[1::-1] == picture.size


def test_opencv_is_not_given_a_png_chunk_that_is_longer_than_the_file() -> None:
    """OpenCV would allocate the 4 GB that the chunk claims to have."""
    data = encoded(WIDE, "PNG")
    claim = b"\xf0\0\0\0" + b"tEXt"
    assert headers.size_for_opencv(data, "PNG") == WIDE.size
    assert headers.size_for_opencv(data[:-12] + claim + data[-12:], "PNG") is None
    assert headers.size_for_opencv(data + claim, "PNG") == WIDE.size


def test_a_size_that_opencv_finds_by_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.zeros((520, 901, 3), np.uint8))
    with pytest.raises(UnreadableImageError, match="decoders find the sizes 900 x 520 and"):
        only(encoded(RGB, "PNG"))


@pytest.mark.parametrize("form", ["PNG", "BMP", "PPM", "WEBP", "JPEG", "SUN", "MPO"])
@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_opencv_decodes_ordinary_files(form: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode_with_pillow(*_: object) -> None:
        raise AssertionError("Pillow decodes it")

    picture = RGB.convert(mode)
    monkeypatch.setattr(images, "decode_with_pillow", decode_with_pillow)
    data = cv2.imencode(".ras", np.asarray(picture.convert("RGB")))[1].tobytes() if form == "SUN" else None
    assert only(data or encoded(picture.convert("L") if form == "MPO" else picture, form)).shape == (520, 900, 3)


@pytest.mark.parametrize("header", [b"P5 60 4 65535 ", b"P5\n# made\n# by hand\n60\n#\n\t4 65535\n"])
def test_netpbm_of_sixteen_bits_is_read(header: bytes) -> None:
    assert (only(header + b"\x8f\xff" * 240) == 0x8F).all()


def test_webp_of_every_kind_has_its_size_read() -> None:
    for options in ({"lossless": True}, {"lossless": False}, {"exif": b"Exif\0\0"}):
        data = encoded(RGB.crop((0, 0, 333, 77)), "WEBP", **options)
        assert headers.size_for_opencv(data, "WEBP") == (333, 77)


def test_an_array_of_too_many_pixels_is_refused() -> None:
    with pytest.raises(ImageTooLargeError, match="reduce it"):
        only(np.broadcast_to(np.zeros((), np.uint8), (20_000, 20_000)))


@pytest.mark.parametrize(
    ("array", "cause"),
    [
        (np.full((9, 9, 3), np.nan), "float64.*astype"),
        (np.zeros((9, 9, 3), np.float32), "float32.*astype"),
        (np.zeros((9, 9, 3), np.int64), "int64.*astype"),
        (np.zeros((9, 9), bool), "bool.*astype"),
        (np.zeros((9, 9, 2), np.uint8), r"shape \(9, 9, 2\)"),
        (np.zeros((1, 9, 9, 3), np.uint8), r"shape \(1, 9, 9, 3\)"),
        (np.zeros(9, np.uint8), r"shape \(9,\)"),
        (np.zeros((0, 0, 3), np.uint8), "0 x 0"),
        (np.zeros((5, 0), np.uint8), "0 x 5"),
        (np.array([None]), "type NoneType"),
    ],
    ids=str,
)
def test_arrays_that_are_no_pictures_are_refused(array: Any, cause: str) -> None:
    with pytest.raises(UnsupportedInputError, match=cause):
        only(array)


def test_every_cut_of_a_picture_gives_the_picture_or_our_error() -> None:
    small = RGB.resize((90, 52))
    messages: set[str] = set()
    for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        data = encoded(small, form)
        for length in range(0, len(data), max(1, len(data) // 40)):
            try:
                image = only(data[:length])
            except InputError as error:
                messages.add(str(error))
            else:
                assert image.shape == (52, 90, 3)
    assert len(messages) > 5
    assert not any(re.search(r"0x[0-9a-f]{6}|Traceback", message) for message in messages)


def test_megapixels_can_be_limited_further() -> None:
    options = InputOptions(max_megapixels=0.000_9)
    for source in (np.zeros((30, 31), np.uint8), PIL.Image.new("L", (31, 30)), encoded(RGB, "PNG")):
        with pytest.raises(ImageTooLargeError, match="900 is the limit"):
            list(sources.read_pages(source, options))


# Pillow's pictures.


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "LA", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"]
)
def test_pillows_pictures_are_read_in_every_mode(mode: str) -> None:
    if mode == "LAB":
        rgb, lab = PIL.ImageCms.createProfile("sRGB"), PIL.ImageCms.createProfile("LAB")
        picture = PIL.ImageCms.profileToProfile(RGB, rgb, lab, outputMode="LAB")
    else:
        # Not every mode can be made at once.
        step = {"PA": "P", "RGBa": "RGBA"}.get(mode, "RGB")
        picture = RGB.convert(step).convert(mode)
    assert picture is not None
    assert picture.mode == mode
    assert near(only(picture), RGB, 6)


def test_transparent_gray_of_pillow_is_read() -> None:
    assert near(only(RGB.convert("LA").convert("La")), RGB.convert("L"), 1)


def test_sixteen_bits_of_pillow_are_cut_to_eight() -> None:
    assert (only(PIL.Image.fromarray(np.full((4, 5), 0x8FFF, np.uint16))) == 0x8F).all()


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pictures_of_pillow_with_32_bits_are_refused(mode: str) -> None:
    with pytest.raises(UnreadableImageError, match="save it with 8 bits"):
        only(PIL.Image.new(mode, (9, 9)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pillows_pictures_are_turned_as_their_files_are(orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    data = encoded(RGB, "JPEG", exif=exif, quality=95)
    by_file, by_pillow = only(data), only(PIL.Image.open(io.BytesIO(data)))
    assert by_file.shape == by_pillow.shape
    assert np.abs(by_file.astype(int) - by_pillow).mean() < 1


def test_a_picture_of_pillow_is_left_as_it_was_and_named_by_its_file() -> None:
    with PIL.Image.open(PAGES / "tiny.png") as picture:
        before = (picture.mode, picture.size)
        (page,) = sources.read_pages(picture)
        assert page.path == str(PAGES / "tiny.png")
        assert (picture.mode, picture.size) == before
    assert next(sources.read_pages(RGB)).path is None


def test_a_closed_picture_of_pillow_is_refused() -> None:
    picture = PIL.Image.open(PAGES / "tiny.png")
    picture.close()
    with pytest.raises(UnreadableImageError, match=r"tiny\.png"):
        only(picture)
