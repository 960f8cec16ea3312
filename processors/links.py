"""A row among its aliases and winners: where its facts go, what it sends, and how its own voice ends and begins again.

While a row is an alias its facts are folded by the row that it belongs to, its own head is the fold of nothing, and
what it had said of its stages is taken back; of its handoffs the other row speaks from then on, and each output topic
on which it had spoken is closed. Its contribution goes when the copy is sent and comes back when it is asked back, so
a figure is right whenever nothing is on its way; until then `figures` shows the difference as ``alias_drift``.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from msgspec.structs import replace

from processors import identity, ledger
from processors.identity import Place
from processors.model import Member, Row, encode
from processors.scope import Scope

#: What is told: to whom, in which version, and what; no member: taken back.
News = tuple[str, int, Member | None]


def claim(row: Row, scope: Scope) -> None:
    """Let the fold see what was said of the row's handoffs, by itself and by its aliases."""
    scope.said = row.minted
    if not row.members:
        return
    scope.claims = identity.claims(row)
    members = row.members
    scope.apart = lambda: identity.apart(members)


def heard(row: Row, scope: Scope) -> None:
    """Aliases may have come or gone: the handoffs of those that went are no more this row's to speak of, nor can one
    of its own be the same. To be called before the row is folded."""
    me, below = scope.subject, dict(identity.aliases(row.members))
    if any(m.of != me and m.of not in below for m in row.minted):
        row.minted = tuple(m for m in row.minted if m.of == me or m.of in below)
    claim(row, scope)


def settle(row: Row, now: int, scope: Scope) -> tuple[Place, bool]:
    """Find out where the row's facts go. True if it became an alias, or is none any more."""
    if len(row.ledger) > identity.RETURNS * ledger.WIDTH and scope.linking and row.members:
        identity.thin_returns(row)
    found = identity.place(scope.subject, row, _most(now, scope), now)
    target = found.links[-1].target if found.links else ""
    was = row.target
    if was and target != was:
        # what is said from now on is later than what the former winner said
        above = row.members.get(was)
        row.epoch = max(row.epoch, 1 + above.epoch if above is not None else 0)
    row.target, row.edge = target, found.links[-1].edge if found.links else (0, 0)
    row.crowded = found.crowded
    row.refused = identity.refusals(scope.subject, row, found, now)
    _speak_last(scope.subject, row)
    _note_epochs(row)
    return found, bool(target) != bool(was)


def _speak_last(me: str, row: Row) -> None:
    """What is said of a lead's handoffs, here or by the row it belongs to, is later than what all said who do not have it
    any more; and what this row says of an alias's later than what the alias said."""
    # an alias that has just moved may be below twice: by its old copy and, further down, by a newer one
    below = [(name, m.epoch) for name, m in identity.aliases(row.members) if name[:1] == "l"]
    names = {me, *(name for name, _ in below)}
    late = max((n for name, n in identity.parted_below(row.members) if name in names), default=0)
    known = max((epoch for _, epoch in below), default=-1)
    if not row.target:
        outdone = names if late >= max(row.epoch, 1) else _outdone(row.members, max(row.epoch, 1))
        row.again = row.again or any(m.of in outdone for m in row.minted)
        row.epoch = max(row.epoch, 1 + known)
    if late:
        row.epoch = max(row.epoch, 1 + late)


def _outdone(members: dict[str, Member], epoch: int) -> set[str]:
    """Aliases that have spoken, or were spoken for, in this epoch or later."""
    out: set[str] = set()
    for name, m in members.items():
        if m.alias and name[:1] == "l" and m.epoch >= epoch:
            out |= {name, *(x for x, _ in identity.aliases(m.members))}
        elif m.alias:
            out |= _outdone(m.members, epoch)
    return out


def _note_epochs(row: Row) -> None:
    """Remember how late each alias may have been spoken for, here or further up. The number of one who is none any more
    stands still, but for what those further up say of it: if it went on with what this row says of itself, three who were
    parted would outdo each other for ever."""
    if not row.members:
        return
    known = identity.known_epoch(row)
    below = {name for name, _ in identity.aliases(row.members) if name[:1] == "l"}
    found = [(name, known) for name in below]
    for m in row.members.values():
        found += [x for x in m.spoke.items() if x[0] in row.spoke and x[0] not in below]
    late = {name: epoch for name, epoch in sorted(found) if row.spoke.get(name, -1) < epoch}
    if late:
        row.spoke = {**row.spoke, **late}


def _most(now: int, scope: Scope) -> int:
    """People that may share a browser, by the definition in force."""
    if scope.subject[:1] != "a":
        return 0
    at = [d for d in scope.definitions if d.source.effective_at <= now] or scope.definitions[:1]
    return at[-1].source.policy.max_leads_per_anonymous


def send(row: Row, now: int, scope: Scope, found: Place) -> list[News]:
    """What has changed for others since it was last sent; versioned, so that any order and number of deliveries end
    the same."""
    out: list[News] = []
    wanted = identity.copies(scope.subject, row, found, now)
    for name in sorted(wanted.keys() | row.digests.keys()):
        member = wanted.get(name)
        digest = blake2b(encode(member), digest_size=8).digest() if member is not None else b""
        if row.digests.get(name, b"") == digest:
            continue
        version = row.sent.get(name, 0) + 1
        row.sent = {**row.sent, name: version}
        row.digests = {**row.digests, name: digest}
        out.append((name, version, replace(member, version=version) if member is not None else None))
    if row.target:
        row.held = identity.ahead(row, now)
    return out


def figures(row: Row) -> tuple[int, int]:
    """(versions that others have not had yet, less those that are missed here; 1 if the browser has too many people)"""
    return identity.drift(row), int(row.crowded)


def turned(row: Row) -> bool:
    """Is there something to say about who is who?"""
    return row.target != row.closed or row.refused != row.refused_said or row.again


def has_aliases(members: dict[str, Member]) -> bool:
    return any(m.alias for m in members.values())


def news_of(told: Sequence[Any]) -> bool:
    """Is there a message between leads and visitors among these?"""
    return any(identity.between(x.sender) for x in told)
