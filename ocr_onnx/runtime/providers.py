"""Devices, ONNX Runtime's execution providers with their options, and the placement of models on them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from ocr_onnx.errors import OptionError, shortened
from ocr_onnx.runtime.provider_specs import CPU_PROVIDER, CUDA_PROVIDER, Mode, spec_of

DEVICES = "'cpu', 'gpu', 'gpu:N', 'gpu:0,1' or 'auto'"


@dataclass(frozen=True, slots=True)
class Provider:
    """An execution provider of ONNX Runtime."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    """Options given by the user; the defaults of SPECS and then of ONNX Runtime apply to the others."""

    @classmethod
    def parse(cls, text: str) -> Provider:
        """Read `NAME` or `NAME:key=value,key=value`; a comma that no `key=` follows is part of the value."""
        name, colon, rest = text.partition(":")
        pairs = [pair.partition("=") for pair in re.split(r",(?=[\w.]+=)", rest)] if colon else []
        if not name or not all(key and equals for key, equals, _ in pairs):
            raise OptionError(f"provider is {shortened(repr(text))}: it must be 'NAME' or 'NAME:key=value,key=value'")
        return cls(name, {key: value for key, _, value in pairs})

    def complete(self, mode: Mode, version: tuple[int, int]) -> Provider:
        """Return the provider with the default options of its spec for those that are not set."""
        fitting = (option for option in spec_of(self.name).options if option.mode in {None, mode})
        usual = {option.key: option.value for option in fitting if option.since <= version < option.before}
        return Provider(self.name, usual | dict(self.options))

    def __str__(self) -> str:
        pairs = ",".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.name}:{pairs}" if pairs else self.name


ProviderLike: TypeAlias = "str | tuple[str, Mapping[str, object]] | Provider"
"""A string for `Provider.parse`, a pair of a name and options, or a Provider."""


def provider(given: ProviderLike) -> Provider:
    """Convert to a Provider; raise OptionError if that is not possible."""
    if isinstance(given, Provider):
        return given
    if isinstance(given, str):
        return Provider.parse(given)
    match given:
        case (str(name), Mapping() as options):
            return Provider(name, {str(key): str(value) for key, value in options.items()})
    raise OptionError(
        f"provider is {shortened(repr(given))}: it must be a name, or a pair of a name and a mapping of options"
    )


@dataclass(frozen=True, slots=True)
class Device:
    """A device that the user chose."""

    kind: str
    """cpu, gpu or auto."""
    indices: tuple[int, ...] = (0,)
    """The indices of the GPUs."""

    @classmethod
    def parse(cls, text: str) -> Device:
        """Read `cpu`, `gpu`, `gpu:1`, `gpu:0,1` or `auto`."""
        found = re.fullmatch(r"(cpu|auto)|gpu(?::([0-9]{1,4}(?:,[0-9]{1,4})*))?", str(text))
        if found is None:
            hint = "; an NVIDIA GPU is 'gpu'" if str(text).lower().startswith(("cuda", "nvidia")) else ""
            raise OptionError(f"device is {shortened(repr(text))}: it must be {DEVICES}{hint}")
        kind, listed = found.groups()
        if kind is not None:
            return cls(kind)
        indices = tuple(map(int, (listed or "0").split(",")))
        if len(set(indices)) < len(indices):
            raise OptionError(f"device is {text!r}: it names a GPU twice; give each index once")
        return cls("gpu", indices)

    def providers(self) -> tuple[Provider, ...]:
        """Return its execution providers in order of preference; for several GPUs, those of the first."""
        if self.kind == "cpu":
            return (Provider(CPU_PROVIDER),)
        return (Provider(CUDA_PROVIDER, {"device_id": str(self.indices[0])}), Provider(CPU_PROVIDER))


@dataclass(frozen=True, slots=True)
class Placement:
    """The execution providers on which models run."""

    providers: tuple[Provider, ...]
    """In order of preference: operators that one does not support run on the next, and finally on ONNX Runtime's CPU provider."""
    reason: str
    """Why these providers were chosen: the request, and for `auto` the result of the test."""
    mode: Mode = "standard"
    """On a GPU, high-performance allows lower precision, and padding that can change the result of models without a padding mask."""
    build_missing: bool = False
    """Whether TensorRT may build an engine for a model that has none, which takes minutes (`ocr-onnx build` does it in advance)."""

    only: tuple[str, ...] | None = None
    """The names of the models for which the providers were chosen; the others run on ONNX Runtime's CPU provider. None: all models."""

    others: tuple[Placement, ...] = ()
    """The placements on the other GPUs, to which pages are distributed."""

    @property
    def on_cpu(self) -> bool:
        """Whether ONNX Runtime's CPU provider is the only one."""
        return {provider.name for provider in self.providers} == {CPU_PROVIDER}

    @property
    def on_gpu(self) -> bool:
        """Whether the first provider is a GPU provider."""
        return spec_of(self.providers[0].name).gpu

    def for_model(self, name: str) -> Placement:
        """Return the placement of one model."""
        return self if self.only is None or name in self.only else replace(self, providers=CPU.providers)

    def __str__(self) -> str:
        devices = (", ".join(map(str, each.providers)) for each in (self, *self.others))
        return f"{'; '.join(devices)} ({self.reason})"


CPU = Placement((Provider(CPU_PROVIDER),), "the default")
