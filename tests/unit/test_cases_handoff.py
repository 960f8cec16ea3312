"""DOMAIN 5: the call on sales, its clocks, its one outcome, and what it brings along."""

from __future__ import annotations

from collections import Counter

import pytest

from processors.definition.model import DAY, HOUR, MINUTE
from processors.model import ACCEPTED, LAPSED, LATE, OPEN, TURNED_DOWN, UNGROUNDED, WITHDRAWN
from tests.strategies import at
from tests.world import Funnel, handed_over, variant

CALL = {"channel": "phone", "kind": "call"}


# Clocks ---------------------------------------------------------------------------------------------------------


def test_the_clocks_of_a_handoff() -> None:
    f, t = handed_over()
    (made,) = f.out("handoffs", kind="made")
    assert made["trigger_at"] == made["started_at"] == t == at(1, 10, 2 * MINUTE)
    assert made["first_touch_due_at"] == at(1, 14, 2 * MINUTE)
    assert made["decision_due_at"] == at(3, 10, 2 * MINUTE)
    assert made["expires_at"] == at(5, 10, 2 * MINUTE)
    assert {x["clock"] for x in f.out("sla", kind="started")} == {"first_touch", "decision"}
    assert f.out("nurture")[-1]["kind"] == "paused"


def test_a_breach_is_dated_at_due_and_published_after_the_grace_without_any_event() -> None:
    f, _ = handed_over()
    due = f.handoffs()[0].due_touch
    f.until(due + 2 * MINUTE - 1)
    assert f.out("sla", kind="breached") == []
    f.until(due + 2 * MINUTE)
    (breach,) = f.out("sla", kind="breached")
    assert (breach["occurred_at"], breach["as_of"]) == (due, due + 2 * MINUTE)
    assert [x["kind"] for x in f.out("sla")][-1] == "escalated"
    f.until(at(9))
    outcomes = [x["outcome"] for x in f.out("handoffs", kind="answered")]
    assert outcomes == ["expired"]
    assert f.out("nurture")[-1]["kind"] == "resumed"


def test_a_touch_exactly_at_due_is_in_time() -> None:
    f, _ = handed_over()
    due = f.handoffs()[0].due_touch
    f.until(due + MINUTE)  # the touch arrives a moment later, within the grace
    f.say("touched", due, CALL)
    f.until(at(1, 16))
    assert [x["kind"] for x in f.out("sla", clock="first_touch")] == ["started", "met"]


def test_a_touch_that_arrives_after_the_breach_was_told_takes_it_back() -> None:
    f, _ = handed_over()
    due = f.handoffs()[0].due_touch
    f.until(due + HOUR)
    f.say("touched", due - MINUTE, CALL)
    assert [(x["kind"], x["op"]) for x in f.out("sla", clock="first_touch")] == [
        ("started", "new"), ("breached", "new"), ("escalated", "new"), ("met", "new"), ("breached", "withdrawn"),
        ("escalated", "withdrawn"),
    ]  # fmt: skip


def test_a_system_does_not_stop_the_first_touch() -> None:
    f, _ = handed_over()
    f.say("touched", at(1, 11), CALL, actor={"type": "system", "id": "sequencer"})
    assert not f.handoffs()[0].touched


def test_the_meeting_clock_goes_on_after_acceptance() -> None:
    meeting = variant(
        '[[sla]]\nname = "m"\nfirst_touch = "4h"\ndecision = "8h"\nmeeting = "16h"\nexpire_after = "16h"'
    )
    f, t = handed_over(meeting)
    f.say("accepted", at(1, 12))
    assert f.out("sla", clock="meeting", kind="met") == []
    g, _ = handed_over(meeting)
    g.say("accepted", at(1, 12))
    g.say("touched", at(2, 12), {"channel": "video", "kind": "meeting"})
    assert g.out("sla", clock="meeting", kind="met")[0]["occurred_at"] == at(2, 12)
    f.until(t + 9 * DAY)
    assert [x["occurred_at"] for x in f.out("sla", clock="meeting", kind="breached")] == [
        at(3, 10, 2 * MINUTE)
    ]
    assert f.handoffs()[0].outcome == ACCEPTED


def test_a_late_fact_that_changes_nothing_moves_no_clock() -> None:
    """Live or catching up, with a page view that was recorded three days late: the clocks start alike."""
    starts = []
    for live in (True, False):
        f = Funnel(live=live)
        f.fit()
        if live:
            f.raise_hand(at(1, 10), recorded_at=at(1, 10, 5000))
            f.say("page_viewed", at(1, 9, MINUTE), {"url": "/"}, recorded_at=at(4, 9))
        else:
            f.say("page_viewed", at(1, 9, MINUTE), {"url": "/"}, recorded_at=at(4, 9))
            f.raise_hand(at(1, 10), recorded_at=at(1, 10, 5000))
            f.driver.catch_up()
        starts.append(f.handoffs()[0].start)
    assert starts[0] == starts[1] < at(1, 10, 6000)


def test_a_clock_starts_when_the_ground_could_be_known() -> None:
    f = Funnel()
    f.fit()
    f.until(at(4, 9))
    f.raise_hand(at(1, 10), recorded_at=at(4, 9))  # a form that lay in a queue for three days
    (made,) = f.out("handoffs", kind="made")
    assert made["trigger_at"] == at(1, 10)
    assert 0 <= made["started_at"] - at(4, 9) <= 71 * HOUR // 2048 + 1
    f.until(at(4, 12))
    assert f.out("sla", kind="breached") == []


# Answers --------------------------------------------------------------------------------------------------------


def test_a_named_answer_and_an_unnamed_one() -> None:
    for named in (True, False):
        f, _ = handed_over()
        payload = {"handoff_id": f.handoffs()[0].id} if named else {}
        f.say("accepted", at(1, 12), payload)
        (answered,) = f.out("handoffs", kind="answered")
        assert (answered["outcome"], answered["outcome_at"]) == ("accepted", at(1, 12))
        assert f.stages()[-1] == "sal"


@pytest.mark.parametrize("answer", ["accepted", "rejected", "touched"])
def test_an_answer_to_an_unknown_handoff_is_refused(answer: str) -> None:
    f, _ = handed_over()
    payload = {"handoff_id": "no-such-handoff"} | (CALL if answer == "touched" else {})
    f.say(answer, at(1, 12), payload | ({"reason_code": "timing"} if answer == "rejected" else {}))
    (refused,) = f.out("stage_changes", kind="refused")
    assert refused["rule"] == "no such handoff"
    assert f.handoffs()[0].outcome == OPEN


def test_with_none_open_a_rejection_is_refused_and_an_acceptance_implies() -> None:
    f = Funnel()
    f.fit()
    f.say("rejected", at(1, 10), {"reason_code": "timing"})
    assert f.out("stage_changes", kind="refused")[0]["rule"] == "no handoff was open"
    f.say("accepted", at(1, 11))
    assert f.stages()[-1] == "sal"
    assert f.handoffs() == []
    f.say("qualified_by_sales", at(1, 12))
    assert f.stages()[-1] == "sql"


def test_a_second_answer_is_refused() -> None:
    f, _ = handed_over()
    h = f.handoffs()[0].id
    f.say("rejected", at(1, 12), {"reason_code": "timing", "handoff_id": h})
    f.say("accepted", at(1, 13), {"handoff_id": h})
    assert f.out("stage_changes", kind="refused")[0]["rule"] == "the handoff has ended"
    assert [h.outcome for h in f.handoffs()] == [TURNED_DOWN]


def test_accepted_after_expiry_is_another_attempt_accepted_at_once_and_late() -> None:
    f, _ = handed_over()
    first = f.handoffs()[0]
    f.say("accepted", at(8, 10), {"handoff_id": first.id})
    one, two = f.handoffs()
    assert (one.outcome, two.outcome, two.attempt, bool(two.flags & LATE)) == (LAPSED, ACCEPTED, 2, True)
    assert f.stages()[-3:] == ["expired", "mql", "sal"]
    answered = f.out("handoffs", kind="answered")[-1]
    assert (answered["outcome"], answered["late"]) == ("accepted", True)
    f.say("page_viewed", at(1, 9, 1), {"url": "/"})  # a late fact: folded again, the same two are found
    assert [h.ordinal for h in f.handoffs()] == [1, 2]
    assert len({x["handoff_id"] for x in f.out("handoffs")}) == 2


def test_other_needs_notes() -> None:
    f, _ = handed_over()
    f.say("rejected", at(1, 12), {"reason_code": "other"})
    assert [x["code"] for x in f.dead()] == ["missing_field"]
    assert f.handoffs()[0].outcome == OPEN
    f.say("rejected", at(1, 12, 1), {"reason_code": "other", "notes": "speaks no language we do"})
    assert f.out("handoffs", kind="answered")[0]["notes"] == "speaks no language we do"


@pytest.mark.parametrize(
    ("code", "exit_", "returns"),
    [("timing", "rejected", 90), ("not_a_fit", "rejected", None), ("spam", "disqualified", None)],
)
def test_what_becomes_of_a_rejected_lead_by_code(code: str, exit_: str, returns: int | None) -> None:
    f, t = handed_over()
    f.say("rejected", at(1, 12), {"reason_code": code})
    assert f.stages()[-1] == exit_
    assert f.out("nurture")[-1]["kind"] == ("paused" if code == "spam" else "resumed")
    f.until(t + 100 * DAY)
    f.hot(t + 100 * DAY, n="2")
    assert len(f.handoffs()) == (2 if returns else 1)
    if code != "spam":
        f.raise_hand(t + 101 * DAY)
        assert len(f.handoffs()) == 2


def test_an_answer_pins_the_handoff() -> None:
    """A disqualifying fact comes late, dated before it: unanswered it is withdrawn, answered it stays, flagged."""
    for answer in (None, "accepted", "touched"):
        f, _ = handed_over()
        if answer:
            f.say(answer, at(1, 12), CALL if answer == "touched" else {})
        name = f.handoffs()[0].id
        f.say(
            "attributes_changed",
            at(1, 9, MINUTE),
            {"fields": {"relationship": "competitor"}},
            recorded_at=at(1, 13),
        )
        held = {x["output_id"]: x for x in f.out("handoffs")}
        if answer is None:
            assert f.handoffs() == []
            assert f.out("handoffs", kind="withdrawn")[0]["handoff_id"] == name
            continue
        (h,) = f.handoffs()
        assert h.id == name
        assert h.flags & UNGROUNDED
        assert h.outcome == (ACCEPTED if answer == "accepted" else OPEN)
        assert held[f"{name}/made"]["op"] == "revised"
        assert held[f"{name}/made"]["flags"] == ["ground gone since the answer"]
        if answer == "accepted":
            assert f.stages()[-1] == "sal"
            assert f.total("handoff", outcome="accepted") == 1


# Owners ---------------------------------------------------------------------------------------------------------


def test_routing_follows_the_weights_and_is_recorded() -> None:
    people = [{"owner": f"owner-{w}", "team": "sales", "active": True, "weight": w} for w in (0, 1, 3)]
    f = Funnel(owners=people, flood_guard="off")
    for n in range(200):
        f.fit(at(1, 9), f"lead-{n}")
        f.raise_hand(at(1, 10), lead=f"lead-{n}")
    found = Counter(x["owner"] for x in f.out("handoffs", None, kind="made"))
    assert set(found) == {"owner-1", "owner-3"}
    assert 2 < found["owner-3"] / found["owner-1"] < 4.5
    assert {x["routing_reason"] for x in f.out("handoffs", None, kind="made")} == {
        "default team; hash among 2"
    }


def test_the_choice_of_an_owner_is_never_made_again() -> None:
    f, _ = handed_over(owners=[{"owner": "owner-1", "team": "sales", "active": True}])
    for n in range(2, 6):
        f.learn("owner_changed", 1_600_000_000_000, owner=f"owner-{n}", team="sales", active=True, weight=50)
    f.say("page_viewed", at(1, 9, 1), {"url": "/"})  # late, so everything is folded again
    assert f.handoffs()[0].owner == "owner-1"
    f.restart()
    f.say("page_viewed", at(1, 9, 2), {"url": "/"})
    assert f.handoffs()[0].owner == "owner-1"


def test_rules_name_the_team_and_the_leads_owner_comes_first() -> None:
    rules = variant(
        '[[routing]]\nname = "german"\nteam = "dach"\nwhen = { country = "DE" }\n'
        '[[routing]]\nname = "rest"\nteam = "world"\n'
    )
    people = [{"owner": f"owner-{n}", "team": "dach", "active": True} for n in range(5)]
    f = Funnel(rules, owners=people)
    f.fit()
    f.say("assigned", at(1, 9, 1), {"owner": "owner-3"})
    f.raise_hand(at(1, 10))
    (made,) = f.out("handoffs", kind="made")
    assert (made["team"], made["owner"]) == ("dach", "owner-3")
    assert made["routing_reason"] == "rule german; owner of the lead"


def test_a_breach_reassigns_where_the_policy_says_so_and_restarts_the_human_clock_only() -> None:
    escalating = variant(
        '[[sla]]\nname = "s"\nfirst_touch = "2h"\ndecision = "16h"\nexpire_after = "32h"\nescalate = "reassign"'
    )
    people = [{"owner": f"owner-{n}", "team": "sales", "active": True} for n in range(3)]
    f, _ = handed_over(escalating, owners=people)
    (h,) = f.handoffs()
    f.until(h.due_touch + 2 * MINUTE)
    (now,) = f.handoffs()
    assert now.owner != h.owner
    assert now.due_decide == h.due_decide
    assert now.due_touch == h.due_touch + 2 * MINUTE + 2 * HOUR
    (escalated,) = f.out("sla", kind="escalated")
    assert escalated["owner"] == now.owner
    (breach,) = f.out("sla", kind="breached")
    assert breach["owner"] == h.owner  # who missed it, not who has it now
    f.learn("owner_changed", 1_600_000_000_000, owner="owner-9", team="sales", active=True, weight=999_999)
    f.say("page_viewed", at(1, 9, 1), {"url": "/"})
    assert f.handoffs()[0].owner == now.owner  # not chosen again, although now another would be


# Consent, nurture, context --------------------------------------------------------------------------------------


def test_without_consent_to_be_contacted_an_open_handoff_is_withdrawn_and_none_is_made() -> None:
    f, _ = handed_over()
    f.say("consent_changed", at(1, 11), {"purpose": "sales_contact", "granted": False})
    assert f.handoffs()[0].outcome == WITHDRAWN
    assert f.out("handoffs", kind="withdrawn")[0]["reason_code"] == "consent"
    f.raise_hand(at(1, 12))
    assert len(f.handoffs()) == 1
    f.say("consent_changed", at(1, 13), {"purpose": "sales_contact", "granted": True})
    assert [(h.attempt, h.outcome) for h in f.handoffs()] == [(1, WITHDRAWN), (2, OPEN)]


def test_a_tie_of_consents_goes_to_the_withdrawal() -> None:
    f, _ = handed_over()
    for granted in (False, True):
        f.say("consent_changed", at(1, 11), {"purpose": "sales_contact", "granted": granted})
    assert f.head().consent["sales_contact"] == (False, at(1, 11))


def test_without_consent_to_marketing_nurture_stops() -> None:
    f, _ = handed_over()
    f.say("consent_changed", at(1, 11), {"purpose": "marketing", "granted": False})
    f.say("rejected", at(1, 12), {"reason_code": "timing"})
    assert [x["kind"] for x in f.out("nurture")] == ["paused", "stopped"]
    f.say("consent_changed", at(1, 13), {"purpose": "marketing", "granted": True})
    assert f.out("nurture")[-1]["kind"] == "resumed"


def test_recycling_resumes_nurture() -> None:
    f, _ = handed_over()
    f.say("accepted", at(1, 12))
    f.say("recycled", at(2, 12))
    assert [(x["kind"], x["reason"]) for x in f.out("nurture")] == [
        ("paused", "handed over"),
        ("resumed", "recycled"),
    ]


def test_ids_and_sequences_survive_a_restart() -> None:
    f, _ = handed_over()
    f.restart()
    f.say("page_viewed", at(1, 9, 1), {"url": "/"})
    f.say("accepted", at(1, 12))
    assert [x["sequence"] for x in f.out("handoffs")] == list(range(1, len(f.out("handoffs")) + 1))
    assert len({x["handoff_id"] for x in f.out("handoffs")}) == 1


# Found by the laws ----------------------------------------------------------------------------------------------


def test_a_touch_that_names_a_handoff_of_an_earlier_journey_is_refused() -> None:
    f, _ = handed_over()
    h = f.handoffs()[0].id
    f.say("rejected", at(1, 12), {"reason_code": "timing"})
    f.say("reopened", at(1, 13))
    f.say("touched", at(1, 14), CALL | {"handoff_id": h})
    assert f.out("stage_changes", kind="refused")[-1]["rule"] == "the handoff has ended"
    assert f.dead() == []


def test_two_refused_owners_at_one_instant_are_two_choices_that_replay_keeps() -> None:
    people = [{"owner": f"owner-{n}", "team": "sales", "active": n < 3} for n in range(4)]
    f, _ = handed_over(owners=people)
    for _ in range(2):
        f.say("assigned", at(1, 11), {"owner": "owner-3"})
    before = f.handoffs()
    f.say("page_viewed", at(1, 9, 1), {"url": "/"})
    after = f.handoffs()
    assert [h.owner for h in after[0].routes] == [h.owner for h in before[0].routes]
    assert len(after[0].routes) == 3
    assert after[0].owner == before[0].owner


def test_a_fact_from_before_the_clocks_started_costs_nobody_any_time() -> None:
    """An assignment dated on Monday of a handoff that could be known on Thursday only: no breach is born with it."""
    f = Funnel(owners=[{"owner": f"owner-{n}", "team": "sales", "active": True} for n in range(2)])
    f.fit()
    f.until(at(4, 9))
    f.say("assigned", at(1, 11), {"owner": "owner-0"}, recorded_at=at(1, 11))
    f.say("assigned", at(1, 12), {"owner": "owner-1"}, recorded_at=at(1, 12))
    f.raise_hand(at(1, 10), recorded_at=at(4, 9))
    (h,) = f.handoffs()
    assert h.owner == "owner-1"
    assert h.due_touch >= h.start + 4 * HOUR
    f.until(at(4, 12))
    assert f.out("sla", kind="breached") == []


def test_a_breach_that_was_none_is_taken_back_although_the_handoff_was_answered() -> None:
    f, _ = handed_over()
    f.say("accepted", at(3, 9))
    assert f.out("sla", clock="first_touch", kind="breached")
    f.say("touched", at(1, 11), CALL)
    assert f.out("sla", clock="first_touch", kind="breached")[-1]["op"] == "withdrawn"
    assert not f.out("handoffs", kind="answered")[-1]["breached"]


def test_an_answer_uses_up_the_hand_raises_before_it() -> None:
    f = Funnel()
    f.fit()
    f.raise_hand(at(1, 10))
    f.raise_hand(at(1, 11))
    f.say("rejected", at(1, 12), {"reason_code": "not_a_fit"})
    f.say("page_viewed", at(1, 13), {"url": "/"})
    f.until(at(8))
    assert [h.outcome for h in f.handoffs()] == [TURNED_DOWN]
    f.raise_hand(at(8, 10))
    assert [h.outcome for h in f.handoffs()] == [TURNED_DOWN, OPEN]


def test_at_one_instant_what_prospects_do_comes_before_what_sales_answers() -> None:
    """Whatever the identities of the two: six leads, so that some sort the other way round."""
    f = Funnel()
    leads = [f"lead-{n}" for n in range(6)]
    for lead in leads:
        f.fit(lead=lead)
        f.say("accepted", at(1, 10), lead=lead, recorded_at=at(1, 11))
        f.raise_hand(at(1, 10), lead=lead, recorded_at=at(1, 11))
    assert [[h.outcome for h in f.handoffs(lead)] for lead in leads] == [[ACCEPTED]] * 6


@pytest.mark.parametrize("late", [False, True])
def test_what_comes_at_the_instant_of_a_timer_comes_before_it(late: bool) -> None:
    """In order, and after the timer has fired."""
    f, _ = handed_over()
    expires = f.handoffs()[0].expires
    if late:
        f.until(expires + HOUR)
        assert f.handoffs()[0].outcome == LAPSED
    f.say("accepted", expires)
    (h,) = f.handoffs()
    assert (h.outcome, h.ended, h.flags & LATE) == (ACCEPTED, expires, 0)
