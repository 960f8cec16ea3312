"""Traffic for deployments: simulated companies, at a steady rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime

from schemas.codec import encode_event
from streams.sources.simulator import Dirt, Simulation
from tests.integration.pipeline import Sent

DIRT = Dirt(late=0.03, duplicates=0.03, malformed=0.003, wrong_keys=0.02, conflicts=0.003)


def simulated(seed: int, count: int, leads_per_day: float = 10) -> list[Sent]:
    """Believable traffic in the order of its delivery, with late, double, broken and misdirected records."""
    found: list[Sent] = []
    for d in Simulation(seed, leads_per_day=leads_per_day, dirt=DIRT).events():
        if d.topic_key != "market":
            value = d.raw if d.raw is not None else encode_event(d.event)
            found.append(Sent(d.topic_key, d.key.encode(), value, d.at_ms))
        if len(found) == count:
            break
    return found


def iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Paced:
    """Records at a steady rate, however long they take; ``sent`` of them so far."""

    def __init__(self, records: Sequence[Sent], rate: float) -> None:
        self._records = records
        self._rate = rate
        self.sent = 0

    def __iter__(self) -> Iterator[Sent]:
        started = time.monotonic()
        pause = threading.Event()
        for record in self._records:
            ahead = self.sent / self._rate - (time.monotonic() - started)
            if ahead > 0:
                pause.wait(ahead)
            self.sent += 1
            yield record


class Publishing:
    """Publishes in a thread while the block runs; leaving it waits for the end."""

    def __init__(
        self, publish: Callable[[Iterable[Sent]], int], records: Sequence[Sent], rate: float
    ) -> None:
        self.traffic = Paced(records, rate)
        self._thread = threading.Thread(target=publish, args=(self.traffic,))

    def __enter__(self) -> Paced:
        self._thread.start()
        return self.traffic

    def __exit__(self, *_: object) -> None:
        self._thread.join()
