"""The command line: its output, to the letter, and its exit codes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import PIL.Image
import pytest
import yaml
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result
from conftest import PAGES

from ocr_onnx import __version__
from ocr_onnx.cli.main import main
from ocr_onnx.models import download, presets, store, zoo
from ocr_onnx.models.language_names import names
from ocr_onnx.models.languages import languages

SIGN = "FERRY TERMINAL\n渡轮码头\nGate 7 →\n"
PARAGRAPHS = "FERRY TERMINAL\n\n渡轮码头\n\nGate 7 →\n"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
    return found


def test_text_is_printed_in_paragraphs() -> None:
    result = invoke("run", PAGES / "sign.png")
    assert (result.exit_code, result.stdout, result.stderr) == (0, PARAGRAPHS, "")


@pytest.mark.parametrize("option", ["--lines", "--layout"])
def test_text_is_printed_line_by_line_if_asked(option: str) -> None:
    result = invoke("run", PAGES / "sign.png", option)
    printed = [line.strip() for line in result.stdout.splitlines() if line]
    assert (result.exit_code, printed) == (0, SIGN.splitlines())


def test_text_is_printed_in_the_order_of_paddleocr_if_asked() -> None:
    assert invoke("run", PAGES / "sign.png", "--reading_order", "paddle").stdout == SIGN


def test_json_is_one_list_of_pages() -> None:
    result = invoke("run", PAGES / "sign.png", PAGES / "blank.png", "--format", "json")
    pages = json.loads(result.stdout)
    assert [page["rec_texts"] for page in pages] == [SIGN.splitlines(), []]


def test_json_lines_are_one_page_a_line() -> None:
    result = invoke("run", PAGES / "sign.png", PAGES / "blank.png", "--format", "jsonl")
    assert [json.loads(line)["rec_texts"] for line in result.stdout.splitlines()] == [SIGN.splitlines(), []]


def test_an_unreadable_input_is_one_error_line_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "fake.png").write_text("text")
    result = invoke("run", tmp_path / "nowhere.png", tmp_path / "fake.png", PAGES / "sign.png")
    assert result.exit_code == 1
    assert result.stdout == f"==> {PAGES}/sign.png <==\n{PARAGRAPHS}"
    assert result.stderr == (
        f"Error: {tmp_path}/nowhere.png does not exist: check the path\n"
        f"Error: {tmp_path}/fake.png is neither a PDF nor an image of a supported format (AVIF, BMP, DIB, GIF, JPEG, PNG, PPM, SUN, TIFF, WEBP), or its header is damaged: convert it to one of these formats\n"
    )


def test_a_folder_is_read_past_its_bad_files(tmp_path: Path) -> None:
    for name in ("1.png", "3.png"):
        (tmp_path / name).write_bytes((PAGES / "sign.png").read_bytes())
    (tmp_path / "2.png").write_bytes(b"")
    result = invoke("run", tmp_path)
    pages = "\n".join(f"==> {tmp_path}/{name}.png <==\n{PARAGRAPHS}" for name in (1, 3))
    assert (result.exit_code, result.stdout) == (1, pages)
    assert "2.png is empty" in result.stderr


def test_results_are_saved_under_paddleocrs_names(tmp_path: Path) -> None:
    result = invoke("run", PAGES / "sign.png", "--save_path", tmp_path / "out")
    assert result.exit_code == 0
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["sign_ocr_res_img.png", "sign_preprocessed_img.png", "sign_res.json"]


def test_inputs_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    for name in ("p.png", "a/p.png", "b/p.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes((PAGES / "tiny.png").read_bytes())
    out = tmp_path / "out"
    result = invoke("run", tmp_path / "in", "--save-path", out)
    found = [json.loads(p.read_text())["input_path"] for p in out.rglob("*.json")]
    assert sorted(found) == sorted(str(p) for p in (tmp_path / "in").rglob("*.png"))
    assert result.stderr.count("has files of the same name") == 2


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = invoke("run", PAGES / "tiny.png", "--save-path", tmp_path / "file" / "out")
    assert result.exit_code == 1
    assert "cannot be written: Not a directory" in result.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_one_line(unbuffered: str) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "ocr_onnx", "run", str(PAGES / "sign.png")]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert (
        done.stderr
        == "Error: standard output cannot be written: No space left on device; free disk space or redirect it elsewhere\n"
    )


def test_text_is_utf_8_whatever_the_locale() -> None:
    command = [sys.executable, "-m", "ocr_onnx", "run", str(PAGES / "sign.png")]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "cp1252"}, check=True)
    assert done.stdout.decode() == PARAGRAPHS


def test_a_language_whose_model_is_not_here_is_fetched_or_says_why_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OCR_ONNX_HOME", str(tmp_path))
    content = replace(zoo.zoo(), hosts={"closed": "http://127.0.0.1:9/{name}/{file}"})
    monkeypatch.setattr(zoo, "zoo", lambda: content)
    monkeypatch.setattr(download, "PAUSE", 0)
    result = invoke("run", PAGES / "sign.png", "--lang", "ko")
    assert result.exit_code == 1
    assert result.stderr.startswith("Downloading korean_PP-OCRv5_mobile_rec from 127.0.0.1\n")
    assert "korean_PP-OCRv5_mobile_rec could not be downloaded" in result.stderr


def test_a_language_that_an_embedded_model_reads_needs_no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCR_ONNX_OFFLINE", "1")
    command = [sys.executable, "-m", "ocr_onnx", "run", str(PAGES / "sign.png"), "--lang", "de"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == PARAGRAPHS
    assert done.stderr == "INFO: lang='de' is read by PP-OCRv6_small_rec, which is part of the package\n"


def test_presets_are_listed() -> None:
    text = invoke("models", "presets").stdout
    for preset in presets.PRESETS.values():
        assert f"{preset.name:<10} {preset.text_detection} {preset.text_recognition}" in text


def test_a_models_name_wins_over_the_version() -> None:
    names = (
        "--text_detection_model_name",
        "PP-OCRv5_mobile_det",
        "--text-recognition-model-name",
        "PP-OCRv5_mobile_rec",
    )
    assert invoke("run", PAGES / "sign.png", "--ocr_version", "PP-OCRv4", *names).stdout == PARAGRAPHS


def test_languages_are_listed() -> None:
    lines = [line.split("  ") for line in invoke("models", "langs").stdout.splitlines()]
    assert [part.strip() for part in lines[0] if part] == ["LANG", "LANGUAGE", "VERSIONS"]
    assert ["ka", "Kannada", "PP-OCRv3"] in [[part.strip() for part in line if part] for line in lines]


def test_every_language_has_a_name() -> None:
    assert names().keys() == languages().keys()


def test_progress_is_shown_on_a_terminal_and_taken_away(tmp_path: Path) -> None:
    frames = [PIL.Image.open(PAGES / "tiny.png").convert("RGB")] * 2
    frames[0].save(tmp_path / "pages.tiff", save_all=True, append_images=frames[1:])
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "ocr_onnx", "run", str(tmp_path / "pages.tiff"), str(PAGES / "tiny.png")]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=end, text=True, check=True)
    os.close(end)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert f"1 of 2: {tmp_path}/pages.tiff, 1 of 2 pages" in shown
    assert f"2 of 2: {PAGES}/tiny.png" in shown
    assert shown.endswith("\r\x1b[K")
    assert done.stdout.count("Exit") == 3


def test_an_unknown_device_is_one_line() -> None:
    result = invoke("run", PAGES / "sign.png", "--device", "tpu")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: device is 'tpu': it must be 'cpu', 'gpu', 'gpu:N', 'gpu:0,1' or 'auto'\n"


def test_no_input_is_a_usage_error() -> None:
    result = invoke("run")
    assert result.exit_code == 2
    assert "Missing INPUT" in result.stderr


def test_models_are_listed() -> None:
    lines = invoke("models", "list").stdout.splitlines()
    assert lines[0].split() == ["MODEL", "TASK", "VERSION", "LANGUAGES", "OBTAINED"]
    assert lines[1].split() == ["PP-LCNet_x1_0_doc_ori", "doc_orientation", "PP-LCNet", "-", "embedded"]
    rows = {name: rest for name, *rest in map(str.split, lines)}
    assert rows["PP-OCRv5_server_rec"][2:] == ["ch,chinese_cht,en,japan", "pull", "--accept-new,", "81", "MB"]
    assert rows["latin_PP-OCRv3_mobile_rec"][2:4] == ["49", "languages"]
    records = json.loads(invoke("models", "list", "--json").stdout)
    assert [record["name"] for record in records] == [line.split()[0] for line in lines[1:]]


def test_a_model_is_shown_as_text_and_as_json() -> None:
    shown = yaml.safe_load(invoke("models", "show", "PP-OCRv6_small_det").stdout)
    as_json = json.loads(invoke("models", "show", "PP-OCRv6_small_det", "--json").stdout)
    assert shown["tuned"] == as_json["tuned"]
    assert shown.keys() < as_json.keys()


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("PP-OCRv4_mobile_rec", "ocr-onnx models pull PP-OCRv4_mobile_rec"),
        ("UVDoc", "ocr-onnx models pull --accept-new UVDoc"),
    ],
)
def test_the_path_of_a_missing_model_names_the_command_that_downloads_it(
    name: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(store.HOME_VARIABLE, str(tmp_path))
    done = invoke("models", "path", name)
    assert (done.exit_code, f"run '{command}'" in done.stderr) == (1, True)


def test_a_verified_model_is_ok() -> None:
    assert invoke("models", "verify", "PP-OCRv6_small_det").stdout.startswith("PP-OCRv6_small_det: ok, sha256 ")


def test_verbose_after_the_command_says_where_it_belongs() -> None:
    done = invoke("run", "-v", PAGES / "tiny.png")
    assert (done.exit_code, "-v precedes the command: ocr-onnx -v COMMAND" in done.stderr) == (2, True)


def test_a_value_out_of_range_names_the_option() -> None:
    assert "text_det_thresh is 2.0" in invoke("run", "x.png", "--text_det_thresh", 2).stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("run --lang chin", ["chinese_cht"]),
        ("run --lang korean,jap", ["korean,japan"]),
        ("run --ocr_version PP-OCRv6", ["PP-OCRv6"]),
        ("run --device au", ["auto"]),
        ("run --text_detection_model_name PP-OCRv6_s", ["PP-OCRv6_small_det", "PP-OCRv6_small_rec"]),
        ("models pull UV", ["UVDoc"]),
        ("models show UV", ["UVDoc"]),
    ],
)
def test_the_shell_completes_values(words: str, expected: list[str]) -> None:
    *arguments, begun = words.split()
    found = ShellComplete(main, {}, "ocr-onnx", "_OCR_ONNX_COMPLETE").get_completions(arguments, begun)
    assert [item.value for item in found] == expected


def test_converting_a_folder_without_a_model_is_one_error_line(tmp_path: Path) -> None:
    result = invoke("convert", tmp_path)
    assert result.exit_code == 1
    expected = "has neither inference.json nor inference.pdmodel: export the trained model with PaddleOCR's tools/export_model.py"
    assert result.stderr == f"Error: {tmp_path} {expected}\n"


@pytest.mark.parametrize("path", commands(main), ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...]) -> None:
    result = invoke(*path, "--help")
    assert result.exit_code == 0
    assert len(result.stdout.split("\n\n")[1].strip()) > 10


def test_the_version_is_the_packages() -> None:
    assert invoke("--version").stdout == f"ocr-onnx, version {__version__}\n"


def test_bugs_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("ocr_onnx.paddle.assembly.OCR", broken)
    assert isinstance(invoke("run", PAGES / "sign.png").exception, ZeroDivisionError)


def test_standard_output_contains_only_results(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "ocr_onnx",
        "-v",
        "run",
        str(PAGES / "blank.png"),
        str(tmp_path / "x"),
        "--format",
        "jsonl",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["rec_texts"] == []


@pytest.mark.parametrize("command", [["serve"], ["batch", "scans", "-o", "result"]], ids=" ".join)
@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_a_command_that_needs_linux_says_so(command: list[str], system: str, tmp_path: Path) -> None:
    # `fcntl` of macOS lacks what the decoding processes need, and Windows has none.
    script = f"import sys, fcntl; from ocr_onnx.cli.main import main; sys.platform = {system!r}; del fcntl.F_SEAL_SHRINK; main({command})"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "needs Linux: run it in WSL, in a container" in done.stderr
    assert len(done.stderr.splitlines()) == 1
