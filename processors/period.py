"""A stretch of whole days of the reporting time zone."""

from __future__ import annotations

import re

from msgspec import Struct

from processors.days import civil, day_number, first_of_month, iso

_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?", re.ASCII)


class Period(Struct, frozen=True):
    """From ``first`` to ``last`` (days since 1970-01-01), both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{iso(self.first)}..{iso(self.last)}"

    @classmethod
    def parse(cls, text: str) -> Period:
        """``2026``, ``2026-10``, ``2026-10-31``, or two of them with ``..`` between.

        :raises ValueError: it is none of these.
        """
        begin, dots, end = text.strip().partition("..")
        first, last = _span(begin, text), _span(end if dots else begin, text)
        if first[0] > last[1]:
            raise ValueError(f"period {text!r} ends before it begins")
        return cls(first[0], last[1])


def _span(text: str, whole: str) -> tuple[int, int]:
    found = _DATE.fullmatch(text.strip())
    if found is not None:
        year, month, day = (int(part) if part else 0 for part in found.groups())
        if found[2] is None:
            return day_number(year, 1, 1), day_number(year + 1, 1, 1) - 1
        if 1 <= month <= 12:
            if found[3] is None:
                number = year * 12 + month - 1
                return first_of_month(number), first_of_month(number + 1) - 1
            at = day_number(year, month, day)
            if civil(at) == (year, month, day):
                return at, at
    raise ValueError(
        f"period {whole!r}: write a month (2026-10), a day (2026-10-31), a year, or two of them with .. between"
    )
