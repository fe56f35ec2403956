"""TensorRT's engines: for which shapes, where they are kept, when they are built. The sessions here are the CPU's, which note what was asked for."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import backends
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import DETECTION, LINE, PAGE, PAGES, RECOGNITION

from ocr_onnx import OCR, OCROptions, PaddleOCR
from ocr_onnx.cli.main import main
from ocr_onnx.errors import DeviceUnavailableError, EngineRefusedError, OptionError
from ocr_onnx.models import store
from ocr_onnx.runtime import backend, libraries
from ocr_onnx.runtime import tensorrt as tensorrt_module
from ocr_onnx.runtime.batching import CPU_SHAPES, EXACT_SHAPES, MASKED_SHAPES, PADDED_SHAPES
from ocr_onnx.runtime.provider_specs import CPU_PROVIDER, CUDA_PROVIDER, TENSORRT_PROVIDER, TENSORRT_RTX_PROVIDER
from ocr_onnx.runtime.providers import Placement, Provider
from ocr_onnx.runtime.selection import choose_placement
from ocr_onnx.runtime.tensorrt import COMPILERS, EngineKey
from ocr_onnx.stages import tasks
from ocr_onnx.stages.calibration import difference
from ocr_onnx.stages.sample_page import crops
from ocr_onnx.types import Tensor

CLASSIFIER = "PP-LCNet_x1_0_textline_ori"
LINES = OCROptions(use_doc_orientation_classify=False, use_textline_orientation=False)

Made = list[tuple[str, dict[str, str]]]


class Machine:
    """An ONNX Runtime with these providers; it notes the first provider of each session."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: Made = []
        self.harm: Callable[[Tensor], Tensor] = lambda tensor: tensor
        """What becomes of the input of a model that was compiled."""
        self.providers = [TENSORRT_PROVIDER, CUDA_PROVIDER, CPU_PROVIDER]
        real, machine = backend.onnxruntime(), self

        class InferenceSession(real.InferenceSession):  # type: ignore[misc, name-defined]
            def __init__(self, contents: bytes, options: Any, *, providers: Any, **_: Any) -> None:
                self.names = [name for name, _ in providers]
                machine.made.append(providers[0])
                if folder := providers[0][1].get("trt_engine_cache_path"):
                    Path(folder, "graph_sm86.engine").write_bytes(bytes(2_000_000))
                super().__init__(contents, options, providers=[CPU_PROVIDER])

            def run(self, outputs: Any, inputs: dict[str, Tensor], options: Any = None) -> Any:
                if not any(tensor.any() for tensor in inputs.values()):
                    # A tensor of the warm-up, whose answer nobody reads.
                    return [np.zeros((1,) * len(output.shape)) for output in self.get_outputs()]
                if self.names[0] == TENSORRT_PROVIDER:
                    inputs = {name: machine.harm(tensor) for name, tensor in inputs.items()}
                return super().run(outputs, inputs, options)

            def get_providers(self) -> list[str]:
                return self.names

            def get_provider_graph_assignment_info(self) -> list[Any]:
                return [SimpleNamespace(ep_name=name) for name in self.names]

        backends.change(monkeypatch, InferenceSession=InferenceSession, get_available_providers=lambda: self.providers)

    def taken(self) -> set[str]:
        """The providers of the sessions so far, the CPU's aside, which are opened to look at a model."""
        return {name for name, _ in self.made} - {CPU_PROVIDER}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    monkeypatch.setenv(store.HOME_VARIABLE, str(tmp_path))
    monkeypatch.setattr(libraries, "needed", lambda *_: [])
    # Engines are compared on a few lines, each once; tests/stages/test_calibration.py has all of them.
    few = crops()[::6]
    monkeypatch.setattr(tasks, "crops", lambda: few)
    monkeypatch.setattr(tasks, "variants", lambda image: [image])
    return Machine(monkeypatch)


def tensorrt(*rest: str, **changes: Any) -> Placement:
    return Placement(tuple(map(Provider, (TENSORRT_PROVIDER, *rest))), "test", **changes)


def test_a_profile_covers_every_shape_that_a_model_is_given() -> None:
    for kinds in (EXACT_SHAPES, PADDED_SHAPES):
        for metadata in (DETECTION, RECOGNITION, LINE, PAGE):
            for largest in (1280, 4000):
                least, usual, most = kinds.profile_shapes(metadata, largest)
                for shape in (usual, *kinds.warm_up_shapes(metadata, largest)):
                    assert all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True)), (metadata.task, shape)


def test_profiles_follow_the_mode_and_the_limits() -> None:
    assert PADDED_SHAPES.profile_shapes(DETECTION, 1280) == ((1, 3, 480, 480), (1, 3, 960, 960), (1, 3, 1280, 1280))
    assert EXACT_SHAPES.profile_shapes(DETECTION, 4000) == ((1, 3, 32, 32), (1, 3, 960, 960), (1, 3, 4000, 4000))
    assert PADDED_SHAPES.profile_shapes(RECOGNITION, 1280) == ((1, 3, 48, 160), (16, 3, 48, 320), (16, 3, 48, 3200))
    assert EXACT_SHAPES.profile_shapes(LINE, 4000) == ((1, 3, 80, 160), (16, 3, 80, 160), (16, 3, 80, 160))


def test_each_compiler_is_told_shapes_and_a_folder() -> None:
    profile = PADDED_SHAPES.profile_shapes(DETECTION, 1280)
    assert tensorrt_module.options(COMPILERS[TENSORRT_PROVIDER], Path("/cache"), "x", profile) == {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(Path("/cache")),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(Path("/cache")),
        "trt_profile_min_shapes": "x:1x3x480x480",
        "trt_profile_opt_shapes": "x:1x3x960x960",
        "trt_profile_max_shapes": "x:1x3x1280x1280",
    }
    assert tensorrt_module.options(COMPILERS[TENSORRT_RTX_PROVIDER], Path("/cache"), "x", profile) == {
        "nv_runtime_cache_path": str(Path("/cache")),
        "nv_profile_min_shapes": "x:1x3x480x480",
        "nv_profile_opt_shapes": "x:1x3x960x960",
        "nv_profile_max_shapes": "x:1x3x1280x1280",
    }


def test_a_folder_is_named_after_all_that_an_engine_depends_on() -> None:
    key = EngineKey(
        "ab" * 32, "tensorrt", "10.13.2", "NVIDIA L4 (x/y)", "fp32", PADDED_SHAPES.profile_shapes(RECOGNITION, 1280)
    )
    assert key.folder == f"{'ab' * 32}_tensorrt-10.13.2_NVIDIA-L4-x-y-_fp32_1x3x48x160-16x3x48x320-16x3x48x3200"
    others: dict[str, Any] = {
        "graph": "cd" * 32,
        "version": "",
        "gpu": "",
        "precision": "fp16",
        "compiler": "tensorrt-rtx",
    }
    changed: list[Any] = [replace(key, **{name: value}) for name, value in others.items()]
    changed.append(replace(key, profile=CPU_SHAPES.profile_shapes(RECOGNITION, 1280)))
    assert len({each.folder for each in (key, *changed)}) == 7


def test_without_an_engine_cuda_runs_the_model_and_the_log_names_the_command(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        ocr = OCR(LINES, providers=[TENSORRT_PROVIDER], mode="high-performance")
    assert machine.taken() == {CUDA_PROVIDER}
    assert caplog.messages[0] == (
        "TensorrtExecutionProvider has no engine for PP-OCRv6_small_det, which runs on CUDAExecutionProvider; to build "
        "it: ocr-onnx build --provider TensorrtExecutionProvider --mode high-performance"
    )
    assert not store.engines_folder().exists()
    assert ocr.detect.shapes == ocr.recognize.shapes == MASKED_SHAPES


def test_where_it_is_allowed_a_missing_engine_is_built_and_then_found(machine: Machine) -> None:
    PaddleOCR(providers=[TENSORRT_PROVIDER], build_missing=True)
    assert machine.taken() == {TENSORRT_PROVIDER}
    machine.made.clear()
    OCR(providers=[TENSORRT_PROVIDER])
    assert machine.taken() == {TENSORRT_PROVIDER}
    options = {settings["trt_profile_max_shapes"] for name, settings in machine.made if name == TENSORRT_PROVIDER}
    assert options == {"x:1x3x4000x4000", "x:16x3x48x3200", "x:1x3x224x224", "x:16x3x80x160"}


def test_high_performance_mode_takes_tensorrt_once_an_engine_is_built(machine: Machine) -> None:
    def first(**arguments: Any) -> str:
        return choose_placement("gpu", **arguments).providers[0].name

    assert first(mode="high-performance") == CUDA_PROVIDER
    assert first(mode="high-performance", build_missing=True) == TENSORRT_PROVIDER
    OCR(LINES, providers=[TENSORRT_PROVIDER, CUDA_PROVIDER], device=None, mode="high-performance")
    assert first(mode="high-performance") == CUDA_PROVIDER
    PaddleOCR(providers=[TENSORRT_PROVIDER], build_missing=True)
    assert first(mode="high-performance") == TENSORRT_PROVIDER
    assert first(mode="standard") == CUDA_PROVIDER
    machine.providers.remove(TENSORRT_PROVIDER)
    assert first(mode="high-performance") == CUDA_PROVIDER


def test_a_model_that_loses_text_in_fp16_gets_an_engine_in_float32() -> None:
    half = Provider(TENSORRT_PROVIDER, {"trt_fp16_enable": "1", "device_id": "1"})
    assert tensorrt_module._in_its_precision(half, "PP-OCRv5_mobile_det") == half
    for name in ("PP-OCRv5_server_det", "PP-OCRv4_server_det", "PP-OCRv6_small_det"):
        assert tensorrt_module._in_its_precision(half, name).options == {"device_id": "1"}


def test_an_engine_for_other_limits_is_another(machine: Machine) -> None:
    OCR(LINES, device=choose_placement(None, [TENSORRT_PROVIDER], build_missing=True))
    machine.made.clear()
    smaller = replace(LINES, detection=OCROptions.high_performance().detection)
    OCR(smaller, providers=[TENSORRT_PROVIDER])
    assert machine.taken() == {TENSORRT_PROVIDER, CUDA_PROVIDER}


def test_what_comes_after_tensorrt_is_what_it_falls_back_to(machine: Machine) -> None:
    machine.providers.insert(1, "MIGraphXExecutionProvider")
    where = tensorrt_module.placement_for(tensorrt("MIGraphXExecutionProvider"), store.find(CLASSIFIER), 4000)
    assert [each.name for each in where.providers] == ["MIGraphXExecutionProvider"]


def test_the_fallback_is_on_the_same_gpu(machine: Machine) -> None:
    first = Provider(TENSORRT_PROVIDER, {"device_id": "2"})
    where = tensorrt_module.placement_for(
        Placement((first, Provider(CPU_PROVIDER)), "test"), store.find(CLASSIFIER), 4000
    )
    assert [each.name for each in where.providers] == [CUDA_PROVIDER, CPU_PROVIDER]
    assert where.providers[0].options["device_id"] == "2"


def test_the_plug_in_without_an_engine_and_without_cuda_is_an_error_with_the_command(machine: Machine) -> None:
    machine.providers = [CPU_PROVIDER]
    with pytest.raises(
        DeviceUnavailableError,
        match=r"no engine for PP-LCNet.*CUDAExecutionProvider is not in .* to build it: ocr-onnx build --provider Nv.* --mode standard",
    ):
        tensorrt_module.placement_for(
            Placement((Provider(TENSORRT_RTX_PROVIDER),), "test"), store.find(CLASSIFIER), 4000
        )


def test_a_cache_that_the_user_keeps_is_left_to_the_user(machine: Machine) -> None:
    own = Placement((Provider(TENSORRT_PROVIDER, {"trt_engine_cache_path": "/mine"}),), "test")
    assert tensorrt_module.placement_for(own, store.find(CLASSIFIER), 4000) is own


def test_a_device_that_is_no_number_is_the_sessions_to_refuse(machine: Machine) -> None:
    for first in (Provider(TENSORRT_PROVIDER, {"device_id": "x"}), Provider(TENSORRT_RTX_PROVIDER, {"device": "x"})):
        wanted = Placement((first,), "test", build_missing=True)
        where = tensorrt_module.placement_for(wanted, store.find(CLASSIFIER), 4000)
        assert where.providers[0].options.items() > first.options.items()


def test_fp16_is_where_the_user_has_it_on_and_is_another_engine(machine: Machine) -> None:
    half = Placement((Provider(TENSORRT_PROVIDER, {"trt_fp16_enable": "1"}),), "test", build_missing=True)
    for where, precision in ((half, "fp16"), (tensorrt(build_missing=True), "fp32")):
        (first,) = tensorrt_module.placement_for(where, store.find(CLASSIFIER), 4000).providers
        assert f"_{precision}_" in first.options["trt_engine_cache_path"]
        assert first.options.get("trt_fp16_enable", "0") == ("1" if precision == "fp16" else "0")


def coarse(tensor: Tensor) -> Tensor:
    return np.asarray(np.round(2 * tensor) / 2, np.float32)


def three_levels(tensor: Tensor) -> Tensor:
    return np.asarray(np.round(tensor), np.float32)


def turned(tensor: Tensor) -> Tensor:
    return np.ascontiguousarray(tensor[..., ::-1, ::-1])


def no_number(tensor: Tensor) -> Tensor:
    return tensor * np.float32("nan")


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("PP-OCRv5_mobile_det", coarse),
        ("PP-OCRv5_mobile_rec", three_levels),
        (CLASSIFIER, turned),
        ("PP-LCNet_x1_0_doc_ori", turned),
        ("PP-OCRv5_mobile_det", no_number),
        ("PP-OCRv5_mobile_rec", no_number),
        (CLASSIFIER, no_number),
    ],
)
def test_an_engine_that_decides_otherwise_than_the_cpu_is_not_kept(
    machine: Machine, name: str, harm: Callable[[Tensor], Tensor]
) -> None:
    machine.harm = harm
    half = Placement((Provider(TENSORRT_PROVIDER, {"trt_fp16_enable": "1"}),), "test", build_missing=True)
    with pytest.raises(
        EngineRefusedError, match=rf"{name} was deleted: .* the limit is 2%; leave out trt_fp16_enable$"
    ):
        tensorrt_module.load(half, store.find(name), 1, 1280, difference)
    assert not list(store.engines_folder().iterdir())
    machine.harm = lambda tensor: tensor
    tensorrt_module.load(half, store.find(name), 1, 1280, difference)
    assert len(tensorrt_module.comparisons()) == 1


def test_an_engine_whose_building_was_interrupted_is_no_engine(machine: Machine) -> None:
    tensorrt_module.load(tensorrt(build_missing=True), store.find(CLASSIFIER), 1, 4000, difference)
    (folder,) = tensorrt_module.comparisons()
    assert (
        tensorrt_module.placement_for(tensorrt(), store.find(CLASSIFIER), 4000).providers[0].name == TENSORRT_PROVIDER
    )
    (folder / tensorrt_module.COMPARED).unlink()
    assert tensorrt_module.placement_for(tensorrt(), store.find(CLASSIFIER), 4000).providers[0].name == CUDA_PROVIDER
    tensorrt_module.load(tensorrt(build_missing=True), store.find(CLASSIFIER), 1, 4000, difference)
    for path in tensorrt_module.engine_files():
        path.unlink()
    assert tensorrt_module.placement_for(tensorrt(), store.find(CLASSIFIER), 4000).providers[0].name == CUDA_PROVIDER


def test_an_engine_is_compared_once(machine: Machine) -> None:
    tensorrt_module.load(tensorrt(build_missing=True), store.find(CLASSIFIER), 1, 4000, difference)
    compared = tensorrt_module.comparisons()
    machine.harm = np.zeros_like
    tensorrt_module.load(tensorrt(build_missing=True), store.find(CLASSIFIER), 1, 4000, difference)
    assert tensorrt_module.comparisons() == compared


def test_build_makes_the_engines_of_a_pipeline_and_says_what_was_written(machine: Machine) -> None:
    command = ["build", "--device", "gpu:1", "--use_doc_orientation_classify", "False"]
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    *lines, last = done.stdout.splitlines()
    files, outcomes = lines[:3], lines[3:]
    assert all(
        line.startswith(str(store.engines_folder())) and line.endswith("graph_sm86.engine  2.0 MB") for line in files
    )
    assert (
        last
        == "Run with: --provider TensorrtExecutionProvider:device_id=1 --provider CUDAExecutionProvider:device_id=1"
    )
    assert sorted(outcomes) == [
        "PP-LCNet_x1_0_textline_ori: 0 of 16 decisions differ from the CPU's",
        "PP-OCRv6_small_det: 0 of 477221 decisions differ from the CPU's",
        "PP-OCRv6_small_rec: 0 of 8 decisions differ from the CPU's",
    ]
    machine.made.clear()
    on_it = ["TensorrtExecutionProvider:device_id=1", "CUDAExecutionProvider:device_id=1"]
    (result,) = OCR(replace(LINES, use_textline_orientation=True), providers=on_it).predict(PAGES / "sign.png")
    assert machine.taken() == {TENSORRT_PROVIDER}
    assert result.lines
    again = CliRunner().invoke(main, command, catch_exceptions=False)
    assert "No engine was built" in again.stdout


def test_build_is_for_what_compiles_and_for_one_gpu(machine: Machine) -> None:
    with pytest.raises(OptionError, match="cannot build engines: give TensorrtExecutionProvider or Nv"):
        tensorrt_module.build_providers(None, [CUDA_PROVIDER])
    for device in ("cpu", "gpu:0,1"):
        with pytest.raises(OptionError, match="engines are built on one GPU"):
            tensorrt_module.build_providers(device, [])
    assert tensorrt_module.build_providers("gpu:1", [TENSORRT_RTX_PROVIDER]) == [
        Provider(TENSORRT_RTX_PROVIDER, {"device": "1"})
    ]
    assert tensorrt_module.build_providers(None, [TENSORRT_PROVIDER]) == [Provider(TENSORRT_PROVIDER)]
    machine.providers = [CPU_PROVIDER]
    with pytest.raises(DeviceUnavailableError, match=r"Tensorrt.* is not in .*; NvTensorRTRTX.* pip install"):
        tensorrt_module.build_providers("gpu", [])


def test_the_driver_names_the_gpu_and_tensorrt_its_version() -> None:
    def name(buffer: Any, _: int, device: ctypes.c_int) -> int:
        buffer.value = f"NVIDIA L{device.value}".encode()
        return 0

    def get(device: Any, index: int) -> int:
        device._obj.value = index + 4
        return 0 if index < 2 else 101

    driver = SimpleNamespace(cuInit=lambda _: 0, cuDeviceGet=get, cuDeviceGetName=name)
    assert libraries.gpu_name(0, lambda _: driver) == "NVIDIA L4"
    assert libraries.gpu_name(7, lambda _: driver) == ""
    assert libraries.tensorrt_version(lambda _: SimpleNamespace(getInferLibVersion=lambda: 101302)) == "10.13.2"

    def nothing(library: str) -> Any:
        raise OSError(library)

    assert libraries.gpu_name(0, nothing) == libraries.tensorrt_version(nothing) == ""
