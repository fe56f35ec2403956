"""Accept PaddleOCR's deprecated parameter names, and its parameters that have no effect here."""

from __future__ import annotations

import functools
import logging
import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from ocr_onnx.errors import OptionError

logger: logging.Logger = logging.getLogger(__name__)

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
"""Parameter names of PaddleOCR 2, and their current names."""

WITHOUT_EFFECT: Mapping[str, tuple[Any, str]] = {
    "enable_hpi": (False, "only the pipeline has modes"),
    "use_tensorrt": (False, "ONNX Runtime's CUDA provider is used"),
    "min_subgraph_size": (3, "it applies to Paddle's TensorRT subgraphs"),
    "precision": ("fp32", "models run in the precision of their file"),
    "enable_mkldnn": (True, "ONNX Runtime uses its own kernels"),
    "mkldnn_cache_capacity": (10, "ONNX Runtime uses its own kernels"),
    "enable_cinn": (False, "CINN is a compiler of Paddle"),
    "engine": ("onnxruntime", "the engine is ONNX Runtime"),
    "engine_config": (None, "the engine is ONNX Runtime"),
}
"""Parameters without effect: PaddleOCR's default, for which no warning is logged, and the reason."""

PRECISIONS = ("fp32", "fp16")


def take_deprecated(given: dict[str, Any], others: dict[str, Any]) -> None:
    """Move values of deprecated names in `others` to current names in `given`. Raises OptionError if both are given."""
    for old in others.keys() & DEPRECATED.keys():
        new, value = DEPRECATED[old], others.pop(old)
        _warn_deprecated(old, new)
        if value is not None and given[new] is not None:
            raise OptionError(f"{old} and {new} are the same parameter: use {new} only")
        given[new] = value if given[new] is None else given[new]


def take_without_effect(others: dict[str, Any]) -> None:
    """Remove parameters without effect from `others`, and log a warning once for each. Raises OptionError for an invalid precision."""
    for name in others.keys() & WITHOUT_EFFECT.keys():
        value = others.pop(name)
        usual, why = WITHOUT_EFFECT[name]
        if name == "precision" and value not in (None, *PRECISIONS):
            raise OptionError(f"precision is {value!r}: it must be one of {', '.join(PRECISIONS)}")
        if value not in (None, usual):
            _say_without_effect(name, why)


def plain(value: Any) -> Any:
    """Convert a value to YAML and JSON types: NumPy numbers and arrays, tuples and paths are converted."""
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.tolist() if hasattr(value, "tolist") else value


def refuse(unknown: Iterable[str]) -> None:
    """Raise OptionError if `unknown` is not empty."""
    if names := sorted(unknown):
        raise OptionError(
            f"Unknown argument: {', '.join(names)}; docs/migrating-from-paddleocr.md lists the parameters"
        )


@functools.cache
def _warn_deprecated(old: str, new: str) -> None:
    warnings.warn(f"{old} is deprecated: use {new}", DeprecationWarning, stacklevel=4)


@functools.cache
def _say_without_effect(name: str, why: str) -> None:
    logger.warning("%s has no effect here: %s", name, why)
