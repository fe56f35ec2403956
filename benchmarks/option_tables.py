"""Write the tables of options in docs/options.md, docs/scaling.md and docs/serving.md, from their declarations: python -m benchmarks.option_tables."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic.alias_generators import to_camel

from benchmarks import records
from ocr_onnx.batch.settings import BatchOptions
from ocr_onnx.declarations import Declaration, declared_fields, shown
from ocr_onnx.options import places
from ocr_onnx.service.settings import Settings

DOCS = Path(__file__).parents[1] / "docs"
END = "<!-- end of options -->\n"


def marker(name: str) -> str:
    """The line above a generated table."""
    return f"<!-- {name}: make options-tables -->\n"


def limits(declared: Declaration, maximum: float = math.inf) -> str:
    """The values that an option may have."""
    if declared.choices:
        return ", ".join(f"`{choice}`" for choice in declared.choices)
    if declared.kind == "boolean":
        return "true, false"
    if declared.kind == "shape":
        return "3 HEIGHT WIDTH"
    low, high = declared.minimum, min(declared.maximum, maximum)
    if math.isfinite(high):
        return f"{shown(low)} to {shown(high)}"
    return f"at least {shown(low)}" if math.isfinite(low) else ""


def default_of(declared: Declaration, value: Any) -> str:
    """The default in a table; empty if the help says it."""
    return "" if value is None or declared.multiple else f"`{shown(value)}`"


def table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def pipeline_options() -> str:
    """All options of OCROptions."""
    rows = (
        (
            f"`{each.declaration.name}`",
            f"`{f'{each.group}.' if each.group else ''}{each.field}`",
            f"`{to_camel(each.declaration.name)}`" if each.declaration.request else "",
            default_of(each.declaration, each.default),
            limits(each.declaration),
            each.declaration.help,
        )
        for each in places()
    )
    return table(("option", "field of `OCROptions`", "field of a request", "default", "values", "meaning"), rows)


def request_options() -> str:
    """The options that an HTTP request may set."""
    found = (each.declaration for each in places() if each.declaration.request)
    rows = (
        (f"`{to_camel(declared.name)}`", limits(declared, declared.request_maximum), declared.help)
        for declared in found
    )
    return table(("field", "values", "meaning"), rows)


def service_options(*, limiting: bool) -> str:
    """The options of `ocr-onnx serve` that are limits, or all others."""
    found = [each for each in declared_fields(Settings) if bool(each[1].beyond) == limiting]
    heads = ("option", "default", *(("beyond it",) if limiting else ()), "meaning")
    rows = (
        (
            f"`--{declared.name}`",
            default_of(declared, each.default),
            *((declared.beyond,) if limiting else ()),
            declared.help,
        )
        for each, declared in found
    )
    return table(heads, rows)


def batch_options() -> str:
    """The options of the workers and shards of `ocr-onnx batch`."""
    rows = (
        (f"`--{declared.name}`", default_of(declared, each.default), limits(declared), declared.help)
        for each, declared in declared_fields(BatchOptions)
    )
    return table(("option", "default", "values", "meaning"), rows)


def updated(name: str, text: str) -> str:
    """A document with its present tables."""
    tables = {
        "options.md": {"pipeline options": pipeline_options()},
        "scaling.md": {"batch options": batch_options()},
        "serving.md": {
            "request options": request_options(),
            "service options": service_options(limiting=False),
            "service limits": service_options(limiting=True),
        },
    }
    for title, part in tables[name].items():
        text = records.with_part(text, marker(title), f"\n{part}\n", END)
    return text


if __name__ == "__main__":
    for page in (DOCS / "options.md", DOCS / "scaling.md", DOCS / "serving.md"):
        page.write_text(updated(page.name, page.read_text("utf-8")), "utf-8")
