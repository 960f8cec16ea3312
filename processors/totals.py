"""Totals as reports read them: sums by labels in words, within a period, under one definition."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from copy import copy
from fractions import Fraction
from itertools import chain, product
from typing import Any, TypeVar

from msgspec import Struct

from processors import market
from processors.accounts import RENEWAL_STATES
from processors.additive import Contribution, Key
from processors.bins import quantile
from processors.columns import CLOCK_STATES, CLOCKS, COLUMNS, EVER, HANDOFF_STATES, SERIES, stage_names
from processors.compiled import Compiled
from processors.customers import STATUSES
from processors.days import first_of_month
from processors.engagement import AGENTS, EMAIL_STATES
from processors.lead_quality import SIGNALS
from processors.market import Market
from processors.model import DEAL_STATUS
from processors.period import Period
from processors.reference import EMPTY as NO_REFERENCE
from processors.reference import Reference
from processors.surveys import SURVEYS

Number = int | Fraction | None
Labels = tuple[str, ...]
_T = TypeVar("_T")

STATS = ("count", "sum", "min", "max", "median", "mean")
SPEEDS = {"p50": (1, 2), "p90": (9, 10)}


class Sel(Struct, frozen=True):
    """Some of one count (`columns.COLUMNS`): its name, and what its labels must be; a tuple: one of these."""

    name: str
    where: Mapping[str, Any] = {}


class Totals:
    """Totals by count, with the words and days of one definition.

    What the market adds is the same on every worker: it is added here, once, as it was known of the instant.
    """

    def __init__(
        self,
        totals: Contribution,
        d: Compiled,
        as_of_ms: int,
        period: Period | None,
        names: Mapping[int, str] | None,
        known: Market = market.NOTHING,
        reference: Reference = NO_REFERENCE,
    ) -> None:
        self.d = d
        self.as_of_ms = as_of_ms
        self.today = d.days.day(as_of_ms)
        self.period = period
        self.reference = reference
        self.base = d.source.base_currency
        self.market = known.as_of(as_of_ms) if known is not market.NOTHING else known
        self.names = names or stage_names((d,))
        self.horizons = (*d.source.horizons_days, EVER)
        self.counts: dict[str, list[tuple[Key, int]]] = {}
        more = market.contribution(self.market, reference, self.base, self.today)
        for key, n in chain(totals.items(), more.items()):
            self.counts.setdefault(key[0], []).append((key[1:], n))
        self._memo: dict[Hashable, Any] = {}
        stages = [d.names[code] for code in d.stages]
        self.known: dict[str, Sequence[str]] = {
            "stage": stages,
            "from": stages,
            "to": stages,
            "series": SERIES,
            "outcome": HANDOFF_STATES,
            "clock": CLOCKS,
            "state": CLOCK_STATES,
            "status": DEAL_STATUS,
            "customer_status": STATUSES,
            "renewal": RENEWAL_STATES,
            "survey": SURVEYS,
            "email": EMAIL_STATES,
            "material": ("yes", "no"),
            "signal": SIGNALS,
            "answer": ("accepted", "rejected"),
            "agent": tuple(AGENTS.values()),
            "time": ("wall", "business"),
            "delay": ("marketing", "system", "human"),
            "stat": (*STATS, *SPEEDS),
            "days_ahead": [str(n) for n in d.source.horizons_days],
            "horizon": [self.word("horizon", h) for h in self.horizons],
        }

    @property
    def last(self) -> int:
        """The day with which what is told ends: that of the period, but not after the instant."""
        return self.today if self.period is None else min(self.period.last, self.today)

    def within(self, period: Period | None) -> Totals:
        """The same totals, of another period."""
        if period == self.period:
            return self
        other = copy(self)
        other.period = period
        return other

    def once(self, name: Hashable, make: Callable[[], _T]) -> _T:
        """What several figures are made of, found once per period."""
        key = (name, self.period)
        if key not in self._memo:
            self._memo[key] = make()
        found: _T = self._memo[key]
        return found

    def word(self, label: str, value: Any) -> str:
        """The value of a label as people read it."""
        if label in ("stage", "from", "to"):
            return self.names.get(value) or f"retired:{value}"
        if label == "cohort":
            return f"{value // 12:04d}-{value % 12 + 1:02d}"
        if label == "horizon":
            return "ever" if value == EVER else str(value)
        if label == "campaign":
            return self.reference.campaign(value)
        return str(value)

    def place(self, labels: Labels, values: Labels) -> tuple[tuple[int, str], ...]:
        """Sorts known values as the process has them, others by name."""
        found = []
        for label, value in zip(labels, values, strict=True):
            order = self.known.get(label, ())
            found.append((order.index(value) if value in order else len(order), value))
        return tuple(found)

    def sums(
        self, sel: Sel, by: Sequence[str], day: str = "day", numbers: Sequence[str] = ()
    ) -> dict[tuple[Any, ...], int]:
        """Sums by labels, as words, and by columns that stay ``numbers``.

        :param day: the column that the period looks at; ``"until"``: everything up to its last day.
        """
        columns = COLUMNS[sel.name]
        words = [(columns.index(label), label) for label in by]
        plain = [columns.index(label) for label in numbers]
        tests = [
            (columns.index(label), wanted if type(wanted) is tuple else (wanted,))
            for label, wanted in sel.where.items()
        ]
        first, last = (self.period.first, self.period.last) if self.period else (None, None)
        at = -1
        if self.period is not None and ("day" if day == "until" else day) in columns:
            at = columns.index("day" if day == "until" else day)
        out: dict[tuple[Any, ...], int] = {}
        known: dict[tuple[str, Any], str] = {}
        for key, n in self.counts.get(sel.name, ()):
            if at >= 0 and (key[at] > last or (day != "until" and key[at] < first)):
                continue
            if any(key[i] not in wanted for i, wanted in tests):
                continue
            found = []
            for i, label in words:
                word = known.get((label, key[i]))
                if word is None:
                    word = known[label, key[i]] = self.word(label, key[i])
                found.append(word)
            group = (*found, *(key[i] for i in plain))
            out[group] = out.get(group, 0) + n
        return out

    def expected(self, by: Labels) -> set[Labels]:
        """Values that are shown even where nothing happened: 0 is an answer."""
        if all(label in self.known for label in by):
            return set(product(*(self.known[label] for label in by)))
        return set()

    def matured(self, month: int, horizon: int) -> bool:
        """Has the horizon passed for who entered on the last day of the month? "Ever" is always so far."""
        return horizon == EVER or self.as_of_ms >= self.d.days.start(first_of_month(month + 1) + horizon)


def statistics(bins: Iterable[tuple[int, int]]) -> dict[str, Number]:
    """Of exact values in bins (value, how many). The median of an even number is the mean of the middle two."""
    counted = sorted((value, n) for value, n in bins if n)
    count = sum(n for _, n in counted)
    if not count:
        return dict.fromkeys(STATS) | {"count": 0, "sum": 0}
    total = sum(value * n for value, n in counted)
    low = quantile(counted, (count + 1) // 2, count)
    high = quantile(counted, count // 2 + 1, count)
    assert low is not None
    assert high is not None
    return {
        "count": count,
        "sum": total,
        "min": counted[0][0],
        "max": counted[-1][0],
        "median": _whole(Fraction(low + high, 2)),
        "mean": _whole(Fraction(total, count)),
    }


def _whole(value: Fraction) -> Number:
    return value.numerator if value.denominator == 1 else value
