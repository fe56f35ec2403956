"""A run of a batch: each page exactly once, whatever happens to the workers and to the run."""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import batch_worker
import pytest
from conftest import PATIENCE

from ocr_onnx.batch import output as outputs
from ocr_onnx.batch import shards
from ocr_onnx.batch.journal import Counts, Failure, Journal
from ocr_onnx.batch.listing import Document, documents
from ocr_onnx.batch.pool import Pool
from ocr_onnx.batch.progress import Progress, Total
from ocr_onnx.batch.reader import EngineSettings
from ocr_onnx.batch.runner import CHUNK, Job, Runner
from ocr_onnx.batch.settings import BatchOptions
from ocr_onnx.batch.verification import problems
from ocr_onnx.errors import OptionError, OutputError
from ocr_onnx.options import InputOptions
from ocr_onnx.paddle.assembly import Request

TESTS = Path(__file__).parents[1]


def run(
    folder: Path, out: Path, *, files: str | None = None, retry: bool = False, pages: int = 10, **options: Any
) -> Counts:
    """Run a batch over a folder with the workers of batch_worker."""
    batch = BatchOptions(**{"workers": 2, "shard_pages": pages, **options})
    pool: Pool[Job] = Pool(EngineSettings(Request({}), batch=batch), files, batch_worker.main)
    try:
        with outputs.opened(out, "jsonl", pages, files) as opened:
            opened.journal.require({**opened.described(), **pool.described})
            opened.journal.forget_unlisted()
            if retry:
                opened.journal.forget_failures(whole_documents=files is not None)
            pool.fill()
            Runner(opened, pool, InputOptions(), lambda: None).run(documents([str(folder)], InputOptions()))
            opened.finish()
            assert list(problems(opened.journal)) == []
            return opened.journal.counts()
    finally:
        pool.close()


def write(folder: Path, contents: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_text(content, "utf-8")
    return folder


def rows(out: Path) -> Iterator[tuple[str, int]]:
    for path in sorted(out.glob("pages/*.jsonl")):
        yield from ((Path(row["path"]).name, row["page"] or 1) for row in shards.read_rows(path))


def failures(out: Path) -> list[Failure]:
    lines = (out / outputs.FAILURES).read_text("utf-8").splitlines()
    return [Failure(**json.loads(line)) for line in lines]


def test_each_page_is_in_a_shard_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {f"{i}.png": "read" for i in range(25)} | {"a.pdf": "%PDF-" + "read " * 40})
    counts = run(folder, tmp_path / "out")
    assert (counts.pages, counts.failed, counts.documents, counts.shards) == (65, 0, 26, 7)
    found = Counter(rows(tmp_path / "out"))
    assert set(found.values()) == {1}
    assert set(found) == {(f"{i}.png", 1) for i in range(25)} | {("a.pdf", i) for i in range(1, 41)}


def test_a_second_run_reads_only_what_is_new(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"a.png": "read", "b.pdf": "%PDF-read read"})
    run(folder, tmp_path / "out")
    write(folder, {"c.png": "read"})
    assert run(folder, tmp_path / "out").pages == 4
    assert sorted(rows(tmp_path / "out")) == [("a.png", 1), ("b.pdf", 1), ("b.pdf", 2), ("c.png", 1)]


def test_a_document_that_is_listed_twice_is_read_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"a.png": "read", "list.txt": "a.png\na.png\n"})
    assert run(folder / "list.txt", tmp_path / "out").pages == 1
    assert run(folder / "list.txt", tmp_path / "out").pages == 1


def test_a_document_that_changed_is_read_again(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"a.png": "read"})
    run(folder, tmp_path / "out")
    write(folder, {"a.png": "read "})
    assert run(folder, tmp_path / "out").documents == 2


def test_two_contents_of_one_name_are_both_read_at_the_same_time(tmp_path: Path) -> None:
    # `tar --append` leaves the older member of an archive in it.
    with outputs.opened(tmp_path / "out", "jsonl", 10, None) as opened:
        opened.journal.require(opened.described())
        runner = Runner(opened, cast("Pool[Job]", None), InputOptions(), lambda: None)
        jobs: list[Job] = []
        for content in (b"older", b"newer"):
            read: Future[tuple[bytes, str]] = Future()
            read.set_result((content, content.hex()))
            jobs += runner._begun(Document("in.tar/a.png", content.hex(), lambda: b""), read)
        for job in jobs:
            row = {"path": job.document.name, "sha256": job.document.sha256, "page": None}
            runner._on_decoded(job, 0, None)
            runner._on_page(job, 0, json.dumps(row))
            runner._on_end(job)
        opened.finish()
        assert [job.document.data for job in jobs] == [b"older", b"newer"]
        assert list(problems(opened.journal)) == []
    assert list(rows(tmp_path / "out")) == [("a.png", 1)] * 2


def test_a_document_that_was_only_touched_is_not_read_again(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"a.png": "read"})
    run(folder, tmp_path / "out")
    (folder / "a.png").touch()
    assert run(folder, tmp_path / "out").documents == 1


def test_what_cannot_be_read_is_recorded_and_the_rest_is_read(tmp_path: Path) -> None:
    pages = "read " * CHUNK
    contents = {
        "a.png": "read",
        "crash.png": "crash",
        "empty.png": "",
        "fail.pdf": "%PDF-fail read",
        "late.pdf": f"%PDF-{pages}read crash read",
        "all.pdf": f"%PDF-{'fail ' * CHUNK}read",
    }
    folder = write(tmp_path / "in", contents)
    counts = run(folder, tmp_path / "out")
    found = Counter((Path(f.path).name, f.page, f.kind) for f in failures(tmp_path / "out"))
    expected = [
        ("crash.png", 1, "WorkerError"),
        ("empty.png", None, "UnreadableImageError"),
        ("fail.pdf", 1, "UnreadableImageError"),
        ("late.pdf", CHUNK + 2, "WorkerError"),
        *(("all.pdf", i + 1, "UnreadableImageError") for i in range(CHUNK)),
    ]
    assert found == Counter(expected)
    assert counts.pages == 1 + 1 + CHUNK + 2 + 1 == len(list(rows(tmp_path / "out")))


def test_a_name_that_is_no_utf_8_is_written_with_escapes(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"a.png": "damaged"})
    (folder / os.fsdecode(b"\xff.png")).write_text("read", "utf-8")
    (folder / os.fsdecode(b"\xfe.zip")).write_text("no archive", "utf-8")
    counts = run(folder, tmp_path / "out")
    assert (counts.pages, counts.failed) == (1, 2)
    assert list(rows(tmp_path / "out")) == [(r"\xff.png", 1)]


def test_a_page_that_hangs_is_recorded_and_its_worker_replaced(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"hang.pdf": "%PDF-read hang read", "a.png": "read"})
    counts = run(folder, tmp_path / "out", page_timeout=3.0)
    assert (counts.pages, counts.failed) == (3, 1)
    (failure,) = failures(tmp_path / "out")
    assert failure.page == 2
    assert "page_timeout" in failure.error


def test_failures_are_read_again_if_that_is_requested(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"a.pdf": "%PDF-read fail read", "b.png": "damaged"})
    run(folder, tmp_path / "out")
    write(folder, {"b.png": "read"})
    assert run(folder, tmp_path / "out").failed == 1  # b.png has changed.
    assert list(rows(tmp_path / "out")) == [("a.pdf", 1), ("a.pdf", 3), ("b.png", 1)]
    repaired = "%PDF-read fail "  # The worker counts two pages now.
    write(folder, {"c.pdf": repaired})
    assert run(folder, tmp_path / "out", retry=True).failed == 2
    assert sorted(rows(tmp_path / "out")) == [("a.pdf", 1), ("a.pdf", 3), ("b.png", 1), ("c.pdf", 1)]


def test_a_file_that_cannot_be_opened_is_recorded_until_it_can_be(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"a.png": "read"})
    (folder / "link.png").symlink_to(folder / "later")
    assert run(folder, tmp_path / "out").failed == 1
    write(folder, {"later": "read"})
    assert run(folder, tmp_path / "out").failed == 0


def test_each_document_gets_a_file_of_its_own(tmp_path: Path) -> None:
    contents = {"a.png": "read", "b.pdf": "%PDF-read crash read", "c.png": "damaged", "d.pdf": "%PDF-read fail read"}
    folder = write(tmp_path / "in", contents)
    counts = run(folder, tmp_path / "out", files="text")
    assert (counts.pages, counts.failed) == (5, 3)
    found = {path.name: path.read_text("utf-8") for path in (tmp_path / "out" / "files").rglob("*.txt")}
    assert found == {"a.png.txt": "[0]", "b.pdf.txt": "[0, 2]", "d.pdf.txt": "[0, 2]"}


def test_the_path_of_a_documents_file_stays_below_the_output_and_fits_the_file_system(tmp_path: Path) -> None:
    def path(name: str) -> Path:
        return outputs.file_of(tmp_path, name, "text").relative_to(tmp_path / "files")

    assert path("/scans/a.png") == Path("scans/a.png.txt")
    assert path("../../a.png") == Path("__/__/a.png.txt")
    assert path("s3://bucket/x.tar/1.png") == Path("s3/bucket/x.tar/1.png.txt")
    names = [path(f"https://x/{'y' * 300}{i}").name for i in range(2)]
    assert len(set(names)) == 2
    assert max(map(len, names)) < 230


def test_a_file_is_written_again_if_its_failed_page_is_read_again(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"a.pdf": "%PDF-read fail read"})
    run(folder, tmp_path / "out", files="text")
    counts = run(folder, tmp_path / "out", files="text", retry=True)
    assert (counts.pages, counts.failed, counts.documents) == (2, 1, 1)


def test_a_second_run_on_the_same_output_is_refused(tmp_path: Path) -> None:
    with (
        outputs.opened(tmp_path, "jsonl", 10, None),
        pytest.raises(OutputError, match=r"^another run writes to .* give another folder$"),
        outputs.opened(tmp_path, "jsonl", 10, None),
    ):
        pass


def test_a_second_run_on_the_same_output_by_another_path_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("out")
    script = "import sys; from pathlib import Path; from ocr_onnx.batch import output\nwith output.opened(Path(sys.argv[1]), 'jsonl', 1, None): pass"
    with outputs.opened(tmp_path / "out", "jsonl", 10, None):
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "link")], capture_output=True, text=True, check=False
        )
    assert "another run writes to" in done.stderr


def test_the_journal_of_another_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    with outputs.opened(tmp_path, "jsonl", 10, None):
        pass
    for version in (0, 2):
        with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as database:
            database.execute(f"PRAGMA user_version = {version}")
        for create in (True, False):
            with pytest.raises(OutputError, match="was written by another version of ocr-onnx"):
                Journal(tmp_path, create=create)


@pytest.mark.parametrize("begin", [0, 4096], ids=["header", "tables"])
def test_a_damaged_journal_is_named(tmp_path: Path, begin: int) -> None:
    folder, out = write(tmp_path / "in", {f"{i}.png": "read" for i in range(20)}), tmp_path / "out"
    run(folder, out)
    with (out / "journal.sqlite").open("r+b") as file:
        file.seek(begin)
        file.write(b"\xff" * 4096)
    with pytest.raises(OutputError, match=r"the journal of .* is damaged: .*give another output folder"):
        run(folder, out)


def test_verification_finds_a_damaged_journal(tmp_path: Path) -> None:
    folder, out = write(tmp_path / "in", {"a.png": "read"}), tmp_path / "out"
    run(folder, out)
    data = (out / "journal.sqlite").read_bytes()
    (out / "journal.sqlite").write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    journal = Journal(out, create=False)
    assert [problem.partition(":")[0] for problem in problems(journal)] == ["the journal is damaged"]
    journal.close()


def test_the_journal_can_be_read_in_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = write(tmp_path / "in", {"a.png": "read"}), tmp_path / "out"
    run(folder, out)
    monkeypatch.setattr(os, "access", lambda *_: False)
    journal = Journal(out, create=False)
    assert journal.counts().pages == 1
    assert not list(out.glob("journal.sqlite-*"))
    journal.close()


def test_an_input_that_could_not_be_listed_is_no_failure_once_it_can_be(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {})
    assert run(folder, tmp_path / "out").failed == 1
    assert run(folder, tmp_path / "out").failed == 1
    write(folder, {"a.png": "read"})
    assert run(folder, tmp_path / "out").failed == 0


def test_a_failed_document_that_is_no_input_any_more_is_forgotten_on_request(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"a.png": "read", "b.png": "damaged", "c.pdf": "%PDF-read fail"})
    run(folder, tmp_path / "out")
    (folder / "b.png").unlink()
    counts = run(folder, tmp_path / "out", retry=True)
    assert (counts.documents, counts.open, counts.failed) == (2, 0, 1)


def test_a_document_that_was_begun_and_is_no_input_any_more_is_named_by_the_verification(tmp_path: Path) -> None:
    with outputs.opened(tmp_path, "jsonl", 10, None) as opened:
        opened.journal.require(opened.described())
        for name in ("begun.pdf", "unread.pdf"):
            entry = opened.journal.begin(name, None, "sha")
            assert entry is not None
            if name == "begun.pdf":
                opened.journal.add_page(entry.id, 1, '{"path": "begun.pdf", "sha256": "sha", "page": 1}')
        opened.finish()
        assert list(problems(opened.journal)) == [
            "begun.pdf is not complete: run the same command again, with it among the inputs"
        ]


def test_the_rate_counts_the_pages_of_this_run_and_is_never_negative(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"a.png": "damaged"})
    run(folder, tmp_path / "out")
    with outputs.opened(tmp_path / "out", "jsonl", 10, None) as opened:
        progress = Progress(opened.journal, io.StringIO(), Total(1))
        opened.journal.supersede(str(folder / "a.png"), "other")
        values = progress.values()
        assert (values["pages_per_second"], values["documents"], values["seconds_left"]) == (0, 0, None)
        entry = opened.journal.begin(str(folder / "a.png"), None, "other")
        assert entry is not None
        opened.journal.add_page(entry.id, 1, None)
        opened.journal.complete(entry.id)
        assert progress.values()["pages_per_second"] > 0


def test_two_documents_with_the_same_content_are_two_documents(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"a.png": "read", "b.png": "read"})
    assert run(folder, tmp_path / "out").documents == 2


def test_other_options_are_refused(tmp_path: Path) -> None:
    with outputs.opened(tmp_path, "jsonl", 10, None) as opened:
        opened.journal.require({"models": "a", "format": "jsonl"})
        opened.journal.require({"models": "a", "format": "jsonl"})
        with pytest.raises(OptionError, match="models was 'a', and is 'b'"):
            opened.journal.require({"models": "b", "format": "jsonl"})


def interrupted_run(folder: Path, out: Path, **options: Any) -> subprocess.Popen[str]:
    script = f"""
        import sys; sys.path[:0] = {[str(TESTS), str(TESTS / "batch")]!r}
        if __name__ == "__main__":
            from pathlib import Path
            from test_runner import run
            run(Path({str(folder)!r}), Path({str(out)!r}), **{options!r})
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_run_that_is_killed_again_and_again_loses_no_page_and_repeats_none(tmp_path: Path) -> None:
    contents = {f"{i}.png": "read" for i in range(400)} | {f"{i}.pdf": "%PDF-" + "read " * 50 for i in range(6)}
    folder, out = write(tmp_path / "in", contents), tmp_path / "out"
    for pages in (1, 100, 250, 400, 600):
        process = interrupted_run(folder, out)
        limit = time.monotonic() + PATIENCE
        while recorded(out) < pages and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert run(folder, out).pages == 700
    found = Counter(rows(out))
    assert (len(found), set(found.values())) == (700, {1})


def recorded(out: Path) -> int:
    """The number of pages in the journal of a run."""
    try:
        journal = Journal(out, create=False)
        try:
            return journal.counts().pages
        finally:
            journal.close()
    except OutputError:
        return 0
    except Exception as error:  # noqa: BLE001 the tables may not exist yet
        assert "no such table" in str(error)  # noqa: PT017
        return 0


@pytest.mark.parametrize("size", [20_000, 60_000, 150_000])
def test_a_full_disk_loses_no_page(tmp_path: Path, size: int) -> None:
    contents = {f"{i}.pdf": "%PDF-" + "read " * 50 for i in range(10)}
    folder, out = write(tmp_path / "in", contents), tmp_path / "out"
    script = f"""
        import resource, signal, sys; sys.path[:0] = {[str(TESTS), str(TESTS / "batch")]!r}
        if __name__ == "__main__":
            from pathlib import Path
            from test_runner import run
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
            run(Path({str(folder)!r}), Path({str(out)!r}), pages=1000)
    """
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert "OutputError" in done.stderr, done.stderr
    assert "run the same command again" in done.stderr or "cannot be written" in done.stderr
    assert run(folder, out, pages=1000).pages == 500
    assert set(Counter(rows(out)).values()) == {1}


def test_a_shard_that_the_journal_has_is_renamed_after_a_kill_and_another_part_is_deleted(tmp_path: Path) -> None:
    folder, out = write(tmp_path / "in", {"a.png": "read"}), tmp_path / "out"
    run(folder, out)
    (out / "pages" / "000001.jsonl").rename(out / "pages" / ".000001.jsonl.part")
    (out / "pages" / ".000002.jsonl.part").write_text("half a", "utf-8")
    assert run(folder, out).pages == 1
    assert [path.name for path in (out / "pages").iterdir()] == ["000001.jsonl"]


@pytest.mark.parametrize(
    "damage", ["", '{"path": "x", "sha256": "y", "page": 1}\n', None], ids=["empty", "another page", "missing"]
)
def test_verification_finds_a_damaged_shard(tmp_path: Path, damage: str | None) -> None:
    folder, out = write(tmp_path / "in", {"a.png": "read"}), tmp_path / "out"
    run(folder, out)
    shard = out / "pages" / "000001.jsonl"
    if damage is None:
        shard.unlink()
    else:
        shard.write_text(damage, "utf-8")
    journal = Journal(out, create=False)
    assert [problem.rpartition("/")[2] for problem in problems(journal)] == ["000001.jsonl is missing or has changed"]
    journal.close()
