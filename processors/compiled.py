"""A definition made ready for the hot path: tables instead of searches, integers instead of names.

Nothing here decides anything; `scoring` and `lifecycle` do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import Any
from zlib import crc32

from msgspec import Struct
from msgspec.structs import replace

from processors.calendar import Calendar
from processors.days import ZoneDays, zone_days
from processors.definition.model import Condition, Definition, SlaPolicy
from processors.events import KIND, view

#: Fixed point of the fading tables.
SHIFT = 30
#: Half-lives after which nothing is left of the largest score that fits.
_LIVES = 40

ROLES = ("anonymous", "known", "engaged", "mql", "sal", "sql", "opportunity", "won")


@lru_cache(64)
def fading(half_life_days: int) -> tuple[int, ...]:
    """``round(2**30 * 2**(-age/half_life))`` for every age in days until nothing is left; exact, without binary float."""
    with localcontext() as context:
        context.prec = 60
        one = Decimal(1 << SHIFT)
        return tuple(
            int((one * Decimal(2) ** (Decimal(-age) / Decimal(half_life_days))).to_integral_value())
            for age in range(half_life_days * _LIVES)
        )


class Rule(Struct, frozen=True, gc=False):
    """An engagement rule: ``table`` is empty where points don't fade."""

    index: int
    name: str
    when: Condition | None
    points: int
    daily_cap: int
    cap: int
    once: int  # bit
    table: tuple[int, ...]


class Compiled(Struct, frozen=True):
    """One definition. Stage codes are ranks; ``by_kind`` lists the rules of each event kind."""

    source: Definition
    days: ZoneDays
    rules: tuple[Rule, ...]
    by_kind: tuple[tuple[Rule, ...], ...]
    raises: tuple[tuple[Condition | None, ...], ...]
    stages: tuple[int, ...]  # codes in order
    names: dict[int, str]
    codes: dict[str, int]  # name, or a former name -> code
    anonymous: int
    known: int
    engaged: int
    mql: int
    sal: int
    sql: int
    opportunity: int
    won: int
    channel: Callable[[dict[str, str]], str]  # what the first rule of channels that holds names, "" for none
    holding: Callable[[int, str], tuple[Rule, ...]]  # rules of a kind that hold for a payload of one text
    mark: int = 0  # of name, version and instant: what a row remembers of it
    asks: frozenset[str] = frozenset()  # attributes that anything in it looks at

    def day(self, ms: int) -> int:
        return self.days.day(ms)

    def policy(self, values: dict[str, object]) -> int:
        """Index of the SLA policy for a lead with these attributes."""
        chosen = 0
        for n, policy in enumerate(self.source.sla):
            if policy.when is None:
                chosen = n
            elif policy.when.test(values):
                return n
        return chosen

    def sweep_at(self, subject: str) -> int:
        """When a sweep looks at a subject anew: an instant of its own, by hash, in the business hours that follow
        ``effective_at`` (the calendar of the SLA policy for all other handoffs, in the calendar's own zone)."""
        d = self.source
        after = 1 + (crc32(subject.encode()) * d.policy.sweep_over_ms >> 32)
        policy = next(p for p in d.sla if p.when is None)
        return d.calendars[policy.calendar].add(d.effective_at, after)

    def calendar(self, policy: SlaPolicy, zone: str = "") -> Calendar:
        calendar = self.source.calendars[policy.calendar]
        return calendar.in_zone(zone) if zone else calendar


#: Answers remembered per condition over attributes: values such as roles and sizes come again and again.
_REMEMBERED = 4096


def remembered(condition: Condition) -> Condition:
    """The same condition, which looks at the values it depends on only once per combination of them."""
    fields, test = condition.fields, condition.test
    if not fields or any("." in name for name in fields):
        return condition
    known: dict[Any, bool] = {}
    one = fields[0] if len(fields) == 1 else None

    def answer(values: Mapping[str, Any]) -> bool:
        # the type belongs to the key: 1, 1.0 and True are equal and not the same
        if one is not None:
            value = values.get(one)
            key: Any = (type(value), value)
        else:
            found = [values.get(name) for name in fields]
            key = (*found, *map(type, found))
        try:
            hit = known.get(key)
        except TypeError:  # a list or a table
            return test(values)
        if hit is None:
            if len(known) >= _REMEMBERED:
                known.clear()
            hit = known[key] = test(values)
        return hit

    return Condition(text=condition.text, test=answer, fields=fields)


def _channel(d: Definition) -> Callable[[dict[str, str]], str]:
    """Channels by what was told, remembered: there are few links and many clicks."""
    known: dict[tuple[tuple[str, str], ...], str] = {}

    def channel(values: dict[str, str]) -> str:
        key = tuple(values.items())
        found = known.get(key)
        if found is None:
            if len(known) >= _REMEMBERED:
                known.clear()
            found = known[key] = next((r.name for r in d.channels if r.when.test(values)), "")
        return found

    return channel


def _holding(by_kind: Sequence[tuple[Rule, ...]]) -> Callable[[int, str], tuple[Rule, ...]]:
    """Most views tell an address and no more, and there are few addresses: which rules hold for one is remembered."""
    known: dict[tuple[int, str], tuple[Rule, ...]] = {}

    def holding(kind: int, text: str) -> tuple[Rule, ...]:
        found = known.get((kind, text))
        if found is None:
            if len(known) >= _REMEMBERED:
                known.clear()
            fields = view(kind, text)
            found = tuple(r for r in by_kind[kind] if r.when is None or r.when.test(fields))
            known[kind, text] = found
        return found

    return holding


def _fast(d: Definition) -> Definition:
    return replace(
        d,
        fit=tuple(replace(r, when=remembered(r.when)) for r in d.fit),
        disqualifiers=tuple(replace(r, when=remembered(r.when)) for r in d.disqualifiers),
        segments=tuple(replace(r, when=remembered(r.when)) for r in d.segments),
        engagement=tuple(replace(r, when=remembered(r.when) if r.when else None) for r in d.engagement),
    )


#: Attributes that the program itself looks at: who owns an account, and by what a person is known again.
_ALWAYS = ("account_owner", "address_hash")


def _asked(d: Definition) -> frozenset[str]:
    found: list[Condition | None] = [r.when for r in d.fit]
    found += [r.when for r in d.segments]
    found += [r.when for r in d.disqualifiers]
    found += [r.when for r in d.sla]
    found += [r.when for r in d.routing]
    fields = (name for when in found if when is not None for name in when.fields)
    return frozenset((*fields, *d.thresholds.gates, *d.context_asks, *_ALWAYS))


def compile_definition(d: Definition) -> Compiled:
    """:param d: a validated definition."""
    d = _fast(d)
    rules = tuple(
        Rule(
            n, r.name, r.when, r.points, r.daily_cap, r.cap, 1 << n if r.once else 0,
            fading(r.half_life_days) if r.half_life_days else (),
        )
        for n, r in enumerate(d.engagement)
    )  # fmt: skip
    by_kind: list[tuple[Rule, ...]] = [()] * 256
    raises: list[tuple[Condition | None, ...]] = [()] * 256
    for rule, source in zip(rules, d.engagement, strict=True):
        by_kind[KIND[source.on]] += (rule,)
    for intent in d.intent:
        raises[KIND[intent.on]] += (intent.when,)
    stages = sorted(d.stages, key=lambda s: s.rank)
    codes = {old: s.rank for s in stages for old in s.renamed_from} | {s.name: s.rank for s in stages}
    roles = {s.role: s.rank for s in stages if s.role}
    return Compiled(
        source=d,
        days=zone_days(d.time_zone),
        rules=rules,
        by_kind=tuple(by_kind),
        raises=tuple(raises),
        stages=tuple(s.rank for s in stages),
        names={s.rank: s.name for s in stages},
        codes=codes,
        channel=_channel(d),
        holding=_holding(by_kind),
        **{role: roles[role] for role in ROLES},
        asks=_asked(d),
        mark=crc32(f"{d.name}@{d.version}@{d.effective_at}".encode()),
    )
