"""What the transport tells Prometheus about its own work; the funnel's figures are the topology's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector


class TransportMetrics(Collector):
    """A projection of the tasks, the consumer and the table at the moment of the scrape."""

    def __init__(self, app: Any, sources: Iterable[str]) -> None:
        self._app = app
        self._sources = tuple(sources)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        #: Fetched batches that did not continue what was delivered, and were fetched again.
        self.broken_chains = 0
        self.rebalances = 0

    def exposition(self) -> str:
        """Text format."""
        return generate_latest(self._registry).decode()

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        app = self._app
        totals = app.tasks.totals()
        records = CounterMetricFamily(
            "leadstream_transport_records", "Source records handed to the fold.", labels=["topic"]
        )
        for topic in self._sources:
            records.add_metric([topic], totals.records[topic])
        yield records
        for name, text, value in (
            ("transactions", "Committed transactions.", totals.transactions),
            ("transactions_aborted", "Transactions that were not committed.", totals.aborted),
            ("transaction_seconds", "Time spent in committed transactions.", totals.seconds),
            ("changed_rows", "Rows stored in the changelog.", totals.changed_rows),
            ("polls", "Fetches that brought records.", app.pace.polls),
            ("broken_chains", "Fetched batches that were dropped and fetched again.", self.broken_chains),
            ("rebalances", "Assignments of partitions to this worker.", self.rebalances),
        ):
            yield CounterMetricFamily(f"leadstream_transport_{name}", text, value=value)
        for name, text, value in (
            (
                "ready_partitions",
                "Partitions whose rows are restored and whose task runs.",
                len(app.tasks.ready),
            ),
            ("live_partitions", "Partitions whose task has caught up.", len(app.tasks.live)),
            ("restore_seconds", "Length of the last restore, fencing included.", app.table.restore_seconds),
            ("rows", "Rows in memory, standbys included.", len(app.table.data)),
            ("fetch_wait_seconds", "How long the broker may hold the next fetch.", app.pace.wait_s),
            ("reference_records", "Reference and market records read.", app.reference.records),
        ):
            yield GaugeMetricFamily(f"leadstream_transport_{name}", text, value=value)
        yield self._lag()

    def _lag(self) -> Metric:
        lag = GaugeMetricFamily(
            "leadstream_transport_lag_records",
            "Offsets between what is committed and the last stable offset.",
            labels=["topic", "partition"],
        )
        for topic, partition, behind in self._app.status.lags():
            lag.add_metric([topic, str(partition)], behind)
        return lag
