"""Tasks: one asyncio task per partition number, in which all that touches the partition happens.

So batches, timers and the end of an assignment need no lock, transactions of different partitions
overlap, and what arrives while one commits shares the next. Within a task everything is strictly in
order: fold a batch, store it, merge it, and only then the next.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.types import TP

from streams.clock import Clock
from streams.delivery import Delivery
from streams.errors import WorkerError
from streams.past import UNREAD, Past
from streams.table import Partition, PartitionRows, Stamped
from streams.transport.batch import Batch
from streams.work import Message, SourceRecord, Topology, Work

#: While catching up, a task waits this long for records of an input that has more, to take the
#: oldest first. Not for ever: the order is a matter of cost (late events), not of results.
PATIENCE_S = 0.5
#: Slices of work in one transaction while catching up: the more events of a row meet in one batch, the less each
#: costs. Heartbeats are sent from another thread, and nobody waits for an answer meanwhile but the probes.
CATCH_UP_SLICES = 4
#: Positions that move without records (markers of transactions) are committed at least this often.
#: At once would cost one transaction per marker, and forwards to the inbox leave many.
IDLE_COMMIT_S = 1.0
#: While catching up: others wait for these positions before they say anything (`streams.past`).
CATCH_UP_COMMIT_S = 0.1
#: No position, so that the first one is committed wherever it is.
NOWHERE = -1


class Input:
    """One source topic of a task: what was fetched and waits, and how far it was read."""

    def __init__(self, tp: TP) -> None:
        self.tp = tp
        self.waiting = 0
        #: Offset of the next record to fold, and of the next one to come from the consumer.
        self.next = self.tail = 0
        #: The end that the topic had when the task took over.
        self.end = 0
        self.committed = 0
        #: What was noted with the committed position.
        self.note = ""
        #: (records, position after them), oldest first; ``_index`` points into the first.
        self._chunks: deque[tuple[Sequence[SourceRecord], int]] = deque()
        self._index = 0

    def begin(self, start: int, end: int, committed: OffsetAndMetadata | None) -> None:
        self.next = self.tail = start
        self.end = end
        # What was never committed is, even where there is nothing to read: others wait for all that lies before.
        self.committed, self.note = committed or (NOWHERE, "")

    def put(self, batch: Batch, after: int) -> None:
        """A batch that reaches up to position ``after``; what is known already is cut off.

        :raises WorkerError: records are missing before it.
        """
        if batch.start > self.tail:
            raise WorkerError(
                f"{self.tp.topic} partition {self.tp.partition}: records {self.tail} to "
                f"{batch.start - 1} were not delivered; restart the worker, it goes on where it committed"
            )
        records = batch.records
        if batch.start < self.tail:
            records = [record for record in records if record.offset >= self.tail]
        self.tail = max(self.tail, after)
        if records:
            self._chunks.append((records, self.tail))
            self.waiting += len(records)
        elif self._chunks:
            last, _ = self._chunks.pop()
            self._chunks.append((last, self.tail))
        else:
            self.next = self.tail

    def oldest(self) -> int:
        """Timestamp of the record that would come next; only if some wait."""
        return self._chunks[0][0][self._index].timestamp

    def take(self, most: int, until: int | None) -> Sequence[SourceRecord]:
        """At least one record, at most ``most``, as long as they are not younger than ``until``."""
        records, after = self._chunks[0]
        begin, stop = self._index, min(len(records), self._index + most)
        if until is not None:
            end = begin + 1
            while end < stop and records[end].timestamp <= until:
                end += 1
            stop = end
        taken = records[begin:stop]
        if stop == len(records):
            self._chunks.popleft()
            self._index = 0
            self.next = after
        else:
            self._index = stop
            self.next = taken[-1].offset + 1
        self.waiting -= len(taken)
        return taken


class Slice:
    """How many records fit into a slice of work, from what they have cost so far."""

    FEWEST = 25
    #: A guess for the first batch.
    SECONDS_EACH = 50e-6
    ALPHA = 0.3

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._each = self.SECONDS_EACH

    @property
    def size(self) -> int:
        return max(min(self.FEWEST, self._most), min(self._most, int(self._seconds / self._each)))

    def spent(self, seconds: float, count: int) -> None:
        if count:
            self._each = max(1e-7, self._each + self.ALPHA * (seconds / count - self._each))


class Task:
    """Folds partition ``number`` of all sources, fires its timers, stores what follows.

    :param on_change: called when the task becomes ready or live.
    :param past_is_read: has everybody read the past (`streams.past`)?
    """

    def __init__(
        self,
        number: int,
        sources: Iterable[str],
        topology: Topology,
        rows: Partition,
        delivery: Delivery,
        clock: Clock,
        *,
        slice_s: float,
        tick_s: float,
        max_batch_records: int,
        on_change: Callable[[], None],
        past_is_read: Callable[[], bool] = lambda: True,
    ) -> None:
        self.number = number
        self.inputs = {topic: Input(TP(topic, number)) for topic in sources}
        self.ready = False
        #: All inputs were read to the ends that they had when the task took over, here and everywhere.
        self.live = False
        self.delivery = delivery
        self.records: Counter[str] = Counter()
        self.changed_rows = 0
        self.busy_since: float | None = None
        self._topology = topology
        self._rows = rows
        self._clock = clock
        self._tick_s = tick_s
        self._full = max_batch_records
        self._batch = Slice(slice_s, max_batch_records)
        self._timers = Slice(slice_s, max_batch_records)
        self._on_change = on_change
        self._past_is_read = past_is_read
        self._wake = asyncio.Event()
        self._positioned = asyncio.Event()
        self._closing = asyncio.Event()
        self._for_good = False
        self._patient_until: float | None = None
        self._idle_commit_at: float | None = None

    # -- called from outside -------------------------------------------------------------------

    def position(
        self,
        starts: Mapping[TP, int],
        ends: Mapping[TP, int],
        committed: Mapping[TP, OffsetAndMetadata | None],
    ) -> None:
        """Where each input begins, where it ended when the task took over, and what was committed; counts once."""
        if self._positioned.is_set() or not all(source.tp in starts for source in self.inputs.values()):
            return
        for source in self.inputs.values():
            source.begin(starts[source.tp], ends.get(source.tp, 0), committed.get(source.tp))
        self._positioned.set()

    def tail(self, topic: str) -> int | None:
        """The offset that has to come next from the consumer; None before it is known."""
        return self.inputs[topic].tail if self._positioned.is_set() else None

    def wants(self, topic: str) -> bool:
        """Rows are there, and there is room for records of this topic."""
        return self.ready and not self._closing.is_set() and self.inputs[topic].waiting < self._full

    def put(self, topic: str, batch: Batch, after: int) -> None:
        self.inputs[topic].put(batch, after)
        if batch.last:  # all topics of one poll share a transaction
            self._wake.set()

    def close(self, *, for_good: bool) -> None:
        """`run` ends after the transaction in hand; what waits stays in Kafka."""
        self._closing.set()
        self._for_good |= for_good
        self._wake.set()
        self._positioned.set()

    def wake(self) -> None:
        """Something has changed outside."""
        self._wake.set()

    # -- the task ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until closed. Whatever it raises must end the process."""
        await self._positioned.wait()
        if self._closing.is_set():
            return
        self._topology.opened(self.number, PartitionRows(self._rows.rows))
        self.ready = True
        self._on_change()
        try:
            while not self._closing.is_set():
                if not self.live and self._caught_up() and self._past_is_read():
                    await self._go_live()
                fired = await self._fire_if_due()
                folded = await self._fold_what_waits()
                if not (fired or folded):
                    await self._wait()
            if self._for_good:
                await self._commit_positions()  # markers behind the last record: leave no lag
        finally:
            self.ready = self.live = False
            self._topology.closed(self.number)

    def _caught_up(self) -> bool:
        return all(source.next >= source.end for source in self.inputs.values())

    async def _go_live(self) -> None:
        self.live = True
        self._on_change()
        await self._fire(self._clock.now_ms())  # what had to wait for the whole past is due now

    async def _fire_if_due(self) -> bool:
        now_ms = self._clock.now_ms()
        due = self._topology.next_due(self.number, self.live)
        if due is None or due > now_ms:
            return False
        work = await self._fire(now_ms)
        # Timers that stay due and lead to nothing must not keep the task spinning.
        return bool(work.rows or work.messages) or self._topology.next_due(self.number, self.live) != due

    async def _fire(self, now_ms: int) -> Work:
        started = time.thread_time()
        work = self._topology.due(self.number, now_ms, self.live, self._timers.size)
        self._timers.spent(time.thread_time() - started, len(work.rows))
        await self._store(work)
        return work

    async def _fold_what_waits(self) -> bool:
        records = self._take()
        if records:
            started = time.thread_time()
            work = self._topology.batch(self.number, records, self._clock.now_ms(), self.live)
            self._batch.spent(time.thread_time() - started, len(records))
            await self._store(work)
            return True
        if self._offsets():
            now = time.monotonic()
            self._idle_commit_at = self._idle_commit_at or now + (
                IDLE_COMMIT_S if self.live else CATCH_UP_COMMIT_S
            )
            if now >= self._idle_commit_at:
                await self._commit_positions()
        return False

    def _take(self) -> list[SourceRecord]:
        """The oldest waiting records of all inputs, as many as fit into a slice."""
        if not self.live and self._should_wait_for_more():
            return []
        taken: list[SourceRecord] = []
        most = self._batch.size if self.live else min(self._full, self._batch.size * CATCH_UP_SLICES)
        while len(taken) < most:
            waiting = [source for source in self.inputs.values() if source.waiting]
            if not waiting:
                break
            first = min(waiting, key=Input.oldest)
            until = min((s.oldest() for s in waiting if s is not first), default=None)
            run = first.take(most - len(taken), until)
            self.records[first.tp.topic] += len(run)
            taken += run
        return taken

    def _should_wait_for_more(self) -> bool:
        """An input has more than was fetched: its next record might be the oldest of all."""
        if any(not source.waiting and source.tail < source.end for source in self.inputs.values()):
            now = time.monotonic()
            self._patient_until = self._patient_until or now + PATIENCE_S
            return now < self._patient_until
        self._patient_until = None
        return False

    async def _wait(self) -> None:
        """For records, for the next timer, for the next tick; whichever comes first."""
        seconds = self._tick_s
        due = self._topology.next_due(self.number, self.live)
        if due is not None and (left := due - self._clock.now_ms()) > 0:
            seconds = min(seconds, left / 1000)
        self._wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _store(self, work: Work) -> None:
        """One transaction, then the rows in memory; nothing to store needs no transaction."""
        if work.rows or work.messages or self._offsets():
            stamped = self._rows.stamp(work.rows)
            end = await self._transaction(work.messages, stamped)
            if stamped:
                self._rows.merge(stamped, end)
                self.changed_rows += len(stamped)
        else:
            await asyncio.sleep(0)  # a row of empty rounds must not keep the event loop
        self._topology.merged(self.number, work)

    async def _commit_positions(self) -> None:
        if self._offsets():
            await self._transaction((), ())

    async def _transaction(self, messages: Iterable[Message], stamped: Sequence[Stamped]) -> int:
        self.busy_since = time.monotonic()
        offsets = self._offsets()
        end = await self.delivery.store(messages, stamped, offsets)
        self.busy_since = None
        for source in self.inputs.values():
            if (position := offsets.get(TopicPartition(*source.tp))) is not None:
                source.committed, source.note = position
        self._idle_commit_at = None
        return end

    def _offsets(self) -> dict[TopicPartition, OffsetAndMetadata]:
        note = "" if self.live or self._past_is_read() else UNREAD
        return {
            TopicPartition(*source.tp): OffsetAndMetadata(source.next, note)
            for source in self.inputs.values()
            if source.next != source.committed or note < source.note  # "" is to be seen by all who take over
        }


class Tasks:
    """The tasks of the partitions that this worker owns now."""

    def __init__(self, make: Callable[[int], Task], app: Any) -> None:
        self._make = make
        self._app = app
        self._tasks: dict[int, Task] = {}
        self._running: list[asyncio.Task[None]] = []
        #: The tasks of the present assignment exist (there may be none).
        self.opened = False
        self._past: Past | None = None
        self._watching: asyncio.Task[None] | None = None
        #: Totals of tasks that are gone.
        self.past = Totals()

    def open(self, numbers: Iterable[int]) -> None:
        for number in sorted(numbers):
            task = self._tasks[number] = self._make(number)
            self._running.append(asyncio.create_task(self._run(task), name=f"task {number}"))
        self.opened = True
        self._app.status.changed()

    async def _run(self, task: Task) -> None:
        try:
            await task.run()
        except Exception as error:  # noqa: BLE001 (recovery from the changelog is the only repair)
            self._app.crash_soon(error)

    def watch(self, past: Past) -> None:
        """Nobody becomes live before this past is read."""
        if self._watching is not None:
            self._watching.cancel()
        self._past = past
        self._watching = asyncio.create_task(self._watch(past), name="past")

    async def _watch(self, past: Past) -> None:
        try:
            await past.watch()
        except Exception as error:  # noqa: BLE001 (as for any other request to the broker)
            self._app.crash_soon(error)

    @property
    def past_is_read(self) -> bool:
        return self._past is not None and self._past.read

    def wake(self) -> None:
        for task in self._tasks.values():
            task.wake()

    async def close(self, *, for_good: bool = False) -> None:
        self.opened = False
        if self._watching is not None:
            self._watching.cancel()
        self._past = self._watching = None
        for task in self._tasks.values():
            task.close(for_good=for_good)
        if self._running:
            await asyncio.wait(self._running)
        self.past = self.totals()
        self._running.clear()
        self._tasks.clear()

    def put(self, event: Any) -> None:
        """Never waits, so that one slow partition does not hold up the others."""
        message = event.message
        task = self._tasks.get(message.partition)
        if task is not None and message.generation_id == self._app.consumer_generation_id:
            task.put(message.topic, message.value, message.offset + 1)
        # else it belongs to a former assignment and comes again

    def positioned(
        self,
        starts: Mapping[TP, int],
        ends: Mapping[TP, int],
        committed: Mapping[TP, OffsetAndMetadata | None],
    ) -> None:
        for task in self._tasks.values():
            task.position(starts, ends, committed)

    def tail(self, tp: TP) -> int | None:
        task = self._tasks.get(tp.partition)
        return None if task is None else task.tail(tp.topic)

    def wants(self, tp: TP) -> bool:
        task = self._tasks.get(tp.partition)
        return task is not None and task.wants(tp.topic)

    def __iter__(self) -> Any:
        return iter(self._tasks.values())

    @property
    def ready(self) -> list[int]:
        return sorted(number for number, task in self._tasks.items() if task.ready)

    @property
    def live(self) -> list[int]:
        return sorted(number for number, task in self._tasks.items() if task.live)

    @property
    def all_ready(self) -> bool:
        return all(task.ready for task in self._tasks.values())

    @property
    def all_live(self) -> bool:
        return all(task.live for task in self._tasks.values())

    def totals(self) -> Totals:
        """Since the worker started."""
        totals = self.past.copy()
        for task in self._tasks.values():
            totals.add(task)
        return totals


class Totals:
    """What tasks have done: records by topic, transactions, seconds in them, changed rows."""

    def __init__(self) -> None:
        self.records: Counter[str] = Counter()
        self.transactions = self.aborted = self.changed_rows = 0
        self.seconds = 0.0

    def copy(self) -> Totals:
        other = Totals()
        other.records.update(self.records)
        other.transactions, other.aborted = self.transactions, self.aborted
        other.changed_rows, other.seconds = self.changed_rows, self.seconds
        return other

    def add(self, task: Task) -> None:
        self.records.update(task.records)
        self.transactions += task.delivery.transactions
        self.aborted += task.delivery.aborted
        self.seconds += task.delivery.seconds
        self.changed_rows += task.changed_rows
