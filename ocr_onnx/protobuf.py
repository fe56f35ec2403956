"""The fields of a protobuf message, as ONNX files are: https://protobuf.dev/programming-guides/encoding."""

from __future__ import annotations

from collections.abc import Iterator

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5
"""How protobuf says what follows."""


def fields(message: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(number, start, end) of each field's contents in the message that stands from `start` to `end`.

    Raises IndexError or ValueError where there is no such message.
    """
    while start < end:
        key, start = _varint(message, start)
        if key & 7 == VARINT:
            _, stop = _varint(message, start)
        elif key & 7 == BYTES:
            size, start = _varint(message, start)
            stop = start + size
        elif key & 7 in {EIGHT_BYTES, FOUR_BYTES}:
            stop = start + (8 if key & 7 == EIGHT_BYTES else 4)
        else:
            raise ValueError("no protobuf message")
        if stop > end:
            raise ValueError("a protobuf message that is cut short")
        yield key >> 3, start, stop
        start = stop


def field(number: int, contents: bytes) -> bytes:
    """A field of bytes, to be put after a message's others."""
    return _as_varint(number << 3 | BYTES) + _as_varint(len(contents)) + contents


def _as_varint(number: int) -> bytes:
    """A number in protobuf's form."""
    groups = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def _varint(message: bytes, start: int) -> tuple[int, int]:
    """A number in protobuf's form, and where the next thing starts."""
    number = shift = 0
    while message[start] > 0x7F:
        number |= (message[start] & 0x7F) << shift
        start, shift = start + 1, shift + 7
    return number | message[start] << shift, start + 1
