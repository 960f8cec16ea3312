"""Who is who: leads that are merged and browsers that are identified, on the topology with several partitions."""

from __future__ import annotations

from typing import Any

from processors.additive import Contribution
from processors.identity import aliases
from tests.subscriber import Subscriber
from tests.world import Funnel

#: A lead whose id lies on another partition than that of lead-1, and so on: none shares one with the next.
ONE, TWO, THREE, FOUR = "lead-1", "lead-2", "lead-3", "lead-4"


def merge(f: Funnel, loser: str, winner: str, t: int, n: int | str, **more: Any) -> None:
    payload = {"loser": loser, "winner": winner}
    f.say("merged", t, payload, lead=winner, source_event_id=f"merge-{n}", **more)


def unmerge(f: Funnel, winner: str, t: int, n: int | str) -> None:
    f.say("unmerged", t, {"merge_event_id": f"merge-{n}"}, lead=winner)


def visit(f: Funnel, visitor: str, t: int, type_: str = "page_viewed", **payload: Any) -> None:
    said = payload or {"url": "https://example.com/pricing"}
    f.say(type_, t, said, subject={"anonymous_id": visitor})


def identify(f: Funnel, visitor: str, lead: str, t: int, **more: Any) -> None:
    f.say("identified", t, {"anonymous_id": visitor, "lead_id": lead}, lead=lead, **more)


def below(f: Funnel, lead: str) -> list[str]:
    """Row keys of all aliases of a lead."""
    return [name for name, _ in aliases(f.row(f"l:{lead}").members)]


def totals(f: Funnel) -> Contribution:
    return {k: n for k, n in f.topology.totals().items() if n}


def hears(f: Funnel) -> Subscriber:
    """A subscriber to everything: it raises where a sequence has a gap."""
    s = Subscriber()
    for name in ("stage_changes", "handoffs", "sla", "nurture"):
        s.take_all(f.driver.read(getattr(f.settings.topics, name)))
    return s


def nothing_on_its_way(f: Funnel) -> None:
    assert f.total("alias_drift") == 0
    assert f.dead() == []
    hears(f)
