"""Events on their way to Kafka: read from NDJSON, checked by the codec, addressed by type and subject."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import msgspec

from schemas import codec
from schemas.envelope import Envelope, Malformed
from schemas.registry import ConfluentRegistry, SchemaError, packaged
from schemas.vocabulary import EVENTS
from schemas.vocabulary import topic_of as declared_topic
from streams.batch import AHEAD_MS
from streams.cli.console import DataError
from streams.settings import Settings, Topics
from streams.work import Message

Format = Literal["avro", "json"]
STDIN = "-"
#: Topics (keys of `Topics`) of what happens to leads, visitors, deals and accounts.
FACTS = ("engagement", "lead", "deal")

_DEFAULT_NAMES = Topics()
#: What identifies a reference entry; a later one with the same key replaces it when the topic is compacted.
_NATURAL_KEYS: Mapping[str, tuple[str, ...]] = {
    "definition_published": ("name", "version"),
    "definition_approved": ("name", "version", "team"),
    "fx_rate_set": ("base", "quote", "date"),
    "owner_changed": ("owner",),
    "campaign_renamed": ("old",),
    "win_model_published": ("as_of",),
    "source_priority_set": ("source_system",),
    "address_suppressed": ("address_hash",),
}
#: Of these the first word about a version or a team stands, so compaction must not put a later one in its place.
_KEPT = frozenset(("definition_published", "definition_approved"))
#: What market events are about, in the order of preference; order among them matters only within one.
_MARKET_KEYS = ("channel", "team", "network", "owner", "supersedes")


class Line(NamedTuple):
    """One line of NDJSON, checked: an event, or why it is none."""

    place: str
    event: Mapping[str, Any]
    envelope: Envelope | None
    problem: str = ""


def prepare_codec(settings: Settings) -> None:
    """Read and write the schema ids of the registry, where one is set. To be called before the first record.

    :raises DataError: the registry does not answer or refuses our schemas.
    """
    if settings.registry_url:
        try:
            codec.use_registry(ConfluentRegistry(settings.registry_url).preload(packaged()))
        except SchemaError as error:
            raise DataError(str(error)) from None


def lines(source: str) -> Iterator[Line]:
    """The checked lines of a file, or of stdin (``-``). Empty lines are skipped.

    :raises OSError: the file cannot be read.
    """
    if source == STDIN:
        yield from _lines(sys.stdin.buffer, "stdin")
    else:
        with Path(source).open("rb") as handle:
            yield from _lines(handle, source)


def _lines(handle: BinaryIO, name: str) -> Iterator[Line]:
    for number, raw in enumerate(handle, 1):
        text = raw.removeprefix(b"\xef\xbb\xbf").strip()
        if text:
            yield checked(text, f"{name}:{number}")


def checked(text: bytes, place: str) -> Line:
    """One event as wire JSON, or what is wrong with it."""
    try:
        event = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        return Line(place, {}, None, f"not JSON: {error}")
    except UnicodeDecodeError as error:
        return Line(place, {}, None, f"not UTF-8: {error.reason}")
    if not isinstance(event, dict):
        return Line(place, {}, None, f'an event is an object with "type", this is: {text[:40].decode()}')
    return checked_event(event, place, text)


def checked_event(event: Mapping[str, Any], place: str, text: bytes | None = None) -> Line:
    """The same for an event that is a dictionary already."""
    try:
        envelope = codec.decode(text or msgspec.json.encode(event), [])
    except Malformed as error:
        return Line(place, event, None, f"{error.detail} ({error.code})")
    if not envelope.known:
        close = difflib.get_close_matches(envelope.type, EVENTS, n=1)
        advice = f"did you mean {close[0]!r}?" if close else "`leadstream schemas list` shows the types"
        return Line(place, event, envelope, f"unknown type {envelope.type!r}, so no topic is known; {advice}")
    return Line(place, event, envelope)


def not_ahead(line: Line, now_ms: int) -> Line:
    """The same line; one of a fact that workers refuse, because it lies too far ahead of ``now_ms``, as a bad one."""
    e = line.envelope
    if e is None or line.problem or e.occurred_at <= now_ms + AHEAD_MS or _field(e.type) not in FACTS:
        return line
    hours = (e.occurred_at - now_ms) // 3_600_000
    problem = (
        f"occurred_at lies {hours:,} hours ahead, workers take up to 24; check the clock of {e.source_system}"
    )
    return line._replace(problem=f"{problem} (too_far)")


def message(settings: Settings, event: Mapping[str, Any], envelope: Envelope, format_: Format) -> Message:
    """The record for an event of a known type: topic by type, key by subject."""
    # A field that no schema has survives only in JSON; the codec sees to that.
    value = codec.encode_envelope(envelope) if format_ == "avro" else msgspec.json.encode(event)
    return Message(topic_of(settings, envelope.type), key_of(envelope).encode(), value)


def topic_of(settings: Settings, type_: str) -> str:
    """The name of the topic that a type belongs to."""
    return str(getattr(settings.topics, _field(type_)))


def key_of(envelope: Envelope) -> str:
    """The record key: the subject, or what a market or reference event is about."""
    payload = envelope.payload
    field = _field(envelope.type)
    if field == "reference":
        parts = [str(payload.get(name, "")) for name in _NATURAL_KEYS.get(envelope.type, ())]
        if envelope.type in _KEPT:
            parts.append(str(envelope.occurred_at))
        return ":".join([envelope.type, *parts])
    if field == "market":
        named = (payload.get(name) for name in _MARKET_KEYS)
        return next((str(value) for value in named if value), envelope.source_system)
    # `identified` belongs to the lead, `merged` to the winner, even where a publisher names the other.
    if envelope.type == "identified":
        return str(payload.get("lead_id") or envelope.subject_id)
    if envelope.type == "merged":
        return str(payload.get("winner") or envelope.subject_id)
    return envelope.subject_id


@cache
def _field(type_: str) -> str:
    topic = declared_topic(type_)
    field = _DEFAULT_NAMES.field_of(topic)
    assert field is not None, f"the schema of {type_} names the topic {topic}, which is not declared"
    return field
