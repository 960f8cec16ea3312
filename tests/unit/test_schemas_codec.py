"""The codec: whatever way an event travels it is the same event, and what is wrong is told well."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec
from schemas.codec import Codec
from schemas.envelope import Envelope, Malformed
from schemas.registry import EVENT, FileRegistry, Schema, Snapshot, assign_ids, packaged
from tests.unit.schemas_samples import EVENTS, NOW_MS, OUTPUTS, avro, event, payloads
from tests.unit.test_schemas_registry import copied

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


# -- one event, many ways


@pytest.mark.parametrize("name", EVENTS)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_every_event_is_the_same_by_every_way(name: str, data: st.DataObject) -> None:
    wire = event(name, data.draw(payloads(EVENTS[name])))
    said = attributes(wire)
    binary = [(f"ce_{attribute}", value.encode()) for attribute, value in said.items()]
    framed = codec.encode_event(wire)

    plain = decoded(wire)

    assert framed[0] == 0
    assert plain.type == name
    assert plain.known
    assert plain.unknown_fields == ()
    assert plain.occurred_at == NOW_MS
    assert codec.decode(framed, ()) == plain
    assert codec.decode(framed, binary) == plain
    assert decoded(said | {"data": wire["payload"]}) == plain
    assert decoded(said | {"data": wire}) == plain
    assert decoded(said | {"data_base64": base64.b64encode(framed).decode()}) == plain
    assert decoded(wire["payload"], binary) == plain
    assert decoded(wire, binary) == plain
    assert decoded(codec.to_wire(plain)) == plain
    assert codec.encode_envelope(plain) == framed


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_needs_its_required_fields(name: str) -> None:
    needed = [
        f["name"] for f in EVENTS[name].resolved["fields"] if "default" not in f and f["name"] != "envelope"
    ]
    if not needed:
        assert decoded(event(name, {}) | {"payload": None}).payload == {}
        return
    wire = event(name, {"lead_id": "lead-1", "winner": "lead-1"}) | {"payload": {}}

    error = refused_wire(wire)

    assert error.code == "missing_field"
    assert f"payload.{needed[0]}" in error.detail


def test_a_full_envelope_arrives_whole() -> None:
    wire = page(
        event_id="x", source_seq=7, observed_at=NOW_MS + 5, causation_id="c", backfill=True,
        actor={"type": "human", "id": "owner-1"},
    )  # fmt: skip

    plain = decoded(wire)

    assert plain == codec.decode(codec.encode_event(wire), ())
    assert plain == Envelope(
        type="page_viewed", occurred_at=NOW_MS, subject_kind="lead", subject_id="lead-1", source_system="crm",
        source_event_id="e-1", event_id="x", source_seq=7, observed_at=NOW_MS + 5, actor_type="human",
        actor_id="owner-1", causation_id="c", backfill=True, payload=PAGE,
    )  # fmt: skip


def test_extension_attributes_carry_the_rest_of_the_envelope() -> None:
    wire = page(source_seq=7, observed_at=NOW_MS + 5, causation_id="c", backfill=True,
                actor={"type": "human", "id": "owner-1"})  # fmt: skip
    more = {"sourceseq": "7", "observedat": str(NOW_MS + 5), "causationid": "c", "backfill": "true",
            "actortype": "human", "actorid": "owner-1"}  # fmt: skip
    headers = [(f"ce_{name}", value.encode()) for name, value in (attributes(wire) | more).items()]

    assert decoded(PAGE, headers) == decoded(wire)


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ({"lead_id": "l", "anonymous_id": "a", "deal_id": "d"}, ("lead", "l")),
        ({"anonymous_id": "a", "account_id": "c"}, ("anonymous", "a")),
        ({"lead_id": None, "anonymous_id": "a"}, ("anonymous", "a")),
    ],
)
def test_of_several_ids_the_family_takes_its_own(subject: dict[str, Any], expected: tuple[str, str]) -> None:
    found = decoded(page(subject=subject))

    assert (found.subject_kind, found.subject_id) == expected


def test_deal_events_take_the_deal_and_customer_events_the_account() -> None:
    every = {"lead_id": "l", "deal_id": "d", "account_id": "c"}

    assert decoded(event("deleted", {}) | {"subject": every}).subject_id == "d"
    assert decoded(event("churned", {}) | {"subject": every}).subject_id == "c"


@pytest.mark.parametrize("write", [lambda w: json.dumps(w).encode(), codec.encode_event])
def test_reopened_with_a_deal_is_the_deals(write: Any) -> None:
    wire = event("reopened", {}) | {"subject": {"deal_id": "deal-1"}}

    assert codec.decode(write(wire), ()).type == "deal_reopened"
    assert codec.decode(write(wire), ()).subject_kind == "deal"
    assert codec.decode(write(event("reopened", {})), ()).type == "reopened"


def test_identified_and_merged_are_about_the_lead_that_their_payload_names() -> None:
    identified = {"anonymous_id": "a-1", "lead_id": "lead-7"}

    assert (
        decoded(event("identified", identified) | {"subject": {"anonymous_id": "a-1"}}).subject_id == "lead-7"
    )
    assert (
        decoded(event("merged", {"loser": "lead-2", "winner": "lead-7"}) | {"subject": None}).subject_id
        == "lead-7"
    )
    error = refused_wire(
        event("merged", {"loser": "lead-2", "winner": "lead-7"}) | {"subject": {"lead_id": "lead-2"}}
    )
    assert error.code == "bad_subject"


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-22T10:00:00Z",
        "2026-11-22T10:00:00",
        "2026-11-22T11:00:00+01:00",
        "2026-11-22t10:00:00.000z",
        NOW_MS,
    ],
)
def test_times_may_be_iso_or_ms_and_without_zone_are_utc(time: object) -> None:
    assert decoded(page(occurred_at=time)).occurred_at == NOW_MS
    assert decoded(event("recycled", {"until": time})).payload["until"] == NOW_MS


def test_a_day_is_its_first_instant() -> None:
    assert decoded(page(occurred_at="2026-11-22")).occurred_at == NOW_MS - 10 * 3_600_000


@pytest.mark.parametrize("number", [-(2**63), 2**63 - 1])
def test_the_largest_and_smallest_numbers_of_avro_are_taken(number: int) -> None:
    wire = event("attributes_changed", {"fields": {"n": number}}) | {"source_seq": number}

    assert codec.decode(codec.encode_event(wire), ()) == decoded(wire)
    assert decoded(wire).payload["fields"]["n"] == decoded(wire).source_seq == number


def test_nulls_and_defaults_are_settled_alike() -> None:
    deal = {
        "amount": 1,
        "currency": "EUR",
        "pipeline": "p",
        "stage": "s",
        "probability": 1,
        "account_id": None,
    }

    assert decoded(event("opened", deal)).payload == {
        "amount": 1, "currency": "EUR", "pipeline": "p", "stage": "s", "probability": 1.0, "leads": [],
    }  # fmt: skip
    assert decoded(event("attributes_changed", {"fields": {"budget": None}})).payload == {
        "fields": {"budget": None}
    }


# -- what nobody knows


def test_an_unknown_type_is_kept() -> None:
    found = decoded(page(type="fax_received", payload={"pages": [1, {"a": None}]}))

    assert not found.known
    assert found.payload == {"pages": [1, {"a": None}]}
    assert (found.subject_kind, found.subject_id) == ("lead", "lead-1")
    assert decoded(page(type="fax_received", subject=...)).subject_kind == ""


def test_unknown_fields_are_kept_and_named() -> None:
    wire = page(payload=PAGE | {"scroll": {"deep": [1, 2]}}, colour="red")

    found = decoded(wire)

    assert found.payload["scroll"] == {"deep": [1, 2]}
    assert found.unknown_fields == ("scroll", "envelope.colour")


@pytest.mark.parametrize(
    "wire", [page(type="fax_received"), page(payload=PAGE | {"scroll": 1}), page(colour="red")]
)
def test_what_no_schema_holds_is_written_as_json_and_not_cut(wire: dict[str, Any]) -> None:
    value = codec.encode_event(wire)

    assert value.startswith(b"{")
    assert codec.decode(value, ()) == decoded(wire)


# -- bad input


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
        (event("won", {"amount": 5, "currency": "eur"}), "bad_field", ["payload.currency", "eur", "EUR"]),
        (event("close_date_changed", {"date": "22.11.2026"}), "bad_field", ["payload.date", "22.11.2026"]),
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

    assert refused(codec.avro_io.write(schema.parsed, _known(record), _frame(schema.id))).code == code


def _known(record: dict[str, Any]) -> dict[str, Any]:
    record["envelope"].pop("payload", None)
    return record


def _frame(id_: int) -> bytes:
    return b"\x00" + id_.to_bytes(4, "big")


@pytest.mark.parametrize(
    ("name", "payload", "code"),
    [
        ("won", {"amount": -1, "currency": "EUR"}, "bad_field"),
        ("won", {"amount": 1, "currency": "euro"}, "bad_field"),
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
    value = codec.avro_io.write(schema.parsed, {"envelope": envelope, **payload}, _frame(schema.id))

    assert refused(value).code == code


def test_an_output_on_an_input_topic_is_no_event() -> None:
    error = refused(_frame(OUTPUTS["handoff"].id))

    assert error.code == "not_an_event"
    assert "handoff" in error.detail


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.builds(lambda id_, rest: _frame(id_) + rest, st.integers(0, 90), st.binary(max_size=60)),
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


# -- CloudEvents


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


# -- outputs


@pytest.mark.parametrize("name", OUTPUTS)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_outputs_come_back_as_they_were_written(name: str, data: st.DataObject) -> None:
    record = data.draw(avro(OUTPUTS[name].lean))

    assert codec.decode_output(codec.encode(name, record)) == (name, record)


def test_outputs_with_a_wrong_or_missing_field_are_not_written() -> None:
    record = {"output_id": "o", "sequence": 1, "revision": 1, "op": "new", "occurred_at": 1, "as_of": 1,
              "definition": "d@1", "lead_id": "l", "kind": "started", "reason": "r", "journey": 1}  # fmt: skip
    assert codec.encode("nurture", record)
    for wrong in (
        record | {"op": "maybe"},
        record | {"colour": "red"},
        {k: v for k, v in record.items() if k != "as_of"},
    ):
        with pytest.raises((ValueError, TypeError)):
            codec.encode("nurture", wrong)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"", "bad_avro"),
        (b"{}", "bad_avro"),
        (_frame(1), "unknown_schema_id"),
        (_frame(OUTPUTS["sla"].id) + b"\x01", "bad_avro"),
        (_frame(OUTPUTS["sla"].id), "bad_avro"),
    ],
)
def test_bytes_that_are_no_output_are_refused(value: bytes, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        codec.decode_output(value)
    assert caught.value.code == code


# -- schemas of others


def foreign(schema: Schema, change: Any) -> str:
    text = json.loads(schema.text)
    change(text)
    return json.dumps(text)


def with_registry(texts: dict[int, str], guids: dict[str, str] | None = None) -> Codec:
    mine = Codec(packaged())
    own = {s.key: s.id + 1000 for s in packaged().written()}
    mine.use(Snapshot(texts | {own[s.key]: s.text for s in packaged().written()}, guids or {}, own))
    return mine


def written(text: str, record: dict[str, Any], prefix: bytes) -> bytes:
    parsed = codec.avro_io.parse(json.loads(text))
    return codec.avro_io.write(parsed, record, prefix)


ENVELOPE = {
    "occurred_at": NOW_MS,
    "source_system": "crm",
    "source_event_id": "e-1",
    "subject": {"lead_id": "lead-1"},
}


def test_with_a_registry_its_ids_are_written_and_read_and_ours_no_more() -> None:
    mine = with_registry({})
    value = mine.encode_event(page())

    assert int.from_bytes(value[1:5], "big") == EVENTS["page_viewed"].id + 1000
    assert mine.decode(value, ()) == decoded(page())
    with pytest.raises(Malformed, match="unknown_schema_id"):
        mine.decode(codec.encode_event(page()), ())
    assert mine.decode_output(mine.encode("nurture", NURTURE)) == ("nurture", NURTURE | {"merged_into": None})


NURTURE = {"output_id": "o", "sequence": 1, "revision": 1, "op": "new", "occurred_at": 1, "as_of": 1,
           "definition": "d@1", "lead_id": "l", "kind": "started", "reason": "r", "journey": 1}  # fmt: skip


def test_a_newer_version_of_a_publisher_is_read_and_its_new_fields_are_kept_and_named() -> None:
    newer = foreign(
        EVENTS["page_viewed"],
        lambda t: t["fields"].append({"name": "scroll", "type": ["null", "long"], "default": None}),
    )
    mine = with_registry({77: newer})

    found = mine.decode(written(newer, {"envelope": ENVELOPE, "url": "/", "scroll": 5}, _frame(77)), ())

    assert found.payload == {"url": "/", "scroll": 5}
    assert found.unknown_fields == ("scroll",)
    assert found.known


def test_an_older_version_of_a_publisher_is_read_with_our_defaults() -> None:
    older = foreign(
        EVENTS["opened"],
        lambda t: t.update(fields=[f for f in t["fields"] if f["name"] not in ("leads", "probability")]),
    )
    mine = with_registry({77: older})
    record = {
        "envelope": ENVELOPE | {"subject": {"deal_id": "deal-1"}},
        "amount": 1,
        "currency": "EUR",
        "pipeline": "p",
        "stage": "s",
    }

    found = mine.decode(written(older, record, _frame(77)), ())

    assert found.payload == {"leads": [], "amount": 1, "currency": "EUR", "pipeline": "p", "stage": "s"}
    assert found.unknown_fields == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t["fields"][1].update(type="long"),
        lambda t: t["fields"].pop(1),
    ],
)
def test_a_schema_that_ours_cannot_read_is_bad_avro(change: Any) -> None:
    other = foreign(EVENTS["page_viewed"], change)
    mine = with_registry({77: other})
    value = written(other, {"envelope": ENVELOPE} | ({"url": 5} if '"url"' in other else {}), _frame(77))

    with pytest.raises(Malformed, match="bad_avro"):
        mine.decode(value, ())


def test_an_event_of_a_type_unknown_to_us_is_read_by_its_own_schema() -> None:
    def renamed(text: dict[str, Any]) -> None:
        text["name"] = "FaxReceived"
        del text["leadstream.type"]

    fax = foreign(EVENTS["page_viewed"], renamed)
    mine = with_registry({77: fax})

    found = mine.decode(written(fax, {"envelope": ENVELOPE, "url": "/"}, _frame(77)), ())

    assert (found.type, found.known, found.payload) == ("fax_received", False, {"url": "/"})


@pytest.mark.parametrize(
    "text", ["", "5", '"string"', '{"type": "record", "name": "R", "fields": []}', '{"type": 1}']
)
def test_schemas_that_are_no_events_are_passed_over(text: str) -> None:
    mine = with_registry({77: text})

    with pytest.raises(Malformed, match="unknown_schema_id"):
        mine.decode(_frame(77) + b"\x00", ())


def test_the_schema_id_may_stand_in_a_header() -> None:
    guid = uuid.UUID(int=7)
    mine = with_registry({}, {str(guid): EVENTS["page_viewed"].text})
    framed = mine.encode_event(page())

    assert mine.decode(framed[5:], [("__value_schema_id", b"\x01" + guid.bytes)]) == decoded(page())
    assert mine.decode(framed[5:], [("__value_schema_id", framed[:5])]) == decoded(page())
    assert mine.decode(b"\x01" + guid.bytes + framed[5:], ()) == decoded(page())
    assert refused(framed[5:], [("__value_schema_id", b"\x01" + guid.bytes)]).code == "unknown_schema_id"
    assert refused(framed[5:], [("__value_schema_id", b"what")]).code == "unknown_schema_id"


def test_every_version_of_ours_is_read_as_the_newest(tmp_path: Any) -> None:
    root = copied(tmp_path)
    v1 = json.loads((root / "engagement/page_viewed.v1.avsc").read_text())
    v1["leadstream.version"] = 2
    v1["fields"].append({"name": "scroll", "type": ["null", "long"], "default": None})
    (root / "engagement/page_viewed.v2.avsc").write_text(json.dumps(v1))
    assert assign_ids(root) == ["page_viewed.v2"]
    newer = Codec(FileRegistry(root))

    assert newer.decode(codec.encode_event(page()), ()) == decoded(page())
    assert newer.decode(newer.encode_event(page(payload=PAGE | {"scroll": 3})), ()).payload["scroll"] == 3
    assert all(s.kind == EVENT for s in FileRegistry(root).newest(EVENT).values())


def test_older_outputs_are_read_as_the_newest(tmp_path: Any) -> None:
    root = copied(tmp_path)
    text = json.loads((root / "output/nurture.v2.avsc").read_text()) | {"leadstream.version": 3}
    text["fields"].append({"name": "segment", "type": ["null", "string"], "default": None})
    (root / "output/nurture.v3.avsc").write_text(json.dumps(text))
    assign_ids(root)
    newer = Codec(FileRegistry(root))

    assert newer.decode_output(codec.encode("nurture", NURTURE)) == (
        "nurture",
        NURTURE | {"segment": None, "merged_into": None},
    )
