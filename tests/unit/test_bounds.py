"""A row's bounds: what is kept of a lead of whom there is far too much."""

from __future__ import annotations

from processors.ledger import WIDTH
from processors.subject import ENTRIES, SPACING
from tests.strategies import at, sent
from tests.world import World


def test_of_a_day_with_thousands_of_views_few_snapshots_are_left() -> None:
    """They are made of what was folded, and most of that is thinned: they must not pile up where nothing is left."""
    w = World()
    history = [sent("page_viewed", at(1, 9, n), n, {"url": "/"}).event for n in range(4000)]
    for n in range(0, len(history), 50):
        w.batch(history[n : n + 50], at(1, 10))
    row = w.row()
    assert row.head.n == len(history)
    assert len(row.ledger) <= (ENTRIES + SPACING) * WIDTH
    assert len(row.snapshots) <= 2 * (ENTRIES + SPACING) // SPACING


def test_what_comes_at_once_is_cut_at_once() -> None:
    """Where most of some weeks was thinned, snapshots lie closer together than elsewhere: they cannot be counted on."""
    w = World()
    history = []
    for day in range(60):
        for n in range(37):
            type_, payload = (
                ("page_viewed", {"url": "/"})
                if n < 30
                else ("discovery_recorded", {"kind": "risk", "text_ref": "n"})
            )
            history.append(sent(type_, at(day, 1, n), len(history), payload).event)
    for n in range(0, len(history), 50):
        w.batch(history[n : n + 50], at(61))
    more = [sent("discovery_recorded", at(60, 3, n), 5000 + n, payload).event for n in range(500)]
    w.batch(more, at(61))
    assert ENTRIES - SPACING <= len(w.row().ledger) // WIDTH <= ENTRIES
