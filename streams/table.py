"""The table of subjects: rows per partition in memory, restored from and stored in the changelog.

Every changed row is one changelog record, stamped with its *version*: 4 bytes epoch of the writer, 4
bytes revision, big endian, so that versions compare as bytes. A writer's epoch is above all that it
has found in the changelog, and restoring keeps the highest version of a row. Fencing already keeps a
former owner from appending anything behind the new one's start; the version is the second lock, for
the day the first one fails (a broker that lost transaction markers). A deleted row is a real
tombstone for compaction, and carries its version in a header: restoring remembers it, so that an
older row which lands behind the tombstone does not come back to life.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import faust
from faust.stores.base import Store
from faust.types import TP

from streams.errors import WorkerError
from streams.transport.batch import Batch, BatchSchema

_VERSION = struct.Struct(">II")
VERSION_BYTES = _VERSION.size
VERSION_HEADER = "version"
NO_VERSION = bytes(VERSION_BYTES)


class Stamped(NamedTuple):
    """A changelog record: the value begins with the version; a tombstone has it in the header."""

    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class RowItems(Sequence[tuple[bytes, bytes]]):
    """All rows of a partition, in no order; made one by one, for a partition may have 100,000s."""

    def __init__(self, rows: Mapping[bytes, bytes]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self._rows.items():
            yield key, value[VERSION_BYTES:]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]


class PartitionRows:
    """The committed rows of one partition as the topology sees them: without version."""

    def __init__(self, rows: Mapping[bytes, bytes]) -> None:
        self._rows = rows

    def get(self, key: bytes) -> bytes | None:
        value = self._rows.get(key)
        return None if value is None else value[VERSION_BYTES:]

    def items(self) -> RowItems:
        return RowItems(self._rows)


class Partition:
    """The rows of one partition with what is known about its changelog."""

    __slots__ = ("epoch", "graves", "offset", "rows")

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        #: Versions of deleted rows.
        self.graves: dict[bytes, bytes] = {}
        #: Last changelog offset that is in memory.
        self.offset = -1
        #: Highest epoch seen, or the own one.
        self.epoch = 0

    def version(self, key: bytes) -> bytes:
        value = self.rows.get(key)
        return self.graves.get(key, NO_VERSION) if value is None else value[:VERSION_BYTES]

    def restore(self, batch: Batch, end: int) -> None:
        """Take over changelog records up to offset ``end``.

        :raises WorkerError: records are missing in between.
        """
        if batch.start > self.offset + 1:
            raise WorkerError(f"changelog records {self.offset + 1} to {batch.start - 1} are gone")
        rows, graves, highest = self.rows, self.graves, NO_VERSION
        for record in batch.records:
            key, value = record.key, record.value
            if key is None:
                continue  # nothing that the table has written
            known = rows.get(key)
            current = graves.get(key, NO_VERSION) if known is None else known[:VERSION_BYTES]
            if value is None:
                # A tombstone without version was sent by hand: it deletes what is there.
                version = _tombstone_version(record.headers) or current
            else:
                version = value[:VERSION_BYTES]
            highest = max(highest, version)
            if version < current:
                continue
            if value is None:
                rows.pop(key, None)
                graves[key] = version
            else:
                rows[key] = value
        self.offset = max(self.offset, end)
        self.epoch = max(self.epoch, _VERSION.unpack(highest)[0])

    def stamp(self, rows: Mapping[bytes, bytes | None]) -> list[Stamped]:
        """Changed rows as changelog records of this epoch."""
        stamped = []
        for key, body in rows.items():
            revision = _VERSION.unpack(self.version(key))[1] + 1
            version = _VERSION.pack(self.epoch, revision)
            if body is None:
                stamped.append(Stamped(key, None, ((VERSION_HEADER, version),)))
            else:
                stamped.append(Stamped(key, version + body))
        return stamped

    def merge(self, stamped: Iterable[Stamped], end: int) -> None:
        """Take over what Kafka has stored; the last of these records has offset ``end``."""
        for key, value, headers in stamped:
            if value is None:
                self.rows.pop(key, None)
                self.graves[key] = _tombstone_version(headers) or NO_VERSION
            else:
                self.rows[key] = value
        self.offset = end


def _tombstone_version(headers: Iterable[tuple[str, bytes]]) -> bytes | None:
    return next((version for name, version in headers if name == VERSION_HEADER), None)


class PartitionStore(Store):
    """What Faust's recovery fills: ``partition -> Partition``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.partitions: dict[int, Partition] = {}

    def persisted_offset(self, tp: TP) -> int:
        """Last changelog offset in memory, so that a partition that stays is only caught up."""
        partition = self.partitions.get(tp.partition)
        return -1 if partition is None else partition.offset

    def apply_changelog_batch(self, batch: Iterable[Any], **_: Any) -> None:
        for event in batch:
            tp = event.message.tp
            partition = self.partitions.setdefault(tp.partition, Partition())
            try:
                partition.restore(event.message.value, event.message.offset)
            except WorkerError as refusal:
                raise WorkerError(
                    f"{tp.topic} partition {tp.partition}: {refusal}; the topic must be compacted and "
                    f"nothing else (`leadstream topics check`); rebuild under another app_id"
                ) from None

    def keep_only(self, partitions: set[int]) -> None:
        for gone in self.partitions.keys() - partitions:
            del self.partitions[gone]

    def reset_state(self) -> None:
        self.partitions.clear()

    # The mapping protocol, for whoever looks at the table through Faust.

    def __getitem__(self, key: bytes) -> bytes:
        for partition in self.partitions.values():
            if key in partition.rows:
                return partition.rows[key][VERSION_BYTES:]
        raise KeyError(key)

    def __iter__(self) -> Iterator[bytes]:
        for partition in self.partitions.values():
            yield from partition.rows

    def __len__(self) -> int:
        return sum(len(partition.rows) for partition in self.partitions.values())

    def __contains__(self, key: object) -> bool:
        return any(key in partition.rows for partition in self.partitions.values())

    def __setitem__(self, key: bytes, value: Any) -> None:
        raise TypeError("rows change only through a task's transaction")

    def __delitem__(self, key: bytes) -> None:
        raise TypeError("rows change only through a task's transaction")

    def clear(self) -> None:
        self.reset_state()

    async def backup_partition(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError("the changelog topic is the backup")

    async def restore_backup(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError("the changelog topic is the backup")


class PartitionTable(faust.Table):
    """The table whose partition p, with partition p of all sources, makes a task.

    Faust's assignor gives topics with equal partition counts and equal subscribers to the same worker;
    `on_rebalance` refuses to go on where that does not hold.
    """

    def __init__(self, app: Any, *, sources: Iterable[str] = (), **kwargs: Any) -> None:
        kwargs |= {
            "key_type": bytes,
            "value_type": bytes,
            "schema": BatchSchema(key_type=bytes, value_type=bytes),
            # Counted in batches; with 1 Faust would go on reading the changelog after the recovery.
            "recovery_buffer_size": 2,
            # What waits in the buffer is missing after a failover.
            "standby_buffer_size": 1,
        }
        super().__init__(app, **kwargs)
        self._sources = frozenset(sources)
        self._generation = -1
        self._began = 0.0
        self.restore_seconds = 0.0

    def _new_store(self) -> PartitionStore:
        return PartitionStore("memory://", self.app, self, table_name=self.name, loop=self.loop)

    async def on_start(self) -> None:
        """Without declaring the changelog: topics are created explicitly, not by a worker."""
        await self.add_runtime_dependency(self.data)

    def task_id(self, partition: int) -> str:
        """Part of the transactional id of a task."""
        return f"{self.name}-{partition}"

    def partition(self, number: int) -> Partition:
        """The rows of a restored partition of this worker."""
        found: Partition = self.data.partitions[number]
        return found

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Before the recovery asks for the end of the changelog: fence, so that the end is one."""
        self._began = time.monotonic()
        self._generation = generation_id
        await self.app.tasks.close()
        self.data.keep_only({tp.partition for tp in assigned if tp.topic == self.changelog_topic_name})
        actives = self._actives(self.changelog_topic_name)
        strangers = {topic: found for topic in self._sources if (found := self._actives(topic)) != actives}
        if strangers:
            listed = ", ".join(f"{topic} {sorted(found)}" for topic, found in sorted(strangers.items()))
            raise WorkerError(
                f"not co-partitioned: assigned are partitions {sorted(actives)} of "
                f"{self.changelog_topic_name}, but {listed}; all workers of group {self.app.conf.id} must "
                f"run the same version on topics with equal partition counts"
            )
        self.app.metrics.rebalances += 1
        self.app.report.info("assigned partitions %s", _ranges(actives))
        await self.app.producer.fence(self.task_id(p) for p in actives)
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    def _actives(self, topic: str) -> set[int]:
        return {tp.partition for tp in self.app.assignor.assigned_actives() if tp.topic == topic}

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        await super().on_recovery_completed(active_tps, standby_tps)
        actives = {tp.partition for tp in active_tps}
        generation = self._generation
        await self.app.reference.read_to_end()
        if generation != self._generation or generation != self.app.consumer_generation_id:
            return  # overtaken by the next rebalance, which opens the tasks
        for number in actives:
            self.data.partitions.setdefault(number, Partition()).epoch += 1
        self.restore_seconds = time.monotonic() - self._began
        rows = sum(len(self.partition(number).rows) for number in actives)
        self.app.report.info("recovered %d rows in %.1f s", rows, self.restore_seconds)
        self.app.tasks.open(actives)

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        try:
            super().apply_changelog_batch(batch)
        except Exception as error:  # noqa: BLE001 (Faust's recovery would log any, and carry on)
            self.app.crash_soon(error)


def _ranges(numbers: Iterable[int]) -> str:
    """``0-3, 7`` for people; ``none``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs) or "none"
