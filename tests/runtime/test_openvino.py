"""Models on OpenVINO, chosen by high-performance mode on processors with instructions for bfloat16, or by name."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import ocr_onnx
from ocr_onnx import OCR, OCROptions, TextRecognition
from ocr_onnx.cli.diagnosis import diagnose
from ocr_onnx.errors import DeviceUnavailableError, ModelError
from ocr_onnx.installation import requirement
from ocr_onnx.models import store
from ocr_onnx.models.metadata import properties
from ocr_onnx.runtime import batching, openvino
from ocr_onnx.runtime.model_check import read_metadata
from ocr_onnx.runtime.provider_specs import CPU_PROVIDER, OPENVINO
from ocr_onnx.runtime.providers import CPU, Provider
from ocr_onnx.runtime.selection import choose_placement
from ocr_onnx.runtime.session import Session
from ocr_onnx.runtime.threads import cpu_count
from ocr_onnx.stages.calibration import difference
from ocr_onnx.types import MAX_DIFFERING_SHARE

DETECTION, RECOGNITION, LINES = "PP-OCRv6_small_det", "PP-OCRv6_small_rec", "PP-LCNet_x1_0_textline_ori"
SAMPLE = Path(ocr_onnx.__file__).with_name("sample.png")

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="the package openvino is not installed"
)
needs_bfloat16 = pytest.mark.skipif(not openvino.has_bfloat16(), reason="the processor has no bfloat16")


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A processor with bfloat16, with the package installed; a test may change both."""
    monkeypatch.setattr(openvino, "has_bfloat16", lambda: True)
    monkeypatch.setattr(openvino, "is_installed", lambda: True)
    return monkeypatch


def test_high_performance_mode_takes_openvino_for_the_models_that_keep_their_accuracy(
    processor: pytest.MonkeyPatch,
) -> None:
    chosen = choose_placement(mode="high-performance")
    assert [provider.name for provider in chosen.providers] == [OPENVINO]
    assert chosen.only == (DETECTION, RECOGNITION)
    assert chosen.for_model(RECOGNITION) == chosen
    assert chosen.for_model("PP-OCRv5_mobile_rec").providers == CPU.providers
    assert f"in bfloat16: {DETECTION}, {RECOGNITION}" in str(chosen)


def test_the_first_provider_decides_whether_lines_are_padded_to_few_widths(processor: pytest.MonkeyPatch) -> None:
    metadata = read_metadata(store.find(RECOGNITION))
    fast = choose_placement(mode="high-performance")
    exact = choose_placement(providers=[OPENVINO])
    assert batching.shapes_for(fast, metadata, masked=False).batches([161, 8]) == [
        batching.Batch((1,), 160, 1),
        batching.Batch((0,), 192, 1),
    ]
    assert batching.shapes_for(exact, metadata, masked=False) == batching.CPU_SHAPES
    assert batching.OPENVINO_SHAPES.warm_up_shapes(metadata, 960) == [(1, 3, 48, 320)]


def test_standard_mode_and_other_processors_stay_on_onnx_runtime(processor: pytest.MonkeyPatch) -> None:
    assert choose_placement().providers == CPU.providers
    processor.setattr(openvino, "has_bfloat16", lambda: False)
    assert choose_placement("cpu", mode="high-performance").providers == CPU.providers


def test_a_provider_given_by_name_is_not_replaced(processor: pytest.MonkeyPatch) -> None:
    chosen = choose_placement(providers=[CPU_PROVIDER], mode="high-performance")
    assert [provider.name for provider in chosen.providers] == [CPU_PROVIDER]


def test_without_the_package_the_placement_says_how_to_install_it(processor: pytest.MonkeyPatch) -> None:
    processor.setattr(openvino, "is_installed", lambda: False)
    chosen = choose_placement(mode="high-performance")
    assert chosen.providers == CPU.providers
    assert f"pip install {requirement('openvino')}" in chosen.reason
    with pytest.raises(DeviceUnavailableError, match=r"pip install .*\[openvino\]"):
        choose_placement(providers=[OPENVINO])


@pytest.mark.parametrize(
    ("flags", "found"),
    [("fpu avx512f avx512_bf16", True), ("fpu amx_bf16 amx_tile", True), ("fpu avx512f avx512_vnni", False)],
)
def test_bfloat16_is_read_from_the_features_of_the_processor(tmp_path: Path, flags: str, found: bool) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: amx_bf16\n")
    assert openvino.has_bfloat16(cpuinfo) == found
    assert not openvino.has_bfloat16(tmp_path / "missing")


def test_arm_processors_have_a_model_and_no_bfloat16_for_openvino(tmp_path: Path) -> None:
    cpuinfo, model = tmp_path / "cpuinfo", "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd40\n"
    cpuinfo.write_text(f"processor\t: 0\nFeatures\t: fp asimd bf16\n{model}CPU revision\t: 1\n")
    assert openvino.processor_model(cpuinfo) == "0x41 0xd40"
    assert not openvino.has_bfloat16(cpuinfo)
    cpuinfo.write_text("processor\t: 0\nmodel name\t: AMD EPYC 9R14\n")
    assert openvino.processor_model(cpuinfo) == "AMD EPYC 9R14"


def test_the_doctor_says_whether_bfloat16_is_used(processor: pytest.MonkeyPatch) -> None:
    processor.setattr(openvino, "is_installed", lambda: False)
    (fact,) = (fact for fact in diagnose().facts if fact.name == "bfloat16")
    assert fact.value == f"high-performance mode uses it after: pip install {requirement('openvino')}"
    processor.setattr(openvino, "has_bfloat16", lambda: False)
    (fact,) = (fact for fact in diagnose().facts if fact.name == "bfloat16")
    assert fact.value == "no instructions in this processor"


def test_the_metadata_of_a_model_file_is_read_without_a_session(tmp_path: Path) -> None:
    path = store.find(RECOGNITION)
    assert properties(path.read_bytes()) == Session(path).properties
    (tmp_path / "other.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"other\.onnx cannot be loaded: it is not an ONNX file"):
        read_metadata(tmp_path / "other.onnx")
    (tmp_path / "pointer.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ModelError, match="Git LFS"):
        read_metadata(tmp_path / "pointer.onnx")


@needs_openvino
@pytest.mark.parametrize("name", [DETECTION, RECOGNITION, LINES])
def test_in_float32_a_model_gives_what_it_gives_on_onnx_runtime(name: str) -> None:
    path = store.find(name)
    metadata = read_metadata(path)
    session = Session(path, choose_placement(providers=[OPENVINO]), cpu_count())
    assert session.providers == [OPENVINO]
    assert session.properties == Session(path).properties
    assert [output.name for output in session.outputs] == [output.name for output in Session(path).outputs]
    assert difference(session, Session(path), metadata).share < 1e-5


@needs_openvino
@needs_bfloat16
@pytest.mark.parametrize("name", [DETECTION, RECOGNITION])
def test_in_bfloat16_few_decisions_differ(name: str) -> None:
    path = store.find(name)
    fast = choose_placement(mode="high-performance").for_model(name)
    shapes = batching.shapes_for(fast, read_metadata(path), masked=False)
    session = Session(path, fast, cpu_count())
    assert session.providers == [OPENVINO]
    assert 0 < difference(session, Session(path), read_metadata(path), shapes).share <= MAX_DIFFERING_SHARE


@needs_openvino
@needs_bfloat16
def test_high_performance_mode_reads_the_sample_page() -> None:
    options = OCROptions(use_doc_orientation_classify=False)
    expected = OCR(options).predict(SAMPLE)[0]
    found = OCR(options, mode="high-performance").predict(SAMPLE)[0]
    assert [line.text for line in found.lines] == [line.text for line in expected.lines]


def test_a_pipeline_limits_the_threads_of_openvino_unless_the_user_does(processor: pytest.MonkeyPatch) -> None:
    chosen = choose_placement(mode="high-performance")
    (limited,) = openvino.within(chosen, 1).providers
    assert limited.options[openvino.NUM_THREADS] == "1"
    given = choose_placement(providers=[Provider(OPENVINO, {openvino.NUM_THREADS: "3"})])
    assert openvino.within(given, 1) == given
    assert openvino.within(CPU, 1) == CPU


@needs_openvino
def test_threads_share_a_compiled_model() -> None:
    session = Session(store.find(LINES), choose_placement(providers=[OPENVINO]))
    pictures = [np.full((1, 3, 80, 160), value, np.float32) for value in np.linspace(-1, 1, 24)]
    with ThreadPoolExecutor(8) as threads:
        parallel = list(threads.map(session, pictures))
    for picture, (answer,) in zip(pictures, parallel, strict=True):
        assert np.array_equal(session(picture)[0], answer)


@needs_openvino
def test_a_shape_that_the_model_refuses_is_an_error_and_the_next_call_works() -> None:
    session = Session(store.find(DETECTION), choose_placement(providers=[OPENVINO]))
    for _ in range(2 * cpu_count()):
        with pytest.raises(ModelError, match=r"1x3x100x300(.|\n)*multiples of 32"):
            session(np.zeros((1, 3, 100, 300), np.float32))
    assert session(np.zeros((1, 3, 64, 96), np.float32))[0].shape == (1, 1, 64, 96)


@needs_openvino
def test_an_option_that_openvino_refuses_is_named() -> None:
    where = choose_placement(providers=[Provider(OPENVINO, {"NO_SUCH_OPTION": "1"})])
    with pytest.raises(ModelError, match=r"NO_SUCH_OPTION=1: .*check the provider's options") as caught:
        Session(store.find(LINES), where)
    assert "\n" not in str(caught.value)


@needs_openvino
def test_a_single_model_runs_on_openvino() -> None:
    model = TextRecognition(providers=[OPENVINO])
    (result,) = model.predict(np.full((48, 320, 3), 255, np.uint8))
    assert result["rec_text"] == ""


LARGE_BLOCKS = """
import ctypes
from ocr_onnx.runtime import openvino

class Statistics(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
libc.mallinfo2.restype = Statistics
openvino.return_large_blocks()
libc.free(libc.malloc(16 * 2**20))
before = libc.mallinfo2().hblkhd
libc.malloc(2 * openvino.LARGE_BLOCK)
print(libc.mallinfo2().hblkhd - before >= 2 * openvino.LARGE_BLOCK)
"""
"""Prints whether a large block is allocated by itself, so that the system gets it back, after a larger one was freed."""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33 or newer")
@pytest.mark.parametrize(
    ("variables", "returned"),
    [
        ({}, "True"),
        ({"MALLOC_MMAP_THRESHOLD_": str(2**25)}, "False"),
        ({"GLIBC_TUNABLES": f"glibc.malloc.mmap_threshold={2**25}"}, "False"),
    ],
)
def test_memory_of_large_tensors_is_returned_unless_the_user_decides(variables: dict[str, str], returned: str) -> None:
    command = [sys.executable, "-c", LARGE_BLOCKS]
    done = subprocess.run(command, env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == returned
