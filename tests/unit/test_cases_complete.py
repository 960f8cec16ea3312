"""Every one of the 51 cases of DOMAIN 8 has a test that bears its number."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def numbers() -> set[int]:
    """Of all tests that are named by cases: ``test_case_07_…``, or ``test_case_01_and_02_…``."""
    found: set[int] = set()
    for path in TESTS.rglob("test_*.py"):
        for name in re.findall(r"^(?:async )?def (test_case_\w+)", path.read_text("utf-8"), re.MULTILINE):
            found.update(int(n) for n in re.findall(r"(?:case|and)_(\d\d)(?=_)", name))
    return found


def test_no_case_is_missing() -> None:
    assert numbers() == set(range(1, 52))
