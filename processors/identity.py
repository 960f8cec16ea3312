"""Who is who: aliases, chains, cycles, and the exact way back.

`identified` and `merged` reach the winner's row, which asks the loser's to become its alias. The loser's row alone owns
its pointer (the latest merge in total order wins): it keeps its own facts and sends a copy of them, and of what still
arrives, as a member of the winner, which folds the union. Unmerge takes the member back, and nothing has happened.

A browser is used by people one after another: its past goes to the first one identified on it, what follows a later
`identified` to that one. It never merges two leads.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from processors import ledger
from processors.events import KIND
from processors.ledger import Item
from processors.model import Member, Minted, Row

_MERGED, _UNMERGED, _IDENTIFIED = KIND["merged"], KIND["unmerged"], KIND["identified"]
_LINKS = frozenset((_MERGED, _UNMERGED, _IDENTIFIED))
_MANY = 1 << 64


class Link(NamedTuple):
    """To ``target`` (a row key) go the facts with ``since`` <= occurred_at < ``until``; ``edge`` is the merge's key."""

    target: str
    since: int
    until: int
    edge: tuple[int, int]


def is_link(kind: int) -> bool:
    return kind in _LINKS


def asks(me: str, row: Row) -> list[tuple[str, list[Item]]]:
    """What the winner asks of its losers: (row of the loser, the facts that say so, and those that take it back)."""
    own = _facts(row)
    undo = [e for e in own if e[1] >> 8 & 255 == _UNMERGED]
    out: list[tuple[str, list[Item]]] = []
    for e in own:
        kind = e[1] >> 8 & 255
        if kind == _UNMERGED or type(e[3]) is not list or len(e[3]) < 2:
            continue
        loser, winner = str(e[3][0]), str(e[3][1])
        target = f"l:{loser}" if kind == _MERGED else f"a:{loser}"
        if f"l:{winner}" == me and target != me:
            out.append((target, [e, *(u for u in undo if _undoes(u, e))]))
    return out


def _facts(row: Row) -> list[Item]:
    return [e for e in ledger.items(row.ledger, row.data) if e[1] >> 8 & 255 in _LINKS]


def _undoes(u: Item, e: Item) -> bool:
    return bool(u[3]) and e[1] >> 16 in u[3][0]


def links(me: str, row: Row, most: int) -> tuple[list[Link], bool]:
    """Where this row's facts go, by its own ledger; True if there are too many people on one browser to say."""
    own = _facts(row)
    undo = [e for e in own if e[1] >> 8 & 255 == _UNMERGED]
    valid = [
        e
        for e in own
        if e[1] >> 8 & 255 != _UNMERGED and type(e[3]) is list and not any(_undoes(u, e) for u in undo)
    ]
    if me[:2] == "a:":
        found = [e for e in valid if e[1] >> 8 & 255 == _IDENTIFIED and f"a:{e[3][0]}" == me]
        return _shared_browser(found, most)
    merges = [
        e for e in valid if e[1] >> 8 & 255 == _MERGED and f"l:{e[3][0]}" == me and f"l:{e[3][1]}" != me
    ]
    if not merges:
        return [], False
    last = merges[-1]
    return [Link(f"l:{last[3][1]}", 0, _MANY, (last[0], last[1]))], False


def _shared_browser(found: list[Item], most: int) -> tuple[list[Link], bool]:
    if len({e[3][1] for e in found}) > most:
        return [], True
    out: list[Link] = []
    for e in found:
        target, at = f"l:{e[3][1]}", e[0] >> 22
        if out and out[-1].target == target:
            continue
        if out:
            out[-1] = out[-1]._replace(until=at)
        out.append(Link(target, at if out else 0, _MANY, (e[0], e[1])))
    return out, False


def path(members: dict[str, Member], name: str) -> list[tuple[int, int]] | None:
    """The merges from ``name`` up to here, if it is an alias below. What was taken back does not count."""
    for key, m in members.items():
        if not m.alias:
            continue
        below = [] if key == name else path(m.members, name)
        if below is not None:
            return [*below, m.edge]
    return None


def refuses(row: Row, link: Link) -> bool:
    """In a circle the last merge in total order is void; only the row it belongs to can see that, when all of the
    circle has come round to it."""
    below = path(row.members, link.target)
    return below is not None and link.edge > max(below)


def prune(members: dict[str, Member], name: str) -> dict[str, Member]:
    """Without ``name``, at any depth: nobody is sent their own facts back."""
    return {k: replace(m, members=prune(m.members, name)) for k, m in members.items() if k != name}


def copy_for(row: Row, link: Link, version: int, epoch: int) -> Member:
    """What this row sends to the target of a link: its facts of that time, its own aliases, what it has said."""
    if link.since == 0 and link.until == _MANY:
        blob, data = row.ledger, list(row.data)
    else:
        run = [e for e in ledger.items(row.ledger, row.data) if link.since <= e[0] >> 22 < link.until]
        blob, data = ledger.pack(run)
    return Member(version, True, link.edge, blob, data, prune(row.members, link.target), row.minted, epoch)


def claims(members: dict[str, Member]) -> tuple[Minted, ...]:
    """The handoffs that aliases have said: the union's handoff may be one of them."""
    out: dict[tuple[str, int], Minted] = {}
    for _, m in sorted(members.items()):
        if m.alias:
            for said in (*claims(m.members), *m.minted):
                out[said.of, said.ordinal] = said
    return tuple(out.values())


def epoch_of(members: dict[str, Member], name: str) -> int | None:
    """How often ``name``, an alias below, had changed sides when it sent what we have."""
    for key, m in members.items():
        if key == name:
            return m.epoch
        below = epoch_of(m.members, name)
        if below is not None:
            return below
    return None


def aliases(members: dict[str, Member]) -> list[str]:
    """Row keys of all aliases, at any depth."""
    out: list[str] = []
    for key, m in members.items():
        if m.alias:
            out += [key, *aliases(m.members)]
    return out
