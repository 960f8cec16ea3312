"""The generated readers against fastavro, and fastavro against Avro's own library, on every schema."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

import avro.io
import avro.schema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import avro_io
from schemas.decoder import BAD_BYTES, BytesError, UnsupportedError, reader, without_nulls
from schemas.registry import Schema, packaged
from tests.unit.schemas_samples import WRITTEN
from tests.unit.schemas_samples import avro as records

by_schema = pytest.mark.parametrize("schema", WRITTEN, ids=lambda s: s.key)


@cache
def reference(schema: Schema) -> Any:
    return avro.schema.parse(json.dumps(schema.lean))


def written_by_avro(schema: Schema, record: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    avro.io.DatumWriter(reference(schema)).write(record, avro.io.BinaryEncoder(stream))
    return stream.getvalue()


def read_by_avro(schema: Schema, data: bytes) -> Any:
    return avro.io.DatumReader(reference(schema)).read(avro.io.BinaryDecoder(io.BytesIO(data)))


@by_schema
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_fastavro_and_avro_write_the_same_bytes_and_read_the_same_records(
    schema: Schema, data: st.DataObject
) -> None:
    record = data.draw(records(schema.lean))
    ours = avro_io.write(schema.parsed, record, b"")

    assert ours == written_by_avro(schema, record)
    assert read_by_avro(schema, ours) == record
    assert avro_io.read(ours, 0, schema.parsed) == (record, len(ours))


@by_schema
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_generated_reader_reads_what_fastavro_reads_without_nulls(
    schema: Schema, data: st.DataObject
) -> None:
    record = data.draw(records(schema.lean))
    value = avro_io.write(schema.parsed, record, b"frame")

    found, end = reader(schema.lean)(value, 5)

    assert end == len(value)
    assert found == without_nulls(schema.lean, record)


@by_schema
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_generated_reader_refuses_a_record_that_ends_too_early(schema: Schema, data: st.DataObject) -> None:
    value = avro_io.write(schema.parsed, data.draw(records(schema.lean)), b"")
    cut = data.draw(st.integers(0, len(value) - 1))

    with pytest.raises(BAD_BYTES):
        reader(schema.lean)(value[:cut], 0)


def test_generated_reader_reads_blocks_of_negative_count_and_long_numbers() -> None:
    schema: dict[str, Any] = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "items", "type": {"type": "array", "items": "long"}}],
    }
    blocks = io.BytesIO()
    encoder = avro.io.BinaryEncoder(blocks)
    for number in (
        -2,
        11,
        -(2**63),
        2**63 - 1,
        1,
        7,
        0,
    ):  # count -2, 11 bytes, two items; count 1, one item; end
        encoder.write_long(number)

    assert reader(schema)(blocks.getvalue(), 0) == (
        {"items": [-(2**63), 2**63 - 1, 7]},
        len(blocks.getvalue()),
    )


@pytest.mark.parametrize(
    "value",
    [
        b"\x01",  # a negative length
        b"\xfe\xff\xff\xff\x0f",  # a length far behind the end
        b"\x80" * 12,  # a number without end
        b"\x04\xff\xfe",  # no UTF-8
        b"",
    ],
)
def test_generated_reader_refuses_broken_text(value: bytes) -> None:
    read = reader({"type": "record", "name": "R", "fields": [{"name": "text", "type": "string"}]})

    with pytest.raises((ValueError, IndexError)):
        read(value, 0)


def test_generated_reader_does_not_believe_a_huge_count() -> None:
    nulls = {"type": "array", "items": "null"}
    read = reader({"type": "record", "name": "R", "fields": [{"name": "none", "type": nulls}]})

    with pytest.raises(BytesError, match="count"):
        read(b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f\x00", 0)


def test_no_reader_is_generated_for_a_record_that_contains_itself() -> None:
    node = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}

    with pytest.raises(UnsupportedError, match="contains itself"):
        reader(node)


def test_published_texts_say_that_times_are_times() -> None:
    schema = packaged().latest("campaign_renamed")
    envelope = {"occurred_at": 1_795_341_600_000, "source_system": "crm", "backfill": False}
    value = avro_io.write(schema.parsed, {"envelope": envelope, "old": "a", "new": "b"}, b"")

    read = avro.io.DatumReader(avro.schema.parse(schema.text)).read(avro.io.BinaryDecoder(io.BytesIO(value)))

    assert isinstance(read, dict)
    assert read["envelope"]["occurred_at"] == datetime(2026, 11, 22, 10, tzinfo=UTC)
