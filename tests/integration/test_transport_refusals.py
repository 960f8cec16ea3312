"""A worker that cannot or must not go on ends with code 1 and one line that says what to do."""

from __future__ import annotations

import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.local_kafka import LocalKafka
from tests.eventually import eventually
from tests.integration.lab import Lab, Worker

pytestmark = pytest.mark.integration


@pytest.fixture
def lab(kafka: LocalKafka, prefix: str, tmp_path: Path) -> Iterator[Lab]:
    with Lab(kafka.bootstrap, prefix, tmp_path, partitions=2) as made:
        yield made


def refusal(worker: Worker, *, code: int = 1) -> str:
    """The one error line of a worker that has ended."""
    assert worker.process.wait(30) == code
    errors = worker.lines(" ERROR leadstream: ")
    assert len(errors) == 1, worker.lines()
    assert not worker.lines("Traceback"), worker.lines()
    return errors[0]


def test_without_topics(lab: Lab) -> None:
    lab.create_topics("inbox", "sla")
    line = refusal(lab.start())
    assert f"missing topics on {lab.settings.bootstrap}: {lab.topics.inbox}, {lab.topics.sla};" in line
    assert "leadstream topics create" in line


def test_not_co_partitioned(lab: Lab) -> None:
    lab.create_topics("inbox", "deal")
    lab.create_topic(lab.topics.inbox, 3)
    lab.create_topic(lab.topics.deal, 2)
    lab.send([("lead", "a", "1")])
    line = refusal(lab.start())
    assert "not co-partitioned" in line
    assert f"{lab.topics.inbox} 3" in line
    assert lab.lag() == 1, "nothing was read"


def test_without_a_broker(lab: Lab) -> None:
    line = refusal(lab.start(bootstrap="127.0.0.1:1"))
    assert "no answer from Kafka at 127.0.0.1:1" in line


def test_port_in_use(lab: Lab) -> None:
    lab.create_topics()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in refusal(lab.start(web_port=str(port)))


def test_an_error_in_the_logic_stores_nothing_of_its_batch(lab: Lab) -> None:
    lab.create_topics()
    lab.send([("lead", "a", "1")])
    worker = lab.start()
    lab.wait_idle()
    lab.send([("lead", "a", "2"), ("lead", "a", "boom")])
    assert "ZeroDivisionError: boom at " in refusal(worker)
    assert lab.said(lab.topics.stage_changes) in ([("a", "1")], [("a", "1"), ("a", "2")])
    assert lab.lag() > 0


def test_a_message_larger_than_kafka_takes(lab: Lab) -> None:
    lab.create_topics()
    worker = lab.start()
    lab.send([("lead", "a", "big 990000")])
    lab.wait_idle()
    lab.send([("lead", "a", "big 1200000")])
    assert f"1,200,001 bytes for {lab.topics.stage_changes}" in refusal(worker)
    assert [len(message.value()) for message in lab.read(lab.topics.stage_changes)] == [990_000]


def test_topic_made_anew_under_committed_offsets(lab: Lab) -> None:
    lab.create_topics()
    lab.send(("lead", f"lead-{i}", "1") for i in range(50))
    lab.start("a")
    lab.wait_idle()
    assert lab.workers["a"].stop()[0] == 0
    admin = AdminClient({"bootstrap.servers": lab.settings.bootstrap})
    admin.delete_topics([lab.topics.lead])[lab.topics.lead].result()
    eventually(lambda: lab.topics.lead not in admin.list_topics(timeout=5).topics, what="deleted")
    lab.create_topic(lab.topics.lead, 2)
    # This broker deletes the offsets with the topic; some clusters' tools copy them back.
    consumer = Consumer({"bootstrap.servers": lab.settings.bootstrap, "group.id": lab.settings.app_id})
    consumer.commit(offsets=[TopicPartition(lab.topics.lead, 0, 20)], asynchronous=False)
    consumer.close()
    line = refusal(lab.start("b"))
    assert f"{lab.topics.lead} partition 0: offset 20 is committed" in line


def test_probes_answer_before_the_worker_is_ready_and_a_stop_on_the_way_up_is_clean(lab: Lab) -> None:
    lab.create_topics()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    worker = lab.start(web_port=str(port))

    def ask(path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    eventually(lambda: ask("/livez"), what="an answer")
    assert (ask("/livez"), ask("/readyz"), ask("/metrics")) == (200, 503, 200)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(5) == 0
    assert not worker.ready_file.exists()
