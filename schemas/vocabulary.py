"""The vocabulary: every event type and every output by name, as the schemas declare them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from schemas.registry import EVENT, OUTPUT, Schema, packaged

ENGAGEMENT, LEAD, DEAL, CUSTOMER, MARKET, REFERENCE = (
    "engagement", "lead", "deal", "customer", "market", "reference",
)  # fmt: skip
FAMILIES = (ENGAGEMENT, LEAD, DEAL, CUSTOMER, MARKET, REFERENCE)

#: The one name that two families share: with a deal as its subject it is DEAL_REOPENED.
REOPENED, DEAL_REOPENED = "reopened", "deal_reopened"


class EventType(Struct, frozen=True, kw_only=True):
    """``subject_kind`` is ``lead`` (a lead or an anonymous visitor), ``deal``, ``account`` or ``""``.

    ``record`` is the full name of the Avro record, ``topic`` the name before a prefix, ``required``
    and ``optional`` name the payload's fields.
    """

    name: str
    family: str
    record: str
    topic: str
    subject_kind: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    doc: str


def _event_type(schema: Schema) -> EventType:
    record = schema.resolved
    fields = [field for field in record["fields"] if field["name"] != "envelope"]
    return EventType(
        name=schema.name,
        family=record["leadstream.family"],
        record=f"{record['namespace']}.{record['name']}",
        topic=record["leadstream.topic"],
        subject_kind=record["leadstream.subject"],
        required=tuple(field["name"] for field in fields if "default" not in field),
        optional=tuple(field["name"] for field in fields if "default" in field),
        doc=record["doc"],
    )


EVENTS: Mapping[str, EventType] = MappingProxyType(
    {name: _event_type(schema) for name, schema in packaged().newest(EVENT).items()}
)
#: Canonical names of all event types.
NAMES = frozenset(EVENTS)
#: Canonical names by family.
OF_FAMILY: Mapping[str, frozenset[str]] = MappingProxyType(
    {family: frozenset(e.name for e in EVENTS.values() if e.family == family) for family in FAMILIES}
)
#: Topic (before a prefix) of every output.
OUTPUTS: Mapping[str, str] = MappingProxyType(
    {name: schema.topic for name, schema in packaged().newest(OUTPUT).items()}
)


def topic_of(type_: str) -> str:
    """The topic of an event type or an output, before a prefix; KeyError for an unknown one."""
    event = EVENTS.get(type_)
    return event.topic if event is not None else OUTPUTS[type_]
