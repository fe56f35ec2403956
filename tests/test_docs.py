"""What the documents say is what the sources say."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name

import pytest
import yaml
from click.testing import CliRunner
from conftest import PAGES

import ocr_onnx
from benchmarks import option_tables, readme
from ocr_onnx import PaddleOCR
from ocr_onnx.cli.main import main
from ocr_onnx.cli.run import run
from ocr_onnx.cli.serve import serve
from ocr_onnx.models import zoo
from ocr_onnx.paddle import parameters as parameters_module
from ocr_onnx.service.settings import Settings

ROOT = readme.README.parent
DOCS = ROOT / "docs"
TEXT = readme.README.read_text("utf-8")
MIGRATION = (DOCS / "migrating-from-paddleocr.md").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md")), *sorted((ROOT / "benchmarks").rglob("*.md"))]
COMMANDS = {
    command
    for page in DOCUMENTS
    for command in re.findall(r"(?:^    |`)ocr-onnx ((?:models )?[a-z][a-z-]*)", page.read_text("utf-8"), re.MULTILINE)
}
PARAPHRASES = "on their heads|as it comes|could not be had|cannot be had|to be had|what there is"


@pytest.mark.parametrize("name", ["options.md", "scaling.md", "serving.md"])
def test_the_tables_of_options_are_up_to_date(name: str) -> None:
    text = (DOCS / name).read_text("utf-8")
    assert option_tables.updated(name, text) == text, "make options-tables"


def test_every_setting_of_the_service_is_an_option_of_the_command() -> None:
    known = {str(parameter.name) for parameter in serve.params}
    fields = {field.name for field in dataclasses.fields(Settings)}
    assert fields - known == {"max_output_size"}, "which a pipeline file sets"


def test_usage_lists_the_extras_and_the_environment_variables_of_the_package() -> None:
    extras, variables = (
        {name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
        for section in (DOCS / "usage.md").read_text("utf-8").split("\n## ")[-2:]
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert extras == project["optional-dependencies"].keys()
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "ocr_onnx").rglob("*.py"))
    assert set(re.findall(r"\b(?:OCR_ONNX|SSL|ORT_DISABLE)_[A-Z_]+\b", sources)) == variables - {"HTTPS_PROXY"}


def test_the_table_of_models_is_up_to_date() -> None:
    assert readme.updated(TEXT) == TEXT, "make readme"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_in_the_documents_exists(command: str) -> None:
    assert CliRunner().invoke(main, [*command.split(), "--help"]).exit_code == 0


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda p: p.name)
def test_every_file_that_a_document_names_is_there(page: Path) -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda p: p.name)
def test_no_document_keeps_two_versions_of_a_passage(page: Path) -> None:
    assert not re.search(r"^(<{7}|={7}|>{7})( |$)", page.read_text("utf-8"), re.MULTILINE)


def headings(page: Path) -> set[str]:
    """The anchors of a page."""
    titles = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda p: p.name)
def test_every_heading_that_a_document_names_is_there(page: Path) -> None:
    for file, anchor in re.findall(r"\]\((?!http)([^)#]*)#([^)]+)\)", page.read_text("utf-8")):
        assert anchor in headings(page.parent / file if file else page), f"{file}#{anchor}"


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda p: p.name)
def test_documents_use_the_terms_of_the_field(page: Path) -> None:
    assert re.findall(PARAPHRASES, page.read_text("utf-8"), re.IGNORECASE) == []


@pytest.fixture(scope="module")
def published() -> str:
    """README.md as a package index shows it."""
    command = [sys.executable, "-m", "hatchling", "metadata"]
    text: str = json.loads(subprocess.check_output(command, cwd=ROOT))["readme"]["text"]
    return text


def test_links_and_pictures_on_a_package_index_lead_to_the_repository(published: str) -> None:
    source = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Source"]
    raw = source.replace("https://github.com/", "https://raw.githubusercontent.com/")
    version = f"v{ocr_onnx.__version__}"
    for mark, link in re.findall(r"(!?)\[[^\]]*\]\((.*?)\)", TEXT):
        expected = f"{raw}/{version}/{link}" if mark else f"{source}/blob/{version}/{link}"
        assert f"]({link if link.startswith('https:') else expected})" in published


TARGETS = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))


def test_contributing_lists_every_make_target() -> None:
    listed = set(re.findall(r"make ([a-z][a-z0-9-]*)", (ROOT / "CONTRIBUTING.md").read_text("utf-8")))
    assert TARGETS - {"all"} <= listed <= TARGETS


def test_the_workflows_call_make_targets_that_exist() -> None:
    ci = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    assert (
        {"check", "test-all", "site", "check-wheel"}
        <= set(ci["jobs"]["make"]["strategy"]["matrix"]["target"])
        <= TARGETS
    )
    release = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    assert set(re.findall(r"run: make ([a-z-]+)", release)) == {"check-wheel", "sbom"}


@pytest.mark.parametrize(
    "page",
    [readme.README, DOCS / "usage.md", DOCS / "models.md", DOCS / "options.md", DOCS / "scaling.md"],
    ids=lambda p: p.name,
)
def test_the_python_of_a_document_compiles_and_imports_existing_names(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        compile(block, page.name, "exec")
        for module, names in re.findall(r"^from (ocr_onnx[\w.]*) import ([\w, ]+\w)", block, re.MULTILINE):
            lacking = [name for name in re.split(r",\s*", names) if not hasattr(import_module(module), name)]
            assert lacking == [], module


def test_every_dotted_name_in_the_documents_exists() -> None:
    # The changelog has names of older versions.
    text = "".join(page.read_text("utf-8") for page in DOCUMENTS if page.name != "CHANGELOG.md")
    for name in set(re.findall(r"\bocr_onnx(?:\.[A-Za-z_]\w*)+", text)):
        if not name.startswith("ocr_onnx.integrations"):  # they need the packages of other programs
            assert resolve_name(name) is not None


def test_every_option_of_run_in_the_documents_exists() -> None:
    known = {option for parameter in run.params for option in parameter.opts}
    text = "".join(page.read_text("utf-8") for page in DOCUMENTS)
    for line in re.findall(r"^    ocr-onnx run ([^#\n]*)", text, re.MULTILINE):
        assert set(re.findall(r"--[a-z_-]+", line)) <= known, line


def test_every_model_of_a_version_has_a_record_with_a_licence() -> None:
    assert all(spec.licence and spec.verified for spec in zoo.models().values())


def test_what_was_compared_with_paddle_is_on_record() -> None:
    rows = (DOCS / "models-verified.md").read_text("utf-8")
    weights = dict(reversed(re.findall(r"^\| (\S+) \| (\w+)", rows, re.MULTILINE)))
    claimed = {spec.name: spec.verified for spec in zoo.models().values() if spec.verified != "none"}
    assert claimed == {name: kind for name, kind in weights.items() if name in zoo.models()}


def test_every_public_name_is_in_the_api_reference_and_has_a_docstring() -> None:
    listed = re.findall(r"^::: ocr_onnx\.(\w+)$", (DOCS / "reference.md").read_text("utf-8"), re.MULTILINE)
    assert set(ocr_onnx.__all__) - set(listed) == {"__version__"}
    for name in listed:
        if name in ocr_onnx.__all__:
            assert getattr(ocr_onnx, name).__doc__


ROWS = re.findall(
    r"^\| `(\w+)` \| (yes|only|) ?\| (same|differs|no effect|ours) \| ?(.*?) ?\|$", MIGRATION, re.MULTILINE
)


def parameters(method: str) -> set[str]:
    return set(inspect.signature(getattr(PaddleOCR, method)).parameters) - {"self", "others"}


def test_every_parameter_is_in_the_table_of_what_differs_from_paddleocr() -> None:
    names = [name for name, *_ in ROWS]
    old, idle = set(parameters_module.DEPRECATED), set(parameters_module.WITHOUT_EFFECT)
    engines = set(parameters_module.TENSORRT)
    assert set(names) == parameters("__init__") | parameters("predict") | old | idle | engines
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
