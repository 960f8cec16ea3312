"""Why: the rows that made a score, each with its place in the input, and the transitions that made a stage.

The same rules as in `scoring`, watched. The sum of the rows is the score, to the milli-point: what is cut by a cap
and what rounding takes is a row of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from processors import scoring
from processors.compiled import Compiled, Rule
from processors.events import BACKFILL, FACT, NAME, view
from processors.fold import elapse, feed, new_state
from processors.ledger import Item, Position, position, recorded_at
from processors.model import State, decode_state, encode
from processors.scope import Scope


class ScoreRow(Struct, frozen=True):
    """``points`` (milli) that remain of ``rule`` on ``day``; ``why``: scored, cap, cap of all, rounding, before."""

    rule: str
    why: str
    day: int
    points: int
    raw: int = 0
    position: Position | None = None


def score_rows(
    s: State,
    base: State | None,
    items: Iterable[Item],
    at: int,
    d: Compiled,
    definitions: tuple[Compiled, ...] = (),
) -> list[ScoreRow]:
    """The rows behind the engagement score at ``at`` (ms), greatest first. Their sum is `scoring.engagement`.

    :param definitions: all of the timeline; needed where ``base`` was made under another one than ``d``.
    """
    raw = _by_rule_and_day(s, base, items, d, definitions)
    today = d.days.day(at)
    out: list[ScoreRow] = []
    total = 0
    for index, acc in s.acc.items():
        rule = d.rules[index]
        whole = scoring.faded(acc, today, rule)
        out += _rows_of(rule, raw, whole, today)
        if rule.cap and whole > rule.cap:
            out.append(ScoreRow(rule.name, "cap", today, rule.cap - whole))
            whole = rule.cap
        total += whole
    cap = d.source.engagement_cap
    if cap and total > cap:
        out.append(ScoreRow("all rules", "cap of all", today, cap - total))
    elif total < -scoring.LIMIT:
        out.append(ScoreRow("all rules", "saturated", today, -scoring.LIMIT - total))
    return sorted(out, key=lambda r: -r.points)


#: (rule, day) -> [raw points, position of the first, why].
_Raw = dict[tuple[int, int], list[Any]]


def _rows_of(rule: Rule, raw: _Raw, whole: int, today: int) -> list[ScoreRow]:
    """What is left of a rule's points, day by day, and what rounding took of them."""
    out = []
    for (index, day), (points, pos, why) in raw.items():
        if index == rule.index:
            now = scoring.faded([day, points, 0], today, rule)
            whole -= now
            out.append(ScoreRow(rule.name, why, day, now, points, pos))
    if whole:
        out.append(ScoreRow(rule.name, "rounding", today, whole))
    return out


def _by_rule_and_day(
    s: State, base: State | None, items: Iterable[Item], d: Compiled, definitions: tuple[Compiled, ...]
) -> _Raw:
    upto = (s.a, s.b)
    scratch = State()
    raw: _Raw = {}
    if not s.consent.get("profiling", (True, 0))[0]:
        return raw
    if base is not None:
        scratch.acc, scratch.once, _ = scoring.inherited(
            s, base, definitions or (d,) * (base.definition + 1), d
        )
        for index, acc in scratch.acc.items():
            raw[index, acc[0]] = [acc[1], None, "before"]
    for a, b, c, data in items:
        if (a, b) > upto:
            break
        kind = b >> 8 & 255
        rules = d.by_kind[kind]
        if kind >= FACT or not rules or (a, b) <= s.anew:
            continue
        day = d.days.day(a >> 22)
        before = {r.index: scratch.acc.get(r.index) for r in rules}
        if not scoring.score(scratch, a >> 22, scoring.as_classified(s, b, data) if s.agents else b, data, d):
            continue
        for index, old in before.items():
            now = scratch.acc.get(index)
            if now is not None and now is not old:
                gained = now[2] - (old[2] if old is not None and old[0] == day else 0)
                if gained:
                    found = raw.setdefault((index, day), [0, position(c), "scored"])
                    found[0] += gained
    return raw


class Line(Struct, frozen=True):
    """One fact of a lead's story: what came, when, from where, and where the lead stood afterwards."""

    at: int
    recorded_at: int
    type: str
    payload: dict[str, Any]
    position: Position
    backfill: bool
    level: int
    fit: int
    stage: int
    handoffs: int


def story(items: Iterable[Item], now: int, scope: Scope, base: State | None = None) -> list[Line]:
    """Every fact in order, with the state after it; `scope.said` keeps the handoffs as they were published.

    ``base`` is the state below the first fact, where older ones were folded together; it is left as it is.
    """
    run = list(items)
    scope.history = lambda: (base, run)
    s = new_state() if base is None else decode_state(encode(base))
    out = []
    for e in run:
        t = e[0] >> 22
        if t > now:
            break
        feed(s, [e], scope)
        d = scope.definitions[s.definition]
        kind = e[1] >> 8 & 255
        out.append(
            Line(
                t, recorded_at(e[0], e[2]), NAME.get(kind, "unknown"), view(kind, e[3]), position(e[2]),
                bool(e[1] & BACKFILL), scoring.level(s, t, d), s.fit, s.journeys[-1].at if s.journeys else -1,
                sum(len(j.handoffs) for j in s.journeys),
            )
        )  # fmt: skip
    elapse(s, now, scope)
    return out
