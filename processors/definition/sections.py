"""The sections of a definition, one function each: from tables to records, with every check that needs
no other section."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from processors.calendar import Calendar
from processors.definition.conditions import condition
from processors.definition.model import (
    HOUR,
    MILLI,
    MINUTE,
    Attribution,
    Budget,
    ChannelRule,
    Disqualifier,
    EngagementRule,
    FitRule,
    IntentRule,
    Policy,
    Reason,
    RoutingRule,
    Segment,
    SlaPolicy,
    Stage,
    Thresholds,
)
from processors.definition.reader import Table, listed, quote, suggest
from processors.events import FACT, FIELDS, KIND

#: Meanings that the fold needs, in the order of a journey.
ROLES = ("anonymous", "known", "engaged", "mql", "sal", "sql", "opportunity", "won")
GATES = ("budget", "authority", "need", "timing")
MODELS = ("last", "first", "linear", "position", "w", "time_decay", "last_non_direct")
CHANNEL_FIELDS = ("utm_source", "utm_medium", "utm_campaign", "referrer_host", "source", "type")
ENGAGEMENT_TYPES = tuple(name for name, code in KIND.items() if code < FACT)
#: Each is a dimension of many figures; more would burst the bound on series.
MOST_SEGMENTS, MOST_CHANNELS, MOST_SOURCES, MOST_HORIZONS = 24, 24, 40, 6
MOST_RULES = 500
#: A fading table has forty half-lives of days.
LONGEST_HALF_LIFE = 730


def unique(tables: Iterable[Table], names: Iterable[str], key: str = "name") -> None:
    """Notes names that occur twice, and where the first stands."""
    first: dict[str, Table] = {}
    for table, name in zip(tables, names, strict=True):
        if name and name in first:
            line = table.problems.line_of((*first[name].path, key))
            table.wrong(
                key, f"{quote(name)} is defined twice", f"rename or remove it; the first is in line {line}"
            )
        else:
            first[name] = table


def at_most(tables: list[Table], limit: int, what: str) -> None:
    if len(tables) > limit:
        tables[limit].wrong("", f"there are {len(tables)} {what}", f"keep at most {limit}")


def stages(tables: list[Table]) -> tuple[Stage, ...]:
    """Ranks and names are unique, all eight roles are bound, and they rise with the rank."""
    found = []
    before = len(tables[0].problems) if tables else 0
    for t in tables:
        found.append(
            Stage(
                name=t.name("name"),
                rank=t.whole("rank", None, 0, 99),
                role=t.text("role", "", choices=(*ROLES, "")),
                phase=t.text("phase", ""),
                renamed_from=t.texts("renamed_from", ()),
            )
        )
        t.close()
    unique(tables, [s.name for s in found])
    if tables and len(tables[0].problems) == before:
        _told_apart(tables, found)
    return tuple(sorted(found, key=lambda s: s.rank))


def _told_apart(tables: list[Table], found: list[Stage]) -> None:
    names = {s.name for s in found}
    seen: dict[tuple[str, Any], Stage] = {}
    for t, s in zip(tables, found, strict=True):
        for key, value, todo in (
            ("rank", s.rank, "give each stage a rank of its own"),
            ("role", s.role, "bind each role to one stage"),
        ):
            if value == "" or not t.has(key):
                continue
            other = seen.setdefault((key, value), s)
            if other is not s:
                t.wrong(key, f"{key} {quote(value)} is that of stage {quote(other.name)} already", todo)
        for n, old in enumerate(s.renamed_from):
            if old in names:
                t.problems.add(
                    (*t.path, "renamed_from", n), f"{quote(old)} is still a stage", "remove one of the two"
                )
    by_role = {s.role: s for s in found if s.role}
    missing = [role for role in ROLES if role not in by_role]
    if missing:
        tables[0].problems.add(
            tables[0].path[:1],
            f"no stage has the role {listed(missing)}",
            "give each of the eight roles to one stage, or leave all [[stages]] out for the usual ones",
        )
    bound = [by_role[role] for role in ROLES if role in by_role]
    for before, after in pairwise(bound):
        if after.rank < before.rank:
            tables[found.index(after)].wrong(
                "rank",
                f"{after.role} has rank {after.rank}, below {before.role} with {before.rank}",
                f"ranks rise in this order: {listed(ROLES)}",
            )


def policy(t: Table, d: Policy, day_ms: int) -> Policy:
    made = Policy(
        backward=t.text("backward", d.backward, choices=("record", "adopt")),
        stage_reported=t.text("stage_reported", d.stage_reported, choices=("adopt", "record")),
        inactive_days=t.whole("inactive_days", d.inactive_days, 1, 3650),
        recycle_days=t.whole("recycle_days", d.recycle_days, 0, 3650),
        lost_recycle_days=t.whole("lost_recycle_days", d.lost_recycle_days, 0, 3650),
        reraise_days=t.whole("reraise_days", d.reraise_days, 0, 3650),
        previous_owner_ms=t.duration("previous_owner", d.previous_owner_ms, day_ms=day_ms),
        withdraw_when_unqualified=t.flag("withdraw_when_unqualified", d.withdraw_when_unqualified),
        flood_min=t.whole("flood_min", d.flood_min, 1, 1_000_000),
        flood_factor=t.whole("flood_factor", d.flood_factor, 1, 1000),
        max_leads_per_anonymous=t.whole("max_leads_per_anonymous", d.max_leads_per_anonymous, 1, 100),
        sweep_over_ms=t.duration("sweep_over", d.sweep_over_ms, day_ms=day_ms),
    )
    t.close()
    return made


def segments(tables: list[Table]) -> tuple[Segment, ...]:
    found = []
    for t in tables:
        name, when = t.name("name"), condition(t, required=True)
        t.close()
        if when is not None:
            found.append(Segment(name=name, when=when))
    unique(tables, [str(t.values.get("name", "")) for t in tables])
    at_most(tables, MOST_SEGMENTS, "segments, each a dimension of every figure")
    return tuple(found)


def fit(tables: list[Table]) -> tuple[FitRule, ...]:
    found = []
    for t in tables:
        name, points, when = t.name("name"), t.points("points", None), condition(t, required=True)
        t.close()
        if when is not None:
            found.append(FitRule(name=name, when=when, points=points))
        if t.values.get("points") == 0:
            t.wrong("points", "a rule of 0 points does nothing", "give it points or remove it")
    unique(tables, [str(t.values.get("name", "")) for t in tables])
    at_most(tables, MOST_RULES, "fit rules")
    return tuple(found)


def _event(t: Table, known: tuple[str, ...], use: str) -> str:
    on = t.text("on", None, example="page_viewed")
    if on and on not in known:
        if on in KIND:
            t.wrong("on", f'"{on}" {use}', f"use one of: {listed(known)}")
        else:
            t.wrong("on", f'there is no event type "{on}"', suggest(on, known, "types that count"))
    return on


def _fields(on: str) -> tuple[str, ...] | None:
    return FIELDS.get(on, ()) if on in KIND else None


def engagement(tables: list[Table]) -> tuple[EngagementRule, ...]:
    found = [_engagement_rule(t) for t in tables]
    unique(tables, [r.name for r in found])
    at_most(tables, MOST_RULES, "engagement rules")
    return tuple(found)


def _engagement_rule(t: Table) -> EngagementRule:
    on = _event(t, ENGAGEMENT_TYPES, "is no engagement, so it earns no points")
    rule = EngagementRule(
        name=t.name("name"),
        on=on,
        points=t.points("points", None),
        when=condition(t, fields=_fields(on), subject=on),
        half_life_days=t.whole("half_life_days", 0, 0, LONGEST_HALF_LIFE),
        daily_cap=t.points("daily_cap", 0, low=0),
        cap=t.points("cap", 0, low=0),
        once=t.flag("once", False),
    )
    t.close()
    if t.values.get("points") == 0:
        t.wrong("points", "a rule of 0 points does nothing", "give it points or remove it")
    if rule.points < 0:
        if rule.half_life_days:
            t.wrong(
                "half_life_days",
                "negative points must not fade, or a lead would qualify by waiting",
                "remove half_life_days",
            )
        for key in ("daily_cap", "cap"):
            if t.has(key):
                t.wrong(
                    key, f"{key} bounds what is earned; these points are negative", "use once = true instead"
                )
        return rule
    for key, cap in (("daily_cap", rule.daily_cap), ("cap", rule.cap)):
        if cap and cap < rule.points:
            t.wrong(
                key,
                f"{key} {t.values[key]} is below the {t.values.get('points')} points of a single event",
                f"raise {key} or lower points",
            )
    if rule.cap and rule.daily_cap > rule.cap:
        t.wrong(
            "daily_cap",
            f"daily_cap {t.values['daily_cap']} is above cap {t.values['cap']}",
            "a day cannot earn more than the rule may in all; lower it",
        )
    return rule


def intent(tables: list[Table]) -> tuple[IntentRule, ...]:
    found = []
    for t in tables:
        on = _event(t, ENGAGEMENT_TYPES, "is no engagement, so it raises no hand")
        found.append(
            IntentRule(name=t.name("name"), on=on, when=condition(t, fields=_fields(on), subject=on))
        )
        t.close()
    unique(tables, [r.name for r in found])
    return tuple(found)


def disqualifiers(tables: list[Table]) -> tuple[Disqualifier, ...]:
    found = []
    for t in tables:
        name, when = t.name("name"), condition(t, required=True)
        t.close()
        if when is not None:
            found.append(Disqualifier(name=name, when=when))
    unique(tables, [str(t.values.get("name", "")) for t in tables])
    return tuple(found)


def thresholds(t: Table, d: Thresholds) -> Thresholds:
    made = Thresholds(
        fit_min=t.points("fit_min", d.fit_min, low=0, high=100),
        fit_min_hand_raise=t.points("fit_min_hand_raise", d.fit_min_hand_raise, low=0, high=100),
        up=t.points("up", d.up, low=0),
        down=t.points("down", d.down, low=0),
        engaged_min=t.points("engaged_min", d.engaged_min, low=0),
        hand_raise_days=t.whole("hand_raise_days", d.hand_raise_days, 1, 365),
        gates=t.texts("gates", d.gates, choices=GATES),
        grades=_grades(t, d.grades),
    )
    t.close()
    if made.down >= made.up:
        t.wrong(
            "down" if t.has("down") else "up",
            f"down is {plain(made.down)} and up is {plain(made.up)}",
            "down must be below up, so that a lead does not flicker between the two",
        )
    if made.engaged_min > made.up:
        t.wrong(
            "engaged_min",
            f"engaged_min is {plain(made.engaged_min)}, above up, which is {plain(made.up)}",
            "a qualified lead is an engaged one; lower engaged_min",
        )
    if made.fit_min_hand_raise > made.fit_min:
        t.wrong(
            "fit_min_hand_raise",
            f"fit_min_hand_raise is {plain(made.fit_min_hand_raise)}, above fit_min with {plain(made.fit_min)}",
            "who raises a hand needs less fit, not more; lower it",
        )
    return made


def _grades(t: Table, default: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    table = t.table("grades")
    if table is None:
        return default
    found = [(letter, table.points(letter, None, low=0, high=100)) for letter in table.values]
    for letter, _ in found:
        if not 1 <= len(letter) <= 3:
            table.wrong(letter, f"{quote(letter)} is no grade", "use one letter, such as A")
    found.sort(key=lambda grade: -grade[1])
    for (one, low), (two, high) in pairwise(found):
        if low == high:
            table.wrong(two, f"grades {one} and {two} begin at the same points", "let each begin lower")
    if found and found[-1][1] != 0:
        table.wrong(
            found[-1][0],
            f"the lowest grade begins at {plain(found[-1][1])}, so a lead below it has none",
            "let it begin at 0",
        )
    return tuple(found)


def sla(tables: list[Table], calendars: Mapping[str, Calendar]) -> tuple[SlaPolicy, ...]:
    found = [_sla_policy(t, calendars) for t in tables]
    unique(tables, [s.name for s in found])
    without = [t for t in tables if not t.has("when") and not t.has("where")]
    if not without:
        problems = tables[0].problems if tables else None
        if problems is not None:
            problems.add(
                ("sla",), "every SLA policy has a condition", "add one without when, for all other handoffs"
            )
    for t in without[1:]:
        t.wrong("", "a second SLA policy without a condition", "give it when = { ... } or remove it")
    return tuple(found)


def _sla_policy(t: Table, calendars: Mapping[str, Calendar]) -> SlaPolicy:
    d = SlaPolicy(name="")
    name = t.name("name")
    calendar = t.text("calendar", d.calendar)
    if calendar not in calendars:
        t.wrong(
            "calendar", f"there is no calendar {quote(calendar)}", suggest(calendar, calendars, "calendars")
        )
        calendar = next(iter(calendars))
    day = calendars[calendar].business_day_ms
    decision = t.duration("decision", d.decision, day_ms=day, least=MINUTE)
    made = SlaPolicy(
        name=name,
        when=condition(t),
        first_touch=t.duration("first_touch", min(d.first_touch, decision), day_ms=day),
        decision=decision,
        meeting=t.duration("meeting", 0, day_ms=day),
        expire_after=t.duration("expire_after", 2 * decision, day_ms=day),
        grace=t.duration("grace", d.grace),
        calendar=calendar,
        pausable=t.flag("pausable", d.pausable),
        escalate=t.text("escalate", d.escalate, choices=("notify", "reassign", "none")),
    )
    t.close()
    if made.first_touch > made.decision:
        t.wrong(
            "first_touch",
            f"first_touch {quote(t.values.get('first_touch'))} is longer than decision",
            "who decides has touched; lower first_touch or raise decision",
        )
    if made.expire_after and made.expire_after < made.decision:
        t.wrong(
            "expire_after",
            f"expire_after {quote(t.values.get('expire_after'))} is shorter than decision",
            "a handoff cannot expire before it is due; raise it or leave it out for twice decision",
        )
    if made.grace > HOUR:
        t.wrong("grace", f"grace {quote(t.values.get('grace'))} is longer than an hour", 'use "2m"')
    return made


def reasons(tables: list[Table]) -> dict[tuple[str, str], Reason]:
    found: dict[tuple[str, str], Reason] = {}
    for t in tables:
        of = t.text("of", "rejection", choices=("rejection", "lost", "disqualification"))
        action = t.text("action", "archive", choices=("recycle", "archive", "disqualify"))
        reason = Reason(
            code=t.name("code"),
            of=of,
            action=action,
            after_days=t.whole("after_days", 0, 1, 3650),
            label=t.text("label", ""),
        )
        t.close()
        if t.has("after_days") and t.values.get("action", "archive") in ("archive", "disqualify"):
            t.wrong(
                "after_days", f"after_days says nothing with action {quote(action)}", "remove it, or recycle"
            )
        if reason.code and (of, reason.code) in found:
            t.wrong("code", f"{of} reason {quote(reason.code)} is defined twice", "remove one of them")
        found.setdefault((of, reason.code), reason)
    return found


def routing(tables: list[Table]) -> tuple[RoutingRule, ...]:
    found = []
    for t in tables:
        found.append(RoutingRule(name=t.name("name"), team=t.name("team"), when=condition(t)))
        t.close()
    unique(tables, [r.name for r in found])
    for t, rule in zip(tables[:-1], found[:-1], strict=True):
        if rule.when is None and not t.has("when") and not t.has("where"):
            t.wrong(
                "",
                f"rule {quote(rule.name)} has no condition, so no rule below it is ever asked",
                "move it to the end or give it when = { ... }",
            )
    return tuple(found)


def channels(tables: list[Table]) -> tuple[ChannelRule, ...]:
    """Several rules may name the same channel."""
    found = []
    for t in tables:
        name = t.name("name")
        when = condition(t, fields=CHANNEL_FIELDS, subject="a visit", required=True)
        t.close()
        if when is not None:
            found.append(ChannelRule(name=name, when=when))
    at_most(tables, MOST_CHANNELS, "channel rules")
    return tuple(found)


def attribution(t: Table, d: Attribution) -> Attribution:
    made = Attribution(
        look_back_days=t.whole("look_back_days", d.look_back_days, 1, 400),
        models=t.texts("models", d.models, choices=MODELS),
        time_decay_half_life_days=t.whole("time_decay_half_life_days", d.time_decay_half_life_days, 1, 400),
        sales_touches=t.flag("sales_touches", d.sales_touches),
    )
    t.close()
    if not made.models:
        t.wrong("models", "no attribution model is left", f"name at least one of: {listed(MODELS)}")
    return made


def budgets(tables: list[Table]) -> tuple[Budget, ...]:
    found = []
    for t in tables:
        budget = Budget(
            team=t.name("team"),
            low_per_mille=t.per_mille("low_percent", None),
            high_per_mille=t.per_mille("high_percent", None),
        )
        t.close()
        if t.has("low_percent") and t.has("high_percent") and budget.low_per_mille >= budget.high_per_mille:
            t.wrong(
                "low_percent",
                f"low_percent {t.values['low_percent']} is not below high_percent {t.values['high_percent']}",
                "swap them or widen the range",
            )
        found.append(budget)
    unique(tables, [b.team for b in found], "team")
    return tuple(found)


def plain(milli: int) -> str:
    """Milli-points as people write them: 7.5, 40."""
    whole, part = divmod(abs(milli), MILLI)
    digits = f"{part:03d}".rstrip("0")
    return ("-" if milli < 0 else "") + str(whole) + (f".{digits}" if digits else "")
