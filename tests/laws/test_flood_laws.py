"""The flood guard stands between decided and said: whatever it holds back, everything else is as without it."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from processors.definition.model import HOUR
from processors.model import OPEN
from processors.say import call_of, decisions, output_id
from processors.scope import Scope
from tests.judge import KEY, same
from tests.strategies import END, SEEDS, Sent, histories
from tests.world import World, cut, handoffs


class Guarded(World):
    """Of some hours no call goes out before a person has looked."""

    shut: frozenset[int] = frozenset()

    def scope(self, key: str) -> Scope:
        scope = super().scope(key)
        scope.admit = lambda _team, start, anyway: anyway or start // HOUR % 3 not in self.shut
        return scope


@given(histories(lagged=True), SEEDS, st.frozensets(st.integers(0, 2), min_size=1))
def test_what_is_held_back_is_not_said_and_all_else_is(
    history: list[Sent], seed: int, shut: frozenset[int]
) -> None:
    rng = random.Random(seed)
    w = Guarded(now=0)
    w.shut = shut
    history.sort(key=lambda x: (x.recorded_at, x.offset))
    for batch in cut(history, rng):
        now = max(w.now, *(x.recorded_at for x in batch))
        live = rng.random() < 0.8
        w.tick(now, live)
        w.batch([x.event for x in batch], now, live)
        if live:
            w.speak(now)
            _is_said(w)
    w.tick(END)
    w.speak(END)
    same(w, history)
    _is_said(w)
    assert not w.row().flooded, "by then all of them have expired"


def _is_said(w: World) -> None:
    """Subscribers hold what is decided, but for what is held back: calls that nobody has heard of."""
    row = w.row()
    triggers = {trigger for trigger, _ in row.flooded}
    minted = {(m.of, m.ordinal) for m in row.minted}
    held = {
        (h.of, h.ordinal): h
        for h in handoffs(row.head)
        if h.trigger in triggers and (h.of, h.ordinal) not in minted
    }
    assert len(held) == len(triggers)
    assert all(h.outcome == OPEN and not h.touched and not h.released for h in held.values())
    wanted = {output_id(KEY, k): x for k, x in decisions(row.head.journeys).items() if call_of(k) not in held}
    published = w.published()
    assert {k: r["occurred_at"] for k, r in published.items()} == {k: x[0] for k, x in wanted.items()}
    for topic in {o.topic for o in w.outputs}:
        mine = [o.record["sequence"] for o in w.outputs if o.topic == topic]
        assert mine == list(range(1, len(mine) + 1))
