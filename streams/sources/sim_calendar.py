"""When people do things: office hours and weekends, and the campaigns that make them come.

Zones are fixed offsets from UTC: the simulation needs believable rhythms, not exact law.
"""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

from streams.sources.sim_model import DAY, HOUR, MINUTE, WEEK

#: 1970-01-01 was a Thursday; weeks are counted from the Monday before.
_MONDAY = 3 * DAY

_DAYTIME = (
    0.03, 0.02, 0.02, 0.02, 0.02, 0.04, 0.12, 0.35, 0.75, 1.0, 1.0, 0.95,
    0.7, 0.85, 1.0, 0.95, 0.85, 0.65, 0.4, 0.3, 0.28, 0.25, 0.15, 0.07,
)  # fmt: skip
_LEISURE = 0.2
#: How likely somebody is to be at it, by hour of the local week from Monday 00:00.
_AWAKE = tuple(weight * (1.0 if day < 5 else _LEISURE) for day in range(7) for weight in _DAYTIME)

#: What an even flow loses to nights on a working day.
MEAN_AWAKE = sum(_DAYTIME) / 24

OPENS, CLOSES = 9, 17


def awake(at_ms: int, offset_ms: int) -> float:
    """How likely a person at ``offset_ms`` from UTC would act at ``at_ms``, 0..1."""
    return _AWAKE[(at_ms + offset_ms + _MONDAY) // HOUR % 168]


def humane(at_ms: int, offset_ms: int, rng: Random) -> int:
    """``at_ms``, moved on to an hour in which a person at ``offset_ms`` from UTC would act."""
    random = rng.random
    local = at_ms + offset_ms + _MONDAY
    while random() > _AWAKE[local // HOUR % 168]:
        local += int(random() * 6 * HOUR)
    return local - offset_ms - _MONDAY


def business(at_ms: int, minutes: float, offset_ms: int) -> int:
    """The instant ``minutes`` of office time (Monday to Friday, 9 to 17) after ``at_ms``."""
    left = int(minutes * MINUTE)
    local = at_ms + offset_ms
    while True:
        midnight = local - local % DAY
        if weekday(midnight) < 5:
            local = max(local, midnight + OPENS * HOUR)
            today = midnight + CLOSES * HOUR - local
            if left < today:
                return local + left - offset_ms
            left -= max(today, 0)
        local = midnight + DAY


def weekday(local_ms: int) -> int:
    """0 Monday .. 6 Sunday."""
    return (local_ms + _MONDAY) // DAY % 7


def midnight_after(at_ms: int) -> int:
    """The next midnight UTC, never ``at_ms`` itself."""
    return at_ms - at_ms % DAY + DAY


class Campaigns:
    """What marketing does when: ad bursts of three days, a newsletter on Tuesdays, a webinar every
    other Thursday. Everything follows from the day, so nothing has to be kept."""

    def __init__(self, seed: int, start_ms: int) -> None:
        self._seed = seed
        self._start_day = start_ms // DAY

    def burst(self, at_ms: int) -> str:
        """The ad campaign that runs at ``at_ms``, or ``""``. About one in four days has one."""
        block = (at_ms // DAY - self._start_day) // 3
        if Random(self._seed * 7919 + block).random() < 0.25:
            return f"burst-{block}"
        return ""

    def pull(self, at_ms: int) -> float:
        """By how much more than usual people come on that day."""
        day = weekday(at_ms)
        if day >= 5:
            return 0.35
        pull = 2.4 if self.burst(at_ms) else 1.0
        if day == 1:
            pull *= 1.25
        if self.webinar(at_ms):
            pull *= 1.7
        return pull

    def webinar(self, at_ms: int) -> str:
        """The webinar of that day, or ``""``."""
        week = (at_ms + _MONDAY) // WEEK
        return f"webinar-{week // 2}" if week % 2 == 0 and weekday(at_ms) == 3 else ""


def day_text(at_ms: int) -> str:
    """The UTC day as ``2025-01-31``."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
