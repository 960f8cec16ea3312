"""DOMAIN 8, case 47, inside a merge: only that person's part goes."""

from __future__ import annotations

from typing import Any

import pytest

from processors.definition.model import HOUR
from processors.subject import effective
from tests.privacy_world import MARK, SOON, erase, figures, marked, returned, told_everything, told_less
from tests.strategies import FITS, T0, at, sent
from tests.subscriber import Subscriber
from tests.world import LAWS, Funnel, World, handed_over


def _merged(f: Funnel) -> dict[tuple[Any, ...], int]:
    """lead-2, who was handed over, turns out to be lead-1; figures once that is settled."""
    f.fit(lead="lead-1")
    f.say("page_viewed", at(1, 8), {"url": "https://example.org/own"}, lead="lead-1")
    told_everything(f, "lead-2")
    f.say("merged", at(2), {"loser": "lead-2", "winner": "lead-1"}, lead="lead-1", source_event_id="m-1")
    assert sorted(marked(f)) == [b"l:lead-1", b"l:lead-2"]
    f.until(at(2, 1))
    return figures(f)


#: Counted once for what goes, and left behind: what `purge` keeps of stages and calls that were open.
_OPEN_NOW = frozenset(("balance", "left", "left_on", "stay_on", "untouched", "untouched_on", "delay_open_on"))


def closed(totals: dict[tuple[Any, ...], int]) -> dict[tuple[Any, ...], int]:
    """Totals of what is over, whether calls that nobody had answered are open or withdrawn."""
    out: dict[tuple[Any, ...], int] = {}
    for key, n in totals.items():
        if key[0] not in _OPEN_NOW:
            name = tuple("dropped" if x in ("open", "withdrawn") else x for x in key)
            out[name] = out.get(name, 0) + n
    return {k: n for k, n in out.items() if n}


def test_case_47_inside_a_merge_only_that_persons_part_goes_and_what_was_counted_stays() -> None:
    f = Funnel()
    before = _merged(f)
    erase(f, at(2, 2), lead="lead-2")
    assert marked(f) == []
    assert [e[3] for e in effective(f.row()) if e[3] == "example.org/own"] == ["example.org/own"]
    after = figures(f)
    assert closed(told_less(after)) == closed(told_less(before))
    for stage in ("known", "engaged", "mql"):
        assert f.total("entered", stage=stage) - f.total("left", stage=stage) == f.total(
            "balance", stage=stage
        )
        assert f.total("balance", stage=stage) >= 0
    assert f.total("alias_drift") == 0
    assert f.head().attributes == FITS
    kept = dict(f.topology.totals())
    f.restart()
    assert f.topology.totals() == kept
    assert figures(f) == after
    holder = Subscriber()
    holder.take_all(f.driver.read(f.settings.topics.handoffs))
    assert MARK not in repr(list(holder.holding("handoff", "lead-1").values()))


def test_case_47_a_winner_that_is_erased_forgets_its_browser_and_the_merged_keep_their_own() -> None:
    f = Funnel()
    url = f"https://example.org/{MARK}"
    f.say("page_viewed", at(0), {"url": url}, subject={"anonymous_id": "v-1"})
    f.fit(at(1))
    f.say("identified", at(1, 1), {"anonymous_id": "v-1", "lead_id": "lead-1"})
    f.hot()
    f.fit(at(1, 11), "lead-2")
    f.say("merged", at(1, 12), {"loser": "lead-2", "winner": "lead-1"}, source_event_id="m-1")
    f.until(at(1, 13))
    assert sorted(marked(f)) == [b"a:v-1", b"l:lead-1"]
    before = figures(f)
    erase(f, at(1, 14))
    assert marked(f) == []
    assert [k for k, n in figures(f).items() if k[0] == "persons" and n != before.get(k)] == []
    assert f.total("alias_drift") == 0
    assert f.row("l:lead-2").target == "l:lead-1"
    assert f.row("l:lead-2").ledger
    f.say("page_viewed", at(0, 2), {"url": url}, subject={"anonymous_id": "v-1"})
    assert marked(f) == []


def test_case_47_a_browser_forgets_only_who_was_erased() -> None:
    f = Funnel()
    for t, lead, url in ((at(0), "lead-1", MARK), (at(2), "lead-2", "other")):
        f.fit(t, lead)
        f.say("page_viewed", t, {"url": f"https://example.org/{url}"}, subject={"anonymous_id": "v-1"})
        f.say("identified", t + HOUR, {"anonymous_id": "v-1", "lead_id": lead}, lead=lead)
    f.say("page_viewed", at(3), {"url": "https://example.org/other"}, subject={"anonymous_id": "v-1"})
    assert marked(f)
    erase(f, at(4))
    assert marked(f) == []
    assert sum(e[3] == "example.org/other" for e in effective(f.row("l:lead-2"))) == 1


def test_case_47_who_was_erased_and_comes_back_and_turns_out_to_be_another_stays_counted() -> None:
    f, _ = handed_over()
    erase(f, SOON)
    returned(f)
    f.fit(at(10, 1), "lead-2")
    f.until(at(10, 2))
    entered = f.total("entered", stage="mql")
    f.say("merged", at(11), {"loser": "lead-1", "winner": "lead-2"}, lead="lead-2", source_event_id="m-1")
    assert f.total("entered", stage="mql") == entered == 1
    assert f.total("entered", stage="erased") == 1
    assert f.total("alias_drift") == 0
    before = figures(f)
    f.restart()
    assert figures(f) == before


def test_case_47_credit_that_a_browser_brought_stays_with_its_channel_in_what_workers_show() -> None:
    """Found by playing: a worker showed it as unattributed until its next start, which counts the rows."""
    f = Funnel()
    url = "https://example.org/pricing?utm_source=s&utm_medium=cpc"
    f.say("page_viewed", at(0), {"url": url}, subject={"anonymous_id": "v-1"})
    f.fit(at(1))
    f.say("identified", at(1, 1), {"anonymous_id": "v-1", "lead_id": "lead-1"})
    money = {"amount": 500, "currency": "EUR"}
    deal = {"leads": [{"lead_id": "lead-1"}], "pipeline": "new", "stage": "offer"} | money
    f.say("opened", at(2), deal, deal="deal-1")
    f.say("won", at(2, 1), money, deal="deal-1")
    f.until(at(3))
    assert f.total("attributed", channel="paid_search", model="first") == 500
    erase(f, at(4))
    assert f.total("attributed", channel="paid_search", model="first") == 500
    assert f.total("alias_drift") == 0
    shown = dict(f.topology.totals())
    f.restart()
    assert f.topology.totals() == shown


def test_case_47_what_comes_right_after_the_erasure_of_a_part_does_not_hide_it() -> None:
    """Law: any batch cut. Both are told in one batch of the row that the erased lead belongs to, or in two."""
    ends = []
    for cut in (1, 2):
        w = World(LAWS, now=T0)
        downloads = [
            sent("content_downloaded", at(1, n), n, {"asset_id": f"a{n}"}, subject={"lead_id": "lead-2"})
            for n in (9, 10)
        ]
        merge = sent("merged", at(2), 20, {"loser": "lead-2", "winner": "lead-1"})
        w.batch([x.event for x in (*downloads, merge)], at(2))
        w.deliver()
        subject = {"lead_id": "lead-2"}
        w.batch([sent("erased", at(3), 21, {"request_id": "r"}, subject=subject).event], at(3))
        late = sent("content_downloaded", at(3, 1), 22, {"asset_id": "b"}, subject=subject)
        w.batch([late.event], at(3, 1))
        told, w.bus = w.bus, []
        assert {(m.to, bool(m.erase)) for m in told} == {("l:lead-1", True), ("l:lead-1", False)}
        for some in (told,) if cut == 1 else ([m] for m in told):
            w.feed("l:lead-1", (), at(3, 1), told=some)
        ends.append(w.summed())
    assert ends[0] == ends[1]
    assert sum(n for k, n in ends[0].items() if k[0] == "download_on") == 3


@pytest.mark.parametrize("erased", [("lead-1", "lead-2"), ("lead-2", "lead-1"), ("lead-2",)], ids=str)
def test_case_47_the_browser_of_a_merged_lead_forgets_it(erased: tuple[str, ...]) -> None:
    f = Funnel()
    url = f"https://example.org/{MARK}"
    f.say("page_viewed", at(0), {"url": url}, subject={"anonymous_id": "v-1"})
    f.fit(at(1), "lead-2")
    f.say("identified", at(1, 1), {"anonymous_id": "v-1", "lead_id": "lead-2"}, lead="lead-2")
    f.fit(at(1, 11), "lead-1")
    f.say("merged", at(1, 12), {"loser": "lead-2", "winner": "lead-1"}, source_event_id="m-1")
    assert sorted(marked(f)) == [b"a:v-1", b"l:lead-1", b"l:lead-2"]
    before = f.total("engaged")
    for lead in erased:
        f.say("erased", at(2), {"request_id": "r-1"}, lead=lead)
    assert marked(f) == []
    assert f.total("engaged") == before == 1
    assert f.total("alias_drift") == 0
    kept = figures(f)
    f.restart()
    assert figures(f) == kept


def test_case_47_a_browser_that_had_not_answered_yet_forgets_too() -> None:
    """The erasure is read together with the word of whose browser it is, and what was done on it after both."""
    f = Funnel(now=at(2))
    f.say("identified", at(1), {"anonymous_id": "v-1", "lead_id": "lead-1"}, recorded_at=at(1), run=False)
    erase(f, at(2), run=False)
    f.driver.run()
    url = f"https://example.org/{MARK}"
    f.say("page_viewed", at(1, 1), {"url": url}, subject={"anonymous_id": "v-1"}, recorded_at=at(1, 1))
    assert marked(f) == []
    assert f.total("alias_drift") == 0
    assert f.dead() == []


def test_case_47_no_count_falls_below_zero_where_the_rest_stands_elsewhere_than_the_whole_did() -> None:
    """Found by playing: without the merged part the lead had been inactive long since, of a segment of its own, and the
    new person under the erased id took something."""
    f = Funnel()
    f.say("page_viewed", at(0), {"url": "/"}, lead="lead-1")
    f.say("merged", at(1), {"loser": "lead-2", "winner": "lead-1"}, source_event_id="m-1")
    f.fit(at(2), "lead-2")
    f.say("content_downloaded", at(190), {"asset_id": "a"}, lead="lead-2")
    f.until(at(200))
    before = figures(f)
    erase(f, at(189), lead="lead-2", recorded_at=at(200))
    f.until(at(201))
    after = figures(f)
    assert {k: n for k, n in after.items() if n < 0} == {}
    assert f.total("balance", stage="inactive") == f.total("entered", stage="inactive") == 1
    assert f.total("left", stage="inactive") == 0
    for name in ("download_on", "entered_on", "page_on"):
        kept, still = (
            sum(n for k, n in x.items() if k[0] == name and (name != "entered_on" or k[1] < 100))
            for x in (before, after)
        )
        assert still == kept, name


def test_case_47_a_shared_browser_keeps_nothing_that_comes_late_of_an_erased_time() -> None:
    f = Funnel()
    for t, lead in ((at(0), "lead-1"), (at(2), "lead-2")):
        f.fit(t, lead)
        f.say("identified", t + HOUR, {"anonymous_id": "v-1", "lead_id": lead}, lead=lead)
    erase(f, at(4))
    before = figures(f)
    for t, url in ((at(1), MARK), (at(3), "other")):
        f.say("page_viewed", t, {"url": url}, subject={"anonymous_id": "v-1"}, recorded_at=at(4, 0, -1))
    assert marked(f) == []
    assert [e[3] for e in effective(f.row("l:lead-2")) if e[3] == "other"] == ["other"]
    assert f.total("engaged") == 1
    assert [k for k, n in before.items() if figures(f).get(k, 0) < n] == []
    assert f.total("alias_drift") == 0


def test_case_47_a_browser_that_turned_out_too_late_to_be_theirs_is_theirs_no_more() -> None:
    """Its `identified` was recorded after the request, which is read last: it is dropped, and with it what it brought."""
    f = Funnel(now=at(5))
    f.say("page_viewed", at(0), {"url": MARK}, subject={"anonymous_id": "v-1"}, recorded_at=at(0))
    f.say("identified", at(1), {"anonymous_id": "v-1", "lead_id": "lead-1"}, recorded_at=at(5))
    erase(f, at(3), recorded_at=at(3))
    assert f.dead() == []
    assert marked(f) == [b"a:v-1"], "of a visitor of whom nobody knows who it was"
    assert f.total("alias_drift") == 0
