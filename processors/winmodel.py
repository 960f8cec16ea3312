"""The win model: how likely a lead is won, by naive Bayes over what was known when sales got it.

Integers only. A snapshot of the counts travels in the reference data as JSON (`snapshot` writes it, `parse` reads
it)::

    {"won": 3, "lost": 9, "currency": "EUR", "median_won_minor": 120000,
     "median_won_by_segment": {"enterprise": 500000},
     "features": {"source": {"webinar": [2, 4], "(empty)": [1, 5]}, "segment": {...}, ...}}

where a pair is (won, lost). What is counted, and at which instant it is looked at, says `priority`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from processors.money import CURRENCIES, half_even

#: What a lead is judged by, in this order (DOMAIN 4).
FEATURES = ("source", "segment", "fit_grade", "stage", "hand_raise")
MILLION = 1_000_000
#: No lead is certain: 0.01 % to 99.99 %.
LEAST, MOST = 100, 999_900
#: Smoothing of 0.1 per value, as a fraction of which everything is counted in tenths.
_TENTHS = 10
#: Values of one feature that a snapshot names; the rarer ones are added up, so that it stays a small message.
MOST_VALUES = 200
OTHER = "(other)"

Whole = Annotated[int, Meta(ge=0)]
Pair = tuple[Whole, Whole]
#: (status, feature, value) -> how many leads of closed deals.
Counts = Mapping[tuple[str, str, str], int]
#: (amount, currency, day) -> minor units of the base currency at the rate of that day, None without one.
Price = Callable[[int, str, int], int | None]


class Model(Struct, frozen=True, kw_only=True):
    """A snapshot, ready to be asked. Pairs are (won, lost), amounts minor units of ``currency``."""

    won: Whole
    lost: Whole
    currency: str
    features: dict[str, dict[str, Pair]]
    median_won_minor: int | None = None
    median_won_by_segment: dict[str, int] = {}

    def probability_ppm(self, values: Mapping[str, str]) -> int | None:
        """Parts per million that a lead with these values by feature is won; None without a won and a lost deal.

        P(won | x) = W / (W + L), with W = won * product of (won with x_i + 0.1) / (won + 0.1 k_i), L likewise, and
        k_i how many values the feature has. A value nobody has seen says nothing: its feature is left out, for
        smoothing alone would take a lead from an unknown source to even odds.
        """
        if not self.won or not self.lost:
            return None
        w, n = self.won, self.lost
        for feature in FEATURES:
            known = self.features.get(feature, {})
            pair = known.get(values[feature]) or known.get(OTHER)
            if pair is None:
                continue
            (won, lost), k = pair, len(known)
            w *= (_TENTHS * won + 1) * (_TENTHS * self.lost + k)
            n *= (_TENTHS * lost + 1) * (_TENTHS * self.won + k)
        return max(LEAST, min(half_even(Fraction(w * MILLION, w + n)), MOST))

    def expected_minor(self, segment: str) -> int | None:
        """The median amount won in the segment, else of all, else None; minor units of ``currency``."""
        return self.median_won_by_segment.get(segment, self.median_won_minor)


def priority_minor(probability_ppm: int, amount_minor: int) -> int:
    """Probability times amount, in the amount's minor units."""
    return half_even(Fraction(probability_ppm * amount_minor, MILLION))


def median(values: Iterable[tuple[int, int]]) -> int | None:
    """Of (value, how many) pairs; of an even number the mean of the middle two, a tie to the even integer."""
    counted = sorted((value, n) for value, n in values if n > 0)
    total = sum(n for _, n in counted)
    if not total:
        return None

    def at(place: int) -> int:
        passed = 0
        for value, n in counted:
            passed += n
            if passed > place:
                return value
        raise AssertionError(place)

    return half_even(Fraction(at((total - 1) // 2) + at(total // 2), 2))


def snapshot(
    counts: Counts, amounts: Mapping[tuple[str, str, int, int], int], price: Price, currency: str
) -> dict[str, Any]:
    """The counts and medians of some totals, as they are published.

    :param amounts: (segment, currency, day won, amount) -> how many. What no rate of that day prices is left out.
    """
    features: dict[str, dict[str, list[int]]] = {feature: {} for feature in FEATURES}
    for (status, feature, value), n in counts.items():
        if n and feature in features:
            pair = features[feature].setdefault(value, [0, 0])
            pair[status != "won"] += n
    sums = [sum(pair[i] for pair in features[FEATURES[0]].values()) for i in (0, 1)]
    by_segment: dict[str, list[tuple[int, int]]] = {}
    everything: list[tuple[int, int]] = []
    for (segment, unit, day, amount), n in amounts.items():
        priced = price(amount, unit, day)
        if priced is not None:
            by_segment.setdefault(segment, []).append((priced, n))
            everything.append((priced, n))
    return {
        "won": sums[0],
        "lost": sums[1],
        "currency": currency,
        "median_won_minor": median(everything),
        "median_won_by_segment": {
            segment: found
            for segment, values in sorted(by_segment.items())
            if (found := median(values)) is not None
        },
        "features": {feature: _bounded(values) for feature, values in features.items()},
    }


def _bounded(values: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """The most frequent values by name, the others in one."""
    ranked = sorted(values.items(), key=lambda x: (-sum(x[1]), x[0]))
    kept = dict(sorted(ranked[:MOST_VALUES]))
    rest = [pair for _, pair in ranked[MOST_VALUES:]]
    if rest:
        other = kept.get(OTHER, [0, 0])
        kept[OTHER] = [other[i] + sum(pair[i] for pair in rest) for i in (0, 1)]
    return kept


def parse(counts: Mapping[str, Any]) -> Model:
    """A snapshot as it was published.

    :raises ValueError: it is none; the text names the field.
    """
    model = msgspec.convert(counts, Model)
    if model.currency not in CURRENCIES:
        raise ValueError(f"there is no currency {model.currency!r}; write its ISO 4217 code, such as EUR")
    return model
