"""What answers to surveys come to: how many, their mean, and the net promoter score."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

#: Kinds of surveys (DOMAIN 2.2).
NPS = "nps"
SURVEYS = ("brand", NPS, "csat")
#: Who answered 9 or 10 of 10 would recommend us, who answered up to 6 would not.
PROMOTER, PASSIVE, DETRACTOR = ANSWERS = ("promoter", "passive", "detractor")


def answer(score: int) -> str:
    """What an answer to the recommendation question makes of a person."""
    return PROMOTER if score >= 9 else PASSIVE if score >= 7 else DETRACTOR


def mean(scores: Iterable[tuple[int, int]]) -> Fraction | None:
    """Mean score, of (score, how many); None of no answers."""
    total = n = 0
    for score, count in scores:
        total += score * count
        n += count
    return Fraction(total, n) if n else None


def net_promoter(promoters: int, passives: int, detractors: int) -> Fraction | None:
    """Net promoter score = 100 × (promoters - detractors)/answers, from -100 to 100; None of no answers."""
    n = promoters + passives + detractors
    return Fraction(100 * (promoters - detractors), n) if n else None
