"""Laws of the figures: contributions are a group, add up over any partitioning, and follow from the rows alone."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from processors import bins, figures
from processors.additive import Contribution, add, move
from processors.bins import log_bin, quantile
from processors.compiled import compile_definition
from processors.days import DAY
from processors.model import load
from processors.period import Period
from processors.report import FIGURES, LABELS, report
from processors.totals import statistics
from streams.state_reader import figures_of_rows, loaded
from tests.strategies import END, SEEDS, T0, Sent, deals, histories, law_definition
from tests.world import OWNERS, Funnel

LEADS = ("lead-1", "lead-2")
LAW = law_definition()
D = compile_definition(LAW)

_keys = st.tuples(st.sampled_from(["entered", "left", "deal"]), st.integers(0, 3))
_contributions = st.dictionaries(_keys, st.integers(-3, 3).filter(bool), max_size=8)
_histories = st.tuples(histories(LEADS, 12), deals(LEADS, 3)).map(lambda x: x[0] + x[1])


def plus(*parts: Contribution) -> Contribution:
    out: Contribution = {}
    for part in parts:
        add(out, part.items())
    return {key: n for key, n in out.items() if n}


def played(found: list[Sent], until: int = END, rng: random.Random | None = None) -> Funnel:
    """The history in order of time, or in any order at its end."""
    f = Funnel(LAW, T0, owners=OWNERS)
    run = sorted(found, key=lambda s: (s.t, s.offset))
    if rng is not None:
        rng.shuffle(run)
        f.until(until)
    for one in run:
        if one.t <= until:
            if rng is None:
                f.until(max(f.now, one.t))
            f.publish(one)
    f.until(until)
    assert not f.topology.counts["fold_errors",]
    assert not any(f.topology.failing_by_partition().values())
    return f


@given(_contributions, _contributions, _contributions)
def test_moving_is_a_group_action(total: Contribution, a: Contribution, b: Contribution) -> None:
    c: Contribution = {}
    there = dict(total)
    move(there, a, b)
    assert there == plus(total, b, {k: -n for k, n in a.items()})
    move(there, b, c)
    direct = dict(total)
    move(direct, a, c)
    assert there == direct
    move(there, c, a)
    assert there == total


@given(_histories, SEEDS)
def test_any_partitioning_adds_up_and_reports_the_same(found: list[Sent], seed: int) -> None:
    f = played(found)
    rng = random.Random(seed)
    rows = list(loaded(f.driver.all_rows()))
    whole = plus(figures_of_rows(rows, f.topology, END))
    boxes: list[list[int]] = [[] for _ in range(rng.randint(1, 4))]
    for n in range(len(rows)):
        rng.choice(boxes).append(n)
    parts = [figures_of_rows((rows[n] for n in box), f.topology, END) for box in boxes]
    assert plus(*parts) == whole
    by = tuple(rng.sample(LABELS, rng.randint(0, 2)))
    period = rng.choice([None, Period(T0 // DAY, T0 // DAY + 20)])
    assert report(plus(*parts), D, END, by=by, period=period) == report(whole, D, END, by=by, period=period)


@given(_histories, SEEDS)
def test_totals_of_a_worker_are_the_sum_of_its_rows(found: list[Sent], seed: int) -> None:
    f = played(found, rng=random.Random(seed))
    rows: Contribution = {}
    fine: Contribution = {}
    for key, data in f.driver.all_rows():
        scope = f.topology.scope(key)
        add(rows, figures.of_row(key.decode(), load(data), scope, fine=False).items())
        add(fine, figures.of_row(key.decode(), load(data), scope).items())
    assert plus(f.topology.totals()) == plus(rows)
    assert all(fine[key] == n for key, n in rows.items()), "fine contributions hold the coarse ones"


#: Shares that may pass 100 %, or fall below nothing.
UNBOUNDED = ("period_conversion", "churn_rate", "forecast_accuracy", "marketing_roi")


@given(_histories)
def test_self_checks_are_zero_and_shares_are_shares(found: list[Sent]) -> None:
    f = played(found)
    values = report(figures_of_rows(loaded(f.driver.all_rows()), f.topology, END), D, END)
    for v in values:
        if v.figure.startswith("check_"):
            assert v.value == 0
        if v.unit == "ratio" and v.figure not in UNBOUNDED and v.value is not None:
            assert 0 <= v.value <= 1
        if v.figure in ("entered", "left", "balance", "handoffs", "deals"):
            assert v.value is not None
            assert v.value >= 0


@given(_histories)
def test_a_split_figure_sums_to_the_whole(found: list[Sent]) -> None:
    f = played(found)
    totals = figures_of_rows(loaded(f.driver.all_rows()), f.topology, END)
    for figure in FIGURES:
        if not figure.adds:
            continue
        whole = {tuple(v.labels.items()): v.value for v in report(totals, D, END, only=[figure.name])}
        for label in figure.labels:
            split: Counter[tuple[tuple[str, str], ...]] = Counter()
            for v in report(totals, D, END, by=[label], only=[figure.name]):
                assert isinstance(v.value, int)
                split[tuple((k, x) for k, x in v.labels.items() if k != label)] += v.value
            assert {k: n for k, n in whole.items() if n} == {k: n for k, n in split.items() if n}, figure.name


@given(histories(LEADS, 12), st.integers(0, 60))
def test_as_of_is_what_the_figures_were_then(found: list[Sent], day: int) -> None:
    """Where nothing is learned late, what is now said of then is what was said then. (A deal that names its lead
    late is learned late.)"""
    at = T0 + day * DAY + DAY // 2
    then, now = played(found, at), played(found)
    before = figures_of_rows(loaded(then.driver.all_rows()), then.topology)
    assert plus(figures_of_rows(loaded(now.driver.all_rows()), now.topology, at)) == plus(before)


@given(st.lists(st.integers(-50, 400), min_size=1, max_size=30))
def test_statistics_of_bins_are_those_of_the_values(values: list[int]) -> None:
    found = statistics(Counter(values).items())
    ordered = sorted(values)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    assert (found["count"], found["sum"], found["min"], found["max"]) == (
        len(values), sum(values), ordered[0], ordered[-1],
    )  # fmt: skip
    assert found["median"] == median
    mean = found["mean"]
    assert mean is not None
    assert mean * len(values) == sum(values)


@given(st.lists(st.integers(0, 9), max_size=20), st.integers(0, 10), st.sampled_from([(1, 2), (9, 10)]))
def test_quantile_takes_the_censored_for_the_largest(
    values: list[int], beyond: int, q: tuple[int, int]
) -> None:
    found = quantile(Counter(values).items(), *q, beyond)
    everything = [*sorted(values), *[10**9] * beyond]
    if not everything:
        assert found is None
        return
    expected = everything[-(-len(everything) * q[0] // q[1]) - 1]
    assert found == (None if expected == 10**9 else expected)


@given(st.integers(0, 10**11), st.integers(0, 10**11))
def test_bins_keep_order_and_are_narrow(a: int, b: int) -> None:
    low, high = sorted((a, b))
    assert log_bin(low) <= log_bin(high)
    s = a // 1000
    start = bins.bin_start(log_bin(a))
    assert start <= s
    assert s - start <= s // 128
    assert abs(bins.bin_seconds(log_bin(a)) - s) * 128 <= max(s, 128)
