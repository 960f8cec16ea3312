"""How what follows from a batch reaches Kafka: all of it in one transaction, or nothing.

1. begin; 2. send messages and changelog in record batches; 3. await every acknowledgement; 4. send the
source offsets; 5. commit. Only then may rows change in memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import count, zip_longest
from typing import Any

from aiokafka.errors import IllegalOperation, KafkaError, ProducerFenced
from aiokafka.partitioner import murmur2
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.errors import WorkerError
from streams.table import Stamped
from streams.work import Headers, Message

#: key, value, headers
Entry = tuple[bytes | None, bytes | None, Headers]

#: Brokers take record batches up to 1,048,588 bytes by default; a batch has some overhead.
MAX_RECORD_BYTES = 1_000_000


class Delivery:
    """Stores the results of one task's batches.

    :param producer: the task's transactional producer.
    :param group: the consumer group whose offsets are committed.
    :param changelog: the task's partition of the changelog.
    :param partitions: partition count by topic.
    """

    def __init__(
        self, producer: Any, group: str, changelog: TopicPartition, partitions: Callable[[str], int]
    ) -> None:
        self._producer = producer
        self._group = group
        self._changelog = changelog
        self._partitions = partitions
        self._keyless = count(changelog.partition)
        self.transactions = 0
        self.aborted = 0
        self.seconds = 0.0

    async def store(
        self,
        messages: Iterable[Message],
        rows: Sequence[Stamped],
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
    ) -> int:
        """One transaction; the offset of the last changelog record, -1 if there was none.

        :raises KafkaError: broken, and nobody knows whether the transaction was committed. The process
            has to end: the next owner finds out when it fences.
        :raises WorkerError: fenced by another worker; or a message is too large for Kafka.
        """
        try:
            return await self._store(messages, rows, offsets)
        except (ProducerFenced, IllegalOperation, AssertionError) as error:
            # Once fenced, aiokafka's producer answers whatever it is asked by one of these.
            raise WorkerError(
                f"another worker has taken over partition {self._changelog.partition} "
                f"({type(error).__name__}: {error}); start again to take part"
            ) from error

    async def _store(
        self,
        messages: Iterable[Message],
        rows: Sequence[Stamped],
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
    ) -> int:
        entries = self._grouped(messages)
        if rows:
            entries[self._changelog] = list(rows)
        started = time.monotonic()
        await self._producer.begin_transaction()
        try:
            ends = await self._send(entries)
            # Not at the same time: while the coordinator writes AddOffsetsToTxn it cannot verify a
            # produce, which then fails with NOT_ENOUGH_REPLICAS and costs a back-off of 100 ms.
            if offsets:  # a timer has none
                await self._producer.send_offsets_to_transaction(dict(offsets), self._group)
        except BaseException as error:
            self.aborted += 1
            if not isinstance(error, KafkaError | IllegalOperation):
                # Readers that read committed wait for the end of an open transaction: do not let them
                # wait for its timeout.
                with suppress(Exception):
                    await asyncio.wait_for(self._producer.abort_transaction(), 1.0)
            raise
        await self._producer.commit_transaction()
        self.transactions += 1
        self.seconds += time.monotonic() - started
        return ends.get(self._changelog, -1)

    def _grouped(self, messages: Iterable[Message]) -> dict[TopicPartition, list[Entry]]:
        grouped: dict[TopicPartition, list[Entry]] = {}
        for topic, key, value, headers, chosen in messages:
            tp = TopicPartition(topic, self._partition(topic, key) if chosen is None else chosen)
            entries = grouped.get(tp)
            if entries is None:
                entries = grouped[tp] = []
            entries.append((key, value, headers))
        return grouped

    def _partition(self, topic: str, key: bytes | None) -> int:
        partitions = self._partitions(topic)
        return next(self._keyless) % partitions if key is None else partition_of(key, partitions)

    async def _send(self, entries: Mapping[TopicPartition, Iterable[Entry]]) -> dict[TopicPartition, int]:
        """Send and await everything; the last offset per partition."""
        batches = {tp: self._batches(tp, found) for tp, found in entries.items()}
        sent: list[tuple[TopicPartition, int, Awaitable[Any]]] = []
        # First the first batch of every partition: aiokafka takes one per partition and request.
        for wave in zip_longest(*batches.values()):
            for tp, batch in zip(batches, wave, strict=True):
                if batch is not None:
                    records = batch.record_count()
                    future = await self._producer.send_batch(batch, tp.topic, partition=tp.partition)
                    sent.append((tp, records, future))
        # aiokafka commits a transaction even after a failed produce: look at every answer.
        answers = await asyncio.gather(*(future for _, _, future in sent), return_exceptions=True)
        ends = {}
        for (tp, records, _), answer in zip(sent, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            ends[tp] = answer.offset + records - 1
        return ends

    def _batches(self, tp: TopicPartition, entries: Iterable[Entry]) -> list[Any]:
        # The time of the record, not of what it says: retention counts from it, also with a fixed clock.
        now_ms = time.time_ns() // 1_000_000
        batch = self._producer.create_batch()
        batches = [batch]
        for key, value, given in entries:
            size = len(key or b"") + len(value or b"") + sum(len(n) + len(v) for n, v in given)
            if size > MAX_RECORD_BYTES:
                raise WorkerError(
                    f"a record of {size:,} bytes for {tp.topic} partition {tp.partition}, key {key!r:.100}, "
                    f"is larger than Kafka takes ({MAX_RECORD_BYTES:,}); nothing of its batch was stored"
                )
            headers = list(given)  # the compiled builder takes nothing else
            if batch.append(timestamp=now_ms, key=key, value=value, headers=headers) is None:
                batch = self._producer.create_batch()
                batches.append(batch)
                batch.append(timestamp=now_ms, key=key, value=value, headers=headers)
        return batches


@lru_cache(200_000)  # aiokafka's murmur2 is pure Python: 9 µs
def partition_of(key: bytes, partitions: int) -> int:
    """Where a record with this key lies, as every Java client computes it."""
    hashed: int = murmur2(key) & 0x7FFFFFFF
    return hashed % partitions
