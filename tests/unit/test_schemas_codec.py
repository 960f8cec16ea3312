"""The codec: whatever way an event travels it is the same event, and outputs come back as they were written."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec
from schemas.envelope import Envelope, Malformed
from tests.unit.schemas_samples import EVENTS, NOW_MS, OUTPUTS, avro, event, payloads
from tests.unit.schemas_wires import (
    PAGE,
    attributes,
    decoded,
    frame,
    page,
    refused_wire,
)


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
        (frame(1), "unknown_schema_id"),
        (frame(OUTPUTS["sla"].id) + b"\x01", "bad_avro"),
        (frame(OUTPUTS["sla"].id), "bad_avro"),
    ],
)
def test_bytes_that_are_no_output_are_refused(value: bytes, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        codec.decode_output(value)
    assert caught.value.code == code
