"""CloudEvents 1.0, read into the shape of the wire JSON; and the headers that we write.

Both modes say the same: the context attributes, and data. Data that is itself a whole event wins,
and the attributes fill its gaps; else data is the payload.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from schemas.envelope import ACCOUNT, ANONYMOUS, DEAL, LEAD, Malformed
from schemas.fields import bad, missing

PREFIX = "ce_"
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch"
SPEC_VERSION = "1.0"

_KINDS = (LEAD, ANONYMOUS, DEAL, ACCOUNT)
_VERSION = re.compile(r"v\d+")
#: Extension attributes (lower case, as CloudEvents wants them) for what has no attribute of its own.
_EXTENSIONS = {
    "observedat": "observed_at",
    "sourceseq": "source_seq",
    "causationid": "causation_id",
    "eventid": "event_id",
    "backfill": "backfill",
}


def ce_headers(
    type: str,  # noqa: A002  # the attribute's own name
    source: str,
    id: str,  # noqa: A002  # the same
    time_ms: int,
    subject: str | None = None,
) -> list[tuple[str, bytes]]:
    """Headers of binary mode for a framed Avro value; ``subject`` is such as ``lead/lead-1``."""
    time = datetime.fromtimestamp(time_ms // 1000, UTC)
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_type", f"leadstream.{type}".encode()),
        ("ce_source", source.encode()),
        ("ce_id", id.encode()),
        ("ce_time", f"{time:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z".encode()),
        ("content-type", b"application/avro"),
    ]
    if subject is not None:
        headers.insert(5, ("ce_subject", subject.encode()))
    return headers


def attributes(headers: Sequence[tuple[str, bytes]]) -> dict[str, Any]:
    """The context attributes of binary mode; empty if the headers are no CloudEvent's."""
    found: dict[str, Any] = {}
    for name, value in headers:
        if name.startswith(PREFIX) and value is not None:
            try:
                found[name[len(PREFIX) :].lower()] = bytes(value).decode()
            except UnicodeDecodeError as error:
                raise Malformed("not_utf8", f"header {name}: {error.reason}; send UTF-8") from error
    return found


def content_type(headers: Sequence[tuple[str, bytes]]) -> str:
    for name, value in headers:
        if name.lower() == "content-type" and value is not None:
            return bytes(value).decode("latin-1").strip().lower()
    return ""


def is_whole(data: Any) -> bool:
    return isinstance(data, dict) and "type" in data and "occurred_at" in data


def merged(data: Any, attrs: Mapping[str, Any]) -> dict[str, Any]:
    """The event of a CloudEvent with decoded data, as wire JSON."""
    version = attrs.get("specversion", SPEC_VERSION)
    if not isinstance(version, str) or version.partition(".")[0] != "1":
        raise bad("specversion", version, "send CloudEvents 1.0", "not_an_event")
    if is_whole(data):
        event: dict[str, Any] = data
    elif data is None or isinstance(data, dict):
        event = {"payload": data or {}}
    else:
        raise bad("data", data, "give the payload, or a whole event, as a JSON object", "not_an_event")
    for attribute in ("type", "source", "id"):
        value = attrs.get(attribute)
        if value is None and event is not data:
            raise missing(f"CloudEvents attribute {attribute}", "every CloudEvent has one")
        if value is not None and not isinstance(value, str):
            raise bad(f"CloudEvents attribute {attribute}", value, "give text")
    fill(event, attrs)
    return event


def fill(event: dict[str, Any], attrs: Mapping[str, Any]) -> None:
    """Put the attributes where the event says nothing."""
    if event.get("type") is None and "type" in attrs:
        event["type"] = _type(attrs["type"])
    if "occurred_at" not in event and "time" in attrs:
        event["occurred_at"] = attrs["time"]
    if event.get("source_system") is None and "source" in attrs:
        event["source_system"] = attrs["source"]
    if event.get("source_event_id") is None and event.get("event_id") is None and "id" in attrs:
        event["source_event_id"] = attrs["id"]
    for extension, field in _EXTENSIONS.items():
        if extension in attrs and event.get(field) is None:
            event[field] = _value(attrs[extension])
    if "actortype" in attrs and event.get("actor") is None:
        event["actor"] = {"type": attrs["actortype"], "id": attrs.get("actorid")}


def _value(text: Any) -> Any:
    """Headers know text only; true, false and whole numbers are meant as such."""
    if text in ("true", "false"):
        return text == "true"
    if isinstance(text, str) and re.fullmatch(r"-?[0-9]{1,19}", text):
        return int(text)
    return text


def _type(name: str) -> str:
    """``com.example.page_viewed.v1`` means page_viewed."""
    parts = name.split(".")
    if len(parts) > 1 and _VERSION.fullmatch(parts[-1]):
        parts.pop()
    return parts[-1]


def subject(attrs: Mapping[str, Any], key: bytes | None, kind: str) -> dict[str, Any] | None:
    """Whom the attributes speak of, else the record key as an id of ``kind``; None: nobody."""
    said = {f"{kind}_id": attrs[f"{kind}id"] for kind in _KINDS if f"{kind}id" in attrs}
    if said:
        return said
    text = attrs.get("subject")
    if text is not None and text != "":
        named, slash, id_ = text.partition("/") if isinstance(text, str) else ("", "", "")
        if named not in _KINDS or not slash:
            need = "give lead/ID, anonymous/ID, deal/ID or account/ID"
            raise bad("CloudEvents attribute subject", text, need, "bad_subject")
        return {f"{named}_id": id_}
    if not key:
        return None
    try:
        return {f"{kind}_id": bytes(key).decode()}
    except UnicodeDecodeError as error:
        raise Malformed(
            "bad_subject",
            "record key: not UTF-8, and nothing else names the subject; set ce_subject to lead/ID",
        ) from error
