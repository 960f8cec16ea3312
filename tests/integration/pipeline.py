"""A deployment of real workers for one test: what is published to it, what it says, what it keeps."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec
from kafka import KafkaAdminClient
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from processors.model import Row
from processors.subject import next_due
from schemas.codec import decode_output
from streams import state_reader
from streams.cli import build
from streams.cli.events import checked_event, message
from streams.clock import clock_of
from streams.dead_letters import PREFIX
from streams.kafka_tools import Admin
from streams.settings import ALL_OUTPUTS, SOURCES, Settings, load
from streams.topics import Timestamps, create
from streams.work import Headers, Record
from tests.eventually import eventually
from tests.integration.lab import Lab, Worker
from tests.subscriber import Subscriber

#: Outputs that carry sequences.
SAID = tuple(name for name in ALL_OUTPUTS if name != "dead_letters")


class RealWorker(Worker):
    """``leadstream worker``."""

    program = ("-m", "streams.cli", "worker")


class Sent(NamedTuple):
    """A record to be published; ``field`` is the topic's key in the settings."""

    field: str
    key: bytes | None
    value: bytes | None
    at_ms: int | None = None
    headers: Headers = ()
    partition: int | None = None


class Tap:
    """Topics read as they grow; what was read stays in ``records``."""

    def __init__(self, bootstrap: str, topics: Sequence[str]) -> None:
        self.records: list[Record] = []
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "tap",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
                "log_level": 2,
            }
        )
        known = self._consumer.list_topics(timeout=10).topics
        self._read = {(topic, p): 0 for topic in topics for p in known[topic].partitions}
        self._consumer.assign([TopicPartition(topic, p, 0) for topic, p in self._read])
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})

    def read_to_end(self) -> list[Record]:
        """Everything that is committed now."""
        asked = {TopicPartition(*tp): OffsetSpec.latest() for tp in self._read}
        answers = self._admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED)
        ends = {(tp.topic, tp.partition): answer.result(10).offset for tp, answer in answers.items()}
        while any(self._read[tp] < end for tp, end in ends.items()):
            for found in self._consumer.consume(2_000, 0.02):
                # The end of a partition may be a marker of a transaction: it comes as such an "error".
                past = found.offset() + (0 if found.error() else 1)
                tp = (found.topic(), found.partition())
                self._read[tp] = max(self._read[tp], past)
                if not found.error():
                    self.records.append(record_from(found))
        return self.records

    def close(self) -> None:
        self._consumer.close()


def record_from(m: Message) -> Record:
    return Record(
        m.topic() or "", m.partition() or 0, m.offset() or 0, m.timestamp()[1], m.key(), m.value(),
        tuple(m.headers() or ()),
    )  # fmt: skip


class Letter(NamedTuple):
    """A dead letter: the original as it is kept, and what was said about it."""

    code: str
    detail: str
    place: tuple[str, int, int]
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]
    said: dict[str, str]


class Scrape:
    """Samples of all workers."""

    def __init__(self, samples: Sequence[Any]) -> None:
        self._samples = samples

    def values(self, name: str, **labels: str) -> list[float]:
        wanted = labels.items()
        return [s.value for s in self._samples if s.name == name and wanted <= s.labels.items()]

    def sum(self, name: str, **labels: str) -> float:
        """Over workers and all other labels."""
        return sum(self.values(name, **labels))


def letter_of(record: Record) -> Letter:
    said = {n.removeprefix(PREFIX): v.decode() for n, v in record.headers if n.startswith(PREFIX)}
    place = (said["topic"], int(said["partition"]), int(said["offset"]))
    headers = {n: v for n, v in record.headers if not n.startswith(PREFIX)}
    return Letter(said["code"], said["detail"], place, record.key, record.value, headers, said)


def record_of(settings: Settings, event: Mapping[str, Any]) -> Sent:
    """An event as `leadstream publish` sends it: topic by its type, key by its subject, Avro."""
    line = checked_event(event, "test")
    assert line.envelope is not None, line.problem
    found = message(settings, event, line.envelope, "avro")
    return Sent(settings.topics.field_of(found.topic) or "", found.key, found.value)


class Pipeline(Lab):
    """Topics as `leadstream topics create` makes them, and real workers; settings as of the environment."""

    worker_type = RealWorker

    def __init__(self, bootstrap: str, prefix: str, folder: Path, partitions: int = 4, **env: str) -> None:
        super().__init__(bootstrap, prefix, folder, partitions, **env)
        self.env = self._env
        self.settings = load(None, self.env)
        self.clock = clock_of(self.settings)
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})

    def create(self, timestamps: Timestamps = "LogAppendTime") -> None:
        with Admin(self.settings) as admin:
            create(admin, self.settings, timestamps=timestamps)

    def cli(self, *arguments: str, code: int = 0) -> str:
        """What a command prints."""
        result = CliRunner().invoke(build(), list(arguments), env={**self.env, "COLUMNS": "200"})
        assert result.exit_code == code, (result.output, result.exception)
        return result.stdout

    # -- publishing ----------------------------------------------------------------------------

    def publish(self, *events: Mapping[str, Any], at_ms: int | None = None) -> None:
        """Events as `leadstream publish` sends them."""
        self.append(record_of(self.settings, event)._replace(at_ms=at_ms) for event in events)

    def append(self, records: Iterable[Sent], **config: object) -> int:
        """Records as they are; how many."""
        producer = Producer(
            {
                "bootstrap.servers": self.settings.bootstrap,
                "linger.ms": 5,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "message.max.bytes": 20_000_000,
                "log_level": 2,
                **config,
            }
        )
        refused: list[str] = []
        count = 0
        for count, sent in enumerate(records, 1):  # noqa: B007 (the count is the result)
            options: dict[str, Any] = {} if sent.partition is None else {"partition": sent.partition}
            if sent.at_ms is not None:
                options["timestamp"] = sent.at_ms
            while True:
                try:
                    producer.produce(
                        getattr(self.topics, sent.field), sent.value, sent.key, headers=list(sent.headers),
                        on_delivery=lambda error, _: refused.append(str(error)) if error else None, **options,
                    )  # fmt: skip
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        assert producer.flush(60) == 0
        assert not refused, refused[0]
        return count

    # -- reading -------------------------------------------------------------------------------

    def records(self, *fields: str) -> list[Record]:
        """Everything committed in some topics, in order within a partition."""
        return [record_from(m) for m in self.read(*self.topics.named(*fields))]

    def outputs(self, field: str, key: str | None = None, **having: Any) -> list[dict[str, Any]]:
        """What was said on a topic, oldest first per key, decoded."""
        found = [
            decode_output(r.value or b"")[1]
            for r in self.records(field)
            if key is None or r.key == key.encode()
        ]
        return [o for o in found if all(o[name] == value for name, value in having.items())]

    def letters(self) -> list[Letter]:
        return [letter_of(record) for record in self.records("dead_letters")]

    def heard(self) -> Subscriber:
        """A subscriber that has read everything said; it has missed nothing."""
        subscriber = Subscriber()
        subscriber.take_all(self.records(*SAID))
        return subscriber

    def rows(self) -> dict[str, Row]:
        """As a restore would find them."""
        return dict(state_reader.rows(self.settings))

    def figures(self, *options: str) -> list[dict[str, Any]]:
        found = json.loads(self.cli("figures", "--json", *options))["figures"]
        assert isinstance(found, list)
        return found

    def lag(self) -> int:
        """As `Lab.lag`, in two requests: it is asked often, on a machine that has work to do."""
        tps = [
            TopicPartition(t, p) for t in self.topics.named(*SOURCES) for p in range(self.settings.partitions)
        ]
        group = self.settings.app_id
        try:
            asked = self._admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
            committed = asked[group].result(10).topic_partitions
            ends = self._admin.list_offsets({tp: OffsetSpec.latest() for tp in tps})
            done = {(tp.topic, tp.partition): tp.offset for tp in committed}
            return sum(
                end.result(10).offset - done.get((tp.topic, tp.partition), 0) for tp, end in ends.items()
            )
        except KafkaException:  # the coordinator of a young broker is not there yet
            return -1

    def notes(self) -> set[str]:
        """What is noted with the group's positions."""
        group = self.settings.app_id  # kafka-python: confluent-kafka does not end the text where it ends
        with closing(KafkaAdminClient(bootstrap_servers=self.settings.bootstrap)) as admin:
            return {position.metadata for position in admin.list_group_offsets({group: None})[group].values()}

    # -- waiting -------------------------------------------------------------------------------

    def settled(self) -> bool:
        """All is read and committed, nobody has anything left to say, and no timer is due."""
        if self.lag() != 0:
            return False
        now_ms = self.clock.now_ms()
        return not any(
            row.waiting or (row.held if key[0] == "d" else next_due(row)) <= now_ms
            for key, row in self.rows().items()
        )

    def wait_settled(self, timeout: float = 60, *, revive: bool = True) -> None:
        def done() -> bool:
            if revive:
                self.revive()
            return self.settled()

        eventually(done, timeout, "everything is folded and said")

    # -- metrics -------------------------------------------------------------------------------

    def scrape(self) -> Scrape:
        """What `/metrics` of all workers says now."""
        return Scrape(
            [
                sample
                for worker in self.workers.values()
                if worker.alive
                for family in text_string_to_metric_families(worker.get("/metrics")[1])
                for sample in family.samples
            ]
        )

    def metric(self, name: str, **labels: str) -> float:
        """Sum over workers and over all other labels."""
        return self.scrape().sum(name, **labels)


def by_code(letters: Sequence[Letter]) -> Counter[str]:
    return Counter(letter.code for letter in letters)


def wait_until(clock: Any, instant_ms: int, timeout: float = 60) -> None:
    """Wait for a (scaled) clock to show an instant."""
    deadline = time.monotonic() + timeout
    while clock.now_ms() < instant_ms:
        assert time.monotonic() < deadline, f"the clock does not reach {instant_ms} within {timeout} s"
        time.sleep(0.02)
