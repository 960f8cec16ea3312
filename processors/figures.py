"""What one row adds to each figure: integers under addition.

A contribution is a mapping from a key (figure name and labels) to an integer. Totals move by
contribution(after) - contribution(before), an abelian group, so figures are exact under restatement, merge,
unmerge and erasure, and add up over partitions and workers. What people read is made of totals by `report`.

Durations in days are kept in exact integer bins, shorter ones in bins of at most 1 % relative width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from processors.compiled import Compiled
from processors.days import month_of_day
from processors.deals import Deal
from processors.model import (
    ACCEPTED,
    BACKFILLED,
    CODE,
    DEAL_STATUS,
    EXITS,
    GENERATED,
    IMPLIED,
    LOST_DEAL,
    OPEN,
    OUTCOMES,
    REJECTED,
    SILENT,
    TURNED_DOWN,
    WON,
    Handoff,
)
from processors.scope import Scope
from processors.subject import Seen

Key = tuple[Any, ...]
Contribution = dict[Key, int]
EMPTY = "(empty)"
#: Horizon of "ever" in cohort conversions.
EVER = 0


def log_bin(ms: int) -> int:
    """Bin of a duration: 64 bins per doubling above 64 s, exact seconds below; at most 1.6 % wide, 0.8 % off."""
    s = max(ms, 0) // 1000
    if s < 128:
        return s
    e = s.bit_length() - 8
    return 128 + e * 128 + ((s >> e) - 128)


def bin_seconds(n: int) -> int:
    """The middle of a bin, seconds."""
    if n < 128:
        return n
    e, m = divmod(n - 128, 128)
    return (128 + m << e) + (1 << e >> 1)


def stage_names(d: Compiled) -> dict[int, str]:
    return d.names | EXITS


def of_lead(seen: Seen, scope: Scope, fine: bool = True) -> Contribution:
    """What a lead's row adds. ``fine`` adds what only exact reports need: days, months and distributions."""
    out: Contribution = {}
    if not seen.journeys:
        return out
    d = scope.definitions[-1]
    names = d.names
    source = seen.source if seen.source else EMPTY
    segment = seen.segment or EMPTY
    day_of = d.days.day

    def put(*key: Any, n: int = 1) -> None:
        out[key] = out.get(key, 0) + n

    put("persons", source, segment)
    if seen.created:
        put("leads", source, segment)
    for j in seen.journeys:
        series = GENERATED[j.generated] if j.n == 1 or GENERATED[j.generated] == "win_back" else "recycled"
        first: dict[int, tuple[int, bool]] = {}
        entries = j.entries
        for i, x in enumerate(entries):
            code, day = x & CODE, day_of(x >> 9)
            name = names.get(code) or EXITS.get(code) or f"retired:{code}"
            kind = "implied" if x & IMPLIED else "imported" if x & BACKFILLED else series
            put("entered", name, kind, source, segment)
            if fine:
                put("entered_on", name, kind, source, segment, day)
            if i + 1 < len(entries):
                put("left", name, source, segment)
                if fine and not x & IMPLIED:
                    put("stay_days", name, max(0, day_of(entries[i + 1] >> 9) - day))
            else:
                put("balance", name, source, segment)
            if code not in first:
                first[code] = (day, bool(x & IMPLIED))
        if fine:
            _conversions(first, d, source, put)
        for h in j.handoffs:
            _handoff(h, source, segment, scope, fine, put)
    if fine:
        _cycle(seen, d, source, put)
    return out


def pairs(d: Compiled) -> tuple[tuple[int, int], ...]:
    """The conversions that are reported: each stage to the next, and the whole way."""
    path = (d.known, d.mql, d.sal, d.sql, d.opportunity, d.won)
    return (*zip(path, path[1:], strict=False), (d.known, d.won), (d.mql, d.won))


def _conversions(first: dict[int, tuple[int, bool]], d: Compiled, source: str, put: Any) -> None:
    """Cohort = month of entering A; implied entries count (DOMAIN 6). Days are calendar days of the reporting zone."""
    for a, b in pairs(d):
        if a not in first:
            continue
        began = first[a][0]
        month = month_of_day(began)
        names = (d.names[a], d.names[b])
        put("cohort", *names, month, source)
        if b in first:
            took = first[b][0] - began
            put("converted", *names, EVER, month, source)
            for h in d.source.horizons_days:
                if took <= h:
                    put("converted", *names, h, month, source)


def _handoff(h: Handoff, source: str, segment: str, scope: Scope, fine: bool, put: Any) -> None:
    outcome = OUTCOMES[h.outcome] or "open"
    if h.flags & SILENT and h.outcome not in (ACCEPTED, TURNED_DOWN):
        outcome = "imported_open"
    put("handoff", outcome, source, segment, h.team)
    if h.returned:
        put("returned", h.reason, source)
    if h.outcome == TURNED_DOWN:
        put("rejected", h.reason, source, h.rule)
    if h.outcome == ACCEPTED:
        put("admitted", h.rule, source)
    if outcome == "imported_open":
        return
    for clock, due, met, late in (
        ("first_touch", h.due_touch, h.touched, h.late_touch),
        ("decision", h.due_decide, h.ended if h.outcome in (ACCEPTED, TURNED_DOWN) else 0, h.late_decide),
        ("meeting", h.due_meet, h.met, h.late_meet),
    ):
        if due:
            state = "breached" if late else "met" if met else "open" if h.outcome == OPEN else "dropped"
            put("sla", clock, state, h.team)
    if h.touched:
        wall = h.touched - h.start
        put("speed", "wall", h.team, log_bin(wall))
        if fine:
            d = scope.definitions[h.definition]
            put("speed", "business", h.team, log_bin(d.calendar(d.source.sla[h.policy]).between(h.start, h.touched)))
    else:
        put("untouched", h.team)


def _cycle(seen: Seen, d: Compiled, source: str, put: Any) -> None:
    """Calendar days from the lead's creation to its first win; negative where it was won before."""
    won = [x >> 9 for j in seen.journeys for x in j.entries if x & CODE == d.won]
    if won:
        known = [x >> 9 for x in seen.journeys[0].entries if d.known <= x & CODE < REJECTED]
        began = seen.created or (known[0] if known else won[0])
        days = d.days.day(min(won)) - d.days.day(began)
        put("days_to_won", source, days)


def of_deal(deal: Deal | None, scope: Scope, fine: bool = True) -> Contribution:
    """What a deal's row adds: counts by status, and money in the deal's own currency by month of closing."""
    if deal is None:
        return {}
    d = scope.definitions[-1]
    out: Contribution = {("deal", DEAL_STATUS[deal.status]): 1}
    if deal.status in (WON, LOST_DEAL):
        day = d.days.day(deal.closed)
        out["deal_amount", DEAL_STATUS[deal.status], deal.currency] = deal.amount
        if fine:
            out["deal_closed_on", DEAL_STATUS[deal.status], day] = 1
            out["deal_amount_on", DEAL_STATUS[deal.status], deal.currency, day] = deal.amount
            if deal.status == WON:
                out["cycle_days", day - d.days.day(deal.opened)] = 1
    if not deal.leads:
        out["deal_without_lead", DEAL_STATUS[deal.status]] = 1
    return {k: n for k, n in out.items() if n}


def move(total: Contribution, before: Mapping[Key, int], after: Mapping[Key, int]) -> None:
    """total += after - before; keys that come to zero go."""
    for key in before.keys() | after.keys():
        n = total.get(key, 0) + after.get(key, 0) - before.get(key, 0)
        if n:
            total[key] = n
        else:
            total.pop(key, None)


def add(total: Contribution, more: Iterable[tuple[Key, int]]) -> None:
    for key, n in more:
        total[key] = total.get(key, 0) + n
