"""The stages in order: a page is turned and made flat, its text found, cut out, turned, read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar, overload

import numpy as np

from ocr_onnx.errors import InputError, ModelError, StageNotLoadedError
from ocr_onnx.inputs import sources
from ocr_onnx.inputs.prefetch import map_on_workers, prefetch
from ocr_onnx.models import store
from ocr_onnx.models.metadata import ModelMetadata, Task
from ocr_onnx.options import DetectionOptions, Models, OCROptions
from ocr_onnx.results import OCRResult
from ocr_onnx.runtime import batching, memory
from ocr_onnx.runtime.profiling import timed
from ocr_onnx.runtime.provider_specs import Mode
from ocr_onnx.runtime.providers import Placement, ProviderLike
from ocr_onnx.runtime.selection import choose_placement
from ocr_onnx.runtime.session import Session
from ocr_onnx.runtime.threads import cores, parallel_map
from ocr_onnx.stages import geometry
from ocr_onnx.stages.detection import TextDetector, largest_side
from ocr_onnx.stages.orientation import HALF_TURN, LineClassifier, PageClassifier
from ocr_onnx.stages.recognition import TextRecognizer
from ocr_onnx.stages.unwarping import TextImageUnwarper
from ocr_onnx.stages.word_boxes import find_words
from ocr_onnx.types import Image, Orientation, Page, TextBox, TextLine

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

Stage: TypeAlias = TextDetector | TextRecognizer | PageClassifier | LineClassifier | TextImageUnwarper

CROP_BYTES = 3
"""Per pixel."""

PAGES_PER_GPU = 4
"""Pages that are read side by side for each GPU: it waits less for what the cores do before and after a run."""


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A page whose text is found and not yet read."""

    source: Page
    orientation: Orientation | None
    page: Page
    """As it was looked at: upright and flat."""
    cut: list[tuple[TextBox, Image]]


class OCR:
    """The pipeline. One may serve many threads: a call leaves nothing behind.

    A stage that `options` has off is not loaded, and no call can have it on. `device` is cpu (None, too), gpu, gpu:N,
    gpu:0,1, which spreads pages over several, auto, which takes the GPU where a model runs on it, or the `placement` of
    another OCR; in its place `providers` names ONNX Runtime's, first choice first, each as `devices.ProviderLike`.
    `placement` says what was taken, and why. With `mode` high-performance a GPU may compute in less precision; it changes
    no options. `cpu_threads` is how many cores a page may use (default: all that the process may; never more). Raises a
    kind of OCRError where a model, the device or a provider is not there.

    Each stage can be called by itself: `detect(image)`, `recognize(crops)`, `classify_page(image)`,
    `classify_lines(crops)`, `unwarp(image)`; of the last three, those that are off are None.
    """

    def __init__(
        self,
        options: OCROptions | None = None,
        *,
        models: Models | None = None,
        device: str | Placement | None = None,
        providers: Sequence[ProviderLike] = (),
        mode: Mode = "standard",
        cpu_threads: int | None = None,
    ) -> None:
        self.options = OCROptions() if options is None else options
        names = Models() if models is None else models
        threads = cores(cpu_threads)
        self.placement = where = device if isinstance(device, Placement) else choose_placement(device, providers, mode)
        logger.info("models run on %s", where)

        self.others = tuple(
            OCR(self.options, models=names, device=each, cpu_threads=cpu_threads) for each in where.others
        )
        """The same on further GPUs: pages are spread over them."""

        # A page is one call that fills all cores; lines are many calls, each on one (threads.parallel_map).
        chosen: dict[Task, tuple[str | Path, int]] = {
            "text_detection": (names.text_detection, threads),
            "text_recognition": (names.text_recognition, 1),
        }
        if self.options.use_doc_orientation_classify:
            chosen["doc_orientation"] = (names.doc_orientation, threads)
        if self.options.use_doc_unwarping:
            chosen["image_unwarping"] = (names.doc_unwarping, threads)
        if self.options.use_textline_orientation:
            chosen["textline_orientation"] = (names.textline_orientation, 1)
        loaded = load_all(chosen, where, threads, largest_side(self.options.detection))
        self.shapes = {
            task: batching.shapes_for(where, metadata, masked=session.masked)
            for task, (session, metadata) in loaded.items()
        }
        """In which each model is given its inputs."""

        find, known = loaded["text_detection"]
        self.detect = TextDetector(self.shapes["text_detection"].pad_pages(find, known), known)
        self.recognize = TextRecognizer(*loaded["text_recognition"], threads, self.shapes["text_recognition"])
        page, bent, lines = (
            loaded.get(task) for task in ("doc_orientation", "image_unwarping", "textline_orientation")
        )
        self.classify_page = PageClassifier(*page) if page else None
        self.unwarp = TextImageUnwarper(*bent) if bent else None
        self.classify_lines = LineClassifier(*lines, threads, self.shapes["textline_orientation"]) if lines else None
        # Loading leaves behind more than the models weigh.
        memory.trim_heap()

    def metadata(self) -> dict[Task, ModelMetadata]:
        """What the models of the stages that are loaded say of themselves."""
        return {stage.metadata.task: stage.metadata for stage in self._loaded()}

    def warm_up(self) -> int:
        """Run each model on every shape that it will be given, or on a usual one where shapes are not few; how many runs.

        A GPU searches and plans at each new shape. Where shapes are few no other comes afterwards, as long as detection's
        limits are those of `options`, pages have no more than shapes.MAX_WARM_UP_PIXELS pixels there, and are not unwarped.
        """
        largest = largest_side(self.options.detection)
        kinds = [(stage, self.shapes[stage.metadata.task]) for stage in self._loaded()]
        runs = [(stage.run, each) for stage, few in kinds for each in few.warm_up_shapes(stage.metadata, largest)]
        for run, shape in runs:
            run(np.zeros(shape, np.float32))
        return len(runs) + sum(each.warm_up() for each in self.others)

    def predict(self, source: sources.Source, options: OCROptions | None = None) -> list[OCRResult]:
        """Read every page of `source`, as `sources.Source` lists what it may be.

        Raises a kind of InputError at the first that cannot be read.
        """
        return list(self.predict_iter(source, options))

    @overload
    def predict_iter(
        self, source: sources.Source, options: OCROptions | None = None, *, return_exceptions: Literal[False] = False
    ) -> Iterator[OCRResult]: ...

    @overload
    def predict_iter(
        self, source: sources.Source, options: OCROptions | None = None, *, return_exceptions: bool
    ) -> Iterator[OCRResult | InputError]: ...

    def predict_iter(
        self, source: sources.Source, options: OCROptions | None = None, *, return_exceptions: bool = False
    ) -> Iterator[OCRResult | InputError]:
        """As `predict`, page by page: three pages are in memory, besides what the caller keeps.

        While the lines of one are read, the text of the next is found, and the one after that is opened, fetched and
        decoded, each in a thread of its own; a generator given as `source` is advanced in the latter. The first page is
        found in the caller's thread, unless it comes from a generator. An error is raised at the page it belongs to; with
        `return_exceptions`, that of an input that cannot be read comes in its place, and the next one is read. To leave the
        iterator ends the threads, once the pages they are at are done.

        On GPUs four pages are read side by side for each (PAGES_PER_GPU), by whichever is free, and one more is in memory. Results
        come in the pages' order.
        """
        chosen = self.options if options is None else options
        with closing(self._outcomes(source, chosen)) as outcomes:
            # A loop's variable would keep a page while the next one is waited for.
            yield from outcomes if return_exceptions else map(sources.unwrap, outcomes)

    def _outcomes(self, source: sources.Source, options: OCROptions) -> Generator[OCRResult | InputError, None, None]:
        """The result of each page, or the error of what could not be read."""
        pages = sources.read_pages_or_errors(source, options.input)
        readers = (self, *self.others) * (PAGES_PER_GPU if self.placement.on_gpu else 1)
        if len(readers) > 1:
            tasks = [partial(_tried, partial(each.read, options=options)) for each in readers]
            with closing(map_on_workers(pages, tasks)) as results:
                yield from results
            return
        materialized = sources.is_materialized(source)
        ahead = prefetch(pages, first_in_caller_thread=materialized)
        with closing(prefetch(self._find_all(ahead, options), first_in_caller_thread=materialized)) as found:
            yield from map(partial(_tried, partial(self._read_lines, options=options)), found)

    def read(self, page: Page, options: OCROptions) -> OCRResult:
        """Take one page through all stages."""
        return self._read_lines(self._find(page, options), options)

    def _find_all(
        self, pages: Generator[Page | InputError, None, None], options: OCROptions
    ) -> Generator[_Found | InputError, None, None]:
        with closing(pages):
            yield from map(partial(_tried, partial(self._find, options=options)), pages)

    @timed("page: find text, without the steps")
    def _find(self, page: Page, options: OCROptions) -> _Found:
        """Turn a page upright, make it flat, and cut out its text."""
        self._check_loaded(options)
        orientation, image = self._upright(page.image, options)
        if options.use_doc_unwarping and self.unwarp is not None:
            image = self.unwarp(image)
        boxes = geometry.reading_order(self.detect(image, options.detection))
        needed = geometry.total_area(boxes) * CROP_BYTES
        memory.require(
            needed, f"cutting out {len(boxes)} boxes", "a lower unclip_ratio or a higher box_thresh reduces it"
        )
        cut = [(box, geometry.crop(image, box.quad)) for box in boxes]
        # A box on a picture enlarged for detection can be less than a pixel high.
        return _Found(page, orientation, replace(page, image=image), [(box, crop) for box, crop in cut if crop.size])

    @timed("page: read lines, without the steps")
    def _read_lines(self, found: _Found, options: OCROptions) -> OCRResult:
        """Turn the lines upright and read them."""
        boxes, crops = [box for box, _ in found.cut], [crop for _, crop in found.cut]
        if options.use_textline_orientation and self.classify_lines is not None:
            boxes, crops = _turn(boxes, crops, self.classify_lines(crops, options.line_orientation))
        texts = self.recognize(crops, options.recognition)
        logger.info("%s: %s, %d lines", found.source.path, found.orientation, len(texts))
        lines = tuple(
            TextLine(text, score, box, find_words(columns, box.quad) if options.return_word_box else None)
            for box, (text, score, columns) in zip(boxes, texts, strict=True)
            if score >= options.recognition.score_thresh
        )
        return OCRResult(found.source, found.page, found.orientation, tuple(boxes), lines, options)

    def _loaded(self) -> Iterator[Stage]:
        """The stages that are on."""
        stages = (self.detect, self.recognize, self.classify_page, self.unwarp, self.classify_lines)
        return (stage for stage in stages if stage is not None)

    def _upright(self, image: Image, options: OCROptions) -> tuple[Orientation | None, Image]:
        """How the page stands, None where that stage is off, and the picture turned."""
        if not options.use_doc_orientation_classify or self.classify_page is None:
            return None, image
        orientation = self.classify_page(image, options.page_orientation)
        return orientation, geometry.rotate(image, orientation.angle)

    def _check_loaded(self, options: OCROptions) -> None:
        """Raise StageNotLoadedError where `options` has a stage on that was off when this was made."""
        stages = {
            "use_doc_orientation_classify": self.classify_page,
            "use_doc_unwarping": self.unwarp,
            "use_textline_orientation": self.classify_lines,
        }
        for name, stage in stages.items():
            if getattr(options, name) and stage is None:
                raise StageNotLoadedError(f"{name} was off when this was made: make it with {name}=True")


def _tried(task: Callable[[Item], Result], item: Item | InputError) -> Result | InputError:
    """What a task makes of an item, or the error that either has come to."""
    if isinstance(item, InputError):
        return item
    try:
        return task(item)
    except InputError as error:
        return error


def _turn(
    boxes: list[TextBox], crops: list[Image], orientations: list[Orientation]
) -> tuple[list[TextBox], list[Image]]:
    """Say of each box how it stands, and turn the crops that are upside down."""
    judged = [
        replace(box, upside_down=angle == HALF_TURN, orientation_score=score)
        for box, (angle, score) in zip(boxes, orientations, strict=True)
    ]
    turned = [geometry.rotate(crop, angle) for crop, (angle, _) in zip(crops, orientations, strict=True)]
    return judged, turned


def load_all(
    chosen: Mapping[Task, tuple[str | Path, int]], placement: Placement, threads: int, largest: int
) -> dict[Task, tuple[Session, ModelMetadata]]:
    """Models by task, each given by name or path with the threads of a call: side by side on a CPU, else one by one."""
    calls = [(name, task, placement, count, largest) for task, (name, count) in chosen.items()]
    loaded = parallel_map(load, *zip(*calls, strict=True), threads=threads if placement.on_cpu else 1)
    return dict(zip(chosen, loaded, strict=True))


def load(
    name: str | Path, task: Task, placement: Placement, threads: int, largest: int = DetectionOptions().max_side_limit
) -> tuple[Session, ModelMetadata]:
    """A model by name or path, for pages of at most `largest` pixels a side; raises ModelError where it is not made for `task`."""
    path = store.find(name)
    if placement.on_cpu:
        session = Session(path, placement, threads)
    else:
        from ocr_onnx.runtime import tensorrt
        from ocr_onnx.stages import calibration

        session = tensorrt.load(placement, path, threads, largest, calibration.difference)
    logger.info("%s: %s on %s, %d threads a call", task, path, ", ".join(session.providers), threads)
    metadata = ModelMetadata.from_properties(session.properties, str(path))
    if metadata.task != task:
        raise ModelError(f"{name} does {metadata.task}, not {task}")
    if metadata.static_shape and metadata.static_shape != (1, *metadata.input_shape):
        size = "x".join(map(str, metadata.static_shape))
        raise ModelError(f"{name} takes inputs of {size} alone, and pictures vary: convert it without --static")
    if metadata.static_shape and task == "text_recognition":
        raise ModelError(f"{name} takes lines of one width alone, and lines vary: convert it without --static")
    return session, metadata
