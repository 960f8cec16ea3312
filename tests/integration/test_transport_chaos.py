"""The promise of exactly once: whatever dies and whenever, nothing is lost, nothing is repeated.

Two to three workers fold a steady stream with forwards through the inbox, duplicates and timers, while
workers are killed with -9 and one is paused for longer than its session and wakes up as a zombie.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.local_kafka import LocalKafka
from tests.eventually import eventually
from tests.integration.lab import Lab

pytestmark = [pytest.mark.integration, pytest.mark.timeout(170)]

KILLS = 4
RATE = 1_000
SESSION_S = 6


class Traffic:
    """A seeded stream of records, and what must come of it."""

    def __init__(self, seed: int, stop: threading.Event) -> None:
        self._random = random.Random(seed)
        self._stop = stop
        self.said: set[tuple[str, str]] = set()
        self.forwards: set[tuple[str, str]] = set()
        self.timers: set[str] = set()
        self.repeats = 0

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        rng, started = self._random, time.monotonic()
        for number in range(10**9):
            if self._stop.is_set():
                return
            ahead = number / RATE - (time.monotonic() - started)
            if ahead > 0:
                self._stop.wait(ahead)
            subject = f"lead-{rng.randrange(3_000)}"
            self.said.add((subject, str(number)))
            value = str(number)
            if rng.random() < 0.2:
                other = f"other-{rng.randrange(500)}"
                value += f">{other}"
                self.forwards.add((other, str(number)))
            elif subject not in self.timers and rng.random() < 0.2:
                self.timers.add(subject)
                value += f"@{int(time.time() * 1000) + rng.randrange(500, 15_000)}"
            topic = rng.choice(("engagement", "engagement", "lead", "deal"))
            yield topic, subject, value
            if "@" not in value and rng.random() < 0.03:
                self.repeats += 1
                yield rng.choice(("engagement", "lead")), subject, value


def test_nothing_is_lost_and_nothing_repeated(kafka: LocalKafka, prefix: str, tmp_path: Path) -> None:
    rng = random.Random(7)
    stop = threading.Event()
    traffic = Traffic(7, stop)
    with Lab(kafka.bootstrap, prefix, tmp_path, partitions=8, session_timeout_s=str(SESSION_S)) as lab:
        lab.create_topics()
        lab.start("w0")
        lab.start("w1")
        lab.wait_ready()
        producer = threading.Thread(target=lab.send, args=(traffic,))
        producer.start()
        try:
            for kill in range(KILLS):
                stop.wait(rng.uniform(0.5, 3))
                lab.revive()
                lab.workers.pop(rng.choice(sorted(lab.workers))).kill()
                while len(lab.workers) < 2 + kill % 2:
                    lab.start(f"k{kill}-{len(lab.workers)}")
            lab.wait_ready()
            zombie = lab.workers[min(lab.workers)]
            zombie.process.send_signal(signal.SIGSTOP)
            stop.wait(SESSION_S + 2)  # the others take over meanwhile
            zombie.process.send_signal(signal.SIGCONT)
            stop.wait(2)
        finally:
            stop.set()
            producer.join()
        lab.wait_idle(90)

        def all_fired() -> bool:
            lab.revive()
            return len(lab.said(lab.topics.sla)) >= len(traffic.timers)

        eventually(all_fired, 60, f"{len(traffic.timers)} timers have fired")
        stops = [worker.stop() for worker in lab.workers.values() if worker.alive]
        assert all(code == 0 and seconds < 5 for code, seconds in stops), stops
        assert lab.lag() == 0

        assert len(traffic.said) > 10_000
        difference = Counter(lab.said(lab.topics.inbox))
        difference.subtract(traffic.forwards)
        assert not +difference, "repeated forwards"
        assert not -difference, "lost forwards"
        expected = traffic.said | traffic.forwards
        difference = Counter(lab.said(lab.topics.stage_changes))
        difference.subtract(expected)
        assert not +difference, "repeated outputs"
        assert not -difference, "lost outputs"
        assert Counter(key for key, _ in lab.said(lab.topics.sla)) == Counter(traffic.timers)
        stored = lab.stored()
        assert {(key, str(n)) for key, row in stored.rows.items() for n in row.numbers} == expected
        assert sum(row.repeats for row in stored.rows.values()) == traffic.repeats
        assert all(row.breached_as_of_ms >= row.due_ms for row in stored.rows.values())
        assert stored.stale == 0
