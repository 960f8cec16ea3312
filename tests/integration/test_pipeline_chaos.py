"""Whatever dies and whenever: rows, figures and outputs are those of an undisturbed fold of the same records."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.codec import encode_event
from streams.local_kafka import LocalKafka
from streams.sources.simulator import Dirt, Simulation
from tests.integration.oracle import compare_rows, compare_said, folded
from tests.integration.pipeline import Pipeline, Sent

DAY_MS = 86_400_000


def simulated(seed: int, count: int, leads_per_day: float = 10) -> list[Sent]:
    """Believable traffic in the order of its delivery, with late, double, broken and misdirected records."""
    dirt = Dirt(late=0.03, duplicates=0.03, malformed=0.003, wrong_keys=0.02, conflicts=0.003)
    found: list[Sent] = []
    for d in Simulation(seed, leads_per_day=leads_per_day, dirt=dirt).events():
        if d.topic_key != "market":
            value = d.raw if d.raw is not None else encode_event(d.event)
            found.append(Sent(d.topic_key, d.key.encode(), value, d.at_ms))
        if len(found) == count:
            break
    return found


def instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Paced:
    """Records at a steady rate, however long they take; ``sent`` of them so far."""

    def __init__(self, records: list[Sent], rate: float) -> None:
        self._records = records
        self._rate = rate
        self.sent = 0

    def __iter__(self) -> Iterator[Sent]:
        started = time.monotonic()
        pause = threading.Event()
        for record in self._records:
            pause.wait(max(0.0, self.sent / self._rate - (time.monotonic() - started)))
            self.sent += 1
            yield record


def survive(pipeline: Pipeline, records: list[Sent], kills: Iterable[float], rate: float, rng: random.Random) -> None:
    """Publish while workers are killed with -9 (after these seconds each) and replaced; until all is settled."""
    pipeline.create("CreateTime")
    pipeline.append(r for r in records if r.field == "reference")
    for name in ("w0", "w1"):
        pipeline.start(name)
    pipeline.wait_ready()
    traffic = Paced([r for r in records if r.field != "reference"], rate)
    producer = threading.Thread(target=pipeline.append, args=(traffic,))
    producer.start()
    pause = threading.Event()
    try:
        for number, seconds in enumerate(kills):
            pause.wait(seconds)
            pipeline.revive()
            pipeline.workers.pop(rng.choice(sorted(pipeline.workers))).kill()
            while len(pipeline.workers) < 2 + number % 2:
                pipeline.start(f"k{number}-{len(pipeline.workers)}")
    finally:
        producer.join()
    pipeline.wait_settled(100)


def prove(pipeline: Pipeline, expected: int) -> None:
    """Rows, figures, outputs and dead letters are those of the oracle."""
    oracle = folded(pipeline)
    rows = pipeline.rows()
    assert len(rows) > 500
    assert compare_rows(rows, oracle) < len(rows) / 50
    heard = pipeline.heard()
    assert heard.repeated == 0, "something was said twice"
    assert compare_said(rows, heard) > expected
    assert pipeline.figures() == oracle.figures()
    letters = {letter.place: letter.code for letter in pipeline.letters()}
    assert len(letters) == len(pipeline.letters()), "one dead letter for each bad record"
    wanted = {
        (said["topic"], said["partition"], said["offset"]): said["code"]
        for said in (
            {n.rpartition(".")[2]: v.decode() for n, v in record.headers}
            for record in oracle.driver.read(pipeline.topics.dead_letters)
        )
    }
    assert {(t, str(p), str(o)): code for (t, p, o), code in letters.items()} == wanted
    stops = [worker.stop() for worker in pipeline.workers.values() if worker.alive]
    assert all(code == 0 and seconds < 5 for code, seconds in stops), stops


@pytest.mark.integration
@pytest.mark.chaos
@pytest.mark.timeout(170)
def test_nothing_is_lost_repeated_or_invented_while_workers_are_killed(
    kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    """Promise: exactly once with the whole domain. Four times a worker is killed with -9 amid believable traffic; at the
    end every row, every figure and everything that was said is what an undisturbed fold of the records gives."""
    rng = random.Random(11)
    records = simulated(11, 14_000)
    now = records[-1].at_ms or 0
    with Pipeline(
        kafka.bootstrap, prefix, tmp_path, 4, clock=f"fixed:{instant(now + 5 * DAY_MS)}", session_timeout_s="5"
    ) as pipeline:
        survive(pipeline, records, [rng.uniform(1.5, 4.5) for _ in range(4)], 900, rng)
        prove(pipeline, 1_500)


@pytest.mark.integration
@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_for_minutes(kafka: LocalKafka, prefix: str, tmp_path: Path, seed: int) -> None:
    """Promise: the same, with 20 kills over 90,000 events and five months."""
    rng = random.Random(seed)
    records = simulated(seed, 90_000, 12)
    now = records[-1].at_ms or 0
    with Pipeline(
        kafka.bootstrap, prefix, tmp_path, 8, clock=f"fixed:{instant(now + 5 * DAY_MS)}", session_timeout_s="5"
    ) as pipeline:
        survive(pipeline, records, [rng.uniform(0.5, 8) for _ in range(20)], 1_000, rng)
        prove(pipeline, 10_000)
