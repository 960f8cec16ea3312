"""From the TOML of a definition to its compiled records, with every mistake named by its line.

What a document leaves out is taken from ``base``, the packaged default: a section of rules as a whole, a
key of a table by itself, a calendar by its name. An empty list (``disqualifiers = []``) means none. The
keys are those of `processors.definition.model`; points are plain numbers, durations texts such as "4h",
percentages end in ``_percent``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar

from processors.calendar import Calendar
from processors.days import day_number, start_of_day, zone_days
from processors.definition import sections
from processors.definition.calendars import WEEKDAYS
from processors.definition.calendars import calendars as read_calendars
from processors.definition.lines import Lines
from processors.definition.model import (
    HOUR,
    MILLI,
    Definition,
    SlaPolicy,
    Stage,
    Thresholds,
)
from processors.definition.reader import DefinitionError, Problems, Table, quote, suggest
from processors.definition.sections import ROLES, plain
from processors.money import CURRENCIES

__all__ = ["DEFAULT_NAME", "FALLBACK", "ROLES", "DefinitionError", "load"]

#: The packaged default, in this package's directory; who runs on a machine reads it from there.
DEFAULT_NAME = "default.toml"

#: DOMAIN 3: the stages of a definition that names none.
_STAGES = (
    Stage(name="anonymous", rank=0, role="anonymous", phase="awareness"),
    Stage(name="known", rank=10, role="known", phase="interest"),
    Stage(name="engaged", rank=20, role="engaged", phase="interest"),
    Stage(name="mql", rank=30, role="mql", phase="consideration"),
    Stage(name="sal", rank=40, role="sal", phase="consideration"),
    Stage(name="sql", rank=50, role="sql", phase="decision"),
    Stage(name="opportunity", rank=60, role="opportunity", phase="decision"),
    Stage(name="won", rank=70, role="won", phase="post-purchase"),
)
#: Where there is no base: the same numbers as in the packaged default, and no rules at all.
FALLBACK = Definition(
    name="",
    version=1,
    effective_at=0,
    stages=_STAGES,
    thresholds=Thresholds(
        fit_min=50 * MILLI,
        fit_min_hand_raise=20 * MILLI,
        up=40 * MILLI,
        down=25 * MILLI,
        engaged_min=10 * MILLI,
        grades=(("A", 80_000), ("B", 65_000), ("C", 50_000), ("D", 35_000), ("E", 20_000), ("F", 0)),
    ),
    sla=(SlaPolicy(name="standard"),),
    calendars={"default": Calendar()},
    context_asks=(
        "role",
        "company",
        "company_size",
        "industry",
        "country",
        "budget",
        "authority",
        "need",
        "timing",
    ),
)

#: Keys of the document's top, which people write under a [section] by mistake.
_TOP = frozenset(Definition.__struct_fields__) - {
    "published_at", "text", "margin_per_mille", "signatures", "unsigned",
} | {"margin_percent"}  # fmt: skip
_POSITION = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)")
_Rules = TypeVar("_Rules")


def load(
    text: str, *, origin: str = "definition.toml", published_at: int = 0, base: Definition | None = None
) -> Definition:
    """The definition that a document describes.

    :param origin: what messages call the document.
    :param published_at: epoch ms; the definition is in force from then at the earliest.
    :param base: what omitted parts are taken from, usually the packaged default.
    :raises DefinitionError: with one line per mistake, all of them.
    """
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise DefinitionError([_syntax(str(error), text, origin)]) from None
    except (ValueError, RecursionError, ArithmeticError) as error:
        what = f"{origin}:1: this is not TOML that can be read: {error} — look for absurd numbers or nesting"
        raise DefinitionError([what]) from None
    problems = Problems(origin, Lines(text), document, _TOP)
    made = _Loader(Table(problems, (), document), base or FALLBACK, published_at, text).load()
    if len(problems):
        raise DefinitionError(problems.listed())
    return made


def _syntax(message: str, text: str, origin: str) -> str:
    match = _POSITION.search(message)
    line = int(match[1]) if match and match[1] else text.count("\n") + 1
    what = _POSITION.sub("", message).strip()
    hint = "texts need quotes, lists commas, and each key stands once"
    return f"{origin}:{line}: this is not TOML: {what} — mend this line; {hint}"


class _Loader:
    def __init__(self, top: Table, base: Definition, published_at: int, text: str) -> None:
        self._top = top
        self._base = base
        self._published_at = published_at
        self._text = text

    def _rules(self, key: str, read: Callable[[list[Table]], _Rules], default: _Rules) -> _Rules:
        """A section of tables; one that is left out is the base's, one that is empty must be allowed to be."""
        tables = self._top.tables(key)
        return default if tables is None else read(tables)

    def load(self) -> Definition:
        top, base = self._top, self._base
        zone = self._zone()
        calendars = dict(base.calendars)
        if (table := top.table("calendars")) is not None:
            calendars = read_calendars(table, base.calendars)
        usual = calendars.get("default") or next(iter(calendars.values()))
        definition = Definition(
            name=top.name("name"),
            version=top.whole("version", None, 1, 2**31 - 1),
            effective_at=max(self._effective_at(zone), self._published_at),
            published_at=self._published_at,
            time_zone=zone,
            week_start=self._week_start(),
            fiscal_year_start=top.whole("fiscal_year_start", base.fiscal_year_start, 1, 12),
            base_currency=self._currency(),
            stages=self._stages(),
            policy=sections.policy(self._table("policy"), base.policy, usual.business_day_ms),
            segments=self._rules("segments", sections.segments, base.segments),
            fit=self._rules("fit", sections.fit, base.fit),
            engagement=self._rules("engagement", sections.engagement, base.engagement),
            engagement_cap=top.points("engagement_cap", base.engagement_cap, low=0),
            intent=self._rules("intent", sections.intent, base.intent),
            disqualifiers=self._rules("disqualifiers", sections.disqualifiers, base.disqualifiers),
            thresholds=sections.thresholds(self._table("thresholds"), base.thresholds),
            sla=self._sla(calendars),
            calendars=calendars,
            reasons=self._rules("reasons", sections.reasons, dict(base.reasons)),
            routing=self._rules("routing", sections.routing, base.routing),
            default_team=top.name("default_team", base.default_team),
            channels=self._rules("channels", sections.channels, base.channels),
            default_channel=top.name("default_channel", base.default_channel),
            attribution=sections.attribution(self._table("attribution"), base.attribution),
            budgets=self._rules("budgets", sections.budgets, base.budgets),
            margin_per_mille=top.per_mille("margin_percent", base.margin_per_mille),
            context_asks=top.texts("context_asks", base.context_asks),
            sources=self._sources(),
            horizons_days=self._horizons(),
            closed_after_days=top.whole("closed_after_days", base.closed_after_days, 0, 60),
            approvals=top.texts("approvals", base.approvals),
            sweep=top.flag("sweep", False),
            text=self._text,
        )
        top.close()
        self._together(definition)
        return definition

    def _table(self, key: str) -> Table:
        return self._top.table(key) or Table(self._top.problems, (key,), {})

    def _zone(self) -> str:
        zone = self._top.text("time_zone", self._base.time_zone, example="Europe/Vienna")
        try:
            zone_days(zone)
        except ValueError as error:
            what, _, todo = str(error).partition("; ")
            self._top.wrong("time_zone", what, todo)
            return "UTC"
        return zone

    def _effective_at(self, zone: str) -> int:
        value = self._top.raw("effective_at")
        if value is None:
            return self._published_at
        if isinstance(value, str):
            with suppress(ValueError):
                value = datetime.fromisoformat(value) if len(value) > 10 else date.fromisoformat(value)
        if isinstance(value, datetime):
            if value.tzinfo is not None:
                return round(value.timestamp()) * 1000
            at = value
            midnight = start_of_day(day_number(at.year, at.month, at.day), zone)
            return midnight + (at.hour * 3600 + at.minute * 60 + at.second) * 1000
        if isinstance(value, date):
            return start_of_day(day_number(value.year, value.month, value.day), zone)
        self._top.wrong(
            "effective_at",
            f"{quote(value)} is no instant",
            "write effective_at = 2026-01-01 or 2026-01-01T09:00:00Z",
        )
        return self._published_at

    def _week_start(self) -> int:
        default = WEEKDAYS[self._base.week_start]
        return WEEKDAYS.index(self._top.text("week_start", default, choices=WEEKDAYS))

    def _currency(self) -> str:
        currency = self._top.text("base_currency", self._base.base_currency, example="EUR")
        if currency not in CURRENCIES:
            self._top.wrong(
                "base_currency",
                f"there is no currency {quote(currency)}",
                "write its ISO 4217 code, such as EUR",
            )
        return currency

    def _stages(self) -> tuple[Stage, ...]:
        tables = self._top.tables("stages")
        if not tables:
            if tables is not None and not len(self._top.problems):
                self._top.wrong("stages", "a definition needs stages", "leave the key out for the usual ones")
            return self._base.stages
        return sections.stages(tables)

    def _sla(self, calendars: dict[str, Calendar]) -> tuple[SlaPolicy, ...]:
        tables = self._top.tables("sla")
        if tables is None:
            return self._base.sla
        if not tables:
            self._top.wrong("sla", "a definition needs an SLA policy", "leave the key out for the usual one")
            return self._base.sla
        return sections.sla(tables, calendars)

    def _sources(self) -> tuple[str, ...]:
        found = self._top.texts("sources", self._base.sources)
        if len(found) > sections.MOST_SOURCES:
            self._top.wrong(
                "sources",
                f"there are {len(found)} sources",
                f"keep {sections.MOST_SOURCES}; the rest is (other)",
            )
        return found

    def _horizons(self) -> tuple[int, ...]:
        value: Any = self._top.raw("horizons_days")
        if value is None:
            return self._base.horizons_days
        whole = isinstance(value, list) and all(isinstance(n, int) and not isinstance(n, bool) for n in value)
        if not whole or not value or not all(1 <= n <= 730 for n in value) or len(set(value)) != len(value):
            self._top.wrong(
                "horizons_days",
                "horizons_days must be different whole numbers of days from 1 to 730",
                "write horizons_days = [7, 30, 90]",
            )
            return self._base.horizons_days
        if len(value) > sections.MOST_HORIZONS:
            self._top.wrong(
                "horizons_days", f"there are {len(value)} horizons", f"keep at most {sections.MOST_HORIZONS}"
            )
        return tuple(sorted(value))

    def _together(self, d: Definition) -> None:
        """What only several sections together can get wrong."""
        top, th = self._top, d.thresholds
        if len(top.problems):
            return  # consequences of other mistakes only confuse
        where = "thresholds"
        if d.engagement_cap and d.engagement_cap < th.up:
            top.wrong(
                "engagement_cap",
                f"engagement_cap is {plain(d.engagement_cap)}, below up with {plain(th.up)}: nobody could qualify",
                "raise it, or 0 for no cap",
            )
        if d.fit and (most := sum(r.points for r in d.fit if r.points > 0)) < th.fit_min:
            top.problems.add(
                (where, "fit_min"),
                f"all fit rules together give {plain(most)} points, below fit_min with {plain(th.fit_min)}",
                "lower fit_min or add [[fit]] rules",
            )
        if d.engagement and all(r.cap or r.once or r.points < 0 for r in d.engagement):
            most = sum(r.points if r.once else r.cap for r in d.engagement if r.points > 0)
            if most < th.up:
                top.problems.add(
                    (where, "up"),
                    f"all engagement rules together give at most {plain(most)} points, below up with {plain(th.up)}",
                    "lower up or raise the caps",
                )
        for n, policy in enumerate(d.sla):
            if policy.calendar not in d.calendars:
                top.problems.add(
                    ("sla", n, "calendar"),
                    f"there is no calendar {quote(policy.calendar)}",
                    suggest(policy.calendar, d.calendars, "calendars"),
                )
                continue
            longest = max(policy.first_touch, policy.decision, policy.meeting, policy.expire_after)
            if policy.when is None:
                longest = max(longest, d.policy.sweep_over_ms)
            try:
                d.calendars[policy.calendar].add(d.effective_at, longest)
            except ValueError:
                top.problems.add(
                    ("sla", n),
                    f"{longest // HOUR} business hours take more than ten years in calendar {quote(policy.calendar)}",
                    "shorten the durations or look at the calendar's holidays",
                )
