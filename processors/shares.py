"""A lead's part in a deal, as the deal tells of it: the money alone, whatever becomes of the lead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from processors.events import KIND
from processors.ledger import Item
from processors.model import DELETED, LOST_DEAL, RUNNING, WON, Call, Share

_OPENED, _AMOUNT, _WON, _LOST, _REOPENED, _GONE = (
    KIND[name]
    for name in ("share_opened", "share_amount", "share_won", "share_lost", "share_reopened", "share_gone")
)
KINDS = frozenset((_OPENED, _AMOUNT, _WON, _LOST, _REOPENED, _GONE))
#: What a deal that nobody told the opening of is opened by.
_BEGINS = frozenset((_OPENED, _WON, _LOST, _REOPENED))


def after(
    share: Share | None, kind: int, t: int, data: list[Any], journey: int, call: Call | None = None
) -> Share | None:
    """The share after one fact of `KINDS` at ``t`` (ms); ``data`` as in `events.FIELDS`.

    :param journey: the one that a share not known yet belongs to.
    :param call: what the lead was judged by just before it.
    """
    amount, currency = data[1], data[2] or ""
    closed = data[4] if len(data) > 4 and data[4] else t
    of = str(data[7]) if len(data) > 7 else ""
    if share is None:
        if kind not in _BEGINS:
            return None
        share = Share(journey, amount, currency, t, call=call, parts={of: amount} if of else {})
    if of:
        share = _with_part(share, of, None if kind == _GONE else amount, kind in (_OPENED, _AMOUNT, _WON))
        if kind == _GONE and share.parts:
            return share
        amount = share.amount
    if kind == _OPENED:  # something dated before the opening may have come without an amount
        return share if share.currency else replace(share, amount=amount, currency=currency)
    if kind == _AMOUNT:
        return replace(share, amount=amount, currency=currency or share.currency)
    if kind == _WON:  # won twice is one win (case 35)
        closed = share.closed if share.outcome == WON else closed
        to = currency or share.currency
        return replace(share, amount=amount, currency=to, outcome=WON, closed=closed)
    if kind == _REOPENED:
        return share if share.outcome == RUNNING else replace(share, outcome=RUNNING, closed=0)
    return (
        replace(share, outcome=LOST_DEAL, closed=closed)
        if kind == _LOST
        else replace(share, outcome=DELETED, closed=t)
    )


def _with_part(share: Share, of: str, amount: int | None, anew: bool) -> Share:
    """The share with the part of one of the leads of its deal; None takes it away.

    :param anew: the part is now this, whatever it was.
    """
    parts = {lead: n for lead, n in share.parts.items() if lead != of}
    if amount is not None:
        parts[of] = amount if anew else share.parts.get(of, amount)
    return replace(share, parts=parts, amount=sum(parts.values()) if parts else share.amount)


def moved(
    shares: dict[str, Share], kind: int, t: int, data: list[Any], journey: int, call: Call | None = None
) -> dict[str, Share]:
    """All shares after one fact."""
    deal = str(data[0])
    new = after(shares.get(deal), kind, t, data, journey, call)
    return shares if new is None else {**shares, deal: new}


def of_items(items: Iterable[Item], known: dict[str, Share], journey: int) -> dict[str, Share]:
    """The shares that some facts, in order, make from nothing; those ``known`` keep their journeys, and what they were judged by."""
    out: dict[str, Share] = {}
    for a, b, _, data in items:
        kind = b >> 8 & 255
        if kind in KINDS:
            old = known.get(str(data[0]))
            where, call = (journey, None) if old is None else (old.journey, old.call)
            out = moved(out, kind, a >> 22, data, where, call)
    return out
