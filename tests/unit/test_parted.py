"""Leads that were taken for one another: what they tell each other comes to rest, and nothing that was told is lost."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from processors.identity import aliases
from processors.model import encode
from processors.subject import effective
from tests.strategies import FITS, Sent, at, sent
from tests.world import Funnel, World

NOW = at(7)


def _call(n: int, lead: str) -> list[Sent]:
    """A lead that sales is called for."""
    facts: list[tuple[str, int, dict[str, Any]]] = [
        ("created", at(1, 9), {"source": "webinar", "generated_by": "marketing"}),
        ("attributes_changed", at(1, 9), {"fields": FITS}),
        ("form_submitted", at(1, 10), {"form_id": "f", "intent": "hand_raise"}),
    ]
    return [sent(*fact[:2], n + k, fact[2], subject={"lead_id": lead}) for k, fact in enumerate(facts)]


def _merged(n: int, t: int, loser: str, winner: str) -> Sent:
    payload = {"loser": loser, "winner": winner}
    return sent("merged", t, n, payload, subject={"lead_id": winner}, source_event_id=f"m{n}")


def _unmerged(n: int, t: int, of: int, winner: str) -> Sent:
    return sent("unmerged", t, n, {"merge_event_id": f"m{of}"}, subject={"lead_id": winner})


_ONE_IN_THREE = [_merged(50, at(2), "lead-1", "lead-3")]
_THREE_IN_TWO = [_merged(51, at(3), "lead-3", "lead-2"), _unmerged(61, at(4), 51, "lead-2")]
_TWO_IN_ONE = [_merged(52, at(5), "lead-2", "lead-1"), _unmerged(62, at(6), 52, "lead-1")]


_MERGES = (_ONE_IN_THREE, _THREE_IN_TWO, _TWO_IN_ONE)


@pytest.mark.parametrize("order", list(itertools.permutations(_MERGES)))
def test_a_circle_of_merges_of_which_two_were_taken_back_comes_to_rest(
    order: tuple[list[Sent], ...],
) -> None:
    """Whoever may have spoken for another tells so, and the other speaks later; nobody may answer that for ever."""
    w = World(now=0)
    for facts in (_call(0, "lead-2"), _call(10, "lead-3"), *([x] for part in order for x in part)):
        w.batch([x.event for x in facts], NOW)
        for _ in range(30):
            if w.bus:
                message = w.bus.pop(0)
                w.feed(message.to, (), NOW, True, [message])
        assert not w.bus, "they still tell each other something"
    assert w.row("l:lead-1").target == "l:lead-3"
    assert [name for name, _ in aliases(w.row("l:lead-3").members)] == ["l:lead-1"]
    for key in ("l:lead-2", "l:lead-3"):
        row = w.row(key)
        assert row.target == ""
        assert encode(row.head) == encode(w.alone(key, effective(row), NOW))


@pytest.mark.parametrize("named", ["click-17", "17@tracker"])
def test_a_click_that_two_leads_who_are_one_were_told_of_has_both_names(named: str) -> None:
    f = Funnel()
    f.fit()
    payload = {"send_id": "s1", "agent": "human"}
    f.say("email_clicked", at(1, 10), payload, source_system="mailer", source_event_id="click-17")
    f.say("email_clicked", at(1, 10, 900), payload, lead="lead-2", source_system="tracker",
          source_event_id="17@tracker")  # fmt: skip
    f.say("merged", at(1, 11), {"loser": "lead-2", "winner": "lead-1"})
    assert f.score() == 3_000
    system = "mailer" if named == "click-17" else "tracker"
    f.say("engagement_reclassified", at(1, 12), {"of": named, "agent": "bot"}, source_system=system)
    assert f.score() == 0
