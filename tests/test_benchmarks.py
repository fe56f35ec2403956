"""The arithmetic and the tables of the benchmarks."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import PAGES, PATIENCE
from onnx import TensorProto, helper, numpy_helper, save
from served import read, running

from benchmarks import (
    batches,
    charts,
    cold,
    copied,
    cuda_options,
    fidelity,
    gpu,
    growth,
    latency,
    libraries,
    limit,
    modes,
    ocrmypdf,
    operators,
    passes,
    peers,
    peers_report,
    processes,
    providers,
    reading,
    records,
    scripts,
    service_report,
    soak,
    soak_service,
    throughput,
    words,
)
from benchmarks.labelled import Labelled, Score, compare_boxes, compare_text
from benchmarks.pictures import spread
from benchmarks.runners.clients import BROKEN, Load, send
from benchmarks.runners.process import ROOT, Peer, Runner
from benchmarks.runners.protocol import Clock, Settings
from ocr_onnx import OCR, OCROptions, OCRResult
from ocr_onnx.errors import InputNotFoundError
from ocr_onnx.models import zoo
from ocr_onnx.runtime.model_file import model_for_device
from ocr_onnx.service.engine import Check
from ocr_onnx.types import Page, Text

SETTINGS = Settings(detection="", recognition="", threads=1, side=960)
SAMPLE = ROOT / "ocr_onnx" / "sample.png"


def square(x: float, y: float, side: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]], np.float32)


@pytest.mark.parametrize("file", sorted(records.RESULTS.glob("*.json")), ids=lambda file: file.stem)
def test_tables_of_results_match_their_json(file: Path) -> None:
    makers = {
        "batches": batches.markdown,
        "peers": peers_report.markdown,
        "passes": passes.markdown,
        "providers": providers.markdown,
        "reading": reading.markdown,
        "latency": latency.markdown,
        "gpu": gpu.markdown,
        "copied": copied.markdown,
        "cuda_options": cuda_options.markdown,
        "growth": growth.markdown,
        "libraries": libraries.markdown,
        "limit": limit.markdown,
        "modes": modes.page,
        "ocrmypdf": ocrmypdf.markdown,
        "service": service_report.markdown,
        "soak": soak.markdown,
        "soak_service": soak_service.markdown,
        "throughput": throughput.markdown,
        "words": words.markdown,
    }
    result = json.loads(file.read_text("utf-8"))
    assert file.with_suffix(".md").read_text("utf-8") == makers[file.stem](result)


@pytest.mark.parametrize(
    ("name", "write"), [("growth", growth.write), ("peers", peers_report.write), ("service", service_report.write)]
)
def test_a_result_that_is_known_is_written_the_same_again(
    name: str, write: Callable[[dict[str, Any]], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {file.name: file.read_bytes() for file in records.RESULTS.glob(f"{name}*")}
    result = records.known(name)
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    assert records.known(name) == {}
    write(result)
    assert {file.name: file.read_bytes() for file in records.RESULTS.iterdir()} == before


def test_without_a_race_its_other_parts_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    peers_report.write({"accuracy": {"content": {}}})
    assert records.known("peers") == {"accuracy": {"content": {}}}
    assert not (tmp_path / "peers.md").exists()


def test_a_marked_part_of_a_document_is_replaced_and_the_rest_stays() -> None:
    document = "head\n<!-- b -->\nold\n<!-- e -->\ntail <!-- e -->\n"
    new = document.replace("old", "new")
    assert records.with_part(document, "<!-- b -->\n", "new\n", "<!-- e -->\n") == new


@pytest.mark.parametrize("document", ["", "<!-- b -->\nold", "<!-- e -->\n<!-- b -->\n"])
def test_a_document_without_marks_is_left_alone(document: str) -> None:
    with pytest.raises(ValueError, match="add both lines"):
        records.with_part(document, "<!-- b -->\n", "new\n", "<!-- e -->\n")


def test_ocr_onnx_read_in_the_race_what_paddleocr_read() -> None:
    race = records.known("peers")["race"]["content"]
    ours = race["peers"][peers.OURS]
    assert ours["texts_equal"] == ours["texts_wanted"] == ours["texts"]
    assert ours["pages_equal"] == len(race["images"]) >= 40


def test_f1_counts_words_whatever_their_order_and_case() -> None:
    score = Score()
    score.add(*compare_text("Total 5.00 the", "THE total", characters=False))
    assert (score.right, score.found, score.expected, score.f1) == (2, 3, 2, 0.8)


def test_a_box_matches_one_label_that_it_overlaps_by_half() -> None:
    image = Labelled(Path("x"), "", (square(0, 0, 10), square(50, 0, 10)), (square(100, 0, 10),))
    found = [square(x, 0, 10).astype(np.int32) for x in (1, 2, 56, 101)]
    assert compare_boxes(found, image) == (1, 3, 2)


def test_files_are_chosen_by_name_and_spread(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}.png").touch()
    assert [path.stem for path in spread(tmp_path, {"*.png": 3})] == ["0", "3", "6"]


def test_a_reader_is_scored_by_set_and_its_time_is_a_multiple_of_the_default_s(tmp_path: Path) -> None:
    peers_ = [Peer(name, tmp_path, "presets") for name in (libraries.OURS, "RapidOCR")]

    def judge(text: str) -> tuple[int, int, int]:
        return compare_text(text, "Total 5.00", characters=False)

    def amounts(text: str) -> tuple[int, int, int]:
        return libraries.compare_amounts(text, "Total 5.00")

    sample = libraries.Sample("receipts", Path("1.jpg"), judge, amounts)
    for peer, text, cpu in zip(peers_, ("Total 5.00", "Total 5.08"), (2.0, 3.0), strict=True):
        (tmp_path / peer.name).mkdir()
        said = {"text": text, "cpu": cpu, "peak": 102_400, "versions": {}}
        (tmp_path / peer.name / "receipts__1.json").write_text(json.dumps(said), "utf-8")
    expected = {"MB": "100", "versions": {}}
    assert libraries.figures(peers_, [sample], tmp_path) == {
        libraries.OURS: {"receipts": "1.000", "amounts": "1/1", "time": "1.00", **expected},
        "RapidOCR": {"receipts": "0.500", "amounts": "0/1", "time": "1.50", **expected},
    }


def test_a_word_that_a_hyphen_divides_is_equal_to_the_whole_word() -> None:
    assert libraries.compare_paragraphs("effects of self-made\n3-\n4", "ef- fects of self- made 3- 4") == (4, 5, 5)


def test_images_in_two_scripts_are_one_page_with_the_rows_at_which_each_ends() -> None:
    mixed = scripts.Mixed({"one": ("sign.png", "wide.png"), "other": ("tiny.png",)}, ("model",))
    page, ends = scripts.compose(PAGES, mixed)
    assert page.shape == (ends[-1], scripts.WIDTH, 3)
    assert 0 < ends[0] < ends[1]


def test_the_best_model_has_the_highest_scores_of_some_lines() -> None:
    singles = {
        name: [Text("", score) for score in scores] for name, scores in {"a": (0.9, 0.1), "b": (0.8, 0.99)}.items()
    }
    assert (scripts.best(singles, [0]), scripts.best(singles, [0, 1])) == ("a", "b")


def test_a_text_that_stands_twice_counts_twice() -> None:
    assert peers.compare_lists(["a", "a", "b"], ["a", "b", "b", "a"]) == 3


def test_a_provider_is_a_part_of_the_cpu_s_time_and_has_its_texts() -> None:
    reference = {"wall": [2.0, 4.0, 1.0], "processor": [4.0, 4.0, 4.0], "texts": [["a", "b"], [], ["c"]]}
    found = {"wall": [1.0, 4.0, 4.0], "processor": [2.0, 2.0, 2.0], "texts": [["a", "x", "y"], ["z"], ["c"]]}
    row = providers.row(found, reference)
    assert row == {"wall": 1.0, "processor": 0.5, "equal": 2, "texts": 3}
    row |= {"sample_texts": 0.125, "sample_pixels": 0.0599}
    page = providers.markdown({"circumstances": "today", "pictures": 3, "rounds": 3, "providers": {"It": row}})
    assert "| It | 1.00 | 0.50 | 2 of 3 | 12.50 % | 5.99 % |" in page


def test_ratios_are_taken_round_by_round_of_the_sums() -> None:
    assert peers_report.ratios([[2.0, 3.0], [4.0, 3.0]], [[1.0, 1.0], [2.0, 2.0]]) == [2.0, 2.0]


def test_stages_of_a_peer_add_up_to_its_time() -> None:
    stage = {"detection": 2.0, "detection model": 1.5, "recognition": 5.0, "recognition model": 4.0, "cropping": 1.0}
    shares = peers_report.shares({"stages": [[stage]], "wall": [[10.0]]})
    assert shares["detection: before and after the model"] == pytest.approx(0.05)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["the rest"] == pytest.approx(0.2)


def test_a_quadratic_cost_has_the_exponent_2() -> None:
    assert growth.exponent([1, 2, 4], [3, 12, 48]) == pytest.approx(2)


def test_a_page_of_words_has_as_many_as_asked() -> None:
    page = growth.words(30)
    rows = page.reshape(growth.GRID[0], growth.CELL[0], growth.GRID[1], growth.CELL[1], 3)
    assert (rows.min(axis=(1, 3, 4)) < 128).sum() == 30


def test_a_chart_contains_its_title_and_its_values_as_text() -> None:
    chart = charts.bars("a < b", {"one": 1.0, "two": 2.5}, " s")
    assert {"a &lt; b", "one", "two", "1.00 s", "2.50 s"} <= set(re.findall(r"<text[^>]*>([^<]*)</text>", chart))


def test_a_chart_of_the_same_data_has_the_same_bytes() -> None:
    series = {"a": [(1.0, 1.0), (10.0, 100.0)], "b": [(2.0, 5.0)]}
    assert charts.curves("t", ("x", "y"), series) == charts.curves("t", ("x", "y"), series)


def test_a_clock_adds_up_and_begins_anew_when_it_is_read() -> None:
    clock = Clock()
    double = clock.timed("double", lambda x: 2 * x)
    assert double(2) == 4
    assert clock.take()["double"] > 0
    assert clock.take() == {}


def test_a_runner_reads_as_ocr_onnx_does(tmp_path: Path) -> None:
    from ocr_onnx import OCROptions

    peer = Peer("ours", Path(sys.prefix), "ocr_onnx")
    with Runner(peer, SETTINGS, tmp_path / "log") as runner:
        answer = runner.ask(SAMPLE)
    off = OCROptions(use_doc_orientation_classify=False, use_textline_orientation=False)
    (result,) = OCR(off).predict(SAMPLE)
    assert [line["text"] for line in answer["lines"]] == [line.text for line in result.lines]
    assert min(answer["wall"], answer["cpu"]) > 0


def test_the_error_of_a_runner_that_ends_names_its_log(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="log says why"):
        Runner(Peer("none", Path(sys.prefix), "no_such_module"), SETTINGS, tmp_path / "log")
    assert "no_such_module" in (tmp_path / "log").read_text()


def test_commands_are_timed_as_often_as_asked() -> None:
    runs = cold.measure({"sleep": [sys.executable, "-c", "import time; time.sleep(0.05)"]}, 2)["sleep"]
    assert len(runs.wall) == len(runs.cpu) == len(runs.peak) == 2
    assert min(runs.wall) > 0.05


def test_a_timed_command_that_fails_is_named_with_its_errors() -> None:
    with pytest.raises(click.ClickException, match=r"ended with 3: no such page"):
        cold.run([sys.executable, "-c", "import sys; print('no such page', file=sys.stderr); sys.exit(3)"])


def test_multiply_adds_are_counted_by_kind_of_operator(tmp_path: Path) -> None:
    shapes = {"a": (16, 3, 3, 3), "b": (16, 1, 5, 5), "c": (16, 8, 2, 2), "m": (20, 7)}
    constants = [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["y1"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["y1", "b"], ["y2"], group=16, pads=[2, 2, 2, 2]),
        helper.make_node("ConvTranspose", ["y2", "c"], ["y3"], strides=[2, 2]),
        helper.make_node("MatMul", ["y3", "m"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, None, None]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "made", values[:1], values[1:], constants)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "made.onnx")
    assert operators.multiply_adds(tmp_path / "made.onnx", (1, 3, 12, 20)) == {
        "Conv 3x3": 16 * 6 * 10 * 3 * 9,
        "Conv depthwise 5x5": 16 * 6 * 10 * 25,
        "ConvTranspose": 16 * 6 * 10 * 8 * 4,
        "MatMul": 8 * 12 * 20 * 7,
    }


def test_a_node_counts_at_its_fastest_and_nodes_of_a_kind_together() -> None:
    def event(name: str, microseconds: int, weights: list[int]) -> dict[str, Any]:
        sizes = {"activation_size": "30", "parameter_size": "20", "output_size": "10"}
        shapes = [{"float": [1, 16, 8, 8]}, {"float": weights}]
        args = {"op_name": "Conv", "input_type_shape": shapes, **sizes}
        return {"cat": "Node", "name": f"{name}_kernel_time", "dur": microseconds, "args": args}

    events = [event("a", 9, [16, 16, 1, 1]), event("a", 5, [16, 16, 1, 1]), event("b", 2, [16, 16, 1, 1])]
    rows = operators.by_kind([*events, event("c", 4, [16, 1, 3, 3]), {"cat": "Session", "name": "session", "dur": 99}])
    assert rows == [
        {"kind": "Conv 1x1", "calls": 2, "seconds": pytest.approx(7e-6), "bytes": 120},
        {"kind": "Conv depthwise 3x3", "calls": 1, "seconds": pytest.approx(4e-6), "bytes": 60},
    ]


def test_clients_send_each_picture_as_often_as_asked_and_keep_what_was_read() -> None:
    with running() as server:
        sent = send(Load(server.port, clients=3, files=(str(PAGES / "sign.png"), str(SAMPLE)), seconds=60, requests=7))
    assert sorted(answer.file for answer in sent.answers) == [0, 0, 0, 0, 1, 1, 1]
    assert {answer.status for answer in sent.answers} == {200}
    assert sent.texts == {0: ["page None"], 1: ["page None"]}
    assert 0 < sent.cpu < sent.wall * 3


def test_clients_count_refusals_and_go_on() -> None:
    def slow(page: Page, options: OCROptions, check: Check) -> OCRResult:
        time.sleep(0.5)
        return read(page, options, check)

    with running(slow, queue_size=0) as server:
        sent = send(Load(server.port, clients=2, files=(str(SAMPLE),), seconds=1.0))
    statuses = [answer.status for answer in sent.answers]
    assert set(statuses) == {200, 503}
    assert statuses.count(503) > 1
    assert {answer.retry_after for answer in sent.answers if answer.status == 503} == {"1"}


def test_clients_count_connections_that_break() -> None:
    sent = send(Load(processes.free_port(), clients=1, files=(str(SAMPLE),), seconds=60, requests=1))
    assert [answer.status for answer in sent.answers] == [BROKEN]
    assert "refused" in sent.answers[0].why


FAMILY = '''
import runpy, subprocess, sys
child = """
import sys, time
held = bytearray(b"x" * 100_000_000)
while time.process_time() < 0.8:
    pass
sys.stdin.read()
"""
started = subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE)
runpy.run_module("http.server", run_name="__main__")
'''


def test_a_server_is_measured_with_its_children(tmp_path: Path) -> None:
    port = processes.free_port()
    command = [sys.executable, "-c", FAMILY, str(port), "--bind", "127.0.0.1", "--directory", str(tmp_path)]
    (tmp_path / "health").touch()
    with processes.Server("files", command, port, tmp_path / "log") as server, server.watched() as seen:
        end = time.monotonic() + PATIENCE
        while server.cpu() < 0.8 or server.resident() < 100_000:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert server.peak() >= server.resident()
        assert 100_000 < server.proportional() <= server.resident()
    assert max(seen) > 50_000


def test_the_service_is_compared_round_by_round_and_without_its_clients() -> None:
    service = [{"wall": 12.0, "cpu": 20.0, "clients_cpu": 4.0}]
    library = [{"wall": 9.0, "cpu": 19.0}]
    assert list(service_report.ratios(service, library, 2)) == [(0.75, 0.9, 0.95)]


def test_a_level_counts_pages_of_good_answers_and_memory_after_the_first_tenth() -> None:
    answers = [{"seconds": 1.0, "status": 200, "retry_after": None, "why": ""}] * 4
    answers += [{"seconds": 0.1, "status": 503, "retry_after": "2", "why": ""}] * 3
    answers += [{"seconds": 0.1, "status": 503, "retry_after": None, "why": ""}]
    sent = {"answers": answers, "wall": 2.0, "cpu": 0.4, "server_cpu": 3.0, "peak": 9}
    row = service_report.level(8, sent | {"resident": [3, 4, *[5] * 17, 4]}, 2)
    assert (row["pages_a_second"], row["server_cpu"], row["clients_share"]) == (2.0, 0.75, 0.1)
    assert (row["statuses"], row["retry_after"]) == ({"200": 4, "503": 4}, 3)
    assert (row["first"], row["rest"], row["final"]) == (4, 5, 4)


@pytest.mark.slow
def test_the_benchmark_of_a_gpu_measures_and_writes_its_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    monkeypatch.setattr(gpu, "FAMILIES", {"PP-OCRv5 mobile": gpu.FAMILIES["PP-OCRv5 mobile"]})
    command = [
        "--provider",
        "CPUExecutionProvider",
        "--pictures",
        "1",
        "--sizes",
        "1",
        "--rounds",
        "1",
        "--seconds",
        "9999",
    ]
    done = CliRunner().invoke(gpu.main, command, catch_exceptions=False)
    assert done.exit_code == 0
    result = json.loads((tmp_path / "gpu.json").read_text("utf-8"))
    assert (tmp_path / "gpu.md").read_text("utf-8") == gpu.markdown(result)
    assert gpu.markdown(result) in done.output
    assert len(result["speed"]) == 3
    assert all(row["one"] > 0 and row["together"] > 0 for row in result["speed"].values())
    assert [found["sizes"] for found in result["stalls"].values()] == [1, 1]
    assert "no GPU" in result["gpu"]


def test_texts_on_a_gpu_are_compared_with_the_options_of_their_recording(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compared: list[tuple[str, OCROptions]] = []

    def compare(recording: fidelity.Recording, ocr: OCR) -> fidelity.Tally:
        compared.append((recording.file.stem, ocr.options))
        return fidelity.Tally(texts=3, texts_equal=2)

    monkeypatch.setattr(fidelity, "compare", compare)
    (tmp_path / "golden").mkdir()
    for name in ("v5_mobile_zh", "v6_tiny_zh"):
        (tmp_path / "golden" / f"{name}.jsonl").touch()
    ocr = OCR(gpu.options("standard"), models=gpu.FAMILIES["PP-OCRv6 tiny"])
    assert gpu.equal_texts(ocr, "PP-OCRv6 tiny", tmp_path) == {"v6_tiny_zh": {"texts": 3, "equal": 2}}
    off = replace(OCROptions.paddleocr(), use_doc_orientation_classify=False, use_textline_orientation=False)
    assert compared == [("v6_tiny_zh", off)]
    assert ocr.options == gpu.options("standard")


def test_a_step_of_the_benchmark_of_a_gpu_that_does_not_fit_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    monkeypatch.setattr(gpu, "markdown", str)
    steps = gpu.Steps({"speed": {}}, 100)
    steps.add("speed", "fits", 50, lambda: 1)
    steps.add("speed", "does not fit", 101, lambda: 2)
    assert steps.result == {"speed": {"fits": 1}} == records.known("gpu")


def test_a_variant_without_all_passes_has_the_graph_of_other_devices() -> None:
    for name in {model for model, _ in passes.PASSES.values()}:
        whole = variant = zoo.spec(name).path.read_bytes()
        for model, prefix in passes.PASSES.values():
            if model == name:
                variant = passes.without(variant, prefix)
        assert model_for_device(variant) == model_for_device(whole, on_cpu=False)
        assert model_for_device(variant, masked=True) == model_for_device(whole, masked=True)
        with pytest.raises(ValueError, match="no replacement"):
            passes.without(variant, "none/")


def test_a_saving_is_a_share_of_the_time_without_the_pass() -> None:
    found = {passes.AS_IT_IS: {"wall": [9.0, 8.0]}, "blank_bound": {"wall": [10.0, 10.0]}}
    (saved,) = passes.savings({name: each | {"processor": each["wall"]} for name, each in found.items()}, 2).values()
    assert saved["processor"] == pytest.approx([0.1, 0.2])


def test_a_soak_counts_results_that_differ_from_the_first_pass() -> None:
    numbers = itertools.count()

    def fail() -> None:
        raise InputNotFoundError("nothing there")

    seen, different = soak.soak([lambda: "same", fail], 250)
    assert [look.calls for look in seen] == [200, 250]
    assert all(look.memory >= look.own > 0 and look.handles > 0 and look.threads > 0 for look in seen)
    assert different == 0
    assert soak.soak([lambda: next(numbers)], 250)[1] == 250


def test_a_soak_first_makes_each_call_in_all_threads_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    at_once: list[int] = []
    barrier = threading.Barrier(soak.THREADS, lambda: at_once.append(len(made)))

    def call(n: int) -> None:
        made.append(n)
        # Once in the first pass, which is in one thread; then all threads meet here.
        if made.count(n) > 1:
            barrier.wait(PATIENCE)

    soak.soak([partial(call, n) for n in range(3)], 0)
    assert made == [0, 1, 2, *(n for n in range(3) for _ in range(soak.THREADS))]
    assert at_once == [3 + soak.THREADS * n for n in (1, 2, 3)]


def test_growth_is_from_the_level_after_the_warm_up_to_that_at_the_end() -> None:
    looks = [soak.Look(n, 50 if n < 10 else 100 + n // 50, 50, 8, 4) for n in range(100)]
    assert soak.growth(looks, "memory") == pytest.approx(0.01)
    assert soak.growth(looks, "handles") == 0


def test_the_workers_of_a_server_are_its_children_that_multiprocessing_spawned() -> None:
    sleep = "[sys.executable, '-c', 'import time; time.sleep(600)', '{}']"
    started = "; ".join(f"subprocess.Popen({sleep.format(name)})" for name in ("spawn_main", "resource_tracker"))
    script = f"import subprocess, sys, time; {started}"
    with subprocess.Popen([sys.executable, "-c", f"{script}; time.sleep(600)"]) as process:
        end = time.monotonic() + PATIENCE
        # Until it runs its own command, a child has that of its parent.
        while len(found := processes.children(process.pid)) < 2 or soak_service.workers(process.pid) != found[:1]:
            assert time.monotonic() < end
            time.sleep(0.05)
        for each in (*found, process.pid):
            os.kill(each, signal.SIGKILL)


def test_ctrl_c_ends_a_soak_and_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(calls: int) -> soak.Look:
        if calls > 400:
            raise KeyboardInterrupt
        return soak.Look(calls, 1, 1, 1, 1)

    monkeypatch.setattr(soak, "look", look)
    seen, different = soak.soak([lambda: "same"], 2000)
    assert ([each.calls for each in seen], different) == ([200, 400], 0)
