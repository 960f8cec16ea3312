"""DOMAIN 5: what an answer does that comes too late, after another one, or from somebody else."""

from __future__ import annotations

import pytest

from processors.model import ACCEPTED, FLAGS, LAPSED, Handoff
from tests.strategies import at
from tests.world import Funnel, figure, handed_over

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


@pytest.mark.parametrize("what", ["qualified_by_sales", "opened"])
def test_sales_that_goes_on_with_what_expired_has_taken_it_late(what: str) -> None:
    """The same journey, so that its conversions are those of the lead that marketing handed over."""
    f, _ = handed_over(owners=PEOPLE)
    f.until(LATE_AT)
    if what == "opened":
        f.say("opened", LATE_AT, DEAL, deal="deal-1")
    else:
        f.say("qualified_by_sales", LATE_AT)
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
