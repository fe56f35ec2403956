"""What is here and what works: versions, providers, libraries, models, threads, fonts, paths."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ocr_onnx import __version__
from ocr_onnx.errors import ModelError, OnnxRuntimeError, OptionError
from ocr_onnx.models import store
from ocr_onnx.outputs import fonts
from ocr_onnx.runtime import libraries, plugins, session, threads
from ocr_onnx.runtime.causes import Wheels
from ocr_onnx.runtime.provider_specs import CPU_PROVIDER
from ocr_onnx.runtime.providers import Placement, ProviderLike
from ocr_onnx.runtime.selection import place, preload, try_out, wheels
from ocr_onnx.service import sandbox

State: TypeAlias = Literal["ok", "note", "problem"]
"""note: something is not as it should be, and what was asked for works all the same; problem: it does not."""

MODULES = {
    "numpy": "numpy",
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "pyclipper": "pyclipper",
    "pypdfium2": "pypdfium2",
    "bidi": "python-bidi",
    "yaml": "PyYAML",
}
"""What must be there to be imported, and the package to install where it is not."""

LETTERS = {
    "Latin": "a",
    "Chinese": "汉",
    "Japanese": "あ",
    "Korean": "한",
    "Arabic": "ع",
    "Devanagari": "अ",
    "Thai": "ก",
}
"""A letter for each script that fonts are looked up for."""

REMOTE = "AzureExecutionProvider"
"""It is in most wheels, and runs models elsewhere."""

VARIABLES = (store.HOME_VARIABLE, "OCR_ONNX_OFFLINE", fonts.FONT_VARIABLE, "LD_LIBRARY_PATH")
"""Environment variables that say where things are; others may hold secrets."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that was looked at."""

    section: str
    name: str
    value: str
    state: State = "ok"
    why: str = ""
    """Where it is not ok: the cause, and the cure."""


@dataclass(frozen=True, slots=True)
class Report:
    """All facts, section by section, and what models would run on."""

    facts: tuple[Fact, ...]
    placement: Placement | None
    """None where what was asked for does not work."""

    @property
    def works(self) -> bool:
        """Whether what was asked for works."""
        return all(fact.state != "problem" for fact in self.facts)


def examine(device: str | None = None, providers: Sequence[ProviderLike] = ()) -> Report:
    """Look at everything, and run a small model on every provider. `device` and `providers` are as OCR takes them.

    Raises OptionError where they are not understood.
    """
    # OpenCV and plug-ins change variables when they are imported.
    variables = dict(os.environ)
    asked, placement = _asked(device, providers)
    sections = (_versions(), _onnxruntime(), _models(), _threads(), _fonts(), _paths(variables), _service())
    return Report((*(fact for section in sections for fact in section), asked), placement)


def _asked(device: str | None, providers: Sequence[ProviderLike]) -> tuple[Fact, Placement | None]:
    """Whether what the user wants works."""
    name = ", ".join(map(str, providers)) if providers else f"device {'cpu' if device is None else device}"
    try:
        placement = place(device, providers)
        for each in (placement, *placement.others):
            try_out(each)
    except OptionError:
        raise
    except (OnnxRuntimeError, ModelError) as error:
        return Fact("asked for", name, "does not work", "problem", str(error)), None
    return Fact("asked for", name, f"works: {placement}"), placement


def _versions() -> Iterator[Fact]:
    yield Fact("versions", "ocr-onnx", __version__)
    yield Fact("versions", "python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    brought = importlib.metadata.packages_distributions()
    for module, package in MODULES.items():
        packages = sorted(set(brought.get(module, [])))
        try:
            importlib.import_module(module)
        except (ImportError, OSError) as error:
            cure = f"{error}: pip install --force-reinstall {package}"
            yield Fact("versions", package, "cannot be imported", "problem", cure)
            continue
        if len(packages) > 1:
            versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
            why = (
                f"they overwrite each other's files: pip uninstall -y {' '.join(packages)}, then pip install --force-reinstall "
                f"{package}"
            )
            yield Fact("versions", module, versions, "note", why)
        else:
            yield from (Fact("versions", name, importlib.metadata.version(name)) for name in packages)


def _onnxruntime() -> Iterator[Fact]:
    """What is installed of it, what each provider does, and the libraries that they need."""
    try:
        installed = wheels()
    except OnnxRuntimeError as error:
        yield Fact("onnxruntime", "package", "none", "problem", str(error))
        return
    added = plugins.installed()
    names = dict.fromkeys((*installed.providers, *(name for plugin in added for name in plugin.providers)))
    yield from _wheels(installed, added)
    yield from _providers(names)
    yield from _libraries(names, installed.cuda)


def _wheels(installed: Wheels, added: Iterable[plugins.Plugin]) -> Iterator[Fact]:
    if installed.conflict:
        remove = " ".join(installed.distributions)
        cure = f"{installed.conflict}: pip uninstall -y {remove}, then pip install 'ocr-onnx[cpu]' or 'ocr-onnx[gpu]'"
        yield Fact("onnxruntime", "package", str(installed), "note", cure)
    else:
        yield Fact("onnxruntime", "package", str(installed))
    yield Fact("onnxruntime", "loaded from", str(session.onnxruntime().__file__))
    yield Fact("onnxruntime", "made for CUDA", installed.cuda or "no")
    for plugin in added:
        yield Fact("onnxruntime", "plug-in", f"{plugin.distribution} {plugin.version}: {', '.join(plugin.providers)}")


def _providers(names: Iterable[str]) -> Iterator[Fact]:
    """What each provider does with a small model."""
    for name in names:
        if name == REMOTE:
            continue
        try:
            difference = try_out(place(None, [name]))
        except (OnnxRuntimeError, ModelError) as error:
            yield Fact("providers", name, "does not work", "problem" if name == CPU_PROVIDER else "note", str(error))
            continue
        yield Fact("providers", name, "works" if name == CPU_PROVIDER else f"works, {difference:.0e} from the CPU")
    for name, devices in session.plugged_in().items():
        for number, device in enumerate(devices):
            yield Fact("providers", f"{name}:device={number}", _hardware(device))


def _hardware(device: Any) -> str:
    """What an onnxruntime.OrtEpDevice is."""
    metadata: Mapping[str, str] = device.ep_metadata
    kind = str(device.device.type).rpartition(".")[2]
    return " ".join(filter(None, (kind, device.device.vendor, metadata.get("FULL_DEVICE_NAME", ""))))


def _libraries(providers: Iterable[str], cuda: str) -> Iterator[Fact]:
    """The shared libraries of the providers that are installed."""
    names = dict.fromkeys(library for provider in providers for library in libraries.needed(provider, cuda))
    if names:
        preload()
    missing = libraries.missing(names)
    for name in names:
        if name in missing:
            yield Fact("libraries", name, f"missing: {missing[name].removeprefix(f'{name}: ')}", "note")
        else:
            yield Fact("libraries", name, "found")


def _models() -> Iterator[Fact]:
    """Whether the files are what their checksums say; the package's own must be."""
    for name in store.installed():
        path = store.path_of(name)
        try:
            store.verify(name)
        except (OSError, ModelError) as error:
            yield Fact("models", name, "damaged", "note" if path.parent == store.home() else "problem", str(error))
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
    """Which font would draw each script; without one, pictures show boxes, and texts are read all the same."""
    for script, letter in LETTERS.items():
        path = fonts.find_font(letter)
        if path is not None:
            yield Fact("fonts", script, str(path))
        elif script == "Latin":
            yield Fact("fonts", script, "Pillow's own")
        else:
            package = fonts.PACKAGES.get(fonts.script(letter), fonts.CJK_PACKAGE)
            yield Fact("fonts", script, "none", "note", f"pictures show boxes for its letters: pip install {package}")


def _service() -> Iterator[Fact]:
    """What restricts the processes in which `ocr-onnx serve` decodes."""
    if platform.system() != "Linux":
        return
    lacking = sandbox.missing()
    for name in (sandbox.FILES, sandbox.CALLS):
        if name in lacking:
            why = "a picture or PDF that takes over its decoder would reach as much as 'ocr-onnx serve' does: use a newer kernel"
            yield Fact("service", name, "not supported by this kernel or container", "note", why)
        else:
            yield Fact("service", name, "restricts decoders")


def _paths(variables: Mapping[str, str]) -> Iterator[Fact]:
    home = store.home()
    nearest = next(folder for folder in (home, *home.parents) if folder.exists())
    if os.access(nearest, os.W_OK):
        yield Fact("paths", "models", str(home))
    else:
        cure = f"{nearest} cannot be written to, so no model can be pulled: set {store.HOME_VARIABLE} to another folder"
        yield Fact("paths", "models", str(home), "note", cure)
    for name in VARIABLES:
        if name in variables:
            yield Fact("paths", name, variables[name])
