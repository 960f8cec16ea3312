"""DOMAIN 8, restatement: what was final and changes is said openly, with old, new and cause, once.

March 2026 is closed on 4 April. Its cohorts mature on 8 and 30 April and on 29 June.
"""

from __future__ import annotations

import pytest

from processors.closing import CLOCKED, COUNTS, FIGURES, MADE, OPEN_ENDED, OTHERS, TELLING
from processors.columns import COLUMNS
from processors.days import DAY
from processors.definition.model import HOUR, MINUTE, Definition
from processors.restate import CAUSES
from tests.restated import late, numbers, said
from tests.strategies import at
from tests.subscriber import Subscriber
from tests.world import Funnel, handed_over, variant

CLOSED = at(34)
BORN = {"source": "event", "generated_by": "marketing"}


def test_case_09_late_after_maturity_is_a_restatement_with_old_new_and_cause() -> None:
    f = Funnel(now=at(1), partitions=1)
    f.fit()
    f.hot()
    f.until(at(50))  # 20 April: the month is closed, of its cohorts the one within a week has matured
    assert said(f) == []
    late(f, "created", at(10), BORN, lead="lead-2")
    (leads,) = said(f, figure="leads")
    assert leads["labels"] == {"series": "marketing", "source": "event"}
    assert (leads["period"], leads["old"], leads["new"]) == ("2026-03", 0, 1)
    assert (leads["cause"], leads["lead_id"]) == ("late:created:40d", "lead-2")
    assert (leads["occurred_at"], leads["as_of"], leads["op"]) == (at(10), at(50), "new")
    (cohort,) = said(f, figure="cohort_entered")
    assert (cohort["labels"], cohort["old"], cohort["new"]) == ({"stage": "known", "source": "event"}, 0, 1)
    assert said(f, figure="cohort_converted") == []
    for n in range(3):
        late(f, "content_downloaded", at(11, n), {"asset_id": f"a{n}"}, lead="lead-2")
    late(f, "attributes_changed", at(11, 5), {"fields": {"job_title": "cto"}}, lead="lead-2")
    before = len(said(f))
    late(f, "qualified_by_sales", at(16), lead="lead-2")
    after = said(f)[before:]
    assert {x["cause"] for x in after} == {"late:qualified_by_sales:34d"}
    assert numbers(f, "sqls") == [({"series": "marketing", "source": "event"}, "2026-03", 0, 1)]
    converted = [
        (x["labels"]["from"], x["labels"]["to"], x["labels"]["horizon"])
        for x in said(f, figure="cohort_converted")
    ]
    assert converted
    assert {h for *_, h in converted} == {"7"}  # of 30 and 90 days nothing was final
    assert said(f, figure="cohort_converted")[0]["period"] == "2026-03"


def test_case_09_before_the_month_is_closed_nothing_is_restated() -> None:
    f = Funnel(now=at(1))
    f.until(CLOSED - 1)
    late(f, "created", at(10), BORN)
    assert said(f) == []
    f.until(CLOSED)
    late(f, "created", at(11), BORN, lead="lead-2")
    assert [x["lead_id"] for x in said(f, figure="leads")] == ["lead-2"]
    f.say("created", f.now, BORN, lead="lead-3")
    f.say("created", f.now - 2 * DAY, BORN, lead="lead-4", recorded_at=f.now)  # of April
    assert [x["lead_id"] for x in said(f, figure="leads")] == ["lead-2"]


def test_how_long_after_its_end_a_month_is_closed_is_part_of_the_definition() -> None:
    f = Funnel(variant("closed_after_days = 20\nhorizons_days = [30]"), now=at(1))
    f.until(at(50))
    late(f, "created", at(10), BORN)
    assert said(f) == []
    f.until(at(51))
    late(f, "created", at(11), BORN, lead="lead-2")
    assert [x["lead_id"] for x in said(f, figure="leads")] == ["lead-2"]


def test_a_fact_that_moves_a_lead_from_one_month_to_another_restates_both() -> None:
    f = Funnel(now=at(31))
    f.say("created", at(32), BORN)  # 2 April
    f.until(at(70))  # 10 May
    assert said(f) == []
    late(f, "form_submitted", at(20), {"form_id": "x", "intent": "content"})
    late(f, "created", at(19), BORN)
    moved = {(x["period"], x["old"], x["new"]) for x in said(f, figure="leads")}
    assert moved == {("2026-03", 0, 1), ("2026-04", 1, 0)}


def test_case_34_and_35_deals_of_a_closed_month() -> None:
    f = Funnel(now=at(1), partitions=1)
    f.fit()
    money = {"amount": 1000, "currency": "EUR"}
    f.say(
        "opened", at(3), {"leads": [{"lead_id": "lead-1"}], "pipeline": "p", "stage": "s"} | money, deal="d-1"
    )
    f.say("won", at(5), money, deal="d-1")
    f.until(at(50))
    labels = {"pipeline": "p", "currency": "EUR"}
    late(f, "won", at(5, 1), {"amount": 1200, "currency": "EUR"}, deal="d-1")  # case 35: the difference
    assert numbers(f, "won_amount") == [(labels, "2026-03", 1000, 1200)]
    assert {x["cause"] for x in said(f)} == {"late:won:44d"}
    assert numbers(f, "closed_deals") == []
    before = len(said(f))
    f.say("reopened", f.now, deal="d-1")  # case 34: not late, and yet it takes back what was final
    f.say("lost", f.now + HOUR, {"reason_code": "price"}, deal="d-1")
    assert numbers(f, "won_amount")[1:] == [(labels, "2026-03", 1200, 0)]
    assert numbers(f, "closed_deals") == [({"status": "won"} | labels, "2026-03", 1, 0)]
    taken_back = {x["figure"]: x["cause"] for x in said(f)[before:]}
    assert set(taken_back.values()) <= {"followed:reopened", "followed:deal_reopened", "followed:lost"}
    assert {"won_amount", "sales_cycle", "attributed", "leads_won", "lead_links"} <= taken_back.keys()
    assert numbers(f, "leads_won") == [({"source": "webinar"}, "2026-03", 1, 0)]


def test_what_was_published_in_time_and_read_late_is_a_backlog() -> None:
    """Workers were down from 20 March to 10 April; timers that fell due meanwhile are no news."""
    f = Funnel(now=at(1), partitions=1)
    f.fit()
    f.hot()  # handed over: it expires while nobody is there
    f.say("created", at(19), BORN, lead="lead-2", recorded_at=at(19), run=False)
    f.say("content_downloaded", at(2), {"asset_id": "x"}, recorded_at=at(2), run=False)
    f.driver.now_ms, f.driver.live = at(40), False
    f.restart()
    f.driver.run()
    assert said(f) == []
    f.say("created", at(18), BORN, lead="lead-3", recorded_at=at(40))
    assert said(f) == []
    f.driver.catch_up()
    assert {(x["figure"], x["lead_id"], x["cause"]) for x in said(f) if x["figure"] == "leads"} == {
        ("leads", "lead-2", "backlog:created"),
        ("leads", "lead-3", "late:created:22d"),
    }
    assert [x for x in said(f) if x["lead_id"] == "lead-1"] == []
    done = {(x["figure"], x["cause"]) for x in said(f) if x["figure"] in TELLING}
    assert done == {(name, "backlog:content_downloaded") for name in ("downloads", "engagement", "visits")}
    assert "expired" in f.stages() or f.handoffs()[0].outcome


def test_a_first_import_restates_nothing() -> None:
    f = Funnel(now=at(60), live=False, partitions=1)
    f.fit(at(1))
    f.say("won", at(2), {"amount": 5, "currency": "EUR"}, deal="d-1", recorded_at=at(60))
    f.restart()  # it takes two goes
    f.say("created", at(3), BORN, lead="lead-2")
    f.driver.catch_up()
    assert said(f) == []
    late(f, "created", at(4), BORN, lead="lead-3")
    f.driver.live = False
    late(f, "created", at(5), BORN, lead="lead-4")
    f.driver.catch_up()
    assert [x["lead_id"] for x in said(f, figure="leads")] == ["lead-3", "lead-4"]


def test_case_48_a_back_fill_into_closed_months_is_summed_and_names_nobody() -> None:
    f = Funnel(now=at(1), partitions=1)
    f.until(at(50))
    for n in range(20):
        f.say("created", at(3), BORN, lead=f"lead-{n}", backfill=True, recorded_at=f.now, run=False)
    f.driver.run()
    (leads,) = said(f, figure="leads")
    assert (leads["old"], leads["new"], leads["cause"], leads["lead_id"]) == (0, 20, "backfill", None)


def test_restatements_are_said_once_and_in_sequence_over_restarts_and_aborted_transactions() -> None:
    f = Funnel(now=at(1), partitions=1)
    f.until(at(50))
    for n in range(6):
        f.say("created", at(3, n), BORN, lead=f"lead-{n}", recorded_at=f.now, run=False)
        if n % 2:
            record = f.driver.topics[f.settings.topics.lead][0][-1]
            lost = f.topology.batch(0, [record], f.now, True)  # the transaction is aborted: it comes again
            assert any(m.topic == f.settings.topics.restatements for m in lost.messages)
        f.driver.run()
        f.restart()
    subscriber = Subscriber()
    found = subscriber.take_all(f.driver.read(f.settings.topics.restatements))
    assert [x["lead_id"] for x in found if x["figure"] == "leads"] == [f"lead-{n}" for n in range(6)]
    assert subscriber.repeated == 0
    assert {key.decode() for _, key in subscriber.sequences} == {
        "leads/0",
        "entered/0",
        "left/0",
        "cohort_entered/0",
    }
    assert len({x["output_id"] for x in found}) == len(found)
    assert {x["figure"] for x in found} <= set(FIGURES)
    assert {x["cause"].partition(":")[0] for x in found} <= set(CAUSES)


@pytest.mark.parametrize("conflict", [False, True])
def test_a_repeated_fact_restates_nothing_and_a_conflict_says_so(conflict: bool) -> None:
    f = Funnel(now=at(1))
    f.say("created", at(3), BORN, recorded_at=at(4), source_event_id="e-1")
    f.until(at(50))
    more = BORN | {"source": "partner"} if conflict else BORN
    f.say("created", at(3), more, recorded_at=at(3), source_event_id="e-1", run=False)
    f.driver.run()
    assert bool(said(f)) is conflict
    assert {x["cause"] for x in said(f)} <= {"conflict"}


# Handoffs: counted in the month of their start, ended later ---------------------------------------------------------

LAST = at(29, 10)  # Monday, 30 March


def slow(days: int) -> Definition:
    """Sales may take so many working days."""
    return variant(f'[[sla]]\nname = "slow"\nfirst_touch = "{8 * days}h"\ndecision = "{8 * days}h"')


def test_an_answer_after_the_month_was_closed_restates_its_handoffs_clocks_and_reasons() -> None:
    f = Funnel(slow(15), now=at(1), partitions=1)
    f.fit(at(28), company_size=500)
    f.hot(LAST)
    f.until(at(36))  # 6 April: nobody has answered, no clock has run out
    assert [h.outcome for h in f.handoffs()] == [0]
    assert said(f) == []
    f.say("touched", at(36, 10), {"channel": "phone", "kind": "call"}, actor={"type": "human", "id": "o"})
    touched = said(f)
    assert {x["cause"] for x in touched} == {"followed:touched"}
    assert {x["figure"] for x in touched} == {"sla", "speed", "untouched", "delays_open"}
    assert {(x["labels"]["state"], x["old"], x["new"]) for x in touched if x["figure"] == "sla"} == {
        ("open", 1, 0),
        ("met", 0, 1),
    }
    wall = next(x["labels"] for x in touched if x["figure"] == "speed" and x["labels"]["time"] == "wall")
    assert abs(int(wall["seconds"]) - (at(36, 10) - LAST) // 1000) < 6000  # its bin is 1 % wide
    f.say("rejected", at(36, 11), {"reason_code": "no_budget"})
    rejected = said(f)[len(touched) :]
    assert {x["cause"] for x in rejected} == {"followed:rejected"}
    outcomes = [
        (x["labels"]["outcome"], x["labels"]["reason"], x["old"], x["new"])
        for x in rejected
        if x["figure"] == "handoffs"
    ]
    assert outcomes == [("open", "(empty)", 1, 0), ("rejected", "no_budget", 0, 1)]
    assert numbers(f, "answers")[0][1:] == ("2026-03", 0, 1)
    assert {x["period"] for x in said(f)} == {"2026-03"}


def test_a_clock_that_runs_out_after_the_month_was_closed_restates_it_once_by_its_due_instant() -> None:
    f = Funnel(slow(6), now=at(1), partitions=1)
    f.fit(at(28), company_size=500)
    f.hot(LAST)
    f.until(at(80))
    assert {x["cause"] for x in said(f)} == {"due"}
    assert {x["lead_id"] for x in said(f)} == {"lead-1"}
    for clock in ("first_touch", "decision"):
        found = [
            (x["labels"]["state"], x["old"], x["new"])
            for x in said(f, figure="sla")
            if x["labels"]["clock"] == clock
        ]
        assert found == [("breached", 0, 1), ("open", 1, 0)]
    (h,) = f.handoffs()
    breached = [x for x in said(f, figure="sla") if x["labels"]["clock"] == "decision"]
    assert {x["occurred_at"] for x in breached} == {h.late_decide + 2 * MINUTE}  # with its grace
    ends = [(x["labels"]["outcome"], x["occurred_at"]) for x in said(f, figure="handoffs")]
    assert ends == [("expired", h.ended), ("open", h.ended)]
    f.restart()
    f.until(at(90))
    assert len(said(f, figure="handoffs")) == 2


def test_clocks_that_ran_out_before_the_month_was_closed_while_nobody_was_there_are_no_news() -> None:
    f = Funnel(now=at(1), partitions=1)
    f.fit(at(28))
    f.hot(LAST)
    f.driver.live = False
    f.driver.now_ms = at(50)
    f.restart()
    f.driver.catch_up()
    assert f.handoffs()[0].late_decide
    assert f.handoffs()[0].late_decide < at(34)
    late = [x for x in said(f) if x["figure"] == "sla"]
    assert late == []


def test_accepted_and_given_back_months_later() -> None:
    f, t = handed_over(now=at(0), partitions=1)
    f.say("accepted", t + HOUR)
    f.until(at(70))
    assert said(f) == []
    f.say("rejected", at(70), {"reason_code": "no_budget"})
    found = [
        (x["labels"]["outcome"], x["labels"]["returned"], x["old"], x["new"])
        for x in said(f, figure="handoffs")
    ]
    assert found == [("accepted", "no", 1, 0), ("accepted", "yes", 0, 1)]
    assert {x["cause"] for x in said(f)} == {"followed:rejected"}


@pytest.mark.parametrize("ahead", [HOUR, 0])
def test_case_06_what_was_dated_ahead_restates_when_it_happens_as_if_told_then(ahead: int) -> None:
    """A source's clock is fast: its facts are held until due, and no record comes with them then."""
    f, t = handed_over(now=at(0), partitions=1)
    account = {"subject": {"account_id": "acc-1"}, "topic": "deal"}
    terms = {"contract_id": "k-1", "starts": "2025-06-01", "ends": "2026-05-31", "notice_days": 70}
    money = {"amount": 900, "currency": "EUR"}
    f.say("accepted", t + HOUR)
    f.say("contract_signed", at(2), terms | money, **account)
    f.say("won", at(3), money, deal="deal-1")
    f.until(at(70))
    assert said(f) == []
    for n, (type_, payload, subject) in enumerate(
        (
            ("rejected", {"reason_code": "no_budget"}, {}),
            ("renewed", {"contract_id": "k-1", "amount": 900}, account),
            ("amount_changed", {"amount": 950, "currency": "EUR"}, {"deal": "deal-1"}),
        ),
        71,
    ):
        f.say(type_, at(n), payload, recorded_at=at(n) - ahead, **subject)
        assert ahead == 0 or not any(x["as_of"] == f.now for x in said(f))
        f.until(at(n))
        assert {x["cause"] for x in said(f) if x["as_of"] == at(n)} == {f"followed:{type_}"}
    outcomes = [(x["labels"]["returned"], x["old"], x["new"]) for x in said(f, figure="handoffs")]
    assert outcomes == [("no", 1, 0), ("yes", 0, 1)]
    assert [x[2:] for x in numbers(f, "renewals")] == [(1, 0), (0, 1)]
    assert [x[1:] for x in numbers(f, "won_amount")] == [("2026-03", 900, 950)]


# What people did, and what it earned ---------------------------------------------------------------------------------


def test_late_engagement_restates_what_is_counted_of_it() -> None:
    f = Funnel(now=at(1), partitions=1)
    f.say("created", at(2), BORN)
    f.until(at(50))
    page = {"url": "https://example.com/", "utm": {"source": "news", "medium": "email", "campaign": "c-1"}}
    late(f, "page_viewed", at(5), page, session_id="s")
    assert numbers(f, "visits") == [({"channel": "email", "source": "event"}, "2026-03", 0, 1)]
    assert numbers(f, "page_views") == numbers(f, "visits")
    late(f, "email_opened", at(6), {"send_id": "s-1", "agent": "human"}, source_event_id="o-1")
    opened = [x["labels"]["agent"] for x in said(f, figure="emails") if x["labels"]["email"] == "opened"]
    assert opened == ["human"]
    assert {x["lead_id"] for x in said(f) if x["figure"] in TELLING} == {
        None
    }  # what a person did, it names nobody
    assert {x["lead_id"] for x in said(f) if x["figure"] not in TELLING} <= {"lead-1"}
    subjects = {dict(r.headers)["ce_subject"] for r in f.driver.read(f.settings.topics.restatements)}
    assert subjects <= {b"lead", b"lead/lead-1"}
    before = len(said(f))
    f.say(
        "engagement_reclassified", f.now, {"of": "o-1", "agent": "bot"}
    )  # of today, about an e-mail of March
    changed = [
        (x["labels"]["agent"], x["old"], x["new"])
        for x in said(f)[before:]
        if x["figure"] == "emails" and x["labels"]["email"] == "opened"
    ]
    assert changed == [("bot", 0, 1), ("human", 1, 0)]
    assert {x["cause"] for x in said(f)[before:]} == {"followed:engagement_reclassified"}


def test_a_late_touch_moves_credit_between_channels_and_campaigns() -> None:
    f = Funnel(now=at(1), partitions=1)
    f.fit()
    f.say("form_submitted", at(2), {"form_id": "x", "intent": "content"})
    money = {"amount": 1000, "currency": "EUR"}
    f.say(
        "opened", at(3), {"leads": [{"lead_id": "lead-1"}], "pipeline": "p", "stage": "s"} | money, deal="d-1"
    )
    f.say("won", at(10), money, deal="d-1")
    f.until(at(50))
    assert said(f) == []
    ad = {"ad_id": "a", "utm": {"source": "google", "medium": "cpc", "campaign": "c-1"}}
    late(f, "ad_clicked", at(1, 1), ad)
    credit = {
        (x["labels"]["model"], x["labels"]["campaign"]): (x["old"], x["new"])
        for x in said(f, figure="attributed")
    }
    assert credit["first", "c-1"] == (0, 1000)
    assert credit["first", "(empty)"] == (1000, 0)
    assert ("last", "c-1") not in credit
    assert credit["linear", "c-1"] == (0, 500)
    for model in {model for model, _ in credit}:
        assert sum(new - old for (m, _), (old, new) in credit.items() if m == model) == 0
    assert {x["cause"] for x in said(f)} == {"late:ad_clicked:48d"}
    assert ("c-1", 0, 1) in {
        (x["labels"]["campaign"], x["old"], x["new"]) for x in said(f, figure="credited_touches")
    }


def test_a_renewal_that_is_answered_after_the_month_in_which_it_fell_due() -> None:
    f = Funnel(now=at(1), partitions=1)
    account = {"subject": {"account_id": "acc-1"}, "topic": "deal"}
    terms = {"contract_id": "k-1", "starts": "2025-06-01", "ends": "2026-05-31", "notice_days": 70}
    f.say("contract_signed", at(2), terms | {"amount": 900, "currency": "EUR"}, **account)
    f.until(at(50))
    assert said(f) == []
    f.say("renewed", f.now, {"contract_id": "k-1", "amount": 900}, **account)
    assert numbers(f, "renewals") == [
        ({"renewal": "open"}, "2026-03", 1, 0),
        ({"renewal": "renewed"}, "2026-03", 0, 1),
    ]
    assert {x["cause"] for x in said(f)} == {"followed:renewed"}


def test_every_count_with_a_day_is_part_of_a_final_number_or_never_final() -> None:
    dated = {name for name, columns in COLUMNS.items() if "day" in columns}
    assert dated == (COUNTS - {"cohort", "converted"}) | OPEN_ENDED
    assert COUNTS.isdisjoint(OPEN_ENDED)
    assert CLOCKED <= COUNTS
    assert len(set(FIGURES)) == len(FIGURES)
    assert {made.figure for made in MADE} | OTHERS.keys() == set(FIGURES)


# Who is who ----------------------------------------------------------------------------------------------------------


def test_a_merge_and_its_end_restate_what_both_counted_in_a_closed_month() -> None:
    f = Funnel(now=at(1), partitions=4)
    for n in (1, 2):
        f.say("created", at(2, n), BORN, lead=f"lead-{n}")
    f.until(at(50))
    f.say("merged", f.now, {"loser": "lead-2", "winner": "lead-1"}, source_event_id="m-1")
    leads = said(f, figure="leads")
    assert sum(x["new"] - x["old"] for x in leads) == -1
    assert {(x["lead_id"], x["cause"]) for x in leads} == {("lead-2", "merged")}
    f.say("unmerged", f.now, {"merge_event_id": "m-1"})
    leads = said(f, figure="leads")
    assert sum(x["new"] - x["old"] for x in leads) == 0
    assert (leads[-1]["lead_id"], leads[-1]["cause"]) == ("lead-2", "unmerged")


def test_what_was_counted_of_an_erased_person_stays_and_names_nobody_any_more() -> None:
    f = Funnel(now=at(1), partitions=1)
    f.say("created", at(2), BORN)
    f.until(at(50))
    f.say("erased", f.now, {"request_id": "r-1"})
    assert said(f) == []
    late(f, "erased", at(30), {"request_id": "r-2"})  # in March it took the lead out of its stage
    assert {x["lead_id"] for x in said(f)} <= {None}


def test_an_alias_that_hears_of_its_merge_again_while_workers_are_down_has_nothing_to_restate() -> None:
    f = Funnel(now=at(1), partitions=1)
    for n in (1, 2):
        f.say("created", at(2, n), BORN, lead=f"lead-{n}")
    f.until(at(50))
    f.say("merged", at(20), {"loser": "lead-2", "winner": "lead-1"}, recorded_at=f.now)
    before = len(said(f))
    f.driver.live = False
    f.restart()
    f.say("merged", at(21), {"loser": "lead-2", "winner": "lead-1"}, recorded_at=f.now)
    f.driver.catch_up()
    assert before > 0
    assert len(said(f)) == before


def test_a_large_deal_that_moves_while_workers_are_down_is_compared_like_any_other() -> None:
    """Its variance in the forecast has more than 64 bits."""
    f = Funnel(now=at(1), partitions=1)
    money = {"amount": 21_800_000, "currency": "USD"}
    f.say(
        "opened", at(2), {"leads": [], "pipeline": "p", "stage": "s", "probability": 0.1} | money, deal="d-1"
    )
    f.driver.now_ms, f.driver.live = at(50), False
    f.restart()
    f.say(
        "stage_changed",
        at(4),
        {"stage": "t", "status": "open", "probability": 0.5},
        deal="d-1",
        recorded_at=at(50),
    )
    f.say("won", at(5), money, deal="d-1", recorded_at=at(50))
    f.driver.catch_up()
    assert f.dead() == []
    assert numbers(f, "won_amount") == [({"pipeline": "p", "currency": "USD"}, "2026-03", 0, 21_800_000)]
