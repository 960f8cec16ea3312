"""The context of a handoff: everything that sales would otherwise have to look up or ask again."""

from __future__ import annotations

from typing import Any

from processors import explain, priority, scoring
from processors.compiled import Compiled
from processors.days import iso
from processors.definition.model import DAY
from processors.events import AGENT_MASK, AGENT_SHIFT, FACT, KIND, NAME, PROXY, view
from processors.ledger import Item
from processors.model import CODE, EXITS, OUTCOMES, REJECTED, Handoff, Journey, Row, State
from processors.qualify import HAND_RAISE, OVERRIDE
from processors.scope import Scope

_TOP_ROWS, _LAST_TOUCHES, _DISCOVERIES = 10, 10, 10
_TREND_DAYS = 7
#: What let a lead through, where it was no rule of engagement.
_WAYS = {HAND_RAISE: "hand_raise", OVERRIDE: "override"}
_DISCOVERY, _TOUCHED = KIND["discovery_recorded"], KIND["touched"]
#: What a visitor does, as against what is sent to them.
_SENDS = frozenset(KIND[name] for name in ("email_sent", "email_delivered", "email_bounced"))
_INPUTS = ("engagement", "lead", "deal", "inbox")


def of(row: Row, j: Journey, h: Handoff, now: int, scope: Scope) -> dict[str, Any]:
    """The `handoff_context` record as of ``now``."""
    s = row.head
    d = scope.definitions[h.definition]
    base, items = scope.history()
    if s.past:  # of who was erased nothing is told
        items = [e for e in items if (e[0], e[1]) > s.gone]
    at = min(now, max(h.start, s.last))
    rows = explain.score_rows(s, base, items, at, d, scope.definitions)
    points = scoring.engagement(s, d.days.day(at), d)
    attributes = {k: str(v)[:200] for k, v in s.attributes.items() if v is not None}
    known, missing = scoring.known_of(s.attributes, d)
    hoped = priority.outlook(s, h, at, scope)
    return {
        "qualified_by": _WAYS.get(h.rule, "fit_and_engagement"),
        "admitting_rule": h.rule or None,
        "reasons": reasons(rows),
        "rows": [
            {
                "rule": r.rule if r.why in ("scored", "before") else f"{r.rule} ({r.why})",
                "day": iso(r.day),
                "points_milli": r.points,
                "topic": _INPUTS[r.position.input] if r.position else None,
                "partition": r.position.partition if r.position else -1,
                "offset": r.position.offset if r.position else -1,
            }
            for r in rows[:_TOP_ROWS]
        ],
        "last_touches": _touches(s, items),
        "fit_milli": s.fit,
        "fit_grade": scoring.grade(s.fit, d),
        "engagement_milli": points,
        "trend_milli": points - _level_before(s, items, at, d, scope),
        "stage": d.names.get(j.at, EXITS.get(j.at, "")),
        "segment": s.segment,
        "source": s.source or "",
        "attributes": attributes,
        **{gate: attributes.get(gate) for gate in scoring.GATES},
        "first_utm": next(filter(None, map(_utm, items)), None),
        "last_utm": next(filter(None, map(_utm, reversed(items))), None),
        "discovery": _discovery(items),
        "previous_journeys": [
            *(_previous(x) for x in s.journeys if s.lives < x.n < j.n),
            *(_attempt(j, x) for x in j.handoffs if x.attempt < h.attempt),
        ],
        "consent": {purpose: granted for purpose, (granted, _) in s.consent.items()},
        "win_probability_ppm": hoped.probability_ppm,
        "expected_minor": hoped.expected_minor,
        "currency": hoped.currency,
        "priority_minor": hoped.priority_minor,
        "completeness_per_mille": known,
        "missing": missing,
    }


def reasons(rows: list[explain.ScoreRow]) -> list[dict[str, Any]]:
    """What each rule is worth in all, the greatest first."""
    by_rule: dict[str, int] = {}
    for r in rows:
        by_rule[r.rule] = by_rule.get(r.rule, 0) + r.points
    return [{"rule": k, "points_milli": v} for k, v in sorted(by_rule.items(), key=lambda x: (-x[1], x[0]))]


def _touches(s: State, items: list[Item]) -> list[dict[str, Any]]:
    """What the lead did, and by what sales has been in touch, the newest first."""
    out: list[dict[str, Any]] = []
    for e in reversed(items):
        kind = e[1] >> 8 & 255
        if kind in _SENDS or (kind >= FACT and not (kind == _TOUCHED and _human(e[3]))):
            continue
        if (scoring.as_classified(s, e[1], e[3]) & AGENT_MASK) >> AGENT_SHIFT >= PROXY:
            continue
        told = [v for name, v in view(kind, e[3]).items() if type(v) is str and name != "handoff_id"]
        out.append({"type": NAME[kind], "at": e[0] >> 22, "detail": ", ".join(told)[:200]})
        if len(out) == _LAST_TOUCHES:
            break
    return out


def _human(touch: Any) -> bool:
    """No sequence of e-mails that sales has set up."""
    return not (type(touch) is list and len(touch) > 3 and touch[3][0] == "system")


def _utm(e: Item) -> dict[str, str] | None:
    if e[3] is None or e[1] >> 8 & 255 >= FACT:
        return None
    found = view(e[1] >> 8 & 255, e[3]).get("utm")
    return (
        {str(k): str(v) for k, v in found.items() if v is not None} or None if type(found) is dict else None
    )


def _discovery(items: list[Item]) -> list[dict[str, Any]]:
    found = [e for e in items if e[1] >> 8 & 255 == _DISCOVERY]
    out = []
    for e in found[-_DISCOVERIES:]:
        fields = view(_DISCOVERY, e[3])
        out.append(
            {"kind": str(fields.get("kind")), "text_ref": str(fields.get("text_ref")), "at": e[0] >> 22}
        )
    return out


def _previous(j: Journey) -> dict[str, Any]:
    last = j.entries[-1]
    return {
        "journey": j.n,
        "outcome": EXITS.get(last & CODE, "won" if last & CODE < REJECTED else ""),
        "ended_at": last >> 9,
        "reason": j.reason or None,
    }


def _attempt(j: Journey, h: Handoff) -> dict[str, Any]:
    """An earlier call within the same journey."""
    outcome = OUTCOMES[h.outcome]
    return {"journey": j.n, "outcome": outcome, "ended_at": h.ended, "reason": h.reason or None}


def _level_before(s: State, items: list[Item], at: int, d: Compiled, scope: Scope) -> int:
    """The engagement score a week ago, as far as we know now."""
    then = at - _TREND_DAYS * DAY
    past = State(agents=s.agents, consent=s.consent, gone=s.gone, anew=s.anew)
    for e in items:
        if e[0] >> 22 > then:
            break
        past.a, past.b = e[0], e[1]
    scoring.rescore(past, scope, d)
    return scoring.engagement(past, d.days.day(then), d)
