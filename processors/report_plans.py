"""Figures of what was planned: budgets and targets against what came, both teams on one page.

Without a period the plans are shown that are under way; with one, those that touch it, each over its own days.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from processors import market, pricing
from processors.additive import EMPTY
from processors.days import months_before
from processors.figure_kit import Figure, Line, figure
from processors.market import Money, Pace, Plan, Target
from processors.period import Period
from processors.pricing import beside
from processors.totals import Labels, Totals

#: What people call a figure in a target, beside its name.
ALIASES = {
    "lead": "leads", "mql": "mqls", "sql": "sqls", "won": "deals_won", "revenue": "booked_revenue", "cpl": "cost_per_lead",
}  # fmt: skip
#: Figures of one value that do not grow by the day, beside shares, means and durations (`Figure.adds`).
_LEVEL_FIGURES = frozenset(("cac", "arpa", "clv", "clv_realised", "onboardings_open", "crowded_browsers"))
_PPM = 1_000_000
#: The inputs of a target.
_PACE = ("actual", "target", "expected", "projected")
_MONTHS = 12


def _share(t: Totals, _by: Labels) -> Iterator[Line]:
    window = Period(months_before(t.last, _MONTHS), t.last)
    booked = pricing.booked(t.within(window))
    for corridor in t.d.source.budgets:
        spend = pricing.spent_by(t.within(window), corridor.team)
        share, verdict = market.budget_share(spend.minor, booked.minor, corridor)
        low, high = (f"{n / 10:g}" for n in (corridor.low_per_mille, corridor.high_per_mille))
        inputs = {"spend": spend.minor, "booked": booked.minor} | beside(spend, booked)
        yield (corridor.team,), share, inputs, f"{verdict} {low}-{high} %" if verdict else ""


def _shown(t: Totals, first: int, last: int) -> bool:
    since, until = (t.period.first, t.period.last) if t.period is not None else (t.today, t.today)
    return first <= until and last >= since


def _use(t: Totals, by: Labels) -> Iterator[Line]:
    for plan in t.market.budgets:
        if not _shown(t, plan.first, plan.last):
            continue
        whole = t.reference.convert(plan.amount, plan.currency, plan.first, t.base)
        spend = _spent(t, plan)
        values = {
            "team": plan.team,
            "channel": plan.channel or EMPTY,
            "term": str(Period(plan.first, plan.last)),
        }
        inputs = {"spend": spend.minor} | ({"budget": whole} if whole is not None else {}) | beside(spend)
        value = None if whole is None else market.budget_use(spend.minor, whole)
        note = "" if whole is not None else f"no rate of {plan.currency} on its first day"
        yield tuple(values[label] for label in by), value, inputs, note


def _spent(t: Totals, plan: Plan) -> Money:
    where = {"team": plan.team} | ({"channel": plan.channel} if plan.channel else {})
    return pricing.spent(t.within(Period(plan.first, plan.last)), (), **where).get((), Money())


class Targets:
    """Attainment and pace of the targets that name one of these figures."""

    def __init__(self, known: Sequence[Figure]) -> None:
        self._known = {f.name: f for f in known}

    def attainment(self, t: Totals, by: Labels) -> Iterator[Line]:
        for target, found, note in self._found(t):
            yield _labels(target, by), found.attainment if found else None, _inputs(target, found), note

    def pace(self, t: Totals, by: Labels) -> Iterator[Line]:
        for target, found, note in self._found(t):
            yield _labels(target, by), found.pace if found else None, _inputs(target, found), note

    def _found(self, t: Totals) -> Iterator[tuple[Target, Pace | None, str]]:
        for target in t.market.targets:
            if _shown(t, target.first, target.last):
                yield target, *self._pace(t, target)

    def _pace(self, t: Totals, target: Target) -> tuple[Pace | None, str]:
        f = self._known.get(ALIASES.get(target.figure, target.figure))
        if f is None:
            return None, "there is no such figure"
        if f.always:
            return None, f"it is told by {', '.join(f.always)}; name a figure of one value"
        own = {"owner": target.owner, "team": target.team}
        by = tuple(label for label, value in own.items() if value and label in f.labels)
        if target.owner and not by:
            return None, "it is not told by owner"
        wanted = tuple(own[label] for label in by)
        lines = {key: value for key, value, _, _ in f.make(t.within(Period(target.first, target.last)), by)}
        level = not f.adds or f.name in _LEVEL_FIGURES
        as_spent = tuple(label.casefold() for label in wanted)  # as the market writes its teams
        actual = lines.get(wanted, lines.get(as_spent, None if level else 0))
        if actual is None:
            return None, ""
        actual = Fraction(actual) * _PPM if f.unit == "ratio" else actual
        return market.pace(target, actual, t.today, cumulative=not level), ""


def _labels(target: Target, by: Labels) -> Labels:
    values = {
        "team": target.team or EMPTY,
        "owner": target.owner or EMPTY,
        "figure": target.figure,
        "term": str(Period(target.first, target.last)),
    }
    return tuple(values[label] for label in by)


def _inputs(target: Target, found: Pace | None) -> dict[str, int]:
    if found is None:
        return {"target": target.value}
    inputs = {"actual": round(found.actual), "target": target.value, "expected": round(found.expected)}
    return inputs | ({"projected": round(found.projected)} if found.projected is not None else {})


def figures(known: Sequence[Figure]) -> tuple[Figure, ...]:
    """:param known: the figures that targets may name."""
    targets = Targets(known)
    terms = ("team", "owner", "figure", "term")
    return (
        figure(
            "budget_share", "plans", "ratio",
            "spend of a team/booked revenue, both of the 12 months up to the end of the period; the note says whether "
            "it lies within the corridor of the definition",
            _share, (), ("team",),
            money=("spend", "booked"),
        ),
        figure(
            "budget_use", "plans", "ratio", "spend/budget of a team, or of a team on a channel, in the budget's term",
            _use, (), ("team", "channel", "term"),
            money=("spend", "budget"),
        ),
        figure(
            "target_attainment", "plans", "ratio", "actual/target of a team or owner, in the target's term",
            targets.attainment, (), terms,
            money=_PACE,
        ),
        figure(
            "target_pace", "plans", "ratio",
            "actual/(target x days passed/days of its term): 1 is on course; a level, such as a rate, is expected whole",
            targets.pace, (), terms,
            money=_PACE,
        ),
    )  # fmt: skip
