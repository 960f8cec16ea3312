"""What a task folds next, without Kafka: oldest first, unbroken, in slices; live when it has caught up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streams.clock import FixedClock, clock_at
from streams.delivery import Delivery, partition_of
from streams.errors import WorkerError
from streams.past import UNREAD
from streams.table import Partition, Stamped
from streams.tasks import Input, Slice, Task
from streams.transport.batch import Batch
from streams.work import Message, Record, Rows, SourceRecord, Work


def record(topic: str, offset: int, timestamp: int) -> Any:
    return Record(topic, 0, offset, timestamp, b"k", b"v")


class Tape:
    """A topology that notes what it is asked; a list of due instants."""

    def __init__(self, due: Iterable[int] = ()) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.timers = sorted(due)
        self.asked = 0

    def opened(self, partition: int, rows: Rows) -> None:
        self.calls.append(("opened",))

    def closed(self, partition: int) -> None:
        self.calls.append(("closed",))

    def batch(self, partition: int, records: Sequence[SourceRecord], now_ms: int, live: bool) -> Work:
        self.calls.append(("batch", [(r.topic, r.offset) for r in records], live))
        return Work({b"l:k": b"row"}, (), len(self.calls))

    def due(self, partition: int, now_ms: int, live: bool, limit: int) -> Work:
        fired = [t for t in self.timers if t <= now_ms][:limit]
        self.timers = self.timers[len(fired) :]
        self.calls.append(("due", len(fired), live))
        return Work({}, [Message("out", b"k", b"%d" % t) for t in fired], len(self.calls))

    def next_due(self, partition: int, live: bool) -> int | None:
        self.asked += 1
        return self.timers[0] if self.timers else None

    def merged(self, partition: int, work: Work) -> None:
        self.calls.append(("merged", work.staged))


class Log(Delivery):
    """Stores in a list."""

    def __init__(self) -> None:
        super().__init__(None, "g", TopicPartition("changelog", 0), lambda _: 1)
        self.stored: list[tuple[int, int, dict[str, int]]] = []
        self.notes: list[set[str]] = []

    async def store(
        self,
        messages: Iterable[Message],
        rows: Sequence[Stamped],
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
    ) -> int:
        self.stored.append(
            (len(list(messages)), len(rows), {tp.topic: at.offset for tp, at in offsets.items()})
        )
        self.notes.append({at.metadata for at in offsets.values()})
        await asyncio.sleep(0)
        return len(self.stored)


def make(topology: Tape, log: Log, past_is_read: Callable[[], bool] = lambda: True, **options: int) -> Task:
    return Task(
        0,
        ("x", "y"),
        topology,
        Partition(),
        log,
        FixedClock(1_000),
        slice_s=0.05,
        tick_s=0.01,
        max_batch_records=options.get("most", 100),
        on_change=lambda: None,
        past_is_read=past_is_read,
    )


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 (nobody sets an event for the test)
            await asyncio.sleep(0)


def run(
    task: Task,
    *,
    start: int = 0,
    ends: Mapping[str, int],
    script: Callable[[], Awaitable[None]],
    committed: Mapping[TP, OffsetAndMetadata | None] | None = None,
) -> None:
    async def play() -> None:
        running = asyncio.create_task(task.run())
        tps = [TP(t, 0) for t in "xy"]
        at = {tp: OffsetAndMetadata(start, "") for tp in tps} if committed is None else committed
        task.position(dict.fromkeys(tps, start), {tp: ends[tp.topic] for tp in tps}, at)
        await until(lambda: task.ready)
        await script()
        task.close(for_good=True)
        await running

    asyncio.run(play())


def test_the_oldest_goes_first_and_the_task_is_live_after_the_old_ends() -> None:
    tape, log = Tape(), Log()
    task = make(tape, log)

    async def script() -> None:
        task.put("x", Batch(0, [record("x", 0, 10), record("x", 1, 40)], last=False), 2)
        task.put("y", Batch(0, [record("y", 0, 20), record("y", 1, 30)]), 2)
        await until(lambda: task.live)
        task.put("y", Batch(2, [record("y", 2, 5)]), 3)
        await until(lambda: len(log.stored) == 2)

    run(task, ends={"x": 2, "y": 2}, script=script)
    assert [call for call in tape.calls if call[0] in ("batch", "due")] == [
        ("batch", [("x", 0), ("y", 0), ("y", 1), ("x", 1)], False),
        ("due", 0, True),
        ("batch", [("y", 2)], True),
    ]
    assert log.stored == [(0, 1, {"x": 2, "y": 2}), (0, 1, {"y": 3})]


def test_each_call_is_merged_before_the_next() -> None:
    tape, log = Tape(due=[1, 2, 3, 5_000]), Log()
    task = make(tape, log)

    async def script() -> None:
        task.put("x", Batch(0, [record("x", n, n) for n in range(250)]), 250)
        await until(lambda: task.live and len(log.stored) == 4)

    run(task, ends={"x": 250, "y": 0}, script=script)
    worked = tape.calls[1:-1]
    assert tape.calls[0] == ("opened",)
    assert tape.calls[-1] == ("closed",)
    for call, merged in zip(worked[::2], worked[1::2], strict=True):
        assert call[0] in ("batch", "due")
        assert merged[0] == "merged"
    assert [len(call[1]) for call in worked if call[0] == "batch"] == [100, 100, 50]  # type: ignore[arg-type]
    assert tape.timers == [5_000], "what is not due on the fixed clock stays"


NOTED = {TP("x", 0): OffsetAndMetadata(0, ""), TP("y", 0): OffsetAndMetadata(0, UNREAD)}


def test_what_was_never_committed_is_even_where_retention_has_left_nothing_to_read() -> None:
    """Whoever takes over waits for what lies before a position: here nothing does."""
    tape, log = Tape(), Log()
    task = make(tape, log)

    async def script() -> None:
        await until(lambda: log.stored)

    run(task, start=7, ends={"x": 7, "y": 7}, script=script, committed={TP("x", 0): OffsetAndMetadata(5, "")})
    assert log.stored == [(0, 0, {"x": 7, "y": 7})]


def test_positions_say_for_whoever_takes_over_whether_the_past_was_read() -> None:
    tape, log, read = Tape(), Log(), []
    task = make(tape, log, past_is_read=lambda: bool(read))

    async def script() -> None:
        task.put("x", Batch(0, [record("x", 0, 10)]), 1)
        await until(lambda: len(log.stored) == 1)
        assert not task.live
        read.append(True)
        task.wake()
        await until(lambda: task.live and len(log.stored) == 2)

    run(task, ends={"x": 1, "y": 0}, script=script, committed=NOTED)
    assert log.stored == [(0, 1, {"x": 1}), (0, 0, {"x": 1, "y": 0})], "cleared even where nothing has moved"
    assert log.notes == [{UNREAD}, {""}]


def test_positions_that_move_without_records_are_committed_when_idle() -> None:
    tape, log = Tape(), Log()
    task = make(tape, log)

    async def script() -> None:
        await until(lambda: task.live)
        task.put("x", Batch(0, []), 3)
        rounds = tape.asked
        await until(lambda: tape.asked > rounds + 4)
        assert log.stored == [], "not at once"

    run(task, ends={"x": 0, "y": 0}, script=script)
    assert log.stored == [(0, 0, {"x": 3})], "at the end at the latest"
    assert not [call for call in tape.calls if call[0] == "batch"]


def test_while_catching_up_an_input_that_has_more_is_waited_for_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.tasks.PATIENCE_S", 0.1)
    tape, log = Tape(), Log()
    task = make(tape, log)

    async def script() -> None:
        started = asyncio.get_running_loop().time()
        task.put("x", Batch(0, [record("x", 0, 10)]), 1)
        await until(lambda: log.stored)
        assert asyncio.get_running_loop().time() - started >= 0.1

    run(task, ends={"x": 1, "y": 1}, script=script)


def test_nothing_is_wanted_before_the_rows_are_there_or_beyond_the_room() -> None:
    tape, log = Tape(), Log()
    task = make(tape, log, most=2)
    assert not task.wants("x")

    async def script() -> None:
        assert task.wants("x")
        task.put("x", Batch(0, [record("x", n, n) for n in range(2)]), 2)
        assert not task.wants("x")
        assert task.wants("y")

    run(task, ends={"x": 2, "y": 9}, script=script)


def test_a_hole_is_refused_and_an_overlap_cut_off() -> None:
    source = Input(TP("x", 0))
    source.begin(5, 20, OffsetAndMetadata(5, ""))
    source.put(Batch(3, [record("x", n, n) for n in range(3, 8)]), 8)
    assert [r.offset for r in source.take(10, None)] == [5, 6, 7]
    source.put(Batch(6, []), 9)
    assert (source.next, source.tail) == (9, 9)
    with pytest.raises(WorkerError, match="x partition 0: records 9 to 10 were not delivered"):
        source.put(Batch(11, [record("x", 11, 0)]), 12)


@given(
    st.lists(st.tuples(st.sampled_from("xy"), st.lists(st.integers(0, 20), max_size=5), st.integers(0, 2))),
    st.lists(st.integers(1, 4), min_size=1),
)
def test_however_batches_are_cut_every_record_is_taken_once_in_its_order(
    arrivals: list[tuple[str, list[int], int]], sizes: list[int]
) -> None:
    inputs = {topic: Input(TP(topic, 0)) for topic in "xy"}
    sent: dict[str, list[int]] = {"x": [], "y": []}
    for topic, stamps, markers in arrivals:
        source = inputs[topic]
        start = source.tail
        source.put(
            Batch(start, [record(topic, start + n, stamp) for n, stamp in enumerate(stamps)]),
            start + len(stamps) + markers,
        )
        sent[topic] += range(start, start + len(stamps))
    for topic, source in inputs.items():
        taken: list[int] = []
        turn = 0
        while source.waiting:
            run_ = source.take(sizes[turn % len(sizes)], None)
            turn += 1
            assert run_
            taken += [r.offset for r in run_]
            assert source.next > taken[-1]
        assert taken == sent[topic]
        assert source.next == source.tail


def test_slices_follow_what_records_cost() -> None:
    slices = Slice(0.05, 4_000)
    assert slices.size == 1_000
    for _ in range(50):
        slices.spent(0.025, 1_000)
    assert 1_900 < slices.size <= 2_000
    for _ in range(50):
        slices.spent(10.0, 100)
    assert slices.size == Slice.FEWEST
    for _ in range(80):
        slices.spent(0.0, 100)
    assert slices.size == 4_000


def test_partitions_are_those_of_java() -> None:
    # The vectors of org.apache.kafka.common.utils.UtilsTest, made positive as its partitioner does.
    java = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    assert [partition_of(key, 2**31) for key in java] == [hash_ & 0x7FFFFFFF for hash_ in java.values()]
    assert [partition_of(key, 10) for key in java] == [0, 6, 2]


def test_clocks() -> None:
    assert clock_at(5).now_ms() == 5
    wall = clock_at(None)
    assert wall.now_ms() > 1_700_000_000_000
