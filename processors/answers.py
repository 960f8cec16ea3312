"""What sales says of a lead: it takes, touches, answers, pauses and drops handoffs, and reports stages."""

from __future__ import annotations

from typing import Any

from processors import handoff, lifecycle
from processors.definition.model import DAY
from processors.episodes import answered_before
from processors.fact import Fact, Handler
from processors.model import (
    ACCEPTED,
    ALREADY_ANSWERED,
    BACKWARD,
    DISQUALIFIED,
    ENDED,
    EXITS,
    EXPIRED,
    FORMER_OWNER,
    IMPLICIT,
    IMPLIED,
    INACTIVE_OWNER,
    LAPSED,
    LATE,
    NO_OPEN_HANDOFF,
    NOT_PAUSABLE,
    NOT_PAUSED,
    OPEN,
    PAUSED_ALREADY,
    RECORDED_ONLY,
    RECYCLED,
    REJECTED,
    RETURNED,
    STILL_OPEN,
    TURNED_DOWN,
    UNGROUNDED,
    UNKNOWN_HANDOFF,
    UNKNOWN_STAGE,
    WITHDRAWN,
    Handoff,
    Route,
    State,
)


def _named(s: State, named: Any) -> Handoff | bool | None:
    """The open handoff that a fact is about; a named one that has ended; None; False where the name is unknown."""
    h = handoff.open_handoff(s)
    if not named or (h is not None and h.id == named):
        return h
    found = handoff.find(s, str(named))
    return found[1] if found is not None else False


def _asked(s: State, f: Fact, named: Any, *, final: bool) -> Handoff | bool | None:
    """As `_named`, for an answer: it pinned its handoff, which stays even if late facts took its ground away.

    :param final: an acceptance or a rejection, which also stands against what withdrew the handoff, known too late.
    """
    h = _named(s, named)
    if handoff.open_handoff(s) is not None or (isinstance(h, Handoff) and h.outcome != WITHDRAWN):
        return h
    return _pinned(s, f, str(named or ""), final=final) or h


def _pinned(s: State, f: Fact, named: str = "", *, final: bool) -> Handoff | None:
    said = answered_before(f.t, named, handoff.taken(s), f.scope)
    if said is not None:
        return handoff.make(
            s, f.t, f.d, f.scope, backfill=f.backfill, rule="", raised=False, flags=UNGROUNDED, known_as=said
        )
    return _revived(s, f, named) if final else None


def _revived(s: State, f: Fact, named: str = "") -> Handoff | None:
    """The last handoff of the journey, open again: this answer had been said of it before its withdrawal was known."""
    last = s.journeys[-1].handoffs[-1:]
    if last and last[0].outcome == WITHDRAWN and named in ("", last[0].id):
        h = last[0]
        if any(
            m.answered and m.end == f.t and (m.of, m.ordinal) == (h.of, h.ordinal) for m in f.scope.minted
        ):
            return handoff.change(s, h, outcome=OPEN, ended=0, reason="", flags=h.flags | UNGROUNDED)
    return None


def _foreign(h: Handoff, f: Fact, actor: str | None) -> bool:
    """Said by a former owner after the grace?"""
    counts = [until for former, _, until in h.formers if former == actor]
    return actor != h.owner and bool(counts) and f.t > counts[-1]


def _assigned(s: State, f: Fact) -> None:
    owner, team = str(f.at(0) or ""), str(f.at(1) or "")
    h = _named(s, f.at(2))
    if h is False:
        return lifecycle.mark(s, f.t, UNKNOWN_HANDOFF)
    known = f.scope.reference.owner(owner, f.t)
    if known is not None and not known.present(f.t):
        lifecycle.mark(s, f.t, INACTIVE_OWNER)
        if isinstance(h, Handoff) and h.outcome == OPEN:
            chosen = handoff.another(s, h, f.t, f.d, f.scope)
            if chosen.owner:
                why = f"asked for an inactive owner; {chosen.why}"
                handoff.reassign(s, h, f.t, chosen.owner, chosen.team, why, f.scope, chosen)
        return None
    s.owner = owner
    if isinstance(h, Handoff) and h.outcome == OPEN and owner != h.owner:
        handoff.reassign(s, h, f.t, owner, team, "assigned", f.scope)
    return None


def _touched(s: State, f: Fact) -> None:
    actor, who = f.actor(3)
    if actor == "system":  # the clock asks for a human
        return
    h = _asked(s, f, f.at(2), final=False)
    if h is None:
        h = handoff.ticking(s) or _taken_unseen(s)  # taken, and waiting for its meeting or for a human
    if not h:
        if h is False:
            lifecycle.mark(s, f.t, UNKNOWN_HANDOFF)
        return  # sales may touch whom it likes: nothing was asked, so nothing is refused
    assert isinstance(h, Handoff)
    if h.outcome not in (OPEN, ACCEPTED) or h not in s.journeys[-1].handoffs[-1:]:
        lifecycle.mark(s, f.t, ALREADY_ANSWERED)
    elif _foreign(h, f, who):
        lifecycle.mark(s, f.t, FORMER_OWNER)
    else:
        handoff.touch(s, h, f.t, f.at(1) in ("meeting", "demo", "discovery"))
    if s.journeys[-1].exited:  # pinned by this touch, but its journey had ended before
        handoff.withdraw(s, f.t, EXITS[s.journeys[-1].at])


def _lapsed(s: State) -> Handoff | None:
    """The call that expired, for as long as its journey stands there: an answer to it is late."""
    j = s.journeys[-1]
    return j.handoffs[-1] if j.at == EXPIRED and j.handoffs and j.handoffs[-1].outcome == LAPSED else None


def _accept_late(s: State, f: Fact, last: Handoff, who: str | None, flags: int = 0) -> None:
    """Too late, and still the answer to our call: the next attempt, accepted at once.

    :param who: says so; if it is none of the owners that we know, it stays with who had it.
    """
    lifecycle.re_enter(s, f.t, f.d.mql, f.backfill, IMPLIED)
    owner = who if who and f.scope.reference.owner(who, f.t) is not None else last.owner
    handoff.make(
        s,
        f.t,
        f.d,
        f.scope,
        backfill=f.backfill,
        rule=last.rule,
        raised=False,
        outcome=ACCEPTED,
        flags=LATE | flags,
        chosen=Route(f.t, last.team, owner, "accepted after it had expired"),
    )
    handoff.answered(s, f.t, 0)


def _taken_unseen(s: State) -> Handoff | None:
    """The call that a system accepted, and nobody has touched."""
    j = s.journeys[-1]
    last = j.handoffs[-1] if j.handoffs and not j.exited else None
    return last if last is not None and last.outcome == ACCEPTED and not last.touched else None


def _accepted(s: State, f: Fact) -> None:
    h = _asked(s, f, f.at(0), final=True)
    j = s.journeys[-1]
    if isinstance(h, Handoff) and h.outcome == OPEN:
        if _foreign(h, f, f.actor(1)[1]):
            return lifecycle.mark(s, f.t, FORMER_OWNER, f.d.sal)
        handoff.accept(s, h, f.t, f.scope, human=f.actor(1)[0] != "system")
        if s.journeys[-1].at < f.d.sal:
            lifecycle.enter(s, f.t, f.d.sal, f.d, f.backfill)
        return None
    last = _lapsed(s)
    if last is not None and h in (None, last):
        who = f.actor(1)[1]
        if _foreign(last, f, who):
            return lifecycle.mark(s, f.t, FORMER_OWNER, f.d.sal)
        _accept_late(s, f, last, who)
        return lifecycle.enter(s, f.t, f.d.sal, f.d, f.backfill)
    if isinstance(h, Handoff):
        return lifecycle.mark(s, f.t, ALREADY_ANSWERED, f.d.sal)
    if h is False:
        return lifecycle.mark(s, f.t, UNKNOWN_HANDOFF, f.d.sal)
    if j.exited or j.at >= f.d.sal:
        return lifecycle.mark(s, f.t, ENDED if j.exited else NO_OPEN_HANDOFF, f.d.sal)
    handoff.answered(s, f.t, 0)
    return lifecycle.enter(s, f.t, f.d.sal, f.d, f.backfill)


def _rejected(s: State, f: Fact) -> None:
    code = str(f.at(0) or "")
    h = _asked(s, f, f.at(1), final=True)
    j = s.journeys[-1]
    if isinstance(h, Handoff) and h.outcome == OPEN:
        if _foreign(h, f, f.actor(3)[1]):
            return lifecycle.mark(s, f.t, FORMER_OWNER)
        overdue = {"late_decide": h.due_decide} if handoff.late(h, h.due_decide, f.t) else {}
        if not h.touched and not h.late_touch and handoff.late(h, h.due_touch, f.t):
            overdue["late_touch"] = h.due_touch  # within the grace, and nobody comes to tell it any more
        handoff.change(
            s, h, outcome=TURNED_DOWN, ended=f.t, reason=code, notes=str(f.at(2) or "")[:500], **overdue
        )
        return None if j.exited else _sent_back(s, f, h, code, REJECTED)
    last = j.handoffs[-1] if j.handoffs else None
    if (
        last is not None
        and last.outcome == ACCEPTED
        and h in (None, last)
        and not j.exited
        and j.at < f.d.won
    ):
        handoff.change(s, last, flags=last.flags | RETURNED, returned=f.t, reason=code)
        return _sent_back(s, f, last, code, RECYCLED)
    return lifecycle.mark(s, f.t, _why_not(h))


def _sent_back(s: State, f: Fact, h: Handoff, code: str, exit_code: int) -> None:
    """What becomes of the lead says the definition under which sales was called."""
    d = f.scope.definitions[h.definition].source
    reason = d.reasons.get(("rejection", code))
    if reason is not None and reason.action == "disqualify":
        s.barred |= 2
        handoff.answered(s, f.t, 0)
        return lifecycle.leave(s, f.t, DISQUALIFIED, code)
    handoff.answered(s, f.t, handoff.returns(reason, d.policy.recycle_days, f.t))
    return lifecycle.leave(s, f.t, exit_code, code)


def _sales_qualified(s: State, f: Fact) -> None:
    reach(s, f, f.d.sql)


def _recycled(s: State, f: Fact) -> None:
    j = s.journeys[-1]
    if j.exited or j.at == f.d.won:
        return lifecycle.mark(s, f.t, ENDED)
    h = _named(s, f.at(1))
    if h is False or (isinstance(h, Handoff) and h not in j.handoffs[-1:]):
        return lifecycle.mark(s, f.t, _why_not(h))
    handoff.withdraw(s, f.t, "recycled")
    until = f.at(0)
    handoff.answered(s, f.t, until if type(until) is int else f.t + f.d.source.policy.recycle_days * DAY)
    return lifecycle.leave(s, f.t, RECYCLED)


def _disqualified(s: State, f: Fact) -> None:
    s.barred |= 2
    j = s.journeys[-1]
    if not j.exited and j.at < f.d.won:
        handoff.withdraw(s, f.t, "disqualified")
        s.qualified = False
        lifecycle.leave(s, f.t, DISQUALIFIED, str(f.at(0) or ""))
    else:  # it holds from now on, and moves nobody
        lifecycle.mark(s, f.t, ENDED)


def _reopened(s: State, f: Fact) -> None:
    s.barred &= ~2
    j = s.journeys[-1]
    if j.exited or j.at == f.d.won:
        lifecycle.begin(s, f.t, f.d, f.backfill)
        s.answered = s.qualified = s.low = False
        s.until = 0
    else:
        lifecycle.mark(s, f.t, STILL_OPEN)


def _stage_reported(s: State, f: Fact) -> None:
    code = f.d.codes.get(str(f.at(0)))
    j = s.journeys[-1]
    if code is None:
        return lifecycle.mark(s, f.t, UNKNOWN_STAGE)
    if j.exited and (code < f.d.sal or _lapsed(s) is None):
        return lifecycle.mark(s, f.t, ENDED, code)
    if code == j.at:
        return None
    if f.d.source.policy.stage_reported == "record":
        return lifecycle.mark(s, f.t, RECORDED_ONLY, code)
    if j.exited:  # sales works on what has expired
        return reach(s, f, code)
    if code < j.at:
        if f.d.source.policy.backward == "adopt":
            return lifecycle.re_enter(s, f.t, code, f.backfill)
        return lifecycle.mark(s, f.t, BACKWARD, code)
    return reach(s, f, code)


def _open(s: State, f: Fact) -> Handoff | None:
    """The open handoff that the fact names, or else the refusal of the fact is marked."""
    h = _named(s, f.at(0))
    if isinstance(h, Handoff) and h.outcome == OPEN:
        return h
    lifecycle.mark(s, f.t, _why_not(h))
    return None


def _paused(s: State, f: Fact) -> None:
    if h := _open(s, f):
        if h.paused:
            lifecycle.mark(s, f.t, PAUSED_ALREADY)
        elif handoff.policy_of(h, f.scope).pausable:
            handoff.pause(s, h, f.t, f.scope)
        else:
            lifecycle.mark(s, f.t, NOT_PAUSABLE)


def _resumed(s: State, f: Fact) -> None:
    if h := _open(s, f):
        if h.paused:
            handoff.resume(s, h, f.t, f.scope)
        else:
            lifecycle.mark(s, f.t, NOT_PAUSED)


def _released(s: State, f: Fact) -> None:
    if h := _open(s, f):
        handoff.release(s, h, f.t, f.scope)


def _dropped(s: State, f: Fact) -> None:
    """A person decided that this call is not to be made: that uses up its ground, as an answer does."""
    if _open(s, f):
        handoff.withdraw(s, f.t, "dropped")
        handoff.answered(s, f.t, f.t)


def _why_not(h: Handoff | bool | None) -> int:
    return UNKNOWN_HANDOFF if h is False else ALREADY_ANSWERED if h else NO_OPEN_HANDOFF


def reach(s: State, f: Fact, stage: int) -> None:
    """Forward to a stage that sales works in: an open handoff has been taken, by implication."""
    j = s.journeys[-1]
    if j.exited:
        if stage >= f.d.sal and (last := _lapsed(s)) is not None:
            _accept_late(s, f, last, None, IMPLICIT)
            lifecycle.enter(s, f.t, stage, f.d, f.backfill)
            return
        if stage >= f.d.sal and (pinned := _revived(s, f)) is not None:
            handoff.accept(s, pinned, f.t, f.scope, IMPLICIT)
        j = lifecycle.begin(s, f.t, f.d, f.backfill)
    if stage <= j.at:
        if stage < j.at:
            lifecycle.mark(s, f.t, BACKWARD, stage)
        return
    h = handoff.open_handoff(s)
    if h is None and stage >= f.d.sal:
        h = _pinned(s, f, final=True)
    if h is not None and stage >= f.d.sal:
        handoff.accept(s, h, f.t, f.scope, IMPLICIT)
    elif stage >= f.d.sal:
        handoff.answered(s, f.t, 0)
    lifecycle.enter(s, f.t, stage, f.d, f.backfill)


HANDLERS: dict[str, Handler] = {
    "assigned": _assigned,
    "touched": _touched,
    "accepted": _accepted,
    "rejected": _rejected,
    "qualified_by_sales": _sales_qualified,
    "recycled": _recycled,
    "disqualified": _disqualified,
    "reopened": _reopened,
    "stage_reported": _stage_reported,
    "sla_paused": _paused,
    "sla_resumed": _resumed,
    "handoff_released": _released,
    "handoff_dropped": _dropped,
}
