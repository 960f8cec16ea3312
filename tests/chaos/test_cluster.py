"""Three local brokers: one is killed, what was acknowledged is still there, and it comes back."""

from __future__ import annotations

import uuid

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from streams.local_kafka import LocalKafka
from tests.conftest import create_topics, delete_topics

pytestmark = [pytest.mark.integration, pytest.mark.chaos]


def test_nothing_acknowledged_is_lost_with_one_of_three_brokers(kafka_cluster: LocalKafka) -> None:
    mine = f"cluster-{uuid.uuid4().hex[:6]}"
    create_topics(kafka_cluster.bootstrap, [mine], 1, {"min.insync.replicas": "2"}, replication=3)
    quiet = {"bootstrap.servers": kafka_cluster.bootstrap, "log_level": 0}
    refused: list[object] = []
    producer = Producer({**quiet, "acks": "all", "enable.idempotence": True})
    for n in range(200):
        if n == 100:
            assert producer.flush(60) == 0
            kafka_cluster.kill(2)
        producer.produce(mine, str(n), on_delivery=lambda error, _: refused.append(error) if error else None)
    assert producer.flush(60) == 0
    assert not refused
    assert sorted(kafka_cluster.pids) == [1, 3]
    kafka_cluster.start(2)
    assert sorted(kafka_cluster.pids) == [1, 2, 3]

    consumer = Consumer({**quiet, "group.id": mine, "enable.auto.commit": False})
    consumer.assign([TopicPartition(mine, 0, 0)])
    read = [int(m.value()) for m in consumer.consume(200, 60)]
    consumer.close()
    assert read == list(range(200))
    delete_topics(kafka_cluster.bootstrap, mine)
