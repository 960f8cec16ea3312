"""The words of the traffic simulation: what it delivers, who takes part, how dirty the delivery is.

Everything is made up from the seed; no person, company or product in it exists.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple, Protocol

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY

#: One strand of somebody's life: yields the instant (ms) at which it wants to go on.
Strand = Iterator[int]


class Delivery(NamedTuple):
    """One record as it reaches the broker.

    ``event`` is in the wire's JSON shape and may be shared with a duplicate: don't change it.
    ``raw`` is set for a malformed record: these bytes are the value, and ``event`` is empty.
    """

    at_ms: int
    topic_key: str
    key: str
    event: dict[str, Any]
    raw: bytes | None = None


class Source:
    """A system that sends events: its name, its counter of events, and how wrong its clock is."""

    __slots__ = ("delay_ms", "name", "prefix", "sent", "sequenced", "skew_ms")

    def __init__(
        self, name: str, tag: str, *, sequenced: bool = False, skew_ms: int = 0, delay_ms: int = 2 * SECOND
    ) -> None:
        self.name = name
        self.prefix = tag
        self.sent = 0
        self.sequenced = sequenced
        self.skew_ms = skew_ms
        self.delay_ms = delay_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Dirt:
    """How bad the delivery is. All but ``skew_ms`` are shares (0..1) of the events that happened.

    ``duplicates``: delivered again with the same identity, one to three times. ``late``: arrives
    minutes to days after it happened. ``reordered``: CRM and deal events held back for a few
    minutes, so that later ones overtake them. ``malformed``: an unreadable record beside the event.
    ``wrong_keys``: the record key is not the subject's. ``conflicts``: delivered again with the
    same identity and another payload. ``skew_ms``: by how much the clock of the webinar
    platform is fast.
    """

    duplicates: float = 0.01
    late: float = 0.01
    reordered: float = 0.01
    malformed: float = 0.0005
    wrong_keys: float = 0.0005
    conflicts: float = 0.0002
    skew_ms: int = 2 * MINUTE

    @classmethod
    def none(cls) -> Dirt:
        """A delivery as in a brochure: once, in order, at once, well-formed."""
        return cls(
            duplicates=0, late=0, reordered=0, malformed=0, wrong_keys=0, conflicts=0, skew_ms=0
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Owner:
    """A sales person. ``median_min``: half of the first touches come within so many business minutes.
    ``ignores``: share of handoffs that never get an answer."""

    id: str
    team: str
    median_min: int
    ignores: float
    time_zone: str = "Europe/Berlin"


_PACE = ((25, 0.01), (150, 0.04), (60, 0.02), (420, 0.10), (1500, 0.28), (90, 0.03))


def owners_of(count: int = 8) -> tuple[Owner, ...]:
    """``count`` sales people, fast and slow ones: six in the team ``sales``, the others for large accounts."""
    return tuple(
        Owner(f"owner-{n + 1}", "sales" if n < 6 else "enterprise-sales", *_PACE[n % len(_PACE)])
        for n in range(count)
    )


class Scene(Protocol):
    """Where a strand plays: it says what happened and when, and how long work takes."""

    rng: Random

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
        """An event of ``source`` that happens at ``at_ms``. Returns its source_event_id."""
        ...

    def after(self, at_ms: int, minutes: float, offset_ms: int) -> int:
        """The instant at which work of so many business minutes, begun at ``at_ms``, is done."""
        ...


class Person:
    """A visitor, and a lead from the moment that ``lead_id`` is set."""

    __slots__ = (
        "anonymous_id", "asked", "broadcast", "case", "colleague", "company", "country", "fit", "gateway", "industry",
        "interest", "lead_id", "left", "offset_ms", "role", "score", "size", "source", "trial",
    )  # fmt: skip

    def __init__(self, anonymous_id: str) -> None:
        self.anonymous_id = anonymous_id
        self.lead_id = ""
        self.source = ""
        self.country = "DE"
        self.offset_ms = HOUR
        self.company = ""
        self.colleague = ""  # lead id of somebody of the same company
        self.size = 0
        self.role = ""
        self.industry = ""
        self.gateway = "plain"  # what the mail passes through: plain, proxy (opens), scanner (clicks)
        self.fit = 0.0  # 0..1, how well the product suits them
        self.interest = 0.0  # 0..1, how much they want it
        self.score = 0  # rough sum of what they did, as sales would sense it
        self.asked = 0  # hand-raises so far
        self.broadcast = False  # gets the newsletter
        self.trial = False
        self.left = False
        self.case: Case | None = None

    @property
    def key(self) -> str:
        return self.lead_id or self.anonymous_id

    @property
    def subject(self) -> dict[str, str]:
        return {"lead_id": self.lead_id} if self.lead_id else {"anonymous_id": self.anonymous_id}


class Case:
    """A lead on the desk of a sales person.

    ``quality`` 0..1 is what the sales person finds out. ``state``: new, accepted, sql,
    deal, and at the end won, lost, rejected, recycled, disqualified or ignored.
    """

    __slots__ = (
        "account_id", "currency", "deal_id", "duplicate_of", "handoff_id", "lead_id",
        "offset_ms", "owner", "partner", "quality", "size", "source", "state",
    )  # fmt: skip

    def __init__(self, lead_id: str, owner: Owner, quality: float, source: str = "crm") -> None:
        self.lead_id = lead_id
        self.owner = owner
        self.quality = quality
        self.source = source
        self.handoff_id = ""
        self.deal_id = ""
        self.account_id = ""
        self.currency = "EUR"
        self.size = 50  # employees: amounts grow with it
        self.offset_ms = HOUR
        self.partner = ""  # another lead of the same account, who shares the deal
        self.duplicate_of = ""  # the same person under another lead id
        self.state = "new"

    @property
    def closed(self) -> bool:
        return self.state not in ("new", "accepted", "sql", "deal")
