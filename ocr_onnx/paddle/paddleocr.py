"""The class `PaddleOCR` with the interface of PaddleOCR 3: its parameters, its deprecated names, its results as dictionaries.

from ocr_onnx import PaddleOCR  # instead of: from paddleocr import PaddleOCR

docs/migrating-from-paddleocr.md lists the differences.
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Self

import numpy as np

from ocr_onnx.inputs import sources
from ocr_onnx.options import OCROptions
from ocr_onnx.outputs import paddle as paddle_format
from ocr_onnx.paddle import pipeline_yaml
from ocr_onnx.paddle.assembly import PARAMETERS, Request, assemble, with_values
from ocr_onnx.paddle.parameters import (
    plain,
    refuse,
    take_call_2,
    take_deprecated,
    take_tensorrt,
    take_use_gpu,
    take_without_effect,
)
from ocr_onnx.paddle.results import PaddleResult
from ocr_onnx.pipeline import OCR
from ocr_onnx.results import OCRResult
from ocr_onnx.runtime.providers import ProviderLike
from ocr_onnx.types import Quad


class Result(PaddleResult):
    """The result of one page with PaddleOCR's keys. Boxes are int16 arrays, or int32 if coordinates exceed int16."""

    def __init__(self, record: OCRResult) -> None:
        # A partial rather than a lambda, because it can be pickled and sent to other processes.
        super().__init__(record.source, in_memory_dict(record), partial(getattr, record, "img"))
        self.record = record
        """The typed result."""


class PaddleOCR:
    """The OCR pipeline with PaddleOCR's parameters. A parameter that is None has the pipeline file's value, or else the default.

    `enable_hpi` selects high-performance mode, `OCROptions.high_performance()`; the size limits of a pipeline file take
    precedence. Six parameters do not exist in PaddleOCR: `text_rec_padding` is `RecognitionOptions.padding`, `reading_order` is
    `OCROptions.reading_order`, `providers` is the parameter of OCR, `build_missing` allows the constructor to build missing
    TensorRT engines, which takes minutes, and `doc_orientation_classify_score_thresh` and `textline_orientation_score_thresh` are
    the least scores for a rotation.

    The defaults are PaddleOCR's, so the same models read the same text, with three exceptions: the models are PP-OCRv6 small,
    unwarping is off, and the device is the CPU, also if there is a GPU. `OCR` has the defaults with the best accuracy.

    `others` are PaddleOCR's deprecated names, and its parameters without effect here. docs/migrating-from-paddleocr.md describes
    every parameter and the differences from PaddleOCR. Options for reading inputs, such as the pages of a PDF, are not
    parameters; pass them to `engine`: `ocr.engine.predict_iter(source, replace(ocr.options,
    input=InputOptions(pdf_pages="1-3")))`.

    Raises OptionError for an unknown name or a value out of range, a subclass of ModelError or DownloadError for a model that
    cannot be loaded or downloaded, and DeviceUnavailableError if the device is not available.
    """

    def __init__(
        self,
        doc_orientation_classify_model_name: str | None = None,
        doc_orientation_classify_model_dir: str | os.PathLike[str] | None = None,
        doc_unwarping_model_name: str | None = None,
        doc_unwarping_model_dir: str | os.PathLike[str] | None = None,
        text_detection_model_name: str | None = None,
        text_detection_model_dir: str | os.PathLike[str] | None = None,
        textline_orientation_model_name: str | None = None,
        textline_orientation_model_dir: str | os.PathLike[str] | None = None,
        textline_orientation_batch_size: int | None = None,
        text_recognition_model_name: str | None = None,
        text_recognition_model_dir: str | os.PathLike[str] | None = None,
        text_recognition_batch_size: int | None = None,
        use_doc_orientation_classify: bool | None = None,
        use_doc_unwarping: bool | None = None,
        use_textline_orientation: bool | None = None,
        text_det_limit_side_len: int | None = None,
        text_det_limit_type: str | None = None,
        text_det_thresh: float | None = None,
        text_det_box_thresh: float | None = None,
        text_det_unclip_ratio: float | None = None,
        text_det_input_shape: tuple[int, int, int] | None = None,
        text_rec_score_thresh: float | None = None,
        return_word_box: bool | None = None,
        text_rec_input_shape: tuple[int, int, int] | None = None,
        lang: str | None = None,
        ocr_version: str | None = None,
        *,
        device: str | None = None,
        providers: Sequence[ProviderLike] = (),
        enable_hpi: bool | None = None,
        cpu_threads: int | None = None,
        text_rec_padding: str | None = None,
        reading_order: str | None = None,
        doc_orientation_classify_score_thresh: float | None = None,
        textline_orientation_score_thresh: float | None = None,
        build_missing: bool = False,
        paddlex_config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        **others: Any,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in PARAMETERS}
        take_deprecated(given, others)
        take_without_effect(others)
        device = take_use_gpu(others, device)
        device, providers = take_tensorrt(others, device, providers)
        refuse(others)
        self._assembly = assemble(
            Request(
                given,
                None if paddlex_config is None else pipeline_yaml.load(paddlex_config),
                high_performance=plain(enable_hpi),
                device=device,
                providers=providers,
                build_missing=build_missing,
                cpu_threads=cpu_threads,
                lang=lang,
                ocr_version=ocr_version,
                compatible=True,
            )
        )

    @property
    def engine(self) -> OCR:
        """The native pipeline."""
        return self._assembly.engine

    @property
    def options(self) -> OCROptions:
        """The default options of `predict`."""
        return self._assembly.options

    def predict(
        self,
        input: sources.Source,  # noqa: A002 PaddleOCR's name
        *,
        use_doc_orientation_classify: bool | None = None,
        use_doc_unwarping: bool | None = None,
        use_textline_orientation: bool | None = None,
        text_det_limit_side_len: int | None = None,
        text_det_limit_type: str | None = None,
        text_det_thresh: float | None = None,
        text_det_box_thresh: float | None = None,
        text_det_unclip_ratio: float | None = None,
        text_rec_score_thresh: float | None = None,
        return_word_box: bool | None = None,
    ) -> list[Result]:
        """Recognize every page of `input` and return the results in order.

        A parameter that is not None replaces the constructor's for this call. Raises a subclass of InputError at the first page
        that cannot be read.
        """
        given = {name: value for name, value in locals().items() if name in PARAMETERS}
        return list(self._read(input, given))

    def predict_iter(
        self,
        input: sources.Source,  # noqa: A002 PaddleOCR's name
        *,
        use_doc_orientation_classify: bool | None = None,
        use_doc_unwarping: bool | None = None,
        use_textline_orientation: bool | None = None,
        text_det_limit_side_len: int | None = None,
        text_det_limit_type: str | None = None,
        text_det_thresh: float | None = None,
        text_det_box_thresh: float | None = None,
        text_det_unclip_ratio: float | None = None,
        text_rec_score_thresh: float | None = None,
        return_word_box: bool | None = None,
    ) -> Generator[Result, None, None]:
        """Like `predict`, but yield each result as soon as it is ready. Closing the generator stops prefetching."""
        given = {name: value for name, value in locals().items() if name in PARAMETERS}
        return self._read(input, given)

    def ocr(self, img: sources.Source, **parameters: Any) -> list[Result]:
        """Call `predict`. Deprecated name of PaddleOCR 2; as in PaddleOCR 3, the result is that of `predict`.

        Of the parameters of PaddleOCR 2, `cls` is `use_textline_orientation` if that stage was loaded. Raises OptionError for
        `det=False`, `rec=False` and an unknown parameter.
        """
        warnings.warn("ocr() is deprecated: call predict()", DeprecationWarning, stacklevel=2)
        parameters = take_call_2(parameters, classifies=self.options.use_textline_orientation)
        refuse(parameters.keys() - inspect.signature(self.predict).parameters.keys())
        return self.predict(img, **parameters)

    def export_paddlex_config_to_yaml(self, yaml_path: str | os.PathLike[str]) -> None:
        """Write a pipeline file for the same pipeline, which PaddleX can read as well. Raises OutputError."""
        pipeline_yaml.save(self._assembly.config, yaml_path)

    def close(self) -> None:
        """Do nothing, for compatibility: models are freed with the object."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, source: sources.Source, given: Mapping[str, Any]) -> Generator[Result, None, None]:
        return _results(self.engine.predict_iter(source, with_values(self.options, given)))


def _results(records: Iterator[OCRResult]) -> Generator[Result, None, None]:
    """Yield results with PaddleOCR's keys. A generator rather than a map, so that it can be closed."""
    yield from map(Result, records)


def in_memory_dict(record: OCRResult) -> dict[str, Any]:
    """Return PaddleOCR's dictionary of a result in memory: boxes are arrays, and it contains the page before and after rotation."""
    content = paddle_format.to_dict(record)
    content.pop("warnings", None)  # PaddleOCR's results have no such key; those of the record stay.
    pictures = {"input_img": record.source.image, "output_img": record.page.image}
    boxes, lines = paddle_format.in_order(record)
    quads = [line.box.quad for line in lines]
    if record.options.return_word_box:
        content["text_word_region"] = [[word.box.tolist() for word in words] for words in paddle_format.words_of(lines)]
    return content | {
        "doc_preprocessor_res": {"angle": paddle_format.OFF} | content.get("doc_preprocessor_res", {}) | pictures,
        "dt_polys": [_as_int16(box.quad) for box in boxes],
        "rec_polys": [_as_int16(quad) for quad in quads],
        "rec_boxes": _as_int16(np.array([paddle_format.bounding_box(quad) for quad in quads], np.int32).reshape(-1, 4)),
    }


def _as_int16(points: Quad) -> Any:
    """Convert points to int16, as in PaddleOCR, if that type can represent them."""
    fits = points.size == 0 or np.abs(points).max() <= np.iinfo(np.int16).max
    return points.astype(np.int16) if fits else points
