"""Laws of business time, over zones whose clocks do what clocks should not."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from processors.calendar import Calendar
from processors.days import DAY, zone_days

HOUR = 3_600_000
ZONES = ("UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "America/St_Johns",
         "Asia/Kathmandu", "America/Sao_Paulo")  # fmt: skip
#: 2007..2014: Apia loses a day, St. John's puts its clocks back past midnight.
INSTANTS = st.integers(1_167_600_000_000, 1_420_000_000_000)
DURATIONS = st.integers(0, 200 * HOUR)


@st.composite
def calendars(draw: st.DrawFn) -> Calendar:
    """Some of the week open, an hour of it at least: 400 hours must pass within ten years."""
    cuts = st.lists(st.integers(0, 1440), min_size=2, max_size=6, unique=True).map(sorted)
    hours = {}
    for day in draw(st.sets(st.integers(0, 6), min_size=1)):
        edges = draw(cuts)
        hours[day] = list(zip(edges[::2], edges[1::2], strict=False))
    assume(sum(end - begin for spans in hours.values() for begin, end in spans) >= 60)
    around = st.integers(13_500, 16_500)
    extra = {day: [(0, 1440)] for day in draw(st.sets(around, max_size=2))}
    return Calendar(draw(st.sampled_from(ZONES)), hours, draw(st.sets(around, max_size=5)), extra)


@given(calendars(), INSTANTS, DURATIONS)
def test_between_is_the_inverse_of_add(calendar: Calendar, start: int, duration: int) -> None:
    due = calendar.add(start, duration)
    assert calendar.between(start, due) == duration
    if due > start:  # and it is the first such instant
        assert calendar.between(start, due - 1) < duration


@given(calendars(), INSTANTS, DURATIONS, DURATIONS, st.integers(0, 40 * DAY))
def test_add_is_monotone(calendar: Calendar, start: int, one: int, two: int, later: int) -> None:
    short, long = sorted((one, two))
    assert calendar.add(start, short) <= calendar.add(start, long)
    assert calendar.add(start, short) <= calendar.add(start + later, short)


@given(calendars(), INSTANTS, DURATIONS, DURATIONS)
def test_durations_add_up(calendar: Calendar, start: int, one: int, two: int) -> None:
    assert calendar.add(calendar.add(start, one), two) == calendar.add(start, one + two)


@given(calendars(), INSTANTS, st.integers(0, 40 * DAY), st.integers(0, 40 * DAY))
def test_business_time_is_additive(calendar: Calendar, a: int, first: int, second: int) -> None:
    b, c = a + first, a + first + second
    assert calendar.between(a, c) == calendar.between(a, b) + calendar.between(b, c)
    assert 0 <= calendar.between(a, c) <= c - a


@given(calendars(), INSTANTS)
def test_open_means_that_time_passes(calendar: Calendar, at: int) -> None:
    assert calendar.is_open(at) == (calendar.between(at, at + 1) == 1)
    opens = calendar.next_open(at)
    assert calendar.is_open(opens)
    assert calendar.between(at, opens) == 0


@given(st.sampled_from(ZONES), INSTANTS)
def test_an_instant_lies_in_its_day(zone: str, at: int) -> None:
    days = zone_days(zone)
    day = days.day(at)
    assert days.start(day) <= at
    assert days.day(days.start(day)) >= day
    assert days.day(days.start(day) - 1) < day


@given(calendars(), INSTANTS)
def test_open_is_what_the_local_clock_reads(calendar: Calendar, at: int) -> None:
    local = at + zone_days(calendar.time_zone).offset(at)
    day, minute = divmod(local, DAY)
    inside = any(a * 60_000 <= minute < b * 60_000 for a, b in calendar.hours_on(day))
    assert calendar.is_open(at) == inside
