"""Restatements of a partition: what changed of numbers that were final, said once, in the transaction that changes them.

Records are keyed by figure and partition, for tasks write side by side and a sequence has one writer. A row of the
partition's own (``s:<partition>``) keeps the sequence numbers and what else has to survive a restart.

While a task is catching up nothing is said: a changed row remembers what it added before, and the difference follows.
What a first import brings is no restatement: nobody had a number yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from processors import accounts, additive, deal_figures, figures, lead_figures, restate_market
from processors.additive import Contribution
from processors.definition.model import Definition
from processors.events import Event
from processors.market import Market
from processors.model import Member, Row, decode_spoken, encode, load
from processors.reference import Reference
from processors.restate import (
    BACKFILLED,
    BACKLOG,
    COUNTS,
    FIGURES,
    LATE,
    Cause,
    Change,
    Closing,
    Number,
    cause,
    closed_since,
    since,
)
from processors.say import RECORD_OF, RESTATEMENTS
from processors.scope import Scope
from processors.subject import Seen, Told
from schemas.codec import ce_headers
from schemas.codec import encode as encode_record
from streams.work import SYSTEM, Message, Rows

#: Baseline of a row that came with a first import: it has nothing to restate.
_IMPORTED = b"-"
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

    news: bool
    waiting: bool
    spoken: bytes
    baseline: bytes
    facts: bytes
    members: dict[str, Member]
    residue: dict[str, int]
    aged: Contribution | None


class Restating:
    """The restatements of one call of a topology."""

    def __init__(
        self,
        partition: int,
        journal: Journal,
        closing: Closing,
        now: int,
        live: bool,
        app_id: str,
        topic: str,
    ) -> None:
        self.partition, self.journal, self.closing, self.now, self.live = (
            partition,
            journal,
            closing,
            now,
            live,
        )
        self.app_id, self.topic = app_id, topic
        #: What is read before the partition has ever been live is a first import.
        self.importing = not live and journal.row is None
        self._sequences = dict(journal.row.sequences) if journal.row is not None else {}
        self._sums: dict[Number, list[int]] = {}
        self._definition = ""
        self._counted = journal.row.spoken if journal.row is not None else b""
        self.messages: list[Message] = []
        self.counts: Counter[tuple[str, ...]] = Counter()

    # -- one row ------------------------------------------------------------------------------------------------------

    def look(self, key: bytes, row: Row, news: bool, scope: Scope) -> Was:
        """Before the row is folded."""
        aged: Contribution | None = None
        if (
            news
            and row.head.due < self.closing.first_open_ms
            and key[:1] in b"la"
            and not (self.importing or row.waiting)
        ):
            # Timers that nobody was there to fire: what they do to a closed month is no news.
            aside = Scope(scope.subject, scope.definitions, scope.reference, scope.history)
            aged = lead_figures.of_lead(figures.seen_at(row, self.now, aside), aside)
        return Was(news, row.waiting, row.spoken, row.baseline, row.ledger, row.members, row.residue, aged)

    def compare(
        self,
        was: Was,
        key: bytes,
        row: Row,
        parts: Parts | None,
        events: Sequence[Event],
        told: Sequence[Told],
        scope: Scope,
        refolded: bool,
    ) -> tuple[Cause, list[Change]] | None:
        """After the row is folded: what was final and changed, None where nothing was. Sets the row's baseline.

        :param refolded: it was folded again; where nothing came, under other definitions.
        """
        if not self.live:
            self._remember(was, key, row, parts, scope)
            return None
        row.baseline = b""
        if not (was.news or was.waiting or was.baseline or refolded) or was.baseline == _IMPORTED:
            return None
        before = self._before(was, key, row, parts, scope)
        if before is None:
            return None
        if not was.baseline:
            _with_residue(before, was)
        changes = self.closing.changes(before, figures.of_row(key.decode(), row, scope))
        if not changes:
            return None
        if not (was.news or was.waiting or was.baseline):
            return Cause("definition"), changes
        why = cause(events, told, was.facts, was.members, row, self.closing)
        if why.word == LATE:
            then = Closing(why.recorded_at, scope.definitions)
            if not any(then.covers(change.number) for change in changes):
                why = why._replace(word=BACKLOG)
        return why, changes

    def _before(
        self, was: Was, key: bytes, row: Row, parts: Parts | None, scope: Scope
    ) -> Contribution | None:
        """What the row added when something was last said of it; None where nothing final can have changed."""
        if was.baseline:
            return dict(_decode_pairs(was.baseline))
        if key[:1] in b"la" and was.waiting:
            said = _as_said(was.spoken)
            head = row.head
            held = Seen(head.journeys, head.shares, head.source, "", 0, 0, (), head.past)
            recent = since(said, held, self.closing.d.won) >= self.closing.today_ms
            return None if recent else lead_figures.of_lead(said, scope)
        if was.aged is not None or parts is None:
            return was.aged
        before, after = parts
        if isinstance(before, Seen):
            recent = since(before, after, self.closing.d.won) >= self.closing.today_ms
        else:
            recent = key[:1] == b"d" and closed_since(before, after) >= self.closing.today_ms
        return None if recent else _contribution(key, before, scope)

    def _remember(self, was: Was, key: bytes, row: Row, parts: Any, scope: Scope) -> None:
        """Nothing is said yet: keep what the row added before, if its journeys as last said do not tell."""
        if key[:1] in b"la":
            if row.waiting and not was.waiting:
                row.baseline = _IMPORTED if self.importing else self._untold(was, key, row, parts, scope)
        elif parts is not None and not self.importing and not was.baseline:
            row.baseline = _packed(_contribution(key, parts[0], scope))

    def _untold(self, was: Was, key: bytes, row: Row, parts: Parts | None, scope: Scope) -> bytes:
        """A lead's baseline: empty where its journeys as last said tell what it added."""
        if was.aged is not None:
            return _packed(_with_residue(was.aged, was))
        if parts is None:
            return _packed(figures.of_row(key.decode(), row, scope))
        if row.spoken == was.spoken or parts[0].past:
            return _packed(_with_residue(_contribution(key, parts[0], scope), was))
        return b""

    # -- what is said -------------------------------------------------------------------------------------------------

    def say(self, key: bytes, d: Definition, why: Cause, changes: Sequence[Change]) -> None:
        """Stage the records of one row; of a back-fill only sums, for it may move thousands of rows at once."""
        self._definition = f"{d.name}@{d.version}"
        if why.word == BACKFILLED:
            for number, old, new in changes:
                found = self._sums.setdefault(number, [0, 0])
                found[0] += old
                found[1] += new
            return
        lead = key[2:].decode() if key[:1] == b"l" and why.word != "erased" else None
        kind = {b"l": "lead", b"a": "visitor", b"d": "deal", b"c": "account"}[key[:1]]
        subject = f"{kind}/{key[2:].decode()}" if why.word != "erased" else "erased"
        for change in changes:
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

    def done(self) -> Row | None:
        """Stage what was summed; the partition's own row if it changed."""
        for number in sorted(self._sums):
            old, new = self._sums[number]
            if old != new:
                self._emit(Change(number, old, new), BACKFILLED, 0, None, "imported")
        self._sums.clear()
        known = self.journal.row
        if not self.live:
            return None
        if known is not None and (known.sequences, known.spoken) == (self._sequences, self._counted):
            return None
        return Row(sequences=self._sequences, spoken=self._counted)


def _contribution(key: bytes, part: Any, scope: Scope) -> Contribution:
    if key[:1] == b"d":
        return deal_figures.of_deal(part, scope)
    if key[:1] == b"c":
        return accounts.of_customer(part, scope)
    return lead_figures.of_lead(part, scope)


def _as_said(spoken: bytes) -> Seen:
    journeys, shares, source = decode_spoken(spoken)
    return Seen(journeys, shares, source, "", 0, 0)


def _with_residue(contribution: Contribution, was: Was) -> Contribution:
    """With what erased facts had added."""
    if was.residue:
        additive.move(contribution, {}, figures.residue(Row(residue=was.residue)))
    return contribution


def _packed(contribution: Contribution) -> bytes:
    # only what can be restated: forecasts are made of squares, which no 64 bits hold
    return encode([(key, n) for key, n in contribution.items() if key[0] in COUNTS])
