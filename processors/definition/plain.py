"""A definition in plain language: what marketing and sales read, argue about, and sign."""

from __future__ import annotations

import re
from collections.abc import Iterable

from processors.calendar import MINUTE, Calendar
from processors.days import iso, zone_days
from processors.definition.calendars import WEEKDAYS
from processors.definition.model import DAY, HOUR, Condition, Definition, Reason, Signature, SlaPolicy
from processors.definition.sections import plain as points

_MODELS = {
    "last": "last touch",
    "first": "first touch",
    "linear": "all touches alike",
    "position": "40 % first, 40 % last, 20 % between",
    "w": "30 % each to first touch, lead created and opportunity opened, 10 % to the rest",
    "time_decay": "later touches more",
    "last_non_direct": "last touch that was not direct",
}
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
#: A list of values longer than this is cut in running text; the end of the document has it in full.
_SHOWN = 8
_LONG_LIST = re.compile(r'one of ((?:the words )?)((?:"[^"]*"|[^",()]+)(?:, (?:"[^"]*"|[^",() ]+))+)')
_ITEM = re.compile(r'"[^"]*"|[^", ]+')


def span(ms: int) -> str:
    """A duration in words: ``1 h 30 min``."""
    if ms == 0:
        return "none"
    parts = []
    for unit, size in (("h", HOUR), ("min", MINUTE), ("s", 1000)):
        count, ms = divmod(ms, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts)


def business(ms: int, calendar: Calendar) -> str:
    """Business time in words, with the working days it amounts to."""
    days, rest = divmod(ms, calendar.business_day_ms)
    as_days = f" ({days} working day{'s' if days != 1 else ''})" if days and not rest else ""
    return f"{span(ms)} of business time{as_days}"


def percent(per_mille: int) -> str:
    """``7.5 %``."""
    whole, part = divmod(per_mille, 10)
    return f"{whole}{f'.{part}' if part else ''} %"


def moment(ms: int, zone: str) -> str:
    """A date and time of day in a zone."""
    days = zone_days(zone)
    minutes = (ms + days.offset(ms)) % DAY // MINUTE
    return f"{iso(days.day(ms))} {minutes // 60:02d}:{minutes % 60:02d} ({zone})"


def words(condition: Condition | None) -> str:
    """A condition as running text, long lists cut."""
    if condition is None:
        return "always"

    def cut(match: re.Match[str]) -> str:
        items = _ITEM.findall(match[2])
        if len(items) <= _SHOWN:
            return match[0]
        return f"one of {match[1]}{', '.join(items[:_SHOWN])} and {len(items) - _SHOWN} more"

    return _LONG_LIST.sub(cut, condition.text)


def event(name: str) -> str:
    """``page viewed``."""
    return name.replace("_", " ").replace("email", "e-mail")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(head), line(("---",) * len(head)), *map(line, rows), ""]


def hours(calendar: Calendar) -> str:
    """``Monday to Friday 09:00-17:00``; days of equal hours are taken together."""
    parts: list[str] = []
    day = 0
    while day < 7:
        last = day
        while last < 6 and calendar.hours[last + 1] == calendar.hours[day]:
            last += 1
        if calendar.hours[day]:
            name = WEEKDAYS[day].title() + (f" to {WEEKDAYS[last].title()}" if last > day else "")
            spans = (f"{a // 60:02d}:{a % 60:02d}-{b // 60:02d}:{b % 60:02d}" for a, b in calendar.hours[day])
            parts.append(f"{name} {' and '.join(spans)}")
        day = last + 1
    return ", ".join(parts)


def _reason_says(d: Definition, reason: Reason) -> str:
    if reason.action == "recycle" and reason.of != "disqualification":
        usual = d.policy.lost_recycle_days if reason.of == "lost" else d.policy.recycle_days
        return f"back to marketing; may qualify again after {reason.after_days or usual} days"
    if reason.action == "archive" and reason.of != "disqualification":
        return "this attempt ends; a new raised hand begins another"
    return "never contacted by sales again"


def _qualified(d: Definition) -> list[str]:
    th = d.thresholds
    lines = [
        "## What a qualified lead is",
        "",
        "A lead is **qualified** and handed to sales if nothing rules it out (below) and either",
        "",
        (
            f"1. it **fits**: at least {points(th.fit_min)} of 100 points of fit, **and is active**: at least "
            f"{points(th.up)} points of engagement; or"
        ),
        f"2. it **raises its hand** (below) and has at least {points(th.fit_min_hand_raise)} points of fit.",
        "",
        "Activity alone never qualifies anybody."
        if th.fit_min > 0
        else "**Note:** no fit is asked for, so activity alone qualifies.",
        "",
    ]
    if th.gates:
        lines += [f"In both cases it must also be known and positive: {', '.join(th.gates)}.", ""]
    lines += [
        f"- From {points(th.engaged_min)} points of engagement a lead counts as engaged.",
        f"- A qualified lead whose engagement fades below {points(th.down)} points, or of which anything else of this "
        "no longer holds, is none any more"
        + (
            "; an unanswered handoff is then withdrawn."
            if d.policy.withdraw_when_unqualified
            else "; a handoff that is open stays open."
        ),
        f"- A raised hand counts for {th.hand_raise_days} days, or until sales has answered.",
        "",
    ]
    return lines


def _counts(d: Definition) -> list[str]:
    lines = ["## What counts", "", "### Fit: who they are", ""]
    lines += _table(("rule", "points", "if"), ((r.name, points(r.points), words(r.when)) for r in d.fit))
    if d.thresholds.grades:
        shown = ", ".join(f"{letter} from {points(low)}" for letter, low in d.thresholds.grades)
        lines += [f"Grades: {shown}.", ""]
    lines += ["### Engagement: what they do", ""]
    rows = []
    for r in d.engagement:
        bounds = [
            "once" if r.once else "",
            f"{points(r.daily_cap)} a day" if r.daily_cap else "",
            f"{points(r.cap)} in all" if r.cap else "",
        ]
        fades = f"by half every {r.half_life_days} days" if r.half_life_days else "not"
        on = event(r.on) if r.when is None else f"{event(r.on)}, if {words(r.when)}"
        rows.append((r.name, points(r.points), on, fades, ", ".join(filter(None, bounds)) or "unbounded"))
    lines += _table(("rule", "points", "for", "fades", "at most"), rows)
    if d.engagement_cap:
        lines += [f"All engagement together is worth at most {points(d.engagement_cap)} points.", ""]
    lines += ["Points fade in whole days. Bots and mail proxies score nothing.", "", "### A raised hand", ""]
    for i in d.intent:
        lines.append(f"- {i.name}: {event(i.on)}" + (f", if {words(i.when)}" if i.when else ""))
    if not d.intent:
        lines.append("- nothing counts as one")
    lines += ["", "### What rules a lead out, as long as it holds", ""]
    lines += [f"- {r.name}: {words(r.when)}" for r in d.disqualifiers] or ["- nothing"]
    if d.segments:
        lines += ["", "### Segments (the first that fits)", ""]
        lines += [f"- {s.name}: {words(s.when)}" for s in d.segments]
    return [*lines, ""]


def _entered_by(d: Definition, role: str) -> str:
    """What brings a lead into the stage of a role."""
    return {
        "anonymous": "a first visit of somebody we do not know",
        "known": "we learn who it is",
        "engaged": f"engagement reaches {points(d.thresholds.engaged_min)} points",
        "mql": "qualified as above, and handed to sales",
        "sal": "sales accepts the handoff",
        "sql": "sales qualifies the lead",
        "opportunity": "a deal is opened with the lead",
        "won": "that deal is won",
    }.get(role, "the CRM reports it")


def _stages(d: Definition) -> list[str]:
    lines = ["## The stages", ""]
    in_order = sorted(d.stages, key=lambda s: s.rank)
    lines += _table(
        ("stage", "phase", "entered when"), ((s.name, s.phase, _entered_by(d, s.role)) for s in in_order)
    )
    reported = "Stages that the CRM reports are noted and move nobody."
    if d.policy.stage_reported == "adopt":
        earlier = "as well" if d.policy.backward == "adopt" else "not; that is noted"
        reported = f"A later stage that the CRM reports is followed, an earlier one {earlier}."
    lines += [
        f"Whoever skips a stage has entered it by implication, which is counted apart. {reported}",
        "",
    ]
    return lines


def _policy_says(d: Definition, policy: SlaPolicy) -> list[str]:
    calendar = d.calendars[policy.calendar]
    lines = [f"**{policy.name}** ({'all other handoffs' if policy.when is None else words(policy.when)})", ""]
    if policy.first_touch:
        lines.append(f"- first contact by a human within {business(policy.first_touch, calendar)}")
    if policy.decision:
        lines.append(f"- accepted, or rejected with a reason, within {business(policy.decision, calendar)}")
    if policy.meeting:
        lines.append(f"- a meeting held within {business(policy.meeting, calendar)}")
    if policy.expire_after:
        lines.append(
            f"- without an answer it expires, visibly, after {business(policy.expire_after, calendar)}"
        )
    late = {"notify": "told to the team", "reassign": "given to somebody else", "none": "only counted"}
    lines.append(
        f"- a late first contact is announced after {span(policy.grace)} and {late[policy.escalate]}"
    )
    lines.append(f"- the clock {'may' if policy.pausable else 'may not'} be paused")
    zone = calendar.time_zone
    lines.append(
        f"- business time: {hours(calendar)} in the owner's time zone ({zone} where that is unknown)"
    )
    coming = sorted(calendar.holidays)
    if coming:
        lines.append(f"- closed on {', '.join(map(iso, coming[:20]))}" + (" and more" if coming[20:] else ""))
    return [*lines, ""]


def _handoff(d: Definition) -> list[str]:
    lines = ["## Who gets it, and by when", ""]
    for n, r in enumerate(d.routing, 1):
        lines.append(f"{n}. {r.name}: team **{r.team}**" + (f", if {words(r.when)}" if r.when else ""))
    lines += [
        (
            f"{'Otherwise: t' if d.routing else 'T'}eam **{d.default_team}**. The owner of the account comes first; "
            "else the lead goes to one of the team's active and present owners, by their weights."
        ),
        "",
    ]
    for policy in d.sla:
        lines += _policy_says(d, policy)
    lines += [
        "- who does not want to be contacted by sales is not handed over; an open handoff is then withdrawn",
        (
            "- after a reassignment the answer of the former owner counts for another "
            f"{span(d.policy.previous_owner_ms)} of business time"
        ),
        (
            f"- more than {d.policy.flood_min} new handoffs for a team within an hour, if that is also more than "
            f"{d.policy.flood_factor} times the usual, are held back until a person lets them out"
        ),
        "",
    ]
    if d.context_asks:
        lines += [f"A complete handoff tells: {', '.join(d.context_asks)}.", ""]
    lines += ["## What an answer does", "", "Sales answers every handoff; a rejection needs a reason.", ""]
    titles = {"rejection": "Rejected", "lost": "Deal lost", "disqualification": "Disqualified"}
    rows = [
        (titles[r.of], r.code, r.label or r.code, _reason_says(d, r))
        for r in sorted(d.reasons.values(), key=lambda r: list(titles).index(r.of))
    ]
    lines += _table(("answer", "code", "meaning", "then"), rows) if rows else []
    lines += [
        (
            "A newly raised hand brings a lead back to sales at once, whatever the answer was, and after an expired "
            "handoff; by its score a lead qualifies again, from the date above on, once its engagement was below "
            f"{points(d.thresholds.up)} points and reaches them again. Who was disqualified comes back only when "
            "somebody reopens the lead."
        ),
        "",
        (
            f"A hand raised within {d.policy.reraise_days} days of a rejection continues the same journey. "
            f"A lead that does nothing for {d.policy.inactive_days} days before it qualifies is closed as inactive."
        ),
        "",
    ]
    return lines


def _measured(d: Definition) -> list[str]:
    lines = ["## How we measure", ""]
    starts = f", fiscal year from {_MONTHS[d.fiscal_year_start - 1]}" if d.fiscal_year_start > 1 else ""
    lines.append(f"- days and months in {d.time_zone}, weeks from {WEEKDAYS[d.week_start].title()}{starts}")
    lines.append(f"- money in {d.base_currency}, gross margin {percent(d.margin_per_mille)}")
    lines.append(f"- conversions within {', '.join(map(str, d.horizons_days))} days")
    lines.append(
        f"- a month is closed {d.closed_after_days} days after its end; what changes it later is restated openly"
    )
    lines.append(
        f"- revenue is credited to touches of the last {d.attribution.look_back_days} days before closing:"
    )
    lines += [f"    - {model}: {_MODELS[model]}" for model in d.attribution.models]
    earn = "earn credit like the touches of marketing" if d.attribution.sales_touches else "earn none of it"
    lines.append(f"- calls and meetings of sales {earn}")
    lines.append(
        f"- a browser that more than {d.policy.max_leads_per_anonymous} people were known on counts for none of them"
    )
    for b in d.budgets:
        lines.append(
            f"- {b.team} spends {percent(b.low_per_mille)} to {percent(b.high_per_mille)} of booked revenue "
            "(trailing 12 months)"
        )
    names = list(dict.fromkeys(c.name for c in d.channels))
    if names:
        lines.append(f"- channels: {', '.join(names)}; {d.default_channel} where none fits")
        lines += ["", "### Channels of visits (the first that fits)", ""]
        lines += [f"- {c.name}: {words(c.when)}" for c in d.channels]
    return [*lines, ""]


def _in_full(d: Definition) -> list[str]:
    """What running text had to cut: nobody signs "and 16 more"."""
    named: tuple[tuple[str, Iterable[tuple[str, Condition | None]]], ...] = (
        ("fit", ((r.name, r.when) for r in d.fit)),
        ("engagement", ((r.name, r.when) for r in d.engagement)),
        ("raised hand", ((r.name, r.when) for r in d.intent)),
        ("ruled out", ((r.name, r.when) for r in d.disqualifiers)),
        ("segment", ((r.name, r.when) for r in d.segments)),
        ("routing", ((r.name, r.when) for r in d.routing)),
        ("deadlines", ((r.name, r.when) for r in d.sla)),
        ("channel", ((r.name, r.when) for r in d.channels)),
    )
    lines = [
        f"- {kind}, {name}: {when.text}"
        for kind, rules in named
        for name, when in rules
        if when is not None and words(when) != when.text
    ]
    return ["## Long lists in full", "", *lines, ""] if lines else []


def plain(definition: Definition) -> str:
    """The definition as markdown for people who have to agree on it."""
    d = definition
    lines = [f"# What we call a qualified lead: {d.name}, version {d.version}", ""]
    if d.effective_at > DAY:
        lines += [f"In force from {moment(d.effective_at, d.time_zone)}.", ""]
    if d.sweep:
        usual = d.calendars[next(p.calendar for p in d.sla if p.when is None)]
        lines += [
            (
                "All leads are looked at anew when it comes into force, not only those with new events, "
                f"spread over {business(d.policy.sweep_over_ms, usual)}."
            ),
            "",
        ]
    lines += _qualified(d) + _counts(d) + _handoff(d) + _stages(d) + _measured(d) + _in_full(d)
    lines += ["## Agreed", ""]
    if d.unsigned:
        lines += ["**Unsigned**: it was published without the approval of the teams.", ""]
    signed = {s.team: s for s in d.signatures}
    rows = ((team, *_signature(signed.get(team), d.time_zone)) for team in d.approvals)
    lines += _table(("team", "name", "date", "signature"), rows)
    return "\n".join(lines).rstrip() + "\n"


def _signature(given: Signature | None, zone: str) -> tuple[str, str, str]:
    """Name, date and signature; empty to be filled in by hand."""
    return ("", "", "") if given is None else (given.by, moment(given.at, zone), "approved")
