"""From totals to the figures that people read: each defined once, by name, unit, formula and labels.

Exact to the end: integers and fractions, no float. A denominator of 0 gives None, never 0. A period takes what
happened on its days; the handoff figures take the handoffs whose clocks started in it, cohorts those of its months.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

from msgspec import Struct

from processors.compiled import Compiled
from processors.days import first_of_month, iso, month_of_day
from processors.figures import (
    CLOCK_STATES,
    COLUMNS,
    EVER,
    HANDOFF_STATES,
    Contribution,
    bin_seconds,
    pairs,
    quantile,
)
from processors.period import Period
from processors.totals import SPEEDS, Labels, Number, Sel, Totals, statistics

#: Labels in words, the value, what it was made of, and a word on it.
_Row = tuple[Labels, Number, dict[str, int], str]


class Value(Struct, frozen=True, kw_only=True):
    """One number. ``inputs``: what it was made of. ``value`` None: nothing to divide by, or too early to tell."""

    figure: str
    labels: dict[str, str]
    value: Number
    unit: str
    inputs: dict[str, int] = {}
    note: str = ""


class Figure(Struct, frozen=True, kw_only=True):
    """How a figure is made. ``always``: labels without which it means nothing; ``labels``: those it may carry."""

    name: str
    group: str
    unit: str
    formula: str
    make: Callable[[Totals, Labels], Iterable[_Row]]
    labels: Labels = ()
    always: Labels = ()

    def carries(self, by: Iterable[str]) -> bool:
        return all(label in self.labels or label in self.always for label in by)


def report(
    totals: Contribution,
    definition: Compiled,
    as_of_ms: int,
    *,
    by: Sequence[str] = (),
    period: Period | None = None,
    only: Iterable[str] = (),
    names: Mapping[int, str] | None = None,
) -> list[Value]:
    """The figures of some totals (of fine contributions), in the order of `FIGURES`.

    :param by: split by these labels; figures that cannot carry all of them are left out.
    :param only: names of figures; none: all of them.
    :param names: stage codes to names (`figures.stage_names`), where older definitions knew more of them.
    """
    t = Totals(totals, definition, as_of_ms, period, names)
    wanted = set(only)
    found = []
    for figure in FIGURES:
        if (wanted and figure.name not in wanted) or not figure.carries(by):
            continue
        labels = (*figure.always, *(label for label in by if label not in figure.always))
        for values, value, inputs, note in _in_order(t, labels, figure.make(t, labels)):
            found.append(
                Value(
                    figure=figure.name,
                    labels=dict(zip(labels, values, strict=True)),
                    value=value,
                    unit=figure.unit,
                    inputs=inputs,
                    note=note,
                )
            )
    return found


def _in_order(t: Totals, labels: Labels, rows: Iterable[_Row]) -> list[_Row]:
    return sorted(rows, key=lambda row: t.place(labels, row[0]))


# How figures are made ------------------------------------------------------------------------------------------------

_Make = Callable[[Totals, Labels], Iterable[_Row]]


def _of(value: Callable[[dict[str, int]], Number], made_of: Mapping[str, Sel], day: str = "day") -> _Make:
    """A figure made of some sums under the same labels."""

    def make(t: Totals, by: Labels) -> Iterator[_Row]:
        found = {name: t.sums(sel, by, day) for name, sel in made_of.items()}
        keys: set[Labels] = t.expected(by).union(*found.values())
        for key in keys:
            inputs = {name: sums.get(key, 0) for name, sums in found.items()}
            yield key, value(inputs), {} if len(inputs) == 1 else inputs, ""

    return make


def _count(count: str, **where: Any) -> _Make:
    return _of(lambda i: i["n"], {"n": Sel(count, where)})


def _entries_of(role: str, **where: Any) -> _Make:
    """Entries of the stage that has a role in the definition."""
    return lambda t, by: _count("entered_on", stage=getattr(t.d, role), **where)(t, by)


def _part(part: str, *whole: str) -> Callable[[dict[str, int]], Number]:
    """part/(whole + ...) of the named inputs."""

    def value(i: dict[str, int]) -> Number:
        total = sum(i[name] for name in whole)
        return Fraction(i[part], total) if total else None

    return value


def _won_of(count: str) -> _Make:
    made_of = {status: Sel(count, {"status": status}) for status in ("won", "lost")}
    return _of(_part("won", "won", "lost"), made_of)


def _days(count: str) -> _Make:
    """Count, sum, min, max, median and mean of exact days."""

    def make(t: Totals, by: Labels) -> Iterator[_Row]:
        at = by.index("stat")
        labels = (*by[:at], *by[at + 1 :])
        groups: dict[Labels, list[tuple[int, int]]] = {} if labels else {(): []}
        for (*key, days), n in t.sums(Sel(count), labels, numbers=("days",)).items():
            groups.setdefault(tuple(key), []).append((days, n))
        for group, bins in groups.items():
            for stat, value in statistics(bins).items():
                yield (*group[:at], stat, *group[at:]), value, {}, ""

    return make


def _speed(t: Totals, by: Labels) -> Iterator[_Row]:
    """Who was not touched is above every bin: censored, not left out."""
    labels = by[2:]
    waiting = t.sums(Sel("untouched_on"), labels)
    touched: dict[Labels, list[tuple[int, int]]] = {}
    for (time, *key, n), count in t.sums(Sel("speed_on"), ("time", *labels), numbers=("bin",)).items():
        touched.setdefault((time, *key), []).append((n, count))
    groups = {key[1:] for key in touched} | waiting.keys() | (set() if labels else {()})
    for time, group in product(t.known["time"], groups):
        bins = touched.get((time, *group), [])
        inputs = {"touched": sum(n for _, n in bins), "untouched": waiting.get(group, 0)}
        for stat, (num, den) in SPEEDS.items():
            found = quantile(bins, num, den, inputs["untouched"])
            note = "among the untouched" if found is None and any(inputs.values()) else ""
            yield (time, stat, *group), None if found is None else bin_seconds(found), inputs, note


def _cohorts(t: Totals, by: Labels) -> Iterator[_Row]:
    """Only matured cohorts have a value; with ``cohort`` among the labels the others are shown as maturing."""
    labels = tuple(label for label in by[3:] if label != "cohort")
    single = by.index("cohort") if "cohort" in by else 0
    entered = t.sums(Sel("cohort"), ("from", "to", *labels), "", ("cohort",))
    converted = t.sums(Sel("converted"), ("from", "to", *labels), "", ("cohort", "horizon"))
    groups: dict[Labels, dict[str, int]] = {}
    matures: dict[Labels, int] = {}
    if by[3:] == ():
        for (one, other), within in product(pairs(t.d), t.known["horizon"]):
            groups[t.word("from", one), t.word("to", other), within] = dict.fromkeys(_COHORT, 0)
    for (a, b, *key, month), n in entered.items():
        if not _in(t.period, month):
            continue
        for h in t.horizons:
            group: Labels = (a, b, t.word("horizon", h), *key)
            if single:
                group = (*group[:single], t.word("cohort", month), *group[single:])
            inputs = groups.setdefault(group, dict.fromkeys(_COHORT, 0))
            done = converted.get((a, b, *key, month, h), 0)
            ripe = t.matured(month, h)
            inputs["entered" if ripe else "maturing"] += n
            inputs["converted" if ripe else "converted_so_far"] += done
            if not ripe:
                day = first_of_month(month + 1) + h
                matures[group] = min(day, matures.get(group, day))
    for group, inputs in groups.items():
        note = f"matures {iso(matures[group])}" if group in matures and not inputs["entered"] else ""
        yield group, _part("converted", "entered")(inputs), inputs, note


_COHORT = ("entered", "converted", "maturing", "converted_so_far")


def _in(period: Period | None, month: int) -> bool:
    return period is None or month_of_day(period.first) <= month <= month_of_day(period.last)


def _period_conversions(t: Totals, by: Labels) -> Iterator[_Row]:
    labels = by[2:]
    entries = t.sums(Sel("entered_on"), ("stage", *labels))
    groups = {key[1:] for key in entries} | (set() if labels else {()})
    for (a, b), group in product(pairs(t.d), groups):
        names = (t.word("from", a), t.word("to", b))
        inputs = {
            "entered_from": entries.get((names[0], *group), 0),
            "entered_to": entries.get((names[1], *group), 0),
        }
        if any(inputs.values()) or not labels:
            yield (*names, *group), _part("entered_to", "entered_from")(inputs), inputs, ""


def _won_within(t: Totals, by: Labels, day: str) -> dict[Labels, int]:
    """Leads with a win within each horizon of their creation."""
    out: dict[Labels, int] = dict.fromkeys(t.expected(by), 0)
    for (*key, days), n in t.sums(Sel("won_on"), by[1:], day, ("days",)).items():
        for h in t.horizons:
            if h == EVER or days <= h:
                group = (t.word("horizon", h), *key)
                out[group] = out.get(group, 0) + n
    return out


def _leads_won(t: Totals, by: Labels) -> Iterator[_Row]:
    for group, n in _won_within(t, by, "day").items():
        yield group, n, {}, ""


def _leads_won_share(t: Totals, by: Labels) -> Iterator[_Row]:
    won = _won_within(t, by, "born")
    leads = t.sums(Sel("leads_on"), by[1:])
    for h, group in product(t.known["horizon"], leads.keys() | (set() if by[1:] else {()})):
        inputs = {"won": won.get((h, *group), 0), "leads": leads.get(group, 0)}
        yield (h, *group), _part("won", "leads")(inputs), inputs, ""


def _check_stages(t: Totals, _by: Labels) -> Iterator[_Row]:
    by = COLUMNS["entered"]
    entered, left, stay = (t.sums(Sel(name), by) for name in ("entered", "left", "balance"))
    keys = entered.keys() | left.keys() | stay.keys()
    wrong = sum(abs(entered.get(k, 0) - left.get(k, 0) - stay.get(k, 0)) for k in keys)
    names = ("entered", "left", "balance")
    yield (), wrong, dict(zip(names, map(sum, (x.values() for x in (entered, left, stay))), strict=True)), ""


# The figures ---------------------------------------------------------------------------------------------------------

_LEAD = ("source", "segment")
_CALL = ("source", "segment", "team", "owner", "rule")
_HANDED = {outcome: Sel("handoff_on", {"outcome": outcome}) for outcome in HANDOFF_STATES}
_DECIDED = {outcome: _HANDED[outcome] for outcome in ("accepted", "rejected")}
_SLA = {state: Sel("sla_on", {"state": state}) for state in CLOCK_STATES}
_WON = {"amount": Sel("deal_amount_on", {"status": "won"}), "deals": Sel("deal_on", {"status": "won"})}


def _figure(
    name: str, group: str, unit: str, formula: str, make: _Make, labels: Labels = (), always: Labels = ()
) -> Figure:
    return Figure(name=name, group=group, unit=unit, formula=formula, make=make, labels=labels, always=always)


FIGURES: tuple[Figure, ...] = (
    _figure(
        "leads", "funnel", "leads", "persons whose first entry to known, implied or not, lies in the period",
        _count("leads_on"), ("series", *_LEAD),
    ),
    _figure(
        "entered", "funnel", "entries", "entries of a stage or an exit, each counted",
        _count("entered_on"), ("series", *_LEAD), ("stage",),
    ),
    _figure(
        "left", "funnel", "entries", "entries that were left for another stage or an exit",
        _count("left_on"), ("series", *_LEAD), ("stage",),
    ),
    _figure(
        "balance", "funnel", "journeys", "entered - left, up to the end of the period",
        _of(lambda i: i["entered"] - i["left"], {"entered": Sel("entered_on"), "left": Sel("left_on")}, "until"),
        ("series", *_LEAD), ("stage",),
    ),
    _figure(
        "mqls", "funnel", "entries", "real entries to mql in a first journey generated by marketing",
        _entries_of("mql", series="marketing"), _LEAD,
    ),
    _figure(
        "mqls_by_series", "funnel", "entries",
        "entries to mql: real ones by who generated the journey; recycled, implied and imported ones apart",
        _entries_of("mql"), _LEAD, ("series",),
    ),
    _figure("sqls", "funnel", "entries", "entries to sql", _entries_of("sql"), ("series", *_LEAD)),
    _figure(
        "time_in_stage", "funnel", "days",
        "calendar days from entering a stage to leaving it, of real entries left in the period",
        _days("stay_on"), _LEAD, ("stage", "stat"),
    ),
    _figure(
        "cohort_conversion", "conversion", "ratio",
        "share of those who entered A in a month (implied entries count) that reached B within so many days; "
        "only of months whose last day lies that far back",
        _cohorts, ("cohort", *_LEAD), ("from", "to", "horizon"),
    ),
    _figure(
        "period_conversion", "conversion", "ratio", "entries(B)/entries(A) in the period; may pass 100 %",
        _period_conversions, ("series", *_LEAD), ("from", "to"),
    ),
    _figure(
        "leads_won", "conversion", "leads",
        "leads won in the period whose first win that stands came within so many days of their creation",
        _leads_won, _LEAD, ("horizon",),
    ),
    _figure(
        "leads_won_share", "conversion", "ratio", "leads won/leads, both of the leads that are new in the period",
        _leads_won_share, _LEAD, ("horizon",),
    ),
    _figure(
        "handoffs", "handoff", "handoffs",
        "handoffs by outcome; imported_open: from back-fill, and history does not hold the answer",
        _count("handoff_on"), (*_CALL, "reason"), ("outcome",),
    ),
    _figure(
        "acceptance_decided", "handoff", "ratio", "accepted/(accepted + rejected)",
        _of(_part("accepted", "accepted", "rejected"), _DECIDED), _CALL,
    ),
    _figure(
        "acceptance_all", "handoff", "ratio", "accepted/handed off; imported_open is beside it",
        _of(_part("accepted", *HANDOFF_STATES[:-1]), _HANDED), _CALL,
    ),
    _figure(
        "rejections", "handoff", "handoffs", "rejected handoffs by reason",
        _count("handoff_on", outcome="rejected"), _CALL, ("reason",),
    ),
    _figure(
        "rejection_rate", "handoff", "ratio", "rejected/(accepted + rejected)",
        _of(_part("rejected", "accepted", "rejected"), _DECIDED), _CALL,
    ),
    _figure(
        "returned", "handoff", "handoffs", "accepted, and given back later",
        _count("handoff_on", returned="yes"), (*_CALL, "reason"),
    ),
    _figure(
        "sla_compliance", "handoff", "ratio",
        "met/(met + breached); clocks still open, or dropped with their handoff, are beside",
        _of(_part("met", "met", "breached"), _SLA), _CALL, ("clock",),
    ),
    _figure(
        "speed_to_lead", "handoff", "s",
        "first human touch - start of the clocks; the untouched count as slower than all, those withdrawn do not count",
        _speed, _CALL, ("time", "stat"),
    ),
    _figure(
        "deals", "deals", "deals", "deals as they are now, by status",
        _of(lambda i: i["open"] + i["closed"], {"open": Sel("deal_open"), "closed": Sel("deal_on")}, ""),
        ("pipeline",), ("status",),
    ),
    _figure(
        "win_rate", "deals", "ratio", "won/(won + lost), of deals closed in the period",
        _won_of("deal_on"), ("pipeline",),
    ),
    _figure(
        "win_rate_by_value", "deals", "ratio", "amount won/(amount won + lost), of deals closed in the period",
        _won_of("deal_amount_on"), ("pipeline",), ("currency",),
    ),
    _figure(
        "won_amount", "deals", "minor units", "amounts of deals won in the period",
        _count("deal_amount_on", status="won"), ("pipeline",), ("currency",),
    ),
    _figure(
        "deal_size", "deals", "minor units", "amount won/deals won, of deals won in the period",
        _of(_part("amount", "deals"), _WON), ("pipeline",), ("currency",),
    ),
    _figure(
        "sales_cycle", "deals", "days", "calendar days from opening to winning a deal, of deals won in the period",
        _days("cycle_on"), ("pipeline",), ("stat",),
    ),
    _figure(
        "lead_cycle", "deals", "days",
        "calendar days from a lead's creation to its first win that stands; negative where it was won before",
        _days("won_on"), _LEAD, ("stat",),
    ),
    _figure(
        "lead_win_rate", "deals", "ratio",
        "won/(won + lost), of leads' links to deals closed in the period: a deal of two leads counts twice",
        _won_of("link_on"), _LEAD,
    ),
    _figure(
        "lead_won_amount", "deals", "minor units", "leads' shares of the amounts won in the period",
        _count("link_amount_on", status="won"), _LEAD, ("currency",),
    ),
    _figure(
        "deals_without_lead", "deals", "deals", "deals that no lead is linked to",
        _count("deal_without_lead"), (), ("status",),
    ),
    _figure("check_stages", "checks", "entries", "|entered - left - balance|, always 0", _check_stages),
    _figure(
        "check_handoffs", "checks", "handoffs", "|handoffs - terminal - open| of each lead, always 0",
        _count("stranded"),
    ),
)  # fmt: skip

#: All labels that some figure may be split by.
LABELS: tuple[str, ...] = tuple(sorted({label for f in FIGURES for label in (*f.labels, *f.always)}))
