"""What consent means (DOMAIN 5, and 8, case 47): through the whole topology."""

from __future__ import annotations

from processors.definition.model import MINUTE
from processors.model import WITHDRAWN
from tests.strategies import at
from tests.world import Funnel, handed_over


def test_case_47_consent_gone_between_mql_and_handoff_is_no_call() -> None:
    """The withdrawal happened after the lead had qualified, and is read before anybody was called."""
    f = Funnel(live=False)
    f.fit()
    qualified = f.hot()
    f.say("consent_changed", qualified + MINUTE, {"purpose": "sales_contact", "granted": False})
    f.driver.catch_up()
    assert f.stages()[-1] == "mql"
    assert f.out("handoffs", kind="made") == []
    g = Funnel()
    g.fit()
    g.say("consent_changed", at(1, 9, 30), {"purpose": "sales_contact", "granted": False})
    g.hot()
    assert g.stages()[-1] == "mql"
    assert g.out("handoffs") == []
    assert [x["rule"] for x in g.out("stage_changes", kind="refused")] == ["no consent to be contacted"]


def test_without_consent_to_profiling_nothing_is_scored_and_a_raised_hand_counts() -> None:
    f = Funnel()
    f.fit()
    f.say("event_attended", at(1, 8), {"event_id": "w", "kind": "webinar"})
    assert f.score() > 0
    f.say("consent_changed", at(1, 9), {"purpose": "profiling", "granted": False})
    assert f.score() == 0
    f.hot()
    assert f.score() == 0
    assert f.handoffs() == []
    f.raise_hand(at(1, 12))
    (h,) = f.handoffs()
    assert h.rule == "hand-raise"


def test_consent_to_profiling_given_again_begins_anew() -> None:
    f = Funnel()
    f.fit()
    f.hot(at(1, 8))
    f.say("consent_changed", at(1, 9), {"purpose": "profiling", "granted": False})
    f.say("consent_changed", at(1, 10), {"purpose": "profiling", "granted": True})
    assert f.score() == 0
    f.say("content_downloaded", at(1, 11), {"asset_id": "c"})
    alone = Funnel()
    alone.fit()
    alone.say("content_downloaded", at(1, 11), {"asset_id": "c"})
    alone.until(f.now)
    assert f.score() == alone.score() > 0
    assert f.head().qualified is False


def test_a_late_consent_never_outweighs_a_newer_withdrawal() -> None:
    f, _ = handed_over()
    f.say("consent_changed", at(1, 11), {"purpose": "sales_contact", "granted": False})
    f.say("consent_changed", at(1, 9), {"purpose": "sales_contact", "granted": True}, recorded_at=at(1, 12))
    assert f.head().consent["sales_contact"] == (False, at(1, 11))
    assert f.handoffs()[0].outcome == WITHDRAWN
