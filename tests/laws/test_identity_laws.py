"""The laws of DOMAIN 9 where rows become one another: merges, chains, circles, browsers, and the way back.

What rows tell each other is delivered late, twice and in any order (`World.deliver` with chance in it), and on the
topology's own inbox (`Funnel`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from processors.additive import Contribution
from processors.definition.model import DAY, HOUR
from processors.identity import aliases
from processors.ledger import items
from processors.model import Row, encode, load
from processors.subject import effective
from tests.judge import TIMELINE, bounds
from tests.strategies import END, FITS, SEEDS, Sent, at, deals, histories, moments, sent
from tests.subscriber import Subscriber
from tests.world import LAW, LAWS, Funnel, World, cut, decided

LEADS = ("lead-1", "lead-2", "lead-3")
VISITORS = ("visitor-1", "visitor-2")
_VISITS: list[tuple[str, dict[str, Any]]] = [
    ("page_viewed", {"url": "https://example.org/pricing"}),
    ("content_downloaded", {"asset_id": "v"}),
    ("form_submitted", {"form_id": "f", "intent": "hand_raise"}),
    ("email_clicked", {"send_id": "s1", "agent": "human"}),
    ("attributes_changed", {"fields": FITS}),
    ("consent_changed", {"purpose": "profiling", "granted": False}),
    ("consent_changed", {"purpose": "sales_contact", "granted": False}),
    ("accepted", {}),
]  # fmt: skip


def merged(n: int, t: int, loser: str, winner: str, recorded_at: int | None = None) -> Sent:
    payload = {"loser": loser, "winner": winner}
    return sent(
        "merged", t, n, payload, subject={"lead_id": winner}, source_event_id=f"m{n}", recorded_at=recorded_at
    )  # fmt: skip


def unmerged(n: int, t: int, of: int, winner: str) -> Sent:
    return sent("unmerged", t, n, {"merge_event_id": f"m{of}"}, subject={"lead_id": winner})


def identified(n: int, t: int, visitor: str, lead: str) -> Sent:
    payload = {"anonymous_id": visitor, "lead_id": lead}
    return sent("identified", t, n, payload, subject={"lead_id": lead})


@st.composite
def links(draw: st.DrawFn, first: int = 900) -> list[Sent]:
    """Who is who, by chance: chains, circles and several winners of one loser among them; some taken back."""
    out: list[Sent] = []
    for n in range(first, first + draw(st.integers(1, 5))):
        loser, winner = draw(st.permutations(LEADS))[:2]
        t = draw(moments())
        out.append(merged(n, t, loser, winner, t + draw(st.sampled_from([0, 0, 5 * HOUR, -5 * HOUR]))))
        if draw(st.integers(0, 3)) == 0:
            out.append(unmerged(n + 50, t + draw(st.integers(0, 3)) * DAY, n, winner))
    return out


@st.composite
def visits(draw: st.DrawFn, first: int = 1000) -> list[Sent]:
    """Visitors, some of them identified as one lead or as several."""
    out: list[Sent] = []
    for _ in range(draw(st.integers(0, 5))):
        type_, payload = draw(st.sampled_from(_VISITS))
        visitor = draw(st.sampled_from(VISITORS))
        out.append(sent(type_, draw(moments()), first + len(out), payload, subject={"anonymous_id": visitor}))
    for visitor, lead in draw(
        st.lists(st.tuples(st.sampled_from(VISITORS), st.sampled_from(LEADS)), max_size=3, unique=True)
    ):
        out.append(identified(first + len(out), draw(moments()), visitor, lead))
    return out


def crowd() -> st.SearchStrategy[list[Sent]]:
    parts = (
        histories(leads=LEADS, most=8, lagged=True), deals(leads=LEADS, most=3, lagged=True), visits(), links(),
    )  # fmt: skip
    return st.tuples(*parts).map(lambda found: [x for part in found for x in part])


def played(delivery: Sequence[Sent], seed: int, live: bool = False) -> World:
    """In any order and in any batches, twice now and then; what rows tell each other comes whenever it comes."""
    rng = random.Random(seed)
    w = World(now=0, rng=rng)
    run = [*delivery, *rng.sample(list(delivery), len(delivery) // 4)]
    rng.shuffle(run)
    w.arrive(run, END, live)
    w.speak(END)
    w.deliver()
    return w


def of_people(w: World) -> dict[str, Any]:
    """Facts and derived of every row; where facts lie in the input is no part of it."""
    out: dict[str, Any] = {}
    for key in w.stored:
        row = w.row(key)
        if key[0] in "la":
            out[key] = (encode(row.head), row.target, row.crowded, [e[:2] for e in effective(row)])
    return out


def sums(total: Contribution) -> Contribution:
    return {k: n for k, n in total.items() if n}


def none_is_lost(rows: Mapping[str, Row]) -> None:
    """What a row has taken somebody folds: itself, or the row that it belongs to."""
    taken, folded = set[int](), set[int]()
    for key, row in rows.items():
        if key[0] in "la":
            taken.update(b >> 16 for _, b, _, _ in items(row.ledger, row.data))
            folded.update(e[1] >> 16 for e in effective(row))
    assert taken <= folded


def consistent(w: World) -> None:
    """Each row is the fold of what it holds, every fact is folded by one row at most and by one at least, totals are
    what rows add."""
    none_is_lost({key: w.row(key) for key in w.stored})
    assert w.totals == w.summed()
    assert w.totals.get(("alias_drift",), 0) == 0
    held: set[str] = set()
    for key in w.stored:
        if key[0] not in "la":
            continue
        row = w.row(key)
        assert encode(row.head) == encode(w.alone(key, effective(row), END))
        assert not row.waiting
        if not row.target:
            below = {name for name, _ in aliases(row.members)}
            assert not {x for x in below if x[0] == "l"} & held
            held |= below
    for key in w.stored:
        if key[0] == "l" and w.row(key).target:
            assert key in held, "an alias belongs to somebody"


@given(crowd(), SEEDS, SEEDS)
@example(
    [merged(900, at(2), "lead-1", "lead-2"), merged(901, at(3), "lead-2", "lead-3"),
     merged(902, at(4), "lead-3", "lead-1")], 1, 2,
)  # fmt: skip
@example([merged(900, at(2), "lead-1", "lead-2"), merged(901, at(2), "lead-2", "lead-1")], 1, 2)
def test_any_delivery_of_who_is_who_ends_the_same(history: list[Sent], one: int, other: int) -> None:
    a, b = played(history, one), played(history, other)
    consistent(a)
    assert of_people(a) == of_people(b)
    assert a.totals == b.totals


@given(crowd(), SEEDS)
def test_subscribers_hold_what_is_decided_however_it_came(history: list[Sent], seed: int) -> None:
    """Live from the first batch: calls are made, taken over, withdrawn and restated on the way."""
    for live in (False, True):
        w = played(history, seed, live)
        consistent(w)
        holds(w)


def _of(lead: str, *found: tuple[str, int, dict[str, Any]], first: int) -> list[Sent]:
    return [
        sent(type_, t, n, payload, subject={"lead_id": lead})
        for n, (type_, t, payload) in enumerate(found, first)
    ]


#: A late acceptance by implication, told by the one lead and, when it is the winner for a while, by the other one, which
#: knows of clocks that were met. When the first speaks for itself again, the other one is its alias.
SPOKEN_FOR_MEANWHILE = [
    *_of(
        "lead-1",
        ("created", at(0), {"source": "webinar", "generated_by": "marketing"}),
        ("attributes_changed", at(0), {"fields": FITS}),
        *(("content_downloaded", at(1, hour), {"asset_id": "g"}) for hour in (9, 10, 11)),
        ("qualified_by_sales", at(3), {}),
        first=0,
    ),
    *_of(
        "lead-3",
        ("created", at(0), {"source": "webinar", "generated_by": "marketing"}),
        ("attributes_changed", at(0), {"fields": FITS}),
        ("content_downloaded", at(1, 9), {"asset_id": "g"}),
        ("reopened", at(1, 10), {}),
        first=12,
    ),
    merged(900, at(2, 8), "lead-3", "lead-1"),
    unmerged(950, at(3, 8), 900, "lead-1"),
    merged(901, at(0), "lead-3", "lead-1"),
    merged(902, at(1, 12), "lead-1", "lead-3"),
]


@given(crowd(), SEEDS, st.booleans(), st.sampled_from([512, 512, 4]))
@example(SPOKEN_FOR_MEANWHILE, 4, False, 512)
@example(SPOKEN_FOR_MEANWHILE, 23, False, 512)
def test_in_the_order_of_recording_with_timers_and_with_ledgers_long_and_short(
    history: list[Sent], seed: int, swept: bool, entries: int
) -> None:
    """Live all the time: merges come amid running clocks. With ledgers of four to six facts everybody is thinned, aliases
    as well, and what is too old for the rest is approximate; what was said is what is decided all the same."""
    rng = random.Random(seed)
    w = World(TIMELINE if swept else LAWS, now=0, rng=rng)
    with bounds(entries, spacing=64 if entries > 64 else 2):
        for batch in cut(sorted(history, key=lambda x: (x.recorded_at, x.offset)), rng, 3):
            now = max(w.now, *(x.recorded_at for x in batch))
            w.tick(now)
            w.batch([x.event for x in batch], now)
            w.deliver(some=True)
        for _ in range(2):
            w.deliver()
            w.tick(END)
        w.speak(END)
        w.deliver()
    if entries > 64:
        consistent(w)
    assert w.totals == w.summed()
    assert w.totals.get(("alias_drift",), 0) == 0
    holds(w)


def holds(w: World) -> None:
    """The last revision of everything that was said is what some row decides, whichever lead it was said for."""
    last: dict[str, dict[str, Any]] = {}
    for o in w.outputs:
        if o.key in LEADS:
            known = last.get(o.record["output_id"])
            if known is None or known["revision"] < o.record["revision"]:
                last[o.record["output_id"]] = o.record
    held = {k: r for k, r in last.items() if r["op"] != "withdrawn"}
    wanted: dict[str, tuple[str, int]] = {}
    for key in w.stored:
        if key[0] == "l":
            for name, content in decided(key, w.row(key).head).items():
                wanted[name] = (key[2:], content[0])
    about_links = {k for k, r in held.items() if r["kind"] == "merged_into" or "/refused/merge/" in k}
    assert {k: (r["lead_id"], r["occurred_at"]) for k, r in held.items() if k not in about_links} == wanted
    closed = {w.row(f"l:{x}").target[2:] for x in LEADS if f"l:{x}" in w.stored} - {""}
    assert {held[k]["merged_into"] for k in about_links if held[k]["kind"] == "merged_into"} == closed
    for topic in {o.topic for o in w.outputs}:
        for lead in LEADS:
            numbers = [o.record["sequence"] for o in w.outputs if o.topic == topic and o.key == lead]
            assert numbers == list(range(1, len(numbers) + 1))


@given(crowd(), st.permutations(LEADS), moments(), SEEDS)
def test_merge_and_unmerge_is_nothing(history: list[Sent], pair: Sequence[str], t: int, seed: int) -> None:
    """Facts, derived and totals are those of one who never heard of it; so it is in the middle of a chain."""
    loser, winner, _ = pair
    there = merged(990, t, loser, winner)
    never = played(history, seed)
    back = played([*history, there, unmerged(991, t + HOUR, 990, winner)], seed + 1)
    consistent(back)
    mine, theirs = of_people(back), of_people(never)
    nobody = encode(World().row("l:nobody").head)
    for key in mine.keys() | theirs.keys():
        head, target, crowded, facts = mine[key]
        facts = [e for e in facts if e[1] >> 16 not in (there.event.b >> 16, back_of(there, t, winner))]
        assert (head, target, crowded, facts) == theirs.get(key, (nobody, "", False, []))
    assert sums(back.totals) == sums(never.totals)


def back_of(there: Sent, t: int, winner: str) -> int:
    return unmerged(991, t + HOUR, 990, winner).event.b >> 16


@given(crowd(), SEEDS)
def test_on_the_topology_partitions_batches_and_restarts_change_nothing(
    history: list[Sent], seed: int
) -> None:
    rng = random.Random(seed)
    ends = []
    for partitions in (1, 8):
        delivery = list(history)
        rng.shuffle(delivery)
        f = Funnel(LAW, END, partitions=partitions, live=False, owners=())
        for x in delivery:
            f.publish(x)
        f.driver._step(rng.randint(1, 7), None)
        f.restart()
        f.driver.run(rng.randint(1, 7))
        f.driver.catch_up()
        assert f.dead() == []
        none_is_lost({k.decode(): load(data) for k, data in f.driver.all_rows()})
        totals = sums(f.topology.totals())
        assert ("alias_drift",) not in totals
        heads = {k: encode(f.row(k.decode()).head) for k, _ in f.driver.all_rows() if k[:1] in b"la"}
        f.restart()
        assert sums(f.topology.totals()) == totals, "the sum over the rows"
        s = Subscriber()
        for name in ("stage_changes", "handoffs", "sla", "nurture"):
            s.take_all(f.driver.read(getattr(f.settings.topics, name)))
        held = {k: (o["lead_id"], o["occurred_at"]) for k, o in s.state.items() if o["op"] != "withdrawn"}
        ends.append((totals, heads, held))
    assert ends[0] == ends[1]
