"""The rules of DOMAIN 4 and 5 from end to end: what qualifies, what an override does, who gets the lead."""

from __future__ import annotations

from typing import Any

import pytest

from processors.definition.model import DAY, HOUR, MINUTE
from processors.facts import MAX_ATTRIBUTES
from processors.model import FADED, LAPSED, OPEN
from tests.strategies import FITS, at
from tests.world import MONDAY, Funnel, handed_over, variant

PEOPLE = [
    {"owner": "owner-1", "team": "sales", "active": True},
    {"owner": "owner-7", "team": "key-accounts", "active": True},
    {"owner": "owner-8", "team": "key-accounts", "active": False},
    {"owner": "owner-9", "team": "key-accounts", "active": True, "out_of_office_until": at(9)},
]


def attributes(f: Funnel, t: int, **fields: Any) -> None:
    f.say("attributes_changed", t, {"fields": fields})


# Qualified -------------------------------------------------------------------------------------------------------

#: Points of fit and of engagement, hand raised -> qualified, by the packaged definition: 50 and 40, or 20 and a hand.
TABLE = [
    ("small fit, hot", 35, True, False, False),
    ("fits, hot", 53, True, False, True),
    ("fits, cool", 53, False, False, False),
    ("small fit, hand", 35, False, True, True),
    ("no fit, hand", 10, False, True, False),
    ("fits, cool, hand", 53, False, True, True),
]
_WHO = {
    53: {"role": "director", "company_size": 50, "company": "c"},
    35: {"role": "manager", "country": "AT", "company": "c"},
    10: {"country": "AT"},
}


@pytest.mark.parametrize(("_name", "fit", "hot", "hand", "qualifies"), TABLE, ids=[x[0] for x in TABLE])
@pytest.mark.parametrize("barred", [False, True])
def test_qualified_is_fit_and_engagement_or_a_raised_hand_and_a_smaller_fit_unless_barred(
    _name: str, fit: int, hot: bool, hand: bool, qualifies: bool, barred: bool
) -> None:
    f = Funnel()
    f.say("created", MONDAY, {"source": "webinar", "generated_by": "marketing"})
    attributes(f, MONDAY, **_WHO[fit], **({"relationship": "competitor"} if barred else {}))
    assert f.head().fit == fit * 1000
    if hot:
        f.hot(at(1, 10))
    if hand:
        f.raise_hand(at(1, 11))
    assert bool(f.handoffs()) == (qualifies and not barred)


def test_a_gate_opens_with_the_event_that_makes_it_known() -> None:
    f = Funnel(variant('[thresholds]\ngates = ["budget", "timing"]\n'))
    f.fit()
    f.hot()
    f.raise_hand(at(1, 11))
    attributes(f, at(1, 12), budget="approved")
    attributes(f, at(1, 13), timing="unknown")
    assert not f.handoffs()
    attributes(f, at(1, 14), timing="this quarter")
    (made,) = f.out("handoffs", kind="made")
    assert made["trigger_at"] == at(1, 14)
    assert (made["context"]["budget"], made["context"]["timing"]) == ("approved", "this quarter")


def test_what_bars_a_lead_takes_back_the_call_and_lifted_lets_it_through_again() -> None:
    f, _ = handed_over()
    attributes(f, at(1, 12), do_not_contact=True)
    (h,) = f.handoffs()
    assert h.reason == "disqualified"
    f.raise_hand(at(1, 13))
    assert len(f.handoffs()) == 1
    attributes(f, at(1, 14), do_not_contact=False)
    assert [x.outcome for x in f.handoffs()][1:] == [OPEN]


def test_between_down_and_up_nothing_happens_and_below_down_it_takes_up_to_qualify_again() -> None:
    """Hysteresis: one call, however often the score passes `up` from above."""
    f, t = handed_over()
    f.say("rejected", t + HOUR, {"reason_code": "timing"})
    points = f.topology.definitions[-1].source.thresholds
    f.until(t + 60 * DAY)
    assert points.down > f.score()
    f.say("event_attended", t + 60 * DAY, {"event_id": "w2", "kind": "webinar"})
    assert len(f.handoffs()) == 1  # not before the recycle date, whatever the score
    f.until(t + 100 * DAY)
    f.hot(t + 100 * DAY, n="3")
    assert f.score() >= points.up
    assert [len(j.handoffs) for j in f.head().journeys] == [1, 1]
    f.say("page_viewed", t + 101 * DAY, {"url": "https://example.com/pricing"})
    assert [len(j.handoffs) for j in f.head().journeys] == [1, 1]


# Override --------------------------------------------------------------------------------------------------------


def test_an_override_qualifies_until_its_end_and_the_machines_value_stays_to_be_seen() -> None:
    f = Funnel()
    f.fit()
    f.say("score_overridden", at(1, 10), {"value": 90, "until": at(3)})
    (made,) = f.out("handoffs", kind="made")
    assert made["trigger_at"] == at(1, 10)
    assert made["context"]["engagement_milli"] == f.score() == 0
    assert (made["context"]["qualified_by"], made["context"]["admitting_rule"]) == ("override", "override")
    assert f.head().override == (90_000, at(3))
    f.until(at(3) - 1)
    assert f.head().qualified
    f.until(at(3))
    (h,) = f.handoffs()
    assert not f.head().qualified
    assert (h.outcome, bool(h.flags & FADED)) == (OPEN, True)  # the open call is kept by default
    assert f.out("stage_changes", kind="unqualified")[0]["occurred_at"] == at(3)


def test_what_only_an_override_let_through_is_no_fault_of_the_rule_that_gave_most() -> None:
    f = Funnel()
    f.fit()
    f.say("page_viewed", at(1, 9), {"url": "/"})
    f.say("score_overridden", at(1, 10), {"value": 90})
    f.say("rejected", at(1, 11), {"reason_code": "no_need"})
    assert f.total("rejected", rule="override") == 1
    g = Funnel()
    g.fit()
    g.say("score_overridden", at(1, 10), {"value": 5})
    g.hot()
    g.raise_hand(at(1, 11))
    assert [h.rule for h in g.handoffs()] == ["hand-raise"]  # held down, the score let nobody through


def test_an_override_can_hold_a_lead_down() -> None:
    f = Funnel()
    f.fit()
    f.say("score_overridden", at(1, 9, MINUTE), {"value": 0, "until": at(2)})
    f.hot()
    assert not f.handoffs()
    f.until(at(2))
    assert not f.handoffs()  # upwards only at an event
    f.say("page_viewed", at(2, 9), {"url": "/"})
    assert [h.trigger for h in f.handoffs()] == [at(2, 9)]


# Who gets it ------------------------------------------------------------------------------------------------------


def routed(*, account: bool = True, **fields: Any) -> dict[str, Any]:
    rules = variant('[[routing]]\nname = "all"\nteam = "sales"\n')
    f = Funnel(rules, owners=PEOPLE)
    f.fit(**fields)
    if account:
        f.say("account_matched", at(1, 9, MINUTE), {"account_id": "account-1", "rule": "domain"})
    f.raise_hand(at(1, 10))
    (made,) = f.out("handoffs", kind="made")
    return made


def test_the_owner_of_the_account_comes_before_every_rule() -> None:
    made = routed(account_owner="owner-7")
    assert (made["owner"], made["team"]) == ("owner-7", "key-accounts")
    assert made["routing_reason"] == "owner of the account"


@pytest.mark.parametrize("owner", ["owner-8", "owner-9", "owner-unknown", "", 7, None])
def test_an_owner_of_the_account_who_is_not_there_does_not_hold_the_lead_up(owner: Any) -> None:
    made = routed(account_owner=owner)
    assert (made["owner"], made["routing_reason"]) == ("owner-1", "rule all; hash among 1")


def test_without_a_matched_account_nobody_owns_it() -> None:
    assert routed(account=False, account_owner="owner-7")["owner"] == "owner-1"


def test_a_breach_takes_the_lead_from_the_accounts_owner_too() -> None:
    escalating = variant('[[sla]]\nname = "s"\nfirst_touch = "2h"\nescalate = "reassign"\n')
    f = Funnel(escalating, owners=PEOPLE)
    f.fit(account_owner="owner-7")
    f.say("account_matched", at(1, 9, MINUTE), {"account_id": "account-1", "rule": "domain"})
    f.raise_hand(at(1, 10))
    f.until(at(1, 13))
    assert [h.owner for h in f.handoffs()] == ["owner-1"]
    assert f.out("sla", kind="escalated")[0]["owner"] == "owner-1"


def test_a_breach_can_only_be_told() -> None:
    f, _ = handed_over(owners=PEOPLE)
    (h,) = f.handoffs()
    f.until(h.due_touch + 2 * MINUTE)
    (told,) = f.out("sla", kind="escalated")
    assert (told["owner"], told["due_at"]) == ("owner-1", h.due_touch)
    assert f.handoffs()[0].owner == "owner-1"


def test_an_expired_call_re_arms_by_a_newer_hand_as_the_next_attempt() -> None:
    f, _ = handed_over()
    (h,) = f.handoffs()
    f.until(h.expires)
    assert f.handoffs()[0].outcome == LAPSED
    f.raise_hand(h.expires + DAY)
    assert [(x.attempt, x.outcome) for x in f.handoffs()] == [(1, LAPSED), (2, OPEN)]
    assert len(f.head().journeys) == 1


def test_the_trend_is_what_the_last_week_added() -> None:
    f = Funnel()
    f.fit(at(1, 9))
    f.say("event_attended", at(1, 10), {"event_id": "w", "kind": "webinar"})
    f.until(at(2, 11))
    week = f.score()
    f.say("content_downloaded", at(9, 10), {"asset_id": "a"})
    f.raise_hand(at(9, 11))
    (made,) = f.out("handoffs", kind="made")
    assert made["context"]["trend_milli"] == made["context"]["engagement_milli"] - week > 0


# What is kept of a lead ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False])
def test_what_the_definition_asks_for_is_kept_however_many_fields_a_crm_sends(first: bool) -> None:
    f = Funnel(variant('[[routing]]\nname = "by hand"\nteam = "vip"\nwhen = { desk = "gold" }\n'))
    many = {f"custom_{n}": n for n in range(100)}
    asked = FITS | {"budget": "yes", "desk": "gold"}
    f.say("created", MONDAY, {"source": "webinar", "generated_by": "marketing"})
    for n, fields in enumerate([asked, many] if first else [asked | many]):
        attributes(f, MONDAY + n * HOUR, **fields)
    f.hot()
    (made,) = f.out("handoffs", kind="made")
    assert made["team"] == "vip"
    assert made["context"]["fit_milli"] == 68_000
    kept = f.head().attributes
    assert asked.items() <= kept.items()
    assert len(kept) == MAX_ATTRIBUTES
    attributes(f, at(1, 12), custom_0="now", custom_101="new")
    kept = f.head().attributes
    assert (kept["custom_0"], kept["custom_101"], len(kept)) == ("now", "new", MAX_ATTRIBUTES)
    assert "custom_42" not in kept
