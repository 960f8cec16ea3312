"""Money for Prometheus, in units of a currency: minor units of two currencies would not add up under one name.

What has a price in the base currency of the definition says so by its ``currency``; what no rate of its day puts a price
on is a metric of its own. Sums over the partitions of this worker: sum them over workers. Only what the market says is
the same on every worker: take the max of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from prometheus_client.core import Metric

from processors import pricing
from processors.attribution import SIGN
from processors.customers import STATUSES
from processors.market import Market, Money, spent
from processors.money import CURRENCIES, minor_digits
from processors.period import Period
from processors.reference import Reference
from processors.report_money import collected
from processors.totals import Sel, Totals
from streams.metric_kit import Bounded, Values, bound, gauge

#: Most values of a label that comes from events.
CURRENCIES_SHOWN, CHANNELS, TEAMS = 20, 16, 20
_PPM = 1_000_000


def families(t: Totals) -> Iterator[Metric]:
    """Of the rows of this worker."""
    yield _amounts(
        t, "deal_amount", "leadstream_deal_amount",
        "Sum of the amounts of closed deals, in units of the currency. Average deal size = won/won deals.", "status",
    )  # fmt: skip
    yield _amounts(
        t, "deal_open_amount", "leadstream_pipeline_amount",
        "Sum of the amounts of deals that are open or on hold, in units of the currency.", "status",
    )  # fmt: skip
    yield _amounts(
        t, "deal_weighted", "leadstream_forecast_amount",
        "Sum of amount x probability of the open deals, in units of the currency.", scale=_PPM,
    )  # fmt: skip
    booked = pricing.booked_by_kind(t)
    yield gauge(
        "leadstream_booked_revenue",
        "Booked revenue by kind, priced at the rate of its day, in units of the base currency; sum it.",
        ("currency", "kind"),
        {(t.base, kind): SIGN[kind] * _units(booked.get(kind, Money()).minor, t.base) for kind in SIGN},
    )
    bare = {key: n for key, n in pricing.booked(t).unpriced.items() if key in CURRENCIES}
    yield gauge(
        "leadstream_booked_unpriced_amount",
        "Booked revenue that no rate of its day puts a price on, in units of its currency.", ("currency",),
        {(currency,): _units(bare[currency], currency) for currency in sorted(bare)[:CURRENCIES_SHOWN]},
    )  # fmt: skip
    yield gauge(
        "leadstream_collected", "Paid - refunded, priced at the rates of those days, in units of the base currency.",
        ("currency",), {(t.base,): _units(collected(t).minor, t.base)},
    )  # fmt: skip
    yield _amounts(
        t, "attributed", "leadstream_attributed_amount",
        "Booked revenue credited to channels, by attribution model, in units of the currency it was booked in.",
        "model", "channel",
    )  # fmt: skip
    yield gauge(
        "leadstream_customers", "Accounts that are or were customers, by where they stand.", ("status",),
        {(status,): 0 for status in STATUSES} | t.sums(Sel("customer"), ("customer_status",)),
    )  # fmt: skip


def of_market(market: Market, t: Totals) -> Iterator[Metric]:
    """What was spent up to now."""
    found = _spent(market, t.reference, t.base, t.today)
    sizes: dict[str, int] = {}
    for (channel, _), n in found.items():
        sizes[channel] = sizes.get(channel, 0) + n
    named = (rule.name for rule in t.d.source.channels)
    shown = bound(
        found,
        Bounded(sizes, named, CHANNELS),
        Bounded({team: n for (_, team), n in found.items()}, (), TEAMS),
    )
    yield gauge(
        "leadstream_spend",
        "Spend up to now by channel and team, in units of the base currency; the same on every worker: take the max.",
        ("channel", "team", "currency"),
        {(*key, t.base): _units(n, t.base) for key, n in shown.items()},
    )


@lru_cache(2)
def _spent(market: Market, reference: Reference, base: str, today: int) -> dict[tuple[str, str], int]:
    """Kept between scrapes: it changes when market or reference do, and once a day."""
    found = spent(market, reference, base, Period(0, today), lambda x: (x.channel, x.team))
    return {(channel, team): money.minor for (channel, team), money in found.items()}


def _amounts(t: Totals, count: str, name: str, text: str, *labels: str, scale: int = 1) -> Metric:
    """A count that has a currency, of the largest currencies that exist."""
    found = t.sums(Sel(count), ("currency", *labels))
    totals: dict[str, int] = {}
    for (currency, *_), n in found.items():
        if currency in CURRENCIES:
            totals[currency] = totals.get(currency, 0) + abs(n)
    shown = sorted(totals, key=lambda currency: (-totals[currency], currency))[:CURRENCIES_SHOWN]
    kept = {key: n for key, n in found.items() if key[0] in shown}
    if "channel" in labels:
        kept = bound(kept, None, *(_channels(t, found) if x == "channel" else None for x in labels))
    values: Values = {key: _units(n, key[0]) / scale for key, n in kept.items()}
    return gauge(name, text, ("currency", *labels), values)


def _channels(t: Totals, found: Mapping[tuple[Any, ...], int]) -> Bounded:
    sizes: dict[str, int] = {}
    for key, n in found.items():
        sizes[key[-1]] = sizes.get(key[-1], 0) + abs(n)
    return Bounded(sizes, (rule.name for rule in t.d.source.channels), CHANNELS)


def _units(minor: int, currency: str) -> float:
    scale: int = 10 ** minor_digits(currency)
    return minor / scale
