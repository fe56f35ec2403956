"""The module onnxruntime: its import, version, exceptions and plug-ins. No other module imports it."""

from __future__ import annotations

import functools
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocr_onnx.errors import DeviceUnavailableError, OnnxRuntimeMissingError
from ocr_onnx.runtime.provider_specs import CPU_PROVIDER

if TYPE_CHECKING:
    from types import ModuleType

logger: logging.Logger = logging.getLogger(__name__)

DISTRIBUTIONS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-migraphx",
    "onnxruntime-qnn",
)
"""The packages that install the module `onnxruntime`. If two are installed, they overwrite each other's files."""


class Backend:
    """The module that loads and runs models."""

    module: ModuleType | None = None
    """None: ONNX Runtime, which is imported at the first use. Tests inject a module of their own."""


def onnxruntime() -> ModuleType:
    """Return the module of the backend. Raises OnnxRuntimeMissingError if ONNX Runtime is not installed."""
    if Backend.module is None:
        Backend.module = _imported()
    return Backend.module


def _imported() -> ModuleType:
    """Import ONNX Runtime; warns if several distributions are installed.

    Official builds send usage data to Microsoft and store an identifier of the machine, unless this is disabled before they
    are loaded (Privacy.md in the package). It is disabled here, unless the environment variable is already set.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime as ort
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        raise OnnxRuntimeMissingError from error
    installed = distributions()
    if len(installed) > 1:
        logger.warning(
            "%s are installed together and overwrite each other's files: uninstall all of them, then install one",
            " and ".join(installed),
        )
    module: ModuleType = ort
    return module


def exceptions(ort: ModuleType) -> tuple[type[Exception], ...]:
    """Return the exceptions that ONNX Runtime raises: they have no common base class, and some are Python's.

    UnicodeDecodeError: an error that quotes a name of the graph that is not UTF-8.
    """
    names = vars(ort.capi.onnxruntime_pybind11_state).values()
    return (
        RuntimeError,
        UnicodeDecodeError,
        *(thing for thing in names if isinstance(thing, type) and issubclass(thing, Exception)),
    )


def version() -> tuple[int, int]:
    """Return the major and minor version of ONNX Runtime."""
    major, minor = onnxruntime().__version__.split(".")[:2]
    return int(major), int(minor)


def distributions() -> dict[str, str]:
    """Return the installed packages that contain ONNX Runtime, and their versions.

    They are searched for by folder name, because importing importlib.metadata takes longer than everything else here.
    """
    found: dict[str, str] = {}
    for folder in sys.path:
        with suppress(OSError):
            for entry in Path(folder).glob("*.dist-info"):
                name, _, version = entry.name.removesuffix(".dist-info").partition("-")
                found.setdefault(name.lower().replace("_", "-"), version)
    return {name: found[name] for name in DISTRIBUTIONS if name in found}


def plugin_devices() -> dict[str, list[Any]]:
    """Return the onnxruntime.OrtEpDevice objects of plug-in providers, by provider name."""
    ort = onnxruntime()
    found: dict[str, list[Any]] = {}
    for device in ort.get_ep_devices() if hasattr(ort, "get_ep_devices") else ():
        if device.ep_name != CPU_PROVIDER:
            found.setdefault(device.ep_name, []).append(device)
    return found


@functools.cache
def register_plugin(name: str, library: str) -> None:
    """Register a plug-in's library once; raise DeviceUnavailableError with the loader's message if that fails."""
    ort = onnxruntime()
    if not hasattr(ort, "register_execution_provider_library"):
        raise DeviceUnavailableError(
            f"{name} is a plug-in, but ONNX Runtime {ort.__version__} supports no plug-ins: pip install 'onnxruntime>=1.23'"
        )
    try:
        ort.register_execution_provider_library(name, library)
    except exceptions(ort) as error:
        raise DeviceUnavailableError(
            f"the library of the plug-in {name} cannot be loaded: {error}; install the package again"
        ) from error


def float16_converter() -> tuple[Any, Any]:
    """Return ONNX Runtime's function `convert_float_to_float16` and class `OnnxModel`; both need the package onnx."""
    onnxruntime()
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    return convert_float_to_float16, OnnxModel
