"""Write model repositories for NVIDIA's Triton Inference Server: model files, each with its config.pbtxt.

Pre- and postprocessing stay in Python: docs/deploying.md shows how the pipeline calls a Triton server.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ocr_onnx.errors import ModelError
from ocr_onnx.models import store, zoo
from ocr_onnx.models.metadata import ModelMetadata, Task
from ocr_onnx.runtime.model_check import read_model
from ocr_onnx.runtime.model_file import model_for_device
from ocr_onnx.runtime.session import Session

BATCHES: dict[Task, int] = {"text_recognition": 32, "textline_orientation": 32, "doc_orientation": 8}
"""Maximum batch sizes. For detection it is 1: one page fills a device, and several need too much memory."""

DELAY = 500
"""Microseconds that Triton waits for more inputs of the same size."""

TYPES = {"tensor(float)": "TYPE_FP32", "tensor(float16)": "TYPE_FP16", "tensor(int64)": "TYPE_INT64"}
"""ONNX Runtime's names of types, and Triton's."""


def embedded() -> list[str]:
    """Return the names of the embedded models."""
    return [spec.name for spec in zoo.models().values() if spec.embedded]


def export(names: Iterable[str], repository: Path) -> list[Path]:
    """Write models, by name or path, to a repository, replacing models of the same name; return their folders.

    Raises ModelNotFoundError or ModelError if an argument is no model with metadata, OutputError if writing fails.
    """
    folders = []
    for name in names:
        path = store.find(name)
        session = Session(path)
        metadata = ModelMetadata.from_properties(session.properties, str(path))
        folder = repository / metadata.name
        with store.writing(folder):
            (folder / "1").mkdir(parents=True, exist_ok=True)
            # Triton does not read our replacements for CPUs, and would pass denormal weights to ONNX Runtime.
            (folder / "1" / "model.onnx").write_bytes(model_for_device(read_model(path), on_cpu=False))
            (folder / "config.pbtxt").write_text(config(session, metadata), "utf-8")
        folders.append(folder)
    return folders


def config(session: Session, metadata: ModelMetadata) -> str:
    """Return a model's configuration in protobuf's text format. A dynamic batch axis is not part of `dims`."""
    shapes = [argument.shape for argument in (*session.inputs, *session.outputs)]
    free = not any(isinstance(shape[0], int) for shape in shapes)
    most = BATCHES.get(metadata.task, 1) if free else 0
    batching = f"dynamic_batching {{ max_queue_delay_microseconds: {DELAY} }}\n" if most > 1 else ""
    return (
        f"name: {json.dumps(metadata.name)}\n"
        'backend: "onnxruntime"\n'
        f"max_batch_size: {most}\n"
        f"{_tensors('input', session.inputs, int(free))}{_tensors('output', session.outputs, int(free))}{batching}"
    )


def _tensors(kind: str, arguments: Sequence[Any], skipped: int) -> str:
    """Return the inputs or the outputs; dynamic axes are -1."""
    lines = []
    for argument in arguments:
        if argument.type not in TYPES:
            raise ModelError(f"{argument.name} is a {argument.type}: Triton is given {', '.join(TYPES)}")
        dims = ", ".join(str(side if isinstance(side, int) else -1) for side in argument.shape[skipped:])
        lines.append(
            f"{kind} {{ name: {json.dumps(argument.name)} data_type: {TYPES[argument.type]} dims: [{dims}] }}\n"
        )
    return "".join(lines)
