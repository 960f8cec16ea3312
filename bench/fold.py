"""CPU of the whole topology in process (decode, fold, diff, encode), without Kafka."""

from __future__ import annotations

import statistics
import time
from typing import Any

from bench.traffic import made, topic
from streams.definitions import base_definition
from streams.driver import Driver
from streams.settings import Settings
from streams.topology import LeadTopology
from streams.work import Record
from streams.worker import tune_collector


def once(count: int, batch: int, live: bool) -> dict[str, float]:
    settings = Settings(partitions=8)
    topology = LeadTopology(settings, base_definition(settings))
    driver = Driver(topology, live=live)
    reference: list[Record] = []
    last = 0
    for m in made(count):
        name = topic(settings, m.field)
        if m.field == "reference":
            reference.append(Record(name, 0, len(reference), m.at_ms, m.key, m.value))
        else:
            driver.publish(name, m.key, m.value, timestamp_ms=m.at_ms)
            last = m.at_ms
    topology.learn(reference)
    driver.now_ms = last
    tune_collector()
    started = time.process_time()
    driver.run(batch)
    folded = time.process_time() - started
    driver.catch_up()
    said = time.process_time() - started - folded
    outputs = sum(n for key, n in topology.counts.items() if key[0] == "outputs")
    rows = [len(value) for _, value in driver.all_rows()]
    return {
        "fold_us_per_event": folded / count * 1e6,
        "say_us_per_output": said / outputs * 1e6 if outputs else 0.0,
        "outputs": outputs,
        "rows": len(rows),
        "bytes_per_row_mean": statistics.mean(rows),
        "bytes_per_row_p99": sorted(rows)[len(rows) * 99 // 100],
    }


def run(events: int, rounds: int) -> list[dict[str, Any]]:
    out = []
    for batch, live in ((4000, False), (100, True)):
        runs = [once(events, batch, live) for _ in range(rounds)]
        medians = {k: round(statistics.median(r[k] for r in runs), 2) for k in runs[0]}
        out.append(
            {
                "job": f"fold in process, {'live' if live else 'catch-up'}, batches of {batch}",
                "events": events,
                **medians,
            }
        )
    return out
