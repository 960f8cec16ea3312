"""Figures of customers against accounts small enough to count by hand."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from processors.days import DAY, day_number, iso
from processors.surveys import net_promoter
from tests.strategies import sent
from tests.world import Funnel, figure

JANUARY = day_number(2026, 1, 1) * DAY
Values = dict[tuple[str, ...], Any]


class Accounts:
    """Events of accounts in order of time, and the figures that follow."""

    def __init__(self) -> None:
        self.f = Funnel(now=JANUARY)
        self.n = 0

    def say(self, account: str, type_: str, day: int, **payload: Any) -> None:
        """:param day: of the year 2026, from 0."""
        self.n += 1
        t = JANUARY + day * DAY + 12 * 3_600_000
        self.f.until(max(t, self.f.now))
        self.f.publish(sent(type_, t, self.n, payload, topic="deal", subject={"account_id": account}))
        self.f.driver.run()

    def win(self, account: str, day: int, amount: int = 1000) -> None:
        t = JANUARY + day * DAY
        deal = f"deal-of-{account}"
        money = {"amount": amount, "currency": "EUR"}
        self.f.say("opened", t, {"account_id": account, "pipeline": "new", "stage": "s"} | money, deal=deal)
        self.f.say("won", t, money, deal=deal)

    def sign(
        self, account: str, day: int, amount: int, first: int, days: int = 90, currency: str = "EUR"
    ) -> None:
        first += JANUARY // DAY
        self.say(
            account, "contract_signed", day, contract_id=f"c-{account}", starts=iso(first), ends=iso(first + days),
            amount=amount, currency=currency, notice_days=30,
        )  # fmt: skip

    def figure(self, name: str, *by: str, period: str = "") -> Values:
        return figure(self.f, name, *by, period=period)


def test_customers_are_taken_over_and_onboarded() -> None:
    a = Accounts()
    a.win("acc-1", 0)
    a.win("acc-2", 1)
    a.win("acc-3", 2)
    a.say("acc-1", "delivery_accepted", 3)
    a.say("acc-1", "onboarding_started", 4)
    a.say("acc-1", "onboarding_completed", 14)
    a.say("acc-2", "onboarding_started", 10)
    a.say("acc-2", "onboarding_completed", 35)
    a.say("acc-3", "onboarding_started", 36)
    assert {k[0]: n for k, n in a.figure("customers").items() if n} == {"active": 2, "onboarding": 1}
    assert a.figure("customers")["churned",] == 0, "known statuses are there at 0"
    assert a.figure("new_customers") == {(): 3}
    assert a.figure("customers_joined") == {("new",): 3}
    assert a.figure("onboardings_open") == {(): 1}
    times = a.figure("onboarding_time")
    assert (times["count",], times["median",], times["max",]) == (2, Fraction(35, 2), 25)
    assert a.figure("onboarding_time", period="2026-01")["mean",] == 10
    assert a.figure("takeover_time")["sum",] == 3 + 9 + 34


def test_renewals_due_renewed_and_lost() -> None:
    a = Accounts()
    for n, amount in enumerate((100, 300, 600), 1):
        a.sign(f"acc-{n}", 0, amount, 0)  # ends on day 90, due 30 days before
    a.sign("acc-4", 0, 50, 0, 360)
    a.f.until(JANUARY + 65 * DAY)
    assert a.figure("renewals") == {("open",): 3, ("renewed",): 0, ("churned",): 0}
    assert a.figure("renewal_rate") == {(): 0}
    a.say("acc-1", "renewed", 70, contract_id="c-acc-1", amount=120)
    a.say("acc-2", "churned", 80, reason_code="price")
    assert a.figure("renewals") == {("open",): 1, ("renewed",): 1, ("churned",): 1}
    assert a.figure("renewal_rate") == {(): Fraction(1, 3)}
    assert a.figure("renewal_rate_by_value") == {("EUR",): Fraction(100, 1000)}
    assert a.figure("renewal_rate", period="2026-01") == {(): None}
    assert a.figure("customers_churned") == {("price",): 1}


def test_who_leaves_or_renews_early_counts_once_the_renewal_would_have_been_due() -> None:
    """A customer who left in February once made the renewal rate of a year 0 %, ten months before any was due."""
    a = Accounts()
    for n in (1, 2, 3):
        a.sign(f"acc-{n}", 0, 100, 0)  # due on day 60
    a.say("acc-1", "churned", 40)
    a.say("acc-2", "renewed", 41, contract_id="c-acc-2", amount=120)
    for period in ("", "2026"):
        assert a.figure("renewal_rate", period=period) == {(): None}
        assert set(a.figure("renewals", period=period).values()) == {0}
    a.f.until(JANUARY + 61 * DAY)
    for period in ("", "2026", "2026-03"):
        assert a.figure("renewal_rate", period=period) == {(): Fraction(1, 3)}
        assert a.figure("renewal_rate_by_value", period=period) == {("EUR",): Fraction(1, 3)}
    assert a.figure("renewals") == {("open",): 1, ("renewed",): 1, ("churned",): 1}


def test_retention_of_what_the_contracts_were_worth() -> None:
    a = Accounts()
    for n, amount in enumerate((1000, 500, 400, 100), 1):
        a.sign(f"acc-{n}", 0, amount, 0, 300)
    a.sign("acc-5", 0, 7000, 0, 300, "JPY")
    a.say("acc-1", "expanded", 40, kind="upsell", amount=300)
    a.say("acc-1", "expanded", 41, kind="cross_sell", amount=100)
    a.say("acc-2", "contracted", 42, amount=200)
    a.say("acc-3", "churned", 43, reason_code="price")
    a.sign("acc-6", 44, 9000, 44, 300)
    a.say("acc-6", "expanded", 45, kind="upsell", amount=1)
    february = "2026-02"
    assert a.figure("gross_retention", period=february)["EUR",] == Fraction(2000 - 400 - 200, 2000)
    assert a.figure("net_retention", period=february)["EUR",] == Fraction(2000 - 400 - 200 + 400, 2000)
    assert a.figure("net_retention", period=february)["JPY",] == 1
    assert a.figure("gross_retention", period="2025-12")["EUR",] is None, "there were no customers yet"
    assert a.figure("expansions") == {("upsell",): 2, ("cross_sell",): 1}
    assert a.figure("expansion_amount") == {("upsell", "EUR"): 301, ("cross_sell", "EUR"): 100}
    assert a.figure("contraction_amount") == {("EUR",): 200}


def test_what_customers_say() -> None:
    a = Accounts()
    a.win("acc-1", 0)
    for n, score in enumerate((10, 9, 8, 7, 6, 0)):
        a.say("acc-1", "feedback_given", n, kind="nps", score=score)
    a.say("acc-1", "feedback_given", 7, kind="csat", score=4)
    a.say("acc-1", "feedback_given", 8, kind="csat")
    assert a.figure("customer_nps") == {(): 0}
    assert a.figure("feedback") == {("nps",): 6, ("csat",): 2}
    assert a.figure("feedback_mean") == {("nps",): Fraction(40, 6), ("csat",): 4}
    assert a.figure("customer_nps", period="2026-01-01..2026-01-03") == {(): Fraction(200, 3)}


@pytest.mark.parametrize(
    ("answers", "score"), [((3, 0, 0), 100), ((0, 0, 2), -100), ((2, 1, 1), 25), ((0, 0, 0), None)]
)
def test_net_promoter_score(answers: tuple[int, int, int], score: int | None) -> None:
    assert net_promoter(*answers) == score
