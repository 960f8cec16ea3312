"""Every money figure against one small company whose books were kept by hand."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from processors.days import DAY, day_number, iso, months_before
from processors.report import FIGURES, report
from streams.cli.figures import inputs_shown, print_report, print_values, shown
from streams.state_reader import figures_of_rows, loaded
from tests.money_world import EUR, Shop, on
from tests.strategies import T0

MARCH_END = on(31, 23)
OWNERS = ({"owner": "owner-1", "team": "sales", "active": True},)


@pytest.fixture(scope="module")
def books() -> Shop:
    """March 2026 of a company with two leads, five deals and one account; a late upsell, and it leaves in July.

    won: deal-1 200,000 USD at 0.5 on the 10th, deal-2 50,000 EUR on the 15th; lost: deal-3 50,000 EUR on the 20th;
    open: deal-4 40,000 EUR at 50 %, deal-5 20,000 USD at 25 %, the newest rate being 0.5 of the 28th.
    """
    f = Shop(now=T0, owners=OWNERS)
    for date in ("2026-03-10", "2026-03-28"):
        f.rate("USD", date, "0.5")
    f.spend("events", "2026-03-01", "2026-03-28", 28_000, campaign="webinar")
    f.spend("email", "2026-03-01", "2026-03-31", 3_100, kind="tool")
    f.spend("direct", "2026-03-01", "2026-03-31", 31_000, kind="salary", team="sales")
    f.spend("events", "2026-03-01", "2026-03-02", 70, currency="CHF")
    f.learn(
        "budget_set",
        on(1),
        team="marketing",
        period_start="2026-03-01",
        period_end="2026-03-31",
        amount=62_200,
        **EUR,
    )
    f.learn("budget_set", on(1), team="marketing", channel="email", period_start="2026-03-01", period_end="2026-03-31",
            amount=3_100, **EUR)  # fmt: skip
    for who, figure, value in (
        ({"team": "marketing"}, "mql", 2), ({"team": "sales"}, "booked_revenue", 286_000),
        ({"owner": "owner-1"}, "lead_won_value", 200_000), ({"team": "sales"}, "win_rate", 500_000),
        ({"team": "sales"}, "happiness", 1), ({"team": "sales"}, "win_rate_by_value", 1), ({"owner": "owner-1"}, "mqls", 1),
    ):  # fmt: skip
        goal: dict[str, Any] = {
            "figure": figure,
            "period_start": "2026-03-01",
            "period_end": "2026-03-31",
            "value": value,
        }
        f.learn("target_set", on(1), **who, **goal)
    f.learn("audience_measured", on(2), network="network-1", followers=77)
    f.fit(on(2, 9))
    f.hot(on(2, 10))
    f.say("accepted", on(2, 11))
    f.say("qualified_by_sales", on(2, 12))
    f.say("created", on(2, 9) + 1, {"source": "newsletter", "generated_by": "marketing"}, lead="lead-2")
    f.opened(3, 100_000, probability=0.2, account_id="acc-1")
    f.say("close_date_changed", on(4), {"date": "2026-03-11"}, deal="deal-1")
    f.opened(5, 50_000, deal="deal-2", leads=())
    f.opened(5, 50_000, deal="deal-3", leads=())
    f.opened(6, 40_000, deal="deal-4", leads=(), probability=0.5)
    f.say("close_date_changed", on(6), {"date": "2026-04-10"}, deal="deal-4")
    f.opened(7, 20_000, "USD", deal="deal-5", leads=(), probability=0.25)
    f.opened(7, 11_111, deal="deal-6", leads=())
    f.say("stage_changed", on(8), {"stage": "s", "status": "on_hold"}, deal="deal-6")
    f.won(10, 200_000, "USD")
    f.account("invoice_paid", 12, amount=60_000, currency="EUR")
    f.account("invoice_refunded", 14, amount=10_000, currency="EUR")
    f.won(15, 50_000, deal="deal-2")
    f.account("expanded", 16, kind="upsell", amount=5_000, currency="EUR")
    f.account("contracted", 18, amount=2_000, currency="EUR")
    f.say("lost", on(20), {"reason_code": "price"}, deal="deal-3")
    f.until(MARCH_END)
    f.account("expanded", 92 + 10, kind="cross_sell", amount=6_000, currency="EUR")  # June
    f.account("churned", 92 + 40, reason_code="price")  # July
    return f


def at_march(f: Shop, name: str, *by: str, period: str = "") -> Any:
    found = f.figure(name, *by, period=period, at=MARCH_END)
    return found[()] if found.keys() == {()} else found


def test_booked_is_won_and_expanded_less_contracted_and_refunded(books: Shop) -> None:
    assert at_march(books, "booked_revenue") == 100_000 + 50_000 + 5_000 - 2_000 - 10_000
    assert at_march(books, "booked_revenue", "kind") == {
        ("won",): 150_000, ("upsell",): 5_000, ("contracted",): -2_000, ("refunded",): -10_000,
    }  # fmt: skip
    assert at_march(books, "bookings", "kind") == {
        ("won",): 2, ("upsell",): 1, ("contracted",): 1, ("refunded",): 1,
    }  # fmt: skip
    assert at_march(books, "bookings", "currency") == {("EUR",): 4, ("USD",): 1}
    assert at_march(books, "booked_revenue", period="2026-03-14..2026-03-16") == 45_000
    assert at_march(books, "collected") == 50_000
    assert at_march(books, "booked_unpriced") == {}
    assert at_march(books, "check_credit") == 0
    assert at_march(books, "deals_won") == 2


def test_win_rate_and_size_by_value(books: Shop) -> None:
    assert at_march(books, "win_rate_by_value_in_base") == Fraction(150, 200)
    assert at_march(books, "win_rate_by_value_in_base", "pipeline") == {("p",): Fraction(3, 4)}
    assert at_march(books, "deal_size_in_base") == 75_000
    assert at_march(books, "lead_won_value", "owner", "team") == {("owner-1", "sales"): 100_000}
    assert at_march(books, "lead_won_value", "source") == {("webinar",): 100_000}


def test_open_deals_and_what_is_foreseen_of_them(books: Shop) -> None:
    assert at_march(books, "pipeline_value") == {("open",): 40_000 + 10_000, ("on_hold",): 11_111}
    assert at_march(books, "forecast") == 20_000 + 2_500
    # 40,000² × 1/4 + 10,000² × 3/16 = 418,750,000, whose root is 20,463.38
    assert at_march(books, "forecast_sd") == 20_463
    assert at_march(books, "forecast", "pipeline") == {("p",): 22_500}
    assert at_march(books, "forecast", period="2026-04") == 20_000
    assert at_march(books, "pipeline_value", period="2026-04") == {("open",): 40_000, ("on_hold",): 0}
    assert books.inputs("forecast", "2026-04", MARCH_END) == {
        "without probability": 0,
        "without close date": 2_500,
    }
    assert books.inputs("forecast", at=on(6, 23)) == {"without probability": 100_000}, (
        "deal-2 and deal-3 had none"
    )


def test_the_forecast_as_it_stood_against_what_came(books: Shop) -> None:
    """On the 5th, deal-1 was worth 100,000 EUR at 20 % and expected on the 11th; 100,000 came by the 12th."""
    found = at_march(books, "forecast_accuracy", period="2026-03-01..2026-03-12")
    assert found["2026-03-01..2026-03-12", "7"] == 1 - Fraction(80_000, 100_000)
    assert found["2026-03-01..2026-03-12", "30"] == 0
    (value,) = [
        v for v in books.values(only=("forecast_accuracy",), period="2026-03-01..2026-03-12", at=MARCH_END)
        if v.labels["days_ahead"] == "7"
    ]  # fmt: skip
    assert value.inputs == {"foreseen": 20_000, "won by then": 0, "came": 100_000}
    # A month that has ended: on the 24th both wins had come, and nothing else was expected in March
    april = books.figure("forecast_accuracy", at=on(32))
    assert april["2026-03", "7"] == 1
    assert books.figure("forecast_accuracy", period="2026-04", at=MARCH_END) == {}, "it has not ended"


def test_velocity_shows_what_it_is_made_of(books: Shop) -> None:
    # 2 open × 2/3 won × 75,000 / (7 + 10)/2 days
    assert at_march(books, "velocity") == 2 * Fraction(2, 3) * 75_000 / Fraction(17, 2)
    assert books.inputs("velocity", at=MARCH_END) == {
        "open": 2, "won": 2, "lost": 1, "won_amount": 150_000, "cycle_days": 17,
    }  # fmt: skip


def test_what_a_figure_of_money_is_made_of_is_told_as_money(books: Shop) -> None:
    """Minor units without a currency read as a hundred times as much."""
    found = {(v.figure, *v.labels.values()): inputs_shown(v) for v in books.values(at=MARCH_END)}
    assert found["velocity",] == "open 2, won 2, lost 1, won_amount 1,500.00 EUR, cycle_days 17"
    assert found["cost_per_lead",] == "spend 311.00 EUR, leads 2, unpriced CHF 0.70 CHF"
    assert found["win_rate_by_value_in_base",] == "won 1,500.00 EUR, lost 500.00 EUR"
    assert found["win_rate_by_value", "EUR"] == "won 500.00 EUR, lost 500.00 EUR"
    made_of = "attributed 900.00 EUR, spend 311.00 EUR"
    assert found["marketing_roi", "last"].startswith(made_of)
    assert found["marketing_roi", "last"].endswith(", margin 75 %, unpriced CHF 0.70 CHF")
    assert found["roas", "last"].startswith(made_of)
    assert "margin" not in found["roas", "last"], "it has no part in it"
    term = "2026-03-01..2026-03-31"
    assert "target 2,860.00 EUR" in found["target_attainment", "sales", "(empty)", "booked_revenue", term]
    assert "target 2," in found["target_attainment", "marketing", "(empty)", "mql", term]
    assert "target 50 %" in found["target_attainment", "sales", "(empty)", "win_rate", term]


def test_figures_are_printed_by_family(books: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    print_values(books.values(at=MARCH_END, only=("leads", "cac", "collected", "sqls")))
    lines = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert [x for x in lines if x != "value"] == [
        "funnel",
        "leads",
        "sqls",
        "revenue",
        "collected",
        "customer",
        "cac",
    ]


def test_no_input_that_is_money_is_told_without_a_currency(books: Shop) -> None:
    money = {
        "spend",
        "booked",
        "budget",
        "attributed",
        "amount",
        "won_amount",
        "paid",
        "refunded",
        "collected",
    }
    for value in books.values(at=MARCH_END):
        of_money = {name for name in value.inputs if name in money or name.startswith("unpriced ")}
        assert of_money <= set(value.units), value.figure


def test_spend_by_whatever_it_was_for(books: Shop) -> None:
    assert at_march(books, "spend") == 62_100
    assert at_march(books, "spend", "channel") == {
        ("events",): 28_000,
        ("email",): 3_100,
        ("direct",): 31_000,
    }
    assert at_march(books, "spend", "team", "kind") == {
        ("marketing", "media"): 28_000, ("marketing", "tool"): 3_100, ("sales", "salary"): 31_000,
    }  # fmt: skip
    assert at_march(books, "spend", "campaign")["webinar",] == 28_000
    assert at_march(books, "spend", period="2026-03-10") == 1_000 + 100 + 1_000
    assert at_march(books, "spend_unpriced") == {("CHF",): 70}
    assert at_march(books, "audience") == {("network-1",): 77}


def test_what_a_lead_costs_by_channel(books: Shop) -> None:
    assert at_march(books, "cost_per_lead") == Fraction(31_100, 2)
    assert at_march(books, "cost_per_lead", "channel") == {("events",): 28_000, ("email",): 3_100}
    assert at_march(books, "cost_per_mql") == 31_100
    assert at_march(books, "cost_per_mql", "channel") == {("events",): 28_000, ("email",): None}
    assert at_march(books, "cost_per_sql", "channel") == {("events",): 28_000, ("email",): None}
    assert books.inputs("cost_per_lead", at=MARCH_END) == {"spend": 31_100, "leads": 2, "unpriced CHF": 70}


def test_what_a_customer_costs_and_brings(books: Shop) -> None:
    # customers: the account of deal-1, and whoever bought deal-2
    assert at_march(books, "cac") == Fraction(31_100 + 31_000, 2)
    # 143,000 in three months, of one customer on average: none on 1 January, both on 31 March
    assert at_march(books, "arpa") == Fraction(143_000, 3)
    assert (at_march(books, "churn_rate"), at_march(books, "clv"), at_march(books, "clv_to_cac")) == (
        None,
    ) * 3
    assert at_march(books, "payback") == Fraction(31_050) / (Fraction(143_000, 3) * Fraction(3, 4))
    assert at_march(books, "clv_realised") == 50_000 * Fraction(3, 4) / 2
    # whoever counts as won counts as there
    assert at_march(books, "new_customers") == books.inputs("arpa", at=MARCH_END)["customers_at_end"] == 2
    assert at_march(books, "customers_joined") == {("new",): 2}


def test_what_a_customer_is_worth_once_one_has_left(books: Shop) -> None:
    def july(name: str) -> Any:
        return books.one(name, at=on(153, 23))  # 31 July: the three months began on 1 May with two customers

    assert july("churn_rate") == Fraction(1, 6)
    assert july("arpa") == Fraction(6_000) / Fraction(3, 2) / 3
    assert july("clv") == Fraction(4_000, 3) * Fraction(3, 4) / Fraction(1, 6) == 6_000
    assert july("clv_to_cac") == Fraction(6_000, 31_050)
    assert july("payback") == Fraction(31_050, 1_000)
    # The same three months, asked for as a period that ends with them
    assert books.one("churn_rate", "2026-07", at=on(200)) == Fraction(1, 6)
    assert books.one("cac", "2026-07", at=on(200)) is None, "nobody was won in July"


def test_attributed_revenue_and_what_came_back(books: Shop) -> None:
    # lead-1: an event and a visit. 100,000 won, 10,000 refunded of it; the rest is nobody's
    credit = at_march(books, "attributed_revenue", "channel")
    assert (credit["first", "events"], credit["last", "direct"]) == (90_000, 90_000)
    assert (credit["linear", "events"], credit["linear", "direct"]) == (45_000, 45_000)
    assert {n for (_, channel), n in credit.items() if channel == "unattributed"} == {53_000}
    assert set(at_march(books, "unattributed_revenue").values()) == {50_000 + 5_000 - 2_000}
    touches = at_march(books, "credited_touches", "channel")
    assert (touches["linear", "events"], touches["linear", "direct"], touches["first", "events"]) == (1, 1, 1)
    assert ("first", "direct") not in touches
    roas, roi = at_march(books, "roas", "channel"), at_march(books, "marketing_roi", "channel")
    assert roas["first", "events"] == Fraction(90_000, 28_000)
    assert roi["first", "events"] == (Fraction(67_500) - 28_000) / 28_000
    assert roi["last", "events"] == -1
    assert roas["first", "email"] == 0
    assert roas["last", "direct"] is None, "marketing spent nothing there"
    assert at_march(books, "roas")["linear",] == Fraction(90_000, 31_100)


def test_budgets_and_targets_of_both_teams(books: Shop) -> None:
    shares = {v.labels["team"]: v for v in books.values(only=("budget_share",), at=MARCH_END)}
    assert shares["marketing"].value == Fraction(31_100, 143_000)
    assert shares["marketing"].note == "above 6-12 %"
    assert shares["sales"].value == Fraction(31_000, 143_000)
    assert at_march(books, "budget_use") == {
        ("marketing", "(empty)", "2026-03-01..2026-03-31"): Fraction(1, 2),
        ("marketing", "email", "2026-03-01..2026-03-31"): 1,
    }
    term = "2026-03-01..2026-03-31"
    half = Fraction(1, 2)
    assert at_march(books, "target_attainment") == {
        ("marketing", "(empty)", "mql", term): half,
        ("sales", "(empty)", "booked_revenue", term): half,
        ("(empty)", "owner-1", "lead_won_value", term): half,
        ("sales", "(empty)", "win_rate", term): Fraction(2, 3) / half,
        ("sales", "(empty)", "happiness", term): None,
        ("sales", "(empty)", "win_rate_by_value", term): None,
        ("(empty)", "owner-1", "mqls", term): None,
    }
    notes = {v.labels["figure"]: v.note for v in books.values(only=("target_pace",), at=MARCH_END)}
    assert notes["happiness"] == "there is no such figure"
    assert "name a figure of one value" in notes["win_rate_by_value"]
    assert "not told by owner" in notes["mqls"]
    # On the 10th, a third of the days had passed; a rate is expected whole from the start
    paces = books.figure("target_pace", at=on(10, 23))
    assert paces["marketing", "(empty)", "mql", term] == 1 / (2 * Fraction(10, 31))
    assert paces["sales", "(empty)", "win_rate", term] == 2
    assert books.figure("target_pace", at=on(40)) == {}
    assert (
        books.figure("target_pace", period="2026-03", at=on(40))["marketing", "(empty)", "mql", term] == half
    )


@pytest.mark.parametrize(
    ("figure", "value", "pace"),
    [
        ("customer_nps", 50, 2),
        ("onboardings_open", 2, Fraction(1, 2)),
        ("new_customers", 1, Fraction(31, 10)),
    ],
)
def test_a_score_or_a_stock_is_expected_whole_and_what_is_counted_by_the_day(
    figure: str, value: int, pace: Any
) -> None:
    """A score of 100 against one of 50 once was over six times on course on the 10th."""
    f = Shop(now=T0)
    term = {"period_start": "2026-03-01", "period_end": "2026-03-31"}
    f.learn("target_set", on(1), team="sales", figure=figure, value=value, **term)
    f.opened(1, 10, account_id="acc-1", leads=())
    f.won(2, 10)
    f.account("onboarding_started", 3)
    f.account("feedback_given", 4, kind="nps", score=10)
    f.until(on(10))
    assert set(f.figure("target_pace").values()) == {pace}


def test_an_empty_world_has_nothing_and_says_so() -> None:
    f = Shop(now=T0)
    values = f.values()
    assert {v.figure for v in values} >= {
        "booked_revenue",
        "cac",
        "velocity",
        "forecast",
        "roas",
        "budget_share",
    }
    told = {f.name: f for f in FIGURES}
    for v in values:
        whole = v.unit not in ("ratio", "times", "months", "days", "s") and "/" not in told[v.figure].formula
        assert (
            (v.value == 0)
            if whole and v.labels.get("stat") not in ("min", "max", "median", "mean")
            else (not v.value)
        )
        if told[v.figure].group in ("customer value", "attribution", "plans") or v.figure.startswith(
            "cost_per"
        ):
            assert v.value is None, v.figure
    assert report({}, f.topology.definitions[-1], T0), "neither market nor reference are needed"


def test_amounts_in_base_currency_say_which(books: Shop) -> None:
    (value,) = books.values(only=("booked_revenue",), at=MARCH_END)
    assert (value.unit, shown(value)) == ("minor units EUR", "1,430.00 EUR")
    (cost,) = books.values(only=("cost_per_lead",), at=MARCH_END)
    assert shown(cost) == "155.50 EUR"


def test_people_are_told_in_which_unit_money_is_that_a_figure_is_made_of(
    books: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    totals = figures_of_rows(loaded(books.driver.all_rows()), books.topology, MARCH_END)
    more: dict[str, Any] = {"market": books.topology.market, "reference": books.topology.reference}
    print_report(totals, books.topology.definitions, MARCH_END, only=["collected"], **more)
    *_, head, line = (" ".join(x.split()) for x in capsys.readouterr().out.splitlines())
    assert head == "value from"
    assert line == "collected 500.00 EUR paid 600.00 EUR, refunded 100.00 EUR"


@pytest.mark.parametrize(
    ("last", "months", "first"),
    [
        ("2026-03-31", 3, "2026-01-01"), ("2026-02-28", 12, "2025-03-01"), ("2026-04-30", 3, "2026-02-01"),
        ("2026-10-15", 3, "2026-07-16"), ("2026-05-30", 3, "2026-03-01"), ("2026-01-10", 12, "2025-01-11"),
    ],
)  # fmt: skip
def test_trailing_months_are_whole_ones_where_they_can_be(last: str, months: int, first: str) -> None:
    year, month, day = map(int, last.split("-"))
    assert iso(months_before(day_number(year, month, day), months)) == first


def test_every_step_of_a_deal_adds_up_to_how_it_stands(books: Shop) -> None:
    """As of each day, what is open is what a deal row of that day would say."""
    for day in range(1, 32):
        then = on(day, 23)
        deals = {k: n for k, n in books.figure("deals", at=then).items() if k[0] in ("open", "on_hold")}
        inputs = {
            (v.labels["status"],): v.inputs["deals"] for v in books.values(only=("pipeline_value",), at=then)
        }
        assert deals == inputs
        past = books.figure("velocity", period=f"2026-03-01..2026-03-{day:02d}", at=on(60))
        now = books.figure("velocity", at=then)
        assert past == now
    assert day_number(2026, 3, 1) * DAY == T0
