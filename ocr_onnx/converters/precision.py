"""Convert model files to half precision, for GPUs. Inputs and outputs stay float32."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from ocr_onnx.converters import verify
from ocr_onnx.converters.export import Report
from ocr_onnx.converters.passes.valid_region import PREFIX, SHARES
from ocr_onnx.converters.replacements import Replacement, contents
from ocr_onnx.errors import ConversionError, ModelError
from ocr_onnx.models.metadata import PROPERTY, ModelMetadata
from ocr_onnx.models.store import move_into_place
from ocr_onnx.runtime.backend import float16_converter
from ocr_onnx.runtime.model_check import read_model
from ocr_onnx.runtime.model_file import has_padding_mask, model_for_device

logger: logging.Logger = logging.getLogger(__name__)

LEAST = 0.98
"""Least share of unchanged decisions; measured on the sample page and noise: at least 0.99."""


def halve(source: Path, target: Path) -> Report:
    """Write a converted model in half precision. Raises ConversionError if too many of its decisions change.

    Uses ONNX Runtime's converter: detectors converted by onnxconverter-common do not load. Keeping more operators in float32
    than its default list changed no result: docs/models-verified.md.
    """
    # The replacements for CPUs need float32.
    file = read_model(source)
    whole = onnx.load_from_string(model_for_device(file, on_cpu=False))
    properties = {entry.key: entry.value for entry in whole.metadata_props}
    metadata = replace(ModelMetadata.from_properties(properties, str(source)), precision="fp16")
    model = _halved(whole)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {PROPERTY: metadata.to_json()})
    for_gpu = (
        _for_gpu(_halved(onnx.load_from_string(model_for_device(file, masked=True))), model)
        if has_padding_mask(file)
        else None
    )
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, "model.onnx")
        made.write_bytes(contents(model, (), for_gpu))
        inputs = verify.sample_inputs(metadata)
        expected = verify.run_onnx(source, inputs)
        agreement = _compare(metadata, expected, verify.run_onnx(made, inputs))
        if for_gpu is not None:
            try:
                _compare(metadata, expected, verify.run_padded(metadata, made, inputs))
            except (ConversionError, ModelError, ValueError) as error:
                logger.warning(verify.NO_VALID_REGION, metadata.name, error)
                made.write_bytes(contents(model, ()))
        move_into_place(made, target)
    nodes = len(whole.graph.node), len(model.graph.node)
    return Report(metadata, target, nodes, model.opset_import[0].version, agreement)


def _halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert a graph to half precision; the valid shares of maps stay in float32."""
    convert_float_to_float16, OnnxModel = float16_converter()  # noqa: N806 a class
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    shares = [node for node in copy.graph.node if node.output[0].startswith(PREFIX) and node.output[0].endswith(SHARES)]
    for node in shares:
        node.name = node.output[0]
    blocked = [node.name for node in shares]
    made: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True, node_block_list=blocked)
    # The converter appends the Cast of the input at the end.
    OnnxModel(made).topological_sort()
    return made


def _for_gpu(bounded: onnx.ModelProto, model: onnx.ModelProto) -> Replacement:
    """Return a replacement of all nodes of `model` by those of `bounded`, with the constants that `model` lacks."""
    there = {tensor.name for tensor in model.graph.initializer}
    constants = {t.name: numpy_helper.to_array(t) for t in bounded.graph.initializer if t.name not in there}
    return Replacement(0, len(model.graph.node), list(bounded.graph.node), constants)


def _compare(metadata: ModelMetadata, expected: verify.Outputs, found: verify.Outputs) -> verify.Agreement:
    """Compare results with those in float32. Raises ConversionError if too many decisions differ."""
    equal = [_equal(metadata, expected[name], found[name]) for name in expected]
    decisions, same = sum(e.size for e in equal), sum(int(np.count_nonzero(e)) for e in equal)
    worst = max(float(np.abs(expected[name][-1] - found[name][-1]).max()) for name in expected)
    if not (same >= LEAST * decisions and np.isfinite(worst)):
        raise ConversionError(
            f"{metadata.name} loses accuracy in half precision: {same} of {decisions} decisions are unchanged; use --precision fp32"
        )
    return verify.Agreement(len(expected), decisions, decisions - same, worst)


def _equal(
    metadata: ModelMetadata, expected: tuple[NDArray[Any], ...], found: tuple[NDArray[Any], ...]
) -> NDArray[np.bool_]:
    if len(expected) > 1:
        return np.asarray(expected[0] == found[0])
    return verify.compare_one(metadata, expected[0], found).equal
