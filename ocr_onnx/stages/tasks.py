"""The tasks of models: one record for each, with all that depends on the task. To add a task, add to TASKS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.errors import OptionError
from ocr_onnx.models.metadata import LAYOUTS, InputLayout, ModelMetadata, Task
from ocr_onnx.options import DetectionOptions, LineOrientationOptions, Models, OCROptions
from ocr_onnx.runtime.batching import PADDING_MARK, Shapes
from ocr_onnx.stages import verification
from ocr_onnx.stages.detection import TextDetector, with_model_defaults
from ocr_onnx.stages.geometry import rotate
from ocr_onnx.stages.orientation import HALF_TURN, LineClassifier, PageClassifier
from ocr_onnx.stages.recognition import TextRecognizer, best_classes, ctc_decode, without_padding
from ocr_onnx.stages.sample_page import crops, sample_page, variants
from ocr_onnx.stages.verification import ANGLES, SIDES, Outputs, Verification
from ocr_onnx.types import Run, Tensor

OutputKind: TypeAlias = Literal["map", "steps", "classes"]
"""map: a value for each pixel; steps: for each step of a line the probability of each character; classes: for each input."""


OUTPUT_AXES: Mapping[OutputKind, tuple[tuple[int, ...], ...]] = {
    "map": ((4,),),
    "steps": ((3,), (2, 2)),
    "classes": ((2,),),
}
"""The numbers of axes of a model's outputs: one output, or the best class and its probability for each step."""


class Calibration(NamedTuple):
    """How two forms of a model are compared on the sample page."""

    run_sample: Callable[[Run, ModelMetadata, Shapes, int], None]
    """Run the stage on the sample page in the given shapes, no side of a page being longer than so many pixels."""
    decisions: Callable[[Outputs, ModelMetadata], NDArray[Any]]
    """Return the decisions that the stage makes of the outputs for one tensor."""
    counted: Callable[[Tensor, NDArray[Any], NDArray[Any]], NDArray[np.bool_]]
    """Return which decisions count, given the tensor and the decisions of both forms."""


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task of models."""

    name: Task
    model_field: str
    """The field of options.Models that names its model."""
    parameter: str
    """The start of the names of its model's parameters in PaddleOCR: `<parameter>_model_name`, `<parameter>_model_dir`."""
    output: OutputKind
    verification: Verification
    switch: str | None = None
    """The field of OCROptions that turns the stage on; None: it is always on."""
    calibration: Calibration | None = None
    """None if the model makes no decisions."""
    labels: frozenset[str] | None = None
    """The labels that its models may have; None: any."""

    @property
    def layout(self) -> InputLayout:
        """The layout of its models' input."""
        return LAYOUTS[self.name]

    def is_on(self, options: OCROptions) -> bool:
        """Whether the stage is on."""
        return self.switch is None or bool(getattr(options, self.switch))

    def models(self, models: Models) -> tuple[str | Path, ...]:
        """The names or paths of its models: one, or several for recognition. Raises OptionError if there is none."""
        chosen: str | Path | tuple[str | Path, ...] = getattr(models, self.model_field)
        if isinstance(chosen, tuple) and not chosen:
            raise OptionError(f"models.{self.model_field} is empty: give at least one model")
        return chosen if isinstance(chosen, tuple) else (chosen,)

    def model(self, models: Models) -> str | Path:
        """The name or path of its first model."""
        return self.models(models)[0]


def _detect_sample(run: Run, metadata: ModelMetadata, shapes: Shapes, largest: int) -> None:
    detect, page = TextDetector(run, metadata, shapes), sample_page()
    for side in sorted({min(side, largest) for side in SIDES}):
        for angle in ANGLES:
            detect(rotate(page, angle), DetectionOptions(limit_side_len=side, limit_type="max"))


def _recognize_sample(run: Run, metadata: ModelMetadata, shapes: Shapes, _: int) -> None:
    TextRecognizer(run, metadata, 1, shapes)([variant for crop in crops() for variant in variants(crop)])


def _classify_sample_page(run: Run, metadata: ModelMetadata, _: Shapes, __: int) -> None:
    classify = PageClassifier(run, metadata)
    page = sample_page()
    for angle in ANGLES:
        for variant in variants(page):
            classify(rotate(variant, angle))


def _classify_sample_lines(run: Run, metadata: ModelMetadata, shapes: Shapes, _: int) -> None:
    upright = crops()
    rotated = [rotate(crop, HALF_TURN) for crop in upright]
    LineClassifier(run, metadata, 1, shapes)(upright + rotated, LineOrientationOptions(batch_size=1))


def _text_pixels(outputs: Outputs, metadata: ModelMetadata) -> NDArray[np.bool_]:
    return np.asarray(outputs[0] > with_model_defaults(DetectionOptions(), metadata).thresh)


def _texts(outputs: Outputs, metadata: ModelMetadata) -> NDArray[np.str_]:
    lines = zip(*best_classes(outputs), strict=True)
    return np.array([ctc_decode(*without_padding(*line), metadata.charset).text for line in lines])


def _classes(outputs: Outputs, _: ModelMetadata) -> NDArray[np.int64]:
    return np.asarray(outputs[0].argmax(axis=-1))


def _text_on_page(tensor: Tensor, one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels that at least one form takes for text, without padding."""
    return np.asarray((one | other) & (tensor[:, :1] < PADDING_MARK / 2))


def _filled_rows(tensor: Tensor, _: NDArray[Any], __: NDArray[Any]) -> NDArray[np.bool_]:
    """Rows with a line or page: the last rows of a batch may be empty."""
    return np.asarray(tensor.any(axis=(1, 2, 3)))


TASKS: Mapping[Task, TaskSpec] = {
    spec.name: spec
    for spec in (
        TaskSpec(
            "text_detection",
            model_field="text_detection",
            parameter="text_detection",
            output="map",
            verification=verification.DETECTION,
            calibration=Calibration(_detect_sample, _text_pixels, _text_on_page),
        ),
        TaskSpec(
            "text_recognition",
            model_field="text_recognition",
            parameter="text_recognition",
            output="steps",
            verification=verification.RECOGNITION,
            calibration=Calibration(_recognize_sample, _texts, _filled_rows),
        ),
        TaskSpec(
            "doc_orientation",
            model_field="doc_orientation",
            parameter="doc_orientation_classify",
            output="classes",
            verification=verification.PAGE_ORIENTATION,
            switch="use_doc_orientation_classify",
            labels=frozenset(map(str, ANGLES)),
            calibration=Calibration(_classify_sample_page, _classes, _filled_rows),
        ),
        TaskSpec(
            "image_unwarping",
            model_field="doc_unwarping",
            parameter="doc_unwarping",
            output="map",
            verification=verification.UNWARPING,
            switch="use_doc_unwarping",
        ),
        TaskSpec(
            "textline_orientation",
            model_field="textline_orientation",
            parameter="textline_orientation",
            output="classes",
            verification=verification.LINE_ORIENTATION,
            switch="use_textline_orientation",
            calibration=Calibration(_classify_sample_lines, _classes, _filled_rows),
        ),
    )
}
