"""Faults around a run: a full disk, missing permissions, files that vanish or change, Ctrl-C at any moment, and many threads."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pypdfium2
import pytest
from conftest import OFF, PAGES, PATIENCE

from ocr_onnx import OCR, InputOptions, Models, OCROptions
from ocr_onnx.cli.main import INTERRUPTED
from ocr_onnx.errors import InputNotFoundError
from ocr_onnx.models import store

TINY = Models("PP-OCRv6_tiny_det", "PP-OCRv6_tiny_rec")

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="signals, limits and users of Linux")

ENGINE = f"""
import os, resource, signal, sys
from pathlib import Path
import ocr_onnx
from ocr_onnx import OCR, Models, OCRError, OCROptions
ocr = OCR({OFF!r}.__class__(use_doc_orientation_classify=False, use_textline_orientation=False), models={TINY!r})
(page,) = ocr.predict({str(PAGES / "sign.png")!r})
def attempt(call, *arguments):
    try:
        print("done", call(*arguments))
    except OCRError as error:
        print(type(error).__name__, error)
""".replace(f"{OFF!r}.__class__", "OCROptions")


def run(script: str, *arguments: object, cwd: Path) -> str:
    command = [sys.executable, "-W", "ignore", "-c", ENGINE + script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


@LINUX
def test_on_a_full_disk_the_older_file_stays_and_no_part_of_the_new_one(tmp_path: Path) -> None:
    for name in ("out.json", "out.hocr", "out.png", "out.pdf"):
        (tmp_path / name).write_text("older")
    out = run(
        """
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
attempt(page.save, "out.hocr")
attempt(page.save, "out.pdf")
attempt(page.save_to_json, "out.json")
attempt(page.save_to_img, "out.png")
""",
        cwd=tmp_path,
    )
    assert out.count("OutputError") == out.count("cannot be written: File too large; choose a writable folder") == 4
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        ("out.json", "out.hocr", "out.png", "out.pdf"), "older"
    )


@LINUX
def test_missing_permissions_are_named(tmp_path: Path) -> None:
    secret, closed = tmp_path / "secret.png", tmp_path / "closed"
    shutil.copy(PAGES / "sign.png", secret)
    secret.chmod(0)
    closed.mkdir(mode=0o500)
    model = tmp_path / "model.onnx"
    shutil.copy(store.find(TINY.text_detection), model)
    model.chmod(0)
    tmp_path.chmod(0o755)
    out = run(
        """
import ocr_onnx.outputs.formats
if os.getuid() == 0:
    os.seteuid(65534)
attempt(ocr.predict, sys.argv[1])
attempt(page.save, sys.argv[2])
attempt(lambda: OCR(models=Models(sys.argv[3])))
""",
        secret,
        closed / "out.json",
        model,
        cwd=tmp_path,
    )
    lines = out.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["UnreadableImageError", "OutputError", "ModelError"]
    assert all("Permission denied" in line for line in lines)


def test_a_file_that_vanishes_between_two_pages_costs_only_itself(ocr: OCR, tmp_path: Path) -> None:
    for number in range(8):
        shutil.copy(PAGES / "sign.png", tmp_path / f"{number}.png")
    found = []
    for result in ocr.predict_iter(tmp_path, options=OFF, return_exceptions=True):
        (tmp_path / "7.png").unlink(missing_ok=True)
        found.append(result)
    assert [isinstance(each, InputNotFoundError) for each in found] == [False] * 7 + [True]
    assert "7.png" in str(found[7])


def test_a_pdf_that_is_overwritten_while_it_is_read_is_read_to_its_end(ocr: OCR, tmp_path: Path) -> None:
    document = pypdfium2.PdfDocument.new()
    for _ in range(4):
        document.new_page(200, 100)
    document.save(tmp_path / "a.pdf")
    found = []
    for result in ocr.predict_iter(tmp_path / "a.pdf", options=OFF):
        (tmp_path / "a.pdf").write_bytes(b"")
        found.append(result.source.index)
    assert found == [0, 1, 2, 3]


def test_a_model_that_is_overwritten_stays_as_it_was_in_a_running_process(tmp_path: Path) -> None:
    copies = [
        Path(shutil.copy(store.find(str(name)), tmp_path)) for name in (TINY.text_detection, TINY.text_recognition)
    ]
    engine = OCR(OFF, models=Models(*copies))
    before = engine.predict(PAGES / "letter.png")[0].json
    for copy in copies:
        copy.write_bytes(b"nothing of the kind")
    assert engine.predict(PAGES / "letter.png")[0].json == before


@LINUX
def test_a_page_for_which_memory_is_lacking_is_an_error_and_the_next_is_read(tmp_path: Path) -> None:
    out = run(
        """
import numpy as np
large = np.full((3000, 3000, 3), 255, np.uint8)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**27, resource.getrlimit(resource.RLIMIT_AS)[1]))
attempt(ocr.predict, large)
attempt(lambda: len(ocr.predict(sys.argv[1])[0].lines))
""",
        PAGES / "sign.png",
        cwd=tmp_path,
    )
    assert out.startswith("NotEnoughMemoryError detection at")
    assert out.endswith("done 3\n")


@LINUX
def test_paths_of_any_characters_and_length_are_read_and_written_in_any_locale(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["渡轮 é" * 10] * 30)
    deep.mkdir(parents=True)
    for name in ("码头.png", "ü'\n$(x).png", f"{'é' * 120}.png"):
        shutil.copy(PAGES / "sign.png", deep / name)
    (deep / "loop").symlink_to(tmp_path)
    (deep / "self").symlink_to(deep / "self")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-m", "ocr_onnx", "run", ".", "--output", str(tmp_path / "out"), "--format", "text"]
    done = subprocess.run(command, capture_output=True, env=environment, check=False, cwd=deep, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr.decode()
    texts = [path.read_text("utf-8") for path in (tmp_path / "out").iterdir()]
    assert len(texts) == 3
    assert all("渡轮码头" in text for text in texts)


@LINUX
@pytest.mark.parametrize("lines", [0, 1, 2, 3, 4, 5])
def test_ctrl_c_ends_a_run_with_code_130_and_whole_files(tmp_path: Path, lines: int) -> None:
    """After so many lines of the log; the log of each page and model is the clock."""
    (tmp_path / "out.json").write_text("older")
    command = [
        sys.executable,
        "-m",
        "ocr_onnx",
        "-v",
        "run",
        "--format",
        "json",
        "--output",
        str(tmp_path / "out.json"),
    ]
    pages = [str(PAGES / name) for name in ("letter.png", "dense.png", "letter.png", "dense.png")]
    with subprocess.Popen([*command, *pages], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        for _ in range(lines + 1):
            process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, printed = process.communicate(timeout=PATIENCE)
    assert process.returncode == INTERRUPTED, printed
    assert "Traceback" not in printed
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"out.json": "older"}


@LINUX
def test_ctrl_c_within_a_model_does_not_abort_the_process(tmp_path: Path) -> None:
    out = subprocess.run(
        [
            sys.executable,
            "-c",
            f"""
import _thread, threading
from ocr_onnx import OCR
ocr = OCR()
threading.Timer(1, _thread.interrupt_main).start()
try:
    for _ in ocr.predict_iter([{str(PAGES / "dense.png")!r}] * 50):
        pass
except KeyboardInterrupt:
    print("interrupted")
""",
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (out.returncode, out.stdout) == (0, "interrupted\n"), out.stderr


def test_eight_threads_with_mixed_calls_read_as_one_thread() -> None:
    engine = OCR(models=TINY)
    calls = [
        (PAGES / name, OCROptions(use_doc_orientation_classify=turned, return_word_box=words, input=InputOptions()))
        for name in ("sign.png", "tiny.png", "receipt.png", "turned-90.png", "blank.png")
        for turned in (False, True)
        for words in (False, True)
    ]
    serial = [engine.predict(path, options=options)[0].to_dict() for path, options in calls]
    start = threading.Barrier(8, timeout=PATIENCE)

    def work(first: int) -> list[bool]:
        start.wait()
        order = [(first * 7 + step) % len(calls) for step in range(10)]
        return [engine.predict(calls[i][0], options=calls[i][1])[0].to_dict() == serial[i] for i in order]

    with ThreadPoolExecutor(8) as pool:
        assert all(equal for found in pool.map(work, range(8)) for equal in found)


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX")
def test_processes_of_each_start_method_read_pages(tmp_path: Path, method: str) -> None:
    """Forking is safe before the first OCR of a process; after it, see test_session.py."""
    (tmp_path / "job.py").write_text(f"""
import multiprocessing
import ocr_onnx

engine = None

def prepare():
    global engine
    from ocr_onnx import OCR, Models
    engine = OCR(models=Models({TINY.text_detection!r}, {TINY.text_recognition!r}))

def read(path):
    return engine.predict(path)[0].lines[0].text

if __name__ == "__main__":
    with multiprocessing.get_context({method!r}).Pool(2, prepare) as pool:
        print(pool.map(read, [{str(PAGES / "sign.png")!r}] * 4))
""")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "job.py"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        cwd=tmp_path,
    )
    assert (done.stdout, done.returncode) == (f"{['FERRY TERMINAL'] * 4}\n", 0), done.stderr
