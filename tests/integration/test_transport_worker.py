"""Promises of a single worker on a real Kafka: everything is folded, once; it stops clean; it restores."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams.local_kafka import LocalKafka
from tests.eventually import eventually
from tests.integration.lab import Lab

pytestmark = pytest.mark.integration

MakeLab = Callable[..., Lab]


@pytest.fixture
def lab(kafka: LocalKafka, prefix: str, tmp_path: Path) -> Iterator[Lab]:
    with Lab(kafka.bootstrap, prefix, tmp_path) as made:
        yield made


def test_everything_is_folded_once_and_a_clean_stop_leaves_no_lag(lab: Lab) -> None:
    lab.create_topics()
    fields = ("engagement", "lead", "deal")
    lab.send((fields[i % 3], f"lead-{i % 500}", str(i)) for i in range(6_000))
    lab.send([("reference", "a", "1"), ("market", "b", "2"), ("reference", "c", "3")])
    worker = lab.start()
    lab.wait_ready()
    lab.wait_idle()
    assert worker.metric("toy_learned") == 3, "read before the worker was ready"
    assert worker.metric("toy_catching_up") == 6_000

    lab.send((fields[i % 3], f"lead-{i % 500}", f"{i}>other-{i % 70}") for i in range(6_000, 7_000))
    eventually(lambda: worker.metric("toy_seen") == 8_000, what="forwards have come by the inbox")
    assert worker.metric("toy_catching_up") == 6_000, "the task was live"
    lab.send([("reference", "a", "4")])
    eventually(lambda: worker.metric("toy_learned") == 4, what="reference data is followed")
    assert worker.metric("leadstream_transport_live_partitions") == 4
    assert worker.metric("leadstream_transport_records_total") == 8_000
    eventually(lambda: worker.metric("leadstream_transport_lag_records") == 0, what="no lag in the metrics")
    code, seconds = worker.stop()
    assert code == 0
    assert seconds < 5
    assert lab.lag() == 0

    said = Counter(lab.said(lab.topics.stage_changes))
    expected = {(f"lead-{i % 500}", str(i)) for i in range(7_000)}
    expected |= {(f"other-{i % 70}", str(i)) for i in range(6_000, 7_000)}
    assert said == Counter(expected)
    stored = lab.stored()
    assert {(key, str(n)) for key, row in stored.rows.items() for n in row.numbers} == expected
    assert stored.stale == 0


def test_log_is_plain_and_quiet(lab: Lab) -> None:
    lab.create_topics()
    worker = lab.start()
    lab.wait_ready()
    eventually(lambda: worker.lines("live"), what="live")
    assert worker.stop()[0] == 0
    lines = [line.split(": ", 1)[1] for line in worker.lines()]
    assert [line.split(" ")[0].rstrip(":") for line in lines] == [
        "starting",
        "assigned",
        "recovered",
        "live",
        "stopping",
        "stopped",
    ], lines


def test_rows_come_back_from_the_changelog_and_deleted_ones_do_not(lab: Lab) -> None:
    lab.create_topics()
    lab.start("a", instance_id="one")  # static membership: who comes back need not wait for the session
    lab.wait_ready()
    lab.send(("lead", f"lead-{i}", "1") for i in range(1_000))
    lab.send(("lead", f"lead-{i}", "2!") for i in range(100))
    lab.send(("lead", f"lead-{i}", "3") for i in range(50))
    lab.wait_idle()
    lab.workers["a"].kill()

    worker = lab.start("b", instance_id="one")
    lab.wait_ready("b")
    assert worker.metric("toy_opened_rows") == 950
    lab.send(("lead", f"lead-{i}", "4") for i in range(0, 1_000, 3))
    lab.wait_idle()
    assert worker.stop()[0] == 0
    rows = lab.stored().rows
    assert rows.keys() == {f"lead-{i}" for i in range(1_000) if not 50 <= i < 100 or i % 3 == 0}
    for name, row in rows.items():
        i = int(name[5:])
        first = {3} if i < 50 else {1} if i >= 100 else set()
        assert row.numbers == first | ({4} if i % 3 == 0 else set())
        assert row.repeats == 0


def test_timers_fire_once_on_idle_partitions_and_survive_a_kill(lab: Lab) -> None:
    lab.create_topics()
    lab.start("a", instance_id="one")
    lab.wait_ready()
    soon = int(time.time() * 1000) + 1_500
    later = soon + 3_000
    lab.send(("lead", f"lead-{i}", f"1@{soon if i % 2 else later}") for i in range(400))
    lab.wait_idle()
    eventually(lambda: len(lab.said(lab.topics.sla)) == 200, what="first breaches")
    lab.workers["a"].kill()
    worker = lab.start("b", instance_id="one")
    eventually(lambda: len(lab.said(lab.topics.sla)) == 400, what="all breaches")
    assert worker.stop()[0] == 0
    said = Counter(key for key, _ in lab.said(lab.topics.sla))
    assert said == Counter(f"lead-{i}" for i in range(400))
    for _, value in lab.said(lab.topics.sla):
        due, as_of = map(int, value.split())
        assert as_of >= due


def test_with_a_fixed_clock_only_timers_up_to_its_instant_fire(lab: Lab) -> None:
    lab.create_topics()
    instant = 1_542_000_000_000
    lab.start(clock="fixed:2018-11-12T05:20:00Z")
    lab.send([("lead", "past", f"1@{instant}"), ("lead", "future", f"1@{instant + 1}")])
    lab.wait_ready()
    lab.wait_idle()
    eventually(lambda: lab.said(lab.topics.sla), what="the breach")
    assert lab.workers["a"].stop()[0] == 0
    assert lab.said(lab.topics.sla) == [("past", f"{instant} {instant}")]


def test_transactional_input_with_aborts_is_read_to_the_end(lab: Lab) -> None:
    from confluent_kafka import Producer

    lab.create_topics()
    worker = lab.start()
    producer = Producer(
        {"bootstrap.servers": lab.settings.bootstrap, "transactional.id": f"{lab.settings.app_id}-crm"}
    )
    producer.init_transactions()
    for transaction in range(30):
        producer.begin_transaction()
        for i in range(10):
            number = transaction * 10 + i
            producer.produce(lab.topics.lead, str(number), f"lead-{number % 7}")
        if transaction % 5 == 4:
            producer.abort_transaction()
        else:
            producer.commit_transaction()
    lab.wait_ready()
    lab.wait_idle()
    assert worker.stop()[0] == 0
    assert lab.lag() == 0
    numbers = {int(value) for _, value in lab.said(lab.topics.stage_changes)}
    assert numbers == {n for n in range(300) if n // 10 % 5 != 4}
