"""Laws of engagement: however facts arrive, what is counted is what a plain count of them gives."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from processors import engagement, tally
from processors.days import DAY
from processors.definition.model import MINUTE
from processors.figures import of_engagement, seen_at
from tests.judge import KEY, bounds
from tests.strategies import END, SEEDS, T0, Sent, at, sent
from tests.world import World, cut

AGENTS = ("human", "unknown", "proxy", "bot")
_SENDS = st.sampled_from(["s1", "s2", "s3"])
_WHO = st.sampled_from(AGENTS)
_DONE: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(
    st.tuples(st.just("page_viewed"), st.just({"url": "https://example.org/?utm_source=s&utm_medium=cpc"})),
    st.tuples(st.just("page_viewed"), _WHO.map(lambda who: {"url": "https://example.org/", "agent": who})),
    st.tuples(
        st.sampled_from(["email_opened", "email_clicked"]),
        st.tuples(_SENDS, _WHO).map(lambda x: {"send_id": x[0], "agent": x[1]}),
    ),
    st.tuples(
        st.sampled_from(["email_sent", "email_delivered", "email_bounced"]),
        _SENDS.map(lambda x: {"send_id": x, "campaign_id": f"c-{x}"}),
    ),
    st.sampled_from(
        [
            ("content_downloaded", {"asset_id": "a"}),
            ("form_submitted", {"form_id": "f", "intent": "newsletter"}),
            ("email_unsubscribed", {}),
            ("survey_answered", {"survey_id": "q", "score": 9, "kind": "nps"}),
            ("objection_raised", {"category": "price"}),
            ("event_registered", {"event_id": "w", "kind": "webinar"}),
            ("event_attended", {"event_id": "w", "kind": "webinar"}),
            ("ad_clicked", {"ad_id": "a", "utm": {"source": "ads", "medium": "cpc", "campaign": "c"}}),
            ("social_engaged", {"network": "n", "kind": "like"}),
            ("product_used", {"feature": "x"}),
            ("spam_reported", {}),
            ("created", {"source": "web", "generated_by": "marketing"}),
        ]
    ),
)
_TIMES = st.one_of(
    st.integers(0, 40).map(lambda n: T0 + n * 10 * MINUTE), st.integers(0, 20 * DAY).map(lambda n: T0 + n)
)


@st.composite
def histories(draw: st.DrawFn, most: int = 30, reclassified: bool = True) -> list[Sent]:
    """What a person did and got; some of it turns out to have been done by somebody else, each at most once."""
    out: list[Sent] = []
    for n in range(draw(st.integers(0, most))):
        type_, payload = draw(_DONE)
        out.append(sent(type_, draw(_TIMES), n, payload))
    named = {_fact(x): x for x in out if x.wire["type"] in _NAMED}
    if reclassified and named:
        for x in draw(st.lists(st.sampled_from(list(named.values())), unique_by=_fact, max_size=3)):
            payload = {"of": f"e{x.offset}", "agent": draw(_WHO)}
            out.append(sent("engagement_reclassified", draw(_TIMES), len(out), payload))
    return out


_NAMED = ("page_viewed", "email_opened", "email_clicked", "form_submitted")
_VISIT = ("page_viewed", "form_submitted", "content_downloaded", "ad_clicked", "email_clicked")


def _fact(x: Sent) -> tuple[Any, ...]:
    """What makes two records the same fact."""
    type_, send = x.wire["type"], x.wire["payload"].get("send_id")
    if type_ in ("email_opened", "email_clicked"):
        return type_, send, x.t // MINUTE
    if type_ in ("email_sent", "email_delivered", "email_bounced"):
        return type_, send
    return (type_, "w") if type_.startswith("event_") else (type_, x.offset)


def plain(history: list[Sent]) -> dict[tuple[Any, ...], int]:
    """The counts that workers keep, from the records."""
    facts: dict[tuple[Any, ...], Sent] = {}
    names: dict[tuple[Any, ...], set[str]] = {}
    for x in sorted(history, key=lambda x: (x.recorded_at, x.offset)):
        facts.setdefault(_fact(x), x)
        names.setdefault(_fact(x), set()).add(f"e{x.offset}")
    told = {p["of"]: p["agent"] for x in history if "of" in (p := x.wire["payload"])}
    out: Counter[tuple[Any, ...]] = Counter()
    looked: set[tuple[str, ...]] = set()
    visited: list[int] = []
    for key, x in facts.items():
        type_, payload = x.wire["type"], x.wire["payload"]
        agent = next((told[name] for name in names[key] if name in told), payload.get("agent", "human"))
        if type_ == "objection_raised":
            out["objections", payload["category"]] += 1
        if type_ in ("engagement_reclassified", "created", "objection_raised"):
            continue
        out["engaged", type_, agent] += 1
        if type_ in ("email_opened", "email_clicked"):
            looked.add((type_.removeprefix("email_"), agent, payload["send_id"]))
        if type_ == "survey_answered":
            out["recommends", "promoter"] += 1
        if type_ in _VISIT and agent in (("human",) if type_ == "email_clicked" else ("human", "unknown")):
            visited.append(x.t)
    for what, agent, _ in looked:
        out["email", what, agent] += 1
    visited.sort()
    begins = [t for before, t in zip([-END, *visited], visited, strict=False) if t - before > 30 * MINUTE]
    return dict(out + Counter({("visits",): len(begins)}))


def counted(w: World) -> dict[tuple[Any, ...], int]:
    """What a worker keeps of the row; what a report counts from its facts is the same."""
    row, scope = w.row(KEY), w.scope(KEY)
    kept = tally.contribution(row.tally.counts)
    found = of_engagement(row, seen_at(row, None, scope), scope)
    assert {k: n for k, n in found.items() if not k[0].endswith("_on")} == kept
    assert {k: n for k, n in w.totals.items() if k in kept or k[0] in _COARSE} == kept
    return kept


_COARSE = [name for name in engagement.COLUMNS if not name.endswith("_on")]


@given(histories(), SEEDS)
def test_counts_are_those_of_the_facts(history: list[Sent], seed: int) -> None:
    """In any order, twice, in any batches, and whoever it turns out to have been."""
    rng = random.Random(seed)
    run = history + [x for x in history if rng.random() < 0.3]
    rng.shuffle(run)
    w = World(now=END)
    for batch in cut(run, rng):
        w.batch([x.event for x in batch], END)
    assert counted(w) == plain(history)


@given(histories(), SEEDS)
def test_counts_in_order_are_those_of_the_facts(history: list[Sent], seed: int) -> None:
    """As they happen, with timers between them and some told of before they happen."""
    rng = random.Random(seed)
    w = World(now=0)
    for x in sorted(history, key=lambda x: (x.t, x.offset)):
        early = rng.choice([0, 0, 0, DAY])
        w.tick(max(w.now, x.t - early))
        w.batch([x.event], w.now)
    w.tick(END)
    assert counted(w) == plain(history)


_VIEWED = {"url": "https://example.org/?utm_source=s&utm_medium=cpc"}
#: Most of a day's page views may be thinned, so that there are many snapshots and next to nothing between them.
ONE_BUSY_HOUR = [
    *(sent("page_viewed", at(0), n, _VIEWED) for n in range(36) if n not in (8, 10, 11, 12)),
    sent("content_downloaded", at(0), 8, {"asset_id": "a"}),
    sent("page_viewed", at(0, 0, 1_200_000), 10, _VIEWED),
    sent("content_downloaded", at(0, 0, 600_000), 11, {"asset_id": "a"}),
    sent("email_opened", at(0, 0, 600_000), 12, {"send_id": "s1", "agent": "human"}),
    sent("email_sent", at(0), 36, {"send_id": "s1", "campaign_id": "c-s1"}),
    sent("email_delivered", at(0), 37, {"send_id": "s1", "campaign_id": "c-s1"}),
]


@given(histories(60, reclassified=False), SEEDS, st.sampled_from([(8, 2), (12, 4), (24, 8)]))
@example(ONE_BUSY_HOUR, 0, (8, 2))
def test_what_is_dropped_still_counts(history: list[Sent], seed: int, bound: tuple[int, int]) -> None:
    """With a ledger that is far too short, and facts that come again when they are long gone."""
    rng = random.Random(seed)
    run = sorted((x.event for x in history), key=lambda e: (e.a, e.b))
    with bounds(*bound):
        w = World(now=END)
        for n, e in enumerate(run):
            w.batch([e], END)
            if rng.random() < 0.3:
                w.batch([rng.choice(run[: n + 1])], END)
        assert counted(w) == plain(history)
        assert len(w.row(KEY).ledger) <= 24 * sum(bound)


@given(histories(60), histories(20), SEEDS)
def test_beyond_the_bounds_both_ways_of_counting_agree(
    history: list[Sent], other: list[Sent], seed: int
) -> None:
    """Approximate, whatever is late and re-classified there, but one and the same for workers and reports."""
    rng = random.Random(seed)
    late = [
        x._replace(offset=500 + x.offset, wire=x.wire | {"source_event_id": f"o{x.offset}"}) for x in other
    ]
    run = history + late
    rng.shuffle(run)
    with bounds(12, 4):
        w = World(now=END)
        for batch in cut(run, rng):
            w.batch([x.event for x in batch], END)
        kept = counted(w)
    types = Counter(key[1] for key, n in kept.items() if key[0] == "engaged" for _ in range(n))
    facts = {
        _fact(x)
        for x in run
        if x.wire["type"] not in ("engagement_reclassified", "created", "objection_raised")
    }
    assert types == Counter(fact[0] for fact in facts), "nobody is forgotten and nobody counted twice"
