"""Weights that training let decay to nothing, made nothing: numbers too small for the processor to be fast with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ocr_onnx.models.protobuf import fields

SMALLEST_WEIGHT = 1e-30
"""A weight nearer to 0 than this adds nothing to a sum of float32 of any size that matters.

Below 1.2e-38 float32 is denormal, and an operation on it, or with such a result, takes about a hundred cycles instead of
one. A third of the weights of PP-OCRv5_mobile_det's widest convolution lie below SMALLEST_WEIGHT, so that it ran at a fortieth of
its speed.
"""

GRAPH = 7
NODE, INITIALIZER = 1, 5
ATTRIBUTE, OPERATOR = 5, 4
TENSOR = 5
DIMS, DATA_TYPE, RAW_DATA = 1, 2, 9
"""Numbers of fields in ONNX's ModelProto, GraphProto, NodeProto, AttributeProto and TensorProto."""

CONSTANT = b"Constant"
"""The operator in which exports as paddle2onnx writes them keep their weights."""

FLOAT = 1
"""TensorProto's number for float32."""


def without_denormals(model: bytes) -> bytes:
    """An ONNX file's contents with weights smaller than SMALLEST_WEIGHT as 0; what is no ONNX file is given back as it is."""
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
    """Where the numbers of each float32 constant of two axes or more start and end; fewer axes are biases, bounds."""
    for kind, start, end in fields(model, 0, len(model)):
        if kind == GRAPH:
            for member, first, last in fields(model, start, end):
                if member == INITIALIZER:
                    yield from _numbers(model, first, last)
                elif member == NODE:
                    yield from _constant(model, first, last)


def _constant(model: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the numbers of a NodeProto start and end, if it is a constant of weights."""
    members = list(fields(model, start, end))
    if any(field == OPERATOR and model[first:last] == CONSTANT for field, first, last in members):
        for field, first, last in members:
            if field == ATTRIBUTE:
                for part, begin, stop in fields(model, first, last):
                    if part == TENSOR:
                        yield from _numbers(model, begin, stop)


def _numbers(model: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the numbers of a TensorProto start and end, if it is of weights."""
    axes, kind, span = 0, 0, (0, 0)
    for field, first, last in fields(model, start, end):
        if field == DIMS:
            # One number at a time, or all packed into one field; of the latter a last byte each has its high bit clear.
            axes += sum(byte < 0x80 for byte in model[first:last])
        elif field == DATA_TYPE:
            kind = model[first]
        elif field == RAW_DATA:
            span = first, last
    if kind == FLOAT and axes > 1 and span[1] > span[0]:
        yield span
