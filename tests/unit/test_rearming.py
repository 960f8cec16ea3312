"""DOMAIN 3 and 4: what keeps a lead qualified, and what lets one through that was answered or held back before."""

from __future__ import annotations

from typing import Any

import pytest

from processors.definition.model import MINUTE
from processors.model import ACCEPTED, FADED, OPEN, RECLASSIFIED, SILENT, TURNED_DOWN, WITHDRAWN
from tests.strategies import at
from tests.world import Funnel, handed_over, variant

SLOW = '[[sla]]\nname = "slow"\nfirst_touch = "400h"\ndecision = "400h"\nexpire_after = "900h"\n'


def outcomes(f: Funnel) -> list[tuple[int, int]]:
    return [(h.attempt, h.outcome) for h in f.handoffs()]


# Qualified no longer -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gates", "fields"),
    [("[]", {"company_size": 2, "role": "intern"}), ('["budget"]', {"budget": "no"})],
    ids=["fit", "gate"],
)
@pytest.mark.parametrize("strict", [False, True])
def test_who_no_longer_fits_or_loses_a_gate_is_no_longer_qualified(
    gates: str, fields: dict[str, Any], strict: bool
) -> None:
    """The condition is one: only engagement may fade from `up` to `down` in between."""
    f = Funnel(
        variant(
            f"[policy]\nwithdraw_when_unqualified = {str(strict).lower()}\n[thresholds]\ngates = {gates}\n"
        )
    )
    f.fit(budget="approved")
    f.hot()
    assert f.head().qualified
    f.say("attributes_changed", at(1, 12), {"fields": fields})
    assert not f.head().qualified
    assert f.out("stage_changes", kind="unqualified")[0]["occurred_at"] == at(1, 12)
    (h,) = f.handoffs()
    assert (h.outcome, bool(h.flags & FADED)) == ((WITHDRAWN, False) if strict else (OPEN, True))


def test_a_raised_hand_that_an_override_holds_down_ends_with_its_thirty_days() -> None:
    f = Funnel(variant(SLOW))
    f.fit()
    f.say("score_overridden", at(1, 9, 1), {"value": 0})
    f.hot(at(1, 10))
    f.raise_hand(at(1, 11))
    assert f.score() > 60_000
    f.until(at(31, 12))
    assert [x["occurred_at"] for x in f.out("stage_changes", kind="unqualified")] == [at(31, 11) + 1]


# Who was held back --------------------------------------------------------------------------------------------------


def test_who_qualified_again_without_consent_is_called_once_they_allow_it() -> None:
    f, _ = handed_over()
    f.say("rejected", at(1, 12), {"reason_code": "timing"})
    f.say("consent_changed", at(2), {"purpose": "sales_contact", "granted": False})
    f.until(at(100))
    f.hot(at(100), n="2")  # past the recycle date: it fell and rose
    assert [x["rule"] for x in f.out("stage_changes", kind="refused")] == ["no consent to be contacted"]
    f.say("consent_changed", at(101), {"purpose": "sales_contact", "granted": True})
    assert outcomes(f) == [(1, TURNED_DOWN), (1, OPEN)]
    assert f.handoffs()[1].trigger == at(101)


@pytest.mark.parametrize(("days", "called"), [(12, True), (60, False)])
def test_who_allows_contact_again_is_called_as_long_as_they_are_qualified(days: int, called: bool) -> None:
    """Between `down` and `up` a qualified lead still is."""
    f, _ = handed_over()
    f.say("consent_changed", at(1, 12), {"purpose": "sales_contact", "granted": False})
    f.until(at(days))
    th = f.topology.definitions[-1].source.thresholds
    assert f.score() < th.up
    assert (f.score() >= th.down) == called
    f.say("consent_changed", at(days), {"purpose": "sales_contact", "granted": True})
    assert outcomes(f) == [(1, WITHDRAWN)] + [(2, OPEN)] * called
    assert f.head().qualified == called


# Re-arming ---------------------------------------------------------------------------------------------------------


def test_what_rose_after_the_recycle_date_is_armed_even_if_the_fit_comes_later() -> None:
    points = variant('[[engagement]]\nname = "points"\non = "product_used"\npoints = 30\n')
    f = Funnel(points)
    f.say("created", at(1, 9), {"source": "webinar", "generated_by": "marketing"})
    f.say("attributes_changed", at(1, 9), {"fields": {"role": "manager", "country": "AT", "company": "c"}})
    f.raise_hand(at(1, 10))
    f.say("product_used", at(1, 11), {"feature": "x"})  # above `down`, below `up`
    f.say("rejected", at(1, 12), {"reason_code": "unreachable"})  # for 30 days
    f.say("product_used", at(40), {"feature": "x"})
    assert f.score() >= f.topology.definitions[-1].source.thresholds.up
    assert outcomes(f) == [(1, TURNED_DOWN)]
    f.say("attributes_changed", at(41), {"fields": {"company_size": 500}})
    assert [(h.trigger, h.outcome) for h in f.handoffs()[1:]] == [(at(41), OPEN)]


@pytest.mark.parametrize("day", [20, 40])
def test_what_rose_before_the_recycle_date_is_not_armed_by_a_better_fit(day: int) -> None:
    points = variant('[[engagement]]\nname = "points"\non = "product_used"\npoints = 30\n')
    f = Funnel(points)
    f.say("created", at(1, 9), {"source": "webinar", "generated_by": "marketing"})
    f.say("attributes_changed", at(1, 9), {"fields": {"role": "manager", "country": "AT", "company": "c"}})
    f.raise_hand(at(1, 10))
    f.say("product_used", at(1, 11), {"feature": "x"})
    f.say("rejected", at(1, 12), {"reason_code": "unreachable"})
    f.say("product_used", at(10), {"feature": "x"})
    f.say("attributes_changed", at(day), {"fields": {"company_size": 500}})
    assert outcomes(f) == [(1, TURNED_DOWN)]


# History -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", [True, False])
def test_a_hand_raised_live_calls_although_an_imported_call_lies_open(later: bool) -> None:
    f = Funnel(now=at(1, 12))
    f.fit(at(1, 9))
    if later:
        f.raise_hand(at(1, 13), run=False)
    f.raise_hand(at(1, 10), backfill=True)
    f.raise_hand(at(1, 13, MINUTE))
    assert [(h.trigger, h.outcome) for h in f.handoffs() if not h.flags & SILENT] == [
        (at(1, 13) if later else at(1, 13, MINUTE), OPEN)
    ]
    (made,) = f.out("handoffs", kind="made")
    assert made["attempt"] == 2
    assert f.out("sla", kind="started")
    assert f.total("handoff", outcome="imported_open") == 1
    assert f.total("handoff", outcome="open") == 1
    assert len(f.out("nurture", kind="paused")) == 1
    f.say("accepted", at(1, 14))
    assert [h.outcome for h in f.handoffs()] == [WITHDRAWN, ACCEPTED]


def test_an_imported_call_that_sales_works_on_stays() -> None:
    """A touch pins a handoff (DOMAIN 5)."""
    f = Funnel(now=at(1, 12))
    f.fit(at(1, 9))
    f.raise_hand(at(1, 10), backfill=True)
    f.say("touched", at(1, 12), {"channel": "phone", "kind": "call"})
    f.raise_hand(at(1, 13))
    assert outcomes(f) == [(1, OPEN)]


def test_a_hand_of_who_does_not_qualify_leaves_the_imported_call_as_it_is() -> None:
    f = Funnel(now=at(1, 12))
    f.fit(at(1, 9))
    f.raise_hand(at(1, 10), backfill=True)
    f.say("attributes_changed", at(1, 12), {"fields": {"role": "intern", "company_size": 1, "country": None}})
    f.raise_hand(at(1, 13))
    assert outcomes(f) == [(1, OPEN)]
    assert f.out("handoffs", kind="made") == []


# Re-classified (case 42) -------------------------------------------------------------------------------------------


def mail(f: Funnel, t: int, agent: str, n: int = 1) -> None:
    named = {"source_system": "mailer", "source_event_id": f"open-{n}"}
    f.say("email_opened", t, {"send_id": f"s-{n}", "agent": agent}, **named)


@pytest.mark.parametrize(
    ("was", "becomes", "flagged"),
    [
        ("human", "bot", True),
        ("unknown", "proxy", True),
        ("unknown", "human", False),
        ("proxy", "bot", False),
    ],
)
@pytest.mark.parametrize("accepted", [False, True])
def test_a_call_is_flagged_where_its_points_are_gone_and_only_there(
    was: str, becomes: str, flagged: bool, accepted: bool
) -> None:
    f = Funnel()
    f.fit()
    mail(f, at(1, 9, MINUTE), was)
    f.hot()
    if accepted:
        f.say("accepted", at(1, 11))
    f.say("engagement_reclassified", at(1, 12), {"of": "open-1", "agent": becomes}, source_system="mailer")
    (h,) = f.handoffs()
    assert bool(h.flags & RECLASSIFIED) == flagged
    assert h.outcome == (ACCEPTED if accepted else OPEN)
    assert ("ground re-classified" in f.out("handoffs", kind="made")[-1]["flags"]) == flagged


def test_a_score_that_a_better_definition_brings_back_is_no_longer_flagged() -> None:
    """Case 43: a mistaken rule saturates the score, and is mended."""
    rule = '[[engagement]]\nname = "x"\non = "product_used"\npoints = {}\n'
    f = Funnel(variant("engagement_cap = 0\n" + rule.format(999_999)))
    f.fit(at(1, 9), role="intern", company_size=1, country=None)
    for n in range(2):
        f.say("product_used", at(1, 10, n), {"feature": "x"})
    assert f.head().saturated
    text = 'name = "variant"\nversion = 2\n' + rule.format(1)
    f.learn("definition_published", at(2), name="variant", version=2, toml=text, effective_at=at(2))
    f.say("attributes_changed", at(2, 9), {"fields": {"role": "CTO", "company_size": 60, "country": "DE"}})
    f.raise_hand(at(2, 10))
    assert not f.head().saturated
    assert "score saturated" not in f.out("handoffs", kind="made")[0]["flags"]
