"""Σ credit = booked revenue, by every model, over deals, their accounts and their leads, in any order of delivery."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from processors import attribution
from processors.model import encode
from tests.strategies import END, SEEDS, Sent, deals, histories, moments, sent
from tests.world import LAWS, World

LEADS = ("lead-1", "lead-2")


@st.composite
def trades(draw: st.DrawFn) -> list[Sent]:
    """Deals, some of an account, and the account's own facts."""
    out: list[Sent] = []
    for x in draw(deals(leads=LEADS, most=8, lagged=True)):
        account = {"account_id": "acc-1"} if x.wire["type"] == "opened" and draw(st.booleans()) else {}
        out.append(x._replace(wire=x.wire | {"payload": x.wire["payload"] | account}))
    for n in range(draw(st.integers(0, 5))):
        facts: list[tuple[str, dict[str, Any]]] = [
            ("invoice_refunded", {"amount": 77, "currency": "EUR"}),
            ("invoice_refunded", {"amount": 10_001, "currency": "EUR"}),
            ("expanded", {"kind": "upsell", "amount": 5, "currency": "USD"}),
            ("renewed", {"contract_id": "c-1", "amount": 9}),
            ("contracted", {"amount": 3}),
            ("churned", {}),
        ]
        type_, payload = draw(st.sampled_from(facts))
        t = draw(moments())
        out.append(sent(type_, t, 900 + n, payload, topic="deal", subject={"account_id": "acc-1"}))
    return out


@given(histories(leads=LEADS, most=10), trades(), SEEDS)
def test_credit_is_what_was_booked_in_any_order(history: list[Sent], traded: list[Sent], seed: int) -> None:
    rng = random.Random(seed)
    ends = []
    for _ in range(2):
        w = World(now=0, rng=rng)
        delivery = [*history, *traded]
        rng.shuffle(delivery)
        w.arrive(delivery, END)
        w.speak(END)
        assert w.totals == w.summed()
        booked = 0
        for key, n in w.totals.items():
            if key[:2] == ("deal_amount_on", "won"):
                booked += n
            elif key[0] == "booked_on":
                booked += attribution.SIGN[key[1]] * n
        for model in LAWS[0].source.attribution.models:
            assert sum(n for k, n in w.totals.items() if k[:2] == ("attributed_on", model)) == booked
        ends.append((w.totals, {k: encode(w.row(k).head) for k in w.stored if k[0] == "l"}))
    assert ends[0] == ends[1]
