"""Sessions of ONNX Runtime: load a model file as a function."""

from __future__ import annotations

import functools
import logging
import math
import os
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.errors import (
    DeviceUnavailableError,
    ModelError,
    OnnxRuntimeError,
    OptionError,
    shortened,
)
from ocr_onnx.runtime.backend import exceptions, onnxruntime, plugin_devices, version
from ocr_onnx.runtime.cuda_graphs import GRAPH_OPTION, ORDINARY, RecordedRuns
from ocr_onnx.runtime.device_pixels import Pixels
from ocr_onnx.runtime.model_check import read_model
from ocr_onnx.runtime.model_file import has_padding_mask, model_for_device
from ocr_onnx.runtime.openvino import CompiledModel
from ocr_onnx.runtime.profiling import span
from ocr_onnx.runtime.provider_specs import CPU_PROVIDER, CUDA_PROVIDER, DEVICE_NUMBER, OPENVINO, THREADS
from ocr_onnx.runtime.providers import CPU, Placement, Provider
from ocr_onnx.types import Tensor

if TYPE_CHECKING:
    from types import ModuleType

logger: logging.Logger = logging.getLogger(__name__)


LOG_ERRORS_ONLY = 3
"""ONNX Runtime's log level that suppresses warnings."""

RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"
"""The session configuration entry that records which provider runs which part of the graph; older versions ignore it."""

SPIN_MICROSECONDS = 30
"""How long an idle thread spins before it sleeps, in microseconds. A detector's operators take about 300 each."""

LARGE_INPUT = 3 * 12_000_000
"""The number of values in an input, three for each of 12 megapixels, above which memory is released after a run: see Session."""

SHRINK_ARENA = ("memory.enable_memory_arena_shrinkage", "cpu:0")
"""The run configuration entry that releases the unused part of the memory arena to the system after the run."""


class Session:
    """A loaded model: call it with a tensor. One instance may be used by many threads.

    `threads` is the number of cores that one call may use. `masked` selects the graph that masks padding
    (batching.PADDING_MARK), if the file contains one; None: if the first provider is a GPU provider. Raises ModelError if
    the file is not a model or is refused (model_check), and a kind of OnnxRuntimeError if ONNX Runtime or a provider is missing, or if the first
    provider cannot run any part of the model.

    The memory of a run is kept for the next one, which makes that faster. After an input larger than LARGE_INPUT on the
    CPU, it is released to the system.
    """

    inputs: list[Any]
    outputs: list[Any]
    """The graph's outputs, in its order: each has a name, a type and a shape, in which a free axis is a name or None."""
    properties: dict[str, str]
    """The metadata of the model file."""

    def __init__(self, path: Path, placement: Placement = CPU, threads: int = 1, *, masked: bool | None = None) -> None:
        model = read_model(path)
        self.masked: bool = (placement.on_gpu if masked is None else masked) and has_padding_mask(model)
        """Whether the loaded graph masks padding."""
        # One variable, so that the file's bytes are freed before the session allocates memory.
        model = model_for_device(model, on_cpu=placement.on_cpu, masked=self.masked)
        self._session = _load(path, model, placement, threads)
        self._recorded = _recorded(model, placement, threads)
        self._for_large: Any = None
        if placement.on_cpu:
            self._for_large = onnxruntime().RunOptions()
            self._for_large.add_run_config_entry(*SHRINK_ARENA)
        self.providers: list[str] = self._session.get_providers()
        """The providers that the session has, first choice first."""
        # Runs on a GPU are serialized anyway; in parallel, each would allocate its own memory and handles.
        serialized = placement.on_gpu and self._recorded is None
        self._turn: AbstractContextManager[Any] = threading.Lock() if serialized else nullcontext()
        self._process = os.getpid()
        self._span = f"{path.stem}: session"
        self.inputs, self.outputs, self.properties = _described(path, self._session)
        self._input = self.inputs[0].name
        self.input_shape: list[int | str | None] = self.inputs[0].shape
        self.output_shape: list[int | str | None] = self.outputs[0].shape

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or pickled: ONNX Runtime cannot send a loaded model to another process."""
        raise OnnxRuntimeError(
            "a loaded model cannot be copied or sent to another process: create OCR() in each process that uses it, for example in "
            "the initializer of a pool; threads can share one"
        )

    @property
    def reads_pixels(self) -> bool:
        """Whether `run_pixels` can be called."""
        return self._recorded is not None and self.masked

    def run_pixels(self, pixels: Pixels) -> tuple[NDArray[Any], ...]:
        """Run a detector that masks padding on an image that is normalized on the GPU; otherwise as `__call__`."""
        return self._run(pixels, (1, 3, *pixels.padded))

    def __call__(self, tensor: Tensor) -> tuple[NDArray[Any], ...]:
        """Run the model and return its outputs, in the graph's order.

        Raises ModelError if the model does not accept the tensor, and OnnxRuntimeError in a forked process.
        """
        return self._run(tensor, tensor.shape)

    def _run(self, source: Tensor | Pixels, shape: tuple[int, ...]) -> tuple[NDArray[Any], ...]:
        if os.getpid() != self._process:
            # The session's threads do not exist in a forked process: a call would wait for them forever.
            raise OnnxRuntimeError("a model cannot be used after a fork: create the OCR in the process that uses it")
        options = None if math.prod(shape) < LARGE_INPUT else self._for_large
        try:
            with self._turn, span(self._span):
                if self._recorded is not None:
                    return tuple(self._recorded(source))
                outputs = self._session.run(None, {self._input: source}, options)
        except exceptions(onnxruntime()) as error:
            raise ModelError(
                f"the model cannot be run on a tensor of shape {'x'.join(map(str, shape))}: {error}; if input_shape "
                "is given, choose one that the model accepts: for detection, multiples of 32"
            ) from error
        return tuple(
            self._checked(np.asarray(output), declared) for output, declared in zip(outputs, self.outputs, strict=True)
        )

    @staticmethod
    def _checked(output: NDArray[Any], declared: Any) -> NDArray[Any]:
        """Return an output. Raises ModelError if it has not the number of axes that the graph declares; ONNX Runtime only warns."""
        if declared.shape and output.ndim != len(declared.shape):
            raise ModelError(
                f"the model's output {declared.name} has {output.ndim} axes, but the graph declares {len(declared.shape)}: export it again"
            )
        return output


def _described(path: Path, session: Any) -> tuple[list[Any], list[Any], dict[str, str]]:
    """Return the inputs, the outputs and the metadata of a graph. Raises ModelError if it has none, or if a text is not UTF-8."""
    try:
        inputs, outputs = session.get_inputs(), session.get_outputs()
        properties = session.get_modelmeta().custom_metadata_map
        named = [(argument.name, argument.type, argument.shape) for argument in (*inputs, *outputs)]
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} contains a name that is not UTF-8 ({error}): download or convert it again") from error
    if not inputs or not outputs:
        raise ModelError(f"{path} has no input or no output ({named}): download or convert it again")
    return inputs, outputs, properties


def _load(path: Path, contents: bytes, placement: Placement, threads: int) -> Any:
    """Create an onnxruntime.InferenceSession, and check that it has the providers of `placement`."""
    ort, first = onnxruntime(), placement.providers[0]
    if first.name == OPENVINO:
        return _compile(path, contents, first, threads)
    try:
        session = _open(contents, placement.providers, threads)
    except exceptions(ort) as error:
        if not placement.on_cpu and _loads_on_cpu(contents):
            names = ", ".join(provider.name for provider in placement.providers)
            raise DeviceUnavailableError(
                f"{path.name} cannot be loaded with {names}: {error}; run 'ocr-onnx doctor' for details, or use --device cpu"
            ) from error
        raise ModelError(
            f"{path} cannot be loaded by ONNX Runtime {ort.__version__}: {error}; download or convert it again"
        ) from error
    _check_providers(session, placement.providers, path.name)
    return session


def _compile(path: Path, contents: bytes, openvino: Provider, threads: int) -> CompiledModel:
    """Have OpenVINO compile a model."""
    try:
        return CompiledModel(contents, openvino.options, threads)
    except (RuntimeError, IndexError, ValueError) as error:
        # The lines before the last one are places in OpenVINO's source code.
        reason = shortened(str(error).strip().rpartition("\n")[2])
        raise ModelError(
            f"{path} cannot be loaded with {openvino}: {reason}; check the provider's options, or use --provider {CPU_PROVIDER}"
        ) from error


def _open(contents: bytes, providers: Sequence[Provider], threads: int) -> Any:
    """Create a session with the providers that ONNX Runtime has; it ignores others without an error."""
    ort, options, plugged = onnxruntime(), session_options(threads), plugin_devices()
    filled = [(p.name, {k: v.replace(THREADS, str(threads)) for k, v in p.options.items()}) for p in providers]
    if filled[0][0] != CPU_PROVIDER:
        # ONNX Runtime logs through its default logger that a provider is not a plug-in.
        ort.set_default_logger_severity(LOG_ERRORS_ONLY)
        options.add_session_config_entry(RECORD_ASSIGNMENT, "1")
    # Without enable_fallback=0, the Python module prints a banner to standard output and continues on the CPU if a provider fails.
    if not any(name in plugged for name, _ in filled):
        return ort.InferenceSession(contents, options, providers=filled, enable_fallback=0)
    for name, pairs in filled:
        if name in plugged:
            # If CUDA is a plug-in too, gpu:1 is the second device that it offers.
            number = pairs.pop("device_id", "0") if name == CUDA_PROVIDER else "0"
            index = pairs.pop(DEVICE_NUMBER, number)
            if not index.isdecimal() or int(index) >= len(plugged[name]):
                raise OptionError(
                    f"{DEVICE_NUMBER} is {index!r}, but {name} has {len(plugged[name])} devices: give a number, counted from 0"
                )
            options.add_provider_for_devices([plugged[name][int(index)]], pairs)
        else:
            options.add_provider(name, pairs)
    return ort.InferenceSession(contents, options, enable_fallback=0)


def _recorded(contents: bytes, placement: Placement, threads: int) -> RecordedRuns | None:
    """Return what runs a model on CUDA with one session for each input shape; None for other providers."""
    first, *rest = placement.providers
    if first.name != CUDA_PROVIDER or CUDA_PROVIDER in plugin_devices():
        return None

    def open_session(graph: str, given: bytes = contents) -> Any:
        options = (
            {**first.options, GRAPH_OPTION: graph} if graph == ORDINARY else {GRAPH_OPTION: graph, **first.options}
        )
        return _open(given, (Provider(first.name, options), *rest), threads)

    return RecordedRuns(
        onnxruntime(), exceptions(onnxruntime()), open_session, int(first.options.get("device_id", "0"))
    )


def _loads_on_cpu(contents: bytes) -> bool:
    """Whether the model can be loaded on the CPU: if so, the provider is the cause of a failure."""
    try:
        _open(contents, CPU.providers, 1)
    except exceptions(onnxruntime()):
        return False
    return True


def _check_providers(session: Any, providers: Sequence[Provider], model: str) -> None:
    """Raise DeviceUnavailableError if a session lacks a provider, or if the first one runs no part of the graph."""
    got = session.get_providers()
    if lost := [provider.name for provider in providers if provider.name not in got]:
        raise DeviceUnavailableError(
            f"ONNX Runtime did not load {' and '.join(lost)}, only {', '.join(got)}: see its log above, and run "
            "'ocr-onnx doctor' for details"
        )
    first = providers[0].name
    # Older versions do not report the assignment.
    if first != CPU_PROVIDER and hasattr(session, "get_provider_graph_assignment_info"):
        users = {part.ep_name for part in session.get_provider_graph_assignment_info()}
        if first not in users:
            raise DeviceUnavailableError(
                f"{first} cannot run any part of {model}, and all of it would run on {', '.join(sorted(users))}: remove {first}"
            )


def session_options(threads: int) -> Any:
    """Return the onnxruntime.SessionOptions of a session whose calls use `threads` threads."""
    options = onnxruntime().SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Input sizes change from call to call, so a memory plan for one call is useless for the next.
    options.enable_mem_pattern = False
    _share_memory(onnxruntime())
    options.add_session_config_entry("session.use_env_allocators", "1")
    # Between calls, the cores are needed for other work, so threads must not spin. Between the operators of one call they may
    # spin for less time than waking up takes. Before 1.31, these two cases could not be configured separately.
    spins = threads > 1 and version() >= (1, 31)
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spins)))
    if spins:
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_MICROSECONDS))
    # Not ONNX Runtime's own format, which it recognizes by a mark in the file, and which is not checked.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.log_severity_level = LOG_ERRORS_ONLY
    return options


@functools.cache
def _share_memory(ort: ModuleType) -> None:
    """Create one memory arena for all sessions; otherwise each session would keep as much memory as its largest run used.

    The arena uses ONNX Runtime's default strategy and grows by doubling: growing by the requested size only leaves
    fragments that larger pages cannot use.
    """
    arena = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    # Another library in this process may have created one already, which serves as well.
    with suppress(*exceptions(ort)):
        ort.create_and_register_allocator(arena, ort.OrtArenaCfg(0, -1, -1, -1))
