"""Normalization of pixels on a GPU: an image travels there as bytes, a quarter of the size of its normalized tensor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.types import Image

FILE = Path(__file__).with_name("pixels.onnx")
"""The model that normalizes, made by ocr_onnx.converters.pixels."""

VALUES = 256
"""The number of values of a pixel."""


class Pixels(NamedTuple):
    """An image for a detector on a GPU."""

    image: Image
    table: NDArray[np.float32]
    """The normalized value of each pixel value of each channel, (3, VALUES)."""
    padded: tuple[int, int]
    """The (height, width) to which the image is padded on the right and below. The padding is marked (batching.PADDING_MARK)."""


class PixelInput:
    """Normalizes images into the input tensor of a session, which is on the GPU; one for each padded size."""

    def __init__(self, session: Any, tensor: Any, on_device: Callable[[NDArray[Any]], Any]) -> None:
        """`session` is an onnxruntime.InferenceSession of FILE; `tensor` is the onnxruntime.OrtValue to write, (1, 3, height, width).

        `on_device` returns an onnxruntime.OrtValue on the GPU with the values of an array.
        """
        _, _, height, width = tensor.shape()
        self._session, self._staged = session, np.zeros((1, height, width, 3), np.uint8)
        values = {
            "pixels": self._staged,
            "table": np.zeros(3 * VALUES, np.float32),
            "rows": np.arange(height, dtype=np.float32).reshape(height, 1),
            "columns": np.arange(width, dtype=np.float32).reshape(1, width),
            "size": np.zeros(2, np.float32),
        }
        self._inputs = {name: on_device(value) for name, value in values.items()}
        self._binding = session.io_binding()
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        self._binding.bind_ortvalue_output("tensor", tensor)

    def write(self, pixels: Pixels) -> None:
        """Write the normalized image, with its padding marked, into the tensor."""
        height, width = pixels.image.shape[:2]
        # Pixels of an earlier image may remain in the padding: the model does not read them.
        self._staged[0, :height, :width] = pixels.image
        self._inputs["pixels"].update_inplace(self._staged)
        self._inputs["size"].update_inplace(np.array([height, width], np.float32))
        self._inputs["table"].update_inplace(pixels.table.ravel())
        self._session.run_with_iobinding(self._binding)
