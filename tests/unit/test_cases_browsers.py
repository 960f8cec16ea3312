"""Cases 20 to 24 of DOMAIN 8: browsers, and the people behind them.

What rows tell each other about it travels through the inbox, as it does between workers.
"""

from __future__ import annotations

from processors.definition.model import HOUR, MINUTE
from processors.events import KIND
from processors.identity import RETURNS
from processors.ledger import items
from processors.model import OPEN, WITHDRAWN, State, encode
from processors.report import report
from processors.subject import effective
from tests.identity_world import (
    ONE,
    TWO,
    below,
    identify,
    nothing_on_its_way,
    visit,
)
from tests.strategies import at
from tests.world import MONDAY, Funnel, variant


def test_case_20_a_browser_of_more_than_three_is_linked_to_none() -> None:
    f = Funnel()
    visit(f, "kiosk", MONDAY + 9 * HOUR)
    leads = [f"lead-{n}" for n in range(1, 5)]
    for n, lead in enumerate(leads):
        assert f.total("crowded") == 0
        identify(f, "kiosk", lead, MONDAY + (10 + n) * HOUR)
    assert f.total("crowded") == 1
    found = report(f.topology.totals(), f.topology.definitions[-1], f.now, only=["crowded_browsers"])
    assert [v.value for v in found] == [1]
    home = f.topology.partition_of("kiosk")
    assert f'leadstream_crowded_browsers{{partition="{home}"}} 1.0' in f.topology.exposition()
    assert [below(f, lead) for lead in leads] == [[], [], [], []]
    assert len(derived_of(f, "a:kiosk").journeys) == 1
    assert f.total("persons") == 5
    assert [f.score(lead) for lead in leads] == [0, 0, 0, 0]
    visit(f, "kiosk", MONDAY + 15 * HOUR)
    assert f.stages(leads[0]) == ["anonymous", "known"]
    nothing_on_its_way(f)


def derived_of(f: Funnel, key: str) -> State:
    return f.row(key).head


def test_case_20_as_many_as_the_definition_says() -> None:
    f = Funnel(variant("[policy]\nmax_leads_per_anonymous = 1\n"))
    visit(f, "kiosk", MONDAY + 9 * HOUR)
    identify(f, "kiosk", ONE, MONDAY + 10 * HOUR)
    assert below(f, ONE) == ["a:kiosk"]
    identify(f, "kiosk", TWO, MONDAY + 11 * HOUR)
    assert below(f, ONE) == below(f, TWO) == []
    assert f.total("crowded") == 1
    nothing_on_its_way(f)


def test_case_21_identified_late_its_history_is_at_its_own_times() -> None:
    f = Funnel()
    visit(f, "visitor-1", MONDAY + 9 * HOUR)
    visit(f, "visitor-1", MONDAY + 10 * HOUR, "event_attended", event_id="w", kind="webinar")
    visit(f, "visitor-1", MONDAY + 10 * HOUR + MINUTE, "content_downloaded", asset_id="a")
    visit(f, "visitor-1", MONDAY + 10 * HOUR + 2 * MINUTE, "content_downloaded", asset_id="b")
    assert f.total("persons") == 1
    assert f.out("stage_changes", "visitor-1") == []
    f.fit(at(2, 9), ONE)
    assert f.handoffs() == []
    identify(f, "visitor-1", ONE, at(2, 14))
    (j,) = f.head().journeys
    assert j.entries[0] >> 9 == MONDAY + 9 * HOUR, "anonymous since the first visit"
    (h,) = f.handoffs()
    assert h.trigger == at(2, 9), "fit and active since then"
    assert h.start == at(2, 14), "but nobody could know before"
    assert h.due_touch > at(2, 14)
    assert derived_of(f, "a:visitor-1") == State()
    assert f.total("persons") == 1
    assert f.total("entered", stage="anonymous") == 1
    nothing_on_its_way(f)


def test_case_21_recorded_later_still() -> None:
    """A clock starts when the record came, not when it says that it happened."""
    f = Funnel()
    visit(f, "visitor-1", MONDAY + 10 * HOUR, "event_attended", event_id="w", kind="webinar")
    visit(f, "visitor-1", MONDAY + 10 * HOUR + MINUTE, "content_downloaded", asset_id="a")
    visit(f, "visitor-1", MONDAY + 10 * HOUR + 2 * MINUTE, "content_downloaded", asset_id="b")
    f.fit(MONDAY + 9 * HOUR, ONE)
    identify(f, "visitor-1", ONE, at(2, 14), recorded_at=at(2, 14) + 3000)
    assert [(h.trigger, h.start) for h in f.handoffs()] == [
        (MONDAY + 10 * HOUR + 2 * MINUTE, at(2, 14) + 3000)
    ]


def test_case_22_two_people_on_one_browser() -> None:
    f = Funnel()
    f.fit(lead=ONE)
    f.fit(lead=TWO)
    visit(f, "browser", MONDAY + 10 * HOUR, "content_downloaded", asset_id="a")
    identify(f, "browser", ONE, MONDAY + 11 * HOUR)
    visit(f, "browser", MONDAY + 12 * HOUR, "content_downloaded", asset_id="b")
    identify(f, "browser", TWO, MONDAY + 13 * HOUR)
    visit(f, "browser", MONDAY + 14 * HOUR, "content_downloaded", asset_id="c")
    assert {lead: downloaded(f, lead) for lead in (ONE, TWO)} == {ONE: ["a", "b"], TWO: ["c"]}
    assert f.score(ONE) > f.score(TWO) > 0
    assert (f.row("l:lead-1").target, f.row("l:lead-2").target) == ("", ""), "they are two people"
    assert f.total("persons") == 2
    assert derived_of(f, "a:browser") == State()
    nothing_on_its_way(f)


def test_case_22_the_first_one_comes_to_be_known_later() -> None:
    """In the order of time, not of arrival: the past goes over to whom it belongs."""
    f = Funnel()
    visit(f, "browser", MONDAY + 10 * HOUR, "content_downloaded", asset_id="a")
    identify(f, "browser", TWO, MONDAY + 13 * HOUR)
    assert f.score(TWO) > 0
    identify(f, "browser", ONE, MONDAY + 11 * HOUR)
    assert f.score(TWO) == 0
    assert f.score(ONE) > 0
    nothing_on_its_way(f)


def test_case_22_the_first_one_comes_back_to_the_browser() -> None:
    """From each one's `identified` on what follows is theirs, also from a second one of the same person."""
    f = Funnel()
    for n, lead in enumerate((ONE, TWO)):
        f.fit(MONDAY + 9 * HOUR + n, lead=lead)
    for n, lead in enumerate((ONE, TWO, ONE)):
        identify(f, "browser", lead, MONDAY + (10 + 2 * n) * HOUR)
        visit(f, "browser", MONDAY + (11 + 2 * n) * HOUR, "content_downloaded", asset_id=f"a{n}")
    assert {lead: downloaded(f, lead) for lead in (ONE, TWO)} == {ONE: ["a0", "a2"], TWO: ["a1"]}
    assert f.total("persons") == 2
    # The CRM tells of the same, with times of its own.
    identify(f, "browser", ONE, MONDAY + 14 * HOUR + 20_000, source_system="crm")
    identify(f, "browser", ONE, MONDAY + 14 * HOUR + 3 * MINUTE, source_system="crm")
    assert {lead: downloaded(f, lead) for lead in (ONE, TWO)} == {ONE: ["a0", "a2"], TWO: ["a1"]}
    assert f.topology.counts["outcomes", "duplicate"] == 1
    assert f.stages(ONE).count("known") == 1
    nothing_on_its_way(f)


def test_case_22_and_47_who_came_back_is_forgotten_in_both_times_and_nobody_else() -> None:
    f = Funnel()
    for n, lead in enumerate((ONE, TWO, ONE)):
        f.fit(MONDAY + (9 + 2 * n) * HOUR, lead=lead)
        identify(f, "browser", lead, MONDAY + (9 + 2 * n) * HOUR)
        visit(f, "browser", MONDAY + (10 + 2 * n) * HOUR, "content_downloaded", asset_id=f"a{n}")
    f.say("erased", at(2), {"request_id": "r-1"}, lead=ONE)
    assert {lead: downloaded(f, lead) for lead in (ONE, TWO)} == {ONE: [], TWO: ["a1"]}
    assert [
        e[3] for e in items(f.row("a:browser").ledger, f.row("a:browser").data) if e[3] in ("a0", "a2")
    ] == []
    visit(f, "browser", at(2, 9), "content_downloaded", asset_id="a3")
    assert downloaded(f, TWO) == ["a1"]
    nothing_on_its_way(f)


def test_case_21_and_22_what_follows_a_return_could_be_known_from_then_on() -> None:
    f = Funnel(now=MONDAY)
    f.fit(lead=ONE)
    for n, lead in enumerate((ONE, TWO)):
        identify(f, "browser", lead, MONDAY + (9 + n) * HOUR)
    visit(f, "browser", MONDAY + 12 * HOUR, "event_attended", event_id="w", kind="webinar")
    for n in (1, 2):
        visit(f, "browser", MONDAY + 13 * HOUR + n * MINUTE, "content_downloaded", asset_id=str(n))
    identify(f, "browser", ONE, MONDAY + 11 * HOUR, recorded_at=at(2, 12))
    (h,) = f.handoffs()
    assert h.trigger == MONDAY + 13 * HOUR + 2 * MINUTE
    assert 0 <= h.start - at(2, 12) <= 25 * HOUR // 2048 + 1


def downloaded(f: Funnel, lead: str) -> list[str]:
    return [e[3] for e in effective(f.row(f"l:{lead}")) if e[1] >> 8 & 255 == KIND["content_downloaded"]]


def test_case_22_who_is_told_of_at_every_visit_has_no_row_without_end() -> None:
    """A site that identifies at each login: those that begin nothing are thinned, those that do stay."""
    f = Funnel()
    for n, lead in enumerate((ONE, TWO)):
        f.fit(MONDAY + n, lead=lead)
    for n in range(3):  # the two of them at one desk, in turns
        for m, lead in enumerate((ONE, TWO)):
            identify(f, "browser", lead, at(1 + n, 9 + m))
            visit(f, "browser", at(1 + n, 9 + m, MINUTE), "content_downloaded", asset_id=f"{lead}/{n}")
    for n in range(3 * RETURNS):
        identify(f, "browser", ONE, at(5, 9, n * MINUTE))
        if not n % 20:
            visit(f, "browser", at(5, 9, n * MINUTE + 1), "content_downloaded", asset_id=f"{ONE}/{n + 100}")
    row = f.row("l:lead-1")
    kept = [e for e in items(row.ledger, row.data) if e[1] >> 8 & 255 == KIND["identified"]]
    assert RETURNS // 2 < len(kept) <= RETURNS + 4
    assert {e[0] >> 22 for e in kept} > {
        at(1, 9),
        at(2, 9),
        at(3, 9),
        at(5, 9),
        at(5, 9, (3 * RETURNS - 1) * MINUTE),
    }
    assert downloaded(f, TWO) == [f"{TWO}/{n}" for n in range(3)]
    assert downloaded(f, ONE) == [f"{ONE}/{n}" for n in (0, 1, 2, *range(100, 100 + 3 * RETURNS, 20))]
    identify(f, "browser", TWO, at(6, 9))
    visit(f, "browser", at(6, 10), "content_downloaded", asset_id=f"{TWO}/6")
    assert downloaded(f, TWO)[-1] == f"{TWO}/6"
    assert f.total("persons") == 2
    nothing_on_its_way(f)


def test_case_23_a_recycled_email_has_no_effect() -> None:
    f = Funnel()
    f.fit(lead=ONE)
    f.say("attributes_changed", MONDAY + 10 * HOUR, {"fields": {"email_hash": "h-1"}}, lead=ONE)
    before = encode(f.row("l:lead-1"))
    f.fit(MONDAY + 11 * HOUR, lead=TWO)
    f.say("attributes_changed", MONDAY + 12 * HOUR, {"fields": {"email_hash": "h-1"}}, lead=TWO)
    assert encode(f.row("l:lead-1")) == before
    assert below(f, ONE) == below(f, TWO) == []
    assert f.total("persons") == 2
    nothing_on_its_way(f)


def test_case_24_another_company_ends_the_journey_and_keeps_the_person() -> None:
    f = Funnel()
    f.fit()
    f.say("account_matched", MONDAY + 9 * HOUR + MINUTE, {"account_id": "account-1", "rule": "domain"})
    f.hot()
    assert f.handoffs()[0].outcome == OPEN
    f.say("account_matched", MONDAY + 11 * HOUR, {"account_id": "account-2", "rule": "domain"})
    old, new = f.head().journeys
    assert f.stages()[4:6] == ["moved", "known"]
    assert old.exited
    assert not new.exited
    (h,) = old.handoffs
    assert (h.outcome, h.reason, h.ended) == (WITHDRAWN, "moved", MONDAY + 11 * HOUR)
    assert f.head().account == "account-2"
    assert f.head().created == MONDAY + 9 * HOUR, "the person is the same"
    assert f.score() > 0
    assert f.total("persons") == 1
    f.say("account_matched", MONDAY + 12 * HOUR, {"account_id": "account-2", "rule": "crm"})
    assert len(f.head().journeys) == 2
