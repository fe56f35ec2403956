"""Paddle's .pdiparams, the weights: is the file whole? paddle2onnx converts half of one without a word."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path

from ocr_onnx.errors import ConversionError

HEADER = struct.Struct("<IQIi")
"""Before each tensor: a version, the levels of a ragged one (none in weights), a version, the length of its description."""

SIZES = {0: 1, 1: 2, 2: 4, 3: 8, 4: 2, 5: 4, 6: 8, 20: 1, 21: 1, 22: 2}
"""Bytes of an element, by Paddle's number of its type."""

TYPE, SIDE = 0x08, 0x10
"""Keys of the description, which is a protobuf message."""


def check_weights(path: Path) -> None:
    """Walk over the tensors; raises ConversionError where the file ends within one."""
    content = memoryview(path.read_bytes())
    end = 0
    try:
        while end < len(content):
            *_, length = HEADER.unpack_from(content, end)
            begin = end + HEADER.size + length
            fields = list(_fields(content[begin - length : begin]))
            (kind,) = (value for key, value in fields if key == TYPE)
            end = begin + SIZES[kind] * math.prod(value for key, value in fields if key == SIDE)
    except (struct.error, ValueError, KeyError, IndexError):
        end = 0
    if end != len(content) or end == 0:
        raise ConversionError(f"{path} is damaged or cut off, it holds no whole weights: fetch or export it anew")


def _fields(message: memoryview) -> Iterator[tuple[int, int]]:
    """(key, value) of a message of whole numbers."""
    numbers: list[int] = []
    number = shift = 0
    for byte in message:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(number)
            number = shift = 0
    return zip(numbers[::2], numbers[1::2], strict=True)
