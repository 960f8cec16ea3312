"""Histories that the laws of the fold have found."""

from __future__ import annotations

from processors.model import handoff_id
from tests.judge import KEY
from tests.strategies import FITS, at, sent

#: It may not be forgotten that a bot's click, on some day, was all that happened in four weeks: nobody was inactive.
KEPT_BY_A_BOT = [
    sent("created", at(0), 0, {"source": "webinar", "generated_by": "marketing"}),
    *(sent("discovery_recorded", at(0, n), n, {"kind": "risk", "text_ref": "n"}) for n in range(1, 12)),
    sent("email_clicked", at(15), 15, {"send_id": "s2", "agent": "bot"}),
    *(sent("discovery_recorded", at(n), n, {"kind": "risk", "text_ref": "n"}) for n in range(30, 40)),
]
#: Two answers at one instant, of which the first withdraws a call that sales had touched: the second answers nothing.
TOUCHED_AND_RECYCLED = [
    sent("created", at(0), 0, {"source": "webinar", "generated_by": "marketing"}),
    sent("attributes_changed", at(0), 1, {"fields": FITS}),
    sent("recycled", at(2, 14), 3),
    sent("rejected", at(2, 14), 9, {"reason_code": "spam"}, actor={"type": "human", "id": "owner-1"}),
    sent("touched", at(0, 0, 84941), 13, {"channel": "phone", "kind": "meeting"}),
    sent("form_submitted", at(0, 0, 2), 17, {"form_id": "f", "intent": "hand_raise"}),
]
#: Of the first call a part of the ground came late, and nobody had waited for it: so it had expired when the second
#: was made, before which something else came late.
EXPIRED_MEANWHILE = [
    sent("created", at(0), 0, {"source": "webinar", "generated_by": "marketing"}),
    sent("attributes_changed", at(0), 1, {"fields": FITS}),
    sent("content_downloaded", at(1, 9), 2, {"asset_id": "g0"}),
    sent("content_downloaded", at(1, 10), 3, {"asset_id": "g1"}, recorded_at=at(1, 15)),
    sent("content_downloaded", at(1, 11), 4, {"asset_id": "g2"}),
    sent("content_downloaded", at(1, 12), 13, {"asset_id": "b"}),
    sent("account_matched", at(2, 16), 14, {"account_id": "o", "rule": "domain"}, recorded_at=at(5, 16)),
    sent("reopened", at(3, 15), 5),
]
#: An answer that means a call by its name, and is dated before it: had the call, which a late fact moves ahead of the
#: answer, another name, it would be open still.
NAMED_BEFORE = [
    sent("created", at(0), 0, {"source": "webinar", "generated_by": "marketing"}),
    sent("attributes_changed", at(0), 1, {"fields": FITS}),
    *(sent("content_downloaded", at(0), n, {"asset_id": "a"}, backfill=True) for n in (4, 16)),
    *(sent("page_viewed", at(0), n, {"url": "https://example.org/"}, backfill=True) for n in (5, 12)),
    sent("content_downloaded", at(0, 6), 17, {"asset_id": "a"}, backfill=True),
    sent("accepted", at(0), 18, {"handoff_id": handoff_id(KEY, 1)}, backfill=True),
]
REJECTED_BEFORE = [
    sent("created", at(0), 0, {"source": "webinar", "generated_by": "marketing"}),
    sent("attributes_changed", at(0), 1, {"fields": FITS}),
    sent("event_attended", at(0, 6), 11, {"event_id": "w1", "kind": "webinar"}),
    sent("content_downloaded", at(1, 9), 2, {"asset_id": "g0"}),
    sent("rejected", at(1, 6), 12, {"reason_code": "not_a_fit", "handoff_id": handoff_id(KEY, 1)}),
    sent("page_viewed", at(1, 6), 13, {"url": "/pricing"}, recorded_at=at(1, 11)),
]

#: A raised hand that came three days late, and within a second of it something else that is ground enough. When the
#: first was recorded is kept to a minute or so, which is after the second.
THREE_DAYS_AND_A_SECOND = [
    sent("created", at(0), 0, {"source": "webinar", "generated_by": "marketing"}),
    sent("attributes_changed", at(0), 1, {"fields": FITS}),
    sent("content_downloaded", at(1, 9), 2, {"asset_id": "g0"}),
    sent("content_downloaded", at(1, 10), 3, {"asset_id": "g1"}),
    sent("page_viewed", at(3), 10, {"url": "/pricing"}, recorded_at=at(3, 0, 1500)),
    sent(
        "form_submitted",
        at(0, 0, 1170),
        21,
        {"form_id": "f", "intent": "hand_raise"},
        recorded_at=at(3, 0, 1170),
    ),
]
#: One click of which two systems tell, and a re-classification that calls it as the second does.
ONE_CLICK_TWO_NAMES = [
    sent("email_clicked", at(19), 7, {"send_id": "s1", "agent": "human"}),
    sent("email_clicked", at(19), 4, {"send_id": "s1", "agent": "human"}, recorded_at=at(19, 1)),
    sent("engagement_reclassified", at(12), 10, {"of": "e4", "agent": "bot"}, recorded_at=at(15)),
]

#: An import completes the ground at the instant at which a hand is raised, and a touch answers the second of the two calls.
IMPORTED_AND_RAISED_AT_ONCE = [
    sent("created", at(0), 0, {"source": "webinar", "generated_by": "marketing"}),
    sent("attributes_changed", at(0), 1, {"fields": FITS}),
    sent("assigned", at(1, 10), 2, {"owner": "owner-1", "handoff_id": handoff_id(KEY, 1)}),
    sent("touched", at(1, 10), 3, {"channel": "phone", "kind": "call"}),
    *(sent("page_viewed", at(0), n, {"url": "https://example.org/"}, backfill=True) for n in range(4, 10)),
    sent("page_viewed", at(0, 6), 10, {"url": "https://example.org/pricing"}, backfill=True),
    sent("page_viewed", at(0), 11, {"url": "https://example.org/pricing"}, backfill=True),
    sent("form_submitted", at(0, 6), 12, {"form_id": "f", "intent": "hand_raise"}),
    *(sent("page_viewed", at(0), n, {"url": "https://example.org/"}, backfill=True) for n in range(13, 23)),
    sent("content_downloaded", at(0), 23, {"asset_id": "a"}, backfill=True),
]
