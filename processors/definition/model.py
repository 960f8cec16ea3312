"""The definition: one agreed, versioned answer to "what is a qualified lead, and what happens then".

These are its compiled records. `load` reads them from TOML, the fold only reads them. Scores are
integer milli-points, times epoch ms, durations ms unless the name says business ms or days; there
is no float anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from processors.calendar import Calendar

#: A compiled condition over named values (attributes of a lead, or the payload of an event).
Predicate = Callable[[Mapping[str, Any]], bool]

MILLI = 1000
DAY, HOUR, MINUTE = 86_400_000, 3_600_000, 60_000


class Condition(Struct, frozen=True, kw_only=True):
    """A predicate with the words it was written in. ``test`` never raises."""

    text: str
    test: Predicate
    fields: tuple[str, ...] = ()


class Stage(Struct, frozen=True, kw_only=True):
    """``rank`` orders stages and is their code in rows (0..99). ``role`` binds the meaning:
    anonymous, known, engaged, mql, sal, sql, opportunity, won; "" for a stage that only
    ``stage_reported`` enters."""

    name: str
    rank: int
    role: str = ""
    phase: str = ""
    renamed_from: tuple[str, ...] = ()


class FitRule(Struct, frozen=True, kw_only=True):
    """``points`` (milli) if ``when`` holds for the lead's attributes."""

    name: str
    when: Condition
    points: int


class EngagementRule(Struct, frozen=True, kw_only=True):
    """What an event of type ``on`` is worth. An event may match several rules.

    ``half_life_days`` 0: does not fade (mandatory for negative points). ``daily_cap`` bounds the
    raw points per day, ``cap`` the decayed sum (milli-points; 0: none). ``once``: only the
    first event in total order counts.
    """

    name: str
    on: str
    points: int
    when: Condition | None = None
    half_life_days: int = 0
    daily_cap: int = 0
    cap: int = 0
    once: bool = False


class IntentRule(Struct, frozen=True, kw_only=True):
    """An event that counts as a hand-raise."""

    name: str
    on: str
    when: Condition | None = None


class Disqualifier(Struct, frozen=True, kw_only=True):
    """A lead whose attributes fulfil ``when`` is never qualified; it lasts while it holds."""

    name: str
    when: Condition


class Segment(Struct, frozen=True, kw_only=True):
    name: str
    when: Condition


class Thresholds(Struct, frozen=True, kw_only=True):
    """Milli-points. ``gates``: which of budget, authority, need, timing must be known and positive."""

    fit_min: int
    fit_min_hand_raise: int
    up: int
    down: int
    engaged_min: int
    hand_raise_days: int = 30
    gates: tuple[str, ...] = ()
    grades: tuple[tuple[str, int], ...] = ()  # (letter, smallest fit in milli-points), best first


class SlaPolicy(Struct, frozen=True, kw_only=True):
    """Durations in business ms of the owner's calendar. 0: no such clock."""

    name: str
    when: Condition | None = None  # over the lead's attributes, with "segment", "source"; None: default
    first_touch: int = 4 * HOUR
    decision: int = 16 * HOUR
    meeting: int = 0
    expire_after: int = 32 * HOUR
    grace: int = 2 * MINUTE  # wall ms
    calendar: str = "default"
    pausable: bool = True
    escalate: str = "notify"  # notify | reassign | none, at the breach of first_touch


class Reason(Struct, frozen=True, kw_only=True):
    """What a reason code does. ``of``: rejection, lost, disqualification.
    ``action``: recycle (after ``after_days``), archive, disqualify."""

    code: str
    of: str
    action: str = "archive"
    after_days: int = 0
    label: str = ""


class RoutingRule(Struct, frozen=True, kw_only=True):
    """First rule whose condition holds names the team. Values: attributes, "segment", "source"."""

    name: str
    team: str
    when: Condition | None = None


class ChannelRule(Struct, frozen=True, kw_only=True):
    """First rule that holds names the channel of a visit. Values: utm_source, utm_medium,
    utm_campaign, referrer_host, source, type."""

    name: str
    when: Condition


class Attribution(Struct, frozen=True, kw_only=True):
    look_back_days: int = 90
    models: tuple[str, ...] = ("last", "first", "linear", "position", "w", "time_decay", "last_non_direct")
    time_decay_half_life_days: int = 7
    sales_touches: bool = False


class Budget(Struct, frozen=True, kw_only=True):
    """Share of booked revenue of the trailing 12 months, per thousand, that spend should lie in."""

    team: str
    low_per_mille: int
    high_per_mille: int


class Policy(Struct, frozen=True, kw_only=True):
    """``backward``: record (the stage is kept, the move refused and shown) or adopt.
    ``stage_reported``: adopt (moves the lead where it is forward) or record."""

    backward: str = "record"
    stage_reported: str = "adopt"
    inactive_days: int = 180
    recycle_days: int = 30  # where a reason says none
    lost_recycle_days: int = 30
    reraise_days: int = 30  # a hand-raise this soon after a rejection goes on with the same journey
    previous_owner_ms: int = HOUR  # business time in which the former owner's answer still counts
    withdraw_when_unqualified: bool = False
    flood_min: int = 50  # new handoffs per team and hour that are never held
    flood_factor: int = 5
    max_leads_per_anonymous: int = 3
    sweep_over_ms: int = 40 * HOUR  # business time over which a sweep is spread


class Signature(Struct, frozen=True, kw_only=True):
    """A team's approval of a publication: who said so (an id, "" where unknown), and when (epoch ms)."""

    team: str
    at: int
    by: str = ""


class Definition(Struct, frozen=True, kw_only=True):
    name: str
    version: int
    effective_at: int  # epoch ms
    published_at: int = 0
    time_zone: str = "UTC"
    week_start: int = 0  # 0 Monday .. 6 Sunday
    fiscal_year_start: int = 1  # month
    base_currency: str = "EUR"
    stages: tuple[Stage, ...]
    policy: Policy = Policy()
    segments: tuple[Segment, ...] = ()
    fit: tuple[FitRule, ...] = ()
    engagement: tuple[EngagementRule, ...] = ()
    engagement_cap: int = 0
    intent: tuple[IntentRule, ...] = ()
    disqualifiers: tuple[Disqualifier, ...] = ()
    thresholds: Thresholds
    sla: tuple[SlaPolicy, ...]
    calendars: Mapping[str, Calendar]
    reasons: Mapping[tuple[str, str], Reason] = {}  # (of, code)
    routing: tuple[RoutingRule, ...] = ()
    default_team: str = "sales"
    channels: tuple[ChannelRule, ...] = ()
    default_channel: str = "direct"
    attribution: Attribution = Attribution()
    budgets: tuple[Budget, ...] = ()
    margin_per_mille: int = 1000
    context_asks: tuple[str, ...] = ()  # attributes that a complete handoff context has
    sources: tuple[str, ...] = ()  # sources that may be labels of metrics; others are "(other)"
    horizons_days: tuple[int, ...] = (7, 30, 90)  # of cohort conversions
    closed_after_days: int = 3  # after its end a month is closed: what changes it then is a restatement
    approvals: tuple[str, ...] = ("marketing", "sales")  # teams that sign a publication
    sweep: bool = False
    text: str = ""  # the TOML that it was read from
    signatures: tuple[Signature, ...] = ()  # of its publication
    unsigned: bool = False  # published without the teams' approval
