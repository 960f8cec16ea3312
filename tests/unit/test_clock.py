"""Clocks: of the system, of one instant, and of simulated time that runs fast."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import decode_output, encode_event
from streams.clock import FixedClock, ScaledClock, WallClock, clock_of
from streams.definitions import base_definition
from streams.driver import Driver
from streams.settings import Settings, SettingsError, load
from streams.topology import LeadTopology

START, WALL = 1_763_974_800_000, 1_763_800_000_000  # Monday 2025-11-24T09:00Z, two days after
SCALED = "scaled:2025-11-24T09:00:00Z@2025-11-22T08:26:40Zx600"
HOUR, DAY = 3_600_000, 86_400_000

factors = st.fractions(min_value=Fraction(1, 100), max_value=100_000, max_denominator=1000)
instants = st.integers(-400 * DAY, 400 * DAY)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("wall", WallClock), ("fixed:2026-11-22T10:00:00Z", FixedClock), (SCALED, ScaledClock)],
)
def test_settings_name_the_clock(text: str, kind: type) -> None:
    assert isinstance(clock_of(load(None, {"LEADSTREAM_CLOCK": text})), kind)


def test_a_scaled_clock_runs_from_its_start_on_and_not_before() -> None:
    clock = clock_of(Settings(clock=SCALED))
    assert [clock.at(WALL + ms) for ms in (-DAY, 0, 1, 1000)] == [
        START - DAY,
        START,
        START + 600,
        START + 600_000,
    ]


def test_a_scaled_clock_shows_the_time_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [WALL + 10_000, WALL + 9_000, WALL + 12_000]  # the second is a step back, as NTP makes it
    monkeypatch.setattr(time, "time_ns", lambda: now.pop(0) * 1_000_000)
    clock = ScaledClock(START, WALL, Fraction(3, 2))
    assert [clock.now_ms() - START for _ in range(3)] == [15_000, 15_000, 18_000]


@given(factors, instants, instants)
def test_a_scaled_clock_never_goes_back(factor: Fraction, one: int, other: int) -> None:
    clock = ScaledClock(START, WALL, factor)
    early, late = sorted((WALL + one, WALL + other))
    assert clock.at(early) <= clock.at(late)


@given(factors, instants)
def test_the_wall_time_of_an_instant_is_the_first_that_shows_it(factor: Fraction, offset: int) -> None:
    clock = ScaledClock(START, WALL, factor)
    wall = clock.wall_ms(START + offset)
    assert clock.at(wall) >= START + offset > clock.at(wall - 1)


@pytest.mark.parametrize("clock", [WallClock(), FixedClock(START)], ids=["wall", "fixed"])
def test_other_clocks_leave_the_time_of_records_alone(clock: WallClock | FixedClock) -> None:
    assert clock.at(WALL) == WALL


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("scaled:2026-11-23T08:00:00Z", "is not START@WALLxFACTOR"),
        ("scaled:2026-11-23T08:00:00Z@2026-11-22T10:00:00Z", "is not START@WALLxFACTOR"),
        ("scaled:2026-11-23T08:00:00Z@2026-11-22T10:00:00Zx0", "the factor '0'"),
        ("scaled:2026-11-23T08:00:00Z@2026-11-22T10:00:00Zx-2", "the factor '-2'"),
        ("scaled:2026-11-23T08:00:00Z@2026-11-22T10:00:00Zxfast", "the factor 'fast'"),
        ("scaled:2026-11-23T08:00:00@2026-11-22T10:00:00Zx600", "has no zone"),
        ("scaled:monday@2026-11-22T10:00:00Zx600", "'monday'"),
        ("stopped", 'write "wall"'),
    ],
)
def test_a_bad_clock_is_told_with_the_remedy(text: str, told: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(None, {"LEADSTREAM_CLOCK": text})
    assert told in str(error.value)
    assert "scaled:" in str(error.value)


def test_publishers_with_clocks_of_their_own_are_heard_in_simulated_time() -> None:
    """Somebody publishes with a wall clock into a simulation that is two days and some hours ahead."""
    settings = Settings(partitions=1, clock=SCALED)
    clock = clock_of(settings)
    published = WALL + 12_000  # two hours of simulated time after the start
    driver = Driver(LeadTopology(settings, base_definition(settings)), now_ms=clock.at(published))
    fields = {"role": "VP Sales", "company_size": 250, "industry": "software", "country": "DE"}
    for number, (type_, payload) in enumerate(
        (
            ("created", {"source": "website", "generated_by": "marketing"}),
            ("attributes_changed", {"fields": fields}),
            ("form_submitted", {"form_id": "contact", "intent": "hand_raise"}),
        )
    ):
        event = {"type": type_, "occurred_at": published - 1000, "source_system": "web", "payload": payload}
        event |= {"source_event_id": f"e-{number}", "subject": {"lead_id": "lead-1"}}
        driver.publish(settings.topics.lead, b"lead-1", encode_event(event), timestamp_ms=published)
    driver.run()
    [record] = driver.read(settings.topics.handoffs)
    _, handoff = decode_output(record.value or b"")
    assert handoff["kind"] == "made"
    assert handoff["trigger_at"] == published - 1000
    assert clock.at(published) == START + 2 * HOUR
    # The ledger keeps a long way from occurrence to record to a few seconds only.
    assert handoff["started_at"] == pytest.approx(START + 2 * HOUR, abs=10_000)
    assert handoff["first_touch_due_at"] > clock.at(published)
