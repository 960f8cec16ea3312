"""Of several leads that spoke for one another's calls, the one that is to speak is heard last: in which epoch that is, and
what those who spoke before must take back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from processors.definition.model import HOUR
from processors.episodes import said_before
from processors.model import NEVER, Minted, Route
from processors.scope import Scope
from processors.subject import Told
from tests.strategies import Sent, at, sent
from tests.world import LAWS, PEOPLE, World, decided

NOW = at(7)


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


def unmerged(n: int, t: int, undone: int, winner: str) -> Sent:
    return of(winner, "unmerged", t, n, {"merge_event_id": f"m{undone}"})


def known(w: World, *facts: Sent) -> None:
    for fact in facts:
        w.batch([fact.event], w.now)


def only(w: World, arrives: Callable[[Told], bool]) -> None:
    """Deliver what arrives, in order, until nothing like it is on its way; the rest stays."""
    while (message := next((m for m in w.bus if arrives(m)), None)) is not None:
        w.bus.remove(message)
        w.feed(message.to, (), w.now, True, [message])


def but(sender: str, to: str) -> Callable[[Told], bool]:
    return lambda m: (m.sender, m.to) != (f"l:{sender}", f"l:{to}")


def prove(w: World) -> None:
    """What a subscriber holds is what the rows decide, and of merges what is true."""
    last: dict[str, dict[str, Any]] = {}
    for o in w.outputs:
        held = last.get(o.record["output_id"])
        if held is None or held["revision"] < o.record["revision"]:
            last[o.record["output_id"]] = o.record
    last = {k: r for k, r in last.items() if r["op"] != "withdrawn" and r["kind"] != "refused"}
    closed = {(r["lead_id"], r["merged_into"]) for r in last.values() if r["kind"] == "merged_into"}
    wanted = {}
    for key in w.stored:
        row = w.row(key)
        for name, content in decided(key, row.head).items():
            wanted[name] = (key[2:], content[0])
        assert (key[2:] in {lead for lead, _ in closed}) == bool(row.target)
        assert not row.target or (key[2:], row.target[2:]) in closed
    said = {k: (r["lead_id"], r["occurred_at"]) for k, r in last.items() if r["kind"] != "merged_into"}
    assert said == wanted


def old_hand(w: World, winner: str) -> list[Sent]:
    """A merge after which the winner speaks in a late epoch, for those who come to it have been through much."""
    chain = ["lead-15", "lead-14", "lead-13", "lead-12", "lead-11"]
    for n in range(4):
        known(w, merged(920 + n, at(2, n), chain[n], chain[n + 1]))
        w.deliver()
    return [merged(925, at(3), "lead-11", winner)]


@pytest.mark.parametrize("mover", ["lead-1", "lead-5"])
@pytest.mark.parametrize("between", ["", "lead-4"])
def test_a_lead_that_moved_on_is_spoken_for_later_than_its_former_winner_went_on_to(
    between: str, mover: str
) -> None:
    """A lead, with lead-1's call its own or below it, goes to lead-3 while lead-2, above it at once or at one remove, still
    takes it for its own, and says more of the call in an epoch that the lead did not know of when it went."""
    w = World(now=NOW)
    known(w, *hot("lead-1"))
    if mover != "lead-1":
        known(w, merged(909, at(1, 20), "lead-1", mover))
        w.deliver()
    late = old_hand(w, "lead-2")
    first = between or "lead-2"
    if between:  # it has not heard yet that lead-2 speaks for it
        known(w, merged(910, at(2), between, "lead-2"))
        only(w, lambda m: m.version == 1)
    after = lambda m: (m.sender, m.to) != ("l:lead-2", f"l:{between}")  # noqa: E731
    known(w, merged(900, at(2, 1), mover, first))
    only(w, after)
    known(w, merged(901, at(4), mover, "lead-3"))
    only(w, lambda m: {m.sender, m.to} == {f"l:{mover}", "l:lead-3"})
    known(w, *late)
    gone = but(mover, first)
    only(w, lambda m: after(m) and gone(m))
    known(w, of("lead-2", "content_downloaded", at(1, 14), 50, {"asset_id": "g9"}))
    assert w.row("l:lead-2").epoch > w.row("l:lead-3").epoch, "or nothing is to be outdone"
    only(w, lambda m: not gone(m))
    w.deliver()
    assert w.row(f"l:{mover}").target == "l:lead-3"
    prove(w)


def test_a_last_word_is_told_in_the_epoch_in_which_it_was_said() -> None:
    """lead-2 hears at once that lead-1 has gone and that another came, who makes it speak late; and takes back what it had said
    of lead-1's call."""
    w = World(now=NOW)
    known(w, *hot("lead-1"))
    late = old_hand(w, "lead-2")
    known(w, merged(900, at(2, 1), "lead-1", "lead-2"))
    w.deliver()
    known(w, *late, unmerged(950, at(4), 900, "lead-2"))
    only(w, lambda m: m.to != "l:lead-2")
    both = [m for m in w.bus if m.to == "l:lead-2"]
    assert {m.sender for m in both} == {"l:lead-1", "l:lead-11"}
    w.bus = [m for m in w.bus if m not in both]
    w.feed("l:lead-2", (), w.now, True, both)
    w.deliver()
    assert w.row("l:lead-1").target == ""
    prove(w)


def test_who_goes_back_below_a_lead_tells_it_how_late_it_spoke_for_it() -> None:
    """lead-2, below lead-1, is above it for a moment, for a merge that is taken back; meanwhile lead-1 knows better."""
    w = World(now=NOW)
    known(w, *hot("lead-1"), merged(900, at(3), "lead-2", "lead-1"))
    w.deliver()
    known(w, merged(901, at(2), "lead-1", "lead-2"))
    held = but("lead-1", "lead-2")
    only(w, held)
    assert w.row("l:lead-1").target == "l:lead-2"
    known(w, unmerged(951, at(4), 901, "lead-2"))
    only(w, held)
    assert w.row("l:lead-1").target == ""
    w.deliver()
    assert w.row("l:lead-2").target == "l:lead-1"
    prove(w)


def test_who_comes_back_has_said_its_call_again_and_it_is_taken_back_again() -> None:
    """lead-1 has sent spam, so the two of them get no call. That lead-2 was its own for a while lead-1 hears when it is over."""
    w = World(now=NOW)
    known(w, *hot("lead-2"), of("lead-1", "spam_reported", at(0), 60, {}))
    known(w, merged(900, at(2), "lead-2", "lead-1"))
    w.deliver()
    prove(w)
    held = but("lead-2", "lead-1")
    known(w, unmerged(950, at(2, 1), 900, "lead-1"))
    only(w, held)
    assert decided("l:lead-2", w.row("l:lead-2").head), "it speaks for itself"
    known(w, merged(901, at(3), "lead-2", "lead-1"))
    only(w, held)
    w.bus = [m for m in w.bus if held(m)] + [m for m in w.bus if not held(m)][-1:]
    w.deliver()
    assert w.row("l:lead-2").target == "l:lead-1"
    prove(w)


def test_a_call_that_only_the_two_of_them_had_is_taken_back_by_the_one_who_had_given_it_up() -> None:
    """lead-2 was called, and its call taken back, for it turned out not to fit. With lead-1 it fitted."""
    w = World(now=NOW)
    known(
        w,
        *hot("lead-2"),
        of("lead-2", "attributes_changed", at(0, 1), 61, {"fields": {"role": "", "company_size": 0}}),
    )
    prove(w)
    fields = {"role": "CTO", "company_size": 60, "company": "c-1", "country": "DE"}
    known(w, of("lead-1", "attributes_changed", at(0, 2), 62, {"fields": fields}))
    known(w, merged(900, at(2), "lead-2", "lead-1"))
    w.deliver()
    prove(w)
    assert "l:lead-2" in {h.of for j in w.row("l:lead-1").head.journeys for h in j.handoffs}
    known(w, unmerged(950, at(3), 900, "lead-1"))
    w.deliver()
    assert not any(j.handoffs for j in w.row("l:lead-2").head.journeys)
    prove(w)


def test_a_call_that_a_former_winner_had_is_taken_back_by_the_next_one_who_has_not() -> None:
    """As before, but that lead-2 goes from lead-1, with which it fitted, to lead-3, with which it does not."""
    w = World(now=NOW)
    small = {"fields": {"role": "", "company_size": 0}}
    known(w, *hot("lead-2"), of("lead-2", "attributes_changed", at(0, 1), 61, small))
    fields = {"role": "CTO", "company_size": 60, "company": "c-1", "country": "DE"}
    known(w, of("lead-1", "attributes_changed", at(0, 2), 62, {"fields": fields}))
    known(w, merged(900, at(2), "lead-2", "lead-1"))
    w.deliver()
    assert "l:lead-2" in {h.of for j in w.row("l:lead-1").head.journeys for h in j.handoffs}
    known(w, merged(901, at(3), "lead-2", "lead-3"))
    w.deliver()
    assert (w.row("l:lead-2").target, w.row("l:lead-3").head.journeys[0].handoffs) == ("l:lead-3", ())
    prove(w)


def test_words_of_one_who_became_an_alias_as_its_own_went_are_taken_back_in_its_epoch() -> None:
    """lead-2 has said more of lead-1's call. It goes to lead-4, and lead-1 goes its own way; lead-3, to which lead-4 belongs,
    hears of both at once, and speaks in a late epoch: not over lead-1's head."""
    w = World(now=NOW)
    known(w, *hot("lead-1"), of("lead-2", "content_downloaded", at(1, 14), 50, {"asset_id": "g9"}))
    known(w, *old_hand(w, "lead-3"), merged(910, at(3), "lead-4", "lead-3"))
    w.deliver()
    known(w, merged(900, at(3), "lead-1", "lead-2"))
    w.deliver()
    known(w, merged(901, at(4), "lead-2", "lead-4"))
    held = but("lead-2", "lead-4")
    only(w, held)
    known(w, unmerged(950, at(5), 900, "lead-2"))
    only(w, held)
    w.bus = [m for m in w.bus if held(m)] + [m for m in w.bus if not held(m)][-1:]
    w.deliver()
    assert (w.row("l:lead-1").target, w.row("l:lead-2").target) == ("", "l:lead-4")
    prove(w)
    words, said = [o for o in w.outputs if o.record["op"] == "withdrawn"], len(w.outputs)
    assert any(o.key == "lead-3" for o in words)
    known(w, *hot("lead-3"))
    w.deliver()
    assert {o.key for o in w.outputs[said:]} == {"lead-3"}
    assert [o for o in w.outputs if o.record["op"] == "withdrawn"] == words, "once"


def test_the_last_message_of_a_topic_is_withdrawn_though_its_calls_have_gone() -> None:
    """lead-2 had only the call of lead-1, and none that holds: lead-1 has left when lead-2 speaks for itself again."""
    w = World(now=NOW)
    known(w, *hot("lead-1"), of("lead-2", "spam_reported", at(0), 60, {}))
    known(w, merged(900, at(2), "lead-1", "lead-2"))
    w.deliver()
    known(w, merged(901, at(3), "lead-2", "lead-3"))
    w.deliver()
    closed = {o.topic for o in w.outputs if o.key == "lead-2" and o.record["kind"] == "merged_into"}
    assert len(closed) > 2
    for n, undone, winner in ((950, 900, "lead-2"), (951, 901, "lead-3")):
        known(w, unmerged(n, at(4), undone, winner))
        w.deliver()
    prove(w)


def test_an_open_call_whose_context_grew_is_taken_back_by_one_who_has_nothing_else() -> None:
    """What is withdrawn has no context: the row has no journey left to tell one of."""
    w = World(now=at(1, 12))
    known(w, *hot("lead-1"), of("lead-1", "content_downloaded", at(1, 11), 50, {"asset_id": "g9"}))
    known(w, merged(900, at(1, 11), "lead-1", "lead-2"))
    w.deliver()
    known(w, unmerged(950, at(1, 12), 900, "lead-2"))
    w.deliver()
    taken = [o.record for o in w.outputs if o.key == "lead-2" and o.record["kind"] == "context_updated"]
    assert [(r["op"], r["context"] is None) for r in taken][-1] == ("withdrawn", True)
    prove(w)


def _said(ordinal: int, trigger: int, end: int, due: int, pinned: bool = False) -> Minted:
    return Minted(
        "l:lead-1", ordinal, trigger, end, trigger, (Route(trigger, "sales", "owner-1", ""),), pinned, due=due
    )


def _matches(triggers: Sequence[int], scope: Scope) -> list[int]:
    used: set[tuple[str, int]] = set()
    out = []
    for t in triggers:
        m = said_before(t, used, scope, False)
        assert m is not None
        used.add((m.of, m.ordinal))
        out.append(m.ordinal)
    return out


def test_calls_that_were_taken_over_from_an_alias_keep_their_names() -> None:
    """Matched once, by case 15: the answered one first. When it was said what each of them is, both are answered, and the
    first is the other one's to be answered first; that must not swap them."""
    h = HOUR
    scope = Scope("l:lead-9", LAWS, PEOPLE, lambda: (None, []))
    scope.claims = (_said(1, 90 * h, NEVER, 150 * h), _said(2, 80 * h, 220 * h, 170 * h, pinned=True))
    assert _matches((100 * h, 200 * h), scope) == [2, 1]
    scope.claims = ()
    scope.said = (
        _said(1, 200 * h, 260 * h, 150 * h, pinned=True),
        _said(2, 100 * h, 200 * h, 170 * h, pinned=True),
    )
    assert _matches((100 * h, 200 * h), scope) == [2, 1]


def test_what_was_said_of_a_call_by_one_who_lost_it_is_taken_back() -> None:
    """lead-2 says of lead-1's call that its context grew; then lead-1 goes to lead-3, where that is not so, and lead-2
    becomes an alias in the same step: nobody else knows of that message."""
    w = World(now=NOW)
    known(w, *hot("lead-1"))
    known(w, of("lead-2", "content_downloaded", at(1, 14), 10, {"asset_id": "g9"}))
    known(w, of("lead-3", "rejected", at(1, 12), 11, {"reason_code": "timing"}))
    known(w, merged(900, at(2), "lead-1", "lead-2"))
    w.deliver()
    spoken = [o for o in w.outputs if o.key == "lead-2" and o.record["kind"] == "context_updated"]
    assert spoken, "lead-2 has said more of the call than lead-1"
    known(w, merged(901, at(3), "lead-2", "lead-1"))
    known(w, merged(902, at(4), "lead-1", "lead-3"))
    w.deliver()
    assert (w.row("l:lead-1").target, w.row("l:lead-2").target) == ("l:lead-3", "l:lead-1")
    prove(w)


def test_who_speaks_for_an_alias_that_came_by_two_ways_is_later_than_both() -> None:
    """lead-2 was parted from lead-3 and came back below lead-1, whose copy overtakes lead-2's own message."""
    w = World(now=NOW)
    known(w, *hot("lead-2"))
    known(w, merged(900, at(2), "lead-2", "lead-3"))
    w.deliver()
    known(w, of("lead-3", "unmerged", at(3), 950, {"merge_event_id": "m900"}))
    only(w, but("lead-2", "lead-3"))
    assert w.bus, "lead-2 has taken back what it sent"
    known(w, merged(901, at(4), "lead-1", "lead-3"))
    known(w, merged(902, at(5), "lead-2", "lead-1"))
    only(w, but("lead-2", "lead-3"))
    w.deliver()
    assert w.row("l:lead-2").target == "l:lead-1"
    prove(w)
