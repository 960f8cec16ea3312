"""The packaged default: does it call the right people qualified on day one?"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from processors.definition import load as package
from processors.definition.load import DEFAULT_NAME, load
from processors.definition.model import HOUR, MILLI, Definition
from processors.definition.sections import ENGAGEMENT_TYPES

DEFAULT = load(Path(package.__file__).with_name(DEFAULT_NAME).read_text("utf-8"), origin=DEFAULT_NAME)

#: (day, type, payload)
Event = tuple[int, str, dict[str, Any]]
PRICING = ("page_viewed", {"url": "www.shop.example/pricing"})
PAGE = ("page_viewed", {"url": "www.shop.example/blog"})
HAND = ("form_submitted", {"intent": "hand_raise"})

VP = {"role": "VP Marketing", "company": "company-1", "company_size": 200, "country": "AT"}
STUDENT = {
    "role": "student",
    "company": "university-1",
    "company_size": 8000,
    "country": "DE",
    "industry": "education",
}
MANAGER = {"role": "Marketing Manager", "country": "CH"}


def fit(attributes: dict[str, Any], d: Definition = DEFAULT) -> int:
    return min(max(sum(r.points for r in d.fit if r.when.test(attributes)), 0), 100 * MILLI)


def engagement(events: Iterable[Event], today: int, d: Definition = DEFAULT) -> Fraction:
    """An independent reading of DOMAIN 4, in milli-points; half-lives linear within, so a little low."""
    total = Fraction(0)
    for rule in d.engagement:
        days: dict[int, int] = {}
        for day, on, payload in sorted(events, key=lambda e: e[0]):
            if on != rule.on or (rule.when is not None and not rule.when.test(payload)):
                continue
            if rule.once and days:
                continue
            earned = days.get(day, 0) + rule.points
            days[day] = min(earned, rule.daily_cap) if rule.daily_cap else earned
        score = Fraction(0)
        for day, points in days.items():
            lives, rest = divmod(today - day, rule.half_life_days) if rule.half_life_days else (0, 0)
            kept = Fraction(points, 2**lives)
            score += kept * (1 - Fraction(rest, 2 * rule.half_life_days)) if rest else kept
        total += min(score, Fraction(rule.cap)) if rule.cap else score
    return min(total, Fraction(d.engagement_cap))


def qualified(attributes: dict[str, Any], events: list[Event], today: int, *, hand: bool = False) -> bool:
    th = DEFAULT.thresholds
    if any(rule.when.test(attributes) for rule in DEFAULT.disqualifiers):
        return False
    enough = fit(attributes) >= th.fit_min and engagement(events, today) >= th.up
    return enough or (hand and fit(attributes) >= th.fit_min_hand_raise)


def test_an_interested_decision_maker_qualifies() -> None:
    events: list[Event] = [
        (0, *PAGE),
        (2, "content_downloaded", {"asset_id": "guide-roi"}),
        (5, "event_attended", {"kind": "webinar"}),
        (9, *PRICING),
        (10, *PRICING),
    ]
    assert fit(VP) == 70 * MILLI
    assert qualified(VP, events, 10)
    assert not qualified(VP, events, 60)  # two months later it has faded


def test_only_role_and_size_known_is_enough_for_a_decision_maker() -> None:
    assert fit({"role": "VP Sales", "company_size": 200}) >= DEFAULT.thresholds.fit_min


def test_a_raised_hand_needs_little_fit() -> None:
    assert qualified(MANAGER, [(0, *HAND)], 0, hand=True)
    assert not qualified(MANAGER, [(0, *HAND)], 0)
    assert not qualified({}, [(0, *HAND)], 0, hand=True)


def test_activity_alone_never_qualifies() -> None:
    events: list[Event] = [(day, *PAGE) for day in range(20) for _ in range(10)]
    events += [(day, *PRICING) for day in range(20)] + [(19, *HAND)]
    events += [(day, "content_downloaded", {}) for day in range(20)]
    assert DEFAULT.engagement_cap >= engagement(events, 19) > 2 * DEFAULT.thresholds.up
    assert not qualified(STUDENT, events, 19)
    assert not qualified(STUDENT, events, 19, hand=True)


def test_reading_alone_never_qualifies_the_best_fit() -> None:
    """Page views, opens, clicks, ads and social together stay below the threshold for ever."""
    payloads = {"page_viewed": {"url": "x/blog"}}
    quiet = ("page_viewed", "email_opened", "email_clicked", "ad_clicked", "social_engaged")
    events = [(day, on, payloads.get(on, {})) for day in range(60) for on in quiet for _ in range(20)]
    assert engagement(events, 59) < DEFAULT.thresholds.up


def test_spam_outweighs_everything() -> None:
    events: list[Event] = [
        (0, *HAND),
        (0, *PRICING),
        (1, "event_attended", {"kind": "fair"}),
        (1, "spam_reported", {}),
    ]
    assert engagement(events, 1) < 0


@pytest.mark.parametrize(
    "attributes",
    [{"relationship": "Competitor"}, {"do_not_contact": True}, {"test": "yes"}, {"company": "test"}],
)
def test_some_are_never_qualified(attributes: dict[str, Any]) -> None:
    assert not qualified(VP | attributes, [(0, *HAND)], 0, hand=True)


@pytest.mark.parametrize(
    ("role", "points"),
    [
        ("Chief Financial Officer", 30), ("VP, Sales", 30), ("Head of Growth", 30), ("c_level", 30), ("CTO", 30),
        ("Managing Director", 30), ("Product Owner", 0), ("Marketing Manager", 20), ("Team Lead", 20),
        ("Director of Engineering", 30), ("Data Analyst", 8), ("Intern", -30), ("Internal Auditor", 0), (None, 0),
    ],
)  # fmt: skip
def test_roles(role: str | None, points: int) -> None:
    found = sum(r.points for r in DEFAULT.fit if r.when.test({"role": role}))
    assert found == points * MILLI


def test_the_best_lead_has_a_hundred_points_of_fit() -> None:
    best = VP | {"industry": "Software", "need": "soon", "timing": "q1", "budget": "yes"}
    assert sum(r.points for r in DEFAULT.fit if r.when.test(best)) == 100 * MILLI


def test_every_engagement_that_says_something_has_a_rule() -> None:
    silent = {"email_sent", "email_delivered"}
    assert set(ENGAGEMENT_TYPES) - {r.on for r in DEFAULT.engagement} == silent


def test_what_the_agreement_says() -> None:
    sla = DEFAULT.sla[0]
    assert (sla.first_touch, sla.decision, sla.expire_after) == (4 * HOUR, 16 * HOUR, 32 * HOUR)
    codes = {code for of, code in DEFAULT.reasons if of == "rejection"}
    assert codes >= {"timing", "no_budget", "no_authority", "no_need", "competitor", "bad_data", "duplicate", "spam",
                     "not_a_fit", "other"}  # fmt: skip
    assert [(b.team, b.low_per_mille, b.high_per_mille) for b in DEFAULT.budgets] == [
        ("marketing", 60, 120),
        ("sales", 150, 200),
    ]


@pytest.mark.parametrize(
    ("visit", "channel"),
    [
        ({"utm_medium": "cpc", "utm_source": "google"}, "paid_search"),
        ({"utm_medium": "cpc", "utm_source": "LinkedIn"}, "paid_social"),
        ({"utm_medium": "paid-social", "utm_source": "network-a"}, "paid_social"),
        ({"referrer_host": "www.google.at"}, "organic_search"),
        ({"referrer_host": "lnkd.in"}, "social"),
        ({"referrer_host": "blog.example"}, "referral"),
        ({"utm_medium": "newsletter"}, "email"),
        ({"type": "email_clicked"}, "email"),
        ({"utm_medium": "banner"}, "display"),
        ({"utm_medium": "affiliate"}, "affiliates"),
        ({"utm_medium": "podcast"}, "other"),
        ({"source": "organic_search"}, "organic_search"),
        ({"source": "direct_traffic"}, "direct"),
        ({}, "direct"),
        ({"referrer_host": None, "utm_source": "", "type": "page_viewed"}, "direct"),
    ],
)
def test_channels(visit: dict[str, Any], channel: str) -> None:
    found = next((c.name for c in DEFAULT.channels if c.when.test(visit)), DEFAULT.default_channel)
    assert found == channel


@pytest.mark.parametrize(
    ("size", "segment"),
    [(5000, "enterprise"), ("201-500", "mid_market"), (50, "small_business"), (3, "micro"), (None, "")],
)
def test_segments(size: object, segment: str) -> None:
    assert next((s.name for s in DEFAULT.segments if s.when.test({"company_size": size})), "") == segment
