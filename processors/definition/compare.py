"""What changed between two definitions, in sentences for the people who have to agree on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from processors.calendar import Calendar
from processors.days import iso
from processors.definition.model import Condition, Definition, SlaPolicy, Stage
from processors.definition.plain import hours, moment, percent, span
from processors.definition.sections import plain as points

NO_DIFFERENCE = "There is no difference."

_Record = TypeVar("_Record", bound=Struct)
_MILLI = frozenset(
    (
        "points",
        "daily_cap",
        "cap",
        "engagement_cap",
        "fit_min",
        "fit_min_hand_raise",
        "up",
        "down",
        "engaged_min",
    )
)
_SPANS = frozenset(
    ("first_touch", "decision", "meeting", "expire_after", "grace", "previous_owner_ms", "sweep_over_ms")
)
_NAMES = {
    "when": "condition",
    "half_life_days": "half-life (days)",
    "low_per_mille": "lower bound",
    "high_per_mille": "upper bound",
    "margin_per_mille": "margin",
    "previous_owner_ms": "grace of the previous owner",
    "sweep_over_ms": "business time of a sweep",
    "fiscal_year_start": "first month of the fiscal year",
    "horizons_days": "conversion horizons (days)",
    "closed_after_days": "days after which a month is closed",
    "context_asks": "what a complete context has",
    "approvals": "teams that sign",
    "sources": "sources with a line of their own",
}


def _called(key: str) -> str:
    return _NAMES.get(key, key.replace("_", " "))


def _shown(key: str, value: Any) -> str:
    if isinstance(value, Condition):
        return value.text
    if value is None:
        return "always"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key in _MILLI:
        return points(value) if value or key not in ("cap", "daily_cap", "engagement_cap") else "none"
    if key in _SPANS:
        return span(value)
    if key == "half_life_days" and value == 0:
        return "none"
    if key.endswith("_per_mille"):
        return percent(value)
    if key == "grades":
        return ", ".join(f"{letter} from {points(low)}" for letter, low in value) or "none"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value) if value != "" else "none"


def _same(a: Any, b: Any) -> bool:
    """Conditions are compared by their words: closures have no equality."""
    if isinstance(a, Condition) and isinstance(b, Condition):
        return a.text == b.text
    return bool(a == b)


def _changes(a: Struct, b: Struct, skip: Iterable[str] = ()) -> list[str]:
    """``key from x to y`` of each field that differs."""
    out = []
    for key in a.__struct_fields__:
        one, two = getattr(a, key), getattr(b, key)
        if key in skip or _same(one, two):
            continue
        if isinstance(one, tuple) and isinstance(two, tuple) and key != "grades":
            out.append(f"{_called(key)}: {_moved(one, two)}")
        else:
            out.append(f"{_called(key)} from {_shown(key, one)} to {_shown(key, two)}")
    return out


def _moved(a: Sequence[Any], b: Sequence[Any]) -> str:
    added = [str(x) for x in b if x not in a]
    gone = [str(x) for x in a if x not in b]
    parts = []
    if added:
        parts.append(f"{', '.join(added)} added")
    if gone:
        parts.append(f"{', '.join(gone)} removed")
    return "; ".join(parts) or f"now in the order {', '.join(map(str, b))}"


def _list(
    what: str,
    a: Iterable[_Record],
    b: Iterable[_Record],
    key: Callable[[_Record], str],
    describe: Callable[[_Record], str],
    ordered: bool = False,
) -> list[str]:
    """Sentences about a list of named records. ``ordered``: the order means something."""
    old, new = _numbered(a, key), _numbered(b, key)
    out = [f'{what} "{n}" is new: {describe(r)}.' for n, r in new.items() if n not in old]
    out += [f'{what} "{n}" is gone (it was: {describe(r)}).' for n, r in old.items() if n not in new]
    for name, record in old.items():
        if name in new:
            out += [
                f'{what} "{name}": {change}.' for change in _changes(record, new[name], ("name", "label"))
            ]
    stay = [n for n in old if n in new]
    now = [n for n in new if n in old]
    if ordered and stay != now:
        out.append(f"{what}s are asked in another order: {', '.join(now)}.")
    return out


def _numbered(records: Iterable[_Record], key: Callable[[_Record], str]) -> dict[str, _Record]:
    """By name; a name that comes again gets its number."""
    out: dict[str, _Record] = {}
    for record in records:
        name, n = key(record), 2
        while name in out:
            name, n = f"{key(record)} ({n})", n + 1
        out[name] = record
    return out


def _describe(*keys: str) -> Callable[[Struct], str]:
    def describe(record: Struct) -> str:
        parts = []
        for key in keys:
            value = getattr(record, key)
            if value is None or value == 0 or value == "" or value is False:
                continue
            if key == "when":
                parts.append(f"if {value.text}")
            else:
                parts.append(f"{_called(key)} {_shown(key, value)}")
        return ", ".join(parts) or "always"

    return describe


def _name(record: Any) -> str:
    return str(record.name)


def _stages(a: tuple[Stage, ...], b: tuple[Stage, ...]) -> list[str]:
    out: list[str] = []
    before = {s.name: s for s in a}
    followed: set[str] = set()
    for stage in b:
        old = before.get(stage.name)
        if old is None:
            former = next((n for n in stage.renamed_from if n in before), None)
            if former is None:
                out.append(f'Stage "{stage.name}" is new, with rank {stage.rank}.')
                continue
            out.append(f'Stage "{former}" is now called "{stage.name}".')
            old = before[former]
        followed.add(old.name)
        out += [f'Stage "{stage.name}": {c}.' for c in _changes(old, stage, ("name", "renamed_from"))]
    gone = [s.name for s in a if s.name not in followed]
    out += [f'Stage "{n}" is gone; where it was entered it is shown as "retired:{n}".' for n in gone]
    return out


def _calendars(a: Mapping[str, Calendar], b: Mapping[str, Calendar]) -> list[str]:
    out = [f'Calendar "{n}" is new: {hours(c)} ({c.time_zone}).' for n, c in b.items() if n not in a]
    out += [f'Calendar "{n}" is gone.' for n in a if n not in b]
    for name, one in a.items():
        two = b.get(name)
        if two is None or one == two:
            continue
        if one.time_zone != two.time_zone:
            out.append(f'Calendar "{name}": time zone from {one.time_zone} to {two.time_zone}.')
        if one.hours != two.hours:
            out.append(f'Calendar "{name}": opening hours from {hours(one)} to {hours(two)}.')
        if one.holidays != two.holidays:
            moved = _moved([iso(d) for d in sorted(one.holidays)], [iso(d) for d in sorted(two.holidays)])
            out.append(f'Calendar "{name}": holidays: {moved}.')
        if one.extra != two.extra:
            days = sorted(d for d in {*one.extra, *two.extra} if one.extra.get(d) != two.extra.get(d))
            out.append(f'Calendar "{name}": other hours on {", ".join(map(iso, days))}.')
    return out


def _sla(policy: SlaPolicy) -> str:
    parts = [f"first touch {span(policy.first_touch)}", f"decision {span(policy.decision)}"]
    if policy.when is not None:
        parts.insert(0, f"if {policy.when.text}")
    return ", ".join(parts) + " of business time"


def compare(a: Definition, b: Definition) -> list[str]:
    """Sentences of what ``b`` changes against ``a``, section by section.

    Names, versions and the wording of the documents are not compared, only what they do.
    """
    out: list[str] = []
    if a.effective_at != b.effective_at:
        out.append(f"It is in force from {moment(b.effective_at, b.time_zone)}.")
    if b.sweep and not a.sweep:
        out.append("All leads are looked at anew when it comes into force.")
    elif a.sweep and not b.sweep:
        out.append("Leads are looked at anew only at their next event.")
    sections: tuple[tuple[str, Struct, Struct], ...] = (
        ("Threshold", a.thresholds, b.thresholds),
        ("Policy", a.policy, b.policy),
        ("Attribution", a.attribution, b.attribution),
    )
    out += [f"{title}: {change}." for title, one, two in sections for change in _changes(one, two)]
    out += _list("Fit rule", a.fit, b.fit, _name, _describe("points", "when"))
    scored = _describe("on", "points", "when", "half_life_days", "daily_cap", "cap", "once")
    out += _list("Engagement rule", a.engagement, b.engagement, _name, scored)
    if a.engagement_cap != b.engagement_cap:
        one, two = (_shown("engagement_cap", d.engagement_cap) for d in (a, b))
        out.append(f"Engagement in all: at most from {one} to {two} points.")
    out += _list("Intent rule", a.intent, b.intent, _name, _describe("on", "when"))
    out += _list("Disqualifier", a.disqualifiers, b.disqualifiers, _name, _describe("when"))
    out += _list("Segment", a.segments, b.segments, _name, _describe("when"), ordered=True)
    out += _stages(a.stages, b.stages)
    out += _list("SLA policy", a.sla, b.sla, _name, _sla, ordered=True)
    out += _calendars(a.calendars, b.calendars)
    out += _list("Routing rule", a.routing, b.routing, _name, _describe("team", "when"), ordered=True)
    out += _list(
        "Reason",
        a.reasons.values(),
        b.reasons.values(),
        lambda r: f"{r.of}: {r.code}",
        _describe("action", "after_days"),
    )
    out += _list("Channel rule", a.channels, b.channels, _name, _describe("when"), ordered=True)
    out += _list(
        "Budget of", a.budgets, b.budgets, lambda r: r.team, _describe("low_per_mille", "high_per_mille")
    )
    nested = {
        "name", "version", "effective_at", "published_at", "text", "sweep", "engagement_cap", "stages", "policy",
        "segments", "fit", "engagement", "intent", "disqualifiers", "thresholds", "sla", "calendars", "reasons",
        "routing", "channels", "attribution", "budgets", "signatures", "unsigned",
    }  # fmt: skip
    out += [f"General: {change}." for change in _changes(a, b, nested)]
    return out or [NO_DIFFERENCE]
