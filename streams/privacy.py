"""What is held of one person, and what becomes of it when they are erased: for ``leadstream privacy``.

Views are dictionaries as ``--json`` prints them, as in `streams.inspection`.
"""

from __future__ import annotations

import hmac
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from time import monotonic, sleep
from typing import Any

from processors import ledger
from processors.consent import ADDRESS_HASH
from processors.events import BACKFILL, KIND, NAME, view
from processors.model import Member, Row
from schemas.codec import decode_output
from streams import state_reader
from streams.dead_letters import PREFIX
from streams.inspection import Subject, View
from streams.kafka_tools import Reader, partition_of
from streams.settings import Settings
from streams.topics import DAY_MS, declared
from streams.topology import LeadTopology

#: Outputs about a lead, by their field in the settings.
SAID = ("stage_changes", "handoffs", "sla", "nurture")
_POLL_S = 0.5

#: What an export cannot show, and where it is.
NOT_EXPORTED = (
    "fields of events that nothing here needs (texts of forms, for example) are not kept; the source records have them",
    "query and fragment of URLs are not kept, nor are referrers beyond their host",
    "events below the horizon of a row (400 days or 512 events) are kept as sums only",
    "dead letters without the lead's id as key cannot be found by it",
    "deals and accounts hold the lead's id and amounts; `leadstream show ID --kind deal` shows them",
)


def limits(settings: Settings) -> dict[str, str]:
    """Where something of an erased person may stay for how long: topic -> for how many days, and what to do."""
    out = {}
    for topic in declared(settings):
        days = int(topic.configs.get("retention.ms", "0")) // DAY_MS
        if topic.field in SAID:
            out[topic.name] = (
                f"{days} days: what was said before; the last revision of each output is empty of it"
            )
        elif topic.field == "dead_letters":
            out[topic.name] = f"{days} days: original bytes of records that could not be read or folded"
        elif topic.field == "inbox":
            out[topic.name] = (
                f"{days} days: records that came to a wrong partition, facts on their way between rows"
            )
        elif topic.field == "changelog":
            lag = int(topic.suggested["max.compaction.lag.ms"]) // DAY_MS
            out[topic.name] = f"{lag} days: older values of the row, until the log is compacted"
        elif topic.field in ("engagement", "lead"):
            out[topic.name] = (
                "as its owner keeps it: leadstream deletes nothing there, and will not take it again"
            )
    return out


def address_hash(key: str, address: str) -> str:
    """HMAC-SHA-256 of a normalised address (trimmed, NFKC, lower case), hexadecimal."""
    plain = unicodedata.normalize("NFKC", address.strip()).casefold()
    return hmac.new(key.encode(), plain.encode(), sha256).hexdigest()


# Export -----------------------------------------------------------------------------------------------------------


def export(logic: LeadTopology, key: str, row: Row, as_of: int) -> View:
    """Everything that the row holds, decoded."""
    own = list(_facts(logic, key, row.ledger, row.data))
    told = [f for name, m in sorted(row.members.items()) for f in _told(logic, name, m)]
    subject = Subject(logic, key, row, as_of)
    return {
        "subject": key,
        "as_of": as_of,
        "state": subject.show(),
        "score": {k: v for k, v in subject.why().items() if k in ("score_rows", "fit_rows")},
        "facts": sorted(own + told, key=lambda f: (f["at"], f["type"])),
        "aliases": [name for name, m in sorted(row.members.items()) if m.alias],
        "belongs_to": row.target or None,
        "consents": {p: {"granted": g, "at": at} for p, (g, at) in subject.state.consent.items()},
        "handoffs_said": [
            {
                "handoff_id": m.id,
                "trigger_at": m.trigger,
                "started_at": m.start,
                "owners": [r.owner for r in m.routes],
            }
            for m in row.minted
        ],
        "erased_up_to": max((x.at for x in row.erasures if x.done), default=None),
        "not_exported": list(NOT_EXPORTED),
    }


def _told(logic: LeadTopology, name: str, member: Member) -> Iterator[View]:
    yield from _facts(logic, name, member.ledger, member.data)
    for below, m in sorted(member.members.items()):
        yield from _told(logic, below.partition("@")[0], m)  # a second time of the same browser


def _facts(logic: LeadTopology, of: str, blob: bytes, data: list[Any]) -> Iterator[View]:
    for a, b, c, payload in ledger.items(blob, data):
        kind, where = b >> 8 & 255, ledger.position(c)
        yield {
            "at": a >> 22,
            "recorded_at": ledger.recorded_at(a, c),
            "type": NAME.get(kind, "unknown"),
            "payload": view(kind, payload) or payload,
            "backfill": bool(b & BACKFILL),
            "row": of,
            "topic": logic.input_names[where.input],
            "partition": where.partition,
            "offset": where.offset,
        }


def published(settings: Settings, lead: str) -> dict[str, list[View]]:
    """What was said of a lead, by topic, and the dead letters that carry its id as key."""
    out: dict[str, list[View]] = {}
    key = lead.encode()
    with Reader(settings) as reader:
        for field in (*SAID, "dead_letters"):
            topic = str(getattr(settings.topics, field))
            number = partition_of(key, len(reader.partitions(topic)))
            found = [r for r in reader.read([topic], partitions=[number]) if r.key == key]
            if field == "dead_letters":
                out[field] = [
                    {"partition": r.partition, "offset": r.offset, "value": r.value}
                    | {name[len(PREFIX) :]: text for name, text in r.headers if name.startswith(PREFIX)}
                    for r in found
                ]
            else:
                out[field] = [decode_output(r.value or b"")[1] | {"offset": r.offset} for r in found]
    return out


# Erase ------------------------------------------------------------------------------------------------------------


def requests(lead: str, aliases: Iterable[str], request_id: str, at: int) -> list[dict[str, Any]]:
    """The events that erase a lead and the others that were found to be the same person."""
    subjects = [{"lead_id": lead}]
    subjects += [{"lead_id" if key[:1] == "l" else "anonymous_id": key[2:]} for key in aliases]
    return [
        {
            "type": "erased", "occurred_at": at, "source_system": "leadstream",
            "source_event_id": f"{request_id}/{next(iter(subject.values()))}/{at}", "subject": subject,
            "payload": {"request_id": request_id},
        }
        for subject in subjects
    ]  # fmt: skip


def suppressions(row: Row, only: bool, at: int) -> list[dict[str, Any]]:
    """The reference events by which the same addresses are known again: all that the row holds a hash of, newer and older
    ones, and those of the leads that were merged into it.

    :param only: without these.
    """
    found = _hashes(row.ledger, row.data)
    aliases = list(_aliases(row.members))
    known = row.head.attributes.get(ADDRESS_HASH)
    if known and not (only and aliases):
        found.add(str(known))
    if not only:
        for m in aliases:
            found |= _hashes(m.ledger, m.data)
    return [
        {
            "type": "address_suppressed", "occurred_at": at, "source_system": "leadstream",
            "payload": {"address_hash": hashed},
        }
        for hashed in sorted(found)
    ]  # fmt: skip


def _hashes(blob: bytes, data: list[Any]) -> set[str]:
    """Hashes of addresses that some facts tell. An alias's are nowhere else: its state is that of its winner."""
    kind = KIND["attributes_changed"]
    told = (view(kind, e[3]).get("fields") for e in ledger.items(blob, data) if e[1] >> 8 & 255 == kind)
    return {str(x[ADDRESS_HASH]) for x in told if type(x) is dict and x.get(ADDRESS_HASH)}


def _aliases(members: dict[str, Member]) -> Iterator[Member]:
    for m in members.values():
        if m.alias:
            yield m
            yield from _aliases(m.members)


def merged_into(row: Row) -> list[str]:
    """Keys of the leads that were merged into this one, and of those that were merged into them."""
    out: list[str] = []

    def walk(members: dict[str, Member]) -> None:
        for key, m in sorted(members.items()):
            if m.alias:
                if key[:1] == "l":
                    out.append(key)
                walk(m.members)

    walk(row.members)
    return out


def is_erased(row: Row | None, at: int) -> bool:
    return row is not None and any(x.done and x.at >= at for x in row.erasures)


def wait_until_erased(settings: Settings, keys: Iterable[str], at: int, seconds: float) -> list[str]:
    """Wait until workers have erased these rows up to ``at``. :returns: keys of those that they have not."""
    end = monotonic() + seconds
    missing = list(keys)
    while True:
        missing = [key for key in missing if not is_erased(state_reader.row(settings, key), at)]
        if not missing or monotonic() >= end:
            return missing
        sleep(_POLL_S)


def held(row: Row, stage: Callable[[int], str]) -> View:
    """What a row holds, in numbers: before and after an erasure."""
    s = row.head
    return {
        "facts": len(row.ledger) // ledger.WIDTH,
        "attributes": len(s.attributes),
        "journeys": [{"journey": j.n, "stage": stage(j.at)} for j in s.journeys],
        "handoffs": [h.id for j in s.journeys for h in j.handoffs],
        "deals": sorted(s.shares),
        "figures": len(row.residue),
    }
