"""What is said: the difference between the decisions as published and as they are now.

A key says what was decided; progress is a new key, a changed content a revision, a lost key a withdrawal. Most of
what was said is not stored, it is what the last committed head decides; stored are minted handoffs and sequences.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from msgspec.structs import replace

from processors import context, flood, identity
from processors.handoff import calendar_of, first_route, owner_at
from processors.model import (
    ACCEPTED,
    BACKFILLED,
    CODE,
    DISQUALIFIED,
    ESCALATED,
    EXITS,
    FLAGS,
    FORGOTTEN,
    IMPLIED,
    LAPSED,
    LATE,
    NEVER,
    NURTURE_ENDED,
    NURTURE_OFF,
    NURTURE_ON,
    OPEN,
    OUTCOMES,
    REJECTED,
    RULES,
    SILENT,
    TURNED_DOWN,
    UNQUALIFIED,
    WITHDRAWN,
    Handoff,
    Journey,
    Minted,
    Row,
    decode_spoken,
    handoff_id,
)
from processors.scope import Scope

#: Output topics, by index (their sequence numbers are kept per row under it).
STAGE_CHANGES, HANDOFFS, SLA, NURTURE, HANDOVERS, RESTATEMENTS = range(6)
RECORD_OF = ("stage_change", "handoff", "sla", "nurture", "handover", "restatement")

Key = tuple[Any, ...]
_ON_NURTURE = frozenset((NURTURE_OFF, NURTURE_ON, NURTURE_ENDED))
#: Handoffs by name (subject at minting, ordinal), with the journey that each belongs to.
Calls = dict[tuple[str, int], tuple[Journey, Handoff]]
#: A revision is a positive 32-bit integer: how often the speaker changed above, the sequence number below.
_EPOCH_AT, _EPOCHS = 20, 2000
_LAST = 1 << _EPOCH_AT - 1


class Output(NamedTuple):
    """One message to be published: topic index, key (the lead's id) and the fields of its Avro record."""

    topic: int
    key: str
    record: dict[str, Any]


def spoken(row: Row, current: tuple[Journey, ...]) -> tuple[Journey, ...]:
    """The journeys as last published."""
    return decode_spoken(row.spoken)[0] if row.waiting and row.spoken else current


def decisions(journeys: tuple[Journey, ...]) -> dict[Key, tuple[Any, ...]]:
    """All that some journeys say to the outside: key -> content, the instant first."""
    out: dict[Key, tuple[Any, ...]] = {}
    for j in journeys:
        nth: dict[int, int] = {}
        origin = -1
        for x in j.entries:
            code = x & CODE
            nth[code] = k = nth.get(code, 0) + 1
            ended = code >= REJECTED
            reason = j.reason if ended and x == j.entries[-1] else ""
            out[STAGE_CHANGES, "ended" if ended else "entered", j.n, code, k] = (
                x >> 9, bool(x & IMPLIED), bool(x & BACKFILLED), origin, reason,
            )  # fmt: skip
            origin = code
        nth = {}
        for x in j.marks:
            rule, code = x >> 8 & 255, x & 255
            nth[x & 0xFFFF] = k = nth.get(x & 0xFFFF, 0) + 1
            if rule in _ON_NURTURE:
                name = ("erased",) if rule == NURTURE_ENDED else ()
                kind = "resumed" if rule == NURTURE_ON else "stopped"
                out[NURTURE, kind, "", j.n, k, *name] = (x >> 16, j.n, RULES[rule])
                continue
            kind = "unqualified" if rule == UNQUALIFIED else "refused"
            out[STAGE_CHANGES, kind, j.n, code, k, rule] = (x >> 16,)
        for h in j.handoffs:
            _told(j, h, out)
    return out


def breached(h: Handoff) -> bool:
    """Did any of its clocks run out?"""
    return bool(h.late_touch or h.late_decide or h.late_meet or h.missed)


def flag_names(h: Handoff) -> list[str]:
    """In words; what was escalated once stays so."""
    told = h.flags | ESCALATED if any(escalated for _, _, escalated in h.missed) else h.flags
    return [name for bit, name in FLAGS.items() if told & bit]


def _told(j: Journey, h: Handoff, out: dict[Key, tuple[Any, ...]]) -> None:
    name = (h.of, h.ordinal)
    out[HANDOFFS, "made", *name] = (
        h.trigger, h.begun, h.owner, h.team, h.due_touch, h.due_decide, h.due_meet, h.expires, h.definition,
        j.n, h.attempt, h.flags & ~ESCALATED,
    )  # fmt: skip
    if h.outcome == WITHDRAWN:
        out[HANDOFFS, "withdrawn", *name] = (h.ended, h.reason)
    elif h.outcome != OPEN:
        out[HANDOFFS, "answered", *name] = (h.ended, h.outcome, h.reason, h.notes, breached(h), h.returned)
    if h.news and not h.flags & SILENT:
        out[HANDOFFS, "context_updated", *name] = (h.trigger, h.news, h.flags & FORGOTTEN)
    if h.flags & SILENT:
        return
    clocks = (
        ("first_touch", h.due_touch, h.touched, h.late_touch, h.assigned or h.begun),
        (
            "decision",
            h.due_decide,
            h.ended if h.outcome in (ACCEPTED, TURNED_DOWN) else 0,
            h.late_decide,
            h.begun,
        ),
        ("meeting", h.due_meet, h.met, h.late_meet, h.begun),
    )
    for clock, due, met, late, started in clocks:
        if not due:
            continue
        out[SLA, "started", *name, clock] = (started, due, h.owner)
        if late:
            nth = (len(h.missed),) if h.missed and clock == "first_touch" else ()
            out[SLA, "breached", *name, clock, *nth] = (late, late, owner_at(h, late))
        elif met:
            out[SLA, "met", *name, clock] = (met, due, owner_at(h, met))
    for n, at in enumerate(h.pauses):
        # while it is paused nothing is due; what is due afterwards is the business of the last resumption
        due = h.due_decide if n % 2 and n + 1 == len(h.pauses) else 0
        out[SLA, "resumed" if n % 2 else "paused", *name, "decision", n] = (at, due, owner_at(h, at))
    after = [*(owner for _, owner, _ in h.missed), h.owner][1:]
    for n, (due, owner, escalated) in enumerate(h.missed):
        nth = (n,) if n else ()
        out[SLA, "breached", *name, "first_touch", *nth] = (due, due, owner)
        if escalated:
            out[SLA, "escalated", *name, "first_touch", *nth] = (due, due, after[n])
    if h.flags & ESCALATED:
        nth = (len(h.missed),) if h.missed else ()
        out[SLA, "escalated", *name, "first_touch", *nth] = (h.late_touch, h.late_touch, h.owner)
    out[NURTURE, "paused", *name] = (h.trigger, j.n, "handed over")
    resumes, why = _back_to_marketing(j, h)
    if resumes:
        out[NURTURE, "resumed", *name] = (resumes, j.n, why)


def _back_to_marketing(j: Journey, h: Handoff) -> tuple[int, str]:
    """When nurture goes on after a handoff, and why; (0, "") while sales has the lead, and for who wants or may get none."""
    if h.outcome in (TURNED_DOWN, LAPSED, WITHDRAWN):
        at, why = h.ended, h.reason or OUTCOMES[h.outcome]
    elif h.outcome == ACCEPTED and j.exited and h is j.handoffs[-1]:
        at, why = j.entries[-1] >> 9, EXITS[j.at]
    else:
        return 0, ""
    if any(x >> 9 <= at and x & CODE == DISQUALIFIED for x in j.entries):
        return 0, ""
    said = [x >> 8 & 255 for x in j.marks if x >> 16 <= at and x >> 8 & 255 in _ON_NURTURE]
    return (0, "") if said and said[-1] != NURTURE_ON else (at, why)


def difference(
    row: Row,
    said: tuple[Journey, ...],
    out: list[Output],
    now: int,
    scope: Scope,
    elsewhere: Calls | None = None,
) -> None:
    """Publish what changed between ``said`` and the head, and mint what is new.

    :param elsewhere: handoffs of which another row spoke until now: they are said again, or taken back.
    """
    now_said = row.head.journeys
    heirs = {}
    if row.members:
        _take_back_for_others(row, out, now, scope)
        mine = {scope.subject, *(name for name, _ in identity.aliases(row.members))}
        heirs = {name: call for name, call in identity.inherited(row).items() if name[0] in mine}
    told = {**(elsewhere or {}), **heirs}  # aliases that spoke of this row's calls did so later than it
    same = 0  # journeys that nobody touched need no second look
    while not told and same < len(said) and same < len(now_said) and said[same] == now_said[same]:
        same += 1
    old, new = decisions(said[same:]), decisions(now_said[same:])
    minted = {(m.of, m.ordinal): m for m in row.minted}
    by_name = {(h.of, h.ordinal): (j, h) for j in now_said for h in j.handoffs}
    gone = {(h.of, h.ordinal): (j, h) for j in said for h in j.handoffs}
    theirs: dict[Key, tuple[Any, ...]] = {}
    cause = ""
    if told:
        theirs = of_calls(elsewhere or {}) | of_calls(heirs)
        old = {key: content for key, content in old.items() if key not in theirs}
        minted = {(m.of, m.ordinal): m for m in identity.claims(row)} | minted
        gone = told | gone
        cause = "merged" if heirs else ""
    unsaid = [n for n, (_, h) in gone.items() if n not in minted and _was_held(row, h)]
    old, theirs = _without(old, unsaid), _without(theirs, unsaid)
    held = flood.held_back(row, [h for _, h in by_name.values()], minted, scope.admit)
    new = _without(new, held)
    for key, content in new.items():
        before = old.get(key)
        if before is None:
            op = "revised" if key in theirs else "new"
            emit(row, key, content, op, out, now, scope, by_name, minted)
        elif before != content:
            emit(row, key, content, "revised", out, now, scope, by_name, minted)
    for key, content in {**theirs, **old}.items():
        if key not in new and not handed_back(row, key, scope):
            emit(row, key, content, "withdrawn", out, now, scope, gone, minted, cause)
    given_up = [
        *(row.minted if elsewhere is not None else ()),
        *(identity.claims(row, 1) if row.members else ()),
    ]
    for m in given_up:  # another row may have made it again while it spoke for this one
        if (name := (m.of, m.ordinal)) not in by_name and name not in gone:
            key = (HANDOFFS, "made", *name)
            emit(row, key, (m.trigger,), "withdrawn", out, now, scope, {name: from_minted(m)}, {})
    for name in held:
        del by_name[name]
    _mint(row, by_name, now)


def _take_back_for_others(row: Row, out: list[Output], now: int, scope: Scope) -> None:
    """Words of aliases on handoffs that are neither theirs nor this row's any more."""
    for name, call, epoch in list(identity.left_standing(scope.subject, row)):
        for key, content in of_calls({name: call}).items():
            if not handed_back(row, key, scope):
                emit(row, key, content, "withdrawn", out, now, scope, {name: call}, {}, epoch=epoch)
        row.spoke = _at_least(row.spoke, name[0], epoch)


def _at_least(spoke: dict[str, int], name: str, epoch: int) -> dict[str, int]:
    return spoke if spoke.get(name, -1) >= epoch else {**spoke, name: epoch}


def _was_held(row: Row, h: Handoff) -> bool:
    return any(h.trigger == trigger for trigger, _ in row.flooded)


def _without(
    found: dict[Key, tuple[Any, ...]], names: Collection[tuple[str, int]]
) -> dict[Key, tuple[Any, ...]]:
    """What is said, without a word of some handoffs."""
    return {key: content for key, content in found.items() if call_of(key) not in names} if names else found


def of_calls(calls: Calls) -> dict[Key, tuple[Any, ...]]:
    """What was said of some handoffs, and not of their lead."""
    found: dict[Key, tuple[Any, ...]] = {}
    for j, _ in calls.values():
        found |= decisions((j,))
    return {key: content for key, content in found.items() if call_of(key) in calls}


def call_of(key: Key) -> tuple[str, int] | None:
    """The handoff that a decision is about, None for one about the lead."""
    return key[2:4] if key[0] in (HANDOFFS, SLA) or (key[0] == NURTURE and key[2]) else None


def from_minted(m: Minted) -> tuple[Journey, Handoff]:
    """As much of a handoff as is kept of one that was taken back."""
    r = m.routes[-1]
    h = Handoff(
        m.of, m.ordinal, 1, 0, 0, m.trigger, m.start, r.team, r.owner, r.why, r.at, 0, m.due, 0, 0, "",
        ended=m.end,
    )  # fmt: skip
    return Journey(1, (m.trigger << 9,)), h


def handed_back(row: Row, key: Key, scope: Scope) -> bool:
    """Is this the call of a lead that is no alias any more? It speaks for itself again (case 18)."""
    return (
        key[0] == HANDOFFS and key[1] == "made" and key[2] != scope.subject
        and key[2] not in dict(identity.aliases(row.members))
    )  # fmt: skip


def _mint(row: Row, by_name: Calls, now: int) -> None:
    """Remember what was said: ids, starts and owners stay as they are from now on."""
    out = []
    if row.members:
        row.minted = (*row.minted, *identity.claims(row))
    for m in row.minted:
        found = by_name.pop((m.of, m.ordinal), None)
        if found is None:
            out.append(m if m.end <= now or m.pinned else replace(m, end=min(m.end, now)))
        else:
            out.append(_minted(found[1], m))
    out += [_minted(h, None) for _, h in by_name.values()]
    row.minted = tuple(out)


def _minted(h: Handoff, before: Minted | None) -> Minted:
    answered = h.outcome in (ACCEPTED, TURNED_DOWN)
    pinned = bool(h.touched) or answered or (before is not None and before.pinned)
    past = h.outcome != OPEN and (before is None or before.historical)
    end = h.ended if h.outcome != OPEN else NEVER
    routes = h.routes or (first_route(h),)
    due = h.due_decide or h.due_touch or h.expires
    released = h.released if before is None else before.released
    silent = bool(h.flags & SILENT)
    return Minted(
        h.of, h.ordinal, h.trigger, end, h.start, routes, pinned, silent, past, due, released, answered
    )


def emit(
    row: Row,
    key: Key,
    content: tuple[Any, ...],
    op: str,
    out: list[Output],
    now: int,
    scope: Scope,
    handoffs: dict[tuple[str, int], tuple[Journey, Handoff]],
    minted: dict[tuple[str, int], Minted],
    cause: str = "",
    epoch: int | None = None,
) -> None:
    """
    :param epoch: of an alias for which this is taken back; of this row if it is None.
    """
    topic, kind = key[0], key[1]
    s = row.head
    call = call_of(key)
    if epoch is None and call is not None and call[0] != scope.subject:
        row.spoke = _at_least(row.spoke, call[0], row.epoch)
    record = heading(row, topic, output_id(scope.subject, key), op, content[0], now, scope)
    if epoch is not None:  # after all that the alias said in it
        record["revision"] = (min(epoch, _EPOCHS) << _EPOCH_AT) + _LAST + record["sequence"] % _LAST
    if topic == STAGE_CHANGES:
        _stage_change(record, key, content, row, scope)
    elif topic == HANDOFFS:
        j, h = handoffs[key[2:4]]
        m = minted.get(key[2:4])
        past = h.outcome != OPEN and (m is None or m.historical)
        if op == "withdrawn" and kind == "made":
            kind = "withdrawn"
        elif kind == "made" and (h.flags & SILENT or past):
            kind = "historical"
        handoff_record(record, kind, j, h, row, now, scope)
        if cause and kind == "withdrawn" and not record["reason_code"]:
            record["reason_code"] = cause
    elif topic == SLA:
        j, h = handoffs[key[2:4]]
        record |= {
            "handoff_id": h.id, "clock": key[4], "kind": kind, "due_at": content[1] or None, "owner": content[2] or None,
            "team": h.team, "business_ms": None, "wall_ms": max(0, content[0] - h.begun) if kind == "met" else None,
        }  # fmt: skip
        if kind == "met":
            calendar = calendar_of(s, h.definition, h.policy, h.owner, h.begun, scope)
            record["business_ms"] = calendar.between(h.begun, content[0])
    else:
        record |= {"kind": kind, "reason": content[2], "journey": content[1]}
    out.append(Output(topic, scope.subject[2:], record))


def heading(
    row: Row, topic: int, named: str, op: str, occurred_at: int, now: int, scope: Scope
) -> dict[str, Any]:
    """What every record begins with. It takes the next number of the row's sequence on this topic."""
    sequence = row.sequences[topic] = row.sequences.get(topic, 0) + 1
    definition = scope.definitions[row.head.definition].source
    return {
        "output_id": named,
        "sequence": sequence,
        # Of one handoff several leads may speak one after another: each later one's epoch is greater.
        "revision": (min(row.epoch, _EPOCHS) << _EPOCH_AT) + sequence,
        "op": op,
        "occurred_at": occurred_at,
        "as_of": now,
        "definition": f"{definition.name}@{definition.version}",
        "lead_id": scope.subject[2:],
    }


def output_id(subject: str, key: Key) -> str:
    """Stable id of what was decided: the same over revisions, replays and workers."""
    if key[0] == NURTURE and not key[2]:
        return "/".join(str(x) for x in (subject[2:], "nurture", key[1], *key[3:]))
    if key[0] in (HANDOFFS, SLA, NURTURE):
        return "/".join(str(x) for x in (handoff_id(key[2], key[3]), key[1], *key[4:]))
    return "/".join(str(x) for x in (subject[2:], *key[1:]))


def stage_name(code: int, row: Row, scope: Scope) -> str:
    """Name of a stage or exit; one that the definition no longer has is shown as retired."""
    if code >= REJECTED:
        return EXITS[code]
    found = scope.definitions[row.head.definition].names.get(code)
    if found is not None:
        return found
    for d in reversed(scope.definitions):
        if code in d.names:
            return f"retired:{d.names[code]}"
    return f"retired:{code}"


def _stage_change(record: dict[str, Any], key: Key, content: tuple[Any, ...], row: Row, scope: Scope) -> None:
    _, kind, journey, code, occurrence, *rule = key
    j = row.head.journeys[journey - 1] if journey <= len(row.head.journeys) else None
    full = kind in ("entered", "ended")
    record |= {
        "journey": journey,
        "attempt": sum(h.trigger <= content[0] for h in j.handoffs) if j is not None else 0,
        "kind": kind,
        "stage": stage_name(code, row, scope),
        "from_stage": stage_name(content[3], row, scope) if full and content[3] >= 0 else None,
        "implied": content[1] if full else False,
        "occurrence": occurrence,
        "backfill": content[2] if full else False,
        "reason": (content[4] or None) if full else None,
        "rule": RULES[rule[0]] if rule else None,
    }


def handoff_record(
    record: dict[str, Any], kind: str, j: Journey, h: Handoff, row: Row, now: int, scope: Scope
) -> None:
    record |= {
        "handoff_id": h.id,
        "kind": kind,
        "journey": j.n,
        "attempt": h.attempt,
        "trigger_at": h.trigger,
        "started_at": h.begun,
        "owner": h.owner or None,
        "team": h.team,
        "routing_reason": h.routed,
        "first_touch_due_at": h.due_touch or None,
        "decision_due_at": h.due_decide or None,
        "meeting_due_at": h.due_meet or None,
        "expires_at": h.expires or None,
        "outcome": "withdrawn" if kind == "withdrawn" else OUTCOMES[h.outcome] or None,
        "outcome_at": (h.ended or now) if kind == "withdrawn" else h.ended or None,
        "reason_code": h.reason or None,
        "notes": h.notes or None if record["op"] != "withdrawn" else None,
        "breached": breached(h),
        "late": bool(h.flags & LATE),
        "returned": bool(h.returned),
        "silent": bool(h.flags & SILENT),
        "flags": flag_names(h) + ["unsigned definition"] * scope.definitions[h.definition].source.unsigned,
        "context": context.of(row, j, h, now, scope)
        if kind in ("made", "context_updated", "historical")
        and record["op"] != "withdrawn"
        and not h.flags & FORGOTTEN
        else None,
    }
