"""Erasure keeps totals, in any delivery; what it leaves in a row is what a fold of all that counts leads to."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from processors.additive import Contribution, add
from processors.events import NAME
from processors.identity import place
from processors.ledger import Item, items, recorded_at
from processors.model import EXITS, OPEN, Member, Row, encode, load
from processors.purge import nameless
from tests.judge import KEY, TIMELINE, played, same, well_said
from tests.laws.test_identity_laws import crowd
from tests.strategies import END, SEEDS, Sent, deals, histories, moments, sent
from tests.subscriber import Subscriber
from tests.world import LAW, LAWS, Funnel, World, handoffs

LEADS = ("lead-1", "lead-2")
_LAGS = st.sampled_from([0, 0, 1500, 5 * 3_600_000, 3 * 86_400_000, -9 * 3_600_000])


@st.composite
def requests(draw: st.DrawFn, leads: tuple[str, ...] = ("lead-1",), most: int = 2) -> list[Sent]:
    """One or more erasures, some recorded long after the instant up to which they erase.

    No two of one instant: the second one finds nothing to erase, and which of them is the second is how they came.
    """
    out = []
    for n, t in enumerate(draw(st.lists(moments(), min_size=1, max_size=most, unique=True))):
        subject = {"lead_id": draw(st.sampled_from(leads))}
        body = {"request_id": f"r-{n}"}
        out.append(sent("erased", t, 700 + n, body, subject=subject, recorded_at=t + draw(_LAGS)))
    return out


def _heard(x: Sent) -> int:
    return recorded_at(x.event.a, x.event.c)


def counting(history: list[Sent]) -> list[Sent]:
    """Without what was recorded after a request of the time that it erases."""
    asked = [x for x in history if x.wire["type"] == "erased"]
    return [
        x
        for x in history
        if not any(x.event.subject == y.event.subject and x.t <= y.t and _heard(x) > _heard(y) for y in asked)
    ]


def erased_up_to(row: Row) -> int:
    return max((x.at for x in row.erasures if x.done), default=0)


def forgotten(row: Row) -> bool:
    """No fact, snapshot or touch of the time before an erasure is there."""
    key = row.head.gone
    first = int.from_bytes(row.ledger[:8], "big") if row.ledger else key[0] + 1
    return first > key[0] and not row.touches and all(x[:2] > key for x in row.snapshots)


@given(histories(lagged=True), requests(), SEEDS)
def test_a_past_with_erasures_ends_the_same_in_any_delivery(
    history: list[Sent], asked: list[Sent], seed: int
) -> None:
    rng = random.Random(seed)
    # Told again with another date, before an erasure and after it, a fact is another one: its identity is gone.
    whole = [*{x.event.b >> 16: x for x in history}.values(), *asked]
    ends = []
    for _ in range(2):
        delivery = whole + rng.choices(whole, k=rng.randint(0, len(whole)))
        rng.shuffle(delivery)
        w = played(delivery, rng.randrange(2**32), TIMELINE)
        row = w.row(KEY)
        same(w, counting(whole))
        well_said(w)
        assert forgotten(row)
        ends.append((encode(row.head), encode(row.minted), row.base, row.residue, w.totals))
    assert ends[0] == ends[1]


@given(histories(lagged=True), requests(), SEEDS)
def test_live_in_the_order_of_recording_and_once_more(
    history: list[Sent], asked: list[Sent], seed: int
) -> None:
    whole = sorted([*history, *asked], key=lambda x: (_heard(x), x.wire["type"] == "erased", x.offset))
    # A fact that another system tells again after the erasure is a new one: the identity of the first is gone.
    names = [x.event.b >> 16 for x in whole]
    whole = [x for n, x in enumerate(whole) if names[n] not in names[:n]]
    w = played(whole, seed, live=True)
    same(w, counting(whole))
    well_said(w)
    row = w.row(KEY)
    assert forgotten(row)
    said = len(w.outputs)
    w.batch([x.event for x in whole if x.t <= erased_up_to(row)], END)
    assert len(w.outputs) == said
    assert encode(w.row(KEY).head) == encode(row.head)


@given(histories(lagged=True), SEEDS)
def test_erasure_keeps_totals(history: list[Sent], seed: int) -> None:
    """What was entered, answered, won and earned does not move; what was open is withdrawn, and left as erased."""
    w = played(history, seed)
    before: Contribution = {}
    add(before, ((nameless(k), n) for k, n in w.totals.items()))
    was_open = any(h.outcome == OPEN for h in handoffs(w.row(KEY).head)) if KEY in w.stored else False
    w.batch([sent("erased", END, 700, {"request_id": "r"}).event], END)
    after = w.totals
    assert after == w.summed()
    moved = {k for k in before.keys() | after.keys() if before.get(k, 0) != after.get(k, 0)}
    leaving = {"balance", "left", "left_on", "stay_on", "entered", "entered_on", "nurture_on"}
    calls = {"handoff", "handoff_on", "sla", "sla_on", "untouched", "untouched_on", "delay_open_on"}
    assert {k[0] for k in moved} <= leaving | (calls if was_open else set())
    assert all(k[1] in EXITS for k in moved if k[0] in ("entered", "entered_on"))
    for name in leaving - {"stay_on", "nurture_on"}:
        rise = sum(n for k, n in after.items() if k[0] == name) - sum(
            n for k, n in before.items() if k[0] == name
        )
        assert rise in ((0, 1) if name != "balance" else (0,))


@given(histories(leads=LEADS, most=8, lagged=True), deals(leads=LEADS, lagged=True), requests(LEADS), SEEDS)
def test_deals_of_erased_leads_end_the_same_and_credit_is_what_was_booked(
    history: list[Sent], traded: list[Sent], asked: list[Sent], seed: int
) -> None:
    rng = random.Random(seed)
    ends = []
    for _ in range(2):
        w = World(LAWS, now=0, rng=rng)
        delivery = [*history, *traded, *asked]
        rng.shuffle(delivery)
        w.arrive(delivery, END)
        w.speak(END)
        _sound(w)
        for x in rng.sample(asked, 1):  # the deals go on
            w.batch([_again(x, END).event], END)
            for late in rng.sample(traded, min(len(traded), 2)):
                w.batch([_again(late, END).event], END)
                w.deliver()
                _sound(w)
        ends.append({k: encode(w.row(k).head) for k in w.stored if k.startswith("l:")})
        rng.seed(seed)
    assert len(ends) == 2


@given(histories(leads=LEADS, most=8, lagged=True), requests(LEADS), moments(), SEEDS)
def test_erasure_among_aliases_keeps_totals_and_leaves_nothing(
    history: list[Sent], asked: list[Sent], t: int, seed: int
) -> None:
    """Two leads turn out to be one, before or after one of them is erased, in any order, live or not."""
    rng = random.Random(seed)
    subject = {"lead_id": "lead-1"}
    merge = sent("merged", t, 800, {"loser": "lead-2", "winner": "lead-1"}, subject=subject, recorded_at=t)
    w = World(LAWS, now=0, rng=rng)
    delivery = [*history, *asked, merge]
    rng.shuffle(delivery)
    for live in (False, True):
        w.arrive(delivery, END, live)
        w.speak(END)
        w.deliver()
    assert w.totals == w.summed()
    assert not any(k[0] == "alias_drift" for k in w.totals)
    balance: dict[tuple[object, ...], int] = {}
    for key, n in w.totals.items():
        if key[0] in ("entered", "left", "balance"):
            balance[key[1:]] = balance.get(key[1:], 0) + (n if key[0] == "entered" else -n)
    assert set(balance.values()) <= {0}
    for x in asked:
        row = w.row(x.event.subject)
        kept = [
            e for e in items(row.ledger, row.data) if NAME[e[1] >> 8 & 255] not in ("merged", "identified")
        ]
        assert all(e[0] >> 22 > x.t for e in kept)
        assert not any(e[0] >> 22 <= x.t for e in _copied(w, x.event.subject))


PEOPLE = ("lead-1", "lead-2", "lead-3")


@given(crowd(), requests(PEOPLE, most=3), SEEDS, st.booleans())
def test_among_everybody_an_erasure_leaves_nothing_and_workers_show_what_rows_add(
    history: list[Sent], asked: list[Sent], seed: int, live: bool
) -> None:
    """Chains and circles of merges, some taken back, browsers of several people, deals; on four partitions."""
    rng = random.Random(seed)
    delivery = [*history, *asked]
    rng.shuffle(delivery)
    f = Funnel(LAW, END, live=live, owners=())
    while delivery:
        some = [delivery.pop() for _ in range(min(len(delivery), rng.randint(1, 9)))]
        for x in some:
            f.publish(x)
        f.driver._step(rng.choice([1, 3, 4000]), None)
    f.driver.run()
    f.driver.catch_up()
    assert f.dead() == []
    shown = {k: n for k, n in f.topology.totals().items() if n}
    assert ("alias_drift",) not in shown
    balance: dict[tuple[object, ...], int] = {}
    for key, n in shown.items():
        if key[0] in ("entered", "left", "balance"):
            balance[key[1:]] = balance.get(key[1:], 0) + (n if key[0] == "entered" else -n)
    assert set(balance.values()) <= {0}
    rows = {k.decode(): load(v) for k, v in f.driver.all_rows()}
    for x in asked:
        lead = x.event.subject
        kept = items(rows[lead].ledger, rows[lead].data)
        for row in rows.values():
            kept += _told_of(lead, row.members)
        for visitor in (k for k in rows if k[0] == "a"):
            kept += _used(rows[visitor], visitor, x)
        assert [e for e in kept if e[0] >> 22 <= x.t and NAME[e[1] >> 8 & 255] not in _WHO] == []
    for topic in ("stage_changes", "handoffs", "sla", "nurture"):
        Subscriber().take_all(f.driver.read(getattr(f.settings.topics, topic)))
    f.restart()
    assert {k: n for k, n in f.topology.totals().items() if n} == shown


_WHO = frozenset(("merged", "unmerged", "identified"))


def _told_of(lead: str, members: dict[str, Member]) -> list[Item]:
    """A lead's facts, as others hold them at any depth."""
    found: list[Item] = []
    for name, m in members.items():
        found += items(m.ledger, m.data) if name == lead and m.alias else []
        found += _told_of(lead, m.members)
    return found


def _used(row: Row, visitor: str, x: Sent) -> list[Item]:
    """What a browser keeps of the time that somebody used it who was known by it when they asked."""
    mine = [
        link
        for link in place(visitor, row, 3, END).links
        if link.target == x.event.subject and link.known <= _heard(x) and link.edge[0] >> 22 <= x.t
    ]
    run = items(row.ledger, row.data)
    return [e for e in run if any(y.since <= e[0] >> 22 < y.until for y in mine)]


def _copied(w: World, of: str) -> list[Any]:
    """The facts of a row that others hold."""
    found = [w.row(key).members.get(of) for key in w.stored if key != of]
    return [e for m in found if m is not None and m.alias for e in items(m.ledger, m.data)]


def _again(x: Sent, t: int) -> Sent:
    wire: dict[str, Any] = x.wire
    return sent(
        wire["type"],
        t,
        x.offset + 5000,
        wire["payload"],
        topic=x.topic,
        subject=wire["subject"],
        recorded_at=t,
    )


def _sound(w: World) -> None:
    assert w.totals == w.summed()
    booked = sum(n for k, n in w.totals.items() if k[:2] == ("deal_amount_on", "won"))
    for model in {k[1] for k in w.totals if k[0] == "attributed_on"}:
        assert sum(n for k, n in w.totals.items() if k[:2] == ("attributed_on", model)) == booked
    for key in w.stored:
        if key.startswith("l:"):
            well_said(w, key)
