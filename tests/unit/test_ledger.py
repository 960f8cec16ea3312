"""The ledger: byte order is the total order, a set by identity, payloads beside their records."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import ledger
from processors.events import RANK, Event, from_envelope
from processors.ledger import WIDTH, Item
from schemas.envelope import Envelope
from tests.strategies import SEEDS, at, histories, sent

WORDS = st.integers(0, 2**64 - 1)


@st.composite
def runs(draw: st.DrawFn) -> list[Item]:
    """Records with distinct identities, half of them with a payload."""
    out: list[Item] = []
    names = draw(st.lists(st.integers(0, 2**48 - 1), unique=True, max_size=30))
    for name in names:
        has = draw(st.booleans())
        low = draw(st.integers(0, 2**15 - 1)) & ~0x80 | (0x80 if has else 0)
        # few instants, so that ties are decided by the second word
        out.append((draw(st.integers(0, 3)) << 22, name << 16 | low, draw(WORDS), [name] if has else None))
    return sorted(out, key=lambda e: (e[0], e[1]))


@given(runs(), SEEDS)
def test_any_order_of_insertion_gives_the_same_bytes(run: list[Item], seed: int) -> None:
    packed = ledger.pack(run)
    assert ledger.items(*packed) == run
    shuffled = list(run)
    random.Random(seed).shuffle(shuffled)
    kept, data = b"", []
    for e in shuffled:
        kept = ledger.insert(kept, data, *e)
    assert (kept, data) == packed


@given(runs(), st.integers(0, 2**48 - 1))
def test_find_sees_records_only_where_records_begin(run: list[Item], absent: int) -> None:
    kept, data = ledger.pack(run)
    for n, e in enumerate(run):
        assert ledger.find(kept, e[1]) == n * WIDTH
        assert ledger.payload_at(kept, data, n * WIDTH) == e[3]
    if all(e[1] >> 16 != absent for e in run):
        assert ledger.find(kept, absent << 16) == -1


def test_find_is_not_misled_by_an_identity_across_fields() -> None:
    name = 0xABABABABABAB
    other = (0xABABABABABABABAB, 1 << 16, 0xABABABABABABABAB, None)
    kept, _ = ledger.pack([other])
    assert ledger.find(kept, name << 16) == -1
    kept, _ = ledger.pack([other, (2**64 - 1, name << 16, 0, None)])
    assert ledger.find(kept, name << 16) == WIDTH


@given(runs(), st.data())
def test_remove_is_the_inverse_of_insert(run: list[Item], data: st.DataObject) -> None:
    if not run:
        return
    kept, payloads = ledger.pack(run)
    n = data.draw(st.integers(0, len(run) - 1))
    kept = ledger.remove(kept, payloads, n * WIDTH)
    assert ledger.items(kept, payloads) == run[:n] + run[n + 1 :]


@given(runs(), st.data())
def test_drop_before_keeps_what_lies_above(run: list[Item], data: st.DataObject) -> None:
    a, b = data.draw(st.integers(0, 4)) << 22, data.draw(WORDS)
    dropped = ledger.drop_before(*ledger.pack(run), a, b)
    assert ledger.items(*dropped) == [e for e in run if (e[0], e[1]) > (a, b)]


@given(st.integers(0, 10**12))
def test_lag_is_exact_when_short_and_rounded_up_a_little_when_long(ms: int) -> None:
    found = ledger.lag(ledger.pack_lag(ms))
    assert 0 <= found - ms <= ms / 2048 + 1
    assert ms >= 4096 or found == ms
    assert ledger.pack_lag(ms) < 2**16


@given(st.integers(0, 10**11), st.integers(0, 10**11))
def test_lag_keeps_the_order(a: int, b: int) -> None:
    assert (ledger.pack_lag(a) <= ledger.pack_lag(b)) == (
        ledger.lag(ledger.pack_lag(a)) <= ledger.lag(ledger.pack_lag(b))
    )
    if a <= b:
        assert ledger.pack_lag(a) <= ledger.pack_lag(b)


def test_recorded_before_it_occurred_is_recorded_when_it_occurred() -> None:
    e = sent("page_viewed", at(1), 1, {"url": "/"}, recorded_at=at(0)).event
    assert ledger.recorded_at(e.a, e.c) == at(1)


def test_a_position_comes_back() -> None:
    e = Envelope(type="created", occurred_at=at(1), subject_kind="lead", subject_id="x", payload={})
    made = from_envelope(e, at(1), 2, 613, 2**36 - 1, 3, lambda: b"")
    assert ledger.position(made.c) == (2, 613, 2**36 - 1)


# The total order of DOMAIN 2.1 ----------------------------------------------------------------------------------


def made(type_: str = "page_viewed", t: int = at(1), priority: int = 3, **more: object) -> Event:
    payload = {"url": "/"} if type_ == "page_viewed" else {}
    given_ = {"source_system": "web", "source_event_id": "e1"} | more
    e = Envelope(type=type_, occurred_at=t, subject_kind="lead", subject_id="x", payload=payload, **given_)  # type: ignore[arg-type]
    return from_envelope(e, t, 0, 0, 0, priority, lambda: b"")


def test_order_is_by_time_then_rank_then_priority_then_sequence_then_identity() -> None:
    ranks = ["created", "attributes_changed", "page_viewed", "assigned", "accepted", "won"]
    assert [RANK[x] for x in ranks] == list(range(6))
    in_order = [
        made("created", at(1), 7), made("attributes_changed", at(1), 7), made("page_viewed", at(1), 0, source_seq=9),
        made("page_viewed", at(1), 3, source_seq=1), made("page_viewed", at(1), 3, source_seq=2),
        made("assigned", at(1), 0), made("accepted", at(1), 0), made("won", at(1), 0), made("created", at(1, 0, 1), 0),
    ]  # fmt: skip
    keys = [(e.a, e.b) for e in in_order]
    assert keys == sorted(keys)


def test_identity_is_by_source_then_event_id_then_content() -> None:
    def name(**more: object) -> int:
        return made(**more).b >> 16

    assert name() == name(t=at(2)) != name(source_event_id="e2")
    assert name(source_system="a") != name(source_system="b")
    assert name(source_event_id=None, event_id="x") == name(
        source_event_id=None, event_id="x", source_system="b"
    )
    assert name(source_event_id=None) == name(source_event_id=None)


@pytest.mark.parametrize("seed", range(3))
def test_byte_order_is_the_order_of_the_keys(seed: int) -> None:
    rng = random.Random(seed)
    records = [
        ledger.RECORD.pack(*(rng.getrandbits(64) >> rng.choice((0, 20, 40)) for _ in range(3)))
        for _ in range(99)
    ]
    assert sorted(records) == sorted(records, key=ledger.RECORD.unpack)


@given(histories(most=8))
def test_what_a_history_says_fits_into_records(history: list[object]) -> None:
    for x in history:
        e = x.event  # type: ignore[attr-defined]
        assert max(e.a, e.b, e.c) < 2**64
        assert e.t == x.t  # type: ignore[attr-defined]
        assert bool(e.b & 0x80) == (e.data is not None)
