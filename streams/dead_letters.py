"""Dead letters: what could not be read or folded, whole, with the reason, for 14 days.

Key, value and headers stay as they were; the reason is in added headers (strings). What is too large for a record is
kept as position, hash and first 64 KiB.
"""

from __future__ import annotations

from hashlib import sha256

from streams.work import Message, SourceRecord

PREFIX = "leadstream.error."
#: Of a value that is too large, this much is kept.
KEPT_BYTES = 64 * 1024
_DETAIL_BYTES = 2000


def dead_letter(topic: str, record: SourceRecord, code: str, detail: str, max_bytes: int) -> Message:
    """:param max_bytes: of value and headers together; see the setting ``dead_letter_max_bytes``."""
    value, headers = record.value, list(record.headers or ())
    reason = [
        ("code", code.encode()),
        ("detail", detail.encode()[:_DETAIL_BYTES]),
        ("topic", record.topic.encode()),
        ("partition", b"%d" % record.partition),
        ("offset", b"%d" % record.offset),
        ("timestamp", b"%d" % record.timestamp),
    ]
    size = len(value or b"") + sum(len(k) + len(v or b"") for k, v in headers)
    key = record.key
    if size > max_bytes or len(key or b"") > KEPT_BYTES:
        digest = sha256(value or b"").hexdigest().encode()
        reason += [("truncated", b"true"), ("sha256", digest), ("size", b"%d" % len(value or b""))]
        value = value[:KEPT_BYTES] if value else value
        key = key[:KEPT_BYTES] if key else key
        headers = []
    return Message(topic, key, value, (*headers, *((PREFIX + name, text) for name, text in reason)))
