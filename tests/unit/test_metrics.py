"""``/metrics``: a projection of the totals, bounded whatever people send, that Prometheus can read."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter, defaultdict

import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from processors import additive
from processors.additive import Contribution
from processors.columns import CLOCK_STATES, CLOCKS, HANDOFF_STATES
from processors.compiled import Compiled, compile_definition
from processors.definition.model import HOUR
from processors.market import NOTHING
from processors.model import EXITS
from processors.money import CURRENCIES
from processors.reference import EMPTY as NO_REFERENCE
from streams import metrics
from streams.metrics import MOST_SERIES, exposition
from tests.money_world import Shop, on
from tests.strategies import T0, default_definition
from tests.world import Funnel

FITS = {"role": "CEO", "company_size": 300, "industry": "software", "country": "AT", "company": "c-1"}
DEFAULT = default_definition()
Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


class Made:
    """Totals and counts out of thin air."""

    def __init__(self, parts: dict[int, Contribution], definitions: tuple[Compiled, ...] = ()) -> None:
        self.definitions = definitions or (compile_definition(DEFAULT),)
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.parts = parts
        self.reference = NO_REFERENCE
        self.market = NOTHING
        self.now_ms = T0
        self.gaps = dict.fromkeys(parts, 0)

    def totals_by_partition(self) -> dict[int, Contribution]:
        return self.parts

    def held_by_partition(self) -> dict[int, Counter[str]]:
        return {n: Counter({"sales": 2, "elsewhere": 1}) for n in self.parts}

    def failing_by_partition(self) -> dict[int, int]:
        return dict.fromkeys(self.parts, 0)

    def score_gaps(self) -> dict[int, int]:
        return self.gaps


def parsed(text: str) -> Samples:
    """Name to labels (sorted) to value; the parser refuses what Prometheus would."""
    found: Samples = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for s in family.samples:
            key = tuple(sorted(s.labels.items()))
            assert key not in found[s.name], f"{s.name}{key} is there twice"
            found[s.name][key] = s.value
    return found


def of(samples: Samples, metric: str, /, **labels: str) -> float:
    """The sum of what has these labels."""
    return sum(v for key, v in samples[metric].items() if set(labels.items()) <= set(key))


def busy() -> Funnel:
    f = Funnel(now=T0, partitions=2)
    for n in range(1, 7):
        f.say(
            "created",
            T0,
            {"source": "social" if n % 2 else "", "generated_by": "marketing"},
            lead=f"lead-{n}",
        )
        f.say("attributes_changed", T0, {"fields": FITS}, lead=f"lead-{n}")
        f.say("form_submitted", T0, {"form_id": "f", "intent": "hand_raise"}, lead=f"lead-{n}")
    f.say("touched", T0 + HOUR, {"channel": "phone", "kind": "call"}, lead="lead-1")
    f.say("accepted", T0 + HOUR, lead="lead-1")
    f.say("rejected", T0 + HOUR, {"reason_code": "timing"}, lead="lead-2")
    f.say("rejected", T0 + HOUR, {"reason_code": "made up"}, lead="lead-3")
    links = {
        "leads": [{"lead_id": "lead-1"}],
        "amount": 12_345,
        "currency": "EUR",
        "pipeline": "p",
        "stage": "s",
    }
    f.say("opened", T0 + 5 * 24 * HOUR, links, deal="deal-1")
    f.say("won", T0 + 9 * 24 * HOUR, {"amount": 12_345, "currency": "EUR"}, deal="deal-1")
    return f


def test_the_funnel_is_there_with_its_zeros() -> None:
    f = busy()
    samples = parsed(f.topology.exposition())
    for partition in "01":
        stages = {
            dict(k)["stage"] for k in samples["leadstream_stage_balance"] if dict(k)["partition"] == partition
        }
        assert stages == {s.name for s in DEFAULT.stages} | set(EXITS.values())
    assert {dict(k)["outcome"] for k in samples["leadstream_handoffs"]} == set(HANDOFF_STATES)
    assert len(samples["leadstream_sla_clocks"]) == 2 * len(CLOCKS) * len(CLOCK_STATES)
    assert of(samples, "leadstream_stage_balance", stage="sal") == 0
    assert of(samples, "leadstream_dead_letters_total", code="bad_json") == 0
    assert of(samples, "leadstream_fold_errors_total") == 0


def test_values_are_those_of_the_totals() -> None:
    f = busy()
    samples = parsed(f.topology.exposition())
    assert of(samples, "leadstream_leads") == 6
    assert of(samples, "leadstream_mqls", series="marketing") == 6
    assert of(samples, "leadstream_stage_entered", stage="mql") == sum(
        n for key, n in f.topology.totals().items() if key[:2] == ("entered", 30)
    )
    assert of(samples, "leadstream_stage_balance", stage="won") == 1
    assert of(samples, "leadstream_handoffs", outcome="accepted") == 1
    assert of(samples, "leadstream_handoffs", outcome="expired") == 3
    assert of(samples, "leadstream_source_handoffs", outcome="rejected", source="(empty)") == 1
    assert of(samples, "leadstream_source_rejections", reason="timing") == 1
    assert of(samples, "leadstream_source_rejections", reason="made up") == 1
    assert of(samples, "leadstream_rule_handoffs", rule="hand-raise", outcome="rejected") == 2
    assert of(samples, "leadstream_deals", status="won") == 1
    assert of(samples, "leadstream_deal_amount", currency="EUR", status="won") == 123.45
    assert of(samples, "leadstream_won_leads") == 1
    for stat in ("sum", "min", "max"):
        assert of(samples, "leadstream_creation_to_won_day", stat=stat) == 9
        assert of(samples, "leadstream_source_creation_to_won_day", stat=stat, source="social") == 9
    assert of(samples, "leadstream_events_total", type="created") == 6
    assert of(samples, "leadstream_outputs_total", record="handoff", kind="made") == 6
    assert of(samples, "leadstream_checks") == 0
    assert of(samples, "leadstream_metrics_left_out") == 0
    assert of(samples, "leadstream_definition_info", name="default", version="1") == 1


def test_engagement_has_known_labels() -> None:
    f = Funnel()
    f.say("page_viewed", T0, {"url": "https://example.org/"})
    f.say("email_delivered", T0, {"send_id": "s1", "campaign_id": "spring"})
    for n in range(2):
        f.say("email_opened", T0 + n * HOUR, {"send_id": "s1", "agent": "human"})
    f.say("survey_answered", T0, {"survey_id": "q", "score": 10, "kind": "nps"})
    f.say("content_downloaded", T0, {"asset_id": "paper"})
    for n in range(60):
        f.say("objection_raised", T0, {"category": f"category-{min(n, 40)}"})
    samples = parsed(f.topology.exposition())
    assert of(samples, "leadstream_engagement_events", type="email_opened", agent="human") == 2
    assert of(samples, "leadstream_emails", state="opened", agent="human") == 1
    assert of(samples, "leadstream_emails", state="clicked", agent="bot") == 0
    assert of(samples, "leadstream_visits") == 1
    assert of(samples, "leadstream_survey_answers", answer="promoter") == 1
    assert of(samples, "leadstream_objections", category="category-40") == 20
    assert of(samples, "leadstream_objections", category="(other)") == 60 - 20 - 23
    text = f.topology.exposition()
    assert not any(word in text for word in ("spring", "paper", '"s1"'))


def test_untouched_handoffs_are_the_last_bucket() -> None:
    samples = parsed(busy().topology.exposition())
    name = "leadstream_team_speed_to_lead_seconds"
    buckets = {dict(k)["le"]: v for k, v in samples[f"{name}_bucket"].items()}
    assert len(buckets) <= 20
    assert buckets["1800.0"] == 0
    assert buckets["3600.0"] == 1
    assert buckets["2592000.0"] == 1
    assert buckets["+Inf"] == of(samples, f"{name}_gcount") == 6
    assert of(samples, "leadstream_team_untouched_handoffs", team="sales") == 5


def test_series_are_bounded_whatever_is_sent() -> None:
    f = Made({p: {} for p in range(16)})
    for n in range(5_000):
        source, t = f"source-{n:04d}", f.parts[n % 16]
        size = 5_000 - n
        for key in (
            ("persons", source, f"segment-{n % 90}"),
            ("leads", "marketing", source, f"segment-{n % 90}"),
            *(
                ("entered", code, "marketing", source, "(empty)")
                for code in (0, 10, 20, 30, 40, 50, 60, 70, 99)
            ),
            *(("handoff", outcome, source, "(empty)", f"team-{n}") for outcome in HANDOFF_STATES),
            ("rejected", f"reason-{n}", source, f"rule-{n}"),
            ("admitted", f"rule-{n}", source),
            *(("sla", clock, state, f"team-{n}") for clock in CLOCKS for state in CLOCK_STATES),
            ("speed", f"team-{n}", n),
            ("untouched", f"team-{n}"),
            ("days_to_won", source, n % 400),
            ("deal_amount", "won", f"X{n}"),
        ):
            t[key] = size
        for what in ("misrouted", "skewed"):
            f.counts[what, source] = size
    text = exposition(f)
    samples = parsed(text)
    assert sum(len(found) for found in samples.values()) <= MOST_SERIES < 10_000
    assert of(samples, "leadstream_metrics_left_out") == 0
    # nothing is lost, it only loses its name
    assert of(samples, "leadstream_source_leads") == of(samples, "leadstream_leads")
    assert of(samples, "leadstream_source_leads", source="source-0000") == 5_000
    assert of(samples, "leadstream_source_leads", source="(other)") == sum(range(1, 5_000 - 49))
    assert of(samples, "leadstream_misrouted_records_total", source="(other)") == sum(range(1, 5_000 - 49))
    assert of(samples, "leadstream_deal_amount") == 0, "what is no currency does not add up"


def test_beyond_the_budget_families_are_left_out_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MOST_SERIES", 100)
    samples = parsed(exposition(busy().topology))
    assert sum(len(found) for found in samples.values()) <= 100
    assert of(samples, "leadstream_metrics_left_out") > 0
    assert samples["leadstream_stage_balance"], "the most important ones come first"


def test_named_sources_come_before_large_ones() -> None:
    d = compile_definition(replace(DEFAULT, sources=("small",)))
    parts: dict[int, Contribution] = {0: {("persons", f"s{n}", "-"): 1000 for n in range(80)}}
    parts[0]["persons", "small", "-"] = 1
    for _, source, _ in list(parts[0]):
        parts[0]["leads", "marketing", source, "-"] = 1
    samples = parsed(exposition(Made(parts, (d,))))
    sources = {dict(k)["source"] for k in samples["leadstream_source_leads"]}
    assert "small" in sources
    assert len(sources) == metrics.SOURCES + 1


def test_no_id_of_a_person_is_a_label() -> None:
    text = busy().topology.exposition()
    assert not re.search(r"lead-\d|deal-\d|owner-\d|@", text)
    assert "_created" not in text


def test_an_address_or_a_text_in_place_of_a_name_is_no_label() -> None:
    f = Shop(now=T0)
    for n, source in enumerate(("jane@example.com", "x" * 5000, "fair")):
        f.say("created", T0, {"source": source, "generated_by": "marketing"}, lead=f"lead-{n}")
    f.spend("joe@example.com", "2026-03-01", "2026-03-01", 500)
    text = f.topology.exposition()
    assert "@" not in text
    assert max(map(len, text.splitlines())) < 500
    samples = parsed(text)
    assert of(samples, "leadstream_source_leads", source="(other)") == 2
    assert of(samples, "leadstream_source_leads", source="fair") == 1
    assert of(samples, "leadstream_spend", channel="(other)") == 5


def test_labels_survive_any_text() -> None:
    odd = 'a"b\\c\nd,é{}='
    parts: dict[int, Contribution] = {0: {("persons", odd, "-"): 1, ("leads", "marketing", odd, "-"): 1}}
    samples = parsed(exposition(Made(parts)))
    assert of(samples, "leadstream_source_leads", source=odd) == 1


def test_a_renamed_stage_keeps_its_balance() -> None:
    stages = tuple(
        replace(s, name="qualified", renamed_from=("mql",)) if s.name == "mql" else s for s in DEFAULT.stages
    )
    renamed = compile_definition(replace(DEFAULT, stages=stages, version=2))
    parts: dict[int, Contribution] = {0: {("balance", 30, "marketing", "-", "-"): 4}}
    samples = parsed(exposition(Made(parts, (compile_definition(DEFAULT), renamed))))
    assert of(samples, "leadstream_stage_balance", stage="qualified") == 4
    assert not any("mql" in dict(k).values() for k in samples["leadstream_stage_balance"])


def test_a_broken_sum_shows() -> None:
    parts: dict[int, Contribution] = {0: {("entered", 30, "marketing", "-", "-"): 4, ("stranded",): 2}}
    made = Made(parts)
    made.gaps[0] = 7
    samples = parsed(exposition(made))
    assert of(samples, "leadstream_checks", check="scores") == 7
    assert of(samples, "leadstream_checks", check="stages") == 4
    assert of(samples, "leadstream_checks", check="handoffs") == 2


def test_partitions_that_left_take_their_figures_along() -> None:
    f = busy()
    before = parsed(f.topology.exposition())
    gone = f.topology.partition_of("lead-1")
    f.topology.closed(gone)
    after = parsed(f.topology.exposition())
    assert of(after, "leadstream_leads") == of(before, "leadstream_leads", partition=str(1 - gone))
    assert not any(dict(k).get("partition") == str(gone) for found in after.values() for k in found)
    assert f.topology.totals() == {k: n for k, n in f.topology.totals_by_partition()[1 - gone].items() if n}
    assert additive.EMPTY == "(empty)"


@pytest.mark.needs("promtool")
def test_prometheus_finds_nothing_to_complain_about() -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        check=False,
        input=busy().topology.exposition(),
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_money_is_told_in_units_of_a_currency() -> None:
    f = Shop(now=T0, partitions=2)
    f.rate("USD", "2026-03-04", "0.5")
    f.say("page_viewed", on(1), {"url": "https://example.org/?utm_medium=social"})
    f.opened(2, 10_000, "USD", account_id="acc-1")
    f.won(4, 10_000, "USD")
    f.opened(3, 7_000, "GBP", deal="deal-2", leads=())
    f.won(4, 7_000, "GBP", deal="deal-2")
    f.opened(3, 100_000, deal="deal-3", leads=(), probability=0.25)
    f.account("expanded", 5, kind="upsell", amount=1_234, currency="JPY")
    f.account("invoice_paid", 6, amount=900, currency="EUR")
    f.account("invoice_refunded", 6, amount=100, currency="EUR")
    f.spend("social", "2026-03-01", "2026-03-10", 1_000)
    f.spend("direct", "2026-03-01", "2026-03-01", 500, team="sales")
    f.until(on(6))
    f.say("page_viewed", on(6), {"url": "https://example.org/"}, lead="lead-9")
    samples = parsed(f.topology.exposition())
    assert of(samples, "leadstream_booked_revenue", kind="won", currency="EUR") == 50
    assert of(samples, "leadstream_booked_revenue", kind="refunded") == -1
    unpriced = {dict(k)["currency"]: v for k, v in samples["leadstream_booked_unpriced_amount"].items()}
    assert unpriced == {"GBP": 70, "JPY": 1_234}
    assert of(samples, "leadstream_collected", currency="EUR") == 8
    assert of(samples, "leadstream_pipeline_amount", status="open", currency="EUR") == 1_000
    assert of(samples, "leadstream_forecast_amount", currency="EUR") == 250
    linear = {"model": "linear", "currency": "USD"}
    assert of(samples, "leadstream_attributed_amount", channel="social", **linear) == 100
    assert (
        of(samples, "leadstream_attributed_amount", channel="unattributed", model="w", currency="GBP") == 70
    )
    assert of(samples, "leadstream_customers", status="handed_over") == 1
    assert of(samples, "leadstream_spend", channel="social", team="marketing", currency="EUR") == 6, (
        "six days of ten"
    )
    assert of(samples, "leadstream_spend", team="sales") == 5


def test_money_is_bounded_whatever_is_sent() -> None:
    f = Made({0: {}})
    for n in range(3_000):
        currency = sorted(CURRENCIES)[n % len(CURRENCIES)]
        for key in (
            ("deal_open_amount", "open", currency), ("deal_weighted", currency),
            ("attributed", f"model-{n % 7}", f"channel-{n}", currency), ("booked_on", "upsell", currency, n),
            ("deal_amount_on", "won", f"pipeline-{n}", currency, n), ("paid_on", currency, n),
        ):  # fmt: skip
            f.parts[0][key] = 1 + n
    samples = parsed(exposition(f))
    assert max(len(found) for name, found in samples.items() if name.endswith("_amount")) <= 20 * 7 * 18
    assert of(samples, "leadstream_metrics_left_out") == 0
    assert len({dict(k)["channel"] for k in samples["leadstream_attributed_amount"]}) <= 18


def test_the_win_model_in_force_tells_its_size_and_age() -> None:
    f = busy()
    assert "leadstream_win_model_timestamp_seconds" not in parsed(exposition(f.topology))
    counts = {"won": 3, "lost": 5, "currency": "EUR", "features": {}}
    f.learn("win_model_published", f.now, as_of=f.now - HOUR, counts=json.dumps(counts))
    f.until(f.now + 24 * HOUR)
    samples = parsed(exposition(f.topology))
    assert of(samples, "leadstream_win_model_timestamp_seconds") == (f.now - 25 * HOUR) / 1000
    assert of(samples, "leadstream_win_model_leads", status="won") == 3
    assert of(samples, "leadstream_win_model_leads", status="lost") == 5
