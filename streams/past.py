"""Has everybody read the past? Rows tell each other what they know, so one partition's past is read only when the
others' is, and when what they sent each other about it has arrived.

A worker that takes over a deployment with a backlog lets nobody say anything before (DOMAIN 5): the anonymous history
that qualifies a lead, the merge that makes two calls one, may lie on another partition, or with another worker. Whoever
takes over amid the past has to go on waiting, however little is left of it, so positions that were committed before it
was read say so. Where it was read and little came since, as at an ordinary rebalance, there is nothing to wait for; and
nobody waits for a worker that is gone: where nothing moves any more, what is there has to do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from logging import getLogger

from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

log = getLogger(__name__)

#: Goes with a position that is committed before the past is read.
UNREAD = "past"
#: A deployment that was live, with fewer records left to read than this, is live still.
SMALL = 1000
#: How often messages may lead to messages: a visitor's row is asked, answers, its lead answers the next one's...
#: Beyond that what still comes is taken for traffic of the present.
ROUNDS = 12
POLL_S, PATIENCE_S = 0.25, 10.0

_Committed = Callable[[list[TP]], Awaitable[Mapping[TP, OffsetAndMetadata | None]]]
_Ends = Callable[[list[TP]], Awaitable[Mapping[TP, int]]]


class Past:
    """Watches the group's committed positions until they have reached the ends that all inputs had.

    :param inputs: all partitions of all sources.
    :param ends: committed ends, up to which anybody can read.
    :param sent: ends of the inbox with what lies in open transactions. Positions may be seen to be committed a moment
        before the messages of the same transaction are.
    :param on_read: called once it has been read.
    """

    def __init__(
        self,
        inputs: Iterable[TP],
        committed: _Committed,
        ends: _Ends,
        sent: Callable[[], Awaitable[Mapping[TP, int]]],
        on_read: Callable[[], None],
        *,
        poll_s: float = POLL_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.read = False
        self._inputs = list(inputs)
        self._committed = committed
        self._ends = ends
        self._sent = sent
        self._on_read = on_read
        self._poll_s = poll_s
        self._patience_s = patience_s

    async def watch(self) -> None:
        """Returns when the past is read, or nobody reads on."""
        ends = dict(await self._ends(self._inputs))
        committed = await self._committed(self._inputs)
        if left(ends, committed) >= SMALL or any(unread(committed[tp]) for tp in ends if ends[tp]):
            await self._all_read(ends)
        self.read = True
        self._on_read()

    async def _all_read(self, ends: dict[TP, int]) -> None:
        least: int | None = None
        since = time.monotonic()
        rounds = 0
        while rounds <= ROUNDS:
            missing = left(ends, await self._committed(list(ends)))
            if not missing:
                newer = await self._sent()
                if all(ends[tp] == end for tp, end in newer.items()):
                    return
                ends |= newer
                rounds, least = rounds + 1, None
                continue
            now = time.monotonic()
            if least is None or missing < least:
                least, since = missing, now
            elif now - since > self._patience_s:
                log.warning(
                    "%d records of the past wait on other partitions, and nobody has read any for %.0f s: going on "
                    "without them; start more workers, or look at the one that stands still", missing, now - since,
                )  # fmt: skip
                return
            await asyncio.sleep(self._poll_s)


def left(ends: Mapping[TP, int], committed: Mapping[TP, OffsetAndMetadata | None]) -> int:
    """Records up to the ends that the group has not yet committed."""
    return sum(max(0, end - _offset(committed[tp])) for tp, end in ends.items())


def unread(position: OffsetAndMetadata | None) -> bool:
    """Was the past not read when this was committed, or was nothing committed yet?"""
    return position is None or position.metadata == UNREAD


def _offset(position: OffsetAndMetadata | None) -> int:
    return position.offset if position is not None else 0
