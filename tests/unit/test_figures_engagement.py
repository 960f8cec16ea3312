"""Figures of e-mail, traffic, content, social, events, surveys and sales talks, against what can be counted by hand."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from processors.definition.model import DAY, HOUR, MINUTE
from tests.strategies import T0
from tests.world import Funnel, figure, variant

Values = dict[tuple[str, ...], Any]
SITE = "https://example.org/"


def some(values: Values) -> Values:
    return {key: n for key, n in values.items() if n}


def mail(f: Funnel, what: str, t: int, send: str, *, lead: str = "lead-1", **payload: Any) -> None:
    more = {"agent": "human"} if what in ("opened", "clicked") else {}
    f.say(f"email_{what}", t, {"send_id": send} | more | payload, lead=lead)


def test_an_email_counts_once_per_lead_and_by_who_looked() -> None:
    f = Funnel()
    for lead in ("lead-1", "lead-2", "lead-3", "lead-4"):
        mail(f, "sent", T0, "s1", lead=lead, campaign_id="spring")
    for lead in ("lead-1", "lead-2", "lead-3"):
        mail(f, "delivered", T0 + MINUTE, "s1", lead=lead, campaign_id="spring")
    mail(f, "bounced", T0 + MINUTE, "s1", lead="lead-4", campaign_id="spring")
    for n in range(3):  # one person, three times
        mail(f, "opened", T0 + HOUR + n * DAY, "s1")
    mail(f, "clicked", T0 + HOUR, "s1", url=SITE)
    mail(f, "opened", T0 + HOUR, "s1", lead="lead-2", agent="proxy")
    mail(f, "opened", T0 + HOUR + MINUTE, "s1", lead="lead-2", agent="bot")
    mail(f, "clicked", T0 + HOUR, "s1", lead="lead-2", agent="bot")
    mail(f, "delivered", T0 + 9 * DAY, "s2", campaign_id="autumn")
    assert figure(f, "emails") == {
        ("sent",): 5, ("delivered",): 4, ("bounced",): 1, ("unsubscribed",): 0, ("reported",): 0,
        ("opened",): 1, ("clicked",): 1,
    }  # fmt: skip
    assert figure(f, "open_rate") == {(): Fraction(1, 4)}
    assert figure(f, "open_rate", "campaign") == {("spring",): Fraction(1, 3), ("autumn",): 0}
    assert figure(f, "click_rate", "campaign") == {("spring",): Fraction(1, 3), ("autumn",): 0}
    assert figure(f, "click_to_open_rate") == {(): 1}
    assert figure(f, "bounce_rate") == {(): Fraction(1, 5)}
    assert figure(f, "emails_opened") == {("human",): 1, ("unknown",): 0, ("proxy",): 1, ("bot",): 1}
    assert figure(f, "emails_clicked") == {("human",): 1, ("unknown",): 0, ("proxy",): 0, ("bot",): 1}
    assert figure(f, "open_rate", period="2026-03-01") == {(): Fraction(1, 3)}
    assert figure(f, "open_rate", period="2026-04") == {(): None}
    assert f.total("email", email="opened", agent="human") == 1
    assert f.total("engaged", type="email_opened", agent="human") == 3


def test_what_was_looked_at_was_delivered_and_what_came_back_was_sent() -> None:
    f = Funnel()
    mail(f, "opened", T0, "s1")
    mail(f, "bounced", T0, "s2")
    assert some(figure(f, "emails")) == {("sent",): 2, ("delivered",): 1, ("bounced",): 1, ("opened",): 1}
    assert figure(f, "open_rate") == {(): 1}


def test_who_leaves_leaves_because_of_the_last_email() -> None:
    f = Funnel()
    mail(f, "delivered", T0, "s1", campaign_id="one")
    mail(f, "delivered", T0 + DAY, "s2", campaign_id="two")
    mail(f, "opened", T0 + 2 * DAY, "s1")
    f.say("email_unsubscribed", T0 + 2 * DAY + MINUTE)
    mail(f, "delivered", T0, "s1", lead="lead-2", campaign_id="one")
    f.say("spam_reported", T0 + HOUR, lead="lead-2")
    f.say("email_unsubscribed", T0, lead="lead-3")
    assert figure(f, "unsubscribe_rate", "campaign") == {("one",): Fraction(1, 2), ("two",): 0}
    assert figure(f, "spam_rate") == {(): Fraction(1, 3)}
    assert figure(f, "emails")["unsubscribed",] == 2, "one of them of no e-mail that is known"


def test_a_bot_found_late_takes_its_opens_and_visits_along() -> None:
    f = Funnel()
    mail(f, "delivered", T0, "s1")
    mail(f, "opened", T0 + MINUTE, "s1")
    opened = f"e{f.n}"
    f.say("page_viewed", T0 + DAY, {"url": SITE})
    viewed = f"e{f.n}"
    assert (figure(f, "open_rate"), figure(f, "visits")) == ({(): 1}, {(): 1})
    assert (f.total("email"), f.total("visits")) == (1, 1)
    f.say("engagement_reclassified", T0 + 2 * DAY, {"of": opened, "agent": "bot"})
    f.say("engagement_reclassified", T0 + 2 * DAY, {"of": viewed, "agent": "bot"})
    assert (figure(f, "open_rate"), figure(f, "visits")) == ({(): 0}, {(): 0})
    assert figure(f, "emails_opened")["bot",] == 1
    assert f.total("email", agent="human") == f.total("visits") == 0
    assert f.total("email", agent="bot") == f.total("engaged", type="page_viewed", agent="bot") == 1
    assert figure(f, "open_rate", at=T0 + DAY) == {(): 1}, "as it stood then"


def test_visits_end_after_half_an_hour_and_have_a_channel() -> None:
    f = Funnel()
    f.say("page_viewed", T0, {"url": SITE, "utm": {"source": "google", "medium": "cpc"}})
    f.say("page_viewed", T0 + 30 * MINUTE, {"url": SITE + "pricing"})
    f.say("form_submitted", T0 + 50 * MINUTE, {"form_id": "f", "intent": "newsletter"})
    f.say("page_viewed", T0 + 81 * MINUTE, {"url": SITE})
    f.say("page_viewed", T0 + 3 * HOUR, {"url": SITE, "agent": "bot"})
    mail(f, "clicked", T0 + DAY, "s1", agent="bot")
    mail(f, "clicked", T0 + 2 * DAY, "s1")
    f.say("page_viewed", T0 + 2 * DAY + MINUTE, {"url": SITE})
    visits = figure(f, "visits", "channel")
    assert sum(visits.values()) == 3
    assert figure(f, "visits") == {(): 3}
    assert figure(f, "page_views") == {(): 4}
    assert figure(f, "pages_per_visit") == {(): Fraction(4, 3)}
    assert figure(f, "forms", "channel") == {("newsletter", "paid_search"): 1}
    assert visits["paid_search",] == 1
    assert figure(f, "page_views", "channel")["paid_search",] == 2
    assert visits["email",] == 1
    assert figure(f, "forms") == {("newsletter",): 1}
    assert figure(f, "visits", period="2026-03-02") == {(): 0}
    assert f.total("visits") == 3


def test_content_has_the_channel_of_its_visit() -> None:
    f = Funnel()
    mail(f, "clicked", T0, "s1")
    f.say("content_downloaded", T0 + MINUTE, {"asset_id": "guide"})
    f.say("content_downloaded", T0 + HOUR, {"asset_id": "paper"})
    assert figure(f, "content_downloads", "asset", "channel") == {
        ("guide", "email"): 1,
        ("paper", "direct"): 1,
    }
    assert figure(f, "content_downloads", "channel") == {("email",): 1, ("direct",): 1}


def test_content_social_events_product_and_surveys() -> None:
    f = Funnel()
    f.say("created", T0, {"source": "fair", "generated_by": "marketing"})
    for n, asset in enumerate(("paper", "paper", "guide")):
        f.say("content_downloaded", T0 + n * MINUTE, {"asset_id": asset})
    f.say("content_downloaded", T0, {"asset_id": "guide", "agent": "bot"})
    f.say("social_engaged", T0, {"network": "linkedin", "kind": "share"})
    for lead in ("lead-1", "lead-2"):
        f.say("event_registered", T0, {"event_id": "w", "kind": "webinar"}, lead=lead)
        f.say("event_registered", T0 + 1, {"event_id": "w", "kind": "webinar"}, lead=lead)
    f.say("event_attended", T0 + DAY, {"event_id": "w", "kind": "webinar"})
    f.say("product_used", T0, {"feature": "export", "trial": True})
    for n, score in enumerate((10, 9, 7, 3)):
        f.say("survey_answered", T0 + n, {"survey_id": "q", "score": score, "kind": "nps"}, lead=f"lead-{n}")
    f.say("survey_answered", T0, {"survey_id": "q", "score": 4, "kind": "csat"})
    assert figure(f, "content_downloads", "asset") == {("paper",): 2, ("guide",): 1}
    assert figure(f, "content_downloads", "source") == {("fair",): 3}
    assert figure(f, "social_engagements", "reaction") == {("linkedin", "share"): 1}
    assert figure(f, "event_attendance_rate", "kind") == {("webinar",): Fraction(1, 2)}
    assert figure(f, "event_registrations") == {(): 2}
    assert figure(f, "product_uses", "trial") == {("yes",): 1}
    assert figure(f, "survey_nps") == {(): 25}
    assert figure(f, "survey_mean") == {("nps",): Fraction(29, 4), ("csat",): 4, ("brand",): None}
    assert f.total("recommends", answer="promoter") == 2
    assert f.total("recommends", answer="detractor") == 1


def test_objections_and_discoveries_by_where_the_lead_came_from() -> None:
    f = Funnel(variant(""))
    f.say("created", T0, {"source": "fair", "generated_by": "marketing"})
    for category in ("price", "price", "timing"):
        f.say("objection_raised", f.now + MINUTE, {"category": category})
    f.say("discovery_recorded", f.now, {"kind": "risk", "text_ref": "n1"})
    assert figure(f, "objections", "source") == {("price", "fair"): 2, ("timing", "fair"): 1}
    assert figure(f, "discoveries") == {("risk",): 1}
    assert f.total("objections", category="price") == 2


def test_a_restarted_worker_counts_the_same() -> None:
    f = Funnel()
    mail(f, "delivered", T0, "s1")
    mail(f, "opened", T0 + HOUR, "s1")
    f.say("page_viewed", T0 + DAY, {"url": SITE})
    before = f.topology.totals()
    f.restart()
    assert f.topology.totals() == before
    mail(f, "opened", T0 + 2 * HOUR, "s1")
    assert f.total("email") == 1
    assert f.total("engaged", type="email_opened") == 2


def test_what_an_erased_person_did_stays_counted_and_the_next_one_begins_anew() -> None:
    f = Funnel()
    f.say("created", T0, {"source": "fair", "generated_by": "marketing"})
    mail(f, "delivered", T0 + MINUTE, "s1", campaign_id="spring")
    mail(f, "opened", T0 + HOUR, "s1")
    f.say("page_viewed", T0 + HOUR, {"url": SITE})
    f.say("objection_raised", T0 + HOUR, {"category": "price"})
    f.say("erased", T0 + HOUR + MINUTE, {"request_id": "r1"})
    f.until(T0 + DAY)
    assert figure(f, "open_rate", "source") == {("fair",): 1}
    assert figure(f, "open_rate", "campaign") == {("(erased)",): 1}
    assert figure(f, "objections", "source") == {("(erased)", "fair"): 1}, (
        "counted, but no word of it is left"
    )
    assert f.total("objections", category="price") == 0
    assert (f.total("visits"), f.total("email"), f.total("objections")) == (1, 1, 1)
    mail(f, "opened", T0 + 2 * DAY, "s1")
    assert figure(f, "emails_opened")["human",] == f.total("email") == 2
    f.restart()
    assert (f.total("visits"), f.total("email"), f.total("objections")) == (1, 2, 1)


def test_what_two_leads_did_is_one_persons_once_they_are_merged() -> None:
    f = Funnel()
    for lead, t in (("lead-1", T0), ("lead-2", T0 + 10 * MINUTE)):
        mail(f, "delivered", t, "s1", lead=lead)
        mail(f, "opened", t + MINUTE, "s1", lead=lead)
        f.say("page_viewed", t + 2 * MINUTE, {"url": SITE}, lead=lead)
    assert (figure(f, "emails")["opened",], figure(f, "visits")[()]) == (2, 2)
    f.say("merged", T0 + DAY, {"loser": "lead-2", "winner": "lead-1"})
    merge = f"e{f.n}"
    assert (figure(f, "emails")["opened",], figure(f, "visits")[()]) == (1, 1)
    assert (f.total("email"), f.total("visits"), f.total("engaged", type="page_viewed")) == (1, 1, 2)
    f.say("unmerged", T0 + 2 * DAY, {"merge_event_id": merge})
    assert (figure(f, "emails")["opened",], figure(f, "visits")[()]) == (2, 2)
    assert (f.total("email"), f.total("visits")) == (2, 2)


def test_an_unknown_visitors_pages_become_the_leads() -> None:
    f = Funnel()
    visitor = {"subject": {"anonymous_id": "visitor-1"}}
    f.say("page_viewed", T0, {"url": SITE}, **visitor)
    assert figure(f, "visits", "source") == {("(empty)",): 1}
    f.say("created", T0 + HOUR, {"source": "fair", "generated_by": "marketing"})
    f.say("identified", T0 + HOUR, {"anonymous_id": "visitor-1", "lead_id": "lead-1"})
    assert figure(f, "visits", "source") == {("fair",): 1}
    assert f.total("visits") == 1
