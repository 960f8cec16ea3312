"""The live funnel as Prometheus would see it: read from ``/metrics`` of every worker and put together."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

_SAMPLE = re.compile(r"(leadstream_\w+)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_PATIENCE_S = 2.0
_EVERY_S = 1.0

#: What is shown: metric, then the labels that are kept; the others are summed over.
_KEPT: Mapping[str, tuple[str, ...]] = {
    "leadstream_stage_balance": ("stage",),
    "leadstream_stage_entered": ("stage",),
    "leadstream_leads": (),
    "leadstream_mqls": ("series",),
    "leadstream_handoffs": ("outcome",),
    "leadstream_sla_clocks": ("clock", "state"),
    "leadstream_deals": ("status",),
    "leadstream_deal_amount": ("currency", "status"),
    "leadstream_team_speed_to_lead_seconds_bucket": ("le",),
    "leadstream_team_untouched_handoffs": (),
    "leadstream_events_total": (),
    "leadstream_dead_letters_total": (),
    "leadstream_misrouted_records_total": (),
    "leadstream_transport_lag_records": (),
    "leadstream_transport_ready_partitions": (),
    "leadstream_transport_live_partitions": (),
}

_Sample = tuple[str, dict[str, str], float]
Values = Mapping[tuple[str, ...], float]

# Workers are on this machine: a proxy of the environment must not come between.
_open = build_opener(ProxyHandler({})).open


class Figures(NamedTuple):
    """Metrics by name: sums by the labels that are kept, in the order of the exposition."""

    of: Mapping[str, Values]

    def all(self, name: str) -> Values:
        return self.of.get("leadstream_" + name, {})

    def one(self, name: str, *labels: str) -> float:
        return self.all(name).get(labels, 0.0)

    def total(self, name: str) -> float:
        return sum(self.all(name).values())

    def ratio(self, name: str, good: tuple[str, ...], bad: tuple[str, ...]) -> float | None:
        """good/(good + bad), None where there is nothing to divide by."""
        yes, no = self.one(name, *good), self.one(name, *bad)
        return yes / (yes + no) if yes + no else None

    def quantile(self, name: str, share: float) -> float | None:
        """The smallest bound of a histogram that at least ``share`` of all do not exceed; None: none does."""
        buckets = {float(le): n for (le,), n in self.all(name + "_bucket").items()}
        most = buckets.get(float("inf"), 0.0)
        within = [le for le, n in buckets.items() if n >= share * most and le != float("inf")]
        return min(within) if most and within else None


def figures(expositions: Iterable[str]) -> Figures:
    """One view of several workers. Partitions that two of them hold for a moment count once."""
    parts: dict[tuple[str, tuple[str, ...], str], float] = {}
    for number, text in enumerate(expositions):
        for name, labels, value in _samples(text):
            partition = labels.get("partition")
            rest = ",".join(f"{k}={v}" for k, v in labels.items() if k != "partition")
            owner = f"worker {number} {rest}" if partition is None else f"{partition} {rest}"
            key = (name, tuple(labels[label] for label in _KEPT[name]), owner)
            parts[key] = max(parts.get(key, value), value)
    out: dict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
    for (name, kept, _), value in parts.items():
        out[name][kept] = out[name].get(kept, 0.0) + value
    return Figures(out)


def _samples(text: str) -> Iterator[_Sample]:
    for line in text.splitlines():
        name = line.partition(" ")[0].partition("{")[0]
        if name in _KEPT and (found := _SAMPLE.match(line)):
            yield name, dict(_LABEL.findall(found[2] or "")), float(found[3])


def get(url: str, path: str = "/metrics") -> str | None:
    """A page of a worker, None where it does not answer."""
    try:
        with _open(url + path, timeout=_PATIENCE_S) as answer:
            return str(answer.read().decode())
    except (URLError, OSError, ValueError):
        return None


class Scraper(threading.Thread):
    """Reads the workers' metrics again and again, beside the traffic and the view.

    :param urls: of the workers that should answer, asked before each round.
    """

    def __init__(self, urls: Mapping[str, str]) -> None:
        super().__init__(name="scraper", daemon=True)
        self.urls = dict(urls)
        self._ended = threading.Event()
        #: The last answers by worker; None: it did not answer.
        self.answers: Mapping[str, str | None] = {}
        self.rounds = 0

    def run(self) -> None:
        while not self._ended.wait(_EVERY_S if self.rounds else 0):
            self.answers = {name: get(url) for name, url in dict(self.urls).items()}
            self.rounds += 1

    def close(self) -> None:
        self._ended.set()
