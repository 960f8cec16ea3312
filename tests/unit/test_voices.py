"""Who speaks for a lead's call while merges are still on their way from row to row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from processors.subject import Told
from tests.strategies import END, Sent, at, sent
from tests.world import World, decided

LEADS = ("lead-1", "lead-2", "lead-3")


def of(lead: str, type_: str, t: int, n: int, payload: dict[str, Any], **more: Any) -> Sent:
    return sent(type_, t, n, payload, subject={"lead_id": lead}, **more)


def hot(lead: str) -> list[Sent]:
    """Enough to be called, on the second day at ten."""
    fields = {"role": "CTO", "company_size": 60, "company": "c-1", "country": "DE"}
    return [
        of(lead, "created", at(0), 0, {"source": "webinar", "generated_by": "marketing"}),
        of(lead, "attributes_changed", at(0), 1, {"fields": fields}),
        *(of(lead, "content_downloaded", at(1, 8 + n), 2 + n, {"asset_id": f"g{n}"}) for n in range(3)),
    ]


def merged(n: int, t: int, loser: str, winner: str) -> Sent:
    return of(winner, "merged", t, n, {"loser": loser, "winner": winner}, source_event_id=f"m{n}")


def first(w: World, wanted: Callable[[Told], bool]) -> None:
    """Deliver the first message of this kind; it must be there."""
    message = next(x for x in w.bus if wanted(x))
    w.bus.remove(message)
    w.feed(message.to, (), w.now, True, [message])


def held(w: World) -> dict[str, tuple[str, int]]:
    """What a subscriber holds of all leads: the greatest revision of each output, but what is said of merges."""
    last: dict[str, dict[str, Any]] = {}
    for o in w.outputs:
        known = last.get(o.record["output_id"])
        if known is None or known["revision"] < o.record["revision"]:
            last[o.record["output_id"]] = o.record
    return {
        k: (r["lead_id"], r["occurred_at"])
        for k, r in last.items()
        if r["op"] != "withdrawn" and r["kind"] not in ("merged_into", "refused")
    }


def wanted(w: World) -> dict[str, tuple[str, int]]:
    """What the rows decide."""
    out = {}
    for lead in LEADS:
        for name, content in decided(f"l:{lead}", w.row(f"l:{lead}").head).items():
            out[name] = (lead, content[0])
    return out


def test_what_was_said_of_a_call_by_one_who_lost_it_is_taken_back() -> None:
    """lead-2 says of lead-1's call that its context grew; then lead-1 goes to lead-3, where that is not so, and lead-2
    becomes an alias in the same step: nobody else knows of that message."""
    w = World(now=END)
    for x in hot("lead-1"):
        w.batch([x.event], END)
    w.batch([of("lead-2", "content_downloaded", at(1, 14), 10, {"asset_id": "g9"}).event], END)
    w.batch([of("lead-3", "rejected", at(1, 12), 11, {"reason_code": "timing"}).event], END)
    w.batch([merged(900, at(2), "lead-1", "lead-2").event], END)
    w.deliver()
    spoken = [o for o in w.outputs if o.key == "lead-2" and o.record["kind"] == "context_updated"]
    assert spoken, "lead-2 has said more of the call than lead-1"
    w.batch([merged(901, at(3), "lead-2", "lead-1").event], END)
    w.batch([merged(902, at(4), "lead-1", "lead-3").event], END)
    w.deliver()
    assert (w.row("l:lead-1").target, w.row("l:lead-2").target) == ("l:lead-3", "l:lead-1")
    assert held(w) == wanted(w)


def test_who_speaks_for_an_alias_that_came_by_two_ways_is_later_than_both() -> None:
    """lead-2 was parted from lead-3 and came back below lead-1, whose copy overtakes lead-2's own message."""
    w = World(now=END)
    for x in hot("lead-2"):
        w.batch([x.event], END)
    w.batch([merged(900, at(2), "lead-2", "lead-3").event], END)
    w.deliver()
    w.batch([of("lead-3", "unmerged", at(3), 950, {"merge_event_id": "m900"}).event], END)
    first(w, lambda m: (m.sender, m.to) == ("l:lead-3", "l:lead-2"))
    late = [m for m in w.bus if (m.sender, m.to) == ("l:lead-2", "l:lead-3")]
    assert late
    w.bus = [m for m in w.bus if m not in late]
    w.batch([merged(901, at(4), "lead-1", "lead-3").event], END)
    w.batch([merged(902, at(5), "lead-2", "lead-1").event], END)
    while w.bus:
        late += [m for m in w.bus if m.sender == "l:lead-2" and m.to == "l:lead-3"]
        w.bus = [m for m in w.bus if m not in late]
        if w.bus:
            first(w, lambda m: True)
    w.bus = late
    w.deliver()
    assert w.row("l:lead-2").target == "l:lead-1"
    assert held(w) == wanted(w)
