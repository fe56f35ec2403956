"""Decode bytes and convert arrays to images. Images that are damaged, truncated or larger than the limit raise an error."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
import PIL.ExifTags
import PIL.features
import PIL.Image
import PIL.ImageCms
from numpy.typing import NDArray

from ocr_onnx.errors import ImageTooLargeError, InputError, UnreadableImageError, UnsupportedInputError
from ocr_onnx.inputs.decoder_errors import decoder_errors, require_memory
from ocr_onnx.inputs.headers import size_for_opencv
from ocr_onnx.inputs.page_warnings import warn
from ocr_onnx.options import MAX_PIXELS, Transparency
from ocr_onnx.runtime.profiling import timed
from ocr_onnx.types import Image, Page

# Pillow 11.3 was the first with AVIF; an older one warns if it is asked.
AVIF = ("AVIF",) if "avif" in PIL.features.modules and PIL.features.check("avif") else ()
FORMATS = (
    *AVIF,
    *("BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", "SUN", "TIFF", "WEBP"),
)
"""The supported formats, by Pillow's names. JPEG 2000 is excluded because crafted files crash OpenCV's decoder."""

UNPREMULTIPLIED_MODES = {"La": "LA", "RGBa": "RGBA"}
"""Pillow's modes with premultiplied alpha, and the modes without it to which Pillow converts them."""

MAX_STRETCHED_BITS = 14

OPAQUE_ALPHA = 255

BACKGROUND_CONTRAST = 0.2
"""A transparent image is put on black if its contrast on white is less than this share of that on black: its text is white."""

ROTATED_BY_OPENCV = frozenset({"JPEG", "MPO"})

FIRST_QUARTER_TURN = 5
"""EXIF orientations from here on exchange width and height."""

TRANSPOSITIONS: dict[int, Callable[[Image], Image]] = {
    1: np.asarray,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}
"""How an image becomes upright, by its EXIF orientation."""

RESOLUTION_KEYS = ("dpi", "resolution", "aspect")
"""Of Pillow's `info`: pixels in x and y per unit of length."""

STRETCHED = (1.5, 3.0)
"""Ratios of the resolutions in x and y. Fax has 2.08 or 1.04, of which the latter is left; larger ratios are wrong metadata."""

PILLOW_LIMIT_FACTOR = 2
"""Pillow refuses images of more pixels than this times its limit."""

RESOLUTIONS = 20.0, 10_000.0
"""Pixels per inch; values outside are wrong metadata."""

OPENCV_BYTES, PILLOW_BYTES = 6, 11
"""Bytes per pixel that decoding takes: the image and its rotated copy; Pillow's image, its RGB copy, its bytes and our copy."""


def from_array(array: NDArray[np.uint8], max_pixels: int = MAX_PIXELS, transparency: Transparency = "ignore") -> Image:
    """Convert an array (height, width[, 1, 3 or 4]) in BGR or BGRA order to an image.

    The dtype is uint8, or uint16, of which the high byte is used, or the highest bits if it has at most 14. Alpha is ignored, with a warning if it is not opaque. Raises
    UnsupportedInputError and ImageTooLargeError.
    """
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:  # In either byte order.
        array = _eight_bits(array)
    if array.dtype != np.uint8:
        raise UnsupportedInputError(
            f"an array of dtype {array.dtype} is not supported: scale it to 0..255 and convert it with .astype(numpy.uint8)"
        )
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    if array.ndim != 3 or array.shape[2] not in {1, 3, 4}:
        raise UnsupportedInputError(
            f"an array of shape {array.shape} is not supported: give (height, width), or (height, width, 3) in BGR order"
        )
    height, width, channels = array.shape
    if height == 0 or width == 0:
        raise _empty(width, height)
    check_size(width, height, "the array", max_pixels)
    if channels == 1:
        array = np.repeat(array, 3, axis=2)
    elif channels == 4:
        return _with_alpha(np.ascontiguousarray(array[:, :, :3]), array[:, :, 3], "the array", transparency)
    return np.ascontiguousarray(array[:, :, :3])


def _eight_bits(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Reduce 16 bits to 8. If all values fit in 14 bits, as those of cameras and scanners do, their highest bits are used."""
    bits = int(array.max(initial=0)).bit_length()
    return (array >> (max(bits, 8) - 8 if bits <= MAX_STRETCHED_BITS else 8)).astype(np.uint8)


def from_pillow(
    picture: PIL.Image.Image, name: str, max_pixels: int = MAX_PIXELS, transparency: Transparency = "ignore"
) -> Image:
    """Convert the current frame of a Pillow image, rotated according to its EXIF data.

    `name` is its name in error messages. All modes are supported except I and F, whose value range is unknown: they raise
    UnreadableImageError. Raises ImageTooLargeError for more than `max_pixels`.
    """
    check_size(*picture.size, name, max_pixels)
    if not picture.width or not picture.height:
        raise _empty(*picture.size)
    return _decode_upright(picture, name, transparency)


@timed("decode")
def decode(picture: PIL.Image.Image, data: bytes, name: str, transparency: Transparency = "ignore") -> Image:
    """Decode one image file with content `data`; the size that Pillow read, `picture.size`, is within the limit.

    OpenCV decodes it, as in PaddleX, and applies the EXIF rotation. Pillow decodes formats that OpenCV does not support, and
    files in which OpenCV could find another size. Raises UnreadableImageError.
    """
    with decoder_errors(name):
        frames = getattr(picture, "n_frames", 1)
    # The frames of an MPO are one photograph and its previews, not an animation.
    if frames > 1 and picture.format != "MPO":
        warn(f"{name} is an animation of {frames} frames; only the first frame is read")
        return _decode_upright(picture, name, transparency)
    size = size_for_opencv(data, picture.format)
    if size is None:
        return _decode_upright(picture, name, transparency)
    _check_sizes_equal(size, picture.size, name)
    require_memory(size[0] * size[1], OPENCV_BYTES, name)
    image = _decode_with_opencv(picture, data, name)
    if image is None:
        return _decode_upright(picture, name, transparency)
    height, width = image.shape[:2]
    # EXIF data may rotate it by 90°.
    _check_sizes_equal((width, height) if (width, height) == picture.size else (height, width), picture.size, name)
    return _with_transparency(picture, image, name, transparency)


def _decode_with_opencv(picture: PIL.Image.Image, data: bytes, name: str) -> Image | None:
    """Return the image, or None if Pillow should try: OpenCV does not say why it fails.

    OpenCV rotates a JPEG according to its EXIF data. Whether it does so for other formats depends on its version.
    """
    orientation = None if picture.format in ROTATED_BY_OPENCV else orientation_of(picture)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    if orientation is not None:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    with decoder_errors(name), suppress(cv2.error):
        image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        if image is None:
            return None
        # OpenCV 4.10 gives a gray PFM two axes.
        return np.ascontiguousarray(TRANSPOSITIONS[orientation or 1](from_array(np.asarray(image))))
    return None


def orientation_of(picture: PIL.Image.Image) -> int:
    """Return the orientation in the EXIF data of an image, 1 to 8; 1 if they are missing or damaged, as decoders do.

    Of a TIFF, the one before it is loaded: Pillow turns it then.
    """
    # Pillow would decode a PNG to look for EXIF data after the pixels.
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1
    with suppress(InputError), decoder_errors("the EXIF data"):
        found = picture.getexif().get(PIL.ExifTags.Base.Orientation, 1)
        return int(found) if found in TRANSPOSITIONS else 1
    return 1


def _decode_upright(picture: PIL.Image.Image, name: str, transparency: Transparency) -> Image:
    """Decode the current frame of a Pillow image, rotated according to its EXIF data."""
    require_memory(picture.width * picture.height, PILLOW_BYTES, name)
    with decoder_errors(name):
        picture.load()
    return decode_with_pillow(picture, name, transparency, orientation_of(picture))


def square_pixels(image: Image, picture: PIL.Image.Image, max_pixels: int, orientation: int) -> Page:
    """Return the page of an upright image; different resolutions in x and y, such as 204 x 98 dots per inch of a fax, are made equal.

    `picture` has the resolutions, which count from before the image was turned by `orientation`. Other images, and those that
    would exceed `max_pixels`, are not stretched.
    """
    turned = orientation >= FIRST_QUARTER_TURN
    return Page(_stretched(image, picture, max_pixels, turned=turned), resolution=resolution_of(picture))


def resolution_of(picture: PIL.Image.Image) -> float | None:
    """Return the pixels per inch in an image's metadata, the larger of x and y; None if they are missing or not plausible."""
    try:
        found = max(map(float, picture.info["dpi"]))
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
    return found if RESOLUTIONS[0] <= found <= RESOLUTIONS[1] else None


def _stretched(image: Image, picture: PIL.Image.Image, max_pixels: int, *, turned: bool) -> Image:
    resolution = next((picture.info[key] for key in RESOLUTION_KEYS if key in picture.info), None)
    try:
        x, y = (float(resolution[i]) for i in (turned, not turned))  # type: ignore[index]
        ratio = x / y
    except (TypeError, ValueError, ArithmeticError, IndexError):
        return image
    if not any(low <= ratio <= high for low, high in (STRETCHED, (1 / STRETCHED[1], 1 / STRETCHED[0]))):
        return image
    height, width = image.shape[:2]
    size = (width, round(height * ratio)) if ratio > 1 else (round(width / ratio), height)
    return image if size[0] * size[1] > max_pixels else np.asarray(cv2.resize(image, size), np.uint8)


def _check_sizes_equal(size: tuple[int, int], opened: tuple[int, int], name: str) -> None:
    """Raise UnreadableImageError if two parsers find different sizes: only one of them was checked against the limit."""
    if size != opened:
        sizes = " and ".join(f"{width} x {height}" for width, height in (opened, size))
        raise UnreadableImageError(
            f"the header of {name} is ambiguous, decoders find the sizes {sizes}: save the image again"
        )


def decode_with_pillow(
    picture: PIL.Image.Image, name: str, transparency: Transparency = "ignore", orientation: int = 1
) -> Image:
    """Decode the current frame of a Pillow image, and turn it from its EXIF `orientation`; of 16-bit values the high byte is used.

    Raises UnreadableImageError.
    """
    turn = TRANSPOSITIONS[orientation]
    require_memory(picture.width * picture.height, PILLOW_BYTES, name)
    if picture.mode in UNPREMULTIPLIED_MODES:
        with decoder_errors(name):
            picture = picture.convert(UNPREMULTIPLIED_MODES[picture.mode])
    with decoder_errors(name):
        if picture.mode.startswith("I;16"):
            return from_array(turn(np.asarray(picture, np.uint16)))
        if picture.mode in {"I", "F"}:
            raise UnreadableImageError(f"{name} has 32-bit pixels of unknown range: save it with 8 bits per channel")
        image = np.ascontiguousarray(turn(np.asarray(_rgb(picture), np.uint8)[:, :, ::-1]))
    return _with_transparency(picture, image, name, transparency)


def _rgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    if picture.mode != "LAB":
        return picture.convert("RGB")
    lab, rgb = PIL.ImageCms.createProfile("LAB"), PIL.ImageCms.createProfile("sRGB")
    return PIL.ImageCms.profileToProfile(picture, lab, rgb, outputMode="RGB") or picture


def _empty(width: int, height: int) -> UnsupportedInputError:
    return UnsupportedInputError(f"an image of {width} x {height} pixels is empty: give at least one pixel")


def allow_pixels(max_pixels: int) -> None:
    """Raise Pillow's own limit, which holds for the whole process, if `max_pixels` exceeds it."""
    limit = PIL.Image.MAX_IMAGE_PIXELS
    if limit is not None and max_pixels > PILLOW_LIMIT_FACTOR * limit:
        PIL.Image.MAX_IMAGE_PIXELS = max_pixels


def check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    """Raise ImageTooLargeError for an image of more than `max_pixels` pixels."""
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"{name} has {width} x {height} pixels, and {max_pixels} is the limit: reduce it, or split it into parts"
        )


def _with_transparency(picture: PIL.Image.Image, image: Image, name: str, transparency: Transparency) -> Image:
    """Return the decoded `image` of a Pillow image, flattened if that has transparent pixels and `transparency` says so."""
    if not picture.has_transparency_data:
        return image
    with decoder_errors(name):
        alpha = np.asarray(picture.convert("RGBA").getchannel("A"), np.uint8)
    return _with_alpha(image, TRANSPOSITIONS[orientation_of(picture)](alpha), name, transparency)


def _with_alpha(image: Image, alpha: NDArray[np.uint8], name: str, transparency: Transparency) -> Image:
    if not (alpha < OPAQUE_ALPHA).any():
        return image
    if transparency == "ignore":
        warn(f"{name} is partly transparent; transparency is ignored: flatten the image if text is missing")
        return image
    on_white = _flattened(image, alpha, 255)
    on_black = _flattened(image, alpha, 0)
    return on_white if _contrast(on_white) >= BACKGROUND_CONTRAST * _contrast(on_black) else on_black


def _contrast(image: Image) -> float:
    """Return the standard deviation of the pixels."""
    return float(cv2.meanStdDev(image)[1].max())


def _flattened(image: Image, alpha: NDArray[np.uint8], background: int) -> Image:
    """Return the image on a background of one gray value."""
    weight = alpha[:, :, np.newaxis].astype(np.uint16)
    mixed = image * weight + background * (OPAQUE_ALPHA - weight) + OPAQUE_ALPHA // 2
    return (mixed // OPAQUE_ALPHA).astype(np.uint8)
