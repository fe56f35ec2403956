"""Selection of the execution providers: those requested must be installed and work; else an error names cause and cure."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np

from ocr_onnx.declarations import check_text
from ocr_onnx.errors import DeviceUnavailableError, ModelError, OptionError, shortened
from ocr_onnx.installation import requirement
from ocr_onnx.models import store
from ocr_onnx.runtime import backend, cpu_backends, libraries, openvino, plugins, provider_errors, session
from ocr_onnx.runtime.provider_errors import InstalledRuntime
from ocr_onnx.runtime.provider_specs import CPU_PROVIDER, OPENVINO, TENSORRT_PROVIDER, Mode, compilers, spec_of
from ocr_onnx.runtime.providers import CPU, Device, Placement, Provider, ProviderLike, provider

logger: logging.Logger = logging.getLogger(__name__)

TRIAL_MODEL = "PP-LCNet_x1_0_textline_ori"
"""The embedded model that is run to test a provider: it is small, and consists of convolutions like all models."""

TRIAL_SHAPE = (1, 3, 10, 20)
"""The shape of the test input before it is enlarged to squares of 8 pixels. On squares, the model's score is clear (0.96); on plain
noise it is 0.50, which an error could give as well."""

TOLERANCE = 0.05
"""The largest difference between the provider's score in the test, a probability, and the CPU's. With bfloat16 it is 0.003."""


def installed_runtime() -> InstalledRuntime:
    """Return the installed ONNX Runtime."""
    ort = backend.onnxruntime()
    return InstalledRuntime(
        backend.distributions(), tuple(ort.get_available_providers()), str(getattr(ort, "cuda_version", "") or "")
    )


def choose_placement(
    device: str | None = None,
    providers: Sequence[ProviderLike] = (),
    mode: Mode = "standard",
    *,
    build_missing: bool = False,
) -> Placement:
    """Choose the execution providers for a device, as `Device.parse` reads it (None: the CPU), or given `providers`.

    `providers` are in order of preference. `auto` chooses the GPU if a model runs on it, else the CPU. `build_missing` is
    the field of Placement. Raises OptionError if both device and providers are given, or if one of them or the mode is
    invalid, and DeviceUnavailableError if a device or provider is not available.
    """
    if check_text("mode", mode) not in get_args(Mode):
        raise OptionError(f"mode is {shortened(repr(mode))}: it must be one of {', '.join(get_args(Mode))}")
    if not isinstance(providers, tuple | list):
        raise OptionError(
            f"providers is {shortened(repr(providers))}: it must be a list of names, or of pairs of a name and options"
        )
    if providers:
        if device is not None:
            raise OptionError("device and providers are both given: give one of them")
        return _of(tuple(map(provider, providers)), "asked for by name", mode, build_missing=build_missing)
    wanted = Device.parse("cpu" if device is None else device)
    if wanted.kind == "auto":
        return _automatic(mode)
    if wanted.kind == "cpu":
        return _on_cpu("the default" if device is None else f"device {device}", mode)
    reason = "the default" if device is None else f"device {device}"
    compiled = wanted.kind == "gpu" and mode == "high-performance" and _tensorrt_is_ready(build_missing)
    each = (_gpu_providers(index, compiled) if wanted.kind == "gpu" else wanted.providers() for index in wanted.indices)
    first, *others = (_of(providers, reason, mode, build_missing=build_missing) for providers in each)
    return replace(first, others=tuple(others))


def _on_cpu(reason: str, mode: Mode) -> Placement:
    """Return the CPU; in high-performance mode with OpenVINO for the models that it computes faster."""
    models, measured = ((), False) if mode == "standard" else cpu_backends.chosen()
    if measured:
        reason = f"{reason}; measured by 'ocr-onnx build'"
    if models and not openvino.is_installed():
        reason = (
            f"{reason}; for bfloat16, which this processor supports: pip install {requirement(spec_of(OPENVINO).extra)}"
        )
    if not models or not openvino.is_installed():
        return Placement(CPU.providers, reason, mode)
    precision = "bfloat16" if openvino.has_bfloat16() else "float32"
    reason = f"{reason}; in {precision}: {', '.join(models)}"
    return replace(_of((cpu_backends.provider(),), reason, mode, build_missing=False), only=models)


def _tensorrt_is_ready(build_missing: bool) -> bool:
    """Return whether TensorRT works and an engine is built, or may be."""
    if not build_missing and not any(store.engines_folder().rglob(compilers()[TENSORRT_PROVIDER].files)):
        return False
    try:
        require(TENSORRT_PROVIDER)
    except DeviceUnavailableError as error:
        logger.info("TensorRT is not used: %s", error)
        return False
    return True


def _gpu_providers(index: int, compiled: bool) -> tuple[Provider, ...]:
    """Return the execution providers of a GPU, with TensorRT first if `compiled`."""
    usual = Device("gpu", (index,)).providers()
    return (Provider(TENSORRT_PROVIDER, {"device_id": str(index)}), *usual) if compiled else usual


def try_out(placement: Placement) -> float:
    """Run a small model on a placement; return the difference of its score from the CPU's.

    Raises DeviceUnavailableError if that fails, or if the difference exceeds TOLERANCE.
    """
    path = store.find(TRIAL_MODEL)
    squares = 2 * np.random.default_rng(0).normal(size=TRIAL_SHAPE).astype(np.float32)
    picture = squares.repeat(8, axis=2).repeat(8, axis=3)
    try:
        (answer,) = session.Session(path, placement)(picture)
    except ModelError as error:
        raise DeviceUnavailableError(f"{placement.providers[0].name} cannot run {TRIAL_MODEL}: {error}") from error
    (expected,) = session.Session(path)(picture)
    difference = float(np.abs(answer - expected).max())
    if not difference <= TOLERANCE:
        raise DeviceUnavailableError(
            f"the score of {TRIAL_MODEL} on {placement.providers[0].name} differs from the CPU's by {difference:.3f}, more than "
            f"{TOLERANCE}: update the provider or its driver, or use --device cpu"
        )
    return difference


def _automatic(mode: Mode) -> Placement:
    """Return the first GPU if it works, else the CPU."""
    try:
        gpu = choose_placement("gpu", mode=mode)
        try_out(gpu)
    except DeviceUnavailableError as error:
        return _on_cpu(f"device auto: no usable GPU: {error}", mode)
    return replace(gpu, reason="device auto: a model runs on the GPU")


def _of(wanted: Sequence[Provider], reason: str, mode: Mode, *, build_missing: bool) -> Placement:
    """Return a placement of these providers with their options; raise DeviceUnavailableError if one is not available."""
    names = [each.name for each in wanted]
    if len(set(names)) < len(names):
        raise OptionError(f"providers are {', '.join(names)}: give each only once")
    for name in names:
        if name != CPU_PROVIDER:
            require(name)
    completed = tuple(each.complete(mode, backend.version()) for each in wanted)
    return Placement(completed, reason, mode, build_missing)


def require(name: str) -> None:
    """Raise DeviceUnavailableError, with cause and cure, if a provider is not available; load it if it is a plug-in."""
    if name == OPENVINO:
        if not openvino.is_installed():
            raise DeviceUnavailableError(
                f"{OPENVINO} is not installed: pip install {requirement(spec_of(OPENVINO).extra)}"
            )
        return
    plugin = next((each for each in plugins.installed() if name in each.providers), None)
    if plugin is None or name in backend.plugin_devices():
        _require_built_in(name, installed_runtime())
        return
    if lost := libraries.missing(libraries.needed(name)):
        raise DeviceUnavailableError(provider_errors.missing_libraries(name, lost, installed_runtime()))
    backend.register_plugin(plugin.distribution, plugin.library)
    if name not in backend.plugin_devices():
        raise DeviceUnavailableError(
            f"{name} finds no device on this machine that it can use, though {plugin.distribution} {plugin.version} is "
            "installed: see the package's documentation for the devices and drivers that it needs"
        )


def _require_built_in(name: str, installed: InstalledRuntime) -> None:
    """Do the same as `require` for a provider that is built in, or that another library of this process registered."""
    if name not in installed.providers:
        raise DeviceUnavailableError(provider_errors.missing_provider(name, installed))
    if libraries.needed(name) and name not in backend.plugin_devices():
        preload()
        if lost := libraries.missing(libraries.needed(name, installed.cuda)):
            raise DeviceUnavailableError(provider_errors.missing_libraries(name, lost, installed))


@functools.cache
def preload() -> None:
    """Load CUDA's libraries from NVIDIA's Python packages, if these are installed."""
    ort = backend.onnxruntime()
    if hasattr(ort, "preload_dlls"):
        # It prints what it cannot find, but not everything that is missing: libraries.missing returns all of it.
        with contextlib.redirect_stdout(io.StringIO()):
            ort.preload_dlls()
