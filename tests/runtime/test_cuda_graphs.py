"""One session for each input shape, on the CPU in place of a GPU: recordings are ordinary runs there."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import backends
import numpy as np
import onnxruntime
import pytest

from ocr_onnx.models import store
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.runtime import batching, cuda_graphs, session
from ocr_onnx.runtime.backend import exceptions
from ocr_onnx.runtime.cuda_graphs import ORDINARY, RECORDING, RecordedRuns
from ocr_onnx.runtime.device_pixels import FILE, Pixels
from ocr_onnx.runtime.model_file import model_for_device
from ocr_onnx.stages.normalization import normalize, tables
from ocr_onnx.types import Tensor

LINES = "PP-LCNet_x1_0_textline_ori"
DETECTOR = "PP-OCRv5_mobile_det"


class Session(backends.RunsOnDevice, onnxruntime.InferenceSession):  # type: ignore[misc]
    """A session whose runs can be bound to tensors on a GPU."""


class Sessions:
    """Opens sessions of a model, and keeps what they were asked for."""

    def __init__(self, model: str, refused: str = "") -> None:
        self.contents = bytes(model_for_device(store.find(model).read_bytes(), masked=model == DETECTOR))
        self.opened: list[str] = []
        self.refused = refused

    def __call__(self, graph: str, given: bytes | None = None) -> Any:
        self.opened.append(graph)
        if graph == self.refused:
            raise RuntimeError("this session cannot use the graph capture feature")
        return Session(given or self.contents, providers=["CPUExecutionProvider"])


@pytest.fixture
def runs() -> Callable[[Sessions], RecordedRuns]:
    backend = ModuleType("onnxruntime")
    vars(backend).update(OrtValue=backends.DeviceTensor, RunOptions=onnxruntime.RunOptions)
    return lambda sessions: RecordedRuns(backend, exceptions(onnxruntime), sessions, 1)


def lines(count: int, seed: int = 0) -> Tensor:
    return np.random.default_rng(seed).normal(size=(count, 3, 80, 160)).astype(np.float32)


def expected(tensor: Tensor) -> np.ndarray[Any, Any]:
    return session.Session(store.find(LINES))(tensor)[0]


def test_each_shape_has_a_session_of_its_own(runs: Callable[[Sessions], RecordedRuns]) -> None:
    sessions = Sessions(LINES)
    run = runs(sessions)
    for count in (1, 2, 1, 2, 4):
        np.testing.assert_allclose(run(lines(count))[0], expected(lines(count)), atol=1e-5)
    assert sessions.opened == [RECORDING] * 3


def test_a_session_that_cannot_record_runs_as_usual(runs: Callable[[Sessions], RecordedRuns]) -> None:
    sessions = Sessions(LINES, refused=RECORDING)
    np.testing.assert_allclose(runs(sessions)(lines(1))[0], expected(lines(1)), atol=1e-5)
    assert sessions.opened == [RECORDING, ORDINARY]


def test_the_shape_that_was_used_least_recently_is_dropped(
    runs: Callable[[Sessions], RecordedRuns], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_graphs, "MAX_RECORDED", lines(3).size)
    sessions = Sessions(LINES)
    run = runs(sessions)
    for count in (1, 2, 1):
        run(lines(count))
    assert len(sessions.opened) == 2
    run(lines(1, seed=1))
    assert len(sessions.opened) == 2
    run(lines(3))
    run(lines(1))
    assert len(sessions.opened) == 4


def test_many_threads_get_the_results_of_their_own_tensors(runs: Callable[[Sessions], RecordedRuns]) -> None:
    run = runs(Sessions(LINES))
    tensors = [lines(1 + i % 3, seed=i) for i in range(24)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(run, tensors))
    for tensor, (result,) in zip(tensors, results, strict=True):
        np.testing.assert_allclose(result, expected(tensor), atol=1e-5)


def test_an_error_is_raised_to_its_caller_and_ends_nothing(runs: Callable[[Sessions], RecordedRuns]) -> None:
    run = runs(Sessions(LINES))
    for _ in range(2):
        with pytest.raises(Exception, match="INVALID_ARGUMENT"):
            run(np.zeros((1, 3, 7), np.float32))
    np.testing.assert_allclose(run(lines(1))[0], expected(lines(1)), atol=1e-5)


def test_threads_end_with_the_model(runs: Callable[[Sessions], RecordedRuns]) -> None:
    before = set(threading.enumerate())
    run = runs(Sessions(LINES))
    run(lines(1))
    run(lines(2))
    made = set(threading.enumerate()) - before
    assert len(made) == 2
    del run
    gc.collect()
    for thread in made:
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.parametrize("size", [(480, 736), (300, 470)])
def test_pixels_are_normalized_and_padded_to_the_same_tensor(
    runs: Callable[[Sessions], RecordedRuns], size: tuple[int, int]
) -> None:
    model = session.Session(store.find(DETECTOR), masked=True)
    metadata = ModelMetadata.from_properties(model.properties, DETECTOR)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    shapes = batching.MASKED_SHAPES
    (wanted,) = shapes.pad_pages(model, metadata)(normalize(image, metadata)[np.newaxis])
    run = runs(Sessions(DETECTOR))
    for each in (np.full_like(image, 255), image):
        (found,) = run(Pixels(each, tables(metadata), shapes.padded_size(size)))
    np.testing.assert_array_equal(found[..., : size[0], : size[1]], wanted)


def test_a_thread_that_works_alone_waits_for_the_others() -> None:
    turns = cuda_graphs._Turns()
    order: list[str] = []
    inside = threading.Event()

    def alone() -> None:
        inside.wait(60)
        with turns.alone():
            order.append("alone")

    thread = threading.Thread(target=alone)
    with turns.together():
        thread.start()
        inside.set()
        while not turns._waiting:
            pass
        order.append("together")
    thread.join(60)
    with turns.together():
        order.append("later")
    assert order == ["together", "alone", "later"]


def test_the_normalizing_model_is_the_one_that_the_converter_makes() -> None:
    pixels = pytest.importorskip("ocr_onnx.converters.pixels")
    assert pixels.pixel_model().SerializeToString() == FILE.read_bytes()
