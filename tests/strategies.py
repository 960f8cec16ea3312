"""Hypothesis strategies: any legal and illegal history of a few leads, with their deals.

What is drawn is what a publisher would send, and when its record was appended; `Sent.event` is the same fact as the
fold sees it, so that properties of the fold and of the whole topology draw from one well.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st
from msgspec.structs import replace

from processors.days import DAY, day_number
from processors.definition.load import load
from processors.definition.model import HOUR, MINUTE, Definition
from processors.events import Event, from_envelope
from processors.model import handoff_id
from schemas.codec import decode
from streams.definitions import default_text

#: A Sunday; clocks in Berlin are put forward four weeks later.
T0 = day_number(2026, 3, 1) * DAY
DAYS = 40
#: By then every clock of a history has run out and every score has faded.
END = T0 + 400 * DAY
TOPICS = ("engagement", "lead", "deal")

_TEXT = """
name = "laws"
version = {version}
time_zone = "Europe/Berlin"
engagement_cap = 90
[policy]
inactive_days = 20
[thresholds]
fit_min = 30
fit_min_hand_raise = 20
up = {up}
down = {down}
engaged_min = 8
[[engagement]]
name = "page"
on = "page_viewed"
points = 3
half_life_days = {half_life}
daily_cap = 7
cap = 12
[[engagement]]
name = "pricing"
on = "page_viewed"
when = {{ url = {{ contains = ["/pricing"] }} }}
points = 9
half_life_days = 9
daily_cap = 18
[[engagement]]
name = "content"
on = "content_downloaded"
points = {content}
half_life_days = 12
[[engagement]]
name = "clicked"
on = "email_clicked"
points = 4
half_life_days = 5
[[engagement]]
name = "webinar"
on = "event_attended"
points = 20
once = true
half_life_days = 20
[[engagement]]
name = "unsubscribed"
on = "email_unsubscribed"
points = -25
once = true
[[sla]]
name = "standard"
first_touch = "{touch}"
decision = "{decision}"
meeting = "20h"
expire_after = "{expire}"
escalate = "{escalate}"
calendar = "default"
[[sla]]
name = "large"
when = {{ segment = "mid_market" }}
first_touch = "1h"
decision = "4h"
expire_after = "12h"
escalate = "notify"
calendar = "default"
[calendars.default]
time_zone = "Europe/Berlin"
"""


@cache
def default_definition() -> Definition:
    """The packaged one, in force from the beginning."""
    return replace(load(default_text(), origin="default.toml"), effective_at=0)


def law_text(**changes: Any) -> str:
    """TOML of a definition under which much happens within a few weeks."""
    given = {
        "version": 1, "up": 30, "down": 18, "half_life": 4, "content": 12, "touch": "2h", "decision": "8h", "expire": "16h",
        "escalate": "reassign",
    }  # fmt: skip
    return _TEXT.format(**given | changes)


def law_definition(effective_at: int = 0, **changes: Any) -> Definition:
    """The same, loaded."""
    found = load(law_text(**changes), origin="laws.toml", base=default_definition())
    return replace(found, effective_at=effective_at)


def _instant(ms: int) -> str:
    days, rest = divmod(ms - T0, DAY)
    hours, rest = divmod(rest, HOUR)
    return f"at({days}, {hours}, {rest})" if rest else f"at({days}, {hours})"


def at(days: int, hours: int = 0, ms: int = 0) -> int:
    """An instant of the histories."""
    return T0 + days * DAY + hours * HOUR + ms


class Sent(NamedTuple):
    """A record as a publisher sends it: the topic's field in the settings, the event, its append time, its offset."""

    topic: str
    wire: dict[str, Any]
    recorded_at: int
    offset: int

    def __repr__(self) -> str:
        """What makes it again, so that a failing example can be pasted into a test."""
        w = self.wire
        more = {
            k: v
            for k, v in w.items()
            if k not in ("type", "occurred_at", "payload")
            and (k, v) not in (("source_system", "crm"), ("source_event_id", f"e{self.offset}"))
        }
        text = f"sent({w['type']!r}, {_instant(self.t)}, {self.offset}, {w['payload']}"
        if more.get("subject") == {"lead_id": "lead-1"}:
            del more["subject"]
        if self.topic == "deal":
            text += ", topic='deal'"
        if self.recorded_at != self.t:
            text += f", recorded_at={_instant(self.recorded_at)}"
        return text + "".join(f", {k}={v!r}" for k, v in more.items()) + ")"

    @property
    def t(self) -> int:
        return int(self.wire["occurred_at"])

    @property
    def value(self) -> bytes:
        return json.dumps(self.wire).encode()

    @property
    def key(self) -> bytes:
        return str(next(iter(self.wire["subject"].values()))).encode()

    @property
    def event(self) -> Event:
        e = decode(self.value, ())
        at = TOPICS.index(self.topic)
        return from_envelope(
            e, self.recorded_at, at, 0, self.offset, 3, lambda: msgspec.json.encode(e, order="deterministic")
        )


def sent(
    type_: str,
    t: int,
    n: int,
    payload: dict[str, Any] | None = None,
    *,
    topic: str = "",
    subject: dict[str, str] | None = None,
    recorded_at: int | None = None,
    **envelope: Any,
) -> Sent:
    """One record; ``n`` is its offset and, unless told otherwise, its identity."""
    wire = {
        "type": type_, "occurred_at": t, "source_system": "crm", "source_event_id": f"e{n}",
        "subject": subject or {"lead_id": "lead-1"}, "payload": payload or {},
    } | envelope  # fmt: skip
    where = topic or ("engagement" if type_ in ENGAGEMENT else "lead")
    return Sent(where, wire, t if recorded_at is None else recorded_at, n)


FITS = {"role": "CTO", "company_size": 60, "company": "c-1", "country": "DE"}
ENGAGEMENT = frozenset(
    ("page_viewed", "form_submitted", "content_downloaded", "email_sent", "email_delivered", "email_bounced",
     "email_opened", "email_clicked", "email_unsubscribed", "spam_reported", "event_attended", "event_registered",
     "ad_clicked", "social_engaged", "survey_answered", "engagement_reclassified", "product_used")
)  # fmt: skip
_Typed = tuple[str, dict[str, Any]]
_STRONG: list[_Typed] = [
    ("page_viewed", {"url": "https://example.org/"}),
    ("page_viewed", {"url": "https://example.org/pricing?utm_source=s&utm_medium=cpc"}),
    ("content_downloaded", {"asset_id": "a"}),
    ("content_downloaded", {"asset_id": "b"}),
    ("form_submitted", {"form_id": "f", "intent": "hand_raise"}),
    ("event_attended", {"event_id": "w1", "kind": "webinar"}),
    ("event_attended", {"event_id": "w2", "kind": "webinar"}),
]
_WEAK: list[_Typed] = [
    ("page_viewed", {"url": "https://example.org/about"}),
    ("form_submitted", {"form_id": "g", "intent": "newsletter"}),
    ("email_clicked", {"send_id": "s1", "agent": "human"}),
    ("email_clicked", {"send_id": "s2", "agent": "bot"}),
    ("email_unsubscribed", {}),
    ("product_used", {"feature": "x", "trial": True}),
]
#: What matters to no score of `law_definition`, or to few.
_REST: list[_Typed] = [
    (
        "page_viewed",
        {"url": "https://example.org/pricing", "referrer": "https://s.example/", "agent": "proxy"},
    ),
    ("email_sent", {"send_id": "s1", "campaign_id": "c-1"}),
    ("email_delivered", {"send_id": "s1", "campaign_id": "c-1"}),
    ("email_bounced", {"send_id": "s2", "class": "hard"}),
    ("email_opened", {"send_id": "s1", "agent": "human"}),
    ("email_opened", {"send_id": "s2", "agent": "proxy"}),
    ("email_clicked", {"send_id": "s1", "agent": "unknown", "url": "https://example.org/pricing"}),
    ("form_submitted", {"form_id": "f", "intent": "content"}),
    ("form_submitted", {"form_id": "f", "intent": "hand_raise", "agent": "bot"}),
    ("event_registered", {"event_id": "w1", "kind": "webinar"}),
    ("ad_clicked", {"ad_id": "a1", "utm": {"source": "ads", "medium": "cpc", "campaign": "c-2"}}),
    ("social_engaged", {"network": "n", "kind": "like"}),
    ("survey_answered", {"survey_id": "q", "score": 3, "kind": "nps"}),
    ("spam_reported", {}),
]
#: Those that matter are drawn twice as often as the rest.
LAW_TOUCHES: st.SearchStrategy[_Typed] = st.one_of(
    *(st.sampled_from(found) for found in (_STRONG, _STRONG, _WEAK, _WEAK, _REST))
)
_ATTRIBUTES = [
    FITS, FITS, {"company_size": 300}, {"role": "intern", "company_size": 2}, {"relationship": "competitor"},
    {"relationship": "prospect"},
    {"budget": "yes", "authority": True, "need": "", "timing": None, "account_owner": "owner-2"},
    {"company_size": None, "account_owner": "owner-gone", "address_hash": "h-1"},
]  # fmt: skip
_OWNERS = ["owner-1", "owner-2", "owner-3", "owner-gone"]
_ANSWERS: list[tuple[str, dict[str, Any]]] = [
    ("touched", {"channel": "phone", "kind": "call"}),
    ("touched", {"channel": "phone", "kind": "meeting"}),
    ("accepted", {}), ("accepted", {}), ("accepted", {}),
    ("rejected", {"reason_code": "timing"}), ("rejected", {"reason_code": "timing"}),
    ("rejected", {"reason_code": "spam"}),
    ("rejected", {"reason_code": "not_a_fit"}),
    ("qualified_by_sales", {}),
    ("rejected", {"reason_code": "other", "notes": "n"}),
    ("rejected", {"reason_code": "no such code"}),
    ("recycled", {}), ("recycled", {"until": T0 + 9 * DAY}),
    ("disqualified", {"reason_code": "other"}),
    ("reopened", {}), ("reopened", {}),
    ("stage_reported", {"stage": "mql"}), ("stage_reported", {"stage": "won"}),
    ("stage_reported", {"stage": "sql"}),
    ("stage_reported", {"stage": "known"}),
    ("stage_reported", {"stage": "no such stage"}),
    ("sla_paused", {"handoff_id": "", "reason": "r"}),
    ("sla_resumed", {"handoff_id": "", "reason": "r"}),
    ("handoff_released", {}), ("handoff_dropped", {}),
    ("score_overridden", {"value": 80}),
    ("score_overridden", {"value": 0, "until": T0 + 20 * DAY}),
    ("consent_changed", {"purpose": "sales_contact", "granted": False}),
    ("consent_changed", {"purpose": "sales_contact", "granted": True}),
    ("consent_changed", {"purpose": "marketing", "granted": False}),
    ("consent_changed", {"purpose": "marketing", "granted": True}),
    ("consent_changed", {"purpose": "profiling", "granted": False}),
    ("consent_changed", {"purpose": "profiling", "granted": True}),
    ("account_matched", {"account_id": "acme", "rule": "domain"}),
    ("account_matched", {"account_id": "other", "rule": "domain"}),
    ("discovery_recorded", {"kind": "requirement", "text_ref": "n1"}),
    ("objection_raised", {"category": "price"}), ("material_shared", {"asset_id": "a"}),
    ("moon_phase_changed", {"phase": "full"}),  # what no vocabulary has
    ("engagement_reclassified", {"of": "e3", "agent": "bot"}),
    ("engagement_reclassified", {}), ("engagement_reclassified", {}),
]  # fmt: skip
_NAMED = frozenset(
    ("touched", "accepted", "rejected", "assigned", "sla_paused", "sla_resumed", "recycled", "handoff_released",
     "handoff_dropped")
)  # fmt: skip


@cache
@st.composite
def _answers(draw: st.DrawFn, lead: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    if draw(st.integers(0, 6)) == 0:
        type_, given = "assigned", {"owner": draw(st.sampled_from(_OWNERS))}
    else:
        type_, given = draw(st.sampled_from(_ANSWERS))
    payload: dict[str, Any] = dict(given)
    if type_ in ("sla_paused", "sla_resumed"):
        payload["handoff_id"] = handoff_id(f"l:{lead}", draw(st.integers(1, 2)))
    elif type_ == "engagement_reclassified" and not payload:
        agent = draw(st.sampled_from(["bot", "bot", "proxy", "human"]))
        payload = {"of": f"e{draw(st.integers(2, 14))}", "agent": agent}
    elif type_ in _NAMED and draw(st.integers(0, 4)) == 0:
        names = [handoff_id(f"l:{lead}", 1), handoff_id(f"l:{lead}", 2), "no-such-handoff"]
        payload["handoff_id"] = draw(st.sampled_from(names))
    actor = (
        draw(st.sampled_from([None, None, *_OWNERS[:3], "robot"]))
        if type_ in ("accepted", "rejected", "touched")
        else None
    )
    who = "system" if actor == "robot" else "human"
    return type_, payload, {"actor": {"type": who, "id": actor}} if actor else {}


@cache
@st.composite
def _lead_facts(draw: st.DrawFn, lead: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    what = draw(st.integers(0, 9))
    if what < 5:
        type_, payload = draw(LAW_TOUCHES)
        return type_, payload, {}
    if what == 5 and draw(st.booleans()):
        how = draw(st.sampled_from(["marketing", "sales", "win_back", "partner"]))
        return "created", ({"source": "webinar"} if how != "partner" else {}) | {"generated_by": how}, {}
    if what == 5:
        return "attributes_changed", {"fields": draw(st.sampled_from(_ATTRIBUTES))}, {}
    return draw(_answers(lead))


@cache
def moments(days: int = DAYS) -> st.SearchStrategy[int]:
    """Coarse ones too, so that ties are likely; and some at the edges of office hours."""
    coarse = st.integers(0, days * 4).map(lambda n: T0 + n * 6 * HOUR)
    office = st.tuples(st.integers(0, days - 1), st.integers(8, 18)).map(
        lambda x: T0 + x[0] * DAY + x[1] * HOUR
    )
    return st.one_of(coarse, office, st.integers(0, days * DAY).map(lambda n: T0 + n))


#: Hours from the first Monday on; four of them are the instants at which the clocks of a call at 11:00 run out.
_WHILE_OPEN = st.one_of(st.integers(10, 66), st.sampled_from([16, 22, 46, 66]))
#: Of a record behind what it tells; of a source whose clock is ahead before it.
LAGS = st.sampled_from([0, 0, 1500, 20 * MINUTE, 5 * HOUR, 3 * DAY, -20 * MINUTE, -9 * HOUR])
#: Who tells, and how that is named: most by the source's own name for it, some from back-fill.
_PLAIN: dict[str, Any] = {}
_BACKFILLED: dict[str, Any] = {"backfill": True}
_TOLD_BY: list[dict[str, Any]] = [
    *[_PLAIN] * 12, _BACKFILLED, _BACKFILLED, {"source_system": "web"}, {"source_system": "web", "source_seq": 2},
    {"source_seq": 1}, {"source_seq": 3}, {"source_event_id": None}, {"source_event_id": None, "event_id": ""},
]  # fmt: skip


@st.composite
def histories(
    draw: st.DrawFn,
    leads: tuple[str, ...] = ("lead-1",),
    most: int = 24,
    days: int = DAYS,
    lagged: bool = False,
    backfilled: bool = True,
    grounded: bool = True,
) -> list[Sent]:
    """Distinct facts of some leads, in no particular order.

    :param grounded: each lead is known and fits, and has two or three strong touches, so that most get somewhere.
    :param lagged: some were recorded long after they happened.
    """
    out: list[Sent] = []

    def add(lead: str, type_: str, t: int, payload: dict[str, Any], extra: dict[str, Any]) -> None:
        late = draw(LAGS) if lagged else 0
        if "event_id" in extra:
            extra = extra | {"event_id": f"id-{len(out)}"}
        out.append(
            sent(type_, t, len(out), payload, subject={"lead_id": lead}, recorded_at=t + late, **extra)
        )

    for lead in leads:
        if grounded:
            add(lead, "created", T0, {"source": "webinar", "generated_by": "marketing"}, {})
            add(lead, "attributes_changed", T0, {"fields": FITS}, {})
            for n in range(draw(st.integers(0, 3))):
                add(lead, "content_downloaded", T0 + DAY + (9 + n) * HOUR, {"asset_id": f"g{n}"}, {})
            for _ in range(draw(st.integers(0, 3))):  # while a handoff is likely to be open
                type_, payload, extra = draw(_answers(lead))
                add(lead, type_, T0 + DAY + draw(_WHILE_OPEN) * HOUR, payload, extra)
    for _ in range(draw(st.integers(0, most))):
        lead = draw(st.sampled_from(leads))
        type_, payload, extra = draw(_lead_facts(lead))
        told = draw(st.sampled_from(_TOLD_BY))
        if backfilled or told is not _BACKFILLED:
            extra = extra | told
        add(lead, type_, draw(moments(days)), payload, extra)
    return out


_DEAL_FACTS: list[tuple[str, dict[str, Any]]] = [
    ("won", {"amount": 5003, "currency": "USD"}),
    ("won", {"amount": 0, "currency": "JPY", "closed_at": T0 + 12 * DAY}),
    ("lost", {"reason_code": "price"}), ("lost", {"reason_code": "no_budget", "competitor": "c"}),
    ("reopened", {}), ("reopened", {}), ("deleted", {}),
    ("amount_changed", {"amount": 77, "currency": "EUR"}),
    ("amount_changed", {"amount": 1_003, "currency": "KWD"}),
    ("close_date_changed", {"date": "2026-03-20"}),
    ("stage_changed", {"stage": "s2", "status": "on_hold"}),
    ("stage_changed", {"stage": "s2", "status": "open", "probability": 0.4}),
    ("stage_changed", {"stage": "s3", "status": "won", "probability": 0.9}),
    ("stage_changed", {"stage": "s4", "status": "lost"}),
    ("lead_linked", {"weight": 0.2}), ("lead_linked", {}), ("lead_unlinked", {}),
]  # fmt: skip


@st.composite
def deals(
    draw: st.DrawFn, leads: tuple[str, ...] = ("lead-1",), most: int = 6, days: int = DAYS, first: int = 500,
    lagged: bool = False,
) -> list[Sent]:  # fmt: skip
    """Facts of up to two deals that some of the leads have a part in; some are of an account, and of some nobody tells
    that they were opened.

    :param lagged: some were recorded long after they happened.
    """
    out: list[Sent] = []
    for number in range(draw(st.integers(0, 2))):
        subject = {"deal_id": f"deal-{number}"}

        def add(type_: str, payload: dict[str, Any], subject: dict[str, str] = subject) -> None:
            t = draw(moments(days))
            late = draw(LAGS) if lagged else 0
            told = _BACKFILLED if draw(st.integers(0, 9)) == 0 else _PLAIN
            n = first + len(out)
            out.append(
                sent(type_, t, n, payload, topic="deal", subject=subject, recorded_at=t + late, **told)
            )

        part = draw(st.lists(st.sampled_from(leads), unique=True, max_size=len(leads)))
        weight = draw(st.sampled_from([None, 0.3, 0.9]))
        linked = [
            {"lead_id": x} | ({"weight": weight} if weight and n == 0 else {}) for n, x in enumerate(part)
        ]
        money = {"amount": draw(st.sampled_from([0, 100, 10_001])), "currency": "EUR"}
        opening = {"leads": linked, "pipeline": "p", "stage": "s"} | money
        for _ in range(draw(st.sampled_from([0, 1, 1, 1, 1, 1, 2]))):
            of = draw(st.sampled_from([{}, {}, {"account_id": "acc-1"}]))
            add("opened", opening | of)
        for _ in range(draw(st.integers(0, most))):
            type_, payload = draw(st.sampled_from([("won", money), ("won", money), *_DEAL_FACTS]))
            named = {"lead_id": draw(st.sampled_from(leads))} if type_.startswith("lead_") else {}
            add(type_, payload | named)
    return out


SEEDS = st.integers(0, 2**32)
