"""What models run on: what was asked for works, or it is an error; plug-ins are found and used."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import backends
import numpy as np
import pytest
from conftest import PAGES
from numpy.typing import NDArray

from ocr_onnx import OCR, PaddleOCR, TextDetection
from ocr_onnx.cli.serve import make_engine
from ocr_onnx.errors import DeviceUnavailableError, ModelError, OptionError
from ocr_onnx.models import store
from ocr_onnx.paddle.assembly import Request
from ocr_onnx.runtime import backend, libraries, plugins
from ocr_onnx.runtime import session as session_module
from ocr_onnx.runtime.provider_specs import CPU_PROVIDER, CUDA_PROVIDER, DRIVER, OPENVINO_PROVIDER
from ocr_onnx.runtime.providers import CPU, Device, Placement, Provider
from ocr_onnx.runtime.selection import choose_placement, try_out
from ocr_onnx.service.settings import Settings

AVAILABLE = backend.onnxruntime().get_available_providers()
no_cuda = pytest.mark.skipif(CUDA_PROVIDER in AVAILABLE, reason="this ONNX Runtime has CUDA")
no_driver = pytest.mark.skipif(not libraries.missing([DRIVER]), reason="this machine has NVIDIA's driver")
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime_ep_openvino") is None, reason="onnxruntime-ep-openvino is not installed"
)


def test_left_out_the_cpu_is_taken() -> None:
    assert choose_placement() == CPU
    assert choose_placement("cpu") == Placement(CPU.providers, "device cpu")


@no_cuda
def test_a_gpu_that_is_not_there_is_an_error_with_its_cure() -> None:
    with pytest.raises(DeviceUnavailableError, match=r"CUDAExecutionProvider is .*pip install .*\[gpu\]"):
        OCR(device="gpu")


@no_driver
def test_a_device_is_looked_for_before_models_are_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(store.HOME_VARIABLE, str(tmp_path))
    monkeypatch.setenv("OCR_ONNX_OFFLINE", "1")
    with pytest.raises(DeviceUnavailableError):
        PaddleOCR(ocr_version="PP-OCRv4", device="gpu")


def test_engines_share_a_placement() -> None:
    first = OCR(device="cpu")
    assert OCR(device=first.placement).placement is first.placement


@no_driver
def test_the_command_fails_within_two_processor_seconds_with_the_cure() -> None:
    before = os.times().children_user
    command = [sys.executable, "-m", "ocr_onnx", "run", "--device", "gpu", str(PAGES / "sign.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    *_, error = done.stderr.splitlines()
    assert error.startswith("Error: ")
    assert "CUDAExecutionProvider" in error
    assert " install " in error
    assert os.times().children_user - before < 2


@no_driver
def test_auto_takes_the_cpu_where_no_gpu_works_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        ocr = OCR(device="auto")
    assert ocr.placement.providers == CPU.providers
    assert ocr.placement.reason.startswith("device auto: no usable GPU: ")
    assert "CUDAExecutionProvider" in ocr.placement.reason
    assert f"models run on {ocr.placement}" in caplog.text


def test_a_provider_by_name_is_taken_with_its_options() -> None:
    placement = OCR(providers=["CPUExecutionProvider"]).placement
    assert placement == Placement((Provider(CPU_PROVIDER),), "asked for by name")


def test_a_device_and_providers_exclude_each_other() -> None:
    with pytest.raises(OptionError, match="both given"):
        choose_placement("cpu", [CPU_PROVIDER])
    with pytest.raises(OptionError, match="give each only once"):
        choose_placement(None, [CPU_PROVIDER, CPU_PROVIDER])


def test_a_mode_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(OptionError, match="mode is 'fast': it must be one of standard, high-performance"):
        OCR(mode="fast")  # type: ignore[arg-type]


def test_a_provider_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(DeviceUnavailableError, match="NoSuchExecutionProvider is not in the installed ONNX Runtime"):
        choose_placement(None, ["NoSuchExecutionProvider"])


def test_a_session_without_what_was_asked_for_is_an_error() -> None:
    # ONNX Runtime itself goes on with the CPU.
    missing = Placement((Provider("RknpuExecutionProvider"), Provider(CPU_PROVIDER)), "test")
    with (
        pytest.warns(UserWarning, match="not in available provider names"),
        pytest.raises(
            DeviceUnavailableError,
            match="ONNX Runtime did not load RknpuExecutionProvider, only CPUExecutionProvider",
        ),
    ):
        session_module.Session(store.find("PP-LCNet_x1_0_textline_ori"), missing)


def test_a_provider_that_takes_no_part_of_a_model_is_an_error() -> None:
    session = SimpleNamespace(
        get_providers=lambda: ["AProvider", CPU_PROVIDER],
        get_provider_graph_assignment_info=lambda: [SimpleNamespace(ep_name=CPU_PROVIDER)],
    )
    with pytest.raises(DeviceUnavailableError, match=r"AProvider cannot run any part of model\.onnx"):
        session_module._check_providers(session, [Provider("AProvider")], "model.onnx")
    session.get_provider_graph_assignment_info = lambda: [SimpleNamespace(ep_name="AProvider")]
    session_module._check_providers(session, [Provider("AProvider")], "model.onnx")


class FakeOptions(SimpleNamespace):
    """The options of a session, which note the providers that are added."""

    def add_session_config_entry(self, key: str, value: str) -> None: ...

    def add_provider_for_devices(self, devices: list[Any], options: dict[str, str]) -> None:
        self.added = [*getattr(self, "added", []), (devices, options)]

    def add_provider(self, name: str, options: dict[str, str]) -> None:
        self.added = [*getattr(self, "added", []), (name, options)]


def fake_backend(sessions: list[Any]) -> dict[str, Any]:
    """The names of a module with CUDA and a plug-in of two devices, that makes sessions on all that is asked for."""

    def inference_session(_: bytes, options: Any, providers: Any = None, **others: Any) -> Any:
        sessions.append(providers if providers is not None else options.added)
        assert others == {"enable_fallback": 0}
        return SimpleNamespace()

    devices = [SimpleNamespace(ep_name=name) for name in (CPU_PROVIDER, OPENVINO_PROVIDER, OPENVINO_PROVIDER)]
    return {
        "__version__": "1.31.1",
        "SessionOptions": FakeOptions,
        "InferenceSession": inference_session,
        "get_ep_devices": lambda: devices,
        "capi": SimpleNamespace(onnxruntime_pybind11_state=SimpleNamespace()),
        "OrtMemoryInfo": lambda *_: None,
        "OrtAllocatorType": SimpleNamespace(ORT_ARENA_ALLOCATOR=0),
        "OrtMemType": SimpleNamespace(DEFAULT=0),
        "OrtArenaCfg": lambda *_: None,
        "create_and_register_allocator": lambda *_: None,
        "set_default_logger_severity": lambda _: None,
    }


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What sessions of the fake module are made with."""
    made: list[Any] = []
    backends.inject(monkeypatch, fake_backend(made))
    return made


def test_built_in_providers_are_given_to_the_session_in_order(sessions: list[Any]) -> None:
    session_module._open(b"", [Provider(CUDA_PROVIDER, {"device_id": "1"}), Provider(CPU_PROVIDER)], 4)
    assert sessions == [[(CUDA_PROVIDER, {"device_id": "1"}), (CPU_PROVIDER, {})]]


def test_a_plug_in_is_given_the_device_that_is_named_and_the_number_of_threads(sessions: list[Any]) -> None:
    wanted = [Provider(OPENVINO_PROVIDER, {"device": "1", "n": "{threads}"}), Provider(CUDA_PROVIDER)]
    session_module._open(b"", wanted, 4)
    device = backend.plugin_devices()[OPENVINO_PROVIDER][1]
    assert sessions == [[([device], {"n": "4"}), (CUDA_PROVIDER, {})]]
    with pytest.raises(OptionError, match=r"device is '2', but .* has 2 devices: give a number"):
        session_module._open(b"", [Provider(OPENVINO_PROVIDER, {"device": "2"})], 4)


Answer = Callable[[NDArray[Any]], NDArray[Any]]


class Install(Protocol):
    """Makes ONNX Runtime one with CUDA, whose models compute what they should, or nothing."""

    def __call__(self, behaviour: Answer | Exception, *, computes: bool = True) -> None: ...


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes ONNX Runtime one whose sessions on CUDA answer as the CPU's, changed, or raise an error."""
    real = backend.onnxruntime()
    monkeypatch.setattr(libraries, "needed", lambda *_: [])

    def install(behaviour: Answer | Exception, *, computes: bool = True) -> None:
        class InferenceSession(backends.RunsOnDevice, real.InferenceSession):  # type: ignore[misc, name-defined]
            def __init__(self, contents: bytes, options: Any, *, providers: Any, **_: Any) -> None:
                self.cuda = providers[0][0] == CUDA_PROVIDER
                if self.cuda and isinstance(behaviour, Exception):
                    raise behaviour
                super().__init__(contents, options, providers=[CPU_PROVIDER])

            def get_providers(self) -> list[str]:
                return [CUDA_PROVIDER, CPU_PROVIDER] if self.cuda else [CPU_PROVIDER]

            def get_provider_graph_assignment_info(self) -> list[Any]:
                return [SimpleNamespace(ep_name=name) for name in self.get_providers()]

            def run(self, *arguments: Any) -> list[Any]:
                answers = super().run(*arguments) if computes else [np.zeros((1, 2))] * len(self.get_outputs())
                return [behaviour(each) for each in answers] if self.cuda and callable(behaviour) else answers

        known = [CUDA_PROVIDER, CPU_PROVIDER]
        backends.change(
            monkeypatch,
            InferenceSession=InferenceSession,
            OrtValue=backends.DeviceTensor,
            get_available_providers=lambda: known,
        )

    return install


def test_auto_takes_a_gpu_that_answers_as_the_cpu(gpu: Install) -> None:
    gpu(lambda answer: answer + np.float32(0.01))
    placement = OCR(device="auto").placement
    assert [provider.name for provider in placement.providers] == [CUDA_PROVIDER, CPU_PROVIDER]
    assert placement.reason == "device auto: a model runs on the GPU"


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (lambda answer: answer * np.nan, "differs from the CPU's by nan"),
        (np.zeros_like, "differs from the CPU's by 0.9"),
        (lambda answer: answer * 0 + 0.5, "differs from the CPU's by "),
        (RuntimeError("CUDA failure 101: invalid device ordinal"), "CUDA failure 101: invalid device ordinal"),
    ],
    ids=["NaN", "zeros", "undecided", "no such GPU"],
)
def test_auto_leaves_a_gpu_that_does_not_work(gpu: Install, behaviour: Answer | Exception, reason: str) -> None:
    gpu(behaviour)
    placement = choose_placement("auto")
    assert placement.on_cpu
    assert reason in placement.reason


def test_several_gpus_are_placements_of_one(gpu: Install) -> None:
    gpu(lambda answer: answer)
    placement = choose_placement("gpu:1,0", mode="high-performance")
    numbers = [each.providers[0].options["device_id"] for each in (placement, *placement.others)]
    assert numbers == ["1", "0"]
    assert {each.mode for each in placement.others} == {"high-performance"}
    with pytest.raises(OptionError, match="a single model runs on one GPU"):
        TextDetection(device="gpu:0,1")


def test_runs_on_a_gpu_take_turns(gpu: Install) -> None:
    running, most = [], []

    def slow(answer: NDArray[Any]) -> NDArray[Any]:
        running.append(1)
        most.append(len(running))
        time.sleep(0.01)
        running.pop()
        return answer

    gpu(slow)
    session = session_module.Session(store.find("PP-LCNet_x1_0_textline_ori"), choose_placement("gpu"))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(session, [np.zeros((1, 3, 80, 160), np.float32)] * 8))
    assert set(most) == {1}


def test_a_service_on_a_gpu_is_warm_before_it_listens(gpu: Install) -> None:
    runs: list[tuple[int, ...]] = []
    gpu(lambda answer: (runs.append(answer.shape), answer)[1], computes=False)  # type: ignore[func-returns-value]
    sizes = {"text_det_limit_side_len": 640, "text_det_limit_type": "max"}
    make_engine(Settings(), Request(sizes, device="gpu"))
    # Two sides each way, of 8 widths those sizes that are not too large; a recognizer has two outputs. Each shape is run to make
    # its plans, to record it, and to replay it.
    detection, page, lines, texts = 2 * 2, 1, 2, 14 * 2
    assert len(runs) == 3 * (detection + page + lines + texts)


def test_a_gpu_that_is_not_there_is_the_devices_fault_and_a_damaged_model_is_the_models(
    gpu: Install, tmp_path: Path
) -> None:
    gpu(RuntimeError("CUDA failure 101: invalid device ordinal"))
    with pytest.raises(
        DeviceUnavailableError, match=r"cannot be loaded with CUDAExecutionProvider.*: CUDA failure 101"
    ):
        OCR(device="gpu:7")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"bad\.onnx cannot be loaded: it is not an ONNX file"):
        session_module.Session(tmp_path / "bad.onnx", choose_placement("gpu"))


def test_a_gpu_is_the_device_of_that_number_where_cuda_is_a_plug_in(
    sessions: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = [SimpleNamespace(ep_name=CUDA_PROVIDER, number=number) for number in range(2)]
    monkeypatch.setattr(backend.onnxruntime(), "get_ep_devices", lambda: devices)
    session_module._open(b"", Device.parse("gpu:1").providers(), 4)
    assert sessions == [[([devices[1]], {}), (CPU_PROVIDER, {})]]


def package(folder: Path, name: str, source: str) -> None:
    """A package named onnxruntime-ep-NAME, as pip leaves it."""
    module = f"onnxruntime_ep_{name}"
    (folder / module).mkdir()
    (folder / module / "__init__.py").write_text(source)
    info = folder / f"{module}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: onnxruntime-ep-{name}\nVersion: 1.2\n")
    (info / "RECORD").write_text(f"{module}/__init__.py,,\n{module}/lib.so,,\n{info.name}/METADATA,,\n")


@pytest.fixture
def fake_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plug-in whose library is no library."""
    library = tmp_path / "libfake.so"
    library.write_bytes(b"no library")
    package(
        tmp_path,
        "fake",
        f"def get_library_path(): return {str(library)!r}\ndef get_ep_names(): return ['FakeExecutionProvider']\n",
    )
    monkeypatch.syspath_prepend(tmp_path)
    return library


def test_plug_ins_are_found_by_the_names_of_their_packages(fake_plugin: Path) -> None:
    found = {plugin.distribution: plugin for plugin in plugins.installed()}
    assert found["onnxruntime-ep-fake"] == plugins.Plugin(
        "onnxruntime-ep-fake", "1.2", ("FakeExecutionProvider",), str(fake_plugin)
    )


def test_a_plug_in_whose_library_does_not_load_is_an_error_with_the_loaders_message(fake_plugin: Path) -> None:
    with pytest.raises(DeviceUnavailableError, match=r"onnxruntime-ep-fake cannot be loaded: .*libfake\.so"):
        choose_placement(None, ["FakeExecutionProvider"])


def test_a_package_that_is_no_plug_in_is_named_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    package(tmp_path, "broken", "import nowhere_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    names = [plugin.distribution for plugin in plugins.installed()]
    assert "onnxruntime-ep-broken" not in names
    assert "onnxruntime-ep-broken has no usable execution provider: No module named 'nowhere_at_all'" in caplog.text


def test_the_trial_on_the_cpu_gives_the_cpus_answer() -> None:
    assert try_out(CPU) == 0


def test_libraries_that_cannot_be_loaded_come_with_the_loaders_message() -> None:
    assert libraries.missing(["libc.so.6", "libnowhere.so.9"]) == {
        "libnowhere.so.9": "libnowhere.so.9: cannot open shared object file: No such file or directory"
    }


def test_the_libraries_of_a_wheel_are_those_of_its_cuda() -> None:
    assert "libcublas.so.12" in libraries.needed(CUDA_PROVIDER, "12.8")
    assert "libcublas.so.13" in libraries.needed(CUDA_PROVIDER, "13.0")
    assert libraries.needed(CPU_PROVIDER, "") == []


@needs_openvino
def test_openvino_reads_what_the_cpu_reads() -> None:
    page = PAGES / "letter.png"
    found = OCR(providers=[OPENVINO_PROVIDER])
    assert found.detect.run.providers[0] == OPENVINO_PROVIDER  # type: ignore[attr-defined]
    assert found.predict(page)[0].text == OCR().predict(page)[0].text


@needs_openvino
@pytest.mark.parametrize(
    ("model", "shape"), [("PP-OCRv5_mobile_rec", (1, 3, 48, 320)), ("PP-OCRv5_mobile_det", (1, 3, 320, 320))]
)
def test_openvino_computes_what_the_cpu_computes(model: str, shape: tuple[int, ...]) -> None:
    tensor = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    placement = choose_placement(None, [OPENVINO_PROVIDER])
    *_, found = session_module.Session(store.find(model), placement, 2)(tensor)
    *_, expected = session_module.Session(store.find(model))(tensor)
    assert float(np.abs(found - expected).max()) < 1e-4
    assert try_out(placement) < 1e-5
