"""How a lead's voice ends when it turns out to be another one, and begins again when it does not.

What was said of its stages is taken back: the other lead says it now. Its handoffs go on under the same ids, so nothing
is taken back of them; the other lead restates them. On each topic where the lead has spoken, the last message is
``merged_into``. When they are parted again that message is withdrawn and everything that holds is said again.

A merge that would close a circle is refused, and both leads are told; so is one who shall take back a merge that is not
known.
"""

from __future__ import annotations

from processors import identity
from processors.model import Journey, Minted, Refusal, Route, Row, decode_spoken
from processors.say import (
    HANDOFFS,
    NURTURE,
    SLA,
    STAGE_CHANGES,
    Calls,
    Output,
    call_of,
    decisions,
    difference,
    emit,
    from_minted,
    handed_back,
    handoff_record,
    heading,
)
from processors.scope import Scope

RULE, UNKNOWN = "a merge that would close a circle", "no such merge of this lead"
_TOPICS = {
    STAGE_CHANGES: "stage_changes",
    HANDOFFS: "handoffs",
    SLA: "sla",
    NURTURE: "nurture",
}


def turn(
    row: Row, said: tuple[Journey, ...], spoken: bytes, out: list[Output], now: int, scope: Scope
) -> None:
    """Say what has changed about who is who.

    :param said: the journeys as they were said last.
    :param spoken: the same as a row keeps it (`model.decode_spoken`), from before the row was closed if it was.
    """
    kept = decode_spoken(spoken)[0] if spoken else ()
    if row.target != row.closed:
        if row.closed:
            _closing(row, row.closed, "withdrawn", kept, out, now, scope)
        if row.target:
            if not row.closed:
                _take_back(row, said, out, now, scope)
            _closing(row, row.target, "new", kept, out, now, scope)
        else:
            row.again = (
                True  # who spoke for it meanwhile may be an alias now, and has said what it never would
            )
            difference(row, (), out, now, scope, _calls(kept))
        row.closed, row.spoken = row.target, spoken if row.target else b""
    elif not row.closed:
        difference(row, said, out, now, scope, _calls(said) if row.again else None)
        row.spoken = b""
    row.again = row.again and bool(row.target)
    _refusals(row, out, now, scope)


def _calls(journeys: tuple[Journey, ...]) -> Calls:
    return {(h.of, h.ordinal): (j, h) for j in journeys for h in j.handoffs}


def _take_back(row: Row, said: tuple[Journey, ...], out: list[Output], now: int, scope: Scope) -> None:
    """All but the calls, which the other lead takes over; of a call that was only an alias's, who is none any more,
    what its lead may never have said itself."""
    calls = _calls(said)
    mine = {scope.subject, *(name for name, _ in identity.aliases(row.members))}
    for key, content in decisions(said).items():
        call = call_of(key)
        if call is None or (call[0] not in mine and not handed_back(row, key, scope)):
            emit(row, key, content, "withdrawn", out, now, scope, calls, {})


def _closing(
    row: Row, target: str, op: str, kept: tuple[Journey, ...], out: list[Output], now: int, scope: Scope
) -> None:
    """The last message of the lead on each topic; on that of stages even where nothing was said before."""
    if scope.subject[:1] != "l":
        return
    lead, other, at = scope.subject[2:], target[2:], row.edge[0] >> 22 or now
    calls = [(j, h) for j in kept for h in j.handoffs] or [from_minted(m) for m in row.minted]
    if op == "withdrawn" and not calls:  # those that it named have gone with their leads
        calls = [from_minted(Minted(scope.subject, 0, at, at, at, (Route(at, "", "", ""),)))]
    for topic in sorted({STAGE_CHANGES, *row.sequences}):
        named = f"{lead}/merged_into/{other}/{_TOPICS.get(topic, topic)}"
        if topic in (HANDOFFS, SLA) and not calls:
            continue
        record = heading(row, topic, named, op, at, now, scope)
        if topic == STAGE_CHANGES:
            record |= _stage(len(kept), "merged_into", None, None)
        elif topic == HANDOFFS:
            handoff_record(record, "merged_into", *calls[-1], row, now, scope)
        elif topic == SLA:
            _, h = calls[-1]
            record |= {
                "handoff_id": h.id, "clock": "decision", "kind": "merged_into", "due_at": h.due_decide or None,
                "owner": h.owner or None, "team": h.team, "business_ms": None, "wall_ms": None,
            }  # fmt: skip
        else:
            record |= {"kind": "merged_into", "reason": "merged", "journey": len(kept)}
        record["merged_into"] = other
        out.append(Output(topic, lead, record))


def _stage(journey: int, kind: str, reason: str | None, rule: str | None) -> dict[str, object]:
    return {
        "journey": journey, "attempt": 0, "kind": kind, "stage": "merged", "from_stage": None, "implied": False,
        "occurrence": 1, "backfill": False, "reason": reason, "rule": rule,
    }  # fmt: skip


def _refusals(row: Row, out: list[Output], now: int, scope: Scope) -> None:
    if scope.subject[:1] == "l":
        for refusal in row.refused:
            if refusal not in row.refused_said:
                _refusal(row, refusal, "new", out, now, scope)
        for refusal in row.refused_said:
            if refusal not in row.refused:
                _refusal(row, refusal, "withdrawn", out, now, scope)
    row.refused_said = row.refused


def _refusal(row: Row, refusal: Refusal, op: str, out: list[Output], now: int, scope: Scope) -> None:
    (a, b), loser, winner = refusal
    lead = scope.subject[2:]
    record = heading(row, STAGE_CHANGES, f"{lead}/refused/merge/{b >> 16:012x}", op, a >> 22, now, scope)
    why, rule = (f"{loser[2:]} into {winner[2:]}", RULE) if loser else ("unmerged", UNKNOWN)
    record |= _stage(len(row.head.journeys), "refused", why, rule)
    record["merged_into"] = winner[2:] if loser == scope.subject else None
    out.append(Output(STAGE_CHANGES, lead, record))
