"""Mask the padding of images inside the graph, so that padding an image does not change its result. For GPUs.

Pattern: a detector or a recognizer whose nodes are all known here; UnsupportedNodeError, and no replacement, otherwise.

Replacement: the whole graph. It computes a mask of each image's valid region from the value PADDING_MARK, which no pixel has. A Conv or a
MaxPool whose kernel reaches beyond its pixel reads its input times the mask; a mean over positions is divided by the valid share;
attention adds FAR to the logits of padding; a recognizer's steps in the padding get the index PADDING_CLASS.

Why equal: masked pixels are 0, as is the padding of the nodes themselves. Results equal those of the image alone, to rounding.

Gain: a GPU needs few input shapes, so images are padded to a few sizes, and lines of any width share a batch. Measured by:
make bench-batches (runs a page), make bench-gpu.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from ocr_onnx.converters.graph import Graph, attribute, ints
from ocr_onnx.converters.replacements import Replacement, is_open, renamed
from ocr_onnx.models.metadata import HEIGHT, WIDTH
from ocr_onnx.runtime.batching import PADDING_CLASS, PADDING_MARK

PREFIX = "bounds/"
"""Prefix of the tensors that this pass adds."""

SHARES = ("/share", "/inverse")
"""Suffixes of the tensors that hold the valid share of a map: they stay in float32."""

OPSET = 11
"""The first opset with axes counted from the end, and with the bounds of Slice as inputs."""

FAR = -1e4
"""Added to the attention logits of padding: its exponential is 0, and half precision can represent it."""

CHANNEL = 1

NOTHING: Mapping[str, str] = MappingProxyType({})

Stride = tuple[int, ...]
"""Pixels of the image, down and across, for each position of a map."""


class UnsupportedNodeError(Exception):
    """The pass has no rule for a node."""


def mask_valid_region(model: onnx.ModelProto, axes: Sequence[int]) -> Replacement | None:
    """Return the replacement of the whole graph, which masks along these axes; None if a node is not supported."""
    if not is_open(model, OPSET, PREFIX):
        return None
    bounding = _Masking(Graph(model), axes)
    try:
        for node in model.graph.node:
            bounding.add(node)
        bounding.mark_steps()
    except UnsupportedNodeError:
        return None
    return Replacement(0, len(model.graph.node), bounding.nodes, bounding.constants)


class _Masking:
    """The masked graph, built node by node."""

    def __init__(self, graph: Graph, axes: Sequence[int]) -> None:
        self.graph, self.axes = graph, tuple(axes)
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, NDArray[np.generic]] = {}
        (source,) = (value.name for value in graph.proto.graph.input if value.name not in graph.constants)
        whole = (1,) * len(self.axes)
        self.strides: dict[str, Stride | None] = {source: whole}
        """The stride of each tensor that has positions; None if unknown."""
        self.masks: dict[Stride, str] = {}
        """The mask for each stride: 1 in the valid region, 0 in the padding, (batch, 1, height or 1, width)."""
        self.made: set[str] = set()
        self._mark(source, whole)

    def add(self, node: NodeProto) -> None:
        """Add the masked form of a node."""
        found = [self.strides[name] for name in node.input if name in self.strides]
        if not found or node.op_type == "Shape":
            self._copy(node)
            return
        stride = found[0] if len(set(found)) == 1 else None
        source, result = node.input[0], node.output[0]
        if node.op_type == "Conv":
            stride = self._convolve(node, stride)
        elif node.op_type in {"AveragePool", "MaxPool"}:
            stride = self._pool(node, stride)
        elif node.op_type == "GlobalAveragePool" or self._is_mean(node):
            self._copy(node, {source: self._within(source), result: f"{PREFIX}{result}/part"})
            self._node("Mul", [f"{PREFIX}{result}/part", self._inverse(stride)], result)
            return
        elif node.op_type == "Softmax" and self._is_attention(node):
            self._node("Add", [source, self._bias(stride)], f"{PREFIX}{source}/near")
            self._copy(node, {source: f"{PREFIX}{source}/near"})
        else:
            if node.op_type in {"Resize", "ConvTranspose", "DepthToSpace"}:
                stride = self._enlarged(stride, self._scales(node))
            elif node.op_type == "Reshape":
                stride = self._reshaped(node, stride)
            self._copy(node)
        self.strides.update(dict.fromkeys(node.output, stride))

    def mark_steps(self) -> None:
        """Set steps in the padding to PADDING_CLASS in a recognizer's first output."""
        if HEIGHT in self.axes:
            return
        first = self.graph.proto.graph.output[0]
        if len(self.graph.outputs) != 2 or first.type.tensor_type.elem_type != TensorProto.INT64:
            raise UnsupportedNodeError
        mask = self._mask(self.strides[first.name])
        self.nodes[:] = renamed(self.nodes, {first.name: f"{PREFIX}{first.name}"})
        shape = self._constant("steps/shape", np.array([0, -1]))
        self._node("Reshape", [mask, shape], f"{PREFIX}steps/mask")
        self._node("Cast", [f"{PREFIX}steps/mask"], f"{PREFIX}steps/within", to=TensorProto.BOOL)
        none = self._constant("steps/none", np.array(PADDING_CLASS, np.int64))
        self._node("Where", [f"{PREFIX}steps/within", f"{PREFIX}{first.name}", none], first.name)

    def _mark(self, source: str, whole: Stride) -> None:
        """Compute the mask of the input, from one channel, and from one row of it if only the width is padded."""
        others = [axis for axis in (CHANNEL, HEIGHT) if axis not in self.axes]
        starts, ends, axes = (
            self._constant(f"source/{name}", np.array(value))
            for name, value in (("starts", [0] * len(others)), ("ends", [1] * len(others)), ("axes", others))
        )
        self._node("Slice", [source, starts, ends, axes], f"{PREFIX}source/channel")
        limit = self._constant("source/limit", np.array(PADDING_MARK / 2, np.float32))
        self._node("Less", [f"{PREFIX}source/channel", limit], f"{PREFIX}source/within")
        self.masks[whole] = f"{PREFIX}source/mask"
        self._node("Cast", [f"{PREFIX}source/within"], self.masks[whole], to=TensorProto.FLOAT)

    def _mask(self, stride: Stride | None) -> str:
        if stride is None or stride not in self.masks:
            raise UnsupportedNodeError
        return self.masks[stride]

    def _within(self, name: str) -> str:
        """Return the name of a tensor times its mask."""
        masked = f"{PREFIX}{name}/within"
        if masked not in self.made:
            self._node("Mul", [name, self._mask(self.strides.get(name))], masked)
        return masked

    def _inverse(self, stride: Stride | None) -> str:
        """Return the name of 1 / the valid share of a map."""
        mask = self._mask(stride)
        if f"{mask}/inverse" not in self.made:
            self._node("GlobalAveragePool", [mask], f"{mask}/share")
            self._node("Reciprocal", [f"{mask}/share"], f"{mask}/inverse")
        return f"{mask}/inverse"

    def _bias(self, stride: Stride | None) -> str:
        """Return the name of a mask's bias: 0 in the valid region, FAR in the padding."""
        mask = self._mask(stride)
        if f"{mask}/bias" not in self.made:
            one, far = (
                self._constant(name, np.array(value, np.float32)) for name, value in (("one", 1), ("far", -FAR))
            )
            self._node("Sub", [mask, one], f"{mask}/beyond")
            self._node("Mul", [f"{mask}/beyond", far], f"{mask}/bias")
        return f"{mask}/bias"

    def _convolve(self, node: NodeProto, stride: Stride | None) -> Stride | None:
        """Add a Conv whose padding equals its kernel's reach, so that its map ends with the image; return its stride."""
        weights = self.graph.constants.get(node.input[1])
        if weights is None or weights.ndim != 4:
            raise UnsupportedNodeError
        kernel, pads = self._of(weights.shape[2:]), ints(node, "pads", [0] * 4)
        dilations, steps = (self._of(ints(node, name, [1, 1])) for name in ("dilations", "strides"))
        added = self._of([pads[0] + pads[2], pads[1] + pads[3]])
        reach = tuple((size - 1) * apart for size, apart in zip(kernel, dilations, strict=True))
        if added != reach and not self._keeps_size(node, steps):
            raise UnsupportedNodeError
        self._copy(node, {} if set(kernel) == {1} else {node.input[0]: self._within(node.input[0])})
        return self._reduced(stride, steps, [0] * len(steps))

    def _pool(self, node: NodeProto, stride: Stride | None) -> Stride | None:
        """Add a pooling node without overlap, or a centered MaxPool of values that are not negative; return its stride."""
        kernel, steps = (self._of(ints(node, name, [1, 1])) for name in ("kernel_shape", "strides"))
        before, pads = self.graph.producer(node.input[0]), ints(node, "pads", [0] * 4)
        # As with Conv, the middle of each window is a pixel of the image.
        centered = pads[:2] == pads[2:] and all(k - 1 == 2 * p for k, p in zip(kernel, self._of(pads), strict=True))
        if (
            node.op_type == "MaxPool"
            and (self._keeps_size(node, steps) or (centered and not attribute(node, "ceil_mode", 0)))
            and before is not None
            and before.op_type == "Relu"
        ):
            self._copy(node, {node.input[0]: self._within(node.input[0])})
            return self._reduced(stride, steps, [0] * len(steps))
        if (
            attribute(node, "auto_pad", b"NOTSET") != b"NOTSET"
            or kernel != steps
            or any(ints(node, "pads", [0] * 4))
            or attribute(node, "ceil_mode", 0)
        ):
            raise UnsupportedNodeError
        self._copy(node)
        return self._reduced(stride, steps, [step - 1 for step in steps])

    def _keeps_size(self, node: NodeProto, steps: Stride) -> bool:
        """Return whether a node's automatic padding keeps the size of the map."""
        return attribute(node, "auto_pad", b"NOTSET") in {b"SAME_UPPER", b"SAME_LOWER"} and set(steps) == {1}

    def _reduced(self, stride: Stride | None, steps: Stride, starts: Sequence[int]) -> Stride | None:
        """Return the stride of a smaller map, and add its mask."""
        if stride is None or set(steps) == {1}:
            return stride
        smaller = tuple(a * b for a, b in zip(stride, steps, strict=True))
        if smaller not in self.masks:
            name = "x".join(map(str, smaller))
            values = {"starts": starts, "ends": [2**40] * len(steps), "axes": self.axes, "steps": steps}
            inputs = [self._constant(f"{name}/{key}", np.array(value)) for key, value in values.items()]
            self._node("Slice", [self._mask(stride), *inputs], f"{PREFIX}{name}/mask")
            self.masks[smaller] = f"{PREFIX}{name}/mask"
        return smaller

    def _enlarged(self, stride: Stride | None, scales: Sequence[float] | NDArray[np.generic] | None) -> Stride | None:
        """Return the stride of a larger map; None if unknown."""
        if stride is None or scales is None or len(scales) != 4:
            return None
        parts = [(each, float(scales[axis])) for each, axis in zip(stride, self.axes, strict=True)]
        return tuple(int(each / scale) for each, scale in parts) if all(e % s == 0 for e, s in parts) else None

    def _reshaped(self, node: NodeProto, stride: Stride | None) -> Stride | None:
        """Return the stride of the tensor whose Shape a Reshape copies; without one, the stride is unchanged."""
        shape = self.graph.producer(node.input[1])
        if shape is None or shape.op_type != "Shape":
            return stride
        return self.strides.get(shape.input[0], stride)

    def _scales(self, node: NodeProto) -> Sequence[float] | NDArray[np.generic] | None:
        """Return the factor by which a node enlarges each axis; None if unknown."""
        if node.op_type == "Resize":
            return self.graph.constants.get(node.input[2]) if len(node.input) > 2 else None
        if node.op_type == "DepthToSpace":
            return [1, 1, *[next(each.i for each in node.attribute if each.name == "blocksize")] * 2]
        kernel, steps = (ints(node, name, [1, 1]) for name in ("kernel_shape", "strides"))
        if kernel != steps or any(ints(node, "pads", [0] * 4)):
            raise UnsupportedNodeError
        return [1, 1, *steps]

    def _is_mean(self, node: NodeProto) -> bool:
        """Return whether a node is a mean over all positions of a map."""
        axes = sorted(axis % 4 for axis in ints(node, "axes", []))
        if node.op_type != "ReduceMean" or axes != [HEIGHT, WIDTH]:
            return False
        if not attribute(node, "keepdims", 1):
            raise UnsupportedNodeError
        return True

    def _is_attention(self, node: NodeProto) -> bool:
        """Return whether a Softmax is over positions: its input is the product of two tensors with positions."""
        product = self.graph.producer(node.input[0])
        return product is not None and product.op_type == "MatMul" and all(n in self.strides for n in product.input)

    def _of(self, sides: Sequence[int]) -> Stride:
        """Select from (down, across) the values along the masked axes."""
        return tuple(sides[axis - HEIGHT] for axis in self.axes)

    def _copy(self, node: NodeProto, names: Mapping[str, str] = NOTHING) -> None:
        """Add a copy of a node, with tensors renamed."""
        self.nodes.extend(renamed([node], names))

    def _node(self, kind: str, inputs: Sequence[str], output: str, **attributes: int) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        self.made.add(output)

    def _constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants[f"{PREFIX}{name}"] = value
        return f"{PREFIX}{name}"
