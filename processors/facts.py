"""What each fact does to a lead. Scores and what follows from them are settled after it, by `fold.step`."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from processors import answers, consent, deal_facts, handoff, lifecycle, scoring, visits
from processors.compiled import Compiled
from processors.definition.model import MILLI
from processors.events import KIND
from processors.fact import Fact, Handler
from processors.model import ACCEPTED, GENERATED, MOVED, OPEN, RECLASSIFIED, State

#: Attributes that a row keeps of a lead, unless the definition asks for more.
MAX_ATTRIBUTES = 64


def _created(s: State, f: Fact) -> None:
    generated = GENERATED.index(f.at(1)) if f.at(1) in GENERATED else 0
    if not s.created and not (f.at(1) == "win_back" and len(s.journeys) > s.lives):
        s.created = f.t
        s.source = f.at(0)
        s.generated = generated
        if len(s.journeys) - s.lives == 1:
            lifecycle.put(s, replace(s.journeys[-1], generated=generated))
    j = lifecycle.started(s, f.t, f.d, f.backfill)
    if j.at < f.d.known:
        lifecycle.enter(s, f.t, f.d.known, f.d, f.backfill)
    elif f.at(1) == "win_back" and (j.exited or j.at == f.d.won):
        lifecycle.begin(s, f.t, f.d, f.backfill, GENERATED.index("win_back"))
        s.answered = s.qualified = False
        s.until = 0


def _identified(s: State, f: Fact) -> None:
    f.scope.linking = True
    if f.scope.subject[:1] != "l":
        return  # a visitor stays one: it is the lead that is known now
    if lifecycle.started(s, f.t, f.d, f.backfill).at < f.d.known:
        lifecycle.enter(s, f.t, f.d.known, f.d, f.backfill)


def _attributes(s: State, f: Fact) -> None:
    fields = f.at(0)
    if type(fields) is not dict:
        return
    merged = {**s.attributes, **fields}
    if len(merged) > MAX_ATTRIBUTES:
        merged = _bounded(merged, fields, f.d)
    s.attributes = merged
    s.fit = scoring.fit_of(merged, f.d)
    s.segment = scoring.segment_of(merged, f.d)
    if consent.ADDRESS_HASH in fields:
        erased = f.scope.reference.suppressed(str(fields[consent.ADDRESS_HASH]), f.t)
        if erased:
            consent.suppress(s, erased, f.t)
    if scoring.barred(merged, f.d):
        s.barred |= 1
        if s.journeys and f.d.mql >= s.journeys[-1].at and not s.journeys[-1].exited:
            handoff.withdraw(s, f.t, "disqualified")
    else:
        s.barred &= ~1


def _bounded(merged: dict[str, Any], latest: dict[str, Any], d: Compiled) -> dict[str, Any]:
    """All that the definition asks for, and of the rest what was told last: a CRM may send hundreds of fields."""
    others = [x for x in merged if x not in d.asks]
    others.sort(key=lambda x: x in latest)
    dropped = set(others[: len(merged) - MAX_ATTRIBUTES])
    return {k: v for k, v in merged.items() if k not in dropped}


def _account_matched(s: State, f: Fact) -> None:
    """Another company: the journey ends, the person stays (case 24)."""
    account = f.at(0) or ""
    if s.account and account != s.account and s.journeys and not s.journeys[-1].exited:
        handoff.withdraw(s, f.t, "moved")
        lifecycle.leave(s, f.t, MOVED)
        lifecycle.begin(s, f.t, f.d, f.backfill)
        s.qualified = s.answered = s.low = False
    s.account = account


def _consent(s: State, f: Fact) -> None:
    consent.changed(s, str(f.at(0)), bool(f.at(1)), f.t)


def _overridden(s: State, f: Fact) -> None:
    value, until = f.at(0), f.at(1)
    if type(value) is int:
        s.override = (
            max(-scoring.LIMIT, min(value * MILLI, scoring.LIMIT)),
            until if type(until) is int else 1 << 60,
        )


def _reclassified(s: State, f: Fact) -> None:
    """What the event was worth is gone from now on; a lead handed over stays so, and is flagged (case 42)."""
    day = f.d.days.day(f.t)
    before, raised = scoring.engagement(s, day, f.d), s.raised
    if type(f.data) is list:
        s.agents = {**s.agents, **visits.reclassified(f.data)}
    scoring.rescore(s, f.scope, f.d)
    j = s.journeys[-1]
    h = j.handoffs[-1] if j.handoffs and not j.exited else None
    if h is None or h.outcome not in (OPEN, ACCEPTED) or h.flags & RECLASSIFIED:
        return
    if s.raised < raised or scoring.engagement(s, day, f.d) < before:
        handoff.change(s, h, flags=h.flags | RECLASSIFIED)


_PERSON: dict[str, Handler] = {
    "created": _created,
    "identified": _identified,
    "attributes_changed": _attributes,
    "account_matched": _account_matched,
    "consent_changed": _consent,
    "score_overridden": _overridden,
    "engagement_reclassified": _reclassified,
}
#: Kind -> what it does; kinds that are not here are kept and do nothing to the stages.
FACTS: dict[int, Handler] = {
    KIND[name]: handler for name, handler in (_PERSON | answers.HANDLERS | deal_facts.HANDLERS).items()
}
