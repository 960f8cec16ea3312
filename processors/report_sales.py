"""Figures of what sales gets: how complete the context is, who is slow, and what the win model counts."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import product

from processors.bins import bin_seconds, quantile
from processors.figure_kit import CALL, Figure, Line, figure, made_of
from processors.totals import SPEEDS, Labels, Number, Sel, Totals

DELAYS = ("marketing", "system", "human")


def _delays(t: Totals, by: Labels) -> Iterator[Line]:
    """What has not come yet is above every bin: censored, not left out."""
    labels = by[3:]
    waiting = t.sums(Sel("delay_open_on"), ("delay", *labels))
    done: dict[Labels, list[tuple[int, int]]] = {}
    for (delay, time, *key, n), many in t.sums(
        Sel("delay_on"), ("delay", "time", *labels), numbers=("bin",)
    ).items():
        done.setdefault((delay, time, *key), []).append((n, many))
    groups = {key[2:] for key in done} | {key[1:] for key in waiting} | (set() if labels else {()})
    for delay, time, group in product(DELAYS, t.known["time"], groups):
        bins = done.get((delay, time, *group), [])
        inputs = {"done": sum(n for _, n in bins), "open": waiting.get((delay, *group), 0)}
        for stat, (num, den) in SPEEDS.items():
            found = quantile(bins, num, den, inputs["open"])
            note = "among the open ones" if found is None and any(inputs.values()) else ""
            yield (delay, time, stat, *group), None if found is None else bin_seconds(found), inputs, note


def _mean_share(i: dict[str, int]) -> Number:
    return Fraction(i["per_mille"], 1000 * i["handoffs"]) if i["handoffs"] else None


def _win_model(t: Totals, _by: Labels) -> Iterator[Line]:
    """Stages are codes in totals: here they get their names."""
    found: dict[tuple[str, str, str], int] = {}
    for (feature, value, status), n in t.sums(
        Sel("win_model"), ("feature",), "", ("value", "status")
    ).items():
        word = t.word("stage", value) if feature == "stage" else value
        found[feature, word, status] = found.get((feature, word, status), 0) + n
    for key, n in found.items():
        yield key, n, {}, ""


FIGURES: tuple[Figure, ...] = (
    figure(
        "context_completeness", "handoff", "ratio",
        "mean share, at the trigger, of what the definition asks a handoff's context to tell that was known",
        made_of(_mean_share, {"per_mille": Sel("complete_on"), "handoffs": Sel("handoff_on")}), CALL,
    ),
    figure(
        "delay", "handoff", "s",
        "marketing: start of the clocks - trigger; system: first assigned - start; human: first human touch - "
        "assigned to who had it then; what has not come yet counts as slower than all",
        _delays, CALL, ("delay", "time", "stat"),
    ),
    figure(
        "win_model", "deals", "leads",
        "leads of closed deals by outcome and by what they were judged by when sales got them: the counts that "
        "win probabilities follow from",
        _win_model, (), ("feature", "value", "status"),
    ),
)  # fmt: skip
