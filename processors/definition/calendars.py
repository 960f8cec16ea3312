"""The business calendars of a definition: opening hours, holidays, days with hours of their own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from itertools import pairwise
from typing import Any

from processors.calendar import Calendar
from processors.days import iso
from processors.definition.reader import Table, quote

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def calendars(t: Table, base: Mapping[str, Calendar]) -> dict[str, Calendar]:
    """Calendars by name; those of the base stay unless one of the same name replaces them."""
    found = dict(base)
    for name in t.values:
        table = t.table(name)
        if table is not None:
            made = _calendar(table)
            if made is not None:
                found[name] = made
            else:
                found.setdefault(name, next(iter(base.values()), Calendar()))  # one report per mistake
    return found


def _calendar(t: Table) -> Calendar | None:
    before = len(t.problems)
    zone = t.text("time_zone", "UTC")
    hours = t.table("hours")
    week = _week(hours) if hours is not None else None
    holidays: set[int] = set()
    raw = t.raw("holidays")
    if raw is not None and not isinstance(raw, list):
        t.wrong("holidays", f"holidays must be a list, not {quote(raw)}", "write holidays = [2026-12-25]")
        raw = None
    for n, value in enumerate(raw or ()):
        day = t.day(value, (*t.path, "holidays", n))
        if day is not None and day in holidays:
            t.problems.add((*t.path, "holidays", n), f"{iso(day)} is listed twice", "remove one of them")
        elif day is not None:
            holidays.add(day)
    extra: dict[int, list[tuple[int, int]]] = {}
    for table in t.tables("extra") or []:
        if not isinstance(table.raw("date"), (date, str)):
            table.wrong("date", "date is missing", "add date = 2026-12-19")
            day = None
        else:
            day = t.day(table.raw("date"), (*table.path, "date"))
        open_hours = _intervals(table, "open", table.raw("open"))
        table.close()
        if day is not None:
            extra[day] = open_hours
    t.close()
    if len(t.problems) > before:
        return None
    try:
        Calendar(zone, {0: ((0, 1440),)})
    except ValueError as error:
        what, _, todo = str(error).partition("; ")
        t.wrong("time_zone", what, todo)
        return None
    try:
        return Calendar(zone, week, holidays, extra)
    except ValueError as error:
        t.wrong("hours", str(error), 'write for instance mon-fri = ["09:00-12:00", "13:00-17:00"]')
        return None


def _week(t: Table) -> dict[int, list[tuple[int, int]]]:
    week: dict[int, list[tuple[int, int]]] = {}
    by: dict[int, str] = {}
    short = {name[:3]: n for n, name in enumerate(WEEKDAYS)} | {name: n for n, name in enumerate(WEEKDAYS)}
    for key in t.values:
        begin, dash, end = key.casefold().partition("-")
        first, last = short.get(begin), short.get(end if dash else begin)
        if first is None or last is None or last < first:
            t.wrong(
                key,
                f"{quote(key)} is no weekday",
                "use mon, tue, wed, thu, fri, sat, sun, or a range such as mon-fri",
            )
            continue
        hours = _intervals(t, key, t.raw(key))
        for day in range(first, last + 1):
            if day in by:
                t.wrong(key, f"{WEEKDAYS[day]} has hours by {quote(by[day])} already", "give each day once")
            by[day] = key
            week[day] = hours
    return week


def _intervals(t: Table, key: str, value: Any) -> list[tuple[int, int]]:
    items = value if isinstance(value, list) else [value]
    found: list[tuple[int, int]] = []
    for item in items:
        begin, _, end = item.replace(" ", "").partition("-") if isinstance(item, str) else ("", "", "")
        low, high = _clock(begin), _clock(end)
        if low is None or high is None or low >= high:
            t.wrong(
                key,
                f"{quote(item)} are no opening hours" if item is not None else f"{key} is missing",
                'write from-to on a 24-hour clock, such as "09:00-17:00"',
            )
        else:
            found.append((low, high))
    found.sort()
    if any(two[0] < one[1] for one, two in pairwise(found)):
        t.wrong(key, f"the opening hours under {quote(key)} overlap", "join them or move them apart")
        return []
    return found


def _clock(text: str) -> int | None:
    hour, colon, minute = text.partition(":")
    if not (colon and hour.isdecimal() and minute.isdecimal() and len(minute) == 2 and len(hour) <= 2):
        return None
    value = int(hour) * 60 + int(minute)
    return value if int(minute) < 60 and value <= 1440 else None
