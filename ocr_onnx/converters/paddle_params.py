"""Check that a .pdiparams file, Paddle's weights, is complete: paddle2onnx converts a truncated one without an error."""

from __future__ import annotations

import math
import struct
from pathlib import Path

from ocr_onnx.errors import ConversionError
from ocr_onnx.models.protobuf import fields, read_varint

HEADER = struct.Struct("<IQIi")
"""Header of each tensor: version, levels of detail (0 in weights), version, bytes of the TensorDesc message after it."""

SIZES = {0: 1, 1: 2, 2: 4, 3: 8, 4: 2, 5: 4, 6: 8, 20: 1, 21: 1, 22: 2}
"""Bytes of an element, by Paddle's VarType number."""

MAX_TENSORS = 100_000
"""The maximum number of tensors: of more, reading the headers alone takes seconds."""

DATA_TYPE, DIMS = 1, 2
"""Field numbers of TensorDesc, a protobuf message of varints."""


def check_weights(path: Path) -> None:
    """Read the headers of all tensors. Raises ConversionError if the file is empty, ends within a tensor, or has too many."""
    content = path.read_bytes()
    end = tensors = 0
    try:
        while end < len(content) and tensors < MAX_TENSORS:
            end = _end_of_tensor(content, end)
            tensors += 1
    except (struct.error, ValueError, KeyError, IndexError):
        end = 0
    if end != len(content) or end == 0:
        raise ConversionError(f"{path} is damaged or truncated: download it again, or export the model again")


def _end_of_tensor(content: bytes, start: int) -> int:
    """Return the offset after the tensor at `start`."""
    length: int = HEADER.unpack_from(content, start)[-1]
    start += HEADER.size
    described = [
        (number, read_varint(content, begin)[0]) for number, begin, _ in fields(content, start, start + length)
    ]
    (kind,) = (value for number, value in described if number == DATA_TYPE)
    return start + length + SIZES[kind] * math.prod(value for number, value in described if number == DIMS)
