"""Who is who: aliases, chains, circles, and the exact way back.

`identified` and `merged` reach the winner's row, which asks the loser's to become its alias. The loser's row alone owns
its pointer (the latest merge in total order wins): it keeps its own facts and sends a copy of them, and of what still
arrives, as a member of the winner, which folds the union. Unmerge takes the member back, and nothing has happened.

A browser is used by people one after another: its past goes to the first one identified on it, what follows a later
`identified` to that one, also if it is somebody who comes back. It never merges two leads.

A merge that would close a circle of earlier ones is refused; then the loser's next earlier one holds. One that holds
only because ``level`` later ones were refused counts as later than all that need fewer refusals: so each merge depends
on earlier ones alone, and rows that only know their neighbours agree in the end.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from processors import ledger
from processors.events import KIND, NATURAL, both_names
from processors.ledger import Item
from processors.model import Handoff, Journey, Member, Minted, Refusal, Row, decode_spoken

_MERGED, _UNMERGED, _IDENTIFIED = KIND["merged"], KIND["unmerged"], KIND["identified"]
_LINKS = frozenset((_MERGED, _UNMERGED, _IDENTIFIED))
_ERASED = KIND["erased"]
_MANY = 1 << 62

#: `identified` of one browser and lead that are kept although they begin nothing; thinned by half.
RETURNS = 64

#: A merge's place among all: level, then its key in the total order.
Edge = tuple[int, int, int]
Name = tuple[str, int]


class Link(NamedTuple):
    """To ``target`` (a row key) go the facts with ``since`` <= occurred_at < ``until``; ``edge`` is the merge's key,
    ``known`` when it was recorded."""

    target: str
    since: int
    until: int
    edge: tuple[int, int]
    known: int
    level: int = 0


class Place(NamedTuple):
    """Where a row's facts go; merges of its own that were refused; whether its browser has too many people."""

    links: tuple[Link, ...]
    refused: tuple[Link, ...] = ()
    crowded: bool = False


def between(name: str) -> bool:
    """Is this the key of a row that can be an alias or have one?"""
    return name[:1] in ("l", "a")


def _facts(blob: bytes, data: Sequence[object], now: int) -> list[Item]:
    """Those that say who is who and have come true."""
    run = ledger.items(blob, list(data))
    return [e for e in run if e[1] >> 8 & 255 in _LINKS and e[0] >> 22 <= now and e[3]]


def ahead(row: Row, now: int) -> int:
    """The earliest own fact after ``now`` that says who is who; a great number if there is none."""
    own = _facts(row.ledger, row.data, _MANY)
    return min((e[0] >> 22 for e in own if e[0] >> 22 > now), default=_MANY)


def _pair(e: Item) -> tuple[str, str] | None:
    """(row of the loser, row of the winner), None for what is no complete merge."""
    kind = e[1] >> 8 & 255
    if kind == _UNMERGED or type(e[3]) is not list or len(e[3]) < 2:
        return None
    return ("l:" if kind == _MERGED else "a:") + str(e[3][0]), f"l:{e[3][1]}"


def _undoes(u: Item, e: Item) -> bool:
    return u[1] >> 8 & 255 == _UNMERGED and not _names(e).isdisjoint(u[3][0])


def _names(e: Item) -> set[int]:
    """Of a merge: its identity, and what else it is called."""
    return {e[1] >> 16, *(e[3][2] if len(e[3]) > 2 else ())}


def asks(me: str, row: Row, now: int) -> dict[str, list[Item]]:
    """What the winner asks of its losers: row of the loser -> the facts that say so, and those that take it back."""
    own = _facts(row.ledger, row.data, now)
    out: dict[str, dict[int, Item]] = {}
    for e in own:
        pair = _pair(e)
        if pair is not None and me != pair[0] != pair[1]:
            out.setdefault(pair[0], {}).update((x[1] >> 16, x) for x in own if x is e or _undoes(x, e))
    return {loser: sorted(found.values(), key=_key) for loser, found in out.items()}


def _key(e: Item) -> tuple[int, int]:
    return e[0], e[1]


def place(me: str, row: Row, most: int, now: int) -> Place:
    """Where this row's facts go, by its own ledger and by what winners have asked."""
    found = {e[1] >> 16: e for e in _facts(row.ledger, row.data, now)}
    for name, m in sorted(row.members.items()):
        if between(name):
            found |= {e[1] >> 16: e for e in _facts(m.ledger, m.data, now)}
    run = sorted(found.values(), key=_key)
    undone = {name for e in run if e[1] >> 8 & 255 == _UNMERGED for name in e[3][0]}
    mine = [
        (e, pair[1])
        for e in run
        if (pair := _pair(e)) is not None and pair[0] == me != pair[1] and undone.isdisjoint(_names(e))
    ]
    if me[:1] == "a":
        return _shared_browser(mine, most)
    refused: list[Link] = []
    for e, target in reversed(mine):
        link = Link(target, 0, _MANY, (e[0], e[1]), ledger.recorded_at(e[0], e[2]), len(refused))
        if not _closes_circle(row, link):
            return Place((link,), tuple(refused))
        refused.append(link)
    return Place((), tuple(refused))


def _shared_browser(mine: list[tuple[Item, str]], most: int) -> Place:
    if len({target for _, target in mine}) > most:
        return Place((), (), True)
    out: list[Link] = []
    for e, target in mine:
        at = e[0] >> 22
        if out and out[-1].target == target:
            continue
        if out:
            out[-1] = out[-1]._replace(until=at)
        out.append(Link(target, at if out else 0, _MANY, (e[0], e[1]), ledger.recorded_at(e[0], e[2])))
    return Place(tuple(out))


def path(members: dict[str, Member], name: str) -> list[Edge] | None:
    """The merges from ``name`` up to here, if it is an alias below. What was taken back does not count."""
    for key, m in members.items():
        if not m.alias:
            continue
        below = [] if key == name else path(m.members, name)
        if below is not None:
            return [*below, (m.level, *m.edge)]
    return None


def _closes_circle(row: Row, link: Link) -> bool:
    """In a circle the last merge is void; only the row it belongs to can see that, when all of the circle has come
    round to it."""
    below = path(row.members, link.target)
    return below is not None and (link.level, *link.edge) > max(below)


def _travelling(members: dict[str, Member], but: str) -> dict[str, Member]:
    """What goes on to the next row: aliases and what deals and accounts told, at any depth, without ``but``, because
    nobody is sent their own facts back, and without what was asked of this row alone."""
    out = {}
    for name, m in sorted(members.items()):
        if name != but and not m.asks and (m.alias or m.ledger):
            out[name] = replace(m, members=_travelling(m.members, but)) if m.members else m
    return out


def copy_for(me: str, row: Row, links: Sequence[Link]) -> Member:
    """What this row sends to the target of some links: its facts of those times, its own aliases, what it has said.

    Whoever comes back to a browser has several times; each could be known from its own `identified` on.
    """
    first, *later = sorted(links, key=lambda link: (link.known, link.edge))
    if first.since == 0 and first.until == _MANY:
        parts = [(row.ledger, list(row.data))]
    else:
        run = ledger.items(row.ledger, row.data)
        times = [e[0] >> 22 for e in run]
        parts = [
            ledger.pack(run[bisect_left(times, x.since) : bisect_left(times, x.until)])
            for x in (first, *later)
        ]
    if row.erasures:  # a request to erase this row is none to erase the other
        parts = [ledger.pack(e for e in ledger.items(*x) if e[1] >> 8 & 255 != _ERASED) for x in parts]
    members = _travelling(row.members, first.target)
    for link, (blob, data) in zip(later, parts[1:], strict=True):
        members[f"{me}@{link.since}"] = Member(0, False, link.edge, blob, data, known=link.known)
    blob, data = parts[0]
    return Member(
        0, True, first.edge, blob, data, members, row.minted, row.epoch, first.level, first.known, row.spoken,
        spoke=parted(row),
    )  # fmt: skip


def thin_returns(row: Row) -> None:
    """Of one browser keep a bounded number of `identified` that begin nothing: who is told of at each visit has many.

    Kept are the first, the newest, and all that the browser knows as the beginning of a time; without the others a late
    one of somebody else in between could end a time too late.
    """
    run = ledger.items(row.ledger, row.data)
    by_browser: dict[str, list[Item]] = {}
    for e in run:
        pair = _pair(e) if e[1] >> 8 & 255 == _IDENTIFIED and e[3] else None
        if pair is not None:
            by_browser.setdefault(pair[0], []).append(e)
    gone: set[tuple[int, int]] = set()
    for name, found in by_browser.items():
        m = row.members.get(name)
        if len(found) > RETURNS and m is not None and m.alias:
            begin = {m.edge, *(x.edge for key, x in m.members.items() if key.startswith(f"{name}@"))}
            gone.update(_key(e) for e in found[1 : -RETURNS // 2] if _key(e) not in begin)
    if gone:
        row.ledger, row.data = ledger.pack(e for e in run if _key(e) not in gone)


def copies(me: str, row: Row, found: Place, now: int) -> dict[str, Member]:
    """All that this row has for others: asked of its losers, sent to where it belongs, told to refused winners."""
    wanted = asks(me, row, now)
    edges = {link.target: link.edge for link in found.refused}
    out = {}
    late = parted(row)
    for name in wanted.keys() | edges.keys():
        blob, data = ledger.pack(wanted.get(name, ()))
        out[name] = Member(
            0, False, edges.get(name, (0, 0)), blob, data, epoch=row.spoke.get(name, 0), asks=True, spoke=late
        )
    for target in dict.fromkeys(link.target for link in found.links):
        out[target] = copy_for(me, row, [link for link in found.links if link.target == target])
    return out


def known_epoch(row: Row) -> int:
    """The greatest epoch in which this row or the one it belongs to may have spoken."""
    above = row.members.get(row.target)
    return max(row.epoch, above.epoch if above is not None else 0)


def parted(row: Row) -> dict[str, int]:
    """In which epoch this row may have spoken last for those who are no aliases of it any more. These numbers stand
    still, so who outdoes them does so once."""
    below = {name for name, _ in aliases(row.members)} if row.spoke else ()
    return {name: epoch for name, epoch in sorted(row.spoke.items()) if name not in below}


def parted_below(members: dict[str, Member]) -> Iterator[tuple[str, int]]:
    """The same of all that sent something, and of their aliases."""
    for m in members.values():
        yield from m.spoke.items()
        yield from parted_below(m.members)


def refusals(me: str, row: Row, found: Place, now: int) -> tuple[Refusal, ...]:
    """Merges of this row that were refused, as loser and as winner; and what would take back a merge that nobody here
    knows of, without a loser."""
    mine = [(link.edge, me, link.target) for link in found.refused]
    others = [(m.edge, name, me) for name, m in row.members.items() if m.asks and m.edge != (0, 0)]
    run = _facts(row.ledger, row.data, now)
    back = [e for e in run if e[1] >> 8 & 255 == _UNMERGED]
    if back:
        for name, m in row.members.items():
            run += _facts(m.ledger, m.data, now) if between(name) else []
        merges = [e for e in run if me in (_pair(e) or ())]
        others += [(_key(u), "", me) for u in back if not any(_undoes(u, e) for e in merges)]
    return tuple(sorted((*mine, *others)))


# What aliases bring -----------------------------------------------------------------------------------------------


def aliases(members: dict[str, Member]) -> Iterator[tuple[str, Member]]:
    """All aliases, at any depth, by row key; the deeper ones first."""
    for name, m in sorted(members.items()):
        if m.alias:
            yield from aliases(m.members)
            yield name, m


def claims(row: Row, epoch: int = 0) -> tuple[Minted, ...]:
    """The handoffs that aliases have said, and this row has not: the union's handoff may be one of them.

    :param epoch: only of those that have spoken, or were spoken for, in this one or later.
    """
    own = {(m.of, m.ordinal) for m in row.minted}
    out: dict[Name, Minted] = {}
    for _, m in aliases(row.members):
        if m.epoch >= epoch:
            out |= {(x.of, x.ordinal): x for x in m.minted if (x.of, x.ordinal) not in own}
    return tuple(out.values())


def inherited(row: Row) -> dict[Name, tuple[Journey, Handoff]]:
    """The handoffs as aliases last said them, of which this row has said nothing yet, or others later."""
    own = {(m.of, m.ordinal) for m in row.minted} if not row.again else set()
    out: dict[Name, tuple[Journey, Handoff]] = {}
    for _, m in aliases(row.members):
        for x in m.minted:
            out.pop((x.of, x.ordinal), None)  # it speaks for those below
        for j in decode_spoken(m.spoken)[0] if m.spoken else ():
            out |= {(h.of, h.ordinal): (j, h) for h in j.handoffs if (h.of, h.ordinal) not in own}
    return out


def left_standing(me: str, row: Row) -> Iterator[tuple[Name, tuple[Journey, Handoff], int]]:
    """What aliases last said of handoffs whose lead had gone elsewhere before this row could say anything of it, and
    in which epoch. They speak no more, so it is this row's to take back, as if they did: in that epoch."""
    mine = {me, *(name for name, _ in aliases(row.members))}
    for _, m in aliases(row.members):
        for j in decode_spoken(m.spoken)[0] if m.spoken else ():
            for h in j.handoffs:
                epoch = m.spoke.get(h.of, m.epoch)
                if h.of not in mine and (row.waiting or row.spoke.get(h.of, -1) < epoch):
                    yield (h.of, h.ordinal), (j, h), epoch


def gather(members: dict[str, Member], out: list[Item], known: int = 0) -> None:
    """The facts of all members; an alias's could not be known to be this lead's before the merge was. Of two claims of
    one identity that could be known from the same instant on, the one that was recorded first stays."""
    found: dict[int, list[Item]] = {}
    _collect(members, found, known)
    for since, run in found.items():
        out += [ledger.known_from(e, since) for e in once(run)] if since else run


def _collect(members: dict[str, Member], out: dict[int, list[Item]], known: int) -> None:
    """By since when they could be known to be this lead's."""
    for m in members.values():
        if m.asks:
            continue
        since = max(known, m.known)
        out.setdefault(since, []).extend(ledger.items(m.ledger, m.data))
        _collect(m.members, out, since)


def apart(members: dict[str, Member]) -> list[tuple[int, list[Item]]]:
    """Leads that were not yet known to be this one: until when, and their facts as they knew them."""
    out: list[tuple[int, list[Item]]] = []
    for name, m in members.items():
        if m.alias and name[:1] == "l":
            found = ledger.items(m.ledger, m.data)
            gather(m.members, found)
            out.append((m.known, once(found)))
            out += apart(m.members)
    return out


def once(found: list[Item]) -> list[Item]:
    """Each identity once, as it was recorded first, in order."""
    first: dict[int, Item] = {}
    for e in found:
        name = e[1] >> 16
        other = first.get(name)
        if other is None:
            first[name] = e
        else:
            first[name] = _as_one(e, other) if _recorded(e) < _recorded(other) else _as_one(other, e)
    return sorted(first.values(), key=_key)


def _as_one(kept: Item, other: Item) -> Item:
    """The same fact twice; told by two systems, each of which has a name for it."""
    a, b, c, data = kept
    kind = b >> 8 & 255
    if data == other[3] or kind not in NATURAL or kind != other[1] >> 8 & 255:
        return kept
    return a, b, c, both_names(kind, data, other[3])


def _recorded(e: Item) -> tuple[int, object, int, int]:
    return ledger.recorded_at(e[0], e[2]), ledger.position(e[2]), e[0], e[1]


def shared(members: dict[str, Member], b: int) -> bool:
    """Has a member the fact with the identity of ``b`` as well?"""
    return any(ledger.find(m.ledger, b) >= 0 or shared(m.members, b) for m in members.values())


def moved(old: Member | None, new: Member | None) -> tuple[int, int] | None:
    """The key from which to fold again when ``new`` replaces ``old``; None if no fact and no claim is another."""
    if old is None or new is None:
        either = new or old
        if either is None or either.asks:
            return None
        keys = [(a, b) for a, b, _ in ledger.RECORD.iter_unpack(either.ledger)]
        keys += [k for m in either.members.values() if (k := moved(None, m)) is not None]
        return (0, 0) if either.alias else min(keys, default=None)
    if (old.alias, old.known, old.minted) != (new.alias, new.known, new.minted):
        return 0, 0
    if new.asks and old.asks:
        return None
    found = []
    if (old.ledger, old.data) != (new.ledger, new.data):
        before, after = ledger.items(old.ledger, old.data), ledger.items(new.ledger, new.data)
        n = next((n for n, (x, y) in enumerate(zip(before, after, strict=False)) if x != y), None)
        n = min(len(before), len(after)) if n is None else n
        found = [_key(x) for run in (before, after) for x in run[n : n + 1]]
    for name in old.members.keys() | new.members.keys():
        if (below := moved(old.members.get(name), new.members.get(name))) is not None:
            found.append(below)
    return min(found, default=None)


def drift(row: Row) -> int:
    """Versions sent to other leads and visitors less those that arrived from them; the sum over all rows is 0 whenever
    nothing is on its way."""
    here = sum(m.version for name, m in row.members.items() if between(name))
    return sum(row.sent.values()) - here
