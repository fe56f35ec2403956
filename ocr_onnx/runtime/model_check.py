"""Checks a model file before ONNX Runtime or the onnx package reads it: a file can come from a stranger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from ocr_onnx.errors import ModelError, shortened
from ocr_onnx.models import zoo
from ocr_onnx.models.metadata import ModelMetadata, properties
from ocr_onnx.models.protobuf import fields, read_varint
from ocr_onnx.models.store import MAX_BYTES, refuse_lfs_pointer
from ocr_onnx.runtime.model_file import CPU_FIELD, GPU_FIELD

MAX_NODES = 20_000
"""The maximum number of operators, subgraphs included. PP-OCRv6_small_rec has 766 with its
replacements."""

MAX_FIELDS = 1_000_000
"""The maximum number of fields of all messages. PP-OCRv6_small_det has 9,557."""

MAX_DEPTH = 16
"""The maximum depth of messages within each other. A tensor of a node has 4; each subgraph within another one adds 3."""

MAX_ELEMENTS = MAX_BYTES
"""The maximum number of elements of a constant: it is part of the file, so it cannot be larger than the file."""

DOMAINS = frozenset({b"", b"ai.onnx"})
"""The operators of the ONNX standard. Other domains have operators that load a program, such as EPContext of com.microsoft."""

Message: TypeAlias = Literal["model", "part", "graph", "node", "attribute", "sparse tensor", "tensor"]

MESSAGES: Mapping[Message, Mapping[int, Message]] = {
    "model": {7: "graph", CPU_FIELD: "part", GPU_FIELD: "part"},
    "part": {7: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""The field numbers of ONNX's messages within each message. A part is a ModelProto after two numbers (runtime.model_file)."""

FUNCTIONS = 25
OPERATOR, DOMAIN = 4, 7
DIMS, EXTERNAL_DATA, DATA_LOCATION = 1, 13, 14
"""Field numbers in ModelProto, NodeProto and TensorProto."""


class _Span(NamedTuple):
    """The position of a message in a file."""

    message: Message
    start: int
    end: int
    depth: int


def read_model(path: Path) -> bytes:
    """Return the content of an ONNX file of at most MAX_BYTES; the content of a file outside of this package is checked.

    Raises ModelError if the file cannot be read, is not an ONNX file, refers to another file, or has operators of another
    domain than ONNX's, functions, or more nodes, levels or elements than the limits.
    """
    try:
        refuse_lfs_pointer(path)
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ModelError(f"{path} has {size} bytes, more than {MAX_BYTES}: it is not a model for text recognition")
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read: {error.strerror or error}; check the file and its permissions"
        ) from error
    if not path.resolve().is_relative_to(zoo.PACKAGE):
        check_model(content, path)
    return content


def read_metadata(path: Path) -> ModelMetadata:
    """Read the record of an ONNX file without loading the model. Raises ModelError as `read_model`, or if there is no record."""
    content = read_model(path)
    try:
        found = properties(content)
    except (IndexError, ValueError) as error:
        raise ModelError(f"{path} is not an ONNX file: download or convert it again") from error
    return ModelMetadata.from_properties(found, str(path))


def check_model(content: bytes, path: Path) -> None:
    """Check the content of an ONNX file; `path` names it in errors. Raises ModelError as read_model does."""
    try:
        problem = next(_problems(content), None)
    except (IndexError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be loaded: it is not an ONNX file, or it is truncated; download or convert it again"
        ) from error
    if problem is not None:
        raise ModelError(f"{path} is refused: {problem}")


def _problems(content: bytes) -> Iterator[str]:
    """Yield the reasons why a file must not be loaded, each with the remedy."""
    spans = [_Span("model", 0, len(content), 0)]
    nodes, left = 0, MAX_FIELDS
    while spans:
        span = spans.pop()
        nodes += span.message == "node"
        if nodes > MAX_NODES:
            yield f"it has more than {MAX_NODES} operators; export a smaller model"
        if span.depth > MAX_DEPTH:
            yield "its graphs are nested too deeply; export the model without nested subgraphs"
        members = list(islice(fields(content, _start(content, span), span.end), left + 1))
        left -= len(members)
        if left < 0:
            yield f"it has more than {MAX_FIELDS} fields; export a smaller model"
        yield from _problems_of(content, span.message, members)
        within = MESSAGES[span.message]
        spans += [_Span(within[n], start, end, span.depth + 1) for n, start, end in members if n in within]


def _start(content: bytes, span: _Span) -> int:
    """Return the position of a message's fields."""
    if span.message != "part":
        return span.start
    _, start = read_varint(content, span.start)
    return read_varint(content, start)[1]


def _problems_of(content: bytes, message: Message, members: list[tuple[int, int, int]]) -> Iterator[str]:
    """Yield the problems of one message, without those of the messages within it."""
    if message == "model" and any(number == FUNCTIONS for number, _, _ in members):
        yield "it defines functions, whose expansion has no limit; export the model with its functions inlined"
    if message == "node":
        domains = [content[start:end] for number, start, end in members if number == DOMAIN]
        if foreign := [domain for domain in domains if domain not in DOMAINS]:
            operators = [content[start:end] for number, start, end in members if number == OPERATOR]
            name = b".".join([foreign[0], *operators[:1]]).decode(errors="replace")
            yield f"it contains the operator {shortened(name)}; export it with operators of the ONNX standard only"
    if message == "tensor":
        numbers = {number for number, start, _ in members if number != DATA_LOCATION or content[start] != 0}
        if numbers & {EXTERNAL_DATA, DATA_LOCATION}:
            yield "its weights are in another file; save the model with its weights in one file (onnx.save without external data)"
        if _is_too_large(content, members):
            yield f"it has a constant of more than {MAX_ELEMENTS} elements; export the model again"


def _is_too_large(content: bytes, members: list[tuple[int, int, int]]) -> bool:
    """Return whether a tensor has more than MAX_ELEMENTS. Each field has one dimension, or all of them."""
    elements = 1
    for number, start, end in members:
        at = start
        while number == DIMS and at < end and elements <= MAX_ELEMENTS:
            size, at = read_varint(content, at)
            elements *= size
    return elements > MAX_ELEMENTS
