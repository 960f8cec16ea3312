"""A lead's row at work: take facts into the set, bring what follows up to date, say what changed.

`process` is the whole life of a batch for one row. It is a function of row, facts, messages and an instant.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from operator import is_
from typing import Any, NamedTuple

from msgspec import Struct

from processors import erasure, identity, ledger, links, say, scoring, tally, versions, voice
from processors.attribution import Credit, Touch, of_lead, touches
from processors.compiled import Compiled
from processors.days import DAY
from processors.events import FACT, NATURAL, PAYLOAD, Event, both_names
from processors.fold import SPACING, elapse, feed, fire, look_into, new_state, settled, step
from processors.ledger import WIDTH, Item
from processors.model import NEVER, WON, Journey, Member, Past, Row, Share, State, decode_state, encode
from processors.say import Output
from processors.scope import Scope

#: Bounds of the ledger, relative to the subject's newest event (DESIGN 1).
HORIZON_MS, ENTRIES = 400 * 86_400_000, 512
#: Touches below them that are kept for attribution.
TOUCHES = 256


#: The kind of an erasure in the word of an event's identity.
ERASED = erasure.ERASED << 8

#: Where a fact stands in the total order.
_Key = tuple[int, int]


class Told(NamedTuple):
    """What one row tells another through the inbox: state, not difference, so any order and number of deliveries
    end the same. No member: taken back."""

    to: str
    sender: str
    version: int
    member: Member | None
    erase: int = 0


class Refused(NamedTuple):
    """An event that was not taken: it goes to the dead letters with this reason."""

    event: Event
    code: str
    detail: str


class Seen(NamedTuple):
    """What the figures of a row depend on; compared by identity to know whether they moved."""

    journeys: tuple[Journey, ...]
    shares: dict[str, Share]
    source: str | None
    segment: str
    created: int
    generated: int
    credit: tuple[Credit, ...] = ()
    past: tuple[Past, ...] = ()
    links: tuple[int, int] = (0, 0)  # as `links.figures`


class Result(Struct):
    """What a call led to. ``moved``: (before, after) where a decision or a figure may have changed; engagement
    moves by itself."""

    outputs: list[Output] = []
    told: list[Told] = []
    refused: list[Refused] = []
    moved: tuple[Seen, Seen] | None = None
    engaged: tuple[dict[int | str, int], dict[int | str, int]] | None = None  # tallies before and after
    counts: dict[str, int] = {}
    kept: dict[
        tuple[Any, ...], int
    ] = {}  # what erased facts of aliases had added: only exact reports?, figure, labels
    since: tuple[int, int] | None = None  # it was folded again from this key

    def count(self, what: str, n: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + n


def seen(row: Row, s: State, scope: Scope) -> Seen:
    """The figures of a row that stands in the state ``s``."""
    among = links.figures(row) if row.sent or row.members or row.crowded else (0, 0)
    credit = credit_of(row, s, scope)
    return Seen(
        s.journeys, s.shares, s.source, s.segment, s.created, s.generated, credit, s.past, among
    )  # fmt: skip


def credit_of(row: Row, s: State, scope: Scope) -> tuple[Credit, ...]:
    """What the lead's touches earned; only rows that won something, or gave it back, have to look."""
    if not s.shares and not row.members:
        return ()
    if row.target or not (any(x.outcome == WON for x in s.shares.values()) or _refunded(row.members)):
        return ()
    items = [e for e in effective(row, whole=True) if (e[0], e[1]) <= (s.a, s.b)]
    kept = [Touch(*x) for x in row.touches]
    if s.past:
        return erasure.credits_of(row, s, items, scope.definitions[-1], kept)
    return of_lead(items, s.journeys, s.shares, scope.definitions[-1], kept)


def _refunded(members: dict[str, Member]) -> bool:
    return any(sender[:1] == "c" or _refunded(m.members) for sender, m in members.items())


def base_of(row: Row) -> State | None:
    if not row.base or (row.target and not row.floor):
        return None
    s = decode_state(row.base)
    if row.target:
        return erasure.of_the_past(s) if s.past else None
    if s.past and row.members:
        told: list[Item] = []
        identity.gather(row.members, told)
        return erasure.with_shares_of(s, erasure.placed(told, row.erasures))
    return s


def effective(row: Row, whole: bool = False) -> list[Item]:
    """Own facts and all members', each identity once, in order; above the base, unless ``whole``. An alias has none:
    they are those of the row that it belongs to."""
    if row.target:
        return []
    own = ledger.items(row.ledger, row.data)
    if not row.members and not row.floor:
        return own
    told: list[Item] = []
    identity.gather(row.members, told)
    own += erasure.placed(told, row.erasures) if row.erasures else told
    base = base_of(row)
    above = (base.a, base.b) if base is not None and not whole else (0, 0)
    return [e for e in identity.once(own) if (e[0], e[1]) > above]


def process(
    row: Row,
    events: Sequence[Event],
    now: int,
    scope: Scope,
    messages: Sequence[Told] = (),
    live: bool = True,
) -> Result:
    """Fold one batch into the row, which is changed in place.

    ``now`` is the instant the result is as of; with the same row, events and instant it is the same. While not
    ``live`` nothing is said: the row remembers that it has something to say.
    """
    out = Result(outputs=[], told=[], refused=[], counts={})
    stale: _Key | None = (0, 0) if versions.catch_up(row, scope) else None  # fold again from here
    head = row.head
    before = seen(row, head, scope)
    tallied = dict(row.tally.counts)
    look_into(scope, lambda: (base_of(row), effective(row)))
    links.claim(row, scope)
    folding = not row.target
    for e in sorted(events, key=_order) if len(events) > 1 else events:
        stale = _earlier(stale, _take(row, e, now, scope, out, folding and stale is None))
        if e.b & 0xFF00 == ERASED:
            again, n = erasure.requested(row, e.b)
            stale = _earlier(stale, again)
            if n:
                out.count("erased", n)
                scope.linking = True  # one of them may have said who is who
    for told in messages:
        stale = _earlier(stale, _receive(row, told))
    if messages:
        links.heard(row, scope)
    if stale is not None:
        out.count("refolded")
        out.since = stale
        head = _refold(row, stale, now, scope, live)
    elif row.held <= now and row.held < head.latest:
        out.since = (0, 0)
        head = _refold(
            row, (0, 0), now, scope, live
        )  # clocks that start after what has just become due: see `start_of`
    elif row.held <= now or (live and head.due <= now):
        _release(row, head, now, scope, live)
    place = None
    if row.target or scope.linking or links.news_of(messages):
        place, turned = links.settle(row, now, scope)
        links.claim(row, scope)
        if turned:
            scope.banned = frozenset()
            out.since = (0, 0)
            head = _refold(row, (0, 0), now, scope, live)
    # Some at a time, for it costs as much as a thousand events.
    if len(row.ledger) > (ENTRIES + SPACING) * WIDTH or (
        row.ledger and head.last - HORIZON_MS > int.from_bytes(row.ledger[:8], "big") >> 22
    ):
        _compact(row, _judging(row, scope))
    versions.remember(row, scope.definitions)
    after_ = seen(row, head, scope)
    if not all(map(is_, before, after_)) and before != after_:
        out.moved = (before, after_)
    out.engaged = (tallied, dict(row.tally.counts)) if tallied != row.tally.counts else None
    spoke = row.spoke
    _speak(row, before, out, now, scope, live)
    if place is not None or row.spoke is not spoke:
        _pass_on(row, place, before, out, now, scope)
    return out


def _pass_on(
    row: Row, place: identity.Place | None, before: Seen, out: Result, now: int, scope: Scope
) -> None:
    """Tell others what is new for them; the last word on one who is no alias any more is."""
    if place is None:
        place, _ = links.settle(row, now, scope)
    for to, version, member in links.send(row, now, scope, place):
        out.told.append(Told(to, scope.subject, version, member))
    figured = seen(row, row.head, scope)
    out.moved = (before, figured) if figured != before else None


def _earlier(one: _Key | None, other: _Key | None) -> _Key | None:
    return one if other is None else other if one is None else min(one, other)


def _take(row: Row, e: Event, now: int, scope: Scope, out: Result, folding: bool) -> _Key | None:
    """One more fact into the set and, if it is in order and we are ``folding``, into the head.

    :returns: the key from which to fold again, None if there is no need.
    """
    head = row.head
    a, b = e.a, e.b
    t = a >> 22
    if t <= row.floor and erasure.is_refused(row, t, ledger.recorded_at(a, e.c)):
        out.count("erased")
        return None
    at = ledger.find(row.ledger, b)
    if at >= 0:
        return met_again(row, at, e, out)
    if row.gone and tally.gone(row, b):
        out.count("duplicate")
        return None
    after = a > head.a or (a == head.a and b > head.b)
    if not after and row.base and (least := _above_base(row, a, b)):
        row.approximate = True
        out.count("too_late")
        if b >> 8 & 255 < FACT:
            tally.late(row, (a, b, e.c, e.data), scope.definitions[-1])
            tally.recount(row, effective(row))
            return None
        # What was decided below the horizon stands; an answer or a wish still counts, from there on.
        e = Event(e.subject, least, b, e.c, e.data)
        a, t = least, least >> 22
    row.ledger = ledger.insert(row.ledger, row.data, a, b, e.c, e.data)
    if t > now:
        row.held = min(row.held, t)
        out.count("held")
        return None
    if (
        folding and after and t > head.fired and t < row.held
        and not (row.members and identity.shared(row.members, b))
        and not (t < head.latest and _unsaid_trigger(row, head, e) < NEVER)
    ):  # fmt: skip
        while head.due < t:
            fire(head, scope)
        item = (a, b, e.c, e.data)
        step(head, item, scope)
        if b >> 8 & 255 == tally.RECLASSIFIED:
            out.count("reclassified")
            tally.recount(row, effective(row))
        else:
            tally.add(row.tally, head, item)
        if not head.n % SPACING and head.b == b:
            row.snapshots.append((head.a, head.b, encode(head)))
        return None
    return min((a, b), (_unsaid_trigger(row, head, e) << 22, 0))


def _order(e: Event) -> tuple[int, int]:
    return e.a, e.b


def _above_base(row: Row, a: int, b: int) -> int:
    """The least ``a`` above the base, if the key (a, b) is not above it; else 0."""
    base = base_of(row)
    return ((base.a >> 22) + 1) << 22 if base is not None and (a, b) <= (base.a, base.b) else 0


def _unsaid_trigger(row: Row, head: State, e: Event) -> int:
    """The earliest trigger of a handoff not yet said whose clock started after ``e`` was recorded; NEVER for none.

    Had ``e`` been there, the handoff might have been known earlier (`episodes.start_of`).
    """
    at = ledger.recorded_at(e.a, e.c)
    said = {(m.of, m.ordinal) for m in row.minted}
    return min(
        (
            h.trigger
            for j in head.journeys
            for h in j.handoffs
            if h.start > at and (h.of, h.ordinal) not in said
        ),
        default=NEVER,
    )


def met_again(row: Row, at: int, e: Event, out: Result) -> tuple[int, int] | None:
    """The same identity again: dropped if it says the same, else the claim that was recorded first stays.

    :returns: the key from which to fold again, if the kept fact changed.
    """
    a, b, c = ledger.RECORD.unpack_from(row.ledger, at)
    old_data = ledger.payload_at(row.ledger, row.data, at)
    mine = (ledger.recorded_at(a, c), ledger.position(c))
    theirs = (ledger.recorded_at(e.a, e.c), ledger.position(e.c))
    same = a == e.a and b | PAYLOAD == e.b | PAYLOAD and old_data == e.data
    two_systems = e.kind in NATURAL and e.kind == b >> 8 & 255
    named_anew = False
    if same or two_systems or (row.base and _above_base(row, e.a, e.b)):
        out.count("duplicate")
        if two_systems:
            kept, other = (e.data, old_data) if theirs < mine else (old_data, e.data)
            names = both_names(e.kind, kept, other)
            if theirs < mine:
                e = Event(e.subject, e.a, e.b, e.c, names)
            elif names != old_data:
                e, named_anew = Event(e.subject, a, b, c, names), True
    else:
        out.count("conflict")
        lost = e if theirs >= mine else Event(e.subject, a, b, c, old_data)
        out.refused.append(
            Refused(
                lost,
                "conflicting_payload",
                "the same identity came with another payload; the first recorded stays",
            )
        )
    if theirs >= mine and not named_anew:
        return None
    row.ledger = ledger.remove(row.ledger, row.data, at)
    row.ledger = ledger.insert(row.ledger, row.data, e.a, e.b, e.c, e.data)
    return min((a, b), (e.a, e.b))


def _receive(row: Row, told: Told) -> tuple[int, int] | None:
    """Take what another row sent. :returns: the key from which to fold again, None if it is old news."""
    old = row.members.get(told.sender)
    if old is not None and old.version >= told.version:
        return None
    member = told.member if told.member is not None else Member(told.version, False)
    row.members = {**row.members, told.sender: member}
    return identity.moved(old, member)


def _release(row: Row, s: State, now: int, scope: Scope, live: bool) -> None:
    """What was held until it happened, and the timers."""
    rest = [e for e in effective(row) if (e[0], e[1]) > (s.a, s.b)] if row.held <= now else []
    _finish(row, s, rest, now, scope, live)
    if rest:
        tally.recount(row, effective(row))


def _finish(row: Row, s: State, rest: list[Item], now: int, scope: Scope, live: bool) -> None:
    due = [e for e in rest if e[0] >> 22 <= now]
    if len(due) < len(rest):
        row.held = rest[len(due)][0] >> 22
    elif row.held <= now:
        row.held = NEVER
    feed(s, due, scope, lambda s: row.snapshots.append((s.a, s.b, encode(s))))
    if live:  # in a half-read past the next event comes before most timers: they wait for its end
        elapse(s, now, scope)


def _refold(row: Row, key: tuple[int, int], now: int, scope: Scope, live: bool) -> State:
    """From the last snapshot before ``key``, else from the base: the same transitions as in order."""
    row.snapshots = [x for x in row.snapshots if (x[0], x[1]) < key]
    kept = list(row.snapshots)
    everything = effective(row)
    base = base_of(row)
    look_into(scope, lambda: (base, everything))

    def once() -> State:
        row.snapshots = list(kept)
        s = decode_state(kept[-1][2]) if kept else base_of(row) or new_state()
        row.held = NEVER
        _finish(row, s, [e for e in everything if (e[0], e[1]) > (s.a, s.b)], now, scope, live)
        kept.clear()  # a wrong match may lie before the snapshot
        return s

    row.head = settled(once, scope)
    tally.recount(row, everything)
    return row.head


def _thin(row: Row, d: Compiled) -> None:
    """Drop what cannot count: what bots did, and what the daily caps cut anyway, of each day the earliest kept.

    So much stays of it that nobody seems to come later than they did, or to have been away for a day.
    """
    spent: dict[tuple[int, int], int] = {}
    run = ledger.items(row.ledger, row.data)
    kept: list[Item] = []
    since = -NEVER
    for n, e in enumerate(run):
        following = run[n + 1][0] >> 22 if n + 1 < len(run) else NEVER
        if scoring.may_count(e, d, spent) or following - since >= DAY:
            kept.append(e)
            since = e[0] >> 22 if e[1] & 0xFF00 != ERASED else -NEVER
    row.ledger, row.data = ledger.pack(kept)
    _space(row)


def _space(row: Row) -> None:
    """Snapshots count what was folded: where next to nothing is left between them, fewer do."""
    ends = {x.key for x in row.head.past}
    places = [ledger.upto(row.ledger, a, b) for a, b, _ in row.snapshots]
    kept, at = [], 0
    for n, (x, place) in enumerate(zip(row.snapshots, places, strict=True), 1):
        following = places[n] if n < len(places) else NEVER
        if following - at > SPACING or x[:2] in ends:
            kept.append(x)
            at = place
    row.snapshots = kept


def _judging(row: Row, scope: Scope) -> Compiled:
    """By what the row's facts are judged; an alias, which has no head of its own, by what its newest one is."""
    if not row.target:
        return scope.definitions[row.head.definition]
    newest = int.from_bytes(row.ledger[-WIDTH : 8 - WIDTH], "big") >> 22
    in_force = [d for d in scope.definitions if d.source.effective_at <= newest]
    return in_force[-1] if in_force else scope.definitions[0]


def _compact(row: Row, d: Compiled) -> None:
    """Drop the oldest records up to a snapshot, which becomes the base: so it is a function of the set."""
    before, blob = effective(row), row.ledger
    _shorten(row, d)
    if row.ledger != blob:
        tally.drop(row, blob, before, effective(row), d)
        tally.recount(row, effective(row))


def _shorten(row: Row, d: Compiled) -> None:
    if len(row.ledger) > ENTRIES * WIDTH:
        _thin(row, d)
    if row.sent or links.has_aliases(row.members) or not row.snapshots or erasure.pending(row):
        return  # unmerge could not take a base apart again, and who is whose must not be forgotten
    head, n = row.head, len(row.ledger) // WIDTH
    old = 0
    while (
        old < n
        and int.from_bytes(row.ledger[old * WIDTH : old * WIDTH + 8], "big") >> 22 < head.last - HORIZON_MS
    ):
        old += 1
    places = [ledger.upto(row.ledger, a, b) for a, b, _ in row.snapshots]
    most = max(n - ENTRIES, old)
    i = min(bisect_left(places, most) + 1, len(places))
    if most > 0 and places[i - 1] > 0:
        a, b, row.base = row.snapshots[i - 1]
        gone = [e for e in ledger.items(row.ledger, row.data) if (e[0], e[1]) <= (a, b)]
        found = [(x.t, x.channel, x.campaign) for x in touches(gone, d)]
        found = [*row.touches, *found]
        row.touches = (
            found if len(found) <= TOUCHES else [found[0], *found[1 - TOUCHES :]]
        )  # the first one stays
        row.ledger, row.data = ledger.drop_before(row.ledger, row.data, a, b)
        row.snapshots = row.snapshots[i:]


def _speak(row: Row, before: Seen, out: Result, now: int, scope: Scope, live: bool) -> None:
    """Publish the difference between what was said and what is decided, or remember that there is one."""
    changed = out.moved is not None
    turned = links.turned(row)
    if not live:
        if (changed or turned) and not row.waiting:
            row.waiting = True
            if not row.closed:
                row.spoken = encode((before.journeys, before.shares, before.source))
        return
    if not changed and not row.waiting and not turned:
        return
    said = say.spoken(row, before.journeys)
    if turned:
        kept = row.spoken if row.waiting or row.closed else encode((said, before.shares, before.source))
        voice.turn(row, said, kept, out.outputs, now, scope)
    elif not row.closed:
        say.difference(row, said, out.outputs, now, scope)
        row.spoken = b""
    row.waiting = False


def next_due(row: Row) -> int:
    """The next instant (ms) at which the row has to be looked at without any event."""
    return min(row.head.due, row.held)
