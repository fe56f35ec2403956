"""Profiles: every span is there, its processor time counted once, in all threads; nothing where none is recorded."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import PAGES

from ocr_onnx import OCR
from ocr_onnx.cli import main
from ocr_onnx.errors import OptionError, OutputError
from ocr_onnx.runtime import profiling

MS = 1_000_000


def work(milliseconds: int) -> None:
    end = time.thread_time_ns() + milliseconds * MS
    while time.thread_time_ns() < end:
        pass


@profiling.timed("inner")
def inner() -> int:
    work(20)
    return 7


@profiling.timed("outer")
def outer() -> int:
    work(10)
    return inner() + inner()


def test_time_within_is_not_counted_twice() -> None:
    with profiling.record() as profile:
        assert outer() == 14
    first, second, whole = profile.spans
    assert [span.name for span in profile.spans] == ["inner", "inner", "outer"]
    assert whole.own == whole.cpu - first.cpu - second.cpu
    assert whole.own >= 10 * MS
    assert first.cpu == first.own >= 20 * MS
    assert profile.cpu >= whole.cpu
    assert profile.wall >= whole.wall >= whole.cpu


def test_a_span_ends_where_an_error_does() -> None:
    def broken() -> None:
        with profiling.span("broken"):
            work(5)
            raise ZeroDivisionError

    with profiling.record() as profile:
        with pytest.raises(ZeroDivisionError):
            broken()
        inner()
    assert [span.name for span in profile.spans] == ["broken", "inner"]
    assert profile.spans[1].own >= 20 * MS


def test_other_threads_are_seen_and_told_apart() -> None:
    with profiling.record() as profile:
        threads = [threading.Thread(target=inner) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({span.thread for span in profile.spans}) == 2


def test_nothing_is_kept_outside_of_a_recording() -> None:
    with profiling.record() as profile:
        pass
    outer()
    assert profile.spans == []


def test_one_profile_is_recorded_at_a_time() -> None:
    with profiling.record(), pytest.raises(OptionError, match="already"), profiling.record():
        pass
    with profiling.record():
        pass


def test_the_table_has_a_row_a_name_and_adds_up() -> None:
    with profiling.record() as profile:
        outer()
        work(30)
    rows = {line[:32].strip(): line[32:].split() for line in profile.table().splitlines()}
    assert rows["inner"][0] == "2"
    own = sum(float(rows[name][-2]) for name in ("inner", "outer", "other threads, and the caller"))
    assert own == pytest.approx(float(rows["all"][-2]), abs=0.3)
    assert rows["all"][-1] == "100.0%"


def test_a_trace_nests_its_spans(tmp_path: Path) -> None:
    with profiling.record() as profile:
        outer()
    profile.save(tmp_path / "trace.json")
    first, _, whole = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert {event["ph"] for event in (first, whole)} == {"X"}
    assert whole["ts"] == 0 < first["ts"]
    assert first["ts"] + first["dur"] <= whole["dur"]
    with pytest.raises(OutputError, match="choose another file"):
        profile.save(tmp_path / "no" / "trace.json")


def test_a_page_is_told_by_its_steps(ocr: OCR) -> None:
    with profiling.record() as profile:
        (result,) = ocr.predict(PAGES / "letter.png")
    calls = [span.name for span in profile.spans]
    assert calls.count("PP-OCRv5_mobile_rec: session") == calls.count("recognition: decode") == len(result.lines)
    for name in (
        "decode",
        "detection: resize",
        "detection: normalize",
        "detection: find boxes",
        "PP-OCRv5_mobile_det: session",
    ):
        assert calls.count(name) == 1


def test_the_command_prints_the_table_and_writes_the_trace(tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    done = CliRunner().invoke(main.main, ["run", str(PAGES / "sign.png"), "--profile", str(trace)])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("FERRY TERMINAL\n")
    assert "PP-OCRv6_small_det: session" in done.stderr
    assert json.loads(trace.read_text())["traceEvents"]
