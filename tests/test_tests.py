"""The rules of CONTRIBUTING.md for tests, as far as a program can check them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

FILES = sorted(Path(__file__).parent.rglob("*.py"))
TREES = {path: ast.parse(path.read_text("utf-8")) for path in FILES}
RAISING = {"raises", "warns"}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def asserts(function: ast.FunctionDef, helpers: set[str]) -> bool:
    """Whether a function has an assert, or calls a function that has one."""
    called = (ast.unparse(node.func).rpartition(".")[2] for node in ast.walk(function) if isinstance(node, ast.Call))
    return any(isinstance(node, ast.Assert) for node in ast.walk(function)) or any(
        name in helpers | RAISING or name.startswith("assert_") for name in called
    )


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_test_imports_a_test(path: Path) -> None:
    assert [name for name in imported(TREES[path]) if name.rpartition(".")[2].startswith("test_")] == []


def test_every_test_asserts_something() -> None:
    helpers = {each.name for tree in TREES.values() for each in functions(tree) if asserts(each, set())}
    helpers = {name for name in helpers if not name.startswith("test_")}
    tests = [each for tree in TREES.values() for each in functions(tree) if each.name.startswith("test_")]
    assert [test.name for test in tests if not asserts(test, helpers)] == []


def test_no_test_replaces_onnx_runtime_in_the_modules_of_python() -> None:
    pattern = re.compile(r"sys\.modules\W+onnxruntime\b")
    assert [path.name for path in FILES if pattern.search(path.read_text("utf-8"))] == []
