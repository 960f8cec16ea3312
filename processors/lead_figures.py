"""What a lead adds to each figure: where its journeys went, what became of its handoffs, when it was won."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from processors import attribution, priority
from processors.additive import EMPTY, Contribution, Key, add
from processors.bins import log_bin
from processors.columns import EVER, pairs
from processors.compiled import Compiled
from processors.days import month_of_day
from processors.handoff import zone_of
from processors.model import (
    ACCEPTED,
    BACKFILLED,
    CODE,
    DEAL_STATUS,
    GENERATED,
    IMPLIED,
    LATE,
    LOST,
    LOST_DEAL,
    OPEN,
    OUTCOMES,
    REJECTED,
    SILENT,
    TURNED_DOWN,
    WITHDRAWN,
    WON,
    Handoff,
    Journey,
    Share,
)
from processors.scope import Scope
from processors.subject import Seen

_Put = Callable[[Key], None]


def of_lead(seen: Seen, scope: Scope, fine: bool = True) -> Contribution:
    """What a lead's row adds. ``fine`` adds what only exact reports need: days, months and distributions."""
    drift, crowded = seen.links
    out: Contribution = {}
    if drift:
        out["alias_drift",] = drift
    if crowded:
        out["crowded",] = crowded
    for life in lives(seen) if seen.past else (seen,):
        add(out, _of_life(life, scope, fine).items())
    add(out, attribution.contribution(seen.credit, scope.definitions[-1], fine).items())
    return out


def lives(seen: Seen) -> Iterator[Seen]:
    """Whoever was erased here, and who is there now: persons of their own, each with a first journey."""
    begun = 0
    for past in seen.past:
        yield _life(seen, begun, past.journeys)._replace(
            source=past.source, segment=past.segment, created=past.created, generated=past.generated
        )
        begun = past.journeys
    yield _life(seen, begun, len(seen.journeys))


def _life(seen: Seen, begun: int, end: int) -> Seen:
    journeys = tuple(replace(j, n=j.n - begun) for j in seen.journeys[begun:end])
    own = {
        deal: replace(x, journey=x.journey - begun)
        for deal, x in seen.shares.items()
        if begun < x.journey <= end
    }
    return seen._replace(journeys=journeys, shares=own)


def _of_life(seen: Seen, scope: Scope, fine: bool) -> Contribution:
    out: Contribution = {}
    if not seen.journeys:
        return out
    d = scope.definitions[-1]
    lead = (seen.source or EMPTY, seen.segment or EMPTY)
    ones: list[Key] = []  # gathered, then counted: half the work of counting one by one
    put = ones.append
    put(("persons", *lead))
    for j in seen.journeys:
        _entries(j, d, lead, fine, put)
        for n, h in enumerate(j.handoffs):
            unheard = bool(h.flags & SILENT) and not _heard(h, j.handoffs[n + 1 :])
            ticks = h.outcome == OPEN or (h is j.handoffs[-1] and h.outcome == ACCEPTED and not j.exited)
            _handoff(h, unheard, ticks, lead, scope, fine, put)
            if fine:
                add(out, _delays(h, unheard, lead, scope))
    known = _known(seen, d, lead, fine, put)
    _won(seen, known, d, lead, fine, put)
    if fine:
        for j in seen.journeys:
            _conversions(j, d, lead, put)
        _links(seen, d, lead, out, put)
        ones += priority.contribution(seen.journeys, seen.shares, d)
    for key in ones:
        out[key] = out.get(key, 0) + 1
    astray = _astray(seen)
    if astray:
        out["stranded",] = astray
    return out


def _links(seen: Seen, d: Compiled, lead: tuple[str, str], amounts: Contribution, put: _Put) -> None:
    """The lead's part in deals that have closed."""
    for share in seen.shares.values():
        if share.outcome in (WON, LOST_DEAL):
            who = seller(seen.journeys, share)
            key = (DEAL_STATUS[share.outcome], *lead, *who, share.currency or EMPTY, d.days.day(share.closed))
            put(("link_on", *key))
            if share.amount:
                add(amounts, [(("link_amount_on", *key), share.amount)])


def seller(journeys: Sequence[Journey], share: Share) -> tuple[str, str]:
    """Team and owner of the last handoff of that journey that sales accepted, else of its last one."""
    found = [h for j in journeys if j.n == share.journey for h in j.handoffs]
    accepted = [h for h in found if h.outcome == ACCEPTED]
    for h in (accepted or found)[-1:]:
        return h.team or EMPTY, h.owner or EMPTY
    return EMPTY, EMPTY


def _series(j: Journey, x: int) -> str:
    """Which series an entry belongs to."""
    if x & IMPLIED:
        return "implied"
    if x & BACKFILLED:
        return "imported"
    origin = GENERATED[j.generated]
    return origin if j.n == 1 or origin == "win_back" else "recycled"


def _entries(j: Journey, d: Compiled, lead: tuple[str, str], fine: bool, put: _Put) -> None:
    """Every entry is left by the next one; the last one is where the journey stands."""
    before: tuple[int, int, str] | None = None
    day = 0
    for x in j.entries:
        code, series = x & CODE, _series(j, x)
        put(("entered", code, series, *lead))
        if fine:
            day = d.days.day(x >> 9)
            put(("entered_on", code, series, *lead, day))
        if before is not None:
            entry, came, old = before
            put(("left", entry & CODE, old, *lead))
            if fine:
                put(("left_on", entry & CODE, old, *lead, day))
                if not entry & IMPLIED:
                    put(("stay_on", entry & CODE, *lead, day, day - came))
        before = (x, day, series)
    if before is not None:
        put(("balance", before[0] & CODE, before[2], *lead))


def _known(seen: Seen, d: Compiled, lead: tuple[str, str], fine: bool, put: _Put) -> int:
    """A new lead is the first entry to known, implied or not; when that was, 0 if never."""
    for j in seen.journeys:
        for x in j.entries:
            if d.known <= x & CODE < REJECTED:
                put(("leads", _series(j, x), *lead))
                if fine:
                    put(("leads_on", _series(j, x), *lead, d.days.day(x >> 9)))
                return x >> 9
    return 0


def won_at(j: Journey, d: Compiled) -> int:
    """When the journey's win came that still stands, 0 if none does: a reopened and lost deal takes it back."""
    at = 0
    for x in j.entries:
        code = x & CODE
        if code == d.won:
            at = at or x >> 9
        elif code < REJECTED or code == LOST:
            at = 0
    return at


def _conversions(j: Journey, d: Compiled, lead: tuple[str, str], put: _Put) -> None:
    """Cohort = month of entering A; implied entries count (DOMAIN 6)."""
    first: dict[int, int] = {}
    for x in j.entries:
        if x & CODE != d.won:
            first.setdefault(x & CODE, d.days.day(x >> 9))
    won = won_at(j, d)
    if won:
        first[d.won] = d.days.day(won)
    for a, b in pairs(d):
        if a not in first:
            continue
        began = first[a]
        month = month_of_day(began)
        put(("cohort", a, b, month, *lead))
        if b in first:
            put(("converted", a, b, EVER, month, *lead))
            for h in d.source.horizons_days:
                if first[b] - began <= h:
                    put(("converted", a, b, h, month, *lead))


def _heard(h: Handoff, following: Sequence[Handoff]) -> bool:
    """Was it answered, be it too late?"""
    late = bool(following) and bool(following[0].flags & LATE)
    return late or h.outcome in (ACCEPTED, TURNED_DOWN)


def _handoff(
    h: Handoff, unheard: bool, ticks: bool, lead: tuple[str, str], scope: Scope, fine: bool, put: _Put
) -> None:
    """
    :param unheard: a silent one of which history does not hold the answer: it counts in nothing else (DOMAIN 5).
    :param ticks: its clocks run on: it is open, or sales works on it and its meeting is still to come.
    """
    answered = h.outcome in (ACCEPTED, TURNED_DOWN)
    outcome = "imported_open" if unheard else OUTCOMES[h.outcome] or "open"
    team, rule, reason = h.team or EMPTY, h.rule or EMPTY, h.reason or EMPTY
    put(("handoff", outcome, *lead, team))
    if h.returned:
        put(("returned", reason, lead[0]))
    if h.outcome == TURNED_DOWN:
        put(("rejected", reason, lead[0], rule))
    elif h.outcome == ACCEPTED:
        put(("admitted", rule, lead[0]))
    call: tuple[str, ...] = ()
    day = 0
    if fine:
        call = (*lead, team, h.owner or EMPTY, rule)
        day = scope.definitions[-1].days.day(h.start)
        put(("handoff_on", outcome, reason, "yes" if h.returned else "no", *call, day))
    if unheard:
        return
    for clock, due, met, late in (
        ("first_touch", h.due_touch, h.touched, h.late_touch or bool(h.missed)),
        ("decision", h.due_decide, h.ended if answered else 0, h.late_decide),
        ("meeting", h.due_meet, h.met, h.late_meet),
    ):
        if due:
            state = "breached" if late else "met" if met else "open" if ticks else "dropped"
            put(("sla", clock, state, team))
            if fine:
                put(("sla_on", clock, state, *call, day))
    if h.flags & LATE:
        return  # nobody was waited for: the one that expired before it tells how long it took
    if h.touched:
        put(("speed", team, log_bin(h.touched - h.begun)))
        if fine:
            d = scope.definitions[h.definition]
            calendar = d.calendar(d.source.sla[h.policy], zone_of(h.owner, h.begun, scope))
            put(("speed_on", "wall", *call, day, log_bin(h.touched - h.begun)))
            put(("speed_on", "business", *call, day, log_bin(calendar.between(h.begun, h.touched))))
    elif h.outcome != WITHDRAWN:  # what was taken back, nobody had to touch
        put(("untouched", team))
        if fine:
            put(("untouched_on", *call, day))


def _delays(h: Handoff, unheard: bool, lead: tuple[str, str], scope: Scope) -> Iterator[tuple[Key, int]]:
    """Where the time went (DOMAIN 5), wall and business; and how much of the context was known."""
    call = (*lead, h.team or EMPTY, h.owner or EMPTY, h.rule or EMPTY)
    day = scope.definitions[-1].days.day(h.start)
    if h.complete:
        yield ("complete_on", *call, day), h.complete
    if unheard or h.flags & LATE:
        return
    d = scope.definitions[h.definition]
    calendar = d.calendar(d.source.sla[h.policy], zone_of(h.owner, h.start, scope))
    held = [h.owned] if h.owned else []
    held += [taken for _, taken, _ in h.formers]
    assigned = max((at for at in held if at <= h.touched), default=0)
    spans = {"marketing": (h.trigger, h.start), "system": (h.start, h.owned), "human": (assigned, h.touched)}
    for delay, (begin, end) in spans.items():
        if begin and end:
            yield ("delay_on", delay, "wall", *call, day, log_bin(end - begin)), 1
            yield ("delay_on", delay, "business", *call, day, log_bin(calendar.between(begin, end))), 1
        elif not (end or h.outcome == WITHDRAWN):  # what was taken back, nobody had to do
            yield ("delay_open_on", delay, *call, day), 1


def _astray(seen: Seen) -> int:
    """|handoffs - terminal - open|, where only the last one of the last journey can be open; always 0."""
    handoffs = [h for j in seen.journeys for h in j.handoffs]
    current = seen.journeys[-1].handoffs
    opened = 1 if current and current[-1].outcome == OPEN else 0
    return abs(sum(h.outcome == OPEN for h in handoffs) - opened)


def _won(seen: Seen, known: int, d: Compiled, lead: tuple[str, str], fine: bool, put: _Put) -> None:
    """Calendar days from the lead's creation to its first win that stands; negative where it was won before."""
    wins = [at for j in seen.journeys if (at := won_at(j, d))]
    if wins:
        day = d.days.day(min(wins))
        days = day - d.days.day(seen.created or known or min(wins))
        put(("days_to_won", lead[0], days))
        if fine:
            put(("won_on", *lead, d.days.day(known or min(wins)), day, days))
