"""Mutations of valid files: reading them raises nothing but this package's errors. `make mutations` reads many more."""

from __future__ import annotations

import mutations
import pytest


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "count"), [("pictures", 1500), ("pdfs", 100)])
def test_a_mutated_file_is_read_or_refused_by_an_error_of_this_package(kind: str, count: int) -> None:
    outcomes = [mutations.outcome(mutations.mutated(kind, number)) for number in range(count)]
    assert outcomes.count("read") > count / 20
    assert len(set(outcomes)) > 1


@pytest.mark.parametrize("kind", ["pictures", "pdfs"])
def test_the_files_that_are_mutated_are_valid_and_the_mutations_are_repeatable(kind: str) -> None:
    assert {mutations.outcome(data) for data in mutations.seeds(kind)} == {"read"}
    assert mutations.mutated(kind, 7) == mutations.mutated(kind, 7) != mutations.mutated(kind, 8)
