"""Small worlds for tests: rows at `subject.process` level, and the whole topology on the driver.

`World` keeps its rows encoded between calls, so whatever it proves it proves of the encoding too.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from processors import (
    accounts,
    additive,
    columns,
    deal_figures,
    deals,
    figures,
    lead_figures,
    links,
    purge,
    say,
    scoring,
)
from processors.additive import Contribution
from processors.compiled import Compiled, compile_definition
from processors.definition.load import load as load_definition
from processors.definition.model import HOUR, MINUTE, Definition
from processors.events import NATURAL, Event, both_names
from processors.fold import reference
from processors.ledger import Item, position, recorded_at
from processors.model import EXITS, Handoff, Row, State, dump, load
from processors.period import Period
from processors.reference import Reference
from processors.reference import apply as apply_reference
from processors.report import report
from processors.say import Output
from processors.scope import Scope
from processors.subject import Refused, Told, next_due
from schemas.codec import decode, decode_output
from schemas.envelope import Envelope
from streams.driver import Driver
from streams.settings import Settings
from streams.state_reader import figures_of_rows, loaded
from streams.topology import LeadTopology
from streams.work import Record
from tests.strategies import FITS, T0, Sent, at, default_definition, law_definition, sent

MONDAY = at(1)
#: When somebody became known; ``since`` (ms) says that it was later.
_LONG_AGO = 1_600_000_000_000
OWNERS: tuple[dict[str, Any], ...] = (
    {"owner": "owner-1", "team": "sales", "active": True, "weight": 2, "time_zone": "America/New_York"},
    {"owner": "owner-2", "team": "sales", "active": True},
    {"owner": "owner-3", "team": "sales", "active": True, "out_of_office_until": T0 + 9 * 86_400_000},
    {"owner": "owner-gone", "team": "sales", "active": False},
    {"owner": "owner-2", "team": "sales", "active": False, "since": at(2, 12)},
    {"owner": "owner-2", "team": "sales", "active": True, "time_zone": "Asia/Tokyo", "since": at(7)},
)


def known_owners(base: Definition, owners: Iterable[dict[str, Any]] = OWNERS) -> Reference:
    facts = [
        Envelope(
            type="owner_changed",
            occurred_at=o.get("since", _LONG_AGO),
            payload={k: v for k, v in o.items() if k != "since"},
        )
        for o in owners
    ]
    facts.append(
        Envelope(type="address_suppressed", occurred_at=at(3), payload={"address_hash": "h-1"})
    )  # somebody was erased
    return apply_reference(Reference(base), facts)


LAW = law_definition()
PEOPLE = known_owners(LAW)
LAWS = (compile_definition(LAW),)


def run_of(events: Iterable[Event]) -> list[Item]:
    """The set of facts as the reference fold takes it: of each identity the claim that was recorded first, in order; of
    a fact that several systems told with the names that all of them have for it."""
    first: dict[int, Event] = {}
    for e in sorted(events, key=lambda e: (recorded_at(e.a, e.c), position(e.c))):
        kept = first.setdefault(e.b >> 16, e)
        if kept.kind == e.kind and e.kind in NATURAL:
            names = both_names(e.kind, kept.data, e.data)
            first[e.b >> 16] = Event(kept.subject, kept.a, kept.b, kept.c, names)
    return sorted(((e.a, e.b, e.c, e.data) for e in first.values()), key=lambda e: e[:2])


class World:
    """Rows of leads and deals, a bus between them, totals, and all that was published."""

    def __init__(
        self,
        definitions: tuple[Compiled, ...] = LAWS,
        people: Reference = PEOPLE,
        now: int = T0,
        rng: random.Random | None = None,
    ) -> None:
        self.definitions, self.people, self.now = definitions, people, now
        self.rng = rng
        self.stored: dict[str, bytes] = {}
        self.bus: list[Told] = []
        self.totals: Contribution = {}
        self.counted: dict[str, tuple[bytes, tuple[Compiled, ...], Contribution]] = {}
        self.outputs: list[Output] = []
        self.refused: list[Refused] = []
        self.counts: Counter[str] = Counter()

    def scope(self, key: str) -> Scope:
        return Scope(key, self.definitions, self.people, lambda: (None, []))

    def row(self, key: str = "l:lead-1") -> Row:
        return load(self.stored[key]) if key in self.stored else Row()

    def feed(
        self, key: str, events: Sequence[Event], now: int, live: bool = True, told: Sequence[Told] = ()
    ) -> None:
        self.now = now = max(now, self.now)
        row, scope = self.row(key), self.scope(key)
        before, after, purged = self._counted(key, row), None, False
        if key.startswith("d:"):
            result, moved = deals.process(key, row, events, now)
            if moved is not None:
                additive.move(
                    self.totals,
                    deal_figures.of_deal(moved.before, scope),
                    deal_figures.of_deal(moved.after, scope),
                )
        elif key.startswith("c:"):
            result, changed = accounts.process(key, row, events, told, now, scope, live)
            if changed is not None:
                additive.move(
                    self.totals,
                    accounts.of_customer(changed.before, scope),
                    accounts.of_customer(changed.after, scope),
                )
        else:
            result = purge.heard(row, events, now, scope, told, live)
            after, purged = self.dated(key, row), row.floor > 0
            additive.move(self.totals, before, after)
            purge.settle(row, now, scope, live, result)
            if result.moved is not None:
                was, became = result.moved
                additive.move(
                    self.totals, lead_figures.of_lead(was, scope), lead_figures.of_lead(became, scope)
                )
            additive.add(self.totals, ((k[1:], n) for k, n in result.kept.items()))
        self.stored[key] = dump(row)
        if after is not None and not purged:
            self.counted[key] = (self.stored[key], self.definitions, after)
        self.outputs += result.outputs
        self.refused += result.refused
        self.counts.update(result.counts)
        for message in result.told:
            self.bus += [message] * (2 if self.rng is not None and self.rng.random() < 0.2 else 1)

    def _counted(self, key: str, row: Row) -> Contribution:
        """As `dated`, which takes most of the time, unless the row is as it was when it was counted last."""
        data, definitions, found = self.counted.get(key, (b"", (), {}))
        if data and data == self.stored.get(key) and definitions == self.definitions:
            return found
        return self.dated(key, row)

    def dated(self, key: str, row: Row) -> Contribution:
        """What is counted by day from the facts of a row: reports alone do that."""
        if key[0] not in "la":
            return {}
        scope = self.scope(key)
        return figures.of_engagement(row, figures.seen_at(row, None, scope), scope)

    def batch(self, events: Sequence[Event], now: int, live: bool = True) -> None:
        """One batch, whatever its subjects."""
        by_key: dict[str, list[Event]] = {}
        for e in events:
            by_key.setdefault(e.subject, []).append(e)
        for key, found in by_key.items():
            self.feed(key, found, now, live)

    def deliver(self, live: bool = True, some: bool = False) -> None:
        """What rows told one another: in any order where there is chance in this world."""
        while self.bus and not (some and self.rng is not None and self.rng.random() < 0.3):
            at = self.rng.randrange(len(self.bus)) if self.rng is not None else 0
            message = self.bus.pop(at)
            self.feed(message.to, (), self.now, live, [message])

    def arrive(self, delivery: Sequence[Sent], now: int, live: bool = False) -> None:
        """In batches cut anywhere, and what rows tell one another whenever it comes: by the chance of this world."""
        assert self.rng is not None
        for batch in cut(delivery, self.rng):
            self.batch([x.event for x in batch], now, live)
            self.deliver(live, some=True)
        self.deliver(live)

    def tick(self, to: int, live: bool = True) -> None:
        """The timers, as they fall due; in a half-read past they wait."""
        while live:
            due = min((self._due(k) for k in self.stored), default=to + 1)
            if due > to:
                break
            for key in list(self.stored):
                if self._due(key) <= due:
                    self.feed(key, (), due, live)
        self.now = max(self.now, to)

    def _due(self, key: str) -> int:
        row = self.row(key)
        return row.held if key.startswith("d:") else next_due(row)

    def hush(self, to: int) -> None:
        """Time passes for everybody, nothing being said; rows are looked at once."""
        for key in list(self.stored):
            self.feed(key, (), to, False)

    def speak(self, to: int) -> None:
        """The end of catching up."""
        for key in list(self.stored):
            self.feed(key, (), to, True)

    def summed(self) -> Contribution:
        """The sum of what the rows contribute, from the rows alone."""
        out: Contribution = {}
        for key in self.stored:
            additive.add(out, figures.of_row(key, self.row(key), self.scope(key)).items())
        return {k: n for k, n in out.items() if n}

    def published(self, lead: str = "lead-1") -> dict[str, dict[str, Any]]:
        """What a subscriber holds: the last revision of each output that was not withdrawn."""
        last: dict[str, dict[str, Any]] = {}
        for o in self.outputs:
            if o.key == lead:
                known = last.get(o.record["output_id"])
                assert known is None or known["revision"] < o.record["revision"]
                last[o.record["output_id"]] = o.record
        return {k: r for k, r in last.items() if r["op"] != "withdrawn"}

    def alone(self, key: str, run: Sequence[Item], now: int) -> State:
        """The fold of these facts from scratch, with the handoffs that this world's row has minted."""
        scope = self.scope(key)
        links.claim(self.row(key), scope)
        return reference(run, now, scope)


def decided(key: str, s: State) -> dict[str, tuple[Any, ...]]:
    """What a state says to the outside, by output id."""
    return {say.output_id(key, k): v for k, v in say.decisions(s.journeys).items()}


def handoffs(s: State) -> list[Handoff]:
    return [h for j in s.journeys for h in j.handoffs]


def figure(
    f: Funnel, name: str, *by: str, at: int | None = None, period: str = ""
) -> dict[tuple[str, ...], Any]:
    """Values by labels; a single one under ()."""
    at = f.now if at is None else at
    totals = figures_of_rows(loaded(f.driver.all_rows()), f.topology, at)
    found = report(
        totals, f.topology.definitions[-1], at, by=by, only=[name],
        period=Period.parse(period) if period else None,
    )  # fmt: skip
    return {tuple(v.labels.values()): v.value for v in found}


def cut(found: Sequence[Any], rng: random.Random, most: int = 6) -> list[list[Any]]:
    """Into batches of any size."""
    out, rest = [], list(found)
    while rest:
        n = rng.randint(1, most)
        out.append(rest[:n])
        rest = rest[n:]
    return out


class Funnel:
    """Given events, when time passes, then outputs: the topology as a publisher and a subscriber see it."""

    def __init__(
        self,
        definition: Definition | None = None,
        now: int = T0,
        *,
        partitions: int = 4,
        owners: Iterable[dict[str, Any]] = (),
        live: bool = True,
        **settings: Any,
    ) -> None:
        self.settings = Settings(partitions=partitions, **settings)
        self.definition = definition if definition is not None else default_definition()
        self.learned: list[Envelope] = []
        self.topology = LeadTopology(self.settings, self.definition)
        self.driver = Driver(self.topology, now_ms=now, live=live)
        self.n = 0
        for o in owners:
            self.learn(
                "owner_changed", **{"t": _LONG_AGO} | {"t" if k == "since" else k: v for k, v in o.items()}
            )

    @property
    def now(self) -> int:
        return self.driver.now_ms

    def learn(self, type_: str, t: int, named: str | None = None, **payload: Any) -> None:
        """A reference event, read at once. A definition is signed unless its payload says otherwise.

        :param named: how its source calls it.
        """
        if type_ == "definition_published":
            payload = {"signed_by": ["marketing", "sales"]} | payload
        wire = {
            "type": type_,
            "occurred_at": t,
            "source_system": "admin",
            "source_event_id": named,
            "payload": payload,
        }
        e = decode(Sent("reference", wire | {"subject": {}}, t, 0).value, ())
        self.learned.append(e)
        self.topology.apply([(e, t)])

    def publish(self, what: Sent, key: bytes | None = None, partition: int | None = None) -> Record:
        topic = getattr(self.settings.topics, what.topic)
        return self.driver.publish(
            topic,
            what.key if key is None else key,
            what.value,
            timestamp_ms=what.recorded_at,
            partition=partition,
        )

    def say(
        self,
        type_: str,
        t: int,
        payload: dict[str, Any] | None = None,
        *,
        lead: str = "lead-1",
        deal: str = "",
        topic: str = "",
        key: bytes | None = None,
        partition: int | None = None,
        recorded_at: int | None = None,
        run: bool = True,
        **envelope: Any,
    ) -> Record:
        """Publish one event and let everything that follows from it happen; time goes on to its append time."""
        self.n += 1
        subject = envelope.pop("subject", None) or ({"deal_id": deal} if deal else {"lead_id": lead})
        appended = max(t, self.now) if recorded_at is None else recorded_at
        what = sent(
            type_, t, self.n, payload, subject=subject, topic=topic or ("deal" if deal else ""),
            recorded_at=appended, **envelope,
        )  # fmt: skip
        if run:
            self.driver.advance(max(self.now, appended))
        record = self.publish(what, key, partition)
        if run:
            self.driver.run()
        return record

    # A few histories that most cases begin with. Monday is `at(1)`; offices are open from 9 to 17 UTC.

    def fit(self, t: int = MONDAY + 9 * HOUR, lead: str = "lead-1", **fields: Any) -> None:
        """The lead is known and fits (grade C)."""
        self.say("created", t, {"source": "webinar", "generated_by": "marketing"}, lead=lead)
        self.say("attributes_changed", t, {"fields": FITS | fields}, lead=lead)

    def hot(self, t: int = MONDAY + 10 * HOUR, lead: str = "lead-1", n: str = "") -> int:
        """A webinar and two downloads: qualified with the last one, two minutes later. Returns that instant."""
        self.say("event_attended", t, {"event_id": f"w{n}", "kind": "webinar"}, lead=lead)
        self.say("content_downloaded", t + MINUTE, {"asset_id": "a"}, lead=lead)
        self.say("content_downloaded", t + 2 * MINUTE, {"asset_id": "b"}, lead=lead)
        return t + 2 * MINUTE

    def raise_hand(self, t: int, lead: str = "lead-1", **envelope: Any) -> Record:
        payload = {"form_id": "contact", "intent": "hand_raise"}
        return self.say("form_submitted", t, payload, lead=lead, **envelope)

    def until(self, t: int) -> None:
        self.driver.advance(t)

    def out(self, name: str, lead: str | None = "lead-1", **having: Any) -> list[dict[str, Any]]:
        """What was published to the output topic of that name, in order, with these values."""
        topic = getattr(self.settings.topics, name)
        found = []
        for record in self.driver.read(topic):
            _, fields = decode_output(record.value or b"")
            if (lead is None or record.key == lead.encode()) and all(
                fields[k] == v for k, v in having.items()
            ):
                found.append(fields)
        return found

    def dead(self) -> list[dict[str, str]]:
        """The reasons of the dead letters."""
        prefix = "leadstream.error."
        return [
            {k[len(prefix) :]: v.decode() for k, v in r.headers if k.startswith(prefix)}
            for r in self.driver.read(self.settings.topics.dead_letters)
        ]

    def row(self, key: str = "l:lead-1") -> Row:
        p = self.topology.partition_of(key[2:])
        return load(self.driver.rows[p].rows[key.encode()])

    def head(self, lead: str = "lead-1") -> State:
        return self.row(f"l:{lead}").head

    def handoffs(self, lead: str = "lead-1") -> list[Handoff]:
        return handoffs(self.head(lead))

    def score(self, lead: str = "lead-1") -> int:
        """Engagement now, milli-points."""
        s = self.head(lead)
        d = self.topology.definitions[s.definition]
        return scoring.engagement(s, d.day(self.now), d)

    def stages(self, lead: str = "lead-1") -> list[str]:
        """Names of the stages and exits as a subscriber last saw them, in order of time."""
        last: dict[str, dict[str, Any]] = {}
        for fields in self.out("stage_changes", lead):
            last[fields["output_id"]] = fields
        kept = [r for r in last.values() if r["op"] != "withdrawn" and r["kind"] in ("entered", "ended")]
        ranks = self.topology.definitions[-1].codes | {name: code for code, name in EXITS.items()}
        kept.sort(
            key=lambda r: (r["journey"], r["occurred_at"], ranks.get(r["stage"].removeprefix("retired:"), 99))
        )
        return [r["stage"] for r in kept]

    def total(self, name: str, **labels: str) -> int:
        """A figure, over all labels that are not given; stages by name."""
        codes = {name: code for code, name in EXITS.items()} | self.topology.definitions[-1].codes
        found = 0
        for (figure, *values), n in self.topology.totals().items():
            has = dict(zip(columns.COLUMNS[figure], values, strict=True))
            if figure == name and all(has[k] == (codes[v] if k == "stage" else v) for k, v in labels.items()):
                found += n
        return found

    def restart(self) -> None:
        """Another process: nothing is left but what was committed."""
        topology = LeadTopology(self.settings, self.definition)
        topology.apply([(e, e.occurred_at) for e in self.learned])
        self.topology = topology
        self.driver.restart(topology)


def variant(text: str, whole: bool = False) -> Definition:
    """The packaged definition with something changed.

    :param whole: ``text`` has name and version of its own.
    """
    head = "" if whole else 'name = "variant"\nversion = 1\n'
    return replace(
        load_definition(head + text, origin="variant.toml", base=default_definition()), effective_at=0
    )


def handed_over(definition: Definition | None = None, **world: Any) -> tuple[Funnel, int]:
    """A funnel with a lead that was handed over on Monday at 10:02, and that instant."""
    f = Funnel(definition, **world)
    f.fit()
    return f, f.hot()
