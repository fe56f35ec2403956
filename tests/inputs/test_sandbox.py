"""What a decoding process that was taken over can reach: files, variables, the network, other processes."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from conftest import PAGES, pdf

from ocr_onnx import InputOptions, python_process
from ocr_onnx.cli import diagnosis
from ocr_onnx.errors import UnreadableImageError
from ocr_onnx.inputs import decoding_client, fonts, sandbox
from ocr_onnx.inputs.decoding import Decoder
from ocr_onnx.inputs.decoding_client import DecodeLimits
from ocr_onnx.inputs.decoding_process import FONTS

needs_files = pytest.mark.skipif(sandbox.FILES in sandbox.missing(), reason="this kernel has no Landlock")
needs_calls = pytest.mark.skipif(sandbox.CALLS in sandbox.missing(), reason="this kernel has no seccomp filters")


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Iterator[Decoder]:
    """A decoder whose process runs the code that it is sent."""
    monkeypatch.setenv("OCR_ONNX_TEST_SECRET", "marker")
    command = python_process.function
    monkeypatch.setattr(python_process, "function", lambda _, *rest: command("hostile_decoder", *rest))
    with closing(Decoder(DecodeLimits(), 1)) as decoder:
        yield decoder


def result(decoder: Decoder, code: str) -> str:
    """What code in the process finds, or the name of the error that it ends with."""
    with pytest.raises(UnreadableImageError) as caught:
        list(decoder.pages(textwrap.dedent(code).encode(), "image", InputOptions()))
    return str(caught.value)


def test_the_code_runs_in_the_process(hostile: Decoder) -> None:
    assert result(hostile, "import os; found = os.getppid()") == str(os.getpid())


def test_a_decoder_has_none_of_the_variables_of_the_server(hostile: Decoder) -> None:
    found = result(hostile, "import os; found = os.environ.get('OCR_ONNX_TEST_SECRET'), 'PATH' in os.environ")
    assert found == "(None, True)"


@needs_files
def test_a_decoder_reads_no_files_of_the_system_or_of_the_user(hostile: Decoder, tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text("secret", "utf-8")
    for path in ("/etc/passwd", tmp_path / "keys.txt", f"/proc/{os.getpid()}/environ", "/proc/self/environ"):
        assert result(hostile, f"found = open({str(path)!r}).read()") == "PermissionError", path
    for path in ("/", tmp_path, Path.home(), "/proc"):
        assert result(hostile, f"import os; found = os.listdir({str(path)!r})") == "PermissionError", path


@needs_files
def test_a_decoder_reads_the_font_of_the_user_and_no_other_file_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    font = fonts.find_font("中")
    assert font is not None
    mine = tmp_path / f"mine{font.suffix}"
    shutil.copy(font, mine)
    (tmp_path / "keys.txt").write_text("secret", "utf-8")
    monkeypatch.setenv(fonts.FONT_VARIABLE, str(mine))
    hostile = request.getfixturevalue("hostile")
    assert result(hostile, f"found = len(open({str(mine)!r}, 'rb').read())") == str(mine.stat().st_size)
    assert result(hostile, f"found = open({str(tmp_path / 'keys.txt')!r}).read()") == "PermissionError"


@needs_files
def test_a_decoder_writes_no_files(hostile: Decoder, tmp_path: Path) -> None:
    for folder in (tmp_path, "/tmp", "/dev/shm", Path(diagnosis.__file__).parent):  # noqa: S108
        path = Path(folder, "ocr-onnx-test-written")
        assert result(hostile, f"found = open({str(path)!r}, 'w')") == "PermissionError", folder
        assert not path.exists()


@needs_files
def test_a_decoder_reads_fonts_and_python(hostile: Decoder, tmp_path: Path) -> None:
    assert result(hostile, "import os; found = 'json' in os.listdir(os.path.dirname(os.__file__))") == "True"
    for folder in filter(Path.is_dir, map(Path, FONTS)):
        assert "Error" not in result(hostile, f"import os; found = os.listdir({str(folder)!r})")
        for font in list(folder.rglob("*.ttf"))[:1]:
            assert result(hostile, f"found = len(open({str(font)!r}, 'rb').read())") == str(font.stat().st_size)


@needs_calls
def test_a_decoder_has_no_network(hostile: Decoder, tmp_path: Path) -> None:
    listeners = {
        "AF_INET": socket.create_server(("127.0.0.1", 0)),
        "AF_UNIX": socket.socket(socket.AF_UNIX),
    }
    with listeners["AF_INET"], listeners["AF_UNIX"] as local:
        local.bind(str(tmp_path / "socket"))
        local.listen()
        for family, listener in listeners.items():
            code = f"import socket; found = socket.socket(socket.{family}).connect({listener.getsockname()!r})"
            assert result(hostile, code) == "OSError", family
    assert result(hostile, "import socket; found = socket.socketpair()") == "OSError"


@needs_calls
@pytest.mark.parametrize(
    "code",
    [
        "os.fork()",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.execv('/bin/true', ['true'])",
        "os.kill(os.getppid(), 0)",
        "os.pidfd_open(os.getppid())",
        "resource.prlimit(os.getppid(), resource.RLIMIT_CPU)",
    ],
)
def test_a_decoder_cannot_access_other_programs_or_processes(hostile: Decoder, code: str) -> None:
    assert result(hostile, f"import os, resource; found = {code}") in {"OSError", "PermissionError"}


def test_a_decoder_cannot_raise_its_limits(hostile: Decoder) -> None:
    code = """
        import resource
        found = []
        for name in ("RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_CORE"):
            try:
                resource.setrlimit(getattr(resource, name), (resource.RLIM_INFINITY,) * 2)
                found.append(name)
            except (OSError, ValueError):
                pass
    """
    assert result(hostile, code) == "[]"


def test_all_threads_of_a_decoder_are_restricted(hostile: Decoder) -> None:
    result(hostile, "found = None")
    (process,) = hostile._idle
    tasks = list(Path(f"/proc/{process._process.pid}/task").iterdir())
    assert len(tasks) == 2
    for task in tasks:
        status = dict(line.split(":\t") for line in (task / "status").read_text("ascii").splitlines() if ":\t" in line)
        assert (status["NoNewPrivs"], int(status["CapPrm"], 16), int(status["CapEff"], 16)) == ("1", 0, 0)
        assert sandbox.CALLS in sandbox.missing() or status["Seccomp"] == "2"


def test_pictures_and_documents_are_decoded_within_the_sandbox(caplog: pytest.LogCaptureFixture) -> None:
    decoding_client.warn_of_missing.cache_clear()
    with closing(Decoder(DecodeLimits(), 1)) as decoder:
        assert len(list(decoder.pages((PAGES / "noisy.jpg").read_bytes(), "image", InputOptions()))) == 1
        assert len(list(decoder.pages(pdf((50, 40), (60, 40)), "pdf", InputOptions()))) == 2
    assert bool(caplog.records) == bool(sandbox.missing())


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """A kernel that lacks these."""
    monkeypatch.setattr(sandbox, "missing", lambda: list(names))


def test_missing_sandbox_features_are_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    decoding_client.warn_of_missing.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            decoding_client.warn_of_missing((sandbox.FILES,))
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "the kernel does not support Landlock (access to files)"
    ]


def test_the_doctor_reports_missing_sandbox_features(monkeypatch: pytest.MonkeyPatch) -> None:
    for lacking in ((), (sandbox.FILES,), (sandbox.FILES, sandbox.CALLS)):
        without(monkeypatch, *lacking)
        assert [fact.name for fact in diagnosis._service() if fact.state == "warning"] == list(lacking)


def test_decoding_works_on_a_kernel_without_sandbox_features() -> None:
    script = """
        from ocr_onnx.inputs import sandbox
        def refuse(name, *arguments, call=sandbox._call):
            if name == "syscall" or arguments[0] in (sandbox.PR_GET_SECCOMP, sandbox.PR_SET_SECCOMP):
                raise OSError
            return call(name, *arguments)
        sandbox._call = refuse
        print(sandbox.enter([]) == [sandbox.FILES, sandbox.CALLS], open("/etc/passwd").readable())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


def test_a_serving_process_cannot_be_debugged() -> None:
    script = """
        import ctypes
        from ocr_onnx.service import server
        class Stub:
            def run(self, _): print(ctypes.CDLL(None).prctl(3))  # PR_GET_DUMPABLE
            def getsockname(self): return ("", 0)
        server.make_server = lambda *_: Stub()
        server.run(None, lambda: None, Stub())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0"]


@pytest.mark.parametrize("machine", sandbox.ARCHITECTURES)
def test_the_seccomp_filter_allows_clone_for_threads_and_signals_to_this_process_only(machine: str) -> None:
    column, code = sandbox.ARCHITECTURES[machine]
    allows = partial(allowed, sandbox._filter(column, code), code)
    assert allows(sandbox.CLONE[column], sandbox.CLONE_THREAD | 1)
    assert not allows(sandbox.CLONE[column], 17)
    assert allows(sandbox.TGKILL[column], os.getpid())
    assert not allows(sandbox.TGKILL[column], 1)
    assert allows(sandbox.PRLIMIT64[column], 0)
    assert not allows(sandbox.PRLIMIT64[column], 1)
    assert allows(0, 0)
    assert not allows(sandbox.X32, 0)
    assert not any(allows(numbers[column] or 0, 0) for numbers in sandbox.DENIED.values() if numbers[column])
    assert not allowed(sandbox._filter(column, code), code + 1, 0, 0)


def allowed(program: list[tuple[int, int, int, int]], machine: int, number: int, argument: int) -> bool:
    """What the kernel's interpreter of such programs comes to."""
    given = {sandbox.NUMBER: number, sandbox.ARCHITECTURE: machine, sandbox.FIRST_ARGUMENT: argument}
    at, loaded = 0, 0
    while True:
        operation, if_true, if_false, value = program[at]
        at += 1
        if operation == sandbox.RETURN:
            return value == sandbox.ALLOW
        if operation == sandbox.LOAD:
            loaded = given[value]
            continue
        holds = {
            sandbox.EQUAL: loaded == value,
            sandbox.AT_LEAST: loaded >= value,
            sandbox.ANY_BIT: bool(loaded & value),
        }
        at += if_true if holds[operation] else if_false
