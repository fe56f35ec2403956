"""The command `ocr-onnx batch` with real models."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
from bombs import slow
from click.testing import CliRunner
from conftest import PAGES, PATIENCE

from ocr_onnx import OCR
from ocr_onnx.cli.main import main

DOCS = Path(__file__).parents[2] / "docs"

FAST = ("--preset", "fast", "--workers", "2", "--use_doc_orientation_classify", "False")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-P", "-m", "ocr_onnx", "batch", *map(str, arguments)]


def batch(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == code, done.stderr
    return done


def rows(out: Path) -> dict[tuple[str, int | None], Mapping[str, Any]]:
    """The rows of all shards; fails if a page is there twice."""
    lines = [line for path in sorted(out.glob("pages/*.jsonl")) for line in path.read_text("utf-8").splitlines()]
    found = {(row["path"], row["page"]): row for row in map(json.loads, lines)}
    assert len(found) == len(lines)
    return found


def words(folder: Path, count: int) -> Path:
    """Small pictures with a number each."""
    folder.mkdir()
    for number in range(count):
        image = np.full((40, 120, 3), 255, np.uint8)
        cv2.putText(image, str(1000 + number), (10, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (0, 0, 0), 2)
        cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder


def test_the_rows_are_those_of_the_pipeline(tmp_path: Path) -> None:
    folder = words(tmp_path / "in", 3)
    batch(folder, "-o", tmp_path / "out", *FAST)
    found = rows(tmp_path / "out")
    ocr = OCR(preset="fast")
    assert len(found) == 3
    for (path, _), row in found.items():
        (result,) = ocr.predict(path)
        assert row["text"] == result.text
        assert row["lines"] == result.to_dict()["lines"]


def test_a_run_that_is_killed_ends_with_each_page_once_and_the_rows_of_an_undisturbed_run(tmp_path: Path) -> None:
    folder, out = words(tmp_path / "in", 60), tmp_path / "out"
    options = (*FAST, "--shard_pages", "7")
    for _ in range(2):
        process = subprocess.Popen(command(folder, "-o", out, *options), stderr=subprocess.DEVNULL)
        before, limit = pages(out), time.monotonic() + PATIENCE
        while pages(out) < before + 5 and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    batch(folder, "-o", out, *options)
    batch(folder, "-o", tmp_path / "undisturbed", *options)
    assert rows(out) == rows(tmp_path / "undisturbed")
    assert "60 pages, 0 failed" in batch("verify", out).stdout


def pages(out: Path) -> int:
    done = subprocess.run(command("status", out), capture_output=True, text=True, check=False, timeout=PATIENCE)
    return int(json.loads(done.stdout)["pages"]) if done.returncode == 0 else 0


def test_poisoned_inputs_are_recorded_and_the_rest_is_read(tmp_path: Path) -> None:
    folder = words(tmp_path / "in", 2)
    (folder / "empty.png").touch()
    (folder / "cut.png").write_bytes((PAGES / "letter.png").read_bytes()[:500])
    (folder / "bomb.pdf").write_bytes(slow())
    (folder / "noise.jpg").write_bytes(bytes(range(256)) * 10)
    done = batch(folder, "-o", tmp_path / "out", *FAST, "--page_timeout", "10", code=1)
    assert len(rows(tmp_path / "out")) == 2
    failures = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text("utf-8").splitlines()]
    assert sorted(Path(failure["path"]).name for failure in failures) == [
        "bomb.pdf",
        "cut.png",
        "empty.png",
        "noise.jpg",
    ]
    assert "2 pages, 4 failed, 6 documents" in done.stderr


def test_a_page_beyond_the_memory_limit_is_recorded(tmp_path: Path) -> None:
    folder = words(tmp_path / "in", 2)
    cv2.imwrite(str(folder / "large.png"), np.zeros((9000, 9000, 3), np.uint8))
    batch(folder, "-o", tmp_path / "out", *FAST, "--page_memory", "128", code=1)
    (failure,) = (tmp_path / "out" / "failures.jsonl").read_text("utf-8").splitlines()
    assert json.loads(failure)["kind"] == "NotEnoughMemoryError"


def test_each_document_gets_a_searchable_pdf(tmp_path: Path) -> None:
    folder = words(tmp_path / "in", 1)
    batch(folder, "-o", tmp_path / "out", *FAST, "--files", "pdf")
    (found,) = (tmp_path / "out" / "files").rglob("*.pdf")
    assert found.read_bytes().startswith(b"%PDF-")
    # Pages that stay as they are are not read.
    done = batch(found, "-o", tmp_path / "out", *FAST, "--files", "pdf", "--pdf_text", "redo", code=1)
    assert "options.input.pdf_text was 'skip'" in done.stderr
    assert "1 pages" in batch("verify", tmp_path / "out").stdout


def test_other_options_and_other_folders_are_refused(tmp_path: Path) -> None:
    folder = words(tmp_path / "in", 1)
    batch(folder, "-o", tmp_path / "out", *FAST)
    done = batch(folder, "-o", tmp_path / "out", *FAST, "--text_det_thresh", "0.4", code=1)
    assert "was written with other options (options.detection.thresh was" in done.stderr
    assert "is no output of 'ocr-onnx batch'" in batch("status", folder, code=1).stderr


def test_progress_is_a_line_of_json_if_there_is_no_terminal(tmp_path: Path) -> None:
    done = batch(words(tmp_path / "in", 1), "-o", tmp_path / "out", *FAST)
    last = json.loads(done.stderr.splitlines()[-2])
    assert (last["pages"], last["failed"], last["documents_total"], last["seconds_left"]) == (1, 0, 1, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("x",), "Missing option '-o'"), (("x", "-o", "y", "--format", "jsonl", "--files", "text"), "exclude each other")],
)
def test_mistakes_are_answered_with_the_remedy(arguments: tuple[str, ...], message: str) -> None:
    assert message in batch(*arguments, code=2).stderr


def test_a_format_whose_package_is_missing_is_refused_before_the_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pikepdf", None)
    arguments = ["batch", str(PAGES / "letter.png"), "-o", str(tmp_path / "out"), "--files", "pdf"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert "searchable PDFs need pikepdf and img2pdf: pip install " in done.stderr
    assert not (tmp_path / "out").exists()


def test_searchable_pdfs_in_the_folder_of_the_inputs_are_no_inputs_of_the_next_run(tmp_path: Path) -> None:
    folder = words(tmp_path / "in", 2)
    for _ in range(2):
        done = batch(folder, "-o", folder, "--files", "pdf", *FAST)
        assert done.stderr.splitlines()[-1] == "2 pages, 0 failed, 2 documents"


def test_an_address_is_no_output_folder(tmp_path: Path) -> None:
    done = batch(PAGES / "letter.png", "-o", "s3://bucket/result", code=2)
    assert "s3://bucket/result is not on this machine: give a folder" in done.stderr


def test_if_nothing_is_read_the_first_error_is_printed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    done = batch(tmp_path / "in", "-o", tmp_path / "out", *FAST, code=1)
    assert f"Error: {tmp_path / 'in'} has no image, PDF, tar or zip archive: " in done.stderr
    assert done.stderr.endswith(f"0 pages, 1 failed, 0 documents, see {tmp_path / 'out' / 'failures.jsonl'}\n")


def test_a_folder_that_cannot_be_written_is_named() -> None:
    done = batch(PAGES / "letter.png", "-o", "/proc/result", code=1)
    assert "/proc/result/.lock' cannot be written: " in done.stderr
    assert "choose a writable folder" in done.stderr


def interrupted(folder: Path, out: Path, hang_up: str, kinds: Sequence[signal.Signals]) -> tuple[int, str]:
    """The exit code and errors of a run that gets signals, each after five more pages; `hang_up` is an option of `env` for SIGHUP."""
    process = subprocess.Popen(
        ["env", hang_up, *command(folder, "-o", out, *FAST)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    limit, expected = time.monotonic() + PATIENCE, 0
    for kind in kinds:
        expected = pages(out) + 5
        while pages(out) < expected and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.05)
        process.send_signal(kind)
    _, errors = process.communicate(timeout=PATIENCE)
    assert pages(out) >= expected
    return process.returncode, errors


@pytest.mark.parametrize(
    ("hang_up", "kinds"),
    [
        ("--default-signal=HUP", [signal.SIGHUP]),
        ("--ignore-signal=HUP", [signal.SIGHUP, signal.SIGTERM]),
        ("--default-signal=HUP", [signal.SIGINT]),
    ],
    ids=["terminal closed", "terminal closed with nohup, then terminated", "interrupted"],
)
def test_a_signal_saves_what_is_read_and_lists_the_failures(
    tmp_path: Path, hang_up: str, kinds: list[signal.Signals]
) -> None:
    folder, out = words(tmp_path / "in", 1000), tmp_path / "out"
    (folder / "bad.png").write_bytes(b"no image")
    code, errors = interrupted(folder, out, hang_up, kinds)
    assert code == 130
    assert f"Interrupted: run the same command again to continue in {out}" in errors
    assert (out / "failures.jsonl").is_file()


def test_the_commands_of_the_documentation_print_what_it_shows(tmp_path: Path) -> None:
    with PIL.Image.open(PAGES / "tiny.png") as picture:
        page = picture.convert("RGB")
    data = (PAGES / "tiny.png").read_bytes()
    files = {"scans/a.png": data, "scans/2024/b.png": data, "download/cut.png": data}
    for name, content in {**files, "scans/empty.png": b"", "scans/cut.png": data[:-100]}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    page.save(tmp_path / "scans" / "c.pdf", save_all=True, append_images=[page, page])
    with zipfile.ZipFile(tmp_path / "scans" / "more.zip", "w") as archive:
        archive.writestr("d.png", data)
    (block,) = re.findall(r"```console\n(.*?)```", (DOCS / "scaling.md").read_text("utf-8"), re.DOTALL)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for part in block.removeprefix("$ ").split("\n$ "):
        line, _, expected = part.partition("\n")
        done = subprocess.run(
            ["sh", "-c", f"{line} 2>&1"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert without_progress(done.stdout) == without_progress(expected), line


def without_progress(text: str) -> list[str]:
    """The lines, in any order, but for those of progress."""
    return sorted(line for line in text.splitlines() if not line.startswith('{"pages"'))
