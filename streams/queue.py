"""The queue: which open handoff to work on next, and why.

By priority (probability of winning times expected amount), then by the next deadline, then by age. A handoff whose
clocks are paused waits for somebody else and comes last. One without a priority (no win model was in force when its
clocks started, or its deal is in a currency without a recent rate) comes behind those that have one, by deadline and
score. Imported handoffs call nobody, and those that the flood guard holds back nobody yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from processors import explain, priority, scoring
from processors.context import reasons
from processors.handoff import calendar_of
from processors.model import HAND_RAISED, NEVER, OPEN, SILENT, Handoff, Journey, Row
from processors.reference import Reference
from processors.say import breached
from streams.inspection import Subject, View, handoff_view, next_deadline, subjects
from streams.topology import LeadTopology

#: Rules that are named as reasons.
REASONS = 3


def queue(topology: LeadTopology, rows: Iterable[tuple[str, Row]], as_of: int) -> list[View]:
    """Every open handoff that calls somebody, as of an instant, the first to work on first."""
    found = [
        _entry(subject, j, h)
        for subject in subjects(topology, rows, as_of, only_open=True)
        for j, h in _calls(subject)
    ]
    found.sort(key=_place)
    for n, entry in enumerate(found, 1):
        entry["place"] = n
    return found


def teams(topology: LeadTopology, found: Iterable[View], as_of: int) -> list[str]:
    """Teams that the definition, an owner or a handoff names."""
    d = topology.definitions[-1].source
    named = {d.default_team, *(rule.team for rule in d.routing), *(h["team"] for h in found)}
    return sorted({*named, *(o.team for o in topology.reference.all_owners(as_of))})


def owners(reference: Reference, found: Iterable[View], as_of: int) -> list[str]:
    """Owners that the reference data or a handoff names."""
    return sorted(
        {*(h["owner"] for h in found if h["owner"]), *(o.owner for o in reference.all_owners(as_of))}
    )


def _calls(subject: Subject) -> Iterator[tuple[Journey, Handoff]]:
    for j in subject.state.journeys:
        for h in j.handoffs:
            held = (h.trigger, h.team) in subject.row.flooded
            if h.outcome == OPEN and not h.flags & SILENT and not held:
                yield j, h


def _entry(subject: Subject, j: Journey, h: Handoff) -> View:
    s, at = subject.state, subject.as_of
    d = subject.scope.definitions[h.definition]
    view = handoff_view(subject.id, j, h)
    hoped = priority.outlook(s, h, at, subject.scope)
    rows = explain.score_rows(s, subject.base, subject.items, at, d, subject.scope.definitions)
    raised = bool(h.flags & HAND_RAISED) or scoring.raised(s, at, d)
    due = next_deadline(view)
    remaining: View | None = None
    if due is not None:
        calendar = calendar_of(s, h.definition, h.policy, h.owner, at, subject.scope)
        business = calendar.between(at, due[1]) - calendar.between(due[1], at)
        remaining = {"clock": due[0], "due_at": due[1], "wall_ms": due[1] - at, "business_ms": business}
    return view | {
        "priority_minor": hoped.priority_minor,
        "win_probability_ppm": hoped.probability_ppm,
        "expected_minor": hoped.expected_minor,
        "currency": hoped.currency,
        "next": remaining,
        "age_ms": at - h.begun,
        "breached": breached(h) or (due is not None and due[1] < at),
        "overdue": due is not None and due[1] < at,
        "hand_raised": raised,
        "raised_at": (s.raised or None) if raised else None,
        "reasons": [r for r in reasons(rows) if r["points_milli"] > 0][:REASONS],
        "engagement_milli": scoring.engagement(s, d.days.day(at), d),
        "fit_milli": s.fit,
        "fit_grade": scoring.grade(s.fit, d),
        "segment": s.segment or None,
        "source": s.source or None,
    }


def _place(h: View) -> tuple[bool, bool, int, int, int, int, str]:
    worth, due = h["priority_minor"], h["next"]
    return (
        h["paused_at"] is not None,
        worth is None,
        -(worth or 0),
        due["due_at"] if due is not None else NEVER,
        0 if worth is not None else -h["engagement_milli"],
        h["started_at"],
        h["handoff_id"],
    )
