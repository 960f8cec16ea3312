"""The end of an erasure: facts, payloads, snapshots and what was derived from them leave the row.

The state just after the erasure becomes the base of the row, as at the ledger's horizon: it holds stages, handoffs
and deals by their ids, and nothing that the person did, said or is. What the facts themselves added to the figures is
kept as a sum, the `residue`: contribution before less contribution after, so the totals do not move whatever a figure
rests on, but for labels that tell what the person took or said: those become ``(erased)``. While a half-read past is folded nothing is purged, because its other half has still to find its place.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from processors import engagement, erasure, figures, lead_quality, ledger, tally
from processors.figures import EMPTY, Contribution, Key
from processors.fold import feed, new_state
from processors.model import Row, encode
from processors.scope import Scope
from processors.subject import base_of, effective

_FINE, _COARSE = "fine", "all"
#: Labels that tell what a person took, said, used or came by, in counts of what people did; and what stands for them
#: once the person is erased. What sales booked keeps its labels: it is the company's.
_TELLING = frozenset(("campaign", "asset", "feature", "network", "reaction", "category"))
_TOLD = engagement.COLUMNS | lead_quality.COLUMNS
NAMELESS = "(erased)"


def nameless(key: Key) -> Key:
    """A count as it stays when the person is erased: that something was taken or said, not what."""
    columns = _TOLD.get(key[0])
    if columns is None or _TELLING.isdisjoint(columns):
        return key
    values = zip(columns, key[1:], strict=True)
    return (key[0], *(NAMELESS if label in _TELLING and x != EMPTY else x for label, x in values))


class Renamed(NamedTuple):
    """A count that stays, under labels that tell less. ``fine``: only exact reports have it."""

    fine: bool
    old: Key
    new: Key
    n: int


def settle(row: Row, scope: Scope, live: bool) -> list[Renamed]:
    """Take out of the row what is to be forgotten, if its time has come. To be called after `subject.process`.

    :returns: what counts under other labels from now on.
    """
    at = row.head.gone[0] >> 22
    if not any(x.at <= at and not x.done for x in row.erasures):
        return []
    if not live:
        if not row.waiting:  # look at it again when the past has been read, with nothing to say as yet
            row.waiting = True
            row.spoken = encode((row.head.journeys, row.head.shares, row.head.source))
        return []
    before = _contributions(row, scope)
    key = row.head.gone
    row.base = next((x[2] for x in row.snapshots if (x[0], x[1]) == key), b"") or _folded(row, key, scope)
    row.ledger, row.data = ledger.drop_before(row.ledger, row.data, *key)
    row.snapshots = [x for x in row.snapshots if (x[0], x[1]) > key]
    row.touches = []
    tally.forget(row, effective(row))
    erasure.finished(row, at)
    after = _contributions(row, scope)
    kept: dict[str, int] = dict(row.residue)
    renamed = []
    for kind, contribution in before.items():
        for name in contribution.keys() | after[kind].keys():
            moved = contribution.get(name, 0) - after[kind].get(name, 0)
            stays = nameless(name)
            if moved and stays != name:
                renamed.append(Renamed(kind == _FINE, name, stays, moved))
            text = _named(kind, stays)
            kept[text] = kept.get(text, 0) + moved
    row.residue = {text: n for text, n in kept.items() if n}
    return renamed


def moves(renamed: Iterable[Renamed], fine: bool) -> tuple[Contribution, Contribution]:
    """What totals move by: (before, after)."""
    before: Contribution = {}
    after: Contribution = {}
    for x in renamed:
        if fine or not x.fine:
            figures.add(before, [(x.old, x.n)])
            figures.add(after, [(x.new, x.n)])
    return before, after


def _folded(row: Row, key: tuple[int, int], scope: Scope) -> bytes:
    """The state just after ``key``, where no snapshot of it is there."""
    s = base_of(row) or new_state()
    feed(s, [e for e in effective(row) if (s.a, s.b) < (e[0], e[1]) <= key], scope)
    return encode(s)


def _contributions(row: Row, scope: Scope) -> dict[str, Contribution]:
    """What the row adds without its residue: to what workers show, and to exact reports alone."""
    whole = figures.of_row(scope.subject, row, scope)
    coarse = figures.of_row(scope.subject, row, scope, None, fine=False)
    figures.add(whole, ((k, -n) for k, n in figures.residue(row).items()))
    figures.add(coarse, ((k, -n) for k, n in figures.residue(row, fine=False).items()))
    return {_COARSE: coarse, _FINE: {k: n for k, n in whole.items() if k not in coarse}}


def _named(kind: str, name: tuple[Any, ...]) -> str:
    return msgspec.json.encode([kind == _FINE, *name]).decode()
