"""CUDA graphs: the kernels of a model's run are recorded once for each input shape, and replayed afterwards.

Since ONNX Runtime 1.20, its CUDA provider makes the plan of each convolution again whenever the input shape differs from that of
the run before (https://github.com/microsoft/onnxruntime/issues/23006). For these models this takes 0.1 to 2 seconds, measured
with cuDNN 9 on an H200. A session that gets one shape only makes its plans once, and a recorded run launches no kernel by itself.
"""

from __future__ import annotations

import functools
import logging
import math
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.runtime.device_pixels import FILE, PixelInput, Pixels
from ocr_onnx.runtime.workers import Workers
from ocr_onnx.types import Tensor

logger: logging.Logger = logging.getLogger(__name__)

GRAPH_OPTION = "enable_cuda_graph"
"""The option of the CUDA provider that records runs."""

RECORDING, ORDINARY = "1", "0"

GRAPH_ID = "gpu_graph_id"
"""The run configuration entry that names the recording; NOT_RECORDED: an ordinary run."""

NOT_RECORDED, RECORDED = "-1", "1"

MAX_RECORDED = 3 * 32_000_000
"""The number of input values of all shapes that are kept: three for each of 32 megapixels. The shape that was used least recently is
dropped first."""

Outputs: TypeAlias = list[NDArray[Any]]

Shape: TypeAlias = tuple[int, ...]

OpenSession: TypeAlias = Callable[..., Any]
"""Creates an onnxruntime.InferenceSession with this value of GRAPH_OPTION, RECORDING or ORDINARY: of the model, or of given contents."""


@dataclass(frozen=True)
class _Model:
    """A model, and the GPU that it runs on."""

    ort: ModuleType
    exceptions: tuple[type[Exception], ...]
    """Those of `ort`, which have no common base class."""
    open_session: OpenSession
    device: int

    @functools.cached_property
    def normalizer(self) -> Any:
        """The session that normalizes pixels for the model."""
        return self.open_session(ORDINARY, FILE.read_bytes())

    def on_device(self, array: NDArray[Any]) -> Any:
        """Return an onnxruntime.OrtValue on the GPU with the values of an array."""
        return self.ort.OrtValue.ortvalue_from_numpy(array, "cuda", self.device)


class RecordedRuns:
    """Runs a model with one session for each input shape. One instance may be used by many threads."""

    def __init__(
        self, ort: ModuleType, exceptions: tuple[type[Exception], ...], open_session: OpenSession, device: int
    ) -> None:
        self._model = _Model(ort, exceptions, open_session, device)
        self._recorders: OrderedDict[Shape, _Recorder] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, source: Tensor | Pixels) -> Outputs:
        """Run the model. Raises the exceptions of ONNX Runtime."""
        shape = (1, 3, *source.padded) if isinstance(source, Pixels) else source.shape
        with self._lock:
            recorder = self._recorders.pop(shape, None) or _Recorder(self._model, shape)
            self._make_room(recorder.size)
            self._recorders[shape] = recorder
        return recorder(source)

    def _make_room(self, size: int) -> None:
        """Drop the shapes that were used least recently until `size` more values may be kept."""
        while self._recorders and size + sum(each.size for each in self._recorders.values()) > MAX_RECORDED:
            self._recorders.popitem(last=False)


class _Recorder:
    """Runs a model on tensors of one shape, in its own thread, since ONNX Runtime keeps a recording for each thread."""

    def __init__(self, model: _Model, shape: Shape) -> None:
        self.size = math.prod(shape)
        """The number of values of a tensor."""
        self._model, self._shape = model, shape
        self._recording: _Recording | None = None
        self._thread = Workers(1, "CUDA runs")
        weakref.finalize(self, self._thread.close)

    def __call__(self, source: Tensor | Pixels) -> Outputs:
        outputs: Outputs = self._thread.submit(self._run, source).result()
        return outputs

    def _run(self, source: Tensor | Pixels) -> Outputs:
        if self._recording is None:
            with TURNS.together():
                recording = _Recording(self._model, self._shape)
            with TURNS.alone():
                recording.record()
            self._recording = recording
        with TURNS.together():
            return self._recording.run(source)


class _Recording:
    """A session for one input shape, and the tensors on the GPU that its runs read and write."""

    def __init__(self, model: _Model, shape: Shape) -> None:
        """Run the model on zeros, which makes the plans of its convolutions, and bind tensors like those of this run."""
        self._model = model
        self._records, self._session = self._opened()
        self._options = self._run_options(RECORDED)
        self._pixels: PixelInput | None = None
        name, tensor = self._session.get_inputs()[0].name, np.zeros(shape, np.float32)
        outputs: Outputs = self._session.run(None, {name: tensor}, self._run_options(NOT_RECORDED))
        # A recording reads and writes fixed addresses.
        self._input, self._outputs = model.on_device(tensor), [model.on_device(output) for output in outputs]
        self._binding = self._session.io_binding()
        self._binding.bind_ortvalue_input(name, self._input)
        for node, output in zip(self._session.get_outputs(), self._outputs, strict=True):
            self._binding.bind_ortvalue_output(node.name, output)

    def record(self) -> None:
        """Record a run, if the session can."""
        if self._records:
            self._session.run_with_iobinding(self._binding, self._options)

    def run(self, source: Tensor | Pixels) -> Outputs:
        """Copy the tensor or the pixels to the GPU, replay the recording, and copy the outputs back."""
        if isinstance(source, Pixels):
            if self._pixels is None:
                self._pixels = PixelInput(self._model.normalizer, self._input, self._model.on_device)
            self._pixels.write(source)
        else:
            self._input.update_inplace(np.ascontiguousarray(source))
        self._session.run_with_iobinding(self._binding, self._options)
        return [output.numpy() for output in self._outputs]

    def _opened(self) -> tuple[bool, Any]:
        """Return whether the session records its runs, and the session."""
        try:
            return True, self._model.open_session(RECORDING)
        except self._model.exceptions as error:
            # A node runs on the CPU, or the provider is too old.
            logger.info("runs are not recorded: %s", error)
            return False, self._model.open_session(ORDINARY)

    def _run_options(self, graph: str) -> Any:
        options = self._model.ort.RunOptions()
        if self._records:
            options.add_run_config_entry(GRAPH_ID, graph)
        return options


class _Turns:
    """Lets many threads work together, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._working, self._waiting = 0, 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """Work beside others, but not beside one that works alone."""
        with self._changed:
            self._changed.wait_for(lambda: self._working >= 0 and not self._waiting)
            self._working += 1
        try:
            yield
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Work when no other thread does."""
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: self._working == 0)
            self._working, self._waiting = -1, self._waiting - 1
        try:
            yield
        finally:
            with self._changed:
                self._working = 0
                self._changed.notify_all()


TURNS = _Turns()
"""While one thread records, no other may allocate memory or copy it: ONNX Runtime records with cudaStreamCaptureModeGlobal."""
