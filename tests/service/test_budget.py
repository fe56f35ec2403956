"""The memory of pages that are read at a time: what waits for it, and what is refused."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import numpy as np
import PIL.Image
import pytest
from conftest import PATIENCE, encoded
from served import Running, base64_of, read, running

from ocr_onnx import OCR, OCROptions, OCRResult
from ocr_onnx.errors import NotEnoughMemoryError, OptionError
from ocr_onnx.runtime import memory
from ocr_onnx.service import budget, engine
from ocr_onnx.service.budget import Budget
from ocr_onnx.service.engine import Check
from ocr_onnx.service.request_errors import ClientGoneError
from ocr_onnx.service.scheduling import CancelToken
from ocr_onnx.service.settings import Settings
from ocr_onnx.types import Image, Page

MEGABYTE = 2**20
PIXEL = encoded(PIL.Image.new("L", (1, 1)), "PNG")


def wanted() -> CancelToken:
    return CancelToken(60)


class Reader:
    """A page in a thread of its own, which takes what it needs until it is told to end."""

    def __init__(self, limit: Budget, needed: int) -> None:
        self.wanted = wanted()
        self.has, self.may_end = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._take, args=(limit, needed))
        self.thread.start()

    def _take(self, limit: Budget, needed: int) -> None:
        with suppress(ClientGoneError), limit.reserved(needed, self.wanted):
            self.has.set()
            self.may_end.wait(PATIENCE)

    def end(self) -> None:
        self.may_end.set()
        self.thread.join(PATIENCE)

    def leave(self) -> None:
        self.wanted.cancel()
        self.thread.join(PATIENCE)


def until(fact: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < end
        time.sleep(0.005)


def waiting(limit: Budget, needed: int) -> Reader:
    """A page that waits its turn."""
    reader = Reader(limit, needed)
    until(lambda: reader.wanted.waits_for_memory)
    assert not reader.has.is_set()
    return reader


def test_pages_that_fit_together_are_read_together() -> None:
    limit = Budget(10)
    with limit.reserved(4, wanted()), limit.reserved(6, wanted()):
        assert limit.used == 10
    assert limit.used == 0


def test_a_page_that_cannot_be_read_releases_its_memory() -> None:
    limit = Budget(10)
    with suppress(RuntimeError), limit.reserved(4, wanted()):
        raise RuntimeError
    assert limit.used == 0


def test_a_page_that_needs_more_than_the_whole_budget_is_refused_at_once() -> None:
    limit = Budget(10 * MEGABYTE)
    with (
        pytest.raises(NotEnoughMemoryError, match="about 11 MB, and the limit is 10 MB"),
        limit.reserved(11 * MEGABYTE, wanted()),
    ):
        pass


def test_without_a_memory_budget_every_page_is_read() -> None:
    waits = wanted()
    with Budget(None).reserved(2**60, waits):
        assert not waits.waits_for_memory


def test_a_page_waits_until_another_releases_its_memory() -> None:
    limit = Budget(10)
    first = Reader(limit, 6)
    assert first.has.wait(PATIENCE)
    second = waiting(limit, 6)
    first.end()
    assert second.has.wait(PATIENCE)
    assert (limit.used, second.wanted.waits_for_memory) == (6, False)
    second.end()


def test_small_pages_do_not_overtake_a_large_one() -> None:
    limit = Budget(10)
    first = Reader(limit, 6)
    assert first.has.wait(PATIENCE)
    large = waiting(limit, 6)
    small = waiting(limit, 1)
    assert not small.has.wait(0.05)
    first.end()
    assert large.has.wait(PATIENCE)
    assert small.has.wait(PATIENCE)
    large.end()
    small.end()


def test_a_canceled_request_lets_the_next_one_reserve_memory() -> None:
    limit = Budget(10)
    first = Reader(limit, 6)
    assert first.has.wait(PATIENCE)
    large = waiting(limit, 10)
    small = waiting(limit, 4)
    large.leave()
    assert small.has.wait(PATIENCE)
    assert (limit.used, large.wanted.waits_for_memory) == (10, True)
    first.end()
    small.end()


def test_many_threads_never_reserve_more_than_the_budget() -> None:
    limit, rng = Budget(100), np.random.default_rng(1)
    most: list[int] = []

    def take(needed: int) -> None:
        with limit.reserved(needed, wanted()):
            most.append(limit.used)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(take, rng.integers(1, 101, 2000).tolist()))
    assert (max(most) <= 100, len(most), limit.used) == (True, 2000, 0)


def test_the_default_budget_is_a_share_of_the_free_memory_of_the_container_or_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "remaining", lambda: 4000)
    monkeypatch.setattr(memory, "available", lambda: 3000)
    assert budget.default_budget(1) == 2400
    assert budget.default_budget(2) == 1200
    monkeypatch.setattr(memory, "available", lambda: None)
    assert budget.default_budget(1) == 3200
    monkeypatch.setattr(memory, "remaining", lambda: None)
    assert budget.default_budget(1) is None


@pytest.mark.parametrize("megabytes", [0, 127, -1, float("nan"), True])
def test_a_budget_out_of_range_is_refused(megabytes: float) -> None:
    with pytest.raises(OptionError, match="max_memory"):
        Settings(max_memory=megabytes)


# Over HTTP, with an engine that is a function: a page takes a megabyte for each column.


def by_width(image: Image, _: OCROptions) -> int:
    return int(image.shape[1]) * MEGABYTE


class Slow:
    """Reads a page until it may end, whoever waits for it."""

    def __init__(self) -> None:
        self.may, self.begun = threading.Event(), threading.Semaphore(0)

    def let_through(self, server: Running) -> None:
        """Have a page read, after which the server has started all that the next one needs."""
        self.may.set()
        server.wait_until(lambda: sent(server, 1).status_code == 200)
        self.may.clear()
        while self.begun.acquire(blocking=False):
            pass

    def read(self, page: Page, options: OCROptions, _: Check) -> OCRResult:
        self.begun.release()
        self.may.wait(PATIENCE)
        return read(page, options)


def sent(server: Running, width: int) -> httpx.Response:
    return server.post(file=base64_of(encoded(PIL.Image.new("L", (width, 9)), "PNG")))


def test_a_page_alone_above_the_budget_is_422_and_names_no_number_of_the_server() -> None:
    with running(memory=by_width, max_memory=200) as server:
        answer = sent(server, 201)
        assert (answer.status_code, sent(server, 200).status_code) == (422, 200)
        assert "too large for this server" in answer.json()["errorMsg"]


def test_a_page_that_waits_for_memory_past_the_deadline_is_503_with_a_time_to_retry() -> None:
    slow = Slow()
    # On a busy machine, a request can take seconds to get where it waits for memory.
    with running(slow.read, by_width, max_memory=200, threads=2, deadline=8) as server, ThreadPoolExecutor(2) as pool:
        slow.let_through(server)
        first = pool.submit(sent, server, 150)
        assert slow.begun.acquire(timeout=PATIENCE)
        second = sent(server, 100)
        assert (second.status_code, second.headers["Retry-After"].isdecimal()) == (503, True)
        assert "memory" in second.json()["errorMsg"]
        assert first.result().status_code == 504
        assert 'ocr_onnx_refused_total{reason="memory"} 1.0' in server.get("/metrics").text
        slow.may.set()
        server.wait_until(lambda: sent(server, 200).status_code == 200)


def test_a_page_that_waits_is_read_once_there_is_memory() -> None:
    slow = Slow()
    with running(slow.read, by_width, max_memory=200, threads=3) as server, ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(sent, server, 150) for _ in range(3)]
        assert slow.begun.acquire(timeout=PATIENCE)
        assert not slow.begun.acquire(timeout=0.2)
        slow.may.set()
        assert [answer.result().status_code for answer in answers] == [200, 200, 200]


# With the real engine.


def test_the_estimate_for_one_pixel_uses_its_size_in_detection(ocr: OCR) -> None:
    real = engine.from_pipeline(ocr, ocr.options)
    with running(real.read, real.memory, max_memory=500) as server:
        refused = server.post(file=base64_of(PIXEL), textDetLimitSideLen=4000)
        assert (refused.status_code, "textDetLimitSideLen" in refused.json()["errorMsg"]) == (422, True)
        assert server.post(file=base64_of(PIXEL), textDetLimitSideLen=640).status_code == 200
        assert server.post().status_code == 200


MEASURE = """
import re
import numpy as np
from ocr_onnx import OCR
from ocr_onnx.service import engine
from ocr_onnx.service.page_encoding import encode_page
from ocr_onnx.types import Page

def megabytes(key):
    with open("/proc/self/status") as file:
        return int(re.search(key + r":\\s+(\\d+) kB", file.read())[1]) / 1024

ocr = OCR()
real = engine.from_pipeline(ocr, ocr.options)
before = megabytes("VmRSS")
page = Page(np.random.default_rng(0).integers(0, 256, (1600, 1200, 3), np.uint8))
encode_page(real.read(page, real.options, lambda: None), visualize=True, max_size=(2000, 2000))
print(megabytes("VmHWM") - before, real.memory(page.image, real.options) / 2**20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_page_needs_at_most_the_estimated_memory() -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE], stdout=subprocess.PIPE, text=True, check=True)
    taken, estimated = map(float, re.findall(r"[\d.]+", done.stdout))
    assert estimated / 4 < taken < estimated
