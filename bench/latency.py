"""How long a fact takes to what follows from it: from its append to the moment at which a subscriber that reads
committed records has the stage change, at a steady rate and with the CPU that it costs, from the same run.

Every event happens when it is sent. What is timed are the entries to ``known``, each the answer to one ``created``.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer

from bench import life
from schemas.codec import decode_output, encode_event
from streams.kafka_tools import Admin
from streams.local_kafka import LocalKafka
from streams.settings import Settings
from streams.topics import create

WARM_UP_S, MEASURED_S = 5.0, 20.0
#: Lives under way at the same time: so many leads between two facts of one.
_BESIDE = 500


def traffic() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(topic's key in the settings, lead, event without its time) of lives side by side, for ever."""
    born = 0
    under_way: list[Iterator[tuple[str, str, dict[str, Any]]]] = []
    while True:
        for at in range(_BESIDE):
            if at == len(under_way):
                under_way.append(islice(_one(born), at % 36, None))  # of any age
                born += 1
            found = next(under_way[at], None)
            if found is None:
                under_way[at] = _one(born)
                born += 1
                found = next(under_way[at])
            yield found


def _one(n: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    lead = f"lead-{n}"
    for e in life.events(lead):
        field = "engagement" if e.type in life.ENGAGEMENT else "lead"
        yield field, lead, {
            "type": e.type, "source_system": e.source_system, "source_event_id": e.source_event_id,
            "subject": {"lead_id": lead}, "payload": dict(e.payload),
        }  # fmt: skip


class _Listener(threading.Thread):
    """Reads the stage changes and notes when each lead was first said to be known."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(daemon=True)
        self.heard: dict[str, float] = {}
        self.done = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": settings.bootstrap,
                "group.id": "bench-listener",
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 500,
                "fetch.min.bytes": 1,
            }
        )
        self._consumer.subscribe([settings.topics.stage_changes])

    def run(self) -> None:
        while not self.done.is_set():
            for m in self._consumer.consume(500, 0.02):
                now = time.time()
                if m.error() is None and m.value() is not None:
                    record = decode_output(m.value() or b"")[1]
                    if record["stage"] == "known":
                        self.heard.setdefault((m.key() or b"").decode(), now)
        self._consumer.close()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def once(kafka: LocalKafka, rate: int, number: int, folder: Path) -> dict[str, float]:
    settings = Settings(
        bootstrap=kafka.bootstrap, app_id=f"latency-{number}", topic_prefix=f"latency-{number}."
    )
    ready = folder / f"ready-{number}.json"
    with Admin(settings) as admin:
        create(admin, settings, timestamps="LogAppendTime")
    worker = subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "worker"],
        env={
            **os.environ,
            "LEADSTREAM_BOOTSTRAP": kafka.bootstrap,
            "LEADSTREAM_APP_ID": settings.app_id,
            "LEADSTREAM_TOPIC_PREFIX": settings.topic_prefix,
            "LEADSTREAM_WEB_PORT": "0",
            "LEADSTREAM_READY_FILE": str(ready),
            "LEADSTREAM_LOG_LEVEL": "warning",
        },
    )
    os.sched_setaffinity(worker.pid, {0})
    listener = _Listener(settings)
    try:
        deadline = time.monotonic() + 60
        while not (
            ready.exists() and len(json.loads(ready.read_text())["partitions"]) == settings.partitions
        ):
            if time.monotonic() > deadline or worker.poll() is not None:
                raise SystemExit("the worker did not become ready")
            time.sleep(0.05)
        listener.start()
        return _measure(settings, worker.pid, listener, rate)
    finally:
        listener.done.set()
        worker.terminate()
        worker.wait(20)


def _measure(settings: Settings, pid: int, listener: _Listener, rate: int) -> dict[str, float]:
    appended: dict[str, float] = {}

    def delivered(error: Any, m: Any) -> None:
        if error is None:
            appended[m.key().decode()] = m.timestamp()[1] / 1000

    producer = Producer(
        {"bootstrap.servers": settings.bootstrap, "partitioner": "murmur2_random", "linger.ms": 2}
    )
    events = traffic()
    begun = time.monotonic()
    sent, cpu, measured_from, sent_before = 0, 0.0, 0.0, 0
    while (passed := time.monotonic() - begun) < WARM_UP_S + MEASURED_S:
        if not measured_from and passed >= WARM_UP_S:
            measured_from, cpu, sent_before = time.time(), _cpu_s(pid), sent
        while sent < passed * rate:
            field, lead, event = next(events)
            event["occurred_at"] = int(time.time() * 1000)
            report = {"on_delivery": delivered} if event["type"] == "created" else {}
            topic = str(getattr(settings.topics, field))
            producer.produce(topic, encode_event(event), lead.encode(), **report)
            sent += 1
        producer.poll(0.001)
    burnt, until = _cpu_s(pid) - cpu, time.time()
    producer.flush()
    timed = {lead: at for lead, at in appended.items() if measured_from <= at <= until}
    deadline = time.monotonic() + 30
    while not timed.keys() <= listener.heard.keys() and time.monotonic() < deadline:
        time.sleep(0.05)
    missing = timed.keys() - listener.heard.keys()
    if missing:
        raise SystemExit(f"{len(missing)} of {len(timed)} entries to known were never said")
    waits = sorted(1000 * (listener.heard[lead] - at) for lead, at in timed.items())
    return {
        "timed": len(waits),
        "events_per_s": (sent - sent_before) / (until - measured_from),
        "p50_ms": statistics.median(waits),
        "p99_ms": waits[len(waits) * 99 // 100],
        "max_ms": waits[-1],
        "cpu_percent_of_a_core": 100 * burnt / (until - measured_from),
    }


def run(_events: int, rounds: int) -> list[dict[str, Any]]:
    """At 700 events/s, and at half of what catch-up takes."""
    found = []
    with (
        tempfile.TemporaryDirectory() as name,
        LocalKafka(Path(name) / "kafka", heap="1g", full_jit=True) as kafka,
    ):
        os.sched_setaffinity(kafka.pid, {1} if (os.cpu_count() or 1) > 1 else {0})
        number = 0
        for rate in (700, 5_000, 12_000):
            runs = []
            for _ in range(rounds):
                runs.append(once(kafka, rate, number, Path(name)))
                number += 1
            medians = {k: round(statistics.median(r[k] for r in runs), 1) for k in runs[0]}
            found.append(
                {"job": f"latency at {rate:,} events/s, 8 partitions, one worker on one core", **medians}
            )
    return found
