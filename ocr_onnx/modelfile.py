"""What of a model's file ONNX Runtime is given on a device."""

from __future__ import annotations

from ocr_onnx.denormals import GRAPH, without_denormals
from ocr_onnx.protobuf import field, fields

PRODUCER = "ocr-onnx"
"""The producer's name in the files that our converter makes."""

PRODUCER_NAME = 2
"""A field's number in ONNX's ModelProto."""

FOR_CPU = 4800
"""A number that ModelProto has no field of, so that whatever else reads the file passes over it.

The graph may stand in parts, which protobuf reads as one. After a part, but never the first, may come a field of this
number: another ModelProto, the graph of which a CPU is given in place of that part.
"""


def for_cpu(part: bytes) -> bytes:
    """What follows a part of the graph in a file to put `part`, a serialized ModelProto, in its place on a CPU."""
    return field(FOR_CPU, part)


def for_loading(model: bytes, *, on_cpu: bool = True) -> bytes:
    """A model's contents for a device: of parts the right ones; of others' files no weights that are almost nothing."""
    try:
        spans = _spans(model, on_cpu=on_cpu) if _is_ours(model) else []
    except (IndexError, ValueError):
        return model
    if not spans:
        return without_denormals(model)
    return model if spans == [(0, len(model))] else b"".join(model[start:end] for start, end in spans)


def _is_ours(model: bytes) -> bool:
    """Whether our converter made a file, which then has no such weights."""
    names = (model[start:end] for number, start, end in fields(model, 0, len(model)) if number == PRODUCER_NAME)
    return next(names, b"") == PRODUCER.encode()


def _spans(model: bytes, *, on_cpu: bool) -> list[tuple[int, int]]:
    """Where what a device is given starts and ends, piece by piece.

    That is all of it where there are no parts, or where another program wrote the file anew and left them at its end.
    """
    spans: list[tuple[int, int]] = []
    found = list(fields(model, 0, len(model)))
    graphs = before = last = 0
    for number, start, end in found:
        if number != FOR_CPU:
            spans.append((before, end))
        elif last != GRAPH or graphs == 1:
            return [(0, len(model))]
        elif on_cpu:
            spans[-1] = (start, end)
        graphs += number == GRAPH
        before, last = end, number
    return spans if any(number == FOR_CPU for number, _, _ in found) else [(0, len(model))]
