"""The figures of engagement: e-mail, traffic, content, social, events, surveys, product, and what sales and leads
told and gave each other."""

from __future__ import annotations

from processors.additive import EMPTY
from processors.engagement import BOUNCED, CLICKED, DELIVERED, OPENED, REPORTED, SENT, UNSUBSCRIBED
from processors.figure_kit import LEAD, Figure, count, figure, made_of, part
from processors.report_customers import nps, scores
from processors.surveys import NPS, mean
from processors.totals import Sel

_MAIL = ("campaign", *LEAD)
_BESIDE = ("proxy", "bot", "unknown")


def _mail(state: str, agent: str = EMPTY) -> Sel:
    return Sel("email_on", {"email": state, "agent": agent})


def _of_persons(state: str) -> dict[str, Sel]:
    """What persons did with e-mails, the e-mails delivered, and beside it what others did."""
    return (
        {state: _mail(state, "human")}
        | {DELIVERED: _mail(DELIVERED)}
        | {agent: _mail(state, agent) for agent in _BESIDE}
    )


FIGURES: tuple[Figure, ...] = (
    figure(
        "emails", "e-mail", "e-mails",
        "e-mails, each counted once per send and lead on the day of its delivery, by what became of them; opened and "
        "clicked: by a person; an e-mail that was looked at was delivered, one that was delivered or came back was sent",
        count("email_on", agent=(EMPTY, "untracked", "human")), _MAIL, ("email",),
    ),
    figure(
        "emails_opened", "e-mail", "e-mails", "e-mails opened, each counted once, by who opened them",
        count("email_on", email=OPENED), _MAIL, ("agent",),
    ),
    figure(
        "emails_clicked", "e-mail", "e-mails", "e-mails with a link followed, each counted once, by who followed it",
        count("email_on", email=CLICKED), _MAIL, ("agent",),
    ),
    figure(
        "open_rate", "e-mail", "ratio",
        "opened by a person/delivered, of e-mails delivered in the period; opened by proxies, bots and unknown are beside",
        made_of(part(OPENED, DELIVERED), _of_persons(OPENED)), _MAIL,
    ),
    figure(
        "click_rate", "e-mail", "ratio",
        "clicked by a person/delivered, of e-mails delivered in the period; clicked by proxies, bots and unknown are beside",
        made_of(part(CLICKED, DELIVERED), _of_persons(CLICKED)), _MAIL,
    ),
    figure(
        "click_to_open_rate", "e-mail", "ratio",
        "clicked by a person/opened by a person; may pass 100 %, where pictures are not loaded",
        made_of(part(CLICKED, OPENED), {state: _mail(state, "human") for state in (CLICKED, OPENED)}), _MAIL,
    ),
    figure(
        "bounce_rate", "e-mail", "ratio", "came back/sent",
        made_of(part(BOUNCED, SENT), {state: _mail(state) for state in (BOUNCED, SENT)}), _MAIL,
    ),
    figure(
        "unsubscribe_rate", "e-mail", "ratio",
        "unsubscribed after it, before the next one was delivered or looked at/delivered",
        made_of(part(UNSUBSCRIBED, DELIVERED), {s: _mail(s) for s in (UNSUBSCRIBED, DELIVERED)}), _MAIL,
    ),
    figure(
        "spam_rate", "e-mail", "ratio",
        "reported as spam after it, before the next one was delivered or looked at/delivered",
        made_of(part(REPORTED, DELIVERED), {s: _mail(s) for s in (REPORTED, DELIVERED)}), _MAIL,
    ),
    figure(
        "visits", "traffic", "visits",
        "runs of page views, forms, downloads, ad clicks and human e-mail clicks with no gap of more than 30 minutes; "
        "bots and proxies make none",
        count("visit_on"), ("channel", *LEAD),
    ),
    figure(
        "page_views", "traffic", "pages", "pages looked at, by the channel of their visit; bots and proxies left out",
        count("page_on"), ("channel", *LEAD),
    ),
    figure(
        "pages_per_visit", "traffic", "pages", "page views/visits",
        made_of(part("pages", "visits"), {"pages": Sel("page_on"), "visits": Sel("visit_on")}), ("channel", *LEAD),
        adds=False,
    ),
    figure(
        "forms", "traffic", "forms",
        "forms sent, by what they were sent for; the channel is that of their visit; bots and proxies left out",
        count("form_on"), ("channel", *LEAD), ("intent",),
    ),
    figure(
        "engagement_events", "traffic", "events", "everything that people did or were sent, by who did it",
        count("engaged_on"), LEAD, ("type", "agent"),
    ),
    figure(
        "content_downloads", "content", "downloads",
        "pieces of content taken; the channel is that of their visit; bots and proxies left out",
        count("download_on"), ("asset", "channel", *LEAD),
    ),
    figure(
        "social_engagements", "social", "reactions", "reactions on social networks",
        count("social_on"), ("reaction", *LEAD), ("network",),
    ),
    figure(
        "event_registrations", "events", "persons", "registrations for events, each person once per event",
        count("event_on", answer="registered"), ("kind", *LEAD),
    ),
    figure(
        "event_attendances", "events", "persons", "persons who came to events, each once per event",
        count("event_on", answer="attended"), ("kind", *LEAD),
    ),
    figure(
        "event_attendance_rate", "events", "ratio",
        "attended/registered; may pass 100 %, for some come unannounced",
        made_of(
            part("attended", "registered"),
            {x: Sel("event_on", {"answer": x}) for x in ("attended", "registered")},
        ), ("kind", *LEAD),
    ),
    figure(
        "product_uses", "product", "uses", "uses of the product by leads, in a trial or not",
        count("product_on"), ("feature", "trial", *LEAD),
    ),
    figure(
        "survey_answers", "surveys", "answers", "answers to surveys", count("survey_on"), LEAD, ("survey",),
    ),
    figure(
        "survey_mean", "surveys", "score", "Σ scores/answers",
        scores("survey_on", "score", lambda x: mean(x.items())), LEAD, ("survey",), adds=False,
    ),
    figure(
        "survey_nps", "surveys", "points",
        "100 × (promoters - detractors)/answers to surveys of kind nps; promoters gave 9 or 10, detractors up to 6",
        scores("survey_on", "score", nps, survey=NPS), LEAD, adds=False,
    ),
    figure(
        "objections", "sales talks", "objections", "objections that leads raised, by category",
        count("objection_on"), LEAD, ("category",),
    ),
    figure(
        "discoveries", "sales talks", "discoveries", "requirements, constraints and risks that sales learnt of",
        count("discovery_on"), LEAD, ("kind",),
    ),
)  # fmt: skip
