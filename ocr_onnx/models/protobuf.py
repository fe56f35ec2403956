"""The fields of a protobuf message, as ONNX files are: https://protobuf.dev/programming-guides/encoding."""

from __future__ import annotations

from collections.abc import Iterator

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5
"""How protobuf says what follows."""

MAX_SHIFT = 63
"""The bit of a number above which nothing may stand: the first of a group of seven."""


def fields(message: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(number, start, end) of each field's contents in the message that stands from `start` to `end`.

    Raises IndexError or ValueError where there is no such message.
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
            raise ValueError("no protobuf message")
        if stop > end:
            raise ValueError("a protobuf message that is cut short")
        yield key >> 3, start, stop
        start = stop


def field(number: int, contents: bytes) -> bytes:
    """A field of bytes: a message may be continued by appending it."""
    return start_of_field(number, len(contents)) + contents


def start_of_field(number: int, size: int) -> bytes:
    """What stands before the contents of a field of bytes."""
    return varint(number << 3 | BYTES) + varint(size)


def varint(number: int) -> bytes:
    """A number in protobuf's form: seven bits a byte, the lowest first."""
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


def read_varint(message: bytes, start: int) -> tuple[int, int]:
    """A number in that form, and where the next thing starts."""
    number = shift = 0
    while message[start] > 0x7F:
        number |= (message[start] & 0x7F) << shift
        start, shift = start + 1, shift + 7
        if shift > MAX_SHIFT:
            raise ValueError("a number without end")
    return number | message[start] << shift, start + 1
