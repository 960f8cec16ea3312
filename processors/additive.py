"""Contributions: integers under keys, which add up.

A contribution is a mapping from a key (the name of a count, then its labels, `columns.COLUMNS`) to an integer. Totals
move by contribution(after) - contribution(before), an abelian group, so figures are exact under restatement,
merge, unmerge and erasure, and add up over partitions and workers. What people read is made of totals by `report`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Key = tuple[Any, ...]
Contribution = dict[Key, int]
#: Stands for a label that was not told.
EMPTY = "(empty)"


def move(total: Contribution, before: Mapping[Key, int], after: Mapping[Key, int]) -> None:
    """total += after - before; keys that come to zero go."""
    for key in before.keys() | after.keys():
        n = total.get(key, 0) + after.get(key, 0) - before.get(key, 0)
        if n:
            total[key] = n
        else:
            total.pop(key, None)


def add(total: Contribution, more: Iterable[tuple[Key, int]]) -> None:
    """total += more; keys that come to zero go."""
    for key, n in more:
        was = total.get(key, 0)
        if was + n:
            total[key] = was + n
        elif was:
            del total[key]
