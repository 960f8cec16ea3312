"""Qualification is an edge, not a state: what follows from the scores as they are now.

`settle` runs after every event that could matter (upwards and downwards) and after timers (downwards only).
"""

from __future__ import annotations

from processors import consent, handoff, lifecycle, scoring
from processors.compiled import Compiled
from processors.definition.model import DAY
from processors.model import (
    CODE,
    EXPIRED,
    FADED,
    HELD_BACK,
    INACTIVE,
    LOST,
    NEVER,
    OPEN,
    RECYCLED,
    REJECTED,
    SILENT,
    UNQUALIFIED,
    Journey,
    State,
)
from processors.scope import Scope

#: What stands for a rule where no rule let a lead through.
HAND_RAISE, OVERRIDE = "hand-raise", "override"
#: Exits after which a lead can qualify again.
_RETURNS = frozenset((REJECTED, RECYCLED, LOST, EXPIRED, INACTIVE))


def settle(s: State, t: int, backfill: int, before: int, d: Compiled, scope: Scope) -> None:
    """After an event at ``t``; ``before`` is the level just before it."""
    j = s.journeys[-1]
    points = scoring.level(s, t, d)
    if j.at == d.known and points >= d.source.thresholds.engaged_min and lifecycle.reached(j) < d.engaged:
        lifecycle.enter(s, t, d.engaged, d, backfill)
    if s.answered and t > s.until and before < d.source.thresholds.up <= points:
        s.low = True  # it rose after its date: armed, even if something else still lacks
    if s.qualified:
        if _downwards(s, t, points, d) and _awaited(s, d):
            call(s, t, backfill, d, scope)
    elif is_person(s, d) and scoring.meets(s, t, points, d) and _armed(s, t, d):
        _qualify(s, t, backfill, d, scope)
    s.cross = scoring.falls_on(s, t, d) if s.qualified else 0


def settle_down(s: State, t: int, d: Compiled) -> None:
    """At a timer: time alone can only unqualify."""
    if s.qualified and _downwards(s, t, scoring.level(s, t, d), d):
        s.cross = scoring.falls_on(s, t, d)


def is_person(s: State, d: Compiled) -> bool:
    """Anonymous visitors are scored, and handed over only once they are known."""
    return len(s.journeys) - s.lives > 1 or any(
        d.known <= x & CODE < REJECTED for x in s.journeys[-1].entries
    )


def _downwards(s: State, t: int, points: int, d: Compiled) -> bool:
    """Does the lead stay qualified?"""
    if scoring.keeps(s, t, points, d):
        return True
    s.qualified = False
    s.cross = 0
    s.low = True
    if s.journeys[-1].at == d.mql:
        lifecycle.mark(s, t, UNQUALIFIED, d.mql)
    h = handoff.open_handoff(s)
    if h is not None:
        if d.source.policy.withdraw_when_unqualified:
            handoff.withdraw(s, t, "unqualified")
        elif not h.flags & FADED:
            handoff.change(s, h, flags=h.flags | FADED)
    return False


def _awaited(s: State, d: Compiled) -> bool:
    """Qualified, and not called only because sales was not to contact them; which they now allow."""
    return (
        s.journeys[-1].at == d.mql
        and handoff.open_handoff(s) is None
        and consent.granted(s, consent.SALES_CONTACT)
    )


def _armed(s: State, t: int, d: Compiled) -> bool:
    """Never answered; or a newer hand-raise; or, past the recycle date, engagement fell and rose, or has risen since."""
    return not s.answered or scoring.raised(s, t, d) or (t > s.until and s.low)


def _qualify(s: State, t: int, backfill: int, d: Compiled, scope: Scope) -> None:
    j = s.journeys[-1]
    raised = scoring.raised(s, t, d)
    if j.exited:
        if j.at not in _RETURNS:
            return
        if not _goes_on(j, t, raised, d):
            lifecycle.begin(s, t, d, backfill)
    s.qualified = True
    s.low = False
    j = s.journeys[-1]
    if j.exited:
        lifecycle.re_enter(s, t, d.mql, backfill)
    elif j.at < d.mql:
        lifecycle.enter(s, t, d.mql, d, backfill)
    if s.journeys[-1].at == d.mql and handoff.open_handoff(s) is None:
        call(s, t, backfill, d, scope)


def call(s: State, t: int, backfill: int, d: Compiled, scope: Scope) -> None:
    """Hand over, unless the person said that sales must not contact them."""
    if not consent.granted(s, consent.SALES_CONTACT):
        lifecycle.mark(s, t, HELD_BACK, d.mql)
        return
    raised = scoring.raised(s, t, d)
    handoff.make(s, t, d, scope, backfill=backfill, rule=admitting_rule(s, t, d), raised=raised)


def hear(s: State, t: int, backfill: int, d: Compiled) -> None:
    """A hand is raised in front of us while a call lies open that history made and nobody heard of: the one after it
    is made, as after an answer. Left open, it would use the hand up when it expires."""
    h = handoff.open_handoff(s)
    if backfill or h is None or not h.flags & SILENT or h.touched:  # sales is at it, be it from its own list
        return
    if scoring.meets(s, t, scoring.level(s, t, d), d):
        handoff.withdraw(s, t, "hand raised anew")
        s.qualified = False


def _goes_on(j: Journey, t: int, raised: bool, d: Compiled) -> bool:
    """Does re-arming continue this journey (attempt + 1), or start the next one?"""
    if j.at == EXPIRED:
        return True
    ended = j.entries[-1] >> 9
    return j.at == REJECTED and raised and t - ended <= d.source.policy.reraise_days * DAY


def admitting_rule(s: State, t: int, d: Compiled) -> str:
    """The engagement rule that contributes most; the hand-raise, or else the manual override, where only that let the
    lead through."""
    th = d.source.thresholds
    day = d.days.day(t)
    by_score = s.fit >= th.fit_min and scoring.level(s, t, d) >= th.up
    machine = by_score and scoring.engagement(s, day, d) >= th.up
    if scoring.raised(s, t, d) and not (machine and consent.granted(s, consent.PROFILING)):
        return HAND_RAISE
    if by_score and not machine:
        return OVERRIDE
    best, most = "", 0
    for index, acc in s.acc.items():
        rule = d.rules[index]
        points = scoring.faded(acc, day, rule)
        if rule.cap:
            points = min(points, rule.cap)
        if (points, best) > (most, rule.name) or not best:
            best, most = rule.name, points
    return best


def arm(s: State, d: Compiled, scope: Scope) -> None:
    """Set the instant of the next timer. It may come too early and find nothing to do; never too late."""
    due = s.cross if s.cross and s.qualified else NEVER
    if s.override[1]:
        due = min(due, s.override[1])
    h = handoff.ticking(s)
    if h is not None:
        due = min(due, handoff.next_due(h, scope))
        if s.hours + 1 < len(scope.definitions):  # its holidays may move the clocks
            due = min(due, scope.definitions[s.hours + 1].source.effective_at)
    elif s.journeys and s.journeys[-1].at < d.mql:
        due = min(due, s.last + d.source.policy.inactive_days * DAY)
    if s.definition + 1 < len(scope.definitions):
        due = min(due, swept_at(s, scope))
    # A late fact can move a trigger behind the due instant that was said: time does not go back for it.
    s.due = max(due, s.last)


def swept_at(s: State, scope: Scope) -> int:
    """When a newer definition looks at the lead although nothing happens; NEVER if none does."""
    if not s.journeys:
        return NEVER
    later = scope.definitions[s.definition + 1 :]
    return min((d.sweep_at(scope.subject) for d in later if d.source.sweep), default=NEVER)


def fire(s: State, t: int, d: Compiled, scope: Scope) -> None:
    """The timers at ``t``."""
    if s.hours + 1 < len(scope.definitions):
        handoff.keep_hours(s, t, scope)
    h = handoff.ticking(s)
    if h is not None and not h.paused:
        h = handoff.fire(s, h, t, scope)
        if h.outcome == OPEN and h.expires and h.expires <= t:
            handoff.lapse(s, h, t)
            handoff.answered(s, t, t)
            lifecycle.leave(s, t, EXPIRED)
    if s.override[1] and s.override[1] <= t:
        s.override = (0, 0)
    settle_down(s, t, d)
    j = s.journeys[-1] if s.journeys else None
    if j is not None and j.at < d.mql and t >= s.last + d.source.policy.inactive_days * DAY:
        lifecycle.leave(s, t, INACTIVE)
        s.answered, s.until, s.low, s.qualified = True, t, True, False
