"""The figures of the funnel: entries, conversions, handoffs, deals, and what must always be 0."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from processors.bins import bin_seconds, quantile
from processors.columns import CLOCK_STATES, COLUMNS, EVER, HANDOFF_STATES, pairs
from processors.days import first_of_month, iso, month_of_day
from processors.figure_kit import (
    CALL,
    LEAD,
    Figure,
    Line,
    count,
    days,
    entries_of,
    figure,
    made_of,
    part,
    won_of,
)
from processors.period import Period
from processors.totals import SPEEDS, Labels, Sel, Totals


def _speed(t: Totals, by: Labels) -> Iterator[Line]:
    """Who was not touched is above every bin: censored, not left out."""
    labels = by[2:]
    waiting = t.sums(Sel("untouched_on"), labels)
    touched: dict[Labels, list[tuple[int, int]]] = {}
    for (time, *key, n), many in t.sums(Sel("speed_on"), ("time", *labels), numbers=("bin",)).items():
        touched.setdefault((time, *key), []).append((n, many))
    groups = {key[1:] for key in touched} | waiting.keys() | (set() if labels else {()})
    for time, group in product(t.known["time"], groups):
        bins = touched.get((time, *group), [])
        inputs = {"touched": sum(n for _, n in bins), "untouched": waiting.get(group, 0)}
        for stat, (num, den) in SPEEDS.items():
            found = quantile(bins, num, den, inputs["untouched"])
            note = "among the untouched" if found is None and any(inputs.values()) else ""
            yield (time, stat, *group), None if found is None else bin_seconds(found), inputs, note


def _cohorts(t: Totals, by: Labels) -> Iterator[Line]:
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
        yield group, part("converted", "entered")(inputs), inputs, note


_COHORT = ("entered", "converted", "maturing", "converted_so_far")


def _in(period: Period | None, month: int) -> bool:
    return period is None or month_of_day(period.first) <= month <= month_of_day(period.last)


def _period_conversions(t: Totals, by: Labels) -> Iterator[Line]:
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
            yield (*names, *group), part("entered_to", "entered_from")(inputs), inputs, ""


def _won_within(t: Totals, by: Labels, day: str) -> dict[Labels, int]:
    """Leads with a win within each horizon of their creation."""
    out: dict[Labels, int] = dict.fromkeys(t.expected(by), 0)
    for (*key, after), n in t.sums(Sel("won_on"), by[1:], day, ("days",)).items():
        for h in t.horizons:
            if h == EVER or after <= h:
                group = (t.word("horizon", h), *key)
                out[group] = out.get(group, 0) + n
    return out


def _leads_won(t: Totals, by: Labels) -> Iterator[Line]:
    for group, n in _won_within(t, by, "day").items():
        yield group, n, {}, ""


def _leads_won_share(t: Totals, by: Labels) -> Iterator[Line]:
    won = _won_within(t, by, "born")
    leads = t.sums(Sel("leads_on"), by[1:])
    for h, group in product(t.known["horizon"], leads.keys() | (set() if by[1:] else {()})):
        inputs = {"won": won.get((h, *group), 0), "leads": leads.get(group, 0)}
        yield (h, *group), part("won", "leads")(inputs), inputs, ""


def _check_stages(t: Totals, _by: Labels) -> Iterator[Line]:
    by = COLUMNS["entered"]
    entered, left, stay = (t.sums(Sel(name), by) for name in ("entered", "left", "balance"))
    keys = entered.keys() | left.keys() | stay.keys()
    wrong = sum(abs(entered.get(k, 0) - left.get(k, 0) - stay.get(k, 0)) for k in keys)
    names = ("entered", "left", "balance")
    yield (), wrong, dict(zip(names, map(sum, (x.values() for x in (entered, left, stay))), strict=True)), ""


# The figures ---------------------------------------------------------------------------------------------------------

_HANDED = {outcome: Sel("handoff_on", {"outcome": outcome}) for outcome in HANDOFF_STATES}
_DECIDED = {outcome: _HANDED[outcome] for outcome in ("accepted", "rejected")}
_SLA = {state: Sel("sla_on", {"state": state}) for state in CLOCK_STATES}
_WON = {"amount": Sel("deal_amount_on", {"status": "won"}), "deals": Sel("deal_on", {"status": "won"})}


FIGURES: tuple[Figure, ...] = (
    figure(
        "leads", "funnel", "leads", "persons whose first entry to known, implied or not, lies in the period",
        count("leads_on"), ("series", *LEAD),
    ),
    figure(
        "entered", "funnel", "entries", "entries of a stage or an exit, each counted",
        count("entered_on"), ("series", *LEAD), ("stage",),
    ),
    figure(
        "left", "funnel", "entries", "entries that were left for another stage or an exit",
        count("left_on"), ("series", *LEAD), ("stage",),
    ),
    figure(
        "balance", "funnel", "journeys", "entered - left, up to the end of the period",
        made_of(lambda i: i["entered"] - i["left"], {"entered": Sel("entered_on"), "left": Sel("left_on")}, "until"),
        ("series", *LEAD), ("stage",),
    ),
    figure(
        "mqls", "funnel", "entries", "real entries to mql in a first journey generated by marketing",
        entries_of("mql", series="marketing"), LEAD,
    ),
    figure(
        "mqls_by_series", "funnel", "entries",
        "entries to mql: real ones by who generated the journey; recycled, implied and imported ones apart",
        entries_of("mql"), LEAD, ("series",),
    ),
    figure("sqls", "funnel", "entries", "entries to sql", entries_of("sql"), ("series", *LEAD)),
    figure(
        "time_in_stage", "funnel", "days",
        "calendar days from entering a stage to leaving it, of real entries left in the period",
        days("stay_on"), LEAD, ("stage", "stat"),
    ),
    figure(
        "crowded_browsers", "funnel", "browsers",
        "anonymous ids that more people were identified on than the definition allows: linked to none of them",
        count("crowded"),
    ),
    figure(
        "cohort_conversion", "conversion", "ratio",
        "share of those who entered A in a month (implied entries count) that reached B within so many days; "
        "only of months whose last day lies that far back",
        _cohorts, ("cohort", *LEAD), ("from", "to", "horizon"),
    ),
    figure(
        "period_conversion", "conversion", "ratio", "entries(B)/entries(A) in the period; may pass 100 %",
        _period_conversions, ("series", *LEAD), ("from", "to"),
    ),
    figure(
        "leads_won", "conversion", "leads",
        "leads won in the period whose first win that stands came within so many days of their creation",
        _leads_won, LEAD, ("horizon",),
    ),
    figure(
        "leads_won_share", "conversion", "ratio", "leads won/leads, both of the leads that are new in the period",
        _leads_won_share, LEAD, ("horizon",),
    ),
    figure(
        "handoffs", "handoff", "handoffs",
        "handoffs by outcome; imported_open: from back-fill, and history does not hold the answer",
        count("handoff_on"), (*CALL, "reason"), ("outcome",),
    ),
    figure(
        "acceptance_decided", "handoff", "ratio", "accepted/(accepted + rejected)",
        made_of(part("accepted", "accepted", "rejected"), _DECIDED), CALL,
    ),
    figure(
        "acceptance_all", "handoff", "ratio", "accepted/handed off; imported_open is beside it",
        made_of(part("accepted", *HANDOFF_STATES[:-1]), _HANDED), CALL,
    ),
    figure(
        "rejections", "handoff", "handoffs", "rejected handoffs by reason",
        count("handoff_on", outcome="rejected"), CALL, ("reason",),
    ),
    figure(
        "rejection_rate", "handoff", "ratio", "rejected/(accepted + rejected)",
        made_of(part("rejected", "accepted", "rejected"), _DECIDED), CALL,
    ),
    figure(
        "returned", "handoff", "handoffs", "accepted, and given back later",
        count("handoff_on", returned="yes"), (*CALL, "reason"),
    ),
    figure(
        "sla_compliance", "handoff", "ratio",
        "met/(met + breached); clocks still open, or dropped with their handoff, are beside",
        made_of(part("met", "met", "breached"), _SLA), CALL, ("clock",),
    ),
    figure(
        "speed_to_lead", "handoff", "s",
        "first human touch - start of the clocks; the untouched count as slower than all, those withdrawn do not count",
        _speed, CALL, ("time", "stat"),
    ),
    figure(
        "deals", "deals", "deals", "deals as they are now, by status",
        made_of(lambda i: i["open"] + i["closed"], {"open": Sel("deal_open"), "closed": Sel("deal_on")}, ""),
        ("pipeline",), ("status",),
    ),
    figure(
        "win_rate", "deals", "ratio", "won/(won + lost), of deals closed in the period",
        won_of("deal_on"), ("pipeline",),
    ),
    figure(
        "win_rate_by_value", "deals", "ratio", "amount won/(amount won + lost), of deals closed in the period",
        won_of("deal_amount_on"), ("pipeline",), ("currency",),
        money=("won", "lost"),
    ),
    figure(
        "won_amount", "deals", "minor units", "amounts of deals won in the period",
        count("deal_amount_on", status="won"), ("pipeline",), ("currency",),
    ),
    figure(
        "deal_size", "deals", "minor units", "amount won/deals won, of deals won in the period",
        made_of(part("amount", "deals"), _WON), ("pipeline",), ("currency",), adds=False,
        money=("amount",),
    ),
    figure(
        "sales_cycle", "deals", "days", "calendar days from opening to winning a deal, of deals won in the period",
        days("cycle_on"), ("pipeline",), ("stat",),
    ),
    figure(
        "lead_cycle", "deals", "days",
        "calendar days from a lead's creation to its first win that stands; negative where it was won before",
        days("won_on"), LEAD, ("stat",),
    ),
    figure(
        "lead_win_rate", "deals", "ratio",
        "won/(won + lost), of leads' links to deals closed in the period: a deal of two leads counts twice",
        won_of("link_on"), LEAD,
    ),
    figure(
        "lead_won_amount", "deals", "minor units", "leads' shares of the amounts won in the period",
        count("link_amount_on", status="won"), LEAD, ("currency",),
    ),
    figure(
        "deals_without_lead", "deals", "deals", "deals that no lead is linked to",
        count("deal_without_lead"), (), ("status",),
    ),
)  # fmt: skip

#: What must always be 0.
CHECKS: tuple[Figure, ...] = (
    figure("check_stages", "checks", "entries", "|entered - left - balance|, always 0", _check_stages),
    figure(
        "check_handoffs", "checks", "handoffs", "|handoffs - terminal - open| of each lead, always 0",
        count("stranded"),
    ),
    figure(
        "check_scores", "checks", "milli-points",
        "|score - sum of its ledger rows| by lead and rule, beyond rounding, of one lead in 64; always 0",
        count("unexplained"),
    ),
    figure(
        "check_aliases", "checks", "messages",
        "|facts sent to the leads that others became - facts they have|; 0 whenever the inbox is drained",
        made_of(lambda i: abs(i["drift"]), {"drift": Sel("alias_drift")}),
    ),
)  # fmt: skip
