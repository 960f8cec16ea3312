"""Catch-up of one worker on real Kafka: a backlog of simulated events, exactly once, changelog and outputs.

The broker runs with a normal heap and JIT on the other core; the worker is pinned to one. Rate and CPU are taken from the
first committed transaction to the last, over several runs with topics of their own.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from bench.traffic import Made, made, topic
from streams.kafka_tools import Admin, Reader
from streams.local_kafka import LocalKafka
from streams.settings import SOURCES, Settings
from streams.topics import create

_DEADLINE_S = 300.0


def _fill(settings: Settings, events: list[Made]) -> None:
    producer = Producer(
        {
            "bootstrap.servers": settings.bootstrap,
            "partitioner": "murmur2_random",
            "linger.ms": 20,
            "queue.buffering.max.messages": 200_000,
        }
    )
    for m in events:
        while True:
            try:
                producer.produce(topic(settings, m.field), m.value, m.key, timestamp=m.at_ms)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _lag(admin: Admin, settings: Settings, ends: dict[tuple[str, int], int]) -> int:
    committed = admin.committed(settings.app_id)
    return sum(max(0, end - committed.get(tp, 0)) for tp, end in ends.items())


def once(kafka: LocalKafka, number: int, events: list[Made], folder: Path) -> dict[str, float]:
    prefix = f"bench-{number}."
    settings = Settings(bootstrap=kafka.bootstrap, app_id=f"bench-{number}", topic_prefix=prefix)
    ready = folder / f"ready-{number}.json"
    with Admin(settings) as admin:
        create(admin, settings, timestamps="CreateTime")
        _fill(settings, events)
        counts: dict[tuple[str, int], int] = {}
        with Reader(settings) as tail:
            found = tail.offsets(settings.topics.named(*(f for f in SOURCES if f != "inbox")))
            counts = {tp: end for tp, (_, end) in found.items()}
        worker = subprocess.Popen(
            [sys.executable, "-m", "streams.cli", "worker"],
            env={
                **os.environ,
                "LEADSTREAM_BOOTSTRAP": kafka.bootstrap,
                "LEADSTREAM_APP_ID": settings.app_id,
                "LEADSTREAM_TOPIC_PREFIX": prefix,
                "LEADSTREAM_WEB_PORT": "0",
                "LEADSTREAM_READY_FILE": str(ready),
                "LEADSTREAM_LOG_LEVEL": "warning",
            },
        )
        os.sched_setaffinity(worker.pid, {0})
        try:
            return _measure(admin, settings, worker, ready, counts, len(events))
        finally:
            worker.terminate()
            worker.wait(20)


def _measure(
    admin: Admin,
    settings: Settings,
    worker: subprocess.Popen[bytes],
    ready: Path,
    ends: dict[tuple[str, int], int],
    count: int,
) -> dict[str, float]:
    deadline = time.monotonic() + _DEADLINE_S
    total = sum(ends.values())
    started = burnt = 0.0
    first = 0
    while time.monotonic() < deadline:
        if worker.poll() is not None:
            raise SystemExit(f"the worker ended with {worker.returncode}; see its log above")
        lag = _lag(admin, settings, ends)
        done = total - lag
        if not started and done:
            started, burnt, first = time.monotonic(), _cpu_s(worker.pid), done
        if started and lag == 0:
            wall, cpu = time.monotonic() - started, _cpu_s(worker.pid) - burnt
            rss = int(Path(f"/proc/{worker.pid}/statm").read_text().split()[1]) * 4096 / 1e6
            said = time.monotonic()
            while ready.exists() and not json.loads(ready.read_text()).get("live", True):
                time.sleep(0.05)
            url = json.loads(ready.read_text())["url"] if ready.exists() else ""
            if url:
                urllib.request.urlopen(f"{url}/readyz", timeout=5).read()
            return {
                "events_per_s": (total - first) / wall,
                "cpu_us_per_event": cpu / (total - first) * 1e6,
                "rss_mb": rss,
                "until_said_s": time.monotonic() - said,
            }
        time.sleep(0.05)
    raise SystemExit(f"{count} events were not read within {_DEADLINE_S:.0f} s")


def run(events: int, rounds: int) -> list[dict[str, Any]]:
    backlog = list(made(events))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with LocalKafka(folder / "kafka", heap="1g", full_jit=True) as kafka:
            os.sched_setaffinity(kafka.pid, {1} if (os.cpu_count() or 1) > 1 else {0})
            runs = [once(kafka, n, backlog, folder) for n in range(rounds)]
    rates = [r["events_per_s"] for r in runs]
    return [
        {
            "job": "catch-up, one worker on one core, real Kafka, 8 partitions, exactly once",
            "events": events,
            "rounds": rounds,
            "events_per_s_median": round(statistics.median(rates)),
            "events_per_s_min_max": [round(min(rates)), round(max(rates))],
            "cpu_us_per_event_median": round(statistics.median(r["cpu_us_per_event"] for r in runs), 1),
            "rss_mb_median": round(statistics.median(r["rss_mb"] for r in runs)),
        }
    ]
