"""Local days, weeks, months and fiscal periods of a time zone, in integers.

A day is the number of days since 1970-01-01 of the local date, a month is ``year * 12 + month - 1``,
a quarter is ``year * 4 + quarter - 1``. Offsets from UTC are found once per 398 days and zone;
afterwards a day costs one look-up, and in UTC one division.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

DAY = 86_400_000
#: Offsets are kept by blocks of 2**35 ms (398 days): few enough to keep, long enough to be found rarely.
_SHIFT = 35
_BLOCK = 1 << _SHIFT
#: A zone changes its offset at most every few days, so a step of a day sees every change.
_STEP = DAY
#: Outside of these years the offset at the border is taken: zoneinfo knows years 1 to 9999 only.
_FIRST, _LAST = -62_135_000_000_000, 253_370_000_000_000
_UTC_NAMES = frozenset(("UTC", "Etc/UTC", "Zulu", "Etc/Zulu", "Universal", "Etc/Universal", "GMT", "Etc/GMT"))


def day_number(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 (Hinnant, chrono-compatible low-level date algorithms)."""
    year -= month <= 2
    era = year // 400
    yoe = year - era * 400
    doy = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146_097 + yoe * 365 + yoe // 4 - yoe // 100 + doy - 719_468


def day_of_text(text: str) -> int:
    """Of a date that has been checked, ``2026-01-31`` with or without a time behind it."""
    year, month, day = map(int, text[:10].split("-"))
    return day_number(year, month, day)


def civil(day: int) -> tuple[int, int, int]:
    """Year, month and day of the month: the inverse of `day_number`."""
    day += 719_468
    era = day // 146_097
    doe = day - era * 146_097
    yoe = (doe - doe // 1460 + doe // 36_524 - doe // 146_096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    month = mp + 3 if mp < 10 else mp - 9
    return yoe + era * 400 + (month <= 2), month, doy - (153 * mp + 2) // 5 + 1


@lru_cache(maxsize=4096)
def month_of_day(day: int) -> int:
    """``year * 12 + month - 1``."""
    year, month, _ = civil(day)
    return year * 12 + month - 1


def first_of_month(month: int) -> int:
    """The day a month begins on."""
    return day_number(month // 12, month % 12 + 1, 1)


def months_before(day: int, months: int) -> int:
    """The first day of so many months that end with ``day``: whole calendar months if it is the last of one."""
    month = month_of_day(day)
    if month_of_day(day + 1) != month:
        return first_of_month(month + 1 - months)
    begin = first_of_month(month - months)
    return begin + min(day - first_of_month(month), first_of_month(month - months + 1) - begin - 1) + 1


def iso(day: int) -> str:
    """``2026-01-31``."""
    year, month, date = civil(day)
    return f"{year:04d}-{month:02d}-{date:02d}"


def weekday(day: int) -> int:
    """0 Monday .. 6 Sunday."""
    return (day + 3) % 7


class ZoneDays:
    """The local calendar of one IANA time zone.

    :raises ValueError: for a zone that does not exist.
    """

    __slots__ = ("_blocks", "_utc", "_zone", "name")

    def __init__(self, name: str) -> None:
        try:
            self._zone = ZoneInfo(name)
        except (KeyError, ValueError, OSError, TypeError) as error:
            raise ValueError(
                f"there is no time zone {name!r}; write an IANA name such as Europe/Vienna"
            ) from error
        self.name = name
        self._utc = name in _UTC_NAMES
        self._blocks: dict[int, tuple[list[int], list[int]]] = {}

    def __repr__(self) -> str:
        return f"ZoneDays({self.name!r})"

    def offset(self, ms: int) -> int:
        """Local time minus UTC at that instant, in ms."""
        if self._utc:
            return 0
        block = self._blocks.get(ms >> _SHIFT)
        if block is None:
            block = self._block(ms >> _SHIFT)
        starts, offsets = block
        return offsets[0] if len(offsets) == 1 else offsets[bisect_right(starts, ms) - 1]

    def offsets(self, from_ms: int, to_ms: int) -> list[tuple[int, int, int]]:
        """``(start, end, offset)`` of each stretch of one offset that meets [from_ms, to_ms), clipped to it."""
        if self._utc:
            return [(from_ms, to_ms, 0)]
        found: list[tuple[int, int, int]] = []
        for number in range(from_ms >> _SHIFT, (to_ms - 1 >> _SHIFT) + 1):
            starts, offsets = self._blocks.get(number) or self._block(number)
            ends = [*starts[1:], (number + 1) << _SHIFT]
            for start, end, offset in zip(starts, ends, offsets, strict=True):
                low, high = max(start, from_ms), min(end, to_ms)
                if low >= high:
                    continue
                if found and found[-1][2] == offset:
                    found[-1] = (found[-1][0], high, offset)
                else:
                    found.append((low, high, offset))
        return found

    def _raw(self, ms: int) -> int:
        ms = min(max(ms, _FIRST), _LAST)
        delta = datetime.fromtimestamp(ms // 1000, UTC).astimezone(self._zone).utcoffset()
        return 0 if delta is None else round(delta.total_seconds()) * 1000

    def _block(self, number: int) -> tuple[list[int], list[int]]:
        begin = number << _SHIFT
        starts, offsets = [begin], [self._raw(begin)]
        at = begin
        while at < begin + _BLOCK:
            after = min(at + _STEP, begin + _BLOCK - 1)
            now = self._raw(after)
            if now != offsets[-1]:
                low, high = at, after  # the change is in (low, high]
                while high - low > 1:
                    middle = (low + high) // 2
                    if self._raw(middle) == offsets[-1]:
                        low = middle
                    else:
                        high = middle
                starts.append(high)
                offsets.append(now)
            at += _STEP
        self._blocks[number] = starts, offsets
        return starts, offsets

    def day(self, ms: int) -> int:
        """The local date, as days since 1970-01-01."""
        return ms // DAY if self._utc else (ms + self.offset(ms)) // DAY

    def start(self, day: int) -> int:
        """The first instant whose local date is ``day`` (or later, where a zone left the day out)."""
        at = day * DAY
        if self._utc:
            return at
        return min(
            max(begin, at - offset)
            for begin, end, offset in self.offsets(at - 2 * DAY, at + 2 * DAY)
            if max(begin, at - offset) < end
        )

    def month(self, ms: int) -> int:
        """``year * 12 + month - 1`` of the local date."""
        return month_of_day(self.day(ms))

    def start_of_month(self, month: int) -> int:
        """The first instant of a month."""
        return self.start(first_of_month(month))

    def week(self, ms: int, week_start: int = 0) -> int:
        """The day on which the local week began; ``week_start`` 0 Monday .. 6 Sunday."""
        day = self.day(ms)
        return day - (weekday(day) - week_start) % 7

    def fiscal_year(self, ms: int, first_month: int = 1) -> int:
        """The fiscal year, named after the calendar year in which it ends."""
        year, month = divmod(self.month(ms), 12)
        return year + (first_month > 1 and month + 1 >= first_month)

    def fiscal_quarter(self, ms: int, first_month: int = 1) -> int:
        """``fiscal year * 4 + quarter - 1``."""
        quarter = (self.month(ms) % 12 - (first_month - 1)) % 12 // 3
        return self.fiscal_year(ms, first_month) * 4 + quarter


@lru_cache(maxsize=1024)
def zone_days(time_zone: str) -> ZoneDays:
    """The one `ZoneDays` of a zone.

    :raises ValueError: for a zone that does not exist.
    """
    return ZoneDays(time_zone)


def day_of(ms: int, time_zone: str = "UTC") -> int:
    """Days since 1970-01-01 of the local date."""
    return ms // DAY if time_zone == "UTC" else zone_days(time_zone).day(ms)


def month_of(ms: int, time_zone: str = "UTC") -> int:
    """``year * 12 + month - 1`` of the local date."""
    return month_of_day(day_of(ms, time_zone))


def start_of_day(day: int, time_zone: str = "UTC") -> int:
    """The first instant of a local date, epoch ms."""
    return day * DAY if time_zone == "UTC" else zone_days(time_zone).start(day)
