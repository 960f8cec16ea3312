"""Erasure in a row's set of facts: which of them count, and what still follows from those that are gone.

A request says "forget what happened up to this instant". What was recorded before the request had been counted and
stays counted; what is recorded later of that time is never taken, in whatever order the two are delivered. Deals are
told whole and go on: what they tell late takes effect after the erasure, as money alone. What a lead's touches had
earned by then stays theirs; money that moves afterwards is earned by nobody we know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from processors import ledger, shares
from processors.attribution import Credit, Touch, of_lead
from processors.compiled import Compiled
from processors.events import KIND
from processors.ledger import Item
from processors.model import NEVER, Erasure, Row, State, decode_state

ERASED = KIND["erased"]
_REFUNDED = KIND["invoice_refunded"]
_LINKS = frozenset(KIND[name] for name in ("merged", "unmerged", "identified"))


def is_refused(row: Row, t: int, heard: int) -> bool:
    """May a fact of ``t``, recorded at ``heard``, not be taken?"""
    return any(t <= x.at and (x.done or heard > x.heard) for x in row.erasures)


def requested(row: Row, b: int) -> tuple[tuple[int, int] | None, int]:
    """The fact with identity ``b``, an erasure, has been taken.

    :returns: the key from which to fold again, and how many facts of ours were taken before, but recorded too late.
    """
    at = ledger.find(row.ledger, b)
    if at < 0:
        return None, 0
    a, _, c = ledger.RECORD.unpack_from(row.ledger, at)
    new = Erasure(a >> 22, ledger.recorded_at(a, c))
    same = [x for x in row.erasures if x.at == new.at]
    if any(x.done or x.heard <= new.heard for x in same):
        return None, 0
    row.erasures = (*(x for x in row.erasures if x.at != new.at), new)
    row.floor = max(row.floor, new.at)
    run = ledger.items(row.ledger, row.data)
    late = [e for e in run if e[0] >> 22 <= new.at and ledger.recorded_at(e[0], e[2]) > new.heard]
    if not late:
        return None, 0
    row.ledger, row.data = ledger.pack(e for e in run if e not in late)
    return late[0][:2], len(late)


def placed(items: Iterable[Item], erasures: tuple[Erasure, ...]) -> list[Item]:
    """Facts told by others, each at its own time; but what a deal told too late, just after the erasure, in order."""
    out = []
    nth = 0
    for e in sorted(items, key=lambda e: (e[0], e[1])):
        a, b, c, data = e
        t, heard = a >> 22, ledger.recorded_at(a, c)
        after = max((x.at for x in erasures if t <= x.at and heard > x.heard), default=0)
        if after and b >> 8 & 255 in shares.KINDS:
            nth += 1
            a = (after + 1) << 22 | (a >> 18 & 0xF) << 18 | nth & 0x3FFFF
        out.append((a, b, c, data))
    return out


def with_shares_of(s: State, told: Iterable[Item]) -> State:
    """A state of which facts are gone, with the shares that deals tell of now."""
    s.shares = shares.of_items((e for e in told if (e[0], e[1]) <= (s.a, s.b)), s.shares, s.lives)
    return s


# Attribution ------------------------------------------------------------------------------------------------------


def credits_of(row: Row, s: State, items: list[Item], d: Compiled, kept: list[Touch]) -> tuple[Credit, ...]:
    """What the touches of all persons of this row earned; as `attribution.of_lead`."""
    old = {deal: x for deal, x in s.shares.items() if x.journey <= s.lives}
    new = {deal: x for deal, x in s.shares.items() if x.journey > s.lives}
    taken = [e for e in items if e[1] >> 8 & 255 == _REFUNDED]
    out = list(of_lead([e for e in taken if _deal(e) in old], s.journeys[: s.lives], old, d))
    since, begun = (0, 0), 0
    done = max((x.at for x in row.erasures if x.done), default=0)
    for past in s.past:
        if past.key[0] >> 22 > done:
            then = next((decode_state(x[2]) for x in row.snapshots if (x[0], x[1]) == past.key), s)
            own = {deal: x for deal, x in then.shares.items() if begun < x.journey <= past.journeys}
            run = [
                e for e in items if since < (e[0], e[1]) <= past.key and (e not in taken or _deal(e) in own)
            ]
            journeys = s.journeys[begun : past.journeys]
            out += of_lead(run, journeys, own, d, kept)
            nobodys = of_lead([e for e in run if e in taken], journeys, own, d)
            out += [x._replace(amount=-x.amount) for x in nobodys]
            kept = []
        since, begun = past.key, past.journeys
    run = [e for e in items if _deal(e) not in old] if taken else items
    run = [e for e in run if (e[0], e[1]) > since or e in taken]
    return (*out, *of_lead(run, s.journeys[begun:], new, d, kept))


def _deal(e: Item) -> str:
    """The deal that a refund is about; nothing for other facts."""
    if e[1] >> 8 & 255 != _REFUNDED or type(e[3]) is not list:
        return "\0"
    return str(e[3][2] or "") if len(e[3]) > 2 else ""


def strip(row: Row, gone: Callable[[Item], bool]) -> None:
    """Facts go, with their payloads and touches; those that say who is who stay, which are ids and nothing else."""
    run = ledger.items(row.ledger, row.data)
    row.ledger, row.data = ledger.pack(e for e in run if e[1] >> 8 & 255 in _LINKS or not gone(e))
    row.touches, row.past, row.gone = [], b"", b""


def of_the_past(s: State) -> State:
    """A state without the person who is there now: what an alias still stands for by itself."""
    if not s.left:
        s.journeys = s.journeys[: s.lives]
        s.shares = {deal: x for deal, x in s.shares.items() if x.journey <= s.lives}
        s.left, s.due = True, NEVER
    return s


def pending(row: Row) -> bool:
    """Has something been asked to be forgotten that is still there?"""
    return any(not x.done for x in row.erasures)


def finished(row: Row, at: int) -> None:
    """What was asked for up to ``at`` is done."""
    row.erasures = tuple(replace(x, done=True) if x.at <= at else x for x in row.erasures)
