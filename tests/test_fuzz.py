"""The parsers that `make fuzz` fuzzes, on valid inputs, on inputs that once failed, and on some mutations."""

from __future__ import annotations

from pathlib import Path

import fuzz_targets
import pytest

MUTATIONS = {"images": 100, "exif": 60, "writers": 40}
"""The number of mutations for slow targets; 300 for the others."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", fuzz_targets.TARGETS)
def test_a_parser_takes_any_input_or_refuses_it_with_an_error_of_this_package(name: str) -> None:
    target = fuzz_targets.TARGETS[name]
    seeds = list(target.seeds())
    assert seeds
    for data in [*seeds, *fuzz_targets.corpus(name), *fuzz_targets.mutated(name, MUTATIONS.get(name, 300))]:
        target.run(data)
    fuzz_targets.remove_scratch()


def test_each_folder_of_the_corpus_belongs_to_a_target() -> None:
    folders = {path.name for path in (Path(__file__).parent / "corpus").iterdir()}
    assert folders <= set(fuzz_targets.TARGETS)
