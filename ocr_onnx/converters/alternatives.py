"""Nodes that a CPU is given in place of others, and the file that holds both: see ocr_onnx.modelfile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper

from ocr_onnx.denormals import without_denormals
from ocr_onnx.modelfile import for_cpu


@dataclass(frozen=True, slots=True, eq=False)
class Alternative:
    """What computes the same as some of a graph's nodes, by means that pay on a CPU alone."""

    first: int
    after: int
    """It stands for the nodes from `first` to before `after`."""
    nodes: Sequence[NodeProto]
    constants: Mapping[str, NDArray[Any]]


def contents(model: onnx.ModelProto, alternatives: Iterable[Alternative] = ()) -> bytes:
    """A model's file, without weights that are almost nothing; the alternatives may not overlap."""
    head = onnx.ModelProto()
    head.CopyFrom(model)
    del head.graph.node[:]
    nodes, done = model.graph.node, 0
    parts = []
    for each in sorted(alternatives, key=attrgetter("first")):
        if each.first < done:
            raise ValueError(f"two alternatives for node {each.first}")
        parts += [_part(nodes[done : each.first]), _part(nodes[each.first : each.after])]
        parts.append(for_cpu(_part(each.nodes, each.constants)))
        done = each.after
    if not parts:
        head.graph.node.extend(nodes)
    elif done < len(nodes):
        parts.append(_part(nodes[done:]))
    return b"".join([_bytes(head), *parts])


def renamed(nodes: Iterable[NodeProto], names: Mapping[str, str]) -> list[NodeProto]:
    """Copies that read and write other tensors."""
    copies = []
    for node in nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [names.get(name, name) for name in node.input]
        copy.output[:] = [names.get(name, name) for name in node.output]
        copies.append(copy)
    return copies


def _part(nodes: Iterable[NodeProto], constants: Mapping[str, NDArray[Any]] | None = None) -> bytes:
    part = onnx.ModelProto()
    part.graph.node.extend(nodes)
    part.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in (constants or {}).items())
    return _bytes(part)


def _bytes(model: onnx.ModelProto) -> bytes:
    return without_denormals(model.SerializeToString(deterministic=True))
