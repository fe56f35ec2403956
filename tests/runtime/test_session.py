"""Devices, sessions, threads, and what happens where ONNX Runtime is not as it should be."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import backends
import numpy as np
import pytest
from conftest import PAGES

from ocr_onnx import OCR
from ocr_onnx.converters import pull
from ocr_onnx.errors import ModelError, OCRError
from ocr_onnx.installation import requirement
from ocr_onnx.models import store
from ocr_onnx.runtime import backend
from ocr_onnx.runtime import session as session_module
from ocr_onnx.runtime.session import Session


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match=r"bad\.onnx cannot be loaded: it is not an ONNX file"):
        Session(path)


def test_a_session_answers_in_the_graphs_order() -> None:
    session = Session(store.find("PP-OCRv5_mobile_rec"))
    index, probability = session(np.zeros((2, 3, 48, 320), np.float32))
    assert (str(index.dtype), index.shape) == ("int64", (2, 40))
    assert (str(probability.dtype), probability.shape) == ("float32", (2, 40))


def test_a_size_that_a_model_cannot_take_is_an_error_with_its_cure() -> None:
    session = Session(store.find("PP-OCRv5_mobile_det"))
    with pytest.raises(ModelError, match=r"1x3x100x300(.|\n)*multiples of 32"):
        session(np.zeros((1, 3, 100, 300), np.float32))


def test_sessions_share_their_memory() -> None:
    # The second model's run finds what the first has left.
    script = """
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
import numpy as np
from ocr_onnx.models import store
from ocr_onnx.runtime.session import Session
# Not getrusage: what it gives begins with the peak of the process that started this one.
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
first, second = (Session(store.find("PP-OCRv5_mobile_det")) for _ in range(2))
before = peak()
first(np.zeros((1, 3, 960, 960), np.float32))
once = peak()
second(np.zeros((1, 3, 960, 960), np.float32))
print(once - before, peak() - once)
"""
    needed, more = map(float, subprocess.check_output([sys.executable, "-c", script], text=True).split())
    assert needed > 30
    assert more < needed / 4


def test_memory_that_another_library_shares_is_used_too() -> None:
    script = """
import numpy as np, onnxruntime as ort
info = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
ort.create_and_register_allocator(info, ort.OrtArenaCfg(0, -1, -1, -1))
from ocr_onnx.models import store
from ocr_onnx.runtime.session import Session
print(Session(store.find("PP-OCRv5_mobile_det"))(np.zeros((1, 3, 64, 64), np.float32))[0].shape)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("(1, 1, 64, 64)\n", "")


def test_a_large_input_is_answered_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(store.find("PP-OCRv5_mobile_det"))
    tensor = np.random.default_rng(0).normal(size=(1, 3, 96, 160)).astype(np.float32)
    (usual,) = session(tensor)
    monkeypatch.setattr(session_module, "LARGE_INPUT", tensor.size)
    (large,) = session(tensor)
    np.testing.assert_array_equal(large, usual)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_memory_goes_back_after_a_large_input_and_only_then() -> None:
    script = """
import re, sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
import numpy as np
from ocr_onnx.models import store
from ocr_onnx.runtime import session as runtime
status = lambda field: int(re.search(field + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
session, tensor = runtime.Session(store.find("PP-OCRv5_mobile_det")), np.zeros((1, 3, 1600, 1600), np.float32)
runtime.LARGE_INPUT = tensor.size + int(sys.argv[1])
before = status("VmRSS")
session(tensor)
print(status("VmHWM") - before, status("VmRSS") - before)
"""
    shares = []
    for beside in ("0", "1"):
        printed = subprocess.check_output([sys.executable, "-c", script, beside], text=True)
        highest, kept = map(float, printed.split())
        assert highest > 100
        shares.append(kept / highest)
    assert shares[0] < 0.5 < shares[1]


def test_without_onnx_runtime_the_first_session_says_how_to_get_it(tmp_path: Path) -> None:
    script = """
import ocr_onnx
try:
    ocr_onnx.OCR()
except ocr_onnx.OCRError as error:
    print(type(error).__name__, error)
"""
    environment = os.environ | backends.hide(tmp_path, "onnxruntime")
    out = subprocess.check_output([sys.executable, "-c", script], text=True, env=environment)
    assert out.startswith(f"OnnxRuntimeMissingError ONNX Runtime is not installed: pip install {requirement('cpu')}")


def test_onnx_runtime_reports_nothing_and_leaves_nothing_at_home(tmp_path: Path) -> None:
    script = "from ocr_onnx import OCR; OCR().predict('ocr_onnx/sample.png'); import time; time.sleep(1)"
    environment = {**os.environ, "HOME": str(tmp_path)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, cwd=Path(__file__).parents[2])
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("version", "threads", "expected"), [("1.32.0", 1, "0"), ("1.32.0", 2, "1"), ("1.31.1", 2, "1"), ("1.30.2", 2, "0")]
)
def test_threads_look_for_work_only_where_that_can_be_kept_short(
    version: str, threads: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend.onnxruntime(), "__version__", version)
    options = session_module.session_options(threads)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == expected
    if expected == "1":
        assert options.get_session_config_entry("session.intra_op.spin_duration_us") == "30"


def test_two_distributions_of_onnx_runtime_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    info = tmp_path / "onnxruntime_gpu-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(backend.Backend, "module", None)
    with caplog.at_level(logging.WARNING):
        Session(store.find("PP-OCRv5_mobile_det"))
    assert "onnxruntime and onnxruntime-gpu are installed together" in caplog.text


def test_a_forked_child_is_told_to_make_its_own() -> None:
    script = f"""
import os, sys
from ocr_onnx import OCR, OCRError
ocr = OCR()
ocr.predict({str(PAGES / "sign.png")!r})
if os.fork() == 0:
    try:
        ocr.predict({str(PAGES / "sign.png")!r})
    except OCRError as error:
        print(error, flush=True)
    print(OCR().predict({str(PAGES / "sign.png")!r})[0].lines[0].text, flush=True)
    os._exit(0)
os.wait()
"""
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == [
        "a model cannot be used after a fork: create the OCR in the process that uses it",
        "FERRY TERMINAL",
    ]


def test_other_sessions_keep_their_log_level() -> None:
    # ONNX Runtime warns of an unused weight, and must still do so for others.
    script = """
import onnx, onnxruntime
from onnx import TensorProto as T, helper as h
from ocr_onnx import OCR
OCR()
value = h.make_tensor("unused", T.FLOAT, [1], [1.0])
info = [h.make_tensor_value_info(name, T.FLOAT, [1]) for name in "xy"]
graph = h.make_graph([h.make_node("Relu", ["x"], ["y"])], "g", info[:1], info[1:], [value])
model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "Removing initializer 'unused'" in done.stderr


def test_one_engine_serves_many_threads(ocr: OCR) -> None:
    pages = [PAGES / name for name in ("letter.png", "sign.png", "receipt.png", "cjk.png")]
    alone = [ocr.predict(page)[0].text for page in pages]
    found: dict[int, str] = {}

    def work(i: int) -> None:
        found[i] = ocr.predict(pages[i % 4])[0].text

    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(16)] == alone * 4


@pytest.mark.parametrize("copied", [pickle.dumps, copy.deepcopy])
def test_an_engine_that_is_copied_or_pickled_is_refused_with_the_remedy(ocr: OCR, copied: Callable[[Any], Any]) -> None:
    for engine in (ocr, ocr.detect, ocr.recognize):
        with pytest.raises(OCRError, match="create OCR\\(\\) in each process"):
            copied(engine)


@pytest.mark.parametrize("name", ["inference.onnx", "inference.pdiparams", "inference.json"])
def test_a_pointer_of_git_lfs_in_place_of_a_model_is_named(tmp_path: Path, name: str) -> None:
    for each in {"inference.json", "inference.pdiparams", "inference.yml", name}:
        (tmp_path / each).write_bytes(b"{}")
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9000000\n")
    with pytest.raises(ModelError, match=rf"{name} is a pointer of Git LFS .*git lfs pull"):
        pull.from_directory(tmp_path)
