"""The contract of the topology, on a real Kafka with real workers whose clock runs 600 times as fast."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from schemas.codec import decode_output
from streams.kafka_tools import partition_of
from streams.local_kafka import LocalKafka
from streams.settings import Settings
from streams.work import Headers
from tests.conftest import delete_topics
from tests.contract import DEFINITION, REFERENCE, START_MS, Dead, TopologyContract
from tests.contract_people import PeopleContract
from tests.eventually import eventually
from tests.integration.pipeline import SAID, Pipeline, Sent, Tap, letter_of, wait_until
from tests.integration.traffic import iso
from tests.subscriber import Output, Subscriber

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

FACTOR = 600


def clock_from(start_ms: int, factor: int) -> str:
    """A scaled clock that begins now."""
    return f"scaled:{iso(start_ms)}@{iso(time.time_ns() // 1_000_000)}x{factor}"


class OnKafka:
    """A `Deployment` on a real Kafka."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.settings: Settings = pipeline.settings
        self._tap = Tap(self.settings.bootstrap, self.settings.topics.named(*SAID, "dead_letters"))
        self._starts = 0

    def now_ms(self) -> int:
        return self.pipeline.clock.now_ms()

    def publish(self, *events: Mapping[str, Any]) -> None:
        self.pipeline.publish(*events)

    def append(
        self,
        field: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int | None = None,
    ) -> None:
        self.pipeline.append([Sent(field, key, value, None, headers, partition)])

    def wait(self, until_ms: int) -> None:
        wait_until(self.pipeline.clock, until_ms)

    def settle(self) -> None:
        self.pipeline.wait_settled(revive=False)

    def eventually(self, condition: Callable[[], Any], what: str) -> Any:
        return eventually(condition, 30, what)

    def heard(self) -> Subscriber:
        subscriber = Subscriber()
        subscriber.take_all(
            r for r in self._tap.read_to_end() if r.topic != self.settings.topics.dead_letters
        )
        return subscriber

    def said(self, field: str, key: str = "") -> list[Output]:
        topic = getattr(self.settings.topics, field)
        found = (r for r in self._tap.read_to_end() if r.topic == topic and key.encode() in (b"", r.key))
        return [decode_output(r.value or b"")[1] for r in found]

    def dead(self) -> list[Dead]:
        letters = (r for r in self._tap.read_to_end() if r.topic == self.settings.topics.dead_letters)
        return [Dead(x.code, x.key, x.value, x.headers) for x in map(letter_of, letters)]

    def counted(self, metric: str, **labels: str) -> float:
        return self.pipeline.metric(metric, **labels)

    def partition_of(self, subject_id: str) -> int:
        return partition_of(subject_id.encode(), self.settings.partitions)

    def down(self) -> None:
        for worker in self.pipeline.workers.values():
            code, seconds = worker.stop()
            assert (code, seconds < 5) == (0, True)
        self.pipeline.workers.clear()

    def up(self) -> None:
        self._starts += 1
        self.pipeline.start(f"w{self._starts}")
        self.pipeline.wait_ready()

    def close(self) -> None:
        self._tap.close()


@pytest.fixture(scope="module")
def deployment(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnKafka]:
    """One for all cases: each has leads of its own."""
    folder = tmp_path_factory.mktemp("contract")
    definition = folder / "contract.toml"
    definition.write_text(DEFINITION)
    prefix = f"contract-{uuid.uuid4().hex[:6]}-"
    with Pipeline(
        kafka.bootstrap,
        prefix,
        folder,
        4,
        definition=str(definition),
        clock=clock_from(START_MS, FACTOR),
        max_batch_records="10",  # so that a backlog is many steps
    ) as pipeline:
        pipeline.create()
        pipeline.publish(*REFERENCE)
        made = OnKafka(pipeline)
        made.up()
        yield made
        made.close()
    delete_topics(kafka.bootstrap, prefix)


class TestOnKafka(TopologyContract, PeopleContract):
    @pytest.fixture
    def d(self, deployment: OnKafka) -> OnKafka:
        return deployment
