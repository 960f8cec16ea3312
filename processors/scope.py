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


class Scope(Struct):
    """One row's view for one call. ``definitions`` by effective_at; ``said`` by minting order.

    ``banned`` are pairs (ordinal, trigger) that turned out not to be the same episode.
    """

    subject: str
    definitions: tuple[Compiled, ...]
    reference: Reference
    history: History
    said: tuple[Minted, ...] = ()
    claims: tuple[Minted, ...] = ()
    banned: frozenset[tuple[str, int, int]] = frozenset()
