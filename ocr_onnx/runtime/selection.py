"""Decides what models run on: what was asked for is there and works, or it is an error with its cause and cure."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np

from ocr_onnx.errors import DeviceUnavailableError, ModelError, OptionError
from ocr_onnx.models import store
from ocr_onnx.runtime import libraries, plugins, provider_errors, session
from ocr_onnx.runtime.provider_errors import InstalledRuntime
from ocr_onnx.runtime.provider_specs import CPU_PROVIDER, Mode
from ocr_onnx.runtime.providers import CPU, Device, Placement, Provider, ProviderLike, provider

TRIAL_MODEL = "PP-LCNet_x1_0_textline_ori"
"""The embedded model that is run to see whether a provider works: small, and of convolutions, as all of them."""

TRIAL_SHAPE = (1, 3, 10, 20)
"""Its input: squares of 8 pixels. On them its answer is sure (0.96); on plain noise it is 0.50, as that of a fault may be."""

TOLERANCE = 0.05
"""By how much a provider's answer to the trial, a probability, may differ from the CPU's; with bfloat16 it does by 0.003."""


def installed_runtime() -> InstalledRuntime:
    """What is installed."""
    ort = session.onnxruntime()
    return InstalledRuntime(
        session.distributions(), tuple(ort.get_available_providers()), str(getattr(ort, "cuda_version", "") or "")
    )


def choose_placement(
    device: str | None = None,
    providers: Sequence[ProviderLike] = (),
    mode: Mode = "standard",
    *,
    build_missing: bool = False,
) -> Placement:
    """What models run on: a device as `Device.parse` reads it (None: the CPU), or providers by name, first choice first.

    Raises OptionError where both are given or one, or the mode, is not understood, DeviceUnavailableError where what was asked for
    is not there. `auto` takes the GPU where a model really runs on it, else the CPU. `build_missing` is that of Placement.
    """
    if mode not in get_args(Mode):
        raise OptionError(f"mode is {mode!r}: it must be one of {', '.join(get_args(Mode))}")
    if providers:
        if device is not None:
            raise OptionError("device and providers are both given: give one of them")
        named = _of(tuple(map(provider, providers)), "asked for by name", mode)
        return replace(named, build_missing=build_missing)
    wanted = Device.parse("cpu" if device is None else device)
    if wanted.kind == "auto":
        return _automatic(mode)
    reason = "the default" if device is None else f"device {device}"
    first, *others = (_of(Device(wanted.kind, (index,)).providers(), reason, mode) for index in wanted.indices)
    return replace(first, others=tuple(others))


def try_out(placement: Placement) -> float:
    """Run a small model; returns how far its answer is from the CPU's.

    Raises DeviceUnavailableError where that fails, or is beyond TOLERANCE.
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
            f"{placement.providers[0].name} answers {TRIAL_MODEL} otherwise than the CPU, by {difference:.3f}: its version or "
            "its driver is at fault; use --device cpu"
        )
    return difference


def _automatic(mode: Mode) -> Placement:
    """The first GPU where it works, else the CPU."""
    try:
        gpu = choose_placement("gpu", mode=mode)
        try_out(gpu)
    except DeviceUnavailableError as error:
        return Placement(CPU.providers, f"device auto: no GPU works here: {error}", mode)
    return replace(gpu, reason="device auto: a model runs on the GPU")


def _of(wanted: Sequence[Provider], reason: str, mode: Mode) -> Placement:
    """These providers with their options; raises DeviceUnavailableError where one is not there."""
    names = [each.name for each in wanted]
    if len(set(names)) < len(names):
        raise OptionError(f"providers are {', '.join(names)}: each can be given once")
    for name in names:
        if name != CPU_PROVIDER:
            require(name)
    return Placement(tuple(each.complete(mode, session.version()) for each in wanted), reason, mode)


def require(name: str) -> None:
    """Raise DeviceUnavailableError, with cause and cure, where a provider is not there; load it if it is a plug-in."""
    plugin = next((each for each in plugins.installed() if name in each.providers), None)
    if plugin is None or name in session.plugin_devices():
        _require_built_in(name, installed_runtime())
        return
    if lost := libraries.missing(libraries.needed(name)):
        raise DeviceUnavailableError(provider_errors.missing_libraries(name, lost, installed_runtime()))
    session.register_plugin(plugin.distribution, plugin.library)
    if name not in session.plugin_devices():
        raise DeviceUnavailableError(
            f"{name} finds no device that it can use on this machine, though {plugin.distribution} {plugin.version} is "
            "installed: the package's page names the devices and drivers that it needs"
        )


def _require_built_in(name: str, installed: InstalledRuntime) -> None:
    """As `require`, of what the wheel has, or another library of this process has plugged in."""
    if name not in installed.providers:
        raise DeviceUnavailableError(provider_errors.missing_provider(name, installed))
    if libraries.needed(name) and name not in session.plugin_devices():
        preload()
        if lost := libraries.missing(libraries.needed(name, installed.cuda)):
            raise DeviceUnavailableError(provider_errors.missing_libraries(name, lost, installed))


@functools.cache
def preload() -> None:
    """Load CUDA's libraries out of NVIDIA's Python packages, where these are installed."""
    ort = session.onnxruntime()
    if hasattr(ort, "preload_dlls"):
        # It prints what it does not find, and not all that is missing: libraries.missing says it.
        with contextlib.redirect_stdout(io.StringIO()):
            ort.preload_dlls()
