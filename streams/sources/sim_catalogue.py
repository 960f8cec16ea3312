"""What the simulated people look at, work as and come from: small weighted tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from streams.sources.sim_model import HOUR

T = TypeVar("T")


def table(weighted: Iterable[tuple[T, int]]) -> tuple[T, ...]:
    """Each value as often as its weight says, to be drawn with one random number."""
    return tuple(value for value, weight in weighted for _ in range(weight))


_SITE = "https://www.shop.example"

PAGES = table((
    (f"{_SITE}/", 22), (f"{_SITE}/product", 16), (f"{_SITE}/pricing", 9), (f"{_SITE}/blog/how-to-start", 12),
    (f"{_SITE}/blog/ten-mistakes", 9), (f"{_SITE}/customers", 8), (f"{_SITE}/integrations", 7),
    (f"{_SITE}/docs", 6), (f"{_SITE}/security", 3), (f"{_SITE}/about", 3), (f"{_SITE}/careers", 3),
    (f"{_SITE}/demo", 2),
))  # fmt: skip
PRICING = f"{_SITE}/pricing"
MAIL_LINKS = (f"{_SITE}/blog/ten-mistakes", f"{_SITE}/customers", f"{_SITE}/webinars", PRICING)
ASSETS = table((("guide-basics", 6), ("guide-roi", 4), ("case-study-retail", 3), ("checklist", 5),
                ("comparison", 2)))  # fmt: skip
SALES_ASSETS = ("deck", "case-study-retail", "roi-sheet", "security-paper", "comparison")
FEATURES = ("import", "dashboard", "report", "invite", "api")

#: (source, utm_medium, utm_source, referrer)
_ORGANIC = ("organic_search", "", "", "https://search.example/")
_PAID = ("paid_search", "cpc", "search", "https://search.example/")
_SOCIAL = ("social", "paid-social", "network-a", "https://network-a.example/")
_EMAIL = ("email", "email", "partner-newsletter", "")
_REFERRAL = ("referral", "", "", "https://blog.example/review")
_PARTNER = ("partner", "partner", "partner-1", "https://partner-1.example/")
_DIRECT = ("direct", "", "", "")
_EMPTY = ("", "", "", "")
Way = tuple[str, str, str, str]
WAYS: tuple[Way, ...] = table((
    (_ORGANIC, 30), (_PAID, 17), (_SOCIAL, 14), (_EMAIL, 5), (_REFERRAL, 8), (_PARTNER, 5), (_DIRECT, 17),
    (_EMPTY, 4),
))  # fmt: skip
#: During an ad burst.
BURST_WAYS: tuple[Way, ...] = table((
    (_ORGANIC, 13), (_PAID, 34), (_SOCIAL, 32), (_EMAIL, 3), (_REFERRAL, 4), (_PARTNER, 2), (_DIRECT, 10),
    (_EMPTY, 2),
))  # fmt: skip
DIRECT = _DIRECT
WAY_OF = {way[0]: way for way in WAYS}
#: How much better or worse than usual the people of a source are.
WORTH = {"referral": 1.5, "partner": 1.35, "organic_search": 1.1, "paid_search": 0.95, "email": 0.9,
         "social": 0.6, "direct": 1.05, "": 0.8}  # fmt: skip

COUNTRIES = table((
    (("DE", HOUR, "EUR"), 30), (("AT", HOUR, "EUR"), 7), (("CH", HOUR, "EUR"), 7), (("FR", HOUR, "EUR"), 13),
    (("NL", HOUR, "EUR"), 7), (("GB", 0, "USD"), 10), (("US", -5 * HOUR, "USD"), 18),
    (("JP", 9 * HOUR, "JPY"), 8),
))  # fmt: skip
CURRENCY = {country: currency for country, _, currency in COUNTRIES}
INDUSTRIES = table((("software", 8), ("manufacturing", 7), ("retail", 6), ("finance", 4), ("health", 3),
                    ("education", 3), ("public", 2), ("consulting", 3)))  # fmt: skip
ROLES = table(
    (("c_level", 3), ("head", 5), ("manager", 9), ("specialist", 8), ("consultant", 2), ("student", 3))
)
#: How much somebody of that role can decide, 0..1.
SAY = {"c_level": 1.0, "head": 0.9, "manager": 0.65, "specialist": 0.4, "consultant": 0.3, "student": 0.02}
SIZES = table(((1, 3), (8, 5), (25, 6), (60, 7), (150, 6), (400, 5), (1200, 3), (8000, 1)))
GATEWAYS = table((("plain", 66), ("proxy", 24), ("scanner", 10)))
NETWORKS = ("network-a", "network-b")

#: Minor units of a currency per euro cent, per thousand: amounts are thought of in euro.
_PER_CENT = {"EUR": 1000, "USD": 1090, "JPY": 1630}


def money(euro: float, currency: str) -> int:
    """Minor units of ``currency`` that are worth about so many euro."""
    return int(euro * 100 * _PER_CENT[currency] / 1000)
