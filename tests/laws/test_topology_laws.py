"""The laws of DOMAIN 9 for rows that talk to one another, and for the topology as a whole."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from hypothesis import example, given

from processors.days import DAY
from processors.deals import fold as fold_deal
from processors.ledger import items
from processors.model import encode
from processors.subject import effective
from tests.judge import well_said
from tests.strategies import END, SEEDS, Sent, at, deals, histories, moments, sent
from tests.world import LAW, Funnel, World, cut

# Deals ----------------------------------------------------------------------------------------------------------

LEADS = ("lead-1", "lead-2")


@given(histories(leads=LEADS, most=8, lagged=True), deals(leads=LEADS, lagged=True), SEEDS)
def test_deals_and_their_leads_end_the_same_in_any_order(
    history: list[Sent], traded: list[Sent], seed: int
) -> None:
    """On the topics, and on the bus between the rows, which also repeats itself."""
    rng = random.Random(seed)
    ends = []
    for _ in range(2):
        w = World(now=0, rng=rng)
        delivery = [*history, *traded]
        rng.shuffle(delivery)
        w.arrive(delivery, END)
        w.speak(END)
        assert w.totals == w.summed()
        for key in w.stored:
            if key.startswith("l:"):
                assert encode(w.row(key).head) == encode(w.alone(key, effective(w.row(key)), END))
                well_said(w, key)
        ends.append(({k: encode(w.row(k).head) for k in w.stored if k.startswith("l:")}, w.totals))
    assert ends[0] == ends[1]


#: A deal whose opening nobody told.
_NEVER_OPENED = [
    sent(type_, at(0), n, payload, topic="deal", subject={"deal_id": "deal-1"})
    for n, (type_, payload) in enumerate(
        [("amount_changed", {"amount": 77, "currency": "EUR"}), ("lead_linked", {"lead_id": LEADS[0]})]
    )
]


@given(deals(leads=LEADS, most=10, lagged=True), SEEDS)
@example(_NEVER_OPENED, 0)
def test_shares_sum_to_the_deal(traded: list[Sent], seed: int) -> None:
    rng = random.Random(seed)
    w = World(now=0, rng=rng)
    rng.shuffle(traded)
    for batch in cut(traded, rng):
        w.batch([x.event for x in batch], END)
    w.deliver()
    for deal in {x.wire["subject"]["deal_id"] for x in traded}:
        row = w.row(f"d:{deal}")
        found = fold_deal(items(row.ledger, row.data), END)
        assert found is not None
        parts = [
            s.shares[deal] for k in w.stored if k.startswith("l:") and deal in (s := w.row(k).head).shares
        ]
        linked = [lead for lead, _, _ in found.leads]
        if linked and found.status < 4:
            assert sum(x.amount for x in parts) == found.amount


# People -----------------------------------------------------------------------------------------------------------


@given(histories(leads=LEADS, most=8, lagged=True), deals(leads=LEADS, most=3, lagged=True), moments(), SEEDS)
def test_merged_and_unmerged_is_as_if_never_merged(
    history: list[Sent], traded: list[Sent], t: int, seed: int
) -> None:
    """Facts and derived of both leads, and all totals, against a merge with somebody whom nobody has ever met."""
    rng = random.Random(seed)
    ends = []
    for loser in ("lead-2", "stranger"):
        of = {"lead_id": "lead-1"}
        delivery = [
            *history,
            *traded,
            sent("merged", t, 900, {"loser": loser, "winner": "lead-1"}, subject=of),
            sent("unmerged", t + DAY, 901, {"merge_event_id": "e900"}, subject=of),
        ]
        rng.shuffle(delivery)
        w = World(now=0, rng=rng)
        w.arrive(delivery, END)
        w.speak(END)
        w.deliver()
        assert w.totals == w.summed()
        ends.append(({k: encode(w.row(f"l:{k}").head) for k in LEADS}, w.totals))
    assert ends[0] == ends[1]


# The whole topology ---------------------------------------------------------------------------------------------


def published_by(f: Funnel) -> dict[str, tuple[Any, ...]]:
    """What subscribers hold at the end, but for what tells when it was said and in how many steps."""
    out: dict[str, tuple[Any, ...]] = {}
    for name in ("stage_changes", "handoffs", "sla", "nurture"):
        for fields in f.out(name, None):
            kept = {
                k: v for k, v in fields.items() if k not in ("sequence", "revision", "op", "as_of", "context")
            }
            out[fields["output_id"]] = () if fields["op"] == "withdrawn" else tuple(kept.items())
    return {k: v for k, v in out.items() if v}


def replayed(history: Sequence[Sent], partitions: int, batch: int, restart: bool = False) -> Funnel:
    f = Funnel(LAW, END, partitions=partitions, live=False, owners=())
    for x in history:
        f.publish(x)
    if restart:
        f.driver._step(batch, None)
        f.restart()
    f.driver.run(batch)
    f.driver.catch_up()
    return f


@given(histories(leads=LEADS, most=10, lagged=True), deals(leads=LEADS, lagged=True), SEEDS)
def test_one_partition_or_eight_restarted_or_not_is_the_same(
    history: list[Sent], traded: list[Sent], seed: int
) -> None:
    rng = random.Random(seed)
    delivery = [*history, *traded]
    rng.shuffle(delivery)
    one = replayed(delivery, 1, 4000)
    rng.shuffle(delivery)
    eight = replayed(delivery, 8, rng.randint(1, 7), restart=True)
    assert one.topology.totals() == eight.topology.totals()
    assert published_by(one) == published_by(eight)
    eight.restart()
    assert one.topology.totals() == eight.topology.totals()
    for f in (one, eight):
        assert not any(x["code"] == "fold_error" for x in f.dead())
        assert not any(f.topology.failing_by_partition().values())
        for name in ("stage_changes", "handoffs", "sla", "nurture"):
            for lead in LEADS:
                numbers = [x["sequence"] for x in f.out(name, lead)]
                assert numbers == list(range(1, len(numbers) + 1))
