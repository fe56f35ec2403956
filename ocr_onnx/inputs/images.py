"""Bytes and arrays to pictures, bounded in size; what is damaged or cut short is refused."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
from numpy.typing import NDArray

from ocr_onnx.errors import ImageTooLargeError, UnreadableImageError, UnsupportedInputError
from ocr_onnx.inputs.headers import jpeg_scan, size_for_opencv
from ocr_onnx.options import MAX_PIXELS
from ocr_onnx.runtime.profiling import timed
from ocr_onnx.types import Image

logger = logging.getLogger(__name__)

FORMATS = ("BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", "SUN", "TIFF", "WEBP")
"""What is decoded, by Pillow's names. Not JPEG 2000: OpenCV's decoder can be made to crash."""

STRAIGHT = {"La": "LA", "RGBa": "RGBA"}
"""Modes of Pillow whose colours are multiplied by their opacity, and the modes they can be converted to."""

OPAQUE = 255
"""Alpha."""

JPEG_SIGNATURE, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
PNG_SIGNATURE, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"

PILLOW_ERRORS = (OSError, SyntaxError, ValueError, TypeError, IndexError, RuntimeError, struct.error, Warning)
"""What Pillow's decoders raise on damaged files, or warn of where warnings are errors."""


def from_array(array: NDArray[np.uint8], max_pixels: int = MAX_PIXELS) -> Image:
    """A picture from (height, width[, 1, 3 or 4]), BGR or BGRA, uint8, or uint16 of which the high byte is taken."""
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    if array.dtype != np.uint8:
        raise UnsupportedInputError(
            f"an array of {array.dtype} is no picture: scale it to 0..255 and convert it with .astype(numpy.uint8)"
        )
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    if array.ndim != 3 or array.shape[2] not in {1, 3, 4}:
        raise UnsupportedInputError(
            f"an array of shape {array.shape} is no picture: give (height, width), or (height, width, 3) in BGR order"
        )
    height, width, channels = array.shape
    if height == 0 or width == 0:
        raise UnsupportedInputError(f"a picture of {width} x {height} pixels has nothing to read")
    check_size(width, height, "the array", max_pixels)
    if channels == 1:
        array = np.repeat(array, 3, axis=2)
    elif channels == 4:
        _warn_of_transparency(array[:, :, 3], "the array")
    return np.ascontiguousarray(array[:, :, :3])


def from_pillow(picture: PIL.Image.Image, name: str, max_pixels: int = MAX_PIXELS) -> Image:
    """A picture of Pillow's, turned as its EXIF data says; of several frames the one it stands at.

    Every mode is taken but I and F, whose range cannot be told: they are an UnreadableImageError.
    """
    check_size(*picture.size, name, max_pixels)
    with undamaged(name):
        upright = PIL.ImageOps.exif_transpose(picture)
    return by_pillow(upright, name)


@timed("decode")
def decode(picture: PIL.Image.Image, data: bytes, name: str) -> Image:
    """Decode one picture, whose size as Pillow reads it was checked.

    By OpenCV as the reference does, turned as the EXIF data says; by Pillow what OpenCV cannot decode, or what it might
    take for a picture of another size. Raises UnreadableImageError.
    """
    with undamaged(name):
        frames = getattr(picture, "n_frames", 1)
    # An MPO holds a photograph and previews of it, and is no animation.
    if frames > 1 and picture.format != "MPO":
        logger.warning("%s is an animation of %d frames: the first is read", name, frames)
        return by_pillow(picture, name)
    size = size_for_opencv(data, picture.format)
    if size is None:
        return by_pillow(picture, name)
    _check_same(size, picture.size, name)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        return by_pillow(picture, name)
    height, width = image.shape[:2]
    # EXIF data may turn it by a quarter.
    _check_same((width, height) if (width, height) == picture.size else (height, width), picture.size, name)
    _check_transparency(picture, name)
    return np.asarray(image, np.uint8)


def _check_same(size: tuple[int, int], opened: tuple[int, int], name: str) -> None:
    """Raise UnreadableImageError where two parsers find two sizes: the limit was checked for one of them alone."""
    if size != opened:
        sizes = " and ".join(f"{width} x {height}" for width, height in (opened, size))
        raise UnreadableImageError(f"{name} has a header from which two sizes are read, {sizes}: save it anew")


def by_pillow(picture: PIL.Image.Image, name: str) -> Image:
    """The current frame of a picture; of 16 bits the high byte."""
    if picture.mode in STRAIGHT:
        picture = picture.convert(STRAIGHT[picture.mode])
    _check_transparency(picture, name)
    with undamaged(name):
        if picture.mode.startswith("I;16"):
            return from_array(np.asarray(picture, np.uint16))
        if picture.mode in {"I", "F"}:
            raise UnreadableImageError(f"{name} has 32 bits a pixel, and its range cannot be told: save it with 8 bits")
        return np.ascontiguousarray(np.asarray(_rgb(picture), np.uint8)[:, :, ::-1])


@contextmanager
def undamaged(name: str) -> Iterator[None]:
    """Turn what Pillow raises on a damaged file into an error of ours."""
    try:
        yield
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError(f"{name}: {error} Reduce it, or cut it into parts.") from error
    except (PIL.UnidentifiedImageError, UnreadableImageError):
        raise
    except PILLOW_ERRORS as error:
        raise UnreadableImageError(f"{name} is damaged or cut short: {error}; get it again whole") from error


def _rgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    if picture.mode != "LAB":
        return picture.convert("RGB")
    lab, rgb = PIL.ImageCms.createProfile("LAB"), PIL.ImageCms.createProfile("sRGB")
    return PIL.ImageCms.profileToProfile(picture, lab, rgb, outputMode="RGB") or picture


def check_whole(data: bytes, name: str) -> None:
    """Refuse a picture that was cut off: decoders fill up the rest with gray, and its text would silently be missing."""
    cut = (data.startswith(JPEG_SIGNATURE) and JPEG_END not in data[jpeg_scan(data) :]) or (
        data.startswith(PNG_SIGNATURE) and PNG_END not in data
    )
    if cut:
        raise UnreadableImageError(f"{name} is cut short: its end mark is missing; get it again whole")


def check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    """Raise ImageTooLargeError for more pixels than are allowed."""
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"{name} has {width} x {height} pixels, and {max_pixels} is the limit: reduce it, or cut it into parts"
        )


def _check_transparency(picture: PIL.Image.Image, name: str) -> None:
    if picture.has_transparency_data:
        with undamaged(name):
            _warn_of_transparency(np.asarray(picture.convert("RGBA").getchannel("A"), np.uint8), name)


def _warn_of_transparency(alpha: NDArray[np.uint8], name: str) -> None:
    if (alpha < OPAQUE).any():
        logger.warning(
            "%s is partly transparent; it is read as if it were not, as Paddle does: flatten it if text is missing",
            name,
        )
