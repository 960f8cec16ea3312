"""The market: what was spent, planned and aimed at, and how many follow us; no person is in it.

A `Market` is an immutable snapshot, read whole by every worker; `apply` makes the next one. It is a function of the
set of facts alone: of two payloads under one identity the one recorded first stays, of two facts about the same thing
the later one stands. Spend is prorated over the days of its period, to the minor unit, and put into the base currency
at the rate of the period's last day; without that rate it is counted, not priced.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from msgspec import Struct

from processors.additive import EMPTY
from processors.days import day_of_text
from processors.definition.model import Budget as Corridor
from processors.period import Period
from processors.reference import Reference
from schemas.envelope import Envelope

#: Event types that `apply` understands; it passes over all others.
TYPES = frozenset(("spend_recorded", "spend_restated", "budget_set", "target_set", "audience_measured"))
#: Labels of what the market adds to the figures, in minor units of the base currency. It is the same on every
#: worker, so it is added once, and not with the totals of partitions.
COLUMNS: dict[str, tuple[str, ...]] = {
    "spend_on": ("channel", "campaign", "team", "kind", "day"),
    "spend_unpriced_on": ("channel", "campaign", "team", "kind", "currency", "day"),
    "audience": ("network",),
}

_Key = tuple[Any, ...]
#: Decides which of two facts about the same thing stands: the later one, then the one recorded later.
_Order = tuple[int, int, str]


class Spend(Struct, frozen=True):
    """Money spent over the days of a period, both ends included; minor units, as restated last."""

    channel: str
    campaign: str
    team: str
    kind: str
    first: int
    last: int
    amount: int
    currency: str


class Plan(Struct, frozen=True):
    """A budget: what a team may spend in a period, on one channel or (``channel`` "") on all."""

    team: str
    channel: str
    first: int
    last: int
    amount: int
    currency: str


class Target(Struct, frozen=True):
    """What a team or an owner (the other is "") is to reach in a period, in the figure's unit."""

    team: str
    owner: str
    figure: str
    first: int
    last: int
    value: int


class Money(Struct, frozen=True):
    """A sum in minor units of the base currency, and by currency what no rate priced."""

    minor: int = 0
    unpriced: Mapping[str, int] = {}


class _Fact(Struct, frozen=True):
    claim: tuple[int, str]  # recorded_at, canonical payload: the smallest of an identity stays
    order: _Order
    envelope: Envelope


class Market:
    """Everything that is known of the market. See the module for how it comes about."""

    __slots__ = ("_facts", "audience", "budgets", "spends", "targets")

    def __init__(self, facts: dict[_Key, _Fact] | None = None) -> None:
        self._facts = facts or {}
        ordered = sorted(self._facts.values(), key=lambda f: f.order)
        by_type: dict[str, list[Envelope]] = {}
        for f in ordered:
            by_type.setdefault(f.envelope.type, []).append(f.envelope)
        #: In the order in which they happened, each as restated last.
        self.spends: tuple[Spend, ...] = _spends(
            by_type.get("spend_recorded", []), by_type.get("spend_restated", [])
        )
        self.budgets: tuple[Plan, ...] = tuple(_latest(map(_plan, by_type.get("budget_set", []))))
        self.targets: tuple[Target, ...] = tuple(_latest(map(_target, by_type.get("target_set", []))))
        #: Network -> followers, as measured last.
        self.audience: dict[str, int] = {
            e.payload["network"]: e.payload["followers"] for e in by_type.get("audience_measured", [])
        }

    def as_of(self, ms: int) -> Market:
        """What had happened by an instant, by what is known of that now."""
        return Market({k: f for k, f in self._facts.items() if f.envelope.occurred_at <= ms})


def apply(market: Market, envelopes: Iterable[Envelope], recorded_at: Sequence[int] | None = None) -> Market:
    """The snapshot after these facts; the one before stays as it is. Late and repeated ones make no difference.

    :param recorded_at: when each was recorded, epoch ms.
    """
    facts = dict(market._facts)
    fresh = False
    for n, e in enumerate(envelopes):
        if e.type not in TYPES:
            continue
        canonical = json.dumps([e.occurred_at, e.payload], sort_keys=True, default=str)
        at = recorded_at[n] if recorded_at is not None else e.observed_at or e.occurred_at
        fact = _Fact((at, canonical), (e.occurred_at, at, canonical), e)
        key = _identity(e, canonical)
        old = facts.get(key)
        if old is None or fact.claim < old.claim:
            facts[key] = fact
            fresh = True
    return Market(facts) if fresh else market


def _identity(e: Envelope, canonical: str) -> _Key:
    if e.source_event_id is not None:
        return e.type, e.source_system, e.source_event_id
    return e.type, "", e.event_id if e.event_id is not None else canonical


def _spends(recorded: Sequence[Envelope], restated: Sequence[Envelope]) -> tuple[Spend, ...]:
    """A restatement names the spend, or another restatement of it, by the id it has in their source, else by
    event_id; the latest in the chain of a spend stands, whichever of them came first (case 46)."""
    names: dict[_Key, int] = {}
    for n, e in enumerate(recorded):
        names.update(dict.fromkeys(_names(e), n))
    latest: dict[int, int] = {}  # spend -> restatement
    waiting = dict(enumerate(restated))
    found = True
    while found:  # once more, where one names a restatement that comes later
        found = False
        for k, e in list(waiting.items()):
            of = str(e.payload["supersedes"])
            spend = names.get((e.source_system, of), names.get(("", of)))
            if spend is not None:
                found = True
                del waiting[k]
                names = dict.fromkeys(_names(e), spend) | names
                latest[spend] = max(k, latest.get(spend, k))
    return tuple(_spend(e, restated[latest[n]] if n in latest else None) for n, e in enumerate(recorded))


def _names(e: Envelope) -> list[_Key]:
    out: list[_Key] = []
    if e.source_event_id is not None:
        out.append((e.source_system, e.source_event_id))
    if e.event_id is not None:
        out.append(("", e.event_id))
    return out


def _spend(e: Envelope, restated: Envelope | None) -> Spend:
    p = e.payload
    right = restated.payload if restated is not None else p
    return Spend(
        p["channel"],
        p.get("campaign") or "",
        _team(p),
        p["kind"],
        day_of_text(p["period_start"]),
        day_of_text(p["period_end"]),
        right["amount"],
        right.get("currency") or p["currency"],
    )


def _team(p: Mapping[str, Any]) -> str:
    """Whose money it is. Costs are those of ``marketing`` and ``sales``: Marketing is meant as well."""
    return str(p["team"]).strip().casefold()


def _plan(e: Envelope) -> tuple[_Key, Plan]:
    p = e.payload
    first, last = day_of_text(p["period_start"]), day_of_text(p["period_end"])
    plan = Plan(_team(p), p.get("channel") or "", first, last, p["amount"], p["currency"])
    return (plan.team, plan.channel, first, last), plan


def _target(e: Envelope) -> tuple[_Key, Target]:
    p = e.payload
    first, last = day_of_text(p["period_start"]), day_of_text(p["period_end"])
    made = Target(p.get("team") or "", p.get("owner") or "", p["figure"], first, last, p["value"])
    return (made.team, made.owner, made.figure, first, last), made


def _latest(found: Iterable[tuple[_Key, Any]]) -> list[Any]:
    return [value for _, value in sorted(dict(found).items())]


# Spend -----------------------------------------------------------------------------------------------------------


def prorated(amount: int, first: int, last: int, since: int, until: int) -> int:
    """What of an amount over the days ``first`` to ``last`` falls on the days ``since`` to ``until``, all included.

    Largest remainder: every day has the same, but the first ones a minor unit more; so the days sum to the amount.
    """
    days = last - first + 1
    each, more = divmod(amount, days)
    begin, end = max(since, first) - first, min(until, last) - first + 1
    return each * (end - begin) + min(end, more) - min(begin, more) if begin < end else 0


def in_base(x: Spend, reference: Reference, base: str) -> int | None:
    """The whole spend in minor units of ``base``, at the rate of its last day; None without one."""
    return reference.convert(x.amount, x.currency, x.last, base)


def spent(
    market: Market,
    reference: Reference,
    base: str,
    period: Period,
    by: Callable[[Spend], _Key] = lambda x: (x.channel,),
) -> dict[_Key, Money]:
    """Spend of a period by whatever ``by`` tells: channel, team, kind, campaign."""
    sums: dict[_Key, int] = {}
    bare: dict[_Key, dict[str, int]] = {}
    for x in market.spends:
        if x.last < period.first or x.first > period.last:
            continue
        group = by(x)
        whole = in_base(x, reference, base)
        part = prorated(x.amount if whole is None else whole, x.first, x.last, period.first, period.last)
        sums[group] = sums.get(group, 0) + (part if whole is not None else 0)
        if whole is None:
            of = bare.setdefault(group, {})
            of[x.currency] = of.get(x.currency, 0) + part
    return {group: Money(n, bare.get(group, {})) for group, n in sums.items()}


def contribution(market: Market, reference: Reference, base: str, as_of_day: int) -> dict[_Key, int]:
    """What the market adds to the figures (`COLUMNS`): the days of spend up to ``as_of_day``, priced."""
    out: dict[_Key, int] = {}
    for x in market.spends:
        campaign = reference.campaign(x.campaign) if x.campaign else EMPTY
        labels = (x.channel, campaign, x.team, x.kind)
        whole = in_base(x, reference, base)
        amount = x.amount if whole is None else whole
        name: _Key = (
            ("spend_on", *labels) if whole is not None else ("spend_unpriced_on", *labels, x.currency)
        )
        for day in range(x.first, min(x.last, as_of_day) + 1):
            key = (*name, day)
            out[key] = out.get(key, 0) + prorated(amount, x.first, x.last, day, day)
    for network, followers in market.audience.items():
        out["audience", network] = followers
    return {key: n for key, n in out.items() if n}


def priced(found: Iterable[tuple[str, int, int]], reference: Reference, base: str) -> Money:
    """(currency, day, minor units) in the base currency at the rates of those very days, half-even.

    Amounts of one currency and day are summed before they are converted. What has no rate is counted, not priced.
    """
    sums: dict[tuple[str, int], int] = {}
    for currency, day, n in found:
        sums[currency, day] = sums.get((currency, day), 0) + n
    total = 0
    bare: dict[str, int] = {}
    for (currency, day), n in sums.items():
        converted = reference.convert(n, currency, day, base)
        if converted is None:
            bare[currency] = bare.get(currency, 0) + n
        else:
            total += converted
    return Money(total, bare)


# Targets and budgets ---------------------------------------------------------------------------------------------


class Pace(Struct, frozen=True):
    """A target against what came. Ratios are None where there is nothing to divide by."""

    target: Target
    actual: Fraction
    #: actual/value
    attainment: Fraction | None
    #: What an even course would have reached by now: value × days passed/days of the period.
    expected: Fraction
    #: actual/expected; 1 is on course.
    pace: Fraction | None
    #: Where it will end at this rate: actual × days of the period/days passed.
    projected: Fraction | None


def pace(target: Target, actual: int | Fraction, as_of_day: int, cumulative: bool = True) -> Pace:
    """Attainment and pace of a target (DOMAIN 6, Targets); the day of ``as_of`` counts as passed.

    :param cumulative: False for a rate: it does not grow by the day, so all of it is expected from the start.
    """
    days = target.last - target.first + 1
    passed = min(max(as_of_day - target.first + 1, 0), days)
    share = Fraction(passed, days) if cumulative else Fraction(min(passed, 1))
    expected = target.value * share
    came = Fraction(actual)
    return Pace(target, came, ratio(came, target.value), expected, ratio(came, expected), ratio(came, share))


def budget_use(spend: int, plan: int) -> Fraction | None:
    """Spend/budget of a team or channel in a period (DOMAIN 6, Budgets)."""
    return ratio(spend, plan)


def budget_share(spend: int, booked: int, corridor: Corridor) -> tuple[Fraction | None, str]:
    """Spend/booked revenue, both of the trailing 12 months (DOMAIN 6, Budgets), and where it lies: ``below``,
    ``within`` or ``above`` the corridor of the definition; "" without revenue."""
    share = ratio(spend, booked)
    if share is None:
        return None, ""
    if share * 1000 < corridor.low_per_mille:
        return share, "below"
    return share, "above" if share * 1000 > corridor.high_per_mille else "within"


# Formulas: exact, None where a denominator is 0 -------------------------------------------------------------------

Number = int | Fraction


def ratio(part: Number | None, whole: Number | None) -> Fraction | None:
    """part/whole; None where the whole is 0 or either is unknown."""
    return Fraction(part) / Fraction(whole) if part is not None and whole else None


def cost_per(spend: Mapping[str, int], reached: Mapping[str, int]) -> dict[str, Fraction | None]:
    """CPL, cost per MQL, cost per SQL, by channel: spend/leads (MQLs, SQLs) of the period (DOMAIN 6).

    A channel that cost something and brought nobody has None; one that brought people for nothing has 0.
    """
    return {x: ratio(spend.get(x, 0), reached.get(x, 0)) for x in sorted(spend.keys() | reached.keys())}


def cac(marketing: int, sales: int, new_customers: int) -> Fraction | None:
    """CAC = (marketing + sales spend)/new customers of the period (DOMAIN 6): one definition for both teams."""
    return ratio(marketing + sales, new_customers)


def arpa(booked: int, customers: Number, months: int = 3) -> Fraction | None:
    """ARPA per month = booked revenue of the trailing months/customers/months (DOMAIN 6, CLV).

    :param customers: mean of how many there were when the months began and ended.
    """
    return ratio(booked, customers * months)


def churn_rate(churned: int, customers: int, months: int = 3) -> Fraction | None:
    """Monthly churn = churned in the trailing months/customers when they began/months (DOMAIN 6, CLV)."""
    return ratio(churned, customers * months)


def payback(cost: Fraction | None, per_account: Fraction | None, margin_per_mille: int) -> Fraction | None:
    """Payback in months = CAC/(ARPA × margin) (DOMAIN 6)."""
    return None if per_account is None else ratio(cost, per_account * Fraction(margin_per_mille, 1000))


def clv(per_account: Fraction | None, churn: Fraction | None, margin_per_mille: int) -> Fraction | None:
    """CLV = ARPA × margin/churn, monthly over the trailing 3 months; None where nobody churned (DOMAIN 6)."""
    return None if per_account is None else ratio(per_account * Fraction(margin_per_mille, 1000), churn)


def realised_clv(collected: int, customers: int, margin_per_mille: int) -> Fraction | None:
    """Realised CLV = collected × margin/customers ever won: what they really brought so far (DOMAIN 6)."""
    return ratio(collected * Fraction(margin_per_mille, 1000), customers)


def clv_to_cac(value: Fraction | None, cost: Fraction | None) -> Fraction | None:
    """CLV:CAC = CLV/CAC (DOMAIN 6)."""
    return ratio(value, cost)


def roas(attributed: int, spend: int) -> Fraction | None:
    """ROAS = attributed booked revenue/spend: the usual quotient, of which `marketing_roi` is what is left over."""
    return ratio(attributed, spend)


def marketing_roi(attributed: int, spend: int, margin_per_mille: int) -> Fraction | None:
    """Marketing ROI = (attributed booked revenue × margin - spend)/spend (DOMAIN 6)."""
    return ratio(attributed * Fraction(margin_per_mille, 1000) - spend, spend)


def velocity(
    qualified: int, win_rate: Fraction | None, average_won: Fraction | None, cycle_days: Number | None
) -> Fraction | None:
    """Velocity per day = open qualified × win rate × average won/cycle days, trailing 90 days (DOMAIN 6)."""
    if win_rate is None or average_won is None:
        return None
    return ratio(qualified * win_rate * average_won, cycle_days)


def forecast(deals: Iterable[tuple[int, int]]) -> tuple[Fraction, Fraction]:
    """(E, Var) of what open deals will bring: E = Σ a·p, Var = Σ a²·p·(1 - p) (DOMAIN 6).

    :param deals: (amount in minor units of the base currency, probability per million).
    """
    mean = variance = Fraction(0)
    for amount, ppm in deals:
        p = Fraction(ppm, 1_000_000)
        mean += amount * p
        variance += amount * amount * p * (1 - p)
    return mean, variance


def forecast_accuracy(foreseen: Number, came: Number) -> Fraction | None:
    """1 - |forecast - actual|/actual: the forecast as it stood n days before the period's end against what came
    (DOMAIN 6). Below 0 where it was off by more than came."""
    off = ratio(abs(Fraction(foreseen) - came), abs(Fraction(came)))
    return None if off is None else 1 - off


#: Nothing was spent, planned or measured.
NOTHING = Market()
