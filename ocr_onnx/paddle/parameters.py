"""What PaddleOCR's classes take and ours do not need: old names, and parameters that mean nothing here."""

from __future__ import annotations

import functools
import logging
import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from ocr_onnx.errors import OptionError

logger = logging.getLogger(__name__)

DEPRECATED: Mapping[str, str] = {
    "det_model_dir": "text_detection_model_dir",
    "det_limit_side_len": "text_det_limit_side_len",
    "det_limit_type": "text_det_limit_type",
    "det_db_thresh": "text_det_thresh",
    "det_db_box_thresh": "text_det_box_thresh",
    "det_db_unclip_ratio": "text_det_unclip_ratio",
    "rec_model_dir": "text_recognition_model_dir",
    "rec_batch_num": "text_recognition_batch_size",
    "use_angle_cls": "use_textline_orientation",
    "cls_model_dir": "textline_orientation_model_dir",
    "cls_batch_num": "textline_orientation_batch_size",
}
"""Names of PaddleOCR 2, and what they are called since."""

WITHOUT_EFFECT: Mapping[str, tuple[Any, str]] = {
    "enable_hpi": (False, "the modes are the pipeline's"),
    "use_tensorrt": (False, "ONNX Runtime's CUDA provider is used"),
    "min_subgraph_size": (3, "it splits graphs for Paddle's TensorRT"),
    "precision": ("fp32", "models run in the precision of their file"),
    "enable_mkldnn": (True, "ONNX Runtime has kernels of its own"),
    "mkldnn_cache_capacity": (10, "ONNX Runtime has kernels of its own"),
    "enable_cinn": (False, "that is a compiler of Paddle"),
    "engine": ("onnxruntime", "the engine is ONNX Runtime"),
    "engine_config": (None, "the engine is ONNX Runtime"),
}
"""Parameters that mean nothing here: the value that needs no word, and why."""

PRECISIONS = ("fp32", "fp16")


def take_deprecated(given: dict[str, Any], others: dict[str, Any]) -> None:
    """Move values given under old names to the new ones; raises OptionError where both are given."""
    for old in others.keys() & DEPRECATED.keys():
        new, value = DEPRECATED[old], others.pop(old)
        _warn_deprecated(old, new)
        if value is not None and given[new] is not None:
            raise OptionError(f"{old} and {new} are one parameter: give {new} alone")
        given[new] = value if given[new] is None else given[new]


def take_without_effect(others: dict[str, Any]) -> None:
    """Take out the parameters without effect, and say once of each that it has none."""
    for name in others.keys() & WITHOUT_EFFECT.keys():
        value = others.pop(name)
        usual, why = WITHOUT_EFFECT[name]
        if name == "precision" and value not in (None, *PRECISIONS):
            raise OptionError(f"precision is {value!r}: it must be one of {', '.join(PRECISIONS)}")
        if value not in (None, usual):
            _say_without_effect(name, why)


def plain(value: Any) -> Any:
    """A parameter in types that YAML and JSON know: numbers of NumPy's, arrays, tuples and paths are taken as well."""
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.tolist() if hasattr(value, "tolist") else value


def refuse(unknown: Iterable[str]) -> None:
    """Raise OptionError where there is a name left that nobody knows."""
    if names := sorted(unknown):
        raise OptionError(f"Unknown argument: {', '.join(names)}")


@functools.cache
def _warn_deprecated(old: str, new: str) -> None:
    warnings.warn(f"{old} is deprecated: its name is {new}", DeprecationWarning, stacklevel=4)


@functools.cache
def _say_without_effect(name: str, why: str) -> None:
    logger.warning("%s has no effect here: %s", name, why)
