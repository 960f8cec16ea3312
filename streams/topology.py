"""The whole of leadstream's logic for one worker, without Kafka: records in, rows and messages out.

The real worker and the in-process driver call it in the same way (`streams.work.Topology`). Nothing is changed in
place before `merged`: an aborted transaction leaves no trace.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from heapq import heapify
from itertools import islice
from logging import getLogger

import msgspec
from aiokafka.partitioner import murmur2

from processors import (
    accounts,
    checks,
    deals,
    figures,
    flood,
    ledger,
    market,
    purge,
    subject,
    tally,
    versions,
)
from processors.compiled import Compiled, compile_definition
from processors.definition.model import HOUR, Definition
from processors.events import Event, from_envelope
from processors.figures import Contribution
from processors.model import Row, dump, load, weight
from processors.reference import Reference
from processors.reference import apply as apply_reference
from processors.restate import Closing
from processors.say import HANDOVERS, RECORD_OF, Output
from processors.scope import Scope
from processors.subject import Refused, Result, Told
from schemas.codec import ce_headers, decode, encode
from schemas.envelope import Envelope, Malformed
from streams import inbox, metrics
from streams.clock import clock_of, iso
from streams.dead_letters import dead_letter
from streams.definitions import base_definition, default_definition
from streams.partition import Partition
from streams.restating import Parts, Restating
from streams.settings import Settings
from streams.work import Message, Record, Rows, SourceRecord, Work

log = getLogger(__name__)

#: An event dated further ahead than this is a mistake of its source's clock (DOMAIN 2.1).
AHEAD_MS = 24 * 3_600_000
#: Decoded rows that are kept between batches, over all partitions: decoding costs as much as folding.
CACHE_ROWS = 20_000
#: Rows that a look at the metrics examines, about 0.2 ms each.
CHECKED_ROWS = 40
#: Kafka takes records of up to 1 MB: what would become a larger one goes to the dead letters before it could stop the
#: worker, now and after each restart. A timer may use the margin.
MOST_BYTES, MARGIN_BYTES = 900_000, 80_000
_MARKET_FAMILIES = frozenset(("market", "reference"))


class TooLargeError(Exception):
    """What follows from some records is more than Kafka takes in one."""


class Staged(msgspec.Struct):
    """What `merged` takes over when Kafka has it."""

    rows: dict[bytes, Row]
    moves: list[tuple[Contribution, Contribution]]
    counts: Counter[tuple[str, ...]]
    calls: list[tuple[str, int]] = []  # new calls on sales: team and hour
    prices: int | None = None  # the version of spend and rates that was looked at
    failed: list[tuple[bytes, int]] = []  # rows whose timers failed, and when


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
        self._cache: OrderedDict[tuple[int, bytes], Row] = OrderedDict()
        self._partition_of = lru_cache(200_000)(self._murmur)
        self._warned: set[str] = set()
        #: The newest instant that it was called at.
        self.now_ms = 0
        #: Hold back calls beyond what is usual: a replay says everything.
        self.guarded = settings.flood_guard == "on"
        self.calls = flood.Calls()
        self._closing: Closing | None = None
        self.restates = True
        self._prices = 0  # version of spend and rates
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
            self._prices += 1
        for problem in self.reference.problems:
            if problem not in self._warned:
                self._warned.add(problem)
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

    def _review(self, part: Partition, key: bytes) -> None:
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
        figures.add(part.totals, self._contribution(key, row).items())
        return row

    def closed(self, partition: int) -> None:
        gone = self._parts.pop(partition, None)
        for (team, hour), n in gone.calls.items() if gone is not None else ():
            self.calls.add(team, hour, -n)
        for cached in [x for x in self._cache if x[0] == partition]:
            del self._cache[cached]

    def next_due(self, partition: int, live: bool) -> int | None:
        part = self._parts[partition]
        part.put_back()
        if part.review or part.naming != self._naming:
            return -1 - len(part.review)  # at once; and what has changed with each slice is no idling
        if not live:
            return None  # timers wait for the end of the past: most of them would be outrun by its next event
        if self.restates and (part.journal.row is None or self._unchecked(partition)):
            return 0
        return 0 if part.waiting else part.next_due()

    def _unchecked(self, partition: int) -> bool:
        """Has the task that speaks of spend and rates still to look at new ones?"""
        return partition == 0 and self.restates and self._parts[0].journal.checked != self._prices

    def due(self, partition: int, now_ms: int, live: bool, limit: int) -> Work:
        self.now_ms = max(self.now_ms, now_ms)
        part = self._part(partition)
        work = _Batch(self, partition, part, now_ms, live)
        if part.review:
            for key in part.to_review(limit):
                self._review(part, key)
        elif live:
            for key in part.take_due(now_ms, limit):
                work.row(key, (), ())
        return work.done()

    def batch(self, partition: int, records: Sequence[SourceRecord], now_ms: int, live: bool) -> Work:
        self.now_ms = max(self.now_ms, now_ms)
        part = self._part(partition)
        work = _Batch(self, partition, part, now_ms, live)
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
        for key, row in staged.rows.items():
            self._enlist(part, key, row)
            self._cache[partition, key] = row
        while len(self._cache) > CACHE_ROWS:
            self._cache.popitem(last=False)
        for key, at in staged.failed:
            part.failed(key, at)
        for before, after in staged.moves:
            figures.move(part.totals, before, after)
        self.counts.update(staged.counts)
        for team, hour in staged.calls:
            part.calls[team, hour] += 1
            self.calls.add(team, hour)

    def _enlist(self, part: Partition, key: bytes, row: Row) -> None:
        part.enlist(key, row, subject.next_due(row) if key[:1] != b"d" else row.held)

    # -- helpers of a batch -----------------------------------------------------------------------------------------

    def row_of(self, partition: int, key: bytes, rows: Rows) -> Row:
        row = self._cache.pop((partition, key), None)
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
            return figures.of_deal(
                deals.fold(ledger.items(row.ledger, row.data), row.head.fired), scope, fine=False
            )
        if key[:1] == b"c":
            return accounts.of_customer(accounts.at(scope.subject[2:], row, None, scope), scope, fine=False)
        return figures.of_row(scope.subject, row, scope, None, fine=False)

    def totals(self) -> Contribution:
        """Totals over the partitions that this worker owns."""
        out: Contribution = {}
        for part in self._parts.values():
            figures.add(out, part.shown.items())
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
        for (partition, key), row in islice(reversed(self._cache.items()), CHECKED_ROWS):
            if key[:1] in b"la" and partition in out:
                out[partition] += checks.score_gap(row, self.scope(key))
        return out

    def exposition(self) -> str:
        """The funnel's part of ``/metrics``."""
        return metrics.exposition(self)


def _no_history() -> tuple[None, list[ledger.Item]]:
    return None, []


class _Batch:
    """One call: stages rows, messages and moves; nothing of it is visible before it is merged."""

    def __init__(self, topology: LeadTopology, partition: int, part: Partition, now: int, live: bool) -> None:
        self.topology = topology
        self.partition = partition
        self.part = part
        self.now = now
        self.live = live
        self.rows: dict[bytes, bytes | None] = {}
        self.messages: list[Message] = []
        self.staged = Staged({}, [], Counter())
        self.fresh: list[tuple[str, int]] = []  # calls of the row at hand
        self.restating = Restating(
            partition, part.journal, topology.closing(now), now, live,
            topology.settings.app_id, topology.settings.topics.restatements,
        )  # fmt: skip

    def done(self) -> Work:
        topology = self.topology
        if self.live and topology._unchecked(self.partition):
            self.restating.market(topology.market, topology.reference, topology.definitions[-1].source)
            self.staged.prices = topology._prices
        system = self.restating.done() if self.topology.restates else None
        if system is not None:
            self.rows[self.part.journal.key] = dump(system)
            self.staged.rows[self.part.journal.key] = system
            self.messages += self.restating.messages
            self.staged.counts.update(self.restating.counts)
        return Work(self.rows, self.messages, self.staged)

    def count(self, *key: str) -> None:
        self.staged.counts[key] += 1

    # -- reading ----------------------------------------------------------------------------------------------------

    def take(self, records: Sequence[SourceRecord]) -> None:
        events: dict[bytes, list[tuple[Event, SourceRecord]]] = {}
        told: dict[bytes, list[Told]] = {}
        for consumed in records:
            record, n = consumed, self.topology.inputs[consumed.topic]
            try:
                if n == 3:
                    found = inbox.read(record.value)
                    if isinstance(found, Told):
                        told.setdefault(found.to.encode(), []).append(found)
                        continue
                    record = found.record()
                    n = self.topology.inputs.get(record.topic, 0)
                    event = self._event(record, n, forwarded=True)
                else:
                    event = self._event(record, n, forwarded=False)
            except Malformed as exc:
                self._dead(record, exc.code, exc.detail)
                continue
            if event is not None:
                events.setdefault(event.subject.encode(), []).append((event, record))
        for key, found_events in events.items():
            self.row(key, found_events, told.pop(key, ()))
        for key, messages in told.items():
            self.row(key, (), messages)

    def _event(self, record: SourceRecord, n: int, forwarded: bool) -> Event | None:
        """The fact in a record; None where it belongs to another partition and was sent there."""
        e = decode(record.value, record.headers or (), key=record.key)
        if not e.subject_kind:
            raise Malformed(
                "bad_subject", f"{e.type} has no lead, visitor, deal or account; market and reference events "
                "have topics of their own",
            )  # fmt: skip
        if e.occurred_at > self.now + AHEAD_MS:
            raise Malformed(
                "too_far",
                f"occurred_at lies {(e.occurred_at - self.now) // 3_600_000} hours ahead; check the clock of "
                f"{e.source_system or 'the source'}",
            )
        home = self.topology.partition_of(e.subject_id)
        if home != self.partition:
            self._forward(record, e, home)
            return None
        recorded_at = self.topology.recorded_at(record.timestamp)
        if not forwarded:
            self.count("events", e.type if e.known else "(unknown)")
            if not e.known:
                self.count("unknown_type", self.topology.input_names[n])
            if e.unknown_fields:
                self.count("unknown_fields", e.type if e.known else "(unknown)")
            skew = e.occurred_at - recorded_at
            if skew > 60_000:
                self.count("skewed", e.source_system or figures.EMPTY)
        return from_envelope(
            e, recorded_at, n, record.partition, record.offset,
            self.topology.reference.priority_of(e.source_system), _canonical(e),
        )  # fmt: skip

    def _forward(self, record: SourceRecord, e: Envelope, home: int) -> None:
        """Wrong partitioner or key (case 49): to the task that owns the subject, never to a second row."""
        source = e.source_system or figures.EMPTY
        self.count("misrouted", source)
        if source not in self.topology._warned:
            self.topology._warned.add(source)
            log.warning(
                "%s publishes to %s with another key or partitioner: %r lies on partition %d, its subject %s "
                "belongs to %d; use the subject's id as key and murmur2 (librdkafka: partitioner=murmur2_random)",
                source, record.topic, record.key, record.partition, e.subject_id, home,
            )  # fmt: skip
        forwarded = inbox.forward(record)
        if len(forwarded) > MOST_BYTES:
            self._dead(record, "too_large", "lies on the wrong partition and is too large to be forwarded")
            return
        self.messages.append(
            Message(self.topology.settings.topics.inbox, e.subject_id.encode(), forwarded, (), home)
        )

    def _dead(self, record: SourceRecord, code: str, detail: str) -> None:
        self.count("dead_letters", code)
        settings = self.topology.settings
        letter = dead_letter(
            settings.topics.dead_letters, record, code, detail, settings.dead_letter_max_bytes
        )
        self.messages.append(letter)

    def _scope(self, key: bytes) -> Scope:
        """The row's view, and the flood guard at its door."""
        scope = self.topology.scope(key)
        self.fresh = []
        if self.topology.guarded:
            scope.admit = self.admit
        return scope

    def admit(self, team: str, start: int, anyway: bool) -> bool:
        """The flood guard: may this call go out?"""
        topology, hour = self.topology, start // HOUR
        here = (team, hour)
        said = topology.calls.said(team, hour) + self.staged.calls.count(here) + self.fresh.count(here)
        if not anyway and said >= topology.most_calls(team, hour, self.now):
            return False
        self.fresh.append(here)
        return True

    # -- folding ----------------------------------------------------------------------------------------------------

    def row(self, key: bytes, found: Sequence[tuple[Event, SourceRecord]], told: Sequence[Told]) -> None:
        """Fold into one row. If that fails, nothing of it is staged and its records go to the dead letters."""
        topology = self.topology
        try:
            self._row(key, found, told)
        except TooLargeError as exc:
            if not (found or told):
                self._timer_failed(key, exc)
                return
            log.warning("%s: %s; its records go to the dead letters", key.decode(), exc)
            big = [x for x in found if len(x[1].value or b"") > MOST_BYTES // 16]
            self._give_up(key, big or found, () if big else told, "too_large", str(exc))
            if big:  # the others may well fit
                self.row(key, [x for x in found if x not in big], told)
        except Exception as exc:
            if topology.settings.on_fold_error == "stop":
                raise
            if not (found or told):
                self._timer_failed(key, exc)
                return
            log.critical("fold of %s failed; its records go to the dead letters", key.decode(), exc_info=True)
            self.count("fold_errors")
            self._give_up(key, found, told, "fold_error", f"{type(exc).__name__}: {exc}")

    def _give_up(
        self,
        key: bytes,
        found: Sequence[tuple[Event, SourceRecord]],
        told: Sequence[Told],
        code: str,
        detail: str,
    ) -> None:
        self.topology._cache.pop((self.partition, key), None)
        for _, record in found:
            self._dead(record, code, detail)
        for message in told:
            where = self.topology.settings.topics.inbox
            self._dead(Record(where, self.partition, -1, self.now, key, inbox.tell(message)), code, detail)

    def _timer_failed(self, key: bytes, exc: Exception) -> None:
        """There is no record that could go to the dead letters: the row stays as it is, and is tried again."""
        self.topology._cache.pop((self.partition, key), None)
        since, again = self.part.failure(key, self.now)
        log.critical(
            "timer of %s, due at %s, failed: %s: %s; the row stays as it is, no timer of it fires until this one does, "
            "which is tried again at %s",
            key.decode(), iso(since), type(exc).__name__, exc, iso(again),
            exc_info=key not in self.part.failing,
        )  # fmt: skip
        self.count("fold_errors")
        self.staged.failed.append((key, self.now))

    def _row(self, key: bytes, found: Sequence[tuple[Event, SourceRecord]], told: Sequence[Told]) -> None:
        topology = self.topology
        if key in self.part.review:
            topology._review(self.part, key)
        row = topology.row_of(self.partition, key, self.part.rows)
        events = [e for e, _ in found]
        scope = self._scope(key)
        was = self.restating.look(key, row, bool(found or told), scope) if topology.restates else None
        result, parts, moves = self._fold(key, row, events, told, scope)
        final = None
        if was is not None:
            again = "refolded" in result.counts
            final = self.restating.compare(was, key, row, parts, events, told, scope, again)
        data = dump(row)
        messages = [self._output(output) for output in result.outputs] if key[:1] in (b"l", b"c") else []
        messages += [self._tell(message) for message in result.told]
        self._check_sizes(data, messages, MOST_BYTES if found or told else MOST_BYTES + MARGIN_BYTES)

        # Only now is anything staged.
        self.rows[key] = data
        self.staged.rows[key] = row
        self.messages += messages
        self.staged.calls += self.fresh
        if final is not None:
            self.restating.say(key, topology.definitions[-1].source, *final)
        self.staged.moves += moves
        for what, n in result.counts.items():
            self.staged.counts[("outcomes", what)] += n
        if key[:1] in (b"l", b"c"):
            for output in result.outputs:
                self.count("outputs", RECORD_OF[output.topic], str(output.record.get("kind", "")))
        for refused in result.refused:
            self._refuse(refused, found)

    def _process(self, row: Row, events: Sequence[Event], told: Sequence[Told], scope: Scope) -> Result:
        """A lead's or visitor's row at work, and what of it is to be forgotten."""
        if told and any(m.erase for m in told):
            result = purge.heard(row, events, self.now, scope, told, self.live)
        else:
            result = subject.process(row, events, self.now, scope, told, self.live)
        if row.floor:
            purge.settle(row, self.now, scope, self.live, result)
        return result

    def _fold(
        self, key: bytes, row: Row, events: Sequence[Event], told: Sequence[Told], scope: Scope
    ) -> tuple[Result, Parts | None, list[tuple[Contribution, Contribution]]]:
        """Fold by the row's kind: what came of it, the subject before and after, and what its figures were and are."""
        parts: Parts | None = None
        moves: list[tuple[Contribution, Contribution]] = []
        if key[:1] == b"d":
            result, moved = deals.process(scope.subject, row, events, self.now)
            if moved is not None:
                parts = moved.before, moved.after
                moves.append(
                    (figures.of_deal(parts[0], scope, False), figures.of_deal(parts[1], scope, False))
                )
        elif key[:1] == b"c":
            result, changed = accounts.process(scope.subject, row, events, told, self.now, scope, self.live)
            if changed is not None:
                parts = changed.before, changed.after
                of = accounts.of_customer
                moves.append((of(parts[0], scope, False), of(parts[1], scope, False)))
        else:
            result = self._process(row, events, told, scope)
            if result.moved is not None:
                parts = result.moved
                moves.append(
                    (figures.of_lead(parts[0], scope, False), figures.of_lead(parts[1], scope, False))
                )
            if result.engaged is not None:
                moves.append(tally.moved(*result.engaged))
            if result.kept:
                moves.append(({}, {k[1:]: n for k, n in result.kept.items() if not k[0]}))
        return result, parts, [move for move in moves if move[0] != move[1]]

    @staticmethod
    def _check_sizes(row: bytes, messages: Sequence[Message], most: int) -> None:
        if weight(row) > most:
            raise TooLargeError(
                f"its row would have {weight(row):,} bytes, and may have {most:,}; send fewer or shorter attributes"
            )
        for message in messages:
            if len(message.value or b"") > most:
                raise TooLargeError(
                    f"a message for {message.topic} would have {len(message.value or b''):,} bytes, and may have "
                    f"{most:,}; send fewer or shorter attributes"
                )

    def _output(self, output: Output) -> Message:
        name = RECORD_OF[output.topic]
        record = output.record
        # CloudEvents: source and id together name one message, whatever topic it is on.
        headers = ce_headers(
            name, self.topology.settings.app_id, f"{name}/{output.key}/{record['sequence']}", record["occurred_at"],
            ("account/" if output.topic == HANDOVERS else "lead/") + output.key,
        )  # fmt: skip
        return Message(
            self.topology.outputs[output.topic], output.key.encode(), encode(name, record), headers, None
        )

    def _tell(self, told: Told) -> Message:
        to = told.to[2:]
        where = self.topology.settings.topics.inbox
        return Message(where, to.encode(), inbox.tell(told), (), self.topology.partition_of(to))

    def _refuse(self, refused: Refused, found: Sequence[tuple[Event, SourceRecord]]) -> None:
        for event, record in found:
            if event is refused.event:
                self._dead(record, refused.code, refused.detail)
                return
        # The one that was kept until now came earlier: its bytes are gone, its position and payload are not.
        where = ledger.position(refused.event.c)
        names = self.topology.input_names
        body = msgspec.json.encode({"payload": refused.event.data, "occurred_at": refused.event.t})
        record_ = Record(names[where.input], where.partition, where.offset, refused.event.t, None, body)
        self._dead(record_, refused.code, refused.detail)


def _canonical(e: Envelope) -> Callable[[], bytes]:
    return lambda: msgspec.json.encode(e, order="deterministic")


def build(settings: Settings) -> LeadTopology:
    """The topology of a worker, with the definition that its settings name."""
    return LeadTopology(settings, base_definition(settings))
