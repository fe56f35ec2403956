"""ONNX Runtime and its sessions: a model's file becomes a function. Nothing else imports onnxruntime."""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.errors import (
    DeviceUnavailableError,
    ModelError,
    OnnxRuntimeError,
    OnnxRuntimeMissingError,
    OptionError,
)
from ocr_onnx.runtime.model_file import has_padding_mask, model_for_device
from ocr_onnx.runtime.profiling import span
from ocr_onnx.runtime.provider_specs import CPU_PROVIDER, CUDA_PROVIDER, DEVICE_NUMBER, THREADS
from ocr_onnx.runtime.providers import CPU, Placement, Provider
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

LOG_ERRORS_ONLY = 3
"""ONNX Runtime's log level that leaves out warnings."""

RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"
"""The entry of a session's configuration that has it note which provider takes which part; older versions ignore it."""

SPIN_MICROSECONDS = 30
"""Microseconds for which a thread without work goes on looking for some: a detector's operators take about 300 each."""

LARGE_INPUT = 3 * 12_000_000
"""Numbers in an input, of 12 megapixels, from which on a run's memory goes back to the system: see Session."""

SHRINK_ARENA = ("memory.enable_memory_arena_shrinkage", "cpu:0")
"""The entry of a run's configuration that has what the arena does not use go back to the system afterwards."""


class Session:
    """A model file, loaded: call it with a tensor. One may serve many threads.

    `threads` is how many cores one call may use. Raises ModelError where the file is no model, and a kind of
    OnnxRuntimeError where ONNX Runtime or a provider is not there, or takes no part of the model.

    Memory of a run is kept for the next one, which it makes faster; after a LARGE_INPUT input on the CPU it goes back to the system.
    `masked` is whether pictures may end before the tensor does (shapes.PADDING_MARK), where the model's file knows of it; None: on a GPU.
    """

    def __init__(self, path: Path, placement: Placement = CPU, threads: int = 1, *, masked: bool | None = None) -> None:
        model = path.read_bytes()
        self.masked = (placement.on_gpu if masked is None else masked) and has_padding_mask(model)
        """Whether they may."""
        # One name, so that the file's bytes go before the session takes memory.
        model = model_for_device(model, on_cpu=placement.on_cpu, masked=self.masked)
        self._session = _load(path, model, placement, threads)
        self._for_large: Any = None
        if placement.on_cpu:
            self._for_large = onnxruntime().RunOptions()
            self._for_large.add_run_config_entry(*SHRINK_ARENA)
        self.providers: list[str] = self._session.get_providers()
        """Those it really has, first choice first."""
        # Side by side, runs on a GPU take turns anyway, and each would take memory and handles of its own.
        self._turn: AbstractContextManager[Any] = threading.Lock() if placement.on_gpu else nullcontext()
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
        options = None if tensor.size < LARGE_INPUT else self._for_large
        try:
            with self._turn, span(self._span):
                outputs = self._session.run(None, {self._input: tensor}, options)
        except _errors(onnxruntime()) as error:
            raise ModelError(
                f"the model cannot be run on a tensor of {'x'.join(map(str, tensor.shape))}: {error}; with an "
                "input_shape, give one that the model takes: for detection, sides that are multiples of 32"
            ) from error
        return tuple(np.asarray(output) for output in outputs)


def _load(path: Path, contents: bytes, placement: Placement, threads: int) -> Any:
    """An onnxruntime.InferenceSession of a file's contents that really has the providers of `placement`."""
    ort = onnxruntime()
    try:
        session = _open(contents, placement.providers, threads)
    except _errors(ort) as error:
        if not placement.on_cpu and _loads_on_cpu(contents):
            names = ", ".join(provider.name for provider in placement.providers)
            raise DeviceUnavailableError(
                f"{path.name} cannot be loaded with {names}: {error}; 'ocr-onnx doctor' says more, and --device cpu works"
            ) from error
        raise ModelError(f"{path} is no model that ONNX Runtime {ort.__version__} can load: {error}") from error
    _check_providers(session, placement.providers, path.name)
    return session


def _open(contents: bytes, providers: Sequence[Provider], threads: int) -> Any:
    """A session with these providers, as far as ONNX Runtime has them: it leaves others out without an error."""
    ort, options, plugged = onnxruntime(), session_options(threads), plugin_devices()
    filled = [(p.name, {k: v.replace(THREADS, str(threads)) for k, v in p.options.items()}) for p in providers]
    if filled[0][0] != CPU_PROVIDER:
        options.add_session_config_entry(RECORD_ASSIGNMENT, "1")
    # Where a provider fails, the Python module by itself prints a banner to standard output and goes on with the CPU.
    if not any(name in plugged for name, _ in filled):
        return ort.InferenceSession(contents, options, providers=filled, enable_fallback=0)
    for name, pairs in filled:
        if name in plugged:
            # Where CUDA is a plug-in too, gpu:1 is the second device that it offers.
            number = pairs.pop("device_id", "0") if name == CUDA_PROVIDER else "0"
            place = pairs.pop(DEVICE_NUMBER, number)
            if not place.isdecimal() or int(place) >= len(plugged[name]):
                raise OptionError(
                    f"{name} offers {len(plugged[name])} devices, counted from 0: {DEVICE_NUMBER}={place} is none"
                )
            options.add_provider_for_devices([plugged[name][int(place)]], pairs)
        else:
            options.add_provider(name, pairs)
    return ort.InferenceSession(contents, options, enable_fallback=0)


def _loads_on_cpu(contents: bytes) -> bool:
    """Whether it is a provider's fault that a model could not be loaded, and not the model's."""
    try:
        _open(contents, CPU.providers, 1)
    except _errors(onnxruntime()):
        return False
    return True


def _check_providers(session: Any, providers: Sequence[Provider], model: str) -> None:
    """Raise DeviceUnavailableError where a session lacks a provider, or where the first has no part of the graph."""
    got = session.get_providers()
    if lost := [provider.name for provider in providers if provider.name not in got]:
        raise DeviceUnavailableError(
            f"{' and '.join(lost)} was asked for and ONNX Runtime gave {', '.join(got)}: its own log, above, may say "
            "why, and 'ocr-onnx doctor' says more"
        )
    first = providers[0].name
    # Newer versions tell.
    if first != CPU_PROVIDER and hasattr(session, "get_provider_graph_assignment_info"):
        users = {part.ep_name for part in session.get_provider_graph_assignment_info()}
        if first not in users:
            raise DeviceUnavailableError(
                f"{first} takes no part of {model}, so all of it would run on {', '.join(sorted(users))}: leave it out"
            )


def plugin_devices() -> dict[str, list[Any]]:
    """The onnxruntime.OrtEpDevice that plug-in providers offer, by the names of the providers."""
    ort = onnxruntime()
    found: dict[str, list[Any]] = {}
    for device in ort.get_ep_devices() if hasattr(ort, "get_ep_devices") else ():
        if device.ep_name != CPU_PROVIDER:
            found.setdefault(device.ep_name, []).append(device)
    return found


@functools.cache
def register_plugin(name: str, library: str) -> None:
    """Load a plug-in's library, once; raises DeviceUnavailableError with what the loader says."""
    ort = onnxruntime()
    if not hasattr(ort, "register_execution_provider_library"):
        raise DeviceUnavailableError(
            f"{name} is a plug-in, and ONNX Runtime {ort.__version__} takes none: pip install 'onnxruntime>=1.23'"
        )
    try:
        ort.register_execution_provider_library(name, library)
    except _errors(ort) as error:
        raise DeviceUnavailableError(f"the library of {name} cannot be loaded: {error}") from error


def session_options(threads: int) -> Any:
    """The onnxruntime.SessionOptions of a session whose calls may use so many cores."""
    options = onnxruntime().SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Inputs change their size from call to call: a plan of memory for one is of no use to the next.
    options.enable_mem_pattern = False
    _share_memory()
    options.add_session_config_entry("session.use_env_allocators", "1")
    # Between calls the cores are for what comes next, not for threads that turn in circles to be ready for a call; between
    # the operators of one call they may, for less than it takes to wake up. Before 1.31 that could not be told apart.
    spins = threads > 1 and version() >= (1, 31)
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spins)))
    if spins:
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_MICROSECONDS))
    options.log_severity_level = LOG_ERRORS_ONLY
    return options


@functools.cache
def _share_memory() -> None:
    """Have one arena for all sessions that ask for it: each by itself would keep as much as its largest run took.

    Its strategy stays ONNX Runtime's own, to grow by doubling: growing by no more than is asked for leaves pieces that larger
    pages cannot use.
    """
    ort = onnxruntime()
    arena = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    with suppress(*_errors(ort)):  # Another library of this process has made one, which serves as well.
        ort.create_and_register_allocator(arena, ort.OrtArenaCfg(0, -1, -1, -1))


def _errors(ort: ModuleType) -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: its exceptions have no base of their own, and some are Python's."""
    names = vars(ort.capi.onnxruntime_pybind11_state).values()
    return (RuntimeError, *(thing for thing in names if isinstance(thing, type) and issubclass(thing, Exception)))


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


def float16_converter() -> tuple[Any, Any]:
    """ONNX Runtime's function `convert_float_to_float16` and its class `OnnxModel`; both need the package onnx."""
    onnxruntime()
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    return convert_float_to_float16, OnnxModel


def version() -> tuple[int, int]:
    """ONNX Runtime's, the first two numbers of it."""
    major, minor = onnxruntime().__version__.split(".")[:2]
    return int(major), int(minor)


def distributions() -> dict[str, str]:
    """Which of the packages that bring ONNX Runtime are installed, and their versions.

    Their folders are looked for by name: to import importlib.metadata takes longer than all else that is done here.
    """
    found: dict[str, str] = {}
    for folder in sys.path:
        with suppress(OSError):
            for entry in Path(folder).glob("*.dist-info"):
                name, _, version = entry.name.removesuffix(".dist-info").partition("-")
                found.setdefault(name.lower().replace("_", "-"), version)
    return {name: found[name] for name in DISTRIBUTIONS if name in found}
