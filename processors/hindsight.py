"""How a lead stood at an instant of which its row keeps no facts any more, by what followed from them.

After an erasure, and below the horizon of the ledger, a state is left: stages as instants, handoffs with the instants of
all that became of them, deals with their closing. Cut at an earlier instant it says how things stood then. Not known any
more are amounts before they changed, and what the lead was worth while it was on its way.
"""

from __future__ import annotations

from msgspec.structs import replace

from processors import attribution
from processors.model import OPEN, RUNNING, Handoff, Journey, Share, State
from processors.scope import Scope
from processors.subject import Seen


def seen(s: State, at: int, scope: Scope) -> Seen:
    """The figures of a row that stands in ``s``, as they were at an earlier instant (epoch ms)."""
    journeys = tuple(cut for j in s.journeys if (cut := _journey(j, at)) is not None)
    shares = {deal: _share(x, at) for deal, x in s.shares.items() if x.opened <= at}
    gone = tuple(x for x in s.past if x.key[0] >> 22 <= at)
    who = s.past[len(gone)] if len(gone) < len(s.past) else s
    credit = attribution.of_lead((), journeys, shares, scope.definitions[-1])
    return Seen(journeys, shares, who.source, who.segment, who.created, who.generated, credit, gone)


def _journey(j: Journey, at: int) -> Journey | None:
    entries = tuple(x for x in j.entries if x >> 9 <= at)
    if not entries:
        return None
    return replace(
        j,
        entries=entries,
        marks=tuple(x for x in j.marks if x >> 16 <= at),
        handoffs=tuple(_handoff(h, at) for h in j.handoffs if h.start <= at),
        reason=j.reason if len(entries) == len(j.entries) else "",
    )


def _handoff(h: Handoff, at: int) -> Handoff:
    """Instants after ``at`` have not come yet."""
    came = {
        name: t if t <= at else 0
        for name in (
            "touched",
            "met",
            "late_touch",
            "late_decide",
            "late_meet",
            "returned",
            "owned",
            "released",
        )
        if (t := getattr(h, name))
    }
    routes = tuple(x for x in h.routes if x.at <= at)
    if routes:
        came |= {"team": routes[-1].team, "owner": routes[-1].owner}
    if h.ended > at:
        came |= {"outcome": OPEN, "ended": 0, "reason": ""}
    missed = tuple(x for x in h.missed if x[0] <= at)
    return replace(h, routes=routes, formers=tuple(x for x in h.formers if x[1] <= at), missed=missed, **came)


def _share(x: Share, at: int) -> Share:
    return x if x.closed <= at else replace(x, outcome=RUNNING, closed=0)
