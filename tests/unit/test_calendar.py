"""Business time and local days, by example."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from processors.calendar import Calendar
from processors.days import (
    civil,
    day_number,
    day_of,
    first_of_month,
    iso,
    month_of,
    start_of_day,
    weekday,
    zone_days,
)

HOUR, MINUTE = 3_600_000, 60_000
VIENNA, NEW_YORK = "Europe/Vienna", "America/New_York"
OFFICE = {d: [(540, 1020)] for d in range(5)}
ALWAYS = {d: [(0, 1440)] for d in range(7)}


def ms(local: str, zone: str = "UTC", fold: int = 0) -> int:
    return round(datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()) * 1000


def days(*dates: str) -> list[int]:
    return [date.fromisoformat(d).toordinal() - 719_163 for d in dates]


def test_case_44_friday_afternoon_to_monday_morning_is_one_business_hour() -> None:
    calendar = Calendar(VIENNA, OFFICE)
    friday, monday = ms("2026-11-20T16:30", VIENNA), ms("2026-11-23T09:30", VIENNA)
    assert calendar.between(friday, monday) == HOUR
    assert calendar.add(friday, HOUR) == monday


@pytest.mark.parametrize(
    ("day", "hours"),
    [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-07", 24)],
    ids=["clocks forward", "clocks back", "ordinary"],
)
def test_case_44_a_dst_day_has_its_real_hours(day: str, hours: int) -> None:
    calendar = Calendar(VIENNA, ALWAYS)
    start = start_of_day(days(day)[0], VIENNA)
    assert calendar.between(start, start_of_day(days(day)[0] + 1, VIENNA)) == hours * HOUR
    assert calendar.add(start, hours * HOUR) == start_of_day(days(day)[0] + 1, VIENNA)


def test_case_44_an_opening_in_the_hour_that_is_left_out_is_at_its_end() -> None:
    calendar = Calendar(VIENNA, {6: [(150, 240)]})  # Sunday 02:30-04:00; 02:00-03:00 is left out
    assert calendar.next_open(ms("2026-03-29T00:00", VIENNA)) == ms("2026-03-29T03:00", VIENNA)
    assert calendar.between(ms("2026-03-29T00:00", VIENNA), ms("2026-03-29T12:00", VIENNA)) == HOUR


def test_case_44_an_hour_that_comes_twice_is_open_twice() -> None:
    calendar = Calendar(
        VIENNA, {6: [(60, 150), (150, 240)]}
    )  # 01:00-04:00 in two pieces, never counted double
    night = ms("2026-10-25T00:00", VIENNA), ms("2026-10-25T12:00", VIENNA)
    assert calendar.between(*night) == 4 * HOUR
    ends_within = Calendar(
        VIENNA, {6: [(60, 150)]}
    )  # 01:00-02:30: closed from the first 02:30 to the second 02:00
    assert ends_within.between(*night) == 2 * HOUR
    assert not ends_within.is_open(ms("2026-10-25T02:45", VIENNA, fold=0))
    assert ends_within.is_open(ms("2026-10-25T02:15", VIENNA, fold=1))


def test_case_44_a_holiday_is_closed_and_an_extra_day_is_open() -> None:
    calendar = Calendar(
        VIENNA, OFFICE, holidays=days("2026-12-24", "2026-12-25"), extra={days("2026-12-26")[0]: [(600, 660)]}
    )
    before = ms("2026-12-23T16:00", VIENNA)
    assert calendar.add(before, 2 * HOUR) == ms("2026-12-26T11:00", VIENNA)
    assert calendar.add(before, 3 * HOUR) == ms("2026-12-28T10:00", VIENNA)
    assert Calendar(VIENNA, OFFICE, days("2026-12-25"), {days("2026-12-25")[0]: [(0, 60)]}).is_open(
        ms("2026-12-25T00:30", VIENNA)
    )


def test_case_44_an_owner_elsewhere_has_their_own_clock() -> None:
    calendar = Calendar(VIENNA, OFFICE)
    there = calendar.in_zone(NEW_YORK)
    asked = ms("2026-11-20T16:30", VIENNA)  # 10:30 in New York
    assert calendar.add(asked, HOUR) == ms("2026-11-23T09:30", VIENNA)
    assert there.add(asked, HOUR) == ms("2026-11-20T11:30", NEW_YORK)
    assert calendar.in_zone(NEW_YORK) is there
    assert there.in_zone(VIENNA) is calendar
    assert calendar.in_zone(None) is calendar


def test_what_ends_at_closing_time_is_due_then_not_at_the_next_opening() -> None:
    calendar = Calendar("UTC", OFFICE)
    assert calendar.add(ms("2026-11-20T16:00"), HOUR) == ms("2026-11-20T17:00")
    assert calendar.add(ms("2026-11-20T16:00"), HOUR + 1) == ms("2026-11-23T09:00") + 1
    assert calendar.add(ms("2026-11-19T16:00"), 9 * HOUR) == ms("2026-11-20T17:00")


def test_nothing_to_wait_for_is_due_at_once_even_when_closed() -> None:
    sunday = ms("2026-11-22T12:00")
    assert Calendar().add(sunday, 0) == sunday
    with pytest.raises(ValueError, match="negative"):
        Calendar().add(sunday, -1)


def test_several_intervals_a_day_and_one_that_ends_at_midnight() -> None:
    calendar = Calendar("UTC", {0: [(780, 1020), (540, 720)], 1: [(1200, 1440)]})
    assert calendar.hours[0] == ((540, 720), (780, 1020))
    monday = ms("2026-11-23T11:30")
    assert calendar.add(monday, HOUR) == ms("2026-11-23T13:30")
    assert calendar.add(ms("2026-11-24T20:00"), 4 * HOUR) == ms("2026-11-25T00:00")
    assert calendar.is_open(ms("2026-11-24T23:59"))
    assert not calendar.is_open(ms("2026-11-25T00:00"))
    assert not calendar.is_open(ms("2026-11-23T12:00"))


def test_between_counts_nothing_backwards() -> None:
    calendar = Calendar()
    assert calendar.between(ms("2026-11-23T12:00"), ms("2026-11-23T10:00")) == 0


def test_next_open() -> None:
    calendar = Calendar("UTC", OFFICE)
    assert calendar.next_open(ms("2026-11-20T17:00")) == ms("2026-11-23T09:00")
    assert calendar.next_open(ms("2026-11-20T12:34")) == ms("2026-11-20T12:34")


@pytest.mark.parametrize(
    ("hours", "match"),
    [
        ({}, "at least one weekday"),
        ({0: []}, "at least one weekday"),
        ({0: [(540, 720), (660, 780)]}, "Monday: opening hours overlap"),
        ({2: [(720, 540)]}, "Wednesday: .*end after they begin"),
        ({0: [(540, 1441)]}, "between 00:00 and 24:00"),
        ({7: [(540, 1020)]}, "weekdays are"),
    ],
)
def test_impossible_hours_are_refused(hours: dict[int, list[tuple[int, int]]], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Calendar("UTC", hours)


def test_an_unknown_zone_is_refused_with_what_to_write() -> None:
    for zone in ("Europe/Wien", "", "../etc/passwd", "Mars/Base"):
        with pytest.raises(ValueError, match="IANA"):
            Calendar(zone, OFFICE)


def test_ten_years_of_holidays_end_in_a_clear_error() -> None:
    first = days("2026-01-01")[0]
    closed = Calendar("UTC", OFFICE, holidays=range(first, first + 3800))
    with pytest.raises(ValueError, match=r"ten years after 2026-01-02.*holidays"):
        closed.add(ms("2026-01-02T10:00"), HOUR)
    with pytest.raises(ValueError, match="ten years"):
        closed.next_open(ms("2026-01-02T10:00"))


def test_calendars_are_equal_by_what_they_say() -> None:
    one, two = Calendar("UTC", OFFICE, days("2026-01-01")), Calendar("UTC", OFFICE, days("2026-01-01"))
    assert one == two
    assert hash(one) == hash(two)
    assert one != Calendar(VIENNA, OFFICE, days("2026-01-01"))


def test_a_business_day_is_the_mean_of_the_working_days() -> None:
    assert Calendar("UTC", OFFICE).business_day_ms == 8 * HOUR
    assert Calendar("UTC", ALWAYS).business_day_ms == 24 * HOUR
    assert Calendar("UTC", {0: [(480, 960)], 4: [(480, 720)]}).business_day_ms == 6 * HOUR


def test_a_cache_that_is_full_starts_anew() -> None:
    calendar = Calendar("UTC", OFFICE)
    start = ms("2000-01-03T09:00")
    assert calendar.between(start, start + 5000 * 86_400_000) == calendar.between(
        start, start + 5000 * 86_400_000
    )
    assert len(calendar._days) <= 4096


def test_days_numbers_and_names() -> None:
    assert day_number(1970, 1, 1) == 0
    assert civil(0) == (1970, 1, 1)
    assert iso(day_number(2024, 2, 29)) == "2024-02-29"
    assert weekday(day_number(2026, 11, 22)) == 6
    assert first_of_month(2026 * 12 + 10) == day_number(2026, 11, 1)


@pytest.mark.parametrize(
    "zone", ["UTC", VIENNA, NEW_YORK, "Asia/Kolkata", "Pacific/Apia", "Australia/Lord_Howe"]
)
def test_local_days_agree_with_zoneinfo(zone: str) -> None:
    for at in range(ms("2009-01-01T00:00"), ms("2013-01-01T00:00"), 7 * HOUR + 13 * MINUTE):
        local = datetime.fromtimestamp(at / 1000, ZoneInfo(zone))
        assert day_of(at, zone) == local.date().toordinal() - 719_163
        assert month_of(at, zone) == local.year * 12 + local.month - 1


def test_a_day_begins_where_the_local_date_begins() -> None:
    assert start_of_day(days("2026-03-29")[0], VIENNA) == ms("2026-03-28T23:00")
    assert start_of_day(days("2026-11-22")[0]) == ms("2026-11-22T00:00")
    # Samoa left 30 December 2011 out: asked for it, the next day's beginning is the answer.
    apia = zone_days("Pacific/Apia")
    assert apia.start(days("2011-12-30")[0]) == apia.start(days("2011-12-31")[0]) == ms("2011-12-30T10:00")
    # In Sao Paulo the day of the change began at 01:00.
    assert start_of_day(days("2018-11-04")[0], "America/Sao_Paulo") == ms("2018-11-04T03:00")


def test_weeks_and_fiscal_periods() -> None:
    utc = zone_days("UTC")
    sunday = ms("2026-11-22T10:00")
    assert utc.week(sunday) == days("2026-11-16")[0]
    assert utc.week(sunday, week_start=6) == days("2026-11-22")[0]
    assert utc.fiscal_year(sunday) == 2026
    assert utc.fiscal_year(sunday, first_month=10) == 2027
    assert utc.fiscal_quarter(sunday, first_month=10) == 2027 * 4
    assert utc.fiscal_quarter(ms("2026-09-30T00:00"), first_month=10) == 2026 * 4 + 3
    assert utc.start_of_month(2026 * 12 + 10) == ms("2026-11-01T00:00")


def test_instants_far_away_have_a_day_too() -> None:
    far = zone_days(VIENNA)
    assert far.day(10**15) == (10**15 + far.offset(10**15)) // 86_400_000
    assert far.day(-(10**14)) < 0
