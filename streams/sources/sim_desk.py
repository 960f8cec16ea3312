"""A simulated sales team that answers the handoffs which leadstream makes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from heapq import heappop, heappush
from random import Random
from typing import Any

from streams.sources import sim_catalogue as catalogue
from streams.sources.sim_calendar import business
from streams.sources.sim_model import HOUR, MINUTE, Case, Delivery, Owner, Strand, owners_of
from streams.sources.sim_sales import answer, pursue

#: Handoffs remembered so that one that is published again is not answered twice.
_MEMORY = 20_000


class _Chair:
    """The `Scene` of one handoff. Its chance depends on the seed and the handoff only, so that the
    order in which handoffs are read changes nothing."""

    def __init__(self, rng: Random, handoff_id: str, hurry: float) -> None:
        self.rng = rng
        self._name = handoff_id
        self._hurry = hurry
        self._sent = 0
        self.out: list[Delivery] = []

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
        self._sent += 1
        known_as = f"{self._name}-{self._sent}"
        event: dict[str, Any] = {
            "type": type_,
            "occurred_at": at_ms,
            "source_system": source,
            "source_event_id": known_as,
            "source_seq": self._sent,
            "payload": payload,
        }
        if subject is not None:
            event["subject"] = subject
        if actor is not None:
            event["actor"] = actor
        self.out.append(Delivery(at_ms + self.rng.randint(100, 2500), topic_key, key, event))
        return known_as

    def after(self, at_ms: int, minutes: float, offset_ms: int) -> int:
        if self._hurry == 1:
            return business(at_ms, minutes, offset_ms)
        return at_ms + int(minutes * MINUTE / self._hurry)

    def taken(self) -> list[Delivery]:
        out, self.out = sorted(self.out, key=_by_time), []
        return out


def _by_time(delivery: Delivery) -> int:
    return delivery.at_ms


class SalesDesk:
    """Sales people, fast and slow ones, some of whom never answer.

    :param seed: same seed and handoffs, same answers.
    :param owners: who sits there; an unknown owner of a handoff gets a pace by their id.
    :param hurry: 1: office hours at their owners' pace. Above: round the clock, and so many
        times faster, for a demonstration that cannot wait for Monday.
    """

    def __init__(self, seed: int, owners: Sequence[Owner] | None = None, *, hurry: float = 1) -> None:
        if hurry < 1:
            raise ValueError(f"hurry is {hurry}, but must be 1 or more")
        self._seed = seed
        self._owners = {owner.id: owner for owner in (owners if owners is not None else owners_of())}
        if not self._owners:
            raise ValueError("a sales desk needs at least one owner")
        self._hurry = hurry
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._going: dict[str, Case] = {}
        self._heap: list[tuple[int, str, _Chair, Strand]] = []

    def on_handoff(self, handoff: Mapping[str, Any], now_ms: int) -> list[Delivery]:
        """What sales does about a decoded record of the handoffs topic: touches and an answer, by
        time, none before ``now_ms``. Empty for handoffs that are no new call."""
        handoff_id = str(handoff["handoff_id"])
        if handoff["kind"] == "withdrawn" or handoff.get("op") == "withdrawn":
            self._going.pop(handoff_id, None)
        if handoff["kind"] != "made" or handoff.get("silent") or handoff_id in self._seen:
            return []
        self._seen[handoff_id] = None
        if len(self._seen) > _MEMORY:
            self._seen.popitem(last=False)
        chair = _Chair(Random(f"{self._seed}/{handoff_id}"), handoff_id, self._hurry)
        case = self._case(handoff, handoff_id, chair.rng)
        at = max(_answered(chair, case, now_ms))
        if case.state == "accepted":
            self._going[handoff_id] = case
            heappush(self._heap, (at, handoff_id, chair, pursue(chair, case, at)))
        return chair.taken()

    def progress(self, now_ms: int) -> list[Delivery]:
        """What has become of accepted leads up to ``now_ms``: qualified, deals, won and lost, customers."""
        out: list[Delivery] = []
        heap = self._heap
        while heap and heap[0][0] <= now_ms:
            _, handoff_id, chair, strand = heappop(heap)
            if handoff_id not in self._going:
                continue
            then = next(strand, None)
            out += chair.taken()
            if then is None:
                self._going.pop(handoff_id, None)
            else:
                heappush(heap, (then, handoff_id, chair, strand))
        return sorted(out, key=_by_time)

    @property
    def next_due(self) -> int | None:
        """When `progress` has something to do next."""
        return self._heap[0][0] if self._heap else None

    @property
    def going(self) -> int:
        """Accepted leads that have not come to an end."""
        return len(self._going)

    def _case(self, handoff: Mapping[str, Any], handoff_id: str, rng: Random) -> Case:
        context = handoff.get("context") or {}
        attributes = context.get("attributes") or {}
        country = str(attributes.get("country") or "DE")
        fit = int(context.get("fit_milli") or 40_000) / 100_000
        asked = 0.3 if context.get("qualified_by") == "hand_raise" else 0.1
        case = Case(str(handoff["lead_id"]), self._owner(handoff.get("owner"), rng), 0.0, "sales-desk")
        case.quality = min(1.0, 0.5 * fit + asked + 0.3 * rng.random())
        case.handoff_id = handoff_id
        case.deal_id = f"deal-{handoff_id}"
        company = str(attributes.get("company") or "")
        case.account_id = company.replace("company", "account") or f"account-{handoff['lead_id']}"
        case.currency = catalogue.CURRENCY.get(country, "EUR")
        case.offset_ms = next((o for c, o, _ in catalogue.COUNTRIES if c == country), HOUR)
        size = str(attributes.get("company_size") or "")
        case.size = int(size) if size.isdigit() else 50
        return case

    def _owner(self, name: object, rng: Random) -> Owner:
        known = list(self._owners.values())
        if not name:
            return rng.choice(known)
        found = self._owners.get(str(name))
        if found is None:
            like = Random(f"{self._seed}/{name}").choice(known)
            found = Owner(str(name), like.team, like.median_min, like.ignores, like.time_zone)
        return found


def _answered(chair: _Chair, case: Case, now_ms: int) -> Iterator[int]:
    """The instants of an answer, its end included."""
    end = yield from answer(chair, case, now_ms)
    yield end
