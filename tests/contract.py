"""The contract of the topology: what publishers and subscribers may rely on, wherever it runs.

One suite, several adapters: the in-process driver with its virtual clock, and real workers on a real Kafka. What the
driver is used for elsewhere (fast tests, `replay`) is worth something because it passes the same cases.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from streams.settings import Settings
from streams.work import Headers
from tests.subscriber import Output, Subscriber

#: Monday morning; the simulated time of a deployment begins here.
START_MS = 1_772_438_400_000  # 2026-03-02T08:00:00Z
MINUTE = 60_000
TOUCH, DECISION, EXPIRY, GRACE = 10 * MINUTE, 20 * MINUTE, 40 * MINUTE, MINUTE

#: Deadlines of minutes, around the clock, so that nobody has to wait for them.
DEFINITION = """
name = "contract"
version = 1
default_team = "sales"

[[sla]]
name = "standard"
first_touch = "10m"
decision = "20m"
expire_after = "40m"
grace = "1m"
calendar = "always"
pausable = true
escalate = "none"

[calendars.always]
time_zone = "UTC"

[calendars.always.hours]
mon-sun = ["00:00-24:00"]
"""

#: Known before anything else: who is in the team.
REFERENCE: tuple[dict[str, Any], ...] = tuple(
    {
        "type": "owner_changed",
        "occurred_at": START_MS - 86_400_000,
        "source_system": "admin",
        "source_event_id": f"r-{owner}",
        "payload": {"owner": owner, "team": "sales", "active": True},
    }
    for owner in ("owner-1", "owner-2")
)

_numbers = itertools.count(1)


class Dead(NamedTuple):
    """A dead letter."""

    code: str
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]


class Deployment(Protocol):
    """What an adapter offers; its time runs from `START_MS` on."""

    settings: Settings

    def now_ms(self) -> int: ...

    def publish(self, *events: Mapping[str, Any]) -> None:
        """As `leadstream publish` does, now."""

    def append(
        self,
        field: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int | None = None,
    ) -> None:
        """A record as it is; ``field`` is the topic's key in the settings."""

    def wait(self, until_ms: int) -> None:
        """Time passes; nothing is published."""

    def settle(self) -> None:
        """All that was published is folded, and what follows from it by now is said."""

    def eventually(self, condition: Callable[[], Any], what: str) -> Any:
        """The first true answer of ``condition``."""

    def heard(self) -> Subscriber:
        """A subscriber of all outputs that has read all there is."""

    def said(self, field: str, key: str = "") -> list[Output]:
        """All messages on an output topic, or those about one lead, in order."""

    def dead(self) -> list[Dead]: ...

    def counted(self, metric: str, **labels: str) -> float:
        """A sample of ``/metrics``, summed over its other labels."""

    def partition_of(self, subject_id: str) -> int: ...

    def down(self) -> None:
        """All workers end; what is published waits."""

    def up(self) -> None:
        """Workers start again from what was committed."""


def event(type_: str, at_ms: int, lead: str = "", /, **payload: Any) -> dict[str, Any]:
    """An event about a lead, under an identity of its own."""
    return {
        "type": type_,
        "occurred_at": at_ms,
        "source_system": "crm",
        "source_event_id": f"e-{next(_numbers)}",
        "subject": {"lead_id": lead},
        "payload": payload,
    }


def fitting(at_ms: int, lead: str) -> list[dict[str, Any]]:
    """A lead that fits, and has done nothing yet."""
    fields = {"role": "CTO", "company_size": 250, "company": "company-1", "country": "DE"}
    return [
        event("created", at_ms, lead, source="webinar", generated_by="marketing"),
        event("attributes_changed", at_ms, lead, fields=fields),
    ]


def hand_raise(at_ms: int, lead: str) -> dict[str, Any]:
    return event("form_submitted", at_ms, lead, form_id="demo", intent="hand_raise") | {
        "source_system": "web"
    }


class Cases:
    """What cases are written with."""

    def lead(self) -> str:
        return f"lead-{next(_numbers)}"

    def holding(self, d: Deployment, name: str, lead: str, **having: Any) -> list[Output]:
        found = d.heard().holding(name, lead).values()
        return [o for o in found if all(o[field] == value for field, value in having.items())]

    def expect(self, d: Deployment, name: str, lead: str, **having: Any) -> Output:
        """The one output that says this, once it is said."""
        found = d.eventually(lambda: self.holding(d, name, lead, **having), f"{name} of {lead} with {having}")
        assert len(found) == 1, found
        output: Output = found[0]
        return output

    def called(self, d: Deployment) -> tuple[str, Output]:
        """A lead that was just handed over, and the handoff."""
        lead, now = self.lead(), d.now_ms()
        d.publish(*fitting(now, lead), hand_raise(now, lead))
        return lead, self.expect(d, "handoff", lead, kind="made")


class TopologyContract(Cases):
    """The cases. An adapter's test class inherits them and provides the fixture ``d``."""

    # -- the way from marketing to sales --------------------------------------------------------------------------------

    def test_a_hand_raise_of_a_fitting_lead_is_handed_over_with_its_context(self, d: Deployment) -> None:
        """Promise: the handoff says to whom, by when, why and on what grounds; nothing else needs to be looked up."""
        lead, made = self.called(d)
        assert made["owner"] in ("owner-1", "owner-2")
        assert made["team"] == "sales"
        assert made["definition"] == "contract@1"
        assert made["first_touch_due_at"] == made["started_at"] + TOUCH
        assert made["decision_due_at"] == made["started_at"] + DECISION
        assert made["expires_at"] == made["started_at"] + EXPIRY
        context = made["context"]
        assert context["qualified_by"]
        assert context["fit_grade"] in "ABC"
        assert context["source"] == "webinar"
        assert context["attributes"]["role"] == "CTO"
        row = context["rows"][0]
        assert d.settings.topics.field_of(row["topic"]) == "engagement"
        assert row["partition"] == d.partition_of(lead)
        assert row["offset"] >= 0
        assert {o["stage"] for o in self.holding(d, "stage_change", lead, kind="entered")} >= {"known", "mql"}
        clocks = {o["clock"]: o["due_at"] for o in self.holding(d, "sla", lead, kind="started")}
        assert clocks == {"first_touch": made["first_touch_due_at"], "decision": made["decision_due_at"]}
        assert self.holding(d, "nurture", lead, kind="paused")

    def test_an_answer_stops_the_clocks_and_moves_the_lead_on(self, d: Deployment) -> None:
        """Promise: accepted in time is met, and the lead is sales-accepted at the instant of the answer."""
        lead, made = self.called(d)
        at = made["started_at"] + 2 * MINUTE
        d.publish(event("accepted", at, lead, handoff_id=made["handoff_id"]))
        d.wait(at)
        answered = self.expect(d, "handoff", lead, kind="answered")
        assert (answered["outcome"], answered["outcome_at"], answered["breached"]) == ("accepted", at, False)
        for clock in ("first_touch", "decision"):
            met = self.expect(d, "sla", lead, kind="met", clock=clock)
            assert (met["occurred_at"], met["business_ms"]) == (at, at - made["started_at"])
        assert self.expect(d, "stage_change", lead, stage="sal")["occurred_at"] == at
        assert self.holding(d, "sla", lead, kind="breached") == []

    def test_a_rejection_has_its_reason_and_gives_the_lead_back_to_marketing(self, d: Deployment) -> None:
        """Promise: the reason is told to whoever subscribes, and nurture goes on."""
        lead, made = self.called(d)
        at = made["started_at"] + MINUTE
        d.publish(event("rejected", at, lead, reason_code="timing", handoff_id=made["handoff_id"]))
        d.wait(at)
        answered = self.expect(d, "handoff", lead, kind="answered", outcome="rejected")
        assert answered["reason_code"] == "timing"
        assert self.expect(d, "nurture", lead, kind="resumed")["occurred_at"] == at

    def test_a_breach_is_said_without_any_event_and_dated_at_its_instant(self, d: Deployment) -> None:
        """Promise: nobody has to do anything for a missed deadline to be seen, nor for a handoff to expire."""
        lead, made = self.called(d)
        d.wait(made["decision_due_at"] + GRACE)
        for clock in ("first_touch", "decision"):
            breach = self.expect(d, "sla", lead, kind="breached", clock=clock)
            assert breach["occurred_at"] == breach["due_at"] == made[f"{clock}_due_at"]
            assert breach["as_of"] >= breach["due_at"] + GRACE, "not before the grace has passed"
        assert self.holding(d, "handoff", lead, kind="answered") == []
        d.wait(made["expires_at"])
        expired = self.expect(d, "handoff", lead, kind="answered")
        assert (expired["outcome"], expired["outcome_at"]) == ("expired", made["expires_at"])
        assert self.expect(d, "stage_change", lead, stage="expired")["occurred_at"] == made["expires_at"]

    def test_case_04_a_late_event_restates_what_was_said(self, d: Deployment) -> None:
        """Promise: a touch in time that is heard of too late takes the breach back, by the same output id."""
        lead, made = self.called(d)
        d.wait(made["first_touch_due_at"] + GRACE)
        breach = self.expect(d, "sla", lead, kind="breached", clock="first_touch")
        at = made["started_at"] + MINUTE
        d.publish(event("touched", at, lead, channel="phone", kind="call"))
        met = self.expect(d, "sla", lead, kind="met", clock="first_touch")
        assert met["occurred_at"] == at
        last = d.heard().state["sla", breach["output_id"]]
        assert last["op"] == "withdrawn"
        assert last["revision"] > breach["revision"]

    def test_case_06_an_event_from_the_future_counts_when_it_is_due(self, d: Deployment) -> None:
        """Promise (case 6): up to a day ahead is held until then, without any further event; further is refused."""
        lead, now = self.lead(), d.now_ms()
        due = now + 15 * MINUTE
        d.publish(*fitting(now, lead), hand_raise(due, lead))
        d.settle()
        assert self.holding(d, "handoff", lead) == [] or d.now_ms() >= due
        d.wait(due)
        made = self.expect(d, "handoff", lead, kind="made")
        assert made["trigger_at"] == due
        before = d.counted("leadstream_dead_letters_total", code="too_far")
        d.publish(hand_raise(d.now_ms() + 48 * 60 * MINUTE, lead))
        d.settle()
        assert d.counted("leadstream_dead_letters_total", code="too_far") == before + 1

    def test_a_deal_tells_its_lead(self, d: Deployment) -> None:
        """Promise: rows tell one another across partitions: an opened deal is an opportunity, a won one a win."""
        lead, now = self.lead(), d.now_ms()
        deal = next(f"deal-{n}" for n in _numbers if d.partition_of(f"deal-{n}") != d.partition_of(lead))
        opened = event(
            "opened",
            now - 1,
            lead,
            leads=[{"lead_id": lead}],
            amount=9_900,
            currency="EUR",
            pipeline="new",
            stage="first",
        )
        won = event("won", now, lead, amount=10_000, currency="EUR")
        d.publish(*fitting(now, lead), *(e | {"subject": {"deal_id": deal}} for e in (opened, won)))
        entered = [self.expect(d, "stage_change", lead, stage=stage) for stage in ("opportunity", "won")]
        assert [o["occurred_at"] for o in entered] == [now - 1, now]
        assert [o["implied"] for o in entered] == [False, False]

    def test_case_48_history_calls_nobody(self, d: Deployment) -> None:
        """Promise (case 48): a back-filled handoff is told as history, without clocks."""
        lead, at = self.lead(), d.now_ms() - 100 * 60 * MINUTE
        past = [*fitting(at, lead), hand_raise(at, lead), event("accepted", at + MINUTE, lead)]
        d.publish(*({**e, "backfill": True} for e in past))
        self.expect(d, "stage_change", lead, stage="sal")
        d.settle()
        assert self.holding(d, "handoff", lead, kind="made") == []
        assert self.expect(d, "handoff", lead, kind="historical")["silent"]
        assert self.holding(d, "sla", lead) == []

    def test_consent_withdrawn_takes_the_call_back(self, d: Deployment) -> None:
        """Promise: without `sales_contact` an open handoff ends at once."""
        lead, made = self.called(d)
        at = made["started_at"] + MINUTE
        d.publish(event("consent_changed", at, lead, purpose="sales_contact", granted=False))
        d.wait(at)
        withdrawn = self.expect(d, "handoff", lead, kind="withdrawn")
        assert withdrawn["handoff_id"] == made["handoff_id"]
        assert withdrawn["reason_code"] == "consent"

    # -- delivery --------------------------------------------------------------------------------------------------------

    def test_case_01_a_repeated_event_changes_nothing(self, d: Deployment) -> None:
        """Promise (case 1): the same identity with the same payload is dropped, and counted."""
        lead, now = self.lead(), d.now_ms()
        events = [*fitting(now, lead), hand_raise(now, lead)]
        before = d.counted("leadstream_fold_outcomes_total", what="duplicate")
        d.publish(*events, *events)
        self.expect(d, "handoff", lead, kind="made")
        d.publish(*events)
        d.settle()
        assert d.counted("leadstream_fold_outcomes_total", what="duplicate") == before + 2 * len(events)
        assert [o["kind"] for o in d.said("handoffs", lead)] == ["made"]

    def test_case_02_the_same_identity_with_another_payload_is_refused(self, d: Deployment) -> None:
        """Promise (case 2): what was recorded first stays, the other is kept as a dead letter."""
        lead, now = self.lead(), d.now_ms()
        first = event("created", now, lead, source="webinar", generated_by="marketing")
        d.publish(first)
        self.expect(d, "stage_change", lead, stage="known")
        other = json.dumps(first | {"payload": {"source": "outbound", "generated_by": "sales"}}).encode()
        d.append("lead", lead.encode(), other)
        (letter,) = d.eventually(lambda: [x for x in d.dead() if x.key == lead.encode()], "the dead letter")
        assert (letter.code, letter.value) == ("conflicting_payload", other)
        d.publish(hand_raise(now, lead), *fitting(now, lead)[1:])
        assert self.expect(d, "handoff", lead, kind="made")["context"]["source"] == "webinar"

    def test_what_cannot_be_read_is_kept_whole_with_the_reason(self, d: Deployment) -> None:
        """Promise: bad data ends in the dead letters with bytes, key and headers, and the rest goes on."""
        lead = self.lead()
        headers = (("trace", b"\x00\xff"), ("again", b""))
        d.append("lead", lead.encode(), b'{"type": "created"', headers)
        (letter,) = d.eventually(lambda: [x for x in d.dead() if x.key == lead.encode()], "the dead letter")
        assert (letter.code, letter.value) == ("bad_json", b'{"type": "created"')
        assert letter.headers == dict(headers)
        d.publish(event("created", d.now_ms(), lead, source="webinar", generated_by="marketing"))
        self.expect(d, "stage_change", lead, stage="known")

    def test_what_is_unknown_is_kept_and_counted(self, d: Deployment) -> None:
        """Promise: unknown types and fields are no errors, so publishers may be newer than workers."""
        lead, now = self.lead(), d.now_ms()
        types = d.counted("leadstream_unknown_type_events_total")
        fields = d.counted("leadstream_unknown_field_events_total", type="created")
        letters = len(d.dead())
        made = event("created", now, lead, source="webinar", generated_by="marketing", mood="good")
        d.append("lead", lead.encode(), json.dumps(made).encode())
        d.append("lead", lead.encode(), json.dumps(event("waved", now, lead)).encode())
        self.expect(d, "stage_change", lead, stage="known")
        d.settle()
        assert d.counted("leadstream_unknown_type_events_total") == types + 1
        assert d.counted("leadstream_unknown_field_events_total", type="created") == fields + 1
        assert len(d.dead()) == letters

    def test_case_49_a_record_on_the_wrong_partition_reaches_its_row(self, d: Deployment) -> None:
        """Promise (case 49): the subject in the payload decides; the source is counted; there is one row and one call."""
        lead, now = self.lead(), d.now_ms()
        wrong = (d.partition_of(lead) + 1) % d.settings.partitions
        before = d.counted("leadstream_misrouted_records_total", source="web")
        d.publish(*fitting(now, lead))
        d.append("engagement", b"some-other-key", json.dumps(hand_raise(now, lead)).encode(), (), wrong)
        made = self.expect(d, "handoff", lead, kind="made")
        assert made["context"]["rows"][0]["partition"] == wrong, (
            "the proof names where the record really lies"
        )
        d.settle()
        assert d.counted("leadstream_misrouted_records_total", source="web") == before + 1
        assert [o["kind"] for o in d.said("handoffs", lead)] == ["made"]

    # -- while nobody worked -----------------------------------------------------------------------------------------------

    def test_case_50_nothing_is_said_from_a_half_read_past(self, d: Deployment) -> None:
        """Promise (case 50): a hundred deadlines are long past and the touches in the backlog: no false breach. A call
        that was over before anybody could be called is history; a deadline that was really missed is told."""
        answered = {self.lead() for _ in range(100)}
        missed, over = self.lead(), self.lead()
        d.settle()
        d.down()
        at = d.now_ms()
        d.publish(
            *(e for lead in (*answered, missed, over) for e in (*fitting(at, lead), hand_raise(at, lead)))
        )
        d.wait(at + TOUCH + GRACE)
        touched = (event("touched", at + MINUTE, lead, channel="phone", kind="call") for lead in answered)
        d.publish(*touched, *(event("accepted", at + 2 * MINUTE, lead) for lead in answered))
        d.publish(event("consent_changed", at + 3 * MINUTE, over, purpose="sales_contact", granted=False))
        d.up()
        d.settle()
        assert {o["lead_id"] for o in d.heard().state.values() if o.get("stage") == "sal"} >= answered
        breaches = [o for o in d.said("sla") if o["kind"] == "breached"]
        assert [o["lead_id"] for o in breaches if o["lead_id"] in answered] == []
        breach = self.expect(d, "sla", missed, kind="breached", clock="first_touch")
        assert breach["occurred_at"] == breach["due_at"]
        assert [o["kind"] for o in d.said("handoffs", over) if o["kind"] == "made"] == []
        assert self.holding(d, "handoff", over, kind="made") == []

    def test_a_deadline_that_passes_while_nobody_works_is_told_afterwards(self, d: Deployment) -> None:
        """Promise: clocks of handoffs that were said run on while workers are down, and survive the restart."""
        lead, made = self.called(d)
        d.down()
        d.wait(made["first_touch_due_at"] + GRACE)
        d.up()
        breach = self.expect(d, "sla", lead, kind="breached", clock="first_touch")
        assert breach["occurred_at"] == made["first_touch_due_at"]
        assert breach["handoff_id"] == made["handoff_id"]

    def test_nothing_was_missed_and_nothing_said_twice(self, d: Deployment) -> None:
        """Promise: over all that was said, sequences per topic and key are gap-free; it is the last case on purpose."""
        self.called(d)
        heard = d.heard()
        assert heard.repeated == 0
        assert heard.sequences
