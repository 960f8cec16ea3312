"""Restatements of a partition: what changed of numbers that were final, said once, in the transaction that changes them.

Records are keyed by figure and partition, for tasks write side by side and a sequence has one writer. A row of the
partition's own (``s:<partition>``) keeps the sequence numbers and what else has to survive a restart.

While a task is catching up nothing is said: a changed row remembers what it added before, and the difference follows.
What a first import brings is no restatement: nobody had a number yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from processors import figures, lead_figures, restate, restate_market, versions
from processors.additive import Contribution
from processors.closing import CLOCKED, FIGURES, TELLING, Change, Closing, Number
from processors.days import month_of_day
from processors.definition.model import Definition
from processors.events import Event
from processors.market import Market
from processors.model import Member, Row, encode, load
from processors.reference import Reference
from processors.restate import (
    BACKFILLED,
    BACKLOG,
    COHORTS,
    DEFINITION,
    DUE,
    ERASED,
    FOLLOWED,
    LATE,
    MONTHS,
    NOWHERE,
    Cause,
)
from processors.say import RECORD_OF, RESTATEMENTS
from processors.scope import Scope
from processors.subject import Result, Told, effective
from schemas.codec import ce_headers
from schemas.codec import encode as encode_record
from streams.recounting import Recount
from streams.work import SYSTEM, Message, Rows

#: Baseline of a row that came with a first import: it has nothing to restate.
_IMPORTED = b"-"
#: Causes of which sums are said, and what stands for who was behind it.
_SUMMED = {BACKFILLED: "imported", DEFINITION: "definition"}
#: A lead, deal or account before and after.
Parts = tuple[Any, Any]
_Pairs = list[tuple[tuple[Any, ...], int]]
_decode_pairs = msgspec.msgpack.Decoder(_Pairs).decode


_decode_counted = msgspec.msgpack.Decoder(list[tuple[Number, int]]).decode


class Journal:
    """A partition's own row, as committed; there is none before the partition has been live for the first time."""

    def __init__(self, partition: int, rows: Rows) -> None:
        self.key = SYSTEM + b":%d" % partition
        data = rows.get(self.key)
        self.row = load(data) if data is not None else None
        #: Version of market and reference data that it has compared with what it had counted.
        self.checked = 0

    @property
    def counted(self) -> dict[Number, int] | None:
        """Spend and rates as counted last, None if never."""
        return dict(_decode_counted(self.row.spoken)) if self.row is not None and self.row.spoken else None


class Was(NamedTuple):
    """A row before a batch, as far as restatements need it."""

    last: int  # its newest event
    due: int
    held: int  # its earliest fact that was dated in the future
    agents: dict[int, int]
    baseline: bytes
    waiting: bool
    facts: bytes
    members: dict[str, Member]
    residue: dict[str, int]


class Restating:
    """The restatements of one call of a topology."""

    def __init__(
        self,
        partition: int,
        journal: Journal,
        rows: Rows,
        closing: Closing,
        recount: Recount | None,
        now: int,
        live: bool,
        app_id: str,
        topic: str,
    ) -> None:
        self.partition, self.journal, self.rows, self.recount = partition, journal, rows, recount
        self.closing, self.now, self.live = closing, now, live
        self.app_id, self.topic = app_id, topic
        #: What is read before the partition has ever been live is a first import.
        self.importing = not live and journal.row is None
        self._sequences = dict(journal.row.sequences) if journal.row is not None else {}
        self._sums: dict[tuple[str, Number], list[int]] = {}
        self._definition = ""
        self._counted = journal.row.spoken if journal.row is not None else b""
        self._then: dict[int, Closing] = {}
        #: What the definitions alone have changed of the row at hand, if that is settled with it.
        self.settled: list[Change] | None = None
        self.messages: list[Message] = []
        self.counts: Counter[tuple[str, ...]] = Counter()

    # -- one row ------------------------------------------------------------------------------------------------------

    @staticmethod
    def look(row: Row) -> Was:
        """Before the row is folded."""
        head = row.head
        return Was(
            head.a >> 22,
            head.due,
            row.held,
            head.agents,
            row.baseline,
            row.waiting,
            row.ledger,
            row.members,
            row.residue,
        )

    def compare(
        self,
        was: Was,
        key: bytes,
        row: Row,
        parts: Parts | None,
        events: Sequence[Event],
        told: Sequence[Told],
        scope: Scope,
        result: Result,
    ) -> list[tuple[Cause, Change]]:
        """After the row is folded: what was final and changed. Sets the row's baseline: while nothing is said, what it
        added when something was last said, if that is not what it adds now.

        :param parts: its subject before and after, if its figures moved by that.
        """
        self.settled = None
        if self.importing:
            if row.waiting and not was.waiting and key[:1] in b"la":
                row.baseline = _IMPORTED
            return []
        if not self.live:
            if not was.baseline and self._reach(was, key, row, parts, events, result) > NOWHERE:
                row.baseline = self._packed(self._before(was, key, True, scope, self.recount))
                self._settle(key, row)
            return []
        row.baseline = b""
        imported = was.baseline == _IMPORTED
        mine: list[tuple[Cause, Change]] = []
        if was.baseline and not imported:
            before = dict(_decode_pairs(was.baseline))
            self._settle(key, row)  # what the row added then is in the old definitions' words
        else:
            reach = self._reach(was, key, row, parts, events, result)
            if reach == NOWHERE:
                return []
            news = bool(events or told) or was.held <= self.now
            mine = [(Cause(DEFINITION), change) for change in self._settle(key, row)]
            if not (news or "refolded" in result.counts):
                return mine if imported else mine + self._by_time(was, key, row, scope)
            if reach == COHORTS and was.due >= self.closing.today_ms:
                assert parts is not None
                changes = self.closing.changes(
                    lead_figures.of_lead(parts[0], scope), lead_figures.of_lead(parts[1], scope)
                )
                return mine + self._causes(changes, was, row, events, told, scope)
            before = self._before(was, key, news, scope)
        changes = self.closing.changes(before, figures.of_row(key.decode(), row, scope))
        return mine + self._causes(changes, was, row, events, told, scope)

    def _settle(self, key: bytes, row: Row) -> list[Change]:
        """Something final of the row moves while its partition is counted by new definitions: it says its own part."""
        if self.recount is None or self.recount.own(row) == self.recount.marks:
            return []
        self.settled = self.recount.of_row(key, self.rows.get(key))
        row.counted = self.recount.marks
        return self.settled

    def _reach(
        self, was: Was, key: bytes, row: Row, parts: Parts | None, events: Sequence[Event], result: Result
    ) -> int:
        """How far back may its final numbers have changed?"""
        kind, closing = key[:1], self.closing
        if kind == b"d":
            return restate.of_deal(*parts, closing) if parts is not None else NOWHERE
        if kind == b"c":
            return MONTHS if parts is not None else NOWHERE
        if was.held <= self.now and was.held < closing.first_open_ms:
            return MONTHS
        far = restate.of_facts(was.last, was.agents, was.residue, row, events, result, closing)
        return far if far or parts is None else restate.of_lead(*parts, closing)

    def _before(
        self, was: Was, key: bytes, news: bool, scope: Scope, recount: Recount | None = None
    ) -> Contribution:
        """What the row added before the batch. Timers that nobody was there to fire are no news, but for clocks; facts that
        were held until now are.

        :param recount: given: by the definitions that its numbers were said under.
        """
        data = self.rows.get(key)
        if data is None:
            return {}

        def then(as_of_ms: int | None = None) -> Contribution:
            row = self._row(data, key, scope)
            if as_of_ms is not None:
                as_of_ms = min(as_of_ms, was.held - 1)
            if recount is not None:
                return recount.before(key, row, as_of_ms)
            return figures.of_row(key.decode(), row, _aside(scope), as_of_ms)

        found = then()
        if was.due > self.now:
            return found
        clocked = self._clocked(found, was.due, then)
        if not news:
            return {k: n for k, n in found.items() if k[0] not in CLOCKED} | clocked
        aged = then(self.now)
        return {k: n for k, n in aged.items() if k[0] not in CLOCKED} | clocked

    def _clocked(
        self, found: Contribution, due: int, then: Callable[[int | None], Contribution]
    ) -> Contribution:
        """Handoffs, whose clocks have run out since ``due`` and nobody was there: as they stood when their month was
        closed, or as they were said, if that was later."""
        own = {k: n for k, n in found.items() if k[0] in CLOCKED}
        for month in {month_of_day(self.closing.day(k)) for k in own}:
            closed = self.closing.closes(month)
            if due < closed <= self.now:
                own = {k: n for k, n in own.items() if month_of_day(self.closing.day(k)) != month} | {
                    k: n
                    for k, n in then(closed).items()
                    if k[0] in CLOCKED and month_of_day(self.closing.day(k)) == month
                }
        return own

    @staticmethod
    def _row(data: bytes, key: bytes, scope: Scope) -> Row:
        row = load(data)
        if key[:1] in b"la":
            versions.catch_up(row, _aside(scope))
        return row

    def _by_time(self, was: Was, key: bytes, row: Row, scope: Scope) -> list[tuple[Cause, Change]]:
        """Clocks that ran out after the month of their handoff was closed."""
        old, new = (
            {k: n for k, n in found.items() if k[0] in CLOCKED}
            for found in (self._before(was, key, False, scope), figures.of_row(key.decode(), row, scope))
        )
        why = Cause(DUE, when=was.due)
        return [(why, change) for change in self.closing.changes(old, new)]

    def _causes(
        self,
        changes: Sequence[Change],
        was: Was,
        row: Row,
        events: Sequence[Event],
        told: Sequence[Told],
        scope: Scope,
    ) -> list[tuple[Cause, Change]]:
        if not changes:
            return []
        true = [e for e in effective(row) if was.held <= e[0] >> 22 <= self.now]
        if not (events or told or was.baseline or true):
            return [(Cause(DEFINITION), change) for change in changes]
        why = restate.cause(events, told, true, was.facts, was.members, row, self.closing)
        if why.word != LATE:
            return [(why, change) for change in changes]
        return [(why._replace(word=self._when(why, change.number, scope)), change) for change in changes]

    def _when(self, why: Cause, number: Number, scope: Scope) -> str:
        """Was the number final when the fact happened, when it was recorded, or only when it was read?"""
        if self._closing(why.at, scope).covers(number):
            return FOLLOWED
        return LATE if self._closing(why.recorded_at, scope).covers(number) else BACKLOG

    def _closing(self, at: int, scope: Scope) -> Closing:
        found = self._then.get(at)
        if found is None:
            found = self._then[at] = Closing(at, scope.definitions)
        return found

    def _packed(self, contribution: Contribution) -> bytes:
        # only what can be restated: forecasts are made of squares, which no 64 bits hold
        return encode(list(self.closing.soon(contribution).items()))

    # -- what is said -------------------------------------------------------------------------------------------------

    def say(self, key: bytes, d: Definition, found: Sequence[tuple[Cause, Change]]) -> None:
        """Stage the records of one row; of a back-fill or a definition only sums, for they may move thousands of rows
        at once."""
        self._definition = f"{d.name}@{d.version}"
        for why, change in found:
            if why.word in _SUMMED:
                sums = self._sums.setdefault((why.word, change.number), [0, 0])
                sums[0] += change.old
                sums[1] += change.new
                continue
            gone, told = why.word == ERASED, change.number.figure in TELLING
            lead = key[2:].decode() if key[:1] == b"l" and not gone and not told else None
            kind = {b"l": "lead", b"a": "visitor", b"d": "deal", b"c": "account"}[key[:1]]
            subject = "erased" if gone else kind if told else f"{kind}/{key[2:].decode()}"
            self._emit(change, why.text(), why.at, lead, subject)

    def _emit(self, change: Change, why: str, at: int, lead: str | None, subject: str) -> None:
        number, old, new = change
        code = FIGURES.index(number.figure)
        sequence = self._sequences[code] = self._sequences.get(code, 0) + 1
        key = f"{number.figure}/{self.partition}"
        happened = at or self.now
        record = {
            "output_id": f"{key}/{sequence}", "sequence": sequence, "revision": 1, "op": "new", "occurred_at": happened,
            "as_of": self.now, "definition": self._definition, "figure": number.figure, "labels": dict(number.labels),
            "period": number.period, "old": old if old or number.figure != "rate" else None, "new": new if new or number.figure != "rate" else None,
            "cause": why, "lead_id": lead,
        }  # fmt: skip
        name = RECORD_OF[RESTATEMENTS]
        headers = ce_headers(name, self.app_id, f"{name}/{key}/{sequence}", happened, subject)
        self.messages.append(Message(self.topic, key.encode(), encode_record(name, record), headers, None))
        self.counts["outputs", name, why.split(":", maxsplit=1)[0]] += 1

    def market(self, market: Market, reference: Reference, d: Definition) -> None:
        """Compare spend and rates with what was counted last, and say what was final and changed. What comes first is
        an import."""
        before = self.journal.counted
        after = restate_market.counted(market, reference, self.closing)
        self._counted = encode(list(after.items()))
        self._definition = f"{d.name}@{d.version}"
        if before is not None:
            for change in restate_market.changes(before, after, self.closing):
                self._emit(change, change.number.figure, 0, None, f"market/{change.number.figure}")

    def recounted(self, d: Definition) -> None:
        """The pass has come to its end: say the sums."""
        assert self.recount is not None
        self._definition = f"{d.name}@{d.version}"
        for change in self.recount.changes():
            self._emit(change, DEFINITION, self.recount.at, None, _SUMMED[DEFINITION])
        self.recount = None

    def done(self, under: tuple[int, ...]) -> Row | None:
        """Stage what was summed; the partition's own row if it changed.

        :param under: marks of the definitions in which numbers are counted.
        """
        for (word, number), (old, new) in sorted(self._sums.items()):
            if old != new:
                self._emit(Change(number, old, new), word, 0, None, _SUMMED[word])
        self._sums.clear()
        known = self.journal.row
        if not self.live:
            return None
        terms = known.terms if known is not None and self.recount is not None else under
        if known is not None and (known.sequences, known.spoken, known.terms) == (
            self._sequences, self._counted, terms,
        ):  # fmt: skip
            return None
        return Row(sequences=self._sequences, spoken=self._counted, terms=terms)


def _aside(scope: Scope) -> Scope:
    """The same view, of a row of its own."""
    return Scope(scope.subject, scope.definitions, scope.reference, scope.history)
