"""The contract about people: who is who across partitions, deadlines that wait, and who is forgotten.

Cases of DOMAIN 8 as a publisher and a subscriber see them, on the driver and on a real Kafka.
"""

from __future__ import annotations

import itertools
from typing import Any

from tests.contract import GRACE, MINUTE, TOUCH, Cases, Deployment, event, fitting, hand_raise
from tests.subscriber import Output

_numbers = itertools.count(1)


def merged(at_ms: int, loser: str, winner: str) -> dict[str, Any]:
    return event("merged", at_ms, winner, loser=loser, winner=winner)


def unmerged(at_ms: int, merge: dict[str, Any]) -> dict[str, Any]:
    return event("unmerged", at_ms, merge["payload"]["winner"], merge_event_id=merge["source_event_id"])


def identified(at_ms: int, visitor: str, lead: str) -> dict[str, Any]:
    return event("identified", at_ms, lead, anonymous_id=visitor, lead_id=lead)


def by_visitor(visitor: str, what: dict[str, Any]) -> dict[str, Any]:
    return what | {"subject": {"anonymous_id": visitor}}


class PeopleContract(Cases):
    """Cases; the fixture ``d`` is the adapter's."""

    def apart(self, d: Deployment, but: str) -> str:
        """A lead on another partition than that of ``but``."""
        return next(x for n in _numbers if d.partition_of(x := f"other-{n}") != d.partition_of(but))

    def visitor(self, d: Deployment, but: str) -> str:
        return next(x for n in _numbers if d.partition_of(x := f"visitor-{n}") != d.partition_of(but))

    def moment(self, d: Deployment) -> int:
        """An instant that lies after all that has happened, and with its next second in the past."""
        d.wait(d.now_ms() + 2_000)
        return d.now_ms() - 1_000

    def made(self, d: Deployment, lead: str) -> Output:
        return self.expect(d, "handoff", lead, kind="made")

    def test_case_14_a_merge_after_the_call_keeps_the_call_and_its_clock(self, d: Deployment) -> None:
        """Promise: same handoff, new subject; the clock goes on, and the breach is told of the winner."""
        lead, made = self.called(d)
        winner = self.apart(d, lead)
        d.publish(*fitting(self.moment(d), winner), merged(self.moment(d), lead, winner))
        again = self.made(d, winner)
        for field in ("handoff_id", "started_at", "owner", "first_touch_due_at", "decision_due_at"):
            assert again[field] == made[field], field
        assert again["revision"] > made["revision"]
        assert self.holding(d, "handoff", lead, kind="made") == []
        for topic in ("stage_changes", "handoffs", "sla", "nurture"):
            closing = d.said(topic, lead)[-1]
            assert (closing["kind"], closing["merged_into"]) == ("merged_into", winner)
        d.wait(made["first_touch_due_at"] + GRACE)
        breach = self.expect(d, "sla", winner, kind="breached", clock="first_touch")
        assert (breach["handoff_id"], breach["occurred_at"]) == (
            made["handoff_id"],
            made["first_touch_due_at"],
        )
        at = made["first_touch_due_at"] + 2 * MINUTE
        d.publish(event("accepted", at, lead, handoff_id=made["handoff_id"]))  # case 17: for the loser
        d.wait(at)
        answered = self.expect(d, "handoff", winner, kind="answered")
        assert (answered["outcome"], answered["breached"]) == ("accepted", True)

    def test_case_12_and_17_what_comes_for_the_first_of_a_chain_reaches_the_last(self, d: Deployment) -> None:
        """Promise: A into B, B into C: all of A is C's, and so is what still arrives for A."""
        first = self.lead()
        second = self.apart(d, first)
        third = self.apart(d, second)
        now = self.moment(d)
        d.publish(*fitting(now, first), merged(now, first, second), merged(now + 1, second, third))
        d.settle()
        d.publish(hand_raise(self.moment(d), first))
        made = self.made(d, third)
        assert made["context"]["source"] == "webinar"
        assert [self.holding(d, "handoff", x, kind="made") for x in (first, second)] == [[], []]

    def test_case_13_of_a_circle_the_later_merge_is_refused_and_both_are_told(self, d: Deployment) -> None:
        """Promise: whichever arrives first; the total order decides."""
        one = self.lead()
        other = self.apart(d, one)
        now = self.moment(d)
        d.publish(*fitting(now, one), *fitting(now, other))
        d.publish(merged(now + 2, other, one), merged(now + 1, one, other))
        d.settle()
        for lead in (one, other):
            refused = self.expect(d, "stage_change", lead, kind="refused")
            assert refused["occurred_at"] == now + 2
            assert refused["reason"] == f"{other} into {one}"
        d.publish(hand_raise(self.moment(d), one))
        self.made(d, other)

    def test_case_15_of_two_open_calls_the_earliest_due_stays(self, d: Deployment) -> None:
        """Promise: nobody is called twice for one person; the other call is withdrawn, the cause is named."""
        lead, early = self.called(d)
        winner = self.apart(d, lead)
        d.wait(early["started_at"] + 2 * MINUTE)
        now = self.moment(d)
        d.publish(*fitting(now, winner), hand_raise(now, winner))
        late = self.made(d, winner)
        d.publish(merged(self.moment(d), lead, winner))
        gone = d.eventually(
            lambda: [o for o in d.said("handoffs", winner) if o["kind"] == "withdrawn"],
            "one call is taken back",
        )
        assert [(o["handoff_id"], o["reason_code"]) for o in gone] == [(late["handoff_id"], "merged")]
        assert self.made(d, winner)["handoff_id"] == early["handoff_id"]

    def test_case_16_a_disqualified_winner_wins(self, d: Deployment) -> None:
        """Promise: the open call of the loser is withdrawn."""
        lead, made = self.called(d)
        winner, now = self.apart(d, lead), self.moment(d)
        d.publish(*fitting(now, winner), event("disqualified", now, winner, reason_code="competitor"))
        d.publish(merged(now + 1, lead, winner))
        gone = self.expect(d, "handoff", winner, kind="withdrawn")
        assert gone["handoff_id"] == made["handoff_id"]
        assert self.holding(d, "sla", winner, kind="breached") == []
        assert self.expect(d, "stage_change", winner, kind="ended")["stage"] == "disqualified"

    def test_case_18_a_merge_taken_back_gives_each_their_own(self, d: Deployment) -> None:
        """Promise: as if never merged; what was said meanwhile is restated, not denied."""
        lead, made = self.called(d)
        winner, now = self.apart(d, lead), self.moment(d)
        merge = merged(now + 1, lead, winner)
        d.publish(*fitting(now, winner), merge)
        taken = self.made(d, winner)
        d.publish(unmerged(self.moment(d), merge))
        back = d.eventually(
            lambda: self.holding(d, "handoff", lead, kind="made"), "the call is the lead's again"
        )[0]
        assert back["handoff_id"] == taken["handoff_id"] == made["handoff_id"]
        assert back["revision"] > taken["revision"]
        d.settle()
        assert self.holding(d, "handoff", winner) == []
        assert {o["stage"] for o in self.holding(d, "stage_change", winner, kind="entered")} == {
            "anonymous",
            "known",
        }
        assert "withdrawn" not in {o["kind"] for x in (lead, winner) for o in d.said("handoffs", x)}

    def test_case_20_a_browser_of_too_many_people_is_linked_to_none_and_counted(self, d: Deployment) -> None:
        """Promise: more than three leads on one anonymous id: its history is nobody's."""
        leads = [self.lead() for _ in range(4)]
        kiosk, now = self.visitor(d, leads[0]), self.moment(d)
        before = d.counted("leadstream_crowded_browsers")
        for n, lead in enumerate(leads):
            d.publish(*fitting(now, lead), identified(now + n, kiosk, lead))
        d.settle()
        assert d.counted("leadstream_crowded_browsers") == before + 1
        d.publish(by_visitor(kiosk, hand_raise(self.moment(d), "")))
        d.settle()
        assert [self.holding(d, "handoff", lead) for lead in leads] == [[], [], [], []]

    def test_case_21_and_22_a_browsers_past_is_the_first_ones_and_what_follows_the_seconds(
        self, d: Deployment
    ) -> None:
        """Promise: history at its own times, the clock from when it could be known; two people stay two."""
        first = self.lead()
        second, browser = self.apart(d, first), self.visitor(d, first)
        seen = self.moment(d) - 30 * MINUTE
        d.publish(*fitting(seen + MINUTE, first), *fitting(seen + MINUTE, second))
        d.publish(by_visitor(browser, hand_raise(seen, "")))
        d.settle()
        assert self.holding(d, "handoff", first) == []
        known = self.moment(d)
        d.publish(identified(known, browser, first))
        made = self.made(d, first)
        assert made["trigger_at"] < known <= made["started_at"]
        assert made["first_touch_due_at"] == made["started_at"] + TOUCH
        began = self.expect(d, "stage_change", first, kind="entered", stage="anonymous")
        assert (began["occurred_at"], began["implied"]) == (seen, False)
        assert self.holding(d, "handoff", second) == []
        now = self.moment(d)
        d.publish(identified(now, browser, second), by_visitor(browser, hand_raise(now + 1, "")))
        d.wait(now + 1)
        assert self.made(d, second)["trigger_at"] == now + 1
        assert self.made(d, first)["handoff_id"] == made["handoff_id"]

    def test_case_24_another_company_ends_the_journey(self, d: Deployment) -> None:
        """Promise: closed as moved, its call withdrawn; the person begins another pass as known."""
        lead, made = self.called(d)
        now = self.moment(d)
        d.publish(
            event("account_matched", now, lead, account_id="account-1", rule="domain"),
            event("account_matched", now + 1, lead, account_id="account-2", rule="domain"),
        )
        gone = self.expect(d, "handoff", lead, kind="withdrawn")
        assert (gone["handoff_id"], gone["reason_code"]) == (made["handoff_id"], "moved")
        assert self.expect(d, "stage_change", lead, kind="ended")["stage"] == "moved"
        assert self.expect(d, "stage_change", lead, stage="known", journey=2)["occurred_at"] == now + 1

    def test_case_44_a_pause_across_the_deadline_moves_it(self, d: Deployment) -> None:
        """Promise: what was left of each clock when it was paused is left of it afterwards."""
        lead, made = self.called(d)
        paused = made["started_at"] + 4 * MINUTE
        named = {"handoff_id": made["handoff_id"], "reason": "asked for a date"}
        d.publish(event("sla_paused", paused, lead, **named))
        resumed = made["first_touch_due_at"] + 2 * GRACE
        d.wait(resumed)
        d.settle()
        assert self.holding(d, "sla", lead, kind="breached") == []
        d.publish(event("sla_resumed", resumed, lead, **named))
        moved = resumed + TOUCH - 4 * MINUTE
        due = d.eventually(
            lambda: self.holding(d, "handoff", lead, kind="made", first_touch_due_at=moved),
            "the deadline has moved",
        )
        assert due[0]["started_at"] == made["started_at"]
        d.wait(moved + GRACE)
        assert self.expect(d, "sla", lead, kind="breached", clock="first_touch")["occurred_at"] == moved

    def test_case_47_who_is_erased_is_forgotten_and_stays_counted(self, d: Deployment) -> None:
        """Promise: the running clock ends, the open journey leaves as erased, subscribers hold nothing personal."""
        lead, made = self.called(d)
        entered = d.counted("leadstream_stage_entered", stage="mql")
        d.publish(event("erased", self.moment(d), lead, request_id="request-1"))
        gone = self.expect(d, "handoff", lead, kind="withdrawn")
        assert (gone["handoff_id"], gone["reason_code"], gone["context"]) == (
            made["handoff_id"],
            "erased",
            None,
        )
        assert self.expect(d, "stage_change", lead, kind="ended")["stage"] == "erased"
        d.settle()
        assert [o["context"] for o in self.holding(d, "handoff", lead) if o["context"]] == []
        assert d.counted("leadstream_stage_entered", stage="mql") == entered
        d.wait(made["expires_at"])
        assert self.holding(d, "sla", lead, kind="breached") == []
