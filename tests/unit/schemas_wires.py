"""Events on the wire as tests of the codec send them, and how they are read and refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from schemas import codec
from schemas.envelope import Envelope, Malformed
from tests.unit.schemas_samples import event

PAGE = {"url": "https://example.org/", "utm": {"utm_source": "news"}}
CODES = {
    "null_value", "not_utf8", "bad_json", "bad_avro", "unknown_schema_id", "not_an_event", "missing_field",
    "bad_field", "bad_subject", "bad_time", "too_early",
}  # fmt: skip


def decoded(wire: object, headers: Any = (), **more: Any) -> Envelope:
    return codec.decode(json.dumps(wire).encode(), headers, **more)


def page(**changes: Any) -> dict[str, Any]:
    """A page view with some fields of the envelope changed; ... takes one away."""
    wire = event("page_viewed", dict(PAGE)) | changes
    return {name: value for name, value in wire.items() if value is not ...}


def refused(value: bytes | None, headers: Any = (), **more: Any) -> Malformed:
    with pytest.raises(Malformed) as caught:
        codec.decode(value, headers, **more)
    assert caught.value.code in CODES
    return caught.value


def refused_wire(wire: object) -> Malformed:
    return refused(json.dumps(wire).encode())


def tolerated(read: Callable[[], Envelope]) -> Envelope | None:
    """What was read, or None for what was refused as it should be."""
    try:
        return read()
    except Malformed as error:
        if error.code not in CODES:
            raise
        return None


def attributes(wire: dict[str, Any]) -> dict[str, str]:
    """The CloudEvents attributes that say what the envelope says."""
    said = {
        "specversion": "1.0",
        "type": f"org.example.{wire['type']}",
        "source": wire["source_system"],
        "id": wire["source_event_id"],
        "time": "2026-11-22T10:00:00Z",
    }
    for kind, id_ in wire.get("subject", {}).items():
        said["subject"] = f"{kind.removesuffix('_id')}/{id_}"
    return said


def frame(id_: int) -> bytes:
    return b"\x00" + id_.to_bytes(4, "big")
