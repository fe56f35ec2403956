"""Load the models of the stages that are on, and make the stages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeAlias

from ocr_onnx.errors import ModelError
from ocr_onnx.models import store
from ocr_onnx.models.metadata import LAYOUTS, ModelMetadata, Task
from ocr_onnx.options import DetectionOptions, Models, OCROptions
from ocr_onnx.runtime import batching, openvino
from ocr_onnx.runtime.model_check import read_metadata
from ocr_onnx.runtime.providers import Placement
from ocr_onnx.runtime.session import Session
from ocr_onnx.runtime.threads import parallel_map
from ocr_onnx.stages.detection import TextDetector, largest_side
from ocr_onnx.stages.orientation import LineClassifier, PageClassifier
from ocr_onnx.stages.recognition import TextRecognizer
from ocr_onnx.stages.recognizer_chain import RecognizerChain
from ocr_onnx.stages.tasks import OUTPUT_AXES, TASKS
from ocr_onnx.stages.unwarping import TextImageUnwarper
from ocr_onnx.types import Run

logger: logging.Logger = logging.getLogger(__name__)

Stage: TypeAlias = TextDetector | TextRecognizer | PageClassifier | LineClassifier | TextImageUnwarper

WrapRun: TypeAlias = Callable[[Run, ModelMetadata], Run]
"""Returns a model to use in place of another one, for example one that counts runs or calls a server."""

CHANNELS = 3

Loaded: TypeAlias = tuple[Session, ModelMetadata]
"""A model that is loaded."""


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of a pipeline, each with its model; None is a stage that is off. One instance serves many threads."""

    detect: TextDetector
    recognize: TextRecognizer
    classify_page: PageClassifier | None = None
    classify_lines: LineClassifier | None = None
    unwarp: TextImageUnwarper | None = None

    def __iter__(self) -> Iterator[Stage]:
        """The stages that are on."""
        each = (self.detect, self.recognize, self.classify_page, self.classify_lines, self.unwarp)
        return (stage for stage in each if stage is not None)

    @property
    def following(self) -> tuple[TextRecognizer, ...]:
        """The recognizers after the first one."""
        return self.recognize.following if isinstance(self.recognize, RecognizerChain) else ()

    def with_runs(self, wrap: WrapRun) -> Stages:
        """The same stages with `wrap(run, metadata)` in place of each model's `run`."""
        on = {name: stage for name in self.__slots__ if (stage := getattr(self, name)) is not None}
        wrapped = {name: replace(stage, run=wrap(stage.run, stage.metadata)) for name, stage in on.items()}
        if isinstance(recognize := wrapped["recognize"], RecognizerChain):
            following = [replace(stage, run=wrap(stage.run, stage.metadata)) for stage in recognize.following]
            wrapped["recognize"] = replace(recognize, following=tuple(following))
        return Stages(**wrapped)


def _assembled(loaded: Mapping[Task, Sequence[Loaded]], placement: Placement, threads: int) -> Stages:
    """The stages of loaded models; recognition and line orientation use up to `threads` threads."""

    def shapes(model: Loaded) -> batching.Shapes:
        session, metadata = model
        return batching.shapes_for(placement.for_model(metadata.name), metadata, masked=session.masked)

    first = {task: models[0] for task, models in loaded.items()}
    detect = first["text_detection"]
    recognize, *more = (TextRecognizer(*each, threads, shapes(each)) for each in loaded["text_recognition"])
    if more:
        chain = {each.name: getattr(recognize, each.name) for each in fields(recognize)}
        recognize = RecognizerChain(**chain, following=tuple(more))
    page, lines, unwarp = (first.get(task) for task in ("doc_orientation", "textline_orientation", "image_unwarping"))
    return Stages(
        TextDetector(*detect, shapes(detect)),
        recognize,
        PageClassifier(*page) if page else None,
        LineClassifier(*lines, threads, shapes(lines)) if lines else None,
        TextImageUnwarper(*unwarp) if unwarp else None,
    )


def load_stages(models: Models, options: OCROptions, placement: Placement, threads: int) -> Stages:
    """Load the models of all stages that are on: one after the other on a GPU, else in parallel."""
    largest, placement = largest_side(options.detection), openvino.within(placement, threads)
    named = [(spec, name) for spec in TASKS.values() if spec.is_on(options) for name in spec.models(models)]
    # A page is one call that uses all cores; lines are many calls with one thread each (threads.parallel_map).
    calls = [(name, s.name, placement, 1 if s.layout.lines else threads, largest) for s, name in named]
    made = parallel_map(load, *zip(*calls, strict=True), threads=1 if placement.on_gpu else threads)
    loaded: dict[Task, list[Loaded]] = {}
    for (spec, _), each in zip(named, made, strict=True):
        loaded.setdefault(spec.name, []).append(each)
    return _assembled(loaded, placement, threads)


def load(
    name: str | Path, task: Task, placement: Placement, threads: int, largest: int = DetectionOptions().max_side_limit
) -> tuple[Session, ModelMetadata]:
    """Load a model by name or path, with `threads` threads per call, for pages with sides of at most `largest` pixels.

    Raises ModelError if the model is for another task, or has a static input shape that the task cannot use.
    """
    path = store.find(name)
    if placement.only is not None:
        placement = placement.for_model(read_metadata(path).name)
    if placement.on_cpu:
        session = Session(path, placement, threads)
    else:
        from ocr_onnx.runtime import tensorrt
        from ocr_onnx.stages import calibration

        session = tensorrt.load(placement, path, threads, largest, calibration.difference)
    logger.info("%s: %s on %s, %d threads per call", task, path, ", ".join(session.providers), threads)
    metadata = ModelMetadata.from_properties(session.properties, str(path))
    if metadata.task != task:
        raise ModelError(f"{name} is a model for {metadata.task}, not for {task}: choose another model")
    _check_graph(session, metadata, path)
    if metadata.static_shape and metadata.static_shape != (1, *metadata.input_shape):
        size = "x".join(map(str, metadata.static_shape))
        raise ModelError(
            f"{name} accepts only inputs of shape {size}, but image sizes vary: convert it without --static"
        )
    if metadata.static_shape and not LAYOUTS[task].static_usable:
        raise ModelError(f"{name} accepts only lines of one width, but line widths vary: convert it without --static")
    return session, metadata


def _check_input(declared: Sequence[int | str | None], metadata: ModelMetadata, path: Path) -> None:
    """Raise ModelError if a graph declares a size of its input that the images of its task do not have."""
    usual: tuple[int | None, ...] = metadata.static_shape or (1, *(metadata.input_shape or (CHANNELS, None, None)))
    expected = [
        None if axis in metadata.layout.padded_axes and not metadata.static_shape else usual[axis] for axis in range(4)
    ]
    if any(isinstance(size, int) and size != wanted for size, wanted in zip(declared, expected, strict=True)):
        shown, needed = (
            "x".join("?" if not isinstance(size, int) else str(size) for size in each) for each in (declared, expected)
        )
        raise ModelError(
            f"{path} accepts only inputs of shape {shown}, but {metadata.task} needs {needed} (?: any size): convert the Paddle model again, "
            "or give the file as it was before its shape was fixed"
        )


def _check_graph(session: Session, metadata: ModelMetadata, path: Path) -> None:
    """Raise ModelError if a graph's input and outputs are not those of its task, or do not fit to its characters or labels."""
    spec = TASKS[metadata.task]
    given = [(argument.type, len(argument.shape)) for argument in session.inputs]
    axes = tuple(len(argument.shape) for argument in session.outputs)
    if given != [("tensor(float)", 4)] or axes not in OUTPUT_AXES[spec.output]:
        raise ModelError(
            f"{path} has inputs {given} and outputs of {axes} axes, which are not those of {metadata.task}: convert it again"
        )
    _check_input(session.inputs[0].shape, metadata, path)
    classes = session.outputs[0].shape[-1]
    named = metadata.labels if spec.output == "classes" else ("blank", *metadata.charset)
    if (spec.output == "classes" or (axes == (3,) and isinstance(classes, int))) and classes != len(named):
        raise ModelError(f"{path} has {classes} classes, but its metadata names {len(named)}: convert it again")
    if spec.labels is not None and not spec.labels.issuperset(metadata.labels):
        raise ModelError(
            f"{path} has the labels {metadata.labels}, but must have some of {sorted(spec.labels)}: convert it again"
        )
