"""What must hold of a row whatever was done to it: it is as from scratch, and subscribers hold what is decided."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from processors import fold, subject
from processors.compiled import Compiled, compile_definition
from processors.fold import elapse, feed, look_into, new_state, settled
from processors.model import State, encode
from processors.say import Output, difference
from processors.subject import base_of, effective
from tests.strategies import END, Sent, at, law_definition
from tests.world import LAW, LAWS, World, cut, decided, run_of

KEY = "l:lead-1"

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


def refolds(w: World, key: str = KEY) -> None:
    """What the row has kept, its base and the facts above it, is enough to come to its head again."""
    row, scope = w.row(key), w.scope(key)
    scope.said = row.minted
    look_into(scope, lambda: (base_of(row), effective(row)))

    def once() -> State:
        s = base_of(row) or new_state()
        feed(s, [e for e in effective(row) if e[0] >> 22 <= w.now], scope)
        elapse(s, w.now, scope)
        return s

    again = settled(once, scope)
    again.n, again.known = row.head.n, row.head.known  # what was thinned was counted
    assert encode(row.head) == encode(again)


def well_said(w: World, key: str = KEY) -> None:
    """What subscribers hold is what is decided; sequences have no gap."""
    row, lead = w.row(key), key[2:]
    held, wanted = w.published(lead), decided(key, row.head)
    assert set(held) == set(wanted)
    afresh = said_from_nothing(w, key)
    for name, content in wanted.items():
        assert held[name]["occurred_at"] == content[0], name
        said, now = _coded([held[name], afresh[name]], w)
        assert _lasting(said) == _lasting(now), name
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


def _coded(records: list[dict[str, Any]], w: World) -> list[dict[str, Any]]:
    """With codes for the names of stages: a record names them as the definition does that it names, and a stage that is
    renamed later, at its place, or is retired, is no news. Not where one names a definition that was taken back."""
    known = {f"{d.source.name}@{d.source.version}": d for d in w.definitions}
    if any(x["definition"] not in known or "from_stage" not in x for x in records):
        return records
    return [
        x | {at: _code(x[at], known[x["definition"]], w) for at in ("stage", "from_stage")} for x in records
    ]


def _code(name: str | None, d: Compiled, w: World) -> int | str | None:
    if name is None or not name.startswith("retired:"):
        return d.codes.get(name or "", name)
    former = [
        code for x in reversed(w.definitions) for code, was in x.names.items() if f"retired:{was}" == name
    ]
    return next((code for code in former if code not in d.names), name)


@contextmanager
def bounds(entries: int, spacing: int) -> Iterator[None]:
    """A ledger that is short, and has snapshots close together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subject, "ENTRIES", entries)
        patch.setattr(subject, "SPACING", spacing)
        patch.setattr(fold, "SPACING", spacing)
        yield
