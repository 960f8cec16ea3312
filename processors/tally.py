"""The engagement of one row as workers keep it: a few integers that each event moves, and what makes them exact.

`add` is on the path of every event, so the counts have no days and no labels of the lead; reports count by day from
the facts themselves (`engagement.count`), and both agree: `coarse` of what reports count is what `add` counts. Late,
held, merged and re-classified facts are rare: the row is then counted anew.

What a row has dropped from its ledger, for it cannot matter to any decision, still counts: `drop` takes over what
would be missing, whatever was dropped, so that the sum stays the same. Short identities of the dropped facts tell a
second delivery from a new fact. Both are bounded, and approximate beyond that, as the ledger is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from processors.additive import EMPTY, Key
from processors.compiled import Compiled
from processors.days import first_of_month, month_of_day
from processors.engagement import (
    AGENTS,
    CLICK_KIND,
    CLICKED,
    OBJECTION_KIND,
    OPEN_KIND,
    OPENED,
    SURVEY_KIND,
    Known,
    Mail,
    coarse,
    count,
    counted,
    mail_key,
    seen_bits,
)
from processors.events import AGENT_MASK, AGENT_SHIFT, FACT, HUMAN, KIND, NAME, PROXY
from processors.ledger import WIDTH, Item
from processors.model import Row, State, Tally, decode_state, encode
from processors.scoring import as_classified
from processors.surveys import ANSWERS, NPS, answer
from processors.visits import GAP_MS, VISIT, Stay, actions, agents_of, belongs, field

#: Codes of what is no plain event: small negative integers take one byte. E-mails: 4 codes each for opened, clicked.
_VISITS, _ANSWERS, _MAILS = -1, -2, -8
#: What else than counting it an event may ask for.
_PLAIN, _VISITED, _LOOKED, _ASKED = range(4)
_WHAT = tuple(
    _LOOKED if kind in (OPEN_KIND, CLICK_KIND) else _VISITED if kind in VISIT else _ASKED if kind == SURVEY_KIND else _PLAIN
    for kind in range(FACT)
)  # fmt: skip
RECLASSIFIED, ERASED = KIND["engagement_reclassified"], KIND["erased"]
#: Dropped facts whose identity is remembered, e-mails whose fate is; keys after which old days become months.
GONE, MAILS, KEYS = 2048, 256, 512
_DAYS_KEPT = 90
_SHORT = 4


class Dropped(Struct, array_like=True):
    """What was counted of facts that a row no longer keeps, as (count, labels, day) and how many; and what is known
    of them."""

    counts: list[tuple[list[str | int], int]] = []
    known: Known = msgspec.field(default_factory=Known)

    def items(self) -> Iterable[tuple[Key, int]]:
        return ((tuple(key), n) for key, n in self.counts)


_decode = msgspec.msgpack.Decoder(Dropped).decode


def dropped_of(row: Row) -> Dropped | None:
    """None where nothing was dropped; an alias's facts are those of the row that it belongs to."""
    return _decode(row.past) if row.past and not row.target else None


def add(t: Tally, s: State, e: Item) -> None:
    """Count one event, after all that came before it."""
    a, b, _, data = e
    kind = b >> 8 & 255
    counts = t.counts
    if kind >= FACT:
        if kind == OBJECTION_KIND:
            name = str(field(data, 0) or EMPTY)
            counts[name] = counts.get(name, 0) + 1
        elif kind == ERASED:  # who comes after is somebody else
            t.mails, t.visited = {}, Tally().visited
        return
    if s.agents:
        b = as_classified(s, b, data)
    agent = (b & AGENT_MASK) >> AGENT_SHIFT
    code = kind << 2 | agent
    counts[code] = counts.get(code, 0) + 1
    what = _WHAT[kind]
    if what == _PLAIN:
        return
    if what == _LOOKED:
        key, bit = mail_key(field(data, 0)), agent if kind == OPEN_KIND else 4 + agent
        bits = t.mails.get(key, 0)
        if not bits >> bit & 1:
            t.mails[key] = bits | 1 << bit
            counts[_MAILS - bit] = counts.get(_MAILS - bit, 0) + 1
        if kind == OPEN_KIND or agent != HUMAN:
            return
    elif what == _ASKED:
        if agent < PROXY and field(data, 2) == NPS and type(field(data, 1)) is int:
            code = _ANSWERS - ANSWERS.index(answer(field(data, 1)))
            counts[code] = counts.get(code, 0) + 1
        return
    if agent < PROXY:
        at = a >> 22
        if at - t.visited > GAP_MS:
            counts[_VISITS] = counts.get(_VISITS, 0) + 1
        t.visited = at


def recount(row: Row, items: Iterable[Item]) -> None:
    """Count the row anew.

    :param items: its effective facts in order, of which those count that its head has folded.
    """
    s = row.head
    t = Tally()
    past = dropped_of(row)
    if past is not None:
        for key, n in past.items():
            name = coarse(key)
            if name is not None:
                t.counts[_code(name)] = t.counts.get(_code(name), 0) + n
        t.mails = {key: bits for key, mail in past.known.mails.items() if (bits := seen_bits(mail))}
    also = past.known.stay[0] if past is not None else t.visited
    run = [e for e in items if (e[0], e[1]) <= (s.a, s.b)]
    who = s if not row.floor else _who(row, run, 0)
    for n, e in enumerate(run):
        if also <= e[0] >> 22:
            t.visited = max(t.visited, also)
        add(t, who, e)
        if e[1] >> 8 & 255 == ERASED:
            also, who = Tally().visited, _who(row, run, n + 1)
    t.visited = max(t.visited, also)
    t.counts = {code: n for code, n in t.counts.items() if n}
    row.tally = t


def _who(row: Row, run: Sequence[Item], begun: int) -> State:
    """A state that knows what was re-classified of one person: up to the next one's erasure."""
    end = next((n for n in range(begun, len(run)) if run[n][1] >> 8 & 255 == ERASED), len(run))
    base = decode_state(row.base).agents if row.base and not begun else {}
    return State(agents=agents_of(run[begun:end], base))


def _code(name: Key) -> int | str:
    if name[0] == "engaged":
        return KIND[name[1]] << 2 | _AGENT[name[2]]
    if name[0] == "email":
        return _MAILS - (_AGENT[name[2]] + (4 if name[1] == CLICKED else 0))
    if name[0] == "recommends":
        return _ANSWERS - ANSWERS.index(name[1])
    return _VISITS if name[0] == "visits" else str(name[1])


_AGENT = {name: code for code, name in AGENTS.items()}


def _name(code: int | str) -> Key:
    if isinstance(code, str):
        return "objections", code
    if code >= 0:
        return "engaged", NAME[code >> 2], AGENTS[code & 3]
    if code <= _MAILS:
        bit = _MAILS - code
        return "email", CLICKED if bit & 4 else OPENED, AGENTS[bit & 3]
    return ("visits",) if code == _VISITS else ("recommends", ANSWERS[_ANSWERS - code])


_NAMES: dict[int | str, Key] = {}


def contribution(counts: dict[int | str, int]) -> dict[Key, int]:
    """What a tally adds to the figures (`engagement.COLUMNS`)."""
    out = {}
    for code, n in counts.items():
        if type(code) is str:
            out[_name(code)] = n
            continue
        name = _NAMES.get(code)
        if name is None:
            name = _NAMES[code] = _name(code)
        out[name] = n
    return out


def moved(before: dict[int | str, int], after: dict[int | str, int]) -> tuple[dict[Key, int], dict[Key, int]]:
    """The contributions of two tallies, where they differ."""
    return (
        contribution({k: n for k, n in before.items() if after.get(k) != n}),
        contribution({k: n for k, n in after.items() if before.get(k) != n}),
    )


def first_touch(before: dict[int | str, int], after: dict[int | str, int]) -> bool:
    """Is there a touch, the first one of this row?"""
    return not any(code in before for code in _TOUCHES) and any(code in after for code in _TOUCHES)


_TOUCHES = (_VISITS, *(KIND["event_attended"] << 2 | agent for agent in AGENTS))


# What is no longer kept ------------------------------------------------------------------------------------------


def gone(row: Row, b: int) -> bool:
    """Has a fact of this identity been dropped? (Once in 10**6 facts of a row that dropped 2048, wrongly so.)"""
    key = _short(b)
    at = row.gone.find(key)
    while at >= 0 and at % _SHORT:
        at = row.gone.find(key, at + 1)
    return at >= 0


def _short(b: int) -> bytes:
    return (b >> 16 & 0xFFFFFFFF).to_bytes(_SHORT, "big")


def _persons(
    items: Sequence[Item], d: Compiled, agents: dict[int, int], known: Known | None
) -> list[tuple[Key, dict[Key, int]]]:
    """`engagement.count` of each person in turn: see `dated`.

    :param agents: what was re-classified before the first fact.
    """
    out: list[tuple[Key, dict[Key, int]]] = []
    begun = 0
    for n, e in enumerate(items):
        if e[1] >> 8 & 255 == ERASED:
            own = items[begun:n]
            out.append((e[:2], count(own, d, agents_of(own, agents), known)))
            begun, known, agents = n + 1, None, {}
    own = items[begun:]
    out.append(((0, 0), count(own, d, agents_of(own, agents), known)))
    return out


def drop(row: Row, ledger: bytes, before: Sequence[Item], after: Sequence[Item], d: Compiled) -> None:
    """Take over what is no longer counted from the row's facts.

    :param ledger: the row's ledger as it was.
    :param before: its effective facts then; ``after``: now, some of the same.
    """
    past = dropped_of(row) or Dropped()
    agents = row.head.agents
    kept = {e[1] >> 16 for e in after}
    missing = [e for e in before if e[1] >> 16 not in kept]
    _, mails = counted(missing, d, agents, past.known)
    known = Known(_newest(mails), _newest_stay(before, kept, past.known, d, agents))
    total = dict(past.items())
    for sign, items, knew in ((1, before, past.known), (-1, after, known)):
        for _, found in _persons(items, d, agents, knew):
            for key, n in found.items():
                total[key] = total.get(key, 0) + sign * n
    _store(row, total, known)
    ids = {row.ledger[i : i + 6] for i in range(8, len(row.ledger), WIDTH)}
    fresh = (ledger[i + 2 : i + 6] for i in range(8, len(ledger), WIDTH) if ledger[i : i + 6] not in ids)
    row.gone = (row.gone + b"".join(fresh))[-_SHORT * GONE :]


def _newest_stay(
    before: Sequence[Item], kept: set[int], known: Known, d: Compiled, agents: dict[int, int]
) -> Stay:
    """The newest of what was done in visits and is no longer kept."""
    newest = also = Stay(*known.stay)
    for x in actions(before, d, agents, also):
        if x.item[1] >> 16 not in kept and belongs(x.kind, x.agent) and x.stay.last >= newest.last:
            newest = x.stay
    return newest


def late(row: Row, e: Item, d: Compiled) -> None:
    """A fact from before what the row still keeps: it counts, though no visit can be made out of it and others."""
    past = dropped_of(row) or Dropped()
    found, mails = counted([e], d, row.head.agents, Known(past.known.mails))
    total = dict(past.items())
    for key, n in found.items():
        total[key] = total.get(key, 0) + n
    _store(row, total, Known(_newest(mails), past.known.stay))
    row.gone = (row.gone + _short(e[1]))[-_SHORT * GONE :]


def forget(row: Row, items: Iterable[Item]) -> None:
    """What was dropped is to be forgotten: only what is still there counts.

    :param items: the row's effective facts in order.
    """
    row.past = row.gone = b""
    recount(row, items)


def _newest(mails: dict[int, Mail]) -> dict[int, Mail]:
    return dict(list(mails.items())[-MAILS:])


def _store(row: Row, total: dict[Key, int], known: Known) -> None:
    if len(total) > KEYS:
        newest = max(key[-1] for key in total)
        months: dict[Key, int] = {}
        for key, n in total.items():
            day = key[-1]
            old = newest - day > _DAYS_KEPT
            short = (*key[:-1], first_of_month(month_of_day(day)) if old else day)
            months[short] = months.get(short, 0) + n
        total = months
    row.past = encode(Dropped([(list(key), n) for key, n in total.items() if n], known))


# Reports ---------------------------------------------------------------------------------------------------------


def dated(
    row: Row, items: Sequence[Item], base: State | None, d: Compiled, upto: int | None
) -> list[tuple[Key, dict[Key, int]]]:
    """What the row adds by day (`engagement.count`): of each person in turn who was erased here, with the key of the
    fact that did so, and of the one who is there now, with the key (0, 0).

    :param items: the facts that count, in order.
    :param upto: the last day of which the dropped ones count; None: all.
    """
    dropped = dropped_of(row)
    agents = base.agents if base is not None else {}
    out = _persons(items, d, agents, dropped.known if dropped is not None else None)
    first = out[0][1]
    for key, n in dropped.items() if dropped is not None else ():
        if upto is None or key[-1] <= upto:
            first[key] = first.get(key, 0) + n
    return out
