"""The consumer: an unbroken chain of record batches per partition, from where it was committed.

Faust and aiokafka drop fetched records in several races around a rebalance while the position is
already behind them. So each batch carries the position it starts at, taken in the same breath as the
records; one that does not continue what was delivered is dropped, and the consumer seeks back.

Offsets travel inside the producers' transactions: Faust's acknowledgements and commits are not used.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import IllegalStateError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams.errors import WorkerError
from streams.past import Past
from streams.transport.batch import Batch, Poll


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """aiokafka's consumer on its own thread and event loop, so that folding never stops heartbeats."""

    #: Until the first poll has shown what one costs.
    FIRST_WAIT_MS = 20

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust offers read_committed only together with its own exactly-once mode.
        consumer._isolation_level = "read_committed"
        consumer._fetch_min_bytes = self.app.pace.min_bytes
        consumer._fetch_max_wait_ms = self.FIRST_WAIT_MS
        return consumer

    async def committed(self, tps: Iterable[TP]) -> dict[TP, OffsetAndMetadata | None]:
        """The group's committed positions; None where nothing was ever committed."""
        found: dict[TP, OffsetAndMetadata | None] = await self.call_thread(self._committed, list(tps))
        return found

    async def _committed(self, tps: list[TP]) -> dict[TP, OffsetAndMetadata | None]:
        # aiokafka's own `committed` gives an offset without what was noted with it, one partition at a time.
        wanted = [driver.ensure_aiokafka_TP(tp) for tp in tps]
        found = await self._ensure_consumer()._coordinator.fetch_committed_offsets(wanted)
        return {
            tp: found[a] if a in found and found[a].offset >= 0 else None
            for tp, a in zip(tps, wanted, strict=True)
        }

    def stable_end(self, tp: TP) -> int | None:
        """The last stable offset that a fetch has reported; None before the first or if not assigned."""
        subscription = self._ensure_consumer()._subscription
        tp = driver.ensure_aiokafka_TP(tp)
        if not subscription.is_assigned(tp):
            return None
        end: int | None = subscription.subscription.assignment.state_value(tp).lso
        return end

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        """The application reports what ended it; a traceback beside it would only be noise."""

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: Any,
        timeout: Any = None,  # noqa: ASYNC109 (Faust's signature)
        max_records: Any = None,
    ) -> Poll:
        """Wait for data, then take it without giving up control in between."""
        poll = await self._take(consumer, active_partitions, max_records)
        if not poll and timeout:
            arrived = consumer._fetcher._create_fetch_waiter()
            await asyncio.wait([arrived], timeout=timeout)
            arrived.cancel()
            poll = await self._take(consumer, active_partitions, max_records)
        if poll.records:
            consumer._fetcher._fetch_max_wait_ms = self.app.pace.next_wait_ms()
        return poll

    async def _take(self, consumer: Any, active_partitions: Any, max_records: Any) -> Poll:
        if self.consumer.polled_generation != self.app.consumer_generation_id:
            return Poll({}, {}, {})  # a rebalance began: the records would be dropped, so leave them
        before = self._positions(consumer, active_partitions)
        records = await super()._fetch_records(consumer, active_partitions, 0, max_records)
        after = self._positions(consumer, active_partitions)
        return Poll({TP(*tp): list(found) for tp, found in records.items()}, before, after)

    @staticmethod
    def _positions(consumer: Any, tps: Iterable[TP]) -> dict[TP, int]:
        subscription = consumer._subscription.subscription
        assignment = subscription.assignment if subscription else None
        if assignment is None:
            return {}
        known = {}
        for tp in tps:
            state = assignment.state_value(driver.ensure_aiokafka_TP(tp))
            if state is not None and state.has_valid_position:
                known[tp] = state.position
        return known


class BatchConsumer(driver.Consumer):
    """Fetches only what a task wants, and hands on one message per partition and poll."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: The generation for which records are being fetched.
        self.polled_generation = -1
        #: A fetched batch was dropped: seek back before the next fetch.
        self._broken = False
        self._expected: dict[TP, int] = {}

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def stable_end(self, tp: TP) -> int | None:
        """See `BatchConsumerThread.stable_end`."""
        end: int | None = self._thread.stable_end(tp)
        return end

    # -- reading -------------------------------------------------------------------------------

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:  # noqa: ASYNC109 (Faust's)
        # A recovery that was overtaken by the next rebalance still resumes the flow. So "the flow is
        # active" does not mean "the rows of this partition are there"; only its task knows.
        wanted = {tp for tp in active_partitions if self._is_changelog_tp(tp) or self.app.tasks.wants(tp)}
        if not wanted:  # aiokafka would take the empty set for "all partitions"
            await self.sleep(0.01)
            return None
        return await super()._getmany(wanted, timeout)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 (Faust's)
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        if self._broken and not await self._seek_back():
            return
        # Only now: a generation captured before waiting would be the one that has just ended.
        generation = self.polled_generation = self.app.consumer_generation_id
        poll, _ = await self._wait_next_records(timeout)
        if not poll or self.should_stop:
            return
        found = self._unbroken(poll)
        last = {tp.partition: tp for tp in found}
        for tp, batch in found.items():
            if not self.flow_active or generation != self.app.consumer_generation_id:
                self._broken = True
                return
            if not self._is_changelog_tp(tp):
                self._expected[tp] = poll.after[tp]
            yield tp, self._message(tp, batch._replace(last=last[tp.partition] == tp), poll.after[tp])

    def _unbroken(self, poll: Poll) -> dict[TP, Batch]:
        """The batches that continue what was delivered before."""
        found = {}
        for tp, end in poll.after.items():
            start = poll.before.get(tp)
            if start == end:
                continue
            if not self._is_changelog_tp(tp) and (start is None or start != self._expected.get(tp)):
                self.app.metrics.broken_chains += 1
                self._broken = True
                continue
            found[tp] = Batch(start or 0, poll.records.get(tp, []))
        return found

    def _message(self, tp: TP, batch: Batch, end: int) -> Any:
        timestamp = batch.records[-1].timestamp / 1000.0 if batch.records else 0.0
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            end - 1,
            timestamp,
            0,
            None,
            None,
            batch,
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    # -- positions -----------------------------------------------------------------------------

    async def perform_seek(self) -> None:
        """To where each task goes on: what it holds already, else the committed offset.

        The recovery calls this once the rows are restored, and `getmany` after a broken chain.

        :raises WorkerError: the committed offset lies behind the end, as in a topic that was made anew.
        """
        self._broken = False
        sources = {tp for tp in self.assignment() if not self._is_changelog_tp(tp)}
        starts = {tp: held for tp in sources if (held := self.app.tasks.tail(tp)) is not None}
        fresh = sources - starts.keys()
        ends: Mapping[TP, int] = {}
        committed: Mapping[TP, OffsetAndMetadata | None] = {}
        if fresh:
            committed = await self._thread.committed(fresh)
            earliest: Mapping[TP, int] = await self.earliest_offsets(*fresh)
            ends = await self.highwaters(*fresh)
            for tp in fresh:
                starts[tp] = self._start(tp, committed[tp], earliest[tp], ends[tp])
        if starts:
            await self.seek_wait(starts)
        for tp in sources:
            self._read_offset[tp] = starts[tp] or None
        self._expected = starts
        if fresh:
            self.app.tasks.positioned(starts, ends, committed)
            self.app.tasks.watch(self._past())

    def _past(self) -> Past:
        """What there is on all partitions of all sources, whoever reads them."""
        app = self.app
        inputs = [TP(t, p) for t in app.sources for p in range(app.table.partitions)]
        inbox = [tp for tp in inputs if tp.topic == app.inbox]

        async def ends(tps: list[TP]) -> Mapping[TP, int]:
            found: Mapping[TP, int] = await self.highwaters(*tps)
            return found

        async def sent() -> Mapping[TP, int]:
            # A consumer of its own: this one sees the ends of what is committed.
            async with AIOKafkaConsumer(**app.client, group_id=None, enable_auto_commit=False) as consumer:
                found = await consumer.end_offsets([TopicPartition(*tp) for tp in inbox])
            return {TP(*tp): end for tp, end in found.items()}

        return Past(inputs, self._thread.committed, ends, sent, app.tasks.wake)

    def _start(self, tp: TP, position: OffsetAndMetadata | None, earliest: int, end: int) -> int:
        if position is None:
            return earliest
        committed: int = position.offset
        if committed > end:
            raise WorkerError(
                f"{tp.topic} partition {tp.partition}: offset {committed} is committed for group "
                f"{self.app.conf.id}, but the topic ends at {end}; was it deleted and created again? Then "
                f"rebuild under another app_id"
            )
        if committed < earliest:
            self.app.report.warning(
                "%s partition %d: records %d to %d were deleted by retention before they were read",
                tp.topic,
                tp.partition,
                committed,
                earliest - 1,
            )
        return max(committed, earliest)

    async def _seek_back(self) -> bool:
        """After a dropped batch; False if a rebalance takes care of it anyway."""
        if not self.assignment():
            return False
        try:
            await self.perform_seek()
        except IllegalStateError:  # a partition was just taken away
            self._broken = True
            await self.sleep(0.01)
            return False
        return True

    # -- what Faust would do with acknowledgements ----------------------------------------------

    async def wait_empty(self) -> None:
        """Before a rebalance and before the end: finish what runs, drop what waits."""
        await self.app.tasks.close(for_good=self.app.should_stop and not self.app.crashed)

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        """Nothing is acknowledged record by record, so gaps in the offsets need no book."""

    def verify_event_path(self, now: float, tp: Any) -> None:
        """Faust would miss its own commits here; the watchdog looks at progress instead."""
