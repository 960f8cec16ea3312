"""Figures of revenue, open deals and forecast. In the base currency, at the rate of the day something was booked."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from processors import market, pricing
from processors.attribution import SIGN
from processors.days import first_of_month, iso, month_of_day
from processors.figure_kit import BASE_UNITS, LEAD, Figure, Line, count, figure
from processors.market import Money
from processors.model import DEAL_STATUS
from processors.money import half_even
from processors.period import Period
from processors.pricing import beside, in_base, spot, standing
from processors.totals import Labels, Number, Sel, Totals, statistics

#: Velocity looks back so far.
TRAILING_DAYS = 90
#: Months of which a forecast is held against what came.
MONTHS = 13
_PPM = 1_000_000


def _booked(t: Totals, by: Labels) -> Iterator[Line]:
    kinds = pricing.booked_by_kind(t)
    if by:
        for kind, money in kinds.items():
            yield (kind,), SIGN[kind] * money.minor, beside(money), ""
        return
    whole = pricing.booked(t)
    parts = {kind: money.minor for kind, money in kinds.items() if money.minor}
    yield (), whole.minor, parts | beside(whole), ""


def _unpriced(t: Totals, _by: Labels) -> Iterator[Line]:
    for currency, n in pricing.booked(t).unpriced.items():
        yield (currency,), n, {}, ""


def _bookings(t: Totals, by: Labels) -> Iterator[Line]:
    """Whatever was booked is counted, priced or not."""
    labels = tuple(label for label in by if label != "kind")
    at = by.index("kind") if "kind" in by else -1
    out: dict[Labels, int] = {} if by else {(): 0}
    for (*key,), n in t.sums(Sel("deal_on", {"status": "won"}), labels).items():
        group = (*key[:at], "won", *key[at:]) if at >= 0 else tuple(key)
        out[group] = out.get(group, 0) + n
    for group, n in t.sums(Sel("bookings_on"), by).items():
        out[group] = out.get(group, 0) + n
    for group, n in out.items():
        yield group, n, {}, ""


def _paid(t: Totals) -> tuple[Money, Money]:
    """Paid, and refunded."""
    paid = in_base(t, Sel("paid_on"), ()).get((), Money())
    return paid, in_base(t, Sel("booked_on", {"kind": "refunded"}), ()).get((), Money())


def collected(t: Totals) -> Money:
    """Paid - refunded, of the period."""
    paid, refunded = _paid(t)
    return pricing.plus(((1, paid), (-1, refunded)))


def _collected(t: Totals, _by: Labels) -> Iterator[Line]:
    paid, refunded = _paid(t)
    whole = collected(t)
    yield (), whole.minor, {"paid": paid.minor, "refunded": refunded.minor} | beside(whole), ""


def _win_rate(t: Totals, by: Labels) -> Iterator[Line]:
    won, lost = (in_base(t, Sel("deal_amount_on", {"status": x}), by) for x in ("won", "lost"))
    for key in won.keys() | lost.keys() | (set() if by else {()}):
        w, x = won.get(key, Money()), lost.get(key, Money())
        inputs = {"won": w.minor, "lost": x.minor}
        yield key, market.ratio(w.minor, w.minor + x.minor), inputs | beside(w, x), ""


def _size(t: Totals, by: Labels) -> Iterator[Line]:
    amount = in_base(t, Sel("deal_amount_on", {"status": "won"}), by)
    deals: dict[Labels, int] = {} if by else {(): 0}
    for (*key, currency, day), n in t.sums(
        Sel("deal_on", {"status": "won"}), by, numbers=("currency", "day")
    ).items():
        priced = t.reference.rate(currency, t.base, day) is not None
        deals[tuple(key)] = deals.get(tuple(key), 0) + (n if priced else 0)
    for group, n in deals.items():
        money = amount.get(group, Money())
        inputs = {"amount": money.minor, "deals": n}
        yield group, market.ratio(money.minor, n), inputs | beside(money), ""


def _lead_value(t: Totals, by: Labels) -> Iterator[Line]:
    found = in_base(t, Sel("link_amount_on", {"status": "won"}), by)
    for key in found.keys() | (set() if by else {()}):
        money = found.get(key, Money())
        yield key, money.minor, beside(money), ""


# Open deals ----------------------------------------------------------------------------------------------------------


def _closing(t: Totals) -> tuple[int, Period | None]:
    """The day as of whose end deals are looked at, and when those that count are expected to close."""
    return t.today, t.period


def _pipeline(t: Totals, by: Labels) -> Iterator[Line]:
    day, closing = _closing(t)
    amounts = _grouped(standing(t, "course_amount_on", by, day, closing))
    deals = _grouped(standing(t, "course_on", by, day, closing))
    for key in {key for key in deals.keys() | t.expected(by) if _open(by, key)} | (set() if by else {()}):
        _, money = spot(t, amounts.get(key, {}), day)
        yield key, money.minor, {"deals": sum(deals.get(key, {}).values())} | beside(money), ""


def _open(by: Labels, key: Labels) -> bool:
    """Has the deal not been closed? (Without the label nobody would know: it is always told.)"""
    return key[by.index("status")] in (DEAL_STATUS[0], "on_hold")


def _grouped(found: dict[Labels, int]) -> dict[Labels, dict[Labels, int]]:
    """Under all labels but the currency."""
    out: dict[Labels, dict[Labels, int]] = {}
    for key, n in found.items():
        out.setdefault(key[:-1], {})[key[-1:]] = n
    return out


def _forecast(t: Totals, by: Labels) -> Iterator[Line]:
    for key, mean, _, inputs in _foreseen(t, by):
        yield key, half_even(mean), inputs, ""


def _forecast_sd(t: Totals, by: Labels) -> Iterator[Line]:
    for key, _, variance, inputs in _foreseen(t, by):
        yield key, pricing.root(variance), inputs, ""


def _foreseen(t: Totals, by: Labels) -> Iterator[tuple[Labels, Fraction, Fraction, dict[str, int]]]:
    day, closing = _closing(t)
    names = ("weighted_on", "variance_on", "unweighted_on")
    weighted, variances, unweighted = (_grouped(standing(t, name, by, day, closing)) for name in names)
    for key in weighted.keys() | variances.keys() | unweighted.keys() | (set() if by else {()}):
        mean, money = spot(t, weighted.get(key, {}), day)
        variance, _ = spot(t, variances.get(key, {}), day, 2)
        _, unknown = spot(t, unweighted.get(key, {}), day)
        inputs = {"without probability": unknown.minor}
        if closing is not None:
            undated = _grouped(standing(t, "weighted_on", by, day, Period(0, 0))).get(key, {})
            inputs["without close date"] = half_even(spot(t, undated, day)[0] / _PPM)
        bare = {name: half_even(Fraction(n, _PPM)) for name, n in beside(money).items()}
        yield key, mean / _PPM, variance / _PPM**2, inputs | bare


def _accuracy(t: Totals, by: Labels) -> Iterator[Line]:
    """Of a period as people ask for it, else of each of the last months that have ended."""
    spans = [t.period] if t.period is not None else []
    if t.period is None:
        this = month_of_day(t.today)
        spans = [Period(first_of_month(m), first_of_month(m + 1) - 1) for m in range(this - MONTHS, this)]
    steps = {
        name: [
            (currency, closes, day, n)
            for (currency, closes, day), n in t.within(None).sums(sel, (), "", ("currency", "closes", "day")).items()
        ]
        for name, sel in (
            ("won", Sel("course_amount_on", {"status": "won"})), ("open", Sel("weighted_on")),
        )
    }  # fmt: skip
    for span in spans:
        if span.last >= t.today:
            continue
        came = in_base(t.within(span), Sel("deal_amount_on", {"status": "won"}), ()).get((), Money())
        for n in t.d.source.horizons_days:
            day = span.last - n
            won, weighted_ = (_stood(steps[name], day, span) for name in ("won", "open"))
            # what was won is priced as it was booked
            sure = market.priced(((*key, n) for key, n in won.items()), t.reference, t.base)
            by_currency: dict[tuple[str], int] = {}
            for (currency, _), ppm in weighted_.items():
                by_currency[currency,] = by_currency.get((currency,), 0) + ppm
            open_, bare = spot(t, by_currency, day)
            foreseen = half_even(sure.minor + open_ / _PPM)
            if not (foreseen or came.minor or t.period):
                continue
            inputs = {"foreseen": foreseen, "won by then": sure.minor, "came": came.minor}
            values = {"term": _term(span), "days_ahead": str(n)}
            weighted = Money(0, {x: half_even(Fraction(ppm, _PPM)) for x, ppm in bare.unpriced.items()})
            unpriced = beside(came, sure, weighted)
            yield (
                tuple(values[label] for label in by), market.forecast_accuracy(foreseen, came.minor),
                inputs | unpriced, "",
            )  # fmt: skip


def _stood(steps: list[tuple[str, int, int, int]], day: int, span: Period) -> dict[tuple[str, int], int]:
    """By currency and closing day: what steps came to when a day ended, of deals that close within the span."""
    out: dict[tuple[str, int], int] = {}
    for currency, closes, at, n in steps:
        if at <= day and span.first <= closes <= span.last:
            out[currency, closes] = out.get((currency, closes), 0) + n
    return out


def _term(span: Period) -> str:
    month = month_of_day(span.first)
    whole = span == Period(first_of_month(month), first_of_month(month + 1) - 1)
    return iso(span.first)[:7] if whole else str(span)


def _velocity(t: Totals, by: Labels) -> Iterator[Line]:
    trailing = t.within(Period(t.last - TRAILING_DAYS + 1, t.last))
    qualified: dict[Labels, int] = {}
    for key, n in standing(t, "course_on", ("status", *by), t.last, None).items():
        if key[0] == "open":
            qualified[key[1:-1]] = qualified.get(key[1:-1], 0) + n
    closed = trailing.sums(Sel("deal_on"), ("status", *by))
    sizes = {key: (value, inputs) for key, value, inputs, _ in _size(trailing, by)}
    cycles: dict[Labels, list[tuple[int, int]]] = {}
    for (*group, days), n in trailing.sums(Sel("cycle_on"), by, numbers=("days",)).items():
        cycles.setdefault(tuple(group), []).append((days, n))
    for key in qualified.keys() | {key[1:] for key in closed} | (set() if by else {()}):
        won, lost = closed.get(("won", *key), 0), closed.get(("lost", *key), 0)
        average, priced = sizes.get(key, (None, {}))
        cycle = statistics(cycles.get(key, ()))
        value = market.velocity(
            qualified.get(key, 0), market.ratio(won, won + lost), _fraction(average), cycle["mean"]
        )
        inputs = {
            "open": qualified.get(key, 0),
            "won": won,
            "lost": lost,
            "won_amount": priced.get("amount", 0),
        }
        inputs["cycle_days"] = int(cycle["sum"] or 0)
        yield key, value, inputs | {x: n for x, n in priced.items() if x.startswith("unpriced")}, ""


def _fraction(value: Number) -> Fraction | None:
    return None if value is None else Fraction(value)


# Checks --------------------------------------------------------------------------------------------------------------


def _check_credit(t: Totals, _by: Labels) -> Iterator[Line]:
    """By model, kind, currency and day, so that nothing makes up for anything else; and once more in base currency."""
    t = t.within(None)
    wanted = {
        ("won", *key): n
        for key, n in t.sums(
            Sel("deal_amount_on", {"status": "won"}), ("currency",), numbers=("day",)
        ).items()
    }
    booked = t.sums(Sel("booked_on"), ("kind", "currency"), numbers=("day",))
    for (kind, *rest), n in booked.items():
        wanted[kind, *rest] = wanted.get((kind, *rest), 0) + SIGN[kind] * n
    credit = t.sums(Sel("attributed_on"), ("model", "kind", "currency"), numbers=("day",))
    minor, _ = pricing.attributed(t)
    whole = pricing.booked(t).minor
    models = {*t.d.source.attribution.models, *(key[0] for key in credit)}
    wrong = 0
    for model in models:
        own = {key[1:]: n for key, n in credit.items() if key[0] == model}
        wrong += sum(abs(own.get(key, 0) - wanted.get(key, 0)) for key in own.keys() | wanted.keys())
        wrong += abs(sum(n for key, n in minor.items() if key[0] == model) - whole)
    yield (), wrong, {"models": len(models)}, ""


# The figures ---------------------------------------------------------------------------------------------------------

FIGURES: tuple[Figure, ...] = (
    figure(
        "booked_revenue", "revenue", BASE_UNITS,
        "won amounts at their closing + renewed + expanded - contracted - refunded, at the rate of that very day; "
        "what has none is counted and not priced, it is told beside",
        _booked, ("kind",),
        money=("won", "renewed", "expanded", "contracted", "refunded"),
    ),
    figure(
        "booked_unpriced", "revenue", "minor units", "booked revenue that no rate of its day puts a price on",
        _unpriced, (), ("currency",),
    ),
    figure(
        "bookings", "revenue", "bookings", "wins, renewals, expansions, contractions and refunds, priced or not",
        _bookings, ("kind", "currency"),
    ),
    figure(
        "collected", "revenue", BASE_UNITS, "paid - refunded, at the rates of those days", _collected,
        money=("paid", "refunded"),
    ),
    figure(
        "deals_won", "revenue", "deals", "deals that stand won, closed in the period",
        count("deal_on", status="won"), ("pipeline",),
    ),
    figure(
        "win_rate_by_value_in_base", "revenue", "ratio",
        "amount won/(amount won + lost), of deals closed in the period, at the rates of those days",
        _win_rate, ("pipeline",),
        money=("won", "lost"),
    ),
    figure(
        "deal_size_in_base", "revenue", BASE_UNITS,
        "amount won/deals won, of deals won in the period that a rate of that day puts a price on",
        _size, ("pipeline",), adds=False,
        money=("amount",),
    ),
    figure(
        "lead_won_value", "revenue", BASE_UNITS,
        "leads' shares of the amounts won in the period; team and owner are those of the handoff that sales accepted",
        _lead_value, (*LEAD, "team", "owner"),
    ),
    figure(
        "pipeline_value", "forecast", BASE_UNITS,
        "amounts of the deals that are open or on hold, at the newest rate of the last 7 days; with a period those "
        "that are expected to close in it",
        _pipeline, ("pipeline",), ("status",),
    ),
    figure(
        "forecast", "forecast", BASE_UNITS,
        "E = sum of amount x probability of the open deals; with a period of those expected to close in it",
        _forecast, ("pipeline",), adds=False,
        money=("without probability", "without close date"),
    ),
    figure(
        "forecast_sd", "forecast", BASE_UNITS,
        "square root of the sum of amount^2 x p x (1 - p) of the open deals: what E is uncertain by",
        _forecast_sd, ("pipeline",), adds=False,
        money=("without probability", "without close date"),
    ),
    figure(
        "forecast_accuracy", "forecast", "ratio",
        "1 - |foreseen - came|/came, of months that have ended (or of the period), so many days before their end: "
        "foreseen = won by then + amount x probability of the deals then open and expected to close in it",
        _accuracy, (), ("term", "days_ahead"),
        money=("foreseen", "won by then", "came"),
    ),
    figure(
        "velocity", "forecast", BASE_UNITS,
        "per day: open deals x win rate x average won/mean cycle days, over the 90 days up to the end of the period",
        _velocity, ("pipeline",), adds=False,
        money=("won_amount",),
    ),
)  # fmt: skip

CHECKS: tuple[Figure, ...] = (
    figure(
        "check_credit", "checks", "minor units",
        "|credit - booked revenue| of every model, kind, currency and day, and in the base currency; 0 whenever the "
        "inbox is drained",
        _check_credit,
    ),
)  # fmt: skip
