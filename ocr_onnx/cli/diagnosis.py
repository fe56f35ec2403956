"""Diagnose the installation: versions, execution providers, libraries, models, threads, fonts, paths."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ocr_onnx import __version__
from ocr_onnx.errors import ModelError, ModelNotFoundError, OnnxRuntimeError, OptionError
from ocr_onnx.inputs import fonts, sandbox
from ocr_onnx.installation import requirement
from ocr_onnx.models import store
from ocr_onnx.runtime import backend, libraries, openvino, plugins, threads
from ocr_onnx.runtime.provider_errors import InstalledRuntime
from ocr_onnx.runtime.provider_specs import CPU_PROVIDER, OPENVINO, spec_of
from ocr_onnx.runtime.providers import Placement, ProviderLike
from ocr_onnx.runtime.selection import choose_placement, installed_runtime, preload, try_out

State: TypeAlias = Literal["ok", "warning", "error"]
"""warning: a problem that does not affect the requested device; error: one that prevents it from working."""

MODULES = {
    "numpy": "numpy",
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "pyclipper": "pyclipper",
    "pypdfium2": "pypdfium2",
    "bidi": "python-bidi",
    "yaml": "PyYAML",
}
"""The modules that must be importable, and the package that contains each."""

SAMPLE_LETTERS = {
    "Latin": "a",
    "Chinese": "汉",
    "Japanese": "あ",
    "Korean": "한",
    "Arabic": "ع",
    "Devanagari": "अ",
    "Thai": "ก",
}
"""A letter of each script for which a font is searched."""

AZURE_PROVIDER = "AzureExecutionProvider"
"""Included in most wheels; it runs models on a remote service."""

VARIABLES = (store.HOME_VARIABLE, "OCR_ONNX_OFFLINE", fonts.FONT_VARIABLE, "LD_LIBRARY_PATH")
"""Environment variables with paths and switches. Others are not printed, because they may contain secrets."""


@dataclass(frozen=True, slots=True)
class Fact:
    """The result of one check."""

    section: str
    name: str
    value: str
    state: State = "ok"
    explanation: str = ""
    """Cause and remedy, if the state is not ok."""


@dataclass(frozen=True, slots=True)
class Report:
    """All facts, ordered by section, and the selected placement of models."""

    facts: tuple[Fact, ...]
    placement: Placement | None
    """None if the requested device does not work."""

    @property
    def works(self) -> bool:
        """Whether the requested device or providers work."""
        return all(fact.state != "error" for fact in self.facts)


def diagnose(device: str | None = None, providers: Sequence[ProviderLike] = ()) -> Report:
    """Run all checks, and a small model on every execution provider.

    `device` and `providers` are the parameters of OCR. Raises OptionError if they are malformed.
    """
    # OpenCV and plug-ins change environment variables at their import.
    variables = dict(os.environ)
    requested, placement = _requested(device, providers)
    sections = (_versions(), _onnxruntime(), _models(), _threads(), _fonts(), _paths(variables), _service())
    return Report((*(fact for section in sections for fact in section), requested), placement)


def _requested(device: str | None, providers: Sequence[ProviderLike]) -> tuple[Fact, Placement | None]:
    """Check the requested device or providers; return the fact, and the placement if they work."""
    name = ", ".join(map(str, providers)) if providers else f"device {'cpu' if device is None else device}"
    try:
        placement = choose_placement(device, providers)
        for each in (placement, *placement.others):
            try_out(each)
    except OptionError:
        raise
    except (OnnxRuntimeError, ModelError) as error:
        return Fact("requested", name, "does not work", "error", str(error)), None
    return Fact("requested", name, f"works: {placement}"), placement


def _versions() -> Iterator[Fact]:
    yield Fact("versions", "ocr-onnx", __version__)
    yield Fact("versions", "python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    distributions = importlib.metadata.packages_distributions()
    for module, package in MODULES.items():
        packages = sorted(set(distributions.get(module, [])))
        try:
            importlib.import_module(module)
        except (ImportError, OSError) as error:
            remedy = f"{error}: pip install --force-reinstall {package}"
            yield Fact("versions", package, "cannot be imported", "error", remedy)
            continue
        if len(packages) > 1:
            versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
            explanation = (
                f"these packages overwrite each other's files: pip uninstall -y {' '.join(packages)}, then pip install --force-reinstall "
                f"{package}"
            )
            yield Fact("versions", module, versions, "warning", explanation)
        else:
            yield from (Fact("versions", name, importlib.metadata.version(name)) for name in packages)


def _onnxruntime() -> Iterator[Fact]:
    """Check the packages of ONNX Runtime, each execution provider, and the shared libraries."""
    try:
        installed = installed_runtime()
    except OnnxRuntimeError as error:
        yield Fact("onnxruntime", "package", "none", "error", str(error))
        return
    added = plugins.installed()
    others = (OPENVINO,) if openvino.is_installed() else ()
    names = dict.fromkeys((*installed.providers, *(name for plugin in added for name in plugin.providers), *others))
    yield from _wheels(installed, added)
    yield from _providers(names)
    yield from _bfloat16()
    yield from _libraries(names, installed.cuda)


def _wheels(installed: InstalledRuntime, added: Iterable[plugins.Plugin]) -> Iterator[Fact]:
    if installed.conflict:
        remove = " ".join(installed.distributions)
        remedy = f"{installed.conflict}: pip uninstall -y {remove}, then pip install {requirement('cpu')} or {requirement('gpu')}"
        yield Fact("onnxruntime", "package", str(installed), "warning", remedy)
    else:
        yield Fact("onnxruntime", "package", str(installed))
    yield Fact("onnxruntime", "loaded from", str(backend.onnxruntime().__file__))
    yield Fact("onnxruntime", "built for CUDA", installed.cuda or "no")
    for plugin in added:
        yield Fact("onnxruntime", "plug-in", f"{plugin.distribution} {plugin.version}: {', '.join(plugin.providers)}")


def _providers(names: Iterable[str]) -> Iterator[Fact]:
    """Run a small model on each execution provider."""
    for name in names:
        if name == AZURE_PROVIDER:
            continue
        try:
            difference = try_out(choose_placement(None, [name]))
        except (OnnxRuntimeError, ModelError) as error:
            yield Fact("providers", name, "does not work", "error" if name == CPU_PROVIDER else "warning", str(error))
            continue
        yield Fact(
            "providers",
            name,
            "works" if name == CPU_PROVIDER else f"works, largest difference from the CPU {difference:.0e}",
        )
    for name, devices in backend.plugin_devices().items():
        for number, device in enumerate(devices):
            yield Fact("providers", f"{name}:device={number}", _hardware(device))


def _bfloat16() -> Iterator[Fact]:
    """Whether high-performance mode computes in bfloat16."""
    if not openvino.has_bfloat16():
        yield Fact("providers", "bfloat16", "no instructions in this processor")
    elif openvino.is_installed():
        yield Fact("providers", "bfloat16", f"high-performance mode uses it, with {OPENVINO}")
    else:
        yield Fact(
            "providers",
            "bfloat16",
            f"high-performance mode uses it after: pip install {requirement(spec_of(OPENVINO).extra)}",
        )


def _hardware(device: Any) -> str:
    """Return type, vendor and name of an onnxruntime.OrtEpDevice."""
    metadata: Mapping[str, str] = device.ep_metadata
    kind = str(device.device.type).rpartition(".")[2]
    return " ".join(filter(None, (kind, device.device.vendor, metadata.get("FULL_DEVICE_NAME", ""))))


def _libraries(providers: Iterable[str], cuda: str) -> Iterator[Fact]:
    """Check the shared libraries that the installed providers need."""
    names = dict.fromkeys(library for provider in providers for library in libraries.needed(provider, cuda))
    if names:
        preload()
    missing = libraries.missing(names)
    for name in names:
        if name in missing:
            yield Fact("libraries", name, f"missing: {missing[name].removeprefix(f'{name}: ')}", "warning")
        else:
            yield Fact("libraries", name, "found")


def _models() -> Iterator[Fact]:
    """Verify the checksums of all model files. A damaged file of the package is an error, of a download a warning."""
    for name in store.installed():
        path = store.path_of(name)
        try:
            store.verify(name)
        except (OSError, ModelError) as error:
            yield Fact("models", name, "damaged", "warning" if path.parent == store.home() else "error", str(error))
            continue
        yield Fact("models", name, f"verified, {path.stat().st_size / 1e6:.1f} MB, {path}")


def _threads() -> Iterator[Fact]:
    quota = threads.quota()
    yield Fact("threads", "cores of the machine", str(os.cpu_count()))
    if hasattr(os, "sched_getaffinity"):
        yield Fact("threads", "cores of the process", str(len(os.sched_getaffinity(0))))
    yield Fact("threads", "quota", "none" if quota is None else f"{quota:g} cores")
    yield Fact("threads", "used", str(threads.cpu_count()))


def _fonts() -> Iterator[Fact]:
    """Check which font draws each script. A missing font affects only drawn images, not recognized texts."""
    for script, letter in SAMPLE_LETTERS.items():
        path = fonts.find_font(letter)
        if path is not None:
            yield Fact("fonts", script, str(path))
        elif script == "Latin":
            yield Fact("fonts", script, "Pillow's built-in font")
        else:
            package = fonts.PACKAGES.get(fonts.script(letter), fonts.CJK_PACKAGE)
            yield Fact(
                "fonts", script, "none", "warning", f"images show boxes instead of its letters: pip install {package}"
            )


def _service() -> Iterator[Fact]:
    """Check the sandbox of the processes in which `ocr-onnx serve` decodes files."""
    if platform.system() != "Linux":
        return
    lacking = sandbox.missing()
    for name in (sandbox.FILES, sandbox.CALLS):
        if name in lacking:
            explanation = "a malicious file that exploits its decoder would have all permissions of 'ocr-onnx serve': use a newer kernel"
            yield Fact("service", name, "not supported by this kernel or container", "warning", explanation)
        else:
            yield Fact("service", name, "restricts decoders")


def _home() -> Fact:
    """Check the folder for models."""
    try:
        home = store.home()
    except ModelNotFoundError as error:
        return Fact("paths", "models", "none", "warning", str(error))
    nearest = next(folder for folder in (home, *home.parents) if folder.exists())
    if os.access(nearest, os.W_OK):
        return Fact("paths", "models", str(home))
    remedy = f"{nearest} is not writable, so no model can be downloaded: set {store.HOME_VARIABLE} to another folder"
    return Fact("paths", "models", str(home), "warning", remedy)


def _paths(variables: Mapping[str, str]) -> Iterator[Fact]:
    yield _home()
    for name in VARIABLES:
        if name in variables:
            yield Fact("paths", name, variables[name])
