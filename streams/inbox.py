"""What travels on the inbox: records that came to the wrong partition, and what rows tell one another.

Internal and short-lived, so msgpack and not Avro; the first byte is the layout's version.
"""

from __future__ import annotations

import msgspec

from processors.subject import Told
from schemas.envelope import Malformed
from streams.work import Headers, Record, SourceRecord

_VERSION = b"\x01"


class Forwarded(msgspec.Struct, array_like=True, tag="r", gc=False):
    """A source record as it was read, for the task that owns its subject."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]

    def record(self) -> Record:
        return Record(
            self.topic, self.partition, self.offset, self.timestamp, self.key, self.value, tuple(self.headers)
        )


class Message(msgspec.Struct, array_like=True, tag="t", gc=False):
    """State that one row has for another."""

    told: Told


_encoder = msgspec.msgpack.Encoder()
_decode = msgspec.msgpack.Decoder(Forwarded | Message).decode


def forward(record: SourceRecord) -> bytes:
    headers: Headers = record.headers or ()
    return _VERSION + _encoder.encode(
        Forwarded(
            record.topic,
            record.partition,
            record.offset,
            record.timestamp,
            record.key,
            record.value,
            list(headers),
        )
    )


def tell(told: Told) -> bytes:
    return _VERSION + _encoder.encode(Message(told))


def read(value: bytes | None) -> Forwarded | Told:
    """:raises Malformed: somebody else wrote to the inbox, or a newer version did."""
    if not value or value[:1] != _VERSION:
        raise Malformed(
            "bad_inbox", "not an inbox message of this version; only leadstream writes to this topic"
        )
    try:
        found = _decode(memoryview(value)[1:])
    except (msgspec.DecodeError, ValueError) as exc:
        raise Malformed("bad_inbox", f"not an inbox message: {exc}") from exc
    return found.told if isinstance(found, Message) else found
