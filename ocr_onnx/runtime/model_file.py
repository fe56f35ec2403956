"""Selects the graph that ONNX Runtime gets on a device: a model file may contain replacement nodes for CPUs and GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

from ocr_onnx.models.protobuf import field, fields, read_varint, start_of_field, varint
from ocr_onnx.runtime.denormals import GRAPH, NODE, without_denormals

PRODUCER = "ocr-onnx"
"""The producer's name in files from our converter."""

PRODUCER_NAME = 2
"""The field number of `producer_name` in ONNX's ModelProto."""

CPU_FIELD = 99
"""The number of fields with replacement nodes for CPUs.

ModelProto has no field of this number, so other programs ignore it; some refuse a file with a number above 100. These fields
are at the start of the file. A program that rewrites the file omits them or moves them to the end, where they are ignored,
because that program may have changed the graph.
"""

GPU_FIELD = 98
"""The number of fields with replacement nodes for GPUs, which mask padding (ocr_onnx.converters.passes.valid_region)."""


class Replacement(NamedTuple):
    """The contents of a replacement field."""

    number: int
    """CPU_FIELD or GPU_FIELD."""
    first: int
    after: int
    """It replaces the graph's nodes from index `first` to before index `after`."""
    start: int
    end: int
    """The position of the new nodes in the file: a ModelProto that contains only nodes and constants."""


def replacement_field(number: int, first: int, after: int, part: bytes) -> bytes:
    """Return the field that replaces nodes by `part`, a ModelProto. Fields precede the model's file, in the order of nodes."""
    return field(number, varint(first) + varint(after) + part)


def model_for_device(model: bytes, *, on_cpu: bool = True, masked: bool = False) -> bytes:
    """Return a model's contents for a device: files of our converter with its replacement nodes, others without denormals.

    `masked` selects the nodes for GPUs, which mask padding, on any device, if the file contains them.
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
    """Whether a file of our converter contains nodes that mask padding."""
    try:
        return any(each.number == GPU_FIELD for each in _replacements(model) or ())
    except (IndexError, ValueError):
        return False


def _replacements(model: bytes) -> list[Replacement] | None:
    """Return the replacement fields of a file of our converter; None for other files."""
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
    """Yield the parts of a model with nodes replaced: the graph is split into several fields, which ONNX Runtime merges."""
    view = memoryview(model)
    before = plain
    found = list(fields(model, plain, len(model)))
    if sum(number == GRAPH for number, _, _ in found) > 1:
        # Each part of the graph would get all replacements, so the file would grow without a limit.
        raise ValueError("the graph of a file of the converter is one field")
    for number, start, end in found:
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
    """Yield (start, end, replacement after it) of the remaining parts of the graph in the file from `start` to `end`."""
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
