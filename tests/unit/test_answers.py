"""DOMAIN 5: what an answer does that comes too late, after another one, or from somebody else."""

from __future__ import annotations

import pytest

from processors.definition.model import HOUR, MINUTE
from processors.definition.plain import plain
from processors.model import ACCEPTED, FLAGS, LAPSED, OPEN, Handoff
from streams.definitions import default_text
from tests.strategies import at
from tests.world import Funnel, figure, handed_over, variant

PEOPLE = [{"owner": f"owner-{n}", "team": "sales", "active": True} for n in range(3)]
DEAL = {"leads": [{"lead_id": "lead-1"}], "amount": 100, "currency": "EUR", "pipeline": "p", "stage": "s"}
LATE_AT = at(8, 10)


def flags(h: Handoff) -> list[str]:
    return [name for bit, name in FLAGS.items() if h.flags & bit]


def refused(f: Funnel) -> list[str]:
    return [x["rule"] for x in f.out("stage_changes", kind="refused")]


# After it expired --------------------------------------------------------------------------------------------------


def test_a_late_acceptance_counts_no_second_mql_and_meets_no_deadline() -> None:
    f, _ = handed_over(owners=PEOPLE)
    f.say("accepted", LATE_AT)
    assert f.total("entered", stage="mql", series="marketing") == 1
    assert f.total("entered", stage="mql", series="implied") == 1
    assert f.out("sla", kind="met") == []
    assert set(figure(f, "sla_compliance").values()) == {0, None}
    assert figure(f, "speed_to_lead")["wall", "p50"] is None  # among the untouched, and not 0 s
    assert figure(f, "acceptance_all")[()] * 2 == 1
    assert f.total("untouched") == 1


def test_a_late_acceptance_leaves_the_lead_with_who_had_it_or_who_takes_it() -> None:
    for actor in (None, "somebody", "owner-1", "owner-2"):
        f, _ = handed_over(owners=PEOPLE)
        had = f.handoffs()[0].owner
        f.say("accepted", LATE_AT, actor={"type": "human", "id": actor} if actor else None)
        late = f.handoffs()[1]
        assert late.owner == (actor if actor in ("owner-1", "owner-2") else had)
        assert (late.team, late.routed) == ("sales", "accepted after it had expired")


@pytest.mark.parametrize(
    ("named", "rule"),
    [("no-such-handoff", "no such handoff"), ("the first", "the handoff has ended")],
)
def test_a_late_acceptance_of_another_handoff_is_refused(named: str, rule: str) -> None:
    f, _ = handed_over()
    first = f.handoffs()[0].id
    f.say("rejected", at(1, 12), {"reason_code": "timing"})
    f.raise_hand(at(1, 13))
    f.until(at(9))
    assert f.handoffs()[-1].outcome == LAPSED
    f.say("accepted", at(9, 10), {"handoff_id": first if named == "the first" else named})
    assert refused(f) == [rule]
    assert (len(f.handoffs()), f.stages()[-1]) == (2, "expired")


def test_a_former_owner_takes_nothing_that_has_expired() -> None:
    f, _ = handed_over(owners=PEOPLE)
    had = f.handoffs()[0].owner
    other = next(o["owner"] for o in PEOPLE if o["owner"] != had)
    f.say("assigned", at(1, 12), {"owner": other})
    f.say("accepted", LATE_AT, actor={"type": "human", "id": had})
    assert refused(f) == ["the former owner's hour has passed"]
    assert len(f.handoffs()) == 1


@pytest.mark.parametrize("what", ["qualified_by_sales", "stage_reported", "opened"])
def test_sales_that_goes_on_with_what_expired_has_taken_it_late(what: str) -> None:
    """The same journey, so that its conversions are those of the lead that marketing handed over."""
    f, _ = handed_over(owners=PEOPLE)
    f.until(LATE_AT)
    if what == "opened":
        f.say("opened", LATE_AT, DEAL, deal="deal-1")
    else:
        f.say(what, LATE_AT, {"stage": "sql"} if what == "stage_reported" else {})
    assert [(h.attempt, h.outcome) for h in f.handoffs()] == [(1, LAPSED), (2, ACCEPTED)]
    assert flags(f.handoffs()[1]) == ["late", "answered by implication"]
    assert f.stages()[4:] == ["expired", "mql", "sal", "sql", "opportunity"][: 4 + (what == "opened")]
    assert {x["journey"] for x in f.out("stage_changes")} == {1}
    conversion = figure(f, "cohort_conversion", at=at(200))
    assert conversion["mql", "sal", "ever"] == conversion["sal", "sql", "ever"] == 1
    assert f.total("entered", stage="sql") == 1
    f.say("page_viewed", at(1, 9, 1), {"url": "/"})  # a late fact: folded again, it is the same
    assert [h.ordinal for h in f.handoffs()] == [1, 2]


def test_imported_answers_that_came_late_are_not_taken_for_instant_ones() -> None:
    f = Funnel(now=at(60))
    f.fit(at(1, 9))
    f.raise_hand(at(1, 10), backfill=True)
    f.say("accepted", at(20, 10), backfill=True)
    assert f.total("handoff", outcome="accepted") == f.total("handoff", outcome="expired") == 1
    assert figure(f, "speed_to_lead")["wall", "p50"] is None
    assert (f.total("sla", state="met"), f.total("sla", state="breached")) == (0, 2)
    assert f.total("untouched") == 1


# What becomes of it, by code ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "exit_", "by_score", "by_hand"),
    [
        ("unreachable", "recycled", True, True),
        ("not_a_fit", "recycled", False, True),
        ("spam", "disqualified", False, False),
        ("no-such-code", "recycled", True, True),
    ],
)
def test_what_is_returned_comes_back_or_not_by_its_code(
    code: str, exit_: str, by_score: bool, by_hand: bool
) -> None:
    f, _ = handed_over()
    f.say("accepted", at(1, 12))
    f.say("rejected", at(2, 12), {"reason_code": code})
    (h,) = f.handoffs()
    assert (h.outcome, h.returned, f.total("returned", reason=code)) == (ACCEPTED, at(2, 12), 1)
    assert f.stages()[-1] == exit_
    f.until(at(100))
    f.hot(at(100), n="2")
    assert len(f.handoffs()) == 1 + by_score
    f.raise_hand(at(101))
    assert len(f.handoffs()) == 1 + by_hand


def test_a_rejection_by_a_code_that_the_definition_does_not_know_is_no_archive() -> None:
    f, _ = handed_over()
    f.say("rejected", at(1, 12), {"reason_code": "no-such-code"})
    assert f.head().until == at(31, 12)  # recycle_days: the usual time


LOST = '[[reasons]]\nof = "lost"\ncode = "price"\naction = "{}"\n'


@pytest.mark.parametrize(
    ("action", "by_score", "by_hand"),
    [("recycle", True, True), ("archive", False, True), ("disqualify", False, False)],
)
def test_what_is_lost_comes_back_or_not_by_its_code(action: str, by_score: bool, by_hand: bool) -> None:
    f, _ = handed_over(variant(LOST.format(action)))
    f.say("opened", at(1, 12), DEAL, deal="deal-1")
    f.say("lost", at(2, 12), {"reason_code": "price"}, deal="deal-1")
    assert f.stages()[-1] == "lost"
    f.until(at(100))
    f.hot(at(100), n="2")
    assert len(f.handoffs()) == 1 + by_score
    f.raise_hand(at(101))
    assert len(f.handoffs()) == 1 + by_hand


@pytest.mark.parametrize("accepted", [False, True])
def test_a_code_means_what_it_meant_when_sales_was_called(accepted: bool) -> None:
    """Case 38: the version in force when a handoff starts governs it to its end."""
    f, _ = handed_over()
    text = (
        default_text()
        .replace("version = 1", "version = 2", 1)
        .replace('code = "no_budget"\nlabel = "No budget"\naction = "recycle"\nafter_days = 120',
                 'code = "no_budget"\nlabel = "No budget"\naction = "archive"')
    )  # fmt: skip
    f.learn("definition_published", at(1, 11), name="default", version=2, toml=text, effective_at=at(1, 11))
    if accepted:
        f.say("accepted", at(1, 12))
    f.say("rejected", at(1, 13), {"reason_code": "no_budget"})
    assert f.head().until == at(121, 13)


def test_a_rejection_within_the_grace_of_a_missed_first_touch_hides_no_breach() -> None:
    f, _ = handed_over()
    due = f.handoffs()[0].due_touch
    f.say("rejected", due + MINUTE, {"reason_code": "timing"})
    assert [x["occurred_at"] for x in f.out("sla", clock="first_touch", kind="breached")] == [due]
    assert f.out("handoffs", kind="answered")[0]["breached"]
    assert f.total("sla", clock="first_touch", state="breached") == 1
    g, _ = handed_over()
    g.say("rejected", due, {"reason_code": "timing"})
    assert g.out("sla", clock="first_touch", kind="breached") == []


def test_what_a_disqualification_does_is_said_as_it_is() -> None:
    """Whatever the action of its code: it is for good."""
    made = variant(
        '[[reasons]]\nof = "disqualification"\ncode = "rival"\naction = "recycle"\nafter_days = 9\n'
    )
    (row,) = [line for line in plain(made).splitlines() if "rival" in line]
    assert row.endswith("| never contacted by sales again |")


# What the next one is told -----------------------------------------------------------------------------------------


def test_the_next_attempt_is_told_how_the_one_before_ended_and_who_has_been_in_touch() -> None:
    f, _ = handed_over()
    call = {"channel": "phone", "kind": "call", "handoff_id": f.handoffs()[0].id}
    f.say("touched", at(1, 11), call, actor={"type": "human", "id": "owner-1"})
    f.say("touched", at(1, 11, MINUTE), call, actor={"type": "system", "id": "sequencer"})
    f.say("rejected", at(1, 12), {"reason_code": "timing"})
    f.raise_hand(at(1, 13))
    context = f.out("handoffs", kind="made")[-1]["context"]
    assert context["previous_journeys"] == [
        {"journey": 1, "outcome": "rejected", "ended_at": at(1, 12), "reason": "timing"}
    ]
    assert [(x["type"], x["detail"]) for x in context["last_touches"][:3]] == [
        ("form_submitted", "contact, hand_raise"),
        ("touched", "phone, call"),
        ("content_downloaded", "b"),
    ]


def test_a_touch_of_before_it_could_be_known_took_no_time_at_all() -> None:
    f = Funnel()
    f.fit()
    f.until(at(4, 9))
    f.raise_hand(at(1, 10), recorded_at=at(4, 9))
    f.say("touched", at(1, 11), {"channel": "phone", "kind": "call"})
    (met,) = f.out("sla", kind="met")
    assert (met["wall_ms"], met["business_ms"]) == (0, 0)


def test_a_recycling_names_its_handoff_or_the_last_one() -> None:
    f, _ = handed_over()
    one = f.handoffs()[0].id
    f.say("rejected", at(1, 12), {"reason_code": "timing"})
    f.raise_hand(at(1, 13))
    for n, named in enumerate((one, "no-such-handoff")):
        f.say("recycled", at(1, 14, n), {"handoff_id": named})
    assert refused(f) == ["the handoff has ended", "no such handoff"]
    assert f.handoffs()[1].outcome == OPEN
    f.say("recycled", at(1, 15), {"handoff_id": f.handoffs()[1].id})
    assert f.stages()[-1] == "recycled"


@pytest.mark.parametrize("back", ["rejected", "disqualified"])
def test_a_deal_that_is_won_after_its_lead_was_sent_back_is_won(back: str) -> None:
    f, _ = handed_over()
    f.say("opened", at(1, 12), DEAL, deal="deal-1")
    f.say(back, at(2, 12), {"reason_code": "no_budget"})
    f.say("won", at(3, 12), {"amount": 100, "currency": "EUR"}, deal="deal-1")
    assert f.stages()[-1] == "won"
    assert f.total("balance", stage="won") == 1
    assert figure(f, "leads_won")[("ever",)] == 1


# Who misses it -----------------------------------------------------------------------------------------------------

QUICK = '[[sla]]\nname = "s"\nfirst_touch = "2h"\ndecision = "16h"\nexpire_after = "32h"\nescalate = "{}"\n'


def human_clock(f: Funnel) -> list[tuple[str, int, str]]:
    """What is told of the first touch, in its last revision: (kind, when, whose)."""
    last = {x["output_id"]: x for x in f.out("sla", clock="first_touch")}
    return [(x["kind"], x["occurred_at"], x["owner"]) for x in last.values() if x["op"] != "withdrawn"]


def test_who_takes_over_from_somebody_late_has_a_clock_that_can_be_missed_too() -> None:
    f, _ = handed_over(variant(QUICK.format("reassign")), owners=PEOPLE)
    first = f.handoffs()[0].owner
    f.until(at(4))
    (h,) = f.handoffs()
    owners = [first, *(owner for owner, _, _ in h.formers[1:]), h.owner]
    assert sorted(owners) == ["owner-0", "owner-1", "owner-2"]  # nobody gets it twice
    dues = [at(1, 12, 2 * MINUTE), at(1, 14, 4 * MINUTE), at(1, 16, 6 * MINUTE)]
    told = human_clock(f)
    assert [x for x in told if x[0] == "breached"] == [
        ("breached", due, owner) for due, owner in zip(dues, owners, strict=True)
    ]
    assert [x for x in told if x[0] == "escalated"] == [
        ("escalated", due, owner) for due, owner in zip(dues, [*owners[1:], owners[2]], strict=True)
    ]
    assert "escalated" in flags(h)
    assert f.total("sla", clock="first_touch") == f.total("sla", clock="first_touch", state="breached") == 1
    before = f.handoffs(), told
    f.say("page_viewed", at(1, 9, 1), {"url": "/"})  # a late fact: folded again, it is the same
    assert (f.handoffs(), human_clock(f)) == before


@pytest.mark.parametrize("in_time", [True, False])
def test_who_takes_over_in_time_has_met_it_and_the_other_has_missed_it(in_time: bool) -> None:
    f, _ = handed_over(variant(QUICK.format("notify")), owners=PEOPLE)
    first = f.handoffs()[0].owner
    second = next(o["owner"] for o in PEOPLE if o["owner"] != first)
    f.say("assigned", at(1, 14), {"owner": second})
    touch = at(1, 15) if in_time else at(1, 16, MINUTE)
    f.say("touched", touch, {"channel": "phone", "kind": "call"})
    told = human_clock(f)
    assert ("breached", at(1, 12, 2 * MINUTE), first) in told
    assert ("escalated", at(1, 12, 2 * MINUTE), second) in told
    assert told[-1] == (("met", touch, second) if in_time else ("breached", at(1, 16), second))
    assert len(told) == 4
    f.say("accepted", at(1, 17))
    assert f.out("handoffs", kind="answered")[0]["breached"]
    assert f.total("sla", clock="first_touch", state="breached") == 1


def test_an_assignment_that_is_refused_gives_the_lead_to_nobody() -> None:
    f, _ = handed_over(owners=PEOPLE)
    had = f.handoffs()[0].owner
    other = next(o["owner"] for o in PEOPLE if o["owner"] != had)
    f.say("assigned", at(1, 12), {"owner": other, "handoff_id": "no-such-handoff"})
    assert refused(f) == ["no such handoff"]
    assert (f.head().owner, f.handoffs()[0].owner) == ("", had)


# Holidays ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [0, 2 * HOUR])
def test_a_holiday_that_is_added_shows_at_once_although_nothing_happens_to_the_lead(ahead: int) -> None:
    """Case 44: the clocks that everybody sees are those that count."""
    f, _ = handed_over()
    (h,) = f.handoffs()
    f.until(at(1, 11))
    text = (
        default_text()
        .replace("version = 1", "version = 2", 1)
        .replace("holidays = []", "holidays = [2026-03-03]", 1)
    )
    since = at(1, 11) + ahead
    f.learn("definition_published", since, name="default", version=2, toml=text, effective_at=since)
    f.until(since)
    (now,) = f.handoffs()
    assert now.due_decide == h.due_decide + 24 * HOUR
    assert f.out("handoffs", kind="made")[-1]["decision_due_at"] == now.due_decide
    f.until(h.due_decide + HOUR)
    assert f.out("sla", clock="decision", kind="breached") == []


# Accepted by a system ----------------------------------------------------------------------------------------------

SYSTEM = {"type": "system", "id": "crm"}
CALL = {"channel": "phone", "kind": "call"}


@pytest.mark.parametrize(
    ("touched", "kind"), [(at(1, 13), "met"), (at(1, 15), "breached"), (None, "breached")]
)
def test_a_system_that_accepts_has_touched_nobody(touched: int | None, kind: str) -> None:
    """The first touch is a human's (DOMAIN 5): its clock runs on."""
    f, _ = handed_over()
    (h,) = f.handoffs()
    f.say("accepted", at(1, 11), actor=SYSTEM)
    assert f.stages()[-1] == "sal"
    assert [x["clock"] for x in f.out("sla", kind="met")] == ["decision"]
    assert f.total("sla", clock="first_touch", state="open") == 1
    if touched:
        f.say("touched", touched, CALL)
    f.until(at(2))
    assert human_clock(f)[1][:2] == (kind, touched if kind == "met" else h.due_touch)
    assert f.total("sla", clock="first_touch", state=kind) == 1
    (after,) = f.handoffs()
    assert (after.outcome, after.ended, after.touched) == (ACCEPTED, at(1, 11), touched or 0)
    p50 = figure(f, "speed_to_lead")["wall", "p50"]
    assert p50 is None if touched is None else abs(p50 * 1000 - (touched - h.start)) < HOUR // 60
    f.say("rejected", at(2, 9), {"reason_code": "timing"})
    f.until(at(9))
    assert len(f.out("sla", clock="first_touch", kind="breached", op="new")) == (kind == "breached")


def test_a_meeting_that_is_still_to_come_is_open_and_not_dropped() -> None:
    meeting = (
        '[[sla]]\nname = "m"\nfirst_touch = "4h"\ndecision = "8h"\nmeeting = "16h"\nexpire_after = "16h"'
    )
    f, _ = handed_over(variant(meeting))
    f.say("accepted", at(1, 12))
    assert f.total("sla", clock="meeting", state="open") == 1
    f.say("recycled", at(1, 13))
    assert f.total("sla", clock="meeting", state="dropped") == 1


def test_a_win_of_a_pass_that_has_given_way_to_another_is_told_and_not_swallowed() -> None:
    f, _ = handed_over()
    f.say("opened", at(1, 12), DEAL, deal="deal-1")
    f.say("rejected", at(2, 12), {"reason_code": "no_budget"})
    f.raise_hand(at(3, 12))
    assert len(f.head().journeys) == 2
    for n, source in enumerate(("crm", "erp")):
        f.say("won", at(4, 12, n), {"amount": 100, "currency": "EUR"}, deal="deal-1", source_system=source)
    (told,) = f.out("stage_changes", kind="refused")
    assert (told["journey"], told["stage"], told["rule"]) == (2, "won", "the journey has ended")
    assert f.total("deal_amount", status="won") == 100
