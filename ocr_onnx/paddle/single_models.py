"""PaddleOCR's classes for single models, with its parameters, methods and results.

from ocr_onnx import TextDetection  # instead of: from paddleocr import TextDetection
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypedDict, TypeVar, Unpack

import numpy as np

from ocr_onnx.converters import pull
from ocr_onnx.declarations import check_number, checked_path
from ocr_onnx.errors import ModelError, OptionError
from ocr_onnx.inputs import sources
from ocr_onnx.models.metadata import ModelMetadata, Task
from ocr_onnx.options import DetectionOptions, InputOptions, Models, RecognitionOptions
from ocr_onnx.outputs import paddle as paddle_format
from ocr_onnx.paddle.parameters import plain, refuse, take_tensorrt, take_without_effect
from ocr_onnx.paddle.results import PaddleResult
from ocr_onnx.runtime import batching
from ocr_onnx.runtime.providers import ProviderLike
from ocr_onnx.runtime.selection import choose_placement
from ocr_onnx.runtime.threads import cores
from ocr_onnx.stages import loading
from ocr_onnx.stages.detection import TextDetector, standalone_options, with_model_defaults
from ocr_onnx.stages.orientation import preprocess_line, preprocess_page
from ocr_onnx.stages.recognition import TextRecognizer
from ocr_onnx.stages.unwarping import TextImageUnwarper
from ocr_onnx.types import Image, Page, Run, Tensor

if TYPE_CHECKING:
    import PIL.Image

Options = TypeVar("Options", DetectionOptions, RecognitionOptions)

SCORE_DIGITS = 5
"""Number of decimal digits to which PaddleX rounds class scores."""


class Common(TypedDict, total=False):
    """Keyword parameters of all classes.

    `device` is cpu (default), gpu, gpu:N or auto. `providers`, which PaddleOCR does not have, are ONNX Runtime execution
    providers instead of a device, as in OCR. `use_tensorrt` and `precision` choose TensorRT on a GPU. The other
    parameters from `engine` on select Paddle's engines and have no effect.
    """

    model_name: str | None
    model_dir: str | os.PathLike[str] | None
    device: str | None
    providers: Sequence[ProviderLike]
    cpu_threads: int | None
    engine: str | None
    engine_config: Mapping[str, Any] | None
    enable_hpi: bool | None
    use_tensorrt: bool
    precision: Literal["fp32", "fp16"]
    enable_mkldnn: bool
    mkldnn_cache_capacity: int
    enable_cinn: bool


class DetectionParameters(Common, total=False):
    """Keyword parameters of TextDetection; None is the value in the model file."""

    limit_side_len: int | None
    limit_type: Literal["min", "max"] | None
    thresh: float | None
    box_thresh: float | None
    unclip_ratio: float | None
    max_side_limit: int | None
    input_shape: tuple[int, int, int] | None


class ModuleResult(PaddleResult):
    """The result of a model for one image. `img` is `{"res": …}`; `json` does not contain the input image."""

    def __init__(self, page: Page, content: Mapping[str, Any], picture: Callable[[], PIL.Image.Image]) -> None:
        whole = {"input_path": paddle_format.printable_path(page), "page_index": page.index, **content}
        super().__init__(page, whole, partial(_named, picture))


class _ArrayResult(ModuleResult):
    """A result whose `img` is an array, as in PaddleOCR: (height, width, 3) in RGB order."""

    @property
    def img(self) -> dict[str, Any]:
        """The drawn result, `{"res": …}`."""
        return {name: np.asarray(picture, np.uint8) for name, picture in self._images().items()}


class Module(ABC):
    """Base class of the classes for single models. Their parameters are those of `Common`.

    Raises OptionError for an unknown name or a value out of range, a subclass of ModelError for a model that cannot be loaded, and
    DeviceUnavailableError if the device is not available.
    """

    task: ClassVar[Task]
    default: ClassVar[str]
    """The default model, without a download if it is embedded. For text it is PP-OCRv6 small; PaddleOCR 3.7 has PP-OCRv6 medium."""
    threaded: ClassVar[bool] = True
    """Whether one run of the model may use all cores."""

    def __init__(self, **common: Unpack[Common]) -> None:
        refuse(common.keys() - Common.__annotations__.keys())
        take_without_effect(dict(common))
        device, providers = take_tensorrt(dict(common), common.get("device"), common.get("providers", ()))
        self.threads: int = cores(plain(common.get("cpu_threads")))
        name, folder = common.get("model_name"), common.get("model_dir")
        placement = choose_placement(device, providers)
        if placement.others:
            raise OptionError(
                f"device is {common.get('device')!r}: a single model runs on one GPU only; use for example gpu:1"
            )
        chosen = (
            pull.obtain(self.default if name is None else name)
            if folder is None
            else pull.from_directory(checked_path("model_dir", folder), name)
        )
        session, metadata = loading.load(chosen, self.task, placement, self.threads if self.threaded else 1)
        if name is not None and metadata.name != name:
            raise ModelError(f"{chosen} contains {metadata.name}, not {name}: correct model_name or model_dir")
        self.run: Run = session
        self.metadata: ModelMetadata = metadata
        self.shapes: batching.Shapes = batching.shapes_for(placement, metadata, masked=session.masked)

    def predict(
        self,
        input: sources.Source,  # noqa: A002
        batch_size: int | None = None,
        **overrides: Any,
    ) -> list[ModuleResult]:
        """Return the results of all images of `input`; `sources.Source` lists the supported types.

        `overrides` replace the constructor's parameters for this call. Raises a subclass of InputError for an input that cannot be
        read.
        """
        return list(self.predict_iter(input, batch_size, **overrides))

    def predict_iter(
        self,
        input: sources.Source,  # noqa: A002
        batch_size: int | None = None,
        **overrides: Any,
    ) -> Iterator[ModuleResult]:
        """Like `predict`, but yield results batch by batch. Recognition pads the images of a batch to the same width."""
        size = 1 if batch_size is None else plain(batch_size)
        check_number("batch_size", size, 1, whole=True)
        given = {name: value for name, value in overrides.items() if value is not None}
        for pages in _batches(sources.read_pages(input, InputOptions(transparency="ignore")), size):
            yield from self._read(pages, given)

    def close(self) -> None:  # noqa: B027
        """Do nothing, for compatibility: the model is freed with the object."""

    @abstractmethod
    def _read(self, pages: list[Page], overrides: Mapping[str, Any]) -> Iterator[ModuleResult]:
        """Yield the results of one batch."""


class TextDetection(Module):
    """Detects text: results have `dt_polys`, (n, 4, 2) points in pixels in no particular order, and `dt_scores`.

    The default thresholds are those in the model file, and the default input size is PaddleX's for the single model. Both can
    differ from the pipeline's.
    """

    task: ClassVar[Task] = "text_detection"
    default: ClassVar[str] = str(Models().text_detection)

    def __init__(self, **given: Unpack[DetectionParameters]) -> None:
        own = {name: value for name, value in given.items() if name not in Common.__annotations__}
        refuse(own.keys() - DetectionParameters.__annotations__.keys())
        common: Any = {name: value for name, value in given.items() if name not in own}
        super().__init__(**common)
        self.options: DetectionOptions = _replaced(standalone_options(self.metadata), own)

    def _read(self, pages: list[Page], overrides: Mapping[str, Any]) -> Iterator[ModuleResult]:
        from ocr_onnx.outputs import drawing

        options = with_model_defaults(_replaced(self.options, overrides), self.metadata)
        for page in pages:
            boxes = TextDetector(self.run, self.metadata, self.shapes)(page.image, options)
            quads = [box.quad for box in boxes]
            # Polygons have different numbers of corners, so they are a list, as in PaddleOCR.
            polys = np.array(quads, np.int32).reshape(-1, 4, 2) if options.box_type != "poly" else quads
            content = {"input_img": page.image, "dt_polys": polys, "dt_scores": [box.score for box in boxes]}
            yield _ArrayResult(page, content, partial(drawing.draw_boxes, page.image, quads))


class TextRecognition(Module):
    """Recognizes images of one text line each: results have `rec_text` and `rec_score`."""

    task: ClassVar[Task] = "text_recognition"
    default: ClassVar[str] = str(Models().text_recognition)
    threaded: ClassVar[bool] = False

    def __init__(self, *, input_shape: tuple[int, int, int] | None = None, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.options: RecognitionOptions = _replaced(
            RecognitionOptions(cut_wide_lines=False), {"input_shape": input_shape}
        )

    def _read(self, pages: list[Page], overrides: Mapping[str, Any]) -> Iterator[ModuleResult]:
        from ocr_onnx.outputs import drawing

        options = replace(_replaced(self.options, overrides), batch_size=len(pages))
        texts = TextRecognizer(self.run, self.metadata, self.threads, self.shapes)(
            [page.image for page in pages], options
        )
        for page, read in zip(pages, texts, strict=True):
            caption = f"{read.text} ({read.score:.3f})"
            content = {"input_img": page.image, "rec_text": read.text, "rec_score": read.score}
            yield ModuleResult(page, content, partial(drawing.draw_caption, page.image, caption))


class _Classification(Module):
    """Returns the `topk` most probable classes: `class_ids` (1, topk), `scores` (topk) and `label_names`."""

    def __init__(self, *, topk: int | None = None, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.topk: int = _checked_topk(1 if topk is None else topk)

    def _read(self, pages: list[Page], overrides: Mapping[str, Any]) -> Iterator[ModuleResult]:
        from ocr_onnx.outputs import drawing

        refuse(overrides.keys() - {"topk"})
        topk = _checked_topk(overrides.get("topk", self.topk))
        for page in pages:
            scores = self.run(self._preprocess(page.image))[0][0]
            best = scores.argsort()[-topk:][::-1].astype(np.int32)
            names = [self.metadata.labels[k] for k in best]
            content = {
                "input_img": page.image[:, :, ::-1],
                "class_ids": best[np.newaxis],
                "scores": np.around(scores[best], SCORE_DIGITS),
                "label_names": names,
            }
            caption = f"{names[0]} ({scores[best[0]]:.3f})"
            yield ModuleResult(page, content, partial(drawing.draw_caption, page.image, caption))

    @abstractmethod
    def _preprocess(self, image: Image) -> Tensor:
        """Return the model's input tensor for an image."""


class DocImgOrientationClassification(_Classification):
    """Classifies page orientation: the label is the counter-clockwise rotation that makes the page upright, 0, 90, 180 or 270."""

    task: ClassVar[Task] = "doc_orientation"
    default: ClassVar[str] = "PP-LCNet_x1_0_doc_ori"

    def _preprocess(self, image: Image) -> Tensor:
        return preprocess_page(image, self.metadata)


class TextLineOrientationClassification(_Classification):
    """Classifies whether a text line is upside down: the label is 0_degree or 180_degree."""

    task: ClassVar[Task] = "textline_orientation"
    default: ClassVar[str] = "PP-LCNet_x1_0_textline_ori"

    def _preprocess(self, image: Image) -> Tensor:
        return preprocess_line(image, self.metadata)


class TextImageUnwarping(Module):
    """Unwarps photographs of curved pages: results have `doctr_img`, (height, width, 3) in RGB order as in PaddleOCR."""

    task: ClassVar[Task] = "image_unwarping"
    default: ClassVar[str] = "UVDoc"

    def _read(self, pages: list[Page], overrides: Mapping[str, Any]) -> Iterator[ModuleResult]:
        from ocr_onnx.outputs import drawing

        refuse(overrides)
        for page in pages:
            flat = TextImageUnwarper(self.run, self.metadata)(page.image)
            content = {"input_img": page.image, "doctr_img": flat[:, :, ::-1]}
            yield _ArrayResult(page, content, partial(drawing.to_pil, flat))


def _replaced(options: Options, given: Mapping[str, Any]) -> Options:
    """Return the options with the values in `given` that are not None. Raises OptionError for an unknown name."""
    known = {name: plain(value) for name, value in given.items() if value is not None}
    refuse(known.keys() - {f.name for f in fields(options)})
    return replace(options, **known)


def _checked_topk(value: int) -> int:
    topk: int = plain(value)
    check_number("topk", topk, 1, whole=True)
    return topk


def _batches(pages: Iterable[Page], size: int) -> Iterator[list[Page]]:
    batch: list[Page] = []
    for page in pages:
        batch.append(page)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _named(picture: Callable[[], PIL.Image.Image]) -> dict[str, PIL.Image.Image]:
    return {"res": picture()}
