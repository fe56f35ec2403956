"""The processes that decode: kept, shared by threads, killed, replaced, and ended with the server."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from bombs import resident, slow
from conftest import PAGES, PATIENCE, RGB, encoded, only, pdf

from ocr_onnx import InputOptions
from ocr_onnx.errors import InputError, OCRError, OptionError, OutputError, UnreadableImageError
from ocr_onnx.inputs import isolated_pdf
from ocr_onnx.inputs.decoding import Decoder
from ocr_onnx.inputs.decoding_client import DecodeLimits, _page
from ocr_onnx.inputs.decoding_messages import in_memory
from ocr_onnx.inputs.sources import unwrap
from ocr_onnx.outputs.formats import FORMATS
from ocr_onnx.outputs.placed import PageSize, PlacedPage
from ocr_onnx.types import Page

TINY = (PAGES / "tiny.png").read_bytes()
THREE = pdf((50, 40), (60, 40), (70, 40))


@pytest.fixture(autouse=True)
def _only_those_of_the_test() -> None:
    """End the processes that the library keeps for later PDFs."""
    isolated_pdf._end_processes()


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    with closing(Decoder(DecodeLimits(), 1)) as found:
        yield found


def pages(decoder: Decoder, data: bytes, kind: Literal["image", "pdf"] = "image") -> list[Page]:
    with closing(decoder.pages(data, kind, InputOptions())) as found:
        return list(map(unwrap, found))


def test_a_file_that_cannot_become_a_searchable_pdf_is_refused(decoder: Decoder) -> None:
    function, placed = FORMATS["pdf"].file, [pickle.dumps(PlacedPage(PageSize(30, 20), ()))]
    with pytest.raises(OutputError, match="cannot be written as a searchable PDF"):
        decoder.convert(b"%PDF-1.7 nonsense", "pdf", InputOptions(), function, placed)
    assert decoder.convert(THREE, "pdf", InputOptions(), function, placed).startswith(b"%PDF-")
    assert len(pages(decoder, TINY)) == 1


@pytest.mark.parametrize("function", ["json:dumps", "ocr_onnx.outputs.pdf:missing"])
def test_a_conversion_that_fails_costs_its_process_alone(decoder: Decoder, function: str) -> None:
    with pytest.raises(UnreadableImageError, match="crashed its decoder"):
        decoder.convert(THREE, "pdf", InputOptions(), function, [])
    assert len(pages(decoder, TINY)) == 1


def test_a_conversion_that_takes_too_long_is_ended() -> None:
    with closing(Decoder(DecodeLimits(wall_seconds=0.5), 1)) as decoder:
        placed = [pickle.dumps(Sleeping())]
        with pytest.raises(UnreadableImageError, match=r"took longer than 0\.5 seconds"):
            decoder.convert(THREE, "pdf", InputOptions(), FORMATS["pdf"].file, placed)


class Sleeping:
    """An object that takes a minute to be unpickled."""

    def __reduce__(self) -> tuple[Callable[[float], None], tuple[float]]:
        return time.sleep, (60.0,)


def processes(of: int | None = None) -> list[int]:
    """The decoding processes that a process, this one if none is given, has started and that still run."""
    parent = os.getpid() if of is None else of
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text("ascii", "replace").rpartition(")")[2].split()
            command = stat.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z" and b"decoding_process" in command:
            found.append(int(stat.parent.name))
    return found


def processor_seconds(process: int) -> float:
    """What a process has taken so far."""
    fields = Path(f"/proc/{process}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def eventually(fact: Callable[[], bool]) -> bool:
    """Whether a function comes to be true."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if fact():
            return True
        time.sleep(0.01)
    return False


def ended(child: int) -> None:
    """Wait until a child that was killed is gone: it dies a while after the signal was sent."""
    with suppress(ChildProcessError):  # Whoever noticed first has waited for it.
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)


def test_processes_are_started_once_and_reused() -> None:
    with closing(Decoder(DecodeLimits(), 2)) as decoder:
        before = processes()
        for _ in range(30):
            pages(decoder, TINY)
        assert len(before) == 2
        assert processes() == before
    assert processes() == []


def test_pdfium_is_loaded_before_the_first_pdf(decoder: Decoder) -> None:
    pages(decoder, TINY)
    assert "pdfium" in Path(f"/proc/{processes()[0]}/maps").read_text()


def test_a_process_killed_during_a_page_causes_one_error_and_the_next_call_works(decoder: Decoder) -> None:
    (first,) = processes()
    pages(decoder, TINY)
    with ThreadPoolExecutor(1) as thread:
        before = processor_seconds(first)
        reading = thread.submit(pages, decoder, slow(), "pdf")
        assert eventually(lambda: processor_seconds(first) > before + 0.2)
        assert not reading.done()
        os.kill(first, signal.SIGKILL)
        with pytest.raises(UnreadableImageError, match="crashed its decoder"):
            reading.result(PATIENCE)
    assert np.array_equal(pages(decoder, TINY)[0].image, only(TINY))
    (second,) = processes()
    assert second != first


def test_a_process_killed_between_two_pages_of_a_pdf_costs_one_page(decoder: Decoder) -> None:
    found = decoder.pages(THREE, "pdf", InputOptions())
    next(found)
    os.kill(processes()[0], signal.SIGKILL)
    error, last = found
    assert isinstance(error, UnreadableImageError)
    assert isinstance(last, Page)
    assert ("crashed its decoder" in str(error), error.page, last.index) == (True, 2, 2)
    assert len(pages(decoder, THREE, "pdf")) == 3


def test_an_idle_process_that_was_killed_causes_no_error(decoder: Decoder) -> None:
    pages(decoder, TINY)
    (first,) = processes()
    os.kill(first, signal.SIGKILL)
    ended(first)
    assert len(pages(decoder, TINY)) == 1


def test_a_process_that_hangs_is_replaced() -> None:
    with closing(Decoder(DecodeLimits(wall_seconds=0.5), 1)) as decoder:
        pages(decoder, TINY)
        os.kill(processes()[0], signal.SIGSTOP)
        with pytest.raises(UnreadableImageError, match=r"took longer than 0\.5 seconds"):
            pages(decoder, TINY)
        assert len(pages(decoder, TINY)) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_for_the_server_do_not_end_its_processes(decoder: Decoder, number: signal.Signals) -> None:
    pages(decoder, TINY)
    before = processes()
    os.kill(before[0], number)
    assert len(pages(decoder, TINY)) == 1
    assert processes() == before


def test_processes_are_replaced_after_a_number_of_pdfs() -> None:
    with closing(Decoder(DecodeLimits(pdf_files=3), 1)) as decoder:
        seen = []
        for _ in range(7):
            seen += processes()
            pages(decoder, THREE, "pdf")
            pages(decoder, TINY)
        assert [seen.count(process) for process in dict.fromkeys(seen)] == [3, 3, 1]


def test_closing_early_frees_the_process_for_the_next_file(decoder: Decoder) -> None:
    before = processes()
    for _ in range(5):
        found = decoder.pages(THREE, "pdf", InputOptions())
        assert unwrap(next(found)).index == 0
        found.close()
    assert len(pages(decoder, TINY)) == 1
    assert processes() == before


def test_a_second_file_waits_for_a_process(decoder: Decoder) -> None:
    found = decoder.pages(THREE, "pdf", InputOptions())
    next(found)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(pages, decoder, TINY)
        time.sleep(0.2)
        assert not waiting.done()
        found.close()
        assert len(waiting.result(PATIENCE)) == 1


def test_many_threads_get_each_their_own_pages() -> None:
    sides = range(10, 74)
    files = [(encoded(RGB.resize((side, side + 1)), "PNG"), side) for side in sides]

    def right(decoder: Decoder, file: tuple[bytes, int]) -> bool:
        return pages(decoder, file[0])[0].image.shape == (file[1] + 1, file[1], 3)

    with closing(Decoder(DecodeLimits(), 2)) as decoder, ThreadPoolExecutor(16) as threads:
        assert all(threads.map(partial(right, decoder), files * 5))
        assert len(processes()) == 2


def test_threads_whose_processes_are_killed_at_random_get_pages_or_errors() -> None:
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.7):
            for process in processes()[:1]:
                os.kill(process, signal.SIGKILL)
                ended(process)

    def read(decoder: Decoder, _: int) -> bool:
        try:
            return np.array_equal(pages(decoder, TINY)[0].image, only(TINY))
        except OCRError:
            return True

    with closing(Decoder(DecodeLimits(), 3)) as decoder, ThreadPoolExecutor(8) as threads:
        killer = threading.Thread(target=kill)
        killer.start()
        assert all(threads.map(partial(read, decoder), range(1000)))
        over.set()
        killer.join()
        held = [decoder.pages(THREE, "pdf", InputOptions()) for _ in range(3)]
        assert [unwrap(next(each)).index for each in held] == [0, 0, 0]
        assert len(processes()) == 3
        for each in held:
            each.close()
    assert processes() == []


def test_a_closed_decoder_refuses_waiting_and_new_calls() -> None:
    decoder = Decoder(DecodeLimits(), 1)
    found = decoder.pages(THREE, "pdf", InputOptions())
    next(found)
    (child,) = processes()
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(pages, decoder, TINY)
        time.sleep(0.1)
        decoder.close()
        assert not Path(f"/proc/{child}").exists()
        with pytest.raises(OCRError, match="is closed"):
            waiting.result(PATIENCE)
    assert "crashed its decoder" in str(next(found))
    with pytest.raises(OCRError, match="is closed"):
        next(found)
    with pytest.raises(OCRError, match="is closed"):
        pages(decoder, TINY)
    decoder.close()
    assert processes() == []


@pytest.mark.parametrize("amid", ["list(d.pages(data, 'pdf', InputOptions()))", "time.sleep(60)"])
def test_processes_end_when_the_server_is_killed(tmp_path: Path, amid: str) -> None:
    file = tmp_path / "slow.pdf"
    file.write_bytes(slow())
    script = f"""
        import pathlib, time
        from ocr_onnx import InputOptions
        from ocr_onnx.inputs.decoding import Decoder
        from ocr_onnx.inputs.decoding_client import DecodeLimits
        data = pathlib.Path({str(file)!r}).read_bytes()
        d = Decoder(DecodeLimits(cpu_seconds=600, wall_seconds=600), 2)
        list(d.pages(b'P1 1 1 1', 'image', InputOptions()))
        print(flush=True)
        {amid}
    """
    server = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE)
    with server:
        assert server.stdout is not None
        server.stdout.readline()
        time.sleep(0.5)
        children = processes(server.pid)
        assert len(children) == 2
        server.kill()
    assert eventually(lambda: not any(Path(f"/proc/{child}").exists() for child in children))


def held() -> tuple[int, set[Path]]:
    """How many files are open, and the memory that is shared by name."""
    return len(list(Path("/proc/self/fd").iterdir())), set(Path("/dev/shm").iterdir())  # noqa: S108


def test_a_thousand_files_leave_nothing_behind() -> None:
    with closing(Decoder(DecodeLimits(), 1)) as decoder:

        def read(count: int) -> None:
            for number in range(count):
                if number % 10 == 0:
                    next(found := decoder.pages(THREE, "pdf", InputOptions(pdf_scale=1)))
                    found.close()
                elif number % 10 == 1:
                    with pytest.raises(UnreadableImageError):
                        pages(decoder, b"no picture")
                else:
                    pages(decoder, TINY)

        read(50)
        gc.collect()
        before, memory = held(), resident()
        read(1000)
        gc.collect()
        assert held() == before
        assert resident() - memory < 2**24


def test_the_memory_of_a_page_is_freed_with_it(decoder: Decoder) -> None:
    picture = encoded(RGB.resize((4000, 3000)), "PNG", compress_level=1)
    pages(decoder, TINY)
    gc.collect()
    before = resident()
    found = pages(decoder, picture)
    assert found[0].image.sum() > 0
    assert resident() - before > 30_000_000
    del found
    assert resident() - before < 10_000_000


@pytest.mark.parametrize(
    "limits",
    [{"memory": 1}, {"cpu_seconds": 0}, {"cpu_seconds": 0.5}, {"wall_seconds": 0}, {"max_pages": 0}, {"pdf_files": 0}],
)
def test_limits_out_of_range_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=f"{next(iter(limits))} is"):
        DecodeLimits(**limits)  # type: ignore[arg-type]


def test_a_decoder_needs_at_least_one_process() -> None:
    with pytest.raises(OptionError, match="processes is 0"):
        Decoder(DecodeLimits(), 0)


def test_the_error_of_a_process_that_does_not_start_does_not_blame_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(sys, "path", [])
        decoder = Decoder(DecodeLimits(), 1)
        for _ in range(2):
            with pytest.raises(OCRError, match="the decoding process does not start") as caught:
                pages(decoder, TINY)
            assert not isinstance(caught.value, InputError)
    with pytest.raises(OCRError, match="does not start"):
        pages(decoder, TINY)
    assert len(pages(decoder, TINY)) == 1
    decoder.close()


def test_a_missing_python_is_reported_when_the_decoder_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(OCRError, match="cannot start a decoding process"):
        Decoder(DecodeLimits(), 1)


NOTHING_ELSE: dict[str, Any] = {"warnings": [], "layer": None}


def test_the_pixels_of_a_page_cannot_be_changed_or_truncated() -> None:
    file = in_memory(bytes(range(12)))
    reply = {"shape": [2, 2], "index": None, "count": None, "resolution": None, "scale": 1.0} | NOTHING_ELSE
    page = _page(reply, os.dup(file), 4)
    with pytest.raises(PermissionError):
        os.ftruncate(file, 0)
    with pytest.raises(PermissionError):
        os.pwrite(file, b"x", 0)
    os.close(file)
    assert page.image.tobytes() == bytes(range(12))


def test_a_page_with_more_pixels_than_allowed_is_refused() -> None:
    with pytest.raises(ValueError, match="a page of 2 x 2 pixels"):
        _page({"shape": [2, 2], "index": None, "count": None} | NOTHING_ELSE, in_memory(bytes(12)), 3)


@pytest.mark.parametrize("size", [-1, 3, 5, 2**40, "4", [4]])
def test_lines_of_a_pdf_whose_size_differs_from_the_message_are_refused(size: object) -> None:
    reply = {"shape": [2, 2], "index": None, "count": None, "resolution": None, "scale": 1.0}
    with pytest.raises((ValueError, TypeError)):
        _page(reply | NOTHING_ELSE | {"layer": size}, in_memory(bytes(12), b"[[]]"), 4)


def test_opencv_gets_the_pixel_limit_before_it_decodes() -> None:
    others = set(processes())
    with closing(Decoder(DecodeLimits(max_pixels=1000), 1)):
        (process,) = set(processes()) - others
        environment = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    assert b"OPENCV_IO_MAX_IMAGE_PIXELS=1000" in environment


@pytest.mark.parametrize("shape", [[3, 3], [-1, 2], [-2, -2], [2**62, 4], [2], [2, 2, 3], "22", None])
def test_a_page_whose_size_differs_from_its_message_is_refused(shape: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        _page({"shape": shape, "index": None, "count": None} | NOTHING_ELSE, in_memory(bytes(12)), 4)
