"""The laws of DOMAIN 9, each a property of rows that are stored encoded between any two calls.

What is equal, and how far. Facts and derived state depend on the set of facts alone, *given what was said*: a handoff
that was published keeps its id, the start of its clocks and the choice of its owners, and an answer pins it. So every
law compares with the fold from scratch that is given the row's minted handoffs (`World.alone`). How many revisions were
published on the way, and in which order, is not promised; that the last ones equal what is decided, is.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from processors import scoring
from processors.episodes import end_of
from processors.explain import score_rows
from processors.ledger import items, recorded_at
from processors.model import ACCEPTED, LATE, OPEN, TURNED_DOWN, encode, handoff_id
from processors.subject import base_of, effective
from tests.judge import KEY, TIMELINE, bounds, played, refolds, same, well_said
from tests.laws.found import (
    EXPIRED_MEANWHILE,
    IMPORTED_AND_RAISED_AT_ONCE,
    KEPT_BY_A_BOT,
    NAMED_BEFORE,
    ONE_CLICK_TWO_NAMES,
    REJECTED_BEFORE,
    THREE_DAYS_AND_A_SECOND,
    TOUCHED_AND_RECYCLED,
)
from tests.strategies import DAYS, END, FITS, SEEDS, Sent, at, histories, moments, sent
from tests.world import LAWS, World, cut, handoffs


def _qualified(*more: Sent) -> list[Sent]:
    """A lead that is handed over on Monday morning, and what came besides."""
    return [
        sent("created", at(0), 0, {"source": "webinar", "generated_by": "marketing"}),
        sent("attributes_changed", at(0), 1, {"fields": FITS}),
        *(sent("content_downloaded", at(1, 9 + n), 2 + n, {"asset_id": f"g{n}"}) for n in range(3)),
        *more,
    ]


#: Found by these laws. A late acceptance is an episode of no length, which has to find itself again;
LATE_ACCEPTANCE = _qualified(sent("accepted", at(5, 12), 5))
#: an answer takes a breach back that an assignment, which came late, had brought along;
BREACH_THAT_WAS_NONE = _qualified(
    sent("assigned", at(1, 10), 5, {"owner": "owner-1"}, recorded_at=at(4, 10)),
    sent("touched", at(1, 10), 6, {"channel": "phone", "kind": "meeting", "handoff_id": handoff_id(KEY, 1)}),
    sent("accepted", at(1, 10), 7),
    sent("page_viewed", at(0), 8, {"url": "https://example.org/pricing"}, backfill=True),
)
#: two assignments, one after the other, of which replay must not make one;
REASSIGNED = _qualified(
    sent("assigned", at(1, 12), 5, {"owner": "owner-1"}), sent("assigned", at(1, 13), 6, {"owner": "owner-2"}),
    sent("page_viewed", at(1, 8), 7, {"url": "/"}, recorded_at=at(1, 14)),
)  # fmt: skip
#: two refused ones at one instant, each of which chooses anew;
REFUSED_TWICE = _qualified(*(sent("assigned", at(1, 12), n, {"owner": "owner-gone"}) for n in (5, 6)))
#: a touch that names the handoff of an earlier journey.
TOUCH_OF_OLD = _qualified(
    sent("rejected", at(1, 12), 5, {"reason_code": "timing"}),
    sent("reopened", at(1, 13), 6),
    sent("touched", at(1, 14), 7, {"channel": "phone", "kind": "call", "handoff_id": handoff_id(KEY, 1)}),
)
#: An answer at the very instant at which the call expires is in time; also where it comes last (seed 19).
AT_EXPIRY = _qualified(sent("accepted", at(2, 22), 5))
#: A bot's click may be thinned, and so may not tell that the score has fallen since the answer.
TOLD_BY_A_BOT = [
    sent("created", at(0), 0, {"source": "webinar", "generated_by": "marketing"}),
    sent("attributes_changed", at(0), 1, {"fields": FITS}),
    *(sent("page_viewed", at(n, 8), 2 + n, {"url": "/"}) for n in range(1, 13)),
    sent("form_submitted", at(14, 10), 20, {"form_id": "f", "intent": "hand_raise"}),  # and nobody answers
    sent("email_clicked", at(28), 21, {"send_id": "s2", "agent": "bot"}),
    sent("discovery_recorded", at(28, 1), 22, {"kind": "risk", "text_ref": "n"}),
    sent("discovery_recorded", at(28, 2), 23, {"kind": "risk", "text_ref": "n"}),
]


#: Facts that answer nothing, and may take the ground away from a handoff.
LATE_FACTS: list[tuple[str, dict[str, Any]]] = [
    ("page_viewed", {"url": "/"}), ("content_downloaded", {"asset_id": "z"}), ("email_unsubscribed", {}),
    ("attributes_changed", {"fields": {"relationship": "competitor"}}), ("spam_reported", {}),
    ("attributes_changed", {"fields": {"role": "intern", "company_size": 1}}),
    ("consent_changed", {"purpose": "sales_contact", "granted": False}),
]  # fmt: skip

#: Reported as spam at the instant of the call, known after sales had qualified the lead: what was answered stays so.
LATE_SPAM: tuple[tuple[str, dict[str, Any]], int, bool] = (("spam_reported", {}), 35, True)


# Delivery -------------------------------------------------------------------------------------------------------


@given(histories(), SEEDS)
@example(LATE_ACCEPTANCE, 0)
@example(BREACH_THAT_WAS_NONE, 0)
@example(REASSIGNED, 1)
@example(REFUSED_TWICE, 0)
@example(TOUCH_OF_OLD, 0)
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
@example(LATE_ACCEPTANCE, 0)
@example(BREACH_THAT_WAS_NONE, 0)
@example(REASSIGNED, 1)
@example(REFUSED_TWICE, 0)
@example(TOUCH_OF_OLD, 0)
@example(IMPORTED_AND_RAISED_AT_ONCE, 0)
def test_live_in_the_order_of_recording(history: list[Sent], seed: int) -> None:
    history.sort(key=lambda x: (x.recorded_at, x.offset))
    w = played(history, seed, live=True)
    same(w, history)
    well_said(w)


@given(histories(lagged=True), SEEDS, st.lists(moments(2 * DAYS), max_size=6))
@example(LATE_ACCEPTANCE, 0, [])
@example(BREACH_THAT_WAS_NONE, 0, [])
@example(REASSIGNED, 1, [])
@example(REFUSED_TWICE, 0, [])
@example(TOUCH_OF_OLD, 0, [])
@example(AT_EXPIRY, 3, [at(2, 22)])
@example(AT_EXPIRY, 19, [])
def test_when_timers_run_and_in_which_order_facts_come_makes_no_difference(
    history: list[Sent], seed: int, ticks: list[int]
) -> None:
    random.Random(seed).shuffle(history)
    w = played(history, seed, ticks=sorted(ticks), live=True)
    same(w, history)
    well_said(w)


@given(histories(lagged=True), SEEDS, st.integers(0, 10))
@example(TOUCHED_AND_RECYCLED, 12, 0)
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
@example(EXPIRED_MEANWHILE, 0)
@example(THREE_DAYS_AND_A_SECOND, 0)
def test_a_worker_that_catches_up_finds_the_starts_that_a_live_one_said(
    history: list[Sent], seed: int
) -> None:
    """Live, each record by itself when it was appended, against all of it shuffled, and said at the end.

    When it was appended a row keeps to 1/2048 of how late that was (decision 0001). Only where that makes one record seem to
    come after the next is live as exact as that, and no more.
    Reach: up to the first handoff that differs in anything. Owners are chosen by a hash of the id, ids go by the order
    of minting, and owners have zones: where a late fact brought an earlier episode to light the two differ in ids, so
    in due times, and may part from there on. A late acceptance is an attempt without a clock. And where a late fact
    moved a trigger behind the start that was said, the start stays, as it was said.
    """
    live = World(now=0)
    run = sorted(history, key=lambda x: (x.recorded_at, x.offset))
    kept = {
        x.offset: recorded_at(x.event.a, x.event.c) if x.recorded_at > x.t else x.recorded_at for x in run
    }
    told_apart = all(kept[x.offset] <= y.recorded_at for x, y in itertools.pairwise(run))
    heard = {x.offset: x.recorded_at for x in run} if told_apart else kept
    for x in sorted(run, key=lambda x: (heard[x.offset], x.offset)):
        live.tick(heard[x.offset] - 1)
        live.batch([x.event], heard[x.offset])
    live.tick(END)
    random.Random(seed).shuffle(history)
    late = played(history, seed)
    for a, b in zip(handoffs(live.row().head), handoffs(late.row().head), strict=False):
        if (a.ordinal, a.trigger) != (b.ordinal, b.trigger) or (a.flags | b.flags) & LATE:
            break
        assert max(a.start, a.trigger) == b.start
        if (a.ended, a.outcome, a.expires, a.owner, a.routes) != (
            b.ended,
            b.outcome,
            b.expires,
            b.owner,
            b.routes,
        ):
            break


@given(histories(lagged=True, backfilled=False))
@example(REJECTED_BEFORE)
def test_no_clock_starts_before_it_could_be_known(history: list[Sent]) -> None:
    """Delivered as they were recorded, no handoff is born breached, and what was said of a start stays."""
    w = World(now=0)
    starts: dict[str, int] = {}
    heard: list[int] = []
    for x in sorted(history, key=lambda x: (x.recorded_at, x.offset)):
        heard.append(recorded_at(x.event.a, x.event.c))
        w.tick(x.recorded_at - 1)
        before = len(w.outputs)
        w.batch([x.event], x.recorded_at)
        for o in w.outputs[before:]:
            name = o.record.get("handoff_id")
            if o.record.get("kind") == "made" and o.record["op"] != "withdrawn":
                if o.record["op"] == "new" and name not in starts:
                    # A row keeps when a fact was recorded to 1/2048 of how late that was: one that was heard before
                    # may seem later than this one. Only then is it not this one's instant.
                    later = {known for known in heard if known > heard[-1]}
                    assert o.record["started_at"] in {heard[-1]} | later
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


@given(histories(lagged=True), SEEDS)
@example(NAMED_BEFORE, 26)
def test_an_episode_that_was_said_keeps_its_id(history: list[Sent], seed: int) -> None:
    """A new id is given only where no handoff that was said, and is not found again elsewhere, overlaps."""
    rng = random.Random(seed)
    rng.shuffle(history)
    w = World(now=0)
    for batch in cut(history, rng):
        said = w.row().minted
        w.batch([x.event for x in batch], max(w.now, *(x.recorded_at for x in batch)))
        found = handoffs(w.row().head)
        names, known = {(h.of, h.ordinal) for h in found}, {(m.of, m.ordinal) for m in said}
        lost = [m for m in said if (m.of, m.ordinal) not in names]
        for h in found:
            if (h.of, h.ordinal) not in known:
                assert not [m for m in lost if h.trigger <= m.end and m.trigger <= end_of(h)]


def _answers_by_handoff(w: World) -> dict[str, list[dict[str, Any]]]:
    out: dict[str, list[dict[str, Any]]] = {}
    for o in w.outputs:
        if o.record.get("kind") == "answered":
            out.setdefault(o.record["handoff_id"], []).append(o.record)
    return out


@given(
    st.sampled_from(["accepted", "rejected", "touched", "qualified_by_sales"]),
    st.integers(12, 90),
    st.lists(
        st.tuples(st.sampled_from(LATE_FACTS), st.integers(0, 90), st.booleans()), min_size=1, max_size=4
    ),
)
@example("qualified_by_sales", 12, [LATE_SPAM])
def test_an_answer_pins_its_handoff_whatever_comes_late(
    answer: str, after: int, more: list[tuple[tuple[str, dict[str, Any]], int, bool]]
) -> None:
    """What answers nothing removes no handoff that was answered, and does not change its answer.

    Reach: a late acceptance is an attempt of its own only while its call is seen to have expired.
    """
    w = World(now=0)
    payload = {"rejected": {"reason_code": "timing"}, "touched": {"channel": "phone", "kind": "call"}}.get(
        answer, {}
    )
    first = _qualified(sent(answer, at(1, after), 9, payload))
    facts = [
        sent(type_, at(0, hours), 20 + n, given_, recorded_at=at(9) if late else at(0, hours))
        for n, ((type_, given_), hours, late) in enumerate(more)
    ]
    before: dict[str, int] = {}
    for x in sorted([*first, *facts], key=lambda x: x.recorded_at):
        w.tick(x.recorded_at - 1)
        w.batch([x.event], x.recorded_at)
        found = {
            h.id: h.outcome
            for h in handoffs(w.row().head)
            if h.outcome in (ACCEPTED, TURNED_DOWN) and not h.flags & LATE
        }
        assert before.items() <= found.items()
        before = found
    w.tick(END)
    well_said(w)


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
@example(TOLD_BY_A_BOT, 2, False, False)
@example(KEPT_BY_A_BOT, 0, False, False)
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
        if not _looks_back(history, several):
            refolds(w)
            if not row.approximate:
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
    _first_claims_stay(claims, seed)


def test_what_two_systems_tell_is_known_by_both_names() -> None:
    """Found by this law."""
    for claims in itertools.permutations(ONE_CLICK_TWO_NAMES):
        _first_claims_stay(list(claims), 0)


def _first_claims_stay(claims: list[Sent], seed: int) -> None:
    w = played(claims, seed)
    same(w, claims)
    kept = {(b >> 16, c) for _, b, c, _ in effective(w.row())}
    assert not kept & {(r.event.b >> 16, r.event.c) for r in w.refused}
