"""Touches, their channels, the seven models by hand, refunds, and Σ credit = booked revenue."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from processors import attribution, market
from processors.attribution import UNATTRIBUTED, Credit, Touch, of_lead, touches, weights
from processors.compiled import Compiled, compile_definition
from processors.days import DAY
from processors.definition.model import HOUR, MINUTE, Attribution
from processors.events import KIND
from processors.ledger import Item
from processors.model import RUNNING, WON, Journey, Share
from processors.money import split
from processors.reference import EMPTY as NO_REFERENCE
from processors.reference import apply as learn
from schemas.envelope import Envelope
from tests.strategies import T0, default_definition, sent

BASE = default_definition()
D = compile_definition(BASE)
MODELS = BASE.attribution.models


def under(**changes: Any) -> Compiled:
    return compile_definition(replace(BASE, attribution=Attribution(**changes)))


def fact(type_: str, t: int, n: int, payload: dict[str, Any] | None = None, **more: Any) -> Item:
    e = sent(type_, t, n, payload, **more).event
    return e.a, e.b, e.c, e.data


def page(t: int, n: int, url: str = "https://example.org/", referrer: str | None = None, **more: Any) -> Item:
    return fact("page_viewed", t, n, {"url": url} | ({"referrer": referrer} if referrer else {}), **more)


def told(found: list[Touch]) -> list[tuple[int, str, str]]:
    return [(x.t - T0, x.channel, x.campaign) for x in found]


def row(*channels: str, gap: int = DAY, first: int = T0) -> list[Touch]:
    return [Touch(first + n * gap, channel, "") for n, channel in enumerate(channels)]


def won(amount: int, closed: int, opened: int = T0, currency: str = "EUR") -> Share:
    return Share(1, amount, currency, opened, WON, closed)


def known(at: int = T0) -> tuple[Journey, ...]:
    return (Journey(1, (at << 9 | D.anonymous, at << 9 | D.known)),)


def refund(t: int, n: int, amount: int, currency: str = "EUR", deal: str = "deal-1") -> Item:
    """As an account tells a lead."""
    e = sent(
        "invoice_refunded",
        t,
        n,
        {"amount": amount, "currency": currency},
        topic="deal",
        subject={"account_id": "a"},
    ).event
    return e.a, e.b, e.c, [amount, currency, deal]


# Touches -------------------------------------------------------------------------------------------------------------


def test_a_visit_is_one_touch_until_half_an_hour_has_passed() -> None:
    items = [page(T0 + m * MINUTE, m) for m in (0, 10, 40, 71)]
    assert [t for t, _, _ in told(touches(items, D))] == [0, 71 * MINUTE]


def test_forms_clicks_and_attended_events_are_touches_sends_and_opens_never() -> None:
    campaign = {"send_id": "s-1", "campaign_id": "spring"}
    items = [
        fact("email_sent", T0, 1, campaign),
        fact("email_delivered", T0 + 1, 2, campaign),
        fact("email_opened", T0 + 2, 3, {"send_id": "s-1", "agent": "human"}),
        fact("email_clicked", T0 + HOUR, 4, {"send_id": "s-1", "agent": "human"}),
        page(T0 + HOUR + 1000, 5),  # where the click led to: the same visit
        fact("form_submitted", T0 + HOUR + 2000, 6, {"form_id": "f", "intent": "content"}),
        fact("email_clicked", T0 + 2 * HOUR, 7, {"send_id": "s-1", "agent": "proxy"}),
        fact("email_clicked", T0 + 3 * HOUR, 8, {"send_id": "s-1", "agent": "unknown"}),
        fact("event_registered", T0 + 4 * HOUR, 9, {"event_id": "w", "kind": "webinar"}),
        fact("event_attended", T0 + 5 * HOUR, 10, {"event_id": "w", "kind": "webinar"}),
        fact("ad_clicked", T0 + 6 * HOUR, 11, {"ad_id": "a", "utm": {"utm_campaign": "brand"}}),
        fact("touched", T0 + 7 * HOUR, 12, {"channel": "phone", "kind": "call"}),
    ]
    assert told(touches(items, D)) == [
        (HOUR, "email", "spring"),
        (HOUR + 2000, "email", "spring"),
        (5 * HOUR, "events", ""),
        (6 * HOUR, "paid_search", "brand"),
    ]
    with_sales = told(touches(items, under(sales_touches=True)))
    assert with_sales[-1] == (7 * HOUR, "sales", "")


def test_the_system_is_no_sales_touch() -> None:
    items = [fact("touched", T0, 1, {"channel": "mail", "kind": "e-mail"}, actor={"type": "system"})]
    assert touches(items, under(sales_touches=True)) == []


def test_channels_by_utm_then_referrer_then_the_source_the_lead_came_from() -> None:
    utm = "https://example.org/?utm_source=google&utm_medium=cpc&utm_campaign=brand"
    items = [
        page(T0, 1),
        page(T0 + HOUR, 2, utm, "https://www.google.com/"),
        page(T0 + 2 * HOUR, 3, referrer="https://www.google.com/search"),
        page(T0 + 3 * HOUR, 4, referrer="https://blog.example.net/post"),
        page(T0 + 4 * HOUR, 5, referrer="https://example.org/pricing"),  # from page to page of our own
        fact("created", T0 + 5 * HOUR, 6, {"source": "affiliate", "generated_by": "marketing"}),
        page(T0 + 6 * HOUR, 7),
    ]
    assert [(c, campaign) for _, c, campaign in told(touches(items, D))] == [
        ("affiliates", ""),
        ("paid_search", "brand"),
        ("organic_search", ""),
        ("referral", ""),
        ("affiliates", ""),
        ("direct", ""),
    ]


def test_case_42_what_was_re_classified_as_a_bot_is_no_touch() -> None:
    click = fact("email_clicked", T0, 1, {"send_id": "s-1", "agent": "human"})
    seen = page(T0 + HOUR, 2)
    bots = [
        fact("engagement_reclassified", T0 + DAY, 3, {"of": "e1", "agent": "bot"}),
        fact("engagement_reclassified", T0 + DAY, 4, {"of": "e2", "agent": "bot"}),
    ]
    assert len(touches([click, seen], D)) == 2
    assert touches([click, seen, *bots], D) == []


# Models --------------------------------------------------------------------------------------------------------------


def parts(
    model: str, found: list[Touch], created: int = 0, opened: int = 0, d: Compiled = D
) -> list[Fraction]:
    w = weights(model, found, created, opened, d)
    return [Fraction(x) / sum(w, Fraction(0)) for x in w]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("first", [1, 0, 0, 0, 0]),
        ("last", [0, 0, 0, 0, 1]),
        ("linear", [Fraction(1, 5)] * 5),
        ("position", [Fraction(2, 5), Fraction(1, 15), Fraction(1, 15), Fraction(1, 15), Fraction(2, 5)]),
        ("last_non_direct", [0, 0, 0, 1, 0]),
    ],
)
def test_models_of_five_touches(model: str, expected: list[Any]) -> None:
    assert parts(model, row("social", "email", "direct", "email", "direct")) == expected


def test_position_of_one_and_of_two() -> None:
    assert parts("position", row("email")) == [1]
    assert parts("position", row("email", "direct")) == [Fraction(1, 2)] * 2


def test_last_non_direct_of_nothing_but_direct_is_the_last() -> None:
    assert parts("last_non_direct", row("direct", "direct")) == [0, 1]


def test_time_decay_halves_with_every_half_life() -> None:
    found = row("a", "b", "c", gap=7 * DAY)
    assert parts("time_decay", found) == [Fraction(1, 7), Fraction(2, 7), Fraction(4, 7)]
    assert (
        parts("time_decay", row("a", "b", gap=HOUR)) == [Fraction(1, 2)] * 2
    )  # within a day all count alike
    far = under(time_decay_half_life_days=1, look_back_days=400)
    assert parts("time_decay", row("a", "b", gap=300 * DAY), d=far) == [0, 1]


def test_w_gives_thirty_to_each_anchor_and_ten_to_the_rest() -> None:
    found = row("a", "b", "c", "d", "e")
    created, opened = T0 + DAY + HOUR, T0 + 3 * DAY
    assert parts("w", found, created, opened) == [
        Fraction(30, 100), Fraction(30, 100), Fraction(5, 100), Fraction(30, 100), Fraction(5, 100),
    ]  # fmt: skip


def test_w_where_anchors_coincide_they_add_up() -> None:
    found = row("a", "b", "c")
    assert parts("w", found, T0, T0 + 2 * DAY) == [Fraction(60, 100), Fraction(10, 100), Fraction(30, 100)]
    assert parts("w", found, T0, T0) == [Fraction(90, 100), Fraction(5, 100), Fraction(5, 100)]
    assert parts("w", row("a"), T0, T0) == [1]


def test_w_without_a_rest_or_an_anchor_is_renormalised() -> None:
    found = row("a", "b", "c")
    assert parts("w", found, T0 + DAY, T0 + 2 * DAY) == [Fraction(1, 3)] * 3
    # the lead was made before every touch in the window: 30 + 30 + 10 remain
    assert parts("w", found, T0 - DAY, T0 + 2 * DAY) == [Fraction(3, 7), Fraction(1, 7), Fraction(3, 7)]


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ValueError, match="no attribution model"):
        weights("best", row("a"), 0, 0, D)


# Credits -------------------------------------------------------------------------------------------------------------


def visits(*days: int) -> list[Item]:
    return [page(T0 + d * DAY, d, f"https://example.org/?utm_medium=social&utm_campaign=c{d}") for d in days]


def test_shares_of_a_deal_by_largest_remainder() -> None:
    found = attribution.by_model(of_lead(visits(0, 1, 2), known(), {"deal-1": won(100, T0 + 9 * DAY)}, D))
    assert found["linear"] == (("social", "c0", 34), ("social", "c1", 33), ("social", "c2", 33))
    assert found["position"] == (("social", "c0", 40), ("social", "c1", 20), ("social", "c2", 40))
    assert found["last"] == (("social", "c2", 100),)
    assert set(found) == set(MODELS)


def test_the_window_ends_at_closing_and_a_touch_after_the_handoff_counts() -> None:
    d = under(look_back_days=10, models=("linear",))
    closed = T0 + 12 * DAY
    found = of_lead(visits(0, 2, 12, 13), known(), {"deal-1": won(100, closed)}, d)
    assert [(x.campaign, x.amount) for x in found] == [("c2", 50), ("c12", 50)]


def test_without_a_touch_it_is_nobodys() -> None:
    found = of_lead([], known(), {"deal-1": won(100, T0)}, D)
    assert {(x.model, x.channel, x.amount) for x in found} == {(m, UNATTRIBUTED, 100) for m in MODELS}
    assert of_lead(visits(1), known(), {"deal-1": Share(1, 100, "EUR", T0)}, D) == ()
    assert of_lead(visits(1), known(), {"deal-1": Share(1, 100, "EUR", T0, RUNNING)}, D) == ()


def test_touches_from_before_the_cut_count() -> None:
    d = under(models=("linear",))
    kept = touches(visits(0), d)
    found = of_lead(visits(1), known(), {"deal-1": won(10, T0 + 2 * DAY)}, d, kept)
    assert [(x.campaign, x.amount) for x in found] == [("c0", 5), ("c1", 5)]


def test_case_26_a_deal_without_lead_is_unattributed_in_every_model() -> None:
    found = attribution.unattributed("won", "EUR", T0, 500, D, "deal-1")
    assert [(x.model, x.channel, x.amount) for x in found] == [(m, UNATTRIBUTED, 500) for m in MODELS]
    assert attribution.contribution(found, D, fine=False) == {
        ("attributed", m, UNATTRIBUTED, "EUR"): 500 for m in MODELS
    }
    assert attribution.unattributed("won", "EUR", T0, 0, D) == ()
    assert {x.amount for x in attribution.unattributed("contracted", "EUR", T0, 5, D)} == {-5}


def test_case_34_a_win_that_does_not_stand_has_no_credit() -> None:
    shares = {"deal-1": won(100, T0 + 9 * DAY)}
    before = attribution.contribution(of_lead(visits(0), known(), shares, D), D)
    assert sum(n for k, n in before.items() if k[0] != "credited_on") == 2 * 100 * len(MODELS)
    assert sum(n for k, n in before.items() if k[0] == "credited_on") == len(MODELS)
    shares = {"deal-1": replace(shares["deal-1"], outcome=RUNNING, closed=0)}
    assert of_lead(visits(0), known(), shares, D) == ()


def test_case_45_a_partial_refund_takes_its_share_of_the_credit_back() -> None:
    items = [*visits(0, 1, 2), refund(T0 + 20 * DAY, 20, 50), refund(T0 + 21 * DAY, 21, 50)]
    shares = {"deal-1": won(100, T0 + 9 * DAY)}
    half = [x for x in of_lead(items[:-1], known(), shares, D) if x.model == "linear"]
    assert [(x.kind, x.campaign, x.amount) for x in half] == [
        ("won", "c0", 34), ("won", "c1", 33), ("won", "c2", 33),
        ("refunded", "c0", -17), ("refunded", "c1", -17), ("refunded", "c2", -16),
    ]  # fmt: skip
    # in two parts it comes to what it would have been in one: nothing is left of any credit
    whole = attribution.by_model(of_lead(items, known(), shares, D))
    assert {n for rows in whole.values() for _, _, n in rows} == {0}


def test_a_refund_of_what_is_no_longer_won_is_nobodys() -> None:
    found = of_lead([refund(T0, 1, 30)], known(), {}, D)
    assert {(x.kind, x.channel, x.amount) for x in found} == {("refunded", UNATTRIBUTED, -30)}


def test_contribution_is_by_day_and_currency() -> None:
    d = under(models=("last",))
    found = of_lead(visits(0), known(), {"deal-1": won(7, T0 + DAY, currency="KWD")}, d)
    day = T0 // DAY + 1
    assert attribution.contribution(found, d) == {
        ("attributed", "last", "social", "KWD"): 7,
        ("attributed_on", "last", "social", "c0", "won", "KWD", day): 7,
        ("credited_on", "last", "social", "c0", day): 1,
    }
    assert {len(k) - 1 for k in attribution.contribution(found, d)} == {
        len(x) for x in attribution.COLUMNS.values()
    }


def test_case_45_credit_in_base_currency_sums_to_what_was_booked() -> None:
    usd = learn(
        NO_REFERENCE,
        [
            Envelope(
                type="fx_rate_set",
                occurred_at=T0,
                payload={"base": "USD", "quote": "EUR", "date": "2026-03-02", "rate": "0.333"},
            )
        ],
    )
    d = under(models=("linear",))
    closed = T0 + DAY
    credits_: list[Credit] = []
    for n in range(3):
        mine = of_lead(visits(0, 1), known(), {f"deal-{n}": won(101, closed, currency="USD")}, d)
        credits_ += mine
    fine = attribution.contribution(credits_, d)
    base, bare = attribution.priced(fine, usd, "EUR")
    assert not bare
    booked = market.priced([("USD", closed // DAY, 303)], usd, "EUR")
    assert sum(base.values()) == booked.minor == 101
    without, bare = attribution.priced(fine, NO_REFERENCE, "EUR")
    assert (without, sum(bare.values())) == ({}, 303)  # counted, not priced


# Laws ----------------------------------------------------------------------------------------------------------------

_moments = st.integers(0, 40 * 24).map(lambda h: T0 + h * HOUR)


@st.composite
def histories(draw: st.DrawFn) -> list[Item]:
    out = []
    for n in range(draw(st.integers(0, 8))):
        t = draw(_moments)
        what = draw(st.integers(0, 4))
        if what == 0:
            out.append(page(t, n, "https://example.org/?utm_medium=cpc&utm_source=s"))
        elif what == 1:
            out.append(page(t, n))
        elif what == 2:
            out.append(fact("form_submitted", t, n, {"form_id": "f", "intent": "content"}))
        elif what == 3:
            out.append(fact("event_attended", t, n, {"event_id": f"e{n}", "kind": "fair"}))
        else:
            out.append(
                refund(t, n, draw(st.integers(0, 500)), deal=draw(st.sampled_from(["deal-1", "deal-2"])))
            )
    return sorted(out, key=lambda e: e[:2])


@given(
    histories(),
    st.lists(st.tuples(st.integers(0, 10**7), _moments, _moments), max_size=2),
    st.booleans(),
)
def test_credit_of_every_model_is_what_was_booked(
    items: list[Item], deals: list[tuple[int, int, int]], short: bool
) -> None:
    d = under(look_back_days=5) if short else D
    shares = {f"deal-{n}": won(amount, closed, opened) for n, (amount, closed, opened) in enumerate(deals, 1)}
    found = of_lead(items, known(), shares, d)
    back = sum(e[3][0] for e in items if e[1] >> 8 & 255 == KIND["invoice_refunded"])
    booked = sum(x.amount for x in shares.values()) - back
    for model in MODELS:
        assert sum(x.amount for x in found if x.model == model) == booked
    for x in found:
        assert x.channel == UNATTRIBUTED or any(x.channel == touch.channel for touch in touches(items, d))


@given(st.integers(-(10**9), 10**9), st.lists(st.integers(0, 10**6), min_size=1, max_size=8))
def test_shares_are_those_of_money(amount: int, w: list[int]) -> None:
    if any(w):
        assert attribution.shares_of(amount, w) == split(amount, w)


@given(st.lists(st.fractions(-(10**6), 10**6, max_denominator=1000), max_size=9))
def test_apportioned_sums_to_the_rounded_sum(exact: list[Fraction]) -> None:
    found = attribution.apportioned(exact)
    assert sum(found) == round(sum(exact, Fraction(0)))
    assert all(abs(n - x) < 1 for n, x in zip(found, exact, strict=True))
