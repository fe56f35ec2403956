"""The records of tasks: one for each, naming fields that exist."""

from __future__ import annotations

from dataclasses import fields
from typing import get_args

import numpy as np
import pytest
from conftest import UNWARPING

from ocr_onnx import Models, OCROptions
from ocr_onnx.errors import ModelError
from ocr_onnx.models import zoo
from ocr_onnx.models.metadata import LAYOUTS, Task
from ocr_onnx.stages.calibration import difference
from ocr_onnx.stages.tasks import TASKS
from ocr_onnx.types import Tensor


def test_every_task_has_one_record_and_one_layout() -> None:
    assert set(get_args(Task)) == set(TASKS) == set(LAYOUTS)


def test_every_model_of_the_options_belongs_to_one_task() -> None:
    assert sorted(spec.model_field for spec in TASKS.values()) == sorted(f.name for f in fields(Models))


@pytest.mark.parametrize("task", get_args(Task))
def test_the_default_model_of_a_task_is_a_model_for_it(task: Task) -> None:
    assert zoo.spec(str(TASKS[task].model(Models()))).task == task


def test_the_switch_of_a_task_turns_its_stage_on() -> None:
    off = OCROptions(use_doc_orientation_classify=False, use_textline_orientation=False)
    assert [task for task, spec in TASKS.items() if spec.is_on(off)] == ["text_detection", "text_recognition"]
    assert TASKS["image_unwarping"].is_on(OCROptions(use_doc_unwarping=True))


def test_a_task_without_decisions_cannot_be_compared() -> None:
    def run(tensor: Tensor) -> tuple[Tensor]:
        return (np.zeros_like(tensor),)

    with pytest.raises(ModelError, match="makes no decisions that can be compared"):
        difference(run, run, UNWARPING)
