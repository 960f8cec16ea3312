"""Spend and rates belong to no row, and one task speaks of them: what was final, with what was restated since, is what is
final now, whenever facts come and whoever is down meanwhile."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from processors.closing import Closing, Number
from processors.days import DAY, iso
from processors.restate_market import counted
from tests.strategies import T0
from tests.subscriber import Subscriber
from tests.world import Funnel

_DAYS = st.integers(0, 75)
_DATES = _DAYS.map(lambda n: iso(T0 // DAY + n))


@st.composite
def spends(draw: st.DrawFn, n: int) -> tuple[str, dict[str, Any]]:
    """Money spent, or told of again under the name of an earlier spend; or what a currency was worth on a day."""
    what = draw(st.integers(0, 3))
    if what == 0:
        rate = draw(st.sampled_from(["0.9", "0.91", "1"]))
        return "fx_rate_set", {"base": "USD", "quote": "EUR", "date": draw(_DATES), "rate": rate}
    amount = draw(st.sampled_from([0, 1, 100, 3100]))
    if what == 1 and n:
        return "spend_restated", {"supersedes": f"s{draw(st.integers(0, n))}", "amount": amount}
    first, last = sorted((draw(_DATES), draw(_DATES)))
    return "spend_recorded", {
        "channel": draw(st.sampled_from(["search", "fair"])), "period_start": first, "period_end": last,
        "amount": amount, "currency": draw(st.sampled_from(["EUR", "USD"])), "kind": "media", "team": "marketing",
    }  # fmt: skip


def final(f: Funnel, then: Closing) -> dict[Number, int]:
    """What was final ``then``, by what is known now."""
    found = counted(f.topology.market, f.topology.reference, then)
    return {number: n for number, n in found.items() if n and then.covers(number)}


@given(st.data(), st.sampled_from([1, 3]), st.integers(1, 12))
def test_final_spend_and_rates_and_their_restatements_are_the_final_ones(
    data: st.DataObject, partitions: int, most: int
) -> None:
    f = Funnel(now=T0, partitions=partitions)
    f.driver.run()  # the first import is over
    keepers: list[tuple[Closing, dict[Number, int], dict[int, int]]] = []
    for n in range(most):
        f.driver.now_ms += data.draw(st.integers(0, 30)) * DAY
        type_, payload = data.draw(spends(n))
        f.learn(type_, f.now - data.draw(st.integers(0, 3)) * DAY, named=f"s{n}", **payload)
        what = data.draw(st.integers(0, 5))
        if what == 0:
            f.restart()
        if what == 1:
            f.driver.live = False
        elif what > 2:
            f.driver.catch_up()
            then = Closing(f.now, f.topology.definitions)
            heard = {x.partition: x.offset for x in f.driver.read(f.settings.topics.restatements)}
            keepers.append((then, final(f, then), heard))
        f.driver.run()
    f.driver.catch_up()
    for then, numbers, heard in keepers:
        subscriber = Subscriber()  # it raises where a sequence has a gap
        for record in f.driver.read(f.settings.topics.restatements):
            x = subscriber.take(record)
            if x is None or record.offset <= heard.get(record.partition, -1):
                continue
            number = Number(x["figure"], tuple(x["labels"].items()), x["period"])
            if then.covers(number):
                numbers[number] = numbers.get(number, 0) + (x["new"] or 0) - (x["old"] or 0)
        assert {number: n for number, n in numbers.items() if n} == final(f, then)
