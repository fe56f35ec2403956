"""The pipeline: rotates and unwarps each page, detects its text, crops and rotates the lines, and recognizes them."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeVar, overload

import numpy as np

from ocr_onnx.declarations import check_text
from ocr_onnx.errors import InputError, NotEnoughMemoryError, OptionError, StageNotLoadedError
from ocr_onnx.inputs import sources
from ocr_onnx.inputs.pdf_text import agrees
from ocr_onnx.inputs.prefetch import map_on_workers, prefetch
from ocr_onnx.models import languages, presets, store
from ocr_onnx.models.metadata import ModelMetadata, Task
from ocr_onnx.options import Models, OCROptions, PageOrientationOptions
from ocr_onnx.results import OCRResult
from ocr_onnx.runtime import batching, memory
from ocr_onnx.runtime.profiling import timed
from ocr_onnx.runtime.provider_specs import Mode
from ocr_onnx.runtime.providers import CPU, Placement, ProviderLike
from ocr_onnx.runtime.selection import choose_placement
from ocr_onnx.runtime.threads import cores, parallel_map
from ocr_onnx.stages import geometry
from ocr_onnx.stages.blocks import find_blocks
from ocr_onnx.stages.detection import TextDetector, largest_side, with_model_defaults
from ocr_onnx.stages.line_reading import are_upside_down, largest, read_oriented, unread_warning
from ocr_onnx.stages.loading import Stages, WrapRun, load_stages
from ocr_onnx.stages.orientation import HALF_TURN, LineClassifier, PageClassifier
from ocr_onnx.stages.recognition import TextRecognizer, squeezing_warning
from ocr_onnx.stages.tasks import TASKS
from ocr_onnx.stages.tiling import detect_in_tiles, reduction_warning
from ocr_onnx.stages.unwarping import TextImageUnwarper
from ocr_onnx.stages.words import with_words
from ocr_onnx.types import Block, Columns, Image, Orientation, Page, TextBox, TextLine

logger: logging.Logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

OUT_OF_MEMORY = (
    "reading the page needs more memory than this process may take: reduce the image, or the size for detection"
)

CROP_BYTES = 3
"""Bytes per pixel of a crop."""

PAGES_PER_GPU = 4
"""Pages that are read in parallel on each GPU, so that it waits less for the CPU's work before and after each run."""


ANY_SCORE = PageOrientationOptions(score_thresh=0)


@dataclass(frozen=True, slots=True, eq=False)
class DetectedPage:
    """A page whose text is detected but not yet recognized."""

    source: Page
    orientation: Orientation | None
    page: Page
    """The page that was given to detection: rotated upright and unwarped if those stages are on."""
    crops: list[tuple[TextBox, Image]]
    """The boxes in PaddleOCR's order, with their crops."""
    warnings: tuple[str, ...] = ()
    """Those of the source, and of detection."""
    layer: tuple[TextLine, ...] | None = None
    """The lines that are taken from a PDF instead of being recognized."""


class OCR:
    """The OCR pipeline. One instance may be used by many threads: a call keeps no state.

    `preset` (`ocr-onnx models presets`) and `lang` (`ocr-onnx models langs`) choose the models instead of `models`; the preset
    also changes the options that have their default. A model that is not on this machine is downloaded; the environment
    variables OCR_ONNX_OFFLINE=1 and OCR_ONNX_REQUIRE_CHECKSUM=1 forbid that, always or without a known sha256.

    A stage that is off in `options` is not loaded, and no call can turn it on. `device` is "cpu" (also None), "gpu",
    "gpu:N", "gpu:0,1" (pages are distributed over several GPUs), "auto" (the GPU if a model runs on it, else the CPU), or
    the `placement` of another OCR. Instead of a device, `providers` gives ONNX Runtime's execution providers, first
    choice first, as `runtime.providers.ProviderLike`. `placement` contains the choice and its reason. In `mode`
    "high-performance", a GPU may compute with lower precision, and without `options` they are
    `OCROptions.high_performance()`, as with `run --mode high-performance`. `cpu_threads` is the number
    of cores for a page (default and maximum: all that the process may use). Raises a kind of OCRError if a model, the
    device or a provider is missing.

    Each stage can be called separately: `detect(image)`, `recognize(crops)`, `classify_page(image)`,
    `classify_lines(crops)`, `unwarp(image)`; the last three are None if the stage is off. They cannot be set:
    `from_stages` makes a pipeline of given stages, and `with_stages` and `with_runs` make one from another.
    """

    def __init__(  # noqa: PLR0913 one for each choice
        self,
        options: OCROptions | None = None,
        *,
        models: Models | None = None,
        preset: str | None = None,
        lang: str | None = None,
        device: str | Placement | None = None,
        providers: Sequence[ProviderLike] = (),
        mode: Mode = "standard",
        cpu_threads: int | None = None,
    ) -> None:
        if options is None:
            options = OCROptions.high_performance() if check_text("mode", mode) == "high-performance" else OCROptions()
        if not isinstance(options, OCROptions):
            raise OptionError(f"options has the type {type(options).__name__}: give OCROptions(...)")
        self.options: OCROptions = options
        if preset is not None:
            self.options = presets.preset(preset).apply(self.options)
        names = languages.choose(models, preset, lang)
        threads = cores(cpu_threads)
        where = device if isinstance(device, Placement) else choose_placement(device, providers, mode)
        self.placement: Placement = where
        logger.info("models run on %s", where)

        self.others: tuple[OCR, ...] = tuple(
            OCR(self.options, models=names, device=each, cpu_threads=cpu_threads) for each in where.others
        )
        """The same pipeline on the other GPUs, which share the pages."""

        _download_missing(names, self.options)
        self._stages = load_stages(names, self.options, where, threads)
        # Loading allocates more memory than the models need afterwards.
        memory.trim_heap()

    @classmethod
    def from_stages(  # noqa: PLR0913 one for each stage
        cls,
        *,
        detect: TextDetector,
        recognize: TextRecognizer,
        classify_page: PageClassifier | None = None,
        classify_lines: LineClassifier | None = None,
        unwarp: TextImageUnwarper | None = None,
        options: OCROptions | None = None,
        placement: Placement = CPU,
    ) -> OCR:
        """Make a pipeline of stages that exist; nothing is loaded.

        The model of a stage is any function from a tensor to tensors: a session, a client of a remote server, a test's
        function. Without `options`, exactly the given stages are on. On a GPU `placement`, several pages are read at a time.
        """
        made = cls.__new__(cls)
        made._stages = Stages(detect, recognize, classify_page, classify_lines, unwarp)  # noqa: SLF001 its own
        made.options = options or OCROptions(
            use_doc_orientation_classify=classify_page is not None,
            use_doc_unwarping=unwarp is not None,
            use_textline_orientation=classify_lines is not None,
        )
        made.placement, made.others = placement, ()
        return made

    def with_stages(self, **stages: Any) -> OCR:
        """The same pipeline with other stages, by the names of `from_stages`, on one device: `others` is empty."""
        return self._with(replace(self._stages, **stages), ())

    def with_runs(self, wrap: WrapRun) -> OCR:
        """The same pipeline with `wrap(run, metadata)` in place of each model's `run`, on each of its devices."""
        return self._with(self._stages.with_runs(wrap), tuple(each.with_runs(wrap) for each in self.others))

    def _with(self, stages: Stages, others: tuple[OCR, ...]) -> OCR:
        made = copy.copy(self)
        made._stages, made.others = stages, others  # noqa: SLF001 its own
        return made

    @property
    def detect(self) -> TextDetector:
        """Find the text of a page."""
        return self._stages.detect

    @property
    def recognize(self) -> TextRecognizer:
        """Read line crops."""
        return self._stages.recognize

    @property
    def classify_page(self) -> PageClassifier | None:
        """Detect the orientation of a page."""
        return self._stages.classify_page

    @property
    def classify_lines(self) -> LineClassifier | None:
        """Detect the orientation of line crops."""
        return self._stages.classify_lines

    @property
    def unwarp(self) -> TextImageUnwarper | None:
        """Unwarp the photograph of a page."""
        return self._stages.unwarp

    def metadata(self) -> dict[Task, ModelMetadata]:
        """Return the metadata of the loaded models."""
        return {stage.metadata.task: stage.metadata for stage in self._stages}

    def warm_up(self) -> int:
        """Run each model once per expected input shape; return the number of runs.

        A GPU selects algorithms and plans memory at each new shape. With fixed shapes (`Shapes.widths` and `sides`), no
        other shape follows if detection uses the limits in `options`, pages have at most batching.MAX_WARM_UP_PIXELS
        pixels there, and pages are not unwarped. Without fixed shapes, each model is run on a typical shape.
        """
        largest = largest_side(self.options.detection)
        runs = [
            (stage.run, shape)
            for stage in (*self._stages, *self._stages.following)
            for shape in getattr(stage, "shapes", batching.CPU_SHAPES).warm_up_shapes(stage.metadata, largest)
        ]
        # On CUDA, the first run of each shape is work for the CPU (runtime.cuda_graphs).
        parallel_map(
            lambda run, shape: run(np.zeros(shape, np.float32)),
            *zip(*runs, strict=True),
            threads=None if self.placement.on_gpu else 1,
        )
        return len(runs) + sum(other.warm_up() for other in self.others)

    def predict(self, source: sources.Source, options: OCROptions | None = None) -> list[OCRResult]:
        """Read every page of `source` (`sources.Source` lists the possible inputs).

        Raises a kind of InputError at the first input that cannot be read.
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
        """Read the pages of `source` one by one; three pages are in memory, in addition to those that the caller keeps.

        While the lines of one page are recognized, the text of the next one is detected, and the one after that is
        downloaded and decoded, each in its own thread; the latter also advances a generator given as `source`. Detection
        of the first page runs in the caller's thread, unless the page comes from a generator. An error is raised at the
        page that it belongs to; with `return_exceptions`, the error of an input or page that cannot be read is returned in its
        place, and reading continues: its `source` and `page` say which it is. Closing the iterator ends the threads after the
        pages that are in progress.

        On GPUs, four pages (PAGES_PER_GPU) are read in parallel on each, by whichever is free, and one more is in memory.
        Results are in the order of the pages.
        """
        results = self._results(source, self.options if options is None else options)
        return results if return_exceptions else _map(sources.unwrap, results)

    def _results(self, source: sources.Source, options: OCROptions) -> Generator[OCRResult | InputError, None, None]:
        """Yield the result of each page, or the error of each input that cannot be read."""
        pages = sources.read_pages_or_errors(source, options.input)
        readers = (self, *self.others) * (PAGES_PER_GPU if self.placement.on_gpu else 1)
        if len(readers) > 1:
            return map_on_workers(pages, [_with_errors(partial(reader.read, options=options)) for reader in readers])
        materialized = sources.is_materialized(source)
        detect = _with_errors(partial(self.detect_page, options=options))
        recognize = _with_errors(partial(self.recognize_page, options=options))
        decoded = prefetch(pages, first_in_caller_thread=materialized)
        detected = prefetch(_map(detect, decoded), first_in_caller_thread=materialized)
        return _map(recognize, detected)

    def read(self, page: Page, options: OCROptions) -> OCRResult:
        """Run all stages on one page."""
        return self.recognize_page(self.detect_page(page, options), options)

    @timed("page: find text, without the steps")
    def detect_page(self, page: Page, options: OCROptions) -> DetectedPage:
        """Run the first half of the stages: rotate the page upright, unwarp it, detect its text and crop the lines.

        If the classifier is not sure of the page's orientation, the largest lines decide whether the page is upside down.
        """
        self._check_loaded(options)
        if page.layer is not None:
            if not page.layer or agrees(page.layer, detect_in_tiles(self.detect, page.image, options.detection)):
                return DetectedPage(page, None, page, [], page.warnings, page.layer)
            page = replace(page, layer=None)
        if not options.use_doc_orientation_classify or self.classify_page is None:
            return self._find_lines(page, None, options)
        guess = self.classify_page(page.image, ANY_SCORE)
        if guess.score >= options.page_orientation.score_thresh:
            return self._find_lines(page, guess, options)
        found = self._find_lines(page, Orientation(0, guess.score), options)
        if not self._is_upside_down(found, guess, options):
            return found
        return self._find_lines(page, Orientation(HALF_TURN, guess.score), options)

    def _find_lines(self, page: Page, orientation: Orientation | None, options: OCROptions) -> DetectedPage:
        """Rotate the page, unwarp it, detect its text and crop the lines."""
        image = page.image if orientation is None else geometry.rotate(page.image, orientation.angle)
        if options.use_doc_unwarping and self.unwarp is not None:
            image = self.unwarp(image)
        boxes = geometry.reading_order(detect_in_tiles(self.detect, image, options.detection))
        memory.require(
            geometry.total_area(boxes) * CROP_BYTES,
            f"cropping {len(boxes)} boxes",
            "a lower unclip_ratio or a higher box_thresh reduces it",
        )
        cut = geometry.crop_all(image, [box.quad for box in boxes])
        # A box on a page that was enlarged for detection can be less than one pixel high.
        crops = [(box, crop) for box, crop in zip(boxes, cut, strict=True) if crop.size]
        reduced = reduction_warning(image, options.detection)
        return DetectedPage(
            page, orientation, replace(page, image=image), crops, _with_warning(page, page.warnings, reduced)
        )

    @timed("page: read lines, without the steps")
    def recognize_page(self, detected: DetectedPage, options: OCROptions) -> OCRResult:
        """Run the second half of the stages: rotate upside-down lines and recognize the text."""
        boxes, crops = [box for box, _ in detected.crops], [crop for _, crop in detected.crops]
        classify = self.classify_lines
        if options.use_textline_orientation and classify is not None:
            boxes, texts = read_oriented(
                boxes,
                crops,
                lambda images: classify(images, options.line_orientation),
                lambda images: self.recognize(images, options.recognition),
                options.line_orientation.score_thresh,
            )
        else:
            texts = self.recognize(crops, options.recognition)
        if isinstance(self.detect, TextDetector):
            # The result says which values were used.
            options = replace(options, detection=with_model_defaults(options.detection, self.detect.metadata))
        warnings = detected.warnings
        if isinstance(self.recognize, TextRecognizer):
            models = [stage.metadata.name for stage in (self.recognize, *self._stages.following)]
            squeezed = squeezing_warning(crops, options.recognition, self.recognize.metadata)
            for warning in (squeezed, unread_warning(crops, texts, models)):
                warnings = _with_warning(detected.source, warnings, warning)
        logger.info("%s: %s, %d lines", detected.source.path, detected.orientation, len(texts))
        kept = [
            TextLine(read.text, read.score, box, model=read.model or None, columns=read.columns)
            for box, read in zip(boxes, texts, strict=True)
            if read.score >= options.recognition.score_thresh
        ]
        if detected.layer is not None:
            boxes, kept = [line.box for line in detected.layer], list(detected.layer)
        if options.return_word_box:
            kept = [with_words(line) for line in kept]
        lines, blocks = _in_reading_order(kept, detected.page, options)
        memory.trim_heap_at_intervals()
        return OCRResult(
            detected.source, detected.page, detected.orientation, tuple(boxes), lines, options, blocks, warnings
        )

    def _is_upside_down(self, found: DetectedPage, guess: Orientation, options: OCROptions) -> bool:
        """Return whether the largest lines of a page are upside down; they are read if a classifier suspects it."""
        lines = largest([crop for _, crop in found.crops])
        suspected = guess.angle == HALF_TURN
        if not suspected and options.use_textline_orientation and self.classify_lines is not None:
            angles = self.classify_lines(lines, options.line_orientation)
            suspected = any(orientation.angle == HALF_TURN for orientation in angles)
        return suspected and are_upside_down(lines, lambda images: self.recognize(images, options.recognition))

    def _check_loaded(self, options: OCROptions) -> None:
        """Raise StageNotLoadedError if `options` turns a stage on that was off when this OCR was created."""
        stages = {
            "use_doc_orientation_classify": self.classify_page,
            "use_doc_unwarping": self.unwarp,
            "use_textline_orientation": self.classify_lines,
        }
        for name, stage in stages.items():
            if getattr(options, name) and stage is None:
                raise StageNotLoadedError(f"{name} was off when this OCR was created: create it with {name}=True")


def _with_errors(step: Callable[[Item], Result]) -> Callable[[Item | InputError], Result | InputError]:
    """A step that returns an InputError, and passes one on, instead of raising it; a MemoryError becomes one."""

    def run(item: Item | InputError) -> Result | InputError:
        if isinstance(item, InputError):
            return item
        try:
            return step(item)
        except InputError as error:
            return _of_page(error, item)
        except MemoryError:
            return _of_page(NotEnoughMemoryError(OUT_OF_MEMORY), item)

    return run


def _of_page(error: InputError, item: object) -> InputError:
    """The error with the input and the page that it belongs to."""
    page = item.source if isinstance(item, DetectedPage) else item
    if isinstance(page, Page):
        error.source, error.page = page.path, None if page.index is None else page.index + 1
    return error


def _with_warning(page: Page, warnings: tuple[str, ...], further: str | None) -> tuple[str, ...]:
    """The warnings of a page, with a further one, which is logged."""
    if further is None:
        return warnings
    logger.warning("%s: %s", page.path or "the image", further)
    return (*warnings, further)


def _map(function: Callable[[Item], Result], items: Generator[Item, None, None]) -> Generator[Result, None, None]:
    """Yield `function(item)` for each item; closing this generator closes `items`."""
    with closing(items):
        # Not a loop: its variable would keep a page in memory while the next one is awaited.
        yield from map(function, items)


def _in_reading_order(
    found: list[TextLine], page: Page, options: OCROptions
) -> tuple[tuple[TextLine, ...], tuple[Block, ...]]:
    """Return the lines in the order of the options, and the blocks of the page, if that order has blocks."""
    if options.reading_order == "paddle":
        return tuple(found), ()
    # In an upside-down line, positions are counted from the other end.
    columns = [Columns() if line.box.upside_down else line.columns for line in found]
    height, width = page.image.shape[:2]
    blocks, order = find_blocks(found, (width, height), columns)
    return tuple(found[i] for i in order), blocks


def _download_missing(models: Models, options: OCROptions) -> None:
    """Download the models of the stages that are on, if they are missing. Raises DownloadError."""
    names = [name for spec in TASKS.values() if spec.is_on(options) for name in spec.models(models)]
    if missing := [str(name) for name in names if store.is_missing(name)]:
        from ocr_onnx.converters import pull

        pull.obtain_all(missing)
