"""The laws of DOMAIN 9, each a property of rows that are stored encoded between any two calls."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from processors.model import encode
from tests.strategies import END, SEEDS, Sent, deals, histories, moments
from tests.world import LAWS, World, cut, decided, run_of

KEY = "l:lead-1"


def played(
    history: Sequence[Sent],
    seed: int,
    definitions: tuple[Any, ...] = LAWS,
    ticks: Sequence[int] = (),
    live: bool = False,
) -> World:
    """Any batches, timers at any time; live: each batch when its newest event happens, else all of it at the end."""
    rng = random.Random(seed)
    w = World(definitions, now=0)
    for batch in cut(history, rng):
        now = max(w.now, *(x.recorded_at for x in batch)) if live else END
        for t in ticks:
            if t <= now:
                w.tick(t, live)
        w.batch([x.event for x in batch], now, live)
    w.tick(END, live)
    w.speak(END)
    return w


def same(w: World, history: Sequence[Sent], key: str = KEY) -> None:
    s = w.alone(key, run_of([x.event for x in history if x.event.subject == key]), END)
    assert encode(w.row(key).head) == encode(s)
    assert w.totals == w.summed()


@given(histories(), SEEDS)
def test_permutation_duplication_and_any_cut(history: list[Sent], seed: int) -> None:
    rng = random.Random(seed)
    delivery = history + rng.choices(history, k=rng.randint(0, len(history)))
    rng.shuffle(delivery)
    same(played(delivery, seed), history)


@given(histories(lagged=True), SEEDS, st.lists(moments(), max_size=4))
def test_live(history: list[Sent], seed: int, ticks: list[int]) -> None:
    random.Random(seed).shuffle(history)
    same(played(history, seed, ticks=sorted(ticks), live=True), history)
