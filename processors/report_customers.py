"""The figures of customers: who they are, how they start, renew, grow and leave, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

from processors.accounts import RENEWAL_STATES, Retention, renewal_rate, retention
from processors.figure_kit import Figure, Line, Make, count, days, figure, made_of
from processors.period import Period
from processors.surveys import ANSWERS, NPS, answer, mean, net_promoter
from processors.totals import Labels, Number, Sel, Totals

#: Without a period retention looks at so many days.
_TRAILING_DAYS = 365
_GREW = ("upsell", "cross_sell")
_DUE = {state: Sel("renewal_on", {"renewal": state}) for state in RENEWAL_STATES}
_DUE_AMOUNT = {state: Sel("renewal_amount_on", {"renewal": state}) for state in RENEWAL_STATES}

#: The inputs of retention.
_RETAINED = ("start", "lost", "less", "more")


def _retained(which: Callable[[Retention], Fraction | None]) -> Make:
    def make(t: Totals, by: Labels) -> Iterator[Line]:
        today = t.d.days.day(t.as_of_ms)
        period = t.period or Period(today - _TRAILING_DAYS + 1, today)
        found: dict[Labels, dict[tuple[str, int, int, int], int]] = {}
        for (*key, kind, since, came, day), n in t.sums(
            Sel("recurring_on"), by, "", ("kind", "since", "came", "day")
        ).items():
            found.setdefault(tuple(key), {})[kind, since, came, day] = n
        for group, recurring in found.items():
            r = retention(recurring, period.first, period.last)
            yield group, which(r), {"start": r.start, "lost": r.lost, "less": r.less, "more": r.more}, ""

    return make


def _by_then(make: Make) -> Make:
    """Only of what has fallen due: who renewed or left before it did counts from that day on."""
    return lambda t, by: make(t.within(Period(t.period.first if t.period else 0, t.last)), by)


def scores(name: str, of: str, value: Callable[[dict[int, int]], Number], **where: str) -> Make:
    """A figure made of scores.

    :param of: the label that holds the score; what has none is left out.
    :param value: of score -> how many.
    """

    def make(t: Totals, by: Labels) -> Iterator[Line]:
        groups: dict[Labels, dict[int, int]] = {key: {} for key in t.expected(by)}
        for (*key, score), n in t.sums(Sel(name, where), by, numbers=(of,)).items():
            if type(score) is int:
                groups.setdefault(tuple(key), {})[score] = n
        for group, found in groups.items():
            yield group, value(found), {"answers": sum(found.values())}, ""

    return make


def nps(found: dict[int, int]) -> Fraction | None:
    """Net promoter score of score -> how many."""
    sizes = dict.fromkeys(ANSWERS, 0)
    for score, n in found.items():
        sizes[answer(score)] += n
    return net_promoter(*(sizes[x] for x in ANSWERS))


FIGURES: tuple[Figure, ...] = (
    figure(
        "customers", "customers", "accounts", "accounts that are or were customers, by where they stand now",
        count("customer"), (), ("customer_status",),
    ),
    figure(
        "new_customers", "customers", "accounts",
        "accounts whose first win that stands was booked in the period; a deal won without an account is one",
        count("new_customer_on"),
    ),
    figure(
        "customers_joined", "customers", "accounts",
        "accounts that became customers in the period: new (a deal won without an account is one), returned after they "
        "had left, or implied by what came later",
        count("joined_on"), (), ("kind",),
    ),
    figure(
        "customers_churned", "customers", "accounts", "customers that left in the period, by reason",
        count("churned_on"), (), ("reason",),
    ),
    figure(
        "takeover_time", "customers", "days",
        "calendar days from a deal won to delivery taking the customer over, of those taken over in the period",
        days("takeover_on"), (), ("stat",),
    ),
    figure(
        "onboarding_time", "customers", "days",
        "calendar days from the start to the end of onboarding, of those completed in the period",
        days("onboarding_on"), (), ("stat",),
    ),
    figure("onboardings_open", "customers", "onboardings", "begun and not completed", count("onboarding_open")),
    figure(
        "renewals", "customers", "contracts",
        "contracts whose renewal fell due in the period, by what became of it; open: neither renewed nor left",
        _by_then(count("renewal_on")), (), ("renewal",),
    ),
    figure(
        "renewal_rate", "customers", "ratio", "renewed/due, of contracts whose renewal fell due in the period",
        _by_then(made_of(renewal_rate, _DUE)),
    ),
    figure(
        "renewal_rate_by_value", "customers", "ratio",
        "amount renewed/amount due, of contracts whose renewal fell due in the period, at what they were worth before",
        _by_then(made_of(renewal_rate, _DUE_AMOUNT)), (), ("currency",),
        money=tuple(_DUE_AMOUNT),
    ),
    figure(
        "gross_retention", "customers", "ratio",
        "(start - churned - contracted)/start, of what the contracts of those who were customers when the period "
        "began were worth then; what came within it and went again is none of it; "
        f"without a period the last {_TRAILING_DAYS} days",
        _retained(lambda r: r.gross), (), ("currency",),
        money=_RETAINED,
    ),
    figure(
        "net_retention", "customers", "ratio",
        "(start - churned - contracted + expanded)/start, of the same; may pass 100 %",
        _retained(lambda r: r.net), (), ("currency",),
        money=_RETAINED,
    ),
    figure(
        "expansions", "customers", "bookings", "upsells and cross-sells in the period",
        count("bookings_on", kind=_GREW), ("currency",), ("kind",),
    ),
    figure(
        "expansion_amount", "customers", "minor units", "what was sold in addition in the period, by kind",
        count("booked_on", kind=_GREW), (), ("kind", "currency"),
    ),
    figure(
        "contraction_amount", "customers", "minor units", "by how much less customers bought in the period",
        count("booked_on", kind="contracted"), (), ("currency",),
    ),
    figure(
        "feedback", "customers", "answers", "feedback given by customers in the period, with a score or without",
        count("feedback_on"), (), ("kind",),
    ),
    figure(
        "feedback_mean", "customers", "score", "Σ scores/feedback with a score",
        scores("feedback_on", "score", lambda x: mean(x.items())), (), ("kind",), adds=False,
    ),
    figure(
        "customer_nps", "customers", "points",
        "100 × (promoters - detractors)/answers, of customers' feedback of kind nps; promoters gave 9 or 10, "
        "detractors up to 6",
        scores("feedback_on", "score", nps, kind=NPS), adds=False,
    ),
)  # fmt: skip
