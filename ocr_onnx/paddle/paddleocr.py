"""`PaddleOCR` as PaddleOCR 3 has it: its arguments, its deprecated names, its results as dictionaries.

from ocr_onnx import PaddleOCR  # in place of: from paddleocr import PaddleOCR

What differs from the original is listed in docs/migrating-from-paddleocr.md.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from ocr_onnx.errors import ModelError
from ocr_onnx.inputs import sources
from ocr_onnx.models import languages, store, zoo
from ocr_onnx.models.metadata import Task
from ocr_onnx.outputs import saving
from ocr_onnx.paddle import pipeline_yaml
from ocr_onnx.paddle.parameters import plain, refuse, take_deprecated, take_without_effect
from ocr_onnx.paddle.results import PaddleResult
from ocr_onnx.pipeline import OCR, Models, OCROptions
from ocr_onnx.results import OCRResult
from ocr_onnx.runtime.providers import Mode, ProviderLike
from ocr_onnx.runtime.selection import place
from ocr_onnx.types import Quad

logger = logging.getLogger(__name__)

THRESHOLDS = ("thresh", "box_thresh", "unclip_ratio")
"""What a detection model's own file says, where a directory is given and no value."""

ROLES: Mapping[Task, str] = {
    "text_detection": "text_detection",
    "text_recognition": "text_recognition",
    "doc_orientation": "doc_orientation_classify",
    "image_unwarping": "doc_unwarping",
    "textline_orientation": "textline_orientation",
}
"""What the parameters of each task begin with."""


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
        given = {name: value for name, value in locals().items() if name in pipeline_yaml.PLACES}
        take_deprecated(given, others)
        take_without_effect(others)
        refuse(others)
        if lang is not None or ocr_version is not None:
            _take_language(given, lang, ocr_version)
        base = (
            pipeline_yaml.default(high_performance=bool(enable_hpi))
            if paddlex_config is None
            else pipeline_yaml.load(paddlex_config)
        )
        _leave_to_the_model(base, given)
        self._config = pipeline_yaml.changed(base, given)
        # Before models are fetched for it.
        mode: Mode = "high-performance" if pipeline_yaml.high_performance(self._config) else "standard"
        placement = place(device, providers, mode, build_missing=build_missing)
        self._engine = OCR(
            pipeline_yaml.options(self._config),
            models=_models(self._config),
            device=placement,
            cpu_threads=plain(cpu_threads),
        )
        self._finish_config(given)
        if paddlex_config is None and all(
            pipeline_yaml.stage(self._config, t) == pipeline_yaml.stage(base, t) for t in ROLES
        ):
            logger.info(
                "the embedded PP-OCRv5 mobile models are used; PaddleOCR's own default is PP-OCRv5_server_det and "
                "PP-OCRv5_server_rec: ocr-onnx models pull --accept-new PP-OCRv5_server_det PP-OCRv5_server_rec, then "
                "ocr_version='PP-OCRv5'"
            )

    @property
    def engine(self) -> OCR:
        """The pipeline behind it."""
        return self._engine

    @property
    def options(self) -> OCROptions:
        """What a call without arguments does."""
        return pipeline_yaml.options(self._config)

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
        given = {name: value for name, value in locals().items() if name in pipeline_yaml.PLACES}
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
        given = {name: value for name, value in locals().items() if name in pipeline_yaml.PLACES}
        return self._read(input, given)

    def ocr(self, img: sources.Source, **parameters: Any) -> list[Result]:
        """PaddleOCR 2's name of `predict`; the result is that of `predict`, as in PaddleOCR 3."""
        warnings.warn("ocr() is deprecated: call predict()", DeprecationWarning, stacklevel=2)
        return self.predict(img, **parameters)

    def export_paddlex_config_to_yaml(self, yaml_path: str | os.PathLike[str]) -> None:
        """Write the pipeline file that makes this pipeline again, here and in PaddleX."""
        pipeline_yaml.save(self._config, yaml_path)

    def close(self) -> None:
        """Nothing to be done: models are freed with the object."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, source: sources.Source, given: Mapping[str, Any]) -> Generator[Result, None, None]:
        chosen = pipeline_yaml.options(pipeline_yaml.changed(self._config, given))
        return _results(self._engine.predict_iter(source, chosen))

    def _finish_config(self, given: Mapping[str, Any]) -> None:
        """Write into the tree what was left to the models to say: their names, and detection's thresholds."""
        metadata = self._engine.metadata()
        for task, known in metadata.items():
            name = pipeline_yaml.stage(self._config, task).name
            if name is not None and name != known.name:
                raise ModelError(f"{ROLES[task]}_model_name is {name!r}, and the model says that it is {known.name!r}")
            self._config = pipeline_yaml.changed(self._config, {f"{ROLES[task]}_model_name": known.name})
        if given["text_detection_model_dir"] is not None:
            asked = metadata["text_detection"].postprocess
            own = {f"text_det_{key}": asked.get(key) for key in THRESHOLDS if given[f"text_det_{key}"] is None}
            self._config = pipeline_yaml.changed(self._config, own)


def _results(records: Iterator[OCRResult]) -> Generator[Result, None, None]:
    """The same under PaddleOCR's keys; a generator, so that it can be closed."""
    yield from map(Result, records)


def in_memory(record: OCRResult) -> dict[str, Any]:
    """The result's dictionary with boxes as arrays, and with the page before and after, as PaddleOCR hands it out."""
    written = saving.to_dict(record)
    pictures = {"input_img": record.source.image, "output_img": record.page.image}
    polys = [line.box.quad for line in record.lines]
    if record.options.return_word_box:
        written["text_word_region"] = [[word.box.tolist() for word in line.words or ()] for line in record.lines]
    return written | {
        "doc_preprocessor_res": written.get("doc_preprocessor_res", {}) | pictures,
        "dt_polys": [_narrow(box.quad) for box in record.boxes],
        "rec_polys": [_narrow(quad) for quad in polys],
        "rec_boxes": _narrow(np.array([saving.bounds(quad) for quad in polys], np.int32)),
    }


def _narrow(points: Quad) -> Any:
    """As int16, as the original has it, where that holds them."""
    fits = points.size == 0 or np.abs(points).max() <= np.iinfo(np.int16).max
    return points.astype(np.int16) if fits else points


def _take_language(given: dict[str, Any], lang: str | None, ocr_version: str | None) -> None:
    """Choose models by language and version; where models are named, those win, as in the original."""
    detection, recognition = languages.models_for(lang, ocr_version)
    named = [f"{stage}_model_{what}" for stage in ("text_detection", "text_recognition") for what in ("name", "dir")]
    if any(given[name] is not None for name in named):
        logger.warning("lang and ocr_version have no effect where models are named")
        return
    given |= {"text_detection_model_name": detection, "text_recognition_model_name": recognition}


def _leave_to_the_model(base: pipeline_yaml.Config, given: Mapping[str, Any]) -> None:
    """Where a directory is given without a name, take the default's name out of the tree."""
    for task, role in ROLES.items():
        if given[f"{role}_model_dir"] is not None and given[f"{role}_model_name"] is None:
            pipeline_yaml.forget_name(base, task)


def _models(tree: pipeline_yaml.Config) -> Models:
    """The files of all stages that are on, fetched or converted where that is needed."""
    options = pipeline_yaml.options(tree)
    off: dict[Task, bool] = {
        "doc_orientation": not options.use_doc_orientation_classify,
        "image_unwarping": not options.use_doc_unwarping,
        "textline_orientation": not options.use_textline_orientation,
    }
    stages = {task: pipeline_yaml.stage(tree, task) for task in ROLES if not off.get(task, False)}
    names = [stage.name for stage in stages.values() if stage.directory is None and stage.name is not None]
    missing = [name for name in names if name in zoo.models() and not store.path_of(name).is_file()]
    if missing:
        from ocr_onnx.converters import pull

        pull.obtain_all(missing)
    files = {task: _file(stage) for task, stage in stages.items()}
    fields = {"image_unwarping": "doc_unwarping"}
    return replace(Models(), **{fields.get(task, task): file for task, file in files.items()})


def _file(stage: pipeline_yaml.Stage) -> str | Path:
    """The file of a stage's model."""
    if stage.directory is not None:
        from ocr_onnx.converters import pull

        return pull.from_directory(Path(stage.directory), stage.name)
    if stage.name is None:
        raise ModelError("a stage of the pipeline file has neither model_name nor model_dir: give one")
    return store.find(stage.name)
