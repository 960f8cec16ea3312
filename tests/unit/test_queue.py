"""Who to call next, and why: the queue through the driver, and the command on a file of events."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from processors.definition.model import DAY, HOUR, MINUTE
from streams.cli import build
from streams.cli.console import instant
from streams.clock import FixedClock, ScaledClock
from streams.inspection import View
from streams.queue import owners, queue, teams
from streams.state_reader import loaded
from streams.win_model import AFTER_MS, published, seconds_left, snapshot
from tests.strategies import at
from tests.world import MONDAY, Funnel, variant

MODEL: dict[str, Any] = {
    "won": 5,
    "lost": 5,
    "currency": "EUR",
    "median_won_minor": 100_000,
    "median_won_by_segment": {"enterprise": 1_000_000},
    "features": {
        "source": {"webinar": [5, 5]},
        "segment": {"enterprise": [3, 2], "small_business": [2, 3]},
        "fit_grade": {"C": [5, 5]},
        "stage": {"mql": [5, 5]},
        "hand_raise": {"yes": [4, 1], "no": [1, 4]},
    },
}
OWNERS = ({"owner": "owner-1", "team": "sales", "active": True},)


def line(f: Funnel, as_of: int | None = None) -> list[View]:
    return queue(f.topology, loaded(f.driver.all_rows()), f.now if as_of is None else as_of)


def leads(found: list[View]) -> list[str]:
    return [h["lead_id"] for h in found]


def modelled(**world: Any) -> Funnel:
    f = Funnel(owners=OWNERS, **world)
    f.learn("win_model_published", MONDAY, as_of=MONDAY, counts=json.dumps(MODEL))
    return f


def raising(f: Funnel, lead: str, t: int, **fields: Any) -> None:
    f.fit(t, lead, **fields)
    f.raise_hand(t, lead=lead)


def test_the_most_promising_comes_first_then_the_earlier_deadline_then_the_older() -> None:
    f = modelled()
    raising(f, "lead-early", at(1, 9))
    raising(f, "lead-same-day", at(1, 10))
    raising(f, "lead-large", at(1, 11), company_size=5000)
    f.fit(at(1, 11), "lead-cool")
    f.hot(at(1, 11), "lead-cool")  # engaged, and has asked for nothing
    found = line(f)
    assert leads(found) == ["lead-large", "lead-early", "lead-same-day", "lead-cool"]
    assert [h["place"] for h in found] == [1, 2, 3, 4]
    assert found[0]["expected_minor"] == 1_000_000
    assert found[1]["priority_minor"] == found[2]["priority_minor"] > found[3]["priority_minor"] > 0


def test_an_entry_says_why_until_when_and_for_whom() -> None:
    f = modelled()
    raising(f, "lead-1", at(1, 16))
    f.say("page_viewed", at(1, 16, MINUTE), {"url": "https://example.com/pricing"})
    (h,) = line(f, at(1, 16, 30 * MINUTE))
    assert (h["owner"], h["team"], h["lead_id"]) == ("owner-1", "sales", "lead-1")
    assert h["hand_raised"]
    assert h["raised_at"] == at(1, 16)
    assert [r["rule"] for r in h["reasons"]] == ["hand raised", "pricing page", "page view"]
    assert h["reasons"][0]["points_milli"] == 30_000
    # Four business hours from 16:00 end at 12:00 on the next day: half an hour is gone.
    assert h["next"] == {
        "clock": "first_touch",
        "due_at": at(2, 12),
        "wall_ms": 19 * HOUR + 30 * MINUTE,
        "business_ms": 3 * HOUR + 30 * MINUTE,
    }
    assert not h["breached"]
    (late,) = line(f, at(2, 13))
    assert late["breached"]
    assert (late["next"]["wall_ms"], late["next"]["business_ms"]) == (-HOUR, -HOUR)


def test_who_was_touched_waits_for_the_decision_and_who_was_answered_not_at_all() -> None:
    f = modelled()
    raising(f, "lead-1", at(1, 9))
    raising(f, "lead-2", at(1, 9))
    f.say("touched", at(1, 10), {"channel": "phone", "kind": "call"})
    f.say("accepted", at(1, 10), lead="lead-2")
    (h,) = line(f)
    assert (h["lead_id"], h["next"]["clock"]) == ("lead-1", "decision")


def test_a_paused_one_comes_last_and_an_imported_one_never() -> None:
    f = modelled()
    raising(f, "lead-1", at(1, 9), company_size=5000)
    raising(f, "lead-2", at(1, 10))
    named = {"handoff_id": f.handoffs()[0].id, "reason": "asked to be called next week"}
    f.say("sla_paused", at(1, 11), named)
    for type_, payload in (
        ("created", {"source": "webinar", "generated_by": "marketing"}),
        ("attributes_changed", {"fields": {"role": "director", "company_size": 50}}),
        ("form_submitted", {"form_id": "contact", "intent": "hand_raise"}),
    ):
        f.say(type_, at(1, 11), payload, lead="lead-3", backfill=True)
    assert len(f.handoffs("lead-3")) == 1
    found = line(f)
    assert leads(found) == ["lead-2", "lead-1"]
    assert found[1]["next"] is None


def test_a_call_that_the_flood_guard_holds_back_waits_for_nobody_until_it_is_released() -> None:
    f = Funnel(variant("[policy]\nflood_min = 1\n"), owners=OWNERS)
    raising(f, "lead-1", at(1, 9))
    raising(f, "lead-2", at(1, 9))
    assert leads(line(f)) == ["lead-1"]
    (h,) = f.handoffs("lead-2")
    f.say("handoff_released", at(1, 12), {"handoff_id": h.id}, lead="lead-2")
    assert leads(line(f)) == ["lead-1", "lead-2"]
    assert line(f)[1]["age_ms"] == 0


def test_an_alias_waits_under_the_name_of_its_winner() -> None:
    f = modelled()
    raising(f, "lead-1", at(1, 9))
    f.fit(at(1, 10), "lead-2")
    f.say("merged", at(1, 12), {"loser": "lead-1", "winner": "lead-2"}, lead="lead-2")
    assert leads(line(f)) == ["lead-2"]


def test_without_a_model_the_deadline_decides_and_then_the_score() -> None:
    f = Funnel(owners=OWNERS)
    raising(f, "lead-sooner", at(1, 9))
    raising(f, "lead-later", at(1, 10))
    raising(f, "lead-warmer", at(1, 10))
    f.say("page_viewed", at(1, 10, MINUTE), {"url": "https://example.com/pricing"}, lead="lead-warmer")
    found = line(f)
    assert leads(found) == ["lead-sooner", "lead-warmer", "lead-later"]
    assert {h["priority_minor"] for h in found} == {None}


def test_who_was_called_before_the_first_model_comes_behind_those_with_a_priority() -> None:
    f = Funnel(owners=OWNERS)
    raising(f, "lead-before", at(1, 9), company_size=5000)
    f.learn("win_model_published", at(1, 10), as_of=at(1), counts=json.dumps(MODEL))
    raising(f, "lead-after", at(1, 11))
    assert leads(line(f)) == ["lead-after", "lead-before"]


def test_known_teams_and_owners_are_those_of_definition_people_and_handoffs() -> None:
    definition = variant(
        'default_team = "inside"\n[[routing]]\nname = "big"\nteam = "field"\nwhen = { company_size = { min = 1000 } }\n'
    )
    f = Funnel(definition, owners=OWNERS)
    raising(f, "lead-1", at(1, 9))
    f.say("assigned", at(1, 10), {"owner": "owner-9", "team": "partners"})
    found = line(f)
    assert teams(f.topology, found, f.now) == ["field", "inside", "partners", "sales"]
    assert owners(f.topology.reference, found, f.now) == ["owner-1", "owner-9"]


# The snapshot of a day --------------------------------------------------------------------------------------------


def win(f: Funnel, lead: str, t: int, how: str = "won") -> None:
    raising(f, lead, t)
    f.say("accepted", t + HOUR, lead=lead)
    payload = {
        "leads": [{"lead_id": lead}],
        "amount": 50_000,
        "currency": "EUR",
        "pipeline": "new",
        "stage": "s",
    }
    f.say("opened", t + 2 * HOUR, payload, deal=f"deal-of-{lead}")
    closing = {"amount": 50_000, "currency": "EUR"} if how == "won" else {"reason_code": "price"}
    f.say(how, t + 3 * HOUR, closing, deal=f"deal-of-{lead}")


def test_a_snapshot_is_as_of_the_start_of_its_day_and_made_once() -> None:
    f = Funnel(owners=OWNERS)
    win(f, "lead-1", at(1, 9))
    win(f, "lead-2", at(2, 9), "lost")
    win(f, "lead-3", at(3, 1))  # on the day itself: it belongs to tomorrow's
    made = snapshot(f.topology, loaded(f.driver.all_rows()), at(3, 5))
    assert (made.as_of, made.counts["won"], made.counts["lost"]) == (at(3), 1, 1)
    again = snapshot(f.topology, loaded(f.driver.all_rows()), at(3, 23))
    assert again == made
    event = made.event(at(3, 5))
    assert event["source_event_id"] == "win-model/" + again.event(at(3, 23))["source_event_id"][-10:]
    assert published(f.topology, at(3, 5)) is None
    f.learn("win_model_published", at(3, 5), **event["payload"])
    assert published(f.topology, at(3, 6)) is not None
    assert published(f.topology, at(4)) is None


def test_a_service_waits_until_a_little_after_midnight() -> None:
    f = Funnel()
    assert seconds_left(f.topology, FixedClock(at(1, 23))) == (HOUR + AFTER_MS) / 1000
    assert seconds_left(f.topology, FixedClock(at(2))) == (DAY + AFTER_MS) / 1000
    zoned = Funnel(variant('time_zone = "America/New_York"\n'))
    night = FixedClock(at(2, 4))  # in winter it is 23:00 there
    assert seconds_left(zoned.topology, night) == (HOUR + AFTER_MS) / 1000
    fast = ScaledClock(at(1), time.time_ns() // 1_000_000, Fraction(600))
    assert 140 < seconds_left(f.topology, fast) <= (DAY + AFTER_MS) / 600_000


# The command ------------------------------------------------------------------------------------------------------

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line in a directory with ``e.ndjson``."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("LEADSTREAM_"):
            monkeypatch.delenv(name)
    events = [event(1, "owner_changed", MONDAY - DAY, OWNERS[0])]
    for n, size in enumerate((50, 5000)):
        lead = {"lead_id": f"lead-{n}"}
        t = MONDAY + 9 * HOUR + n * MINUTE
        fields = {"role": "director", "company": "c", "company_size": size}
        events += [
            event(n, "created", t, {"source": "webinar", "generated_by": "marketing"}, lead),
            event(n, "attributes_changed", t, {"fields": fields}, lead),
            event(n, "form_submitted", t, {"form_id": "f", "intent": "hand_raise"}, lead),
        ]
    (tmp_path / "e.ndjson").write_text("".join(json.dumps(e) + "\n" for e in events))

    def invoke(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(build(), list(arguments), env={"COLUMNS": "300"})
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return invoke


def event(
    n: int, type_: str, t: int, payload: dict[str, Any], subject: dict[str, str] | None = None
) -> dict[str, Any]:
    return {
        "type": type_, "occurred_at": t, "source_system": "test", "source_event_id": f"{type_}-{n}",
        "subject": subject or {}, "payload": payload,
    }  # fmt: skip


AS_OF = ("--file", "e.ndjson", "--as-of", str(MONDAY + 10 * HOUR))


def test_the_command_names_the_next_call_and_says_that_there_is_no_model(run: Run) -> None:
    result = run("queue", *AS_OF)
    assert result.stdout.startswith(
        "next: lead-0 (owner-1 of sales); first touch in 3 h; raised a hand 1 h ago;"
    )
    assert "2 handoffs wait for an answer, 0 overdue" in result.stderr
    assert "there is no win model: ordered by deadline and score" in result.stderr
    told = json.loads(run("queue", *AS_OF, "--json").stdout)
    assert (told["ordered_by"], told["waiting"], told["with_priority"]) == ("deadline and score", 2, 0)


def test_overdue_is_what_waits_and_not_what_was_late_once(run: Run, tmp_path: Path) -> None:
    """lead-0 was called too late, so its decision is next and in time; nobody has called lead-1."""
    touched = event(
        9, "touched", MONDAY + 28 * HOUR, {"channel": "phone", "kind": "call"}, {"lead_id": "lead-0"}
    )
    with (tmp_path / "e.ndjson").open("a") as file:
        file.write(json.dumps(touched))
    at_ = ("--file", "e.ndjson", "--as-of", str(MONDAY + 29 * HOUR))
    result = run("queue", *at_)
    lines = {
        name: text
        for text in result.stdout.splitlines()
        for name in ("lead-0", "lead-1")
        if f"  {name} " in text
    }
    assert "OVERDUE" not in lines["lead-0"]
    assert "decision in" in lines["lead-0"]
    assert "first touch was late" in lines["lead-0"]
    assert "OVERDUE: first touch" in lines["lead-1"]
    assert "2 handoffs wait for an answer, 1 overdue" in result.stderr
    told = json.loads(run("queue", *at_, "--json").stdout)["queue"]
    assert {h["lead_id"]: (h["breached"], h["overdue"]) for h in told} == {
        "lead-0": (True, False), "lead-1": (True, True),
    }  # fmt: skip


def test_on_a_narrow_terminal_each_call_is_a_paragraph(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.cli.queue.columns", lambda: 80)
    result = run("queue", *AS_OF)
    lines = result.stdout.splitlines()
    assert "  1  lead-0 (owner-1 of sales)" in lines
    assert "     first touch in 3 h (3 h, in business time)" in lines
    assert all(len(line) <= 80 for line in lines[1:])


def test_with_a_model_the_order_is_by_priority(run: Run, tmp_path: Path) -> None:
    published_ = event(0, "win_model_published", MONDAY, {"as_of": MONDAY, "counts": json.dumps(MODEL)})
    with (tmp_path / "e.ndjson").open("a") as out:
        out.write(json.dumps(published_) + "\n")
    result = run("queue", *AS_OF, "--limit", "1")
    assert result.stdout.startswith("next: lead-1 (owner-1 of sales); ")
    assert "chance of 10,000.00 EUR, worth " in result.stdout
    assert "the first 1 of them shown (--limit 0: all)" in result.stderr
    assert "lead-0" not in result.stdout
    told = json.loads(run("queue", *AS_OF, "--json", "--limit", "0", "--owner", "owner-1").stdout)
    assert [h["lead_id"] for h in told["queue"]] == ["lead-1", "lead-0"]
    assert told["ordered_by"] == "priority"


def test_nobody_waits(run: Run) -> None:
    result = run("queue", "--file", "e.ndjson", "--as-of", str(MONDAY + 8 * HOUR), "--team", "sales")
    assert result.stdout == ""
    assert "0 handoffs wait for an answer" in result.stderr


def test_mistakes_are_answered_with_what_there_is(run: Run) -> None:
    assert (
        "--team sails: no such team; there are sales"
        in run("queue", *AS_OF, "--team", "sails", code=2).stderr
    )
    wrong = run("queue", *AS_OF, "--owner", "owner-7", code=2)
    assert "--owner owner-7: no such owner; there are owner-1" in wrong.stderr
    assert "no such file" in run("queue", "--file", "nowhere.ndjson", code=2).stderr


def test_the_snapshot_of_a_file_is_an_event_that_the_file_can_take(run: Run, tmp_path: Path) -> None:
    made = run("win-model", "count", *AS_OF).stdout
    with (tmp_path / "e.ndjson").open("a") as out:
        out.write(made)
    result = run("queue", *AS_OF, "--json")
    assert json.loads(result.stdout)["win_model_as_of"] == instant(MONDAY)


def test_without_a_broker_the_error_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADSTREAM_BOOTSTRAP", "127.0.0.1:1")
    for command in (("queue",), ("win-model", "publish"), ("win-model", "show")):
        assert "no broker answers (127.0.0.1:1: Connection refused)" in run(*command, code=1).stderr


def test_a_fixed_clock_has_no_midnight(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADSTREAM_CLOCK", "fixed:2026-11-22T00:00:00Z")
    assert "--daily waits for midnight" in run("win-model", "publish", "--daily", code=2).stderr
