"""Accept PaddleOCR's deprecated parameter names, and its parameters that have no effect here."""

from __future__ import annotations

import functools
import logging
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from ocr_onnx.declarations import check_number, check_text
from ocr_onnx.errors import OptionError
from ocr_onnx.runtime.provider_specs import TENSORRT_PROVIDER
from ocr_onnx.runtime.providers import Device, Provider, ProviderLike

logger: logging.Logger = logging.getLogger(__name__)

Where: TypeAlias = tuple[str | None, Sequence[ProviderLike]]
"""A device and execution providers, at most one of which is given."""

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
"""Parameter names of PaddleOCR 2 that PaddleOCR 3 accepts, and their current names."""

RENAMED: Mapping[str, str] = {
    "det_box_type": "text_det_box_type",
    "det_db_score_mode": "text_det_score_mode",
    "drop_score": "text_rec_score_thresh",
    "max_batch_size": "text_recognition_batch_size",
    "use_dilation": "text_det_use_dilation",
}
"""Parameter names of PaddleOCR 2 that PaddleOCR 3 refuses, and their current names."""

OLD_NAMES: Mapping[str, str] = {**DEPRECATED, **RENAMED}
"""Parameter names of PaddleOCR 2 that are accepted here, and their current names."""

DROPPED = frozenset(
    {"show_log", "use_space_char", "gpu_mem", "ir_optim", "max_text_length", "det_algorithm", "rec_algorithm"}
    | {"use_mp", "total_process_num", "use_onnx", "benchmark", "warmup", "save_log_path", "use_pdserving"}
)
"""Parameters of PaddleOCR 2 that decide nothing here: they are ignored."""

REPLACED: Mapping[str, str] = {
    "rec_char_dict_path": "the dictionary belongs to the model: ocr-onnx models import --dict FILE",
    "rec_image_shape": "give text_rec_input_shape",
    "cls_thresh": "give textline_orientation_score_thresh",
    "page_num": "give InputOptions(pdf_pages='1-3') to ocr.engine, or run --pdf_pages 1-3",
    "use_xpu": "give providers",
    "use_npu": "give providers",
}
"""Parameters of PaddleOCR 2 that are refused, and what takes their place."""

CALL_2: Mapping[str, str] = {"det": "TextRecognition reads cut lines", "rec": "TextDetection finds boxes without text"}
"""Parameters of `ocr` of PaddleOCR 2 that turn a stage off, and what takes their place."""

WITHOUT_EFFECT: Mapping[str, tuple[Any, str]] = {
    "enable_hpi": (False, "only the pipeline has modes"),
    "enable_mkldnn": (True, "ONNX Runtime uses its own kernels"),
    "mkldnn_cache_capacity": (10, "ONNX Runtime uses its own kernels"),
    "enable_cinn": (False, "CINN is a compiler of Paddle"),
    "engine": ("onnxruntime", "the engine is ONNX Runtime"),
    "engine_config": (None, "the engine is ONNX Runtime"),
}
"""Parameters without effect: PaddleOCR's default, for which no warning is logged, and the reason."""

PRECISIONS = ("fp32", "fp16")

TENSORRT: Mapping[str, tuple[Any, str]] = {
    "use_tensorrt": (False, "TensorRT needs a GPU, and the device is {device}"),
    "min_subgraph_size": (3, "it applies to TensorRT, which is not used"),
    "precision": ("fp32", "it applies to TensorRT, which is not used; models run in the precision of their file"),
}
"""Parameters of TensorRT: PaddleOCR's default, for which no warning is logged, and the reason if they have no effect."""


def take_deprecated(given: dict[str, Any], others: dict[str, Any]) -> None:
    """Move values of deprecated names in `others` to current names in `given`. Raises OptionError if both are given."""
    for old in others.keys() & OLD_NAMES.keys():
        new, value = OLD_NAMES[old], others.pop(old)
        _warn_deprecated(old, new)
        if value is not None and given.get(new) is not None:
            raise OptionError(f"{old} and {new} are the same parameter: use {new} only")
        given[new] = value if given.get(new) is None else given[new]
    for old in others.keys() & DROPPED:
        del others[old]


def take_use_gpu(others: dict[str, Any], device: str | None) -> str | None:
    """Remove use_gpu of PaddleOCR 2 from `others`, and return the device that it chooses if no other is given."""
    wanted = others.pop("use_gpu", None)
    if wanted is None:
        return device
    _warn_deprecated("use_gpu", "device='gpu'")
    return "gpu" if wanted and device is None else device


def take_call_2(given: dict[str, Any], *, classifies: bool) -> dict[str, Any]:
    """Return the parameters of a call in place of those of `ocr` of PaddleOCR 2; `classifies`: whether that stage was loaded.

    Raises OptionError for a stage that cannot be turned off.
    """
    found = dict(given)
    for name, instead in CALL_2.items():
        if not found.pop(name, True):
            raise OptionError(f"{name}=False is not supported: {instead}, as in PaddleOCR 3")
    wanted = found.pop("cls", None)
    if wanted is not None and classifies:
        found.setdefault("use_textline_orientation", bool(wanted))
    return found


def take_without_effect(others: dict[str, Any]) -> None:
    """Remove parameters without effect from `others`, and log a warning once for each."""
    for name in others.keys() & WITHOUT_EFFECT.keys():
        value = plain(others.pop(name))
        usual, why = WITHOUT_EFFECT[name]
        if value not in (None, usual):
            _say_without_effect(name, why)


def take_tensorrt(others: dict[str, Any], device: str | None, providers: Sequence[ProviderLike] = ()) -> Where:
    """Remove the parameters in TENSORRT from `others`; return the device and the execution providers.

    Those are `device` and `providers`, unless the parameters choose TensorRT on a GPU: then there is no device. Without
    use_tensorrt, or without a GPU, a warning is logged once for each parameter without effect. Raises OptionError for a value
    out of range, for several GPUs, and if both use_tensorrt and `providers` are given.
    """
    given = {name: plain(others.pop(name)) for name in others.keys() & TENSORRT.keys()}
    given = {name: value for name, value in given.items() if value not in (None, TENSORRT[name][0])}
    if (precision := given.get("precision", "fp32")) not in PRECISIONS:
        raise OptionError(f"precision is {precision!r}: it must be one of {', '.join(PRECISIONS)}")
    check_number("min_subgraph_size", size := given.get("min_subgraph_size", 1), 1, whole=True)
    wanted = Device.parse("cpu" if device is None else check_text("device", device) or "cpu")
    if not given.get("use_tensorrt") or wanted.kind != "gpu":
        for name in given:
            _say_without_effect(name, TENSORRT[name][1].format(device=device or "cpu"))
        return device, providers
    if providers:
        raise OptionError("use_tensorrt and providers are both given: give one of them")
    if len(wanted.indices) > 1:
        raise OptionError(f"device is {device!r}: with use_tensorrt, give one GPU, for example gpu:1")
    number = {"device_id": str(wanted.indices[0])}
    chosen = {"trt_fp16_enable": str(int(precision == "fp16"))}
    if "min_subgraph_size" in given:
        chosen["trt_min_subgraph_size"] = str(size)
    return None, (Provider(TENSORRT_PROVIDER, number | chosen), *wanted.providers())


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
        if names[0] in REPLACED:
            raise OptionError(f"{names[0]} is a parameter of PaddleOCR 2: {REPLACED[names[0]]}")
        raise OptionError(
            f"Unknown argument: {', '.join(names)}; docs/migrating-from-paddleocr.md lists the parameters"
        )


@functools.cache
def _warn_deprecated(old: str, new: str) -> None:
    warnings.warn(f"{old} is deprecated: use {new}", DeprecationWarning, stacklevel=4)


@functools.cache
def _say_without_effect(name: str, why: str) -> None:
    logger.warning("%s has no effect here: %s", name, why)
