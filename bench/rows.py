"""One ordinary lead: what its row weighs, and what its facts cost (DESIGN 10), without Kafka and decoding.

Every shape is timed as a worker does it: row decoded, facts folded, row encoded. Compared are medians of one run.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import life
from processors import deals
from processors.events import Event, from_envelope
from processors.model import Row, dump, load, unpacked
from processors.subject import Told, process
from schemas.envelope import Envelope
from streams.definitions import base_definition
from streams.settings import Settings
from streams.topology import LeadTopology

_ROUNDS = 300
_HELD = 50_000


def _topology() -> LeadTopology:
    settings = Settings(partitions=1)
    made = LeadTopology(settings, base_definition(settings))
    for n in (1, 2):
        payload = {"owner": f"owner-{n}", "team": "sales", "active": True}
        at_ms = life.START_MS - life.DAY
        made.apply([(life.envelope("owner_changed", at_ms, payload, {"lead_id": "none"}, n), at_ms)])
    return made


def _fact(e: Envelope) -> Event:
    return from_envelope(e, e.occurred_at + 2_000, 0, 0, 1_000_000 + e.occurred_at % 100_000, 0, lambda: b"")


class _Life:
    """A lead's facts in order, and its row after each of them."""

    def __init__(self, topology: LeadTopology, lead: str) -> None:
        self.scope = lambda: topology.scope(f"l:{lead}".encode())
        self.facts = [_fact(e) for e in life.events(lead)]
        self.rows: list[bytes] = [dump(Row())]
        for e in self.facts:
            self.rows.append(self.fold(self.rows[-1], [e]))
        self.shares = self._shares(lead)
        self.end = life.START_MS + 31 * life.DAY
        self.whole = self.fold(self.rows[-1], [], self.shares, self.end)

    def fold(self, data: bytes, facts: list[Event], told: list[Told] | None = None, now: int = 0) -> bytes:
        row = load(data)
        process(row, facts, now or facts[-1].t + 2_000, self.scope(), told or ())
        return dump(row)

    @staticmethod
    def _shares(lead: str) -> list[Told]:
        row, told = Row(), []
        for e in life.deal(lead):
            found, _ = deals.process(f"d:deal-of-{lead}", row, [_fact(e)], e.occurred_at)
            told += [x for x in found.told if x.to == f"l:{lead}"]
        return told[-1:]


def _us(each: Callable[[], object], per: int = 1) -> float:
    """Median CPU time, microseconds per fact."""
    found = []
    for _ in range(_ROUNDS):
        started = time.perf_counter_ns()
        each()
        found.append((time.perf_counter_ns() - started) / 1000 / per)
    return round(statistics.median(found), 1)


def _rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _resident(data: bytes) -> int:
    """What a worker holds in memory for one more row: key, value and the entry in its partition's store."""
    before = _rss()
    held = {f"l:lead-{n}".encode(): bytes(bytearray(data)) for n in range(_HELD)}
    used = _rss() - before
    assert len(held) == _HELD
    return used // _HELD


def run(_events: int, _rounds: int) -> list[dict[str, Any]]:
    topology = _topology()
    one = _Life(topology, "lead-1")
    rows, facts = one.rows, one.facts
    handed = next(n for n, data in enumerate(rows) if any(j.handoffs for j in load(data).head.journeys))
    entries = [len(load(data).head.journeys[0].entries) if n else 0 for n, data in enumerate(rows)]
    staged = next(n for n in range(4, handed) if entries[n] > entries[n - 1])
    middle = handed // 2 + 4  # pages and mails, nothing decided
    late_at = len(facts) - 4
    late, rest = facts[6], [*facts[:6], *facts[7:late_at]]
    without = dump(Row())
    for e in rest:
        without = one.fold(without, [e])
    row = load(rows[middle])

    def life_whole() -> None:
        live = Row()
        for e in facts:
            process(live, [e], e.t + 2_000, one.scope())
            dump(live)

    def cached() -> None:
        process(load(rows[middle]), facts[middle : middle + 1], facts[middle].t + 2_000, one.scope())

    return [
        {
            "job": "one ordinary lead: 30 engagement events, one journey, one deal",
            "facts": len(facts),
            "bytes_encoded": len(one.whole),
            "bytes_before_packing": len(unpacked(one.whole)),
            "bytes_resident": _resident(one.whole),
            "ledger_bytes": len(load(one.whole).ledger),
            "us_two_facts_per_row_and_batch": _us(
                lambda: one.fold(rows[middle], facts[middle : middle + 2]), 2
            ),
            "us_one_fact_cache_miss": _us(lambda: one.fold(rows[middle], facts[middle : middle + 1])),
            "us_fold_without_encoding": _us(cached),
            "us_one_that_decides": _us(lambda: one.fold(rows[staged - 1], facts[staged - 1 : staged])),
            "us_one_that_hands_over": _us(lambda: one.fold(rows[handed - 1], facts[handed - 1 : handed])),
            "us_ordinary_life_per_fact": _us(life_whole, len(facts)),
            "us_late_at_30_entries": _us(lambda: one.fold(without, [late], now=facts[late_at].t)),
            "us_decode_row": _us(lambda: load(rows[middle])),
            "us_encode_row": _us(lambda: dump(row)),
        }
    ]
