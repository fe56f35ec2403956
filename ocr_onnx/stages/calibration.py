"""Comparison of a model on a device with the same model on the CPU, by the decisions of both on the sample page."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.errors import ModelError
from ocr_onnx.models import store
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.options import Models, OCROptions
from ocr_onnx.runtime import cpu_backends, openvino
from ocr_onnx.runtime.batching import CPU_SHAPES, Shapes, shapes_for
from ocr_onnx.runtime.cpu_backends import Measurement
from ocr_onnx.runtime.model_check import read_metadata
from ocr_onnx.runtime.providers import CPU, Placement
from ocr_onnx.runtime.selection import choose_placement
from ocr_onnx.runtime.session import Session
from ocr_onnx.stages.detection import largest_side
from ocr_onnx.stages.tasks import TASKS, Calibration
from ocr_onnx.stages.verification import SIDES, Outputs
from ocr_onnx.types import Difference, Run, Tensor

ROUNDS = 3
"""How many times the time of a model is measured."""


def difference(
    run: Run, reference: Run, metadata: ModelMetadata, shapes: Shapes = CPU_SHAPES, largest: int = SIDES[-1]
) -> Difference:
    """Count the decisions on the sample page in which `run` differs from `reference`; both get the same tensors in `shapes`.

    No side of a page for detection is longer than `largest` pixels. If an output contains NaN or infinity, all its
    decisions differ. Raises ModelError for a task without decisions (unwarping).
    """
    calibration = _calibration(metadata)
    found: list[Difference] = []

    def both(tensor: Tensor) -> tuple[NDArray[Any], ...]:
        outputs = run(tensor)
        found.append(_compare(calibration, metadata, tensor, (outputs, reference(tensor))))
        return outputs

    calibration.run_sample(both, metadata, shapes, largest)
    return Difference(*map(sum, zip(*found, strict=True)))


def compare_backends(models: Models, options: OCROptions, threads: int) -> Iterator[Measurement]:
    """Measure each model of the stages that are on, on ONNX Runtime and on OpenVINO; leave out those that may not run on OpenVINO."""
    candidate = openvino.within(choose_placement(providers=[cpu_backends.provider()], mode="high-performance"), threads)
    for spec in TASKS.values():
        if not spec.is_on(options) or spec.calibration is None:
            continue
        for path in map(store.find, spec.models(models)):
            if cpu_backends.may_run(read_metadata(path).name):
                yield _measure(path, candidate, 1 if spec.layout.lines else threads, largest_side(options.detection))


def _measure(path: Path, candidate: Placement, threads: int, largest: int) -> Measurement:
    metadata, places = read_metadata(path), (CPU, candidate)
    reference, run = (Session(path, each, threads) for each in places)
    shapes = [shapes_for(each, metadata, masked=reference.masked) for each in places]
    found = difference(run, reference, metadata, shapes[1], largest)
    onnxruntime, candidates = times((reference, run), metadata, shapes, largest)
    return Measurement(metadata.name, onnxruntime, candidates, *found)


def times(runs: Sequence[Run], metadata: ModelMetadata, shapes: Sequence[Shapes], largest: int) -> tuple[float, ...]:
    """Return the shortest wall-clock times in seconds that the stage takes for the sample page with each of `runs` in its shapes.

    They take turns. The first round, which is not counted, prepares them for the shapes. Raises ModelError for a task without decisions.
    """
    calibration = _calibration(metadata)
    taken: list[list[float]] = []
    for _ in range(1 + ROUNDS):
        taken.append([])
        for run, each in zip(runs, shapes, strict=True):
            begun = time.perf_counter()
            calibration.run_sample(run, metadata, each, largest)
            taken[-1].append(time.perf_counter() - begun)
    return tuple(map(min, zip(*taken[1:], strict=True)))


def _calibration(metadata: ModelMetadata) -> Calibration:
    calibration = TASKS[metadata.task].calibration
    if calibration is None:
        raise ModelError(f"{metadata.name} makes no decisions that can be compared: {metadata.task} returns an image")
    return calibration


def _compare(
    calibration: Calibration, metadata: ModelMetadata, tensor: Tensor, outputs: tuple[Outputs, Outputs]
) -> Difference:
    """Compare the decisions on one tensor."""
    one, other = (calibration.decisions(each, metadata) for each in outputs)
    counted = calibration.counted(tensor, one, other)
    number = max(int(np.count_nonzero(counted)), 1)
    finite = all(np.isfinite(output).all() for output in outputs[0])
    return Difference(int(np.count_nonzero((one != other) & counted)) if finite else number, number)
