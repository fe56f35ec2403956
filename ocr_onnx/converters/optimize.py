"""Optimize an exported graph: onnxslim, then the passes. Results are equal to rounding."""

from __future__ import annotations

import onnx
import onnx.version_converter
import onnxslim

from ocr_onnx.converters.export_options import ExportOptions
from ocr_onnx.converters.graph import AXES, Graph
from ocr_onnx.converters.passes.affine_folding import fold_affine, shifts_to_batch_normalization
from ocr_onnx.converters.passes.argmax_head import append_argmax
from ocr_onnx.converters.passes.db_neck import rewrite_db_neck
from ocr_onnx.errors import ConversionError


def optimize(model: onnx.ModelProto, *, reduce_classes: bool, options: ExportOptions | None = None) -> onnx.ModelProto:
    """Run onnxslim and the passes for all devices; a recognizer (`reduce_classes`) then returns the best class only.

    An opset higher than the one in `options` stays: the converter of versions cannot lower it.
    """
    options = ExportOptions() if options is None else options
    if model.opset_import[0].version < options.opset:
        model = onnx.version_converter.convert_version(model, options.opset)
    # PP-OCRv4_server_det has a second output, which PaddleOCR does not read.
    del model.graph.output[1:]
    if options.static:
        _fix_size(model, options.static)
    model = onnxslim.slim(model)
    graph = Graph(model)
    fold_affine(graph)
    shifts_to_batch_normalization(graph)
    if reduce_classes:
        append_argmax(graph)
    else:
        rewrite_db_neck(graph)
        graph.rename_output("probability")
    graph.name_axes()
    return graph.model()


def free_size(model: onnx.ModelProto) -> None:
    """Make batch, height and width dynamic, and remove the inferred shapes.

    Some detectors declare the size of their training, which Paddle ignores, and static exports the size of their sample.
    """
    for dimension, name in zip(model.graph.input[0].type.tensor_type.shape.dim, AXES, strict=True):
        if name != "channel":
            dimension.dim_param = name
    output = model.graph.output[0].type.tensor_type.shape.dim
    kept = 1 if len(output) == len(AXES) else len(output) - 1  # A map's channel; the classes of each step.
    for axis, dimension in enumerate(output):
        if axis != kept:
            dimension.dim_param = f"output_{axis}"
    del model.graph.value_info[:]


def _fix_size(model: onnx.ModelProto, size: tuple[int, ...]) -> None:
    """Fix the input size, and remove the inferred shapes. Raises ConversionError if the model fixes another size."""
    for dimension, side, name in zip(model.graph.input[0].type.tensor_type.shape.dim, size, AXES, strict=True):
        if dimension.dim_value not in {0, side}:
            raise ConversionError(f"the model fixes its {name} to {dimension.dim_value}, and --static says {side}")
        dimension.dim_value = side
    for output in model.graph.output:
        for dimension in output.type.tensor_type.shape.dim:
            if not dimension.dim_value:
                dimension.ClearField("dim_param")
    del model.graph.value_info[:]
