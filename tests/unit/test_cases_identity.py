"""Cases 12 to 19 and 21 of DOMAIN 8: leads that are merged and come apart, on several partitions.

What rows tell each other about it travels through the inbox, as it does between workers.
"""

from __future__ import annotations

import pytest

from processors.definition.model import DAY, HOUR, MINUTE
from processors.events import KIND
from processors.model import OPEN, TURNED_DOWN, WITHDRAWN, State, encode
from processors.subject import effective
from tests.identity_world import (
    FOUR,
    ONE,
    THREE,
    TWO,
    below,
    hears,
    merge,
    nothing_on_its_way,
    totals,
    unmerge,
)
from tests.strategies import at
from tests.world import MONDAY, Funnel, variant

QUICK = """
[[sla]]
name = "quick"
when = { country = "DE" }
first_touch = "1h"
decision = "2h"
expire_after = "40h"
calendar = "default"
[[sla]]
name = "standard"
first_touch = "4h"
decision = "16h"
expire_after = "40h"
calendar = "default"
"""


def facts(f: Funnel, key: str) -> set[int]:
    """Identities of what a row folds."""
    return {e[1] >> 16 for e in effective(f.row(key))}


def derived(f: Funnel, lead: str) -> State:
    return f.row(f"l:{lead}").head


def three(t: int = MONDAY + 9 * HOUR) -> Funnel:
    f = Funnel()
    for n, lead in enumerate((ONE, TWO, THREE)):
        f.fit(t + n, lead)
        f.say("page_viewed", t + HOUR + n, {"url": f"https://example.com/{n}"}, lead=lead)
    assert len({f.topology.partition_of(x) for x in (ONE, TWO, THREE)}) > 1
    return f


def test_case_12_a_chain_of_merges_ends_in_its_last_winner() -> None:
    f = three()
    own = {lead: facts(f, f"l:{lead}") for lead in (ONE, TWO, THREE)}
    merge(f, ONE, TWO, MONDAY + 12 * HOUR, 1)
    merge(f, TWO, THREE, MONDAY + 13 * HOUR, 2)
    assert below(f, THREE) == ["l:lead-1", "l:lead-2"]
    assert set.union(*own.values()) <= facts(f, "l:lead-3")
    assert derived(f, ONE) == derived(f, TWO) == State()
    assert f.total("persons") == 1
    nothing_on_its_way(f)


def test_case_12_unmerging_the_second_leaves_the_first() -> None:
    f = three()
    merge(f, ONE, TWO, MONDAY + 12 * HOUR, 1)
    merge(f, TWO, THREE, MONDAY + 13 * HOUR, 2)
    apart = three()
    merge(apart, ONE, TWO, MONDAY + 12 * HOUR, 1)
    unmerge(f, THREE, MONDAY + 14 * HOUR, 2)
    assert below(f, TWO) == ["l:lead-1"]
    assert below(f, THREE) == []
    for lead in (ONE, TWO, THREE):
        assert encode(derived(f, lead)) == encode(derived(apart, lead))
    assert totals(f) == totals(apart)
    nothing_on_its_way(f)


def test_case_12_whatever_came_first() -> None:
    f = three()
    merge(f, TWO, THREE, MONDAY + 13 * HOUR, 2, run=False)
    f.until(MONDAY + 14 * HOUR)
    merge(f, ONE, TWO, MONDAY + 12 * HOUR, 1)
    assert below(f, THREE) == ["l:lead-1", "l:lead-2"]
    nothing_on_its_way(f)


def test_case_13_the_later_merge_of_a_circle_is_refused_and_both_are_told() -> None:
    f = three()
    merge(f, ONE, TWO, MONDAY + 12 * HOUR, 1)
    merge(f, TWO, ONE, MONDAY + 13 * HOUR, 2)
    assert (f.row("l:lead-1").target, f.row("l:lead-2").target) == ("l:lead-2", "")
    assert f.total("persons") == 2, "lead-1 in lead-2, and lead-3"
    for lead in (ONE, TWO):
        said = f.out("stage_changes", lead, kind="refused")
        assert [(x["op"], x["reason"], x["occurred_at"]) for x in said] == [
            ("new", "lead-2 into lead-1", MONDAY + 13 * HOUR)
        ]
        assert "circle" in said[0]["rule"]
    nothing_on_its_way(f)


def test_case_13_in_the_total_order_and_not_in_that_of_arrival() -> None:
    f = three()
    merge(f, TWO, ONE, MONDAY + 13 * HOUR, 2)
    assert f.row("l:lead-2").target == "l:lead-1"
    merge(f, ONE, TWO, MONDAY + 12 * HOUR, 1)
    assert (f.row("l:lead-1").target, f.row("l:lead-2").target) == ("l:lead-2", "")
    nothing_on_its_way(f)


def test_case_13_of_three_and_the_merge_before_the_refused_one_holds() -> None:
    f = three()
    f.fit(MONDAY + 9 * HOUR + 5, FOUR)
    merge(f, THREE, FOUR, MONDAY + 11 * HOUR, 0)
    merge(f, ONE, TWO, MONDAY + 12 * HOUR, 1)
    merge(f, TWO, THREE, MONDAY + 13 * HOUR, 2)
    merge(f, THREE, ONE, MONDAY + 14 * HOUR, 3)
    assert below(f, FOUR) == ["l:lead-1", "l:lead-2", "l:lead-3"]
    assert f.total("persons") == 1
    assert [len(f.out("stage_changes", x, kind="refused")) for x in (ONE, TWO, THREE)] == [1, 0, 1]
    # Without the first of the circle there is none.
    unmerge(f, TWO, MONDAY + 15 * HOUR, 1)
    assert f.row("l:lead-3").target == "l:lead-1"
    assert [f.out("stage_changes", x, kind="refused")[-1]["op"] for x in (ONE, THREE)] == ["withdrawn"] * 2
    nothing_on_its_way(f)


def merged_after_handoff() -> tuple[Funnel, int, str]:
    """lead-1 was handed over at 10:02; at 11 it turned out to be lead-2."""
    f = Funnel(owners=[{"owner": "owner-1", "team": "sales", "active": True}])
    f.fit()
    t = f.hot()
    f.fit(t + MINUTE, TWO)
    named = f.handoffs(ONE)[0].id
    merge(f, ONE, TWO, MONDAY + 11 * HOUR, 1)
    return f, t, named


def test_case_14_the_handoff_of_the_loser_goes_on() -> None:
    f, t, named = merged_after_handoff()
    (h,) = f.handoffs(TWO)
    assert (h.id, h.start, h.outcome, h.owner) == (named, t, OPEN, "owner-1")
    assert f.handoffs(ONE) == []
    (made,) = f.out("handoffs", ONE, kind="made")
    (again,) = f.out("handoffs", TWO, kind="made")
    assert (again["handoff_id"], again["op"], again["started_at"]) == (named, "revised", made["started_at"])
    assert again["first_touch_due_at"] == made["first_touch_due_at"]
    assert again["revision"] > made["revision"], "a subscriber knows which came later"
    held = hears(f).state["handoff", made["output_id"]]
    assert held["lead_id"] == TWO
    assert f.total("handoff") == 1
    nothing_on_its_way(f)


def test_case_14_the_sequences_of_the_loser_end_with_merged_into() -> None:
    f, _, _ = merged_after_handoff()
    for name in ("stage_changes", "handoffs", "sla", "nurture"):
        said = f.out(name, ONE)
        assert (said[-1]["kind"], said[-1]["merged_into"]) == ("merged_into", TWO)
        assert [x["sequence"] for x in said] == list(range(1, len(said) + 1))


def test_case_14_the_clock_runs_out_for_the_winner() -> None:
    f, t, named = merged_after_handoff()
    due = f.handoffs(TWO)[0].due_touch
    f.until(due + 3 * MINUTE)
    (breach,) = f.out("sla", None, kind="breached")
    assert (breach["lead_id"], breach["handoff_id"], breach["occurred_at"]) == (TWO, named, due)
    f.say("accepted", due + HOUR, {"handoff_id": named}, lead=ONE)
    (answer,) = f.out("handoffs", None, kind="answered")
    assert (answer["lead_id"], answer["outcome"], answer["breached"]) == (TWO, "accepted", True)
    assert t < due


def both_open(first: str, second: str) -> Funnel:
    """``first`` was handed over at 10:02, ``second`` an hour later, which has two hours to decide and not two days."""
    f = Funnel(variant(QUICK))
    f.fit(MONDAY + 9 * HOUR, first, country="FR")
    f.fit(MONDAY + 9 * HOUR + 1, second, country="DE")
    f.hot(lead=first)
    f.hot(MONDAY + 11 * HOUR, lead=second, n="2")
    assert [len(f.handoffs(x)) for x in (first, second)] == [1, 1]
    return f


def test_case_15_of_two_open_handoffs_the_earliest_due_stays() -> None:
    for loser, winner in ((ONE, TWO), (TWO, ONE)):
        f = both_open(ONE, TWO)
        late, early = f.handoffs(ONE)[0], f.handoffs(TWO)[0]
        assert early.due_decide < late.due_decide
        assert early.trigger > late.trigger
        merge(f, loser, winner, MONDAY + 12 * HOUR, 1)
        open_ = [h for h in f.handoffs(winner) if h.outcome == OPEN]
        assert [(h.id, h.start) for h in open_] == [(early.id, early.start)]
        (gone,) = f.out("handoffs", winner, handoff_id=late.id, kind="withdrawn")
        assert (gone["reason_code"], gone["outcome"]) == ("merged", "withdrawn")
        held = hears(f).holding("handoff", winner)
        assert {x["handoff_id"] for x in held.values() if x["kind"] == "made"} == {early.id}
        assert f.total("handoff") == f.total("handoff", outcome="open") == 1
        nothing_on_its_way(f)


def test_case_15_and_later_calls_take_over_neither() -> None:
    f = both_open(ONE, TWO)
    late, early = f.handoffs(ONE)[0], f.handoffs(TWO)[0]
    merge(f, ONE, TWO, MONDAY + 12 * HOUR, 1)
    f.say("rejected", MONDAY + 13 * HOUR, {"reason_code": "no_budget"}, lead=TWO)
    f.raise_hand(MONDAY + 14 * HOUR, TWO)
    answered, new = f.handoffs(TWO)
    assert (answered.id, answered.outcome) == (early.id, TURNED_DOWN)
    assert new.id not in (early.id, late.id)
    assert new.start == MONDAY + 14 * HOUR


def test_case_16_the_disqualified_winner_wins() -> None:
    f = Funnel()
    f.fit(MONDAY + 8 * HOUR, TWO)
    f.say("disqualified", MONDAY + 9 * HOUR, {"reason_code": "competitor"}, lead=TWO)
    f.fit()
    f.hot()
    (h,) = f.handoffs(ONE)
    merge(f, ONE, TWO, MONDAY + 11 * HOUR, 1)
    assert all(x.outcome != OPEN for x in f.handoffs(TWO))
    assert f.stages(TWO)[-1] == "disqualified"
    assert f.stages(ONE) == []
    (gone,) = f.out("handoffs", TWO, kind="withdrawn")
    assert gone["handoff_id"] == h.id
    assert list(hears(f).holding("sla", TWO)) == []
    assert f.total("handoff", outcome="open") == 0
    nothing_on_its_way(f)


def test_case_16_disqualified_after_the_call() -> None:
    f = Funnel()
    f.fit(MONDAY + 8 * HOUR, TWO)
    f.fit()
    f.hot()
    f.say("disqualified", MONDAY + 11 * HOUR, {"reason_code": "competitor"}, lead=TWO)
    merge(f, ONE, TWO, MONDAY + 12 * HOUR, 1)
    (h,) = f.handoffs(TWO)
    assert (h.outcome, h.ended, h.reason) == (WITHDRAWN, MONDAY + 11 * HOUR, "disqualified")
    assert f.stages(TWO)[-1] == "disqualified"
    nothing_on_its_way(f)


def test_case_17_what_arrives_for_the_loser_is_forwarded() -> None:
    f = three()
    merge(f, ONE, TWO, MONDAY + 12 * HOUR, 1)
    merge(f, TWO, THREE, MONDAY + 13 * HOUR, 2)
    f.hot(MONDAY + 14 * HOUR, ONE)
    assert [h.outcome for h in f.handoffs(THREE)] == [OPEN]
    assert f.handoffs(ONE) == []
    assert f.out("handoffs", ONE) == []
    f.say("accepted", MONDAY + 15 * HOUR, lead=TWO)
    assert f.total("handoff", outcome="accepted") == 1
    nothing_on_its_way(f)


def unmerged_world(merged: bool) -> Funnel:
    f = Funnel()
    f.fit(MONDAY + 8 * HOUR, TWO)
    f.say("page_viewed", MONDAY + 9 * HOUR, {"url": "https://example.com/a"}, lead=TWO)
    f.fit()
    f.hot()
    f.n += 1 - merged  # so that all other events are the same
    if merged:
        merge(f, ONE, TWO, MONDAY + 11 * HOUR, 1)
        f.until(MONDAY + 12 * HOUR)
    f.say("touched", MONDAY + 12 * HOUR, {"channel": "phone", "kind": "call"}, lead=ONE)
    f.say("content_downloaded", MONDAY + 12 * HOUR + 1, {"asset_id": "c"}, lead=TWO)
    f.n += 1 - merged
    if merged:
        unmerge(f, TWO, MONDAY + 13 * HOUR, 1)
    f.say("accepted", MONDAY + 14 * HOUR, lead=ONE)
    return f


def test_case_18_unmerged_as_if_never_merged() -> None:
    f, never = unmerged_world(True), unmerged_world(False)
    for lead in (ONE, TWO):
        assert encode(derived(f, lead)) == encode(derived(never, lead))
    assert totals(f) == totals(never)
    assert below(f, TWO) == []
    nothing_on_its_way(f)


def test_case_18_what_was_said_is_restated_and_not_denied() -> None:
    f, never = unmerged_world(True), unmerged_world(False)
    named = f.handoffs(ONE)[0].id
    said = [x for x in f.out("handoffs", None) if x["output_id"] == f"{named}/made"]
    assert [(x["lead_id"], x["op"]) for x in said if x["lead_id"] == TWO] == [(TWO, "revised")]
    assert max(said, key=lambda x: x["revision"])["lead_id"] == ONE
    assert not any(x["op"] == "withdrawn" for x in said), "nobody is called off in between"
    a, b = hears(f), hears(never)
    for name in ("stage_change", "handoff", "sla", "nurture"):
        for lead in (ONE, TWO):
            mine, theirs = a.holding(name, lead), b.holding(name, lead)
            assert {k: v["occurred_at"] for k, v in mine.items()} == {
                k: v["occurred_at"] for k, v in theirs.items()
            }
    assert [x["op"] for x in f.out("stage_changes", ONE, kind="merged_into")] == ["new", "withdrawn"]


def test_case_18_two_open_handoffs_come_apart_again() -> None:
    f, never = both_open(ONE, TWO), both_open(ONE, TWO)
    merge(f, ONE, TWO, MONDAY + 12 * HOUR, 1)
    unmerge(f, TWO, MONDAY + 13 * HOUR, 1)
    never.until(MONDAY + 13 * HOUR)
    for lead in (ONE, TWO):
        assert encode(derived(f, lead)) == encode(derived(never, lead))
        held = {x["handoff_id"] for x in hears(f).holding("handoff", lead).values()}
        assert held == {h.id for h in never.handoffs(lead)}
    assert totals(f) == totals(never)
    merge(f, ONE, TWO, MONDAY + 14 * HOUR, 2)
    assert len(f.handoffs(TWO)) == 1
    nothing_on_its_way(f)


def test_case_19_what_both_know_counts_once() -> None:
    f = Funnel()
    for lead in (ONE, TWO):
        f.fit(lead=lead)
        f.say(
            "content_downloaded", MONDAY + 10 * HOUR, {"asset_id": "a"}, lead=lead, source_event_id="same",
            source_system="web",
        )  # fmt: skip
    alone = f.score(ONE)
    merge(f, ONE, TWO, MONDAY + 11 * HOUR, 1)
    assert f.score(TWO) == alone > 0
    nothing_on_its_way(f)


def test_case_21_two_halves_of_a_lead_are_called_when_they_are_known_to_be_one() -> None:
    f = Funnel()
    f.fit(MONDAY + 8 * HOUR, ONE)
    f.fit(MONDAY + 8 * HOUR, TWO)
    f.say("event_attended", MONDAY + 9 * HOUR, {"event_id": "w", "kind": "webinar"}, lead=ONE)
    for n in (1, 2):
        f.say("content_downloaded", MONDAY + 10 * HOUR + n, {"asset_id": str(n)}, lead=TWO)
    assert f.handoffs(ONE) == f.handoffs(TWO) == []
    merge(f, ONE, TWO, at(2, 15), 1)
    assert [(h.trigger, h.start) for h in f.handoffs(TWO)] == [(MONDAY + 10 * HOUR + 2, at(2, 15))]


def test_case_21_a_call_that_nobody_has_heard_starts_when_the_loser_could_be_called() -> None:
    """As a live worker would have said it before the merge, so one that catches up says it after."""
    starts = []
    for live in (True, False):
        f = Funnel(live=live)
        f.fit()
        t = f.hot()
        f.fit(t + MINUTE, TWO)
        merge(f, ONE, TWO, at(1, 15), 1)
        f.driver.catch_up()
        starts.append([(h.trigger, h.start) for h in f.handoffs(TWO)])
    assert starts[0] == starts[1] == [(t, t)]


def test_a_merge_dated_ahead_waits_until_then() -> None:
    f = three()
    merge(f, ONE, TWO, MONDAY + 15 * HOUR, 1, recorded_at=MONDAY + 12 * HOUR)
    assert below(f, TWO) == []
    f.until(MONDAY + 15 * HOUR)
    assert below(f, TWO) == ["l:lead-1"]
    nothing_on_its_way(f)


def test_the_deals_of_the_loser_are_the_winners() -> None:
    f = three()
    payload = {
        "leads": [{"lead_id": ONE}], "amount": 900, "currency": "EUR", "pipeline": "p", "stage": "s",
    }  # fmt: skip
    f.say("opened", MONDAY + 11 * HOUR, payload, deal="deal-1")
    merge(f, ONE, TWO, MONDAY + 12 * HOUR, 1)
    f.say("won", MONDAY + 13 * HOUR, {"amount": 900, "currency": "EUR"}, deal="deal-1")
    assert f.head(TWO).shares["deal-1"].amount == 900
    assert f.head(ONE).shares == {}
    assert f.stages(TWO)[-1] == "won"
    assert f.total("entered", stage="won") == 1
    unmerge(f, TWO, MONDAY + 14 * HOUR, 1)
    assert f.head(TWO).shares == {}
    assert f.stages(ONE)[-1] == "won"
    nothing_on_its_way(f)


def test_a_worker_that_starts_anew_knows_who_is_who() -> None:
    f, _, named = merged_after_handoff()
    before = totals(f)
    f.restart()
    assert totals(f) == before
    f.say("accepted", MONDAY + 12 * HOUR, {"handoff_id": named}, lead=ONE)
    assert [h.id for h in f.handoffs(TWO) if h.outcome] == [named]
    f.until(MONDAY + 30 * DAY)
    nothing_on_its_way(f)


def test_facts_about_who_is_who_make_no_snapshots() -> None:
    """They change no state, so a snapshot after them would only repeat the one before."""
    f = Funnel()
    merge(f, TWO, ONE, MONDAY + 9 * HOUR, 1)
    unmerge(f, ONE, MONDAY + 10 * HOUR, 1)
    assert f.row("l:lead-1").snapshots == []


@pytest.mark.parametrize(
    ("names", "named", "by"),
    [
        ({"source_event_id": "m-1", "event_id": "0190-a"}, "0190-a", "crm"),
        ({"source_event_id": "m-1", "event_id": "0190-a"}, "m-1", "crm"),
        ({"source_event_id": "m-1"}, "m-1", "steward"),
        ({"source_event_id": None, "event_id": "0190-a"}, "0190-a", "steward"),
    ],
)
def test_case_18_a_merge_is_taken_back_by_whatever_it_is_called(
    names: dict[str, str], named: str, by: str
) -> None:
    """By event_id or source_event_id, as the schema says, and by another system than told of it."""
    f = three()
    f.say("merged", MONDAY + 12 * HOUR, {"loser": ONE, "winner": TWO}, lead=TWO, **names)
    assert below(f, TWO) == ["l:lead-1"]
    f.say("unmerged", MONDAY + 13 * HOUR, {"merge_event_id": "other"}, lead=TWO, source_system=by)
    assert below(f, TWO) == ["l:lead-1"]
    f.say("unmerged", MONDAY + 14 * HOUR, {"merge_event_id": named}, lead=TWO, source_system=by)
    assert below(f, TWO) == []
    nothing_on_its_way(f)


def test_case_18_taking_back_what_is_no_merge_of_the_lead_is_refused_until_it_is_one() -> None:
    """Not passed over in silence: the id may be wrong, or that of a merge of another lead of the chain."""
    f = three()
    unmerge(f, TWO, MONDAY + 13 * HOUR, 1)
    (said,) = f.out("stage_changes", TWO, kind="refused")
    assert (said["reason"], said["rule"], said["occurred_at"]) == (
        "unmerged", "no such merge of this lead", MONDAY + 13 * HOUR,
    )  # fmt: skip
    merge(f, ONE, TWO, MONDAY + 12 * HOUR, 1)
    assert [x["op"] for x in f.out("stage_changes", TWO, kind="refused")] == ["new", "withdrawn"]
    assert below(f, TWO) == []
    merge(f, ONE, TWO, MONDAY + 14 * HOUR, 2)
    merge(f, TWO, THREE, MONDAY + 15 * HOUR, 3)
    unmerge(f, THREE, MONDAY + 16 * HOUR, 2)
    assert below(f, THREE) == ["l:lead-1", "l:lead-2"]
    assert [x["op"] for x in f.out("stage_changes", THREE, kind="refused")] == ["new"]
    nothing_on_its_way(f)


@pytest.mark.parametrize("first", ["topic order", "other order"])
def test_case_19_of_two_claims_that_a_merge_brings_the_one_recorded_first_stays(first: str) -> None:
    """Both could be known to be the winner's only with the merge: that makes them no younger than each other."""
    f = Funnel(now=at(5))
    attended = {"event_id": "w", "kind": "webinar"}
    told = [(at(2), {"anonymous_id": "v-1"}), (at(1), {"lead_id": ONE})]
    for t, subject in told if first == "topic order" else reversed(told):
        f.say("event_attended", t, attended, subject=subject, recorded_at=t + HOUR)
    f.say("identified", at(3), {"anonymous_id": "v-1", "lead_id": ONE}, recorded_at=at(3))
    f.fit(at(1), TWO)
    merge(f, ONE, TWO, at(4), 1)
    assert [
        e[0] >> 22 for e in effective(f.row("l:lead-2")) if e[1] >> 8 & 255 == KIND["event_attended"]
    ] == [at(1)]
    nothing_on_its_way(f)
