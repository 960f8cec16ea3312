"""The whole topology in one process, with topics in memory and a virtual clock.

The same `LeadTopology` as in the worker, without Kafka: for fast tests, and for `replay`, which folds events
offline. A batch is stored at once; delivery between tasks goes through an in-memory inbox.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

from aiokafka.partitioner import murmur2

from streams.settings import SOURCES
from streams.topology import LeadTopology
from streams.work import SYSTEM, Headers, Message, Record, Work

#: Records per batch unless told otherwise.
BATCH = 4000


class MemoryRows:
    """The rows of one partition, encoded as the changelog would have them."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def items(self) -> list[tuple[bytes, bytes]]:
        return list(self.rows.items())


class Driver:
    """Topics as lists, partitions as in Kafka, time as you say.

    ``live``: False holds everything back that people would hear, as a worker does while it is catching up.
    """

    def __init__(self, topology: LeadTopology, now_ms: int = 0, live: bool = True) -> None:
        self.topology = topology
        self.partitions = topology.partitions
        self.now_ms = now_ms
        self.live = live
        names = topology.settings.topics
        self.sources = tuple(getattr(names, field) for field in SOURCES)
        self.topics: dict[str, list[list[Record]]] = {}
        self.rows = [MemoryRows() for _ in range(self.partitions)]
        self._read = {(topic, p): 0 for topic in self.sources for p in range(self.partitions)}
        self._partition_of = lru_cache(200_000)(lambda key: (murmur2(key) & 0x7FFFFFFF) % self.partitions)
        for p in range(self.partitions):
            topology.opened(p, self.rows[p])

    # -- publishing -------------------------------------------------------------------------------------------------

    def publish(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        timestamp_ms: int | None = None,
        headers: Headers = (),
        partition: int | None = None,
    ) -> Record:
        """Append a record; it is folded by the next `run`."""
        if partition is None:
            partition = self._partition_of(key) if key is not None else 0
        log = self._log(topic)[partition]
        at = self.now_ms if timestamp_ms is None else timestamp_ms
        record = Record(topic, partition, len(log), at, key, value, headers)
        log.append(record)
        return record

    def _log(self, topic: str) -> list[list[Record]]:
        return self.topics.setdefault(topic, [[] for _ in range(self.partitions)])

    # -- running ----------------------------------------------------------------------------------------------------

    def run(self, batch: int = BATCH, progress: Callable[[int], None] | None = None) -> None:
        """Fold everything that is there, forwards included, and fire what is due by now."""
        while self._step(batch, progress):
            pass

    def _step(self, batch: int, progress: Callable[[int], None] | None) -> bool:
        busy = False
        for p in range(self.partitions):
            records: list[Record] = []
            for topic in self.sources:
                log = self._log(topic)[p]
                start = self._read[topic, p]
                found = log[start : start + batch]
                self._read[topic, p] = start + len(found)
                records += found
            if records:
                busy = True
                self._store(p, self.topology.batch(p, records, self.now_ms, self.live))
                if progress is not None:
                    progress(len(records))
            while (due := self.topology.next_due(p, self.live)) is not None and due <= self.now_ms:
                busy = True
                self._store(p, self.topology.due(p, self.now_ms, self.live, 1000))
        return busy

    def advance(self, to_ms: int) -> None:
        """Let time pass, firing timers at their own instants on the way (as idle workers would)."""
        while True:
            dues = [
                d for p in range(self.partitions) if (d := self.topology.next_due(p, self.live)) is not None
            ]
            following = min((d for d in dues if d <= to_ms), default=None)
            if following is None:
                break
            self.now_ms = max(self.now_ms, following)
            self.run()
        self.now_ms = max(self.now_ms, to_ms)
        self.run()

    def catch_up(self) -> None:
        """Say what was held back."""
        self.live = True
        self.run()

    def _store(self, partition: int, work: Work) -> None:
        for message in work.messages:
            self._append(message)
        rows = self.rows[partition].rows
        for key, value in work.rows.items():
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
        self.topology.merged(partition, work)

    def _append(self, message: Message) -> None:
        self.publish(
            message.topic, message.key, message.value, headers=message.headers, partition=message.partition
        )

    # -- reading ----------------------------------------------------------------------------------------------------

    def read(self, topic: str) -> Iterator[Record]:
        """All records of a topic, partition by partition."""
        for log in self.topics.get(topic, ()):
            yield from log

    def all_rows(self) -> Iterator[tuple[bytes, bytes]]:
        """The rows of all subjects."""
        for rows in self.rows:
            for key, data in rows.rows.items():
                if key[:1] != SYSTEM:
                    yield key, data

    def restart(self, topology: LeadTopology) -> None:
        """As after a crash: another process, the same committed rows and offsets."""
        self.topology = topology
        for p in range(self.partitions):
            topology.opened(p, self.rows[p])
