"""The options of `ocr-onnx run`: the shell examples of PaddleOCR's documentation, its names, and those of our own."""

from __future__ import annotations

import functools
import http.server
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import PIL.Image
import pypdfium2
import pytest
from click.testing import CliRunner, Result
from conftest import PAGES, locked_pdf, pdf

from ocr_onnx import OCROptions, PaddleOCR
from ocr_onnx.cli.main import main
from ocr_onnx.cli.options import INPUT, Setting, pipeline_settings
from ocr_onnx.cli.run import pipeline_request, run
from ocr_onnx.models import store
from ocr_onnx.models.presets import PRESETS
from ocr_onnx.options import DetectionOptions, places
from ocr_onnx.paddle import assembly, pipeline_yaml
from ocr_onnx.paddle.assembly import PARAMETER_PREFIXES, assemble

SIGN = "FERRY TERMINAL\n\n渡轮码头\n\nGate 7 →\n"
SETTINGS = [parameter for parameter in run.params if isinstance(parameter, Setting)]
SHOWN = [setting for setting in SETTINGS if not setting.hidden]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["run", *map(str, arguments)])


def pages_of(*arguments: object) -> list[dict[str, Any]]:
    result = invoke(*arguments, "--format", "jsonl")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The pages, served."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    serve = functools.partial(Quiet, directory=str(PAGES))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_providers_are_named_in_place_of_a_device() -> None:
    result = invoke(PAGES / "sign.png", "--provider", "CPUExecutionProvider")
    assert (result.exit_code, result.stdout) == (0, SIGN)
    result = invoke(PAGES / "sign.png", "--provider", "CPUExecutionProvider", "--device", "cpu")
    assert (result.exit_code, result.stderr) == (1, "Error: device and providers are both given: give one of them\n")
    result = invoke(PAGES / "sign.png", "--provider", "NoSuchProvider:a=1")
    assert result.stderr.startswith("Error: NoSuchProvider is not in the installed ONNX Runtime: ")
    result = invoke(PAGES / "sign.png", "--provider", "NoSuchProvider:a")
    assert "must be 'NAME' or 'NAME:key=value,key=value'" in result.stderr


def test_the_first_example_reads_an_address_and_saves(address: str, tmp_path: Path) -> None:
    off = ("use_doc_orientation_classify", "use_doc_unwarping", "use_textline_orientation")
    switches = [word for name in off for word in (f"--{name}", "False")]
    target = tmp_path / "output"
    result = invoke("-i", f"{address}/sign.png", *switches, "--save_path", target, "--device", "cpu")
    assert (result.exit_code, result.stdout, result.stderr) == (0, SIGN, "")
    assert sorted(path.name for path in target.iterdir()) == ["sign_ocr_res_img.png", "sign_res.json"]
    written = json.loads((target / "sign_res.json").read_text("utf-8"))
    assert written["input_path"] == f"{address}/sign.png"
    assert written["textline_orientation_angles"] == [-1, -1, -1]


@pytest.mark.usefixtures("version_4")
def test_the_second_example_chooses_a_version() -> None:
    result = invoke("-i", PAGES / "sign.png", "--ocr_version", "PP-OCRv4")
    assert (result.exit_code, result.stdout) == (0, SIGN.replace("F", "f"))


def test_the_example_of_a_models_folder_with_its_name(tmp_path: Path) -> None:
    name = "PP-OCRv5_mobile_det"
    (tmp_path / "inference.onnx").write_bytes(Path(store.path_of(name)).read_bytes())
    model = ("--text_detection_model_dir", tmp_path)
    assert invoke("-i", PAGES / "sign.png", *model).stdout == SIGN
    assert invoke("-i", PAGES / "sign.png", "--text_detection_model_name", name, *model).stdout == SIGN


def test_the_example_of_a_pipeline_file(tmp_path: Path) -> None:
    file = tmp_path / "PaddleOCR.yaml"
    PaddleOCR(text_rec_score_thresh=0.5, use_textline_orientation=False).export_paddlex_config_to_yaml(file)
    (page,) = pages_of("-i", PAGES / "sign.png", "--paddlex_config", file)
    assert page["text_rec_score_thresh"] == 0.5
    assert page["model_settings"]["use_textline_orientation"] is False


@pytest.mark.parametrize("words", [("--use_textline_orientation",), ("--use-textline-orientation", "True")])
@pytest.mark.parametrize("first", [True, False])
def test_a_boolean_option_needs_no_value_at_any_position(words: tuple[str, ...], first: bool) -> None:
    page = ("-i", PAGES / "sign.png")
    result = invoke(*words, *page) if first else invoke(*page, *words)
    assert (result.exit_code, result.stdout) == (0, SIGN)


def test_three_numbers_give_a_shape() -> None:
    shapes = ("--text_det_input_shape", 3, 640, 640, "--text-rec-input-shape", 3, 48, 320)
    assert invoke("-i", PAGES / "sign.png", *shapes).stdout.splitlines()[0] == "FERRY TERMINAL"


def test_deprecated_names_are_accepted_with_a_warning() -> None:
    result = invoke("-i", PAGES / "sign.png", "--det_db_thresh", "0.4", "--use_angle_cls", "False", "--format", "json")
    assert json.loads(result.stdout)[0]["text_det_params"]["thresh"] == 0.4
    assert result.stderr == (
        "WARNING: --det_db_thresh is deprecated: use --text_det_thresh\n"
        "WARNING: --use_angle_cls is deprecated: use --use_textline_orientation\n"
    )


def test_an_old_name_beside_the_new_is_a_usage_error() -> None:
    result = invoke("-i", PAGES / "sign.png", "--det_db_thresh", "0.4", "--text_det_thresh", "0.3")
    assert result.exit_code == 2
    assert "use --text_det_thresh only" in result.stderr


@pytest.mark.parametrize("name", ["--pdf_pages", "--pdf-pages"])
def test_pages_of_a_pdf_can_be_chosen(tmp_path: Path, name: str) -> None:
    (tmp_path / "three.pdf").write_bytes(pdf((50, 50), (60, 50), (70, 50)))
    assert [page["page_index"] for page in pages_of(tmp_path / "three.pdf", name, "1,3-")] == [0, 2]


def test_a_searchable_pdf_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first.pdf", tmp_path / "second.pdf"
    assert invoke(PAGES / "sign.png", "-o", first).exit_code == 0

    def fail(*_: object) -> None:
        raise AssertionError("the page was read")

    monkeypatch.setattr("ocr_onnx.stages.detection.TextDetector.__call__", fail)
    assert invoke(first, "-o", second).exit_code == 0
    assert "FERRY TERMINAL" in pypdfium2.PdfDocument(second)[0].get_textpage().get_text_range()
    # Other formats have the text of all pages, unless it is left out.
    assert isinstance(invoke(first).exception, AssertionError)
    assert invoke(first, "--pdf_text", "auto").exception is not None
    assert invoke(first, "--pdf_text", "skip").stdout == "\n"


def test_pages_are_rendered_at_the_scale_asked_for(tmp_path: Path) -> None:
    (tmp_path / "page.pdf").write_bytes(pdf((50, 40)))
    result = invoke(tmp_path / "page.pdf", "--pdf_scale", 3, "--save-path", tmp_path)
    assert result.exit_code == 0
    beside_its_texts = (2 * 150, 120)
    with PIL.Image.open(tmp_path / "page_0_ocr_res_img.png") as picture:
        assert picture.size == beside_its_texts


def test_a_password_comes_from_an_option_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "locked.pdf"
    file.write_bytes(locked_pdf("sesame"))
    assert "give its password as pdf_password" in invoke(file).stderr
    assert len(pages_of(file, "--pdf-password", "sesame")) == 1
    monkeypatch.setenv("OCR_ONNX_PDF_PASSWORD", "sesame")
    assert len(pages_of(file)) == 1


def test_a_picture_with_too_many_pixels_is_refused() -> None:
    result = invoke(PAGES / "sign.png", "--max-megapixels", 0.001)
    assert result.exit_code == 1
    assert "has 640 x 420 pixels, and 1000 is the limit" in result.stderr


def test_pages_that_are_no_pages_are_one_line() -> None:
    result = invoke(PAGES / "sign.png", "--pdf_pages", "x")
    assert result.exit_code == 1
    assert result.stderr == "Error: pdf_pages is 'x': give pages counted from 1, such as '1-3,7,20-'\n"


def test_the_help_shows_the_actual_defaults() -> None:
    defaults = {place.declaration.name: place.default for place in places() if place.default not in (None, ())}
    stated = {s.name: found[1] for s in SHOWN if (found := re.search(r"Default: (.+)\.$", s.help or ""))}
    models = {name: choice.name for name, choice in pipeline_yaml.default_choices().items()}
    for task, role in PARAMETER_PREFIXES.items():
        assert stated.pop(f"{role}_model_name") == models[task]
    assert (stated.pop("cpu_threads"), stated.pop("device"), stated.pop("mode")) == ("all", "cpu", "standard")
    assert (stated.pop("no_download"), stated.pop("require_checksum")) == ("False", "False")
    assert stated.pop("build_missing") == str(inspect.signature(PaddleOCR).parameters["build_missing"].default)
    assert stated == {name: str(default).removesuffix(".0") for name, default in defaults.items()}


def test_every_declared_option_can_be_given_on_the_command_line() -> None:
    assert {place.declaration.name for place in places()} <= {setting.name for setting in SHOWN}


@pytest.mark.parametrize("columns", ["80", "100"])
def test_the_help_is_grouped_and_fits(columns: str) -> None:
    text = CliRunner(env={"COLUMNS": columns}).invoke(main, ["run", "--help"]).stdout
    titles = re.findall(r"^(\S.*):$", text, re.MULTILINE)
    assert titles[0] == INPUT
    assert len(titles) == 6
    assert max(map(len, text.splitlines())) <= int(columns)
    for setting in SETTINGS:
        assert (f"--{setting.name} " in text) is not setting.hidden


def test_each_setting_may_be_written_either_way() -> None:
    for setting in SETTINGS:
        assert setting.opts[0] == f"--{setting.name}"
        assert setting.opts[-1] == f"--{str(setting.name).replace('_', '-')}"


def test_every_preset_and_its_models_are_in_the_help() -> None:
    (preset,) = [setting for setting in SHOWN if setting.name == "preset"]
    for each in PRESETS.values():
        assert f"{each.text_detection}, {each.text_recognition}" in str(preset.help)


def test_compatible_with_paddleocr_means_its_defaults() -> None:
    def options(*arguments: str) -> OCROptions:
        context = run.make_context("run", ["page.png", *arguments])
        given = {setting.name: context.params[setting.name] for setting in pipeline_settings() if setting.name}
        return assemble(pipeline_request(given)).options

    assert options("--compatible", "paddleocr") == OCROptions.paddleocr()
    assert options("--compatible", "paddleocr") == PaddleOCR().options
    best = options()
    assert (best.line_orientation, best.page_orientation) == (
        OCROptions().line_orientation,
        OCROptions().page_orientation,
    )


def test_the_help_describes_the_preset_fast() -> None:
    (page,) = pages_of(PAGES / "sign.png", "--preset", "fast")
    found = DetectionOptions(**{k: page["text_det_params"][k] for k in ("limit_side_len", "limit_type")})
    (preset,) = [setting for setting in SHOWN if setting.name == "preset"]
    assert isinstance(preset, click.Option)
    assert f"text_det_limit_side_len {found.limit_side_len}, text_det_limit_type {found.limit_type}" in str(preset.help)


def test_the_help_describes_high_performance_mode() -> None:
    fast = OCROptions.high_performance()
    (mode,) = [setting for setting in SHOWN if setting.name == "mode"]
    assert (
        f"(text_det_limit_side_len {fast.detection.limit_side_len}, text_det_limit_type {fast.detection.limit_type}, "
        f"text_rec_padding {fast.recognition.padding})"
    ) in str(mode.help)
    (page,) = pages_of(PAGES / "sign.png", "--mode", "high-performance", "--text-det-limit-side-len", "640")
    assert (page["text_det_params"]["limit_side_len"], page["text_det_params"]["limit_type"]) == (640, "min")
    result = invoke(PAGES / "sign.png", "--mode", "standard", "--enable_hpi")
    assert (result.exit_code, "--mode and --enable_hpi are the same option" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("ocr-onnx run --text_det_b", "plain,--text_det_box_thresh"),
        ("ocr-onnx run page", "file,page"),
        ("ocr-onnx run -i page", "file,page"),
        ("ocr-onnx run --text_detection_model_dir mod", "file,mod"),
    ],
)
def test_bash_completes_options_and_files(words: str, completed: str) -> None:
    asked = {"_OCR_ONNX_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    command = [sys.executable, "-m", "ocr_onnx"]
    found = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[0] == completed


def test_a_page_that_cannot_be_read_is_named_and_the_other_pages_are_printed(tmp_path: Path) -> None:
    with PIL.Image.open(PAGES / "sign.png") as sign:
        frames = [sign.convert("RGB"), PIL.Image.new("F", (20, 30)), sign.convert("RGB")]
    frames[0].save(tmp_path / "three.tif", save_all=True, append_images=frames[1:])
    result = invoke(tmp_path / "three.tif", PAGES / "sign.png")
    assert result.exit_code == 1
    assert result.stdout.count("FERRY TERMINAL") == 3
    assert f"Error: page 2 of {tmp_path / 'three.tif'} has 32-bit" in result.stderr


@pytest.mark.parametrize("name", ["sign.png", "two pages"])
def test_a_dash_reads_standard_input(name: str, tmp_path: Path) -> None:
    data = pdf((50, 40), (60, 40)) if name == "two pages" else (PAGES / name).read_bytes()
    arguments = ["run", "-", str(PAGES / "sign.png"), "--save_path", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments, input=data)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.count("FERRY TERMINAL") == (1 if name == "two pages" else 2)
    stem = "stdin_1" if name == "two pages" else "stdin"
    assert (tmp_path / "out" / f"{stem}_res.json").is_file()
    empty = CliRunner().invoke(main, ["run", "-"], input=b"")
    assert (empty.exit_code, empty.stdout) == (1, "")
    assert "stdin is empty" in empty.stderr


def test_a_program_without_standard_input_reads_files_and_names_what_it_lacks() -> None:
    closed = 'exec "$0" -m ocr_onnx run "$1" <&-'
    page, dash = (
        subprocess.run(["sh", "-c", closed, sys.executable, name], capture_output=True, text=True, check=False)
        for name in (PAGES / "sign.png", "-")
    )
    assert "FERRY TERMINAL" in page.stdout
    assert (dash.returncode, dash.stdout) == (1, "")
    assert "Error: stdin cannot be read" in dash.stderr
    assert "Traceback" not in dash.stderr


def test_standard_input_is_limited_as_other_streams_are() -> None:
    large = CliRunner().invoke(main, ["run", "-", "--max_bytes", "1000"], input=(PAGES / "sign.png").read_bytes())
    assert (large.exit_code, large.stdout) == (1, "")
    assert "stdin is larger than 1000 bytes: raise max_bytes" in large.stderr


def test_output_is_written_to_a_file_whose_suffix_chooses_the_format(tmp_path: Path) -> None:
    for name, begin in (("page.hocr", b"<?xml"), ("page.pdf", b"%PDF-"), ("page.tsv", b"level\t")):
        done = invoke(PAGES / "tiny.png", "--output", tmp_path / name)
        assert (done.exit_code, done.stdout) == (0, "")
        assert (tmp_path / name).read_bytes().startswith(begin)


@pytest.mark.parametrize("target", ["out.pdf", "folder", None])
def test_a_format_whose_package_is_missing_is_refused_before_models_are_loaded(
    target: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pikepdf", None)
    monkeypatch.setattr(assembly, "assemble", lambda _: pytest.fail("models are loaded"))
    (tmp_path / "folder").mkdir()
    output = () if target is None else ("-o", tmp_path / target)
    done = invoke(PAGES / "tiny.png", "--format", "pdf", *output)
    assert done.exit_code == 1
    assert "searchable PDFs need pikepdf and img2pdf: pip install " in done.stderr


def test_several_files_are_named_in_the_text() -> None:
    done = invoke(PAGES / "sign.png", PAGES / "blank.png")
    assert done.stdout == f"==> {PAGES / 'sign.png'} <==\n{SIGN}\n==> {PAGES / 'blank.png'} <==\n\n"


def test_output_can_be_a_folder_with_a_file_for_each_input(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(PAGES / "sign.png", other / "tiny.png")
    target = tmp_path / "texts"
    target.mkdir()
    done = invoke(PAGES / "tiny.png", PAGES / "sign.png", other / "tiny.png", "-o", target, "--format", "text")
    assert (done.exit_code, done.stdout) == (0, "")
    assert sorted(file.name for file in target.iterdir()) == ["sign.txt", "tiny.txt", "tiny_2.txt"]
    assert (target / "tiny_2.txt").read_text("utf-8") == (target / "sign.txt").read_text("utf-8") == SIGN
    assert "give --format" in invoke(PAGES / "tiny.png", "-o", target).output


def test_a_slash_at_the_end_of_the_output_means_a_folder_which_is_created(tmp_path: Path) -> None:
    target = f"{tmp_path / 'new' / 'texts'}/"
    assert "give --format" in invoke(PAGES / "tiny.png", "-o", target).output
    assert invoke(PAGES / "tiny.png", "-o", target, "--format", "text").exit_code == 0
    assert [file.name for file in Path(target).iterdir()] == ["tiny.txt"]
    done = invoke(PAGES / "tiny.png", "-o", f"{PAGES / 'sign.png'}/", "--format", "text")
    assert done.exit_code == 1
    assert "cannot be written" in done.stderr


def test_output_may_replace_the_input(tmp_path: Path) -> None:
    file = tmp_path / "scan.pdf"
    with PIL.Image.open(PAGES / "tiny.png") as picture:
        picture.convert("RGB").save(file)
    before = file.stat().st_size
    assert invoke(file, "-o", file).exit_code == 0
    assert file.stat().st_size > before
    assert invoke(tmp_path / "missing.png", "-o", file).exit_code == 1
    assert file.read_bytes().startswith(b"%PDF-")
    assert [each.name for each in tmp_path.iterdir()] == ["scan.pdf"]


def test_a_mistyped_boolean_is_not_taken_for_a_file() -> None:
    result = invoke(PAGES / "tiny.png", "--use_textline_orientation", "Flase")
    assert result.exit_code == 2
    assert "'Flase' is no file: the value of a boolean option is True or False" in result.stderr


def test_a_file_in_place_of_a_command_is_answered_with_the_command() -> None:
    result = CliRunner().invoke(main, [str(PAGES / "tiny.png")])
    assert result.exit_code == 2
    assert "did you mean 'ocr-onnx run " in result.stderr


def test_a_profile_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    result = invoke(PAGES / "tiny.png", "--profile", tmp_path / "none" / "trace.json")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "its folder does not exist" in result.stderr


def test_cuda_is_answered_with_the_name_of_the_device() -> None:
    assert "an NVIDIA GPU is 'gpu'" in invoke(PAGES / "tiny.png", "--device", "cuda").stderr


def test_a_large_image_that_is_allowed_has_no_warning_of_pillow(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    with PIL.Image.open(PAGES / "tiny.png") as picture:
        pixels = picture.width * picture.height
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", pixels * 2 // 3)
    done = invoke(PAGES / "tiny.png", "--max_megapixels", pixels / 1e6)
    assert done.exit_code == 0
    assert [str(each.message) for each in recwarn if "exceeds limit" in str(each.message)] == []
