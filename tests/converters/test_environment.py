"""Paddle in an environment of its own: asked for, made whole or not at all, used once a model.

Paddle is played by a wheel of a few lines: its "weights" are an ONNX file, which it passes on and runs.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import random
import shutil
import struct
import subprocess
import sys
import sysconfig
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
import yaml
from click.testing import CliRunner, Result

from ocr_onnx.cli.main import main
from ocr_onnx.converters import cache, environment, legacy, toolchain
from ocr_onnx.errors import ConversionError, DownloadError
from ocr_onnx.installation import requirement
from ocr_onnx.models import store
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.runtime.session import Session

pytestmark = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="Paddle's part borrows the packages from here")

PATIENCE = 600
"""Seconds until a child process counts as hung; none of these tests depends on its speed."""

NAME = "PP-LCNet_x0_25_textline_ori"
YML = {
    "Global": {"model_name": NAME},
    "PreProcess": {"transform_ops": [{"ResizeImage": {"size": [160, 80]}}, {"NormalizeImage": {}}]},
    "PostProcess": {"Topk": {"topk": 1, "label_list": ["0_degree", "180_degree"]}},
}
EXPORT = """
import pathlib
HEADER = 27
def export(model, params, target, **_):
    with pathlib.Path(params).with_name("conversions").open("a") as count:
        print(model, file=count)
    pathlib.Path(target).write_bytes(pathlib.Path(params).read_bytes()[HEADER:])
"""
INFERENCE = """
import onnxruntime
HEADER = 27
class Config:
    def __init__(self, model, params):
        self.params = params
    def disable_gpu(self): pass
    def disable_mkldnn(self): pass
class Handle:
    def copy_from_cpu(self, tensor): self.tensor = tensor
    def copy_to_cpu(self): return self.tensor
class create_predictor:
    def __init__(self, config):
        self.session = onnxruntime.InferenceSession(open(config.params, "rb").read()[HEADER:])
        self.given, self.answered = Handle(), Handle()
    def get_input_names(self): return [self.session.get_inputs()[0].name]
    def get_output_names(self): return [self.session.get_outputs()[0].name]
    def get_input_handle(self, name): return self.given
    def get_output_handle(self, name): return self.answered
    def run(self):
        (self.answered.tensor,) = self.session.run(None, {self.get_input_names()[0]: self.given.tensor})
"""


def lock_of(folder: Path) -> Path:
    """Requirements as ours are, but of one wheel: Paddle as above, and the packages of this environment."""
    wheel = folder / "fake_paddle-1.0-py3-none-any.whl"
    files = {
        "paddle/__init__.py": "",
        "paddle/inference.py": INFERENCE,
        "paddle2onnx/__init__.py": EXPORT,
        "borrowed.pth": sysconfig.get_path("purelib"),
        "fake_paddle-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: fake-paddle\nVersion: 1.0\n",
        "fake_paddle-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "fake_paddle-1.0.dist-info/RECORD"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(record, "".join(f"{name},,\n" for name in [*files, record]))
    lock = folder / "requirements.lock"
    lock.write_text(f"fake-paddle @ {wheel.as_uri()} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    return lock


def one_tensor(content: bytes) -> bytes:
    """Weights of one tensor of bytes, as Paddle writes them; it begins after 27 bytes."""
    shape = bytes([0x08, 20, 0x10, *(len(content) >> shift & 0x7F | 0x80 for shift in (0, 7, 14)), len(content) >> 21])
    return struct.pack("<IQIi", 0, 0, 0, len(shape)) + shape + content


def model_at(directory: Path) -> Path:
    """A model in the newer format, as far as the Paddle above cares."""
    directory.mkdir(parents=True)
    graph = onnx.load(store.find("PP-LCNet_x1_0_textline_ori"))
    del graph.metadata_props[:]
    (directory / "inference.json").write_text("{}")
    (directory / "inference.pdiparams").write_bytes(one_tensor(graph.SerializeToString()))
    (directory / "inference.yml").write_text(yaml.safe_dump(YML))
    return directory


@pytest.fixture(scope="module")
def lock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lock_of(tmp_path_factory.mktemp("lock"))


@pytest.fixture
def home(lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for models, and the small requirements."""
    monkeypatch.setattr(environment, "LOCK", lock)
    monkeypatch.setenv("OCR_ONNX_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OCR_ONNX_OFFLINE", raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def tools(lock: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment, made once for all tests that only use it."""
    place = tmp_path_factory.mktemp("made")
    script(lock, "environment.ensure('a test', '', lambda _: True)", home=place).communicate()
    return place / "tools"


@pytest.fixture
def made(home: Path, tools: Path) -> Path:
    """A folder for models with an environment in it."""
    home.mkdir()
    (home / "tools").symlink_to(tools)
    return home


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_at(tmp_path / NAME)


@pytest.fixture
def host(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A web server that has the model."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OCR_ONNX_HOST", f"http://127.0.0.1:{server.server_address[1]}/{{name}}/{{file}}")
    for variable in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    yield
    server.shutdown()
    server.server_close()


def script(lock: Path, text: str, *, home: Path | None = None, terminal: int | None = None) -> subprocess.Popen[str]:
    """A process with the small requirements and no host but the one in the environment variable."""
    before = f"""
from pathlib import Path
from ocr_onnx.cli import main as cli
from ocr_onnx.models import zoo
from ocr_onnx.converters import cache, environment
environment.LOCK = Path({str(lock)!r})
zoo.zoo().hosts.clear()
"""
    settings = {**os.environ, **({"OCR_ONNX_HOME": str(home)} if home else {})}
    given = subprocess.DEVNULL if terminal is None else terminal
    told = subprocess.PIPE if terminal is None else terminal
    command = [sys.executable, "-c", before + text]
    return subprocess.Popen(command, text=True, env=settings, stdin=given, stdout=told, stderr=told)


def on_a_terminal(lock: Path, text: str, answer: str) -> str:
    """What a process shows on a terminal where somebody types `answer`."""
    ours, theirs = os.openpty()
    process = script(lock, text, terminal=theirs)
    os.close(theirs)
    os.write(ours, answer.encode())
    shown = b""
    try:
        while block := os.read(ours, 65536):
            shown += block
    except OSError:  # the other end was closed
        pass
    os.close(ours)
    process.wait(timeout=PATIENCE)
    return shown.decode().replace("\r\n", "\n")


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def conversions(directory: Path) -> int:
    count = directory / "conversions"
    return len(count.read_text().splitlines()) if count.exists() else 0


def described(path: Path) -> ModelMetadata:
    return ModelMetadata.from_properties(Session(path).properties, str(path))


def agree(_: str) -> bool:
    return True


def never(question: str) -> bool:
    raise AssertionError(question)


PULL = f"cli.main(['models', 'pull', {NAME!r}, '--accept-new'])"


# Asking.


@pytest.mark.slow
@pytest.mark.usefixtures("host")
def test_at_a_terminal_the_environment_is_created_after_a_question(home: Path, lock: Path) -> None:
    shown = on_a_terminal(lock, PULL, "y\n")
    assert f"Converting {NAME} needs Paddle; make an environment for it in {home / 'tools'}? About " in shown
    assert " MB of downloads, " in shown
    assert "GB on disk [y/N]: " in shown
    assert shown.endswith(f"{NAME}: {home / NAME}.onnx\n")
    assert store.verify(NAME)
    receipt = store.receipt(NAME)
    assert receipt is not None
    assert described(home / f"{NAME}.onnx").source == receipt.files


@pytest.mark.usefixtures("host")
def test_the_answer_no_prints_the_alternatives(home: Path, lock: Path) -> None:
    shown = on_a_terminal(lock, PULL, "\n")
    assert f"Error: converting {NAME} needs Paddle: 'ocr-onnx models pull {NAME} --yes --accept-new' makes" in shown
    assert f"pip install {requirement('convert,cpu')}" in shown
    assert not (home / "tools").exists()
    assert not store.path_of(NAME).exists()


@pytest.mark.usefixtures("home")
def test_without_a_terminal_no_environment_is_created(model: Path) -> None:
    result = invoke("models", "import", model, "--name", "mine")
    assert result.exit_code == 1
    assert f"'ocr-onnx models import --yes --name mine {model}' makes an environment for it" in result.stderr
    assert not environment._tools().exists()
    result = invoke("convert", model, "--isolated", "-o", "a file.onnx", "--no-verify")
    command = f"ocr-onnx convert --isolated --yes -o 'a file.onnx' --no-verify -- {model}"
    assert f"{command}' makes an environment" in result.stderr
    with pytest.raises(ConversionError, match="'ocr-onnx convert --isolated --yes"):
        cache.cached(model)
    assert not environment._tools().exists()


@pytest.mark.usefixtures("home")
def test_offline_no_environment_is_created_and_no_question_asked(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCR_ONNX_OFFLINE", "1")
    with pytest.raises(ConversionError, match="OCR_ONNX_OFFLINE forbids"):
        cache.cached(model, confirm=never)
    assert not environment._tools().exists()


@pytest.mark.usefixtures("home")
def test_offline_the_core_for_the_older_format_is_not_downloaded(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCR_ONNX_OFFLINE", "1")
    (model / "inference.json").rename(model / "inference.pdmodel")
    with pytest.raises(DownloadError, match=r"paddle2onnx==1\.3\.1 is not in .*OCR_ONNX_OFFLINE forbids downloads"):
        cache.cached(model, confirm=never)


# Using it.


def test_a_folder_is_converted_once(made: Path, model: Path, tmp_path: Path) -> None:
    first = cache.cached(model, confirm=never)
    assert first.parent == made / "converted"
    assert described(first).name == NAME
    assert cache.cached(model, confirm=never) == first
    shutil.copytree(model, tmp_path / "elsewhere")
    assert cache.cached(tmp_path / "elsewhere", confirm=never) == first
    assert conversions(model) == conversions(tmp_path / "elsewhere") == 1
    renamed = cache.cached(model, name="my_textline_ori", confirm=never)
    assert described(renamed).name == "my_textline_ori"
    assert conversions(model) == 2
    (model / "inference.yml").write_text(yaml.safe_dump(YML) + "# changed\n")
    assert cache.cached(model, confirm=never) not in {first, renamed}
    assert conversions(model) == 3


def test_a_cached_conversion_needs_no_environment(made: Path, model: Path) -> None:
    first = cache.cached(model, confirm=never)
    (made / "tools").unlink()
    assert cache.cached(model, confirm=never) == first
    assert invoke("models", "import", model).stdout == f"{made / NAME}.onnx\n"
    assert conversions(model) == 1


@pytest.mark.usefixtures("made")
def test_the_older_format_uses_the_environment_if_its_core_has_no_wheel(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 13, 0, "final", 0))
    monkeypatch.setattr(environment, "on_path", lambda _: None)
    (model / "inference.json").rename(model / "inference.pdmodel")
    assert described(cache.cached(model, confirm=never)).name == NAME
    assert "inference.pdmodel" in (model / "conversions").read_text()


@pytest.mark.usefixtures("home")
def test_the_older_format_needs_no_environment_if_another_python_has_a_wheel_of_its_core(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another Python is one without packages, which is told to export."""
    asked = tmp_path / "asked"
    python = tmp_path / "python3.99"
    python.write_text(f'#!/bin/sh\n[ "$2" = -c ] && echo 3.99 && exit\necho "$@" > {asked}\nexit 3\n')
    python.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(legacy, "CORE_WHEELS", {(3, 99): set()})
    wanted: list[tuple[int, int]] = []

    def core(version: tuple[int, int]) -> Path:
        wanted.append(version)
        return tmp_path / "core.so"

    monkeypatch.setattr(legacy, "core", core)
    monkeypatch.setattr(legacy, "check_weights", lambda _: None)
    monkeypatch.setattr(toolchain, "ready", lambda **_: True)
    (model / "inference.json").rename(model / "inference.pdmodel")
    with pytest.raises(ConversionError, match="exited with 3"):
        cache.cached(model, confirm=never)
    assert wanted == [(3, 99)]
    flag, file, *arguments = asked.read_text("utf-8").split()
    assert (flag, Path(file).name) == ("-I", "paddle_process.py")
    assert arguments[:3] == ["export_old", str(tmp_path / "core.so"), str(model / "inference.pdmodel")]


@pytest.mark.usefixtures("made")
def test_errors_of_the_environment_read_like_errors_of_this_process(model: Path) -> None:
    post = {"Topk": {"topk": 1, "label_list": ["0", "90", "180"]}}
    (model / "inference.yml").write_text(yaml.safe_dump({**YML, "PostProcess": post}))
    with pytest.raises(ConversionError, match=rf"^{NAME} has 2 classes and its dictionary .* names 3"):
        cache.cached(model)
    assert not (store.home() / "converted").exists()


@pytest.mark.usefixtures("made")
def test_the_output_of_an_environment_that_fails_is_in_the_error(tmp_path: Path) -> None:
    failing = tmp_path / "python"
    failing.write_text("#!/bin/sh\necho 'no module named this' >&2\nkill -ABRT $$\n")
    failing.chmod(0o755)
    with pytest.raises(ConversionError, match=r"failed with -6:\nno module named this"):
        environment.run(failing, "convert")


@pytest.mark.usefixtures("made")
def test_an_isolated_conversion_accepts_the_same_options(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnx.py").write_text("raise AssertionError('a file of the user')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = invoke("convert", "--isolated", model.name, "--name", "my_textline_ori", "--no-verify")
    assert result.stdout.startswith("my_textline_ori.onnx: my_textline_ori (textline_orientation), fp32")
    assert result.stdout.endswith("not verified\n")
    assert described(tmp_path / "my_textline_ori.onnx").name == "my_textline_ori"


@pytest.mark.usefixtures("made")
def test_the_environment_runs_this_package() -> None:
    python = environment.find()
    assert python is not None
    assert environment.run(python, "models", "path", "PP-OCRv5_mobile_det") == f"{store.find('PP-OCRv5_mobile_det')}\n"


def test_an_environment_without_its_python_is_not_used(home: Path) -> None:
    folder = home / "tools" / f"{environment._name()}-old"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(home / "removed")
    (folder / environment.WHOLE).touch()
    assert environment.find() is None


# Making it.


@pytest.mark.slow
@pytest.mark.usefixtures("home")
def test_an_environment_that_cannot_be_created_leaves_no_files(
    lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = tmp_path / "forged.lock"
    forged.write_text(lock.read_text().partition("sha256:")[0] + "sha256:" + "0" * 64)
    monkeypatch.setattr(environment, "LOCK", forged)
    with pytest.raises(
        ConversionError, match=r"failed, check the network(.|\n)*THESE PACKAGES DO NOT MATCH THE HASHES"
    ):
        environment.ensure("a test", "", agree)
    assert not list(environment._tools().iterdir())


def works(python: Path) -> bool:
    return not subprocess.run([python, "-c", "import paddle2onnx, paddle.inference"], check=False).returncode


@pytest.mark.slow
def test_a_creation_killed_at_any_time_leaves_no_environment_that_is_used(home: Path, lock: Path) -> None:
    chance = random.Random(0)
    make = "environment.ensure('a test', '', lambda _: True)"
    for _ in range(2):
        process = script(lock, make)
        time.sleep(chance.uniform(0.5, 6.0))
        process.kill()
        process.communicate()
        found = environment.find()
        assert found is None or works(found)
        if found is not None:
            shutil.rmtree(home / "tools")
    done = script(lock, make)
    assert (*done.communicate(timeout=PATIENCE), done.returncode) == ("", "", 0)
    found = environment.find()
    assert found is not None
    assert works(found)


@pytest.mark.slow
def test_two_processes_make_one_environment_and_convert_once(home: Path, lock: Path, model: Path) -> None:
    text = f"print(cache.cached(Path({str(model)!r}), confirm=lambda _: True))"
    processes = [script(lock, text) for _ in range(2)]
    results = [(*process.communicate(timeout=PATIENCE), process.returncode) for process in processes]
    (file,) = (home / "converted").iterdir()
    assert results == [(f"{file}\n", "", 0)] * 2
    assert conversions(model) == 1
    assert len(list((home / "tools").iterdir())) == 1


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Write a shell script as the only program of a new folder on the PATH, in front of the others; the Python is 3.13."""
    monkeypatch.setattr(sys, "version_info", (3, 13, 0, "final", 0))
    monkeypatch.setenv("PATH", "/nowhere")

    def put(name: str, text: str) -> str:
        file = tmp_path / f"bin{len(list(tmp_path.iterdir()))}" / name
        file.parent.mkdir()
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)
        monkeypatch.setenv("PATH", os.pathsep.join([str(file.parent), os.environ["PATH"]]))
        return str(file)

    return put


def test_of_several_pythons_one_that_works_is_used(programs: Callable[[str, str], str]) -> None:
    working = programs("python3.11", f'exec {sys.executable} "$@"')
    programs("python3.11", "echo 'python3.11: command not found' >&2; exit 127")
    assert environment._base() == working


def test_without_a_working_python_the_error_has_the_remedy(programs: Callable[[str, str], str]) -> None:
    programs("python3.11", "echo 'python3.11: command not found' >&2; exit 127")
    with pytest.raises(ConversionError, match=r"no python3\.11 on the PATH works: install it"):
        environment._base()


def test_uv_installs_the_python_that_is_missing(programs: Callable[[str, str], str], tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    programs(
        "uv", f'[ "$2" = install ] && echo "$3" > {installed}; [ "$2" = find ] && echo {tmp_path}/python3.11; true'
    )
    assert environment._base() == f"{tmp_path}/python3.11"
    assert installed.read_text() == "3.11\n"


def test_without_a_network_uvs_error_is_given(programs: Callable[[str, str], str]) -> None:
    programs("uv", "echo 'error: failed to download Python' >&2; exit 2")
    with pytest.raises(ConversionError, match="failed to download Python"):
        environment._base()
