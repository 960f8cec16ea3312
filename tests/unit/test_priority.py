"""Win probability, expected amount and priority: by hand, without leakage, by the snapshot that was in force."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors import additive, columns, figures, priority, winmodel
from processors.additive import Contribution
from processors.days import iso
from processors.definition.model import DAY, HOUR, MINUTE
from processors.report import report
from streams.definitions import default_text
from streams.state_reader import loaded
from streams.win_model import snapshot
from tests.strategies import FITS, T0, at
from tests.world import MONDAY, Funnel, variant

#: Two segments, three sources; hand-raises among a third.
COUNTS: dict[str, Any] = {
    "won": 4,
    "lost": 6,
    "currency": "EUR",
    "median_won_minor": 100_000,
    "median_won_by_segment": {"enterprise": 900_000},
    "features": {
        "source": {"webinar": [3, 1], "import": [1, 5]},
        "segment": {"enterprise": [2, 1], "small_business": [2, 5]},
        "fit_grade": {"A": [1, 0], "B": [2, 2], "C": [1, 4]},
        "stage": {"mql": [4, 6]},
        "hand_raise": {"yes": [3, 1], "no": [1, 5]},
    },
}
LEAD = {
    "source": "webinar",
    "segment": "enterprise",
    "fit_grade": "B",
    "stage": "mql",
    "hand_raise": "yes",
}


def test_naive_bayes_by_hand() -> None:
    tenth = Fraction(1, 10)

    def likelihood(n: int, of: int, values: int) -> Fraction:
        return (n + tenth) / (of + tenth * values)

    won = Fraction(4, 10) * likelihood(3, 4, 2) * likelihood(2, 4, 2) * likelihood(2, 4, 3)
    won *= likelihood(4, 4, 1) * likelihood(3, 4, 2)
    lost = Fraction(6, 10) * likelihood(1, 6, 2) * likelihood(1, 6, 2) * likelihood(2, 6, 3)
    lost *= likelihood(6, 6, 1) * likelihood(1, 6, 2)
    exact = won / (won + lost)
    assert winmodel.parse(COUNTS).probability_ppm(LEAD) == round(exact * 1_000_000) == 979_441


@pytest.mark.parametrize(
    ("won", "lost", "ppm"),
    [(10**6, 1, 999_900), (1, 10**6, 100), (0, 5, None), (5, 0, None), (1, 1, 500_000)],
)
def test_nobody_is_certain_and_one_side_alone_tells_nothing(won: int, lost: int, ppm: int | None) -> None:
    features = {name: {value: [won, lost]} for name, value in LEAD.items()}
    model = winmodel.parse({"won": won, "lost": lost, "currency": "EUR", "features": features})
    assert model.probability_ppm(LEAD) == ppm


def test_a_value_that_nobody_has_seen_says_nothing() -> None:
    model = winmodel.parse(COUNTS)
    without = COUNTS | {"features": COUNTS["features"] | {"source": {}}}
    expected = winmodel.parse(without).probability_ppm(LEAD)
    assert model.probability_ppm(LEAD | {"source": "carrier pigeon"}) == expected


def test_rare_values_are_added_up_and_still_count() -> None:
    counts = {("won", "source", f"s{n:03}"): 1 for n in range(winmodel.MOST_VALUES + 7)}
    counts["lost", "source", "big"] = 9
    made = winmodel.snapshot(counts, {}, lambda amount, _c, _d: amount, "EUR")
    assert len(made["features"]["source"]) == winmodel.MOST_VALUES + 1
    assert made["features"]["source"][winmodel.OTHER] == [8, 0]
    assert made["features"]["source"]["big"] == [0, 9]
    assert (made["won"], made["lost"]) == (winmodel.MOST_VALUES + 7, 9)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 4)), max_size=12))
def test_the_median_is_that_of_the_values_one_by_one(bins: list[tuple[int, int]]) -> None:
    values = sorted(value for value, n in bins for _ in range(n))
    middle = len(values) // 2
    expected = (
        None
        if not values
        else round(
            Fraction(values[middle], 1)
            if len(values) % 2
            else Fraction(sum(values[middle - 1 : middle + 1]), 2)
        )
    )
    assert winmodel.median(bins) == expected


def test_the_median_of_the_segment_else_of_all_else_none() -> None:
    amounts = {("enterprise", "EUR", 5, 300): 1, ("enterprise", "EUR", 6, 500): 1, ("micro", "USD", 6, 7): 2}

    def price(amount: int, currency: str, _day: int) -> int | None:
        return amount if currency == "EUR" else None  # no rate: counted, not priced

    model = winmodel.parse(winmodel.snapshot({}, amounts, price, "EUR"))
    assert [model.expected_minor(x) for x in ("enterprise", "micro", "(empty)")] == [400, 400, 400]
    assert winmodel.parse(winmodel.snapshot({}, {}, price, "EUR")).expected_minor("enterprise") is None


# The whole way ---------------------------------------------------------------------------------------------------


def fine(f: Funnel) -> Contribution:
    """What all rows add, as reports read it."""
    out: Contribution = {}
    for key, _ in f.driver.all_rows():
        name = key.decode()
        additive.add(out, figures.of_row(name, f.row(name), f.topology.scope(key)).items())
    return {key: n for key, n in out.items() if n}


def counted(f: Funnel) -> dict[tuple[Any, ...], int]:
    return {key[1:]: n for key, n in fine(f).items() if key[0] == "win_model"}


def opened(f: Funnel, t: int, lead: str, amount: int = 500_000, deal: str = "") -> str:
    deal = deal or f"deal-of-{lead}"
    f.say(
        "opened", t,
        {"leads": [{"lead_id": lead}], "amount": amount, "currency": "EUR", "pipeline": "new", "stage": "proposal"},
        deal=deal,
    )  # fmt: skip
    return deal


def closed(f: Funnel, t: int, deal: str, how: str = "won", amount: int = 500_000) -> None:
    payload = {"amount": amount, "currency": "EUR"} if how == "won" else {"reason_code": "price"}
    f.say(how, t, payload, deal=deal)


def called(f: Funnel, lead: str = "lead-1", t: int = MONDAY + 9 * HOUR, **fields: Any) -> int:
    """Known, fitting, and handed over two minutes after the next hour."""
    f.fit(t, lead, **fields)
    return f.hot(t + HOUR, lead)


def test_closed_deals_are_counted_by_what_their_lead_was_judged_by_at_the_handoff() -> None:
    f = Funnel()
    t = called(f)
    f.say("accepted", t + HOUR)
    deal = opened(f, t + 2 * HOUR, "lead-1")
    assert counted(f) == {}
    # What comes to light on the way to the win must not be known to the model: neither the segment nor the grade,
    # nor the hand raised in the last minute, nor the stage that only winners reach.
    f.say("attributes_changed", t + 3 * HOUR, {"fields": {"company_size": 5000, "role": "CEO"}})
    f.raise_hand(t + 4 * HOUR)
    closed(f, t + 5 * HOUR, deal)
    mql = f.topology.definitions[-1].mql
    assert counted(f) == {
        ("won", "source", "webinar"): 1,
        ("won", "segment", "small_business"): 1,
        ("won", "fit_grade", "C"): 1,
        ("won", "stage", mql): 1,
        ("won", "hand_raise", "no"): 1,
    }
    assert {key: n for key, n in fine(f).items() if key[0] == "win_amount"} == {
        ("win_amount", "small_business", "EUR", (t + 5 * HOUR) // DAY, 500_000): 1
    }
    values = report(fine(f), f.topology.definitions[-1], f.now, only=["win_model"])
    assert {(*v.labels.values(), v.value) for v in values} >= {("stage", "mql", "won", 1)}


_AFTER = st.lists(
    st.one_of(
        st.builds(
            lambda size, role: ("attributes_changed", {"fields": {"company_size": size, "role": role}}),
            st.sampled_from([3, 60, 300, 5000]),
            st.sampled_from(["CEO", "intern", "manager"]),
        ),
        st.just(("form_submitted", {"form_id": "contact", "intent": "hand_raise"})),
        st.just(("page_viewed", {"url": "https://example.com/pricing"})),
        st.just(("qualified_by_sales", {})),
        st.just(("recycled", {})),
    ),
    max_size=4,
)


@settings(max_examples=25)
@given(_AFTER, st.sampled_from(["won", "lost"]))
def test_nothing_that_comes_after_the_handoff_reaches_the_model(
    after: list[tuple[str, dict[str, Any]]], how: str
) -> None:
    f = Funnel()
    t = called(f)
    f.say("accepted", t + HOUR)
    deal = opened(f, t + 2 * HOUR, "lead-1")
    for n, (type_, payload) in enumerate(after, 3):
        f.say(type_, t + n * HOUR, payload)
    closed(f, t + 9 * HOUR, deal, how)
    told = {("source", "webinar"), ("segment", "small_business"), ("fit_grade", "C"), ("hand_raise", "no")}
    told |= {("stage", f.topology.definitions[-1].mql)}
    assert counted(f) == {(how, *value): 1 for value in told}


def test_a_deal_of_nobody_who_was_handed_over_is_judged_at_its_opening() -> None:
    f = Funnel()
    f.fit(MONDAY)
    deal = opened(f, MONDAY + HOUR, "lead-1")
    f.say("attributes_changed", MONDAY + 2 * HOUR, {"fields": {"company_size": 5000}})
    closed(f, MONDAY + 3 * HOUR, deal, "lost")
    known = f.topology.definitions[-1].known
    assert ("lost", "stage", known) in counted(f)
    assert ("lost", "segment", "small_business") in counted(f)


def test_what_is_reopened_or_deleted_is_counted_no_more() -> None:
    f = Funnel()
    t = called(f)
    deal = opened(f, t + HOUR, "lead-1")
    closed(f, t + 2 * HOUR, deal)
    assert counted(f)
    f.say("reopened", t + 3 * HOUR, deal=deal)
    assert not counted(f)
    closed(f, t + 4 * HOUR, deal, "lost")
    assert {key[0] for key in counted(f)} == {"lost"}
    f.say("deleted", t + 5 * HOUR, deal=deal)
    assert not counted(f)
    assert not [key for key in fine(f) if key[0] == "win_amount"]


def test_what_was_counted_stays_counted_when_the_person_is_erased() -> None:
    f = Funnel()
    t = called(f)
    f.say("accepted", t + HOUR)
    closed(f, t + 3 * HOUR, opened(f, t + 2 * HOUR, "lead-1"))
    before = {k: n for k, n in fine(f).items() if k[0] in priority.COLUMNS}
    f.say("erased", t + DAY, {"request_id": "r-1"})
    assert before
    assert {k: n for k, n in fine(f).items() if k[0] in priority.COLUMNS} == before
    made = snapshot(f.topology, loaded(f.driver.all_rows()), t + 3 * DAY)
    assert (made.counts["won"], made.counts["median_won_minor"]) == (1, 500_000)


def test_the_deal_of_a_merged_lead_is_counted_once() -> None:
    f = Funnel()
    t = called(f)
    f.fit(t, "lead-2", company_size=5000)
    closed(f, t + 3 * HOUR, opened(f, t + 2 * HOUR, "lead-1"))
    f.say(
        "merged", t + 5 * HOUR, {"loser": "lead-1", "winner": "lead-2"}, lead="lead-2", source_event_id="m-1"
    )
    together = counted(f)
    assert sum(n for (_, feature, _), n in together.items() if feature == "source") == 1
    f.say("unmerged", t + 6 * HOUR, {"merge_event_id": "m-1"}, lead="lead-2")
    assert ("won", "segment", "small_business") in counted(f)


def test_late_and_repeated_facts_lead_to_the_same_counts() -> None:
    story: list[tuple[str, int, dict[str, Any], dict[str, str]]] = [
        ("created", 0, {"source": "webinar", "generated_by": "marketing"}, {}),
        ("attributes_changed", 1, {"fields": FITS}, {}),
        ("form_submitted", 2, {"form_id": "contact", "intent": "hand_raise"}, {}),
        ("accepted", 3, {}, {}),
        ("opened", 4, {"leads": [{"lead_id": "lead-1"}], "amount": 70_000, "currency": "EUR", "pipeline": "new",
                       "stage": "s"}, {"deal": "deal-1"}),
        ("attributes_changed", 5, {"fields": {"company_size": 3000}}, {}),
        ("won", 6, {"amount": 70_000, "currency": "EUR"}, {"deal": "deal-1"}),
    ]  # fmt: skip

    def told(order: list[int]) -> Contribution:
        f = Funnel(now=MONDAY + DAY)
        for n in order:
            type_, hour, payload, subject = story[n]
            f.say(type_, MONDAY + hour * HOUR, payload, source_event_id=f"e-{n}", **subject)
        return {k: n for k, n in fine(f).items() if k[0] in priority.COLUMNS}

    expected = told(list(range(7)))
    assert ("win_model", "won", "hand_raise", "yes") in expected
    assert ("win_model", "won", "segment", "small_business") in expected
    assert told([6, 5, 4, 3, 2, 1, 0]) == expected
    assert told([4, 6, 0, 2, 2, 1, 5, 3, 6, 0]) == expected


def publish(f: Funnel, at: int, counts: dict[str, Any]) -> None:
    f.learn("win_model_published", at, as_of=at, counts=json.dumps(counts))


def context(f: Funnel, lead: str = "lead-1", kind: str = "made") -> dict[str, Any]:
    found: dict[str, Any] = f.out("handoffs", lead, kind=kind)[-1]["context"]
    return found


def test_without_a_snapshot_nothing_is_promised() -> None:
    f = Funnel()
    called(f)
    said = context(f)
    assert [said[k] for k in ("win_probability_ppm", "expected_minor", "priority_minor")] == [None] * 3


def test_a_handoff_carries_probability_amount_and_priority() -> None:
    f = Funnel()
    publish(f, MONDAY, COUNTS)
    called(f)
    said = context(f)
    ppm = winmodel.parse(COUNTS).probability_ppm(
        {
            "source": "webinar",
            "segment": "small_business",
            "fit_grade": "C",
            "stage": "mql",
            "hand_raise": "no",
        }
    )
    assert ppm is not None
    assert said["win_probability_ppm"] == ppm
    assert (said["expected_minor"], said["currency"]) == (100_000, "EUR")
    assert said["priority_minor"] == round(Fraction(ppm * 100_000, 1_000_000))


def test_the_snapshot_in_force_at_the_start_governs_to_the_end() -> None:
    f = Funnel()
    publish(f, MONDAY, COUNTS)
    t = called(f)
    first = context(f)
    other = COUNTS | {"won": 6, "lost": 4, "median_won_minor": 5}
    publish(f, t + HOUR, other)
    f.say("page_viewed", t + 2 * HOUR, {"url": "https://example.com/pricing"})
    later = context(f, kind="context_updated")
    keys = ("win_probability_ppm", "expected_minor", "priority_minor")
    assert [first[k] for k in keys] == [later[k] for k in keys]
    called(f, "lead-2", t + 3 * HOUR)
    assert [context(f, "lead-2")[k] for k in keys] != [first[k] for k in keys]
    assert context(f, "lead-2")["expected_minor"] == 5


def test_while_it_waits_a_raised_hand_raises_the_priority_and_afterwards_nothing_does() -> None:
    f = Funnel()
    publish(f, MONDAY, COUNTS)
    t = called(f)
    f.raise_hand(t + HOUR)
    raised = context(f, kind="context_updated")
    assert raised["win_probability_ppm"] > context(f)["win_probability_ppm"]
    f.say("accepted", t + 2 * HOUR)
    f.raise_hand(t + 3 * HOUR)
    ended = context(f, kind="context_updated")
    assert ended["win_probability_ppm"] == context(f)["win_probability_ppm"]


def test_who_refuses_profiling_is_not_judged() -> None:
    f = Funnel()
    publish(f, MONDAY, COUNTS)
    f.say("consent_changed", MONDAY + HOUR, {"purpose": "profiling", "granted": False})
    f.fit()
    f.raise_hand(at(1, 12))
    said = context(f)
    assert [said[k] for k in ("win_probability_ppm", "expected_minor", "priority_minor")] == [None] * 3
    f.say("consent_changed", at(1, 13), {"purpose": "profiling", "granted": True})
    f.say("page_viewed", at(1, 14), {"url": "https://example.com/pricing"})
    assert context(f, kind="context_updated")["priority_minor"]


def test_an_open_deal_says_what_to_expect() -> None:
    f = Funnel()
    publish(f, MONDAY, COUNTS)
    t = called(f)
    f.say("accepted", t + HOUR)
    opened(f, t + 2 * HOUR, "lead-1", amount=777_000)
    f.say("page_viewed", t + 3 * HOUR, {"url": "https://example.com/pricing"})
    assert context(f, kind="context_updated")["expected_minor"] == 777_000


def test_a_deal_in_another_currency_is_estimated_by_a_recent_rate_or_left_in_its_own() -> None:
    f = Funnel()
    publish(f, MONDAY, COUNTS)
    t = called(f)
    f.say("accepted", t + HOUR)
    payload = {
        "leads": [{"lead_id": "lead-1"}],
        "amount": 1000,
        "currency": "USD",
        "pipeline": "p",
        "stage": "s",
    }
    f.say("opened", t + 2 * HOUR, payload, deal="deal-1")
    f.say("page_viewed", t + 3 * HOUR, {"url": "https://example.com/pricing"})
    said = context(f, kind="context_updated")
    assert (said["expected_minor"], said["currency"], said["priority_minor"]) == (1000, "USD", None)
    f.learn("fx_rate_set", T0, base="USD", quote="EUR", date="2024-12-31", rate="0.5")
    day = f.topology.definitions[-1].days.day(t)
    f.learn("fx_rate_set", T0, base="USD", quote="EUR", date=iso(day - 3), rate="0.9")
    f.say("page_viewed", t + 4 * HOUR, {"url": "https://example.com/pricing"})
    said = context(f, kind="context_updated")
    assert (said["expected_minor"], said["currency"]) == (900, "EUR")
    assert said["priority_minor"] is not None


def test_a_published_snapshot_is_what_the_totals_say() -> None:
    f = Funnel()
    for n, how in enumerate(("won", "lost", "won")):
        lead = f"lead-{n}"
        t = called(f, lead, MONDAY + n * DAY + 9 * HOUR)
        closed(f, t + 2 * HOUR, opened(f, t + HOUR, lead, deal=f"deal-{n}"), how, amount=1000 * (n + 1))
    names = columns.stage_names(f.topology.definitions)
    made = priority.snapshot(fine(f), names, lambda amount, _c, _d: amount, "EUR")
    assert (made["won"], made["lost"], made["median_won_minor"]) == (2, 1, 2000)
    assert made["features"]["stage"] == {"mql": [2, 1]}
    assert made["median_won_by_segment"] == {"small_business": 2000}
    publish(f, f.now, made)
    called(f, "lead-9", f.now + DAY // 2)
    assert context(f, "lead-9")["win_probability_ppm"] is not None


def renamed(name: str, rank: int) -> str:
    return default_text().replace(
        'name = "mql"\nrank = 30', f'name = "{name}"\nrank = {rank}\nrenamed_from = ["mql"]', 1
    )


def test_what_was_judged_under_another_rank_is_counted_under_the_new_one() -> None:
    f = Funnel()
    t = called(f)
    f.say("accepted", t + HOUR)
    text = renamed("qualified", 33).replace("version = 1", "version = 2", 1)
    f.learn("definition_published", t + HOUR, name="default", version=2, toml=text, effective_at=t + HOUR)
    closed(f, t + 4 * HOUR, opened(f, t + 3 * HOUR, "lead-1"))
    assert ("won", "stage", 33) in counted(f)
    assert not any(feature == "stage" and code != 33 for _, feature, code in counted(f))


@pytest.mark.parametrize(("name", "rank"), [("qualified", 30), ("qualified", 32)])
def test_a_stage_that_was_renamed_is_still_the_same_to_an_older_snapshot(name: str, rank: int) -> None:
    text = renamed(name, rank)
    stages = COUNTS["features"] | {"stage": {"mql": [4, 0], "known": [0, 6]}}
    said = []
    for definition in (None, variant(text, whole=True)):
        f = Funnel(definition)
        publish(f, MONDAY, COUNTS | {"features": stages})
        called(f)
        said.append(context(f)["win_probability_ppm"])
    assert said[0] == said[1]


def test_delays_are_told_apart() -> None:
    f = Funnel(owners=())
    t = called(f)  # nobody is there to take it
    f.say("assigned", t + HOUR, {"owner": "owner-1"})
    f.say("assigned", t + 2 * HOUR, {"owner": "owner-2"})
    f.say(
        "touched",
        t + 2 * HOUR + 30 * MINUTE,
        {"channel": "phone", "kind": "call"},
        actor={"type": "human", "id": "owner-2"},
    )
    f.say("assigned", t + 4 * HOUR, {"owner": "owner-3"})
    values = report(fine(f), f.topology.definitions[-1], f.now, only=["delay"])
    found = {(v.labels["delay"], v.labels["time"]): v.value for v in values if v.labels["stat"] == "p50"}
    assert found["marketing", "wall"] == 0
    assert abs(int(found["system", "wall"] or 0) - 3600) <= 36
    assert abs(int(found["human", "wall"] or 0) - 1800) <= 18


def test_completeness_of_the_context_is_a_figure() -> None:
    f = Funnel()
    called(f)
    called(f, "lead-2", need="yes", timing="now", budget="10k", authority="yes")
    said = [context(f, lead)["completeness_per_mille"] for lead in ("lead-1", "lead-2")]
    (value,) = report(fine(f), f.topology.definitions[-1], f.now, only=["context_completeness"])
    assert said[0] < said[1]
    assert value.value == Fraction(sum(said), 2000)
