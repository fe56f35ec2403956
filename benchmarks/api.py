"""Writes docs/api.md from the docstrings of the public names: python -m benchmarks.api."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import ocr_onnx

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"

HEAD = """\
# The names of `ocr_onnx`

Made of the docstrings by `make api`. Names without a module in front are imported from `ocr_onnx`."""

SECTIONS = {
    "The pipeline": ("pipeline.OCR", "pipeline.Models"),
    "Options": (
        "pipeline.OCROptions",
        "inputs.InputOptions",
        "detection.DetectionOptions",
        "recognition.RecognitionOptions",
        "orientation.PageOrientationOptions",
        "orientation.LineOrientationOptions",
    ),
    "Inputs": ("sources.Source", "sources.Readable"),
    "Results": (
        "results.OCRResult",
        "types.TextLine",
        "types.TextBox",
        "types.Word",
        "types.Text",
        "types.Columns",
        "types.Orientation",
        "types.Page",
        "types.Image",
        "types.Quad",
    ),
    "The drop-in class": ("paddleocr.PaddleOCR", "paddleocr.Result"),
    "Single models": (
        "modules.TextDetection",
        "modules.TextRecognition",
        "modules.DocImgOrientationClassification",
        "modules.TextLineOrientationClassification",
        "modules.TextImageUnwarping",
        "modules.Module",
        "modules.Common",
        "modules.DetectionParameters",
        "modules.ModuleResult",
    ),
}
"""The names by what they are for, each with the module that it is defined in; errors come last."""

WITHOUT_WORD = {"ABC", "NamedTuple", "Protocol", "TypedDict"}
"""Bases of which the page says nothing."""

WIDTH = 100

QUOTES = "'"
"""Around a type that names what is defined below it."""

Definition = ast.ClassDef | ast.FunctionDef
Described = tuple[ast.stmt, str]
"""A statement, and its docstring: inside it, or as a string after it."""


@cache
def module(name: str) -> ast.Module:
    """A module of the package."""
    return ast.parse((ROOT / "ocr_onnx" / f"{name}.py").read_text("utf-8"))


def described(body: list[ast.stmt]) -> Iterator[Described]:
    """Each statement of a module or a class with what is said of it."""
    for statement, following in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(statement, ast.FunctionDef) and decorated(statement, "overload"):
            continue
        if isinstance(statement, Definition):
            yield statement, ast.get_docstring(statement) or ""
        elif isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            yield statement, ast.get_docstring(ast.Module([following], [])) or ""
        else:
            yield statement, ""


def name_of(statement: ast.stmt) -> str:
    """What a class, a function or an annotated field is called; empty for other statements."""
    if isinstance(statement, Definition):
        return statement.name
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return statement.target.id
    return ""


def signature(function: ast.FunctionDef, name: str) -> str:
    """A call as it is written, over several lines where one is too long."""
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + given.defaults
    parts = [argument(*pair) for pair in zip(positional, defaults, strict=True) if pair[0].arg not in {"self", "cls"}]
    parts += ["*"] if given.kwonlyargs else []
    parts += [argument(*pair) for pair in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    parts += [f"**{ast.unparse(given.kwarg)}"] if given.kwarg else []
    returns = "" if function.returns is None or function.name == "__init__" else f" -> {ast.unparse(function.returns)}"
    line = f"{name}({', '.join(parts)}){returns}"
    return line if len(line) <= WIDTH else f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){returns}"


def argument(given: ast.arg, default: ast.expr | None) -> str:
    """A parameter with its type and what it is where it is not given."""
    return ast.unparse(given) + ("" if default is None else f" = {ast.unparse(default)}")


def field(statement: ast.AnnAssign) -> str:
    """A field of a record with its type and default."""
    value: ast.expr | None = statement.value
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "field":
        options = {keyword.arg: keyword.value for keyword in value.keywords}
        factory = options.get("default_factory")
        value = options.get("default") if factory is None else ast.Call(factory, [], [])
    return f"{name_of(statement)}: {ast.unparse(statement.annotation)}" + (
        "" if value is None else f" = {ast.unparse(value)}"
    )


def point(title: str, text: str) -> str:
    """A field or a property in a list."""
    return f"- `{title}`" + (f": {textwrap.indent(text, '  ').lstrip()}" if text else "")


def decorated(function: ast.FunctionDef, name: str) -> bool:
    """Whether it has a decorator of this name."""
    return any(ast.unparse(decorator) == name for decorator in function.decorator_list)


def members(node: ast.ClassDef) -> Iterator[str]:
    """The public fields and properties of a class in one list, then its methods."""
    public = [(s, text) for s, text in described(node.body) if name_of(s) and not name_of(s).startswith("_")]
    points = [point(field(s), text) for s, text in public if isinstance(s, ast.AnnAssign)]
    functions = [(s, text) for s, text in public if isinstance(s, ast.FunctionDef)]
    points += [
        point(f"{s.name}: {ast.unparse(s.returns)}", t) for s, t in functions if decorated(s, "property") and s.returns
    ]
    yield "\n".join(points)
    for function, text in functions:
        if not decorated(function, "property"):
            yield f"{code(signature(function, f'.{function.name}'))}\n\n{text}"


def union(name: str, types: str) -> str:
    """A name for types, over several lines where one is too long, as the formatter has it."""
    line, lines = f"{name} = {types}", types.replace(" | ", "\n    | ")
    return line if len(line) <= WIDTH else f"{name} = (\n    {lines}\n)"


def code(text: str) -> str:
    """Python in Markdown."""
    return f"```python\n{text}\n```"


def class_entry(home: str, node: ast.ClassDef) -> Iterator[str]:
    """How it is made, what it is, what it has; of a private base what it says and how it is made."""
    texts = [ast.get_docstring(node) or ""]
    constructor = next((s for s in node.body if name_of(s) == "__init__"), None)
    bases = [ast.unparse(base) for base in node.bases]
    for base in bases:
        private = find(home, base)[0] if base.startswith("_") else None
        if isinstance(private, ast.ClassDef):
            texts.append(ast.get_docstring(private) or "")
            constructor = next((s for s in private.body if name_of(s) == "__init__"), constructor)
            bases = [ast.unparse(each) for each in private.bases]
    if isinstance(constructor, ast.FunctionDef) and not node.name.endswith("Result"):
        yield code(signature(constructor, node.name))
    yield from texts
    if shown := [f"`{base}`" for base in bases if base not in WITHOUT_WORD]:
        yield f"It is a kind of {', '.join(shown)}."
    yield from members(node)


def find(home: str, name: str) -> Described:
    """What defines a name."""
    return next(pair for pair in described(module(home).body) if name_of(pair[0]) == name)


def entry(place: str) -> str:
    """One name: how it is made, its docstring, fields and methods."""
    home, name = place.split(".")
    statement, text = find(home, name)
    parts = [f"### {name if name in ocr_onnx.__all__ else f'ocr_onnx.{place}'}"]
    if isinstance(statement, ast.ClassDef):
        parts += class_entry(home, statement)
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        parts += [code(union(name, ast.unparse(statement.value).strip(QUOTES))), text]
    return "\n\n".join(part for part in parts if part)


def errors() -> str:
    """The tree that the module of errors begins with."""
    first, _, tree = (ast.get_docstring(module("errors")) or "").partition("\n\n")
    return f"## Errors\n\nOf the module `ocr_onnx.errors`; `OCRError` is importable from `ocr_onnx`. {first}\n\n```text\n{tree}\n```"


def page() -> str:
    """The whole of it."""
    sections = [f"## {title}\n\n" + "\n\n".join(map(entry, places)) for title, places in SECTIONS.items()]
    return "\n\n".join([HEAD, *sections, errors()]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
