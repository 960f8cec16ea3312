"""Scores: integers that fade by whole days, caps, once-only rules, thresholds."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import scoring
from processors.compiled import SHIFT, Compiled, compile_definition, fading
from processors.definition.model import DAY
from processors.events import BOT, PROXY, UNKNOWN_AGENT
from processors.model import State
from processors.scope import Scope
from tests.strategies import T0, Sent, at, default_definition, histories, sent
from tests.world import LAW, PEOPLE, run_of, variant

DEFAULT = compile_definition(default_definition())
LAWS = compile_definition(LAW)


def scored(*facts: Sent, d: Compiled = DEFAULT) -> State:
    s = State()
    for a, b, _, data in run_of([x.event for x in facts]):
        scoring.score(s, a >> 22, b, data, d)
    return s


def points(s: State, t: int, d: Compiled = DEFAULT) -> int:
    return scoring.engagement(s, d.day(t), d)


def views(n: int, t: int = at(1), first: int = 0, url: str = "/") -> list[Sent]:
    return [sent("page_viewed", t + k, first + k, {"url": url}) for k in range(n)]


def test_fading_table_is_the_exact_power_rounded() -> None:
    table = fading(14)
    assert table[0] == 1 << SHIFT
    assert table[14] == 1 << SHIFT - 1
    assert table[140] == 1 << SHIFT - 10
    for age in (1, 5, 13, 100):  # (value / 2**30) ** 14 lies around 2 ** -age
        low, high = Fraction(2 * table[age] - 1, 2 << SHIFT), Fraction(2 * table[age] + 1, 2 << SHIFT)
        assert low**14 <= Fraction(1, 2**age) <= high**14
    assert list(table) == sorted(table, reverse=True)
    assert table[-1] == 0


def test_half_of_it_is_left_after_a_half_life() -> None:
    s = scored(sent("content_downloaded", at(1, 23), 0, {"asset_id": "a"}))
    assert [points(s, at(1 + n)) for n in (0, 30, 60, 90)] == [12_000, 6_000, 3_000, 1_500]
    assert points(s, at(1 + 30 * 50)) == 0


def test_it_fades_at_midnight_of_the_reporting_zone_and_not_within_the_day() -> None:
    berlin = compile_definition(variant('time_zone = "Europe/Berlin"\n'))
    s = scored(sent("content_downloaded", at(1, 10), 0, {"asset_id": "a"}), d=berlin)
    day = [points(s, t, berlin) for t in (at(1, 22), at(1, 23) - 1, at(1, 23), at(2, 22))]
    assert day[0] == day[1] == 12_000
    assert day[2] == day[3] < 12_000


def test_ten_thousand_page_views_are_worth_the_cap() -> None:
    assert points(scored(*views(10_000)), at(1)) == 5_000
    days = [x for n in range(10) for x in views(10, at(1 + n), first=100 * n)]
    assert points(scored(*days), at(11)) == 10_000


def test_a_daily_cap_takes_a_part_of_the_event_that_reaches_it() -> None:
    capped = compile_definition(
        variant(
            '[[engagement]]\nname = "p"\non = "page_viewed"\npoints = 30\ndaily_cap = 40\nhalf_life_days = 9'
        )
    )
    assert points(scored(*views(2), d=capped), at(1), capped) == 40_000


def test_the_cap_of_all_cuts_the_sum() -> None:
    everything = [
        *views(50), *views(9, url="/pricing", first=100), *views(9, at(2), 200, "/pricing"), *views(9, at(3), 300, "/pricing"),
        *(sent("content_downloaded", at(n), 400 + 10 * n + k, {"asset_id": "a"}) for n in range(1, 4) for k in range(3)),
        *(sent("event_attended", at(3), 500 + n, {"event_id": f"w{n}", "kind": k}) for n, k in enumerate(("webinar", "fair"))),
        sent("form_submitted", at(3), 600, {"form_id": "f", "intent": "hand_raise"}),
    ]  # fmt: skip
    assert points(scored(*everything), at(3)) == 120_000


@pytest.mark.parametrize(("agent", "worth"), [("human", 500), ("unknown", 500), ("proxy", 0), ("bot", 0)])
def test_bots_and_proxies_score_nothing(agent: str, worth: int) -> None:
    s = scored(sent("email_opened", at(1), 0, {"send_id": "s", "agent": agent}))
    assert points(s, at(1)) == worth
    assert UNKNOWN_AGENT < PROXY < BOT


def test_once_only_and_negative_rules_do_not_fade() -> None:
    s = scored(*(sent("email_unsubscribed", at(n), n) for n in range(1, 4)))
    assert [points(s, at(n)) for n in (3, 300)] == [-20_000, -20_000]


def test_a_rule_looks_at_the_payload() -> None:
    assert points(scored(*views(1, url="https://example.org/pricing?x=1#y")), at(1)) == 9_000
    assert points(scored(*views(1, url="https://example.org/?next=/pricing")), at(1)) == 1_000


@given(histories(), st.integers(0, 300), st.integers(0, 100))
def test_time_alone_never_raises_a_score(history: list[Sent], days: int, more: int) -> None:
    s = scored(*history, d=LAWS)
    t = max((x.t for x in history), default=T0) + days * DAY
    assert points(s, t + more * DAY, LAWS) <= points(s, t, LAWS)


@given(
    histories(),
    st.sampled_from([0, 25_000, 60_000]),
    st.none() | st.tuples(st.sampled_from([0, 17_000, 90_000]), st.integers(-5, 60)),
)
def test_falls_on_is_the_first_instant_at_which_a_qualified_lead_may_no_longer_be(
    history: list[Sent], fit: int, override: tuple[int, int] | None
) -> None:
    s = scored(*history, d=LAWS)
    s.fit = fit
    t = max((x.t for x in history), default=T0)
    for x in history:
        e = x.event
        if scoring.is_hand_raise(e.b, e.data, LAWS):
            s.raised = max(s.raised, e.t)
    if override is not None:
        s.override = override[0], t + override[1] * DAY

    def keeps(at_ms: int) -> bool:
        return scoring.keeps(s, at_ms, scoring.level(s, at_ms, LAWS), LAWS)

    if not keeps(t):
        return
    days = [LAWS.days.start(LAWS.day(t) + n) for n in range(1, 500)]
    changes = sorted({*days, s.override[1], s.raised + 30 * DAY + 1})
    first = next((x for x in changes if x > t and not keeps(x)), 0)
    falls = scoring.falls_on(s, t, LAWS)
    if s.override[1] > t:  # it may be looked at too early, never too late
        assert not first or t < falls <= first or t < s.override[1] <= first
    else:
        assert falls == first


@given(histories())
def test_scoring_again_is_scoring(history: list[Sent]) -> None:
    run = run_of([x.event for x in history])
    once = scored(*history, d=LAWS)
    again = State()
    if run:
        again.a, again.b = run[-1][:2]
    scope = Scope("l:lead-1", (LAWS,), PEOPLE, lambda: (None, run))
    scoring.rescore(again, scope, LAWS)
    assert (again.acc, again.once) == (once.acc, once.once)


def test_fit_is_bounded_and_static() -> None:
    best = {"role": "CTO", "company_size": 500, "industry": "software", "country": "DE", "company": "c", "need": "yes",
            "timing": "q3", "budget": "yes"}  # fmt: skip
    assert scoring.fit_of(best, DEFAULT) == 100_000
    assert scoring.fit_of({"role": "intern"}, DEFAULT) == 0
    assert scoring.fit_of({}, DEFAULT) == 0


@pytest.mark.parametrize("value", [None, "", "no", "None", "unknown", False, 0, "negative"])
def test_a_gate_needs_to_be_known_and_positive(value: object) -> None:
    gated = compile_definition(variant('[thresholds]\ngates = ["budget"]\n'))
    assert not scoring.gates_open(State(attributes={"budget": value}), gated)
    assert scoring.gates_open(State(attributes={"budget": "approved"}), gated)
    assert not scoring.gates_open(State(), gated)
    assert scoring.gates_open(State(), DEFAULT)


def test_a_hand_raise_counts_for_thirty_days_and_until_it_is_answered() -> None:
    s = State(raised=at(1))
    assert scoring.raised(s, at(31), DEFAULT)
    assert not scoring.raised(s, at(31) + 1, DEFAULT)
    s.consumed = at(1)
    assert not scoring.raised(s, at(2), DEFAULT)


def test_an_override_stands_beside_the_machines_value() -> None:
    s = scored(*views(3))
    s.override = (80_000, at(9))
    assert scoring.level(s, at(9) - 1, DEFAULT) == 80_000
    assert scoring.level(s, at(9), DEFAULT) == points(s, at(9)) > 0
