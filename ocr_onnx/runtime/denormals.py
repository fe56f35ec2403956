"""Sets weights that are close to zero to zero: on denormal numbers a CPU is slow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ocr_onnx.models.protobuf import fields

SMALLEST_WEIGHT = 1e-30
"""Weights with a smaller absolute value do not change a float32 sum of relevant size.

Float32 numbers below 1.2e-38 are denormal: an operation with a denormal operand or result takes about a hundred cycles instead
of one. A third of the weights of PP-OCRv5_mobile_det's widest convolution are below SMALLEST_WEIGHT, so it ran at a fortieth of
its speed.
"""

GRAPH = 7
NODE, INITIALIZER = 1, 5
ATTRIBUTE, OPERATOR = 5, 4
TENSOR = 5
DIMS, DATA_TYPE, RAW_DATA = 1, 2, 9
"""Field numbers in ONNX's ModelProto, GraphProto, NodeProto, AttributeProto and TensorProto."""

CONSTANT = b"Constant"
"""The operator that contains the weights in paddle2onnx's exports."""

FLOAT = 1
"""TensorProto's code for float32."""


def without_denormals(model: bytes) -> bytes:
    """Return an ONNX file's contents with weights below SMALLEST_WEIGHT set to 0; other contents are returned unchanged."""
    try:
        spans = list(_weights(model))
    except (IndexError, ValueError):
        return model
    changed = None
    for start, end in spans:
        weights = np.frombuffer(model, np.float32, (end - start) // 4, start)
        small = (weights < SMALLEST_WEIGHT) & (weights > -SMALLEST_WEIGHT)
        if weights[small].any():
            changed = np.frombuffer(model, np.uint8).copy() if changed is None else changed
            changed[start:end].view(np.float32)[small] = 0
    return model if changed is None else changed.tobytes()


def _weights(model: bytes) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the values of each float32 constant with two or more axes; with fewer axes it is a bias or limit."""
    for kind, start, end in fields(model, 0, len(model)):
        if kind == GRAPH:
            for member, first, last in fields(model, start, end):
                if member == INITIALIZER:
                    yield from _numbers(model, first, last)
                elif member == NODE:
                    yield from _constant(model, first, last)


def _constant(model: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the values of a NodeProto, if it is a constant with weights."""
    members = list(fields(model, start, end))
    if any(field == OPERATOR and model[first:last] == CONSTANT for field, first, last in members):
        for field, first, last in members:
            if field == ATTRIBUTE:
                for part, begin, stop in fields(model, first, last):
                    if part == TENSOR:
                        yield from _numbers(model, begin, stop)


def _numbers(model: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the values of a TensorProto, if it contains weights."""
    axes, kind, span = 0, 0, (0, 0)
    for field, first, last in fields(model, start, end):
        if field == DIMS:
            # One varint, or all of them packed into one field; the last byte of each has its high bit clear.
            axes += sum(byte < 0x80 for byte in model[first:last])
        elif field == DATA_TYPE:
            kind = model[first]
        elif field == RAW_DATA:
            span = first, last
    if kind == FLOAT and axes > 1 and span[1] > span[0]:
        yield span
