"""Every one of the 51 cases of DOMAIN 8 has a test that bears its number, where it has to be proven."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
DELIVERY, IDENTITY, TIME, OPERATION = range(1, 12), range(12, 25), (44,), (49, 50, 51)
#: The whole topology, in memory or on a real Kafka.
TOPOLOGY = ("unit/test_cases_*.py", "contract*.py", "integration/*.py")
#: Real workers on a real Kafka; the contract runs there too.
KAFKA = ("contract*.py", "integration/*.py", "chaos/*.py")
#: What brokers, partitions, crashes and restarts could break. The rest of delivery and identity is decided within a
#: row, or between rows that tell one another in the same way on either.
ON_KAFKA = {1, 2, 4, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21, 22, 24, 44, 47, 48, 49, 50, 51}


def numbers(patterns: Iterable[str]) -> set[int]:
    """Of all tests that are named by cases: ``test_case_07_…``, or ``test_case_01_and_02_…``."""
    found: set[int] = set()
    for path in (p for pattern in patterns for p in TESTS.glob(pattern)):
        for name in re.findall(r"^ *(?:async )?def (test_case_\w+)", path.read_text("utf-8"), re.MULTILINE):
            found.update(int(n) for n in re.findall(r"(?:case|and)_(\d\d)(?=_)", name))
    return found


def test_no_case_is_missing() -> None:
    assert numbers(["**/*.py"]) == set(range(1, 52))


def test_delivery_identity_time_and_operation_go_through_the_topology() -> None:
    assert numbers(TOPOLOGY) >= {*DELIVERY, *IDENTITY, *TIME, *OPERATION}


def test_what_partitions_and_crashes_could_break_is_proven_on_kafka() -> None:
    assert numbers(KAFKA) == ON_KAFKA
