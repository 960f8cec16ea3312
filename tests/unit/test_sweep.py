"""A sweeping definition looks at every lead anew, at an instant of its own, although nothing happens to it."""

from __future__ import annotations

import pytest

from processors.compiled import compile_definition
from processors.definition.load import load
from processors.definition.model import DAY, HOUR, MINUTE
from processors.model import load as load_row
from streams.definitions import default_text
from tests.strategies import FITS, at, default_definition
from tests.world import Funnel

TUESDAY = at(2, 12)


def lenient(version: int = 2, *more: tuple[str, str]) -> str:
    """The packaged definition with lower thresholds."""
    text = default_text().replace("version = 1", f"version = {version}", 1)
    for old, new in (("up = 40", "up = 10"), ("down = 25", "down = 5"), *more):
        assert old in text
        text = text.replace(old, new, 1)
    return text


def hear(f: Funnel, t: int, text: str = "", version: int = 2, sweep: bool = True) -> None:
    """The worker learns of a version, and has looked at no row yet."""
    f.learn(
        "definition_published", t, name="default", version=version, toml=text or lenient(version),
        effective_at=t, sweep=sweep,
    )  # fmt: skip


def publish(f: Funnel, t: int, text: str = "", version: int = 2, sweep: bool = True) -> None:
    hear(f, t, text, version, sweep)
    f.driver.run()


def warm(f: Funnel, lead: str, n: int = 1) -> None:
    """A lead that fits and did something on Monday: below the old threshold, above the new one."""
    f.fit(at(1, 9), lead)
    f.say("content_downloaded", at(1, 10), {"asset_id": "a"}, lead=lead)


def swept_at(f: Funnel, lead: str) -> int:
    return f.topology.definitions[1].sweep_at(f"l:{lead}")


def test_a_swept_lead_qualifies_without_an_event_of_its_own() -> None:
    f = Funnel()
    warm(f, "lead-1")
    assert f.stages()[-1] == "engaged"
    publish(f, TUESDAY)
    due = swept_at(f, "lead-1")
    f.until(due - 1)
    assert f.out("handoffs") == []
    f.until(due)
    (made,) = f.out("handoffs", kind="made")
    assert (made["definition"], made["trigger_at"], made["started_at"]) == ("default@2", due, due)
    assert f.stages()[-1] == "mql"
    f.until(due + 20 * DAY)
    assert len(f.out("handoffs", kind="made")) == 1
    assert f.topology.totals() == from_rows(f)


def from_rows(f: Funnel) -> object:
    f.restart()
    return f.topology.totals()


def test_without_sweep_a_new_version_waits_for_the_next_event_whatever_it_is() -> None:
    f = Funnel()
    warm(f, "lead-1")
    publish(f, TUESDAY, sweep=False)
    f.until(TUESDAY + 3 * DAY)
    assert f.out("handoffs") == []
    f.say("email_sent", TUESDAY + 3 * DAY, {"send_id": "s"})  # scores nothing
    (made,) = f.out("handoffs", kind="made")
    assert made["trigger_at"] == TUESDAY + 3 * DAY


def test_a_sweep_is_spread_over_the_business_hours_that_follow() -> None:
    d = compile_definition(load(lenient() + "\n", published_at=at(5, 12), base=default_definition()))
    instants = [d.sweep_at(f"l:lead-{n}") for n in range(2000)]
    calendar = d.source.calendars["default"]
    assert all(calendar.is_open(t - 1) for t in instants)
    assert at(5, 12) < min(instants)
    assert max(instants) <= calendar.add(at(5, 12), 40 * HOUR) == at(12, 12)
    by_hour = [calendar.between(at(5, 12), t - 1) // HOUR for t in instants]
    counts = [by_hour.count(hour) for hour in range(40)]
    assert sum(counts) == 2000
    assert min(counts) > 20
    assert max(counts) < 90


def test_who_had_an_event_first_is_not_swept_again() -> None:
    f = Funnel()
    warm(f, "lead-1")
    publish(f, TUESDAY)
    t = TUESDAY + MINUTE
    assert t < swept_at(f, "lead-1")
    f.say("page_viewed", t, {"url": "/"})
    assert [x["trigger_at"] for x in f.out("handoffs", kind="made")] == [t]
    f.until(swept_at(f, "lead-1") + DAY)
    assert len(f.out("handoffs")) == 1


def test_a_sweep_that_is_stricter_unqualifies() -> None:
    f = Funnel()
    f.fit()
    f.hot()
    text = (
        default_text()
        .replace("version = 1", "version = 2", 1)
        .replace("up = 40", "up = 90")
        .replace("down = 25", "down = 80")
    )
    publish(f, TUESDAY, text)
    f.until(swept_at(f, "lead-1"))
    (fell,) = f.out("stage_changes", kind="unqualified")
    assert fell["occurred_at"] == swept_at(f, "lead-1")
    assert not f.head().qualified
    assert f.handoffs()[0].definition == 0  # the open one is the old version's to its end


def test_who_was_answered_is_not_called_again_by_a_sweep() -> None:
    f = Funnel()
    f.fit()
    f.hot()
    f.say("rejected", at(1, 12), {"reason_code": "timing"})
    publish(f, TUESDAY)
    f.until(TUESDAY + 20 * DAY)
    assert len(f.out("handoffs", kind="made")) == 1


def test_an_imported_history_is_swept_in_silence() -> None:
    f = Funnel(now=at(1, 12))
    f.say("created", at(0, 9), {"source": "import", "generated_by": "marketing"}, backfill=True)
    f.say("attributes_changed", at(0, 9), {"fields": FITS}, backfill=True)
    f.say("content_downloaded", at(1, 10), {"asset_id": "a"}, backfill=True)
    publish(f, TUESDAY)
    f.until(swept_at(f, "lead-1"))
    assert f.out("handoffs", kind="made") == []
    assert [x["silent"] for x in f.out("handoffs", kind="historical")] == [True]


def test_two_sweeps_one_after_the_other() -> None:
    f = Funnel()
    warm(f, "lead-1")
    publish(
        f,
        TUESDAY,
        lenient(
            2, ("fit_min = 50", "fit_min = 100"), ("fit_min_hand_raise = 20", "fit_min_hand_raise = 100")
        ),
    )
    publish(
        f,
        TUESDAY + 30 * DAY,
        default_text()
        .replace("version = 1", "version = 3", 1)
        .replace("up = 40", "up = 2")
        .replace("down = 25", "down = 1")
        .replace("engaged_min = 10", "engaged_min = 1"),
        3,
    )
    f.until(TUESDAY + 30 * DAY)
    assert f.out("handoffs") == []
    due = f.topology.definitions[2].sweep_at("l:lead-1")
    f.until(due)
    assert [x["trigger_at"] for x in f.out("handoffs", kind="made")] == [due]


def test_a_worker_that_starts_later_knows_of_the_sweep() -> None:
    f = Funnel()
    warm(f, "lead-1")
    hear(f, TUESDAY)
    f.restart()
    f.until(swept_at(f, "lead-1"))
    assert [x["trigger_at"] for x in f.out("handoffs", kind="made")] == [swept_at(f, "lead-1")]


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_rows_are_reviewed_in_slices_and_the_figures_never_show_a_half(limit: int) -> None:
    f = Funnel(partitions=1)
    for n in range(10):
        warm(f, f"lead-{n}")
    before = f.topology.totals()
    hear(f, TUESDAY)
    f.driver.now_ms = TUESDAY
    slices = 0
    while (
        due := f.topology.next_due(0, live=False)
    ) is not None:  # not even the end of the past is waited for
        assert due < 0
        assert f.topology.totals() == before
        work = f.topology.due(0, TUESDAY, False, limit)
        assert (work.rows, work.messages) == ({}, [])
        f.topology.merged(0, work)
        slices += 1
        if slices == 2 and limit < 5:  # what happens meanwhile is counted once
            f.say("page_viewed", TUESDAY, {"url": "/"}, lead="lead-9", run=False)
            record = list(f.driver.read(f.settings.topics.engagement))[-1]
            f.driver._store(0, f.topology.batch(0, [record], TUESDAY, True))
            f.driver._read[f.settings.topics.engagement, 0] += 1
    assert slices == {1: 9, 3: 3, 1000: 1}[limit]
    assert f.topology.totals() == from_rows(f)
    assert {load_row(data).head.definition for key, data in f.driver.all_rows() if key == b"l:lead-0"} == {0}
