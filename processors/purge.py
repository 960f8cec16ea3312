"""The end of an erasure: facts, payloads, snapshots and what was derived from them leave the row.

The state just after the erasure becomes the base of the row, as at the ledger's horizon: it holds stages, handoffs
and deals by their ids, and nothing that the person did, said or is. What the facts themselves added to the figures is
kept as a sum, the `residue`: contribution before less contribution after, so the totals do not move whatever a figure
rests on, but for labels that tell what the person took or said: those become ``(erased)``. While a half-read past is folded nothing is purged, because its other half has still to find its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from processors import (
    additive,
    engagement,
    erasure,
    figures,
    identity,
    lead_quality,
    links,
    say,
    subject,
    tally,
)
from processors.additive import EMPTY, Contribution, Key
from processors.events import Event
from processors.fold import feed, new_state
from processors.model import Erasure, Member, Row, decode_spoken, encode
from processors.scope import Scope
from processors.subject import Result, Told, base_of, effective

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


def heard(
    row: Row,
    events: Sequence[Event],
    now: int,
    scope: Scope,
    told: Sequence[Told] = (),
    live: bool = True,
) -> Result:
    """`subject.process`, where rows tell that somebody was erased. Then comes `settle`.

    What a row told after that comes after it, although it would do as well: else nobody knew what went by the erasure.
    """
    since: dict[str, int] = {}
    for m in told:
        if m.erase:
            since[m.sender] = min(m.version, since.get(m.sender, m.version))
    later = [m for m in told if m.version >= since.get(m.sender, m.version + 1)]
    result = subject.process(row, events, now, scope, [m for m in told if m not in later], live)
    for m in sorted(later, key=lambda m: (m.sender, m.version)):
        if m.erase:
            _told_to_forget(row, m, now, _afresh(scope), live, result)
        else:
            _and_then(result, subject.process(row, (), now, _afresh(scope), [m], live))
    return result


def settle(row: Row, now: int, scope: Scope, live: bool, result: Result) -> None:
    """To be called after `subject.process`, with its result, for a row that has a ``floor``."""
    if row.target:
        _settle_alias(row, now, scope, live, result)
    elif row.floor:
        _settle(row, now, scope, live, result)
    if live:
        _remind_visitors(row, now, scope, result)


def _settle(row: Row, now: int, scope: Scope, live: bool, result: Result) -> None:
    """Take out of the row what is to be forgotten, if its time has come."""
    at = row.head.gone[0] >> 22
    if not any(x.at <= at and not x.done for x in row.erasures):
        return
    if not live:
        if not row.waiting:  # look at it again when the past has been read, with nothing to say as yet
            row.waiting = True
            row.spoken = encode((row.head.journeys, row.head.shares, row.head.source))
        return
    before = _contributions(row, scope)
    key = row.head.gone
    row.base = next((x[2] for x in row.snapshots if (x[0], x[1]) == key), b"") or _folded(row, key, scope)
    erasure.strip(row, lambda e: (e[0], e[1]) <= key)
    row.snapshots = [x for x in row.snapshots if (x[0], x[1]) > key]
    tally.forget(row, effective(row))
    erasure.finished(row, at)
    lost = _less(before, _contributions(row, scope))
    for kind, contribution in lost.items():
        for name, n in contribution.items():
            if (stays := nameless(name)) != name:
                additive.add(result.kept, [((kind == _FINE, *name), -n), ((kind == _FINE, *stays), n)])
    _keep(row, lost)
    _ask_visitors(row, at, now, scope, result)


def _ask_visitors(row: Row, at: int, now: int, scope: Scope, result: Result) -> None:
    """What the person did before they were known lies with their browsers, also with one that has not answered yet."""
    names = [name for name in identity.asks(scope.subject, row, now) if name[:1] == "a"]
    if names:
        _ask(row, names, at, now, scope, result)


def _remind_visitors(row: Row, now: int, scope: Scope, result: Result) -> None:
    """A browser that others use as well takes what comes late of a time that is erased: it may have been theirs."""
    at = max((x.at for x in row.erasures if x.done), default=0)
    names = [name for name, m in row.members.items() if name[:1] == "a" and m.alias and _has_before(m, at)]
    if names:
        _ask(row, names, at, now, scope, result)


def _has_before(m: Member, at: int) -> bool:
    first = int.from_bytes(m.ledger[:8], "big") >> 22 if m.ledger else at + 1
    return first <= at or any(_has_before(x, at) for x in m.members.values())


def _ask(row: Row, names: list[str], at: int, now: int, scope: Scope, result: Result) -> None:
    now_seen = subject.seen(row, row.head, scope)
    # of what went out of the row the residue tells: it moves nothing
    was, became = result.moved if result.moved is not None else (now_seen, now_seen)
    found, _ = links.settle(row, now, scope)
    wanted = identity.copies(scope.subject, row, found, now)
    for name in sorted(wanted.keys() & names):  # one that is not ours any more is told so anyway
        version = row.sent.get(name, 0) + 1
        row.sent = {**row.sent, name: version}
        result.told.append(Told(name, scope.subject, version, replace(wanted[name], version=version), at))
    result.moved = (was, became._replace(links=links.figures(row)))


def _settle_alias(row: Row, now: int, scope: Scope, live: bool, result: Result) -> None:
    """An alias's facts are folded by the row that it belongs to, which keeps what they were counted as."""
    at = max((x.at for x in row.erasures if not x.done and x.at <= now), default=0)
    if not at:
        return
    if not live:
        row.waiting = True
        return
    erasure.strip(row, lambda e: e[0] >> 22 <= at)
    erasure.finished(row, at)
    _send(row, at, now, scope, result)
    _ask_visitors(row, at, now, scope, result)


def _send(row: Row, at: int, now: int, scope: Scope, result: Result) -> None:
    """Pass on that there is less, and that it was erased."""
    was = result.moved[0] if result.moved is not None else subject.seen(row, row.head, scope)
    row.snapshots = []
    row.spoken = _bare(row.spoken)
    found, _ = links.settle(row, now, scope)
    for to, version, member in links.send(row, now, scope, found):
        erase = at if member is not None and member.alias else 0
        result.told.append(Told(to, scope.subject, version, member, erase))
    result.moved = (was, subject.seen(row, row.head, scope))


def _bare(spoken: bytes) -> bytes:
    """What was said last, without notes."""
    if not spoken:
        return spoken
    journeys, shares, source = decode_spoken(spoken)
    plain = (replace(j, handoffs=tuple(replace(h, notes="") for h in j.handoffs)) for j in journeys)
    return encode((tuple(plain), shares, source))


def _told_to_forget(row: Row, m: Told, now: int, scope: Scope, live: bool, result: Result) -> None:
    """An alias was erased: its part of this row's facts goes. Or a lead was: so does what its browser here knows.

    What was counted stays counted. A handoff whose ground is gone is withdrawn, unless it was answered.
    """
    known = row.members.get(m.sender)
    if known is not None and known.version >= m.version:
        return
    before = _contributions(row, scope)
    one = subject.process(row, (), now, scope, [m], live)
    _keep(row, _counted(_less(before, _contributions(row, scope)), m.erase, scope), result.kept)
    if live and not row.closed:
        _say_again(row, now, scope, one)
    one.told = [x._replace(erase=m.erase if x.member is not None and x.member.alias else 0) for x in one.told]
    _and_then(result, one)
    if scope.subject[:1] == "a" and m.member is not None and m.member.asks:
        _visitor_erased(row, m, now, scope, result)


def _and_then(result: Result, one: Result) -> None:
    """What another call led to, after that which is told by ``result``."""
    result.outputs += one.outputs
    result.refused += one.refused
    result.told += one.told
    for what, n in one.counts.items():
        result.count(what, n)
    if one.since is not None:
        result.since = min(one.since, result.since or one.since)
    if one.moved is not None:
        result.moved = (result.moved or one.moved)[0], one.moved[1]
    if one.engaged is not None:
        result.engaged = (result.engaged or one.engaged)[0], one.engaged[1]


def _visitor_erased(row: Row, m: Told, now: int, scope: Scope, result: Result) -> None:
    """A browser forgets what it knows of one person, and nothing of who used it before or afterwards."""
    found, _ = links.settle(row, now, scope)
    mine = [x for x in found.links if x.target == m.sender]
    if not mine:
        return
    erasure.strip(row, lambda e: e[0] >> 22 <= m.erase and any(x.since <= e[0] >> 22 < x.until for x in mine))
    if len(mine) == len(found.links):
        row.erasures = (*row.erasures, Erasure(m.erase, m.erase, True))
        row.floor = max(row.floor, m.erase)
    _send(row, m.erase, now, scope, result)


def _say_again(row: Row, now: int, scope: Scope, out: Result) -> None:
    """Contexts, without what the alias had brought into them."""
    handoffs = {(h.of, h.ordinal): (j, h) for j in row.head.journeys for h in j.handoffs}
    minted = {(x.of, x.ordinal): x for x in row.minted}
    for key, content in say.decisions(row.head.journeys).items():
        if key[0] == say.HANDOFFS and key[1] in ("made", "context_updated"):
            say.emit(row, key, content, "revised", out.outputs, now, scope, handoffs, minted)


def _afresh(scope: Scope) -> Scope:
    return Scope(scope.subject, scope.definitions, scope.reference, scope.history)


# Figures ----------------------------------------------------------------------------------------------------------

_Both = dict[str, Contribution]
#: Labels that are the lead's of today.
_WHOSE = frozenset(("source", "segment"))
#: Figures of what is open now: nothing of it is left to be counted.
_OPEN = frozenset(("balance", "left", "left_on", "stay_on", "untouched", "untouched_on", "delay_open_on",
                   "stranded", "alias_drift", "crowded"))  # fmt: skip


def _less(before: _Both, after: _Both) -> _Both:
    out: _Both = {}
    for kind, contribution in before.items():
        out[kind] = {}
        additive.move(out[kind], after[kind], contribution)
    return out


def _counted(gone: _Both, at: int, scope: Scope) -> _Both:
    """Of what a row no longer adds, that which stays counted: stages that were entered have been left, calls that
    were open are withdrawn."""
    day = scope.definitions[-1].days.day(at)
    stands = _stands_anew(gone[_COARSE])
    out: _Both = {}
    for kind, contribution in gone.items():
        kept: Contribution = {}
        for (name, *labels), n in contribution.items():
            if name in _OPEN:
                continue
            if name in ("handoff", "handoff_on") and labels[0] == "open":
                labels[0] = "withdrawn"
            elif name in ("sla", "sla_on") and labels[1] == "open":
                labels[1] = "dropped"
            additive.add(kept, [((name, *labels), n)])
        _still_told(kept)
        _entered_anew(kept, stands)
        for (name, *labels), n in list(kept.items()):
            if name == "entered":
                additive.add(kept, [(("left", *labels), n)])
            elif name == "entered_on":
                left = ("left_on", *labels[:-1])
                # one that is taken back was left when who remains has left it
                anew = (k[-1] for k, m in contribution.items() if k[:-1] == left and m < 0)
                additive.add(kept, [((*left, day if n > 0 else min(anew, default=day)), n)])
        out[kind] = kept
    return out


def _still_told(kept: Contribution) -> None:
    """What a row still tells is told under the labels of who is left: it did not go, and stays no nameless count."""
    families: dict[Key, list[Key]] = {}
    for key in sorted((key for key in kept if nameless(key) != key), key=repr):
        of = zip(_TOLD[key[0]], key[1:], strict=True)
        families.setdefault((key[0], *(x for label, x in of if label not in _WHOSE)), []).append(key)
    for keys in families.values():
        for anew in [key for key in keys if kept[key] < 0]:
            _give(kept, anew, -kept[anew], [key for key in keys if kept.get(key, 0) > 0])


def _stands_anew(gone: Contribution) -> dict[Key, int]:
    """Where who is left stands in a stage that the row had not entered before: (stage, series, source, segment)."""
    stands = {key[1:]: -n for key, n in gone.items() if key[0] == "balance" and n < 0}
    return {key: n for key, more in stands.items() if (n := min(more, -gone.get(("entered", *key), 0))) > 0}


def _entered_anew(kept: Contribution, stands: dict[Key, int]) -> None:
    """These entries are not taken back, or more would have left the stage than were there. One of the stage that went
    under other labels gives way, on its own day."""
    for labels, most in sorted(stands.items(), key=repr):
        left = most
        for anew in sorted((k for k in kept if k[1:5] == labels and kept[k] < 0), reverse=True):
            if anew[0] in ("entered", "entered_on") and left:
                n = min(left, -kept[anew])
                left -= n
                others = (k for k in kept if k[:2] == anew[:2] and k[1:5] != labels and kept[k] > 0)
                n -= _give(kept, anew, n, sorted(others, key=repr))
                additive.add(kept, [(anew, n)])


def _give(kept: Contribution, anew: Key, most: int, keys: Sequence[Key]) -> int:
    """Count what went under ``keys`` under the labels of ``anew``, which it offsets where it is of the same day.
    :returns: how many."""
    given = 0
    for key in keys:
        n = min(kept[key], most - given)
        given += n
        additive.move(kept, {key: n}, {(*anew[:5], *key[5:]) if anew[0] == "entered_on" else anew: n})
    return given


def _keep(row: Row, more: _Both, told: Contribution | None = None) -> None:
    """Add to the residue, under labels that tell nothing; to ``told`` as well, by whether only exact reports need it
    and the key."""
    kept = dict(row.residue)
    for kind, contribution in more.items():
        for name, n in contribution.items():
            stays = nameless(name)
            text = _named(kind, stays)
            kept[text] = kept.get(text, 0) + n
            if told is not None:
                additive.add(told, [((kind == _FINE, *stays), n)])
    row.residue = {text: n for text, n in kept.items() if n}


def _folded(row: Row, key: tuple[int, int], scope: Scope) -> bytes:
    """The state just after ``key``, where no snapshot of it is there."""
    s = base_of(row) or new_state()
    feed(s, [e for e in effective(row) if (s.a, s.b) < (e[0], e[1]) <= key], scope)
    return encode(s)


def _contributions(row: Row, scope: Scope) -> dict[str, Contribution]:
    """What the row adds without its residue: to what workers show, and to exact reports alone."""
    whole = figures.of_row(scope.subject, row, scope)
    coarse = figures.of_row(scope.subject, row, scope, None, fine=False)
    additive.add(whole, ((k, -n) for k, n in figures.residue(row).items()))
    additive.add(coarse, ((k, -n) for k, n in figures.residue(row, fine=False).items()))
    return {_COARSE: coarse, _FINE: {k: n for k, n in whole.items() if k not in coarse}}


def _named(kind: str, name: tuple[Any, ...]) -> str:
    return msgspec.json.encode([kind == _FINE, *name]).decode()
