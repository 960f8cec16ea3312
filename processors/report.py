"""From totals to the figures that people read: each defined once, by name, unit, formula and labels.

Exact to the end: integers and fractions, no float. A denominator of 0 gives None, never 0. A period takes what
happened on its days; the handoff figures take the handoffs whose clocks started in it, cohorts those of its months.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from processors import (
    report_customers,
    report_engagement,
    report_funnel,
    report_market,
    report_money,
    report_plans,
    report_quality,
    report_sales,
)
from processors.additive import Contribution
from processors.compiled import Compiled
from processors.figure_kit import BASE_UNITS, MINOR_UNITS, PER_MILLE, PER_MILLION, Figure, Line, Value
from processors.market import NOTHING, Market
from processors.period import Period
from processors.pricing import UNPRICED
from processors.reference import EMPTY as NO_REFERENCE
from processors.reference import Reference
from processors.totals import Labels, Totals

__all__ = ["FIGURES", "LABELS", "Figure", "Value", "report"]

#: The figures that targets may name.
_MEASURED: tuple[Figure, ...] = (
    *report_funnel.FIGURES,
    *report_sales.FIGURES,
    *report_customers.FIGURES,
    *report_engagement.FIGURES,
    *report_quality.FIGURES,
    *report_money.FIGURES,
    *report_market.FIGURES,
)
#: Every figure, in the order of reports; the checks come last.
FIGURES: tuple[Figure, ...] = (
    *_MEASURED,
    *report_plans.figures(_MEASURED),
    *report_funnel.CHECKS,
    *report_money.CHECKS,
)

_BY_NAME = {figure.name: figure for figure in _MEASURED}

#: All labels that some figure may be split by.
LABELS: tuple[str, ...] = tuple(sorted({label for f in FIGURES for label in (*f.labels, *f.always)}))


def report(
    totals: Contribution,
    definition: Compiled,
    as_of_ms: int,
    *,
    by: Sequence[str] = (),
    period: Period | None = None,
    only: Iterable[str] = (),
    names: Mapping[int, str] | None = None,
    market: Market = NOTHING,
    reference: Reference = NO_REFERENCE,
) -> list[Value]:
    """The figures of some totals (of fine contributions), in the order of `FIGURES`.

    :param by: split by these labels; figures that cannot carry all of them are left out.
    :param only: names of figures; none: all of them.
    :param names: stage codes to names (`columns.stage_names`), where older definitions knew more of them.
    :param market: what was spent, planned and aimed at; it is cut at the instant.
    :param reference: rates and names of campaigns, as they are known now.
    """
    t = Totals(totals, definition, as_of_ms, period, names, market, reference)
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
                    unit=figure.unit.replace(BASE_UNITS, f"{MINOR_UNITS} {t.base}"),
                    inputs=inputs,
                    units=_units(figure, dict(zip(labels, values, strict=True)), inputs, t.base),
                    note=note,
                )
            )
    return found


def _units(figure: Figure, labels: Mapping[str, str], inputs: Iterable[str], base: str) -> dict[str, str]:
    """The units of inputs that are no counts. A target is told in the unit of its figure."""
    money = f"{MINOR_UNITS} {labels.get('currency', base)}"
    known = dict.fromkeys(figure.money, money)
    if "figure" in labels:
        aimed = _BY_NAME.get(report_plans.ALIASES.get(labels["figure"], labels["figure"]))
        if aimed is None or not aimed.unit.startswith(MINOR_UNITS):
            known = dict.fromkeys(known, PER_MILLION) if aimed is not None and aimed.unit == "ratio" else {}
    out = {}
    for name in inputs:
        if name in known:
            out[name] = known[name]
        elif name.startswith(UNPRICED):
            out[name] = f"{MINOR_UNITS} {name.removeprefix(UNPRICED)}"
        elif name.endswith("per_mille"):
            out[name] = PER_MILLE
    return out


def _in_order(t: Totals, labels: Labels, rows: Iterable[Line]) -> list[Line]:
    return sorted(rows, key=lambda row: t.place(labels, row[0]))
