"""Fit, engagement and intent: what a lead is worth by the definition, in integer milli-points.

Engagement fades in whole days of the reporting time zone by a fixed integer table, all points of one rule and
day together, so the order of events within a day does not matter. Caps cut in total order. Fit is static.
"""

from __future__ import annotations

from typing import Any

from processors.compiled import SHIFT, Compiled, Rule
from processors.definition.model import DAY
from processors.events import AGENT_MASK, AGENT_SHIFT, FACT, KIND, PROXY, view
from processors.ledger import Item
from processors.model import State
from processors.scope import Scope

#: Scores saturate here, so that a mistaken definition cannot overflow a row (case 43).
LIMIT = 1_000_000_000
_NO = frozenset((None, False, 0, "", "no", "none", "false", "0", "unknown", "negative"))
_EMAILS = frozenset((KIND["email_opened"], KIND["email_clicked"]))
GATES = ("budget", "authority", "need", "timing")


def score(s: State, t: int, b: int, data: Any, d: Compiled) -> bool:
    """Add what the event is worth. Bots and proxies are kept and score nothing. True if anything moved."""
    kind = b >> 8 & 255
    rules = d.by_kind[kind]
    if not rules or (b & AGENT_MASK) >> AGENT_SHIFT >= PROXY:
        return False
    day = d.days.day(t)
    fields = None
    moved = False
    alone = type(data) is str
    for rule in d.holding(kind, data) if alone else rules:
        if rule.when is not None and not alone:
            if fields is None:
                fields = view(kind, data)
            if not rule.when.test(fields):
                continue
        if rule.once:
            if s.once & rule.once:
                continue
            s.once |= rule.once
        points = rule.points
        acc = s.acc.get(rule.index)
        if acc is None:
            if rule.daily_cap and points > rule.daily_cap:
                points = rule.daily_cap
            s.acc[rule.index] = [day, _saturated(s, points), points]
        else:
            today = acc[2] if acc[0] == day else 0
            if rule.daily_cap and points > rule.daily_cap - today:
                points = rule.daily_cap - today
                if points <= 0:
                    continue
            s.acc[rule.index] = [day, _saturated(s, faded(acc, day, rule) + points), today + points]
        moved = True
    return moved


def _saturated(s: State, points: int) -> int:
    if -LIMIT <= points <= LIMIT:
        return points
    s.saturated = True
    return LIMIT if points > 0 else -LIMIT


def faded(acc: list[int], day: int, rule: Rule) -> int:
    """Points of one rule as of ``day``; never rises with time, because negative points do not fade."""
    age = day - acc[0]
    if age <= 0 or not rule.table:
        return acc[1]
    return acc[1] * rule.table[age] >> SHIFT if age < len(rule.table) else 0


def engagement(s: State, day: int, d: Compiled) -> int:
    """The engagement score (milli-points) on a day: caps per rule and in all cut the decayed sums."""
    total = 0
    rules = d.rules
    for index, acc in s.acc.items():
        rule = rules[index]
        points = faded(acc, day, rule)
        total += points if not rule.cap or points < rule.cap else rule.cap
    cap = d.source.engagement_cap
    return max(total, -LIMIT) if not cap or total < cap else cap


def level(s: State, t: int, d: Compiled) -> int:
    """What the thresholds look at: the manual override while it lasts, else the engagement score."""
    value, until = s.override
    if until > t:
        return value
    return engagement(s, d.days.day(t), d)


def fit_of(attributes: dict[str, Any], d: Compiled) -> int:
    """0..100,000 milli-points from attributes."""
    points = 0
    for rule in d.source.fit:
        if rule.when.test(attributes):
            points += rule.points
    return max(0, min(points, 100_000))


def grade(fit: int, d: Compiled) -> str:
    """The letter of a fit score; the last one where it reaches none."""
    for letter, least in d.source.thresholds.grades:
        if fit >= least:
            return letter
    return d.source.thresholds.grades[-1][0] if d.source.thresholds.grades else ""


def known_of(attributes: dict[str, Any], d: Compiled) -> tuple[int, list[str]]:
    """Of what the definition asks a handoff's context to tell: per mille that is known, and what is missing."""
    asks = d.source.context_asks
    missing = [name for name in asks if attributes.get(name) in (None, "")]
    return (len(asks) - len(missing)) * 1000 // len(asks) if asks else 1000, missing


def segment_of(attributes: dict[str, Any], d: Compiled) -> str:
    """The first segment of the definition whose condition holds; ``""`` for none."""
    for segment in d.source.segments:
        if segment.when.test(attributes):
            return segment.name
    return ""


def barred(attributes: dict[str, Any], d: Compiled) -> bool:
    return any(rule.when.test(attributes) for rule in d.source.disqualifiers)


def gates_open(s: State, d: Compiled) -> bool:
    """Each gate that the definition asks for is known and positive."""
    return all(positive(s.attributes.get(gate)) for gate in d.source.thresholds.gates)


def positive(value: Any) -> bool:
    """Known, and not a no. A list or table says something."""
    if isinstance(value, list | dict):
        return bool(value)
    return (value.lower() if isinstance(value, str) else value) not in _NO


def raised(s: State, t: int, d: Compiled) -> bool:
    """An unanswered hand-raise that still counts."""
    return s.raised > s.consumed and t - s.raised <= d.source.thresholds.hand_raise_days * DAY


def is_hand_raise(b: int, data: Any, d: Compiled) -> bool:
    kind = b >> 8 & 255
    tests = d.raises[kind]
    if not tests or (b & AGENT_MASK) >> AGENT_SHIFT >= PROXY:
        return False
    fields = view(kind, data)
    return any(test is None or test.test(fields) for test in tests)


def meets(s: State, t: int, points: int, d: Compiled) -> bool:
    """The definition's condition for "qualified" (DOMAIN 4), without the edge."""
    return _suffices(s, t, points >= d.source.thresholds.up, d)


def keeps(s: State, t: int, points: int, d: Compiled) -> bool:
    """What it takes to stay qualified: the same, but engagement may fade down to ``down``."""
    return _suffices(s, t, points >= d.source.thresholds.down, d)


def _suffices(s: State, t: int, active: bool, d: Compiled) -> bool:
    th = d.source.thresholds
    if s.barred or not gates_open(s, d):
        return False
    if not _profiled(s):
        return raised(s, t, d)
    return (active and s.fit >= th.fit_min) or (s.fit >= th.fit_min_hand_raise and raised(s, t, d))


def _profiled(s: State) -> bool:
    """Who refuses to be profiled is judged by neither score nor fit."""
    return s.consent.get("profiling", (True, 0))[0]


def falls_on(s: State, t: int, d: Compiled) -> int:
    """An instant after ``t``, the first at which a qualified lead may no longer be so, 0 if never by time alone."""
    th = d.source.thresholds
    at = 0
    profiled = _profiled(s)
    if profiled and s.fit >= th.fit_min and level(s, t, d) >= th.down:
        if s.override[1] > t:
            return s.override[1]
        today = d.days.day(t)
        low, high = today, today + 1
        longest = max((len(d.rules[i].table) for i in s.acc), default=0)
        if engagement(s, today + longest + 1, d) >= th.down:
            return 0
        while engagement(s, high, d) >= th.down:
            low, high = high, high + 2 * (high - today)
        while high - low > 1:
            middle = (low + high) // 2
            if engagement(s, middle, d) >= th.down:
                low = middle
            else:
                high = middle
        at = d.days.start(high)
    if (not profiled or s.fit >= th.fit_min_hand_raise) and raised(s, t, d):
        at = max(at, s.raised + th.hand_raise_days * DAY + 1)
    return at if at > t else 0


def may_count(e: Item, d: Compiled, spent: dict[tuple[int, int], int]) -> bool:
    """Can this fact matter to any score? ``spent``: raw points by rule and day of the earlier ones.

    Twice the daily cap is let through, so that some may still turn out to be a bot's.
    """
    a, b, _, data = e
    kind = b >> 8 & 255
    rules = d.by_kind[kind]
    if kind >= FACT or not rules or is_hand_raise(b, data, d):
        return True
    if (b & AGENT_MASK) >> AGENT_SHIFT >= PROXY:
        return False
    day = d.day(a >> 22)
    fields = view(kind, data)
    counts = False
    for rule in rules:
        if rule.when is not None and not rule.when.test(fields):
            continue
        used = spent.get((rule.index, day), 0)
        if not rule.daily_cap or used < 2 * rule.daily_cap:
            spent[rule.index, day] = used + rule.points
            counts = True
    return counts


def rescore(s: State, scope: Scope, d: Compiled, *, including: bool = True) -> None:
    """Score what the ledger still has again, up to the newest event (``including`` it or not): under another
    definition, or after a re-classification. Below the horizon the old scores stand, by the names of their rules."""
    base, items = scope.history()
    s.acc, s.once, s.raised = inherited(s, base, scope.definitions, d)
    s.saturated = base is not None and base.saturated
    upto, anew, gone = (s.a, s.b), s.anew, s.gone
    scores = _profiled(s)
    for a, said, _, data in items:
        if (a, said) > upto or (not including and (a, said) == upto):
            break
        if said >> 8 & 255 < FACT and (a, said) > gone:
            b = as_classified(s, said, data) if s.agents else said
            if scores and (a, said) > anew:
                score(s, a >> 22, b, data, d)
            if is_hand_raise(b, data, d):
                s.raised = max(s.raised, a >> 22)
    s.fit = fit_of(s.attributes, d)
    s.segment = segment_of(s.attributes, d)


def inherited(
    s: State, base: State | None, definitions: tuple[Compiled, ...], d: Compiled
) -> tuple[dict[int, list[int]], int, int]:
    """Points, once-only rules and last hand-raise below the horizon, for the rules of ``d``; as far as they still
    count for ``s``."""
    if base is None:
        return {}, 0, 0
    if base.anew != s.anew:
        return {}, 0, base.raised if base.gone == s.gone else 0
    old = definitions[base.definition]
    if old is d:
        return {k: list(v) for k, v in base.acc.items()}, base.once, base.raised
    place = {rule.name: rule for rule in d.rules}
    acc, once = {}, 0
    for rule in old.rules:
        new = place.get(rule.name)
        if new is not None:
            if rule.index in base.acc:
                acc[new.index] = list(base.acc[rule.index])
            if rule.once & base.once:
                once |= new.once
    return acc, once, base.raised


def as_classified(s: State, b: int, data: Any) -> int:
    """The identity word of an engagement with the agent that it was re-classified to, if it was.

    An e-mail event is known by its natural key; what its source calls it lies in its payload.
    """
    agent = s.agents.get(b >> 16)
    if agent is None and b >> 8 & 255 in _EMAILS and type(data) is list and len(data) > 1:
        names = data[1] if type(data[1]) is list else [data[1]]
        agent = next((s.agents[x] for x in names if x in s.agents), None)
    return b if agent is None else b & ~AGENT_MASK | agent << AGENT_SHIFT
