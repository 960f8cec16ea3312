"""A toy topology: the smallest logic that can show whether the transport keeps its promises.

A subject is a set of numbers. The value of a source record:

==================  ===============================================================================
``17``              add 17; a number that is new is said once on ``stage_changes``
``17@1763800000000``  ... and breach at that instant, said once on ``sla``
``17>other``        ... and tell ``other`` of 17 by the inbox
``17!``             forget the subject: delete its row
``boom``            raise
``big 1200000``     say a message of that size
==================  ===============================================================================
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import msgspec

from streams.settings import Settings
from streams.work import Message, Rows, SourceRecord, Work


class Subject(msgspec.Struct, array_like=True):
    """A row: what a subject knows."""

    numbers: set[int] = set()
    repeats: int = 0
    due_ms: int = 0
    breached_as_of_ms: int = 0


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Subject).decode


class ToyTopology:
    """See the module; a task's state is its rows and a heap of due instants."""

    def __init__(self, settings: Settings) -> None:
        self._topics = settings.topics
        self._rows: dict[int, Rows] = {}
        self._due: dict[int, list[tuple[int, bytes]]] = {}
        self._staged: dict[int, dict[bytes, Subject | None]] = {}
        self.learned: list[bytes] = []
        self.catching_up = 0
        self.seen = 0
        self.opened_rows = 0

    def opened(self, partition: int, rows: Rows) -> None:
        assert partition not in self._rows
        self._rows[partition] = rows
        subjects = {key: decode(row) for key, row in rows.items()}
        self.opened_rows += len(subjects)
        heap = [(s.due_ms, key) for key, s in subjects.items() if s.due_ms and not s.breached_as_of_ms]
        heapq.heapify(heap)
        self._due[partition] = heap

    def closed(self, partition: int) -> None:
        del self._rows[partition], self._due[partition]
        self._staged.pop(partition, None)

    def batch(self, partition: int, records: Sequence[SourceRecord], now_ms: int, live: bool) -> Work:
        assert partition not in self._staged, "the last batch was not merged"
        self.seen += len(records)
        self.catching_up += 0 if live else len(records)
        staged: dict[bytes, Subject | None] = {}
        messages: list[Message] = []
        for record in records:
            assert record.key is not None
            assert record.value is not None
            assert record.partition == partition
            messages += self._fold(partition, staged, record.key, record.value, live)
        self._staged[partition] = staged
        return Work({key: s if s is None else encode(s) for key, s in staged.items()}, messages, staged)

    def _fold(
        self, partition: int, staged: dict[bytes, Subject | None], subject: bytes, value: bytes, live: bool
    ) -> list[Message]:
        if value == b"boom":
            raise ZeroDivisionError("boom")
        if value.startswith(b"big "):
            return [Message(self._topics.stage_changes, subject, bytes(int(value[4:])))]
        key = b"l:" + subject
        if value.endswith(b"!"):
            staged[key] = None
            return []
        value, _, other = value.partition(b">")
        text, _, due = value.partition(b"@")
        number = int(text)
        known = staged[key] if key in staged else self._read(partition, key)
        row = known or Subject()
        staged[key] = row
        if number in row.numbers:
            row.repeats += 1
            return []
        row.numbers = row.numbers | {number}
        row.due_ms = int(due or 0) or row.due_ms
        headers = (("live", b"1" if live else b"0"),)
        said = [Message(self._topics.stage_changes, subject, b"%d" % number, headers)]
        if other:
            said.append(Message(self._topics.inbox, other, b"%d" % number))
        return said

    def due(self, partition: int, now_ms: int, live: bool, limit: int) -> Work:
        staged: dict[bytes, Subject | None] = {}
        messages: list[Message] = []
        heap = self._due[partition]
        while live and heap and heap[0][0] <= now_ms and len(staged) < limit:
            due_ms, key = heapq.heappop(heap)
            row = self._read(partition, key)
            if key in staged or row is None or row.breached_as_of_ms or row.due_ms != due_ms:
                continue
            row.breached_as_of_ms = now_ms
            staged[key] = row
            messages.append(Message(self._topics.sla, key[2:], b"%d %d" % (due_ms, now_ms)))
        self._staged[partition] = staged
        return Work({key: encode(s) for key, s in staged.items() if s}, messages, staged)

    def next_due(self, partition: int, live: bool) -> int | None:
        heap = self._due[partition]
        return heap[0][0] if live and heap else None

    def merged(self, partition: int, work: Work) -> None:
        staged = self._staged.pop(partition)
        assert work.staged is staged
        for key, row in staged.items():
            if row is not None and row.due_ms and not row.breached_as_of_ms:
                heapq.heappush(self._due[partition], (row.due_ms, key))

    def _read(self, partition: int, key: bytes) -> Subject | None:
        row = self._rows[partition].get(key)
        return None if row is None else decode(row)

    def learn(self, records: Sequence[SourceRecord]) -> None:
        self.learned += [record.value or b"" for record in records]

    def exposition(self) -> str:
        return (
            f"toy_learned {len(self.learned)}\ntoy_seen {self.seen}\n"
            f"toy_catching_up {self.catching_up}\ntoy_opened_rows {self.opened_rows}\n"
        )
