"""One ordinary lead, as DESIGN 10 has it: 30 engagement events, one journey, one deal; what its row weighs and costs."""

from __future__ import annotations

import json
from typing import Any

from schemas.codec import decode
from schemas.envelope import Envelope
from schemas.vocabulary import EVENTS

HOUR, DAY = 3_600_000, 86_400_000
START_MS = 1_767_600_000_000  # a Monday
#: (days after the start, type, payload): a visitor who reads, downloads, asks, and buys.
_PAGES = (
    "/",
    "/product/overview",
    "/blog/lead-scoring",
    "/customers",
    "/docs/start",
    "/product/tour",
    "/about",
)

ENGAGEMENT = frozenset(name for name, e in EVENTS.items() if e.family == "engagement")


def _engagement() -> list[tuple[float, str, dict[str, Any]]]:
    out: list[tuple[float, str, dict[str, Any]]] = []
    utm = {"source": "newsletter", "medium": "email", "campaign": "spring-launch"}
    for n in range(16):
        payload: dict[str, Any] = {
            "url": f"https://www.example.com{_PAGES[n % 7]}",
            "session_id": f"s-{n // 4}",
        }
        if n % 4 == 0:
            payload |= {"referrer": "https://search.example/", "utm": utm}
        out.append((0.1 + n // 4 * 2 + n % 4 * 0.01, "page_viewed", payload))
    for n in range(4):
        send = {"send_id": f"send-{n}", "campaign_id": "spring-launch"}
        out += [
            (1 + 2 * n, "email_sent", send | {"class": "nurture"}),
            (1.02 + 2 * n, "email_delivered", send),
            (1.2 + 2 * n, "email_opened", {"send_id": f"send-{n}", "agent": "human"}),
        ]
    out += [
        (7.9, "content_downloaded", {"asset_id": "guide-1"}),
        (8.3, "form_submitted", {"form_id": "demo", "intent": "hand_raise"}),
    ]
    return sorted(out, key=lambda x: x[0])


def events(lead: str) -> list[Envelope]:
    """The lead's own events in order."""
    fields = {
        "role": "director",
        "company": "example",
        "company_size": 120,
        "country": "DE",
        "need": "reporting",
    }
    found: list[tuple[float, str, dict[str, Any]]] = [
        (0.0, "created", {"source": "newsletter", "generated_by": "marketing"}),
        (0.0001, "attributes_changed", {"fields": fields}),
        *_engagement(),
        (8.31, "assigned", {"owner": "owner-1", "team": "sales"}),
        (8.33, "touched", {"channel": "phone", "kind": "call"}),
        (8.4, "accepted", {}),
        (10.4, "qualified_by_sales", {"reasons": ["budget", "need"]}),
    ]
    return [envelope(type_, START_MS + int(days * DAY), payload, {"lead_id": lead}, n) for n, (days, type_, payload) in
            enumerate(found)]  # fmt: skip


def deal(lead: str) -> list[Envelope]:
    """The deal that comes of it."""
    subject = {"deal_id": f"deal-of-{lead}"}
    money = {"amount": 1_200_000, "currency": "EUR"}
    opened = money | {
        "leads": [{"lead_id": lead}],
        "pipeline": "new",
        "stage": "proposal",
        "account_id": "account-1",
    }
    return [
        envelope("opened", START_MS + 12 * DAY, opened, subject, 0),
        envelope("won", START_MS + 30 * DAY, money, subject, 1),
    ]


def envelope(type_: str, at_ms: int, payload: dict[str, Any], subject: dict[str, str], n: int) -> Envelope:
    who = next(iter(subject.values()))
    return decode(
        json.dumps(
            {
                "type": type_, "occurred_at": at_ms, "source_system": "crm" if "_" not in type_ else "web",
                "source_event_id": f"{who}/{n}", "subject": subject, "payload": payload,
            }
        ).encode(),
        (),
    )  # fmt: skip
