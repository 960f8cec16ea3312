"""What became of leads by where they came from: how good they were, what helped, and what nurture was told.

The campaign of a lead is that of its first touch. Everything is counted per person, on the day they became known, so
that a share is one of the leads that a campaign brought; answers and deals count on days of their own. That journeys
with material are won more often, or less, is an association: sales shares it where it sees a chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from processors.additive import EMPTY, Key
from processors.attribution import Touch, touches
from processors.compiled import Compiled
from processors.events import KIND
from processors.ledger import Item
from processors.model import (
    ACCEPTED,
    CODE,
    DEAL_STATUS,
    LOST_DEAL,
    REJECTED,
    TURNED_DOWN,
    WON,
    Journey,
    Share,
)
from processors.say import NURTURE, decisions
from processors.visits import field

#: How far a lead came: it exists, sales decided on it, took it, found it worth pursuing, won it.
REACHED = ("lead", "decided", "accepted", "sql", "won")
SIGNALS = ("paused", "resumed", "stopped")
_LEAD = ("source", "segment")
#: Labels of each count; all of them are for exact reports. The day of the first two is that of becoming known.
COLUMNS: dict[str, tuple[str, ...]] = {
    "quality_on": ("reached", "campaign", *_LEAD, "day"),
    "quality_value_on": ("currency", "campaign", *_LEAD, "day"),
    "decided_on": ("answer", "reason", "rule", "campaign", *_LEAD, "day"),
    "helped_on": (*_LEAD, "day"),
    "helped_by_on": ("asset", *_LEAD, "day"),
    "helped_deal_on": ("material", "status", *_LEAD, "day"),
    "helped_deal_by_on": ("asset", "status", *_LEAD, "day"),
    "nurture_on": ("signal", *_LEAD, "day"),
}
_SHARED = KIND["material_shared"]


def contribution(
    journeys: Sequence[Journey],
    shares: Iterable[Share],
    items: Sequence[Item],
    kept: Sequence[Touch],
    lead: tuple[str, str],
    won: bool,
    d: Compiled,
) -> dict[Key, int]:
    """What one person adds.

    :param items: their facts in order; ``kept``: touches from before the first of them.
    :param won: does a win of theirs stand?
    """
    out: dict[Key, int] = {}

    def put(*key: Any, n: int = 1) -> None:
        out[key] = out.get(key, 0) + n

    first = next(iter(kept), None) or next(iter(touches(items, d)), None)
    campaign = (first.campaign if first is not None else "") or EMPTY
    closed = [x for x in shares if x.outcome in (WON, LOST_DEAL)]
    known = _known(journeys, d)
    if known:
        day = d.days.day(known)
        for reached in _reached(journeys, won, d):
            put("quality_on", reached, campaign, *lead, day)
        for x in closed:
            if x.outcome == WON and x.amount:
                put("quality_value_on", x.currency or EMPTY, campaign, *lead, day, n=x.amount)
    for j in journeys:
        for h in j.handoffs:
            if h.outcome in (ACCEPTED, TURNED_DOWN):
                answer = "accepted" if h.outcome == ACCEPTED else "rejected"
                reason, rule = h.reason or EMPTY, h.rule or EMPTY
                put("decided_on", answer, reason, rule, campaign, *lead, d.days.day(h.start))
    for key, content in decisions(tuple(journeys)).items():
        if key[0] == NURTURE:
            put("nurture_on", key[1], *lead, d.days.day(content[0]))
    _material(journeys, closed, items, lead, d, put)
    return out


def _known(journeys: Sequence[Journey], d: Compiled) -> int:
    return next((x >> 9 for j in journeys for x in j.entries if d.known <= x & CODE < REJECTED), 0)


def _reached(journeys: Sequence[Journey], won: bool, d: Compiled) -> list[str]:
    outcomes = {h.outcome for j in journeys for h in j.handoffs}
    stages = {x & CODE for j in journeys for x in j.entries}
    found = {
        "lead": True,
        "decided": bool(outcomes & {ACCEPTED, TURNED_DOWN}),
        "accepted": ACCEPTED in outcomes,
        "sql": any(d.sql <= code < REJECTED for code in stages),
        "won": won,
    }
    return [name for name, there in found.items() if there]


def _material(
    journeys: Sequence[Journey],
    closed: Sequence[Share],
    items: Sequence[Item],
    lead: tuple[str, str],
    d: Compiled,
    put: Any,
) -> None:
    """What sales shared belongs to the journey under way; deals closed afterwards were closed with it."""
    shared: dict[int, dict[str, int]] = {}  # journey -> asset -> when first
    for a, b, _, data in items:
        if b >> 8 & 255 == _SHARED:
            t = a >> 22
            n = max((j.n for j in journeys if j.entries[0] >> 9 <= t), default=0)
            shared.setdefault(n, {}).setdefault(str(field(data, 0) or EMPTY), t)
    for assets in shared.values():
        put("helped_on", *lead, d.days.day(min(assets.values())))
        for asset, t in assets.items():
            put("helped_by_on", asset, *lead, d.days.day(t))
    for x in closed:
        status, day = DEAL_STATUS[x.outcome], d.days.day(x.closed)
        used = [asset for asset, t in shared.get(x.journey, {}).items() if t <= x.closed]
        put("helped_deal_on", "yes" if used else "no", status, *lead, day)
        for asset in used:
            put("helped_deal_by_on", asset, status, *lead, day)
