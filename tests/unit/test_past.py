"""Nobody speaks before everybody has read the past: what a worker waits for, and what it does not wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from streams.past import ROUNDS, UNREAD, Past

OWN, OTHER, INBOX = TP("lead", 0), TP("lead", 1), TP("inbox", 0)
INPUTS = [OWN, OTHER, INBOX]


class Group:
    """Ends and committed positions; every look at the positions is a step of the others' work.

    :param new: nothing was ever committed; :param notes: what goes with the positions; :param hidden: messages that will
        be seen in the inbox only after the positions were.
    """

    def __init__(
        self,
        ends: Mapping[TP, int],
        *,
        step: int = 0,
        echoes: int = 0,
        new: bool = False,
        notes: Mapping[TP, str] | None = None,
        hidden: int = 0,
    ) -> None:
        self.ends = dict(ends)
        self.done: dict[TP, int | None] = dict.fromkeys(ends, None if new else 0)
        self.notes = notes or {}
        self.hidden = hidden
        self.step = step
        #: So often does reading the inbox lead to one more message.
        self.echoes = echoes
        self.looks = 0
        self.woken = 0

    async def committed(self, tps: list[TP]) -> Mapping[TP, OffsetAndMetadata | None]:
        found = {
            tp: None if (at := self.done[tp]) is None else OffsetAndMetadata(at, self.notes.get(tp, ""))
            for tp in tps
        }
        self.looks += 1
        for tp, end in self.ends.items():
            self.done[tp] = min(end, (self.done[tp] or 0) + self.step)
        if self.echoes and self.done[INBOX] == self.ends[INBOX]:
            self.ends[INBOX] += 1
            self.echoes -= 1
        return found

    async def asked_ends(self, tps: list[TP]) -> Mapping[TP, int]:
        return {tp: self.ends[tp] for tp in tps}

    async def sent(self) -> Mapping[TP, int]:
        self.ends[INBOX] += self.hidden
        self.hidden = 0
        return {INBOX: self.ends[INBOX]}

    def watch(self, patience_s: float = 60) -> Past:
        def wake() -> None:
            self.woken += 1

        past = Past(
            INPUTS, self.committed, self.asked_ends, self.sent, wake, poll_s=0.001, patience_s=patience_s
        )
        asyncio.run(past.watch())
        assert past.read
        assert self.woken == 1
        return past


def test_little_is_left_to_read_so_nothing_is_waited_for() -> None:
    group = Group({OWN: 0, OTHER: 900, INBOX: 0})
    group.watch()
    assert group.looks == 1


@pytest.mark.parametrize("of", INPUTS)
def test_who_takes_over_amid_the_past_waits_for_the_little_that_is_left(of: TP) -> None:
    group = Group({OWN: 1, OTHER: 900, INBOX: 1}, step=300, notes={of: UNREAD})
    group.watch()
    assert group.done[OTHER] == 900


def test_a_short_past_that_nobody_has_begun_to_read_is_waited_for() -> None:
    group = Group({OWN: 10, OTHER: 900, INBOX: 0}, step=300, new=True)
    group.watch()
    assert group.done[OTHER] == 900


def test_topics_that_are_empty_have_no_past() -> None:
    group = Group({OWN: 0, OTHER: 0, INBOX: 0}, new=True)
    group.watch()
    assert group.looks == 1


def test_what_was_sent_and_is_not_yet_seen_to_be_committed_is_waited_for() -> None:
    group = Group({OWN: 0, OTHER: 2000, INBOX: 0}, step=1000, hidden=5)
    group.watch()
    assert group.done[INBOX] == 5


def test_the_others_read_to_the_ends_that_all_had() -> None:
    group = Group({OWN: 0, OTHER: 5000, INBOX: 10}, step=1000)
    group.watch()
    assert group.done[OTHER] == 5000


@pytest.mark.parametrize("echoes", [1, 3])
def test_what_they_sent_each_other_about_it_is_read_too(echoes: int) -> None:
    group = Group({OWN: 0, OTHER: 2000, INBOX: 10}, step=500, echoes=echoes)
    group.watch()
    assert group.done[INBOX] == group.ends[INBOX] == 10 + echoes


def test_an_inbox_that_never_rests_does_not_keep_everybody_silent() -> None:
    group = Group({OWN: 0, OTHER: 2000, INBOX: 10}, step=500, echoes=10_000)
    group.watch()
    assert ROUNDS < group.looks < 20 * ROUNDS


def test_nobody_waits_for_a_worker_that_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    group = Group({OWN: 0, OTHER: 2000, INBOX: 0}, step=0)
    group.watch(patience_s=0.02)
    assert "2000 records of the past wait" in caplog.text
