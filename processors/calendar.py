"""Business time: opening hours of a place, with its holidays and its daylight saving.

The rule for days on which clocks are put forward or back: **an instant is open exactly if the local
clock then reads a time within the opening hours**. An opening at 02:30 that a spring day leaves out
therefore begins at 03:00; an hour that an autumn day has twice is open twice.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

from processors.days import DAY, ZoneDays, iso, weekday, zone_days

MINUTE = 60_000
#: Opening hours of one day: (from, to) in minutes after local midnight, 0..1440, in order.
Hours = tuple[tuple[int, int], ...]

_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
#: A business duration that needs longer than this is a mistake in the definition, not a long wait.
_HORIZON_DAYS = 3660
#: Days kept per calendar and zone: eleven years, about a megabyte; then the cache starts anew.
_CACHED_DAYS = 4096
_CACHED_ZONES = 512


def _clean(hours: Iterable[Sequence[int]], where: str) -> Hours:
    """In order, touching ones joined."""
    joined: list[tuple[int, int]] = []
    for begin, end in sorted((int(a), int(b)) for a, b in hours):
        if not 0 <= begin < end <= 1440:
            raise ValueError(
                f"{where}: opening hours must lie between 00:00 and 24:00 and end after they begin"
            )
        if joined and begin < joined[-1][1]:
            raise ValueError(f"{where}: opening hours overlap")
        if joined and begin == joined[-1][1]:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return tuple(joined)


class Calendar:
    """Opening hours in one time zone. Immutable; equal if zone, hours, holidays and extra days are.

    :param time_zone: IANA name.
    :param hours: weekday (0 Monday .. 6 Sunday) to intervals of minutes after local midnight.
    :param holidays: days (since 1970-01-01) that are closed.
    :param extra: days with hours of their own, whatever the weekday; they win over a holiday.
    :raises ValueError: for an unknown zone, overlapping hours, or a week without opening hours.
    """

    __slots__ = ("_days", "_zone", "_zones", "extra", "holidays", "hours", "time_zone")

    def __init__(
        self,
        time_zone: str = "UTC",
        hours: Mapping[int, Iterable[Sequence[int]]] | None = None,
        holidays: Iterable[int] = (),
        extra: Mapping[int, Iterable[Sequence[int]]] | None = None,
    ) -> None:
        week = dict.fromkeys(range(5), ((540, 1020),)) if hours is None else hours
        if any(d not in range(7) for d in week):
            raise ValueError("weekdays are 0 (Monday) to 6 (Sunday)")
        self.time_zone = time_zone
        self.hours: tuple[Hours, ...] = tuple(_clean(week.get(d, ()), _NAMES[d]) for d in range(7))
        self.holidays = frozenset(holidays)
        self.extra: dict[int, Hours] = {d: _clean(h, iso(d)) for d, h in sorted((extra or {}).items())}
        if not any(self.hours):
            raise ValueError("a calendar needs opening hours on at least one weekday")
        self._zone: ZoneDays = zone_days(time_zone)
        self._days: dict[int, tuple[int, tuple[int, ...], tuple[int, ...]]] = {}
        self._zones: dict[str, Calendar] = {time_zone: self}

    def _identity(self) -> tuple[object, ...]:
        return self.time_zone, self.hours, self.holidays, tuple(self.extra.items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Calendar) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        return f"Calendar({self.time_zone!r}, {len(self.holidays)} holidays, {len(self.extra)} extra days)"

    def in_zone(self, time_zone: str | None) -> Calendar:
        """The same hours on the clocks of another zone; None or "" gives this one.

        :raises ValueError: for a zone that does not exist.
        """
        if not time_zone:
            return self
        known = self._zones.get(time_zone)
        if known is None:
            hours = dict(enumerate(self.hours))
            known = Calendar(time_zone, hours, self.holidays, self.extra)
            if len(self._zones) >= _CACHED_ZONES:
                self._zones = {self.time_zone: self}
            known._zones = self._zones
            self._zones[time_zone] = known
        return known

    def hours_on(self, day: int) -> Hours:
        """Opening hours of a local date (days since 1970-01-01)."""
        special = self.extra.get(day)
        if special is not None:
            return special
        return () if day in self.holidays else self.hours[weekday(day)]

    @property
    def business_day_ms(self) -> int:
        """Opening hours of a working day of an ordinary week, on average: what "1d" of business time means."""
        week = sum(end - begin for day in self.hours for begin, end in day)
        return week * MINUTE // sum(bool(day) for day in self.hours)

    def _utc_day(self, number: int) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
        """Open ms, starts and ends of the open stretches within one UTC day.

        By UTC day, because local days may overlap where clocks are put back at midnight.
        """
        low, high = number * DAY, (number + 1) * DAY
        spans: list[tuple[int, int]] = []
        for begin, end, offset in self._zone.offsets(low, high):
            for day in range((begin + offset) // DAY, (end - 1 + offset) // DAY + 1):
                for opens, closes in self.hours_on(day):
                    span = (
                        max(begin, day * DAY + opens * MINUTE - offset),
                        min(end, day * DAY + closes * MINUTE - offset),
                    )
                    if span[0] < span[1]:
                        spans.append(span)
        spans.sort()
        if len(self._days) >= _CACHED_DAYS:
            self._days.clear()
        found = (sum(e - b for b, e in spans), tuple(b for b, _ in spans), tuple(e for _, e in spans))
        self._days[number] = found
        return found

    def is_open(self, ms: int) -> bool:
        """Is the office open at that instant? The closing instant itself is closed."""
        _, starts, ends = self._days.get(ms // DAY) or self._utc_day(ms // DAY)
        at = bisect_right(starts, ms) - 1
        return at >= 0 and ms < ends[at]

    def next_open(self, ms: int) -> int:
        """The first open instant at or after ``ms``.

        :raises ValueError: if there is none within ten years.
        """
        first = ms // DAY
        for number in range(first, first + _HORIZON_DAYS):
            _, starts, ends = self._days.get(number) or self._utc_day(number)
            for begin, end in zip(starts, ends, strict=True):
                if end > ms:
                    return max(begin, ms)
        raise self._never(ms)

    def add(self, start_ms: int, business_ms: int) -> int:
        """The first instant by which ``business_ms`` of business time have passed since ``start_ms``.

        What is used up exactly at closing time is due then (Friday 17:00), not at the next opening.

        :raises ValueError: for a negative duration, or if it takes more than ten years.
        """
        if business_ms <= 0:
            if business_ms < 0:
                raise ValueError("a business duration cannot be negative")
            return start_ms
        left = business_ms
        days = self._days
        number = start_ms // DAY
        last = number + _HORIZON_DAYS
        at = start_ms
        while number <= last:
            total, starts, ends = days.get(number) or self._utc_day(number)
            if total < left and at != start_ms:
                left -= total
            elif total:
                for begin, end in zip(starts, ends, strict=True):
                    if end > at:
                        since = max(begin, at)
                        if end - since >= left:
                            return since + left
                        left -= end - since
            number += 1
            at = number * DAY
        raise self._never(start_ms)

    def between(self, a_ms: int, b_ms: int) -> int:
        """Business ms in [a_ms, b_ms]; 0 if b is not after a."""
        if b_ms <= a_ms:
            return 0
        days = self._days
        first, last = a_ms // DAY, b_ms // DAY
        found = 0
        for number in range(first, last + 1):
            total, starts, ends = days.get(number) or self._utc_day(number)
            if first < number < last:
                found += total
            elif total:
                for begin, end in zip(starts, ends, strict=True):
                    found += max(0, min(end, b_ms) - max(begin, a_ms))
        return found

    def _never(self, ms: int) -> ValueError:
        return ValueError(
            f"not enough opening hours in the ten years after {iso(ms // DAY)} ({self.time_zone}, "
            f"{len(self.holidays)} holidays): look at the calendar's holidays and at the duration"
        )
