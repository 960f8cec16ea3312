"""Events as the fold sees them: three integers whose byte order is the total order, and a payload.

An `Envelope` says everything; a row keeps only what a fold can ever need. `from_envelope` is the
one place where that choice is made: kinds, ranks, identities, and which payload fields stay.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qsl

from msgspec import Struct

from processors.ledger import pack_lag
from schemas.envelope import Envelope

#: Kinds below FACT are engagement: they score and decide nothing else by themselves.
FACT = 128
#: Flags in the low byte of a record's identity word.
PAYLOAD, BACKFILL = 0x80, 0x01
AGENT_SHIFT, AGENT_MASK = 1, 0x06
HUMAN, UNKNOWN_AGENT, PROXY, BOT = 0, 1, 2, 3
_AGENTS = {"human": HUMAN, "unknown": UNKNOWN_AGENT, "proxy": PROXY, "bot": BOT}

_ENGAGEMENT = (
    "page_viewed", "form_submitted", "content_downloaded", "email_sent", "email_delivered", "email_bounced",
    "email_opened", "email_clicked", "email_unsubscribed", "spam_reported", "event_registered",
    "event_attended", "ad_clicked", "social_engaged", "survey_answered", "product_used",
)  # fmt: skip
_FACTS = (
    "unknown", "engagement_reclassified", "created", "attributes_changed", "assigned", "touched",
    "discovery_recorded", "objection_raised", "material_shared", "accepted", "rejected",
    "qualified_by_sales", "recycled", "disqualified", "reopened", "score_overridden", "stage_reported",
    "sla_paused", "sla_resumed", "identified", "merged", "unmerged", "account_matched", "consent_changed",
    "erased", "opened", "stage_changed", "amount_changed", "close_date_changed", "lead_linked",
    "lead_unlinked", "won", "lost", "deal_reopened", "deleted", "delivery_accepted", "onboarding_started",
    "onboarding_completed", "contract_signed", "invoice_paid", "invoice_refunded", "renewed", "expanded",
    "contracted", "churned", "feedback_given",
    # what a deal tells its leads: never on the wire
    "share_opened", "share_amount", "share_won", "share_lost", "share_reopened", "share_gone",
    "handoff_released", "handoff_dropped",
)  # fmt: skip
#: Name of a type to its code in rows. Codes are for ever: append, never renumber.
KIND: dict[str, int] = {name: n for n, name in enumerate(_ENGAGEMENT, 1)} | {
    name: n for n, name in enumerate(_FACTS, FACT)
}
NAME: dict[int, str] = {code: name for name, code in KIND.items()}

(
    _RANK_CREATED, _RANK_ATTRIBUTES, _RANK_ENGAGEMENT, _RANK_ASSIGNMENT, _RANK_ANSWER, _RANK_DEAL, _RANK_ERASED,
) = range(7)  # fmt: skip
_RANKS = (
    dict.fromkeys(("created", "identified", "merged", "unmerged"), _RANK_CREATED)
    | dict.fromkeys(("attributes_changed", "account_matched", "consent_changed"), _RANK_ATTRIBUTES)
    | dict.fromkeys((*_ENGAGEMENT, "unknown", "engagement_reclassified"), _RANK_ENGAGEMENT)
    | dict.fromkeys(("assigned", "sla_paused", "sla_resumed"), _RANK_ASSIGNMENT)
    | dict.fromkeys(_FACTS[_FACTS.index("opened") :], _RANK_DEAL)
    | {"erased": _RANK_ERASED}
    | dict.fromkeys(("handoff_released", "handoff_dropped"), _RANK_ANSWER)
)
#: Order among events of one instant (DOMAIN 2.1): created, attributes, engagement, assignment, answers, deal. An erasure
#: comes after all of its instant, so that it forgets them.
RANK: dict[str, int] = {name: _RANKS.get(name, _RANK_ANSWER) for name in KIND}

#: Payload fields that stay in a row, in this order; what is not named here only travels on the input topic.
FIELDS: dict[str, tuple[str, ...]] = {
    "page_viewed": ("url", "referrer", "utm"),
    "form_submitted": ("form_id", "intent"),
    "content_downloaded": ("asset_id",),
    "email_sent": ("send_id", "campaign_id"),
    "email_delivered": ("send_id", "campaign_id"),
    "email_bounced": ("send_id", "campaign_id", "class"),
    "email_opened": ("send_id", "identity"),
    "email_clicked": ("send_id", "identity", "url"),
    "event_registered": ("event_id", "kind"),
    "event_attended": ("event_id", "kind"),
    "ad_clicked": ("ad_id", "utm"),
    "social_engaged": ("network", "kind"),
    "survey_answered": ("survey_id", "score", "kind"),
    "product_used": ("feature", "trial"),
    "engagement_reclassified": ("of", "agent", "or"),
    "created": ("source", "generated_by"),
    "attributes_changed": ("fields",),
    "assigned": ("owner", "team", "handoff_id"),
    "touched": ("channel", "kind", "handoff_id"),
    "discovery_recorded": ("kind", "text_ref"),
    "objection_raised": ("category",),
    "material_shared": ("asset_id",),
    "accepted": ("handoff_id",),
    "rejected": ("reason_code", "handoff_id", "notes"),
    "qualified_by_sales": ("reasons",),
    "recycled": ("until", "handoff_id"),
    "disqualified": ("reason_code",),
    "score_overridden": ("value", "until"),
    "stage_reported": ("stage",),
    "sla_paused": ("handoff_id", "reason"),
    "sla_resumed": ("handoff_id", "reason"),
    "identified": ("anonymous_id", "lead_id"),
    "merged": ("loser", "winner", "names"),
    "unmerged": ("merge_event_id",),
    "handoff_released": ("handoff_id",),
    "handoff_dropped": ("handoff_id",),
    "account_matched": ("account_id", "rule"),
    "consent_changed": ("purpose", "granted", "basis"),
    "erased": ("request_id",),
    "opened": ("account_id", "leads", "amount", "currency", "pipeline", "stage", "probability"),
    "stage_changed": ("stage", "status", "probability"),
    "amount_changed": ("amount", "currency"),
    "close_date_changed": ("date",),
    "lead_linked": ("lead_id", "weight"),
    "lead_unlinked": ("lead_id",),
    "won": ("amount", "currency", "closed_at"),
    "lost": ("reason_code", "competitor"),
    "contract_signed": ("contract_id", "starts", "ends", "amount", "currency", "notice_days"),
    "invoice_paid": ("amount", "currency"),
    "invoice_refunded": ("amount", "currency"),
    "renewed": ("contract_id", "amount", "currency"),
    "expanded": ("kind", "amount", "currency"),
    "contracted": ("amount", "currency"),
    "churned": ("reason_code",),
    "feedback_given": ("kind", "score"),
} | dict.fromkeys(
    ("share_opened", "share_amount", "share_won", "share_lost", "share_reopened", "share_gone"),
    ("deal_id", "amount", "currency", "reason", "closed_at", "pipeline", "leads", "lead_id"),
)
#: Types with a natural key: two systems may report the same fact.
_NATURAL = frozenset(
    (
        *(name for name in _ENGAGEMENT if name.startswith("email_")),
        "event_registered",
        "event_attended",
        "identified",
    )
)
#: Types whose human or system actor matters to the fold: it travels as the last payload field.
_WITH_ACTOR = frozenset(("touched", "accepted", "rejected", "assigned"))
#: Kinds that have a natural key: two systems may tell of the same fact in their own words (case 3).
NATURAL = frozenset(
    KIND[name]
    for name in (
        "email_sent", "email_delivered", "email_bounced", "email_opened", "email_clicked", "event_registered",
        "event_attended", "identified",
    )
)  # fmt: skip
_LETTER = {"lead": "l:", "anonymous": "a:", "deal": "d:", "account": "c:"}
_MINUTE = 60_000


class Event(Struct, frozen=True, gc=False):
    """One fact of one subject. ``a``, ``b``, ``c`` as in `processors.ledger`; ``data`` by `FIELDS`."""

    subject: str
    a: int
    b: int
    c: int
    data: Any = None

    @property
    def t(self) -> int:
        """occurred_at, epoch ms."""
        return self.a >> 22

    @property
    def kind(self) -> int:
        return self.b >> 8 & 255


def row_key(kind: str, subject_id: str) -> str:
    """Key of the subject's row: a letter for the kind, a colon, the id."""
    return _LETTER[kind] + subject_id


def identity(*parts: str) -> int:
    """48 bits of a fact's identity; two facts of one row collide once in 10**12 rows of 30 events."""
    return int.from_bytes(blake2b("\0".join(parts).encode(), digest_size=6).digest(), "big")


@lru_cache(1024)
def _source_code(source_system: str) -> int:
    """7 bits that keep the facts of one source together at one instant, so that its source_seq decides."""
    return blake2b(source_system.encode(), digest_size=1).digest()[0] & 0x7F


def _natural_key(e: Envelope) -> tuple[str, ...] | None:
    """The same fact from two systems is one (case 3): identity by what happened, not by who says so."""
    if e.type not in _NATURAL:
        return None
    p = e.payload
    send = p.get("send_id")
    if send and e.type.startswith("email_"):
        if e.type in ("email_opened", "email_clicked"):
            return (e.type, str(send), str(e.occurred_at // _MINUTE), str(p.get("url") or ""))
        return (e.type, str(send))
    if e.type in ("event_registered", "event_attended"):
        return (e.type, str(p.get("event_id")))
    if e.type == "identified":
        # with the minute: on a shared browser the first person may well come back after the second
        who = str(p.get("anonymous_id")), str(p.get("lead_id"))
        return (e.type, *who, str(e.occurred_at // _MINUTE))
    return None


def _own_names(e: Envelope) -> int | list[int] | None:
    """What its source calls an event; several, if it has several names for it."""
    names = [] if e.source_event_id is None else [identity(e.source_system, e.source_event_id)]
    if e.event_id is not None:
        names.append(identity("", e.event_id))
    return sorted(names) if len(names) > 1 else names[0] if names else None


def fact_identity(e: Envelope, canonical: Callable[[], bytes]) -> int:
    """Natural key, else (source_system, source_event_id), else event_id, else hash of the canonical bytes."""
    natural = _natural_key(e)
    if natural is not None:
        return identity("natural", *natural)
    if e.source_event_id is not None:
        return identity(e.source_system, e.source_event_id)
    if e.event_id is not None:
        return identity("", e.event_id)
    return int.from_bytes(blake2b(canonical(), digest_size=6).digest(), "big")


def both_names(kind: int, kept: Any, other: Any) -> Any:
    """``kept``, an e-mail event, which another system told of as well: what each of them calls it is remembered."""
    if kind not in (KIND["email_opened"], KIND["email_clicked"]):
        return kept
    names: set[int] = set()
    for data in (kept, other):
        name = view(kind, data).get("identity")
        names.update(name if type(name) is list else [] if name is None else [name])
    values = list(view(kind, kept).values())
    values[1:2] = [sorted(names) if len(names) > 1 else next(iter(names), None)]
    return values if names else kept


@lru_cache(16384)
def _plain_url(url: str) -> str:
    """Without scheme, query and fragment: what rules match and people read."""
    start = url.find("://")
    rest = url[start + 3 :] if start >= 0 else url
    for mark in "?#":
        cut = rest.find(mark)
        if cut >= 0:
            rest = rest[:cut]
    return rest[:120]


@lru_cache(4096)
def _host(url: str) -> str:
    return _plain_url(url).partition("/")[0]


def _utm_of(url: str) -> dict[str, str] | None:
    query = url.partition("?")[2].partition("#")[0]
    return {k[4:]: v[:60] for k, v in parse_qsl(query) if k.startswith("utm_")} or None


def _kept(e: Envelope) -> Any:
    """The payload by `FIELDS`, short: trailing nulls dropped, a lone string bare, nothing is None."""
    fields = FIELDS.get(e.type)
    if fields is None:
        return None if e.known else [e.type, e.payload]
    p = e.payload
    if e.type == "page_viewed":
        url, referrer, utm = p.get("url") or "", p.get("referrer"), p.get("utm")
        if not utm and "utm_" in url:
            utm = _utm_of(url)
        if utm:
            return [_plain_url(url), _host(referrer) if referrer else None, utm]
        return [_plain_url(url), _host(referrer)] if referrer else _plain_url(url)
    values = [p.get(name) for name in fields]
    if e.type == "email_opened" or e.type == "email_clicked":
        # its identity is the natural key; a re-classification names it as its source did
        values[1] = _own_names(e)
        if len(values) > 2 and values[2]:
            values[2] = _plain_url(values[2])
    elif e.type == "merged":  # whoever takes it back may know it by another name than its source
        values[2] = sorted({identity("", x) for x in (e.source_event_id, e.event_id) if x}) or None
    elif e.type == "unmerged":
        named = str(p.get("merge_event_id"))
        values = [[identity(e.source_system, named), identity("", named)]]
    elif e.type == "engagement_reclassified":
        values = [
            identity(e.source_system, str(p.get("of"))),
            _AGENTS.get(str(p.get("agent")), UNKNOWN_AGENT),
            identity("", str(p.get("of"))),
        ]
    if e.type in _WITH_ACTOR and (e.actor_id or e.actor_type):
        values.append([e.actor_type, e.actor_id])
    while values and values[-1] is None:
        values.pop()
    if len(values) == 1 and type(values[0]) is str:
        return values[0]
    return values or None


def view(kind: int, data: Any) -> dict[str, Any]:
    """A kept payload by field name, for predicates and people."""
    if data is None:
        return {}
    fields = FIELDS.get(NAME.get(kind, ""), ())
    if type(data) is str:
        return {fields[0]: data} if fields else {}
    return dict(zip(fields, data, strict=False))


def from_envelope(
    e: Envelope,
    recorded_at: int,
    topic: int,
    partition: int,
    offset: int,
    priority: int,
    canonical: Callable[[], bytes],
) -> Event:
    """The fact in an envelope.

    ``recorded_at`` (ms) is the source record's timestamp, ``topic`` the index of its input (0..3),
    ``priority`` of its source 0..7 (higher is applied later, so it wins). ``canonical`` gives the
    bytes that stand in for a missing identity.
    """
    name = e.type if e.type in KIND and not e.type.startswith("share_") else "unknown"
    data = _kept(e)
    flags = BACKFILL if e.backfill else 0
    if data is not None:
        flags |= PAYLOAD
    agent = e.payload.get("agent")
    if agent is not None and KIND[name] < FACT:
        flags |= _AGENTS.get(agent, UNKNOWN_AGENT) << AGENT_SHIFT
    return Event(
        row_key(e.subject_kind, e.subject_id),
        e.occurred_at << 22
        | RANK[name] << 18
        | priority << 15
        | _source_code(e.source_system) << 8
        | (e.source_seq or 0) & 0xFF,
        fact_identity(e, canonical) << 16 | KIND[name] << 8 | flags,
        pack_lag(recorded_at - e.occurred_at) << 48
        | topic << 46
        | (partition & 0x3FF) << 36
        | offset & 0xFFFFFFFFF,
        data,
    )
