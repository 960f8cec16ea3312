"""The flood guard: calls beyond the usual are held until a person has looked; what is decided does not change."""

from __future__ import annotations

import re
from typing import Any

import pytest

from processors.definition.model import HOUR, MINUTE, Policy
from processors.flood import Calls
from processors.model import OPEN, WITHDRAWN
from streams.replay import replay
from streams.settings import Settings
from tests.strategies import at
from tests.world import MONDAY, Funnel, variant

GUARDED = "[policy]\nflood_min = 3\n"
TEN = MONDAY + 10 * HOUR


def flooded(n: int = 5, guard: str = "on", t: int = TEN, live: bool = True, **world: Any) -> Funnel:
    """Leads that qualify within one hour; three are let through."""
    f = Funnel(variant(GUARDED), flood_guard=guard, live=live, **world)
    for k in range(n):
        f.fit(lead=f"lead-{k}")
        f.hot(t + k * MINUTE, lead=f"lead-{k}")
    return f


def called(f: Funnel) -> list[str]:
    return [
        x["lead_id"] for x in sorted(f.out("handoffs", None, kind="made"), key=lambda x: int(x["trigger_at"]))
    ]


def held(f: Funnel) -> int:
    """How many for sales, by what the metric shows; nobody else has any."""
    by_team = f.topology.held_by_partition().values()
    assert all(set(teams) <= {"sales"} for teams in by_team)
    return sum(teams["sales"] for teams in by_team)


def test_more_than_the_usual_number_of_an_hour_is_held_and_all_is_decided() -> None:
    f, free = flooded(), flooded(guard="off")
    assert called(f) == ["lead-0", "lead-1", "lead-2"]
    assert len(called(free)) == 5
    assert f.topology.totals() == free.topology.totals()
    for k in range(5):
        assert f.handoffs(f"lead-{k}") == free.handoffs(f"lead-{k}")
        assert f.stages(f"lead-{k}")[-1] == "mql"
    assert {x["lead_id"] for x in f.out("sla", None)} == {"lead-0", "lead-1", "lead-2"}
    assert {x["lead_id"] for x in f.out("nurture", None)} == {"lead-0", "lead-1", "lead-2"}
    assert held(f) == 2


def test_the_next_hour_begins_anew_and_the_usual_grows_with_what_is_usual() -> None:
    f = flooded()
    for k in range(5, 20):
        f.fit(f.now, lead=f"lead-{k}")
        f.hot(TEN + HOUR + k * MINUTE, lead=f"lead-{k}")
    assert len(called(f)) == 3 + 15  # five times the mean of the hours with calls: 3


def test_released_sales_is_called_and_the_clocks_start_then() -> None:
    f = flooded(4)
    (h,) = f.handoffs("lead-3")
    f.until(MONDAY + 16 * HOUR)  # its first touch would have been due at 14:05
    assert f.out("sla", "lead-3") == []
    assert f.out("handoffs", "lead-3") == []
    f.say("handoff_released", MONDAY + 16 * HOUR, {"handoff_id": h.id}, lead="lead-3")
    (made,) = f.out("handoffs", "lead-3")
    assert (made["kind"], made["op"], made["sequence"]) == ("made", "new", 1)
    assert made["trigger_at"] == h.trigger
    assert made["started_at"] == MONDAY + 16 * HOUR
    assert made["first_touch_due_at"] == at(2, 12)
    assert not made["breached"]
    started = f.out("sla", "lead-3", kind="started", clock="first_touch")
    assert [(x["occurred_at"], x["due_at"]) for x in started] == [(MONDAY + 16 * HOUR, at(2, 12))]
    f.until(at(2, 13))
    assert [x["occurred_at"] for x in f.out("sla", "lead-3", kind="breached")] == [at(2, 12)]
    assert [x["sequence"] for x in f.out("sla", "lead-3")] == list(range(1, len(f.out("sla", "lead-3")) + 1))
    assert held(f) == 0


def test_a_release_after_which_all_is_as_ever() -> None:
    f = flooded(4)
    f.say("handoff_released", MONDAY + 11 * HOUR, lead="lead-3")
    f.say("touched", MONDAY + 11 * HOUR + 5 * MINUTE, {"channel": "phone", "kind": "call"}, lead="lead-3")
    f.say("handoff_released", MONDAY + 11 * HOUR + 9 * MINUTE, lead="lead-3")  # too late to mean anything
    f.say("accepted", MONDAY + 12 * HOUR, lead="lead-3")
    (met,) = f.out("sla", "lead-3", kind="met", clock="first_touch")
    assert (met["wall_ms"], met["business_ms"]) == (5 * MINUTE, 5 * MINUTE)
    assert f.handoffs("lead-3")[0].released == MONDAY + 11 * HOUR
    f.say("handoff_released", MONDAY + 13 * HOUR, {"handoff_id": "no-such-handoff"}, lead="lead-3")
    assert [x["rule"] for x in f.out("stage_changes", "lead-3", kind="refused")] == ["no such handoff"]


def test_a_release_of_what_was_not_held_moves_no_clock() -> None:
    f = flooded(1)
    before = f.handoffs("lead-0"), len(f.out("handoffs", "lead-0")), len(f.out("sla", "lead-0"))
    f.say("handoff_released", MONDAY + 11 * HOUR, lead="lead-0")
    assert (f.handoffs("lead-0"), len(f.out("handoffs", "lead-0")), len(f.out("sla", "lead-0"))) == before


def test_dropped_nobody_is_called_and_a_newer_hand_calls_again() -> None:
    f = flooded(4)
    f.say("handoff_dropped", MONDAY + 11 * HOUR, lead="lead-3")
    assert [x["kind"] for x in f.out("handoffs", "lead-3")] == ["historical", "withdrawn"]
    assert f.out("sla", "lead-3", kind="breached") == []
    (h,) = f.handoffs("lead-3")
    assert (h.outcome, h.reason, h.ended) == (WITHDRAWN, "dropped", MONDAY + 11 * HOUR)
    f.say("content_downloaded", MONDAY + 12 * HOUR, {"asset_id": "x"}, lead="lead-3")
    assert f.out("handoffs", "lead-3", kind="made") == []
    f.raise_hand(MONDAY + 13 * HOUR, lead="lead-3")
    (made,) = f.out("handoffs", "lead-3", kind="made")
    assert (made["attempt"], made["trigger_at"]) == (2, MONDAY + 13 * HOUR)


def test_a_restart_forgets_neither_what_was_said_nor_what_is_held() -> None:
    f = flooded(4)
    f.restart()
    f.fit(f.now, lead="lead-9")
    f.hot(TEN + 30 * MINUTE, lead="lead-9")
    assert called(f) == ["lead-0", "lead-1", "lead-2"]
    f.say("page_viewed", TEN + 40 * MINUTE, {"url": "/"}, lead="lead-3")  # news of a held one
    f.say("page_viewed", TEN + 2 * HOUR, {"url": "/"}, lead="lead-3")
    assert f.out("handoffs", "lead-3") == []
    assert held(f) == 2
    f.say("handoff_released", TEN + 3 * HOUR, lead="lead-3")
    assert [x["kind"] for x in f.out("handoffs", "lead-3")] == ["made", "context_updated"]


@pytest.mark.parametrize(("answer", "payload"), [("accepted", {}), ("rejected", {"reason_code": "timing"})])
def test_who_answers_a_held_one_has_heard_of_it(answer: str, payload: dict[str, Any]) -> None:
    f = flooded(4)
    f.say(answer, TEN + HOUR, payload, lead="lead-3")
    assert [x["kind"] for x in f.out("handoffs", "lead-3")] == ["historical", "answered"]
    f.say("touched", TEN + HOUR, {"channel": "phone", "kind": "call"}, lead="lead-2")
    assert held(f) == 0


def test_a_touched_one_is_held_no_longer() -> None:
    f = flooded(4)
    f.say("touched", TEN + HOUR, {"channel": "phone", "kind": "call"}, lead="lead-3")
    assert [x["kind"] for x in f.out("handoffs", "lead-3")] == ["made"]


def test_one_that_nobody_released_expires_and_is_history() -> None:
    f = flooded(4)
    (h,) = f.handoffs("lead-3")
    f.until(h.expires)
    assert [x["kind"] for x in f.out("handoffs", "lead-3")] == ["historical", "answered"]
    assert held(f) == 0


def test_a_days_backlog_of_a_worker_that_was_down_is_no_flood() -> None:
    f = Funnel(variant(GUARDED), live=False)
    for k in range(12):
        f.fit(lead=f"lead-{k}")
        f.hot(TEN + k * 30 * MINUTE, lead=f"lead-{k}")
    f.driver.catch_up()
    assert len(called(f)) == 12


def test_a_held_one_is_held_from_the_end_of_the_past_on() -> None:
    f = flooded(5, live=False)
    assert called(f) == []
    f.driver.catch_up()
    assert len(called(f)) == 3
    assert [h.outcome for k in range(5) for h in f.handoffs(f"lead-{k}")] == [OPEN] * 5


def test_a_replay_holds_nothing_back() -> None:
    f = flooded()
    log = [
        r.value or b""
        for topic in ("lead", "engagement")
        for r in f.driver.read(getattr(f.settings.topics, topic))
    ]
    made: list[Any] = []
    done = replay(Settings(partitions=4), variant(GUARDED), lambda: log, sink=made.append)
    assert sum(1 for m in made if m.topic == f.settings.topics.handoffs) == 5
    assert done.driver.topology.totals() == f.topology.totals()


def test_what_is_held_is_a_metric_of_each_partition_and_team() -> None:
    f = flooded()
    found = re.findall(
        r'leadstream_handoffs_held\{partition="\d",team="(\w+)"\} (\S+)', f.topology.exposition()
    )
    assert len(found) == 4
    assert sum(float(n) for team, n in found if team == "sales") == 2


def test_the_limit_is_five_times_the_mean_of_the_hours_with_calls_and_at_least_fifty() -> None:
    calls, policy = Calls(), Policy()
    assert calls.limit("sales", 1000, policy) == 50
    for hour in range(990, 1000):
        calls.add("sales", hour, 20)
    calls.add("sales", 1000, 7000)  # of this hour itself: not usual yet
    calls.add("sales", 1000 - 169, 9000)  # older than a week
    calls.add("partners", 999, 9000)
    assert calls.limit("sales", 1000, policy) == 100
    calls.add("sales", 990, -20)
    assert calls.limit("sales", 1000, policy) == 100
    assert calls.said("sales", 990) == 0
    calls.add("sales", 991, 9 * 4)
    assert calls.limit("sales", 1000, policy) == 5 * (9 * 20 + 36) // 9


def test_a_worker_guards_its_share_of_the_least() -> None:
    assert [Calls().limit("sales", 1, Policy(), part, 8) for part in (1, 2, 8)] == [7, 13, 50]
    f = flooded(1, partitions=4)
    for p in (0, 1):
        f.topology.closed(p)
    assert f.topology.most_calls("partners", 1, f.now) == 2
    said = f.topology.calls.said("sales", TEN // HOUR)
    assert said == int(f.topology.partition_of("lead-0") in (2, 3))
    f.topology.opened(0, f.driver.rows[0])
    f.topology.opened(1, f.driver.rows[1])
    assert f.topology.calls.said("sales", TEN // HOUR) == 1


def test_an_aborted_batch_counts_nothing() -> None:
    f = Funnel(variant(GUARDED), partitions=1)
    f.fit()
    f.hot(TEN)
    record = f.raise_hand(TEN + 5 * MINUTE, lead="lead-2", run=False)
    f.topology.batch(0, [record], TEN + 5 * MINUTE, True)
    assert f.topology.calls.said("sales", TEN // HOUR) == 1
