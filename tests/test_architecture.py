"""What may import what, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ocr_onnx

PACKAGE = Path(ocr_onnx.__file__).parent
MODULES = sorted([*PACKAGE.glob("*.py"), *PACKAGE.glob("service/*.py")])

LAYERS = [
    {
        "types",
        "errors",
        "protobuf",
        "metadata",
        "options",
        "inputs",
        "paddle_parameters",
        "profiling",
        "python_process",
    },
    {
        "geometry",
        "normalization",
        "images",
        "documents",
        "readahead",
        "denormals",
        "modelfile",
        "devices",
        "threads",
        "runtime",
        "plugins",
        "libraries",
        "causes",
        "placement",
        "shapes",
        "memory",
        "zoo",
        "store",
        "download",
        "languages",
        "fonts",
    },
    {"web"},
    {"sources"},
    {"detection", "recognition", "orientation", "unwarping", "words"},
    {"results"},
    {"calibration"},
    {"engines"},
    {"pipeline"},
    {"rendering", "exporting", "config"},
    {"converters"},
    {"pull", "triton"},
    {"paddle_results"},
    {"paddleocr", "modules"},
    {"service", "doctor"},
    {"cli_models", "cli_settings", "cli_run", "cli_doctor"},
    {"cli_serve", "cli_build"},
    {"cli", "__main__"},
]
HEAVY = {"cv2", "numpy", "onnxruntime", "PIL", "pypdfium2", "onnx", "paddle", "yaml", "platformdirs"}


def layer(module: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if module in names)


def name_of(path: Path) -> str:
    """How LAYERS names a module: those of the service have one name."""
    return path.stem if path.parent == PACKAGE else path.parent.name


def imports(path: Path, *, deferred: bool) -> set[str]:
    """The modules imported at the top of a file, or anywhere in it; those for the type checker left out."""
    tree = ast.parse(path.read_text("utf-8"))
    nodes = ast.walk(tree) if deferred else tree.body
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", [m for m in MODULES if m.stem != "__init__"], ids=lambda p: p.stem)
def test_modules_import_only_what_lies_below_them(path: Path) -> None:
    module = name_of(path)
    ours = {name.split(".")[1] for name in imports(path, deferred=False) if name.startswith("ocr_onnx.")}
    known = {name for names in LAYERS for name in names}
    for name in (ours & known) - {module}:
        assert layer(name) <= layer(module), f"{module} imports {name}"


def test_only_the_runtime_imports_onnx_runtime() -> None:
    users = [m.stem for m in MODULES if any(n.split(".")[0] == "onnxruntime" for n in imports(m, deferred=True))]
    assert users == ["runtime"]


def test_paddle_is_imported_by_its_own_process_alone() -> None:
    users = [
        path.stem
        for path in PACKAGE.rglob("*.py")
        if any(name.split(".")[0] in {"paddle", "paddle2onnx"} for name in imports(path, deferred=True))
    ]
    assert users == ["paddle_process"]


def loaded_by(statement: str) -> set[str]:
    script = f"import sys; {statement}; print(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", script], text=True).split())


@pytest.mark.parametrize("statement", ["import ocr_onnx", "import ocr_onnx.converters", "import ocr_onnx.cli.main"])
def test_importing_loads_nothing_heavy(statement: str) -> None:
    assert not loaded_by(statement) & HEAVY


def test_what_reads_a_picture_loads_nothing_for_pdfs_or_the_web() -> None:
    assert not loaded_by("import ocr_onnx.paddle.paddleocr") & {"pypdfium2", "urllib.request", "ssl", "filelock"}


def test_importing_the_package_loads_few_modules() -> None:
    ours = loaded_by("import ocr_onnx") - loaded_by("import typing, importlib")
    assert len(ours) < 10, ours


def test_importing_says_nothing_and_changes_nothing() -> None:
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


def test_what_is_exported_exists() -> None:
    for name in ocr_onnx.__all__:
        assert getattr(ocr_onnx, name) is not None
    assert set(dir(ocr_onnx)) == set(ocr_onnx.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Ocr'"):
        _ = ocr_onnx.Ocr


def test_every_error_is_documented_in_the_tree() -> None:
    from ocr_onnx import errors

    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.OCRError)]
    for error in classes:
        assert error.__name__ in str(errors.__doc__)
