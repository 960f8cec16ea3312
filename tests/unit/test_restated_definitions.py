"""A published definition that counts the past otherwise restates what was final, in sums, once."""

from __future__ import annotations

from typing import Any

from processors import additive, figures
from processors.additive import Contribution
from processors.closing import Closing, Number
from processors.model import load
from streams import topology as topology_module
from tests.strategies import at
from tests.subscriber import Subscriber
from tests.world import Funnel

BORN = {"source": "event", "generated_by": "marketing"}
PAGE = {"url": "https://example.com/", "utm": {"source": "news", "medium": "letter"}}
LETTERS = '[[channels]]\nname = "letters"\nwhen = { utm_medium = "letter" }\n'


def said(f: Funnel, **having: Any) -> list[dict[str, Any]]:
    return f.out("restatements", None, **having)


def publish(f: Funnel, text: str, version: int = 1) -> None:
    whole = f'name = "other"\nversion = {version}\n{text}'
    f.learn("definition_published", f.now, name="other", version=version, effective_at=f.now, toml=whole)


def held(f: Funnel) -> dict[Number, int]:
    """What is final, counted from the rows by the definitions known now."""
    out: Contribution = {}
    for key, data in f.driver.all_rows():
        additive.add(out, figures.of_row(key.decode(), load(data), f.topology.scope(key), f.now).items())
    return {n: x for n, x in Closing(f.now, f.topology.definitions).final(out).items() if x}


def heard(f: Funnel, known: dict[Number, int]) -> dict[Number, int]:
    subscriber, numbers = Subscriber(), dict(known)
    for x in subscriber.take_all(f.driver.read(f.settings.topics.restatements)):
        number = Number(x["figure"], tuple(x["labels"].items()), x["period"])
        numbers[number] = numbers.get(number, 0) + x["new"] - x["old"]
    return {n: x for n, x in numbers.items() if x}


def visited(leads: int, **world: Any) -> Funnel:
    f = Funnel(now=at(4), **world)
    for n in range(leads):
        f.say("created", at(2), BORN, lead=f"lead-{n}", run=False)
        f.say("page_viewed", at(3), PAGE, lead=f"lead-{n}", run=False)
    f.until(at(50))
    assert said(f) == []
    return f


def test_other_channels_restate_the_visits_of_closed_months_in_one_record_per_number() -> None:
    f = visited(30, partitions=2)
    known = held(f)
    publish(f, LETTERS)
    f.driver.run()
    found = said(f, figure="visits")
    moved = {x["labels"]["channel"]: 0 for x in found}
    for x in found:
        moved[x["labels"]["channel"]] += x["new"] - x["old"]
    assert moved.pop("letters") == 30
    assert list(moved.values()) == [-30]
    assert len(found) == 4  # two numbers in two partitions, however many leads
    assert {(x["cause"], x["lead_id"], x["definition"]) for x in said(f)} == {("definition", None, "other@1")}
    assert heard(f, known) == held(f)
    before = len(said(f))
    f.restart()
    f.driver.run()
    assert len(said(f)) == before


def test_thresholds_and_other_rules_of_the_future_restate_nothing() -> None:
    f = visited(3)
    publish(f, "[thresholds]\nup = 99\n[policy]\nrecycle_days = 5\n")
    f.driver.run()
    assert said(f) == []
    publish(f, LETTERS, 2)
    f.driver.run()
    assert {x["definition"] for x in said(f)} == {"other@2"}


def test_a_time_zone_moves_what_happened_at_the_edge_of_a_month() -> None:
    f = Funnel(now=at(1))
    f.say("created", at(30, 23), BORN)  # 31 March, 23:00 UTC: 1 April in Berlin
    f.until(at(70))
    publish(f, 'time_zone = "Europe/Berlin"')
    f.driver.run()
    found = {(x["period"], x["old"], x["new"]) for x in said(f, figure="leads")}
    assert found == {("2026-03", 1, 0), ("2026-04", 0, 1)}
    assert {x["cause"] for x in said(f)} == {"definition"}


def test_other_attribution_models_and_their_reach_restate_credit() -> None:
    f = Funnel(now=at(1))
    f.fit()
    f.say("form_submitted", at(2), {"form_id": "x", "intent": "content"})
    money = {"amount": 1000, "currency": "EUR"}
    f.say(
        "opened", at(3), {"leads": [{"lead_id": "lead-1"}], "pipeline": "p", "stage": "s"} | money, deal="d-1"
    )
    f.say("won", at(20), money, deal="d-1")
    f.until(at(50))
    known = held(f)
    publish(f, '[attribution]\nlook_back_days = 5\nmodels = ["last"]')
    f.driver.run()
    credit = {
        (x["labels"]["model"], x["labels"]["channel"]): x["new"] - x["old"]
        for x in said(f, figure="attributed")
    }
    assert credit["last", "unattributed"] == 1000
    assert sum(n for (model, _), n in credit.items() if model == "first") == -1000
    assert heard(f, known) == held(f)


def test_a_row_that_changes_during_the_pass_says_its_own_part_and_is_not_counted_twice() -> None:
    f = visited(120, partitions=1)
    known = held(f)
    publish(f, LETTERS)
    topology = f.topology
    rows = topology_module.RECOUNTED_ROWS
    assert rows < 120
    topology.due(0, f.now, True, 1000)  # some are counted, nothing is said
    assert said(f) == []
    for lead in ("lead-0", "lead-119"):  # one that was counted, one that was not
        f.say("page_viewed", at(5), PAGE, lead=lead, recorded_at=f.now, run=False)
    records = [log[-2:] for log in f.driver.topics[f.settings.topics.engagement]]
    f.driver._read[f.settings.topics.engagement, 0] += 2
    f.driver._store(0, topology.batch(0, records[0], f.now, True))
    assert {x["cause"] for x in said(f)} >= {"definition", "late:page_viewed:45d"}
    late = [(x["old"], x["new"]) for x in said(f, figure="visits") if x["cause"].startswith("late")]
    assert late == [(1, 2), (1, 2)]
    topology.due(0, f.now, True, 1000)
    f.restart()  # what had been counted is lost: the pass begins again, without those two
    f.driver.run()
    assert heard(f, known) == held(f)
    assert (
        sum(x["new"] - x["old"] for x in said(f, figure="visits") if x["labels"]["channel"] == "letters")
        == 122
    )


def test_a_definition_that_came_while_workers_were_down_with_late_facts() -> None:
    f = visited(5, partitions=1)
    known = held(f)
    f.driver.live = False
    publish(f, LETTERS)
    f.restart()
    f.say("page_viewed", at(5), PAGE, lead="lead-1", recorded_at=f.now)
    f.say("created", at(6), BORN, lead="lead-9", recorded_at=f.now)
    assert said(f) == []
    f.driver.catch_up()
    assert heard(f, known) == held(f)
    assert {x["cause"] for x in said(f)} >= {"definition", "late:created:44d"}
