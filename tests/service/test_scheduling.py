"""Load: what waits, what is refused, deadlines, clients that leave, and how the server ends."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import PAGES, PATIENCE, pdf
from served import SIGN, Running, base64_of, read, running, wait_for

from ocr_onnx import OCR, DetectionOptions, OCROptions, OCRResult
from ocr_onnx.errors import ImageTooLargeError, OutputError
from ocr_onnx.inputs.sources import read_pages
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.runtime.providers import CPU
from ocr_onnx.service import engine, logs
from ocr_onnx.service.inference import options_of
from ocr_onnx.service.messages import parse
from ocr_onnx.service.metrics import DIRECTORY
from ocr_onnx.service.request_errors import ClientGoneError
from ocr_onnx.service.scheduling import CancelToken
from ocr_onnx.service.settings import Settings
from ocr_onnx.service.supervisor import CRASH_WINDOW, MAX_CRASHES, CrashCounter, Supervisor
from ocr_onnx.stages.detection import TextDetector
from ocr_onnx.types import Page, Run, Tensor

BODY = json.dumps({"file": base64_of(SIGN)}).encode()
REQUEST = (
    b"POST /ocr HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
)

DEADLINE = 1.5
"""Seconds, of which a request whose page is not waited for takes few hundredths."""


class Gate:
    """An engine that waits until it may go on, and asks meanwhile whether it is still wanted."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.at_work = threading.Semaphore(0)
        self.left = threading.Event()

    def open_once(self, server: Running) -> None:
        """Let a request through, after which the server has started all that the next one needs."""
        self.may.set()
        server.wait_until(lambda: server.post().status_code == 200)
        self.may.clear()
        while self.at_work.acquire(blocking=False):
            pass

    def read(self, page: Page, options: OCROptions, check: Callable[[], None]) -> OCRResult:
        self.at_work.release()
        while not self.may.wait(0.01):
            try:
                check()
            except ClientGoneError:
                self.left.set()
                raise
        return read(page, options)


@contextmanager
def posting(server: Running, count: int) -> Iterator[list[httpx.Response]]:
    """So many requests at a time; their answers are there at the end."""
    answers: list[httpx.Response] = []
    with ThreadPoolExecutor(count) as pool:
        sent = [pool.submit(server.post) for _ in range(count)]
        yield answers
        answers += [each.result() for each in sent]


def test_a_request_beyond_the_queue_is_refused_with_retry_after() -> None:
    gate = Gate()
    with running(gate.read, threads=2, queue_size=3) as server:
        with posting(server, 5) as answers:
            server.wait_until(lambda: server.scheduler.admitted == 5)
            refused = server.post()
            assert (refused.status_code, refused.json()["errorCode"]) == (503, 503)
            assert 1 <= int(refused.headers["Retry-After"]) <= 60
            assert server.get("/ready").status_code == 200
            gate.may.set()
        assert {answer.status_code for answer in answers} == {200}
        assert server.post().status_code == 200


def test_the_requests_of_one_client_are_limited() -> None:
    gate = Gate()
    with running(gate.read, max_per_client=2) as server:
        with posting(server, 2) as answers:
            server.wait_until(lambda: server.scheduler.admitted == 2)
            refused = server.post()
            assert (refused.status_code, "Retry-After" in refused.headers) == (429, True)
            gate.may.set()
        assert {answer.status_code for answer in answers} == {200}
        assert server.post().status_code == 200


def test_a_request_past_its_deadline_is_answered_with_504_and_ends() -> None:
    gate = Gate()
    with running(gate.read, deadline=DEADLINE) as server:
        gate.open_once(server)
        assert server.post().status_code == 504
        assert gate.left.wait(PATIENCE)
        gate.may.set()
        server.wait_until(lambda: server.post().status_code == 200)


def test_a_request_that_waits_past_its_deadline_gets_retry_after() -> None:
    gate = Gate()

    def stubborn(page: Page, options: OCROptions, _: Callable[[], None]) -> OCRResult:
        return gate.read(page, options, lambda: None)

    with running(stubborn, deadline=DEADLINE) as server:
        gate.open_once(server)
        with posting(server, 1) as first:
            assert gate.at_work.acquire(timeout=PATIENCE)
            refused = server.post()
        assert [answer.status_code for answer in first] == [504]
        assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
        gate.may.set()
        server.wait_until(lambda: server.post().status_code == 200)


def test_processing_ends_if_the_client_disconnects() -> None:
    gate = Gate()
    with running(gate.read) as server:
        connection = server.raw(REQUEST)
        assert gate.at_work.acquire(timeout=PATIENCE)
        connection.close()
        assert gate.left.wait(PATIENCE)
        server.wait_until(lambda: server.scheduler.admitted == server.scheduler.open == 0)
        gate.may.set()
        assert server.answers_at_once()


def test_processing_ends_if_the_client_disconnects_during_a_streamed_response() -> None:
    gate = Gate()

    def second_waits(page: Page, options: OCROptions, check: Callable[[], None]) -> OCRResult:
        return gate.read(page, options, check) if page.index else read(page, options)

    with running(second_waits) as server:
        content = {"file": base64_of(pdf(*[(50, 60)] * 3)), "visualize": False}
        headers = {"Accept": "application/x-ndjson"}
        with httpx.stream("POST", f"{server.url}/ocr", json=content, headers=headers, timeout=PATIENCE) as answer:
            # An iterator without a name would be closed at once, and the connection with it.
            lines = answer.iter_lines()
            assert json.loads(next(lines))["page"] == 0
            # A client that leaves before the second page begins ends the work without the gate.
            assert gate.at_work.acquire(timeout=PATIENCE)
        assert gate.left.wait(PATIENCE)
        server.wait_until(lambda: server.scheduler.admitted == server.scheduler.open == 0)


def test_a_waiting_request_whose_client_disconnects_takes_no_thread() -> None:
    gate = Gate()
    with running(gate.read) as server:
        with posting(server, 1) as answers:
            assert gate.at_work.acquire(timeout=PATIENCE)
            connection = server.raw(REQUEST)
            server.wait_until(lambda: server.scheduler.admitted == 2)
            connection.close()
            server.wait_until(lambda: server.scheduler.admitted == 1)
            gate.may.set()
        assert [answer.status_code for answer in answers] == [200]
        assert len(server.seen) == 1


def test_the_total_size_of_bodies_in_memory_is_limited() -> None:
    gate = Gate()
    with running(gate.read, max_body_megabytes=0.05, max_waiting_megabytes=0.05) as server:
        with posting(server, 1) as answers:
            assert gate.at_work.acquire(timeout=PATIENCE)
            refused = server.post(other="x" * 20_000)
            assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
            gate.may.set()
        assert [answer.status_code for answer in answers] == [200]
        assert server.post(other="x" * 20_000).status_code == 200


def test_the_engine_checks_for_cancellation_before_each_run_of_a_model(ocr: OCR) -> None:
    asked: list[int] = []
    result = engine.from_pipeline(ocr, ocr.options).read(next(pages()), ocr.options, lambda: asked.append(1))
    assert [line.text for line in result.lines] == [line.text for line in ocr.predict(SIGN)[0].lines]
    assert len(asked) >= 1 + 1 + 1 + len(result.lines)
    gone = CancelToken(60)
    gone.cancel()
    with pytest.raises(ClientGoneError):
        engine.from_pipeline(ocr, ocr.options).read(next(pages()), ocr.options, gone.check)


def pages() -> Iterator[Page]:
    return read_pages(SIGN)


def test_boxes_that_cover_the_page_many_times_are_refused(ocr: OCR) -> None:
    def frames(batch: Tensor) -> tuple[Any, ...]:
        answer = np.zeros((1, 1, *batch.shape[2:]), np.float32)
        for inset in range(0, 300, 4):
            answer[0, 0, inset : 640 - inset, inset : 640 - inset] = (inset // 4) % 2
        return (answer,)

    detector = TextDetector(frames, ocr.detect.metadata)
    page, options = np.zeros((640, 640, 3), np.uint8), DetectionOptions(box_thresh=0, unclip_ratio=3)
    assert len(detector(page, options)) > 40
    with pytest.raises(ImageTooLargeError, match="textDetUnclipRatio"):
        engine.BoundedDetector(frames, ocr.detect.metadata)(page, options)


def test_the_number_of_lines_read_on_a_page_is_limited(ocr: OCR) -> None:
    def spots(batch: Tensor) -> tuple[Any, ...]:
        answer = np.zeros((1, 1, *batch.shape[2:]), np.float32)
        for top in range(6):
            for left in range(6):
                answer[0, 0, 2 + top :: 10, 2 + left :: 10] = 1
        return (answer,)

    options = options_of(parse({"file": "a"}), OCROptions(), Settings()).detection
    page = np.zeros((3200, 3200, 3), np.uint8)
    begin = time.process_time()
    boxes = engine.BoundedDetector(spots, ocr.detect.metadata)(
        page, replace(options, limit_type="max", limit_side_len=3200)
    )
    assert (page.shape[0] // 10) ** 2 > 100_000
    assert len(boxes) == Settings().max_lines
    assert time.process_time() - begin < 5


def test_a_server_that_gets_sigterm_twice_finishes_accepted_requests() -> None:
    gate = Gate()
    with running(gate.read) as server:
        assert server.server is not None
        with posting(server, 1) as answers:
            gate.at_work.acquire()
            for _ in range(2):
                server.server.handle_exit(signal.SIGTERM, None)
            assert server.get("/ready").status_code == 503
            gate.may.set()
        assert [answer.status_code for answer in answers] == [200]


@contextmanager
def command(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Running, list[dict[str, Any]]]]:
    """`ocr-onnx serve` in a process of its own."""
    words = [sys.executable, "-m", "ocr_onnx", "serve", "--port", "0", *arguments]
    process = subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    logged: list[dict[str, Any]] = []
    assert process.stderr is not None
    try:
        for line in process.stderr:
            logged.append(json.loads(line))
            if logged[-1]["message"] == "listening":
                break
        reader = threading.Thread(target=lambda: logged.extend(map(json.loads, process.stderr or ())))
        reader.start()
        port = next(line["port"] for line in logged if "port" in line)
        wait_for(port)
        yield process, Running(port, None), logged  # type: ignore[arg-type]
        process.wait(PATIENCE)
        reader.join(PATIENCE)
    finally:
        process.terminate()
        process.wait(PATIENCE)
        process.stderr.close()


def test_on_sigterm_under_load_the_server_finishes_accepted_requests_refuses_new_ones_and_exits_with_0() -> None:
    body = json.dumps({"file": base64_of((PAGES / "letter.png").read_bytes()), "visualize": False}).encode()
    outcomes: list[int | str] = []
    ended = threading.Event()

    def load(url: str) -> None:
        with httpx.Client(timeout=PATIENCE, headers={"Content-Type": "application/json"}) as client:
            while not ended.is_set():
                try:
                    outcomes.append(client.post(url, content=body).status_code)
                except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError):
                    # Nobody listens any more; who was just about to be listened to sees the connection end.
                    outcomes.append("refused")
                    return

    with command() as (process, server, logged), ThreadPoolExecutor(6) as pool:
        sent = [pool.submit(load, f"{server.url}/ocr") for _ in range(6)]
        try:
            server.wait_until(lambda: outcomes.count(200) >= 3)
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(PATIENCE)
            ended.set()
        for each in sent:
            each.result()
    assert code == 0
    assert set(outcomes) == {200, 503, "refused"}
    answered = [line for line in logged if line["message"] == "request" and line["status"] == 200]
    assert len(answered) == outcomes.count(200)


def test_several_processes_share_one_port_and_their_metrics() -> None:
    with command("--workers", "2", "--cpu_threads", "1") as (process, server, logged):
        server.wait_until(lambda: len([line for line in logged if line["message"] == "listening"]) == 2)
        texts = {server.post().json()["result"]["ocrResults"][0]["prunedResult"]["rec_texts"][0] for _ in range(6)}
        assert texts == {"FERRY TERMINAL"}
        assert "ocr_onnx_pages_total 6.0" in server.get("/metrics").text
        children = {line["process"] for line in logged if line["message"] == "listening"}
        os.kill(min(children), signal.SIGKILL)
        server.wait_until(lambda: len([line for line in logged if line["message"] == "listening"]) == 3)
        (crash,) = [line for line in logged if line["message"] == "worker crashed"]
        assert (crash["process"], crash["code"]) == (min(children), -signal.SIGKILL)
        assert crash["cause"].startswith("killed, perhaps because the memory")
        assert server.post().status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_processes_whose_parent_is_killed_end_and_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with command("--workers", "2", "--cpu_threads", "1") as (process, server, logged):
        server.wait_until(lambda: len([line for line in logged if line["message"] == "listening"]) == 2)
        children = [line["process"] for line in logged if line["message"] == "listening"]
        assert [path.name.startswith("ocr-onnx-metrics-") for path in tmp_path.iterdir()] == [True]
        process.kill()
        server.wait_until(lambda: len([line for line in logged if line["message"] == "ended"]) == 2)
        server.wait_until(lambda: not any(Path(f"/proc/{child}/fd").exists() for child in children))
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(httpx.ConnectError):
            server.get("/health")


def test_only_frequent_crashes_of_workers_end_the_server() -> None:
    deaths = CrashCounter()
    for hour in range(2 * MAX_CRASHES):
        deaths.add(hour * 3600.0)
        assert not deaths.too_many(hour * 3600.0)
    last = (2 * MAX_CRASHES - 1) * 3600.0
    for second in range(1, MAX_CRASHES):
        assert not deaths.too_many(last + second)
        deaths.add(last + second)
    assert deaths.too_many(last + MAX_CRASHES)
    assert not deaths.too_many(last + CRASH_WINDOW)


@pytest.fixture
def supervised(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process whose logging and signal handlers a supervisor does not change for good."""
    monkeypatch.setattr(logs, "configure", lambda: None)
    handlers = {sig: signal.getsignal(sig) for sig in (signal.SIGINT, signal.SIGTERM)}
    yield
    os.environ.pop(DIRECTORY, None)
    for sig, handler in handlers.items():
        signal.signal(sig, handler)


def test_workers_without_a_temporary_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(OutputError, match="No such file or directory; set TMPDIR to a writable folder"):
        Supervisor(partial(os._exit, 0), 2).run()


def test_workers_that_crash_repeatedly_end_the_server(supervised: None) -> None:
    assert Supervisor(partial(os._exit, 3), 2).run() != 0


def test_workers_that_are_ended_before_they_serve_are_no_failure(supervised: None) -> None:
    end = f"import os, signal, time; os.kill({os.getpid()}, signal.SIGTERM); time.sleep({PATIENCE})"
    assert Supervisor(partial(exec, end), 2).run() == 0


def test_several_gpus_read_the_pages_in_turn() -> None:
    two = OCR(
        OCROptions(use_doc_orientation_classify=False, use_textline_orientation=False),
        device=replace(CPU, others=(CPU,)),
    )
    seen: list[int] = []
    devices = itertools.count()

    def noting(run: Run, metadata: ModelMetadata) -> Run:
        if metadata.task != "text_detection":
            return run
        number = next(devices)

        def noted(tensor: Tensor) -> tuple[Any, ...]:
            seen.append(number)
            return run(tensor)

        return noted

    reading = engine.from_pipeline(two.with_runs(noting), two.options)
    (page,) = pages()
    texts = [reading.read(page, two.options, lambda: None).text for _ in range(4)]
    assert seen == [0, 1, 0, 1]
    assert len(set(texts)) == 1


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0], ids=["forward", "back"])
def test_a_jump_of_the_clock_neither_ends_a_request_nor_delays_it(jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock jumps by a day, again and again, while requests are read; deadlines are seconds."""
    clock, jumps = time.time, itertools.count()
    with running(deadline=PATIENCE, transfer_timeout=PATIENCE) as server:
        monkeypatch.setattr(time, "time", lambda: clock() + jump * next(jumps))
        answers = [server.post(), server.post(file=base64_of(pdf((90, 60), (60, 90))), fileType=0), server.post()]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert next(jumps) > 0
