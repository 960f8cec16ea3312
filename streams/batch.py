"""One batch of records at work: each goes to the row of its subject, is folded, and what follows from it is staged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from logging import getLogger
from typing import TYPE_CHECKING

import msgspec

from processors import accounts, deal_figures, deals, lead_figures, ledger, purge, subject, tally
from processors.additive import EMPTY, Contribution
from processors.closing import Change
from processors.definition.model import HOUR
from processors.events import Event, from_envelope
from processors.model import Row, dump, weight
from processors.say import HANDOVERS, RECORD_OF, Output
from processors.scope import Scope
from processors.subject import Refused, Result, Told
from schemas.codec import ce_headers, decode, encode
from schemas.envelope import Envelope, Malformed
from streams import inbox, recounting
from streams.clock import iso
from streams.dead_letters import dead_letter
from streams.partition import Partition
from streams.restating import Parts, Restating
from streams.work import Message, Record, SourceRecord, Work

if TYPE_CHECKING:
    from streams.topology import LeadTopology

log = getLogger(__name__)

#: An event dated further ahead than this is a mistake of its source's clock (DOMAIN 2.1).
AHEAD_MS = 24 * 3_600_000
#: Kafka takes records of up to 1 MB: what would become a larger one goes to the dead letters before it could stop the
#: worker, now and after each restart. A timer may use the margin.
MOST_BYTES, MARGIN_BYTES = 900_000, 80_000


class TooLargeError(Exception):
    """What follows from some records is more than Kafka takes in one."""


class Staged(msgspec.Struct):
    """What `merged` takes over when Kafka has it."""

    rows: dict[bytes, Row]
    moves: list[tuple[Contribution, Contribution]]
    counts: Counter[tuple[str, ...]]
    calls: list[tuple[str, int]] = []  # new calls on sales: team and hour
    prices: int | None = None  # the version of spend and rates that was looked at
    settled: list[
        tuple[bytes, list[Change]]
    ] = []  # rows that said what new definitions change of their numbers
    recounted: bool = False  # the pass over all rows is at its end
    failed: list[tuple[bytes, int]] = []  # rows whose timers failed, and when


class Batch:
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
            partition, part.journal, part.rows, topology.closing(now), topology.recount(part), now, live,
            topology.settings.app_id, topology.settings.topics.restatements,
        )  # fmt: skip

    def done(self) -> Work:
        topology = self.topology
        if self.live and topology.unchecked(self.partition):
            self.restating.market(topology.market, topology.reference, topology.definitions[-1].source)
            self.staged.prices = topology.prices
        system = self.restating.done(recounting.marks(topology.definitions)) if topology.restates else None
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
                self.count("skewed", e.source_system or EMPTY)
                self.staged.counts["skew", e.source_system or EMPTY] += skew
        return from_envelope(
            e, recorded_at, n, record.partition, record.offset,
            self.topology.reference.priority_of(e.source_system), _canonical(e),
        )  # fmt: skip

    def _forward(self, record: SourceRecord, e: Envelope, home: int) -> None:
        """Wrong partitioner or key (case 49): to the task that owns the subject, never to a second row."""
        source = e.source_system or EMPTY
        self.count("misrouted", source)
        if source not in self.topology.warned:
            self.topology.warned.add(source)
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
        self.topology.cache.pop((self.partition, key), None)
        for _, record in found:
            self._dead(record, code, detail)
        for message in told:
            where = self.topology.settings.topics.inbox
            self._dead(Record(where, self.partition, -1, self.now, key, inbox.tell(message)), code, detail)

    def _timer_failed(self, key: bytes, exc: Exception) -> None:
        """There is no record that could go to the dead letters: the row stays as it is, and is tried again."""
        self.topology.cache.pop((self.partition, key), None)
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
            topology.review(self.part, key)
        row = topology.row_of(self.partition, key, self.part.rows)
        events = [e for e, _ in found]
        scope = self._scope(key)
        was = self.restating.look(row) if topology.restates else None
        result, parts, moves = self._fold(key, row, events, told, scope)
        final = (
            self.restating.compare(was, key, row, parts, events, told, scope, result)
            if was is not None
            else []
        )
        data = dump(row)
        messages = [self._output(output) for output in result.outputs] if key[:1] in (b"l", b"c") else []
        messages += [self._tell(message) for message in result.told]
        self._check_sizes(data, messages, MOST_BYTES if found or told else MOST_BYTES + MARGIN_BYTES)

        # Only now is anything staged.
        self.rows[key] = data
        self.staged.rows[key] = row
        self.messages += messages
        self.staged.calls += self.fresh
        if self.restating.settled is not None:
            self.staged.settled.append((key, self.restating.settled))
        if final:
            self.restating.say(key, topology.definitions[-1].source, final)
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
                    (
                        deal_figures.of_deal(parts[0], scope, False),
                        deal_figures.of_deal(parts[1], scope, False),
                    )
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
                    (
                        lead_figures.of_lead(parts[0], scope, False),
                        lead_figures.of_lead(parts[1], scope, False),
                    )
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
