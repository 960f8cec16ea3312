"""show and handoffs: what people are told of a lead, from a file folded offline."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from processors.definition.load import load
from streams.cli.times import ago, local, span, zone_named
from streams.definitions import default_text
from streams.errors import WorkerError
from streams.inspection import Subject
from streams.replay import Replayed, replay
from streams.settings import Settings
from streams.state_reader import loaded
from tests.inspect_world import (
    ACCEPTED,
    DAY,
    DEAL,
    HANDED,
    HOUR,
    KNOWN,
    MONDAY,
    TOUCHED,
    WON,
    Run,
    Show,
    event,
    ms,
    page,
    runner,
    shower,
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(tmp_path, monkeypatch)


@pytest.fixture
def show(run: Run) -> Show:
    return shower(run)


# -- show -------------------------------------------------------------------------------------------------------------


def test_a_lead_that_waits_for_sales(show: Show) -> None:
    found = show(HANDED, "show", "lead-1")
    assert (found["stage"], found["high_water"], found["journey"]) == ("mql", "mql", 1)
    assert found["since_at"] == MONDAY + HOUR
    assert found["qualified"] is True
    assert (found["engagement_milli"], found["fit_milli"], found["grade"]) == (39_000, 53_000, "C")
    assert (found["segment"], found["source"]) == ("small_business", "email")
    h = found["open_handoff"]
    assert (h["team"], h["owner"], h["outcome"]) == ("sales", "owner-1", "open")
    assert h["first_touch"] == {"due_at": MONDAY + 5 * HOUR, "done_at": None, "breached_at": None}
    assert h["admitting_rule"] == "hand-raise"
    assert found["next_timer"] == {"at": MONDAY + 5 * HOUR + 120_000, "what": "first touch is overdue"}
    assert found["event_count"] == 4


def test_time_goes_on_without_events(show: Show) -> None:
    late = show(HANDED, "show", "lead-1", "--as-of", "2026-11-16T15:00:00Z")
    assert late["open_handoff"]["first_touch"]["breached_at"] == MONDAY + 5 * HOUR
    ended = show(HANDED, "show", "lead-1", "--as-of", "2026-12-01T00:00:00Z")
    assert ended["open_handoff"] is None
    assert ended["stage"] == "expired"
    assert ended["high_water"] == "mql"
    assert ended["journeys"][0]["handoffs"][0]["outcome"] == "expired"


def test_implied_stages_a_deal_and_what_it_brought(show: Show) -> None:
    found = show(WON, "show", "lead-1")
    entries = {e["stage"]: e for e in found["journeys"][0]["entries"]}
    assert list(entries) == ["anonymous", "known", "engaged", "mql", "sal", "sql", "opportunity", "won"]
    assert [name for name, e in entries.items() if e["implied"]] == ["anonymous", "sql"]
    assert entries["sal"]["left_at"] == entries["sql"]["entered_at"] == MONDAY + DAY
    assert found["deals"] == [
        {
            "deal_id": "deal-1", "journey": 1, "status": "won", "amount_minor": 120_050, "currency": "EUR",
            "opened_at": MONDAY + DAY, "closed_at": MONDAY + 3 * DAY,
        }
    ]  # fmt: skip


def test_a_deal_that_nobody_opened_implies_all_before(show: Show) -> None:
    linked = event("lead_linked", MONDAY, {"lead_id": "lead-1"}, **DEAL)
    won = event("won", MONDAY, {"amount": 0, "currency": "BRL"}, **DEAL)
    found = show([linked, won], "show", "lead-1")
    assert [e["stage"] for e in found["journeys"][0]["entries"] if not e["implied"]] == ["won"]
    assert found["deals"][0]["status"] == "won"


def test_a_refused_move_says_its_rule(show: Show) -> None:
    back = event("stage_reported", MONDAY + 4 * HOUR, {"stage": "known"})
    (mark,) = show([*ACCEPTED, back], "show", "lead-1")["journeys"][0]["marks"]
    assert mark == {
        "at": MONDAY + 4 * HOUR,
        "kind": "refused",
        "stage": "known",
        "rule": "backward moves are refused",
    }


def test_history_says_so(show: Show) -> None:
    found = show([e | {"backfill": True} for e in HANDED[1:]], "show", "lead-1")
    assert all(e["backfill"] for e in found["journeys"][0]["entries"])
    assert found["open_handoff"]["silent"] is True


def test_a_deal_and_its_leads(show: Show) -> None:
    found = show(WON, "show", "deal-1", "--kind", "deal")
    assert (found["status"], found["amount_minor"], found["currency"]) == ("won", 120_050, "EUR")
    assert found["leads"] == [{"lead_id": "lead-1", "weight": "1"}]
    assert [(e["type"], e["offset"]) for e in found["events"]] == [("opened", 8), ("won", 9)]


def test_a_visitor_nobody_knows_yet(show: Show) -> None:
    visit = page(MONDAY, subject={"anonymous_id": "visitor-1"})
    found = show([visit], "show", "visitor-1", "--kind", "anonymous")
    assert (found["stage"], found["engagement_milli"]) == ("anonymous", 9_000)
    missing = show([visit], "explain", "visitor-1", "--kind", "anonymous")["missing"]
    assert missing[0].startswith("it is an anonymous visitor")


def test_an_account_shows_its_events(show: Show) -> None:
    signed = event("delivery_accepted", MONDAY, subject={"account_id": "account-1"})
    found = show([signed], "show", "account-1", "--kind", "account")
    assert [e["type"] for e in found["events"]] == ["delivery_accepted"]


ACCOUNT = {"subject": {"account_id": "account-1"}}
TERMS = {
    "contract_id": "c-1",
    "starts": "2026-11-20",
    "ends": "2027-11-19",
    "amount": 120_050,
    "currency": "EUR",
    "notice_days": 30,
}
BOUGHT = [
    *ACCEPTED,
    event(
        "opened", MONDAY + DAY,
        {"account_id": "account-1", "leads": [{"lead_id": "lead-1"}], "amount": 150_000, "currency": "EUR",
         "pipeline": "new", "stage": "offer"},
        **DEAL,
    ),
    event("won", MONDAY + 3 * DAY, {"amount": 120_050, "currency": "EUR"}, **DEAL),
    event("contract_signed", MONDAY + 4 * DAY, TERMS, **ACCOUNT),
    event("onboarding_started", MONDAY + 5 * DAY, **ACCOUNT),
    event("invoice_paid", MONDAY + 6 * DAY, {"amount": 1_999, "currency": "JPY"}, **ACCOUNT),
]  # fmt: skip


def test_an_account_shows_where_the_customer_stands(show: Show, run: Run) -> None:
    at_ = ("--as-of", "2026-11-23T09:00:00Z")
    found = show(BOUGHT, "show", "account-1", "--kind", "account", *at_)
    assert (found["status"], found["since_at"]) == ("onboarding", MONDAY + 5 * DAY)
    assert found["customer_since_at"] == MONDAY + 3 * DAY
    assert found["paid"] == {"JPY": 1_999}
    assert found["contracts"] == [
        {
            "contract_id": "c-1", "term": 1, "starts": "2026-11-20", "ends": "2027-11-19", "amount_minor": 120_050,
            "currency": "EUR", "renewal_due_at": ms("2027-10-20T00:00:00"), "state": "running",
        }
    ]  # fmt: skip
    assert [(d["deal_id"], d["status"], d["amount_minor"]) for d in found["deals"]] == [
        ("deal-1", "won", 120_050)
    ]
    text = run(BOUGHT, "show", "account-1", "--kind", "account", *at_).stdout
    assert "status    onboarding, since Sat 2026-11-21 09:00 UTC" in text
    assert "paid      1,999 JPY" in text
    later = show(BOUGHT, "show", "account-1", "-k", "account", "--as-of", "2027-10-20T00:00:00Z")
    assert (later["status"], later["contracts"][0]["state"]) == ("renewal_due", "renewal_due")
    gone = event("churned", MONDAY + 7 * DAY, {"reason_code": "price"}, **ACCOUNT)
    text = run(
        [*BOUGHT, gone], "show", "account-1", "-k", "account", "--as-of", "2026-11-24T00:00:00Z"
    ).stdout
    assert "status    churned" in text
    assert "left      last time for price" in text


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("explain", "lead-1"), "deal won: deal-1, 1,200.50 EUR, Thu 2026-11-19 09:00 UTC"),
        (("show", "deal-1", "-k", "deal"), "opened: account-1, lead-1, 1,500.00 EUR, new, offer"),
        (
            ("show", "account-1", "-k", "account"),
            "deal won: deal-1, 1,200.50 EUR, Thu 2026-11-19 09:00 UTC, new, lead-1",
        ),
        (("show", "account-1", "-k", "account"), "invoice paid: 1,999 JPY"),
    ],
)
def test_stories_tell_amounts_as_money_and_instants_in_the_zone(
    run: Run, asked: tuple[str, ...], says: str
) -> None:
    text = run(BOUGHT, *asked, "--as-of", "2026-11-23T09:00:00Z").stdout
    assert says in " ".join(text.split())
    assert "120050" not in text
    assert str(MONDAY + 3 * DAY) not in text


def test_words_times_and_zones(run: Run) -> None:
    text = run(WON, "show", "lead-1", "--zone", "Europe/Vienna").stdout
    assert "lead lead-1   as of Thu 2026-11-19 10:00 CET, definition default@1" in text
    assert "won, since Thu 2026-11-19 10:00 CET, journey 1" in text
    assert "by implication" in text
    assert "1,200.50 EUR" in text
    assert "accepted (Mon 2026-11-16 13:00 CET)" in text
    waiting = run(HANDED, "show", "lead-1").stdout
    assert "owner-1 of sales: first touch by Mon 2026-11-16 14:00 UTC (in 4 h)" in waiting


@pytest.mark.parametrize(
    "command", [("show", "lead-1"), ("explain", "lead-1"), ("queue",), ("handoffs", "list")]
)
def test_lines_that_were_not_taken_are_told(run: Run, command: tuple[str, ...]) -> None:
    result = run([*HANDED, page(1)], *command)
    assert result.exit_code == 0
    assert "1 lines refused" in result.stderr
    assert "e.ndjson:6: occurred_at: found 1; " in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("show", "lead-9"), 1, "no lead 'lead-9'"),
        (("show", "deal-1"), 1, "there is one of --kind deal"),
        (("show", "lead-1", "--kind", "person"), 2, "lead, anonymous, deal, account"),
        (("show", "lead-1", "--zone", "Mars/Olympus"), 2, "no such time zone"),
        (("explain", "lead-1", "--as-of", "soon"), 2, "--as-of"),
    ],
)
def test_mistakes_are_one_line(run: Run, arguments: tuple[str, ...], code: int, says: str) -> None:
    result = run(WON, *arguments)
    assert result.exit_code == code
    assert says in result.stderr
    assert "Traceback" not in result.output


# -- handoffs ---------------------------------------------------------------------------------------------------------


def other(lead: str, events: list[dict[str, Any]], later: int = 0) -> list[dict[str, Any]]:
    """The same story, of another lead."""
    return [
        e | {"subject": {"lead_id": lead}, "occurred_at": e["occurred_at"] + later,
             "source_event_id": f"{e['source_event_id']}/{lead}"}
        for e in events if e["subject"] is not None
    ]  # fmt: skip


THREE = [*HANDED, *other("lead-2", TOUCHED, HOUR), *other("lead-3", ACCEPTED)]


def test_open_handoffs_overdue_first(run: Run, show: Show) -> None:
    at = ("--as-of", "2026-11-16T16:00:00Z")
    found = show(THREE, "handoffs", "list", "--open", *at)
    assert [(h["lead_id"], h["overdue"]) for h in found] == [("lead-1", True), ("lead-2", False)]
    everything = show(THREE, "handoffs", "list", *at)
    assert [h["lead_id"] for h in everything] == ["lead-1", "lead-2", "lead-3"]
    result = run(THREE, "handoffs", "list", "--open", *at)
    assert "OVERDUE  lead-1" in result.stdout
    assert "first touch 2 h ago" in result.stdout
    assert "2 handoffs, 2 open, 1 overdue, as of Mon 2026-11-16 16:00 UTC" in result.stderr


def test_only_of_a_team_or_an_owner(show: Show) -> None:
    assert len(show(THREE, "handoffs", "list", "--owner", "owner-1")) == 3
    assert show(THREE, "handoffs", "list", "--owner", "owner-2") == []
    assert show(THREE, "handoffs", "list", "--team", "elsewhere") == []


def test_what_was_imported_waits_for_nobody(run: Run) -> None:
    result = run([e | {"backfill": True} for e in HANDED[1:]], "handoffs", "list", "--open")
    assert "lead-1" not in result.stdout
    assert "1 imported without an answer call nobody" in result.stderr


# -- instants ---------------------------------------------------------------------------------------------------------


def folded(events: Iterable[dict[str, Any]], as_of: int | None = None) -> Replayed:
    lines = [json.dumps(e).encode() for e in events]
    definition = replace(load(default_text(), origin="default.toml"), effective_at=0)
    return replay(Settings(), definition, lambda: lines, as_of=as_of)


def subject(done: Replayed, as_of: int, key: str = "l:lead-1") -> Subject:
    (row,) = [row for name, row in loaded(done.rows()) if name == key]
    return Subject(done.topology, key, row, as_of)


@pytest.mark.parametrize("hours", [0, 1, 2, 3, 5, 24, 80, 2000])
def test_any_instant_is_shown_as_it_stood_then(hours: int) -> None:
    """Before the row's last fold, at it and after it: as if the events had ended there."""
    at = MONDAY + hours * HOUR
    then, now = folded(WON, at), folded(WON)
    assert subject(now, at).show() == subject(then, at).show()
    assert subject(now, at).why() == subject(then, at).why()


@pytest.fixture(scope="module")
def long() -> Replayed:
    """More events than a row keeps one by one."""
    return folded([*KNOWN, *(page(MONDAY + 9 * n * HOUR, f"page-{n}") for n in range(1, 900))])


def test_a_long_history_still_adds_up(long: Replayed) -> None:
    found = subject(long, long.as_of).why()
    assert found["score_rows_sum_milli"] == found["engagement_milli"] > 0
    assert found["story"][-1]["engagement_milli"] == found["engagement_milli"]
    assert len(found["story"]) < 900


def test_what_is_kept_as_a_sum_cannot_be_told_apart(long: Replayed) -> None:
    with pytest.raises(WorkerError, match="ask for an instant after that"):
        subject(long, MONDAY + DAY)


# -- times ------------------------------------------------------------------------------------------------------------


def test_times_are_local_with_their_zone() -> None:
    assert local(MONDAY, zone_named("America/New_York")) == "Mon 2026-11-16 04:00 EST"
    assert local(1 << 62, zone_named("UTC")) == "never"


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (0, "less than a minute"),
        (35 * 60_000, "35 min"),
        (DAY + 2 * HOUR + 60_000, "1 d 2 h"),
        (2 * HOUR, "2 h"),
    ],
)
def test_spans_have_two_units_at_most(length: int, said: str) -> None:
    assert span(length) == said
    assert ago(MONDAY + length, MONDAY) == f"in {said}"
    if length:
        assert ago(MONDAY - length, MONDAY) == f"{said} ago"


MERGED = [
    *HANDED,
    page(MONDAY + 1, subject={"anonymous_id": "visitor-1"}),
    event("identified", MONDAY + 2 * HOUR, {"anonymous_id": "visitor-1", "lead_id": "lead-1"}),
    event("created", MONDAY, {"source": "fair"}, subject={"lead_id": "lead-2"}, source_event_id="other"),
    event(
        "merged", MONDAY + 3 * HOUR, {"loser": "lead-1", "winner": "lead-2"}, subject={"lead_id": "lead-2"}
    ),
]


def test_who_turned_out_to_be_whom(show: Show, run: Run) -> None:
    winner, loser = show(MERGED, "show", "lead-2"), show(MERGED, "show", "lead-1")
    assert (winner["aliases"], winner["merged_into"]) == (["anonymous visitor-1", "lead lead-1"], None)
    assert (winner["stage"], winner["open_handoff"]["attempt"]) == ("mql", 1)
    assert (loser["stage"], loser["merged_into"], loser["aliases"]) == (
        None,
        "lead-2",
        ["anonymous visitor-1"],
    )
    told = run(MERGED, "show", "lead-1").output
    assert "into lead-2" in told
    for command in ("show", "explain"):
        told = run(MERGED, command, "lead-1").stdout.splitlines()
        assert told[0] == "lead lead-1 was merged into lead-2, who is shown instead"
        assert told[1:] == run(MERGED, command, "lead-2").stdout.splitlines()
    told = run(MERGED, "show", "visitor-1", "--kind", "anonymous").stdout.splitlines()
    assert told[0].startswith("anonymous visitor-1 was merged into lead-1")
    assert told[1].startswith("lead lead-1 was merged into lead-2")
    assert "anonymous visitor-1, lead lead-1" in run(MERGED, "show", "lead-2").output
