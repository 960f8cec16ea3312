"""CloudEvents: attributes in headers or around the event, and what they mean to ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas import codec
from tests.unit.schemas_samples import NOW_MS, event
from tests.unit.schemas_wires import (
    PAGE,
    attributes,
    decoded,
    page,
    refused,
)


def headers_of(**attributes_: str) -> list[tuple[str, bytes]]:
    said = {
        "type": "com.acme.page_viewed",
        "source": "/web",
        "id": "1",
        "time": "2026-11-22T10:00:00Z",
    } | attributes_
    return [(f"ce_{name}", value.encode()) for name, value in said.items()]


@pytest.mark.parametrize(
    ("more", "key", "expected"),
    [
        ({"subject": "lead/lead/1"}, None, ("lead", "lead/1")),
        ({"subject": "anonymous/a-1"}, b"k", ("anonymous", "a-1")),
        ({"leadid": "l-1"}, b"k", ("lead", "l-1")),
        ({"anonymousid": "a-1", "leadid": "l-1"}, None, ("lead", "l-1")),
        ({}, b"k-1", ("lead", "k-1")),
    ],
)
def test_cloudevents_name_the_subject(
    more: dict[str, str], key: bytes | None, expected: tuple[str, str]
) -> None:
    found = decoded(PAGE, headers_of(**more), key=key)

    assert (found.subject_kind, found.subject_id) == expected
    assert (found.source_system, found.source_event_id, found.occurred_at) == ("/web", "1", NOW_MS)


@pytest.mark.parametrize(("type_", "expected"), [("a.b.page_viewed", True), ("page_viewed", True), ("a.page_viewed.v1", True), ("a.b", False)])  # fmt: skip
def test_cloudevents_types_lose_their_prefix(type_: str, expected: bool) -> None:
    assert decoded(PAGE, headers_of(type=type_, subject="lead/1")).known is expected


@pytest.mark.parametrize(
    ("more", "key", "code"),
    [
        ({"subject": "somebody"}, None, "bad_subject"),
        ({"subject": "lead/a@b.example"}, None, "bad_subject"),
        ({}, None, "bad_subject"),
        ({}, b"\xff", "bad_subject"),
        ({"subject": "lead/1", "time": "noon"}, None, "bad_time"),
        ({"subject": "lead/1", "specversion": "2.0"}, None, "not_an_event"),
    ],
)
def test_bad_cloudevents_are_refused(more: dict[str, str], key: bytes | None, code: str) -> None:
    assert refused(json.dumps(PAGE).encode(), headers_of(**more), key=key).code == code


def test_a_record_key_is_no_subject_of_plain_json() -> None:
    assert refused(json.dumps(page(subject=...)).encode(), (), key=b"lead-1").code == "bad_subject"


def test_a_whole_event_wins_and_attributes_fill_its_gaps() -> None:
    wire = page(source_event_id=..., subject=...)

    found = decoded(
        wire, headers_of(id="9", source="/other", subject="lead/lead-9", time="2020-01-01T00:00:00Z")
    )

    assert (found.source_event_id, found.source_system, found.subject_id) == ("9", "crm", "lead-9")
    assert found.occurred_at == NOW_MS


@pytest.mark.parametrize("write", [lambda w: json.dumps(w).encode(), codec.encode_event])
def test_an_event_with_an_identity_takes_none_from_the_attributes(write: Any) -> None:
    value = write(page(source_event_id=..., event_id="x"))

    found = codec.decode(value, headers_of(id="9", subject="lead/lead-9"))

    assert (found.event_id, found.source_event_id) == ("x", None)


def test_framed_events_take_a_missing_identity_from_the_headers() -> None:
    value = codec.encode_event(page(source_event_id=...))

    assert codec.decode(value, ()).source_event_id is None
    assert codec.decode(value, headers_of(id="9")).source_event_id == "9"
    assert codec.decode(value, [("content-type", b"application/avro")]).source_event_id is None


def test_structured_mode_is_known_by_content_type_and_by_specversion() -> None:
    said = attributes(page()) | {"data": PAGE, "datacontenttype": "application/json"}
    header = [("content-type", b"application/cloudevents+json; charset=utf-8")]

    assert decoded(said, header) == decoded(said) == decoded(page())
    assert refused(b"[]", [("content-type", b"application/cloudevents-batch+json")]).code == "not_an_event"


def test_our_headers_are_read_by_us() -> None:
    headers = codec.ce_headers("page_viewed", "crm", "e-1", NOW_MS, "lead/lead-1")

    assert ("ce_time", b"2026-11-22T10:00:00.000Z") in headers
    assert decoded(PAGE, headers) == decoded(page())


def test_market_events_need_no_subject_and_may_have_any() -> None:
    wire = event("audience_measured", {"network": "n", "followers": 3})

    assert (
        decoded(wire["payload"], headers_of(type="audience_measured", subject="whatever")).subject_kind == ""
    )
