"""The whole of leadstream's logic for one worker, without Kafka: records in, rows and messages out.

The real worker and the in-process driver call it in the same way (`streams.work.Topology`). Nothing is changed in
place before `merged`: an aborted transaction leaves no trace.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from heapq import heapify
from itertools import islice
from logging import getLogger

from aiokafka.partitioner import murmur2

from processors import (
    accounts,
    additive,
    checks,
    deal_figures,
    deals,
    figures,
    flood,
    ledger,
    market,
    subject,
    versions,
)
from processors.additive import Contribution
from processors.closing import Closing
from processors.compiled import Compiled, compile_definition
from processors.definition.model import Definition
from processors.model import Row, load
from processors.reference import Reference
from processors.reference import apply as apply_reference
from processors.scope import Scope
from schemas.codec import decode
from schemas.envelope import Envelope, Malformed
from streams import metrics, recounting
from streams.batch import Batch, Staged
from streams.clock import clock_of
from streams.definitions import base_definition, default_definition
from streams.partition import Partition
from streams.recounting import Recount
from streams.settings import Settings
from streams.work import Rows, SourceRecord, Work

log = getLogger(__name__)

#: Decoded rows that are kept between batches, over all partitions: decoding costs as much as folding.
CACHE_ROWS = 20_000
#: Rows that a look at the metrics examines, about 0.2 ms each.
CHECKED_ROWS = 40
#: Rows that are counted anew at a time, by two definitions and about 1 ms each.
RECOUNTED_ROWS = 50


class LeadTopology:
    """Leads, visitors, deals and accounts: one kind of row each, in one table."""

    def __init__(self, settings: Settings, definition: Definition, *, partitions: int | None = None) -> None:
        self.settings = settings
        names = settings.topics
        self.partitions = partitions or settings.partitions
        self.inputs = {names.engagement: 0, names.lead: 1, names.deal: 2, names.inbox: 3}
        self.outputs = (
            names.stage_changes, names.handoffs, names.sla, names.nurture, names.handovers, names.restatements,
        )  # fmt: skip
        self.input_names = tuple(self.inputs)
        #: In a simulation publishers stamp their records with a time that is not its own.
        self.recorded_at = clock_of(settings).at
        self.reference = Reference(definition, defaults=default_definition())
        self.market = market.NOTHING
        self.definitions: tuple[Compiled, ...] = (compile_definition(definition),)
        self.counts: Counter[tuple[str, ...]] = Counter()
        self._parts: dict[int, Partition] = {}
        self.cache: OrderedDict[tuple[int, bytes], Row] = OrderedDict()
        self._partition_of = lru_cache(200_000)(self._murmur)
        self.warned: set[str] = set()
        #: The newest instant that it was called at.
        self.now_ms = 0
        #: Hold back calls beyond what is usual: a replay says everything.
        self.guarded = settings.flood_guard == "on"
        self.calls = flood.Calls()
        self._closing: Closing | None = None
        self.restates = True
        self.prices = 0  # version of spend and rates
        self._naming = 0  # totals are counted in the stages, days and segments of the definitions in force

    # -- reference data ---------------------------------------------------------------------------------------------

    def learn(self, records: Iterable[SourceRecord]) -> None:
        """Definitions, rates, owners and priorities; market events. Bad ones are counted and named in the log."""
        found: list[tuple[Envelope, int]] = []
        for record in records:
            if record.value is None:
                continue
            try:
                envelope = decode(record.value, record.headers or (), key=record.key)
                found.append((envelope, self.recorded_at(record.timestamp)))
            except Malformed as exc:
                self.counts["reference_refused", exc.code] += 1
                where = (record.topic, record.partition, record.offset)
                log.error("%s %d/%d: %s", *where, exc.detail)  # noqa: TRY400 (the sender's mistake, not ours)
        self.apply(found)

    def apply(self, found: Sequence[tuple[Envelope, int]]) -> None:
        """Take over decoded reference events with the instants at which they were recorded."""
        before, rates, spent = self.reference.definitions, self.reference.rates, self.market
        self.reference = apply_reference(self.reference, [e for e, _ in found], [at for _, at in found])
        self.market = market.apply(self.market, [e for e, _ in found], [at for _, at in found])
        if self.market is not spent or self.reference.rates != rates:
            self.prices += 1
        for problem in self.reference.problems:
            if problem not in self.warned:
                self.warned.add(problem)
                log.error("reference data: %s", problem)
        if self.reference.definitions != before:
            self.definitions = tuple(map(compile_definition, self.reference.definitions))
            self._naming += 1
            self._closing = None

    # -- the life of a partition ------------------------------------------------------------------------------------

    def opened(self, partition: int, rows: Rows) -> None:
        part = self._parts[partition] = Partition(partition, rows, self._naming)
        for key, data in rows.items():
            if key != part.journal.key:
                part.count_calls(self._count(part, key, data))
        heapify(part.heap)
        for (team, hour), n in part.calls.items():
            self.calls.add(team, hour, n)

    def _part(self, partition: int) -> Partition:
        """The partition, no call of it being under way."""
        part = self._parts[partition]
        part.put_back()
        if part.naming != self._naming:  # or what comes next would be subtracted under other names and days
            part.begin_review(self._naming)
        return part

    def review(self, part: Partition, key: bytes) -> None:
        """Count a row by the definitions in force; they may look at it without any event of its own."""
        del part.review[key]
        data = part.rows.get(key)
        if data is not None:
            self._count(part, key, data)

    def _count(self, part: Partition, key: bytes, data: bytes) -> Row:
        row = load(data)
        behind = key[:1] in (b"l", b"a") and versions.catch_up(row, self.scope(key))
        self._enlist(part, key, row)
        if behind:  # it has to be folded again, although nobody asks for it
            part.waiting[key] = None
        additive.add(part.totals, self._contribution(key, row).items())
        return row

    def closed(self, partition: int) -> None:
        gone = self._parts.pop(partition, None)
        for (team, hour), n in gone.calls.items() if gone is not None else ():
            self.calls.add(team, hour, -n)
        for cached in [x for x in self.cache if x[0] == partition]:
            del self.cache[cached]

    def next_due(self, partition: int, live: bool) -> int | None:
        part = self._parts[partition]
        part.put_back()
        if part.review or part.naming != self._naming:
            return -1 - len(part.review)  # at once; and what has changed with each slice is no idling
        if not live:
            return None  # timers wait for the end of the past: most of them would be outrun by its next event
        if self.restates and (part.journal.row is None or self.unchecked(partition)):
            return 0
        if self.restates and part.recounted != self._naming:
            return 0  # it has to be looked at, and a pass may have to begin
        if part.recount is not None:
            return -1 - len(part.recount.todo)
        return 0 if part.waiting else part.next_due()

    def unchecked(self, partition: int) -> bool:
        """Has the task that speaks of spend and rates still to look at new ones?"""
        return partition == 0 and self.restates and self._parts[0].journal.checked != self.prices

    def due(self, partition: int, now_ms: int, live: bool, limit: int) -> Work:
        self.now_ms = max(self.now_ms, now_ms)
        part = self._part(partition)
        work = Batch(self, partition, part, now_ms, live)
        if part.review:
            for key in part.to_review(limit):
                self.review(part, key)
        elif live:
            for key in part.take_due(now_ms, limit):
                work.row(key, (), ())
            if part.recount is not None:
                self._go_on(part, part.recount, work, min(limit, RECOUNTED_ROWS))
        return work.done()

    def recount(self, part: Partition) -> Recount | None:
        """The pass that is under way, or has to be, because new definitions count final numbers otherwise."""
        journal = part.journal.row
        if part.recounted == self._naming or journal is None or not self.restates:
            return part.recount
        part.recounted, part.recount = self._naming, None
        said = [d for d in self.definitions if d.mark in journal.terms]
        if said and not recounting.alike(said[-1], self.definitions[-1]):
            keys = (key for key, _ in part.rows.items() if key != part.journal.key)
            part.recount = Recount(journal.terms, self.definitions, self.reference, self.now_ms, keys)
        return part.recount

    def _go_on(self, part: Partition, recount: Recount, work: Batch, most: int) -> None:
        if recount.todo:
            recount.go(part.rows, most)
        else:
            work.restating.recounted(self.definitions[-1].source)
            work.staged.recounted = True

    def batch(self, partition: int, records: Sequence[SourceRecord], now_ms: int, live: bool) -> Work:
        self.now_ms = max(self.now_ms, now_ms)
        part = self._part(partition)
        work = Batch(self, partition, part, now_ms, live)
        work.take(records)
        return work.done()

    def merged(self, partition: int, work: Work) -> None:
        part = self._parts[partition]
        part.taken = []
        staged = work.staged
        assert isinstance(staged, Staged)
        if staged.prices is not None:
            part.journal.checked = staged.prices
        part.journal.row = staged.rows.pop(part.journal.key, part.journal.row)
        if staged.recounted:
            part.recount = None
        for key, change in staged.settled:
            if part.recount is not None:
                part.recount.settled(key, change)
        for key, row in staged.rows.items():
            self._enlist(part, key, row)
            self.cache[partition, key] = row
        while len(self.cache) > CACHE_ROWS:
            self.cache.popitem(last=False)
        for key, at in staged.failed:
            part.failed(key, at)
        for before, after in staged.moves:
            additive.move(part.totals, before, after)
        self.counts.update(staged.counts)
        for team, hour in staged.calls:
            part.calls[team, hour] += 1
            self.calls.add(team, hour)

    def _enlist(self, part: Partition, key: bytes, row: Row) -> None:
        part.enlist(key, row, subject.next_due(row) if key[:1] != b"d" else row.held)

    # -- helpers of a batch -----------------------------------------------------------------------------------------

    def row_of(self, partition: int, key: bytes, rows: Rows) -> Row:
        row = self.cache.pop((partition, key), None)
        if row is not None:
            return row
        data = rows.get(key)
        return load(data) if data is not None else Row()

    def scope(self, key: bytes) -> Scope:
        return Scope(key.decode(), self.definitions, self.reference, _no_history)

    def closing(self, now_ms: int) -> Closing:
        """What is final at an instant; made anew once a day."""
        if self._closing is None or not self._closing.holds(now_ms):
            self._closing = Closing(now_ms, self.definitions)
        return self._closing

    def partition_of(self, subject_id: str) -> int:
        return self._partition_of(subject_id)

    def _murmur(self, subject_id: str) -> int:
        return (int(murmur2(subject_id.encode())) & 0x7FFFFFFF) % self.partitions

    def _contribution(self, key: bytes, row: Row) -> Contribution:
        scope = self.scope(key)
        if key[:1] == b"d":
            return deal_figures.of_deal(
                deals.fold(ledger.items(row.ledger, row.data), row.head.fired), scope, fine=False
            )
        if key[:1] == b"c":
            return accounts.of_customer(accounts.at(scope.subject[2:], row, None, scope), scope, fine=False)
        return figures.of_row(scope.subject, row, scope, None, fine=False)

    def totals(self) -> Contribution:
        """Totals over the partitions that this worker owns."""
        out: Contribution = {}
        for part in self._parts.values():
            additive.add(out, part.shown.items())
        return out

    def totals_by_partition(self) -> dict[int, Contribution]:
        return {n: part.shown for n, part in self._parts.items()}

    def held_by_partition(self) -> dict[int, Counter[str]]:
        """Handoffs that the flood guard holds back, by team."""
        return {
            n: Counter(team for held in part.held.values() for _, team in held)
            for n, part in self._parts.items()
        }

    def failing_by_partition(self) -> dict[int, int]:
        """Rows whose timers fail."""
        return {n: len(part.failing) for n, part in self._parts.items()}

    def most_calls(self, team: str, hour: int, now: int) -> int:
        """New calls on a team in an hour that this worker lets out."""
        in_force = next(
            (d for d in reversed(self.definitions) if d.source.effective_at <= now), self.definitions[0]
        )
        return self.calls.limit(team, hour, in_force.source.policy, len(self._parts), self.partitions)

    def score_gaps(self) -> dict[int, int]:
        """By partition: points without a ledger row, of the leads that were folded last."""
        out = dict.fromkeys(self._parts, 0)
        for (partition, key), row in islice(reversed(self.cache.items()), CHECKED_ROWS):
            if key[:1] in b"la" and partition in out:
                out[partition] += checks.score_gap(row, self.scope(key))
        return out

    def exposition(self) -> str:
        """The funnel's part of ``/metrics``."""
        return metrics.exposition(self)


def _no_history() -> tuple[None, list[ledger.Item]]:
    return None, []


def build(settings: Settings) -> LeadTopology:
    """The topology of a worker, with the definition that its settings name."""
    return LeadTopology(settings, base_definition(settings))
