"""What metrics are made with: families of samples, and labels that are bounded whatever people send."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from processors.additive import EMPTY
from processors.totals import Sel, Totals

OTHER = "(other)"
#: Longer values are texts and no names.
MOST_CHARS = 100
Values = Mapping[tuple[Any, ...], float]


def gauge(name: str, text: str, labels: Sequence[str], values: Values) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key in sorted(values):
        family.add_metric(key, values[key])
    return family


def counter(name: str, text: str, labels: Sequence[str], values: Values) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key in sorted(values):
        family.add_metric(key, values[key])
    return family


class Bounded:
    """The values of one label that are shown by name: those that the definition names, then the largest. Addresses of
    people, which somebody may have taken for the name of a source, and whole texts never are."""

    def __init__(self, found: Mapping[str, int], named: Iterable[str], most: int) -> None:
        first = set(named)
        order = sorted(
            (value for value in found if value in first or (len(value) <= MOST_CHARS and "@" not in value)),
            key=lambda value: (value not in first, -found[value], value),
        )
        self._kept = frozenset([value for value in order if value != EMPTY][:most])

    def __call__(self, value: str) -> str:
        return value if value == EMPTY or value in self._kept else OTHER


def bound(values: Mapping[tuple[Any, ...], int], *bounds: Bounded | None) -> dict[tuple[Any, ...], int]:
    """Sums under bounded labels; None: the label is bounded anyway."""
    out: dict[tuple[Any, ...], int] = {}
    for key, n in values.items():
        new = tuple(each(part) if each else part for part, each in zip(key, bounds, strict=True))
        out[new] = out.get(new, 0) + n
    return out


def sizes(totals: Totals, count: str, label: str) -> dict[str, int]:
    return {key[0]: n for key, n in totals.sums(Sel(count), (label,)).items()}
