"""Replay: events of a file folded offline, as workers would have folded them from Kafka.

The file is NDJSON in wire form and is read twice: once for reference data, which must be known before anything is
folded, and once for the facts, in chunks. Nothing is said before the end; then everything is, as of one instant.

Where a fact lies is given by the number of its line instead of an offset.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from processors import columns
from processors.additive import Contribution
from processors.definition.model import Definition
from processors.period import Period
from processors.report import Value, report
from schemas.codec import decode
from schemas.envelope import ACCOUNT, DEAL, Envelope, Malformed
from schemas.vocabulary import EVENTS, MARKET, OF_FAMILY, REFERENCE
from streams.batch import AHEAD_MS
from streams.dead_letters import PREFIX
from streams.driver import Driver
from streams.settings import Settings
from streams.state_reader import figures_of_rows, loaded
from streams.topology import LeadTopology
from streams.work import Message, Record

#: Lines folded together. A row is decoded and encoded once per chunk, so larger is faster; memory is the limit.
CHUNK = 50_000
#: Dead letters that are kept with their place and reason; the rest is counted.
EXAMPLES = 20
_BOM = b"\xef\xbb\xbf"
#: Lines that may be reference data: a cheap look, so that the first reading decodes almost nothing.
_REFERENCE = re.compile("|".join(sorted(OF_FAMILY[REFERENCE])).encode())

#: Opens the log from its beginning; called once per reading.
Lines = Callable[[], Iterable[bytes]]


class Refused(NamedTuple):
    """A line that was not taken: its number, a code of the dead letters, and the reason for people."""

    line: int
    code: str
    detail: str


class Replayed(Struct):
    """What a replay came to. ``later`` are events after ``as_of``, ``market`` those about no person."""

    as_of: int
    driver: Driver
    lines: int = 0
    accepted: int = 0
    later: int = 0
    types: Counter[str] = field(default_factory=Counter)
    dead: Counter[str] = field(default_factory=Counter)
    examples: list[Refused] = []
    market: list[Envelope] = []
    reference: list[Envelope] = []
    outputs: Counter[str] = field(default_factory=Counter)
    _totals: Contribution | None = None

    @property
    def topology(self) -> LeadTopology:
        return self.driver.topology

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """All rows, as the changelog would have them."""
        return self.driver.all_rows()

    @property
    def unfolded(self) -> int:
        """How often the fold of a subject failed; what it held is missing."""
        return self.topology.counts["fold_errors",]

    @property
    def totals(self) -> Contribution:
        """What all rows add to the figures, exact: with days, months and distributions."""
        if self._totals is None:
            self._totals = figures_of_rows(loaded(self.rows()), self.topology, self.as_of)
        return self._totals

    def report(
        self, *, by: Sequence[str] = (), period: Period | None = None, only: Iterable[str] = ()
    ) -> list[Value]:
        """The figures as of the replay's instant."""
        definitions = self.topology.definitions
        return report(
            self.totals, definitions[-1], self.as_of, by=by, period=period, only=only,
            names=columns.stage_names(definitions), market=self.topology.market, reference=self.topology.reference,
        )  # fmt: skip


def file_lines(path: Path) -> Lines:
    """:raises OSError: when it is called, and the file cannot be read."""

    def read() -> Iterator[bytes]:
        with path.open("rb") as handle:
            yield from handle

    return read


@contextmanager
def spooled(stream: BinaryIO) -> Iterator[Lines]:
    """A stream that can be read only once, kept on disk for the second reading."""
    with tempfile.TemporaryFile() as kept:
        shutil.copyfileobj(stream, kept, 1 << 20)

        def read() -> Iterator[bytes]:
            kept.seek(0)
            yield from kept

        yield read


class Survey(NamedTuple):
    """What the first reading found: the number of lines, and reference data with when it was recorded."""

    lines: int
    reference: list[tuple[Envelope, int]]


def survey(lines: Lines) -> Survey:
    """Count the lines and find the reference data; whatever is wrong with a line is the second reading's to say."""
    found: list[tuple[Envelope, int]] = []
    count = 0
    for raw in lines():
        count += 1
        if _REFERENCE.search(raw) is None:
            continue
        try:
            e = decode(raw.removeprefix(_BOM).strip(), ())
        except Malformed:
            continue
        if _family(e) == REFERENCE:
            found.append((e, _recorded_at(e)))
    return Survey(count, found)


def replay(
    settings: Settings,
    definition: Definition,
    lines: Lines,
    *,
    as_of: int | None = None,
    latest: int | None = None,
    partitions: int | None = None,
    sink: Callable[[Message], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    chunk: int = CHUNK,
) -> Replayed:
    """Fold everything up to ``as_of`` and say what follows.

    :param as_of: epoch ms; left out: the largest accepted occurred_at.
    :param latest: an event after this instant and 24 hours is a mistake of its source's clock (a dead letter), as for
        a worker whose clock shows ``latest``. Events after ``as_of`` are no mistake, they are left out and counted.
    :param sink: gets every output message.
    :param progress: called with (lines read, lines in all).
    """
    found = survey(lines)
    # A file has its own times; those of a simulation (a demo's settings) would scale them as if they were the wall's.
    topology = LeadTopology(replace(settings, clock="wall"), definition, partitions=partitions)
    topology.guarded = False  # nobody is called by a replay, so there is nothing to hold back
    topology.restates = False  # nothing was final before
    topology.apply(found.reference)
    driver = _Offline(topology, sink)
    done = Replayed(as_of or 0, driver)
    done.reference = [e for e, _ in found.reference]
    done.types = Counter(e.type for e in done.reference)
    driver.done = done
    newest = 0
    for number, raw in enumerate(lines(), 1):
        done.lines = number
        if number % chunk == 0:
            driver.settle(newest)
            if progress is not None:
                progress(number, found.lines)
        text = raw.removeprefix(_BOM).strip() if number == 1 else raw.strip()
        if not text:
            continue
        try:
            e = _facts_of(text, done, latest)
        except Malformed as exc:
            driver.refuse(number, exc.code, exc.detail)
            continue
        if e is None:
            continue
        newest = max(newest, e.occurred_at)
        driver.take(e, number, text)
    driver.settle(newest)
    topology.apply([(e, _recorded_at(e)) for e in done.market])
    if as_of is None:
        done.as_of = newest
    driver.now_ms = max(driver.now_ms, done.as_of)
    driver.run()
    driver.catch_up()
    done.examples.sort()
    if progress is not None:
        progress(found.lines, found.lines)
    for key, n in topology.counts.items():
        if key[0] == "outputs":
            done.outputs[" ".join(key[1:]).strip()] += n
    return done


def _facts_of(text: bytes, done: Replayed, latest: int | None) -> Envelope | None:
    """The event of a line, if it is one to fold."""
    e = decode(text, ())
    family = _family(e)
    if family == REFERENCE:
        return None
    if e.known and family == MARKET:
        done.types[e.type] += 1
        done.market.append(e)
        return None
    if not e.subject_kind:
        raise Malformed("bad_subject", f"{e.type} is no known type and has no lead, visitor, deal or account")
    if latest is not None and e.occurred_at > latest + AHEAD_MS:
        hours = (e.occurred_at - latest) // 3_600_000
        raise Malformed(
            "too_far", f"occurred_at lies {hours} hours ahead; check the clock of {e.source_system}"
        )
    if done.as_of and e.occurred_at > done.as_of:
        done.later += 1
        return None
    done.accepted += 1
    done.types[e.type if e.known else "(unknown)"] += 1
    return e


def _family(e: Envelope) -> str:
    known = EVENTS.get(e.type)
    return known.family if known is not None else ""


def _recorded_at(e: Envelope) -> int:
    return e.occurred_at if e.observed_at is None else e.observed_at


class _Offline(Driver):
    """The driver, fed by chunks and forgetting what is folded, so that a file of any length fits."""

    def __init__(self, topology: LeadTopology, sink: Callable[[Message], None] | None) -> None:
        super().__init__(topology, live=False)
        self.done = Replayed(0, self)
        self._sink = sink
        self._inbox = topology.settings.topics.inbox
        self._letters = topology.settings.topics.dead_letters
        topics = topology.settings.topics
        self._topic_of = {
            name: getattr(topics, field)
            for name, event in EVENTS.items()
            if (field := topics.field_of(event.topic)) is not None
        }
        self._unknown = {DEAL: topics.deal, ACCOUNT: topics.deal}
        self._pending: list[list[Record]] = [[] for _ in range(self.partitions)]

    def take(self, e: Envelope, number: int, text: bytes) -> None:
        """Put an event where its publisher would have put it."""
        p = self.topology.partition_of(e.subject_id)
        topic = self._topic_of.get(e.type) or self._unknown.get(
            e.subject_kind, self.topology.settings.topics.lead
        )
        self._pending[p].append(Record(topic, p, number, _recorded_at(e), e.subject_id.encode(), text))

    def settle(self, now_ms: int) -> None:
        """Fold what was taken, as of the newest event so far: time that runs ahead of a log in order of time would
        fire timers only to take them back."""
        self.now_ms = max(self.now_ms, now_ms)
        for p, records in enumerate(self._pending):
            if records:
                self._store(p, self.topology.batch(p, records, self.now_ms, self.live))
        self._pending = [[] for _ in range(self.partitions)]
        self.run()
        for p, log in enumerate(self._log(self._inbox)):
            log.clear()
            self._read[self._inbox, p] = 0

    def refuse(self, number: int, code: str, detail: str) -> None:
        self.done.dead[code] += 1
        if len(self.done.examples) < EXAMPLES:
            self.done.examples.append(Refused(number, code, detail))

    def _append(self, message: Message) -> None:
        if message.topic == self._inbox:
            super()._append(message)
        elif message.topic == self._letters:
            said = {name.removeprefix(PREFIX): value.decode() for name, value in message.headers if value}
            self.refuse(int(said.get("offset", "0")), said.get("code", ""), said.get("detail", ""))
        elif self._sink is not None:
            self._sink(message)
