"""Reference data: definitions, owners, exchange rates, priorities, renamed campaigns, win models.

A `Reference` is an immutable snapshot; `apply` makes the next one. It is a function of the set of facts alone, so every
worker that has read the topic holds the same, whatever order it came in: of two facts about the same thing the later
(occurred_at, recorded_at) stands. Only of a definition's publications and approvals the one recorded first does
(`processors.agreement`).
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from processors import money, winmodel
from processors.agreement import Approval, Standing, agreed, standings
from processors.days import day_number, zone_days
from processors.definition.load import load
from processors.definition.model import Definition, Signature
from processors.definition.reader import DefinitionError
from processors.winmodel import Model
from schemas.envelope import Envelope

#: Event types that `apply` understands; it passes over all others.
TYPES = frozenset(
    ("definition_published", "definition_approved", "fx_rate_set", "owner_changed", "campaign_renamed",
     "win_model_published", "source_priority_set", "address_suppressed")
)  # fmt: skip
#: What was agreed stays as it was agreed: the first word stands.
_FIRST_STANDS = frozenset(("definition_published", "definition_approved"))
#: Place in the order of a source that nobody has ranked: four lie below it, three above.
_UNRANKED, _TOP = 3, 7
#: Days for which a rate is good enough for an estimate.
_STALE = 31
_DECIMAL = re.compile(r"\d{1,30}(\.\d{1,30})?", re.ASCII)
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)

#: What a fact is about, within its family.
_Key = tuple[Any, ...]
#: Decides which fact about the same thing stands.
_Order = tuple[int, int, int, str]


class Owner(Struct, frozen=True, kw_only=True):
    """Somebody who can be given leads, as of an instant. ``time_zone`` "": that of the calendar."""

    owner: str
    team: str
    active: bool = True
    out_of_office_until: int = 0
    weight: int = 1
    time_zone: str = ""

    def present(self, ms: int) -> bool:
        """Can be given a lead at that instant?"""
        return self.active and ms >= self.out_of_office_until


class WinModel(Struct, frozen=True, kw_only=True):
    """What win probabilities follow from, as of an instant, in force from ``since``."""

    as_of: int
    since: int
    model: Model


class _Fact(Struct, frozen=True):
    order: _Order
    value: Any  # None: unusable, see problem
    problem: str = ""


class _UnusableError(Exception):
    """A fact that says nothing we can use; its text is for people."""


class Reference:
    """Everything the fold needs to know that no lead said. See the module for how it comes about.

    :param base: the definition in force before any was published.
    :param defaults: what published definitions leave out is taken from this one, the packaged default;
        without it from ``base``.
    """

    __slots__ = (
        "_by_name", "_facts", "_history", "_models", "_suppressed", "_versions", "base", "defaults",
        "definitions", "problems",
    )  # fmt: skip

    def __init__(self, base: Definition | None = None, defaults: Definition | None = None) -> None:
        self._become(base, defaults or base, {family: {} for family in TYPES})

    @classmethod
    def of(cls, *definitions: Definition) -> Reference:
        """With these definitions and nothing else; the earliest is the base."""
        found = cls(min(definitions, key=lambda d: d.effective_at) if definitions else None)
        found.definitions = tuple(sorted(definitions, key=_when))
        found._by_name = {(d.name, d.version): d for d in definitions}
        found._versions = tuple((d, ()) for d in definitions if d is not found.base)
        return found

    def _become(
        self, base: Definition | None, defaults: Definition | None, facts: dict[str, dict[_Key, _Fact]]
    ) -> None:
        self.base = base
        self.defaults = defaults
        self._facts = facts
        approvals: dict[tuple[str, int], list[Approval]] = {}
        for fact in facts["definition_approved"].values():
            if fact.value is not None:  # `agreed` takes the first of each team
                approvals.setdefault((fact.value.name, fact.value.version), []).append(fact.value)
        publications = facts["definition_published"]
        known = [f.value for key, f in publications.items() if len(key) == 2 and f.value is not None]
        self._versions = tuple(agreed(d, approvals.get((d.name, d.version), ())) for d in known)
        published = [d for d, missing in self._versions if not missing]
        #: In the order in which they come into force; an older version never follows a newer one of its name.
        self.definitions: tuple[Definition, ...] = _timeline(([base] if base is not None else []) + published)
        versions = [d for d, _ in self._versions]
        self._by_name = {(d.name, d.version): d for d in ([base] if base is not None else []) + versions}
        history: dict[str, list[tuple[int, Owner]]] = {}
        for (name, since), fact in sorted(
            x for x in facts["owner_changed"].items() if x[1].value is not None
        ):
            history.setdefault(name, []).append((since, fact.value))
        self._history = history
        self._suppressed = sorted(key for key in facts["address_suppressed"] if type(key[0]) is str)
        models = (f.value for f in facts["win_model_published"].values() if f.value is not None)
        self._models: list[WinModel] = sorted(models, key=lambda m: (m.since, m.as_of))
        #: What could not be used, for people and for the alert.
        self.problems: tuple[str, ...] = tuple(
            sorted(
                [
                    f.problem
                    for family in facts.values()
                    for key, f in family.items()
                    if f.problem and not _mended(publications, key, f)
                ]
                + _published_again(publications)
            )
        )

    def definition_at(self, ms: int) -> Definition:
        """The definition in force.

        :raises LookupError: if there is none, not even a base.
        """
        at = bisect_right(self.definitions, ms, key=lambda d: d.effective_at) - 1
        if at >= 0:
            return self.definitions[at]
        if self.definitions:
            return self.definitions[0]
        raise LookupError("no definition was published and none is packaged")

    def definition(self, name: str, version: int) -> Definition | None:
        """A definition by name and version, in force or not."""
        return self._by_name.get((name, version))

    def standings(self, now: int) -> tuple[Standing, ...]:
        """Where every version stands at an instant, in the order of publication; the base, which nobody published,
        comes first."""
        base = [(self.base, ())] if self.base is not None and self.base in self.definitions[:1] else []
        return standings([*base, *self._versions], self.definitions, now)

    def owner(self, owner: str, ms: int) -> Owner | None:
        """What is known of an owner at an instant. Before the first word of them, that word holds:
        compaction leaves only the last one, and a restart must not lose people."""
        history = self._history.get(owner)
        if history is None:
            return None
        at = bisect_right(history, ms, key=lambda entry: entry[0]) - 1
        return history[max(at, 0)][1]

    def owners_of(self, team: str, ms: int) -> tuple[Owner, ...]:
        """Active and present owners of a team with a weight, by name."""
        found = (self.owner(name, ms) for name in sorted(self._history))
        return tuple(o for o in found if o is not None and o.team == team and o.weight > 0 and o.present(ms))

    def all_owners(self, ms: int) -> tuple[Owner, ...]:
        """Everybody known, active or not, by name."""
        found = (self.owner(name, ms) for name in sorted(self._history))
        return tuple(o for o in found if o is not None)

    @property
    def rates(self) -> dict[tuple[str, str, int], Fraction]:
        """All rates by base, quote and day."""
        found: dict[Any, _Fact] = self._facts["fx_rate_set"]
        return {key: fact.value for key, fact in found.items() if fact.value is not None}

    def rate(self, base: str, quote: str, day: int) -> Fraction | None:
        """What 1 of ``base`` was worth in ``quote`` on that very day (since 1970-01-01), by the rate set for
        the pair or the inverse of the opposite one. No other day stands in."""
        if base == quote:
            return Fraction(1)
        rates = self._facts["fx_rate_set"]
        fact = rates.get((base, quote, day))
        if fact is not None and fact.value is not None:
            return Fraction(fact.value)
        fact = rates.get((quote, base, day))
        return 1 / Fraction(fact.value) if fact is not None and fact.value is not None else None

    def rate_near(self, base: str, quote: str, day: int, days: int = 7) -> Fraction | None:
        """The rate of that day, else the newest of the days before: for what is not booked yet, such as forecasts."""
        found = (self.rate(base, quote, x) for x in range(day, day - days - 1, -1))
        return next((x for x in found if x is not None), None)

    def convert(self, amount_minor: int, currency: str, day: int, base: str) -> int | None:
        """Minor units of ``base``, half-even; None without a rate of that day: counted, not priced."""
        if currency == base:
            return amount_minor
        rate = self.rate(currency, base, day)
        return None if rate is None else money.convert(amount_minor, currency, base, rate)

    def estimate(self, amount_minor: int, currency: str, day: int, base: str) -> int | None:
        """As `convert`, by the latest rate of the `_STALE` days before: for what is hoped for, never for bookings."""
        for back in range(_STALE + 1):
            found = self.convert(amount_minor, currency, day - back, base)
            if found is not None:
                return found
        return None

    def priority_of(self, source_system: str) -> int:
        """Place of a source in the total order, 0..7: of facts at one instant the higher is applied later
        and wins. A source set to priority 0 is believed first, so its place is 7."""
        fact = self._facts["source_priority_set"].get((source_system,))
        return _UNRANKED if fact is None or fact.value is None else int(fact.value)

    def campaign(self, name: str) -> str:
        """What a campaign is called today."""
        renames = self._facts["campaign_renamed"]
        seen = {name}
        while (fact := renames.get((name,))) is not None and fact.value is not None:
            if fact.value in seen:
                return min(seen)  # a circle: any name will do, if it is everywhere the same
            name = fact.value
            seen.add(name)
        return name

    def suppressed(self, address_hash: str, ms: int) -> int:
        """When somebody with this address was erased last, at or before ``ms``; 0 if nobody was."""
        at = bisect_right(self._suppressed, (address_hash, ms)) - 1
        return self._suppressed[at][1] if at >= 0 and self._suppressed[at][0] == address_hash else 0

    def win_model_at(self, ms: int) -> WinModel | None:
        """The snapshot in force at an instant."""
        at = bisect_right(self._models, ms, key=lambda m: m.since) - 1
        return self._models[at] if at >= 0 else None


def apply(
    reference: Reference, envelopes: Iterable[Envelope], recorded_at: Sequence[int] | None = None
) -> Reference:
    """The snapshot after these facts; the one before stays as it is.

    :param recorded_at: when each was recorded, epoch ms; decides between facts of one occurred_at.

    A fact that cannot be used is reported in ``problems``, never raised.
    """
    facts = dict(reference._facts)
    fresh: set[str] = set()
    for n, e in enumerate(envelopes):
        if e.type not in TYPES:
            continue
        recorded = recorded_at[n] if recorded_at is not None else e.observed_at or 0
        seq, canonical = e.source_seq or 0, json.dumps(e.payload, sort_keys=True, default=str)
        key, value, problem = _read(e, reference.defaults, canonical, max(recorded, e.occurred_at))
        first = e.type in _FIRST_STANDS
        order = (
            (recorded, e.occurred_at, seq, canonical) if first else (e.occurred_at, recorded, seq, canonical)
        )
        if e.type not in fresh:
            fresh.add(e.type)
            facts[e.type] = dict(facts[e.type])
        family = facts[e.type]
        known = family.get(key)
        made = _Fact(order, value, problem)
        if known is None:
            family[key] = made
        elif (order < known.order) if first else (order > known.order):
            family[key] = made
            if first:
                family[(*key, *known.order)] = known
        elif first:
            family[(*key, *order)] = made
    if not fresh:
        return reference
    after = Reference.__new__(Reference)
    after._become(reference.base, reference.defaults, facts)
    return after


def _mended(publications: Mapping[_Key, _Fact], key: _Key, broken: _Fact) -> bool:
    """A version that could not be used, and was published again in words that can."""
    usable = publications.get(key[:2]) if len(key) == 4 else None
    return usable is not None and usable.value is not None and usable.order > broken.order


def _published_again(known: Mapping[_Key, _Fact]) -> list[str]:
    """Versions that were published twice with different words: the second ones count for nothing."""
    return [
        f"definition_published at {_moment(fact.value.published_at)}: {fact.value.name}@{fact.value.version} was "
        "published before with another text, which stands; publish this one under a higher version"
        for key, fact in known.items()
        if len(key) > 2 and fact.value is not None and fact.value.text != known[key[:2]].value.text
    ]


def _when(d: Definition) -> tuple[int, int, str, int]:
    return d.effective_at, d.published_at, d.name, d.version


def _timeline(definitions: Iterable[Definition]) -> tuple[Definition, ...]:
    newest: dict[str, int] = {}
    out = []
    for d in sorted(definitions, key=_when):
        if d.version >= newest.get(d.name, 0):
            newest[d.name] = d.version
            out.append(d)
    return tuple(out)


def _read(e: Envelope, base: Definition | None, canonical: str, known_at: int) -> tuple[_Key, Any, str]:
    """(key, value, problem) of a fact; one that cannot be used is about nothing but itself.

    :param known_at: when anybody could first know of it, epoch ms.
    """
    try:
        if e.type == "definition_published":
            key, value, problem = _definition(e, base, known_at, canonical)
        elif e.type == "definition_approved":
            key, value, problem = _approval(e, known_at)
        else:
            key, value, problem = _READERS[e.type](e, base)
    except _UnusableError as unusable:
        return (e.occurred_at, canonical), None, f"{e.type} at {_moment(e.occurred_at)}: {unusable}"
    return key, value, f"{e.type} at {_moment(e.occurred_at)}: {problem}" if problem else ""


def _moment(ms: int) -> str:
    seconds = min(max(ms // 1000, 0), 253_402_300_799)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(e: Envelope, field: str) -> str:
    value = e.payload.get(field)
    if not isinstance(value, str) or not value.strip():
        raise _UnusableError(f"{field} must be text, not {value!r}; publish it again with one")
    return value.strip()


def _instant(value: Any, field: str) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise _UnusableError(f"{field} is {value!r}; write an instant such as 2026-01-01T09:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp()) * 1000


def _definition(e: Envelope, base: Definition | None, known_at: int, canonical: str) -> tuple[_Key, Any, str]:
    text = e.payload.get("toml") or e.payload.get("text")
    if not isinstance(text, str):
        raise _UnusableError("toml must be the text of the definition")
    name, version = e.payload.get("name"), e.payload.get("version")
    effective_at = _instant(e.payload.get("effective_at"), "effective_at")
    try:
        d = load(text, origin=f"{name or 'definition'}@{version or '?'}", published_at=known_at, base=base)
    except DefinitionError as error:
        problem = "not usable, the one before stays in force: " + " | ".join(error.problems)
        return (name, version, e.occurred_at, canonical), None, problem
    if (name is not None and name != d.name) or (version is not None and version != d.version):
        raise _UnusableError(
            f"it is called {name}@{version} outside and {d.name}@{d.version} inside; publish it anew"
        )
    signed = e.payload.get("signed_by")
    d = replace(
        d,
        effective_at=max(effective_at or d.effective_at, known_at),
        sweep=d.sweep or e.payload.get("sweep") is True,
        signatures=tuple(
            Signature(team=team, at=known_at, by=e.actor_id or "")
            for team in (signed if isinstance(signed, list | tuple) else ())
            if isinstance(team, str)
        ),
        unsigned=e.payload.get("unsigned") is True,
    )
    return (d.name, d.version), d, ""


def _approval(e: Envelope, known_at: int) -> tuple[_Key, Any, str]:
    name, team, by = _text(e, "name"), _text(e, "team"), _text(e, "by")
    version, text = e.payload.get("version"), e.payload.get("digest")
    if isinstance(version, bool) or not isinstance(version, int):
        raise _UnusableError(f"version is {version!r}; write the whole number of the definition's version")
    made = Approval(
        name=name,
        version=version,
        signature=Signature(team=team, at=known_at, by=by),
        digest=text if isinstance(text, str) else "",
    )
    return (name, version, team, made.digest), made, ""


def _rate(e: Envelope, _: Definition | None) -> tuple[_Key, Any, str]:
    base, quote = _text(e, "base").upper(), _text(e, "quote").upper()
    for code in (base, quote):
        if code not in money.CURRENCIES:
            raise _UnusableError(f"there is no currency {code!r}; write its ISO 4217 code, such as EUR")
    day = e.payload.get("date")
    match = _DATE.fullmatch(str(day)[:10])
    if match is not None:
        day = day_number(int(match[1]), int(match[2]), int(match[3]))
    elif not isinstance(day, int) or isinstance(day, bool):
        raise _UnusableError(f"date is {day!r}; write it as 2026-01-31")
    rate = str(e.payload.get("rate"))
    if not _DECIMAL.fullmatch(rate) or Fraction(rate) == 0:
        raise _UnusableError(f"rate is {rate!r}; write a positive decimal number such as 1.0832")
    return (base, quote, day), Fraction(rate), ""


def _owner(e: Envelope, _: Definition | None) -> tuple[_Key, Any, str]:
    owner, team = _text(e, "owner"), _text(e, "team")
    weight = e.payload.get("weight")
    if weight is None:
        weight = 1
    if isinstance(weight, bool) or not isinstance(weight, int) or not 0 <= weight <= 1_000_000:
        raise _UnusableError(f"weight of owner {owner} is {weight!r}; write a whole number from 0 to 1000000")
    zone, problem = e.payload.get("time_zone") or "", ""
    try:
        if zone:
            zone_days(zone)
    except (ValueError, TypeError):
        zone, problem = "", f"owner {owner}: there is no time zone {zone!r}; that of the calendar is used"
    made = Owner(
        owner=owner,
        team=team,
        active=e.payload.get("active", True) is not False,
        out_of_office_until=_instant(e.payload.get("out_of_office_until"), "out_of_office_until") or 0,
        weight=weight,
        time_zone=zone,
    )
    return (owner, e.occurred_at), made, problem


def _campaign(e: Envelope, _: Definition | None) -> tuple[_Key, Any, str]:
    return (_text(e, "old"),), _text(e, "new"), ""


def _priority(e: Envelope, _: Definition | None) -> tuple[_Key, Any, str]:
    source, priority = _text(e, "source_system"), e.payload.get("priority")
    if isinstance(priority, bool) or not isinstance(priority, int) or not 0 <= priority <= _TOP:
        raise _UnusableError(f"priority of {source} is {priority!r}; write 0 (believed first) to {_TOP}")
    return (source,), _TOP - priority, ""


def _suppressed(e: Envelope, _: Definition | None) -> tuple[_Key, Any, str]:
    return (_text(e, "address_hash"), e.occurred_at), None, ""


def _win_model(e: Envelope, _: Definition | None) -> tuple[_Key, Any, str]:
    as_of = _instant(e.payload.get("as_of"), "as_of")
    counts = e.payload.get("counts")
    try:
        counts = json.loads(counts) if isinstance(counts, str) else counts
    except ValueError as error:
        raise _UnusableError(f"counts are no JSON: {error}") from None
    if as_of is None or not isinstance(counts, dict):
        raise _UnusableError("a win model needs as_of and a JSON object of counts")
    try:
        model = winmodel.parse(counts)
    except ValueError as error:
        raise _UnusableError(f"counts: {error}; `leadstream win-model publish` makes usable ones") from None
    return (as_of,), WinModel(as_of=as_of, since=max(as_of, e.occurred_at), model=model), ""


_READERS: dict[str, Callable[[Envelope, Definition | None], tuple[_Key, Any, str]]] = {
    "fx_rate_set": _rate,
    "owner_changed": _owner,
    "campaign_renamed": _campaign,
    "source_priority_set": _priority,
    "win_model_published": _win_model,
    "address_suppressed": _suppressed,
}


#: Nothing is known: no definition, no owner, no rate.
EMPTY = Reference()
