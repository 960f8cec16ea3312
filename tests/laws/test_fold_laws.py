"""The laws of DOMAIN 9, each a property of rows that are stored encoded between any two calls.

What is equal, and how far. Facts and derived state depend on the set of facts alone, *given what was said*: a handoff
that was published keeps its id, the start of its clocks and the choice of its owners, and an answer pins it. So every
law compares with the fold from scratch that is given the row's minted handoffs (`World.alone`). How many revisions were
published on the way, and in which order, is not promised; that the last ones equal what is decided, is.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import fold, scoring, subject
from processors.compiled import compile_definition
from processors.explain import score_rows
from processors.fold import look_into
from processors.ledger import items, recorded_at
from processors.model import LATE, OPEN, encode
from processors.say import Output, difference
from processors.subject import base_of, effective
from tests.strategies import DAYS, END, SEEDS, Sent, at, deals, histories, law_definition, moments
from tests.world import LAW, LAWS, Funnel, World, cut, decided, handoffs, run_of

KEY = "l:lead-1"


def played(
    history: Sequence[Sent],
    seed: int,
    definitions: tuple[Any, ...] = LAWS,
    ticks: Sequence[int] = (),
    live: bool = False,
    end: int = END,
) -> World:
    """Any batches, timers at any time; live: each batch when its last record is there, else all of it at the end."""
    rng = random.Random(seed)
    w = World(definitions, now=0)
    for batch in cut(history, rng):
        now = max(w.now, *(x.recorded_at for x in batch)) if live else end
        for t in ticks:
            if t <= now:
                w.tick(t, live)
        w.batch([x.event for x in batch], now, live)
    w.tick(end, live)
    w.speak(end)
    return w


def facts_of(history: Sequence[Sent], key: str = KEY) -> list[Any]:
    return run_of([x.event for x in history if x.event.subject == key])


def same(w: World, history: Sequence[Sent], thinned: bool = False) -> None:
    """The row's head is the fold from scratch, and the totals are the sum of what the rows add.

    :param thinned: some facts were dropped that cannot count; but they are not counted either.
    """
    row = w.row(KEY)
    scratch = w.alone(KEY, facts_of(history), END)
    if thinned:
        scratch.n, scratch.known = row.head.n, row.head.known
    assert encode(row.head) == encode(scratch)
    assert w.totals == w.summed()
    assert not row.waiting


def well_said(w: World, key: str = KEY) -> None:
    """What subscribers hold is what is decided, but for what an answer pinned; sequences have no gap."""
    row, lead = w.row(key), key[2:]
    held, wanted = w.published(lead), decided(key, row.head)
    pinned = {m.id for m in row.minted if m.pinned} - {h.id for h in handoffs(row.head)}
    assert {k for k in held if k.split("/")[0] not in pinned} == set(wanted)
    afresh = said_from_nothing(w, key)
    for name, content in wanted.items():
        assert held[name]["occurred_at"] == content[0], name
        assert _lasting(held[name]) == _lasting(afresh[name]), name
    for topic in {o.topic for o in w.outputs}:
        mine = [o.record["sequence"] for o in w.outputs if o.topic == topic and o.key == lead]
        assert mine == list(range(1, len(mine) + 1))


def said_from_nothing(w: World, key: str) -> dict[str, dict[str, Any]]:
    """What a worker would publish for the row as it is, had nothing been said."""
    row = w.row(key)
    out: list[Output] = []
    scope = w.scope(key)
    look_into(scope, lambda: (base_of(row), effective(row)))
    difference(row, (), out, w.now, scope)
    return {o.record["output_id"]: o.record for o in out}


#: What tells how and when something was said, and what it rested on then.
_PASSING = frozenset(("sequence", "revision", "op", "as_of", "context", "definition", "kind"))
#: The fields for which each kind of record is revised; the others show the handoff as it was at that moment.
_OWN = {
    "made": ("owner", "team", "trigger_at", "started_at", "first_touch_due_at", "decision_due_at", "meeting_due_at",
             "expires_at", "attempt", "journey", "silent"),
    "answered": ("outcome", "outcome_at", "reason_code", "notes", "breached", "returned"),
    "withdrawn": ("outcome", "outcome_at", "reason_code"),
}  # fmt: skip


def _lasting(record: dict[str, Any]) -> dict[str, Any]:
    mine = (
        _OWN.get(record["kind"].replace("historical", "made"), ())
        if "handoff_id" in record and "clock" not in record
        else None
    )
    if mine is None:  # of a clock, a stage or nurture
        return {
            k: v
            for k, v in record.items()
            if k not in _PASSING and k not in ("attempt", "team", "wall_ms", "business_ms")
        }
    return {k: v for k, v in record.items() if k in mine}


@contextmanager
def bounds(entries: int, spacing: int) -> Iterator[None]:
    """A ledger that is short, and has snapshots close together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subject, "ENTRIES", entries)
        patch.setattr(subject, "SPACING", spacing)
        patch.setattr(fold, "SPACING", spacing)
        yield


# Delivery -------------------------------------------------------------------------------------------------------


@given(histories(), SEEDS)
def test_permutation_duplication_and_any_cut(history: list[Sent], seed: int) -> None:
    rng = random.Random(seed)
    delivery = history + rng.choices(history, k=rng.randint(0, len(history)))
    rng.shuffle(delivery)
    w = played(delivery, seed)
    same(w, history)
    well_said(w)


@given(histories(lagged=True), SEEDS)
def test_two_deliveries_of_a_past_that_was_not_said_end_the_same(history: list[Sent], seed: int) -> None:
    """Nothing being said before the end, nothing depends on the order at all: not even ids, starts and owners."""
    rng = random.Random(seed)
    ends = []
    for _ in range(2):
        rng.shuffle(history)
        w = played(history, rng.randrange(2**32))
        ends.append((encode(w.row(KEY).head), encode(w.row(KEY).minted), w.totals))
    assert ends[0] == ends[1]


@given(histories(lagged=True), SEEDS)
def test_live_in_the_order_of_recording(history: list[Sent], seed: int) -> None:
    history.sort(key=lambda x: (x.recorded_at, x.offset))
    w = played(history, seed, live=True)
    same(w, history)
    well_said(w)


@given(histories(lagged=True), SEEDS, st.lists(moments(2 * DAYS), max_size=6))
def test_when_timers_run_and_in_which_order_facts_come_makes_no_difference(
    history: list[Sent], seed: int, ticks: list[int]
) -> None:
    random.Random(seed).shuffle(history)
    w = played(history, seed, ticks=sorted(ticks), live=True)
    same(w, history)
    well_said(w)


@given(histories(lagged=True), SEEDS, st.integers(0, 10))
def test_catching_up_after_a_live_beginning(history: list[Sent], seed: int, live_first: int) -> None:
    """A worker speaks, goes down, another one catches up in silence and then speaks: as if never interrupted."""
    rng = random.Random(seed)
    w = World(now=0)
    rest = sorted(history, key=lambda x: x.recorded_at)
    first, rest = rest[:live_first], rest[live_first:]
    for batch in cut(first, rng):
        w.batch([x.event for x in batch], max(x.recorded_at for x in batch))
    said = len(w.outputs)
    rng.shuffle(rest)
    for batch in cut(rest, rng):
        w.batch([x.event for x in batch], END, live=False)
        if rng.random() < 0.3:
            w.hush(END)
    assert len(w.outputs) == said
    w.speak(END)
    w.tick(END)
    same(w, history)
    well_said(w)


@given(histories(lagged=True), SEEDS, st.integers(0, 20))
def test_snapshot_and_tail_is_full_replay(history: list[Sent], seed: int, late: int) -> None:
    """With a snapshot every third fact, late facts fold from one of them."""
    rng = random.Random(seed)
    rng.shuffle(history)
    with bounds(entries=512, spacing=3):
        w = played(history[late:] + history[:late], seed, live=rng.random() < 0.5)
        same(w, history)


# Definitions ----------------------------------------------------------------------------------------------------

_NEXT = law_definition(
    version=2,
    effective_at=at(9, 12),
    up=24,
    down=20,
    half_life=9,
    content=16,
    touch="1h",
    expire="9h",
    escalate="notify",
)
_LATER = law_definition(version=3, effective_at=at(21), up=40, down=10, content=9)
TIMELINE = tuple(map(compile_definition, (LAW, _NEXT, _LATER)))


@given(histories(lagged=True), SEEDS, st.lists(moments(), max_size=4), st.booleans())
def test_definitions_take_effect_in_their_place(
    history: list[Sent], seed: int, ticks: list[int], live: bool
) -> None:
    random.Random(seed).shuffle(history)
    w = played(history, seed, TIMELINE, ticks=sorted(ticks), live=live)
    same(w, history)
    well_said(w)
    for h in handoffs(w.row().head):  # the version in force when it was made governs a handoff to its end
        assert h.definition == sum(d.source.effective_at <= h.trigger for d in TIMELINE[1:])


# Clocks ---------------------------------------------------------------------------------------------------------


@given(histories(lagged=True, backfilled=False), SEEDS)
def test_a_worker_that_catches_up_finds_the_starts_that_a_live_one_said(
    history: list[Sent], seed: int
) -> None:
    """Live, each record by itself when it was appended, against all of it shuffled, and said at the end.

    Reach: up to the first handoff that differs in anything. Owners are chosen by a hash of the id, ids go by the order
    of minting, and owners have zones: where a late fact brought an earlier episode to light the two differ in ids, so
    in due times, and may part from there on. A late acceptance is an attempt without a clock. And where a late fact
    moved a trigger behind the start that was said, the start stays, as it was said.
    """
    live = World(now=0)
    for x in sorted(history, key=lambda x: (x.recorded_at, x.offset)):
        live.tick(x.recorded_at - 1)
        live.batch([x.event], x.recorded_at)
    live.tick(END)
    random.Random(seed).shuffle(history)
    late = played(history, seed)
    for a, b in zip(handoffs(live.row().head), handoffs(late.row().head), strict=False):
        if (a.ordinal, a.trigger) != (b.ordinal, b.trigger) or (a.flags | b.flags) & LATE:
            break
        assert max(a.start, a.trigger) == b.start
        if (a.ended, a.outcome, a.owner) != (b.ended, b.outcome, b.owner):
            break


@given(histories(lagged=True, backfilled=False))
def test_no_clock_starts_before_it_could_be_known(history: list[Sent]) -> None:
    """Delivered as they were recorded, no handoff is born breached, and what was said of a start stays."""
    w = World(now=0)
    starts: dict[str, int] = {}
    for x in sorted(history, key=lambda x: (x.recorded_at, x.offset)):
        w.tick(x.recorded_at - 1)
        before = len(w.outputs)
        w.batch([x.event], x.recorded_at)
        for o in w.outputs[before:]:
            name = o.record.get("handoff_id")
            if o.record.get("kind") == "made" and o.record["op"] != "withdrawn":
                if o.record["op"] == "new" and name not in starts:
                    e = x.event  # a row keeps when it was recorded to 1/2048 of how late that was
                    assert o.record["started_at"] == recorded_at(e.a, e.c)
                    assert not o.record["breached"]
                assert starts.setdefault(name, o.record["started_at"]) == o.record["started_at"]


# What follows ---------------------------------------------------------------------------------------------------


@given(histories(lagged=True), SEEDS)
def test_one_terminal_outcome_and_one_id_per_episode(history: list[Sent], seed: int) -> None:
    random.Random(seed).shuffle(history)
    w = played(history, seed, live=True)
    s = w.row().head
    found = handoffs(s)
    assert len({h.id for h in found}) == len(found)
    for j in s.journeys:
        for n, h in enumerate(j.handoffs, 1):
            assert h.attempt == n
            last = h is s.journeys[-1].handoffs[-1] if s.journeys[-1].handoffs else False
            assert h.outcome != OPEN or (last and not j.exited)
            assert (h.outcome == OPEN) == (h.ended == 0)
            assert n == len(j.handoffs) or h.ended <= max(j.handoffs[n].trigger, h.trigger)
        times = [x >> 9 for x in j.entries]
        assert times == sorted(times)
    for name, answers in _answers_by_handoff(w).items():
        assert answers[-1]["op"] == "withdrawn" or answers[-1]["outcome"] in (
            "accepted",
            "rejected",
            "expired",
        ), name


def _answers_by_handoff(w: World) -> dict[str, list[dict[str, Any]]]:
    out: dict[str, list[dict[str, Any]]] = {}
    for o in w.outputs:
        if o.record.get("kind") == "answered":
            out.setdefault(o.record["handoff_id"], []).append(o.record)
    return out


@given(histories(lagged=True), SEEDS)
def test_silent_calls_nobody(history: list[Sent], seed: int) -> None:
    random.Random(seed).shuffle(history)
    w = played(history, seed, live=True)
    calls = {o.record["handoff_id"] for o in w.outputs if o.record.get("kind") == "made"}
    clocks = {o.record["handoff_id"] for o in w.outputs if o.record.get("clock")}
    assert clocks <= calls | {
        o.record["handoff_id"] for o in w.outputs if o.record.get("kind") == "historical"
    }
    for m in w.row().minted:
        if m.silent:
            assert m.id not in calls
            assert m.id not in clocks


@given(histories(lagged=True), SEEDS, moments(2 * DAYS))
def test_the_rows_of_a_score_sum_to_it(history: list[Sent], seed: int, when: int) -> None:
    random.Random(seed).shuffle(history)
    for definitions in (LAWS, TIMELINE):
        row = played(history, seed, definitions).row()
        s = row.head
        d = definitions[s.definition]
        when = max(when, s.last)
        rows = score_rows(s, base_of(row), effective(row), when, d, definitions)
        assert sum(r.points for r in rows) == scoring.engagement(s, d.day(when), d)


@given(histories(leads=("lead-1", "lead-2"), lagged=True), SEEDS)
def test_balance_is_entered_less_left(history: list[Sent], seed: int) -> None:
    random.Random(seed).shuffle(history)
    w = played(history, seed, live=True)
    flows: dict[str, int] = {}
    for key, n in w.totals.items():
        if key[0] in ("entered", "left", "balance"):
            sign = 1 if key[0] == "entered" else -1
            flows[key[1]] = flows.get(key[1], 0) + sign * n
    assert not any(flows.values())
    assert w.totals == w.summed()
    outcomes = sum(n for k, n in w.totals.items() if k[0] == "handoff")
    assert outcomes == sum(len(handoffs(w.row(k).head)) for k in w.stored)


# Bounds ---------------------------------------------------------------------------------------------------------


@given(histories(most=60, lagged=True), SEEDS, st.booleans(), st.booleans())
def test_compaction_is_invisible_within_the_bounds(
    history: list[Sent], seed: int, shuffled: bool, several: bool
) -> None:
    """A ledger of 16 to 20 entries. What comes too late for it is counted and flagged; else nothing shows.

    Reach: each fact is told once; a second telling with another date is known as one only above the horizon.
    """
    rng = random.Random(seed)
    history = list({x.event.b >> 16: x for x in history}.values())
    history.sort(key=lambda x: x.t + (rng.random() * 86_400_000 if shuffled else 0))
    definitions = TIMELINE if several else LAWS
    with bounds(entries=16, spacing=4):
        w = played(history, seed, definitions)
        row = w.row()
        assert row.approximate == bool(w.counts["too_late"])
        if not row.approximate and not _looks_back(history, several):
            same(w, history, thinned=True)
        assert len(row.ledger) <= 20 * 24
        assert len(items(row.ledger, row.data)) * 24 == len(row.ledger)
        if not shuffled:  # in order there is always a sum
            d = definitions[row.head.definition]
            rows = score_rows(row.head, base_of(row), effective(row), END, d, definitions)
            assert sum(r.points for r in rows) == scoring.engagement(row.head, d.day(END), d)


def _looks_back(history: Sequence[Sent], several: bool) -> bool:
    """Scoring again needs the events: below the horizon the old scores stand (DESIGN 1)."""
    return several or any(x.wire["type"] == "engagement_reclassified" for x in history)


# Conflicts ------------------------------------------------------------------------------------------------------


@given(histories(lagged=True), SEEDS, st.data())
def test_of_two_claims_to_one_identity_the_first_recorded_stays(
    history: list[Sent], seed: int, data: st.DataObject
) -> None:
    rng = random.Random(seed)
    claims = list(history)
    for n, x in enumerate(data.draw(st.lists(st.sampled_from(history), max_size=6))):
        lag = data.draw(st.sampled_from([0, 1, 3_600_000]))
        other = data.draw(st.sampled_from(history))
        wire = other.wire | {k: x.wire[k] for k in ("source_event_id", "source_system")}
        claims.append(Sent(other.topic, wire, other.t + lag, 1000 + n))
    rng.shuffle(claims)
    w = played(claims, seed)
    same(w, claims)
    kept = {(e.b >> 16, e.c) for e in w.refused and [r.event for r in w.refused]}
    assert not kept & {(b >> 16, c) for _, b, c, _ in effective(w.row())}


# Deals ----------------------------------------------------------------------------------------------------------

LEADS = ("lead-1", "lead-2")


@given(histories(leads=LEADS, most=8, lagged=True), deals(leads=LEADS), SEEDS)
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
        for batch in cut(delivery, rng):
            w.batch([x.event for x in batch], END, live=False)
            w.deliver(live=False, some=True)
        w.deliver(live=False)
        w.speak(END)
        assert w.totals == w.summed()
        for key in w.stored:
            if key.startswith("l:"):
                assert encode(w.row(key).head) == encode(w.alone(key, effective(w.row(key)), END))
                well_said(w, key)
        ends.append(({k: encode(w.row(k).head) for k in w.stored if k.startswith("l:")}, w.totals))
    assert ends[0] == ends[1]


@given(deals(leads=LEADS, most=10), SEEDS)
def test_shares_sum_to_the_deal(traded: list[Sent], seed: int) -> None:
    rng = random.Random(seed)
    w = World(now=0, rng=rng)
    rng.shuffle(traded)
    for batch in cut(traded, rng):
        w.batch([x.event for x in batch], END)
    w.deliver()
    for deal in {x.wire["subject"]["deal_id"] for x in traded}:
        from processors.deals import fold as fold_deal

        row = w.row(f"d:{deal}")
        found = fold_deal(items(row.ledger, row.data), END)
        assert found is not None
        parts = [
            s.shares[deal] for k in w.stored if k.startswith("l:") and deal in (s := w.row(k).head).shares
        ]
        linked = [lead for lead, _, _ in found.leads]
        if linked and found.status < 4:
            assert sum(x.amount for x in parts) == found.amount


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


@given(histories(leads=LEADS, most=10, lagged=True), deals(leads=LEADS), SEEDS)
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
        for name in ("stage_changes", "handoffs", "sla", "nurture"):
            for lead in LEADS:
                numbers = [x["sequence"] for x in f.out(name, lead)]
                assert numbers == list(range(1, len(numbers) + 1))
