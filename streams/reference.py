"""Reference and market data: read whole by every worker before it is ready, and followed afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import mode
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from streams.work import SourceRecord


class ReferenceReader(mode.Service):
    """Hands every committed record of some topics, in the order of each partition, to ``learn``.

    Without a consumer group: each worker reads everything, from the beginning, at each start.

    :param partitions: the partition count of a topic, known once the worker has started.
    :param client: where the brokers are and how to log in (aiokafka's options).
    :param learn: called with slices of records; it must not keep the event loop for long.
    """

    #: Records per call of ``learn``.
    SLICE = 500
    #: A stop waits at most this long for the poll in hand.
    POLL_MS = 200

    def __init__(
        self,
        topics: Iterable[str],
        partitions: Callable[[str], int],
        client: Mapping[str, Any],
        learn: Callable[[Sequence[SourceRecord]], None],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._topics = tuple(topics)
        self._partitions = partitions
        self._client = client
        self._learn = learn
        self._ends: dict[TopicPartition, int] = {}
        self._at_end = asyncio.Event()
        self._finished = asyncio.Event()
        self._finished.set()
        self.records = 0

    @property
    def at_end(self) -> bool:
        """Everything was read that was there at the start."""
        return self._at_end.is_set()

    async def read_to_end(self) -> None:
        """Return when everything was read that was there at the start."""
        await self._at_end.wait()

    async def on_start(self) -> None:
        self._finished.clear()

    async def on_stop(self) -> None:
        # Cancelling aiokafka inside a poll breaks its stop; let the poll end.
        with suppress(TimeoutError):
            await asyncio.wait_for(self._finished.wait(), 1.0)

    @mode.Service.task  # type: ignore[untyped-decorator] # mode is untyped here
    async def _read(self) -> None:
        try:
            async with AIOKafkaConsumer(
                **self._client,
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                max_poll_records=self.SLICE,
            ) as consumer:
                tps = [TopicPartition(t, p) for t in self._topics for p in range(self._partitions(t))]
                consumer.assign(tps)
                await consumer.seek_to_beginning()
                self._ends = await consumer.end_offsets(tps)
                await self._follow(consumer)
        finally:
            self._finished.set()

    async def _follow(self, consumer: Any) -> None:
        while not self.should_stop:
            if not self.at_end and await self._all_read(consumer):
                self._at_end.set()
            found = await consumer.getmany(timeout_ms=self.POLL_MS)
            for records in found.values():
                self._learn(records)
                self.records += len(records)
                await asyncio.sleep(0)

    async def _all_read(self, consumer: Any) -> bool:
        for tp, end in self._ends.items():
            if await consumer.position(tp) < end:
                return False
        return True
