"""DOMAIN 8, restatement of what belongs to no row: spend and rates, said by one task."""

from __future__ import annotations

from typing import Any

from tests.restated import numbers, said
from tests.strategies import at
from tests.world import Funnel

SPEND = {"channel": "search", "currency": "EUR", "kind": "media", "team": "marketing"}


def spent(f: Funnel, first: str, last: str, amount: int, **more: Any) -> None:
    f.learn("spend_recorded", at(1), period_start=first, period_end=last, amount=amount, **(SPEND | more))
    f.driver.run()


def test_case_46_late_spend_is_restated_by_month_once_by_one_task() -> None:
    f = Funnel(now=at(1), partitions=3)
    spent(f, "2026-03-01", "2026-03-31", 3100)
    f.until(at(50))
    assert said(f) == []
    spent(f, "2026-03-22", "2026-04-10", 2000)  # half of it in the closed month
    assert numbers(f, "spend") == [(SPEND, "2026-03", 3100, 4100)]
    (first,) = said(f)
    assert (first["cause"], first["lead_id"], first["as_of"]) == ("spend", None, at(50))
    f.restart()
    f.driver.run()
    spent(f, "2026-04-01", "2026-04-30", 7, channel="fair")  # of the month that is open
    assert len(said(f)) == 1
    f.until(at(70))
    spent(f, "2026-04-01", "2026-04-30", 5, channel="fair")
    assert numbers(f, "spend")[1:] == [(SPEND | {"channel": "fair"}, "2026-04", 7, 12)]
    assert [x["sequence"] for x in said(f)] == [1, 2]


def test_case_46_spend_that_came_while_the_workers_were_down_is_said_when_they_are_back() -> None:
    f = Funnel(now=at(1))
    spent(f, "2026-03-01", "2026-03-31", 3100)
    f.driver.now_ms, f.driver.live = at(50), False
    f.learn("spend_recorded", at(49), period_start="2026-03-05", period_end="2026-03-05", amount=9, **SPEND)
    f.restart()
    f.driver.run()
    assert said(f) == []
    f.driver.catch_up()
    assert numbers(f, "spend") == [(SPEND, "2026-03", 3100, 3109)]
    f.restart()
    f.driver.run()
    assert len(said(f)) == 1


def test_case_45_a_restated_rate_of_a_closed_day_is_said_openly() -> None:
    f = Funnel(now=at(1))
    f.learn("fx_rate_set", at(5), base="USD", quote="EUR", date="2026-03-05", rate="0.9")
    f.learn("fx_rate_set", at(40), base="USD", quote="EUR", date="2026-04-05", rate="0.8")
    f.until(at(50))
    f.learn("fx_rate_set", at(50), base="USD", quote="EUR", date="2026-04-05", rate="0.85")
    f.driver.run()
    assert said(f) == []
    f.learn("fx_rate_set", at(50), base="USD", quote="EUR", date="2026-03-05", rate="0.92")
    f.learn("fx_rate_set", at(50), base="USD", quote="EUR", date="2026-03-06", rate="0.93")
    f.driver.run()
    pair = {"base": "USD", "quote": "EUR"}
    assert numbers(f, "rate") == [
        (pair, "2026-03-05", 900_000_000, 920_000_000),
        (pair, "2026-03-06", None, 930_000_000),
    ]
    assert {x["cause"] for x in said(f)} == {"rate"}


def test_spend_and_rates_of_a_first_import_restate_nothing() -> None:
    f = Funnel(now=at(50), live=False)
    f.fit(at(1))
    spent(f, "2026-03-01", "2026-03-31", 3100)
    f.learn("fx_rate_set", at(5), base="USD", quote="EUR", date="2026-03-05", rate="0.9")
    f.driver.catch_up()
    assert said(f) == []
