"""Which handoff is which, and when it could first be known: what was said, held against what is decided now.

A handoff's episode lasts from its trigger until its outcome. A decided handoff takes over id, start and owner of the
said one whose episode it overlaps, in event-time order (DOMAIN 5). While the fold runs the end of a new episode is
not known yet, so the match is a guess; `apart` finds the wrong ones, and `fold.settled` folds again without them.
"""

from __future__ import annotations

from itertools import accumulate

from processors.ledger import recorded_at
from processors.model import NEVER, OPEN, Handoff, Minted, State
from processors.scope import Scope

#: Instants at which it is tried whether a handoff could have been known: beyond that, when all was known.
_TRIALS = 32


def end_of(h: Handoff) -> int:
    return h.ended if h.outcome != OPEN else NEVER


def all_handoffs(s: State) -> list[Handoff]:
    return [h for j in s.journeys for h in j.handoffs]


def said_before(t: int, used: set[tuple[str, int]], scope: Scope, silent: bool) -> Minted | None:
    """The said handoff that one decided at ``t`` continues: rather one that was open at ``t`` than one that began
    later, rather one that was answered, then the same trigger, then the earliest.

    :param silent: history completed its ground. Of two that were triggered at ``t`` the one that calls nobody comes
        first, and ends as a hand is raised: so it is not the other, whatever became of that.
    """
    best: Minted | None = None
    first: tuple[bool, bool, int, bool, bool, bool, bool, int, int] | None = None
    merged = any(m.of != scope.subject for m in scope.minted)
    settled = merged and not scope.claims
    for m in scope.minted:
        name = (m.of, m.ordinal)
        if m.end < t or name in used or (*name, t) in scope.banned:
            continue
        # Of two leads' calls that are one now, the one to be answered first stays (case 15).
        first_due = (not m.pinned, m.due or NEVER) if merged else (False, 0)
        again = settled and m.trigger != t
        other = m.trigger == t and m.silent != silent
        order = (again, *first_due, m.trigger > t, other, not m.pinned, m.trigger != t, m.trigger, m.ordinal)
        if first is None or order < first:
            best, first = m, order
    return best


def answered_before(t: int, named: str, used: set[tuple[str, int]], scope: Scope) -> Minted | None:
    """The said handoff that an answer at ``t`` pinned, although its ground is gone now."""
    for m in scope.minted:
        if m.pinned and m.trigger < t <= m.end and (m.of, m.ordinal) not in used and named in ("", m.id):
            return m
    return None


def apart(s: State, said: tuple[Minted, ...]) -> frozenset[tuple[str, int, int]]:
    """Pairs of a said and a decided handoff whose episodes do not overlap."""
    by_name = {(m.of, m.ordinal): m for m in said}
    out = set()
    for h in all_handoffs(s):
        m = by_name.get((h.of, h.ordinal))
        if m is not None and not (h.trigger <= m.end and m.trigger <= end_of(h)):
            out.add((h.of, h.ordinal, h.trigger))
    return frozenset(out)


def torn(
    s: State, said: tuple[Minted, ...], banned: frozenset[tuple[str, int, int]]
) -> frozenset[tuple[str, int, int]]:
    """Those of the excluded pairs whose said handoff is found nowhere, although the decided one overlaps with it."""
    found = {(h.of, h.ordinal) for h in all_handoffs(s)}
    known = {(m.of, m.ordinal) for m in said}
    new = [h for h in all_handoffs(s) if (h.of, h.ordinal) not in known]
    lost = [m for m in said if (m.of, m.ordinal) not in found]
    return frozenset(
        (m.of, m.ordinal, h.trigger)
        for m in lost
        for h in new
        if (m.of, m.ordinal, h.trigger) in banned and h.trigger <= m.end and m.trigger <= end_of(h)
    )


def start_of(s: State, t: int, scope: Scope) -> int:
    """When a handoff decided at ``t`` could first be known, so that its clocks may start.

    The earliest instant K from ``t`` on such that the fold of what had been recorded by K has this episode: a fact
    that came late and changes nothing moves no clock. It depends on the facts alone, so a worker that catches up finds
    the start that a live one said. Folded is only where records came in another order than they happened.
    """
    if s.known <= t or scope.probing:
        return max(t, s.known)
    _, items = scope.history()
    others = scope.apart()
    recorded = [recorded_at(e[0], e[2]) for e in items]
    trigger = sum((e[0], e[1]) < (s.a, s.b) for e in items)
    earliest_after = [*accumulate(reversed(recorded), min)][::-1]
    instants = {k for k in recorded if t < k < s.known}
    for _, run in others:
        instants.update(k for e in run if t < (k := recorded_at(e[0], e[2])) < s.known)
    for by in [t, *sorted(instants)][:_TRIALS]:
        if any(_has_episode(scope.heard(by, run, None), s, t) for until, run in others if by < until):
            return by  # whoever seemed to be another person had it then
        missing = next((n for n, k in enumerate(recorded) if k > by), len(items))
        if missing <= trigger and earliest_after[missing] > by and s.fired != t:
            continue  # all that came before the trigger, and it was not enough
        if _has_episode(scope.heard(by, None, s), s, t):
            return by
    return s.known


def _has_episode(heard: State | None, s: State, t: int) -> bool:
    """Did one who had heard this much know of an episode at or after ``t`` that is none of the earlier ones of ``s``?"""
    if heard is None:
        return False
    free = all_handoffs(heard)
    for h in all_handoffs(s):
        same = next((x for x in free if x.trigger <= end_of(h) and h.trigger <= end_of(x)), None)
        if same is not None:
            free.remove(same)
    return any(end_of(x) >= t for x in free)
