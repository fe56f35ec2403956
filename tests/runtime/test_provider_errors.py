"""Why a provider is not available, computed from what was recorded of real wheels on a machine without a GPU."""

from __future__ import annotations

from conftest import CPU_WHEEL, GPU_WHEEL

from ocr_onnx.installation import requirement
from ocr_onnx.runtime.provider_errors import InstalledRuntime, missing_libraries, missing_provider

GONE = ": cannot open shared object file: No such file or directory"
NO_DRIVER = {"libcuda.so.1": f"libcuda.so.1{GONE}"}
NO_CUDA = {name: name + GONE for name in ("libcublas.so.13", "libcublasLt.so.13", "libcurand.so.10", "libcudnn.so.9")}


def test_a_wheel_without_cuda_is_to_be_changed_for_one_that_has_it() -> None:
    assert missing_provider("CUDAExecutionProvider", CPU_WHEEL) == (
        "CUDAExecutionProvider is not in the installed ONNX Runtime: onnxruntime 1.32.0 has AzureExecutionProvider, "
        "CPUExecutionProvider: pip uninstall -y onnxruntime, then pip install " + requirement("gpu")
    )


def test_two_wheels_at_once_are_the_cause_where_cuda_is_lost() -> None:
    both = InstalledRuntime({"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}, CPU_WHEEL.providers)
    assert missing_provider("CUDAExecutionProvider", both) == (
        "onnxruntime 1.31.1 and onnxruntime-gpu 1.31.1 are installed together, and the last one has overwritten "
        "files of the other, so CUDAExecutionProvider is missing: pip uninstall -y onnxruntime onnxruntime-gpu, then pip "
        f"install {requirement('gpu')}"
    )


def test_a_plug_in_is_to_be_installed() -> None:
    assert missing_provider("OpenVINOExecutionProvider", CPU_WHEEL).endswith("pip install onnxruntime-ep-openvino")
    assert missing_provider("NvTensorRTRTXExecutionProvider", GPU_WHEEL).endswith("onnxruntime-ep-nv-tensorrt-rtx-cu13")


def test_a_provider_of_another_system_is_told_so() -> None:
    assert missing_provider("CoreMLExecutionProvider", CPU_WHEEL).endswith("it exists only on macOS")


def test_a_misspelt_name_is_told_the_nearest() -> None:
    assert missing_provider("CudaExecutionProvider", CPU_WHEEL).endswith("did you mean CUDAExecutionProvider?")
    assert missing_provider("nonsense", CPU_WHEEL).endswith("CPUExecutionProvider: choose one of these")


def test_without_a_driver_the_driver_is_the_cure() -> None:
    text = missing_libraries("CUDAExecutionProvider", NO_DRIVER, GPU_WHEEL)
    assert text == (
        "CUDAExecutionProvider cannot start: there is no NVIDIA driver (libcuda.so.1: cannot open shared object file: No "
        "such file or directory): on a machine with an NVIDIA GPU, install its driver; start a container with --gpus all"
    )


def test_missing_libraries_are_named_with_the_loaders_message_and_the_package_that_has_them() -> None:
    assert missing_libraries("CUDAExecutionProvider", NO_CUDA, GPU_WHEEL) == (
        "CUDAExecutionProvider cannot start: libraries of CUDA 13.0 are missing (libcublas.so.13, libcublasLt.so.13, "
        "libcurand.so.10, libcudnn.so.9: cannot open shared object file: No such file or directory): pip install "
        "'onnxruntime-gpu[cuda,cudnn]==1.31.1', or add the folder of the system's libraries to LD_LIBRARY_PATH"
    )


def test_all_that_is_missing_is_told_at_once() -> None:
    missing = {**NO_DRIVER, **NO_CUDA, "libnvinfer.so.10": f"libnvinfer.so.10{GONE}"}
    text = missing_libraries("TensorrtExecutionProvider", missing, GPU_WHEEL)
    assert text.index("NVIDIA driver") < text.index("CUDA 13.0") < text.index("TensorRT is missing (libnvinfer.so.10:")
