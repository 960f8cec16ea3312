"""What the text of a CSV cell may mean: times, amounts, numbers, truth. All raise ValueError or ArithmeticError (of
Decimal, or an overflow) for a text that is none; `why` puts that into words."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

_BOOLEANS = dict.fromkeys(("true", "t", "yes", "y", "1"), True) | dict.fromkeys(
    ("false", "f", "no", "n", "0"), False
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
#: Decimal digits of the largest whole number that an event holds (64 bits).
_DIGITS = 18


def time_ms(text: str, pattern: str, zone: ZoneInfo) -> int:
    """Epoch ms. A local time that happened twice is the first; one that was skipped counts on from before."""
    text = text.strip()
    if pattern == "epoch_ms":
        return int(text)
    if pattern == "epoch_s":
        return _whole(Decimal(text) * 1000)
    when = datetime.fromisoformat(text) if pattern == "iso" else datetime.strptime(text, pattern)  # noqa: DTZ007
    if when.tzinfo is None:  # what neither the text nor the pattern names
        when = when.replace(tzinfo=zone)
    return (when.astimezone(UTC) - _EPOCH) // _MS


#: Digits, grouped by threes or not at all, and a fraction; by what divides it. Whatever else there is, is no number:
#: 1234.50 with a comma as the divider would be a hundred times as much.
_WRITTEN = {
    mark: re.compile(
        rf"[+-]?(?:\d+|\d{{1,3}}(?P<group>[{group} \u00a0\u202f'’])\d{{3}}(?:(?P=group)\d{{3}})*)(?:\{mark}\d+)?"
    )
    for mark, group in ((".", ","), (",", "."))
}


def plain_number(text: str, decimal: str) -> str:
    """A number as Python reads it. ``decimal``: what divides the fraction, "." or ","; "": no digits are grouped."""
    text = text.strip()
    if not decimal:
        return text
    found = _WRITTEN[decimal].fullmatch(text)
    if found is None:
        raise ValueError(f"{decimal!r} divides, and digits are grouped by threes")
    return text.replace(found["group"] or " ", "").replace(decimal, ".")


def minor_units(text: str, digits: int, decimal: str = "") -> int:
    scaled = Decimal(plain_number(text, decimal)).scaleb(digits)
    if scaled != scaled.to_integral_value():
        raise ValueError(f"more than {digits} digits after the point")
    return _whole(scaled)


def _whole(number: Decimal) -> int:
    if number.is_finite() and number.adjusted() > _DIGITS:
        raise ValueError("too large")
    return int(number)


def real(text: str, decimal: str = "") -> float:
    number = float(plain_number(text, decimal))
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _boolean(text: str) -> bool:
    known = _BOOLEANS.get(text.strip().lower())
    if known is None:
        raise ValueError("neither true nor false")
    return known


CONVERTERS: Mapping[str, Callable[[str], Any]] = {
    "text": str,
    "integer": int,
    "number": real,
    "boolean": _boolean,
}


def why(kind: str, node: Mapping[str, Any], error: Exception) -> str:
    if kind == "time":
        pattern = node.get("format", "iso")
        return f"is no time of format {pattern!r}" + (" (write `format`)" if "format" not in node else "")
    if kind in ("minor_units", "number"):
        said = f"is no {'amount' if kind == 'minor_units' else 'number'}"
        told = isinstance(error, ValueError) and (kind == "minor_units" or "decimal" in node)
        said += f": {error}" if told else ""
        return (
            said
            if "decimal" in node
            else f'{said} (write `decimal` = "," or "." where digits are grouped or a comma divides)'
        )
    return f"is no {kind}" + (" (true, yes, 1, false, no, 0)" if kind == "boolean" else "")
