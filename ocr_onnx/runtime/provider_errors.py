"""Error messages for execution providers that are not available: the cause and the cure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from ocr_onnx.installation import requirement
from ocr_onnx.runtime.provider_specs import DRIVER, SPECS, spec_of


@dataclass(frozen=True, slots=True)
class InstalledRuntime:
    """The installed ONNX Runtime."""

    distributions: Mapping[str, str]
    """The installed packages that contain ONNX Runtime, and their versions; more than one is a conflict."""
    providers: tuple[str, ...]
    """The providers that are built in, as ONNX Runtime reports them."""
    cuda: str = ""
    """The CUDA version that it was built for; empty if none."""

    def __str__(self) -> str:
        return " and ".join(f"{name} {version}" for name, version in self.distributions.items()) or "onnxruntime"

    @property
    def conflict(self) -> str | None:
        """The problem if several packages are installed together; else None."""
        if len(self.distributions) < 2:
            return None
        return f"{self} are installed together, and the last one has overwritten files of the other"


def missing_provider(name: str, installed: InstalledRuntime) -> str:
    """Return why ONNX Runtime has no provider of that name, and the cure."""
    known = spec_of(name)
    if known.plugin:
        return f"{name} is a plug-in that is not installed: pip install {known.plugin}"
    has = f"{name} is not in the installed ONNX Runtime: {installed} has {', '.join(installed.providers)}"
    if known.build or known.extra:
        remove = " ".join(installed.distributions)
        cure = f"pip uninstall -y {remove}, then pip install {known.build or requirement(known.extra)}"
        return f"{installed.conflict}, so {name} is missing: {cure}" if installed.conflict else f"{has}: {cure}"
    if known.system:
        return f"{has}: it exists only on {known.system}"
    names = {each.lower(): each for each in (*installed.providers, *SPECS)}
    near = difflib.get_close_matches(name.lower(), names, 1)
    return f"{has}{f'; did you mean {names[near[0]]}?' if near else ': choose one of these'}"


def missing_libraries(name: str, missing: Mapping[str, str], installed: InstalledRuntime) -> str:
    """Return why a provider cannot start, and the cure; `missing` maps its missing libraries to the loader's messages."""
    reasons = []
    if DRIVER in missing:
        reasons.append(
            f"there is no NVIDIA driver ({_grouped({DRIVER: missing[DRIVER]})}): on a machine with an NVIDIA GPU, install its driver; "
            "start a container with --gpus all"
        )
    tensorrt = {library: said for library, said in missing.items() if library.startswith("libnv")}
    cuda = {library: said for library, said in missing.items() if library not in {DRIVER, *tensorrt}}
    if cuda:
        version = installed.distributions.get("onnxruntime-gpu", "")
        pinned = f"=={version}" if version else ""
        reasons.append(
            f"libraries of CUDA {installed.cuda} are missing ({_grouped(cuda)}): pip install "
            f"'onnxruntime-gpu[cuda,cudnn]{pinned}', or add the folder of the system's libraries to LD_LIBRARY_PATH"
        )
    if tensorrt:
        reasons.append(
            f"TensorRT is missing ({_grouped(tensorrt)}): install NVIDIA's TensorRT 10 and add its folder to "
            "LD_LIBRARY_PATH"
        )
    return f"{name} cannot start: {'. Also, '.join(reasons)}"


def _grouped(missing: Mapping[str, str]) -> str:
    """Return the loader's messages, grouping libraries that have the same message."""
    libraries: dict[str, list[str]] = {}
    for library, message in missing.items():
        libraries.setdefault(message.removeprefix(f"{library}: "), []).append(library)
    return "; ".join(f"{', '.join(names)}: {message}" for message, names in libraries.items())
