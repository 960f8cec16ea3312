"""Handoffs: the call on sales, its clocks, its one outcome.

A handoff is decided by the fold and immutable; what was said of it before (its id, the start of its clocks,
its owner) comes in through the scope and is kept.
"""

from __future__ import annotations

from hashlib import blake2b
from math import log

from msgspec.structs import replace

from processors.compiled import Compiled
from processors.definition.model import SlaPolicy
from processors.lifecycle import put
from processors.model import (
    ACCEPTED,
    FADED,
    HAND_RAISED,
    LAPSED,
    NEVER,
    OPEN,
    SILENT,
    WITHDRAWN,
    Handoff,
    Minted,
    State,
    handoff_id,
)
from processors.reference import Owner
from processors.scope import Scope


def open_handoff(s: State) -> Handoff | None:
    """The one handoff that waits for an answer, if any: always the last one of the last journey."""
    if not s.journeys:
        return None
    handoffs = s.journeys[-1].handoffs
    return handoffs[-1] if handoffs and handoffs[-1].outcome == OPEN else None


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
) -> Handoff:
    """Hand the lead over at ``t``.

    The clocks start when the ground could be known: at the trigger, or when the last of the facts it rests on was
    recorded; for back-fill at the trigger itself. A handoff said before keeps id, start and owner.
    """
    j = s.journeys[-1]
    used = {(h.of, h.ordinal) for x in s.journeys for h in x.handoffs}
    said = _said_before(t, used, scope)
    silent = bool(backfill)
    if said is not None:
        of, ordinal, start = said.of, said.ordinal, said.start
        silent = silent or said.silent
    else:
        of = scope.subject
        ordinal = 1 + max(
            max((m.ordinal for m in scope.said if m.of == of), default=0),
            max((n for o, n in used if o == of), default=0),
        )
        start = t if backfill else max(t, s.known)
    if silent:
        flags |= SILENT
    if raised:
        flags |= HAND_RAISED
    values = _values(s)
    n = d.policy(values)
    policy = d.source.sla[n]
    if said is not None:
        team, owner, routed = said.team, said.owner, said.routed
    else:
        team, owner, routed = route(s, values, handoff_id(of, ordinal), start, d, scope)
    calendar = d.calendar(policy, zone_of(owner, start, scope))
    h = Handoff(
        of=of,
        ordinal=ordinal,
        attempt=len(j.handoffs) + 1,
        definition=s.definition,
        policy=n,
        trigger=t,
        start=start,
        team=team,
        owner=owner,
        routed=routed,
        assigned=start if owner else 0,
        due_touch=calendar.add(start, policy.first_touch) if policy.first_touch else 0,
        due_decide=calendar.add(start, policy.decision) if policy.decision else 0,
        due_meet=calendar.add(start, policy.meeting) if policy.meeting else 0,
        expires=calendar.add(start, policy.expire_after) if policy.expire_after else 0,
        rule=rule,
        flags=flags,
        outcome=outcome,
        ended=t if outcome else 0,
        touched=t if outcome == ACCEPTED else 0,
    )
    put(s, replace(j, handoffs=(*j.handoffs, h)))
    return h


def _said_before(t: int, used: set[tuple[str, int]], scope: Scope) -> Minted | None:
    """The earliest said handoff, not yet taken, whose episode had not ended at ``t``."""
    best: Minted | None = None
    for m in (*scope.claims, *scope.said):
        if m.end > t and (m.of, m.ordinal) not in used and (m.of, m.ordinal, t) not in scope.banned:
            if best is None or (not m.pinned, m.trigger, m.ordinal) < (not best.pinned, best.trigger, best.ordinal):
                best = m
    return best


def route(
    s: State, values: dict[str, object], named: str, at: int, d: Compiled, scope: Scope, but: str = ""
) -> tuple[str, str, str]:
    """(team, owner, reason): the account's owner, else rules to a team and a weighted rendezvous hash in it."""
    team, why = d.source.default_team, "default team"
    for rule in d.source.routing:
        if rule.when is None or rule.when.test(values):
            team, why = rule.team, f"rule {rule.name}"
            break
    owners = {o.owner: o for o in scope.reference.owners_of(team, at)}
    if s.owner and s.owner != but and s.owner in owners:
        return team, s.owner, f"{why}; owner of the lead"
    owners.pop(but, None)
    if not owners:
        return team, "", f"{why}; nobody present"
    chosen = max(sorted(owners), key=lambda name: _rendezvous(named, owners[name]))
    return team, chosen, f"{why}; hash among {len(owners)}"


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


def reassign(s: State, h: Handoff, t: int, owner: str, team: str, why: str, scope: Scope) -> Handoff:
    """Another owner: the human clock starts anew, the decision's does not; the former one keeps a short grace."""
    d = scope.definitions[h.definition]
    policy = d.source.sla[h.policy]
    calendar = d.calendar(policy, zone_of(owner, t, scope))
    former = d.calendar(policy, zone_of(h.owner, t, scope))
    return change(
        s,
        h,
        owner=owner,
        team=team or h.team,
        routed=why,
        assigned=t,
        due_touch=calendar.add(t, policy.first_touch) if policy.first_touch and not h.touched else h.due_touch,
        late_touch=h.late_touch,
        former=h.owner,
        former_until=former.add(t, d.source.policy.previous_owner_ms) if h.owner else 0,
    )


def touch(s: State, h: Handoff, t: int, meeting: bool, scope: Scope) -> None:
    """A human contact: stops the first-touch clock, and the meeting's if it was one. At the due instant is in time."""
    to: dict[str, object] = {}
    if not h.touched:
        to["touched"] = t
        if h.due_touch and t > h.due_touch and not h.late_touch:
            to["late_touch"] = h.due_touch
    if meeting and not h.met:
        to["met"] = t
        if h.due_meet and t > h.due_meet and not h.late_meet:
            to["late_meet"] = h.due_meet
    if to:
        change(s, h, **to)


def accept(s: State, h: Handoff, t: int, flags: int = 0) -> None:
    """Sales takes the lead. Accepted after a breach: both are true."""
    late = {"late_decide": h.due_decide} if h.due_decide and t > h.due_decide else {}
    touched = {} if h.touched else {"touched": t}
    if not h.touched and h.due_touch and t > h.due_touch:
        touched["late_touch"] = h.due_touch
    change(s, h, outcome=ACCEPTED, ended=t, flags=h.flags | flags, **touched, **late)
    answered(s, t, 0)


def answered(s: State, t: int, until: int) -> None:
    """An answer uses up the hand-raises so far; the lead re-arms by a newer one, or after ``until``."""
    s.consumed = max(s.consumed, t)
    s.answered = True
    s.qualified = s.low = False
    s.cross = 0
    s.until = until


def withdraw(s: State, t: int, why: str) -> None:
    """Nobody answered and nobody needs to."""
    h = open_handoff(s)
    if h is not None:
        change(s, h, outcome=WITHDRAWN, ended=t, reason=why)


def lapse(s: State, h: Handoff, t: int) -> None:
    change(s, h, outcome=LAPSED, ended=t)


def pause(s: State, h: Handoff, t: int, scope: Scope) -> None:
    if not h.paused and policy_of(h, scope).pausable:
        change(s, h, paused=t, pauses=(*h.pauses, t))


def resume(s: State, h: Handoff, t: int, scope: Scope) -> None:
    """What was left of each clock when it was paused is left of it now."""
    if not h.paused:
        return
    d = scope.definitions[h.definition]
    calendar = d.calendar(d.source.sla[h.policy], zone_of(h.owner, t, scope))

    def moved(due: int) -> int:
        return calendar.add(t, calendar.between(h.paused, due)) if due > h.paused else due

    change(
        s,
        h,
        paused=0,
        pauses=(*h.pauses, t),
        due_touch=moved(h.due_touch),
        due_decide=moved(h.due_decide),
        due_meet=moved(h.due_meet),
        expires=moved(h.expires),
    )


def next_due(h: Handoff, scope: Scope) -> int:
    """The next instant at which a clock of an open handoff must be looked at; a breach waits for the grace."""
    if h.paused:
        return NEVER
    grace = policy_of(h, scope).grace
    due = h.expires or NEVER
    if h.due_touch and not h.touched and not h.late_touch:
        due = min(due, h.due_touch + grace)
    if h.due_decide and not h.late_decide:
        due = min(due, h.due_decide + grace)
    if h.due_meet and not h.met and not h.late_meet:
        due = min(due, h.due_meet + grace)
    return due


def fire(s: State, h: Handoff, t: int, scope: Scope) -> Handoff:
    """The clocks whose instant plus grace has come: breaches are dated at the due instant. Expiry is the caller's."""
    policy = policy_of(h, scope)
    to: dict[str, object] = {}
    if h.due_touch and not h.touched and not h.late_touch and h.due_touch + policy.grace <= t:
        to["late_touch"] = h.due_touch
    if h.due_decide and not h.late_decide and h.due_decide + policy.grace <= t:
        to["late_decide"] = h.due_decide
    if h.due_meet and not h.met and not h.late_meet and h.due_meet + policy.grace <= t:
        to["late_meet"] = h.due_meet
    if not to:
        return h
    h = change(s, h, **to)
    if "late_touch" in to and policy.escalate == "reassign":
        d = scope.definitions[h.definition]
        team, owner, why = route(s, _values(s), h.id, t, d, scope, but=h.owner)
        if owner:
            h = reassign(s, h, t, owner, team, f"escalated; {why}", scope)
    return h


def faded(s: State, h: Handoff) -> None:
    change(s, h, flags=h.flags | FADED)

