"""What a fold may see besides the facts: definitions, reference data, and the handoffs already said."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from processors.compiled import Compiled
from processors.flood import Admit, open_door
from processors.ledger import Item
from processors.model import Minted, State
from processors.reference import Reference

#: Base state below the horizon, and the effective events above it, in order.
History = Callable[[], tuple[State | None, list[Item]]]


def _deaf(_: int, __: list[Item] | None, ___: State | None) -> State | None:
    return None


#: Facts of one who was not yet known to be this lead: until when, and which.
Apart = tuple[int, list[Item]]


def _nobody() -> Sequence[Apart]:
    return ()


class Scope(Struct):
    """One row's view for one call. ``definitions`` by effective_at; ``said`` by minting order.

    ``claims`` are handoffs that aliases have said, ``apart`` gives the aliases as the persons they seemed to be.
    ``linking`` is set by a fold that comes upon a fact which says who is who.

    ``banned`` are triples (subject at minting, ordinal, trigger) that turned out not to be the same episode.
    ``heard`` folds what had been recorded by an instant, as of it, of the history or of the given facts, with what a
    state knows of earlier calls; while it does, ``probing`` is set.
    """

    subject: str
    definitions: tuple[Compiled, ...]
    reference: Reference
    history: History
    said: tuple[Minted, ...] = ()
    claims: tuple[Minted, ...] = ()
    banned: frozenset[tuple[str, int, int]] = frozenset()
    heard: Callable[[int, list[Item] | None, State | None], State | None] = _deaf
    probing: bool = False
    apart: Callable[[], Sequence[Apart]] = _nobody
    linking: bool = False
    admit: Admit = open_door

    @property
    def minted(self) -> tuple[Minted, ...]:
        """All that was said of this subject's handoffs."""
        return (*self.said, *self.claims) if self.claims else self.said
