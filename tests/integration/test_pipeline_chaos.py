"""Whatever dies and whenever: rows, figures and outputs are those of an undisturbed fold of the same records."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from streams.local_kafka import LocalKafka
from tests.integration.oracle import prove
from tests.integration.pipeline import Pipeline, Sent
from tests.integration.traffic import Publishing, iso, simulated

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

DAY_MS = 86_400_000


def survive(
    pipeline: Pipeline, records: list[Sent], kills: Iterable[float], rate: float, rng: random.Random
) -> None:
    """Publish while workers are killed with -9 (after these seconds each) and replaced; until all is settled."""
    pipeline.create("CreateTime")
    pipeline.append(r for r in records if r.field == "reference")
    for name in ("w0", "w1"):
        pipeline.start(name)
    pipeline.wait_ready()
    pause = threading.Event()
    with Publishing(pipeline.append, [r for r in records if r.field != "reference"], rate):
        for number, seconds in enumerate(kills):
            pause.wait(seconds)
            pipeline.revive()
            pipeline.workers.pop(rng.choice(sorted(pipeline.workers))).kill()
            while len(pipeline.workers) < 2 + number % 2:
                pipeline.start(f"k{number}-{len(pipeline.workers)}")
    pipeline.wait_settled(100)
    prove(pipeline, len(records) // 10)
    stops = [worker.stop() for worker in pipeline.workers.values() if worker.alive]
    assert all(code == 0 and seconds < 5 for code, seconds in stops), stops


@pytest.mark.timeout(170)
def test_case_11_nothing_is_lost_repeated_or_invented_while_workers_are_killed(
    kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    """Promise: exactly once with the whole domain. Four times a worker is killed with -9 amid believable traffic; at the
    end every row, every figure and everything that was said is what an undisturbed fold of the records gives."""
    rng = random.Random(11)
    records = simulated(11, 14_000)
    clock = f"fixed:{iso((records[-1].at_ms or 0) + 5 * DAY_MS)}"
    with Pipeline(kafka.bootstrap, prefix, tmp_path, 4, clock=clock, session_timeout_s="5") as pipeline:
        survive(pipeline, records, [rng.uniform(1.5, 4.5) for _ in range(4)], 900, rng)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_for_minutes(kafka: LocalKafka, prefix: str, tmp_path: Path, seed: int) -> None:
    """Promise: the same, with 20 kills over 90,000 events and months of a company's life."""
    rng = random.Random(seed)
    records = simulated(seed, 90_000, 12)
    clock = f"fixed:{iso((records[-1].at_ms or 0) + 5 * DAY_MS)}"
    with Pipeline(kafka.bootstrap, prefix, tmp_path, 8, clock=clock, session_timeout_s="5") as pipeline:
        survive(pipeline, records, [rng.uniform(0.5, 8) for _ in range(20)], 1_000, rng)
