"""Has everybody read the past? Rows tell each other what they know, so one partition's past is read only when the
others' is, and when what they sent each other about it has arrived.

A worker that takes over a deployment with a backlog lets nobody say anything before (DOMAIN 5): the anonymous history
that qualifies a lead, the merge that makes two calls one, may lie on another partition, or with another worker. Where
little is left to read, as after an ordinary rebalance, there is nothing to wait for; and nobody waits for a worker
that is gone: where nothing moves any more, what is there has to do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from logging import getLogger

from faust.types import TP

log = getLogger(__name__)

#: A deployment with fewer records left to read than this is live already.
SMALL = 1000
#: How often messages may lead to messages: a visitor's row is asked, answers, its lead answers the next one's...
ROUNDS = 6
POLL_S, PATIENCE_S = 0.25, 10.0

_Committed = Callable[[list[TP]], Awaitable[Mapping[TP, int | None]]]
_Ends = Callable[[list[TP]], Awaitable[Mapping[TP, int]]]


class Past:
    """Watches the group's committed positions until they have reached the ends that all inputs had.

    :param inputs: all partitions of all sources; :param inbox: those of the inbox among them.
    :param on_read: called once it has been read.
    """

    def __init__(
        self,
        inputs: Iterable[TP],
        inbox: Iterable[TP],
        committed: _Committed,
        ends: _Ends,
        on_read: Callable[[], None],
        *,
        poll_s: float = POLL_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.read = False
        self._inputs = list(inputs)
        self._inbox = list(inbox)
        self._committed = committed
        self._ends = ends
        self._on_read = on_read
        self._poll_s = poll_s
        self._patience_s = patience_s

    async def watch(self) -> None:
        """Returns when the past is read, or nobody reads on."""
        ends = dict(await self._ends(self._inputs))
        if await self._left(ends) >= SMALL:
            await self._all_read(ends)
        self.read = True
        self._on_read()

    async def _all_read(self, ends: dict[TP, int]) -> None:
        least: int | None = None
        since = time.monotonic()
        rounds = 0
        while rounds <= ROUNDS:
            left = await self._left(ends)
            if not left:
                newer = await self._ends(self._inbox)
                if all(ends[tp] == end for tp, end in newer.items()):
                    return
                ends |= newer
                rounds, least = rounds + 1, None
                continue
            now = time.monotonic()
            if least is None or left < least:
                least, since = left, now
            elif now - since > self._patience_s:
                log.warning(
                    "%d records of the past wait on other partitions, and nobody has read any for %.0f s: going on "
                    "without them; start more workers, or look at the one that stands still", left, now - since,
                )  # fmt: skip
                return
            await asyncio.sleep(self._poll_s)

    async def _left(self, ends: Mapping[TP, int]) -> int:
        """Records up to the ends that the group has not yet committed."""
        committed = await self._committed(list(ends))
        return sum(max(0, end - (committed[tp] or 0)) for tp, end in ends.items())
