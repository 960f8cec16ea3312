"""Definitions that come and go: a sweep is a transition like any other, and it makes no difference when a worker heard of it."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from processors.compiled import Compiled, compile_definition
from processors.definition.load import load
from processors.definition.model import Definition, Stage
from processors.model import encode
from tests.judge import KEY, TIMELINE, played, same, well_said
from tests.strategies import (
    DAYS,
    END,
    FITS,
    SEEDS,
    Sent,
    at,
    default_definition,
    histories,
    law_text,
    moments,
    sent,
)
from tests.world import World, cut

#: The second one sweeps, within two days; so does the third, over a week.
SWEEPING = (
    TIMELINE[0],
    *(
        compile_definition(
            replace(d.source, sweep=True, policy=replace(d.source.policy, sweep_over_ms=hours * 3_600_000))
        )
        for d, hours in zip(TIMELINE[1:], (16, 40), strict=True)
    ),
)

#: A lead that has enough for the second definition and not for the first, and a late fact of it.
SWEPT_AND_LATE = [
    sent("created", at(0), 0, {"source": "webinar", "generated_by": "marketing"}),
    sent("attributes_changed", at(0), 1, {"fields": FITS}),
    *(sent("content_downloaded", at(8, 9 + n), 2 + n, {"asset_id": f"g{n}"}) for n in range(2)),
    sent("content_downloaded", at(7, 9), 4, {"asset_id": "late"}, recorded_at=at(12, 9)),
]


@given(histories(lagged=True), SEEDS, st.lists(moments(2 * DAYS), max_size=6))
@example(SWEPT_AND_LATE, 0, [])
@example(SWEPT_AND_LATE, 3, [at(10), at(11), at(12)])
def test_a_sweep_comes_out_the_same_whenever_timers_run_and_facts_come(
    history: list[Sent], seed: int, ticks: list[int]
) -> None:
    random.Random(seed).shuffle(history)
    w = played(history, seed, SWEEPING, sorted(ticks), live=True)
    same(w, history)
    well_said(w)


@given(histories(lagged=True), SEEDS)
@example(SWEPT_AND_LATE, 0)
def test_replay_sweeps_as_the_live_worker_did(history: list[Sent], seed: int) -> None:
    """Nothing being said before the end, nothing depends on the order: also not what sweeps decided, and when."""
    rng = random.Random(seed)
    ends = []
    for _ in range(2):
        rng.shuffle(history)
        w = played(history, rng.randrange(2**32), SWEEPING)
        ends.append((encode(w.row(KEY).head), encode(w.row(KEY).minted), w.totals))
    assert ends[0] == ends[1]


def follow(w: World, batch: Sequence[Sent]) -> None:
    """Live, and on time."""
    now = max(w.now, *(x.recorded_at for x in batch))
    w.tick(now)
    w.batch([x.event for x in batch], now)


def reviewed(w: World, definitions: tuple[Compiled, ...]) -> None:
    """The worker hears of definitions, and looks at every row, as the topology does in slices."""
    w.definitions = definitions
    w.totals = w.summed()
    for key in list(w.stored):
        w.feed(key, (), w.now)


@given(
    histories(lagged=True),
    SEEDS,
    st.lists(st.sampled_from([1, 2]), max_size=2, unique=True),
    st.integers(0, 30),
)
@example(SWEPT_AND_LATE, 0, [2], 3)
@example(SWEPT_AND_LATE, 1, [1], 5)
def test_when_a_worker_hears_of_a_definition_makes_no_difference(
    history: list[Sent], seed: int, known: Sequence[int], after: int
) -> None:
    """Some definitions are known at first, all of them later: after events that they should have judged, and at other
    places in the timeline than before."""
    rng = random.Random(seed)
    history.sort(key=lambda x: (x.recorded_at, x.offset))
    w = World(tuple(SWEEPING[n] for n in sorted({0, *known})), now=0)
    fed = 0
    for batch in cut(history, rng):
        if fed <= after < fed + len(batch):
            reviewed(w, SWEEPING)
        fed += len(batch)
        follow(w, batch)
    reviewed(w, SWEEPING)
    w.tick(END)
    w.speak(END)
    if history:
        same(w, history)
        well_said(w)
        row = w.row(KEY)
        assert row.terms == tuple(d.mark for d in SWEEPING[1 : row.head.hours + 1])


#: Called under the version that was taken back, and again by a sweep two days later: the clocks said at first have run out.
CALLED_TWICE = [
    sent("created", at(0), 0, {"source": "webinar", "generated_by": "marketing"}),
    sent("attributes_changed", at(0), 1, {"fields": FITS}),
    sent("content_downloaded", at(1, 9), 2, {"asset_id": "g0"}),
    sent("page_viewed", at(27, 13), 3, {"url": "https://example.org/about"}),
    sent("page_viewed", at(33), 4, {"url": "https://example.org/pricing"}),
    sent("touched", at(0, 0, 190704), 5, {"channel": "phone", "kind": "call"}),
    sent("touched", at(0, 0, 90), 6, {"channel": "phone", "kind": "call"}),
    sent("event_attended", at(7, 10), 7, {"event_id": "w1", "kind": "webinar"}),
]


@given(histories(), SEEDS)
@example(CALLED_TWICE, 283)
def test_a_definition_taken_back_before_it_held_leaves_no_trace(history: list[Sent], seed: int) -> None:
    """A worker knew of a version that a newer one, recorded earlier, has since overtaken: rows that adopted it forget it."""
    other = compile_definition(replace(SWEEPING[1].source, name="other", effective_at=at(9)))
    history.sort(key=lambda x: (x.recorded_at, x.offset))
    w = World((SWEEPING[0], other), now=0)
    for batch in cut(history, random.Random(seed)):
        follow(w, batch)
    reviewed(w, SWEEPING)
    w.tick(END)
    w.speak(END)
    if history:
        same(w, history)
        well_said(w)


#: What a version may change besides numbers: names of rules, which there are, what policy does, zones and holidays.
_REBUILT = (
    ('time_zone = "Europe/Berlin"\nengagement_cap', 'time_zone = "America/New_York"\nengagement_cap'),
    ('name = "page"', 'name = "seen"'),
    ('name = "webinar"\non = "event_attended"', 'name = "registered"\non = "event_registered"'),
    ("[policy]", '[policy]\nbackward = "adopt"\nwithdraw_when_unqualified = true\nreraise_days = 3'),
    ("[thresholds]", '[thresholds]\nhand_raise_days = 5\ngates = ["budget"]'),
    ("[calendars.default]", "[calendars.default]\nholidays = [2026-03-11, 2026-03-12, 2026-03-24]"),
)
#: Stages of the second version by those of the first: mql has another name and rank, and sql a stage before it.
_RENAMED = {"engaged": ("warm", 20), "mql": ("qualified", 33), "sql": ("sql", 52)}


def rebuilt() -> tuple[Compiled, ...]:
    """Versions that change all that can be changed, one of them with a sweep, and take most of it back."""
    text = law_text(version=2, up=26, down=20)
    for old, new in _REBUILT:
        assert old in text
        text = text.replace(old, new)
    other = load(text, origin="laws.toml", base=default_definition())
    first = TIMELINE[0].source
    stages = [*map(_renamed, first.stages), Stage(name="in talks", rank=45, phase="consideration")]
    back = replace(first, version=3, stages=tuple(_renamed_back(x) for x in first.stages))
    versions: tuple[Definition, ...] = (
        first,
        replace(other, effective_at=at(8, 12), stages=tuple(sorted(stages, key=lambda x: x.rank))),
        replace(back, effective_at=at(20), sweep=True),
    )
    return tuple(map(compile_definition, versions))


def _renamed(x: Stage) -> Stage:
    name, rank = _RENAMED.get(x.name, (x.name, x.rank))
    return replace(x, name=name, rank=rank, renamed_from=(x.name,) if name != x.name else ())


def _renamed_back(x: Stage) -> Stage:
    name, _ = _RENAMED.get(x.name, (x.name, 0))
    return replace(x, renamed_from=(name,) if name != x.name else ())


REBUILT = rebuilt()


#: A stage that one version has and the next one has not was passed through on the way.
RETIRED_ON_THE_WAY = [
    sent("created", at(0), 0, {"source": "webinar", "generated_by": "marketing"}),
    sent("attributes_changed", at(0), 1, {"fields": FITS}),
    *(sent("disqualified", at(1, 10), n, {"reason_code": "other"}) for n in (2, 3)),
    sent("qualified_by_sales", at(8, 12), 4, {}),
    *(sent("page_viewed", at(0), n, {"url": "https://example.org/"}) for n in range(5, 10)),
]


@given(histories(lagged=True), SEEDS, st.lists(moments(2 * DAYS), max_size=4), st.booleans())
@example(RETIRED_ON_THE_WAY, 0, [], True)
def test_a_version_may_change_anything(history: list[Sent], seed: int, ticks: list[int], live: bool) -> None:
    """Stages, rules, zones, holidays and policies, in whatever order facts come and whenever timers run."""
    random.Random(seed).shuffle(history)
    w = played(history, seed, REBUILT, ticks=sorted(ticks), live=live)
    same(w, history)
    well_said(w)
