"""The definition in plain language, and what changed between two of them."""

from __future__ import annotations

from pathlib import Path

from processors.definition import load as package
from processors.definition.compare import NO_DIFFERENCE, compare
from processors.definition.load import DEFAULT_NAME, load
from processors.definition.plain import plain

TEXT = Path(package.__file__).with_name(DEFAULT_NAME).read_text("utf-8")
DEFAULT = load(TEXT, origin=DEFAULT_NAME)


def changed(*pairs: tuple[str, str], add: str = "") -> list[str]:
    text = TEXT
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    return compare(DEFAULT, load(text + add))


def test_the_plain_text_says_what_both_teams_sign() -> None:
    text = plain(DEFAULT)
    for sentence in (
        "# What we call a qualified lead: default, version 1",
        "1. it **fits**: at least 50 of 100 points of fit, **and is active**: at least 40 points of engagement; or",
        "2. it **raises its hand** (below) and has at least 20 points of fit.",
        "Activity alone never qualifies anybody.",
        "| company of 200 and more | 25 | company_size is at least 200 |",
        (
            '| pricing page | 8 | page viewed, if url contains one of "/pricing", "/plans", "/demo" | '
            "by half every 30 days | 16 a day, 32 in all |"
        ),
        "| e-mail opened | 0.5 | e-mail opened | by half every 7 days | 1 a day, 4 in all |",
        "- first contact by a human within 4 h of business time",
        "- accepted, or rejected with a reason, within 16 h of business time (2 working days)",
        "- business time: Monday to Friday 09:00-17:00 in the owner's time zone (UTC where that is unknown)",
        "| Rejected | timing | Not now | back to marketing; may qualify again after 90 days |",
        "| Disqualified | spam | No real person | never contacted by sales again |",
        "- marketing spends 6 % to 12 % of booked revenue (trailing 12 months)",
        "Team **sales**.",
        "| marketing |  |  |  |",
        "| team | name | date | signature |",
    ):
        assert sentence in text, sentence


def test_the_plain_text_leaves_nothing_out_that_is_signed() -> None:
    """Stages, channels, what brings a lead back, and each value of each rule, also of lists that tables cut."""
    text = plain(DEFAULT)
    for sentence in (
        "| mql | consideration | qualified as above, and handed to sales |",
        "| sal | consideration | sales accepts the handoff |",
        "A later stage that the CRM reports is followed, an earlier one not; that is noted.",
        "- who does not want to be contacted by sales is not handed over; an open handoff is then withdrawn",
        "- after a reassignment the answer of the former owner counts for another 1 h of business time",
        "- more than 50 new handoffs for a team within an hour, if that is also more than 5 times the usual, are held back",
        "A newly raised hand brings a lead back to sales at once, whatever the answer was",
        "once its engagement was below 40 points and reaches them again",
        "- calls and meetings of sales earn none of it",
        '- direct: (source is one of "direct", "direct_traffic" or utm_source is "(direct)"',
    ):
        assert sentence in text, sentence
    rules = (*DEFAULT.fit, *DEFAULT.engagement, *DEFAULT.intent, *DEFAULT.disqualifiers, *DEFAULT.channels)
    for rule in rules:
        assert rule.when is None or rule.when.text in text, rule.name


def test_what_the_crm_reports_follows_the_policy() -> None:
    followed = plain(load(TEXT.replace('backward = "record"', 'backward = "adopt"')))
    assert "A later stage that the CRM reports is followed, an earlier one as well." in followed
    noted = plain(load(TEXT.replace('stage_reported = "adopt"', 'stage_reported = "record"')))
    assert "Stages that the CRM reports are noted and move nobody." in noted
    more = plain(load(TEXT.replace("[policy]", '[[stages]]\nname = "trial"\nrank = 35\n\n[policy]', 1)))
    assert "| trial |  | the CRM reports it |" in more


def test_the_plain_text_follows_the_definition() -> None:
    text = plain(
        load(
            'name = "mine"\nversion = 3\neffective_at = 2026-12-01T09:30:00+01:00\nsweep = true\n'
            'time_zone = "Europe/Vienna"\napprovals = ["board"]\n'
            '[thresholds]\nfit_min = 0\nfit_min_hand_raise = 0\ngates = ["budget", "need"]\n'
            '[[sla]]\nname = "big ones"\nwhen = { segment = "enterprise" }\nfirst_touch = "30m"\n'
            'escalate = "reassign"\ngrace = "90s"\n[[sla]]\nname = "others"\nmeeting = "5d"\npausable = false\n'
            '[calendars.default]\nholidays = [2026-12-25]\n[calendars.default.hours]\nmon-thu = "08:00-12:00"\n'
            'sat = ["10:00-11:00", "12:00-24:00"]\n'
            '[[routing]]\nname = "big"\nteam = "key accounts"\nwhen = { segment = "enterprise" }\n',
            base=DEFAULT,
        )
    )
    for sentence in (
        "In force from 2026-12-01 09:30 (Europe/Vienna).",
        "All leads are looked at anew",
        "activity alone qualifies",
        "In both cases it must also be known and positive: budget, need.",
        '**big ones** (segment is "enterprise")',
        "within 30 min of business time",
        "announced after 1 min 30 s and given to somebody else",
        "the clock may not be paused",
        "Monday to Thursday 08:00-12:00, Saturday 10:00-11:00 and 12:00-24:00",
        "closed on 2026-12-25",
        '1. big: team **key accounts**, if segment is "enterprise"',
        "Otherwise: team **sales**.",
        "| board |  |  |  |",
    ):
        assert sentence in text, sentence


def test_case_38_no_difference_is_said_so() -> None:
    again = load(
        TEXT.replace("version = 1", "version = 2").replace("# The best of", "# As ever, the best of")
    )
    assert compare(DEFAULT, again) == [NO_DIFFERENCE]


def test_thresholds_and_general_settings() -> None:
    found = changed(
        ("up = 40", "up = 45.5"),
        ("gates = []", 'gates = ["budget"]'),
        ("A = 80", "A = 90"),
        ('base_currency = "EUR"', 'base_currency = "USD"'),
        ("margin_percent = 75", "margin_percent = 72.5"),
        ("horizons_days = [7, 30, 90]", "horizons_days = [7, 30, 60]"),
        ("engagement_cap = 120", "engagement_cap = 0"),
        ('previous_owner = "1h"', 'previous_owner = "30m"'),
    )
    assert found == [
        "Threshold: up from 40 to 45.5.",
        "Threshold: gates: budget added.",
        (
            "Threshold: grades from A from 80, B from 65, C from 50, D from 35, E from 20, F from 0 to "
            "A from 90, B from 65, C from 50, D from 35, E from 20, F from 0."
        ),
        "Policy: grace of the previous owner from 1 h to 30 min.",
        "Engagement in all: at most from 120 to none points.",
        "General: base currency from EUR to USD.",
        "General: margin from 75 % to 72.5 %.",
        "General: conversion horizons (days): 60 added; 90 removed.",
    ]


def test_rules_that_came_went_and_changed() -> None:
    found = changed(
        ('name = "survey answered"', 'name = "poll answered"'),
        ("half_life_days = 45", "half_life_days = 60"),
        ('contains = ["/pricing", "/plans", "/demo"]', 'contains = "/pricing"'),
        ("points = 12", "points = 12.5"),
    )
    assert found == [
        'Engagement rule "poll answered" is new: on survey_answered, points 3, half-life (days) 30, daily cap 3, cap 6.',
        (
            'Engagement rule "survey answered" is gone (it was: on survey_answered, points 3, half-life (days) 30, '
            "daily cap 3, cap 6)."
        ),
        (
            'Engagement rule "pricing page": condition from url contains one of "/pricing", "/plans", "/demo" '
            'to url contains "/pricing".'
        ),
        'Engagement rule "content downloaded": points from 12 to 12.5.',
        'Engagement rule "webinar attended": half-life (days) from 45 to 60.',
    ]


def test_case_37_renamed_and_removed_stages() -> None:
    extra = '\n[[stages]]\nname = "nurturing"\nrank = 5\n'
    before = load(TEXT + extra)
    after = load(TEXT.replace('name = "sql"', 'name = "qualified"\nrenamed_from = ["sql"]'))
    assert compare(before, after) == [
        'Stage "sql" is now called "qualified".',
        'Stage "nurturing" is gone; where it was entered it is shown as "retired:nurturing".',
    ]
    assert compare(after, before)[0] == 'Stage "nurturing" is new, with rank 5.'


def test_deadlines_calendars_routing_reasons_and_order() -> None:
    found = changed(
        ('first_touch = "4h"', 'first_touch = "2h"'),
        ("holidays = []", "holidays = [2026-12-25]"),
        ('mon-fri = ["09:00-17:00"]', 'mon-fri = ["09:00-12:00", "13:00-17:00"]'),
        ("after_days = 90", "after_days = 60"),
        ("# sweep = true ", "sweep = true #"),
        add='\n[[routing]]\nname = "large"\nteam = "key accounts"\nwhen = { segment = "enterprise" }\n',
    )
    assert found == [
        "All leads are looked at anew when it comes into force.",
        'SLA policy "standard": first touch from 4 h to 2 h.',
        (
            'Calendar "default": opening hours from Monday to Friday 09:00-17:00 '
            "to Monday to Friday 09:00-12:00 and 13:00-17:00."
        ),
        'Calendar "default": holidays: 2026-12-25 added.',
        'Routing rule "large" is new: team key accounts, if segment is "enterprise".',
        'Reason "rejection: timing": after days from 90 to 60.',
    ]
    first, second = '[[segments]]\nname = "enterprise"', '[[segments]]\nname = "mid_market"'
    order = changed((first, "XX"), (second, first), ("XX", second))
    assert (
        'Segment "enterprise": condition from company_size is at least 1000 to company_size is at least 200.'
        in order
    )
    assert "Segments are asked in another order: mid_market, enterprise, small_business, micro." in order
