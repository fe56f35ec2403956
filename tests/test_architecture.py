"""Which package may import which, and the cost of importing."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ocr_onnx
from benchmarks.diagram import PACKAGE, PAGE, Imports, all_imports, by_package, module_files, reduced, updated

LAYERS = (
    ("declarations", "errors", "installation", "options", "python_process", "types"),
    ("models",),
    ("runtime",),
    ("inputs",),
    ("stages",),
    ("converters",),
    ("outputs",),
    ("results",),
    ("pipeline",),
    ("paddle",),
    ("service", "integrations", "batch"),
    ("cli", "__main__"),
)
"""Packages and top-level modules, lowest first: each imports only from its own layer and from those before it."""

HEAVY = {"cv2", "numpy", "onnxruntime", "PIL", "pypdfium2", "onnx", "paddle", "yaml", "platformdirs"} | {
    *("fastapi", "pydantic", "starlette", "uvicorn", "prometheus_client", "ssl"),
}


def upward(imports: Imports) -> list[str]:
    """The imports that go up in LAYERS. The package's own __init__ lists the public names and may import them all."""
    layer = {name: number for number, names in enumerate(LAYERS) for name in names}
    return [
        f"{module} -> {other}"
        for module, others in sorted(imports.items())
        for other in sorted(others)
        if module != "__init__" and layer[other.split(".")[0]] > layer[module.split(".")[0]]
    ]


def mutual(imports: Imports) -> list[str]:
    """The pairs of modules that import each other."""
    return [
        f"{module} <-> {other}"
        for module, others in sorted(imports.items())
        for other in sorted(others)
        if module < other and module in imports[other]
    ]


def third_party(path: Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module.split(".")[0])
    return found


def importers(of: set[str]) -> list[str]:
    return sorted(module for module, path in module_files(PACKAGE).items() if third_party(path) & of)


def test_packages_import_only_from_layers_below_them() -> None:
    assert upward(all_imports(PACKAGE)) == []


def test_no_two_modules_import_each_other() -> None:
    assert mutual(all_imports(PACKAGE)) == []


def test_a_deferred_import_that_goes_up_is_found(tmp_path: Path) -> None:
    for name in ("stages", "cli"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "stages" / "detection.py").write_text("def f():\n    from ocr_onnx.cli import run\n", "utf-8")
    (tmp_path / "cli" / "run.py").write_text("from ocr_onnx.stages import detection\n", "utf-8")
    found = all_imports(tmp_path)
    assert upward(found) == ["stages.detection -> cli.run"]
    assert mutual(found) == ["cli.run <-> stages.detection"]


def test_the_diagram_in_the_documentation_is_up_to_date() -> None:
    assert updated(PAGE.read_text("utf-8")) == PAGE.read_text("utf-8"), "make diagram"


def test_a_cycle_of_packages_cannot_be_drawn() -> None:
    cycle = by_package(
        {"stages.a": {"outputs.b"}, "outputs.b": {"results"}, "results": {"stages.c"}, "stages.c": set()}
    )
    with pytest.raises(ValueError, match="cycle: outputs, results, stages"):
        reduced(cycle)


def test_an_import_that_a_path_implies_is_not_drawn() -> None:
    assert reduced({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}


def test_the_packages_of_the_documentation_are_those_of_the_layers() -> None:
    table = PAGE.read_text("utf-8").partition("## Packages")[2].partition("The diagram")[0]
    rows = [re.findall(r"`(\w+)`", row) for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)]
    layers = [{name for name in names if name != "__main__"} for names in LAYERS]
    assert [set(names) for names in rows] == layers


def test_the_top_of_the_package_has_at_most_eight_modules() -> None:
    assert len([path for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")]) <= 8


def test_no_module_branches_on_the_task_of_a_model() -> None:
    branch = re.compile(r"\btask (?:==|in \{)")
    found = [name for name, path in module_files(PACKAGE).items() if branch.search(path.read_text("utf-8"))]
    assert found == [], "add a field to TaskSpec (stages/tasks.py)"


def test_only_one_module_imports_onnx_runtime() -> None:
    assert importers({"onnxruntime"}) == ["runtime.backend"]


def test_only_the_process_for_paddle_imports_paddle() -> None:
    assert importers({"paddle", "paddle2onnx"}) == ["converters.paddle_process"]


def loaded_by(statement: str) -> set[str]:
    script = f"import sys; {statement}; print(); print(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", script], text=True).splitlines()[-1].split())


@pytest.mark.parametrize("statement", ["import ocr_onnx", "import ocr_onnx.converters", "import ocr_onnx.cli.main"])
def test_importing_loads_nothing_heavy(statement: str) -> None:
    assert not loaded_by(statement) & HEAVY


HELP = "from ocr_onnx.cli.main import main; main({}, standalone_mode=False)"
COMPLETION = (
    "from click.shell_completion import ShellComplete; from ocr_onnx.cli.main import main; "
    "ShellComplete(main, {}, 'ocr-onnx', '_OCR_ONNX_COMPLETE').get_completions(['run'], '--format')"
)


@pytest.mark.parametrize(
    "statement",
    [
        *(HELP.format(words) for words in (["--help"], ["run", "--help"], ["batch", "--help"], ["serve", "--help"])),
        COMPLETION,
    ],
    ids=["help", "help of run", "help of batch", "help of serve", "completion"],
)
def test_help_and_completion_load_nothing_heavy(statement: str) -> None:
    # The help shows the presets, which are in a YAML file.
    assert not loaded_by(statement) & (HEAVY - {"yaml"})


def test_what_reads_an_image_loads_nothing_for_pdfs_or_the_web() -> None:
    assert not loaded_by("import ocr_onnx.paddle.paddleocr") & {"pypdfium2", "urllib.request", "ssl", "filelock"}


def test_importing_the_package_loads_few_modules() -> None:
    ours = loaded_by("import ocr_onnx") - loaded_by("import typing, importlib")
    assert len(ours) < 10, ours


def test_importing_prints_nothing_and_changes_no_global_state() -> None:
    script = """
import logging, os, warnings, numpy as np, cv2
before = (dict(os.environ), np.get_printoptions(), cv2.getNumThreads(), list(warnings.filters), logging.root.handlers[:])
import ocr_onnx
ocr_onnx.OCR, ocr_onnx.OCRResult
after = (dict(os.environ), np.get_printoptions(), cv2.getNumThreads(), list(warnings.filters), logging.root.handlers[:])
assert before == after
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_public_name_exists() -> None:
    for name in ocr_onnx.__all__:
        assert getattr(ocr_onnx, name) is not None
    assert set(dir(ocr_onnx)) == set(ocr_onnx.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Ocr'"):
        _ = ocr_onnx.Ocr


def test_every_error_is_listed_in_the_tree_of_errors() -> None:
    from ocr_onnx import errors

    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.OCRError)]
    for error in classes:
        assert error.__name__ in str(errors.__doc__)
