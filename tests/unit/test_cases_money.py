"""Cases 26, 34, 35, 45 and 46: what was booked, in which currency, who earned it, and what it cost."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.days import iso
from tests.money_world import Shop, on
from tests.strategies import T0

MARCH = "2026-03"


def shop() -> Shop:
    return Shop(now=T0)


def touched(f: Shop, day: int = 1) -> None:
    f.say("page_viewed", on(day), {"url": "https://example.org/?utm_medium=social"})
    f.say("created", on(day) + 1, {"source": "social", "generated_by": "marketing"})


def test_case_26_a_deal_without_lead_is_revenue_that_nobody_earned() -> None:
    f = shop()
    f.opened(2, 900, leads=())
    f.won(3, 900)
    assert f.balanced() == 900
    assert f.figure("deals_without_lead")["won",] == 1
    assert set(f.figure("unattributed_revenue").values()) == {900}
    assert f.figure("attributed_revenue", "channel").keys() == {
        (m, "unattributed") for m in f.definition.attribution.models
    }
    assert f.inputs("cac")["new_customers"] == 1


def test_case_34_won_reopened_lost_reverses_revenue_credit_and_cac() -> None:
    f = shop()
    touched(f)
    f.spend("social", "2026-03-01", "2026-03-04", 400)
    f.opened(2, 900, account_id="acc-1")
    f.won(3, 900)
    until = on(5)
    f.until(until)
    assert f.balanced() == 900
    assert f.figure("attributed_revenue", "channel")["last", "social"] == 900
    assert f.one("cac") == 400
    assert f.figure("roas")["last",] == Fraction(9, 4)
    f.say("reopened", on(6), deal="deal-1")
    f.say("lost", on(7), {"reason_code": "price"}, deal="deal-1")
    assert f.balanced() == 0
    assert f.figure("attributed_revenue") == {}
    assert (f.one("cac"), f.inputs("cac")["new_customers"]) == (None, 0)
    assert f.one("win_rate_by_value_in_base") == 0
    assert f.figure("roas")["last",] == 0
    # as it stood then is not forgotten
    assert f.one("booked_revenue", at=until) == 900
    assert f.one("cac", at=until) == 400


def test_case_35_won_twice_is_one_win_and_the_difference_is_booked() -> None:
    f = shop()
    touched(f)
    f.opened(2, 900)
    f.won(3, 900)
    f.won(4, 1000)
    assert f.balanced() == 1000
    assert f.one("deals_won") == 1
    f.say("amount_changed", on(6), {"amount": 700, "currency": "EUR"}, deal="deal-1")
    assert f.balanced() == 700
    assert f.figure("booked_revenue", "kind") == {("won",): 700}
    # still booked on the day of the first win
    assert f.one("booked_revenue", "2026-03-03") == 700
    assert f.one("bookings") == 1


def test_case_45_a_currency_changed_mid_deal_is_the_new_amount_in_the_new_currency() -> None:
    f = shop()
    touched(f)
    f.rate("USD", "2026-03-05", "0.8")
    f.opened(2, 900)
    f.say("amount_changed", on(3), {"amount": 1000, "currency": "USD"}, deal="deal-1")
    assert f.figure("pipeline_value")["open",] == 0
    f.won(5, 1000, "USD")
    assert f.balanced() == 800
    assert f.figure("won_amount") == {("USD",): 1000}
    assert f.figure("attributed_revenue", "channel")["linear", "social"] == 800


def test_case_45_without_a_rate_it_is_counted_and_not_priced() -> None:
    f = shop()
    touched(f)
    f.rate("USD", "2026-03-04", "0.8")
    f.rate("USD", "2026-03-06", "0.8")
    f.opened(2, 1000, "USD")
    f.won(5, 1000, "USD")
    f.opened(2, 300, deal="deal-2", leads=())
    f.won(5, 300, deal="deal-2")
    assert f.balanced() == 300
    assert f.inputs("booked_revenue") == {"won": 300, "unpriced USD": 1000}
    assert f.figure("booked_unpriced") == {("USD",): 1000}
    assert f.one("bookings") == f.one("deals_won") == 2
    assert f.one("deal_size_in_base") == 300
    (mine,) = [v for v in f.values("channel", only=("attributed_revenue",)) if v.labels == {"model": "last", "channel": "social"}]  # fmt: skip
    assert (mine.value, mine.inputs) == (0, {"unpriced USD": 1000})


def test_case_45_the_rate_of_the_close_date_restates_openly_any_other_never_does() -> None:
    f = shop()
    touched(f)
    f.rate("USD", "2026-03-05", "0.8")
    f.opened(2, 1000, "USD")
    f.won(5, 1000, "USD")
    assert f.balanced() == 800
    for date in ("2026-03-02", "2026-03-04", "2026-03-06", "2026-04-01"):
        f.rate("USD", date, "0.1")
    assert f.balanced() == 800
    f.rate("USD", "2026-03-05", "0.9", day=20)
    assert f.balanced() == 900
    assert f.figure("attributed_revenue")["w",] == 900


def test_case_45_booked_at_closed_at_with_the_rate_of_that_day() -> None:
    f = shop()
    f.rate("USD", "2026-03-05", "0.8")
    f.rate("USD", "2026-03-09", "0.7")
    f.opened(2, 1000, "USD", leads=())
    f.won(5, 1000, "USD", closed_at=on(9))
    f.until(on(12))
    assert f.balanced() == 700
    assert (f.one("booked_revenue", "2026-03-05"), f.one("booked_revenue", "2026-03-09")) == (0, 700)


def test_case_45_zero_is_counted_and_negative_is_a_dead_letter() -> None:
    f = shop()
    f.opened(2, 0, leads=())
    f.won(3, 0)
    assert (f.balanced(), f.one("deals_won"), f.one("bookings")) == (0, 1, 1)
    assert f.one("deal_size_in_base") == 0
    assert f.one("win_rate_by_value_in_base") is None
    f.raw(
        {
            "type": "won", "occurred_at": on(4), "source_system": "crm", "source_event_id": "w-9",
            "subject": {"deal_id": "deal-2"}, "payload": {"amount": -5, "currency": "EUR"},
        }
    )  # fmt: skip
    f.raw(
        {
            "type": "invoice_refunded", "occurred_at": on(4), "source_system": "billing", "source_event_id": "r-9",
            "subject": {"account_id": "acc-1"}, "payload": {"amount": -5, "currency": "EUR"},
        }
    )  # fmt: skip
    assert [letter["code"] for letter in f.dead()] == ["bad_field", "bad_field"]
    assert all("not negative" in letter["detail"] for letter in f.dead())
    assert (f.one("bookings"), f.one("collected")) == (1, 0)


def test_case_45_a_partial_refund_takes_its_share_of_the_credit_back() -> None:
    f = shop()
    touched(f)
    f.say("page_viewed", on(2), {"url": "https://example.org/?utm_medium=email"})
    f.opened(3, 1001, account_id="acc-1")
    f.won(4, 1001)
    assert f.balanced() == 1001
    f.account("invoice_paid", 5, amount=1001, currency="EUR")
    f.account("invoice_refunded", 6, amount=501, currency="EUR")
    assert f.balanced() == 500
    credit = f.figure("attributed_revenue", "channel", "kind")
    # largest remainder: 1001 = 501 + 500, 501 = 251 + 250
    assert (credit["linear", "social", "won"], credit["linear", "email", "won"]) == (501, 500)
    assert (credit["linear", "social", "refunded"], credit["linear", "email", "refunded"]) == (-251, -250)
    assert f.one("collected") == 500
    assert f.one("booked_revenue", "2026-03-06") == -501


def test_case_45_yen_have_no_digits_and_dinars_three() -> None:
    f = shop()
    f.rate("JPY", "2026-03-05", "0.0061")
    f.rate("KWD", "2026-03-05", "3.01")
    f.opened(2, 150_000, "JPY", leads=())
    f.won(5, 150_000, "JPY")  # 150,000 yen = 915.00 euro
    f.opened(2, 1_234, "KWD", deal="deal-2", leads=())
    f.won(5, 1_234, "KWD", deal="deal-2")  # 1.234 dinars = 3.71434 euro
    assert f.balanced() == 91_500 + 371
    assert f.figure("won_amount") == {("JPY",): 150_000, ("KWD",): 1_234}


def test_case_46_spend_that_comes_late_restates_and_so_does_its_correction() -> None:
    f = shop()
    touched(f)
    f.until(on(31))
    assert f.figure("cost_per_lead", "channel") == {("social",): 0}
    f.learn(
        "spend_recorded", on(31), channel="social", period_start="2026-03-01", period_end="2026-03-10", amount=1000,
        currency="EUR", kind="media", team="marketing",
    )  # fmt: skip
    assert f.figure("spend", "channel", period=MARCH) == {("social",): 1000}
    assert f.one("cost_per_lead", MARCH) == 1000
    assert f.one("spend", "2026-03-03") == 100
    assert f.one("spend", at=on(30)) == 0, "it had not been said by then"


def test_case_46_spend_without_leads_has_no_cost_per_lead() -> None:
    f = shop()
    touched(f)
    f.spend("display", "2026-03-01", "2026-03-02", 500)
    f.spend("social", "2026-03-01", "2026-03-02", 300)
    f.until(on(5))
    assert f.figure("cost_per_lead", "channel") == {("display",): None, ("social",): 300}
    (of,) = [v for v in f.values("channel", only=("cost_per_lead",)) if v.labels["channel"] == "display"]
    assert of.inputs == {"spend": 500, "leads": 0}
    assert (f.one("cost_per_lead"), f.one("cost_per_mql"), f.one("cost_per_sql")) == (800, None, None)


def test_spend_is_that_of_a_team_however_it_is_written_and_what_is_of_no_cost_is_told() -> None:
    f = shop()
    touched(f)
    f.spend("social", "2026-03-01", "2026-03-02", 300, team="Marketing")
    f.spend("social", "2026-03-01", "2026-03-02", 70, team=" Sales")
    f.spend("social", "2026-03-01", "2026-03-02", 11, team="people")
    f.opened(2, 900, account_id="acc-1")
    f.won(3, 900)
    term = {"period_start": "2026-03-01", "period_end": "2026-03-31"}
    f.learn("budget_set", on(1), team="Marketing", amount=600, currency="EUR", **term)
    f.learn("target_set", on(1), team="Marketing", figure="spend", value=600, **term)
    f.until(on(5))
    assert (f.one("cost_per_lead"), f.one("cac"), f.one("spend")) == (300, 370, 381)
    assert (
        set(f.figure("budget_use").values())
        == set(f.figure("target_attainment").values())
        == {Fraction(1, 2)}
    )
    assert f.figure("budget_share")["marketing",] == Fraction(300, 900)
    assert f.inputs("cac") == {"marketing": 300, "sales": 70, "new_customers": 1, "spend of other teams": 11}


def test_case_46_and_by_campaign_too() -> None:
    f = shop()
    url = "https://example.org/?utm_medium=social&utm_campaign="
    for n, campaign in enumerate(("spring", "spring", "autumn", "")):
        f.say("page_viewed", on(1) + n, {"url": url + campaign}, lead=f"lead-{n}")
        f.say("created", on(1) + 10 + n, {"source": "social", "generated_by": "marketing"}, lead=f"lead-{n}")
    f.spend("social", "2026-03-01", "2026-03-02", 500, campaign="old-name")
    f.spend("social", "2026-03-01", "2026-03-02", 90, campaign="summer")
    f.spend("social", "2026-03-01", "2026-03-02", 7)
    f.spend("social", "2026-03-01", "2026-03-02", 11, campaign="spring", team="sales")
    f.learn("campaign_renamed", on(3), old="old-name", new="spring")
    f.until(on(5))
    assert f.figure("cost_per_lead_by_campaign") == {("spring",): 250, ("summer",): None, ("autumn",): 0}
    assert f.figure("cost_per_lead_by_campaign", period="2026-04") == {}


def test_case_46_a_period_over_the_end_of_a_month_is_told_by_day() -> None:
    f = shop()
    f.spend("social", "2026-03-22", "2026-04-10", 1010, campaign="spring")  # 20 days: ten of 51, ten of 50
    f.until(on(61))
    assert f.figure("spend", period="2026-03") == {(): 510}
    assert f.figure("spend", period="2026-04") == {(): 500}
    assert f.figure("spend", "campaign", "kind") == {("spring", "media"): 1010}
    f.learn("campaign_renamed", on(40), old="spring", new="spring-2026")
    assert f.figure("spend", "campaign", period="2026-03") == {("spring-2026",): 510}


_money = st.tuples(st.integers(0, 10**6), st.sampled_from(["EUR", "USD", "JPY", "CHF"]))


@settings(max_examples=15)
@given(
    st.lists(st.tuples(_money, st.integers(3, 6), st.sampled_from(["", "lead-1", "lead-1,lead-2"])), min_size=1, max_size=4),
    st.lists(st.tuples(_money, st.sampled_from(["invoice_refunded", "contracted", "expanded"]), st.integers(6, 9)), max_size=4),
    st.lists(st.integers(1, 4), max_size=4),
)  # fmt: skip
def test_credit_of_every_model_is_booked_revenue(
    deals: list[tuple[tuple[int, str], int, str]], changes: list[tuple[tuple[int, str], str, int]], visits: list[int]
) -> None:  # fmt: skip
    f = shop()
    for day in range(1, 10):
        for currency, rate in (("USD", "0.873"), ("JPY", "0.0061")):
            f.rate(currency, f"2026-03-0{day}", rate)
    for n, day in enumerate(visits):
        f.say(
            "page_viewed", on(day) + n, {"url": f"https://example.org/?utm_medium=social&utm_campaign=c{n}"}
        )
    for n, ((amount, currency), day, leads) in enumerate(deals):
        name = f"deal-{n}"
        f.opened(
            2, amount, currency, deal=name, leads=tuple(leads.split(",")) if leads else (), account_id="acc-1"
        )
        f.won(day, amount, currency, deal=name)
    for (amount, currency), what, day in sorted(changes, key=lambda x: x[2]):
        kind = {"kind": "upsell"} if what == "expanded" else {}
        f.account(what, day, amount=amount, currency=currency, **kind)
    f.balanced()
    assert f.one("bookings") == len(deals) + len(changes)


@settings(max_examples=25)
@given(st.integers(0, 10**9), st.integers(1, 40), st.integers(0, 39))
def test_spend_over_its_days_is_the_amount(amount: int, days: int, cut: int) -> None:
    f = shop()
    last = T0 // 86_400_000 + days - 1
    f.spend("social", "2026-03-01", iso(last), amount)
    f.until(on(60))
    border = T0 // 86_400_000 + cut
    parts = f.one("spend", f"2026-01..{iso(border)}") + f.one("spend", f"{iso(border + 1)}..2026-12")
    assert parts == f.one("spend") == amount


def test_case_45_two_currencies_of_one_day_are_both_credited() -> None:
    """Credit in the base currency once kept only the last currency of a day."""
    f = shop()
    f.rate("USD", "2026-03-05", "0.5")
    f.opened(2, 1000, "USD", leads=())
    f.won(5, 1000, "USD")
    f.opened(2, 300, deal="deal-2", leads=())
    f.won(5, 300, deal="deal-2")
    assert f.balanced() == 800
    assert f.figure("unattributed_revenue")["first",] == 800


@pytest.mark.parametrize("partitions", [1, 8])
def test_money_figures_do_not_depend_on_partitions(partitions: int) -> None:
    f = Shop(now=T0, partitions=partitions)
    touched(f)
    f.opened(2, 999, leads=("lead-1", "lead-2", "lead-3"), account_id="acc-1")
    f.won(4, 999)
    f.account("invoice_refunded", 6, amount=100, currency="EUR")
    assert f.balanced() == 899
    assert f.figure("attributed_revenue", "channel")["last", "social"] == 333 - 34


def test_leads_of_one_deal_who_turn_out_to_be_one_person_keep_both_parts() -> None:
    """The part of the one once replaced that of the other."""
    f = shop()
    touched(f)
    f.say("created", on(1), {"source": "email", "generated_by": "marketing"}, lead="lead-2")
    f.opened(2, 1001, leads=("lead-1", "lead-2"), account_id="acc-1")
    f.won(4, 1001)
    assert f.balanced() == 1001
    before = f.figure("attributed_revenue", "channel")
    f.say("merged", on(5), {"loser": "lead-2", "winner": "lead-1"}, source_event_id="m-1")
    assert f.balanced() == 1001
    assert f.figure("attributed_revenue", "channel")["last", "social"] == 1001
    assert f.figure("lead_won_amount") == {("EUR",): 1001}
    f.account("invoice_refunded", 6, amount=100, currency="EUR")
    f.say("amount_changed", on(7), {"amount": 801, "currency": "EUR"}, deal="deal-1")
    assert f.balanced() == 701
    f.say("lead_unlinked", on(8), {"lead_id": "lead-2"}, deal="deal-1")
    assert f.balanced() == 701
    assert f.figure("lead_won_amount") == {("EUR",): 801}
    f.say("lead_linked", on(9), {"lead_id": "lead-2"}, deal="deal-1")
    f.say("reopened", on(10), deal="deal-1")
    f.say("lost", on(11), {"reason_code": "price"}, deal="deal-1")
    assert f.balanced() == -100
    f.won(12, 1001)
    assert f.balanced() == 901
    f.say("unmerged", on(13), {"merge_event_id": "m-1"})
    assert f.balanced() == 901
    credit = f.figure("attributed_revenue", "channel", "kind")
    assert (credit["last", "social", "won"], before["last", "social"]) == (501, 501)
    f.say("deleted", on(14), {}, deal="deal-1")
    assert f.balanced() == -100


def test_what_comes_before_the_opening_of_a_deal_of_two_leads_has_no_amount_yet() -> None:
    f = shop()
    f.opened(3, 101, leads=("lead-1", "lead-2"))
    f.say("lost", on(2), {"reason_code": "price"}, deal="deal-1")
    assert [f.head(lead).shares["deal-1"].amount for lead in ("lead-1", "lead-2")] == [51, 50]


def test_a_type_that_is_not_known_says_nothing_of_a_deal() -> None:
    """Neither when it began nor that there is one."""
    f = shop()
    f.say("deal_looked_at", on(1), {"by": "somebody"}, deal="deal-1")
    assert not any(f.figure("deals", "status").values())
    f.opened(4, 900)
    f.say("deal_looked_at", on(5), {"by": "somebody"}, deal="deal-1")
    f.won(6, 900)
    assert f.figure("sales_cycle")["mean",] == 2
