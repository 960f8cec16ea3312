"""Handoffs: the call on sales, its clocks, its one outcome.

A handoff is decided by the fold and immutable; what was said of it before (its id, the start of its clocks,
its owner) comes in through the scope and is kept.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from hashlib import blake2b
from math import log

from msgspec.structs import replace

from processors import priority, scoring
from processors.calendar import Calendar
from processors.compiled import Compiled
from processors.definition.model import DAY, Reason, SlaPolicy
from processors.episodes import all_handoffs, end_of, said_before, start_of
from processors.lifecycle import put
from processors.model import (
    ACCEPTED,
    ESCALATED,
    FADED,
    HAND_RAISED,
    LAPSED,
    NEVER,
    OPEN,
    SATURATED,
    SILENT,
    WITHDRAWN,
    Handoff,
    Minted,
    Route,
    State,
    handoff_id,
)
from processors.reference import Owner
from processors.scope import Scope

#: The date of return of who was archived.
ARCHIVED = 1 << 60


def open_handoff(s: State) -> Handoff | None:
    """The one handoff that waits for an answer, if any: always the last one of the last journey."""
    if not s.journeys:
        return None
    handoffs = s.journeys[-1].handoffs
    return handoffs[-1] if handoffs and handoffs[-1].outcome == OPEN else None


def ticking(s: State) -> Handoff | None:
    """The handoff that has a clock running: the open one, or one that was accepted and waits for its meeting, or, where
    a system accepted it, for its first touch."""
    if not s.journeys or s.left or not s.journeys[-1].handoffs:
        return None
    h = s.journeys[-1].handoffs[-1]
    if h.outcome == OPEN:
        return h
    waits = (h.due_meet and not h.met and not h.late_meet) or _untouched(h)
    return h if h.outcome == ACCEPTED and waits and not s.journeys[-1].exited else None


def _untouched(h: Handoff) -> bool:
    return bool(h.due_touch and not h.touched and not h.late_touch)


def change(s: State, h: Handoff, **to: object) -> Handoff:
    """Replace the last handoff of the last journey."""
    j = s.journeys[-1]
    new = replace(h, **to)
    put(s, replace(j, handoffs=(*j.handoffs[:-1], new)))
    return new


def find(s: State, named: str) -> tuple[int, Handoff] | None:
    """(index of the journey, handoff) with this id."""
    for n, j in enumerate(s.journeys):
        for h in j.handoffs:
            if h.id == named:
                return n, h
    return None


def _values(s: State) -> dict[str, object]:
    return {**s.attributes, "segment": s.segment, "source": s.source or ""}


def policy_of(h: Handoff, scope: Scope) -> SlaPolicy:
    return scope.definitions[h.definition].source.sla[h.policy]


def make(
    s: State,
    t: int,
    d: Compiled,
    scope: Scope,
    *,
    backfill: int,
    rule: str,
    raised: bool,
    outcome: int = OPEN,
    flags: int = 0,
    known_as: Minted | None = None,
    chosen: Route | None = None,
) -> Handoff:
    """Hand the lead over at ``t``.

    The clocks start when the ground could be known (`episodes.start_of`), for back-fill at the trigger itself. A
    handoff said before keeps id, start and owner, and whether anybody was called. Where the ``outcome`` is given nobody
    is waited for: no clock runs but the meeting's.

    :param chosen: who has it, where nobody has to be found.
    """
    used = taken(s)
    said = said_before(t, used, scope, bool(backfill)) if known_as is None else known_as
    silent = bool(backfill)
    if said is not None:
        of, ordinal, start, silent = said.of, said.ordinal, said.start, said.silent
    else:
        of = scope.subject
        ordinal = 1 + max(
            max((m.ordinal for m in scope.minted if m.of == of), default=0),
            max((n for o, n in used if o == of), default=0),
        )
        start = t if backfill else start_of(s, t, scope)
    s.latest = max(s.latest, start)
    definition = s.definition
    if known_as is not None:
        definition = max(n for n in range(definition + 1) if n == 0 or _in_force(n, known_as.trigger, scope))
        d = scope.definitions[definition]
    if silent:
        flags |= SILENT
    if raised:
        flags |= HAND_RAISED
    values = _values(s)
    n = d.policy(values)
    policy = d.source.sla[n]
    if said is not None:
        chosen = said.routes[0]
    elif chosen is None:
        chosen = route(s, values, handoff_id(of, ordinal), start, d, scope)
    waits = outcome == OPEN
    if s.saturated:
        flags |= SATURATED
    calendar = calendar_of(s, definition, n, chosen.owner, start, scope)
    j = s.journeys[-1]
    h = Handoff(
        of=of,
        ordinal=ordinal,
        attempt=len(j.handoffs) + 1,
        definition=definition,
        policy=n,
        trigger=t if known_as is None else known_as.trigger,
        start=start,
        team=chosen.team,
        owner=chosen.owner,
        routed=chosen.why,
        assigned=start if chosen.owner else 0,
        due_touch=calendar.add(start, policy.first_touch) if policy.first_touch and waits else 0,
        due_decide=calendar.add(start, policy.decision) if policy.decision and waits else 0,
        due_meet=calendar.add(start, policy.meeting) if policy.meeting else 0,
        expires=calendar.add(start, policy.expire_after) if policy.expire_after and waits else 0,
        rule=rule,
        flags=flags,
        outcome=outcome,
        ended=t if outcome else 0,
        touched=t if outcome == ACCEPTED else 0,
        call=priority.judged(s, t, d, raised),
        complete=scoring.known_of(s.attributes, d)[0],
        owned=start if chosen.owner else 0,
    )
    put(s, replace(j, handoffs=(*j.handoffs, h)))
    return h


def _in_force(n: int, t: int, scope: Scope) -> bool:
    return scope.definitions[n].source.effective_at <= t


def taken(s: State) -> set[tuple[str, int]]:
    """Names of the handoffs decided so far."""
    return {(h.of, h.ordinal) for h in all_handoffs(s)}


def route(
    s: State,
    values: dict[str, object],
    named: str,
    at: int,
    d: Compiled,
    scope: Scope,
    but: Collection[str] = (),
) -> Route:
    """The owner of the matched account, else by rules a team, and in it the lead's owner or a weighted rendezvous hash.

    Who owns an account, a CRM tells as the lead's attribute ``account_owner``; their team is that of the reference
    data.
    """
    keeper = s.attributes.get("account_owner") if s.account else None
    if type(keeper) is str and keeper not in but:
        found = scope.reference.owner(keeper, at)
        if found is not None and found.present(at):
            return Route(at, found.team, keeper, "owner of the account")
    team, why = d.source.default_team, "default team"
    for rule in d.source.routing:
        if rule.when is None or rule.when.test(values):
            team, why = rule.team, f"rule {rule.name}"
            break
    owners = {o.owner: o for o in scope.reference.owners_of(team, at)}
    owners = {name: o for name, o in owners.items() if name not in but}
    if s.owner in owners:
        return Route(at, team, s.owner, f"{why}; owner of the lead")
    if not owners:
        return Route(at, team, "", f"{why}; nobody present")
    chosen = max(sorted(owners), key=lambda name: _rendezvous(named, owners[name]))
    return Route(at, team, chosen, f"{why}; hash among {len(owners)}")


def another(s: State, h: Handoff, t: int, d: Compiled, scope: Scope) -> Route:
    """Who takes over at ``t`` from the owner, and from all who have missed it: as it was said, or a new choice."""
    for m in scope.minted:
        if (m.of, m.ordinal) == (h.of, h.ordinal):
            for chosen in m.routes[max(1, len(h.routes)) :]:
                if chosen.at == t:
                    return chosen
    return route(s, _values(s), h.id, t, d, scope, but={h.owner, *(owner for _, owner, _ in h.missed)})


def _rendezvous(named: str, owner: Owner) -> float:
    """Weighted rendezvous score (Schindelhauer & Schomaker 2005): -weight / ln(u), u uniform by hash.

    A float, but of the choice only; the choice is said, and never made again by replay.
    """
    u = int.from_bytes(blake2b(f"{named}/{owner.owner}".encode(), digest_size=8).digest(), "big")
    return -owner.weight / log((u + 1) / (2**64 + 2))


def zone_of(owner: str, at: int, scope: Scope) -> str:
    """The owner's time zone, ``""`` where unknown: then the calendar's own."""
    found = scope.reference.owner(owner, at) if owner else None
    return found.time_zone if found is not None else ""


def reassign(
    s: State, h: Handoff, t: int, owner: str, team: str, why: str, scope: Scope, chosen: Route | None = None
) -> Handoff:
    """Another owner: the human clock starts anew, the decision's does not; the former one keeps a short grace.

    :param chosen: given where the owner was chosen, and not named by somebody.
    """
    t = max(t, h.start)  # a fact from before the clocks started costs nobody any time
    d = scope.definitions[h.definition]
    policy = d.source.sla[h.policy]
    calendar = calendar_of(s, h.definition, h.policy, owner, t, scope)
    former = calendar_of(s, h.definition, h.policy, h.owner, t, scope)
    to: dict[str, object] = {}
    if policy.first_touch and not h.touched:
        # while it is paused nothing of the new time is used up: `resume` counts from the pause
        to["due_touch"] = calendar.add(h.paused or t, policy.first_touch)
        if h.late_touch:  # that was the former owner's clock
            miss = (h.late_touch, owner_at(h, h.late_touch), bool(h.flags & ESCALATED))
            to |= {"missed": (*h.missed, miss), "late_touch": 0, "flags": h.flags & ~ESCALATED}
    if h.owner:
        until = former.add(t, d.source.policy.previous_owner_ms)
        to["formers"] = (*h.formers, (h.owner, t, until))
    if chosen is not None:
        to["routes"] = (*(h.routes or (first_route(h),)), chosen)
    elif not h.routes:
        to["routes"] = (first_route(h),)
    return change(s, h, owner=owner, team=team or h.team, routed=why, assigned=t, owned=h.owned or t, **to)


def owner_at(h: Handoff, t: int) -> str:
    """Who had it at ``t``."""
    return next((former for former, until, _ in h.formers if t < until), h.owner)


def first_route(h: Handoff) -> Route:
    """The choice made when the handoff was made."""
    return h.routes[0] if h.routes else Route(h.start, h.team, h.owner, h.routed)


def as_said(h: Handoff) -> Minted:
    """What would have been said of a handoff: of another fold's, for which it answers nothing."""
    routes, silent = h.routes or (first_route(h),), bool(h.flags & SILENT)
    return Minted(
        h.of, h.ordinal, h.trigger, end_of(h), h.start, routes, silent=silent, released=h.released
    )  # fmt: skip


def late(h: Handoff, due: int, t: int) -> bool:
    """Is ``t`` after ``due``? What comes while a clock is paused is in time, if it was then."""
    return 0 < due < t and not (h.paused and h.paused <= due)


def touch(s: State, h: Handoff, t: int, meeting: bool) -> None:
    """A human contact: stops the first-touch clock, and the meeting's if it was one. At the due instant is in time."""
    to: dict[str, object] = {}
    if not h.touched:
        to["touched"] = t
        if late(h, h.due_touch, t) and not h.late_touch:
            to["late_touch"] = h.due_touch
    if meeting and not h.met:
        to["met"] = t
        if late(h, h.due_meet, t) and not h.late_meet:
            to["late_meet"] = h.due_meet
    if to:
        change(s, h, **to)


def accept(s: State, h: Handoff, t: int, scope: Scope, flags: int = 0, human: bool = True) -> None:
    """Sales takes the lead. Accepted after a breach: both are true. A system that accepts touches nobody."""
    if h.paused:
        resume(s, h, t, scope)
        h = s.journeys[-1].handoffs[-1]
    to: dict[str, object] = {} if h.touched or not human else {"touched": t}
    if human and _untouched(h) and late(h, h.due_touch, t):
        to["late_touch"] = h.due_touch
    if late(h, h.due_decide, t):
        to["late_decide"] = h.due_decide
    change(s, h, outcome=ACCEPTED, ended=t, flags=h.flags | flags, **to)
    answered(s, t, 0)


def answered(s: State, t: int, until: int) -> None:
    """An answer uses up the hand-raises so far; the lead re-arms by a newer one, or after ``until``."""
    s.consumed = max(s.consumed, t)
    s.answered = True
    s.qualified = s.low = False
    s.cross = 0
    s.until = until


def returns(reason: Reason | None, usual_days: int, t: int) -> int:
    """Until when (ms) only a newer hand-raise re-arms who was sent back at ``t``. A code that the definition does not
    know says nothing: then the usual time."""
    if reason is not None and reason.action != "recycle":
        return ARCHIVED
    days = reason.after_days if reason is not None and reason.after_days else usual_days
    return t + days * DAY


def withdraw(s: State, t: int, why: str) -> None:
    """Nobody answered and nobody needs to."""
    h = open_handoff(s)
    if h is not None:
        change(s, h, outcome=WITHDRAWN, ended=t, reason=why)


def lapse(s: State, h: Handoff, t: int) -> None:
    """Nobody answered. A clock that ran out within its grace has run out as well."""
    to: dict[str, object] = {}
    if h.due_touch and not h.touched and h.due_touch <= t:
        to["late_touch"] = h.due_touch
    if h.due_decide and h.due_decide <= t:
        to["late_decide"] = h.due_decide
    change(s, h, outcome=LAPSED, ended=t, **to)


def pause(s: State, h: Handoff, t: int, scope: Scope) -> None:
    t = max(t, h.start)
    if not h.paused and policy_of(h, scope).pausable:
        change(s, h, paused=t, pauses=(*h.pauses, t))


def resume(s: State, h: Handoff, t: int, scope: Scope) -> None:
    """What was left of each clock when it was paused is left of it now."""
    if not h.paused:
        return
    t = max(t, h.paused)
    calendar = calendar_of(s, h.definition, h.policy, h.owner, t, scope)
    change(s, h, paused=0, pauses=(*h.pauses, t), **_moved(h, h.paused, calendar, t, calendar))


def release(s: State, h: Handoff, t: int, scope: Scope) -> None:
    """A call goes out that was held back: nobody of sales could know of it, so its clocks start now. Only once, not
    where sales has been in touch, and not where it was said without having been held: what was said of its start stays.
    """
    said = next((m for m in scope.minted if (m.of, m.ordinal) == (h.of, h.ordinal)), None)
    if h.released or h.touched or h.flags & SILENT or (said is not None and not said.released):
        return
    t = said.released if said is not None else max(t, h.start)
    if h.paused:
        resume(s, h, t, scope)
    policy = policy_of(h, scope)
    calendar = calendar_of(s, h.definition, h.policy, h.owner, t, scope)
    due = {
        name: calendar.add(t, span) if span else 0
        for name, span in (
            ("due_touch", policy.first_touch), ("due_decide", policy.decision), ("due_meet", policy.meeting),
            ("expires", policy.expire_after),
        )
    }  # fmt: skip
    had = t if h.owner else 0
    change(
        s, s.journeys[-1].handoffs[-1], released=t, assigned=had, owned=had, flags=h.flags & ~ESCALATED,
        late_touch=0, late_decide=0, late_meet=0, missed=(), **due,
    )  # fmt: skip


def _moved(h: Handoff, since: int, counted: Calendar, t: int, calendar: Calendar) -> dict[str, object]:
    """The instants of the clocks of which, by ``counted``, as much is left at ``t`` as was at ``since``."""
    dues = {
        "due_touch": h.due_touch,
        "due_decide": h.due_decide,
        "due_meet": h.due_meet,
        "expires": h.expires,
    }
    return {k: calendar.add(t, counted.between(since, due)) for k, due in dues.items() if due > since}


def calendar_of(s: State, definition: int, policy: int, owner: str, t: int, scope: Scope) -> Calendar:
    """Opening hours by the version that governs, holidays as they are known now, in the owner's zone."""
    d = scope.definitions[definition].source
    name = d.sla[policy].calendar
    calendar = d.calendars[name]
    newer = scope.definitions[s.hours].source.calendars.get(name) if s.hours > definition else None
    if newer is not None:
        calendar = _with_days_of(calendar, newer)
    zone = zone_of(owner, t, scope)
    return calendar.in_zone(zone) if zone else calendar


@lru_cache(64)
def _with_days_of(calendar: Calendar, newer: Calendar) -> Calendar:
    if (calendar.holidays, calendar.extra) == (newer.holidays, newer.extra):
        return calendar
    return Calendar(calendar.time_zone, dict(enumerate(calendar.hours)), newer.holidays, newer.extra)


def keep_hours(s: State, t: int, scope: Scope) -> bool:
    """A holiday added after the start counts for open clocks (case 44): what was left at the change is left of it.

    :returns: whether any clock moved.
    """
    moved = False
    while s.hours + 1 < len(scope.definitions) and _in_force(s.hours + 1, t, scope):
        h = ticking(s)
        if h is None or h.definition > s.hours:
            s.hours += 1
            continue
        before = calendar_of(s, h.definition, h.policy, h.owner, t, scope)
        s.hours += 1
        after = calendar_of(s, h.definition, h.policy, h.owner, t, scope)
        if after != before:
            since = h.paused or max(scope.definitions[s.hours].source.effective_at, h.start)
            change(s, h, **_moved(h, since, before, since, after))
            moved = True
    return moved


def next_due(h: Handoff, scope: Scope) -> int:
    """The next instant at which a clock of a `ticking` handoff must be looked at; a breach waits for the grace."""
    if h.paused:
        return NEVER
    grace = policy_of(h, scope).grace
    due = (h.expires or NEVER) if h.outcome == OPEN else NEVER
    if _untouched(h):
        due = min(due, h.due_touch + grace)
    if h.outcome == OPEN and h.due_decide and not h.late_decide:
        due = min(due, h.due_decide + grace)
    if h.due_meet and not h.met and not h.late_meet:
        due = min(due, h.due_meet + grace)
    return due


def fire(s: State, h: Handoff, t: int, scope: Scope) -> Handoff:
    """The clocks whose instant plus grace has come: breaches are dated at the due instant. Expiry is the caller's."""
    policy = policy_of(h, scope)
    to: dict[str, object] = {}
    open_ = h.outcome == OPEN
    if _untouched(h) and h.due_touch + policy.grace <= t:
        to["late_touch"] = h.due_touch
        if policy.escalate != "none":
            to["flags"] = h.flags | ESCALATED
    if open_ and h.due_decide and not h.late_decide and h.due_decide + policy.grace <= t:
        to["late_decide"] = h.due_decide
    if h.due_meet and not h.met and not h.late_meet and h.due_meet + policy.grace <= t:
        to["late_meet"] = h.due_meet
    if not to:
        return h
    h = change(s, h, **to)
    if "late_touch" in to and policy.escalate == "reassign":
        chosen = another(s, h, t, scope.definitions[h.definition], scope)
        if chosen.owner:
            h = reassign(s, h, t, chosen.owner, chosen.team, f"escalated; {chosen.why}", scope, chosen)
    return h


def faded(s: State, h: Handoff) -> None:
    change(s, h, flags=h.flags | FADED)
