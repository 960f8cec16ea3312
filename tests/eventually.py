"""Waiting for a condition with a deadline, the only way to wait in these tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], timeout: float = 30.0, what: str = "") -> T:
    """The first true answer of ``condition``; fails when there was none within ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not within {timeout:g} s: {what or condition!r}; the last answer was {answer!r}"
            )
        time.sleep(0.05)
    return answer
