"""`PaddleOCR` as PaddleOCR 3 has it: its arguments, its deprecated names, its results as dictionaries.

from ocr_onnx import PaddleOCR  # in place of: from paddleocr import PaddleOCR

What differs from the original is listed in docs/migrating-from-paddleocr.md.
"""

from __future__ import annotations

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
from ocr_onnx.paddle.parameters import plain, refuse, take_deprecated, take_without_effect
from ocr_onnx.paddle.results import PaddleResult
from ocr_onnx.pipeline import OCR
from ocr_onnx.results import OCRResult
from ocr_onnx.runtime.providers import ProviderLike
from ocr_onnx.types import Quad


class Result(PaddleResult):
    """A page's result under PaddleOCR's keys, boxes as arrays of int16 where they fit."""

    def __init__(self, record: OCRResult) -> None:
        # No lambdas: a result can be pickled, and so be sent from process to process.
        super().__init__(record.source, in_memory(record), partial(getattr, record, "img"))
        self.record = record
        """The typed result that it was made of."""


class PaddleOCR:
    """The pipeline under PaddleOCR's names; parameters left None take the pipeline file's value, else the default.

    `enable_hpi` is high-performance mode, `OCROptions.high_performance()`; with a pipeline file the file's sizes stand.
    `text_rec_padding`, `providers` and `build_missing`, which PaddleOCR lacks, are `RecognitionOptions.padding`, OCR's, and
    leave to have TensorRT compile a model here and now.

    `others` are PaddleOCR's deprecated names, and its parameters that have no effect here. What each parameter does,
    and where it differs from PaddleOCR, is in docs/migrating-from-paddleocr.md. How inputs are read (the pages of a
    PDF, limits) is no parameter: `engine` takes it, as `ocr.engine.predict_iter(source, replace(ocr.options,
    input=InputOptions(pdf_pages="1-3")))`.

    Raises OptionError for a value out of range and for an unknown name, a kind of ModelError or DownloadError where a
    model is not to be had, DeviceUnavailableError where the device is not there.
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
        build_missing: bool = False,
        paddlex_config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        **others: Any,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in PARAMETERS}
        take_deprecated(given, others)
        take_without_effect(others)
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
            )
        )

    @property
    def engine(self) -> OCR:
        """The pipeline behind it."""
        return self._assembly.engine

    @property
    def options(self) -> OCROptions:
        """What a call without arguments does."""
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
        """Read every page of `input`; a parameter that is not None wins over the constructor's for this call."""
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
        """As `predict`, page by page; to close it ends the reading ahead."""
        given = {name: value for name, value in locals().items() if name in PARAMETERS}
        return self._read(input, given)

    def ocr(self, img: sources.Source, **parameters: Any) -> list[Result]:
        """PaddleOCR 2's name of `predict`; the result is that of `predict`, as in PaddleOCR 3."""
        warnings.warn("ocr() is deprecated: call predict()", DeprecationWarning, stacklevel=2)
        return self.predict(img, **parameters)

    def export_paddlex_config_to_yaml(self, yaml_path: str | os.PathLike[str]) -> None:
        """Write the pipeline file that makes this pipeline again, here and in PaddleX."""
        pipeline_yaml.save(self._assembly.config, yaml_path)

    def close(self) -> None:
        """Nothing to be done: models are freed with the object."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, source: sources.Source, given: Mapping[str, Any]) -> Generator[Result, None, None]:
        return _results(self.engine.predict_iter(source, with_values(self.options, given)))


def _results(records: Iterator[OCRResult]) -> Generator[Result, None, None]:
    """The same under PaddleOCR's keys; a generator, so that it can be closed."""
    yield from map(Result, records)


def in_memory(record: OCRResult) -> dict[str, Any]:
    """The result's dictionary with boxes as arrays, and with the page before and after, as PaddleOCR hands it out."""
    written = paddle_format.to_dict(record)
    pictures = {"input_img": record.source.image, "output_img": record.page.image}
    polys = [line.box.quad for line in record.lines]
    if record.options.return_word_box:
        written["text_word_region"] = [[word.box.tolist() for word in line.words or ()] for line in record.lines]
    return written | {
        "doc_preprocessor_res": written.get("doc_preprocessor_res", {}) | pictures,
        "dt_polys": [_narrow(box.quad) for box in record.boxes],
        "rec_polys": [_narrow(quad) for quad in polys],
        "rec_boxes": _narrow(np.array([paddle_format.bounding_box(quad) for quad in polys], np.int32)),
    }


def _narrow(points: Quad) -> Any:
    """As int16, as the original has it, where that holds them."""
    fits = points.size == 0 or np.abs(points).max() <= np.iinfo(np.int16).max
    return points.astype(np.int16) if fits else points
