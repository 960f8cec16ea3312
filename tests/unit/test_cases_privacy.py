"""DOMAIN 8, case 47, clause by clause: what is erased, what stays, and who comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from processors import engagement, lead_quality
from processors.columns import COLUMNS
from processors.definition.model import DAY, HOUR
from processors.model import EXITS, OPEN, WITHDRAWN
from schemas.codec import decode_output
from streams.state_reader import figures_of_rows, loaded
from tests.privacy_world import (
    ERASED,
    MARK,
    SOON,
    erase,
    figures,
    marked,
    returned,
    told_everything,
    told_less,
)
from tests.strategies import FITS, at
from tests.subscriber import Subscriber
from tests.world import Funnel, handed_over

#: What a lead that leaves its stage moves: where it stands now, and when it left.
_LEAVING = frozenset(("balance", "left", "left_on", "stay_on", "entered", "entered_on", "nurture_on"))


def but_the_leaving(totals: dict[tuple[Any, ...], int]) -> dict[tuple[Any, ...], int]:
    return {
        k: n
        for k, n in totals.items()
        if k[0] not in _LEAVING or (k[0].startswith("entered") and k[1] not in EXITS)
    }


def test_case_47_no_word_of_the_person_is_left_in_any_row() -> None:
    f = Funnel()
    told_everything(f)
    assert marked(f) == [b"l:lead-1"]
    erase(f)
    assert marked(f) == []
    row = f.row()
    assert not row.ledger
    assert not row.data
    assert not row.snapshots
    assert not row.touches


@pytest.mark.parametrize(
    "history",
    [
        lambda f: f.until(ERASED - 1),
        lambda f: f.say("accepted", at(2, 10)),
        lambda f: (f.say("accepted", at(2, 10)), f.say("qualified_by_sales", at(2, 11))),
        lambda f: f.say("rejected", at(2, 10), {"reason_code": "timing", "notes": "later"}),
        lambda f: f.say("opened", at(2, 10), DEAL, deal="deal-1"),
        lambda f: (
            f.say("opened", at(2, 10), DEAL, deal="deal-1"),
            f.say("won", at(3, 10), WON, deal="deal-1"),
        ),
    ],
    ids=["unanswered", "accepted", "sql", "rejected", "opportunity", "won"],
)
def test_case_47_what_was_counted_stays_counted(history: Callable[[Funnel], object]) -> None:
    """Entered, answered, won, revenue and credit, sharp to the day and the owner of sales."""
    f = Funnel()
    told_everything(f)
    history(f)
    f.until(ERASED - 1)
    before, open_ = told_less(figures(f)), f.handoffs()[-1].outcome == OPEN
    live = dict(f.topology.totals())
    erase(f)
    after = figures(f)
    kept, still = but_the_leaving(before), but_the_leaving(after)
    if open_:  # a call that nobody answered is withdrawn: that is what an erasure changes
        calls = ("handoff", "handoff_on", "sla", "sla_on", "untouched", "untouched_on", "delay_open_on")
        kept, still = ({k: n for k, n in x.items() if k[0] not in calls} for x in (kept, still))
    assert still == kept
    names = {k[0] for k in f.topology.totals().keys() ^ live.keys()}
    assert names <= {"balance", "left", "entered", "handoff", "sla", "untouched", "objections"}
    assert f.total("objections", category="(erased)") == live["objections", MARK] == 1
    f.restart()
    assert figures(f) == after


@pytest.mark.parametrize("then", [at(1, 9), at(1, 11), at(2, 12), at(4), ERASED - 1])
def test_case_47_what_was_counted_is_told_as_of_an_instant_before_the_erasure(
    then: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Stages, conversions, handoffs, clocks, deals, credit and engagement: as it was told before they were erased."""
    f = Funnel()
    told_everything(f)
    f.say("accepted", at(2, 10))
    f.say("opened", at(2, 11), DEAL, deal="deal-1")
    f.say("won", at(3, 10), WON, deal="deal-1")
    f.until(ERASED - 1)

    def told() -> dict[tuple[Any, ...], int]:
        found = told_less(figures_of_rows(loaded(f.driver.all_rows()), f.topology, then))
        return {k: n for k, n in found.items() if "day" in COLUMNS[k[0]] and not vague(k)}

    def vague(key: tuple[Any, ...]) -> bool:
        """What they did is told to the end of that day."""
        today = f.topology.definitions[-1].day(then)
        return key[0] in lead_quality.COLUMNS or (key[0] in engagement.COLUMNS and key[-1] == today)

    before = told()
    assert before
    assert caplog.text == ""
    erase(f)
    f.until(at(20))
    assert told() == before
    assert "1 leads were erased since" in caplog.text
    f.restart()
    assert told() == before


DEAL: dict[str, Any] = {
    "leads": [{"lead_id": "lead-1"}], "amount": 10_001, "currency": "EUR", "pipeline": "new", "stage": "offer",
}  # fmt: skip
WON: dict[str, Any] = {"amount": 10_001, "currency": "EUR"}


def credit(f: Funnel, model: str = "first") -> dict[str, int]:
    """Attributed revenue by channel."""
    out: dict[str, int] = {}
    for (name, *labels), n in figures(f).items():
        if name == "attributed_on" and labels[0] == model:
            out[labels[1]] = out.get(labels[1], 0) + n
    return {k: n for k, n in out.items() if n}


def test_case_47_an_open_journey_leaves_its_stage_as_erased() -> None:
    f, _ = handed_over()
    erase(f, SOON)
    assert f.stages()[-1] == "erased"
    assert f.total("balance", stage="mql") == 0
    assert f.total("balance", stage="erased") == 1
    for stage in ("known", "mql", "erased"):
        assert f.total("entered", stage=stage) - f.total("left", stage=stage) == f.total(
            "balance", stage=stage
        )
    assert f.total("persons") == 1


def test_case_47_a_running_clock_is_withdrawn() -> None:
    f, _ = handed_over()
    erase(f, at(1, 11))
    (h,) = f.handoffs()
    assert (h.outcome, h.reason) == (WITHDRAWN, "erased")
    (withdrawn,) = f.out("handoffs", kind="withdrawn")
    assert (withdrawn["reason_code"], withdrawn["context"]) == ("erased", None)
    f.until(at(30))
    assert f.out("sla", kind="breached") == []
    assert f.out("nurture")[-1]["kind"] == "stopped"
    assert [x["reason"] for x in f.out("nurture") if x["occurred_at"] == at(1, 11)] == ["erased"]


def test_case_47_subscribers_of_handoffs_are_told_to_forget() -> None:
    """The last revision of every output holds nothing personal, and says that the person was erased."""
    f = Funnel()
    told_everything(f)
    erase(f)
    holder = Subscriber()
    for name in ("handoffs", "stage_changes", "sla", "nurture"):
        holder.take_all(f.driver.read(getattr(f.settings.topics, name)))
    held = list(holder.state.values())
    assert any(x.get("handoff_id") for x in held)
    assert MARK not in repr(held)
    notices = [x for (name, _), x in holder.state.items() if name == "handoff"]
    assert {x["context"] for x in notices} == {None}
    assert all("erased" in x["flags"] for x in notices if x["op"] != "withdrawn")
    assert {x["op"] for x in notices if x["kind"] == "made"} == {"revised"}


def test_case_47_ids_and_sequences_go_on() -> None:
    f, _ = handed_over()
    erase(f)
    f.fit(at(10))
    f.raise_hand(at(10, 12))
    first, second = f.handoffs()
    assert (first.ordinal, second.ordinal) == (1, 2)
    assert first.id != second.id
    for name in ("handoffs", "stage_changes", "sla", "nurture"):
        numbers = [x["sequence"] for x in f.out(name)]
        assert numbers == list(range(1, len(numbers) + 1))


def test_case_47_what_is_delivered_again_or_late_is_not_taken() -> None:
    f, _ = handed_over()
    erase(f)
    before, rows = figures(f), dict(f.driver.all_rows())
    old = list(f.driver.read(f.settings.topics.engagement)) + list(f.driver.read(f.settings.topics.lead))
    for record in old:
        f.driver.publish(record.topic, record.key, record.value, timestamp_ms=record.timestamp)
    f.say("page_viewed", at(2), {"url": f"https://example.org/{MARK}"})
    assert dict(f.driver.all_rows()) == rows
    assert figures(f) == before
    assert f.topology.counts["outcomes", "erased"] == len(old) + 1


def test_case_47_an_erasure_that_is_read_before_what_it_erases_ends_the_same() -> None:
    """A rebuild may read the lead topic before the engagement topic: what is purged waits for the end of the past."""
    ends = []
    for order in (1, -1):
        f = Funnel(live=False, now=at(20))
        source, _ = handed_over()
        erase(source)
        records = [
            r for n in ("engagement", "lead") for r in source.driver.read(getattr(f.settings.topics, n))
        ]
        for r in records[::order]:
            f.driver.publish(r.topic, r.key, r.value, timestamp_ms=r.timestamp)
            f.driver.run()
        f.driver.catch_up()
        source.until(at(20))
        ends.append((figures(f), f.row().base, f.topology.totals()))
        assert figures(source) == figures(f)
        assert not f.row().ledger
    assert ends[0] == ends[1]


def test_case_47_what_is_recorded_after_the_request_of_the_time_before_it_never_counts() -> None:
    """Neither live nor in a rebuild, where it is read before the erasure."""
    late = [("page_viewed", at(2), {"url": "/"}), ("content_downloaded", at(2), {"asset_id": "z"})]
    source, _ = handed_over()
    erase(source)
    for type_, t, payload in late:
        source.say(type_, t, payload)
    rebuilt = Funnel(live=False, now=source.now)
    records = [
        r for n in ("engagement", "lead") for r in source.driver.read(getattr(rebuilt.settings.topics, n))
    ]
    for r in reversed(records):
        rebuilt.driver.publish(r.topic, r.key, r.value, timestamp_ms=r.timestamp)
        rebuilt.driver.run()
    rebuilt.driver.catch_up()
    assert figures(rebuilt) == figures(source)
    assert rebuilt.row().head.n == source.row().head.n


def test_case_47_an_erasure_dated_ahead_waits_for_its_instant() -> None:
    f, _ = handed_over()
    f.say("erased", at(1, 13), {"request_id": "r-1"}, recorded_at=at(1, 12))
    assert f.handoffs()[0].outcome == OPEN
    f.say("page_viewed", at(1, 12) + HOUR // 2, {"url": "/"})
    assert f.handoffs()[0].news == 1
    f.until(at(1, 14))
    assert f.handoffs()[0].outcome == WITHDRAWN
    assert not f.row().ledger


def test_case_47_deals_go_on_and_credit_stays_what_was_booked() -> None:
    """An open deal is won after the erasure, another was won before it and is given back in part afterwards."""
    f = Funnel()
    told_everything(f)
    f.say("opened", at(2), DEAL | {"amount": 500}, deal="deal-1")
    f.say("won", at(2, 1), {"amount": 500, "currency": "EUR"}, deal="deal-1")
    f.say("opened", at(3), DEAL, deal="deal-2")
    earned = credit(f)
    assert set(earned) != {"unattributed"}
    erase(f)
    assert credit(f) == earned
    entered = f.total("entered")
    f.say("won", at(8), WON, deal="deal-2")
    assert credit(f) == earned | {"unattributed": 10_001}
    f.say("reopened", at(9), {}, deal="deal-1")
    assert sum(credit(f).values()) == 10_001
    assert f.total("entered") == entered
    assert f.total("deal", status="won") == 1


def test_case_47_a_deal_that_tells_late_counts_once_live_and_in_a_rebuild() -> None:
    """Won before the erasure, told after it; and shared with another lead afterwards."""
    f, _ = handed_over()
    f.fit(lead="lead-2")
    f.say("opened", at(2), DEAL, deal="deal-1")
    erase(f)
    f.say("won", at(4), WON, deal="deal-1", recorded_at=at(8))
    f.say("lead_linked", at(9), {"lead_id": "lead-2"}, deal="deal-1")
    assert sum(credit(f).values()) == 10_001
    shares = [f.head(lead).shares["deal-1"].amount for lead in ("lead-1", "lead-2")]
    assert sum(shares) == 10_001
    assert min(shares) == 5000
    rebuilt = Funnel(live=False, now=f.now)
    for name in ("deal", "lead", "engagement"):
        for r in f.driver.read(getattr(f.settings.topics, name)):
            rebuilt.driver.publish(r.topic, r.key, r.value, timestamp_ms=r.timestamp)
    rebuilt.driver.run()
    rebuilt.driver.catch_up()
    assert figures(rebuilt) == figures(f)


def test_a_deal_that_names_an_unlinked_lead_anew_shares_with_it() -> None:
    """Found by the law of credit: it was told that it is gone, and its share was credited to nobody."""
    f = Funnel()
    f.say("opened", at(1), DEAL, deal="deal-1")
    f.say("won", at(1, 1), WON, deal="deal-1")
    f.say("lead_linked", at(1, 2), {"lead_id": "lead-2"}, deal="deal-1")
    f.say("lead_unlinked", at(1, 3), {"lead_id": "lead-1"}, deal="deal-1")
    f.say("opened", at(1, 4), DEAL, deal="deal-1")
    assert sum(credit(f).values()) == 10_001


def test_case_47_what_sales_does_about_the_erased_person_is_refused() -> None:
    f, _ = handed_over()
    named = f.handoffs()[0].id
    erase(f, SOON)
    f.say("accepted", at(6), {"handoff_id": named})
    f.say("touched", at(6), {"channel": "phone", "kind": "call"})
    assert f.stages()[-1] == "erased"
    assert len(f.head().journeys) == 1
    assert {x["rule"] for x in f.out("stage_changes", kind="refused")} == {"the person was erased"}


def test_case_47_erased_twice_is_erased_once() -> None:
    f, _ = handed_over()
    erase(f, SOON)
    before = figures(f)
    f.say("erased", SOON, {"request_id": "r-1"})
    f.say("erased", SOON + HOUR, {"request_id": "r-2"})
    assert figures(f) == before
    assert len(f.out("stage_changes", stage="erased")) == 1


def test_case_47_an_unknown_lead_can_be_erased() -> None:
    f = Funnel()
    f.say("discovery_recorded", at(1), {"kind": "requirement", "text_ref": MARK})
    erase(f)
    assert marked(f) == []
    assert f.total("persons") == 0
    f.fit(at(9))
    assert f.total("persons") == 1


def test_dead_letters_are_the_only_place_where_the_bytes_stay() -> None:
    """They keep what could not be read, for their 14 days: the limit that `leadstream privacy erase` states."""
    f, _ = handed_over()
    f.say("page_viewed", at(1, 11), {"url": MARK}, source_event_id="same")
    f.say("page_viewed", at(1, 11), {"url": f"{MARK}/2"}, source_event_id="same")
    assert marked(f) == [b"l:lead-1"]
    erase(f, at(1, 12))
    assert marked(f) == []
    topics = [t for t, log in f.driver.topics.items() if t not in f.driver.sources for part in log for r in part
              if MARK.encode() in (r.value or b"")]  # fmt: skip
    last: dict[str, str] = {}
    for record in f.driver.read(f.settings.topics.handoffs):
        _, fields = decode_output(record.value or b"")
        last[fields["output_id"]] = repr(fields)
    assert MARK not in repr(last)
    assert set(topics) <= {f.settings.topics.dead_letters, f.settings.topics.handoffs}
    assert f.settings.topics.dead_letters in topics
    assert f.now < at(1, 12) + DAY


# Who comes back ---------------------------------------------------------------------------------------------------


def test_case_47_who_comes_back_is_a_new_person_without_nurture_and_profile_who_may_raise_a_hand() -> None:
    f, _ = handed_over()
    erase(f, SOON)
    leads = f.total("leads")
    returned(f)
    assert f.total("persons") == 2
    assert f.total("leads") == leads + 1
    assert f.total("leads", series="recycled") == 0
    f.hot(at(11), n="2")
    assert f.score() == 0
    assert f.stages()[-1] == "known"
    assert f.out("nurture")[-1]["kind"] == "stopped"
    f.raise_hand(at(12))
    assert [h.outcome for h in f.handoffs()] == [WITHDRAWN, OPEN]
    made = f.out("handoffs", kind="made")[-1]
    assert made["attempt"] == 1
    assert made["context"]["previous_journeys"] == []
    assert [x["at"] >= at(10) for x in made["context"]["last_touches"]] == [True] * len(
        made["context"]["last_touches"]
    )


def test_case_47_a_new_consent_lifts_the_suppression() -> None:
    f, _ = handed_over()
    erase(f)
    returned(f)
    for purpose in ("marketing", "profiling"):
        f.say("consent_changed", at(10, 12), {"purpose": purpose, "granted": True})
    assert f.out("nurture")[-1]["kind"] == "resumed"
    f.hot(at(11), n="2")
    assert f.stages()[-1] == "mql"


def test_case_47_the_same_address_under_another_lead_is_known_by_its_keyed_hash() -> None:
    f, _ = handed_over()
    erase(f)
    f.learn("address_suppressed", ERASED, address_hash="0f3a")
    returned(f, "lead-2", address_hash="0f3a")
    returned(f, "lead-3", address_hash="77aa")
    for lead in ("lead-2", "lead-3"):
        f.hot(at(11), lead)
    assert f.stages("lead-2")[-1] == "known"
    assert f.stages("lead-3")[-1] == "mql"
    assert f.out("nurture", "lead-2", kind="stopped")
    f.raise_hand(at(12), "lead-2")
    assert f.stages("lead-2")[-1] == "mql"


def test_case_47_a_consent_newer_than_the_erasure_is_not_suppressed() -> None:
    f = Funnel()
    f.learn("address_suppressed", ERASED, address_hash="0f3a")
    f.say("created", at(9), {"source": "webinar", "generated_by": "marketing"})
    f.say("consent_changed", at(9), {"purpose": "profiling", "granted": True})
    f.say("attributes_changed", at(10), {"fields": FITS | {"address_hash": "0f3a"}})
    f.hot(at(11))
    assert f.stages()[-1] == "mql"
    assert f.head().consent == {"profiling": (True, at(9)), "marketing": (False, ERASED)}
