"""The exceptions of this package. Each message names the object, the cause and the remedy.

OCRError
├── InputError (ValueError)               an input cannot be read
│   ├── InputNotFoundError (FileNotFoundError)
│   ├── UnreadableImageError              damaged, truncated, empty, encrypted, or neither an image nor a PDF
│   ├── ImageTooLargeError                more pixels than the limit
│   ├── NotEnoughMemoryError (MemoryError)  processing would exceed the memory limit of the process
│   ├── UnsupportedInputError (TypeError) an unsupported type, array shape or dtype
│   ├── InputDownloadError (DownloadError)  the URL of an input cannot be downloaded
│   └── FetchRefusedError                 a URL that the operator of the server does not allow
├── OptionError (ValueError)              an unknown option, or a value out of range
├── ModelError (ValueError)               a model cannot be used
│   ├── ModelNotFoundError (FileNotFoundError)
│   ├── StageNotLoadedError               a call enables a stage whose model was not loaded
│   └── EngineRefusedError                a TensorRT engine whose results differ from the CPU's
├── OnnxRuntimeError (RuntimeError)       ONNX Runtime is missing or cannot run the model
│   ├── OnnxRuntimeMissingError (ImportError)
│   └── DeviceUnavailableError            the requested device is not available
├── UnmappableError (ValueError)          points of an unwarped page cannot be mapped to the input image
├── OutputError (OSError)                 a result or a model cannot be written
├── DownloadError (OSError)               a file cannot be downloaded
│   └── IntegrityError (ValueError)       a file does not have the expected checksum
└── ConversionError (RuntimeError)        converting a Paddle model failed, or its results differ from Paddle's
"""

from __future__ import annotations

from ocr_onnx.installation import requirement

MAX_SHOWN = 100
"""Characters of a value in a message: it may be a whole file in Base64."""

SHOWN_END = 30
"""Those of them at its end, where the name of a file is in its path."""


def shortened(text: str) -> str:
    """Return a text for a message: without control characters, and without its middle if it is longer than MAX_SHOWN characters."""
    if len(text) > MAX_SHOWN:
        text = f"{text[: MAX_SHOWN - SHOWN_END]}…{text[-SHOWN_END:]}"
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


class OCRError(Exception):
    """Base class of all errors that ocr-onnx raises on purpose."""


class InputError(OCRError, ValueError):
    """An input cannot be read."""

    source: str | None = None
    """The path or URL of the input; None for arrays and data without a name."""
    page: int | None = None
    """The page of a PDF or TIFF, counted from 1; None for another input, or if the whole file cannot be read."""


class InputNotFoundError(InputError, FileNotFoundError):
    """The file or folder does not exist, or it contains nothing to read."""


class UnreadableImageError(InputError):
    """The data is not a complete image or document."""


class ImageTooLargeError(InputError):
    """The image has more pixels than the limit."""


class NotEnoughMemoryError(InputError, MemoryError):
    """Processing the input would exceed the memory limit of the process."""


class UnsupportedInputError(InputError, TypeError):
    """The input has an unsupported type, array shape or dtype."""


class OptionError(OCRError, ValueError):
    """An option is unknown, or its value is out of range."""


class ModelError(OCRError, ValueError):
    """A model cannot be used."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """No model has this name, or the model file does not exist."""


class StageNotLoadedError(ModelError):
    """A call enables a stage whose model was not loaded."""


class EngineRefusedError(ModelError):
    """The results of a TensorRT engine differ too much from the CPU's."""


class OnnxRuntimeError(OCRError, RuntimeError):
    """ONNX Runtime is missing, or it cannot run the model as requested."""


class OnnxRuntimeMissingError(OnnxRuntimeError, ImportError):
    """No distribution of ONNX Runtime is installed."""

    def __init__(self) -> None:
        super().__init__(
            f"ONNX Runtime is not installed: pip install {requirement('cpu')}, or {requirement('gpu')} on a machine with an "
            "NVIDIA GPU"
        )


class DeviceUnavailableError(OnnxRuntimeError):
    """The requested device is not available."""


class UnmappableError(OCRError, ValueError):
    """Points of an unwarped page cannot be mapped to the input image."""


class OutputError(OCRError, OSError):
    """A result or a model cannot be written."""


class DownloadError(OCRError, OSError):
    """A file cannot be downloaded."""


class InputDownloadError(InputError, DownloadError):
    """The URL of an input cannot be downloaded, or its content exceeds a limit."""


class FetchRefusedError(InputError):
    """The operator of the server does not allow this URL."""


class IntegrityError(DownloadError, ValueError):
    """A file does not have the expected checksum."""


class ConversionError(OCRError, RuntimeError):
    """Converting a Paddle model failed, or its results differ from Paddle's."""
