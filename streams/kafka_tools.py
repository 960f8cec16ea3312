"""kafka-python behind a few typed doors: administration, publishing, reading to the end.

For the command line and for tools only; a worker speaks to Kafka through Faust's aiokafka. Everything
here is synchronous. Errors of the client come out as `KafkaToolError`, in words for people.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple, Self

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError, KafkaTimeoutError, UnknownTopicOrPartitionError
from kafka.partitioner.default import murmur2

from streams.settings import Settings
from streams.work import Message, Record

# Long enough for a broker that is just electing a leader, short enough for a person who waits.
_BOOTSTRAP_TIMEOUT_MS = 5_000
_PATIENCE_S = 8.0
_POLL_MS = 500
_LARGEST_RECORD = 16 * 1024 * 1024


class KafkaToolError(Exception):
    """Kafka could not be reached or refused; the text says where and what to do."""


class TopicInfo(NamedTuple):
    """A topic as it is. ``replication`` is that of its least replicated partition."""

    partitions: int
    replication: int
    configs: Mapping[str, str]


class Broker(NamedTuple):
    id: int
    address: str


def partition_of(key: bytes, partitions: int) -> int:
    """Where the default partitioner of Java's clients puts a key."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


@contextmanager
def _told(settings: Settings, doing: str) -> Iterator[None]:
    # The client logs each refused connection; the error that we raise says it once.
    logger = logging.getLogger("kafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    except UnknownTopicOrPartitionError as error:
        raise KafkaToolError(
            f"{doing} at {settings.bootstrap}: no such topic ({error}); `leadstream topics create` makes "
            f"those of leadstream"
        ) from error
    except KafkaError as error:
        raise KafkaToolError(
            f"{doing} at {settings.bootstrap}: {type(error).__name__}: {error or 'no answer'}; is the broker "
            f"running, and are bootstrap and security_protocol right (`leadstream settings`)?"
        ) from error
    except OSError as error:  # e.g. a CA file that is not there
        raise KafkaToolError(f"{doing} at {settings.bootstrap}: {error}") from error
    finally:
        logger.setLevel(level)


def _patiently(ask: Callable[[], Any]) -> Any:
    """Ask again while the answer is "not yet": a young broker is still making its offsets topic."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return ask()
        except KafkaError as error:
            if not error.retriable or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _someone_listens(settings: Settings) -> None:
    """Tell at once, and by its cause, what the client would call a timeout after many attempts.

    :raises KafkaToolError: no address of ``bootstrap`` takes a connection.
    """
    causes = []
    for address in settings.bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            socket.create_connection(
                (host.strip("[]"), int(port)), timeout=_BOOTSTRAP_TIMEOUT_MS / 1000
            ).close()
        except OSError as error:
            causes.append(f"{address.strip()}: {error.strerror or error}")
        else:
            return
    raise KafkaToolError(
        f"no broker answers ({'; '.join(causes)}); is it running, and is bootstrap right (`leadstream settings`)?"
    )


def _client(settings: Settings) -> dict[str, Any]:
    _someone_listens(settings)
    return {
        "bootstrap_servers": [part.strip() for part in settings.bootstrap.split(",")],
        "bootstrap_timeout_ms": _BOOTSTRAP_TIMEOUT_MS,
        "metrics_enabled": False,
        **settings.security(),
    }


class Admin:
    """Administration; a context manager."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        with _told(settings, "connecting"):
            options = {**_client(settings), "client_id": f"{settings.app_id}-tools"}
            options.pop("metrics_enabled")
            self._admin = KafkaAdminClient(**options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._admin.close()

    def brokers(self) -> list[Broker]:
        with _told(self._settings, "asking for the brokers"):
            found = self._admin.describe_cluster()["brokers"]
        return [Broker(b["broker_id"], f"{b['host']}:{b['port']}") for b in found]

    def broker_version(self) -> str:
        """The version of the protocol that the broker speaks, as the client infers it."""
        with _told(self._settings, "asking for the version"):
            broker = self._admin.describe_cluster()["brokers"][0]["broker_id"]
            data = self._admin.get_broker_version_data(broker)
        return ".".join(str(part) for part in data.broker_version)

    def topic_names(self) -> set[str]:
        with _told(self._settings, "listing topics"):
            return set(self._admin.list_topics())

    def topics(self, names: Iterable[str]) -> dict[str, TopicInfo]:
        """Those of the topics that exist, with their effective configuration."""
        wanted = sorted(set(names) & self.topic_names())
        if not wanted:
            return {}
        with _told(self._settings, "describing topics"):
            described = self._admin.describe_topics(wanted)
            resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in wanted]
            configs = self._admin.describe_configs(resources, config_filter="all")["topic"]
        found = {}
        for topic in described:
            parts = topic["partitions"]
            replication = min((len(p["replica_nodes"]) for p in parts), default=0)
            values = {key: str(entry["value"]) for key, entry in configs[topic["name"]].items()}
            found[topic["name"]] = TopicInfo(len(parts), replication, values)
        return found

    def create(self, name: str, partitions: int, replication: int, configs: Mapping[str, str]) -> None:
        """Create one topic and wait until every partition has a leader."""
        wanted = {
            name: {
                "num_partitions": partitions,
                "replication_factor": replication,
                "configs": dict(configs),
            }
        }
        with _told(self._settings, f"creating {name}"):
            self._admin.create_topics(wanted, wait_for_metadata=True)

    def committed(self, group: str) -> dict[tuple[str, int], int]:
        """The committed offsets of a consumer group by topic and partition."""
        with _told(self._settings, f"reading the offsets of group {group}"):
            offsets = _patiently(lambda: self._admin.list_group_offsets({group: None})).get(group, {})
        return {(tp.topic, tp.partition): meta.offset for tp, meta in offsets.items() if meta.offset >= 0}


class Publisher:
    """An idempotent producer (acks=all) with Java's default partitioner; a context manager.

    ``send`` is asynchronous; `flush` (and leaving the block) waits for all and raises the first failure.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._failed: list[tuple[str, BaseException]] = []
        self.acknowledged = 0
        with _told(settings, "connecting"):
            self._producer = KafkaProducer(
                **_client(settings),
                client_id=f"{settings.app_id}-publish",
                acks="all",
                enable_idempotence=True,
                linger_ms=20,
                batch_size=256 * 1024,
                max_request_size=_LARGEST_RECORD,
                max_block_ms=_BOOTSTRAP_TIMEOUT_MS,
                delivery_timeout_ms=60_000,
                allow_auto_create_topics=False,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.flush()
        finally:
            self._producer.close(timeout=10)

    def send(self, message: Message, timestamp_ms: int | None = None) -> None:
        """Hand over one record; partition None means murmur2 of the key.

        :raises KafkaToolError: an earlier record was refused, or the topic is not there.
        """
        self._raise_failed()
        with _told(self._settings, f"publishing to {message.topic}"):
            try:
                future = self._producer.send(
                    message.topic,
                    value=message.value,
                    key=message.key,
                    headers=list(message.headers),
                    partition=message.partition,
                    timestamp_ms=timestamp_ms,
                )
            except KafkaTimeoutError as error:
                raise KafkaToolError(
                    f"{message.topic}: {self._settings.bootstrap} knows no such topic, or has no leader for it; "
                    f"`leadstream topics create` makes it, `leadstream doctor` looks further"
                ) from error
        future.add_callback(self._acknowledge)
        future.add_errback(lambda error, topic=message.topic: self._failed.append((topic, error)))

    def flush(self) -> None:
        with _told(self._settings, "waiting for acknowledgements"):
            self._producer.flush(timeout=90)
        self._raise_failed()

    def _acknowledge(self, _metadata: object) -> None:
        self.acknowledged += 1

    def _raise_failed(self) -> None:
        if self._failed:
            topic, error = self._failed[0]
            raise KafkaToolError(f"{topic}: the broker refused a record: {type(error).__name__}: {error}")


class Reader:
    """Reads whole topics or their tails without a consumer group; a context manager.

    :param committed: only what committed transactions wrote (``read_committed``).
    """

    def __init__(self, settings: Settings, *, committed: bool = True) -> None:
        self._settings = settings
        with _told(settings, "connecting"):
            self._consumer = KafkaConsumer(
                **_client(settings),
                client_id=f"{settings.app_id}-tail",
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed" if committed else "read_uncommitted",
                max_partition_fetch_bytes=_LARGEST_RECORD,
                max_poll_records=2_000,
                fetch_max_wait_ms=200,
                allow_auto_create_topics=False,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close(autocommit=False)

    def partitions(self, topic: str) -> list[int]:
        with _told(self._settings, f"looking up {topic}"):
            if topic not in self._consumer.topics():
                raise KafkaToolError(
                    f"{topic}: no such topic at {self._settings.bootstrap}; "
                    f"`leadstream topics create` makes those of leadstream"
                )
            return sorted(self._consumer.partitions_for_topic(topic) or ())

    def offsets(self, topics: Sequence[str]) -> dict[tuple[str, int], tuple[int, int]]:
        """First and end offset of each partition (the end of what is committed, if so asked)."""
        parts = [TopicPartition(topic, p) for topic in topics for p in self.partitions(topic)]
        with _told(self._settings, "asking for the ends of topics"):
            firsts = self._consumer.beginning_offsets(parts)
            ends = self._consumer.end_offsets(parts)
        return {(tp.topic, tp.partition): (firsts[tp], ends[tp]) for tp in parts}

    def read(
        self,
        topics: Sequence[str],
        *,
        last: int | None = None,
        follow: bool = False,
        progress: Callable[[int, int], None] | None = None,
        partitions: Sequence[int] | None = None,
    ) -> Iterator[Record]:
        """Records of the topics, in order within a partition, up to the ends at the time of the call.

        :param last: begin this many offsets before the end of each partition (None: at the beginning).
        :param follow: go on with what arrives, until the caller stops.
        :param progress: told offsets passed and offsets to pass, after each poll.
        :param partitions: only these.
        """
        bounds = self.offsets(topics)
        if partitions is not None:
            bounds = {tp: span for tp, span in bounds.items() if tp[1] in partitions}
        parts = {TopicPartition(*tp): span for tp, span in bounds.items()}
        with _told(self._settings, "reading"):
            self._consumer.assign(list(parts))
            starts = {}
            for part, (first, end) in parts.items():
                starts[part] = first if last is None else max(first, end - last)
                self._consumer.seek(part, starts[part])
        yield from self._until({p: end for p, (_, end) in parts.items()}, starts, follow, progress)

    def _until(
        self,
        ends: dict[Any, int],
        starts: Mapping[Any, int],
        follow: bool,
        progress: Callable[[int, int], None] | None,
    ) -> Iterator[Record]:
        total = sum(ends[part] - starts[part] for part in ends)
        unread = {part for part in ends if starts[part] < ends[part]}
        while unread or follow:
            with _told(self._settings, "reading"):
                polled = self._consumer.poll(timeout_ms=_POLL_MS)
            for part, records in polled.items():
                for r in records:
                    # A record beyond the end arrived after the question: it is not part of the answer.
                    if follow or r.offset < ends[part]:
                        yield _record(r)
            with _told(self._settings, "reading"):
                at = {part: self._consumer.position(part) for part in unread}
            # Positions, not records: a partition may end in transaction markers, which nobody sees.
            unread = {part for part in unread if at[part] < ends[part]}
            if progress is not None:
                progress(total - sum(ends[part] - at[part] for part in unread), total)


def _record(r: Any) -> Record:
    headers = [(name, value or b"") for name, value in r.headers or ()]
    return Record(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, headers)
