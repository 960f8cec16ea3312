"""What the parts of a task hand to one another: records in, work out.

Nothing here knows Kafka's clients, so the in-process driver and the real worker share it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

Headers = Sequence[tuple[str, bytes]]

#: Kind letter of the rows that belong to a partition and to no subject (``s:<partition>``).
SYSTEM = b"s"


class SourceRecord(Protocol):
    """What is read of a consumed record (aiokafka's ConsumerRecord has all of it)."""

    @property
    def topic(self) -> str: ...

    @property
    def partition(self) -> int: ...

    @property
    def offset(self) -> int: ...

    @property
    def timestamp(self) -> int: ...

    @property
    def key(self) -> bytes | None: ...

    @property
    def value(self) -> bytes | None: ...

    @property
    def headers(self) -> Headers: ...


class Record(NamedTuple):
    """A source record made by the in-process driver."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Message(NamedTuple):
    """A record to be produced. ``partition`` None: by murmur2 of the key, as every Java client."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


class Work(NamedTuple):
    """What one batch, or one round of timers, leads to; stored in one transaction.

    ``rows``: changed rows by key, encoded without the writer's epoch; None deletes (tombstone).
    ``staged`` is the topology's own: it is handed back to ``merged`` after the commit.
    """

    rows: Mapping[bytes, bytes | None]
    messages: Sequence[Message]
    staged: object = None


class Rows(Protocol):
    """The committed rows of one partition."""

    def get(self, key: bytes) -> bytes | None: ...

    def items(self) -> Iterable[tuple[bytes, bytes]]: ...


class Topology(Protocol):
    """The whole of leadstream's logic for one worker, without I/O.

    A task calls it, strictly in order within a partition: ``opened`` once its rows are restored,
    then any sequence of ``batch`` and ``due``, each followed by ``merged`` once Kafka has the
    result (never if the transaction was aborted: the same call may then come again), at last
    ``closed``. ``now_ms`` is the instant that the result is as of; ``live`` is False while the
    task is still reading what was there when it took over.
    """

    def opened(self, partition: int, rows: Rows) -> None: ...

    def closed(self, partition: int) -> None: ...

    def batch(self, partition: int, records: Sequence[SourceRecord], now_ms: int, live: bool) -> Work: ...

    def due(self, partition: int, now_ms: int, live: bool, limit: int) -> Work: ...

    def next_due(self, partition: int, live: bool) -> int | None:
        """The instant (ms) of the next timer of the partition; None if there is none."""
        ...

    def merged(self, partition: int, work: Work) -> None: ...
