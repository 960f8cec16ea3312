"""What one row adds to each figure, as of any instant: a lead, a visitor, a deal or an account."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from processors import (
    accounts,
    attribution,
    checks,
    deals,
    engagement,
    hindsight,
    lead_quality,
    ledger,
    links,
    tally,
)
from processors.additive import EMPTY, Contribution, add, move
from processors.columns import COLUMNS
from processors.compiled import Compiled
from processors.deal_figures import of_deal
from processors.fold import elapse, feed, look_into, new_state, settled
from processors.lead_figures import lives, of_lead, won_at
from processors.model import Past, Row, State, decode_state, encode
from processors.scope import Scope
from processors.subject import Seen, base_of, effective
from processors.subject import seen as seen_of


def of_row(key: str, row: Row, scope: Scope, as_of_ms: int | None = None, fine: bool = True) -> Contribution:
    """What a row adds, as of an instant (epoch ms); None: as of its last transition."""
    if key[:1] == "d":
        at = row.head.fired if as_of_ms is None else as_of_ms
        return of_deal(deals.fold(ledger.items(row.ledger, row.data), at), scope, fine)
    if key[:1] == "c":
        return accounts.of_customer(accounts.at(key[2:], row, as_of_ms, scope), scope, fine)
    seen = seen_at(row, as_of_ms, scope)
    out = of_lead(seen, scope, fine)
    engaged = of_engagement(row, seen, scope, as_of_ms) if fine else tally.contribution(row.tally.counts)
    add(out, engaged.items())
    if row.residue:
        kept = residue(row, fine)
        move(out, {}, kept if as_of_ms is None else _by_then(kept, forgotten(row, as_of_ms), as_of_ms, scope))
    if fine and checks.is_sampled(key):
        gap = checks.score_gap(row, scope)
        if gap:
            out["unexplained",] = gap
    return out


def residue(row: Row, fine: bool = True) -> Contribution:
    """What facts that were erased had added."""
    out: Contribution = {}
    for text, n in row.residue.items():
        only_fine, *key = msgspec.json.decode(text)
        if fine or not only_fine:
            out[tuple(key)] = n
    return out


def _by_then(kept: Contribution, blurred: bool, as_of_ms: int, scope: Scope) -> Contribution:
    """Of a residue, what had been counted by an instant; where the row keeps nothing of that time, only what has a day
    of its own, for the rest cannot be told apart."""
    today = scope.definitions[-1].days.day(as_of_ms)
    out: Contribution = {}
    for key, n in kept.items():
        columns = COLUMNS[key[0]]
        dated = "day" in columns
        if dated and key[1 + columns.index("day")] > today:
            continue
        if not blurred or (dated and key[0] not in lead_quality.COLUMNS):
            out[key] = n
    return out


def of_engagement(row: Row, seen: Seen, scope: Scope, as_of_ms: int | None = None) -> Contribution:
    """What people did, by day, from the facts of a row that the figures see as ``seen``."""
    d = scope.definitions[-1]
    items = effective(row)
    if as_of_ms is None:
        items = [e for e in items if (e[0], e[1]) <= (row.head.a, row.head.b)]
    else:
        items = [e for e in items if e[0] >> 22 <= as_of_ms]
    out: Contribution = {}
    upto = None if as_of_ms is None else d.days.day(as_of_ms)
    for key, found in tally.dated(row, items, base_of(row), d, upto):
        of: Seen | Past = next((x for x in seen.past if x.key == key), seen)
        lead = (of.source or EMPTY, of.segment or EMPTY)
        add(out, engagement.contribution(found.items(), lead).items())
    add(out, _quality(row, seen, items, d).items())
    return out


def _quality(row: Row, seen: Seen, items: Sequence[ledger.Item], d: Compiled) -> Contribution:
    """What became of each person in turn, by what they came by."""
    out: Contribution = {}
    kept = [attribution.Touch(*x) for x in row.touches]
    ends = [x.key for x in seen.past]
    begins = [(0, 0), *ends]
    for n, life in enumerate(lives(seen) if seen.past else (seen,)):
        if not life.journeys:
            continue
        own = [e for e in items if e[:2] > begins[n] and (n == len(ends) or e[:2] < ends[n])]
        lead = (life.source or EMPTY, life.segment or EMPTY)
        won = any(won_at(j, d) for j in life.journeys)
        found = lead_quality.contribution(
            life.journeys, life.shares.values(), own, kept if n == len(ends) else (), lead, won, d
        )
        add(out, found.items())
    return out


def seen_at(row: Row, as_of_ms: int | None, scope: Scope) -> Seen:
    """A lead as it stood, or will have stood by timers alone, at an instant; by what is known of that now."""
    head = row.head
    if as_of_ms is None:
        return seen_of(row, head, scope)
    at = as_of_ms
    if forgotten(row, at):
        state = base_of(row)
        assert state is not None
        return hindsight.seen(state, at, scope)
    past = head.a >> 22 <= at and head.fired <= at
    if past and at < min(head.due, row.held):
        return seen_of(row, head, scope)
    base, items = base_of(row), [e for e in effective(row) if e[0] >> 22 <= at]
    look_into(scope, lambda: (base, items))
    links.claim(row, scope)
    begin = [x[2] for x in row.snapshots if x[0] >> 22 <= at][-1:]
    if past and not row.held < head.latest:  # else a clock may start earlier than the head knows
        begin = [encode(head)]

    def once() -> State:
        s = decode_state(begin.pop()) if begin else base_of(row) or new_state()
        if s.a >> 22 > at:
            s = new_state()
        feed(s, [e for e in items if (e[0], e[1]) > (s.a, s.b)], scope)
        elapse(s, at, scope)
        return s

    s = settled(once, scope)
    return seen_of(row, s, scope)


def forgotten(row: Row, as_of_ms: int) -> bool:
    """Does the instant lie below the horizon of the row's ledger, or before an erasure? Then the row says how it stood as
    far as that follows from what is left (`hindsight`)."""
    base = base_of(row) if row.base else None
    return base is not None and base.a >> 22 > as_of_ms
