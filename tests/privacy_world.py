"""A person of whom much is known, who is erased: for the tests of what then stays."""

from __future__ import annotations

from typing import Any

from processors.model import encode, load
from processors.purge import nameless
from streams.state_reader import figures_of_rows, loaded
from tests.strategies import FITS, at
from tests.world import Funnel

#: Stands in every place where a source may tell something about a person.
MARK = "xpersonalx"
ERASED = at(5, 12)
#: While the handoff of Monday, 10:02 is open.
SOON = at(1, 12)


def told_everything(f: Funnel, lead: str = "lead-1") -> None:
    """Each kind of fact that may carry something personal, before the call and after it."""
    url = f"https://example.org/{MARK}?utm_source={MARK}&utm_campaign={MARK}"
    facts: list[tuple[str, int, dict[str, Any]]] = [
        ("created", at(0), {"source": "webinar", "generated_by": "marketing"}),
        ("attributes_changed", at(0), {"fields": FITS | {"name": MARK, "budget": MARK, "company": MARK}}),
        ("page_viewed", at(1, 8), {"url": url, "referrer": f"https://{MARK}.example.org/"}),
        ("ad_clicked", at(1, 8), {"ad_id": "a-1", "utm": {"campaign": MARK}}),
        ("social_engaged", at(1, 8), {"network": MARK, "kind": MARK}),
        ("survey_answered", at(1, 8), {"survey_id": MARK, "score": 9, "kind": "nps"}),
        ("product_used", at(1, 8), {"feature": MARK}),
        ("email_clicked", at(1, 8), {"send_id": f"s-{MARK}", "url": url, "agent": "human"}),
        ("discovery_recorded", at(1, 8), {"kind": "requirement", "text_ref": MARK}),
        ("objection_raised", at(1, 8), {"category": MARK}),
        ("material_shared", at(1, 8), {"asset_id": MARK}),
        ("consent_changed", at(1, 8), {"purpose": "sales_contact", "granted": True, "basis": MARK}),
        ("account_matched", at(1, 8), {"account_id": f"acc-{MARK}", "rule": "domain"}),
        ("form_submitted", at(1, 9), {"form_id": MARK, "intent": "hand_raise", "fields": {"e": MARK}}),
        ("content_downloaded", at(1, 10), {"asset_id": MARK}),
        ("rejected", at(1, 11), {"reason_code": "timing", "notes": f"{MARK} was in a meeting"}),
        ("form_submitted", at(1, 12), {"form_id": "again", "intent": "hand_raise"}),
        ("page_viewed", at(1, 13), {"url": url}),
    ]
    for type_, t, payload in facts:
        f.say(type_, t, payload, lead=lead, source_event_id=f"{MARK}-{t}-{type_}")


def erase(f: Funnel, t: int = ERASED, lead: str = "lead-1", **envelope: Any) -> None:
    f.say("erased", t, {"request_id": "r-1"}, lead=lead, **envelope)


def figures(f: Funnel) -> dict[tuple[Any, ...], int]:
    return figures_of_rows(loaded(f.driver.all_rows()), f.topology, f.now)


def marked(f: Funnel) -> list[bytes]:
    """Keys of the rows in whose bytes, unpacked, something personal is left."""
    return [key for key, data in f.driver.all_rows() if MARK.encode() in encode(load(data))]


def told_less(totals: dict[tuple[Any, ...], int]) -> dict[tuple[Any, ...], int]:
    """Counts as they stay: that something was taken or said, not what."""
    out: dict[tuple[Any, ...], int] = {}
    for key, n in totals.items():
        out[nameless(key)] = out.get(nameless(key), 0) + n
    return out


def returned(f: Funnel, lead: str = "lead-1", **fields: Any) -> None:
    f.fit(at(10), lead, **fields)
