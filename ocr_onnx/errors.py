"""Every error this package raises on purpose, each with its cure in the message.

OCRError
├── InputError (ValueError)               an input that cannot be read
│   ├── InputNotFoundError (FileNotFoundError)
│   ├── UnreadableImageError              damaged, empty, encrypted, or no picture at all
│   ├── ImageTooLargeError                more pixels than are allowed
│   ├── NotEnoughMemoryError (MemoryError) reading it would pass the process's limit of memory
│   ├── UnsupportedInputError (TypeError) an object or a dtype that is no picture
│   ├── InputDownloadError (DownloadError)  an address that gives no input
│   └── FetchRefusedError                 an address that a server's operator does not allow
├── OptionError (ValueError)              an option outside its range
├── ModelError (ValueError)               a model that cannot be used
│   ├── ModelNotFoundError (FileNotFoundError)
│   ├── StageNotLoadedError               a stage was asked for whose model was not loaded
│   └── EngineRefusedError                what TensorRT compiled decides otherwise than the CPU
├── OnnxRuntimeError (RuntimeError)
│   ├── OnnxRuntimeMissingError (ImportError)
│   └── DeviceUnavailableError            the device asked for is not there
├── UnmappableError (ValueError)          points of an unwarped page have no place on the input
├── OutputError (OSError)                 a result or a model that cannot be written
├── DownloadError (OSError)               a file that cannot be fetched
│   └── IntegrityError (ValueError)       a file that is not what it should be
└── ConversionError (RuntimeError)        Paddle to ONNX failed, or the two disagree
"""

from __future__ import annotations


class OCRError(Exception):
    """Anything that ocr-onnx refuses; catch it to catch them all."""


class InputError(OCRError, ValueError):
    """An input that cannot be read."""


class InputNotFoundError(InputError, FileNotFoundError):
    """No such file or folder."""


class UnreadableImageError(InputError):
    """Bytes that are no whole picture or document."""


class ImageTooLargeError(InputError):
    """More pixels than are allowed."""


class NotEnoughMemoryError(InputError, MemoryError):
    """Reading it would pass the process's limit of memory."""


class UnsupportedInputError(InputError, TypeError):
    """An object, shape or dtype that is not taken for a picture."""


class OptionError(OCRError, ValueError):
    """An option outside its range."""


class ModelError(OCRError, ValueError):
    """A model that cannot be used."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """No model of that name, or no file there."""


class StageNotLoadedError(ModelError):
    """A stage was asked for whose model was not loaded."""


class EngineRefusedError(ModelError):
    """What TensorRT compiled decides otherwise than the CPU."""


class OnnxRuntimeError(OCRError, RuntimeError):
    """ONNX Runtime is missing, or cannot do what was asked."""


class OnnxRuntimeMissingError(OnnxRuntimeError, ImportError):
    """No distribution of ONNX Runtime is installed."""

    def __init__(self) -> None:
        super().__init__(
            "ONNX Runtime is not installed: pip install 'ocr-onnx[cpu]', or 'ocr-onnx[gpu]' on a machine with an "
            "NVIDIA GPU"
        )


class DeviceUnavailableError(OnnxRuntimeError):
    """The device asked for is not there."""


class UnmappableError(OCRError, ValueError):
    """Points of an unwarped page have no place on the input."""


class OutputError(OCRError, OSError):
    """A result or a model that cannot be written."""


class DownloadError(OCRError, OSError):
    """A file that cannot be fetched."""


class InputDownloadError(InputError, DownloadError):
    """An input's address that cannot be fetched, or gives more than is allowed."""


class FetchRefusedError(InputError):
    """An address that a server's operator does not allow."""


class IntegrityError(DownloadError, ValueError):
    """A file that is not what it should be."""


class ConversionError(OCRError, RuntimeError):
    """Paddle to ONNX failed, or the two disagree."""
