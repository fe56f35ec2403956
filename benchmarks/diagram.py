"""Write the diagram of imports in docs/architecture.md, from the source: python -m benchmarks.diagram."""

from __future__ import annotations

import ast
from pathlib import Path

from benchmarks import records

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ocr_onnx"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- diagram: make diagram -->\n", "<!-- end of diagram -->\n"

Imports = dict[str, set[str]]
"""The modules below a package that each module imports, by dotted names without the package's own."""


def module_files(package: Path) -> dict[str, Path]:
    """The files of a package by the dotted names of their modules."""
    files = {path: path.relative_to(package).with_suffix("").parts for path in package.rglob("*.py")}
    return {".".join(parts).removesuffix(".__init__"): path for path, parts in files.items()}


def imported(path: Path, known: set[str]) -> set[str]:
    """The modules of ocr_onnx that a file imports, including deferred imports and those for the type checker."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {
                alias.name.removeprefix("ocr_onnx.") for alias in node.names if alias.name.startswith("ocr_onnx.")
            }
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ocr_onnx":
            base = str(node.module).removeprefix("ocr_onnx").removeprefix(".")
            names = [f"{base}.{alias.name}".removeprefix(".") for alias in node.names]
            found |= {name if name in known else base for name in names}
    return {name for name in found if name in known}


def all_imports(package: Path) -> Imports:
    """The imports of every module of a package."""
    files = module_files(package)
    return {module: imported(path, set(files)) - {module} for module, path in files.items()}


def by_package(imports: Imports) -> Imports:
    """The imports between packages and top-level modules; without ocr_onnx/__init__.py, which may import every public name."""
    found: Imports = {}
    for module, others in imports.items():
        top = module.split(".")[0]
        if not top.startswith("__"):
            found.setdefault(top, set()).update({other.split(".")[0] for other in others} - {top})
    return found


def reachable(imports: Imports, start: str) -> set[str]:
    """The packages that one imports, directly or through others."""
    found: set[str] = set()
    rest = list(imports[start])
    while rest:
        name = rest.pop()
        if name not in found:
            found.add(name)
            rest += imports[name]
    return found


def reduced(imports: Imports) -> Imports:
    """The same without imports that a path through another package implies. Raises ValueError if there is a cycle."""
    closed = {name: reachable(imports, name) for name in imports}
    cyclic = sorted(name for name, found in closed.items() if name in found)
    if cyclic:
        raise ValueError(f"packages import each other in a cycle: {', '.join(cyclic)}")
    return {
        name: {other for other in others if not any(other in closed[between] for between in others - {other})}
        for name, others in imports.items()
    }


def mermaid(imports: Imports) -> str:
    """A Mermaid flowchart; an arrow leads from a package to one that it imports."""
    arrows = [f"    {name} --> {other}" for name, others in sorted(imports.items()) for other in sorted(others)]
    return "\n".join(["```mermaid", "flowchart TD", *arrows, "```", ""])


def updated(text: str) -> str:
    """docs/architecture.md with the present diagram."""
    chart = mermaid(reduced(by_package(all_imports(PACKAGE))))
    return records.with_part(text, BEGIN, f"\n{chart}\n", END)


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text("utf-8")), "utf-8")
