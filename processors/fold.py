"""The one transition function: facts in total order, timers between them, state constant in between.

The incremental fold, the reference fold of the tests, replay, explain and what-if all run `step` and `fire`;
they differ only in where they start. Events by key; a timer comes after every event at or before its instant,
so a touch at the due instant is in time, and the result as of an instant does not depend on when anybody looked.
There is no clock, no I/O, no randomness here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from processors import consent, episodes, forgetting, handoff, lifecycle, qualify, scoring
from processors.compiled import Compiled
from processors.events import BACKFILL, FACT, KIND
from processors.fact import Fact
from processors.facts import FACTS
from processors.ledger import Item, lag, recorded_at
from processors.model import ACCEPTED, DISQUALIFIED, OPEN, SATURATED, State, decode_state, encode
from processors.scope import Scope

#: Events between two snapshots: a late event folds again from the last one before it.
SPACING = 64
#: Rounds of matching; each excludes a pair for good, so there are few.
_ROUNDS = 16
_SPAM = KIND["spam_reported"]
#: Facts that only the mirror of the outside world: they neither start a journey nor settle anything.
_QUIET = frozenset(KIND[name] for name in ("discovery_recorded", "objection_raised", "material_shared"))
_DISCOVERY = KIND["discovery_recorded"]
#: Facts that change what the context of a handoff tells, besides engagement and what sales discovers.
_TELLING = frozenset(
    KIND[name] for name in ("attributes_changed", "consent_changed", "share_opened", "share_amount")
)
_LINKS = frozenset((KIND["merged"], KIND["unmerged"]))
_ERASED, _CONSENT = KIND["erased"], KIND["consent_changed"]


def new_state() -> State:
    return State()


def feed(
    s: State, events: Iterable[Item], scope: Scope, snapshot: Callable[[State], None] | None = None
) -> None:
    """Apply events, in order and all after ``s``, with the timers between them."""
    for e in events:
        while s.due < e[0] >> 22:
            fire(s, scope)
        step(s, e, scope)
        if snapshot is not None and (not s.n % SPACING or s.left) and s.b == e[1]:
            snapshot(s)


def elapse(s: State, now: int, scope: Scope) -> None:
    """Fire the timers up to and including ``now``."""
    while s.due <= now:
        fire(s, scope)


def step(s: State, e: Item, scope: Scope) -> None:
    """One event."""
    a, b, c, data = e
    kind = b >> 8 & 255
    if kind in _LINKS:  # says who is who and changes nothing else, so that unmerge is the exact inverse
        scope.linking = True
        return
    t = a >> 22
    s.a, s.b = a, b
    s.n += 1
    s.last = t
    known = t + lag(c >> 48)
    if known > s.known:
        s.known = known
    adopted = s.definition + 1 < len(scope.definitions) and _adopt(s, t, scope)
    d = scope.definitions[s.definition]
    backfill = b & BACKFILL
    if kind >= FACT:
        if kind not in _QUIET:
            _fact(s, kind, Fact(t, b, backfill, data, d, scope))
        elif kind == _DISCOVERY:
            _news(s)
        if adopted and s.journeys:
            _look_anew(s, t, backfill, d, scope)
        return
    if not s.journeys or s.left:
        lifecycle.started(s, t, d, backfill)
        qualify.arm(s, d, scope)
    if kind == _SPAM:
        _disqualify(s, t, "spam_reported")
    if s.agents:
        b = scoring.as_classified(s, b, data)
    before = scoring.level(s, t, d) if s.answered else 0
    moved = (
        scoring.score(s, t, b, data, d) if not s.consent or consent.granted(s, consent.PROFILING) else False
    )
    if d.raises[kind] and scoring.is_hand_raise(b, data, d):
        s.raised = max(s.raised, t)
        moved = True
        qualify.hear(s, t, backfill, d)
    if not moved:
        if adopted:
            _look_anew(s, t, backfill, d, scope)
        return
    if s.answered and not s.low and before < d.source.thresholds.down:
        s.low = True  # it fell since the answer, so it may rise again; told by what counts, as the rest may be thinned
    journeys, cross = s.journeys, s.cross
    _news(s)
    qualify.settle(s, t, backfill, before, d, scope)
    if adopted or s.journeys is not journeys or s.cross != cross:
        qualify.arm(s, d, scope)


def _fact(s: State, kind: int, f: Fact) -> None:
    if kind == _ERASED:
        forgetting.forget(s, f.t, f.d)
        return qualify.arm(s, f.d, f.scope)
    if s.past and forgetting.is_of_the_past(s, kind, f.t, f.data):
        return qualify.arm(s, f.d, f.scope)
    before = scoring.level(s, f.t, f.d)
    starts = not s.journeys or (s.left and kind != _CONSENT)
    if starts:
        lifecycle.started(s, f.t, f.d, f.backfill)
    handler = FACTS.get(kind)
    if handler is not None:
        told = (s.attributes, s.consent, s.shares) if kind in _TELLING and s.journeys[-1].handoffs else None
        handler(s, f)
        if told is not None and told != (s.attributes, s.consent, s.shares):
            _news(s)
        if starts:
            lifecycle.passed_through(s, f.d)
        qualify.settle(s, f.t, f.backfill, before, f.d, f.scope)
        qualify.arm(s, f.d, f.scope)
    elif s.due < s.last:
        qualify.arm(s, f.d, f.scope)
    return None


def fire(s: State, scope: Scope) -> None:
    """The timers at the due instant. A sweep comes last, as the next event would."""
    t = s.fired = s.due
    d = scope.definitions[s.definition]
    qualify.fire(s, t, d, scope)
    if s.definition + 1 < len(scope.definitions) and qualify.swept_at(s, scope) <= t:
        _adopt(s, t, scope, swept=True)
        d = scope.definitions[s.definition]
        # a history that was only imported calls nobody: silent, if the lead's newest event was back-filled
        _look_anew(s, t, s.b & BACKFILL, d, scope)
        qualify.fire(s, t, d, scope)  # a call that was said before, for another reason, may be due already
    qualify.arm(s, d, scope)
    if s.due <= t:
        raise AssertionError(f"a timer of {scope.subject} at {t} leaves a timer at {s.due}")


def _look_anew(s: State, t: int, backfill: int, d: Compiled, scope: Scope) -> None:
    """What follows from the new definition by itself: the score did not move."""
    qualify.settle(s, t, backfill, scoring.level(s, t, d), d, scope)
    qualify.arm(s, d, scope)


def _adopt(s: State, t: int, scope: Scope, swept: bool = False) -> bool:
    """A new definition reaches a lead with the lead's next event, or a sweep; what the ledger still has is scored
    again. Is it another one than before?"""
    if handoff.keep_hours(s, t, scope):
        qualify.arm(s, scope.definitions[s.definition], scope)
    before = scope.definitions[s.definition]
    s.definition = s.hours
    if scope.definitions[s.definition] is before:
        return False
    d: Compiled = scope.definitions[s.definition]
    lifecycle.renumber(s, before, d)
    scoring.rescore(s, scope, d, including=swept)
    s.barred = s.barred & ~1 | scoring.barred(s.attributes, d)
    return True


def _disqualify(s: State, t: int, reason: str) -> None:
    s.barred |= 2
    if not s.journeys[-1].exited and handoff.open_handoff(s) is not None:
        handoff.withdraw(s, t, "disqualified")
    if not s.journeys[-1].exited and not s.shares:
        lifecycle.leave(s, t, DISQUALIFIED, reason)
        s.qualified = False


def _news(s: State) -> None:
    """What becomes known after the call belongs into its context, for as long as sales works on the lead."""
    j = s.journeys[-1] if s.journeys else None
    if j is not None and j.handoffs and not j.exited and j.handoffs[-1].outcome in (OPEN, ACCEPTED):
        h = j.handoffs[-1]
        flags = h.flags | SATURATED if s.saturated else h.flags
        handoff.change(s, h, news=h.news + 1, flags=flags)


def as_heard(by: int, scope: Scope, of: list[Item] | None = None, now: State | None = None) -> State:
    """What could be known at ``by``: the fold, as of then, of what had been recorded of the row's history, or of facts
    that were not known to be its own.

    :param now: what is known; of the calls that could be made by then it has the starts and the owners.
    """
    base, items = scope.history() if of is None else (None, of)
    heard = [e for e in items if recorded_at(e[0], e[2]) <= by]
    made = [] if now is None else [h for h in episodes.all_handoffs(now) if h.start <= by]
    said = tuple(handoff.as_said(h) for h in made)
    inner = Scope(
        scope.subject, scope.definitions, scope.reference, lambda: (base, heard), said, probing=True
    )
    s = decode_state(encode(base)) if base is not None else new_state()
    feed(s, heard, inner)
    elapse(s, by, inner)
    return s


def look_into(scope: Scope, history: Callable[[], tuple[State | None, list[Item]]]) -> None:
    """Give the scope its history, and what follows from it."""
    scope.history = history
    scope.heard = lambda by, of, now: as_heard(by, scope, of, now)


def settled(run: Callable[[], State], scope: Scope) -> State:
    """Fold until every decided handoff that took over a said one overlaps with it; each round excludes wrong pairs.

    One that does not overlap only as long as it has the name is the same: then an answer meant it by its name.
    """
    same: frozenset[tuple[str, int, int]] = frozenset()
    for _ in range(_ROUNDS):
        s = run()
        apart = episodes.apart(s, scope.minted) - same
        if apart:
            scope.banned = scope.banned | apart
            continue
        torn = episodes.torn(s, scope.minted, scope.banned) if scope.banned else same
        if torn <= same:
            return s
        same |= torn
        scope.banned = scope.banned - torn
    return run()


def reference(items: Sequence[Item], now: int, scope: Scope, base: State | None = None) -> State:
    """From scratch, the law that every row's head must equal: sort, fold, fire up to ``now``.

    :param base: the state below the first fact, where what was there has been erased.
    """
    run = sorted(items, key=lambda e: (e[0], e[1]))
    look_into(scope, lambda: (base, run))
    due = [e for e in run if e[0] >> 22 <= now]

    def once() -> State:
        s = new_state() if base is None else decode_state(encode(base))
        feed(s, due, scope)
        elapse(s, now, scope)
        return s

    return settled(once, scope)
