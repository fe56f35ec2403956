"""How many cores there are, and how work is spread over them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import PATIENCE

from ocr_onnx.errors import OptionError
from ocr_onnx.runtime import threads
from ocr_onnx.runtime.threads import cores, cpu_count, parallel_map


def test_results_come_in_the_order_given_and_the_costliest_runs_first() -> None:
    started: list[int] = []
    lock = threading.Lock()

    def task(value: int, cost: int) -> int:
        with lock:
            started.append(cost)
        time.sleep(0.02)
        return value * 10

    values, costs = list(range(6)), [1, 5, 3, 6, 2, 4]
    assert parallel_map(task, values, costs, costs=costs) == [0, 10, 20, 30, 40, 50]
    assert started[0] == max(costs)


@pytest.mark.parametrize("error", [ZeroDivisionError, IndexError, StopIteration])
def test_an_error_in_a_task_is_raised(error: type[Exception]) -> None:
    def task(value: int) -> None:
        if value == 3:
            raise error

    with pytest.raises(error):
        parallel_map(task, range(6))


@pytest.mark.parametrize("threads", [1, 2])
def test_no_more_tasks_run_at_a_time_than_threads_are_asked_for(threads: int) -> None:
    running, most, lock = [0], [0], threading.Lock()
    expected = min(threads, cpu_count())
    together = threading.Barrier(expected, timeout=PATIENCE)

    def task(_: int) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        together.wait()
        with lock:
            running[0] -= 1

    parallel_map(task, range(8), threads=threads)
    assert most[0] == expected


@pytest.mark.skipif(cpu_count() == 1, reason="one core: each caller works by itself")
def test_engines_share_one_pool_of_as_many_threads_as_there_are_cores() -> None:
    found: set[int] = set()

    def task(_: int) -> None:
        time.sleep(0.002)
        found.add(threading.get_ident())

    threads = [threading.Thread(target=parallel_map, args=(task, range(20))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) <= cpu_count()


def test_more_threads_than_there_are_cores_are_as_many_as_there_are() -> None:
    assert cores(None) == cores(10_000) == cpu_count()
    assert cores(1) == 1
    with pytest.raises(OptionError, match="cpu_threads"):
        cores(0)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ({}, None),
    ],
    ids=["v2 none", "v2", "v1 none", "v1", "no control group"],
)
def test_a_containers_quota_is_known(tmp_path: Path, files: dict[str, str], cores: float | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads.quota(tmp_path) == cores


@pytest.mark.parametrize(
    ("cgroup", "files", "cores"),
    [
        ("0::/user/app\n", {"user/app/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/user/app\n", {"user/app/cpu.max": "max 100000\n", "user/cpu.max": "50000 100000\n"}, 0.5),
        ("0::/user/app\n", {"user/app/cpu.max": "300000 100000\n", "cpu.max": "200000 100000\n"}, 2.0),
        ("0::/not/mounted\n", {"cpu.max": "200000 100000\n"}, 2.0),
        (
            "4:cpu,cpuacct:/docker/1\n1:memory:/docker/1\n",
            {"cpu/docker/1/cpu.cfs_quota_us": "250000\n", "cpu/docker/1/cpu.cfs_period_us": "100000\n"},
            2.5,
        ),
    ],
    ids=["own group", "group above", "smallest", "container", "version 1"],
)
def test_the_quota_of_each_of_the_processs_groups_holds(
    tmp_path: Path, cgroup: str, files: dict[str, str], cores: float
) -> None:
    for name, text in {"self/cgroup": cgroup, **files}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    assert threads.quota(tmp_path, tmp_path / "self") == cores


def test_a_process_bound_to_one_core_counts_one() -> None:
    script = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); import ocr_onnx.runtime.threads as t; print(t.cpu_count())"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "1"
    assert cpu_count() >= 1


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_stops_what_has_not_begun(failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda _: 2)
    begun: list[int] = []
    failed = threading.Event()

    def task(value: int) -> None:
        begun.append(value)
        if value == failing:
            failed.set()
            raise ZeroDivisionError
        assert failed.wait(PATIENCE)
        time.sleep(0.02)

    with pytest.raises(ZeroDivisionError):
        parallel_map(task, range(200))
    assert len(begun) < 200
