"""DOMAIN 8, operation: publishers with another partitioner, long downtimes, a fold that fails."""

from __future__ import annotations

import pytest

from processors import subject
from processors.definition.model import DAY, MINUTE
from processors.model import ACCEPTED, LAPSED, OPEN
from streams.work import Message
from tests.strategies import at
from tests.world import Funnel, handed_over


@pytest.mark.parametrize("how", ["partition", "key"])
def test_case_49_a_record_on_the_wrong_partition_is_forwarded_and_there_are_never_two_rows(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    f = Funnel(partitions=8)
    f.fit()
    home = f.topology.partition_of("lead-1")
    wrong = (home + 3) % 8
    for n in range(3):
        where = {"partition": wrong} if how == "partition" else {"partition": wrong, "key": b"some-other-key"}
        f.say("content_downloaded", at(1, 10, n), {"asset_id": f"a{n}"}, source_system="rdkafka", **where)
    assert f.score() == 24_000
    rows = [(p, k) for p, part in enumerate(f.driver.rows) for k in part.rows if k[:1] != b"s"]
    assert rows == [(home, b"l:lead-1")]
    assert f.topology.counts["misrouted", "rdkafka"] == 3
    assert sum("rdkafka" in r.getMessage() for r in caplog.records) == 1
    touch = next(iter(f.driver.read(f.settings.topics.inbox)))
    assert touch.partition == home
    position = subject.effective(f.row())[-1][2]
    assert position >> 36 & 0x3FF == wrong  # the proof names the record that the publisher wrote


def test_case_50_no_false_breach_after_workers_were_down() -> None:
    """A hundred leads, touched in time while nobody was there to see it."""
    f = Funnel(partitions=4, flood_guard="off")
    leads = [f"lead-{n}" for n in range(100)]
    for lead in leads:
        f.fit(at(1, 9), lead)
    for lead in leads:
        f.raise_hand(at(1, 10), lead=lead)
    due = f.handoffs("lead-0")[0].due_touch
    untouched = leads[::10]
    for lead in leads:  # in the topics before the due instant, read after it
        if lead not in untouched:
            touch = {"channel": "phone", "kind": "call"}
            f.say("touched", due, touch, lead=lead, recorded_at=due, run=False)
    f.driver.now_ms = due + DAY
    f.driver.live = False
    f.restart()
    f.driver.run()
    assert f.out("sla", None, kind="breached") == []
    f.driver.catch_up()
    breached = f.out("sla", None, kind="breached", clock="first_touch")
    assert {x["lead_id"] for x in breached} == set(untouched)
    assert {x["occurred_at"] for x in breached} == {due}
    assert len(f.out("sla", None, kind="met", clock="first_touch")) == 90


def test_case_50_what_ended_while_nobody_was_there_is_historical_and_calls_nobody() -> None:
    f = Funnel(now=at(20), live=False)
    f.fit(at(1, 9))
    f.raise_hand(at(1, 10), recorded_at=at(1, 10))
    f.say("rejected", at(1, 12), {"reason_code": "timing"}, recorded_at=at(1, 12))
    f.raise_hand(at(19, 23), recorded_at=at(19, 23))
    assert f.out("handoffs") == []
    f.driver.catch_up()
    assert [(x["kind"], x["op"]) for x in f.out("handoffs") if x["kind"] != "answered"] == [
        ("historical", "new"),
        ("made", "new"),
    ]
    assert [h.outcome for h in f.handoffs()][-1] == OPEN
    f.say("content_downloaded", at(1, 8), {"asset_id": "late"})  # it moves the trigger of neither
    f.raise_hand(at(1, 9, 5), recorded_at=at(20))  # and this one that of the first
    first = [x for x in f.out("handoffs") if x["attempt"] == 1 and x["output_id"].endswith("/made")]
    assert [(x["kind"], x["op"]) for x in first] == [("historical", "new"), ("historical", "revised")]


def test_case_51_a_fold_that_fails_on_one_lead_leaves_the_others_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    f = Funnel(partitions=1)
    f.fit()
    good = subject.process

    def failing(row: subject.Row, events: object, now: int, scope: object, *more: object) -> object:
        if scope.subject == "l:lead-2":  # type: ignore[attr-defined]
            raise ZeroDivisionError("a bug")
        return good(row, events, now, scope, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(subject, "process", failing)
    for lead in ("lead-1", "lead-2"):
        f.say("content_downloaded", at(1, 10), {"asset_id": "a"}, lead=lead, run=False)
    f.until(at(1, 10))
    assert f.score() == 12_000
    (letter,) = f.dead()
    assert letter["code"] == "fold_error"
    assert "a bug" in letter["detail"]
    assert f.topology.counts["fold_errors",] == 1
    assert [k for k, _ in f.driver.all_rows()] == [b"l:lead-1"]
    monkeypatch.undo()
    record = next(iter(f.driver.read(f.settings.topics.dead_letters)))  # redrive is safe: facts are a set
    for _ in range(2):
        f.driver._append(Message(f.settings.topics.engagement, record.key, record.value))
        f.driver.run()
    assert f.score("lead-2") == 12_000


def test_case_51_or_the_worker_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    f = Funnel(partitions=1, on_fold_error="stop")

    def failing(*_: object) -> object:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(subject, "process", failing)
    with pytest.raises(ZeroDivisionError):
        f.say("page_viewed", at(1, 10), {"url": "/"})


def test_case_51_a_timer_that_fails_stops_neither_the_worker_nor_for_ever_the_row(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    f, _ = handed_over(partitions=1)
    f.fit(lead="lead-2")
    f.raise_hand(at(1, 10), lead="lead-2")
    (h,) = f.handoffs()
    rows = dict(f.driver.all_rows())
    good, tries = subject.process, []

    def failing(row: subject.Row, events: object, now: int, scope: object, *more: object) -> object:
        if scope.subject == "l:lead-1":  # type: ignore[attr-defined]
            tries.append(now)
            raise ZeroDivisionError("a bug")
        return good(row, events, now, scope, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(subject, "process", failing)
    first = h.due_touch + 2 * MINUTE
    f.until(first + DAY // 2)
    assert tries[:4] == [first, first + MINUTE, first + 3 * MINUTE, first + 7 * MINUTE]
    assert len(tries) < 12
    assert dict(f.driver.all_rows())[b"l:lead-1"] == rows[b"l:lead-1"]
    assert [x["lead_id"] for x in f.out("sla", None, kind="breached")] == ["lead-2"]
    assert f.dead() == []
    assert f.topology.counts["fold_errors",] == len(tries)
    assert 'leadstream_failing_timers{partition="0"} 1.0' in f.topology.exposition()
    told = [r for r in caplog.records if "l:lead-1" in r.getMessage()]
    assert "due at 2026-03-02T14:04:00Z" in told[0].getMessage()
    assert [bool(r.exc_info) for r in told] == [True] + [False] * (len(tries) - 1)
    monkeypatch.undo()
    f.until(at(9))
    assert [(x["clock"], x["occurred_at"]) for x in f.out("sla", kind="breached")] == [
        ("first_touch", h.due_touch), ("decision", h.due_decide),
    ]  # fmt: skip
    assert f.handoffs()[0].outcome == LAPSED
    assert f.handoffs()[0].ended == h.expires
    assert 'leadstream_failing_timers{partition="0"} 0.0' in f.topology.exposition()


def test_case_51_an_event_that_can_be_folded_ends_the_failure_of_a_timer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    f, _ = handed_over(partitions=1)
    (h,) = f.handoffs()
    good = subject.process

    def failing(row: subject.Row, events: list[object], *more: object) -> object:
        if not events:
            raise ZeroDivisionError("a bug")
        return good(row, events, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(subject, "process", failing)
    f.until(h.due_touch + 10 * MINUTE)
    assert f.out("sla", kind="breached") == []
    assert f.topology.failing_by_partition() == {0: 1}
    f.say("page_viewed", h.due_touch + 11 * MINUTE, {"url": "/"})
    assert [x["occurred_at"] for x in f.out("sla", kind="breached")] == [h.due_touch]
    assert f.topology.failing_by_partition() == {0: 0}


def test_a_timer_that_was_aborted_comes_again() -> None:
    f, _ = handed_over(partitions=1)
    (h,) = f.handoffs()
    now = h.expires
    f.driver.now_ms = now
    lost = f.topology.due(0, now, True, 10)  # the transaction is aborted, the process lives on
    assert lost.messages
    f.driver.run()
    assert f.handoffs()[0].outcome == LAPSED
    assert len(f.out("handoffs", kind="answered")) == 1


def test_an_aborted_batch_leaves_no_trace() -> None:
    f, _ = handed_over(partitions=1)
    before = dict(f.driver.rows[0].rows), f.topology.totals()
    f.say("accepted", at(1, 12), run=False)
    records = f.driver.topics[f.settings.topics.lead][0][-1:]
    f.topology.batch(0, records, at(1, 12), True)
    assert (dict(f.driver.rows[0].rows), f.topology.totals()) == before
    f.until(at(1, 12))
    assert f.handoffs()[0].outcome == ACCEPTED
    assert len(f.out("handoffs", kind="answered")) == 1
    assert f.now < at(1, 12) + MINUTE


def test_a_row_is_weighed_unpacked() -> None:
    """Stored rows are packed, and a megabyte of one letter packs well: in memory it is a megabyte."""
    f = Funnel(partitions=1)
    f.fit(mood="x" * 1_000_000)
    assert [letter["code"] for letter in f.dead()] == ["too_large"]
    assert f.row().head.created
    assert "mood" not in f.row().head.attributes
