"""Schemas of others: a registry's ids, newer and older versions, types that we do not know."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from schemas import codec
from schemas.codec import Codec
from schemas.envelope import Malformed
from schemas.registry import EVENT, FileRegistry, Schema, Snapshot, assign_ids, packaged
from tests.unit.schemas_samples import EVENTS, NOW_MS
from tests.unit.schemas_wires import (
    PAGE,
    decoded,
    frame,
    page,
    refused,
)
from tests.unit.test_schemas_registry import copied


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

    found = mine.decode(written(newer, {"envelope": ENVELOPE, "url": "/", "scroll": 5}, frame(77)), ())

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

    found = mine.decode(written(older, record, frame(77)), ())

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
    value = written(other, {"envelope": ENVELOPE} | ({"url": 5} if '"url"' in other else {}), frame(77))

    with pytest.raises(Malformed, match="bad_avro"):
        mine.decode(value, ())


def test_an_event_of_a_type_unknown_to_us_is_read_by_its_own_schema() -> None:
    def renamed(text: dict[str, Any]) -> None:
        text["name"] = "FaxReceived"
        del text["leadstream.type"]

    fax = foreign(EVENTS["page_viewed"], renamed)
    mine = with_registry({77: fax})

    found = mine.decode(written(fax, {"envelope": ENVELOPE, "url": "/"}, frame(77)), ())

    assert (found.type, found.known, found.payload) == ("fax_received", False, {"url": "/"})


@pytest.mark.parametrize(
    "text", ["", "5", '"string"', '{"type": "record", "name": "R", "fields": []}', '{"type": 1}']
)
def test_schemas_that_are_no_events_are_passed_over(text: str) -> None:
    mine = with_registry({77: text})

    with pytest.raises(Malformed, match="unknown_schema_id"):
        mine.decode(frame(77) + b"\x00", ())


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
