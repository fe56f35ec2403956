"""What of a model's file ONNX Runtime is given on a device."""

from __future__ import annotations

from ocr_onnx.denormals import GRAPH, without_denormals
from ocr_onnx.protobuf import fields

PRODUCER = "ocr-onnx"
"""The producer's name in the files that our converter makes."""

PRODUCER_NAME = 2
"""A field's number in ONNX's ModelProto."""

PARTS = 3
"""The graph may stand in parts, which protobuf reads as one: what every device computes, how a CPU ends it, and how any
other device does (ocr_onnx.converters.blanks). Read whole, it has the outputs of both."""


def for_loading(model: bytes, *, on_cpu: bool = True) -> bytes:
    """A model's contents for a device: of a graph in parts the right ones, of others no weights that are almost nothing."""
    try:
        if not _is_ours(model):
            return without_denormals(model)
        start, stop = _for_cpu(model)
    except (IndexError, ValueError):
        return model
    if start == stop:
        return model
    return model[:stop] if on_cpu else model[:start] + model[stop:]


def _is_ours(model: bytes) -> bool:
    """Whether our converter made a file, which then has no such weights."""
    names = (model[start:end] for field, start, end in fields(model, 0, len(model)) if field == PRODUCER_NAME)
    return next(names, b"") == PRODUCER.encode()


def _for_cpu(model: bytes) -> tuple[int, int]:
    """Where the part of the graph that is for a CPU alone starts and ends; what comes after it is for other devices."""
    spans, before = [], 0
    for field, _, end in fields(model, 0, len(model)):
        if field == GRAPH:
            spans.append((before, end))
        before = end
    return spans[1] if len(spans) == PARTS else (0, 0)
