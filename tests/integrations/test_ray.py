"""Batches on Ray, with the real one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import PATIENCE, pdf

ray = pytest.importorskip("ray")
pa = pytest.importorskip("pyarrow")

BATCH = (sys.executable, "-P", "-m", "ocr_onnx", "batch")
FAST = ("--preset", "fast", "--workers", "2", "--use_doc_orientation_classify", "False")

RAY_PATIENCE = 4 * PATIENCE
"""Seconds: Ray itself takes ten to start."""


def command(*arguments: object) -> list[str]:
    return [*BATCH, *map(str, arguments), *FAST]


def rows(out: Path) -> dict[tuple[str, int | None], Mapping[str, Any]]:
    lines = [line for path in out.glob("pages/*.jsonl") for line in path.read_text("utf-8").splitlines()]
    found = {(row["path"], row["page"]): row for row in map(json.loads, lines)}
    assert len(found) == len(lines)
    return found


def failures(out: Path) -> list[str]:
    return sorted((out / "failures.jsonl").read_text("utf-8").splitlines())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("in")
    for number in range(20):
        image = np.full((40, 120, 3), 255, np.uint8)
        cv2.putText(image, str(1000 + number), (10, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (0, 0, 0), 2)
        cv2.imwrite(str(made / f"{number}.png"), image)
    (made / "bad.png").write_bytes(b"no image")
    (made / "a.pdf").write_bytes(pdf((50, 40), (60, 40), (70, 40)))
    return made


@pytest.fixture(scope="module")
def local(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run without Ray."""
    out = tmp_path_factory.mktemp("local")
    subprocess.run(command(folder, "-o", out), check=False, timeout=PATIENCE)
    return out


def test_the_output_is_that_of_a_run_without_ray(folder: Path, local: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        command(folder, "-o", tmp_path / "out", "--engine", "ray"),
        # A cluster that is not asked for, and has ended.
        env={**os.environ, "RAY_ADDRESS": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=RAY_PATIENCE,
    )
    assert done.returncode == 1, done.stderr
    assert rows(tmp_path / "out") == rows(local)
    assert failures(tmp_path / "out") == failures(local)
    subprocess.run([*BATCH, "verify", tmp_path / "out"], check=True, timeout=PATIENCE)


def test_an_actor_that_is_killed_loses_no_page(folder: Path, local: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(command(folder, "-o", tmp_path / "out", "--engine", "ray"), start_new_session=True)
    killed, limit = False, time.monotonic() + RAY_PATIENCE
    while process.poll() is None and not killed and time.monotonic() < limit:
        for actor in actors_of(process.pid):
            os.kill(actor, signal.SIGKILL)
            killed = True
            break
        time.sleep(0.2)
    assert process.wait(RAY_PATIENCE) == 1
    assert killed
    assert rows(tmp_path / "out") == rows(local)


def actors_of(ancestor: int) -> Iterator[int]:
    """The actors below a process, once they read documents: each then has a worker of its own."""
    parents, names = {}, {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = status.read_text("utf-8", "replace")
            names[int(status.parent.name)] = (status.parent / "cmdline").read_bytes()
        except OSError:
            continue
        parents[int(status.parent.name)] = int(text.rpartition(")")[2].split()[1])
    for process, name in names.items():
        above = process
        while above in parents and above != ancestor:
            above = parents[above]
        has_worker = any(
            b"spawn_main" in names[child] for child, parent in parents.items() if parent == process and child in names
        )
        if above == ancestor and name.startswith(b"ray::") and b"Worker" in name and has_worker:
            yield process


def test_without_a_cluster_the_error_says_what_to_start(folder: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        command(folder, "-o", tmp_path / "out", "--engine", "ray", "--address", "auto"),
        env={**os.environ, "RAY_TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=RAY_PATIENCE,
    )
    assert done.returncode == 1
    assert "Error: Ray does not start: Could not find any running Ray instance" in done.stderr
    assert "start a cluster with 'ray start --head'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head and another node, each with one CPU."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        yield started
    finally:
        started.shutdown()


@pytest.mark.slow
def test_a_node_that_is_killed_loses_no_page(cluster: Any, folder: Path, local: Path, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=1)
    ray_options = ("--engine", "ray", "--address", cluster.address)
    process = subprocess.Popen(command(folder, "-o", tmp_path / "out", *ray_options))
    limit = time.monotonic() + RAY_PATIENCE
    while process.poll() is None and pages(tmp_path / "out") == 0 and time.monotonic() < limit:
        time.sleep(0.2)
    assert process.poll() is None
    cluster.remove_node(node, allow_graceful=False)
    assert process.wait(RAY_PATIENCE) == 1
    assert rows(tmp_path / "out") == rows(local)
    assert failures(tmp_path / "out") == failures(local)


def pages(out: Path) -> int:
    """The pages that a run has read, and saved."""
    done = subprocess.run([*BATCH, "status", out], capture_output=True, check=False, timeout=PATIENCE)
    return int(json.loads(done.stdout)["pages"]) if done.returncode == 0 else 0


def test_the_actor_reads_rows_of_a_dataset_of_ones_own(folder: Path, local: Path) -> None:
    from ocr_onnx.integrations.ray import OCRActor

    paths = [folder / "0.png", folder / "bad.png", folder / "a.pdf"]
    table = pa.table({"path": list(map(str, paths)), "bytes": [path.read_bytes() for path in paths]})
    actor = OCRActor(preset="fast")
    with closing(actor._reader):
        found = actor(table).to_pylist()
    assert [(Path(row["path"]).name, row["page"], row["error"] is None) for row in found] == [
        ("0.png", None, True),
        ("bad.png", None, False),
        *(("a.pdf", page, True) for page in (1, 2, 3)),
    ]
    assert found[0]["text"] == rows(local)[str(paths[0]), None]["text"]
