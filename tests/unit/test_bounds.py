"""A row's bounds: what is kept of a lead of whom there is far too much."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from processors import scoring
from processors.compiled import Compiled, compile_definition
from processors.ledger import WIDTH
from processors.model import encode
from processors.subject import ENTRIES, SPACING, effective
from tests.strategies import at, sent
from tests.world import LAW, LAWS, World


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


def _uncapped() -> Compiled:
    """A second version under which every page view counts."""
    first, *rest = LAW.engagement
    assert first.name == "page"
    rules = (replace(first, daily_cap=0, cap=0), *rest)
    return compile_definition(replace(LAW, version=2, effective_at=at(0), engagement=rules, engagement_cap=0))


@pytest.mark.parametrize("definitions", [LAWS, (*LAWS, _uncapped())])
def test_a_browser_with_thousands_of_views_is_thinned_when_it_is_somebodys(
    definitions: tuple[Compiled, ...],
) -> None:
    """An alias has neither snapshots nor a head: it is thinned all the same, by what its lead is judged by."""
    w, alone = World(definitions), World(definitions)
    browser, lead = {"anonymous_id": "visitor-1"}, {"lead_id": "lead-1"}
    w.batch(
        [
            sent(
                "identified", at(1), 1, {"anonymous_id": "visitor-1", "lead_id": "lead-1"}, subject=lead
            ).event
        ],
        at(1),
    )
    w.deliver()
    for first in range(0, ENTRIES + 4 * SPACING, 50):
        for world, who in ((w, browser), (alone, lead)):
            some = [
                sent("page_viewed", at(1, 9, n), 10 + n, {"url": "/"}, subject=who).event
                for n in range(first, first + 50)
            ]
            world.batch(some, at(1, 10))
            world.deliver()
    thinned, row = w.row("a:visitor-1"), w.row()
    assert thinned.target == "l:lead-1"
    assert len(thinned.ledger) <= (ENTRIES + SPACING) * WIDTH or len(definitions) > 1
    d = definitions[-1]
    assert (
        scoring.engagement(row.head, d.day(at(1)), d)
        == scoring.engagement(alone.row().head, d.day(at(1)), d)
        > 0
    )
    assert encode(row.head) == encode(w.alone("l:lead-1", effective(row), at(1, 10)))
