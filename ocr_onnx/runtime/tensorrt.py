"""TensorRT engines: models compiled for one type of GPU. Building one takes minutes; engines are cached on disk.

A new engine is compared with the CPU before it is used: lower precision may lose text.
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
from ocr_onnx.models import store, zoo
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
from ocr_onnx.types import MAX_DIFFERING_SHARE, Difference, Run

logger: logging.Logger = logging.getLogger(__name__)

Compare: TypeAlias = Callable[[Run, Run, ModelMetadata, batching.Shapes, int], Difference]
"""Compares an engine with the CPU in the given shapes, for pages with sides of at most so many pixels
(stages.calibration.difference)."""

COMPILERS = compilers()

COMPARED = "compared.json"
"""The file in an engine's folder that contains the result of its comparison with the CPU. Without it, an engine is not used."""

PRECISIONS = {"trt_fp16_enable": "fp16", "trt_bf16_enable": "bf16", "trt_int8_enable": "int8"}
"""TensorRT's options for precisions below float32. Only the user sets them."""


@dataclass(frozen=True, slots=True)
class EngineKey:
    """All that an engine depends on: if one of these changes, another engine is needed."""

    graph: str
    """The sha256 of the model's file."""
    compiler: str
    version: str
    """The version of TensorRT or of the plug-in; empty if unknown."""
    gpu: str
    """The name of the GPU; empty if unknown."""
    precision: str
    profile: tuple[Shape, Shape, Shape]
    """The minimum, typical and maximum input shape."""

    @property
    def folder(self) -> str:
        """The name of the engine's folder."""
        compiler = f"{self.compiler}-{self.version or 'unknown'}"
        sizes = "-".join("x".join(map(str, shape)) for shape in self.profile)
        parts = (self.graph, compiler, self.gpu or "gpu", self.precision, sizes)
        return "_".join(re.sub(r"[^0-9A-Za-z.-]+", "-", part) for part in parts)


def load(where: Placement, path: Path, threads: int, largest: int, compare: Compare) -> Session:
    """Load a model on the placement that `placement_for` returns; compare a new engine with the CPU before keeping it.

    Raises EngineRefusedError if the engine differs too much, and the errors of Session and `placement_for`.
    """
    chosen = placement_for(where, path, largest)
    session = Session(path, chosen, threads)
    folder = _folder(chosen)
    if folder is not None and not (folder / COMPARED).exists():
        _compare(session, path, chosen, compare, (largest, folder))
    return session


def placement_for(where: Placement, path: Path, largest: int) -> Placement:
    """Return `where` with the options that its compiler needs for one model and pages of at most `largest` pixels a side.

    If there is no engine and none may be built, fall back to the next provider of `where`, or to CUDA, with a warning.
    Raises DeviceUnavailableError if neither is available. Other providers, and compilers whose cache options the user
    sets, are returned unchanged.
    """
    first, *rest = where.providers
    compiler = COMPILERS.get(first.name)
    if compiler is None or compiler.caching.keys() & first.options.keys():
        return where
    session = Session(path, masked=True)
    metadata = ModelMetadata.from_properties(session.properties, str(path))
    first = _in_its_precision(first, metadata.name)
    if not metadata.layout.limited:
        logger.info("%s runs on CUDA: pages have any size, but an engine needs size limits", metadata.name)
        return _without(where)
    profile = batching.shapes_for(where, metadata, masked=session.masked).profile_shapes(metadata, largest)
    folder = store.engines_folder() / _key(first, path, profile).folder
    if not where.build_missing and not _is_built(folder, compiler):
        return _fallback(where, metadata.name)
    folder.mkdir(parents=True, exist_ok=True)
    filled = options(compiler, folder, session.inputs[0].name, profile)
    return replace(where, providers=(Provider(first.name, filled | dict(first.options)), *rest))


def _in_its_precision(first: Provider, model: str) -> Provider:
    """Return the provider without the options of fp16 if the model loses text in fp16."""
    spec = zoo.models().get(model)
    if spec is None or spec.fp16:
        return first
    kept = {key: value for key, value in first.options.items() if PRECISIONS.get(key) != "fp16"}
    if len(kept) < len(first.options):
        logger.info("%s loses text in fp16, so its engine is in float32", model)
    return Provider(first.name, kept)


def options(compiler: Compiler, folder: Path, name: str, profile: Sequence[Shape]) -> dict[str, str]:
    """Return a compiler's options for a model: the cache in `folder`, and the `profile` of the input called `name`."""
    sizes = ["x".join(map(str, shape)) for shape in profile]
    ranges = {
        compiler.profile.format(end): f"{name}:{size}" for end, size in zip(("min", "opt", "max"), sizes, strict=True)
    }
    return {key: value.replace(ENGINE_FOLDER, str(folder)) for key, value in compiler.caching.items()} | ranges


def build_command(where: Placement) -> str:
    """Return the command that builds the engines of a placement."""
    providers = " ".join(f"--provider {each}" for each in where.providers if each.name in COMPILERS)
    return f"ocr-onnx build {providers} --mode {where.mode}"


def build_providers(device: str | None, providers: Sequence[ProviderLike]) -> list[Provider]:
    """Return the providers to build engines with, on the GPU that `device` names.

    If no `providers` are given, these are the installed compiler and CUDA. Raises OptionError if `device` is not a single
    GPU or no provider is a compiler, and DeviceUnavailableError if no compiler is installed.
    """
    wanted = Device.parse("gpu" if device is None else device)
    if wanted.kind != "gpu" or len(wanted.indices) > 1:
        raise OptionError(f"device is {device!r}: engines are built on one GPU, such as gpu or gpu:1")
    given = [provider(each) for each in providers] or _installed_compiler()
    if not {each.name for each in given} & COMPILERS.keys():
        raise OptionError(
            f"{', '.join(each.name for each in given)} cannot build engines: give {' or '.join(COMPILERS)}"
        )
    if device is None:
        return given
    number = {key: {each.device: str(wanted.indices[0])} for key, each in COMPILERS.items()}
    number[CUDA_PROVIDER] = {"device_id": str(wanted.indices[0])}
    return [Provider(each.name, number.get(each.name, {}) | dict(each.options)) for each in given]


def engine_files() -> dict[Path, int]:
    """Return the files of all engines and their sizes in bytes."""
    files = (path for path in sorted(store.engines_folder().rglob("*")) if path.is_file() and path.name != COMPARED)
    return {path: path.stat().st_size for path in files}


def comparisons() -> dict[Path, str]:
    """Return, for each engine's folder, a sentence with the result of its comparison with the CPU."""
    found = {
        path.parent: json.loads(path.read_text("utf-8")) for path in sorted(store.engines_folder().rglob(COMPARED))
    }
    return {
        folder: f"{each['model']}: {each['differing']} of {each['decisions']} decisions differ from the CPU's"
        for folder, each in found.items()
    }


def _folder(where: Placement) -> Path | None:
    """Return the engine's folder in a placement that `placement_for` returned; None if the cache is not ours."""
    first = where.providers[0]
    compiler = COMPILERS.get(first.name)
    kept = [] if compiler is None else [Path(first.options[key]) for key in compiler.caching if key in first.options]
    return next((path for path in kept if path.parent == store.engines_folder()), None)


def _is_built(folder: Path, compiler: Compiler) -> bool:
    """Whether the folder contains an engine that was compared with the CPU."""
    made = {path.name for path in folder.glob(compiler.files)} - {COMPARED}
    return bool(made) and (folder / COMPARED).exists()


def _compare(session: Session, path: Path, where: Placement, compare: Compare, at: tuple[int, Path]) -> None:
    """Compare an engine with the CPU and write COMPARED.

    Removes the engine and raises EngineRefusedError if more than MAX_DIFFERING_SHARE of the decisions differ.
    """
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
            f"the engine of {first.name} for {metadata.name} was deleted: on the sample page, {differing} of {decisions} "
            f"decisions differ from the CPU's, and the limit is {MAX_DIFFERING_SHARE:.0%}; {cure}"
        )
    record = {"model": metadata.name, "differing": differing, "decisions": decisions}
    (folder / COMPARED).write_text(json.dumps(record) + "\n", "utf-8")


def _installed_compiler() -> list[Provider]:
    """Return the installed compiler; TensorRT is followed by CUDA for the operators that it does not support.

    Raises DeviceUnavailableError with the reasons if there is none.
    """
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
    """Return the key of a model's engine on this machine."""
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
    """Return the options in PRECISIONS that are on."""
    return [key for key in PRECISIONS if first.options.get(key, "").lower() in {"1", "true"}]


def _fallback(where: Placement, model: str) -> Placement:
    """Return the placement without its compiler, and log a warning.

    Raises DeviceUnavailableError if the placement has no other GPU provider and CUDA is not available.
    """
    name = where.providers[0].name
    try:
        other = _without(where)
    except DeviceUnavailableError as error:
        raise DeviceUnavailableError(
            f"{name} has no engine for {model}, and CUDA is not available as a fallback ({error}); to build it: {build_command(where)}"
        ) from error
    used = other.providers[0].name
    logger.warning(
        "%s has no engine for %s, which runs on %s; to build it: %s", name, model, used, build_command(where)
    )
    return other


def _without(where: Placement) -> Placement:
    """Return the placement without its compiler; if only the CPU or nothing is left, CUDA on the same GPU.

    Raises DeviceUnavailableError if CUDA is needed and not available.
    """
    first, *rest = where.providers
    if rest and rest[0].name != CPU_PROVIDER:
        return replace(where, providers=tuple(rest))
    number = first.options.get(COMPILERS[first.name].device, "0")
    return replace(where, providers=selection.choose_placement(f"gpu:{number}", mode=where.mode).providers)
