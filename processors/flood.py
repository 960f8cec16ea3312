"""The flood guard: more new calls on a team within an hour than anybody can mean are held until a person has looked.

It is about what is said, not about what is decided: a held handoff is there for figures, `show` and replay, only nobody is
called. Counted are calls that were said, by the hour in which their clocks started, so that a worker that was down for
a day does not take a day's calls for a flood. The counts follow from the rows; nothing else is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from processors.definition.model import HOUR, Policy
from processors.model import OPEN, SILENT, Handoff, Minted, Row

#: Hours of the trailing mean: a week.
TRAILING = 168

#: May a call go out? Asked with team, start of the clocks (epoch ms), and whether it goes out anyway.
Admit = Callable[[str, int, bool], bool]


def open_door(_team: str, _start: int, _anyway: bool) -> bool:
    """No guard: replay, and who has turned it off."""
    return True


class Calls:
    """How many calls were said to each team, by the hour (since 1970) in which their clocks started."""

    __slots__ = ("_hours",)

    def __init__(self) -> None:
        self._hours: dict[str, dict[int, int]] = {}

    def add(self, team: str, hour: int, n: int = 1) -> None:
        hours = self._hours.setdefault(team, {})
        left = hours.get(hour, 0) + n
        if left:
            hours[hour] = left
        else:
            hours.pop(hour, None)

    def said(self, team: str, hour: int) -> int:
        return self._hours.get(team, {}).get(hour, 0)

    def limit(self, team: str, hour: int, policy: Policy, part: int = 1, of: int = 1) -> int:
        """Calls per hour that are let through: ``flood_factor`` times the mean of those hours of the trailing week in
        which there was any, at least this worker's share (``part`` partitions ``of`` all) of ``flood_min``."""
        least = -(-policy.flood_min * part // of)
        hours = self._hours.get(team)
        if not hours:
            return least
        usual = [hours[h] for h in range(hour - TRAILING, hour) if h in hours]
        return max(least, policy.flood_factor * sum(usual) // len(usual)) if usual else least


def counted(m: Minted) -> tuple[str, int] | None:
    """Team and hour under which a said handoff counts; None for one that called nobody."""
    return None if m.silent or m.historical else (m.routes[0].team, m.start // HOUR)


def held_back(
    row: Row, handoffs: Sequence[Handoff], minted: Container[tuple[str, int]], admit: Admit
) -> frozenset[tuple[str, int]]:
    """Names of the handoffs that are not said now; the row remembers them (``Row.flooded``).

    What was held stays so until it is released, or sales has heard of it: it was touched, answered or withdrawn.
    """
    before = {trigger for trigger, _ in row.flooded}
    held: dict[tuple[str, int], tuple[int, str]] = {}
    for h in handoffs:
        name = (h.of, h.ordinal)
        if name in minted or h.outcome != OPEN or h.flags & SILENT:
            continue
        anyway = bool(h.released or h.touched)
        if (h.trigger in before and not anyway) or not admit(h.team, h.start, anyway):
            held[name] = (h.trigger, h.team)
    row.flooded = tuple(held.values())
    return frozenset(held)
