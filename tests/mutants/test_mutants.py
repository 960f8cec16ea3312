"""Every mutant of the catalogue is noticed, by the quickest of its tests; `make mutants` tries all of them."""

from __future__ import annotations

import pytest

from tests.mutants import Mutant, StaleMutantError, Workshop
from tests.mutants.catalogue import MUTANTS


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


def test_there_are_enough_and_each_has_its_name() -> None:
    assert len({m.name for m in MUTANTS}) == len(MUTANTS) >= 12
    assert all(m.tests and m.old != m.new for m in MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_a_broken_fold_is_noticed(workshop: Workshop, mutant: Mutant) -> None:
    assert not workshop.survives(mutant, mutant.tests[0])


def test_a_change_that_breaks_nothing_survives(workshop: Workshop) -> None:
    """Or all of this would say nothing."""
    m = MUTANTS[0]
    assert workshop.survives(m._replace(new=m.old + "  # the same"), m.tests[0])


def test_a_mutant_of_what_is_gone_is_an_error(workshop: Workshop) -> None:
    m = MUTANTS[0]
    with pytest.raises(StaleMutantError, match="0 places"):
        workshop.survives(m._replace(old="no such text in there"), m.tests[0])
    with pytest.raises(StaleMutantError, match="cannot run"):
        workshop.survives(m, "tests/unit/test_scoring.py::test_that_is_gone")
