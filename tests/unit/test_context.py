"""The context of a handoff: what sales need not look up, or ask again, and when it is told anew."""

from __future__ import annotations

from processors.model import handoff_id
from tests.strategies import at
from tests.world import Funnel, handed_over


def test_who_is_called_again_comes_with_what_sales_has_done_before() -> None:
    f, _ = handed_over()
    f.say("touched", at(1, 12), {"channel": "phone", "kind": "call"})
    f.say("rejected", at(1, 13), {"reason_code": "timing"})
    f.say("form_submitted", at(1, 14), {"form_id": "contact", "intent": "hand_raise"})
    context = f.out("handoffs", kind="made")[-1]["context"]
    assert [(x["type"], x["detail"]) for x in context["last_touches"][:2]] == [
        ("form_submitted", "contact, hand_raise"),
        ("touched", "phone, call"),
    ]


def test_the_context_says_what_sales_would_have_to_look_up() -> None:
    f = Funnel(partitions=4)
    f.fit()
    f.say("discovery_recorded", at(1, 9, 5), {"kind": "constraint", "text_ref": "note-1"})
    f.say("page_viewed", at(1, 9, 10), {"url": "https://example.org/x?utm_source=first&utm_medium=cpc"})
    f.hot()
    (made,) = f.out("handoffs", kind="made")
    c = made["context"]
    assert c["qualified_by"] == "fit_and_engagement"
    assert c["admitting_rule"] == "content downloaded"
    assert sum(r["points_milli"] for r in c["rows"]) == c["engagement_milli"] == 43_000
    assert sum(r["points_milli"] for r in c["reasons"]) == 43_000
    for r in c["rows"]:
        log = f.driver.topics[f.settings.topics.engagement][r["partition"]]
        assert log[r["offset"]].key == b"lead-1"
    best = c["rows"][0]
    value = f.driver.topics[f.settings.topics.engagement][best["partition"]][best["offset"]].value
    assert value is not None
    assert b"content_downloaded" in value
    assert c["last_touches"][0]["type"] == "content_downloaded", "the newest first"
    assert [x["at"] for x in c["last_touches"]] == sorted((x["at"] for x in c["last_touches"]), reverse=True)
    assert c["first_utm"] == {"source": "first", "medium": "cpc"}
    assert (c["fit_milli"], c["fit_grade"]) == (63_000, "C")
    assert c["discovery"][0]["text_ref"] == "note-1"
    assert set(c["missing"]) == {"industry", "budget", "authority", "need", "timing"}
    assert c["completeness_per_mille"] == 444
    assert c["segment"] == "small_business"
    assert c["stage"] == "mql"
    f.say("rejected", at(1, 12), {"reason_code": "timing"})
    f.raise_hand(at(60, 12))
    again = f.out("handoffs", kind="made")[-1]["context"]
    assert [(x["journey"], x["outcome"], x["reason"]) for x in again["previous_journeys"]] == [
        (1, "rejected", "timing")
    ]


def test_engagement_after_the_call_updates_the_context() -> None:
    f, _ = handed_over()
    f.say("page_viewed", at(1, 11), {"url": "https://example.org/pricing"})
    updates = f.out("handoffs", kind="context_updated")
    assert updates[-1]["context"]["engagement_milli"] == 42_000 + 9_000
    assert updates[-1]["handoff_id"] == f.handoffs()[0].id == handoff_id("l:lead-1", 1)


def test_what_becomes_known_after_the_call_updates_the_context() -> None:
    """Attributes, what sales discovers, consent, and what a deal is worth; what changes nothing says nothing."""
    f, _ = handed_over()
    f.say("discovery_recorded", at(1, 11), {"kind": "risk", "text_ref": "note-1"})
    f.say("attributes_changed", at(1, 11, 1), {"fields": {"budget": "yes"}})
    f.say("consent_changed", at(1, 11, 2), {"purpose": "sales_contact", "granted": True})
    for type_, payload in (
        ("attributes_changed", {"fields": {"budget": "yes"}}),
        ("material_shared", {"asset_id": "a"}),
    ):
        f.say(type_, at(1, 11, 3), payload)
    updates = [x["context"] for x in f.out("handoffs", kind="context_updated")]
    assert [len(c["discovery"]) for c in updates] == [1, 1, 1]
    assert [c["budget"] for c in updates] == [None, "yes", "yes"]
    assert updates[1]["completeness_per_mille"] > updates[0]["completeness_per_mille"]
    assert [c["consent"] for c in updates] == [{}, {}, {"sales_contact": True}]
    deal = {"leads": [{"lead_id": "lead-1"}], "amount": 700, "currency": "EUR", "pipeline": "p", "stage": "s"}
    f.say("opened", at(1, 12), deal, deal="deal-1")
    f.say("amount_changed", at(1, 13), {"amount": 900, "currency": "EUR"}, deal="deal-1")
    updates = [x["context"] for x in f.out("handoffs", kind="context_updated")[3:]]
    assert [(c["expected_minor"], c["currency"]) for c in updates] == [(700, "EUR"), (900, "EUR")]
    f.say("lost", at(1, 14), {"reason_code": "price"}, deal="deal-1")
    f.say("attributes_changed", at(2, 9), {"fields": {"need": "yes"}})  # sales does not work on it any more
    assert len(f.out("handoffs", kind="context_updated")) == 5
