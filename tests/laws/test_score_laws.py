"""The score is what DOMAIN 4 says, worked out here a second time: with fractions, from what publishers sent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from hypothesis import example, given
from hypothesis import strategies as st

from processors import scoring
from processors.days import DAY
from processors.explain import score_rows
from processors.subject import base_of, effective
from tests.judge import KEY, played
from tests.strategies import END, LAW_TOUCHES, SEEDS, T0, Sent, at, law_definition, moments, sent
from tests.world import LAWS

LAW = law_definition()


@st.composite
def visits(draw: st.DrawFn) -> list[Sent]:
    """Much engagement within four days, so that caps cut. Two clicks on one e-mail in one minute are one fact."""
    many = st.one_of(LAW_TOUCHES, st.just(("page_viewed", {"url": "https://example.org/"})))
    touches = draw(st.lists(st.tuples(many, moments(4)), max_size=24))
    found = [sent(type_, t, n, payload) for n, ((type_, payload), t) in enumerate(touches)]
    return list({x.event.b >> 16: x for x in found}.values())


def formula(found: Iterable[Sent], day: int) -> tuple[float, int]:
    """The score on a local day in milli-points, and how far rounding may have taken it: one for each rule and day."""
    zone = LAWS[0].days
    total, steps = 0.0, 0
    for rule in LAW.engagement:
        days: dict[int, int] = defaultdict(int)
        for x in sorted(found, key=lambda x: x.t):
            payload = x.wire["payload"]
            if x.wire["type"] != rule.on or payload.get("agent") in ("bot", "proxy"):
                continue
            if rule.when is None or rule.when.test(payload):
                days[zone.day(x.t)] += rule.points
                if rule.once:
                    break
        half = rule.half_life_days
        left = 0.0
        for of, raw in days.items():
            worth = min(raw, rule.daily_cap) if rule.daily_cap else raw
            left += worth * 0.5 ** ((day - of) / half) if half else worth
        steps += len(days)
        total += min(left, rule.cap) if rule.cap else left
    return min(total, LAW.engagement_cap), steps


#: More than the cap of a rule, over days: it has faded by the fifth, and is still cut.
CAPPED = [
    sent("page_viewed", at(day, 8 + hour), 4 * day + hour, {"url": "/"})
    for day in range(4)
    for hour in range(4)
]


@given(visits(), SEEDS, st.integers(4, 30))
@example(CAPPED, 0, 4)
def test_a_score_is_the_formula(found: list[Sent], seed: int, days: int) -> None:
    row = played(found, seed, end=T0 + 50 * DAY).row(KEY)
    day = LAWS[0].day(T0 + days * DAY)
    expected, steps = formula(found, day)
    assert abs(scoring.engagement(row.head, day, LAWS[0]) - expected) <= steps


@given(visits(), SEEDS, st.integers(4, 30))
@example(CAPPED, 0, 4)
def test_the_rows_of_a_score_sum_to_it_where_caps_cut(found: list[Sent], seed: int, days: int) -> None:
    row = played(found, seed, end=END).row(KEY)
    at = T0 + days * DAY
    rows = score_rows(row.head, base_of(row), effective(row), at, LAWS[0])
    assert sum(r.points for r in rows) == scoring.engagement(row.head, LAWS[0].day(at), LAWS[0])
