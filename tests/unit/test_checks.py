"""The self-checks of DOMAIN 6: 0 where everything is right, and not 0 where something is not."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from prometheus_client.parser import text_string_to_metric_families

from processors import checks
from processors.columns import stage_names
from processors.definition.model import DAY
from processors.report import report
from streams.state_reader import figures_of_rows, loaded
from tests.judge import TIMELINE, played
from tests.strategies import SEEDS, T0, Sent, at, histories
from tests.world import Funnel


@given(histories(most=24, lagged=True), SEEDS)
def test_every_score_is_explained_to_the_milli_point(history: list[Sent], seed: int) -> None:
    """Over caps, rounding, other definitions, late facts and re-classification."""
    rng = random.Random(seed)
    w = played(
        history, seed, rng.choice((TIMELINE, TIMELINE[:1])), live=True, end=T0 + rng.randrange(60) * DAY + DAY
    )
    for key in w.stored:
        assert checks.score_gap(w.row(key), w.scope(key)) == 0


def test_points_that_nothing_explains_show_in_metrics_and_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    f = Funnel(partitions=2)
    f.fit()
    f.hot()
    assert sample(f, "leadstream_checks") == 0
    assert figure(f, "check_scores") == 0
    p = f.topology.partition_of("lead-1")
    row = f.topology.cache[p, b"l:lead-1"]
    acc = next(iter(row.head.acc.values()))
    acc[1] += 5000  # as a fold that forgot to write it down would
    assert sample(f, "leadstream_checks", check="scores", partition=str(p)) >= 4990
    monkeypatch.setattr(checks, "ONE_IN", 1)
    stored = [(f"l:{lead}", row) for lead in ("lead-1",)]
    totals = figures_of_rows(stored, f.topology)
    assert totals["unexplained",] >= 4990


def test_rows_that_have_not_heard_of_one_another_drift_and_agree_in_the_end() -> None:
    f = Funnel(partitions=4)
    for lead in ("lead-1", "lead-2"):
        f.fit(lead=lead)
        f.say("content_downloaded", at(1, 10), {"asset_id": "a"}, lead=lead)
    f.until(at(1, 12))
    f.say("merged", at(1, 12), {"loser": "lead-2", "winner": "lead-1"}, run=False)
    drifts = set()
    busy = True
    while busy:  # a batch at a time
        busy = f.driver._step(1, None)
        drifts.add(abs(sample(f, "leadstream_check_drift", check="aliases")))
    assert drifts > {0}, "it was seen on its way"
    assert sample(f, "leadstream_check_drift", check="aliases") == 0
    assert figure(f, "check_aliases") == 0


def test_credit_drifts_between_partitions_and_sums_to_what_was_booked() -> None:
    f = Funnel(partitions=4)
    f.fit()
    money = {"amount": 1001, "currency": "EUR"}
    f.say(
        "opened", at(3), {"leads": [{"lead_id": "lead-1"}], "pipeline": "p", "stage": "s"} | money, deal="d-1"
    )
    f.say("won", at(4), money, deal="d-1")
    assert f.topology.partition_of("lead-1") != f.topology.partition_of("d-1")
    by_partition = {abs(x) for x in samples(f, "leadstream_check_drift", check="credit")}
    models = len(f.definition.attribution.models)
    assert by_partition == {0, 1001 * models}
    assert sample(f, "leadstream_check_drift", check="credit") == 0


def samples(f: Funnel, name: str, **labels: str) -> list[float]:
    return [
        s.value
        for family in text_string_to_metric_families(f.topology.exposition())
        for s in family.samples
        if s.name == name and labels.items() <= s.labels.items()
    ]


def sample(f: Funnel, name: str, **labels: str) -> float:
    found = samples(f, name, **labels)
    assert found
    return sum(found)


def figure(f: Funnel, name: str) -> Any:
    definitions = f.topology.definitions
    totals = figures_of_rows(loaded(f.driver.all_rows()), f.topology, f.now)
    (found,) = report(totals, definitions[-1], f.now, only=[name], names=stage_names(definitions))
    return found.value
