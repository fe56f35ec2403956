"""Graph rewriting after export: the same function in fewer operators. Each step keeps the outputs, to rounding."""

from __future__ import annotations

import onnx
import onnx.version_converter
import onnxslim

from ocr_onnx.converters.export_options import Form
from ocr_onnx.converters.graph import AXES, Graph
from ocr_onnx.converters.passes.affine_folding import fold_scalars, shifts_in_blocks
from ocr_onnx.converters.passes.argmax_head import best_classes
from ocr_onnx.converters.passes.db_neck import simplify_neck
from ocr_onnx.errors import ConversionError


def optimize(
    model: onnx.ModelProto, *, reduce_classes: bool, free_size: bool = False, form: Form | None = None
) -> onnx.ModelProto:
    """Slim, fold scalars into convolutions and, for recognition, answer with the best class alone.

    `free_size` is for detection: some exports declare the size of their training, which Paddle does not hold to. An
    opset above the one in `form` is kept: models cannot be converted down.
    """
    form = Form() if form is None else form
    if model.opset_import[0].version < form.opset:
        model = onnx.version_converter.convert_version(model, form.opset)
    # PP-OCRv4_server_det has a second output, which the reference does not read.
    del model.graph.output[1:]
    if free_size:
        _free_size(model)
    if form.static:
        _fix_size(model, form.static)
    model = onnxslim.slim(model)
    graph = Graph(model)
    fold_scalars(graph)
    shifts_in_blocks(graph)
    if reduce_classes:
        best_classes(graph)
    else:
        simplify_neck(graph)
        graph.rename_output("probability")
    graph.name_axes()
    return graph.model()


def _free_size(model: onnx.ModelProto) -> None:
    """Let height and width be any, and have the sizes after them inferred anew."""
    for dimension, name in zip(model.graph.input[0].type.tensor_type.shape.dim, AXES, strict=True):
        if name != "channel":
            dimension.dim_param = name
    for dimension, name in zip(model.graph.output[0].type.tensor_type.shape.dim, AXES, strict=True):
        if name != "channel":
            dimension.dim_param = f"output_{name}"
    del model.graph.value_info[:]


def _fix_size(model: onnx.ModelProto, size: tuple[int, ...]) -> None:
    """Let the input be of one size alone, and have those after it inferred anew."""
    for dimension, side, name in zip(model.graph.input[0].type.tensor_type.shape.dim, size, AXES, strict=True):
        if dimension.dim_value not in {0, side}:
            raise ConversionError(f"the model fixes its {name} to {dimension.dim_value}, and --static says {side}")
        dimension.dim_value = side
    for output in model.graph.output:
        for dimension in output.type.tensor_type.shape.dim:
            if not dimension.dim_value:
                dimension.ClearField("dim_param")
    del model.graph.value_info[:]
