"""Rows of a partition: restored from the changelog, stamped, merged; whoever wrote last in truth wins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import WorkerError
from streams.table import VERSION_BYTES, Partition, PartitionRows, Stamped
from streams.transport.batch import Batch
from streams.work import Record


def changelog(stamped: Sequence[Stamped], start: int = 0) -> Batch:
    records: list[Any] = [
        Record("changelog", 0, start + n, 0, key, value, headers)
        for n, (key, value, headers) in enumerate(stamped)
    ]
    return Batch(start, records)


def restored(*batches: Sequence[Stamped]) -> Partition:
    partition = Partition()
    for batch in batches:
        start = partition.offset + 1
        partition.restore(changelog(batch, start), start + len(batch) - 1)
    return partition


def owned(*batches: Sequence[Stamped]) -> Partition:
    """As a new owner has it: restored, with an epoch of its own."""
    partition = restored(*batches)
    partition.epoch += 1
    return partition


def rows(partition: Partition) -> dict[bytes, bytes]:
    return dict(PartitionRows(partition.rows).items())


def test_rows_are_seen_without_their_version() -> None:
    owner = owned()
    owner.merge(owner.stamp({b"l:a": b"one"}), 0)
    assert PartitionRows(owner.rows).get(b"l:a") == b"one"
    assert PartitionRows(owner.rows).get(b"l:b") is None
    assert len(PartitionRows(owner.rows).items()) == 1
    assert len(owner.rows[b"l:a"]) == VERSION_BYTES + 3


def test_a_row_that_a_former_owner_appends_later_does_not_win() -> None:
    zombie = owned()
    first = zombie.stamp({b"l:a": b"first"})
    zombie.merge(first, 0)
    owner = owned(first)
    second = owner.stamp({b"l:a": b"second"})
    late = zombie.stamp({b"l:a": b"late"})
    assert rows(restored(first, second, late)) == {b"l:a": b"second"}
    assert rows(restored(first, late, second)) == {b"l:a": b"second"}


def test_a_deleted_row_does_not_come_back_to_life() -> None:
    zombie = owned()
    first = zombie.stamp({b"l:a": b"first"})
    zombie.merge(first, 0)
    owner = owned(first)
    tombstone = owner.stamp({b"l:a": None})
    assert tombstone[0].value is None, "a real tombstone, for compaction"
    late = zombie.stamp({b"l:a": b"late"})
    assert rows(restored(first, tombstone, late)) == {}
    owner.merge(tombstone, 1)
    again = owner.stamp({b"l:a": b"again"})
    assert rows(restored(first, tombstone, late, again)) == {b"l:a": b"again"}
    assert rows(restored(first, tombstone, again, late)) == {b"l:a": b"again"}
    assert rows(restored(again, late)) == {b"l:a": b"again"}, "after compaction"


def test_an_epoch_is_above_all_that_was_seen_in_tombstones_too() -> None:
    owner = owned()
    row = owner.stamp({b"l:a": b"first"})
    owner.merge(row, 0)
    second = owned(row)
    gone = second.stamp({b"l:a": None})
    assert owned(gone).epoch == 3


def test_a_tombstone_sent_by_hand_deletes_what_is_there() -> None:
    owner = owned()
    row = owner.stamp({b"l:a": b"first", b"l:b": b"first"})
    partition = owned(row, [Stamped(b"l:a", None)])
    assert rows(partition) == {b"l:b": b"first"}
    assert partition.epoch == 2


def test_records_missing_from_the_changelog_are_refused() -> None:
    partition = Partition()
    partition.restore(Batch(0, []), 9)
    partition.restore(Batch(9, []), 12)  # an overlap is known already
    with pytest.raises(WorkerError, match="records 13 to 19"):
        partition.restore(Batch(20, []), 30)


CHANGES = st.dictionaries(
    st.sampled_from([b"l:a", b"l:b", b"d:c"]), st.none() | st.binary(max_size=3), min_size=1
)


@given(st.lists(CHANGES, max_size=12), st.data())
def test_restoring_gives_what_the_owners_had(
    history: list[dict[bytes, bytes | None]], data: st.DataObject
) -> None:
    """However often the owner changes, and however often records of the past are read again."""
    log: list[Stamped] = []
    owner = owned()
    for changes in history:
        stamped = owner.stamp(changes)
        log += stamped
        owner.merge(stamped, len(log) - 1)
        if data.draw(st.booleans()):
            owner = owned(log)
    truth = rows(owner)
    assert rows(restored(log)) == truth
    cut = data.draw(st.integers(0, len(log)))
    partition = restored(log)
    partition.restore(changelog(log[cut:], cut), len(log) - 1)
    assert rows(partition) == truth
