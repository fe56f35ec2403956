"""Why an execution provider is not to be had, and what helps: texts made of facts."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from ocr_onnx.runtime.provider_specs import DRIVER, SPECS, spec_of


@dataclass(frozen=True, slots=True)
class InstalledRuntime:
    """The ONNX Runtime that is installed."""

    distributions: Mapping[str, str]
    """The packages that bring it, and their versions: one, if all is well."""
    providers: tuple[str, ...]
    """Those it says are available, which is to say built in."""
    cuda: str = ""
    """The version of CUDA that it is made for; empty for none."""

    def __str__(self) -> str:
        return " and ".join(f"{name} {version}" for name, version in self.distributions.items()) or "onnxruntime"

    @property
    def conflict(self) -> str | None:
        """What is wrong where several are installed at once."""
        if len(self.distributions) < 2:
            return None
        return f"{self} are installed together, and the one installed last has overwritten files of the other"


def missing_provider(name: str, wheels: InstalledRuntime) -> str:
    """Why ONNX Runtime has no provider of that name, and the cure."""
    known = spec_of(name)
    if known.plugin:
        return f"{name} is a plug-in that is not installed: pip install {known.plugin}"
    has = f"{name} is not in the ONNX Runtime installed: {wheels} has {', '.join(wheels.providers)}"
    if known.build:
        remove = " ".join(wheels.distributions)
        cure = f"pip uninstall -y {remove}, then pip install {known.build}"
        return f"{wheels.conflict}, so that {name} is lost: {cure}" if wheels.conflict else f"{has}: {cure}"
    if known.system:
        return f"{has}: it is for {known.system}"
    names = {each.lower(): each for each in (*wheels.providers, *SPECS)}
    near = difflib.get_close_matches(name.lower(), names, 1)
    return f"{has}{f'; did you mean {names[near[0]]}?' if near else ': choose one of these'}"


def missing_libraries(name: str, missing: Mapping[str, str], wheels: InstalledRuntime) -> str:
    """Why a provider cannot start whose libraries are `missing`, each with the loader's message, and the cures."""
    reasons = []
    if DRIVER in missing:
        reasons.append(
            f"there is no NVIDIA driver ({_said({DRIVER: missing[DRIVER]})}): on a machine with an NVIDIA GPU install its driver, and "
            "start a container with --gpus all"
        )
    tensorrt = {library: said for library, said in missing.items() if library.startswith("libnv")}
    cuda = {library: said for library, said in missing.items() if library not in {DRIVER, *tensorrt}}
    if cuda:
        version = wheels.distributions.get("onnxruntime-gpu", "")
        pinned = f"=={version}" if version else ""
        reasons.append(
            f"libraries of CUDA {wheels.cuda} are missing ({_said(cuda)}): pip install "
            f"'onnxruntime-gpu[cuda,cudnn]{pinned}', or put those of the system on LD_LIBRARY_PATH"
        )
    if tensorrt:
        reasons.append(
            f"TensorRT is missing ({_said(tensorrt)}): install NVIDIA's TensorRT 10 and put its folder on "
            "LD_LIBRARY_PATH"
        )
    return f"{name} cannot start: {'. Also, '.join(reasons)}"


def _said(missing: Mapping[str, str]) -> str:
    """What the loader says, once for all libraries of which it says the same."""
    libraries: dict[str, list[str]] = {}
    for library, message in missing.items():
        libraries.setdefault(message.removeprefix(f"{library}: "), []).append(library)
    return "; ".join(f"{', '.join(names)}: {message}" for message, names in libraries.items())
