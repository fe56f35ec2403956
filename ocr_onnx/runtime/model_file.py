"""What of a model's file ONNX Runtime is given on a device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

from ocr_onnx.models.protobuf import field, fields, read_varint, start_of_field, varint
from ocr_onnx.runtime.denormals import GRAPH, NODE, without_denormals

PRODUCER = "ocr-onnx"
"""The producer's name in the files that our converter makes."""

PRODUCER_NAME = 2
"""A field's number in ONNX's ModelProto."""

CPU_FIELD = 99
"""A number that ModelProto has no field of, so that other programs pass over it; some refuse a file with one above 100.

Fields of this number stand before all others: nodes that a CPU is given in place of some of the graph's. A program that writes the
file anew leaves them out or puts them at its end, where they count for nothing, as it may have changed the graph.
"""

GPU_FIELD = 98
"""The number of such a field for GPUs: nodes that read pictures which end before the tensor does (ocr_onnx.converters.passes.valid_region)."""


class Replacement(NamedTuple):
    """What such a field holds."""

    number: int
    """CPU_FIELD or GPU_FIELD."""
    first: int
    after: int
    """It stands for the graph's nodes from the one with the number `first` to before `after`."""
    start: int
    end: int
    """Where its own stand in the file: a ModelProto with nothing but nodes and constants."""


def replacement_field(number: int, first: int, after: int, part: bytes) -> bytes:
    """What stands before a model's file to put `part`, a ModelProto, in the place of nodes on a CPU or GPU; the first of them first."""
    return field(number, varint(first) + varint(after) + part)


def model_for_device(model: bytes, *, on_cpu: bool = True, masked: bool = False) -> bytes:
    """A model's contents for a device: of ours with its own nodes, of others without weights that are almost nothing.

    `masked`: with the nodes for GPUs, where it has any, whatever the device.
    """
    wanted = GPU_FIELD if masked else CPU_FIELD if on_cpu else None
    try:
        replaced = _replacements(model)
        if replaced is None:
            return without_denormals(model)
        if not replaced:
            return model
        plain = replaced[-1].end
        chosen = [each for each in replaced if each.number == wanted]
        return b"".join(_replaced(model, plain, chosen)) if chosen else model[plain:]
    except (IndexError, ValueError):
        return model


def has_padding_mask(model: bytes) -> bool:
    """Whether a file of ours has nodes for GPUs."""
    try:
        return any(each.number == GPU_FIELD for each in _replacements(model) or ())
    except (IndexError, ValueError):
        return False


def _replacements(model: bytes) -> list[Replacement] | None:
    """What stands before a file of ours; None for those of others."""
    found = list(fields(model, 0, len(model)))
    names = (model[start:end] for number, start, end in found if number == PRODUCER_NAME)
    if next(names, b"") != PRODUCER.encode():
        return None
    return [_read(model, *each) for each in takewhile(lambda each: each[0] in {CPU_FIELD, GPU_FIELD}, found)]


def _read(model: bytes, number: int, start: int, end: int) -> Replacement:
    first, start = read_varint(model, start)
    after, start = read_varint(model, start)
    return Replacement(number, first, after, start, end)


def _replaced(model: bytes, plain: int, replaced: Sequence[Replacement]) -> Iterator[bytes | memoryview]:
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
    model: bytes, start: int, end: int, replaced: Sequence[Replacement]
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
