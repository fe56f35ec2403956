"""What the documents say is what the sources say."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import PAGES

import ocr_onnx
from benchmarks import api, readme
from ocr_onnx import PaddleOCR
from ocr_onnx.cli.main import main
from ocr_onnx.cli.run import run
from ocr_onnx.models import zoo
from ocr_onnx.paddle import parameters as parameters_module

TEXT = readme.README.read_text("utf-8")
MIGRATION = (api.PAGE.parent / "migrating-from-paddleocr.md").read_text("utf-8")
PAGES_OF_TEXT = [readme.README, readme.README.parent / "CHANGELOG.md", *sorted(api.PAGE.parent.glob("*.md"))]
COMMANDS = re.findall(r"ocr-onnx ((?:models )?[a-z]+)", TEXT)


def test_the_table_of_models_is_up_to_date() -> None:
    assert readme.updated(TEXT) == TEXT, "make readme"


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_every_command_in_the_readme_exists(command: str) -> None:
    assert CliRunner().invoke(main, [*command.split(), "--help"]).exit_code == 0


@pytest.mark.parametrize("page", PAGES_OF_TEXT, ids=lambda p: p.name)
def test_every_file_that_a_document_names_is_there(page: Path) -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES_OF_TEXT, ids=lambda p: p.name)
def test_no_document_keeps_two_versions_of_a_passage(page: Path) -> None:
    assert not re.search(r"^(<{7}|={7}|>{7})( |$)", page.read_text("utf-8"), re.MULTILINE)


def test_every_heading_that_a_document_names_is_there() -> None:
    headings = {title.lower().replace(" ", "-") for title in re.findall(r"^##+ (.*)$", MIGRATION, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", MIGRATION)) <= headings


def test_the_python_of_the_readme_compiles_and_imports_what_there_is() -> None:
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        compile(block, "README.md", "exec")
        for line in block.splitlines():
            if line.startswith("from ocr_onnx"):
                exec(line, {})  # noqa: S102


def test_every_option_in_the_readme_exists() -> None:
    known = {option for parameter in run.params for option in parameter.opts}
    for line in re.findall(r"ocr-onnx run (.*)", TEXT):
        assert set(re.findall(r"--[a-z_-]+", line)) <= known, line


def test_every_model_of_a_version_has_a_record_with_a_licence() -> None:
    assert all(spec.licence and spec.verified for spec in zoo.models().values())


def test_what_was_compared_with_paddle_is_on_record() -> None:
    rows = (readme.README.parent / "docs" / "models-verified.md").read_text("utf-8")
    weights = dict(reversed(re.findall(r"^\| (\S+) \| (\w+)", rows, re.MULTILINE)))
    claimed = {spec.name: spec.verified for spec in zoo.models().values() if spec.verified != "none"}
    assert claimed == {name: kind for name, kind in weights.items() if name in zoo.models()}


def test_the_page_of_names_is_up_to_date() -> None:
    assert api.PAGE.read_text("utf-8") == api.page(), "make api"


def test_every_public_name_is_on_that_page() -> None:
    listed = {place.partition(".")[2] for places in api.SECTIONS.values() for place in places}
    assert set(ocr_onnx.__all__) - listed == {"__version__", "OCRError"}
    for name in ocr_onnx.__all__:
        assert name == "__version__" or getattr(ocr_onnx, name).__doc__


ROWS = re.findall(
    r"^\| `(\w+)` \| (yes|only|) ?\| (same|differs|no effect|ours) \| ?(.*?) ?\|$", MIGRATION, re.MULTILINE
)


def parameters(method: str) -> set[str]:
    return set(inspect.signature(getattr(PaddleOCR, method)).parameters) - {"self", "others"}


def test_every_parameter_is_in_the_table_of_what_differs_from_paddleocr() -> None:
    names = [name for name, *_ in ROWS]
    old, idle = set(parameters_module.DEPRECATED), set(parameters_module.WITHOUT_EFFECT)
    assert set(names) == parameters("__init__") | parameters("predict") | old | idle
    assert len(names) == len(set(names))


def test_the_table_says_what_a_call_takes_what_is_old_and_what_has_no_effect() -> None:
    assert {name for name, call, *_ in ROWS if call} == parameters("predict") == parameters("predict_iter")
    assert {name for name, _, here, _ in ROWS if here == "no effect"} == set(parameters_module.WITHOUT_EFFECT) - {
        "enable_hpi"
    }, "which has one with the pipeline, and none with a single model"
    old = {name: text.partition("deprecated: ")[2].strip("`") for name, *_, text in ROWS if "deprecated" in text}
    assert old == parameters_module.DEPRECATED


def test_every_key_of_a_result_is_in_the_table() -> None:
    page = PaddleOCR(return_word_box=True).predict(str(PAGES / "tiny.png"))[0]
    section = MIGRATION.partition("## Results")[2].partition("## Inputs")[0]
    assert set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", section, re.MULTILINE)))) == {
        *page,
        "vis_fonts",
    }
