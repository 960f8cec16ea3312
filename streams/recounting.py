"""A new definition that counts the past otherwise: what was final under the old one and is another number now.

A published definition may have other channels, attribution models, a look-back, a time zone or names of stages; reports
count by it as soon as it is known. So each partition counts its rows once more by both, in slices between batches, and
says one record per number, the sum over all rows: ten thousand leads make no more records than one. Nothing is said
before all rows are counted, in one transaction with the note of which definitions numbers are now said under; after a
crash the pass begins again. A row of which something final changes meanwhile says its own difference in its own
transaction, and is marked, so that no pass counts it twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from processors import figures, versions
from processors.additive import Contribution
from processors.closing import Change, Closing, Number, changed, month_text
from processors.compiled import Compiled
from processors.model import Row, load
from processors.reference import Reference
from processors.restate_market import MONTHS
from processors.scope import Scope
from streams.work import Rows


def marks(definitions: Iterable[Compiled]) -> tuple[int, ...]:
    return tuple(d.mark for d in definitions)


def alike(one: Compiled, other: Compiled) -> bool:
    """Do both count the past in the same way?"""
    return _counting(one) == _counting(other)


def _counting(d: Compiled) -> tuple[object, ...]:
    source = d.source
    return (
        source.time_zone,
        d.names,
        (d.known, d.mql, d.sal, d.sql, d.opportunity, d.won),
        [(rule.name, rule.when.text) for rule in source.channels],
        source.default_channel,
        source.attribution,
    )


class Recount:
    """One pass over the rows of a partition.

    :param said: marks of the definitions that its numbers were said under.
    :param definitions: those known now.
    :param keys: of all its rows.
    """

    def __init__(
        self,
        said: tuple[int, ...],
        definitions: Sequence[Compiled],
        reference: Reference,
        now_ms: int,
        keys: Iterable[bytes],
    ) -> None:
        self.said, self.definitions, self.reference = said, tuple(definitions), reference
        self.marks = marks(definitions)
        fresh = [d.source.published_at for d in definitions if d.mark not in said]
        #: What was final when the first of the new ones was published is compared: what closes later is first read by them.
        self.at = min((now_ms, *(at for at in fresh if at)))
        self.todo = dict.fromkeys(keys)
        self.sums: dict[Number, list[int]] = {}
        self._after = Closing(self.at, definitions)
        self._since = month_text(self._after.open_month - MONTHS)
        self._before: dict[tuple[int, ...], Closing] = {}

    def go(self, rows: Rows, most: int) -> None:
        """Count some more rows, as committed."""
        for key in list(islice(self.todo, most)):
            del self.todo[key]
            self._add(self.of_row(key, rows.get(key)), 1)

    def of_row(self, key: bytes, data: bytes | None) -> list[Change]:
        """What a row's definitions alone change of final numbers; nothing if it has been said already."""
        if data is None:
            return []
        row = load(data)
        own = self.own(row)
        if own == self.marks:
            return []
        old = self._before.get(own)
        if old is None:
            old = self._before[own] = Closing(self.at, self._named(own))
        found = changed(
            old.final(self.before(key, row)),
            self._after.final(self._counted(key, load(data), self.definitions)),
        )
        return [
            x
            for x in found
            if x.number.period >= self._since and old.covers(x.number) and self._after.covers(x.number)
        ]

    def own(self, row: Row) -> tuple[int, ...]:
        """Marks of the definitions that a row's numbers were said under: a mark of its own counts until its partition
        has been said under as many."""
        return row.counted if set(row.counted) > set(self.said) else self.said

    def before(self, key: bytes, row: Row, as_of_ms: int | None = None) -> Contribution:
        """What a row adds by the definitions that its numbers were said under."""
        old = self._named(self.own(row))
        # Places in a lead's row are those of the timeline; what is counted by is the last one.
        return self._counted(key, row, (*self.definitions, old[-1]) if key[:1] in b"la" else old, as_of_ms)

    def settled(self, key: bytes, change: Sequence[Change]) -> None:
        """A row has said its own: the pass leaves it out, or takes back what it had counted."""
        if key in self.todo:
            del self.todo[key]
        else:
            self._add(change, -1)

    def changes(self) -> list[Change]:
        """The sums, where they differ."""
        return [Change(number, old, new) for number, (old, new) in sorted(self.sums.items()) if old != new]

    def _add(self, found: Iterable[Change], sign: int) -> None:
        for number, old, new in found:
            sums = self.sums.setdefault(number, [0, 0])
            sums[0] += sign * old
            sums[1] += sign * new

    def _named(self, own: tuple[int, ...]) -> tuple[Compiled, ...]:
        return tuple(d for d in self.definitions if d.mark in own)

    def _counted(
        self, key: bytes, row: Row, definitions: Sequence[Compiled], as_of_ms: int | None = None
    ) -> Contribution:
        name = key.decode()
        if key[:1] in b"la":
            versions.catch_up(row, Scope(name, self.definitions, self.reference, _nothing))
        return figures.of_row(name, row, Scope(name, tuple(definitions), self.reference, _nothing), as_of_ms)


def _nothing() -> tuple[None, list[tuple[int, int, int, object]]]:
    return None, []
