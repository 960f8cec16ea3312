"""Instants and spans as people read them: local, with the zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from streams.cli.console import UserError

Zone = ZoneInfo
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000


def zone_named(name: str) -> Zone:
    """:raises UserError: there is no such zone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UserError(
            f"--zone {name}: no such time zone; write an IANA name such as Europe/Vienna"
        ) from None


def local(ms: int, zone: Zone) -> str:
    """``Mon 2026-11-23 09:30 CET``."""
    try:
        return (_EPOCH + timedelta(milliseconds=ms)).astimezone(zone).strftime("%a %Y-%m-%d %H:%M %Z")
    except OverflowError:
        return "never"


def span(ms: int) -> str:
    """The two largest units: ``2 d 4 h``, ``35 min``."""
    days, rest = divmod(ms, _DAY)
    hours, rest = divmod(rest, _HOUR)
    parts = [f"{n} {unit}" for n, unit in ((days, "d"), (hours, "h"), (rest // _MINUTE, "min")) if n]
    return " ".join(parts[:2]) or "less than a minute"


def ago(ms: int, now: int) -> str:
    """An instant from another one: ``in 3 h 20 min``, ``2 d 4 h ago``."""
    return f"in {span(ms - now)}" if ms >= now else f"{span(now - ms)} ago"
