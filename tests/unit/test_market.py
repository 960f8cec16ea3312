"""Spend, budgets, targets, audience; every formula against numbers worked out by hand."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import market
from processors.additive import EMPTY, Contribution, add
from processors.days import DAY, day_number
from processors.definition.model import Budget
from processors.market import NOTHING, Market, Money, Spend, apply
from processors.period import Period
from processors.reference import EMPTY as NO_REFERENCE
from processors.reference import Reference
from processors.reference import apply as learn
from schemas.envelope import Envelope

FEB_1 = day_number(2026, 2, 1)
T0 = FEB_1 * DAY
JANUARY, FEBRUARY = Period.parse("2026-01"), Period.parse("2026-02")


def said(type_: str, at: int = T0, of: str | None = None, **payload: Any) -> Envelope:
    return Envelope(type=type_, occurred_at=at, source_system="ads", source_event_id=of, payload=payload)


def spend(
    amount: int,
    first: str = "2026-02-01",
    last: str = "2026-02-28",
    at: int = T0,
    of: str = "s-1",
    **more: Any,
) -> Envelope:
    given_ = {"channel": "paid_search", "currency": "EUR", "kind": "media", "team": "marketing"} | more
    return said("spend_recorded", at, of, amount=amount, period_start=first, period_end=last, **given_)


def restated(amount: int, supersedes: str, at: int = T0 + DAY, of: str = "r-1", **more: Any) -> Envelope:
    return said("spend_restated", at, of, supersedes=supersedes, amount=amount, **more)


def rate(base: str, date: str, value: str) -> Reference:
    fact = said("fx_rate_set", base=base, quote="EUR", date=date, rate=value)
    return learn(NO_REFERENCE, [fact])


def by_channel(m: Market, period: Period, reference: Reference = NO_REFERENCE) -> dict[Any, Money]:
    return market.spent(m, reference, "EUR", period)


def test_case_46_a_period_over_the_end_of_a_month_is_split_by_day() -> None:
    # 17 January to 15 February: 30 days, 100 = 10 days of 4 and 20 of 3
    m = apply(NOTHING, [spend(100, "2026-01-17", "2026-02-15")])
    assert by_channel(m, JANUARY) == {("paid_search",): Money(10 * 4 + 5 * 3)}
    assert by_channel(m, FEBRUARY) == {("paid_search",): Money(15 * 3)}
    assert by_channel(m, Period.parse("2026-01..2026-02")) == {("paid_search",): Money(100)}
    assert by_channel(m, Period.parse("2026-03")) == {}


def test_case_46_a_restatement_counts_whenever_it_comes() -> None:
    facts = [
        spend(2800),
        restated(5600, "s-1", T0 + 2 * DAY, "r-2"),
        restated(1400, "s-1", T0 + DAY, "r-1"),
    ]
    for order in (facts, facts[::-1]):
        m = apply(NOTHING, order)
        assert by_channel(m, FEBRUARY) == {("paid_search",): Money(5600)}
        assert by_channel(m.as_of(T0 + DAY), FEBRUARY) == {("paid_search",): Money(1400)}
        assert by_channel(m.as_of(T0), FEBRUARY) == {("paid_search",): Money(2800)}


def test_case_46_a_restatement_of_a_restatement_and_by_event_id() -> None:
    first = Envelope(
        type="spend_recorded",
        occurred_at=T0,
        source_system="ads",
        event_id="ev-1",
        payload=spend(100).payload,
    )
    m = apply(NOTHING, [restated(30, "r-1", T0 + 2 * DAY, "r-2"), restated(20, "ev-1", of="r-1"), first])
    assert [x.amount for x in m.spends] == [30]
    # one that names nothing we know waits for it
    assert apply(m, [restated(7, "s-unknown", of="r-9")]).spends == m.spends
    # the same id in another source is another spend
    other = Envelope(
        type="spend_restated", occurred_at=T0, source_system="erp", payload={"supersedes": "r-1", "amount": 1}
    )
    assert apply(m, [other]).spends == m.spends


def test_case_46_of_a_chain_the_one_that_was_said_last_stands() -> None:
    facts = [spend(100), restated(20, "r-2", T0 + DAY, "r-1"), restated(30, "s-1", T0 + 2 * DAY, "r-2")]
    assert [x.amount for x in apply(NOTHING, facts).spends] == [30]


def test_case_02_of_two_payloads_under_one_identity_the_first_recorded_stays() -> None:
    claims = [(spend(100), 7), (spend(200), 5), (spend(300), 9)]
    for order in (claims, claims[::-1]):
        m = NOTHING
        for e, recorded_at in order:
            m = apply(m, [e], [recorded_at])
        assert [x.amount for x in m.spends] == [200]
    seen = [
        Envelope(**{f: getattr(e, f) for f in e.__struct_fields__} | {"observed_at": at}) for e, at in claims
    ]
    assert [x.amount for x in apply(NOTHING, seen).spends] == [200]


def test_case_46_spend_without_leads_has_no_cost_per_lead() -> None:
    assert market.cost_per({"paid_search": 5000, "social": 900}, {"paid_search": 4, "referral": 2}) == {
        "paid_search": Fraction(1250),
        "referral": Fraction(0),
        "social": None,
    }


def test_spend_is_told_apart_by_channel_team_and_kind() -> None:
    m = apply(
        NOTHING,
        [
            spend(2800),
            spend(560, of="s-2", kind="salary", team="sales", channel="outbound"),
            spend(1400, of="s-3", kind="tool"),
        ],
    )
    assert by_channel(m, FEBRUARY) == {("paid_search",): Money(4200), ("outbound",): Money(560)}
    assert market.spent(m, NO_REFERENCE, "EUR", FEBRUARY, lambda x: (x.team, x.kind)) == {
        ("marketing", "media"): Money(2800),
        ("marketing", "tool"): Money(1400),
        ("sales", "salary"): Money(560),
    }
    one_day = Period.parse("2026-02-03")
    assert market.spent(m, NO_REFERENCE, "EUR", one_day, lambda x: (x.team,)) == {
        ("marketing",): Money(150),
        ("sales",): Money(20),
    }


def test_case_45_spend_is_priced_at_the_rate_of_its_last_day_or_only_counted() -> None:
    dollars = apply(NOTHING, [spend(1000, currency="USD"), spend(28, of="s-2")])
    usd = rate("USD", "2026-02-28", "0.5")
    assert by_channel(dollars, FEBRUARY, usd) == {("paid_search",): Money(528)}
    assert by_channel(dollars, FEBRUARY, rate("USD", "2026-02-27", "0.5")) == {
        ("paid_search",): Money(28, {"USD": 1000})
    }
    yen = apply(NOTHING, [spend(28_000, currency="JPY")])  # no minor unit: 28,000 yen at 0.0061 are 170.80
    assert by_channel(yen, FEBRUARY, rate("JPY", "2026-02-28", "0.0061")) == {("paid_search",): Money(17_080)}
    dinar = apply(NOTHING, [spend(1_000, currency="KWD")])  # one dinar
    assert by_channel(dinar, FEBRUARY, rate("KWD", "2026-02-28", "3.2")) == {("paid_search",): Money(320)}


def test_contribution_ends_with_the_day_of_as_of() -> None:
    m = apply(
        NOTHING,
        [
            spend(57),
            spend(100, of="s-2", currency="USD"),
            said("audience_measured", network="n", followers=5),
        ],
    )
    found = market.contribution(m, NO_REFERENCE, "EUR", FEB_1 + 1)
    labels = ("paid_search", EMPTY, "marketing", "media")
    assert found == {
        ("spend_on", *labels, FEB_1): 3,  # 57 = 28 days of 2, and the first of 3
        ("spend_on", *labels, FEB_1 + 1): 2,
        ("spend_unpriced_on", *labels, "USD", FEB_1): 4,  # 100 = 16 days of 4, 12 of 3
        ("spend_unpriced_on", *labels, "USD", FEB_1 + 1): 4,
        ("audience", "n"): 5,
    }
    assert {len(k) - 1 for k in found if k[0] == "spend_on"} == {len(market.COLUMNS["spend_on"])}
    whole: Contribution = {}
    add(whole, market.contribution(m, NO_REFERENCE, "EUR", FEB_1 + 99).items())
    assert sum(n for k, n in whole.items() if k[0] == "spend_on") == 57


def test_a_renamed_campaign_is_shown_under_its_name_of_today() -> None:
    r = learn(NO_REFERENCE, [said("campaign_renamed", old="spring", new="spring-26")])
    found = market.contribution(apply(NOTHING, [spend(1, campaign="spring")]), r, "EUR", FEB_1)
    assert [k[2] for k in found] == ["spring-26"]


def test_the_latest_budget_target_and_audience_stand() -> None:
    facts = [
        said("budget_set", T0, "b-1", team="marketing", amount=900, currency="EUR", period_start="2026-01-01", period_end="2026-12-31"),
        said("budget_set", T0 + 5, "b-2", team="marketing", amount=700, currency="EUR", period_start="2026-01-01", period_end="2026-12-31"),
        said("budget_set", T0, "b-3", team="marketing", channel="social", amount=50, currency="EUR", period_start="2026-01-01", period_end="2026-12-31"),
        said("target_set", T0, "t-1", team="sales", figure="won_amount", value=100, period_start="2026-02-01", period_end="2026-02-28"),
        said("target_set", T0 + 1, "t-2", team="sales", figure="won_amount", value=280, period_start="2026-02-01", period_end="2026-02-28"),
        said("audience_measured", T0, "a-1", network="n", followers=10),
        said("audience_measured", T0 + 1, "a-2", network="n", followers=7),
    ]  # fmt: skip
    m = apply(NOTHING, facts)
    assert [(b.team, b.channel, b.amount) for b in m.budgets] == [
        ("marketing", "", 700),
        ("marketing", "social", 50),
    ]
    assert [t.value for t in m.targets] == [280]
    assert m.audience == {"n": 7}
    assert market.budget_use(350, m.budgets[0].amount) == Fraction(1, 2)
    assert market.budget_use(350, 0) is None


def test_attainment_and_pace() -> None:
    target = market.Target("sales", "", "won_amount", FEB_1, FEB_1 + 27, 280)
    p = market.pace(target, 35, FEB_1 + 6)  # a quarter of the days, an eighth of the value
    assert (p.attainment, p.expected, p.pace, p.projected) == (
        Fraction(1, 8), Fraction(70), Fraction(1, 2), Fraction(140),
    )  # fmt: skip
    over = market.pace(target, 350, FEB_1 + 90)
    assert (over.attainment, over.pace, over.projected) == (Fraction(5, 4), Fraction(5, 4), Fraction(350))
    early = market.pace(target, 0, FEB_1 - 1)
    assert (early.expected, early.pace, early.projected) == (0, None, None)
    rates = market.pace(
        market.Target("", "owner-1", "win_rate", FEB_1, FEB_1 + 27, 200_000), 150_000, FEB_1, False
    )
    assert (rates.expected, rates.pace) == (200_000, Fraction(3, 4))
    assert market.pace(market.Target("", "owner-1", "leads", FEB_1, FEB_1, 0), 3, FEB_1).attainment is None


@pytest.mark.parametrize(
    ("spent", "booked", "expected"),
    [
        (59, 1000, (Fraction(59, 1000), "below")),
        (60, 1000, (Fraction(6, 100), "within")),
        (120, 1000, (Fraction(12, 100), "within")),
        (121, 1000, (Fraction(121, 1000), "above")),
        (5, 0, (None, "")),
    ],
)
def test_spend_against_booked_revenue(spent: int, booked: int, expected: tuple[Any, str]) -> None:
    assert (
        market.budget_share(spent, booked, Budget(team="marketing", low_per_mille=60, high_per_mille=120))
        == expected
    )


def test_what_a_customer_costs_and_is_worth() -> None:
    # 30,000 marketing, 20,000 sales, 4 new customers: 12,500 each
    cost = market.cac(30_000, 20_000, 4)
    assert cost == 12_500
    # 180,000 booked in 3 months by 60 customers: 1,000 a month; 3 of 60 left in 3 months: 1/60 a month
    each = market.arpa(180_000, 60)
    assert each == 1_000
    churn = market.churn_rate(3, 60)
    assert churn == Fraction(1, 60)
    assert market.payback(cost, each, 750) == Fraction(12_500, 750)
    value = market.clv(each, churn, 750)
    assert value == 45_000  # 1,000 × 0.75 × 60
    assert market.clv_to_cac(value, cost) == Fraction(18, 5)
    assert market.realised_clv(240_000, 60, 750) == 3_000


def test_what_came_back_of_the_spend() -> None:
    assert market.roas(50_000, 20_000) == Fraction(5, 2)
    assert market.marketing_roi(50_000, 20_000, 750) == Fraction(7, 8)  # (37,500 - 20,000)/20,000
    assert market.marketing_roi(0, 20_000, 750) == -1


def test_velocity_and_forecast() -> None:
    # 40 open qualified × 1/4 × 9,000 / 60 days
    assert market.velocity(40, Fraction(1, 4), Fraction(9_000), 60) == 1_500
    mean, variance = market.forecast([(10_000, 500_000), (4_000, 250_000), (7_000, 1_000_000), (1, 0)])
    assert mean == 5_000 + 1_000 + 7_000
    assert variance == 10_000**2 / Fraction(4) + 4_000**2 * Fraction(3, 16)
    assert market.forecast([]) == (0, 0)
    assert market.forecast_accuracy(900, 1_000) == Fraction(9, 10)
    assert market.forecast_accuracy(Fraction(2_500), 1_000) == Fraction(-1, 2)


def test_a_denominator_of_nothing_gives_nothing() -> None:
    one = Fraction(1)
    assert [
        market.cac(1, 1, 0), market.arpa(1, 0), market.churn_rate(0, 0), market.payback(None, one, 1),
        market.payback(one, None, 1), market.payback(one, Fraction(0), 750), market.clv(one, Fraction(0), 750),
        market.clv(None, one, 750), market.clv(one, None, 750), market.realised_clv(1, 0, 750),
        market.clv_to_cac(None, one), market.clv_to_cac(one, None), market.roas(1, 0),
        market.marketing_roi(1, 0, 750), market.velocity(1, None, one, 1), market.velocity(1, one, None, 1),
        market.velocity(1, one, one, 0), market.velocity(1, one, one, None), market.forecast_accuracy(1, 0),
    ] == [None] * 19  # fmt: skip


@given(st.integers(0, 10**9), st.integers(1, 400), st.integers(-10, 410), st.integers(0, 200))
def test_prorated_days_sum_to_the_amount(amount: int, days: int, cut: int, more: int) -> None:
    first, last = FEB_1, FEB_1 + days - 1
    assert market.prorated(amount, first, last, first - 5, last + 5) == amount
    middle = first + cut
    halves = market.prorated(amount, first, last, first, middle) + market.prorated(
        amount, first, last, middle + 1, last
    )
    assert halves == amount
    inside = Period(middle, middle + more)
    each = [market.prorated(amount, first, last, d, d) for d in range(inside.first, inside.last + 1)]
    assert sum(each) == market.prorated(amount, first, last, inside.first, inside.last)
    of_days = [market.prorated(amount, first, last, d, d) for d in range(first, last + 1)]
    assert max(of_days) - min(of_days) <= 1


@st.composite
def facts(draw: st.DrawFn) -> list[tuple[Envelope, int]]:
    out = []
    ids = st.sampled_from(["x-1", "x-2", "x-3", "x-4"])
    for _ in range(draw(st.integers(0, 8))):
        at = T0 + draw(st.integers(0, 3))
        if draw(st.booleans()):
            day = draw(st.integers(1, 9))
            e = spend(draw(st.integers(0, 99)), f"2026-02-0{day}", f"2026-02-{day + 9:02d}", at, draw(ids))
        else:
            e = restated(draw(st.integers(0, 99)), draw(ids), at, draw(ids))
        out.append((e, draw(st.integers(0, 3))))
    return out


@given(facts(), st.randoms(use_true_random=False))
def test_order_and_duplication_change_nothing(given_: list[tuple[Envelope, int]], rng: random.Random) -> None:
    whole = apply(NOTHING, [e for e, _ in given_], [at for _, at in given_])
    again = given_ + rng.choices(given_, k=len(given_)) if given_ else []
    rng.shuffle(again)
    m = NOTHING
    while again:
        n = rng.randint(1, len(again))
        m = apply(m, [e for e, _ in again[:n]], [at for _, at in again[:n]])
        again = again[n:]
    assert m.spends == whole.spends
    total = sum(x.amount for x in m.spends)
    days = market.contribution(m, NO_REFERENCE, "EUR", FEB_1 + 99)
    assert sum(days.values()) == total
    assert all(type(x) is Spend for x in m.spends)
