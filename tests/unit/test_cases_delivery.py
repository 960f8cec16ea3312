"""DOMAIN 8, delivery: what must happen with what comes twice, late, early, wrong or not at all."""

from __future__ import annotations

import json
import random

import pytest

from processors.model import OPEN, dump
from tests.strategies import Sent, at, sent
from tests.world import Funnel


def test_case_01_the_same_identity_and_payload_is_dropped() -> None:
    f = Funnel()
    f.fit()
    for _ in range(3):
        f.say("content_downloaded", at(1, 10), {"asset_id": "a"}, source_event_id="same")
    assert f.topology.counts["outcomes", "duplicate"] == 2
    assert f.score() == 12_000
    assert f.dead() == []


@pytest.mark.parametrize("first", [0, 1])
def test_case_02_of_two_payloads_the_first_recorded_stays(first: int) -> None:
    f = Funnel(now=at(1, 12))
    claims = [
        sent(
            "created",
            at(1, 9),
            n,
            {"source": source, "generated_by": "marketing"},
            source_event_id="same",
            recorded_at=recorded,
        )
        for n, (source, recorded) in enumerate([("early", at(1, 9, 1)), ("late", at(1, 9, 2))])
    ]
    for x in (claims[first], claims[1 - first]):
        f.publish(x)
        f.driver.run()
    assert f.head().source == "early"
    (letter,) = f.dead()
    assert letter["code"] == "conflicting_payload"
    (record,) = f.driver.read(f.settings.topics.dead_letters)
    assert record.value is not None
    assert b"late" in record.value
    assert "early" not in json.loads(record.value)["payload"]


def test_case_02_of_two_that_were_recorded_together_the_one_that_lies_first_stays() -> None:
    """By topic, partition and offset, whichever is folded first: the other one comes by the inbox."""
    f = Funnel(now=at(1, 12))
    lead = next(f"lead-{n}" for n in range(9) if f.topology.partition_of(f"lead-{n}") == 2)
    for n, (source, partition) in enumerate([("near", 2), ("before", 1), ("behind", 3)]):
        payload = {"source": source, "generated_by": "marketing"}
        claim = sent(
            "created", at(1, 9), n, payload, source_event_id="same", recorded_at=at(1, 10), subject={"lead_id": lead}
        )  # fmt: skip
        f.publish(claim, partition=partition)
    f.driver.run()
    assert f.head(lead).source == "before"
    letters = list(f.driver.read(f.settings.topics.dead_letters))
    assert [x["code"] for x in f.dead()] == ["conflicting_payload"] * 2
    assert sorted(x["partition"] for x in f.dead()) == ["2", "3"]
    assert all(b"before" not in (r.value or b"") for r in letters)


@pytest.mark.parametrize("of", ["click-17", "17@tracker"])
def test_case_03_the_same_fact_from_two_systems_is_one_and_both_names_are_remembered(of: str) -> None:
    f = Funnel()
    f.fit()
    payload = {"send_id": "s1", "agent": "human", "url": "https://example.org/x"}
    f.say("email_clicked", at(1, 10), payload, source_system="mailer", source_event_id="click-17")
    f.say("email_clicked", at(1, 10, 900), payload, source_system="tracker", source_event_id="17@tracker")
    assert f.score() == 3_000
    assert f.dead() == []
    system = "mailer" if of == "click-17" else "tracker"
    f.say("engagement_reclassified", at(1, 11), {"of": of, "agent": "bot"}, source_system=system)
    assert f.score() == 0


def test_case_04_stage_events_out_of_order_end_as_if_in_order_and_are_restated() -> None:
    f, g = Funnel(), Funnel()
    for one, order in ((f, (0, 1, 2)), (g, (2, 0, 1))):
        one.fit()
        one.hot()
        one.until(at(2, 12))
        events = [("accepted", at(1, 11)), ("qualified_by_sales", at(1, 15)), ("stage_reported", at(2, 9))]
        for n in order:
            type_, t = events[n]
            one.say(type_, t, {"stage": "opportunity"} if type_ == "stage_reported" else {})
    assert f.stages() == g.stages() == ["anonymous", "known", "engaged", "mql", "sal", "sql", "opportunity"]
    assert f.head().journeys[0].entries == g.head().journeys[0].entries
    assert g.out("stage_changes", op="revised")
    assert not f.out("stage_changes", op="revised")


def test_case_05_ten_thousand_events_at_one_instant_end_the_same_in_any_delivery() -> None:
    """Twenty times the ledger's bound: what cannot count is thinned, so that what counts is still there."""
    t = at(1, 10)
    what = [sent("page_viewed", t, n, {"url": "https://example.org/"}) for n in range(9997)]
    what.append(sent("content_downloaded", t, 9997, {"asset_id": "a"}))
    what.append(sent("event_attended", t, 9998, {"event_id": "w", "kind": "webinar"}))
    what.append(
        sent("survey_answered", t, 9999, {"survey_id": "q", "score": 9, "kind": "nps"}, topic="engagement")
    )
    ends = []
    for seed in range(2):
        f = Funnel(now=t)
        f.fit()
        random.Random(seed).shuffle(what)
        for x in what:
            f.publish(x)
        f.driver.run(batch=3000 + seed)
        assert f.score() == (5 + 12 + 18 + 3) * 1000  # the page views of a day are worth 5 together
        ends.append((f.head().journeys, f.topology.totals()))
    assert ends[0] == ends[1]


def test_case_06_an_hour_ahead_is_held_until_due_and_two_days_is_a_dead_letter() -> None:
    f = Funnel(now=at(1, 9))
    f.fit(at(1, 9))
    f.raise_hand(at(1, 11), recorded_at=at(1, 9))
    f.raise_hand(at(3, 11), recorded_at=at(1, 9))
    f.until(at(1, 11) - 1)
    assert f.out("handoffs") == []
    f.until(at(1, 11))
    (made,) = f.out("handoffs", kind="made")
    assert made["trigger_at"] == made["started_at"] == at(1, 11)
    assert [x["code"] for x in f.dead()] == ["too_far"]


@pytest.mark.parametrize("when", [None, 0, -1, 1000])
def test_case_07_no_date_or_one_of_1970_is_a_dead_letter(when: int | None) -> None:
    f = Funnel()
    wire = sent("page_viewed", at(1), 1, {"url": "/"}).wire | {"occurred_at": when}
    f.publish(Sent("engagement", wire, at(1), 1))
    f.driver.run()
    assert [x["code"] for x in f.dead()] == ["bad_time" if when is None else "too_early"]
    assert f.topology.totals() == {}


def test_case_08_a_source_clock_ten_minutes_fast_is_accepted_and_counted() -> None:
    f = Funnel(now=at(1, 9))
    f.fit(at(1, 9))
    f.say("page_viewed", at(1, 9, 600_000), {"url": "/"}, recorded_at=at(1, 9), source_system="fast")
    f.until(at(1, 9, 600_000))
    assert f.score() == 1_000
    assert 'leadstream_skewed_events_total{source="fast"} 1.0' in f.topology.exposition()
    assert 'leadstream_skew_seconds_total{source="fast"} 600.0' in f.topology.exposition()
    assert f.dead() == []


def test_case_10_a_change_without_a_body_is_a_gap_that_is_recorded_and_counted() -> None:
    """The rule that turns the count into an alert is tested beside it, in deploy/prometheus/tests."""
    f = Funnel(now=at(1, 12))
    f.fit(at(1, 9))
    before, stages = f.row(), f.stages()
    topic = f.settings.topics.lead
    f.driver.publish(topic, b"lead-1", None)
    for type_ in ("attributes_changed", "stage_reported"):
        wire = sent(type_, at(1, 10), 90, {}).wire
        f.driver.publish(topic, b"lead-1", json.dumps(wire).encode())
        del wire["payload"]
        f.driver.publish(topic, b"lead-1", json.dumps(wire).encode())
    f.driver.run()
    assert [x["code"] for x in f.dead()] == ["null_value"] + ["missing_field"] * 4
    gap = next(iter(f.driver.read(f.settings.topics.dead_letters)))
    assert gap.key == b"lead-1"
    where = f.dead()[0]
    assert (where["topic"], where["partition"]) == (topic, str(f.topology.partition_of("lead-1")))
    assert f.topology.counts["dead_letters", "null_value"] == 1
    assert 'leadstream_dead_letters_total{code="null_value"} 1' in f.topology.exposition()
    assert dump(f.row()) == dump(before)  # nothing is invented
    assert f.stages() == stages


def test_case_11_a_crash_between_state_and_output_says_the_same_id_once() -> None:
    """The transaction is lost with the process: another one does the same again, from the same rows."""
    f = Funnel(partitions=1)
    f.fit()
    f.say("event_attended", at(1, 10), {"event_id": "w", "kind": "webinar"})
    for n in (1, 2):
        f.say("content_downloaded", at(1, 10, n), {"asset_id": f"a{n}"}, run=False)
    topic = f.settings.topics.engagement
    rest = f.driver.topics[topic][0][-2:]
    f.driver.now_ms = at(1, 10, 2)
    lost = f.topology.batch(0, rest, f.now, True)  # folded, and never stored
    f.restart()
    f.driver.run()
    (made,) = f.out("handoffs", kind="made")
    handoff_messages = [m for m in lost.messages if m.topic == f.settings.topics.handoffs]
    assert handoff_messages[0].value == next(iter(f.driver.read(f.settings.topics.handoffs))).value
    assert made["sequence"] == 1
    assert f.handoffs()[0].outcome == OPEN
    f.restart()
    f.driver.run()
    assert len(f.out("handoffs")) == 1
