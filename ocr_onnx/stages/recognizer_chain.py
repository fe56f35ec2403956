"""Recognition with several models: a line goes on to the next one while its score is low, and the best reading is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ocr_onnx.models import zoo
from ocr_onnx.options import RecognitionOptions
from ocr_onnx.stages.recognition import TextRecognizer
from ocr_onnx.types import Image, Text

CERTAIN = 1e-4
"""The least distance of a score from 0 and 1 before it is calibrated, because the logit of both is infinite."""

DEFAULT_THRESH = 0.8
"""The threshold of a step that has none in the options; for PP-OCRv6 tiny it is a score of 0.97, for small 0.99."""

DEFAULT_CALIBRATION = (0.8, -2.6)
"""Slope and offset for models without measurement, near the mean of those measured (docs/chains.md)."""


@dataclass(frozen=True, slots=True)
class RecognizerChain(TextRecognizer):
    """Recognizes line crops with a first model, and lines with a low score with those that follow. Many threads may use it."""

    following: tuple[TextRecognizer, ...] = ()

    def __call__(self, crops: Sequence[Image], options: RecognitionOptions = RecognitionOptions()) -> list[Text]:
        """Return the best text of each crop, in their order, each with the name of the model that read it.

        The scores of different models are compared after calibration; the text keeps the score of its model.
        """
        name = self.metadata.name
        texts = [text._replace(model=name) for text in TextRecognizer.__call__(self, crops, options)]
        for step, recognizer in enumerate(self.following):
            low = [i for i, text in enumerate(texts) if goes_on(text, options, step)]
            again = recognizer([crops[i] for i in low], options)
            for i, text in zip(low, again, strict=True):
                texts[i] = better(texts[i], text._replace(model=recognizer.metadata.name))
        return texts


def goes_on(text: Text, options: RecognitionOptions, step: int) -> bool:
    """Return whether a line is read again after this step, counted from 0."""
    return calibrated(text.score, text.model) < threshold(options, step)


def better(text: Text, other: Text) -> Text:
    """Return the reading of a line with the higher calibrated score; `text` if both are equal."""
    return other if calibrated(other.score, other.model) > calibrated(text.score, text.model) else text


def threshold(options: RecognitionOptions, step: int) -> float:
    """Return the calibrated score below which a line goes on from this step, counted from 0; the last one given holds for the rest."""
    given = options.chain_thresh
    return given[min(step, len(given) - 1)] if given else DEFAULT_THRESH


def calibrated(score: float, model: str) -> float:
    """Return the probability that a line with this score of a model is right, 0 to 1."""
    spec = zoo.models().get(model)
    slope, offset = spec.calibration if spec is not None and spec.calibration else DEFAULT_CALIBRATION
    certain = min(max(score, CERTAIN), 1 - CERTAIN)
    return 1 / (1 + math.exp(-(slope * math.log(certain / (1 - certain)) + offset)))
