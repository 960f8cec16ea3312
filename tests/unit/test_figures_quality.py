"""Lead quality, material and nurture, against worlds small enough to count by hand."""

from __future__ import annotations

from fractions import Fraction

from processors.days import DAY, day_number
from processors.definition.model import HOUR, MINUTE
from tests.unit.test_figures import MONDAY, close, funnel, lead, raise_hand
from tests.world import Funnel, figure

SITE = "https://example.org/?utm_campaign="


def come(f: Funnel, name: str, campaign: str, source: str = "web", t: int = MONDAY) -> None:
    """A visit by a campaign, then another by none; the lead is created and raises a hand."""
    if campaign:
        f.say("page_viewed", t, {"url": SITE + campaign + "&utm_source=s&utm_medium=cpc"}, lead=name)
    lead(f, name, t + MINUTE, source)
    f.say("page_viewed", t + HOUR, {"url": SITE + "later"}, lead=name)
    raise_hand(f, name, t + HOUR)


def test_leads_by_the_campaign_that_brought_them() -> None:
    f = funnel()
    for n, campaign in enumerate(("spring", "spring", "spring", "autumn", "autumn"), 1):
        come(f, f"lead-{n}", campaign, "web" if n < 3 else "fair")
    f.say("created", MONDAY, {"source": "web", "generated_by": "marketing"}, lead="lead-6")
    f.say("accepted", MONDAY + 2 * HOUR, lead="lead-1")
    f.say("accepted", MONDAY + 2 * HOUR, lead="lead-2")
    f.say("rejected", MONDAY + 2 * HOUR, {"reason_code": "timing"}, lead="lead-3")
    f.say("rejected", MONDAY + 2 * HOUR, {"reason_code": "no_budget"}, lead="lead-4")
    f.say("qualified_by_sales", MONDAY + 3 * HOUR, lead="lead-1")
    close(f, "lead-2", MONDAY + DAY, 900)
    f.until(MONDAY + 20 * DAY)
    assert figure(f, "quality_acceptance") == {(): Fraction(2, 4)}
    assert figure(f, "quality_acceptance", "campaign") == {("spring",): Fraction(2, 3), ("autumn",): 0}
    assert figure(f, "quality_won_rate", "campaign")["(empty)",] == 0
    assert figure(f, "quality_acceptance", "source") == {("web",): 1, ("fair",): 0}
    assert figure(f, "quality_sql_rate", "campaign")["spring",] == Fraction(2, 3), "who is won was qualified"
    assert figure(f, "quality_won_rate") == {(): Fraction(1, 6)}
    assert figure(f, "value_per_lead") == {("EUR",): 150}
    assert figure(f, "value_per_lead", "campaign") == {("EUR", "spring"): 300}
    assert figure(f, "quality_won_rate", period="2025") == {(): None}
    assert figure(f, "rejections_by_campaign") == {("spring", "timing"): 1, ("autumn", "no_budget"): 1}
    assert figure(f, "rejections_by_campaign", "rule")["spring", "timing", "hand-raise"] == 1
    assert figure(f, "acceptance_by_campaign") == {("spring",): Fraction(2, 3), ("autumn",): 0}
    assert figure(f, "rejection_rate_by_campaign") == {("spring",): Fraction(1, 3), ("autumn",): 1}
    assert figure(f, "rejection_rate_by_reason") == {
        ("timing",): Fraction(1, 4),
        ("no_budget",): Fraction(1, 4),
    }
    assert figure(f, "rejection_rate_by_reason", "campaign")["timing", "spring"] == Fraction(1, 3)
    assert figure(f, "answers_by_campaign")["spring", "accepted"] == 2


def test_a_lead_counts_on_the_day_it_became_known() -> None:
    f = funnel()
    come(f, "lead-1", "spring")
    f.say("accepted", day_number(2026, 2, 2) * DAY, lead="lead-1")
    assert figure(f, "quality_acceptance", period="2026-02") == {(): None}
    assert figure(f, "quality_sql_rate", period="2026-01") == {(): 0}


def test_material_and_what_was_won_with_it() -> None:
    f = funnel()
    for n in range(1, 5):
        lead(f, f"lead-{n}", MONDAY)
    for name, asset in (("lead-1", "case"), ("lead-1", "case"), ("lead-1", "price"), ("lead-2", "case")):
        f.say("material_shared", f.now + HOUR, {"asset_id": asset}, lead=name)
    close(f, "lead-1", MONDAY + DAY, 100)
    close(f, "lead-2", MONDAY + DAY, 100, won=False)
    close(f, "lead-3", MONDAY + DAY, 100, won=False)
    f.until(MONDAY + 12 * DAY)
    f.say("material_shared", f.now, {"asset_id": "late"}, lead="lead-3")
    assert figure(f, "material_shares", "asset") == {("case",): 3, ("price",): 1, ("late",): 1}
    assert figure(f, "material_journeys") == {(): 3}
    assert figure(f, "asset_journeys") == {("case",): 2, ("price",): 1, ("late",): 1}
    assert figure(f, "material_win_rate") == {("yes",): Fraction(1, 2), ("no",): 0}
    assert figure(f, "asset_win_rate") == {("case",): Fraction(1, 2), ("price",): 1}


def test_nurture_pauses_for_sales_goes_on_afterwards_and_stops_without_consent() -> None:
    f = funnel()
    come(f, "lead-1", "")
    assert [x["kind"] for x in f.out("nurture")] == ["paused"]
    assert figure(f, "nurture_signals") == {("paused",): 1, ("resumed",): 0, ("stopped",): 0}
    f.say("accepted", MONDAY + 2 * HOUR)
    f.say("engagement_reclassified", MONDAY + 2 * HOUR, {"of": "nothing", "agent": "bot"})
    f.say("recycled", MONDAY + DAY)
    assert [x["kind"] for x in f.out("nurture")] == ["paused", "resumed"]
    f.say("consent_changed", MONDAY + 2 * DAY, {"purpose": "marketing", "granted": False})
    assert [x["kind"] for x in f.out("nurture")] == ["paused", "resumed", "stopped"]
    f.say("consent_changed", MONDAY + 3 * DAY, {"purpose": "marketing", "granted": True})
    assert [x["reason"] for x in f.out("nurture")][1:] == [
        "recycled", "no consent to marketing", "consent to marketing",
    ]  # fmt: skip
    assert figure(f, "nurture_signals", "source") == {
        ("paused", "web"): 1, ("resumed", "web"): 2, ("stopped", "web"): 1,
    }  # fmt: skip
    assert figure(f, "nurture_signals", period="2026-01-06") == {
        ("paused",): 0, ("resumed",): 1, ("stopped",): 0,
    }  # fmt: skip


def test_who_may_not_be_written_to_is_not_nurtured_again_by_a_rejection() -> None:
    f = funnel()
    come(f, "lead-1", "")
    f.say("consent_changed", MONDAY + 2 * HOUR, {"purpose": "marketing", "granted": False})
    f.say("rejected", MONDAY + 3 * HOUR, {"reason_code": "timing"})
    assert [x["kind"] for x in f.out("nurture")] == ["paused", "stopped"]
    assert figure(f, "nurture_signals")["resumed",] == 0
