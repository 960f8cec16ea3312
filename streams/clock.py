"""What time it is for the tasks: the wall clock, or one instant for imports and comparisons."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The instant that results are as of."""

    def now_ms(self) -> int: ...


class WallClock:
    """The system's time, which never goes back: a step of NTP must not un-fire a timer."""

    def __init__(self) -> None:
        self._latest = 0

    def now_ms(self) -> int:
        self._latest = max(self._latest, time.time_ns() // 1_000_000)
        return self._latest


class FixedClock:
    """Always the same instant (epoch ms)."""

    def __init__(self, instant_ms: int) -> None:
        self._instant_ms = instant_ms

    def now_ms(self) -> int:
        return self._instant_ms


def clock_at(fixed_ms: int | None) -> Clock:
    """The wall clock for None, else a fixed one."""
    return WallClock() if fixed_ms is None else FixedClock(fixed_ms)
