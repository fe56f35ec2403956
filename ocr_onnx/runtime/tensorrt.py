"""TensorRT's engines: what a model is compiled to for one kind of GPU, which takes minutes, and is kept on disk.

One that is new is compared with the CPU first: computing in less precision may lose text.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from ocr_onnx.errors import DeviceUnavailableError, EngineRefusedError, OptionError
from ocr_onnx.models import store
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.runtime import batching, libraries, plugins, selection
from ocr_onnx.runtime.batching import Shape
from ocr_onnx.runtime.provider_specs import (
    CPU_PROVIDER,
    CUDA_PROVIDER,
    ENGINE_FOLDER,
    TENSORRT_PROVIDER,
    TENSORRT_RTX_PROVIDER,
    Compiler,
    compilers,
)
from ocr_onnx.runtime.providers import Device, Placement, Provider, ProviderLike, provider
from ocr_onnx.runtime.session import Session
from ocr_onnx.runtime.threads import cpu_count
from ocr_onnx.types import Difference, Run

logger = logging.getLogger(__name__)

Compare: TypeAlias = Callable[[Run, Run, ModelMetadata, batching.Shapes, int], Difference]
"""Compares an engine with the CPU in the given shapes, no side longer than so many pixels (stages.calibration.difference)."""

COMPILERS = compilers()

COMPARED = "compared.json"
"""In that folder: how an engine differs from the CPU. Without it an engine is not used."""

MAX_DIFFERING_SHARE = 0.02
"""The share of the decisions on the sample page in which an engine may differ from the CPU: of texts, of pixels of text, of
orientations. Where rounding as fp16 does, PP-OCRv5 mobile differs in 0.5 and 0.8 %, as bfloat16 in 13 and 6 %, which loses
text on other pages too (docs/devices.md)."""


PRECISIONS = {"trt_fp16_enable": "fp16", "trt_bf16_enable": "bf16", "trt_int8_enable": "int8"}
"""The options that have TensorRT compute in less than float32; set where the user sets them, and nowhere else."""


@dataclass(frozen=True, slots=True)
class EngineKey:
    """What an engine is good for; where one of these is another, so is the engine."""

    graph: str
    """The sha256 of the model's file."""
    compiler: str
    version: str
    """Of TensorRT, or of the plug-in; empty where it is not known."""
    gpu: str
    """Its name, empty where it is not known."""
    precision: str
    profile: tuple[Shape, Shape, Shape]
    """The least, the usual and the largest input."""

    @property
    def folder(self) -> str:
        """The name of its folder."""
        compiler = f"{self.compiler}-{self.version or 'unknown'}"
        sizes = "-".join("x".join(map(str, shape)) for shape in self.profile)
        parts = (self.graph, compiler, self.gpu or "gpu", self.precision, sizes)
        return "_".join(re.sub(r"[^0-9A-Za-z.-]+", "-", part) for part in parts)


def engines_folder() -> Path:
    """The folder of all engines."""
    return store.home() / "engines"


def load(where: Placement, path: Path, threads: int, largest: int, compare: Compare) -> Session:
    """A model on what `placement_for` says; an engine that is new is compared with the CPU, and kept where it decides alike.

    Raises EngineRefusedError where it does not, and what Session and `placement_for` raise.
    """
    chosen = placement_for(where, path, largest)
    session = Session(path, chosen, threads)
    folder = _folder(chosen)
    if folder is not None and not (folder / COMPARED).exists():
        _compare(session, path, chosen, compare, (largest, folder))
    return session


def placement_for(where: Placement, path: Path, largest: int) -> Placement:
    """`where` with the options that a compiler needs for one model, pages being at most `largest` pixels a side for it.

    Where it has no engine and may not build one, what comes after it in `where`, or CUDA; the log says so. Raises
    DeviceUnavailableError where there is neither. Other providers, and those whose cache the user keeps, stay as they are.
    """
    first, *rest = where.providers
    compiler = COMPILERS.get(first.name)
    if compiler is None or compiler.caching.keys() & first.options.keys():
        return where
    session = Session(path, masked=True)
    metadata = ModelMetadata.from_properties(session.properties, str(path))
    if metadata.task == "image_unwarping":
        logger.info("%s is left to CUDA: pages have any size, and an engine has limits", metadata.name)
        return _without(where)
    profile = batching.shapes_for(where, metadata, masked=session.masked).profile_shapes(metadata, largest)
    folder = engines_folder() / _key(first, path, profile).folder
    if not where.build_missing and not _is_built(folder, compiler):
        return _fallback(where, metadata.name)
    folder.mkdir(parents=True, exist_ok=True)
    filled = options(compiler, folder, session.inputs[0].name, profile)
    return replace(where, providers=(Provider(first.name, filled | dict(first.options)), *rest))


def options(compiler: Compiler, folder: Path, name: str, profile: Sequence[Shape]) -> dict[str, str]:
    """What a compiler is told for a model whose input has this name."""
    sizes = ["x".join(map(str, shape)) for shape in profile]
    ranges = {
        compiler.profile.format(end): f"{name}:{size}" for end, size in zip(("min", "opt", "max"), sizes, strict=True)
    }
    return {key: value.replace(ENGINE_FOLDER, str(folder)) for key, value in compiler.caching.items()} | ranges


def build_command(where: Placement) -> str:
    """What builds the engines of a placement."""
    providers = " ".join(f"--provider {each}" for each in where.providers if each.name in COMPILERS)
    return f"ocr-onnx build {providers} --mode {where.mode}"


def build_providers(device: str | None, providers: Sequence[ProviderLike]) -> list[Provider]:
    """The providers to build with: those given, on the GPU that `device` names; none given: the compiler that is here, and CUDA.

    Raises OptionError where it is no one GPU or none of them compiles, DeviceUnavailableError where none is here.
    """
    wanted = Device.parse("gpu" if device is None else device)
    if wanted.kind != "gpu" or len(wanted.indices) > 1:
        raise OptionError(f"device is {device!r}: engines are built on one GPU, such as gpu or gpu:1")
    given = [provider(each) for each in providers] or _installed_compiler()
    if not {each.name for each in given} & COMPILERS.keys():
        raise OptionError(f"{', '.join(each.name for each in given)}: engines are those of {' and '.join(COMPILERS)}")
    if device is None:
        return given
    number = {key: {each.device: str(wanted.indices[0])} for key, each in COMPILERS.items()}
    number[CUDA_PROVIDER] = {"device_id": str(wanted.indices[0])}
    return [Provider(each.name, number.get(each.name, {}) | dict(each.options)) for each in given]


def engine_files() -> dict[Path, int]:
    """The files of all engines, and their sizes in bytes."""
    files = (path for path in sorted(engines_folder().rglob("*")) if path.is_file() and path.name != COMPARED)
    return {path: path.stat().st_size for path in files}


def comparisons() -> dict[Path, str]:
    """By the folders of all engines, what became of their comparison with the CPU."""
    found = {path.parent: json.loads(path.read_text("utf-8")) for path in sorted(engines_folder().rglob(COMPARED))}
    return {
        folder: f"{each['model']}: {each['differing']} of {each['decisions']} decisions differ from the CPU's"
        for folder, each in found.items()
    }


def _folder(where: Placement) -> Path | None:
    """Where the engine is kept that a placement of `placement_for` is for; None where there is none of ours."""
    first = where.providers[0]
    compiler = COMPILERS.get(first.name)
    kept = [] if compiler is None else [Path(first.options[key]) for key in compiler.caching if key in first.options]
    return next((path for path in kept if path.parent == engines_folder()), None)


def _is_built(folder: Path, compiler: Compiler) -> bool:
    """Whether there is an engine that was compared."""
    made = {path.name for path in folder.glob(compiler.files)} - {COMPARED}
    return bool(made) and (folder / COMPARED).exists()


def _compare(session: Session, path: Path, where: Placement, compare: Compare, at: tuple[int, Path]) -> None:
    """Note how an engine differs from the CPU; remove it, and raise EngineRefusedError, where that is by more than MAX_DIFFERING_SHARE."""
    largest, folder = at
    metadata = ModelMetadata.from_properties(session.properties, str(path))
    reference = Session(path, threads=cpu_count(), masked=session.masked)
    shapes = batching.shapes_for(where, metadata, masked=session.masked)
    differing, decisions = found = compare(session, reference, metadata, shapes, largest)
    if found.share > MAX_DIFFERING_SHARE:
        shutil.rmtree(folder, ignore_errors=True)
        first = where.providers[0]
        lowered = " and ".join(_reduced_precisions(first))
        cure = f"leave out {lowered or first.name}"
        raise EngineRefusedError(
            f"{metadata.name} as {first.name} compiled it decides otherwise than on the CPU in {differing} of "
            f"{decisions} cases on the sample page, and {MAX_DIFFERING_SHARE:.0%} is the limit: it is not kept; {cure}"
        )
    record = {"model": metadata.name, "differing": differing, "decisions": decisions}
    (folder / COMPARED).write_text(json.dumps(record) + "\n", "utf-8")


def _installed_compiler() -> list[Provider]:
    """The compiler that is here, TensorRT with CUDA for what it cannot do; raises DeviceUnavailableError with why there is none."""
    reasons = []
    for name, rest in ((TENSORRT_PROVIDER, [CUDA_PROVIDER]), (TENSORRT_RTX_PROVIDER, [])):
        try:
            selection.require(name)
        except DeviceUnavailableError as error:
            reasons.append(str(error))
        else:
            return [Provider(each) for each in (name, *rest)]
    raise DeviceUnavailableError("; ".join(reasons))


def _key(first: Provider, path: Path, profile: tuple[Shape, Shape, Shape]) -> EngineKey:
    """The key of a model's engine on this machine."""
    compiler = COMPILERS[first.name]
    if first.name == TENSORRT_PROVIDER:
        version = libraries.tensorrt_version()
    else:
        version = next((each.version for each in plugins.installed() if first.name in each.providers), "")
    number = first.options.get(compiler.device, "0")
    gpu = libraries.gpu_name(int(number)) if number.isdecimal() else ""
    precision = "-".join(PRECISIONS[key] for key in _reduced_precisions(first)) or "fp32"
    return EngineKey(store.sha256(path), compiler.short, version, gpu, precision, profile)


def _reduced_precisions(first: Provider) -> list[str]:
    """Those of PRECISIONS that are on."""
    return [key for key in PRECISIONS if first.options.get(key, "").lower() in {"1", "true"}]


def _fallback(where: Placement, model: str) -> Placement:
    """The placement without its compiler; says so."""
    name = where.providers[0].name
    try:
        other = _without(where)
    except DeviceUnavailableError as error:
        raise DeviceUnavailableError(
            f"{name} has no engine for {model}, and CUDA is not there meanwhile ({error}); to build it: {build_command(where)}"
        ) from error
    meanwhile = other.providers[0].name
    logger.warning(
        "%s has no engine for %s, which runs on %s; to build it: %s", name, model, meanwhile, build_command(where)
    )
    return other


def _without(where: Placement) -> Placement:
    """What comes after the compiler, or CUDA on the same GPU where that is the CPU or nothing."""
    first, *rest = where.providers
    if rest and rest[0].name != CPU_PROVIDER:
        return replace(where, providers=tuple(rest))
    number = first.options.get(COMPILERS[first.name].device, "0")
    return replace(where, providers=selection.choose_placement(f"gpu:{number}", mode=where.mode).providers)
