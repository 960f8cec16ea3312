"""Definitions from TOML: what they become, and what is said about mistakes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from processors.definition import load as package
from processors.definition.load import DEFAULT_NAME, DefinitionError, load
from processors.definition.model import DAY, HOUR, MINUTE

DEFAULT = load(Path(package.__file__).with_name(DEFAULT_NAME).read_text("utf-8"), origin=DEFAULT_NAME)
HEAD = 'name = "t"\nversion = 1\n'  # two lines: what follows begins in line 3


def mistakes(text: str, **more: object) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        load(HEAD + text, **more)  # type: ignore[arg-type]  # keywords of load
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version = 2", ("3: this is not TOML: Cannot overwrite a value — mend this line; "
                        "texts need quotes, lists commas, and each key stands once")),
        ("time_zone = UTC", ("3: this is not TOML: Invalid value — mend this line; "
                            "texts need quotes, lists commas, and each key stands once")),
        ('time_zone = "Europe/Wien"', ("3: there is no time zone 'Europe/Wien' (time_zone) — "
                                      "write an IANA name such as Europe/Vienna")),
        ('\ntimezone = "UTC"', '4: there is no key "timezone" here (timezone) — did you mean "time_zone"?'),
        ("[thresholds]\ndefault_team = 'x'", ('4: there is no key "default_team" here (thresholds.default_team) — '
         "default_team belongs to the top of the document, before the first [section]")),
        ('base_currency = "ERU"', ('3: there is no currency "ERU" (base_currency) — '
                                  "write its ISO 4217 code, such as EUR")),
        ('week_start = "mondays"', '3: week_start cannot be "mondays" (week_start) — did you mean "monday"?'),
        ("fiscal_year_start = 13", ("3: fiscal_year_start is 13, which is not between 1 and 12 "
                                   "(fiscal_year_start) — choose one that is")),
        ("sweep = 1", "3: sweep must be true or false, not 1 (sweep) — write sweep = true"),
        ('effective_at = "soon"', ('3: "soon" is no instant (effective_at) — '
                                  "write effective_at = 2026-01-01 or 2026-01-01T09:00:00Z")),
        ('[[fit]]\nname = "vp"\nwhen = { role = "vp" }', "3: points is missing (fit[vp].points) — add points = 7.5"),
        ('[[fit]]\nname = "vp"\npoints = "ten"\nwhen = { role = "vp" }',
         '5: points must be a number, not "ten" (fit[vp].points) — write points = 7.5'),
        ('[[fit]]\nname = "vp"\npoints = 0.12345\nwhen = { role = "vp" }',
         "5: points is 0.12345, finer than is counted (fit[vp].points) — use at most 3 decimals"),
        ('[[fit]]\nname = "vp"\npoints = 1\n\n[[fit]]\nname = "x"\npoints = 99\nwhen = { role = "y" }',
         '3: when is missing (fit[vp].when) — add when = { role = "cfo" }'),
        ('[[fit]]\nname = "a"\npoints = 90\nwhen = { x = 1 }\n[[fit]]\nname = "a"\npoints = 1\nwhen = { x = 2 }',
         '8: "a" is defined twice (fit[a].name) — rename or remove it; the first is in line 4'),
        ('[[fit]]\nname = "a"\npoints = 30\nwhen = { x = 1 }\n[thresholds]\nfit_min = 60',
         ("8: all fit rules together give 30 points, below fit_min with 60 (thresholds.fit_min) — "
         "lower fit_min or add [[fit]] rules")),
        ('[[engagement]]\nname = "p"\non = "page_view"\npoints = 1',
         '5: there is no event type "page_view" (engagement[p].on) — did you mean "page_viewed"?'),
        ('[[intent]]\nname = "p"\non = "won"', ('5: "won" is no engagement, so it raises no hand (intent[p].on) — '
         "use one of: page_viewed, form_submitted, content_downloaded, email_sent, email_delivered, email_bounced, "
         "email_opened, email_clicked, email_unsubscribed, spam_reported, event_registered, event_attended, "
         "ad_clicked, social_engaged, survey_answered, product_used")),
        ('[[engagement]]\nname = "p"\non = "email_unsubscribed"\npoints = -5\nhalf_life_days = 30',
         ("7: negative points must not fade, or a lead would qualify by waiting (engagement[p].half_life_days) — "
         "remove half_life_days")),
        ('[[engagement]]\nname = "p"\non = "page_viewed"\npoints = 5\ndaily_cap = 20\ncap = 10',
         ("7: daily_cap 20 is above cap 10 (engagement[p].daily_cap) — "
         "a day cannot earn more than the rule may in all; lower it")),
        ('[[engagement]]\nname = "p"\non = "page_viewed"\npoints = 5\ncap = 2.5',
         "7: cap 2.5 is below the 5 points of a single event (engagement[p].cap) — raise cap or lower points"),
        ('[[engagement]]\nname = "p"\non = "page_viewed"\npoints = 5\ncap = -1',
         "7: cap is -1 (engagement[p].cap) — use a number at least 0"),
        ('[[engagement]]\nname = "p"\non = "page_viewed"\npoints = 5\nwhen = { ulr = "x" }',
         '7: page_viewed has no field "ulr" (engagement[p].when.ulr) — did you mean "url"?'),
        ('[[engagement]]\nname = "p"\non = "page_viewed"\npoints = 5\ncap = 20',
         ("1: all engagement rules together give at most 20 points, below up with 40 (thresholds.up) — "
         "lower up or raise the caps")),
        ("[thresholds]\nup = 20\ndown = 30\nengaged_min = 5",
         ("5: down is 30 and up is 20 (thresholds.down) — "
         "down must be below up, so that a lead does not flicker between the two")),
        ("[thresholds]\nengaged_min = 50.5", ("4: engaged_min is 50.5, above up, which is 40 "
         "(thresholds.engaged_min) — a qualified lead is an engaged one; lower engaged_min")),
        ("[thresholds]\nfit_min = 120", "4: fit_min is 120 (thresholds.fit_min) — use a number between 0 and 100"),
        ('[thresholds]\ngates = ["budget", "money"]', ('4: "money" is not known here (thresholds.gates[2]) — '
         "use one of the choices: authority, budget, need, timing")),
        ("[thresholds]\ngrades = { A = 50, B = 20 }", ("4: the lowest grade begins at 20, so a lead below it has "
         "none (thresholds.grades.B) — let it begin at 0")),
        ("engagement_cap = 30", ("3: engagement_cap is 30, below up with 40: nobody could qualify (engagement_cap) — "
         "raise it, or 0 for no cap")),
        ('[[sla]]\nname = "s"\nfirst_touch = "4 hours"', ('5: first_touch must be a duration, not "4 hours" '
         '(sla[s].first_touch) — write numbers with units d, h, m or s, such as first_touch = "4h" or "1d2h", '
         'or "off"')),
        ('[[sla]]\nname = "s"\ncalendar = "defualt"', ('5: there is no calendar "defualt" (sla[s].calendar) — '
         'did you mean "default"?')),
        ('[[sla]]\nname = "s"\nwhen = { segment = "x" }', ("3: every SLA policy has a condition (sla) — "
         "add one without when, for all other handoffs")),
        ('[[sla]]\nname = "s"\ndecision = "2h"\nexpire_after = "1h"', ('6: expire_after "1h" is shorter than '
         "decision (sla[s].expire_after) — a handoff cannot expire before it is due; raise it or leave it out for "
         "twice decision")),
        ('[calendars.default.hours]\nmon-fri = ["9-17"]', ('4: "9-17" are no opening hours '
         '(calendars.default.hours.mon-fri) — write from-to on a 24-hour clock, such as "09:00-17:00"')),
        ('[calendars.default.hours]\nmon = ["09:00-13:00", "12:00-17:00"]', ('4: the opening hours under "mon" '
         "overlap (calendars.default.hours.mon) — join them or move them apart")),
        ('[calendars.default.hours]\nmon-wed = "09:00-13:00"\nwed = "09:00-12:00"', ('5: wednesday has hours by '
         '"mon-wed" already (calendars.default.hours.wed) — give each day once')),
        ("[calendars.default.hours]\n", ("3: a calendar needs opening hours on at least one weekday "
         '(calendars.default.hours) — write for instance mon-fri = ["09:00-12:00", "13:00-17:00"]')),
        ("[calendars.x]\nholidays = [2026-12-25,\n  25]", ("5: 25 is not a date (calendars.x.holidays[2]) — "
         "write it as 2026-12-24")),
        ('[[reasons]]\ncode = "x"\naction = "archive"\nafter_days = 3', ('6: after_days says nothing with action '
         '"archive" (reasons[x].after_days) — remove it, or recycle')),
        ('[[reasons]]\ncode = "x"\n[[reasons]]\ncode = "x"', ('6: rejection reason "x" is defined twice '
         "(reasons[x].code) — remove one of them")),
        ('[[routing]]\nname = "a"\nteam = "t"\n[[routing]]\nname = "b"\nteam = "u"', ('3: rule "a" has no '
         "condition, so no rule below it is ever asked (routing[a]) — move it to the end or give it "
         "when = { ... }")),
        ('[[channels]]\nname = "a"\nwhen = { medium = "cpc" }', ('5: a visit has no field "medium" '
         '(channels[a].when.medium) — did you mean "utm_medium"?')),
        ('[[budgets]]\nteam = "sales"\nlow_percent = 20\nhigh_percent = 15', ("5: low_percent 20 is not below "
         "high_percent 15 (budgets[sales].low_percent) — swap them or widen the range")),
        ("margin_percent = 101", "3: margin_percent is 101 (margin_percent) — use a percentage between 0 and 100"),
        ("horizons_days = [7, 7]", ("3: horizons_days must be different whole numbers of days from 1 to 730 "
         "(horizons_days) — write horizons_days = [7, 30, 90]")),
        ('[attribution]\nmodels = ["u_shaped"]', ('4: "u_shaped" is not known here (attribution.models[1]) — use one '
         "of the choices: first, last, last_non_direct, linear, position, time_decay, w")),
        ("[[stages]]\nname = 'a'\nrank = 1\nrole = 'known'", ("3: no stage has the role anonymous, engaged, mql, "
         "sal, sql, opportunity, won (stages) — give each of the eight roles to one stage, or leave all "
         "[[stages]] out for the usual ones")),
        ("policy = 3", "3: policy must be a table, not 3 (policy) — write a section [policy]"),
        ("fit = 'x'", '3: fit must be a list of tables, not "x" (fit) — write sections [[fit]]'),
        ('approvals = ["sales",\n "sales"]', '4: "sales" is listed twice (approvals[2]) — remove one of them'),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line_and_remedy(text: str, message: str) -> None:
    assert f"definition.toml:{message}" in mistakes(text)


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("{}", 'the condition is empty (segments[s].when) — name a field: { role = "cfo" }, or leave it out'),
        ('{ role = "" }', ("an empty text matches nothing (segments[s].when.role) — "
                          "use { known = false } for what is missing")),
        ("{ role = [] }", 'a list of values is needed here (segments[s].when.role) — write ["...", "..."]'),
        ("{ role = {} }", "the test is empty (segments[s].when.role) — write for instance { min = 200 }"),
        ("{ size = { mim = 3 } }", '"mim" is no test of a value (segments[s].when.size.mim) — did you mean "min"?'),
        ('{ size = { min = "3" } }', 'min needs a number, not "3" (segments[s].when.size.min) — write min = 200'),
        ("{ size = { min = 3, max = 2 } }", ("min 3 is above max 2 (segments[s].when.size.min) — "
                                            "nothing is both; swap them")),
        ("{ role = { contains = 3 } }", ("contains needs text, not 3 (segments[s].when.role.contains) — "
                                        'write contains = "..." or a list of texts')),
        ('{ role = { known = "yes" } }', ('known must be true or false, not "yes" (segments[s].when.role.known) — '
                                         "write known = true")),
        ("{ role = 2026-01-01 }", ("2026-01-01 cannot be compared (segments[s].when.role) — "
                                  "use text, a number, true or false")),
        ("{ any = [3] }", "3 is no condition (segments[s].when.any[1]) — write any = [{ ... }, { ... }]"),
        ('"vp"', 'when must be a table, not "vp" (segments[s].when) — write when = { role = "cfo" }'),
    ],
)  # fmt: skip
def test_a_mistake_in_a_condition(when: str, message: str) -> None:
    found = mistakes(f'[[segments]]\nname = "s"\nwhen = {when}\n')
    assert f"definition.toml:5: {message}" in found


def test_stages_must_be_told_apart() -> None:
    roles = ("anonymous", "known", "engaged", "mql", "sal", "sql", "opportunity", "won")
    text = "".join(
        f'[[stages]]\nname = "{role}"\nrank = {n}\nrole = "{role}"\n' for n, role in enumerate(roles)
    )
    assert [s.name for s in load(HEAD + text).stages] == list(roles)
    assert mistakes(text.replace("rank = 2", "rank = 1")) == [
        (
            'definition.toml:13: rank 1 is that of stage "known" already (stages[engaged].rank) — '
            "give each stage a rank of its own"
        )
    ]
    assert mistakes(text.replace("rank = 3", "rank = 0.5")) == [
        "definition.toml:17: rank must be a whole number, not 0.5 (stages[mql].rank) — write rank = 0"
    ]
    swapped = text.replace("rank = 3", "rank = 9")
    assert mistakes(swapped) == [
        (
            "definition.toml:21: sal has rank 4, below mql with 9 (stages[sal].rank) — "
            "ranks rise in this order: anonymous, known, engaged, mql, sal, sql, opportunity, won"
        )
    ]
    renamed = text.replace('name = "sal"', 'name = "sal"\nrenamed_from = ["mql"]')
    assert mistakes(renamed) == [
        'definition.toml:21: "mql" is still a stage (stages[sal].renamed_from[1]) — remove one of the two'
    ]


def test_case_37_a_renamed_stage_says_what_it_was() -> None:
    text = Path(package.__file__).with_name(DEFAULT_NAME).read_text("utf-8")
    renamed = load(text.replace('name = "sql"', 'name = "qualified"\nrenamed_from = ["sql"]'))
    assert next(s for s in renamed.stages if s.role == "sql").renamed_from == ("sql",)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    found = mistakes('time_zone = "x"\nsweep = 3\n[policy]\nbackward = "y"\nflood_min = 0\nmore = 1\n')
    assert [line.split(": ")[0] for line in found] == [f"definition.toml:{n}" for n in (3, 4, 6, 7, 8)]


def test_a_name_and_a_version_are_asked_for() -> None:
    with pytest.raises(DefinitionError) as caught:
        load("", origin="mine.toml")
    assert caught.value.problems == [
        'mine.toml:1: name is missing (name) — add name = "..."',
        "mine.toml:1: version is missing (version) — add version = 1",
    ]
    with pytest.raises(DefinitionError, match="cannot be a name"):
        load('name = "a@b"\nversion = 1')


@pytest.mark.parametrize(
    "text", ["x = " + "[" * 2000, "a = 1e9999999999\nb = ", "\x00", "a = 99999999-99-99"]
)
def test_absurd_documents_are_problems_not_crashes(text: str) -> None:
    with pytest.raises(DefinitionError):
        load(text)


def test_points_are_read_without_binary_float() -> None:
    text = '[[fit]]\nname = "a"\npoints = 50.001\nwhen = { x = 1 }\n[[fit]]\nname = "b"\npoints = -0.1\nwhen = { x = 2 }'
    assert [r.points for r in load(HEAD + text).fit] == [50_001, -100]


def test_durations() -> None:
    text = '[[sla]]\nname = "s"\nfirst_touch = "1h30m"\ndecision = "2d"\nmeeting = "off"\ngrace = "90s"\n'
    policy = load(HEAD + text).sla[0]
    assert policy.first_touch == 90 * MINUTE
    assert policy.decision == 16 * HOUR  # two working days of eight hours
    assert policy.expire_after == 32 * HOUR
    assert policy.meeting == 0
    assert policy.grace == 90_000


def test_what_is_left_out_comes_from_the_base() -> None:
    d = load(HEAD + "[thresholds]\nup = 55\n", base=DEFAULT)
    assert d.thresholds.up == 55_000
    assert d.thresholds.fit_min == DEFAULT.thresholds.fit_min
    assert d.fit == DEFAULT.fit
    assert d.reasons == DEFAULT.reasons
    assert (d.name, d.version) == ("t", 1)
    assert load(HEAD + "disqualifiers = []\n", base=DEFAULT).disqualifiers == ()


def test_a_calendar_of_ones_own_stands_beside_those_of_the_base() -> None:
    text = """
[calendars.late]
time_zone = "America/New_York"
holidays = [2026-12-25, "2026-12-26"]
extra = [{ date = 2026-12-19, open = "10:00-14:00" }]
[calendars.late.hours]
mon-thu = ["12:00-20:00"]
friday = ["12:00-16:00", "17:00-24:00"]
"""
    d = load(HEAD + text, base=DEFAULT)
    assert set(d.calendars) == {"default", "late"}
    late = d.calendars["late"]
    assert late.hours[4] == ((720, 960), (1020, 1440))
    assert late.hours[5] == ()
    assert len(late.holidays) == 2
    assert list(late.extra.values()) == [((600, 840),)]


def test_without_a_base_there_are_no_rules_but_all_that_must_be() -> None:
    d = load(HEAD)
    assert d.fit == ()
    assert d.engagement == ()
    assert [s.role for s in d.stages][-1] == "won"
    assert d.sla[0].calendar in d.calendars
    for key in ("fit_min", "fit_min_hand_raise", "up", "down", "engaged_min", "grades"):
        assert getattr(d.thresholds, key) == getattr(DEFAULT.thresholds, key)
    assert d.stages == DEFAULT.stages
    assert d.calendars == DEFAULT.calendars


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def test_a_definition_is_never_in_force_before_it_is_published() -> None:
    published = at("2026-03-01")
    assert load(HEAD, published_at=published).effective_at == published
    assert load(HEAD + "effective_at = 2026-01-01", published_at=published).effective_at == published
    later = load(HEAD + 'time_zone = "Europe/Vienna"\neffective_at = 2026-04-01', published_at=published)
    assert later.effective_at == at("2026-03-31T22:00:00")
    assert later.published_at == published
    assert load(HEAD + "effective_at = 2026-04-01T09:00:00Z").effective_at == at("2026-04-01T09:00:00")
    assert load(HEAD + 'effective_at = "2026-04-01"').effective_at == at("2026-04-01")


def test_case_43_huge_points_are_a_mistake() -> None:
    found = mistakes('[[fit]]\nname = "a"\npoints = 1e12\nwhen = { x = 1 }')
    assert found == [
        "definition.toml:5: points is 1E+12 (fit[a].points) — use a number between -1,000,000 and 1,000,000"
    ]


def test_where_is_another_word_for_when() -> None:
    d = load(HEAD + '[[intent]]\nname = "i"\non = "form_submitted"\nwhere = { intent = "hand_raise" }')
    assert d.intent[0].when is not None
    assert d.intent[0].when.test({"intent": "hand_raise"})
    assert DAY == 24 * HOUR
