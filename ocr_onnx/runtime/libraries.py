"""Shared libraries of execution providers, and the loader's messages about missing ones."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterable
from typing import Any

from ocr_onnx.runtime.provider_specs import DRIVER, TENSORRT_LIBRARIES, spec_of


def needed(provider: str, cuda: str = "") -> list[str]:
    """Return the libraries of a provider in a wheel built for a CUDA version such as 13.0; known on Linux only."""
    if sys.platform != "linux":
        return []
    return [name.format(cuda=cuda.partition(".")[0]) for name in spec_of(provider).libraries]


def missing(names: Iterable[str]) -> dict[str, str]:
    """Load libraries; return those that cannot be loaded, with the loader's messages."""
    found: dict[str, str] = {}
    for name in names:
        try:
            ctypes.CDLL(name)
        except OSError as error:
            found[name] = str(error)
    return found


def tensorrt_version(load: Callable[[str], Any] = ctypes.CDLL) -> str:
    """Return the version of TensorRT, such as 10.13.2; empty if it is not installed."""
    try:
        number: int = load(TENSORRT_LIBRARIES[0]).getInferLibVersion()
    except OSError:
        return ""
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def gpu_name(index: int, load: Callable[[str], Any] = ctypes.CDLL) -> str:
    """Return a GPU's name from NVIDIA's driver; empty if there is no driver or no such GPU."""
    try:
        driver = load(DRIVER)
    except OSError:
        return ""
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    failed = driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), index)
    failed = failed or driver.cuDeviceGetName(name, len(name), device)
    return "" if failed else name.value.decode("utf-8", "replace")
