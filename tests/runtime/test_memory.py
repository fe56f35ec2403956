"""What a process may still take, and pages that would take more."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import DETECTION

from ocr_onnx import OCR, TextBox
from ocr_onnx.errors import InputError, NotEnoughMemoryError
from ocr_onnx.options import DetectionOptions
from ocr_onnx.runtime import memory
from ocr_onnx.stages.detection import TextDetector
from ocr_onnx.types import Tensor


def group(tmp_path: Path, membership: str, files: dict[str, str]) -> int | None:
    """What is left by a control group's files."""
    proc, groups = tmp_path / "self", tmp_path / "cgroup"
    proc.mkdir()
    (proc / "cgroup").write_text(membership)
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text)
    return memory.remaining(proc, groups)


def test_without_a_limit_there_is_none(tmp_path: Path) -> None:
    assert group(tmp_path, "0::/\n", {"memory.max": "max\n", "memory.current": "5\n"}) is None


def test_a_control_group_limits_what_its_files_do_not_take(tmp_path: Path) -> None:
    files = {"job/memory.max": "1000\n", "job/memory.current": "700\n", "job/memory.stat": "anon 1\ninactive_file 50\n"}
    assert group(tmp_path, "0::/job\n", files) == 350


def test_a_container_sees_its_group_at_the_root(tmp_path: Path) -> None:
    files = {"memory.max": "1000\n", "memory.current": "1200\n"}
    assert group(tmp_path, "0::/docker/abc\n", files) == 0


def test_groups_of_the_older_kind_limit_as_well(tmp_path: Path) -> None:
    files = {
        "memory/job/memory.limit_in_bytes": "1000\n",
        "memory/job/memory.usage_in_bytes": "400\n",
        "memory/job/memory.stat": "total_inactive_file 100\n",
    }
    assert group(tmp_path, "4:memory:/job\n1:cpu:/\n", files) == 700
    (tmp_path / "cgroup" / "memory" / "job" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert memory.remaining(tmp_path / "self", tmp_path / "cgroup") is None


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_the_machine_says_what_it_has() -> None:
    free = memory.available()
    assert free is not None
    assert free > 2**20


def run(_: Tensor) -> tuple[np.ndarray]:
    raise AssertionError("the model was run")


def test_a_page_that_would_pass_the_limit_is_refused_with_a_size_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "remaining", lambda: 500 * 2**20)
    page = np.zeros((4000, 4000, 3), np.uint8)
    with pytest.raises(NotEnoughMemoryError, match=r"4000 x 4000 would take about \d+ MB, .* 500 MB more") as refused:
        TextDetector(run, DETECTION)(page)
    assert isinstance(refused.value, InputError)
    assert isinstance(refused.value, MemoryError)
    side = int(str(refused.value).rpartition("limit_side_len=")[2].split()[0])
    with pytest.raises(AssertionError, match="the model was run"):
        TextDetector(run, DETECTION)(page, DetectionOptions(limit_side_len=side, limit_type="max"))


def test_a_page_that_the_machine_lacks_memory_for_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(memory, "remaining", lambda: None)
    monkeypatch.setattr(memory, "available", lambda: 2**20)
    with pytest.raises(AssertionError, match="the model was run"):
        TextDetector(run, DETECTION)(np.zeros((4000, 4000, 3), np.uint8))
    assert "the machine has only 1 MB available" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="ulimit")
def test_a_process_with_a_limit_reports_the_page_and_lives(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import resource\n"
        "import numpy as np\n"
        "from ocr_onnx import OCR, OCROptions\n"
        "from ocr_onnx.errors import NotEnoughMemoryError\n"
        "ocr = OCR(OCROptions(use_doc_orientation_classify=False, use_textline_orientation=False))\n"
        "small, large = np.full((200, 200, 3), 255, np.uint8), np.full((4000, 4000, 3), 255, np.uint8)\n"
        "ocr.predict(small)\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + 2**30, size + 2**30))\n"
        "try:\n"
        "    ocr.predict(large)\n"
        "except NotEnoughMemoryError as error:\n"
        "    print(error)\n"
        "print(len(ocr.predict(small)))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first.startswith("detection at 4000 x 4000 would take about")
    assert second == "1"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_was_freed_goes_back_to_the_system() -> None:
    script = """
import resource
from pathlib import Path
from ocr_onnx.runtime import memory

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6

blocks = [bytes(60_000) + b"x" for _ in range(2000)]
last = bytes(60_000) + b"y"
del blocks
before = held()
memory.trim_heap()
print(before - held())
"""
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True)
    assert float(done.stdout) > 80


def test_loading_gives_back_what_it_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bool] = []
    monkeypatch.setattr("ocr_onnx.runtime.memory.trim_heap", lambda: calls.append(True))
    OCR()
    assert calls == [True]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_pages_give_back_what_they_leave_once_in_an_interval(monkeypatch: pytest.MonkeyPatch, ocr: OCR) -> None:
    calls: list[bool] = []
    clock = SimpleNamespace(monotonic=lambda: 100.0)
    library = SimpleNamespace(malloc_trim=lambda _: calls.append(True))
    monkeypatch.setattr(memory, "ctypes", SimpleNamespace(CDLL=lambda _: library))
    monkeypatch.setattr(memory, "_next_trim", [0.0])
    monkeypatch.setattr(memory, "time", clock)
    blank = np.full((64, 64, 3), 255, np.uint8)
    ocr.predict(blank)
    ocr.predict(blank)
    assert calls == [True]
    clock.monotonic = lambda: 100.0 + memory.TRIM_INTERVAL
    ocr.predict(blank)
    assert calls == [True, True]


def test_boxes_that_take_more_than_the_limit_are_not_cut_out(monkeypatch: pytest.MonkeyPatch, ocr: OCR) -> None:
    whole = TextBox(np.array([[0, 0], [1000, 0], [1000, 1000], [0, 1000]], np.int32), 0.9)
    crowded = ocr.with_stages(detect=lambda *_: [whole] * 200)
    monkeypatch.setattr(memory, "remaining", lambda: 500 * 2**20)
    with pytest.raises(NotEnoughMemoryError, match="cropping 200 boxes would take about 572 MB"):
        crowded.predict(np.zeros((1000, 1000, 3), np.uint8))


STRIPS = """
import re
from dataclasses import replace
import numpy as np
from ocr_onnx import OCR, OCROptions
from ocr_onnx.service.page_encoding import encode_page

def megabytes(key):
    with open("/proc/self/status") as file:
        return int(re.search(key + r":\\s+(\\d+) kB", file.read())[1]) // 1024

ocr = OCR(replace(OCROptions.paddleocr(), return_word_box=True))
before = megabytes("VmRSS")
for width, height in ((2000, 1), (20_000, 1), (1, 20_000)):
    for level in (0, 255):
        (result,) = ocr.predict(np.full((height, width, 3), level, np.uint8))
        encode_page(result, visualize=True, max_size=(2000, 2000))
        print(result.angle, len(result.img))
print(megabytes("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_pages_of_one_row_or_column_take_little_memory() -> None:
    done = subprocess.run([sys.executable, "-c", STRIPS], stdout=subprocess.PIPE, text=True, check=True)
    *pages, taken = done.stdout.splitlines()
    # A black strip is judged to lie on its side, so it is shown beside itself turned.
    assert "270 2" in pages
    assert int(taken) < 300
