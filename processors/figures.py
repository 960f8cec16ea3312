"""What one row adds to each figure: integers under addition.

A contribution is a mapping from a key (the name of a count, then its labels, `COLUMNS`) to an integer. Totals
move by contribution(after) - contribution(before), an abelian group, so figures are exact under restatement,
merge, unmerge and erasure, and add up over partitions and workers. What people read is made of totals by `report`.

Stages are codes in keys, not names: totals outlive a renaming. Durations in days are kept in exact integer bins,
shorter ones in bins of at most 1 % relative error. Days are calendar days of the reporting time zone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise, zip_longest
from typing import Any

import msgspec
from msgspec.structs import replace

from processors import (
    accounts,
    attribution,
    checks,
    deals,
    engagement,
    lead_quality,
    ledger,
    links,
    market,
    priority,
    tally,
)
from processors.compiled import Compiled
from processors.days import month_of_day
from processors.deals import Deal
from processors.fold import elapse, feed, look_into, new_state, settled
from processors.handoff import zone_of
from processors.model import (
    ACCEPTED,
    BACKFILLED,
    CODE,
    DEAL_STATUS,
    EXITS,
    GENERATED,
    IMPLIED,
    LOST,
    LOST_DEAL,
    ON_HOLD,
    OPEN,
    OUTCOMES,
    REJECTED,
    RUNNING,
    SILENT,
    TURNED_DOWN,
    WITHDRAWN,
    WON,
    Handoff,
    Journey,
    Past,
    Row,
    Share,
    State,
    decode_state,
    encode,
)
from processors.scope import Scope
from processors.subject import Seen, base_of, effective
from processors.subject import seen as seen_of

Key = tuple[Any, ...]
Contribution = dict[Key, int]
EMPTY = "(empty)"
#: Horizon of "ever" in cohort conversions.
EVER = 0
#: How an entry of a stage came about: who generated the journey, or why it counts apart.
SERIES = (*GENERATED, "recycled", "implied", "imported")
#: What becomes of a handoff. ``imported_open``: from back-fill, and history does not hold its answer.
HANDOFF_STATES = ("open", "accepted", "rejected", "expired", "withdrawn", "imported_open")
CLOCKS = ("first_touch", "decision", "meeting")
#: A clock that ended with its handoff before its due instant is ``dropped``: it was neither met nor breached.
CLOCK_STATES = ("open", "met", "breached", "dropped")

_LEAD = ("source", "segment")
_CALL = ("source", "segment", "team", "owner", "rule")
#: Labels of each count, in the order of its keys. Those that end in ``_on`` say the day, for periods; of them the
#: worker's metrics have only those that put a price on something: ``deal_amount_on``, ``booked_on``, ``paid_on``.
COLUMNS: dict[str, tuple[str, ...]] = (
    {
        "persons": _LEAD,
        "leads": ("series", *_LEAD),
        "entered": ("stage", "series", *_LEAD),
        "left": ("stage", "series", *_LEAD),
        "balance": ("stage", "series", *_LEAD),
        "handoff": ("outcome", *_LEAD, "team"),
        "returned": ("reason", "source"),
        "rejected": ("reason", "source", "rule"),
        "admitted": ("rule", "source"),
        "sla": ("clock", "state", "team"),
        "speed": ("team", "bin"),
        "untouched": ("team",),
        "days_to_won": ("source", "days"),
        "stranded": (),
        "unexplained": (),
        "alias_drift": (),
        "crowded": (),
        "deal": ("status",),
        "deal_amount": ("status", "currency"),
        "deal_open_amount": ("status", "currency"),
        "deal_weighted": ("currency",),
        "deal_without_lead": ("status",),
        "leads_on": ("series", *_LEAD, "day"),
        "entered_on": ("stage", "series", *_LEAD, "day"),
        "left_on": ("stage", "series", *_LEAD, "day"),
        "stay_on": ("stage", *_LEAD, "day", "days"),
        "cohort": ("from", "to", "cohort", *_LEAD),
        "converted": ("from", "to", "horizon", "cohort", *_LEAD),
        "handoff_on": ("outcome", "reason", "returned", *_CALL, "day"),
        "sla_on": ("clock", "state", *_CALL, "day"),
        "speed_on": ("time", *_CALL, "day", "bin"),
        "untouched_on": (*_CALL, "day"),
        "complete_on": (*_CALL, "day"),
        "delay_on": ("delay", "time", *_CALL, "day", "bin"),
        "delay_open_on": ("delay", *_CALL, "day"),
        "won_on": (*_LEAD, "born", "day", "days"),
        "link_on": ("status", *_LEAD, "team", "owner", "currency", "day"),
        "link_amount_on": ("status", *_LEAD, "team", "owner", "currency", "day"),
        "deal_on": ("status", "pipeline", "currency", "day"),
        "deal_amount_on": ("status", "pipeline", "currency", "day"),
        "deal_open": ("status", "pipeline"),
        "cycle_on": ("pipeline", "day", "days"),
        "course_on": ("status", "pipeline", "currency", "closes", "day"),
        "course_amount_on": ("status", "pipeline", "currency", "closes", "day"),
        "weighted_on": ("pipeline", "currency", "closes", "day"),
        "variance_on": ("pipeline", "currency", "closes", "day"),
        "unweighted_on": ("pipeline", "currency", "closes", "day"),
    }
    | attribution.COLUMNS
    | engagement.COLUMNS
    | lead_quality.COLUMNS
    | accounts.COLUMNS
    | market.COLUMNS
    | priority.COLUMNS
)

_Put = Callable[[Key], None]


def log_bin(ms: int) -> int:
    """Bin of a duration: exact seconds below 128 s, above it 128 bins per doubling, at most 0.8 % wide."""
    s = max(ms, 0) // 1000
    if s < 128:
        return s
    e = s.bit_length() - 8
    return 128 + e * 128 + ((s >> e) - 128)


def bin_start(n: int) -> int:
    """Where a bin begins, seconds."""
    e, m = divmod(n - 128, 128)
    return n if n < 128 else 128 + m << e


def bin_seconds(n: int) -> int:
    """The middle of a bin, seconds."""
    return n if n < 128 else bin_start(n) + (1 << (n - 128) // 128 >> 1)


def stage_names(definitions: Sequence[Compiled]) -> dict[int, str]:
    """Code to name, by the newest definition: renamed ones mapped, removed ones ``retired:<name>`` (case 37)."""
    newest = definitions[-1]
    names: dict[int, str] = {}
    for d in definitions:
        for code, name in d.names.items():
            renamed = newest.codes.get(name)
            names[code] = newest.names[renamed] if renamed is not None else f"retired:{name}"
    return names | newest.names | EXITS


def of_lead(seen: Seen, scope: Scope, fine: bool = True) -> Contribution:
    """What a lead's row adds. ``fine`` adds what only exact reports need: days, months and distributions."""
    drift, crowded = seen.links
    out: Contribution = {}
    if drift:
        out["alias_drift",] = drift
    if crowded:
        out["crowded",] = crowded
    for life in _lives(seen) if seen.past else (seen,):
        add(out, _of_life(life, scope, fine).items())
    add(out, attribution.contribution(seen.credit, scope.definitions[-1], fine).items())
    return out


def _lives(seen: Seen) -> Iterator[Seen]:
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
        for h in j.handoffs:
            _handoff(h, lead, scope, fine, put)
            if fine:
                add(out, _delays(h, lead, scope))
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
            who = _seller(seen.journeys, share)
            key = (DEAL_STATUS[share.outcome], *lead, *who, share.currency or EMPTY, d.days.day(share.closed))
            put(("link_on", *key))
            if share.amount:
                add(amounts, [(("link_amount_on", *key), share.amount)])


def _seller(journeys: Sequence[Journey], share: Share) -> tuple[str, str]:
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


def pairs(d: Compiled) -> tuple[tuple[int, int], ...]:
    """The conversions that are reported: each stage to the next, and the whole way."""
    path = (d.known, d.mql, d.sal, d.sql, d.opportunity, d.won)
    return (*pairwise(path), (d.known, d.won), (d.mql, d.won))


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


def _handoff(h: Handoff, lead: tuple[str, str], scope: Scope, fine: bool, put: _Put) -> None:
    """Silent ones count in acceptance, SLA and speed only if history holds their answer (DOMAIN 5)."""
    answered = h.outcome in (ACCEPTED, TURNED_DOWN)
    outcome = "imported_open" if h.flags & SILENT and not answered else OUTCOMES[h.outcome] or "open"
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
    if outcome == "imported_open":
        return
    for clock, due, met, late in (
        ("first_touch", h.due_touch, h.touched, h.late_touch),
        ("decision", h.due_decide, h.ended if answered else 0, h.late_decide),
        ("meeting", h.due_meet, h.met, h.late_meet),
    ):
        if due:
            state = "breached" if late else "met" if met else "open" if h.outcome == OPEN else "dropped"
            put(("sla", clock, state, team))
            if fine:
                put(("sla_on", clock, state, *call, day))
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


def _delays(h: Handoff, lead: tuple[str, str], scope: Scope) -> Iterator[tuple[Key, int]]:
    """Where the time went (DOMAIN 5), wall and business; and how much of the context was known."""
    call = (*lead, h.team or EMPTY, h.owner or EMPTY, h.rule or EMPTY)
    day = scope.definitions[-1].days.day(h.start)
    if h.complete:
        yield ("complete_on", *call, day), h.complete
    if h.flags & SILENT and h.outcome not in (ACCEPTED, TURNED_DOWN):
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


def of_deal(deal: Deal | None, scope: Scope, fine: bool = True) -> Contribution:
    """What a deal's row adds: counts by status, and money in minor units of the deal's own currency."""
    if deal is None:
        return {}
    status, currency = DEAL_STATUS[deal.status], deal.currency or EMPTY
    out: Contribution = {("deal", status): 1}
    closed = deal.status in (WON, LOST_DEAL)
    pipeline = deal.pipeline or EMPTY
    day = scope.definitions[-1].days.day
    if closed:
        out["deal_amount", status, currency] = deal.amount
        out["deal_amount_on", status, pipeline, currency, day(deal.closed)] = deal.amount
    elif deal.status in (RUNNING, ON_HOLD):
        out["deal_open_amount", status, currency] = deal.amount
        if deal.status == RUNNING:
            out["deal_weighted", currency] = deal.amount * deal.probability_ppm
    if not deal.leads:
        out["deal_without_lead", status] = 1
    if fine:
        if closed:
            at = day(deal.closed)
            out["deal_on", status, pipeline, currency, at] = 1
            if deal.status == WON:
                out["cycle_on", pipeline, at, at - day(deal.opened)] = 1
        else:
            out["deal_open", status, pipeline] = 1
        _course(deal, pipeline, day, out)
    if deal.status == WON:
        d = scope.definitions[-1]
        if not deal.leads:
            earned = attribution.unattributed("won", deal.currency, deal.closed, deal.amount, d)
            add(out, attribution.contribution(earned, d, fine).items())
        if fine and not deal.account:  # a customer that nobody gave an account
            out["new_customer_on", day(deal.closed)] = 1
    return {k: n for k, n in out.items() if n}


def _course(deal: Deal, pipeline: str, day: Callable[[int], int], out: Contribution) -> None:
    """How the deal stood and stands, as steps: the sum of the steps up to a day is how it stood when that day ended.

    So what was foreseen n days before a period's end can be told of any n and any period, and late facts restate it.
    Weighted are amounts of open deals × probability per million, variance is amount² × p × (1 - p) in its square.
    """
    for one, then in zip_longest(deal.course, deal.course[1:]):
        if one.status not in (RUNNING, ON_HOLD, WON):
            continue
        closes = day(one.closed) if one.status == WON else one.closes
        what = (pipeline, one.currency or EMPTY, closes)
        status = DEAL_STATUS[one.status]
        for at, sign in ((one.t, 1), *(((then.t, -1),) if then is not None else ())):
            when = day(at)
            steps: list[tuple[Key, int]] = [
                (("course_on", status, *what, when), sign),
                (("course_amount_on", status, *what, when), sign * one.amount),
            ]
            if one.status == RUNNING and one.ppm >= 0:
                variance = one.amount * one.amount * one.ppm * (1_000_000 - one.ppm)
                steps.append((("weighted_on", *what, when), sign * one.amount * one.ppm))
                steps.append((("variance_on", *what, when), sign * variance))
            elif one.status == RUNNING:
                steps.append((("unweighted_on", *what, when), sign * one.amount))
            add(out, steps)


def move(total: Contribution, before: Mapping[Key, int], after: Mapping[Key, int]) -> None:
    """total += after - before; keys that come to zero go."""
    for key in before.keys() | after.keys():
        n = total.get(key, 0) + after.get(key, 0) - before.get(key, 0)
        if n:
            total[key] = n
        else:
            total.pop(key, None)


def add(total: Contribution, more: Iterable[tuple[Key, int]]) -> None:
    """total += more; keys that come to zero go."""
    for key, n in more:
        was = total.get(key, 0)
        if was + n:
            total[key] = was + n
        elif was:
            del total[key]


def quantile(bins: Iterable[tuple[int, int]], num: int, den: int, beyond: int = 0) -> int | None:
    """The smallest value that at least num/den of all do not exceed.

    :param bins: (value, how many).
    :param beyond: how many more are above every value, censored; None where the quantile falls among them.
    """
    counted = sorted(bins)
    total = sum(n for _, n in counted) + beyond
    passed = 0
    for value, n in counted:
        passed += n
        if passed * den >= total * num:
            return value
    return None


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
    if row.residue and (as_of_ms is None or not forgotten(row, as_of_ms)):
        move(out, {}, residue(row, fine))
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
    for n, life in enumerate(_lives(seen) if seen.past else (seen,)):
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
    """Does the instant lie below the horizon of the row's ledger, so that it cannot say how it stood?"""
    base = base_of(row) if row.base else None
    return base is not None and base.a >> 22 > as_of_ms
