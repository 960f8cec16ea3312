"""Totals in the base currency: what was booked, collected, credited and foreseen.

Amounts stay in the currency and on the day they were booked with until they are read. So a restated rate of that very
day restates them openly, and the rate of any other day changes nothing (case 45). What has no rate of its day is
counted and not priced: it is told beside, by currency.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import isqrt
from typing import Any

from processors import attribution
from processors.attribution import SIGN
from processors.market import Money
from processors.money import half_even, minor_digits
from processors.period import Period
from processors.totals import Labels, Sel, Totals

#: Before the currency, in the name of an input that has no rate.
UNPRICED = "unpriced "

#: Most days back that a rate may lie from where an open deal is priced: weekends and holidays have none.
NEAR_DAYS = 7


def in_base(t: Totals, sel: Sel, by: Labels, day: str = "day") -> dict[Labels, Money]:
    """Sums by labels in the base currency, at the rates of their days.

    What has one currency and day is converted as one sum, half-even, and shared by largest remainder: so the parts
    sum to the whole however it is split.
    """
    groups: dict[tuple[str, int], list[tuple[Labels, int]]] = {}
    for (*key, currency, at), n in t.sums(sel, by, day, numbers=("currency", "day")).items():
        groups.setdefault((currency, at), []).append((tuple(key), n))
    minor: dict[Labels, int] = {}
    bare: dict[Labels, dict[str, int]] = {}
    for (currency, at), members in groups.items():
        members.sort()
        rate = t.reference.rate(currency, t.base, at)
        if rate is None:
            for key_, n in members:
                own = bare.setdefault(key_, {})
                own[currency] = own.get(currency, 0) + n
                minor.setdefault(key_, 0)
            continue
        factor = rate * _scale(currency, t.base)
        parts = attribution.apportioned([n * factor for _, n in members])
        for (key_, _), n in zip(members, parts, strict=True):
            minor[key_] = minor.get(key_, 0) + n
    return {key: Money(n, bare.get(key, {})) for key, n in minor.items()}


def _scale(currency: str, base: str) -> Fraction:
    return Fraction(10) ** (minor_digits(base) - minor_digits(currency))


def plus(found: Iterable[tuple[int, Money]]) -> Money:
    """Money with its signs, summed."""
    minor = 0
    bare: dict[str, int] = {}
    for sign, x in found:
        minor += sign * x.minor
        for currency, n in x.unpriced.items():
            bare[currency] = bare.get(currency, 0) + sign * n
    return Money(minor, {currency: n for currency, n in bare.items() if n})


def beside(*found: Money) -> dict[str, int]:
    """What has no rate, as inputs of a figure."""
    whole = plus((1, x) for x in found)
    return {f"{UNPRICED}{currency}": n for currency, n in sorted(whole.unpriced.items())}


# Booked --------------------------------------------------------------------------------------------------------------


def booked_by_kind(t: Totals) -> dict[str, Money]:
    """Every kind of `attribution.SIGN` that was booked in the period; never negative, the kind says the way."""

    def find() -> dict[str, Money]:
        # one kind at a time, as credit is priced: so that both sums are the same
        sels = {kind: Sel("booked_on", {"kind": kind}) for kind in SIGN}
        sels["won"] = Sel("deal_amount_on", {"status": "won"})
        return {kind: in_base(t, sel, ())[()] for kind, sel in sels.items() if t.sums(sel, ())}

    return t.once("booked", find)


def booked(t: Totals) -> Money:
    """Booked revenue of the period."""
    return plus((SIGN[kind], money) for kind, money in booked_by_kind(t).items())


def attributed(t: Totals) -> tuple[dict[Labels, int], dict[Labels, int]]:
    """Credit in the period, in base currency by (model, channel, campaign, kind), and what no rate priced by
    (model, channel, campaign, kind, currency)."""

    def find() -> tuple[dict[Labels, int], dict[Labels, int]]:
        columns = ("model", "channel", "campaign", "kind", "currency")
        found = t.sums(Sel("attributed_on"), columns, numbers=("day",))
        priced, bare = attribution.priced(
            {("attributed_on", *key): n for key, n in found.items()}, t.reference, t.base
        )
        out: dict[Labels, int] = {}
        for (*key, _), n in priced.items():
            out[tuple(map(str, key))] = out.get(tuple(map(str, key)), 0) + n
        return out, {tuple(key): n for key, n in bare.items()}

    return t.once("attributed", find)


# Spent ---------------------------------------------------------------------------------------------------------------


def spent(t: Totals, by: Labels, **where: Any) -> dict[Labels, Money]:
    """Spend of the period, by labels of the market."""
    minor = t.sums(Sel("spend_on", where), by)
    bare: dict[Labels, dict[str, int]] = {}
    for (*key, currency), n in t.sums(Sel("spend_unpriced_on", where), (*by, "currency")).items():
        bare.setdefault(tuple(key), {})[currency] = n
    return {key: Money(minor.get(key, 0), bare.get(key, {})) for key in minor.keys() | bare.keys()}


def spent_by(t: Totals, team: str) -> Money:
    return spent(t, (), team=team.casefold()).get((), Money())


# Foreseen ------------------------------------------------------------------------------------------------------------


def spot(
    t: Totals, amounts: Mapping[tuple[Any, ...], int], day: int, power: int = 1
) -> tuple[Fraction, Money]:
    """Amounts by currency (the last part of the key) at the rates of about a day, exact, and what has none.

    :param power: 2 for variances.
    """
    total = Fraction(0)
    bare: dict[str, int] = {}
    for key, n in amounts.items():
        rate = t.reference.rate_near(key[-1], t.base, day, NEAR_DAYS)
        if rate is None:
            bare[key[-1]] = bare.get(key[-1], 0) + n
        else:
            total += n * (rate * _scale(key[-1], t.base)) ** power
    return total, Money(half_even(total), bare)


def standing(t: Totals, name: str, by: Labels, day: int, closing: Period | None) -> dict[Labels, int]:
    """What steps of open deals come to at the end of a day, by labels and currency.

    :param closing: only of deals that are expected to close in it.
    """
    found = t.within(Period(day, day)).sums(Sel(name), (*by, "currency"), "until", ("closes",))
    out: dict[Labels, int] = {}
    for (*key, closes), n in found.items():
        if closing is None or closing.first <= closes <= closing.last:
            group = tuple(key)
            out[group] = out.get(group, 0) + n
    return {key: n for key, n in out.items() if n}


def root(variance: Fraction) -> int:
    """The square root, rounded to the nearest integer."""
    return (isqrt(4 * half_even(variance)) + 1) // 2
