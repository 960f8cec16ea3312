"""The laws of DOMAIN 9 for accounts, whose rows are stored encoded between any two calls."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from processors import accounts, attribution, customers
from processors.accounts import of_customer
from processors.additive import Contribution, add
from processors.contracts import sign_of
from processors.days import DAY
from processors.events import Event
from processors.ledger import Item
from processors.model import WON, load
from tests.account_world import LEADS, SCOPE, Account, D, contract, fact, item, share
from tests.strategies import SEEDS, T0

_days = st.integers(0, 500).map(lambda d: T0 + d * DAY)


@st.composite
def lives(draw: st.DrawFn) -> list[Event | Item]:
    out: list[Event | Item] = []
    money = st.sampled_from([0, 1, 101, 10_007])
    for n in range(draw(st.integers(0, 9))):
        t = draw(_days)
        what = draw(st.integers(0, 13))
        names = ("delivery_accepted", "onboarding_started", "onboarding_completed", "churned")
        if what < 4:
            out.append(fact(names[what], t, n, backfill=draw(st.booleans())))
        elif what == 4:
            first, last = draw(
                st.sampled_from(
                    [("2026-01-01", "2026-06-30"), ("2026-07-01", "2027-06-30"), ("2026-03-05", "2026-03-31")]
                )
            )
            out.append(contract(t, n, first, last, draw(money), of=draw(st.sampled_from(["c-1", "c-2"]))))
        elif what == 5:
            out.append(fact("renewed", t, n, {"contract_id": "c-1", "amount": draw(money)}))
        elif what == 6:
            out.append(fact("expanded", t, n, {"kind": "upsell", "amount": draw(money)}))
        elif what == 7:
            out.append(fact("contracted", t, n, {"amount": draw(money)}))
        elif what == 8:
            out.append(fact("invoice_refunded", t, n, {"amount": draw(money), "currency": "EUR"}))
        elif what == 9:
            out.append(fact("invoice_paid", t, n, {"amount": draw(money), "currency": "EUR"}))
        elif what == 10:
            out.append(fact("feedback_given", t, n, {"kind": "nps", "score": draw(st.sampled_from([3, 9]))}))
        else:
            name = draw(
                st.sampled_from(
                    ["share_opened", "share_won", "share_won", "share_lost", "share_reopened", "share_amount",
                     "share_gone"]
                )
            )  # fmt: skip
            leads = draw(st.sampled_from([LEADS, (), (("lead-1", 2, 3), ("lead-3", 1, 3))]))
            out.append(
                share(t, n, name, draw(money), deal=draw(st.sampled_from(["deal-1", "deal-2"])), leads=leads)
            )
    return out


def played(events: Sequence[Event | Item], seed: int, live: bool) -> Account:
    rng = random.Random(seed)
    a, rest = Account(), list(events)
    now = T0 - DAY
    while rest:
        n = rng.randint(1, 4)
        now = max(now, *(item(e)[0] >> 22 for e in rest[:n]))
        a.feed(now if live else T0 + 600 * DAY, *rest[:n], live=live or rng.random() < 0.5)
        if live:
            due = load(a.stored).head.due
            if due < T0 + 600 * DAY and rng.random() < 0.5:
                now = max(now, due)
                a.feed(now)
        rest = rest[n:]
    a.feed(T0 + 600 * DAY)
    return a


@given(lives(), SEEDS, st.booleans())
def test_order_duplication_and_batches_change_nothing(
    events: list[Event | Item], seed: int, live: bool
) -> None:
    rng = random.Random(seed)
    delivery = events + rng.choices(events, k=len(events) // 2) if events else []
    rng.shuffle(delivery)
    a = played(delivery, seed, live)
    end = T0 + 600 * DAY
    alone = customers.fold("acc-1", sorted((item(e) for e in events), key=lambda e: e[:2]), end, (D,))
    assert accounts.at("acc-1", load(a.stored), end, SCOPE) == alone
    assert a.totals == of_customer(alone, SCOPE)
    said = {
        k: (r["occurred_at"], r["deal_id"], r["contract_id"], r["amount_minor"], r["context"])
        for k, r in a.standing().items()
    }
    decided = alone.handovers if alone is not None else {}
    assert said == {
        k: (h.at, h.deal or None, h.contract or None, h.amount, h.context) for k, h in decided.items()
    }
    assert {k[2:]: v for k, v in a.leads().items() if v} == {
        k: sorted(v, key=lambda e: e[:2]) for k, v in (alone.told if alone is not None else {}).items()
    }


@given(lives(), _days)
def test_an_account_that_is_looked_at_early_is_a_prefix(events: list[Event | Item], at: int) -> None:
    run = sorted((item(e) for e in events), key=lambda e: e[:2])
    early = customers.fold("acc-1", run, at, (D,))
    again = customers.fold("acc-1", [e for e in run if e[0] >> 22 <= at], at, (D,))
    assert early == again
    assert early is None or early.due > at


@given(lives())
def test_credit_is_what_was_booked(events: list[Event | Item]) -> None:
    """What the account credits to nobody, and what it tells its leads to give back, is what it booked."""
    run = sorted((item(e) for e in events), key=lambda e: e[:2])
    c = customers.fold("acc-1", run, T0 + 600 * DAY, (D,))
    if c is None:
        return
    booked = sum(attribution.SIGN[x.kind] * x.amount for x in c.bookings)
    told = sum(e[3][0] for found in c.told.values() for e in found if len(e[3]) == 3)
    nobodys: Contribution = {}
    add(nobodys, of_customer(c, SCOPE).items())
    for model in D.source.attribution.models:
        assert sum(n for k, n in nobodys.items() if k[:2] == ("attributed", model)) - told == booked
    worth = sum(sign_of(x.kind) * x.amount for x in c.recurring)
    assert worth >= 0
    left = sum(1 for _, how in c.joins) - len(c.churns)
    assert left == (c.status in customers.STATUSES and c.status not in ("churned", "win_back"))
    assert all(part.closed == 0 or part.status == WON for part in c.deals)
