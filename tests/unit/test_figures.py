"""Figures against histories small enough to count by hand."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any, Self

import pytest
from msgspec.structs import replace

from processors.columns import stage_names
from processors.compiled import compile_definition
from processors.days import DAY, day_number
from processors.definition.model import HOUR, MINUTE
from processors.model import Row, dump
from processors.period import Period
from processors.report import FIGURES, report
from processors.totals import statistics
from streams import state_reader, table
from streams.cli.console import UserError
from streams.cli.figures import known_figures, parse_period, print_formulas, print_report, shown, split_labels
from streams.settings import Settings
from streams.state_reader import figures_of_rows, loaded
from streams.topology import LeadTopology
from streams.work import Record
from tests.strategies import default_definition
from tests.world import Funnel, figure

#: A Monday, 09:00 UTC: the default calendar opens.
MONDAY = day_number(2026, 1, 5) * DAY + 9 * HOUR
FITS = {"role": "CEO", "company_size": 300, "industry": "software", "country": "AT", "company": "c-1"}
Values = dict[tuple[str, ...], Any]


def funnel(now: int = MONDAY) -> Funnel:
    return Funnel(now=now)


def lead(f: Funnel, name: str, t: int, source: str | None = "web", **extra: Any) -> None:
    f.say(
        "created",
        t,
        ({"source": source} if source else {}) | {"generated_by": "marketing"},
        lead=name,
        **extra,
    )
    f.say("attributes_changed", t, {"fields": FITS}, lead=name, **extra)


def raise_hand(f: Funnel, name: str, t: int, **extra: Any) -> None:
    f.say("form_submitted", t, {"form_id": "f", "intent": "hand_raise"}, lead=name, **extra)


def handed(f: Funnel, name: str, t: int, source: str | None = "web") -> None:
    lead(f, name, t, source)
    raise_hand(f, name, t)


def test_stages_are_entered_left_and_kept() -> None:
    f = funnel()
    handed(f, "lead-1", MONDAY)
    lead(f, "lead-2", MONDAY + HOUR, None)
    f.say("accepted", MONDAY + 2 * HOUR, lead="lead-1")
    f.say(
        "opened",
        MONDAY + DAY,
        {"leads": [{"lead_id": "lead-1"}], "amount": 5, "currency": "EUR", "pipeline": "new", "stage": "s"},
        deal="deal-1",
    )
    assert figure(f, "leads") == {(): 2}
    assert figure(f, "leads", "source") == {("(empty)",): 1, ("web",): 1}
    entered, left, balance = (figure(f, name) for name in ("entered", "left", "balance"))
    assert (entered["known",], left["known",], balance["known",]) == (2, 1, 1)
    assert (entered["mql",], left["mql",], balance["mql",]) == (1, 1, 0)
    assert balance["opportunity",] == 1
    assert figure(f, "entered", "series")["sql", "implied"] == 1
    assert figure(f, "mqls") == {(): 1}
    assert figure(f, "sqls") == {(): 1}
    stays = figure(f, "time_in_stage")
    assert stays["sal", "median"] == 1
    assert ("sql", "count") not in stays, "an implied stage was nowhere to stay"


def test_mqls_of_marketing_stand_apart() -> None:
    f = funnel()
    handed(f, "lead-1", MONDAY)
    f.say("created", MONDAY, {"source": "fair", "generated_by": "sales"}, lead="lead-2")
    f.say("attributes_changed", MONDAY, {"fields": FITS}, lead="lead-2")
    raise_hand(f, "lead-2", MONDAY)
    lead(f, "lead-3", MONDAY, backfill=True)
    raise_hand(f, "lead-3", MONDAY, backfill=True)
    f.say("won", MONDAY, {"amount": 1, "currency": "EUR"}, deal="deal-4")
    f.say("lead_linked", MONDAY, {"lead_id": "lead-4"}, deal="deal-4")
    f.say("rejected", MONDAY + HOUR, {"reason_code": "not_a_fit"}, lead="lead-1")
    raise_hand(f, "lead-1", MONDAY + 60 * DAY)
    series = {key[0]: n for key, n in figure(f, "mqls_by_series").items() if n}
    assert series == {"marketing": 1, "sales": 1, "imported": 1, "implied": 1, "recycled": 1}
    assert figure(f, "mqls") == {(): 1}


def test_cohorts_have_a_value_once_they_are_mature() -> None:
    f = funnel()
    for name, source in (("lead-1", "web"), ("lead-2", "web"), ("lead-3", "fair"), ("lead-4", "fair")):
        lead(f, name, MONDAY, source)
    raise_hand(f, "lead-1", MONDAY + 7 * DAY)
    raise_hand(f, "lead-2", MONDAY + 20 * DAY)
    raise_hand(f, "lead-3", MONDAY + 35 * DAY)
    lead(f, "lead-5", day_number(2026, 2, 10) * DAY)

    def cohort(day: int, *by: str) -> dict[tuple[str, ...], Any]:
        found = figure(f, "cohort_conversion", *by, at=day * DAY)
        return {key[2:]: n for key, n in found.items() if key[:2] == ("known", "mql")}

    # January ends, and 30 days later lies March 3
    assert cohort(day_number(2026, 3, 3) - 1)["30",] is None
    assert cohort(day_number(2026, 3, 3))["30",] == Fraction(2, 4)
    assert cohort(day_number(2026, 3, 3))["7",] == Fraction(1, 4)
    assert cohort(day_number(2026, 3, 3))["ever",] == Fraction(3, 5)
    assert cohort(day_number(2026, 3, 8))["7",] == Fraction(1, 5)
    by = cohort(day_number(2026, 3, 3), "cohort", "source")
    assert by["30", "2026-01", "web"] == 1
    assert by["30", "2026-01", "fair"] == 0
    assert by["30", "2026-02", "web"] is None
    totals = figures_of_rows(loaded(f.driver.all_rows()), f.topology, f.now)
    at = day_number(2026, 3, 3) * DAY
    values = report(totals, f.topology.definitions[-1], at, by=["cohort"], only=["cohort_conversion"])
    (young,) = [
        v for v in values if v.labels == {"from": "known", "to": "mql", "horizon": "30", "cohort": "2026-02"}
    ]
    assert (young.note, young.inputs["maturing"]) == ("matures 2026-03-31", 1)
    assert cohort(day_number(2026, 3, 3), "cohort").keys() >= {("7", "2026-01")}
    assert figure(f, "cohort_conversion", period="2026-01", at=at)["known", "mql", "ever"] == Fraction(3, 4)


def test_period_conversion_may_pass_one() -> None:
    f = funnel()
    lead(f, "lead-1", MONDAY)
    lead(f, "lead-2", MONDAY)
    lead(f, "lead-3", MONDAY + 40 * DAY)
    for name in ("lead-1", "lead-2", "lead-3"):
        raise_hand(f, name, MONDAY + 40 * DAY)
    assert figure(f, "period_conversion", period="2026-02")["known", "mql"] == 3
    assert figure(f, "period_conversion", period="2026-03")["known", "mql"] is None
    assert figure(f, "period_conversion")["known", "mql"] == 1
    assert figure(f, "balance", period="2026-01")["known",] == 2


def test_acceptance_rejections_and_who_let_them_through() -> None:
    f = funnel()
    for n in range(1, 6):
        handed(f, f"lead-{n}", MONDAY, "web" if n < 4 else "fair")
    f.say("accepted", MONDAY + HOUR, lead="lead-1")
    f.say("accepted", MONDAY + HOUR, lead="lead-2")
    f.say("rejected", MONDAY + HOUR, {"reason_code": "timing"}, lead="lead-3")
    f.say("rejected", MONDAY + HOUR, {"reason_code": "no_budget"}, lead="lead-4")
    lead(f, "lead-6", MONDAY, backfill=True)
    raise_hand(f, "lead-6", MONDAY, backfill=True)
    outcomes = {key[0]: n for key, n in figure(f, "handoffs").items()}
    assert outcomes == {
        "open": 1, "accepted": 2, "rejected": 2, "expired": 0, "withdrawn": 0, "imported_open": 1,
    }  # fmt: skip
    assert figure(f, "acceptance_decided") == {(): Fraction(1, 2)}
    assert figure(f, "acceptance_all") == {(): Fraction(2, 5)}
    assert figure(f, "acceptance_decided", "source") == {("fair",): 0, ("web",): Fraction(2, 3)}
    assert figure(f, "rejections", "source") == {("no_budget", "fair"): 1, ("timing", "web"): 1}
    assert figure(f, "rejections", "rule") == {("no_budget", "hand-raise"): 1, ("timing", "hand-raise"): 1}
    assert figure(f, "rejection_rate", "rule") == {("hand-raise",): Fraction(1, 2)}
    f.say("rejected", MONDAY + 2 * HOUR, {"reason_code": "bad_data"}, lead="lead-1")
    assert figure(f, "returned", "reason") == {("bad_data",): 1}
    assert figure(f, "acceptance_decided") == {(): Fraction(1, 2)}, "returned stays accepted"
    f.until(MONDAY + 30 * DAY)
    assert figure(f, "handoffs")["expired",] == 1


def test_clocks_that_were_met_and_missed() -> None:
    f = funnel(MONDAY - 3 * DAY)
    friday = day_number(2026, 1, 2) * DAY + 16 * HOUR + 30 * MINUTE
    handed(f, "lead-1", friday)
    f.say("touched", MONDAY + 30 * MINUTE, {"channel": "phone", "kind": "call"}, lead="lead-1")
    handed(f, "lead-2", MONDAY + HOUR)
    f.say("touched", MONDAY + 2 * HOUR, {"channel": "phone", "kind": "call"}, lead="lead-2")
    f.say("accepted", MONDAY + 2 * HOUR, lead="lead-2")
    handed(f, "lead-3", MONDAY + 2 * HOUR)
    assert figure(f, "speed_to_lead", at=MONDAY + 3 * HOUR)["business", "p50"] == 3608  # 1 h, by bins of 1 %
    wall = figure(f, "speed_to_lead")
    assert wall["wall", "p50"] == pytest.approx(65 * 3600, rel=0.01), "Friday 16:30 to Monday 09:30"
    assert wall["wall", "p90"] is None, "the untouched one is slower than all"
    f.until(MONDAY + DAY)
    assert figure(f, "sla_compliance")["first_touch",] == Fraction(2, 3)
    assert figure(f, "sla_compliance")["meeting",] is None
    assert figure(f, "sla_compliance", "team")["first_touch", "sales"] == Fraction(2, 3)
    assert figure(f, "sla_compliance", period="2026-01-02")["first_touch",] == 1


def close(f: Funnel, name: str, t: int, amount: int, currency: str = "EUR", won: bool = True) -> None:
    f.say(
        "opened", t, {"leads": [{"lead_id": name}], "amount": amount, "currency": currency, "pipeline": "new", "stage": "s"},
        deal=f"deal-of-{name}",
    )  # fmt: skip
    what = ("won", {"amount": amount, "currency": currency}) if won else ("lost", {"reason_code": "price"})
    f.say(what[0], t + 10 * DAY, what[1], deal=f"deal-of-{name}")


def test_deals_won_and_lost_count_and_weigh() -> None:
    f = funnel()
    for n, (amount, currency, won) in enumerate(
        [(300, "EUR", True), (100, "EUR", True), (600, "EUR", False), (90, "JPY", True)], 1
    ):
        lead(f, f"lead-{n}", MONDAY, "web" if n < 3 else "fair")
        close(f, f"lead-{n}", MONDAY + n * DAY, amount, currency, won)
        f.until(MONDAY + n * DAY)
    f.until(MONDAY + 20 * DAY)
    assert figure(f, "win_rate") == {(): Fraction(3, 4)}
    assert figure(f, "win_rate_by_value") == {("EUR",): Fraction(2, 5), ("JPY",): 1}
    assert figure(f, "won_amount", "pipeline") == {("EUR", "new"): 400, ("JPY", "new"): 90}
    assert figure(f, "deal_size") == {("EUR",): 200, ("JPY",): 90}
    assert figure(f, "lead_win_rate", "source") == {("web",): 1, ("fair",): Fraction(1, 2)}
    assert figure(f, "lead_won_amount", "source") == {("EUR", "web"): 400, ("JPY", "fair"): 90}
    cycle = figure(f, "sales_cycle")
    assert [cycle[stat,] for stat in ("count", "sum", "min", "max", "median", "mean")] == [
        3,
        30,
        10,
        10,
        10,
        10,
    ]
    cycle = figure(f, "lead_cycle", "source")
    assert cycle["mean", "web"] == Fraction(23, 2)
    assert cycle["count", "fair"] == 1
    assert figure(f, "win_rate", period="2026-02") == {(): None}
    assert figure(f, "leads_won")["7",] == 0
    assert figure(f, "leads_won")["30",] == 3
    assert figure(f, "leads_won_share", "source")["ever", "fair"] == Fraction(1, 2)
    assert figure(f, "deals_without_lead")["won",] == 0


def test_a_lead_won_before_it_was_created_took_negative_days() -> None:
    f = funnel()
    f.say("won", MONDAY, {"amount": 0, "currency": "BRL"}, deal="deal-1", backfill=True)
    f.say("lead_linked", MONDAY, {"lead_id": "lead-1"}, deal="deal-1", backfill=True)
    lead(f, "lead-1", MONDAY + 2 * DAY, "unknown", backfill=True)
    cycle = figure(f, "lead_cycle", "source")
    assert (cycle["min", "unknown"], cycle["sum", "unknown"]) == (-2, -2)
    assert figure(f, "leads") == {(): 1}
    assert figure(f, "leads_won")["7",] == 1
    assert figure(f, "deal_size") == {("BRL",): 0}


def test_a_win_that_is_taken_back_does_not_count() -> None:
    f = funnel()
    lead(f, "lead-1", MONDAY)
    close(f, "lead-1", MONDAY, 100)
    assert figure(f, "leads_won")["ever",] == 1
    f.say("reopened", MONDAY + 20 * DAY, deal="deal-of-lead-1")
    f.say("lost", MONDAY + 21 * DAY, {"reason_code": "price"}, deal="deal-of-lead-1")
    assert figure(f, "leads_won")["ever",] == 0
    assert figure(f, "win_rate") == {(): 0}
    assert figure(f, "won_amount") == {}
    assert figure(f, "cohort_conversion")["known", "won", "ever"] == 0
    assert figure(f, "entered")["won",] == 1, "what was entered was entered"


def test_nothing_to_divide_by_is_null_not_zero() -> None:
    f = funnel()
    totals = figures_of_rows([], f.topology, f.now)
    for value in report(totals, f.topology.definitions[-1], f.now):
        assert value.value in (0, None)
        if value.unit == "ratio":
            assert value.value is None


def test_as_of_goes_back_and_forward() -> None:
    f = funnel()
    handed(f, "lead-1", MONDAY)
    then = figure(f, "handoffs")
    f.say("accepted", MONDAY + HOUR, lead="lead-1")
    assert figure(f, "handoffs", at=MONDAY + MINUTE) == then
    handed(f, "lead-2", MONDAY + 2 * HOUR)
    later = figure(f, "handoffs", at=MONDAY + 60 * DAY)
    assert (later["expired",], later["accepted",]) == (1, 1), "timers run on, without anybody having to fold"


def test_figures_are_named_once_and_say_how_they_are_made() -> None:
    names = [f.name for f in FIGURES]
    assert len(names) == len(set(names))
    assert all(f.formula and f.unit and f.group for f in FIGURES)
    forbidden = {
        "lead",
        "deal",
        "send",
    }  # a campaign may be asked for; that metrics have none is tested there
    assert not forbidden & {label for f in FIGURES for label in (*f.labels, *f.always)}


def test_stages_that_were_renamed_or_removed() -> None:
    old = default_definition()
    mql = next(s for s in old.stages if s.name == "mql")
    extra = replace(mql, name="demo", rank=45, role="")
    renamed = replace(mql, name="qualified", renamed_from=("mql",))
    first = compile_definition(replace(old, stages=(*old.stages, extra)))
    second = compile_definition(replace(old, stages=tuple(renamed if s is mql else s for s in old.stages)))
    names = stage_names((first, second))
    assert (names[30], names[45], names[100]) == ("qualified", "retired:demo", "rejected")


@pytest.mark.parametrize(
    ("text", "shown_as"),
    [
        ("2026-10", "2026-10-01..2026-10-31"),
        ("2026-10-01..2026-10-31", "2026-10-01..2026-10-31"),
        ("2024-02", "2024-02-01..2024-02-29"),
        ("2026", "2026-01-01..2026-12-31"),
        ("2026-11..2026-12", "2026-11-01..2026-12-31"),
        ("2026-11-22", "2026-11-22..2026-11-22"),
    ],
)
def test_periods(text: str, shown_as: str) -> None:
    assert str(Period.parse(text)) == shown_as


@pytest.mark.parametrize("text", ["", "2026-13", "2026-02-30", "October", "2026-10..2026-09", "2026-1"])
def test_what_is_no_period_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="period"):
        Period.parse(text)


def test_median_of_an_even_number_is_between() -> None:
    assert statistics([(1, 1), (4, 1)])["median"] == Fraction(5, 2)
    assert statistics([]) == {
        "count": 0, "sum": 0, "min": None, "max": None, "median": None, "mean": None,
    }  # fmt: skip


# Command line and changelog ------------------------------------------------------------------------------------------


def test_report_for_people_and_programs(capsys: pytest.CaptureFixture[str]) -> None:
    f = funnel()
    for n in range(1, 4):
        handed(f, f"lead-{n}", MONDAY)
    f.say("accepted", MONDAY, lead="lead-1")
    f.say("rejected", MONDAY, {"reason_code": "timing"}, lead="lead-2")
    f.say("rejected", MONDAY, {"reason_code": "timing"}, lead="lead-3")
    totals = figures_of_rows(loaded(f.driver.all_rows()), f.topology, f.now)
    print_report(totals, f.topology.definitions, f.now, as_json=True, only=["acceptance_decided", "leads"])
    found = json.loads(capsys.readouterr().out)
    assert found["as_of"] == "2026-01-05T09:00:00Z"
    leads, acceptance = found["figures"]
    assert leads == {"figure": "leads", "labels": {}, "value": 3, "unit": "leads"}
    assert acceptance["exact"] == "1/3"
    assert acceptance["value"] == pytest.approx(1 / 3)
    assert acceptance["inputs"] == {"accepted": 1, "rejected": 2}
    print_report(totals, f.topology.definitions, f.now, by=["source"])
    printed = capsys.readouterr()
    assert "33.333 %" in printed.out
    assert "not by source: crowded_browsers, deals" in printed.err
    print_formulas(as_json=False)
    assert "accepted/(accepted + rejected)" in capsys.readouterr().out


def test_values_as_people_read_them() -> None:
    f = funnel()
    lead(f, "lead-1", MONDAY)
    close(f, "lead-1", MONDAY, 123_450)
    totals = figures_of_rows(loaded(f.driver.all_rows()), f.topology, f.now)
    values = report(
        totals, f.topology.definitions[-1], f.now, only=["deal_size", "win_rate", "sla_compliance"]
    )
    assert [shown(v) for v in values] == ["–", "–", "–", "100 %", "1,234.50 EUR"]


def test_mistakes_are_told() -> None:
    assert split_labels(["source,segment", "source"]) == ("source", "segment")
    with pytest.raises(UserError, match="split by"):
        split_labels(["lead"])
    with pytest.raises(UserError, match="there are leads"):
        known_figures(["revenue"])
    with pytest.raises(UserError, match="--period 'x'"):
        parse_period("x")


class Changelog:
    """A reader of one partition of made-up changelog records."""

    records: tuple[Record, ...] = ()

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def partitions(self, topic: str) -> list[int]:
        assert topic == self.settings.changelog
        return [0]

    def read(self, topics: list[str], *, partitions: list[int]) -> tuple[Record, ...]:
        assert partitions == [0]
        return self.records


def stored(key: str, epoch: int, revision: int, source: str | None) -> Record:
    version = epoch.to_bytes(4, "big") + revision.to_bytes(4, "big")
    if source is None:
        return Record("", 0, 0, 0, key.encode(), None, [(state_reader.VERSION_HEADER, version)])
    row = Row()
    row.head.source = source
    return Record("", 0, 0, 0, key.encode(), version + dump(row))


def test_the_newest_version_of_a_row_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (state_reader.VERSION_BYTES, state_reader.VERSION_HEADER) == (
        table.VERSION_BYTES,
        table.VERSION_HEADER,
    )
    monkeypatch.setattr(state_reader, "Reader", Changelog)
    Changelog.records = (
        stored("l:lead-1", 1, 9, "old"), stored("l:lead-1", 2, 1, "new"), stored("l:lead-1", 1, 10, "zombie"),
        stored("l:lead-2", 1, 1, "gone"), stored("l:lead-2", 1, 2, None), stored("l:lead-2", 1, 1, "late"),
        stored("l:lead-3", 1, 1, None), stored("l:lead-3", 1, 2, "again"),
    )  # fmt: skip
    found = {key: row.head.source for key, row in state_reader.rows(Settings())}
    assert found == {"l:lead-1": "new", "l:lead-3": "again"}
    one = state_reader.row(Settings(), "l:lead-1")
    assert one is not None
    assert one.head.source == "new"
    assert state_reader.row(Settings(), "l:lead-2") is None


def test_history_below_the_horizon_is_not_invented(caplog: pytest.LogCaptureFixture) -> None:
    f = funnel()
    lead(f, "lead-1", MONDAY)
    f.until(MONDAY + 700 * DAY)
    for n in range(700):
        f.say("page_viewed", MONDAY + 500 * DAY + n * HOUR, {"url": "https://example.org/"}, run=n == 699)
    logic: LeadTopology = f.topology
    then = figures_of_rows(loaded(f.driver.all_rows()), logic, MONDAY + DAY)
    assert "1 leads were erased since, or have more history than their rows keep" in caplog.text
    assert sum(n for key, n in then.items() if key[0] == "leads_on") == 1
    assert sum(n for key, n in then.items() if key[0] == "page_on") == 0
