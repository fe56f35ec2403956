"""Which models are faster on OpenVINO than on ONNX Runtime on this machine's CPU, as `ocr-onnx build --device cpu` measured it."""

from __future__ import annotations

import dataclasses
import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocr_onnx.errors import ModelError
from ocr_onnx.models import store, zoo
from ocr_onnx.runtime import backend, openvino
from ocr_onnx.runtime.provider_specs import OPENVINO
from ocr_onnx.runtime.providers import Provider
from ocr_onnx.runtime.threads import cpu_count
from ocr_onnx.types import MAX_DIFFERING_SHARE, Difference

logger: logging.Logger = logging.getLogger(__name__)

FILE = "cpu_backends.json"
"""The file in the folder of models."""

PRECISION = "INFERENCE_PRECISION_HINT"

MIN_GAIN = 1.05
"""OpenVINO is chosen if ONNX Runtime takes more than this multiple of its time: a smaller gain is within the noise."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The computation of one model on the sample page by both libraries."""

    model: str
    onnxruntime: float
    openvino: float
    """Processor time is shared by other programs, so these are the shortest of several wall-clock times, in seconds."""
    differing: int
    decisions: int

    @property
    def chosen(self) -> bool:
        """Whether the model runs on OpenVINO in high-performance mode."""
        share = Difference(self.differing, self.decisions).share
        return share <= MAX_DIFFERING_SHARE and self.onnxruntime > MIN_GAIN * self.openvino

    def __str__(self) -> str:
        return (
            f"{self.model}: ONNX Runtime {1000 * self.onnxruntime:.0f} ms, OpenVINO {1000 * self.openvino:.0f} ms; {self.differing} of "
            f"{self.decisions} decisions differ; runs on {OPENVINO if self.chosen else 'ONNX Runtime'}"
        )


def provider() -> Provider:
    """Return OpenVINO for high-performance mode: in bfloat16 if the processor has instructions for it, else in float32."""
    return Provider(OPENVINO, {} if openvino.has_bfloat16() else {PRECISION: "f32"})


def may_run(model: str) -> bool:
    """Return whether a model may run on OpenVINO: not in bfloat16 if that is known to lose text (the field bf16 of the zoo)."""
    spec = zoo.models().get(model)
    return spec is None or spec.bf16 or not openvino.has_bfloat16()


def keep(measured: Sequence[Measurement]) -> Path:
    """Store measurements in place of former ones of the same models on this machine; return the path of the file."""
    models = {each.model: each for each in (*kept(), *measured)}
    content = {"machine": machine(), "models": [dataclasses.asdict(each) for each in models.values()]}
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, FILE)
        made.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        return store.move_into_place(made, store.home() / FILE)


def chosen() -> tuple[tuple[str, ...], bool]:
    """Return the names of the models for OpenVINO in high-performance mode, and whether one of all models was measured.

    Models that were not measured run on OpenVINO if the processor has bfloat16 and they keep their accuracy in it.
    """
    measured = {each.model: each.chosen for each in kept()} if openvino.is_installed() else {}
    usual = {name: spec.bf16 and openvino.has_bfloat16() for name, spec in zoo.models().items()}
    return tuple(sorted(name for name, yes in (usual | measured).items() if yes)), bool(measured)


def kept() -> tuple[Measurement, ...]:
    """Return the measurements for this machine and the installed versions.

    Raises ModelError if the file is damaged.
    """
    path = store.home() / FILE
    try:
        content = json.loads(path.read_bytes())
        if content["machine"] != machine():
            logger.info("%s is of another machine or of other versions: run 'ocr-onnx build --device cpu' again", path)
            return ()
        return tuple(Measurement(**each) for each in content["models"])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} cannot be read ({error}): run 'ocr-onnx build --device cpu' again, or delete it"
        ) from error


def machine() -> Mapping[str, Any]:
    """Return what the measurements depend on."""
    from importlib.metadata import version

    return {
        "processor": openvino.processor_model(),
        "cores": cpu_count(),
        "onnxruntime": backend.onnxruntime().__version__,
        "openvino": version("openvino"),
    }
