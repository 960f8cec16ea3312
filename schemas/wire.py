"""The wire JSON's envelope: from what came, settled and checked, to the Envelope; and back.

Avro and JSON both arrive here in the shape of the wire JSON, so that they are judged alike.
"""

from __future__ import annotations

from typing import Any

from schemas.envelope import ACCOUNT, ANONYMOUS, DEAL, LEAD, Envelope
from schemas.fields import LAST_MS, YEAR_2000_MS, Shape, bad, fits, instant, missing, subject_id
from schemas.vocabulary import DEAL_REOPENED, REOPENED

WIRE_FIELDS = frozenset(
    {
        "type", "event_id", "occurred_at", "observed_at", "source_system", "source_event_id", "source_seq",
        "subject", "actor", "causation_id", "backfill", "payload",
    }
)  # fmt: skip
_ID_NEED = "give non-empty text, or leave it out"
_SUBJECTS = (LEAD, ANONYMOUS, DEAL, ACCOUNT)


def settled(
    name: str, shape: Shape | None, event: dict[str, Any], payload: dict[str, Any], unknown: tuple[str, ...]
) -> Envelope:
    """The settled event of envelope fields that are still as they came."""
    occurred_at = event.get("occurred_at")
    if type(occurred_at) is not int:
        occurred_at = _occurred_at(event)
    if not YEAR_2000_MS <= occurred_at <= LAST_MS:
        _refuse_time(occurred_at)
    observed_at = event.get("observed_at")
    if observed_at is not None:
        observed_at = instant(observed_at, "observed_at", "bad_time")
    source_system = event.get("source_system")
    if type(source_system) is not str or not source_system.strip():
        if source_system is None or source_system == "":
            raise missing("source_system", "name the system that publishes the event")
        raise bad("source_system", source_system, "give the name of the publishing system as text")
    subject = event.get("subject")
    kind = id_ = ""
    if shape is None or shape.subject:
        if name == REOPENED and type(subject) is dict and subject.get("deal_id") is not None:
            name = DEAL_REOPENED
            kind, id_ = _subject(name, DEAL, subject, payload)
        else:
            kind, id_ = _subject(name, None if shape is None else shape.subject, subject, payload)
    actor_type = actor_id = None
    actor = event.get("actor")
    if actor is not None:
        actor_type, actor_id = _actor(actor)
    source_event_id, event_id = event.get("source_event_id"), event.get("event_id")
    causation_id, source_seq = event.get("causation_id"), event.get("source_seq")
    if source_event_id is not None and (type(source_event_id) is not str or not source_event_id):
        raise bad("source_event_id", source_event_id, _ID_NEED)
    if event_id is not None and (type(event_id) is not str or not event_id):
        raise bad("event_id", event_id, _ID_NEED)
    if causation_id is not None and (type(causation_id) is not str or not causation_id):
        raise bad("causation_id", causation_id, _ID_NEED)
    if source_seq is not None and (type(source_seq) is not int or not fits(source_seq)):
        raise bad("source_seq", source_seq, "give a whole number")
    backfill = event.get("backfill", False)
    if backfill is not False and backfill is not True:
        if backfill is not None:
            raise bad("backfill", backfill, "give true or false")
        backfill = False
    return Envelope(
        type=name,
        occurred_at=occurred_at,
        subject_kind=kind,
        subject_id=id_,
        source_system=source_system,
        source_event_id=source_event_id,
        event_id=event_id,
        source_seq=source_seq,
        observed_at=observed_at,
        actor_type=actor_type,
        actor_id=actor_id,
        causation_id=causation_id,
        backfill=backfill,
        payload=payload,
        known=shape is not None,
        unknown_fields=unknown,
    )


def _occurred_at(event: dict[str, Any]) -> int:
    if "occurred_at" not in event:
        raise missing("occurred_at", "say when it happened (the time of publishing does not count)")
    return instant(event["occurred_at"], "occurred_at", "bad_time")


def _refuse_time(occurred_at: int) -> None:
    instant(occurred_at, "occurred_at", "bad_time")
    need = "give milliseconds since 1970, not seconds; nothing before the year 2000 is taken"
    raise bad("occurred_at", occurred_at, need, "too_early")


def _subject(name: str, wanted: str | None, subject: Any, payload: dict[str, Any]) -> tuple[str, str]:
    """Kind and id; ``wanted`` None: the type is unknown, so any subject will do, or none."""
    if subject is None:
        subject = {}
    elif type(subject) is not dict:
        raise bad("subject", subject, 'give an object such as {"lead_id": "lead-1"}', "bad_subject")
    if wanted == LEAD:
        id_ = subject.get("lead_id")
        if name == "identified" or name == "merged":
            return LEAD, _named_by_payload(name, id_, payload)
        if id_ is not None:
            return LEAD, subject_id(id_, "subject.lead_id")
        id_ = subject.get("anonymous_id")
        if id_ is not None:
            return ANONYMOUS, subject_id(id_, "subject.anonymous_id")
        raise bad(
            "subject", subject, f"{name} is about a person: give lead_id, else anonymous_id", "bad_subject"
        )
    for kind in _SUBJECTS if wanted is None else (wanted,):
        id_ = subject.get(f"{kind}_id")
        if id_ is not None:
            return kind, subject_id(id_, f"subject.{kind}_id")
    if wanted is None:
        return "", ""
    raise bad("subject", subject, f"{name} needs {wanted}_id", "bad_subject")


def _named_by_payload(name: str, said: Any, payload: dict[str, Any]) -> str:
    """These two name the lead that they are about in the payload: it counts, the subject may be left out."""
    field = "lead_id" if name == "identified" else "winner"
    id_: str = payload[field]
    if said is not None and said != id_:
        raise bad(
            "subject.lead_id", said, f"{name} is about payload.{field}: give the same id twice", "bad_subject"
        )
    return id_


def _actor(actor: Any) -> tuple[str, str | None]:
    if type(actor) is not dict:
        raise bad("actor", actor, 'give an object such as {"type": "human", "id": "owner-1"}')
    type_, id_ = actor.get("type"), actor.get("id")
    if type_ is None:
        raise missing("actor.type", "say human or system")
    if type_ not in ("human", "system"):
        raise bad("actor.type", type_, "give human or system")
    if id_ is not None and (type(id_) is not str or "@" in id_ or not id_):
        raise bad("actor.id", id_, "give an opaque id as text, not an e-mail address")
    return type_, id_


def to_wire(event: Envelope) -> dict[str, Any]:
    """The event as wire JSON; ``deal_reopened`` under its canonical name."""
    wire: dict[str, Any] = {
        "type": event.type,
        "occurred_at": event.occurred_at,
        "source_system": event.source_system,
    }
    for field in ("source_event_id", "event_id", "source_seq", "observed_at", "causation_id"):
        value = getattr(event, field)
        if value is not None:
            wire[field] = value
    if event.subject_kind:
        wire["subject"] = {f"{event.subject_kind}_id": event.subject_id}
    if event.actor_type is not None:
        wire["actor"] = {"type": event.actor_type, "id": event.actor_id}
    if event.backfill:
        wire["backfill"] = True
    wire["payload"] = dict(event.payload)
    return wire
