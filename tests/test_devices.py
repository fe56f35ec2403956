"""Devices and providers, as data."""

from __future__ import annotations

import pytest

from ocr_onnx.devices import Device
from ocr_onnx.errors import OptionError


@pytest.mark.parametrize(
    ("text", "device"),
    [("cpu", Device("cpu")), ("gpu", Device("gpu")), ("gpu:0", Device("gpu")), ("gpu:3", Device("gpu", 3))],
)
def test_devices_are_read(text: str, device: Device) -> None:
    assert Device.parse(text) == device


@pytest.mark.parametrize("text", ["", "cuda", "gpu:", "gpu:x", "gpu:-1", "cpu:0", "GPU"])
def test_other_devices_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="'cpu', 'gpu' or 'gpu:N'"):
        Device.parse(text)


def test_a_gpu_comes_before_the_cpu() -> None:
    assert Device("gpu", 2).providers() == [("CUDAExecutionProvider", {"device_id": 2}), ("CPUExecutionProvider", {})]
    assert Device("cpu").providers() == [("CPUExecutionProvider", {})]
