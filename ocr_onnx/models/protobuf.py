"""Reader and writer of protobuf fields, the format of ONNX files: https://protobuf.dev/programming-guides/encoding."""

from __future__ import annotations

from collections.abc import Iterator

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5
"""Protobuf's wire types: the encoding of a field's contents."""

MAX_SHIFT = 63
"""The largest shift of a group of seven bits in a varint of 64 bits."""


def fields(message: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (number, start, end) of the contents of each field in the message from `start` to `end`.

    Raises IndexError or ValueError if this is not a valid message.
    """
    while start < end:
        key, start = read_varint(message, start)
        if key & 7 == VARINT:
            _, stop = read_varint(message, start)
        elif key & 7 == BYTES:
            size, start = read_varint(message, start)
            stop = start + size
        elif key & 7 in {EIGHT_BYTES, FOUR_BYTES}:
            stop = start + (8 if key & 7 == EIGHT_BYTES else 4)
        else:
            raise ValueError("not a protobuf message")
        if stop > end:
            raise ValueError("a truncated protobuf message")
        yield key >> 3, start, stop
        start = stop


def field(number: int, contents: bytes) -> bytes:
    """Return a field of bytes. Appending it to a message adds the field to the message."""
    return start_of_field(number, len(contents)) + contents


def start_of_field(number: int, size: int) -> bytes:
    """Return the bytes before the contents of a field of bytes: its key and size."""
    return varint(number << 3 | BYTES) + varint(size)


def varint(number: int) -> bytes:
    """Encode a number as a varint: seven bits per byte, the lowest first."""
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


def read_varint(message: bytes, start: int) -> tuple[int, int]:
    """Decode a varint; return it and the position after it."""
    number = shift = 0
    while message[start] > 0x7F:
        number |= (message[start] & 0x7F) << shift
        start, shift = start + 1, shift + 7
        if shift > MAX_SHIFT:
            raise ValueError("a varint longer than 64 bits")
    return number | message[start] << shift, start + 1
