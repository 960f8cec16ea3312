"""Bytes to events and back.

Read: Confluent framing (0x00 and a 4-byte id before the Avro record, or the schema's GUID in the
header ``__value_schema_id``), plain JSON, CloudEvents (structured JSON, binary mode). Written:
Confluent framing. Whatever is wrong with the input, the answer is Malformed and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from schemas import avro_io, cloudevents
from schemas.cloudevents import ce_headers
from schemas.decoder import BAD_BYTES, Reader, UnsupportedError, reader, resolving
from schemas.envelope import LEAD, Envelope, Malformed
from schemas.fields import SHOWN_CHARS, Shape, bad, missing, plain, shown
from schemas.registry import EVENT, FileRegistry, Schema, Snapshot, packaged, strip
from schemas.wire import WIRE_FIELDS, settled, to_wire

__all__ = [
    "Codec", "ce_headers", "decode", "decode_output", "encode", "encode_envelope", "encode_event", "to_wire",
    "use_registry",
]  # fmt: skip

FRAME = 0
TYPE_CHARS = 128
GUID_FRAME = 1
GUID_BYTES = 16
SCHEMA_ID_HEADER = "__value_schema_id"
Headers = Sequence[tuple[str, bytes]]

_json = msgspec.json.Decoder()


class _Read(NamedTuple):
    """How to read what was written with one id. ``shape`` None: a type that is not known."""

    name: str
    shape: Shape | None
    read: Reader
    unknown: tuple[str, ...] = ()


class Codec:
    """Reads and writes with the ids of the file registry, or of a registry server's snapshot."""

    def __init__(self, registry: FileRegistry) -> None:
        self._registry = registry
        self._latest = registry.newest(EVENT)
        self._shapes = {name: Shape(schema) for name, schema in self._latest.items()}
        self._guids: dict[str, Any] = {}
        self._outputs: dict[int, tuple[Schema, avro_io.Parsed]] = {}
        self._events: dict[int, _Read | Schema] = {}
        self._prefixes: dict[str, bytes] = {}
        for schema in registry.written():
            self._own(schema, schema.id)

    def use(self, snapshot: Snapshot) -> None:
        """Read and write the ids of a registry server from now on, those of the files no more."""
        self._outputs, self._events, self._guids = {}, {}, {}
        for id_, text in snapshot.texts.items():
            read = self._foreign(text)
            if read is not None:
                self._events[id_] = read
        for guid, text in snapshot.guids.items():
            read = self._foreign(text)
            if read is not None:
                self._guids[guid.lower()] = read
        for key, id_ in snapshot.own.items():
            self._own(self._registry.schemas[key], id_)

    # -- events in

    def decode(self, value: bytes | None, headers: Headers, *, key: bytes | None = None) -> Envelope:
        """The event in a record; raises Malformed.

        ``key``, the record key, is the subject's id only in CloudEvents that name no other.
        """
        if value is None:
            raise Malformed(
                "null_value", "value: null; publish the event as the value, or leave the record out"
            )
        if headers:
            for name, id_ in headers:
                if name == SCHEMA_ID_HEADER:
                    return self._by_header(value, bytes(id_), headers, key)
        if value and value[0] == FRAME:
            return self._framed(value, headers, key)
        if value and value[0] == GUID_FRAME and len(value) > GUID_BYTES:
            return self._by_header(value[GUID_BYTES + 1 :], value[: GUID_BYTES + 1], headers, key)
        return self._decode_json(value, headers, key)

    def _framed(self, value: bytes, headers: Headers, key: bytes | None) -> Envelope:
        if len(value) < 5:
            raise Malformed(
                "bad_avro", f"value: {len(value)} bytes; a framed record has a 5-byte prefix: send all of it"
            )
        id_ = int.from_bytes(value[1:5], "big")
        entry = self._events.get(id_)
        if type(entry) is not _Read:
            entry = self._events[id_] = self._prepared(id_, entry)
        return self._avro(entry, value, 5, headers, key)

    def _prepared(self, id_: int, schema: _Read | Schema | None) -> _Read:
        if isinstance(schema, Schema):
            return self._reader(schema)
        if id_ in self._outputs:
            name = self._outputs[id_][0].name
            raise Malformed(
                "not_an_event", f"schema id {id_}: {name} is an output; it does not belong on an input topic"
            )
        raise Malformed(
            "unknown_schema_id",
            f"schema id {id_}: not known here; register the schema and restart, or send plain JSON (ids of "
            "another registry are only known with registry_url set)",
        )

    def _by_header(self, value: bytes, said: bytes, headers: Headers, key: bytes | None) -> Envelope:
        if len(said) == 5 and said[0] == FRAME:
            return self._framed(said + value, headers, key)
        if len(said) != GUID_BYTES + 1 or said[0] != GUID_FRAME:
            raise Malformed(
                "unknown_schema_id", f"{SCHEMA_ID_HEADER}: {said[:20].hex()} is neither an id nor a GUID"
            )
        guid = str(uuid.UUID(bytes=said[1:]))
        entry = self._guids.get(guid)
        if entry is None:
            raise Malformed(
                "unknown_schema_id",
                f"{SCHEMA_ID_HEADER}: schema GUID {guid} is not known here; set registry_url to the publisher's "
                "registry and restart, or let the publisher write the 5-byte prefix",
            )
        return self._avro(entry, value, 0, headers, key)

    def _avro(self, entry: _Read, value: bytes, start: int, headers: Headers, key: bytes | None) -> Envelope:
        try:
            record, end = entry.read(value, start)
        except UnicodeDecodeError as error:
            raise Malformed(
                "not_utf8", f"value: text of {entry.name} is not UTF-8 ({error.reason}); send UTF-8"
            ) from error
        except BAD_BYTES as error:
            reason = f"value: {len(value)} bytes that are no {entry.name} ({shown(str(error))})"
            raise Malformed("bad_avro", f"{reason}; write it with the schema of the id it names") from error
        except RecursionError as error:
            raise Malformed(
                "bad_avro", f"value: {entry.name} is nested too deeply; send flat values"
            ) from error
        if end != len(value):
            raise Malformed(
                "bad_avro",
                f"value: {len(value) - end} bytes left over after {entry.name}; it was written with another schema "
                "than the one of the id it names",
            )
        event = record.pop("envelope")
        if headers and (
            "subject" not in event or ("source_event_id" not in event and "event_id" not in event)
        ):
            self._fill(event, entry.name, headers, key)
        shape = entry.shape
        if shape is not None:
            shape.meaning(record)
        else:
            plain(record, "payload")
        return settled(entry.name, shape, event, record, entry.unknown)

    def _fill(self, event: dict[str, Any], name: str, headers: Headers, key: bytes | None) -> None:
        attrs = cloudevents.attributes(headers)
        if attrs:
            cloudevents.fill(event, attrs)
            self._name_subject(event, name, attrs, key)

    def _name_subject(
        self, event: dict[str, Any], name: Any, attrs: dict[str, Any], key: bytes | None
    ) -> None:
        shape = self._shapes.get(name) if isinstance(name, str) else None
        kind = LEAD if shape is None else shape.subject
        if kind and event.get("subject") is None:
            event["subject"] = cloudevents.subject(attrs, key, kind)

    def _decode_json(self, value: bytes, headers: Headers, key: bytes | None) -> Envelope:
        attrs: dict[str, Any] = {}
        if headers:
            attrs = cloudevents.attributes(headers)
            kind = cloudevents.content_type(headers)
            if kind.startswith(cloudevents.BATCH):
                raise Malformed("not_an_event", "value: a batch of CloudEvents; send one event per record")
            if kind.startswith(cloudevents.STRUCTURED):
                attrs = {}
        found = _parsed(value) if value or not attrs else {}
        if isinstance(found, dict) and "specversion" in found:
            attrs = found
            found = self._data(attrs, key)
            if isinstance(found, Envelope):
                return found
        elif not isinstance(found, dict):
            need = "send one JSON object per event, with type, occurred_at and payload"
            raise bad("value", found, need, "not_an_event")
        elif not attrs:
            return self.from_wire(found)
        event = cloudevents.merged(found, attrs)
        self._name_subject(event, event.get("type"), attrs, key)
        return self.from_wire(event)

    def _data(self, attrs: dict[str, Any], key: bytes | None) -> Any:
        """The data of a structured CloudEvent; an Envelope where it holds framed Avro."""
        coded = attrs.get("data_base64")
        if coded is None:
            return attrs.get("data")
        try:
            data = base64.b64decode(coded, validate=True)
        except (binascii.Error, ValueError, TypeError) as error:
            raise bad("data_base64", coded, "give base64") from error
        if data[:1] == bytes([FRAME]):
            said = [
                (f"ce_{name}", str(value).encode()) for name, value in attrs.items() if isinstance(value, str)
            ]
            return self._framed(data, said, key)
        return _parsed(data)

    def from_wire(self, event: dict[str, Any]) -> Envelope:
        """The event of a decoded wire JSON object; raises Malformed. The object is used up."""
        name = event.get("type")
        if not isinstance(name, str) or not name.strip():
            if name is None or isinstance(name, str):
                raise missing("type", 'name the event, such as "page_viewed"')
            raise bad("type", name, 'give the name as text, such as "page_viewed"')
        if len(name) > TYPE_CHARS:
            raise bad("type", name, f"give a name of at most {TYPE_CHARS} characters")
        payload = event.get("payload")
        if payload is None:
            payload = {}
        elif not isinstance(payload, dict):
            raise bad("payload", payload, "give an object")
        shape = self._shapes.get(name)
        unknown: tuple[str, ...]
        if shape is not None:
            payload, unknown = shape.complete(payload)
        else:
            plain(payload, "payload")
            unknown = ()
        if not event.keys() <= WIRE_FIELDS:
            unknown += tuple(
                sorted(f"envelope.{field[:SHOWN_CHARS]}" for field in event.keys() - WIRE_FIELDS)
            )
        return settled(name, shape, event, payload, unknown)

    # -- events out

    def encode_event(self, event: dict[str, Any]) -> bytes:
        """Framed Avro of a wire JSON object; raises Malformed where it could not be read again.

        An event that no schema holds whole (an unknown type or field) goes as plain JSON, which
        every reader takes as well, rather than being cut.
        """
        try:
            text = msgspec.json.encode(event)
        except (TypeError, ValueError, RecursionError) as error:
            raise Malformed(
                "bad_json", f"event: not JSON ({error}); give text, numbers, lists and objects"
            ) from error
        envelope = self.from_wire(_parsed(text))
        whole = envelope.known and not envelope.unknown_fields
        return self.encode_envelope(envelope) if whole else text

    def encode_envelope(self, event: Envelope) -> bytes:
        """The same for a decoded event, as far as it is kept."""
        if not event.known or event.unknown_fields:
            return msgspec.json.encode(to_wire(event))
        wire = to_wire(event)
        payload = wire.pop("payload")
        del wire["type"]
        schema = self._latest[event.type]
        return avro_io.write(schema.parsed, {"envelope": wire, **payload}, self._prefixes[schema.key])

    # -- outputs

    def encode(self, name: str, record: dict[str, Any]) -> bytes:
        """Framed Avro of an output; times are int ms. Raises ValueError or TypeError if it does not fit."""
        schema = self._registry.latest(name)
        return avro_io.write(schema.parsed, record, self._prefixes[schema.key])

    def decode_output(self, value: bytes) -> tuple[str, dict[str, Any]]:
        """Name and record of an output, times as int ms, nulls included; raises Malformed."""
        if len(value) < 5 or value[0] != FRAME:
            raise Malformed(
                "bad_avro", "value: not framed (0x00 and a schema id); this is no output of leadstream"
            )
        id_ = int.from_bytes(value[1:5], "big")
        if id_ not in self._outputs:
            raise Malformed(
                "unknown_schema_id", f"schema id {id_}: no output has it; set registry_url as the worker does"
            )
        schema, parsed = self._outputs[id_]
        latest = self._registry.latest(schema.name)
        try:
            record, end = avro_io.read(value, 5, parsed, None if latest is schema else latest.parsed)
        except (*BAD_BYTES, RecursionError) as error:
            raise Malformed("bad_avro", f"value: no {schema.name} ({shown(str(error))})") from error
        if end != len(value):
            raise Malformed("bad_avro", f"value: {len(value) - end} bytes left over after {schema.name}")
        return schema.name, record

    # -- ids

    def _own(self, schema: Schema, id_: int) -> None:
        if schema.kind == EVENT:
            self._events[id_] = schema
        else:
            self._outputs[id_] = schema, schema.parsed
        self._prefixes[schema.key] = struct.pack(">bI", FRAME, id_)

    def _reader(self, schema: Schema) -> _Read:
        """How to read one of our versions: the newest as it is, another one as the newest sees it."""
        latest = self._latest[schema.name]
        shape = self._shapes[schema.name]
        if schema is latest:
            return _Read(schema.name, shape, reader(schema.lean))
        return _Read(schema.name, shape, resolving(schema.parsed, latest.lean))

    def _foreign(self, text: str) -> _Read | None:
        """How to read a schema of somebody else; None if it is no event's."""
        try:
            schema = json.loads(text)
            lean = strip(schema)
            fields = {field["name"]: field for field in lean["fields"]}
            envelope = fields["envelope"]["type"]
            if lean["type"] != "record" or not {"occurred_at", "source_system"} <= {
                f["name"] for f in envelope["fields"]
            }:
                return None
            name = schema.get("leadstream.type") or _snake(lean["name"])
            latest = self._latest.get(name)
            if latest is None:
                return _Read(name, None, resolving(avro_io.parse(lean), lean))
            if avro_io.canonical(lean) == avro_io.canonical(latest.lean):
                return _Read(name, self._shapes[name], reader(latest.lean))
            ours = {field["name"] for field in latest.lean["fields"]}
            extra = tuple(field for field in fields if field not in ours)
            target = {**latest.lean, "fields": latest.lean["fields"] + [fields[field] for field in extra]}
            return _Read(name, self._shapes[name], resolving(avro_io.parse(lean), target), extra)
        except (*avro_io.SCHEMA_ERRORS, UnsupportedError):
            return None


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def _parsed(value: bytes) -> Any:
    """JSON, or Malformed."""
    try:
        return _json.decode(value)
    except UnicodeDecodeError as error:
        raise Malformed("not_utf8", f"value: byte {error.start} is not UTF-8; send UTF-8") from error
    except RecursionError as error:
        raise Malformed("bad_json", "value: nested too deeply; send flat values") from error
    except (msgspec.MsgspecError, ValueError) as error:
        start = shown(bytes(value[:40]).decode("latin-1"))
        hint = (
            "; NaN and Infinity are not JSON" if b"NaN" in value[:4096] or b"Infinity" in value[:4096] else ""
        )
        try:
            value.decode()
        except UnicodeDecodeError:
            raise Malformed(
                "not_utf8", f"value: starts with {start}; send JSON in UTF-8, or framed Avro"
            ) from error
        raise Malformed(
            "bad_json", f"value: {error}, starts with {start}; send one JSON object{hint}"
        ) from error


#: The codec of this process.
_codec = Codec(packaged())
decode = _codec.decode
encode_event = _codec.encode_event
encode_envelope = _codec.encode_envelope
encode = _codec.encode
decode_output = _codec.decode_output


def use_registry(snapshot: Snapshot) -> None:
    """Use a registry server's ids in this process; to be called before the first record."""
    _codec.use(snapshot)
