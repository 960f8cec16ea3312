"""The ledger: one subject's facts as a run of fixed-width records, sorted by construction.

A record is 24 bytes, three big-endian words, so that comparing bytes compares events:

``a`` = occurred_at 42 | type rank 4 | source priority 3 | source 7 | source_seq 8 (bits),
``b`` = identity 48 | kind 8 | flags 8,
``c`` = lag until recorded_at 16 | input 2 | partition 10 | offset 36.

``(a, b)`` is the total order of DOMAIN 2.1; ``c`` says when the fact was known and where it came from.
Adding is a bisect, union a sort, the search for a duplicate a search for six bytes; in order nothing is decoded.
Payloads, which only flagged records have, lie beside the run in the order of their records.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

RECORD = struct.Struct(">QQQ")
WIDTH = RECORD.size
_FLAGS_AT = 15  # index of the flags byte in a record
_PAYLOAD = 0x80
#: Lags from here on are exact milliseconds.
_EXACT = 1 << 16
_PLACE = (1 << 48) - 1

Item = tuple[int, int, int, Any]  # a, b, c, payload


class Position(NamedTuple):
    """Where a fact lies in the input: for the proof, and to decide which of two claims came first."""

    input: int
    partition: int
    offset: int


def pack_lag(ms: int) -> int:
    """Milliseconds in 16 bits: exact below 4096, then rounded up by less than 1/2048."""
    if ms <= 0:
        return 0
    if ms < 4096:
        return ms
    e = ms.bit_length() - 12
    m = -(-ms >> e)
    if m == 4096:
        e, m = e + 1, 2048
    return min(e + 1, 31) << 11 | m - 2048


def lag(code: int) -> int:
    """Milliseconds between occurred_at and recorded_at, from `pack_lag` or `known_from`."""
    if code < 4096:
        return code
    return (2048 + (code & 2047)) << (code >> 11) - 1 if code < _EXACT else code - _EXACT


def recorded_at(a: int, c: int) -> int:
    return (a >> 22) + lag(c >> 48)


def known_from(e: Item, at: int) -> Item:
    """The event as one who could not know of it before ``at`` has it: for the fold only, its ``c`` may be too wide for
    a record."""
    a, b, c, data = e
    return e if recorded_at(a, c) >= at else (a, b, at - (a >> 22) + _EXACT << 48 | c & _PLACE, data)


def position(c: int) -> Position:
    return Position(c >> 46 & 3, c >> 36 & 0x3FF, c & 0xFFFFFFFFF)


def find(ledger: bytes, b: int) -> int:
    """Byte offset of the record with the identity of ``b``; -1 if there is none."""
    key = (b >> 16).to_bytes(6, "big")
    i = ledger.find(key)
    while i >= 0:
        if i % WIDTH == 8:
            return i - 8
        i = ledger.find(key, i + 1)
    return -1


def _payloads_before(ledger: bytes, at: int) -> int:
    return sum(x >> 7 for x in ledger[_FLAGS_AT:at:WIDTH])


def payload_at(ledger: bytes, data: list[Any], at: int) -> Any:
    return data[_payloads_before(ledger, at)] if ledger[at + _FLAGS_AT] & _PAYLOAD else None


def insert(ledger: bytes, data: list[Any], a: int, b: int, c: int, payload: Any) -> bytes:
    """The ledger with one more record; ``data`` is changed in place."""
    record = RECORD.pack(a, b, c)
    if ledger[-WIDTH:] < record:
        if b & _PAYLOAD:
            data.append(payload)
        return ledger + record
    low, high = 0, len(ledger) // WIDTH
    while low < high:
        middle = (low + high) // 2
        if ledger[middle * WIDTH : middle * WIDTH + WIDTH] < record:
            low = middle + 1
        else:
            high = middle
    at = low * WIDTH
    if b & _PAYLOAD:
        data.insert(_payloads_before(ledger, at), payload)
    return ledger[:at] + record + ledger[at:]


def remove(ledger: bytes, data: list[Any], at: int) -> bytes:
    if ledger[at + _FLAGS_AT] & _PAYLOAD:
        del data[_payloads_before(ledger, at)]
    return ledger[:at] + ledger[at + WIDTH :]


def items(ledger: bytes, data: list[Any]) -> list[Item]:
    """The run decoded, in order."""
    payloads = iter(data)
    return [(a, b, c, next(payloads) if b & _PAYLOAD else None) for a, b, c in RECORD.iter_unpack(ledger)]


def pack(run: Iterable[Item]) -> tuple[bytes, list[Any]]:
    """The inverse of `items`; ``run`` must be in order."""
    run = list(run)
    return b"".join(RECORD.pack(*e[:3]) for e in run), [e[3] for e in run if e[1] & _PAYLOAD]


def upto(ledger: bytes, a: int, b: int) -> int:
    """How many records there are up to and including key (a, b)."""
    end = RECORD.pack(a, b, 0xFFFFFFFFFFFFFFFF)
    low, high = 0, len(ledger) // WIDTH
    while low < high:
        middle = (low + high) // 2
        if ledger[middle * WIDTH : middle * WIDTH + WIDTH] <= end:
            low = middle + 1
        else:
            high = middle
    return low


def drop_before(ledger: bytes, data: list[Any], a: int, b: int) -> tuple[bytes, list[Any]]:
    """Without the records up to and including key (a, b)."""
    at = upto(ledger, a, b) * WIDTH
    return ledger[at:], data[_payloads_before(ledger, at) :]
