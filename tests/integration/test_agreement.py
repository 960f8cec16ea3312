"""Workers and replay tell one truth: the same events give the same figures, bit for bit, however they are spread."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from schemas.codec import encode_event
from streams.local_kafka import LocalKafka
from streams.sources.sim_model import Delivery
from streams.sources.simulator import Simulation
from tests.eventually import eventually
from tests.integration.pipeline import Pipeline, Sent
from tests.integration.traffic import DIRT, iso

pytestmark = [pytest.mark.integration]

SEED = 20
QUESTIONS = ((), ("--by", "source,segment"), ("--period", "2025-01", "--by", "team"))


def deliveries(count: int, leads_per_day: float) -> Iterator[Delivery]:
    """The same each time: a million of them need not be held."""
    for n, delivery in enumerate(Simulation(SEED, leads_per_day=leads_per_day, dirt=DIRT).events()):
        if n == count:
            return
        yield delivery


def record(d: Delivery) -> Sent:
    return Sent(d.topic_key, d.key.encode(), d.raw if d.raw is not None else encode_event(d.event), d.at_ms)


def line(d: Delivery) -> bytes:
    """The record as a line of a log: when it was recorded is the log's to say."""
    return d.raw if d.raw is not None else json.dumps(d.event | {"observed_at": d.at_ms}).encode()


def agree(
    bootstrap: str,
    prefix: str,
    folder: Path,
    partitions: int,
    count: int,
    leads_per_day: float,
    timeout: float,
    questions: Sequence[tuple[str, ...]],
) -> None:
    log = folder / "events.ndjson"
    end_ms = 0
    with log.open("wb") as handle:
        for d in deliveries(count, leads_per_day):
            handle.write(line(d) + b"\n")
            end_ms = max(end_ms, d.at_ms)
    as_of = iso(end_ms + 3_600_000)
    with Pipeline(bootstrap, prefix, folder, partitions, clock=f"fixed:{as_of}") as pipeline:
        pipeline.create("CreateTime")
        pipeline.append(record(d) for d in deliveries(count, leads_per_day) if d.topic_key == "reference")
        others = (d for d in deliveries(count, leads_per_day) if d.topic_key != "reference")
        assert pipeline.append(map(record, others)) > count * 0.9
        pipeline.start("first")
        pipeline.start("second")
        eventually(lambda: pipeline.lag() == 0, timeout, "everything is read")
        pipeline.wait_settled(timeout, revive=False)
        assert pipeline.crashed == []
        assert pipeline.metric("leadstream_fold_errors_total") == 0
        for options in questions:
            live = pipeline.figures("--as-of", as_of, *options)
            told = json.loads(
                pipeline.cli("replay", str(log), "--as-of", as_of, "--partitions", "3", *options, "--json")
            )
            assert len(live) == len(told["figures"])
            assert [pair for pair in zip(live, told["figures"], strict=True) if pair[0] != pair[1]] == []
            assert {f["figure"] for f in live if f["value"]} >= {"handoffs", "acceptance_decided"}


@pytest.mark.timeout(170)
@pytest.mark.parametrize("partitions", [1, 8])
def test_workers_and_replay_agree_on_every_figure(
    kafka: LocalKafka, prefix: str, tmp_path: Path, partitions: int
) -> None:
    """Promise: dirty traffic, any number of partitions and workers: the figures of a replay of the log, bit for bit."""
    agree(kafka.bootstrap, prefix, tmp_path, partitions, 12_000, 40, 90, QUESTIONS)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("partitions", [1, 8])
def test_a_million_events_agree(kafka: LocalKafka, prefix: str, tmp_path: Path, partitions: int) -> None:
    """Promise: so it is for 1,000,000 events."""
    agree(kafka.bootstrap, prefix, tmp_path, partitions, 1_000_000, 300, 900, QUESTIONS[1:2])
