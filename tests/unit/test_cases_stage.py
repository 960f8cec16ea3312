"""DOMAIN 8, stages and privacy: how journeys move, and what is refused, visibly."""

from __future__ import annotations

from typing import Any

import pytest

from processors.definition.model import DAY, MINUTE
from processors.model import ACCEPTED, OPEN, TURNED_DOWN, WON, handoff_id
from streams.definitions import default_text
from tests.strategies import at
from tests.world import Funnel, handed_over, variant

WHOLE = ["anonymous", "known", "engaged", "mql", "sal", "sql", "opportunity", "won"]


def test_case_25_won_before_any_lead_event_implies_the_whole_journey() -> None:
    f = Funnel()
    f.say("won", at(1, 9), {"amount": 5000, "currency": "EUR"}, deal="deal-1")
    f.say("lead_linked", at(1, 9, 1), {"lead_id": "lead-1"}, deal="deal-1")
    assert f.stages() == WHOLE
    entered = f.out("stage_changes", kind="entered")
    assert {x["stage"] for x in entered if x["implied"]} == set(WHOLE[:7])
    assert {x["occurred_at"] for x in entered} == {at(1, 9)}
    assert f.total("entered", stage="mql", series="marketing") == 0, "implied entries are no MQLs"
    assert f.total("balance", stage="won") == 1
    assert f.total("deal_amount", status="won", currency="EUR") == 5000


def test_case_26_a_deal_without_lead_counts_its_revenue() -> None:
    f = Funnel()
    deal = {"leads": [], "amount": 700, "currency": "EUR", "pipeline": "p", "stage": "s"}
    f.say("opened", at(1, 9), deal, deal="deal-1")
    f.say("won", at(2, 9), {"amount": 700, "currency": "EUR"}, deal="deal-1")
    assert f.total("deal_amount", status="won", currency="EUR") == 700
    assert f.total("deal_without_lead", status="won") == 1
    assert f.total("persons") == 0


def test_case_27_a_skipped_stage_is_entered_by_implication() -> None:
    f, _ = handed_over()
    f.say("qualified_by_sales", at(1, 15))
    (sal,) = f.out("stage_changes", stage="sal")
    (sql,) = f.out("stage_changes", stage="sql")
    assert sal["implied"]
    assert not sql["implied"]
    assert sal["occurred_at"] == sql["occurred_at"] == at(1, 15)
    assert f.total("entered", stage="sal", series="implied") == 1
    (h,) = f.handoffs()
    assert h.outcome == ACCEPTED


def test_case_27_who_is_known_from_the_first_fact_on_was_never_anonymous() -> None:
    f = Funnel()
    f.fit(at(1, 9))
    f.say("page_viewed", at(2, 9), {"url": "/"}, lead="lead-2")
    f.fit(at(2, 10), lead="lead-2")
    implied = {
        lead: [
            x["implied"] for x in f.out("stage_changes", lead, kind="entered") if x["stage"] == "anonymous"
        ]
        for lead in ("lead-1", "lead-2")
    }
    assert implied == {"lead-1": [True], "lead-2": [False]}
    assert f.total("entered", stage="anonymous", series="implied") == 1
    f.say("page_viewed", at(1, 8), {"url": "/"})  # seen before: it did stand there
    assert f.out("stage_changes", stage="anonymous")[-1]["implied"] is False


def test_case_28_a_backward_report_is_recorded_and_the_stage_kept() -> None:
    f, _ = handed_over()
    f.say("accepted", at(1, 12))
    f.say("stage_reported", at(1, 13), {"stage": "known"})
    (refused,) = f.out("stage_changes", kind="refused")
    assert (refused["stage"], refused["rule"]) == ("known", "backward moves are refused")
    assert f.stages()[-1] == "sal"
    adopting = Funnel(variant('[policy]\nbackward = "adopt"'))
    adopting.fit()
    adopting.hot()
    adopting.say("accepted", at(1, 12))
    adopting.say("stage_reported", at(1, 13), {"stage": "known"})
    assert adopting.stages()[-2:] == ["sal", "known"]
    assert adopting.total("entered", stage="known") == 2
    assert adopting.total("balance", stage="known") == 1


@pytest.mark.parametrize(
    ("type_", "payload", "rule"),
    [
        ("recycled", {}, "the journey has ended"),
        ("disqualified", {"reason_code": "spam"}, "the journey has ended"),
        ("rejected", {"reason_code": "timing"}, "no handoff was open"),
        ("stage_reported", {"stage": "sql"}, "the journey has ended"),
        ("stage_reported", {"stage": "no-such"}, "no such stage in the definition"),
        ("assigned", {"owner": "owner-1", "handoff_id": "no-such"}, "no such handoff"),
        ("sla_paused", {"handoff_id": "no-such", "reason": "r"}, "no such handoff"),
        ("sla_resumed", {"handoff_id": handoff_id("l:lead-1", 1), "reason": "r"}, "the handoff has ended"),
    ],
)
def test_what_policy_refuses_is_told_with_its_rule_and_never_in_silence(
    type_: str, payload: dict[str, Any], rule: str
) -> None:
    f, _ = handed_over()
    f.say("disqualified", at(1, 12), {"reason_code": "spam"})
    before = f.head().journeys[0].entries
    f.say(type_, at(1, 13), payload)
    assert [x["rule"] for x in f.out("stage_changes", kind="refused")] == [rule]
    assert f.head().journeys[0].entries == before


def test_a_pause_that_the_policy_does_not_allow_and_a_reopening_of_what_is_open_are_refused() -> None:
    strict = variant(
        '[[sla]]\nname = "s"\nfirst_touch = "2h"\ndecision = "16h"\nexpire_after = "32h"\npausable = false'
    )
    f, _ = handed_over(strict)
    (h,) = f.handoffs()
    f.say("sla_paused", at(1, 11), {"handoff_id": h.id, "reason": "r"})
    f.say("reopened", at(1, 12))
    assert [x["rule"] for x in f.out("stage_changes", kind="refused")] == [
        "the policy allows no pause",
        "the journey has not ended",
    ]
    f.until(h.due_touch + 2 * MINUTE)
    assert [x["occurred_at"] for x in f.out("sla", kind="breached")] == [h.due_touch]


def test_what_is_paused_or_runs_already_is_told_so() -> None:
    f, _ = handed_over()
    (h,) = f.handoffs()
    f.say("sla_resumed", at(1, 11), {"handoff_id": h.id, "reason": "back"})
    f.say("sla_paused", at(1, 12), {"handoff_id": h.id, "reason": "on holiday"})
    f.say("sla_paused", at(1, 13), {"handoff_id": h.id, "reason": "on holiday"})
    refused = f.out("stage_changes", kind="refused")
    assert [x["rule"] for x in refused] == ["the clocks are running", "the clocks stand still already"]
    assert [x["occurred_at"] for x in f.out("sla", kind="paused", clock="decision")] == [at(1, 12)]


def test_case_29_a_re_entry_is_a_second_row() -> None:
    f, _ = handed_over()
    f.say("rejected", at(1, 12), {"reason_code": "timing"})
    f.raise_hand(at(2, 12))
    entered = f.out("stage_changes", kind="entered", stage="mql")
    assert [x["occurrence"] for x in entered] == [1, 2]
    assert {x["journey"] for x in entered} == {1}
    assert (
        f.total("entered", stage="mql"),
        f.total("left", stage="mql"),
        f.total("balance", stage="mql"),
    ) == (2, 1, 1)


def test_case_30_after_recycling_below_the_old_threshold_not_qualified_until_re_armed() -> None:
    f, _ = handed_over()
    f.say("accepted", at(1, 12))
    f.say("recycled", at(2, 12), {"until": at(12)})
    f.say("content_downloaded", at(5), {"asset_id": "c"})  # above `up`, before the date
    assert len(f.handoffs()) == 1
    f.say("content_downloaded", at(13), {"asset_id": "d"})  # past the date, but it neither fell nor crossed
    assert len(f.handoffs()) == 1
    assert f.stages()[-1] == "recycled"
    f.until(at(80))  # fades below `down`
    f.hot(at(80, 10), n="2")
    assert [(h.attempt, h.outcome) for h in f.handoffs()] == [(1, ACCEPTED), (1, OPEN)]
    assert f.head().journeys[1].n == 2
    assert f.head().journeys[1].entries[0] >> 9 == at(80, 10, MINUTE)  # the pass begins when the lead re-arms


def test_case_30_an_event_that_crosses_the_threshold_after_the_date_re_arms_too() -> None:
    f, _ = handed_over()
    f.say("rejected", at(1, 12), {"reason_code": "unreachable"})  # for 30 days
    f.until(at(32))
    assert f.score() > 18_000
    f.say("event_attended", at(32, 9), {"event_id": "w2", "kind": "webinar"})
    f.say("content_downloaded", at(32, 10), {"asset_id": "e"})
    assert [(j.n, len(j.handoffs)) for j in f.head().journeys] == [(1, 1), (2, 1)]


def test_case_31_rejected_after_accepted_is_returned() -> None:
    f, _ = handed_over()
    f.say("accepted", at(1, 12))
    f.say("rejected", at(2, 12), {"reason_code": "no_budget"})
    (h,) = f.handoffs()
    assert (h.outcome, h.returned) == (ACCEPTED, at(2, 12))
    assert f.stages()[-1] == "recycled"
    last = f.out("handoffs", kind="answered")[-1]
    assert (last["outcome"], last["returned"], last["reason_code"]) == ("accepted", True, "no_budget")
    assert (f.total("handoff", outcome="accepted"), f.total("returned", reason="no_budget")) == (1, 1)
    assert f.head().until == at(2, 12) + 120 * DAY


def test_case_32_accepted_after_the_breach_is_both() -> None:
    f, _ = handed_over()
    f.say("accepted", at(4, 9))
    (answered,) = f.out("handoffs", kind="answered")
    assert (answered["outcome"], answered["breached"]) == ("accepted", True)
    assert {x["clock"] for x in f.out("sla", kind="breached")} == {"first_touch", "decision"}
    assert f.out("sla", kind="met") == []
    assert f.total("sla", clock="decision", state="breached") == 1
    assert f.total("handoff", outcome="accepted") == 1


PEOPLE = (
    {"owner": "owner-1", "team": "sales", "active": True},
    {"owner": "owner-2", "team": "sales", "active": True},
)


@pytest.mark.parametrize(("hours", "counts"), [(1, True), (1.01, False)])
def test_case_33_the_previous_owner_counts_for_a_business_hour(hours: float, counts: bool) -> None:
    f, _ = handed_over(owners=PEOPLE)
    (h,) = f.handoffs()
    other = "owner-2" if h.owner == "owner-1" else "owner-1"
    f.say("assigned", at(1, 16), {"owner": other})  # the hour ends with the working day
    moment = at(1, 17) if hours == 1 else at(2, 9) + 36_000
    f.say("accepted", moment, {}, actor={"type": "human", "id": h.owner})
    (after,) = f.handoffs()
    assert (after.outcome == ACCEPTED) == counts
    refused = f.out("stage_changes", kind="refused")
    assert [x["rule"] for x in refused] == ([] if counts else ["the former owner's hour has passed"])
    if not counts:
        f.say("accepted", moment + MINUTE, {}, actor={"type": "human", "id": other})
        assert f.handoffs()[0].outcome == ACCEPTED


def test_case_34_won_reopened_lost_is_reversed() -> None:
    f = Funnel()
    deal = {"leads": [{"lead_id": "lead-1"}, {"lead_id": "lead-2"}], "amount": 101, "currency": "EUR"}
    f.say("opened", at(1, 9), deal | {"pipeline": "p", "stage": "s"}, deal="deal-1")
    f.say("won", at(2, 9), {"amount": 101, "currency": "EUR"}, deal="deal-1")
    assert f.total("deal_amount", status="won") == 101
    assert sum(f.head(x).shares["deal-1"].amount for x in ("lead-1", "lead-2")) == 101
    f.say("reopened", at(3, 9), {}, deal="deal-1")
    assert f.total("deal_amount", status="won") == 0
    assert f.stages()[-1] == "opportunity"
    f.say("lost", at(4, 9), {"reason_code": "price"}, deal="deal-1")
    assert f.total("deal", status="won") == 0
    assert f.total("deal", status="lost") == 1
    assert f.total("balance", stage="lost") == 2
    assert (f.total("entered", stage="won"), f.total("left", stage="won")) == (2, 2)
    assert f.stages()[-2:] == ["opportunity", "lost"]


def test_a_lead_that_is_unlinked_stands_where_it_stood_and_the_others_have_its_share() -> None:
    f = Funnel()
    f.fit(lead="lead-2")
    deal = {"leads": [{"lead_id": "lead-1"}, {"lead_id": "lead-2"}], "amount": 101, "currency": "EUR"}
    f.say("opened", at(1, 9), deal | {"pipeline": "p", "stage": "s"}, deal="deal-1")
    assert f.stages("lead-2")[-1] == "opportunity"
    f.say("lead_unlinked", at(2, 9), {"lead_id": "lead-2"}, deal="deal-1")
    f.say("won", at(3, 9), {"amount": 101, "currency": "EUR"}, deal="deal-1")
    share = f.head("lead-1").shares["deal-1"]
    assert (share.outcome, share.amount) == (WON, 101)
    assert "deal-1" not in f.head("lead-2").shares
    assert (f.stages("lead-1")[-1], f.stages("lead-2")[-1]) == ("won", "known")
    assert f.total("balance", stage="won") == f.total("balance", stage="known") == 1


def test_case_35_won_twice_or_changed_after_is_one_win() -> None:
    f = Funnel()
    deal = {"leads": [{"lead_id": "lead-1"}], "amount": 100, "currency": "EUR", "pipeline": "p", "stage": "s"}
    f.say("opened", at(1, 9), deal, deal="deal-1")
    f.say("won", at(2, 9), {"amount": 100, "currency": "EUR"}, deal="deal-1", source_system="crm")
    f.say("won", at(2, 10), {"amount": 100, "currency": "EUR"}, deal="deal-1", source_system="erp")
    assert (f.total("deal", status="won"), f.total("deal_amount", status="won")) == (1, 100)
    f.say("amount_changed", at(3, 9), {"amount": 140, "currency": "EUR"}, deal="deal-1")
    assert (f.total("deal", status="won"), f.total("deal_amount", status="won")) == (1, 140)
    share = f.head().shares["deal-1"]
    assert (share.amount, share.closed) == (140, at(2, 9))
    assert f.total("entered", stage="won") == 1


def test_case_36_rejected_then_a_hand_raise_a_minute_later_is_attempt_two_and_one_call() -> None:
    f, _ = handed_over()
    f.say("rejected", at(1, 12), {"reason_code": "timing"})
    f.raise_hand(at(1, 12, MINUTE))
    f.raise_hand(at(1, 12, 2 * MINUTE))
    made = f.out("handoffs", kind="made", op="new")
    assert [(x["journey"], x["attempt"]) for x in made] == [(1, 1), (1, 2)]
    assert [h.outcome for h in f.handoffs()] == [TURNED_DOWN, OPEN]


def renamed(name: str = "qualified", rank: int = 30, version: int = 2) -> str:
    text = default_text().replace("version = 1", f"version = {version}", 1)
    return text.replace(
        'name = "mql"\nrank = 30', f'name = "{name}"\nrank = {rank}\nrenamed_from = ["mql"]', 1
    )


@pytest.mark.parametrize("rank", [30, 35])
def test_case_37_a_renamed_stage_is_mapped(rank: int) -> None:
    f, _ = handed_over()
    assert f.total("balance", stage="mql") == 1
    f.learn(
        "definition_published", at(2), name="default", version=2, toml=renamed(rank=rank), effective_at=at(2)
    )
    f.say("page_viewed", at(2, 9), {"url": "/"})
    assert f.topology.totals() == _from_rows(f)
    assert (
        f.total("balance", stage="qualified") == f.total("balance", stage="mql") == 1
    )  # one stage, by either name
    f.say("accepted", at(2, 10))
    assert f.stages()[-1] == "sal"
    assert f.out("stage_changes", stage="sal")[0]["from_stage"] == "qualified"
    assert f.topology.totals() == _from_rows(f)
    f.say("stage_reported", at(2, 11), {"stage": "mql"})  # the CRM has not heard of the new name
    assert f.out("stage_changes", kind="refused")[-1]["stage"] == "qualified"


def _from_rows(f: Funnel) -> dict[tuple[object, ...], int]:
    f.restart()
    return f.topology.totals()


def test_case_37_a_removed_stage_is_shown_as_retired() -> None:
    extra = default_text() + '\n[[stages]]\nname = "demo"\nrank = 55\nphase = "decision"\n'
    f = Funnel(variant(extra, whole=True))
    f.fit()
    f.hot()
    f.say("stage_reported", at(1, 15), {"stage": "demo"})
    assert f.stages()[-1] == "demo"
    text = default_text().replace("version = 1", "version = 2", 1)
    f.learn("definition_published", at(2), name="default", version=2, toml=text, effective_at=at(2))
    f.say("disqualified", at(2, 9), {"reason_code": "other"})
    (ended,) = f.out("stage_changes", kind="ended")
    assert ended["from_stage"] == "retired:demo"
    assert sum(n for k, n in f.topology.totals().items() if k[:2] == ("left", 55)) == 1
    assert f.topology.totals() == _from_rows(f)


def test_case_38_the_version_in_force_at_its_start_governs_a_handoff_to_its_end() -> None:
    f, _ = handed_over()
    (h,) = f.handoffs()
    text = (
        default_text()
        .replace("version = 1", "version = 2", 1)
        .replace('first_touch = "4h"', 'first_touch = "1h"')
        .replace("up = 40", "up = 90")
        .replace("down = 25", "down = 80")
    )
    f.learn("definition_published", at(1, 11), name="default", version=2, toml=text, effective_at=at(1, 11))
    f.say("page_viewed", at(1, 12), {"url": "/"})
    (after,) = f.handoffs()
    assert (after.definition, after.due_touch, after.outcome) == (0, h.due_touch, OPEN)
    assert f.head().definition == 1
    assert not f.head().qualified  # by the new thresholds; the open handoff stays
    (made,) = f.out("handoffs", kind="made", op="new")
    assert made["definition"] == "default@1"
    f.until(h.due_touch + 2 * MINUTE)
    assert [x["occurred_at"] for x in f.out("sla", kind="breached")] == [h.due_touch]


def test_case_48_back_fill_moves_state_and_figures_and_calls_nobody() -> None:
    f = Funnel(now=at(20))
    f.say("created", at(1, 9), {"source": "import", "generated_by": "marketing"}, backfill=True)
    f.say(
        "attributes_changed",
        at(1, 9),
        {"fields": {"role": "CTO", "company_size": 60, "country": "DE"}},
        backfill=True,
    )
    for n in range(2):
        f.say("content_downloaded", at(1, 10, n), {"asset_id": f"a{n}"}, backfill=True)
    f.say("event_attended", at(1, 11), {"event_id": "w", "kind": "webinar"}, backfill=True)
    assert f.stages()[:4] == WHOLE[:4]
    assert f.out("handoffs", kind="made") == []
    assert f.out("sla") == []
    (silent,) = f.out("handoffs", kind="historical")
    assert silent["silent"]
    assert silent["started_at"] == silent["trigger_at"] == at(1, 11)
    assert f.total("handoff", outcome="imported_open") == 1
    assert f.total("sla") == 0
    assert f.total("entered", stage="mql", series="imported") == 1


def test_case_48_a_back_filled_answer_makes_a_silent_handoff_count() -> None:
    f = Funnel(now=at(20))
    f.fit(at(1, 9))
    f.say("form_submitted", at(1, 10), {"form_id": "f", "intent": "hand_raise"}, backfill=True)
    f.say("accepted", at(1, 11), backfill=True)
    assert f.out("handoffs", kind="made") == []
    assert f.total("handoff", outcome="accepted") == 1
    assert f.total("sla", clock="decision", state="met") == 1
    assert f.stages()[-1] == "sal"


def test_case_48_only_a_live_event_that_re_arms_calls_after_back_fill() -> None:
    f = Funnel(now=at(20))
    f.fit(at(1, 9))
    f.say("form_submitted", at(1, 10), {"form_id": "f", "intent": "hand_raise"}, backfill=True)
    f.say("rejected", at(1, 11), {"reason_code": "timing"}, backfill=True)
    f.say("page_viewed", at(20, 9), {"url": "/"})
    assert f.out("handoffs", kind="made") == []
    f.raise_hand(at(20, 10))
    (made,) = f.out("handoffs", kind="made")
    assert made["trigger_at"] == made["started_at"] == at(20, 10)
