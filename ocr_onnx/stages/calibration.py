"""Comparison of a model on a device with the same model on the CPU, by the decisions of both on the sample page."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.errors import ModelError
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.runtime.batching import CPU_SHAPES, Shapes
from ocr_onnx.stages.tasks import TASKS, Calibration
from ocr_onnx.stages.verification import SIDES, Outputs
from ocr_onnx.types import Difference, Run, Tensor


def difference(
    run: Run, reference: Run, metadata: ModelMetadata, shapes: Shapes = CPU_SHAPES, largest: int = SIDES[-1]
) -> Difference:
    """Count the decisions on the sample page in which `run` differs from `reference`; both get the same tensors in `shapes`.

    No side of a page for detection is longer than `largest` pixels. If an output contains NaN or infinity, all its
    decisions differ. Raises ModelError for a task without decisions (unwarping).
    """
    calibration = TASKS[metadata.task].calibration
    if calibration is None:
        raise ModelError(f"{metadata.name} makes no decisions that can be compared: {metadata.task} returns an image")
    found: list[Difference] = []

    def both(tensor: Tensor) -> tuple[NDArray[Any], ...]:
        outputs = run(tensor)
        found.append(_compare(calibration, metadata, tensor, (outputs, reference(tensor))))
        return outputs

    calibration.run_sample(both, metadata, shapes, largest)
    return Difference(*map(sum, zip(*found, strict=True)))


def _compare(
    calibration: Calibration, metadata: ModelMetadata, tensor: Tensor, outputs: tuple[Outputs, Outputs]
) -> Difference:
    """Compare the decisions on one tensor."""
    one, other = (calibration.decisions(each, metadata) for each in outputs)
    counted = calibration.counted(tensor, one, other)
    number = max(int(np.count_nonzero(counted)), 1)
    finite = all(np.isfinite(output).all() for output in outputs[0])
    return Difference(int(np.count_nonzero((one != other) & counted)) if finite else number, number)
