"""Reference data: the same snapshot from any order, and what holds when."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import pytest

from processors.days import day_number
from processors.definition.load import load
from processors.reference import EMPTY, Reference, apply
from schemas.envelope import Envelope

DAY = 86_400_000
T0 = 20_000 * DAY
BASE = load('name = "base"\nversion = 1\n')


WIN_MODEL = '{"won": %d, "lost": 2, "currency": "EUR", "features": {"source": {"webinar": [1, 1]}}}'


def said(type_: str, at: int, **payload: Any) -> Envelope:
    return Envelope(type=type_, occurred_at=at, payload=payload)


def published(version: int, at: int, *, more: str = "", name: str = "ours", **payload: Any) -> Envelope:
    text = f'name = "{name}"\nversion = {version}\n{more}'
    given = {"signed_by": ["marketing", "sales"]} | payload
    return said("definition_published", at, toml=text, name=name, version=version, **given)


def owner(name: str, at: int, team: str = "sales", *, active: bool = True, **more: Any) -> Envelope:
    return said("owner_changed", at, owner=name, team=team, active=active, **more)


def rate(base: str, quote: str, date: str, value: str, at: int = T0) -> Envelope:
    return said("fx_rate_set", at, base=base, quote=quote, date=date, rate=value)


def test_case_38_a_version_holds_from_its_effective_at() -> None:
    r = apply(Reference(BASE), [published(2, T0 + DAY), published(1, T0)])
    assert [(d.name, d.version) for d in r.definitions] == [("base", 1), ("ours", 1), ("ours", 2)]
    assert r.definition_at(T0 - 1).name == "base"
    assert r.definition_at(T0).version == 1
    assert r.definition_at(T0 + DAY - 1).version == 1
    assert r.definition_at(T0 + 9 * DAY).version == 2
    assert r.definition("ours", 1) is r.definitions[1]
    assert r.definition("ours", 9) is None


def test_effective_at_never_precedes_publication() -> None:
    early = published(1, T0, effective_at=T0 - 5 * DAY)
    later = published(2, T0, effective_at=T0 + 5 * DAY)
    r = apply(EMPTY, [early, later])
    assert [d.effective_at for d in r.definitions] == [T0, T0 + 5 * DAY]


def test_an_older_version_never_follows_a_newer_one() -> None:
    r = apply(
        EMPTY, [published(3, T0), published(2, T0, effective_at=T0 + DAY), published(1, T0, name="other")]
    )
    assert [(d.name, d.version) for d in r.definitions] == [("other", 1), ("ours", 3)]
    assert r.definition("ours", 2) is not None  # handoffs may still name it


def test_omitted_parts_come_from_the_base() -> None:
    base = load('name = "base"\nversion = 1\n[thresholds]\nup = 77\n')
    r = apply(Reference(base), [published(1, T0)])
    assert r.definition_at(T0).thresholds.up == 77_000
    packaged = apply(Reference(base, defaults=BASE), [published(1, T0)])
    assert packaged.definition_at(T0).thresholds.up == 40_000
    assert packaged.definition_at(T0 - 1).thresholds.up == 77_000


def test_a_definition_that_does_not_load_is_reported_and_changes_nothing() -> None:
    r = apply(Reference(BASE), [published(1, T0), published(2, T0 + DAY, more="sweep = 3\n")])
    assert r.definition_at(T0 + 2 * DAY).version == 1
    (problem,) = r.problems
    assert "ours@2:3: sweep must be true or false, not 3" in problem
    assert "the one before stays in force" in problem
    mended = apply(r, [published(2, T0 + 2 * DAY)])
    assert mended.problems == ()
    assert mended.definition_at(T0 + 3 * DAY).version == 2


def test_a_definition_under_a_false_name_is_reported() -> None:
    e = said("definition_published", T0, toml='name = "a"\nversion = 1', name="b", version=1)
    r = apply(EMPTY, [e])
    assert r.definitions == ()
    assert "called b@1 outside and a@1 inside" in r.problems[0]


def test_no_definition_at_all() -> None:
    with pytest.raises(LookupError):
        EMPTY.definition_at(T0)


def test_owners_as_of_an_instant() -> None:
    r = apply(
        EMPTY,
        [
            owner("owner-1", T0),
            owner("owner-1", T0 + 10 * DAY, active=False),
            owner("owner-2", T0, weight=3, time_zone="Europe/Vienna"),
            owner("owner-3", T0, out_of_office_until=T0 + 2 * DAY),
            owner("owner-4", T0, team="partners"),
            owner("owner-5", T0, weight=0),
        ],
    )

    def names(at: int) -> list[str]:
        return [o.owner for o in r.owners_of("sales", at)]

    assert names(T0 + 1) == ["owner-1", "owner-2"]
    assert names(T0 + 2 * DAY) == ["owner-1", "owner-2", "owner-3"]
    assert names(T0 + 11 * DAY) == ["owner-2", "owner-3"]
    vienna = r.owner("owner-2", T0)
    assert vienna is not None
    assert (vienna.weight, vienna.time_zone) == (3, "Europe/Vienna")
    gone = r.owner("owner-1", T0 + 10 * DAY)
    assert gone is not None
    assert not gone.present(T0 + 10 * DAY)
    assert r.owner("owner-9", T0) is None
    assert names(T0 - DAY) == ["owner-1", "owner-2"]  # before the first word of somebody, that word holds
    assert len(r.all_owners(T0)) == 5


def test_an_owner_in_no_known_zone_is_kept_and_reported() -> None:
    r = apply(EMPTY, [owner("owner-1", T0, time_zone="Europe/Wien")])
    assert [o.time_zone for o in r.owners_of("sales", T0)] == [""]
    assert "Europe/Wien" in r.problems[0]


@pytest.mark.parametrize("bad", [{"weight": 2_000_000}, {"out_of_office_until": "some day"}, {"team": ""}])
def test_an_owner_that_cannot_be_used_is_reported_and_stops_nobody(bad: dict[str, Any]) -> None:
    """Found by playing: every worker ended on it, and again after each start, for the topic is kept whole."""
    r = apply(EMPTY, [owner("owner-1", T0), owner("owner-2", T0, **bad)])
    assert [o.owner for o in r.all_owners(T0)] == ["owner-1"]
    assert len(r.problems) == 1
    assert [o.owner for o in apply(r, [owner("owner-2", T0 + 1)]).all_owners(T0)] == ["owner-1", "owner-2"]


def test_case_47_an_address_that_was_erased_twice_was_suppressed_in_between() -> None:
    """What was decided of those who came with it between the two is decided so again."""
    r = apply(EMPTY, [said("address_suppressed", t, address_hash="0f") for t in (T0 + DAY, T0 + 5 * DAY)])
    assert [r.suppressed("0f", T0 + n * DAY) for n in (0, 1, 3, 6)] == [0, T0 + DAY, T0 + DAY, T0 + 5 * DAY]
    assert r.suppressed("0e", T0 + 6 * DAY) == r.suppressed("0g", T0 + 6 * DAY) == 0


def test_case_45_only_the_rate_of_that_very_day_counts() -> None:
    r = apply(EMPTY, [rate("USD", "EUR", "2026-11-20", "0.9"), rate("EUR", "JPY", "2026-11-20", "160")])
    day = day_number(2026, 11, 20)
    assert r.convert(1000, "USD", day, "EUR") == 900
    assert r.convert(1000, "USD", day + 1, "EUR") is None
    assert r.convert(1600, "JPY", day, "EUR") == 1000  # by the inverse
    assert r.convert(1000, "EUR", day + 5, "EUR") == 1000
    assert r.convert(1000, "GBP", day, "EUR") is None
    assert r.rate("EUR", "USD", day) == Fraction(10, 9)


def test_case_45_a_restated_rate_replaces_the_one_of_its_day() -> None:
    first = apply(EMPTY, [rate("USD", "EUR", "2026-11-20", "0.9")])
    after = apply(first, [rate("USD", "EUR", "2026-11-20", "0.8", T0 + 1)])
    day = day_number(2026, 11, 20)
    assert after.convert(1000, "USD", day, "EUR") == 800
    assert first.convert(1000, "USD", day, "EUR") == 900  # the snapshot before stays as it was
    late = apply(after, [rate("USD", "EUR", "2026-11-20", "0.7", T0 - 1)])
    assert late.convert(1000, "USD", day, "EUR") == 800


@pytest.mark.parametrize(
    ("e", "problem"),
    [
        (rate("USD", "ERU", "2026-11-20", "1"), "no currency 'ERU'"),
        (rate("USD", "EUR", "2026-11-20", "-1"), "rate is '-1'"),
        (rate("USD", "EUR", "2026-11-20", "0.0"), "rate is '0.0'"),
        (rate("USD", "EUR", "yesterday", "1"), "date is 'yesterday'"),
        (owner("owner-1", T0, weight=-1), "weight of owner owner-1 is -1"),
        (owner("", T0), "owner must be text"),
        (said("source_priority_set", T0, source_system="crm", priority=8), "priority of crm is 8"),
        (said("win_model_published", T0, as_of=T0, counts="{"), "counts are no JSON"),
        (said("win_model_published", T0, as_of="?", counts="{}"), "as_of is '?'"),
        (said("win_model_published", T0, as_of=T0, counts="{}"), "counts: Object missing required field"),
        (said("win_model_published", T0, as_of=T0, counts=WIN_MODEL % -1), "`$.won`"),
        (
            said("win_model_published", T0, as_of=T0, counts=WIN_MODEL.replace("EUR", "EUX") % 1),
            "no currency 'EUX'",
        ),
        (said("definition_published", T0), "toml must be the text"),
        (said("campaign_renamed", T0, old="a"), "new must be text"),
    ],
)
def test_what_cannot_be_used_is_reported_never_raised(e: Envelope, problem: str) -> None:
    r = apply(EMPTY, [e])
    assert len(r.problems) == 1
    assert problem in r.problems[0]
    assert e.type in r.problems[0]


def test_priorities_become_places_in_the_order() -> None:
    r = apply(
        EMPTY,
        [said("source_priority_set", T0, source_system=s, priority=p) for s, p in (("crm", 0), ("web", 7))],
    )
    assert r.priority_of("crm") > r.priority_of("unheard of") > r.priority_of("web")
    assert {r.priority_of(s) for s in ("crm", "web", "x")} <= set(range(8))


def test_campaigns_keep_their_name_through_renames_and_circles() -> None:
    renames = [("a", "b"), ("b", "c"), ("x", "y"), ("y", "x")]
    r = apply(EMPTY, [said("campaign_renamed", T0, old=o, new=n) for o, n in renames])
    assert [r.campaign(n) for n in ("a", "b", "c", "q")] == ["c", "c", "c", "q"]
    assert r.campaign("x") == r.campaign("y")


def test_the_win_model_in_force() -> None:
    models = [
        said("win_model_published", T0 + n * DAY, as_of=T0 + n * DAY - 5, counts=WIN_MODEL % n)
        for n in (0, 1)
    ]
    r = apply(EMPTY, models)
    assert r.win_model_at(T0 - 1) is None
    first, second = r.win_model_at(T0 + DAY - 1), r.win_model_at(T0 + DAY)
    assert first is not None
    assert second is not None
    assert (first.model.won, second.model.won) == (0, 1)


def test_the_order_of_arrival_and_repetition_change_nothing() -> None:
    facts = [
        published(1, T0), published(2, T0 + DAY), published(2, T0 + DAY, more="sweep = true\n"),
        owner("owner-1", T0), owner("owner-1", T0, active=False), owner("owner-1", T0 + 1, team="partners"),
        rate("USD", "EUR", "2026-11-20", "0.9"), rate("USD", "EUR", "2026-11-20", "0.8"),
        said("source_priority_set", T0, source_system="crm", priority=1),
        said("campaign_renamed", T0, old="a", new="b"), said("campaign_renamed", T0, old="a", new="c"),
    ]  # fmt: skip
    recorded = [T0 + n for n in range(len(facts))]

    def seen(r: Reference) -> object:
        day = day_number(2026, 11, 20)
        return (
            [(d.name, d.version, d.effective_at, d.sweep) for d in r.definitions], r.owner("owner-1", T0),
            r.owner("owner-1", T0 + 1), r.rate("USD", "EUR", day), r.priority_of("crm"), r.campaign("a"), r.problems,
        )  # fmt: skip

    expected = seen(apply(Reference(BASE), facts, recorded))
    shuffler = random.Random(7)
    for _ in range(20):
        mixed = [*list(zip(facts, recorded, strict=True)), (facts[3], recorded[3])]
        shuffler.shuffle(mixed)
        r = Reference(BASE)
        while mixed:  # in batches of any size
            cut = shuffler.randint(1, len(mixed))
            r = apply(r, [e for e, _ in mixed[:cut]], [at for _, at in mixed[:cut]])
            mixed = mixed[cut:]
        assert seen(r) == expected


def test_of_makes_a_reference_from_definitions() -> None:
    r = Reference.of(BASE, load('name = "base"\nversion = 2\neffective_at = 2026-01-01'))
    assert r.definition_at(0).version == 1
    assert r.definition_at(T0 + 1000 * DAY).version == 2


def test_other_events_are_passed_over() -> None:
    assert apply(EMPTY, [said("page_viewed", T0)]) is EMPTY
