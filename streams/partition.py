"""What a worker knows of one partition besides its rows: due instants, what waits to be said, totals.

All of it follows from the rows, so it is made when the partition arrives. Totals are counted in the stages, days and
segments of the definitions in force, and sweeps set timers: when the definitions change, every row is reviewed, in slices
between batches. Until that is done, what is shown is as it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import islice

from processors import flood
from processors.additive import Contribution
from processors.model import NEVER, Row
from streams.recounting import Recount
from streams.restating import Journal
from streams.work import Rows

#: A timer that fails is tried again so much later, twice as much each time, at most so much: a defect does not go away
#: by itself, a definition or reference data that it stumbles over may.
FIRST_RETRY_MS, LAST_RETRY_MS = 60_000, 86_400_000


class Partition:
    """Due instants, rows that wait to be said, totals. ``naming`` counts the changes of the definitions."""

    def __init__(self, number: int, rows: Rows, naming: int) -> None:
        self.rows = rows
        self.journal = Journal(number, rows)
        self.naming = naming
        self.due: dict[bytes, int] = {}
        self.heap: list[tuple[int, bytes]] = []
        self.waiting: dict[bytes, None] = {}
        self.totals: Contribution = {}  # of the rows that are not under review
        self.taken: list[tuple[int, bytes]] = []  # off the heap, not yet committed
        self.review: dict[bytes, None] = {}  # rows still counted by the definitions before
        self._before: Contribution = {}
        self.held: dict[
            bytes, tuple[tuple[int, str], ...]
        ] = {}  # rows with handoffs that the flood guard holds back
        self.recount: Recount | None = None  # final numbers, by definitions that count otherwise
        self.recounted = -1  # the definitions, as ``naming``, for which it was looked whether they do
        self.calls: Counter[tuple[str, int]] = Counter()  # said, by team and hour
        self.failing: dict[
            bytes, tuple[int, int]
        ] = {}  # rows whose timers fail: since which due instant, how often

    @property
    def shown(self) -> Contribution:
        """Totals for people: of all rows, by one set of definitions."""
        return self._before if self.review else self.totals

    def begin_review(self, naming: int) -> None:
        """The definitions have changed: all rows have to be counted anew."""
        self._before, self.totals = self.shown, {}
        self.naming = naming
        self.review = dict.fromkeys(key for key, _ in self.rows.items() if key != self.journal.key)

    def to_review(self, most: int) -> list[bytes]:
        return list(islice(self.review, most))

    def enlist(self, key: bytes, row: Row, due: int) -> None:
        """Take note of a row as it is now."""
        if self.failing:
            self.failing.pop(key, None)
        self.schedule(key, due)
        if row.waiting or row.baseline:
            self.waiting[key] = None
        else:
            self.waiting.pop(key, None)
        if row.flooded and not row.target:
            self.held[key] = row.flooded
        elif self.held:
            self.held.pop(key, None)

    def count_calls(self, row: Row) -> None:
        """Of a row that has arrived."""
        for m in row.minted:
            under = flood.counted(m)
            if under is not None:
                self.calls[under] += 1

    def schedule(self, key: bytes, due: int) -> None:
        if self.due.get(key, NEVER) == due:
            return
        if due == NEVER:
            self.due.pop(key, None)
        else:
            self.due[key] = due
            heappush(self.heap, (due, key))

    def failure(self, key: bytes, now_ms: int) -> tuple[int, int]:
        """Of a row whose timers have just failed: the instant of the first one, and when to try again."""
        since, times = self.failing.get(key, (min(self.due.get(key, now_ms), now_ms), 0))
        return since, now_ms + min(FIRST_RETRY_MS << min(times, 16), LAST_RETRY_MS)

    def failed(self, key: bytes, now_ms: int) -> None:
        """The timers of a row have failed: they wait, each time longer. Other rows go on."""
        since, again = self.failure(key, now_ms)
        self.failing[key] = (since, self.failing.get(key, (0, 0))[1] + 1)
        self.waiting.pop(key, None)
        self.schedule(key, again)

    def put_back(self) -> None:
        """A round of timers was aborted: it will come again."""
        for item in self.taken:
            heappush(self.heap, item)
        self.taken = []

    def next_due(self) -> int | None:
        while self.heap and self.due.get(self.heap[0][1]) != self.heap[0][0]:
            heappop(self.heap)
        return self.heap[0][0] if self.heap else None

    def take_due(self, now_ms: int, most: int) -> Iterator[bytes]:
        """Rows with something to do by ``now_ms``: what waits to be said, then timers, the earliest first."""
        keys = dict.fromkeys(islice(self.waiting, most))
        while len(keys) < most and (due := self.next_due()) is not None and due <= now_ms:
            item = heappop(self.heap)
            self.taken.append(item)
            keys[item[1]] = None
        return iter(keys)
