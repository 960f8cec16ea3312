"""A simulation of a company's traffic: seeded, deterministic, nothing in it is real.

``python -m streams.sources.simulator --events 1000 --seed 1`` prints events as NDJSON.

A life is a strand (a generator) that sleeps until it goes on; one heap holds sleeping strands and
events on their way to the broker. So an event is made only shortly before it is delivered, and
memory grows with the leads that are open, not with the length of the stream.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from random import Random
from typing import Any

from streams.sources import sim_catalogue as catalogue
from streams.sources import sim_marketing as marketing
from streams.sources import sim_office as office
from streams.sources.sim_calendar import Campaigns, business
from streams.sources.sim_desk import SalesDesk
from streams.sources.sim_dirt import Courier
from streams.sources.sim_model import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Case,
    Delivery,
    Dirt,
    Owner,
    Person,
    Source,
    Strand,
    owners_of,
)
from streams.sources.sim_sales import work

__all__ = ["START_MS", "Delivery", "Dirt", "Owner", "SalesDesk", "Simulation", "main", "owners_of"]

#: Monday, 2025-01-06T00:00Z: where a simulation starts if nobody says otherwise.
START_MS = 1_736_121_600_000


class Simulation:
    """A believable history of leads, in the order in which a broker would receive it.

    :param seed: same seed and arguments, same stream; ids carry it, so that two differ.
    :param start_ms: first instant of the history, best a midnight UTC.
    :param leads_per_day: how many visitors become leads on an ordinary working day.
    :param leads: end the arrivals after so many leads; None: never. Then the stream ends
        when the last deal and customer have come to their end, which takes more than a year.
    :param until_ms: end the stream at this instant.
    :param dirt: how bad the delivery is.
    :param bots: share of the visitors that are bots.
    :param offline_sales: True: sales works on what it senses. False: it says nothing, a
        `SalesDesk` answers the handoffs that leadstream makes.
    """

    def __init__(
        self,
        seed: int,
        *,
        start_ms: int = START_MS,
        leads_per_day: float = 40,
        leads: int | None = None,
        until_ms: int | None = None,
        dirt: Dirt | None = None,
        bots: float = 0.01,
        offline_sales: bool = True,
        owners: Sequence[Owner] | None = None,
    ) -> None:
        if leads_per_day <= 0:
            raise ValueError(f"leads_per_day is {leads_per_day}, but must be above 0")
        if not 0 <= bots < 1:
            raise ValueError(f"bots is {bots}, but a share lies between 0 and 1")
        dirt = dirt if dirt is not None else Dirt()
        self.seed = seed
        self.rng = Random(seed)
        self.start_ms = self.now_ms = start_ms
        self.leads_per_day = leads_per_day
        self.bots = bots
        self.owners = tuple(owners) if owners is not None else owners_of()
        self.campaigns = Campaigns(seed, start_ms)
        self._until = until_ms if until_ms is not None else 1 << 62
        self._offline = offline_sales
        self._to_come = leads if leads is not None else 1 << 62
        self._arriving = True
        self._open: dict[str, Person] = {}
        self._expected = 0
        self._recent: deque[Person] = deque(maxlen=64)
        self._ids: dict[str, int] = {}
        self._utms: dict[tuple[str, str, str], dict[str, str]] = {}
        self._courier = Courier(Random(seed + 1), dirt)
        self._heap: list[tuple[int, int, Delivery | Strand]] = []
        self._turn = 0
        sources = (
            Source("web", "w"), Source("mail", "m"), Source("ads", "d", delay_ms=20 * SECOND), Source("social", "o"),
            Source("survey", "y"), Source("product", "p"), Source("webinars", "v", skew_ms=dirt.skew_ms),
            Source("automation", "a"), Source("enrichment", "n", delay_ms=30 * SECOND),
            Source("crm", "c", sequenced=True, delay_ms=3 * SECOND), Source("billing", "b", delay_ms=MINUTE),
            Source("finance", "f"), Source("admin", "r"),
        )  # fmt: skip
        self._sources = {source.name: source for source in sources}
        for source in sources:
            source.prefix = f"{source.prefix}{seed}-"
        for strand in (office.reference(self), office.market(self), marketing.arrivals(self)):
            self.spawn(strand, start_ms)
        self.spawn(marketing.newsletters(self), start_ms)
        self.spawn(marketing.webinars(self), start_ms)

    # what the stream's reader uses

    def events(self) -> Iterator[Delivery]:
        """All deliveries, by time of delivery. To be read once."""
        heap, until = self._heap, self._until
        while heap:
            at, _, what = heappop(heap)
            if at > until:
                return
            self.now_ms = at
            if isinstance(what, Delivery):
                yield what
                continue
            then = next(what, None)
            if then is not None:
                self.spawn(what, then)

    def add(self, deliveries: Sequence[Delivery]) -> None:
        """Puts the deliveries of a `SalesDesk` into the stream, in their place or, if late, next."""
        for delivery in deliveries:
            self._push(max(delivery.at_ms, self.now_ms), delivery)

    @property
    def pending(self) -> int:
        """Sleeping strands and events on their way: what memory is spent on."""
        return len(self._heap)

    @property
    def open_leads(self) -> int:
        return len(self._open)

    # what the strands use

    def emit(
        self,
        topic_key: str,
        key: str,
        at_ms: int,
        type_: str,
        subject: dict[str, str] | None,
        payload: dict[str, Any],
        source: str,
        actor: dict[str, str] | None = None,
    ) -> str:
        """See `Scene`."""
        origin = self._sources[source]
        origin.sent += 1
        known_as = f"{origin.prefix}{origin.sent}"
        event: dict[str, Any] = {
            "type": type_,
            "occurred_at": at_ms + origin.skew_ms,
            "source_system": source,
            "source_event_id": known_as,
            "payload": payload,
        }
        if subject is not None:
            event["subject"] = subject
        if actor is not None:
            event["actor"] = actor
        if origin.sequenced:
            event["source_seq"] = origin.sent
        random, courier = self.rng.random, self._courier
        arrives = max(at_ms, self.now_ms) + 40 + int(random() * origin.delay_ms)
        delivery = Delivery(arrives, topic_key, key, event)
        draw = random()
        if draw < courier.dirty:
            for one in courier.spoil(delivery, draw):
                self._push(one.at_ms, one)
        else:
            self._turn = turn = self._turn + 1
            heappush(self._heap, (arrives, turn, delivery))
        return known_as

    def after(self, at_ms: int, minutes: float, offset_ms: int) -> int:
        """See `Scene`."""
        return business(at_ms, minutes, offset_ms)

    def spawn(self, strand: Strand, at_ms: int) -> None:
        """Lets ``strand`` go on at ``at_ms``."""
        self._push(max(at_ms, self.now_ms), strand)

    def _push(self, at_ms: int, what: Delivery | Strand) -> None:
        self._turn += 1
        heappush(self._heap, (at_ms, self._turn, what))

    def new_id(self, kind: str) -> str:
        """``kind-seed-n``, counted per kind."""
        n = self._ids[kind] = self._ids.get(kind, 0) + 1
        return f"{kind}-{self.seed}-{n}"

    def utm(self, source: str, medium: str, campaign: str) -> dict[str, str]:
        """Campaign parameters; events of one campaign share them."""
        name = (source, medium, campaign)
        found = self._utms.get(name)
        if found is None:
            if len(self._utms) > 256:
                self._utms.clear()
            found = self._utms[name] = {"source": source, "medium": medium, "campaign": campaign}
        return found

    @property
    def wants_leads(self) -> bool:
        return self._to_come > 0

    @property
    def running(self) -> bool:
        """False once nobody comes any more and the last lead is done."""
        return self._arriving or self._expected > 0 or bool(self._open)

    def arrivals_ended(self) -> None:
        self._arriving = False

    def lead_expected(self) -> None:
        self._to_come -= 1
        self._expected += 1

    def lead_begun(self, person: Person) -> None:
        self._expected -= 1
        self._open[person.lead_id] = person
        self._recent.append(person)

    def lead_ended(self, person: Person) -> None:
        person.broadcast = False
        del self._open[person.lead_id]

    def audience(self) -> list[Person]:
        """Everybody whom marketing may write to, as of now."""
        return [person for person in self._open.values() if person.broadcast and not person.left]

    def colleague(self) -> Person | None:
        """Now and then somebody whose company is known already."""
        if self._recent and self.rng.random() < 0.15:
            return self.rng.choice(self._recent)
        return None

    def account_of(self, person: Person) -> str:
        return person.company.replace("company", "account")

    def offer(self, person: Person, at_ms: int, asked: bool = False) -> None:
        """A lead that sales would look at: because it asked, or because it has done so much."""
        last = person.case
        if not self._offline or person.left or (last is not None and not last.closed):
            return
        if last is not None and (last.state == "won" or not asked):
            return
        rng = self.rng
        case = Case(person.lead_id, rng.choice(self.owners), _quality(person))
        if last is not None:
            case.deal_id = self.new_id("deal-again")
        case.account_id = self.account_of(person)
        case.currency = catalogue.CURRENCY.get(person.country, "EUR")
        case.size = person.size
        case.offset_ms = person.offset_ms
        if person.colleague and person.colleague != person.lead_id:
            if rng.random() < 0.2:
                case.duplicate_of = person.colleague
            elif rng.random() < 0.6:
                case.partner = person.colleague
        person.case = case
        self.spawn(self._desk_work(person, case, at_ms), at_ms)

    def _desk_work(self, person: Person, case: Case, at_ms: int) -> Strand:
        """The work of sales without handoffs, and the tidying of the CRM around it."""
        subject, rng = {"lead_id": case.lead_id}, self.rng
        if rng.random() < 0.05:
            case.owner = rng.choice(self.owners)
            to = {"owner": case.owner.id, "team": case.owner.team}
            self.emit(
                "lead", case.lead_id, at_ms, "assigned", subject, to, "crm", {"type": "system", "id": "crm"}
            )
        yield from work(self, case, at_ms)
        if case.state == "rejected" and case.duplicate_of:
            winner = case.duplicate_of
            pair = {"loser": case.lead_id, "winner": winner}
            person.left = True
            merge = self.emit("lead", winner, self.now_ms + HOUR, "merged", {"lead_id": winner}, pair, "crm")
            if rng.random() < 0.1:
                undo = {"merge_event_id": merge}
                self.emit("lead", winner, self.now_ms + DAY, "unmerged", {"lead_id": winner}, undo, "crm")
        elif case.state == "recycled" and rng.random() < 0.03:
            self.emit("lead", case.lead_id, self.now_ms + 3 * DAY, "reopened", subject, {}, "crm")
        elif case.state == "rejected" and rng.random() < 0.02:
            self.emit(
                "lead", case.lead_id, self.now_ms + HOUR, "score_overridden", subject, {"value": 10}, "crm"
            )


def _quality(person: Person) -> float:
    asked = 0.2 if person.asked else 0.0
    return min(1.0, 0.55 * person.fit + 0.45 * person.interest + asked)


def main(argv: Sequence[str] | None = None, write: Callable[[str], object] = sys.stdout.write) -> int:
    """Prints a simulated history as NDJSON, malformed records left out. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m streams.sources.simulator", description=__doc__)
    parser.add_argument("--events", type=int, default=1000, help="how many events to print")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same events")
    parser.add_argument("--start-ms", type=int, default=START_MS, help="begin of the history, epoch ms")
    parser.add_argument("--leads-per-day", type=float, default=40, help="on an ordinary working day")
    parser.add_argument("--clean", action="store_true", help="without late, double or broken deliveries")
    options = parser.parse_args(argv)
    simulation = Simulation(
        options.seed,
        start_ms=options.start_ms,
        leads_per_day=options.leads_per_day,
        dirt=Dirt.none() if options.clean else None,
    )
    left = options.events
    for delivery in simulation.events():
        if left <= 0:
            break
        if delivery.raw is None:
            write(json.dumps(delivery.event, separators=(",", ":")) + "\n")
            left -= 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # the reader has seen enough
        sys.stderr.close()
        sys.exit(0)
