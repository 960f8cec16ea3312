"""The snapshot of a day: what the closed deals of all leads say, as it is published for priorities (`processors.winmodel`).

It is the sum over all partitions, of which a worker owns but some, so it is made beside the workers, from the rows as
the changelog has them. The day is its identity: whoever makes it again on the same day makes the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from processors import columns, priority
from processors.days import iso
from processors.definition.model import MINUTE
from processors.model import Row
from processors.reference import WinModel
from streams.clock import Clock, ScaledClock
from streams.state_reader import figures_of_rows
from streams.topology import LeadTopology

EVENT = "win_model_published"
#: How long after the start of a day its snapshot is made, so that workers have taken in what came before midnight.
AFTER_MS = 10 * MINUTE


class Snapshot(NamedTuple):
    """The counts as of the start of a day of the reporting time zone."""

    day: int
    as_of: int
    counts: dict[str, Any]

    def event(self, now_ms: int) -> dict[str, Any]:
        """As it is published; the day is its identity."""
        return {
            "type": EVENT,
            "occurred_at": now_ms,
            "source_system": "leadstream",
            "source_event_id": f"win-model/{iso(self.day)}",
            "payload": {
                "as_of": self.as_of,
                "counts": msgspec.json.encode(self.counts, order="sorted").decode(),
            },
        }

    @property
    def key(self) -> bytes:
        """Of its record: one per day."""
        return f"{EVENT}:{self.as_of}".encode()


def snapshot(logic: LeadTopology, rows: Iterable[tuple[str, Row]], now_ms: int) -> Snapshot:
    """What the closed deals of all leads say, as of the start of today."""
    days = logic.definitions[-1].days
    day = days.day(now_ms)
    as_of = days.start(day)
    # Deals never leave a lead's head, so who has none now had none this morning; what was erased stays counted.
    some = ((key, row) for key, row in rows if key[:1] == "l" and (row.head.shares or row.residue))
    totals = figures_of_rows(some, logic, as_of)
    base, rates = logic.definitions[-1].source.base_currency, logic.reference
    counts = priority.snapshot(
        totals,
        columns.stage_names(logic.definitions),
        lambda amount, currency, on: rates.convert(amount, currency, on, base),
        base,
    )
    return Snapshot(day, as_of, counts)


def published(logic: LeadTopology, now_ms: int) -> WinModel | None:
    """Today's snapshot, if it is there already."""
    days = logic.definitions[-1].days
    newest = logic.reference.win_model_at(1 << 62)
    return newest if newest is not None and newest.as_of >= days.start(days.day(now_ms)) else None


def seconds_left(logic: LeadTopology, clock: Clock) -> float:
    """Until the next snapshot is to be made, by the system's time."""
    days = logic.definitions[-1].days
    now = clock.now_ms()
    following = days.start(days.day(now) + 1) + AFTER_MS
    if isinstance(clock, ScaledClock):
        return (clock.wall_ms(following) - clock.wall_ms(now)) / 1000
    return (following - now) / 1000
