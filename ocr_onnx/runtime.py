"""ONNX Runtime and its sessions: a model's file becomes a function. Nothing else imports onnxruntime."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.denormals import without_denormals
from ocr_onnx.devices import CPU as CPU  # noqa: PLC0414 benchmarks take these names from here
from ocr_onnx.devices import Device
from ocr_onnx.errors import DeviceUnavailableError, ModelError, OnnxRuntimeError, OnnxRuntimeMissingError
from ocr_onnx.profiling import span
from ocr_onnx.threads import cpu_count as cpu_count  # noqa: PLC0414
from ocr_onnx.threads import run_each as run_each  # noqa: PLC0414
from ocr_onnx.types import Tensor

if TYPE_CHECKING:
    from types import ModuleType

logger = logging.getLogger(__name__)

DISTRIBUTIONS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-migraphx",
    "onnxruntime-qnn",
)
"""The packages that all install the one module `onnxruntime`; two of them overwrite each other's files."""

ERRORS = 3
"""ONNX Runtime's log level that leaves out warnings."""

LARGE = 3 * 12_000_000
"""Numbers in an input, of 12 megapixels, above which a run's memory goes back to the system: see Session."""


class Session:
    """A model file, loaded: call it with a tensor. One may serve many threads.

    `threads` is how many cores one call may use. Raises ModelError where the file is no model, and a kind of
    OnnxRuntimeError where ONNX Runtime or the device is not there.

    Memory of a run is kept for the next one, as getting it anew takes longer than the run. For a LARGE input a second
    session is made, which keeps none and needs a fifth less at its highest: 2.2 GB where it was 2.8, for 4000 x 4000.
    """

    def __init__(self, path: Path, device: Device = CPU, threads: int = 1) -> None:
        self._session = _load(path, device, threads)
        self._for_large = functools.cache(functools.partial(_load, path, device, threads, keep_memory=False))
        self._process = os.getpid()
        self._span = f"{path.stem}: session"
        self.inputs: list[Any] = self._session.get_inputs()
        self.outputs: list[Any] = self._session.get_outputs()
        """The graph's, in its order: each has a name, a type and a shape, in which what is free is a name or None."""
        self._input = self.inputs[0].name
        self.output_shape: list[int | str | None] = self.outputs[0].shape
        self.properties: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        """The file's metadata."""

    def __call__(self, tensor: Tensor) -> tuple[NDArray[Any], ...]:
        """The graph's outputs, in its order."""
        if os.getpid() != self._process:
            # Its threads did not come along, and it would wait for them forever.
            raise OnnxRuntimeError("a model does not survive a fork: make the OCR in the process that uses it")
        session = self._session if tensor.size < LARGE else self._for_large()
        try:
            with span(self._span):
                outputs = session.run(None, {self._input: tensor})
        except _errors(onnxruntime()) as error:
            raise ModelError(
                f"the model cannot be run on a tensor of {'x'.join(map(str, tensor.shape))}: {error}; with an "
                "input_shape, give one that the model takes: for detection, sides that are multiples of 32"
            ) from error
        return tuple(np.asarray(output) for output in outputs)


def _load(path: Path, device: Device, threads: int, *, keep_memory: bool = True) -> Any:
    """An onnxruntime.InferenceSession that really is on `device`."""
    ort = onnxruntime()
    options = session_options(threads, keep_memory=keep_memory)
    wanted = device.providers()
    _require(ort, wanted[0][0])
    try:
        session = ort.InferenceSession(without_denormals(path.read_bytes()), options, providers=wanted)
    except _errors(ort) as error:
        raise ModelError(f"{path} is no model that ONNX Runtime {ort.__version__} can load: {error}") from error
    got = session.get_providers()[0]
    if got != wanted[0][0]:
        raise DeviceUnavailableError(
            f"{wanted[0][0]} was asked for and ONNX Runtime gave {got}: its CUDA or cuDNN libraries did not load; its "
            "own log, above, names the one that is missing"
        )
    return session


def session_options(threads: int, *, keep_memory: bool = True) -> Any:
    """The onnxruntime.SessionOptions of a session whose calls may use so many cores."""
    options = onnxruntime().SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Inputs change their size from call to call: a plan of memory for one is of no use to the next.
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = keep_memory
    if keep_memory:
        _share_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")
    # Between calls the cores are for what comes next, not for threads that turn in circles to be ready for a call.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = ERRORS
    return options


@functools.cache
def _share_memory() -> None:
    """Have one arena for all sessions that ask for it: each by itself would keep as much as its largest run took."""
    ort = onnxruntime()
    arena = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    with suppress(*_errors(ort)):  # Another library of this process has made one, which serves as well.
        ort.create_and_register_allocator(arena, ort.OrtArenaCfg(0, -1, -1, -1))


def _errors(ort: ModuleType) -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: its exceptions have no base of their own."""
    names = vars(ort.capi.onnxruntime_pybind11_state).values()
    return tuple(thing for thing in names if isinstance(thing, type) and issubclass(thing, Exception))


@functools.cache
def onnxruntime() -> ModuleType:
    """The module, imported at the first session; raises OnnxRuntimeMissingError, warns of several distributions.

    Its official builds report their use to Microsoft, and keep an identifier of the machine, unless they are told not to
    before they are loaded (Privacy.md in the package): they are told here, where nobody has set the variable.
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
            "%s are installed together, and each overwrites the others' files: uninstall all of them, then install one",
            " and ".join(installed),
        )
    module: ModuleType = ort
    return module


def distributions() -> list[str]:
    """Which of the packages that bring ONNX Runtime are installed."""
    return [name for name in DISTRIBUTIONS if any(importlib.metadata.distributions(name=name))]


def _require(ort: ModuleType, provider: str) -> None:
    """Raise DeviceUnavailableError, with the cure, where this build of ONNX Runtime lacks a provider."""
    available = ort.get_available_providers()
    if provider not in available:
        raise DeviceUnavailableError(
            f"{provider} is not in the ONNX Runtime installed ({', '.join(distributions())} {ort.__version__} has "
            f"{', '.join(available)}): pip uninstall {' '.join(distributions())}, then pip install 'ocr-onnx[gpu]'"
        )
