"""A publication is a proposal: who agreed, and from when it therefore holds."""

from __future__ import annotations

import random
from typing import Any

import pytest

from processors.agreement import digest
from processors.definition.load import load
from processors.definition.plain import plain
from processors.reference import Reference, apply
from schemas.envelope import Envelope
from streams.definitions import default_text
from tests.strategies import at
from tests.world import Funnel

BASE = load('name = "base"\nversion = 1\n')
T0, HOUR = at(1, 9), 3_600_000


def text_of(version: int, more: str = "") -> str:
    return f'name = "ours"\nversion = {version}\n{more}'


def published(version: int, t: int, more: str = "", **payload: Any) -> Envelope:
    given = {"toml": text_of(version, more), "name": "ours", "version": version} | payload
    return Envelope(type="definition_published", occurred_at=t, payload=given)


def approved(version: int, team: str, t: int, by: str = "owner-1", **payload: Any) -> Envelope:
    given = {"name": "ours", "version": version, "team": team, "by": by} | payload
    return Envelope(type="definition_approved", occurred_at=t, payload=given)


def known(*facts: Envelope) -> Reference:
    return apply(Reference(BASE), facts)


def states(r: Reference, now: int) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(f"{s.definition.name}@{s.definition.version}", s.state, s.missing) for s in r.standings(now)]


def test_a_definition_takes_effect_when_every_team_it_names_has_approved() -> None:
    one = known(published(1, T0), approved(1, "sales", T0 + HOUR))
    assert one.definition_at(T0 + 9 * HOUR).name == "base"
    assert states(one, T0 + HOUR) == [("base@1", "in force", ()), ("ours@1", "proposed", ("marketing",))]
    both = apply(one, [approved(1, "marketing", T0 + 3 * HOUR, by="owner-2")])
    assert both.definition_at(T0 + 3 * HOUR - 1).name == "base"
    d = both.definition_at(T0 + 3 * HOUR)
    assert (d.name, d.effective_at) == ("ours", T0 + 3 * HOUR)
    assert [(s.team, s.by, s.at) for s in d.signatures] == [
        ("marketing", "owner-2", T0 + 3 * HOUR), ("sales", "owner-1", T0 + HOUR),
    ]  # fmt: skip
    assert states(both, T0 + 3 * HOUR) == [("base@1", "superseded", ()), ("ours@1", "in force", ())]


def test_it_waits_for_its_own_instant_if_that_is_later() -> None:
    r = known(
        published(1, T0, effective_at=T0 + 9 * HOUR, signed_by=["marketing"]), approved(1, "sales", T0 + HOUR)
    )
    assert [d.effective_at for d in r.definitions] == [0, T0 + 9 * HOUR]
    assert states(r, T0 + 2 * HOUR)[1] == ("ours@1", "agreed", ())


def test_an_unsigned_one_needs_nobody_and_is_shown_so() -> None:
    r = known(published(1, T0, unsigned=True))
    d = r.definition_at(T0)
    assert (d.name, d.unsigned) == ("ours", True)
    assert "**Unsigned**: it was published without the approval of the teams." in plain(d)


def test_one_that_names_no_team_needs_no_approval() -> None:
    assert known(published(1, T0, "approvals = []\n")).definition_at(T0).name == "ours"


def test_the_signatures_stand_in_the_document() -> None:
    r = known(
        published(1, T0), approved(1, "sales", T0 + HOUR), approved(1, "marketing", T0 + HOUR, by="owner-7")
    )
    document = plain(r.definition_at(T0 + HOUR))
    assert "| marketing | owner-7 | 2026-03-02 10:00 (UTC) | approved |" in document
    assert "| sales | owner-1 | 2026-03-02 10:00 (UTC) | approved |" in document


def test_effective_at_never_precedes_the_record_whatever_the_publisher_says() -> None:
    e = published(1, T0 - 90 * HOUR, effective_at=T0 - 80 * HOUR, signed_by=["marketing", "sales"])
    r = apply(Reference(BASE), [e], [T0])
    assert [d.effective_at for d in r.definitions] == [0, T0]
    late = apply(
        Reference(BASE),
        [published(1, T0, signed_by=["sales"]), approved(1, "marketing", T0 - 50 * HOUR)],
        [T0, T0 + HOUR],
    )
    assert late.definitions[1].effective_at == T0 + HOUR


def test_an_approval_counts_for_the_text_that_was_read() -> None:
    other = known(published(1, T0, signed_by=["sales"]), approved(1, "marketing", T0, digest=digest("other")))
    assert states(other, T0)[1] == ("ours@1", "proposed", ("marketing",))
    same = apply(other, [approved(1, "marketing", T0 + HOUR, digest=digest(text_of(1)))])
    assert same.definitions[1].effective_at == T0 + HOUR


def test_the_first_publication_of_a_version_stands_and_the_first_approval_of_a_team() -> None:
    signed = ["marketing", "sales"]
    r = known(
        published(1, T0, signed_by=signed), published(1, T0 + HOUR, "sweep = true\n", signed_by=signed),
        published(2, T0 + HOUR, signed_by=["sales"]),
        approved(2, "marketing", T0 + 2 * HOUR), approved(2, "marketing", T0 + 5 * HOUR, by="owner-2"),
    )  # fmt: skip
    assert [(d.version, d.effective_at, d.sweep) for d in r.definitions[1:]] == [
        (1, T0, False), (2, T0 + 2 * HOUR, False),
    ]  # fmt: skip
    (problem,) = r.problems
    assert "ours@1 was published before with another text, which stands" in problem


def test_a_proposal_that_a_newer_version_overtook_never_comes_into_force() -> None:
    signed = ["marketing", "sales"]
    r = known(
        published(1, T0), published(2, T0, signed_by=signed),
        approved(1, "sales", T0 + HOUR), approved(1, "marketing", T0 + HOUR),
    )  # fmt: skip
    assert [d.version for d in r.definitions[1:]] == [2]
    assert states(r, T0 + 2 * HOUR)[1:] == [("ours@1", "overtaken", ()), ("ours@2", "in force", ())]


def test_the_order_of_arrival_changes_nothing() -> None:
    facts = [
        published(1, T0, signed_by=["sales"]), published(1, T0 + 1, "sweep = true\n"), published(2, T0, unsigned=True),
        published(1, T0 + 2), published(1, T0 + 3, "sweep = 7\n"), approved(1, "marketing", T0 + HOUR),
        approved(1, "marketing", T0 + 2, by="owner-2"), approved(3, "sales", T0), approved(1, "kitchen", T0),
    ]  # fmt: skip

    def seen(r: Reference) -> object:
        return states(r, T0 + HOUR), [(d.effective_at, d.signatures) for d in r.definitions], r.problems

    expected = seen(known(*facts))
    shuffler = random.Random(11)
    for _ in range(30):
        shuffler.shuffle(facts)
        r = known(*facts[:4])
        assert seen(apply(r, facts[4:])) == expected


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"team": ""}, "team must be text"),
        ({"by": 7}, "by must be text"),
        ({"version": True}, "version is True; write the whole number"),
        ({"version": "two"}, "version is 'two'; write the whole number"),
        ({"name": None}, "name must be text"),
    ],
)
def test_an_approval_that_says_nothing_usable_is_reported(payload: dict[str, Any], words: str) -> None:
    given = {"name": "ours", "version": 1, "team": "sales", "by": "owner-1"} | payload
    r = known(Envelope(type="definition_approved", occurred_at=T0, payload=given))
    assert words in r.problems[0]


def test_leads_are_judged_by_a_proposal_only_once_it_is_approved() -> None:
    f = Funnel()
    text = (
        default_text()
        .replace("version = 1", "version = 2", 1)
        .replace("up = 40", "up = 10")
        .replace("down = 25", "down = 5")
    )
    f.learn(
        "definition_published",
        at(1, 9),
        toml=text,
        name="default",
        version=2,
        effective_at=at(1, 9),
        signed_by=["sales"],
    )
    f.fit(at(1, 9))
    f.say("content_downloaded", at(1, 10), {"asset_id": "a"})
    assert f.stages()[-1] == "engaged"
    f.learn("definition_approved", at(1, 11), name="default", version=2, team="marketing", by="owner-1")
    f.say("content_downloaded", at(1, 12), {"asset_id": "b"})
    (made,) = f.out("handoffs", kind="made")
    assert (made["definition"], made["trigger_at"], made["flags"]) == ("default@2", at(1, 12), [])


def test_a_handoff_says_that_its_definition_is_unsigned() -> None:
    f = Funnel()
    text = default_text().replace("version = 1", "version = 2", 1)
    f.learn(
        "definition_published", at(1, 8), toml=text, name="default", version=2, effective_at=at(1, 8),
        signed_by=[], unsigned=True,
    )  # fmt: skip
    f.fit()
    f.hot()
    (made,) = f.out("handoffs", kind="made")
    assert made["flags"] == ["unsigned definition"]
