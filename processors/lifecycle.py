"""Journeys: entering, leaving and re-entering stages. Every move is an entry of its own; nothing is overwritten."""

from __future__ import annotations

from msgspec.structs import replace

from processors.compiled import Compiled
from processors.model import BACKFILLED, CODE, IMPLIED, NURTURE_OFF, REJECTED, Call, Journey, State


def put(s: State, j: Journey) -> None:
    s.journeys = (*s.journeys[:-1], j)


def started(s: State, t: int, d: Compiled, backfill: int = 0) -> Journey:
    """The current journey; a subject seen for the first time starts one as anonymous."""
    if not s.journeys:
        s.journeys = (Journey(1, (t << 9 | _flag(backfill) | d.anonymous,), s.generated),)
    elif s.left:  # somebody was erased here: a new person
        s.left = False
        entry = t << 9 | _flag(backfill) | d.anonymous
        s.journeys = (*s.journeys, _quietly(s, t, Journey(len(s.journeys) + 1, (entry,), s.generated)))
    return s.journeys[-1]


def passed_through(s: State, d: Compiled) -> None:
    """The fact that began the journey led on at once: nobody ever stood in its first stage, which is implied."""
    j = s.journeys[-1]
    first, *rest = j.entries
    if first & CODE == d.anonymous and rest and rest[0] >> 9 == first >> 9 and rest[0] & CODE < REJECTED:
        put(s, replace(j, entries=(first | IMPLIED, *rest)))


def begin(s: State, t: int, d: Compiled, backfill: int = 0, generated: int | None = None) -> Journey:
    """The next pass; the person is already known."""
    j = Journey(
        len(s.journeys) + 1,
        (t << 9 | _flag(backfill) | d.known,),
        s.generated if generated is None else generated,
    )
    j = _quietly(s, t, j)
    s.journeys = (*s.journeys, j)
    return j


def _quietly(s: State, t: int, j: Journey) -> Journey:
    """The journey, without nurture for who does not want it."""
    return j if s.consent.get("marketing", (True, 0))[0] else replace(j, marks=(t << 16 | NURTURE_OFF << 8,))


def _flag(backfill: int) -> int:
    return BACKFILLED if backfill else 0


def enter(s: State, t: int, stage: int, d: Compiled, backfill: int = 0) -> None:
    """Forward to ``stage``: what was skipped is entered by implication, at the same instant."""
    j = s.journeys[-1]
    at = j.at
    flag = _flag(backfill)
    implied = tuple(t << 9 | flag | IMPLIED | x for x in d.stages if at < x < stage)
    put(s, replace(j, entries=(*j.entries, *implied, t << 9 | flag | stage)))


def re_enter(s: State, t: int, stage: int, backfill: int = 0, implied: int = 0) -> None:
    """Back from an exit, or backward where policy adopts it: one more entry, nothing implied.

    :param implied: `IMPLIED`, where the stage is only passed through.
    """
    j = s.journeys[-1]
    put(s, replace(j, entries=(*j.entries, t << 9 | _flag(backfill) | implied | stage), reason=""))


def leave(s: State, t: int, exit_code: int, reason: str = "") -> None:
    """The journey ends here, unless it is re-entered."""
    j = s.journeys[-1]
    put(s, replace(j, entries=(*j.entries, t << 9 | exit_code), reason=reason))


def mark(s: State, t: int, rule: int, stage: int = 0) -> None:
    """Record a refused transition, or that the lead fell below the threshold."""
    j = s.journeys[-1]
    put(s, replace(j, marks=(*j.marks, t << 16 | rule << 8 | stage)))


def reached(j: Journey) -> int:
    """High-water mark: the greatest stage of the journey."""
    return max(code for x in j.entries if (code := x & CODE) < 100)


def renumber(s: State, old: Compiled, new: Compiled) -> None:
    """Stages that kept their name, or are mapped by ``renamed_from``, and have another rank now."""
    codes = {c: new.codes[name] for c, name in old.names.items() if new.codes.get(name, c) != c}
    if codes:
        s.journeys = tuple(
            replace(
                j,
                entries=tuple(x & ~CODE | codes.get(x & CODE, x & CODE) for x in j.entries),
                marks=tuple(x & ~0xFF | codes.get(x & 0xFF, x & 0xFF) for x in j.marks),
                handoffs=tuple(replace(h, call=_renumbered(h.call, codes)) for h in j.handoffs),
            )
            for j in s.journeys
        )
        s.shares = {name: replace(x, call=_renumbered(x.call, codes)) for name, x in s.shares.items()}


def _renumbered(call: Call | None, codes: dict[int, int]) -> Call | None:
    return replace(call, stage=codes.get(call.stage, call.stage)) if call is not None else None
