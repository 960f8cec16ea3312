"""Figures of what marketing and sales cost and what it brings: one definition for both teams.

Spend is prorated by day. Costs per lead, MQL and SQL and the returns are of the spend of the team ``marketing``;
what a customer costs to win is of that and the team ``sales``. A lead belongs to the channel that the definition gives
its source, as it does to a first visit that says nothing of itself. Customer value is monthly, over the 3 months up to
the end of the period.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NamedTuple

from processors import accounts, market, pricing
from processors.additive import EMPTY
from processors.attribution import UNATTRIBUTED, channel_of
from processors.days import months_before
from processors.figure_kit import BASE_UNITS, Figure, Line, figure
from processors.market import Money
from processors.period import Period
from processors.pricing import beside
from processors.report_money import collected
from processors.totals import Labels, Number, Sel, Totals

MARKETING, SALES = "marketing", "sales"
#: Months over which customer value is told.
MONTHS = 3


# Spend ---------------------------------------------------------------------------------------------------------------


def _spend(t: Totals, by: Labels) -> Iterator[Line]:
    found = pricing.spent(t, by)
    for key in found.keys() | (set() if by else {()}):
        money = found.get(key, Money())
        yield key, money.minor, beside(money), ""


def _unpriced(t: Totals, by: Labels) -> Iterator[Line]:
    for key, n in t.sums(Sel("spend_unpriced_on"), by).items():
        yield key, n, {}, ""


def _audience(t: Totals, _by: Labels) -> Iterator[Line]:
    for network, followers in t.market.audience.items():
        yield (network,), followers, {}, ""


def _cost_per(
    what: str, count: str, role: str = "", **where: str
) -> Callable[[Totals, Labels], Iterator[Line]]:
    """Spend of marketing/how many came, by channel of both."""

    def make(t: Totals, by: Labels) -> Iterator[Line]:
        sel = Sel(count, {**where, **({"stage": getattr(t.d, role)} if role else {})})
        reached: dict[Labels, int] = {} if by else {(): 0}
        for (source,), n in t.sums(sel, ("source",)).items():
            key: Labels = (channel_of(source, t.d),) if by else ()
            reached[key] = reached.get(key, 0) + n
        spend = pricing.spent(t, by, team=MARKETING)
        for key in spend.keys() | reached.keys():
            money, n = spend.get(key, Money()), reached.get(key, 0)
            inputs = {"spend": money.minor, what: n} | beside(money)
            yield key, market.ratio(money.minor, n), inputs, ""

    return make


def _cost_by_campaign(t: Totals, by: Labels) -> Iterator[Line]:
    """Spend that names a campaign, and the leads whose first touch does: the whole of either is no one's."""
    leads = t.sums(Sel("quality_on", {"reached": "lead"}), by)
    spend = pricing.spent(t, by, team=MARKETING)
    for key in (spend.keys() | leads.keys()) - {(EMPTY,)}:
        money, n = spend.get(key, Money()), leads.get(key, 0)
        yield key, market.ratio(money.minor, n), {"spend": money.minor, "leads": n} | beside(money), ""


# Customers -----------------------------------------------------------------------------------------------------------


class _Worth(NamedTuple):
    """What winning and keeping a customer comes to; see the formulas of `market`."""

    cac: Fraction | None
    arpa: Fraction | None
    churn: Fraction | None
    margin: int
    cost: dict[str, int]
    income: dict[str, int]
    leaving: dict[str, int]


def _worth(t: Totals) -> _Worth:
    def find() -> _Worth:
        marketing, sales = pricing.spent_by(t, MARKETING), pricing.spent_by(t, SALES)
        won = t.sums(Sel("new_customer_on"), ()).get((), 0)
        others = pricing.spent(t, ()).get((), Money()).minor - marketing.minor - sales.minor
        cost = {"marketing": marketing.minor, "sales": sales.minor, "new_customers": won}
        cost |= {"spend of other teams": others} if others else {}
        window = Period(months_before(t.last, MONTHS), t.last)
        joined, churned = (
            {day: n for (day,), n in t.within(None).sums(Sel(name), (), numbers=("day",)).items()}
            for name in ("joined_on", "churned_on")
        )
        begin, end = (accounts.customers_at(joined, churned, x) for x in (window.first, window.last + 1))
        lost = sum(n for day, n in churned.items() if window.first <= day <= window.last)
        revenue = pricing.booked(t.within(window))
        customers = {"customers_at_begin": begin, "customers_at_end": end}
        return _Worth(
            market.cac(marketing.minor, sales.minor, won),
            market.arpa(revenue.minor, Fraction(begin + end, 2), MONTHS),
            market.churn_rate(lost, begin, MONTHS),
            t.d.source.margin_per_mille,
            cost | beside(marketing, sales),
            {"booked": revenue.minor} | customers | beside(revenue),
            {"churned": lost, "customers_at_begin": begin},
        )

    return t.once("worth", find)


def _of_worth(
    value: Callable[[_Worth], Number], inputs: Callable[[_Worth], dict[str, int]]
) -> Callable[[Totals, Labels], Iterator[Line]]:
    def make(t: Totals, _by: Labels) -> Iterator[Line]:
        w = _worth(t)
        yield (), value(w), inputs(w), ""

    return make


def _clv(w: _Worth) -> Fraction | None:
    return market.clv(w.arpa, w.churn, w.margin)


def _realised(t: Totals, _by: Labels) -> Iterator[Line]:
    """Up to the end of the period."""
    money = collected(t.within(Period(0, t.last)))
    won = t.within(Period(0, t.last)).sums(Sel("new_customer_on"), ()).get((), 0)
    margin = t.d.source.margin_per_mille
    inputs = {"collected": money.minor, "customers": won, "margin_per_mille": margin} | beside(money)
    yield (), market.realised_clv(money.minor, won, margin), inputs, ""


# Attribution ---------------------------------------------------------------------------------------------------------

_CREDIT = ("model", "channel", "campaign", "kind")


def _credit(t: Totals, by: Labels) -> dict[Labels, Money]:
    """Attributed booked revenue; ``unattributed`` is a channel of its own."""
    minor, bare = pricing.attributed(t)
    at = [_CREDIT.index(label) for label in by]
    out: dict[Labels, Money] = {}
    for key, n in minor.items():
        group = tuple(key[i] for i in at)
        out[group] = pricing.plus(((1, out.get(group, Money())), (1, Money(n))))
    for (*rest, currency), n in bare.items():
        group = tuple(rest[i] for i in at)
        out[group] = pricing.plus(((1, out.get(group, Money())), (1, Money(0, {currency: n}))))
    return out


def _attributed(t: Totals, by: Labels) -> Iterator[Line]:
    for key, money in _credit(t, by).items():
        yield key, money.minor, beside(money), ""


def _unattributed(t: Totals, by: Labels) -> Iterator[Line]:
    for (channel, *key), money in _credit(t, ("channel", *by)).items():
        if channel == UNATTRIBUTED:
            yield tuple(key), money.minor, beside(money), ""


def _touches(t: Totals, by: Labels) -> Iterator[Line]:
    for key, n in t.sums(Sel("credited_on"), by).items():
        yield key, n, {}, ""


def _returns(
    value: Callable[[int, int, int], Number], *, of_margin: bool
) -> Callable[[Totals, Labels], Iterator[Line]]:
    """Of each model, what was attributed against the spend of marketing on the same channel or campaign."""

    def make(t: Totals, by: Labels) -> Iterator[Line]:
        labels = by[1:]
        spend = pricing.spent(t, labels, team=MARKETING)
        earned: dict[Labels, Money] = {}
        for (channel, *rest), money in _credit(t, ("channel", *by)).items():
            if channel != UNATTRIBUTED:
                key = tuple(rest)
                earned[key] = pricing.plus(((1, earned.get(key, Money())), (1, money)))
        models = t.d.source.attribution.models
        margin = t.d.source.margin_per_mille
        keys = earned.keys() | {(model, *key) for model in models for key in spend}
        for key in keys | ({(model,) for model in models} if not labels else set()):
            money, cost = earned.get(key, Money()), spend.get(key[1:], Money())
            inputs = {"attributed": money.minor, "spend": cost.minor}
            inputs |= {"margin_per_mille": margin} if of_margin else {}
            yield key, value(money.minor, cost.minor, margin), inputs | beside(money, cost), ""

    return make


# The figures ---------------------------------------------------------------------------------------------------------

_CHANNEL = ("channel",)
_WHERE = ("channel", "campaign")

FIGURES: tuple[Figure, ...] = (
    figure(
        "spend", "cost", BASE_UNITS,
        "what was spent, prorated by day over the days it was spent for, at the rate of their last one",
        _spend, (*_WHERE, "team", "kind"),
    ),
    figure(
        "spend_unpriced", "cost", "minor units", "spend that no rate of its last day puts a price on",
        _unpriced, (*_WHERE, "team", "kind"), ("currency",),
    ),
    figure("audience", "cost", "followers", "followers as measured last", _audience, (), ("network",)),
    figure(
        "cost_per_lead", "cost", BASE_UNITS,
        "spend of marketing/new leads of the period; the channel of a lead is that of its source",
        _cost_per("leads", "leads_on"), _CHANNEL, adds=False,
        money=("spend",),
    ),
    figure(
        "cost_per_lead_by_campaign", "cost", BASE_UNITS,
        "spend of marketing on a campaign/new leads of the period whose first touch was of that campaign",
        _cost_by_campaign, (), ("campaign",), adds=False,
        money=("spend",),
    ),
    figure(
        "cost_per_mql", "cost", BASE_UNITS, "spend of marketing/MQLs of the period",
        _cost_per("mqls", "entered_on", "mql", series="marketing"), _CHANNEL, adds=False,
        money=("spend",),
    ),
    figure(
        "cost_per_sql", "cost", BASE_UNITS, "spend of marketing/SQLs of the period",
        _cost_per("sqls", "entered_on", "sql"), _CHANNEL, adds=False,
        money=("spend",),
    ),
    figure(
        "cac", "customer value", BASE_UNITS,
        "(spend of marketing + spend of sales)/new customers of the period: one definition for both teams",
        _of_worth(lambda w: w.cac, lambda w: w.cost),
        money=("marketing", "sales"),
    ),
    figure(
        "arpa", "customer value", BASE_UNITS,
        "per month: booked revenue of the 3 months up to the end of the period/3/mean of the customers at their "
        "begin and end",
        _of_worth(lambda w: w.arpa, lambda w: w.income),
        money=("booked",),
    ),
    figure(
        "churn_rate", "customer value", "ratio",
        "per month: customers churned in the 3 months up to the end of the period/3/customers at their begin",
        _of_worth(lambda w: w.churn, lambda w: w.leaving),
    ),
    figure(
        "payback", "customer value", "months", "CAC/(ARPA x margin)",
        _of_worth(
            lambda w: market.payback(w.cac, w.arpa, w.margin),
            lambda w: w.cost | w.income | {"margin_per_mille": w.margin},
        ),
        money=("marketing", "sales", "booked"),
    ),
    figure(
        "clv", "customer value", BASE_UNITS, "ARPA x margin/churn rate; null where nobody churned",
        _of_worth(_clv, lambda w: w.income | w.leaving | {"margin_per_mille": w.margin}),
        money=("booked",),
    ),
    figure(
        "clv_realised", "customer value", BASE_UNITS,
        "collected so far x margin/customers ever won, up to the end of the period", _realised,
        money=("collected",),
    ),
    figure(
        "clv_to_cac", "customer value", "times", "CLV/CAC",
        _of_worth(
            lambda w: market.clv_to_cac(_clv(w), w.cac),
            lambda w: w.cost | w.income | w.leaving | {"margin_per_mille": w.margin},
        ),
        money=("marketing", "sales", "booked"),
    ),
    figure(
        "attributed_revenue", "attribution", BASE_UNITS,
        "booked revenue credited to the touches of its leads, by a model; unattributed: no touch or no lead",
        _attributed, (*_WHERE, "kind"), ("model",),
    ),
    figure(
        "unattributed_revenue", "attribution", BASE_UNITS,
        "booked revenue that no touch earned: renewals, deals without lead, leads without a touch in the window",
        _unattributed, ("kind",), ("model",),
    ),
    figure(
        "credited_touches", "attribution", "touches",
        "touches that share in what was won in the period, by a model; one that shares in two deals counts twice",
        _touches, _WHERE, ("model",),
    ),
    figure(
        "roas", "attribution", "times", "attributed booked revenue/spend of marketing",
        _returns(lambda earned, cost, _: market.roas(earned, cost), of_margin=False), _WHERE, ("model",),
        money=("attributed", "spend"),
    ),
    figure(
        "marketing_roi", "attribution", "ratio",
        "(attributed booked revenue x margin - spend of marketing)/spend of marketing",
        _returns(market.marketing_roi, of_margin=True), _WHERE, ("model",),
        money=("attributed", "spend"),
    ),
)  # fmt: skip
