"""Bad input: what is wrong with an event is told by field, finding and remedy, by whatever way it came."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec
from tests.unit.schemas_samples import EVENTS, NOW_MS, OUTPUTS, event, payloads
from tests.unit.schemas_wires import (
    PAGE,
    decoded,
    frame,
    page,
    refused,
    refused_wire,
    tolerated,
)


def spend(first: str, last: str) -> dict[str, Any]:
    payload = {
        "channel": "social", "period_start": first, "period_end": last, "amount": 1000, "currency": "EUR",
        "kind": "media", "team": "marketing",
    }  # fmt: skip
    return event("spend_recorded", payload)


@pytest.mark.parametrize(
    ("wire", "code", "words"),
    [
        (page(type=...), "missing_field", ["type"]),
        (page(type=5), "bad_field", ["type", "5"]),
        (page(type="x" * 200), "bad_field", ["type", "128"]),
        (page(occurred_at=...), "missing_field", ["occurred_at"]),
        (page(occurred_at=None), "bad_time", ["occurred_at", "null"]),
        (page(occurred_at="yesterday"), "bad_time", ["occurred_at", "yesterday", "ISO 8601"]),
        (page(occurred_at="2026-11-22" + " " * 40 + "x"), "bad_time", ["occurred_at"]),
        (page(occurred_at="0001-01-01T00:00:00+23:59"), "too_early", ["occurred_at"]),
        (page(occurred_at=1.5), "bad_time", ["occurred_at"]),
        (page(occurred_at=True), "bad_time", ["occurred_at"]),
        (page(occurred_at=1_763_800_000), "too_early", ["occurred_at", "seconds"]),
        (page(occurred_at="1999-12-31T23:59:59Z"), "too_early", ["occurred_at"]),
        (page(occurred_at=NOW_MS * 1000), "bad_time", ["occurred_at", "micro"]),
        (page(occurred_at=10**400), "bad_time", ["occurred_at", "bits"]),
        (page(observed_at="noon"), "bad_time", ["observed_at", "noon"]),
        (page(source_system=...), "missing_field", ["source_system"]),
        (page(source_system=["web"]), "bad_field", ["source_system"]),
        (page(source_event_id=7), "bad_field", ["source_event_id", "7"]),
        (page(event_id=""), "bad_field", ["event_id"]),
        (page(causation_id=[]), "bad_field", ["causation_id"]),
        (page(source_seq="1"), "bad_field", ["source_seq"]),
        (page(backfill="yes"), "bad_field", ["backfill", "yes"]),
        (page(actor="me"), "bad_field", ["actor"]),
        (page(actor={"id": "owner-1"}), "missing_field", ["actor.type"]),
        (page(actor={"type": "robot"}), "bad_field", ["actor.type", "robot"]),
        (page(actor={"type": "human", "id": "a@b.example"}), "bad_field", ["actor.id"]),
        (page(subject=...), "bad_subject", ["subject", "lead_id"]),
        (page(subject="lead-1"), "bad_subject", ["subject", "lead-1"]),
        (page(subject={}), "bad_subject", ["subject"]),
        (page(subject={"lead_id": ""}), "bad_subject", ["lead_id"]),
        (page(subject={"lead_id": "  "}), "bad_subject", ["lead_id"]),
        (page(subject={"lead_id": 5}), "bad_subject", ["lead_id", "5"]),
        (page(subject={"lead_id": "a@b.example"}), "bad_subject", ["lead_id", "a@b.example", "opaque"]),
        (page(subject={"lead_id": "x" * 600}), "bad_subject", ["lead_id", "512"]),
        (page(subject={"deal_id": "deal-1"}), "bad_subject", ["lead_id"]),
        (event("deleted", {}) | {"subject": {"lead_id": "lead-1"}}, "bad_subject", ["deal_id"]),
        (page(payload=[]), "bad_field", ["payload"]),
        (page(payload={}), "missing_field", ["payload.url"]),
        (page(payload={"url": None}), "missing_field", ["payload.url"]),
        (page(payload={"url": " "}), "missing_field", ["payload.url"]),
        (page(payload={"url": 5}), "bad_field", ["payload.url", "5"]),
        (page(payload={"url": "/", "utm": {"a": 1}}), "bad_field", ["payload.utm.a", "1"]),
        (page(payload={"url": "/", "utm": []}), "bad_field", ["payload.utm"]),
        (page(payload={"url": "/", "other": 2**64}), "bad_field", ["payload.other"]),
        (event("form_submitted", {"form_id": "f", "intent": "buy"}), "bad_field", ["payload.intent", "buy", "hand_raise"]),
        (event("attributes_changed", {"fields": {"a": {"b": 1}}}), "bad_field", ["payload.fields.a"]),
        (event("attributes_changed", {"fields": {"a": 2**63}}), "bad_field", ["payload.fields.a"]),
        (event("survey_answered", {"survey_id": "s", "kind": "nps", "score": 9.5}), "bad_field", ["payload.score"]),
        (event("consent_changed", {"purpose": "marketing", "granted": 1}), "bad_field", ["payload.granted"]),
        (event("won", {"amount": -5, "currency": "EUR"}), "bad_field", ["payload.amount", "-5", "positive"]),
        (event("won", {"amount": 10.5, "currency": "EUR"}), "bad_field", ["payload.amount", "10.5", "minor"]),
        (event("won", {"amount": 2**63, "currency": "EUR"}), "bad_field", ["payload.amount"]),
        (event("won", {"amount": 2**63 - 1, "currency": "EUR"}), "bad_field", ["payload.amount", "at most 1000000000000000"]),
        (event("won", {"amount": 5, "currency": "EUR", "closed_at": 1_772_000_000}), "bad_field", ["payload.closed_at", "not seconds"]),
        (event("won", {"amount": 5, "currency": "eur"}), "bad_field", ["payload.currency", "eur", "EUR"]),
        (event("close_date_changed", {"date": "22.11.2026"}), "bad_field", ["payload.date", "22.11.2026"]),
        (spend("0026-03-01", "2026-03-31"), "bad_field", ["payload.period_start", "0026-03-01", "2000"]),
        (spend("2026-03-01", "2206-03-31"), "bad_field", ["payload.period_end", "2206-03-31", "ten years"]),
        (event("lead_linked", {"lead_id": "a@b.example"}), "bad_subject", ["payload.lead_id"]),
        (event("lead_linked", {"lead_id": "lead-1", "weight": 1.5}), "bad_field", ["payload.weight", "1.5"]),
        (event("rejected", {}), "missing_field", ["payload.reason_code"]),
        (event("rejected", {"reason_code": ""}), "missing_field", ["payload.reason_code"]),
        (event("rejected", {"reason_code": "other"}), "missing_field", ["payload.notes"]),
        (event("rejected", {"reason_code": "other", "notes": " "}), "missing_field", ["payload.notes"]),
        (
            event("opened", {"amount": 1, "currency": "EUR", "pipeline": "p", "stage": "s", "leads": [{"weight": 1}]}),
            "missing_field",
            ["payload.leads[0].lead_id"],
        ),
        (
            event("contract_signed", {"contract_id": "k", "starts": "2026-02-01", "ends": "2026-01-01", "amount": 1, "currency": "EUR", "notice_days": 1}),
            "bad_field",
            ["payload.ends", "starts"],
        ),
        (
            event("target_set", {"figure": "mql", "period_start": "2026-01-01", "period_end": "2026-01-31", "value": 5}),
            "missing_field",
            ["payload.team", "owner"],
        ),
        (
            event("fx_rate_set", {"base": "EUR", "quote": "USD", "date": "2026-01-01", "rate": 1.1}),
            "bad_field",
            ["payload.rate", "1.1", "text"],
        ),
    ],
)  # fmt: skip
def test_bad_events_are_refused_with_field_finding_and_remedy(
    wire: dict[str, Any], code: str, words: list[str]
) -> None:
    error = refused_wire(wire)

    assert error.code == code
    for word in words:
        assert word in error.detail
    assert len(error.detail) < 400


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "null_value"),
        (b"", "bad_json"),
        (b"{", "bad_json"),
        (b'{"type": NaN}', "bad_json"),
        (b'{"type": 1e999}', "bad_json"),
        (b"[" * 200_000, "bad_json"),
        (b'{"a":' * 200_000 + b"1" + b"}" * 200_000, "bad_json"),
        (json.dumps(page(payload=PAGE | {"x": json.loads("[" * 100 + "]" * 100)})).encode(), "bad_json"),
        (b'{"type": "\xff"}', "not_utf8"),
        (json.dumps(page()).encode("utf-16"), "not_utf8"),
        (b"[]", "not_an_event"),
        (b"5", "not_an_event"),
        (b'"page_viewed"', "not_an_event"),
        (b'{"specversion": "0.3"}', "not_an_event"),
        (b'{"specversion": "1.0", "data": [1]}', "not_an_event"),
        (b'{"specversion": "1.0", "data": {}}', "missing_field"),
        (b'{"specversion": "1.0", "data_base64": "?"}', "bad_field"),
        (b"\x00\x00", "bad_avro"),
        (b"\x00\xff\xff\xff\xff\x00", "unknown_schema_id"),
        (codec.encode_event(page())[:-3], "bad_avro"),
        (codec.encode_event(page()) + b"\x00", "bad_avro"),
        (codec.encode_event(page()).replace(b"crm", b"\xff\xfe\xfd"), "not_utf8"),
        (b"\x01" + bytes(16) + b"\x00", "unknown_schema_id"),
    ],
)
def test_bytes_that_are_no_event_are_refused(value: bytes | None, code: str) -> None:
    error = refused(value)

    assert error.code == code
    assert len(error.detail) < 400


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"occurred_at": 0}, "too_early"),
        ({"occurred_at": -(2**63)}, "bad_time"),
        ({"source_system": ""}, "missing_field"),
        ({"subject": None}, "bad_subject"),
        ({"subject": {"lead_id": "a@b.example"}}, "bad_subject"),
        ({"actor": {"type": "robot"}}, "bad_field"),
    ],
)
def test_avro_is_judged_as_json_is(changes: dict[str, Any], code: str) -> None:
    schema = EVENTS["page_viewed"]
    wire = page()
    del wire["type"]
    record = {"envelope": wire | changes, **wire.pop("payload")}

    assert refused(codec.avro_io.write(schema.parsed, _known(record), frame(schema.id))).code == code


def _known(record: dict[str, Any]) -> dict[str, Any]:
    record["envelope"].pop("payload", None)
    return record


@pytest.mark.parametrize(
    ("name", "payload", "code"),
    [
        ("won", {"amount": -1, "currency": "EUR"}, "bad_field"),
        ("won", {"amount": 1, "currency": "euro"}, "bad_field"),
        ("won", {"amount": 2**63 - 1, "currency": "EUR"}, "bad_field"),
        ("won", {"amount": 1, "currency": "EUR", "closed_at": 1_772_000_000}, "bad_field"),
        ("rejected", {"reason_code": "other"}, "missing_field"),
        ("touched", {"channel": "phone", "kind": "shout"}, "bad_field"),
        ("lead_linked", {"lead_id": "a@b.example"}, "bad_subject"),
        ("lead_linked", {"lead_id": "lead-1", "weight": float("nan")}, "bad_field"),
        ("attributes_changed", {"fields": {"a": float("inf")}}, "bad_field"),
        ("recycled", {"until": 2**62}, "bad_field"),
    ],
)
def test_avro_payloads_are_judged_as_json_is(name: str, payload: dict[str, Any], code: str) -> None:
    schema = EVENTS[name]
    wire = event(name, {})
    envelope = {field: value for field, value in wire.items() if field not in ("type", "payload")}
    value = codec.avro_io.write(schema.parsed, {"envelope": envelope, **payload}, frame(schema.id))

    assert refused(value).code == code


def test_an_output_on_an_input_topic_is_no_event() -> None:
    error = refused(frame(OUTPUTS["handoff"].id))

    assert error.code == "not_an_event"
    assert "handoff" in error.detail


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.builds(lambda id_, rest: frame(id_) + rest, st.integers(0, 90), st.binary(max_size=60)),
        st.builds(lambda at, byte: _spoilt(at, byte), st.integers(0, 200), st.integers(0, 255)),
    ),
    st.lists(st.tuples(st.sampled_from(["ce_type", "ce_id", "ce_subject", "content-type", "__value_schema_id"]), st.binary(max_size=20)), max_size=3),
)  # fmt: skip
def test_random_bytes_are_an_event_or_malformed(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    tolerated(lambda: codec.decode(value, headers, key=value))


def _spoilt(at: int, byte: int) -> bytes:
    value = bytearray(
        codec.encode_event(
            event("form_submitted", {"form_id": "f", "intent": "content", "fields": {"a": 1.5}})
        )
    )
    value[at % len(value)] = byte
    return bytes(value)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(EVENTS)),
    st.sampled_from(["type", "occurred_at", "subject", "actor", "source_seq", "backfill", "payload", "specversion", "data"]),
    json_values,
    st.data(),
)  # fmt: skip
def test_any_json_in_any_place_is_an_event_or_malformed(
    name: str, field: str, value: Any, data: st.DataObject
) -> None:
    schema = EVENTS[name]
    wire = event(name, {"lead_id": "l", "winner": "l"} | data.draw(payloads(schema)))
    fields = [f["name"] for f in schema.resolved["fields"][1:]]
    if fields and data.draw(st.booleans()):
        wire["payload"][data.draw(st.sampled_from(fields))] = value
    else:
        wire[field] = value
    found = tolerated(lambda: decoded(wire))
    if found is not None:
        assert codec.decode(codec.encode_envelope(found), ()).payload == found.payload
