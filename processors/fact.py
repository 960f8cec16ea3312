"""A fact at hand, as the handlers of facts get it.

Payloads are lists in the order of `events.FIELDS`; a lone string stands for a list of one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from processors.compiled import Compiled
from processors.model import State
from processors.scope import Scope


class Fact(Struct, frozen=True, gc=False):
    """One fact at hand: when, from back-fill or not, its payload, and the world it is folded in."""

    t: int
    b: int
    backfill: int
    data: Any
    d: Compiled
    scope: Scope

    def at(self, n: int) -> Any:
        """Payload field number ``n`` (as in `events.FIELDS`), None where it was not given."""
        if type(self.data) is list:
            return self.data[n] if n < len(self.data) else None
        return self.data if n == 0 else None

    def actor(self, n: int) -> tuple[str | None, str | None]:
        """(type, id) of the actor, which follows the ``n`` payload fields."""
        found = self.at(n)
        return (found[0], found[1]) if type(found) is list else (None, None)


Handler = Callable[[State, Fact], None]
