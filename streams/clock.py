"""What time it is for the tasks: the wall clock, one instant for imports, or a wall clock that runs fast."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from fractions import Fraction
from typing import Protocol

from streams.settings import Settings


class Clock(Protocol):
    """The instant that results are as of."""

    def now_ms(self) -> int: ...

    def at(self, wall_ms: int) -> int:
        """The instant that belongs to a time of the system, e.g. to a record's timestamp."""
        ...


class WallClock:
    """The system's time, which never goes back: a step of NTP must not un-fire a timer."""

    def __init__(self) -> None:
        self._latest = 0

    def now_ms(self) -> int:
        self._latest = max(self._latest, time.time_ns() // 1_000_000)
        return self._latest

    def at(self, wall_ms: int) -> int:
        return wall_ms


class FixedClock:
    """Always the same instant (epoch ms). What was recorded keeps its time."""

    def __init__(self, instant_ms: int) -> None:
        self._instant_ms = instant_ms

    def now_ms(self) -> int:
        return self._instant_ms

    def at(self, wall_ms: int) -> int:
        return wall_ms


class ScaledClock:
    """Simulated time: at ``wall_start_ms`` it is ``start_ms``, and from then on it runs ``factor`` times as fast.

    Before that it runs like the wall clock, so that a prepared history can lie before the start. Publishers that
    know nothing of it stamp their records with the wall clock; `at` says what time that was in the simulation.
    """

    def __init__(self, start_ms: int, wall_start_ms: int, factor: Fraction) -> None:
        self.start_ms = start_ms
        self.wall_start_ms = wall_start_ms
        self.factor = factor
        self._wall = WallClock()

    def now_ms(self) -> int:
        return self.at(self._wall.now_ms())

    def at(self, wall_ms: int) -> int:
        passed = wall_ms - self.wall_start_ms
        if passed <= 0:
            return self.start_ms + passed
        # Not by a float: every worker must find the same instant for a record, now and at each replay.
        return self.start_ms + passed * self.factor.numerator // self.factor.denominator

    def wall_ms(self, instant_ms: int) -> int:
        """The first time of the system at which this clock shows ``instant_ms`` or later."""
        passed = instant_ms - self.start_ms
        if passed <= 0:
            return self.wall_start_ms + passed
        return self.wall_start_ms - (-passed * self.factor.denominator // self.factor.numerator)


def iso(ms: int) -> str:
    """An epoch instant as people read it: ISO, UTC, to the second or millisecond."""
    try:
        text = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return str(ms)
    return text.replace(".000+00:00", "Z").replace("+00:00", "Z")


def clock_at(fixed_ms: int | None) -> Clock:
    """The wall clock for None, else a fixed one."""
    return WallClock() if fixed_ms is None else FixedClock(fixed_ms)


def clock_of(settings: Settings) -> Clock:
    """The clock that the settings name."""
    if (scale := settings.scale) is not None:
        return ScaledClock(*scale)
    return clock_at(settings.fixed_now_ms)
