"""What the figures are made with: sums of totals under labels, shares of them, statistics of days.

Each family of figures is a module of its own (``report_funnel``, ...) that names every figure once: name, unit,
formula in words, labels; `report` puts them together. A denominator of 0 gives None, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from msgspec import Struct

from processors.totals import Labels, Number, Sel, Totals, statistics

#: Labels in words, the value, what it was made of, and a word on it.
Line = tuple[Labels, Number, dict[str, int], str]
Make = Callable[[Totals, Labels], Iterable[Line]]
PER_MILLE, PER_MILLION = "per mille", "per million"
LEAD = ("source", "segment")
MINOR_UNITS = "minor units"
#: Unit of what is told in the base currency of the definition; a `Value` names the currency.
BASE_UNITS = "minor units of the base currency"
CALL = ("source", "segment", "team", "owner", "rule")


class Value(Struct, frozen=True, kw_only=True):
    """One number. ``inputs``: what it was made of; ``units``: of those that are no plain counts ("minor units EUR",
    "per mille", "per million"). ``value`` None: nothing to divide by, or too early to tell."""

    figure: str
    labels: dict[str, str]
    value: Number
    unit: str
    inputs: dict[str, int] = {}
    units: dict[str, str] = {}
    note: str = ""


class Figure(Struct, frozen=True, kw_only=True):
    """How a figure is made. ``always``: labels without which it means nothing; ``labels``: those it may carry.

    ``adds``: the values of a split sum to the whole; shares, means and durations do not. ``money``: inputs that are
    amounts, in minor units of the label ``currency``, else of the base currency.
    """

    name: str
    group: str
    unit: str
    formula: str
    make: Make
    labels: Labels = ()
    always: Labels = ()
    adds: bool = True
    money: tuple[str, ...] = ()

    def carries(self, by: Iterable[str]) -> bool:
        return all(label in self.labels or label in self.always for label in by)


def figure(
    name: str,
    group: str,
    unit: str,
    formula: str,
    make: Make,
    labels: Labels = (),
    always: Labels = (),
    adds: bool | None = None,
    money: tuple[str, ...] = (),
) -> Figure:
    """:param adds: left out: whatever is no ratio and no duration."""
    adding = unit not in ("ratio", "days", "s", "months", "times") if adds is None else adds
    return Figure(
        name=name,
        group=group,
        unit=unit,
        formula=formula,
        make=make,
        labels=labels,
        always=always,
        adds=adding,
        money=money,
    )


def made_of(value: Callable[[dict[str, int]], Number], parts: Mapping[str, Sel], day: str = "day") -> Make:
    """A figure made of some sums under the same labels.

    :param day: which column of the counts the period looks at, as in `Totals.sums`.
    """

    def make(t: Totals, by: Labels) -> Iterator[Line]:
        found = {name: t.sums(sel, by, day) for name, sel in parts.items()}
        keys: set[Labels] = t.expected(by).union(*found.values())
        for key in keys:
            inputs = {name: sums.get(key, 0) for name, sums in found.items()}
            yield key, value(inputs), {} if len(inputs) == 1 else inputs, ""

    return make


def count(name: str, day: str = "day", **where: Any) -> Make:
    """How much one count has of what its labels must be."""
    return made_of(lambda i: i["n"], {"n": Sel(name, where)}, day)


def entries_of(role: str, **where: Any) -> Make:
    """Entries of the stage that has a role in the definition."""
    return lambda t, by: count("entered_on", stage=getattr(t.d, role), **where)(t, by)


def part(one: str, *whole: str) -> Callable[[dict[str, int]], Number]:
    """one/(whole + ...) of the named inputs."""

    def value(i: dict[str, int]) -> Number:
        total = sum(i[name] for name in whole)
        return Fraction(i[one], total) if total else None

    return value


def won_of(name: str) -> Make:
    """won/(won + lost) of a count that has the status of deals."""
    return made_of(
        part("won", "won", "lost"), {status: Sel(name, {"status": status}) for status in ("won", "lost")}
    )


def days(name: str) -> Make:
    """Count, sum, min, max, median and mean of exact days."""

    def make(t: Totals, by: Labels) -> Iterator[Line]:
        at = by.index("stat")
        labels = (*by[:at], *by[at + 1 :])
        groups: dict[Labels, list[tuple[int, int]]] = {} if labels else {(): []}
        for (*key, n_days), n in t.sums(Sel(name), labels, numbers=("days",)).items():
            groups.setdefault(tuple(key), []).append((n_days, n))
        for group, bins in groups.items():
            for stat, value in statistics(bins).items():
                yield (*group[:at], stat, *group[at:]), value, {}, ""

    return make
