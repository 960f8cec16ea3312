"""A worker's life as a state machine: facts in time and late, duplicates, timers, crashes, catching up in silence.

After every step while it is live: the head is the fold from scratch, what subscribers hold is what is decided,
sequences have no gap, totals are the sum of the rows, and the header tells the next due instant.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from processors.model import encode
from processors.subject import next_due
from tests.judge import KEY, TIMELINE, well_said
from tests.strategies import T0, Sent, histories
from tests.world import World, run_of

#: Shared by all machines: drawing a whole history is cheaper than drawing facts one by one.
_SOME = histories(most=14, lagged=True, days=20)


class Worker(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.w = World(TIMELINE, now=T0)
        self.waiting: list[Sent] = []
        self.sent: list[Sent] = []
        self.live = True
        self.said = 0

    @initialize(history=_SOME)
    def begin(self, history: list[Sent]) -> None:
        self.waiting = sorted(history, key=lambda x: (x.recorded_at, x.offset))

    @precondition(lambda self: self.waiting)
    @rule(n=st.integers(1, 3), ahead=st.integers(0, 2), early=st.booleans())
    def deliver(self, n: int, ahead: int, early: bool) -> None:
        """A batch, now and then of records that other topics bring earlier; or read before it is due."""
        batch = self.waiting[ahead : ahead + n] or self.waiting[:n]
        self.waiting = [x for x in self.waiting if x not in batch]
        self.sent += batch
        now = self.w.now if early else max(self.w.now, *(x.recorded_at for x in batch))
        if self.live:
            self.w.tick(now)
        self.w.batch([x.event for x in batch], now, self.live)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def deliver_again(self, data: st.DataObject) -> None:
        before = len(self.w.outputs)
        again = data.draw(st.sampled_from(self.sent))
        self.w.tick(self.w.now, self.live)
        between = len(self.w.outputs)
        self.w.batch([again.event], self.w.now, self.live)
        assert len(self.w.outputs) == between >= before

    @rule(hours=st.sampled_from([1, 5, 40, 400]))
    def time_passes(self, hours: int) -> None:
        self.w.tick(self.w.now + hours * 3_600_000, self.live)

    @rule()
    def crash(self) -> None:
        """Nothing survives but rows and totals made of them; the next worker reads its past in silence."""
        self.live = False
        self.w.totals = self.w.summed()
        self.said = len(self.w.outputs)

    @precondition(lambda self: not self.live)
    @rule()
    def speak(self) -> None:
        assert len(self.w.outputs) == self.said
        self.w.speak(self.w.now)
        self.live = True

    @invariant()
    def totals_are_the_sum_of_the_rows(self) -> None:
        assert self.w.totals == self.w.summed()

    @invariant()
    def all_is_as_from_scratch(self) -> None:
        if not self.live or KEY not in self.w.stored:
            return
        self.w.tick(self.w.now)
        row = self.w.row(KEY)
        scratch = self.w.alone(KEY, run_of([x.event for x in self.sent]), self.w.now)
        assert encode(row.head) == encode(scratch)
        assert next_due(row) > self.w.now
        well_said(self.w)


TestWorker = Worker.TestCase
TestWorker.settings = settings(stateful_step_count=25)
