"""PDFs are rendered in a process with limits: what a hostile page costs, and where no process can be started."""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bombs import document, slow, squiggly
from conftest import PATIENCE, pdf

from ocr_onnx import InputOptions
from ocr_onnx.errors import InputError, NotEnoughMemoryError, UnreadableImageError
from ocr_onnx.inputs import decoding, decoding_client, isolated_pdf, sources
from ocr_onnx.inputs.decoding import Decoder
from ocr_onnx.inputs.decoding_client import DecodeLimits
from ocr_onnx.types import Page

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="decoding processes need Linux")

BLANK = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 50]>>"
CATALOG = b"<</Type/Catalog/Pages 2 0 R>>"
ENDLESS = 10**9
"""Points: the underline takes minutes."""

SHORT = InputOptions(pdf_timeout=1)


def with_hostile_pages(order: str) -> bytes:
    """A PDF of blank pages (b) and hostile pages (h)."""
    page, annotation = squiggly(ENDLESS)
    kids = b" ".join(
        b"3 0 R" if each == "h" else b"%d 0 R" % (5 + order[:place].count("b")) for place, each in enumerate(order)
    )
    pages = b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, len(order))
    return document(CATALOG, pages, page, annotation, *[BLANK] * order.count("b"))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The command lines of the processes that are started."""
    found: list[Any] = []
    start = subprocess.Popen

    def popen(command: Any, **settings: Any) -> Any:
        found.append(command)
        return start(command, **settings)

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(isolated_pdf, "_decoders", {})
    yield found
    isolated_pdf._end_processes()


def outcomes(data: sources.Source, options: InputOptions | None = None) -> list[str]:
    """The index of each page, or the page of its error."""
    found = sources.read_pages_or_errors(data, options)
    return [f"error {each.page}" if isinstance(each, InputError) else f"page {each.index}" for each in found]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("bhb", ["page 0", "error 2", "page 2"]),
        ("hb", ["error 1", "page 1"]),
        ("bh", ["page 0", "error 2"]),
        ("hhb", ["error 1", "error 2", "page 2"]),
    ],
)
def test_a_page_that_takes_too_long_costs_no_other_page(order: str, expected: list[str]) -> None:
    assert outcomes(with_hostile_pages(order), SHORT) == expected


def test_the_error_names_the_page_and_the_option(tmp_path: Path) -> None:
    file = tmp_path / "hostile.pdf"
    file.write_bytes(with_hostile_pages("bh"))
    _, error = sources.read_pages_or_errors(file, SHORT)
    assert isinstance(error, UnreadableImageError)
    assert (error.source, error.page) == (str(file), 2)
    assert f"page 2 of {file} took" in str(error)
    assert "raise pdf_timeout" in str(error)


def test_a_page_that_draws_for_long_is_stopped() -> None:
    assert outcomes([slow(), pdf((50, 40))], SHORT) == ["error 1", "page 0"]


def test_a_page_that_takes_too_much_memory_costs_no_other_page() -> None:
    limits = DecodeLimits(memory=2**26, cpu_seconds=60, wall_seconds=60)
    with closing(Decoder(limits)) as decoder:
        first, error, last = decoder.pages(with_hostile_pages("bhb"), "pdf", InputOptions())
    assert isinstance(first, Page)
    assert isinstance(error, UnreadableImageError | NotEnoughMemoryError)
    assert isinstance(last, Page)
    assert error.page == 2


def test_a_page_that_does_not_fit_into_this_process_is_an_error_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    outcomes = sources.read_pages_or_errors(pdf((50, 40), (50, 40)))
    next(outcomes)
    monkeypatch.setattr(mmap, "mmap", refuse)
    (error,) = outcomes
    assert isinstance(error, NotEnoughMemoryError)
    assert error.page == 2


def no_processes(*_: object, **__: object) -> None:
    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


@pytest.mark.parametrize("when", ["the process was killed", "a page took too long"])
def test_if_no_other_process_can_be_started_each_page_has_an_error_and_other_documents_are_read(
    when: str, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = pdf((50, 40), (50, 40), (50, 40)) if when == "the process was killed" else with_hostile_pages("bhbb")
    found = sources.read_pages_or_errors([bad, np.zeros((8, 8, 3), np.uint8), pdf((50, 40))], SHORT)
    assert isinstance(next(found), Page)
    if when == "the process was killed":
        for decoder in isolated_pdf._decoders.values():
            for process in decoder._running:
                process.kill()
    monkeypatch.setattr(subprocess, "Popen", no_processes)
    errors = list(found)
    image, opened_here = errors.pop(-2), errors.pop()
    assert isinstance(image, Page)
    assert isinstance(opened_here, Page)
    assert [error.page for error in errors if isinstance(error, UnreadableImageError)] == list(
        range(2, 2 + len(errors))
    )
    last = str(errors[-1])
    assert f"page {len(errors) + 1} of the input is not rendered" in last
    assert "cannot start a decoding process: [Errno 11] Resource temporarily unavailable" in last
    assert len(started) == 1


@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EMFILE])
def test_a_pdf_that_cannot_be_given_to_a_process_costs_no_other_document(
    code: int, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(decoding_client, "in_memory", refuse)
    first, image = sources.read_pages_or_errors([pdf((50, 40)), np.zeros((8, 8, 3), np.uint8)])
    # Without free descriptors for a file, it is rendered in this process.
    assert isinstance(first, NotEnoughMemoryError if code == errno.ENOMEM else Page)
    assert isinstance(image, Page)
    assert len(started) == 1


def test_after_some_hostile_pages_the_others_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_LOST_PROCESSES", 2)
    *_, skipped = sources.read_pages_or_errors(with_hostile_pages("bhhb"), SHORT)
    assert "page 4 of the input is skipped" in str(skipped)


def test_a_page_is_the_same_as_in_this_process() -> None:
    data = pdf((50, 40), (60, 40))
    isolated, here = (list(sources.read_pages(data, InputOptions(pdf_timeout=seconds))) for seconds in (30, 0))
    for one, other in zip(isolated, here, strict=True):
        assert np.array_equal(one.image, other.image)
        assert (one.index, one.count, one.resolution, one.scale) == (
            other.index,
            other.count,
            other.resolution,
            other.scale,
        )


def test_the_warnings_of_a_page_pass_through(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    page = Page(np.zeros((8, 8, 3), np.uint8), warnings=("a font is missing",))
    monkeypatch.setattr(decoding_client.DecodingProcess, "render", lambda *_: page)
    (found,) = sources.read_pages(pdf((50, 40)))
    assert found.warnings == page.warnings
    assert caplog.messages == ["a font is missing"]


def test_one_process_renders_all_pages_of_all_documents(started: list[Any]) -> None:
    for _ in range(3):
        assert outcomes(pdf((50, 40), (60, 40))) == ["page 0", "page 1"]
    assert len(started) == 1


def test_documents_that_are_read_in_turn_have_a_process_each(started: list[Any]) -> None:
    data = pdf((50, 40), (60, 40))
    pairs = list(zip(sources.read_pages(data), sources.read_pages(data), strict=True))
    assert [(one.index, other.index) for one, other in pairs] == [(0, 0), (1, 1)]
    assert len(started) == 2


def test_without_a_time_limit_no_process_is_started(started: list[Any]) -> None:
    assert outcomes(pdf((50, 40)), InputOptions(pdf_timeout=0)) == ["page 0"]
    assert started == []


def test_images_start_no_process(started: list[Any]) -> None:
    list(sources.read_pages(np.zeros((8, 8, 3), np.uint8)))
    assert started == []


def test_a_frozen_program_renders_in_its_process_with_a_warning(
    started: list[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    isolated_pdf._warn.cache_clear()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert outcomes(pdf((50, 40))) == ["page 0"]
    assert started == []
    assert "without a time limit" in caplog.text


@pytest.fixture
def elsewhere(started: list[Any], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The processes that are started are those of other systems than Linux."""
    monkeypatch.setattr(decoding, "ON_LINUX", False)
    return started


def test_elsewhere_a_page_that_takes_too_long_costs_no_other_page(elsewhere: list[Any]) -> None:
    found = list(sources.read_pages_or_errors([with_hostile_pages("bhb"), pdf((50, 40))], SHORT))
    assert [isinstance(each, Page) for each in found] == [True, False, True, True]
    assert str(found[1]).startswith("page 2 of the input took longer than 1 seconds")
    assert "raise pdf_timeout" in str(found[1])
    assert ["piped_process" in command[3] for command in elsewhere] == [True, True]


def test_elsewhere_a_page_is_the_same_as_in_this_process(elsewhere: list[Any]) -> None:
    data = pdf((50, 40), (60, 40))
    isolated, here = (list(sources.read_pages(data, InputOptions(pdf_timeout=seconds))) for seconds in (30, 0))
    for one, other in zip(isolated, here, strict=True):
        assert np.array_equal(one.image, other.image)
        assert (one.index, one.count, one.resolution, one.scale) == (other.index, 2, other.resolution, other.scale)
        one.image[0, 0] = 7  # The pixels can be changed.
    assert outcomes([data, b"%PDF-1.7 damaged", data]) == ["page 0", "page 1", "error None", "page 0", "page 1"]
    assert len(elsewhere) == 1


def test_elsewhere_a_process_that_crashes_costs_one_page(elsewhere: list[Any]) -> None:
    found = sources.read_pages_or_errors(pdf((50, 40), (50, 40), (50, 40)))
    next(found)
    for decoder in isolated_pdf._decoders.values():
        for process in decoder._running:
            process.kill()
    error, page = found
    assert isinstance(error, UnreadableImageError)
    assert "page 2 of the input crashed its decoder" in str(error)
    assert isinstance(page, Page)
    assert len(elsewhere) == 2


def is_running(pid: str) -> bool:
    """Whether a process exists and has not ended."""
    try:
        return Path("/proc", pid, "stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_elsewhere_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    script = """
import os
from ocr_onnx.inputs import decoding, isolated_pdf, sources
decoding.ON_LINUX = False
next(sources.read_pages("page.pdf"))
(decoder,) = isolated_pdf._decoders.values()
print(decoder._running.pop()._process.pid, flush=True)
os._exit(0)
"""
    (tmp_path / "page.pdf").write_bytes(pdf((50, 40), (50, 40)))
    pid = subprocess.check_output([sys.executable, "-c", script], cwd=tmp_path, text=True).strip()
    deadline = time.monotonic() + PATIENCE
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)


def test_a_system_without_the_modules_of_linux_reads_a_pdf(tmp_path: Path) -> None:
    (tmp_path / "page.pdf").write_bytes(pdf((50, 40)))
    script = """
import sys
sys.modules["fcntl"] = sys.modules["resource"] = None
from ocr_onnx.inputs import decoding, sources
decoding.ON_LINUX = False
print([page.index for page in sources.read_pages("page.pdf")])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[0]\n", "")


def test_a_forked_process_starts_its_own(started: list[Any]) -> None:
    data = pdf((50, 40))
    assert outcomes(data) == ["page 0"]
    child = os.fork()
    if child == 0:  # pragma: no cover
        os._exit(outcomes(data) != ["page 0"])
    assert os.waitpid(child, 0)[1] == 0
    assert outcomes(data) == ["page 0"]
    assert len(started) == 1


@pytest.mark.parametrize(
    "call",
    ["read()", "threading.Thread(target=lambda: (time.sleep(0.5), read())).start()", "atexit.register(read)"],
    ids=["without a guard of __main__", "in a thread that outlives the main one", "at exit"],
)
def test_a_script_reads_a_pdf(tmp_path: Path, call: str) -> None:
    (tmp_path / "page.pdf").write_bytes(pdf((50, 40)))
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
            import atexit, logging, threading, time
            from ocr_onnx.inputs.sources import read_pages
            def read():
                print([page.index for page in read_pages("page.pdf")])
            logging.basicConfig()
            {call}
        """),
        "utf-8",
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[0]\n", "")
