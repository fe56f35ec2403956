"""OpenVINO in place of ONNX Runtime on the CPU: it computes in bfloat16. No other module imports openvino."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import queue
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.models.metadata import properties
from ocr_onnx.runtime.provider_specs import OPENVINO
from ocr_onnx.runtime.providers import Placement, Provider
from ocr_onnx.runtime.threads import cpu_count
from ocr_onnx.types import Tensor

BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""The names, in Linux's list of a processor's features, of instructions that multiply numbers in bfloat16. OpenVINO itself also
reports bfloat16 for processors that have none of them, and is slower in bfloat16 there."""

NUM_THREADS = "INFERENCE_NUM_THREADS"
"""OpenVINO's property for the number of threads of a model, in all calls together."""

CPUINFO = Path("/proc/cpuinfo")

LARGE_BLOCK = 4 * 2**20
"""Bytes of a tensor above which its memory is returned to the system when it is freed."""

M_MMAP_THRESHOLD = -3
"""glibc's number of the parameter of `mallopt`."""

MODEL_FIELDS = ("model name", "CPU implementer", "CPU part")
"""Fields of /proc/cpuinfo that name the model of a processor: the first on x86-64, the others on ARM."""


TYPES = {"f32": "tensor(float)", "i64": "tensor(int64)"}
"""ONNX Runtime's names of OpenVINO's types, of those that the models have."""


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a model."""

    name: str
    shape: list[int | str | None]
    """The size of each axis; None if it is free."""
    type: str
    """As ONNX Runtime names it."""


@dataclass(frozen=True, slots=True)
class ModelMeta:
    """The metadata of a model file."""

    custom_metadata_map: Mapping[str, str]


class CompiledModel:
    """A model that OpenVINO compiled, with those methods of onnxruntime.InferenceSession that Session calls.

    `options` are OpenVINO's properties. `threads` is the number of threads of one call. As many calls as fit on
    INFERENCE_NUM_THREADS (default: the cores of the process) run at the same time, and further ones wait. Raises RuntimeError if
    OpenVINO refuses the model or an option, and ValueError if that option is no number.
    """

    def __init__(self, contents: bytes, options: Mapping[str, str], threads: int) -> None:
        # Each stream takes memory of its own.
        streams = max(1, int(options.get(NUM_THREADS, cpu_count())) // threads)
        settings = {
            "NUM_STREAMS": str(streams),
            NUM_THREADS: str(streams * threads),
            # A thread that is bound to one core waits for it while other processes use it.
            "ENABLE_CPU_PINNING": "NO",
            **options,
        }
        core = _core()
        self._compiled = core.compile_model(core.read_model(contents), "CPU", settings)
        self._free: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range(streams):
            self._free.put(self._compiled.create_infer_request())
        self._properties = properties(contents)

    def run(self, _names: None, feeds: Mapping[str, Tensor], _options: None = None) -> list[NDArray[Any]]:
        """Compute all outputs from the value of the only input."""
        (tensor,) = feeds.values()
        request = self._free.get()
        try:
            request.infer([np.ascontiguousarray(tensor)], share_inputs=True)
            # The request's next call writes to the same memory.
            return [request.get_output_tensor(i).data.copy() for i in range(len(self._compiled.outputs))]
        finally:
            self._free.put(request)

    def get_providers(self) -> list[str]:
        """Return the name of the only provider."""
        return [OPENVINO]

    def get_inputs(self) -> list[Port]:
        """Return the inputs, in the graph's order."""
        return _ports(self._compiled.inputs)

    def get_outputs(self) -> list[Port]:
        """Return the outputs, in the graph's order."""
        return _ports(self._compiled.outputs)

    def get_modelmeta(self) -> ModelMeta:
        """Return the metadata of the model file."""
        return ModelMeta(self._properties)


def within(placement: Placement, threads: int) -> Placement:
    """Return a placement whose models use at most `threads` threads each with OpenVINO, unless the user set the number."""
    first, *rest = placement.providers
    if first.name != OPENVINO:
        return placement
    limited = Provider(OPENVINO, {NUM_THREADS: str(threads), **first.options})
    return replace(placement, providers=(limited, *rest))


def is_installed() -> bool:
    """Return whether the package openvino is installed; it is not imported."""
    return importlib.util.find_spec("openvino") is not None


@functools.cache
def has_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Return whether OpenVINO can compute in bfloat16 with instructions of this processor: on Linux and x86-64 alone.

    OpenVINO does not use ARM's instructions for bfloat16. Other systems do not say which instructions the processor has.
    """
    return not BFLOAT16_FLAGS.isdisjoint(processor_field("flags", cpuinfo).split())


def processor_model(cpuinfo: Path = CPUINFO) -> str:
    """Return the model of the processor as Linux names it; empty on other systems."""
    return " ".join(filter(None, (processor_field(name, cpuinfo) for name in MODEL_FIELDS)))


def processor_field(name: str, cpuinfo: Path = CPUINFO) -> str:
    """Return what Linux says of the first processor in this field of /proc/cpuinfo; empty on other systems."""
    try:
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _ports(ports: Sequence[Any]) -> list[Port]:
    return [
        Port(
            port.any_name,
            [axis.get_length() if axis.is_static else None for axis in port.partial_shape],
            TYPES.get(port.element_type.to_string(), ""),
        )
        for port in ports
    ]


@functools.cache
def _core() -> Any:
    import openvino

    return_large_blocks()
    return openvino.Core()


def return_large_blocks() -> None:
    """Have glibc return blocks of more than LARGE_BLOCK bytes to the system when they are freed, for all of the process.

    By default it keeps blocks of up to 32 MB after the first ones were freed. OpenVINO allocates the tensors of each input shape
    anew, which do not fit into the gaps: 180 MB on 42 mixed pictures, and more with each size of a page. A threshold that the user
    set stays. Other systems and C libraries do not need it.
    """
    set_by_user = "MALLOC_MMAP_THRESHOLD_" in os.environ or "mmap_threshold" in os.environ.get("GLIBC_TUNABLES", "")
    if sys.platform == "linux" and not set_by_user:
        with suppress(AttributeError):
            ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
