"""Simulated traffic as framed records, made once and used by every job."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from schemas.codec import encode_event
from streams.settings import Settings
from streams.sources.simulator import Simulation

START_MS = 1_750_000_000_000


class Made(NamedTuple):
    """``field`` is the topic's key in `Topics`."""

    field: str
    key: bytes
    value: bytes
    at_ms: int


def made(count: int, *, seed: int = 1, leads_per_day: int = 300) -> Iterator[Made]:
    """``count`` events of leads and deals, the reference data before them not counted."""
    n = 0
    for d in Simulation(seed, start_ms=START_MS, leads_per_day=leads_per_day).events():
        if d.topic_key == "market":
            continue
        key = d.key if isinstance(d.key, bytes) else d.key.encode()
        yield Made(d.topic_key, key, d.raw if d.raw is not None else encode_event(d.event), d.at_ms)
        if d.topic_key != "reference":
            n += 1
            if n >= count:
                return


def topic(settings: Settings, field: str) -> str:
    return str(getattr(settings.topics, field))
