"""Tasks run in threads while there are some, and in the caller's thread when Python ends."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import PAGES, PATIENCE

from ocr_onnx.runtime.workers import Workers


def run_script(script: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_tasks_run_in_as_few_threads_as_are_needed() -> None:
    workers = Workers(3, "ocr-onnx-test")
    names = [workers.submit(lambda: threading.current_thread().name).result(PATIENCE) for _ in range(9)]
    workers.close()
    assert set(names) <= {f"ocr-onnx-test_{number}" for number in range(3)}


def test_as_many_tasks_run_at_a_time_as_there_are_workers() -> None:
    together = threading.Barrier(3, timeout=PATIENCE)
    workers = Workers(3, "ocr-onnx-test")
    futures = [workers.submit(together.wait) for _ in range(6)]
    assert sorted(future.result(PATIENCE) for future in futures) == [0, 0, 1, 1, 2, 2]
    workers.close()


def test_a_canceled_task_does_not_run() -> None:
    begin = threading.Event()
    ran: list[int] = []
    workers = Workers(1, "ocr-onnx-test")
    first, second = workers.submit(begin.wait, PATIENCE), workers.submit(ran.append, 1)
    assert second.cancel()
    begin.set()
    assert first.result(PATIENCE)
    assert workers.submit(lambda: True).result(PATIENCE)
    workers.close()
    assert ran == []


def test_an_exception_is_that_of_the_future() -> None:
    workers = Workers(1, "ocr-onnx-test")
    with pytest.raises(ZeroDivisionError):
        workers.submit(lambda: 1 / 0).result(PATIENCE)
    workers.close()


def test_a_task_after_the_end_runs_in_the_callers_thread() -> None:
    workers = Workers(1, "ocr-onnx-test")
    workers.submit(int).result(PATIENCE)
    workers.close()
    assert workers.submit(threading.get_ident).result(0) == threading.get_ident()


def test_a_task_runs_in_the_callers_thread_if_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    workers = Workers(1, "ocr-onnx-test")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert workers.submit(threading.get_ident).result(0) == threading.get_ident()


READS = f"""
import atexit, concurrent.futures.thread, threading, time
from concurrent.futures import ThreadPoolExecutor
{{before}}
from ocr_onnx import OCR
ocr = OCR()
pages = [{str(PAGES / "sign.png")!r}] * 2
def read(name):
    # At the end of the main thread, Python waits for its pools first, so a thread of a pool cannot wait for the main thread.
    while threading.current_thread() is not threading.main_thread() and not concurrent.futures.thread._shutdown:
        time.sleep(0.01)
    print(name, sum("FERRY" in result.text for result in ocr.predict_iter(pages)), flush=True)
{{how}}
"""


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("threading.Thread(target=read, args='a').start()", ["a 2"]),
        ("pool = ThreadPoolExecutor(2)\nfor name in 'abcd': pool.submit(read, name)", ["a 2", "b 2", "c 2", "d 2"]),
        ("for name in 'ab': threading.Thread(target=read, args=name).start()", ["a 2", "b 2"]),
    ],
)
def test_pages_are_read_after_the_end_of_the_main_thread(how: str, expected: list[str], tmp_path: Path) -> None:
    assert sorted(run_script(READS.format(before="", how=how), tmp_path).splitlines()) == expected


@pytest.mark.parametrize("place", ["before", "after"])
def test_pages_are_read_in_a_function_registered_with_atexit(place: str, tmp_path: Path) -> None:
    register = "atexit.register(lambda: read('a'))"
    before, how = (register, "") if place == "before" else ("", register)
    assert run_script(READS.format(before=before, how=how), tmp_path) == "a 2\n"


def test_a_script_ends_after_the_page_in_progress(tmp_path: Path) -> None:
    script = """
import time
from ocr_onnx.inputs.prefetch import prefetch
def slow():
    yield 0
    time.sleep(0.3)
    print("made", flush=True)
    yield 1
items = prefetch(slow())
print(next(items), flush=True)
"""
    assert run_script(script, tmp_path) == "0\nmade\n"
