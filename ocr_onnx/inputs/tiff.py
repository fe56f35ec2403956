"""Decode the pages of a TIFF one by one, so that a damaged page costs no other page.

Pillow's own `seek` cannot pass a page that it cannot open, and a file whose first page is such a page does not open at all. So the
offset of each page's directory is read here, and Pillow opens the file anew for each page, with that offset in the header.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import PIL.Image

from ocr_onnx.errors import InputError, UnreadableImageError
from ocr_onnx.inputs.decoder_errors import decode_pages, decoder_errors
from ocr_onnx.inputs.images import check_size, decode_with_pillow, orientation_of, square_pixels
from ocr_onnx.inputs.page_warnings import decode_page
from ocr_onnx.options import InputOptions
from ocr_onnx.types import Page

SIGNATURES = (b"II*\0", b"MM\0*", b"MM*\0", b"II\0*", b"MM\0+", b"II+\0")
"""As Pillow accepts them; `+` marks a BigTIFF."""

NEW_SUBFILE_TYPE, OLD_SUBFILE_TYPE = 254, 255
NO_PAGE = 0b101
"""Bits of the new subfile type: a copy of another page in reduced resolution, a transparency mask."""
OLD_REDUCED = 2


MAX_PAGES = 2**16
"""A small file can claim to have millions."""


class Layout(NamedTuple):
    """The formats of `struct` in a TIFF's header and directories."""

    pointer_at: int
    """Offset of the first directory's offset."""
    entry_count: str
    entry: str
    """Tag, type, count and value of a directory's entry."""
    pointer: str


CLASSIC = Layout(4, "H", "HHI4s", "I")
BIG = Layout(8, "Q", "HHQ8s", "Q")


def read_pages(data: bytes, path: str | None, name: str, options: InputOptions) -> Iterator[Page | InputError]:
    """Yield each page of a TIFF, or its error, without copies in reduced resolution and masks.

    Raises UnreadableImageError if it has no page.
    """
    found = _directories(data)
    if len(found) > MAX_PAGES:
        raise UnreadableImageError(f"{name} has more than {MAX_PAGES} pages: split it, or download or copy it again")
    directories = [offset for offset, is_page in found if is_page] or [offset for offset, _ in found]
    if len(directories) <= 1:
        offset = directories[0] if directories else None
        yield decode_page(partial(_decode, data, offset, name, options), path)
        return

    def decode(index: int, page_name: str) -> Page:
        return _decode(data, directories[index], page_name, options)

    yield from decode_pages(decode, range(len(directories)), len(directories), path, name)


def _decode(data: bytes, offset: int | None, name: str, options: InputOptions) -> Page:
    """Decode the page whose directory is at `offset`; the first of the file if that is None."""
    stream = io.BytesIO(data)
    if offset is not None:
        order, layout = _layout(data)
        pointer = struct.pack(order + layout.pointer, offset)
        if data[layout.pointer_at : layout.pointer_at + len(pointer)] != pointer:
            stream.seek(layout.pointer_at)
            stream.write(pointer)
            stream.seek(0)
    with decoder_errors(name), _open(stream, name) as picture:
        check_size(*picture.size, name, options.max_pixels)
        orientation = orientation_of(picture)
        image = decode_with_pillow(picture, name, options.transparency)
        return square_pixels(image, picture, options.max_pixels, orientation)


def _open(stream: io.BytesIO, name: str) -> PIL.Image.Image:
    try:
        return PIL.Image.open(stream, formats=("TIFF",))
    except PIL.UnidentifiedImageError as error:
        raise UnreadableImageError(
            f"{name} cannot be decoded: its compression or pixel format is not supported, or its header is damaged; save it again "
            "in another format"
        ) from error


def _layout(data: bytes) -> tuple[str, Layout]:
    """Return the byte order for `struct`, and the layout of the file."""
    return ("<" if data.startswith(b"I") else ">"), (BIG if b"+" in data[2:4] else CLASSIC)


def _directories(data: bytes) -> list[tuple[int, bool]]:
    """Return the offset of each directory of the file, and whether it describes a page.

    The last offset is outside the file if the file is truncated; none if not even the first can be read.
    """
    order, layout = _layout(data)
    found: dict[int, bool] = {}
    try:
        (offset,) = struct.unpack_from(order + layout.pointer, data, layout.pointer_at)
        while offset and offset not in found and len(found) <= MAX_PAGES:
            found[offset] = True
            (count,) = struct.unpack_from(order + layout.entry_count, data, offset)
            entries = offset + struct.calcsize(order + layout.entry_count)
            found[offset] = not count or _is_page(data, entries, order, layout)
            (offset,) = struct.unpack_from(
                order + layout.pointer, data, entries + count * struct.calcsize(order + layout.entry)
            )
    except (struct.error, OverflowError):
        pass
    return list(found.items())


def _is_page(data: bytes, at: int, order: str, layout: Layout) -> bool:
    """Return whether a directory is a page: its kind is in its first entry, because entries are sorted by their tags."""
    tag, _, _, value = struct.unpack_from(order + layout.entry, data, at)
    if tag == NEW_SUBFILE_TYPE:
        (bits,) = struct.unpack_from(order + "I", value)
        return not int(bits) & NO_PAGE
    return tag != OLD_SUBFILE_TYPE or struct.unpack_from(order + "H", value) != (OLD_REDUCED,)
