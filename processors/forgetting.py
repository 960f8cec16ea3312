"""A person is erased: what the fold still knows afterwards.

Stages, handoffs and deals of the past stay as they were counted, without a word of what the person did, said or is;
so nothing that was counted moves. Who comes back under the same id is a new person, whom marketing neither nurtures
nor profiles until they say otherwise; a raised hand counts (DOMAIN 8, case 47). What is left of facts in a row is the
business of `erasure`.
"""

from __future__ import annotations

from msgspec.structs import replace

from processors import handoff, lifecycle, scoring
from processors.compiled import Compiled
from processors.consent import SUPPRESSED
from processors.events import KIND
from processors.model import ERASED, FORGOTTEN, GONE, NURTURE_ENDED, Journey, Past, State
from processors.shares import KINDS, moved

#: Facts by which a person is there again; what sales does or answers refers to the one who is gone.
_RETURNS = frozenset(KIND[name] for name in ("created", "identified", "attributes_changed", "reopened"))
_CONSENT = KIND["consent_changed"]


def forget(s: State, t: int, d: Compiled) -> None:
    """The erasure itself, at ``t``: the key of its fact is the state's."""
    s.gone = s.anew = (s.a, s.b)
    if s.left:
        s.past = (*s.past[:-1], replace(s.past[-1], key=s.gone))
    elif s.journeys:
        handoff.withdraw(s, t, "erased")
        j = s.journeys[-1]
        if not j.exited and j.at < d.won:
            lifecycle.leave(s, t, ERASED)
        lifecycle.mark(s, t, NURTURE_ENDED)
        s.journeys = (*s.journeys[: s.lives], *map(_bare, s.journeys[s.lives :]))
        s.past = (
            *s.past,
            Past(s.gone, len(s.journeys), s.source, s.segment, s.created, s.generated),
        )
        s.left = True
    s.acc, s.attributes, s.agents = {}, {}, {}
    s.once = s.barred = s.raised = s.consumed = s.until = s.cross = s.created = s.generated = 0
    s.qualified = s.low = s.answered = s.saturated = False
    s.source, s.owner, s.account, s.override = None, "", "", (0, 0)
    s.consent = dict.fromkeys(SUPPRESSED, (False, t))
    s.fit, s.segment = scoring.fit_of({}, d), scoring.segment_of({}, d)


def _bare(j: Journey) -> Journey:
    calls = tuple(replace(h, notes="", flags=h.flags | FORGOTTEN) for h in j.handoffs)
    return replace(j, handoffs=calls)


def is_of_the_past(s: State, kind: int, t: int, data: object) -> bool:
    """Is a fact about a person who was erased? Then it is taken care of here: their deals go on, and what sales did
    too late is refused."""
    if kind in KINDS:
        assert isinstance(data, list)
        known = s.shares.get(str(data[0]))
        if not s.left if known is None else known.journey > s.lives:
            return False
        s.shares = moved(s.shares, kind, t, data, s.lives)
        return True
    if not s.left or kind in _RETURNS or kind == _CONSENT:
        return False
    lifecycle.mark(s, t, GONE)
    return True
