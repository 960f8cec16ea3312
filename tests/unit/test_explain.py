"""explain: why a lead stands where it stands, from a file folded offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.inspect_world import (
    ACCEPTED,
    DAY,
    HANDED,
    HOUR,
    KNOWN,
    MONDAY,
    TOUCHED,
    WON,
    Run,
    Show,
    event,
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


def test_the_rows_of_a_score_are_the_score(show: Show) -> None:
    visits = [page(MONDAY + n * 60_000, f"page-{n}") for n in range(2, 9)]
    careers = page(MONDAY + 4 * DAY, "careers")
    found = show([*HANDED, *visits, careers], "explain", "lead-1", "--as-of", "2026-12-20T00:00:00Z")
    rows = found["score_rows"]
    assert sum(r["points_milli"] for r in rows) == found["score_rows_sum_milli"] == found["engagement_milli"]
    by_rule = {(r["rule"], r["why"]): r for r in rows}
    # 30 points, 34 days old, by half every 30 days
    assert by_rule["hand raised", "scored"]["points_milli"] == 13_675
    assert by_rule["hand raised", "scored"]["offset"] == 5
    assert by_rule["hand raised", "scored"]["topic"] == "engagement.events.v1"
    assert by_rule["careers page", "scored"]["points_milli"] == -15_000


def test_reclassified_clicks_leave_the_score_and_its_rows(show: Show) -> None:
    click = event("email_clicked", MONDAY + 2 * HOUR, {"send_id": "send-1", "agent": "human"})
    robot = event("engagement_reclassified", MONDAY + DAY, {"of": click["source_event_id"], "agent": "bot"})
    before = show([*KNOWN, click], "explain", "lead-1")
    after = show([*KNOWN, click, robot], "explain", "lead-1", "--as-of", "2026-11-16T23:59:00Z")
    gone = show([*KNOWN, click, robot], "explain", "lead-1")
    assert before["engagement_milli"] == after["engagement_milli"] == 12_000
    assert "e-mail clicked" in {r["rule"] for r in before["score_rows"]}
    assert {r["rule"] for r in gone["score_rows"]} == {"pricing page", "page view"}
    assert gone["score_rows_sum_milli"] == gone["engagement_milli"]


def test_the_story_tells_each_fact_and_where_it_lies(show: Show) -> None:
    story = show(WON, "explain", "lead-1")["story"]
    assert [line["type"] for line in story][:5] == [
        "created", "attributes_changed", "page_viewed", "form_submitted", "touched",
    ]  # fmt: skip
    assert [line["stage"] for line in story] == [
        "known", "known", "known", "mql", "mql", "sal", "opportunity", "won",
    ]  # fmt: skip
    assert [line["offset"] for line in story] == [2, 3, 4, 5, 6, 7, 8, 9]
    assert story[3]["handoffs"] == 1
    assert story[-1]["topic"] == "deal.events.v1"


def test_which_rule_let_the_lead_through(show: Show) -> None:
    (call,) = show(HANDED, "explain", "lead-1")["admitted"]
    assert (call["rule"], call["hand_raised"], call["at"]) == ("hand-raise", True, MONDAY + HOUR)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (
            [],
            "suffices (53 of 50) and 31 more points of engagement (9 of 40); or a raised hand in the last 30 days",
        ),
        ([event("attributes_changed", MONDAY + HOUR, {"fields": {"role": "intern"}})], "more points of fit"),
        (
            [event("attributes_changed", MONDAY + HOUR, {"fields": {"relationship": "competitor"}})],
            "ruled out as long as this holds: not a customer to be",
        ),
        ([event("disqualified", MONDAY + HOUR, {"reason_code": "spam"})], "it was disqualified"),
        (
            [event("consent_changed", MONDAY + HOUR, {"purpose": "sales_contact", "granted": False})],
            "does not want to be contacted by sales",
        ),
    ],
)
def test_what_is_missing_to_qualify(show: Show, more: list[dict[str, Any]], says: str) -> None:
    found = show([*KNOWN, *more], "explain", "lead-1")
    assert found["qualified"] is False
    assert says in "; ".join(found["missing"])


def test_gates_that_are_not_passed(run: Run, tmp_path: Path) -> None:
    gate = 'name = "gated"\nversion = 1\n[thresholds]\ngates = ["budget", "need"]\n'
    (tmp_path / "gated.toml").write_text(gate, encoding="utf-8")
    answered = event("attributes_changed", MONDAY + HOUR, {"fields": {"budget": "no"}})
    text = run([*HANDED, answered], "explain", "lead-1", "--definition", "gated.toml").stdout
    assert "budget must be known and positive; it is 'no'" in text
    assert "need must be known and positive; it is not known" in text


def test_a_qualified_lead_lacks_nothing_and_one_that_sales_works_on_neither(show: Show) -> None:
    assert show(HANDED, "explain", "lead-1")["missing"] == []
    assert show(ACCEPTED, "explain", "lead-1")["missing"] == []


def test_after_a_rejection_it_says_until_when(show: Show) -> None:
    rejected = event("rejected", MONDAY + 3 * HOUR, {"reason_code": "timing"})
    found = show([*TOUCHED, rejected], "explain", "lead-1")
    assert "sales has sent it back until 2027-02-14" in "; ".join(found["missing"])


def test_who_is_armed_again_is_told_only_what_still_lacks(show: Show) -> None:
    later = MONDAY + 100 * DAY
    again = [
        event("rejected", MONDAY + 3 * HOUR, {"reason_code": "timing"}),
        event("attributes_changed", later, {"fields": {"role": "intern"}}),
        *(event("content_downloaded", later + n, {"asset_id": f"a{n}"}) for n in (1, 2)),
        event("event_attended", later + 3, {"event_id": "w", "kind": "webinar"}),
    ]
    past = [e | {"occurred_at": e["occurred_at"] - 120 * DAY} for e in (*TOUCHED, *again)]  # none lies ahead
    (lacks,) = show(past, "explain", "lead-1")["missing"]
    assert lacks.startswith("it takes either")
    assert "more points of fit" in lacks


def test_after_an_answer_the_score_has_to_reach_the_threshold_anew(show: Show) -> None:
    """What explain asks for is what brings the lead back: below 40 and up to 40 again; it need not fall below 25."""
    back = event("rejected", MONDAY + 3 * HOUR, {"reason_code": "unreachable"})
    read = event("content_downloaded", MONDAY + 10 * DAY, {"asset_id": "paper"})
    busy = [event("content_downloaded", MONDAY + 29 * DAY + n, {"asset_id": f"paper-{n}"}) for n in range(2)]
    found = show([*TOUCHED, back, read, *busy], "explain", "lead-1", "--as-of", "2026-12-17T00:00:00Z")
    assert found["engagement_milli"] >= 40_000
    assert found["missing"] == [
        "sales has answered: it takes a newer raised hand, or engagement that falls below 40 and then reaches it again"
    ]
    again = [page(MONDAY + days * DAY, path) for days, path in ((40, "x"), (41, "pricing"))]
    shown = show([*TOUCHED, back, read, *busy, *again], "show", "lead-1", "--as-of", "2026-12-28T00:00:00Z")
    assert [h["attempt"] for j in shown["journeys"] for h in j["handoffs"]] == [1, 1]


def test_explain_says_what_made_it_qualified(run: Run, show: Show) -> None:
    assert (
        "Qualified: it raised its hand, and has 53 points of fit (at least 20)."
        in run(HANDED, "explain", "lead-1").stdout
    )
    active = [*HANDED, event("content_downloaded", MONDAY + 2 * HOUR, {"asset_id": "a"})]
    found = show(active, "explain", "lead-1")
    assert found["ground"][1:] == ["it has 53 points of fit (at least 50) and 51 of engagement (at least 40)"]
    assert show(KNOWN, "explain", "lead-1")["ground"] == []
    named = {"handoff_id": found["admitted"][0]["handoff_id"], "reason": "on holiday"}
    waits = event("sla_paused", MONDAY + 3 * HOUR, named)
    faded = show([*active, waits], "explain", "lead-1", "--as-of", "2026-12-16T10:30:00Z")
    assert faded["ground"] == ["it was when it was judged, and its engagement of 25.226 is not below 25"]


def test_stories_do_not_tell_identities_of_clicks(run: Run) -> None:
    clicked = event(
        "email_clicked", MONDAY + HOUR, {"send_id": "s-1", "url": "https://x.org/a", "agent": "human"}
    )
    text = run([*KNOWN, clicked], "explain", "lead-1").stdout
    assert "e-mail clicked: s-1, x.org/a " in text


def test_explain_in_words(run: Run) -> None:
    text = run(HANDED, "explain", "lead-1").stdout
    assert "handoff 1.1 on Mon 2026-11-16 10:00 UTC was let through by a raised hand" in text
    assert "39 in sum, which is the score" in text
    assert "e.ndjson:5" in text
    assert "→ mql, handed over" in text
