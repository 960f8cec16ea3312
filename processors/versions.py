"""Which definitions a row was folded under, and what a definition means for rows that nothing happens to.

A row names a definition by its place in the timeline. What holds at an instant is settled once everybody has read what was
recorded by then; a worker that read it late has folded some events under the one before, and the places may have moved.
So a row remembers which definitions its places meant. `catch_up` finds out whether they still do; if not, the places
are mapped, and the row has to be folded again. It also sets the timer of a sweep, or of holidays that move running clocks,
which the row has not heard of.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from processors import handoff, qualify
from processors.compiled import Compiled
from processors.model import NEVER, Journey, Row, State, decode_spoken, decode_state, encode
from processors.scope import Scope


def catch_up(row: Row, scope: Scope) -> bool:
    """Bring a lead's or visitor's row up to date with the timeline. Does it have to be folded again?"""
    definitions, s = scope.definitions, row.head
    if len(definitions) == 1 or not s.n:
        return False
    again = not _agrees(row, definitions)
    if again:
        _map(row, definitions)
    sweeps = s.definition + 1 < len(definitions) and qualify.swept_at(s, scope) < NEVER
    if sweeps or (s.hours + 1 < len(definitions) and handoff.ticking(s) is not None):
        qualify.arm(s, definitions[s.definition], scope)
    return again


def remember(row: Row, definitions: Sequence[Compiled]) -> None:
    """What the places in the row mean: to be called after each fold."""
    if len(row.terms) != row.head.hours:
        row.terms = tuple(d.mark for d in definitions[1 : row.head.hours + 1])


def _agrees(row: Row, definitions: Sequence[Compiled]) -> bool:
    """Do its places mean what they meant, and was everything folded under what was in force?"""
    s = row.head
    following = s.hours + 1
    if following < len(definitions) and definitions[following].source.effective_at <= max(s.last, s.fired):
        return False
    known = tuple(d.mark for d in definitions[1 : len(row.terms) + 1])
    return row.terms == known and s.hours < len(definitions)


def _map(row: Row, definitions: Sequence[Compiled]) -> None:
    place = {d.mark: n for n, d in enumerate(definitions)}

    def moved(n: int, t: int) -> int:
        """Where the definition at place ``n`` is now; one that never held gives way to the one in force at ``t``."""
        if n == 0:
            return 0
        found = place.get(row.terms[n - 1]) if n <= len(row.terms) else None
        if found is None:
            found = max(k for k, d in enumerate(definitions) if k == 0 or d.source.effective_at <= t)
        return found

    def journeys(old: tuple[Journey, ...]) -> tuple[Journey, ...]:
        return tuple(
            replace(
                j, handoffs=tuple(replace(h, definition=moved(h.definition, h.trigger)) for h in j.handoffs)
            )
            for j in old
        )

    def state(s: State) -> None:
        s.definition, s.hours = moved(s.definition, s.last), moved(s.hours, s.last)
        s.journeys = journeys(s.journeys)

    state(row.head)
    if row.base:
        base = decode_state(row.base)
        state(base)
        row.base = encode(base)
    if row.spoken:
        said, shares, source = decode_spoken(row.spoken)
        row.spoken = encode((journeys(said), shares, source))
    row.snapshots = []
    row.terms = tuple(d.mark for d in definitions[1 : row.head.hours + 1])
