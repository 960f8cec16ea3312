"""What a fold may see besides the facts: definitions, reference data, and the handoffs already said."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from processors.compiled import Compiled
from processors.ledger import Item
from processors.model import Minted, State
from processors.reference import Reference

#: Base state below the horizon, and the effective events above it, in order.
History = Callable[[], tuple[State | None, list[Item]]]


def _deaf(_: int) -> State | None:
    return None


class Scope(Struct):
    """One row's view for one call. ``definitions`` by effective_at; ``said`` by minting order.

    ``banned`` are triples (subject at minting, ordinal, trigger) that turned out not to be the same episode.
    ``heard`` folds what had been recorded by an instant, as of it; while it does, ``probing`` is set.
    """

    subject: str
    definitions: tuple[Compiled, ...]
    reference: Reference
    history: History
    said: tuple[Minted, ...] = ()
    claims: tuple[Minted, ...] = ()
    banned: frozenset[tuple[str, int, int]] = frozenset()
    heard: Callable[[int], State | None] = _deaf
    probing: bool = False
