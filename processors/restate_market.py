"""Spend and exchange rates that were final and changed (cases 45 and 46).

They belong to no row, and every worker knows them whole; so one task alone speaks of them, and what it has counted last
is kept with its partition. Spend is compared by month in its own currency, a rate by its day: whoever holds final
amounts by currency and day can put the new price on them, and no other day's rate changes anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from processors.closing import Change, Closing, Number, month_text
from processors.days import first_of_month, iso, month_of_day
from processors.market import Market, prorated
from processors.reference import Reference

#: How far back they are kept and compared: so long are restatements of rows believed as well, by their ledgers.
MONTHS = 13
#: A rate is said in billionths.
SCALE = 1_000_000_000


def counted(market: Market, reference: Reference, closing: Closing) -> dict[Number, int]:
    """Spend by channel, team, kind, currency and month; rates by pair and day."""
    first = closing.open_month - MONTHS
    out: dict[Number, int] = {}
    for x in market.spends:
        labels = (("channel", x.channel), ("team", x.team), ("kind", x.kind), ("currency", x.currency))
        for month in range(max(first, month_of_day(x.first)), month_of_day(x.last) + 1):
            part = prorated(x.amount, x.first, x.last, first_of_month(month), first_of_month(month + 1) - 1)
            number = Number("spend", labels, month_text(month))
            out[number] = out.get(number, 0) + part
    for (base, quote, day), rate in reference.rates.items():
        if month_of_day(day) >= first:
            out[Number("rate", (("base", base), ("quote", quote)), iso(day))] = _billionths(rate)
    return {number: n for number, n in out.items() if n}


def _billionths(rate: Fraction) -> int:
    return max(1, round(rate * SCALE))


def changes(before: Mapping[Number, int], after: Mapping[Number, int], closing: Closing) -> list[Change]:
    """Of what is still kept, what was final and is different now. 0 is none."""
    first = month_text(closing.open_month - MONTHS)
    return [
        Change(number, before.get(number, 0), after.get(number, 0))
        for number in sorted(before.keys() | after.keys())
        if number.period >= first and closing.covers(number) and before.get(number, 0) != after.get(number, 0)
    ]
