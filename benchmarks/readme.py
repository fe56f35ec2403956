"""Write the table of models in README.md, from model_zoo.yaml: python -m benchmarks.readme."""

from __future__ import annotations

from pathlib import Path

from benchmarks import records
from ocr_onnx.models import zoo
from ocr_onnx.models.zoo import ModelSpec

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- models: make readme -->\n", "<!-- end -->\n"

KINDS = {
    "text_detection": "detection",
    "text_recognition": "recognition",
    "doc_orientation": "page orientation",
    "textline_orientation": "line orientation",
    "image_unwarping": "unwarping",
}


def row(spec: ModelSpec) -> str:
    """The row of one model."""
    shown = ", ".join(spec.languages[:4]) + (", …" if len(spec.languages) > 4 else "")
    size = "" if spec.size is None else f"{spec.size:g}"
    accuracy = "" if spec.accuracy is None else f"{spec.accuracy:g}"
    source = "embedded" if spec.embedded else "`pull`" if spec.mirrors_complete else "`pull --accept-new`"
    return f"| {spec.name} | {KINDS[spec.task]} | {shown} | {size} | {accuracy} | {source} | {spec.verified} |"


def table() -> str:
    """The table of all models."""
    head = "| model | task | `lang` | MB | published accuracy | availability | compared with Paddle |"
    return "\n".join([head, "|---|---|---|--:|--:|---|---|", *map(row, zoo.models().values()), ""])


def updated(text: str) -> str:
    """README.md with the present table."""
    return records.with_part(text, BEGIN, f"\n{table()}\n", END)


if __name__ == "__main__":
    README.write_text(updated(README.read_text("utf-8")), "utf-8")
