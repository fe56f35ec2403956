"""Replacements of nodes for CPUs or GPUs, and the model file that holds them: see ocr_onnx.runtime.model_file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto, numpy_helper

from ocr_onnx.runtime.denormals import without_denormals
from ocr_onnx.runtime.model_file import CPU_FIELD, GPU_FIELD, replacement_field


@dataclass(frozen=True, slots=True, eq=False)
class Replacement:
    """Nodes that compute the same as some of a graph's nodes, faster on one kind of device."""

    first: int
    after: int
    """They replace the nodes first, …, after - 1."""
    nodes: Sequence[NodeProto]
    constants: Mapping[str, NDArray[Any]]


def is_open(model: onnx.ModelProto, opset: int, prefix: str) -> bool:
    """Return whether a graph has at least this opset, no subgraphs, and no tensor named with `prefix`."""
    within = any(
        each.type in {AttributeProto.GRAPH, AttributeProto.GRAPHS}
        for node in model.graph.node
        for each in node.attribute
    )
    taken = any(name.startswith(prefix) for node in model.graph.node for name in node.output)
    return model.opset_import[0].version >= opset and not within and not taken


def contents(
    model: onnx.ModelProto, replacements: Iterable[Replacement] = (), for_gpu: Replacement | None = None
) -> bytes:
    """Return a model file's content, with denormal weights set to 0. Raises ValueError if two replacements overlap."""
    parts, done = [], 0
    for each in sorted(replacements, key=attrgetter("first")):
        if not done <= each.first < each.after:
            raise ValueError(f"two replacements for node {each.first}, or one for no node")
        parts.append(_part(CPU_FIELD, each))
        done = each.after
    if for_gpu is not None:
        parts.append(_part(GPU_FIELD, for_gpu))
    return b"".join([*parts, _bytes(model)])


def _part(number: int, replacement: Replacement) -> bytes:
    part = onnx.ModelProto()
    part.graph.node.extend(replacement.nodes)
    constants = replacement.constants.items()
    part.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants)
    return replacement_field(number, replacement.first, replacement.after, _bytes(part))


def renamed(nodes: Iterable[NodeProto], names: Mapping[str, str]) -> list[NodeProto]:
    """Return copies of nodes with tensors renamed."""
    copies = []
    for node in nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [names.get(name, name) for name in node.input]
        copy.output[:] = [names.get(name, name) for name in node.output]
        copies.append(copy)
    return copies


def _bytes(model: onnx.ModelProto) -> bytes:
    return without_denormals(model.SerializeToString(deterministic=True))
