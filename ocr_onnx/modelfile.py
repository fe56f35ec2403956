"""What of a model's file ONNX Runtime is given on a device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

from ocr_onnx.denormals import GRAPH, NODE, without_denormals
from ocr_onnx.protobuf import field, fields, read_varint, start_of_field, varint

PRODUCER = "ocr-onnx"
"""The producer's name in the files that our converter makes."""

PRODUCER_NAME = 2
"""A field's number in ONNX's ModelProto."""

FOR_CPU = 99
"""A number that ModelProto has no field of, so that other programs pass over it; some refuse a file with one above 100.

Fields of this number stand before all others: nodes that a CPU is given in place of some of the graph's. A program that writes the
file anew leaves them out or puts them at its end, where they count for nothing, as it may have changed the graph.
"""


class Replaced(NamedTuple):
    """What such a field holds."""

    first: int
    after: int
    """It stands for the graph's nodes from the one with the number `first` to before `after`."""
    start: int
    end: int
    """Where its own stand in the file: a ModelProto with nothing but nodes and constants."""


def for_cpu(first: int, after: int, part: bytes) -> bytes:
    """What stands before a model's file to put `part`, a ModelProto, in the place of nodes on a CPU; the first of them first."""
    return field(FOR_CPU, varint(first) + varint(after) + part)


def for_loading(model: bytes, *, on_cpu: bool = True) -> bytes:
    """A model's contents for a device: of ours with its own nodes, of others without weights that are almost nothing."""
    try:
        found = list(fields(model, 0, len(model)))
        names = (model[start:end] for number, start, end in found if number == PRODUCER_NAME)
        if next(names, b"") != PRODUCER.encode():
            return without_denormals(model)
        replaced = [_read(model, start, end) for _, start, end in takewhile(lambda each: each[0] == FOR_CPU, found)]
        if not replaced:
            return model
        plain = replaced[-1].end
        return b"".join(_for_cpu(model, plain, replaced)) if on_cpu else model[plain:]
    except (IndexError, ValueError):
        return model


def _read(model: bytes, start: int, end: int) -> Replaced:
    first, start = read_varint(model, start)
    after, start = read_varint(model, start)
    return Replaced(first, after, start, end)


def _for_cpu(model: bytes, plain: int, replaced: Sequence[Replaced]) -> Iterator[bytes | memoryview]:
    """The pieces of a model with some nodes replaced: its graph stands in parts, which ONNX Runtime reads as one."""
    view = memoryview(model)
    before = plain
    for number, start, end in fields(model, plain, len(model)):
        if number == GRAPH:
            yield view[plain:before]
            plain = end
            for first, last, part in _parts(model, start, end, replaced):
                yield start_of_field(GRAPH, last - first)
                yield view[first:last]
                yield part
        before = end
    yield view[plain:]


def _parts(
    model: bytes, start: int, end: int, replaced: Sequence[Replaced]
) -> Iterator[tuple[int, int, memoryview | bytes]]:
    """(start, end, what comes after it) of what is left of the graph that stands from `start` to `end`."""
    view, waiting = memoryview(model), iter(replaced)
    each = next(waiting, None)
    before, nodes = start, 0
    for number, _, stop in fields(model, start, end):
        if number == NODE:
            if each is not None and nodes == each.first:
                yield start, before, view[each.start : each.end]
            nodes += 1
            if each is not None and nodes == each.after:
                start, each = stop, next(waiting, None)
        before = stop
    yield start, end, b""
