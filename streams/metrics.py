"""The funnel for Prometheus: a projection of the totals that this worker holds, at the moment of the scrape.

What can be restated is a gauge; only work done is counted. Gauges with a ``partition`` label are there once per
partition, and twice for a moment while partitions change hands: take the max of each before summing, as in
``sum by (stage) (max by (stage, partition) (leadstream_stage_balance))``. Gauges by source, team or rule are sums
over the partitions of this worker; sum them over workers.

The number of series is bounded whatever people send: of each label that comes from events, the values that the
definition names come first, then the largest, and the rest is ``(other)``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Protocol

from prometheus_client.core import (
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from processors.additive import EMPTY, Contribution, add
from processors.attribution import SIGN
from processors.bins import bin_seconds, bin_start
from processors.columns import CLOCK_STATES, CLOCKS, COLUMNS, HANDOFF_STATES, SERIES, stage_names
from processors.compiled import Compiled
from processors.market import Market
from processors.model import DEAL_STATUS, EXITS
from processors.qualify import HAND_RAISE, OVERRIDE
from processors.reference import Reference
from processors.restate import CAUSES
from processors.totals import Sel, Totals
from schemas.registry import OUTPUT, packaged
from schemas.vocabulary import CUSTOMER, DEAL, ENGAGEMENT, LEAD, OF_FAMILY
from streams import engagement_metrics, money_metrics
from streams.metric_kit import OTHER, Bounded, Values, bound, counter, gauge, sizes

#: Most series of the funnel; what would exceed it is left out and said so. With the transport's own, a worker
#: stays below 10,000.
MOST_SERIES = 9_000
#: Most values of a label that comes from events.
SOURCES, SEGMENTS, TEAMS, REASONS, RULES = 50, 12, 20, 24, 60
#: Upper bounds of speed to lead, seconds.
BOUNDS = (
    60, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 43_200, 86_400, 172_800, 259_200, 604_800, 1_209_600,
    2_592_000,
)  # fmt: skip
#: Reasons for dead letters that are shown even at 0.
DEAD_LETTER_CODES = (
    "null_value", "not_utf8", "bad_json", "bad_avro", "unknown_schema_id", "not_an_event", "missing_field",
    "bad_field", "bad_subject", "bad_time", "too_early", "too_far", "too_large", "bad_inbox", "conflicting_payload",
    "fold_error",
)  # fmt: skip


class Funnel(Protocol):
    """What is read of a topology."""

    definitions: tuple[Compiled, ...]
    counts: Counter[tuple[str, ...]]
    reference: Reference
    market: Market
    #: The newest instant that it has seen, epoch ms.
    now_ms: int

    def totals_by_partition(self) -> dict[int, Contribution]: ...

    def held_by_partition(self) -> dict[int, Counter[str]]: ...

    def failing_by_partition(self) -> dict[int, int]: ...

    def score_gaps(self) -> dict[int, int]: ...


def exposition(topology: Funnel) -> str:
    """The funnel in the text format, at most `MOST_SERIES` series."""
    return generate_latest(FunnelMetrics(topology)).decode()


class FunnelMetrics(Collector):
    """Reads a topology at each scrape; the most important families first, for the budget."""

    def __init__(self, topology: Funnel) -> None:
        self._topology = topology

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        left, dropped = MOST_SERIES - 1, 0
        for family in self._families():
            if len(family.samples) <= left:
                left -= len(family.samples)
                yield family
            else:
                dropped += 1
        yield GaugeMetricFamily(
            "leadstream_metrics_left_out",
            f"Metrics left out to stay within {MOST_SERIES} series; 0 is good.",
            dropped,
        )

    def _families(self) -> Iterator[Metric]:
        definitions = self._topology.definitions
        d, names = definitions[-1], stage_names(definitions)
        parts = {
            str(n): Totals(totals, d, 0, None, names)
            for n, totals in sorted(self._topology.totals_by_partition().items())
        }
        yield from _by_partition(parts, d)
        yield _held(self._topology.held_by_partition(), d)
        yield gauge(
            "leadstream_failing_timers", "Subjects whose timers fail: a defect, look at the log. They are tried again.",
            ("partition",), {(str(n),): found for n, found in self._topology.failing_by_partition().items()},
        )  # fmt: skip
        yield gauge(
            "leadstream_checks", "Self-checks, always 0.", ("check", "partition"),
            _checks(parts, self._topology.score_gaps()),
        )  # fmt: skip
        yield gauge(
            "leadstream_definition_info", "The newest definition known: name and version.", ("name", "version"),
            {(d.source.name, str(d.source.version)): 1},
        )  # fmt: skip
        yield from _win_model(self._topology.reference, self._topology.now_ms)
        yield from _work(self._topology.counts)
        whole: Contribution = {}
        for totals in self._topology.totals_by_partition().values():
            add(whole, totals.items())
        known = self._topology
        t = Totals(whole, d, known.now_ms, None, names, reference=known.reference)
        yield from _breakdowns(t, d)
        yield from money_metrics.of_market(known.market, t)


# Per partition: what must survive a rebalance ------------------------------------------------------------------------


def _by_partition(parts: Mapping[str, Totals], d: Compiled) -> Iterator[Metric]:
    def gather(count: str, labels: Sequence[str], known: Iterable[tuple[str, ...]], **where: Any) -> Values:
        out: dict[tuple[str, ...], float] = {}
        for n, totals in parts.items():
            out |= {(*key, n): 0 for key in known}
            out |= {(*key, n): value for key, value in totals.sums(Sel(count, where), labels).items()}
        return out

    stages = [(name,) for name in (*(d.names[code] for code in d.stages), *EXITS.values())]
    for count, text in (
        ("balance", "Journeys that stand in a stage or exit: entered - left."),
        ("entered", "Entries of a stage or exit, each counted, implied ones included."),
        ("left", "Entries of a stage or exit that were left."),
    ):
        yield gauge(
            f"leadstream_stage_{count}", text, ("stage", "partition"), gather(count, ("stage",), stages)
        )
    yield gauge(
        "leadstream_leads", "Persons who have entered known, implied or not.", ("partition",),
        gather("leads", (), [()]),
    )  # fmt: skip
    yield gauge(
        "leadstream_crowded_browsers",
        "Anonymous ids that more people were identified on than the definition allows: linked to none of them.",
        ("partition",), gather("crowded", (), [()]),
    )  # fmt: skip
    yield gauge(
        "leadstream_mqls",
        "Entries to mql. series=marketing: MQLs, real entries in a first journey generated by marketing.",
        ("series", "partition"),
        gather("entered", ("series",), [(s,) for s in SERIES], stage=d.mql),
    )
    yield gauge(
        "leadstream_handoffs",
        "Handoffs by outcome. Acceptance (decided) = accepted/(accepted + rejected).",
        ("outcome", "partition"),
        gather("handoff", ("outcome",), [(o,) for o in HANDOFF_STATES]),
    )
    yield gauge(
        "leadstream_sla_clocks",
        "Clocks of handoffs. Compliance = met/(met + breached).",
        ("clock", "state", "partition"),
        gather("sla", ("clock", "state"), [(c, s) for c in CLOCKS for s in CLOCK_STATES]),
    )
    yield gauge(
        "leadstream_deals", "Deals by status. Win rate = won/(won + lost).", ("status", "partition"),
        gather("deal", ("status",), [(s,) for s in DEAL_STATUS]),
    )  # fmt: skip
    yield gauge(
        "leadstream_won_leads",
        "Leads with a win that stands.",
        ("partition",),
        gather("days_to_won", (), [()]),
    )
    yield _creation_to_won(
        "leadstream_creation_to_won_day",
        "partition",
        {n: totals.sums(Sel("days_to_won"), (), numbers=("days",)) for n, totals in parts.items()},
    )
    yield gauge(
        "leadstream_check_drift",
        "Differences between rows that tell one another, of one partition; their sum over all partitions is 0 whenever "
        "the inbox is drained. aliases: facts sent to whom a lead became; credit: attributed - booked, all models.",
        ("check", "partition"),
        _drifts(parts, d),
    )


def _held(parts: Mapping[int, Counter[str]], d: Compiled) -> Metric:
    """Held back by the flood guard: the alert looks at it, so the teams of the definition are there at 0."""
    known = sorted({d.source.default_team, *(rule.team for rule in d.source.routing)})[:TEAMS]
    out: dict[tuple[str, str], float] = {(team, str(n)): 0 for team in known for n in parts}
    for n, teams in parts.items():
        for team, count in teams.items():
            key = (team if team in known else OTHER, str(n))
            out[key] = out.get(key, 0) + count
    return gauge(
        "leadstream_handoffs_held", "New handoffs that the flood guard holds back until a person has looked.",
        ("team", "partition"), out,
    )  # fmt: skip


def _creation_to_won(name: str, label: str, found: Mapping[str, Mapping[tuple[Any, ...], int]]) -> Metric:
    """:param found: label value to days (the last part of the key) and how many."""
    values: dict[tuple[str, str], float] = {}
    for where, bins in found.items():
        values["sum", where] = sum(key[-1] * n for key, n in bins.items())
        if bins:
            values["min", where] = min(key[-1] for key in bins)
            values["max", where] = max(key[-1] for key in bins)
    return gauge(
        name,
        "Calendar days from a lead's creation to its first win: sum (add), min and max. Mean = sum/won leads.",
        ("stat", label),
        values,
    )


def _drifts(parts: Mapping[str, Totals], d: Compiled) -> Values:
    out: dict[tuple[str, str], float] = {}
    models = len(d.source.attribution.models)
    for n, totals in parts.items():
        booked = sum(totals.sums(Sel("deal_amount_on", {"status": "won"}), ()).values())
        booked += sum(SIGN[kind] * x for (kind,), x in totals.sums(Sel("booked_on"), ("kind",)).items())
        credit = sum(
            x
            for (model,), x in totals.sums(Sel("attributed"), ("model",)).items()
            if model in d.source.attribution.models
        )
        out["credit", n] = credit - models * booked
        out["aliases", n] = sum(totals.sums(Sel("alias_drift"), ()).values())
    return out


def _checks(parts: Mapping[str, Totals], gaps: Mapping[int, int]) -> Values:
    out: dict[tuple[str, str], float] = {("scores", str(n)): gap for n, gap in gaps.items()}
    labels = COLUMNS["entered"]
    for n, totals in parts.items():
        entered, left, stay = (totals.sums(Sel(count), labels) for count in ("entered", "left", "balance"))
        out["stages", n] = sum(
            abs(entered.get(k, 0) - left.get(k, 0) - stay.get(k, 0))
            for k in entered.keys() | left.keys() | stay.keys()
        )
        out["handoffs", n] = sum(totals.sums(Sel("stranded"), ()).values())
    return out


# Of the worker as a whole: by labels that come from events ------------------------------------------------------------


def _breakdowns(t: Totals, d: Compiled) -> Iterator[Metric]:
    reasons = [code for of, code in d.source.reasons if of == "rejection"]
    rules = [*(rule.name for rule in d.rules), HAND_RAISE, OVERRIDE]
    teams = {d.source.default_team, *(rule.team for rule in d.source.routing)}
    source = Bounded(sizes(t, "persons", "source"), d.source.sources, SOURCES)
    segment = Bounded(sizes(t, "persons", "segment"), (s.name for s in d.source.segments), SEGMENTS)
    reason = Bounded(sizes(t, "rejected", "reason"), reasons, REASONS)
    team = Bounded(sizes(t, "handoff", "team"), teams, TEAMS)
    rule_sizes = Counter(sizes(t, "rejected", "rule")) + Counter(sizes(t, "admitted", "rule"))
    rule = Bounded(rule_sizes, rules, RULES)

    def of(count: str, **labels: Bounded | None) -> dict[tuple[Any, ...], int]:
        return bound(t.sums(Sel(count), tuple(labels)), *labels.values())

    yield gauge(
        "leadstream_source_leads", "Persons who have entered known, by source and segment.", ("source", "segment"),
        of("leads", source=source, segment=segment),
    )  # fmt: skip
    yield gauge(
        "leadstream_source_stage_entered", "Entries of a stage or exit by source.", ("source", "stage"),
        of("entered", source=source, stage=None),
    )  # fmt: skip
    mqls = t.sums(Sel("entered", {"stage": d.mql}), ("source", "series"))
    yield gauge(
        "leadstream_source_mqls", "Entries to mql by source and series.", ("source", "series"),
        bound(mqls, source, None),
    )  # fmt: skip
    yield gauge(
        "leadstream_source_handoffs", "Handoffs by source and outcome.", ("source", "outcome"),
        of("handoff", source=source, outcome=None),
    )  # fmt: skip
    yield gauge(
        "leadstream_source_rejections", "Rejected handoffs by source and reason.", ("source", "reason"),
        {(EMPTY, code): 0 for code in reasons[:REASONS]} | of("rejected", source=source, reason=reason),
    )  # fmt: skip
    yield gauge(
        "leadstream_rule_handoffs",
        "Answered handoffs by the rule that contributed most to letting the lead through.",
        ("rule", "outcome"),
        {(*key, "rejected"): n for key, n in of("rejected", rule=rule).items()}
        | {(*key, "accepted"): n for key, n in of("admitted", rule=rule).items()},
    )
    won = t.sums(Sel("days_to_won"), ("source",), numbers=("days",))
    yield gauge(
        "leadstream_source_won_leads", "Leads with a win that stands, by source.", ("source",),
        of("days_to_won", source=source),
    )  # fmt: skip
    by_source: dict[str, dict[tuple[Any, ...], int]] = {}
    for key, n in bound(won, source, None).items():
        by_source.setdefault(key[0], {})[key] = n
    yield _creation_to_won("leadstream_source_creation_to_won_day", "source", by_source)
    yield from _by_team(t, team, sorted(teams))
    yield from money_metrics.families(t)
    yield from engagement_metrics.families(t)


def _by_team(t: Totals, team: Bounded, known: Sequence[str]) -> Iterator[Metric]:
    clocks = {(name, c, s): 0 for name in known[:TEAMS] for c in CLOCKS for s in CLOCK_STATES}
    yield gauge(
        "leadstream_team_sla_clocks", "Clocks of handoffs by team. Compliance = met/(met + breached).",
        ("team", "clock", "state"), clocks | bound(t.sums(Sel("sla"), ("team", "clock", "state")), team, None, None),
    )  # fmt: skip
    speeds = bound(t.sums(Sel("speed"), ("team",), numbers=("bin",)), team, None)
    waiting = bound(t.sums(Sel("untouched"), ("team",)), team)
    family = GaugeHistogramMetricFamily(
        "leadstream_team_speed_to_lead_seconds",
        "First human touch - start of the clocks, wall time. Handoffs that nobody has touched are in +Inf.",
        labels=("team",),
    )
    for name in sorted({*known[:TEAMS], *(key[0] for key in speeds), *(key[0] for key in waiting)}):
        bins = {n: count for (of, n), count in speeds.items() if of == name}
        buckets = [
            (f"{bound:.1f}", sum(count for n, count in bins.items() if bin_start(n) <= bound))
            for bound in BOUNDS
        ]
        buckets.append(("+Inf", sum(bins.values()) + waiting.get((name,), 0)))
        total = sum(bin_seconds(n) * count for n, count in bins.items())
        family.add_metric((name,), buckets, total)
    yield family
    yield gauge(
        "leadstream_team_untouched_handoffs", "Handoffs that nobody has touched, withdrawn ones left out.", ("team",),
        {(name,): 0 for name in known[:TEAMS]} | waiting,
    )  # fmt: skip


def _win_model(reference: Reference, now_ms: int) -> Iterator[Metric]:
    """Nothing where none has been published yet."""
    found = reference.win_model_at(now_ms)
    yield gauge(
        "leadstream_win_model_leads",
        "Leads of closed deals that the win model in force was made of; the same on every worker: take the max.",
        ("status",),
        {("won",): found.model.won, ("lost",): found.model.lost} if found is not None else {},
    )
    yield gauge(
        "leadstream_win_model_timestamp_seconds",
        "The instant that the win model in force was counted as of; it is published daily.", (),
        {(): found.as_of / 1000} if found is not None else {},
    )  # fmt: skip


# Work done -----------------------------------------------------------------------------------------------------------

#: First part of a key of ``counts`` (its other parts are the labels), metric, text, labels.
_COUNTERS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("events", "events", "Events taken in, by type.", ("type",)),
    (
        "outputs",
        "outputs",
        "Messages published, by record and kind; of restatements by what their cause begins with.",
        ("record", "kind"),
    ),
    ("dead_letters", "dead_letters", "Records that could not be processed, by reason.", ("code",)),
    ("fold_errors", "fold_errors", "Subjects whose fold failed: a defect, look at the log.", ()),
    ("outcomes", "fold_outcomes", "What became of facts: duplicate, conflict, held, refolded.", ("what",)),
    ("misrouted", "misrouted_records", "Records on the wrong partition, by source.", ("source",)),
    ("skewed", "skewed_events", "Events dated over a minute after their record, by source.", ("source",)),
    (
        "skew",
        "skew_seconds",
        "By how much those were ahead, summed, by source: mean = sum/events.",
        ("source",),
    ),
    ("unknown_type", "unknown_type_events", "Events of types that are not known, by topic.", ("topic",)),
    ("unknown_fields", "unknown_field_events", "Events with unknown fields, by type.", ("type",)),
    ("reference_refused", "reference_refused", "Reference records that could not be used.", ("code",)),
)


def _work(counts: Counter[tuple[str, ...]]) -> Iterator[Metric]:
    found: dict[str, dict[tuple[str, ...], int]] = {}
    for (what, *labels), n in counts.items():
        found.setdefault(what, {})[tuple(labels)] = n
    known = _known_work()
    for what, name, text, names in _COUNTERS:
        values = found.get(what, {})
        if names == ("source",):
            sizes = {key[0]: n for key, n in values.items()}
            values = bound(values, Bounded(sizes, (), SOURCES))
        shown: Values = dict.fromkeys(known.get(what, ()), 0) | values
        if name.endswith("_seconds"):  # counted in ms
            shown = {key: ms / 1000 for key, ms in shown.items()}
        yield counter(f"leadstream_{name}", text, names, shown)


@cache
def _known_work() -> dict[str, list[tuple[str, ...]]]:
    """Labels of what is counted from 0 on, so that an alert can look at the increase."""
    types = [t for family in (ENGAGEMENT, LEAD, DEAL, CUSTOMER) for t in OF_FAMILY[family]]
    return {
        "events": [(t,) for t in (*types, "(unknown)")],
        "outputs": _outputs(),
        "dead_letters": [(code,) for code in DEAD_LETTER_CODES],
        "fold_errors": [()],
    }


def _outputs() -> list[tuple[str, ...]]:
    """Record and kind of everything that may be published."""
    found: list[tuple[str, ...]] = []
    for name, schema in packaged().newest(OUTPUT).items():
        kinds = next(
            (f["type"]["symbols"] for f in schema.resolved["fields"] if f["name"] == "kind"), ["unknown"]
        )
        if name == "restatement":
            kinds = CAUSES
        found += [(name, kind) for kind in kinds if kind != "unknown"]
    return found
