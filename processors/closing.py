"""Numbers that are final: which counts they are made of, and what of them a row has.

A month is closed so many days after its end (`Definition.closed_after_days`), a cohort is matured once its horizon has
passed for the last day of its month. Every count that has a day (`columns.COLUMNS`) is part of some final number, but
for those that never are final: `OPEN_ENDED`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from processors import engagement, lead_quality
from processors.additive import Contribution, Key
from processors.bins import bin_seconds
from processors.columns import COLUMNS, EVER, pairs, stage_names
from processors.compiled import Compiled
from processors.days import first_of_month, iso, month_of_day

#: Figures whose final numbers are restated; codes of sequence numbers, so append only.
FIGURES = (
    "leads", "entered", "left", "mqls", "sqls", "leads_won", "cohort_entered", "cohort_converted", "closed_deals",
    "won_amount", "lost_amount", "booked", "collected", "new_customers", "churned", "spend", "rate",
    "stays", "lead_cycle", "lead_links", "lead_link_amount", "handoffs", "answers", "sla", "speed", "untouched",
    "completeness", "delays", "delays_open", "attributed", "credited_touches", "sales_cycle", "bookings",
    "customers_joined", "takeovers", "onboardings", "renewals", "renewal_amount", "recurring", "feedback", "nurture",
    "material_journeys", "material_assets", "material_deals", "material_asset_deals", "emails", "visits", "page_views",
    "forms", "downloads", "social", "events", "product", "surveys", "objections", "discovery", "material",
    "engagement",
)  # fmt: skip
#: Of them, those in minor units of the currency among their labels.
MONEY = frozenset(
    ("won_amount", "lost_amount", "booked", "collected", "spend", "lead_link_amount", "attributed", "renewal_amount",
     "recurring")
)  # fmt: skip
#: Counts with a day that are never final. What the leads of a month have come to since grows as long as they live;
#: a forecast is of an instant; spend belongs to no row (`restate_market`); the win model is published by the day.
OPEN_ENDED = frozenset(
    ("quality_on", "quality_value_on", "course_on", "course_amount_on", "weighted_on", "variance_on",
     "unweighted_on", "spend_on", "spend_unpriced_on", "win_amount")
)  # fmt: skip


class Number(NamedTuple):
    """One number of a figure: its labels by name, and the month that it is of (``2026-10``), of a rate the day."""

    figure: str
    labels: tuple[tuple[str, str], ...]
    period: str


class Change(NamedTuple):
    """A row's part of a final number, before and after."""

    number: Number
    old: int
    new: int


class From(NamedTuple):
    """How a figure is made of a count of `columns.COLUMNS`: its labels, and what others must be."""

    figure: str
    of: str
    labels: tuple[str, ...]
    where: tuple[tuple[str, str], ...] = ()


_CALL = ("source", "team", "owner", "rule")
#: Labels leave the segment out: it is the lead's of today. Durations are labels, so that medians follow as well.
MADE = (
    From("leads", "leads_on", ("series", "source")),
    From("entered", "entered_on", ("stage", "series", "source")),
    From("left", "left_on", ("stage", "series", "source")),
    From("mqls", "entered_on", ("source",), (("stage", "mql"), ("series", "marketing"))),
    From("sqls", "entered_on", ("series", "source"), (("stage", "sql"),)),
    From("stays", "stay_on", ("stage", "source", "days")),
    From("leads_won", "won_on", ("source",)),
    From("lead_cycle", "won_on", ("source", "days")),
    From("lead_links", "link_on", ("status", "source", "team", "owner", "currency")),
    From("lead_link_amount", "link_amount_on", ("status", "source", "team", "owner", "currency")),
    From("handoffs", "handoff_on", ("outcome", "reason", "returned", *_CALL)),
    From("answers", "decided_on", ("answer", "reason", "rule", "campaign", "source")),
    From("sla", "sla_on", ("clock", "state", *_CALL)),
    From("speed", "speed_on", ("time", *_CALL, "bin")),
    From("untouched", "untouched_on", _CALL),
    From("completeness", "complete_on", _CALL),
    From("delays", "delay_on", ("delay", "time", *_CALL, "bin")),
    From("delays_open", "delay_open_on", ("delay", *_CALL)),
    From("attributed", "attributed_on", ("model", "channel", "campaign", "kind", "currency")),
    From("credited_touches", "credited_on", ("model", "channel", "campaign")),
    From("closed_deals", "deal_on", ("status", "pipeline", "currency")),
    From("won_amount", "deal_amount_on", ("pipeline", "currency"), (("status", "won"),)),
    From("lost_amount", "deal_amount_on", ("pipeline", "currency"), (("status", "lost"),)),
    From("sales_cycle", "cycle_on", ("pipeline", "days")),
    From("booked", "booked_on", ("kind", "currency")),
    From("bookings", "bookings_on", ("kind", "currency")),
    From("collected", "paid_on", ("currency",)),
    From("new_customers", "new_customer_on", ()),
    From("customers_joined", "joined_on", ("kind",)),
    From("churned", "churned_on", ("reason",)),
    From("takeovers", "takeover_on", ("days",)),
    From("onboardings", "onboarding_on", ("days",)),
    From("renewals", "renewal_on", ("renewal",)),
    From("renewal_amount", "renewal_amount_on", ("renewal", "currency")),
    From("recurring", "recurring_on", ("kind", "currency", "since", "came")),
    From("feedback", "feedback_on", ("kind", "score")),
    From("nurture", "nurture_on", ("signal", "source")),
    From("material_journeys", "helped_on", ("source",)),
    From("material_assets", "helped_by_on", ("asset", "source")),
    From("material_deals", "helped_deal_on", ("material", "status", "source")),
    From("material_asset_deals", "helped_deal_by_on", ("asset", "status", "source")),
    From("emails", "email_on", ("email", "agent", "campaign", "source")),
    From("visits", "visit_on", ("channel", "source")),
    From("page_views", "page_on", ("channel", "source")),
    From("forms", "form_on", ("intent", "channel", "source")),
    From("downloads", "download_on", ("asset", "channel", "source")),
    From("social", "social_on", ("network", "reaction", "source")),
    From("events", "event_on", ("kind", "answer", "source")),
    From("product", "product_on", ("feature", "trial", "source")),
    From("surveys", "survey_on", ("survey", "score", "source")),
    From("objections", "objection_on", ("category", "source")),
    From("discovery", "discovery_on", ("kind", "source")),
    From("material", "shared_on", ("asset", "source")),
    From("engagement", "engaged_on", ("type", "agent", "source")),
)
#: The counts that final numbers are made of.
COUNTS = frozenset(("cohort", "converted", *(made.of for made in MADE)))
#: Counts dated at the start of a handoff, which time alone may end later: a clock runs out in another month.
CLOCKED = frozenset(
    ("handoff_on", "sla_on", "speed_on", "untouched_on", "complete_on", "delay_on", "delay_open_on")
)
#: Figures of what a person did, took or said: their restatements name nobody, for they are kept longer than people are.
TELLING = frozenset(made.figure for made in MADE if made.of in engagement.COLUMNS | lead_quality.COLUMNS)
#: What a column is called where people read its values in another form.
_CALLED = {"bin": "seconds"}
#: What no count of a row says as it is: figure -> its labels, and what it is.
OTHERS = {
    "cohort_entered": (
        ("stage", "source"),
        "who entered a stage in the month, once its longest horizon has passed",
    ),
    "cohort_converted": (
        ("from", "to", "horizon", "source"),
        "of them, who reached another stage within so many days",
    ),
    "spend": (("channel", "team", "kind", "currency"), "what was spent, prorated by day"),
    "rate": (("base", "quote"), "an exchange rate of a closed day, in billionths"),
}


def labels_of(made: From) -> tuple[str, ...]:
    """The labels of a figure as its numbers have them."""
    return tuple(_CALLED.get(label, label) for label in made.labels)


def _word_of(column: str) -> Callable[[Any], str]:
    return {"bin": lambda n: str(bin_seconds(n)), "since": iso, "came": iso}.get(column, str)


class _Picked(NamedTuple):
    """`From`, with places in keys instead of names."""

    figure: str
    day: int
    labels: tuple[tuple[str, int, Callable[[Any], str]], ...]
    tests: tuple[tuple[int, Any], ...]


class Closing:
    """What is final at an instant, by the newest definition."""

    def __init__(self, now_ms: int, definitions: Sequence[Compiled]) -> None:
        d = self.d = definitions[-1]
        today = d.days.day(now_ms)
        #: All of this holds from the first to the second of these instants.
        self.today_ms, self.until_ms = d.days.start(today), d.days.start(today + 1)
        self.open_month = month_of_day(today - d.source.closed_after_days)
        self.first_open = first_of_month(self.open_month)
        self.first_open_ms = d.days.start(self.first_open)
        #: Horizon -> the first month whose cohort has not matured.
        self.ripe = {h: month_of_day(today - h) for h in d.source.horizons_days}
        self.cohort = max(self.open_month, *self.ripe.values())
        self._names = stage_names(definitions)
        # Who entered a stage is there once for each conversion from it: one of them is counted.
        self._first_to = dict(reversed(pairs(d)))
        self._picked: dict[str, list[_Picked]] = {}
        for made in MADE:
            columns = COLUMNS[made.of]
            picked = _Picked(
                made.figure,
                columns.index("day") + 1,
                tuple(
                    (
                        _CALLED.get(label, label),
                        columns.index(label) + 1,
                        self._stage if label == "stage" else _word_of(label),
                    )
                    for label in made.labels
                ),
                tuple(
                    (columns.index(label) + 1, getattr(d, value) if label == "stage" else value)
                    for label, value in made.where
                ),
            )
            self._picked.setdefault(made.of, []).append(picked)

    def holds(self, now_ms: int) -> bool:
        return self.today_ms <= now_ms < self.until_ms

    def closes(self, month: int) -> int:
        """When a month is closed, epoch ms."""
        return self.d.days.start(first_of_month(month + 1) + self.d.source.closed_after_days)

    def day(self, key: Key) -> int:
        """The day of a count that has one and is final some day."""
        day: int = key[self._picked[key[0]][0].day]
        return day

    def covers(self, number: Number) -> bool:
        """Is the number final?"""
        figure, labels, period = number
        if figure == "cohort_converted":
            ripe = self.ripe.get(int(dict(labels)["horizon"]), 0)
        else:
            ripe = self.cohort if figure == "cohort_entered" else self.open_month
        return int(period[:4]) * 12 + int(period[5:7]) - 1 < ripe

    def final(self, contribution: Contribution) -> dict[Number, int]:
        """The part of a row's fine contribution that lies in closed months and matured cohorts."""
        out: dict[Number, int] = {}
        for key, n in contribution.items():
            for picked in self._picked.get(key[0], ()):
                if key[picked.day] < self.first_open and all(key[i] == value for i, value in picked.tests):
                    labels = tuple((label, word(key[i])) for label, i, word in picked.labels)
                    number = Number(picked.figure, labels, month_text(month_of_day(key[picked.day])))
                    out[number] = out.get(number, 0) + n
            if key[0] == "cohort" and key[3] < self.cohort and self._first_to.get(key[1]) == key[2]:
                labels = (("stage", self._names[key[1]]), ("source", key[4]))
                number = Number("cohort_entered", labels, month_text(key[3]))
                out[number] = out.get(number, 0) + n
            elif key[0] == "converted" and key[3] != EVER and key[4] < self.ripe.get(key[3], 0):
                labels = (
                    ("from", self._names[key[1]]), ("to", self._names[key[2]]), ("horizon", str(key[3])), ("source", key[5]),
                )  # fmt: skip
                number = Number("cohort_converted", labels, month_text(key[4]))
                out[number] = out.get(number, 0) + n
        return out

    def soon(self, contribution: Contribution) -> Contribution:
        """Of a fine contribution, what is final or will be within a month."""
        day, month = first_of_month(self.open_month + 1), self.cohort + 1
        place = {"cohort": 3, "converted": 4}
        return {
            key: n
            for key, n in contribution.items()
            if (key[0] in self._picked and self.day(key) < day)
            or (key[0] in place and key[place[key[0]]] < month)
        }

    def changes(self, before: Contribution, after: Contribution) -> list[Change]:
        """What was final and is different now."""
        return changed(self.final(before), self.final(after))

    def _stage(self, code: Any) -> str:
        return self._names.get(code, f"retired:{code}")


def changed(old: Mapping[Number, int], new: Mapping[Number, int]) -> list[Change]:
    """The numbers that differ, in order; 0 is none."""
    return [
        Change(number, old.get(number, 0), new.get(number, 0))
        for number in sorted(old.keys() | new.keys())
        if old.get(number, 0) != new.get(number, 0)
    ]


def month_text(month: int) -> str:
    """``2026-10``."""
    return f"{month // 12:04d}-{month % 12 + 1:02d}"
