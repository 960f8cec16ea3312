"""DOMAIN 8, score and time: caps, fading, re-classification; business hours, pauses, absent owners."""

from __future__ import annotations

import random
from typing import Any

import pytest

from processors.definition.model import HOUR, MINUTE
from processors.model import ACCEPTED, FADED, OPEN, RECLASSIFIED
from processors.scoring import LIMIT
from streams.definitions import default_text
from tests.strategies import at, sent
from tests.world import Funnel, handed_over, variant

FRIDAY = at(5)


# Score ----------------------------------------------------------------------------------------------------------


def test_case_39_fading_below_unqualifies_by_time_and_the_open_handoff_is_kept() -> None:
    slow = variant('[[sla]]\nname = "slow"\nfirst_touch = "400h"\ndecision = "400h"\nexpire_after = "900h"')
    f, t = handed_over(definition=slow)
    d = slow.thresholds
    for _ in range(30):
        if f.score() > d.up - 5000:
            f.until(f.now + 24 * HOUR)
    f.say("page_viewed", f.now, {"url": "/"})
    assert d.down < f.score() < d.up
    assert f.head().qualified  # what qualifies upwards is not what keeps it
    f.until(t + 60 * 24 * HOUR)
    (mark,) = f.out("stage_changes", kind="unqualified")
    assert mark["rule"] == "fell below the threshold"
    assert mark["occurred_at"] % (24 * HOUR) == 0  # at the midnight at which the score fades below `down`
    (h,) = f.handoffs()
    assert (h.outcome, bool(h.flags & FADED)) == (OPEN, True)
    assert not f.head().qualified


def test_case_39_where_the_policy_says_so_it_is_withdrawn() -> None:
    strict = variant(
        "[policy]\nwithdraw_when_unqualified = true\n"
        '[[sla]]\nname = "slow"\nfirst_touch = "400h"\ndecision = "400h"\nexpire_after = "900h"'
    )
    f, t = handed_over(definition=strict)
    f.until(t + 60 * 24 * HOUR)
    (withdrawn,) = f.out("handoffs", kind="withdrawn")
    assert withdrawn["reason_code"] == "unqualified"


def test_case_40_up_down_up_within_a_tick_is_one_handoff() -> None:
    f = Funnel()
    f.fit()
    t = at(1, 10)
    f.say("event_attended", t, {"event_id": "w", "kind": "webinar"}, run=False)
    for n in range(2):
        f.say("content_downloaded", t + n, {"asset_id": f"a{n}"}, run=False)
    f.say("email_unsubscribed", t + 3, run=False)
    f.raise_hand(t + 4, run=False)
    f.until(t + 5)
    assert len(f.out("handoffs", kind="made")) == len(f.handoffs()) == 1
    assert len(f.out("stage_changes", stage="mql", kind="entered")) == 1
    (down,) = f.out("stage_changes", kind="unqualified")
    assert down["occurred_at"] == t + 3
    assert f.head().qualified


def test_case_41_cap_and_shuffled_order_are_equal() -> None:
    views = [sent("page_viewed", at(1, 10, n), n, {"url": "https://example.org/pricing"}) for n in range(20)]
    scores = set()
    for seed in range(3):
        f = Funnel(now=at(1, 12))
        f.fit(at(1, 9))
        random.Random(seed).shuffle(views)
        for x in views:
            f.publish(x)
            f.driver.run()
        scores.add(f.score())
    assert scores == {16_000 + 5_000}


def test_case_42_a_click_re_classified_as_a_bots_loses_its_points_and_the_handoff_is_flagged() -> None:
    f = Funnel()
    f.fit()
    f.say("event_attended", at(1, 10), {"event_id": "w", "kind": "webinar"})
    f.say("event_attended", at(1, 10), {"event_id": "fair", "kind": "fair"})
    before = f.score()
    payload = {"send_id": "s", "agent": "human"}
    f.say("email_clicked", at(1, 10, 1), payload, source_system="mailer", source_event_id="c-1")
    assert f.score() == before + 3_000
    assert [h.outcome for h in f.handoffs()] == [OPEN]
    f.say("engagement_reclassified", at(1, 11), {"of": "c-1", "agent": "bot"}, source_system="mailer")
    assert f.score() == before
    (h,) = f.handoffs()
    assert h.flags & RECLASSIFIED
    assert h.outcome == OPEN
    assert "ground re-classified" in f.out("handoffs", kind="made")[-1]["flags"]


def test_case_42_an_open_re_classified_before_anybody_was_called_qualifies_nobody() -> None:
    opens = variant(
        'engagement_cap = 0\n[[engagement]]\nname = "open"\non = "email_opened"\npoints = 30\n'
        '[[engagement]]\nname = "page"\non = "page_viewed"\npoints = 15\n'
    )
    f = Funnel(opens)
    f.fit()
    f.say(
        "email_opened",
        at(1, 10),
        {"send_id": "s", "agent": "human"},
        source_system="mailer",
        source_event_id="o-1",
    )
    assert f.score() == 30_000
    f.say("engagement_reclassified", at(1, 10, 5), {"of": "o-1", "agent": "proxy"}, source_system="mailer")
    assert f.score() == 0
    f.say("page_viewed", at(1, 11), {"url": "/"})
    assert f.handoffs() == []
    g = Funnel(opens)
    g.fit()
    g.say(
        "email_opened",
        at(1, 10),
        {"send_id": "s", "agent": "human"},
        source_system="mailer",
        source_event_id="o-1",
    )
    g.say("page_viewed", at(1, 11), {"url": "/"})
    g.say("engagement_reclassified", at(1, 12), {"of": "o-1", "agent": "bot"}, source_system="mailer")
    assert g.score() == 15_000
    (h,) = g.handoffs()
    assert (h.outcome, bool(h.flags & RECLASSIFIED)) == (OPEN, True)


def test_case_42_a_hand_raise_of_a_bot_is_none() -> None:
    f = Funnel()
    f.fit()
    f.raise_hand(at(1, 10), source_event_id="form-1")
    f.say("rejected", at(1, 11), {"reason_code": "timing"})
    f.raise_hand(at(2, 10), source_event_id="form-2")
    assert len(f.handoffs()) == 2
    f.say("engagement_reclassified", at(2, 11), {"of": "form-2", "agent": "bot"})
    assert f.head().raised == at(1, 10)


@pytest.mark.parametrize("points", [999_999, -999_999])
def test_case_43_huge_and_negative_points_saturate(points: int) -> None:
    huge = variant(
        f'engagement_cap = 0\n[[engagement]]\nname = "x"\non = "product_used"\npoints = {points}\n'
        '[[engagement]]\nname = "other"\non = "event_attended"\npoints = 50\n'
    )
    f = Funnel(huge)
    f.fit()
    for n in range(3):
        f.say("product_used", at(1, 10, n), {"feature": "x"})
    assert f.score() == (LIMIT if points > 0 else -LIMIT)
    assert f.head().saturated
    f.raise_hand(at(1, 11))
    assert "score saturated" in f.out("handoffs", kind="made")[-1]["flags"]


# Time -----------------------------------------------------------------------------------------------------------


def test_case_44_friday_1630_to_monday_0930_is_one_business_hour() -> None:
    hour = '[[sla]]\nname = "one"\nfirst_touch = "1h"\ndecision = "8h"\nexpire_after = "16h"'
    f = Funnel(variant(hour))
    f.fit(FRIDAY + 9 * HOUR)
    f.raise_hand(FRIDAY + 16 * HOUR + 30 * MINUTE)
    (made,) = f.out("handoffs", kind="made")
    assert made["first_touch_due_at"] == at(8, 9, 30 * MINUTE)
    f.say("touched", at(8, 9, 30 * MINUTE), {"channel": "phone", "kind": "call"})  # exactly at due is in time
    (met,) = f.out("sla", clock="first_touch", kind="met")
    assert met["business_ms"] == HOUR
    assert met["wall_ms"] == at(8, 9, 30 * MINUTE) - (FRIDAY + 16 * HOUR + 30 * MINUTE)
    f.until(at(9))
    assert f.out("sla", clock="first_touch", kind="breached") == []


BERLIN = ({"owner": "owner-1", "team": "sales", "active": True, "time_zone": "Europe/Berlin"},)
AUCKLAND = ({"owner": "owner-1", "team": "sales", "active": True, "time_zone": "Pacific/Auckland"},)


def test_case_44_an_owner_elsewhere_has_the_hours_of_their_zone() -> None:
    f = Funnel(owners=AUCKLAND)
    f.fit(at(1, 9))
    f.raise_hand(at(1, 10))  # 23:00 in Auckland, which is 13 hours ahead
    (made,) = f.out("handoffs", kind="made")
    assert made["first_touch_due_at"] == at(2, 0)  # there, Tuesday 9 to 13


def test_case_44_the_day_on_which_clocks_are_put_forward_has_its_real_hours() -> None:
    night = variant(
        '[[sla]]\nname = "n"\nfirst_touch = "4h"\ndecision = "8h"\nexpire_after = "16h"\n'
        '[calendars.default]\ntime_zone = "UTC"\n[calendars.default.hours]\nmon-sun = ["00:00-24:00"]'
    )
    f = Funnel(night, owners=BERLIN)
    f.fit(at(27, 22))
    f.raise_hand(at(27, 23))  # Sunday 29 March, 00:00 in Berlin; from 02:00 it is 03:00
    (made,) = f.out("handoffs", kind="made")
    assert made["first_touch_due_at"] == at(28, 3)  # four real hours
    g = Funnel(owners=BERLIN)
    g.fit(at(26, 8))
    g.raise_hand(
        at(26, 15)
    )  # Friday 16:00 in Berlin: an hour of it, and three of Monday, which begins at 07:00 UTC
    (made,) = g.out("handoffs", kind="made")
    assert made["first_touch_due_at"] == at(29, 10)


def test_case_44_a_pause_across_the_due_instant_moves_it() -> None:
    f, t = handed_over()
    (h,) = f.handoffs()
    f.say("sla_paused", at(1, 12), {"handoff_id": h.id, "reason": "asked for a date"})
    f.until(at(2, 12))
    assert f.out("sla", kind="breached") == []
    f.say("sla_resumed", at(2, 12), {"handoff_id": h.id, "reason": "date given"})
    (now,) = f.handoffs()
    left = h.due_touch - at(1, 12)
    assert now.due_touch == at(2, 12) + left
    assert [x["kind"] for x in f.out("sla") if x["kind"] in ("paused", "resumed")] == ["paused", "resumed"]
    f.until(now.due_touch + 2 * MINUTE)
    (breach,) = f.out("sla", kind="breached")
    assert breach["occurred_at"] == now.due_touch
    assert t < breach["occurred_at"]


@pytest.mark.parametrize("answer", ["touched", "accepted", "rejected"])
def test_case_44_what_comes_during_the_pause_is_in_time(answer: str) -> None:
    f, _ = handed_over()
    (h,) = f.handoffs()
    f.say("sla_paused", at(1, 12), {"handoff_id": h.id, "reason": "holiday"})
    payload = {"touched": {"channel": "phone", "kind": "call"}, "rejected": {"reason_code": "timing"}}.get(
        answer, {}
    )
    f.say(answer, at(8, 12), payload)
    (h,) = f.handoffs()
    assert (h.late_touch, h.late_decide) == (0, 0)
    assert f.out("sla", kind="breached") == []


def test_case_44_reassigned_to_an_inactive_owner_is_refused_and_the_next_by_hash_takes_it() -> None:
    people = [{"owner": f"owner-{n}", "team": "sales", "active": n < 4} for n in range(1, 5)]
    f, _ = handed_over(owners=people)
    (h,) = f.handoffs()
    f.say("assigned", at(1, 11), {"owner": "owner-4"})
    (now,) = f.handoffs()
    assert now.owner not in (h.owner, "owner-4")
    assert now.routed.startswith("asked for an inactive owner; ")
    (refused,) = f.out("stage_changes", kind="refused")
    assert refused["rule"] == "the owner is not active"
    assert f.out("handoffs", kind="made")[-1]["owner"] == now.owner
    assert now.due_touch == at(1, 15)  # the human clock starts anew
    assert now.due_decide == h.due_decide


def _tuesday_off(f: Funnel, effective_at: int) -> None:
    text = (
        default_text()
        .replace("version = 1", "version = 2", 1)
        .replace("holidays = []", "holidays = [2026-03-03]", 1)
    )
    f.learn(
        "definition_published", at(1, 11), name="default", version=2, toml=text, effective_at=effective_at
    )


def test_case_44_a_holiday_added_after_the_start_counts_for_open_clocks() -> None:
    f, _ = handed_over()
    (h,) = f.handoffs()
    _tuesday_off(f, at(1, 11))
    f.say("page_viewed", at(1, 12), {"url": "/"})
    (now,) = f.handoffs()
    assert now.due_touch == h.due_touch  # of Monday: before the holiday
    assert now.due_decide == h.due_decide + 24 * HOUR
    assert now.definition == 0
    f.say("accepted", now.due_decide)
    assert not f.handoffs()[0].late_decide
    assert f.handoffs()[0].outcome == ACCEPTED


def test_case_44_a_holiday_moves_open_clocks_when_it_is_in_force_without_any_event() -> None:
    """Published after the call: no event and no other clock has to come before sales is told the new instant."""
    f, _ = handed_over()
    (h,) = f.handoffs()
    f.until(at(1, 11))
    _tuesday_off(f, at(1, 13))
    f.until(at(1, 13))
    (now,) = f.handoffs()
    assert now.due_decide == h.due_decide + 24 * HOUR
    (told,) = f.out("sla", op="revised")
    assert (told["clock"], told["due_at"], told["as_of"]) == ("decision", now.due_decide, at(1, 13))


@pytest.mark.parametrize(
    ("type_", "payload", "names"),
    [
        ("content_downloaded", {"asset_id": "a"}, {"source_event_id": None, "event_id": "0190-a"}),
        (
            "email_clicked",
            {"send_id": "s", "agent": "human"},
            {"source_event_id": None, "event_id": "0190-a"},
        ),
        (
            "email_clicked",
            {"send_id": "s", "agent": "human"},
            {"source_event_id": "c-1", "event_id": "0190-a"},
        ),
    ],
)
def test_case_42_an_event_is_reclassified_by_its_event_id_too(
    type_: str, payload: dict[str, Any], names: dict[str, Any]
) -> None:
    """``of`` is, as the schema says, the source_event_id or event_id of the event."""
    f = Funnel()
    f.fit()
    f.say(type_, at(1, 10), payload, **names)
    assert f.score() > 0
    f.say("engagement_reclassified", at(1, 11), {"of": "0190-a", "agent": "bot"})
    assert f.score() == 0
    assert f.total("engaged", type=type_, agent="bot") == 1
