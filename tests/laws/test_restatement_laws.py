"""A subscriber who wrote down the final numbers once keeps them exact by the restatements alone.

Whatever comes late or twice, through the inbox, while workers are down or just back: the number then, plus the sum of
new - old, is the number now; and so is what reports of the closed months print.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from hypothesis import example, given

from processors import additive, figures
from processors.additive import Contribution
from processors.closing import Closing, Number
from processors.days import DAY
from processors.model import load
from processors.period import Period
from processors.report import LABELS, report
from tests.strategies import FITS, SEEDS, T0, Sent, at, deals, histories, law_definition, law_text, sent
from tests.subscriber import Subscriber
from tests.world import LAW, OWNERS, Funnel

LEADS = ("lead-1", "lead-2")
#: Facts are of the first forty days; they are delivered over so many.
DAYS = 160
#: Handoffs may be answered, and clocks run out, after their month was closed.
PATIENT = law_definition(touch="180h", decision="200h", expire="260h")


def totals(f: Funnel) -> Contribution:
    """The exact totals of all rows, now."""
    out: Contribution = {}
    for key, data in f.driver.all_rows():
        scope = f.topology.scope(key)
        additive.add(out, figures.of_row(key.decode(), load(data), scope, f.now).items())
    return out


def held(f: Funnel, then: Closing) -> dict[Number, int]:
    """What was final ``then``, by what is known now."""
    return {number: n for number, n in then.final(totals(f)).items() if n}


class Printed(NamedTuple):
    """A figure of reports that is a sum of final numbers: by which labels, and which of the numbers."""

    figure: str
    by: tuple[str, ...]
    of: str
    where: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    part: str = ""  # of what the figure is made of


CALLED = ("source", "team", "owner", "rule")
PERSONS = ("(empty)", "untracked", "human")
PRINTED = (
    Printed("leads", ("series", "source"), "leads"),
    Printed("entered", ("stage", "series", "source"), "entered"),
    Printed("left", ("stage", "series", "source"), "left"),
    Printed("mqls", ("source",), "mqls"),
    Printed("sqls", ("series", "source"), "sqls"),
    Printed("handoffs", ("outcome", *CALLED, "reason"), "handoffs"),
    Printed("returned", CALLED, "handoffs", {"returned": ("yes",)}),
    Printed("rejections", ("reason", *CALLED), "handoffs", {"outcome": ("rejected",)}),
    Printed("acceptance_all", CALLED, "handoffs", {"outcome": ("accepted",)}, "accepted"),
    Printed("sla_compliance", ("clock", *CALLED), "sla", {"state": ("breached",)}, "breached"),
    Printed("sla_compliance", ("clock", *CALLED), "sla", {"state": ("met",)}, "met"),
    Printed("speed_to_lead", ("time", "stat", *CALLED), "speed", {}, "touched"),
    Printed("context_completeness", CALLED, "completeness", {}, "per_mille"),
    Printed("won_amount", ("currency", "pipeline"), "won_amount"),
    Printed("deals_won", ("pipeline",), "closed_deals", {"status": ("won",)}),
    Printed(
        "attributed_revenue", ("model", "channel", "campaign", "kind"), "attributed", {"currency": ("EUR",)}
    ),
    Printed("credited_touches", ("model", "channel", "campaign"), "credited_touches"),
    Printed("emails", ("email", "campaign", "source"), "emails", {"agent": PERSONS}),
    Printed("visits", ("channel", "source"), "visits"),
    Printed("forms", ("intent", "source"), "forms"),
    Printed("content_downloads", ("asset", "source"), "downloads"),
    Printed("engagement_events", ("type", "agent", "source"), "engagement"),
)


def month_of(text: str) -> Period:
    found = Period.parse(text)
    assert found is not None
    return found


def agree(f: Funnel, numbers: dict[Number, int]) -> None:
    """What reports of the closed months print is what the numbers say."""
    found_totals, newest = totals(f), f.topology.definitions[-1]
    for month in {number.period for number in numbers if not number.figure.startswith("cohort")}:
        for x in PRINTED:
            printed = {}
            found = report(
                found_totals, newest, f.now, period=month_of(month), only=[x.figure],
                by=[label for label in x.by if label in LABELS], reference=f.topology.reference,
            )  # fmt: skip
            for value in found:
                n = value.inputs.get(x.part, 0) if x.part else value.value
                if n:
                    key = tuple(value.labels[label] for label in x.by if label != "stat")
                    printed[key] = n
            summed: dict[tuple[str, ...], int] = {}
            for number, n in numbers.items():
                labels = dict(number.labels)
                if (
                    number.figure == x.of
                    and number.period == month
                    and all(labels[k] in wanted for k, wanted in x.where.items())
                ):
                    key = tuple(labels[label] for label in x.by if label != "stat")
                    summed[key] = summed.get(key, 0) + n
            assert {k: n for k, n in summed.items() if n} == printed, (x.figure, month)


#: Definitions that count the past otherwise.
OTHERS = (
    '[[channels]]\nname = "other"\nwhen = { type = "form_submitted" }\n',
    '[[channels]]\nname = "other"\nwhen = { type = "event_attended" }\n[attribution]\nlook_back_days = 3\n',
    '[attribution]\nmodels = ["linear", "position"]\n',
)


def redefine(f: Funnel, version: int, rng: random.Random) -> None:
    """Publish another definition; it is in force from now on."""
    text = law_text(version=version, up=rng.choice((25, 30))) + rng.choice(OTHERS)
    f.learn("definition_published", f.now, name="laws", version=version, toml=text, effective_at=f.now)


class Keeper:
    """Somebody who read the final numbers at an instant, and since then reads nothing but restatements."""

    def __init__(self, f: Funnel) -> None:
        self.then = Closing(f.now, f.topology.definitions)
        self.known = held(f, self.then)
        self.heard = {x.partition: x.offset for x in f.driver.read(f.settings.topics.restatements)}

    def now(self, f: Funnel) -> dict[Number, int]:
        numbers = dict(self.known)
        subscriber = Subscriber()
        for record in f.driver.read(f.settings.topics.restatements):
            x = subscriber.take(record)
            assert x is not None
            if record.offset <= self.heard.get(record.partition, -1):
                continue
            number = Number(x["figure"], tuple(x["labels"].items()), x["period"])
            if self.then.covers(number):
                numbers[number] = numbers.get(number, 0) + x["new"] - x["old"]
        return {number: n for number, n in numbers.items() if n}


def lived(f: Funnel, found: list[Sent], rng: random.Random) -> list[Keeper]:
    """Deliver some facts late or very late, in some histories all; workers are sometimes down for days. Keepers begin
    at any time."""
    share = rng.choice((0.05, 0.3, 1))
    late = sorted(
        (max(x.recorded_at, T0 + rng.randrange(DAYS) * DAY + rng.randrange(DAY)), n)
        if rng.random() < share
        else (x.recorded_at, n)
        for n, x in enumerate(found)
    )
    keepers = []
    down = False
    version, often = 1, rng.choice((0, 0, 0.1))
    for when, n in late:
        if down:
            f.driver.now_ms = max(f.now, when)
            if rng.random() < 0.5:
                f.driver.run(rng.randint(1, 3))
        else:
            f.driver.advance(max(f.now, when))
        if rng.random() < often:
            version += 1
            redefine(f, version, rng)
        f.publish(found[n]._replace(recorded_at=when))
        if rng.random() < 0.15:
            f.publish(found[n]._replace(recorded_at=when))
        if down and rng.random() < 0.4:
            f.driver.run()
            f.driver.catch_up()
            down = False
        if not down:
            f.driver.run()
            if rng.random() < 0.3:
                keepers.append(Keeper(f))
            if rng.random() < 0.2:
                f.restart()
                f.driver.live = False
                down = True
    f.driver.now_ms = max(f.now, T0 + DAYS * DAY)
    f.driver.run()
    f.driver.catch_up()
    return keepers


def people(rng: random.Random) -> list[Sent]:
    """Who is who: merges, their ends, and erasures; any of them at any time."""
    out = []
    for n in range(rng.randrange(4)):
        t = T0 + rng.randrange(40 * DAY)
        winner, loser = rng.sample(LEADS, 2)
        kind = rng.choice(("merged", "merged", "unmerged", "erased"))
        if kind == "merged":
            payload, subject = {"loser": loser, "winner": winner}, winner
        elif kind == "unmerged":
            payload, subject = {"merge_event_id": "m-0"}, winner
        else:
            payload, subject = {"request_id": f"r-{n}"}, loser
        out.append(sent(kind, t, 900 + n, payload, subject={"lead_id": subject}, source_event_id=f"m-{n}"))
    return out


#: A win that takes another one's amount back, dated twenty minutes ahead, when the month of that one is just closed.
BACK = {"topic": "deal", "subject": {"deal_id": "deal-1"}, "backfill": True}
HELD = [
    sent("won", at(0), 500, {"amount": 0, "currency": "EUR"}, **BACK),
    sent("won", at(34, 8), 501, {"amount": 0, "currency": "EUR"}, recorded_at=at(34, 7, 2_400_000), **BACK),
    sent("won", at(0), 502, {"amount": 5003, "currency": "USD"}, **BACK),
]
KNOWN = [
    sent(type_, at(0), n, payload, subject={"lead_id": lead})
    for n, (lead, type_, payload) in enumerate(
        (lead, type_, payload)
        for lead in LEADS
        for type_, payload in (
            ("created", {"source": "webinar", "generated_by": "marketing"}), ("attributes_changed", {"fields": FITS}),
            ("content_downloaded", {"asset_id": "a"}), ("content_downloaded", {"asset_id": "b"}),
        )
    )
]  # fmt: skip


@given(histories(leads=LEADS, most=8, lagged=True), deals(leads=LEADS, most=6, lagged=True), SEEDS)
@example(KNOWN, HELD, 41)
def test_final_numbers_and_restatements_since_are_the_final_numbers(
    history: list[Sent], traded: list[Sent], seed: int
) -> None:
    rng = random.Random(seed)
    f = Funnel(rng.choice((LAW, PATIENT)), T0, partitions=rng.choice((1, 3)), owners=OWNERS)
    f.say("created", T0, {"source": "event", "generated_by": "marketing"}, lead="lead-0")
    for keeper in lived(f, [*history, *traded, *people(rng)], rng):
        assert keeper.now(f) == held(f, keeper.then)
    assert not any(x["code"] == "fold_error" for x in f.dead())
    assert not any(f.topology.failing_by_partition().values())
    agree(f, held(f, Closing(f.now, f.topology.definitions)))
